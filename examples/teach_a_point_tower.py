"""Teach a tower that encodes points without drawing them, by the vectors of the pictures of some shapes.

    python examples/teach_a_point_tower.py
    python examples/teach_a_point_tower.py --space lite --steps 600

A space sees a cloud as six depth pictures. Noisy copies of the examples' shapes show the tower what it makes of them,
without their names. Then both name other copies by words, and are timed. A tower that is worth having wants some
thousand shapes, see docs/modalities/pointcloud.md.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import clipx
from clipx.modalities.pointcloud.cloud import Cloud, about_y
from clipx.modalities.pointcloud.encoder import CloudConfig, PointCloud
from clipx.modalities.pointcloud.train import TowerTrainConfig, fit_tower

DATA = Path(__file__).parent / "data"
SHAPES = {"airplane.obj": "airplane", "bathtub.xyz": "bathtub", "car.npy": "car", "chair.off": "chair"}
SHAPES |= {"table.stl": "table", "toilet.ply": "toilet"}


def copies(cloud: Cloud, count: int, seed: int) -> list[Cloud]:
    """The cloud turned a little, with noise, at random."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        noisy = cloud.points + rng.normal(scale=0.01 * cloud.points.std(), size=cloud.points.shape)
        found.append(Cloud(about_y(noisy, rng.normal(scale=0.1)).astype(np.float32), cloud.up, cloud.source))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for the tower; a temporary one by default")
    parser.add_argument("--space", default="nano")
    parser.add_argument("--copies", type=int, default=16, help="of each shape, to learn from and to be measured on")
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="clipx-"))

    space = clipx.load_space(args.space)
    pictures = PointCloud(space)
    shapes = [pictures.load(DATA / file) for file in SHAPES]
    shown, asked = (
        [copy for i, shape in enumerate(shapes) for copy in copies(shape, args.copies, seed + i)] for seed in (0, 100)
    )
    config = TowerTrainConfig(steps=args.steps, turns=1, batch_size=16)
    file = fit_tower(pictures, shown, config, out / "run").save(out / "tower.safetensors")
    classifier = clipx.ZeroShotClassifier(space, list(SHAPES.values()), pictures.prompts)
    truth = np.repeat(np.arange(len(SHAPES)), args.copies)
    for name, encoder in {"pictures": pictures, "tower": PointCloud(space, CloudConfig(point_tower=str(file)))}.items():
        encoder.encode(asked[:1])  # loads what it needs
        begun = time.perf_counter()
        vectors = encoder.encode(asked)
        rate = len(asked) / (time.perf_counter() - begun)
        right = (classifier.logits(vectors).argmax(1) == truth).mean()
        print(f"{name:9}{right:6.1%} of {len(asked)} right, {rate:,.0f} clouds a second")
    print(f"written to {file}")


if __name__ == "__main__":
    main()
