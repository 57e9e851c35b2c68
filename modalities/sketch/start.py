"""Where the strokes of a drawing begin: on a photo's contours, on people's drawings of a word, or at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from clipx.errors import InputError
from clipx.modalities.sketch.chains import in_segments, in_two, joined, length, pen_path
from clipx.modalities.sketch.config import FREE_STARTS, STARTS, DrawConfig
from clipx.modalities.sketch.contours import NEAR, contour_strokes, merged, pruned
from clipx.modalities.sketch.curves import CANVAS
from clipx.modalities.sketch.initial import initial_strokes, sample_pixels
from clipx.modalities.sketch.objective import Meaning, Objective
from clipx.modalities.sketch.quickdraw import nearest, with_strokes
from clipx.modalities.sketch.saliency import grey, softmax, start_probabilities
from clipx.modalities.sketch.table import COLOR, POINTS, WIDTH, paint, points_of, rows_of
from clipx.modalities.sketch.target import Target, inner, without_frame

CANDIDATES = (64, 256)  # contours among which up to 32 strokes are chosen, and up to 128
PAINTED_AT_ONCE = 32  # drawings
RANKED = 128  # strokes at most for which leaving each one out is tried
FREE_SPREAD = 0.1  # of a stroke that starts anywhere
HATCH_PX, HATCH_ANGLE = 20.0, -0.8  # length of a hatching stroke, and radians from the x axis

Lines = dict[tuple[int, int], Tensor]  # (stroke count, seed) -> (N, 3 S + 1, 2), N at most the count


class _CutError(Exception):
    """The choice of strokes was cut short."""


def within_frame(photo: Target, looks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The luminance of a photo and its (224, 224) saliency, 0 at its border: the contours are found in these."""
    inside = np.zeros_like(looks)
    inside[inner(photo)] = looks[inner(photo)]
    return grey(without_frame(photo)), inside


class Start:
    """The first strokes of a target's drawings.

    Args:
        number: of the target in the objective.
        target: a photo or a meaning.
        looks: (224, 224) saliency of a photo, None of a meaning.
        objective: what says which strokes matter.
        config: ``start`` says how.
        cut: asked while strokes are chosen; once it is true, the first of them are taken. None: they are all tried.

    Raises:
        InputError: the target cannot be started so, or has too few pixels to start from.
    """

    def __init__(
        self,
        number: int,
        target: Target | Meaning,
        looks: np.ndarray | None,
        objective: Objective,
        config: DrawConfig,
        cut: Callable[[], bool] | None = None,
    ):
        self.number, self.objective, self.config, self.cut = number, objective, config, cut
        self.known: dict[tuple[int, int], Tensor] = {}  # see ``contours``
        self.most = max(CANDIDATES[-1], max(config.strokes) * (config.segments + 1) // 2)  # that a start may need
        self.words: dict[tuple[int, int], str] = {}  # see ``word``
        self.pixels: Tensor | None = None
        of_photos = isinstance(target, Target)
        kinds = STARTS if of_photos else FREE_STARTS
        self.kind = kind = config.start or kinds[0]
        if kind not in kinds:
            raise InputError(f"{'a photo' if of_photos else 'what has no photo'} has no start {kind!r}", where="start")
        if isinstance(target, Target) and looks is not None:
            self.pixels, self.spread = target.pixels, config.spread
            self.probability = start_probabilities(target.pixels, looks, target.box)
            self.luminance, self.looks = within_frame(target, looks)
        elif isinstance(target, Meaning):
            self.spread, self.probability = FREE_SPREAD, np.full((CANVAS, CANVAS), 1 / CANVAS**2)
            self.toward = target.toward.vectors[0]
        self.make: Callable[[], Lines] = {
            "contours": self._contours,
            "one-line": self._one_line,
            "hatching": self._hatching,
            "drawings": self._drawings,
            "points": dict,
        }[kind]

    @cached_property
    def lines(self) -> Lines:
        with torch.no_grad():
            return self.make()

    def contours(self, seed: int, segments: int | None = None) -> Tensor:
        """(M, 3 S + 1, 2) contours of a photo, the most salient first; found once."""
        key = seed, segments or self.config.segments
        if key not in self.known:
            self.known[key] = contour_strokes(self.luminance, self.looks, self.most, *key)
        return self.known[key]

    def word(self, count: int, seed: int) -> str | None:
        """What the drawing is of that a run starts from, None where it starts from none."""
        if self.kind == "drawings":
            self.lines  # noqa: B018  # of a resumed run they were not made yet
        return self.words.get((count, seed))

    def blank(self, count: int) -> Tensor:
        """(count, columns) of no meaning."""
        return rows_of(torch.zeros(count, 3 * self.config.segments + 1, 2), self.config)

    def rows(self, count: int, seed: int) -> Tensor:
        """(count, columns); what the start does not fill are short curves at random pixels."""
        points = self.random(count, seed)
        own = self.lines.get((count, seed), points[:0])
        return self._begun(torch.cat([own, points[: count - len(own)]]), seed)

    def _begun(self, points: Tensor, seed: int) -> Tensor:
        """(N, 3 S + 1, 2) -> (N, columns) of the width and colour that strokes begin with."""
        rows = rows_of(points, self.config)
        if self.config.learn_color:
            rows[:, COLOR] = self._colors(points[:, 0], seed)
        return rows

    @torch.no_grad()
    def renewed(self, rows: Tensor, seed: int, done: int) -> Tensor:
        """What becomes of strokes that do nothing where they are.

        Those are dots, the second of two that follow one another and that one curve can draw, and the one stroke
        without which the loss is lowest, if it is no higher than with it. On contours each goes where another contour
        lowers the loss most; where none does, the longest stroke is split in two. Other starts, and drawings of more
        than ``RANKED`` strokes, place only dots again, at random.

        Args:
            rows: (N, columns) the strokes after ``done`` steps.
            seed, done: of the random places.

        Returns:
            (N, columns); rows that did not change are equal to those given.
        """
        rows, count = rows.clone(), len(rows)
        alive = (length(points_of(rows)) >= rows[:, WIDTH]).nonzero()[:, 0].tolist()
        if self.kind != "contours" or count > RANKED or not alive:
            free = [i for i in range(count) if i not in alive]
            rows[free] = self._begun(self.random(count, seed + done)[: len(free)], seed)
            return rows
        spare = self._begun(self.contours(seed)[: CANDIDATES[0]], seed)
        if self.config.segments == 1:
            points = points_of(rows)
            near = (torch.cdist(points[:, 3], points[:, 0]) <= NEAR).nonzero().tolist()  # ends to beginnings
            for first, second in near:
                both = first != second and first in alive and second in alive
                if both and (one := merged(*points_of(rows[[first, second]]))) is not None:
                    rows[first, POINTS] = one.flatten()
                    alive.remove(second)
        if len(alive) > 1:  # one at a time: of two that draw the same, one is needed
            without = self.loss(torch.stack([rows[alive[:i] + alive[i + 1 :]] for i in range(len(alive))]))
            if without.min() <= self.loss(rows[alive][None]):
                alive.pop(int(without.argmin()))
        for number in sorted(set(range(count)) - set(alive)):
            drawn = rows[alive]
            with_one = torch.cat([drawn.expand(len(spare), -1, -1), spare[:, None]], 1)
            loss = self.loss(with_one) if len(spare) else torch.tensor([torch.inf])
            if loss.min() < self.loss(drawn[None]):
                best = int(loss.argmin())
                rows[number], spare = spare[best], torch.cat([spare[:best], spare[best + 1 :]])
            else:
                longest = max(alive, key=lambda i: float(length(points_of(rows[i]))))
                rows[number] = rows[longest]
                parts = in_two(points_of(rows[longest]))
                rows[longest, POINTS], rows[number, POINTS] = (part.flatten() for part in parts)
            alive.append(number)
        return rows

    def random(self, count: int, seed: int) -> Tensor:
        """(count, 3 S + 1, 2) short curves at pixels drawn from the map."""
        return in_segments(initial_strokes(self.probability, count, seed, self.spread), self.config.segments)

    def _colors(self, starts: Tensor, seed: int) -> Tensor:
        """(N, 3) RGB: the photo's where strokes start, random ones where there is no photo."""
        if self.pixels is None:
            return torch.rand(len(starts), 3, generator=torch.Generator().manual_seed(seed))
        x, y = starts.long().clamp(0, CANVAS - 1).T
        return self.pixels[:, y, x].T

    def loss(self, rows: Tensor) -> Tensor:
        """(B, N, columns) -> (B,) the plain losses of B drawings."""
        pictures = (paint(some, self.config).to(self.objective.device) for some in rows.split(PAINTED_AT_ONCE))
        return torch.cat([self.objective.plain(self.number, picture) for picture in pictures]).cpu()

    def _missed_most(self, points: Tensor, counts: Sequence[int]) -> dict[int, Tensor]:
        """Count -> the strokes that the objective would miss most; all where there are no more.

        A count is chosen among as many, whatever other counts are asked for. Of more than half of ``CANDIDATES[-1]``
        the first are taken: leaving each one out would take too long.
        """
        found = {count: points[:count] for count in counts}
        rows, least = rows_of(points, self.config), 0

        def losses(kept: list[list[int]]) -> Tensor:
            found = []
            for some in rows[torch.tensor(kept)].split(PAINTED_AT_ONCE):
                if self.cut is not None and self.cut():
                    raise _CutError
                found.append(self.loss(some))
            return torch.cat(found)

        with suppress(_CutError):
            for most in CANDIDATES:
                some = [count for count in counts if least < count <= most // 2]
                for count, kept in pruned(min(most, len(points)), some, losses).items():
                    found[count] = points[kept]
                least = most // 2
        return found

    def _on_contours(self, counts: Sequence[int], segments: int) -> Lines:
        found: Lines = {}
        for seed in self.config.seeds:
            kept = self._missed_most(self.contours(seed, segments), counts)
            found |= {(count, seed): points for count, points in kept.items()}
        return found

    def _contours(self) -> Lines:
        return self._on_contours(self.config.strokes, self.config.segments)

    def _one_line(self) -> Lines:
        """Contours of one segment each and a straight one from each to the next."""
        segments = self.config.segments
        each = (segments + 1) // 2  # contours in a stroke
        contours = self._on_contours([count * each for count in self.config.strokes], 1)
        found: Lines = {}
        for count in self.config.strokes:
            for seed in self.config.seeds:
                path = pen_path(contours[count * each, seed])
                if len(path):
                    found[count, seed] = torch.stack([joined(part, segments) for part in path.split(each)])
        return found

    def _hatching(self) -> Lines:
        """Short parallel lines where the photo is dark and looked at."""
        dark = (self.luminance.max() - self.luminance) / max(float(np.ptp(self.luminance)), 1e-6)
        probability = softmax((dark * self.looks).astype(np.float32))
        half = torch.tensor([np.cos(HATCH_ANGLE), np.sin(HATCH_ANGLE)], dtype=torch.float32) * (HATCH_PX / 2)
        found: Lines = {}
        for count in self.config.strokes:
            for seed in self.config.seeds:
                places = torch.from_numpy(sample_pixels(probability, count, seed)[:, ::-1].copy()).float()[:, None]
                lines = places + half * torch.linspace(-1, 1, 3 * self.config.segments + 1)[:, None]
                found[count, seed] = lines
        return found

    def _drawings(self) -> Lines:
        """People's drawings of the nearest words: those that the objective likes best, another for each seed.

        The default seeds 0, 1000 and 2000 take the three best; another first seed shuffles them.
        """
        known = nearest(self.objective.space, self.toward)
        found: Lines = {}
        for count in () if not known else self.config.strokes:
            lines = []
            for _, points in known:
                points = in_segments(points, self.config.segments)
                kept = self._missed_most(points, [count])[count] if len(points) > count else points
                lines.append(with_strokes(kept, count))
            loss = self.loss(torch.stack([rows_of(points, self.config) for points in lines]))
            for seed in self.config.seeds:
                shuffled = np.random.default_rng(seed % 1000).permutation(len(lines)) if seed % 1000 else None
                order = loss.argsort(stable=True).tolist() if shuffled is None else shuffled.tolist()
                which = order[seed // 1000 % len(order)]
                found[count, seed] = lines[which]
                self.words[count, seed] = known[which][0]
        return found
