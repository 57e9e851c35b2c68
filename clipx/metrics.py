"""Classification and retrieval figures under CLIP_benchmark's names; every figure is a float in [0, 1].

Inputs are tensors or arrays. Among equal scores the lower index ranks first, so that a figure never depends on the
machine's sort.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clipx.errors import InputError


def classification(logits: Any, targets: Any) -> dict[str, float]:
    """Figures of a K-way classification of N samples.

    Args:
        logits: (N, K) scores, larger is better.
        targets: (N,) true classes, integers in [0, K).

    Returns:
        ``acc1`` and ``acc5``: share of samples whose class is among the best 1 and 5 scores (``acc5`` is NaN under five
        classes, where it says nothing). ``mean_per_class_recall``: mean over the classes that occur in ``targets`` of
        the share of their samples that are named right.

    Raises:
        InputError: no samples, mismatched shapes, a target out of range or a NaN score.
    """
    scores, classes = _scores(logits), torch.as_tensor(targets).cpu().long()
    n, k = scores.shape
    if classes.shape != (n,) or int(classes.min()) < 0 or int(classes.max()) >= k:
        raise InputError(f"targets must be {n} integers in [0, {k}), got shape {tuple(classes.shape)}")
    ranks = _order(scores).eq(classes[:, None]).int().argmax(dim=1)  # place of the true class, 0 for the best
    right, total = (ranks == 0).double(), torch.bincount(classes, minlength=k)
    recall = torch.zeros(k, dtype=torch.float64).index_add_(0, classes, right) / total
    return {
        "acc1": float(right.mean()),
        "acc5": float((ranks < 5).double().mean()) if k >= 5 else float("nan"),
        "mean_per_class_recall": float(recall[total > 0].mean()),
    }


def confusion(predicted: Any, targets: Any, num_classes: int) -> np.ndarray:
    """(K, K) int64 counts: the row is the true class, the column the predicted one.

    Raises:
        InputError: different lengths or a class out of range.
    """
    rows, columns = (np.asarray(classes, dtype=np.int64).ravel() for classes in (targets, predicted))
    if rows.size != columns.size or not all(((c >= 0) & (c < num_classes)).all() for c in (rows, columns)):
        raise InputError(f"predicted and targets must be equally many integers in [0, {num_classes})")
    return np.bincount(rows * num_classes + columns, minlength=num_classes**2).reshape(num_classes, num_classes)


def per_class_accuracy(table: Any) -> np.ndarray:
    """Share of each class's samples that are named right: (K,) float64, NaN for a class without samples.

    Args:
        table: (K, K) counts of ``confusion``; several tables may be added up first.

    Raises:
        InputError: not a square table of counts.
    """
    counts = np.asarray(table)
    if counts.ndim != 2 or len(set(counts.shape)) != 1 or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise InputError(f"a confusion table is (K, K) counts, got {counts.shape} {counts.dtype}")
    total = counts.sum(axis=1)
    return np.where(total > 0, counts.diagonal() / np.maximum(total, 1), np.nan)


def retrieval(scores: Any, positives: Any, ks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """CLIP_benchmark's recalls between T texts and I images.

    Args:
        scores: (T, I), larger is better.
        positives: (T, I) booleans: which image belongs to which text.
        ks: depths; a depth beyond the gallery counts the whole gallery.

    Returns:
        ``image_retrieval_recall@k``: share of texts with any of their images among the best k;
        ``text_retrieval_recall@k``: share of images with any of their texts among the best k.

    Raises:
        InputError: as for ``ranking``.
    """
    scores, positives = _scores(scores), torch.as_tensor(positives).cpu().bool()
    figures: dict[str, float] = {}
    for name, s, p in (("image", scores, positives), ("text", scores.T, positives.T)):
        hits = ranking(s, p, ks)
        figures |= {f"{name}_retrieval_recall@{k}": hits[f"hit@{k}"] for k in ks}
    return figures


def ranking(scores: Any, positives: Any, ks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """Figures of Q queries against a gallery of G items.

    Args:
        scores: (Q, G), larger is better.
        positives: (Q, G) booleans: which items are right for which query; at least one each.
        ks: depths of ``hit@k``.

    Returns:
        ``mAP``: mean over queries of the average precision, the mean over a query's positives of the precision at
        their rank, over the whole gallery. ``MRR``: mean of 1 / rank of the first positive. ``hit@k``: share of
        queries with any positive among the best k.

    Raises:
        InputError: no queries, mismatched shapes, a NaN score, a depth below 1 or a query without a positive.
    """
    scores, positives = _scores(scores), torch.as_tensor(positives).cpu().bool()
    if positives.shape != scores.shape:
        raise InputError(f"positives must be {tuple(scores.shape)} as the scores are, got {tuple(positives.shape)}")
    if not bool(positives.any(dim=1).all()):
        raise InputError("a query has no positive in the gallery", remedy="leave it out: it can only be missed")
    if any(k < 1 for k in ks):
        raise InputError(f"depths must be at least 1, got {list(ks)}")
    right = positives.gather(1, _order(scores)).double()  # (Q, G), best first
    places = torch.arange(1, right.shape[1] + 1, dtype=torch.float64)
    average_precision = (right * right.cumsum(dim=1) / places).sum(dim=1) / right.sum(dim=1)
    first = right.argmax(dim=1)  # place of the first positive, 0 for the best
    return {
        "mAP": float(average_precision.mean()),
        "MRR": float((1 / (first + 1).double()).mean()),
        **{f"hit@{k}": float((first < k).double().mean()) for k in ks},
    }


def first_ranks(scores: Any, positives: Any) -> np.ndarray:
    """Of each query the rank of its best positive: (Q,) int64, 1 for the first. Arguments and errors as of ``ranking``.

    >>> first_ranks([[0.1, 0.9, 0.5]], [[True, False, True]]).tolist()
    [2]
    """
    scores, positives = _scores(scores), torch.as_tensor(positives).cpu().bool()
    if positives.shape != scores.shape or not bool(positives.any(dim=1).all()):
        raise InputError(f"every query needs a positive among {scores.shape[1]}, got shape {tuple(positives.shape)}")
    return positives.gather(1, _order(scores)).int().argmax(dim=1).numpy().astype(np.int64) + 1


def bootstrap_ci95(values: Any, seed: int = 0, resamples: int = 10_000) -> tuple[float, float]:
    """Percentile bootstrap interval, 95 %, of the mean of N values.

    Resampling N values with replacement is one multinomial draw over the distinct ones, so right-or-wrong figures of
    any N cost nothing.

    Args:
        values: (N,) numbers, for an accuracy the booleans ``predicted == target``.
        seed: same seed, same interval.
        resamples: number of resampled means.

    Returns:
        The 2.5th and 97.5th percentiles.

    Raises:
        InputError: no values, or NaN among them.
    """
    sample = np.asarray(values, dtype=np.float64).ravel()
    if not sample.size or np.isnan(sample).any():
        raise InputError(f"an interval needs at least one value and no NaN, got {sample.size} values")
    distinct, counts = np.unique(sample, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(sample.size, counts / sample.size, size=resamples)
    low, high = np.percentile(draws @ distinct / sample.size, [2.5, 97.5])
    return float(low), float(high)


def mcnemar(first: Any, second: Any) -> dict[str, float]:
    """McNemar's exact test, two-sided: are two ways of answering the same N questions right equally often?

    Only the questions that they answer differently tell. Were the ways equal, the share of these that the first one
    wins would be a fair coin's (McNemar, 1947; the binomial in place of his chi-square).

    Args:
        first: (N,) booleans, whether the first way is right.
        second: (N,) booleans of the second way, in the same order.

    Returns:
        ``first_only`` and ``second_only``: how many only that one has right; ``discordant``: their sum; ``p``: chance
        of a split at least as uneven, 1 where nothing is discordant.

    Raises:
        InputError: no questions, or different numbers of answers.
    """
    a, b = (np.asarray(right, dtype=bool) for right in (first, second))
    if a.ndim != 1 or a.shape != b.shape or not a.size:
        raise InputError(f"a paired test needs two equally long rows of answers, got shapes {a.shape} and {b.shape}")
    wins, losses = int((a & ~b).sum()), int((b & ~a).sum())
    n = wins + losses
    p = min(1.0, 2 * sum(math.comb(n, k) for k in range(min(wins, losses) + 1)) / 2**n)  # whole numbers: no rounding
    return {"first_only": wins, "second_only": losses, "discordant": n, "p": p}


def _scores(scores: Any) -> Tensor:
    table = torch.as_tensor(scores).detach().cpu()
    if table.ndim != 2 or not table.numel() or bool(table.isnan().any()):
        raise InputError(f"scores must be a non-empty table without NaN, got shape {tuple(table.shape)}")
    return table


def _order(scores: Tensor) -> Tensor:
    return scores.argsort(dim=1, descending=True, stable=True)
