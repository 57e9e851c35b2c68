"""Segmentations for people and other programs: an overlay with a legend, a palette mask, cut-outs."""

from __future__ import annotations

import colorsys
import io
from typing import TYPE_CHECKING

import numpy as np

from clipx.modalities.segment.maps import Segmentation

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

LONGEST_PX = 1600  # of the photo in the overlay
OPACITY = 0.45
GOLDEN = 0.61803398875  # turns between the hues of successive labels


def palette(count: int) -> np.ndarray:
    """(1 + count, 3) uint8: black for the background, then a colour for each label, neighbours far from each other."""
    colors = [(0.0, 0.0, 0.0)]
    for i in range(count):
        hue, tier = (0.02 + i * GOLDEN) % 1, i // 12 % 3
        colors.append(colorsys.hsv_to_rgb(hue, (0.85, 0.55, 0.95)[tier], (0.95, 1.0, 0.65)[tier]))
    return (255 * np.array(colors)).round().astype(np.uint8)


def mask_png(found: Segmentation) -> bytes:
    """A palette PNG of the photo's size: 0 is the background, k the label k - 1, as in PASCAL VOC."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    picture = Image.fromarray(found.mask, "P")
    picture.putpalette(palette(len(found.labels)).tobytes())
    about = PngInfo()
    for value, label in enumerate(("background", *found.labels)):
        about.add_itxt(f"label {value}", label)
    file = io.BytesIO()
    picture.save(file, "PNG", pnginfo=about)
    return file.getvalue()


def overlay_png(found: Segmentation, photo: np.ndarray) -> bytes:
    """The photo (H, W, 3) uint8 under the labels' colours, their borders drawn, and a legend below it."""
    from PIL import Image

    height, width = found.size
    scale = min(1.0, LONGEST_PX / max(height, width))
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    picture = np.asarray(Image.fromarray(photo).resize(shape, Image.Resampling.BOX), np.float32)
    mask = np.asarray(Image.fromarray(found.mask).resize(shape, Image.Resampling.NEAREST))
    colors = palette(len(found.labels)).astype(np.float32)
    share = np.where(mask > 0, OPACITY, 0)[..., None]
    grey = picture.mean(2, keepdims=True)
    base = np.where(mask[..., None] > 0, 0.4 * picture + 0.6 * grey, 0.55 * picture + 0.45 * 255)
    blended = base * (1 - share) + colors[mask] * share
    edges = np.zeros(mask.shape, bool)
    edges[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    edges[1:] |= mask[1:] != mask[:-1]
    blended[edges] = 255
    canvas = _with_legend(Image.fromarray(blended.round().astype(np.uint8)), found)
    file = io.BytesIO()
    canvas.save(file, "PNG")
    return file.getvalue()


def _with_legend(picture: Picture, found: Segmentation) -> Picture:
    """The picture above its legend: the labels that it shows, the largest first."""
    from PIL import Image, ImageDraw, ImageFont

    shown = sorted((one for one in found.regions() if one.box is not None), key=lambda one: -one.share)
    colors = palette(len(found.labels))
    entries = [
        (f"{one.label}  {_percent(one.share)}", tuple(map(int, colors[found.labels.index(one.label) + 1])))
        for one in shown
    ] or [("none of the labels", (150, 150, 150))]
    width = max(picture.width, 240)
    size = max(13, round(width / 55))
    font, gap = ImageFont.load_default(size), round(size * 0.6)
    measure = ImageDraw.Draw(picture)
    places, x, y = [], gap, gap
    for text, color in entries:
        text = _shortened(text, lambda t: measure.textlength(t, font=font), width - 4 * gap - size)
        wide = size + gap + round(measure.textlength(text, font=font)) + 2 * gap
        if x > gap and x + wide > width:
            x, y = gap, y + size + gap
        places.append((x, y, text, color))
        x += wide
    canvas = Image.new("RGB", (width, picture.height + y + size + 2 * gap), "white")
    canvas.paste(picture, ((width - picture.width) // 2, 0))
    pen = ImageDraw.Draw(canvas)
    for x, y, text, color in places:
        top = picture.height + y
        pen.rectangle((x, top, x + size, top + size), fill=color)
        pen.text((x + size + gap, top + size / 2), text, fill=(30, 30, 30), font=font, anchor="lm")
    return canvas


def _shortened(text: str, length, most: float) -> str:  # type: ignore[no-untyped-def]
    while length(text) > most and len(text) > 2:
        text = text[:-2].rstrip("\u2026 ") + "\u2026"
    return text


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "< 1 %"


def cutout_png(found: Segmentation, photo: np.ndarray, label: str) -> bytes:
    """The photo (H, W, 3) uint8 as RGBA, opaque where the mask says ``label``, black and transparent elsewhere."""
    from PIL import Image

    own = (found.mask == found.labels.index(label) + 1)[..., None]
    rgba = np.where(own, np.concatenate([photo, np.full_like(photo[..., :1], 255)], 2), np.uint8(0))
    file = io.BytesIO()
    Image.fromarray(rgba, "RGBA").save(file, "PNG", compress_level=3)  # 6 takes three times as long
    return file.getvalue()
