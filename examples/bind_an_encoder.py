"""Bind an encoder of one's own to a joint space: its features are then compared with words, pictures and sounds.

    python examples/bind_an_encoder.py
    python examples/bind_an_encoder.py --encoder pointcloud@nano

The encoder below knows nothing of language: it counts how far the points of a shape lie from each other (D2, Osada et
al., ACM Transactions on Graphics 2002). A linear map, fitted on a few noisy copies of the examples' shapes and their
names, takes it to where the space puts these names. It is measured on other copies. Here the map is used from Python;
that of an encoder which a package installs, or of another space, is also what --map of the modality bound takes.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import clipx
from clipx.modalities.bound import fit_map, get_encoder
from clipx.modalities.bound.fit import captions_to_targets
from clipx.modalities.pointcloud.cloud import Cloud, about_y
from clipx.modalities.pointcloud.encoder import CloudConfig, load_cloud

DATA = Path(__file__).parent / "data"
SHAPES = {"airplane.obj": "airplane", "bathtub.xyz": "bathtub", "car.npy": "car", "chair.off": "chair"}
SHAPES |= {"table.stl": "table", "toilet.ply": "toilet"}


class Distances:
    """The D2 histogram of a cloud. An installed package names such a class under the entry points clipx.encoders."""

    reads = "pointcloud"
    id = "d2-64"
    prompts = "photo"

    def load(self, path):
        return load_cloud(path, CloudConfig())

    def features(self, samples):
        return np.stack([self.histogram(cloud.points) for cloud in samples])

    def histogram(self, points):
        one, other = np.random.default_rng(0).integers(0, len(points), (2, 20000))
        far = np.linalg.norm(points[one] - points[other], axis=1)
        return np.histogram(far / far.mean(), bins=64, range=(0, 3), density=True)[0]


def copies(cloud: Cloud, count: int, seed: int) -> list[Cloud]:
    """The cloud turned, with fewer points and noise, at random."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        some = cloud.points[rng.permutation(len(cloud.points))[:512]]
        noisy = some + rng.normal(scale=0.02 * some.std(), size=some.shape)
        found.append(Cloud(about_y(noisy, rng.uniform(0, 2 * np.pi)).astype(np.float32), cloud.up, cloud.source))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for the map; a temporary one by default")
    parser.add_argument("--encoder", help="MODALITY@SPACE instead of the one written here, such as pointcloud@nano")
    parser.add_argument("--space", default="lite", help="that it is bound to")
    parser.add_argument("--copies", type=int, default=8, help="of each shape, to learn from and to be measured on")
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="clipx-"))
    out.mkdir(parents=True, exist_ok=True)

    space = clipx.load_space(args.space)
    encoder = get_encoder(args.encoder) if args.encoder else Distances()
    shapes = [encoder.load(DATA / file) for file in SHAPES]
    names = list(SHAPES.values())
    words = captions_to_targets(space, names, encoder.prompts)  # a unit vector for each name
    number = np.repeat(np.arange(len(names)), args.copies)
    shown, asked = (
        encoder.features([copy for i, shape in enumerate(shapes) for copy in copies(shape, args.copies, seed + i)])
        for seed in (0, 100)
    )
    bound = fit_map(encoder, args.encoder or "distances", shown, words[number], space)
    file = bound.save(out / "shapes.safetensors")
    said = (bound(asked) @ words.T).argmax(axis=1)
    for i, name in enumerate(names):
        own = said[number == i]
        print(f"{name:10}{(own == i).mean():6.1%} of {len(own)}")
    print(f"all {(said == number).mean():.1%} of {len(said)}, by chance {1 / len(names):.1%}; written to {file}")
    pictures = sorted(DATA.glob("*.png"))
    nearest = bound(asked[number == 0]).mean(axis=0) @ clipx.embed(pictures, space=space).vectors.T
    print(f"the picture nearest to an airplane's points: {pictures[nearest.argmax()].name}")


if __name__ == "__main__":
    main()
