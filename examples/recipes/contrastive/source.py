"""What the words of a self-supervised tower learn from: the labels of Caltech-101's photos and QuickDraw's sketches.

A caption for each class and style, "a photo of a chair"; sentences are other ways to say it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from table import SETS, read_set
from torch import Tensor

from clipx.contrastive import Views
from clipx.contrastive.augment import random_crops
from clipx.spaces.source import PairBatch, TextBatch

CROPS = Views(area=(0.5, 1.0)).area
SAID = {
    "photo": ["a photo of a {}", "a picture of a {}", "a photograph of the {}", "a small photo of a {}"],
    "sketch": ["a sketch of a {}", "a drawing of a {}", "a line drawing of the {}", "a doodle of a {}"],
}
STYLES = dict(zip(SETS, SAID, strict=True))


def build(data: Path, cache: Path, seed: int, exclude: tuple[str, ...], options: dict[str, Any]) -> Source:
    """The source of a run; ``exclude`` are classes whose pictures are left out, and ``options`` has no entries."""
    return Source(data, cache, seed, exclude)


class Source:
    def __init__(self, data: Path, cache: Path, seed: int, exclude: tuple[str, ...]):
        self.seed, self.counts = seed, {}
        shown, caption, place = [], [], {}
        for name in SETS:
            one, style = read_set(data / "images" / name, cache), STYLES[name]
            names = [one.classes[label] for label in one.labels.tolist()]
            kept = [i for i, label in enumerate(names) if not one.test[i] and label not in exclude]
            for i in kept:
                place.setdefault((names[i], style), len(place))
            shown.append(one.pictures[kept])
            caption += [place[names[i], style] for i in kept]
            self.counts[name] = len(kept)
        self.said, self.caption = list(place), np.array(caption)
        self.pictures = np.concatenate(shown)
        chance = np.bincount(self.caption)[self.caption] ** -0.5  # large classes less often than they come
        self.chance = chance / chance.sum()

    def captions(self) -> list[str]:
        return [SAID[style][0].format(name) for name, style in self.said]

    def batch(self, draw: int, size: int, image_size: int, mean: list[float], std: list[float]) -> PairBatch:
        rng = np.random.default_rng([self.seed, 0, draw])
        rows = rng.choice(len(self.caption), size, p=self.chance)
        pixels = random_crops(torch.from_numpy(self.pictures[rows]).float() / 255, CROPS, image_size, rng)
        shift, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
        return PairBatch((pixels - shift) / spread, *self._targets(self.caption[rows]))

    def sentences(self, draw: int, count: int) -> TextBatch:
        rng = np.random.default_rng([self.seed, 1, draw])
        numbers = rng.choice(len(self.said), count)
        texts = [str(rng.choice(SAID[self.said[i][1]])).format(self.said[i][0]) for i in numbers]
        return TextBatch(texts, *self._targets(numbers))

    def dictionary(self, draw: int, count: int) -> list[tuple[str, str]]:
        rng = np.random.default_rng([self.seed, 2, draw])
        chosen = [self.said[i] for i in rng.choice(len(self.said), min(count, len(self.said)), replace=False)]
        return [(name, SAID[style][1].format(name)) for name, style in dict(chosen).items()]

    def phrases(self) -> list[str]:
        return [text.format(name) for name, style in self.said for text in ["{}", *SAID[style]]]

    def vocabulary(self) -> dict[str, str]:
        frames = {word for texts in SAID.values() for text in texts for word in text.replace("{}", "").split()}
        return {name: "pictures" for name, _ in self.said} | dict.fromkeys(frames, "text")

    def about(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.pictures.tobytes() + self.caption.tobytes()).hexdigest()
        return {"data": {name: {"pictures": count} for name, count in self.counts.items()}, "data_sha256": digest}

    def _targets(self, numbers: np.ndarray) -> tuple[Tensor, Tensor]:
        """Which captions are true, and that of the other style is neither true nor false."""
        names = np.unique([name for name, _ in self.said], return_inverse=True)[1]
        targets = F.one_hot(torch.from_numpy(numbers), len(self.said)).float()
        same = torch.from_numpy(names[numbers][:, None] == names[None])
        return targets, same & (targets == 0)
