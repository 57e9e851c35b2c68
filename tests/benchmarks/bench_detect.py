"""How fast detection is: python tests/benchmarks/bench_detect.py [--json] [--repeats N] [--threads N] [--space NAME]

A made photo of 480 x 640 and 100 proposals of it, the same for both ways.

- selective: the photo to its proposals.
- dense: proposals to logits of 20 labels from one map of the photo.
- crops: the same from crops at 1 and 1.5 times the box, 200 of them and 64 random ones for the background.
- detect: the photo to its detections, dense.

Dense and crops run in turn. A ratio is the median over pairs of runs; low and high are the 10th and 90th percentile.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import torch
from timing import seconds, spread

import clipx
from clipx.modalities.detect import DetectConfig, Detector, RegionEncoder, propose

SIZE, PROPOSALS, LABELS = (480, 640), 100, 20


def made_photo() -> torch.Tensor:
    """Soft noise with bright rectangles on it: about as many regions as a photo has."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 24, 32, generator=rng)
    photo = torch.nn.functional.interpolate(coarse, SIZE, mode="bicubic")[0] * 0.5
    for _ in range(12):
        top, left = (int(torch.randint(0, side - 100, (1,), generator=rng)) for side in SIZE)
        photo[:, top : top + 80, left : left + 60] = torch.rand(3, 1, 1, generator=rng)
    return (photo + 0.02 * torch.randn(photo.shape, generator=rng)).clamp(0, 1)


def bench(name: str, repeats: int) -> dict[str, Any]:
    space, photo = clipx.load_space(name, backend="torch"), made_photo()
    proposals = propose(photo, "selective", PROPOSALS)
    weights = torch.nn.functional.normalize(torch.randn(LABELS, space.dim), dim=1)
    detector = Detector(space, DetectConfig(labels=("chair", "table", "dog", "person")))
    ways = {how: RegionEncoder(space, how) for how in ("dense", "crops")}
    runs: dict[str, Callable[[], Any]] = {"selective": lambda: propose(photo, "selective", 300)}
    runs |= {how: lambda one=one: one.logits(photo, proposals.boxes, weights) for how, one in ways.items()}
    runs["detect"] = lambda: detector(photo)
    for run in runs.values():
        run()  # warm
    times: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(repeats):
        for key, run in runs.items():
            times[key].append(seconds(run))
    ratios = [crops / dense for crops, dense in zip(times["crops"], times["dense"], strict=True)]
    found = {f"{key}_s": spread(values) for key, values in times.items()}
    return {"space": name, "proposals": len(proposals)} | found | {"crops_per_dense": spread(ratios)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--space", default="lite")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    record = {"threads": given.threads, **bench(given.space, given.repeats)}
    if given.json:
        print(json.dumps(record, indent=2))
    else:
        for key, value in record.items():
            print(f"{key:16} {value}")
