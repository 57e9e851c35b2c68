"""What rolls, swims and flies. Every one drives towards -y."""

from __future__ import annotations

import numpy as np
from solids import Builder, circle, rounded

from .parts import register

PI = np.pi


def _wheels(b: Builder, xs: tuple[float, ...], half: float, r: float, wide: float) -> None:
    """Pairs of wheels on the axles ys, for vehicles that drive towards -y."""
    for y in xs:
        for i in (-1, 1):
            b.bar("wheel", (i * (half - wide), y, r), (i * half, y, r), r, n=16)
            b.bar("hub", (i * half, y, r), (i * (half + 0.01), y, r), r * 0.55, n=10)


def _side(b: Builder, part: str, outline: list[tuple[float, float]], w: float) -> None:
    """A side view (y, z) drawn across the width."""
    b.extrude(part, outline, -w / 2, w / 2, 0)


@register("car")
def _car(b: Builder) -> None:
    long, w, h = b.u(3.6, 4.8), b.u(1.6, 1.9), b.u(1.25, 1.6)
    r = b.u(0.28, 0.36)
    f, k, low, waist = -long / 2, long / 2, r * 0.6, h * b.u(0.52, 0.62)
    kind = b.pick("sedan", "sedan", "hatch", "suv", "sport")
    h *= {"sport": 0.82, "suv": 1.15}.get(kind, 1)
    hood = waist * b.u(0.85, 0.98)
    _side(
        b,
        "body",
        [(f, low), (k, low), (k, waist * 0.9), (k - 0.1, waist), (f + 1.1, waist), (f + 0.1, hood), (f, hood * 0.7)],
        w,
    )
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


@register("van")
def _van(b: Builder) -> None:
    long, w, h, r = b.u(4.3, 5.4), b.u(1.75, 2.0), b.u(1.9, 2.4), 0.34
    f, k = -long / 2, long / 2
    _side(b, "body", [(f, 0.25), (k, 0.25), (k, h), (f + b.u(0.9, 1.3), h), (f + 0.35, h * 0.6), (f, h * 0.5)], w)
    _wheels(b, (f + long * 0.18, k - long * 0.2), w / 2 + 0.02, r, 0.22)
    for i in (-1, 1):
        for y in np.linspace(f + 1.4, k - 0.6, b.n(1, 3)):
            b.box("window", i * w / 2, y, h * 0.6, 0.02, 0.8, h * 0.26)
        b.ball("light", i * w * 0.38, f, h * 0.38, (0.13, 0.05, 0.1), n=8)


@register("truck")
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


@register("pickup truck")
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


@register("bus")
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


@register("bicycle")
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
    b.tube(
        "handlebar",
        [(-0.26, head[1] + 0.12, z), (-0.2, head[1], z), (0.2, head[1], z), (0.26, head[1] + 0.12, z)],
        0.014,
    )
    b.ball("saddle", 0, 0.22, seat[2] + 0.05, (0.08, 0.14, 0.035))
    for i in (-1, 1):
        b.bar("pedal", crank, (i * 0.08, 0.05 + i * 0.1, crank[2] - i * 0.13), 0.012)
        b.box("pedal", i * 0.12, 0.05 + i * 0.1, crank[2] - i * 0.13, 0.1, 0.06, 0.02)
    b.ring("chainring", 0.02, 0.05, crank[2], 0.08, 0.012, axis=0, m=5)


@register("motorbike")
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


@register("train")
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


@register("airplane")
def _airplane(b: Builder) -> None:
    r, long = b.u(0.07, 0.12), 1.0
    y = np.array([-0.5, -0.46, -0.38, -0.2, 0.2, 0.38, 0.5]) * long * 2
    s = np.array([0.05, 0.5, 0.9, 1, 1, 0.65, 0.15]) * r * 2
    n = 14
    rings = np.stack(
        [
            np.c_[circle(k, n)[:, 0], np.full(n, t), circle(k, n)[:, 1] + (0.1 * r if t > 0.6 else 0)]
            for t, k in zip(y, s, strict=True)
        ]
    )
    b.loft("fuselage", rings)
    span, root, tip, sweep = b.u(0.8, 1.2), b.u(0.28, 0.45), b.u(0.08, 0.25), b.u(-0.02, 0.55)
    lift, z = b.u(-0.02, 0.12), b.pick(-r, 0, r * 1.5)
    prop = b.p(0.3)
    if prop:
        sweep, tip = 0.02, root * 0.8

    def wing(
        part: str, at: float, z: float, span: float, root: float, tip: float, sweep: float, lift: float, t: float
    ) -> None:
        for i in (-1, 1):
            b.loft(
                part,
                [
                    [(0, at, z - t), (0, at + root, z - t), (0, at + root, z + t), (0, at, z + t)],
                    [
                        (i * span, at + sweep, z + lift - t / 2),
                        (i * span, at + sweep + tip, z + lift - t / 2),
                        (i * span, at + sweep + tip, z + lift + t / 2),
                        (i * span, at + sweep, z + lift + t / 2),
                    ],
                ],
            )

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


@register("helicopter")
def _helicopter(b: Builder) -> None:
    r = b.u(0.3, 0.4)
    b.ball("cabin", 0, 0, 0.5, (r, r * b.u(1.3, 1.8), r))
    tail = b.u(1.2, 1.6)
    b.bar("boom", (0, r, 0.6), (0, tail, 0.7), 0.13, 0.05)
    b.extrude(
        "fin", [(tail - 0.15, 0.62), (tail + 0.02, 0.62), (tail + 0.18, 1.05), (tail + 0.05, 1.05)], -0.015, 0.015, 0
    )
    for a in (0.4, 0.4 + PI / 2):
        b.beam(
            "tail rotor",
            (0.07, tail - np.cos(a) * 0.2, 0.78 - np.sin(a) * 0.2),
            (0.07, tail + np.cos(a) * 0.2, 0.78 + np.sin(a) * 0.2),
            0.03,
        )
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


@register("sailboat")
def _sailboat(b: Builder) -> None:
    long, w, h = 2.0, b.u(0.5, 0.75), b.u(0.25, 0.42)
    _hull(b, long, w, h)
    mast, y = b.u(2.0, 2.8), -b.u(0.05, 0.3)
    b.bar("mast", (0, y, h * 0.5), (0, y, h + mast), 0.025)
    b.bar("boom", (0, y, h + 0.2), (0, 0.9, h + 0.2), 0.02)
    belly = b.u(0, 0.15)
    b.loft(
        "sail",
        [
            [
                (0, y + 0.03, h + 0.22),
                (0.01, y + 0.03, h + 0.22),
                (0.01, y + 0.03, h + mast * 0.97),
                (0, y + 0.03, h + mast * 0.97),
            ],
            [
                (belly, 0.3, h + 0.22),
                (belly + 0.01, 0.3, h + 0.22),
                (belly + 0.01, 0.3, h + mast * 0.45),
                (belly, 0.3, h + mast * 0.45),
            ],
            [(0, 0.88, h + 0.22), (0.01, 0.88, h + 0.22), (0.01, 0.88, h + 0.26), (0, 0.88, h + 0.26)],
        ],
    )
    if b.p(0.75):
        b.extrude(
            "sail", [(-0.95, h + 0.15), (y - 0.05, h + 0.25), (y - 0.03, h + mast * b.u(0.7, 0.92))], -0.006, 0.006, 0
        )
    if b.p(0.5):
        b.box("cabin", 0, 0.2, h * 0.8, w * 0.5, 0.5, h * 0.5)


@register("ship")
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
                b.box(
                    "container",
                    i * w * 0.17,
                    -1.0 + j * 0.22 + (y < 0) * 1.2,
                    z,
                    w * 0.3,
                    0.19,
                    b.pick(0.12, 0.24, 0.24),
                )


@register("canoe")
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


@register("rocket")
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


@register("submarine")
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


@register("tractor")
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


@register("skateboard")
def _skateboard(b: Builder) -> None:
    y = np.linspace(-1, 1, 9)
    up = 0.12 * np.clip(np.abs(y) - 0.7, 0, 1) / 0.3
    s = 0.2 * np.array([0.5, 0.92, 1, 1, 1, 1, 1, 0.92, 0.5])
    rings = np.stack(
        [
            [(-k, t, z + 0.15), (k, t, z + 0.15), (k, t, z + 0.18), (-k, t, z + 0.18)]
            for t, z, k in zip(y * 0.8, up, s, strict=True)
        ]
    )
    b.loft("deck", rings)
    for t in (-0.48, 0.48):
        b.bar("axle", (-0.15, t, 0.08), (0.15, t, 0.08), 0.02)
        b.box("truck", 0, t, 0.06, 0.08, 0.12, 0.1)
        for i in (-1, 1):
            b.bar("wheel", (i * 0.12, t, 0.07), (i * 0.2, t, 0.07), 0.07, n=12)


@register("wheel")
def _wheel(b: Builder) -> None:
    tyre = b.u(0.05, 0.16)
    b.ring("tyre", 0, 0, 0, 0.5 - tyre, tyre, axis=0, n=26, m=8)
    b.bar("hub", (-0.06, 0, 0), (0.06, 0, 0), b.u(0.06, 0.14), n=12)
    n = b.n(4, 12)
    thick = b.u(0.015, 0.04)
    for a in np.arange(n) * 2 * PI / n:
        b.bar("spoke", (0, 0, 0), (0, np.cos(a) * (0.5 - tyre), np.sin(a) * (0.5 - tyre)), thick, n=5)


@register("wheelbarrow")
def _wheelbarrow(b: Builder) -> None:
    b.stack("tray", rounded(0.6, 0.8, 8, 16), [(0.6, 0.35), (1, 0.68), (0.96, 0.68), (0.56, 0.38)])
    b.ring("wheel", 0, -0.55, 0.18, 0.14, 0.045, axis=0, n=16)
    for i in (-1, 1):
        b.bar("handle", (i * 0.06, -0.55, 0.18), (i * 0.3, 0.85, 0.55), 0.025)
        b.bar("leg", (i * 0.22, 0.3, 0.4), (i * 0.24, 0.35, 0), 0.025)
