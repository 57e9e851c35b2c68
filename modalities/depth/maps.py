"""A depth map with its unit, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clipx.errors import InputError

UNITS = {
    "m": "metres along the camera's axis",
    "inverse": "1 / depth up to scale and shift: larger is nearer",
    "affine": "depth up to scale and shift: larger is farther",
}
LOW, HIGH = 0.02, 0.98  # shares of the pixels between which the colours run: a stray pixel would take them all


@dataclass(frozen=True, eq=False)
class DepthMap:
    """How far each pixel is.

    Args:
        depth: (H, W) float32. NaN is unknown; so is anything not above 0, unless the unit is affine.
        unit: ``"m"``, ``"inverse"`` or ``"affine"``, see ``UNITS``; maps of different units are never compared.
        responses: (K, h, w) float32, how much of each word a place shows, summing to 1 over K; or None.
        words: the K words.
        source: where it came from, for messages.

    Raises:
        InputError: wrong shape or dtype, infinite depth, an unknown unit, or responses that are not of the words.
    """

    depth: Tensor
    unit: str = "m"
    responses: Tensor | None = None
    words: tuple[str, ...] = ()
    source: str | None = None

    def __post_init__(self):
        require_unit(self.unit, self.source)
        d = self.depth
        if d.ndim != 2 or d.dtype != torch.float32 or not d.numel():
            raise InputError(f"depth must be (H, W) float32, got {tuple(d.shape)} {d.dtype}", where=self.source)
        if d.isinf().any():
            raise InputError("infinite depth", where=self.source, remedy="NaN says that a pixel is unknown")
        r = self.responses
        if r is not None and (r.ndim != 3 or len(r) != len(self.words)):
            raise InputError(f"{len(self.words)} words, but responses {tuple(r.shape)}", where=self.source)

    @property
    def known(self) -> Tensor:
        """(H, W) bool: where there is a depth."""
        return self.depth.isfinite() if self.unit == "affine" else self.depth > 0  # NaN > 0 is False


def require_unit(unit: str, where: str | None = None) -> None:
    """Raise InputError for a unit that is none."""
    if unit not in UNITS:
        raise InputError(f"no unit named {unit!r}", where=where, remedy=f"known: {', '.join(UNITS)}")


def require_same_unit(a: str, b: str, where: str | None = None) -> None:
    """Raise InputError unless two maps' units are the same."""
    if a != b:
        raise InputError(
            f"cannot compare depth in {a} with depth in {b}",
            where=where,
            remedy="align it first (alignment median or scale+shift)",
        )


def nearness(depth: DepthMap) -> Tensor:
    """(H, W) in [0, 1], 1 the nearest; NaN where depth is unknown.

    Metres go by their inverse, in which what is near differs most. The ends are the 2nd and 98th percentile.
    """
    known = depth.known
    values = {"m": lambda d: 1 / d, "inverse": lambda d: d, "affine": lambda d: -d}[depth.unit](depth.depth)
    if not known.any():
        return torch.full_like(values, torch.nan)
    low, high = central(values[known])
    flat = torch.full_like(values, 0.5)
    shown = ((values - low) / (high - low)).clamp(0, 1) if high > low else flat
    return torch.where(known, shown, torch.nan)


def colored(depth: DepthMap) -> Tensor:
    """(3, H, W) RGB in [0, 1]: red is near, blue is far (the colour map turbo); unknown is black."""
    near = nearness(depth)
    rgb = turbo()[(near.nan_to_num(0) * 255).round().long().cpu()]
    return torch.where(near.isnan().cpu()[..., None], 0.0, rgb).permute(2, 0, 1)


def turbo() -> Tensor:
    """(256, 3) RGB in [0, 1]: the colour map turbo, from blue, far, to red, near."""
    from matplotlib import colormaps

    return torch.tensor(colormaps["turbo"](torch.arange(256).numpy())[:, :3], dtype=torch.float32)


def central(values: Tensor) -> tuple[float, float]:
    """The 2nd and the 98th percentile of (P,) values, P >= 1."""
    ordered = values.flatten().sort().values  # torch.quantile takes no more than 2**24
    last = len(ordered) - 1
    return float(ordered[round(LOW * last)]), float(ordered[round(HIGH * last)])
