"""The tower for pictures that are no photos: EfficientNet-lite0, trained on drawings, renders and views of clouds.

A tower that has seen nothing but photos is blind to line drawings and to dots. This one starts from the same weights,
at 112 px, and learns to name sketches (QuickDraw), photos turned into line drawings, procedural renders and views of
procedural clouds, with a free vector for every name. Its last map into the joint space is fitted afterwards, a domain
at a time, in closed form (domains.py). No shape of ModelNet, and no test picture, takes part.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipx.modalities.pointcloud.projection import project, resized
from clipx.training import TrainConfig, train
from parts import efficientnet

sys.path.append(str(Path(__file__).parents[1] / "nano"))
import pictures
import words
from lines import line_drawings

SIDE = 112  # of what the tower looks at
MEAN, STD = (
    0.498,
    0.502,
)  # EfficientNet-lite's own; folded into the first layer, since PointCLIP shows a tower raw depth
SHARES = {"sketches": 0.5, "lines": 0.12, "renders": 0.14, "dots": 0.12, "views": 0.12}
SHAPES = {"shapes_of_modelnet10": 160, "shapes_of_others": 32, "rooms": 0}
PHOTOS = ("caltech101", "clothing", "caltech256_5classes")
SCALE = 20.0  # on the cosine with a name's free vector


@dataclass
class Bank:
    """Pictures (N, C, R, R) uint8, or clouds (N, 1024, 3), and the number of each one's name."""

    pictures: np.ndarray
    names: np.ndarray
    domain: str


class Graphics:
    """The banks and the batches drawn from them; ``names`` are the classes."""

    def __init__(self, data: Path, cache: Path, seed: int, exclude: frozenset[str] = frozenset()):
        self.seed, self.names, self.banks = seed, [], {}
        self.files: dict[str, str] = {}
        cache.mkdir(parents=True, exist_ok=True)
        table = words.load()

        def add(name: str, shown: np.ndarray, labels: list[str], domain: str) -> None:
            own = [words.canonical(label, table) for label in labels]
            keep = np.array([label not in exclude for label in own])
            for label in dict.fromkeys(own):
                if label not in exclude and label not in self.names:
                    self.names.append(label)
            place = {label: i for i, label in enumerate(self.names)}
            numbers = np.array([place[label] for label, k in zip(own, keep, strict=True) if k])
            self.banks[name] = Bank(shown[keep], numbers, domain)

        images = data / "images"
        add("sketches", *pictures.sketches(images / "quickdraw", cache, seed, self.files), "drawing")
        photos = [pictures.load_photos(images / name, "train", self.files) for name in PHOTOS]
        add("lines", np.concatenate([p for p, _ in photos]), [label for _, own in photos for label in own], "drawing")
        labels, styles, shown, clouds = pictures.procedural(cache, seed, SHAPES)
        add("renders", shown, labels, "render")
        add("dots", clouds, labels, "points")
        views, own = shaded_views(cache, clouds, labels)
        add("views", views, own, "render")
        self.chance = {name: chances(bank.names) for name, bank in self.banks.items()}

    def batch(self, draw: int, size: int) -> tuple[Tensor, Tensor]:
        """(size, 3, SIDE, SIDE) pixels in [0, 1] and (size,) numbers of names, a function of (seed, draw) alone."""
        rng = np.random.default_rng([self.seed, 0, draw])
        shown, names = [], []
        for name, count in zip(SHARES, rng.multinomial(size, list(SHARES.values())), strict=True):
            bank = self.banks[name]
            rows = rng.choice(len(bank.names), count, p=self.chance[name])
            if name == "dots":
                pixels = pictures.cloud_views(bank.pictures[rows], SIDE, rng)
            else:
                pixels = torch.from_numpy(bank.pictures[rows]).float() / 255
                if name == "lines":
                    pixels = line_drawings(pixels, rng)
                pixels = pictures.augment(pixels, SIDE, rng, photo=False)
            shown.append(pixels)
            names.append(bank.names[rows])
        return torch.cat(shown), torch.from_numpy(np.concatenate(names))


def chances(classes: np.ndarray) -> np.ndarray:
    """Chance of each row: classes are drawn by the square root of their size."""
    chance = np.bincount(classes)[classes] ** -0.5
    return chance / chance.sum()


def shaded_views(cache: Path, clouds: np.ndarray, labels: list[str]) -> tuple[np.ndarray, list[str]]:
    """Two views of every second cloud, shaded or by PointCLIP V2 in turn: (N, 3, 112, 112) uint8."""
    some = range(0, len(clouds), 2)

    def draw() -> np.ndarray:
        made = []
        for place, i in enumerate(some):
            rng = np.random.default_rng([3, i])
            x, y, z = np.moveaxis(clouds[i].astype(np.float32), 1, 0)
            points = torch.from_numpy(np.stack([x, z, -y], 1))[None]  # y up
            points = points - points.mean(1, keepdim=True)
            points = points / points.norm(dim=2).max()
            views = resized(project("shaded" if place % 2 else "pointclip_v2", points), SIDE)[0]
            views = views[torch.from_numpy(rng.choice(len(views), 2, replace=False))].expand(-1, 3, -1, -1)
            made.append((views.clamp(0, 1) * 255).round().byte().numpy())
        return np.concatenate(made)

    return pictures._cached(cache / "views.npy", draw), [labels[i] for i in some for _ in range(2)]


class Namer(nn.Module):
    """Pixels -> logits over names, by the cosine with a free vector each."""

    def __init__(self, count: int):
        super().__init__()
        self.trunk = efficientnet("lite0")
        self.trunk.classifier = nn.Identity()
        fold_normalisation(self.trunk)
        self.vectors = nn.Parameter(torch.randn(count, 1280) * 0.03)

    def forward(self, pixels: Tensor) -> Tensor:
        return SCALE * F.normalize(self.trunk(pixels).float(), dim=1) @ F.normalize(self.vectors, dim=1).T


@torch.no_grad()
def fold_normalisation(trunk: nn.Module) -> None:
    """Make a trunk that expects (x - MEAN) / STD take x; at the border its padding is black from now on, not grey."""
    kernel, bn = trunk.conv_stem.weight, trunk.bn1
    kernel /= STD
    bn.running_mean += MEAN * kernel.sum((1, 2, 3))


def train_graphics(source: Graphics, config: TrainConfig, out: Path, resume: bool, identity: dict) -> Namer:
    """The trained tower, averaged weights, in eval mode."""
    torch.manual_seed(config.seed)
    net = Namer(len(source.names)).to(memory_format=torch.channels_last)

    def loss_of(module: nn.Module, step: int, draw: int) -> dict[str, Tensor]:
        pixels, names = source.batch(draw, config.batch_size)
        logits = module(pixels.contiguous(memory_format=torch.channels_last))
        return {"loss": F.cross_entropy(logits, names, label_smoothing=0.1)}

    train(net, loss_of, config, out, identity=identity, resume=resume)
    return net
