"""Training a head of regions by distillation: text on base classes, crops on all proposals (ViLD).

Gu et al., "Open-vocabulary Object Detection via Vision and Language Knowledge Distillation", ICLR 2022: cross-entropy
of cosines / .01 with the words of base classes and a learned background vector, plus .5 times the L1 distance to the
vector of each proposal's crops (1x and 1.5x).

>>> regions = gather(space, photos, TrainConfig(novel=("dog",)))                 # doctest: +SKIP
>>> head = train_head(space, regions, TrainConfig(novel=("dog",)))               # doctest: +SKIP
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.errors import ClipxError, InputError
from clipx.files import sha256_of
from clipx.modalities.detect.boxes import area, iou
from clipx.modalities.detect.data import BoxedPhoto
from clipx.modalities.detect.head import RegionHead, region_features
from clipx.modalities.detect.proposals import propose
from clipx.modalities.detect.regions import RegionEncoder
from clipx.pictures import read_rgb
from clipx.space import JointSpace
from clipx.task import (
    OnProgress,
    Stopped,
    checkpoint_path,
    load_checkpoint,
    require_no_checkpoint,
    save_checkpoint,
    stopping,
)
from clipx.zeroshot import ZeroShotClassifier

MATCHED = 0.5  # IoU with a true box from which a region has its label


@dataclass(frozen=True)
class TrainConfig:
    """How a head is trained.

    Args:
        novel: labels that training does not use.
        proposals: a method of ``propose``.
        limit: of proposals in a photo; true boxes of base classes are added to them.
        short_side_px: what a photo's shorter side is scaled to.
        width: of the layer between.
        steps: of AdamW, whose learning rate falls to 0 along half a cosine.
        batch: regions of a step.
        lr: the learning rate.
        weight_decay: of AdamW.
        temperature: that cosines with words are divided by.
        distillation: weight of the L1 distance to the crops' vectors; 0 learns from words alone.
        seed: of the weights and the batches.

    Raises:
        InputError: a number out of range.
    """

    novel: Sequence[str] = ()
    proposals: str = "selective"
    limit: int = 60
    short_side_px: int = 448
    width: int = 512
    steps: int = 400
    batch: int = 256
    lr: float = 1e-3
    weight_decay: float = 1e-4
    temperature: float = 0.01
    distillation: float = 0.5
    seed: int = 0

    def __post_init__(self):
        object.__setattr__(self, "novel", tuple(self.novel))  # how a frozen dataclass sets its own
        for name in ("limit", "short_side_px", "width", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("steps", "weight_decay", "distillation", "seed"):
            if not 0 <= getattr(self, name) < math.inf:  # NaN fails too
                raise InputError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("lr", "temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class Regions:
    """What a head learns from.

    Args:
        features: (M, channels), see ``region_features``.
        crops: (M, D) unit vectors of the regions' crops.
        targets: (M,) int64 places in ``labels``; their count is the background.
        labels: base classes.
    """

    features: Tensor
    crops: Tensor
    targets: Tensor
    labels: tuple[str, ...]


def gather(
    space: JointSpace,
    photos: Sequence[BoxedPhoto],
    config: TrainConfig,
    cache: str | PathLike | None = None,
    on_progress: OnProgress | None = None,
) -> Regions:
    """The regions of photos: proposals, and true boxes of base classes, with features and crops' vectors.

    Args:
        space: its image tower needs stages.
        photos: with true boxes; those of novel classes have no part in it, so that they are background.
        config: see there.
        cache: a folder where what was computed of a photo is kept, and found again.

    Raises:
        InputError: no box of a base class. VocabularyError: the space does not know one. FileError: the cache cannot be
            written.
    """
    labels = tuple(sorted({label for one in photos for label in one.labels} - set(config.novel)))
    if not labels:
        raise InputError("no photo has a box of a base class", remedy="leave some classes out of --novel")
    crops = RegionEncoder(space, "crops")
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for done, one in enumerate(photos, 1):
        photo = torch.from_numpy(read_rgb(one.path))
        base = np.array([label in labels for label in one.labels], bool) & ~one.ignored & _within(one.boxes, photo)
        proposed = propose(photo, config.proposals, config.limit, space).boxes
        boxes = np.concatenate([one.boxes[base], proposed]).astype(np.float32)
        features, vectors = _computed(space, photo, boxes, config, crops, cache)
        names = [labels.index(label) for label, kept in zip(one.labels, base, strict=True) if kept]
        parts.append((features, vectors, matched(boxes, one.boxes[base], names, len(labels))))
        if on_progress:
            on_progress(done, len(photos), "")
    features, vectors, targets = (torch.cat(own) for own in zip(*parts, strict=True))
    return Regions(features, vectors, targets, labels)


def _within(boxes: np.ndarray, photo: Tensor) -> np.ndarray:
    """(B,) whether each box has area in the photo: published sets have some of no width, or beside the photo."""
    height, width = photo.shape[1:]
    return area(boxes.clip(0, np.array([width, height] * 2))) > 0


def matched(boxes: np.ndarray, true: np.ndarray, names: Sequence[int], background: int) -> Tensor:
    """The label of each box: that of the true box it overlaps most, from an IoU of .5; else the background. (R,)"""
    if not len(true):
        return torch.full((len(boxes),), background, dtype=torch.int64)
    overlap = iou(boxes, true)
    found = np.where(overlap.max(axis=1) >= MATCHED, np.array(names)[overlap.argmax(axis=1)], background)
    return torch.from_numpy(found.astype(np.int64))


def _computed(
    space: JointSpace,
    photo: Tensor,
    boxes: np.ndarray,
    config: TrainConfig,
    crops: RegionEncoder,
    cache: str | PathLike | None,
) -> tuple[Tensor, Tensor]:
    """Features and crops' vectors of a photo's boxes, on the CPU, from the cache if they are there."""
    digest = sha256_of(repr(photo.shape).encode() + photo.numpy().tobytes() + boxes.tobytes())
    identity = {"regions": digest, "space": f"{space.id} {space.dtype}", "short_side_px": config.short_side_px}
    path = None if cache is None else Path(cache) / f"regions-{sha256_of(repr(identity).encode())[:24]}.safetensors"
    if path is not None and path.exists():
        try:
            kept, _ = load_checkpoint(path, identity)
            return kept["features"], kept["crops"]
        except (ClipxError, KeyError):  # damaged: it is computed again
            pass
    features = region_features(space, photo, boxes, config.short_side_px).cpu()
    vectors = crops(photo, boxes).cpu()
    if path is not None:
        save_checkpoint(path, identity, {"features": features, "crops": vectors}, {})
    return features, vectors


def train_head(
    space: JointSpace,
    regions: Regions,
    config: TrainConfig,
    *,
    checkpoint: str | PathLike | None = None,
    resume: bool = False,
    stop: Callable[[], bool] | None = None,
    on_progress: OnProgress | None = None,
) -> RegionHead:
    """Learn a head from regions; the space stays as it is, and so do the global generators.

    Args:
        space, regions, config: see ``gather``.
        checkpoint: a folder; what is needed to go on is written there when it is stopped, and deleted at the end.
        resume: go on from there, bit for bit on a CPU, or from the beginning where there is none.
        stop: asked between steps; by default Ctrl-C and SIGTERM.
        on_progress: see ``OnProgress``; the note holds the loss.

    Raises:
        Stopped: it was stopped. InputError: a checkpoint of another run, or one without ``resume``.
    """
    text = torch.from_numpy(ZeroShotClassifier(space, regions.labels).weights.vectors)
    settings = {**asdict(config), "novel": list(config.novel), "base": list(regions.labels)}
    channels = regions.features.shape[1]
    head = RegionHead(space, channels, config.width, config.short_side_px, config.seed, settings).cpu().train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    path = None if checkpoint is None else checkpoint_path(checkpoint, 0)
    identity = {"train": "detect", "settings": settings, "space": space.id, "regions": _digest(regions)}
    if checkpoint is not None and not resume:
        require_no_checkpoint(checkpoint)
    first = 0
    if path is not None and path.exists():
        tensors, state = load_checkpoint(path, identity)
        first = _restore(head, optimizer, tensors, int(state["step"]))
    with stopping(stop) as asked, torch.enable_grad():
        for step in range(first, config.steps):
            loss = _step(head, optimizer, regions, text, config, step)
            if on_progress:
                on_progress(step + 1, config.steps, f"loss {loss:.3f}")
            if asked():
                if path is not None:
                    save_checkpoint(path, identity, _state(head, optimizer), {"step": step + 1})
                raise Stopped({})
    if path is not None:
        path.unlink(missing_ok=True)
    return head.to(space.device).eval()


def losses(
    vectors: Tensor, crops: Tensor, targets: Tensor, text: Tensor, background: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """The two losses of ViLD, each the mean over R regions: cross-entropy, and L1 distance to the crops.

    Args:
        vectors, crops: (R, D) unit rows.
        targets: (R,) places in ``text``; K is the background.
        text: (K, D) unit rows.
        background: (D,), of any norm.
        temperature: that cosines are divided by.
    """
    words = torch.cat([text, F.normalize(background, dim=0)[None]])
    return F.cross_entropy(vectors @ words.T / temperature, targets), (vectors - crops).abs().sum(dim=1).mean()


def _step(head: RegionHead, optimizer: Any, regions: Regions, text: Tensor, config: TrainConfig, step: int) -> float:
    """One step on a batch that the seed and the step decide, half of it regions with a label where there are some."""
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    labelled = torch.nonzero(regions.targets < len(regions.labels))[:, 0]
    half = config.batch // 2 if len(labelled) else 0
    rows = torch.randint(len(regions.targets), (config.batch - half,), generator=generator)
    if half:
        rows = torch.cat([rows, labelled[torch.randint(len(labelled), (half,), generator=generator)]])
    for group in optimizer.param_groups:
        group["lr"] = config.lr * 0.5 * (1 + math.cos(math.pi * step / config.steps))
    found = head.embed(regions.features[rows])
    words, distance = losses(
        found, regions.crops[rows], regions.targets[rows], text, head.background, config.temperature
    )
    loss = words + config.distillation * distance
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def _state(head: RegionHead, optimizer: Any) -> dict[str, Tensor]:
    """Weights, and AdamW's two means of each; its step count is that of the run."""
    found = {f"head.{name}": value.detach() for name, value in head.state_dict().items()}
    for i, parameter in enumerate(head.parameters()):
        for mean in ("exp_avg", "exp_avg_sq"):
            found[f"{mean}.{i}"] = optimizer.state[parameter][mean]
    return found


def _restore(head: RegionHead, optimizer: Any, tensors: dict[str, Tensor], step: int) -> int:
    """Put back what ``_state`` gave; the step to go on with."""
    prefix = "head."
    head.load_state_dict({name.removeprefix(prefix): v for name, v in tensors.items() if name.startswith(prefix)})
    for i, parameter in enumerate(head.parameters()):
        means = {mean: tensors[f"{mean}.{i}"] for mean in ("exp_avg", "exp_avg_sq")}
        optimizer.state[parameter] = {"step": torch.tensor(float(step)), **means}
    return step


def _digest(regions: Regions) -> str:
    parts = (regions.features, regions.crops, regions.targets)
    return sha256_of(b"".join(part.numpy().tobytes() for part in parts) + repr(regions.labels).encode())
