"""Templates weighted by how sure they make the space of the shots, whose labels are not used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from clipx.embedding import Embedding
from clipx.errors import InputError, SpaceMismatchError
from clipx.fewshot.base import Shots, by_sample, class_names, counts, pooled
from clipx.fewshot.linear import LinearClassifier
from clipx.prompts import sentences
from clipx.space import JointSpace
from clipx.zeroshot import known_templates

if TYPE_CHECKING:
    from clipx.zeroshot import ZeroShotClassifier

TEMPLATES = "imagenet"  # the set to weigh where the zero-shot classifier has one template only


class EntropyPrompts(LinearClassifier):
    """Class weights = L2(sum_j beta_j t_jk): label k in template j as the text tower reads it, templates weighted.

        beta_j = exp(-H_j / temperature) / sum_i exp(-H_i / temperature),
        H_j = mean over the shots x of the entropy of softmax_k(s x . t_jk), in nats.

    beta minimises sum_j beta_j H_j + temperature KL(beta || 1 / T) over the simplex, in closed form. With equal H_j it
    is the zero-shot classifier of those templates.

    Method: after "Leveraging Prediction Entropy for Automatic Prompt Weighting in Zero-Shot Audio-Language
    Classification", arXiv 2601.05011, which mixes the logits of the templates by weights of sum 1 and minimises the
    entropy of what the mixture predicts, without labels, on one sample or several.

    What differs: what is minimised here is the mean of the entropies of each template's own predictions, which has a
    closed form, towards equal weights; the temperature, 1 nat, is fixed beforehand. The mixed class weights are
    brought to unit norm, as those of a zero-shot classifier are. The samples are the shots, never what is tested on.

    Made by ``fit``; of V views, the unit mean is what is looked at. ``settings`` has the templates and their weights.
    """

    kind, closed_form, uses_tower = "entropy", True, True
    space: JointSpace | None = None

    @classmethod
    def fit(
        cls,
        embedding: Embedding,
        labels: Sequence[str],
        space: JointSpace,
        templates: Sequence[str],
        views: int = 1,
        temperature: float = 1.0,
        settings: Mapping[str, Any] | None = None,
    ) -> Self:
        """Weigh the templates on N samples, whose classes play no part.

        Args:
            embedding: N >= 1 samples, V rows each.
            labels: K >= 2 class names.
            space: which reads them.
            templates: T sentences with ``{}``.
            views: V.
            temperature: in nats, above 0: the larger, the more equal the weights.
            settings: JSON values to save with the classifier.

        Raises:
            InputError: no samples, unusable templates or temperature. SpaceMismatchError: samples of another space.
            VocabularyError: an embedded space never saw a word.
        """
        names = class_names(labels)
        if not temperature > 0 or isinstance(templates, str) or not len(templates):
            raise InputError(f"entropy needs a temperature above 0 and a list of templates, got {temperature}")
        if embedding.space_id != space.id:
            raise SpaceMismatchError(f"the shots live in space {embedding.space_id}, the labels in {space.id}")
        x = pooled(by_sample(embedding, space.id, space.dim, views)).detach().cpu()
        if not len(x):
            raise InputError("no samples to weigh templates on")
        texts = _texts(space, names, templates)
        entropies = torch.stack([_mean_entropy(space.logit_scale * x @ text.T) for text in texts])  # (T,)
        beta = (-entropies / temperature).softmax(dim=0)
        how = {
            "templates": list(templates),
            "template_weights": [round(float(b), 8) for b in beta],
            "temperature": temperature,
            "logit_scale": space.logit_scale,
            **counts(x, views),
        }
        return cls._of(names, space, texts, {**(settings or {}), **how}, views)

    @classmethod
    def from_shots(cls, shots: Shots) -> Self:
        """With the templates of the zero-shot classifier, or of the set "imagenet" where that has one only."""
        space, given = shots.tower, shots.words.prompts
        several = len(given) > 1 and not isinstance(given, Mapping)
        prompts = given if several else known_templates(space, TEMPLATES, shots.names[0])[0]
        return cls.fit(shots.embedding, shots.names, space, list(prompts), shots.views, settings=shots.fixed)

    @classmethod
    def _of(cls, names: Sequence[str], space: JointSpace, texts: Tensor, settings: dict[str, Any], views: int) -> Self:
        beta = torch.tensor(settings["template_weights"])
        weight = space.logit_scale * F.normalize(torch.einsum("t,tkd->kd", beta, texts), dim=1)
        found = cls(names, space.id, weight, torch.zeros(len(weight)), views, settings)
        found.space = space
        return found

    def attached(self, space: JointSpace) -> EntropyPrompts:
        super().attached(space)
        found = EntropyPrompts(self.labels, self.space_id, self.weight, self.bias, self.views, self.settings)
        found.space = space
        return found

    def for_classes(self, zeroshot: ZeroShotClassifier) -> EntropyPrompts:
        """The weighted templates with other class names.

        Raises:
            InputError: a loaded classifier that is not ``attached``. SpaceMismatchError: class names of another space.
        """
        if self.space is None:
            raise InputError("other classes are read by the text tower", remedy="classifier.attached(space) first")
        self._require_same_space(zeroshot)
        texts = _texts(self.space, zeroshot.labels, self.settings["templates"])
        return self._of(zeroshot.labels, self.space, texts, self.settings, self.views)


_LAST: WeakKeyDictionary[JointSpace, tuple[tuple[tuple[str, ...], tuple[str, ...]], Tensor]] = WeakKeyDictionary()


def _texts(space: JointSpace, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """(T, K, D) unit rows. The last ones of a space are kept, as draws of shots ask for the same."""
    asked = tuple(names), tuple(templates)
    if (known := _LAST.get(space)) is None or known[0] != asked:
        _LAST[space] = known = asked, _read(space, names, templates)
    return known[1]


def _read(space: JointSpace, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    said = sentences(names, templates)  # K lists of T
    space.require_words([said_of[0] for said_of in said] + said[0])
    rows = space.encode_text([said_of[t] for t in range(len(templates)) for said_of in said])
    return torch.from_numpy(rows).unflatten(0, (len(templates), len(names)))


def _mean_entropy(logits: Tensor) -> Tensor:
    """(N, K) -> the mean entropy of their softmax, in nats."""
    logs = logits.double().log_softmax(dim=1)
    return -(logs.exp() * logs).sum(dim=1).mean()
