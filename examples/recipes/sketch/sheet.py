"""A contact sheet of drawings that `clipx eval sketch --drawings` kept: the first photos of every class by turns.

python examples/recipes/sketch/sheet.py runs/drawings --strokes 32 --count 48 -o docs/pictures/judged.png
"""

from __future__ import annotations

import argparse
import io
import json
from itertools import chain, zip_longest
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from clipx.modalities.sketch.film import png
from clipx.modalities.sketch.svg import read_svg

COLUMNS, CELL, CAPTION, GAP = 8, 150, 18, 6


def sheet(shown: list[tuple[str, Image.Image]], columns: int = COLUMNS, cell: int = CELL) -> Image.Image:
    """Pictures in a table, a word below each."""
    rows, pitch = -(-len(shown) // columns), cell + GAP
    page = Image.new("L", (columns * pitch, rows * (pitch + CAPTION)), 255)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for i, (word, picture) in enumerate(shown):
        left, top = i % columns * pitch, i // columns * (pitch + CAPTION)
        scale = cell / max(picture.size)
        size = round(picture.width * scale), round(picture.height * scale)
        fitted = picture.convert("L").resize(size, Image.Resampling.LANCZOS)
        page.paste(fitted, (left + (cell - size[0]) // 2, top + (cell - size[1]) // 2))
        pen.text((left + (cell - pen.textlength(word, font)) / 2, top + cell), word, 60, font)
    return page


def best(folder: Path, strokes: int) -> Image.Image:
    """The drawing of a photo's folder whose seed has the lowest loss."""
    losses = json.loads((folder / "drawing.json").read_text())["losses"][str(strokes)]
    seed = min(losses, key=lambda name: losses[name])
    return Image.open(io.BytesIO(png(read_svg(folder / f"{strokes}-seed{seed}.svg"), 2.0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("drawings", type=Path)
    parser.add_argument("--strokes", type=int, default=32)
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    classes: dict[str, list[Path]] = {}
    for record in sorted(given.drawings.glob("*/*/drawing.json")):
        if f"{given.strokes}-seed" in " ".join(path.name for path in record.parent.iterdir()):
            classes.setdefault(record.parent.parent.name, []).append(record.parent)
    turns = [folder for folder in chain(*zip_longest(*classes.values())) if folder is not None][: given.count]
    turns.sort(key=lambda folder: folder.parent.name.casefold())
    page = sheet([(folder.parent.name, best(folder, given.strokes)) for folder in turns])
    page.quantize(16).save(given.out, optimize=True)


if __name__ == "__main__":
    main()
