"""Trains an audio tower into a frozen space: from labelled sounds the tower learns, and the space stands still.

Words, and pictures where there are any, are encoded once. What a step sees is made from its number alone, so that a
stopped run goes on as if it had not been stopped. No weights are chosen by the held-out fold: those kept are the last
ones, averaged.

AudioCLIP's contrastive loss only asks that a sound be nearer to its own words than to the others of the batch. Vectors
that satisfy it may lie far from everything the space holds, and then find the right word among ten, but not the right
picture among thousands. So at the end the last layer alone is fitted again, in closed form, to the words themselves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipx import _processes as processes
from clipx._processes import gather
from clipx._threads import one_thread
from clipx.errors import FileError, InputError
from clipx.files import write_whole
from clipx.metrics import classification, confusion, per_class_accuracy
from clipx.modalities.audio.augment import AugmentConfig, augment, mask
from clipx.modalities.audio.config import AudioTrainConfig
from clipx.modalities.audio.encoder import Audio, AudioConfig
from clipx.modalities.audio.esresnext import ESResNeXt
from clipx.modalities.audio.fbsp import norm_penalty
from clipx.modalities.audio.files import Sound
from clipx.modalities.audio.fit import fit_tower
from clipx.modalities.audio.labelled import LabelledSounds, read_labels, read_start
from clipx.modalities.audio.losses import AudioScales, trimodal_loss
from clipx.modalities.audio.resampling import resample
from clipx.modalities.audio.synthesis import LABELS as SYNTHETIC
from clipx.modalities.audio.synthesis import synthesise
from clipx.modalities.audio.torch_network import TorchNetwork
from clipx.modalities.audio.towers import Tower, new_tower, save_tower
from clipx.modalities.audio.windows import windows
from clipx.progress import progress
from clipx.prompts import Prompts, spoken
from clipx.training import TrainConfig, plot_history, prepare_folder, train
from clipx.zeroshot import ZeroShotClassifier

if TYPE_CHECKING:
    from clipx.space import JointSpace

WINDOWS_AT_ONCE = 8
PROMPTS = ("a sound of a {}", "a photo of a {}", "{}")  # a label's target is the mean of these


def train_audio(
    data: str | PathLike,
    space: JointSpace,
    out: str | PathLike,
    config: AudioTrainConfig | None = None,
    *,
    fold: str | None = None,
    images: str | PathLike | None = None,
    prompts: Prompts = PROMPTS,
    exclude: Sequence[str] = (),
    skip: Sequence[str] = (),
    where: Sequence[tuple[str, str]] = (),
    resume: bool = False,
    stop_after: int | None = None,
) -> dict[str, Any]:
    """Train a tower and write ``out/tower``, which ``Audio`` takes, and its curves.

    Args:
        data: a folder with ``labels.csv``, see ``read_labels``.
        space: the frozen space.
        out: folder for the checkpoint, ``history.jsonl``, ``accuracy.jsonl`` (of the raw weights on the held-out fold,
            ten times a run), ``loss.png`` and ``tower``.
        config: how.
        fold: the fold that is held out; None trains on all, and measures on these very sounds alone.
        images: a folder with one folder of pictures a label: the third modality. Labels without one have words only.
        prompts: what is said of each label.
        exclude: labels whose sounds are left out of training; held-out sounds are still ranked among all labels.
        skip: file names to leave out altogether.
        where: (column, value) pairs of ``labels.csv`` that a sound must have.
        resume: go on from the checkpoint in ``out``.
        stop_after: stop after this step; see ``clipx.training.train``.

    Returns:
        The figures: "tower", "steps", and with a fold "acc1", "mean_per_class_recall", "classes" and "confusion";
        without one "training_acc1", the top-1 on its own training sounds, which says nothing of others.

    Raises:
        FileError, InputError: see ``read_labels``; an unknown fold or label; or as ``clipx.training.train``.
    """
    config = config or AudioTrainConfig()
    processes.join(space.device)
    everything = read_labels(data, skip, where)
    ranked = sorted(set(everything.labels))
    if fold is not None and fold not in everything.folds:
        known = ", ".join(sorted(set(everything.folds) - {""})) or "none"
        raise InputError(f"the set has no fold {fold!r}", where=data, remedy=f"its folds: {known}")
    if unknown := sorted(set(exclude) - set(ranked)):
        raise InputError(f"no such labels: {', '.join(unknown)}", where=data, remedy=f"known: {', '.join(ranked)}")
    folds, labels = everything.folds, everything.labels
    taught = everything.chosen([f != fold and n not in exclude for f, n in zip(folds, labels, strict=True)])
    held = everything.chosen([fold is not None and f == fold for f in folds])
    if len(taught) < 2:
        raise InputError("fewer than two sounds are left to learn from", where=data)
    out = prepare_folder(out, resume)
    spelt = {spoken(name).casefold(): name for name in ranked}  # the set's own way of writing what is synthesised
    imagined = {spelt.get(spoken(label).casefold(), label): label for label in SYNTHETIC if config.synthetic}
    imagined = {name: label for name, label in imagined.items() if name not in exclude}
    names = ranked + [name for name in imagined if name not in ranked]
    trained_on = torch.tensor([name not in exclude for name in names])  # a word left out is no wrong answer either
    classifier = ZeroShotClassifier(space, names, prompts)
    text = torch.from_numpy(classifier.weights.vectors).to(space.device)
    truth = torch.tensor([ranked.index(label) for label in held.labels])
    about = {
        "data_sha256": _digest(everything), "sounds": len(taught), "labels": names, "fold": fold, "exclude": [*exclude],
        "skip": [*skip], "prompts": prompts if isinstance(prompts, str) else list(prompts), "channels": 1,
    }  # fmt: skip
    if config.tower == "sfx":
        if images is not None:
            raise InputError("--tower sfx is fitted to words alone", where=images, remedy="leave --images out")
        fitted = (space, text, taught, held, names, imagined, prompts, config, about)
        return processes.on_first_rank(lambda: _fitted(*fitted, ranked=ranked, out=out))
    trainee = _Trainee(new_tower(config.tower, space.dim, config.seed))
    if isinstance(trainee.net, ESResNeXt) and not config.learn_front_end:
        trainee.net.fbsp.requires_grad_(False)
    trainee.to(space.device)
    pictures = None if images is None else _image_targets(space, Path(images), names, out, exclude)
    batches = _Batches(taught, names, config, trainee.net.sample_rate_hz, imagined)
    held_out = [read_start(path, trainee.net.sample_rate_hz) for path in held.paths]
    steps = max(1, round(config.epochs * len(taught) / (batches.recorded * processes.world_size())))
    schedule = TrainConfig(
        steps=steps, batch_size=config.batch_size, lr=config.lr, weight_decay=config.weight_decay,
        warmup=max(1, steps // 20), ema=0.99, mixed_precision=config.mixed_precision, seed=config.seed,
        checkpoint_every=max(1, steps // 20),
    )  # fmt: skip
    curve = _Curve(out / "accuracy.jsonl", max(1, steps // 10))

    def judge(sounds: Sequence[Sound] = held_out) -> Tensor:
        """(N, K) cosines of sounds with the set's labels, by the weights of this moment."""
        vectors = torch.from_numpy(_encoder(space, trainee.net, config.crop_s).encode(sounds).vectors)
        return vectors @ text[: len(ranked)].cpu().T

    def loss_of(module: nn.Module, step: int, draw: int) -> dict[str, Tensor]:
        if len(held) and curve.due(step) and processes.rank() == 0:
            trainee.eval()
            curve.add(step, classification(judge(), truth)["acc1"])
            trainee.train()
        rng = np.random.default_rng([config.seed, draw])
        waves, targets = batches.draw(rng)
        with torch.random.fork_rng():  # dropout, too, depends on the step alone
            torch.manual_seed(int(rng.integers(2**31)))
            vectors, text_scale, image_scale, penalty = module(waves, rng, config)
        targets = targets.to(space.device)
        drawn = None if pictures is None else pictures.draw(rng, targets)
        vectors, targets = gather(vectors), gather(targets)  # each sound is compared with those of all processes
        image, image_targets = None, None
        if pictures is not None and drawn is not None:
            image, image_targets = pictures.beside(gather(drawn), targets)
        known, right = text[trained_on], targets[:, trained_on]
        contrastive = trimodal_loss(vectors, known, right, text_scale, image, image_targets, image_scale)
        return {"loss": contrastive + penalty, "scale": text_scale}

    about |= {
        "train": asdict(config),
        "pictures": 0 if pictures is None else len(pictures.vectors),
        "synthetic": batches.synthetic,
    }
    identity = about | {"space": space.id}
    train(trainee, loss_of, schedule, out, identity=identity, resume=resume, device=space.device, stop_after=stop_after)

    def finish() -> dict[str, Any]:
        plot_history(out)
        batches.refit_last(trainee.net, text, config.ridge)
        figures: dict[str, Any] = {"steps": steps}
        if len(held):
            scores = judge()
            curve.add(steps, classification(scores, truth)["acc1"])
            curve.plot()
            figures |= _figures(scores, truth, ranked)
        elif fold is None:
            own = torch.tensor([ranked.index(label) for label in taught.labels])
            sounds = [Sound(wave.numpy(), trainee.net.sample_rate_hz) for wave in batches.waves[: len(taught)]]
            figures["training_acc1"] = classification(judge(sounds), own)["acc1"]
        folder = save_tower(trainee.net, out / "tower", space, config.crop_s, about | {"figures": figures})
        return {"tower": str(folder)} | figures

    return processes.on_first_rank(finish)


def _fitted(*given: Any, ranked: list[str], out: Path) -> dict[str, Any]:
    """Fit the sound-effects tower, see ``fit_tower`` for what is given; judge it and write it."""
    space, text, taught, held, _, _, _, config, _ = given
    vectors, net, about = fit_tower(*given)
    scores = vectors @ text[: len(ranked)].cpu().T
    truth = torch.tensor([ranked.index(label) for label in (held if len(held) else taught).labels])
    figures: dict[str, Any] = {"steps": 0}
    if len(held):
        figures |= _figures(scores, truth, ranked)
    else:
        figures["training_acc1"] = classification(scores, truth)["acc1"]
    counted = ("tower", "crop_s", "synthetic", "synthetic_count")
    about["train"] = {name: value for name, value in asdict(config).items() if name in counted}
    folder = save_tower(net, out / "tower", space, config.crop_s, about | {"figures": figures})
    return {"tower": str(folder)} | figures


def _figures(scores: Tensor, truth: Tensor, ranked: list[str]) -> dict[str, Any]:
    """Accuracies, and the table of confusions, of N sounds by their scores (N, K)."""
    table = confusion(scores.argmax(1).cpu(), truth, len(ranked))
    shares = per_class_accuracy(table)
    figures = classification(scores, truth) | {
        "count": len(truth),
        "classes": {n: round(float(s), 4) for n, s in zip(ranked, shares, strict=True) if np.isfinite(s)},
        "confusion": table.tolist(),
    }
    return {k: None if isinstance(v, float) and v != v else v for k, v in figures.items()}


def cross_validate(
    data: str | PathLike, space: JointSpace, out: str | PathLike, config: AudioTrainConfig | None = None, **options: Any
) -> dict[str, Any]:
    """``train_audio`` with each fold of the set held out in turn, in ``out/fold-NAME``; the record is ``out/cv.json``.

    Returns:
        "acc1", the mean over folds; "folds", each one's figures.
    """
    names = sorted(set(read_labels(data, options.get("skip", ()), options.get("where", ())).folds) - {""})
    if len(names) < 2:
        raise InputError("labels.csv names fewer than two folds", where=data)
    found = {}
    for name in names:
        folder = Path(out) / f"fold-{name}"
        found[name] = train_audio(data, space, folder, config, fold=name, **options)
        right = [found[n]["acc1"] for n in found]
        complete = len(found) == len(names)
        record = {"acc1": sum(right) / len(right), "space": space.id, "complete": complete, "folds": found}
        if processes.rank() == 0:
            write_whole(Path(out) / "cv.json", json.dumps(record, indent=1) + "\n")
    return record


class _Trainee(nn.Module):
    """The tower and the two scales of its loss."""

    def __init__(self, net: Any):
        super().__init__()
        self.net, self.scales = net, AudioScales()

    def forward(self, waves: Tensor, rng: np.random.Generator, config: AudioTrainConfig):
        """(B, 1, T) in [-1, 1] -> (B, D) unit vectors, scales with words and pictures, penalty of the filters."""
        net, device = self.net, self.net.last.weight.device
        waves, penalty = waves * net.full_scale, torch.zeros((), device=device)
        image_scale, text_scale = self.scales()
        with torch.autocast(device.type, enabled=False):  # spectra span more than half precision holds
            if isinstance(net, ESResNeXt):
                bank = net.fbsp.filters()
                spectrograms, penalty = net.listen(waves, bank), norm_penalty(bank)
            else:
                spectrograms = mask(net.listen(waves), rng, config.mask_bins, config.mask_frames)
        return F.normalize(net.body(spectrograms).float(), dim=1), text_scale, image_scale, penalty


class _Batches:
    """Balanced batches of augmented and mixed sounds.

    Attributes:
        recorded: how many of a batch are recordings; the others were synthesised.
        synthetic: what was synthesised: labels, how many of each, and a hash of the samples.
    """

    def __init__(
        self,
        sounds: LabelledSounds,
        names: list[str],
        config: AudioTrainConfig,
        rate_hz: int,
        made: Mapping[str, str] | None = None,
    ):
        self.config, self.names, self.length = config, names, round(config.crop_s * rate_hz)
        self.waves = [torch.from_numpy(read_start(path, rate_hz).samples) for path in sounds.paths]
        labels = list(sounds.labels)
        self.recorded = config.batch_size - (round(config.synthetic * config.batch_size) if made else 0)
        digest, made = hashlib.sha256(), made or {}
        with progress("synthesising", len(made) * config.synthetic_count) as advance:
            for (label, recipe), seed in product(made.items(), range(config.synthetic_count)):
                sound = synthesise(recipe, seed)
                digest.update(sound.samples.tobytes())
                self.waves.append(torch.from_numpy(resample(sound.samples, sound.sample_rate_hz, rate_hz)))
                labels.append(label)
                advance(1)
        about = {"labels": [*made], "a_label": config.synthetic_count, "sha256": digest.hexdigest()}
        self.synthetic: dict[str, Any] = about if made else {}
        rows = [[i for i, label in enumerate(labels) if label == name] for name in names]
        real = [[i for i in some if i < len(sounds)] for some in rows]
        unreal = [[i for i in some if i >= len(sounds)] for some in rows]
        self.real = [some for some in real if some]  # a label left out has no sounds
        self.unreal = [some for some in unreal if some]
        self.classes = torch.tensor([names.index(label) for label in labels])
        self.augment = AugmentConfig(speed=config.speed)

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """(B, 1, T) waves and (B, K) weights of the labels, which sum to 1."""
        config, count = self.config, self.config.batch_size
        picked = _pick(rng, self.real, self.recorded) + _pick(rng, self.unreal, count - self.recorded)
        with one_thread():  # its steps are of a millisecond
            waves = torch.stack([self._one(i, rng) for i in picked])
        targets = F.one_hot(self.classes[picked], len(self.names)).float()
        mixed = torch.from_numpy(rng.random(count) < config.mixup)
        share = torch.from_numpy(rng.beta(1, 1, count).astype(np.float32))
        share = torch.where(mixed, share, 1.0)[:, None]
        # Tokozume et al. 2018: a mixture sounds like as much of each as their loudness says, so make them equally loud
        loudness = waves.square().mean((1, 2), keepdim=True).sqrt().clamp(min=1e-4)
        other = torch.from_numpy(rng.permutation(count))
        level = waves / loudness
        blend = share[..., None] * level + (1 - share[..., None]) * level[other]
        waves = torch.where(mixed[:, None, None], blend * loudness, waves)
        return waves, share * targets + (1 - share) * targets[other]

    @torch.no_grad()
    def refit_last(self, net: Any, words: Tensor, ridge: float) -> None:
        """Fit the last layer to the words' vectors (K, D) by ridge regression from what lies before it.

        Every label weighs the same, and within a label every sound, recorded or synthesised, in full: the mean over
        windows of ``crop_s`` seconds that overlap by half, as the encoder cuts it. ``ridge`` is the shrinkage in units
        of the features' mean variance. Sounds then lie in the affine span of the words that were taught, and a word
        that was not is rarely the nearest.
        """
        net.eval()
        pooled = []
        for wave in self.waves:
            length_s = self.length / net.sample_rate_hz
            cut = windows(Sound(wave.numpy(), net.sample_rate_hz), length_s, length_s / 2, net.sample_rate_hz)
            pieces = torch.stack([torch.from_numpy(piece.samples) for piece in cut]).split(WINDOWS_AT_ONCE)
            features = [net.pooled(net.listen(some * net.full_scale)) for some in pieces]
            pooled.append(torch.cat(features).mean(0))
        kinds = self.classes
        x, y = torch.stack(pooled).cpu().double(), words.cpu()[kinds].double()  # on the CPU: MPS has no float64
        weight = 1 / torch.bincount(kinds, minlength=len(words)).double()[kinds]
        weight = (weight / weight.sum())[:, None]
        middle, centre = (weight * x).sum(0), (weight * y).sum(0)
        x, y = x - middle, y - centre
        spread = x.T @ (weight * x)
        shrunk = spread + ridge * spread.diagonal().mean().clamp(min=1e-12) * torch.eye(len(spread), dtype=x.dtype)
        slope = torch.linalg.solve(shrunk, x.T @ (weight * y))
        net.last.weight.copy_(slope.T)
        net.last.bias.copy_(centre - middle @ slope)

    def _one(self, index: int, rng: np.random.Generator) -> Tensor:
        return augment(self.waves[index], self.length, rng, self.augment)


def _pick(rng: np.random.Generator, by_label: list[list[int]], count: int) -> list[int]:
    """Draw ``count`` rows, as evenly over the labels as possible."""
    order: list[int] = []
    while len(order) < count:
        order += rng.permutation(len(by_label)).tolist()
    return [int(rng.choice(by_label[k])) for k in order[:count]]


@dataclass(frozen=True)
class _Pictures:
    """Unit vectors (P, D) of labelled pictures, and their labels as (P, K) ones."""

    vectors: Tensor
    labels: Tensor

    def draw(self, rng: np.random.Generator, targets: Tensor) -> Tensor:
        """The rows of as many pictures as there are sounds, (B,), each of its sound's label if there is one."""
        kinds, anything = self.labels.argmax(1).cpu(), torch.arange(len(self.vectors))
        some = []
        for label in targets.argmax(1).tolist():
            own = anything[kinds == label]
            some.append(int(rng.choice(own if len(own) else anything)))
        return torch.tensor(some, device=self.vectors.device)

    def beside(self, drawn: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The drawn pictures, (B, D), and by how much each is of each sound's label, (B, B)."""
        return self.vectors[drawn], targets @ self.labels[drawn].T


def _image_targets(
    space: JointSpace, folder: Path, names: list[str], out: Path, exclude: Sequence[str] = ()
) -> _Pictures:
    """Encode the pictures of ``folder/LABEL`` once, but of labels left out; they are kept in ``out/cache``."""
    from clipx.cache import CachedVectors
    from clipx.pipeline import embedding_of, encode_all, file_items
    from clipx.registry import get_modality

    image = get_modality("image")(space)
    paths, labels = [], []
    for index, name in enumerate(names):
        if name not in exclude:
            own = sorted(path for path in (folder / name).glob("*") if path.suffix.lower() in image.suffixes)
            paths += own
            labels += [index] * len(own)
    if not paths:
        raise FileError("holds no folder of pictures named like a label", where=folder)
    records = encode_all(file_items(paths), image, cache=CachedVectors(out / "cache", space.dim))
    vectors = torch.from_numpy(embedding_of(records, image).vectors)
    ones = F.one_hot(torch.tensor(labels), len(names)).float()
    return _Pictures(vectors.to(space.device), ones.to(space.device))


def _encoder(space: JointSpace, net: Any, window_s: float) -> Audio:
    """The audio modality with a given tower."""
    audio = Audio(space, AudioConfig())
    audio.__dict__["tower"] = Tower(TorchNetwork(net), net.kind, window_s, {"channels": 1})
    return audio


def _digest(sounds: LabelledSounds) -> str:
    """SHA-256 over names, labels, folds and sizes."""
    rows = zip(sounds.paths, sounds.labels, sounds.folds, strict=True)
    lines = [f"{path.name} {path.stat().st_size} {label} {fold}" for path, label, fold in rows]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class _Curve:
    """Accuracy on the held-out fold, a JSON object a line; on resume the lines after the checkpoint are dropped."""

    def __init__(self, path: Path, every: int):
        self.path, self.every = path, every
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.rows = [json.loads(line) for line in lines]

    def due(self, step: int) -> bool:
        return step > 0 and step % self.every == 0

    def add(self, step: int, acc1: float) -> None:
        self.rows = [row for row in self.rows if row["step"] < step] + [{"step": step, "acc1": round(acc1, 4)}]
        write_whole(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))

    def plot(self) -> None:
        """``accuracy.png`` beside it."""
        from matplotlib.figure import Figure

        axes = (figure := Figure(figsize=(7, 4))).subplots()
        axes.plot([row["step"] for row in self.rows], [row["acc1"] for row in self.rows], marker=".")
        axes.set(xlabel="step", ylabel="top-1 on the held-out fold", ylim=(0, 1))
        write_whole(self.path.with_suffix(".png"), lambda part: figure.savefig(part, dpi=110, bbox_inches="tight"))
