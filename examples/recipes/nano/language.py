"""The word table as sentences, and which sentence is true of which picture."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import rooms
import torch
import words
from torch import Tensor

from clipx.vocabulary import words_in

STYLE_WORDS = {
    "photo": ("photo",),
    "sketch": ("sketch", "drawing", "line drawing"),
    "rendering": ("rendering",),
    "silhouette": ("silhouette",),
    "depth map": ("depth map",),
    "point cloud": ("point cloud", "point cloud depth map"),
}
OTHER_STYLE = 0.1  # how true "a photo of a cat" is of a drawing of one


class Captions:
    """The texts that pictures are matched with: one for every concept and style that has pictures, and free sentences.

    Args:
        table: the word table.
        said: (concept, style), or (sentence, "") for a free one.
    """

    def __init__(self, table: words.WordTable, said: list[tuple[str, str]]):
        self.table, self.said = table, said
        self.name = np.array([name if style else "" for name, style in said])
        self.style = np.array([style for _, style in said])
        self.texts = [f"a {STYLE_WORDS[style][0]} of a {name}" if style else name for name, style in said]
        by_length = sorted(rooms.DEPTH_WORDS, key=len, reverse=True)  # "extremely close" is not "close"
        self.depth = np.array([next((w for w in by_length if not s and w in n), "") for n, s in said])
        self._kinds: dict[str, np.ndarray] = {}
        self._near: dict[str, np.ndarray] = {}

    @cached_property
    def of_pictures(self) -> tuple[Tensor, Tensor]:
        """Truth (U, U) float and "neither" (U, U) bool of every caption (column) about what another describes (row).

        A dog is true of a dalmatian; what is otherwise related is neither. The right thing in another style is a little
        true: "a photo of a cat" finds a drawing of one before "a photo of a dog" does. Rooms' sentences with one depth
        word are neither.
        """
        truth = torch.eye(len(self.said))
        neither = torch.zeros(len(self.said), len(self.said), dtype=torch.bool)
        for column, (name, style) in enumerate(self.said):
            if style:
                weight = np.where(self.style == style, 1.0, OTHER_STYLE) * self._kinds_of(name)
                truth[:, column] = torch.from_numpy(weight.astype(np.float32))
                neither[:, column] = torch.from_numpy(self._near_to(name)) & (truth[:, column] == 0)
            else:
                neither[:, column] = torch.from_numpy(self.depth == self.depth[column]) & (truth[:, column] == 0)
        return truth, neither

    def sentences(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[list[str], Tensor, Tensor]:
        """A random sentence about each of these captions: n texts, targets (n, U) and "neither" (n, U).

        A sentence whose own concept has captions means those; one whose has none ("an animal") means all its kinds.
        """
        texts = []
        targets = np.zeros((len(rows), len(self.said)), np.float32)
        neither = np.zeros((len(rows), len(self.said)), bool)
        for i, row in enumerate(rows):
            if not self.style[row]:
                texts.append(self.texts[row])
                targets[i, row] = 1.0
                continue
            text, name, style = sentence(self.table[self.name[row]], self.style[row], rng)
            texts.append(text)
            in_style = self.style == style if style else self.style != ""
            own = in_style & (self.name == name)
            targets[i] = own if own.any() else in_style & self._kinds_of(name)
            neither[i] = (self._kinds_of(name) | self._near_to(name)) & (targets[i] == 0)
        return texts, torch.from_numpy(targets), torch.from_numpy(neither)

    def _kinds_of(self, name: str) -> np.ndarray:
        """(U,) bool: which captions are of this thing or a kind of it."""
        if name not in self._kinds:
            self._kinds[name] = np.array([bool(n) and (n == name or name in self.table.above[n]) for n in self.name])
        return self._kinds[name]

    def _near_to(self, name: str) -> np.ndarray:
        """(U,) bool: which captions are of something related; siblings, as lion and tiger, are not."""
        if name not in self._near:
            known = name in self.table
            self._near[name] = np.array(
                [bool(n) and known and words.related(n, name, self.table, narrow=0) for n in self.name]
            )
        return self._near[name]


def sentence(concept: words.Concept, style: str, rng: np.random.Generator) -> tuple[str, str, str]:
    """A sentence true of this concept in this style, words and template drawn at random; what it names, and the style
    it names ("" for none).
    """
    name = word = concept.name
    if concept.synonyms and rng.random() < 0.35:
        word = _pick(concept.synonyms, rng)
    if concept.hypernyms and rng.random() < 0.1:
        name = word = _pick(concept.hypernyms, rng)
    chance = rng.random()
    if chance < 0.25:
        return word, name, ""
    text = f"a {_pick(STYLE_WORDS[style], rng)} of a {word}"
    if style == "point cloud" and chance < 0.4:
        text = f"point cloud depth map of a {word}."
    elif chance < 0.75:
        pass
    elif chance < 0.9 and concept.hypernyms:
        text += f", a kind of {_pick(concept.hypernyms, rng)}"
    elif chance < 0.95 and concept.parts:
        text += f" with a {_pick(concept.parts, rng)}"
    elif concept.places:
        text += f" in the {_pick(concept.places, rng)}"
    return text, name, style


def dictionary(table: words.WordTable, count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Pairs of texts that mean the same, each of another concept; half of them concepts of a few families.

    Relatives stand side by side, for what is never compared is never separated.
    """
    names = list(table)
    chosen = dict.fromkeys(_pick(names, rng) for _ in range(count // 2))
    while len(chosen) < count:
        family = table.closest[_pick(names, rng)]
        members = [name for name in names if table.closest[name] == family]
        chosen |= dict.fromkeys(members[: count - len(chosen)])
    return [_pair(table[name], rng) for name in list(chosen)[:count]]


def _pair(concept: words.Concept, rng: np.random.Generator) -> tuple[str, str]:
    other = [*concept.synonyms, *concept.withheld * 2]
    left = right = concept.name
    chance = rng.random()
    if other and chance < 0.6:
        left = _pick(other, rng)
    elif concept.hypernyms and chance < 0.85:
        relation = {"part": "a part of a", "sound": "the sound of a"}.get(concept.kind, "a kind of")
        left = f"{_pick([concept.name, *other], rng)}, {relation} {_pick(concept.hypernyms, rng)}"
    elif concept.parts and chance < 0.93:
        left = f"{_pick([concept.name, *other], rng)} with a {_pick(concept.parts, rng)}"
    elif concept.places:
        left = f"{_pick([concept.name, *other], rng)} in the {_pick(concept.places, rng)}"
    if concept.kind in ("picture", "procedural", "text") and rng.random() < 0.5:
        style = _pick(_pick(list(STYLE_WORDS.values()), rng), rng)
        left, right = f"a {style} of a {left}", f"a {style} of a {right}"
    return left, right


def phrases(table: words.WordTable) -> list[str]:
    """Names, synonyms and all else that the table and the templates can say."""
    said = ["a photo of a thing, a kind of a part of a the sound of with a in the point cloud depth map of a."]
    said += [word for words_of_style in STYLE_WORDS.values() for word in words_of_style]
    return said + words.words_of(table)


def vocabulary(table: words.WordTable, said: list[str], pictured: list[str]) -> dict[str, str]:
    """What training can say -> "pictures" if it names something with pictures, else "text"."""
    known = {word: "text" for phrase in said for word in words_in(phrase)}
    for entry in (table[name] for name in pictured):
        known |= {name.lower(): "pictures" for name in (entry.name, *entry.synonyms)}
    return dict(sorted(known.items()))


def _pick(items, rng: np.random.Generator):
    return items[int(rng.integers(len(items)))]
