"""The methods by name, and fitting them: on labelled embeddings, or on draws of shots under the protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from clipx.embedding import Embedding
from clipx.errors import InputError
from clipx.fewshot.adapter import InterViewAdapter
from clipx.fewshot.ape import APE
from clipx.fewshot.ape_t import APETrained
from clipx.fewshot.base import FewShotClassifier, Shots
from clipx.fewshot.cache import CacheModel
from clipx.fewshot.clap import CLAP
from clipx.fewshot.cocoop import CoCoOp
from clipx.fewshot.coop import CoOp
from clipx.fewshot.draws import few_shot_draw
from clipx.fewshot.entropy import EntropyPrompts
from clipx.fewshot.gda import GaussianDiscriminant
from clipx.fewshot.probe import LinearProbe
from clipx.fewshot.prolip import ProLIP
from clipx.fewshot.prototype import Prototype
from clipx.fewshot.selection import SELECTIONS, stratified_folds
from clipx.fewshot.tip_adapter_f import TipAdapterF
from clipx.fewshot.view_search import ViewSearch
from clipx.prompts import Prompts
from clipx.space import JointSpace
from clipx.zeroshot import ZeroShotClassifier


@dataclass(frozen=True)
class Method:
    """One way to learn from shots.

    Args:
        classifier: what it makes.
        variant: keyword arguments of ``classifier.from_shots``, where one class is several methods.
        views: whether it reads the views of a sample separately and needs more than one.
        control: what it is a control for; empty for a method that one would use.
    """

    classifier: type[FewShotClassifier]
    variant: Mapping[str, Any] = field(default_factory=dict)
    views: bool = False
    control: str = ""

    @property
    def names_others(self) -> bool:
        """Whether what it learned can be applied to classes without shots, by ``for_classes``."""
        own = self.classifier.for_classes is FewShotClassifier.for_classes
        return not own and not self.variant.get("per_label", False)

    def fit(self, shots: Shots) -> FewShotClassifier:
        """Raises InputError, UnsupportedError: see ``FewShotClassifier.from_shots``."""
        return self.classifier.from_shots(shots, **self.variant)


METHODS: dict[str, Method] = {
    # closed forms
    "prototype": Method(Prototype, control="the means of the shots alone, without words or training"),
    "cache": Method(CacheModel),
    "ape": Method(APE),
    "gda": Method(GaussianDiscriminant),
    # trained on vectors
    "probe": Method(LinearProbe),
    "tip_adapter_f": Method(TipAdapterF),
    "ape_t": Method(APETrained),
    "clap": Method(CLAP),
    "prolip": Method(ProLIP),
    # views of a sample
    "adapter": Method(InterViewAdapter, views=True),
    "view_weights": Method(ViewSearch, views=True),
    # prompts weighed or learned through the text tower
    "entropy": Method(EntropyPrompts),
    "coop": Method(CoOp),
    "coop_middle": Method(CoOp, {"position": "middle"}),
    "coop_class": Method(CoOp, {"per_label": True}),
    "coop_class_middle": Method(CoOp, {"per_label": True, "position": "middle"}),
    "cocoop": Method(CoCoOp),
    "cocoop_noise": Method(CoCoOp, {"noise": True}, control="prompts conditioned on noise instead of the image"),
}
"""Name under ``--method`` -> the method."""

CLASSIFIERS = {method.classifier.kind: method.classifier for method in METHODS.values()}
"""Kind in saved files -> the classifier."""


def fit(
    embedding: Embedding,
    labels: Sequence[str],
    method: str = "gda",
    *,
    space: JointSpace | None = None,
    zeroshot: ZeroShotClassifier | None = None,
    prompts: Prompts = "photo",
    views: int = 1,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> FewShotClassifier:
    """A classifier from a few labelled embeddings.

    >>> birds = fit(modality.embed(photos), names, "gda", space=space)                         # doctest: +SKIP
    >>> birds.predict(modality.embed(["new.jpg"]), top_k=1)[0][0].label                        # doctest: +SKIP
    'robin'

    Args:
        embedding: S samples of V rows each.
        labels: S class names; the classes of the classifier are the different ones, sorted.
        method: a key of ``METHODS``.
        space: that of the embedding. With it, words help: the class names are read with ``prompts``.
        zeroshot: the classifier by words instead, whose labels are then the classes; every one needs a sample.
        prompts: what is said around the class names.
        views: V.
        seed: of folds and training.
        settings: JSON values to save with the classifier.

    Raises:
        InputError: an unknown method, fewer than two classes, classes without a sample, or a method that needs words
            without ``space`` or ``zeroshot``. SpaceMismatchError: an embedding of another space.
        VocabularyError: an embedded space never saw a class name.
        UnsupportedError: a text tower that takes no embeddings, for a method that learns through it.
    """
    chosen = method_named(method)
    if isinstance(labels, str):
        raise InputError("labels must be a list, one for each sample", where="fit")
    names = tuple(sorted(set(labels))) if zeroshot is None else zeroshot.labels
    if unknown := sorted(set(labels) - set(names)):
        raise InputError(f"labels that the zero-shot classifier has not: {', '.join(unknown)}", where="fit")
    if zeroshot is None and space is not None:
        zeroshot = ZeroShotClassifier(space, names, prompts)
    place = {name: k for k, name in enumerate(names)}
    about = {"method": method, **(settings or {})}
    return chosen.fit(Shots(embedding, [place[label] for label in labels], names, zeroshot, views, seed, space, about))


def cross_validated(
    embedding: Embedding,
    labels: Sequence[str],
    method: str = "gda",
    *,
    views: int = 1,
    seed: int = 0,
    **options: Any,
) -> dict[str, Any] | None:
    """The accuracy that ``fit`` reaches on samples it did not learn from: at most four folds, each held out once.

    Args:
        embedding, labels, method, views, seed, options: see ``fit``.

    Returns:
        ``acc1``, ``folds`` and ``n``; None where a class has one sample, which cannot be held out.
    """
    names = sorted(set(labels))
    targets = torch.tensor([names.index(label) for label in labels])
    right = 0
    folds = stratified_folds(targets, seed)
    for fold in folds:
        train, held = ([i * views + v for i in part.tolist() for v in range(views)] for part in (fold.train, fold.held))
        own = [labels[i] for i in fold.train.tolist()]
        fitted = fit(embedding[train], own, method, views=views, seed=seed, **options)
        best = fitted.logits(embedding[held]).argmax(dim=1).tolist()
        right += sum(fitted.labels[k] == labels[i] for k, i in zip(best, fold.held.tolist(), strict=True))
    return {"acc1": right / len(labels), "folds": len(folds), "n": len(labels)} if folds else None


def fit_shots(
    method: str,
    embedding: Embedding,
    targets: Sequence[int],
    zeroshot: ZeroShotClassifier,
    shots: int,
    seed: int = 0,
    views: int = 1,
    split: str = "train",
    space: JointSpace | None = None,
    short: bool = False,
    shuffled: bool = False,
) -> FewShotClassifier:
    """The protocol of few-shot figures: draw shots from a training split and fit one of ``METHODS`` on them alone.

    Hyperparameters are fixed beforehand or chosen by cross-validation on the shots; nothing else is looked at.

    Args:
        method: a key of ``METHODS``.
        embedding: the split, N samples of V rows each.
        targets: N classes, integers into ``zeroshot.labels``.
        zeroshot: the zero-shot classifier, which provides class names and text weights.
        shots: of each class.
        seed: of the draw, and of folds and training.
        views: V.
        split: its name, which the classifier remembers.
        space: that of the embedding, for methods that learn through its text tower.
        short: take all the samples of a class that has fewer, instead of refusing.
        shuffled: exchange the labels of the shots at random, as a control: what is then right is not learned.

    Raises:
        InputError: an unknown method, classes with too few samples, a method that chose on anything but the shots.
        UnsupportedError: a text tower that takes no embeddings, for a method that learns through it.
    """
    chosen, names = method_named(method), zeroshot.labels
    drawn = few_shot_draw([names[k] for k in targets], shots, seed, short)
    rows = embedding[[views * i + v for i in drawn for v in range(views)]]
    own = [targets[i] for i in drawn]
    if shuffled:
        own = _exchanged(own, seed)
    about = {"split": split, "shots": shots, "draw_seed": seed} | ({"shuffled": True} if shuffled else {})
    fitted = chosen.fit(Shots(rows, own, names, zeroshot, views, seed, space, about))
    if fitted.settings.get("selection") not in SELECTIONS:
        raise InputError(
            f"its settings were chosen on {fitted.settings.get('selection', 'nothing that it names')}",
            where=method,
            remedy="fix them beforehand or choose them with clipx.fewshot.selection",
        )
    return fitted


def _exchanged(targets: Sequence[int], seed: int) -> list[int]:
    """The same classes in another order, drawn until at least one sample gets another class."""
    rng = np.random.default_rng(seed)
    while True:
        found = [targets[i] for i in rng.permutation(len(targets))]
        if found != list(targets) or len(set(targets)) < 2:
            return found


def method_named(name: str) -> Method:
    """The entry of ``METHODS``; - may stand for _. Raises InputError."""
    key = name.strip().replace("-", "_")
    if key not in METHODS:
        raise InputError(f"unknown few-shot method {name!r}", remedy=f"one of {', '.join(METHODS)}")
    return METHODS[key]
