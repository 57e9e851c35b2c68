"""Moving the borders of logits to the edges of the photo: PAMR, superpixels, a guided filter.

Each takes logits (K, H, W) and the photo (3, H, W) in [0, 1], and returns logits (K, H, W). Large photos are worked on
in strips or at a smaller size, so that no more than a bounded multiple of the photo is held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.errors import InputError

STRIP = 2**21  # pixels of a strip; PAMR holds 16 numbers for each
SLIC_PIXELS = 2**20  # a larger photo is scaled down for its superpixels
AROUND = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]


def pamr(logits: Tensor, photo: Tensor, steps: int = 10, dilations: Sequence[int] = (8, 16)) -> Tensor:
    """Pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020, section 4.2).

    Every step replaces a pixel's logits by a mean of its neighbours', weighted by a softmax of minus the difference of
    colours over a tenth of their local standard deviation.

    Args:
        logits: (K, H, W).
        photo: (3, H, W) in [0, 1].
        steps: how often, at least 0.
        dilations: distances of the 8 neighbours, in pixels; each adds 8.

    Raises:
        InputError: shapes that do not agree, or numbers out of range.
    """
    _check(logits, photo)
    if steps < 0 or not dilations or min(dilations) < 1:
        raise InputError(f"PAMR needs steps of at least 0 and dilations of at least 1, got {steps} and {dilations}")
    offsets = [(i * d, j * d) for d in dilations for i, j in AROUND]

    def refine(part: Tensor, seen: Tensor) -> Tensor:
        weights = _affinity(seen, offsets)
        for _ in range(steps):
            around = _shifted(part, [offset for offset in offsets if offset != (0, 0)])
            total = torch.zeros_like(part)
            for values, weight in zip(around, weights, strict=True):  # one at a time: K maps are large
                total = total + values * weight
            part = total
        return part

    return _in_strips(refine, logits, photo, halo=steps * max(dilations))


def superpixels(logits: Tensor, photo: Tensor, count: int = 400, compactness: float = 10.0) -> Tensor:
    """Give each superpixel of the photo the mean of its logits (SLIC, Achanta et al., TPAMI 2012, by scikit-image).

    Args:
        logits: (K, H, W).
        photo: (3, H, W) in [0, 1].
        count: about how many superpixels.
        compactness: nearness in place against nearness in colour, above 0.

    Raises:
        InputError: shapes that do not agree, or numbers out of range.
    """
    from skimage.segmentation import slic

    _check(logits, photo)
    if count < 1 or not compactness > 0:
        raise InputError(
            f"superpixels need a count of at least 1 and a compactness above 0, got {count} and {compactness}"
        )
    size = photo.shape[-2:]
    scale = (SLIC_PIXELS / (size[0] * size[1])) ** 0.5
    small = photo.detach().float()
    if scale < 1:
        shape = [max(1, round(n * scale)) for n in size]
        small = F.interpolate(small[None], shape, mode="bilinear", antialias=True)[0]
    found = slic(
        small.permute(1, 2, 0).cpu().double().numpy(), n_segments=count, compactness=compactness, start_label=0
    )
    index = F.interpolate(torch.from_numpy(found)[None, None].double(), size, mode="nearest")  # not on the device:
    index = index[0, 0].long().flatten().to(logits.device)  # MPS has no float64
    pixels = torch.bincount(index).clamp(min=1)
    sums = logits.new_zeros(len(logits), len(pixels)).index_add(1, index, logits.flatten(1))
    return (sums / pixels)[:, index].view_as(logits)


def guided(logits: Tensor, photo: Tensor, radius: int = 16, eps: float = 1e-3) -> Tensor:
    """Guided filter: in each window logits are linear in the photo's colour (He et al., TPAMI 2013, eq. 19 to 21).

    Args:
        logits: (K, H, W).
        photo: (3, H, W) in [0, 1].
        radius: of the square windows, in pixels, at least 1.
        eps: variances of colour far below it are smoothed away; above 0.

    Raises:
        InputError: shapes that do not agree, or numbers out of range.
    """
    _check(logits, photo)
    if radius < 1 or not eps > 0:
        raise InputError(f"a guided filter needs a radius of at least 1 and eps above 0, got {radius} and {eps}")

    def refine(part: Tensor, seen: Tensor) -> Tensor:
        guide = seen - seen.mean((1, 2), keepdim=True)  # a mean of squares less a squared mean is exact near 0 only
        mean, mean_part = _box_mean(guide, radius), _box_mean(part, radius)
        rows = [  # of the covariance of the colours, and eps on its diagonal: (3, H, W) each
            _box_mean(guide[i] * guide, radius) - mean[i] * mean + eps * guide.new_tensor(axis)[:, None, None]
            for i, axis in enumerate(((1, 0, 0), (0, 1, 0), (0, 0, 1)))
        ]
        with_part = [_box_mean(guide[i] * part, radius) - mean[i] * mean_part for i in range(3)]
        inverse = [torch.linalg.cross(rows[i - 2], rows[i - 1], dim=0) for i in range(3)]  # times the determinant
        determinant = (rows[0] * inverse[0]).sum(0)
        found, offset = torch.zeros_like(part), mean_part
        for i in range(3):
            slope = sum((inverse[i][j] / determinant * with_part[j] for j in range(3)), torch.zeros_like(part))
            found = found + _box_mean(slope, radius) * guide[i]
            offset = offset - slope * mean[i]
        return found + _box_mean(offset, radius)

    return _in_strips(refine, logits, photo, halo=2 * radius)


REFINEMENTS: dict[str, Callable[..., Tensor]] = {"pamr": pamr, "superpixels": superpixels, "guided": guided}


def _check(logits: Tensor, photo: Tensor) -> None:
    if logits.ndim != 3 or photo.ndim != 3 or len(photo) != 3 or logits.shape[1:] != photo.shape[1:]:
        raise InputError(
            f"refinement takes logits (K, H, W) and a photo (3, H, W) of the same size, got {tuple(logits.shape)} and "
            f"{tuple(photo.shape)}"
        )


def _in_strips(refine: Callable[[Tensor, Tensor], Tensor], logits: Tensor, photo: Tensor, halo: int) -> Tensor:
    """Refine strip by strip, each with so many rows around it that the result is that of the whole.

    Args:
        halo: how far a pixel of the result depends on others, in pixels.
    """
    height, width = photo.shape[-2:]
    rows = max(64, STRIP // width - 2 * halo)
    photo = photo.to(logits)
    found = []
    for top in range(0, height, rows):
        first, last = max(0, top - halo), min(height, top + rows + halo)
        part = refine(logits[:, first:last], photo[:, first:last])
        found.append(part[:, top - first : top - first + rows])
    return torch.cat(found, dim=1)


def _shifted(maps: Tensor, offsets: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Views of (C, H, W) at offsets (down, right); beyond the border the outermost pixel goes on."""
    height, width = maps.shape[-2:]
    far = max(max(abs(i), abs(j)) for i, j in offsets)
    padded = F.pad(maps[None], (far,) * 4, mode="replicate")[0]
    return [padded[:, far + i : far + i + height, far + j : far + j + width] for i, j in offsets]


def _affinity(photo: Tensor, offsets: Sequence[tuple[int, int]]) -> Tensor:
    """(P', H, W) weights over the neighbours, the pixel itself left out; they sum to 1."""
    values = _shifted(photo, offsets)
    mean = torch.stack([value.mean((1, 2)) for value in values]).mean(0)[:, None, None]
    count = len(values)
    total = sum((value - mean for value in values), torch.zeros_like(photo))
    squares = sum(((value - mean).square() for value in values), torch.zeros_like(photo))
    spread = ((squares - total.square() / count).clamp(min=0) / (count - 1)).sqrt()
    others = [value for value, offset in zip(values, offsets, strict=True) if offset != (0, 0)]
    return torch.stack([-((value - photo).abs() / (1e-8 + 0.1 * spread)).mean(0) for value in others]).softmax(0)


def _box_mean(maps: Tensor, radius: int) -> Tensor:
    """(C, H, W): mean over the square window around each pixel, as far as it lies within the picture."""
    side = 2 * radius + 1
    maps = F.avg_pool2d(maps[None], (side, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(maps, (1, side), 1, (0, radius), count_include_pad=False)[0]
