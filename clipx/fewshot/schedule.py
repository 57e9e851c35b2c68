"""The learning rate of PointCLIP's adapter, CoOp and CoCoOp by epoch."""

from __future__ import annotations

import math
from typing import Protocol


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
