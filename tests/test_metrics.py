"""Figures against hand-worked tables, plain re-implementations and scikit-learn's numbers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipx.errors import InputError
from clipx.metrics import (
    bootstrap_ci95,
    classification,
    confusion,
    mcnemar,
    per_class_accuracy,
    ranking,
    retrieval,
)

LOGITS = [[3, 2, 1, 0, -1, -2], [0, 9, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6], [9, 8, 7, 6, 5, 4]]


def test_classification_by_hand():
    figures = classification(LOGITS, [0, 1, 0, 1])  # the third sample's class ranks last, the fourth's second
    assert figures == {"acc1": 0.5, "acc5": 0.75, "mean_per_class_recall": 0.5}


def test_mean_per_class_recall_weighs_classes_not_samples_and_skips_absent_ones():
    logits = torch.eye(3)[[0, 0, 0, 0, 1]]  # class 2 never occurs; recalls 3/3 and 1/2
    figures = classification(logits, [0, 0, 0, 1, 1])
    assert figures["acc1"] == 0.8 and figures["mean_per_class_recall"] == pytest.approx((1 + 1 / 2) / 2)


def test_acc5_is_nan_under_five_classes():
    assert math.isnan(classification([[1.0, 0, 0, 0]], [0])["acc5"])
    assert classification([[1.0, 0, 0, 0, 0]], [4])["acc5"] == 1


def test_equal_scores_rank_by_index():
    assert classification([[0.0] * 6], [0])["acc1"] == 1
    assert classification([[0.0] * 6], [5])["acc5"] == 0


@pytest.mark.parametrize(
    ("logits", "targets"),
    [(np.zeros((0, 3)), []), ([[1.0, 2.0]], [2]), ([[1.0, 2.0]], [-1]), ([[1.0, 2.0]], [0, 1]), ([[math.nan, 1]], [0])],
)
def test_classification_refuses(logits, targets):
    with pytest.raises(InputError):
        classification(logits, targets)


def test_confusion():
    np.testing.assert_array_equal(confusion([0, 1, 1], [0, 0, 2], 3), [[1, 1, 0], [0, 0, 0], [0, 1, 0]])
    assert confusion([], [], 2).sum() == 0
    for predicted, targets in [([0], [0, 1]), ([3], [0]), ([0], [-1])]:
        with pytest.raises(InputError):
            confusion(predicted, targets, 3)


def test_per_class_accuracy():
    np.testing.assert_array_equal(per_class_accuracy([[3, 1, 0], [0, 0, 0], [2, 0, 0]]), [0.75, np.nan, 0])
    targets, predicted = np.random.default_rng(0).integers(0, 4, (2, 100))
    found = per_class_accuracy(confusion(predicted, targets, 4))
    np.testing.assert_allclose(found, [(predicted[targets == k] == k).mean() for k in range(4)])
    assert found.mean() == classification(np.eye(4)[predicted], targets)["mean_per_class_recall"]
    for wrong in ([[1, 2]], [1], [[0.5]], [[-1]]):
        with pytest.raises(InputError):
            per_class_accuracy(wrong)


def test_ranking_by_hand():
    scores = [[0.9, 0.8, 0.7, 0.6], [0.1, 0.2, 0.3, 0.4]]
    positives = [[False, True, False, True], [True, False, False, False]]  # ranks 2 and 4; rank 4
    figures = ranking(scores, positives, ks=(1, 2, 4, 9))
    assert figures["mAP"] == pytest.approx(((1 / 2 + 2 / 4) / 2 + 1 / 4) / 2)
    assert figures["MRR"] == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert [figures[f"hit@{k}"] for k in (1, 2, 4, 9)] == [0, 0.5, 1, 1]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 8))
def test_ranking_equals_the_definition(seed, queries, items):
    rng = np.random.default_rng(seed)
    scores, positives = rng.normal(size=(queries, items)), rng.random((queries, items)) < 0.4
    positives[:, 0] |= ~positives.any(axis=1)
    precisions, reciprocals = [], []
    for q in range(queries):
        ranks = [r for r, i in enumerate(np.argsort(-scores[q]), start=1) if positives[q, i]]
        precisions.append(np.mean([n / r for n, r in enumerate(ranks, start=1)]))
        reciprocals.append(1 / ranks[0])
    figures = ranking(scores, positives)
    assert figures["mAP"] == pytest.approx(np.mean(precisions)) and figures["MRR"] == pytest.approx(
        np.mean(reciprocals)
    )


def test_retrieval_recalls_look_both_ways():
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])  # texts 0 and 1 belong to image 0, text 2 to image 1
    positives = torch.tensor([[True, False], [True, False], [False, True]])
    figures = retrieval(scores, positives, ks=(1,))
    assert figures == {"image_retrieval_recall@1": 1, "text_retrieval_recall@1": 1}
    figures = retrieval(-scores, positives, ks=(1, 2))
    assert figures["image_retrieval_recall@1"] == 0 and figures["text_retrieval_recall@2"] == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("scores", "positives", "ks"),
    [
        ([[1.0]], [[False]], (1,)),
        ([[1.0]], [[True]], (0,)),
        ([[1.0]], [[True, True]], (1,)),
        (np.zeros((0, 2)), [], (1,)),
    ],
)
def test_ranking_refuses(scores, positives, ks):
    with pytest.raises(InputError):
        ranking(scores, positives, ks)


def test_bootstrap_interval():
    correct = np.arange(1000) < 600
    low, high = bootstrap_ci95(correct)
    spread = 1.96 * math.sqrt(0.6 * 0.4 / 1000)
    assert (low, high) == pytest.approx((0.6 - spread, 0.6 + spread), abs=0.003)
    assert bootstrap_ci95(torch.from_numpy(correct)) == (low, high) != bootstrap_ci95(correct, seed=1)
    assert bootstrap_ci95([True, True]) == (1, 1)
    low, high = bootstrap_ci95(np.linspace(0, 10, 200))  # not only right-or-wrong values
    assert low < 5 < high and high - low == pytest.approx(
        2 * 1.96 * np.linspace(0, 10, 200).std() / math.sqrt(200), rel=0.05
    )
    for unusable in ([], [math.nan]):
        with pytest.raises(InputError):
            bootstrap_ci95(unusable)


def test_mcnemar_by_hand():
    first = [1, 1, 1, 1, 1, 0, 0, 1]
    second = [0, 0, 0, 0, 0, 1, 0, 1]  # five wins, one loss, two alike: p = 2 (1 + 6) / 64
    assert mcnemar(first, second) == {"first_only": 5, "second_only": 1, "discordant": 6, "p": 2 * 7 / 64}
    assert mcnemar([1, 0], [1, 0])["p"] == 1 and mcnemar([1, 0], [0, 1])["p"] == 1
    assert mcnemar([0] * 9999, [1] * 9999)["p"] == 0  # below what a float holds
    for wrong in (([], []), ([1], [1, 0]), ([[1]], [[0]])):
        with pytest.raises(InputError):
            mcnemar(*wrong)


@pytest.mark.parametrize("seed", range(5))
def test_mcnemar_is_scipys_binomial_test(seed):
    from scipy.stats import binomtest

    rng = np.random.default_rng(seed)
    first, second = rng.random((2, 60)) < [[0.7], [0.4]]
    found = mcnemar(first, second)
    assert found["p"] == pytest.approx(binomtest(found["first_only"], found["discordant"]).pvalue, rel=1e-9)
    assert mcnemar(second, first)["p"] == found["p"]
