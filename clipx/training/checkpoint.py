"""Checkpoints: one safetensors file holds the weights, their average and the optimisers' moments."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clipx.errors import FileError, InputError
from clipx.files import write_tensors
from clipx.training.runs import CHECKPOINT


@dataclass(frozen=True)
class TrainState:
    """The state of a training that changes from step to step.

    Args:
        module: the weights in training.
        optimizers: with their moments.
        scaler: of the gradients in float16.
        average: the exponential moving average of the module's state.
    """

    module: nn.Module
    optimizers: Sequence[torch.optim.Optimizer]
    scaler: torch.amp.GradScaler
    average: dict[str, Tensor]


def save_checkpoint(out: Path, state: TrainState, run: Mapping[str, Any], step: int) -> None:
    """Write the state after ``step`` steps into a run's folder, atomically.

    Args:
        out: the folder.
        state: what is saved.
        run: what makes this run the one it is, such as its settings; a resumed run must have the same.
        step: how many steps are done.
    """
    tensors = {f"model.{k}": v for k, v in state.module.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in state.average.items()}
    moments = (optimizer.state.get(p, {}) for optimizer, p in _parameters(state.optimizers))
    for index, values in enumerate(moments):
        tensors |= {f"opt.{index}.{k}": torch.as_tensor(v) for k, v in values.items()}
    tensors = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
    about = {"step": str(step), "run": json.dumps(run), "scaler": json.dumps(state.scaler.state_dict())}
    write_tensors(out / CHECKPOINT, tensors, about)


def _differences(saved: Any, asked: Any, name: str = "") -> list[str]:
    """The names of the settings that differ."""
    if isinstance(saved, dict) and isinstance(asked, dict):
        keys = sorted(saved.keys() | asked.keys())
        return list(dict.fromkeys(one for key in keys for one in _differences(saved.get(key), asked.get(key), key)))
    return [] if saved == asked else [name]


def restore_checkpoint(out: Path, state: TrainState, run: Mapping[str, Any]) -> int:
    """Load the checkpoint of a run's folder into ``state`` and return its number of steps; 0 without a checkpoint.

    Raises:
        FileError: the checkpoint is corrupt. InputError: it is of another run.
    """
    from safetensors import SafetensorError, safe_open

    path = out / CHECKPOINT
    if not path.exists():
        return 0
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata()
            saved, step, scaler = (json.loads(about[name]) for name in ("run", "step", "scaler"))
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise FileError("the checkpoint is corrupt", where=path, remedy="delete it and start again") from error
    if saved != (asked := json.loads(json.dumps(run))):
        names = ", ".join(_differences(saved, asked))
        what = f"the checkpoint is of a run with other settings ({names})"
        raise InputError(what, where=path, remedy="name another folder")
    state.module.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    for key in state.average:
        state.average[key].copy_(tensors[f"ema.{key}"])
    for index, (optimizer, parameter) in enumerate(_parameters(state.optimizers)):
        moments = {k.split(".", 2)[2]: v for k, v in tensors.items() if k.startswith(f"opt.{index}.")}
        # a moment must lie in memory as its parameter does (channels last): the fused step goes by address
        for name, value in moments.items():
            if value.shape == parameter.shape and name != "step":
                value = torch.empty_like(parameter).copy_(value)
            elif optimizer.defaults.get("fused"):  # it counts its steps on the device, others on the CPU
                value = value.to(parameter.device)
            optimizer.state[parameter][name] = value
    if state.scaler.is_enabled():
        state.scaler.load_state_dict(scaler)
    return int(step)


def _parameters(optimizers: Sequence[torch.optim.Optimizer]) -> Iterator[tuple[torch.optim.Optimizer, Tensor]]:
    """Every parameter with the optimiser that moves it, in one order."""
    yield from ((optimizer, p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"])
