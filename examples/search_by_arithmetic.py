"""Search a mixed folder by a sentence, by a file, and by sums and differences of both.

    python examples/search_by_arithmetic.py

Photos, drawings and meshes lie in one index. In a joint space directions mean something: away from "a photo" and
towards "a sketch" leads from a photo to drawings of the same thing.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import skimage.data
from PIL import Image

import clipx

DATA = Path(__file__).parent / "data"
FILES = ["airplane.obj", "bathtub.xyz", "chair.off", "fish.png", "house.png", "table.stl", "toilet.ply", "umbrella.png"]
DRAWINGS = ["coffee-16.svg", "horse-16.svg"]
PHOTOS = ["chelsea", "coffee", "rocket"]  # scikit-image's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for the files and the index; a temporary one by default")
    out = parser.parse_args().out or Path(tempfile.mkdtemp(prefix="clipx-"))
    mixed = out / "mixed"
    mixed.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(DATA / name, mixed)
    for name in DRAWINGS:
        shutil.copy(DATA / "drawings" / name, mixed)
    for name in PHOTOS:
        Image.fromarray(getattr(skimage.data, name)()).save(mixed / f"{name}.png")

    place = out / "my.index"
    # An index is a folder. Running this a second time reads no file again: nothing has changed.
    with clipx.Index.open(place) if clipx.Index.exists(place) else clipx.Index.create(place) as index:
        done = index.add(mixed)
        print(f"{done.added} files added, {done.unchanged} unchanged")

        coffee, chair = mixed / "coffee.png", mixed / "chair.off"
        queries = {
            "a sentence": "a toilet",
            "a file": str(chair),
            "a mesh and a word": f'{chair} + "a toilet"',  # between the two
            "a photo, as a drawing": f'{coffee} - "a photo" + "a sketch"',
        }
        for what, query in queries.items():
            # A query's own file is found, too, and comes first more often than not: leave it out.
            hits = [hit for hit in index.search(query, k=4) if Path(hit.path).name not in query]
            print(f"\n{what}: {query.replace(str(mixed), 'mixed')}")
            for hit in hits[:3]:
                # The score is calibrated between modalities; the words say what the space takes the file for.
                print(f"  {Path(hit.path).name:16} {hit.modality:10} {hit.score:5.2f}   {', '.join(hit.words)}")


if __name__ == "__main__":
    main()
