"""What a drawing is compared with: a photo, its transparency and background made white, on a square canvas."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.errors import InputError, MissingDependencyError
from clipx.modalities.sketch.curves import CANVAS
from clipx.pictures import eight_bits, on_white, open_picture, upright

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FRAME = 8  # pixels at a photo's border in which nothing is drawn
FEW_PIXELS = 48  # of the longer side, below which a photo is warned of
MARGIN = 20  # pixels of the photo that fix_scale adds to its longer side


@dataclass(frozen=True)
class Target:
    """A photo on the canvas.

    Args:
        pixels: (3, 224, 224) float32 RGB in [0, 1].
        box: (top, left, height, width) in canvas pixels of the photo; outside it the canvas is white and nothing is to
            be drawn.
        source_size: (height, width) in pixels of the photo as it was read.
        where: (224, 224) bool, where strokes are wanted and the photo counts; everywhere by default.
    """

    pixels: Tensor
    box: tuple[int, int, int, int]
    source_size: tuple[int, int]
    where: Tensor | None = None

    def sha256(self) -> str:
        """Identity of what is drawn."""
        where = b"" if self.where is None else self.where.numpy().tobytes()
        return hashlib.sha256(self.pixels.numpy().tobytes() + repr(self.box).encode() + where).hexdigest()


def load_target(
    photo: str | PathLike | Picture,
    mask: str | PathLike | None = None,
    *,
    fix_scale: bool = False,
    keep_aspect: bool = True,
) -> Target:
    """Read a photo, and a mask if there is one; see ``prepare``. Warns of a photo of few pixels.

    The photo is a file or a PIL picture. The mask's file may be a cut-out (what is opaque is the object) or plain (what
    is light is the object); ``"auto"`` lets rembg find the object, which fetches its own model the first time.

    Raises:
        FileError: a file is missing, damaged, of more than 2**27 pixels, or no picture.
        InputError: as in ``prepare``, or a PIL picture that cannot be decoded.
        MissingDependencyError: the mask is to be found, and rembg is not installed.
    """
    path = photo if isinstance(photo, str | PathLike) else None
    picture = eight_bits(open_picture(photo) if isinstance(photo, str | PathLike) else upright(photo), path)
    shape = None if mask is None else found_by_rembg(picture) if mask == "auto" else load_mask(mask)
    try:
        target = prepare(picture, shape, fix_scale=fix_scale, keep_aspect=keep_aspect)
    except InputError as error:
        about_mask = error.where == "mask"
        raise InputError(error.what, where=mask if about_mask else path, remedy=error.remedy) from error
    if max(picture.size) < FEW_PIXELS:
        size = f"{picture.width} x {picture.height} pixels"
        warnings.warn(f"{path or 'the photo'}: has {size}, of which a drawing can show little", stacklevel=2)
    return target


def found_by_rembg(picture: Picture) -> np.ndarray:
    """(H, W) bool of the object that rembg finds. Raises MissingDependencyError."""
    try:
        rembg = import_module("rembg")
    except ImportError as error:
        raise MissingDependencyError(
            "finding the object needs rembg", remedy="pip install 'clipx-modalities[mask]', or give a mask's file"
        ) from error
    return np.asarray(rembg.remove(on_white(picture), only_mask=True).convert("L")) > 127


def prepare(
    picture: Picture, mask: np.ndarray | None = None, *, fix_scale: bool = False, keep_aspect: bool = True
) -> Target:
    """A Pillow picture of any mode -> Target.

    In this order: transparency is laid on white (CLIPasso does so in mode RGBA only, and shows the hidden colours of
    others), what the mask leaves out becomes white (CLIPasso also stretches brightness there; this does not),
    ``fix_scale``, Pillow's bicubic resize on 8 bits.

    Args:
        picture: the photo.
        mask: (H, W) bool, of the photo's size, True where the object is.
        fix_scale: centre the photo on a white square whose side is the photo's longer one plus 20 pixels.
        keep_aspect: the longer side becomes 224, the rest of the canvas white; False stretches to 224 x 224 as CLIPasso
            does.

    Raises:
        InputError: the photo is a single pixel wide or high, or transparent throughout, or shows one colour only (after
            masking); the mask is of another size, or leaves nothing.
    """
    from PIL import Image as pil

    if min(picture.size) < 2:
        raise InputError(f"a photo of {picture.width} x {picture.height} pixels shows nothing to draw")
    if picture.has_transparency_data and not picture.convert("RGBA").getchannel("A").getextrema()[1]:
        raise InputError("the photo is transparent throughout: there is nothing to draw")
    rgb = on_white(picture)
    if mask is not None:
        rgb = _masked(rgb, mask)
    if rgb.getcolors(1):  # None where there are more
        masked = " once masked" if mask is not None else ""
        raise InputError(f"the photo is of one colour{masked}: there is nothing to draw")
    height, width = rgb.height, rgb.width
    if fix_scale:
        side, top, left = _square(height, width)
        square = pil.new("RGB", (side, side), "white")
        square.paste(rgb, (left, top))
        rgb = square
    w = h = CANVAS
    if keep_aspect:
        w, h = (max(1, round(CANVAS * length / max(rgb.size))) for length in rgb.size)
    box = (CANVAS - h) // 2, (CANVAS - w) // 2, h, w
    canvas = pil.new("RGB", (CANVAS, CANVAS), "white")
    canvas.paste(rgb.resize((w, h), pil.Resampling.BICUBIC), (box[1], box[0]))
    pixels = torch.from_numpy(np.array(canvas)).permute(2, 0, 1).contiguous().float() / 255
    return Target(pixels, box, (height, width))


def _masked(rgb: Picture, mask: np.ndarray) -> Picture:
    from PIL import Image as pil

    _check_size(mask, rgb.height, rgb.width)
    if not mask.any():
        raise InputError("the mask leaves nothing of the photo", where="mask", remedy="mark the object white")
    return pil.composite(rgb, pil.new("RGB", rgb.size, "white"), pil.fromarray(mask))


def _check_size(mask: np.ndarray, height: int, width: int) -> None:
    if mask.dtype != np.bool_ or mask.shape != (height, width):
        sizes = f"{mask.dtype} {mask.shape}, the photo {height} x {width} pixels"
        raise InputError(f"the mask is {sizes}", where="mask", remedy="give a mask of the photo's own size")


def _square(height: int, width: int) -> tuple[int, int, int]:
    """Of ``fix_scale``: the side of the square, and the row and column at which the photo begins in it."""
    side = max(height, width) + MARGIN
    return side, side // 2 - height // 2, side // 2 - width // 2


def load_mask(path: str | PathLike) -> np.ndarray:
    """(H, W) bool: the opaque half of a cut-out, what a palette picture does not paint in its colour 0 (a mask by
    ``clipx segment``, or of PASCAL VOC), the light half of any other picture. Raises FileError.
    """
    picture = open_picture(path)
    if picture.mode == "P" and not picture.has_transparency_data and (picture.getpalette() or [0])[:3] == [0, 0, 0]:
        return np.asarray(picture) > 0
    if picture.has_transparency_data:
        alpha = np.asarray(picture.convert("RGBA").getchannel("A"))
        if alpha.min() < 255:
            return alpha >= 128
    return np.asarray(eight_bits(picture).convert("L")) >= 128


def on_canvas(mask: np.ndarray, target: Target, *, fix_scale: bool = False) -> Tensor:
    """(H, W) bool of the photo -> (224, 224) bool, as ``Target.where`` has it.

    Args:
        mask: of the photo's size.
        target: the photo.
        fix_scale: as the target was prepared.

    Raises:
        InputError: the mask is of another size, or leaves nothing of the photo.
    """
    height, width = target.source_size
    _check_size(mask, height, width)
    if fix_scale:
        side, top, left = _square(height, width)
        square = np.zeros((side, side), bool)
        square[top : top + height, left : left + width] = mask
        mask = square
    top, left, height, width = target.box
    small = F.interpolate(torch.from_numpy(mask)[None, None].float(), (height, width), mode="bilinear", antialias=True)
    where = torch.zeros(CANVAS, CANVAS, dtype=torch.bool)
    where[top : top + height, left : left + width] = small[0, 0] >= 0.5
    if not where.any():
        raise InputError("the mask leaves nothing of the photo", where="mask", remedy="mark the object white")
    return where


def without_frame(target: Target) -> Tensor:
    """The photo, its outermost pixels repeated to the canvas's edge: a white margin would make the frame a line."""
    top, left, height, width = target.box
    photo = target.pixels[None, :, top : top + height, left : left + width]
    return F.pad(photo, (left, CANVAS - left - width, top, CANVAS - top - height), mode="replicate")[0]


def inner(target: Target) -> tuple[slice, slice]:
    """Rows and columns of the canvas that are the photo without its border; of a photo as narrow as that, none."""
    top, left, height, width = target.box
    return slice(top + FRAME, top + height - FRAME), slice(left + FRAME, left + width - FRAME)
