"""Dense prediction: labels -> logits per cell -> any H x W. Depth bins and part segmentation are both this."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.embedding import Embedding
from clipx.errors import InputError, SpaceMismatchError
from clipx.space import JointSpace


def dense_logits(
    space: JointSpace,
    pixels: Tensor,
    labels: Embedding | Tensor | np.ndarray,
    *,
    window: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
    flip: bool = False,
    scales: Sequence[float] = (1.0,),
    size: tuple[int, int] | None = None,
    normalize: bool = True,
    path: str = "value",
    features: Callable[[Tensor], Tensor] | None = None,
    combine: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """What each pixel shows: logit scale * cosine of every place with every label.

    Args:
        space: its image tower needs dense features (``space.supports("dense")``).
        pixels: (N, 3, H, W) float RGB in [0, 1].
        labels: K unit vectors of that space, (K, D): an Embedding, or the weights of a classifier.
        window: look through windows of this many pixels (high, wide) and average where they overlap; the whole picture
            at once when None. Towers that take one size only see each window resampled to it.
        stride: steps of the window, half of it by default; the last window ends at the border.
        flip: average with the mirrored picture.
        scales: average over the picture resampled by these factors; a window is of as many pixels in each.
        size: (H, W) of the answer; that of the pixels by default.
        normalize: as in ``JointSpace.encode_image``.
        path: as in ``JointSpace.dense_image``.
        features: (N, 3, H, W) pixels -> (N, D, h, w) unit vectors, in place of ``JointSpace.dense_image``.
        combine: (N, K, h, w) logits of cells -> (N, C, h, w), before they are enlarged: of many labels a few maps.

    Returns:
        (N, K, H, W), or with ``combine`` (N, C, H, W), float32 logits, bilinear between cell centres. Gradients reach
        pixels and labels.

    Raises:
        InputError: shapes, sizes or steps that are out of range.
        SpaceMismatchError: the labels live in another space.
        UnsupportedError: the tower has no dense features.
    """
    weights = _label_weights(space, labels)
    if not isinstance(pixels, Tensor) or pixels.ndim != 4:
        raise InputError("pixels must be a (N, 3, H, W) tensor")
    canvas = int(pixels.shape[-2]), int(pixels.shape[-1])
    size = canvas if size is None else _pair(size, "size")
    if window is None and stride is not None:
        raise InputError("a stride needs a window", where="dense_logits")
    if not scales or not all(math.isfinite(scale) and scale > 0 for scale in scales):
        raise InputError(f"scales must be positive numbers, got {scales!r}", where="dense_logits")
    tile = None if window is None else _pair(window, "window")
    step = None if stride is None else _pair(stride, "stride")

    if features is None:
        features = partial(space.dense_image, normalize=normalize, path=path, resize=not space.backbone.any_size)

    def cells(view: Tensor) -> Tensor:  # (N, 3, H, W) -> (N, K or C, h, w)
        found = space.logit_scale * torch.einsum("ndhw,kd->nkhw", features(view), weights)
        return found if combine is None else combine(found)

    def see(view: Tensor) -> Tensor:
        if tile is None:
            return _resize(cells(view), size)
        boxes = list(_boxes((int(view.shape[-2]), int(view.shape[-1])), tile, step))
        return _resize(_windowed(view, boxes, cells), size)

    def looks() -> Iterator[Tensor]:  # one at a time: each may be as large as the picture times the labels
        for scale in scales:
            view = _scaled(space, pixels, scale, normalize)
            yield see(view)
            if flip:
                yield see(view.flip(-1)).flip(-1)

    return sum(looks(), torch.zeros(())) / (len(scales) * (1 + flip))


def _scaled(space: JointSpace, pixels: Tensor, scale: float, normalize: bool) -> Tensor:
    """The pixels resampled as the space's preprocessing does, at least one pixel high and wide."""
    if scale == 1:
        return pixels
    pixels = space.checked(pixels, normalize)
    height, width = (max(1, round(side * scale)) for side in pixels.shape[-2:])
    found = space.preprocess.sample(pixels, (height, width))
    return found.clamp(0, 1) if normalize else found


def _windowed(pixels: Tensor, boxes: list[tuple[int, int, int, int]], cells: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean of the logits of all windows that cover a pixel: (N, K, H, W)."""
    total = count = torch.zeros(())  # their shapes are those of the first window's labels
    for top, left, height, width in boxes:
        rows, columns = slice(top, top + height), slice(left, left + width)
        logits = _resize(cells(pixels[..., rows, columns]), (height, width))
        if not total.ndim:
            total = logits.new_zeros(*logits.shape[:2], *pixels.shape[-2:])
            count = logits.new_zeros(pixels.shape[-2:])
        total[..., rows, columns] += logits
        count[rows, columns] += 1
    return total / count


def _boxes(
    canvas: tuple[int, int], window: tuple[int, int], stride: tuple[int, int] | None
) -> Iterator[tuple[int, int, int, int]]:
    """(top, left, height, width) of windows that together cover the canvas."""
    step = stride or (max(1, window[0] // 2), max(1, window[1] // 2))
    if step[0] > window[0] or step[1] > window[1]:
        raise InputError(
            f"stride {step} is longer than window {window}: pixels would be left out", where="dense_logits"
        )
    height, width = min(window[0], canvas[0]), min(window[1], canvas[1])
    for top in _starts(canvas[0], height, step[0]):
        for left in _starts(canvas[1], width, step[1]):
            yield top, left, height, width


def _starts(length: int, window: int, step: int) -> list[int]:
    """First pixels of the windows along one side; the last window ends at the border."""
    return sorted({*range(0, length - window, step), length - window})


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[-2:]) == size:
        return maps
    if not len(maps):
        return maps.new_zeros(*maps.shape[:2], *size)
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def _label_weights(space: JointSpace, labels: Embedding | Tensor | np.ndarray) -> Tensor:
    if isinstance(labels, Embedding):
        if labels.space_id != space.id:
            raise SpaceMismatchError(
                f"labels live in space {labels.space_id}, the pixels go to {space.id}",
                remedy="embed the labels with it",
            )
        labels = labels.vectors
    labels = torch.as_tensor(labels)
    if labels.ndim != 2 or labels.shape[1] != space.dim or not len(labels):
        raise InputError(
            f"labels must be (K, {space.dim}) with K >= 1, got {tuple(labels.shape)}", where="dense_logits"
        )
    return labels.to(space.device, torch.float32)


def _pair(value: int | tuple[int, int], what: str) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2 or not all(isinstance(v, int) and v > 0 for v in pair):
        raise InputError(
            f"{what} must be a positive number of pixels or (high, wide), got {value!r}", where="dense_logits"
        )
    return pair
