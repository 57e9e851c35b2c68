"""Tokenizers: CLIP's own, or a Hugging Face one; both refuse a text that they would have to cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from clipx.backbone.config import CONFIG, has_lexicon
from clipx.backbone.hub import fetching, reachable
from clipx.errors import InputError, SpaceError

Tokenizer = Callable[[Sequence[str]], Tensor | np.ndarray]


def build_tokenizer(config: Mapping[str, Any], folder: Path | None = None, *, where: str = CONFIG) -> Tokenizer:
    """The tokenizer that a ``model_cfg`` names: the standard CLIP one, or a Hugging Face one.

    The result refuses (InputError) a text that is longer than the context.

    Raises:
        SpaceError: the tokenizer cannot be had, or its vocabulary is not the model's.
    """
    if has_lexicon(config):
        raise SpaceError("its words are in vocabulary.json: it loads as an embedded space", where=where)
    text = config.get("text_cfg", {})
    context = text.get("context_length", 77)
    options = dict(text.get("tokenizer_kwargs") or {})
    if text.get("hf_tokenizer_name") or text.get("hf_model_name"):
        from open_clip.tokenizer import HFTokenizer

        source = text.get("hf_tokenizer_name")
        if not source:
            raise SpaceError("tokenizer is unknown: text_cfg has hf_model_name but no hf_tokenizer_name", where=where)
        if folder is not None:
            if not [*folder.glob("tokenizer*"), *folder.glob("*.model"), *folder.glob("vocab*")]:
                raise SpaceError("tokenizer files are missing", where=folder, remedy=f"save {source}'s tokenizer there")
            source = str(folder)
        if folder is None and not reachable():
            options["local_files_only"] = True  # the hub's cache may hold it
        with fetching(f"tokenizer {source}"):
            hub = HFTokenizer(source, context_length=context, tokenizer_mode=text.get("tokenizer_mode"), **options)
        return _Tokenizer(hub, lambda t: len(hub.tokenizer(hub.clean_fn(t)).input_ids), context)
    simple = _simple_tokenizer(context, **options)
    if simple.vocab_size != text.get("vocab_size", 49408):
        raise SpaceError(
            f"tokenizer is unknown: the model has {text['vocab_size']} tokens, CLIP's own {simple.vocab_size}",
            where=where,
            remedy="name the tokenizer in text_cfg.hf_tokenizer_name",
        )
    return _Tokenizer(simple, lambda t: len(simple.encode(t)) + 2, context)


@lru_cache(maxsize=8)
def _simple_tokenizer(context: int, **options: Any) -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(context_length=context, **options)


class _Tokenizer:
    """A tokenizer that refuses what it would cut."""

    def __init__(self, tokenize: Callable[[list[str]], Tensor], length: Callable[[str], int], context: int):
        self.tokenize, self.length, self.context = tokenize, length, context

    def __call__(self, texts: Sequence[str]) -> Tensor:
        for text in texts:
            # a token is at least a byte, so short texts need no second look
            if len(text.encode()) > self.context - 2 and self.length(text) > self.context:
                raise InputError(
                    f"a text of {self.length(text)} tokens does not fit the {self.context} this space reads",
                    where=f"{text[:40]}...",
                    remedy="shorten it",
                )
        return self.tokenize(list(texts))
