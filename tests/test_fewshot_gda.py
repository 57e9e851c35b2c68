"""Gaussian discriminant analysis and the nearest class mean against literal transcriptions, and their limits."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from clipx.embedding import Embedding
from clipx.errors import InputError, SpaceMismatchError
from clipx.fewshot import GaussianDiscriminant, Prototype, fit, fit_shots
from clipx.fewshot.gda import ALPHAS, discriminant
from clipx.fewshot.selection import CROSS_VALIDATED, FIXED

LABELS, DIM, SCALE = ("chair", "night stand", "bed"), 8, 5.0


def unit(seed: int, *shape: int) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def things(seed: int, rows: int, dim: int = DIM) -> Embedding:
    return Embedding(unit(seed, rows, dim), "toy", "image")


class Words:
    labels, weights, logit_scale = LABELS, Embedding(unit(0, 3, DIM), "toy", "text", LABELS), SCALE


def published(x: np.ndarray, targets: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The equations of the paper, one number after the other, with the pseudo-inverse."""
    n, dim = x.shape
    means = np.stack(
        [np.mean([row for row, t in zip(x, targets, strict=True) if t == k], axis=0) for k in range(classes)]
    )
    centred = np.stack([row - means[t] for row, t in zip(x, targets, strict=True)])
    sigma = sum(np.outer(row, row) for row in centred) / (n - 1)
    inverse = dim * np.linalg.pinv((n - 1) * sigma + np.trace(sigma) * np.eye(dim))
    weight = np.stack([inverse @ mean for mean in means])
    bias = [np.log(1 / classes) - mean @ inverse @ mean / 2 for mean in means]
    return weight, np.array(bias)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**20), st.integers(2, 9), st.integers(2, 5), st.integers(2, 30))
def test_gda_equals_its_equations(seed, shots, classes, dim):
    targets = np.random.default_rng(seed).permutation(np.arange(shots * classes) % classes)
    x = unit(seed, shots * classes, dim).double()
    weight, bias = published(x.numpy(), targets, classes)
    found, offset = discriminant(x, torch.from_numpy(targets), classes)  # fewer rows than dimensions, and more
    np.testing.assert_allclose(found, weight, rtol=1e-8, atol=1e-8 * np.abs(weight).max())
    np.testing.assert_allclose(offset, bias, rtol=1e-8)


def test_the_logits_are_words_plus_alpha_times_the_gaussians():
    shots, targets, f = things(1, 12), np.arange(12) % 3, things(2, 5)
    weight, bias = published(shots.vectors.astype(float), targets, 3)
    own = f.vectors.astype(float) @ weight.T + bias
    words = SCALE * f.vectors.astype(float) @ Words.weights.vectors.T
    both = GaussianDiscriminant.fit(shots, targets, LABELS, Words.weights, SCALE, alpha=0.3)
    np.testing.assert_allclose(both.logits(f), words + 0.3 * own, rtol=1e-4, atol=1e-4)
    alone = GaussianDiscriminant.fit(shots, targets, LABELS, alpha=0.3)
    np.testing.assert_allclose(alone.logits(f), 0.3 * own, rtol=1e-4, atol=1e-4)
    assert both.settings["words"] and not alone.settings["words"]


def test_alpha_is_chosen_on_the_shots():
    centres = unit(3, 3, DIM)
    targets = torch.arange(24) % 3
    shots = Embedding(normalize(centres[targets] + 0.2 * unit(4, 24, DIM), dim=1), "toy", "image")
    wrong = Embedding(centres[[1, 2, 0]], "toy", "text", LABELS)  # words for other classes must not be believed
    fitted = GaussianDiscriminant.fit(shots, targets, LABELS, wrong, 100.0)
    assert fitted.settings["selection"] == CROSS_VALIDATED and fitted.settings["alpha"] >= 1
    assert [one["alpha"] for one in fitted.settings["tried"]] == list(ALPHAS)
    assert (fitted.logits(shots).argmax(1) == targets).all()


@pytest.mark.parametrize("copies", [1, 3])
def test_one_shot_a_class_is_the_nearest_shot_beside_the_words(copies):
    shots = things(6, 3)[[0, 1, 2] * copies]
    fitted = GaussianDiscriminant.fit(shots, [0, 1, 2] * copies, LABELS, Words.weights, SCALE)
    if copies == 1:
        assert fitted.settings["alpha"] == 0.01 and fitted.settings["selection"] == FIXED
    alone = GaussianDiscriminant.fit(shots, [0, 1, 2] * copies, LABELS)
    f = things(7, 20)
    assert torch.equal(alone.logits(f).argmax(1), torch.tensor(f.similarity(shots[:3])).argmax(1))
    x = shots.vectors.astype(float)
    spread = np.var(x, axis=0, ddof=1).sum()
    alpha = alone.settings["alpha"]
    expected = alpha * (DIM / spread * (f.vectors @ x[:3].T - 0.5) - np.log(3))
    np.testing.assert_allclose(alone.logits(f), expected, rtol=1e-4, atol=1e-4)


def test_unusable_shots_and_numbers_of_gda_are_refused():
    with pytest.raises(InputError, match="all shots are the same"):
        GaussianDiscriminant.fit(things(8, 1)[[0, 0, 0]], [0, 1, 2], LABELS)
    for alpha in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="alpha"):
            GaussianDiscriminant.fit(things(8, 3), [0, 1, 2], LABELS, alpha=alpha)
    other = Embedding(unit(0, 3, DIM), "other", "text", LABELS)
    with pytest.raises(SpaceMismatchError):
        GaussianDiscriminant.fit(things(8, 3), [0, 1, 2], LABELS, other)
    with pytest.raises(InputError, match=r"class weights \(3, 8\)"):
        GaussianDiscriminant.fit(things(8, 3), [0, 1, 2], LABELS, Words.weights[:2])


def test_sixteen_shots_of_a_hundred_classes_take_no_time():
    targets = torch.arange(1600) % 100
    shots = Embedding(normalize(unit(1, 100, 1280)[targets] + unit(2, 1600, 1280), dim=1), "toy", "image")
    began = time.perf_counter()
    fitted = GaussianDiscriminant.fit(shots, targets, [str(k) for k in range(100)])
    assert time.perf_counter() - began < 30  # 0.6 s on one core; the bound is for machines that do much else
    assert (fitted.logits(shots).argmax(1) == targets).all() and fitted.settings["folds"] == 4


def test_names_are_enough_without_words():
    names = [LABELS[k % 3] for k in range(12)]
    for method in ("gda", "prototype"):
        assert fit(things(1, 12), names, method).labels == tuple(sorted(LABELS))
        assert fit_shots(method, things(1, 12), [k % 3 for k in range(12)], Words, 2).settings["samples"] == 6


def test_a_prototype_is_the_mean_of_its_shots():
    shots, targets, f = things(1, 12), np.arange(12) % 3, things(2, 5)
    means = np.stack([shots.vectors[targets == k].astype(float).mean(0) for k in range(3)])
    cosines = f.vectors @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    fitted = Prototype.fit(shots, targets, LABELS, SCALE)
    np.testing.assert_allclose(fitted.logits(f), SCALE * cosines, atol=1e-5)
    assert fitted.predict(f, top_k=1)[0][0].cosine == pytest.approx(cosines[0].max(), abs=1e-6)
    opposite = Embedding(torch.cat([unit(1, 1, DIM), -unit(1, 1, DIM), unit(2, 1, DIM)]), "toy", "image")
    with pytest.raises(InputError, match="cancel out"):
        Prototype.fit(opposite, [0, 0, 1], LABELS[:2])
