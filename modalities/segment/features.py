"""What a trained head reads of a photo: the frozen tower's dense vectors and stages, on one grid."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.modalities.segment.data import MaskedPhoto
from clipx.space import JointSpace

STAGES = 3  # how many stages are read


@dataclass(frozen=True)
class Features:
    """Of N photos: both maps on the grid of the last stage but one.

    Args:
        dense: (N, D, h, w) unit vectors of the joint space, by ``best_path``.
        stages: (N, C, h, w), its last three stages side by side, or of equal ones three at even distances.
    """

    dense: Tensor
    stages: Tensor


@dataclass(frozen=True)
class Sample:
    """A photo as training and evaluation take it.

    Args:
        features: of one photo.
        vector: (D,) the unit vector of the photo.
        truth: (H, W) uint8, places in the set's classes; ``IGNORED`` where a pixel is not judged.
    """

    features: Features
    vector: Tensor
    truth: Tensor


def best_path(space: JointSpace) -> str:
    """The path that ``"auto"`` takes: NACLIP's in a transformer with a class token, elsewhere the value path.

    For the attention pool of a ModifiedResNet only the value path has published figures.
    """
    return "naclip" if space.supports("class_attention") and "naclip" in space.dense_paths else "value"


def frozen_features(space: JointSpace, pixels: Tensor) -> Features:
    """Pixels (N, 3, H, W) in [0, 1] -> what a head reads; no gradients.

    Raises:
        UnsupportedError: the tower has no dense features or no stages. InputError: what are no pixels.
    """
    squash = not space.backbone.any_size
    with torch.no_grad():
        dense = space.dense_image(pixels, resize=squash, path=best_path(space))
        maps = list(space.stages(pixels, resize=squash).values())
    even = len({tuple(one.shape[-2:]) for one in maps[-STAGES:]}) == 1
    count = min(STAGES, len(maps))
    chosen = [maps[len(maps) * (i + 1) // count - 1] for i in range(count)] if even else maps[-STAGES:]
    last = chosen[max(0, len(chosen) - 2)]
    grid = last.shape[-2], last.shape[-1]
    return Features(_on(dense, grid), torch.cat([_on(one, grid) for one in chosen], dim=1))


def read_samples(space: JointSpace, photos: Sequence[MaskedPhoto], classes: int, short_side: int) -> Iterator[Sample]:
    """Read photos with their masks one by one and run the frozen tower on each.

    Args:
        photos: files.
        classes: K; other values of a mask but ``IGNORED`` are an error.
        short_side: pixels that a photo's shorter side is scaled to.

    Raises:
        FileError: see ``MaskedPhoto.read``.
    """
    for photo in photos:
        pixels, truth = (torch.from_numpy(values) for values in photo.read(classes))
        scale = short_side / min(truth.shape)
        size = max(1, round(truth.shape[0] * scale)), max(1, round(truth.shape[1] * scale))
        seen = space.preprocess.sample(pixels[None].to(space.device), size).clamp(0, 1)
        found = frozen_features(space, seen)
        with torch.no_grad():
            vector = space.encode_image(seen)[0].cpu()
        yield Sample(Features(found.dense.cpu(), found.stages.cpu()), vector, truth)


def standardisation(samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """(C,) mean and (C,) standard deviation of each channel of the samples' stages."""
    cells = torch.cat([sample.features.stages[0].flatten(1) for sample in samples], dim=1)
    return cells.mean(1), cells.std(1, correction=0).clamp(min=1e-6)


def side_by_side(features: Features, mean: Tensor, std: Tensor) -> Tensor:
    """(N, D + C, h, w): dense vectors and standardised stages, every channel of a variance of about 1."""
    stages = (features.stages - mean[:, None, None]) / std[:, None, None]
    return torch.cat([features.dense * features.dense.shape[1] ** 0.5, stages], dim=1)


def digest(samples: Sequence[Sample], text: Tensor) -> str:
    """A hash of what a run learns from, so that another run's checkpoint is refused."""
    found = hashlib.sha256(text.contiguous().numpy().tobytes())
    for sample in samples:
        found.update(sample.features.dense.contiguous().numpy().tobytes())
        found.update(sample.truth.numpy().tobytes())
    return found.hexdigest()


def default_side(space: JointSpace) -> int:
    """Pixels of a photo's shorter side: 1.4 times the tower's own where it takes any size."""
    own = min(space.image_size)
    return round(1.4 * own) if space.backbone.any_size else own


def _on(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Resampled to a grid: means of what is finer, bilinear between what is coarser."""
    if tuple(maps.shape[-2:]) == grid:
        return maps
    if maps.shape[-2] > grid[0]:
        return F.adaptive_avg_pool2d(maps, grid)
    return F.interpolate(maps, grid, mode="bilinear")
