"""A text tower without attention, which reads the tokens of a lexicon.

It averages the vectors of a text's phrases and adds what a small perceptron reads from the mean of the embeddings of
its subwords.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LexiconText(nn.Module):
    """(N, L) tokens of ``Lexicon`` -> (N, D), not normalised.

    Vectors of phrases that pictures taught are kept as they are; the others are int8 coordinates on a common basis.

    Args:
        dim: D.
        seen: number of phrases with vectors of their own, the first.
        phrases: number of all phrases.
        basis: coordinates of the others.
        subwords: size of the subword vocabulary.
        width, hidden: of the subwords' embeddings and of the perceptron.
        share: weight of the subwords' unit vector beside the phrases' mean, where a text has both.
    """

    def __init__(
        self, dim: int, seen: int, phrases: int, basis: int, subwords: int, width: int, hidden: int, share: float = 0.5
    ):
        super().__init__()
        self.share = share
        self.codes: Tensor
        self.seen = nn.Parameter(torch.zeros(seen, dim))
        self.register_buffer("codes", torch.zeros(phrases - seen, basis, dtype=torch.int8))
        self.basis = nn.Linear(basis, dim)
        self.subword_embedding = nn.Embedding(subwords, width, padding_idx=0)
        self.subword_mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, dim)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        numbers = tokens - self.subword_embedding.num_embeddings
        is_phrase, is_subword = numbers >= 0, (tokens > 0) & (numbers < 0)
        vectors = torch.where(is_phrase[..., None], self.phrase_vectors(numbers.clamp(min=0)), 0)
        mean = vectors.sum(1) / is_phrase.sum(1, keepdim=True).clamp(min=1)
        guess = F.normalize(self.from_subwords(torch.where(is_subword, tokens, 0)), dim=1)
        weight = torch.where(is_phrase.any(1, keepdim=True), self.share, 1.0) * is_subword.any(1, keepdim=True)
        return mean + weight.to(guess.dtype) * guess

    def phrase_vectors(self, numbers: Tensor) -> Tensor:
        """(...) numbers of phrases -> (..., D) unit vectors."""
        count = len(self.seen)
        own = F.embedding(numbers.clamp(max=count - 1), self.seen)
        coded = F.embedding((numbers - count).clamp(min=0), self.codes).to(own.dtype) if len(self.codes) else None
        rows = own if coded is None else torch.where((numbers < count)[..., None], own, self.basis(coded))
        return F.normalize(rows, dim=-1)

    def from_subwords(self, tokens: Tensor) -> Tensor:
        """(N, L) subwords, padded with 0 -> (N, D)."""
        count = (tokens > 0).sum(1, keepdim=True).clamp(min=1)
        return self.subword_mlp(self.subword_embedding(tokens).sum(1) / count)
