"""How fast dense features are beside the encoder: python tests/benchmarks/bench_dense.py [--json] [--repeats N]

Untrained weights, which take as long as trained ones. For each architecture, size and path, ``dense_image`` and the
encoder run in turn; the ratio is the median over such pairs, low and high are the 10th and 90th percentile. The encoder
is ``encode_image`` at the architecture's own size, and the layers of the image tower (``stages``) at another one.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch
from timing import seconds, spread

from clipx.space import JointSpace, random_space

ARCHITECTURES = ("ViT-B-16", "RN50")
OTHER_SIZE = (480, 640)


def bench(space: JointSpace, size: tuple[int, int], repeats: int) -> dict[str, Any]:
    """Path -> ratio to the encoder at that size."""
    pixels = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    own = size == space.image_size

    def encoder() -> None:
        space.encode_image(pixels) if own else space.stages(pixels)

    found: dict[str, Any] = {}
    with torch.inference_mode():
        for path in space.dense_paths:

            def dense(path: str = path) -> None:
                space.dense_image(pixels, path=path)

            encoder()
            dense()
            pairs = [(seconds(dense), seconds(encoder)) for _ in range(repeats)]
            found[path] = {
                "ratio": spread([a / b for a, b in pairs]),
                "encoder_seconds": spread([b for _, b in pairs]),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    rows = []
    for architecture in ARCHITECTURES:
        space = random_space(architecture)
        for size in (space.image_size, OTHER_SIZE):
            rows += [
                {"architecture": architecture, "size": size, "path": path, **row}
                for path, row in bench(space, size, given.repeats).items()
            ]
    if given.json:
        print(json.dumps({"threads": torch.get_num_threads(), "rows": rows}))
        return
    for row in rows:
        ratio = row["ratio"]
        size = "x".join(map(str, row["size"]))
        print(
            f"{row['architecture']:9} {size:8} {row['path']:10} {ratio['median']:.2f}x "
            f"({ratio['low']:.2f} to {ratio['high']:.2f}) of {row['encoder_seconds']['median']:.3f} s"
        )


if __name__ == "__main__":
    main()
