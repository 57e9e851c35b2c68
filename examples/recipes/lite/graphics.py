"""The tower for pictures that are no photos: EfficientNet-lite0, trained on drawings, renders and views of clouds.

A tower that has seen nothing but photos is blind to line drawings and to dots. This one starts from the same weights,
at 112 px, and learns to name sketches (QuickDraw), photos turned into line drawings, procedural renders and views of
procedural clouds, by a free vector for every name and by its word, which stands still. Its last map into the joint
space is fitted afterwards, a domain at a time (heads.py). No shape of ModelNet, and no test picture, takes part.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from features import pooled
from parts import efficientnet
from torch import Tensor, nn

from clipx.backbone import state_sha256
from clipx.modalities.pointcloud.projection import project, resized
from clipx.training import TrainConfig, train

sys.path.append(str(Path(__file__).parents[1] / "nano"))
import pictures
import words
from lines import line_drawings

SIDE = 112  # of what the tower looks at
MEAN, STD = 0.498, 0.502  # EfficientNet-lite's own, folded into the first layer: PointCLIP shows a tower raw depth
SHARES = {"sketches": 0.5, "lines": 0.12, "renders": 0.1, "dots": 0.2, "shaded": 0.02, "depth": 0.06}
PHOTOS = ("caltech101", "clothing", "caltech256_5classes")
ROWS, SOME = 16000, 500  # of a bank: pictures that fit a domain's head, and that tell domains from photos
KEPT = 2  # blocks whose kernels stay
SCALE = 20.0  # on the cosine with a name's vector


@dataclass
class Bank:
    """Pictures (N, C, R, R) uint8, or clouds (N, 1024, 3), and the number of each one's name."""

    pictures: np.ndarray
    names: np.ndarray
    domain: str


class Graphics:
    """The banks and the batches drawn from them; ``names`` are the classes.

    Args:
        data: folder that holds ``images``.
        cache: folder for what is drawn once.
        seed: of what is drawn, and of the batches.
        shapes: how many procedural shapes to make, see ``pictures.procedural``.
        exclude: concepts without any picture.
        exclude_shapes: concepts without renders and clouds.
    """

    def __init__(
        self,
        data: Path,
        cache: Path,
        seed: int,
        shapes: dict[str, int],
        exclude: frozenset[str] = frozenset(),
        exclude_shapes: frozenset[str] = frozenset(),
    ):
        self.seed, self.names, self.banks = seed, [], {}
        self.files: dict[str, str] = {}
        cache.mkdir(parents=True, exist_ok=True)
        table = words.load()

        def add(name: str, shown: np.ndarray, labels: list[str], domain: str, exclude: frozenset[str]) -> None:
            own = [words.canonical(label, table) for label in labels]
            keep = np.array([label not in exclude for label in own])
            for label in dict.fromkeys(own):
                if label not in exclude and label not in self.names:
                    self.names.append(label)
            place = {label: i for i, label in enumerate(self.names)}
            numbers = np.array([place[label] for label, k in zip(own, keep, strict=True) if k])
            self.banks[name] = Bank(shown[keep], numbers, domain)

        images, solid = data / "images", exclude | exclude_shapes
        add("sketches", *pictures.sketches(images / "quickdraw", cache, seed, self.files), "drawing", exclude)
        photos = [pictures.load_photos(images / name, "train", self.files) for name in PHOTOS]
        shown, labels = np.concatenate([p for p, _ in photos]), [label for _, own in photos for label in own]
        add("lines", shown, labels, "drawing", exclude)
        labels, _, shown, clouds = pictures.procedural(cache, seed, {**shapes, "rooms": 0})
        add("renders", shown, labels, "", solid)  # of six styles
        add("dots", clouds, labels, "points", solid)
        for name, domain in (("shaded", "render"), ("pointclip_v2", "depth")):
            views, own = projected(cache / f"{name}.npy", name, clouds, labels)
            add("shaded" if domain == "render" else "depth", views, own, domain, solid)
        self.chance = {name: chances(bank.names) for name, bank in self.banks.items()}

    def batch(self, draw: int, size: int, side: int) -> tuple[Tensor, Tensor]:
        """(size, 3, side, side) pixels in [0, 1] and (size,) numbers of names, a function of (seed, draw) alone."""
        rng = np.random.default_rng([self.seed, 0, draw])
        shown, names = [], []
        for name, count in zip(SHARES, rng.multinomial(size, list(SHARES.values())), strict=True):
            bank = self.banks[name]
            rows = rng.choice(len(bank.names), count, p=self.chance[name])
            shown.append(self.shown(name, rows, side, rng))
            names.append(bank.names[rows])
        return torch.cat(shown), torch.from_numpy(np.concatenate(names))

    def shown(self, name: str, rows: np.ndarray, side: int, rng: np.random.Generator) -> Tensor:
        """(n, 3, side, side) of a bank's rows, varied at random."""
        some = self.banks[name].pictures[rows]
        if name == "dots":
            return pictures.cloud_views(some, side, rng)
        pixels = torch.from_numpy(some).float() / 255
        if name == "lines":
            pixels = line_drawings(pixels, rng)
        return pictures.augment(pixels, side, rng, photo=False)


def chances(classes: np.ndarray) -> np.ndarray:
    """Chance of each row: classes are drawn by the square root of their size."""
    chance = np.bincount(classes)[classes] ** -0.5
    return chance / chance.sum()


def projected(path: Path, projection: str, clouds: np.ndarray, labels: list[str]) -> tuple[np.ndarray, list[str]]:
    """Two views of every fourth cloud by a projection of PointCLIP's kind: (N, 1, 112, 112) uint8."""
    some = range(0 if projection == "shaded" else 2, len(clouds), 4)

    def draw() -> np.ndarray:
        made = []
        for i in some:
            rng = np.random.default_rng([3, i])
            x, y, z = np.moveaxis(clouds[i].astype(np.float32), 1, 0)
            points = torch.from_numpy(np.stack([x, z, -y], 1))[None]  # y up
            points = points - points.mean(1, keepdim=True)
            points = points / points.norm(dim=2).max()
            views = resized(project(projection, points), SIDE)[0]
            views = views[torch.from_numpy(rng.choice(len(views), 2, replace=False))]
            made.append((views.clamp(0, 1) * 255).round().byte().numpy())
        return np.concatenate(made)

    return pictures._cached(path, draw), [labels[i] for i in some for _ in range(2)]


def domain_pictures(
    source: Graphics, domain: str, tower: nn.Module | None, photo_tower: nn.Module, side: int, cache: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the tower says of a domain's pictures: (N, C), their names (N,); and the photo tower's (M, C) of some.

    Without a tower the first are the photo tower's, too.
    """
    banks = [(name, bank) for name, bank in source.banks.items() if bank.domain == domain]
    key = f"{source.seed} {domain}"
    found, names, others = [], [], []
    for name, bank in banks:
        count = min(len(bank.names), ROWS)
        rows = np.linspace(0, len(bank.names) - 1, count).astype(int)

        def batch(start: int, stop: int, size: int = SIDE, name: str = name, rows: np.ndarray = rows) -> Tensor:
            return source.shown(name, rows[start:stop], size, np.random.default_rng([source.seed, 7, start]))

        some = rows if tower is None else rows[:: max(1, count // SOME)]

        def as_photo(start: int, stop: int, name: str = name, some: np.ndarray = some) -> Tensor:
            pixels = source.shown(name, some[start:stop], side, np.random.default_rng([source.seed, 8, start]))
            return (pixels.clamp(0, 1) - MEAN) / STD

        others.append(pooled(photo_tower, as_photo, len(some), cache, f"photo {side} {key} {name} {len(some)}"))
        if tower is None:
            found.append(others.pop())
            others.append(found[-1][:: max(1, count // SOME)])
        else:
            hashed = state_sha256(tower.state_dict())
            found.append(pooled(tower, batch, count, cache, f"{hashed} {key} {name}"))
        names.append(bank.names[rows])
    return np.concatenate(found).astype(np.float64), np.concatenate(names), np.concatenate(others).astype(np.float64)


class Namer(nn.Module):
    """Pixels -> logits over K names, twice: by the cosine with a free vector each, and with its word.

    The first layers find edges in drawings as well as in photos: their kernels stay, and only their statistics adapt,
    which takes half of the time of a step.

    Args:
        words: (K, D) unit vectors of the names in the joint space.
    """

    def __init__(self, words: Tensor):
        super().__init__()
        self.trunk = efficientnet("lite0")
        self.trunk.classifier = nn.Identity()
        fold_normalisation(self.trunk)
        for part in (self.trunk.conv_stem, self.trunk.bn1, *self.trunk.blocks[:KEPT]):
            part.requires_grad_(False)
        self.vectors = nn.Parameter(torch.randn(len(words), 1280) * 0.03)
        self.joint = nn.Linear(1280, words.shape[1])
        self.register_buffer("words", words.float(), persistent=False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        trunk = self.trunk
        with torch.no_grad():
            x = trunk.blocks[:KEPT](trunk.bn1(trunk.conv_stem(pixels)))
        features = trunk.forward_head(trunk.bn2(trunk.conv_head(trunk.blocks[KEPT:](x)))).float()
        free = F.normalize(features, dim=1) @ F.normalize(self.vectors, dim=1).T
        return SCALE * free, SCALE * F.normalize(self.joint(features), dim=1) @ self.words.T


@torch.no_grad()
def fold_normalisation(trunk: nn.Module) -> None:
    """Make a trunk that expects (x - MEAN) / STD take x; at the border its padding is black from now on, not grey."""
    kernel, bn = trunk.conv_stem.weight, trunk.bn1
    kernel /= STD
    bn.running_mean += MEAN * kernel.sum((1, 2, 3))


def train_graphics(
    source: Graphics,
    words: Tensor,
    config: TrainConfig,
    stages: list[list],
    out: Path,
    resume: bool,
    identity: dict,
) -> Namer:
    """The trained tower, averaged weights, in eval mode.

    Args:
        source: of the batches.
        words: (K, D) unit vectors of ``source.names``.
        config, out, resume, identity: as ``clipx.training.train`` takes them; ``identity`` says which words.
        stages: pairs of (until which fraction of the steps, side in pixels); small pictures first are cheap.
    """
    torch.manual_seed(config.seed)
    net = Namer(words).to(memory_format=torch.channels_last)

    def loss_of(module: nn.Module, step: int, draw: int) -> dict[str, Tensor]:
        side = next(side for until, side in stages if step < until * config.steps)
        pixels, names = source.batch(draw, config.batch_size, side)
        by = module(pixels.contiguous(memory_format=torch.channels_last))
        free, said = (F.cross_entropy(logits, names, label_smoothing=0.1) for logits in by)
        return {"loss": free + said, "free": free, "words": said}

    train(net, loss_of, config, out, identity=identity | {"stages": stages}, resume=resume)
    return net
