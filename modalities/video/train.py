"""Training a head on frozen frame vectors, and measuring it beside the mean of the frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.captions import both_ways, pairs_of
from clipx.errors import InputError
from clipx.metrics import bootstrap_ci95, classification
from clipx.modalities.video.config import VideoConfig
from clipx.modalities.video.data import Texts, alike, digest
from clipx.modalities.video.heads import HEADS, Head, new_head
from clipx.modalities.video.heads.base import padded
from clipx.space import JointSpace

if TYPE_CHECKING:
    from clipx.training import TrainConfig

SHARPNESS = 10.0  # of ActionCLIP's targets, softmax(10 [same label])
MOST_FRAMES = 64  # of a film that is longer: CLIP4Clip's number for long films
EPOCHS = 5  # CLIP4Clip's
FEWEST_STEPS = 300  # a few hundred clips are learned in no five epochs
BETA2, EPSILON = 0.98, 1e-6  # CLIP4Clip's


@dataclass(frozen=True)
class VideoTrainConfig:
    """How a head is trained. All constants are CLIP4Clip's (arXiv 2104.08860), but for the least number of steps."""

    head: str = field(default="seqtransf", metadata={"help": f"one of {', '.join(HEADS)}"})
    layers: int | None = field(default=None, metadata={"help": "of the head; default: the published number"})
    steps: int | None = field(
        default=None, metadata={"help": f"optimiser steps; default: {EPOCHS} epochs, at least {FEWEST_STEPS}"}
    )
    batch_size: int = field(default=128, metadata={"help": "clips a step"})
    lr: float = field(default=1e-4, metadata={"help": "peak learning rate"})
    weight_decay: float = field(default=0.2, metadata={"help": "of matrices"})
    seed: int = field(default=0, metadata={"help": "of weights, batches and templates"})

    def __post_init__(self) -> None:
        if self.head not in HEADS or self.head == "mean":
            learned = ", ".join(name for name in HEADS if name != "mean")
            what = "the mean of the frames learns nothing" if self.head == "mean" else f"no head {self.head!r}"
            raise InputError(what, where="--head", remedy=f"take one of {learned}")
        if (self.steps is not None and self.steps < 1) or self.batch_size < 2 or self.seed < 0:
            raise InputError("steps must be at least 1, the batch 2 clips and the seed 0", where="train video")
        if not (0 < self.lr < math.inf and 0 <= self.weight_decay < math.inf):
            raise InputError("the learning rate must be above 0, the weight decay at least 0", where="train video")

    def plan(self, clips: int) -> TrainConfig:
        """What the training loop is to do with so many clips: a tenth of the steps are warm-up, a cosine follows."""
        from clipx.training import TrainConfig

        steps = self.steps or max(FEWEST_STEPS, EPOCHS * math.ceil(clips / self.batch_size))
        return TrainConfig(
            steps, self.batch_size, self.lr, self.weight_decay, max(1, steps // 10), ema=0.0, seed=self.seed,
            checkpoint_every=max(1, steps // 4), beta2=BETA2, eps=EPSILON,
        )  # fmt: skip


def fit_head(
    space: JointSpace,
    frames: Sequence[np.ndarray],
    texts: Texts,
    sampling: VideoConfig,
    config: VideoTrainConfig,
    out: str | PathLike,
    *,
    resume: bool = False,
    device: str = "cpu",
    stop_after: int | None = None,
) -> Head:
    """Train a head on N clips; space and texts stay as they are.

    Args:
        space: of the vectors.
        frames: N arrays (T_i, D), see ``frame_vectors``.
        texts: what is said of the clips.
        sampling: how their frames were chosen.
        config: how it is trained.
        out: a folder for the checkpoint and the loss curve.
        resume: go on from the checkpoint in it; the head is then the same, bit for bit, as of a run without a stop.
        device: as torch names it.
        stop_after: see ``clipx.training.train``.

    Raises:
        InputError: fewer than two clips, or ``out`` holds another run.
        KeyboardInterrupt: a signal; the checkpoint is written.
    """
    from clipx.training import train

    if len(frames) < 2 or len(set(texts.owner.tolist())) < 2:
        raise InputError(
            f"{len(frames)} clips of {len(set(texts.owner.tolist()))} texts, a head needs two of each",
            where="train video",
        )
    rows, codes = [torch.from_numpy(own) for own in frames], alike(frames)
    places = {code: i for i, code in enumerate(codes)}
    clip = torch.tensor([places[code] for code in codes]) * len(texts.names)
    pairs = (clip + texts.owner).unique()  # a clip may have several captions
    longest = min(MOST_FRAMES, max(map(len, rows)))
    network = new_head(config.head, space.dim, longest, config.layers, config.seed).train()
    scale = torch.tensor(space.logit_scale)

    def loss_of(module: nn.Module, step: int, draw: int) -> dict[str, Tensor]:
        make = torch.Generator().manual_seed(config.seed * 1_000_003 + draw)
        chosen = torch.randperm(len(rows), generator=make)[: config.batch_size]
        owner = texts.owner[chosen]
        way = torch.randint(len(texts.vectors), (len(chosen),), generator=make)  # ActionCLIP: one template each
        place = next(module.parameters()).device
        given = *padded([rows[i] for i in chosen.tolist()], longest), texts.vectors[way, owner]
        logits = scale.to(place) * module(*(one.to(place) for one in given))
        same = torch.isin(clip[chosen, None] + owner, pairs)
        return {"loss": two_way_loss(logits, same.to(place), texts.labels)}

    identity = {"head": asdict(config), "space": space.id, "clips": digest(frames, texts)}
    plan = config.plan(len(rows))
    train(network, loss_of, plan, out, identity=identity, resume=resume, device=device, stop_after=stop_after)
    own = {name: getattr(sampling, name) for name in ("fps", "frames", "uniform")}
    settings = asdict(config) | {"clips": len(frames), "texts": texts.names if texts.labels else len(texts.names)}
    return Head(config.head, network.cpu().eval().requires_grad_(False), space.id, own, settings)


def two_way_loss(logits: Tensor, same: Tensor, labels: bool) -> Tensor:
    """KL divergence of the softmax over rows and over columns from the targets, the mean of the two.

    Args:
        logits: (B, B) of clips with the texts of these clips.
        same: (B, B) bool, whether the text of the second clip is one of the first.
        labels: targets are softmax(10 ``same``), ActionCLIP's (arXiv 2109.08472, section 3.1). Else they are even over
            what is the same: CLIP4Clip's symmetric cross entropy, where no two captions are equal.

    Returns:
        Scalar.
    """

    def one_way(scores: Tensor, alike: Tensor) -> Tensor:
        targets = (SHARPNESS * alike).softmax(1) if labels else F.normalize(alike, p=1, dim=1)
        return F.kl_div(scores.log_softmax(1), targets, reduction="batchmean")

    return (one_way(logits, same.float()) + one_way(logits.T, same.float().T)) / 2


def measure(
    heads: dict[str, Head], frames: Sequence[np.ndarray], ids: Sequence[str], texts: Texts, seed: int = 0
) -> list[dict[str, Any]]:
    """Figures of clips by each head, on labels or on captions.

    Args:
        heads: name of a row -> head.
        frames: N arrays (T_i, D).
        ids: N names; captions of one name belong to one clip.
        texts: what is said of the clips.
        seed: of the bootstraps.

    Returns:
        A row for each: ``head``, and of labels ``acc1``, ``acc5`` (None under six labels), ``ci95`` and ``chance``; of
        captions what ``clipx.captions.both_ways`` gives.
    """
    rows: list[dict[str, Any]] = []
    for name, head in heads.items():
        if texts.labels:
            rows.append({"head": name, **_naming(head.scores(frames, texts.mean.numpy()), texts, seed)})
            continue
        captions = [texts.names[i] for i in texts.owner.tolist()]
        first, sentences, positives = pairs_of(ids, captions)
        asked = texts.mean[[texts.names.index(one) for one in sentences]].numpy()
        scores = head.scores([frames[i] for i in first], asked)
        rows.append({"head": name, **both_ways(scores.T, positives, "video", seed)})
    return rows


def _naming(scores: np.ndarray, texts: Texts, seed: int) -> dict[str, Any]:
    """Top-1 and top-5 of (N, K) scores."""
    found = classification(scores, texts.owner)
    count, own = len(texts.names), np.take_along_axis(scores, texts.owner.numpy()[:, None], 1)
    ranks = (scores > own).sum(1)
    row: dict[str, Any] = {"n": len(scores), "acc1": found["acc1"], "acc5": None, "chance": {"acc1": 1 / count}}
    row["ci95"] = {"acc1": bootstrap_ci95(scores.argmax(1) == texts.owner.numpy(), seed)}
    if count > 5:
        row["acc5"], row["chance"]["acc5"] = found["acc5"], 5 / count
        row["ci95"]["acc5"] = bootstrap_ci95(ranks < 5, seed)
    return row


def mean_head(space: JointSpace, sampling: VideoConfig) -> Head:
    """The mean of the frames as a head, which others stand beside."""
    own = {name: getattr(sampling, name) for name in ("fps", "frames", "uniform")}
    return Head("mean", new_head("mean", space.dim, MOST_FRAMES), space.id, own, {})
