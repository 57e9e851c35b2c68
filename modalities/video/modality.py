"""The video modality: frames of a film are looked at one by one, and its vector is the mean of theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from itertools import repeat
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx import films
from clipx._arrays import TINY
from clipx._batches import batches
from clipx._threads import prefetch, single_threaded_pool
from clipx.errors import ClipxError, InputError
from clipx.files import sha256_of
from clipx.films import pyav
from clipx.modalities.video.config import VideoConfig
from clipx.modalities.video.decode import frames_at, opened
from clipx.modalities.video.films import Clip, Film, frames_of, read_film
from clipx.modalities.video.gif import is_animated
from clipx.modalities.video.windows import shots
from clipx.modality import Modality
from clipx.parts import Parts, Place, Time
from clipx.tracks import has_pictures

if TYPE_CHECKING:
    from clipx.modalities.video.heads import Head

_FRAMES_AT_ONCE = 32
_SAMPLING = ("fps", "frames", "uniform")
_BATCHES_AHEAD = 3  # decoded while one is encoded: 60 MB at 224 pixels


class Video(Modality):
    """Films, looked at once a second.

    The vector is the mean of the frames' unit vectors, of unit norm: CLIP4Clip's meanP (arXiv 2104.08860). ``parts``
    gives the mean of each shot, with its times. With a head it is what that makes of the frames, and of the frames of
    each shot.
    """

    name = "video"
    suffixes = (*films.SUFFIXES, ".gif")
    prompts = "photo"
    array_key = "films"
    Config = VideoConfig

    config: VideoConfig

    @cached_property
    def head(self) -> Head | None:
        """What the config names, read at first use; None for the mean of the frames.

        Raises:
            FileError: it is no head. SpaceMismatchError: it was made in another space. InputError: it has a score of
                film and text alone.
        """
        if self.config.head is None:
            return None
        from clipx.modalities.video.heads import load_head

        found = load_head(self.config.head, self.space)
        found.require_vectors()
        if not self.space.on_cpu:
            found.network.to(self.space.device)
        return found

    @cached_property
    def sampling(self) -> VideoConfig:
        """The config; where it leaves the choice of frames as it is by default, with that of the head."""
        chosen = {name: getattr(self.config, name) for name in _SAMPLING}
        as_is = all(value == getattr(VideoConfig, name) for name, value in chosen.items())
        return replace(self.config, **self.head.sampling) if self.head and as_is else self.config

    @cached_property
    def context(self) -> str:  # type: ignore[override]  # the head's weights, for the key of cached features
        """SHA-256 of the head's file."""
        return "" if self.head is None else sha256_of(str(self.config.head))

    def load(self, path: str | PathLike) -> Clip | Film:
        """Open a film; see ``read_film`` for what it raises. It warns of what cannot be decoded."""
        return read_film(path, self.sampling, self.space.preprocess.fitted)

    def from_array(self, array: Any, fps: Any = 1.0, **about: Any) -> Clip:
        """(T, H, W, 3) RGB -> a sample, with ``fps`` frames a second: bytes, or floats in [0, 1].

        Raises:
            InputError: wrong shape, type or range, or NaN.
        """
        values = np.asarray(array)
        if values.ndim != 4 or values.shape[3] != 3 or 0 in values.shape or values.dtype.kind not in "fiu":
            raise InputError(f"a film must be (T, H, W, 3) floats or integers, got {values.shape} {values.dtype}")
        top = 1 if values.dtype.kind == "f" else 255
        if not (values.min() >= 0 and values.max() <= top):  # a NaN fails both
            raise InputError(f"a film of {values.dtype} must lie in [0, {top}]")
        if not 0 < float(fps) < np.inf:
            raise InputError(f"fps must be positive, got {fps}")
        shown = (values * (255 / top) + 0.5 * (top == 1)).astype(np.uint8)
        times = tuple(i / float(fps) for i in range(len(shown)))
        return Clip(np.ascontiguousarray(shown.transpose(0, 3, 1, 2)), times, len(shown) / float(fps))

    def parts(self, samples: Sequence[Clip | Film]) -> Parts:
        """The shots of each film, with the times at which they begin and end."""
        rows, places, offsets = [], [], [0]
        for vectors, times, end_s in self._encoded(samples):
            cut, keep = self.config.cut == "shots", self.head is not None
            own, found = shots(vectors, times, end_s, self.config.longest_s, cut, keep)
            if self.head is not None:
                own = np.stack([self.head.vector(_frames(row, shot)) for row, shot in zip(own, found, strict=True)])
            rows.append(own)
            places += found
            offsets.append(len(places))
        return Parts(np.concatenate(rows), offsets, places)

    def frame_parts(self, samples: Sequence[Clip | Film]) -> Parts:
        """The frames of each film, with the times from which and until which they stand for it."""
        rows, places, offsets = [], [], [0]
        for vectors, times, end_s in self._encoded(samples):
            rows.append(vectors)
            places += [Time(*both) for both in zip(times, [*times[1:], max(end_s, times[-1])], strict=True)]
            offsets.append(len(places))
        return Parts(np.concatenate(rows), offsets, places)

    def pool(self, parts: Parts) -> np.ndarray:
        """The mean of the frames, or what the head makes of them, from the shots or from the frames themselves."""
        if self.head is not None:
            films = [[_frames(row, place) for row, place in zip(*parts[i], strict=True)] for i in range(len(parts))]
            return np.stack([self.head.vector(np.concatenate(own)) for own in films])
        weights = np.array([getattr(place, "frames", 1.0) for place in parts.places])
        sums = np.add.reduceat(parts.vectors * weights[:, None], parts.offsets[:-1], axis=0)
        means = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), TINY)
        single = np.array(parts.counts)[:, None] == 1
        return np.where(single, parts.vectors[list(parts.offsets[:-1])], means).astype(np.float32)

    def _encoded(self, samples: Sequence[Clip | Film]) -> Iterator[tuple[np.ndarray, list[float], float]]:
        """(T, D) unit vectors of each film's frames, their times, and where the film ends."""
        ends: list[float] = []
        vectors: list[np.ndarray] = []
        times: list[float] = []
        current = 0
        for batch in self._batches(samples, ends):
            found = self.space.encode_image(np.stack([pixels for _, _, pixels in batch]))
            for (index, time, _), row in zip(batch, found, strict=True):
                if index != current:
                    yield np.stack(vectors), times, ends[current]
                    vectors, times, current = [], [], index
                vectors.append(row)
                times.append(time)
        yield np.stack(vectors), times, ends[current]

    def _batches(self, samples: Sequence[Clip | Film], ends: list[float]) -> Iterator[list[tuple[int, float, Any]]]:
        """Batches of frames: whose they are, when they are shown, and (3, H, W) pixels of the tower's size."""
        found = batches(self._pixels(samples, ends), _FRAMES_AT_ONCE)
        if all(isinstance(sample, Clip) for sample in samples):
            yield from found
            return
        with single_threaded_pool(1) as pool:  # which decodes while this thread encodes
            for some in prefetch(lambda _: next(found, None), repeat(None), pool, _BATCHES_AHEAD):
                if some is None:
                    return
                yield some

    def _pixels(self, samples: Sequence[Clip | Film], ends: list[float]) -> Iterator[tuple[int, float, np.ndarray]]:
        for index, sample in enumerate(samples):
            if isinstance(sample, Film):
                for frame in frames_of(sample, self.sampling, self.space.preprocess.fitted, ends):
                    yield index, frame.time_s, self._resized(frame.pixels)
            else:
                ends.append(sample.seconds)
                for time, pixels in zip(sample.times, sample.frames, strict=True):
                    yield index, time, self._resized(pixels)

    def _resized(self, pixels: np.ndarray) -> np.ndarray:
        given = pixels[None] / np.float32(255)
        fitted = self.space.preprocess.resize(given)
        return (fitted if np.may_share_memory(fitted, given) else fitted.clip(0, 1))[0]  # bicubic overshoots

    def pictures(self, sample: Clip | Film) -> np.ndarray:
        """The first frame of a long film, else all: (V, 3, H, W)."""
        shown = sample.first[None] if isinstance(sample, Film) else sample.frames
        return shown / np.float32(255)

    def moment(self, path: str | PathLike, time_s: float) -> np.ndarray:
        """The frame at a time as the space looks at it, (3, H, W) in [0, 1]; the last one after the end."""
        with opened(path) as source:
            end = max(0.0, (source.seconds or time_s) - 0.5 / source.rate)
            with closing(frames_at(source, [min(time_s, end)], self.space.preprocess.fitted)) as found:
                return next(found).pixels / np.float32(255)

    @classmethod
    def example(cls) -> Clip:
        """An orange disc that crosses a blue slope, 6 frames of 48 x 64 in 6 s."""
        y, x = np.meshgrid(np.linspace(-1, 1, 48), np.linspace(-1, 1, 64), indexing="ij")
        frames = []
        for step in np.linspace(-0.6, 0.6, 6):
            disc = (x - step) ** 2 + y**2 < 0.2
            frames.append(np.stack([disc, disc * 0.6, ~disc * (y + 1) / 2]))
        return Clip((np.stack(frames) * 255).astype(np.uint8), tuple(map(float, range(6))), 6.0)

    @classmethod
    def claims(cls, path: str | PathLike) -> bool:
        """Not what has sound alone. Of GIFs those that move, where they can be read as films: others are pictures."""
        if str(path).lower().endswith(".gif"):
            return cls.missing() is None and is_animated(path)
        return has_pictures(path)

    @classmethod
    def missing(cls) -> str | None:
        try:
            pyav()
        except ClipxError as error:
            return error.remedy
        return None


def _frames(row: np.ndarray, place: Place) -> np.ndarray:
    """(T, D), the frames of a part that a head reads: those that it keeps, or itself where it is one frame."""
    kept: np.ndarray | None = getattr(place, "vectors", None)
    return row[None] if kept is None else kept
