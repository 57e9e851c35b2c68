"""What a grounding looks like: the photo with numbered boxes, and below it the sentence with coloured phrases."""

from __future__ import annotations

import io
from typing import Any

from torch import Tensor

from clipx.modalities.detect.boxes import Grounding
from clipx.modalities.detect.show import boxes_png, color

GREY = (70, 70, 70)  # of the words between phrases


def picture_png(found: Grounding, photo: Tensor) -> bytes:
    """A PNG of the photo (3, H, W) with a box for each phrase, tagged with its number, above the sentence.

    Of several boxes of a phrase the second and later ones are tagged 1.2, 1.3, ...
    """
    from PIL import Image, ImageDraw, ImageFont

    with Image.open(io.BytesIO(boxes_png(photo, found.boxes, _tags(found)))) as picture:
        picture.load()
    order = list(dict.fromkeys(_tags(found)))  # which gives boxes their colours
    colors = [_dark(color(order.index(f"{k + 1}"))) for k in range(len(found.phrases))]
    size = max(16, round(min(picture.size) / 26))
    font = ImageFont.load_default(size)
    lines = _lines(found, font, max(picture.width - size, 1))
    sheet = Image.new("RGB", (picture.width, picture.height + round((len(lines) + 0.6) * size * 1.4)), "white")
    sheet.paste(picture)
    pen = ImageDraw.Draw(sheet)
    for row, line in enumerate(lines):
        x, y = size / 2, picture.height + (row + 0.3) * size * 1.4
        for word, phrase in line:
            pen.text((x, y), word, GREY if phrase is None else colors[phrase], font)
            x += font.getlength(word)
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _dark(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """The colour as text on white can have it."""
    red, green, blue = (round(0.65 * value) for value in rgb)
    return red, green, blue


def _tags(found: Grounding) -> list[str]:
    """What stands at each box: the number of its phrase, and its own where it is not the phrase's best."""
    counts = [0] * len(found.phrases)
    tags = []
    for k in found.phrase_index.tolist():
        counts[k] += 1
        tags.append(f"{k + 1}" if counts[k] == 1 else f"{k + 1}.{counts[k]}")
    return tags


def _lines(found: Grounding, font: Any, width: float) -> list[list[tuple[str, int | None]]]:
    """The sentence's words with the phrase each is of, each phrase behind its number, broken to lines."""
    parts: list[tuple[str, int | None]] = []
    end = 0
    for k, phrase in enumerate(found.phrases):
        parts += [(word, None) for word in found.sentence[end : phrase.start].split()]
        parts += [(f"[{k + 1}]", k), *((word, k) for word in phrase.text.split())]
        end = phrase.end
    parts += [(word, None) for word in found.sentence[end:].split()]
    lines: list[list[tuple[str, int | None]]] = [[]]
    filled = 0.0
    for word, own in parts:
        length = font.getlength(f"{word} ")
        if lines[-1] and filled + length > width:
            lines.append([])
            filled = 0.0
        lines[-1].append((f"{word} ", own))
        filled += length
    return lines
