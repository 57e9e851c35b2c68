"""The ten classes of ModelNet10, the most varied of all."""

from __future__ import annotations

import numpy as np
from solids import Builder, arc, circle, rotation, rounded

from .parts import cushion, doors, drawers, feet, flat_monitor, lamp, legs, register, shell, star

PI = np.pi


@register("bathtub")
def _bathtub(b: Builder) -> None:
    w, d, h = b.u(1.35, 1.95), b.u(0.65, 0.95), b.u(0.4, 0.7)
    kind = b.pick("built-in", "built-in", "free", "free", "claw", "round", "corner", "shell")
    n = 32
    inner_power = b.pick(2.2, 3, 4, 8)
    rim, depth = b.u(0.03, 0.14), b.u(0.6, 0.9)
    if kind == "round":
        w = d = b.u(1.2, 1.8)
        inner_power = b.pick(2, 2, 4)
    power = {
        "built-in": 20,
        "free": b.pick(2.2, 3, 4),
        "claw": b.pick(2.5, 3.5),
        "round": inner_power,
        "corner": 20,
        "shell": b.pick(3, 5, 12),
    }[kind]
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
    levels = [
        (outer, foot, lift),
        (outer, (1 + foot) / 2 + (0 if foot == 1 else 0.04), lift + h * 0.5),
        (outer, 1.0, h + lift),
    ]
    if kind in ("claw", "free") and b.p(0.6):
        levels += [(outer, 1.05, h + lift + 0.01), (outer, 1.05, h + lift + 0.03)]
    levels += [
        (inner, 1.0, h + lift + (0.03 if len(levels) > 3 else 0)),
        (inner, (1 + slope) / 2, h + lift - depth * h * 0.5),
        (inner, slope * 0.95, h + lift - depth * h * 0.95),
        (inner, slope * 0.7, h + lift - depth * h),
    ]
    rings = np.zeros((len(levels), n, 3))
    for ring, (outline, s, z) in zip(rings, levels, strict=True):
        ring[:, :2], ring[:, 2] = outline * s, z
        ring[:, 0] += slip * (1 - s)
    if kind == "claw" and b.p(0.6):  # a slipper: one end stands higher
        raise_ = b.u(0.1, 0.35)
        rings[:, :, 2] += (
            raise_ * np.clip(rings[:, :, 0] / w + 0.2, 0, 1) ** 2 * (rings[:, :, 2:].max(1) > lift + h * 0.6)
        )
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
        b.tube(
            "tap",
            [(x, y, z - 0.02), (x, y, z + 0.14), (x - end * 0.05, y, z + 0.18), (x - end * 0.14, y, z + 0.14)],
            0.018,
        )
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
            cushion(b, "pad", (j + 0.5) / k * w - w / 2, y - t / 2, z + h * 0.3, w / k * 0.97, t * 1.4, h * 0.66)
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


@register("bed")
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
            cushion(b, "mattress", 0, 0, z - 0.05, w * b.u(0.93, 1), d * 0.98, m, b.u(8, 16))
        else:
            b.box("mattress", 0, 0, z - 0.05, w * b.u(0.93, 1), d * 0.98, m)
        top = z - 0.05 + m
        if b.p(0.5):  # a blanket hangs over the sides
            long = d * b.u(0.5, 0.75)
            over = b.u(0.0, 0.04)
            b.box(
                "blanket",
                0,
                -d / 2 + long / 2,
                top - b.u(0.02, m),
                w * 1.0 + over * 2,
                long,
                b.u(0.02, 0.05) + m * b.u(0.2, 0.99),
            )
        rows = b.pick(1, 1, 1, 2)
        count = 0 if b.p(0.12) else (1 if single else b.pick(1, 2, 2, 2, 3))
        for row in range(rows):
            for j in range(count):
                x = ((j + 0.5) / count - 0.5) * w * 0.95
                mark = b.mark()
                cushion(b, "pillow", 0, 0, 0, w / count * b.u(0.7, 0.9), b.u(0.28, 0.42), b.u(0.08, 0.18), 3.0)
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
        legs(b, w, d, base - 0.1, thick=b.u(0.04, 0.1))
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
                lamp(b, x, d / 2 - s / 2, hh, 0.45)
    if b.p(0.06):
        b.box("bench", 0, -d / 2 - t - 0.25, 0.05, w * 0.8, 0.4, 0.4)


def _chair_back(b: Builder, w: float, y: float, z: float, h: float, t: float) -> None:
    kind = b.pick("solid", "solid", "curve", "slats", "ladder", "frame", "spindles", "pad", "oval", "splat")
    gap = 0 if b.p(0.5) else b.u(0.05, 0.4) * h
    mark = b.mark()
    if kind == "solid":
        b.box("back", 0, 0, gap, w, t, h - gap)
    elif kind == "pad":
        cushion(b, "back", 0, 0, gap * 0.6, w, b.u(0.06, 0.14), h - gap * 0.6, b.u(3, 9))
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
        b.tube(
            "arm",
            [
                (x, f, z - 0.02),
                (x, f * 1.05, z + h * 0.8),
                (x, f * 0.7, z + h),
                (x, d * 0.3, z + h),
                (x, d / 2, z + h * 0.95),
            ],
            t * 0.5,
        )
    b.mirror(mark)


@register("chair")
def _chair(b: Builder) -> None:
    w, d, z = b.u(0.38, 0.58), b.u(0.38, 0.56), b.u(0.36, 0.5)
    t, h, bt = b.u(0.02, 0.09), b.u(0.3, 0.68), b.u(0.018, 0.06)
    kind = b.pick(
        "plain",
        "plain",
        "plain",
        "plain",
        "plain",
        "office",
        "office",
        "tub",
        "tulip",
        "sled",
        "lounge",
        "block",
        "shell",
        "wing",
    )
    if kind in ("tub", "wing", "block"):  # upholstered
        w, d, z = b.u(0.6, 0.9), b.u(0.6, 0.85), b.u(0.28, 0.45)
        lift = b.u(0.0, 0.16) if b.p(0.7) else 0.0
        if lift:
            legs(b, w * 0.9, d * 0.9, lift + 0.02, thick=b.u(0.03, 0.06))
        a, at = b.u(0.08, 0.16), b.u(0.15, 0.3)
        if kind == "tub":
            path = arc(0.5, -0.15 * PI, 1.15 * PI, 13) * (w, d)
            rise = np.linspace(-1, 1, 13) ** 2
            b.band("back", path, lift, z + at + b.u(0.0, 0.35) * (1 - rise), a)
            b.stack("seat", rounded(w * 0.92, d * 0.92, 2.5), [(1, lift), (1, z)])
        else:
            b.box("seat", 0, 0, lift, w, d, z - lift - 0.1)
            cushion(b, "cushion", 0, -a * 0.4, z - 0.12, w - 2 * a, d - a, 0.16)
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
            legs(b, w, d * 1.1, z - 0.03)
        else:
            for i in (-1, 1):
                b.tube(
                    "leg",
                    [(i * w / 2, -d / 2, z), (i * w / 2, -d / 2, 0), (i * w / 2, d / 2, 0), (i * w / 2, d * 0.3, z)],
                    0.02,
                )
        if b.p(0.5):
            _chair_arms(b, w * 1.05, d, z, 0.1)
        return
    if kind == "shell":  # one moulded piece of seat and back
        n = 11
        a = np.linspace(-1, 1, n)
        rings = []
        for y, k, s in (
            (-d / 2, z - 0.02, 0.8),
            (-d * 0.3, z, 1.0),
            (d * 0.25, z - 0.01, 1.0),
            (d * 0.45, z + 0.12, 1.0),
            (d * 0.55, z + h * 0.7, 0.95),
            (d * 0.6, z + h, 0.6),
        ):
            curl = 0.05 * a**2
            rings.append(np.stack([a * w / 2 * s, y - curl * (k > z + 0.05), k + curl * (k < z + 0.05)], 1))
        top = np.array(rings)
        both = np.concatenate([top, top[:, ::-1] - (0, -0.01, 0.025)], 1)
        b.loft("seat", both)
        if b.p(0.5):
            legs(b, w * 0.95, d, z, thick=0.03, splay=b.u(0.02, 0.08))
        elif b.p(0.5):
            star(b, z, b.u(0.22, 0.32), b.pick(4, 5))
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
        cushion(b, "seat", 0, 0, z - t - 0.02, w, d, t + 0.05, b.u(5, 10))
    else:
        b.box("seat", 0, 0, z - t, w, d, t)
        if b.p(0.15):
            cushion(b, "cushion", 0, 0, z - 0.01, w * 0.9, d * 0.9, 0.07)
    if kind == "office":
        star(b, z - t, b.u(0.24, 0.36), b.pick(4, 5, 5, 5, 6))
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
            legs(b, w, d, z - t)
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
            drawers(b, x, y - d / 2, z, w, h - z, b.n(2, 4))
        else:
            doors(b, x, y - d / 2, z, w, h - z, 1)


@register("desk")
def _desk(b: Builder) -> None:
    w, d, h, t = b.u(1.0, 1.95), b.u(0.5, 0.95), b.u(0.66, 0.82), b.u(0.018, 0.06)
    kind = b.pick(
        "one",
        "one",
        "two",
        "two",
        "two",
        "panels",
        "panels",
        "L",
        "L",
        "drawer",
        "computer",
        "executive",
        "secretary",
        "curve",
    )
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
                b.beam(
                    "leg",
                    (-side * (w / 2 - 0.04), j * (d / 2 - 0.04), 0),
                    (-side * (w / 2 - 0.04), j * (d / 2 - 0.04), under),
                    0.045,
                )
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
        drawers(b, 0, -d * 0.465 + 0.01, under - rim, w * 0.93, rim, 1, b.n(1, 4))
        legs(b, w * 0.97, d * 0.95, under - rim * 0.5, thick=b.u(0.03, 0.06))
    if kind == "secretary" or (b.p(0.22) and kind != "computer"):  # hutch
        tall, deep = b.u(0.25, 0.85), d * b.u(0.3, 0.5)
        mark = b.mark()
        shell(b, w * 0.98, deep, h, tall, b.n(0, 2), b.p(0.8), 0.022)
        for k in range(b.n(0, 3)):
            b.box("side", (k - 1) * w * 0.25, 0, h, 0.02, deep, tall)
        b.move(mark, (0, d / 2 - deep / 2, 0))
    elif b.p(0.14):
        mark = b.mark()
        flat_monitor(b, 0.5, 0.32, 0.03)
        b.move(mark, (b.u(-0.2, 0.2) * w, d * 0.2, h))
        if b.p(0.5):
            b.box("keyboard", 0, -d * 0.15, h, 0.42, 0.14, 0.02)
    elif b.p(0.06):
        lamp(b, -w * 0.35, d * 0.25, h, 0.45)


@register("dresser")
def _dresser(b: Builder) -> None:
    tall = b.p(0.25)
    w, d, h = (
        (b.u(0.7, 1.05), b.u(0.4, 0.55), b.u(1.0, 1.45)) if tall else (b.u(0.95, 1.9), b.u(0.38, 0.58), b.u(0.65, 1.0))
    )
    lift = b.u(0.03, 0.2) if b.p(0.75) else 0.0
    if lift:
        feet(b, w, d, lift)
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
            drawers(b, 0, -d / 2, z, wide, high - part, rows - 1)
            drawers(b, 0, -d / 2, z + high - part, wide, part, 1, 2)
        else:
            drawers(b, 0, -d / 2, z, wide, high, rows, b.pick(1, 1, 2))
    elif b.p(0.2):  # drawers beside doors
        third = wide / 3
        doors(b, 0, -d / 2, z, third, high, b.n(1, 2))
        for i in (-1, 1):
            drawers(b, i * third, -d / 2, z, third, high, rows)
    elif b.p(0.3):
        part = high / (rows + 0.3)
        drawers(b, 0, -d / 2, z, wide, high - part, rows - 1 or 1, 2)
        drawers(b, 0, -d / 2, z + high - part, wide, part, 1, 3)
    else:
        drawers(b, 0, -d / 2, z, wide, high, rows, b.pick(1, 2, 2, 2, 3, 3))
    if b.p(0.14):  # mirror
        tall = b.u(0.5, 0.95)
        if b.p(0.5):
            b.box("mirror", 0, d / 2 - 0.03, h, w * b.u(0.5, 0.9), 0.04, tall)
        else:
            b.extrude(
                "mirror", circle(w * 0.35, 20, tall / 2) + np.array([0, h + tall / 2]), d / 2 - 0.05, d / 2 - 0.01, 1
            )


@register("monitor")
def _monitor(b: Builder) -> None:
    kind = b.pick(
        "flat", "flat", "flat", "flat", "flat", "flat", "wide", "wide", "crt", "crt", "dual", "all", "speakers"
    )
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
        b.stack(
            "screen",
            rounded(w - 2 * rim, h - 2 * rim, 7, 24),
            [(1, -0.01), (0.98, -0.004), (0.6, -0.02 * b.u(0.2, 1)), (0, -0.022)],
        )
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
        b.extrude(
            "stand",
            [
                (-0.12, 0),
                (0.12, 0),
                (0.12, 0.01),
                (0.05, 0.02),
                (0.03, lift + 0.15),
                (0.015, lift + 0.15),
                (0.03, 0.015),
                (-0.12, 0.01),
            ],
            -w * 0.18,
            w * 0.18,
            0,
        )
        return
    mark = b.mark()
    flat_monitor(b, w, h, t)
    if kind == "dual":
        b.move(mark, (-w * 0.52, 0, 0), 2, b.u(-0.25, 0))
        b.mirror(mark)
    elif kind == "speakers":
        for i in (-1, 1):
            b.box("speaker", i * (w / 2 + b.u(0.04, 0.1)), 0, h * b.u(0, 0.2), 0.08, 0.08, h * b.u(0.5, 0.9))


@register("night stand")
def _night_stand(b: Builder) -> None:
    w, d, h, t = b.u(0.38, 0.62), b.u(0.33, 0.5), b.u(0.42, 0.72), b.u(0.015, 0.045)
    kind = b.pick("drawers", "drawers", "drawers", "legs", "legs", "open", "open", "door", "drum", "table")
    over = b.u(0, 0.05)
    if kind == "drum":
        lift = b.u(0, 0.12)
        b.cylinder("case", 0, 0, lift, w / 2, h - lift - t, n=22)
        b.cylinder("top", 0, 0, h - t, w / 2 + over, t, n=22)
        drawers(b, 0, -w / 2 + 0.04, lift + 0.05, w * 0.6, h - lift - 0.1, b.n(1, 2))
        if lift:
            legs(b, w * 0.75, w * 0.75, lift + 0.02, thick=0.04)
    else:
        if b.p(0.1):
            b.stack("top", rounded(w + over, d + over, 6), [(1, h - t), (1, h)])
        else:
            b.box("top", 0, 0, h - t, w + over, d + over, t)
        under = h - t
        if kind in ("drawers", "door"):
            lift = b.u(0.02, 0.16) if b.p(0.75) else 0.0
            if lift:
                feet(b, w, d, lift)
            b.box("case", 0, 0, lift, w, d, under - lift)
            if kind == "drawers":
                drawers(b, 0, -d / 2, lift, w * 0.96, under - lift, b.pick(1, 2, 2, 2, 3, 3))
            else:
                split = under - b.u(0.12, 0.2)
                doors(b, 0, -d / 2, lift, w * 0.96, split - lift, b.n(1, 2))
                drawers(b, 0, -d / 2, split, w * 0.96, under - split, 1)
        elif kind == "legs":
            body = under * b.u(0.3, 0.6)
            b.box("case", 0, 0, under - body, w * 0.97, d * 0.97, body)
            drawers(b, 0, -d * 0.485, under - body, w * 0.9, body, b.n(1, 2))
            legs(b, w * 0.98, d * 0.98, under - body + 0.02, thick=b.u(0.025, 0.05))
            if b.p(0.4):
                b.box("shelf", 0, 0, b.u(0.06, 0.2), w * 0.92, d * 0.9, 0.02)
        elif kind == "open":
            lift = b.u(0.0, 0.15)
            if lift > 0.03:
                feet(b, w, d, lift)
            shell(b, w, d, lift, under - lift, b.n(0, 1), b.p(0.8), b.u(0.015, 0.035))
            if b.p(0.8):
                part = b.u(0.12, 0.25)
                low = b.p(0.3)
                z = lift if low else under - part
                b.box("case", 0, 0.01, z, w * 0.95, d * 0.95, part)
                drawers(b, 0, -d * 0.48, z, w * 0.92, part, 1)
        else:
            rim = b.u(0.09, 0.18)
            b.box("case", 0, 0, under - rim, w * 0.93, d * 0.93, rim)
            drawers(b, 0, -d * 0.465, under - rim, w * 0.88, rim, 1)
            legs(b, w * 0.96, d * 0.96, under, thick=b.u(0.025, 0.05))
            for _ in range(b.n(0, 1)):
                b.box("shelf", 0, 0, b.u(0.08, 0.2), w * 0.92, d * 0.9, 0.02)
    if b.p(0.08):
        lamp(b, 0, 0, h, b.u(0.35, 0.5))
    elif b.p(0.1):
        b.box("board", 0, d / 2 - 0.01, h, w, 0.02, b.u(0.03, 0.1))


@register("sofa")
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
            cushion(b, "cushion", x, y, z - ct, cw * 0.99, cd, ct * 1.1, b.u(6, 12))
        else:
            b.box("cushion", x, y, z - ct, cw * 0.985, cd, ct)

    slim = kind == "slim"
    if lift or slim:
        lift = max(lift, 0.12) if slim else lift
        legs(b, w * 0.95, d * 0.92, lift + 0.02, thick=b.u(0.03, 0.08))
    b.box("base", 0, 0, lift, w, d, (0.1 if slim else z - ct - lift))
    if slim:
        b.box("base", 0, 0, z - ct - 0.06, w, d, 0.06)
    count = b.pick(1, seats, seats, seats)
    for j in range(count):
        seat((j + 0.5) / count * inner - inner / 2, -bt / 2, inner / count, d - bt)
    mark = b.mark()
    b.box(
        "back", 0, d / 2 - bt / 2, lift, w if b.p(0.5) else inner, bt, z + back - lift - (b.u(0, 0.15) if soft else 0)
    )
    b.move(mark, axis=0, angle=-b.u(0, 0.12), about=(0, d / 2, z))
    if soft or b.p(0.3):
        loose = b.u(0.1, 0.22)
        for j in range(count):
            mark = b.mark()
            cushion(b, "cushion", 0, 0, 0, inner / count * 0.98, loose, back * b.u(0.9, 1.1), b.u(3, 8))
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
            cushion(b, "arm", x, 0, lift, at, d, z + ah - lift, 10)
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
        cushion(b, "pillow", 0, 0, -0.2, 0.42, 0.14, 0.4, 3)
        b.move(mark, (b.u(-0.4, 0.4) * inner, d / 2 - bt - 0.22, z + 0.2), 0, -b.u(0.1, 0.5))


@register("table")
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
    inset = 0.7 if shape in ("round", "oval") else b.u(0.82, 1.0)
    if kind == "legs":
        legs(b, w * inset, d * inset, under, thick=b.u(0.025, 0.1))
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
                b.lathe(
                    "column",
                    [
                        (s * 0.6, 0),
                        (r * 0.8, under * 0.2),
                        (r * 1.5, under * 0.4),
                        (r * 0.7, under * 0.6),
                        (r * 1.4, under * 0.8),
                        (r, under),
                    ],
                    x,
                )
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
                b.beam(
                    "leg", (-w * 0.45 * inset, j * d * 0.42, under - r), (w * 0.45 * inset, j * d * 0.42, under - r), r
                )
            b.beam("leg", (x, -d * 0.42, r / 2), (x, d * 0.42, r / 2), r)


@register("toilet")
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
        outer = [
            (waist * 1.15, 0.72, 0, 0, back),
            (waist * 1.1, 0.7, 0.04, 0, back),
            (waist, 0.58, h * 0.35, 0, back),
            (0.8, 0.78, h * 0.62, 0, back / 2),
            (1, 1, h * 0.88),
            (1, 1, h - 0.02),
        ]
    hole = [(0.72, 0.72, h), (0.6, 0.6, h - 0.1), (0.3, 0.3, h - 0.2), (0.05, 0.05, h - 0.22)]
    b.stack("bowl", outline, [*outer, (1, 1, h), *hole])
    lid = b.pick("down", "up", "up", "none")
    s = b.u(1.0, 1.06)
    if lid != "down" or b.p(0.5):
        b.stack(
            "seat",
            outline,
            [(s, s, h + 0.002), (s, s, h + 0.022), (0.62, 0.66, h + 0.022), (0.62, 0.66, h)],
            caps=False,
        )
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
                b.bar(
                    "lever",
                    (-tw * 0.35, y - td / 2, low + th * 0.85),
                    (-tw * 0.35, y - td / 2 - 0.03, low + th * 0.85),
                    0.012,
                )
                b.bar(
                    "lever",
                    (-tw * 0.35, y - td / 2 - 0.03, low + th * 0.85),
                    (-tw * 0.15, y - td / 2 - 0.03, low + th * 0.83),
                    0.01,
                )
            else:
                b.cylinder("button", 0, y, low + th + 0.02, 0.03, 0.03)
    elif hung or b.p(0.5):
        b.box("wall", 0, d / 2 + 0.03, 0 if b.p(0.5) else h * 0.4, b.u(0.36, 0.6), 0.08, h * b.u(0.8, 2.2))
