"""Fixed overlapping windows with timestamps: how a sound of any length becomes pieces of one length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from clipx.modalities.audio.files import LongSound, Sound
from clipx.modalities.audio.resampling import resample


@dataclass(frozen=True)
class Window:
    """A piece of a sound.

    Args:
        samples: (C, L) float32 array; zeros follow a sound that is shorter than a window.
        start_s: where it begins in the sound, in seconds.
        end_s: where it ends, at most the sound's own end.
    """

    samples: np.ndarray
    start_s: float
    end_s: float


def windows(sound: Sound | LongSound, length_s: float, hop_s: float, to_hz: int) -> Iterator[Window]:
    """Cut a sound into windows, each resampled to ``to_hz`` by itself, so that nothing depends on what is held.

    They start every ``hop_s``; the last one ends with the sound, and so overlaps the one before more than the others
    do, unless it would add less than a twentieth of a window. At least one comes out; L is ``round(length_s * to_hz)``
    for all.
    """
    rate = sound.sample_rate_hz
    length, hop = max(1, round(length_s * rate)), max(1, round(hop_s * rate))
    samples = round(length_s * to_hz)

    def window(start: int, piece: np.ndarray) -> Window:
        resampled = resample(piece, rate, to_hz)[:, :samples]
        padded = np.pad(resampled, ((0, 0), (0, samples - resampled.shape[1])))
        return Window(padded, start / rate, (start + piece.shape[1]) / rate)

    held: np.ndarray | None = None  # samples from ``first`` on
    first = start = 0  # of what is held; of the next window
    for block in sound.blocks():
        held = block if held is None else np.concatenate([held, block], axis=1)
        end = first + held.shape[1]
        while start + length <= end:
            yield window(start, held[:, start - first : start - first + length])
            start += hop
        keep = max(first, min(start, end - length))  # the last window may reach back that far
        held, first = held[:, keep - first :], keep
    if held is None:
        return
    end = first + held.shape[1]
    if end <= length:
        if start == 0:
            yield window(0, held)
    elif end - (start - hop + length) > length / 20:
        yield window(end - length, held[:, end - length - first :])
