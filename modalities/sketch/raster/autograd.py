"""The kernel as a differentiable function of tensors on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

import clipx.modalities.sketch.raster.kernel as kernel


def paint(points: Tensor, width: Tensor, alpha: Tensor, color: Tensor, canvas: Tensor) -> Tensor:
    """As `plain.paint`, for float32 tensors on the CPU."""
    return _Paint.apply(points, width, alpha, color, canvas)


class _Paint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, *how: Tensor) -> Tensor:
        ctx.strokes = points.shape[:2]
        given = [tensor.detach().numpy() for tensor in (points, *how)]
        image, ctx.painted = kernel.forward(any(ctx.needs_input_grad), *given)
        return torch.from_numpy(image)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        by_strokes, ground = kernel.backward(ctx.painted, gradient.numpy())
        total = torch.from_numpy(by_strokes).unflatten(0, ctx.strokes)
        points, (width, alpha), color = total[..., :8], (total[..., 8] / 2, total[..., 9]), total[..., 10:]
        return points.unflatten(-1, (4, 2)), width, alpha, color, torch.from_numpy(ground)
