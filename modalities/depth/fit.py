"""Fitting depth on few photos: words with learned prompts and bins, or a linear head, both on frozen features.

>>> fit = fit_depth(space, pairs, FitConfig(kind="prompts"))                               # doctest: +SKIP
>>> fit.save("fit.safetensors")                                                            # doctest: +SKIP
>>> depth_m = fit.predict(fit.features(space, pixels), (480, 640))                         # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.errors import FileError, InputError, SpaceMismatchError, UnsupportedError
from clipx.files import MODEL_SUFFIX, parse_tensors, read_bytes, write_model
from clipx.modalities.depth.inputs import require_words, viewed
from clipx.prompt_learning import PromptLearner
from clipx.space import JointSpace
from clipx.zeroshot import ZeroShotClassifier

WORDS = ("extremely close", "very close", "close", "not in distance", "a little remote", "far", "very far")
SCENES = ("kitchen", "bedroom", "bathroom", "living room", "dining room", "office", "classroom")
ENDS = 0.02  # shares of the cells nearer than the first bin and farther than the last
MAP = (24, 32)  # cells of the mean map
WAVES = ((0, 0), (1, 0), (0, 1))  # half waves down and across in which a whole picture may shift the mean map
CELL_VARIANCE = 3.0  # of the ridge's prior: what a cell shows, where what the whole picture shows has 1
RANK = 60  # directions of the picture's statistics that the ridge reads


@dataclass(frozen=True)
class FitConfig:
    """How depth is fitted.

    Args:
        kind: ``"prompts"`` learns context vectors around depth words (text tower frozen), their temperature and bins;
            ``"linear"`` a ridge from frozen features to log depth.
        bins: what distances the words stand for: ``"quantile"`` and ``"log"`` (uniform) of the training depths, or
            ``"scene"``: quantiles of each scene, the scene found zero-shot.
        mean_map: both then predict how far a place differs from the mean map of log depth, which is kept in the fit.
        words: K >= 2 words from near to far.
        prompts: the sentence whose words, other than the depth word, the context vectors begin as.
        places: (down, outward from the middle) how many places of a picture have prompts of their own, blended between
            them: far looks otherwise on the floor than under the ceiling. (1, 1): the same prompts everywhere.
        scenes: what a picture may show, for scene bins.
        short_side_px: what a photo's shorter side is scaled to; by kind, one or two of the space's own sides when None.
        ridge: penalty of the linear head, in photos: the larger, the nearer to the mean. Prompts learn towards such a
            head of the same features, which few photos mislead less than they do prompts.
        steps: of learning prompts. 0 leaves words and temperature as they are.
        lr: its learning rate.
        seed: kept with the fit; nothing is drawn.

    Raises:
        InputError: an unknown kind or kind of bins, fewer than two words, or numbers out of range.
    """

    kind: Literal["prompts", "linear"] = "prompts"
    bins: Literal["quantile", "log", "scene"] = "quantile"
    mean_map: bool = False
    words: tuple[str, ...] = field(default=WORDS)
    prompts: str = "this object is {}"
    places: tuple[int, int] = (4, 2)
    scenes: tuple[str, ...] = field(default=SCENES)
    short_side_px: int | None = None
    ridge: float = 1.0
    steps: int = 100
    lr: float = 0.02
    seed: int = 0

    def __post_init__(self):
        if self.kind not in ("prompts", "linear"):
            raise InputError(f"no kind of fit named {self.kind!r}", remedy="known: prompts, linear")
        if self.bins not in ("quantile", "log", "scene"):
            raise InputError(f"no kind of bins named {self.bins!r}", remedy="known: quantile, log, scene")
        require_words(self.words)
        if self.short_side_px is not None and self.short_side_px < 1:
            raise InputError(f"short_side_px must be at least 1, got {self.short_side_px}")
        if len(self.places) != 2 or min(self.places) < 1:
            raise InputError(f"places are two counts of at least 1, got {self.places}")
        if self.steps < 0 or not (0 < self.lr < math.inf and 0 < self.ridge < math.inf):
            raise InputError("a fit needs steps of at least 0, and a learning rate and a ridge above 0")


@dataclass(frozen=True, eq=False)
class Fit:
    """Depth fitted on few photos of one space; made by ``fit_depth``, or from a file by ``load_fit``.

    Args:
        kind: ``"prompts"`` or ``"linear"``.
        space_id: the only space whose features it takes.
        bins: K distances in metres, increasing; of scene bins those of all scenes together. What ``predict`` gives
            stays within the closed range from the first to the last.
        short_side_px: what a photo's shorter side is scaled to.
        words: the K words; () for a linear head.
        tensors: what was learned, by name.
        settings: how, as JSON has it.
        unit: of the bins and of ``predict``.
    """

    kind: str
    space_id: str
    bins: tuple[float, ...]
    short_side_px: int
    words: tuple[str, ...]
    tensors: dict[str, Tensor]
    settings: dict[str, Any]
    unit: str = "m"

    @property
    def mean_map_m(self) -> Tensor | None:
        """(24, 32) exp of the mean log depth, if the fit has a mean map."""
        return self.tensors["map"].exp() if self.settings["mean_map"] else None

    @property
    def config(self) -> FitConfig:
        """How it was fitted."""
        kept: dict[str, Any] = {one.name: self.settings[one.name] for one in fields(FitConfig)}
        kept = {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}
        return FitConfig(**kept)

    def sha256(self) -> str:
        """Hash of everything that decides what it predicts."""
        facts = json.dumps({name: getattr(self, name) for name in _FACTS}, sort_keys=True)
        digest = hashlib.sha256(facts.encode())
        for name, tensor in sorted(self.tensors.items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def features(self, space: JointSpace, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, H, W) in [0, 1], any size -> what this fit reads of them, (N, C, h, w).

        Prompts read ``space.dense_image``; a linear head the two stages before the last, side by side, and the
        last as well where the tower averages it.

        Raises:
            SpaceMismatchError: another space. InputError: what are no pixels. UnsupportedError: the tower has no such
                features.
        """
        if space.id != self.space_id:
            raise SpaceMismatchError(
                f"the fit was made in space {self.space_id}, this is {space.id}",
                remedy="take that space, or fit again with clipx train depth",
            )
        return read_features(space, pixels, self.kind, self.short_side_px)

    def predict(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Features of N photos -> (N, H, W) float32 metres, within the bins; bilinear in log depth between cells."""
        features = self._checked(features)
        if self.kind == "prompts":
            log = _log_expected(self.responses(features), _bins_of(self.tensors, features)) - self.tensors["constant"]
        else:
            log = _linear(self.tensors, features)
        log = F.interpolate(log[:, None], size, mode="bilinear")[:, 0]
        base = F.interpolate(self.tensors["map"][None, None], size, mode="bilinear")[0]
        low, high = self.tensors["bins"].aminmax()
        return (base + log).exp().clamp(low, high).float()

    def responses(self, features: Tensor) -> Tensor:
        """How much of each word a cell shows: (N, K, h, w), summing to 1 over K.

        Raises:
            UnsupportedError: a linear head has no words.
        """
        if self.kind != "prompts":
            raise UnsupportedError("a linear head has no words, so no responses", where="depth fit")
        features = self._checked(features)
        t = self.tensors
        return _shares(features, t["text"], t["scale"], t["surroundings"], self.settings["places"])

    def save(self, path: str | PathLike) -> Path:
        """Write one .safetensors file, its facts as JSON in the header.

        Raises:
            FileError: another suffix, or the file cannot be written.
        """
        tensors = {name: tensor.float() for name, tensor in self.tensors.items()}
        return write_model(path, tensors, "clipx-depth", {name: getattr(self, name) for name in _FACTS})

    @property
    def _channels(self) -> int:
        return self.tensors["text"].shape[-1] if self.kind == "prompts" else len(self.tensors["cell.weight"])

    def _checked(self, features: Tensor) -> Tensor:
        c = self._channels
        if features.ndim != 4 or features.shape[1] != c:
            raise InputError(
                f"this {self.kind} fit reads features (N, {c}, h, w), got {tuple(features.shape)}",
                remedy="take fit.features(space, pixels)",
            )
        return features.float().cpu()


_FACTS = ("kind", "space_id", "bins", "short_side_px", "words", "settings", "unit")


def shipped_fits(space: JointSpace) -> dict[str, Path]:
    """Name -> file of the fits that clipx ships for a space, the one to take first at the front."""
    files = SHIPPED.glob(f"{space.name}/*{MODEL_SUFFIX}")
    return {path.stem: path for path in sorted(files, key=lambda path: path.stem)}


def load_fit(path: str | PathLike, space: JointSpace) -> Fit:
    """Read what ``Fit.save`` wrote, or a fit that comes with the space. Nothing in the file is run.

    Args:
        path: of the file; or, without a suffix, a name in ``shipped_fits``.
        space: where it was made.

    Raises:
        FileError: missing, unreadable, or no depth fit. SpaceMismatchError: made in another space.
    """
    if not Path(path).suffix:
        if str(path) not in (shipped := shipped_fits(space)):
            known = f"{space.name} comes with {', '.join(shipped) or 'none'}"
            raise FileError("no fit of that name", where=path, remedy=f"{known}; a fit's file ends in {MODEL_SUFFIX}")
        path = shipped[str(path)]
    data = read_bytes(path, (MODEL_SUFFIX,), max_bytes=2**30)
    try:
        tensors, facts = parse_tensors(data, "clipx-depth")
        fit = Fit(tensors=tensors, **{name: facts[name] for name in _FACTS})
        fit = Fit(**{**vars(fit), "bins": tuple(fit.bins), "words": tuple(fit.words)})
        needed = _PROMPTS if fit.kind == "prompts" else _LINEAR
        if needed - set(tensors) or not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise ValueError("tensors are missing or not finite")
        if fit.config.kind != fit.kind or fit.unit != "m":
            raise ValueError(f"a {fit.kind} fit in {fit.unit}, its settings are those of a {fit.config.kind} fit in m")
        if not bool(fit.predict(torch.zeros(1, fit._channels, 1, 1), (1, 1)).isfinite().all()):  # shapes agree
            raise ValueError("it predicts no number")
    except Exception as error:  # whatever safetensors, json or torch trip over in a damaged or foreign file
        raise FileError(
            f"is no depth fit ({error.__class__.__name__}: {error})", where=path, remedy="fit it with clipx train depth"
        ) from error
    if fit.space_id != space.id:
        raise SpaceMismatchError(
            f"the fit was made in space {fit.space_id}, this is {space.id}",
            where=path,
            remedy="take that space, or fit again with clipx train depth",
        )
    return fit


SHIPPED = Path(__file__).parent / "fits"
_PROMPTS = {"map", "constant", "bins", "text", "scale", "surroundings", "context"}
_LINEAR = {"map", "bins", "cell.mean", "cell.std", "cell.weight", "bias", "image.mean", "image.std", "image.weight"}


def fit_depth(
    space: JointSpace,
    pairs: Iterable[tuple[Tensor, Tensor]],
    config: FitConfig | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Fit:
    """Fit on photos with their depth, and on their mirror pictures.

    Args:
        space: frozen; its tower needs dense features, for a linear head stages too.
        pairs: N >= 1 of photo (3, H, W) in [0, 1] and depth (H, W) in metres, 0 where unknown.
        config: see there.
        on_step: called with the step and its loss after each step of learning prompts.

    Raises:
        InputError: no photos, none with enough known depth, or depth that is everywhere the same.
        UnsupportedError: the tower has no such features, or its text tower takes no learned context.
        VocabularyError: an embedded space does not know a word.
    """
    config = config or FitConfig()
    _check_words(space, config)
    side = config.short_side_px or default_side(space, config.kind)
    features: list[Tensor] = []
    depths: list[Tensor] = []  # the photos, each followed by its mirror picture
    for pixels, depth in pairs:
        with torch.no_grad():
            rows = read_features(space, torch.stack([pixels, pixels.flip(-1)]), config.kind, side).cpu()
        grid = tuple(features[0].shape[-2:]) if features else tuple(rows.shape[-2:])
        features.append(rows if tuple(rows.shape[-2:]) == grid else F.interpolate(rows, grid, mode="bilinear"))
        depths += [depth.cpu(), depth.cpu().flip(-1)]
    if not features:
        raise InputError("no photos to fit on")
    return fit_features(space, torch.cat(features), depths, config, on_step)


def fit_features(
    space: JointSpace,
    x: Tensor,
    depths: Sequence[Tensor],
    config: FitConfig,
    on_step: Callable[[int, float], None] | None = None,
) -> Fit:
    """``fit_depth`` from (2 N, C, h, w) features of photos, each followed by its mirror picture, and their depths."""
    side = config.short_side_px or default_side(space, config.kind)
    logs, known = cell_depth(depths, (x.shape[-2], x.shape[-1]))
    if not bool(known.any()):
        raise InputError("no photo has enough known depth to fit on")
    constant = logs[known].mean()
    base = mean_log_map(depths) if config.mean_map else constant.expand(MAP).clone()
    bins = _quantiles(logs[known], len(config.words))
    if config.bins == "log":
        bins = torch.linspace(float(bins[0]), float(bins[-1]), len(bins))
    if not bool((bins[1:] > bins[:-1]).all()):
        raise InputError("the photos' depth is everywhere the same", remedy="add photos of near and far")
    tensors = {"map": base, "constant": constant, "bins": bins.exp()}
    target = logs - F.interpolate(base[None, None], tuple(logs.shape[1:]), mode="bilinear")[0]
    if config.kind == "linear":
        tensors |= _fit_linear(x, target, known, config)
    else:
        if config.bins == "scene":
            tensors |= _scene_bins(space, x, logs, known, bins, config)
        tensors |= _fit_prompts(space, x, target, known, tensors, config, on_step)
    settings = {**asdict(config), "photos": len(x) // 2}
    ends = [float(v) for v in bins.exp()]
    words = config.words if config.kind == "prompts" else ()
    tensors = {name: value.detach().float() for name, value in tensors.items()}
    return Fit(config.kind, space.id, tuple(ends), side, tuple(words), tensors, settings)


def default_side(space: JointSpace, kind: str) -> int:
    """Pixels of a photo's shorter side: the space's own, and twice that for words, whose cells are coarser."""
    return min(space.image_size) * (2 if kind == "prompts" else 1)


def read_features(space: JointSpace, pixels: Tensor, kind: str, short_side_px: int) -> Tensor:
    """What a fit of that kind reads of a photo, see ``Fit.features``."""
    view = viewed(space, pixels, short_side_px, enlarge=True)
    if kind == "prompts":
        unit: Literal["picture", "cell"] = "picture" if space.backbone.averages else "cell"
        return space.dense_image(view, resize=not space.backbone.any_size, unit=unit)
    if not space.backbone.any_size:
        view = space.preprocess.sample(view, space.image_size).clamp(0, 1)
    stages = list(space.stages(view).values())
    some = stages[-3:] if space.backbone.averages else stages[-3:-1] or stages  # a tower of one block has none before
    grid = tuple(some[0].shape[-2:])
    return torch.cat([s if tuple(s.shape[-2:]) == grid else F.interpolate(s, grid, mode="bilinear") for s in some], 1)


def cell_depth(depths: Sequence[Tensor], grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(H, W) maps in metres -> (N, h, w) mean log depth of each cell, and where at least half a cell is known."""
    logs, known = [], []
    for depth in depths:
        valid = (depth > 0) & depth.isfinite()
        log = torch.where(valid, depth, 1.0).log()
        total, share = (F.adaptive_avg_pool2d(v.float()[None], grid)[0] for v in (log * valid, valid))
        logs.append(total / share.clamp(min=1e-6))
        known.append(share >= 0.5)
    return torch.stack(logs), torch.stack(known)


def mean_log_map(depths: Sequence[Tensor]) -> Tensor:
    """(24, 32) mean log depth by place; the overall mean where no photo knows a place."""
    logs, known = cell_depth(depths, MAP)
    mean = (logs * known).sum(0) / known.sum(0).clamp(min=1)
    return torch.where(known.any(0), mean, logs[known].mean())


# The linear head ------------------------------------------------------------------------------------------------------


def _linear(t: dict[str, Tensor], features: Tensor) -> Tensor:
    """(N, C, h, w) -> (N, h, w): a weighted sum of what a cell shows, and of the whole picture's mean and spread."""
    cells = (features - t["cell.mean"][:, None, None]) / t["cell.std"][:, None, None]
    image = (_statistics(features) - t["image.mean"]) / t["image.std"]
    waves = _waves((features.shape[-2], features.shape[-1]), t["image.weight"].shape[1])  # (J, h, w)
    local = torch.einsum("nchw,c->nhw", cells, t["cell.weight"])
    return local + torch.einsum("nj,jhw->nhw", image @ t["image.weight"], waves) + t["bias"]


def _fit_linear(x: Tensor, target: Tensor, known: Tensor, config: FitConfig) -> dict[str, Tensor]:
    """Ridge regression of ``target`` (N, h, w); without a mean map only the first wave, the constant, is used.

    The prior is the same however many photos there are: what a cell shows may explain ``CELL_VARIANCE`` units, what
    the whole picture shows one.
    """
    count, channels, height, width = x.shape
    waves = _waves((height, width), len(WAVES) if config.mean_map else 1)
    mean, std = x.mean((0, 2, 3)), x.std((0, 2, 3)) + 1e-6
    share = (CELL_VARIANCE / channels) ** 0.5
    statistics = _statistics(x)
    image_mean = statistics.mean(0)
    # one photo and its mirror picture have no spread to go by
    image_std = statistics.std(0) + 1e-6 if count > 2 else torch.full_like(image_mean, math.inf)
    image = (statistics - image_mean) / image_std / statistics.shape[1] ** 0.5
    directions = torch.linalg.svd(image.double(), full_matrices=False).Vh[:RANK].float()  # (R, 2 C)
    weights = torch.tensor([1.0] + [0.5] * (len(waves) - 1))
    spread = (waves * weights[:, None, None]).flatten(1).T  # (cells, J)
    pictures = image @ directions.T  # (N, R)
    size = channels + len(directions) * len(waves)
    gram, right = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    centre, level, cell_count = torch.zeros(size, dtype=torch.float64), torch.zeros((), dtype=torch.float64), 0
    for i in range(count):  # photo by photo: 80 of a large tower together take gigabytes
        cells = ((x[i] - mean[:, None, None]) / std[:, None, None]).flatten(1).mT * share  # (cells, C)
        whole = (pictures[i][:, None] * spread[:, None, :]).flatten(1)  # (cells, R J)
        rows = torch.cat([cells, whole], dim=1)[known[i].flatten()].double()
        aim = target[i][known[i]].double()
        gram, right = gram + rows.T @ rows, right + rows.T @ aim
        centre, level, cell_count = centre + rows.sum(0), level + aim.sum(), cell_count + len(rows)
    centre, level = centre / cell_count, level / cell_count
    per_photo = height * width
    gram = (gram - cell_count * centre[:, None] * centre) / per_photo
    right = (right - cell_count * centre * level) / per_photo
    solved = torch.linalg.solve(gram + config.ridge * torch.eye(len(gram), dtype=torch.float64), right).float()
    by_wave = solved[channels:].unflatten(0, (len(directions), len(waves))) * weights
    bias = (level - centre @ solved.double()).float()
    return {
        "cell.mean": mean,
        "cell.std": std,
        "cell.weight": solved[:channels] * share,
        "image.mean": image_mean,
        "image.std": image_std.clamp(max=1e6),
        "image.weight": directions.T @ by_wave / statistics.shape[1] ** 0.5,
        "bias": bias,
    }


def _statistics(features: Tensor) -> Tensor:
    """(N, C, h, w) -> (N, 2 C): the mean of every channel over the picture, and its standard deviation."""
    return torch.cat([features.mean((2, 3)), features.flatten(2).std(dim=2, correction=0)], dim=1)


def _waves(grid: tuple[int, int], count: int) -> Tensor:
    """(J, h, w) cosines of unit mean square, the first of them 1 everywhere."""
    y, x = ((torch.arange(n) + 0.5) / n for n in grid)
    return torch.stack(
        [
            (torch.cos(math.pi * i * y) * (2**0.5 if i else 1))[:, None]
            * (torch.cos(math.pi * j * x) * (2**0.5 if j else 1))
            for i, j in WAVES[:count]
        ]
    )


# Words ----------------------------------------------------------------------------------------------------------------


def _shares(features: Tensor, text: Tensor, scale: Tensor, surroundings: Tensor, places: Sequence[int]) -> Tensor:
    """(N, D, h, w) and (places, K, D) -> (N, K, h, w): the softmax over the prompts of each place.

    A cell is mixed with some of the whole picture, which shows the size of a room.
    """
    both = F.normalize(features + surroundings * features.mean((2, 3), keepdim=True), dim=1)
    at = _nearness_to_places((features.shape[-2], features.shape[-1]), places)
    return (scale * torch.einsum("ndhw,pkd,phw->nkhw", both, text, at)).softmax(dim=1)


def _nearness_to_places(grid: tuple[int, int], places: Sequence[int]) -> Tensor:
    """(places, h, w) weights that sum to 1 over the places: linear between neighbours, down and from the middle out."""
    down, out = ((torch.arange(n) + 0.5) / n for n in grid)
    sides = []
    for where, count in ((down, places[0]), ((2 * out - 1).abs(), places[1])):
        sides.append((1 - (where * (count - 1) - torch.arange(count)[:, None]).abs()).clamp(min=0))
    return torch.einsum("ah,bw->abhw", *sides).flatten(0, 1)


def _log_expected(shares: Tensor, bins: Tensor) -> Tensor:
    """(N, K, h, w) and (N, K) metres -> (N, h, w) log of the expected distance."""
    return torch.einsum("nkhw,nk->nhw", shares, bins).log()


def _bins_of(t: dict[str, Tensor], features: Tensor) -> Tensor:
    """(N, K): the bins of each photo, those of its likeliest scene where the fit has scenes."""
    if "scene.bins" not in t:
        return t["bins"].expand(len(features), -1)
    return t["scene.bins"][_scene(t["scene.text"], features)]


def _scene(text: Tensor, features: Tensor) -> Tensor:
    """(N,) the scene that the mean of the dense features is nearest to."""
    return (F.normalize(features.mean((2, 3)), dim=1) @ text.T).argmax(dim=1)


def _quantiles(logs: Tensor, count: int) -> Tensor:
    """(M,) log depths -> K of them, at even shares between the nearest and the farthest 2 %."""
    ordered = logs.sort().values
    at = torch.linspace(ENDS, 1 - ENDS, count, dtype=torch.float64) * (len(ordered) - 1)
    return ordered[at.floor().long()].lerp(ordered[at.ceil().long()], at.frac().to(ordered))


def _scene_bins(
    space: JointSpace, x: Tensor, logs: Tensor, known: Tensor, bins: Tensor, config: FitConfig
) -> dict[str, Tensor]:
    """Each scene's quantiles, drawn towards those of all photos as if 4 more photos of it were like all."""
    text = torch.from_numpy(ZeroShotClassifier(space, config.scenes).weights.vectors)
    scene = _scene(text, x)
    own = []
    for k in range(len(text)):
        mine = known & (scene == k)[:, None, None]
        photos = float((scene == k).sum()) / 2
        own.append((photos * _quantiles(logs[mine], len(bins)) + 4 * bins) / (photos + 4) if mine.any() else bins)
    return {"scene.text": text, "scene.bins": torch.stack(own).exp()}


def _check_words(space: JointSpace, config: FitConfig) -> None:
    """Raise for words that the space cannot read, before the photos are encoded."""
    if config.kind == "prompts":
        PromptLearner(space, config.words, config.prompts)
        if config.bins == "scene":
            ZeroShotClassifier(space, config.scenes)


def _fit_prompts(
    space: JointSpace,
    x: Tensor,
    target: Tensor,
    known: Tensor,
    tensors: dict[str, Tensor],
    config: FitConfig,
    on_step: Callable[[int, float], None] | None,
) -> dict[str, Tensor]:
    """Learn context, temperature and surroundings, in full batches and without draws.

    The target is a linear head's, fitted on the same features and the mean map: learned from the photos themselves,
    prompts have room enough to learn them by heart.
    """
    places = config.places[0] * config.places[1]
    learner = PromptLearner(space, config.words * places, config.prompts, per_label=True)
    scale = torch.tensor(math.log(space.logit_scale), requires_grad=True)
    surroundings = torch.tensor(1.0, requires_grad=True)
    bins, constant = _bins_of(tensors, x), tensors["constant"]
    optimizer = torch.optim.Adam([learner.context, scale, surroundings], lr=config.lr)
    usual = (target * known).sum(0) / known.sum(0).clamp(min=1)
    aim = usual + _linear(_fit_linear(x, target - usual, known, replace(config, mean_map=True)), x)

    def text() -> Tensor:
        return learner().cpu().unflatten(0, (places, len(config.words)))

    with torch.enable_grad():
        for step in range(config.steps):
            for group in optimizer.param_groups:
                group["lr"] = config.lr * 0.5 * (1 + math.cos(math.pi * step / config.steps))
            shares = _shares(x, text(), scale.exp(), surroundings, config.places)
            loss = (_log_expected(shares, bins) - constant - aim).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if on_step is not None:
                on_step(step, float(loss.detach()))
    with torch.no_grad():
        return {"text": text(), "scale": scale.exp(), "surroundings": surroundings, "context": learner.context}
