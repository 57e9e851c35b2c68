"""The word table of the nano recipe: what its concepts are called, what they are, what they have and where they are.

`words.csv` is written by hand, one row per concept; fields with several values separate them by ``|``:

- ``name``: canonical, lower case. ``synonyms``: other true names, every data set's own label among them.
- ``hypernyms``: from general to specific ("animal|mammal|dog"). A part's hypernyms name the wholes it belongs to
  ("wing": airplane, bird), a sound's end with what makes it ("dog bark": sound, animal sound, dog).
- ``parts`` and ``places``: what it has and where it is found.
- ``withheld``: a true synonym that no picture's caption may use: texts alone teach it, and tests ask for it.
- ``kind``: one of `KINDS`: what training has of it.
"""

from __future__ import annotations

import csv
import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from clipx.errors import InputError

KINDS = ("picture", "procedural", "sound", "part", "depth", "style", "place", "attribute", "text")
THINGS = ("picture", "procedural", "sound", "text")  # kinds whose hypernyms say what a concept is
NARROW = 8  # a hypernym with at most this many members tells its members little apart


@dataclass(frozen=True)
class Concept:
    """One row of the table. Every field but name and kind may be empty."""

    name: str
    synonyms: tuple[str, ...]
    hypernyms: tuple[str, ...]
    parts: tuple[str, ...]
    places: tuple[str, ...]
    withheld: tuple[str, ...]
    kind: str


def load(path: str | Path | None = None) -> WordTable:
    """Read the table (default: `words.csv` beside this file) as name -> `Concept`, in the file's order.

    Raises InputError, naming the line, for a malformed row, an unknown kind or a name that two rows claim.
    """
    path = Path(__file__).with_name("words.csv") if path is None else Path(path)
    columns = [field.name for field in fields(Concept)]
    concepts: dict[str, Concept] = {}
    line_of: dict[str, int] = {}  # every name, synonym and withheld name -> its line
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        if next(rows, None) != columns:
            raise InputError("wrong header", where=f"{path}, line 1", remedy=f"it must be {','.join(columns)}")
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            concept = _parse(row, where)
            for label in (concept.name, *concept.synonyms, *concept.withheld):
                if label in line_of:
                    raise InputError(f"{label!r} is also on line {line_of[label]}", where=where, remedy="keep one")
                line_of[label] = rows.line_num
            concepts[concept.name] = concept
    return WordTable(concepts)


def canonical(label: str, concepts: Mapping[str, Concept]) -> str:
    """The name of the concept that a data set's label means; case and underscores do not matter.

    Withheld names are not labels. Raises InputError, naming the nearest labels, for one the table does not have.
    """
    owner = _table(concepts).owner
    key = _normal(label)
    if key not in owner:
        near = difflib.get_close_matches(key, owner, 3)
        raise InputError(
            f"label {label!r} is not in the word table",
            remedy=f"nearest: {', '.join(near)}" if near else "add a row for it to words.csv",
        )
    return owner[key]


def related(a: str, b: str, concepts: Mapping[str, Concept], narrow: int = NARROW) -> bool:
    """Whether two concepts (by name) are no plain negatives of each other; symmetric, and true of a concept itself.

    They are if one is a kind of the other, or a part of it, or if both share their most specific hypernym and it
    has at most `narrow` members (0: siblings are plain negatives).
    """
    table = _table(concepts)
    if a == b or a in table.above[b] or b in table.above[a] or a in table.parts[b] or b in table.parts[a]:
        return True
    first, second = table.closest[a], table.closest[b]
    return first is not None and first == second and table.members[first] <= narrow


def words_of(concepts: Mapping[str, Concept]) -> list[str]:
    """Every phrase of the table once, withheld ones too, in its order: what the text tower must be able to say."""
    rows = concepts.values()
    columns = [(c.name, *c.synonyms, *c.withheld, *c.hypernyms, *c.parts, *c.places) for c in rows]
    return list(dict.fromkeys(phrase for row in columns for phrase in row))


def withheld_in(text: str, concepts: Mapping[str, Concept]) -> list[str]:
    """The withheld names that a text says as whole words: no picture may be trained on with such a caption."""
    padded = f" {' '.join(''.join(c if c.isalnum() or c == '-' else ' ' for c in text.lower()).split())} "
    names = [name for concept in concepts.values() for name in concept.withheld]
    return [name for name in names if f" {name} " in padded or f" {name}s " in padded]


class WordTable(dict[str, Concept]):
    """name -> `Concept`, not to be changed, with the look-ups that `canonical` and `related` ask a million times.

    ``owner``: name or synonym -> name. ``above``: name -> all its hypernyms, through the rows of those that are
    concepts themselves. ``parts``: name -> the concepts that are parts of it. ``closest``: name -> its most specific
    hypernym. ``members``: hypernym -> how many things it has below it.
    """

    def __init__(self, concepts: Mapping[str, Concept]):
        super().__init__(concepts)
        self.owner = {label: c.name for c in concepts.values() for label in (c.name, *c.synonyms)}
        self.above = {name: self._above(name) for name in concepts}
        self.parts = {c.name: {self.owner[p] for p in c.parts if p in self.owner} for c in concepts.values()}
        things = [c for c in concepts.values() if c.kind in THINGS]
        self.closest: dict[str, str | None] = dict.fromkeys(concepts)
        self.closest |= {c.name: c.hypernyms[-1] for c in things if c.hypernyms}
        self.members = Counter(hypernym for c in things for hypernym in self.above[c.name])

    def _above(self, name: str) -> set[str]:
        if self[name].kind == "part":  # a wing belongs to an airplane, it is no vehicle
            return set(self[name].hypernyms)
        found: set[str] = set()
        waiting = list(self[name].hypernyms)
        while waiting:
            hypernym = waiting.pop()
            if hypernym not in found:
                found.add(hypernym)
                waiting += self[hypernym].hypernyms if hypernym in self else ()
        return found


def _table(concepts: Mapping[str, Concept]) -> WordTable:
    return concepts if isinstance(concepts, WordTable) else WordTable(concepts)


def _normal(label: str) -> str:
    return " ".join(label.replace("_", " ").lower().split())


def _parse(row: list[str], where: str) -> Concept:
    if len(row) != len(fields(Concept)):
        raise InputError(f"{len(row)} fields", where=where, remedy=f"a row has {len(fields(Concept))}")
    name, *cells, kind = row
    synonyms, hypernyms, parts, places, withheld = (tuple(cell.split("|")) if cell else () for cell in cells)
    for phrase in (name, *synonyms, *hypernyms, *parts, *places, *withheld):
        if not phrase or phrase != _normal(phrase):
            raise InputError(f"bad phrase {phrase!r}", where=where, remedy="use lower case and single spaces")
    if kind not in KINDS:
        raise InputError(f"unknown kind {kind!r}", where=where, remedy=f"one of {', '.join(KINDS)}")
    return Concept(name, synonyms, hypernyms, parts, places, withheld, kind)
