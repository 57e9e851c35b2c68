"""The language of a search: words and files, added and taken away.

``beach.jpg + "at night" - 0.5*people``: terms are joined by `` + `` and `` - `` with white space on both sides, a
number and ``*`` before a term weigh it, double quotes make it text whatever files there are, and otherwise an existing
file, and any URL, wins over text. ``depth:room.png`` reads the file by the modality that is named.

``parse`` makes terms of a query, and ``Queries`` vectors of encoded terms.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from clipx.errors import FileError, InputError
from clipx.index.arrays import unit
from clipx.index.remote import RemoteItem, is_url
from clipx.index.scan import absolute
from clipx.index.vocabulary import Vocabulary

if TYPE_CHECKING:
    from clipx.embedding import Embedding

_WEIGHT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*\*\s*")
_SIGN = re.compile(r"(?:^|(?<=\s))[+-](?=\s|$)")
_LIKE_A_FILE = re.compile(r"\S+\.[a-z][a-z0-9]{1,5}", re.IGNORECASE)


@dataclass(frozen=True)
class Term:
    """One part of a query: a text, a file, or a vector.

    Args:
        content: ``Path`` for a file, ``RemoteItem`` for one at a URL, ``str`` for a text, an ``Embedding`` of one row
            for what is encoded already, such as ``Index.embedding_of`` returns.
        weight: how much it counts; negative where it is taken away.
        modality: what reads the file, where the query names one.
    """

    content: str | Path | RemoteItem | Embedding
    weight: float = 1.0
    modality: str | None = None


def parse(query: str | Sequence[str]) -> list[Term]:
    """A query -> its terms, in order.

    Args:
        query: one string, or the words of a command line, which are joined by a space.

    Raises:
        InputError: nothing in it, a sign without a term, a quote that does not end, words after one, a weight that is
            not positive, or no term that is added; the message shows the place.
        FileError: what looks like a file's name is no file.
    """
    text = query if isinstance(query, str) else " ".join(query)
    if not text.strip():
        raise InputError("the query is empty", remedy="give a sentence or a file")
    terms: list[Term] = []
    at, sign = _skip(text, 0), 1.0
    while True:
        term, at = _term(text, at)
        terms.append(replace(term, weight=sign * term.weight))
        at = _skip(text, at)
        if at == len(text):
            break
        sign = 1.0 if text[at] == "+" else -1.0
        at = _skip(text, at + 1)
    if all(term.weight < 0 for term in terms):
        _wrong(text, 0, "every term is taken away", "begin with what to look for")
    return terms


def require_terms(terms: Sequence[Term]) -> None:
    """Raise InputError for terms that ``parse`` would not make: none, an empty text, a weight of 0, all taken away."""
    if not terms:
        raise InputError("the query is empty", remedy="give a sentence or a file")
    for term in terms:
        if isinstance(term.content, str) and not term.content.strip():
            raise InputError("a term has no text", where="query", remedy="write what to look for")
        if not (math.isfinite(term.weight) and term.weight != 0):
            raise InputError(f"a weight must be a number other than 0, got {term.weight}", where="query")
    if all(term.weight < 0 for term in terms):
        raise InputError("every term is taken away", where="query", remedy="begin with what to look for")


def _term(text: str, at: int) -> tuple[Term, int]:
    """The term that begins at a place, and where it ends: at a sign, or with the text."""
    signs = [match.start() for match in _SIGN.finditer(text, at)]
    if at == len(text) or at in signs:
        _wrong(text, at, "a term is missing", "a term is a text or a file")
    ends = [*signs, len(text)]
    weight, start = 1.0, at
    if (file := _longest_file(text, at, ends)) is not None:
        return file
    if match := _WEIGHT.match(text, at):
        weight, start = float(match[1]), match.end()
        if not (math.isfinite(weight) and weight > 0):
            _wrong(text, at, "a weight must be positive", "write `a - b` to take b away")
        if start == len(text) or start in signs:
            _wrong(text, start, "a weight weighs nothing", "write a term behind it")
        if (file := _longest_file(text, start, ends)) is not None:
            return replace(file[0], weight=weight), file[1]
    if text[start] == '"':
        return _quoted(text, start, weight)
    words, end = text[start : ends[0]].strip(), ends[0]
    reader, name = _named(words)
    if _LIKE_A_FILE.fullmatch(words) and (_readable(words) or reader is not None):
        raise FileError("no such file", where=name, remedy="to search for the words, put them in double quotes")
    return Term(words, weight), end


def _longest_file(text: str, at: int, ends: Sequence[int]) -> tuple[Term, int] | None:
    """The URL, or the existing file of the longest name, that begins at a place and ends at one of ``ends``."""
    first = text[at : ends[0]].strip()
    for modality, name in ((None, first), _named(first)):
        if is_url(name):
            path = absolute(name)
            return Term(RemoteItem(path) if is_url(path) else Path(path), modality=modality), ends[0]
    for end in reversed(ends):
        whole = text[at:end].strip()
        for modality, name in ((None, whole), _named(whole)):
            if _is_file(name):
                return Term(Path(name).expanduser(), modality=modality), end
    return None


def _is_file(name: str) -> bool:
    try:
        return bool(name) and os.path.isfile(os.path.expanduser(name))
    except ValueError:  # a null character
        return False


def _named(text: str) -> tuple[str | None, str]:
    """``modality:name`` in its parts; None and all of the text where no modality is called so."""
    from clipx.registry import MODALITIES, registered

    modality, colon, name = text.partition(":")
    return (modality, name.strip()) if colon and modality in registered(MODALITIES) else (None, text)


def _quoted(text: str, at: int, weight: float) -> tuple[Term, int]:
    close = text.find('"', at + 1)
    if close < 0:
        _wrong(text, at, "a quote that does not end", 'close it with "')
    if not text[at + 1 : close].strip():
        _wrong(text, at, "nothing between the quotes", "write what to look for")
    after = _skip(text, close + 1)
    if after < len(text) and (after == close + 1 or not _SIGN.match(text, after)):
        _wrong(text, after, "something after a quote", "join terms by + or - with a space on both sides")
    return Term(text[at + 1 : close].strip(), weight), after


def _readable(name: str) -> bool:
    from clipx.registry import modality_of

    try:
        return bool(modality_of(name))
    except InputError:
        return False


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _wrong(text: str, at: int, what: str, remedy: str) -> NoReturn:
    shown = f"{text[:at]}>>>{text[at:]}"
    if len(shown) > 120:
        shown = f"...{text[max(0, at - 40) : at]}>>>{text[at : at + 40]}..."
    raise InputError(f"{what}, at column {at + 1}: {shown}", where="query", remedy=remedy)


class Queries:
    """Q queries made of the same kinds of terms: weighted sums of T terms, zeros where those cancel each other out.

    What no ranking asks for is not computed.

    Args:
        vocabulary: of the index.
        terms: (T, Q, D) unit rows.
        weights: T numbers.
        means: (T, D) the mean of each term's kind; None: nothing is centred.
    """

    def __init__(
        self, vocabulary: Vocabulary, terms: np.ndarray, weights: Sequence[float], means: np.ndarray | None = None
    ):
        self._vocabulary, self._terms, self._means = vocabulary, terms, means
        self._weights = np.asarray(weights, np.float32)

    @cached_property
    def vectors(self) -> np.ndarray:
        """(Q, D) unit rows."""
        return self._sum(self._terms)

    @cached_property
    def words(self) -> np.ndarray:
        """(Q, B) unit rows: the weight of each word, see ``Vocabulary.dense``; each term keeps its own words."""
        known = self._vocabulary
        return self._sum(np.stack([known.dense(*known.word_weights(term)) for term in self._terms]))

    @cached_property
    def centred(self) -> np.ndarray | None:
        """(Q, D) unit rows: as ``vectors``, each term less the mean of its kind; None without means."""
        return None if self._means is None else self._sum(self._terms - self._means[:, None])

    def nearest_words(self) -> np.ndarray:
        """(T, Q) positions of the words nearest to each term. That of a sum may be any of its terms' by a hair."""
        return np.stack([self._vocabulary.nearest(term) for term in self._terms])

    def top_words(self, count: int) -> np.ndarray:
        """(C, D) vectors of the ``count`` words of the highest weight in the first query; fewer where there are."""
        best = np.argsort(-self.words[0], kind="stable")[:count]
        return self._vocabulary.vectors[best[self.words[0][best] > 0]]

    def _sum(self, rows: np.ndarray) -> np.ndarray:
        return unit(np.einsum("t,tqd->qd", self._weights, rows).astype(np.float32))
