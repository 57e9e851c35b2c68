"""Embedding: unit vectors with an identity."""

import math

import pytest
import torch

from clipx import Embedding
from clipx.errors import InputError, SpaceMismatchError

ROWS = torch.nn.functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=1)


def test_rows_have_names():
    assert Embedding(ROWS, "s", "image").ids == ("0", "1", "2", "3")
    named = Embedding(ROWS, "s", "image", ["a", "b", "c", "d"])
    assert named[1:3].ids == ("b", "c") and torch.equal(named[1:3].vectors, ROWS[1:3])
    assert named[[3, 0]].ids == ("d", "a") and torch.equal(named[[3, 0]].vectors, ROWS[[3, 0]])
    assert (named[:0].modality, len(named[:0])) == ("image", 0)
    assert len(Embedding(torch.zeros(0, 8), "s", "image")) == 0


def test_similarity_is_the_plain_cosine():
    words = Embedding(ROWS[:2], "s", "text")
    torch.testing.assert_close(Embedding(ROWS, "s", "image").similarity(words), ROWS @ ROWS[:2].T)
    with pytest.raises(SpaceMismatchError, match="image vectors of space s with text vectors of space t"):
        Embedding(ROWS, "s", "image").similarity(Embedding(ROWS, "t", "text"))


def test_gradients_pass():
    pixels = torch.randn(2, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    made = Embedding(torch.nn.functional.normalize(pixels, dim=1), "s", "image")
    made.similarity(Embedding(ROWS, "s", "text")).sum().backward()
    assert pixels.grad is not None and pixels.grad.abs().sum() > 0


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
