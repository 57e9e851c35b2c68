"""Views of pictures, drawn for a whole batch at once."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clipx.contrastive.colours import to_lab, turned_hues
from clipx.contrastive.presets import Views

LUMA = (0.299, 0.587, 0.114)


def draw_views(pictures: Tensor, views: Views, size: int, rng: np.random.Generator) -> list[Tensor]:
    """The views of a batch.

    Args:
        pictures: (N, 3, R, R) float32 in [0, 1].
        views: how they are drawn.
        size: side S of the large views, in pixels.
        rng: what they are drawn by.

    Returns:
        The large crops and the local ones, (N, 3, S, S) each and smaller; or lightness and colour (N, 3, S, S) of one
        crop; or the patches of one crop, (N, grid * grid, 3, s, s).
    """
    if views.kind != "crops":
        shown = varied(random_crops(pictures, views.area, size, rng), views, 0, rng)
        return lightness_and_colour(shown) if views.kind == "lab" else [patches(shown, views.grid)]
    large = [varied(random_crops(pictures, views.area, size, rng), views, min(i, 1), rng) for i in range(views.large)]
    side = local_side(views, size)
    local = [varied(random_crops(pictures, views.local_area, side, rng), views, 2, rng) for _ in range(views.local)]
    return large + local


def local_side(views: Views, size: int) -> int:
    """The side of small views beside large ones of ``size`` pixels: a multiple of 8, at least 32, as a ResNet needs."""
    return max(32, 8 * round(size * views.local_size / 8))


def random_crops(pictures: Tensor, area: tuple[float, float], size: int, rng: np.random.Generator) -> Tensor:
    """A crop of each picture, mirrored or not, of aspect 3/4 to 4/3: (N, C, R, R) -> (N, C, size, size)."""
    n = len(pictures)
    share, aspect = rng.uniform(*area, n), np.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3), n))
    width, height = np.sqrt(share * aspect).clip(max=1.0), np.sqrt(share / aspect).clip(max=1.0)
    theta = np.zeros((n, 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 1, 1] = width * np.where(rng.random(n) < 0.5, -1.0, 1.0), height
    theta[:, 0, 2], theta[:, 1, 2] = rng.uniform(-1, 1, n) * (1 - width), rng.uniform(-1, 1, n) * (1 - height)
    grid = F.affine_grid(torch.from_numpy(theta).to(pictures.device), [n, 1, size, size], align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def varied(pictures: Tensor, views: Views, which: int, rng: np.random.Generator) -> Tensor:
    """Colours, blur and solarisation of (N, 3, S, S), as the first large view (0), others (1) or small ones (2)."""
    n = len(pictures)

    def factor(strength: float) -> Tensor:
        return _column(rng.uniform(max(0.0, 1 - strength), 1 + strength, n), pictures)

    brightness, contrast, saturation, hue = views.colour
    jittered = pictures
    if any(views.colour):
        jittered = (jittered * factor(brightness)).clamp(0, 1)
        middle = grey(jittered).mean((2, 3), keepdim=True)
        jittered = (middle + (jittered - middle) * factor(contrast)).clamp(0, 1)
        light = grey(jittered)
        jittered = light + (jittered - light) * factor(saturation)
        jittered = turned_hues(jittered, rng.uniform(-hue, hue, n)).clamp(0, 1)
        jittered = torch.where(_chosen(views.jittered, n, rng, pictures), jittered, pictures)
    if views.grey:
        jittered = torch.where(_chosen(views.grey, n, rng, pictures), grey(jittered), jittered)
    if views.blur[which] and (rows := np.flatnonzero(rng.random(n) < views.blur[which])).size:
        sigma = rng.uniform(0.1, 2.0, len(rows)) * pictures.shape[-1] / 224
        jittered = jittered.index_copy(0, torch.from_numpy(rows).to(pictures.device), blurred(jittered[rows], sigma))
    if views.solarise[which]:
        inverted = torch.where(jittered < 0.5, jittered, 1 - jittered)
        jittered = torch.where(_chosen(views.solarise[which], n, rng, pictures), inverted, jittered)
    return jittered


def grey(pictures: Tensor) -> Tensor:
    """(N, 3, H, W) -> luma (N, 1, H, W), ITU-R BT.601."""
    return (pictures * pictures.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)


def blurred(pictures: Tensor, sigma: np.ndarray) -> Tensor:
    """(N, C, H, W) with a Gaussian of sigma (N,) pixels, cut off at three of the greatest; edges are continued."""
    reach = max(1, math.ceil(3 * sigma.max()))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1)[:, None] / np.maximum(sigma, 1e-3)) ** 2)
    taps /= taps.sum(0)
    for axis in (2, 3):
        length = pictures.shape[axis]
        margins = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        padded = F.pad(pictures, margins, mode="replicate")
        shown = torch.zeros_like(pictures)
        for i, tap in enumerate(taps):
            shown += _column(tap, pictures) * padded.narrow(axis, i, length)
        pictures = shown
    return pictures


def lightness_and_colour(pictures: Tensor) -> list[Tensor]:
    """CMC's two views: L three times, and a, b and nothing, each (N, 3, H, W) of about unit range."""
    lab = to_lab(pictures)
    colour = torch.cat([lab[:, 1:] / 100, torch.zeros_like(lab[:, :1])], dim=1)
    return [(lab[:, :1] / 100).expand(-1, 3, -1, -1), colour]


def patches(pictures: Tensor, grid: int) -> Tensor:
    """CPC's patches, half overlapping: (N, 3, S, S) -> (N, grid * grid, 3, s, s), row by row.

    They are resampled to a side s that is a multiple of 32 pixels, so that a tower of that stride takes them.
    """
    size = pictures.shape[-1]
    side = round(2 * size / (grid + 1))
    starts = np.linspace(0, size - side, grid).round().astype(int)
    cut = torch.stack([pictures[:, :, y : y + side, x : x + side] for y in starts for x in starts], dim=1)
    wanted = 32 * math.ceil(side / 32)
    if wanted != side:
        cut = F.interpolate(cut.flatten(0, 1), (wanted, wanted), mode="bilinear").unflatten(0, cut.shape[:2])
    return cut


def _column(values: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32)).to(like.device).view(-1, 1, 1, 1)


def _chosen(probability: float, n: int, rng: np.random.Generator, like: Tensor) -> Tensor:
    return torch.from_numpy(rng.random(n) < probability).to(like.device).view(-1, 1, 1, 1)
