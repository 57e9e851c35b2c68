"""Embedding: unit vectors with an identity."""

import math

import numpy as np
import pytest
import torch

from clipx import Embedding
from clipx.errors import InputError, SpaceMismatchError

ROWS = torch.nn.functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=1)


def test_rows_have_names():
    assert Embedding(ROWS, "s", "image").ids == ("0", "1", "2", "3")
    named = Embedding(ROWS, "s", "image", ["a", "b", "c", "d"])
    assert named[1:3].ids == ("b", "c") and np.array_equal(named[1:3].vectors, ROWS[1:3])
    assert named[[3, 0]].ids == ("d", "a") and np.array_equal(named[[3, 0]].vectors, ROWS[[3, 0]])
    assert (named[:0].modality, len(named[:0])) == ("image", 0)
    assert len(Embedding(torch.zeros(0, 8), "s", "image")) == 0


def test_similarity_is_the_plain_cosine():
    words = Embedding(ROWS[:2], "s", "text")
    cosines = (ROWS.double() @ ROWS[:2].double().T).numpy()
    np.testing.assert_allclose(Embedding(ROWS, "s", "image").similarity(words), cosines, atol=1e-6)
    with pytest.raises(SpaceMismatchError, match="image vectors of space s with text vectors of space t"):
        Embedding(ROWS, "s", "image").similarity(Embedding(ROWS, "t", "text"))


def test_vectors_are_an_array_whatever_they_were_made_of():
    pixels = torch.randn(2, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    made = Embedding(torch.nn.functional.normalize(pixels, dim=1), "s", "image")
    assert type(made.vectors) is np.ndarray and made.vectors.dtype == np.float32
    assert np.array_equal(Embedding(ROWS.numpy(), "s", "image").vectors, ROWS)


@pytest.mark.parametrize(
    "vectors",
    [ROWS[0], ROWS.double(), ROWS.half(), ROWS * 1.01, ROWS * math.nan, ROWS * 0, torch.full((1, 2), math.inf)],
)
def test_unusable_vectors_are_refused(vectors):
    with pytest.raises(InputError):
        Embedding(vectors, "s", "image")


def test_as_many_ids_as_vectors():
    with pytest.raises(InputError, match="4 vectors but 1 ids"):
        Embedding(ROWS, "s", "image", ["a"])
