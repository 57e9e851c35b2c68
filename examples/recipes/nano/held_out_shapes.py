"""Shapes for choosing settings on: made by the recipe's generator with a seed that training never draws from.

    python examples/recipes/nano/held_out_shapes.py FOLDER [--per-class 4] [--classes all|modelnet10]

writes class folders of .off meshes, z up. Settings chosen here are chosen without a single shape of a test set:

    clipx eval pointcloud FOLDER --up z --sweep projection=pointclip_v1,shaded --sweep prompts=pointcloud,rendering
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import shapes
from pictures import MODELNET10

SEED = 7_000_000  # the recipe's seeds are small


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--per-class", type=int, default=4)
    parser.add_argument("--classes", choices=("all", "modelnet10"), default="all")
    args = parser.parse_args()
    names = shapes.CLASSES if args.classes == "all" else [name for name in shapes.CLASSES if name in MODELNET10]
    for name in names:
        folder = args.folder / name.replace(" ", "_")
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(args.per_class):
            mesh = shapes.make(name, np.random.default_rng([SEED, list(shapes.CLASSES).index(name), i]))
            (folder / f"{i:03d}.off").write_text(off(mesh.vertices, mesh.faces))


def off(vertices: np.ndarray, faces: np.ndarray) -> str:
    """The text of an OFF file."""
    points = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in vertices)
    triangles = "\n".join("3 " + " ".join(map(str, row)) for row in faces)
    return f"OFF\n{len(vertices)} {len(faces)} 0\n{points}\n{triangles}\n"


if __name__ == "__main__":
    main()
