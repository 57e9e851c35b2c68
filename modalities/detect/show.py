"""Photos with boxes for people: a colour for each label, and its name and score where they can be read."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageDraw import ImageDraw

SHORT_PX, LONG_PX = 480, 1600  # what the drawn photo has at least on its shorter side, and at most on its longer one
GOLDEN = 0.61803398875  # turns of hue from one label to the next: hues differ, however many labels there are


def boxes_png(photo: Tensor, boxes: np.ndarray, names: Sequence[str], scores: np.ndarray | None = None) -> bytes:
    """A photo with boxes, the best on top, each with a tag that lies within the picture, beside the other tags.

    Args:
        photo: (3, H, W) RGB in [0, 1].
        boxes: (R, 4) in its pixels, best first.
        names: R texts; boxes of one text have one colour.
        scores: (R,), shown as two digits.
    """
    from PIL import ImageDraw

    picture, scale = _picture(photo)
    pen = ImageDraw.Draw(picture)
    size = max(11, round(min(picture.size) / 32))
    order = list(dict.fromkeys(names))
    corners = [tuple(round(v * scale) for v in box) for box in boxes.tolist()]
    shown = list(zip(corners, names, range(len(names)), strict=True))
    for (left, top, right, bottom), name, _ in reversed(shown):
        right, bottom = min(right, picture.width) - 1, min(bottom, picture.height) - 1
        outline = max(2, size // 6)
        pen.rectangle((left, top, max(left, right), max(top, bottom)), outline="black", width=outline + 1)
        pen.rectangle((left, top, max(left, right), max(top, bottom)), outline=color(order.index(name)), width=outline)
    taken: list[tuple[float, float, float, float]] = []
    for corner, name, i in shown:
        text = name if scores is None else f"{name} {scores[i]:.2f}"
        _tag(pen, picture, corner, text, color(order.index(name)), size, taken)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def crop_png(photo: Tensor, box: np.ndarray) -> bytes:
    """The part of a photo in a box, rounded outwards to whole pixels."""
    (left, top), (right, bottom) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
    file = io.BytesIO()
    _image(photo[:, max(0, top) : bottom, max(0, left) : right]).save(file, "PNG")
    return file.getvalue()


def color(label: int) -> tuple[int, int, int]:
    """RGB of a label by its number: bright, and unlike those of the labels before it."""
    hue = (0.02 + label * GOLDEN) % 1
    value = (1.0, 0.85, 0.7)[label // 7 % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def _image(photo: Tensor) -> Picture:
    from PIL import Image

    values = (photo.detach().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(values)


def _picture(photo: Tensor) -> tuple[Picture, float]:
    """The photo at a size on which text can be read, and how many times larger it is."""
    from PIL import Image

    picture = _image(photo)
    scale = min(max(1.0, SHORT_PX / min(picture.size)), LONG_PX / max(picture.size))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.BICUBIC), scale


def _tag(
    pen: ImageDraw,
    picture: Picture,
    box: tuple[int, ...],
    text: str,
    fill: tuple[int, int, int],
    size: int,
    taken: list[tuple[float, float, float, float]],
) -> None:
    """Write a text at a corner of its box, the first where it hides no other; ``taken`` are those that stand already.

    A text for which the picture is too narrow is set smaller, and left out where even that does not fit.
    """
    from PIL import ImageFont

    while True:
        font = ImageFont.load_default(size)
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        width, height = right - left + 6, bottom - top + 6
        if width <= picture.width and height <= picture.height:
            break
        if size <= 8:
            return
        size -= 1
    for x, y in _places(box, width, height):
        x, y = min(max(0, x), picture.width - width), min(max(0, y), picture.height - height)
        place = (x, y, x + width, y + height)
        if not any(_meet(place, other) for other in taken):
            break
    else:
        return  # no room: the box has its label's colour
    taken.append(place)
    pen.rectangle((place[0], place[1], place[2] - 1, place[3] - 1), fill=fill)
    light = 0.299 * fill[0] + 0.587 * fill[1] + 0.114 * fill[2] > 140
    pen.text((x + 3 - left, y + 3 - top), text, fill="black" if light else "white", font=font)


def _places(box: tuple[int, ...], width: float, height: float) -> list[tuple[float, float]]:
    """Where a tag may stand: above its box, inside at the top, at the bottom, below; left first, then right."""
    left, top, right, bottom = box
    rows = (top - height, top, bottom - height, bottom)
    return [(x, y) for y in rows for x in (left, right - width)]


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
