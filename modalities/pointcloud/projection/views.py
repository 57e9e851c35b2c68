"""Where a projection looks from: rotations, a ring of cameras, and an object that fills the picture."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, radians, sin
from typing import Any

import numpy as np

from clipx._arrays import is_tensor

Matrix = tuple[tuple[float, float, float], ...]


def euler(x: float, y: float, z: float) -> Matrix:
    """Rotation matrix Rx Ry Rz of angles in radians, to be applied to column vectors."""
    rx = ((1.0, 0.0, 0.0), (0.0, cos(x), -sin(x)), (0.0, sin(x), cos(x)))
    ry = ((cos(y), 0.0, sin(y)), (0.0, 1.0, 0.0), (-sin(y), 0.0, cos(y)))
    rz = ((cos(z), -sin(z), 0.0), (sin(z), cos(z), 0.0), (0.0, 0.0, 1.0))
    return product(rx, ry, rz)


def product(first: Matrix, *others: Matrix) -> Matrix:
    """The matrices multiplied in float64, from the left to the right."""
    found = np.array(first)
    for other in others:
        found = found @ np.array(other)
    return tuple(map(tuple, found.tolist()))


def look(azimuth: float, elevation: float) -> Matrix:
    """The axes of a camera that looks at the origin, as rows: right, down, forward.

    Args:
        azimuth: where it stands, in degrees: 0 in front (on +z), 90 on +x.
        elevation: degrees above the horizon. Straight from above and below, what is in front is at the bottom and at
            the top of the picture.
    """
    a, e = radians(azimuth), radians(elevation)
    right = (cos(a), 0.0, -sin(a))
    down = (sin(a) * sin(e), -cos(e), cos(a) * sin(e))
    forward = (-sin(a) * cos(e), -sin(e), -cos(a) * cos(e))
    return right, down, forward


# Eight cameras around the object, an eighth of a turn apart, looking down a little: how things are photographed.
RING = tuple(look(45.0 * i, 20.0) for i in range(8))


def turned(points: Any, matrices: Sequence[Matrix]) -> Any:
    """(..., P, 3) points and V matrices -> (..., V, P, 3): every cloud turned by every matrix."""
    rows = points.new_tensor(matrices) if is_tensor(points) else np.array(matrices, points.dtype)
    # Written out: the rounding of a matmul may change with the batch, and rounding decides cells.
    x, y, z = (points[..., None, :, axis, None] for axis in range(3))  # (..., 1, P, 1)
    mx, my, mz = (rows[:, None, :, axis] for axis in range(3))  # (V, 1, 3)
    return x * mx + y * my + z * mz
