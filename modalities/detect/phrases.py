"""Noun phrases of an English sentence, by rules: "a red cup on a table" -> "a red cup", "a table".

A phrase is determiners, adjectives and nouns up to its last noun. Prepositions, pronouns, verbs, conjunctions and
punctuation stand between phrases. Word lists say which words these are; every other word is a noun.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from clipx.errors import InputError, MissingDependencyError
from clipx.modalities.detect import lexicon
from clipx.modalities.detect.boxes import Phrase

CHUNKERS = ("rules", "spacy")
SPACY_MODEL = "en_core_web_sm"
_TOKEN = re.compile(r"[^\W_]+(?:['\u2019\-][^\W_]+)*(?:(?<=s)['\u2019](?!\w))?|[^\w\s]|_")
_FIXED = re.compile(  # prepositions of several words
    r"\b(?:(?:in|at|on|to)\s+(?:the\s+)?(?:very\s+)?(?:front|back|top|bottom|middle|cent(?:er|re)|left|right|side|"
    r"left\s+side|right\s+side|edge)\s+of|next\s+to|close\s+to|on\s+the\s+(?:left|right)|in\s+the\s+(?:background|"
    r"foreground|distance))\b",
    re.IGNORECASE,
)
Kind = Literal["article", "number", "adverb", "adjective", "participle", "noun", "joint", "end"]


@dataclass(frozen=True)
class _Token:
    text: str
    start: int
    kind: Kind

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def noun_phrases(sentence: str, chunker: str = "rules") -> list[Phrase]:
    """The noun phrases of a sentence, in its order; their spans do not overlap.

    Args:
        sentence: English; words of any other language count as nouns.
        chunker: ``"rules"``, or ``"spacy"``: the noun chunks of its small English model, which must be installed.

    Raises:
        InputError: no text, no noun in it, or an unknown chunker.
        MissingDependencyError: spaCy or its model is not installed.
    """
    if not isinstance(sentence, str):
        raise InputError(f"a sentence must be text, got {type(sentence).__name__}")
    if chunker not in CHUNKERS:
        raise InputError(f"no chunker named {chunker!r}", remedy=f"known: {', '.join(CHUNKERS)}")
    spans = _by_spacy(sentence) if chunker == "spacy" else _by_rules(sentence)
    if not spans:
        raise InputError(f"no noun in {sentence!r}", remedy='name things, such as "a red cup on a table"')
    return [Phrase(sentence[start:end], start, end) for start, end in spans]


def spoken_phrase(phrase: str) -> str:
    """A phrase without the articles, possessives, numbers and adverbs that it begins with: "two red cups" -> "red cups"

    A phrase that has no other words stays as it is.
    """
    found = list(_TOKEN.finditer(phrase))
    for token in found:
        word = _plain(token.group())
        if not (word in lexicon.ARTICLES | lexicon.NUMBERS or word.isdecimal() or lexicon.is_adverb(word)):
            return phrase[token.start() :]
    return phrase


def _by_spacy(sentence: str) -> list[tuple[int, int]]:
    try:
        chunks = import_module("spacy").load(SPACY_MODEL)(sentence).noun_chunks
    except (ImportError, OSError) as error:  # OSError: the model is not there
        remedy = f"pip install spacy && python -m spacy download {SPACY_MODEL}, or take the rules"
        raise MissingDependencyError("the chunker spacy is not installed", remedy=remedy) from error
    spans = [(chunk.start_char, chunk.end_char) for chunk in chunks]
    return [(start, end) for start, end in spans if _plain(sentence[start:end]) not in lexicon.PRONOUNS]


def _by_rules(sentence: str) -> list[tuple[int, int]]:
    """Start and end of each phrase: runs of tokens between the ends, cut behind their last noun."""
    spans: list[tuple[int, int]] = []
    run: list[_Token] = []
    for token in [*_tokens(sentence), _Token("", len(sentence), "end")]:
        if token.kind == "end" or (token.kind == "article" and any(one.kind != "article" for one in run)):
            spans += _cut(run)
            run = []
        if token.kind != "end" and (run or token.kind != "joint"):
            run.append(token)
    return spans


def _cut(run: list[_Token]) -> list[tuple[int, int]]:
    """The span of a run up to its last noun, without adverbs before it; [] where it has no noun."""
    while run and run[-1].kind != "noun":
        run = run[:-1]
    while run and run[0].kind == "adverb":
        run = run[1:]
    return [(run[0].start, run[-1].end)] if run else []


def _tokens(sentence: str) -> list[_Token]:
    """The words and marks of a sentence with their kinds."""
    fixed = [match.span() for match in _FIXED.finditer(sentence)]
    found = [m for m in _TOKEN.finditer(sentence) if not any(a <= m.start() < b for a, b in fixed)]
    gaps = {i for i, m in enumerate(found) if i and any(found[i - 1].end() <= a < m.start() for a, _ in fixed)}
    words = [_plain(m.group()) for m in found]
    tokens: list[_Token] = []
    run: list[int] = []  # places of the run's words so far
    for i, match in enumerate(found):
        if i in gaps:
            tokens.append(_Token("", match.start(), "end"))
            run = []
        kind = _kind(words, i, run, tokens)
        tokens.append(_Token(match.group(), match.start(), kind))
        run = [] if kind == "end" else [*run, i]
    return tokens


def _kind(words: list[str], i: int, run: list[int], before: list[_Token]) -> Kind:
    """The kind of a word, by itself, by those of its run so far and by the next one."""
    word, after = words[i], words[i + 1] if i + 1 < len(words) else ""
    kinds = [token.kind for token in before[len(before) - len(run) :]] if run else []
    named = "noun" in kinds  # the run has its noun already
    if word in lexicon.ARTICLES:
        return _article(word, after, named)
    if word in lexicon.NUMBERS or word.isdecimal():
        return "end" if named and not _content(after) else "number"
    if word in ("and", ",", "&"):  # "red and white bus": one phrase
        described = bool(kinds) and not named and kinds[-1] in ("adjective", "participle")
        return "joint" if described and _content(after) else "end"
    if word == "of":  # "a cup of coffee": one phrase
        joins = kinds[-1:] == ["noun"] and words[i - 1] in lexicon.QUANTITIES
        return "joint" if joins and _content(after) else "end"
    if _function(word) or not any(letter.isalnum() for letter in word):
        return "end"
    return _open_class(words, i, kinds, before)


def _open_class(words: list[str], i: int, kinds: list[Kind], before: list[_Token]) -> Kind:
    """The kind of an adverb, verb, adjective or noun."""
    word, after = words[i], words[i + 1] if i + 1 < len(words) else ""
    previous = words[i - 1] if i else ""
    named = "noun" in kinds
    if word == "can" and (after in lexicon.BASES or after in ("be", "not") or after in lexicon.PRONOUNS):
        return "end"
    if lexicon.is_adverb(word):
        return "end" if named else "adverb"
    if previous in lexicon.AUXILIARIES and (lexicon.is_participle(word) or not _content(after)):
        adjective = lexicon.is_adjective(word) or lexicon.is_participle(word) or word in lexicon.PREDICATES
        return "end" if adjective else "noun"
    if _is_verb(word, previous, after, named, bool(kinds), i):
        return "end"
    if lexicon.is_participle(word):
        return "end" if named else "participle"
    if word in lexicon.NOUNS_TOO and not _content(after):
        return "noun"
    return "adjective" if lexicon.is_adjective(word) else "noun"


def _is_verb(word: str, previous: str, after: str, named: bool, within: bool, i: int) -> bool:
    """Whether a word that may be a verb is one here: by agreement with the noun before it, or by its place."""
    form = lexicon.inflected(word)
    if not form:
        return False
    if previous in lexicon.SUBJECTS:
        return True
    if named:
        return form != "base" or lexicon.is_plural(previous)
    if within:  # behind an article or an adjective
        return form == "past" and not _content(after)
    if i == 0 or form == "past":  # an imperative
        return form == "past" or after in lexicon.ARTICLES or after in lexicon.PRONOUNS
    return form == "third" and after in lexicon.ARTICLES


def _article(word: str, after: str, named: bool) -> Kind:
    """ "that", "her", "all", ...: an article before a noun, a pronoun elsewhere."""
    if named and word in ("that", "which", "what"):
        return "end"
    follows = _content(after) or after in lexicon.ARTICLES or after in lexicon.NUMBERS or after.isdecimal()
    relative = word == "that" and lexicon.inflected(after) in ("third", "past")
    return "article" if (follows or lexicon.is_adverb(after)) and not relative else "end"


def _content(word: str) -> bool:
    """Whether a word may stand in a phrase behind an article."""
    return word[:1].isalnum() and not _function(word) and word not in lexicon.ARTICLES


def _function(word: str) -> bool:
    """Whether a word stands between phrases wherever it stands."""
    classes = lexicon.PREPOSITIONS, lexicon.CONJUNCTIONS, lexicon.AUXILIARIES
    return any(word in one for one in classes) or (word in lexicon.PRONOUNS and word not in lexicon.ARTICLES | {"one"})


def _plain(word: str) -> str:
    return word.lower().replace("\u2019", "'")
