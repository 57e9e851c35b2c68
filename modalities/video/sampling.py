"""At which times a film is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from math import ceil

from clipx.modalities.video.config import VideoConfig


def wanted(config: VideoConfig, seconds: float | None) -> Iterator[float]:
    """The times in seconds, rising, from 0 on.

    By ``fps`` they are 0, 1 / fps, 2 / fps, ...: of each the exact product, so that nothing drifts at 29.97 frames a
    second. By ``uniform``, and where ``frames`` are fewer than ``fps`` gives, they are the middles of so many equal
    parts of the film: first and last frames are often black. CLIP4Clip takes its 12 from the first to the last frame.

    Args:
        config: of the modality.
        seconds: how long the film is; None where that is unknown: by ``fps``, without end.
    """
    if seconds is None:
        yield from (i / config.fps for i in count())
        return
    by_rate = number_by_rate(config.fps, seconds)
    number = config.uniform or (min(by_rate, config.frames) if config.frames else by_rate)
    if config.uniform or number < by_rate:
        yield from ((i + 0.5) * seconds / number for i in range(number))
    else:
        yield from (i / config.fps for i in range(number))


def number_by_rate(fps: float, seconds: float) -> int:
    """How many of the times 0, 1 / fps, 2 / fps, ... lie before the end of a film; at least 1."""
    number = max(1, ceil(seconds * fps))
    while number > 1 and (number - 1) / fps >= seconds:  # rounded up by the product's last bit
        number -= 1
    return number
