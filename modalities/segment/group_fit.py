"""Training grouping blocks: the mean of a photo's groups towards the photo's own vector (GroupViT)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from os import PathLike

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.errors import InputError
from clipx.modalities.segment.features import Features, Sample, digest, standardisation
from clipx.modalities.segment.groups import GroupNetwork
from clipx.modalities.segment.head import Head
from clipx.space import JointSpace

MOST_SCALE = 100.0  # of the logits


@dataclass(frozen=True)
class GroupConfig:
    """How grouping blocks are trained.

    Args:
        width, groups: see ``GroupNetwork``.
        steps, batch_size, lr, weight_decay: of AdamW; the rate falls to zero along a cosine.
        seed: of weights, batches and draws.

    Raises:
        InputError: numbers out of range.
    """

    width: int = 128
    groups: tuple[int, int] = (32, 8)
    steps: int = 100
    batch_size: int = 16
    lr: float = 1e-3
    weight_decay: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.width // 4, *self.groups, self.steps, self.batch_size - 1) < 1 or self.width % 4:
            raise InputError("width must be a multiple of 4, groups and steps at least 1, the batch at least 2")
        if not (0 < self.lr < math.inf and 0 <= self.weight_decay < math.inf):
            raise InputError("groups need a learning rate above 0", where="train segment")


class _Pooled(nn.Module):
    """What the training loop calls: features and a seed -> the projected mean of the groups."""

    def __init__(self, network: GroupNetwork):
        super().__init__()
        self.network = network

    def forward(self, features: Features, seed: int) -> tuple[Tensor, Tensor]:
        drawn = self.network.pooled(features, torch.Generator().manual_seed(seed))
        return drawn, self.network.scale.exp().clamp(max=MOST_SCALE)


def fit_groups(
    space: JointSpace, samples: Sequence[Sample], config: GroupConfig, out: str | PathLike, resume: bool = False
) -> Head:
    """Train grouping blocks on N photos without their masks; the space stays as it is.

    The loss is InfoNCE: of the photos of a batch, whose vector is the one that the groups of this photo were made from?

    Args:
        space: where the features come from.
        samples: the N photos, at least 2.
        config: see there.
        out: a folder for the checkpoint and the loss curve.
        resume: go on from the checkpoint in it.

    Raises:
        InputError: fewer than two photos, or ``out`` holds another run.
        KeyboardInterrupt: a signal; the checkpoint is written.
    """
    from clipx.training import TrainConfig, train

    if len(samples) < 2:
        raise InputError("groups are learned from two photos or more", where="train segment")
    first = samples[0].features
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = GroupNetwork(first.dense.shape[1], first.stages.shape[1], config.width, config.groups)
    for name, values in zip(("mean", "std"), standardisation(samples), strict=True):
        network.get_buffer(name).copy_(values)
    vectors = torch.stack([sample.vector for sample in samples])

    def loss_of(module: nn.Module, step: int, draw: int) -> dict[str, Tensor]:
        order = torch.Generator().manual_seed(config.seed * 1_000_003 + draw)
        chosen = torch.randperm(len(samples), generator=order)[: config.batch_size].tolist()
        made = [module(samples[i].features, config.seed * 1_000_003 + draw * 1009 + i) for i in chosen]
        logits = made[0][1] * torch.cat([rows for rows, _ in made]) @ vectors[chosen].T
        target = torch.arange(len(chosen))
        return {"loss": (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2}

    plan = TrainConfig(
        steps=config.steps, batch_size=config.batch_size, lr=config.lr, weight_decay=config.weight_decay,
        warmup=max(1, config.steps // 10), clip_norm=5.0, ema=0.0, seed=config.seed,
        checkpoint_every=max(1, config.steps // 4),
    )  # fmt: skip
    identity = {"groups": asdict(config), "photos": digest(samples, vectors)}
    train(_Pooled(network), loss_of, plan, out, identity=identity, resume=resume)
    return Head("groups", network.eval(), space.id, 1.0, (), {**asdict(config), "photos": len(samples)})
