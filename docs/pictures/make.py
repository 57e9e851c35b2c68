"""The README's pictures, from the sample files: python docs/pictures/make.py (in a clone, with the default space).

views.png: what a space is shown of a mesh and of a cloud. depth.png: a room, its depth by a ridge and by words, and the
truth.
judged.png and words.png are made by examples/recipes/sketch (sheet.py, words.py) from data that is not in the clone.
drawings.png: two photos that come with scikit-image, and drawings of them that come with the clone. where.png: what is
where in photos that come with scikit-image.
"""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import skimage
from PIL import Image
from typer.main import get_command

from clipx.cli import app
from clipx.modalities.sketch.raster import rasterize
from clipx.modalities.sketch.svg import read_svg

HERE = Path(__file__).resolve().parent
DATA = Path("examples/data")  # from the clone's root, so that no title shows where that is
WIDE, GAP = 1280, 12


def main() -> None:
    os.chdir(HERE.parents[1])
    with tempfile.TemporaryDirectory() as work:
        out = Path(work)
        run("views", DATA / "chair.off", DATA / "toilet.ply", "--projection", "shaded", "-o", out / "views.png")
        views = Image.open(out / "views.png").convert("RGB")
        save("views", [views])
        rooms = DATA / "rooms"
        run("depth", rooms / "room-2.jpg", "-o", out / "ridge.png")
        run("depth", rooms / "room-2.jpg", "--fit", "rooms-words", "-o", out / "words.png")
        shown = rooms / "room-2.jpg", out / "ridge-color.png", out / "words-color.png", rooms / "room-2-true.png"
        save("depth", [Image.open(path) for path in shown])
        where(out)
    rows = []
    for name in ("chelsea", "coffee"):
        photo = Image.open(Path(skimage.__file__).parent / "data" / f"{name}.png").convert("RGB")
        rows.append([photo, *(drawn(DATA / "drawings" / f"{name}-{count}.svg") for count in (4, 8, 16, 32))])
    save("drawings", *rows)


def where(out: Path) -> None:
    """A cat and a motorcycle segmented, and the phrases of a sentence boxed."""
    data = Path(skimage.__file__).parent / "data"
    labels = ["--labels", "cat,dog,sofa,motorcycle,car"]
    for name in ("chelsea", "motorcycle_left"):
        run("segment", data / f"{name}.png", *labels, "-o", out / f"{name}.png")
    run("ground", data / "coffee.png", "a cup on a saucer beside a spoon", "-o", out / "found.png")
    shown = "chelsea-overlay.png", "motorcycle_left-overlay.png", "found.png"
    save("where", [Image.open(out / name) for name in shown])


def run(*words: object) -> None:
    get_command(app).main([*map(str, words)], standalone_mode=False)


def drawn(path: Path) -> Image.Image:
    strokes = read_svg(path)
    left, top, width, height = (2 * side for side in strokes.box)
    side = round(max(left + width, top + height))
    picture = rasterize(2 * strokes.points, side, width_px=6.0)
    page = Image.fromarray((picture.transpose(1, 2, 0).clip(0, 1) * 255).astype("uint8"))
    return page.crop((round(left), round(top), round(left + width), round(top + height)))


def save(name: str, *rows: list[Image.Image]) -> None:
    """The pictures of a row side by side at one height, as wide together as WIDE; rows one below another."""
    lines = []
    for pictures in rows:
        ratio = sum(picture.width / picture.height for picture in pictures)
        height = round((WIDE - GAP * (len(pictures) - 1)) / ratio)
        line, at = Image.new("RGB", (WIDE, height), "white"), 0
        for picture in pictures:
            width = round(height * picture.width / picture.height)
            line.paste(picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS), (at, 0))
            at += width + GAP
        lines.append(line)
    page, top = Image.new("RGB", (WIDE, sum(line.height + GAP for line in lines) - GAP), "white"), 0
    for line in lines:
        page.paste(line, (0, top))
        top += line.height + GAP
    buffer = io.BytesIO()
    page.quantize(256).save(buffer, "PNG", optimize=True)
    (HERE / f"{name}.png").write_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
