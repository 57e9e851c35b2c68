"""What reads a word that the lexicon does not hold: subwords, distilled from the lexicon's own vectors."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from parts import EXTRA
from torch import Tensor, nn

from clipx.backbone.lexicon_text import LexiconText
from clipx.errors import MissingDependencyError
from clipx.lexicon import Lexicon
from clipx.training import TrainConfig, train

SUBWORDS = 8000
START = "\u2581"  # what sentencepiece writes before a word
TEMPERATURE = 0.05
LONGEST = 12  # subwords of a phrase that training reads


def subword_vocabulary(phrases: Sequence[str]) -> list[str]:
    """Padding, what no piece spells, then byte-pair pieces (Sennrich et al., 2016) as WordPiece writes them.

    Raises:
        MissingDependencyError: sentencepiece is not installed.
    """
    try:
        import sentencepiece
    except ImportError as error:
        raise MissingDependencyError("the recipe needs sentencepiece", remedy=EXTRA) from error
    words = sorted({word for phrase in phrases for word in phrase.split()})
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words), model_writer=model, model_type="bpe", vocab_size=SUBWORDS, num_threads=1,
        hard_vocab_limit=False, character_coverage=1.0, bos_id=-1, eos_id=-1, minloglevel=2,
    )  # fmt: skip
    trained = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [trained.id_to_piece(i) for i in range(trained.get_piece_size())]
    spelt = [
        piece[1:] if piece.startswith(START) else f"##{piece}" for piece in pieces if piece not in ("<unk>", START)
    ]
    letters = sorted({letter for word in words for letter in word})
    return list(dict.fromkeys(["[PAD]", "[UNK]", *letters, *(f"##{letter}" for letter in letters), *spelt]))


def distil(
    text: LexiconText, lexicon: Lexicon, vectors: Tensor, config: TrainConfig, out: Path, resume: bool, identity: dict
) -> LexiconText:
    """Teach the subwords' embeddings and perceptron to guess the vectors of the lexicon's phrases from their spelling.

    Args:
        text: holds the vectors of the phrases already; these stand still.
        lexicon: spells the phrases.
        vectors: (P, D) unit, by number of phrase.
        config, out, resume, identity: as ``clipx.training.train`` takes them.
    """
    names = sorted(lexicon.phrases)
    rows = torch.zeros(len(names), LONGEST, dtype=torch.long)
    for i, name in enumerate(names):
        pieces = (lexicon._as_subwords(word) for word in name.replace("-", " ").split())
        spelt = [token for piece in pieces for token in piece.tokens][:LONGEST]
        rows[i, : len(spelt)] = torch.tensor(spelt)
    numbers = torch.tensor([lexicon.phrases[name] for name in names])
    single = torch.tensor([1.0 if " " not in name else 0.5 for name in names]).double()
    reader = Reader(text)
    with torch.no_grad():
        text.subword_embedding.weight.normal_(std=0.3, generator=torch.Generator().manual_seed(config.seed))
        text.subword_embedding.weight[0] = 0  # padding

    def loss_of(module: nn.Module, step: int, draw: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + draw)
        chosen = torch.multinomial(single, config.batch_size, True, generator=generator)
        tokens, wanted = rows[chosen], vectors[numbers[chosen]]
        guess = F.normalize(module(tokens), dim=1)
        same = wanted @ wanted.T > 0.97
        same.fill_diagonal_(False)
        logits = (guess @ wanted.T / TEMPERATURE).masked_fill(same, -1e4)
        cosine = 1 - (guess * wanted).sum(1).mean()
        return {"loss": 2 * cosine + 0.3 * F.cross_entropy(logits, torch.arange(len(tokens))), "cosine": 1 - cosine}

    train(reader, loss_of, config, out, identity=identity, resume=resume)
    return text


class Reader(nn.Module):
    """The parts of a text tower that learn, and what they make of (N, L) subwords: (N, D)."""

    def __init__(self, text: LexiconText):
        super().__init__()
        self.subword_embedding, self.subword_mlp = text.subword_embedding, text.subword_mlp

    def forward(self, tokens: Tensor) -> Tensor:
        return LexiconText.from_subwords(self, tokens)  # type: ignore[arg-type]  # it has all that this asks for


def compressed(vectors: np.ndarray, basis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(P, D) -> codes (P, basis) int8, matrix (D, basis), offset (D,): the vectors are codes @ matrix.T + offset."""
    mean = vectors.mean(0)
    _, _, axes = np.linalg.svd(np.linalg.qr(vectors - mean, mode="r"))
    axes = axes[:basis]
    rows = (vectors - mean) @ axes.T
    step = np.maximum(np.abs(rows).max(0) / 127, 1e-12)
    return np.round(rows / step).astype(np.int8), (axes * step[:, None]).T, mean
