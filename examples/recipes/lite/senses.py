"""Which meaning of WordNet a name has when somebody points at a picture.

The first sense of WordNet is the commonest in texts: a barrel is a gun's tube, pants are underpants. Here what can be
photographed goes first, and `senses.csv` holds the names that go wrong even so: name, other name [. number of sense].
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

from wordnet import WordNet

from clipx.errors import FileError

# How many places a sense is put back, by lexicographer file (wninput(5WN)): animals and artefacts not at all.
BACK = {5: 0, 6: 0, 17: 0.5, 8: 1.2, 13: 1.2, 18: 2, 19: 2, 20: 2.5, 27: 2.5, 25: 2.5, 14: 3, 4: 3.5, 11: 3.5, 15: 3.5}
BACK_ELSE = 5.0


def sense_of(name: str, wordnet: WordNet) -> str | None:
    """Offset of the synset that a name means in a picture; None where no part of it is a noun of WordNet.

    A name that WordNet does not have means its longest known ending: a floury potato is a potato.
    """
    words = name.lower().replace("_", " ").split()
    for start in range(len(words)):
        ending = " ".join(words[start:])
        if ending in _table():
            return _named(_table()[ending], wordnet)
        if senses := wordnet.senses(ending):
            return min(senses, key=lambda o: senses.index(o) + BACK.get(wordnet.synsets[o].file, BACK_ELSE))
    return None


def reviewed_names() -> list[str]:
    """The names that ``senses.csv`` speaks of."""
    return list(_table())


def _named(sense: str, wordnet: WordNet) -> str:
    name, _, number = sense.partition(".")
    senses = wordnet.senses(name)
    if number:
        return senses[int(number) - 1]
    return min(senses, key=lambda o: senses.index(o) + BACK.get(wordnet.synsets[o].file, BACK_ELSE))


@cache
def _table() -> dict[str, str]:
    path = Path(__file__).with_name("senses.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = {row["name"]: row["sense"] for row in csv.DictReader(file)}
    if not rows:
        raise FileError("holds no rows", where=path)
    return rows
