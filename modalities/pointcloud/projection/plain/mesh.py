"""The definition of `mesh_raster`: triangles in a z-buffer, lit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

import clipx.modalities.pointcloud.projection.open3d_backend as open3d_backend
import clipx.modalities.pointcloud.projection.plain.solid as solid
from clipx.errors import InputError
from clipx.modalities.pointcloud.projection.corners import CREASE, MOST_AROUND, PAIRS_AT_ONCE
from clipx.modalities.pointcloud.projection.plain.raster import Pairs, boxes, nearest
from clipx.modalities.pointcloud.projection.solid import FINE, GREY, GROUND
from clipx.modalities.pointcloud.projection.views import Matrix

Hits = Callable[[Tensor, Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor, Tensor]]  # `hits`
_EDGE = -1e-5  # of a barycentric coordinate: a pixel on the border of two triangles belongs to both


def mesh(
    vertices: Tensor,
    triangles: Tensor,
    colors: Tensor | None,
    resolution: int,
    views: Sequence[Matrix],
    by_open3d: bool = False,
) -> Tensor:
    """(N, Q, 3) vertices, (N, F, 3) triangles and (N, Q, 3) colours -> (N, V, 3, R, R); see `mesh.mesh_raster`."""
    colors = torch.full_like(vertices, torch.nan) if colors is None else colors
    meshes = zip(vertices, triangles, colors, strict=True)
    drawn = [_draw(*one, resolution, views, by_open3d) for one in meshes]
    empty = vertices.new_zeros(0, len(views), 3, resolution, resolution)
    return torch.stack(drawn).to(vertices.dtype) if drawn else empty


def _draw(
    vertices: Tensor, triangles: Tensor, colors: Tensor, resolution: int, views: Sequence[Matrix], by_open3d: bool
) -> Tensor:
    """One mesh: (V, 3, R, R)."""
    whole = ((triangles >= 0) & vertices.isfinite().all(1)[triangles.clamp(min=0)]).all(1)
    triangles = triangles[whole].long()
    if not len(triangles):
        raise InputError("a mesh without triangles cannot be drawn by mesh_raster", remedy="take shaded for clouds")
    used, triangles = triangles.unique(return_inverse=True)
    points = solid.unit_ball(vertices[used])
    scene = solid.before(points, views, resolution * FINE)
    normals = corner_normals(points, triangles)
    colour = colors[used].to(points).nan_to_num(GREY).clamp(0, 1)[triangles]  # (F, 3 corners, 3)
    find = open3d_backend.hits if by_open3d else hits
    cameras = zip(*scene[:3], views, strict=True)
    return solid.coarse(torch.stack([paint(*view, triangles, normals, colour, scene.side, find) for view in cameras]))


def paint(
    placed: Tensor, focal: Tensor, centre: Tensor, view: Matrix, triangles: Tensor, normals: Tensor, colour: Tensor,
    side: int, find: Hits,
) -> Tensor:  # fmt: skip
    """One view of a mesh: (side, side, 3)."""
    _, found, share = find(placed, focal, centre, triangles, side)
    return shade(found, share, placed, view, triangles, normals, colour, side)


def hits(placed: Tensor, focal: Tensor, centre: Tensor, triangles: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """The triangles that the lines of sight through the pixels' centres meet first.

    Args:
        placed: (Q, 3) vertices in camera axes.
        focal, centre: () and (2,) in pixels.
        triangles: (F, 3).
        side: of the picture in pixels.

    Returns:
        (S * S,) depth, infinite where nothing is; (S * S,) the triangle, -1 where none is; (M, 3) the shares that its
        corners have in the place, for the M pixels with one.
    """
    corner = placed[triangles]  # (F, 3, 3)
    x, y = (corner[..., axis] / corner[..., 2] * focal + centre[axis] for axis in (0, 1))  # (F, 3)
    near = 1 / corner[..., 2]
    (x0, x1, x2), (y0, y1, y2), (n0, n1, n2) = (t.unbind(1) for t in (x, y, near))
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    per_area = torch.where(area.abs() > 1e-9, 1 / area, torch.nan)

    def weights(pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Barycentric coordinates of the pixels' centres in the picture."""
        t, px, py = pairs.thing, pairs.column + 0.5, pairs.row + 0.5
        a = ((x1[t] - px) * (y2[t] - py) - (x2[t] - px) * (y1[t] - py)) * per_area[t]
        b = ((x2[t] - px) * (y0[t] - py) - (x0[t] - px) * (y2[t] - py)) * per_area[t]
        return a, b, 1 - a - b

    def cover(pairs: Pairs) -> tuple[Tensor, Tensor]:
        t = pairs.thing
        a, b, c = weights(pairs)
        inside = (a >= _EDGE) & (b >= _EDGE) & (c >= _EDGE)
        far = 1 / (a * n0[t] + b * n1[t] + c * n2[t])  # 1 / z is linear in the picture, z is not
        return pairs.row * side + pairs.column, torch.where(inside, far, torch.inf)

    parts = boxes(x.amin(1), x.amax(1), y.amin(1), y.amax(1), side)
    depth, found = nearest(parts, cover, side * side, placed)
    pixel = (found >= 0).nonzero()[:, 0]
    pairs = Pairs(found[pixel], torch.div(pixel, side, rounding_mode="floor"), pixel % side)
    share = torch.stack(weights(pairs), 1) * near[pairs.thing]  # (M, 3)
    return depth, found, share / share.sum(1, keepdim=True)


def shade(
    found: Tensor, share: Tensor, placed: Tensor, view: Matrix, triangles: Tensor, normals: Tensor, colour: Tensor,
    side: int,
) -> Tensor:  # fmt: skip
    """The lit colours of what `hits` found: (side, side, 3).

    Args:
        found, share: (S * S,) and (M, 3).
        placed: (Q, 3) vertices in camera axes.
        view: those axes.
        triangles: (F, 3).
        normals, colour: (F, 3 corners, 3), the normals in the axes of the mesh.
        side: of the picture in pixels.
    """
    pixel = (found >= 0).nonzero()[:, 0]
    t, share = found[pixel], share[..., None]
    axes = torch.tensor(view, dtype=placed.dtype, device=placed.device)
    normal = (share * normals[t]).sum(1) @ axes.T
    corner = placed[triangles]
    edge1, edge2 = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    towards = torch.linalg.cross(edge1, edge2)  # of the triangle, in camera axes
    away = (towards * corner[:, 0]).sum(1) > 0
    normal = torch.nn.functional.normalize(torch.where(away[t][:, None], -normal, normal), dim=1)
    picture = placed.new_full((side * side, 3), GROUND)
    picture[pixel] = solid.lit(normal, (share * colour[t]).sum(1))
    return picture.view(side, side, 3)


def corner_normals(vertices: Tensor, triangles: Tensor) -> Tensor:
    """The normal at each corner of each triangle, smoothed over the neighbours that meet it at less than 40 degrees.

    Args:
        vertices: (Q, 3). Those at one place count as one.
        triangles: (F, 3) int64.

    Returns:
        (F, 3, 3) of unit length, turned as the triangle's own; zero where a triangle has no area.
    """
    a, b, c = vertices[triangles].unbind(1)
    area = torch.linalg.cross(b - a, c - a)  # (F, 3), as long as twice the area
    unit = torch.nn.functional.normalize(area, dim=1, eps=1e-30)
    place = vertices.unique(dim=0, return_inverse=True)[1][triangles].flatten()  # (3F,) of the corners
    order = place.argsort(stable=True)
    place = place[order]
    count = torch.bincount(place)
    first = count.cumsum(0) - count
    smooth = unit[:, None].expand(-1, 3, -1).flatten(0, 1).clone()  # (3F, 3)
    around = torch.where(count > MOST_AROUND, 0, count)[place]  # (3F,) corners at the place of each, in `order`
    start = 0
    ends = around.cumsum(0)
    while start < len(around):  # all pairs of corners at one place, a part at a time
        done = int(ends[start - 1]) if start else 0
        stop = max(int(torch.searchsorted(ends, done + PAIRS_AT_ONCE, right=True)), start + 1)
        some = around[start:stop]
        left = torch.repeat_interleave(torch.arange(start, stop, device=place.device), some)
        step = torch.arange(len(left), device=place.device) - (ends[left] - around[left] - done)
        own, other = order[left], order[first[place[left]] + step] // 3
        agreement = (unit[own // 3] * unit[other]).sum(1)
        # A triangle wound the other way shows the same surface from behind.
        flipped = torch.where(agreement < 0, -1.0, 1.0).to(unit)
        share = torch.where(agreement.abs() >= CREASE, flipped, 0)[:, None] * area[other]
        total = torch.zeros_like(smooth).index_add(0, own, share)
        touched = total.abs().amax(1) > 0
        smooth = torch.where(touched[:, None], torch.nn.functional.normalize(total, dim=1, eps=1e-30), smooth)
        start = stop
    return smooth.unflatten(0, (-1, 3))
