"""Make pictures whose every pixel is known: cut-outs of renders and drawings on textures, with masks and boxes.

    python examples/composites.py --out composites --count 24 --seed 0
    clipx eval segment composites
    clipx eval detect composites/boxes.json

What a set of photos cannot tell, these can: where an object ends is known to the pixel, and nothing is left unlabelled.
The objects are this project's own (examples/data), the textures come with scikit-image.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from skimage.morphology import flood_fill

from clipx.files import make_folder, write_whole
from clipx.modalities.pointcloud.files import read_geometry
from clipx.modalities.pointcloud.projection.mesh import mesh_raster

DATA = Path(__file__).parent / "data"
DRAWINGS = ("clock", "fish", "helicopter", "house", "umbrella")
MESHES = {"airplane": "airplane.obj", "chair": "chair.off", "table": "table.stl"}
CLASSES = (*DRAWINGS, *MESHES)
TEXTURES = ("brick", "grass", "gravel")
HEIGHT, WIDTH = 240, 320
SIDES = (120, 200)  # pixels of an object's longer side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder, made where it is missing")
    parser.add_argument("--count", type=int, default=24, help="of pictures")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    write(args.out, args.count, args.seed)
    print(f"written to {args.out}")


def write(out: Path, count: int, seed: int = 0) -> None:
    """Write ``count`` pictures, their masks, ``labels.csv``, ``classes.txt`` and ``boxes.json`` (COCO)."""
    make_folder(out / "images")
    make_folder(out / "masks")
    objects = cutouts()
    images, annotations, rows = [], [], [("path", "mask")]
    for i in range(count):
        picture, mask, boxes = composite(objects, np.random.default_rng([seed, i]))
        name = f"{i:04d}.png"
        write_whole(out / "images" / name, png(picture))
        write_whole(out / "masks" / name, png(mask))
        rows.append((f"images/{name}", f"masks/{name}"))
        images.append({"id": i, "file_name": f"images/{name}", "width": WIDTH, "height": HEIGHT})
        for label, (left, top, right, bottom) in boxes:
            box = [left, top, right - left, bottom - top]
            about = {"id": len(annotations) + 1, "image_id": i, "category_id": label, "bbox": box, "iscrowd": 0}
            annotations.append(about | {"area": box[2] * box[3]})
    table = io.StringIO()
    csv.writer(table).writerows(rows)
    write_whole(out / "labels.csv", table.getvalue())
    names = ["background", *CLASSES]
    write_whole(out / "classes.txt", "".join(f"{i} {name}\n" for i, name in enumerate(names)))
    categories = [{"id": i, "name": name} for i, name in enumerate(names) if i]
    found = {"images": images, "annotations": annotations, "categories": categories}
    write_whole(out / "boxes.json", json.dumps(found))


def cutouts() -> dict[str, list[np.ndarray]]:
    """Class -> pictures (H, W, 4) uint8, transparent around the object."""
    found = {name: [_of_drawing(DATA / f"{name}.png")] for name in DRAWINGS}
    return found | {name: _of_mesh(DATA / file) for name, file in MESHES.items()}


def composite(
    objects: dict[str, list[np.ndarray]], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, tuple[int, int, int, int]]]]:
    """A picture (240, 320, 3), its mask (240, 320), and (class, box) of its one or two objects.

    They lie side by side and do not overlap. Boxes are left, top, right, bottom.
    """
    picture, mask = _texture(rng), np.zeros((HEIGHT, WIDTH), np.uint8)
    count = int(rng.integers(1, 3))
    labels = rng.choice(len(CLASSES), count, replace=False)
    slot, boxes = WIDTH // count, []
    for place, label in enumerate(labels):
        views = objects[CLASSES[label]]
        one = _fitted(views[rng.integers(len(views))], min(int(rng.integers(*SIDES)), slot - 4))
        height, width = one.shape[:2]
        top = int(rng.integers(0, HEIGHT - height + 1))
        left = place * slot + int(rng.integers(0, slot - width + 1))
        region = slice(top, top + height), slice(left, left + width)
        alpha = one[..., 3:].astype(np.float32) / 255
        picture[region] = (picture[region] * (1 - alpha) + one[..., :3] * alpha).round().astype(np.uint8)
        shown = one[..., 3] > 127
        mask[region][shown] = label + 1
        rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
        box = left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1
        boxes.append((int(label) + 1, tuple(map(int, box))))
    return picture, mask, boxes


def _texture(rng: np.random.Generator) -> np.ndarray:
    """A part of a grey texture, tinted and not too bright, as (240, 320, 3) uint8."""
    whole = getattr(skimage.data, TEXTURES[rng.integers(len(TEXTURES))])()
    top, left = (int(rng.integers(0, n - m + 1)) for n, m in zip(whole.shape, (HEIGHT, WIDTH), strict=True))
    grey = whole[top : top + HEIGHT, left : left + WIDTH, None] / 255
    return (255 * grey * rng.uniform(0.45, 0.9, 3)).round().astype(np.uint8)


def _fitted(one: np.ndarray, side: int) -> np.ndarray:
    """The object cropped to what is opaque, its longer side ``side`` pixels."""
    shown = one[..., 3] > 0
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    one = one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = side / max(one.shape[:2])
    size = max(1, round(one.shape[1] * scale)), max(1, round(one.shape[0] * scale))
    return np.asarray(Image.fromarray(one, "RGBA").resize(size, Image.Resampling.LANCZOS))


def _of_drawing(path: Path) -> np.ndarray:
    """Dark lines on light: what the outside cannot be reached from is the object, on white paper."""
    grey = np.asarray(Image.open(path).convert("L"))
    ink = np.pad((grey < 200).astype(np.uint8), 1)
    inside = flood_fill(ink, (0, 0), 2)[1:-1, 1:-1] != 2
    return np.dstack([grey, grey, grey, np.where(inside, 255, 0).astype(np.uint8)])


def _of_mesh(path: Path) -> list[np.ndarray]:
    """Renders from around the mesh; white is outside."""
    geometry = read_geometry(path)
    views = mesh_raster(geometry.points[None].astype(np.float32), geometry.triangles[None])[0]
    found = []
    for view in np.asarray(views).transpose(0, 2, 3, 1):
        outside = flood_fill((view.min(2) > 0.995).astype(np.uint8), (0, 0), 2) == 2
        found.append(np.dstack([(255 * view).round().astype(np.uint8), np.where(outside, 0, 255).astype(np.uint8)]))
    return found


def png(values: np.ndarray) -> bytes:
    """A picture as the bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    main()
