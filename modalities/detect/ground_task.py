"""The task ``ground``: photos -> where the phrases of a sentence are in them."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clipx.files import write_whole
from clipx.modalities.detect.boxes import Grounding
from clipx.modalities.detect.coco import annotation
from clipx.modalities.detect.ground_show import picture_png
from clipx.modalities.detect.grounder import GroundConfig, Grounder
from clipx.pictures import read_rgb
from clipx.space import JointSpace
from clipx.task import PerInputTask


class GroundTask(PerInputTask[Tensor, Grounding]):
    """Finds the phrases of a sentence in photos: (3, H, W) RGB in [0, 1] -> ``Grounding``.

    Args:
        space, config: see ``Grounder``.
    """

    name = "ground"
    Config = GroundConfig

    def __init__(self, space: JointSpace, config: GroundConfig | None = None):
        super().__init__(space, config)
        self.grounder = Grounder(space, self.config)

    def load(self, path: str | PathLike) -> Tensor:
        """Read a photo."""
        return torch.from_numpy(read_rgb(path))

    def make(self, one: Tensor) -> Grounding:
        """What is found in a photo."""
        return self.grounder(one)

    def pack(self, result: Grounding) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See ``PerInputTask.pack``."""
        arrays = {"boxes": result.boxes, "phrase_index": result.phrase_index, "scores": result.scores}
        return {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}, {"size": list(result.size)}

    def unpack(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> Grounding:
        """See ``PerInputTask.unpack``."""
        height, width = state["size"]
        arrays = {name: value.numpy() for name, value in tensors.items()}
        return Grounding((height, width), self.config.sentence, self.grounder.phrases, **arrays)

    def save(
        self, result: Grounding, stem: str | PathLike, *, photo: Tensor | None = None, source: str = ""
    ) -> list[Path]:
        """Write ``STEM.json``, and with the photo ``STEM.png``: numbered boxes, and the sentence below.

        Args:
            result, stem: see ``Task.save``.
            photo: (3, H, W).
            source: the photo's path, for the JSON.
        """
        return save_grounding(result, stem, photo, source)

    @classmethod
    def example(cls) -> tuple[GroundConfig, list[Tensor]]:
        """Bright rectangles on dark grounds, of different sizes, and a sentence of two phrases."""
        rng = torch.Generator().manual_seed(0)
        photos = []
        for i, (height, width) in enumerate(((40, 50), (64, 48), (40, 50))):
            photo = torch.rand(3, height, width, generator=rng) * 0.2
            photo[:, 4 + i : 4 + i + height // 2, 6 : 6 + width // 2] += 0.7
            photos.append(photo)
        sentence = "a small chair on a table"
        return cls.Config(sentence, top=2, proposals="grid", limit=40, short_sides_px=(64,)), photos


def save_grounding(found: Grounding, stem: str | PathLike, photo: Tensor | None, source: str = "") -> list[Path]:
    """See ``GroundTask.save``; a detector of transformers finds groundings, too."""
    stem = Path(stem)
    files: dict[str, bytes] = {}
    if photo is not None:
        files[".png"] = picture_png(found, photo)
    files[".json"] = grounding_json(found, source)
    for suffix, data in files.items():
        write_whole(stem.with_name(stem.name + suffix), data)
    return [stem.with_name(stem.name + suffix) for suffix in files]


def grounding_record(found: Grounding, source: str = "") -> dict[str, Any]:
    """A grounding as COCO has annotations: boxes are left, top, width, height, phrases are categories; ids from 1."""
    height, width = found.size
    phrases = [
        {"id": k, "name": phrase.text, "start": phrase.start, "end": phrase.end}
        for k, phrase in enumerate(found.phrases, 1)
    ]
    rows = zip(found.boxes.tolist(), found.phrase_index.tolist(), found.scores.tolist(), strict=True)
    annotations = [annotation(n, 1, phrase + 1, box, score) for n, (box, phrase, score) in enumerate(rows, 1)]
    images = [{"id": 1, "file_name": source, "height": height, "width": width}]
    return {"images": images, "sentence": found.sentence, "categories": phrases, "annotations": annotations}


def grounding_json(found: Grounding, source: str = "") -> bytes:
    """``grounding_record`` as a JSON file."""
    return (json.dumps(grounding_record(found, source), indent=2, ensure_ascii=False) + "\n").encode()
