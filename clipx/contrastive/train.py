"""Self-supervised pre-training: one loop for every method."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clipx.contrastive.augment import LUMA, draw_views
from clipx.contrastive.cpc import network_of
from clipx.contrastive.network import Network
from clipx.contrastive.objectives import loss_of_batch
from clipx.contrastive.presets import Method
from clipx.contrastive.targets import follow, momentum_at
from clipx.contrastive.tower import ImageTower, Pixels
from clipx.errors import InputError
from clipx.training import TrainConfig, train

LR = 1e-3  # AdamW's, for every method
SEEDS = {"order": 10, "views": 11}  # of what is drawn


def ssl_config(**given: Any) -> TrainConfig:
    """The schedule: AdamW 1e-3, cosine, a tenth of the steps for warm-up; the weights themselves are kept.

    Args:
        given: fields of ``TrainConfig`` with other values.
    """
    steps = given.get("steps", TrainConfig.steps)
    return TrainConfig(**({"lr": LR, "warmup": max(1, steps // 10), "ema": 0.0} | given))


def pretrain(
    pictures: np.ndarray,
    method: Method,
    tower: ImageTower,
    config: TrainConfig,
    out: str | PathLike,
    *,
    resume: bool = False,
    device: str | torch.device = "cpu",
    stop_after: int | None = None,
) -> ImageTower:
    """Train an image tower on pictures without labels, in place.

    Args:
        pictures: (N, 3, R, R) uint8, N >= ``config.batch_size``.
        method: with its constants, such as ``small(METHODS["simclr-v1"])``.
        tower: random or not; its ``image_size`` is that of the large views.
        config: the schedule, see ``ssl_config``.
        out: folder of the checkpoint and the loss curve.
        resume: go on from the checkpoint there.
        device: as ``clipx.training.train`` takes it.
        stop_after: stop after this step with a checkpoint.

    Returns:
        The tower, in eval mode: what is kept of the network.

    Raises:
        InputError: fewer pictures than a batch; see ``clipx.training.train``.
    """
    size = tower.config["vision_cfg"]["image_size"]
    network = network_of(method, Pixels(tower.visual), tower.config["embed_dim"], len(pictures), config.seed)
    if method.freeze_patches and hasattr(tower.visual, "class_embedding"):
        tower.visual.conv1.requires_grad_(False)
    about = {"method": dataclasses.asdict(method), "tower": tower.config, "pictures": fingerprint(pictures)}
    trained = pretrain_network(
        network, pictures, size, config, out, about, resume=resume, device=device, stop_after=stop_after
    )
    pixels: Any = trained.tower
    kept = folded_luma(pixels.visual) if method.views.kind == "lab" else pixels.visual
    facts = about | {"train": dataclasses.asdict(config)}
    return ImageTower(kept.cpu().eval().requires_grad_(True), tower.config, tower.preprocess, facts)


def pretrain_network(
    network: Network,
    pictures: np.ndarray,
    size: int,
    config: TrainConfig,
    out: str | PathLike,
    identity: Mapping[str, Any] | None = None,
    **how: Any,
) -> Network:
    """Train a network in place; its tower may be any module of pixels to features.

    Args:
        network: see ``network_of``.
        pictures: (N, 3, R, R) uint8.
        size: side of the large views.
        config: the schedule.
        out: folder of the checkpoint.
        identity: what else makes this run the one it is.
        how: resume, device, stop_after of ``clipx.training.train``.

    Raises:
        InputError: fewer pictures than a batch.
    """
    method = network.method
    if len(pictures) < config.batch_size:
        raise InputError(
            f"{len(pictures)} pictures are fewer than a batch of {config.batch_size}", remedy="lower the batch size"
        )
    order = Order(len(pictures), config.batch_size, config.seed)

    def loss_of(module: nn.Module, step: int, draw: int) -> dict[str, Tensor]:
        where = next(module.parameters()).device
        if network.target is not None and step:
            follow(network.target, network.online, momentum_at(step, config.steps, method.momentum))
        numbers = order.batch(draw)
        shown = torch.from_numpy(pictures[numbers]).to(where).float() / 255
        views = draw_views(shown, method.views, size, np.random.default_rng([config.seed, SEEDS["views"], draw]))
        views = [view.contiguous(memory_format=torch.channels_last) if view.ndim == 4 else view for view in views]
        parts = module(views)
        return {"loss": loss_of_batch(network, parts, torch.from_numpy(numbers).to(where), step / config.steps)}

    train(network, loss_of, config, out, identity=dict(identity or {}), **how)
    return network


class Order:
    """Which pictures are in a batch: every epoch in an order of its own, by the seed and the draw alone.

    Args:
        count: N pictures.
        batch: of them a batch; what is left of an epoch is left out.
        seed: of the orders.
    """

    def __init__(self, count: int, batch: int, seed: int):
        self.count, self.size, self.seed = count, batch, seed
        self.epoch, self.order = -1, np.empty(0, np.int64)

    def batch(self, draw: int) -> np.ndarray:
        """The numbers of a batch, sorted."""
        epoch, place = divmod(draw, self.count // self.size)
        if epoch != self.epoch:
            rng = np.random.default_rng([self.seed, SEEDS["order"], epoch])
            self.epoch, self.order = epoch, rng.permutation(self.count)
        return np.sort(self.order[place * self.size : (place + 1) * self.size])


def folded_luma(visual: Any) -> Any:
    """CMC's tower of lightness as a tower of RGB: its first convolution reads the luma, which is nearly L / 100."""
    with torch.no_grad():
        weight = visual.conv1.weight
        weight.copy_(weight.sum(1, keepdim=True) * weight.new_tensor(LUMA).view(1, 3, 1, 1))
    return visual


def fingerprint(pictures: np.ndarray) -> dict[str, Any]:
    """How many pictures there are, and a hash of at most 256 of them evenly spread."""
    some = np.linspace(0, len(pictures) - 1, min(256, len(pictures))).astype(int)
    return {"count": len(pictures), "sha256": hashlib.sha256(np.array(pictures[some]).tobytes()).hexdigest()}


@torch.no_grad()
def features(tower: ImageTower, pictures: np.ndarray, batch: int = 256) -> Tensor:
    """What a tower makes of (N, 3, R, R) uint8 pictures, resampled to its size: (N, D) float32, not normalised."""
    size = tower.config["vision_cfg"]["image_size"]
    model, found = Pixels(tower.visual), []
    where = next(model.parameters()).device
    for first in range(0, len(pictures), batch):
        pixels = torch.from_numpy(np.array(pictures[first : first + batch])).to(where).float() / 255
        pixels = torch.nn.functional.interpolate(pixels, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
        found.append(model(pixels.contiguous(memory_format=torch.channels_last)).float().cpu())
    return torch.cat(found)
