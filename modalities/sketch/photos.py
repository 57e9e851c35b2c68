"""Drawings of many photos, kept in a folder as SVG files, so that a second run goes on from there."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from clipx.errors import FileError, InputError
from clipx.files import make_folder, write_whole
from clipx.modalities.sketch.draw import Drawing
from clipx.modalities.sketch.film import pixels
from clipx.modalities.sketch.svg import Strokes, read_svg, to_svg
from clipx.modalities.sketch.target import load_target
from clipx.modalities.sketch.task import DrawTask, DrawTaskConfig
from clipx.preprocess import resample
from clipx.task import OnProgress, stopping

CORRUPT = "delete it: the photo is drawn again"


@dataclass(frozen=True)
class DrawnPhoto:
    """A photo's drawings, as their SVG files hold them.

    Args:
        photo: the file.
        folder: of the SVG files.
        shape: (height, width) in canvas pixels of the photo, not stretched.
        strokes: (count, seed) -> drawing.
        initial: count -> the best seed's strokes before optimisation.
        losses: count -> seed -> plain loss.
    """

    photo: Path
    folder: Path
    shape: tuple[int, int]
    strokes: dict[tuple[int, int], Strokes]
    initial: dict[int, Strokes]
    losses: dict[int, dict[int, float]]

    @property
    def best(self) -> dict[int, int]:
        """count -> the seed of the lowest plain loss; of equal ones the first."""
        return {count: min(losses, key=lambda seed: losses[seed]) for count, losses in self.losses.items()}

    def picture(self, count: int, seed: int | None = None) -> np.ndarray:
        """The picture of a drawing, the best seed's by default."""
        return self.shown(self.strokes[count, self.best[count] if seed is None else seed])

    def shown(self, strokes: Strokes) -> np.ndarray:
        """The picture of strokes, in the size of the photo on its canvas; of a stretched photo it is stretched back."""
        picture = pixels(strokes)
        if tuple(picture.shape[1:]) == self.shape:
            return picture
        return resample(picture, self.shape, "bilinear").clip(0, 1)


class PhotoDrawings:
    """The drawings of labelled photos in a folder, and the task that draws what is not there yet.

    Args:
        photos: N files.
        labels: N names, of the folders' subfolders.
        task: draws them.
        folder: where they are kept.

    Raises:
        FileError, InputError: a photo that cannot be drawn.
    """

    def __init__(self, photos: Sequence[Path], labels: Sequence[str], task: DrawTask, folder: Path):
        by = {"space": task.space.id, "saliency_space": getattr(task.saliency_space, "id", None)}
        by["dtype"] = str(task.space.dtype)
        self.task, self.photos = task, photos
        self.config: DrawTaskConfig = task.config
        self.settings = json.loads(json.dumps({"config": asdict(self.config), **by}))
        self.shapes = [load_target(photo).box[2:] for photo in photos]  # what cannot be drawn fails before the work
        self.folders = [folder / _folder_name(label, photo) for label, photo in zip(labels, photos, strict=True)]

    @property
    def missing(self) -> list[int]:
        """Positions of the photos that are not drawn yet.

        Raises:
            FileError: a record is corrupt. InputError: a photo was drawn with other settings.
        """
        return [i for i, folder in enumerate(self.folders) if not self._is_drawn(folder)]

    def draw(self, on_progress: OnProgress | None = None) -> list[DrawnPhoto]:
        """Draw what is missing, then read everything back, so that a resumed run gives the same strokes.

        Raises:
            Stopped: by Ctrl-C; photos that are finished are kept.
        """
        missing, at_once = self.missing, self.task.at_once
        slices = [missing[i : i + at_once] for i in range(0, len(missing), at_once)]  # which bounds memory
        with stopping(None) as stop:
            for number, some in enumerate(slices):
                self._draw(some, stop, _of_slice(on_progress, number, len(slices)))
        return [self._read(*each) for each in zip(self.photos, self.folders, self.shapes, strict=True)]

    def _draw(self, some: Sequence[int], stop: Callable[[], bool], on_progress: OnProgress | None) -> None:
        """Draw the photos at these positions side by side, and keep each that is finished."""

        def keep(i: int, drawings: list[Drawing], done: bool) -> None:
            if done:
                self._keep(self.folders[some[i]], drawings)

        targets = [load_target(self.photos[i], keep_aspect=self.config.keep_aspect) for i in some]
        self.task.run(targets, on_progress=on_progress, on_partial=keep, stop=stop)

    def _is_drawn(self, folder: Path) -> bool:
        record = folder / "drawing.json"
        if not record.exists():
            return False
        try:
            found = json.loads(record.read_text(encoding="utf-8"))["settings"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FileError("is corrupt", where=record, remedy=CORRUPT) from error
        if found != self.settings:
            remedy = "give the same ones, or name another folder --drawings"
            raise InputError("was drawn with other settings", where=folder, remedy=remedy)
        return True

    def _keep(self, folder: Path, drawings: Sequence[Drawing]) -> None:
        """Write a photo's drawings; ``drawing.json`` comes last: where it exists, all are there."""
        make_folder(folder)
        losses = {}
        for drawing in drawings:
            count = len(drawing.strokes)
            losses[count] = drawing.losses
            files = {f"{count}-seed{seed}": strokes for seed, strokes in drawing.seeds.items()}
            for name, strokes in {**files, f"{count}-initial": drawing.film[0]}.items():
                about = strokes.about | {"title": f"{folder.name}, {name}"}
                write_whole(folder / f"{name}.svg", to_svg(replace(strokes, about=about)))
        write_whole(folder / "drawing.json", json.dumps({"settings": self.settings, "losses": losses}, indent=2))

    def _read(self, photo: Path, folder: Path, shape: tuple[int, int]) -> DrawnPhoto:
        counts, seeds, record = self.config.strokes, self.config.seeds, folder / "drawing.json"
        try:
            losses: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))["losses"]
            known = {count: {seed: float(losses[str(count)][str(seed)]) for seed in seeds} for count in counts}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FileError("is corrupt", where=record, remedy=CORRUPT) from error
        strokes = {(count, seed): read_svg(folder / f"{count}-seed{seed}.svg") for count in counts for seed in seeds}
        initial = {count: read_svg(folder / f"{count}-initial.svg") for count in counts}
        return DrawnPhoto(photo, folder, shape, strokes, initial, known)


def _of_slice(on_progress: OnProgress | None, number: int, slices: int) -> OnProgress | None:
    """The progress of one of several runs with equally many steps, as that of all of them."""
    if on_progress is None:
        return None
    return lambda done, total, note: on_progress(number * total + done, slices * total, note)


def _folder_name(label: str, photo: Path) -> Path:
    """A photo's folder: by its name and content, so that it does not depend on which others are drawn."""
    digest = hashlib.sha256(photo.read_bytes()).hexdigest()
    return Path(re.sub(r"[^\w -]", "_", label)) / f"{photo.stem}-{digest[:12]}"
