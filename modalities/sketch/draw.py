"""Draw a photo in few strokes: move them until a frozen tower has like features for the drawing and the photo.

Method: CLIPasso (Vinker et al., SIGGRAPH 2022). ``DrawConfig.preset("clipasso")`` keeps its constants. The default
starts on the photo's contours (``contours``) and takes few, small steps: all seeds, stroke counts and photos are one
tensor and are encoded together, the photo's features are computed once for a pool of views, weak seeds are dropped, and
what has come to rest stops. The geometric loss counts more where a tower looks and not at the photo's frame; the
semantic one compares the drawing with the photo or, where the space can encode it as a drawing, with the photo and the
words that fit it. Idle strokes are moved elsewhere. A sentence, a sound or a cloud is drawn by the same loss without
its geometric term (CLIPDraw, Frans et al., 2022), from people's drawings (``quickdraw``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from clipx.errors import InputError, UnsupportedError
from clipx.modalities.sketch.config import DrawConfig
from clipx.modalities.sketch.contours import contour_strokes
from clipx.modalities.sketch.curves import CANVAS
from clipx.modalities.sketch.losses import EVALUATE_EVERY, MIN_DELTA, StopRule
from clipx.modalities.sketch.objective import Meaning, Objective, objective_for
from clipx.modalities.sketch.saliency import default_space, saliency
from clipx.modalities.sketch.start import RANKED, Start, within_frame
from clipx.modalities.sketch.svg import Strokes
from clipx.modalities.sketch.table import ALPHA, AWAY, COLOR, POINTS, WIDTH, paint, points_of, regularisers, rows_of
from clipx.modalities.sketch.target import Target
from clipx.task import load_checkpoint, save_checkpoint, stopping

if TYPE_CHECKING:
    from clipx.space import JointSpace

MAX_TOTAL = 2**16  # strokes of all runs of a call: their films take 200 MB
BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's own
WIDTHS = (0.5, 50.0)  # pixels between which a learned width stays; CLIPDraw's largest
WIDTH_LR, COLOR_LR = 0.1, 0.01  # CLIPDraw's, beside lr 1 for points
CHECKPOINT_EVERY = 25  # steps


@dataclass(frozen=True)
class Drawing:
    """What ``draw`` found for one target and one stroke count.

    Args:
        strokes: of the best seed, as they were when its loss was measured.
        loss: of the plain view, with what ``smooth`` and ``ink`` add.
        seed: the best one.
        losses: seed -> its best plain loss; of dropped seeds, what they had reached.
        history: plain loss of the best seed at each step.
        target: number of the target in the call of ``draw``.
        seeds: seed -> its strokes at its best, in the order they started in.
        film: the best seed every ``config.film_every`` steps, from its first strokes on, then ``strokes``.
        importance: of each of ``strokes``: by how much the plain loss rises without it. Empty where not measured.
        stopped: before it was done.
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
    checkpoint: str | PathLike | None = None,
    resume: bool = False,
    run: Mapping[str, Any] | None = None,
    on_progress: Callable[[int, int, float], None] | None = None,
    on_partial: Callable[[list[Drawing]], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> list[Drawing]:
    """Draw every target with every stroke count: the best of the seeds, targets first, then stroke counts.

    Args:
        targets: photos, see ``load_target``, or meanings, see ``Meaning``; not both.
        space: whose tower judges. Photos need ``stages``.
        config: how.
        saliency_space: whose tower says where strokes on a photo start; by default ``space`` if it is a ViT or its
            vector is the mean of its cells, else an embedded space with class attention.
        about: what to draw on each photo, such as "the cat": strokes start where the tower finds that, and the drawing
            is to mean it, see ``DrawConfig.words``. Default: what the photo shows most.
        checkpoint: a .safetensors file, written every 25 steps, when it is stopped and at the end; not by a run that
            is stopped while its starts are sought.
        resume: go on from the checkpoint, where there is one: the same strokes, bit for bit on a CPU, as of one run.
        run: what identifies the run that these targets are a part of, as JSON; another one's checkpoint is refused.
        on_progress: called with (step, steps, lowest plain loss) after every step.
        on_partial: called with the best drawings so far every ``config.film_every`` steps, without importance and film.
        stop: called after every step, and while starts are sought; once it is true, the call ends with the best so
            far, after one step at least. By default Ctrl-C does this.

    Raises:
        InputError: a target has fewer pixels to start a stroke from than strokes asked for; another run's checkpoint;
            photos and meanings together, or meanings and ``about``; a stage or a side that the tower does not have.
        SpaceMismatchError: a meaning of another space.
        UnsupportedError: the tower has no stages, or nothing that says where to start; ``about``, and a tower with a
            class token, whose attention cannot be asked for anything.
        VocabularyError: ``about`` holds a word that an embedded space does not know.
    """
    if not targets:
        return []
    of_photos = isinstance(targets[0], Target)
    config = config or DrawConfig.preset("default" if of_photos else "meaning")
    if about is not None and not of_photos:
        raise InputError("what has no photo has nothing to look for on it", where="about", remedy="leave it out")
    total = len(targets) * len(config.seeds) * len(config.strokes) * max(config.strokes) * config.segments
    if total > MAX_TOTAL:
        raise InputError(
            f"{total:,} strokes side by side are more than {MAX_TOTAL:,}", remedy="draw fewer targets, seeds or counts"
        )
    saliency_space = (saliency_space or default_space(space, about)) if of_photos else space
    path = None if checkpoint is None else Path(checkpoint)
    identity = {
        "config": asdict(config),
        "space": f"{space.id} {space.dtype}",
        "targets": [target.sha256() for target in targets],
        "saliency_space": saliency_space.id,
        "about": about,
        "run": dict(run or {}),
    }
    first, stopped = 0, False
    with stopping(stop) as asked:
        cut = _latched(asked)
        maps = _saliency_maps(targets, saliency_space, about)
        objective = objective_for(targets, space, config, maps, about)
        resumed = resume and path is not None and path.exists()
        each = zip(range(len(targets)), targets, maps, strict=True)
        starts = [Start(*one, objective, config, None if resumed else cut) for one in each]
        runs = _start(starts, config, blank=resumed)
        if not resumed and cut():  # these may not be the strokes that a whole run starts from: nothing to resume
            path = None
        if path is not None and resumed:
            first = _restore(runs, path, identity)
        for step in range(first, config.steps):
            if not runs.alive:
                break
            _step(runs, objective, config, step)
            _drop(runs, config, step + 1)
            _renew(runs, starts, config, step + 1)
            stopped = cut()
            done = step + 1 == config.steps or not runs.alive
            if path is not None and (stopped or done or (step + 1) % CHECKPOINT_EVERY == 0):
                state = {"step": step + 1, "alive": runs.alive, "history": runs.history}
                save_checkpoint(path, identity, {name: getattr(runs, name) for name in TENSORS}, state)
            if on_progress:
                on_progress(step + 1, config.steps, float(runs.best.min()))
            if on_partial and step % config.film_every == 0 and not done:
                shown = replace(runs, film=runs.film[:0])
                on_partial(_winners(shown, targets, starts, objective, config, lambda: True, stopped=True))
            if stopped:
                break
        if not any(math.isfinite(loss) for loss in runs.best.tolist()):
            raise InputError("the loss was never a finite number", where=space.name, remedy="try --dtype float32")
        return _winners(runs, targets, starts, objective, config, _latched(asked), stopped)


def _latched(stop: Callable[[], bool]) -> Callable[[], bool]:
    """``stop``, true from the first time on that it is: that of ``serve``'s page is true only once."""
    found = False

    def asked() -> bool:
        nonlocal found
        found = found or stop()
        return found

    return asked


def traced(photo: Target, space: JointSpace, config: DrawConfig | None = None, *, about: str | None = None) -> Strokes:
    """The most salient contours of a photo, as many as ``config.strokes`` counts first: a drawing of it at once.

    ``draw`` chooses among these and more by what the tower would miss, which takes seconds.

    Args:
        photo, space, config, about: see ``draw``.

    Returns:
        As many strokes as that, or fewer where contours run out.

    Raises:
        UnsupportedError, VocabularyError: as ``draw``.
    """
    config = config or DrawConfig()
    (looks,) = _saliency_maps([photo], default_space(space, about), about)
    if looks is None:
        raise InputError("only a photo has contours", where="traced")
    points = contour_strokes(*within_frame(photo, looks), config.strokes[0], config.seeds[0], config.segments)
    rows = rows_of(points, config).numpy()
    top, left, height, width = photo.box
    box = (left, top, width, height)
    return Strokes(points.numpy(), rows[:, WIDTH], rows[:, ALPHA], rows[:, COLOR], box, {}, config.profile)


# ------------------------------------------------------------------------------------------------------------- runs


@dataclass
class _Runs:
    """Every (target, stroke count, seed), side by side.

    Args:
        of: (target, count, seed) of each of R runs.
        strokes: (R, N, columns), N the largest count; see ``table``.
        mean, square: Adam's moments of ``strokes``.
        age: (R, N) how many steps are in the moments: those since a stroke was restarted.
        kept: (R, N, columns) the strokes of the best plain loss so far.
        best: (R,) that loss.
        film: (F, R, N, columns) the strokes every ``film_every`` steps.
        alive: numbers of the runs that still move.
        history: plain losses of each run.
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


TENSORS = ("strokes", "mean", "square", "age", "kept", "best", "film")  # of _Runs


def _restore(runs: _Runs, path: Path, identity: dict[str, Any]) -> int:
    """Put what a checkpoint holds into the runs, and return its step."""
    tensors, state = load_checkpoint(path, identity)
    for name in TENSORS:
        setattr(runs, name, tensors[name])
    runs.alive, runs.history = state["alive"], state["history"]
    return int(state["step"])


def require_finds(saliency_space: JointSpace, about: str | None) -> None:
    """Raise UnsupportedError, or VocabularyError, if that space cannot look for ``about``."""
    if about is None:
        return
    if saliency_space.supports("class_attention"):
        raise UnsupportedError(
            "a class token looks where it looks, whatever is asked for",
            where=saliency_space.name,
            remedy="leave about out, or take lite as the saliency space",
        )
    saliency_space.require_words([about])


def _saliency_maps(
    targets: Sequence[Target | Meaning], saliency_space: JointSpace, about: str | None
) -> list[np.ndarray | None]:
    """The saliency of each photo; None for meanings."""
    require_finds(saliency_space, about)
    meant = None if about is None else saliency_space.encode_text([about])[0]
    maps: list[np.ndarray | None] = []
    for target in targets:
        found = saliency(saliency_space, target.pixels, meant) if isinstance(target, Target) else None
        if isinstance(target, Target) and target.where is not None and found is not None:
            found = np.where(target.where.numpy(), found, 0).astype(found.dtype)
        maps.append(found)
    return maps


def _start(starts: Sequence[Start], config: DrawConfig, blank: bool = False) -> _Runs:
    """The runs before their first step; ``blank``: a checkpoint holds their strokes."""
    of, rows = [], []
    for number, start in enumerate(starts):
        for count in config.strokes:
            for seed in config.seeds:
                of.append((number, count, seed))
                own = start.blank(count) if blank else start.rows(count, seed)
                waiting = own[:1].expand(max(config.strokes) - count, -1).clone()
                waiting[:, POINTS] = AWAY
                rows.append(torch.cat([own, waiting]))
    strokes = torch.stack(rows)
    best, zero = torch.full((len(of),), math.inf), torch.zeros_like(strokes)
    age = torch.zeros(strokes.shape[:2], dtype=torch.int64)
    history: list[list[float]] = [[] for _ in of]
    alive, film = list(range(len(of))), strokes[None][:0]
    return _Runs(of, strokes, zero, zero.clone(), age, strokes.clone(), best, film, alive, history)


def _step(runs: _Runs, objective: Objective, config: DrawConfig, step: int) -> None:
    alive = runs.alive
    if step % config.film_every == 0:
        runs.film = torch.cat([runs.film, runs.strokes[None]])
    parts = []
    for some in torch.tensor(alive).split(max(1, objective.at_once // (1 + config.views))):  # runs are independent
        strokes = runs.strokes[some].requires_grad_()  # on the CPU, where they are painted
        picture = paint(strokes, config).to(objective.device)
        loss, plain = objective([runs.of[run] for run in some.tolist()], picture, step)
        if (more := regularisers(strokes, picture, config)) is not None:
            loss, plain = loss + more, plain + more.detach()
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
    lr = torch.full((runs.strokes.shape[-1],), config.lr)
    lr[WIDTH], lr[ALPHA:] = WIDTH_LR * config.learn_width, COLOR_LR * config.learn_color
    lr *= fall
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
    if config.start != "points":  # they are nearly what they will be: the best seed is known early
        rounds = {max(1, config.steps // 20): 4}
    if config.halving and done in rounds:
        keep = rounds[done]
        strong = set()
        for group in _groups(runs).values():
            strong |= set(sorted(group, key=lambda run: float(runs.best[run]))[: -(-len(group) // keep)])
        alive = [run for run in alive if run in strong]
    runs.alive = alive


def _renew(runs: _Runs, starts: Sequence[Start], config: DrawConfig, done: int) -> None:
    """At a quarter and half of the steps use strokes elsewhere that do nothing, see ``Start.renewed``."""
    if not config.renew or done not in (config.steps // 4, config.steps // 2):
        return
    for run in runs.alive:
        target, count, seed = runs.of[run]
        before = runs.strokes[run, :count]
        rows = starts[target].renewed(before, seed, done)
        changed = (rows != before).any(1).nonzero()[:, 0]
        runs.strokes[run, changed] = rows[changed]
        runs.mean[run, changed], runs.square[run, changed], runs.age[run, changed] = 0, 0, 0


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
    starts: Sequence[Start],
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
            points, looks = points_of(rows).numpy().copy(), rows.numpy().copy()
            return Strokes(points, looks[:, WIDTH], looks[:, ALPHA], looks[:, COLOR], box, about, config.profile)

        importance: list[float] = []
        if config.rank and count <= RANKED and not asked():
            importance = _importance(runs.kept[run, :count], loss, number, objective, config)
            if not config.learn_color:  # black strokes look the same in any order
                order.sort(key=lambda stroke: -importance[stroke])
            importance = [importance[stroke] for stroke in order]
        settings = asdict(config) | {"strokes": count}

        def record_of(run: int, loss: float, settings=settings) -> dict[str, Any]:
            target, count, seed = runs.of[run]
            about = {"seed": seed, "loss": loss, "space": objective.space.id, "settings": settings}
            word = starts[target].word(count, seed)
            return about | ({} if word is None else {"from": word})

        losses = {runs.of[r][2]: float(runs.best[r]) for r in group}
        best = strokes_of(
            runs.kept[run, order], record_of(run, loss) | ({"importance": importance} if importance else {})
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
                {runs.of[r][2]: strokes_of(runs.kept[r, :count], record_of(r, losses[runs.of[r][2]])) for r in group},
                (*(strokes_of(frame, record_of(run, at_it)) for frame, at_it in frames), best),
                importance,
                stopped or asked(),
            )
        )
    return drawings


def _importance(strokes: Tensor, loss: float, target: int, objective: Objective, config: DrawConfig) -> list[float]:
    """By how much the plain loss rises when each of (N, columns) strokes is left out."""
    without = strokes.expand(len(strokes), -1, -1).clone()
    each = torch.arange(len(strokes))
    without[each, each, POINTS] = AWAY
    pictures = (paint(part, config).to(objective.device) for part in without.split(32))
    losses = torch.cat([objective.plain(target, picture) for picture in pictures])
    if config.smooth or config.ink:  # which that loss holds, and these do not
        loss = float(objective.plain(target, paint(strokes[None], config).to(objective.device)))
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
