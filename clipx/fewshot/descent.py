"""The training loop of the methods that learn on cached vectors alone; prompts learn by ``schedule.train_prompts``."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from clipx.errors import InputError


def descend(
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[Tensor], Tensor],
    samples: int,
    epochs: int,
    batch_size: int,
    rate: Callable[[int, float], float],
    seed: int = 0,
) -> float:
    """Minimise a loss over batches in random order; the last epoch's weights are kept.

    Args:
        optimizer: of the parameters; its own rate is not used.
        loss_of: (B,) row numbers, on the CPU -> the loss of these rows.
        samples: N.
        epochs: at least 1.
        batch_size: rows of a step; with N or more, all of them in their order.
        rate: (epoch, share of all steps done, in [0, 1)) -> the learning rate.
        seed: of the order. The process's own generator is left alone.

    Returns:
        The mean loss of the last epoch.

    Raises:
        InputError: nothing to train for, or a loss that is no longer finite.
    """
    if epochs < 1 or batch_size < 1:
        raise InputError(f"epochs and batch size must be at least 1, got {epochs} and {batch_size}")
    draw, step, loss = torch.Generator().manual_seed(seed), 0, math.nan
    total = epochs * math.ceil(samples / batch_size)
    with torch.enable_grad():
        for epoch in range(epochs):
            whole = batch_size >= samples
            order = torch.arange(samples) if whole else torch.randperm(samples, generator=draw)
            losses = []
            for batch in order.split(batch_size):
                for group in optimizer.param_groups:
                    group["lr"] = rate(epoch, step / total)
                value = loss_of(batch)
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                losses.append(value.detach() * len(batch))
                step += 1
            loss = float(torch.stack(losses).sum()) / samples
            if not math.isfinite(loss):
                raise InputError(f"the loss is {loss} in epoch {epoch}", remedy="lower the learning rate")
    return loss


def cosine(lr: float) -> Callable[[int, float], float]:
    """The rate that falls from lr to 0 along half a cosine, a little at each step."""
    return lambda epoch, done: lr * 0.5 * (1 + math.cos(math.pi * done))
