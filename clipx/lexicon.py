"""A tokenizer that takes any string: a lexicon of nouns, and subwords for what it does not hold.

It finds the longest phrases of the lexicon, sees through plurals and joined words, drops articles and what names a
style ("a photo of", "a drawing of", "origami"), and cuts the words that are left into subwords. The text tower that
reads its tokens is ``clipx.backbone.lexicon_text``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipx.errors import InputError
from clipx.vocabulary import _other_number, words_in

LONGEST = 5  # words of a phrase
PICTURES, TEXT, SUBWORDS, UNKNOWN = "pictures", "text", "subwords", "unknown"
UNSPELT = 1  # the token of what no subword spells
LONGEST_WORD = 64  # letters of a word that are spelt; the rest says nothing more
LONGEST_TEXT = 256  # tokens of a text


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Words that do not name the thing itself. STYLES are skipped where other words are left, else FRAMES, else MEDIA, else
# the last word counts: "a photo of a toy" is a toy, "a drawing of a cloud" a cloud, "a photo of a drawing" a drawing.
STOPS = _set("""
    a an the this that these those some any one two many much my your his her its our their of in on at by to for from
    with and or is are was were be being been it as very there here s
""")
MEDIA = _set("""
    photo photograph photos picture pictures image images snapshot itap drawing drawings sketch sketches rendering
    render sound sounds noise recording
""")
FRAMES = MEDIA | _set("depth map point cloud")
STYLES = FRAMES | _set("""
    shot closeup close up view scene doodle doodles painting paintings rendition art artwork cartoon
    sculpture statue graffiti tattoo origami plushie plush toy plastic embroidered silhouette icon illustration
    obscure big manual model 3d cgi computer video game line
    good bad low high resolution quality blurry pixelated cropped corrupted jpeg bright dark clean dirty hard see
    nice cool weird large small black white grayscale
""")


@dataclass(frozen=True)
class Piece:
    """A phrase that a text was found to hold, and how well it is known: PICTURES, TEXT, SUBWORDS or UNKNOWN."""

    phrase: str
    level: str
    tokens: tuple[int, ...]


class Lexicon:
    """Texts -> (N, L) token ids, padded with 0.

    Args:
        phrases: lower-case phrase -> number of its vector.
        subwords: WordPiece vocabulary in order; ``##`` marks those that go on within a word. The first is padding, the
            second what no piece spells.
        seen: numbers below it are of names that training had pictures of.
        things: numbers below it are of what can stand in a picture; "red" and "running" count only on their own.
    """

    def __init__(self, phrases: Mapping[str, int], subwords: Sequence[str], seen: int, things: int):
        self.phrases, self.seen, self.things = phrases, seen, things
        self.subwords = {piece: i for i, piece in enumerate(subwords)}
        self.longest = max(map(len, subwords))

    def check(self, text_cfg: Mapping[str, Any]) -> None:
        """Raise ValueError unless the words fit the tower of those arguments: other numbers would be other nouns."""
        own = {"subwords": len(self.subwords), "seen": self.seen, "phrases": 1 + max(self.phrases.values())}
        wrong = [name for name, count in own.items() if text_cfg[name] != count]
        if wrong:
            raise ValueError(f"the vocabulary does not fit the text tower: {', '.join(wrong)}")

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> (N, L) token ids, int64.

        Raises:
            InputError: a text has more than 256 tokens.
        """
        rows = [[token for piece in self.pieces(text) for token in piece.tokens] for text in texts]
        for row, text in zip(rows, texts, strict=True):
            if len(row) > LONGEST_TEXT:
                what = f"a text of {len(row)} tokens does not fit the {LONGEST_TEXT} this space reads"
                raise InputError(what, where=f"{text[:40]}...", remedy="shorten it")
        out = np.zeros((len(rows), max(map(len, rows), default=1)), np.int64)
        for i, row in enumerate(rows):
            out[i, : len(row)] = row
        return out

    def pieces(self, text: str) -> list[Piece]:
        """What a text says, in order: phrases of the lexicon, and words known by their subwords only.

        At least one piece comes back, whatever the text is.
        """
        clauses = [plain_words(clause) for clause in re.split(r"[,;:!?()\n]", text)]
        for skip in (STOPS | STYLES, STOPS | FRAMES, STOPS | MEDIA):
            found, left = self._phrases_in(clauses, skip)
            if found or left:
                break
        else:
            found, left = self._phrases_in([(plain_words(text) or [text.strip()])[-1:]], frozenset())
        shown = [piece for piece in found if piece.tokens[0] < len(self.subwords) + self.things]
        spelt = [self._as_subwords(word) for word in left]
        known = [piece for piece in spelt if piece.level != UNKNOWN]
        return (shown or found) + (known or ([] if found else spelt))

    def coverage(self, text: str) -> dict[str, str]:
        """Each phrase or word that takes part in the text's vector -> its level.

        Words that do not, such as "red" in "a red car", are left out; one in no known alphabet is ``"unknown"``.
        """
        return {piece.phrase: piece.level for piece in self.pieces(text)}

    def _phrases_in(self, clauses: Sequence[Sequence[str]], skip: frozenset[str]) -> tuple[list[Piece], list[str]]:
        """Phrases of the lexicon, longest first from the left, and the words outside them."""
        found, left = [], []
        for words in clauses:
            at = 0
            while at < len(words):
                for length in range(min(LONGEST, len(words) - at), 0, -1):
                    some = words[at : at + length]
                    number = self._number(some)
                    known = number is not None and number < self.seen and length > 1  # a toy poodle is no poodle
                    if number is not None and (known or some[0] not in skip):
                        level = PICTURES if number < self.seen else TEXT
                        found.append(Piece(" ".join(some), level, (len(self.subwords) + number,)))
                        at += length
                        break
                else:
                    if words[at] not in skip:
                        left.append(words[at])
                    at += 1
        return found, left

    def _number(self, words: Sequence[str]) -> int | None:
        """Of a phrase in either number; two words may be one, such as "see saw", if not both are nouns themselves."""
        joints = [" "]
        if len(words) == 2 and not STOPS & set(words) and not all(word in self.phrases for word in words):
            joints.append("")
        for form in (words[-1], *_other_number(words[-1])):
            for joint in joints:
                number = self.phrases.get(joint.join([*words[:-1], form]))
                if number is not None:
                    return number
        return None

    def _as_subwords(self, word: str) -> Piece:
        """WordPiece: the longest known piece from the left, again and again."""
        tokens, at = [], 0
        while at < min(len(word), LONGEST_WORD):
            for end in range(min(len(word), at + self.longest), at, -1):
                token = self.subwords.get(("##" if at else "") + word[at:end])
                if token is not None:
                    tokens.append(token)
                    break
            else:
                end = at + 1  # a letter of no known alphabet
            at = end
        return Piece(word, SUBWORDS, tuple(tokens)) if tokens else Piece(word, UNKNOWN, (UNSPELT,))


def plain_words(text: str) -> list[str]:
    """The words of a text as the lexicon has them: lower case, without accents, possessives and odd widths."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in plain if unicodedata.category(letter) not in ("Mn", "Cf"))
    return [word.removesuffix("'s") for word in words_in(plain)]
