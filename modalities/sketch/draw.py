"""Draw a photo in few strokes: move them until a frozen tower sees the drawing as it sees the photo.

Method: CLIPasso (Vinker et al., SIGGRAPH 2022). ``DrawConfig.preset("clipasso")`` keeps its constants. The default
starts on the photo's contours (``contours``) and takes few, small steps: all seeds, stroke counts and photos are one
tensor and one encoder call, the photo's features are computed once for a pool of views, weak seeds are dropped, and
what has come to rest stops. The geometric loss counts more where a tower looks and not at the photo's frame; the
semantic one compares the drawing, seen as a drawing where the space can, with the photo. Strokes that shrank to dots
are placed again. A sentence, a sound or a cloud is drawn by the same loss without its geometric term (CLIPDraw, Frans
et al., 2022).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from clipx.errors import FileError, InputError, UnsupportedError
from clipx.modalities.sketch.contours import contour_strokes, pruned
from clipx.modalities.sketch.initial import SEEDS, SPREAD, initial_strokes
from clipx.modalities.sketch.losses import EVALUATE_EVERY, MIN_DELTA, StopRule
from clipx.modalities.sketch.objective import Meaning, Objective, objective_for
from clipx.modalities.sketch.raster import rasterize
from clipx.modalities.sketch.saliency import default_space, grey, saliency, start_probabilities
from clipx.modalities.sketch.svg import Strokes
from clipx.modalities.sketch.target import CANVAS, Target, inner, without_frame
from clipx.modalities.sketch.views import AUGMENTED
from clipx.training import stop_asked

if TYPE_CHECKING:
    from clipx.space import JointSpace

MAX_STROKES = 4096
MAX_TOTAL = 2**16  # of all runs of a call: their films take 200 MB
AWAY = -1e4  # where strokes wait that a run has not: they draw nothing, and nothing moves them
BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's own
WIDTHS = (0.5, 50.0)  # pixels between which a learned width stays; CLIPDraw's largest
WIDTH_LR, COLOR_LR = 0.1, 0.01  # CLIPDraw's, beside lr 1 for points
FREE_SPREAD = 0.1  # of a stroke that starts anywhere
CANDIDATES = (64, 256)  # contours among which up to 32 strokes are chosen, and up to 128
RANKED = 128  # strokes at most for which leaving each one out is tried
FRAMES = 100  # of a film at most
CHECKPOINT_EVERY = 25  # steps
SEEN_AT_ONCE = 64  # pictures in one pass of the tower with gradients, which bounds memory
# A stroke is 13 numbers: 8 coordinates, width, opacity, RGB.
POINTS, WIDTH, ALPHA, COLOR = slice(0, 8), 8, 9, slice(10, 13)


@dataclass(frozen=True)
class DrawConfig:
    """How to draw; see the module's first lines for the presets."""

    strokes: tuple[int, ...] = field(default=(16,), metadata={"help": "stroke counts, each drawn with every seed"})
    seeds: tuple[int, ...] = field(default=SEEDS, metadata={"help": "the best seed's drawing is kept"})
    steps: int = field(default=100, metadata={"help": "optimiser steps at most"})
    lr: float = field(default=0.5, metadata={"help": "pixels that a control point moves in a step, at first"})
    width_px: float = field(default=3.0, metadata={"help": "full width of a stroke on the canvas of 224 pixels"})
    start: str = field(default="contours", metadata={"help": "of a photo's strokes: contours, or points as CLIPasso"})
    spread: float = field(default=0.12, metadata={"help": "how far a photo's strokes reach at first, of the canvas"})
    focus: float = field(default=0.7, metadata={"help": "share of the geometric loss that goes by saliency; 0: none"})
    revive: bool = field(default=True, metadata={"help": "place strokes shrunk to a dot again, at 1/4 and 1/2"})
    learn_width: bool = field(default=False, metadata={"help": "let every stroke find its width"})
    learn_color: bool = field(default=False, metadata={"help": "let every stroke find its colour and opacity"})
    views: int = field(default=2, metadata={"help": "random views a step, beside the plain one"})
    pool: int = field(default=16, metadata={"help": "views to choose from, encoded once; 0 draws new ones each step"})
    side: int = field(default=0, metadata={"help": "side in pixels of what the tower looks at; 0: see small_views"})
    stages: tuple[str, ...] = field(default=(), metadata={"help": "stages compared; by default those of its family"})
    semantic: float | None = field(
        default=None, metadata={"help": "weight of the semantic term. Default: 0.1, or 1 where across applies"}
    )
    across: bool = field(default=True, metadata={"help": "see the drawing as a drawing, where the space can"})
    small_views: bool = field(default=True, metadata={"help": "views at the tower's size or less, not the canvas's"})
    window: int = field(default=40, metadata={"help": "steps without a gain after which a drawing stops; 0 never"})
    min_gain: float = field(default=0.01, metadata={"help": "of the loss, that counts as a gain"})
    halving: bool = field(default=True, metadata={"help": "drop weak seeds: at 1/20 of the steps, or 1/4 and 1/2"})
    decay: bool = field(default=True, metadata={"help": "let the step size fall to a tenth"})
    keep_aspect: bool = field(default=True, metadata={"help": "no stretching to a square"})
    rank: bool = field(default=True, metadata={"help": "order strokes by what leaving each one out costs"})
    clipasso_stop: bool = field(default=False, metadata={"help": "CLIPasso's own early stop, told every 10 steps"})

    @property
    def film_every(self) -> int:
        """Steps between the states that are kept for films."""
        return max(EVALUATE_EVERY, -(-self.steps // FRAMES))

    @classmethod
    def preset(cls, name: str, **changes: Any) -> DrawConfig:
        """``"default"``, ``"meaning"`` (of what has no photo) or ``"clipasso"``, with some fields changed."""
        presets = {
            "default": cls(),
            "meaning": cls(start="points", steps=500, lr=1.0, views=AUGMENTED, pool=32, window=100),
            "clipasso": cls(
                steps=2001,
                lr=1.0,
                views=AUGMENTED,
                pool=0,
                small_views=False,
                window=0,
                halving=False,
                decay=False,
                keep_aspect=False,
                rank=False,
                start="points",
                spread=SPREAD,
                focus=0.0,
                revive=False,
                across=False,
                clipasso_stop=True,
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
            raise InputError(f"a drawing has 1 to {MAX_STROKES} strokes, got {', '.join(map(str, self.strokes))}")
        if self.steps < 1 or self.views < 0 or self.pool < 0 or 0 < self.pool < self.views:
            raise InputError("steps must be at least 1, views at least 0, the pool 0 or at least as many as the views")
        if self.start not in ("contours", "points"):
            raise InputError(f"start must be contours or points, got {self.start!r}")
        if not 0 <= self.focus <= 1 or not 0 < self.spread <= 1:
            raise InputError(f"focus must be 0 to 1 and spread above 0 to 1, got {self.focus} and {self.spread}")
        semantic = 0.0 if self.semantic is None else self.semantic
        if not (math.isfinite(semantic) and semantic >= 0 and 0 <= self.side <= 1024):
            raise InputError(f"semantic must be at least 0 and side 0 to 1024, got {self.semantic} and {self.side}")
        if not (math.isfinite(self.lr) and self.lr > 0 and 0 < self.width_px <= CANVAS):
            raise InputError(f"lr must be positive and width_px above 0 to {CANVAS}, got {self.lr} and {self.width_px}")
        if min(self.seeds) < 0 or self.window < 0 or not (math.isfinite(self.min_gain) and self.min_gain >= 0):
            raise InputError("seeds, window and min_gain must be at least 0")


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
        seeds: seed -> its strokes at its best, in the order they started in.
        film: the best seed every ``config.film_every`` steps, from its first strokes on, then ``strokes``.
        importance: of each of ``strokes``: by how much the plain loss rises without it. Empty where not measured.
        stopped: by Ctrl-C, before it was done.
    """

    strokes: Strokes
    loss: float
    seed: int
    losses: dict[int, float]
    history: list[float]
    target: int
    seeds: dict[int, Strokes]
    film: tuple[Strokes, ...]
    importance: list[float]
    stopped: bool = False


def draw(
    targets: Sequence[Target | Meaning],
    space: JointSpace,
    config: DrawConfig | None = None,
    *,
    saliency_space: JointSpace | None = None,
    about: str | None = None,
    out: str | PathLike | None = None,
    resume: bool = False,
    progress: Callable[[int, int, float], None] | None = None,
    stop_after: int | None = None,
) -> list[Drawing]:
    """Draw every target with every stroke count: the best of the seeds, targets first, then stroke counts.

    Args:
        targets: photos, see ``load_target``, or meanings, see ``Meaning``; not both.
        space: whose tower judges. Photos need ``stages``.
        config: how.
        saliency_space: whose tower says where strokes on a photo start; by default ``space`` if it is a ViT or its
            vector is the mean of its cells, else ``nano-vit``.
        about: what to draw on each photo, such as "the cat": strokes start where the tower sees that. Default: where it
            sees what the photo shows most.
        out: a folder for a checkpoint every 25 steps and at Ctrl-C, which ends the call with the best so far.
        resume: go on from the checkpoint in ``out``: the same strokes, bit for bit on a CPU, as if undisturbed.
        progress: told (step, steps, lowest plain loss) after every step.
        stop_after: stop after this step with a checkpoint, as Ctrl-C does.

    Raises:
        InputError: a target has fewer pixels to start a stroke from than strokes asked for; another run's checkpoint;
            photos and meanings together, or meanings and ``about``; a stage or a side that the tower does not have.
        SpaceMismatchError: a meaning of another space.
        UnsupportedError: the tower has no stages, or nothing that says where to start; ``about``, and a tower with a
            class token, whose attention cannot be asked for anything.
        VocabularyError: ``about`` holds a word that an embedded space never saw.
    """
    if not targets:
        return []
    of_photos = isinstance(targets[0], Target)
    config = config or DrawConfig.preset("default" if of_photos else "meaning")
    if about is not None and not of_photos:
        raise InputError("what has no photo has nothing to look for on it", where="about", remedy="leave it out")
    total = len(targets) * len(config.seeds) * len(config.strokes) * max(config.strokes)
    if total > MAX_TOTAL:
        raise InputError(
            f"{total:,} strokes side by side are more than {MAX_TOTAL:,}", remedy="draw fewer targets, seeds or counts"
        )
    looks = (saliency_space or default_space(space, about)) if of_photos else space
    path = None if out is None else Path(out) / "drawing.safetensors"
    identity = {
        "config": asdict(config),
        "space": f"{space.id} {space.dtype}",
        "targets": [target.sha256() for target in targets],
        "looks": looks.id,
        "about": about,
    }
    first, stopped = 0, False
    with stop_asked() as asked:
        maps = _saliency_maps(targets, looks, about)
        objective = objective_for(targets, space, config, maps)
        if resume and path is not None and path.exists():  # it holds the strokes: the quickest start will do
            runs = _start(targets, maps, replace(config, start="points"), objective)
            first = _load(path, runs, identity)
        else:
            runs = _start(targets, maps, config, objective)
        for step in range(first, config.steps):
            if stopped or not runs.alive:
                break
            _step(runs, objective, config, step)
            _drop(runs, config, step + 1)
            _revive(runs, config, step + 1)
            stopped = asked() or step + 1 == stop_after
            done = step + 1 == config.steps or not runs.alive
            if path is not None and (stopped or done or (step + 1) % CHECKPOINT_EVERY == 0):
                _save(path, runs, identity, step + 1)
            if progress:
                progress(step + 1, config.steps, float(runs.best.min()))
        if not any(math.isfinite(loss) for loss in runs.best.tolist()):
            raise InputError("the loss was never a finite number", where=space.name, remedy="try --dtype float32")
        return _winners(runs, targets, objective, config, asked, stopped)


# ------------------------------------------------------------------------------------------------------------- runs


@dataclass
class _Runs:
    """Every (target, stroke count, seed), side by side.

    Args:
        of: (target, count, seed) of each of R runs.
        strokes: (R, N, 13), N the largest count.
        mean, square: Adam's moments of ``strokes``.
        age: (R, N) how many steps are in the moments: those since a stroke was restarted.
        kept: (R, N, 13) the strokes of the best plain loss so far.
        best: (R,) that loss.
        film: (F, R, N, 13) the strokes every ``film_every`` steps.
        alive: numbers of the runs that still move.
        history: plain losses of each run.
        chances: of each target, where its strokes start.
    """

    of: list[tuple[int, int, int]]
    strokes: Tensor
    mean: Tensor
    square: Tensor
    age: Tensor
    kept: Tensor
    best: Tensor
    film: Tensor
    alive: list[int]
    history: list[list[float]]
    chances: list[np.ndarray]


TENSORS = ("strokes", "mean", "square", "age", "kept", "best", "film")  # of _Runs


def _saliency_maps(
    targets: Sequence[Target | Meaning], looks: JointSpace, about: str | None
) -> list[np.ndarray]:
    """Where a tower looks on each photo; none for meanings."""
    meant = None
    if about is not None:
        if looks.supports("class_attention"):
            raise UnsupportedError(
                "a class token looks where it looks, whatever is asked for",
                where=looks.name,
                remedy="leave about out, or take lite as the saliency space",
            )
        looks.require_words([about])
        meant = looks.embed_text([about]).vectors[0]
    return [saliency(looks, target.pixels, meant) for target in targets if isinstance(target, Target)]


def _start(
    targets: Sequence[Target | Meaning], maps: Sequence[np.ndarray], config: DrawConfig, objective: Objective
) -> _Runs:
    of, rows, chances = [], [], []
    for number, target in enumerate(targets):
        spread, pixels = config.spread, None
        if isinstance(target, Target):
            pixels = target.pixels
            chance = start_probabilities(pixels, maps[number], target.box)
        else:
            spread, chance = FREE_SPREAD, np.full((CANVAS, CANVAS), 1 / CANVAS**2)
        chances.append(chance)
        lines: dict[tuple[int, int], Tensor] = {}
        if isinstance(target, Target) and config.start == "contours":  # what has no photo has no contours
            lines = _contours(number, target, maps[number], objective, config)
        for count in config.strokes:
            for seed in config.seeds:
                of.append((number, count, seed))
                strokes = torch.zeros(max(config.strokes), 13)
                strokes[:, POINTS], strokes[:, WIDTH], strokes[:, ALPHA] = AWAY, config.width_px, 1
                points = initial_strokes(chance, count, seed, spread)
                own = lines.get((count, seed), points[:0])
                points = torch.cat([own, points[: count - len(own)]])
                strokes[:count, POINTS] = points.flatten(1)
                if config.learn_color:
                    strokes[:count, COLOR] = _colors(points[:, 0], pixels, seed)
                rows.append(strokes)
    strokes = torch.stack(rows)
    best, zero = torch.full((len(of),), math.inf), torch.zeros_like(strokes)
    age = torch.zeros(strokes.shape[:2], dtype=torch.int64)
    alive, film = list(range(len(of))), strokes[None][:0]
    history: list[list[float]] = [[] for _ in of]
    return _Runs(of, strokes, zero, zero.clone(), age, strokes.clone(), best, film, alive, history, chances)


@torch.no_grad()
def _contours(
    number: int, target: Target, looks: np.ndarray, objective: Objective, config: DrawConfig
) -> dict[tuple[int, int], Tensor]:
    """(stroke count, seed) -> (N, 4, 2) contours of a photo that the objective would miss most; N at most the count.

    Of more than ``RANKED`` strokes the most salient are taken: leaving each one out would take too long.
    """
    found = {}
    luminance, inside = grey(without_frame(target)), np.zeros_like(looks)
    inside[inner(target)] = looks[inner(target)]
    for seed in config.seeds:
        points = contour_strokes(luminance, inside, max(CANDIDATES[-1], *config.strokes), seed)
        found.update({(count, seed): points[:count] for count in config.strokes})
        rows = torch.zeros(len(points), 13)
        rows[:, POINTS], rows[:, WIDTH], rows[:, ALPHA] = points.flatten(1), config.width_px, 1

        def losses(kept: list[list[int]], rows: Tensor = rows) -> Tensor:
            pictures = (paint(rows[some], config).to(objective.device) for some in torch.tensor(kept).split(32))
            return torch.cat([objective.plain(number, picture) for picture in pictures]).cpu()

        least = 0  # a count is chosen among as many, whatever other counts are asked for
        for most in CANDIDATES:
            counts = [count for count in config.strokes if least < count <= most // 2]
            for count, kept in pruned(min(most, len(points)), counts, losses).items():
                found[count, seed] = points[kept]
            least = most // 2
    return found


def _colors(starts: Tensor, pixels: Tensor | None, seed: int) -> Tensor:
    """(N, 3) RGB that strokes begin with: the photo's where they start, random ones where there is no photo."""
    if pixels is None:
        return torch.rand(len(starts), 3, generator=torch.Generator().manual_seed(seed))
    x, y = starts.long().clamp(0, CANVAS - 1).T
    return pixels[:, y, x].T


def paint(strokes: Tensor, config: DrawConfig) -> Tensor:
    """(..., N, 13) -> (..., 1 or 3, 224, 224): one channel where all strokes are black."""
    points = strokes[..., POINTS].unflatten(-1, (4, 2))
    width = strokes[..., WIDTH] if config.learn_width else config.width_px
    if not config.learn_color:
        return rasterize(points, CANVAS, width)[..., :1, :, :]
    return rasterize(points, CANVAS, width, strokes[..., ALPHA], strokes[..., COLOR])


def _step(runs: _Runs, objective: Objective, config: DrawConfig, step: int) -> None:
    alive = runs.alive
    if step % config.film_every == 0:
        runs.film = torch.cat([runs.film, runs.strokes[None]])
    parts = []
    for some in torch.tensor(alive).split(max(1, SEEN_AT_ONCE // (1 + config.views))):  # runs are independent
        strokes = runs.strokes[some].requires_grad_()  # on the CPU, where they are painted
        picture = paint(strokes, config).to(objective.device)
        loss, plain = objective([runs.of[run] for run in some.tolist()], picture, step)
        parts.append((torch.autograd.grad(loss.sum(), strokes)[0], plain.cpu()))
    gradient, plain = (torch.cat(found) for found in zip(*parts, strict=True))
    gradient = gradient.nan_to_num(0, 0, 0)  # a tower in half precision may overflow once
    least = MIN_DELTA if config.clipasso_stop else 0.0
    for row, run in enumerate(alive):
        runs.history[run].append(float(plain[row]))
        evaluated = not config.clipasso_stop or step % EVALUATE_EVERY == 0
        if evaluated and plain[row] < runs.best[run] - least:
            runs.best[run], runs.kept[run] = plain[row], runs.strokes[run]
    # Adam (Kingma and Ba, 2015), by rows, so that runs can leave.
    fall = 0.1 + 0.45 * (1 + math.cos(math.pi * step / config.steps)) if config.decay else 1.0
    lr = torch.tensor([config.lr] * 8 + [WIDTH_LR * config.learn_width] + [COLOR_LR * config.learn_color] * 4) * fall
    mean = runs.mean[alive].lerp(gradient, 1 - BETAS[0])
    square = runs.square[alive].lerp(gradient.square(), 1 - BETAS[1])
    age = runs.age[alive] + 1
    unbiased = [(1 - beta ** age.double()).float()[..., None] for beta in BETAS]
    spread = (square / unbiased[1]).sqrt() + EPSILON
    moved = runs.strokes[alive] - lr / unbiased[0] * mean / spread
    if config.learn_width:
        moved[..., WIDTH].clamp_(*WIDTHS)
    moved[..., ALPHA:].clamp_(0, 1)
    runs.strokes[alive], runs.mean[alive], runs.square[alive], runs.age[alive] = moved, mean, square, age


def _drop(runs: _Runs, config: DrawConfig, done: int) -> None:
    """Take out the runs that have come to rest, and weak seeds: early on, or at a quarter and half of the steps."""
    alive = [run for run in runs.alive if not _at_rest(runs.history[run], config)]
    rounds = {config.steps // 4: 2, config.steps // 2: 4}  # a half, a quarter is left
    if config.start == "contours":  # which are nearly what they will be: the best seed is known early
        rounds = {max(1, config.steps // 20): 4}
    if config.halving and done in rounds:
        keep = rounds[done]
        strong = set()
        for group in _groups(runs).values():
            strong |= set(sorted(group, key=lambda run: float(runs.best[run]))[: -(-len(group) // keep)])
        alive = [run for run in alive if run in strong]
    runs.alive = alive


def _revive(runs: _Runs, config: DrawConfig, done: int) -> None:
    """At a quarter and half of the steps start strokes anew that are dots, which no gradient makes longer again."""
    if not config.revive or done not in (config.steps // 4, config.steps // 2):
        return
    for run in runs.alive:
        target, count, seed = runs.of[run]
        points = runs.strokes[run, :count, POINTS].unflatten(1, (4, 2))
        dots = (points.diff(dim=1).norm(dim=2).sum(dim=1) < config.width_px).nonzero()[:, 0]
        anew = initial_strokes(runs.chances[target], count, seed + done, config.spread)[: len(dots)]
        runs.strokes[run, dots, POINTS] = anew.flatten(1)
        runs.mean[run, dots], runs.square[run, dots], runs.age[run, dots] = 0, 0, 0


def _groups(runs: _Runs) -> dict[tuple[int, int], list[int]]:
    """(target, stroke count) -> its runs, one a seed."""
    groups: dict[tuple[int, int], list[int]] = {}
    for run, (target, count, _) in enumerate(runs.of):
        groups.setdefault((target, count), []).append(run)
    return groups


def _at_rest(history: list[float], config: DrawConfig) -> bool:
    if config.clipasso_stop:
        rule = StopRule()
        for step in range(0, len(history), EVALUATE_EVERY):
            rule.update(step, history[step])
        return rule.stop
    if not config.window or len(history) <= config.window:
        return False
    before, now = min(history[: -config.window]), min(history)
    return now > before * (1 - config.min_gain)


def _winners(
    runs: _Runs,
    targets: Sequence[Target | Meaning],
    objective: Objective,
    config: DrawConfig,
    asked: Callable[[], bool],
    stopped: bool,
) -> list[Drawing]:
    drawings = []
    for (number, count), group in _groups(runs).items():
        run = min(group, key=lambda run: float(runs.best[run]))
        seed, loss, history = runs.of[run][2], float(runs.best[run]), list(runs.history[run])
        drawn = targets[number]
        top, left, height, width = drawn.box if isinstance(drawn, Target) else (0, 0, CANVAS, CANVAS)
        box, order = (left, top, width, height), list(range(count))

        def strokes_of(rows: Tensor, about: dict[str, Any], box=box) -> Strokes:
            rows = rows.clone()
            return Strokes(
                rows[:, POINTS].unflatten(1, (4, 2)), rows[:, WIDTH], rows[:, ALPHA], rows[:, COLOR], box, about
            )

        importance: list[float] = []
        if config.rank and count <= RANKED and not asked():
            importance = _importance(runs.kept[run, :count], loss, number, objective, config)
            if not config.learn_color:  # black strokes look the same in any order
                order.sort(key=lambda stroke: -importance[stroke])
            importance = [importance[stroke] for stroke in order]
        settings = asdict(config) | {"strokes": count}

        def said_of(run: int, loss: float, settings=settings) -> dict[str, Any]:
            return {"seed": runs.of[run][2], "loss": loss, "space": objective.space.id, "settings": settings}

        losses = {runs.of[r][2]: float(runs.best[r]) for r in group}
        best = strokes_of(
            runs.kept[run, order], said_of(run, loss) | ({"importance": importance} if importance else {})
        )
        frames = zip(runs.film[:, run, order], history[:: config.film_every], strict=False)  # others may go on longer
        drawings.append(
            Drawing(
                best,
                loss,
                seed,
                losses,
                history,
                number,
                {runs.of[r][2]: strokes_of(runs.kept[r, :count], said_of(r, losses[runs.of[r][2]])) for r in group},
                (*(strokes_of(frame, said_of(run, at_it)) for frame, at_it in frames), best),
                importance,
                stopped or asked(),
            )
        )
    return drawings


def _importance(strokes: Tensor, loss: float, target: int, objective: Objective, config: DrawConfig) -> list[float]:
    """By how much the plain loss rises when each of (N, 13) strokes is left out."""
    without = strokes.expand(len(strokes), -1, -1).clone()
    each = torch.arange(len(strokes))
    without[each, each, POINTS] = AWAY
    pictures = (paint(part, config).to(objective.device) for part in without.split(32))
    losses = torch.cat([objective.plain(target, picture) for picture in pictures])
    return [float(f"{value - loss:.4g}") for value in losses.tolist()]


def knee(losses: dict[int, float]) -> int:
    """The stroke count beyond which more strokes bring little: where the curve lies farthest below its chord.

    Args:
        losses: stroke count -> loss; over the logarithm of the count, both stretched to [0, 1] (Kneedle, Satopaa et
            al., 2011). A curve that nowhere lies below its chord has its knee at the lowest loss.
    """
    counts = sorted(losses)
    first, last = counts[0], counts[-1]
    fall = losses[first] - losses[last]
    if len(counts) < 3 or fall <= 0:
        return min(counts, key=lambda count: losses[count])
    below = {
        count: (losses[first] - losses[count]) / fall - math.log(count / first) / math.log(last / first)
        for count in counts
    }
    best = max(counts, key=lambda count: below[count])
    return best if below[best] > 0 else last


# ------------------------------------------------------------------------------------------------------- checkpoint


def _save(path: Path, runs: _Runs, identity: dict, step: int) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {name: getattr(runs, name).contiguous() for name in TENSORS}
    about = {"identity": identity, "step": step, "alive": runs.alive, "history": runs.history}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        save_file(tensors, beside, metadata={"about": json.dumps(about)})
        beside.replace(path)
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or error
        raise FileError(f"cannot be written ({why})", where=path, remedy="name another with -o") from error


def _load(path: Path, runs: _Runs, identity: dict) -> int:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
            tensors = {name: file.get_tensor(name) for name in TENSORS}
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
