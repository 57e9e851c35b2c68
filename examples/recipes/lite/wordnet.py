"""The nouns of WordNet 3.0, read from the files of Debian's package wordnet-base."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from clipx.errors import FileError

# Lexicographer files (wninput(5WN)) of what can be seen or stand in a picture.
DEPICTABLE = frozenset({5, 6, 8, 13, 15, 17, 18, 19, 20, 27})
ARTIFACT = 6


@dataclass(frozen=True)
class Synset:
    """One meaning: its names in order, the first clause of its gloss, its hypernyms and its lexicographer file."""

    offset: str
    lemmas: tuple[str, ...]
    gloss: str
    hypernyms: tuple[str, ...]
    file: int
    instance: bool  # a proper name: Paris, Einstein


class WordNet:
    """Nouns.

    Args:
        folder: where ``data.noun``, ``index.noun`` and ``noun.exc`` lie.

    Raises:
        FileError: they do not.
    """

    def __init__(self, folder: str | Path = "/usr/share/wordnet"):
        self.folder = folder = Path(folder)
        if not (folder / "data.noun").is_file():
            raise FileError("holds no data.noun", where=folder, remedy="apt-get install wordnet-base")
        self.synsets: dict[str, Synset] = {}
        for line in (folder / "data.noun").read_text(encoding="latin1").splitlines():
            if not line.startswith("  "):
                synset = _parse(line)
                self.synsets[synset.offset] = synset
        self.senses_of: dict[str, tuple[str, ...]] = {}  # name -> offsets, the commonest sense first
        for line in (folder / "index.noun").read_text(encoding="latin1").splitlines():
            if not line.startswith("  "):
                part = line.split()
                self.senses_of[part[0].replace("_", " ").lower()] = tuple(part[-int(part[2]) :])
        pairs = (line.split()[:2] for line in (folder / "noun.exc").read_text(encoding="latin1").splitlines())
        self.irregular = {plural.replace("_", " "): singular.replace("_", " ") for plural, singular in pairs}
        self._ancestors: dict[str, dict[str, int]] = {}

    def ancestors(self, offset: str) -> dict[str, int]:
        """The synset itself and everything above it -> the shortest distance."""
        if offset not in self._ancestors:
            found, edge, distance = {offset: 0}, [offset], 0
            while edge:
                distance += 1
                edge = [h for o in edge for h in self.synsets[o].hypernyms if h not in found]
                found.update(dict.fromkeys(edge, distance))
            self._ancestors[offset] = found
        return self._ancestors[offset]

    def chain(self, offset: str, length: int) -> list[str]:
        """First names of the nearest hypernyms, nearest first."""
        names: list[str] = []
        while len(names) < length and (above := self.synsets[offset].hypernyms):
            offset = above[0]
            names.append(self.synsets[offset].lemmas[0])
        return names

    def senses(self, name: str) -> tuple[str, ...]:
        """Offsets of a name's meanings, the commonest first; plurals and hyphens are seen through. () if unknown."""
        name = " ".join(name.lower().replace("_", " ").split())
        for form in dict.fromkeys((name, name.replace("-", " "), re.sub("[- ]", "", name), name.replace(" ", "-"))):
            for number in (form, self.irregular.get(form, ""), *_singulars(form)):
                if number in self.senses_of:
                    return self.senses_of[number]
        return ()

    @cached_property
    def information(self) -> dict[str, float]:
        """Synset -> log(number of synsets / number below it and itself): high for the specific."""
        below = Counter(above for offset in self.synsets for above in self.ancestors(offset))
        return {offset: math.log(len(self.synsets) / count) for offset, count in below.items()}


def _parse(line: str) -> Synset:
    fields, _, gloss = line.partition(" | ")
    part = fields.split()
    names = int(part[3], 16)
    lemmas = tuple(part[4 + 2 * i].replace("_", " ") for i in range(names))
    pointers = part[5 + 2 * names :]
    count = int(part[4 + 2 * names])
    kinds = [(pointers[4 * i], pointers[4 * i + 1]) for i in range(count)]
    above = tuple(offset for kind, offset in kinds if kind in ("@", "@i"))
    instance = any(kind == "@i" for kind, _ in kinds)
    return Synset(part[0], lemmas, gloss.split(";")[0].strip().strip('"'), above, int(part[1]), instance)


def _singulars(word: str) -> list[str]:
    forms = []
    if word.endswith("ies"):
        forms.append(word[:-3] + "y")
    if word.endswith("es"):
        forms.append(word[:-2])
    if word.endswith("s") and not word.endswith("ss"):
        forms.append(word[:-1])
    return forms
