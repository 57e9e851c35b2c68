"""How to optimise: the settings of a run and the learning rate that follows from them."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TrainConfig:
    """How to optimise. AdamW, linear warm-up, cosine to zero, an exponential moving average of the weights.

    With ``muon_lr`` the matrices inside transformer blocks are moved by Muon (Jordan et al., 2024) instead.
    """

    steps: int = field(default=1000, metadata={"help": "optimiser steps of the whole run"})
    batch_size: int = field(default=128, metadata={"help": "samples a step and process"})
    lr: float = field(default=1e-3, metadata={"help": "peak learning rate"})
    weight_decay: float = field(default=0.05, metadata={"help": "for matrices and kernels, not for gains and biases"})
    warmup: int = field(default=100, metadata={"help": "steps of linear warm-up"})
    clip_norm: float = field(default=1.0, metadata={"help": "largest norm of the gradient"})
    ema: float = field(default=0.998, metadata={"help": "decay of the averaged weights that are kept"})
    seed: int = field(default=0, metadata={"help": "seed of batches and initial weights"})
    mixed_precision: str = field(default="no", metadata={"help": "no, fp16 or bf16"})
    checkpoint_every: int = field(default=200, metadata={"help": "steps between checkpoints"})
    muon_lr: float = field(default=0.0, metadata={"help": "peak learning rate of Muon; 0 leaves all to AdamW"})
    beta2: float = field(default=0.999, metadata={"help": "AdamW's decay of the mean of squared gradients"})
    eps: float = field(default=1e-8, metadata={"help": "what AdamW adds to their root"})


def scaled(config: TrainConfig, share: float) -> TrainConfig:
    """The same with another number of steps: a share of them, and of the warm-up."""
    steps, warmup = (max(1, round(count * share)) for count in (config.steps, config.warmup))
    return dataclasses.replace(config, steps=steps, warmup=warmup)


def rate_at(step: int, config: TrainConfig) -> float:
    """The learning rate of a step as a share of its peak: linear warm-up, then a cosine to zero."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.5 * (1 + math.cos(math.pi * done))
