"""The audio modality: a sound is encoded window by window by a tower that was trained for a frozen space."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, groupby, islice
from math import isfinite
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import clipx
from clipx import films, sounds
from clipx._arrays import is_tensor, numbers, unit_rows
from clipx._threads import one_thread, prefetch, single_threaded_pool, threads
from clipx.errors import InputError
from clipx.identity import Stamp, identity, weights_sha256
from clipx.modalities.audio.files import LongSound, Sound, mix, read_sound
from clipx.modalities.audio.spectrograms import LogMelConfig, log_mel
from clipx.modalities.audio.towers import Tower, load_tower, new_tower, shipped_tower
from clipx.modalities.audio.weights import WEIGHTS
from clipx.modalities.audio.windows import Window, windows
from clipx.modality import Modality
from clipx.parts import Parts, Time
from clipx.progress import progress

_WINDOWS_AT_ONCE = 8  # on processors, in all threads together
_WINDOWS_ON_A_GPU = 32  # in one batch
S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class AudioConfig:
    """Settings of ``Audio``."""

    tower: str | None = field(
        default=None,
        metadata={
            "help": "folder of a trained tower, or AudioCLIP's checkpoint; default: the one clipx ships for the space"
        },
    )
    window_s: float | None = field(
        default=None, metadata={"help": "length of the windows in seconds; default: what the tower was trained on"}
    )
    overlap: float = field(default=0.5, metadata={"help": "share of a window that the next one overlaps"})

    def __post_init__(self):
        if self.tower is not None:  # an index keeps it, and is searched from other folders
            object.__setattr__(self, "tower", str(Path(self.tower).expanduser().absolute()))
        if self.window_s is not None and not (isfinite(self.window_s) and 0.1 <= self.window_s <= 600):
            raise InputError(f"window_s must be 0.1 to 600 seconds, got {self.window_s}")
        if not 0 <= self.overlap <= 0.95:
            raise InputError(f"overlap must be 0 to 0.95, got {self.overlap}")


class Audio(Modality):
    """Sounds of any length, cut into overlapping windows that a tower encodes one by one.

    The vector is the mean of the windows' unit vectors, of unit norm; ``parts`` gives the windows themselves, with
    their times. A sound that is shorter than a window is followed by silence. In an untrained space (``random:...``)
    the tower is untrained, too.
    """

    name = "audio"
    suffixes = sounds.SUFFIXES
    tracks_of = films.SUFFIXES
    prompts = "sound"
    array_key = "sounds"
    objects = "a sound as (waveform, Hz)"
    Config = AudioConfig

    config: AudioConfig
    _stamp: Stamp | None = None  # of the file that the tower was loaded from

    @cached_property
    def tower(self) -> Tower:
        """The network, loaded at first use.

        Raises:
            FileError, InputError: see ``load_tower``; or the space has no tower and none was given.
        """
        path = shipped_tower(self.space) if self.config.tower is None else Path(self.config.tower)
        if path is not None:
            with suppress(OSError):  # missing: reported below
                self._stamp = Stamp.of(path / WEIGHTS if path.is_dir() else path)
            return load_tower(path, self.space)
        if self.space.name.startswith("random:"):
            from clipx.modalities.audio.torch_network import TorchNetwork

            net = new_tower("logmel", self.space.dim).to(self.space.device).eval().requires_grad_(False)
            return Tower(TorchNetwork(net), "logmel")
        raise InputError(
            f"the space {self.space.name} has no audio tower",
            where=self.name,
            remedy="name one with --tower, or train one: clipx train audio DATA --space ...",
        )

    def unavailable(self) -> str | None:
        try:
            self.tower  # noqa: B018
        except InputError as error:
            return str(error)
        return None

    @property
    def context(self) -> str:  # type: ignore[override]  # the tower's weights, for the key of cached features
        """SHA-256 of the tower's weights."""

        def compute() -> str:
            return weights_sha256(sorted(self.tower.network.state().items()))

        if self._stamp is None:
            return compute()
        about = json.dumps([clipx.__version__, self.space.id, self.tower.kind, self.tower.about], sort_keys=True)
        return identity(self._stamp, f"audio tower {about}", compute)

    def load(self, path: str | PathLike) -> Sound | LongSound:
        """Open a sound file, or the sound of a film; see ``read_sound`` for what it warns of and raises."""
        return read_sound(path)

    def from_array(self, array: Any, sample_rate_hz: Any = 44_100, **about: Any) -> Sound:
        """(T,) or (C, T) numbers -> a sample: floats of full scale 1, or integers of their type's full scale.

        Raises:
            InputError: wrong shape or type, NaN, no samples.
        """
        values = numbers(array)
        if values.ndim not in (1, 2) or values.dtype.kind not in "fi":
            raise InputError(f"a sound must be (T,) or (C, T) floats or integers, got {values.shape} {values.dtype}")
        top = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max) + 1
        samples = np.atleast_2d(values).astype(np.float32) / np.float32(top)
        return Sound(samples if len(samples) <= 2 else mix(samples), int(sample_rate_hz))

    @classmethod
    def takes(cls, value: Any) -> bool:
        """A waveform and its sampling rate, as torchaudio and librosa load them."""
        if not isinstance(value, tuple) or len(value) != 2 or isinstance(value[0], str):
            return False
        waveform, rate = value
        of_sound = (is_tensor(waveform) or isinstance(waveform, np.ndarray)) and waveform.ndim in (1, 2)
        return of_sound and isinstance(rate, Real) and not isinstance(rate, bool)

    def from_object(self, value: Any) -> Sound:
        """(waveform, Hz) -> a sample; the waveform is what ``from_array`` takes, or a tensor of it.

        Raises:
            InputError: another value, or a waveform that ``from_array`` refuses, or one with its channels last.
        """
        if not self.takes(value):
            raise InputError(f"expected a waveform and its rate in Hz, got {type(value).__qualname__}")
        waveform, rate = value
        if not isfinite(rate):
            raise InputError(f"a sampling rate of {rate} Hz")
        if waveform.ndim == 2 and waveform.shape[0] > waveform.shape[1]:
            what = f"a waveform of {waveform.shape[0]} channels and {waveform.shape[1]} samples"
            raise InputError(what, remedy="channels come first: transpose it")
        return self.from_array(waveform, rate)

    @classmethod
    def read_set(cls, path: Path, where: Sequence[tuple[str, str]] = ()) -> dict[str, Any] | None:
        """ESC-50 and UrbanSound8K as they are handed out."""
        from clipx.modalities.audio.benchmarks import read_benchmark

        return read_benchmark(path)

    def parts(self, samples: Sequence[Sound | LongSound]) -> Parts:
        """The windows of each sound, with the times at which they begin and end."""
        rows: list[np.ndarray] = []
        places: list[Time] = []
        offsets = [0] * (len(samples) + 1)
        for indices, pieces, vectors in self._encoded_windows(samples):
            rows.append(vectors)
            for index, piece in zip(indices, pieces, strict=True):
                places.append(Time(piece.start_s, piece.end_s))
                offsets[index + 1] = len(places)
        return Parts(np.concatenate(rows), offsets, places)

    def _encoded_windows(
        self, samples: Sequence[Sound | LongSound]
    ) -> Iterator[tuple[list[int], list[Window], np.ndarray]]:
        """Batches of windows: whose they are, they themselves, and their (B, D) unit vectors."""
        length = self.config.window_s or self.tower.window_s
        hop = length * (1 - self.config.overlap)
        rate, on_cpu = self.tower.network.sample_rate_hz, self.space.on_cpu
        at_once = 2 if on_cpu else _WINDOWS_ON_A_GPU
        minutes = sum(int(sound.seconds // 60) for sound in samples if isinstance(sound, LongSound))

        def cut() -> Iterator[tuple[int, Window]]:
            for index, sound in enumerate(samples):
                for window in windows(sound, length, hop, rate):
                    yield index, window

        def batches() -> Iterator[list[tuple[int, Window]]]:
            for _, group in groupby(cut(), lambda pair: len(pair[1].samples)):
                while some := list(islice(group, at_once)):
                    yield some

        def encode(some: list[tuple[int, Window]]) -> tuple[list[int], list[Window], np.ndarray]:
            signals = [window.samples for _, window in some]
            if len(signals[0]) > self.tower.channels:
                signals = [mix(samples) for samples in signals]
            return [i for i, _ in some], [window for _, window in some], unit_rows(self.tower(np.stack(signals)))

        reached = [0] * len(samples)  # minutes
        with progress("encoding sound, in minutes", minutes) if minutes else nullcontext() as advance:
            for indices, pieces, rows in _mapped(encode, batches(), on_cpu, _WINDOWS_AT_ONCE // 2):
                yield indices, pieces, rows
                for index, piece in zip(indices, pieces, strict=True):
                    if advance is not None and isinstance(samples[index], LongSound):
                        now = int(piece.end_s // 60)
                        advance(now - reached[index])
                        reached[index] = now

    def pictures(self, sample: Sound | LongSound) -> np.ndarray:
        """The first window as a spectrogram, (1, 3, 64, n): time to the right, pitch upwards, loud is white."""
        config = LogMelConfig()  # whatever the tower is: it is not loaded for a picture
        first = next(windows(sample, self.config.window_s or 5.0, 5.0, config.sample_rate_hz))
        spectrogram = log_mel(mix(first.samples)[None], config)
        shades = ((spectrogram[:, ::-1] + 2) / 6).clip(0, 1)
        return np.repeat(shades[:, None], 3, axis=1)

    @classmethod
    def example(cls) -> Sound:
        """Three falling chirps, 1.5 s."""
        t = np.arange(33_075) / 22_050
        beat = (t * 2) % 1
        wave = 0.5 * np.exp(-4 * beat) * np.sin(2 * np.pi * (1500 * beat - 500 * beat**2))
        return Sound(wave[None].astype(np.float32), 22_050)

    @classmethod
    def missing(cls) -> str | None:
        try:
            import soundfile  # noqa: F401
        except (ImportError, OSError) as error:  # OSError: no libsndfile in it nor on the system
            return f"pip install 'soundfile>=0.13' ({error})"
        return None


def _mapped(work: Callable[[S], T], items: Iterator[S], on_cpu: bool, most: int) -> Iterator[T]:
    """``work`` of each item, in order, up to ``most`` at once; on processors each in one thread of its own.

    A lone item has all threads to itself.
    """
    first = list(islice(items, 2))
    if len(first) < 2:
        yield from map(work, first)
        return
    workers = min(threads(), most) if on_cpu else 1
    if workers == 1 and on_cpu:  # one thread among several, which encode other sounds
        yield from map(work, chain(first, items))
        return
    with one_thread(), single_threaded_pool(workers) as pool:  # decoding and resampling go on in this one, meanwhile
        yield from prefetch(work, chain(first, items), pool, 2 * workers + 1)
