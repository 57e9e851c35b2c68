"""Draw a photo in few strokes: move them until a frozen tower sees the drawing as it sees the photo.

Method: CLIPasso (Vinker et al., SIGGRAPH 2022). ``DrawConfig.preset("clipasso")`` keeps its constants. The default
keeps its loss and changes how it is minimised: all seeds, stroke counts and photos are one tensor and one encoder call,
the photo's features are computed once for a pool of views, weak seeds are dropped, and what has come to rest stops.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from clipx.errors import FileError, InputError
from clipx.modalities.sketch.initial import SEEDS, initial_strokes
from clipx.modalities.sketch.losses import StopRule, clipasso_loss, stage_names
from clipx.modalities.sketch.raster import rasterize
from clipx.modalities.sketch.saliency import saliency, start_probabilities
from clipx.modalities.sketch.svg import Strokes
from clipx.modalities.sketch.target import CANVAS, Target
from clipx.modalities.sketch.views import AUGMENTED, ViewDraws, apply_views, draw_views
from clipx.training import stop_asked

if TYPE_CHECKING:
    from clipx.space import JointSpace

MAX_STROKES = 4096
AWAY = -1e4  # where strokes wait that a run has not: they draw nothing, and nothing moves them
BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's own
ENCODED_AT_ONCE = 64


@dataclass(frozen=True)
class DrawConfig:
    """How to draw; see the module's first lines for the presets."""

    strokes: tuple[int, ...] = field(default=(16,), metadata={"help": "stroke counts, each drawn with every seed"})
    seeds: tuple[int, ...] = field(default=SEEDS, metadata={"help": "the best seed's drawing is kept"})
    steps: int = field(default=500, metadata={"help": "optimiser steps at most"})
    lr: float = field(default=1.0, metadata={"help": "pixels that a control point moves in a step, at first"})
    width_px: float = field(default=3.0, metadata={"help": "full width of a stroke on the canvas of 224 pixels"})
    views: int = field(default=AUGMENTED, metadata={"help": "random views a step, beside the plain one"})
    pool: int = field(default=32, metadata={"help": "views to choose from, encoded once; 0 draws new ones each step"})
    window: int = field(default=100, metadata={"help": "steps without a gain after which a drawing stops; 0 never"})
    min_gain: float = field(default=0.01, metadata={"help": "of the loss, that counts as a gain"})
    halving: bool = field(default=True, metadata={"help": "drop the weaker half of the seeds at 1/4 and 1/2"})
    decay: bool = field(default=True, metadata={"help": "let the step size fall to a tenth"})
    keep_aspect: bool = field(default=True, metadata={"help": "no stretching to a square"})
    clipasso_stop: bool = field(default=False, metadata={"help": "CLIPasso's own early stop, told every 10 steps"})

    @classmethod
    def preset(cls, name: str, **changes: Any) -> DrawConfig:
        """``"default"`` or ``"clipasso"``, with some fields changed."""
        presets = {
            "default": cls(),
            "clipasso": cls(
                steps=2001, pool=0, window=0, halving=False, decay=False, keep_aspect=False, clipasso_stop=True
            ),
        }
        if name not in presets:
            raise InputError(f"no preset {name!r}", remedy=f"one of {', '.join(presets)}")
        return replace(presets[name], **changes)

    def __post_init__(self) -> None:
        for name in ("strokes", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise InputError(f"{name} must be different numbers, at least one, got {values}")
        if not all(1 <= count <= MAX_STROKES for count in self.strokes):
            raise InputError(f"a drawing has 1 to {MAX_STROKES} strokes, got {self.strokes}")
        if self.steps < 1 or self.views < 0 or self.pool < 0 or 0 < self.pool < self.views:
            raise InputError("steps must be at least 1, views at least 0, the pool 0 or at least as many as the views")
        if not (math.isfinite(self.lr) and self.lr > 0 and math.isfinite(self.width_px) and self.width_px > 0):
            raise InputError(f"lr and width_px must be positive, got {self.lr} and {self.width_px}")


@dataclass(frozen=True)
class Drawing:
    """What ``draw`` found for one target and one stroke count.

    Args:
        strokes: of the best seed, as they were when its loss was measured.
        loss: of the plain view.
        seed: the best one.
        losses: seed -> its best plain loss; of dropped seeds, what they had reached.
        history: plain loss of the best seed at each step.
        target: number of the target in the call.
        stopped: by Ctrl-C, before it was done.
    """

    strokes: Strokes
    loss: float
    seed: int
    losses: dict[int, float]
    history: list[float]
    target: int
    stopped: bool = False


def draw(
    targets: Sequence[Target],
    space: JointSpace,
    config: DrawConfig | None = None,
    *,
    saliency_space: JointSpace | None = None,
    out: str | PathLike | None = None,
    resume: bool = False,
    progress: Callable[[int, int, float], None] | None = None,
    stop_after: int | None = None,
) -> list[Drawing]:
    """Draw every target with every stroke count: the best of the seeds, targets first, then stroke counts.

    Args:
        targets: see ``load_target``.
        space: whose tower judges. Needs ``stages``.
        config: how.
        saliency_space: whose tower says where strokes start; ``space`` by default.
        out: a folder for a checkpoint every hundred steps and at Ctrl-C, which ends the call with the best so far.
        resume: go on from the checkpoint in ``out``: the same strokes, bit for bit on a CPU, as if undisturbed.
        progress: told (step, steps, lowest plain loss) after every step.
        stop_after: stop after this step with a checkpoint, as Ctrl-C does.

    Raises:
        InputError: a target has fewer pixels to start a stroke from than strokes asked for; another run's checkpoint.
        UnsupportedError: the tower has no stages, or no attention or Grad-CAM to start from.
    """
    config = config or DrawConfig()
    if not targets:
        return []
    objective = _Objective(targets, space, config)
    runs = _start(targets, saliency_space or space, config)
    path = None if out is None else Path(out) / "drawing.safetensors"
    identity = {"config": asdict(config), "space": space.id, "runs": [list(run) for run in runs.of]}
    first = _load(path, runs, identity) if resume and path is not None else 0
    stopped = False
    with stop_asked() as asked:
        for step in range(first, config.steps):
            if stopped or not runs.alive:
                break
            _step(runs, objective, config, step)
            _drop(runs, config, step + 1)
            stopped = asked() or step + 1 == stop_after
            if path is not None and (stopped or (step + 1) % 100 == 0 or step + 1 == config.steps):
                _save(path, runs, identity, step + 1)
            if progress:
                progress(step + 1, config.steps, float(runs.best.min()))
    return _winners(runs, targets, space, config, stopped)


# ------------------------------------------------------------------------------------------------------------- runs


@dataclass
class _Runs:
    """Every (target, stroke count, seed), side by side.

    Args:
        of: (target, count, seed) of each of R runs.
        points: (R, N, 4, 2), N the largest count.
        mean, square: Adam's moments of ``points``.
        kept: (R, N, 4, 2) the points of the best plain loss so far.
        best: (R,) that loss.
        alive: numbers of the runs that still move.
        history: plain losses of each run.
    """

    of: list[tuple[int, int, int]]
    points: Tensor
    mean: Tensor
    square: Tensor
    kept: Tensor
    best: Tensor
    alive: list[int]
    history: list[list[float]]


def _start(targets: Sequence[Target], looks: JointSpace, config: DrawConfig) -> _Runs:
    of, strokes = [], []
    for number, target in enumerate(targets):
        chance = start_probabilities(target.pixels, saliency(looks, target.pixels), target.box)
        for count in config.strokes:
            for seed in config.seeds:
                of.append((number, count, seed))
                points = torch.full((max(config.strokes), 4, 2), AWAY)
                points[:count] = initial_strokes(chance, count, seed)
                strokes.append(points)
    points = torch.stack(strokes)
    best = torch.full((len(of),), math.inf)
    zero = torch.zeros_like(points)
    return _Runs(of, points, zero, zero.clone(), points.clone(), best, list(range(len(of))), [[] for _ in of])


def _step(runs: _Runs, objective: _Objective, config: DrawConfig, step: int) -> None:
    alive = runs.alive
    points = runs.points[alive].to(objective.device).requires_grad_()
    loss, plain = objective([runs.of[run] for run in alive], points, step)
    (gradient,) = torch.autograd.grad(loss.sum(), points)
    gradient, plain = gradient.cpu(), plain.cpu()
    for row, run in enumerate(alive):
        runs.history[run].append(float(plain[row]))
        if plain[row] < runs.best[run]:
            runs.best[run], runs.kept[run] = plain[row], runs.points[run]
    # Adam (Kingma and Ba, 2015), by rows, so that runs can leave.
    lr = config.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * step / config.steps)) if config.decay else 1.0)
    mean = runs.mean[alive].lerp(gradient, 1 - BETAS[0])
    square = runs.square[alive].lerp(gradient.square(), 1 - BETAS[1])
    size = lr / (1 - BETAS[0] ** (step + 1))
    spread = (square / (1 - BETAS[1] ** (step + 1))).sqrt() + EPSILON
    runs.points[alive] -= size * mean / spread
    runs.mean[alive], runs.square[alive] = mean, square


def _drop(runs: _Runs, config: DrawConfig, done: int) -> None:
    """Take out the runs that have come to rest, and at a quarter and half of the steps the weaker seeds."""
    alive = [run for run in runs.alive if not _at_rest(runs.history[run], config)]
    if config.halving and done in (config.steps // 4, config.steps // 2):
        groups: dict[tuple[int, int], list[int]] = {}
        for run, (target, count, _) in enumerate(runs.of):
            groups.setdefault((target, count), []).append(run)
        keep = 2 if done == config.steps // 4 else 4  # a half, a quarter
        strong = set()
        for group in groups.values():
            strong |= set(sorted(group, key=lambda run: float(runs.best[run]))[: -(-len(group) // keep)])
        alive = [run for run in alive if run in strong]
    runs.alive = alive


def _at_rest(history: list[float], config: DrawConfig) -> bool:
    if config.clipasso_stop:
        rule = StopRule()
        for step in range(0, len(history), 10):
            rule.update(step, history[step])
        return rule.stop
    if not config.window or len(history) <= config.window:
        return False
    before, now = min(history[: -config.window]), min(history)
    return now > before * (1 - config.min_gain)


def _winners(
    runs: _Runs, targets: Sequence[Target], space: JointSpace, config: DrawConfig, stopped: bool
) -> list[Drawing]:
    groups: dict[tuple[int, int], list[int]] = {}
    for run, (target, count, _) in enumerate(runs.of):
        groups.setdefault((target, count), []).append(run)
    drawings = []
    for (target, count), group in groups.items():
        run = min(group, key=lambda run: float(runs.best[run]))
        seed, loss = runs.of[run][2], float(runs.best[run])
        top, left, height, width = targets[target].box
        settings = {f.name: getattr(config, f.name) for f in fields(config)}
        about = {"seed": seed, "loss": loss, "space": space.id, "settings": settings | {"strokes": count}}
        strokes = Strokes(
            runs.kept[run, :count].clone(),
            torch.full((count,), config.width_px),
            torch.ones(count),
            torch.zeros(count, 3),
            (left, top, width, height),
            about,
        )
        losses = {runs.of[r][2]: float(runs.best[r]) for r in group}
        drawings.append(Drawing(strokes, loss, seed, losses, list(runs.history[run]), target, stopped))
    return drawings


# -------------------------------------------------------------------------------------------------------- objective


class _Objective:
    """CLIPasso's loss of drawings against photos."""

    def __init__(self, targets: Sequence[Target], space: JointSpace, config: DrawConfig):
        self.space, self.config, self.device = space, config, space.device
        self.photos = torch.stack([target.pixels for target in targets]).to(space.device)  # (T, 3, S, S)
        with torch.no_grad():
            _, stages = space.encode_with_stages(self.photos[:1])
        self.stages = stage_names(stages)
        self.pool: ViewDraws | None = None
        if config.pool and config.views:
            self.pool = draw_views(torch.Generator().manual_seed(0), config.pool, CANVAS)
            self.of_photos = self._encode_photos(apply_views(self.photos, self.pool))
        elif not config.views:
            self.of_photos = self._encode_photos(self.photos[:, None])

    def __call__(self, of: list[tuple[int, int, int]], points: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The loss of each run, and that of its plain view (no gradient): (R,), (R,)."""
        config = self.config
        images = rasterize(points, CANVAS, width_px=config.width_px)
        rows = torch.tensor([target for target, _, _ in of])
        if not config.views:
            views, wanted = images[:, None], self._of(rows, torch.tensor([0]))
        elif self.pool is not None:
            stream = torch.Generator().manual_seed(1 + step)
            chosen = torch.randperm(config.pool, generator=stream)[: config.views]
            views = apply_views(images, self.pool[chosen])
            wanted = self._of(rows, torch.cat([torch.tensor([0]), 1 + chosen]))
        else:  # each run its own, as if it were alone
            seen, photos = [], []
            for image, (target, _, seed) in zip(images, of, strict=True):
                draws = draw_views(self._stream(seed, step), config.views, CANVAS)
                seen.append(apply_views(image[None], draws)[0])
                photos.append(apply_views(self.photos[target][None], draws)[0])
            views = torch.stack(seen)
            with torch.no_grad():
                wanted = self._encode(torch.cat(photos))
        count = views.shape[1]
        drawn = self._encode(views.flatten(0, 1))
        loss = clipasso_loss(drawn, wanted, self.stages, count)
        with torch.no_grad():
            plain = clipasso_loss(_every(drawn, count), _every(wanted, count), self.stages)
        return loss, plain

    def _encode(self, pixels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        rows, stages = self.space.encode_with_stages(pixels)
        return {name: stages[name] for name in self.stages}, rows

    @torch.no_grad()
    def _encode_photos(self, views: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """(T, V, 3, S, S) -> features (T, V, ...)."""
        parts = [self._encode(part) for part in views.flatten(0, 1).split(ENCODED_AT_ONCE)]
        shape = views.shape[:2]
        stages = {name: torch.cat([part[0][name] for part in parts]).unflatten(0, shape) for name in self.stages}
        return stages, torch.cat([part[1] for part in parts]).unflatten(0, shape)

    def _of(self, targets: Tensor, views: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The photos' features for some runs and some of the pool's views."""
        stages, rows = self.of_photos
        return {n: v[targets][:, views].flatten(0, 1) for n, v in stages.items()}, rows[targets][:, views].flatten(0, 1)

    @staticmethod
    def _stream(seed: int, step: int) -> torch.Generator:
        """A stream of its own for every step, so that a run that is resumed sees the same views."""
        return torch.Generator().manual_seed(seed * 1_000_003 + step)


def _every(found: tuple[dict[str, Tensor], Tensor], count: int) -> tuple[dict[str, Tensor], Tensor]:
    """The plain views among all: every ``count``-th row."""
    return {name: value[::count] for name, value in found[0].items()}, found[1][::count]


# ------------------------------------------------------------------------------------------------------- checkpoint


def _save(path: Path, runs: _Runs, identity: dict, step: int) -> None:
    from safetensors.torch import save_file

    tensors = {name: getattr(runs, name).contiguous() for name in ("points", "mean", "square", "kept", "best")}
    about = {"identity": identity, "step": step, "alive": runs.alive, "history": runs.history}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        save_file(tensors, beside, metadata={"about": json.dumps(about)})
        beside.replace(path)
    except OSError as error:
        raise FileError(f"cannot be written ({error.strerror})", where=path, remedy="name another with -o") from error


def _load(path: Path, runs: _Runs, identity: dict) -> int:
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return 0
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
            tensors = {name: file.get_tensor(name) for name in ("points", "mean", "square", "kept", "best")}
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise FileError("the checkpoint is torn", where=path, remedy="delete it and start again") from error
    if about["identity"] != json.loads(json.dumps(identity)):
        raise InputError(
            "the checkpoint is of another drawing", where=path, remedy="leave --resume, or name another -o"
        )
    for name, tensor in tensors.items():
        setattr(runs, name, tensor)
    runs.alive, runs.history = about["alive"], about["history"]
    return int(about["step"])
