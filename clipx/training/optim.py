"""Optimisers, mixed precision and the average of the weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clipx.errors import InputError
from clipx.training.config import TrainConfig

PRECISIONS = {"no": None, "fp16": torch.float16, "bf16": torch.bfloat16}


def optimizers_of(module: nn.Module, config: TrainConfig, device: torch.device) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the matrices in transformer blocks if it has a learning rate."""
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    hidden = [p for name, p in trained.items() if config.muon_lr and p.ndim == 2 and "resblocks." in name]
    taken = {id(p) for p in hidden}
    matrices = [p for p in trained.values() if p.ndim >= 2 and id(p) not in taken]
    gains = [p for p in trained.values() if p.ndim < 2]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [{"params": matrices, "weight_decay": config.weight_decay}, {"params": gains, "weight_decay": 0.0}],
            lr=config.lr,
            betas=(0.9, config.beta2),
            eps=config.eps,
            fused=device.type in ("cpu", "cuda", "mps"),
        )
    ]
    if hidden:
        muon = torch.optim.Muon(
            hidden, lr=config.muon_lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        optimizers.append(muon)
    return optimizers


class MixedPrecision(nn.Module):
    """A module whose forward pass runs under autocast; what comes out is float32."""

    def __init__(self, module: nn.Module, device: torch.device, dtype: torch.dtype | None):
        super().__init__()
        self.module, self.device_type, self.dtype = module, device.type, dtype

    def forward(self, *args: Any, **more: Any) -> Any:
        if self.dtype is None:
            return self.module(*args, **more)
        with torch.autocast(self.device_type, self.dtype):
            return _float32(self.module(*args, **more))


def _float32(found: Any) -> Any:
    if isinstance(found, Tensor):
        return found.float() if found.is_floating_point() else found
    if isinstance(found, dict):
        return {name: _float32(value) for name, value in found.items()}
    return type(found)(map(_float32, found)) if isinstance(found, tuple | list) else found


def gradient_scaler(config: TrainConfig, device: torch.device) -> torch.amp.GradScaler:
    """The scaler that keeps float16 gradients from vanishing; it does nothing in other precisions."""
    if config.mixed_precision not in PRECISIONS:
        raise InputError(f"mixed_precision must be {', '.join(PRECISIONS)}, got {config.mixed_precision!r}")
    return torch.amp.GradScaler(device.type, enabled=config.mixed_precision == "fp16")


@torch.no_grad()
def update_average(average: dict[str, Tensor], module: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the module's, in place; whole numbers are copied."""
    for key, value in module.state_dict().items():
        if value.is_floating_point():
            average[key].lerp_(value, 1 - decay)
        else:
            average[key].copy_(value)
