"""How long few-shot methods take on cached vectors: python tests/benchmarks/bench_fewshot.py [--json] [--classes K]

Made vectors of K classes (100) in 512 dimensions with a word for each. ``table``: every method in closed form at 1, 2,
4, 8 and 16 shots, five draws each, fitted and applied to 720 vectors, as ``clipx eval --methods closed`` does after
encoding. ``gda_over_probe``: GDA and the linear probe learn the same 16 shots in turn, cross-validation included; the
ratio of their times, with low and high as the 10th and 90th percentile over such pairs.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from timing import seconds, spread

from clipx._arrays import unit_rows
from clipx.embedding import Embedding
from clipx.fewshot import METHODS, fit_shots

DIM, TESTED, SHOTS, DRAWS = 512, 720, (1, 2, 4, 8, 16), 5


class Words:
    """What a zero-shot classifier gives to methods: weights that lie somewhere near their classes."""

    logit_scale = 44.7
    prompts = ("a photo of a {}",)

    def __init__(self, labels: tuple[str, ...], centres: np.ndarray, rng: np.random.Generator):
        self.labels = labels
        rows = unit_rows(centres + 0.8 * unit_rows(rng.normal(size=centres.shape)))
        self.weights = Embedding(rows, "made", "text", labels)


def made(classes: int) -> tuple[Embedding, list[int], Embedding, Words]:
    """Vectors to learn from and their classes, vectors to test on, and the words."""
    rng = np.random.default_rng(0)
    centres = unit_rows(rng.normal(size=(classes, DIM)))
    targets = [k for k in range(classes) for _ in range(20)]
    train, test = (
        Embedding(unit_rows(centres[rows] + 1.2 * unit_rows(rng.normal(size=(len(rows), DIM)))), "made", "image")
        for rows in (targets, rng.integers(0, classes, TESTED).tolist())
    )
    return train, targets, test, Words(tuple(f"class {k:03d}" for k in range(classes)), centres, rng)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=3)
    args = parser.parse_args()
    train, targets, test, words = made(args.classes)
    # entropy reads texts, which is encoding
    closed = [name for name, one in METHODS.items() if one.classifier.closed_form and not one.classifier.uses_tower]

    def table() -> None:
        for name in closed:
            for shots in SHOTS:
                for seed in range(DRAWS):
                    fit_shots(name, train, targets, words, shots, seed).logits(test)

    def once(name: str) -> float:
        return seconds(lambda: fit_shots(name, train, targets, words, 16, 0))

    once("gda")
    pairs = [(once("gda"), once("probe")) for _ in range(args.pairs)]
    found: dict[str, Any] = {
        "classes": args.classes,
        "dim": DIM,
        "closed": closed,
        "table_s": round(seconds(table), 2),
        "gda_s": spread([gda for gda, _ in pairs]),
        "probe_s": spread([probe for _, probe in pairs]),
        "gda_over_probe": spread([gda / probe for gda, probe in pairs]),
    }
    if args.json:
        print(json.dumps(found, indent=1))
        return
    print(f"closed forms ({', '.join(closed)}), 1 to 16 shots, {DRAWS} draws: {found['table_s']:.1f} s")
    ratio = found["gda_over_probe"]
    print(
        f"GDA {found['gda_s']['median']:.2f} s, probe {found['probe_s']['median']:.1f} s at 16 shots: "
        f"{ratio['median']:.1%} ({ratio['low']:.1%} to {ratio['high']:.1%})"
    )


if __name__ == "__main__":
    main()
