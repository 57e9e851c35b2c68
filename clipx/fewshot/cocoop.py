"""CoCoOp: what is said around the labels depends on the image."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipx.embedding import Embedding
from clipx.errors import InputError, SpaceMismatchError
from clipx.fewshot.base import (
    FewShotClassifier,
    Shots,
    class_names,
    counts,
    pooled,
    positive,
    prepared,
)
from clipx.fewshot.coop import ENDING
from clipx.fewshot.schedule import train_prompts
from clipx.prompt_learning import PromptLearner
from clipx.prompt_packing import PackedPrompts, packed_prompts
from clipx.space import JointSpace

if TYPE_CHECKING:
    from clipx.zeroshot import ZeroShotClassifier

MOST_TOKENS = 8192  # that answers read at once: with a text tower of width 512, 16 MB an activation


@dataclass(frozen=True)
class CoCoOpConfig:
    """CoCoOp's published training: SGD on one image at a time, one constant warm-up epoch, then cosine by epoch."""

    template: str = field(default="a photo of a {}", metadata={"help": "the words that the context begins as"})
    reduction: int = field(default=16, metadata={"help": "by which the Meta-Net's hidden layer is narrower than D"})
    noise: bool = field(default=False, metadata={"help": "give the Meta-Net noise instead of the image (a control)"})
    epochs: int = field(default=10, metadata={"help": "passes over the shots"})
    batch_size: int = field(default=1, metadata={"help": "samples a step"})
    lr: float = field(default=0.002, metadata={"help": "peak learning rate of SGD"})
    momentum: float = field(default=0.9, metadata={"help": "of SGD"})
    weight_decay: float = field(default=5e-4, metadata={"help": "on context and Meta-Net"})
    warmup_epochs: int = field(default=1, metadata={"help": "epochs at the warm-up's learning rate"})
    warmup_lr: float = field(default=1e-5, metadata={"help": "that learning rate"})
    seed: int = field(default=0, metadata={"help": "seed of Meta-Net, order and noise"})

    def __post_init__(self):
        if min(self.reduction, self.epochs, self.batch_size) < 1 or min(self.seed, self.warmup_epochs) < 0:
            raise InputError("CoCoOp needs reduction, epochs, batch_size of at least 1, warm-up and seed of at least 0")
        if not all(0 <= v < math.inf for v in (self.lr, self.warmup_lr, self.momentum, self.weight_decay)):
            raise InputError("CoCoOp's learning rates, momentum and weight decay must be finite and at least 0")


class MetaNet(nn.Module):
    """pi: (N, D) unit vectors -> (N, W), by Linear(D -> D / reduction), ReLU and Linear(D / reduction -> W).

    Args:
        dim: D.
        width: W, of a context vector.
        reduction: the hidden layer has D // reduction units, at least one.
        seed: of the weights, which are drawn as torch draws those of any linear layer.
    """

    def __init__(self, dim: int, width: int, reduction: int = 16, seed: int = 0):
        super().__init__()
        hidden = max(1, dim // reduction)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first, self.second = nn.Linear(dim, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu())


class CoCoOp(FewShotClassifier):
    """Labels behind a context that a small network shifts for each image, so that it suits other classes too.

    Method: Zhou et al., "Conditional Prompt Learning for Vision-Language Models", CVPR 2022, arXiv 2203.05557. With x
    the unit vector of an image, the context of every label is ctx_m + pi(x), m = 1 .. 4: the same shift for all, by the
    Meta-Net pi. The logits are s x . t_k(x) with t_k(x) what the text tower reads, so that N images and K labels are
    N x K texts, at training and at prediction. ctx begins as "a photo of a"; a full stop stands behind each label.
    SGD 0.002, momentum 0.9, weight decay 5e-4, one image a step, 10 epochs, cosine, the first epoch at 1e-5.

    What differs: images are encoded once, not augmented again in each epoch, and what texts have in common is read once
    (``clipx.prompt_packing``). Where a text tower adds up words, as that of ``lite``, the context is one vector of the
    joint space, W = D, and the Meta-Net's last layer begins at zero, so that the untrained classifier is the zero-shot
    one of that sentence; the released network begins with a shift at random, which would outweigh a sentence there.
    Of V views, the unit mean is what is looked at.

    Control ``cocoop_noise``: the Meta-Net reads random unit vectors in place of x. Such prompts can be better than
    those conditioned on images (Zhang et al., arXiv 2506.23856), so what CoCoOp gains counts above this control only.
    Training draws new ones in each step. At prediction they are seeded by the bytes of the image's vector, so that an
    answer does not depend on the other images of a batch.

    A file holds context, Meta-Net and facts, not the text tower: what ``load_classifier`` returns answers once it is
    ``attached`` to its space.

    Args:
        meta_net: pi.
        context: (M, W), ctx.
        labels: K class names.
        space_id: the only space whose embeddings it takes.
        logit_scale: s.
        views: V, the rows of each input.
        settings: JSON values to save with the classifier; those of ``CoCoOpConfig`` among them.
        space: whose text tower reads the labels.
    """

    kind, uses_tower = "cocoop", True

    def __init__(
        self,
        meta_net: MetaNet,
        context: Tensor,
        labels: Sequence[str],
        space_id: str,
        logit_scale: float,
        views: int = 1,
        settings: Mapping[str, Any] | None = None,
        space: JointSpace | None = None,
    ):
        self.labels, self.space_id, self.views = class_names(labels), space_id, views
        self.meta_net, self.context = meta_net.eval().requires_grad_(False), context.detach()
        self.logit_scale, self.settings, self.space = positive(logit_scale), dict(settings or {}), space
        if self.context.shape[-1] != meta_net.second.out_features:
            raise InputError(f"a shift of {meta_net.second.out_features} values for a context {tuple(context.shape)}")
        self._prompts = None if space is None else self._reader(space)

    def _reader(self, space: JointSpace) -> PromptLearner | PackedPrompts:
        learner = PromptLearner(space, self.labels, self.settings["template"], ending=ENDING).requires_grad_(False)
        if learner.context.shape != self.context.shape:
            given, taken = tuple(self.context.shape), tuple(learner.context.shape)
            raise InputError(f"a context {given} for a text tower that takes {taken}", remedy="fit it again")
        learner.context.copy_(self.context)
        return packed_prompts(learner)

    @classmethod
    def fit(
        cls,
        embedding: Embedding,
        targets: Sequence[int] | Tensor,
        labels: Sequence[str],
        space: JointSpace,
        views: int = 1,
        config: CoCoOpConfig | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Self:
        """Learn context and Meta-Net on N samples of V views each.

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
            VocabularyError: an embedded space never saw a word of the labels or of the template.
        """
        config, names = config or CoCoOpConfig(), class_names(labels)
        if embedding.space_id != space.id:
            raise SpaceMismatchError(f"the shots live in space {embedding.space_id}, the labels in {space.id}")
        samples = prepared(embedding, targets, space.id, space.dim, names, views)
        looks, classes = (own.to(space.device) for own in samples)
        learner = PromptLearner(space, names, config.template, ending=ENDING)
        meta_net = MetaNet(space.dim, learner.context.shape[-1], config.reduction, config.seed)
        if space.backbone.adds_words:
            nn.init.zeros_(meta_net.second.weight)
            nn.init.zeros_(meta_net.second.bias)
        meta_net.to(space.device)
        read = packed_prompts(learner)

        def loss_of(batch: Tensor, draw: torch.Generator) -> Tensor:
            x = looks[batch]
            seen = F.normalize(torch.randn(x.shape, generator=draw).to(x), dim=1) if config.noise else x
            logits = space.logit_scale * torch.einsum("nd,nkd->nk", x, read(meta_net(seen)))
            return F.cross_entropy(logits, classes[batch])

        loss = train_prompts([learner.context, *meta_net.parameters()], loss_of, len(looks), config)
        about = {**(settings or {}), **asdict(config), "loss": loss, **counts(classes, views)}
        return cls(meta_net, learner.context, names, space.id, space.logit_scale, views, about, space)

    @classmethod
    def from_shots(cls, shots: Shots, noise: bool = False) -> Self:
        """As published, or with ``noise`` the control. Raises: see the base class."""
        config = CoCoOpConfig(seed=shots.seed, noise=noise)
        return cls.fit(shots.embedding, shots.targets, shots.names, shots.tower, shots.views, config, shots.fixed)

    def attached(self, space: JointSpace) -> CoCoOp:
        super().attached(space)
        return self._with(self.labels, space)

    def for_classes(self, zeroshot: ZeroShotClassifier) -> CoCoOp:
        """Context and Meta-Net around other class names.

        Raises:
            InputError: a loaded classifier that is not ``attached``. SpaceMismatchError: class names of another space.
            VocabularyError: an embedded space never saw a word of them.
        """
        if self.space is None:
            raise _unattached()
        self._require_same_space(zeroshot)
        return self._with(zeroshot.labels, self.space)

    def _with(self, labels: Sequence[str], space: JointSpace) -> CoCoOp:
        facts = (self.space_id, self.logit_scale, self.views, self.settings)
        return CoCoOp(self.meta_net.to(space.device), self.context.to(space.device), labels, *facts, space)

    @property
    def _dim(self) -> int:
        return self.meta_net.first.in_features

    def class_weights(self, inputs: Tensor) -> Tensor:
        """(N, D) unit vectors -> (N, K, D) what the text tower reads of every label for each of them.

        Raises:
            InputError: a loaded classifier that is not ``attached``.
        """
        if self._prompts is None:
            raise _unattached()
        seen = _noise(inputs, self.settings["seed"]) if self.settings["noise"] else inputs
        return self._prompts(self.meta_net(seen))

    def _scores(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        if self._prompts is None:
            raise _unattached()
        looks = pooled(inputs).to(self.context)
        tokens = self._prompts.tokens if isinstance(self._prompts, PackedPrompts) else len(self.labels)
        parts = [
            torch.einsum("nd,nkd->nk", some, self.class_weights(some))
            for some in looks.split(max(1, MOST_TOKENS // tokens))
        ]
        cosines = torch.cat(parts).to(inputs.device)
        return self.logit_scale * cosines, cosines.clamp(-1, 1)

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        network = {f"meta_net.{name}": tensor for name, tensor in self.meta_net.state_dict().items()}
        return {"context": self.context, **network}, {"logit_scale": self.logit_scale}

    @classmethod
    def _restore(cls, tensors: dict[str, Tensor], about: dict[str, Any]) -> Self:
        settings, network = about["settings"], {n.removeprefix("meta_net."): t for n, t in tensors.items()}
        CoCoOpConfig(**{one.name: settings[one.name] for one in fields(CoCoOpConfig)})  # refuses what it cannot use
        context = network.pop("context")
        meta_net = MetaNet(network["first.weight"].shape[1], context.shape[-1], settings["reduction"])
        meta_net.load_state_dict(network)
        return cls(
            meta_net, context, about["labels"], about["space_id"], about["logit_scale"], about["views"], settings
        )


def _noise(rows: Tensor, seed: int) -> Tensor:
    """(N, D) -> (N, D) unit vectors, each drawn by the bytes of its row and the seed."""
    drawn = []
    for row in rows.detach().float().cpu().numpy():
        key = int.from_bytes(hashlib.sha256(row.tobytes()).digest()[:8], "little")
        drawn.append(np.random.default_rng([seed, key]).standard_normal(len(row), dtype=np.float32))
    return F.normalize(torch.from_numpy(np.array(drawn).reshape(rows.shape)).to(rows), dim=1)


def _unattached() -> InputError:
    return InputError(
        "this classifier reads its labels through the text tower, which its file does not hold",
        where="CoCoOp",
        remedy="classifier.attached(space) first",
    )
