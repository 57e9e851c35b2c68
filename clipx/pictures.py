"""Picture files: read by content, upright, 16-bit grey not cut off, transparency laid on white."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module
from os import PathLike
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from clipx._arrays import is_tensor, numbers
from clipx._quiet import suppress_library_notes
from clipx.errors import FileError, InputError, MissingDependencyError
from clipx.files import ignore_library_warnings, read_bytes

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif"),
    *(".tif", ".tiff", ".avif", ".heic", ".heif"),
)
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO")  # none runs another program
MAX_PIXELS = 2**27  # 134 megapixels, the largest cameras' size, take 400 MB as 8-bit RGB
ORIENTATION = 0x0112  # the EXIF tag
PHOTOMETRIC = 0x0106  # that of TIFF: 0 where white is 0, which Pillow turns round in 8 bits only
WHITE_IS_ZERO = "white is zero"
BIT_DEPTHS = (8, 10, 12, 14, 16)  # of sensors and scanners whose values are stored in 16 bits
NEARLY_BLACK = 15  # of 255
ENOUGH = 2  # times the size that is asked for is what a reduced JPEG has at least
TURNS = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE",
    6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90",
}  # fmt: skip
SIDEWAYS = ("TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")

_DECODING = [Lock() for _ in range(61)]  # a prime: addresses are multiples of 16

Fitted = Callable[[int, int], tuple[int, int]]
"""(height, width) of a picture -> (height, width) that it will be resampled to."""


def open_picture(path: str | PathLike, fitted: Fitted | None = None) -> Picture:
    """A Pillow picture, decoded and turned upright by its EXIF orientation; the first frame of several.

    The content decides the format, not the suffix. Comments, colour profiles and all other metadata are ignored,
    so that nothing in them can fail.

    A JPEG that is far larger than what will be made of it is decoded at 1/2, 1/4 or 1/8 of its size, which libjpeg does
    by an inverse DCT of fewer coefficients: the least that has ``ENOUGH`` times both the height and the width asked
    for. A 12-megapixel photo takes a quarter of the time then. What is resampled from it is not the same in every bit:
    on 218 photos of 3 to 24 megapixels the cosine of the two vectors was at least 0.989 in the default space (mean
    0.9994), and 0.9994 in a ViT-B-32 of random weights. Other pictures are decoded whole.

    Args:
        path: the file.
        fitted: gives what the caller resamples the upright picture to; None has every picture decoded whole.

    Raises:
        FileError: the file is missing, truncated, of more than 2**27 pixels, or no picture; the message names what else
            it is, such as a web page.
        MissingDependencyError: it is a HEIC picture, and pillow-heif is not installed.
    """
    data = read_bytes(path)
    from PIL import Image as pil
    from PIL import UnidentifiedImageError

    formats: tuple[str, ...] = FORMATS
    if _brands(data) & HEIF_BRANDS:
        _register_heif(path)
        formats = (*formats, "HEIF")
    data, exif = _without_metadata(data)
    try:
        with ignore_library_warnings():
            picture = pil.open(io.BytesIO(data), formats=formats)
            if picture.width * picture.height > MAX_PIXELS:  # nothing is decoded yet
                raise FileError(f"{picture.width} x {picture.height} is more than {MAX_PIXELS:,} pixels", where=path)
            turn = TURNS.get(_orientation(picture, exif))
            if fitted is not None and picture.format == "JPEG":
                _reduce(picture, fitted, sideways=turn in SIDEWAYS)
            return _decoded(picture, turn)
    except FileError:
        raise
    except UnidentifiedImageError as error:
        what, remedy = _other_kind(data)
        raise FileError(f"not a readable picture: {what}", where=path, remedy=remedy) from error
    except Exception as error:  # whatever a decoder trips over in a damaged file
        raise FileError(f"not a readable picture: {str(error) or type(error).__name__}", where=path) from error


def is_picture(value: Any) -> bool:
    """Whether it is a PIL picture, without importing Pillow where nobody else has."""
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(value, pil.Image)


def upright(picture: Picture) -> Picture:
    """A PIL picture as ``open_picture`` gives it of its file: decoded, and turned by its EXIF orientation.

    Of several frames it is the one that the picture stands at. A JPEG is decoded whole, however large it is.

    Raises:
        InputError: another object, or one without pixels, or one that cannot be decoded, as where its file is
            truncated.
    """
    if not is_picture(picture):
        raise InputError(f"expected a PIL picture, got {type(picture).__module__}.{type(picture).__qualname__}")
    if 0 in picture.size:
        raise InputError(f"a picture of {picture.width} x {picture.height} has no pixels")
    try:
        # one thread at a time decodes a picture that is given several times
        with _DECODING[id(picture) % len(_DECODING)], ignore_library_warnings():
            return _decoded(picture, TURNS.get(_orientation(picture, None)))
    except Exception as error:  # whatever a decoder trips over in a damaged file
        raise InputError(f"not a readable picture: {str(error) or type(error).__name__}") from error


def _decoded(picture: Picture, turn: str | None) -> Picture:
    from PIL import Image as pil

    with suppress_library_notes() if picture.format == "TIFF" else nullcontext():
        picture.load()
    if picture.format == "TIFF" and picture.getexif().get(PHOTOMETRIC) == 0:
        picture.info[WHITE_IS_ZERO] = True
    return picture if turn is None else picture.transpose(pil.Transpose[turn])


def eight_bits(picture: Picture, where: str | PathLike | None = None) -> Picture:
    """Grey of more than 8 bits as 8-bit grey, which Pillow would cut off at 255; any other picture as it is.

    Values of up to 16 bits are scaled by the bit depth that they show (8, 10, 12, 14 or 16: a 12-bit camera's are at
    most 4095), floats in [0, 1] by 255, all others from their least to their greatest value. Any scale but 16 bits and
    [0, 1] is warned of. NaN and infinity become black.

    Args:
        picture: of any mode.
        where: what a warning calls it; None warns of nothing.
    """
    from PIL import Image as pil

    if not picture.mode.startswith(("I", "F")):
        return picture
    values = np.asarray(picture).astype(np.float32)
    finite = np.isfinite(values)
    low, high = (float(end) for end in (values[finite].min(), values[finite].max())) if finite.any() else (0.0, 0.0)
    unit = picture.mode == "F" and low >= 0 and high <= 1
    bits = next((bits for bits in BIT_DEPTHS if high < 2**bits), 0)
    if unit:
        bottom, top = 0.0, 1.0
    elif low >= 0 and bits:
        bottom, top = 0.0, 2.0**bits - 1
        if bits < 16 and high and where is not None:
            warnings.warn(f"{where}: its values are at most {high:g}: taken as {bits}-bit grey", stacklevel=2)
    else:
        bottom, top = low, high
        if where is not None:
            warnings.warn(f"{where}: its values are {low:g} to {high:g}: taken as black to white", stacklevel=2)
    grey = np.where(finite, (values - bottom) * (255 / max(top - bottom, 1e-12)), 0).round().clip(0, 255)
    if picture.info.get(WHITE_IS_ZERO):
        grey = 255 - grey
    if isinstance(clear := picture.info.get("transparency"), int):
        grey[values == clear] = 255
    return pil.fromarray(grey.astype(np.uint8))


def on_white(picture: Picture, where: str | PathLike | None = None) -> Picture:
    """8-bit RGB of a picture of any mode; what is transparent becomes white.

    Warns of a picture that is nearly black (no value above 15 of 255), as one is whose few bits were stored in many.

    Args:
        picture: of any mode.
        where: what a warning calls it; None warns of nothing.
    """
    from PIL import Image as pil

    picture = eight_bits(picture, where)
    if picture.has_transparency_data:
        straight = picture.convert("LA") if picture.mode == "La" else picture  # of which Pillow makes nothing else
        rgba = straight.convert("RGBA")
        rgb = pil.alpha_composite(pil.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    else:
        rgb = _from_lab(picture) if picture.mode == "LAB" else picture.convert("RGB")
    middle: Any = rgb.getpixel((rgb.width // 2, rgb.height // 2))
    if where is not None and max(middle) <= NEARLY_BLACK:  # of most pictures this one pixel says that they are not
        extrema: Any = rgb.getextrema()  # (low, high) of each channel
        brightest = max(high for _, high in extrema)
        if 0 < brightest <= NEARLY_BLACK:
            warnings.warn(f"{where}: is nearly black: no value is above {brightest} of 255", stacklevel=2)
    return rgb


def read_rgb(path: str | PathLike) -> np.ndarray:
    """A photo of any mode as (3, H, W) float32 RGB in [0, 1], upright, transparency laid on white.

    Raises:
        FileError: see ``open_picture``.
    """
    rgb = np.asarray(on_white(open_picture(path), path))
    return np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32) / 255


def as_rgb(photo: Any) -> np.ndarray:
    """A photo as a user holds it, as (3, H, W) float32 RGB in [0, 1].

    Args:
        photo: a file; a PIL picture, which is read as its file would be; or an array or a tensor, see
            ``checked_array``.

    Raises:
        FileError: no readable picture. InputError: a PIL picture that cannot be decoded, or an array that is none.
    """
    if isinstance(photo, str | PathLike):
        return read_rgb(photo)
    return array_pixels(np.asarray(on_white(upright(photo))) if is_picture(photo) else checked_array(photo))


def checked_array(array: Any) -> np.ndarray:
    """(H, W) grey or (H, W, 3) RGB, uint8 in [0, 255] or floats in [0, 1].

    Args:
        array: integers in [0, 255] or floats in [0, 1], in these shapes, or (H, W, 4) with opacity, which is laid on
            white; or a torch tensor, which has its channels first: (3, H, W) or (4, H, W), as torchvision has it.

    Raises:
        InputError: wrong shape, type or range, or NaN.
    """
    values = numbers(array)
    if is_tensor(array):
        if values.ndim != 3 or len(values) not in (3, 4):
            raise InputError(f"a tensor of a picture must be (3, H, W), got {values.shape}")
        values = values.transpose(1, 2, 0)
    if values.ndim not in (2, 3) or values.shape[2:] not in ((), (3,), (4,)) or 0 in values.shape:
        raise InputError(f"a picture must be (H, W) or (H, W, 3), got {values.shape}")
    if values.dtype.kind not in "fiu":
        raise InputError(f"a picture must hold integers or floats, got {values.dtype}")
    top = 1 if values.dtype.kind == "f" else 255
    if not (values.min() >= 0 and values.max() <= top):  # a NaN fails both
        remedy = "divide it by 255" if top == 1 and values.min() >= 0 and 2 < values.max() <= 255 else None
        what = f"a picture of {values.dtype} must lie in [0, {top}], got {values.min():g} to {values.max():g}"
        raise InputError(what, remedy=remedy)
    values = values if values.dtype.kind == "f" else values.astype(np.uint8, copy=False)
    return values if values.shape[2:] != (4,) else _array_on_white(values)


def _array_on_white(rgba: np.ndarray) -> np.ndarray:
    if rgba.dtype.kind == "f":
        return rgba[..., :3] * rgba[..., 3:] + (1 - rgba[..., 3:])
    from PIL import Image as pil

    return np.asarray(on_white(pil.fromarray(rgba)))


def array_pixels(values: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3), uint8 or floats in [0, 1] -> (3, H, W) float32 in [0, 1]."""
    channels = np.broadcast_to(values, (3, *values.shape)) if values.ndim == 2 else values.transpose(2, 0, 1)
    channels = np.array(channels, order="C")  # of bytes, of which there are fewer to move than of floats
    return channels.astype(np.float32, copy=False) if values.dtype.kind == "f" else channels / np.float32(255)


def _from_lab(picture: Picture) -> Picture:
    from PIL import ImageCms

    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return cast("Picture", ImageCms.profileToProfile(picture, lab, rgb, outputMode="RGB"))


# Orientation, the one piece of metadata that counts -------------------------------------------------------------------


def _orientation(picture: Picture, exif: bytes | None) -> Any:
    """The EXIF orientation, 1 to 8 of what is sound; other tags are not read, as their values may be anything."""
    from PIL import Image as pil

    if picture.format == "HEIF":  # turned by its container already, and EXIF is to be ignored
        return 1
    try:
        tags = picture.getexif() if exif is None else pil.Exif()
        if exif is not None:
            tags.load(exif)
        orientation = tags.get(ORIENTATION, 1)
    except Exception:  # damaged EXIF says nothing
        orientation = 1
    if isinstance(orientation, tuple | bytes):
        orientation = orientation[0] if orientation else 1
    return orientation


def _reduce(picture: Picture, fitted: Fitted, sideways: bool) -> None:
    """Have a JPEG that is not decoded yet decoded at the least size that is enough."""
    width, height = picture.size
    if sideways:
        width, height = fitted(width, height)
    else:
        height, width = fitted(height, width)
    picture.draft(None, (ENOUGH * width, ENOUGH * height))


def _without_metadata(data: bytes) -> tuple[bytes, bytes | None]:
    """A PNG or JPEG without what no pixel depends on, and its EXIF block; other formats as they are."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png_pixels(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg_pixels(data)
    return data, None


def _png_pixels(data: bytes) -> tuple[bytes, bytes]:
    """Critical chunks (named in capitals) and transparency: texts and colour profiles may be of any size or corrupt."""
    kept, exif, at = [data[:8]], b"", 8
    while at + 8 <= len(data):
        end, kind = at + 12 + int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind[:1].isupper() or kind == b"tRNS":
            kept.append(data[at:end])
        elif kind == b"eXIf":
            exif = data[at + 8 : end - 4]
        at = end
    return b"".join(kept), exif


def _jpeg_pixels(data: bytes) -> tuple[bytes, bytes]:
    """All segments but comments and those of applications; of these JFIF's and Adobe's, which name the colour space."""
    kept, exif, at = [data[:2]], b"", 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:  # padding before a marker
            at += 1
            continue
        if marker == 0xDA or not 0xC0 <= marker <= 0xFE or 0xD0 <= marker <= 0xD9 or size < 2:  # pixels, or damage
            break
        segment, at = data[at : at + 2 + size], at + 2 + size
        body = segment[4:]
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            exif += body if not exif else body[6:]  # one block may be cut into several segments
        names_colours = (marker == 0xE0 and body.startswith(b"JFIF") and len(body) >= 14) or (
            marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12
        )
        if names_colours or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(segment)
    return b"".join([*kept, data[at:]]), exif


# What else a file may be ----------------------------------------------------------------------------------------------

HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
_SAVE, _COPY = "save it as PNG or JPEG", "copy or download it again"
_STARTS = (
    (b"\xff\xd8\xff", "a damaged JPEG", _COPY),
    (b"\x89png", "a damaged PNG", _COPY),
    (b"gif8", "a damaged GIF", _COPY),
    (b"\x1aE\xdf\xa3".lower(), "a video", "save a frame of it as PNG or JPEG"),
    (b"<!doctype html", "a web page (HTML)", "download the picture itself"),
    (b"<html", "a web page (HTML)", "download the picture itself"),
    (b"<?xml", "an XML file", None),
    (b"<svg", "an SVG drawing", "give its name the suffix .svg"),
    (b"%pdf-", "a PDF document", "export its page as PNG"),
    (b"%!ps", "a PostScript document", "export it as PNG"),
    (b"8bps", "a Photoshop file", _SAVE),
    (b"\xff\x0a", "a JPEG XL picture", _SAVE),
    (b"\0\0\0\x0cjxl ", "a JPEG XL picture", _SAVE),
    (b"ii*\0", "a TIFF or a camera's raw file of an unknown kind", _SAVE),
    (b"mm\0*", "a TIFF or a camera's raw file of an unknown kind", _SAVE),
    (b"fujifilmccd-raw", "a camera's raw file", _SAVE),
    (b"pk\x03\x04", "a ZIP archive", "unpack it"),
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run git lfs pull"),
    (b"id3", "a sound (MP3)", "name the modality: --modality audio"),
    (b"oggs", "a sound (Ogg)", "name the modality: --modality audio"),
    (b"flac", "a sound (FLAC)", "name the modality: --modality audio"),
)


def _brands(data: bytes) -> set[bytes]:
    """The brands that an ISO media file (HEIC, AVIF, MP4, ...) names; none of another file. AVIF's exclude HEIF's."""
    if data[4:8] != b"ftyp":
        return set()
    box = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    found = {box[:4], *(box[i : i + 4] for i in range(8, len(box), 4))}
    return found & _AVIF_BRANDS or found


def _register_heif(path: str | PathLike) -> None:
    try:
        pillow_heif = import_module("pillow_heif")
    except ImportError as error:
        raise MissingDependencyError(
            "HEIC pictures need pillow-heif", where=path, remedy="pip install 'clipx-modalities[heic]'"
        ) from error
    pillow_heif.register_heif_opener()


def _other_kind(data: bytes) -> tuple[str, str | None]:
    """What a file is that is no picture, and what to do about it."""
    if brands := _brands(data):
        from PIL import features

        if brands & _AVIF_BRANDS and not features.check("avif"):
            return "it is an AVIF picture, which this Pillow cannot decode", "pip install -U pillow"
        if brands & (_AVIF_BRANDS | HEIF_BRANDS):
            return f"it is a damaged {'AVIF' if brands & _AVIF_BRANDS else 'HEIC'} picture", _COPY
        sound = data[8:11] == b"M4A"
        return f"it is a {'sound (M4A)' if sound else 'video'}", None if sound else "save a frame of it as PNG or JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "it is a sound (WAV)", "name the modality: --modality audio"
    if not data.strip(b"\0"):
        return f"all its {len(data):,} bytes are zero", "copy it again"
    if data[:4] in (b"II*\0", b"MM\0*"):
        directory = int.from_bytes(data[4:8], "little" if data[:1] == b"I" else "big")
        if directory + 2 > len(data):
            return "it is a truncated TIFF", _COPY
    start = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for sign, what, remedy in _STARTS:
        if start.startswith(sign):
            return f"it is {what}", remedy
    if start and all(byte >= 32 or byte in b"\t\n\r\f" for byte in start) and start.isascii():
        return "it is text", None
    return "no picture data", None
