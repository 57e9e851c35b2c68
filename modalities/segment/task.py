"""The task ``segment``: photos -> segmentations."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clipx.files import sha256_of, write_whole
from clipx.modalities.segment import show
from clipx.modalities.segment.config import SegmentConfig
from clipx.modalities.segment.maps import Segmentation
from clipx.modalities.segment.segmenter import Segmenter
from clipx.pictures import read_rgb
from clipx.space import JointSpace
from clipx.task import PerInputTask


class SegmentTask(PerInputTask[Tensor, Segmentation]):
    """Segments photos by words: (3, H, W) RGB in [0, 1] -> ``Segmentation`` of H x W.

    Args:
        space, config: see ``Segmenter``.
    """

    name = "segment"
    Config = SegmentConfig

    def __init__(self, space: JointSpace, config: SegmentConfig | None = None):
        super().__init__(space, config)
        self.segmenter = Segmenter(space, self.config)

    def settings(self) -> dict[str, Any]:
        """The config, a head by its hash."""
        head = self.config.head
        return super().settings() | {"head": None if head is None else sha256_of(Path(head))}

    def load(self, path: str | PathLike) -> Tensor:
        """Read a photo."""
        return torch.from_numpy(read_rgb(path))

    def make(self, one: Tensor) -> Segmentation:
        """The segmentation of a photo."""
        return self.segmenter(one)

    def pack(self, result: Segmentation) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See ``PerInputTask.pack``."""
        about = {name: getattr(result, name) for name in ("threshold", "islands")}
        return {"logits": result.logits}, about | {"labels": list(result.labels), "size": list(result.size)}

    def unpack(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> Segmentation:
        """See ``PerInputTask.unpack``."""
        height, width = state["size"]
        others = state["threshold"], state["islands"]
        return Segmentation(tuple(state["labels"]), tensors["logits"], (height, width), *others)

    def save(
        self,
        result: Segmentation,
        stem: str | PathLike,
        *,
        photo: Tensor | None = None,
        cutouts: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> list[Path]:
        """Write ``STEM.png`` (the palette mask) and ``STEM.npz`` (logits); with the photo ``STEM-overlay.png``, too.

        Args:
            result, stem: see ``Task.save``.
            photo: (3, H, W).
            cutouts: labels of which ``STEM-LABEL.png`` is written, the photo with the rest transparent.
            settings: kept in the .npz, as JSON.
        """
        stem = Path(stem)
        files = {".png": show.mask_png(result), ".npz": _npz(result, settings or {})}
        if photo is not None:
            pixels = (255 * photo.clamp(0, 1)).round().byte().permute(1, 2, 0).cpu().numpy()
            files["-overlay.png"] = show.overlay_png(result, pixels)
            for label in cutouts:
                files[f"-{file_name(label)}.png"] = show.cutout_png(result, pixels, label)
        for suffix, data in files.items():
            write_whole(stem.with_name(stem.name + suffix), data)
        return [stem.with_name(stem.name + suffix) for suffix in files]

    @classmethod
    def example(cls) -> tuple[SegmentConfig, list[Tensor]]:
        """Three pictures of noise of different sizes, and two labels against a word."""
        rng = torch.Generator().manual_seed(0)
        photos = [torch.rand(3, height, width, generator=rng) for height, width in ((40, 50), (64, 48), (40, 50))]
        return cls.Config(labels=("cat", "dog"), background=("wall",)), photos


def file_name(label: str) -> str:
    """A label as a part of a file's name."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in label.strip())


def _npz(found: Segmentation, settings: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(
        file,
        logits=found.logits.numpy().astype(np.float16),
        labels=np.array(found.labels),
        size=np.array(found.size),
        threshold=found.threshold,
        islands=found.islands,
        settings=json.dumps(settings),
    )
    return file.getvalue()
