"""The strokes of `plain` by diffvg, for whoever has built it and would compare."""

from __future__ import annotations

from importlib import import_module

import torch
from torch import Tensor

from clipx.errors import MissingDependencyError

SAMPLES = 2  # per pixel and axis: CLIPasso's and diffvg's own choice


def paint(points: Tensor, width: Tensor, alpha: Tensor, color: Tensor, canvas: Tensor) -> Tensor:
    """As `plain.paint`, sampled 2 x 2 times in every pixel; diffvg takes the width as a radius."""
    try:
        pydiffvg = import_module("pydiffvg")
    except ImportError as error:
        raise MissingDependencyError(
            'backend "pydiffvg" needs pydiffvg, which is on no index',
            remedy='build it from github.com/BachiLi/diffvg, or leave out the backend: "auto" is faster and nearer',
        ) from error
    pydiffvg.set_use_gpu(points.is_cuda)
    height, columns = canvas.shape[-2:]
    images = []
    for ground, *strokes in zip(canvas, points, width, alpha, color.expand(*color.shape[:2], 3), strict=True):
        paths, groups = [], []
        for n, (control, full_width, opacity, ink) in enumerate(zip(*strokes, strict=True)):
            inner = torch.tensor([2], dtype=torch.int32)  # control points between the ends
            paths.append(pydiffvg.Path(inner, control, False, stroke_width=full_width / 2))
            paint_of = torch.cat((ink, opacity[None]))
            groups.append(pydiffvg.ShapeGroup(torch.tensor([n]), fill_color=None, stroke_color=paint_of))
        scene = pydiffvg.RenderFunction.serialize_scene(columns, height, paths, groups)
        rgba = pydiffvg.RenderFunction.apply(columns, height, SAMPLES, SAMPLES, 0, None, *scene).permute(2, 0, 1)
        images.append(ground + rgba[3:] * (rgba[: len(ground)] - ground))
    return torch.stack(images)
