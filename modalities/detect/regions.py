"""Boxes of a photo in the joint space: by crops through the encoder, or from one dense map of the whole photo.

Gu et al., "Open-vocabulary Object Detection via Vision and Language Knowledge Distillation" (ViLD), ICLR 2022: its
image branch encodes crops, its text branch pools a map of the whole photo by RoIAlign.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clipx._arrays import unit_rows
from clipx.errors import InputError
from clipx.modalities.detect.boxes import area, as_boxes, scaled
from clipx.modalities.detect.views import dense_views
from clipx.space import JointSpace

BINS, SAMPLES = 4, 2  # of RoIAlign along each side: a box is the mean of 64 bilinear samples
CROPS_AT_ONCE = 64
RANDOM_CROPS = 32  # that stand for a photo's background
MIN_RING = 0.05  # of the box's area: less is no surroundings


class RegionEncoder:
    """Boxes of a photo -> vectors, and how much more of each label a box shows than what is not it.

    Args:
        space: the frozen joint space.
        how: ``"dense"``: mean of the dense map in the box; ``"crops"``: the crops of the box at ``crop_scales``, each
            brought to the encoder's size as the space's preprocessing says, their unit vectors summed.
        head: of ``"dense"``: called with photo and boxes, it gives the (R, D) vectors in place of the dense map.
        path, short_sides_px: of the dense map, see ``views.dense_views``.
        ring: see ``DetectConfig``.
        crop_scales: see ``DetectConfig``.
        seed: of the random crops.

    Raises:
        InputError: another ``how``, or a head for crops.
    """

    def __init__(
        self,
        space: JointSpace,
        how: Literal["dense", "crops"] = "dense",
        head: Callable[[Tensor, np.ndarray], Tensor] | None = None,
        *,
        path: str = "value",
        short_sides_px: Sequence[int] = (540,),
        ring: float = 1.4,
        crop_scales: Sequence[float] = (1.0, 1.5),
        seed: int = 0,
    ):
        if how not in ("dense", "crops"):
            raise InputError(f"regions are dense or crops, got {how!r}")
        if head is not None and how != "dense":
            raise InputError("a head takes the place of the dense map, not of crops")
        self.space, self.how, self.head = space, how, head
        self.path, self.short_sides_px, self.ring = path, tuple(short_sides_px), ring
        self.crop_scales, self.seed = tuple(crop_scales), seed

    def __call__(self, photo: Tensor, boxes: np.ndarray) -> Tensor:
        """Vectors of boxes: (R, D) float32 unit rows on the space's device.

        Args:
            photo: (3, H, W) RGB in [0, 1].
            boxes: (R, 4) in its pixels; R may be 0.

        Raises:
            InputError: what is no photo, or boxes without area in it. UnsupportedError: the tower has no dense
                features.
        """
        boxes = self._checked(photo, boxes)
        with torch.no_grad():
            if not len(boxes):
                return torch.zeros(0, self.space.dim, device=self.space.device)
            if self.head is not None:
                return unit_rows(self.head(photo, boxes).float())
            if self.how == "crops":
                return self._of_crops(photo, boxes)
            cells = dense_views(self.space, photo, self.short_sides_px, self.path)
            return unit_rows(_pooled(cells, boxes, _size(photo)))

    def logits(self, photo: Tensor, boxes: np.ndarray, weights: Tensor) -> Tensor:
        """Logit scale * how much more of each label a box shows than the background: (R, K); 0 is as much.

        Dense: mean of the map in the box - mean of it in the ring around the box, times the label's vector; 0 where a
        box leaves no ring. Crops: (vector of the box - ``background``), times the label's vector. A head that has
        learned a background: its vector times the label's, minus its vector times the background's.

        Args:
            photo, boxes: as in the call.
            weights: (K, D) unit vectors of the labels.
        """
        boxes, weights = self._checked(photo, boxes), weights.to(self.space.device)
        with torch.no_grad():
            if not len(boxes):
                return torch.zeros(0, len(weights), device=self.space.device)
            if self.head is not None and hasattr(self.head, "background"):
                vectors, background = self(photo, boxes), unit_rows(self.head.background[None])
                return self.space.logit_scale * (vectors @ weights.T - vectors @ background.T)
            if self.how == "crops" or self.head is not None:
                return self.space.logit_scale * (self(photo, boxes) - self.background(photo)) @ weights.T
            cells = dense_views(self.space, photo, self.short_sides_px, self.path)
            maps = torch.einsum("ndhw,kd->nkhw", cells, weights)  # pooling is linear, and K is mostly below D
            return self.space.logit_scale * self._contrast(maps, boxes, _size(photo))

    def background(self, photo: Tensor, seed: int | None = None) -> Tensor:
        """What any part of a photo looks like: the mean vector of random boxes, (D,), not of unit norm.

        Args:
            photo: (3, H, W) RGB in [0, 1].
            seed: of the boxes, whose sides are uniform between a tenth of the photo's and all of it; that of the
                encoder by default.
        """
        rng = np.random.default_rng(self.seed if seed is None else seed)
        height, width = _size(photo)
        sides = rng.uniform(0.1, 1, (RANDOM_CROPS, 2)) * (width, height)
        corners = rng.uniform(0, 1, (RANDOM_CROPS, 2)) * ((width, height) - sides)
        return self(photo, np.concatenate([corners, corners + sides], axis=1).astype(np.float32)).mean(dim=0)

    def _contrast(self, maps: Tensor, boxes: np.ndarray, size: tuple[int, int]) -> Tensor:
        """(1, K, h, w) -> (R, K): mean in each box - mean in the ring around it."""
        outer = scaled(boxes, self.ring, size)
        inside, around = _pooled(maps, boxes, size), _pooled(maps, outer, size)
        a, b = (maps.new_tensor(area(own))[:, None] for own in (boxes, outer))
        ring = (around * b - inside * a) / (b - a).clamp(min=1e-6)
        return torch.where(b - a >= MIN_RING * a, inside - ring, 0.0)

    def _of_crops(self, photo: Tensor, boxes: np.ndarray) -> Tensor:
        """All crops of all scales in as few batches as there may be; sums over the scales, of unit norm again."""
        pixels = self.space.checked(photo[None]).clamp(0, 1)
        every = np.concatenate([scaled(boxes, factor, _size(photo)) for factor in self.crop_scales])
        rows = []
        for start in range(0, len(every), CROPS_AT_ONCE):
            crops = torch.cat([self._cropped(pixels, box) for box in every[start : start + CROPS_AT_ONCE]])
            rows.append(self.space.encode_image(crops))
        return unit_rows(torch.cat(rows).unflatten(0, (len(self.crop_scales), len(boxes))).sum(dim=0))

    def _cropped(self, pixels: Tensor, box: np.ndarray) -> Tensor:
        """(1, 3, H, W) -> (1, 3, *image_size): the box, rounded outwards to whole pixels."""
        (left, top), (right, bottom) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
        return self.space.preprocess.resize(pixels[..., top:bottom, left:right]).clamp(0, 1)

    def _checked(self, photo: Tensor, boxes: np.ndarray) -> np.ndarray:
        if not isinstance(photo, Tensor) or photo.ndim != 3:
            raise InputError("a photo must be a (3, H, W) tensor")
        return as_boxes(boxes, _size(photo))


def _size(photo: Tensor) -> tuple[int, int]:
    return int(photo.shape[-2]), int(photo.shape[-1])


def _pooled(maps: Tensor, boxes: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Mean of a map (1, C, h, w) of a photo of that size in each box: (R, C), by RoIAlign."""
    from torchvision.ops import roi_align

    factor = [maps.shape[-1] / size[1], maps.shape[-2] / size[0]] * 2
    places = F.pad(maps.new_tensor(boxes) * maps.new_tensor(factor), (1, 0))  # first column: which picture, 0
    return roi_align(maps, places, BINS, 1.0, SAMPLES, aligned=True).mean(dim=(2, 3))
