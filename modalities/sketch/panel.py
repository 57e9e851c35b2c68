"""The tab that draws: strokes appear while they are found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from clipx.errors import InputError
from clipx.serve.panel import Download, Events, Panel

if TYPE_CHECKING:
    from clipx.modalities.sketch.draw import Drawing
    from clipx.modalities.sketch.svg import Strokes
    from clipx.modalities.sketch.task import DrawTaskConfig
    from clipx.zeroshot import Prediction, ZeroShotClassifier

STROKES = (4, 128)  # that a page may ask for
PICTURE_SCALE = 4.0  # pixels of a PNG in one of the canvas
GUESSES = 3  # words that the space takes a drawing for
SETTINGS = {"text": str, "strokes": int, "fast": bool, "style": str, "about": str, "seed": int}
FILES = ("drawing.svg", "drawing.png", "drawing.gif")


@dataclass(frozen=True)
class Drawn:
    """The result of a job.

    Args:
        drawing: with its film.
        title: what was drawn.
        guesses: what the space takes the drawing for, among the words of QuickDraw that it knows; best first.
    """

    drawing: Drawing
    title: str
    guesses: list[Prediction]


class SketchPanel(Panel):
    """Draws a photo or a sentence.

    Settings: ``text`` in place of a file; ``strokes``, 4 to 128; ``fast``, ``style`` and ``about`` as of ``clipx
    sketch``; ``seed``. A partial result is ``{svg, step, steps, loss}``; the first one of a photo shows its most
    salient contours, which are there at once, and has no loss.

    Downloads: ``drawing.svg`` (with ``size_mm``: for a plotter, sorted by pen travel), ``drawing.png``, and
    ``drawing.gif``, how it was found; each with ``strokes``: only so many, those that matter most.
    """

    name: ClassVar[str] = "sketch"
    title: ClassVar[str] = "Draw"
    assets: ClassVar[Path] = Path(__file__).with_name("panel")
    needs_file: ClassVar[bool] = False

    def run(self, path: Path | None, settings: Mapping[str, Any], events: Events) -> Drawn:
        """See ``Panel.run``. Raises VocabularyError for words that the space does not know."""
        from clipx.modalities.sketch.draw import traced
        from clipx.modalities.sketch.objective import Meaning
        from clipx.modalities.sketch.target import Target
        from clipx.modalities.sketch.task import DrawTask
        from clipx.task import Stopped

        given = _checked(settings, path)
        plan = _plan(given, meant=path is None)
        task = DrawTask(self.space, plan)
        step, asked = 0, False

        def progress(done: int, total: int, note: str) -> None:
            nonlocal step
            step = done
            if done:
                events.progress(done, total, note)

        def show(strokes: Strokes, loss: float | None) -> None:
            events.partial({"svg": _svg(strokes), "step": step, "steps": plan.steps, "loss": loss})

        def stop() -> bool:  # true once: what is stopped still gets the order of its strokes
            nonlocal asked
            before, asked = asked, asked or events.stop()
            return asked and not before

        target: Target | Meaning
        if path is None:
            events.progress(0, plan.steps, "looking for a drawing to begin from")
            target = Meaning.of_text(self.space, given["text"])
        else:
            events.progress(0, plan.steps, "choosing among the contours")
            target = task.load(path)
            if not plan.start:  # of the styles only those that begin on contours
                show(traced(target, self.space, plan.drawing, about=plan.about), None)
        try:
            ((drawing,),) = task.run(
                [target],
                on_progress=progress,
                on_partial=lambda _, drawings, done: None if done else show(drawings[0].strokes, drawings[0].loss),
                stop=stop,
            )
        except Stopped as stopped:
            (drawing,) = stopped.results[0]
        return Drawn(drawing, given.get("text") or "a photo", self._guesses(drawing))

    def summary(self, result: Drawn) -> dict[str, Any]:
        """``{svg, strokes, step, loss, importance, title, guesses}``; the strokes that matter most come first."""
        drawing = result.drawing
        return {
            "svg": _svg(drawing.strokes, result.title),
            "strokes": len(drawing.strokes),
            "step": len(drawing.history),
            "loss": drawing.loss,
            "importance": drawing.importance,
            "title": result.title,
            "guesses": [{"word": one.label, "probability": one.probability} for one in result.guesses],
        }

    def download(self, result: Drawn, name: str, options: Mapping[str, str]) -> Download:
        """See ``Panel.download`` and the class."""
        from clipx.modalities.sketch import film
        from clipx.modalities.sketch.svg import to_svg, travel_sorted

        if name not in FILES:
            raise InputError(f"no download {name!r}", remedy=f"one of {', '.join(FILES)}")
        if unknown := sorted(set(options) - {"strokes", "size_mm"}):
            raise InputError(f"unknown option {unknown[0]!r}", where=name, remedy="known: strokes, size_mm")
        drawing = result.drawing
        count = int(_number(options, "strokes", 1, len(drawing.strokes), default=len(drawing.strokes)))
        strokes = replace(drawing.strokes[:count], about=drawing.strokes.about | {"title": result.title})
        if name == "drawing.png":
            return Download(name, "image/png", film.png(strokes, PICTURE_SCALE))
        if name == "drawing.gif":
            return Download(name, "image/gif", film.gif([frame[:count] for frame in drawing.film]))
        size_mm = None
        if "size_mm" in options:
            size_mm = _number(options, "size_mm", 1, 10_000, default=0)
            strokes = strokes[travel_sorted(strokes.points)]
        return Download(name, "image/svg+xml", to_svg(strokes, width_mm=size_mm).encode())

    @cached_property
    def _classifier(self) -> ZeroShotClassifier | None:
        from clipx.modalities.sketch import quickdraw
        from clipx.zeroshot import ZeroShotClassifier

        words = [word for word in quickdraw.drawings() if not self.space.unknown(word)]
        return ZeroShotClassifier(self.space, words, "sketch") if words else None

    def _guesses(self, drawing: Drawing) -> list[Prediction]:
        from clipx.embedding import Embedding
        from clipx.modalities.sketch.film import pixels

        if self._classifier is None:
            return []
        eyes = self.space.domain("drawing") if "drawing" in self.space.domains else self.space
        rows = eyes.encode_image(pixels(drawing.strokes)[None])
        return self._classifier.predict(Embedding(rows, self.space.id, "sketch"), GUESSES)[0]


def _checked(settings: Mapping[str, Any], path: Path | None) -> dict[str, Any]:
    """The settings that were given. Raises InputError for unknown ones, wrong types, and a photo and a text at once."""
    given = {name: value for name, value in settings.items() if value not in (None, "")}
    for name, value in given.items():
        if name not in SETTINGS:
            raise InputError(f"unknown setting {name!r}", where="sketch", remedy=f"known: {', '.join(SETTINGS)}")
        if type(value) is not SETTINGS[name]:  # true is no number
            raise InputError(f"must be of type {SETTINGS[name].__name__}, got {value!r}", where=name)
    if (path is None) == ("text" not in given):
        raise InputError("name a photo, or give a sentence, one of the two", where="sketch")
    if path is None and "about" in given:
        raise InputError("is for photos", where="about", remedy="leave it out")
    if not STROKES[0] <= given.get("strokes", STROKES[0]) <= STROKES[1]:
        raise InputError(f"a drawing has {STROKES[0]} to {STROKES[1]} strokes, got {given['strokes']}", where="strokes")
    if given.get("seed", 0) < 0:
        raise InputError(f"must be at least 0, got {given['seed']}", where="seed")
    return given


def _plan(given: Mapping[str, Any], meant: bool) -> DrawTaskConfig:
    """What ``clipx sketch`` would do with these settings."""
    from clipx.modalities.sketch.command import DrawFlags, PhotoFlags, plan_of

    strokes = str(given["strokes"]) if "strokes" in given else None
    flags = DrawFlags(strokes=strokes, fast=given.get("fast", False), style=given.get("style"))
    try:
        return plan_of(flags, PhotoFlags(about=given.get("about")), None, meant, given.get("seed", 0))
    except InputError as error:  # a page has settings, not flags
        where = None if error.where is None else error.where.lstrip("-")
        raise InputError(error.what, where=where, remedy=error.remedy) from error


def _svg(strokes: Strokes, title: str = "a drawing") -> str:
    from clipx.modalities.sketch.svg import to_svg

    return to_svg(replace(strokes, about={"title": title}))


def _number(options: Mapping[str, str], name: str, least: float, most: float, *, default: float) -> float:
    try:
        value = float(options.get(name, default))
    except ValueError as error:
        raise InputError(f"must be a number, got {options[name]!r}", where=name) from error
    if not (math.isfinite(value) and least <= value <= most):
        raise InputError(f"must be {least:g} to {most:g}, got {value:g}", where=name)
    return value
