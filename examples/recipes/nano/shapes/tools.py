"""Tools, food and small things."""

from __future__ import annotations

import numpy as np
from solids import Builder, rounded

from .parts import register

PI = np.pi


@register("hammer")
def _hammer(b: Builder) -> None:
    h, r = 1.0, b.u(0.03, 0.05)
    b.cylinder("handle", 0, 0, 0, r * 1.15, h, r, 10)
    b.bar("head", (0, 0, h - 0.04), (-0.24, 0, h - 0.04), 0.06, n=10)
    b.bar("head", (-0.2, 0, h - 0.04), (-0.27, 0, h - 0.04), 0.085, n=12)
    if b.p(0.65):
        for i in (-1, 1):
            b.tube(
                "claw",
                [(0, 0, h - 0.04), (0.14, i * 0.02, h - 0.03), (0.27, i * 0.045, h - 0.12)],
                (0.055, 0.035, 0.012),
                6,
            )
    else:
        b.bar("head", (0, 0, h - 0.04), (0.25, 0, h - 0.04), 0.06, b.pick(0.07, 0.01), 10)
    b.move(0, axis=1, angle=b.u(-0.8, 0.8))


@register("axe")
def _axe(b: Builder) -> None:
    b.cylinder("handle", 0, 0, 0, 0.04, 1.0, 0.035, 8)
    s = b.u(0.2, 0.32)
    blade = [
        (0.06, 0.78),
        (0.06, 0.96),
        (-s * 0.4, 0.95),
        (-s, 1.02 + s * 0.1),
        (-s * 1.1, 0.86),
        (-s, 0.72 - s * 0.1),
        (-s * 0.4, 0.79),
    ]
    b.extrude("blade", blade, -0.025, 0.025, 1)
    if b.p(0.2):
        b.mirror(b.mark() - 1)
    b.move(0, axis=1, angle=b.u(-0.8, 0.8))


@register("sword")
def _sword(b: Builder) -> None:
    w, h = b.u(0.035, 0.07), 1.0
    b.loft(
        "blade",
        [
            [(-w * s, 0, z), (0, -0.014 * s, z), (w * s, 0, z), (0, 0.014 * s, z)]
            for s, z in ((1, 0), (0.9, h * 0.8), (0.7, h * 0.92), (0.01, h))
        ],
    )
    b.box("guard", 0, 0, -0.03, b.u(0.25, 0.4), 0.05, 0.04)
    b.cylinder("handle", 0, 0, -0.25, 0.025, 0.23, n=8)
    b.ball("pommel", 0, 0, -0.27, 0.045, n=10)
    b.move(0, axis=1, angle=b.u(-1.2, 1.2))


@register("screwdriver")
def _screwdriver(b: Builder) -> None:
    b.lathe("handle", [(0, 0), (0.09, 0.02), (0.1, 0.2), (0.075, 0.35), (0.09, 0.42), (0.04, 0.46)], n=b.pick(6, 8, 12))
    b.cylinder("shaft", 0, 0, 0.44, 0.025, 0.5, n=8)
    b.box("tip", 0, 0, 0.92, 0.06, 0.015, 0.09)
    b.move(0, axis=1, angle=b.u(-1.4, 1.4))


@register("wrench")
def _wrench(b: Builder) -> None:
    w, t = b.u(0.06, 0.09), 0.025
    b.box("handle", 0, 0, 0, w, 2 * t, 0.8)
    jaw = [
        (-0.05, 0.8),
        (-0.14, 0.88),
        (-0.14, 1.06),
        (-0.06, 1.1),
        (-0.06, 0.96),
        (0.06, 0.96),
        (0.06, 1.1),
        (0.14, 1.06),
        (0.14, 0.88),
        (0.05, 0.8),
    ]
    b.extrude("jaw", jaw[::-1], -t, t, 1)
    if b.p(0.5):
        b.ring("ring", 0, 0, -0.06, 0.09, 0.04, axis=1, m=5)
    else:
        mark = b.mark()
        b.extrude("jaw", jaw[::-1], -t, t, 1)
        b.move(mark, (0, 0, 0.8), 1, PI)
    b.move(0, axis=1, angle=b.u(-1.2, 1.2))


@register("saw")
def _saw(b: Builder) -> None:
    teeth = b.n(10, 18)
    x = np.linspace(0, 1.1, 2 * teeth + 1)
    edge = np.stack([x, 0.025 * (np.arange(len(x)) % 2)], 1)
    b.extrude("blade", np.concatenate([edge, [(1.1, 0.14), (0, b.u(0.25, 0.32))]]), -0.008, 0.008, 1)
    b.ring("handle", -0.12, 0, 0.15, 0.12, 0.04, axis=1, m=6)
    b.move(0, axis=1, angle=b.u(-0.5, 0.5))


@register("shovel")
def _shovel(b: Builder) -> None:
    w = b.u(0.13, 0.2)
    b.extrude(
        "blade",
        [(-w, 0.42), (-w, 0.15), (-w * 0.5, 0.04), (0, 0), (w * 0.5, 0.04), (w, 0.15), (w, 0.42)][::-1],
        -0.015,
        0.015,
        1,
    )
    b.bar("shaft", (0, 0, 0.35), (0, 0.02, 1.3), 0.025)
    if b.p(0.6):
        b.tube(
            "handle",
            [
                (0, 0.02, 1.28),
                (-0.09, 0.02, 1.36),
                (-0.09, 0.02, 1.46),
                (0.09, 0.02, 1.46),
                (0.09, 0.02, 1.36),
                (0, 0.02, 1.28),
            ],
            0.018,
            5,
        )
    b.move(0, axis=1, angle=b.u(-0.6, 0.6))


@register("broom")
def _broom(b: Builder) -> None:
    b.bar("handle", (0, 0, 0.35), (0, 0, 1.5), 0.022)
    w = b.u(0.15, 0.28)
    if b.p(0.5):
        b.stack("bristles", rounded(1, 0.35, 3, 14), [(w * 2, 0.6, 0), (w * 1.4, 0.5, 0.25), (0.08, 0.2, 0.42)])
    else:
        b.box("head", 0, 0, 0.28, w * 2, 0.1, 0.08)
        for x in np.linspace(-w * 0.9, w * 0.9, 9):
            b.beam("bristles", (x * 1.1, 0, 0), (x, 0, 0.3), 0.04)


@register("key")
def _key(b: Builder) -> None:
    r = b.u(0.14, 0.22)
    b.ring("bow", 0, 0, 0, r, b.u(0.03, 0.05), axis=1, m=6)
    b.bar("shaft", (r, 0, 0), (1.0, 0, 0), 0.035)
    for k in range(b.n(2, 3)):
        b.box("tooth", 0.95 - k * 0.11, 0, -b.u(0.1, 0.2), 0.06, 0.04, 0.16)
    b.move(0, axis=1, angle=b.u(-1.5, 1.5))


@register("anvil")
def _anvil(b: Builder) -> None:
    w = b.u(0.22, 0.32)
    b.stack("base", rounded(0.7, w * 1.6, 9, 16), [(1, 0), (0.95, 0.08), (0.5, 0.2), (0.5, 0.32), (0.95, 0.42)])
    b.box("face", 0.05, 0, 0.42, 0.75, w, 0.14)
    b.bar("horn", (-0.3, 0, 0.5), (-0.85, 0, 0.55), 0.09, 0.01, 12)
    b.box("heel", 0.5, 0, 0.46, 0.2, w * 0.9, 0.1)


@register("dumbbell")
def _dumbbell(b: Builder) -> None:
    r, n = b.u(0.16, 0.28), b.pick(6, 18)
    b.bar("grip", (-0.4, 0, 0), (0.4, 0, 0), 0.05)
    for i in (-1, 1):
        if b.p(0.25):
            b.ball("weight", i * 0.42, 0, 0, r)
            continue
        for k in range(b.n(1, 3)):
            b.bar("weight", (i * (0.3 + k * 0.1), 0, 0), (i * (0.39 + k * 0.1), 0, 0), r * (1 - 0.15 * k), n=n)


@register("anchor")
def _anchor(b: Builder) -> None:
    b.bar("shank", (0, 0, 0), (0, 0, 0.95), 0.04)
    b.ring("ring", 0, 0, 1.05, 0.1, 0.03, axis=1, n=14)
    b.bar("stock", (-0.28, 0, 0.8), (0.28, 0, 0.8), 0.035)
    a = np.linspace(PI * 1.08, PI * 1.92, 11)
    b.tube("arm", np.stack([0.45 * np.cos(a), 0 * a, 0.42 + 0.45 * np.sin(a)], 1), 0.05)
    for i in (-1, 1):
        b.extrude("fluke", np.array([(0.32, 0.22), (0.52, 0.2), (0.5, 0.45)])[::i] * (i, 1), -0.05, 0.05, 1)


@register("ice cream")
def _ice_cream(b: Builder) -> None:
    b.lathe("cone", [(0, 0), (0.22, 0.65)])
    z = 0.75
    for _ in range(b.n(1, 3)):
        b.ball("scoop", b.u(-0.03, 0.03), 0, z, 0.25, n=14)
        z += 0.3


@register("crown")
def _crown(b: Builder) -> None:
    n, r, h = b.n(5, 9), 0.45, b.u(0.25, 0.5)
    a = np.linspace(0, 2 * PI, 4 * n + 1)
    peak = np.abs((np.arange(4 * n + 1) % 4) - 2) / 2
    b.band("band", np.stack([r * np.cos(a), r * np.sin(a)], 1), 0, 0.15 + h * peak, 0.03)
    for t in np.arange(n) * 2 * PI / n:
        b.ball("jewel", r * np.cos(t), r * np.sin(t), 0.17 + h, 0.04, n=8)


@register("apple")
def _apple(b: Builder) -> None:
    a = np.linspace(0.02, PI - 0.02, 13)
    r = 0.45 * (1 - 0.18 * np.abs(np.cos(a)) ** 5) * np.where(a < 0.5, 0.88 + 0.24 * a, 1)
    b.lathe("flesh", [(np.sin(t) * k, np.cos(t) * k * 0.92) for t, k in zip(a, r, strict=True)])
    b.tube("stem", [(0, 0, 0.32), (0.02, 0, 0.45), (0.06, 0, 0.55)], 0.02, 5)
    if b.p(0.5):
        b.ball("leaf", 0.14, 0, 0.48, (0.12, 0.06, 0.02), n=8)


@register("donut")
def _donut(b: Builder) -> None:
    r = b.u(0.16, 0.22)
    b.ring("dough", 0, 0, 0, 0.36, r, n=26, m=12)
    if b.p(0.6):
        b.ring("icing", 0, 0, 0.03, 0.36, r * 0.97, n=26, m=12)


@register("hamburger")
def _hamburger(b: Builder) -> None:
    r = 0.5
    b.lathe("bun", [(0, 0), (r * 0.9, 0), (r, 0.06), (r, 0.14), (0, 0.15)])
    z = 0.15
    for part, h, s in (("meat", b.u(0.08, 0.16), 1.02), ("cheese", 0.03, 1.05), ("lettuce", 0.05, 1.1)):
        b.cylinder(part, 0, 0, z, r * s, h, n=b.pick(4, 20) if part == "cheese" else 20)
        z += h
    a = np.linspace(0, PI / 2, 6)
    b.lathe("bun", [(r * np.cos(t), z + b.u(0.28, 0.32) * np.sin(t)) for t in a])
