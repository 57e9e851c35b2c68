"""Fits the sound-effects tower to a frozen space in closed form: its linear layer, from labelled sounds and categories.

Two maps are added up. One takes the network's 512 features to the words of the labels by ridge regression. The other
takes the probabilities of the network's own categories (``categories``) to the words for what these hold, which needs
no sound: it reaches words that no sound was labelled with, as in ConSE (Norouzi et al., arXiv 1312.5650). Outputs are
then centred on the training sounds and whitened by their covariance, so that no word, trained on or not, is near to
everything. The price: a sound lies less near to its own word, and to its pictures; a ``WHITENING`` of 10 and more takes
that back, and the reach with it. How much the labels weigh against the categories is chosen on the training sounds: by
folds, and by leaving labels out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from clipx._threads import one_thread
from clipx.identity import Stamp
from clipx.modalities.audio.categories import CATEGORIES, HOLDS
from clipx.modalities.audio.files import Sound, mix
from clipx.modalities.audio.labelled import LabelledSounds, read_start
from clipx.modalities.audio.resampling import resample
from clipx.modalities.audio.sfx import NETWORK, SAMPLE_RATE_HZ, SfxTower
from clipx.modalities.audio.synthesis import synthesise
from clipx.modalities.audio.towers import new_tower
from clipx.modalities.audio.windows import windows
from clipx.progress import progress
from clipx.prompts import Prompts
from clipx.zeroshot import ZeroShotClassifier

if TYPE_CHECKING:
    from clipx.modalities.audio.config import AudioTrainConfig
    from clipx.space import JointSpace

RIDGE = 1.0  # shrinkage of the labels' map, in units of the features' mean variance
WHITENING = 0.3  # added to the outputs' covariance, in units of its mean variance
LABEL_WEIGHTS = (2.0, 3.0, 4.0, 6.0)  # deviation of the labels' map's targets in units of the categories' map's
SLACK = 0.005  # of top-1 by folds, given up for words that no sound was labelled with


@dataclass(frozen=True)
class SoundFeatures:
    """The features that the network computes of N sounds.

    Args:
        windows: (W, F) what ``SfxTower.pooled`` returns for all their windows.
        owners: (W,) the sound of each window, in order.
        kinds: (N,) the label of each sound, as a row of the words.
        groups: N names of folds.
        weight: (N,) sums to 1; labels in equal shares.
    """

    windows: Tensor
    owners: Tensor
    kinds: Tensor
    groups: tuple[str, ...]
    weight: Tensor

    def __len__(self) -> int:
        return len(self.kinds)

    def means(self) -> Tensor:
        """(N, F): a sound is the mean over its windows."""
        return _by_owner(self.windows, self.owners, len(self))

    def subset(self, keep: Tensor) -> SoundFeatures:
        """The features of the sounds whose ``keep``, (N,) bool, is true."""
        held = keep[self.owners]
        places = keep.cumsum(0) - 1
        weight = self.weight[keep]
        groups = tuple(group for group, kept in zip(self.groups, keep.tolist(), strict=True) if kept)
        return SoundFeatures(
            self.windows[held], places[self.owners[held]], self.kinds[keep], groups, weight / weight.sum().clamp(1e-12)
        )

    def vectors(self, slope: Tensor, offset: Tensor) -> Tensor:
        """(N, D) unit vectors as ``Audio`` makes them: the mean over the windows' unit vectors."""
        rows = F.normalize(self.windows @ slope.T + offset, dim=1)
        return F.normalize(_by_owner(rows, self.owners, len(self)), dim=1)


def fit_map(sounds: SoundFeatures, words: Tensor, directions: Tensor, label_weight: float) -> tuple[Tensor, Tensor]:
    """The tower's last layer in closed form.

    Args:
        sounds: the training sounds.
        words: (K, D) unit vectors of the labels; any text side will do.
        directions: (C, D) unit vectors of the network's categories; a category without a name has zeros.
        label_weight: how much the labels weigh against the categories.

    Returns:
        slope (D, F) and offset (D,).
    """
    x, weight = sounds.means(), sounds.weight[:, None]
    x, words, directions = x.double(), words.double(), directions.double()
    named = directions.norm(dim=1, keepdim=True) > 0
    directions = torch.where(named, directions - directions[named[:, 0]].mean(0), directions)  # what all words share
    middle = (weight * x).sum(0)
    x = x - middle
    count = x.shape[1] - len(directions)
    features, probabilities = x[:, :count], x[:, count:]
    targets = words[sounds.kinds]
    targets = targets - (weight * targets).sum(0)

    def deviation(rows: Tensor) -> Tensor:
        return (weight * rows.square()).sum().sqrt().clamp(min=1e-9)

    spread = features.T @ (weight * features)
    shrinkage = RIDGE * spread.diagonal().mean().clamp(min=1e-12) * torch.eye(count, dtype=x.dtype)
    by_labels = torch.linalg.solve(spread + shrinkage, features.T @ (weight * targets))
    by_categories = directions / deviation(probabilities @ directions)
    slope = torch.cat([label_weight / deviation(targets) * by_labels, by_categories])  # (F, D)
    out = x @ slope
    covariance = out.T @ (weight * out)
    noise = WHITENING * covariance.diagonal().mean().clamp(min=1e-12) * torch.eye(len(covariance), dtype=x.dtype)
    values, axes = torch.linalg.eigh(covariance + noise)
    slope = slope @ (axes * values.rsqrt()) @ axes.T
    return slope.T.contiguous(), -(middle @ slope)


def choose_label_weight(sounds: SoundFeatures, words: Tensor, directions: Tensor) -> float:
    """One of ``LABEL_WEIGHTS``, by two figures on the sounds that it is given.

    One is top-1 on each fold by the others, or by quarters of each label where fewer than two folds are named; the
    other, of three labels and more, is top-1 of each label by the others, its word ranked among all. Of the weights
    whose first figure is within ``SLACK`` of the best, the one with the best second figure; the smaller on a tie.
    """
    known = sounds.kinds.unique()
    groups: Sequence[str] = sounds.groups
    if len(set(groups)) < 2:
        turns = (F.one_hot(sounds.kinds).cumsum(0) - 1)[torch.arange(len(sounds)), sounds.kinds]
        groups = [str(turn % 4) for turn in turns.tolist()]
    by_fold = [torch.tensor([group == name for group in groups]) for name in sorted(set(groups))]
    by_label = [sounds.kinds == kind for kind in known] if len(known) > 2 else []

    def top1(held: list[Tensor], weight: float) -> float:
        right = []
        for out in held:
            if (~out).sum() < 2 or not out.any():
                continue
            slope, offset = fit_map(sounds.subset(~out), words, directions, weight)
            tested = sounds.subset(out)
            scores = tested.vectors(slope, offset) @ words[known].double().T
            right.append((known[scores.argmax(1)] == tested.kinds).double().mean().item())
        return sum(right) / max(1, len(right))

    figures = [top1(by_fold, weight) for weight in LABEL_WEIGHTS]
    good = [weight for weight, figure in zip(LABEL_WEIGHTS, figures, strict=True) if figure >= max(figures) - SLACK]
    return max(good, key=lambda weight: top1(by_label, weight))


def directions_of(space: JointSpace, prompts: Prompts) -> Tensor:
    """(C, D) unit vectors of the network's categories, by the words for what they hold that the space knows."""
    template = "{}" if isinstance(prompts, Mapping) else prompts
    words = list(dict.fromkeys(word for held in HOLDS.values() for word in held if not space.unknown(word)))
    named: dict[str, Tensor] = {}
    if words:
        rows = torch.from_numpy(ZeroShotClassifier(space, words, template).weights.vectors)
        vectors = dict(zip(words, rows, strict=True))
        for name, held in HOLDS.items():
            if known := [vectors[word] for word in held if word in vectors]:
                named[name] = F.normalize(torch.stack(known).mean(0), dim=0)
    nothing = torch.zeros(space.dim)
    return torch.stack([named.get(name or "", nothing) for name in chain(*CATEGORIES)])


def fit_tower(
    space: JointSpace,
    words: Tensor,
    taught: LabelledSounds,
    held: LabelledSounds,
    names: Sequence[str],
    imagined: Mapping[str, str],
    prompts: Prompts,
    config: AudioTrainConfig,
    about: dict[str, Any],
) -> tuple[Tensor, SfxTower, dict[str, Any]]:
    """Fit a tower, and encode the held-out sounds, or without any the training sounds.

    Args:
        space: the frozen space.
        words: (K, D) unit vectors of ``names``.
        taught, held: the sounds to learn from, and those to judge by.
        names: K labels.
        imagined: label -> what is synthesised for it.
        prompts: what is said of the categories' words, as of the labels.
        config: ``crop_s``, ``synthetic`` and ``synthetic_count`` count.
        about: what is known of the run.

    Returns:
        (N, D) unit vectors of the sounds judged, the tower, and ``about`` with what was chosen.
    """
    words, device, window_s = words.cpu(), str(space.device), config.crop_s
    paths = [*taught.paths, *held.paths]
    with progress("encoding sounds", len(paths)) as advance:
        pooled = []
        for path in paths:
            pooled.append(_pooled_file(path, Stamp.of(path), window_s, device))
            advance(1)
    made: list[tuple[str, Tensor]] = []
    digest = hashlib.sha256()
    with progress("synthesising", len(imagined) * config.synthetic_count) as advance:
        for label, recipe in imagined.items():
            for seed in range(config.synthetic_count):
                made.append((label, rows := _pooled_synthetic(recipe, seed, window_s, device)))
                digest.update(rows.numpy().tobytes())
                advance(1)
    recorded = _features_of(pooled[: len(taught)], taught.labels, taught.folds, names)
    everything = recorded
    if made:
        share = config.synthetic
        unreal = _features_of([rows for _, rows in made], [label for label, _ in made], [""] * len(made), names)
        everything = SoundFeatures(
            torch.cat([recorded.windows, unreal.windows]),
            torch.cat([recorded.owners, unreal.owners + len(recorded)]),
            torch.cat([recorded.kinds, unreal.kinds]),
            recorded.groups + unreal.groups,
            torch.cat([(1 - share) * recorded.weight, share * unreal.weight]),
        )
    with one_thread():  # the same bits by any number of threads
        directions = directions_of(space, prompts)
        label_weight = choose_label_weight(recorded, words, directions)
        slope, offset = fit_map(everything, words, directions, label_weight)
    net: SfxTower = new_tower("sfx", space.dim)
    with torch.no_grad():
        net.last.weight.copy_(slope)
        net.last.bias.copy_(offset)
    judged = _features_of(pooled[len(taught) :], held.labels, held.folds, names) if len(held) else recorded
    vectors = judged.vectors(slope, offset).float()
    chosen = {
        "ridge": RIDGE,
        "whitening": WHITENING,
        "label_weight": label_weight,
        "categories": int((directions.norm(dim=1) > 0).sum()),
        "network_sha256": hashlib.sha256(NETWORK.read_bytes()).hexdigest(),
    }
    about = about | {"fit": chosen}
    if made:
        about["synthetic"] = {
            "labels": [*imagined],
            "a_label": config.synthetic_count,
            "sha256": digest.hexdigest(),
        }
    return vectors, net, about


def _features_of(
    pooled: Sequence[Tensor], labels: Sequence[str], folds: Sequence[str], names: Sequence[str]
) -> SoundFeatures:
    kinds = torch.tensor([names.index(label) for label in labels])
    weight = 1 / torch.bincount(kinds).double()[kinds]
    owners = torch.repeat_interleave(torch.arange(len(pooled)), torch.tensor([len(rows) for rows in pooled]))
    return SoundFeatures(torch.cat(list(pooled)).double(), owners, kinds, tuple(folds), weight / weight.sum())


def _by_owner(rows: Tensor, owners: Tensor, count: int) -> Tensor:
    sums = rows.new_zeros(count, rows.shape[1]).index_add_(0, owners, rows)
    return sums / torch.bincount(owners, minlength=count)[:, None].to(rows.dtype)


@lru_cache(maxsize=8192)  # the runs of a cross-validation share their sounds
def _pooled_file(path: Path, _: Stamp, window_s: float, device: str) -> Tensor:
    return _pooled(read_start(path, SAMPLE_RATE_HZ), window_s, device)


@lru_cache(maxsize=8192)
def _pooled_synthetic(recipe: str, seed: int, window_s: float, device: str) -> Tensor:
    sound = synthesise(recipe, seed)
    samples = resample(sound.samples, sound.sample_rate_hz, SAMPLE_RATE_HZ)
    return _pooled(Sound(samples, SAMPLE_RATE_HZ), window_s, device)


@torch.no_grad()
def _pooled(sound: Sound, window_s: float, device: str) -> Tensor:
    """(W, F) of its windows, which overlap by half, as the encoder cuts them; on the CPU."""
    net = _frozen(device)
    pieces = windows(sound, window_s, window_s / 2, SAMPLE_RATE_HZ)
    return torch.cat([net.pooled(net.listen(torch.from_numpy(mix(piece.samples))[None])).cpu() for piece in pieces])


@lru_cache(maxsize=1)
def _frozen(device: str) -> SfxTower:
    return new_tower("sfx", 1).to(device).eval().requires_grad_(False)
