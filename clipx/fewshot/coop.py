"""CoOp: a few shots teach what to say around the labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from clipx.embedding import Embedding
from clipx.errors import InputError, SpaceMismatchError, UnsupportedError
from clipx.fewshot.base import FewShotClassifier, Shots, by_sample, checked_targets, class_names, counts, positive
from clipx.fewshot.schedule import train_prompts
from clipx.prompt_learning import Position, PromptLearner
from clipx.prompt_packing import packed_prompts
from clipx.space import JointSpace

if TYPE_CHECKING:
    from clipx.zeroshot import ZeroShotClassifier

ENDING = "."  # which the released code says behind every label


@dataclass(frozen=True)
class CoOpConfig:
    """CoOp's published training: SGD, one constant warm-up epoch, then cosine by epoch.

    The paper trains 50 epochs on 1 shot, 100 on 2 and 4, 200 on 8 and 16; ``epochs_for`` says so.
    """

    vectors: int = field(default=16, metadata={"help": "of the context"})
    per_label: bool = field(default=False, metadata={"help": "a context for each label (class-specific)"})
    position: Position = field(default="end", metadata={"help": "of the label: end, middle or front of the context"})
    epochs: int = field(default=200, metadata={"help": "passes over the shots"})
    batch_size: int = field(default=32, metadata={"help": "samples a step"})
    lr: float = field(default=0.002, metadata={"help": "peak learning rate of SGD"})
    momentum: float = field(default=0.9, metadata={"help": "of SGD"})
    weight_decay: float = field(default=5e-4, metadata={"help": "on the context"})
    warmup_epochs: int = field(default=1, metadata={"help": "epochs at the warm-up's learning rate"})
    warmup_lr: float = field(default=1e-5, metadata={"help": "that learning rate"})
    seed: int = field(default=0, metadata={"help": "seed of context and order"})

    def __post_init__(self):
        if min(self.vectors, self.epochs, self.batch_size) < 1 or min(self.seed, self.warmup_epochs) < 0:
            raise InputError("CoOp needs vectors, epochs and batch_size of at least 1, warm-up and seed of at least 0")
        if self.position not in get_args(Position):
            raise InputError(f"no position {self.position!r}", remedy=f"one of {', '.join(get_args(Position))}")
        if not all(0 <= v < math.inf for v in (self.lr, self.warmup_lr, self.momentum, self.weight_decay)):
            raise InputError("CoOp's learning rates, momentum and weight decay must be finite and at least 0")


def epochs_for(shots: int) -> int:
    """The paper's epochs for so many shots."""
    return 50 if shots == 1 else 100 if shots <= 4 else 200


class CoOp(FewShotClassifier):
    """Labels in a context that a few shots taught; the answer is still a cosine with a text of the space.

    Method: Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022, arXiv 2109.01134. With f the
    shots, t_k the text tower's vector of label k in its context and s the logit scale, the context minimises the
    cross-entropy of s f . t_k. As released: 16 vectors, one context for all labels or one for each, the label at its
    end or in its middle, a full stop behind. Where the text tower adds up words, as that of ``lite``, a position has no
    meaning, and the context is one vector of the joint space.

    What differs: shots are embeddings, so the pictures are not augmented again in each epoch. Of V views, the mean is
    what is looked at.

    Args:
        weights: K class weights, the learned prompts as the text tower reads them; their ids are the labels.
        context: (M, W) or (K, M, W) the learned vectors.
        logit_scale: of the space.
        views: V, the rows of each shot and input.
        settings: JSON values to save with the classifier.
        space: for ``for_classes``; the answers need none.
    """

    kind, uses_tower = "coop", True

    def __init__(
        self,
        weights: Embedding,
        context: Tensor,
        logit_scale: float,
        views: int = 1,
        settings: Mapping[str, Any] | None = None,
        space: JointSpace | None = None,
    ):
        self.labels, self.space_id, self.views = class_names(weights.ids), weights.space_id, views
        self.weights, self.context, self.logit_scale = weights, context, positive(logit_scale)
        self.settings, self.space = dict(settings or {}), space

    @classmethod
    def fit(
        cls,
        embedding: Embedding,
        targets: Sequence[int] | Tensor,
        labels: Sequence[str],
        space: JointSpace,
        views: int = 1,
        config: CoOpConfig | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Self:
        """Learn the context on N samples of V views each.

        Args:
            embedding: N samples, V rows each.
            targets: (N,) classes, integers in [0, K); every class at least once.
            labels: K names.
            space: whose text tower reads them.
            views: V.
            config: the training; by default the published one.
            settings: JSON values to save with the classifier.

        Raises:
            InputError: a class without a sample, mismatched lengths, a loss that is no longer finite.
            SpaceMismatchError: shots of another space.
            UnsupportedError: a text tower that takes no embeddings.
        """
        config, names = config or CoOpConfig(), class_names(labels)
        if embedding.space_id != space.id:
            raise SpaceMismatchError(f"the shots live in space {embedding.space_id}, the labels in {space.id}")
        looks = by_sample(embedding, space.id, space.dim, views).detach().mean(dim=1).to(space.device)  # (N, D)
        classes = checked_targets(targets, len(looks), names).to(space.device)
        learner = _learner(space, names, config)
        read = packed_prompts(learner)

        def loss_of(batch: Tensor, draw: torch.Generator) -> Tensor:
            return F.cross_entropy(space.logit_scale * looks[batch] @ read().T, classes[batch])

        loss = train_prompts([learner.context], loss_of, len(looks), config)
        with torch.no_grad():
            weights = Embedding(read(), space.id, "text", names)
        how = {**asdict(config), "loss": loss, **counts(classes, views)}
        return cls(weights, learner.context.detach(), space.logit_scale, views, {**(settings or {}), **how}, space)

    @classmethod
    def from_shots(cls, shots: Shots, per_label: bool = False, position: Position = "end") -> Self:
        """As published; ``per_label`` and ``position`` as in ``CoOpConfig``. Raises: see the base class."""
        config = CoOpConfig(per_label=per_label, position=position, epochs=epochs_for(shots.count), seed=shots.seed)
        return cls.fit(shots.embedding, shots.targets, shots.names, shots.tower, shots.views, config, shots.fixed)

    def attached(self, space: JointSpace) -> CoOp:
        super().attached(space)
        return CoOp(self.weights, self.context, self.logit_scale, self.views, self.settings, space)

    def for_classes(self, zeroshot: ZeroShotClassifier) -> CoOp:
        """The context around other class names.

        Raises:
            UnsupportedError: class-specific contexts. InputError: a loaded classifier that is not ``attached``.
            SpaceMismatchError: class names of another space.
        """
        if self.settings["per_label"]:
            raise UnsupportedError("class-specific contexts know their own classes only", remedy="take method coop")
        if self.space is None:
            raise InputError("other classes are read by the text tower", remedy="classifier.attached(space) first")
        self._require_same_space(zeroshot)
        config = CoOpConfig(**{one.name: self.settings[one.name] for one in fields(CoOpConfig)})
        learner = _learner(self.space, zeroshot.labels, config)
        with torch.no_grad():
            learner.context.copy_(self.context)
            weights = Embedding(packed_prompts(learner)(), self.space_id, "text", zeroshot.labels)
        return CoOp(weights, self.context, self.logit_scale, self.views, self.settings, self.space)

    @property
    def _dim(self) -> int:
        return self.weights.vectors.shape[1]

    def _scores(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, text = inputs.mean(dim=1), torch.from_numpy(self.weights.vectors).to(inputs.device)
        return self.logit_scale * mean @ text.T, F.normalize(mean, dim=1) @ text.T

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        weights = torch.from_numpy(self.weights.vectors)
        return {"weights": weights, "context": self.context}, {"logit_scale": self.logit_scale}

    @classmethod
    def _restore(cls, tensors: dict[str, Tensor], about: dict[str, Any]) -> Self:
        weights = Embedding(tensors["weights"].numpy(), about["space_id"], "text", about["labels"])
        return cls(weights, tensors["context"], about["logit_scale"], about["views"], about["settings"])


def _learner(space: JointSpace, labels: Sequence[str], config: CoOpConfig) -> PromptLearner:
    return PromptLearner(
        space,
        labels,
        config.vectors,
        per_label=config.per_label,
        seed=config.seed,
        position=config.position,
        ending=ENDING,
    )
