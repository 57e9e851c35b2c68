"""Bezier strokes to pixels, with gradients.

>>> strokes = (torch.rand(16, 4, 2) * 224).requires_grad_()  # N strokes of 4 control points, in pixels
>>> image = rasterize(strokes, 224)                          # (3, 224, 224) in [0, 1], black on white
>>> image.mean().backward()                                  # fills strokes.grad

`plain` is the definition; `kernel` paints the same on the CPU, many times faster, for strokes on any device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import torch
from torch import Tensor

from clipx.errors import InputError
from clipx.modalities.sketch.raster import diffvg, kernel, plain

BACKENDS = {"plain": plain.paint, "numba": kernel.paint, "pydiffvg": diffvg.paint}
LARGEST_PX = 16384  # height or width of a canvas
LIMIT = 1e6  # of every number; so far out single precision places a point to .06 px


def rasterize(
    strokes: Tensor,
    size: int | tuple[int, int],
    width_px: float | Tensor = 3.0,
    alpha: float | Tensor = 1.0,
    color: Sequence[float] | Tensor | None = None,
    background: Sequence[float] | Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Paints strokes in their order, the first one lowest, with round caps; a stroke of no length is a dot.

    The picture is differentiable in points, width, opacity, colour and background. The share of a pixel that a stroke
    covers is exact where the stroke is straight and within .03 or so at caps and bends; where a stroke meets itself,
    only the part nearest to the pixel counts. The gradient jumps where another part becomes the nearest.

    Args:
        strokes: (..., N, D + 1, 2) control points of Bezier curves of degree D = 1, 2 or 3 in pixels, x to the right,
            y down; (0, 0) is the top left corner of the first pixel and (0.5, 0.5) its centre. float32 or float64.
        size: side, or height and width, of the canvas in pixels.
        width_px: full width, one for all or (..., N).
        alpha: opacity in [0, 1], one for all or (..., N); not clamped.
        color: RGB in [0, 1], (3,) or (..., N, 3), not clamped; black if not given.
        background: RGB in [0, 1], (3,) or pictures (..., 3, H, W); white if not given.
        backend: "numba" paints float32, to the same bits with any number of threads and in any batch. It paints on the
            CPU: strokes on another device are moved there, and the picture and the gradients back. "plain" takes
            float64 as well and computes on the strokes' own device, slowly. "auto" is "numba" for float32, else
            "plain"; "pydiffvg" is for comparison.

    Returns:
        (..., 3, H, W) of the strokes' dtype, on their device. Black on white it is one channel, expanded to
        three: clone it to write into it.

    Raises:
        InputError: a wrong shape, dtype or size, a number that is not finite or beyond a million, a negative width.
        MissingDependencyError: the backend's package is not installed.
    """
    _check_strokes(strokes)
    height, columns = _size(size)
    paint, device = _painter(backend, strokes), strokes.device
    if paint is kernel.paint:  # whatever is given is small; only the picture moves back
        given = strokes, width_px, alpha, color, background
        strokes, width_px, alpha, color, background = map(_on_cpu, given)
    *batch, count, _, _ = strokes.shape
    images = torch.Size(batch).numel()
    channels = 1 if color is None and background is None else 3
    if background is not None and (flat := torch.as_tensor(background)).ndim == 1:
        background = flat[:, None, None]

    def numbers(name: str, value: Any, *shape: int, least: float = -LIMIT) -> Tensor:
        return _numbers(name, value, (*batch, *shape), least, strokes).reshape(images, *shape)

    painted = paint(
        _cubic(numbers("points", strokes, *strokes.shape[-3:])),
        numbers("width_px", width_px, count, least=0),
        numbers("alpha", alpha, count),
        numbers("color", 0 if color is None else color, count, channels),
        numbers("background", 1 if background is None else background, channels, height, columns),
    )
    return painted.reshape(*batch, channels, height, columns).to(device).expand(*batch, 3, height, columns)


def _painter(backend: str, strokes: Tensor) -> Callable[..., Tensor]:
    if backend == "auto":
        backend = "numba" if strokes.dtype == torch.float32 else "plain"  # the place for a GPU kernel
    if backend not in BACKENDS:
        raise InputError(f"backend {backend!r} is unknown", remedy=f"choose auto, {', '.join(BACKENDS)}")
    if backend == "numba" and strokes.dtype != torch.float32:
        raise InputError(f'backend "numba" paints float32, got {strokes.dtype}', remedy='take backend="plain"')
    return BACKENDS[backend]


def _on_cpu(value: Any) -> Any:
    return value.cpu() if isinstance(value, Tensor) else value


def _cubic(points: Tensor) -> Tensor:
    """The same curves with 4 control points."""
    while (n := points.shape[-2]) < 4:
        share = torch.arange(1, n, dtype=points.dtype, device=points.device)[:, None] / n
        between = share * points[..., :-1, :] + (1 - share) * points[..., 1:, :]
        points = torch.cat((points[..., :1, :], between, points[..., -1:, :]), -2)
    return points


# What is refused.


def _check_strokes(strokes: Tensor) -> None:
    if not isinstance(strokes, Tensor) or strokes.dtype not in (torch.float32, torch.float64):
        got = strokes.dtype if isinstance(strokes, Tensor) else type(strokes).__name__
        raise InputError(f"strokes must be a float32 or float64 tensor, got {got}")
    if strokes.ndim < 3 or strokes.shape[-2] not in (2, 3, 4) or strokes.shape[-1] != 2:
        raise InputError(f"strokes must be (..., N, 2 to 4 control points, 2), got shape {tuple(strokes.shape)}")


def _size(size: int | tuple[int, int]) -> tuple[int, int]:
    try:
        height, columns = (index(side) for side in (size if isinstance(size, Sequence) else (size, size)))
    except (TypeError, ValueError):
        height = columns = 0
    if not (1 <= height <= LARGEST_PX and 1 <= columns <= LARGEST_PX):
        raise InputError(f"size must be one or two whole numbers from 1 to {LARGEST_PX}, got {size!r}")
    return height, columns


def _numbers(name: str, value: Any, shape: tuple[int, ...], least: float, strokes: Tensor) -> Tensor:
    """`value` spread to `shape`, of the strokes' dtype and on their device, all of it between `least` and LIMIT."""
    try:
        given = torch.as_tensor(value, dtype=strokes.dtype, device=strokes.device)
        spread = given.expand(shape)
    except (RuntimeError, TypeError, ValueError):
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
        raise InputError(f"{name} must be of shape {shape} or stretch to it, got {got}") from None
    extremes = [value] if isinstance(value, (int, float)) else given.detach().aminmax() if given.numel() else ()
    if not all(least <= float(extreme) <= LIMIT for extreme in extremes):
        place = (~((spread >= least) & (spread <= LIMIT))).nonzero()[0].tolist()
        number = spread[tuple(place)].item()
        stroke = ", ".join(map(str, place[: strokes.ndim - 2]))
        where = f"stroke {stroke}" if given.ndim and name != "background" else None
        raise InputError(f"{name} must lie in [{least:g}, {LIMIT:g}], got {number:g}", where=where)
    return spread
