"""Several processes, one card each, that train one model; torchrun starts them and numbers them in the environment.

With one process everything here does nothing.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")
LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
PATIENCE = timedelta(hours=2)  # the others wait while the first one measures and writes


def join(device: torch.device) -> None:
    """Join the process group if torchrun started several processes, once: by NCCL on CUDA, else by gloo."""
    if dist.is_available() and not dist.is_initialized() and _launched() and int(os.environ["WORLD_SIZE"]) > 1:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        atexit.register(_leave)


def own_device(device: str | torch.device) -> str | torch.device:
    """``cuda`` as the card of this process among those of this machine; any other device as it is."""
    if str(device) == "cuda" and _launched():
        return f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    return device


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _met() else 1


def rank() -> int:
    """This process's number, from 0 on; rank 0 writes."""
    return dist.get_rank() if _met() else 0


def gather(rows: Tensor) -> Tensor:
    """(B, ...) rows -> (world size * B, ...) of all processes in their order. B is the same in all.

    Gradients flow to every process's own rows from the losses of all. A loss that each process computes of all rows,
    its gradient averaged over processes, is then that of one process that holds all.
    """
    if world_size() == 1:
        return rows
    if rows.dtype == torch.bool:  # gloo has none
        return _Gather.apply(rows.to(torch.uint8)).bool()
    return _Gather.apply(rows)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world_size())]
        dist.all_gather(parts, rows.contiguous())
        ctx.size = len(rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[rank() * ctx.size : (rank() + 1) * ctx.size]


def average_gradients(module: nn.Module) -> None:
    """The mean over processes of every gradient, in place; a parameter that none has a gradient of keeps none."""
    if world_size() == 1:
        return
    trained = [p for p in module.parameters() if p.requires_grad]
    there = torch.tensor([float(p.grad is not None) for p in trained]).to(trained[0].device)
    flat = [(torch.zeros_like(p) if p.grad is None else p.grad).float().flatten() for p in trained]
    whole = torch.cat([*flat, there])
    dist.all_reduce(whole)
    *parts, there = whole.split([p.numel() for p in trained] + [len(trained)])
    for parameter, part, having in zip(trained, parts, there.tolist(), strict=True):
        if having:
            found = (part / world_size()).view_as(parameter).to(parameter.dtype)
            parameter.grad = found if parameter.grad is None else parameter.grad.copy_(found)


def broadcast_from_first(tensors: Mapping[str, Tensor]) -> None:
    """Make these, in place, what they are in the first process."""
    if world_size() > 1:
        for value in tensors.values():
            dist.broadcast(value, 0)


def all_reduce_mean(values: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """Numbers averaged over processes; a NaN in one is a NaN in all."""
    if world_size() == 1:
        return dict(values)
    shared = torch.tensor(list(values.values()), dtype=torch.float32).to(device)
    dist.all_reduce(shared)
    return dict(zip(values, (shared / world_size()).tolist(), strict=True))


def on_first_rank(work: Callable[[], T]) -> T:
    """What ``work`` returns, or raises, in the first process: in all of them. The others wait and do not work."""
    if world_size() == 1:
        return work()
    outcome: list[Any] = [None, None]
    if rank() == 0:
        try:
            outcome[0] = work()
        except Exception as error:
            outcome[1] = error
    dist.broadcast_object_list(outcome, 0)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def wait() -> None:
    """Go on when all processes have come here."""
    if world_size() > 1:
        dist.barrier()


@contextmanager
def first_rank_first() -> Iterator[None]:
    """The first process passes before the others, which then find the files that it made; also where it fails."""
    if rank() > 0:
        dist.barrier()
    try:
        yield
    finally:
        if rank() == 0 and world_size() > 1:
            dist.barrier()


def _launched() -> bool:
    return all(name in os.environ for name in LAUNCHED)


def _met() -> bool:
    return dist.is_available() and dist.is_initialized()


def _leave() -> None:
    if _met():
        dist.destroy_process_group()
