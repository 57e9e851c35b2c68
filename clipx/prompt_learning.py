"""Prompt learning: a few context vectors around a label, learned through the frozen text tower.

>>> learner = PromptLearner(space, ["chair", "table"], "a photo of a {}")        # doctest: +SKIP
>>> weights = learner()                    # (2, D) unit rows, equal to encode_text of the sentences before training
>>> loss(image_vectors @ weights.T).backward()                # only learner.context has a gradient
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.errors import InputError, UnsupportedError
from clipx.prompts import spoken
from clipx.space import JointSpace

FREE = "x"  # stands where a free vector goes; one token of CLIP's own tokenizer
Position = Literal["end", "middle", "front"]
"""Where a label stands among drawn vectors: behind them, between their halves, before them."""


class PromptLearner(nn.Module):
    """M context vectors in place of the words around a label; nothing else of the space learns.

    Method: CoOp, Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022, arXiv 2109.01134.

    Args:
        space: its text tower has to be CLIP's causal one, or one that adds up words: there the context is one vector of
            the joint space, whatever M is, which begins at zero and is added to what the sentence means.
        labels: K labels.
        template: one sentence with ``{}``; the context begins as the embeddings of its other words, before and behind
            the label, so that the untrained learner says just what the sentence says. Or M >= 1: that many vectors,
            drawn from a normal distribution of standard deviation 0.02, as CoOp's are.
        per_label: every label has a context of its own ("class-specific"), else all share one ("unified").
        seed: of the drawn vectors; those of class-specific contexts are drawn for each label.
        position: of the label among M drawn vectors: at the ``"end"``, as CoOp's default, in the ``"middle"``, M // 2
            of them before it, or at the ``"front"``. Of a sentence ``{}`` says it. It has no meaning where the text
            tower adds up words, whatever their order.
        ending: what every text ends with, and what is not learned: ``"."`` in the released code of CoOp and CoCoOp.

    Attributes:
        context: (M, W), or (K, M, W) per label; the one parameter.

    Raises:
        InputError: no labels, a template without ``{}`` or without other words, an unknown position or one for a
            sentence, a text beyond the context.
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
        position: Position = "end",
        ending: str = "",
    ):
        super().__init__()
        if isinstance(labels, str) or not len(labels) or not all(spoken(label) for label in labels):
            raise InputError("labels must be a list of at least one word", where="PromptLearner")
        drawn = isinstance(template, int)
        if drawn and int(template) < 1:
            raise InputError(f"a context has at least 1 vector, got {template}", where="PromptLearner")
        if position not in get_args(Position) or (position != "end" and not drawn):
            raise InputError(
                f"a label cannot stand at the {position!r} of {template!r}",
                where="PromptLearner",
                remedy=f"one of {', '.join(get_args(Position))}, of a number of vectors; a sentence says it by {{}}",
            )
        sentence = " ".join([FREE] * int(template)) + " {}" if drawn else str(template)
        before, hole, behind = sentence.partition("{}")
        if not hole or not (before + behind).strip():
            raise InputError(f"template {sentence!r} needs words and {{}}", remedy='write "a photo of a {}"')
        self.backbone, self.labels, self.per_label = space.backbone, tuple(labels), per_label
        space.require_words([spoken(label) for label in labels] if drawn else [before + behind, *map(spoken, labels)])
        names = [spoken(label) for label in labels]
        if self.backbone.adds_words:
            sentences = names if drawn else [f"{before}{name}{behind}{ending}" for name in names]
            meant = torch.from_numpy(space.encode_text(sentences)).to(self.backbone.device)
            self.register_buffer("meant", meant, persistent=False)
            self._begin(torch.zeros(1, space.dim), False, seed)
            return
        if space.vocabulary is not None:
            names = [space.vocabulary.rewrite(name) for name in names]
            if not drawn:
                before, behind = space.vocabulary.rewrite(before), space.vocabulary.rewrite(behind)
        tokens = self._tokens([f"{before}{name}{behind}{ending}" for name in names])  # (K, L)
        self.register_buffer("end", tokens.argmax(dim=1), persistent=False)
        slots = self._slots(tokens, before, behind, ending)
        if position != "end":
            tokens, slots = self._moved(tokens, slots, names, position)
        self.register_buffer("slots", slots, persistent=False)
        embedded = self.backbone.embed_tokens(tokens[:, : int(self.end.max()) + 1]).detach().float()
        self.register_buffer("embedded", embedded, persistent=False)
        self._begin(embedded[0, slots[0]].cpu(), drawn, seed)

    def _slots(self, tokens: Tensor, before: str, behind: str, ending: str) -> Tensor:
        """(K, M) places in (K, L) tokens of the template's own words."""
        front, back, tail = (self._tokens([part])[0] if part.strip() else None for part in (before, behind, ending))
        m, n, t = (0 if part is None else int(part.argmax()) - 1 for part in (front, back, tail))
        ends = self.end[:, None] - t
        slots = torch.cat([torch.arange(1, m + 1).expand(len(tokens), m), ends - n + torch.arange(n)], dim=1)
        own = torch.cat([part[1 : 1 + count] for part, count in ((front, m), (back, n)) if part is not None])
        if not torch.equal(tokens.gather(1, slots), own.expand(len(tokens), -1)):
            raise UnsupportedError(
                "the tokenizer joins the template with a label",
                where=f"{before}{{}}{behind}{ending}",
                remedy="part them with spaces",
            )
        return slots

    def _moved(self, tokens: Tensor, slots: Tensor, names: list[str], position: Position) -> tuple[Tensor, Tensor]:
        """Tokens and slots with the label between the slots, or before them, as CoOp's code rearranges them."""
        count = slots.shape[1]
        kept = count // 2 if position == "middle" else 0  # slots before the label
        lengths = self._tokens(names).argmax(dim=1) - 1
        order = torch.arange(tokens.shape[1]).repeat(len(names), 1)  # where each token comes from
        for row, length in zip(order, lengths.tolist(), strict=True):
            rest = torch.arange(1 + kept, 1 + count)
            row[1 + kept : 1 + kept + length] = torch.arange(1 + count, 1 + count + length)
            row[1 + kept + length : 1 + count + length] = rest
        places = torch.arange(1, count + 1).repeat(len(names), 1)
        places[:, kept:] += lengths[:, None]
        return tokens.gather(1, order), places

    def _begin(self, start: Tensor, drawn: bool, seed: int) -> None:
        """The context from its (M, W) first values."""
        start = start.expand(len(self.labels), -1, -1) if self.per_label else start
        if drawn:
            start = 0.02 * torch.randn(start.shape, generator=torch.Generator().manual_seed(seed))
        self.context = nn.Parameter(start.clone().to(self.backbone.device))

    def forward(self, shift: Tensor | None = None) -> Tensor:
        """The vectors of the labels with the context as it is: (K, D) float32 unit rows.

        Args:
            shift: (N, W), added to every vector of the context, which gives (N, K, D).
        """
        context = self.context if shift is None else self.context + shift[:, None, None]  # (N, 1 or K, M, W)
        if self.backbone.adds_words:
            return F.normalize(self.meant + context.sum(-2), dim=-1)
        if shift is not None:
            return torch.stack([self._read(own) for own in context])
        return self._read(context)

    def _read(self, context: Tensor) -> Tensor:
        """(M, W), or a context for each label -> (K, D)."""
        rows = torch.arange(len(self.labels), device=self.slots.device)[:, None].expand_as(self.slots)
        embedded = self.embedded.index_put((rows, self.slots), context.expand(len(self.labels), -1, -1))
        return F.normalize(self.backbone.encode_embedded(embedded, self.end).float(), dim=1)

    def _tokens(self, texts: Sequence[str]) -> Tensor:
        """(N, context) on the CPU; the end-of-text id is the largest of CLIP's own tokenizer."""
        tokenizer = self.backbone.tokenizer
        if tokenizer is None:
            raise UnsupportedError("this space has no tokenizer", where=self.backbone.architecture)
        return torch.as_tensor(tokenizer(texts)).cpu()
