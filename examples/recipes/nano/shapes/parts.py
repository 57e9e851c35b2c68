"""The register of makers, and the parts that pieces of furniture share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from solids import Builder, arc, rounded

PI = np.pi
MAKERS: dict[str, Callable[[Builder], None]] = {}


def register(name: str) -> Callable[[Callable[[Builder], None]], Callable[[Builder], None]]:
    """Enter the function below as the maker of the class `name`."""

    def enter(maker: Callable[[Builder], None]) -> Callable[[Builder], None]:
        MAKERS[name] = maker
        return maker

    return enter


def legs(
    b: Builder,
    w: float,
    d: float,
    h: float,
    thick: float | None = None,
    splay: float | None = None,
    z: float = 0,
    part: str = "leg",
) -> None:
    """Four legs under a w x d plate at z + h: square, round, turned or tapered, at times splayed or braced."""
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


def handle(b: Builder, kind: str, x: float, y: float, z: float, w: float) -> None:
    """A knob or a bar on a front at y."""
    if kind == "knob":
        b.ball("knob", x, y - 0.015, z, b.u(0.012, 0.022), n=8)
    elif kind == "bar":
        b.box("knob", x, y - 0.015, z - 0.008, w * 0.4, 0.02, 0.016)
    elif kind == "pair":
        for i in (-1, 1):
            b.ball("knob", x + i * w * 0.28, y - 0.015, z, 0.016, n=8)


def drawers(
    b: Builder, x: float, y: float, z: float, w: float, h: float, rows: int, columns: int = 1, part: str = "drawer"
) -> None:
    """A grid of drawer fronts on the front plane y, standing proud of it or set back between dividers."""
    kind = b.pick("knob", "bar", "pair", "none") if w / columns > 0.45 else b.pick("knob", "bar", "none")
    gap, proud = b.u(0.008, 0.03), b.u(0.006, 0.03)
    deep = b.u(0.1, 0.35) if b.p(0.35) else 0.0  # CAD models often hold whole drawers, seen by sampled points
    heights = np.full(rows, 1.0)
    if b.p(0.35):
        heights = np.linspace(b.u(1.2, 1.7), 1, rows)
    heights = heights / heights.sum() * h
    for j in range(columns):
        cx, cz = x + (j + 0.5) / columns * w - w / 2, z
        for k in heights:
            b.box(part, cx, y + (deep - proud) / 2, cz + gap / 2, w / columns - gap, proud + deep, k - gap)
            handle(b, kind, cx, y - proud, cz + k / 2, w / columns)
            cz += k


def doors(b: Builder, x: float, y: float, z: float, w: float, h: float, count: int) -> None:
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


def shell(
    b: Builder,
    w: float,
    d: float,
    z: float,
    h: float,
    shelves: int = 0,
    back: bool = True,
    t: float = 0.025,
    x: float = 0,
    y: float = 0,
) -> None:
    """An open case of boards: two sides, top, bottom, back, shelves."""
    for i in (-1, 1):
        b.box("side", x + i * (w / 2 - t / 2), y, z, t, d, h)
    for k in np.linspace(0, h - t, shelves + 2):
        b.box("shelf", x, y, z + k, w, d, t)
    if back:
        b.box("back", x, y + d / 2 - t / 4, z, w, t / 2, h)


def feet(b: Builder, w: float, d: float, h: float, part: str = "leg") -> None:
    """What a case stands on: short feet, a plinth, or taller legs."""
    kind = b.pick("feet", "plinth", "legs")
    if kind == "plinth":
        b.box(part, 0, 0, 0, w * 0.94, d * 0.9, h)
    else:
        legs(b, w, d, h, thick=b.u(0.03, 0.07) if kind == "feet" else b.u(0.025, 0.045))


def cushion(
    b: Builder, part: str, x: float, y: float, z: float, w: float, d: float, h: float, power: float = 5.0
) -> None:
    b.ball(part, x, y, z + h / 2, (w / 2, d / 2, h / 2), power, 12)


def lamp(b: Builder, x: float, y: float, z: float, s: float) -> None:
    """A small table lamp of the height s."""
    r = s * b.u(0.12, 0.22)
    if b.p(0.5):
        b.lathe(
            "base", [(0, z), (r, z), (r * 1.2, z + s * 0.2), (r * 0.3, z + s * 0.5), (r * 0.2, z + s * 0.62)], x, y, 12
        )
    else:
        b.cylinder("base", x, y, z, r * 1.2, s * 0.04)
        b.bar("pole", (x, y, z), (x, y, z + s * 0.7), s * 0.025)
    wide = s * b.u(0.26, 0.38)
    b.lathe("shade", [(wide, z + s * 0.58), (wide * b.u(0.4, 1.0), z + s)], x, y, 14)


def star(b: Builder, h: float, r: float, arms: int = 5) -> None:
    """A swivel base: arms with castors, and a column."""
    turn = b.u(0, PI)
    for k in range(arms):
        c, s = np.cos(turn + k * 2 * PI / arms), np.sin(turn + k * 2 * PI / arms)
        b.bar("base", (0, 0, 0.1), (r * c, r * s, 0.06), 0.028, 0.018, 6)
        b.ball("wheel", r * c, r * s, 0.03, 0.03, n=8)
    b.cylinder("column", 0, 0, 0.07, 0.03, h - 0.07, n=8)


def flat_monitor(b: Builder, w: float, h: float, t: float) -> None:
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
        b.extrude(
            "stand",
            [(-deep / 2, 0), (deep / 2, 0), (deep / 2 * 0.6 + t, lift + h * 0.25), (t, lift + h * 0.25)],
            -foot / 2,
            foot / 2,
            0,
        )
        return
    b.beam("stand", (0, t + lean, 0), (0, t, lift + h * b.u(0.2, 0.5)), min(nw, 0.09))
    if nw > 0.09:
        b.box("stand", 0, t, 0, nw, 0.02, lift + h * 0.3)
    if kind == "plate":
        b.box("stand", 0, t, 0, foot, deep, b.u(0.008, 0.03))
    elif kind == "oval":
        b.stack("stand", rounded(foot, deep, 2, 20), [(1, 0), (1, 0.008), (b.u(0.3, 1), b.u(0.015, 0.04))], y=t)
    else:
        b.tube(
            "stand",
            np.c_[arc(1, PI * 1.1, PI * 1.9, 9) * (foot / 2, deep) + (0, t + deep * 0.5), np.full(9, 0.012)],
            0.012,
        )
