"""Things on a desk or in a bag, and musical instruments."""

from __future__ import annotations

import numpy as np
from solids import Builder, circle, rounded

from .parts import register

PI = np.pi


@register("laptop")
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


@register("keyboard")
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


@register("telephone")
def _telephone(b: Builder) -> None:
    w, d = b.u(0.4, 0.55), b.u(0.4, 0.55)
    b.extrude("body", [(-d / 2, 0), (d / 2, 0), (d / 2, 0.22), (d * 0.2, 0.22), (-d / 2, 0.08)], -w / 2, w / 2, 0)
    b.tube(
        "receiver",
        [(-0.36, 0.1, 0.24), (-0.28, 0.1, 0.33), (0, 0.1, 0.37), (0.28, 0.1, 0.33), (0.36, 0.1, 0.24)],
        (0.07, 0.06, 0.045, 0.06, 0.07),
        8,
    )
    if b.p(0.5):
        b.ring("dial", 0, -d * 0.2, 0.2, 0.12, 0.03)
    else:
        for i in range(3):
            for j in range(4):
                b.box("button", (i - 1) * 0.09, -d * 0.38 + j * 0.085, 0.1 + j * 0.02, 0.06, 0.05, 0.04)


@register("cell phone")
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


@register("camera")
def _camera(b: Builder) -> None:
    w, h, d = 0.9, b.u(0.5, 0.62), b.u(0.25, 0.35)
    b.box("body", 0, 0, 0, w, d, h)
    r = b.u(0.18, 0.26)
    b.bar("lens", (0, -d / 2, h * 0.48), (0, -d / 2 - b.u(0.12, 0.4), h * 0.48), r, r * b.u(0.8, 1.05), 18)
    b.box("viewfinder", 0, 0, h, w * 0.3, d * 0.8, b.u(0.08, 0.16))
    b.cylinder("button", w * 0.35, 0, h, 0.06, 0.05)
    if b.p(0.5):
        b.cylinder("dial", -w * 0.33, 0, h, 0.1, 0.06)


@register("radio")
def _radio(b: Builder) -> None:
    w, h, d = 1.0, b.u(0.5, 0.65), b.u(0.2, 0.3)
    b.box("case", 0, 0, 0, w, d, h)
    for i in (-1, 1) if b.p(0.5) else (-1,):
        b.bar(
            "speaker", (i * w * 0.28, -d / 2, h * 0.42), (i * w * 0.28, -d / 2 - 0.03, h * 0.42), h * 0.3, h * 0.26, 18
        )
    b.box("dial", w * 0.1, -d / 2 - 0.01, h * 0.75, w * 0.4, 0.02, h * 0.15)
    for k in (0.05, 0.2):
        b.bar("knob", (w * k, -d / 2, h * 0.25), (w * k, -d / 2 - 0.05, h * 0.25), 0.05)
    b.bar("antenna", (w * 0.4, d * 0.3, h), (w * b.u(0.1, 0.6), d * 0.3, h + b.u(0.3, 0.8)), 0.012)
    if b.p(0.5):
        b.tube(
            "handle", [(-w * 0.35, 0, h), (-w * 0.35, 0, h + 0.14), (w * 0.35, 0, h + 0.14), (w * 0.35, 0, h)], 0.025
        )


@register("speaker")
def _speaker(b: Builder) -> None:
    w, h, d = b.u(0.4, 0.55), 1.0, b.u(0.35, 0.5)
    b.box("case", 0, 0, 0, w, d, h)
    for z, r in ((0.3, w * 0.38), (0.72, w * b.u(0.15, 0.3))):
        b.ring("cone", 0, -d / 2, z, r, 0.025, axis=1)
        b.bar("cone", (0, -d / 2 - 0.005, z), (0, -d / 2 - 0.03, z), r * 0.6, r * 0.2, 14)


@register("book")
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


@register("pencil")
def _pencil(b: Builder) -> None:
    r, h = b.u(0.035, 0.06), 1.0
    b.lathe("body", [(0, 0), (r, 0), (r, h * 0.82)], n=6)
    b.lathe("tip", [(r, h * 0.82), (r * 0.3, h * 0.95), (0, h)], n=6)
    b.cylinder("eraser", 0, 0, -0.1, r * 1.05, 0.12)
    b.move(0, axis=1, angle=b.u(-1.5, 1.5))


@register("clock")
def _clock(b: Builder) -> None:
    r = 0.5
    if b.p(0.7):
        b.bar("face", (0, 0, 0), (0, 0.08, 0), r, n=28)
    else:
        b.box("face", 0, 0.04, -r, 2 * r, 0.08, 2 * r)
    b.ring("rim", 0, 0, 0, r, b.u(0.02, 0.06), axis=1, n=28)
    for k in range(12):
        a = k * PI / 6
        b.bar(
            "mark", (np.cos(a) * 0.42, -0.01, np.sin(a) * 0.42), (np.cos(a) * 0.36, -0.01, np.sin(a) * 0.36), 0.018, n=5
        )
    for long, a in ((0.24, b.u(0, 6.28)), (0.36, b.u(0, 6.28))):
        b.bar("hand", (0, -0.02, 0), (np.cos(a) * long, -0.02, np.sin(a) * long), 0.02, n=5)


@register("alarm clock")
def _alarm_clock(b: Builder) -> None:
    _clock(b)
    for i in (-1, 1):
        b.ball("bell", i * 0.32, 0.06, 0.55, (0.2, 0.16, 0.14), n=12)
        b.bar("leg", (i * 0.3, 0.06, -0.42), (i * 0.42, 0.06, -0.65), 0.035)
    b.bar("hammer", (0, 0.06, 0.5), (0, 0.06, 0.7), 0.03)


@register("candle")
def _candle(b: Builder) -> None:
    r, h = b.u(0.07, 0.2), b.u(0.6, 1.0)
    b.cylinder("wax", 0, 0, 0, r, h, r * b.u(0.8, 1))
    b.bar("wick", (0, 0, h), (0, 0, h + 0.07), 0.01, n=4)
    if b.p(0.6):
        b.lathe("flame", [(0, h + 0.05), (0.05, h + 0.11), (0.035, h + 0.18), (0, h + 0.27)], n=10)
    if b.p(0.5):
        b.lathe("holder", [(0, -0.05), (r * 2.6, -0.05), (r * 2.8, 0.02), (r * 1.1, 0), (r * 1.1, 0.1)])


@register("light bulb")
def _light_bulb(b: Builder) -> None:
    a = np.linspace(0.45, PI, 9)[::-1]
    b.lathe("glass", [*((0.36 * np.sin(t), 0.36 * -np.cos(t) * -1 + 0.75) for t in a[::-1]), (0.15, 0.3)][::-1])
    for k in range(4):
        b.ring("thread", 0, 0, 0.08 + k * 0.07, 0.13, 0.035, n=14, m=6)
    b.cylinder("base", 0, 0, 0, 0.06, 0.3, 0.13)


@register("envelope")
def _envelope(b: Builder) -> None:
    w, h, t = 1.0, b.u(0.55, 0.72), 0.03
    b.box("paper", 0, 0, 0, w, t, h)
    b.extrude("flap", [(-w / 2, h), (0, h * b.u(0.35, 0.5)), (w / 2, h)], -t, -t / 2, 1)
    b.move(0, axis=0, angle=b.u(-0.4, 0.4))


@register("box")
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


@register("suitcase")
def _suitcase(b: Builder) -> None:
    w, h, d = b.u(0.7, 1.0), b.u(0.55, 0.7), b.u(0.2, 0.3)
    if b.p(0.4):
        w, h = h, w
    b.extrude("case", rounded(w, h, 10, 20) + np.array([0, h / 2]), -d / 2, d / 2, 1)
    b.tube("handle", [(-0.13, 0, h), (-0.12, 0, h + 0.12), (0.12, 0, h + 0.12), (0.13, 0, h)], 0.022)
    for i in (-1, 1):
        b.box("strap", i * w * 0.28, 0, -0.005, 0.05, d * 1.04, h * 1.01)
        if b.p(0.4):
            b.ball("wheel", i * w * 0.4, 0, -0.03, 0.05, n=8)


@register("umbrella")
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


@register("hat")
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
        b.stack(
            "crown",
            oval,
            [
                (0.3, 0.02),
                (0.3 * (top + 1) / 2, h * 0.7),
                (0.3 * top, h),
                (0.2 * top, h * (1 if kind == "top" else 0.85)),
            ],
        )
        b.stack("brim", oval, [(b.u(0.42, 0.65), 0), (0.3, 0.02)])
        b.stack("band", oval, [(0.31, 0.02), (0.305, 0.09)], caps=False)


@register("piano")
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


@register("grand piano")
def _grand_piano(b: Builder) -> None:
    w, d, h, t = 1.45, b.u(1.5, 2.2), b.u(0.65, 0.75), b.u(0.22, 0.3)
    curve = [
        (-w / 2, 0),
        (w / 2, 0),
        (w / 2, d * 0.3),
        (w * 0.42, d * 0.45),
        (w * 0.15, d * 0.62),
        (w * 0.05, d * 0.8),
        (-w * 0.05, d * 0.95),
        (-w * 0.25, d),
        (-w / 2, d * 0.93),
    ]
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


@register("guitar")
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


@register("electric guitar")
def _electric_guitar(b: Builder) -> None:
    t = 0.05
    horn = b.u(0.1, 0.2)
    body = [
        (-0.06, 0.12),
        (-0.13, 0.12 + horn),
        (-0.18, 0.1),
        (-0.15, -0.02),
        (-0.21, -0.2),
        (-0.1, -0.32),
        (0.1, -0.32),
        (0.21, -0.22),
        (0.15, -0.02),
        (0.18, 0.08),
        (0.13, 0.1 + horn * 0.7),
        (0.06, 0.12),
    ]
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


@register("violin")
def _violin(b: Builder) -> None:
    _guitar_body(b, 0.75, b.u(0.4, 0.5), 0.07)
    b.box("neck", 0, -0.04, 0.1, 0.035, 0.025, 0.42)
    b.ball("scroll", 0, -0.03, 0.55, 0.03)
    b.box("bridge", 0, -0.06, -0.02, 0.07, 0.02, 0.02)
    b.box("tailpiece", 0, -0.05, -0.2, 0.04, 0.02, 0.14)
    if b.p(0.6):
        b.bar("bow", (0.22, 0, -0.3), (0.3, 0, 0.5), 0.008, n=5)
    b.move(0, axis=1, angle=b.u(-0.6, 0.6))


@register("drums")
def _drums(b: Builder) -> None:
    r = b.u(0.32, 0.42)
    b.bar("bass drum", (0, -0.2, r), (0, 0.2, r), r, n=22)
    for x, y, z, s, h in (
        (-0.25, 0, 2 * r, 0.16, 0.2),
        (0.25, 0, 2 * r, 0.18, 0.22),
        (0.55, 0.35, 0.25, 0.22, 0.35),
        (-0.55, 0.35, 0.4, 0.2, 0.15),
    ):
        b.cylinder("drum", x, y, z, s, h, n=16)
        b.bar("stand", (x, y, 0 if abs(x) > 0.3 else z - 0.1), (x, y, z), 0.015)
    for x, z in ((-0.7, 1.05), (0.7, 1.15)):
        b.lathe("cymbal", [(0.24, z), (0.05, z + 0.03), (0, z + 0.05)], x, 0.1)
        b.bar("stand", (x, 0.1, 0), (x, 0.1, z), 0.012)
