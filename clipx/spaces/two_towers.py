"""Training an image tower and a text tower from nothing, one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipx._processes import gather
from clipx.backbone import any_size_image_features, short_text_features, state_sha256
from clipx.errors import InputError
from clipx.spaces.source import TUNE_DRAWS, Source
from clipx.training import TrainConfig, contrastive_loss, sigmoid_loss, train

WORDS_SCALE = 10.0  # on the cosine of two texts: low, so that words are pushed well apart
PLACE_WEIGHT = 4.0  # of a sentence's distance from its captions

LossOf = Callable[[nn.Module, int, int], dict[str, Tensor]]


def train_parts(
    model: Any,
    source: Source,
    tokens: TokenRows,
    plan: Mapping[str, Any],
    schedules: Sequence[TrainConfig],
    folders: Sequence[Path],
    about: dict[str, Any],
    resume: bool,
    device: torch.device,
) -> None:
    """Train the model in place: pictures, words, and, where there is a third folder, the image tower once more."""
    config, words_config, tune_config = schedules
    out, words_out, *more = folders
    loss_name, stages = plan["train"]["loss"], plan["train"]["stages"]
    torch.manual_seed(config.seed)
    pictures = _Pictures(model, len(source.captions()), plan["model"]["embed_dim"], loss_name)
    loss_of = _pictures_loss(source, config, stages, 0, plan)
    train(pictures, loss_of, config, out, identity=about, resume=resume, device=device)
    with torch.no_grad():
        captions, scale = F.normalize(pictures.captions, dim=-1), pictures.scale()

    text = _TextTower(model)
    after = about | {"after": state_sha256(pictures.state_dict())}  # a part goes on only from the one it followed
    loss_of = _words_loss(source, tokens, captions, scale, words_config)
    train(text, loss_of, words_config, words_out, identity=after, resume=resume, device=device)
    if more:
        _tune(pictures, text, source, tokens, plan, tune_config, more[0], about, resume, device)
    with torch.no_grad():
        model.logit_scale.clamp_(max=math.log(100))


def _tune(
    pictures: _Pictures,
    text: nn.Module,
    source: Source,
    tokens: TokenRows,
    plan: Mapping[str, Any],
    config: TrainConfig,
    out: Path,
    about: dict[str, Any],
    resume: bool,
    device: torch.device,
) -> None:
    """Train the image tower towards where the text tower put the captions."""
    with torch.no_grad():
        texts = source.captions()
        parts = [text(tokens(texts[i : i + 256])) for i in range(0, len(texts), 256)]
        pictures.captions.copy_(torch.cat(parts))
    pictures.captions.requires_grad_(False)
    loss_of = _pictures_loss(source, config, [plan["train"]["stages"][-1]], TUNE_DRAWS, plan)
    after = about | {"after": state_sha256(pictures.state_dict())}
    train(pictures, loss_of, config, out, identity=after, resume=resume, device=device)


def _pictures_loss(
    source: Source, config: TrainConfig, stages: Sequence[tuple[float, int]], first: int, plan: Mapping[str, Any]
) -> LossOf:
    """Pictures against captions; batches begin at the draw ``first``, image sizes follow ``stages``."""
    mean, std = plan["preprocess"]["mean"], plan["preprocess"]["std"]

    def loss_of(module: nn.Module, step: int, draw: int) -> dict[str, Tensor]:
        image_size = next(size for until, size in stages if step < until * config.steps)
        batch = source.batch(first + draw, config.batch_size, image_size, mean, std)
        where = next(module.parameters()).device
        image, captions, scale, bias = module(batch.pixels.to(where, memory_format=torch.channels_last))
        image, targets, ignore = map(gather, (image, batch.targets.to(where), batch.ignore.to(where)))
        if plan["train"]["loss"] == "sigmoid":
            return {"loss": sigmoid_loss(image, captions, scale, bias, targets, ignore), "scale": scale}
        return {"loss": contrastive_loss(image, captions, scale, targets, ignore), "scale": scale}

    return loss_of


def _words_loss(source: Source, tokens: TokenRows, captions: Tensor, scale: Tensor, config: TrainConfig) -> LossOf:
    """Sentences against captions, near them, and pairs of one meaning against each other.

    Args:
        source: of the texts.
        tokens: texts -> token ids.
        captions: (U, D) unit vectors that pictures were matched with.
        scale: on the cosine of sentences and captions, a scalar.
        config: of this part.
    """

    def loss_of(module: nn.Module, step: int, draw: int) -> dict[str, Tensor]:
        batch = source.sentences(draw, config.batch_size)
        pairs = source.dictionary(draw, config.batch_size)
        n = len(batch.texts)
        texts = module(tokens(batch.texts + [text for pair in pairs for text in pair]))
        where = texts.device
        targets, ignore = gather(batch.targets.to(where)), gather(batch.ignore.to(where))
        sentences, left, right = map(gather, (texts[:n], texts[n::2], texts[n + 1 :: 2]))
        matching = contrastive_loss(sentences, captions.to(where), scale.to(where), targets, ignore)
        # At the pictures' scale a sentence is distinguished long before it lies where its captions and pictures lie.
        places = F.normalize(targets @ captions.to(where), dim=-1)
        distance = (1 - (sentences * places).sum(dim=1)).mean()
        synonyms = contrastive_loss(left, right, texts.new_tensor(WORDS_SCALE), torch.eye(len(left), device=where))
        return {
            "loss": matching + PLACE_WEIGHT * distance + synonyms,
            "sentences": matching,
            "distance": distance,
            "dictionary": synonyms,
        }

    return loss_of


class TokenRows:
    """Texts -> ids in a small token table, which holds only the rows that captions can reach.

    A table a tenth the size, and as much less to update. ``restore`` puts the rows back into the full one.
    """

    def __init__(self, model: Any, tokenize: Callable[[list[str]], Tensor], phrases: list[str], folder: Path):
        self.model, self.tokenize, self.folder = model, tokenize, folder
        self.full = model.token_embedding
        self.rows = tokenize(phrases).unique()
        self.place = torch.full((self.full.num_embeddings,), -1)
        self.place[self.rows] = torch.arange(len(self.rows))
        weight = self.full.weight[self.rows].detach()
        model.token_embedding = nn.Embedding(len(self.rows), self.full.embedding_dim, _weight=weight)

    def __call__(self, texts: list[str]) -> Tensor:
        tokens = self.place[self.tokenize(texts)]
        if int(tokens.min()) < 0:
            raise InputError("a caption holds a word that is missing in the source's phrases()", where=self.folder)
        return tokens.to(self.model.logit_scale.device)

    def restore(self) -> None:
        """Give the model its full table, with the trained rows."""
        with torch.no_grad():
            self.full.weight[self.rows] = self.model.token_embedding.weight.to(self.full.weight)
        self.model.token_embedding = self.full


class _TextTower(nn.Module):
    """Tokens in, unit vectors out."""

    def __init__(self, model: Any):
        super().__init__()
        self.token_embedding, self.transformer, self.ln_final = model.token_embedding, model.transformer, model.ln_final
        self.positional_embedding, self.text_projection = model.positional_embedding, model.text_projection
        self.register_buffer("attn_mask", model.attn_mask, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return F.normalize(short_text_features(self, tokens), dim=-1)


class _Pictures(nn.Module):
    """Pixels in; unit vectors of pictures, of captions (a free vector each), the loss's scale and bias out."""

    logit_scale: Tensor

    def __init__(self, model: Any, captions: int, dim: int, loss_name: str):
        super().__init__()
        self.visual, self.logit_scale = model.visual, model.logit_scale
        self.captions = nn.Parameter(torch.randn(captions, dim))
        self.bias = nn.Parameter(torch.tensor(-10.0)) if loss_name == "sigmoid" else None

    def scale(self) -> Tensor:
        return self.logit_scale.clamp(max=math.log(100)).exp()

    def forward(self, pixels: Tensor):
        image = F.normalize(any_size_image_features(self.visual, pixels).float(), dim=-1)
        return image, F.normalize(self.captions, dim=-1), self.scale(), self.bias
