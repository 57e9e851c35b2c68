"""Teach a small image tower where a space puts pictures, and search with it.

    python examples/distil_space.py
    python examples/distil_space.py --data photos --space ViT-B-32-quickgelu/openai --steps 3000

No labels are needed. Without ``--data`` the pictures are cut from those of the examples, and the student learns in a
few steps where these lie; one that is worth having wants some thousand photos, see docs/distil.md.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import clipx
from clipx.modalities.image.distil import DistilConfig, distil
from clipx.pictures import SUFFIXES

DATA = Path(__file__).parent / "data"


def cut(folder: Path, count: int = 60) -> None:
    """Write pictures that are cut from the examples' at random."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = [Image.open(path).convert("RGB") for path in sorted(DATA.glob("*.png"))]
    for i in range(count):
        rng, whole = np.random.default_rng(i), sources[i % len(sources)]
        side = round(rng.uniform(0.5, 0.9) * min(whole.size))
        left, top = (int(rng.integers(0, length - side + 1)) for length in whole.size)
        whole.crop((left, top, left + side, top + side)).resize((96, 96)).save(folder / f"{i:02}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of the run; a temporary one by default")
    parser.add_argument("--data", type=Path, help="folder of photos")
    parser.add_argument("--space", default="nano", help="the teacher")
    parser.add_argument("--student", default="resnet-16", help="a timm model, or resnet-WIDTH")
    parser.add_argument("--size", type=int, default=32, help="pixels a side that it looks at")
    parser.add_argument("--steps", type=int, default=40)
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="clipx-"))
    photos = args.data
    if photos is None:
        cut(photos := out / "photos")
    paths = sorted(path for path in photos.rglob("*") if path.suffix.lower() in SUFFIXES)
    teacher = clipx.load_space(args.space, backend="torch")
    config = DistilConfig(student=args.student, size=args.size, steps=args.steps, crops=2, batch_size=32)
    found = distil(teacher, paths, out, config)
    print(f"cosine with the teacher {found.cosine:.3f}, on {found.held_out} photos that were held out")
    student = clipx.load_space(found.folder)
    print(f"{found.folder}: {student.name}, takes the words of {teacher.name}")


if __name__ == "__main__":
    main()
