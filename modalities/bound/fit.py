"""Fitting a map from an encoder's features to vectors of a joint space: in closed form, or with a perceptron beside it.

The targets are vectors of the space: of captions or labels (the text is the pivot, as in LanguageBind, Zhu et al.,
ICLR 2024, arXiv 2310.01852), or of files that belong to the samples, such as photos of what sounds (ImageBind, Girdhar
et al., CVPR 2023, arXiv 2305.05665).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from clipx._arrays import TINY, unit_rows
from clipx._batches import batches
from clipx.errors import InputError
from clipx.modalities.bound.map import BoundMap

if TYPE_CHECKING:
    from clipx.modalities.bound.encoders import Encoder
    from clipx.space import JointSpace

RIDGES = tuple(10.0**power for power in range(-4, 4))
FOLDS = 5
JUDGED = 4096  # samples that choose the ridge
KINDS = ("linear", "mlp")
SCALE = 20.0  # on the cosine in the contrastive loss of the perceptron


@dataclass(frozen=True)
class BindConfig:
    """What the map is, and how it is fitted."""

    kind: str = field(default="linear", metadata={"help": "linear (in closed form), or mlp: a perceptron beside it"})
    ridge: float | None = field(default=None, metadata={"help": "of the linear map; default: by cross-validation"})
    hidden: int = field(default=256, metadata={"help": "width of the perceptron"})
    steps: int = field(default=300, metadata={"help": "optimiser steps of the perceptron"})
    seed: int = field(default=0, metadata={"help": "of folds, weights and batches"})

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"no kind {self.kind!r}", where="bind", remedy=f"one of {', '.join(KINDS)}")
        if self.hidden < 1 or self.steps < 1 or self.seed < 0:
            raise InputError("hidden and steps must be at least 1, the seed 0", where="bind")
        if self.ridge is not None and not 0 < self.ridge < math.inf:
            raise InputError(f"ridge must be above 0, got {self.ridge}", where="bind")


def fit_map(
    encoder: Encoder,
    name: str,
    features: np.ndarray,
    targets: np.ndarray,
    space: JointSpace,
    config: BindConfig | None = None,
    out: str | PathLike[str] | None = None,
    *,
    resume: bool = False,
) -> BoundMap:
    """Fit a map.

    Args:
        encoder: whose features they are.
        name: what ``get_encoder`` takes to get it again.
        features: (N, E) of N samples.
        targets: (N, D) unit vectors of the space that they shall come near to; equal rows mean the same thing.
        space: of the targets.
        config: what is fitted, and how.
        out: a folder for the checkpoint and the loss curve of a perceptron, which needs one.
        resume: go on from the checkpoint there.

    Raises:
        InputError: fewer than two different targets, wrong shapes, or values that are not finite.
    """
    config = config or BindConfig()
    features, targets = np.asarray(features, np.float64), np.asarray(targets, np.float64)
    if features.ndim != 2 or targets.shape != (len(features), space.dim):
        raise InputError(f"features (N, E) and targets (N, {space.dim}), got {features.shape} and {targets.shape}")
    if not (np.isfinite(features).all() and np.isfinite(targets).all()):
        raise InputError("features and targets must be finite", where="bind")
    kinds = len(np.unique(targets.round(6), axis=0))
    if kinds < 2:
        raise InputError(f"{len(features)} samples of {kinds} meanings, a map needs two", where="bind")
    mean = features.mean(0)
    scale = max(float(np.sqrt(((features - mean) ** 2).mean())), TINY)
    z = (features - mean) / scale
    ridge = config.ridge or _chosen_ridge(z, targets, config.seed)
    weight, bias = ridge_map(z, targets, ridge)
    arrays = {"mean": mean, "scale": np.array(scale), "weight": weight, "bias": bias}
    settings = asdict(config) | {"ridge": ridge, "samples": len(features), "meanings": kinds}
    if config.kind == "mlp":
        if out is None:
            raise InputError("a perceptron needs a folder for its checkpoint", where="bind")
        digest = hashlib.sha256(features.tobytes() + targets.tobytes()).hexdigest()
        identity = {"bind": asdict(config), "encoder": encoder.id, "space": space.id, "samples": digest}
        arrays |= _perceptron(z, targets, weight, bias, config, out, resume, identity)
    prompts = getattr(encoder, "prompts", "photo")
    single = {key: np.asarray(value, np.float32) for key, value in arrays.items()}
    return BoundMap(single, name, encoder.id, space.id, prompts, settings)


def ridge_map(z: np.ndarray, targets: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression: (E, D) weight and (D,) bias that minimise |z W + b - targets|^2 / N + ridge |W|^2."""
    centre, offset = z.mean(0), targets.mean(0)
    x, y = z - centre, targets - offset
    if len(x) < x.shape[1]:  # by samples, of which there are fewer
        weight = x.T @ np.linalg.solve(x @ x.T + len(x) * ridge * np.eye(len(x)), y)
    else:
        weight = np.linalg.solve(x.T @ x + len(x) * ridge * np.eye(x.shape[1]), x.T @ y)
    return weight, offset - centre @ weight


def _chosen_ridge(z: np.ndarray, targets: np.ndarray, seed: int) -> float:
    """That of ``RIDGES`` whose maps put most held-out samples nearest to their own meaning; of equals, by cosine.

    Of more than ``JUDGED`` samples, so many decide, drawn at random: each is compared with all their meanings.
    """
    judged = np.random.default_rng(seed).permutation(len(z))[:JUDGED]
    z, targets, order = z[judged], targets[judged], np.arange(len(judged))
    meanings, own = np.unique(targets.round(6), axis=0, return_inverse=True)
    scores: list[tuple[float, float]] = []
    for ridge in RIDGES:
        right, cosine = 0, 0.0
        for fold in range(min(FOLDS, len(z))):
            held = order[fold :: min(FOLDS, len(z))]
            kept = np.setdiff1d(order, held)
            weight, bias = ridge_map(z[kept], targets[kept], ridge)
            for some in batches(held, 256):  # the table of all samples with all meanings would not fit
                rows = unit_rows(z[some] @ weight + bias)
                right += int(((rows @ meanings.T).argmax(1) == own[some].ravel()).sum())
                cosine += float((rows * targets[some]).sum())
        scores.append((right, cosine))
    return RIDGES[max(range(len(RIDGES)), key=scores.__getitem__)]


def _perceptron(
    z: np.ndarray,
    targets: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    config: BindConfig,
    out: str | PathLike[str],
    resume: bool,
    identity: dict[str, Any],
) -> dict[str, np.ndarray]:
    """down (E, H), down_bias (H,) and up (H, D), which begins at zero: training starts at the linear map."""
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F

    from clipx.training import TrainConfig, contrastive_loss, train

    x, y = torch.from_numpy(z).float(), torch.from_numpy(targets).float()
    linear, offset = torch.from_numpy(weight).float(), torch.from_numpy(bias).float()
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(config.seed)
        net = nn.Sequential(
            nn.Linear(x.shape[1], config.hidden), nn.ReLU(), nn.Linear(config.hidden, y.shape[1], False)
        )
    nn.init.zeros_(cast(nn.Linear, net[2]).weight)

    def loss_of(module: nn.Module, step: int, draw: int) -> dict[str, Tensor]:
        make = torch.Generator().manual_seed(config.seed * 1_000_003 + draw)
        some = torch.randperm(len(x), generator=make)[:256]
        rows = F.normalize(x[some] @ linear + offset + module(x[some]), dim=1)
        wanted = F.normalize(y[some], dim=1)
        same = (wanted @ wanted.T > 1 - 1e-5).float()
        return {
            "loss": contrastive_loss(rows, wanted, rows.new_tensor(SCALE), same) + 1 - (rows * wanted).sum(1).mean()
        }

    plan = TrainConfig(
        steps=config.steps, batch_size=256, lr=1e-3, weight_decay=0.1, warmup=max(1, config.steps // 10), ema=0.99,
        seed=config.seed, checkpoint_every=max(1, config.steps // 2),
    )  # fmt: skip
    train(net, loss_of, plan, out, identity=identity, resume=resume)
    state = {name: value.detach().cpu().numpy() for name, value in net.state_dict().items()}
    return {"down": state["0.weight"].T, "down_bias": state["0.bias"], "up": state["2.weight"].T}


def captions_to_targets(space: JointSpace, texts: Sequence[str], prompts: Any) -> np.ndarray:
    """(N, D) the unit vectors of texts: of labels in the mean of prompts, see ``clipx.prompts``."""
    from clipx.zeroshot import ZeroShotClassifier

    names = list(dict.fromkeys(texts))
    rows, place = ZeroShotClassifier(space, names, prompts).weights.vectors, {name: i for i, name in enumerate(names)}
    return rows[[place[text] for text in texts]]
