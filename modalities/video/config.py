"""Settings of the video modality."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from clipx.errors import InputError

MOST_FRAMES = 1_000_000  # of one film, a day of them at eleven a second: 2 GB of vectors of 512 dimensions


@dataclass(frozen=True)
class VideoConfig:
    """Settings of ``Video``."""

    fps: float = field(default=1.0, metadata={"help": "frames of a second that are looked at"})
    frames: int = field(default=0, metadata={"help": "at most so many frames of a film, evenly spread; 0: no limit"})
    uniform: int = field(
        default=0, metadata={"help": "look at so many frames of each film, evenly spread, whatever fps says; 0: by fps"}
    )
    cut: str = field(default="shots", metadata={"help": "parts of a film: shots, or windows of equal length"})
    longest_s: float = field(default=8.0, metadata={"help": "longest part in seconds; longer shots are divided"})
    head: str | None = field(
        default=None, metadata={"help": "file of a head by clipx train video; default: the mean of the frames"}
    )

    def __post_init__(self):
        if self.head is not None:  # an index keeps it, and is searched from other folders
            object.__setattr__(self, "head", str(Path(self.head).expanduser().absolute()))
        if not (isfinite(self.fps) and 0.001 <= self.fps <= 240):
            raise InputError(f"fps must be 0.001 to 240 frames a second, got {self.fps}")
        if not (0 <= self.frames <= MOST_FRAMES and 0 <= self.uniform <= MOST_FRAMES):
            raise InputError(f"frames and uniform must be 0 to {MOST_FRAMES:,}, got {self.frames} and {self.uniform}")
        if self.cut not in ("shots", "windows"):
            raise InputError(f"cut must be shots or windows, got {self.cut!r}")
        if not (isfinite(self.longest_s) and 0.1 <= self.longest_s <= 86_400):
            raise InputError(f"longest_s must be 0.1 to 86,400 seconds, got {self.longest_s}")
