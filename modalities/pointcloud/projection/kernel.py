"""The projections on the CPU, by numba: what `plain` defines, many times faster.

A picture is one worker's from its first pixel to its last, so neither the number of threads nor the other clouds of the
batch change a bit of it. The kernels are ordinary functions over NumPy arrays, in float32 to the last literal where the
plain versions are, so that both choose the same pixels; `_compiled` makes machine code of one on its first use.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import numpy as np

import clipx.modalities.pointcloud.projection.solid as solid
from clipx._arrays import is_tensor
from clipx._threads import threads
from clipx.errors import InputError
from clipx.modalities.pointcloud.projection.views import Matrix

BACKENDS = ("auto", "plain", "numba")
SOLID_BACKENDS = (*BACKENDS, "open3d")  # of `surfels` and `mesh`


def wanted(backend: str, *given: Any, known: Sequence[str] = BACKENDS) -> bool:
    """Whether the kernels are to draw what is given.

    Args:
        backend: "plain" for any device, dtype and gradients; "numba" for float32 on the CPU without gradients; "auto"
            is "numba" where that will do, and NumPy alone where there is so little to draw that loading numba would
            take longer. "open3d" computes a part by open3d, without gradients, the rest like "auto".
        given: float32 arrays, tensors, or None.
        known: the backends that there are.

    Raises:
        InputError: no such backend, or "numba" or "open3d" for what it does not draw.
    """
    if backend not in known:
        raise InputError(f"backend {backend!r} is unknown", remedy=f"choose {', '.join(known)}")
    fit = constant = True
    if tensors := [tensor for tensor in given if is_tensor(tensor)]:
        import torch

        constant = not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors))
        fit = constant and all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)
    if backend == "numba" and not fit:
        raise InputError('backend "numba" draws float32 on the CPU without gradients', remedy='take backend="plain"')
    if backend == "open3d" and not constant:
        raise InputError('backend "open3d" draws without gradients', remedy='take backend="plain"')
    return fit and backend != "plain"


def v1(points: np.ndarray, views: Sequence[Matrix], distance: float, eps: float, size: int) -> np.ndarray:
    """(N, P, 3) float32 -> (N, V, R, R) as `plain.v1` has it."""
    out = np.zeros((len(points), len(views), size, size), np.float32)
    _spread("v1", out, points, _rows(views), np.float32(distance), np.float32(eps))
    return out


def v2(
    points: np.ndarray, views: Sequence[Matrix], size: int, depth: int, constants: tuple[float, float, float, float]
) -> np.ndarray:
    """(N, P, 3) float32 -> (N, V, R - 2, R - 2) as `plain.v2` has it."""
    out = np.empty((len(points), len(views), size - 2, size - 2), np.float32)
    _spread("v2", out, points, _rows(views), depth, np.array(constants, np.float32))
    return out


def ortho(
    points: np.ndarray, views: Sequence[Matrix], radius: float, distance: float, grey: float, size: int
) -> np.ndarray:
    """(N, P, 3) float32 -> (N, V, R, R) as `plain.ortho` has it."""
    out = np.empty((len(points), len(views), size, size), np.float32)
    _spread("ortho", out, points, _rows(views), np.array([radius * size / 2, distance, grey], np.float32))
    return out


def surfels(
    scene: solid.Scene, normals: np.ndarray, axes: np.ndarray, colours: np.ndarray, slack: float, wide: float,
    steps: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """As `plain.surfels.paint` of each view: (V, P, 3) points and normals, (V, P, 2, 3) half axes -> (V, 3, R, R)."""
    out = np.empty((len(normals), 3, scene.side // solid.FINE, scene.side // solid.FINE), np.float32)
    _spread("surfels", out[:, None], *scene[:3], normals, axes, colours, np.float32(slack), np.float32(wide), steps)
    return out


def mesh(
    scene: solid.Scene, views: Sequence[Matrix], triangles: np.ndarray, normals: np.ndarray, colours: np.ndarray
) -> np.ndarray:
    """As `plain.mesh.paint` of each view: (F, 3) triangles, (F, 3, 3) normals and colours -> (V, 3, R, R)."""
    out = np.empty((len(views), 3, scene.side // solid.FINE, scene.side // solid.FINE), np.float32)
    _spread("mesh", out[:, None], *scene[:3], triangles, normals, colours, _rows(views))
    return out


def neighbours(points: np.ndarray, count: int) -> np.ndarray:
    """As `plain.surfels.neighbours` for (P, 3) float32."""
    order = points[:, 0].argsort(stable=True)
    found = np.empty((len(points), count), np.int64)
    _spread("neighbours", found, points[order], order)
    return found


def surface(points: np.ndarray, around: np.ndarray, given: np.ndarray, steps: int, off: float) -> np.ndarray:
    """As `plain.surfels.surface` for float32."""
    fitted, found = np.empty((len(points), 4), np.float32), np.empty((len(points), 11), np.float32)
    _spread("fit", fitted, points, around)
    _spread("surface", found, points, around, given, fitted, steps, np.float64(off))
    return found


def _rows(views: Sequence[Matrix]) -> np.ndarray:
    return np.array(views, np.float32)


# Threads.


def _spread(name: str, out: np.ndarray, *given: Any) -> None:
    """Fill `out` by as many threads as an operator may use; its first one or two dimensions are the tasks."""
    kernel = _compiled(name)
    given = tuple(np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value for value in given)
    workers = max(1, min(threads(), math.prod(out.shape[:2])))
    calls = [partial(kernel, out, *given, worker, workers) for worker in range(workers)]
    others = [_pool().submit(call) for call in calls[1:]]
    calls[0]()
    for other in others:
        other.result()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="clipx-projection")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of its parent's threads


# Machine code.


@cache
def _compiled(name: str) -> Callable[..., None]:
    """A kernel for one set of types; from numba's cache on disk where it can be written and holds it."""
    from numba import njit
    from numba.core import event
    from numba.extending import register_jitable

    class Notice(event.Listener):
        def on_start(self, _: Any) -> None:
            _tell()

        def on_end(self, _: Any) -> None:
            pass

    for helper in _HELPERS:
        register_jitable(helper)
    function, types = _KERNELS[name]
    options: Any = {"nogil": True, "error_model": "numpy"}
    signature = f"void({types}, i8, i8)"
    with event.install_listener("numba:compile", Notice()):
        try:
            return njit(signature, cache=True, **options)(function)
        except RuntimeError:  # no folder to write to
            return njit(signature, **options)(function)


@cache
def _tell() -> None:
    logging.getLogger("clipx").warning("compiling the projections for this machine: some seconds, once")


# The kernels. N clouds of P points, V views; a task is a picture.


def _v1(out, points, rows, distance, eps, worker, workers):
    clouds, views, size, _ = out.shape
    one, half, shift = np.float32(1), np.float32(size / 2), np.float32(0.5)
    mass, total = np.zeros((size, size)), np.zeros((size, size))
    touched = np.empty((points.shape[1], 2), np.int64)
    for task in range(worker, clouds * views, workers):
        n, v = task // views, task % views
        found = 0
        for p in range(points.shape[1]):
            x, y, z = _turned(points, n, p, rows, v)
            depth = z + distance
            far = depth + eps
            a = np.ceil((x / far + one) * half - shift)
            b = np.ceil((y / far + one) * half - shift)
            if depth >= 0 and 0 <= a <= size - 1 and 0 <= b <= size - 1:
                row, column = int(a), int(b)
                weight = np.float64(one / far)
                if mass[row, column] == 0:
                    touched[found, 0], touched[found, 1] = row, column
                    found += 1
                mass[row, column] += weight
                total[row, column] += weight * depth
        for k in range(found):
            row, column = touched[k, 0], touched[k, 1]
            out[n, v, row, column] = total[row, column] / mass[row, column]
            mass[row, column] = total[row, column] = 0


def _v2(out, points, rows, depth, constants, worker, workers):
    clouds, views, side, _ = out.shape
    size = side + 2
    fill, bias, beside, middle = constants[0], constants[1], constants[2], constants[3]
    one, two = np.float32(1), np.float32(2)
    whole, layers, across = one + bias, np.float32(depth - 2), np.float32(size)
    placed = np.empty((points.shape[1], 3), np.float32)
    dense = np.zeros((depth, side + 2, side + 2), np.float32)  # a border of zeros
    line = np.zeros(side + 2, np.float32)
    dirty = np.zeros(depth, np.bool_)
    for task in range(worker, clouds * views, workers):
        n, v = task // views, task % views
        low, high = np.full(3, np.inf, np.float32), np.full(3, -np.inf, np.float32)
        count = 0
        for p in range(points.shape[1]):
            x, y, z = _turned(points, n, p, rows, v)
            if np.isfinite(x) and np.isfinite(y) and np.isfinite(z):
                placed[count, 0], placed[count, 1], placed[count, 2] = x, y, z
                for axis in range(3):
                    low[axis] = min(low[axis], placed[count, axis])
                    high[axis] = max(high[axis], placed[count, axis])
                count += 1
        extent = max(high[0] - low[0], high[1] - low[1], high[2] - low[2])
        for p in range(count if extent > 0 else 0):
            x = (placed[p, 0] - (high[0] + low[0]) / two) / extent * two
            y = (placed[p, 1] - (high[1] + low[1]) / two) / extent * two
            z = (placed[p, 2] - (high[2] + low[2]) / two) / extent * two
            row = int(min(max(np.ceil((x * fill + one) / two * across), one), across - two))
            column = int(min(max(np.ceil((y * fill + one) / two * across), one), across - two))
            far = ((z + one) / two + bias) / whole * layers
            layer = int(min(max(np.ceil(far), np.float32(0)), np.float32(depth - 1)))
            far = min(max(far, one), layers)
            dirty[layer] = True
            for i in range(max(row - 3, 1), min(row + 3, side) + 1):  # 7 x 7 cells
                for j in range(max(column - 3, 1), min(column + 3, side) + 1):
                    dense[layer, i, j] = max(dense[layer, i, j], far)
        picture = out[n, v]
        picture[:] = 0
        for layer in range(depth):
            if not dirty[layer]:
                continue
            cells = dense[layer]
            for i in range(side):
                for j in range(1, side + 1):
                    line[j] = (cells[i, j] + cells[i + 2, j]) * beside + cells[i + 1, j] * middle
                for j in range(side):
                    smooth = (line[j] + line[j + 2]) * beside + line[j + 1] * middle
                    picture[i, j] = max(picture[i, j], smooth)
            cells[:] = 0
            dirty[layer] = False
        top = np.float32(0)
        for i in range(side):
            for j in range(side):
                top = max(top, picture[i, j])
        top = top if top > 0 else one
        for i in range(side):
            for j in range(side):
                picture[i, j] = one - picture[i, j] / top


def _ortho(out, points, rows, constants, worker, workers):
    clouds, views, size, _ = out.shape
    reach, distance, grey = constants[0], constants[1], constants[2]
    one, half, centre = np.float32(1), np.float32(size / 2), np.float32(0.5)
    for task in range(worker, clouds * views, workers):
        n, v = task // views, task % views
        picture = out[n, v]
        picture[:] = np.inf
        for p in range(points.shape[1]):
            right, down, ahead = _turned(points, n, p, rows, v)
            depth = ahead + distance
            x, y = (right + one) * half, (down + one) * half
            if not (depth >= 0 and np.isfinite(x + y)):
                continue
            for i in range(_first(y - reach), min(_last(y + reach), size - 1) + 1):
                dy = np.float32(i) + centre - y
                for j in range(_first(x - reach), min(_last(x + reach), size - 1) + 1):
                    dx = np.float32(j) + centre - x
                    if dx * dx + dy * dy < reach * reach and depth < picture[i, j]:
                        picture[i, j] = depth
        least, most = np.float32(np.inf), np.float32(0)
        for i in range(size):
            for j in range(size):
                if picture[i, j] < np.inf:
                    least, most = min(least, picture[i, j]), max(most, picture[i, j])
        most = max(most, np.float32(1.1754944e-38))
        for i in range(size):
            for j in range(size):
                placed = picture[i, j] < np.inf
                picture[i, j] = (picture[i, j] - least) / most * grey if placed else one


def _neighbours(found, points, order, worker, workers):
    """(P, k) rows of the nearest points; `points` ascend in x, and `order` are the rows that they had."""
    total, count = found.shape
    distance, row = np.empty(count, np.float32), np.empty(count, np.int64)
    for i in range(worker, total, workers):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        kept = 0
        left, right = i, i + 1
        near_left, near_right = np.float32(0), np.float32(np.inf)
        if right < total:
            near_right = _square(points[right, 0] - x)
        while left >= 0 or right < total:
            take_left = near_left <= near_right
            k = left if take_left else right
            least = near_left if take_left else near_right
            if kept == count and least > distance[kept - 1]:
                break
            d = _square(points[k, 0] - x) + _square(points[k, 1] - y) + _square(points[k, 2] - z)
            if kept < count or d < distance[kept - 1] or (d == distance[kept - 1] and order[k] < row[kept - 1]):
                place = kept if kept < count else count - 1
                while place > 0 and (
                    d < distance[place - 1] or (d == distance[place - 1] and order[k] < row[place - 1])
                ):
                    distance[place], row[place] = distance[place - 1], row[place - 1]
                    place -= 1
                distance[place], row[place] = d, order[k]
                kept = min(kept + 1, count)
            if take_left:
                left -= 1
                near_left = _square(points[left, 0] - x) if left >= 0 else np.float32(np.inf)
            else:
                right += 1
                near_right = _square(points[right, 0] - x) if right < total else np.float32(np.inf)
        found[order[i]] = row


def _fit(fitted, points, around, worker, workers):
    """(P, 4) normals by principal components of the neighbours, and how flat the surface is; see `surfels.surface`."""
    offset, near = np.empty((around.shape[1], 3)), np.empty(around.shape[1])
    matrix, axes = np.empty((3, 3)), np.empty((3, 3))
    for p in range(worker, len(points), workers):
        _gather(offset, near, points, around, p)
        middle = np.zeros(3)
        for k in range(len(near)):
            for i in range(3):
                middle[i] += near[k] * offset[k, i]
        matrix[:] = 0
        for k in range(len(near)):
            for i in range(3):
                for j in range(3):
                    matrix[i, j] += near[k] * (offset[k, i] - middle[i]) * (offset[k, j] - middle[j])
        low, between, _ = _eigen(matrix, axes)
        fitted[p, 0], fitted[p, 1], fitted[p, 2] = axes[0, 0], axes[1, 0], axes[2, 0]
        flat = min(max(1 - max(low, 0.0) / max(between, 1e-20), 0.0), 1.0)
        fitted[p, 3] = flat * flat + 0.02


def _surface(found, points, around, given, fitted, steps, off, worker, workers):
    """(P, 11) of `surfels.surface`, from what `_fit` found."""
    count = around.shape[1]
    offset, near = np.empty((count, 3)), np.empty(count)
    matrix, axes = np.empty((3, 3)), np.empty((3, 3))
    for p in range(worker, len(points), workers):
        mean = _gather(offset, near, points, around, p)
        matrix[:] = 0
        for k in range(count):
            q = around[p, k]
            for i in range(3):
                for j in range(3):
                    matrix[i, j] += near[k] * fitted[q, 3] * fitted[q, i] * fitted[q, j]
        _eigen(matrix, axes)
        nx, ny, nz = axes[0, 2], axes[1, 2], axes[2, 2]
        limit = off * mean if mean > 0 else 1.0
        for _ in range(steps):
            matrix[:] = 0
            for k in range(count):
                beside = offset[k, 0] * nx + offset[k, 1] * ny + offset[k, 2] * nz
                fade = 1 + beside * beside / limit
                weight = near[k] / (fade * fade)
                for i in range(3):
                    for j in range(3):
                        matrix[i, j] += weight * offset[k, i] * offset[k, j]
            _eigen(matrix, axes)
            nx, ny, nz = axes[0, 0], axes[1, 0], axes[2, 0]
        gx, gy, gz = np.float64(given[p, 0]), np.float64(given[p, 1]), np.float64(given[p, 2])
        if gx * gx + gy * gy + gz * gz > 0.5:
            nx, ny, nz = gx, gy, gz
        mx, my, mz = 0.0, 0.0, 0.0
        for k in range(count):
            mx, my, mz = mx + offset[k, 0] / count, my + offset[k, 1] / count, mz + offset[k, 2] / count
        along = mx * nx + my * ny + mz * nz
        mx, my, mz = mx - along * nx, my - along * ny, mz - along * nz
        matrix[:] = 0
        for k in range(count):
            above = offset[k, 0] * nx + offset[k, 1] * ny + offset[k, 2] * nz
            offset[k, 0] -= above * nx + mx
            offset[k, 1] -= above * ny + my
            offset[k, 2] -= above * nz + mz
            for i in range(3):
                for j in range(3):
                    matrix[i, j] += offset[k, i] * offset[k, j]
        _, between, high = _eigen(matrix, axes)
        found[p, 0], found[p, 1], found[p, 2], found[p, 3] = nx, ny, nz, fitted[p, 3]
        found[p, 4], found[p, 5], found[p, 6] = axes[0, 2], axes[1, 2], axes[2, 2]
        found[p, 7] = math.sqrt(max(between, 0.0) / max(high, 1e-20))
        found[p, 8], found[p, 9], found[p, 10] = mx, my, mz


def _gather(offset, near, points, around, p):
    """Fill the offsets of a point's neighbours and their weights; returns the mean squared distance."""
    most, total = 0.0, 0.0
    for k in range(len(near)):
        near[k] = 0
        for i in range(3):
            offset[k, i] = points[around[p, k], i] - points[p, i]
            near[k] += offset[k, i] * offset[k, i]
        most, total = max(most, near[k]), total + near[k]
    whole = 0.0
    for k in range(len(near)):
        share = 1 - 0.75 * near[k] / (most if most > 0 else 1.0)
        near[k] = share * share
        whole += near[k]
    for k in range(len(near)):
        near[k] /= whole
    return total / len(near)


def _eigen(a, vectors):
    """Eigenvalues of a symmetric 3 x 3 matrix, ascending, and in the columns of `vectors` its eigenvectors: Jacobi's.

    The matrix is overwritten.
    """
    for i in range(3):
        for j in range(3):
            vectors[i, j] = 1.0 if i == j else 0.0
    for _ in range(12):
        rest = abs(a[0, 1]) + abs(a[0, 2]) + abs(a[1, 2])
        if rest <= 1e-15 * (abs(a[0, 0]) + abs(a[1, 1]) + abs(a[2, 2])):
            break
        for i in range(2):
            for j in range(i + 1, 3):
                if a[i, j] == 0:
                    continue
                theta = (a[j, j] - a[i, i]) / (2 * a[i, j])
                t = (1.0 if theta >= 0 else -1.0) / (abs(theta) + math.sqrt(theta * theta + 1))
                c = 1 / math.sqrt(t * t + 1)
                s = t * c
                for k in range(3):
                    a[k, i], a[k, j] = c * a[k, i] - s * a[k, j], s * a[k, i] + c * a[k, j]
                for k in range(3):
                    a[i, k], a[j, k] = c * a[i, k] - s * a[j, k], s * a[i, k] + c * a[j, k]
                for k in range(3):
                    vectors[k, i], vectors[k, j] = (
                        c * vectors[k, i] - s * vectors[k, j],
                        s * vectors[k, i] + c * vectors[k, j],
                    )
    for i, j in ((0, 1), (1, 2), (0, 1)):
        if a[i, i] > a[j, j]:
            a[i, i], a[j, j] = a[j, j], a[i, i]
            for k in range(3):
                vectors[k, i], vectors[k, j] = vectors[k, j], vectors[k, i]
    return a[0, 0], a[1, 1], a[2, 2]


def _surfels(out, placed, focal, centre, normals, axes, colours, slack, wide, steps, worker, workers):
    views, rows = len(placed), out.shape[-1]
    side = rows * solid.FINE
    one, tiny = np.float32(1), np.float32(1e-4)
    front, near = np.empty((side, side), np.float32), np.empty((rows, rows), np.float32)
    covered, total = np.empty((rows, rows), np.float32), np.empty((rows, rows, 7), np.float32)
    disc = np.empty(18, np.float32)
    for v in range(worker, views, workers):
        f, cx, cy = focal[v], centre[v, 0], centre[v, 1]
        front[:] = np.inf
        for p in range(placed.shape[1]):
            _disc(disc, placed[v, p], normals[v, p], axes[v, p], one)
            x, y, z, nx, ny, nz, height = disc[0], disc[1], disc[2], disc[3], disc[4], disc[5], disc[6]
            ax, ay, az, bx, by, bz = disc[7], disc[8], disc[9], disc[10], disc[11], disc[12]
            py, box = y / z * f + cy, disc[13] * f
            for i in range(_first(py - box), min(_last(py + box), side - 1) + 1):
                dy = (np.float32(i) + np.float32(0.5) - cy) / f
                left, right = _chord(disc, dy)
                for j in range(_first(left * f + cx), min(_last(right * f + cx), side - 1) + 1):
                    dx = (np.float32(j) + np.float32(0.5) - cx) / f
                    far = height / (dx * nx + dy * ny + nz)
                    if far < front[i, j]:
                        ox, oy, oz = far * dx - x, far * dy - y, far - z
                        u, w = ox * ax + oy * ay + oz * az, ox * bx + oy * by + oz * bz
                        if u * u + w * w < one:
                            front[i, j] = far
        near[:] = np.inf
        covered[:] = 0
        for i in range(side):
            for j in range(side):
                depth = _closed(front, i, j, steps[v], slack)
                if depth < np.inf:
                    k, m = i // solid.FINE, j // solid.FINE
                    near[k, m] = min(near[k, m], depth)
                    covered[k, m] += np.float32(1 / solid.FINE**2)

        total[:] = 0
        f, cx, cy = f / np.float32(solid.FINE), cx / np.float32(solid.FINE), cy / np.float32(solid.FINE)
        for p in range(placed.shape[1]):
            _disc(disc, placed[v, p], normals[v, p], axes[v, p], wide)
            x, y, z, nx, ny, nz, height = disc[0], disc[1], disc[2], disc[3], disc[4], disc[5], disc[6]
            ax, ay, az, bx, by, bz = disc[7], disc[8], disc[9], disc[10], disc[11], disc[12]
            facing = -height / np.sqrt(x * x + y * y + z * z)
            py, box = y / z * f + cy, disc[13] * f
            for i in range(_first(py - box), min(_last(py + box), rows - 1) + 1):
                dy = (np.float32(i) + np.float32(0.5) - cy) / f
                left, right = _chord(disc, dy)
                for j in range(_first(left * f + cx), min(_last(right * f + cx), rows - 1) + 1):
                    dx = (np.float32(j) + np.float32(0.5) - cx) / f
                    far = height / (dx * nx + dy * ny + nz)
                    if abs(far - near[i, j]) <= slack:
                        ox, oy, oz = far * dx - x, far * dy - y, far - z
                        u, w = ox * ax + oy * ay + oz * az, ox * bx + oy * by + oz * bz
                        off = u * u + w * w
                        if off < one:
                            weight = ((one - off) * (one - off) + tiny) * facing
                            total[i, j, 0] += nx * weight
                            total[i, j, 1] += ny * weight
                            total[i, j, 2] += nz * weight
                            total[i, j, 3] += colours[p, 0] * weight
                            total[i, j, 4] += colours[p, 1] * weight
                            total[i, j, 5] += colours[p, 2] * weight
                            total[i, j, 6] += weight
        picture = out[v, 0]
        picture[:] = solid.GROUND
        for i in range(rows):
            for j in range(rows):
                weight = total[i, j, 6]
                if weight > 0:
                    light = _light(total[i, j, 0], total[i, j, 1], total[i, j, 2])
                    for c in range(3):
                        shown = min(max(total[i, j, 3 + c] / weight * light, np.float32(0)), one)
                        picture[c, i, j] += (shown - picture[c, i, j]) * covered[i, j]


def _closed(front, i, j, steps, slack):
    """The depth of a pixel, or where `surfels.closed` sees a gap, of what should be there."""
    limit, fill = front[i, j] - slack, np.float32(-np.inf)
    for down in range(-1, 2):
        for right in range(-1, 2):
            if down == 0 and right == 0:
                continue
            found = np.float32(np.inf)
            for step in range(1, steps + 1):
                y, x = i + step * down, j + step * right
                if not (0 <= y < len(front) and 0 <= x < len(front)):
                    break
                if front[y, x] < limit:
                    found = front[y, x]
                    break
            if found == np.inf:
                return front[i, j]
            fill = max(fill, found)
    return fill


def _disc(disc, place, normal, axes, wide):
    """What the painting of a disc, `wide` times as large as its half axes say, needs to know of it."""
    x, y, z, nx, ny, nz = place[0], place[1], place[2], normal[0], normal[1], normal[2]
    height = nx * x + ny * y + nz * z
    if height > 0:
        nx, ny, nz, height = -nx, -ny, -nz, -height
    disc[0], disc[1], disc[2], disc[3], disc[4], disc[5], disc[6] = x, y, z, nx, ny, nz, height
    reach2 = np.float32(0)
    for k in range(2):
        ax, ay, az = axes[k, 0] * wide, axes[k, 1] * wide, axes[k, 2] * wide
        length2 = max(ax * ax + ay * ay + az * az, np.float32(1e-20))
        reach2 = max(reach2, length2)
        ax, ay, az = ax / length2, ay / length2, az / length2
        disc[7 + 3 * k], disc[8 + 3 * k], disc[9 + 3 * k] = ax, ay, az
        disc[14 + 2 * k] = ax * x + ay * y + az * z
        disc[15 + 2 * k] = ax * height - disc[14 + 2 * k] * nx
    reach = np.sqrt(reach2)
    disc[13] = reach * (np.float32(1) + max(abs(x), abs(y)) / z) / max(z - reach, np.float32(0.1))


def _chord(disc, dy):
    """From where to where, in x / z, a line of sight of that y / z may meet the disc, a little too far.

    u and v of the place where they meet are ratios of linear functions of x / z, so that u^2 + v^2 < 1 between the
    roots of a square function.
    """
    x, z, reach = disc[0], disc[2], disc[13]
    left, right = x / z - reach, x / z + reach
    n0 = disc[4] * dy + disc[5]
    u0 = (disc[8] * dy + disc[9]) * disc[6] - disc[14] * n0
    v0 = (disc[11] * dy + disc[12]) * disc[6] - disc[16] * n0
    square = disc[15] * disc[15] + disc[17] * disc[17] - disc[3] * disc[3]
    if square <= 0:  # the disc reaches around the camera's own plane: rare
        return left, right
    half = disc[15] * u0 + disc[17] * v0 - disc[3] * n0
    root2 = half * half - square * (u0 * u0 + v0 * v0 - n0 * n0)
    if root2 < np.float32(-1e-4) * half * half:
        return np.float32(1), np.float32(-1)
    root = np.sqrt(max(root2, np.float32(0)))
    slack = reach * np.float32(0.05)
    return max(left, (-half - root) / square - slack), min(right, (-half + root) / square + slack)


def _mesh(out, placed, focal, centre, triangles, normals, colours, rows, worker, workers):
    views, side = len(placed), out.shape[-1] * solid.FINE
    one, half, edge = np.float32(1), np.float32(0.5), np.float32(-1e-5)
    depth = np.empty((side, side), np.float32)
    nearest = np.empty((side, side), np.int64)
    count = placed.shape[1]
    x, y, near = np.empty(count, np.float32), np.empty(count, np.float32), np.empty(count, np.float32)
    for v in range(worker, views, workers):
        depth[:] = np.inf
        nearest[:] = -1
        for q in range(count):
            near[q] = one / placed[v, q, 2]
            x[q] = placed[v, q, 0] / placed[v, q, 2] * focal[v] + centre[v, 0]
            y[q] = placed[v, q, 1] / placed[v, q, 2] * focal[v] + centre[v, 1]
        for t in range(len(triangles)):
            i0, i1, i2 = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            x0, x1, x2, y0, y1, y2 = x[i0], x[i1], x[i2], y[i0], y[i1], y[i2]
            area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
            if not abs(area) > np.float32(1e-9):
                continue
            per_area = one / area
            left, right = _first(min(x0, x1, x2)), min(_last(max(x0, x1, x2)), side - 1)
            for i in range(_first(min(y0, y1, y2)), min(_last(max(y0, y1, y2)), side - 1) + 1):
                py = np.float32(i) + half
                for j in range(left, right + 1):
                    px = np.float32(j) + half
                    a = ((x1 - px) * (y2 - py) - (x2 - px) * (y1 - py)) * per_area
                    b = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) * per_area
                    c = one - a - b
                    if a >= edge and b >= edge and c >= edge:
                        far = one / (a * near[i0] + b * near[i1] + c * near[i2])
                        if far < depth[i, j]:
                            depth[i, j], nearest[i, j] = far, t
        picture = out[v, 0]
        picture[:] = 0
        for i in range(side):
            py = np.float32(i) + half
            for j in range(side):
                px = np.float32(j) + half
                t = nearest[i, j]
                if t < 0:
                    ground = np.float32(solid.GROUND)
                    _lay(picture, i, j, ground, ground, ground, ground)
                    continue
                i0, i1, i2 = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                x0, x1, x2, y0, y1, y2 = x[i0], x[i1], x[i2], y[i0], y[i1], y[i2]
                per_area = one / ((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0))
                a = ((x1 - px) * (y2 - py) - (x2 - px) * (y1 - py)) * per_area
                b = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) * per_area
                c = (one - a - b) * near[i2]
                a, b = a * near[i0], b * near[i1]
                whole = a + b + c
                a, b, c = a / whole, b / whole, c / whole
                nx = a * normals[t, 0, 0] + b * normals[t, 1, 0] + c * normals[t, 2, 0]
                ny = a * normals[t, 0, 1] + b * normals[t, 1, 1] + c * normals[t, 2, 1]
                nz = a * normals[t, 0, 2] + b * normals[t, 1, 2] + c * normals[t, 2, 2]
                nx, ny, nz = (
                    nx * rows[v, 0, 0] + ny * rows[v, 0, 1] + nz * rows[v, 0, 2],
                    nx * rows[v, 1, 0] + ny * rows[v, 1, 1] + nz * rows[v, 1, 2],
                    nx * rows[v, 2, 0] + ny * rows[v, 2, 1] + nz * rows[v, 2, 2],
                )
                if _away(placed[v], i0, i1, i2):
                    nx, ny, nz = -nx, -ny, -nz
                red = a * colours[t, 0, 0] + b * colours[t, 1, 0] + c * colours[t, 2, 0]
                green = a * colours[t, 0, 1] + b * colours[t, 1, 1] + c * colours[t, 2, 1]
                blue = a * colours[t, 0, 2] + b * colours[t, 1, 2] + c * colours[t, 2, 2]
                _lay(picture, i, j, _light(nx, ny, nz), red, green, blue)


def _before(distance, row, than, than_row):
    return distance < than or (distance == than and row < than_row)


def _square(x):
    return x * x


def _turned(points, n, p, rows, v):
    """Point p of cloud n before view v, in the order of `views.turned`."""
    x, y, z = points[n, p, 0], points[n, p, 1], points[n, p, 2]
    return (
        x * rows[v, 0, 0] + y * rows[v, 0, 1] + z * rows[v, 0, 2],
        x * rows[v, 1, 0] + y * rows[v, 1, 1] + z * rows[v, 1, 2],
        x * rows[v, 2, 0] + y * rows[v, 2, 1] + z * rows[v, 2, 2],
    )


def _first(edge):
    """The first pixel whose centre lies at or after the edge, at least 0."""
    return int(max(min(math.ceil(edge - np.float32(0.5)), 1e6), 0))


def _last(edge):
    """The last pixel whose centre lies at or before the edge, at least -1."""
    return int(max(min(math.floor(edge - np.float32(0.5)), 1e6), -1))


def _away(placed, i0, i1, i2):
    """Whether a triangle's corners turn clockwise as the camera, at the origin, sees them."""
    ax, ay, az = placed[i1, 0] - placed[i0, 0], placed[i1, 1] - placed[i0, 1], placed[i1, 2] - placed[i0, 2]
    bx, by, bz = placed[i2, 0] - placed[i0, 0], placed[i2, 1] - placed[i0, 1], placed[i2, 2] - placed[i0, 2]
    x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    return x * placed[i0, 0] + y * placed[i0, 1] + z * placed[i0, 2] > 0


def _lay(picture, i, j, light, red, green, blue):
    """A colour in the light, one of the pixels that a block of the picture is the mean of."""
    share = np.float32(1 / solid.FINE**2)
    picture[0, i // solid.FINE, j // solid.FINE] += min(max(red * light, np.float32(0)), np.float32(1)) * share
    picture[1, i // solid.FINE, j // solid.FINE] += min(max(green * light, np.float32(0)), np.float32(1)) * share
    picture[2, i // solid.FINE, j // solid.FINE] += min(max(blue * light, np.float32(0)), np.float32(1)) * share


def _light(nx, ny, nz):
    """`solid.lit` of a normal of any length."""
    length = np.sqrt(nx * nx + ny * ny + nz * nz)
    scale = np.float32(1) / max(length, np.float32(1e-12))
    nx, ny, nz = nx * scale, ny * scale, nz * scale
    kx, ky, kz = np.float32(solid.KEY[0]), np.float32(solid.KEY[1]), np.float32(solid.KEY[2])
    direct = max(nx * kx + ny * ky + nz * kz, np.float32(0))
    return np.float32(solid.AMBIENT) - ny * np.float32(solid.SKY) + direct * np.float32(solid.DIRECT)


_HELPERS = (_gather, _eigen, _before, _square, _turned, _first, _last, _away, _lay, _light, _closed, _disc, _chord)
_F4 = {n: "f4[" + ":," * (n - 1) + "::1]" for n in range(1, 6)}  # by the number of dimensions
_SCENE = f"{_F4[3]}, {_F4[1]}, {_F4[2]}"
_KERNELS: dict[str, tuple[Callable[..., None], str]] = {
    "v1": (_v1, f"{_F4[4]}, {_F4[3]}, {_F4[3]}, f4, f4"),
    "v2": (_v2, f"{_F4[4]}, {_F4[3]}, {_F4[3]}, i8, {_F4[1]}"),
    "ortho": (_ortho, f"{_F4[4]}, {_F4[3]}, {_F4[3]}, {_F4[1]}"),
    "neighbours": (_neighbours, f"i8[:,::1], {_F4[2]}, i8[::1]"),
    "fit": (_fit, f"{_F4[2]}, {_F4[2]}, i8[:,::1]"),
    "surface": (_surface, f"{_F4[2]}, {_F4[2]}, i8[:,::1], {_F4[2]}, {_F4[2]}, i8, f8"),
    "surfels": (_surfels, f"{_F4[5]}, {_SCENE}, {_F4[3]}, {_F4[4]}, {_F4[2]}, f4, f4, i8[::1]"),
    "mesh": (_mesh, f"{_F4[5]}, {_SCENE}, i8[:,::1], {_F4[3]}, {_F4[3]}, {_F4[3]}"),
}
