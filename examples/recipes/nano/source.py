"""What `nano` learns from: photos, sketches and procedural shapes as pictures, and the word table as captions.

Every batch is drawn from ``(seed, step)`` alone. A caption is true of a picture when its term (the concept itself or
one of its hypernyms) and its style, if it names one, are; related concepts are neither true nor false.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import render
import rooms
import shapes
import torch
import torch.nn.functional as F
import words
from torch import Tensor

from clipx.errors import FileError
from clipx.modalities.pointcloud.projection import pointclip_v1, to_input
from clipx.training import PairBatch
from clipx.vocabulary import words_in

PHOTOS = ("caltech101", "grocery_store", "clothing", "caltech256_5classes")
MODELNET10 = ("bathtub", "bed", "chair", "desk", "dresser", "monitor", "night stand", "sofa", "table", "toilet")
STYLE_WORDS = {
    "photo": ("photo",),
    "sketch": ("sketch", "drawing", "line drawing"),
    "rendering": ("rendering",),
    "silhouette": ("silhouette",),
    "depth map": ("depth map",),
    "point cloud": ("point cloud", "point cloud depth map"),
}
RENDER_STYLES = {"rendering": "rendering", "silhouette": "silhouette", "depth_near_dark": "depth map",
                 "depth_near_bright": "depth map", "line": "sketch", "points": "point cloud"}  # fmt: skip


def build(data: Path, cache: Path, seed: int, exclude: tuple[str, ...], options: dict) -> Source:
    """The source of a run; pictures made by procedure or from strokes are kept in ``cache``.

    Args:
        data: the folder that holds ``images/``.
        cache: where what takes minutes to draw is kept for the next start.
        seed: of everything drawn at random.
        exclude: concepts whose pictures, and those of their kinds, are left out.
        options: the recipe's [source] table: shares, shapes_of_modelnet10, shapes_of_others, rooms.
    """
    return Source(data, cache, seed, exclude, options)


@dataclass
class Bank:
    """Pictures of one source in memory: (N, 3 or 1, R, R) uint8, or clouds (N, 1024, 3); concept and style a row."""

    pictures: np.ndarray
    concept: np.ndarray  # (N,) int64, index into Language.names; -1 where ``caption`` speaks for the row
    style: np.ndarray  # (N,) int64, index into Language.styles
    chance: np.ndarray  # (N,) probability of being drawn
    caption: list[str] | None = None


class Source:
    def __init__(self, data: Path, cache: Path, seed: int, exclude: tuple[str, ...], options: dict):
        self.seed, self.options, self.shares = seed, options, options["shares"]
        self.language = Language(words.load())
        self.exclude = tuple(words.canonical(name, self.language.concepts) for name in exclude)
        self.files: dict[str, str] = {}
        self.banks: dict[str, Bank] = {}
        self.generator = self._generator()
        cache = cache / self.generator  # another generator, seed or size draws other pictures
        cache.mkdir(parents=True, exist_ok=True)
        for name in PHOTOS:
            pictures, labels = load_photos(data / "images" / name, "train", self.files)
            self.banks[name] = self._bank(pictures, labels, ["photo"] * len(labels))
        self.banks["quickdraw"] = self._sketches(data / "images" / "quickdraw", cache)
        self.banks |= self._procedural(cache)
        self.banks = {name: bank for name, bank in self.banks.items() if len(bank.concept)}
        total = sum(self.shares[name] for name in self.banks)
        self.shares = {name: self.shares[name] / total for name in self.banks}
        self.pictured = np.unique(np.concatenate([bank.concept[bank.concept >= 0] for bank in self.banks.values()]))
        self.plain = [self.language.plain(c, s) for c in self.pictured for s in self.language.styles_of[c]]
        self._sized: dict[int, dict[str, Tensor]] = {}

    # ---------------------------------------------------------------------------------------------------- batches

    def batch(self, draw: int, size: int, image_size: int, mean: list[float], std: list[float]) -> PairBatch:
        """Pictures, captions and truth table, see PairBatch: the pictures' own captions, drawn from the word table, and
        the plain caption of every concept in every style it has, so that each picture is told from all the others.
        """
        rng = np.random.default_rng([self.seed, 0, draw])
        banks, language = self._at(image_size), self.language
        counts = rng.multinomial(size, list(self.shares.values()))
        pixels, concept, style, spoken = [], [], [], []
        shift, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
        for name, count in zip(self.shares, counts, strict=True):
            bank = self.banks[name]
            rows = rng.choice(len(bank.concept), count, p=bank.chance)
            if name == "clouds":  # raw depth, not normalised: as PointCLIP shows it to a tower
                pixels.append(cloud_views(bank.pictures[rows], image_size, rng))
            else:
                picture = augment(banks[name][rows].float() / 255, image_size, rng, photo=name in PHOTOS)
                pixels.append((picture - shift) / spread)
            concept += bank.concept[rows].tolist()
            style += bank.style[rows].tolist()
            spoken += [bank.caption[row] if bank.caption else None for row in rows]
        concept, style = np.array(concept), np.array(style)

        captions = [
            Caption(said, -1, -1) if said else language.caption(c, s, rng)
            for c, s, said in zip(concept, style, spoken, strict=True)
        ]
        captions = list(dict.fromkeys([*self.plain, *captions]))
        truth, ignore = language.truth(concept, style, captions, rng)
        for i, said in enumerate(spoken):
            if said:
                truth[i] = [caption.text == said for caption in captions]
                ignore[i] = False
        targets = torch.from_numpy(truth).float()
        batch = torch.cat(pixels)
        photos = np.flatnonzero(style == language.styles.index("photo"))
        cutmix(batch, targets, photos[rng.random(len(photos)) < 0.2], rng)
        return PairBatch(batch, [c.text for c in captions], targets, torch.from_numpy(ignore))

    def standing(self) -> list[str]:
        """The captions that every batch has."""
        return [caption.text for caption in self.plain]

    def dictionary(self, draw: int, count: int) -> list[tuple[str, str]]:
        """Pairs of texts of one meaning."""
        return self.language.dictionary(count, np.random.default_rng([self.seed, 4, draw]))

    def vocabulary(self) -> dict[str, str]:
        return self.language.vocabulary(self.phrases(), self.pictured)

    def phrases(self) -> list[str]:
        """Everything a caption can be made of."""
        spoken = {caption for bank in self.banks.values() for caption in bank.caption or ()}
        return self.language.phrases() + sorted(spoken)

    def about(self) -> dict:
        digest = hashlib.sha256(json.dumps(sorted(self.files.items())).encode()).hexdigest()
        return {
            "data": {name: {"pictures": len(bank.concept)} for name, bank in self.banks.items()},
            "data_sha256": digest,
            "generator": self.generator,
        }

    def _generator(self) -> str:
        """A name for everything that what is drawn here depends on."""
        folder = Path(__file__).parent
        files = [folder / name for name in ("solids.py", "render.py", "rooms.py", "source.py")]
        code = b"".join(path.read_bytes() for path in [*files, *sorted((folder / "shapes").glob("*.py"))])
        return hashlib.sha256(code + json.dumps([self.seed, self.options], sort_keys=True).encode()).hexdigest()[:12]

    def _at(self, image_size: int) -> dict[str, Tensor]:
        """The banks a little larger than the tower's input, so that a crop costs one small resampling."""
        if image_size not in self._sized:
            side = round(image_size * 1.2)
            self._sized = {image_size: {n: resize(b.pictures, side) for n, b in self.banks.items() if n != "clouds"}}
        return self._sized[image_size]

    # ------------------------------------------------------------------------------------------------------ banks

    def _bank(self, pictures, labels: list[str], styles: list[str], balance: float = 0.5) -> Bank:
        """Classes are drawn by the power ``balance`` of their size: 0 is class-balanced, 1 as they come."""
        concept = np.array([self.language.index[words.canonical(label, self.language.concepts)] for label in labels])
        keep = np.array([not self.language.lies_under(c, self.exclude) for c in concept])
        concept, pictures = concept[keep], pictures[keep]
        style = np.array([self.language.styles.index(s) for s in styles])[keep]
        return Bank(pictures, concept, style, balanced(concept, balance))

    def _sketches(self, folder: Path, cache: Path) -> Bank:
        """Training sketches, each as the data set's own picture and drawn anew from its strokes four times."""
        rows = [row for row in _table(folder) if row["split"] == "train"]
        kept = np.load(folder / "quickdraw_64.npz", allow_pickle=False)["images"]
        bitmaps = kept[[int(row["npz_index"]) for row in rows]]
        drawings = {}
        for line in (folder / "quickdraw_simplified.ndjson").read_text().splitlines():
            entry = json.loads(line)
            drawings[entry["word"], entry["key_id"]] = entry["drawing"]
        strokes = json.dumps([drawings[row["label"], row["key_id"]] for row in rows]).encode()
        self.files["quickdraw"] = hashlib.sha256(strokes + bitmaps.tobytes()).hexdigest()

        def draw() -> np.ndarray:
            rng = np.random.default_rng([self.seed, 1])
            strokes = [drawings[row["label"], row["key_id"]] for row in rows]
            return np.stack([draw_strokes(s, rng) for _ in range(4) for s in strokes])

        drawn = _cached(cache / "quickdraw.npy", draw)
        bitmaps = resize(bitmaps[:, None], 96).numpy()
        pictures = np.concatenate([bitmaps, drawn[:, None]])
        labels = [row["label"] for row in rows] * 5
        return self._bank(pictures, labels, ["sketch"] * len(labels))

    def _procedural(self, cache: Path) -> dict[str, Bank]:
        """Shapes as pictures in every style and as clouds, and rooms."""
        few, many = self.options["shapes_of_others"], self.options["shapes_of_modelnet10"]
        labels = [name for name in shapes.CLASSES for _ in range(many if name in MODELNET10 else few)]
        styles = list(RENDER_STYLES)

        def mesh(number: int):
            rng = np.random.default_rng([self.seed, 2, number])
            return shapes.make(labels[number], rng), rng

        def pictures() -> np.ndarray:
            made = (mesh(n) for n in range(len(labels)))
            return np.stack([render.render(m, rng, 96, styles[n % len(styles)]) for n, (m, rng) in enumerate(made)])

        def clouds() -> np.ndarray:
            made = (mesh(n) for n in range(len(labels)))
            return np.stack([render.sample_points(m, 1024, rng, even=True) for m, rng in made]).astype(np.float16)

        shown = _cached(cache / "renders.npy", pictures).transpose(0, 3, 1, 2)
        names = [RENDER_STYLES[styles[n % len(styles)]] for n in range(len(labels))]
        points = _cached(cache / "clouds.npy", clouds)
        return {
            "renders": self._bank(shown, labels, names),
            "clouds": self._bank(points, labels, ["point cloud"] * len(labels), balance=1.0),
            "rooms": self._rooms(cache),
        }

    def _rooms(self, cache: Path) -> Bank:
        def make() -> np.ndarray:
            made, said = [], []
            for number in range(self.options["rooms"]):
                rng = np.random.default_rng([self.seed, 3, number])
                picture, caption = rooms.make_captioned(rng, 96)
                made.append(picture)
                said.append(caption)
            (cache / "rooms.json").write_text(json.dumps(said))
            return np.stack(made)

        shown = _cached(cache / "rooms.npy", make).transpose(0, 3, 1, 2)
        said = json.loads((cache / "rooms.json").read_text())
        if self.exclude:  # a room may show what it does not name
            shown, said = shown[:0], []
        nothing = np.full(len(shown), -1)
        style = np.full(len(shown), self.language.styles.index("rendering"))
        return Bank(shown, nothing, style, np.full(len(shown), 1 / max(1, len(shown))), said)


def load_photos(folder: Path, split: str, files: dict[str, str]) -> tuple[np.ndarray, list[str]]:
    """The photos of a split, squashed to (N, 3, 116, 116) uint8, and their labels; content hashes go to ``files``."""
    from PIL import Image

    rows = [row for row in _table(folder) if _split(row) == split]
    pictures = np.empty((len(rows), 3, 116, 116), np.uint8)
    for i, row in enumerate(rows):
        with Image.open(folder / row["path"]) as picture:
            squashed = picture.convert("RGB").resize((116, 116), Image.Resampling.BICUBIC)
        pictures[i] = np.asarray(squashed).transpose(2, 0, 1)
        files[f"{folder.name}/{row['path']}"] = hashlib.sha256((folder / row["path"]).read_bytes()).hexdigest()
    return pictures, [row["label"] for row in rows]


def balanced(classes: np.ndarray, power: float) -> np.ndarray:
    """Chance of each row when classes are drawn by the power of their size: 0 evenly, 1 as they come."""
    chance = np.bincount(classes)[classes] ** (power - 1.0)
    return chance / chance.sum()


# ------------------------------------------------------------------------------------------------------- language


@dataclass(frozen=True)
class Caption:
    text: str
    term: int  # index into Language.terms, -1 for a free sentence
    style: int  # index into Language.styles, -1 where none is named


class Language:
    """The word table as captions, dictionary pairs and truth tables."""

    def __init__(self, concepts: dict[str, words.Concept]):
        self.concepts = concepts
        self.names = list(concepts)
        self.index = {name: i for i, name in enumerate(self.names)}
        self.styles = list(STYLE_WORDS)
        above = [self._above(name) for name in self.names]
        self.terms = list(dict.fromkeys([*self.names, *(h for hs in above for h in hs)]))
        self.term_index = {term: i for i, term in enumerate(self.terms)}
        self.true = np.zeros((len(self.names), len(self.terms)), bool)
        self.near = np.zeros((len(self.names), len(self.terms)), bool)
        for i, hypernyms in enumerate(above):
            self.true[i, [self.term_index[t] for t in (self.names[i], *hypernyms)]] = True
            self.near[i, : len(self.names)] = [
                words.related(self.names[i], b, concepts, narrow=0) for b in self.names  # lion and tiger are told apart
            ]
        made = set(shapes.CLASSES)
        self.styles_of = [
            np.arange(len(self.styles)) if name in made else np.array([0, 1]) for name in self.names
        ]

    def _above(self, name: str) -> list[str]:
        """All hypernyms of a concept, through the table's own rows."""
        found: list[str] = []
        waiting = list(self.concepts[name].hypernyms)
        while waiting:
            term = waiting.pop(0)
            if term not in found:
                found.append(term)
                waiting += self.concepts[term].hypernyms if term in self.concepts else ()
        return found

    def lies_under(self, concept: int, names: tuple[str, ...]) -> bool:
        """Whether the concept is one of these or a kind of one of these (a windsor chair is a chair)."""
        return any(self.true[concept, self.term_index[name]] for name in names)

    def caption(self, concept: int, style: int, rng: np.random.Generator) -> Caption:
        """A caption true of this concept in this style, with words and template drawn at random."""
        entry = self.concepts[self.names[concept]]
        term, word = self.term_index[entry.name], entry.name
        if entry.synonyms and rng.random() < 0.35:
            word = _pick(entry.synonyms, rng)
        if entry.hypernyms and rng.random() < 0.1:
            word = _pick(entry.hypernyms, rng)
            term = self.term_index[word]
        chance = rng.random()
        if chance < 0.25:
            return Caption(word, term, -1)
        text = f"a {_pick(STYLE_WORDS[self.styles[style]], rng)} of a {word}"
        if self.styles[style] == "point cloud" and chance < 0.4:
            text = f"point cloud depth map of a {word}."
        elif chance < 0.75:
            pass
        elif chance < 0.9 and entry.hypernyms:
            text += f", a kind of {_pick(entry.hypernyms, rng)}"
        elif chance < 0.95 and entry.parts:
            text += f" with a {_pick(entry.parts, rng)}"
        elif entry.places:
            text += f" in the {_pick(entry.places, rng)}"
        return Caption(text, term, style)

    def plain(self, concept: int, style: int) -> Caption:
        name = self.names[concept]
        return Caption(f"a {STYLE_WORDS[self.styles[style]][0]} of a {name}", self.term_index[name], style)

    def truth(self, concept: np.ndarray, style: np.ndarray, captions: list[Caption], rng: np.random.Generator):
        """(B, U) bool truth and (B, U) bool "neither". A wrong style on the right thing is false half of the time."""
        term = np.array([c.term for c in captions])
        said = np.array([c.style for c in captions])
        same_thing = self.true[concept][:, term] & (term >= 0) & (concept >= 0)[:, None]
        same_style = (said < 0) | (said == style[:, None])
        neither = self.near[concept][:, term] & (term >= 0) & (concept >= 0)[:, None] & ~same_thing
        neither |= same_thing & ~same_style & (rng.random(same_thing.shape) < 0.5)
        return same_thing & same_style, neither

    def dictionary(self, count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
        """Pairs of texts that mean the same, each of another concept."""
        pairs = []
        for i in rng.choice(len(self.names), count, replace=False):
            entry = self.concepts[self.names[i]]
            other = [*entry.synonyms, *entry.withheld * 2]
            left, right = entry.name, entry.name
            chance = rng.random()
            if other and chance < 0.6:
                left = _pick(other, rng)
            elif entry.hypernyms and chance < 0.85:
                relation = {"part": "a part of a", "sound": "the sound of a"}.get(entry.kind, "a kind of")
                left = f"{_pick([entry.name, *other], rng)}, {relation} {_pick(entry.hypernyms, rng)}"
            elif entry.parts and chance < 0.93:
                left = f"{_pick([entry.name, *other], rng)} with a {_pick(entry.parts, rng)}"
            elif entry.places:
                left = f"{_pick([entry.name, *other], rng)} in the {_pick(entry.places, rng)}"
            if entry.kind in ("picture", "procedural", "text") and rng.random() < 0.5:
                style = _pick(_pick(list(STYLE_WORDS.values()), rng), rng)
                left, right = f"a {style} of a {left}", f"a {style} of a {right}"
            pairs.append((left, right))
        return pairs

    def phrases(self) -> list[str]:
        """Names, synonyms and all else that the table and the templates can say."""
        said = ["a photo of a thing, a kind of a part of a the sound of with a in the point cloud depth map of a."]
        said += [word for words_of_style in STYLE_WORDS.values() for word in words_of_style]
        for c in self.concepts.values():
            said += [c.name, *c.synonyms, *c.withheld, *c.hypernyms, *c.parts, *c.places]
        return said

    def vocabulary(self, phrases: list[str], pictured: np.ndarray) -> dict[str, str]:
        """What training can say -> "pictures" if it names something with pictures, else "text"."""
        known = {word: "text" for phrase in phrases for word in words_in(phrase)}
        for entry in (self.concepts[self.names[i]] for i in pictured):
            known |= {name.lower(): "pictures" for name in (entry.name, *entry.synonyms)}
        return dict(sorted(known.items()))


def _pick(items, rng: np.random.Generator):
    return items[int(rng.integers(len(items)))]


# ------------------------------------------------------------------------------------------------------- pictures


def augment(pictures: Tensor, size: int, rng: np.random.Generator, photo: bool) -> Tensor:
    """Random crop, proportion, turn, mirror, and for photos light and colour: (n, C, R, R) -> (n, 3, size, size)."""
    n = len(pictures)
    pictures = pictures.expand(-1, 3, -1, -1)
    if not n:
        return pictures.new_zeros(0, 3, size, size)
    area = rng.uniform(0.45 if photo else 0.9, 1.0 if photo else 1.5, n)
    aspect = np.exp(rng.uniform(-0.25, 0.25, n))
    width, height = np.sqrt(area * aspect).clip(max=1.25), np.sqrt(area / aspect).clip(max=1.25)
    if photo:
        width, height = width.clip(max=1.0), height.clip(max=1.0)
    angle = rng.normal(0, 0.1 if photo else 0.12, n)
    mirror = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    theta = np.zeros((n, 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 0, 1] = width * np.cos(angle) * mirror, -height * np.sin(angle)
    theta[:, 1, 0], theta[:, 1, 1] = width * np.sin(angle) * mirror, height * np.cos(angle)
    theta[:, 0, 2] = rng.uniform(-1, 1, n) * np.abs(1 - width)
    theta[:, 1, 2] = rng.uniform(-1, 1, n) * np.abs(1 - height)
    grid = F.affine_grid(torch.from_numpy(theta), [n, 3, size, size], align_corners=False)
    out = F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)
    if photo:
        light, contrast, colour = (
            torch.from_numpy(np.exp(rng.normal(0, s, n)).astype(np.float32)).view(n, 1, 1, 1) for s in (0.2, 0.2, 0.3)
        )
        colour[torch.from_numpy(rng.random(n) < 0.1)] = 0.0
        grey = out.mean(1, keepdim=True)
        out = (grey + (out - grey) * colour) * light
        middle = out.mean((1, 2, 3), keepdim=True)
        out = (middle + (out - middle) * contrast).clamp(0, 1)
    return out


def cutmix(pixels: Tensor, targets: Tensor, rows: np.ndarray, rng: np.random.Generator) -> None:
    """Paste a box of one picture into another and mix their targets by area, in place (CutMix, Yun et al. 2019)."""
    if len(rows) < 2:
        return
    size = pixels.shape[-1]
    other = np.roll(rows, 1)
    source, wanted = pixels[other].clone(), targets[other].clone()
    for k, row in enumerate(rows):
        height, width = (np.sqrt(rng.beta(1, 1, 2)) * size * 0.75).astype(int)
        top, left = int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1))
        pixels[row, :, top : top + height, left : left + width] = source[k, :, top : top + height, left : left + width]
        kept = 1 - height * width / size**2
        mine, theirs = targets[row], wanted[k]
        targets[row] = kept * mine / mine.sum().clamp(min=1) + (1 - kept) * theirs / theirs.sum().clamp(min=1)


def cloud_views(points: np.ndarray, size: int, rng: np.random.Generator) -> Tensor:
    """One PointCLIP V1 view of each cloud (z up), after a turn about the vertical, stretching, jitter and dropping."""
    n = len(points)
    if not n:
        return torch.zeros(0, 3, size, size)
    angle = rng.integers(4, size=n) * (np.pi / 2) + rng.normal(0, 0.12, n)
    x, y, z = np.moveaxis(points.astype(np.float32), 2, 0)
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    turned = np.stack([c * x - s * y, z, -(s * x + c * y)], 2)  # y up
    turned *= np.exp(rng.uniform(-0.22, 0.22, (n, 1, 3)))
    turned += rng.normal(0, 0.006, turned.shape)
    turned -= turned.mean(1, keepdims=True)
    turned /= np.linalg.norm(turned, axis=2).max(1)[:, None, None]
    views = pointclip_v1(torch.from_numpy(turned.astype(np.float32)))
    return to_input(views[torch.arange(n), torch.from_numpy(rng.integers(6, size=n))], size)


def draw_strokes(strokes: list, rng: np.random.Generator, size: int = 96) -> np.ndarray:
    """A QuickDraw drawing (strokes of x and y in 0..255) as a (size, size) uint8 picture, black on white."""
    from PIL import Image, ImageDraw

    scale = 2
    canvas = Image.new("L", (size * scale, size * scale), 255)
    pen = ImageDraw.Draw(canvas)
    corner, factor = rng.uniform(0.02, 0.1, 2), rng.uniform(0.8, 0.9, 2)
    width = int(rng.integers(3, 8))
    high = max(max(max(xs), max(ys)) for xs, ys in strokes) or 1
    wobble = rng.normal(0, 1.5, 2)
    for xs, ys in strokes:
        if len(strokes) > 3 and rng.random() < 0.06:
            continue
        xy = np.stack([xs, ys], 1) / high + rng.normal(0, 0.006, (len(xs), 2)) + wobble / 255
        line = [tuple(p) for p in (xy * factor + corner) * size * scale]
        pen.line(line, fill=0, width=width, joint="curve")
    return np.asarray(canvas.resize((size, size), Image.Resampling.BOX))


def resize(pictures: np.ndarray, side: int) -> Tensor:
    """(N, C, R, R) uint8 -> (N, C, side, side) uint8, antialiased, a thousand at a time."""
    parts = (torch.from_numpy(np.ascontiguousarray(pictures[i : i + 1000])) for i in range(0, len(pictures), 1000))
    return torch.cat([F.interpolate(p, (side, side), mode="bilinear", antialias=True) for p in parts])


def _table(folder: Path) -> Iterator[dict[str, str]]:
    path = folder / "labels.csv"
    if not path.exists():
        raise FileError("no labels.csv", where=folder, remedy="--data names the folder that holds images/")
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _split(row: dict[str, str]) -> str:
    """Grocery photos of one shelf are close in time: their authors' own split is the clean one."""
    if "official_split" in row:
        return "test" if row["official_split"] == "test" else "train"
    return row["split"]


def _cached(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    if not path.exists():
        array = make()
        with path.with_suffix(".part").open("wb") as file:
            np.save(file, array, allow_pickle=False)
        path.with_suffix(".part").replace(path)
    return np.load(path, allow_pickle=False)
