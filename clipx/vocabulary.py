"""The words an embedded space knows, and the form in which it knows them."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping

from clipx.errors import VocabularyError

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")  # letters and digits of any script


class Vocabulary:
    """The words a space's training saw.

    Args:
        words: word (or phrase) -> ``"pictures"`` when pictures stood behind it, ``"text"`` when only captions did.
    """

    def __init__(self, words: Mapping[str, str]):
        self.words = dict(words)
        self._known: dict[str, str] = {}  # single words; pictures behind one phrase are enough
        for phrase, seen in sorted(words.items(), key=lambda item: item[1], reverse=True):
            self._known |= dict.fromkeys(words_in(phrase), seen)

    def unknown(self, text: str) -> list[str]:
        """Words of the text that training never saw, in order, each once. Plurals and hyphens make no difference.

        A text without a word ("?!") says nothing that training saw: its marks are what is unknown.
        """
        return list(dict.fromkeys(word for word in words_in(text) or text.split() if self._form(word) is None))

    def coverage(self, text: str) -> dict[str, str]:
        """Each word of the text -> ``"pictures"``, ``"text"`` or ``"unknown"``."""
        forms = {word: self._form(word) for word in words_in(text) or text.split()}
        return {word: "unknown" if form is None else self._known[form] for word, form in forms.items()}

    def rewrite(self, text: str) -> str:
        """The text in forms that training saw: an unseen plural becomes its singular, and the other way round."""

        def known(match: re.Match) -> str:
            word = match.group()
            return self._form(_plain(word)) or word

        return _WORD.sub(known, _composed(text).replace("_", " "))

    def require(self, texts: Iterable[str], where: str) -> None:
        """Raise VocabularyError naming the unknown words and, for each, the nearest known ones."""
        unknown = list(dict.fromkeys(word for text in texts for word in self.unknown(text)))
        if not unknown:
            return
        near = {word: difflib.get_close_matches(word, sorted(self._known), n=3, cutoff=0.6) for word in unknown[:5]}
        hints = [f"{word} (nearest: {', '.join(n)})" if n else word for word, n in near.items()]
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise VocabularyError(
            f"words this space never saw: {', '.join(hints)}{more}",
            where=where,
            remedy="use words it knows, or a real CLIP such as --space ViT-B-32-quickgelu/openai",
        )

    def _form(self, word: str) -> str | None:
        """The word itself, without its possessive, or in the other number, whichever training saw."""
        bare = word.removesuffix("'s")
        return next((form for form in (word, bare, *_other_number(bare)) if form in self._known), None)


def words_in(text: str) -> list[str]:
    """The words of a text, lower case, without punctuation; hyphens and underscores part words."""
    return _WORD.findall(_plain(text).replace("_", " "))


def _plain(text: str) -> str:
    return _composed(text).lower().replace("\u2019", "'")


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)  # a letter and a combining accent would part the word


def _other_number(word: str) -> list[str]:
    """Regular singulars and plurals of a word, likelier first; irregular ones are words of their own."""
    if len(word) < 3:
        return []
    forms = []
    if word.endswith("ies"):
        forms.append(word[:-3] + "y")
    if word.endswith("ves"):
        forms += [word[:-3] + "f", word[:-3] + "fe"]
    if word.endswith("s") and not word.endswith("ss"):
        forms.append(word[:-1])
    if word.endswith("es"):
        forms.append(word[:-2])
    if word.endswith("y"):
        forms.append(word[:-1] + "ies")
    if word.endswith(("f", "fe")):
        forms.append(word.removesuffix("e").removesuffix("f") + "ves")
    return [*forms, word + "s", word + "es"]
