"""Training: contrastive losses, and one resumable loop for every module.

A run is a pure function of its seed: every batch is made from ``(seed, step)`` alone, so a run that was stopped and
resumed trains on the same batches as one that was not.
"""

from clipx._signals import stop_asked
from clipx.training.config import TrainConfig, scaled
from clipx.training.loop import train
from clipx.training.losses import affinity_loss, contrastive_loss, sigmoid_loss
from clipx.training.runs import plot_history, prepare_folder

__all__ = [
    "TrainConfig",
    "affinity_loss",
    "contrastive_loss",
    "plot_history",
    "prepare_folder",
    "scaled",
    "sigmoid_loss",
    "stop_asked",
    "train",
]
