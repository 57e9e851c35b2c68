"""The definition of `shaded`: every point a small disc of the surface, hidden ones removed, lit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

import clipx.modalities.pointcloud.projection.open3d_backend as open3d_backend
import clipx.modalities.pointcloud.projection.plain.solid as solid
from clipx._arrays import to_array
from clipx._device import eigh
from clipx.modalities.pointcloud.projection.discs import (
    BLEND,
    CLOSE,
    INWARDS,
    LARGEST,
    MOST_STEPS,
    NARROWEST,
    NEAREST,
    OFF,
    REACH,
    STEPS,
    THICK,
    Discs,
    how_many,
)
from clipx.modalities.pointcloud.projection.plain.raster import boxes
from clipx.modalities.pointcloud.projection.solid import DISTANCE, FINE, GREY, GROUND
from clipx.modalities.pointcloud.projection.views import Matrix, turned


def surfels(
    points: Tensor,
    normals: Tensor | None,
    colors: Tensor | None,
    resolution: int,
    views: Sequence[Matrix],
    by_open3d: bool = False,
) -> Tensor:
    """(N, P, 3) points, normals and colours -> (N, V, 3, R, R); see `surfels.shaded`."""
    none = torch.full_like(points, torch.nan)
    clouds = zip(points, none if normals is None else normals, none if colors is None else colors, strict=True)
    drawn = [_draw(*cloud, resolution, views, by_open3d) for cloud in clouds]
    empty = points.new_zeros(0, len(views), 3, resolution, resolution)
    return torch.stack(drawn).to(points.dtype) if drawn else empty


def _draw(
    points: Tensor, normals: Tensor, colors: Tensor, resolution: int, views: Sequence[Matrix], by_open3d: bool
) -> Tensor:
    """One cloud: (V, 3, R, R)."""
    kept = points.isfinite().all(1)
    ball, normals = solid.unit_ball(points[kept]), normals[kept]
    if by_open3d:
        known = normals.isfinite().all(1, keepdim=True) & (normals != 0).any(1, keepdim=True)
        normals = torch.where(known, normals.to(ball), _by_open3d(open3d_backend.normals, ball))
    shape = discs(ball, normals)
    colour = colors[kept].to(shape.centre).nan_to_num(GREY).clamp(0, 1)
    scene = solid.before(shape.centre, views, resolution * FINE)
    radius = float(shape.axes.norm(dim=2).mean())
    steps = (CLOSE * radius / DISTANCE * scene.focal_px).long().clamp(1, MOST_STEPS)  # (V,)
    normal = turned(shape.normal, views)  # (V, P, 3)
    if by_open3d:  # a disc without a normal covers nothing
        normal = torch.where(_by_open3d(open3d_backend.visible, scene.points)[..., None] > 0, normal, 0)
    axes = turned(shape.axes.flatten(0, 1), views).unflatten(1, (-1, 2))  # (V, P, 2, 3)
    cameras = zip(zip(*scene[:3], normal, axes, strict=True), steps.tolist(), strict=True)
    return torch.stack([paint(*camera, near, colour, THICK * radius, scene.side) for camera, near in cameras])


def _by_open3d(find: Callable[[np.ndarray], np.ndarray], points: Tensor) -> Tensor:
    return torch.from_numpy(find(to_array(points))).to(points)


def discs(points: Tensor, normals: Tensor) -> Discs:
    """Points of a surface -> discs that cover it.

    Args:
        points: (P, 3), P >= 2.
        normals: (P, 3); those that are zero or not finite are estimated.
    """
    around = neighbours(points, how_many(len(points)))  # (P, k)
    given = (normals.to(points) / normals.to(points).norm(dim=1, keepdim=True)).nan_to_num(0, 0, 0)
    found = surface(points, around, given, STEPS, OFF)
    normal, flatness, along, ratio, inward = found.split((3, 1, 3, 1, 3), dim=1)
    reach = REACH * (points[around[:, 1:NEAREST]] - points[:, None]).norm(dim=2).mean(1, keepdim=True)  # (P, 1)
    reach = torch.minimum(reach, LARGEST * reach.median())
    across = torch.linalg.cross(normal, along)
    axes = torch.stack([along * reach, across * reach * ratio.clamp(NARROWEST, 1)], 1)
    return Discs(points + INWARDS * inward, normal * flatness, axes)


def surface(points: Tensor, around: Tensor, given: Tensor, steps: int, off: float) -> Tensor:
    """The surface at each point, by principal components of its neighbours.

    Args:
        points: (P, 3).
        around: (P, k) rows of the neighbours, the point itself first.
        given: (P, 3) known unit normals, zero where none is known.
        steps, off: of the robust fit, see `STEPS` and `OFF`.

    Returns:
        (P, 11): the unit normal (3); how flat the surface is, in [0, 1]; the direction in it along which the
        neighbours spread most (3); how much less they spread across it, in [0, 1]; the middle of the neighbours from
        the point, in the plane (3).
    """
    offset = points[around] - points[:, None]  # (P, k, 3)
    distance2 = (offset * offset).sum(2)  # (P, k)
    most = distance2.amax(1, keepdim=True)
    near = (1 - 0.75 * distance2 / torch.where(most > 0, most, 1)) ** 2
    near = near / near.sum(1, keepdim=True)

    def spread(weights: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        """Eigenvalues, ascending, and eigenvectors, in columns, of the weighted products of offsets."""
        return eigh((offset * weights[..., None]).mT @ offset)

    values, vectors = spread(near, offset - (offset * near[..., None]).sum(1, keepdim=True))
    flatness = (1 - values[:, 0].clamp(min=0) / values[:, 1].clamp(min=1e-20)).clamp(0, 1) ** 2 + 0.02
    # The neighbours vote, sign or no sign: one that lies on an edge or on a sheet's other side is overruled.
    normal = spread(near * flatness[around], vectors[:, None, :, 0].flatten(0, 1)[around])[1][..., 2]
    limit = off * distance2.mean(1, keepdim=True)
    for _ in range(steps):
        # Neighbours off the plane through the point itself, which lie on another face, count less and less.
        beside2 = (offset @ normal[..., None])[..., 0] ** 2
        normal = spread(near / (1 + beside2 / torch.where(limit > 0, limit, 1)) ** 2, offset)[1][..., 0]
    normal = torch.where((given * given).sum(1, keepdim=True) > 0.5, given, normal)
    inward = offset.mean(1)
    inward = inward - (inward * normal).sum(1, keepdim=True) * normal
    flat = offset - (offset @ normal[..., None]) * normal[:, None] - inward[:, None]
    values, vectors = spread(torch.ones_like(near), flat)
    ratio = (values[:, 1].clamp(min=0) / values[:, 2].clamp(min=1e-20)).sqrt()
    return torch.cat([normal, flatness[:, None], vectors[..., 2], ratio[:, None], inward], 1)


def neighbours(points: Tensor, count: int) -> Tensor:
    """(P, 3) -> (P, count) int64 rows of the nearest points, the point itself first."""
    rows = []
    for part in points.split(max(1, 2**22 // len(points))):
        distance = torch.zeros(len(part), len(points), dtype=points.dtype, device=points.device)
        for axis in range(3):  # written out: no matmul, whose rounding may change with the size
            distance += (part[:, None, axis] - points[None, :, axis]) ** 2
        rows.append(distance.topk(count, dim=1, largest=False, sorted=True).indices)
    return torch.cat(rows)


def paint(
    placed: Tensor, focal: Tensor, centre: Tensor, normal: Tensor, axes: Tensor, steps: int, colour: Tensor,
    slack: float, side: int,
) -> Tensor:  # fmt: skip
    """One view of a cloud: (3, R, R), R = side / FINE.

    Fine pixels tell what is covered and what is in front; of each coarse one, the discs near the foremost place mix
    their directions and colours, and are lit.

    Args:
        placed: (P, 3) centres in camera axes.
        focal, centre: () and (2,) in fine pixels.
        normal, axes: (P, 3) and (P, 2, 3) in camera axes, as `Discs` has them.
        steps: how many fine pixels away, on all eight sides, a surface in front closes a gap.
        colour: (P, 3).
        slack: how far behind the foremost place a disc still counts as the same surface.
        side: of the fine picture in pixels.
    """
    normal = torch.where((normal * placed).sum(1, keepdim=True) > 0, -normal, normal)  # towards the camera
    depth = foremost(placed, focal, centre, normal, axes, steps, slack, side)
    rows = side // FINE
    blocks = depth.view(rows, FINE, rows, FINE)
    near, covered = blocks.amin((1, 3)).flatten(), blocks.isfinite().to(placed).mean((1, 3))  # (R * R,), (R, R)

    facing = -(normal * placed).sum(1) / placed.norm(dim=1)
    total = placed.new_zeros(rows * rows, 7)  # normal, colour, weight
    for t, pixel, far, off in _meet(placed, focal / FINE, centre / FINE, normal, axes * BLEND, rows):
        same = (off < 1) & ((far - near[pixel]).abs() <= slack)
        t, pixel, weight = t[same], pixel[same], (((1 - off[same]) ** 2 + 1e-4) * facing[t[same]])[:, None]
        total.index_add_(0, pixel, torch.cat([normal[t], colour[t], torch.ones_like(weight)], 1) * weight)
    weight = total[:, 6:]
    direction = torch.nn.functional.normalize(total[:, :3], dim=1)
    shown = solid.lit(direction, total[:, 3:6] / torch.where(weight > 0, weight, 1))
    shown = torch.where(weight > 0, shown, GROUND).T.unflatten(1, (rows, rows))
    return GROUND + (shown - GROUND) * covered


def foremost(
    placed: Tensor, focal: Tensor, centre: Tensor, normal: Tensor, axes: Tensor, steps: int, slack: float, side: int
) -> Tensor:
    """The depth of the discs before a camera, its gaps closed: (side, side), infinite where none is; see `paint`."""
    depth = placed.new_full((side * side,), torch.inf)
    for _, pixel, far, off in _meet(placed, focal, centre, normal, axes, side):
        depth = depth.scatter_reduce(0, pixel, torch.where(off < 1, far, torch.inf), "amin")
    return closed(depth.view(side, side), steps, slack)


def _meet(
    placed: Tensor, focal: Tensor, centre: Tensor, normal: Tensor, axes: Tensor, side: int
) -> Iterator[tuple[Tensor, ...]]:
    """Disc, pixel, depth and squared distance, in half axes, where lines of sight meet the planes of discs."""
    height = (normal * placed).sum(1)
    length2 = (axes * axes).sum(2).clamp(min=1e-20)  # (P, 2)
    inverse = axes / length2[..., None]  # brings an offset to units of the half axes
    reach = length2.amax(1).sqrt()
    x, y = (placed[:, axis] / placed[:, 2] * focal + centre[axis] for axis in (0, 1))
    half = reach * (1 + placed[:, :2].abs().amax(1) / placed[:, 2]) / (placed[:, 2] - reach).clamp(min=0.1) * focal
    for t, row, column in boxes(x - half, x + half, y - half, y + half, side):
        dx, dy = (column + 0.5 - centre[0]) / focal, (row + 0.5 - centre[1]) / focal
        far = height[t] / (dx * normal[t, 0] + dy * normal[t, 1] + normal[t, 2])
        ox, oy, oz = far * dx - placed[t, 0], far * dy - placed[t, 1], far - placed[t, 2]
        u, v = (ox * inverse[t, k, 0] + oy * inverse[t, k, 1] + oz * inverse[t, k, 2] for k in (0, 1))
        yield t, row * side + column, far, u * u + v * v


def closed(depth: Tensor, steps: int, slack: float) -> Tensor:
    """A depth map without its gaps.

    Where, on all eight sides, a pixel at most so many steps away lies in front by more than the slack, there the points
    are too sparse: what is behind shows through. The farthest of the eight is what should be there.

    Args:
        depth: (S, S), infinite where nothing is.
        steps: how far to look, in pixels along the eight directions of the grid.
        slack: in units of depth.
    """
    side = len(depth)
    around = torch.nn.functional.pad(depth, (steps,) * 4, value=torch.inf)
    fill = torch.full_like(depth, -torch.inf)
    for down, right in _DIRECTIONS:
        found = torch.full_like(depth, torch.inf)
        for step in range(steps, 0, -1):
            top, left = steps + step * down, steps + step * right
            there = around[top : top + side, left : left + side]
            found = torch.where(there < depth - slack, there, found)  # the nearest step comes last, and stays
        fill = torch.maximum(fill, found)
    return torch.where(fill.isfinite(), fill, depth)


_DIRECTIONS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right]
