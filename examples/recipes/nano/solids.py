"""A small solid modeller: boxes, lofts and extrusions gathered into one triangle mesh with named parts.

x is the width, y the depth (the front faces -y), z is up. Everything that looks random comes from the generator
given, so that a seed gives the same solid again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

_BOX = np.array(
    [
        [0, 2, 1],
        [0, 3, 2],
        [4, 5, 6],
        [4, 6, 7],
        [0, 1, 5],
        [0, 5, 4],
        [1, 2, 6],
        [1, 6, 5],
        [2, 3, 7],
        [2, 7, 6],
        [3, 0, 4],
        [3, 4, 7],
    ]
)
_CORNERS = (
    np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0], [-1, -1, 2], [1, -1, 2], [1, 1, 2], [-1, 1, 2]]) / 2
)


@dataclass(frozen=True)
class Mesh:
    """Triangles: `vertices` (V, 3) float32, `faces` (F, 3) int32, `part` (F,) int16 into `part_names`."""

    vertices: np.ndarray
    faces: np.ndarray
    part: np.ndarray
    part_names: tuple[str, ...]


def circle(radius: float, n: int = 16, ry: float | None = None, start: float = 0.0) -> np.ndarray:
    """(n, 2) points of a circle, or of an ellipse with the second radius `ry`."""
    a = start + np.arange(n) * (2 * np.pi / n)
    return np.stack([radius * np.cos(a), (radius if ry is None else ry) * np.sin(a)], 1)


def rounded(w: float, d: float, power: float = 4.0, n: int = 24) -> np.ndarray:
    """(n, 2) superellipse of the full size w x d: power 2 is an ellipse, 20 nearly a rectangle."""
    c = circle(1.0, n, start=np.pi / n)
    return np.sign(c) * np.abs(c) ** (2 / power) * (w / 2, d / 2)


def arc(radius: float, begin: float, end: float, n: int = 9) -> np.ndarray:
    """(n, 2) points of a circular arc from the angle `begin` to `end`, radians."""
    a = np.linspace(begin, end, n)
    return np.stack([radius * np.cos(a), radius * np.sin(a)], 1)


def rotation(axis: int, angle: float) -> np.ndarray:
    """3 x 3 rotation by `angle` radians about the axis x, y or z (0, 1, 2)."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    m = np.eye(3)
    m[i, i], m[i, j], m[j, i], m[j, j] = c, -s, s, c
    return m


class Builder:
    """Gathers primitives; every one takes the name of the part that it belongs to."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self._vertices: list[np.ndarray] = []
        self._faces: list[np.ndarray] = []
        self._part: list[int] = []
        self._names: dict[str, int] = {}
        self._count = 0

    # --- chance -------------------------------------------------------------------------------------------------

    def u(self, low: float, high: float) -> float:
        return low + (high - low) * self.rng.random()

    def n(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self.rng.random() * (high - low + 1))

    def p(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, *options):
        return options[int(self.rng.random() * len(options))]

    # --- primitives ---------------------------------------------------------------------------------------------

    def add(self, vertices: np.ndarray, faces: np.ndarray, part: str) -> None:
        self._vertices.append(vertices)
        self._faces.append(faces + self._count)
        self._part.extend([self._names.setdefault(part, len(self._names))] * len(faces))
        self._count += len(vertices)

    def box(self, part: str, x: float, y: float, z: float, w: float, d: float, h: float) -> None:
        """A box of width w, depth d, height h whose foot's centre is (x, y, z)."""
        self.add(_CORNERS * (w, d, h) + (x, y, z), _BOX, part)

    def loft(self, part: str, rings: ArrayLike, closed: bool = False, caps: bool = True) -> None:
        """A skin over (M, N, 3) rings; `closed` joins the last ring to the first."""
        rings = np.asarray(rings, float)
        m, n, _ = rings.shape
        i = np.arange(m if closed else m - 1)[:, None] * n
        j = np.arange(n)[None]
        k = (j + 1) % n
        up = (i + n) % (m * n)
        faces = np.stack([i + j, i + k, up + k, i + j, up + k, up + j], -1).reshape(-1, 3)
        vertices = rings.reshape(-1, 3)
        if caps and not closed:
            fan = np.stack([j[0], k[0]], 1)
            top = (m - 1) * n
            low = np.concatenate([fan[:, ::-1], np.full((n, 1), m * n)], 1)
            high = np.concatenate([fan + top, np.full((n, 1), m * n + 1)], 1)
            vertices = np.concatenate([vertices, rings[0].mean(0)[None], rings[-1].mean(0)[None]])
            faces = np.concatenate([faces, low, high])
        self.add(vertices, faces, part)

    def stack(
        self,
        part: str,
        outline: np.ndarray,
        levels: Sequence[tuple[float, ...]],
        caps: bool = True,
        x: float = 0,
        y: float = 0,
    ) -> None:
        """The (n, 2) outline lofted through levels (scale, z) or (scale_x, scale_y, z), or (sx, sy, z, dx, dy)."""
        rings = np.empty((len(levels), len(outline), 3))
        for ring, level in zip(rings, levels, strict=True):
            sx, sy, z, dx, dy = (level[0], level[0], level[1], 0, 0) if len(level) == 2 else (*level, 0, 0)[:5]
            ring[:, 0], ring[:, 1], ring[:, 2] = outline[:, 0] * sx + x + dx, outline[:, 1] * sy + y + dy, z
        self.loft(part, rings, caps=caps)

    def lathe(
        self,
        part: str,
        profile: Sequence[tuple[float, float]],
        x: float = 0,
        y: float = 0,
        n: int = 20,
        caps: bool = False,
    ) -> None:
        """A profile of (radius, z) turned about the vertical through (x, y)."""
        self.stack(part, circle(1.0, n), profile, caps=caps, x=x, y=y)

    def cylinder(
        self, part: str, x: float, y: float, z: float, r: float, h: float, top: float | None = None, n: int = 16
    ) -> None:
        """An upright cylinder on (x, y, z); `top` is the radius at the top, for a cone or a frustum."""
        self.lathe(part, [(r, z), (r if top is None else top, z + h)], x, y, n, caps=True)

    def tube(self, part: str, path: ArrayLike, r: float | Sequence[float], n: int = 7, closed: bool = False) -> None:
        """A round tube along (M, 3) points; `r` may differ from point to point."""
        path = np.asarray(path, float)
        ahead = np.roll(path, -1, 0) - np.roll(path, 1, 0)
        if not closed:
            ahead[0], ahead[-1] = path[1] - path[0], path[-1] - path[-2]
        ahead /= np.linalg.norm(ahead, axis=1, keepdims=True) + 1e-12
        # One reference for the whole path keeps the rings from twisting; it is the axis the path uses least.
        reference = np.eye(3)[np.argmin(np.abs(ahead).max(0))]
        side = np.cross(ahead, reference)
        side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-12
        over = np.cross(side, ahead)
        c = circle(1.0, n, start=np.pi / n)
        radius = np.broadcast_to(np.asarray(r, float), len(path))[:, None, None]
        rings = path[:, None] + radius * (c[None, :, :1] * side[:, None] + c[None, :, 1:] * over[:, None])
        self.loft(part, rings, closed=closed)

    def bar(self, part: str, start: ArrayLike, end: ArrayLike, r: float, r2: float | None = None, n: int = 8) -> None:
        """A straight round bar, or a cone when the end's radius `r2` differs."""
        self.tube(part, [start, end], (r, r if r2 is None else r2), n)

    def beam(self, part: str, start: ArrayLike, end: ArrayLike, thick: float) -> None:
        """A straight bar of square section."""
        self.tube(part, [start, end], thick / np.sqrt(2), 4)

    def ball(
        self,
        part: str,
        x: float,
        y: float,
        z: float,
        r: float | tuple[float, float, float],
        power: float = 2.0,
        n: int = 14,
    ) -> None:
        """An ellipsoid about (x, y, z) with radii r; a `power` above 2 makes it box-like (a cushion)."""
        rx, ry, rz = (r, r, r) if isinstance(r, int | float) else r
        a = np.linspace(-np.pi / 2, np.pi / 2, n // 2 + 1)
        e = 2 / power
        levels = [(max(np.cos(t), 0.0) ** e, np.sign(np.sin(t)) * abs(np.sin(t)) ** e) for t in a]
        self.stack(part, rounded(2, 2, power, n), [(rx * s, ry * s, z + rz * h) for s, h in levels], False, x, y)

    def ring(
        self, part: str, x: float, y: float, z: float, radius: float, r: float, axis: int = 2, n: int = 20, m: int = 7
    ) -> None:
        """A torus about (x, y, z) whose axis is x, y or z."""
        c = circle(radius, n)
        path = np.zeros((n, 3))
        path[:, (axis + 1) % 3], path[:, (axis + 2) % 3] = c[:, 0], c[:, 1]
        centre = np.tile((x, y, z), (n, 1))
        out = path / radius
        axle = np.eye(3)[axis]
        s = circle(r, m)
        self.loft(part, centre[:, None] + path[:, None] + s[None, :, :1] * out[:, None] + s[None, :, 1:] * axle, True)

    def extrude(self, part: str, outline: ArrayLike, low: float, high: float, axis: int = 2) -> None:
        """A simple polygon, given anticlockwise in the plane across `axis` (yz, xz or xy), drawn from low to high."""
        flat = np.asarray(outline, float)
        n = len(flat)
        vertices = np.empty((2 * n, 3))
        plane = [i for i in range(3) if i != axis]
        vertices[:n, plane] = vertices[n:, plane] = flat
        vertices[:n, axis], vertices[n:, axis] = low, high
        cap = _triangulate(flat)
        j = np.arange(n)
        k = (j + 1) % n
        sides = np.concatenate([np.stack([j, k, k + n], 1), np.stack([j, k + n, j + n], 1)])
        faces = np.concatenate([cap[:, ::-1], cap + n, sides])
        self.add(vertices, faces[:, ::-1] if axis == 1 else faces, part)  # x, z, y is a left-handed order

    def band(self, part: str, path: ArrayLike, low: float, high: ArrayLike, thick: float) -> None:
        """An upright wall along (M, 2) points of the floor; `high` may differ from point to point."""
        path = np.asarray(path, float)
        ahead = np.gradient(path, axis=0)
        side = np.stack([-ahead[:, 1], ahead[:, 0]], 1)
        side *= thick / 2 / (np.linalg.norm(side, axis=1, keepdims=True) + 1e-12)
        rings = np.zeros((len(path), 4, 3))
        rings[:, 0, :2] = rings[:, 3, :2] = path - side
        rings[:, 1, :2] = rings[:, 2, :2] = path + side
        rings[:, :2, 2], rings[:, 2:, 2] = low, np.broadcast_to(high, len(path))[:, None]
        self.loft(part, rings)

    # --- placing ------------------------------------------------------------------------------------------------

    def mark(self) -> int:
        """A bookmark: `move` acts on what is added after it."""
        return len(self._vertices)

    def move(
        self,
        mark: int,
        by: ArrayLike = (0, 0, 0),
        axis: int = 2,
        angle: float = 0.0,
        about: ArrayLike = (0, 0, 0),
        scale: ArrayLike = 1.0,
    ) -> None:
        """Scale, then turn about the point `about`, then shift what was added since `mark`."""
        turn = rotation(axis, angle).T
        for i in range(mark, len(self._vertices)):
            self._vertices[i] = ((self._vertices[i] - about) * scale) @ turn + about + by

    def repeat(
        self,
        mark: int,
        by: ArrayLike = (0, 0, 0),
        axis: int = 2,
        angle: float = 0.0,
        about: ArrayLike = (0, 0, 0),
        scale: ArrayLike = 1.0,
    ) -> None:
        """Copy what was added since `mark`, and move the copy."""
        names = list(self._names)
        starts = np.concatenate([[0], np.cumsum([len(f) for f in self._faces])]).astype(int)
        offsets = np.concatenate([[0], np.cumsum([len(v) for v in self._vertices])]).astype(int)
        copies = [
            (self._vertices[i].copy(), self._faces[i] - offsets[i], names[self._part[starts[i]]])
            for i in range(mark, len(self._vertices))
        ]
        new = self.mark()
        for copy in copies:
            self.add(*copy)
        self.move(new, by, axis, angle, about, scale)

    def mirror(self, mark: int, axis: int = 0) -> None:
        """Copy what was added since `mark` to the other side of the plane through the origin."""
        flip = np.ones(3)
        flip[axis] = -1
        self.repeat(mark, scale=flip)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
        return (np.concatenate(self._vertices), np.concatenate(self._faces), np.array(self._part), tuple(self._names))


def _triangulate(polygon: np.ndarray) -> np.ndarray:
    """(n - 2, 3) triangles of a simple anticlockwise polygon: a fan when it is convex, ear clipping otherwise."""
    n = len(polygon)
    edge = np.roll(polygon, -1, 0) - polygon
    after = np.roll(edge, -1, 0)
    if (edge[:, 0] * after[:, 1] - edge[:, 1] * after[:, 0]).min() >= -1e-9:
        k = np.arange(1, n - 1)
        return np.stack([np.zeros_like(k), k, k + 1], 1)
    points = polygon.tolist()
    left = list(range(n))
    ears = []

    def cross(o, a, b) -> float:
        return (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])

    while len(left) > 3:
        for i in range(len(left)):
            a, b, c = left[i - 1], left[i], left[(i + 1) % len(left)]
            pa, pb, pc = points[a], points[b], points[c]
            if cross(pa, pb, pc) <= 0:
                continue
            inside = (points[q] for q in left if q not in (a, b, c))
            if not any(cross(pa, pb, q) >= 0 and cross(pb, pc, q) >= 0 and cross(pc, pa, q) >= 0 for q in inside):
                break
        else:  # numerically degenerate: any corner will do
            i, (a, b, c) = 0, (left[-1], left[0], left[1])
        ears.append((a, b, c))
        left.pop(i)
    ears.append(tuple(left))
    return np.array(ears)
