"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from clipx import _processes as processes
from clipx._device import check_device
from clipx._signals import stop_asked
from clipx.errors import InputError
from clipx.progress import note, progress
from clipx.training.checkpoint import TrainState, restore_checkpoint, save_checkpoint
from clipx.training.config import TrainConfig, rate_at
from clipx.training.optim import PRECISIONS, MixedPrecision, gradient_scaler, optimizers_of, update_average
from clipx.training.runs import HISTORY, History, prepare_folder


def train(
    module: nn.Module,
    loss_of: Callable[[nn.Module, int, int], dict[str, Tensor]],
    config: TrainConfig,
    out: str | PathLike,
    *,
    identity: dict[str, Any] | None = None,
    resume: bool = False,
    device: str | torch.device = "cpu",
    stop_after: int | None = None,
) -> nn.Module:
    """Train ``module`` in place and return it holding the averaged weights.

    Started by torchrun, every process trains the same module on a card of its own: gradients are averaged, the first
    process alone writes, and a signal to one of them stops all with a checkpoint. ``gather`` rows where a loss compares
    samples with each other, so that each is compared with those of all processes.

    Args:
        module: parameters with ``requires_grad`` are trained; moved to the device.
        loss_of: (module, step, draw) -> named scalars; ``"loss"`` is minimised, the others are only recorded. It
            must make its batch from the seed and ``draw`` alone: ``draw`` is ``step`` with one process, and another
            number in each of several. The module it is given computes in mixed precision and returns float32.
        config: the schedule.
        out: folder for ``checkpoint.safetensors`` and ``history.jsonl``, which are written atomically.
        identity: whatever else makes this run the one it is (data, architecture); kept with the checkpoint.
        resume: go on from the checkpoint in ``out``, where there is one.
        device: as torch names it; "cuda" is the process's own card where there are several processes.
        stop_after: stop after this step with a checkpoint, as Ctrl-C does; the schedule stays that of ``config``.

    Raises:
        InputError: ``out`` holds another run's checkpoint, or one without ``resume``; the loss is no longer finite; the
            device or the precision cannot be used.
        FileError: the checkpoint is corrupt.
        KeyboardInterrupt: a signal (SIGINT or SIGTERM) to this process or another; the checkpoint is written.
    """
    out, where = prepare_folder(out, resume), join(device)
    run: dict[str, Any] = {"config": asdict(config), "identity": identity or {}}
    if processes.world_size() > 1:
        run["processes"] = processes.world_size()
    module.to(where)
    processes.broadcast_from_first(module.state_dict())
    optimizers, scaler = optimizers_of(module, config, where), gradient_scaler(config, where)
    state = TrainState(module, optimizers, scaler, {k: v.detach().clone() for k, v in module.state_dict().items()})
    first = restore_checkpoint(out, state, run) if resume else 0
    mixed = MixedPrecision(module, where, PRECISIONS[config.mixed_precision])
    history = History(out / HISTORY, first)
    last = min(config.steps, stop_after or config.steps)
    mixed.train()
    bar = progress("training", config.steps, first) if processes.rank() == 0 else nullcontext(lambda *done: None)

    def save(step: int) -> None:
        history.write()
        save_checkpoint(out, state, run, step)

    with bar as advance, stop_asked() as asked:
        for step in range(first, last):
            began = time.perf_counter()
            scalars = _optimise(state, mixed, loss_of, config, step)
            values = {k: float(v.detach()) for k, v in scalars.items()} | {"stop": float(asked())}
            values = processes.all_reduce_mean(values, where)
            stop = values.pop("stop") > 0
            if not math.isfinite(values["loss"]):
                raise InputError(f"the loss is {values['loss']} at step {step}", remedy="lower the learning rate")
            update_average(state.average, module, decay=min(config.ema, (1 + step) / (10 + step)))
            history.add(step=step, lr=config.lr * rate_at(step, config), **values, s=time.perf_counter() - began)
            advance(1, f"loss {values['loss']:.3f}")
            if stop or step + 1 == last or (step + 1) % config.checkpoint_every == 0:
                # the others wait: whoever ends first would have the rest killed
                processes.on_first_rank(partial(save, step + 1))
            if stop:
                if processes.rank() == 0 and step + 1 < config.steps:
                    note(f"stopped after step {step + 1:,} of {config.steps:,}; a run that resumes goes on from there")
                raise KeyboardInterrupt
        if processes.all_reduce_mean({"stop": float(asked())}, where)["stop"]:  # while the last checkpoint was written
            raise KeyboardInterrupt
    processes.broadcast_from_first(state.average)  # BatchNorm's statistics are each process's own
    module.load_state_dict(state.average)
    return module.eval()


def _optimise(
    state: TrainState,
    mixed: nn.Module,
    loss_of: Callable[[nn.Module, int, int], dict[str, Tensor]],
    config: TrainConfig,
    step: int,
) -> dict[str, Tensor]:
    """One step of every optimiser; returns what ``loss_of`` returned."""
    for optimizer, peak in zip(state.optimizers, (config.lr, config.muon_lr), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = peak * rate_at(step, config)
    scalars = loss_of(mixed, step, step * processes.world_size() + processes.rank())
    state.scaler.scale(scalars["loss"]).backward()
    processes.average_gradients(state.module)
    for optimizer in state.optimizers:
        state.scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(state.module.parameters(), config.clip_norm)
    for optimizer in state.optimizers:
        state.scaler.step(optimizer)
        optimizer.zero_grad(set_to_none=True)
    state.scaler.update()
    return scalars


def join(device: str | torch.device) -> torch.device:
    """The device, checked; this process has then joined the others that train with it."""
    where = check_device(device)
    processes.join(where)
    return where
