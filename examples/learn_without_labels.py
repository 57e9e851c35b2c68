"""A tower learns from pictures without labels, and what happens when the part that prevents collapse is taken away.

    python examples/learn_without_labels.py
    python examples/learn_without_labels.py --method byol

Pictures of coloured shapes are drawn. SimSiam compares two views of each, with the gradient stopped on one side;
without that, the best a tower can do is to make the same of every picture. BYOL compares a view with what a slow copy
of the tower makes of another, by a predictor; without that, the same happens. The spread is 0 where all vectors are
one, as they nearly are before the training; neighbours say how often the nearest other picture shows the same shape in
the same colour.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import torch

from clipx.contrastive import METHODS, features, new_tower, pretrain, small, ssl_config
from clipx.contrastive.losses import spread

SIDE = 40
GUARDS = {"simsiam": ("no stop-gradient", {"target": "self"}), "byol": ("no predictor", {"predictor": False})}
COLOURS = np.array([[210, 40, 40], [40, 160, 60], [50, 80, 210], [230, 190, 40]])
SHAPES = ("disc", "square", "cross")


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, 3, 40, 40) of a shape in a colour on a grey ground, and which of the twelve kinds each is."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    pictures, kinds = np.empty((count, 3, SIDE, SIDE), np.uint8), rng.integers(len(SHAPES) * len(COLOURS), size=count)
    for picture, kind in zip(pictures, kinds, strict=True):
        (cy, cx), size = rng.uniform(14, 26, 2), rng.uniform(7, 11)
        dy, dx = np.abs(y - cy), np.abs(x - cx)
        far = {"disc": np.hypot(dy, dx), "square": np.maximum(dy, dx), "cross": np.minimum(dy, dx) * 3 + (dy + dx) / 3}
        inside = far[SHAPES[kind % len(SHAPES)]] < size
        ground = rng.integers(90, 200) + rng.normal(0, 8, (SIDE, SIDE))
        shown = np.where(inside, COLOURS[kind // len(SHAPES)][:, None, None], ground)
        picture[:] = (shown + rng.normal(0, 8, shown.shape)).clip(0, 255)
    return pictures, kinds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for towers and checkpoints; a temporary one by default")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--method", default="simsiam", choices=list(GUARDS))
    given = parser.parse_args()
    out = given.out or Path(tempfile.mkdtemp(prefix="clipx-"))
    pictures, kinds = draw(512, seed=0)
    method = small(METHODS[given.method])
    method = dataclasses.replace(method, head_norm="none")  # batch normalisation in the head would slow a collapse
    without, taken = GUARDS[given.method]
    runs = {"random": None, given.method: method, without: dataclasses.replace(method, **taken)}
    print(f"{len(pictures)} pictures of {len(set(kinds))} kinds")
    for name, chosen in runs.items():
        tower = new_tower({"embed_dim": 64, "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8}}, 32)
        tower.visual.eval()
        if chosen is not None:
            config = ssl_config(steps=given.steps, batch_size=64, weight_decay=0.0, lr=3e-3)
            tower = pretrain(pictures, chosen, tower, config, out / name.replace(" ", "-"))
            tower.save(out / f"{name.replace(' ', '-')}.safetensors")
        vectors = torch.nn.functional.normalize(features(tower, pictures), dim=1)
        nearest = (vectors @ vectors.T).fill_diagonal_(-1).argmax(1).numpy()
        alike = (kinds[nearest] == kinds).mean()
        print(f"{name:17} spread {max(0.0, spread(vectors)):.3f}   neighbour of the same kind {alike:.0%}")


if __name__ == "__main__":
    main()
