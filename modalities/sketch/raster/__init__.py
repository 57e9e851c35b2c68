"""Bezier strokes to pixels, with gradients.

>>> strokes = (torch.rand(16, 4, 2) * 224).requires_grad_()  # N strokes of 4 control points, in pixels
>>> image = rasterize(strokes, 224)                          # (3, 224, 224) in [0, 1], black on white
>>> image.mean().backward()                                  # fills strokes.grad

`plain` is the definition; `kernel` paints the same on the CPU, many times faster, for strokes on any device. Strokes
that are an array are painted by it without torch and make an array, the first of them by `light`, which needs no numba.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from operator import index
from typing import Any

import numpy as np

from clipx._arrays import A, is_tensor, to_array
from clipx.errors import InputError
from clipx.modalities.sketch.arrays import joined
from clipx.modalities.sketch.raster import kernel, light

BACKENDS = ("plain", "numba", "pydiffvg")
LARGEST_PX = 16384  # height or width of a canvas
LIMIT = 1e6  # of every number; so far out single precision places a point to .06 px
LIGHT = 32  # pictures that `light` paints, some 10 ms each, before it pays to load numba


def rasterize(
    strokes: A,
    size: int | tuple[int, int],
    width_px: float | A = 3.0,
    alpha: float | A = 1.0,
    color: Sequence[float] | A | None = None,
    background: Sequence[float] | A | None = None,
    backend: str = "auto",
) -> A:
    """Paints strokes in their order, the first one lowest, with round caps; a stroke of no length is a dot.

    The picture is differentiable in points, width, opacity, colour and background. The share of a pixel that a stroke
    covers is exact where the stroke is straight and within .03 or so at caps and bends; where a stroke meets itself,
    only the part nearest to the pixel counts. The gradient jumps where another part becomes the nearest.

    Args:
        strokes: (..., N, D + 1, 2) control points of Bezier curves of degree D = 1, 2 or 3 in pixels, x to the right,
            y down; (0, 0) is the top left corner of the first pixel and (0.5, 0.5) its centre. float32 or float64, a
            tensor or an array; an array has no gradients.
        size: side, or height and width, of the canvas in pixels.
        width_px: full width, one for all or (..., N).
        alpha: opacity in [0, 1], one for all or (..., N); not clamped.
        color: RGB in [0, 1], (3,) or (..., N, 3), not clamped; black if not given.
        background: RGB in [0, 1], (3,) or pictures (..., 3, H, W); white if not given.
        backend: "numba" paints float32, to the same bits with any number of threads and in any batch. It paints on the
            CPU: strokes on another device are moved there, and the picture and the gradients back. "plain" takes
            float64 as well and computes on the strokes' own device, slowly. "auto" is "numba" for float32, and for the
            first arrays its twin in NumPy, which paints the same bits and is there at once; else it is "plain".
            "pydiffvg" is for comparison.

    Returns:
        (..., 3, H, W) of the strokes' kind and dtype, on their device. Black on white it is one channel, expanded to
        three: copy it to write into it.

    Raises:
        InputError: a wrong shape, dtype or size, a number that is not finite or beyond a million, a negative width.
        MissingDependencyError: the backend's package is not installed.
    """
    _check_strokes(strokes)
    height, columns = _size(size)
    name = _backend(backend, strokes)
    points: Any = strokes
    image: Any
    if name != "numba" and not is_tensor(points):  # the others paint tensors
        import torch

        image = rasterize(torch.tensor(points), size, width_px, alpha, color, background, name)
        return to_array(image)  # type: ignore[return-value]
    device = points.device
    if name == "numba":  # whatever is given is small; only the picture moves back
        given = points, width_px, alpha, color, background
        points, width_px, alpha, color, background = map(_on_cpu, given)
    *batch, strokes_each, _, _ = points.shape
    images = prod(batch)
    channels = 1 if color is None and background is None else 3
    if background is not None and (flat := _like(background, points)).ndim == 1:
        background = flat[:, None, None]

    def numbers(name: str, value: Any, *shape: int, least: float = -LIMIT) -> Any:
        return _numbers(name, value, (*batch, *shape), least, points).reshape(images, *shape)

    image = _painter(name, points, at_first=backend == "auto")(
        _cubic(numbers("points", points, *points.shape[-3:])),
        numbers("width_px", width_px, strokes_each, least=0),
        numbers("alpha", alpha, strokes_each),
        numbers("color", 0 if color is None else color, strokes_each, channels),
        numbers("background", 1 if background is None else background, channels, height, columns),
    ).reshape(*batch, channels, height, columns)
    shape = *batch, 3, height, columns
    if is_tensor(image):
        image = image.to(device).expand(shape)
    elif channels == 1:
        image = np.broadcast_to(image, shape)
    return image


def _backend(backend: str, strokes: Any) -> str:
    single = str(strokes.dtype).removeprefix("torch.") == "float32"
    if backend == "auto":
        backend = "numba" if single else "plain"  # the place for a GPU kernel
    if backend not in BACKENDS:
        raise InputError(f"backend {backend!r} is unknown", remedy=f"choose auto, {', '.join(BACKENDS)}")
    if backend == "numba" and not single:
        raise InputError(f'backend "numba" paints float32, got {strokes.dtype}', remedy='take backend="plain"')
    return backend


def _painter(backend: str, strokes: Any, at_first: bool) -> Callable[..., Any]:
    if backend == "numba" and not is_tensor(strokes):
        return _light_at_first if at_first else kernel.paint
    from clipx.modalities.sketch.raster import autograd, diffvg, plain

    return {"plain": plain.paint, "numba": autograd.paint, "pydiffvg": diffvg.paint}[backend]


_painted = 0  # pictures, by `light`


def _light_at_first(*given: np.ndarray) -> np.ndarray:
    """By NumPy until numba is loaded, or is worth it."""
    global _painted
    painted = _painted + len(given[0])
    image = None if kernel.is_loaded() or painted > LIGHT else light.paint(*given)
    if image is None:
        return kernel.paint(*given)
    _painted = painted
    return image


def _on_cpu(value: Any) -> Any:
    return value.cpu() if is_tensor(value) else value


def _cubic(points: Any) -> Any:
    """The same curves with 4 control points."""
    while (n := points.shape[-2]) < 4:
        share = _like(np.arange(1, n), points)[:, None] / n
        between = share * points[..., :-1, :] + (1 - share) * points[..., 1:, :]
        points = joined((points[..., :1, :], between, points[..., -1:, :]), -2)
    return points


def _like(value: Any, strokes: Any) -> Any:
    """A value as strokes are: a tensor on their device or an array, of their dtype."""
    if not is_tensor(strokes):
        with np.errstate(over="ignore"):  # what is too large is refused
            return to_array(value).astype(strokes.dtype, copy=False)
    import torch

    return torch.as_tensor(value, dtype=strokes.dtype, device=strokes.device)


# What is refused.


def _check_strokes(strokes: Any) -> None:
    known = is_tensor(strokes) or isinstance(strokes, np.ndarray)
    got = str(strokes.dtype) if known else type(strokes).__name__
    if got.removeprefix("torch.") not in ("float32", "float64"):
        raise InputError(f"strokes must be a float32 or float64 tensor or array, got {got}")
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


def _numbers(name: str, value: Any, shape: tuple[int, ...], least: float, strokes: Any) -> Any:
    """`value` spread to `shape`, as strokes are, all of it between `least` and LIMIT."""
    try:
        given = _like(value, strokes)
        spread = given.expand(shape) if is_tensor(given) else np.broadcast_to(given, shape)
    except (RuntimeError, TypeError, ValueError):
        got = f"shape {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)
        raise InputError(f"{name} must be of shape {shape} or stretch to it, got {got}") from None
    if not all(least <= float(extreme) <= LIMIT for extreme in _extremes(value, given)):
        found = to_array(spread)
        place = np.argwhere(~((found >= least) & (found <= LIMIT)))[0].tolist()
        stroke = ", ".join(map(str, place[: strokes.ndim - 2]))
        where = f"stroke {stroke}" if given.ndim and name != "background" else None
        raise InputError(f"{name} must lie in [{least:g}, {LIMIT:g}], got {found[tuple(place)]:g}", where=where)
    return spread


def _extremes(value: Any, given: Any) -> Sequence[Any]:
    if isinstance(value, int | float):
        return [value]
    if not prod(given.shape):
        return []
    return given.detach().aminmax() if is_tensor(given) else (given.min(), given.max())
