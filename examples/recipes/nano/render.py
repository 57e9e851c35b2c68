"""Pictures of meshes: a z-buffer rasteriser and six styles, a few milliseconds an image.

`render(mesh, rng, style="rendering")` looks from a random side; `view` fixes it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from solids import Mesh

STYLES = ("rendering", "silhouette", "depth_near_dark", "depth_near_bright", "line", "points")
_FINE = 2  # rasterised at twice the size, then averaged


def render(
    mesh: Mesh,
    rng: np.random.Generator,
    size: int = 96,
    style: str = "rendering",
    view: tuple[float, float] | None = None,
) -> np.ndarray:
    """(size, size, 3) uint8 picture of the mesh.

    `style` is one of `STYLES`; `view` is (azimuth, elevation) in degrees, azimuth 0 looking at the front, and random
    without it. Raises ValueError for an unknown style.
    """
    if style not in STYLES:
        raise ValueError(f"style {style!r} is unknown; choose one of {', '.join(STYLES)}")
    azimuth, elevation = view if view is not None else random_view(rng)
    distance = 0.0 if rng.random() < 0.3 else rng.uniform(2.0, 5.0)
    if style == "points":
        return _points(sample_points(mesh, 1024, rng), rng, size, azimuth, elevation, distance)
    fine = size * _FINE
    rotated = mesh.vertices @ camera(azimuth, elevation).T
    screen = _frame(rotated, rng, fine, distance)
    depth, face = rasterize(screen, mesh.faces, fine, fine)
    seen = face >= 0
    if style == "rendering":
        picture = _shade(mesh, rotated, face, seen, depth, rng)
    elif style == "line":
        return _line(mesh, rotated, face, seen, depth, rng, fine)
    elif style == "silhouette":
        ink, paper = rng.uniform(0, 60), rng.uniform(200, 255)
        if rng.random() < 0.35:
            ink, paper = paper, ink
        picture = np.where(seen, np.float32(ink), np.float32(paper))[..., None].repeat(3, 2)
    else:
        near = style == "depth_near_bright"
        z = np.where(seen, depth, 0)
        low, high = depth[seen].min(initial=np.inf), z.max()
        t = (z - low) / max(high - low, 1e-6)  # 0 near, 1 far
        far, close = rng.uniform(0.6, 0.9), rng.uniform(0, 0.15)
        value = close + (far - close) * t
        grey = np.where(seen, (1 - value) if near else value, 0.0 if near else 1.0).astype(np.float32) * 255
        picture = grey[..., None].repeat(3, 2)
    return _shrink(picture)


def random_view(rng: np.random.Generator) -> tuple[float, float]:
    """Any azimuth, the front a little more often; elevation mostly -10..45 degrees, now and then steep."""
    turn = rng.random()
    azimuth = rng.uniform(-180, 180) if turn < 0.6 else rng.normal(0, 35)
    if turn > 0.88:
        azimuth = rng.choice([-180.0, -90, 0, 90]) + rng.normal(0, 4)
    steep = rng.random()
    elevation = (
        rng.uniform(-10, 45) if steep < 0.85 else (rng.uniform(45, 90) if steep < 0.95 else rng.uniform(-80, -10))
    )
    return float(azimuth), float(elevation)


def camera(azimuth: float, elevation: float) -> np.ndarray:
    """3 x 3 rotation to camera axes: x to the right, y up, z away from the camera. Degrees."""
    a, e = np.radians(azimuth), np.radians(elevation)
    right = np.array([np.cos(a), np.sin(a), 0])
    ahead = np.array([-np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), -np.sin(e)])
    return np.stack([right, np.cross(right, ahead), ahead]).astype(np.float32)


def sample_points(mesh: Mesh, n: int, rng: np.random.Generator, even: bool = False) -> np.ndarray:
    """(n, 3) float32 points of the surface, uniform by area; `even` spreads them as Poisson-disk sampling does."""
    count = 4 * n if even else n
    corners = mesh.vertices[mesh.faces]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.cumsum(np.sqrt((np.cross(first, second) ** 2).sum(1)), dtype=np.float64)
    # Stratified along the summed area: the noise of the face counts goes, at no cost.
    spots = (np.arange(count) + rng.random(count)) / count * area[-1]
    face = np.minimum(np.searchsorted(area, spots), len(area) - 1)
    u, v = rng.random((2, count, 1), dtype=np.float32)
    fold = u + v > 1
    u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
    points = corners[face, 0] + u * first[face] + v * second[face]
    points = points[rng.permutation(count)].astype(np.float32)
    return points[_spread(points, n)] if even else points


@njit(cache=True)
def _spread(points, n):  # pragma: no cover - compiled
    """Indices of n points: in order, those farther than a radius from all taken before; then the radius shrinks."""
    count = len(points)
    taken = np.zeros(count, np.bool_)
    chosen = np.empty(n, np.int64)
    found = 0
    low, high = points.min(), points.max()
    extent = high - low + 1e-6
    radius = extent * 1.2 / np.sqrt(n)
    while found < n:
        cells = min(int(extent / radius) + 1, 64)
        width = max(extent / cells, radius) * 1.0001
        head = np.full((cells + 1) ** 3, -1, np.int32)
        follow = np.full(count, -1, np.int32)
        side = cells + 1
        for k in range(found):
            i = chosen[k]
            c = (int((points[i, 0] - low) / width) * side + int((points[i, 1] - low) / width)) * side + int(
                (points[i, 2] - low) / width
            )
            follow[i] = head[c]
            head[c] = i
        for i in range(count):
            if taken[i] or found == n:
                continue
            a, b, c = (
                int((points[i, 0] - low) / width),
                int((points[i, 1] - low) / width),
                int((points[i, 2] - low) / width),
            )
            free = True
            for x in range(max(a - 1, 0), min(a + 2, side)):
                for y in range(max(b - 1, 0), min(b + 2, side)):
                    for z in range(max(c - 1, 0), min(c + 2, side)):
                        j = head[(x * side + y) * side + z]
                        while j >= 0 and free:
                            gap = (
                                (points[i, 0] - points[j, 0]) ** 2
                                + (points[i, 1] - points[j, 1]) ** 2
                                + (points[i, 2] - points[j, 2]) ** 2
                            )
                            if gap < radius * radius:
                                free = False
                            j = follow[j]
            if free:
                taken[i] = True
                chosen[found] = i
                found += 1
                cell = (a * side + b) * side + c
                follow[i] = head[cell]
                head[cell] = i
        radius *= 0.8
    return chosen


@njit(cache=True)
def rasterize(screen, faces, height, width):  # pragma: no cover - compiled
    """Nearest depth and face index at every pixel, -1 for none; `screen` (V, 3) float32 is (column, row, depth)."""
    depth = np.full((height, width), np.inf, np.float32)
    index = np.full((height, width), -1, np.int32)
    for f in range(len(faces)):
        i, j, k = faces[f]
        x0, y0, z0 = screen[i]
        x1, y1, z1 = screen[j]
        x2, y2, z2 = screen[k]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9:
            continue
        left, right = max(int(np.ceil(min(x0, x1, x2))), 0), min(int(np.floor(max(x0, x1, x2))), width - 1)
        top, bottom = max(int(np.ceil(min(y0, y1, y2))), 0), min(int(np.floor(max(y0, y1, y2))), height - 1)
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                a = ((x1 - column) * (y2 - row) - (x2 - column) * (y1 - row)) / area
                b = ((x2 - column) * (y0 - row) - (x0 - column) * (y2 - row)) / area
                c = 1 - a - b
                if a >= -1e-6 and b >= -1e-6 and c >= -1e-6:
                    z = a * z0 + b * z1 + c * z2
                    if z < depth[row, column]:
                        depth[row, column] = z
                        index[row, column] = f
    return depth, index


def _project(points: np.ndarray, distance: float) -> np.ndarray:
    """Camera coordinates to (x, -y, depth); the distance 0 stands for an orthographic view."""
    out = points * np.float32([1, -1, 1])
    if distance:
        out[:, 2] += distance
        out[:, :2] *= distance / out[:, 2:]
    else:
        out[:, 2] += 2
    return out


def _frame(points: np.ndarray, rng: np.random.Generator, size: int, distance: float) -> np.ndarray:
    """Screen coordinates that fill 60-95 % of the frame, not quite centred."""
    screen = _project(points, distance)
    low, high = screen[:, :2].min(0), screen[:, :2].max(0)
    fill = rng.uniform(0.6, 0.95)
    scale = fill * size / max(float((high - low).max()), 1e-6)
    slack = (size - (high - low) * scale) / 2
    centre = size / 2 + np.clip(rng.normal(0, 0.25, 2), -0.8, 0.8) * np.minimum(slack, 0.12 * size)
    screen[:, :2] = (screen[:, :2] - (low + high) / 2) * scale + centre
    return screen.astype(np.float32)


def _shrink(picture: np.ndarray) -> np.ndarray:
    h, w, c = picture.shape
    small = picture.reshape(h // _FINE, _FINE, w // _FINE, _FINE, c).mean((1, 3))
    return np.clip(small + 0.5, 0, 255).astype(np.uint8)


def normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F, 3) unit normals in camera coordinates, turned towards the camera: the meshes are two-sided."""
    a, b, c = vertices[faces[:, 0]], vertices[faces[:, 1]], vertices[faces[:, 2]]
    n = np.cross(b - a, c - a)
    n /= np.sqrt((n * n).sum(1, keepdims=True)) + 1e-12
    n[n[:, 2] > 0] *= -1
    return n


def palette(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 3) colours in [0, 1]: all one, or variations of one, or a colour for each part."""
    kind = rng.random()
    base = hue(rng)
    if kind < 0.3:
        return np.repeat(base[None], count, 0)
    if kind < 0.6:
        return np.clip(base * rng.uniform(0.5, 1.3, (count, 1)), 0.05, 1)
    return np.stack([hue(rng) for _ in range(count)])


def hue(rng: np.random.Generator) -> np.ndarray:
    """A random colour, more often muted than bright."""
    grey, tint = rng.uniform(0.2, 0.95), rng.uniform(-1, 1, 3)
    return np.clip(grey + tint * rng.choice([0.04, 0.15, 0.4]), 0.05, 1)


def background(shape: tuple[int, int], rng: np.random.Generator, colour: np.ndarray) -> np.ndarray:
    """(H, W, 3) in 0..255: plain, or a soft gradient, never quite the object's colour."""
    h, w = shape
    first = np.ones(3) * rng.choice([0.0, 1.0]) if rng.random() < 0.4 else hue(rng)
    if abs(first.mean() - colour.mean()) < 0.2:
        first = np.clip(first + (0.35 if first.mean() < 0.5 else -0.35), 0, 1)
    second = np.clip(first + rng.uniform(-0.25, 0.25), 0, 1) if rng.random() < 0.6 else first
    a, b = rng.uniform(-1, 1, 2)
    ramp = a * np.linspace(0, 1, h)[:, None] + b * np.linspace(0, 1, w)[None]
    ramp = (ramp - ramp.min()) / (np.ptp(ramp) + 1e-9)
    return ((first + (second - first) * ramp[..., None]) * 255).astype(np.float32)


def shade_faces(vertices: np.ndarray, faces: np.ndarray, albedo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(F, 3) float32 colours in 0..255 under one random light in camera coordinates, and some light from all around."""
    light = np.array([rng.normal(0, 0.6), rng.uniform(0.2, 1.2), -rng.uniform(0.3, 1.2)])
    light /= np.linalg.norm(light)
    ambient = rng.uniform(0.25, 0.55)
    n = normals(vertices, faces)
    bright = ambient + (1 - ambient) * np.clip(n @ light, 0, 1) + 0.08 * n[:, 1]
    return (np.clip(albedo * bright[:, None], 0, 1) * 255).astype(np.float32)


def _shade(
    mesh: Mesh, rotated: np.ndarray, face: np.ndarray, seen: np.ndarray, depth: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    colours = palette(len(mesh.part_names), rng)
    lit = shade_faces(rotated, mesh.faces, colours[mesh.part], rng)
    ground = background(face.shape, rng, colours.mean(0))
    picture = np.where(seen[..., None], lit[face], ground)
    if rng.random() < 0.35:  # dark creases, as where little light comes
        picture *= 1 - 0.45 * _edges(mesh, rotated, face, depth)[..., None]
    if rng.random() < 0.3:
        picture += rng.normal(0, rng.uniform(1, 6), face.shape).astype(np.float32)[..., None]
    return picture


def _edges(mesh: Mesh, rotated: np.ndarray, face: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Boolean (H, W): where the outline, the part, the depth or the direction of the surface changes."""
    part = np.where(face >= 0, mesh.part[face], -1)
    n = normals(rotated, mesh.faces)[face]
    z = np.where(face >= 0, depth, 9.0)
    out = np.zeros(face.shape, bool)
    for axis in (0, 1):
        here = (slice(None, -1), slice(None)) if axis == 0 else (slice(None), slice(None, -1))
        there = (slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))
        crease = (n[here] * n[there]).sum(-1) < 0.75
        out[here] |= (part[here] != part[there]) | (np.abs(z[here] - z[there]) > 0.12) | (crease & (face[here] >= 0))
    return out


def _line(
    mesh: Mesh,
    rotated: np.ndarray,
    face: np.ndarray,
    seen: np.ndarray,
    depth: np.ndarray,
    rng: np.random.Generator,
    fine: int,
) -> np.ndarray:
    edge = _edges(mesh, rotated, face, depth)
    if rng.random() < 0.25:  # outline only
        edge = np.zeros_like(seen)
        edge[:-1] |= seen[:-1] != seen[1:]
        edge[:, :-1] |= seen[:, :-1] != seen[:, 1:]
    if rng.random() < 0.8:  # a hand that shakes: slow waves of displacement
        grid = np.arange(fine) / fine * 2 * np.pi
        sway = [
            sum(rng.normal(0, 1.2 / k) * np.sin(k * grid + rng.uniform(0, 6.28)) for k in (2, 3, 5, 8))
            for _ in range(2)
        ]
        rows = np.clip(np.arange(fine)[:, None] + sway[0][None, :], 0, fine - 1).astype(int)
        columns = np.clip(np.arange(fine)[None, :] + sway[1][:, None], 0, fine - 1).astype(int)
        edge = edge[rows, columns]
    for k in range(int(rng.integers(0, 3))):  # a thicker pen
        grown = edge.copy()
        axis = k % 2
        grown |= np.roll(edge, 1, axis)
        if k:
            grown |= np.roll(edge, -1, 1 - axis)
        edge = grown
    ink, paper = (
        (rng.uniform(0, 70), rng.uniform(235, 255))
        if rng.random() < 0.93
        else (rng.uniform(220, 255), rng.uniform(0, 30))
    )
    picture = np.where(edge, np.float32(ink), np.float32(paper))[..., None].repeat(3, 2)
    return _shrink(picture)


def _points(
    points: np.ndarray, rng: np.random.Generator, size: int, azimuth: float, elevation: float, distance: float
) -> np.ndarray:
    screen = _frame(points @ camera(azimuth, elevation).T, rng, size - 1, distance)
    z = screen[:, 2]
    t = (z - z.min()) / (np.ptp(z) + 1e-6)
    if rng.random() < 0.5:
        t = 1 - t
    dim = rng.uniform(0.25, 1.0)  # the darkest splat; 1 leaves them all alike
    value = 255 * (dim + (1 - dim) * t) * rng.uniform(0.75, 1)
    picture = np.zeros((size, size), np.float32)
    cells = np.clip(screen[:, :2], 0, size - 1).astype(int)
    order = np.argsort(-z)  # the nearest is drawn last
    wide = 1 if rng.random() < 0.5 else 2
    for dx in range(wide):
        for dy in range(wide):
            picture[np.minimum(cells[order, 1] + dy, size - 1), np.minimum(cells[order, 0] + dx, size - 1)] = value[
                order
            ]
    return np.clip(picture, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)
