"""What of a photo is the object: a mask from the space's own maps, and drawings in two layers.

Layers follow CLIPascene (Vinker et al., ICCV 2023): foreground and background are drawn separately, the background
without what stands before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.errors import InputError
from clipx.modalities.sketch.draw import Drawing
from clipx.modalities.sketch.saliency import saliency
from clipx.modalities.sketch.svg import Strokes
from clipx.modalities.sketch.target import Target

if TYPE_CHECKING:
    from clipx.space import JointSpace

SUPERPIXELS, COMPACTNESS = 150, 12.0
LEAST, MOST = 0.02, 0.9  # of the photo: what an object takes up
FILL_PX, SMOOTH_PX = 3, 6.0  # side of the box by which a hole is filled, again and again; then it is smoothed


def find_object(space: JointSpace, target: Target, towards: np.ndarray | None = None) -> Tensor:
    """Where the object of a photo is: (224, 224) bool.

    Superpixels (SLIC, Achanta et al., 2012) whose mean saliency lies above Otsu's threshold; holes are filled, and of
    several parts those stay that are at least a quarter as large as the largest.

    Args:
        space: whose tower looks, see ``saliency``.
        target: the photo.
        towards: (D,), what is looked for, such as a text's vector; by default what the photo shows most.

    Raises:
        InputError: what stands out is next to nothing or nearly all of the photo.
        UnsupportedError: the tower has nothing that says where it looks.
    """
    from skimage.filters import threshold_otsu
    from skimage.measure import label
    from skimage.segmentation import slic

    top, left, height, width = target.box
    inside = slice(top, top + height), slice(left, left + width)
    looks = saliency(space, target.pixels, towards)[inside]
    photo = target.pixels[:, *inside].permute(1, 2, 0).double().numpy()
    parts = slic(photo, SUPERPIXELS, COMPACTNESS, start_label=0)
    mean = (np.bincount(parts.ravel(), looks.ravel()) / np.bincount(parts.ravel()))[parts]
    pieces = label(mean > threshold_otsu(mean))
    sizes = np.bincount(pieces.ravel())[1:]
    found = np.isin(pieces, 1 + np.flatnonzero(sizes >= sizes.max(initial=0) / 4))
    around = label(~np.pad(found, 1), connectivity=1)
    found = (around != around[0, 0])[1:-1, 1:-1]  # holes are what the border cannot reach
    if not LEAST < found.mean() < MOST:
        raise InputError("no object stands out on the photo", where="mask", remedy="give a mask's file")
    where = torch.zeros(target.pixels.shape[1:], dtype=torch.bool)
    where[inside] = torch.from_numpy(found)
    return where


def two_layers(target: Target) -> tuple[Target, Target]:
    """A photo whose object is at ``where`` -> background, the object painted over from around it, and foreground."""
    if target.where is None:
        raise InputError("where the object is must be known", where="mask", remedy="see find_object")
    top, left, height, width = target.box
    inside = slice(top, top + height), slice(left, left + width)
    pixels = target.pixels.clone()
    pixels[:, *inside] = filled(pixels[:, *inside], target.where[inside])
    return replace(target, pixels=pixels, where=~target.where), target


def filled(pixels: Tensor, hole: Tensor) -> Tensor:
    """(3, H, W) with the hole (H, W) bool filled by the colours around it, from its border inwards.

    Raises:
        InputError: the hole is the whole picture.
    """
    from skimage.filters import gaussian

    if hole.all():
        raise InputError("the mask covers the whole photo: nothing is behind it", where="mask")
    known, shown = (~hole)[None, None].float(), pixels[None] * ~hole
    kernel = torch.ones(1, 1, FILL_PX, FILL_PX)
    while not known.all():
        near = F.conv2d(known, kernel, padding=FILL_PX // 2)
        colors = F.conv2d(shown.transpose(0, 1), kernel, padding=FILL_PX // 2).transpose(0, 1) / near.clamp(min=1)
        new = (near > 0) & (known == 0)
        shown, known = torch.where(new, colors, shown), torch.where(new, 1.0, known)
    smooth = torch.from_numpy(gaussian(shown[0].numpy(), SMOOTH_PX, channel_axis=0))  # fronts that meet leave creases
    return torch.where(hole, smooth, pixels)


def together(layers: Sequence[Drawing]) -> Drawing:
    """Drawings of one photo as one, the first lowest; its loss, seed and history are the last one's."""
    last = layers[-1]
    counts = [len(drawing.strokes) for drawing in layers]
    measured = all(drawing.importance for drawing in layers)
    importance = [value for drawing in layers for value in drawing.importance] if measured else []
    about = {key: value for key, value in last.strokes.about.items() if key != "importance"}
    about["settings"] = about["settings"] | {"strokes": sum(counts)}
    about |= {"layers": counts} | ({"importance": importance} if importance else {})
    frames = [
        _joined([frame or drawing.film[-1] for frame, drawing in zip(each, layers, strict=True)], about)
        for each in zip_longest(*(drawing.film for drawing in layers))
    ]
    return replace(
        last,
        strokes=_joined([drawing.strokes for drawing in layers], about),
        film=tuple(frames),
        importance=importance,
        seeds={seed: _joined([d.seeds[seed] for d in layers], about) for seed in last.seeds},
        stopped=any(drawing.stopped for drawing in layers),
    )


def _joined(parts: Sequence[Strokes], about: dict) -> Strokes:
    def every(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    looks = {"width_px": every("width_px"), "alpha": every("alpha"), "color": every("color")}
    return Strokes(every("points"), **looks, box=parts[-1].box, about=about, profile=parts[-1].profile)
