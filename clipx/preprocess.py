"""From pixels of any size to what an image tower was trained on, differentiably."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from clipx.errors import SpaceError


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

    def resize(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, *size) by ``resize_mode``."""
        (h, w), (th, tw) = pixels.shape[-2:], self.size
        if (h, w) == (th, tw):
            return pixels
        if self.resize_mode == "squash":
            return self.sample(pixels, self.size)
        pick = max if self.resize_mode == "longest" else min
        ratio = pick(h / th, w / tw)
        # torchvision, which open_clip uses for square towers, truncates the longer side; open_clip itself rounds
        whole = int if self.resize_mode == "shortest" and th == tw else round
        pixels = self.sample(pixels, (max(1, whole(h / ratio)), max(1, whole(w / ratio))))
        return _centre(pixels, self.size, self.fill)

    def sample(self, pixels: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, 3, H, W) -> (N, 3, *size), antialiased; gradients flow."""
        if tuple(pixels.shape[-2:]) == size:
            return pixels
        if not len(pixels):
            return pixels.new_zeros(0, 3, *size)
        return F.interpolate(pixels, size, mode=self.interpolation, antialias=True, align_corners=False)

    def normalize(self, pixels: Tensor) -> Tensor:
        """Subtract the mean, divide by the standard deviation."""
        mean, std = (pixels.new_tensor(v).view(3, 1, 1) for v in (self.mean, self.std))
        return (pixels - mean) / std


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _centre(pixels: Tensor, size: tuple[int, int], fill: float) -> Tensor:
    """Crop or pad about the centre to ``size``."""
    (h, w), (th, tw) = pixels.shape[-2:], size
    dy, dx = max(th - h, 0), max(tw - w, 0)
    pixels = F.pad(pixels, (dx // 2, dx - dx // 2, dy // 2, dy - dy // 2), value=fill)
    top, left = (round((have - want) / 2) for have, want in zip(pixels.shape[-2:], size, strict=True))
    return pixels[..., top : top + th, left : left + tw]
