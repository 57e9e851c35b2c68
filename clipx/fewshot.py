"""Few-shot classification: a few labelled embeddings of any modality become a classifier.

``CacheModel`` (Tip-Adapter) trains nothing, ``LinearProbe`` is CLIP's own protocol, ``InterViewAdapter`` (PointCLIP V1)
learns to mix the views of one thing. Each answers as a ``ZeroShotClassifier`` does, by ``labels``, ``logits`` and
``predict``, and lies on disk as one .safetensors file.

Where a thing is seen from V sides, each of the three can take the views themselves in place of their mean, which loses
much: an embedding then holds N * V rows, sample by sample and the views in one order, for N targets and N answers. Of
(N, V, D) vectors that is ``Embedding(vectors.flatten(0, 1), space.id, "pointcloud")``.

>>> zeroshot = ZeroShotClassifier(space, classes)                                          # doctest: +SKIP
>>> shots = few_shot_draw(targets, 16, seed=0)                                             # doctest: +SKIP
>>> cache = CacheModel.fit(train[shots], targets[shots], zeroshot.weights, space.logit_scale)     # doctest: +SKIP
>>> cache.predict(test, top_k=1)[0][0].label                                               # doctest: +SKIP
'chair'
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipx.embedding import Embedding
from clipx.errors import FileError, InputError, SpaceMismatchError
from clipx.files import read_bytes
from clipx.zeroshot import Prediction


def few_shot_draw(labels: Sequence[Hashable], shots: int, seed: int = 0) -> list[int]:
    """Draw ``shots`` rows of every class.

    A class's draw depends on the seed, its name and its own rows only, not on what other classes there are or in what
    order. Draws of one seed are nested: the first 4 of 16 shots are the draw of 4 shots, so that
    ``set(few_shot_draw(labels, 20)) - set(few_shot_draw(labels, 16))`` are 4 rows a class to validate on.

    Args:
        labels: N class names or numbers.
        shots: rows of each class, at least 1.
        seed: at least 0; same seed, same rows.

    Returns:
        shots * K row numbers in rising order.

    Raises:
        InputError: no labels, ``shots`` or ``seed`` out of range, or classes with fewer rows, all in one line.
    """
    if shots < 1 or seed < 0:
        raise InputError(f"shots must be at least 1 and seed at least 0, got {shots} and {seed}")
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(labels.tolist() if isinstance(labels, Tensor | np.ndarray) else labels):
        rows.setdefault(str(label), []).append(row)
    if not rows:
        raise InputError("there are no labels to draw from")
    if short := [f"{name} {len(own)}" for name, own in rows.items() if len(own) < shots]:
        raise InputError(f"too few rows for {shots} shots a class: {', '.join(short)}", remedy="draw fewer shots")
    drawn: list[int] = []
    for name, own in rows.items():
        order = np.random.default_rng([seed, *hashlib.sha256(name.encode()).digest()]).permutation(len(own))
        drawn += [own[i] for i in order[:shots]]
    return sorted(drawn)


class FewShotClassifier(ABC):
    """What the classifiers below share; made by their ``fit``, or from a file by ``load_classifier``.

    Attributes:
        labels: K class names, in the order of the logits.
        space_id: the only space whose embeddings it takes.
        views: V, the rows of an embedding that make one input.
        settings: how it came about (hyper-parameters, the split they were chosen on), as JSON has it; saved with it.
    """

    kind: ClassVar[str]
    labels: tuple[str, ...]
    space_id: str
    views: int
    settings: dict[str, Any]

    def logits(self, embedding: Embedding) -> Tensor:
        """Scores of every input with every label: N * V rows -> (N, K), on the embedding's device.

        Gradients flow to the vectors.

        Raises:
            InputError: rows that are no multiple of V, or vectors of another length.
            SpaceMismatchError: the embedding lives in another space.
        """
        return self._scores(self._read(embedding))[0]

    def predict(self, embedding: Embedding, top_k: int | None = None) -> list[list[Prediction]]:
        """For each of the N inputs, its best ``top_k`` candidates (all of them by default), best first.

        ``probability`` is the softmax of the logits, by which they are ranked; ``cosine`` that of the input with the
        label's class weight.

        Raises:
            InputError: ``top_k`` below 1, or as ``logits``. SpaceMismatchError: as ``logits``.
        """
        if top_k is not None and top_k < 1:
            raise InputError(f"top must be at least 1, got {top_k}")
        with torch.no_grad():
            logits, cosines = self._scores(self._read(embedding))
            table = zip(cosines.tolist(), logits.softmax(dim=1).tolist(), strict=True)
            best = logits.argsort(dim=1, descending=True, stable=True)[:, :top_k].tolist()
        return [
            [Prediction(self.labels[k], cosine[k], probability[k], rank) for rank, k in enumerate(order, start=1)]
            for order, (cosine, probability) in zip(best, table, strict=True)
        ]

    def save(self, path: str | PathLike) -> Path:
        """Write one .safetensors file, its facts as JSON in the header: beside first, then renamed.

        Raises:
            FileError: another suffix, or the file cannot be written.
        """
        from safetensors.torch import save as to_bytes

        path = Path(path)
        if path.suffix != SUFFIX:
            raise FileError(f"suffix {path.suffix!r} is not {SUFFIX}", where=path)
        tensors, facts = self._state()
        about = {name: getattr(self, name) for name in ("kind", "labels", "space_id", "views", "settings")}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_suffix(".part")
            beside.write_bytes(to_bytes(tensors, metadata={"clipx": json.dumps(about | facts)}))
            beside.replace(path)
        except OSError as error:
            raise FileError(f"cannot be written ({error.strerror})", where=path) from error
        return path

    def _read(self, embedding: Embedding) -> Tensor:
        """N * V rows -> (N, V, D)."""
        return _by_sample(embedding, self.space_id, self._dim, self.views)

    @property
    @abstractmethod
    def _dim(self) -> int:
        """D, the dimension of the space."""

    @abstractmethod
    def _scores(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(N, V, D) -> (N, K) logits, and (N, K) cosines with the class weights."""

    @abstractmethod
    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors of a file, and what it has to say besides the attributes above."""

    @classmethod
    @abstractmethod
    def _restore(cls, tensors: dict[str, Tensor], about: dict[str, Any]) -> Self: ...


SUFFIX = ".safetensors"


def load_classifier(path: str | PathLike) -> FewShotClassifier:
    """Read what ``save`` wrote. Nothing in the file is run.

    Raises:
        FileError: missing, unreadable, or not such a file.
    """
    from safetensors.torch import load as from_bytes

    data = read_bytes(path, (SUFFIX,), max_bytes=4 * 2**30)
    try:
        tensors = from_bytes(data)
        about = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["clipx"])
        return _KINDS[about["kind"]]._restore(tensors, about)
    except Exception as error:  # whatever safetensors, json or torch trip over in a damaged or foreign file
        raise FileError(
            f"is no few-shot classifier ({error.__class__.__name__}: {error})",
            where=path,
            remedy="fit it again",
        ) from error


# ------------------------------------------------------------------------------------------------------------ the cache


class CacheModel(FewShotClassifier):
    """Training-free Tip-Adapter: the shots vote for their classes, the nearer the louder, on top of the text.

    logits = logit_scale * f w^T + alpha * exp(-beta (1 - f k^T)) L, with the input f, the class weights w, the shots k
    and their one-hot labels L. Of V views, f w^T and f k^T are the means over the views.

    Method: Zhang et al., "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification", ECCV 2022.
    alpha = 1 and beta = 5.5 are where the released code begins; it then searches better ones on a validation split,
    while here they stay.

    Args:
        keys: S shots, V rows each.
        targets: (S,) their classes, integers in [0, K); every class at least once.
        weights: K class weights whose ids are the labels, such as ``ZeroShotClassifier.weights``; K >= 2.
        logit_scale: of the space.
        views: V, the rows of each shot and input.
        alpha: loudness of the shots, >= 0.
        beta: how fast it falls with distance, >= 0.
        settings: more to remember.

    Raises:
        InputError: a class without a shot, mismatched lengths, a number out of range.
        SpaceMismatchError: shots and weights of two spaces.
    """

    kind = "cache"

    def __init__(
        self,
        keys: Embedding,
        targets: Sequence[int] | Tensor,
        weights: Embedding,
        logit_scale: float,
        views: int = 1,
        alpha: float = 1.0,
        beta: float = 5.5,
        settings: Mapping[str, Any] | None = None,
    ):
        self.labels, self.space_id, self.views = _class_names(weights.ids), weights.space_id, views
        self.keys, self.weights, self.logit_scale = keys, weights, _positive(logit_scale)
        self.targets = _checked_targets(targets, len(self._read(keys)), self.labels)
        if not (0 <= alpha < math.inf and 0 <= beta < math.inf):
            raise InputError(f"alpha and beta must be finite and at least 0, got {alpha} and {beta}")
        self.alpha, self.beta = float(alpha), float(beta)
        self.settings = {**(settings or {}), "alpha": self.alpha, "beta": self.beta, **_counts(self.targets, views)}

    @classmethod
    def fit(
        cls,
        embedding: Embedding,
        targets: Sequence[int] | Tensor,
        weights: Embedding,
        logit_scale: float,
        views: int = 1,
        settings: Mapping[str, Any] | None = None,
    ) -> Self:
        """The cache of these shots, with the published alpha and beta: see the class."""
        return cls(embedding, targets, weights, logit_scale, views, settings=settings)

    @property
    def _dim(self) -> int:
        return self.weights.vectors.shape[1]

    def _scores(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        keys = self._read(self.keys).to(inputs.device)
        votes = F.one_hot(self.targets.to(inputs.device), len(self.labels)).to(inputs)  # (S, K)
        affinity = inputs.flatten(1) @ keys.flatten(1).T / self.views  # (N, S)
        cosines = inputs.mean(dim=1) @ self.weights.vectors.to(inputs.device).T  # (N, K)
        return self.logit_scale * cosines + self.alpha * torch.exp(-self.beta * (1 - affinity)) @ votes, cosines

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {"keys": self.keys.vectors, "targets": self.targets, "weights": self.weights.vectors}
        facts = {"logit_scale": self.logit_scale, "modality": self.keys.modality, "ids": self.keys.ids}
        return tensors, facts

    @classmethod
    def _restore(cls, tensors: dict[str, Tensor], about: dict[str, Any]) -> Self:
        keys = Embedding(tensors["keys"], about["space_id"], about["modality"], about["ids"])
        weights = Embedding(tensors["weights"], about["space_id"], "text", about["labels"])
        settings = about["settings"]
        alpha, beta = settings["alpha"], settings["beta"]
        return cls(keys, tensors["targets"], weights, about["logit_scale"], about["views"], alpha, beta, settings)


# ------------------------------------------------------------------------------------------------------------ the probe


class LinearProbe(FewShotClassifier):
    """Multinomial logistic regression on cached embeddings, as CLIP's authors measured their features.

    ``fit`` minimises C * sum of cross-entropies + |W|^2 / 2 (the biases go free) by L-BFGS in float64, at most 1,000
    iterations. It knows no text: its class weights are the rows of W. V views it reads side by side, over sqrt(V), so
    that an input has unit norm again.

    Protocol: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, A.3.

    Args:
        labels: K >= 2 class names.
        space_id: of the space its inputs live in.
        weight: (K, V * D) float32.
        bias: (K,) float32.
        views: V, the rows of each input.
        settings: what to remember.

    Raises:
        InputError: fewer than two classes, mismatched shapes or values that are not finite.
    """

    kind = "linear_probe"

    def __init__(
        self,
        labels: Sequence[str],
        space_id: str,
        weight: Tensor,
        bias: Tensor,
        views: int = 1,
        settings: Mapping[str, Any] | None = None,
    ):
        self.labels, self.space_id, self.views = _class_names(labels), space_id, views
        self.weight, self.bias, self.settings = weight, bias, dict(settings or {})
        k = len(self.labels)
        if weight.ndim != 2 or len(weight) != k or bias.shape != (k,) or views < 1 or weight.shape[1] % views:
            raise InputError(
                f"expected ({k}, D) of {views} views and ({k},), got {tuple(weight.shape)} and {tuple(bias.shape)}"
            )
        if not (bool(weight.isfinite().all()) and bool(bias.isfinite().all())):
            raise InputError("the weights of a linear probe must be finite")

    @classmethod
    def fit(
        cls,
        embedding: Embedding,
        targets: Sequence[int] | Tensor,
        labels: Sequence[str],
        views: int = 1,
        validation: tuple[Embedding, Sequence[int] | Tensor] | None = None,
        split: str | None = None,
        c: float | None = None,
        max_iter: int = 1000,
        settings: Mapping[str, Any] | None = None,
    ) -> Self:
        """Fit with a given C, or with the C that does best on a validation split.

        The sweep is CLIP's: C = 1e-6, 1e-4, ... 1e6, then halved intervals about the best, down to eight values a
        decade. Of equal accuracies the lower cross-entropy wins. The validation rows are not trained on afterwards.

        Args:
            embedding: N training samples, V rows each.
            targets: (N,) their classes, integers in [0, K); every class at least once.
            labels: K >= 2 class names.
            views: V.
            validation: embedding and targets of other rows, none of which may be a test row. Give this or ``c``.
            split: with ``validation``, the name of that split; it goes into ``settings`` with all that was tried.
            c: C > 0, the inverse of the strength of the penalty.
            max_iter: of L-BFGS. Whether it came to rest before stands in ``settings``.
            settings: more to remember.

        Raises:
            InputError: a class without a row, mismatched lengths, not exactly one of ``validation`` and ``c``, a
                validation split without a name, a number out of range.
            SpaceMismatchError: training and validation vectors of two spaces.
        """
        names, dim = _class_names(labels), embedding.vectors.shape[1]

        def read(some: Embedding) -> Tensor:  # (N, V * D)
            return _side_by_side(_by_sample(some, embedding.space_id, dim, views)).detach().cpu().double()

        vectors = read(embedding)
        classes = _checked_targets(targets, len(vectors), names)
        if (validation is None) == (c is None):
            raise InputError("a linear probe needs either a C or a validation split to choose it on")
        if max_iter < 1 or (c is not None and not 0 < c < math.inf):
            raise InputError(f"C must be above 0 and max_iter at least 1, got {c} and {max_iter}")

        @cache
        def fitted(value: float) -> tuple[Tensor, Tensor, bool]:
            return _logistic_regression(vectors, classes, len(names), value, max_iter)

        chosen: dict[str, Any] = {"C": c}
        if validation is not None:
            if not split:
                raise InputError("the validation split needs a name", where="split", remedy="say which rows it is")
            held = read(validation[0])
            truth = _checked_targets(validation[1], len(held), names, every_class=False)

            def score(value: float) -> tuple[float, float]:
                weight, bias, _ = fitted(value)
                logits = held @ weight.T + bias
                return float((logits.argmax(dim=1) == truth).double().mean()), -float(F.cross_entropy(logits, truth))

            best, tried = _sweep(score)
            chosen = {
                "C": best,
                "validation": split,
                "validation_samples": len(held),
                "swept": [{"C": value, "acc1": tried[value]} for value in sorted(tried)],
            }
        weight, bias, at_rest = fitted(float(chosen["C"]))
        how = {**chosen, "max_iter": max_iter, "converged": at_rest, **_counts(classes, views)}
        return cls(names, embedding.space_id, weight.float(), bias.float(), views, {**(settings or {}), **how})

    @property
    def _dim(self) -> int:
        return self.weight.shape[1] // self.views

    def _scores(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        vectors, weight = _side_by_side(inputs), self.weight.to(inputs.device)
        return vectors @ weight.T + self.bias.to(inputs.device), vectors @ F.normalize(weight, dim=1).T

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"weight": self.weight, "bias": self.bias}, {}

    @classmethod
    def _restore(cls, tensors: dict[str, Tensor], about: dict[str, Any]) -> Self:
        weight, bias = tensors["weight"].float(), tensors["bias"].float()
        return cls(about["labels"], about["space_id"], weight, bias, about["views"], about["settings"])


def _side_by_side(samples: Tensor) -> Tensor:
    """(N, V, D) of unit vectors -> (N, V * D) of unit norm."""
    return samples.flatten(1) / math.sqrt(samples.shape[1])


def _logistic_regression(
    vectors: Tensor, targets: Tensor, classes: int, c: float, max_iter: int
) -> tuple[Tensor, Tensor, bool]:
    """(N, D) float64, (N,) -> weight (K, D), bias (K,), and whether the gradient came to rest."""
    n, d = vectors.shape
    table = torch.zeros(classes, d + 1, dtype=vectors.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [table],
        max_iter=max_iter,
        max_eval=10 * max_iter,
        tolerance_grad=1e-7,
        tolerance_change=1e-14,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:  # divided by C N, so that one tolerance serves every C
        optimizer.zero_grad()
        weight, bias = table[:, :d], table[:, d]
        value = F.cross_entropy(vectors @ weight.T + bias, targets) + weight.square().sum() / (2 * c * n)
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
        loss()
    rest = table.grad is not None and float(table.grad.abs().max()) <= 1e-5
    found = table.detach()
    return found[:, :d], found[:, d], rest


def _sweep(score: Callable[[float], tuple[float, float]]) -> tuple[float, dict[float, float]]:
    """The C of the best score, and the accuracy of each C tried. Places are eighths of a decade, 1e-6 to 1e6."""
    scores: dict[int, tuple[float, float]] = {}

    def best(places: Sequence[int]) -> int:
        scores.update({place: score(10.0 ** (place / 8)) for place in places})
        return max(sorted(scores), key=scores.__getitem__)

    peak, step = best(range(-48, 49, 16)), 16
    while step > 1:
        step //= 2
        peak = best([place for place in (peak - step, peak + step) if -48 <= place <= 48])
    return 10.0 ** (peak / 8), {10.0 ** (place / 8): accuracy for place, (accuracy, _) in scores.items()}


# ---------------------------------------------------------------------------------------------------------- the adapter


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
    the published ones but for two things. The released code feeds vectors before they are normalised, while an
    embedding's are of unit norm. And it keeps the epoch that does best on the test split, while here it is the last.

    Args:
        network: the adapter, of the space's dimension.
        weights: K class weights whose ids are the labels, such as ``ZeroShotClassifier.weights``; K >= 2.
        logit_scale: of the space.
        settings: what to remember.

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
        self.labels, self.space_id, self.views = _class_names(weights.ids), weights.space_id, network.views
        self.network, self.weights, self.logit_scale = (
            network.eval().requires_grad_(False),
            weights,
            _positive(logit_scale),
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
            settings: more to remember.
            on_epoch: told the epoch and its mean loss after each.

        Raises:
            InputError: a class without a sample, mismatched lengths, a loss that is no longer finite.
            SpaceMismatchError: views and weights of two spaces.
        """
        config, names = config or AdapterConfig(), _class_names(weights.ids)
        classes, scale = _checked_targets(targets, None, names), _positive(logit_scale)
        dim = weights.vectors.shape[1]

        def samples(epoch: int) -> Tensor:  # (N, V, D)
            with torch.random.fork_rng():  # a maker that seeds the generator must not make our draws repeat
                found = embedding if isinstance(embedding, Embedding) else embedding(epoch)
            read = _by_sample(found, weights.space_id, dim, views).detach()
            _checked_targets(classes, len(read), names)
            return read

        with torch.random.fork_rng(), torch.enable_grad():  # dropout knows no generator but the process's own
            torch.manual_seed(config.seed)
            first = samples(0)
            network = AdapterNetwork(views, dim, config.ratio, config.fusion, config.dropout).to(first.device)
            optimizer = torch.optim.SGD(
                network.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
            )
            text, classes = weights.vectors.detach().to(first.device), classes.to(first.device)
            loss = math.nan
            for epoch in range(config.epochs):
                for group in optimizer.param_groups:
                    group["lr"] = _learning_rate(epoch, config)
                shown = samples(epoch) if epoch else first
                loss = _train_epoch(network, optimizer, shown, classes, scale, text, config)
                if not math.isfinite(loss):
                    raise InputError(f"the loss is {loss} in epoch {epoch}", remedy="lower the learning rate")
                if on_epoch is not None:
                    on_epoch(epoch, loss)
        how = {"augmented": not isinstance(embedding, Embedding), "loss": loss, **_counts(classes, views)}
        return cls(network, weights, scale, {**(settings or {}), **asdict(config), **how})

    @property
    def _dim(self) -> int:
        return self.network.dim

    def _scores(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        adapted = self.network.to(inputs.device)(inputs)  # (N, V * D)
        cosines = _view_cosines(adapted, self.weights.vectors.to(inputs.device))
        return self.logit_scale * cosines, cosines

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        facts = {"logit_scale": self.logit_scale, "ratio": self.network.ratio}
        return {**tensors, "weights": self.weights.vectors}, facts

    @classmethod
    def _restore(cls, tensors: dict[str, Tensor], about: dict[str, Any]) -> Self:
        weights = Embedding(tensors.pop("weights"), about["space_id"], "text", about["labels"])
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
    """Batch normalisation over samples and views alike."""

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


def _learning_rate(epoch: int, config: AdapterConfig) -> float:
    """The cosine's own clock starts after the warm-up and is set to the whole number of epochs, as released."""
    if epoch < config.warmup_epochs:
        return config.warmup_lr
    return config.lr * (1 + math.cos(math.pi * (epoch - config.warmup_epochs) / config.epochs)) / 2


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


# --------------------------------------------------------------------------------------------------------------- checks

_KINDS: dict[str, type[FewShotClassifier]] = {cls.kind: cls for cls in (CacheModel, LinearProbe, InterViewAdapter)}


def _by_sample(embedding: Embedding, space_id: str, dim: int, views: int) -> Tensor:
    """N * V rows of that space -> (N, V, D)."""
    if embedding.space_id != space_id:
        raise SpaceMismatchError(
            f"cannot compare {embedding.modality} vectors of space {embedding.space_id} with those of space {space_id}",
            remedy="encode both with the same space",
        )
    if embedding.vectors.shape[1] != dim:
        raise InputError(f"vectors must be (N, {dim}), got {tuple(embedding.vectors.shape)}")
    if views < 1 or len(embedding) % views:
        raise InputError(f"{len(embedding)} rows are no multiple of {views} views")
    return embedding.vectors.unflatten(0, (len(embedding) // views, views))


def _counts(targets: Tensor, views: int) -> dict[str, int]:
    return {"samples": len(targets), "views": views}


def _class_names(labels: Sequence[str]) -> tuple[str, ...]:
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise InputError(f"a classifier needs at least two classes, all different, got {list(labels)}")
    return tuple(labels)


def _checked_targets(
    targets: Sequence[int] | Tensor, samples: int | None, labels: Sequence[str], every_class: bool = True
) -> Tensor:
    """(N,) int64 on the CPU, of N >= 1 samples, in [0, K)."""
    k = len(labels)
    if not len(targets) or (samples is not None and len(targets) != samples):
        raise InputError(f"{len(targets)} targets for {'any' if samples is None else samples} samples")
    try:
        classes = torch.as_tensor(targets).cpu()
    except (TypeError, ValueError, RuntimeError):  # words, or rows of different lengths
        classes = torch.empty(0, 0)
    if classes.ndim != 1 or classes.is_floating_point() or classes.is_complex() or classes.dtype == torch.bool:
        raise InputError(f"targets must be one row of integers in [0, {k})", remedy="number the classes by the labels")
    classes = classes.long()
    if int(classes.min()) < 0 or int(classes.max()) >= k:
        raise InputError(f"targets must be in [0, {k}), got {int(classes.min())} to {int(classes.max())}")
    if every_class and (empty := [labels[i] for i in range(k) if not bool((classes == i).any())]):
        raise InputError(f"classes without a sample: {', '.join(empty)}", remedy="add some, or leave the classes out")
    return classes


def _positive(logit_scale: float) -> float:
    if not 0 < logit_scale < math.inf:
        raise InputError(f"logit_scale must be above 0, got {logit_scale}")
    return float(logit_scale)
