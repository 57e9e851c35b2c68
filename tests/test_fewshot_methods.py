"""Tip-Adapter-F, APE, APE-T, CLAP and ProLIP against literal transcriptions of their equations and optimisers."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from clipx.embedding import Embedding
from clipx.errors import InputError, SpaceMismatchError, UnsupportedError
from clipx.fewshot import APE, CLAP, METHODS, APETrained, CacheModel, ProLIP, TipAdapterF, fit_shots
from clipx.fewshot.ape import GRID, informative_channels
from clipx.fewshot.descent import cosine, descend
from clipx.fewshot.selection import CROSS_VALIDATED, FIXED

LABELS, DIM, SCALE = ("chair", "night stand", "bed"), 6, 5.0
TARGETS = np.array([0, 1, 2, 0, 1, 2, 2])


def unit(seed: int, *shape: int) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def things(seed: int, rows: int) -> Embedding:
    return Embedding(unit(seed, rows, DIM), "toy", "image")


TEXT, SHOTS, INPUTS = Embedding(unit(0, 3, DIM), "toy", "text", LABELS), things(1, 7), things(2, 5)
T, X, F = (one.vectors.astype(float) for one in (TEXT, SHOTS, INPUTS))


class Words:
    labels, weights, logit_scale = LABELS, TEXT, SCALE


class Others:
    labels = ("lamp", "sofa")
    weights, logit_scale = Embedding(unit(9, 2, DIM), "toy", "text", labels), SCALE


def cross_entropy(logits: np.ndarray) -> float:
    return -np.mean(
        [row[t] - math.log(sum(math.exp(one) for one in row)) for row, t in zip(logits, TARGETS, strict=True)]
    )


def slope(loss, at: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """By central differences."""
    found = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        there, back = at.copy(), at.copy()
        there[place] += step
        back[place] -= step
        found[place] = (loss(there) - loss(back)) / (2 * step)
    return found


def adam(loss, at: np.ndarray, lr: float, steps: int, eps: float, decay: float = 0.0) -> np.ndarray:
    """Adam, with decoupled weight decay, along half a cosine."""
    first, second = np.zeros_like(at), np.zeros_like(at)
    for step in range(steps):
        rate, g = lr * (1 + math.cos(math.pi * step / steps)) / 2, slope(loss, at)
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
        mean, square = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        at = at * (1 - rate * decay) - rate * mean / (np.sqrt(square) + eps)
    return at


def voted(f, keys, alpha, beta, shares=None, words=T):
    logits = np.zeros((len(f), 3))
    for i, row in enumerate(f):
        for k in range(3):
            logits[i, k] = SCALE * row @ words[k]
        for s, (key, t) in enumerate(zip(keys, TARGETS, strict=True)):
            logits[i, t] += alpha * math.exp(-beta * (1 - row @ key)) * (1 if shares is None else shares[s])
    return logits


def test_tip_adapter_f_trains_its_keys_as_written():
    keys = adam(lambda at: cross_entropy(voted(X, at, 1.17, 1.0)), X, 1e-2, 4, 1e-4, decay=0.01)
    fitted = TipAdapterF.fit(SHOTS, TARGETS, TEXT, SCALE, lr=1e-2, epochs=4)
    np.testing.assert_allclose(fitted.keys, keys, atol=1e-5)
    np.testing.assert_allclose(fitted.logits(INPUTS), voted(F, keys, 1.17, 1.0), atol=1e-4)
    untrained = TipAdapterF.fit(SHOTS, TARGETS, TEXT, SCALE, lr=0.0)
    same = CacheModel(SHOTS, TARGETS, TEXT, SCALE, alpha=1.17, beta=1.0)
    torch.testing.assert_close(untrained.logits(INPUTS), same.logits(INPUTS))
    about = fit_shots("tip_adapter_f", SHOTS, TARGETS.tolist(), Words, 2).settings
    assert (about["epochs"], about["lr"], about["batch_size"], about["selection"]) == (20, 1e-3, 256, FIXED)


def literal_channels(text, shots, targets, keep, w1, w2):
    members = [[text[k], *(row for row, t in zip(shots, targets, strict=True) if t == k)] for k in range(len(text))]
    value = []
    for c in range(text.shape[1]):
        products = [
            a[c] * b[c]
            for i, own in enumerate(members)
            for j, other in enumerate(members)
            if i != j
            for a in own
            for b in other
        ]
        value.append(-w1 * np.mean(products) + w2 * np.var(text[:, c], ddof=1))
    return sorted(np.argsort(value)[::-1][:keep])


@pytest.mark.parametrize("share", [1 / DIM, 0.5, 800 / 1024, 1.0])
def test_channels_are_those_of_the_criterion(share):
    keep = round(share * DIM)
    both = informative_channels(torch.from_numpy(T), torch.from_numpy(X), torch.from_numpy(TARGETS), share, (0.5, 0.5))
    assert both.tolist() == literal_channels(T, X, TARGETS, keep, 0.5, 0.5)
    alone = informative_channels(torch.from_numpy(T), None, None, share, (0.2, 0.8))
    assert alone.tolist() == literal_channels(T, X[:0], TARGETS[:0], keep, 0.2, 0.8)


def test_ape_equals_its_equations():
    kept = literal_channels(T, X, TARGETS, 5, 0.5, 0.5)  # 800 / 1024 of 6

    def short(rows):
        return rows[:, kept] / np.linalg.norm(rows[:, kept], axis=1, keepdims=True)

    known = np.exp(short(X) @ short(T).T)
    known /= known.sum(1, keepdims=True)
    onehot = np.eye(3)[TARGETS]
    divergence = (onehot * np.log2((onehot + 1e-6) / (known + 1e-6))).sum(1)
    for alpha, beta, gamma in ((1.0, 1.0, 0.1), (3.0, 5.0, 0.5), (0.0, 1.0, 0.1)):
        own = voted(np.hstack([short(F)]), short(X), alpha, beta, np.exp(gamma * divergence), np.zeros((3, 5)))
        found = APE(SHOTS, TARGETS, TEXT, SCALE, alpha=alpha, beta=beta, gamma=gamma).logits(INPUTS)
        np.testing.assert_allclose(found, SCALE * F @ T.T + own, atol=1e-4)
    for wrong in ({"alpha": -1}, {"beta": math.nan}, {"gamma": math.inf}):
        with pytest.raises(InputError, match="alpha, beta and gamma"):
            APE(SHOTS, TARGETS, TEXT, SCALE, **wrong)


def test_ape_chooses_on_the_shots_and_begins_at_the_published_values():
    assert GRID[0] == {"alpha": 1.0, "beta": 1.0, "gamma": 0.1}
    one = APE.fit(SHOTS[:3], [0, 1, 2], TEXT, SCALE).settings
    assert (one["alpha"], one["beta"], one["gamma"], one["selection"]) == (1.0, 1.0, 0.1, FIXED)
    many = APE.fit(SHOTS, TARGETS, TEXT, SCALE).settings
    assert many["selection"] == CROSS_VALIDATED and many["folds"] == 2 and len(many["tried"]) == len(GRID)


def test_ape_t_moves_word_and_shots_of_a_class_alike():
    kept = literal_channels(T, X[:0], TARGETS[:0], 5, 0.2, 0.8)  # 900 / 1024 of 6

    def parts(at):
        change = np.zeros((3, DIM))
        change[:, kept] = at[:15].reshape(3, 5)
        return X + change[TARGETS], at[15:], T + change

    def loss(at):
        keys, shares, words = parts(at)
        return cross_entropy(voted(X, keys, 1.0, 1.0, shares, words))

    keys, shares, words = parts(adam(loss, np.r_[np.zeros(15), np.ones(7)], 1e-2, 4, 1e-3, decay=0.1))
    fitted = APETrained.fit(SHOTS, TARGETS, TEXT, SCALE, lr=1e-2, epochs=4)
    for found, expected in ((fitted.keys, keys), (fitted.shares, shares), (fitted.words, words)):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(fitted.logits(INPUTS), voted(F, keys, 1.0, 1.0, shares, words), atol=1e-4)
    assert fitted.settings["channels"] == 5


def test_clap_is_held_by_what_the_words_know():
    shares = np.exp(SCALE * X @ T.T)
    shares /= shares.sum(1, keepdims=True)
    hold = [np.mean([row[k] for row, t in zip(shares, TARGETS, strict=True) if t == k]) for k in range(3)]

    def logits(rows, at):
        return SCALE * rows @ (at / np.linalg.norm(at, axis=1, keepdims=True)).T

    def loss(at):
        return cross_entropy(logits(X, at)) + np.mean([hold[k] * ((at[k] - T[k]) ** 2).sum() for k in range(3)])

    at, momentum = T.copy(), np.zeros_like(T)
    for epoch in range(5):
        momentum = 0.9 * momentum + slope(loss, at)
        at = at - (1e-5 if epoch == 0 else 0.1 * (1 + math.cos(math.pi * epoch / 5)) / 2) * momentum
    fitted = CLAP.fit(SHOTS, TARGETS, TEXT, SCALE, epochs=5)
    np.testing.assert_allclose(fitted.logits(INPUTS), logits(F, at), atol=1e-4)
    assert fitted.settings["multipliers"] == pytest.approx(hold, abs=1e-6)
    about = fit_shots("clap", SHOTS, TARGETS.tolist(), Words, 2).settings
    assert (about["epochs"], about["lr"], about["selection"]) == (300, 0.1, FIXED)


def test_prolip_learns_a_map_held_to_the_identity():
    def logits(rows, matrix):
        mapped = rows @ matrix
        return SCALE * (mapped / np.linalg.norm(mapped, axis=1, keepdims=True)) @ T.T

    def loss(at):  # three shots in the largest class
        return cross_entropy(logits(X, at)) + ((at - np.eye(DIM)) ** 2).sum() / 3

    matrix = adam(loss, np.eye(DIM), 1e-2, 4, 1e-4)
    fitted = ProLIP.fit(SHOTS, TARGETS, TEXT, SCALE, lr=1e-2, epochs=4)
    np.testing.assert_allclose(fitted.matrix, matrix, atol=1e-5)
    np.testing.assert_allclose(fitted.logits(INPUTS), logits(F, matrix), atol=1e-4)
    assert fitted.settings["pull"] == pytest.approx(1 / 3)
    free = ProLIP.fit(SHOTS, TARGETS, TEXT, SCALE, lr=1e-2, pull=0.0)
    held = ProLIP.fit(SHOTS, TARGETS, TEXT, SCALE, lr=1e-2, pull=100.0)
    distances = [float((one.matrix - torch.eye(DIM)).norm()) for one in (free, fitted, held)]
    assert distances[0] > distances[1] and distances[0] > 10 * distances[2]


def test_prolip_carries_over_to_other_classes():
    fitted = ProLIP.fit(SHOTS, TARGETS, TEXT, SCALE, lr=1e-2)
    other = fitted.for_classes(Others)
    assert other.labels == Others.labels and torch.equal(other.matrix, fitted.matrix)
    mapped = normalize(torch.from_numpy(INPUTS.vectors) @ fitted.matrix, dim=1)
    torch.testing.assert_close(other.logits(INPUTS), SCALE * mapped @ torch.from_numpy(Others.weights.vectors).T)

    class Foreign(Others):
        weights = Embedding(unit(9, 2, DIM), "other", "text", Others.labels)

    with pytest.raises(SpaceMismatchError):
        fitted.for_classes(Foreign)
    for method in ("clap", "ape", "gda"):
        with pytest.raises(UnsupportedError):
            fit_shots(method, SHOTS, TARGETS.tolist(), Words, 2).for_classes(Others)


@pytest.mark.parametrize("method", ["tip_adapter_f", "ape", "ape_t", "clap", "prolip"])
def test_unusable_shots_and_training_are_refused(method):
    fit = METHODS[method].classifier.fit
    with pytest.raises(InputError, match="classes without a sample: bed"):
        fit(SHOTS, TARGETS.clip(0, 1), TEXT, SCALE)
    with pytest.raises(SpaceMismatchError):
        fit(SHOTS, TARGETS, Embedding(TEXT.vectors, "other", "text", LABELS), SCALE)
    with pytest.raises(InputError, match="logit_scale"):
        fit(SHOTS, TARGETS, TEXT, 0.0)
    if method != "ape":
        with pytest.raises(InputError, match="epochs"):
            fit(SHOTS, TARGETS, TEXT, SCALE, epochs=0)
        with pytest.raises(InputError, match="loss is"):
            fit(SHOTS, TARGETS, TEXT, SCALE, lr=math.nan, epochs=3)
    assert METHODS[method].classifier.closed_form == (method == "ape")


def test_the_loop_shows_every_row_once_an_epoch_at_falling_rates():
    weight, seen, rates = torch.zeros(1, requires_grad=True), [], []

    def loss_of(batch):
        seen.append(batch.tolist())
        return (weight - 1).square().sum()

    def rate(epoch, done):
        rates.append((epoch, done))
        return cosine(0.1)(epoch, done)

    descend(torch.optim.SGD([weight], lr=0.1), loss_of, 5, 2, 3, rate, seed=1)
    assert [len(batch) for batch in seen] == [3, 2, 3, 2] and rates == [(0, 0.0), (0, 0.25), (1, 0.5), (1, 0.75)]
    assert sorted(seen[0] + seen[1]) == sorted(seen[2] + seen[3]) == [0, 1, 2, 3, 4] and seen[0] != seen[2]
    assert cosine(0.1)(0, 0.0) == 0.1 and cosine(0.1)(0, 0.5) == pytest.approx(0.05)
    first = list(seen)
    seen.clear()
    descend(torch.optim.SGD([weight], lr=0.1), loss_of, 5, 2, 3, rate, seed=1)
    assert seen == first
