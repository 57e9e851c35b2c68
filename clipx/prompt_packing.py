"""What a ``PromptLearner`` says, with what its texts have in common read once.

In a causal text tower nothing before a label depends on it. So the start of text and the context, which stand before
every label, are read once for all labels; and no token is read that stands behind the end of a text.

>>> packed = packed_prompts(PromptLearner(space, labels, 4))                               # doctest: +SKIP
>>> packed()                                          # (K, D), as the learner's own; gradients reach the same context
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.prompt_learning import PromptLearner

MOST_TOKENS = 256  # of a sequence: the attention's cost is quadratic in it, and every sequence has its own beginning


@dataclass(frozen=True)
class _Pack:
    """Some labels' texts side by side: (T, W) what follows the beginning of B tokens, and see ``encode_packed``."""

    own: Tensor
    places: Tensor
    mask: Tensor
    ends: Tensor


class PackedPrompts(nn.Module):
    """A learner whose labels all stand behind one context, read with fewer tokens; equal to 1e-5.

    Args:
        learner: unified, on a causal text tower, with all of its context before the label.
        most_tokens: of a sequence; one text may be longer.

    Attributes:
        tokens: of all sequences together, which memory and time grow with.
    """

    def __init__(self, learner: PromptLearner, most_tokens: int = MOST_TOKENS):
        super().__init__()
        self.learner = learner
        begin = 1 + learner.slots.shape[1]  # start of text and context
        tails = [learner.embedded[k, begin : int(end) + 1] for k, end in enumerate(learner.end)]
        groups: list[list[Tensor]] = [[]]
        for tail in tails:
            if groups[-1] and begin + sum(map(len, groups[-1])) + len(tail) > most_tokens:
                groups.append([])
            groups[-1].append(tail)
        self.packs = [_pack(group, begin) for group in groups]
        self.tokens = sum(len(pack.places) for pack in self.packs)

    def forward(self, shift: Tensor | None = None) -> Tensor:
        """As ``PromptLearner``: (K, D) unit rows, or of (N, W) shifts of the context (N, K, D)."""
        learner = self.learner
        context = learner.context[None] if shift is None else learner.context + shift[:, None]  # (N, M, W)
        start = learner.embedded[:1, :1].expand(len(context), -1, -1)
        parts = []
        for pack in self.packs:
            embedded = torch.cat([start, context, pack.own.expand(len(context), -1, -1)], dim=1)
            parts.append(learner.backbone.encode_packed(embedded, pack.places, pack.mask, pack.ends))
        rows = F.normalize(torch.cat(parts, dim=1).float(), dim=-1)
        return rows[0] if shift is None else rows


def packed_prompts(learner: PromptLearner) -> PromptLearner | PackedPrompts:
    """The fastest equal of a learner: itself where nothing stands before all labels alike."""
    if learner.backbone.adds_words or learner.per_label:
        return learner
    count = learner.slots.shape[1]
    before = torch.arange(1, 1 + count).expand(len(learner.labels), count)
    return PackedPrompts(learner) if torch.equal(learner.slots.cpu(), before) else learner


def _pack(tails: list[Tensor], begin: int) -> _Pack:
    device, size = tails[0].device, begin + sum(map(len, tails))
    sees = torch.zeros(size, size, dtype=torch.bool)
    sees[:begin, :begin] = torch.ones(begin, begin).tril().bool()
    sees[begin:, :begin] = True
    places, ends, at = list(range(begin)), [], begin
    for tail in tails:
        span = slice(at, at + len(tail))
        sees[span, span] = torch.ones(len(tail), len(tail)).tril().bool()
        places += range(begin, begin + len(tail))
        at += len(tail)
        ends.append(at - 1)
    mask = torch.zeros(size, size).masked_fill(~sees, -math.inf)
    numbers = (torch.tensor(values, device=device) for values in (places, ends))
    return _Pack(torch.cat(tails), next(numbers), mask.to(device), next(numbers))
