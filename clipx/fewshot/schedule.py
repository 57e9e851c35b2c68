"""The learning rate of PointCLIP's adapter, CoOp and CoCoOp by epoch, and the training of the last two."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor, nn

from clipx.errors import InputError


class Schedule(Protocol):
    """What a training's config says of its learning rate."""

    @property
    def epochs(self) -> int: ...
    @property
    def lr(self) -> float: ...
    @property
    def warmup_epochs(self) -> int: ...
    @property
    def warmup_lr(self) -> float: ...


def rate_of(epoch: int, schedule: Schedule) -> float:
    """A constant rate while it warms up, then a cosine.

    As released: the cosine's own clock starts after the warm-up and is set to the whole number of epochs.

    Args:
        epoch: in [0, epochs).
        schedule: such as ``CoOpConfig``.
    """
    if epoch < schedule.warmup_epochs:
        return schedule.warmup_lr
    return schedule.lr * (1 + math.cos(math.pi * (epoch - schedule.warmup_epochs) / schedule.epochs)) / 2


class SgdConfig(Schedule, Protocol):
    """What a config of CoOp or CoCoOp says of its training."""

    @property
    def batch_size(self) -> int: ...
    @property
    def momentum(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def seed(self) -> int: ...


def train_prompts(
    parameters: Iterable[nn.Parameter],
    loss_of: Callable[[Tensor, torch.Generator], Tensor],
    samples: int,
    config: SgdConfig,
) -> float:
    """SGD over batches in random order by the schedule; the last step's parameters are kept.

    Args:
        parameters: what is learned.
        loss_of: (B,) row numbers and the generator of all draws -> the loss of these rows.
        samples: N.
        config: such as ``CoOpConfig``.

    Returns:
        The loss of the last step.

    Raises:
        InputError: a loss that is no longer finite.
    """
    optimizer = torch.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    draw, loss = torch.Generator().manual_seed(config.seed), torch.tensor(math.nan)
    with torch.enable_grad():
        for epoch in range(config.epochs):
            optimizer.param_groups[0]["lr"] = rate_of(epoch, config)
            for batch in torch.randperm(samples, generator=draw).split(config.batch_size):
                loss = loss_of(batch, draw)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            if not bool(loss.isfinite()):
                raise InputError(f"the loss is {loss.item()} in epoch {epoch}", remedy="lower the learning rate")
    optimizer.zero_grad()
    return loss.item()
