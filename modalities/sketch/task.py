"""The task ``sketch``: photos or meanings -> drawings, one for each stroke count, in one layer or in two."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from clipx.errors import InputError
from clipx.files import sha256_of, write_whole
from clipx.modalities.sketch import film
from clipx.modalities.sketch.config import DrawConfig
from clipx.modalities.sketch.draw import Drawing, draw, require_finds
from clipx.modalities.sketch.objective import Meaning
from clipx.modalities.sketch.plotter import hpgl as to_hpgl
from clipx.modalities.sketch.saliency import default_space
from clipx.modalities.sketch.scene import together, two_layers
from clipx.modalities.sketch.svg import Strokes, to_svg, travel_sorted
from clipx.modalities.sketch.target import Target, load_target, prepare
from clipx.task import (
    OnProgress,
    Stopped,
    Task,
    checkpoint_path,
    require_no_checkpoint,
    stopping,
)

if TYPE_CHECKING:
    from clipx.space import JointSpace

RUNS_AT_ONCE = 24  # drawings side by side, which bounds memory
FILM_S = 4.0  # of an animated SVG


@dataclass(frozen=True)
class DrawTaskConfig(DrawConfig):
    """``DrawConfig``, which part of a photo is drawn, and in how many layers."""

    about: str | None = field(
        default=None, metadata={"help": "what on a photo to draw: strokes start there and are to mean it"}
    )
    layers: int = field(default=1, metadata={"help": "2: background and object in layers of their own"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers not in (1, 2):
            raise InputError(f"a drawing has 1 or 2 layers, got {self.layers}")
        if self.layers > 1 and min(self.strokes) < self.layers:
            what = f"{self.layers} layers need at least {self.layers} strokes, got {min(self.strokes)}"
            raise InputError(what, where="--strokes")

    @property
    def drawing(self) -> DrawConfig:
        """What ``draw`` takes."""
        return DrawConfig(**{one.name: getattr(self, one.name) for one in fields(DrawConfig)})


class DrawTask(Task[Target | Meaning, list[Drawing]]):
    """Draws photos or meanings; the result of each is its drawings, in the order of ``config.strokes``.

    Args:
        space: whose tower judges, see ``draw``.
        config: how; by default what suits photos, see ``DrawTaskConfig.preset``. Of two layers a third of the strokes
            is for the background, and each photo's object must be known (``Target.where``).
        saliency_space: see ``draw``.
    """

    name = "sketch"
    Config = DrawTaskConfig
    tolerance = 0.02  # pixels: BLAS sums in another order beside others

    def __init__(
        self, space: JointSpace, config: DrawTaskConfig | None = None, saliency_space: JointSpace | None = None
    ):
        super().__init__(space, config)
        self.saliency_space = saliency_space

    @property
    def at_once(self) -> int:
        """How many inputs ``run`` draws side by side."""
        return max(1, RUNS_AT_ONCE // (len(self.config.strokes) * len(self.config.seeds)))

    def load(self, path: str | PathLike, mask: str | PathLike | None = None, *, fix_scale: bool = False) -> Target:
        """Read a photo, and a mask if there is one; see ``load_target``."""
        return load_target(path, mask, fix_scale=fix_scale, keep_aspect=self.config.keep_aspect)

    def run(
        self,
        inputs: Sequence[Target | Meaning],
        *,
        on_progress: OnProgress | None = None,
        on_partial: Callable[[int, list[Drawing], bool], None] | None = None,
        stop: Callable[[], bool] | None = None,
        checkpoint: str | PathLike | None = None,
        resume: bool = False,
    ) -> list[list[Drawing]]:
        """See ``Task.run`` and ``draw``; as many inputs as fit into memory are drawn side by side.

        A partial result is the best drawings so far, every ``config.film_every`` steps; of two layers from the second
        layer on.
        """
        if checkpoint is not None and not resume:
            require_no_checkpoint(checkpoint)
        config, results = self.config, dict[int, list[Drawing]]()
        parts = [range(i, min(i + self.at_once, len(inputs))) for i in range(0, len(inputs), self.at_once)]
        own = [] if checkpoint is None else [checkpoint_path(checkpoint, i) for i in range(len(parts) * config.layers)]
        run = {} if checkpoint is None else {"inputs": sha256_of(" ".join(one.sha256() for one in inputs).encode())}
        work = _Work(config.steps * config.layers * len(parts), on_progress)
        with stopping(stop) as asked:
            for number, part in enumerate(parts):
                first = number * config.layers
                paths: Sequence[Path | None] = [None] * config.layers
                if checkpoint is not None:
                    paths = own[first : first + config.layers]

                def partial(ladders: list[list[Drawing]], part: range = part) -> None:
                    for i, ladder in zip(part, ladders, strict=True):
                        on_partial(i, ladder, False)  # type: ignore[misc]

                watched = partial if on_partial else None
                ladders = self._drawn([inputs[i] for i in part], work, watched, asked, paths, resume, run)
                results |= zip(part, ladders, strict=False)  # none of a scene of which a layer is missing
                if not ladders or any(drawing.stopped for ladder in ladders for drawing in ladder):
                    raise Stopped(results)
                for i in part if on_partial else ():
                    on_partial(i, results[i], True)  # type: ignore[misc]
        for path in own:
            path.unlink(missing_ok=True)
        return list(results.values())

    def _drawn(
        self,
        inputs: Sequence[Target | Meaning],
        work: _Work,
        on_partial: Callable[[list[list[Drawing]]], None] | None,
        stop: Callable[[], bool],
        paths: Sequence[Path | None],
        resume: bool,
        run: Mapping[str, Any],
    ) -> list[list[Drawing]]:
        """The drawings of some inputs; [] where it was stopped before the last layer."""
        plans, shown = self._layers(inputs)
        looking = self.saliency_space
        if len(plans) > 1:  # both layers by the same tower; what it cannot find is refused before the first one
            looking = looking or default_space(self.space, self.config.about)
            require_finds(looking, self.config.about)
        done: list[list[list[Drawing]]] = []

        def partial(drawings: list[Drawing]) -> None:
            if on_partial and len(done) + 1 == len(plans):  # a drawing has all its strokes only in the last layer
                on_partial(self._joined([*done, _by_target(drawings)]))

        for layer, (targets, plan, path) in enumerate(zip(shown, plans, paths, strict=True)):
            top = layer + 1 == len(plans)
            drawings = draw(
                targets,
                self.space,
                plan,
                saliency_space=looking,
                about=self.config.about if top else None,  # the background shows something else
                checkpoint=path,
                resume=resume,
                run=run,
                on_progress=work.step,
                on_partial=partial if on_partial else None,
                stop=stop,
            )
            done.append(_by_target(drawings))
            if drawings[0].stopped:
                return self._joined(done) if top else []
            work.finish(plan.steps)
        return self._joined(done)

    def _layers(self, inputs: Sequence[Any]) -> tuple[list[DrawConfig], list[Sequence[Any]]]:
        """The settings and the inputs of each layer, the lowest first."""
        plan = self.config.drawing
        if self.config.layers == 1:
            return [plan], [inputs]
        counts = self._counts_of_layers()
        plans = [replace(plan, strokes=tuple(dict.fromkeys(own))) for own in zip(*counts, strict=True)]
        return plans, list(zip(*map(two_layers, inputs), strict=True))

    def _counts_of_layers(self) -> list[tuple[int, int]]:
        """Of each stroke count the background's and the object's; a third is for the background."""
        behind = [max(1, count // 3) for count in self.config.strokes]
        return [(back, count - back) for count, back in zip(self.config.strokes, behind, strict=True)]

    def _joined(self, layers: list[list[list[Drawing]]]) -> list[list[Drawing]]:
        """Layers of inputs of drawings -> drawings of each input; those of one layer as they are."""
        if len(layers) == 1:
            return layers[0]
        return [
            [
                together(
                    [
                        next(d for d in own if len(d.strokes) == count)
                        for own, count in zip(ladders, counts, strict=True)
                    ]
                )
                for counts in self._counts_of_layers()
            ]
            for ladders in zip(*layers, strict=True)
        ]

    def save(
        self,
        result: list[Drawing],
        stem: str | PathLike,
        *,
        title: str = "",
        order: Literal["importance", "start", "travel"] | None = None,
        size_mm: float | None = None,
        hpgl: str | None = None,
        gif: bool = False,
        mp4: bool = False,
        animate: bool = False,
    ) -> list[Path]:
        """Write each drawing as ``STEM-COUNT.svg`` and .png, and the curve of the losses as ``STEM-loss.png``.

        Args:
            result, stem: see ``Task.save``.
            title: what was drawn.
            order, size_mm, hpgl, gif, mp4, animate: see ``write_drawing``.
        """
        stem, written = Path(stem), []
        more: dict[str, Any] = {"order": order, "size_mm": size_mm, "hpgl": hpgl, "animate": animate}
        for drawing in result:
            path = stem.with_name(f"{stem.name}-{len(drawing.strokes)}.svg")
            written += write_drawing(drawing, path, title, png=True, gif=gif, mp4=mp4, **more)
        curves = {f"{len(drawing.strokes)} strokes": drawing.history for drawing in result}
        written.append(stem.with_name(f"{stem.name}-loss.png"))
        write_whole(written[-1], film.loss_curve(curves, title))
        return written

    @classmethod
    def example(cls) -> tuple[DrawTaskConfig, list[Target | Meaning]]:
        """Two photos of discs, and eight steps of few strokes."""
        from PIL import Image

        rows, columns = np.mgrid[:60, :80]
        discs = [(rows - 30) ** 2 + (columns - left) ** 2 < 400 for left in (30, 50)]
        pictures = [Image.fromarray(np.where(disc, 0, 200).astype(np.uint8)) for disc in discs]
        photos: list[Target | Meaning] = [prepare(picture) for picture in pictures]
        return cls.Config(strokes=(2, 4), seeds=(0, 1), steps=8, views=1, pool=2, halving=False), photos


class _Work:
    """Counts steps over several calls of ``draw``."""

    def __init__(self, total: int, on_progress: OnProgress | None):
        self.total, self.on_progress, self.before = total, on_progress, 0
        self._report(0, "")

    def step(self, step: int, steps: int, loss: float) -> None:
        self._report(step, f"loss {loss:.4f}")

    def finish(self, steps: int) -> None:
        """What came to rest earlier is done, too."""
        self.before += steps
        self._report(0, "")

    def _report(self, step: int, note: str) -> None:
        if self.on_progress:
            self.on_progress(self.before + step, self.total, note)


def _by_target(drawings: Sequence[Drawing]) -> list[list[Drawing]]:
    """The drawings of each target, whose number is then 0: each is a result of its own."""
    ladders: dict[int, list[Drawing]] = {}
    for drawing in drawings:
        ladders.setdefault(drawing.target, []).append(replace(drawing, target=0))
    return list(ladders.values())


def write_drawing(
    drawing: Drawing,
    path: str | PathLike,
    title: str = "",
    *,
    png: bool = False,
    order: Literal["importance", "start", "travel"] | None = None,
    size_mm: float | None = None,
    hpgl: str | None = None,
    gif: bool = False,
    mp4: bool = False,
    animate: bool = False,
) -> list[Path]:
    """Write a drawing as an SVG, and in other formats under the same name; return the paths.

    Args:
        drawing: one of those that ``draw`` returned.
        path: the .svg file.
        title: what was drawn.
        png: also a .png.
        order: ``"travel"`` sorts the strokes by pen travel; the others leave them as they are drawn.
        size_mm: width on paper; in pixels by default.
        hpgl: also HPGL for a plotter of this name.
        gif, mp4: also films: how it was found, and drawn stroke by stroke.
        animate: a browser draws the SVG stroke by stroke.

    Raises:
        FileError: a file cannot be written. MissingDependencyError: HPGL or MP4 without their extras.
    """
    path = Path(path)
    count = len(drawing.strokes)
    about = drawing.strokes.about | {"title": f"{title} in {count} stroke{'s' * (count > 1)}"}
    strokes = replace(drawing.strokes, about=about)
    layers = about.get("layers")
    if order == "travel":
        strokes = _sorted_by_travel(strokes, layers or [count])
    files = [(path, to_svg(strokes, width_mm=size_mm, layers=layers, seconds=FILM_S if animate else None).encode())]
    if hpgl is not None:
        even = replace(strokes, profile="even")  # a pen is of one width
        plotted = to_hpgl(to_svg(even, width_mm=size_mm, layers=layers), hpgl)
        files.append((path.with_suffix(".hpgl"), plotted.encode()))
    if png:
        files.append((path.with_suffix(".png"), film.png(strokes)))
    for suffix, make in ((".gif", film.gif),) * gif + ((".mp4", film.mp4),) * mp4:
        files.append((path.with_suffix(suffix), make(drawing.film)))
        files.append((path.with_name(f"{path.stem}-strokes{suffix}"), make(film.stroke_by_stroke(strokes))))
    for file, data in files:
        write_whole(file, data)
    return [file for file, _ in files]


def _sorted_by_travel(strokes: Strokes, layers: Sequence[int]) -> Strokes:
    start, order = 0, []
    for size in layers:
        order.append(start + travel_sorted(strokes.points[start : start + size]))
        start += size
    return strokes[np.concatenate(order)]
