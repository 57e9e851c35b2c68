"""Batches on a CPU: encoded whole beside in parts (``clipx.backends.torch.PIXELS_PER_THREAD``), in turns in one run.

    python tests/benchmarks/bench_batches.py [--towers lite random:RN50 random:ViT-B-16] [--batch 32] [--json]

Milliseconds a picture by the torch backend, median and spread of the repeats; the first one of each is not counted.
"""

from __future__ import annotations

import argparse
import json
from functools import partial

import numpy as np
import torch
from timing import seconds, spread

from clipx import load_space
from clipx.backends import torch as backend

WHOLE = 1 << 40  # pixels: more than any batch has


def measured(name: str, batch: int, repeats: int) -> dict:
    space = load_space(name, backend="torch")
    pixels = np.random.default_rng(0).random((batch, 3, *space.image_size), dtype=np.float32)
    limits, times = {"whole": WHOLE, "parts": backend.PIXELS_PER_THREAD}, {"whole": [], "parts": []}
    for repeat in range(1 + repeats):
        for way, limit in limits.items():
            backend.PIXELS_PER_THREAD = limit
            ms = seconds(partial(space.encode_image, pixels)) / batch * 1e3
            times[way] += [ms] if repeat else []
    backend.PIXELS_PER_THREAD = limits["parts"]
    row = {"tower": name, "batch": batch, "threads": torch.get_num_threads()}
    return row | {f"{way}_ms": spread(found) for way, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--towers", nargs="+", default=["lite", "random:RN50", "random:ViT-B-16", "random:ViT-B-32"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON record")
    given = parser.parse_args()
    rows = [measured(name, given.batch, given.repeats) for name in given.towers]
    if given.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        whole, parts = (
            "{median:.1f} ({low:.1f} to {high:.1f})".format(**row[f"{way}_ms"]) for way in ("whole", "parts")
        )
        ratio = row["whole_ms"]["median"] / row["parts_ms"]["median"]
        print(f"{row['tower']:18} {row['batch']} at once {whole} ms a picture, in parts {parts}: {ratio:.2f}")


if __name__ == "__main__":
    main()
