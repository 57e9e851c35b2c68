"""Learn classes from a few examples, on top of a frozen space.

    python examples/few_shot.py --shots 4

Six things made of boxes and rods, turned, stretched and noisy. A zero-shot classifier knows their names, a cache lets
shots vote as well (Tip-Adapter), a linear probe sees shots alone. All three answer in the same way.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
import trimesh

import clipx
from clipx.fewshot import CacheModel, LinearProbe, few_shot_draw, load_classifier
from clipx.modalities.pointcloud import Cloud, PointCloud


def box(size: tuple[float, float, float], at: tuple[float, float, float]) -> trimesh.Trimesh:
    return trimesh.creation.box(size).apply_translation(at)


def rod(radius: float, height: float, z: float) -> trimesh.Trimesh:
    return trimesh.creation.cylinder(radius, height).apply_translation((0, 0, z))


def legs(width: float, depth: float, height: float) -> list[trimesh.Trimesh]:
    return [box((0.06, 0.06, height), (x * width, y * depth, height / 2)) for x in (-0.5, 0.5) for y in (-0.5, 0.5)]


THINGS = {  # z is up
    "chair": [*legs(0.45, 0.45, 0.45), box((0.5, 0.5, 0.06), (0, 0, 0.47)), box((0.5, 0.06, 0.55), (0, 0.23, 0.75))],
    "ladder": [
        *(box((0.06, 0.06, 2), (x, 0, 1)) for x in (-0.25, 0.25)),
        *(box((0.5, 0.05, 0.05), (0, 0, 0.2 + 0.3 * i)) for i in range(6)),
    ],
    "lamp": [
        rod(0.3, 0.05, 0.03),
        rod(0.03, 1.1, 0.55),
        trimesh.creation.cone(0.35, 0.45).apply_translation((0, 0, 0.95)),
    ],
    "monitor": [box((1, 0.06, 0.6), (0, 0, 0.6)), rod(0.05, 0.3, 0.15), rod(0.25, 0.04, 0.02)],
    "sofa": [
        *(box((1.4, 0.6, 0.35), (0, 0, 0.2)), box((1.4, 0.18, 0.5), (0, 0.3, 0.5))),
        *(box((0.18, 0.6, 0.3), (x, 0, 0.5)) for x in (-0.65, 0.65)),
    ],
    "table": [*legs(1.1, 0.6, 0.7), box((1.2, 0.7, 0.06), (0, 0, 0.72))],
}


def cloud_of(name: str, seed: int) -> Cloud:
    """1,024 noisy points of a thing that was stretched, and turned by up to 30 degrees, by the seed."""
    rng = np.random.default_rng([seed, *name.encode()])
    points, _ = trimesh.sample.sample_surface(trimesh.util.concatenate(THINGS[name]), 1024, seed=seed)
    turn = trimesh.transformations.rotation_matrix(rng.uniform(-0.5, 0.5), (0, 0, 1))[:3, :3]
    points = points * rng.uniform(0.8, 1.25, 3) @ turn.T + rng.normal(0, 0.01, (1024, 3))
    return Cloud(points.astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for the classifier; a temporary one by default")
    parser.add_argument("--shots", type=int, default=4, help="examples of each class")
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="clipx-"))

    space = clipx.load_space()
    modality = PointCloud(space, PointCloud.Config(up="z"))
    names = sorted(THINGS)
    each = args.shots + 8  # shots, and eight to be tested on
    truth = torch.arange(len(names)).repeat_interleave(each)
    vectors = modality.encode([cloud_of(name, seed) for name in names for seed in range(each)])

    shots = few_shot_draw(truth.tolist(), args.shots)
    rest = sorted(set(range(len(truth))) - set(shots))

    zeroshot = clipx.ZeroShotClassifier(space, names, modality.prompts)
    train, targets = vectors[shots], truth[shots]
    cache = CacheModel.fit(train, targets, zeroshot.weights, space.logit_scale)
    probe = LinearProbe.fit(train, targets, names)  # its strength is chosen by cross-validation on the shots
    for what, classifier in {"zero-shot": zeroshot, "cache": cache, "linear probe": probe}.items():
        right = classifier.logits(vectors[rest]).argmax(1) == truth[rest]
        print(f"{what:13} {right.float().mean():.0%} of {len(rest)} clouds")

    # A classifier is one file. It belongs to its space, and refuses vectors of another.
    path = cache.save(out / "things.safetensors")
    print(f"written to {path}: {', '.join(load_classifier(path).labels)}")


if __name__ == "__main__":
    main()
