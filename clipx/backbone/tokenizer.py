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
from clipx.backends.tokenizer import too_long
from clipx.errors import SpaceError

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
        return StrictTokenizer(hub, lambda text: _hub_length(hub, text), context)
    simple = _simple_tokenizer(context, **options)
    if simple.vocab_size != text.get("vocab_size", 49408):
        raise SpaceError(
            f"tokenizer is unknown: the model has {text['vocab_size']} tokens, CLIP's own {simple.vocab_size}",
            where=where,
            remedy="name the tokenizer in text_cfg.hf_tokenizer_name",
        )
    return StrictTokenizer(simple, lambda text: len(simple.encode(text)) + 2, context)


def _hub_length(hub: Any, text: str) -> int:
    """How many tokens open_clip's ``HFTokenizer`` makes of a text; in its mode "clips" three are special."""
    clips = hub.tokenizer_mode == "clips"
    return len(hub.tokenizer(hub.clean_fn(text), add_special_tokens=not clips).input_ids) + 3 * clips


@lru_cache(maxsize=8)
def _simple_tokenizer(context: int, **options: Any) -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(context_length=context, **options)


class StrictTokenizer:
    """A tokenizer that refuses what it would cut.

    Args:
        definition: open_clip's tokenizer.
        length: how many tokens it makes of a text, special ones included.
        context: how many it keeps.
    """

    def __init__(self, definition: Callable[[list[str]], Tensor], length: Callable[[str], int], context: int):
        self.definition, self.length, self.context = definition, length, context

    def __call__(self, texts: Sequence[str]) -> Tensor:
        for text in texts:  # each: cleaning may make a short text longer than its bytes
            count = self.length(text)
            if count > self.context:
                raise too_long(text, count, self.context)
        return self.definition(list(texts))
