"""Learn classes from a few examples, on top of a frozen space.

    python examples/few_shot.py --shots 4

Five solids, turned, stretched and noisy. A zero-shot classifier knows their names, a cache lets shots vote as well
(Tip-Adapter), a linear probe sees shots alone. All three answer in the same way.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
import trimesh

import clipx
from clipx.fewshot import CacheModel, LinearProbe, few_shot_draw, load_classifier
from clipx.modalities.pointcloud import Cloud

SOLIDS = {
    "cone": lambda: trimesh.creation.cone(0.5, 1),
    "cube": lambda: trimesh.creation.box((0.8, 0.8, 0.8)),
    "cylinder": lambda: trimesh.creation.cylinder(0.4, 1),
    "sphere": lambda: trimesh.creation.icosphere(3, 0.5),
    "torus": lambda: trimesh.creation.torus(0.4, 0.15),
}


def cloud_of(name: str, seed: int) -> Cloud:
    """1,024 noisy points of a solid that was stretched and turned by the seed."""
    rng = np.random.default_rng([seed, *name.encode()])
    points, _ = trimesh.sample.sample_surface(SOLIDS[name](), 1024, seed=seed)
    turn = trimesh.transformations.random_rotation_matrix(rng.random(3))[:3, :3]
    points = points * rng.uniform(0.8, 1.25, 3) @ turn.T + rng.normal(0, 0.02, (1024, 3))
    return Cloud(points.astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for the classifier; a temporary one by default")
    parser.add_argument("--shots", type=int, default=4, help="examples of each class")
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="clipx-"))

    space = clipx.load_space()
    modality = clipx.get_modality("pointcloud")(space)
    names = sorted(SOLIDS)
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
        print(f"{what:13} {right.float().mean():.0%} of {len(rest)} solids")

    # A classifier is one file. It belongs to its space, and refuses vectors of another.
    path = cache.save(out / "solids.safetensors")
    print(f"written to {path}: {', '.join(load_classifier(path).labels)}")


if __name__ == "__main__":
    main()
