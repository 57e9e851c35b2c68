"""Training a head on base labels, and measuring it on them and on others (LSeg, Li et al., ICLR 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from os import PathLike

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.errors import InputError
from clipx.metrics import confusion
from clipx.modalities.segment.data import IGNORED
from clipx.modalities.segment.features import Features, Sample, digest, standardisation
from clipx.modalities.segment.head import Head, HeadNetwork
from clipx.modalities.segment.metrics import Confusion
from clipx.space import JointSpace

SCALE = 1 / 0.07  # of the logits in training; it never learns


@dataclass(frozen=True)
class HeadConfig:
    """How a head is trained.

    Args:
        rank: of the head, see ``HeadNetwork``.
        steps, batch_size, lr, weight_decay: of AdamW; the rate falls to zero along a cosine.
        keep: weight of the cosine distance to the untrained vector, at pixels that no base label is learned from. What
            the head learns of base labels would otherwise cover what it never saw.
        strength: see ``HeadNetwork``. Both were chosen on three folds of a set of 41 photos, so that the labels held
            out are segmented as without a head.
        seed: of weights and batches.

    Raises:
        InputError: numbers out of range.
    """

    rank: int = 8
    steps: int = 80
    batch_size: int = 8
    lr: float = 1e-3
    weight_decay: float = 0.01
    keep: float = 50.0
    strength: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.rank, self.steps, self.batch_size) < 1:
            raise InputError("rank, steps and batch size must be at least 1", where="train segment")
        if not (0 < self.lr < math.inf and 0 <= self.weight_decay < math.inf and 0 <= self.keep < math.inf):
            raise InputError(
                "a head needs a learning rate above 0, and a weight decay and a keep of at least 0",
                where="train segment",
            )
        if not 0 <= self.strength <= 1:
            raise InputError(f"must be between 0 and 1, got {self.strength}", where="strength")


def fit_head(
    space: JointSpace,
    samples: Sequence[Sample],
    classes: Sequence[str],
    text: Tensor,
    base: Sequence[int],
    config: HeadConfig,
    out: str | PathLike,
    resume: bool = False,
) -> Head:
    """Train a head on the base labels of N photos; the space stays as it is.

    Args:
        space: where the features come from.
        samples: the N photos.
        classes: the K names of the set.
        text: (K, D) unit vectors of the names, frozen.
        base: places in ``classes`` whose pixels are learned from; all others are ignored.
        config: see there.
        out: a folder for the checkpoint and the loss curve.
        resume: go on from the checkpoint in it.

    Raises:
        InputError: fewer than two base labels occur in the photos, or ``out`` holds another run.
        KeyboardInterrupt: a signal; the checkpoint is written.
    """
    shown = [label for label in base if any(bool((sample.truth == label).any()) for sample in samples)]
    if len(shown) < 2:
        raise InputError(
            f"{len(shown)} base labels occur in the photos, a head needs two", where="train segment",
            remedy="give more photos, or hold out fewer labels",
        )  # fmt: skip
    network = _trained(samples, text, shown, config, out, resume)
    settings = {**asdict(config), "scale": SCALE, "photos": len(samples)}
    return Head("lseg", network.eval(), space.id, config.strength, tuple(classes[i] for i in shown), settings)


def _trained(
    samples: Sequence[Sample],
    text: Tensor,
    labels: Sequence[int],
    config: HeadConfig,
    out: str | PathLike,
    resume: bool,
) -> HeadNetwork:
    from clipx.training import TrainConfig, train

    first = samples[0].features
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = HeadNetwork(first.dense.shape[1], first.stages.shape[1], config.rank)
    for name, values in zip(("mean", "std"), standardisation(samples), strict=True):
        network.get_buffer(name).copy_(values)
    place = torch.full((256,), IGNORED)
    place[torch.tensor(list(labels))] = torch.arange(len(labels))
    wanted = text[list(labels)]

    def loss_of(module: nn.Module, step: int, draw: int) -> dict[str, Tensor]:
        order = torch.Generator().manual_seed(config.seed * 1_000_003 + draw)
        chosen = torch.randperm(len(samples), generator=order)[: config.batch_size].tolist()
        losses = [_loss(module(samples[i].features), samples[i], place, wanted, config.keep) for i in chosen]
        return {"loss": torch.stack(losses).mean()}

    plan = TrainConfig(
        steps=config.steps, batch_size=config.batch_size, lr=config.lr, weight_decay=config.weight_decay, warmup=1,
        ema=0.0, seed=config.seed, checkpoint_every=max(1, config.steps // 4),
    )  # fmt: skip
    identity = {"labels": list(labels), "head": asdict(config), "photos": digest(samples, text)}
    train(network, loss_of, plan, out, identity=identity, resume=resume)
    return network


def _loss(vectors: Tensor, sample: Sample, place: Tensor, text: Tensor, keep: float) -> Tensor:
    """Cross-entropy at pixels of the labels, at twice the grid; at the others how far the vectors have moved."""
    grid = 2 * vectors.shape[-2], 2 * vectors.shape[-1]
    rows, columns = (torch.arange(n) * m // n for n, m in zip(grid, sample.truth.shape, strict=True))  # the nearest
    truth = place[sample.truth[rows][:, columns].long()][None]
    other = F.avg_pool2d((truth == IGNORED).float(), 2)  # of each cell
    loss = keep * (other * (1 - F.cosine_similarity(vectors, sample.features.dense, dim=1))).mean()
    if bool((truth == IGNORED).all()):
        return loss
    logits = F.interpolate(SCALE * torch.einsum("ndhw,kd->nkhw", vectors, text), grid, mode="bilinear")
    return loss + F.cross_entropy(logits, truth, ignore_index=IGNORED)


def measure(
    samples: Sequence[Sample], dense_of: Callable[[Features], Tensor], text: Tensor, labels: Sequence[int]
) -> Confusion:
    """Segment photos into some labels, and count; pixels of other classes are not judged.

    Args:
        samples: the photos.
        dense_of: features -> (1, D, h, w) unit vectors.
        text: (K, D) unit vectors of all classes.
        labels: places in the classes that compete, and that are judged.
    """
    found = Confusion(len(text), IGNORED)
    chosen = torch.tensor(list(labels))
    for sample in samples:
        logits = torch.einsum("ndhw,kd->nkhw", dense_of(sample.features), text[chosen])
        best = chosen[F.interpolate(logits, tuple(sample.truth.shape), mode="bilinear")[0].argmax(0)]
        truth = sample.truth.long()
        judged = torch.isin(truth, chosen)
        found.table += confusion(best[judged].numpy(), truth[judged].numpy(), len(text))  # no boundaries
    return found


def base_and_novel(found: Confusion, base: Sequence[int], novel: Sequence[int]) -> dict[str, float]:
    """Mean IoU of base labels and of novel ones, of those in the truth, and the harmonic mean of the two."""
    one, other = found.miou_of(base), found.miou_of(novel)
    total = one + other
    return {"base": one, "novel": other, "harmonic": 2 * one * other / total if total > 0 else total}
