"""How fast depth is beside its encoder: python tests/benchmarks/bench_depth.py [--json] [--repeats N] [--threads N]

A photo of 480 x 640, untrained weights, which take as long as trained ones.

- encoder: the image tower's own layers on the photo, without its head (a ResNet's pool, a ViT's projection), as
  ``JointSpace.stages`` runs them at that size.
- estimate: from the same pixels to metres for each of them, the words read beforehand; and from there to the files'
  bytes: 16-bit PNG, colours with a scale, responses.

Encoder and estimate run in turn. A ratio is the median over pairs of runs; low and high are the 10th and 90th
percentile.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch
from timing import seconds, spread

from clipx.modalities.depth import show
from clipx.modalities.depth.estimator import Estimator
from clipx.modalities.depth.files import depth_png
from clipx.space import random_space

SIZE = (480, 640)
ARCHITECTURES = ("ViT-B-32", "RN50")


def bench(architecture: str, repeats: int) -> dict[str, Any]:
    space = random_space(architecture)
    pixels = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    see = Estimator(space)
    found = see(pixels)[0]  # warm

    def encoder() -> None:
        with torch.no_grad():
            space.stages(pixels)

    encoder()
    ours, theirs = [], []
    for _ in range(repeats):
        theirs.append(seconds(encoder))
        ours.append(seconds(lambda: see(pixels)))
    files = [
        seconds(lambda: (depth_png(found.depth), show.scale_png(found), show.responses_png(found, pixels[0])))
        for _ in range(3)
    ]
    return {
        "encoder_seconds": spread(theirs),
        "estimate_seconds": spread(ours),
        "ratio": spread([a / b for a, b in zip(ours, theirs, strict=True)]),
        "files_seconds": spread(files),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    found: dict[str, Any] = {"threads": torch.get_num_threads(), "size": SIZE}
    found |= {architecture: bench(architecture, given.repeats) for architecture in ARCHITECTURES}
    if given.json:
        print(json.dumps(found))
        return
    for name, figures in found.items():
        print(name, "" if isinstance(figures, dict) else figures)
        for what, value in figures.items() if isinstance(figures, dict) else ():
            print(f"  {what}: {value}")


if __name__ == "__main__":
    main()
