"""Other furniture and fittings of a house."""

from __future__ import annotations

import numpy as np
from solids import Builder, circle, rounded

from .parts import cushion, doors, drawers, feet, flat_monitor, lamp, legs, register, shell

PI = np.pi


@register("stool")
def _stool(b: Builder) -> None:
    w, h, t = b.u(0.28, 0.42), b.u(0.4, 0.8), b.u(0.02, 0.08)
    if b.p(0.6):
        b.stack("seat", circle(w / 2, 20), [(0.95, h - t), (1, h - t / 2), (0.95, h)])
    else:
        b.box("seat", 0, 0, h - t, w, w * b.u(0.8, 1.2), t)
    kind = b.pick("legs", "legs", "three", "pedestal")
    if kind == "legs":
        legs(b, w, w, h - t, splay=b.u(0, 0.1))
        if h > 0.6:
            b.ring("leg", 0, 0, h * 0.35, w * 0.42, 0.01, n=16, m=5)
    elif kind == "three":
        for a in np.arange(3) * 2 * PI / 3:
            c, s = np.cos(a) * w * 0.5, np.sin(a) * w * 0.5
            b.bar("leg", (c, s, 0), (c * 0.6, s * 0.6, h - t), 0.018)
    else:
        b.cylinder("column", 0, 0, 0, 0.03, h - t, n=10)
        b.lathe("base", [(0, 0), (w * 0.55, 0), (w * 0.5, 0.025), (0.03, 0.05)])


@register("bench")
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


@register("bookshelf")
def _bookshelf(b: Builder) -> None:
    w, d, h = b.u(0.6, 1.5), b.u(0.25, 0.4), b.u(1.1, 2.1)
    n, t = b.n(2, 5), b.u(0.02, 0.04)
    shell(b, w, d, 0, h, n, b.p(0.7), t)
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


@register("cabinet")
def _cabinet(b: Builder) -> None:
    w, d, h, lift = b.u(0.6, 1.3), b.u(0.35, 0.55), b.u(0.8, 1.5), b.u(0.03, 0.15)
    feet(b, w, d, lift)
    b.box("case", 0, 0, lift, w, d, h - lift)
    b.box("top", 0, 0, h, w * 1.04, d * 1.04, 0.03)
    if b.p(0.4):
        drawers(b, 0, -d / 2, h - 0.2, w * 0.97, 0.2, 1, 2)
        doors(b, 0, -d / 2, lift, w * 0.97, h - lift - 0.2, 2)
    else:
        doors(b, 0, -d / 2, lift, w * 0.97, h - lift, b.pick(2, 2, 3))


@register("wardrobe")
def _wardrobe(b: Builder) -> None:
    w, d, h, lift = b.u(0.8, 1.9), b.u(0.5, 0.65), b.u(1.7, 2.3), b.u(0.03, 0.12)
    feet(b, w, d, lift)
    b.box("case", 0, 0, lift, w, d, h - lift)
    low = b.u(0.2, 0.4) if b.p(0.4) else 0
    if low:
        drawers(b, 0, -d / 2, lift, w * 0.97, low, 1, b.n(1, 2))
    doors(b, 0, -d / 2, lift + low, w * 0.97, h - lift - low, max(2, round(w / 0.55)))
    if b.p(0.4):
        b.box("crown", 0, 0, h, w * 1.05, d * 1.08, b.u(0.03, 0.1))


@register("tv stand")
def _tv_stand(b: Builder) -> None:
    w, d, h = b.u(1.1, 2.0), b.u(0.35, 0.5), b.u(0.35, 0.6)
    third = w / 3
    shell(b, w, d, 0.05, h - 0.05, b.n(0, 1), b.p(0.6), 0.03)
    for i in (-1, 1):
        b.box("side", i * third / 2, 0, 0.05, 0.025, d, h - 0.05)
        if b.p(0.7):
            b.box("case", i * third, 0, 0.06, third * 0.95, d * 0.98, h - 0.08)
            (doors if b.p(0.5) else lambda *a: drawers(*a[:-1], 2))(
                b, i * third, -d / 2, 0.06, third * 0.93, h - 0.1, 1
            )
    feet(b, w, d, 0.05)
    if b.p(0.3):
        mark = b.mark()
        flat_monitor(b, w * b.u(0.6, 0.9), w * 0.4, 0.04)
        b.move(mark, (0, 0, h))


@register("shelf")
def _shelf(b: Builder) -> None:
    w, d = b.u(0.6, 1.4), b.u(0.18, 0.32)
    n = b.n(1, 3)
    for k in range(n):
        b.box("shelf", 0, 0, k * 0.35, w, d, 0.03)
        for i in (-1, 1):
            b.extrude(
                "bracket",
                [(d / 2, k * 0.35 - 0.18), (d / 2, k * 0.35), (-d * 0.3, k * 0.35)],
                i * w * 0.35 - 0.015,
                i * w * 0.35 + 0.015,
                0,
            )
    if b.p(0.5):
        for x in np.arange(-w * 0.4, b.u(-0.2, 0.3) * w, 0.06):
            b.box("book", x, 0, 0.03, 0.045, d * 0.75, b.u(0.16, 0.26))


@register("lamp")
def _table_lamp(b: Builder) -> None:
    if b.p(0.25):  # a desk lamp with a jointed arm
        b.cylinder("base", 0, 0, 0, 0.1, 0.02)
        elbow, head = (0, b.u(0.02, 0.12), b.u(0.2, 0.3)), (0, -b.u(0.08, 0.2), b.u(0.36, 0.48))
        b.bar("arm", (0, 0, 0.02), elbow, 0.01)
        b.bar("arm", elbow, head, 0.01)
        b.bar("shade", head, (head[0], head[1] - 0.1, head[2] - 0.08), 0.03, b.u(0.06, 0.09), 14)
    else:
        lamp(b, 0, 0, 0, 0.5)


@register("floor lamp")
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


@register("chandelier")
def _chandelier(b: Builder) -> None:
    n, r = b.n(5, 8), b.u(0.3, 0.5)
    b.lathe("body", [(0, 0), (0.06, 0.06), (0.03, 0.15), (0.07, 0.3), (0.015, 0.4), (0.015, b.u(0.6, 0.9))], n=12)
    for a in np.arange(n) * 2 * PI / n:
        c, s = np.cos(a), np.sin(a)
        b.tube(
            "arm", [(k * c, k * s, z) for k, z in ((0.04, 0.12), (r * 0.5, 0.02), (r * 0.9, 0.08), (r, 0.18))], 0.012, 5
        )
        b.cylinder("candle", r * c, r * s, 0.18, 0.035, 0.02, n=8)
        b.cylinder("candle", r * c, r * s, 0.2, 0.016, 0.13, n=6)


@register("ceiling fan")
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


@register("fan")
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
        b.extrude("blade", circle(r * 0.22, 10, r * 0.42) + np.array([0, r * 0.45]), 0.02, 0.035, 1)
        b.move(mark, (0, 0, h), 1, k * 2 * PI / n)
    b.ball("motor", 0, 0.06, h, (r * 0.3, 0.09, r * 0.3))


@register("sink")
def _sink(b: Builder) -> None:
    w, d, h = b.u(0.45, 0.75), b.u(0.38, 0.52), b.u(0.12, 0.22)
    outer = rounded(w, d, b.pick(2.2, 3, 16), 28)
    inner = rounded(w * 0.82, d * 0.7, b.pick(2.2, 3, 8), 28)
    z = b.u(0.55, 0.8)
    kind = b.pick("pedestal", "cabinet", "wall")
    levels = [
        (outer, 0.5, z),
        (outer, 0.95, z + h * 0.7),
        (outer, 1, z + h),
        (inner, 1, z + h),
        (inner, 0.8, z + h * 0.4),
        (inner, 0.3, z + h * 0.2),
    ]
    rings = np.zeros((len(levels), 28, 3))
    for ring, (outline, s, k) in zip(rings, levels, strict=True):
        ring[:, :2], ring[:, 2] = outline * s, k
    b.loft("basin", rings)
    if kind == "pedestal":
        b.lathe("pedestal", [(0.15, 0), (0.09, 0.1), (0.08, z * 0.6), (0.14, z + 0.05)], 0, d * 0.1)
    elif kind == "cabinet":
        b.box("cabinet", 0, 0, 0, w * 1.05, d * 1.05, z + h * 0.5)
        doors(b, 0, -d * 0.525, 0.05, w, z - 0.05, 2)
    y = d * 0.42
    b.tube("tap", [(0, y, z + h), (0, y, z + h + 0.16), (0, y - 0.05, z + h + 0.2), (0, y - 0.14, z + h + 0.15)], 0.016)
    for i in (-1, 1):
        b.cylinder("tap", i * 0.09, y, z + h, 0.025, 0.05, n=8)


@register("stove")
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


@register("washing machine")
def _washing_machine(b: Builder) -> None:
    w, d, h = b.u(0.55, 0.68), b.u(0.5, 0.65), b.u(0.75, 0.95)
    b.box("case", 0, 0, 0, w, d, h)
    b.ring("door", 0, -d / 2, h * 0.45, w * b.u(0.28, 0.34), 0.03, axis=1)
    b.bar("glass", (0, -d / 2, h * 0.45), (0, -d / 2 - 0.03, h * 0.45), w * 0.26, w * 0.2, 16)
    b.box("panel", 0, -d / 2 - 0.01, h * 0.86, w * 0.95, 0.02, h * 0.12)
    b.bar("knob", (w * 0.2, -d / 2, h * 0.92), (w * 0.2, -d / 2 - 0.05, h * 0.92), 0.035)
    b.box("drawer", -w * 0.3, -d / 2 - 0.015, h * 0.88, w * 0.3, 0.02, h * 0.08)


@register("microwave")
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


@register("television")
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
            legs(b, w * 0.8, d * 0.8, w * 0.2)
            b.move(mark, (0, 0, -w * 0.2))
    else:
        flat_monitor(b, w * 1.2, w * 0.7, 0.05)


@register("radiator")
def _radiator(b: Builder) -> None:
    w, h, n = b.u(0.6, 1.2), b.u(0.45, 0.75), b.n(7, 14)
    for x in np.linspace(-w / 2, w / 2, n):
        cushion(b, "fin", x, 0, 0.08, w / n * 0.8, b.u(0.09, 0.12), h, 4)
    for z in (0.12, h):
        b.bar("pipe", (-w * 0.52, 0, z), (w * 0.52, 0, z), 0.025)


@register("door")
def _door(b: Builder) -> None:
    w, h, t = b.u(0.75, 1.05), b.u(1.95, 2.2), 0.05
    b.box("door", 0, 0, 0, w, t, h)
    for i in (-1, 1):
        b.box("frame", i * (w / 2 + 0.05), 0, 0, 0.1, 0.12, h + 0.1)
    b.box("frame", 0, 0, h, w + 0.2, 0.12, 0.1)
    rows, columns = b.n(1, 4), b.n(1, 2)
    for r in range(rows):
        for c in range(columns):
            b.box(
                "panel",
                ((c + 0.5) / columns - 0.5) * w * 0.85,
                -t / 2,
                0.15 + r / rows * h * 0.88,
                w * 0.7 / columns,
                0.03,
                h * 0.72 / rows,
            )
    for j in (-1, 1):
        b.ball("knob", w * 0.4, j * 0.07, h * 0.48, 0.04)


@register("window")
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


@register("curtain")
def _curtain(b: Builder) -> None:
    w, h, waves = b.u(1.0, 1.8), b.u(1.2, 2.2), b.n(3, 8)
    for i in (-1, 1):
        x = np.linspace(0.04 if b.p(0.4) else 0.3, 1, 4 * waves + 1)
        b.band("cloth", np.stack([i * x * w / 2, 0.05 * np.sin(np.arange(len(x)) * PI / 2)], 1), 0, h, 0.015)
    b.bar("rod", (-w * 0.58, 0, h + 0.03), (w * 0.58, 0, h + 0.03), 0.02)
    for i in (-1, 1):
        b.ball("rod", i * w * 0.58, 0, h + 0.03, 0.045)


@register("stairs")
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


@register("ladder")
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


@register("fence")
def _fence(b: Builder) -> None:
    w, h, n = b.u(1.6, 2.6), b.u(0.7, 1.1), b.n(6, 14)
    wide = w / n * b.u(0.3, 0.85)
    peak = b.u(0, 0.14)
    for x in np.linspace(-w / 2, w / 2, n):
        b.extrude(
            "picket",
            [(x - wide / 2, 0), (x + wide / 2, 0), (x + wide / 2, h - peak), (x, h), (x - wide / 2, h - peak)],
            -0.015,
            0.015,
            1,
        )
    for k in (0.25, 0.75):
        b.box("rail", 0, 0.03, h * k, w * 1.03, 0.03, 0.08)


@register("fireplace")
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
