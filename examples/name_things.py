"""Name clouds, meshes and photos by words.

    python examples/name_things.py
    python examples/name_things.py --space ViT-B-32-quickgelu/openai

The words are yours, and nothing is trained: a file and a word become vectors of one space, and the nearest word wins.
"""

import argparse
import csv
import tempfile
from pathlib import Path

import skimage.data
from PIL import Image

import clipx

DATA = Path(__file__).parent / "data"
LABELS = ["airplane", "cat", "chair", "cup", "fish", "house", "table", "toilet", "umbrella"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for names.csv; a temporary one by default")
    parser.add_argument("--space", help="what clipx.load_space takes; by default the space that comes with clipx")
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="clipx-"))
    out.mkdir(parents=True, exist_ok=True)

    # A photo that scikit-image brings, meshes and a cloud that come with the clone.
    photo = out / "cup.png"
    Image.fromarray(skimage.data.coffee()).save(photo)
    files = [photo, DATA / "airplane.obj", DATA / "chair.off", DATA / "table.stl", DATA / "toilet.ply"]

    # One call for files of any kind. The suffix says which modality reads a file, and each has its own prompts: of a
    # cloud, "point cloud depth map of a chair." is said, of a photo "a photo of a chair".
    found = clipx.classify(files, LABELS, space=args.space, top=3)
    with open(out / "names.csv", "w", newline="") as table:
        write = csv.writer(table)
        write.writerow(["file", "label", "probability", "cosine"])
        for file, (best, *others) in zip(files, found, strict=True):
            write.writerow([file.name, best.label, f"{best.probability:.3f}", f"{best.cosine:.3f}"])
            # Probabilities share 1 among the labels given. Only the cosine can tell that none of them fits.
            rest = ", ".join(f"{one.label} {one.probability:.0%}" for one in others)
            print(f"{file.name:14} {best.label:10} {best.probability:4.0%}   then {rest}")

    # A line drawing is a picture, but no photo: say so, and its prompt becomes "a sketch of a fish".
    drawing = DATA / "fish.png"
    (best,) = clipx.classify(drawing, LABELS, space=args.space, prompts="sketch", top=1)
    print(f"{drawing.name:14} {best.label:10} {best.probability:4.0%}")
    print(f"written to {out / 'names.csv'}")


if __name__ == "__main__":
    main()
