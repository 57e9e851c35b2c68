"""The recipe of `lite`, from pretrained parts to the folder of a space.

    clipx train space examples/recipes/lite --data DIR -o runs/lite

1. The photo tower is frozen; its last map is closed form (heads.py).
2. Nouns get the directions that a kernel ridge regression gives them (teacher.py), from the classifier's 1,000 rows and
   the means of training photos; they are stored as a lexicon, and a small network guesses at other words (student.py).
3. A second tower learns drawings, renders and clouds (graphics.py), and maps them to the words that stand still. A
   recipe may do without it, as that of `lite-b` does: its photo tower sees drawings, too, through a map of their own.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
from scipy.sparse import vstack
from torch import nn

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "nano")]
import pictures
import words
from features import photo_features
from graphics import Graphics, domain_pictures, train_graphics
from heads import LONGEST, PhotoHead, domain_classifier, domain_head, lengthened
from nouns import Nouns, collect, plain
from parts import FILES, efficientnet
from sentences import sentence_vectors
from student import compressed, distil, subword_vocabulary
from teacher import RIDGE, Described, Teacher, sentence, tree, unit
from wordnet import WordNet

from clipx.backbone import build_model
from clipx.errors import InputError
from clipx.lexicon import Lexicon
from clipx.spaces.embedded import save_embedded
from clipx.training import TrainConfig, prepare_folder, scaled

PHOTOS = ("caltech101", "grocery_store", "clothing", "caltech256_5classes")
RIDGE_PHOTOS = 0.05  # of a class's mean over training photos; the classifier's rows have teacher.RIDGE
KINDS = 3.0  # how much the mean of the classes below a word counts beside what the word is described by
# Lengths of the part of a word that photos see. Seen classes win too often: with 41 of Caltech-101's classes left out,
# these have the best harmonic mean of seen and unseen ones on training photos (calibrated stacking, Chao et al., 2016).
SEEN, UNSEEN = 0.8, 1.0


@dataclass(frozen=True)
class Photos:
    """N training photos: files, and their concepts ("" for those that only take part in mean and covariance)."""

    paths: list[Path]
    names: np.ndarray

    @classmethod
    def read(cls, images: Path, exclude: set[str]) -> Photos:
        table = words.load()
        paths, names = [], []
        for folder in PHOTOS:
            for row in pictures._table(images / folder):
                name = words.canonical(row["label"], table)
                if pictures._split(row) == "train" and name not in exclude:
                    paths.append(images / folder / row["path"])
                    names.append(name)
        captions = images / "coco_captions_mini"
        if (captions / "labels.csv").is_file():
            held_out = shown_elsewhere(images.parent)
            for row in pictures._table(captions):
                if row["permissive"] == "1" and Path(row["path"]).name not in held_out:
                    paths.append(captions / row["path"])
                    names.append("")
        return cls(paths, np.array(names))


def shown_elsewhere(data: Path) -> set[str]:
    """Names of photos that the test sets of segmentation and detection hold, too."""
    found = set()
    for folder in ("segmentation", "detection"):
        found |= {path.name for path in (data / folder).rglob("*.jpg")} if (data / folder).is_dir() else set()
    return found


def imagenet() -> list[tuple[str, str]]:
    """(name, synset) of the 1,000 classes, in the order of the classifier's rows."""
    listed = (Path(timm.__file__).parent / "data/_info/imagenet_synsets.txt").read_text().split()
    return [(name, wnid[1:]) for name, wnid in zip(IMAGENET_CLASSNAMES, listed, strict=True)]


class TextSide:
    """Every noun's unit vector.

    Args:
        nouns: what there is.
        described: (N,) of them.
        head: of the photo tower.
        features, names: of training photos, and their concepts.
        wordnet: of the nouns.
    """

    def __init__(
        self,
        nouns: Nouns,
        described: Described,
        head: PhotoHead,
        features: np.ndarray,
        names: np.ndarray,
        wordnet: WordNet,
    ):
        rows = np.arange(len(IMAGENET_CLASSNAMES))
        numbers, means = [], []
        placed = head(features)
        for name in sorted(set(names) - {""}):
            numbers.append(nouns.phrases[plain(name)])
            means.append(placed[names == name].mean(0))
        known = Described(
            np.concatenate([described.sentences[rows], described.sentences[numbers]]),
            vstack([described.tree[rows], described.tree[numbers]]).tocsr(),
        )
        targets = np.concatenate([unit(head.rows[rows]), unit(np.array(means))]) if means else unit(head.rows[rows])
        ridge = np.array([RIDGE] * len(rows) + [RIDGE_PHOTOS] * len(numbers))
        directions = Teacher(known, targets, described[rows], ridge)(described)
        size = np.linalg.norm(head.rows, axis=1)
        lengths = np.full(len(directions), UNSEEN)
        lengths[rows] = LONGEST * size[rows] / size.mean()
        lengths[numbers] = SEEN
        self._name_kinds(nouns, directions, unit(head.rows), rows, set(numbers), wordnet)
        self.vectors = lengthened(directions, lengths)

    @staticmethod
    def _name_kinds(
        nouns: Nouns, directions: np.ndarray, classes: np.ndarray, rows: np.ndarray, taken: set[int], wordnet: WordNet
    ) -> None:
        """A word above classes, such as "cat", is where the classes below it are on average, in place."""
        below: dict[str, list[int]] = {}
        synsets = [offset for _, offset in imagenet()]
        for row in rows:
            for above in wordnet.ancestors(synsets[row]):
                below.setdefault(above, []).append(row)
        for number, offset in enumerate(nouns.offsets):
            kinds = below.get(offset or "", [])
            if kinds and number not in taken and number >= len(IMAGENET_CLASSNAMES):
                directions[number] = unit(classes[kinds].mean(0, keepdims=True) * KINDS + directions[[number]])[0]


def make(
    data: Path, out: Path, plan: Mapping[str, Any], *, seed: int, share: float, exclude: tuple[str, ...], resume: bool
) -> Path:
    """Make the space, and return its folder, ``out/space``; what was finished before is taken from ``out``.

    Args:
        data: folder that holds ``images``.
        out: for features, checkpoints and the space.
        plan: the recipe.
        seed: of what is trained.
        share: of the recipe's steps.
        exclude: concepts whose pictures are left out; ``shapes:NAME`` leaves out renders and clouds alone.
        resume: go on where a run in ``out`` stopped.

    Raises:
        InputError, FileError, MissingDependencyError: unknown concepts, missing data or parts.
    """
    table = words.load()
    shapes = {words.canonical(name.removeprefix("shapes:"), table) for name in exclude if name.startswith("shapes:")}
    concepts = {words.canonical(name, table) for name in exclude if not name.startswith("shapes:")}
    cache = out / "cache"
    images, dim = data / "images", plan["model"]["embed_dim"]
    if not images.is_dir():
        raise InputError("holds no images", where=data, remedy="--data names the folder that holds images/")
    second = bool(plan["model"].get("towers"))  # one for what is no photo
    trained = ("student", "graphics") if second else ("student",)
    for part in trained:  # a folder that holds another run is refused now, not in half an hour
        prepare_folder(out / part, resume)
    wordnet = WordNet()

    tower = plan["model"]["vision_cfg"]["timm_model_name"].removeprefix("tf_efficientnet_")
    trunk = efficientnet(tower)
    used = {tower, "e5"} | ({"lite0"} if second else set())
    classifier = trunk.classifier.weight.detach().double().numpy()
    trunk.classifier = nn.Identity()
    trunk = trunk.to(memory_format=torch.channels_last)
    side = plan["model"]["vision_cfg"]["image_size"]
    photos = Photos.read(images, concepts)
    features = photo_features(trunk, tower, side, photos.paths, cache / "features").astype(np.float64)
    head = PhotoHead(features, classifier, photos.names, dim)

    source = Graphics(
        data, cache / "pictures", seed, plan["graphics"]["shapes"], frozenset(concepts), frozenset(shapes)
    )
    shown = sorted(set(photos.names) - {""} | set(source.names))
    nouns = collect(imagenet(), [(name, table[name].synonyms) for name in shown], wordnet)
    spoken = [sentence(name, offset, wordnet) for name, offset in zip(nouns.names, nouns.offsets, strict=True)]
    described = Described(
        sentence_vectors(spoken, cache / "sentences").astype(np.float64), tree(nouns.offsets, wordnet)
    )
    vectors = TextSide(nouns, described, head, features, photos.names, wordnet).vectors

    model_cfg = json.loads(json.dumps(plan["model"]))
    spelling = subword_vocabulary(list(nouns.phrases))
    model_cfg["text_cfg"] |= {"seen": nouns.seen, "phrases": len(vectors), "subwords": len(spelling)}
    model = build_model(model_cfg, seed)
    identity = {"seed": seed, "exclude": sorted(exclude), "recipe": plan["version"]}
    lexicon = Lexicon(nouns.phrases, spelling, nouns.seen, nouns.things)
    fill_text(model.text, vectors, nouns.seen)
    student = scaled(TrainConfig(**plan["student"], seed=seed), share)
    target = torch.from_numpy(vectors.astype(np.float32))
    distil(model.text, lexicon, target, student, out / "student", resume, identity)

    numbers = np.array([nouns.phrases[plain(name)] for name in source.names])
    shown_words = target[torch.from_numpy(numbers)]
    if second:
        settings = dict(plan["graphics"])
        stages, _ = settings.pop("stages"), settings.pop("shapes")
        config = scaled(TrainConfig(**settings, seed=seed), share)
        taught = identity | {"words": hashlib.sha256(shown_words.numpy().tobytes()).hexdigest()}
        namer = train_graphics(source, shown_words, config, stages, out / "graphics", resume, taught)
    with torch.no_grad():
        model.visual.trunk.load_state_dict(trunk.state_dict())
        if second:
            model.towers["graphics"].trunk.load_state_dict(namer.trunk.state_dict())
        set_linear(model.visual.head.proj, *head.linear())
        faded = photo_features(trunk, tower, side, photos.paths[::5], cache / "features", faded=True)
        by_domain = [np.concatenate([features[::2], faded])]
        for domain, stands_on in model_cfg["domains"].items():
            eyes = None if stands_on == "photo" else namer.trunk
            own, names, seen_as_photo = domain_pictures(source, domain, eyes, trunk, side, cache / "features")
            by_domain.append(seen_as_photo)
            if stands_on == "photo":  # the photos' map, centred on the domain's own pictures
                weight, _ = head.linear()
                begin = weight, -weight @ own.mean(0)
            else:
                begin = linear_of(namer.joint)
            set_linear(model.heads[domain][0], *domain_head(own, names, vectors[numbers], begin))
        set_linear(model.domain_classifier, *domain_classifier(by_domain))
    return save_embedded(
        model.eval(),
        out / "space",
        name=plan["name"],
        version=plan["version"],
        licence=plan["licence"],
        model_cfg=model_cfg,
        preprocess_cfg=plan["preprocess"],
        vocabulary={"phrases": nouns.phrases, "subwords": spelling, "seen": nouns.seen, "things": nouns.things},
        about={
            "recipe": plan,
            "seed": seed,
            "exclude": sorted(exclude),
            "parts_sha256": {name: digest for name, (_, _, digest) in FILES.items() if name in used},
            "data_sha256": digest_of(photos, source),
            "data": {"photos": len(photos.paths)} | {name: len(bank.names) for name, bank in source.banks.items()},
        },
    )


def fill_text(text: Any, vectors: np.ndarray, seen: int) -> None:
    """The vectors of all phrases into a ``LexiconText``."""
    codes, matrix, offset = compressed(vectors[seen:], text.codes.shape[1])
    with torch.no_grad():
        text.seen.copy_(torch.from_numpy(vectors[:seen]))
        text.codes.copy_(torch.from_numpy(codes))
        set_linear(text.basis, matrix, offset)


def linear_of(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias."""
    return layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()


def set_linear(layer: Any, weight: np.ndarray, bias: np.ndarray) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))


def digest_of(photos: Photos, source: Graphics) -> str:
    """One hash over everything that training looked at."""
    files = {
        str(path.relative_to(path.parents[2])): hashlib.sha256(path.read_bytes()).hexdigest() for path in photos.paths
    }
    return hashlib.sha256(json.dumps(sorted((files | source.files).items())).encode()).hexdigest()
