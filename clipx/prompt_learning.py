"""Prompt learning: a few context vectors around a label, learned through the frozen text tower.

>>> learner = PromptLearner(space, ["chair", "table"], "a photo of a {}")        # doctest: +SKIP
>>> weights = learner()                    # (2, D) unit rows, equal to encode_text of the sentences before training
>>> loss(image_vectors @ weights.T).backward()                # only learner.context has a gradient
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.errors import InputError, UnsupportedError
from clipx.prompts import spoken
from clipx.space import JointSpace

FREE = "x"  # stands where a free vector goes; one token of CLIP's own tokenizer


class PromptLearner(nn.Module):
    """M context vectors in place of the words around a label; nothing else of the space learns.

    Method: CoOp, Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022, arXiv 2109.01134.

    Args:
        space: its text tower has to be CLIP's causal one, or one that adds up words: there the context is one vector of
            the joint space, whatever M is, which begins at zero and is added to what the sentence means.
        labels: K labels.
        template: one sentence with ``{}``; the context begins as the embeddings of its other words, before and behind
            the label, so that the untrained learner says just what the sentence says. Or M >= 1: that many vectors
            before the label, drawn from a normal distribution of standard deviation 0.02, as CoOp's are.
        per_label: every label has a context of its own ("class-specific"), else all share one ("unified").
        seed: of the drawn vectors.

    Attributes:
        context: (M, W), or (K, M, W) per label; the one parameter.

    Raises:
        InputError: no labels, a template without ``{}`` or without other words, a text beyond the context.
        UnsupportedError: a text tower that takes no embeddings, or a tokenizer that joins label and template.
        VocabularyError: an embedded space never saw a word of the labels or of the template.
    """

    meant: Tensor
    embedded: Tensor
    slots: Tensor
    end: Tensor

    def __init__(
        self,
        space: JointSpace,
        labels: Sequence[str],
        template: str | int = "a photo of a {}",
        *,
        per_label: bool = False,
        seed: int = 0,
    ):
        super().__init__()
        if isinstance(labels, str) or not len(labels) or not all(spoken(label) for label in labels):
            raise InputError("labels must be a list of at least one word", where="PromptLearner")
        drawn = isinstance(template, int)
        if drawn and int(template) < 1:
            raise InputError(f"a context has at least 1 vector, got {template}", where="PromptLearner")
        sentence = " ".join([FREE] * int(template)) + " {}" if drawn else str(template)
        before, hole, behind = sentence.partition("{}")
        if not hole or not (before + behind).strip():
            raise InputError(f"template {sentence!r} needs words and {{}}", remedy='write "a photo of a {}"')
        self.backbone, self.labels = space.backbone, tuple(labels)
        space.require_words([spoken(label) for label in labels] if drawn else [before + behind, *map(spoken, labels)])

        def known_words(text: str) -> str:
            return text if space.vocabulary is None or drawn else space.vocabulary.rewrite(text)

        names = [spoken(label) for label in labels]
        if self.backbone.adds_words:
            sentences = names if drawn else [f"{before}{name}{behind}" for name in names]
            meant = torch.from_numpy(space.encode_text(sentences)).to(self.backbone.device)
            self.register_buffer("meant", meant, persistent=False)
            self._begin(torch.zeros(1, space.dim), False, per_label, seed)
            return
        if space.vocabulary is not None:
            names = [space.vocabulary.rewrite(name) for name in names]
        before, behind = known_words(before), known_words(behind)
        tokens = self._tokens([f"{before}{name}{behind}" for name in names])  # (K, L)
        self.register_buffer("end", tokens.argmax(dim=1), persistent=False)
        front, back = (self._tokens([part])[0] if part.strip() else None for part in (before, behind))
        m, n = (0 if part is None else int(part.argmax()) - 1 for part in (front, back))
        end = self.end[:, None]
        slots = torch.cat([torch.arange(1, m + 1).expand(len(names), m), end - n + torch.arange(n)], dim=1)  # (K, M)
        own = torch.cat([part[1 : 1 + count] for part, count in ((front, m), (back, n)) if part is not None])
        if not torch.equal(tokens.gather(1, slots), own.expand(len(names), -1)):
            raise UnsupportedError(
                "the tokenizer joins the template with a label",
                where=sentence,
                remedy="part them with spaces",
            )
        self.register_buffer("slots", slots, persistent=False)
        embedded = self.backbone.embed_tokens(tokens[:, : int(self.end.max()) + 1]).detach().float()
        self.register_buffer("embedded", embedded, persistent=False)
        self._begin(embedded[0, slots[0]].cpu(), drawn, per_label, seed)

    def _begin(self, start: Tensor, drawn: bool, per_label: bool, seed: int) -> None:
        """The context from its (M, W) first values."""
        if drawn:
            start = 0.02 * torch.randn(start.shape, generator=torch.Generator().manual_seed(seed))
        start = start.expand(len(self.labels), -1, -1) if per_label else start
        self.context = nn.Parameter(start.clone().to(self.backbone.device))

    def forward(self) -> Tensor:
        """The vectors of the labels with the context as it is: (K, D) float32 unit rows."""
        if self.backbone.adds_words:
            return F.normalize(self.meant + self.context.sum(-2), dim=1)
        rows = torch.arange(len(self.labels), device=self.slots.device)[:, None].expand_as(self.slots)
        context = self.context.expand(len(self.labels), -1, -1)
        embedded = self.embedded.index_put((rows, self.slots), context)
        return F.normalize(self.backbone.encode_embedded(embedded, self.end).float(), dim=1)

    def _tokens(self, texts: Sequence[str]) -> Tensor:
        """(N, context) on the CPU; the end-of-text id is the largest of CLIP's own tokenizer."""
        tokenizer = self.backbone.tokenizer
        if tokenizer is None:
            raise UnsupportedError("this space has no tokenizer", where=self.backbone.architecture)
        return torch.as_tensor(tokenizer(texts)).cpu()
