"""As `solid`, of tensors: an object brought into the picture, and the light on it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clipx.errors import InputError
from clipx.modalities.pointcloud.projection.solid import AMBIENT, DIRECT, DISTANCE, FILL, FINE, KEY, SKY, Scene
from clipx.modalities.pointcloud.projection.views import Matrix, turned


def unit_ball(points: Tensor) -> Tensor:
    """(P, 3) -> float32 (float64 stays), the middle of their box at the origin, the farthest at distance 1.

    Raises:
        InputError: no two different points.
    """
    exact = points if points.dtype == torch.float64 else points.float()
    if len(exact):
        exact = exact - (exact.amax(0) + exact.amin(0)) / 2
        radius = (exact * exact).sum(1).amax().sqrt()
        if radius > 0:
            return exact / radius
    raise InputError("a shape needs two different points to be drawn")


def before(points: Tensor, views: Sequence[Matrix], side: int) -> Scene:
    """Points (P, 3) of `unit_ball` before each camera, so that each picture of that side is filled equally."""
    placed = turned(points, views)  # (V, P, 3)
    placed = torch.cat([placed[..., :2], placed[..., 2:] + DISTANCE], dim=-1)
    flat = placed[..., :2] / placed[..., 2:]
    low, high = flat.amin(1), flat.amax(1)  # (V, 2)
    focal = FILL * side / (high - low).amax(1)
    return Scene(placed, focal, side / 2 - (low + high) / 2 * focal[:, None], side)


def lit(normal: Tensor, colour: Tensor) -> Tensor:
    """(..., 3) unit normals that face the camera, in camera axes, and colours in [0, 1] -> the colours in the light."""
    x, y, z = normal.unbind(-1)
    direct = (x * KEY[0] + y * KEY[1] + z * KEY[2]).clamp(min=0)
    return (colour * (AMBIENT - y * SKY + direct * DIRECT)[..., None]).clamp(0, 1)


def coarse(pictures: Tensor) -> Tensor:
    """(..., FINE * R, FINE * R, 3) -> (..., 3, R, R): the mean of each block."""
    *batch, side, _, _ = pictures.shape
    blocks = pictures.reshape(*batch, side // FINE, FINE, side // FINE, FINE, 3)
    return blocks.mean((-2, -4)).movedim(-1, -3)
