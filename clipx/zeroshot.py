"""Zero-shot classification: labels become a classifier over embeddings of any modality."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from clipx._arrays import softmax, unit_rows
from clipx.embedding import Embedding
from clipx.errors import InputError
from clipx.prompts import Prompts, get_prompts, sentences, spoken

if TYPE_CHECKING:
    from clipx.space import JointSpace

NONE = "none"


@dataclass(frozen=True)
class Prediction:
    """One label's share in a classification.

    Args:
        label: the label as it was given.
        cosine: raw cosine with the label's class weight, in [-1, 1]; for real CLIPs a good match is 0.2 to 0.35.
        probability: softmax of ``logit_scale * cosine`` over all candidates. It says which candidate fits best, not
            whether any fits: the candidates always sum to 1.
        rank: 1 for the best.
    """

    label: str
    cosine: float
    probability: float
    rank: int


class ZeroShotClassifier:
    """Labels as a linear classifier of a joint space.

    A label's weight is L2(mean over its sentences of L2(text)), as in the CLIP paper and CLIP_benchmark.

    >>> classifier = ZeroShotClassifier(space, ["chair", "table"])            # doctest: +SKIP
    >>> classifier.predict(cloud_embedding, top_k=1)[0][0].label              # doctest: +SKIP
    'chair'

    Args:
        space: the joint space whose text tower reads the labels.
        labels: K >= 1 different labels; upper case, ``_`` and white space make no difference between two.
        prompts: anything ``clipx.prompts.sentences`` takes. On an embedded space every word of them must be known, as
            the labels' must. Of a set given by name, such as ``"imagenet"`` with its 80, the templates with other words
            are left out and stand in the attribute ``dropped_prompts``, unless none would remain. The attribute
            ``prompts`` has those that are used, as a tuple of templates or as the dict that was given.
        none_threshold: a raw cosine in [-1, 1]. One more candidate, ``"none"``, then stands in the ranking with that
            cosine: it comes first exactly where every label's cosine is below the threshold.

    Raises:
        InputError: no labels, a blank or repeated label, unusable prompts or threshold.
        VocabularyError: an embedded space never saw a word of the labels, of the given prompts, or of any template of
            the named set.
    """

    def __init__(
        self, space: JointSpace, labels: Sequence[str], prompts: Prompts = "photo", none_threshold: float | None = None
    ):
        self.labels = _checked(labels, reserved=NONE if none_threshold is not None else None)
        if none_threshold is not None and not -1 <= none_threshold <= 1:  # NaN fails too
            raise InputError(f"none_threshold must be a cosine in [-1, 1], got {none_threshold}")
        space.require_words([spoken(label) for label in self.labels])  # asks nothing of an open vocabulary
        prompts, self.dropped_prompts = known_templates(space, prompts, spoken(self.labels[0]))
        texts = sentences(self.labels, prompts)
        space.require_words(chain(*texts) if isinstance(prompts, Mapping) else texts[0])  # of templates one is enough
        self.prompts = (
            prompts if isinstance(prompts, Mapping) else (prompts,) if isinstance(prompts, str) else tuple(prompts)
        )
        self.logit_scale = space.logit_scale
        self.none_threshold = none_threshold
        self.weights = Embedding(_class_weights(space, texts), space.id, "text", self.labels)  # (K, D)

    def logits(self, embedding: Embedding) -> np.ndarray:
        """``logit_scale * cosine`` of every input with every label: (N, K).

        Raises:
            SpaceMismatchError: the embedding lives in another space.
        """
        return self.logit_scale * self._cosines(embedding)

    def confidence(self, embedding: Embedding) -> np.ndarray:
        """How sure the classifier is of each input, whether it is right or not: (N,) in [0, 1].

        1 - H / log K, with H the entropy of the softmax of ``logits`` over the K labels; 1 where there is one label.

        Raises:
            SpaceMismatchError: the embedding lives in another space.
        """
        logits = self.logits(embedding)
        if len(self.labels) == 1:
            return np.ones_like(logits[:, 0])
        shares = softmax(logits)
        entropy = -(shares * np.log(np.maximum(shares, np.finfo(np.float32).tiny))).sum(1)
        return (1 - entropy / math.log(len(self.labels))).clip(0, 1).astype(np.float32)

    def predict(self, embedding: Embedding, top_k: int | None = None) -> list[list[Prediction]]:
        """For each of the N inputs, its best ``top_k`` candidates (all of them by default), best first.

        Raises:
            InputError: ``top_k`` below 1.
            SpaceMismatchError: the embedding lives in another space.
        """
        if top_k is not None and top_k < 1:
            raise InputError(f"top must be at least 1, got {top_k}")
        cosines, names = self._cosines(embedding), self.labels
        if self.none_threshold is not None:  # last, so that a label wins a tie
            cosines = np.column_stack([cosines, np.full(len(cosines), self.none_threshold, np.float32)])
            names = (*names, NONE)
        probabilities = softmax(self.logit_scale * cosines).tolist()
        best = (-cosines).argsort(axis=1, stable=True)[:, :top_k].tolist()
        return [
            [Prediction(names[k], cosine[k], probability[k], rank) for rank, k in enumerate(order, start=1)]
            for order, cosine, probability in zip(best, cosines.tolist(), probabilities, strict=True)
        ]

    def _cosines(self, embedding: Embedding) -> np.ndarray:
        return embedding.similarity(self.weights)  # (N, K)


def _checked(labels: Sequence[str], reserved: str | None) -> tuple[str, ...]:
    if isinstance(labels, str):
        raise InputError(f"labels must be a list, got the string {labels!r}", remedy=f"write {labels.split(',')!r}")
    if not len(labels):
        raise InputError("the list of labels is empty", remedy="give at least one label")
    given: dict[str, str] = {}
    for i, label in enumerate(labels):
        if not isinstance(label, str) or not (key := spoken(label).casefold()):
            raise InputError(f"label {i} is {label!r}, not a word", remedy="give every class a name")
        if key in given:
            raise InputError(
                f"label {label!r} is given twice" + (f", as {given[key]!r} before" if given[key] != label else ""),
                remedy="keep one: two equal labels would share the probability",
            )
        given[key] = label
    if reserved in given:
        raise InputError(f"label {given[reserved]!r} collides with the outcome that none_threshold adds")
    return tuple(label.strip() for label in labels)


def known_templates(space: JointSpace, prompts: Prompts, label: str) -> tuple[Prompts, tuple[str, ...]]:
    """The prompts to use, and the templates of a named set that are left out: they have words the space never saw."""
    if not isinstance(prompts, str) or "{}" in prompts:
        return prompts, ()
    templates = get_prompts(prompts)
    known = tuple(template for template in templates if not space.unknown(template.replace("{}", label)))
    return (known, tuple(t for t in templates if t not in known)) if known else (templates, ())


def _class_weights(space: JointSpace, texts: list[list[str]]) -> np.ndarray:
    text = space.encode_text([sentence for own in texts for sentence in own])  # (sentences, D)
    ends = np.cumsum([len(own) for own in texts])[:-1]
    means = np.stack([rows.mean(0) for rows in np.split(text, ends)])  # (K, D)
    if not (np.linalg.norm(means, axis=1) > 1e-4).all():
        raise InputError("the sentences of a label cancel out", remedy="use other prompts")
    return unit_rows(means)
