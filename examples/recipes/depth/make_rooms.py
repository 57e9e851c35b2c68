"""Rooms that are made, not photographed, with their true depth: a set for ``clipx train depth`` without any licence.

    python examples/recipes/depth/make_rooms.py rooms
    clipx train depth rooms --space nano --kind linear --mean-map -o modalities/depth/fits/nano/rooms.safetensors
    clipx train depth rooms --space nano --kind prompts -o modalities/depth/fits/nano/rooms-words.safetensors

make the fits that come with nano, and ``--space lite`` those of lite. The first line writes ``rooms/labels.csv`` with
the folds train (160 rooms) and test (24), pictures of 384 x 288 pixels and depth in millimetres; with
``--samples examples/data/rooms`` it also copies the first three test rooms there, with their true depth in colours, for
``clipx demo``. The same seeds give the same rooms.
"""

import argparse
import csv
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "nano"))
import rooms

from clipx.modalities.depth import depth_png
from clipx.modalities.depth.maps import DepthMap
from clipx.modalities.depth.show import scale_png
from clipx.progress import progress

WIDE, HIGH = 384, 288
FOLDS = {"train": (160, 1), "test": (24, 2)}  # how many, seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--samples", type=Path, help="where the first three test rooms are copied")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows = []
    with progress("making rooms", sum(count for count, _ in FOLDS.values())) as advance:
        for fold, (count, seed) in FOLDS.items():
            for i in range(count):
                name, top = f"{fold}-{i:03}", (WIDE - HIGH) // 2
                picture, depth, _ = rooms.make_room(np.random.default_rng([seed, i]), WIDE)
                picture, metres = picture[top : top + HIGH], torch.from_numpy(depth[top : top + HIGH])
                Image.fromarray(picture).save(given.out / f"{name}.jpg", quality=92)
                (given.out / f"{name}-depth.png").write_bytes(depth_png(metres))
                rows.append([f"{name}.jpg", f"{name}-depth.png", "mm16", "room", fold])
                if given.samples is not None and fold == "test" and i < 3:
                    given.samples.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(given.out / f"{name}.jpg", given.samples / f"room-{i + 1}.jpg")
                    (given.samples / f"room-{i + 1}-true.png").write_bytes(scale_png(DepthMap(metres), "true depth"))
                advance(1)
    with (given.out / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([["path", "depth_path", "depth_encoding", "label", "fold"], *rows])


if __name__ == "__main__":
    main()
