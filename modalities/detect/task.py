"""The task ``detect``: photos -> the boxes of what labels name."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clipx.files import write_whole
from clipx.modalities.detect import show
from clipx.modalities.detect.boxes import Detections
from clipx.modalities.detect.coco import coco_json
from clipx.modalities.detect.config import DetectConfig
from clipx.modalities.detect.detector import Detector
from clipx.modalities.detect.head import RegionHead
from clipx.pictures import read_rgb
from clipx.space import JointSpace
from clipx.task import PerInputTask


class DetectTask(PerInputTask[Tensor, Detections]):
    """Finds what labels name in photos: (3, H, W) RGB in [0, 1] -> ``Detections``.

    Args:
        space, config, head: see ``Detector``.
    """

    name = "detect"
    Config = DetectConfig

    def __init__(self, space: JointSpace, config: DetectConfig | None = None, head: RegionHead | None = None):
        super().__init__(space, config)
        self.detector, self.head = Detector(space, self.config, head), head

    def settings(self) -> dict[str, Any]:
        """See ``PerInputTask.settings``; a head decides, too."""
        return super().settings() | {"head": None if self.head is None else self.head.sha256()}

    def load(self, path: str | PathLike) -> Tensor:
        """Read a photo."""
        return torch.from_numpy(read_rgb(path))

    def make(self, one: Tensor) -> Detections:
        """The detections in a photo."""
        return self.detector(one)

    def pack(self, result: Detections) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See ``PerInputTask.pack``."""
        arrays = {"boxes": result.boxes, "label_index": result.label_index, "scores": result.scores}
        arrays |= {} if result.presence is None else {"presence": result.presence}
        state = {"size": list(result.size), "labels": list(result.labels)}
        return {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}, state

    def unpack(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> Detections:
        """See ``PerInputTask.unpack``."""
        arrays = {name: value.numpy() for name, value in tensors.items()}
        height, width = state["size"]
        return Detections((height, width), tuple(state["labels"]), **arrays)

    def save(
        self,
        result: Detections,
        stem: str | PathLike,
        *,
        name: str = "",
        photo: Tensor | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> list[Path]:
        """Write ``STEM.json`` (COCO), and with the photo ``STEM.png``, on which the boxes are drawn.

        Args:
            result, stem: see ``Task.save``.
            name: of the photo, kept in the JSON file.
            photo: (3, H, W).
            settings: kept in the JSON file.
        """
        stem = Path(stem)
        files: dict[str, bytes | str] = {".json": coco_json([(name, result)], settings or {})}
        if photo is not None:
            files[".png"] = show.boxes_png(photo, result.boxes, result.names, result.scores)
        for suffix, data in files.items():
            write_whole(stem.with_name(stem.name + suffix), data)
        return [stem.with_name(stem.name + suffix) for suffix in files]

    @classmethod
    def example(cls) -> tuple[DetectConfig, list[Tensor]]:
        """Bright rectangles on dark grounds, of different sizes, and two words."""
        rng = torch.Generator().manual_seed(0)
        photos = []
        for height, width in ((40, 50), (64, 48), (40, 50)):
            photo = torch.rand(3, height, width, generator=rng) * 0.2
            top, left = (int(torch.randint(0, side // 3, (1,), generator=rng)) for side in (height, width))
            photo[:, top : top + height // 2, left : left + width // 2] += 0.7
            photos.append(photo)
        return cls.Config(labels=("chair", "table"), short_sides_px=(64,), limit=20), photos
