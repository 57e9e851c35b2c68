"""Edit a photo by words, and any other generator by the same call.

    python examples/edit_a_photo.py --out edited --steps 300

A generator has two methods: the latent to start from, and the picture of a latent. Here they are a photo filter of ten
sliders, and a mosaic of tiles that stands for whatever you have, such as a StyleGAN.
"""

import argparse
import tempfile
from pathlib import Path

import skimage.data
import torch
from PIL import Image

import clipx
from clipx.editing import PhotoFilter


class Tiles:
    """A generator in three lines: 8 x 8 coloured tiles."""

    def latent(self) -> torch.Tensor:
        return torch.zeros(3, 8, 8)

    def render(self, latent: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(latent)[None].repeat_interleave(16, 2).repeat_interleave(16, 3)


def save(picture: torch.Tensor, path: Path) -> None:
    Image.fromarray((picture[0] * 255).round().byte().permute(1, 2, 0).numpy()).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for the pictures; a temporary one by default")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--space", default=None, help="one that knows words of looks: a real CLIP, or recipe looks")
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="clipx-"))
    out.mkdir(parents=True, exist_ok=True)

    space = clipx.load_space(args.space, backend="torch")
    photo = torch.from_numpy(skimage.data.coffee()[::2, ::2].copy()).permute(2, 0, 1).float() / 255
    save(photo[None], out / "photo.png")

    made = PhotoFilter(photo, strength=0.7)
    found = clipx.optimise(made, "a warm photo", space=space, loss="directional", steps=args.steps)
    print(f"photo: loss {found.before:.3f} -> {found.loss:.3f}")
    print(", ".join(f"{name} {value:+.2f}" for name, value in made.settings(found.latent).items()))
    save(made.render(found.latent), out / "edited.png")

    tiles = Tiles()
    found = clipx.optimise(tiles, "a photo", space=space, steps=args.steps, l2=0)
    print(f"tiles: loss {found.before:.3f} -> {found.loss:.3f}")
    save(tiles.render(found.latent), out / "tiles.png")
    print(f"written to {out}")


if __name__ == "__main__":
    main()
