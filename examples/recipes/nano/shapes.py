"""Parametric objects: `make("chair", rng)` gives another chair for every seed.

Each class is one function that draws its proportions, its parts and its style at random. The ten classes of ModelNet10
are the most varied, because real CAD shapes are classified with a network that saw only these. Nothing here was
measured on, or fitted to, any data set.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from solids import Builder, Mesh, arc, circle, rotation, rounded

PI = np.pi
_MAKERS: dict[str, Callable[[Builder], None]] = {}


def make(cls: str, rng: np.random.Generator) -> Mesh:
    """One random object of the class: z up, facing -y, bounding box centred, inside the unit sphere.

    Raises KeyError for a class that is not in `CLASSES`.
    """
    builder = Builder(rng)
    _MAKERS[cls](builder)
    vertices, faces, part, names = builder.arrays()
    vertices = _deform(vertices, rng)
    vertices -= (vertices.min(0) + vertices.max(0)) / 2
    vertices /= np.sqrt((vertices**2).sum(1).max()) * (1 + 1e-6)
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32), part.astype(np.int16), names)


def _deform(vertices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A slight stretch, and at times a shear or a taper, so that no two boxes are alike."""
    vertices = vertices * rng.uniform(0.88, 1.14, 3)
    if rng.random() < 0.2:
        vertices[:, :2] += vertices[:, 2:] * rng.uniform(-0.04, 0.04, 2)
    if rng.random() < 0.2:
        z = vertices[:, 2:]
        vertices[:, :2] *= 1 + rng.uniform(-0.08, 0.08) * (z - z.min()) / (np.ptp(z) + 1e-9)
    return vertices


def _register(name: str) -> Callable[[Callable[[Builder], None]], Callable[[Builder], None]]:
    def enter(maker: Callable[[Builder], None]) -> Callable[[Builder], None]:
        _MAKERS[name] = maker
        return maker

    return enter


# --- parts shared by the furniture ------------------------------------------------------------------------------


def _legs(b: Builder, w: float, d: float, h: float, thick: float | None = None, splay: float | None = None, z: float = 0,
          part: str = "leg") -> None:  # fmt: skip
    """Four legs under a w x d plate at the height z + h: square, round, turned or tapered, at times splayed or braced."""
    t = b.u(0.02, 0.06) if thick is None else thick
    kind = b.pick("square", "square", "round", "taper", "turned")
    s = (b.u(0, 0.12) * h if b.p(0.35) else 0) if splay is None else splay
    x, y = w / 2 - t * 0.7, d / 2 - t * 0.7
    for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        top, foot = (i * (x - s), j * (y - s), z + h), (i * x, j * y, z)
        if kind == "square":
            b.beam(part, foot, top, t)
        elif kind == "turned":
            r = np.array([0.5, 0.35, 0.7, 0.35, 0.7]) * t
            path = np.linspace(foot, top, 9)
            b.tube(part, path, r[[0, 1, 2, 1, 1, 2, 4, 3, 4]])
        else:
            b.bar(part, foot, top, t * (0.5 if kind == "round" else 0.3), t * 0.55)
    if b.p(0.22) and h > 0.25:
        k = z + b.u(0.15, 0.5) * h
        x, y = x - s * (k - z) / h, y - s * (k - z) / h
        for j in (-1, 1):
            b.beam(part, (j * x, -y, k), (j * x, y, k), t * 0.6)
        if b.p(0.5):
            b.beam(part, (-x, 0, k), (x, 0, k), t * 0.6)
        else:
            for j in (-1, 1):
                b.beam(part, (-x, j * y, k), (x, j * y, k), t * 0.6)


def _handle(b: Builder, kind: str, x: float, y: float, z: float, w: float) -> None:
    """A knob or a bar on a front at y."""
    if kind == "knob":
        b.ball("knob", x, y - 0.015, z, b.u(0.012, 0.022), n=8)
    elif kind == "bar":
        b.box("knob", x, y - 0.015, z - 0.008, w * 0.4, 0.02, 0.016)
    elif kind == "pair":
        for i in (-1, 1):
            b.ball("knob", x + i * w * 0.28, y - 0.015, z, 0.016, n=8)


def _drawers(b: Builder, x: float, y: float, z: float, w: float, h: float, rows: int, columns: int = 1,
             part: str = "drawer") -> None:  # fmt: skip
    """A grid of drawer fronts on the front plane y, standing proud of it or set back between dividers."""
    kind = b.pick("knob", "bar", "pair", "none") if w / columns > 0.45 else b.pick("knob", "bar", "none")
    gap, proud = b.u(0.008, 0.03), b.u(0.006, 0.03)
    heights = np.full(rows, 1.0)
    if b.p(0.35):
        heights = np.linspace(b.u(1.2, 1.7), 1, rows)
    heights = heights / heights.sum() * h
    for j in range(columns):
        cx, cz = x + (j + 0.5) / columns * w - w / 2, z
        for k in heights:
            b.box(part, cx, y - proud / 2, cz + gap / 2, w / columns - gap, proud, k - gap)
            _handle(b, kind, cx, y - proud, cz + k / 2, w / columns)
            cz += k


def _doors(b: Builder, x: float, y: float, z: float, w: float, h: float, count: int) -> None:
    gap, proud = b.u(0.006, 0.02), b.u(0.006, 0.03)
    panel = b.p(0.4)
    for j in range(count):
        cx = x + (j + 0.5) / count * w - w / 2
        b.box("door", cx, y - proud / 2, z + gap / 2, w / count - gap, proud, h - gap)
        if panel:
            b.box("panel", cx, y - proud, z + h * 0.1, w / count * 0.7, 0.015, h * 0.8)
        side = 1 if (j % 2 == 0 and count > 1) else -1
        if b.p(0.8):
            b.ball("knob", cx + side * w / count * 0.38, y - proud - 0.015, z + h * 0.5, 0.018, n=8)


def _shell(b: Builder, w: float, d: float, z: float, h: float, shelves: int = 0, back: bool = True, t: float = 0.025,
           x: float = 0, y: float = 0) -> None:  # fmt: skip
    """An open case of boards: two sides, top, bottom, back, shelves."""
    for i in (-1, 1):
        b.box("side", x + i * (w / 2 - t / 2), y, z, t, d, h)
    for k in np.linspace(0, h - t, shelves + 2):
        b.box("shelf", x, y, z + k, w, d, t)
    if back:
        b.box("back", x, y + d / 2 - t / 4, z, w, t / 2, h)


def _feet(b: Builder, w: float, d: float, h: float, part: str = "leg") -> None:
    """What a case stands on: short feet, a plinth, or taller legs."""
    kind = b.pick("feet", "plinth", "legs")
    if kind == "plinth":
        b.box(part, 0, 0, 0, w * 0.94, d * 0.9, h)
    else:
        _legs(b, w, d, h, thick=b.u(0.03, 0.07) if kind == "feet" else b.u(0.025, 0.045))


def _cushion(b: Builder, part: str, x: float, y: float, z: float, w: float, d: float, h: float, power: float = 5.0) -> None:
    b.ball(part, x, y, z + h / 2, (w / 2, d / 2, h / 2), power, 12)


def _lamp(b: Builder, x: float, y: float, z: float, s: float) -> None:
    """A small table lamp of the height s."""
    r = s * b.u(0.12, 0.22)
    if b.p(0.5):
        b.lathe("base", [(0, z), (r, z), (r * 1.2, z + s * 0.2), (r * 0.3, z + s * 0.5), (r * 0.2, z + s * 0.62)], x, y, 12)
    else:
        b.cylinder("base", x, y, z, r * 1.2, s * 0.04)
        b.bar("pole", (x, y, z), (x, y, z + s * 0.7), s * 0.025)
    wide = s * b.u(0.26, 0.38)
    b.lathe("shade", [(wide, z + s * 0.58), (wide * b.u(0.4, 1.0), z + s)], x, y, 14)


def _star(b: Builder, h: float, r: float, arms: int = 5) -> None:
    """A swivel base: arms with castors, and a column."""
    turn = b.u(0, PI)
    for k in range(arms):
        c, s = np.cos(turn + k * 2 * PI / arms), np.sin(turn + k * 2 * PI / arms)
        b.bar("base", (0, 0, 0.1), (r * c, r * s, 0.06), 0.028, 0.018, 6)
        b.ball("wheel", r * c, r * s, 0.03, 0.03, n=8)
    b.cylinder("column", 0, 0, 0.07, 0.03, h - 0.07, n=8)


# --- the ten classes of ModelNet10 ------------------------------------------------------------------------------


@_register("bathtub")
def _bathtub(b: Builder) -> None:
    w, d, h = b.u(1.35, 1.95), b.u(0.65, 0.95), b.u(0.4, 0.7)
    kind = b.pick("built-in", "built-in", "free", "free", "claw", "round", "corner", "shell")
    n = 32
    inner_power = b.pick(2.2, 3, 4, 8)
    rim, depth = b.u(0.03, 0.14), b.u(0.6, 0.9)
    if kind == "round":
        w = d = b.u(1.2, 1.8)
        inner_power = b.pick(2, 2, 4)
    power = {"built-in": 20, "free": b.pick(2.2, 3, 4), "claw": b.pick(2.5, 3.5), "round": inner_power, "corner": 20,
             "shell": b.pick(3, 5, 12)}[kind]  # fmt: skip
    outer = rounded(w, d, power, n)
    inner = rounded(w - 2 * rim, d - 2 * rim, inner_power, n)
    foot = 1.0 if kind in ("built-in", "corner", "round") else b.u(0.6, 0.92)
    if kind == "corner":
        w = d = b.u(1.2, 1.6)
        cut = np.array([[-1, 1], [-1, -0.2], [-0.2, -1], [1, -1], [1, 1]]) * w / 2
        outer = np.concatenate([np.linspace(cut[i], cut[(i + 1) % 5], 7)[:-1] for i in range(5)])[:30]
        inner = outer * (1 - 2 * rim / w - 0.04) if b.p(0.5) else rounded(w * 0.95, d * 0.62, 2.3, 30)
        if len(inner) == 30 and np.ptp(inner[:, 1]) < 0.7 * d:
            turn = rotation(2, -PI / 4)[:2, :2]
            inner = (inner @ turn.T) * 0.85
            # Both outlines start at the same side, so that the rim between them does not twist.
            inner = np.roll(inner, -int(np.argmin(((inner - outer[0]) ** 2).sum(1))), 0)
        n = 30
    lift = b.u(0.08, 0.16) if kind == "claw" else 0.0
    slope = b.u(0.55, 0.9)
    slip = b.u(-0.12, 0.12) if b.p(0.5) else 0.0
    levels = [(outer, foot, lift), (outer, (1 + foot) / 2 + (0 if foot == 1 else 0.04), lift + h * 0.5), (outer, 1.0, h + lift)]
    if kind in ("claw", "free") and b.p(0.6):
        levels += [(outer, 1.05, h + lift + 0.01), (outer, 1.05, h + lift + 0.03)]
    levels += [(inner, 1.0, h + lift + (0.03 if len(levels) > 3 else 0)), (inner, (1 + slope) / 2, h + lift - depth * h * 0.5),
               (inner, slope * 0.95, h + lift - depth * h * 0.95), (inner, slope * 0.7, h + lift - depth * h)]  # fmt: skip
    rings = np.zeros((len(levels), n, 3))
    for ring, (outline, s, z) in zip(rings, levels, strict=True):
        ring[:, :2], ring[:, 2] = outline * s, z
        ring[:, 0] += slip * (1 - s)
    if kind == "claw" and b.p(0.6):  # a slipper: one end stands higher
        raise_ = b.u(0.1, 0.35)
        rings[:, :, 2] += raise_ * np.clip(rings[:, :, 0] / w + 0.2, 0, 1) ** 2 * (rings[:, :, 2:].max(1) > lift + h * 0.6)
    b.loft("tub", rings)
    if kind == "claw":
        for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            b.bar("leg", (i * w * 0.3, j * d * 0.3, 0), (i * w * 0.26, j * d * 0.25, lift + 0.1), 0.025, 0.06)
    if kind == "built-in" and b.p(0.3):  # tiles at the wall
        b.box("wall", 0, d / 2 + 0.02, 0, w, 0.04, h + b.u(0.05, 0.3))
    if kind == "round" and b.p(0.4):
        b.cylinder("step", 0, 0, 0, w * 0.6, h * b.u(0.2, 0.5), n=24)
    if b.p(0.55):
        end = b.pick(-1, 1) if kind != "round" else 1
        x, z = end * (w / 2 - rim * 0.4), h + lift
        if kind == "corner":
            x *= 0.9
        y = 0 if kind != "corner" else d * 0.35
        b.tube("tap", [(x, y, z - 0.02), (x, y, z + 0.14), (x - end * 0.05, y, z + 0.18), (x - end * 0.14, y, z + 0.14)], 0.018)
        for j in (-1, 1):
            b.cylinder("tap", x, y + j * 0.09, z, 0.022, 0.06, n=8)
    if kind == "built-in" and b.p(0.1):
        x = w / 2 - 0.05
        b.tube("shower", [(x, 0, h), (x, 0, h + 1.2), (x - 0.2, 0, h + 1.25)], 0.015)
        b.cylinder("shower", x - 0.2, 0, h + 1.2, 0.08, 0.03)


def _headboard(b: Builder, y: float, w: float, z: float, h: float, t: float, part: str) -> None:
    kind = b.pick("solid", "solid", "curve", "slats", "bars", "pad", "ladder")
    if kind == "solid":
        b.box(part, 0, y, z, w, t, h)
    elif kind == "curve":
        a = np.linspace(0, PI, 11)
        rise = b.u(0.15, 0.45) * h
        top = np.stack([w / 2 * np.cos(a), z + h - rise + rise * np.sin(a) ** b.pick(1, 2)], 1)
        b.extrude(part, np.concatenate([[(-w / 2, z), (w / 2, z)], top]), y - t / 2, y + t / 2, 1)
    elif kind == "pad":
        b.box(part, 0, y, z, w, t, h)
        k = b.n(1, 4)
        for j in range(k):
            _cushion(b, "pad", (j + 0.5) / k * w - w / 2, y - t / 2, z + h * 0.3, w / k * 0.97, t * 1.4, h * 0.66)
    else:
        r = b.u(0.025, 0.05)
        for i in (-1, 1):
            b.beam(part, (i * (w / 2 - r), y, 0), (i * (w / 2 - r), y, z + h * b.u(1, 1.1)), r * 2)
        b.beam(part, (-w / 2, y, z + h), (w / 2, y, z + h), r * 2)
        b.beam(part, (-w / 2, y, z + h * 0.15), (w / 2, y, z + h * 0.15), r * 1.5)
        if kind == "ladder":
            for k in np.linspace(0.3, 0.85, b.n(2, 4)):
                b.beam(part, (-w / 2, y, z + h * k), (w / 2, y, z + h * k), r * 1.4)
        else:
            wide = r * (0.6 if kind == "bars" else 1.4)
            for x in np.linspace(-w / 2, w / 2, b.n(5, 12))[1:-1]:
                b.beam(part, (x, y, z + h * 0.15), (x, y, z + h), wide)


@_register("bed")
def _bed(b: Builder) -> None:
    single = b.p(0.35)
    w, d = b.u(0.85, 1.15) if single else b.u(1.3, 2.0), b.u(1.8, 2.25)
    base, m = b.u(0.15, 0.42), b.u(0.12, 0.32)
    t = b.u(0.03, 0.14)
    bunk = single and b.p(0.22)
    floating = b.p(0.4)

    def bunk_bed(z: float, low: float) -> None:
        if floating or z > low:
            b.box("frame", 0, 0, z - 0.16, w * 1.03, d * 1.01, b.u(0.06, 0.16))
        else:
            b.box("frame", 0, 0, b.u(0, 0.08), w * b.u(0.97, 1.06), d * b.u(0.98, 1.03), z - 0.04)
        if b.p(0.6):
            _cushion(b, "mattress", 0, 0, z - 0.05, w * b.u(0.93, 1), d * 0.98, m, b.u(8, 16))
        else:
            b.box("mattress", 0, 0, z - 0.05, w * b.u(0.93, 1), d * 0.98, m)
        top = z - 0.05 + m
        if b.p(0.5):  # a blanket hangs over the sides
            long = d * b.u(0.5, 0.75)
            over = b.u(0.0, 0.04)
            b.box("blanket", 0, -d / 2 + long / 2, top - b.u(0.02, m), w * 1.0 + over * 2, long, b.u(0.02, 0.05) + m * b.u(0.2, 0.99))
        rows = b.pick(1, 1, 1, 2)
        count = 0 if b.p(0.12) else (1 if single else b.pick(1, 2, 2, 2, 3))
        for row in range(rows):
            for j in range(count):
                x = ((j + 0.5) / count - 0.5) * w * 0.95
                mark = b.mark()
                _cushion(b, "pillow", 0, 0, 0, w / count * b.u(0.7, 0.9), b.u(0.28, 0.42), b.u(0.08, 0.18), 3.0)
                b.move(mark, (x, d / 2 - 0.25 - row * 0.27, top - 0.02), 0, b.u(0, 0.8))

    bunk_bed(base, base)
    if bunk:
        high = base + b.u(0.8, 1.1)
        bunk_bed(high, base)
        for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            b.beam("post", (i * w * 0.52, j * d * 0.5, 0), (i * w * 0.52, j * d * 0.5, high + b.u(0.3, 0.5)), 0.07)
        for k in np.linspace(0.3, high, 5):
            b.beam("ladder", (w * 0.54, -d * 0.45, k), (w * 0.54, -d * 0.22, k), 0.03)
        for j in (-0.45, -0.22):
            b.beam("ladder", (w * 0.54, d * j, 0), (w * 0.54, d * j, high + 0.3), 0.04)
        for j in (-1, 1):
            for k in (0.15, 0.3):
                b.beam("rail", (j * w * 0.52, -d / 2, high + k), (j * w * 0.52, d / 2, high + k), 0.04)
        return
    if floating:
        _legs(b, w, d, base - 0.1, thick=b.u(0.04, 0.1))
    wide = w * b.u(1.0, 1.15)
    high = b.u(0.35, 0.95)
    if b.p(0.88):
        mark = b.mark()
        _headboard(b, d / 2 + t / 2, wide, b.u(0, 0.2), base + high, t, "headboard")
        if b.p(0.2):  # a sleigh bed leans out
            b.move(mark, axis=0, angle=-b.u(0.05, 0.25), about=(0, d / 2, 0))
    if b.p(0.45):
        _headboard(b, -d / 2 - t / 2, wide, b.u(0, 0.1), base + b.u(0.05, 0.45), t, "footboard")
    if b.p(0.12):  # canopy
        tall, r = b.u(1.7, 2.2), b.u(0.04, 0.09)
        x, y = wide / 2, d / 2 + t / 2
        for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            b.beam("post", (i * x, j * y, 0), (i * x, j * y, tall), r)
        for j in (-1, 1):
            b.beam("rail", (-x, j * y, tall), (x, j * y, tall), r)
            b.beam("rail", (j * x, -y, tall), (j * x, y, tall), r)
        if b.p(0.4):
            b.box("roof", 0, 0, tall, 2 * x, 2 * y, 0.03)
    if b.p(0.14):  # night stands beside it
        for i in (-1, 1) if b.p(0.7) else (1,):
            s, x, hh = b.u(0.38, 0.55), 0.0, b.u(0.4, 0.6)
            x = i * (wide / 2 + s / 2 + b.u(0.02, 0.1))
            b.box("night stand", x, d / 2 - s / 2, 0, s, s, hh)
            if b.p(0.5):
                _lamp(b, x, d / 2 - s / 2, hh, 0.45)
    if b.p(0.06):
        b.box("bench", 0, -d / 2 - t - 0.25, 0.05, w * 0.8, 0.4, 0.4)


def _chair_back(b: Builder, w: float, y: float, z: float, h: float, t: float) -> None:
    kind = b.pick("solid", "solid", "curve", "slats", "ladder", "frame", "spindles", "pad", "oval", "splat")
    gap = 0 if b.p(0.5) else b.u(0.05, 0.4) * h
    mark = b.mark()
    if kind == "solid":
        b.box("back", 0, 0, gap, w, t, h - gap)
    elif kind == "pad":
        _cushion(b, "back", 0, 0, gap * 0.6, w, b.u(0.06, 0.14), h - gap * 0.6, b.u(3, 9))
        gap = gap * 0.6
    elif kind == "curve":
        a = np.linspace(-1, 1, 9)
        bend = b.u(0.04, 0.16)
        high = h - b.u(0, 0.12) * a**2 * b.pick(0, 1, 2)
        b.band("back", np.stack([a * w / 2, -bend * a**2 + bend * 0.4], 1), gap, high, t)
    elif kind == "oval":
        e = circle(1, 20) * (w * 0.48, (h - gap) * 0.5)
        path = np.stack([e[:, 0], 0 * e[:, 0], e[:, 1] + gap + (h - gap) / 2], 1)
        b.tube("back", path, t * 0.5, closed=True)
        if b.p(0.7):
            b.extrude("back", e * 0.95 + (0, gap + (h - gap) / 2), -t * 0.3, t * 0.3, 1)
    else:
        r = b.u(0.018, 0.035)
        for i in (-1, 1):
            b.beam("back", (i * (w / 2 - r), 0, 0), (i * (w / 2 - r), 0, h), r * 2)
        top = b.u(0.04, 0.14)
        b.box("back", 0, 0, h - top, w, r * 2, top)
        if kind == "ladder":
            for k in np.linspace(0.25, 0.72, b.n(2, 4)):
                b.box("back", 0, 0, h * k, w - 2 * r, r, b.u(0.03, 0.07))
        elif kind == "frame":
            b.box("back", 0, 0, h * b.u(0.15, 0.35), w - 2 * r, r * 1.2, h * 0.6)
        elif kind == "splat":
            b.box("back", 0, 0, 0, w * b.u(0.2, 0.45), r, h)
        else:
            b.box("back", 0, 0, h * 0.12, w, r * 1.5, 0.04)
            thick = b.u(0.012, 0.02) if kind == "spindles" else b.u(0.02, 0.04)
            for x in np.linspace(-w / 2, w / 2, b.n(4, 8))[1:-1]:
                b.beam("back", (x, 0, h * 0.12), (x, 0, h), thick)
    if gap and kind in ("solid", "curve", "pad", "oval"):
        for i in (-0.35, 0.35):
            b.beam("back", (i * w, 0, -0.02), (i * w, 0, gap + 0.1), 0.03)
    b.move(mark, (0, y, z), 0, -b.u(0, 0.3))


def _chair_arms(b: Builder, w: float, d: float, z: float, solid: float = 0.25) -> None:
    h, t = b.u(0.15, 0.28), b.u(0.025, 0.06)
    mark = b.mark()
    x = w / 2 - b.u(-0.04, 0.02)
    if b.p(solid):
        t = b.u(0.03, 0.12)
        b.box("arm", x, 0, z - 0.1, t, d * b.u(0.8, 1), h + 0.1)
    elif b.p(0.5):
        front = -d * b.u(0.2, 0.48)
        b.beam("arm", (x, front, z - 0.05), (x, front, z + h), t * 0.7)
        b.box("arm", x, (d / 2 + front) / 2, z + h, t * 1.2, d / 2 - front + 0.04, t * 0.8)
    else:
        f = -d * b.u(0.25, 0.45)
        b.tube("arm", [(x, f, z - 0.02), (x, f * 1.05, z + h * 0.8), (x, f * 0.7, z + h), (x, d * 0.3, z + h), (x, d / 2, z + h * 0.95)], t * 0.5)
    b.mirror(mark)


@_register("chair")
def _chair(b: Builder) -> None:
    w, d, z = b.u(0.38, 0.58), b.u(0.38, 0.56), b.u(0.36, 0.5)
    t, h, bt = b.u(0.02, 0.09), b.u(0.3, 0.68), b.u(0.018, 0.06)
    kind = b.pick("plain", "plain", "plain", "plain", "plain", "office", "office", "tub", "tulip", "sled", "lounge", "block",
                  "shell", "wing")  # fmt: skip
    if kind in ("tub", "wing", "block"):  # upholstered
        w, d, z = b.u(0.6, 0.9), b.u(0.6, 0.85), b.u(0.28, 0.45)
        lift = b.u(0.0, 0.16) if b.p(0.7) else 0.0
        if lift:
            _legs(b, w * 0.9, d * 0.9, lift + 0.02, thick=b.u(0.03, 0.06))
        a, at = b.u(0.08, 0.16), b.u(0.15, 0.3)
        if kind == "tub":
            path = arc(0.5, -0.15 * PI, 1.15 * PI, 13) * (w, d)
            rise = np.linspace(-1, 1, 13) ** 2
            b.band("back", path, lift, z + at + b.u(0.0, 0.35) * (1 - rise), a)
            b.stack("seat", rounded(w * 0.92, d * 0.92, 2.5), [(1, lift), (1, z)])
        else:
            b.box("seat", 0, 0, lift, w, d, z - lift - 0.1)
            _cushion(b, "cushion", 0, -a * 0.4, z - 0.12, w - 2 * a, d - a, 0.16)
            back = b.u(0.35, 0.75) if kind == "wing" else b.u(0.25, 0.45)
            mark = b.mark()
            b.box("back", 0, d / 2 - a / 2, z - 0.1, w if b.p(0.5) else w - 2 * a, a, back + 0.1)
            if kind == "wing":
                for i in (-1, 1):
                    b.box("wing", i * (w / 2 - a / 4), d / 2 - a - 0.1, z + at, a / 2, 0.22, back - at)
            b.move(mark, axis=0, angle=-b.u(0, 0.25), about=(0, d / 2, z))
            for i in (-1, 1):
                b.box("arm", i * (w / 2 - a / 2), 0, lift, a, d, z - lift + at)
        return
    if kind == "lounge":
        z, d = b.u(0.25, 0.38), b.u(0.5, 0.75)
        mark = b.mark()
        long = b.p(0.35)
        bend = [(-d / 2 - (0.45 if long else 0.06), -0.06), (-d / 2, 0.03), (d * 0.3, -0.05), (d * 0.75, 0.55)]
        under = [(y + 0.02, k - t - 0.01) for y, k in bend]
        b.extrude("seat", under + bend[::-1], -w / 2, w / 2, 0)
        b.move(mark, (0, 0, z))
        if b.p(0.6):
            _legs(b, w, d * 1.1, z - 0.03)
        else:
            for i in (-1, 1):
                b.tube("leg", [(i * w / 2, -d / 2, z), (i * w / 2, -d / 2, 0), (i * w / 2, d / 2, 0), (i * w / 2, d * 0.3, z)], 0.02)
        if b.p(0.5):
            _chair_arms(b, w * 1.05, d, z, 0.1)
        return
    if kind == "shell":  # one moulded piece of seat and back
        n = 11
        a = np.linspace(-1, 1, n)
        rings = []
        for y, k, s in ((-d / 2, z - 0.02, 0.8), (-d * 0.3, z, 1.0), (d * 0.25, z - 0.01, 1.0), (d * 0.45, z + 0.12, 1.0),
                        (d * 0.55, z + h * 0.7, 0.95), (d * 0.6, z + h, 0.6)):  # fmt: skip
            curl = 0.05 * a**2
            rings.append(np.stack([a * w / 2 * s, y - curl * (k > z + 0.05), k + curl * (k < z + 0.05)], 1))
        top = np.array(rings)
        both = np.concatenate([top, top[:, ::-1] - (0, -0.01, 0.025)], 1)
        b.loft("seat", both)
        if b.p(0.5):
            _legs(b, w * 0.95, d, z, thick=0.03, splay=b.u(0.02, 0.08))
        elif b.p(0.5):
            _star(b, z, b.u(0.22, 0.32), b.pick(4, 5))
        else:
            b.cylinder("column", 0, 0, 0, 0.03, z)
            b.cylinder("base", 0, 0, 0, b.u(0.18, 0.28), 0.02)
        if b.p(0.2):
            _chair_arms(b, w, d, z)
        return
    # The seat of the open kinds.
    round_ = b.p(0.15)
    if round_ or kind == "tulip":
        b.stack("seat", rounded(w, d, b.pick(2, 2.5, 3)), [(0.9, z - t), (1, z - t / 2), (1, z)])
    elif b.p(0.35):
        _cushion(b, "seat", 0, 0, z - t - 0.02, w, d, t + 0.05, b.u(5, 10))
    else:
        b.box("seat", 0, 0, z - t, w, d, t)
        if b.p(0.15):
            _cushion(b, "cushion", 0, 0, z - 0.01, w * 0.9, d * 0.9, 0.07)
    if kind == "office":
        _star(b, z - t, b.u(0.24, 0.36), b.pick(4, 5, 5, 5, 6))
        if b.p(0.65):
            _chair_arms(b, w * 1.1, d, z, 0.1)
        if b.p(0.5):
            b.tube("back", [(0, d * 0.2, z - t), (0, d * 0.58, z - t), (0, d * 0.55, z + h * 0.5)], 0.025)
        _chair_back(b, w * b.u(0.8, 1.05), d / 2 + 0.02, z + b.u(0, 0.12), h * b.u(0.7, 1.2), bt)
        return
    if kind == "tulip":
        r = b.u(0.18, 0.28)
        b.lathe("base", [(0, 0), (r, 0), (r * 0.4, 0.03), (0.035, 0.12), (0.03, z * 0.6), (0.08, z - t)], n=16)
    elif kind == "sled":
        r, f = b.u(0.011, 0.022), b.u(0.42, 0.5)
        mark = b.mark()
        x = w / 2 - r
        if b.p(0.5):  # cantilever: only the front carries
            b.tube("leg", [(x, d * f, 0.02), (x, -d * f, 0.02), (x, -d * f, z - t / 2), (x, d * f, z - t / 2)], r)
        else:
            b.tube("leg", [(x, d * f, z), (x, d * f, 0.02), (x, -d * f, 0.02), (x, -d * f, z - t / 2)], r)
        b.mirror(mark)
        b.bar("leg", (-x, d * f, 0.02), (x, d * f, 0.02), r)
    else:
        if b.p(0.08):
            for i in (-1, 1):
                b.box("leg", i * (w / 2 - 0.02), 0, 0, 0.04, d, z - t)
        elif b.p(0.08):  # folding legs
            for i in (-1, 1):
                x = i * (w / 2 - 0.01)
                b.beam("leg", (x, -d / 2, 0), (x, d / 2, z), 0.025)
                b.beam("leg", (x * 0.92, d / 2, 0), (x * 0.92, -d / 2, z), 0.025)
        else:
            _legs(b, w, d, z - t)
    if b.p(0.4):
        _chair_arms(b, w, d, z)
    _chair_back(b, w * (b.u(0.85, 1.0)), d / 2 - bt / 2, z - 0.01, h, bt)


def _pedestal(b: Builder, x: float, y: float, w: float, d: float, h: float) -> None:
    """The drawer block of a desk."""
    z = 0 if b.p(0.6) else b.u(0.03, 0.3) * h
    b.box("drawers", x, y, z, w, d, h - z)
    if z:
        for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            b.beam("leg", (x + i * w * 0.45, y + j * d * 0.45, 0), (x + i * w * 0.45, y + j * d * 0.45, z), 0.03)
    if b.p(0.85):
        if b.p(0.8):
            _drawers(b, x, y - d / 2, z, w, h - z, b.n(2, 4))
        else:
            _doors(b, x, y - d / 2, z, w, h - z, 1)


@_register("desk")
def _desk(b: Builder) -> None:
    w, d, h, t = b.u(1.0, 1.95), b.u(0.5, 0.95), b.u(0.66, 0.82), b.u(0.018, 0.06)
    kind = b.pick("one", "one", "two", "two", "two", "panels", "panels", "L", "L", "drawer", "computer", "executive", "secretary",
                  "curve")  # fmt: skip
    under = h - t
    pw = b.u(0.3, 0.48)
    if kind == "curve":
        a = np.linspace(0, PI, 12)
        bow = b.u(0.1, 0.3)
        front = np.stack([-np.cos(a) * w / 2, -d / 2 - bow * np.sin(a)], 1)
        b.extrude("top", np.concatenate([front, [(w / 2, d / 2), (-w / 2, d / 2)]]), under, h)
    else:
        b.box("top", 0, 0, under, w, d, t)
    x = w / 2 - pw / 2 - b.u(0, 0.04)
    pd = d * b.u(0.85, 1)
    modest = b.p(0.5)
    if kind in ("two", "executive", "curve"):
        for i in (-1, 1):
            _pedestal(b, i * x, 0, pw, pd, under)
        if kind == "executive" or b.p(0.4):
            b.box("panel", 0, d / 2 - 0.04, b.u(0, 0.3), w - 2 * pw, 0.025, under * 0.7)
        if b.p(0.5):
            b.box("drawer", 0, -0.02, under - 0.12, w - 2 * pw, d * 0.9, 0.12)
    elif kind in ("one", "computer"):
        side = b.pick(-1, 1)
        _pedestal(b, side * x, 0, pw, pd, under)
        if b.p(0.5):
            b.box("side", -side * (w / 2 - 0.02), 0, 0, 0.035, d * 0.95, under)
        else:
            for j in (-1, 1):
                b.beam("leg", (-side * (w / 2 - 0.04), j * (d / 2 - 0.04), 0), (-side * (w / 2 - 0.04), j * (d / 2 - 0.04), under), 0.045)
        if modest:
            b.box("panel", 0, d / 2 - 0.05, under * b.u(0, 0.5), w * 0.95, 0.02, under * 0.45)
        if kind == "computer":
            b.box("tray", -side * pw / 2, -d * 0.2, under - 0.1, w - pw - 0.08, d * 0.6, 0.02)
            b.box("shelf", 0, d * 0.25, h + b.u(0.15, 0.4), w * b.u(0.6, 1), d * 0.4, 0.025)
            for i in (-1, 1):
                b.box("side", i * (w * 0.3), d * 0.25, h, 0.025, d * 0.4, 0.2)
    elif kind in ("panels", "L"):
        st = b.u(0.02, 0.06)
        for i in (-1, 1):
            b.box("side", i * (w / 2 - st / 2 - 0.01), 0, 0, st, d * b.u(0.8, 1), under)
        if modest or b.p(0.5):
            b.box("panel", 0, d / 2 - b.u(0.03, 0.2), under * b.u(0, 0.5), w * 0.97, 0.02, under * 0.48)
        if b.p(0.5):
            _pedestal(b, b.pick(-1, 1) * (x - st), 0, pw, pd, under * b.u(0.75, 1))
        if kind == "L":
            side, long, deep = b.pick(-1, 1), b.u(0.5, 1.3), b.u(0.4, 0.65)
            cx, cy = side * (w / 2 - deep / 2), -d / 2 - long / 2
            b.box("top", cx, cy, under, deep, long, t)
            if b.p(0.5):
                mark = b.mark()
                _pedestal(b, 0, 0, min(pw, long), deep * 0.95, under)
                b.move(mark, (cx, cy - long / 2 + min(pw, long) / 2, 0), 2, -side * PI / 2)
            else:
                b.box("side", cx, cy - long / 2 + 0.02, 0, deep * 0.95, st, under)
            if b.p(0.3):
                b.box("panel", side * (w / 2 - 0.03), cy, under * 0.3, 0.02, long, under * 0.6)
    else:  # a writing desk: legs, and drawers under the top
        rim = b.u(0.1, 0.2)
        b.box("drawer", 0, 0.01, under - rim, w * 0.95, d * 0.93, rim)
        _drawers(b, 0, -d * 0.465 + 0.01, under - rim, w * 0.93, rim, 1, b.n(1, 4))
        _legs(b, w * 0.97, d * 0.95, under - rim * 0.5, thick=b.u(0.03, 0.06))
    if kind == "secretary" or (b.p(0.22) and kind != "computer"):  # hutch
        tall, deep = b.u(0.25, 0.85), d * b.u(0.3, 0.5)
        mark = b.mark()
        _shell(b, w * 0.98, deep, h, tall, b.n(0, 2), b.p(0.8), 0.022)
        for k in range(b.n(0, 3)):
            b.box("side", (k - 1) * w * 0.25, 0, h, 0.02, deep, tall)
        b.move(mark, (0, d / 2 - deep / 2, 0))
    elif b.p(0.14):
        mark = b.mark()
        _flat_monitor(b, 0.5, 0.32, 0.03)
        b.move(mark, (b.u(-0.2, 0.2) * w, d * 0.2, h))
        if b.p(0.5):
            b.box("keyboard", 0, -d * 0.15, h, 0.42, 0.14, 0.02)
    elif b.p(0.06):
        _lamp(b, -w * 0.35, d * 0.25, h, 0.45)


@_register("dresser")
def _dresser(b: Builder) -> None:
    tall = b.p(0.25)
    w, d, h = (b.u(0.7, 1.05), b.u(0.4, 0.55), b.u(1.0, 1.45)) if tall else (b.u(0.95, 1.9), b.u(0.38, 0.58), b.u(0.65, 1.0))
    lift = b.u(0.03, 0.2) if b.p(0.75) else 0.0
    if lift:
        _feet(b, w, d, lift)
    t = b.u(0.02, 0.05)
    b.box("case", 0, 0, lift, w, d, h - lift - t)
    over = b.u(0, 0.04)
    b.box("top", 0, -over / 2, h - t, w + over, d + over, t)
    inset = b.u(0.0, 0.04)
    z, high, wide = lift + inset, h - t - lift - 2 * inset, w - 2 * inset
    rows = b.n(4, 6) if tall else b.n(2, 4)
    if tall:
        if b.p(0.4):
            part = high / rows
            _drawers(b, 0, -d / 2, z, wide, high - part, rows - 1)
            _drawers(b, 0, -d / 2, z + high - part, wide, part, 1, 2)
        else:
            _drawers(b, 0, -d / 2, z, wide, high, rows, b.pick(1, 1, 2))
    elif b.p(0.2):  # drawers beside doors
        third = wide / 3
        _doors(b, 0, -d / 2, z, third, high, b.n(1, 2))
        for i in (-1, 1):
            _drawers(b, i * third, -d / 2, z, third, high, rows)
    elif b.p(0.3):
        part = high / (rows + 0.3)
        _drawers(b, 0, -d / 2, z, wide, high - part, rows - 1 or 1, 2)
        _drawers(b, 0, -d / 2, z + high - part, wide, part, 1, 3)
    else:
        _drawers(b, 0, -d / 2, z, wide, high, rows, b.pick(1, 2, 2, 2, 3, 3))
    if b.p(0.14):  # mirror
        tall = b.u(0.5, 0.95)
        if b.p(0.5):
            b.box("mirror", 0, d / 2 - 0.03, h, w * b.u(0.5, 0.9), 0.04, tall)
        else:
            b.extrude("mirror", circle(w * 0.35, 20, tall / 2) + (0, h + tall / 2), d / 2 - 0.05, d / 2 - 0.01, 1)


def _flat_monitor(b: Builder, w: float, h: float, t: float) -> None:
    """A flat screen on its stand, standing on z = 0."""
    lift = b.u(0.06, 0.45) * h
    mark = b.mark()
    rim = b.u(0.01, 0.035)
    b.box("screen", 0, 0, 0, w - 2 * rim, t * 0.6, h - rim)
    style = b.pick("slab", "frame", "frame", "chin")
    if style == "slab":
        b.box("frame", 0, t * 0.15, -rim, w, t, h + rim)
    else:
        chin = rim * 4 if style == "chin" else rim
        for i in (-1, 1):
            b.box("frame", i * (w / 2 - rim / 2), 0, -chin, rim, t, h + chin)
        b.box("frame", 0, 0, h - rim, w, t, rim)
        b.box("frame", 0, 0, -chin, w, t, chin + rim * 0.5)
        b.box("frame", 0, t * 0.6, -chin, w, t * 0.8, h + chin)
    if b.p(0.4):  # the bulge behind
        s = b.u(0.5, 0.85)
        b.stack("back", rounded(w * s, h * s, 8, 16), [(1, 0), (0.7, b.u(0.02, 0.09))])
        b.move(b.mark() - 1, (0, t * 0.8, h / 2), 0, -PI / 2)
    b.move(mark, (0, 0, lift), 0, -b.u(-0.05, 0.25), (0, 0, h / 2))
    foot = b.u(0.25, 0.6) * w
    deep = b.u(0.14, 0.28) * max(w, 0.4)
    kind = b.pick("plate", "plate", "oval", "oval", "wedge", "feet", "bow", "none")
    if kind == "none":
        return
    if kind == "feet":
        for i in (-1, 1):
            b.beam("stand", (i * w * 0.33, -deep / 2, 0.01), (i * w * 0.33, deep / 2, 0.01), 0.02)
            b.beam("stand", (i * w * 0.33, 0, 0.01), (i * w * 0.33, t, lift + 0.05), 0.02)
        return
    nw = b.u(0.03, 0.35) * foot + 0.02
    lean = b.u(0, 0.1)
    if kind == "wedge":
        b.extrude("stand", [(-deep / 2, 0), (deep / 2, 0), (deep / 2 * 0.6 + t, lift + h * 0.25), (t, lift + h * 0.25)], -foot / 2, foot / 2, 0)
        return
    b.beam("stand", (0, t + lean, 0), (0, t, lift + h * b.u(0.2, 0.5)), min(nw, 0.09))
    if nw > 0.09:
        b.box("stand", 0, t, 0, nw, 0.02, lift + h * 0.3)
    if kind == "plate":
        b.box("stand", 0, t, 0, foot, deep, b.u(0.008, 0.03))
    elif kind == "oval":
        b.stack("stand", rounded(foot, deep, 2, 20), [(1, 0), (1, 0.008), (b.u(0.3, 1), b.u(0.015, 0.04))], y=t)
    else:
        b.tube("stand", np.c_[arc(1, PI * 1.1, PI * 1.9, 9) * (foot / 2, deep) + (0, t + deep * 0.5), np.full(9, 0.012)], 0.012)


@_register("monitor")
def _monitor(b: Builder) -> None:
    kind = b.pick("flat", "flat", "flat", "flat", "flat", "flat", "wide", "wide", "crt", "crt", "dual", "all", "speakers")
    w = b.u(0.36, 0.6)
    h, t = w * b.u(0.55, 0.82), b.u(0.015, 0.06)
    if kind == "wide":
        w = b.u(0.7, 1.3)
        h = w * b.u(0.42, 0.6)
    if kind == "crt":
        deep = b.u(0.22, 0.42)
        h, lift, rim = w * b.u(0.72, 0.9), b.u(0.03, 0.1), b.u(0.02, 0.05)
        mark = b.mark()
        shape = rounded(w, h, b.u(7, 20), 24)
        b.stack("case", shape, [(1, 0), (1, 0.07), (b.u(0.85, 0.98), 0.08 + deep * 0.3), (b.u(0.4, 0.7), deep)])
        b.stack("screen", rounded(w - 2 * rim, h - 2 * rim, 7, 24), [(1, -0.01), (0.98, -0.004), (0.6, -0.02 * b.u(0.2, 1)), (0, -0.022)])
        b.move(mark, (0, -deep / 2, lift + h / 2), 0, -PI / 2)
        b.move(mark, axis=0, angle=-b.u(0, 0.12), about=(0, 0, lift))
        b.cylinder("stand", 0, 0, 0, w * b.u(0.2, 0.36), 0.02, n=18)
        b.cylinder("stand", 0, 0, 0, w * 0.14, lift + 0.05, w * 0.2)
        return
    if kind == "all":
        lift = b.u(0.1, 0.2)
        mark = b.mark()
        b.box("case", 0, 0, 0, w, b.u(0.03, 0.07), h + 0.08)
        b.box("screen", 0, -0.03, 0.1, w * 0.92, 0.02, h * 0.92)
        b.move(mark, (0, 0, lift))
        b.extrude("stand", [(-0.12, 0), (0.12, 0), (0.12, 0.01), (0.05, 0.02), (0.03, lift + 0.15), (0.015, lift + 0.15), (0.03, 0.015), (-0.12, 0.01)],
                  -w * 0.18, w * 0.18, 0)  # fmt: skip
        return
    mark = b.mark()
    _flat_monitor(b, w, h, t)
    if kind == "dual":
        b.move(mark, (-w * 0.52, 0, 0), 2, b.u(-0.25, 0))
        b.mirror(mark)
    elif kind == "speakers":
        for i in (-1, 1):
            b.box("speaker", i * (w / 2 + b.u(0.04, 0.1)), 0, h * b.u(0, 0.2), 0.08, 0.08, h * b.u(0.5, 0.9))


@_register("night stand")
def _night_stand(b: Builder) -> None:
    w, d, h, t = b.u(0.38, 0.62), b.u(0.33, 0.5), b.u(0.42, 0.72), b.u(0.015, 0.045)
    kind = b.pick("drawers", "drawers", "drawers", "legs", "legs", "open", "open", "door", "drum", "table")
    over = b.u(0, 0.05)
    if kind == "drum":
        lift = b.u(0, 0.12)
        b.cylinder("case", 0, 0, lift, w / 2, h - lift - t, n=22)
        b.cylinder("top", 0, 0, h - t, w / 2 + over, t, n=22)
        _drawers(b, 0, -w / 2 + 0.04, lift + 0.05, w * 0.6, h - lift - 0.1, b.n(1, 2))
        if lift:
            _legs(b, w * 0.75, w * 0.75, lift + 0.02, thick=0.04)
    else:
        if b.p(0.1):
            b.stack("top", rounded(w + over, d + over, 6), [(1, h - t), (1, h)])
        else:
            b.box("top", 0, 0, h - t, w + over, d + over, t)
        under = h - t
        if kind in ("drawers", "door"):
            lift = b.u(0.02, 0.16) if b.p(0.75) else 0.0
            if lift:
                _feet(b, w, d, lift)
            b.box("case", 0, 0, lift, w, d, under - lift)
            if kind == "drawers":
                _drawers(b, 0, -d / 2, lift, w * 0.96, under - lift, b.pick(1, 2, 2, 2, 3, 3))
            else:
                split = under - b.u(0.12, 0.2)
                _doors(b, 0, -d / 2, lift, w * 0.96, split - lift, b.n(1, 2))
                _drawers(b, 0, -d / 2, split, w * 0.96, under - split, 1)
        elif kind == "legs":
            body = under * b.u(0.3, 0.6)
            b.box("case", 0, 0, under - body, w * 0.97, d * 0.97, body)
            _drawers(b, 0, -d * 0.485, under - body, w * 0.9, body, b.n(1, 2))
            _legs(b, w * 0.98, d * 0.98, under - body + 0.02, thick=b.u(0.025, 0.05))
            if b.p(0.4):
                b.box("shelf", 0, 0, b.u(0.06, 0.2), w * 0.92, d * 0.9, 0.02)
        elif kind == "open":
            lift = b.u(0.0, 0.15)
            if lift > 0.03:
                _feet(b, w, d, lift)
            _shell(b, w, d, lift, under - lift, b.n(0, 1), b.p(0.8), b.u(0.015, 0.035))
            if b.p(0.8):
                part = b.u(0.12, 0.25)
                low = b.p(0.3)
                z = lift if low else under - part
                b.box("case", 0, 0.01, z, w * 0.95, d * 0.95, part)
                _drawers(b, 0, -d * 0.48, z, w * 0.92, part, 1)
        else:
            rim = b.u(0.09, 0.18)
            b.box("case", 0, 0, under - rim, w * 0.93, d * 0.93, rim)
            _drawers(b, 0, -d * 0.465, under - rim, w * 0.88, rim, 1)
            _legs(b, w * 0.96, d * 0.96, under, thick=b.u(0.025, 0.05))
            for _ in range(b.n(0, 1)):
                b.box("shelf", 0, 0, b.u(0.08, 0.2), w * 0.92, d * 0.9, 0.02)
    if b.p(0.08):
        _lamp(b, 0, 0, h, b.u(0.35, 0.5))
    elif b.p(0.1):
        b.box("board", 0, d / 2 - 0.01, h, w, 0.02, b.u(0.03, 0.1))


@_register("sofa")
def _sofa(b: Builder) -> None:
    seats = b.pick(2, 2, 3, 3, 3, 4)
    w, d, z = 0.35 + seats * b.u(0.5, 0.72), b.u(0.75, 1.05), b.u(0.34, 0.48)
    back, at, ah = b.u(0.3, 0.55), b.u(0.08, 0.3), b.u(0.1, 0.3)
    bt = b.u(0.12, 0.28)
    lift = b.u(0.03, 0.16) if b.p(0.7) else 0.0
    kind = b.pick("plain", "plain", "plain", "plain", "rolled", "L", "L", "L", "curve", "slim")
    if kind == "curve":
        r, half = b.u(1.0, 2.2), b.u(0.5, 1.0)
        path = arc(r, PI / 2 - half, PI / 2 + half, 13) - (0, r)
        inner = arc(r - d * 0.5, PI / 2 - half, PI / 2 + half, 13) - (0, r)
        b.band("back", path, lift, z + back, bt)
        b.band("seat", inner, lift, z, d * 0.9)
        if b.p(0.6):
            for i in (0, -1):
                across = (path[i] - inner[i]) * 0.9
                b.band("arm", np.array([inner[i] - across, inner[i], path[i]]), lift, z + ah, at)
        return
    soft = b.p(0.65)
    inner = w - 2 * at
    ct = b.u(0.1, 0.2)

    def seat(x: float, y: float, cw: float, cd: float) -> None:
        if soft:
            _cushion(b, "cushion", x, y, z - ct, cw * 0.99, cd, ct * 1.1, b.u(6, 12))
        else:
            b.box("cushion", x, y, z - ct, cw * 0.985, cd, ct)

    slim = kind == "slim"
    if lift or slim:
        lift = max(lift, 0.12) if slim else lift
        _legs(b, w * 0.95, d * 0.92, lift + 0.02, thick=b.u(0.03, 0.08))
    b.box("base", 0, 0, lift, w, d, (0.1 if slim else z - ct - lift))
    if slim:
        b.box("base", 0, 0, z - ct - 0.06, w, d, 0.06)
    count = b.pick(1, seats, seats, seats)
    for j in range(count):
        seat((j + 0.5) / count * inner - inner / 2, -bt / 2, inner / count, d - bt)
    mark = b.mark()
    b.box("back", 0, d / 2 - bt / 2, lift, w if b.p(0.5) else inner, bt, z + back - lift - (b.u(0, 0.15) if soft else 0))
    b.move(mark, axis=0, angle=-b.u(0, 0.12), about=(0, d / 2, z))
    if soft or b.p(0.3):
        loose = b.u(0.1, 0.22)
        for j in range(count):
            mark = b.mark()
            _cushion(b, "cushion", 0, 0, 0, inner / count * 0.98, loose, back * b.u(0.9, 1.1), b.u(3, 8))
            b.move(mark, ((j + 0.5) / count * inner - inner / 2, d / 2 - bt - loose / 2, z - 0.02), 0, -b.u(0, 0.25))
    arms = (-1, 1) if b.p(0.85) else b.pick((), (1,), (-1,))
    for i in arms:
        if kind == "L" and len(arms) == 2 and i == 1 and b.p(0.5):
            continue
        x = i * (w / 2 - at / 2)
        if kind == "rolled":
            r = at * b.u(0.5, 0.75)
            b.box("arm", x, 0, lift, at * 0.8, d, z + ah - lift - r)
            b.bar("arm", (x, -d / 2, z + ah - r), (x, d / 2, z + ah - r), r, n=14)
        elif slim and b.p(0.5):
            b.tube("arm", [(x, -d * 0.45, 0), (x, -d * 0.45, z + ah), (x, d * 0.4, z + ah)], 0.03)
        elif soft and b.p(0.5):
            _cushion(b, "arm", x, 0, lift, at, d, z + ah - lift, 10)
        else:
            b.box("arm", x, 0, lift, at, d, z + ah - lift)
    if kind == "L":
        side, long = b.pick(-1, 1), b.u(0.5, 1.4)
        cw = max(inner / seats, 0.6)
        x, y = side * (w / 2 - cw / 2), -d / 2 - long / 2
        b.box("base", x, y, lift, cw, long, z - ct - lift)
        seat(x, y, cw, long)
        if b.p(0.55):  # a corner sofa, rather than a chaise
            b.box("back", side * (w / 2 - bt / 2), y, lift, bt, long, z + back * 0.95 - lift)
            if b.p(0.6):
                b.box("arm", x, y - long / 2 - at / 2, lift, cw, at, z + ah - lift)
        if b.p(0.15):
            b.box("base", -x, y, lift, cw, long, z - ct - lift)
            seat(-x, y, cw, long)
    for _ in range(b.pick(0, 0, 0, 1, 2)):
        mark = b.mark()
        _cushion(b, "pillow", 0, 0, -0.2, 0.42, 0.14, 0.4, 3)
        b.move(mark, (b.u(-0.4, 0.4) * inner, d / 2 - bt - 0.22, z + 0.2), 0, -b.u(0.1, 0.5))


@_register("table")
def _table(b: Builder) -> None:
    shape = b.pick("rect", "rect", "rect", "rect", "square", "round", "round", "oval", "soft")
    w = b.u(0.9, 2.2) if shape in ("rect", "oval", "soft") else b.u(0.6, 1.4)
    d = w * b.u(0.4, 0.8) if shape in ("rect", "oval", "soft") else w
    h, t = (b.u(0.3, 0.5) if b.p(0.3) else b.u(0.66, 0.85)), b.u(0.015, 0.07)
    if shape in ("rect", "square"):
        b.box("top", 0, 0, h - t, w, d, t)
    else:
        b.stack("top", rounded(w, d, 5 if shape == "soft" else 2, 28), [(1, h - t), (1, h)])
    under = h - t
    kind = b.pick("legs", "legs", "legs", "legs", "pedestal", "trestle", "panels", "cross", "frame")
    if shape in ("round", "oval") and b.p(0.55):
        kind = "pedestal"
    inset = (0.7 if shape in ("round", "oval") else b.u(0.82, 1.0))
    if kind == "legs":
        _legs(b, w * inset, d * inset, under, thick=b.u(0.025, 0.1))
        if b.p(0.4):
            rim = b.u(0.04, 0.11)
            for j in (-1, 1):
                b.box("apron", 0, j * (d * inset / 2 - 0.04), under - rim, w * inset - 0.06, 0.02, rim)
                b.box("apron", j * (w * inset / 2 - 0.04), 0, under - rim, 0.02, d * inset - 0.06, rim)
        if b.p(0.15):
            b.box("shelf", 0, 0, under * b.u(0.15, 0.4), w * inset * 0.95, d * inset * 0.95, 0.02)
    elif kind == "pedestal":
        count = 2 if w > 1.5 and d < w * 0.8 and b.p(0.6) else 1
        for i in range(count):
            x = 0 if count == 1 else (i - 0.5) * w * 0.55
            r, s = b.u(0.03, 0.12), d * b.u(0.22, 0.38)
            style = b.pick("disc", "disc", "star", "turned", "cone", "plate")
            if style == "turned":
                b.lathe("column", [(s * 0.6, 0), (r * 0.8, under * 0.2), (r * 1.5, under * 0.4), (r * 0.7, under * 0.6), (r * 1.4, under * 0.8), (r, under)], x)
            elif style == "cone":
                b.lathe("column", [(0, 0), (s * 0.9, 0), (r, under * b.u(0.2, 0.6)), (s * b.u(0.2, 0.8), under)], x)
            else:
                b.cylinder("column", x, 0, 0, r, under)
            if style == "disc":
                b.lathe("base", [(0, 0), (s, 0), (s, 0.02), (r, b.u(0.03, 0.1))], x)
            elif style == "plate":
                b.box("base", x, 0, 0, s * 1.6, s * 1.6, b.u(0.02, 0.08))
            elif style == "star":
                for a in np.arange(arms := b.pick(3, 4, 4)) * 2 * PI / arms + PI / 4:
                    c, k = np.cos(a) * s * 1.1, np.sin(a) * s * 1.1
                    b.tube("base", [(x, 0, under * 0.3), (x + c * 0.6, k * 0.6, under * 0.14), (x + c, k, 0.02)], 0.03)
    elif kind == "trestle":
        for i in (-1, 1):
            x = i * w * 0.36
            b.beam("leg", (x, 0, 0), (x, 0, under), b.u(0.06, 0.12))
            b.box("base", x, 0, 0, 0.07, d * 0.8, 0.05)
            b.box("base", x, 0, under - 0.05, 0.07, d * 0.8, 0.05)
        b.beam("leg", (-w * 0.36, 0, under * 0.3), (w * 0.36, 0, under * 0.3), 0.06)
    elif kind == "panels":
        st = b.u(0.02, 0.1)
        for i in (-1, 1):
            b.box("leg", i * (w * inset / 2 - st / 2), 0, 0, st, d * b.u(0.7, 1), under)
    elif kind == "cross":
        for i in (-1, 1):
            x = i * w * 0.38
            b.beam("leg", (x, -d * 0.42, 0), (x, d * 0.42, under), 0.05)
            b.beam("leg", (x, d * 0.42, 0), (x, -d * 0.42, under), 0.05)
        b.beam("leg", (-w * 0.38, 0, under / 2), (w * 0.38, 0, under / 2), 0.04)
    else:
        r = b.u(0.02, 0.05)
        for i in (-1, 1):
            x = i * w * 0.45 * inset
            for j in (-1, 1):
                b.beam("leg", (x, j * d * 0.42, 0), (x, j * d * 0.42, under), r)
                b.beam("leg", (-w * 0.45 * inset, j * d * 0.42, under - r), (w * 0.45 * inset, j * d * 0.42, under - r), r)
            b.beam("leg", (x, -d * 0.42, r / 2), (x, d * 0.42, r / 2), r)


@_register("toilet")
def _toilet(b: Builder) -> None:
    w, d, h = b.u(0.34, 0.44), b.u(0.44, 0.58), b.u(0.36, 0.46)
    outline = rounded(w, d, b.u(2, 3.2), 24)
    outline[:, 0] *= 1 - b.u(0, 0.12) * (outline[:, 1] < 0) * np.abs(outline[:, 1]) / d * 2  # an egg: narrower in front
    hung = b.p(0.12)
    back = b.u(0.05, 0.16)
    if hung:
        outer = [(0.25, 0.3, h * 0.42, 0, back), (0.8, 0.75, h * 0.55, 0, back / 2), (1, 1, h - 0.02)]
    elif b.p(0.25):  # the skirt goes straight down
        outer = [(b.u(0.7, 0.95), b.u(0.7, 0.95), 0, 0, 0.02), (0.9, 0.93, h * 0.6), (1, 1, h - 0.02)]
    else:
        waist = b.u(0.42, 0.65)
        outer = [(waist * 1.15, 0.72, 0, 0, back), (waist * 1.1, 0.7, 0.04, 0, back), (waist, 0.58, h * 0.35, 0, back),
                 (0.8, 0.78, h * 0.62, 0, back / 2), (1, 1, h * 0.88), (1, 1, h - 0.02)]  # fmt: skip
    hole = [(0.72, 0.72, h), (0.6, 0.6, h - 0.1), (0.3, 0.3, h - 0.2), (0.05, 0.05, h - 0.22)]
    b.stack("bowl", outline, [*outer, (1, 1, h), *hole])
    lid = b.pick("down", "up", "up", "none")
    s = b.u(1.0, 1.06)
    if lid != "down" or b.p(0.5):
        b.stack("seat", outline, [(s, s, h + 0.002), (s, s, h + 0.022), (0.62, 0.66, h + 0.022), (0.62, 0.66, h)], caps=False)
    if lid == "down":
        b.stack("lid", outline, [(s, s, h + 0.02), (s, s, h + 0.035), (0.8, 0.85, h + b.u(0.035, 0.055))])
    elif lid == "up":
        mark = b.mark()
        b.stack("lid", outline, [(s, s, 0), (s, s, 0.02)])
        b.move(mark, (0, -d / 2, 0))  # hinged at the back edge
        b.move(mark, (0, d / 2 - 0.02, h + 0.02), 0, -PI / 2 - b.u(-0.05, 0.2))
    tank = not hung and b.p(0.87)
    if tank:
        tw, td, th = b.u(0.34, 0.52), b.u(0.14, 0.22), b.u(0.28, 0.42)
        y = d / 2 + td / 2 + (0.04 if lid == "up" else 0) - b.u(0, 0.04)
        low = h - b.u(0.0, 0.08)
        if b.p(0.5):
            b.box("tank", 0, y, low, tw, td, th)
        else:
            b.stack("tank", rounded(tw, td, b.u(5, 12), 20), [(b.u(0.8, 0.95), low), (1, low + th)], y=y)
        b.box("tank lid", 0, y, low + th, tw * 1.05, td * 1.08, b.u(0.02, 0.04))
        b.box("bowl", 0, d / 2 - 0.02, h * b.u(0.0, 0.6) if b.p(0.4) else h * 0.7, w * 0.6, td + 0.08, h * 0.28)
        if b.p(0.6):
            if b.p(0.5):
                b.bar("lever", (-tw * 0.35, y - td / 2, low + th * 0.85), (-tw * 0.35, y - td / 2 - 0.03, low + th * 0.85), 0.012)
                b.bar("lever", (-tw * 0.35, y - td / 2 - 0.03, low + th * 0.85), (-tw * 0.15, y - td / 2 - 0.03, low + th * 0.83), 0.01)
            else:
                b.cylinder("button", 0, y, low + th + 0.02, 0.03, 0.03)
    elif hung or b.p(0.5):
        b.box("wall", 0, d / 2 + 0.03, 0 if b.p(0.5) else h * 0.4, b.u(0.36, 0.6), 0.08, h * b.u(0.8, 2.2))


# --- other furniture and fittings -------------------------------------------------------------------------------


@_register("stool")
def _stool(b: Builder) -> None:
    w, h, t = b.u(0.28, 0.42), b.u(0.4, 0.8), b.u(0.02, 0.08)
    if b.p(0.6):
        b.stack("seat", circle(w / 2, 20), [(0.95, h - t), (1, h - t / 2), (0.95, h)])
    else:
        b.box("seat", 0, 0, h - t, w, w * b.u(0.8, 1.2), t)
    kind = b.pick("legs", "legs", "three", "pedestal")
    if kind == "legs":
        _legs(b, w, w, h - t, splay=b.u(0, 0.1))
        if h > 0.6:
            b.ring("leg", 0, 0, h * 0.35, w * 0.42, 0.01, n=16, m=5)
    elif kind == "three":
        for a in np.arange(3) * 2 * PI / 3:
            c, s = np.cos(a) * w * 0.5, np.sin(a) * w * 0.5
            b.bar("leg", (c, s, 0), (c * 0.6, s * 0.6, h - t), 0.018)
    else:
        b.cylinder("column", 0, 0, 0, 0.03, h - t, n=10)
        b.lathe("base", [(0, 0), (w * 0.55, 0), (w * 0.5, 0.025), (0.03, 0.05)])


@_register("bench")
def _bench(b: Builder) -> None:
    w, d, h = b.u(1.0, 1.9), b.u(0.3, 0.5), b.u(0.38, 0.48)
    slats = b.n(2, 5)
    for j in range(slats):
        b.box("seat", 0, (j + 0.5) / slats * d - d / 2, h - 0.04, w, d / slats * 0.8, 0.04)
    back = b.p(0.65)
    for i in (-1, 1):
        x = i * w * b.u(0.38, 0.47)
        if b.p(0.5):
            b.box("leg", x, 0, 0, b.u(0.04, 0.12), d * 0.9, h - 0.04)
        else:
            b.beam("leg", (x, -d * 0.42, 0), (x, -d * 0.38, h - 0.03), 0.05)
            b.beam("leg", (x, d * 0.45, 0), (x, d * 0.38, h - 0.03), 0.05)
        if back:
            b.beam("back", (x, d * 0.45, h - 0.04), (x, d * 0.6, h + 0.42), 0.05)
            if b.p(0.5):
                b.beam("arm", (x, -d * 0.4, h + 0.2), (x, d * 0.5, h + 0.22), 0.04)
                b.beam("arm", (x, -d * 0.4, h), (x, -d * 0.4, h + 0.2), 0.04)
    if back:
        for k in np.linspace(0.12, 0.38, b.n(2, 4)):
            b.box("back", 0, d * (0.45 + k * 0.3), h + k, w, 0.025, 0.07)


@_register("bookshelf")
def _bookshelf(b: Builder) -> None:
    w, d, h = b.u(0.6, 1.5), b.u(0.25, 0.4), b.u(1.1, 2.1)
    n, t = b.n(2, 5), b.u(0.02, 0.04)
    _shell(b, w, d, 0, h, n, b.p(0.7), t)
    if b.p(0.4):
        for k in range(b.n(1, 2)):
            b.box("side", (k - 0.5) * w * 0.33, 0, 0, t, d, h)
    if b.p(0.5):  # books
        for z in np.linspace(0, h - t, n + 2)[:-1]:
            x = -w * 0.45
            while x < w * b.u(-0.1, 0.4):
                thick = b.u(0.03, 0.07)
                b.box("book", x, 0, z + t, thick * 0.9, d * 0.7, h / (n + 1) * b.u(0.5, 0.8))
                x += thick


@_register("cabinet")
def _cabinet(b: Builder) -> None:
    w, d, h, lift = b.u(0.6, 1.3), b.u(0.35, 0.55), b.u(0.8, 1.5), b.u(0.03, 0.15)
    _feet(b, w, d, lift)
    b.box("case", 0, 0, lift, w, d, h - lift)
    b.box("top", 0, 0, h, w * 1.04, d * 1.04, 0.03)
    if b.p(0.4):
        _drawers(b, 0, -d / 2, h - 0.2, w * 0.97, 0.2, 1, 2)
        _doors(b, 0, -d / 2, lift, w * 0.97, h - lift - 0.2, 2)
    else:
        _doors(b, 0, -d / 2, lift, w * 0.97, h - lift, b.pick(2, 2, 3))


@_register("wardrobe")
def _wardrobe(b: Builder) -> None:
    w, d, h, lift = b.u(0.8, 1.9), b.u(0.5, 0.65), b.u(1.7, 2.3), b.u(0.03, 0.12)
    _feet(b, w, d, lift)
    b.box("case", 0, 0, lift, w, d, h - lift)
    low = b.u(0.2, 0.4) if b.p(0.4) else 0
    if low:
        _drawers(b, 0, -d / 2, lift, w * 0.97, low, 1, b.n(1, 2))
    _doors(b, 0, -d / 2, lift + low, w * 0.97, h - lift - low, max(2, round(w / 0.55)))
    if b.p(0.4):
        b.box("crown", 0, 0, h, w * 1.05, d * 1.08, b.u(0.03, 0.1))


@_register("tv stand")
def _tv_stand(b: Builder) -> None:
    w, d, h = b.u(1.1, 2.0), b.u(0.35, 0.5), b.u(0.35, 0.6)
    third = w / 3
    _shell(b, w, d, 0.05, h - 0.05, b.n(0, 1), b.p(0.6), 0.03)
    for i in (-1, 1):
        b.box("side", i * third / 2, 0, 0.05, 0.025, d, h - 0.05)
        if b.p(0.7):
            b.box("case", i * third, 0, 0.06, third * 0.95, d * 0.98, h - 0.08)
            (_doors if b.p(0.5) else lambda *a: _drawers(*a[:-1], 2))(b, i * third, -d / 2, 0.06, third * 0.93, h - 0.1, 1)
    _feet(b, w, d, 0.05)
    if b.p(0.3):
        mark = b.mark()
        _flat_monitor(b, w * b.u(0.6, 0.9), w * 0.4, 0.04)
        b.move(mark, (0, 0, h))


@_register("shelf")
def _shelf(b: Builder) -> None:
    w, d = b.u(0.6, 1.4), b.u(0.18, 0.32)
    n = b.n(1, 3)
    for k in range(n):
        b.box("shelf", 0, 0, k * 0.35, w, d, 0.03)
        for i in (-1, 1):
            b.extrude("bracket", [(d / 2, k * 0.35 - 0.18), (d / 2, k * 0.35), (-d * 0.3, k * 0.35)], i * w * 0.35 - 0.015, i * w * 0.35 + 0.015, 0)
    if b.p(0.5):
        for x in np.arange(-w * 0.4, b.u(-0.2, 0.3) * w, 0.06):
            b.box("book", x, 0, 0.03, 0.045, d * 0.75, b.u(0.16, 0.26))


@_register("lamp")
def _table_lamp(b: Builder) -> None:
    if b.p(0.25):  # a desk lamp with a jointed arm
        b.cylinder("base", 0, 0, 0, 0.1, 0.02)
        elbow, head = (0, b.u(0.02, 0.12), b.u(0.2, 0.3)), (0, -b.u(0.08, 0.2), b.u(0.36, 0.48))
        b.bar("arm", (0, 0, 0.02), elbow, 0.01)
        b.bar("arm", elbow, head, 0.01)
        b.bar("shade", head, (head[0], head[1] - 0.1, head[2] - 0.08), 0.03, b.u(0.06, 0.09), 14)
    else:
        _lamp(b, 0, 0, 0, 0.5)


@_register("floor lamp")
def _floor_lamp(b: Builder) -> None:
    h, r = b.u(1.2, 1.7), b.u(0.12, 0.24)
    b.cylinder("base", 0, 0, 0, b.u(0.12, 0.2), 0.03)
    if b.p(0.25):
        reach = b.u(0.3, 0.7)
        path = np.stack([np.zeros(9), -reach * (1 - np.cos(t := np.linspace(0, PI * 0.6, 9))), 0.02 + h * np.sin(t)], 1)
        b.tube("pole", path, 0.014)
        end = path[-1]
        b.lathe("shade", [(0.15, end[2] - 0.12), (0.02, end[2])], 0, end[1])
    else:
        b.bar("pole", (0, 0, 0), (0, 0, h), 0.014)
        b.lathe("shade", [(r, h - 0.05), (r * b.u(0.4, 1), h + b.u(0.15, 0.3))])


@_register("chandelier")
def _chandelier(b: Builder) -> None:
    n, r = b.n(5, 8), b.u(0.3, 0.5)
    b.lathe("body", [(0, 0), (0.06, 0.06), (0.03, 0.15), (0.07, 0.3), (0.015, 0.4), (0.015, b.u(0.6, 0.9))], n=12)
    for a in np.arange(n) * 2 * PI / n:
        c, s = np.cos(a), np.sin(a)
        b.tube("arm", [(k * c, k * s, z) for k, z in ((0.04, 0.12), (r * 0.5, 0.02), (r * 0.9, 0.08), (r, 0.18))], 0.012, 5)
        b.cylinder("candle", r * c, r * s, 0.18, 0.035, 0.02, n=8)
        b.cylinder("candle", r * c, r * s, 0.2, 0.016, 0.13, n=6)


@_register("ceiling fan")
def _ceiling_fan(b: Builder) -> None:
    n, r = b.n(3, 5), b.u(0.45, 0.7)
    b.cylinder("motor", 0, 0, 0, 0.11, 0.12)
    b.bar("rod", (0, 0, 0.1), (0, 0, b.u(0.3, 0.5)), 0.018)
    b.cylinder("motor", 0, 0, 0.4, 0.06, 0.05)
    b.ball("lamp", 0, 0, -0.03, (0.1, 0.1, 0.08))
    for k in range(n):
        mark = b.mark()
        b.box("blade", r * 0.6, 0, 0.05, r * 0.9, b.u(0.11, 0.15), 0.012)
        b.move(mark, axis=2, angle=k * 2 * PI / n)


@_register("fan")
def _fan(b: Builder) -> None:
    h, r = b.u(0.35, 1.1), b.u(0.18, 0.26)
    b.cylinder("base", 0, 0, 0, r * 0.7, 0.03)
    b.bar("pole", (0, 0.06, 0), (0, 0.06, h), 0.02)
    b.ring("guard", 0, 0, h, r, 0.012, axis=1)
    b.ring("guard", 0, 0.06, h, r, 0.012, axis=1)
    for k in np.arange(10) * PI / 10:
        c, s = np.cos(k) * r, np.sin(k) * r
        b.bar("guard", (c, -0.01, h + s), (-c, -0.01, h - s), 0.004, n=4)
    n = b.n(3, 5)
    for k in range(n):
        mark = b.mark()
        b.extrude("blade", circle(r * 0.22, 10, r * 0.42) + (0, r * 0.45), 0.02, 0.035, 1)
        b.move(mark, (0, 0, h), 1, k * 2 * PI / n)
    b.ball("motor", 0, 0.06, h, (r * 0.3, 0.09, r * 0.3))


@_register("sink")
def _sink(b: Builder) -> None:
    w, d, h = b.u(0.45, 0.75), b.u(0.38, 0.52), b.u(0.12, 0.22)
    outer = rounded(w, d, b.pick(2.2, 3, 16), 28)
    inner = rounded(w * 0.82, d * 0.7, b.pick(2.2, 3, 8), 28)
    z = b.u(0.55, 0.8)
    kind = b.pick("pedestal", "cabinet", "wall")
    levels = [(outer, 0.5, z), (outer, 0.95, z + h * 0.7), (outer, 1, z + h), (inner, 1, z + h), (inner, 0.8, z + h * 0.4), (inner, 0.3, z + h * 0.2)]
    rings = np.zeros((len(levels), 28, 3))
    for ring, (outline, s, k) in zip(rings, levels, strict=True):
        ring[:, :2], ring[:, 2] = outline * s, k
    b.loft("basin", rings)
    if kind == "pedestal":
        b.lathe("pedestal", [(0.15, 0), (0.09, 0.1), (0.08, z * 0.6), (0.14, z + 0.05)], 0, d * 0.1)
    elif kind == "cabinet":
        b.box("cabinet", 0, 0, 0, w * 1.05, d * 1.05, z + h * 0.5)
        _doors(b, 0, -d * 0.525, 0.05, w, z - 0.05, 2)
    y = d * 0.42
    b.tube("tap", [(0, y, z + h), (0, y, z + h + 0.16), (0, y - 0.05, z + h + 0.2), (0, y - 0.14, z + h + 0.15)], 0.016)
    for i in (-1, 1):
        b.cylinder("tap", i * 0.09, y, z + h, 0.025, 0.05, n=8)


@_register("stove")
def _stove(b: Builder) -> None:
    w, d, h = b.u(0.55, 0.8), b.u(0.55, 0.65), b.u(0.8, 0.95)
    b.box("case", 0, 0, 0, w, d, h)
    for i in (-1, 1):
        for j in (-1, 1):
            b.ring("burner", i * w * 0.24, j * d * 0.22, h + 0.01, b.u(0.06, 0.1), 0.012, n=14, m=5)
    b.box("door", 0, -d / 2 - 0.01, h * 0.2, w * 0.88, 0.03, h * 0.5)
    b.beam("handle", (-w * 0.35, -d / 2 - 0.06, h * 0.73), (w * 0.35, -d / 2 - 0.06, h * 0.73), 0.025)
    for k in np.linspace(-0.38, 0.38, b.n(4, 6)):
        b.bar("knob", (k * w, -d / 2, h * 0.86), (k * w, -d / 2 - 0.04, h * 0.86), 0.025)
    if b.p(0.6):
        b.box("back", 0, d / 2 - 0.03, h, w, 0.05, b.u(0.08, 0.2))


@_register("washing machine")
def _washing_machine(b: Builder) -> None:
    w, d, h = b.u(0.55, 0.68), b.u(0.5, 0.65), b.u(0.75, 0.95)
    b.box("case", 0, 0, 0, w, d, h)
    b.ring("door", 0, -d / 2, h * 0.45, w * b.u(0.28, 0.34), 0.03, axis=1)
    b.bar("glass", (0, -d / 2, h * 0.45), (0, -d / 2 - 0.03, h * 0.45), w * 0.26, w * 0.2, 16)
    b.box("panel", 0, -d / 2 - 0.01, h * 0.86, w * 0.95, 0.02, h * 0.12)
    b.bar("knob", (w * 0.2, -d / 2, h * 0.92), (w * 0.2, -d / 2 - 0.05, h * 0.92), 0.035)
    b.box("drawer", -w * 0.3, -d / 2 - 0.015, h * 0.88, w * 0.3, 0.02, h * 0.08)


@_register("microwave")
def _microwave(b: Builder) -> None:
    w, d, h = b.u(0.45, 0.6), b.u(0.32, 0.42), b.u(0.26, 0.34)
    b.box("case", 0, 0, 0, w, d, h)
    b.box("door", -w * 0.12, -d / 2 - 0.01, h * 0.08, w * 0.7, 0.025, h * 0.84)
    b.box("glass", -w * 0.14, -d / 2 - 0.02, h * 0.22, w * 0.5, 0.025, h * 0.56)
    b.beam("handle", (w * 0.2, -d / 2 - 0.05, h * 0.15), (w * 0.2, -d / 2 - 0.05, h * 0.85), 0.02)
    for j in range(3):
        for k in range(4):
            b.box("button", w * (0.3 + j * 0.06), -d / 2 - 0.005, h * (0.15 + k * 0.13), w * 0.04, 0.02, h * 0.08)
    b.box("screen", w * 0.36, -d / 2 - 0.005, h * 0.74, w * 0.2, 0.02, h * 0.14)


@_register("television")
def _television(b: Builder) -> None:
    w = b.u(0.6, 1.2)
    if b.p(0.5):
        h = w * b.u(0.7, 0.85)
        d = w * b.u(0.4, 0.65)
        b.box("case", 0, 0, 0, w, d, h)
        b.stack("screen", rounded(w * 0.7, h * 0.78, 7, 20), [(1, -0.01), (0.9, 0.02), (0, 0.03)], caps=False)
        b.move(b.mark() - 1, (-w * 0.1, -d / 2, h / 2), 0, PI / 2)
        for k in (0.35, 0.6, 0.8):
            b.bar("knob", (w * 0.38, -d / 2, h * k), (w * 0.38, -d / 2 - 0.04, h * k), w * 0.04)
        for i in (-1, 1) if b.p(0.8) else ():
            b.bar("antenna", (0, 0, h), (i * w * b.u(0.2, 0.5), 0, h + w * b.u(0.3, 0.6)), 0.01)
        if b.p(0.5):
            mark = b.mark()
            _legs(b, w * 0.8, d * 0.8, w * 0.2)
            b.move(mark, (0, 0, -w * 0.2))
    else:
        _flat_monitor(b, w * 1.2, w * 0.7, 0.05)


@_register("radiator")
def _radiator(b: Builder) -> None:
    w, h, n = b.u(0.6, 1.2), b.u(0.45, 0.75), b.n(7, 14)
    for x in np.linspace(-w / 2, w / 2, n):
        _cushion(b, "fin", x, 0, 0.08, w / n * 0.8, b.u(0.09, 0.12), h, 4)
    for z in (0.12, h):
        b.bar("pipe", (-w * 0.52, 0, z), (w * 0.52, 0, z), 0.025)


@_register("door")
def _door(b: Builder) -> None:
    w, h, t = b.u(0.75, 1.05), b.u(1.95, 2.2), 0.05
    b.box("door", 0, 0, 0, w, t, h)
    for i in (-1, 1):
        b.box("frame", i * (w / 2 + 0.05), 0, 0, 0.1, 0.12, h + 0.1)
    b.box("frame", 0, 0, h, w + 0.2, 0.12, 0.1)
    rows, columns = b.n(1, 4), b.n(1, 2)
    for r in range(rows):
        for c in range(columns):
            b.box("panel", ((c + 0.5) / columns - 0.5) * w * 0.85, -t / 2, 0.15 + r / rows * h * 0.88, w * 0.7 / columns, 0.03, h * 0.72 / rows)
    for j in (-1, 1):
        b.ball("knob", w * 0.4, j * 0.07, h * 0.48, 0.04)


@_register("window")
def _window(b: Builder) -> None:
    w, h, t = b.u(0.7, 1.5), b.u(0.8, 1.5), b.u(0.05, 0.1)
    for i in (-1, 1):
        b.box("frame", i * w / 2, 0, 0, t, t, h + t)
    for z in (0, h):
        b.box("frame", 0, 0, z, w + t, t, t)
    for k in np.linspace(-w / 2, w / 2, b.n(2, 4) + 1)[1:-1]:
        b.box("frame", k, 0, 0, t * 0.6, t * 0.7, h)
    for k in np.linspace(0, h, b.n(2, 3) + 1)[1:-1]:
        b.box("frame", 0, 0, k, w, t * 0.7, t * 0.6)
    if b.p(0.6):
        b.box("sill", 0, -t, -t * 0.5, w * 1.12, t * 3, t * 0.6)
    if b.p(0.5):
        b.box("glass", 0, 0, 0, w, 0.01, h)


@_register("curtain")
def _curtain(b: Builder) -> None:
    w, h, waves = b.u(1.0, 1.8), b.u(1.2, 2.2), b.n(3, 8)
    for i in (-1, 1):
        x = np.linspace(0.04 if b.p(0.4) else 0.3, 1, 4 * waves + 1)
        b.band("cloth", np.stack([i * x * w / 2, 0.05 * np.sin(np.arange(len(x)) * PI / 2)], 1), 0, h, 0.015)
    b.bar("rod", (-w * 0.58, 0, h + 0.03), (w * 0.58, 0, h + 0.03), 0.02)
    for i in (-1, 1):
        b.ball("rod", i * w * 0.58, 0, h + 0.03, 0.045)


@_register("stairs")
def _stairs(b: Builder) -> None:
    n, w, rise, run = b.n(3, 10), b.u(0.7, 1.5), b.u(0.15, 0.2), b.u(0.22, 0.32)
    solid = b.p(0.6)
    for k in range(n):
        if solid:
            b.box("step", 0, k * run, 0, w, run, (k + 1) * rise)
        else:
            b.box("step", 0, k * run, (k + 1) * rise - 0.05, w, run * 1.05, 0.05)
    if not solid:
        for i in (-1, 1):
            b.beam("side", (i * w / 2, -run * 0.5, 0.05), (i * w / 2, (n - 0.5) * run, n * rise), 0.08)
    if b.p(0.45):
        for i in (-1, 1) if b.p(0.5) else (1,):
            x = i * w * 0.48
            b.beam("rail", (x, 0, rise + 0.8), (x, (n - 1) * run, n * rise + 0.8), 0.05)
            for k in range(n):
                b.beam("rail", (x, k * run, (k + 1) * rise), (x, k * run, (k + 1) * rise + 0.8), 0.025)


@_register("ladder")
def _ladder(b: Builder) -> None:
    w, h, n = b.u(0.35, 0.55), b.u(1.6, 3.0), b.n(5, 11)
    lean = b.u(0, 0.35) * h
    taper = b.u(0.7, 1.0)
    for i in (-1, 1):
        b.beam("rail", (i * w / 2, 0, 0), (i * w / 2 * taper, lean, h), b.u(0.03, 0.06))
    for k in np.linspace(0.08, 0.95, n):
        s = 1 + (taper - 1) * k
        b.bar("rung", (-w / 2 * s, lean * k, h * k), (w / 2 * s, lean * k, h * k), 0.02)
    if lean > 0.15 * h and b.p(0.6):
        for i in (-1, 1):
            b.beam("rail", (i * w / 2, 2 * lean, 0), (i * w / 2 * taper, lean, h), 0.035)


@_register("fence")
def _fence(b: Builder) -> None:
    w, h, n = b.u(1.6, 2.6), b.u(0.7, 1.1), b.n(6, 14)
    wide = w / n * b.u(0.3, 0.85)
    peak = b.u(0, 0.14)
    for x in np.linspace(-w / 2, w / 2, n):
        b.extrude("picket", [(x - wide / 2, 0), (x + wide / 2, 0), (x + wide / 2, h - peak), (x, h), (x - wide / 2, h - peak)], -0.015, 0.015, 1)
    for k in (0.25, 0.75):
        b.box("rail", 0, 0.03, h * k, w * 1.03, 0.03, 0.08)


@_register("fireplace")
def _fireplace(b: Builder) -> None:
    w, d, h = b.u(1.1, 1.6), b.u(0.35, 0.5), b.u(0.9, 1.2)
    leg = w * b.u(0.18, 0.26)
    for i in (-1, 1):
        b.box("pillar", i * (w - leg) / 2, 0, 0, leg, d, h)
    b.box("lintel", 0, 0, h * 0.65, w, d, h * 0.35)
    b.box("mantel", 0, -0.03, h, w * 1.12, d * 1.2, 0.07)
    b.box("back", 0, d / 2, 0, w, 0.03, h)
    b.box("hearth", 0, -d * 0.4, 0, w * 1.1, d * 1.4, 0.05)
    if b.p(0.6):
        for k in range(3):
            b.bar("log", (-0.25, -0.05 + k * 0.06, 0.1 + 0.05 * (k == 1)), (0.25, 0.02, 0.1 + 0.06 * (k == 1)), 0.045)
    if b.p(0.4):
        b.box("chimney", 0, 0.05, h, w * 0.6, d * 0.8, b.u(0.4, 1))


# --- vessels and kitchen ----------------------------------------------------------------------------------------


def _bowl_of(b: Builder, part: str, outer: list[tuple[float, float]], wall: float, n: int = 22) -> None:
    """A vessel: the outer profile upwards, and the same a wall's thickness inside downwards."""
    inner = [(max(r - wall, 0.0), max(z, wall)) for r, z in outer[::-1]]
    b.lathe(part, [(0, outer[0][1]), *outer, *inner, (0, inner[-1][1])], n=n)


def _ear(b: Builder, x: float, low: float, high: float, out: float, r: float, part: str = "handle") -> None:
    """A handle that leaves a wall at x, from the height low to high."""
    a = np.linspace(-PI / 2, PI / 2, 8)
    path = np.stack([x + out * np.cos(a), 0 * a, (low + high) / 2 + (high - low) / 2 * np.sin(a)], 1)
    b.tube(part, path, r, 6)


@_register("mug")
def _mug(b: Builder) -> None:
    r, h = b.u(0.35, 0.48), b.u(0.8, 1.15)
    bulge = b.u(-0.05, 0.08)
    _bowl_of(b, "body", [(r * 0.95, 0), (r + bulge, h * 0.4), (r + bulge, h * 0.6), (r, h)], 0.05)
    _ear(b, r * 0.95, h * b.u(0.15, 0.3), h * b.u(0.7, 0.9), b.u(0.2, 0.35), b.u(0.03, 0.06))


@_register("cup")
def _cup(b: Builder) -> None:
    r, h = b.u(0.4, 0.55), b.u(0.45, 0.75)
    _bowl_of(b, "body", [(r * 0.4, 0), (r * 0.45, h * 0.05), (r * 0.8, h * 0.4), (r * b.u(0.92, 1), h * 0.7), (r, h)], 0.03)
    _ear(b, r * 0.85, h * 0.35, h * 0.85, b.u(0.18, 0.28), 0.03)
    if b.p(0.6):
        b.lathe("saucer", [(0, -0.02), (r * 0.7, -0.02), (r * 1.5, 0.1), (r * 1.5, 0.12), (r * 0.7, 0), (0, 0)], n=24)


def _bottle_profile(b: Builder, r: float, h: float) -> list[tuple[float, float]]:
    neck, shoulder, s = r * b.u(0.25, 0.45), h * b.u(0.45, 0.7), b.u(0.05, 0.2) * h
    return [(0, 0), (r, 0), (r * b.u(0.9, 1), shoulder * 0.5), (r, shoulder), (r * 0.75, shoulder + s * 0.6), (neck, shoulder + s * 1.2),
            (neck, h * 0.93), (neck * 1.2, h * 0.94), (neck * 1.2, h), (0, h)]  # fmt: skip


@_register("bottle")
def _bottle(b: Builder) -> None:
    r, h = b.u(0.14, 0.24), 1.0
    b.lathe("body", _bottle_profile(b, r, h))
    if b.p(0.5):
        b.cylinder("cap", 0, 0, 0.98, r * 0.5, 0.07)
    if b.p(0.4):
        b.cylinder("label", 0, 0, 0.12, r * 1.02, 0.25)


@_register("wine bottle")
def _wine_bottle(b: Builder) -> None:
    r = b.u(0.12, 0.16)
    n, s = b.u(0.035, 0.05), b.u(0.55, 0.66)
    b.lathe("body", [(0, 0), (r, 0), (r, s), (r * 0.8, s + 0.06), (n, s + 0.13), (n, 0.95), (n * 1.25, 0.955), (n * 1.25, 1), (0, 1)])
    b.cylinder("label", 0, 0, 0.15, r * 1.02, 0.28)


@_register("wine glass")
def _wine_glass(b: Builder) -> None:
    r, h, s = b.u(0.2, 0.32), 1.0, b.u(0.35, 0.55)
    rim = r * b.u(0.7, 1.05)
    b.lathe("glass", [(0, 0), (b.u(0.22, 0.3), 0), (0.03, 0.04), (0.022, s * 0.9), (r * 0.5, s + 0.03), (r, s + 0.2), (rim, h), (rim - 0.02, h), (r - 0.02, s + 0.2), (0, s + 0.04)])


@_register("bowl")
def _bowl(b: Builder) -> None:
    r, h = 0.5, b.u(0.22, 0.5)
    a = np.linspace(0.25, PI / 2, 6)
    power = b.u(0.7, 1.2)
    _bowl_of(b, "body", [(r * b.u(0.3, 0.45), 0), *((r * np.sin(t) ** power, h * (1 - np.cos(t)) + 0.02) for t in a)], 0.03)


@_register("plate")
def _plate(b: Builder) -> None:
    r, h = 0.5, b.u(0.05, 0.1)
    flat = b.u(0.55, 0.75) * r
    b.lathe("plate", [(0, 0), (flat * 0.9, 0), (r, h), (r, h + 0.02), (flat, 0.025), (0, 0.025)], n=28)


@_register("vase")
def _vase(b: Builder) -> None:
    r, h = b.u(0.18, 0.36), 1.0
    neck = b.u(0.3, 0.8) * r
    levels = [(r * b.u(0.4, 0.9), 0), (r * b.u(0.7, 1), h * 0.2), (r, h * b.u(0.3, 0.5)), (r * 0.85, h * 0.62), (neck, h * 0.82), (neck * b.u(1, 1.6), h)]
    _bowl_of(b, "body", levels, 0.02)
    if b.p(0.15):
        for i in (-1, 1):
            _ear(b, i * neck, h * 0.55, h * 0.9, i * 0.18, 0.025)


@_register("jar")
def _jar(b: Builder) -> None:
    r, h = b.u(0.3, 0.42), b.u(0.7, 1.0)
    b.lathe("body", [(0, 0), (r * 0.95, 0), (r, h * 0.08), (r, h * 0.75), (r * 0.8, h * 0.86), (r * 0.8, h)])
    b.cylinder("lid", 0, 0, h * 0.9, r * 0.88, h * 0.14)
    if b.p(0.3):
        b.ball("knob", 0, 0, h * 1.08, 0.06)


@_register("can")
def _can(b: Builder) -> None:
    r, h = b.u(0.26, 0.34), b.u(0.8, 1.05)
    b.lathe("can", [(0, 0.03), (r * 0.8, 0.02), (r * 0.85, 0), (r, 0.05), (r, h - 0.08), (r * 0.85, h), (r * 0.82, h - 0.03), (0, h - 0.03)])
    b.ball("tab", 0, -r * 0.3, h - 0.02, (0.06, 0.1, 0.015))


@_register("bucket")
def _bucket(b: Builder) -> None:
    r, h = b.u(0.34, 0.45), b.u(0.6, 0.9)
    _bowl_of(b, "body", [(r * b.u(0.65, 0.85), 0), (r, h), (r * 1.05, h), (r * 1.05, h + 0.03)], 0.02)
    a = np.linspace(0, PI, 12)
    up = b.p(0.6)
    b.tube("handle", np.stack([r * 1.05 * np.cos(a), (0 if up else -1) * r * np.sin(a), h * 0.95 + (r * 1.1 if up else 0.05) * np.sin(a)], 1), 0.015, 5)


@_register("trash can")
def _trash_can(b: Builder) -> None:
    r, h = b.u(0.25, 0.36), b.u(0.7, 1.0)
    if b.p(0.6):
        b.lathe("body", [(0, 0), (r * b.u(0.75, 1), 0), (r, h), (0, h)], n=18)
        b.lathe("lid", [(r * 1.05, h), (r * 1.05, h + 0.04), (r * 0.6, h + 0.1), (0, h + 0.12)], n=18)
        b.tube("handle", [(-0.08, 0, h + 0.1), (-0.08, 0, h + 0.18), (0.08, 0, h + 0.18), (0.08, 0, h + 0.1)], 0.015, 5)
        for a in np.arange(9) * 2 * PI / 9 if b.p(0.5) else ():
            b.beam("rib", (np.cos(a) * r * 0.95, np.sin(a) * r * 0.95, 0.05), (np.cos(a) * r, np.sin(a) * r, h * 0.95), 0.02)
    else:  # on wheels
        b.stack("body", rounded(0.55, 0.6, 9, 16), [(0.8, 0.05), (1, h)])
        b.extrude("lid", [(-0.32, h), (0.32, h), (0.32, h + 0.08), (0.2, h + 0.12), (-0.32, h + 0.04)], -0.3, 0.3, 0)
        for i in (-1, 1):
            b.bar("wheel", (i * 0.2, 0.26, 0.1), (i * 0.27, 0.26, 0.1), 0.1, n=12)


@_register("barrel")
def _barrel(b: Builder) -> None:
    r, h = b.u(0.3, 0.4), 1.0
    z = np.linspace(0, h, 9)
    bulge = b.u(0.04, 0.12)
    b.lathe("staves", [(0, 0.03), (r * 0.9, 0.03), *((r + bulge * np.sin(k / h * PI), k) for k in z), (r * 0.9, h - 0.03), (0, h - 0.03)])
    for k in (0.1, 0.32, 0.68, 0.9):
        b.lathe("hoop", [(r + bulge * np.sin(k * PI) + 0.012, k - 0.025), (r + bulge * np.sin(k * PI) + 0.012, k + 0.025)])
    if b.p(0.3):
        b.move(0, axis=1, angle=PI / 2)


@_register("teapot")
def _teapot(b: Builder) -> None:
    r, h = 0.45, b.u(0.5, 0.75)
    b.lathe("body", [(0, 0), (r * 0.6, 0), (r, h * 0.4), (r * 0.95, h * 0.6), (r * 0.5, h), (r * 0.45, h * 1.05), (0, h * 1.12)])
    b.ball("knob", 0, 0, h * 1.18, 0.06)
    b.tube("spout", [(-r * 0.8, 0, h * 0.35), (-r * 1.25, 0, h * 0.5), (-r * 1.4, 0, h * 0.8), (-r * 1.6, 0, h * 0.95)], (0.12, 0.09, 0.06, 0.05))
    _ear(b, r * 0.85, h * 0.25, h * 0.85, b.u(0.25, 0.4), 0.045)


@_register("ewer pitcher")
def _pitcher(b: Builder) -> None:
    r, h = b.u(0.28, 0.36), 1.0
    n = 22
    outer = [(r * 0.7, 0), (r, h * 0.3), (r * 0.85, h * 0.6), (r * 0.6, h * 0.82), (r * 0.8, h)]
    rings = np.stack([np.c_[circle(q, n), np.full(n, z)] for q, z in outer])
    lip = np.clip(-np.cos(np.arange(n) * 2 * PI / n) - 0.6, 0, 1)
    rings[-1, :, 0] -= lip * 0.5
    rings[-1, :, 2] += lip * 0.25
    b.loft("body", rings, caps=False)
    b.loft("body", rings[0:1].repeat(2, 0))
    _ear(b, r * 0.65, h * 0.35, h * 0.95, b.u(0.2, 0.32), 0.04)


@_register("frying pan")
def _frying_pan(b: Builder) -> None:
    r, h = 0.4, b.u(0.1, 0.18)
    _bowl_of(b, "pan", [(r * 0.8, 0), (r, h)], 0.03)
    b.bar("handle", (r * 0.95, 0, h * 0.8), (r + b.u(0.5, 0.7), 0, h * b.u(0.9, 1.8)), 0.035, 0.045)


@_register("pan")
def _pan(b: Builder) -> None:
    r, h = 0.4, b.u(0.28, 0.5)
    _bowl_of(b, "pan", [(r * 0.97, 0), (r, h), (r * 1.05, h), (r * 1.05, h + 0.02)], 0.03)
    if b.p(0.5):
        b.bar("handle", (r * 0.95, 0, h * 0.85), (r + b.u(0.4, 0.6), 0, h * b.u(0.85, 1.1)), 0.035, 0.04)
    else:
        for i in (-1, 1):
            b.tube("handle", [(i * r * 0.97, -0.1, h * 0.8), (i * r * 1.25, -0.08, h * 0.82), (i * r * 1.25, 0.08, h * 0.82), (i * r * 0.97, 0.1, h * 0.8)], 0.025)
    if b.p(0.4):
        b.lathe("lid", [(r * 1.03, h + 0.02), (r * 0.6, h + 0.1), (0, h + 0.12)])
        b.ball("knob", 0, 0, h + 0.16, 0.05)


@_register("spoon")
def _spoon(b: Builder) -> None:
    b.ball("bowl", -0.62, 0, 0.03, (b.u(0.17, 0.22), b.u(0.11, 0.15), 0.045))
    b.stack("handle", rounded(1, 1, 3, 8), [(0.02, 0.04, 0), (0.02, 0.05, 0.3), (0.02, b.u(0.06, 0.12), 0.95), (0.015, 0.03, 1.02)])
    b.move(b.mark() - 1, (-0.5, 0, 0.04), 1, PI / 2)
    b.move(0, axis=1, angle=PI / 2)


@_register("fork")
def _fork(b: Builder) -> None:
    n = b.n(3, 4)
    b.stack("handle", rounded(1, 1, 3, 8), [(0.05, 0.02, 0), (0.1, 0.02, 0.1), (0.05, 0.02, 0.6), (0.14, 0.02, 0.72), (0.2, 0.02, 0.82)])
    for x in np.linspace(-0.085, 0.085, n):
        b.beam("prong", (x, 0, 0.8), (x, -0.01, 1.15), 0.028)


@_register("knife")
def _knife(b: Builder) -> None:
    long, wide = b.u(0.6, 0.9), b.u(0.06, 0.11)
    b.extrude("blade", [(-wide, 0), (wide * 0.6, 0), (wide * 0.6, long * 0.7), (0, long * 0.95), (-wide, long)], -0.008, 0.008, 1)
    b.stack("handle", rounded(0.1, 0.05, 5, 10), [(1, -0.45), (1.2, -0.4), (0.9, -0.2), (1, 0.02)], x=-0.02)


@_register("plant pot")
def _plant_pot(b: Builder) -> None:
    r, h = b.u(0.25, 0.4), b.u(0.35, 0.6)
    if b.p(0.75):
        _bowl_of(b, "pot", [(r * b.u(0.55, 0.8), 0), (r * 0.95, h * 0.8), (r * 1.08, h * 0.8), (r * 1.08, h)], 0.03)
    else:
        b.box("pot", 0, 0, 0, r * 1.8, r * 1.8, h)
    if b.p(0.75):
        _leaves(b, h * 0.9)


def _leaves(b: Builder, z: float) -> None:
    """A plant that starts at the height z: blades, stems with leaves, or a bush."""
    kind = b.pick("blades", "bush", "stems")
    if kind == "bush":
        for _ in range(b.n(3, 7)):
            b.ball("leaf", b.u(-0.2, 0.2), b.u(-0.2, 0.2), z + b.u(0.1, 0.45), b.u(0.12, 0.25), n=10)
        return
    for a in np.arange(n := b.n(5, 11)) * 2 * PI / n:
        tall, out = b.u(0.3, 0.9), b.u(0.1, 0.45)
        c, s = np.cos(a) * out, np.sin(a) * out
        path = [(c * 0.1, s * 0.1, z - 0.05), (c * 0.4, s * 0.4, z + tall * 0.6), (c, s, z + tall * b.u(0.75, 1))]
        if kind == "blades":
            b.tube("leaf", path, (0.02, 0.05, 0.004), 4)
        else:
            b.tube("stem", path, 0.008, 4)
            b.ball("leaf", *path[-1], (b.u(0.06, 0.12), b.u(0.06, 0.12), 0.02), n=8)


@_register("house plant")
def _house_plant(b: Builder) -> None:
    r, h = b.u(0.16, 0.24), b.u(0.2, 0.35)
    b.lathe("pot", [(0, 0), (r * 0.7, 0), (r, h), (0, h * 0.9)], n=16)
    _leaves(b, h * 0.9)


# --- things on a desk -------------------------------------------------------------------------------------------


@_register("laptop")
def _laptop(b: Builder) -> None:
    w, d, t = b.u(0.3, 0.4), b.u(0.2, 0.28), b.u(0.01, 0.025)
    b.box("base", 0, 0, 0, w, d, t)
    for r in range(4):
        for c in range(9):
            b.box("key", (c - 4) * w * 0.095, d * (0.32 - r * 0.12), t, w * 0.08, d * 0.09, 0.004)
    b.box("touchpad", 0, -d * 0.3, t, w * 0.28, d * 0.24, 0.002)
    mark = b.mark()
    b.box("lid", 0, 0, 0, w, t * 0.6, d)
    b.box("screen", 0, -t * 0.35, d * 0.06, w * 0.92, 0.002, d * 0.88)
    b.move(mark, (0, d / 2, t), 0, -b.u(-0.05, 0.6))


@_register("keyboard")
def _keyboard(b: Builder) -> None:
    w, d, t = 1.0, b.u(0.3, 0.42), 0.035
    b.box("case", 0, 0, 0, w, d, t)
    rows, columns = b.n(4, 6), b.n(11, 15)
    for r in range(rows):
        y = d * 0.42 - (r + 0.5) / rows * d * 0.84
        if r == rows - 1:
            b.box("key", -0.05, y, t, w * 0.4, d * 0.84 / rows * 0.8, 0.025)
            for c in (-0.43, -0.34, 0.24, 0.33, 0.42):
                b.box("key", c * w, y, t, 0.06, d * 0.84 / rows * 0.8, 0.025)
            continue
        for c in range(columns):
            b.box("key", ((c + 0.5) / columns - 0.5) * w * 0.95, y, t, w / columns * 0.78, d * 0.84 / rows * 0.8, 0.025)


@_register("telephone")
def _telephone(b: Builder) -> None:
    w, d = b.u(0.4, 0.55), b.u(0.4, 0.55)
    b.extrude("body", [(-d / 2, 0), (d / 2, 0), (d / 2, 0.22), (d * 0.2, 0.22), (-d / 2, 0.08)], -w / 2, w / 2, 0)
    b.tube("receiver", [(-0.36, 0.1, 0.24), (-0.28, 0.1, 0.33), (0, 0.1, 0.37), (0.28, 0.1, 0.33), (0.36, 0.1, 0.24)], (0.07, 0.06, 0.045, 0.06, 0.07), 8)
    if b.p(0.5):
        b.ring("dial", 0, -d * 0.2, 0.2, 0.12, 0.03)
    else:
        for i in range(3):
            for j in range(4):
                b.box("button", (i - 1) * 0.09, -d * 0.38 + j * 0.085, 0.1 + j * 0.02, 0.06, 0.05, 0.04)


@_register("cell phone")
def _cell_phone(b: Builder) -> None:
    w, h, t = b.u(0.4, 0.52), 1.0, b.u(0.06, 0.14)
    b.extrude("case", rounded(w, h, 8, 20), -t / 2, t / 2, 1)
    if b.p(0.5):
        b.box("screen", 0, -t / 2, -h * 0.42, w * 0.88, 0.02, h * 0.84)
    else:
        b.box("screen", 0, -t / 2, h * 0.02, w * 0.8, 0.02, h * 0.38)
        for r in range(4):
            for c in range(3):
                b.box("key", (c - 1) * w * 0.26, -t / 2, -h * (0.1 + 0.09 * r), w * 0.2, 0.03, h * 0.06)
        if b.p(0.4):
            b.bar("antenna", (w * 0.35, 0, h * 0.45), (w * 0.35, 0, h * 0.65), 0.03)


@_register("camera")
def _camera(b: Builder) -> None:
    w, h, d = 0.9, b.u(0.5, 0.62), b.u(0.25, 0.35)
    b.box("body", 0, 0, 0, w, d, h)
    r = b.u(0.18, 0.26)
    b.bar("lens", (0, -d / 2, h * 0.48), (0, -d / 2 - b.u(0.12, 0.4), h * 0.48), r, r * b.u(0.8, 1.05), 18)
    b.box("viewfinder", 0, 0, h, w * 0.3, d * 0.8, b.u(0.08, 0.16))
    b.cylinder("button", w * 0.35, 0, h, 0.06, 0.05)
    if b.p(0.5):
        b.cylinder("dial", -w * 0.33, 0, h, 0.1, 0.06)


@_register("radio")
def _radio(b: Builder) -> None:
    w, h, d = 1.0, b.u(0.5, 0.65), b.u(0.2, 0.3)
    b.box("case", 0, 0, 0, w, d, h)
    for i in (-1, 1) if b.p(0.5) else (-1,):
        b.bar("speaker", (i * w * 0.28, -d / 2, h * 0.42), (i * w * 0.28, -d / 2 - 0.03, h * 0.42), h * 0.3, h * 0.26, 18)
    b.box("dial", w * 0.1, -d / 2 - 0.01, h * 0.75, w * 0.4, 0.02, h * 0.15)
    for k in (0.05, 0.2):
        b.bar("knob", (w * k, -d / 2, h * 0.25), (w * k, -d / 2 - 0.05, h * 0.25), 0.05)
    b.bar("antenna", (w * 0.4, d * 0.3, h), (w * b.u(0.1, 0.6), d * 0.3, h + b.u(0.3, 0.8)), 0.012)
    if b.p(0.5):
        b.tube("handle", [(-w * 0.35, 0, h), (-w * 0.35, 0, h + 0.14), (w * 0.35, 0, h + 0.14), (w * 0.35, 0, h)], 0.025)


@_register("speaker")
def _speaker(b: Builder) -> None:
    w, h, d = b.u(0.4, 0.55), 1.0, b.u(0.35, 0.5)
    b.box("case", 0, 0, 0, w, d, h)
    for z, r in ((0.3, w * 0.38), (0.72, w * b.u(0.15, 0.3))):
        b.ring("cone", 0, -d / 2, z, r, 0.025, axis=1)
        b.bar("cone", (0, -d / 2 - 0.005, z), (0, -d / 2 - 0.03, z), r * 0.6, r * 0.2, 14)


@_register("book")
def _book(b: Builder) -> None:
    w, h, t = b.u(0.65, 0.8), 1.0, b.u(0.08, 0.25)
    if b.p(0.55):
        for z in (0, t):
            b.box("cover", 0, 0, z, w, h, 0.025)
        b.box("cover", -w / 2, 0, 0, 0.025, h, t + 0.025)
        b.box("pages", -0.02, 0, 0.02, w * 0.92, h * 0.95, t - 0.02)
        b.move(0, axis=b.pick(0, 2), angle=b.u(0, 1.4))
    else:  # open
        x = np.linspace(0, 1, 7)
        curve = np.stack([x * w, t * 0.8 * np.sqrt(np.clip(x, 0, 1)) * (1.15 - x) + 0.05], 1)
        for i in (-1, 1):
            outline = np.concatenate([[(0, 0.0), (w, 0.0)], curve[::-1]]) * (i, 1)
            b.extrude("pages", outline[::i], -h / 2, h / 2, 1)
            b.box("cover", i * w / 2, 0, -0.03, w * 1.04, h * 1.05, 0.02)


@_register("pencil")
def _pencil(b: Builder) -> None:
    r, h = b.u(0.035, 0.06), 1.0
    b.lathe("body", [(0, 0), (r, 0), (r, h * 0.82)], n=6)
    b.lathe("tip", [(r, h * 0.82), (r * 0.3, h * 0.95), (0, h)], n=6)
    b.cylinder("eraser", 0, 0, -0.1, r * 1.05, 0.12)
    b.move(0, axis=1, angle=b.u(-1.5, 1.5))


@_register("clock")
def _clock(b: Builder) -> None:
    r = 0.5
    if b.p(0.7):
        b.bar("face", (0, 0, 0), (0, 0.08, 0), r, n=28)
    else:
        b.box("face", 0, 0.04, -r, 2 * r, 0.08, 2 * r)
    b.ring("rim", 0, 0, 0, r, b.u(0.02, 0.06), axis=1, n=28)
    for k in range(12):
        a = k * PI / 6
        b.bar("mark", (np.cos(a) * 0.42, -0.01, np.sin(a) * 0.42), (np.cos(a) * 0.36, -0.01, np.sin(a) * 0.36), 0.018, n=5)
    for long, a in ((0.24, b.u(0, 6.28)), (0.36, b.u(0, 6.28))):
        b.bar("hand", (0, -0.02, 0), (np.cos(a) * long, -0.02, np.sin(a) * long), 0.02, n=5)


@_register("alarm clock")
def _alarm_clock(b: Builder) -> None:
    _clock(b)
    for i in (-1, 1):
        b.ball("bell", i * 0.32, 0.06, 0.55, (0.2, 0.16, 0.14), n=12)
        b.bar("leg", (i * 0.3, 0.06, -0.42), (i * 0.42, 0.06, -0.65), 0.035)
    b.bar("hammer", (0, 0.06, 0.5), (0, 0.06, 0.7), 0.03)


@_register("candle")
def _candle(b: Builder) -> None:
    r, h = b.u(0.07, 0.2), b.u(0.6, 1.0)
    b.cylinder("wax", 0, 0, 0, r, h, r * b.u(0.8, 1))
    b.bar("wick", (0, 0, h), (0, 0, h + 0.07), 0.01, n=4)
    if b.p(0.6):
        b.lathe("flame", [(0, h + 0.05), (0.05, h + 0.11), (0.035, h + 0.18), (0, h + 0.27)], n=10)
    if b.p(0.5):
        b.lathe("holder", [(0, -0.05), (r * 2.6, -0.05), (r * 2.8, 0.02), (r * 1.1, 0), (r * 1.1, 0.1)])


@_register("light bulb")
def _light_bulb(b: Builder) -> None:
    a = np.linspace(0.45, PI, 9)[::-1]
    b.lathe("glass", [*((0.36 * np.sin(t), 0.36 * -np.cos(t) * -1 + 0.75) for t in a[::-1]), (0.15, 0.3)][::-1])
    for k in range(4):
        b.ring("thread", 0, 0, 0.08 + k * 0.07, 0.13, 0.035, n=14, m=6)
    b.cylinder("base", 0, 0, 0, 0.06, 0.3, 0.13)


@_register("envelope")
def _envelope(b: Builder) -> None:
    w, h, t = 1.0, b.u(0.55, 0.72), 0.03
    b.box("paper", 0, 0, 0, w, t, h)
    b.extrude("flap", [(-w / 2, h), (0, h * b.u(0.35, 0.5)), (w / 2, h)], -t, -t / 2, 1)
    b.move(0, axis=0, angle=b.u(-0.4, 0.4))


@_register("box")
def _box(b: Builder) -> None:
    w, d, h, t = b.u(0.6, 1.2), b.u(0.5, 0.9), b.u(0.35, 0.8), 0.02
    b.box("bottom", 0, 0, 0, w, d, t)
    for i in (-1, 1):
        b.box("side", i * w / 2, 0, 0, t, d, h)
        b.box("side", 0, i * d / 2, 0, w, t, h)
        for axis, half, across in ((1, w, d), (0, d, w)):  # flaps
            mark = b.mark()
            b.box("flap", 0, 0, 0, t if axis == 1 else across, across if axis == 1 else t, half * 0.45)
            shift = (i * half / 2, 0, h) if axis == 1 else (0, i * half / 2, h)
            b.move(mark, shift, axis, (1 if axis == 1 else -1) * i * b.u(0.5, 2.2))


@_register("suitcase")
def _suitcase(b: Builder) -> None:
    w, h, d = b.u(0.7, 1.0), b.u(0.55, 0.7), b.u(0.2, 0.3)
    if b.p(0.4):
        w, h = h, w
    b.extrude("case", rounded(w, h, 10, 20) + (0, h / 2), -d / 2, d / 2, 1)
    b.tube("handle", [(-0.13, 0, h), (-0.12, 0, h + 0.12), (0.12, 0, h + 0.12), (0.13, 0, h)], 0.022)
    for i in (-1, 1):
        b.box("strap", i * w * 0.28, 0, -0.005, 0.05, d * 1.04, h * 1.01)
        if b.p(0.4):
            b.ball("wheel", i * w * 0.4, 0, -0.03, 0.05, n=8)


@_register("umbrella")
def _umbrella(b: Builder) -> None:
    n, r, h = b.n(6, 9), 0.6, b.u(0.25, 0.42)
    a = np.linspace(0, 1, 5)
    rings = np.stack([np.c_[circle(r * max(k, 0.001), 2 * n), np.full(2 * n, 0.75 + h * (1 - k**2))] for k in a[::-1]])
    rings[:, 1::2, :2] *= 0.93
    rings[0, 1::2, 2] += 0.04
    b.loft("canopy", rings, caps=False)
    b.bar("pole", (0, 0, 0.02), (0, 0, 0.8 + h + 0.05), 0.016)
    t = np.linspace(0, PI, 7)
    b.tube("handle", np.stack([0.08 * np.cos(t) - 0.08, 0 * t, 0.02 - 0.09 * np.sin(t)], 1), 0.02)
    if b.p(0.25):
        b.move(0, axis=0, angle=b.u(0.5, 2.2))


@_register("hat")
def _hat(b: Builder) -> None:
    kind = b.pick("fedora", "top", "cone", "cap")
    oval = circle(1, 24, 1.2)
    if kind == "cap":
        b.stack("crown", oval, [(0.4, 0), (0.4, 0.12), (0.34, 0.26), (0.2, 0.34), (0.02, 0.36)])
        b.stack("brim", oval, [(0.38, 0), (0.38, 0.02)], y=-0.32)
    elif kind == "cone":
        b.lathe("crown", [(0.3, 0), (0.01, b.u(0.7, 1.1))])
        if b.p(0.5):
            b.lathe("brim", [(0.55, 0), (0.55, 0.02), (0.28, 0.02)])
    else:
        h, top = (b.u(0.45, 0.65), 0.98) if kind == "top" else (b.u(0.22, 0.35), 0.8)
        b.stack("crown", oval, [(0.3, 0.02), (0.3 * (top + 1) / 2, h * 0.7), (0.3 * top, h), (0.2 * top, h * (1 if kind == "top" else 0.85))])
        b.stack("brim", oval, [(b.u(0.42, 0.65), 0), (0.3, 0.02)])
        b.stack("band", oval, [(0.31, 0.02), (0.305, 0.09)], caps=False)


# --- instruments ------------------------------------------------------------------------------------------------


@_register("piano")
def _piano(b: Builder) -> None:
    w, h, d = b.u(1.35, 1.55), b.u(1.05, 1.3), b.u(0.3, 0.42)
    b.box("case", 0, d * 0.2, 0, w, d, h)
    b.box("top", 0, d * 0.2, h, w * 1.03, d * 1.08, 0.03)
    b.box("keybed", 0, -d * 0.5, 0.6, w, d * 0.75, 0.08)
    _keys(b, 0, -d * 0.55, 0.68, w * 0.92, 0.16, b.n(12, 20))
    for i in (-1, 1):
        b.box("leg", i * w * 0.46, -d * 0.75, 0, 0.06, 0.06, 0.6)
        b.box("arm", i * w * 0.485, -d * 0.5, 0.66, 0.05, d * 0.75, 0.12)
    b.box("stand", 0, -d * 0.25, h * 0.72, w * 0.5, 0.03, 0.18)


def _keys(b: Builder, x: float, y: float, z: float, w: float, d: float, n: int) -> None:
    for k in range(n):
        cx = x + ((k + 0.5) / n - 0.5) * w
        b.box("white key", cx, y, z, w / n * 0.9, d, 0.02)
        if k % 7 not in (2, 6) and k < n - 1:
            b.box("black key", cx + w / n / 2, y + d * 0.15, z + 0.01, w / n * 0.5, d * 0.6, 0.03)


@_register("grand piano")
def _grand_piano(b: Builder) -> None:
    w, d, h, t = 1.45, b.u(1.5, 2.2), b.u(0.65, 0.75), b.u(0.22, 0.3)
    curve = [(-w / 2, 0), (w / 2, 0), (w / 2, d * 0.3), (w * 0.42, d * 0.45), (w * 0.15, d * 0.62), (w * 0.05, d * 0.8), (-w * 0.05, d * 0.95), (-w * 0.25, d), (-w / 2, d * 0.93)]
    b.extrude("case", curve, h, h + t)
    b.box("keybed", 0, -0.12, h + 0.02, w, 0.28, 0.08)
    _keys(b, 0, -0.14, h + 0.1, w * 0.9, 0.18, b.n(12, 18))
    for x, y in ((-w * 0.42, 0.1), (w * 0.42, 0.1), (-w * 0.2, d * 0.8)):
        b.bar("leg", (x, y, 0), (x, y, h), 0.04, 0.06)
    if b.p(0.7):
        mark = b.mark()
        b.extrude("lid", curve, 0, 0.03)
        b.move(mark, (0, 0, h + t), 1, b.u(0.3, 0.7), (-w / 2, 0, 0))
        b.bar("prop", (w * 0.4, 0.3, h + t), (w * 0.25, 0.3, h + t + 0.45), 0.012)
    b.box("stand", 0, 0.25, h + t, w * 0.45, 0.02, 0.22)


def _guitar_body(b: Builder, scale: float, waist: float, t: float) -> None:
    a = np.arange(28) * 2 * PI / 28
    r = 1 - waist * np.exp(-(((np.abs(np.sin(a / 2 + PI / 4)) - np.abs(np.cos(a / 2 + PI / 4))) / 0.25) ** 2))
    z = np.sin(a)
    half = (0.24 - 0.055 * z) * np.cos(a) * (1 - waist * np.exp(-((z - 0.15) ** 2) / 0.06))
    b.extrude("body", np.stack([half * scale, z * 0.32 * scale + 0.05 * (r - r)], 1), -t / 2, t / 2, 1)


@_register("guitar")
def _guitar(b: Builder) -> None:
    t = b.u(0.08, 0.13)
    _guitar_body(b, 1, b.u(0.25, 0.4), t)
    b.box("neck", 0, -t * 0.4, 0.2, 0.055, 0.03, 0.6)
    b.extrude("head", [(-0.035, 0.8), (0.035, 0.8), (0.055, 0.98), (-0.055, 0.98)], -t * 0.5, -t * 0.25, 1)
    b.ring("hole", 0, -t / 2, 0.08, 0.065, 0.01, axis=1, m=5)
    b.box("bridge", 0, -t / 2, -0.17, 0.14, 0.02, 0.03)
    for i in (-1, 1):
        for k in range(3):
            b.bar("peg", (i * 0.04, -t * 0.35, 0.84 + k * 0.05), (i * 0.085, -t * 0.35, 0.84 + k * 0.05), 0.01, n=5)
    b.move(0, axis=1, angle=b.pick(0, 0, 0.5, -0.5, PI / 2))


@_register("electric guitar")
def _electric_guitar(b: Builder) -> None:
    t = 0.05
    horn = b.u(0.1, 0.2)
    body = [(-0.06, 0.12), (-0.13, 0.12 + horn), (-0.18, 0.1), (-0.15, -0.02), (-0.21, -0.2), (-0.1, -0.32), (0.1, -0.32), (0.21, -0.22), (0.15, -0.02),
            (0.18, 0.08), (0.13, 0.1 + horn * 0.7), (0.06, 0.12)]  # fmt: skip
    if b.p(0.25):
        body = [(-0.03, 0.1), (-0.28, -0.3), (-0.2, -0.34), (0, -0.12), (0.2, -0.34), (0.28, -0.3), (0.03, 0.1)]
    b.extrude("body", body, -t / 2, t / 2, 1)
    b.box("neck", 0, -t * 0.5, 0, 0.05, 0.025, 0.75)
    b.extrude("head", [(-0.03, 0.75), (0.03, 0.75), (0.07, 0.85), (0.05, 0.95), (-0.03, 0.92)], -t * 0.5, -t * 0.1, 1)
    for z in (-0.16, -0.04):
        b.box("pickup", 0, -t * 0.6, z, 0.1, 0.02, 0.035)
    for k in range(b.n(2, 4)):
        b.bar("knob", (0.12, -t / 2, -0.1 - k * 0.055), (0.12, -t, -0.1 - k * 0.055), 0.018)
    b.move(0, axis=1, angle=b.pick(0, 0, 0.5, -0.5, PI / 2))


@_register("violin")
def _violin(b: Builder) -> None:
    _guitar_body(b, 0.75, b.u(0.4, 0.5), 0.07)
    b.box("neck", 0, -0.04, 0.1, 0.035, 0.025, 0.42)
    b.ball("scroll", 0, -0.03, 0.55, 0.03)
    b.box("bridge", 0, -0.06, -0.02, 0.07, 0.02, 0.02)
    b.box("tailpiece", 0, -0.05, -0.2, 0.04, 0.02, 0.14)
    if b.p(0.6):
        b.bar("bow", (0.22, 0, -0.3), (0.3, 0, 0.5), 0.008, n=5)
    b.move(0, axis=1, angle=b.u(-0.6, 0.6))


@_register("drums")
def _drums(b: Builder) -> None:
    r = b.u(0.32, 0.42)
    b.bar("bass drum", (0, -0.2, r), (0, 0.2, r), r, n=22)
    for x, y, z, s, h in ((-0.25, 0, 2 * r, 0.16, 0.2), (0.25, 0, 2 * r, 0.18, 0.22), (0.55, 0.35, 0.25, 0.22, 0.35), (-0.55, 0.35, 0.4, 0.2, 0.15)):
        b.cylinder("drum", x, y, z, s, h, n=16)
        b.bar("stand", (x, y, 0 if abs(x) > 0.3 else z - 0.1), (x, y, z), 0.015)
    for x, z in ((-0.7, 1.05), (0.7, 1.15)):
        b.lathe("cymbal", [(0.24, z), (0.05, z + 0.03), (0, z + 0.05)], x, 0.1)
        b.bar("stand", (x, 0.1, 0), (x, 0.1, z), 0.012)


# --- vehicles ---------------------------------------------------------------------------------------------------


def _wheels(b: Builder, xs: tuple[float, ...], half: float, r: float, wide: float) -> None:
    """Pairs of wheels on the axles ys, for vehicles that drive towards -y."""
    for y in xs:
        for i in (-1, 1):
            b.bar("wheel", (i * (half - wide), y, r), (i * half, y, r), r, n=16)
            b.bar("hub", (i * half, y, r), (i * (half + 0.01), y, r), r * 0.55, n=10)


def _side(b: Builder, part: str, outline: list[tuple[float, float]], w: float) -> None:
    """A side view (y, z) drawn across the width."""
    b.extrude(part, outline, -w / 2, w / 2, 0)


@_register("car")
def _car(b: Builder) -> None:
    long, w, h = b.u(3.6, 4.8), b.u(1.6, 1.9), b.u(1.25, 1.6)
    r = b.u(0.28, 0.36)
    f, k, low, waist = -long / 2, long / 2, r * 0.6, h * b.u(0.52, 0.62)
    kind = b.pick("sedan", "sedan", "hatch", "suv", "sport")
    h *= {"sport": 0.82, "suv": 1.15}.get(kind, 1)
    hood = waist * b.u(0.85, 0.98)
    _side(b, "body", [(f, low), (k, low), (k, waist * 0.9), (k - 0.1, waist), (f + 1.1, waist), (f + 0.1, hood), (f, hood * 0.7)], w)
    front, back = f + long * b.u(0.24, 0.3), k - (long * b.u(0.14, 0.2) if kind in ("sedan", "sport") else 0.08)
    slope = b.u(0.4, 0.8)
    mark = b.mark()
    rear = b.u(0.3, 0.7) if kind != "suv" else 0.15
    low_, high = np.array([(front, waist), (back, waist)]), np.array([(front + slope, h), (back - rear, h)])
    ring0 = np.array([(-w / 2, low_[0, 0]), (w / 2, low_[0, 0]), (w / 2, low_[1, 0]), (-w / 2, low_[1, 0])])
    ring1 = np.array([(-w * 0.4, high[0, 0]), (w * 0.4, high[0, 0]), (w * 0.4, high[1, 0]), (-w * 0.4, high[1, 0])])
    b.loft("cabin", [np.c_[ring0 * (0.96, 1), np.full(4, waist)], np.c_[ring1, np.full(4, h)]])
    b.move(mark)
    _wheels(b, (f + long * 0.2, k - long * 0.2), w / 2 + 0.02, r, 0.22)
    for i in (-1, 1):
        b.ball("light", i * w * 0.36, f, hood * 0.78, (0.14, 0.05, 0.08), n=8)
        b.box("light", i * w * 0.38, k, waist * 0.7, 0.25, 0.04, 0.12)
    b.box("bumper", 0, f - 0.04, low, w * 0.96, 0.12, 0.16)
    b.box("bumper", 0, k + 0.04, low, w * 0.96, 0.12, 0.16)


@_register("van")
def _van(b: Builder) -> None:
    long, w, h, r = b.u(4.3, 5.4), b.u(1.75, 2.0), b.u(1.9, 2.4), 0.34
    f, k = -long / 2, long / 2
    _side(b, "body", [(f, 0.25), (k, 0.25), (k, h), (f + b.u(0.9, 1.3), h), (f + 0.35, h * 0.6), (f, h * 0.5)], w)
    _wheels(b, (f + long * 0.18, k - long * 0.2), w / 2 + 0.02, r, 0.22)
    for i in (-1, 1):
        for y in np.linspace(f + 1.4, k - 0.6, b.n(1, 3)):
            b.box("window", i * w / 2, y, h * 0.6, 0.02, 0.8, h * 0.26)
        b.ball("light", i * w * 0.38, f, h * 0.38, (0.13, 0.05, 0.1), n=8)


@_register("truck")
def _truck(b: Builder) -> None:
    long, w = b.u(5.5, 9.0), b.u(2.0, 2.4)
    f, k, cab, h = -long / 2, long / 2, b.u(1.5, 2.0), b.u(2.2, 2.8)
    nose = b.u(0.8, 1.2) if b.p(0.4) else 0.0
    if nose:
        b.box("hood", 0, f - nose / 2, 0.5, w * 0.85, nose, 0.9)
    _side(b, "cab", [(f, 0.5), (f + cab, 0.5), (f + cab, h), (f + 0.35, h), (f, h * 0.6)], w)
    b.box("window", 0, f + 0.12, h * 0.65, w * 0.85, 0.12, h * 0.22)
    b.box("chassis", 0, 0.2, 0.45, w * 0.6, long, 0.2)
    load = b.pick("box", "box", "tank", "flat", "tipper")
    start = f + cab + 0.2
    m, span = (start + k) / 2, k - start
    if load == "box":
        b.box("load", 0, m, 0.7, w * 1.05, span, b.u(2.0, 2.6))
    elif load == "tank":
        b.bar("load", (0, start, 1.6), (0, k, 1.6), w * 0.45, n=20)
    elif load == "tipper":
        b.stack("load", rounded(w, span, 20, 16), [(0.85, 0.8), (1, 1.9), (0.95, 1.9), (0.8, 0.95)], y=m)
    else:
        b.box("load", 0, m, 0.7, w, span, 0.15)
        for i in (-1, 1):
            b.box("load", i * w / 2, m, 0.7, 0.06, span, 0.55)
    _wheels(b, (f + 0.6, k - 0.7, k - 1.7)[: b.n(2, 3)] if long < 7 else (f + 0.6, k - 0.7, k - 1.7), w / 2, 0.5, 0.35)


@_register("pickup truck")
def _pickup(b: Builder) -> None:
    long, w, h, r = b.u(4.6, 5.6), b.u(1.75, 2.0), b.u(1.6, 1.85), b.u(0.34, 0.42)
    f, k, waist = -long / 2, long / 2, b.u(0.95, 1.1)
    bed = long * b.u(0.32, 0.4)
    _side(b, "body", [(f, 0.35), (k - bed, 0.35), (k - bed, h), (f + 1.7, h), (f + 1.2, waist), (f, waist * 0.9)], w)
    b.box("bed", 0, k - bed / 2, 0.4, w, bed, 0.1)
    for i in (-1, 1):
        b.box("bed", i * (w / 2 - 0.04), k - bed / 2, 0.4, 0.08, bed, waist - 0.4)
        b.box("window", i * w / 2, f + 2.1, waist, 0.02, 0.8, h - waist - 0.1)
    b.box("bed", 0, k - 0.04, 0.4, w, 0.08, waist - 0.4)
    _wheels(b, (f + 0.85, k - 0.9), w / 2 + 0.03, r, 0.25)


@_register("bus")
def _bus(b: Builder) -> None:
    long, w, h = b.u(7, 11), 2.5, b.u(2.7, 3.1)
    if double := b.p(0.15):
        h *= 1.5
    f, k = -long / 2, long / 2
    _side(b, "body", [(f, 0.4), (k, 0.4), (k, h), (f + 0.2, h), (f, h * 0.8)], w)
    n = b.n(5, 9)
    for level in (0.35, 0.68) if double else (0.55,):
        for i in (-1, 1):
            for y in np.linspace(f + 1.2, k - 0.8, n):
                b.box("window", i * w / 2, y, h * level, 0.06, long / n * 0.75, h * (0.22 if double else 0.28))
    b.box("window", 0, f, h * 0.5, w * 0.88, 0.08, h * 0.32)
    b.box("door", w / 2, f + 0.7, 0.45, 0.08, 0.9, h * 0.7)
    _wheels(b, (f + long * 0.2, k - long * 0.22), w / 2 + 0.03, 0.5, 0.3)


def _hoop(b: Builder, y: float, r: float, tyre: float) -> None:
    """A spoked wheel of a bicycle, its axle along x."""
    b.ring("wheel", 0, y, r, r - tyre, tyre, axis=0, n=24, m=6)
    for a in np.arange(6) * PI / 6:
        c, s = np.cos(a) * r * 0.95, np.sin(a) * r * 0.95
        b.bar("spoke", (0, y + c, r + s), (0, y - c, r - s), 0.006, n=4)


@_register("bicycle")
def _bicycle(b: Builder) -> None:
    r, base = b.u(0.3, 0.37), b.u(0.95, 1.1)
    f, k, t = -base / 2, base / 2, b.u(0.014, 0.022)
    _hoop(b, f, r, b.u(0.015, 0.03))
    _hoop(b, k, r, 0.02)
    crank, seat, head = (0, 0.05, r * 0.85), (0, 0.2, r + b.u(0.35, 0.5)), (0, f + 0.2, r + b.u(0.38, 0.48))
    for start, end in ((crank, seat), (crank, head), (crank, (0, k, r)), (seat, (0, k, r)), (head, (0, f, r))):
        b.bar("frame", start, end, t)
    if b.p(0.8):
        b.bar("frame", (0, 0.17, r + 0.36), head, t)
    b.bar("frame", head, (0, head[1] + 0.02, head[2] + 0.15), t)
    z = head[2] + 0.15
    b.tube("handlebar", [(-0.26, head[1] + 0.12, z), (-0.2, head[1], z), (0.2, head[1], z), (0.26, head[1] + 0.12, z)], 0.014)
    b.ball("saddle", 0, 0.22, seat[2] + 0.05, (0.08, 0.14, 0.035))
    for i in (-1, 1):
        b.bar("pedal", crank, (i * 0.08, 0.05 + i * 0.1, crank[2] - i * 0.13), 0.012)
        b.box("pedal", i * 0.12, 0.05 + i * 0.1, crank[2] - i * 0.13, 0.1, 0.06, 0.02)
    b.ring("chainring", 0.02, 0.05, crank[2], 0.08, 0.012, axis=0, m=5)


@_register("motorbike")
def _motorbike(b: Builder) -> None:
    r, base = b.u(0.28, 0.34), b.u(1.2, 1.45)
    f, k = -base / 2, base / 2
    for y in (f, k):
        b.ring("wheel", 0, y, r, r - 0.07, 0.07, axis=0, n=20, m=8)
        b.bar("hub", (-0.03, y, r), (0.03, y, r), r * 0.55, n=12)
    b.ball("engine", 0, 0.02, 0.42, (0.16, 0.26, 0.2), 4, 10)
    b.ball("tank", 0, -0.12, 0.78, (0.15, 0.28, 0.14))
    b.ball("seat", 0, 0.38, 0.75, (0.13, 0.34, 0.07))
    for i in (-1, 1):
        b.bar("fork", (i * 0.09, f, r), (i * 0.09, f + 0.28, 0.9), 0.025)
        b.bar("fork", (i * 0.09, k, r), (i * 0.09, 0.05, 0.45), 0.025)
        b.bar("handlebar", (0, f + 0.3, 0.95), (i * 0.34, f + 0.4, 1.02), 0.018)
    b.bar("exhaust", (0.15, 0, 0.3), (0.16, k + 0.1, 0.32), 0.03, 0.05)
    b.ball("light", 0, f + 0.18, 0.88, 0.09)
    b.ball("fender", 0, k, r + 0.25, (0.08, 0.26, 0.1))


@_register("train")
def _train(b: Builder) -> None:
    w, h = 1.0, b.u(1.2, 1.5)
    steam = b.p(0.5)
    y = 0.0
    if steam:
        r = 0.42
        b.bar("boiler", (0, 0, 0.85), (0, 1.7, 0.85), r, n=18)
        b.box("chassis", 0, 1.2, 0.3, w, 2.4, 0.2)
        b.lathe("chimney", [(0.1, 1.2), (0.1, 1.5), (b.u(0.1, 0.2), 1.75)], 0, 0.3)
        b.ball("dome", 0, 0.95, 1.25, 0.17)
        b.box("cab", 0, 2.05, 0.4, w, 0.7, h)
        b.box("roof", 0, 2.05, 0.4 + h, w * 1.15, 0.9, 0.08)
        b.extrude("cowcatcher", [(-0.45, 0.05), (0, 0.05), (0, 0.4)], -w * 0.4, w * 0.4, 0)
        _wheels(b, (0.35, 0.95, 1.55, 2.1), w / 2 + 0.05, 0.28, 0.1)
        y = 2.6
    else:
        _side(b, "cab", [(0, 0.2), (2.6, 0.2), (2.6, h + 0.2), (b.u(0.3, 1.1), h + 0.2), (b.u(0, 0.2), h * 0.55)], w)
        _wheels(b, (0.6, 2.1), w / 2, 0.18, 0.1)
        for i in (-1, 1):
            for k in (1.2, 1.7, 2.2):
                b.box("window", i * w / 2, k, h * 0.65, 0.04, 0.35, h * 0.3)
        y = 2.75
    for _ in range(b.n(1, 3)):
        b.box("wagon", 0, y + 1.1, 0.25, w, 2.2, h * 0.95)
        b.box("coupling", 0, y - 0.05, 0.3, 0.1, 0.3, 0.1)
        for i in (-1, 1):
            for k in np.linspace(0.3, 1.9, 4):
                b.box("window", i * w / 2, y + k, h * 0.65, 0.04, 0.35, h * 0.3)
        _wheels(b, (y + 0.45, y + 1.75), w / 2, 0.18, 0.1)
        y += 2.4


@_register("airplane")
def _airplane(b: Builder) -> None:
    r, long = b.u(0.07, 0.12), 1.0
    y = np.array([-0.5, -0.46, -0.38, -0.2, 0.2, 0.38, 0.5]) * long * 2
    s = np.array([0.05, 0.5, 0.9, 1, 1, 0.65, 0.15]) * r * 2
    n = 14
    rings = np.stack([np.c_[circle(k, n)[:, 0], np.full(n, t), circle(k, n)[:, 1] + (0.1 * r if t > 0.6 else 0)] for t, k in zip(y, s, strict=True)])
    b.loft("fuselage", rings)
    span, root, tip, sweep = b.u(0.8, 1.2), b.u(0.28, 0.45), b.u(0.08, 0.25), b.u(-0.02, 0.55)
    lift, z = b.u(-0.02, 0.12), b.pick(-r, 0, r * 1.5)
    prop = b.p(0.3)
    if prop:
        sweep, tip = 0.02, root * 0.8

    def wing(part: str, at: float, z: float, span: float, root: float, tip: float, sweep: float, lift: float, t: float) -> None:
        for i in (-1, 1):
            b.loft(part, [[(0, at, z - t), (0, at + root, z - t), (0, at + root, z + t), (0, at, z + t)],
                          [(i * span, at + sweep, z + lift - t / 2), (i * span, at + sweep + tip, z + lift - t / 2),
                           (i * span, at + sweep + tip, z + lift + t / 2), (i * span, at + sweep, z + lift + t / 2)]])  # fmt: skip

    wing("wing", -0.25, z, span, root, tip, sweep, lift, 0.022)
    high = b.u(0.25, 0.45)
    tail_z = high * 0.95 + r if b.p(0.2) else r * 0.5
    wing("tail", 0.72, tail_z, span * 0.38, 0.2, 0.1, 0.15 * (sweep > 0.1), 0.02, 0.014)
    b.extrude("fin", [(0.65, r * 0.6), (0.98, r * 0.6), (0.99, high + r), (0.86, high + r)], -0.014, 0.014, 0)
    if prop:
        for a in np.arange(k := b.n(2, 4)) * 2 * PI / k:
            b.bar("propeller", (0, -1.03, 0), (np.cos(a) * 0.26, -1.03, np.sin(a) * 0.26), 0.02, 0.012, 5)
        for i in (-1, 1):
            b.bar("gear", (i * 0.1, -0.4, -r * 1.5), (i * 0.16, -0.4, -r * 3), 0.012)
            b.ring("wheel", i * 0.16, -0.4, -r * 3.2, 0.05, 0.025, axis=0, n=12, m=5)
    elif b.p(0.85):
        for i in (-1, 1):
            for k in (0.35, 0.62)[: b.n(1, 2)]:
                x, at, low = i * span * k, -0.25 + sweep * k - 0.06, z + lift * k - 0.07
                b.bar("engine", (x, at - 0.12, low), (x, at + 0.18, low), 0.055, 0.04, 12)


@_register("helicopter")
def _helicopter(b: Builder) -> None:
    r = b.u(0.3, 0.4)
    b.ball("cabin", 0, 0, 0.5, (r, r * b.u(1.3, 1.8), r))
    tail = b.u(1.2, 1.6)
    b.bar("boom", (0, r, 0.6), (0, tail, 0.7), 0.13, 0.05)
    b.extrude("fin", [(tail - 0.15, 0.62), (tail + 0.02, 0.62), (tail + 0.18, 1.05), (tail + 0.05, 1.05)], -0.015, 0.015, 0)
    for a in (0.4, 0.4 + PI / 2):
        b.beam("tail rotor", (0.07, tail - np.cos(a) * 0.2, 0.78 - np.sin(a) * 0.2), (0.07, tail + np.cos(a) * 0.2, 0.78 + np.sin(a) * 0.2), 0.03)
    b.cylinder("mast", 0, 0, 0.5 + r * 0.8, 0.05, 0.25)
    turn, blades, z = b.u(0, PI), b.n(2, 5), 0.5 + r * 0.8 + 0.22
    for k in range(blades):
        a = turn + k * 2 * PI / blades
        mark = b.mark()
        b.box("rotor", 0.62, 0, z, 1.2, 0.08, 0.015)
        b.move(mark, axis=2, angle=a)
    for i in (-1, 1):
        b.tube("skid", [(i * 0.3, -0.65, 0.08), (i * 0.3, -0.5, 0), (i * 0.3, 0.55, 0)], 0.025)
        for y in (-0.25, 0.3):
            b.bar("skid", (i * 0.3, y, 0), (i * 0.15, y, 0.35), 0.02)


def _hull(b: Builder, long: float, w: float, h: float, part: str = "hull") -> None:
    """A boat's body with its bow at -y, open deck closed by a lid."""
    y = np.linspace(-1, 1, 9)
    s = np.array([0.03, 0.42, 0.72, 0.92, 1, 1, 0.97, 0.9, b.u(0.6, 0.85)]) * w / 2
    keel = np.array([0.75, 0.3, 0.1, 0, 0, 0, 0, 0.05, 0.15]) * h
    sheer = h * (1 + 0.25 * np.clip(-y, 0, 1) ** 2)
    x = np.array([-1, -0.75, 0, 0.75, 1])
    depth = np.array([1, 0.35, 0, 0.35, 1])
    rings = np.zeros((9, 5, 3))
    rings[:, :, 0] = s[:, None] * x
    rings[:, :, 1] = (y * long / 2)[:, None]
    rings[:, :, 2] = keel[:, None] + (sheer - keel)[:, None] * depth
    b.loft(part, rings)


@_register("sailboat")
def _sailboat(b: Builder) -> None:
    long, w, h = 2.0, b.u(0.5, 0.75), b.u(0.25, 0.42)
    _hull(b, long, w, h)
    mast, y = b.u(2.0, 2.8), -b.u(0.05, 0.3)
    b.bar("mast", (0, y, h * 0.5), (0, y, h + mast), 0.025)
    b.bar("boom", (0, y, h + 0.2), (0, 0.9, h + 0.2), 0.02)
    belly = b.u(0, 0.15)
    b.loft("sail", [[(0, y + 0.03, h + 0.22), (0.01, y + 0.03, h + 0.22), (0.01, y + 0.03, h + mast * 0.97), (0, y + 0.03, h + mast * 0.97)],
                    [(belly, 0.3, h + 0.22), (belly + 0.01, 0.3, h + 0.22), (belly + 0.01, 0.3, h + mast * 0.45), (belly, 0.3, h + mast * 0.45)],
                    [(0, 0.88, h + 0.22), (0.01, 0.88, h + 0.22), (0.01, 0.88, h + 0.26), (0, 0.88, h + 0.26)]])  # fmt: skip
    if b.p(0.75):
        b.extrude("sail", [(-0.95, h + 0.15), (y - 0.05, h + 0.25), (y - 0.03, h + mast * b.u(0.7, 0.92))], -0.006, 0.006, 0)
    if b.p(0.5):
        b.box("cabin", 0, 0.2, h * 0.8, w * 0.5, 0.5, h * 0.5)


@_register("ship")
def _ship(b: Builder) -> None:
    long, w, h = 3.0, b.u(0.5, 0.7), b.u(0.3, 0.5)
    _hull(b, long, w, h)
    y = b.u(-0.3, 0.7)
    z = h * 0.95
    levels = b.n(2, 4)
    for k in range(levels):
        b.box("deck", 0, y, z + k * 0.16, w * (0.75 - 0.1 * k), b.u(0.5, 1.2) * (1 - 0.15 * k), 0.16)
    for k in range(b.n(1, 3)):
        b.cylinder("funnel", 0, y + 0.1 + k * 0.25 - 0.2, z + levels * 0.16 - 0.05, 0.08, b.u(0.2, 0.35), 0.07, 12)
    b.bar("mast", (0, y - 0.5, z), (0, y - 0.5, z + b.u(0.5, 0.9)), 0.015)
    if b.p(0.5):  # cargo
        for j in range(4):
            for i in (-1, 1):
                b.box("container", i * w * 0.17, -1.0 + j * 0.22 + (y < 0) * 1.2, z, w * 0.3, 0.19, b.pick(0.12, 0.24, 0.24))


@_register("canoe")
def _canoe(b: Builder) -> None:
    y = np.linspace(-1, 1, 11)
    w, h = b.u(0.3, 0.42), b.u(0.2, 0.3)
    s = w / 2 * np.sqrt(np.clip(1 - y**2, 0.003, 1))
    top = h * (1 + 0.5 * y**4)
    rings = np.zeros((11, 8, 3))
    for ring, yy, half, high in zip(rings, y, s, top, strict=True):
        ring[:, 0] = np.array([-1, -0.8, 0, 0.8, 1, 0.92, 0, -0.92]) * half
        ring[:, 1] = yy
        ring[:, 2] = np.array([1, 0.4, 0, 0.4, 1, 1, 0.15, 1]) * high
    b.loft("hull", rings)
    for k in (-0.45, 0.45):
        b.box("seat", 0, k, h * 0.7, w * 0.85, 0.12, 0.02)
    if b.p(0.5):
        b.bar("paddle", (0.1, -0.6, h * 1.1), (-0.1, 0.6, h * 1.15), 0.015)
        b.ball("paddle", -0.11, 0.65, h * 1.15, (0.06, 0.13, 0.015))


@_register("rocket")
def _rocket(b: Builder) -> None:
    r, h = b.u(0.1, 0.2), 1.0
    belly = b.u(1.0, 1.35)
    b.lathe("body", [(0, 0.02), (r * 0.8, 0.02), (r * belly, 0.3), (r, h * 0.6), (r * 0.6, h * 0.82), (0, h)])
    b.lathe("engine", [(r * 0.4, 0.06), (r * 0.75, -0.08)])
    n = b.n(3, 4)
    for k in range(n):
        mark = b.mark()
        b.extrude("fin", [(r * 0.7, 0.02), (r * b.u(2, 2.6), -0.08), (r * 2.2, 0.1), (r * 0.9, 0.34)], -0.015, 0.015, 1)
        b.move(mark, axis=2, angle=k * 2 * PI / n)
    if b.p(0.6):
        b.ring("window", 0, -r * 1.02, 0.58, 0.05, 0.015, axis=1, n=12, m=5)


@_register("submarine")
def _submarine(b: Builder) -> None:
    r = b.u(0.2, 0.28)
    b.ball("hull", 0, 0, 0, (r, 1.0, r), b.u(2, 3.2), 18)
    b.stack("tower", rounded(0.2, 0.45, 2.5, 16), [(1, r * 0.7), (0.9, r + b.u(0.15, 0.28))], y=-0.1)
    b.tube("periscope", [(0, -0.1, r), (0, -0.1, r + 0.5), (0, -0.22, r + 0.5)], 0.025)
    for i in (-1, 1):
        b.box("fin", i * 0.22, 0.85, 0, 0.3, 0.15, 0.02)
    b.box("fin", 0, 0.85, -0.25, 0.02, 0.15, 0.5)
    for a in np.arange(3) * 2 * PI / 3:
        b.bar("propeller", (0, 1.03, 0), (np.cos(a) * 0.14, 1.03, np.sin(a) * 0.14), 0.03, n=5)


@_register("tractor")
def _tractor(b: Builder) -> None:
    b.box("hood", 0, -0.55, 0.45, 0.55, 1.2, 0.5)
    b.box("body", 0, 0.35, 0.4, 0.7, 0.8, 0.45)
    if b.p(0.7):
        b.box("roof", 0, 0.35, 1.65, 0.95, 0.95, 0.07)
        for i in (-1, 1):
            for y in (0, 0.75):
                b.beam("cab", (i * 0.4, y, 0.8), (i * 0.4, y, 1.66), 0.06)
    b.box("seat", 0, 0.5, 0.85, 0.35, 0.3, 0.1)
    b.box("seat", 0, 0.65, 0.9, 0.35, 0.06, 0.3)
    b.cylinder("exhaust", 0.15, -0.7, 0.9, 0.04, 0.5)
    for i in (-1, 1):
        b.bar("wheel", (i * 0.4, 0.45, 0.5), (i * 0.68, 0.45, 0.5), b.u(0.48, 0.56), n=20)
        b.bar("wheel", (i * 0.33, -0.85, 0.28), (i * 0.52, -0.85, 0.28), 0.28, n=16)
        b.bar("hub", (i * 0.68, 0.45, 0.5), (i * 0.7, 0.45, 0.5), 0.25, n=12)


@_register("skateboard")
def _skateboard(b: Builder) -> None:
    y = np.linspace(-1, 1, 9)
    up = 0.12 * np.clip(np.abs(y) - 0.7, 0, 1) / 0.3
    s = 0.2 * np.array([0.5, 0.92, 1, 1, 1, 1, 1, 0.92, 0.5])
    rings = np.stack([[(-k, t, z + 0.15), (k, t, z + 0.15), (k, t, z + 0.18), (-k, t, z + 0.18)] for t, z, k in zip(y * 0.8, up, s, strict=True)])
    b.loft("deck", rings)
    for t in (-0.48, 0.48):
        b.bar("axle", (-0.15, t, 0.08), (0.15, t, 0.08), 0.02)
        b.box("truck", 0, t, 0.06, 0.08, 0.12, 0.1)
        for i in (-1, 1):
            b.bar("wheel", (i * 0.12, t, 0.07), (i * 0.2, t, 0.07), 0.07, n=12)


@_register("wheel")
def _wheel(b: Builder) -> None:
    tyre = b.u(0.05, 0.16)
    b.ring("tyre", 0, 0, 0, 0.5 - tyre, tyre, axis=0, n=26, m=8)
    b.bar("hub", (-0.06, 0, 0), (0.06, 0, 0), b.u(0.06, 0.14), n=12)
    n = b.n(4, 12)
    thick = b.u(0.015, 0.04)
    for a in np.arange(n) * 2 * PI / n:
        b.bar("spoke", (0, 0, 0), (0, np.cos(a) * (0.5 - tyre), np.sin(a) * (0.5 - tyre)), thick, n=5)


@_register("wheelbarrow")
def _wheelbarrow(b: Builder) -> None:
    b.stack("tray", rounded(0.6, 0.8, 8, 16), [(0.6, 0.35), (1, 0.68), (0.96, 0.68), (0.56, 0.38)])
    b.ring("wheel", 0, -0.55, 0.18, 0.14, 0.045, axis=0, n=16)
    for i in (-1, 1):
        b.bar("handle", (i * 0.06, -0.55, 0.18), (i * 0.3, 0.85, 0.55), 0.025)
        b.bar("leg", (i * 0.22, 0.3, 0.4), (i * 0.24, 0.35, 0), 0.025)


# --- buildings and outdoors -------------------------------------------------------------------------------------


@_register("house")
def _house(b: Builder) -> None:
    w, d, h, roof = b.u(0.9, 1.6), b.u(0.8, 1.2), b.u(0.5, 1.0), b.u(0.3, 0.7)
    b.box("wall", 0, 0, 0, w, d, h)
    over = b.u(0.05, 0.15)
    if b.p(0.7):
        b.extrude("roof", [(-d / 2 - over, h), (d / 2 + over, h), (0, h + roof)], -w / 2 - over, w / 2 + over, 0)
        if b.p(0.4):
            b.move(0, axis=2, angle=PI / 2)
            w, d = d, w
    else:
        b.loft("roof", [np.c_[np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (w / 2 + over, d / 2 + over) * s, np.full(4, z)] for s, z in ((1, h), (0.05, h + roof))])
    x = b.u(-0.2, 0.2) * w
    b.box("door", x, -d / 2, 0, 0.18, 0.04, h * b.u(0.45, 0.65))
    for k in (-0.33, 0.33):
        if abs(k * w - x) > 0.2:
            b.box("window", k * w, -d / 2, h * 0.45, 0.2, 0.04, h * 0.3)
    for i in (-1, 1):
        b.box("window", i * w / 2, 0, h * 0.45, 0.04, 0.22, h * 0.3)
    if b.p(0.65):
        b.box("chimney", w * 0.25, d * 0.15, h + roof * 0.2, 0.13, 0.13, roof * b.u(0.8, 1.2))


@_register("tent")
def _tent(b: Builder) -> None:
    w, d, h = b.u(0.9, 1.4), b.u(1.0, 1.8), b.u(0.7, 1.0)
    kind = b.pick("ridge", "dome", "tepee")
    if kind == "ridge":
        for i in (-1, 1):
            b.extrude("canvas", [(i * w / 2, 0), (0, h), (i * w / 2 - i * 0.02, 0)][::i], -d / 2, d / 2, 1)
        b.extrude("canvas", [(-w / 2, 0), (w / 2, 0), (0, h)], d / 2 - 0.01, d / 2, 1)
        flap = b.u(0.1, 0.45)
        for i in (-1, 1):
            b.extrude("door", [(i * w / 2, 0), (0, h), (i * w / 2 * flap, 0)][:: -i], -d / 2, -d / 2 + 0.01, 1)
        for y in (-d / 2, d / 2):
            b.bar("pole", (0, y, 0), (0, y, h * 1.06), 0.02)
            b.bar("rope", (0, y, h), (0, y * 1.5, 0), 0.008, n=4)
    elif kind == "dome":
        n = 20
        a = np.linspace(0, PI / 2, 6)
        b.stack("canvas", rounded(w * 1.2, w * 1.2, 2.4, n), [(np.cos(t), h * 0.8 * np.sin(t)) for t in a], caps=False)
        b.extrude("door", [(-0.2, 0), (0.2, 0), (0, h * 0.55)], -w * 0.63, -w * 0.52, 1)
    else:
        b.lathe("canvas", [(w * 0.55, 0), (0.03, h * 1.3)], n=b.n(7, 14))
        for k in range(4):
            a = k * PI / 2 + 0.3
            b.bar("pole", (np.cos(a) * 0.05, np.sin(a) * 0.05, h * 1.2), (-np.cos(a) * 0.12, -np.sin(a) * 0.12, h * 1.55), 0.015)
        b.extrude("door", [(-0.16, 0.02), (0.16, 0.02), (0, h * 0.7)], -w * 0.5, -w * 0.3, 1)


@_register("castle")
def _castle(b: Builder) -> None:
    w, h = 1.0, b.u(0.4, 0.6)
    for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        x, y, tall, r = i * w / 2, j * w / 2, h * b.u(1.2, 1.7), 0.15
        b.cylinder("tower", x, y, 0, r, tall, n=14)
        if b.p(0.5):
            b.cylinder("roof", x, y, tall, r * 1.2, b.u(0.2, 0.4), 0.005, 14)
        else:
            for a in np.arange(6) * PI / 3:
                b.box("battlement", x + np.cos(a) * r * 0.9, y + np.sin(a) * r * 0.9, tall, 0.06, 0.06, 0.07)
    for axis in (0, 1):
        for i in (-1, 1):
            x, y = (0, i * w / 2) if axis == 0 else (i * w / 2, 0)
            b.box("wall", x, y, 0, w if axis == 0 else 0.08, 0.08 if axis == 0 else w, h)
            for k in np.linspace(-0.35, 0.35, 5):
                b.box("battlement", x + k * (axis == 0), y + k * (axis == 1), h, 0.08, 0.08, 0.07)
    b.box("gate", 0, -w / 2 - 0.04, 0, 0.22, 0.03, h * 0.65)
    if b.p(0.5):
        b.box("keep", 0, 0.1, 0, 0.4, 0.4, h * 1.8)


@_register("church")
def _church(b: Builder) -> None:
    w, d, h = b.u(0.5, 0.7), b.u(0.9, 1.3), b.u(0.45, 0.6)
    b.box("wall", 0, d / 2, 0, w, d, h)
    b.extrude("roof", [(-w * 0.55, h), (w * 0.55, h), (0, h + w * 0.6)], 0, d, 1)
    t = w * b.u(0.4, 0.55)
    tall = h * b.u(1.7, 2.2)
    b.box("tower", 0, -t / 2, 0, t, t, tall)
    b.lathe("spire", [(t * 0.72, tall), (0, tall + b.u(0.4, 0.8))], 0, -t / 2, 4)
    b.move(b.mark() - 1, axis=2, angle=PI / 4, about=(0, -t / 2, 0))
    z = tall + 0.75
    b.box("cross", 0, -t / 2, z - 0.35, 0.03, 0.03, 0.4)
    b.box("cross", 0, -t / 2, z - 0.08, 0.16, 0.03, 0.03)
    b.box("door", 0, -t - 0.01, 0, t * 0.4, 0.03, h * 0.5)
    for i in (-1, 1):
        for y in np.linspace(0.2, d - 0.2, 3):
            b.box("window", i * w / 2, y, h * 0.3, 0.03, 0.12, h * 0.45)


@_register("tower")
def _tower(b: Builder) -> None:
    r, h = b.u(0.14, 0.22), 1.0
    b.lathe("wall", [(0, 0), (r * b.u(1, 1.3), 0), (r, h * 0.85), (r * 1.25, h * 0.88), (r * 1.25, h), (r * 1.05, h), (r * 1.05, h * 0.93), (0, h * 0.93)])
    for a in np.arange(8) * PI / 4:
        b.box("battlement", np.cos(a) * r * 1.15, np.sin(a) * r * 1.15, h, 0.07, 0.07, 0.06)
    b.box("door", 0, -r, 0, r * 0.6, r * 0.5, 0.16)
    if b.p(0.3):
        b.cylinder("roof", 0, 0, h, r * 1.3, 0.35, 0.005)


@_register("lighthouse")
def _lighthouse(b: Builder) -> None:
    r, h = b.u(0.16, 0.22), 1.0
    top = r * b.u(0.5, 0.7)
    n = b.n(3, 6)
    for k in range(n):
        s, e = k / n, (k + 1) / n
        b.cylinder("white stripe" if k % 2 else "red stripe", 0, 0, s * h * 0.75, r + (top - r) * s, h * 0.75 / n, r + (top - r) * e)
    b.cylinder("gallery", 0, 0, h * 0.75, top * 1.5, 0.03)
    b.cylinder("lantern", 0, 0, h * 0.78, top * 0.75, 0.14)
    b.cylinder("roof", 0, 0, h * 0.92, top * 1.1, 0.12, 0.01)
    b.box("door", 0, -r * 0.95, 0, 0.08, 0.05, 0.13)


@_register("windmill")
def _windmill(b: Builder) -> None:
    r, h = b.u(0.22, 0.3), b.u(0.7, 0.9)
    b.cylinder("tower", 0, 0, 0, r, h, r * 0.65, n=b.pick(6, 8, 14))
    b.lathe("cap", [(r * 0.75, h), (r * 0.5, h + 0.14), (0, h + 0.22)])
    turn, y = b.u(0, PI / 2), -r * 0.9
    b.bar("axle", (0, 0, h + 0.05), (0, y, h + 0.05), 0.025)
    for k in range(4):
        mark = b.mark()
        b.bar("sail", (0, 0, 0), (0, 0, 0.62), 0.014, n=5)
        b.box("sail", 0.055, 0, 0.12, 0.11, 0.012, 0.48)
        b.move(mark, (0, y, h + 0.05), 1, turn + k * PI / 2)
    b.box("door", 0, -r * 0.93, 0, 0.12, 0.05, 0.2)


@_register("bridge")
def _bridge(b: Builder) -> None:
    long, w, h = 2.4, b.u(0.3, 0.5), b.u(0.3, 0.6)
    b.box("deck", 0, 0, h, long, w, 0.06)
    if b.p(0.5):  # arches
        n = b.n(1, 3)
        span = long / n
        for k in range(n):
            a = np.linspace(0, PI, 11)
            path = np.stack([-np.cos(a) * span * 0.42 + (k + 0.5) * span - long / 2, np.sin(a) * h * 0.9], 1)
            x0, x1 = k * span - long / 2, (k + 1) * span - long / 2
            b.extrude("arch", np.concatenate([[(x1, 0), (x1, h), (x0, h), (x0, 0)], path]), -w / 2, w / 2, 1)
    else:  # towers and cables
        tall = h + b.u(0.5, 0.8)
        for j in (-1, 1):
            for i in (-1, 1):
                b.beam("tower", (i * long * 0.28, j * w / 2, 0), (i * long * 0.28, j * w / 2, tall), 0.06)
            x = np.linspace(-0.5, 0.5, 17) * long
            sag = h + 0.08 + (tall - h) * np.where(np.abs(x) < long * 0.28, (x / (long * 0.28)) ** 2, (0.5 * long - np.abs(x)) / (0.22 * long))
            b.tube("cable", np.stack([x, np.full(17, j * w / 2), sag], 1), 0.012, 4)
            for xx, z in zip(x[1:-1], sag[1:-1], strict=True):
                b.bar("cable", (xx, j * w / 2, h), (xx, j * w / 2, z), 0.006, n=4)
        for i in (-1, 1):
            b.beam("tower", (i * long * 0.28, -w / 2, tall), (i * long * 0.28, w / 2, tall), 0.06)


@_register("tree")
def _tree(b: Builder) -> None:
    h, r = b.u(0.3, 0.6), b.u(0.04, 0.08)
    b.cylinder("trunk", 0, 0, 0, r, h, r * 0.7, 10)
    if b.p(0.35):
        n, wide = b.n(2, 4), b.u(0.3, 0.45)
        for k in range(n):
            b.cylinder("crown", 0, 0, h + k * 0.25 - 0.1, wide * (1 - k * 0.2), 0.45, 0.005, 14)
    else:
        for _ in range(b.n(1, 7)):
            s = b.u(0.2, 0.38)
            b.ball("crown", b.u(-0.25, 0.25), b.u(-0.25, 0.25), h + b.u(0.15, 0.55), (s, s, s * b.u(0.7, 1.1)), n=12)
        for _ in range(2):
            b.bar("branch", (0, 0, h * 0.7), (b.u(-0.25, 0.25), b.u(-0.25, 0.25), h + 0.2), r * 0.5, r * 0.3)


@_register("palm tree")
def _palm(b: Builder) -> None:
    h, bend = b.u(0.9, 1.3), b.u(0, 0.3)
    t = np.linspace(0, 1, 7)
    path = np.stack([bend * t**2, 0 * t, h * t], 1)
    b.tube("trunk", path, np.linspace(0.06, 0.035, 7), 8)
    n = b.n(6, 10)
    for a in np.arange(n) * 2 * PI / n + b.u(0, 1):
        c, s, out = np.cos(a), np.sin(a), b.u(0.4, 0.6)
        leaf = [(bend + c * out * k, s * out * k, h + 0.15 * np.sin(k * PI * 0.9) - 0.35 * k**2) for k in np.linspace(0.02, 1, 5)]
        b.tube("leaf", leaf, (0.02, 0.07, 0.08, 0.05, 0.005), 4)
    for _ in range(b.n(0, 3)):
        b.ball("coconut", bend + b.u(-0.08, 0.08), b.u(-0.08, 0.08), h - 0.05, 0.05, n=8)


@_register("cactus")
def _cactus(b: Builder) -> None:
    h, r = b.u(0.8, 1.1), b.u(0.09, 0.14)
    b.lathe("stem", [(r * 0.9, 0), (r, h * 0.5), (r * 0.9, h * 0.9), (r * 0.5, h * 0.98), (0, h)], n=12)
    for i in (-1, 1)[: b.n(1, 2)]:
        z, out, up = b.u(0.25, 0.5) * h, i * b.u(0.25, 0.36), b.u(0.2, 0.45)
        b.tube("arm", [(0, 0, z), (out * 0.8, 0, z), (out, 0, z + 0.08), (out, 0, z + up), (out, 0, z + up + 0.06)], (r * 0.6, r * 0.6, r * 0.65, r * 0.6, r * 0.2), 10)
    if b.p(0.5):
        b.lathe("pot", [(0, -0.3), (0.2, -0.3), (0.28, 0), (0, 0)])


@_register("mushroom")
def _mushroom(b: Builder) -> None:
    r, h, cap = b.u(0.08, 0.16), b.u(0.35, 0.6), b.u(0.32, 0.5)
    b.lathe("stem", [(0, 0), (r * 1.3, 0), (r, h * 0.5), (r * 0.9, h)])
    a = np.linspace(0, PI / 2, 7)
    rise = b.u(0.2, 0.4)
    b.lathe("cap", [(r * 0.9, h - 0.02), *((cap * np.cos(t), h - 0.03 + rise * np.sin(t)) for t in a)])


@_register("flower")
def _flower(b: Builder) -> None:
    h, n = b.u(0.6, 1.0), b.n(5, 10)
    mark = b.mark()
    b.ball("centre", 0, 0, 0, (0.09, 0.09, 0.05))
    for k in range(n):
        m = b.mark()
        b.ball("petal", 0.2, 0, 0, (0.14, b.u(0.06, 0.1), 0.025), n=10)
        b.move(m, axis=2, angle=k * 2 * PI / n)
    b.move(mark, (0, 0, h), 0, b.u(0, 1.2))
    b.tube("stem", [(0, 0, h), (0.02, 0.02, h * 0.5), (0, 0.04, 0)], 0.018, 5)
    for i in (-1, 1):
        b.ball("leaf", i * 0.12, 0.03, h * b.u(0.2, 0.5), (0.12, 0.05, 0.02), n=8)


@_register("snowman")
def _snowman(b: Builder) -> None:
    z = 0.0
    for s in (0.42, 0.3, 0.2)[: b.pick(3, 3, 2)]:
        b.ball("snow", 0, 0, z + s, s, n=16)
        z += s * 1.65
    z -= 0.1
    b.bar("nose", (0, -0.17, z), (0, -0.38, z - 0.02), 0.04, 0.004)
    for i in (-1, 1):
        b.ball("eye", i * 0.07, -0.18, z + 0.07, 0.025, n=6)
        b.bar("arm", (i * 0.25, 0, 0.85), (i * 0.7, -0.05, b.u(0.9, 1.2)), 0.02, 0.01, 5)
    if b.p(0.6):
        b.cylinder("hat", 0, 0, z + 0.13, 0.24, 0.02)
        b.cylinder("hat", 0, 0, z + 0.13, 0.15, 0.22)


@_register("streetlight")
def _streetlight(b: Builder) -> None:
    h = b.u(1.6, 2.2)
    b.cylinder("base", 0, 0, 0, 0.08, 0.15, 0.05)
    reach = b.u(0.3, 0.6)
    for i in (-1, 1) if b.p(0.3) else (1,):
        b.tube("pole", [(0, 0, 0.1), (0, 0, h), (i * reach * 0.3, 0, h + 0.12), (i * reach, 0, h + 0.13)], 0.025)
        b.ball("lamp", i * reach, 0, h + 0.11, (0.16, 0.07, 0.04))


@_register("traffic light")
def _traffic_light(b: Builder) -> None:
    h = b.u(0.6, 1.0)
    b.bar("pole", (0, 0, -h), (0, 0, 0), 0.04)
    b.box("case", 0, 0, 0, 0.28, 0.2, 0.8)
    for k in range(3):
        z = 0.14 + k * 0.26
        b.bar("light", (0, -0.1, z), (0, -0.13, z), 0.1, 0.08, 14)
        b.band("visor", arc(0.11, 0, PI, 7) * (1, 1), -0.26, -0.1, 0.012)
        b.move(b.mark() - 1, (0, 0, z), 0, -PI / 2, (0, 0, 0))


@_register("fire hydrant")
def _hydrant(b: Builder) -> None:
    b.lathe("body", [(0, 0), (0.26, 0), (0.26, 0.06), (0.18, 0.07), (0.18, 0.6), (0.23, 0.61), (0.23, 0.67), (0.17, 0.7), (0.12, 0.8), (0, 0.84)])
    b.cylinder("nut", 0, 0, 0.82, 0.04, 0.08, n=6)
    for i in (-1, 1):
        b.bar("nozzle", (0, 0, 0.45), (i * 0.3, 0, 0.45), 0.08, n=12)
    b.bar("nozzle", (0, 0, 0.38), (0, -0.28, 0.38), 0.1, n=12)


@_register("stop sign")
def _stop_sign(b: Builder) -> None:
    h, r = b.u(1.2, 1.8), b.u(0.3, 0.4)
    b.bar("pole", (0, 0.03, 0), (0, 0.03, h + r), 0.03)
    b.extrude("sign", circle(r, 8, start=PI / 8) + (0, h), -0.015, 0.015, 1)
    b.ring("rim", 0, -0.01, h, r * 0.9, 0.012, axis=1, n=8, m=4)


@_register("mailbox")
def _mailbox(b: Builder) -> None:
    w, d, h = b.u(0.26, 0.36), b.u(0.5, 0.65), b.u(0.6, 0.9)
    outline = np.concatenate([[(-w / 2, h), (w / 2, h)], arc(w / 2, 0, PI, 9) + (0, h + w * 0.4)])
    b.extrude("box", outline, -d / 2, d / 2, 1)
    b.box("post", 0, 0, 0, 0.09, 0.09, h)
    b.box("flag", w / 2 + 0.015, -d * 0.1, h + w * 0.3, 0.015, 0.03, 0.25)
    b.box("flag", w / 2 + 0.015, -d * 0.03, h + w * 0.3 + 0.17, 0.015, 0.14, 0.08)


@_register("hot air balloon")
def _balloon(b: Builder) -> None:
    a = np.linspace(0, PI * 0.82, 12)
    r = 0.6
    b.lathe("balloon", [(r * np.sin(t), 1.2 + r * 1.1 * np.cos(t)) for t in a], n=18)
    b.box("basket", 0, 0, 0, 0.24, 0.24, 0.2)
    for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        b.bar("rope", (i * 0.11, j * 0.11, 0.18), (i * 0.22, j * 0.22, 0.65), 0.008, n=4)


# --- tools and small things -------------------------------------------------------------------------------------


@_register("hammer")
def _hammer(b: Builder) -> None:
    h, r = 1.0, b.u(0.03, 0.05)
    b.cylinder("handle", 0, 0, 0, r * 1.15, h, r, 10)
    b.bar("head", (0, 0, h - 0.04), (-0.24, 0, h - 0.04), 0.06, n=10)
    b.bar("head", (-0.2, 0, h - 0.04), (-0.27, 0, h - 0.04), 0.085, n=12)
    if b.p(0.65):
        for i in (-1, 1):
            b.tube("claw", [(0, 0, h - 0.04), (0.14, i * 0.02, h - 0.03), (0.27, i * 0.045, h - 0.12)], (0.055, 0.035, 0.012), 6)
    else:
        b.bar("head", (0, 0, h - 0.04), (0.25, 0, h - 0.04), 0.06, b.pick(0.07, 0.01), 10)
    b.move(0, axis=1, angle=b.u(-0.8, 0.8))


@_register("axe")
def _axe(b: Builder) -> None:
    b.cylinder("handle", 0, 0, 0, 0.04, 1.0, 0.035, 8)
    s = b.u(0.2, 0.32)
    blade = [(0.06, 0.78), (0.06, 0.96), (-s * 0.4, 0.95), (-s, 1.02 + s * 0.1), (-s * 1.1, 0.86), (-s, 0.72 - s * 0.1), (-s * 0.4, 0.79)]
    b.extrude("blade", blade, -0.025, 0.025, 1)
    if b.p(0.2):
        b.mirror(b.mark() - 1)
    b.move(0, axis=1, angle=b.u(-0.8, 0.8))


@_register("sword")
def _sword(b: Builder) -> None:
    w, h = b.u(0.035, 0.07), 1.0
    b.loft("blade", [[(-w * s, 0, z), (0, -0.014 * s, z), (w * s, 0, z), (0, 0.014 * s, z)] for s, z in ((1, 0), (0.9, h * 0.8), (0.7, h * 0.92), (0.01, h))])
    b.box("guard", 0, 0, -0.03, b.u(0.25, 0.4), 0.05, 0.04)
    b.cylinder("handle", 0, 0, -0.25, 0.025, 0.23, n=8)
    b.ball("pommel", 0, 0, -0.27, 0.045, n=10)
    b.move(0, axis=1, angle=b.u(-1.2, 1.2))


@_register("screwdriver")
def _screwdriver(b: Builder) -> None:
    b.lathe("handle", [(0, 0), (0.09, 0.02), (0.1, 0.2), (0.075, 0.35), (0.09, 0.42), (0.04, 0.46)], n=b.pick(6, 8, 12))
    b.cylinder("shaft", 0, 0, 0.44, 0.025, 0.5, n=8)
    b.box("tip", 0, 0, 0.92, 0.06, 0.015, 0.09)
    b.move(0, axis=1, angle=b.u(-1.4, 1.4))


@_register("wrench")
def _wrench(b: Builder) -> None:
    w, t = b.u(0.06, 0.09), 0.025
    b.box("handle", 0, 0, 0, w, 2 * t, 0.8)
    jaw = [(-0.05, 0.8), (-0.14, 0.88), (-0.14, 1.06), (-0.06, 1.1), (-0.06, 0.96), (0.06, 0.96), (0.06, 1.1), (0.14, 1.06), (0.14, 0.88), (0.05, 0.8)]
    b.extrude("jaw", jaw[::-1], -t, t, 1)
    if b.p(0.5):
        b.ring("ring", 0, 0, -0.06, 0.09, 0.04, axis=1, m=5)
    else:
        mark = b.mark()
        b.extrude("jaw", jaw[::-1], -t, t, 1)
        b.move(mark, (0, 0, 0.8), 1, PI)
    b.move(0, axis=1, angle=b.u(-1.2, 1.2))


@_register("saw")
def _saw(b: Builder) -> None:
    teeth = b.n(10, 18)
    x = np.linspace(0, 1.1, 2 * teeth + 1)
    edge = np.stack([x, 0.025 * (np.arange(len(x)) % 2)], 1)
    b.extrude("blade", np.concatenate([edge, [(1.1, 0.14), (0, b.u(0.25, 0.32))]]), -0.008, 0.008, 1)
    b.ring("handle", -0.12, 0, 0.15, 0.12, 0.04, axis=1, m=6)
    b.move(0, axis=1, angle=b.u(-0.5, 0.5))


@_register("shovel")
def _shovel(b: Builder) -> None:
    w = b.u(0.13, 0.2)
    b.extrude("blade", [(-w, 0.42), (-w, 0.15), (-w * 0.5, 0.04), (0, 0), (w * 0.5, 0.04), (w, 0.15), (w, 0.42)][::-1], -0.015, 0.015, 1)
    b.bar("shaft", (0, 0, 0.35), (0, 0.02, 1.3), 0.025)
    if b.p(0.6):
        b.tube("handle", [(0, 0.02, 1.28), (-0.09, 0.02, 1.36), (-0.09, 0.02, 1.46), (0.09, 0.02, 1.46), (0.09, 0.02, 1.36), (0, 0.02, 1.28)], 0.018, 5)
    b.move(0, axis=1, angle=b.u(-0.6, 0.6))


@_register("broom")
def _broom(b: Builder) -> None:
    b.bar("handle", (0, 0, 0.35), (0, 0, 1.5), 0.022)
    w = b.u(0.15, 0.28)
    if b.p(0.5):
        b.stack("bristles", rounded(1, 0.35, 3, 14), [(w * 2, 0.6, 0), (w * 1.4, 0.5, 0.25), (0.08, 0.2, 0.42)])
    else:
        b.box("head", 0, 0, 0.28, w * 2, 0.1, 0.08)
        for x in np.linspace(-w * 0.9, w * 0.9, 9):
            b.beam("bristles", (x * 1.1, 0, 0), (x, 0, 0.3), 0.04)


@_register("key")
def _key(b: Builder) -> None:
    r = b.u(0.14, 0.22)
    b.ring("bow", 0, 0, 0, r, b.u(0.03, 0.05), axis=1, m=6)
    b.bar("shaft", (r, 0, 0), (1.0, 0, 0), 0.035)
    for k in range(b.n(2, 3)):
        b.box("tooth", 0.95 - k * 0.11, 0, -b.u(0.1, 0.2), 0.06, 0.04, 0.16)
    b.move(0, axis=1, angle=b.u(-1.5, 1.5))


@_register("anvil")
def _anvil(b: Builder) -> None:
    w = b.u(0.22, 0.32)
    b.stack("base", rounded(0.7, w * 1.6, 9, 16), [(1, 0), (0.95, 0.08), (0.5, 0.2), (0.5, 0.32), (0.95, 0.42)])
    b.box("face", 0.05, 0, 0.42, 0.75, w, 0.14)
    b.bar("horn", (-0.3, 0, 0.5), (-0.85, 0, 0.55), 0.09, 0.01, 12)
    b.box("heel", 0.5, 0, 0.46, 0.2, w * 0.9, 0.1)


@_register("dumbbell")
def _dumbbell(b: Builder) -> None:
    r, n = b.u(0.16, 0.28), b.pick(6, 18)
    b.bar("grip", (-0.4, 0, 0), (0.4, 0, 0), 0.05)
    for i in (-1, 1):
        if b.p(0.25):
            b.ball("weight", i * 0.42, 0, 0, r)
            continue
        for k in range(b.n(1, 3)):
            b.bar("weight", (i * (0.3 + k * 0.1), 0, 0), (i * (0.39 + k * 0.1), 0, 0), r * (1 - 0.15 * k), n=n)


@_register("anchor")
def _anchor(b: Builder) -> None:
    b.bar("shank", (0, 0, 0), (0, 0, 0.95), 0.04)
    b.ring("ring", 0, 0, 1.05, 0.1, 0.03, axis=1, n=14)
    b.bar("stock", (-0.28, 0, 0.8), (0.28, 0, 0.8), 0.035)
    a = np.linspace(PI * 1.08, PI * 1.92, 11)
    b.tube("arm", np.stack([0.45 * np.cos(a), 0 * a, 0.42 + 0.45 * np.sin(a)], 1), 0.05)
    for i in (-1, 1):
        b.extrude("fluke", np.array([(0.32, 0.22), (0.52, 0.2), (0.5, 0.45)])[::i] * (i, 1), -0.05, 0.05, 1)


@_register("ice cream")
def _ice_cream(b: Builder) -> None:
    b.lathe("cone", [(0, 0), (0.22, 0.65)])
    z = 0.75
    for _ in range(b.n(1, 3)):
        b.ball("scoop", b.u(-0.03, 0.03), 0, z, 0.25, n=14)
        z += 0.3


@_register("crown")
def _crown(b: Builder) -> None:
    n, r, h = b.n(5, 9), 0.45, b.u(0.25, 0.5)
    a = np.linspace(0, 2 * PI, 4 * n + 1)
    peak = np.abs((np.arange(4 * n + 1) % 4) - 2) / 2
    b.band("band", np.stack([r * np.cos(a), r * np.sin(a)], 1), 0, 0.15 + h * peak, 0.03)
    for t in np.arange(n) * 2 * PI / n:
        b.ball("jewel", r * np.cos(t), r * np.sin(t), 0.17 + h, 0.04, n=8)


@_register("apple")
def _apple(b: Builder) -> None:
    a = np.linspace(0.02, PI - 0.02, 13)
    r = 0.45 * (1 - 0.18 * np.abs(np.cos(a)) ** 5) * np.where(a < 0.5, 0.88 + 0.24 * a, 1)
    b.lathe("flesh", [(np.sin(t) * k, np.cos(t) * k * 0.92) for t, k in zip(a, r, strict=True)])
    b.tube("stem", [(0, 0, 0.32), (0.02, 0, 0.45), (0.06, 0, 0.55)], 0.02, 5)
    if b.p(0.5):
        b.ball("leaf", 0.14, 0, 0.48, (0.12, 0.06, 0.02), n=8)


@_register("donut")
def _donut(b: Builder) -> None:
    r = b.u(0.16, 0.22)
    b.ring("dough", 0, 0, 0, 0.36, r, n=26, m=12)
    if b.p(0.6):
        b.ring("icing", 0, 0, 0.03, 0.36, r * 0.97, n=26, m=12)


@_register("hamburger")
def _hamburger(b: Builder) -> None:
    r = 0.5
    b.lathe("bun", [(0, 0), (r * 0.9, 0), (r, 0.06), (r, 0.14), (0, 0.15)])
    z = 0.15
    for part, h, s in (("meat", b.u(0.08, 0.16), 1.02), ("cheese", 0.03, 1.05), ("lettuce", 0.05, 1.1)):
        b.cylinder(part, 0, 0, z, r * s, h, n=b.pick(4, 20) if part == "cheese" else 20)
        z += h
    a = np.linspace(0, PI / 2, 6)
    b.lathe("bun", [(r * np.cos(t), z + b.u(0.28, 0.32) * np.sin(t)) for t in a])


# --- plain solids -----------------------------------------------------------------------------------------------


@_register("cube")
def _cube(b: Builder) -> None:
    b.box("cube", 0, 0, 0, 1, 1, 1)


@_register("sphere")
def _sphere(b: Builder) -> None:
    b.ball("sphere", 0, 0, 0, 1, n=26)


@_register("cylinder")
def _cylinder(b: Builder) -> None:
    b.cylinder("cylinder", 0, 0, 0, b.u(0.25, 0.6), 1, n=28)
    if b.p(0.2):
        b.move(0, axis=1, angle=PI / 2)


@_register("cone")
def _cone(b: Builder) -> None:
    r = b.u(0.3, 0.6)
    b.cylinder("cone", 0, 0, 0, r, 1, 0.004, n=28)
    if b.p(0.3):  # a traffic cone
        b.box("base", 0, 0, -0.05, r * 2.4, r * 2.4, 0.06)
        for k in (0.3, 0.6):
            b.lathe("stripe", [(r * (1 - k) + 0.01, k), (r * (0.85 - k) + 0.01, k + 0.15)])


@_register("pyramid")
def _pyramid(b: Builder) -> None:
    b.cylinder("pyramid", 0, 0, 0, b.u(0.6, 0.95), b.u(0.7, 1.1), 0.003, n=b.pick(4, 4, 4, 3))
    b.move(0, axis=2, angle=PI / 4)


@_register("torus")
def _torus(b: Builder) -> None:
    b.ring("torus", 0, 0, 0, 0.5, b.u(0.08, 0.25), axis=b.pick(0, 1, 2, 2), n=30, m=12)


@_register("prism")
def _prism(b: Builder) -> None:
    b.cylinder("prism", 0, 0, 0, b.u(0.3, 0.6), 1, n=b.pick(3, 3, 5, 6))
    if b.p(0.5):
        b.move(0, axis=1, angle=PI / 2)


@_register("hemisphere")
def _hemisphere(b: Builder) -> None:
    b.lathe("hemisphere", [(0, 0), *((np.cos(t), np.sin(t)) for t in np.linspace(0, PI / 2, 9))], n=26)
    if b.p(0.2):
        b.move(0, axis=0, angle=PI)


@_register("cross")
def _cross(b: Builder) -> None:
    t, w = b.u(0.15, 0.3), b.u(0.6, 1.0)
    b.box("post", 0, 0, 0, t, t * 0.7, 1.2)
    b.box("beam", 0, 0, b.u(0.5, 0.8), w, t * 0.7, t)


@_register("arch")
def _arch(b: Builder) -> None:
    w, t, d, h = b.u(0.7, 1.1), b.u(0.12, 0.25), b.u(0.2, 0.4), b.u(0.3, 0.8)
    over = arc(w / 2, 0, PI, 13) + (0, h)
    under = arc(w / 2 - t, PI, 0, 13) + (0, h)
    b.extrude("arch", np.concatenate([[(w / 2, 0)], over, [(-w / 2, 0), (t - w / 2, 0)], under, [(w / 2 - t, 0)]]), -d / 2, d / 2, 1)


@_register("arrow")
def _arrow(b: Builder) -> None:
    t, head = b.u(0.06, 0.14), b.u(0.2, 0.32)
    if b.p(0.6):
        b.extrude("arrow", [(0, -t), (0.65, -t), (0.65, -head), (1.1, 0), (0.65, head), (0.65, t), (0, t)], -0.06, 0.06, 1)
    else:
        b.bar("shaft", (0, 0, 0), (0.8, 0, 0), t * 0.5)
        b.bar("head", (0.75, 0, 0), (1.1, 0, 0), head * 0.6, 0.004, 14)
    b.move(0, axis=1, angle=b.u(0, 6.28))


@_register("column")
def _column(b: Builder) -> None:
    r = b.u(0.1, 0.16)
    b.box("base", 0, 0, 0, r * 3, r * 3, 0.07)
    b.lathe("shaft", [(r * 1.3, 0.07), (r, 0.12), (r * 0.85, 0.88), (r * 1.3, 0.93)], n=b.pick(8, 12, 20))
    b.box("capital", 0, 0, 0.93, r * 3, r * 3, 0.07)


CLASSES: tuple[str, ...] = tuple(_MAKERS)
