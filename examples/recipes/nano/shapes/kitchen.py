"""Vessels, kitchenware and potted plants."""

from __future__ import annotations

import numpy as np
from solids import Builder, circle, rounded

from .parts import register

PI = np.pi


def _bowl_of(b: Builder, part: str, outer: list[tuple[float, float]], wall: float, n: int = 22) -> None:
    """A vessel: the outer profile upwards, and the same a wall's thickness inside downwards."""
    inner = [(max(r - wall, 0.0), max(z, wall)) for r, z in outer[::-1]]
    b.lathe(part, [(0, outer[0][1]), *outer, *inner, (0, inner[-1][1])], n=n)


def _ear(b: Builder, x: float, low: float, high: float, out: float, r: float, part: str = "handle") -> None:
    """A handle that leaves a wall at x, from the height low to high."""
    a = np.linspace(-PI / 2, PI / 2, 8)
    path = np.stack([x + out * np.cos(a), 0 * a, (low + high) / 2 + (high - low) / 2 * np.sin(a)], 1)
    b.tube(part, path, r, 6)


@register("mug")
def _mug(b: Builder) -> None:
    r, h = b.u(0.35, 0.48), b.u(0.8, 1.15)
    bulge = b.u(-0.05, 0.08)
    _bowl_of(b, "body", [(r * 0.95, 0), (r + bulge, h * 0.4), (r + bulge, h * 0.6), (r, h)], 0.05)
    _ear(b, r * 0.95, h * b.u(0.15, 0.3), h * b.u(0.7, 0.9), b.u(0.2, 0.35), b.u(0.03, 0.06))


@register("cup")
def _cup(b: Builder) -> None:
    r, h = b.u(0.4, 0.55), b.u(0.45, 0.75)
    _bowl_of(
        b, "body", [(r * 0.4, 0), (r * 0.45, h * 0.05), (r * 0.8, h * 0.4), (r * b.u(0.92, 1), h * 0.7), (r, h)], 0.03
    )
    _ear(b, r * 0.85, h * 0.35, h * 0.85, b.u(0.18, 0.28), 0.03)
    if b.p(0.6):
        b.lathe("saucer", [(0, -0.02), (r * 0.7, -0.02), (r * 1.5, 0.1), (r * 1.5, 0.12), (r * 0.7, 0), (0, 0)], n=24)


def _bottle_profile(b: Builder, r: float, h: float) -> list[tuple[float, float]]:
    neck, shoulder, s = r * b.u(0.25, 0.45), h * b.u(0.45, 0.7), b.u(0.05, 0.2) * h
    return [
        (0, 0),
        (r, 0),
        (r * b.u(0.9, 1), shoulder * 0.5),
        (r, shoulder),
        (r * 0.75, shoulder + s * 0.6),
        (neck, shoulder + s * 1.2),
        (neck, h * 0.93),
        (neck * 1.2, h * 0.94),
        (neck * 1.2, h),
        (0, h),
    ]


@register("bottle")
def _bottle(b: Builder) -> None:
    r, h = b.u(0.14, 0.24), 1.0
    b.lathe("body", _bottle_profile(b, r, h))
    if b.p(0.5):
        b.cylinder("cap", 0, 0, 0.98, r * 0.5, 0.07)
    if b.p(0.4):
        b.cylinder("label", 0, 0, 0.12, r * 1.02, 0.25)


@register("wine bottle")
def _wine_bottle(b: Builder) -> None:
    r = b.u(0.12, 0.16)
    n, s = b.u(0.035, 0.05), b.u(0.55, 0.66)
    b.lathe(
        "body",
        [
            (0, 0),
            (r, 0),
            (r, s),
            (r * 0.8, s + 0.06),
            (n, s + 0.13),
            (n, 0.95),
            (n * 1.25, 0.955),
            (n * 1.25, 1),
            (0, 1),
        ],
    )
    b.cylinder("label", 0, 0, 0.15, r * 1.02, 0.28)


@register("wine glass")
def _wine_glass(b: Builder) -> None:
    r, h, s = b.u(0.2, 0.32), 1.0, b.u(0.35, 0.55)
    rim = r * b.u(0.7, 1.05)
    b.lathe(
        "glass",
        [
            (0, 0),
            (b.u(0.22, 0.3), 0),
            (0.03, 0.04),
            (0.022, s * 0.9),
            (r * 0.5, s + 0.03),
            (r, s + 0.2),
            (rim, h),
            (rim - 0.02, h),
            (r - 0.02, s + 0.2),
            (0, s + 0.04),
        ],
    )


@register("bowl")
def _bowl(b: Builder) -> None:
    r, h = 0.5, b.u(0.22, 0.5)
    a = np.linspace(0.25, PI / 2, 6)
    power = b.u(0.7, 1.2)
    _bowl_of(
        b, "body", [(r * b.u(0.3, 0.45), 0), *((r * np.sin(t) ** power, h * (1 - np.cos(t)) + 0.02) for t in a)], 0.03
    )


@register("plate")
def _plate(b: Builder) -> None:
    r, h = 0.5, b.u(0.05, 0.1)
    flat = b.u(0.55, 0.75) * r
    b.lathe("plate", [(0, 0), (flat * 0.9, 0), (r, h), (r, h + 0.02), (flat, 0.025), (0, 0.025)], n=28)


@register("vase")
def _vase(b: Builder) -> None:
    r, h = b.u(0.18, 0.36), 1.0
    neck = b.u(0.3, 0.8) * r
    levels = [
        (r * b.u(0.4, 0.9), 0),
        (r * b.u(0.7, 1), h * 0.2),
        (r, h * b.u(0.3, 0.5)),
        (r * 0.85, h * 0.62),
        (neck, h * 0.82),
        (neck * b.u(1, 1.6), h),
    ]
    _bowl_of(b, "body", levels, 0.02)
    if b.p(0.15):
        for i in (-1, 1):
            _ear(b, i * neck, h * 0.55, h * 0.9, i * 0.18, 0.025)


@register("jar")
def _jar(b: Builder) -> None:
    r, h = b.u(0.3, 0.42), b.u(0.7, 1.0)
    b.lathe("body", [(0, 0), (r * 0.95, 0), (r, h * 0.08), (r, h * 0.75), (r * 0.8, h * 0.86), (r * 0.8, h)])
    b.cylinder("lid", 0, 0, h * 0.9, r * 0.88, h * 0.14)
    if b.p(0.3):
        b.ball("knob", 0, 0, h * 1.08, 0.06)


@register("can")
def _can(b: Builder) -> None:
    r, h = b.u(0.26, 0.34), b.u(0.8, 1.05)
    b.lathe(
        "can",
        [
            (0, 0.03),
            (r * 0.8, 0.02),
            (r * 0.85, 0),
            (r, 0.05),
            (r, h - 0.08),
            (r * 0.85, h),
            (r * 0.82, h - 0.03),
            (0, h - 0.03),
        ],
    )
    b.ball("tab", 0, -r * 0.3, h - 0.02, (0.06, 0.1, 0.015))


@register("bucket")
def _bucket(b: Builder) -> None:
    r, h = b.u(0.34, 0.45), b.u(0.6, 0.9)
    _bowl_of(b, "body", [(r * b.u(0.65, 0.85), 0), (r, h), (r * 1.05, h), (r * 1.05, h + 0.03)], 0.02)
    a = np.linspace(0, PI, 12)
    up = b.p(0.6)
    b.tube(
        "handle",
        np.stack(
            [r * 1.05 * np.cos(a), (0 if up else -1) * r * np.sin(a), h * 0.95 + (r * 1.1 if up else 0.05) * np.sin(a)],
            1,
        ),
        0.015,
        5,
    )


@register("trash can")
def _trash_can(b: Builder) -> None:
    r, h = b.u(0.25, 0.36), b.u(0.7, 1.0)
    if b.p(0.6):
        b.lathe("body", [(0, 0), (r * b.u(0.75, 1), 0), (r, h), (0, h)], n=18)
        b.lathe("lid", [(r * 1.05, h), (r * 1.05, h + 0.04), (r * 0.6, h + 0.1), (0, h + 0.12)], n=18)
        b.tube("handle", [(-0.08, 0, h + 0.1), (-0.08, 0, h + 0.18), (0.08, 0, h + 0.18), (0.08, 0, h + 0.1)], 0.015, 5)
        for a in np.arange(9) * 2 * PI / 9 if b.p(0.5) else ():
            b.beam(
                "rib",
                (np.cos(a) * r * 0.95, np.sin(a) * r * 0.95, 0.05),
                (np.cos(a) * r, np.sin(a) * r, h * 0.95),
                0.02,
            )
    else:  # on wheels
        b.stack("body", rounded(0.55, 0.6, 9, 16), [(0.8, 0.05), (1, h)])
        b.extrude("lid", [(-0.32, h), (0.32, h), (0.32, h + 0.08), (0.2, h + 0.12), (-0.32, h + 0.04)], -0.3, 0.3, 0)
        for i in (-1, 1):
            b.bar("wheel", (i * 0.2, 0.26, 0.1), (i * 0.27, 0.26, 0.1), 0.1, n=12)


@register("barrel")
def _barrel(b: Builder) -> None:
    r, h = b.u(0.3, 0.4), 1.0
    z = np.linspace(0, h, 9)
    bulge = b.u(0.04, 0.12)
    b.lathe(
        "staves",
        [
            (0, 0.03),
            (r * 0.9, 0.03),
            *((r + bulge * np.sin(k / h * PI), k) for k in z),
            (r * 0.9, h - 0.03),
            (0, h - 0.03),
        ],
    )
    for k in (0.1, 0.32, 0.68, 0.9):
        b.lathe(
            "hoop", [(r + bulge * np.sin(k * PI) + 0.012, k - 0.025), (r + bulge * np.sin(k * PI) + 0.012, k + 0.025)]
        )
    if b.p(0.3):
        b.move(0, axis=1, angle=PI / 2)


@register("teapot")
def _teapot(b: Builder) -> None:
    r, h = 0.45, b.u(0.5, 0.75)
    b.lathe(
        "body",
        [(0, 0), (r * 0.6, 0), (r, h * 0.4), (r * 0.95, h * 0.6), (r * 0.5, h), (r * 0.45, h * 1.05), (0, h * 1.12)],
    )
    b.ball("knob", 0, 0, h * 1.18, 0.06)
    b.tube(
        "spout",
        [(-r * 0.8, 0, h * 0.35), (-r * 1.25, 0, h * 0.5), (-r * 1.4, 0, h * 0.8), (-r * 1.6, 0, h * 0.95)],
        (0.12, 0.09, 0.06, 0.05),
    )
    _ear(b, r * 0.85, h * 0.25, h * 0.85, b.u(0.25, 0.4), 0.045)


@register("ewer pitcher")
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


@register("frying pan")
def _frying_pan(b: Builder) -> None:
    r, h = 0.4, b.u(0.1, 0.18)
    _bowl_of(b, "pan", [(r * 0.8, 0), (r, h)], 0.03)
    b.bar("handle", (r * 0.95, 0, h * 0.8), (r + b.u(0.5, 0.7), 0, h * b.u(0.9, 1.8)), 0.035, 0.045)


@register("pan")
def _pan(b: Builder) -> None:
    r, h = 0.4, b.u(0.28, 0.5)
    _bowl_of(b, "pan", [(r * 0.97, 0), (r, h), (r * 1.05, h), (r * 1.05, h + 0.02)], 0.03)
    if b.p(0.5):
        b.bar("handle", (r * 0.95, 0, h * 0.85), (r + b.u(0.4, 0.6), 0, h * b.u(0.85, 1.1)), 0.035, 0.04)
    else:
        for i in (-1, 1):
            b.tube(
                "handle",
                [
                    (i * r * 0.97, -0.1, h * 0.8),
                    (i * r * 1.25, -0.08, h * 0.82),
                    (i * r * 1.25, 0.08, h * 0.82),
                    (i * r * 0.97, 0.1, h * 0.8),
                ],
                0.025,
            )
    if b.p(0.4):
        b.lathe("lid", [(r * 1.03, h + 0.02), (r * 0.6, h + 0.1), (0, h + 0.12)])
        b.ball("knob", 0, 0, h + 0.16, 0.05)


@register("spoon")
def _spoon(b: Builder) -> None:
    b.ball("bowl", -0.62, 0, 0.03, (b.u(0.17, 0.22), b.u(0.11, 0.15), 0.045))
    b.stack(
        "handle",
        rounded(1, 1, 3, 8),
        [(0.02, 0.04, 0), (0.02, 0.05, 0.3), (0.02, b.u(0.06, 0.12), 0.95), (0.015, 0.03, 1.02)],
    )
    b.move(b.mark() - 1, (-0.5, 0, 0.04), 1, PI / 2)
    b.move(0, axis=1, angle=PI / 2)


@register("fork")
def _fork(b: Builder) -> None:
    n = b.n(3, 4)
    b.stack(
        "handle",
        rounded(1, 1, 3, 8),
        [(0.05, 0.02, 0), (0.1, 0.02, 0.1), (0.05, 0.02, 0.6), (0.14, 0.02, 0.72), (0.2, 0.02, 0.82)],
    )
    for x in np.linspace(-0.085, 0.085, n):
        b.beam("prong", (x, 0, 0.8), (x, -0.01, 1.15), 0.028)


@register("knife")
def _knife(b: Builder) -> None:
    long, wide = b.u(0.6, 0.9), b.u(0.06, 0.11)
    b.extrude(
        "blade",
        [(-wide, 0), (wide * 0.6, 0), (wide * 0.6, long * 0.7), (0, long * 0.95), (-wide, long)],
        -0.008,
        0.008,
        1,
    )
    b.stack("handle", rounded(0.1, 0.05, 5, 10), [(1, -0.45), (1.2, -0.4), (0.9, -0.2), (1, 0.02)], x=-0.02)


@register("plant pot")
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


@register("house plant")
def _house_plant(b: Builder) -> None:
    r, h = b.u(0.16, 0.24), b.u(0.2, 0.35)
    b.lathe("pot", [(0, 0), (r * 0.7, 0), (r, h), (0, h * 0.9)], n=16)
    _leaves(b, h * 0.9)
