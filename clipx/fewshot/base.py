"""What the few-shot classifiers share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from clipx.embedding import Embedding
from clipx.errors import InputError, SpaceMismatchError, UnsupportedError
from clipx.fewshot.selection import FIXED
from clipx.files import write_model
from clipx.zeroshot import Prediction

if TYPE_CHECKING:
    from clipx.space import JointSpace
    from clipx.zeroshot import ZeroShotClassifier


@dataclass(frozen=True)
class Shots:
    """What a method learns from: a few labelled embeddings and nothing else.

    Args:
        embedding: S samples of V rows each.
        targets: S classes, integers into ``names``; every class at least once.
        names: K class names.
        zeroshot: the zero-shot classifier of these names, which provides text weights, prompts and the logit scale;
            None where words play no part.
        views: V.
        seed: of what the method itself draws.
        space: that of the embedding, for a method that learns through the text tower.
        settings: what a classifier records of where its shots come from.
    """

    embedding: Embedding
    targets: Sequence[int]
    names: tuple[str, ...]
    zeroshot: ZeroShotClassifier | None = None
    views: int = 1
    seed: int = 0
    space: JointSpace | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The shots of the class that has most."""
        return max(Counter(self.targets).values())

    @property
    def words(self) -> ZeroShotClassifier:
        """The zero-shot classifier. Raises InputError without one."""
        if self.zeroshot is None:
            raise InputError("this method needs the classes as words", remedy="give a space or a zeroshot classifier")
        return self.zeroshot

    @property
    def tower(self) -> JointSpace:
        """The space whose text tower is learned through. Raises InputError without one."""
        if self.space is None:
            raise InputError("this method learns through a text tower", remedy="give it the space")
        return self.space

    @property
    def device(self) -> torch.device | str:
        """Where a method trains: that of the space, else the CPU."""
        return "cpu" if self.space is None else self.space.device

    @property
    def fixed(self) -> dict[str, Any]:
        """``settings`` of a classifier whose hyperparameters are fixed beforehand."""
        return {**self.settings, "selection": FIXED}

    @property
    def beside_words(self) -> tuple[Embedding, Sequence[int], Embedding, float, int]:
        """Embedding, targets, class weights, logit scale and views, as ``fit`` of the methods with words takes them.

        Raises:
            InputError: there are no words.
        """
        return self.embedding, self.targets, self.words.weights, self.words.logit_scale, self.views


class FewShotClassifier(ABC):
    """What the classifiers below share; made by their ``fit``, or from a file by ``load_classifier``.

    A method of ``clipx eval --method`` is fitted by ``from_shots``; ``METHODS`` has their names.

    Attributes:
        kind: name of the class in saved files.
        closed_form: whether it is fitted without gradient descent, in one pass over the shots.
        uses_words: whether it cannot be fitted without the zero-shot classifier.
        uses_tower: whether it cannot be fitted without the space's text tower.
        labels: K class names, in the order of the logits.
        space_id: the only space whose embeddings it takes.
        views: V, the rows of an embedding that make one input.
        settings: how it came about (hyper-parameters, the split they were chosen on), as JSON has it; saved with it.
    """

    kind: ClassVar[str]
    closed_form: ClassVar[bool] = False
    uses_words: ClassVar[bool] = True
    uses_tower: ClassVar[bool] = False
    labels: tuple[str, ...]
    space_id: str
    views: int
    settings: dict[str, Any]

    @classmethod
    @abstractmethod
    def from_shots(cls, shots: Shots) -> Self:
        """Fit as published; what is chosen is chosen on the shots alone, see ``clipx.fewshot.selection``.

        Raises:
            InputError: shots without words or without a space where the method needs them.
            UnsupportedError: a text tower that takes no embeddings, for a method that learns through it.
        """

    def for_classes(self, zeroshot: ZeroShotClassifier) -> FewShotClassifier:
        """What was learned, applied to other classes of the same space: those of ``zeroshot``.

        Raises:
            UnsupportedError: a method whose knowledge is of its own classes only.
        """
        raise UnsupportedError(f"{self.kind} learns its own classes only, and knows nothing of others")

    def _require_same_space(self, zeroshot: ZeroShotClassifier) -> None:
        """Raise SpaceMismatchError for class names of another space."""
        if zeroshot.weights.space_id != self.space_id:
            raise SpaceMismatchError(
                f"{self.kind} was learned in space {self.space_id}, the classes are of {zeroshot.weights.space_id}",
                remedy="read the classes with the same space",
            )

    def attached(self, space: JointSpace) -> FewShotClassifier:
        """This classifier with a text tower, for one that needs it to answer or for ``for_classes``; else itself.

        Files hold no tower: what ``load_classifier`` returns is attached before it is used, whatever it is.

        Raises:
            SpaceMismatchError: another space than the classifier's.
        """
        if space.id != self.space_id:
            raise SpaceMismatchError(
                f"the classifier was fitted in space {self.space_id}, this is {space.id}",
                remedy="take that space, or fit again",
            )
        return self

    def logits(self, embedding: Embedding | Tensor) -> Tensor:
        """Scores of every input with every label: N * V rows -> (N, K).

        Args:
            embedding: an embedding, or its vectors as a tensor on any device, to which gradients flow.

        Raises:
            InputError: rows that are no multiple of V, or vectors of another length.
            SpaceMismatchError: the embedding lives in another space.
        """
        return self._scores(self._read(embedding))[0]

    def predict(self, embedding: Embedding, top_k: int | None = None) -> list[list[Prediction]]:
        """For each of the N inputs, its best ``top_k`` candidates (all of them by default), best first.

        ``probability`` is the softmax of the logits, by which they are ranked; ``cosine`` that of the input (of V
        views, their mean, or side by side where the classifier reads them so) with the label's class weight.

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
        """Write one .safetensors file, its facts as JSON in the header.

        Raises:
            FileError: another suffix, or the file cannot be written.
        """
        tensors, facts = self._state()
        about = {name: getattr(self, name) for name in ("kind", "labels", "space_id", "views", "settings")}
        return write_model(path, tensors, "clipx", about | facts)

    def _read(self, embedding: Embedding | Tensor) -> Tensor:
        """N * V rows -> (N, V, D)."""
        return by_sample(embedding, self.space_id, self._dim, self.views)

    @property
    @abstractmethod
    def _dim(self) -> int:
        """D, the dimension of the space."""

    @abstractmethod
    def _scores(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(N, V, D) -> (N, K) logits, and (N, K) cosines with the class weights."""

    @abstractmethod
    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors of a file, and what it holds besides the attributes above."""

    @classmethod
    @abstractmethod
    def _restore(cls, tensors: dict[str, Tensor], about: dict[str, Any]) -> Self: ...


def by_sample(embedding: Embedding | Tensor, space_id: str, dim: int, views: int) -> Tensor:
    """N * V rows of that space -> (N, V, D)."""
    if isinstance(embedding, Embedding) and embedding.space_id != space_id:
        raise SpaceMismatchError(
            f"cannot compare {embedding.modality} vectors of space {embedding.space_id} with those of space {space_id}",
            remedy="encode both with the same space",
        )
    rows = torch.tensor(embedding.vectors) if isinstance(embedding, Embedding) else embedding
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise InputError(f"vectors must be (N, {dim}), got {tuple(rows.shape)}")
    if views < 1 or len(embedding) % views:
        raise InputError(f"{len(embedding)} rows are no multiple of {views} views")
    return rows.unflatten(0, (len(rows) // views, views))


def pooled(samples: Tensor) -> Tensor:
    """(N, V, D) -> (N, D) unit rows: the mean of the views, as text sees them."""
    return F.normalize(samples.mean(dim=1), dim=1)


def concatenated(samples: Tensor) -> Tensor:
    """(N, V, D) -> (N, V * D) of unit norm, for methods that read the views side by side."""
    return samples.flatten(1) / math.sqrt(samples.shape[1])


def prepared(
    embedding: Embedding, targets: Sequence[int] | Tensor, space_id: str, dim: int, names: Sequence[str], views: int
) -> tuple[Tensor, Tensor]:
    """What is learned from: (N, D) unit means of the views without gradient, and (N,) classes, both on the CPU.

    Raises:
        InputError, SpaceMismatchError: see ``by_sample`` and ``checked_targets``.
    """
    x = pooled(by_sample(embedding, space_id, dim, views)).detach().cpu()
    return x, checked_targets(targets, len(x), names)


def counts(targets: Tensor, views: int) -> dict[str, int]:
    """What every classifier records of its samples."""
    return {"samples": len(targets), "views": views}


def class_names(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels, if they are at least two and all different; else InputError."""
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise InputError(f"a classifier needs at least two classes, all different, got {list(labels)}")
    return tuple(labels)


def checked_targets(
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


def positive(logit_scale: float) -> float:
    """The scale, if it is above 0 and finite; else InputError."""
    if not 0 < logit_scale < math.inf:
        raise InputError(f"logit_scale must be above 0, got {logit_scale}")
    return float(logit_scale)


def checked_facts(about: dict[str, Any]) -> dict[str, Any]:
    """What the header of a file says, if it is of the types that ``save`` writes; else InputError."""
    kinds = {"labels": list, "space_id": str, "views": int, "settings": dict}
    wrong = [name for name, kind in kinds.items() if type(about.get(name)) is not kind]
    if not wrong and (about["views"] < 1 or not all(isinstance(label, str) for label in about["labels"])):
        wrong = ["views"] if about["views"] < 1 else ["labels"]
    if wrong:
        raise InputError(f"its header has no usable {', '.join(wrong)}")
    return about


def finite(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file, those of floating types as float32. Raises InputError for values that are not finite."""
    read = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    if bad := [name for name, tensor in read.items() if not bool(tensor.isfinite().all())]:
        raise InputError(f"values that are not finite in {', '.join(bad)}")
    return read
