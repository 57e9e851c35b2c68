"""Plain geometric solids."""

from __future__ import annotations

import numpy as np
from solids import Builder, arc

from .parts import register

PI = np.pi


@register("cube")
def _cube(b: Builder) -> None:
    b.box("cube", 0, 0, 0, 1, 1, 1)


@register("sphere")
def _sphere(b: Builder) -> None:
    b.ball("sphere", 0, 0, 0, 1, n=26)


@register("cylinder")
def _cylinder(b: Builder) -> None:
    b.cylinder("cylinder", 0, 0, 0, b.u(0.25, 0.6), 1, n=28)
    if b.p(0.2):
        b.move(0, axis=1, angle=PI / 2)


@register("cone")
def _cone(b: Builder) -> None:
    r = b.u(0.3, 0.6)
    b.cylinder("cone", 0, 0, 0, r, 1, 0.004, n=28)
    if b.p(0.3):  # a traffic cone
        b.box("base", 0, 0, -0.05, r * 2.4, r * 2.4, 0.06)
        for k in (0.3, 0.6):
            b.lathe("stripe", [(r * (1 - k) + 0.01, k), (r * (0.85 - k) + 0.01, k + 0.15)])


@register("pyramid")
def _pyramid(b: Builder) -> None:
    b.cylinder("pyramid", 0, 0, 0, b.u(0.6, 0.95), b.u(0.7, 1.1), 0.003, n=b.pick(4, 4, 4, 3))
    b.move(0, axis=2, angle=PI / 4)


@register("torus")
def _torus(b: Builder) -> None:
    b.ring("torus", 0, 0, 0, 0.5, b.u(0.08, 0.25), axis=b.pick(0, 1, 2, 2), n=30, m=12)


@register("prism")
def _prism(b: Builder) -> None:
    b.cylinder("prism", 0, 0, 0, b.u(0.3, 0.6), 1, n=b.pick(3, 3, 5, 6))
    if b.p(0.5):
        b.move(0, axis=1, angle=PI / 2)


@register("hemisphere")
def _hemisphere(b: Builder) -> None:
    b.lathe("hemisphere", [(0, 0), *((np.cos(t), np.sin(t)) for t in np.linspace(0, PI / 2, 9))], n=26)
    if b.p(0.2):
        b.move(0, axis=0, angle=PI)


@register("cross")
def _cross(b: Builder) -> None:
    t, w = b.u(0.15, 0.3), b.u(0.6, 1.0)
    b.box("post", 0, 0, 0, t, t * 0.7, 1.2)
    b.box("beam", 0, 0, b.u(0.5, 0.8), w, t * 0.7, t)


@register("arch")
def _arch(b: Builder) -> None:
    w, t, d, h = b.u(0.7, 1.1), b.u(0.12, 0.25), b.u(0.2, 0.4), b.u(0.3, 0.8)
    over = arc(w / 2, 0, PI, 13) + np.array([0, h])
    under = arc(w / 2 - t, PI, 0, 13) + np.array([0, h])
    b.extrude(
        "arch",
        np.concatenate([[(w / 2, 0)], over, [(-w / 2, 0), (t - w / 2, 0)], under, [(w / 2 - t, 0)]]),
        -d / 2,
        d / 2,
        1,
    )


@register("arrow")
def _arrow(b: Builder) -> None:
    t, head = b.u(0.06, 0.14), b.u(0.2, 0.32)
    if b.p(0.6):
        b.extrude(
            "arrow", [(0, -t), (0.65, -t), (0.65, -head), (1.1, 0), (0.65, head), (0.65, t), (0, t)], -0.06, 0.06, 1
        )
    else:
        b.bar("shaft", (0, 0, 0), (0.8, 0, 0), t * 0.5)
        b.bar("head", (0.75, 0, 0), (1.1, 0, 0), head * 0.6, 0.004, 14)
    b.move(0, axis=1, angle=b.u(0, 6.28))


@register("column")
def _column(b: Builder) -> None:
    r = b.u(0.1, 0.16)
    b.box("base", 0, 0, 0, r * 3, r * 3, 0.07)
    b.lathe("shaft", [(r * 1.3, 0.07), (r, 0.12), (r * 0.85, 0.88), (r * 1.3, 0.93)], n=b.pick(8, 12, 20))
    b.box("capital", 0, 0, 0.93, r * 3, r * 3, 0.07)
