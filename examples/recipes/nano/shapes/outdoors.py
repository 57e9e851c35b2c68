"""Buildings, plants and what stands in a street."""

from __future__ import annotations

import numpy as np
from solids import Builder, arc, circle, rounded

from .parts import register

PI = np.pi


@register("house")
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
        b.loft(
            "roof",
            [
                np.c_[np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (w / 2 + over, d / 2 + over) * s, np.full(4, z)]
                for s, z in ((1, h), (0.05, h + roof))
            ],
        )
    x = b.u(-0.2, 0.2) * w
    b.box("door", x, -d / 2, 0, 0.18, 0.04, h * b.u(0.45, 0.65))
    for k in (-0.33, 0.33):
        if abs(k * w - x) > 0.2:
            b.box("window", k * w, -d / 2, h * 0.45, 0.2, 0.04, h * 0.3)
    for i in (-1, 1):
        b.box("window", i * w / 2, 0, h * 0.45, 0.04, 0.22, h * 0.3)
    if b.p(0.65):
        b.box("chimney", w * 0.25, d * 0.15, h + roof * 0.2, 0.13, 0.13, roof * b.u(0.8, 1.2))


@register("tent")
def _tent(b: Builder) -> None:
    w, d, h = b.u(0.9, 1.4), b.u(1.0, 1.8), b.u(0.7, 1.0)
    kind = b.pick("ridge", "dome", "tepee")
    if kind == "ridge":
        for i in (-1, 1):
            b.extrude("canvas", [(i * w / 2, 0), (0, h), (i * w / 2 - i * 0.02, 0)][::i], -d / 2, d / 2, 1)
        b.extrude("canvas", [(-w / 2, 0), (w / 2, 0), (0, h)], d / 2 - 0.01, d / 2, 1)
        flap = b.u(0.1, 0.45)
        for i in (-1, 1):
            b.extrude("door", [(i * w / 2, 0), (0, h), (i * w / 2 * flap, 0)][::-i], -d / 2, -d / 2 + 0.01, 1)
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
            b.bar(
                "pole",
                (np.cos(a) * 0.05, np.sin(a) * 0.05, h * 1.2),
                (-np.cos(a) * 0.12, -np.sin(a) * 0.12, h * 1.55),
                0.015,
            )
        b.extrude("door", [(-0.16, 0.02), (0.16, 0.02), (0, h * 0.7)], -w * 0.5, -w * 0.3, 1)


@register("castle")
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


@register("church")
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


@register("tower")
def _tower(b: Builder) -> None:
    r, h = b.u(0.14, 0.22), 1.0
    b.lathe(
        "wall",
        [
            (0, 0),
            (r * b.u(1, 1.3), 0),
            (r, h * 0.85),
            (r * 1.25, h * 0.88),
            (r * 1.25, h),
            (r * 1.05, h),
            (r * 1.05, h * 0.93),
            (0, h * 0.93),
        ],
    )
    for a in np.arange(8) * PI / 4:
        b.box("battlement", np.cos(a) * r * 1.15, np.sin(a) * r * 1.15, h, 0.07, 0.07, 0.06)
    b.box("door", 0, -r, 0, r * 0.6, r * 0.5, 0.16)
    if b.p(0.3):
        b.cylinder("roof", 0, 0, h, r * 1.3, 0.35, 0.005)


@register("lighthouse")
def _lighthouse(b: Builder) -> None:
    r, h = b.u(0.16, 0.22), 1.0
    top = r * b.u(0.5, 0.7)
    n = b.n(3, 6)
    for k in range(n):
        s, e = k / n, (k + 1) / n
        b.cylinder(
            "white stripe" if k % 2 else "red stripe",
            0,
            0,
            s * h * 0.75,
            r + (top - r) * s,
            h * 0.75 / n,
            r + (top - r) * e,
        )
    b.cylinder("gallery", 0, 0, h * 0.75, top * 1.5, 0.03)
    b.cylinder("lantern", 0, 0, h * 0.78, top * 0.75, 0.14)
    b.cylinder("roof", 0, 0, h * 0.92, top * 1.1, 0.12, 0.01)
    b.box("door", 0, -r * 0.95, 0, 0.08, 0.05, 0.13)


@register("windmill")
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


@register("bridge")
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
            sag = (
                h
                + 0.08
                + (tall - h)
                * np.where(np.abs(x) < long * 0.28, (x / (long * 0.28)) ** 2, (0.5 * long - np.abs(x)) / (0.22 * long))
            )
            b.tube("cable", np.stack([x, np.full(17, j * w / 2), sag], 1), 0.012, 4)
            for xx, z in zip(x[1:-1], sag[1:-1], strict=True):
                b.bar("cable", (xx, j * w / 2, h), (xx, j * w / 2, z), 0.006, n=4)
        for i in (-1, 1):
            b.beam("tower", (i * long * 0.28, -w / 2, tall), (i * long * 0.28, w / 2, tall), 0.06)


@register("tree")
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


@register("palm tree")
def _palm(b: Builder) -> None:
    h, bend = b.u(0.9, 1.3), b.u(0, 0.3)
    t = np.linspace(0, 1, 7)
    path = np.stack([bend * t**2, 0 * t, h * t], 1)
    b.tube("trunk", path, np.linspace(0.06, 0.035, 7), 8)
    n = b.n(6, 10)
    for a in np.arange(n) * 2 * PI / n + b.u(0, 1):
        c, s, out = np.cos(a), np.sin(a), b.u(0.4, 0.6)
        leaf = [
            (bend + c * out * k, s * out * k, h + 0.15 * np.sin(k * PI * 0.9) - 0.35 * k**2)
            for k in np.linspace(0.02, 1, 5)
        ]
        b.tube("leaf", leaf, (0.02, 0.07, 0.08, 0.05, 0.005), 4)
    for _ in range(b.n(0, 3)):
        b.ball("coconut", bend + b.u(-0.08, 0.08), b.u(-0.08, 0.08), h - 0.05, 0.05, n=8)


@register("cactus")
def _cactus(b: Builder) -> None:
    h, r = b.u(0.8, 1.1), b.u(0.09, 0.14)
    b.lathe("stem", [(r * 0.9, 0), (r, h * 0.5), (r * 0.9, h * 0.9), (r * 0.5, h * 0.98), (0, h)], n=12)
    for i in (-1, 1)[: b.n(1, 2)]:
        z, out, up = b.u(0.25, 0.5) * h, i * b.u(0.25, 0.36), b.u(0.2, 0.45)
        b.tube(
            "arm",
            [(0, 0, z), (out * 0.8, 0, z), (out, 0, z + 0.08), (out, 0, z + up), (out, 0, z + up + 0.06)],
            (r * 0.6, r * 0.6, r * 0.65, r * 0.6, r * 0.2),
            10,
        )
    if b.p(0.5):
        b.lathe("pot", [(0, -0.3), (0.2, -0.3), (0.28, 0), (0, 0)])


@register("mushroom")
def _mushroom(b: Builder) -> None:
    r, h, cap = b.u(0.08, 0.16), b.u(0.35, 0.6), b.u(0.32, 0.5)
    b.lathe("stem", [(0, 0), (r * 1.3, 0), (r, h * 0.5), (r * 0.9, h)])
    a = np.linspace(0, PI / 2, 7)
    rise = b.u(0.2, 0.4)
    b.lathe("cap", [(r * 0.9, h - 0.02), *((cap * np.cos(t), h - 0.03 + rise * np.sin(t)) for t in a)])


@register("flower")
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


@register("snowman")
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


@register("streetlight")
def _streetlight(b: Builder) -> None:
    h = b.u(1.6, 2.2)
    b.cylinder("base", 0, 0, 0, 0.08, 0.15, 0.05)
    reach = b.u(0.3, 0.6)
    for i in (-1, 1) if b.p(0.3) else (1,):
        b.tube("pole", [(0, 0, 0.1), (0, 0, h), (i * reach * 0.3, 0, h + 0.12), (i * reach, 0, h + 0.13)], 0.025)
        b.ball("lamp", i * reach, 0, h + 0.11, (0.16, 0.07, 0.04))


@register("traffic light")
def _traffic_light(b: Builder) -> None:
    h = b.u(0.6, 1.0)
    b.bar("pole", (0, 0, -h), (0, 0, 0), 0.04)
    b.box("case", 0, 0, 0, 0.28, 0.2, 0.8)
    for k in range(3):
        z = 0.14 + k * 0.26
        b.bar("light", (0, -0.1, z), (0, -0.13, z), 0.1, 0.08, 14)
        b.band("visor", arc(0.11, 0, PI, 7) * (1, 1), -0.26, -0.1, 0.012)
        b.move(b.mark() - 1, (0, 0, z), 0, -PI / 2, (0, 0, 0))


@register("fire hydrant")
def _hydrant(b: Builder) -> None:
    b.lathe(
        "body",
        [
            (0, 0),
            (0.26, 0),
            (0.26, 0.06),
            (0.18, 0.07),
            (0.18, 0.6),
            (0.23, 0.61),
            (0.23, 0.67),
            (0.17, 0.7),
            (0.12, 0.8),
            (0, 0.84),
        ],
    )
    b.cylinder("nut", 0, 0, 0.82, 0.04, 0.08, n=6)
    for i in (-1, 1):
        b.bar("nozzle", (0, 0, 0.45), (i * 0.3, 0, 0.45), 0.08, n=12)
    b.bar("nozzle", (0, 0, 0.38), (0, -0.28, 0.38), 0.1, n=12)


@register("stop sign")
def _stop_sign(b: Builder) -> None:
    h, r = b.u(1.2, 1.8), b.u(0.3, 0.4)
    b.bar("pole", (0, 0.03, 0), (0, 0.03, h + r), 0.03)
    b.extrude("sign", circle(r, 8, start=PI / 8) + np.array([0, h]), -0.015, 0.015, 1)
    b.ring("rim", 0, -0.01, h, r * 0.9, 0.012, axis=1, n=8, m=4)


@register("mailbox")
def _mailbox(b: Builder) -> None:
    w, d, h = b.u(0.26, 0.36), b.u(0.5, 0.65), b.u(0.6, 0.9)
    outline = np.concatenate([[(-w / 2, h), (w / 2, h)], arc(w / 2, 0, PI, 9) + np.array([0, h + w * 0.4])])
    b.extrude("box", outline, -d / 2, d / 2, 1)
    b.box("post", 0, 0, 0, 0.09, 0.09, h)
    b.box("flag", w / 2 + 0.015, -d * 0.1, h + w * 0.3, 0.015, 0.03, 0.25)
    b.box("flag", w / 2 + 0.015, -d * 0.03, h + w * 0.3 + 0.17, 0.015, 0.14, 0.08)


@register("hot air balloon")
def _balloon(b: Builder) -> None:
    a = np.linspace(0, PI * 0.82, 12)
    r = 0.6
    b.lathe("balloon", [(r * np.sin(t), 1.2 + r * 1.1 * np.cos(t)) for t in a], n=18)
    b.box("basket", 0, 0, 0, 0.24, 0.24, 0.2)
    for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        b.bar("rope", (i * 0.11, j * 0.11, 0.18), (i * 0.22, j * 0.22, 0.65), 0.008, n=4)
