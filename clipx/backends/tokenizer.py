"""Tokenizers of pretrained CLIPs by the ``tokenizers`` library, from one file; the ids are open_clip's.

``FileTokenizer`` reads the file, and needs neither open_clip nor transformers; the functions after it write the file
from open_clip's tokenizers.
"""

from __future__ import annotations

import html
import json
import re
import string
import sys
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from clipx.errors import InputError, SpaceError, UnsupportedError, first_line
from clipx.files import sha256_of, write_whole

FILE = "tokenizer.json"
PUNCTUATION = str.maketrans("", "", string.punctuation)


class FileTokenizer:
    """Texts -> (N, L) token ids, int64: L is the context, or with ``cut_padding`` the length of the longest text.

    Args:
        folder: where the file lies.
        file: its name, in the format of the ``tokenizers`` library; special tokens around a text are its business.
        sha256: of the file.
        context: the most tokens that a text may have, special ones included.
        clean: how texts are cleaned, open_clip's word for it: ``"lower"``, ``"whitespace"`` or ``"canonicalize"``.
        padding: the token that fills up short texts.
        left: whether these are filled up on the left.
        literal: what stands for one token where a text spells it out -> its id.
        zeroed: a token that is replaced by 0, such as BERT's separator in CLIPA; or None.
        last: a token that stands at the very end, behind the padding, such as CLIPS's class token; or None.
        cut_padding: leave out the columns that hold padding only.
    """

    def __init__(
        self,
        folder: str | PathLike,
        file: str,
        sha256: str,
        context: int,
        clean: str,
        padding: int,
        left: bool = False,
        literal: Mapping[str, int] | None = None,
        zeroed: int | None = None,
        last: int | None = None,
        cut_padding: bool = False,
    ):
        import tokenizers

        path = Path(folder) / file
        try:
            content = path.read_bytes()
            if sha256_of(content) != sha256:
                raise SpaceError("is not the tokenizer that was exported: its SHA-256 differs", where=path)
            self.tokenizer = tokenizers.Tokenizer.from_buffer(content)
        except SpaceError:
            raise
        except Exception as error:  # the library raises plain ones
            raise SpaceError(f"is no tokenizer: {first_line(error)}", where=path) from error
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.context, self.clean, self.padding, self.left = context, clean, padding, left
        self.zeroed, self.last, self.cut_padding = zeroed, last, cut_padding
        self.literal = dict(literal or {})

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> token ids.

        Raises:
            InputError: a text is longer than the context.
        """
        rows = [self.ids(text) for text in texts]
        room = self.context - (self.last is not None)
        for row, text in zip(rows, texts, strict=True):
            if len(row) > room:
                raise too_long(text, len(row) + (self.last is not None), self.context)
        length = max(map(len, rows), default=1) if self.cut_padding else self.context
        out = np.full((len(rows), length), self.padding, np.int64)
        for i, row in enumerate(rows):
            start = room - len(row) if self.left else 0
            out[i, start : start + len(row)] = row
        if self.zeroed is not None:
            out[out == self.zeroed] = 0
        if self.last is not None:
            out[:, -1] = self.last
        return out

    def ids(self, text: str) -> list[int]:
        """The tokens of a text, special ones included, of any number."""
        text = cleaned(text, self.clean)
        if not any(word in text for word in self.literal):
            return self.tokenizer.encode(text).ids
        start, end = self.tokenizer.encode("").ids
        found, at = [start], 0
        for _, (begin, stop) in self.tokenizer.pre_tokenizer.pre_tokenize_str(text):
            if text[begin:stop] in self.literal:  # a piece of its own: no mark precedes it
                found += [*self._plain(text[at:begin]), self.literal[text[begin:stop]]]
                at = stop
        return [*found, *self._plain(text[at:]), end]

    def _plain(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids


def too_long(text: str, count: int, context: int) -> InputError:
    """The error for a text of more tokens than the context holds."""
    what = f"a text of {count} tokens does not fit the {context} this space reads"
    return InputError(what, where=f"{text[:40]}...", remedy="shorten it")


def cleaned(text: str, how: str) -> str:
    """As open_clip's tokenizers clean texts: broken encodings mended, HTML entities read, white space made single."""
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    if how == "canonicalize":
        text = text.replace("_", " ").translate(PUNCTUATION).lower()
    text = " ".join(text.split())
    return text.lower() if how == "lower" else text


def save_tokenizer(tokenizer: Any, folder: Path) -> dict[str, Any]:
    """Write an open_clip tokenizer's file.

    Args:
        tokenizer: an open_clip ``SimpleTokenizer`` or ``HFTokenizer``.
        folder: where to.

    Returns:
        Arguments of ``FileTokenizer`` after the folder.

    Raises:
        UnsupportedError: it does what no file can say.
    """
    from open_clip import tokenizer as theirs

    clean = next((how for how in ("lower", "whitespace", "canonicalize") if _cleans(tokenizer, how)), None)
    if clean is None:
        raise UnsupportedError(f"the cleaning function of this tokenizer is unknown: {tokenizer.clean_fn}")
    options: dict[str, Any] = {"context": tokenizer.context_length, "clean": clean}
    if isinstance(tokenizer, theirs.SimpleTokenizer):
        options |= _save_simple(tokenizer, folder)
    else:
        options |= _save_hub(tokenizer, folder)
    return {"file": FILE, "sha256": sha256_of(folder / FILE), **options}


def _cleans(tokenizer: Any, how: str) -> bool:
    from open_clip.tokenizer import get_clean_fn

    return tokenizer.clean_fn is get_clean_fn(how)


def _save_simple(tokenizer: Any, folder: Path) -> dict[str, Any]:
    """CLIP's own byte pairs."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    if getattr(tokenizer.reduction_fn, "__name__", "") == "syntax_mask_tokenize":
        raise UnsupportedError("a tokenizer that parses the syntax of texts cannot be exported")
    ids = dict(tokenizer.encoder)
    merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.get)
    written = Tokenizer(models.BPE(vocab=ids, merges=merges, end_of_word_suffix="</w>"))
    written.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_pieces(tokenizer)), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    start, end = (tokenizer.decoder[i] for i in (tokenizer.sot_token_id, tokenizer.eot_token_id))
    written.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(name, ids[name]) for name in (start, end)]
    )
    write_whole(folder / FILE, written.to_str())
    return {"padding": 0, "literal": {tokenizer.decoder[i]: i for i in tokenizer.all_special_ids}}


def _pieces(tokenizer: Any) -> str:
    """open_clip's pattern of pieces, in the syntax of the tokenizers library.

    Classes of letters, digits and others are written out, for libraries differ in the version of Unicode that they know
    and in what their classes hold where case is ignored; and single letters in both cases.
    """
    literals = [_either_case(tokenizer.decoder[i]) for i in tokenizer.all_special_ids]
    endings = [_either_case(ending) for ending in ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")]
    letters, digits, others = map(_ranges, (r"[\p{L}]", r"[\p{N}]", r"[^\s\p{L}\p{N}]"))
    return "|".join([*literals, *endings, f"[{letters}]+", f"[{digits}]", f"[{others}]+"])


def _either_case(text: str) -> str:
    from open_clip.tokenizer import re as regex  # by which open_clip parts texts

    found = []
    for letter in text:
        same = [c for c in {letter, letter.upper(), "\u017f", "\u212a"} if regex.fullmatch(letter, c, regex.IGNORECASE)]
        found.append(f"[{''.join(sorted(same))}]" if letter.isalpha() else re.escape(letter))
    return "".join(found)


def _ranges(pattern: str) -> str:
    """The characters that a class of the ``regex`` library holds, case ignored, as ranges of code points."""
    from open_clip.tokenizer import re as regex  # by which open_clip parts texts

    every = "".join(map(chr, [*range(0xD800), *range(0xE000, sys.maxunicode + 1)]))
    runs = regex.finditer(f"{pattern}+", every, regex.IGNORECASE)
    return "".join(rf"\x{{{ord(run.group()[0]):x}}}-\x{{{ord(run.group()[-1]):x}}}" for run in runs)


def _save_hub(tokenizer: Any, folder: Path) -> dict[str, Any]:
    """A tokenizer of the transformers library, with all its files, so that it loads from the folder there as well."""
    own = tokenizer.tokenizer
    if not hasattr(own, "backend_tokenizer"):
        raise UnsupportedError(f"{type(own).__name__} has no form that the tokenizers library reads")
    own.save_pretrained(folder)
    tree = json.loads(own.backend_tokenizer.to_str())
    tree["padding"] = tree["truncation"] = None
    options: dict[str, Any] = {"padding": own.pad_token_id, "left": own.padding_side == "left"}
    if tokenizer.strip_sep_token:
        options["zeroed"] = own.sep_token_id
    if tokenizer.tokenizer_mode == "clips":
        begin, end = own.bos_token, own.eos_token
        tree["post_processor"] = _around(begin, own.bos_token_id, end, own.eos_token_id)
        options |= {"padding": own.pad_token_id, "left": False, "last": own.cls_token_id}
        options.pop("zeroed", None)
    write_whole(folder / FILE, json.dumps(tree, ensure_ascii=False))
    return options


def _around(begin: str, begin_id: int, end: str, end_id: int) -> dict[str, Any]:
    from tokenizers import processors

    around = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(begin, begin_id), (end, end_id)]
    )
    return json.loads(around.__getstate__())
