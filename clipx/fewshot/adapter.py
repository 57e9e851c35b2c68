"""PointCLIP V1's inter-view adapter."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipx.embedding import Embedding
from clipx.errors import InputError
from clipx.fewshot.base import FewShotClassifier, Shots, by_sample, checked_targets, class_names, counts, positive
from clipx.fewshot.schedule import rate_of


@dataclass(frozen=True)
class AdapterConfig:
    """PointCLIP V1's published training of its inter-view adapter: SGD, one constant warm-up, then cosine by epoch."""

    epochs: int = field(default=250, metadata={"help": "passes over the shots"})
    batch_size: int = field(default=32, metadata={"help": "samples a step; what is left over at the end is skipped"})
    lr: float = field(default=0.01, metadata={"help": "peak learning rate of SGD"})
    momentum: float = field(default=0.9, metadata={"help": "of SGD"})
    weight_decay: float = field(default=5e-4, metadata={"help": "on every parameter"})
    warmup_epochs: int = field(default=1, metadata={"help": "epochs at the warm-up's learning rate"})
    warmup_lr: float = field(default=1e-5, metadata={"help": "that learning rate"})
    smoothing: float = field(default=0.2, metadata={"help": "probability that the loss gives to the wrong classes"})
    ratio: float = field(default=0.6, metadata={"help": "share of the adapted features, in [0, 1]"})
    fusion: float = field(default=0.5, metadata={"help": "where each view's learned factor begins"})
    dropout: float = field(default=0.075, metadata={"help": "in [0, 1)"})
    seed: int = field(default=0, metadata={"help": "seed of weights, order and dropout"})

    def __post_init__(self):
        if self.epochs < 1 or self.batch_size < 2 or self.warmup_epochs < 0 or self.seed < 0:
            raise InputError("an adapter needs epochs >= 1, batch_size >= 2, warmup_epochs >= 0 and seed >= 0")
        if not (0 <= self.ratio <= 1 and 0 <= self.dropout < 1 and 0 <= self.smoothing <= 0.5):
            raise InputError("an adapter's ratio, dropout and smoothing must be in [0, 1], [0, 1) and [0, 0.5]")
        if not all(0 <= v < math.inf for v in (self.lr, self.warmup_lr, self.momentum, self.weight_decay)):
            raise InputError("an adapter's learning rates, momentum and weight decay must be finite and at least 0")


class InterViewAdapter(FewShotClassifier):
    """PointCLIP V1's inter-view adapter: learns, from a few samples, what to make of V views of one thing.

    Method: Zhang et al., "PointCLIP: Point Cloud Understanding by CLIP", CVPR 2022. The network and its training are
    the published ones but for three things. The released code feeds vectors before they are normalised, while an
    embedding's are of unit norm. It keeps the epoch that does best on the test split, while here it is the last. And it
    augments the points again in each epoch, for which ``fit`` must be given a maker of embeddings.

    Args:
        network: the adapter, of the space's dimension.
        weights: K class weights whose ids are the labels, such as ``ZeroShotClassifier.weights``; K >= 2.
        logit_scale: of the space.
        settings: JSON values to save with the classifier.

    Raises:
        InputError: fewer than two classes, a network of another dimension or with values that are not finite.
    """

    kind = "inter_view_adapter"

    def __init__(
        self,
        network: AdapterNetwork,
        weights: Embedding,
        logit_scale: float,
        settings: Mapping[str, Any] | None = None,
    ):
        self.labels, self.space_id, self.views = class_names(weights.ids), weights.space_id, network.views
        self.network, self.weights, self.logit_scale = (
            network.eval().requires_grad_(False),
            weights,
            positive(logit_scale),
        )
        self.settings = dict(settings or {})
        if network.dim != weights.vectors.shape[1]:
            raise InputError(f"the adapter is of dimension {network.dim}, the weights {weights.vectors.shape[1]}")
        if not all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values()):
            raise InputError("the weights of an adapter must be finite")

    @classmethod
    def fit(
        cls,
        embedding: Embedding | Callable[[int], Embedding],
        targets: Sequence[int] | Tensor,
        weights: Embedding,
        logit_scale: float,
        views: int,
        config: AdapterConfig | None = None,
        settings: Mapping[str, Any] | None = None,
        on_epoch: Callable[[int, float], None] | None = None,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Train on N samples of V views each.

        Args:
            embedding: N samples, V rows each. Or who makes it: called with the epoch, 0 to epochs - 1, it returns that
                of the freshly augmented samples (PointCLIP scales, shifts and shuffles the points).
            targets: (N,) classes of the samples, integers in [0, K); every class at least once.
            weights: K class weights, see the class.
            logit_scale: of the space.
            views: V.
            config: the training; by default the published one.
            settings: JSON values to save with the classifier.
            on_epoch: called after each epoch with its number and its mean loss.
            device: where it is trained.

        Raises:
            InputError: a class without a sample, mismatched lengths, a loss that is no longer finite.
            SpaceMismatchError: views and weights of two spaces.
        """
        config, names = config or AdapterConfig(), class_names(weights.ids)
        classes, scale = checked_targets(targets, None, names), positive(logit_scale)
        dim = weights.vectors.shape[1]

        def samples(epoch: int) -> Tensor:  # (N, V, D)
            with torch.random.fork_rng():  # a maker that seeds the generator must not make our draws repeat
                found = embedding if isinstance(embedding, Embedding) else embedding(epoch)
            read = by_sample(found, weights.space_id, dim, views).detach().to(device)
            checked_targets(classes, len(read), names)
            return read

        with torch.random.fork_rng(), torch.enable_grad():  # dropout knows no generator but the process's own
            torch.manual_seed(config.seed)
            first = samples(0)
            network = AdapterNetwork(views, dim, config.ratio, config.fusion, config.dropout).to(first.device)
            optimizer = torch.optim.SGD(
                network.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
            )
            text, classes = torch.from_numpy(weights.vectors).to(first.device), classes.to(first.device)
            loss = math.nan
            for epoch in range(config.epochs):
                for group in optimizer.param_groups:
                    group["lr"] = rate_of(epoch, config)
                shown = samples(epoch) if epoch else first
                loss = _train_epoch(network, optimizer, shown, classes, scale, text, config)
                if not math.isfinite(loss):
                    raise InputError(f"the loss is {loss} in epoch {epoch}", remedy="lower the learning rate")
                if on_epoch is not None:
                    on_epoch(epoch, loss)
        how = {"augmented": not isinstance(embedding, Embedding), "loss": loss, **counts(classes, views)}
        return cls(network, weights, scale, {**(settings or {}), **asdict(config), **how})

    @classmethod
    def from_shots(cls, shots: Shots) -> Self:
        config = AdapterConfig(seed=shots.seed)
        return cls.fit(*shots.beside_words, config, shots.fixed, device=shots.device)

    @property
    def _dim(self) -> int:
        return self.network.dim

    def _scores(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        adapted = self.network.to(inputs.device)(inputs)  # (N, V * D)
        cosines = _view_cosines(adapted, torch.from_numpy(self.weights.vectors).to(inputs.device))
        return self.logit_scale * cosines, cosines

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        facts = {"logit_scale": self.logit_scale, "ratio": self.network.ratio}
        return {**tensors, "weights": torch.from_numpy(self.weights.vectors)}, facts

    @classmethod
    def _restore(cls, tensors: dict[str, Tensor], about: dict[str, Any]) -> Self:
        weights = Embedding(tensors.pop("weights").numpy(), about["space_id"], "text", about["labels"])
        network = AdapterNetwork(about["views"], weights.vectors.shape[1], about["ratio"])
        network.load_state_dict({name.removeprefix("network."): tensor for name, tensor in tensors.items()})
        return cls(network, weights, about["logit_scale"], about["settings"])


class AdapterNetwork(nn.Module):
    """The adapter's layers, under the names of the released code: its state dicts load as they are.

    Args:
        views: V, the views of a sample.
        dim: D, the dimension of the space.
        ratio: share of the adapted features in the sum, in [0, 1].
        fusion: where each view's learned factor begins.
        dropout: rate of both dropouts.
    """

    def __init__(self, views: int, dim: int, ratio: float = 0.6, fusion: float = 0.5, dropout: float = 0.075):
        super().__init__()
        self.views, self.dim, self.ratio = views, dim, ratio
        self.fusion_ratio = nn.Parameter(torch.full((views,), float(fusion)))
        self.global_f = nn.Sequential(
            _EachView(dim),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(views * dim, dim),
            nn.BatchNorm1d(dim),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.view_f = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, views * dim), nn.ReLU())

    def forward(self, views: Tensor) -> Tensor:
        """(N, V, D) -> (N, V * D), not normalised: each view plus what all of them together say about it."""
        together = self.global_f(views * self.fusion_ratio[:, None])  # (N, D)
        return self.ratio * self.view_f(together) + (1 - self.ratio) * views.flatten(1)


class _EachView(nn.Module):
    """Batch normalisation over samples and views together."""

    def __init__(self, dim: int):
        super().__init__()
        self.bn = nn.BatchNorm1d(dim)

    def forward(self, views: Tensor) -> Tensor:
        return self.bn(views.flatten(0, 1)).unflatten(0, views.shape[:2])


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.2) -> Tensor:
    """Mean cross-entropy with 1 - smoothing for the true class, and smoothing / (K - 1) for each of the others.

    (torch shares the smoothing out among all K classes, the true one included.)

    Args:
        logits: (N, K), K >= 2.
        targets: (N,) integers in [0, K).
        smoothing: in [0, 1 - 1 / K], beyond which the others would weigh more than the true class.
    """
    k = logits.shape[1]
    return F.cross_entropy(logits, targets, label_smoothing=smoothing * k / (k - 1))


def _view_cosines(adapted: Tensor, text: Tensor) -> Tensor:
    """(N, V * D), (K, D) unit rows -> (N, K): cosines of the views in a row with the text repeated for each."""
    views = adapted.shape[1] // text.shape[1]
    return F.normalize(adapted, dim=1) @ F.normalize(text.repeat(1, views), dim=1).T


def _train_epoch(
    network: AdapterNetwork,
    optimizer: torch.optim.Optimizer,
    samples: Tensor,
    targets: Tensor,
    scale: float,
    text: Tensor,
    config: AdapterConfig,
) -> float:
    """One pass over (N, V, D) in random order; the mean loss."""
    network.train()
    losses = []
    for batch in torch.randperm(len(samples)).to(samples.device).split(config.batch_size):
        if len(batch) < min(len(samples), config.batch_size):
            continue  # as published; batch normalisation needs no tiny batches either
        logits = scale * _view_cosines(network(samples[batch]), text)
        loss = smoothed_cross_entropy(logits, targets[batch], config.smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return math.fsum(losses) / len(losses)
