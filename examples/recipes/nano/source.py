"""What `nano` learns from: photos, sketches, procedural shapes and rooms as pictures, and the word table as sentences.

Every batch is drawn from ``(seed, draw)`` alone. Pictures are matched with *captions*: one for every concept in every
style that it has pictures of ("a sketch of a cat"), and the rooms' sentences. Sentences, with synonyms, hypernyms and
whatever the templates say, are matched with the same captions.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pictures
import torch
import words
from language import Captions, dictionary, phrases, vocabulary
from lines import line_drawings
from torch import Tensor

from clipx.spaces.source import TUNE_DRAWS, PairBatch, TextBatch

LANGUAGE = [Path(__file__).parent / name for name in ("source.py", "language.py", "lines.py", "words.py", "words.csv")]
PHOTOS = ("caltech101", "grocery_store", "clothing", "caltech256_5classes")


def build(data: Path, cache: Path, seed: int, exclude: tuple[str, ...], options: dict) -> Source:
    """The source of a run; pictures made by procedure or from strokes are kept in ``cache``.

    Args:
        data: the folder that holds ``images/``.
        cache: where what takes minutes to draw is kept for the next start.
        seed: of everything drawn at random.
        exclude: concepts whose pictures, and those of their kinds, are left out.
        options: the recipe's [source] table: shares, shapes_of_modelnet10, shapes_of_others, rooms; lines, the share of
            photos that the last part of the training sees as line drawings, 0 where left out.
    """
    return Source(data, cache, seed, exclude, options)


@dataclass
class Bank:
    """Pictures of one source in memory: (N, 3 or 1, R, R) uint8, or clouds (N, 1024, 3)."""

    pictures: np.ndarray
    caption: np.ndarray  # (N,) int64, index into Source.captions()
    chance: np.ndarray  # (N,) probability of being drawn


class Source:
    def __init__(self, data: Path, cache: Path, seed: int, exclude: tuple[str, ...], options: dict):
        self.seed, self.table, self.lines = seed, words.load(), options.get("lines", 0.0)
        self.exclude = {words.canonical(name, self.table) for name in exclude}
        self.files: dict[str, str] = {}
        self.said: dict[tuple[str, str], int] = {}  # (concept, style) or (sentence, "") -> its caption's number
        self.banks: dict[str, Bank] = {}
        self.generator = pictures.generator(seed, options)
        cache = cache / self.generator  # another generator or seed draws other pictures
        cache.mkdir(parents=True, exist_ok=True)

        for name in PHOTOS:
            shown, labels = pictures.load_photos(data / "images" / name, "train", self.files)
            self._add(name, shown, labels, "photo")
        shown, labels = pictures.sketches(data / "images" / "quickdraw", cache, seed, self.files)
        self._add("quickdraw", shown, labels, "sketch")
        labels, styles, shown, clouds = pictures.procedural(cache, seed, options)
        self._add("renders", shown, labels, styles)
        self._add("clouds", clouds, labels, "point cloud", balance=1.0)
        if not exclude:  # a room may show what it does not name
            shown, sentences = pictures.rooms_said(cache, seed, options)
            numbers = np.array([self.said.setdefault((text, ""), len(self.said)) for text in sentences])
            self.banks["rooms"] = Bank(shown, numbers, np.full(len(shown), 1 / len(shown)))

        total = sum(options["shares"][name] for name in self.banks)
        self.shares = {name: options["shares"][name] / total for name in self.banks}
        self.language = Captions(self.table, list(self.said))
        self._sized: dict[int, dict[str, Tensor]] = {}
        # Caption of a picture -> of a sketch of the same thing, or the same where no sketch has one.
        self.sketched = np.array([self.said.get((name, "sketch"), i) for i, (name, _) in enumerate(self.said)])

    def _add(self, name: str, shown: np.ndarray, labels: list[str], styles: str | list[str], balance: float = 0.5):
        """Keep pictures as a bank; classes are drawn by the power ``balance`` of their size, see `balanced`."""
        styles = [styles] * len(labels) if isinstance(styles, str) else styles
        names = {label: words.canonical(label, self.table) for label in dict.fromkeys(labels)}
        left = {n for n in names.values() if not self.exclude & {n, *self.table.above[n]}}  # a windsor chair is a chair
        keep = np.array([names[label] in left for label in labels])
        kept = [(names[label], style) for label, style, k in zip(labels, styles, keep, strict=True) if k]
        if kept:
            caption = np.array([self.said.setdefault(pair, len(self.said)) for pair in kept])
            concept = np.unique([name for name, _ in kept], return_inverse=True)[1]
            self.banks[name] = Bank(shown[keep], caption, balanced(concept, balance))

    # ---------------------------------------------------------------------------------------------------- batches

    def captions(self) -> list[str]:
        """What pictures are matched with: one text a concept and style, and the rooms' sentences."""
        return self.language.texts

    def batch(self, draw: int, size: int, image_size: int, mean: list[float], std: list[float]) -> PairBatch:
        """Pictures and which captions are true of them, see PairBatch."""
        rng = np.random.default_rng([self.seed, 0, draw])
        banks = self._at(image_size)
        counts = rng.multinomial(size, list(self.shares.values()))
        pixels, caption, photos = [], [], []
        shift, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
        for name, count in zip(self.shares, counts, strict=True):
            bank = self.banks[name]
            rows = rng.choice(len(bank.caption), count, p=bank.chance)
            if name == "clouds":  # raw depth, not normalised: as PointCLIP shows it to a tower
                pixels.append(pictures.cloud_views(bank.pictures[rows], image_size, rng))
                caption.append(bank.caption[rows])
                photos.append(np.full(count, False))
                continue
            shown, kind = banks[name][rows].float() / 255, np.full(count, name in PHOTOS)
            said = bank.caption[rows]
            if self.lines and name in PHOTOS and draw >= TUNE_DRAWS:
                cut = rng.binomial(count, self.lines)
                drawn = pictures.augment(line_drawings(shown[:cut], rng), image_size, rng, photo=False)
                shown = torch.cat([drawn, pictures.augment(shown[cut:], image_size, rng, photo=True)])
                said, kind = np.r_[self.sketched[said[:cut]], said[cut:]], np.arange(count) >= cut
            else:
                shown = pictures.augment(shown, image_size, rng, photo=name in PHOTOS)
            pixels.append((shown - shift) / spread)
            caption.append(said)
            photos.append(kind)
        caption = np.concatenate(caption)
        batch, targets, ignore = torch.cat(pixels), *(table[caption] for table in self.language.of_pictures)
        photos = np.flatnonzero(np.concatenate(photos))
        pictures.cutmix(batch, targets, ignore, photos[rng.random(len(photos)) < 0.3], rng)
        return PairBatch(batch, targets, ignore)

    def sentences(self, draw: int, count: int) -> TextBatch:
        """Sentences drawn from the word table and which captions they mean, see TextBatch."""
        rng = np.random.default_rng([self.seed, 4, draw])
        return TextBatch(*self.language.sentences(rng.choice(len(self.said), count), rng))

    def dictionary(self, draw: int, count: int) -> list[tuple[str, str]]:
        """Pairs of texts of one meaning."""
        return dictionary(self.table, count, np.random.default_rng([self.seed, 5, draw]))

    def vocabulary(self) -> dict[str, str]:
        return vocabulary(self.table, self.phrases(), sorted({name for name, style in self.said if style}))

    def phrases(self) -> list[str]:
        """Everything a sentence can be made of."""
        return phrases(self.table) + [sentence for sentence, style in self.said if not style]

    def about(self) -> dict:
        digest = hashlib.sha256(json.dumps(sorted(self.files.items())).encode()).hexdigest()
        return {
            "data": {name: {"pictures": len(bank.caption)} for name, bank in self.banks.items()},
            "data_sha256": digest,
            "generator": self.generator,
            "language": hashlib.sha256(b"".join(path.read_bytes() for path in LANGUAGE)).hexdigest()[:12],
        }

    def _at(self, image_size: int) -> dict[str, Tensor]:
        """The banks a little larger than the tower's input, so that a crop costs one small resampling."""
        if image_size not in self._sized:
            side = round(image_size * 1.2)
            shown = {n: bank.pictures for n, bank in self.banks.items() if n != "clouds"}
            self._sized = {image_size: {n: pictures.resize(p, side) for n, p in shown.items()}}
        return self._sized[image_size]


def balanced(classes: np.ndarray, power: float) -> np.ndarray:
    """Chance of each row when classes are drawn by the power of their size: 0 evenly, 1 as they come."""
    chance = np.bincount(classes)[classes] ** (power - 1.0)
    return chance / chance.sum()
