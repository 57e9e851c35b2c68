"""Retrieval between samples and sentences about them: recalls and ranks both ways, with intervals and chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import comb
from typing import Any

import numpy as np

from clipx.metrics import bootstrap_ci95, first_ranks

DEPTHS = (1, 5, 10)
_RESAMPLES = 10_000
_AT_ONCE = 2**22  # ranks that are drawn: 32 MB


def pairs_of(ids: Sequence[str], captions: Sequence[str]) -> tuple[list[int], list[str], np.ndarray]:
    """Rows of (sample, sentence) -> what is ranked; a sample or a sentence of several rows is one.

    Returns:
        The rows in which each of the G samples stands first; the Q sentences; and which belong together, (Q, G) bool.
    """
    first: dict[str, int] = {}
    for row, name in enumerate(ids):
        first.setdefault(name, row)
    sentences = list(dict.fromkeys(captions))
    places = {name: i for i, name in enumerate(first)}
    positives = np.zeros((len(sentences), len(first)), bool)
    rows = {sentence: i for i, sentence in enumerate(sentences)}
    for name, caption in zip(ids, captions, strict=True):
        positives[rows[caption], places[name]] = True
    return list(first.values()), sentences, positives


def both_ways(scores: np.ndarray, positives: np.ndarray, name: str, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Figures of the search by sentences and of the search for sentences.

    Args:
        scores: (Q, G) of Q sentences with G samples.
        positives: (Q, G) bool.
        name: of the modality.
        seed: of the bootstrap.

    Returns:
        ``"text_to_NAME"`` and ``"NAME_to_text"`` -> see ``figures``.
    """
    ways = {f"text_to_{name}": (scores, positives), f"{name}_to_text": (scores.T, positives.T)}
    return {way: figures(*both, seed=seed) for way, both in ways.items()}


def figures(scores: np.ndarray, positives: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """Recalls and ranks of Q queries in a gallery of G.

    Returns:
        ``R@k``: share of queries that find a positive among the best k; a depth of G or more is left out, as it is met
        by whatever ranking. ``MdR`` and ``MnR``: median and mean of the first positive's rank, 1 for the first.
        ``ci95``: bootstraps over the queries, 95 %, of each of them. ``chance``: each by a random order. ``n``,
        ``gallery``: Q and G.
    """
    ranks, gallery = first_ranks(scores, positives), scores.shape[1]
    counts = positives.sum(1).tolist()
    depths = [k for k in DEPTHS if k < gallery]
    found: dict[str, Any] = {f"R@{k}": float((ranks <= k).mean()) for k in depths}
    interval = {f"R@{k}": bootstrap_ci95(ranks <= k, seed) for k in depths}
    chance = {f"R@{k}": float(np.mean([_by_chance(gallery, own, k) for own in counts])) for k in depths}
    rng, drawn = np.random.default_rng(seed), np.empty((2, _RESAMPLES))
    for part in np.array_split(np.arange(_RESAMPLES), -(-_RESAMPLES * len(ranks) // _AT_ONCE)):
        some = ranks[rng.integers(len(ranks), size=(len(part), len(ranks)))]
        drawn[:, part] = np.median(some, axis=1), some.mean(1)
    for key, of, means in (("MdR", np.median, drawn[0]), ("MnR", np.mean, drawn[1])):
        found[key] = float(of(ranks))
        low, high = np.percentile(means, [2.5, 97.5]).tolist()
        interval[key] = low, high
    chance["MnR"] = float(np.mean([(gallery + 1) / (own + 1) for own in counts]))
    return {**found, "ci95": interval, "chance": chance, "n": len(ranks), "gallery": gallery}


def _by_chance(gallery: int, positives: int, depth: int) -> float:
    """How likely one of the positives is among the first ``depth`` of a random order."""
    return 1 - comb(gallery - positives, depth) / comb(gallery, depth)


def cells(row: Mapping[str, Any], key: str) -> str:
    """One figure for a table: ``66.7% (44.4 to 88.9%)``, or a rank with its interval."""
    if key not in row:
        return ""
    low, high = row["ci95"][key]
    if key.startswith("R@"):
        return f"{row[key]:.1%} ({100 * low:.1f} to {high:.1%})"
    return f"{row[key]:.1f} ({low:.1f} to {high:.1f})"
