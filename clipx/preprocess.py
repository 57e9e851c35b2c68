"""From pixels of any size to what an image tower was trained on: of arrays, and of tensors differentiably."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx._arrays import is_tensor
from clipx.errors import SpaceError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

LONGEST = 32  # times as long as wide: beyond it only the middle of a picture is resampled, else memory has no bound
ROWS_AT_ONCE = 16  # new rows of one matrix product: with more of them more of its weights are zeros


@dataclass(frozen=True)
class Preprocess:
    """The published preprocessing of one image tower; read from its config, never assumed.

    Args:
        size: (height, width) in pixels that the tower was trained on.
        mean: RGB mean that normalisation subtracts, in [0, 1] units.
        std: RGB standard deviation that it divides by.
        interpolation: ``"bicubic"`` or ``"bilinear"``, always antialiased (as Pillow does).
        resize_mode: ``"shortest"`` (fit the shorter side, crop the centre), ``"longest"`` (fit the longer side, pad) or
            ``"squash"`` (ignore the aspect ratio).
        fill: what ``"longest"`` pads with, in [0, 1].
    """

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill: float = 0.0

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, size: tuple[int, int], where: str) -> Preprocess:
        """Read open_clip's ``preprocess_cfg``; ``size`` is the tower's own and wins over the config's.

        Raises:
            SpaceError: mean or std is missing or malformed, or a mode is unknown.
        """

        def refuse(what: str) -> SpaceError:
            return SpaceError(
                f"preprocessing is unknown: {what}",
                where=where,
                remedy="give preprocess_cfg in open_clip_config.json with mean, std, interpolation and resize_mode",
            )

        def triple(key: str) -> tuple[float, float, float]:
            value = config.get(key)
            values = (value,) * 3 if isinstance(value, int | float) else value
            if not isinstance(values, list | tuple) or len(values) != 3 or not all(map(_is_number, values)):
                raise refuse(f"{key} is {value!r}, not three numbers")
            red, green, blue = (float(v) for v in values)
            return red, green, blue

        interpolation = config.get("interpolation") or "bicubic"
        if interpolation == "random":  # open_clip's name for a training augmentation; it evaluates with bicubic
            interpolation = "bicubic"
        resize_mode = config.get("resize_mode") or "shortest"
        if interpolation not in ("bicubic", "bilinear"):
            raise refuse(f"interpolation is {interpolation!r}")
        if resize_mode not in ("shortest", "longest", "squash"):
            raise refuse(f"resize_mode is {resize_mode!r}")
        std = triple("std")
        if min(std) <= 0:
            raise refuse(f"std is {std}")
        fill = config.get("fill_color") or 0
        if not _is_number(fill):
            raise refuse(f"fill_color is {fill!r}")
        return cls(size, triple("mean"), std, interpolation, resize_mode, float(fill) / 255)

    def as_config(self) -> dict[str, Any]:
        """open_clip's ``preprocess_cfg`` of the same meaning."""
        config = asdict(self)
        config["fill_color"] = round(config.pop("fill") * 255)
        return config

    def fitted(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that a picture is resampled to, before ``"shortest"`` crops or ``"longest"`` pads it.

        With ``"shortest"`` neither side is below ``size``, so nothing is ever padded.
        """
        th, tw = self.size
        if self.resize_mode == "squash":
            return th, tw
        if self.resize_mode == "shortest" and th == tw:  # torchvision's Resize, which open_clip uses for square towers
            short, long = min(height, width), max(height, width)
            long = int(th * long / short)
            return (th, long) if height <= width else (long, th)
        ratio = (max if self.resize_mode == "longest" else min)(height / th, width / tw)  # open_clip's ResizeKeepRatio
        return max(1, round(height / ratio)), max(1, round(width / ratio))

    def resize(self, pixels: Any) -> Any:
        """(N, 3, H, W) -> (N, 3, *size) by ``resize_mode``; as open_clip does with tensors. Gradients flow."""
        shape = tuple(pixels.shape[-2:])
        if shape == self.size:
            return pixels
        top, left, height, width = self._worth_reading(*shape)
        pixels = pixels[..., top : top + height, left : left + width]
        return _centre(self.sample(pixels, self.fitted(height, width), self._resize_filter), self.size, self.fill)

    def fit(self, picture: Picture) -> Picture:
        """An RGB Pillow picture at the size ``fitted``, resampled by Pillow as open_clip has it.

        ``resize`` of its pixels resamples no more: it crops or pads. So both together equal open_clip's transform of
        the picture in every bit.
        """
        from PIL import Image as pil

        top, left, height, width = self._worth_reading(picture.height, picture.width)
        if (height, width) != (picture.height, picture.width):
            picture = picture.crop((left, top, left + width, top + height))
        size = self.fitted(height, width)
        if size == (height, width):
            return picture
        return picture.resize(size[::-1], pil.Resampling[self._resize_filter.upper()])

    @property
    def _resize_filter(self) -> str:
        """open_clip's ``"shortest"`` is bicubic for towers that are not square, whatever the config says."""
        square = self.size[0] == self.size[1]
        return "bicubic" if self.resize_mode == "shortest" and not square else self.interpolation

    def _worth_reading(self, height: int, width: int) -> tuple[int, int, int, int]:
        """(top, left, height, width) of the middle of a very long picture whose ends ``"shortest"`` would crop."""
        if self.resize_mode != "shortest":
            return 0, 0, height, width
        most = LONGEST * max(self.size) // min(self.size) * min(height, width)
        h, w = min(height, most), min(width, most)
        return (height - h) // 2, (width - w) // 2, h, w

    def sample(self, pixels: Any, size: tuple[int, int], interpolation: str | None = None) -> Any:
        """(N, 3, H, W) -> (N, 3, *size), antialiased, by ``interpolation`` (its own by default); gradients flow."""
        if tuple(pixels.shape[-2:]) == size:
            return pixels
        mode = interpolation or self.interpolation
        if not is_tensor(pixels):
            return resample(pixels, size, mode)
        from torch.nn import functional as F

        if not len(pixels):
            return pixels.new_zeros(0, 3, *size)
        return F.interpolate(pixels, size, mode=mode, antialias=True, align_corners=False)

    def normalize(self, pixels: Any) -> Any:
        """Subtract the mean, divide by the standard deviation."""
        if is_tensor(pixels):
            mean, std = (pixels.new_tensor(v).view(3, 1, 1) for v in (self.mean, self.std))
        else:
            mean, std = (np.asarray(v, pixels.dtype).reshape(3, 1, 1) for v in (self.mean, self.std))
        centred = pixels - mean
        centred /= std  # in place, without another array as large; gradients flow
        return centred


def resample(pixels: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """(..., H, W) -> (..., *size), antialiased: what ``torch.nn.functional.interpolate`` makes of a tensor.

    Args:
        pixels: float.
        size: (height, width).
        interpolation: ``"bicubic"`` or ``"bilinear"``.
    """
    height, width = size
    down = _resample_rows(pixels, height, interpolation)
    return np.ascontiguousarray(_resample_rows(down.swapaxes(-1, -2), width, interpolation).swapaxes(-1, -2))


def _resample_rows(pixels: np.ndarray, wanted: int, interpolation: str) -> np.ndarray:
    """(..., H, W) -> (..., wanted, W): products of a few new rows' weights and of the rows in their reach."""
    given = pixels.shape[-2]
    scale = given / wanted
    width = max(scale, 1)  # the filter is as wide as a new pixel, as Pillow has it
    reach = width * (1 if interpolation == "bilinear" else 2)
    found = []
    for start in range(0, wanted, ROWS_AT_ONCE):
        centres = (np.arange(start, min(start + ROWS_AT_ONCE, wanted)) + 0.5) * scale
        first, last = max(math.floor(centres[0] - reach), 0), min(math.ceil(centres[-1] + reach), given)
        weights = _weights(np.abs(np.arange(first, last) + 0.5 - centres[:, None]) / width, interpolation)
        found.append(weights.astype(pixels.dtype) @ pixels[..., first:last, :])
    return np.concatenate(found, axis=-2)


def _weights(x: np.ndarray, interpolation: str) -> np.ndarray:
    """Weights of pixels at distances x (wanted, given) from new ones; those of a new one add up to 1."""
    if interpolation == "bilinear":
        weights = np.clip(1 - x, 0, None)
    else:  # Keys' cubic of a = -1/2
        weights = np.where(x < 1, (1.5 * x - 2.5) * x**2 + 1, np.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0))
    return weights / weights.sum(1, keepdims=True)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _centre(pixels: Any, size: tuple[int, int], fill: float) -> Any:
    """Crop or pad about the centre to ``size``."""
    (h, w), (th, tw) = pixels.shape[-2:], size
    dy, dx = max(th - h, 0), max(tw - w, 0)
    rows, columns = (dy // 2, dy - dy // 2), (dx // 2, dx - dx // 2)
    if is_tensor(pixels):
        from torch.nn import functional as F

        pixels = F.pad(pixels, (*columns, *rows), value=fill)
    elif dy or dx:
        pixels = np.pad(pixels, ((0, 0), (0, 0), rows, columns), constant_values=fill)
    top, left = (round((have - want) / 2) for have, want in zip(pixels.shape[-2:], size, strict=True))
    return pixels[..., top : top + th, left : left + tw]
