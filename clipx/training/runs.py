"""A run's folder: made once, with the loss curve as JSON lines and as a picture."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path

from clipx.errors import InputError
from clipx.files import make_folder, write_whole

CHECKPOINT = "checkpoint.safetensors"
HISTORY = "history.jsonl"


def prepare_folder(out: str | PathLike, resume: bool) -> Path:
    """Make a run's folder; refuse to overwrite another run's checkpoint."""
    out = make_folder(out)
    if not resume and (out / CHECKPOINT).exists():
        raise InputError("holds a run already", where=out, remedy="go on with --resume, or name another folder")
    return out


class History:
    """The loss curve, one JSON object per step; on resume the lines after the checkpoint are dropped."""

    def __init__(self, path: Path, first: int):
        self.path = path
        self.rows: list[dict[str, float]] = []
        if first and path.exists():
            self.rows = [json.loads(line) for line in path.read_text().splitlines()][:first]

    def add(self, **values: float) -> None:
        """One step's values."""
        self.rows.append({k: round(v, 6) if isinstance(v, float) else v for k, v in values.items()})

    def write(self) -> None:
        """The rows so far, atomically."""
        write_whole(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))


def minutes_of(out: Path) -> float:
    """How long the steps of a run took."""
    return sum(json.loads(line)["s"] for line in (out / HISTORY).read_text().splitlines()) / 60


def plot_history(out: str | PathLike) -> Path:
    """Draw ``history.jsonl`` of a run as ``loss.png`` beside it (raw and smoothed over 50 steps)."""
    import numpy as np
    from matplotlib.figure import Figure

    out = Path(out)
    rows = [json.loads(line) for line in (out / HISTORY).read_text().splitlines()]
    figure = Figure(figsize=(7, 4))  # not pyplot's: a caller's backend stays as it is
    axes = figure.subplots()
    for name in (k for k in rows[0] if k not in ("step", "lr", "s", "scale")):
        values = np.array([row[name] for row in rows])
        width = min(50, len(values))
        axes.plot(np.convolve(values, np.ones(width) / width, "valid"), label=name)
    axes.set(xlabel="step", ylabel=f"loss, mean of {width} steps")
    axes.legend()
    path = out / "loss.png"
    write_whole(path, lambda part: figure.savefig(part, dpi=110, bbox_inches="tight"))
    return path
