"""Picture files: opened upright, 16-bit grey not cut off, transparency laid on white."""

from __future__ import annotations

import io
import warnings
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from clipx.errors import FileError
from clipx.files import read_bytes

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP"}
MAX_PIXELS = 2**27  # 134 megapixels, the largest cameras' size, take 400 MB as 8-bit RGB


def open_picture(path: str | PathLike) -> Picture:
    """A Pillow picture, decoded and turned upright by its EXIF tag; the first frame of several.

    Raises:
        FileError: the file is missing, truncated, of more than 2**27 pixels, or no picture of its suffix's family.
    """
    data = read_bytes(path, tuple(FORMATS))
    from PIL import Image as pil
    from PIL import ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pil.DecompressionBombWarning)  # below: an error, not a warning
            picture = pil.open(io.BytesIO(data), formats=sorted(set(FORMATS.values())))
        if picture.width * picture.height > MAX_PIXELS:  # nothing is decoded yet
            raise FileError(f"{picture.width} x {picture.height} is more than {MAX_PIXELS:,} pixels", where=path)
        return ImageOps.exif_transpose(picture)
    except FileError:
        raise
    except Exception as error:  # whatever a decoder trips over in a damaged file
        no_picture = isinstance(error, UnidentifiedImageError)
        why = "no picture data" if no_picture else str(error) or type(error).__name__
        raise FileError(f"not a readable picture: {why}", where=path) from error


def eight_bits(picture: Picture) -> Picture:
    """16-bit and 32-bit grey scaled to 8 bits, which Pillow would cut off at 255; any other picture as it is."""
    from PIL import Image as pil

    if picture.mode.startswith("I"):
        return pil.fromarray((np.asarray(picture) / 257).round().clip(0, 255).astype(np.uint8))
    return picture


def on_white(picture: Picture) -> Picture:
    """8-bit RGB of a picture of any mode; what is transparent becomes white."""
    from PIL import Image as pil

    picture = eight_bits(picture)
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        return pil.alpha_composite(pil.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return picture.convert("RGB")
