"""Random views of a picture: in perspective, cropped, enlarged again. Draws are data, so views can be shared."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.errors import InputError

AUGMENTED = 4  # views that CLIPasso draws at each step, besides the plain picture
DISTORTION = 0.5  # of half the canvas: how far a corner may move
CROP_AREA = 0.8  # of the canvas's


@dataclass(frozen=True)
class ViewDraws:
    """K random views, drawn.

    Args:
        corners: (K, 4, 2) int64, x then y: where the corners of a picture go: top left, top right, bottom right, bottom
            left.
        crops: (K, 4) int64: top, left, height and width of what is then cut out and enlarged to the canvas.
        size: side of the square canvas in pixels.
    """

    corners: Tensor
    crops: Tensor
    size: int

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, which: slice | Tensor | list[int]) -> ViewDraws:
        """Some of the views, chosen by a slice or indices."""
        return ViewDraws(self.corners[which], self.crops[which], self.size)


def draw_views(
    generator: torch.Generator,
    count: int = AUGMENTED,
    size: int = 224,
    crop_area: tuple[float, float] = (CROP_AREA, CROP_AREA),
) -> ViewDraws:
    """Draw views as CLIPasso does: torchvision's RandomPerspective (distortion 0.5), then RandomResizedCrop (0.8).

    Args:
        generator: on the CPU; advanced exactly as torch's own stream is by torchvision's two transforms.
        count: K.
        size: side of the canvas in pixels.
        crop_area: least and largest share of the canvas that a view shows, square.
    """
    if count < 1 or size < 8:
        raise InputError(f"views need a count of at least 1 and a canvas of at least 8 pixels, got {count} and {size}")

    def integer(low: int, high: int) -> int:  # both included
        return int(torch.randint(low, high + 1, (1,), generator=generator))

    reach = int(DISTORTION * (size // 2))
    near, far = (0, reach), (size - 1 - reach, size - 1)
    corners, crops = [], []
    for _ in range(count):
        torch.rand(1, generator=generator)  # whether to change the perspective at all: always
        quarters = ((near, near), (far, near), (far, far), (near, far))
        corners.append([[integer(*x), integer(*y)] for x, y in quarters])
        share = float(torch.empty(2).uniform_(generator=generator)[0])  # the other is the aspect ratio: fixed
        side = round(size * math.sqrt(crop_area[0] + (crop_area[1] - crop_area[0]) * share))
        crops.append([integer(0, size - side), integer(0, size - side), side, side])
    return ViewDraws(torch.tensor(corners), torch.tensor(crops), size)


def apply_views(pixels: Tensor, draws: ViewDraws, plain: bool = True) -> Tensor:
    """Pictures -> views of them, every picture through the same draws, differentiably.

    Sampling is bilinear in both steps, and what comes from outside a picture is black, as torchvision has it. Normalise
    afterwards, as CLIPasso does.

    Args:
        pixels: (B, C, size, size), any floating dtype.
        draws: K views.
        plain: whether the picture itself comes first.

    Returns:
        (B, K, C, size, size), or K + 1 with the plain one.

    Raises:
        InputError: the pixels are no floating pictures of the draws' size.
    """
    size = draws.size
    if pixels.ndim != 4 or tuple(pixels.shape[2:]) != (size, size) or not pixels.is_floating_point():
        raise InputError(f"pixels must be floating (B, C, {size}, {size}), got {pixels.dtype} {tuple(pixels.shape)}")
    batch, channels = pixels.shape[:2]
    # Pictures stand side by side as channels of one; the last channel finds what lies inside the picture.
    stacked = torch.cat([pixels.flatten(0, 1), pixels.new_ones(1, size, size)])[None].expand(len(draws), -1, -1, -1)
    warped = F.grid_sample(stacked, _perspective_grid(draws, pixels), mode="bilinear", align_corners=False)
    warped = warped[:, :-1] * warped[:, -1:]
    views = []
    for view, (top, left, height, width) in zip(warped, draws.crops.tolist(), strict=True):
        cut = view[None, :, top : top + height, left : left + width]
        views.append(F.interpolate(cut, (size, size), mode="bilinear", align_corners=False, antialias=True)[0])
    separate = [view.unflatten(0, (batch, channels)) for view in views]
    return torch.stack([pixels, *separate] if plain else separate, dim=1)


def perspective_coefficients(draws: ViewDraws) -> Tensor:
    """(K, 8) float32 a to h: the pixel (x, y) of a view shows the place (ax + by + c, dx + ey + f) / (gx + hy + 1)."""
    last = draws.size - 1
    source = torch.tensor([[0, 0], [last, 0], [last, last], [0, last]], dtype=torch.float64).expand(len(draws), 4, 2)
    x, y = draws.corners.double().unbind(-1)  # (K, 4)
    one, none = torch.ones_like(x), torch.zeros_like(x)
    u, v = source.unbind(-1)
    for_x = torch.stack([x, y, one, none, none, none, -u * x, -u * y], dim=-1)
    for_y = torch.stack([none, none, none, x, y, one, -v * x, -v * y], dim=-1)
    equations = torch.stack([for_x, for_y], dim=2).flatten(1, 2)  # (K, 8, 8)
    return torch.linalg.lstsq(equations, source.flatten(1)[..., None], driver="gels").solution[..., 0].float()


def _perspective_grid(draws: ViewDraws, like: Tensor) -> Tensor:
    """(K, size, size, 2): where each pixel of a view looks, in grid_sample's units."""
    size = draws.size
    theta = perspective_coefficients(draws).to(like)
    centres = torch.linspace(0.5, size - 0.5, size, dtype=like.dtype, device=like.device)
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], dim=-1).view(1, -1, 3).expand(len(draws), -1, -1)
    top = places @ (theta[:, :6].view(-1, 2, 3).mT / (0.5 * size))
    bottom = places @ torch.cat([theta[:, 6:], torch.ones_like(theta[:, :1])], dim=1)[..., None]
    return (top / bottom - 1).view(-1, size, size, 2)
