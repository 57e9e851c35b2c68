"""How long a photo of 480 px takes to be segmented, in passes of the encoder over the same pixels.

    python tests/benchmarks/bench_segment.py [--space lite] [--repeats 7]

Both run in turn in one process; median and spread of the ratio. The encoder's own pass is that of the dense features of
480 x 640 pixels without anything else. "default" looks at the photo as ``clipx segment`` does, with a shorter side of
1.25 times the tower's; "480 px" looks at all of its pixels.
"""

from __future__ import annotations

import argparse
import statistics

import torch
from timing import seconds

import clipx
from clipx.modalities.segment import SegmentConfig, Segmenter

LABELS = ("cat", "dog", "sofa", "grass", "sky", "car", "person", "tree", "chair", "television")
CASES = {
    "default": {},
    "480 px, no refinement": {"side": 480, "refine": "none"},
    "480 px, superpixels": {"side": 480, "refine": "superpixels"},
    "480 px, PAMR": {"side": 480},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="lite")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    space = clipx.load_space(args.space, backend="torch")
    coarse = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    photo = torch.nn.functional.interpolate(coarse, (480, 640), mode="bicubic").clamp(0, 1)[0]

    def encoder() -> None:
        with torch.inference_mode():
            space.dense_image(photo[None])

    for name, settings in CASES.items():
        segmenter = Segmenter(space, SegmentConfig(labels=LABELS, **settings))
        ratios, own = [], []
        for i in range(args.repeats + 1):
            base = seconds(encoder)
            took = seconds(lambda: segmenter(photo).mask)  # noqa: B023
            if i:  # the first warms up
                ratios.append(took / base)
                own.append(took)
        low, high = min(ratios), max(ratios)
        took = statistics.median(own)
        print(f"{name}: {statistics.median(ratios):.2f} passes ({low:.2f} to {high:.2f}), {took:.3f} s")


if __name__ == "__main__":
    main()
