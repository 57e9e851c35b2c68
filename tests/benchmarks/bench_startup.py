"""What a whole process costs: python tests/benchmarks/bench_startup.py [--json] [--runs 7]

Each command is a process of its own, and they are run in turns, so that a busy machine is busy for all:

- help: ``clipx --help``
- search: ``clipx search "a chair"`` in an index of 10,000 synthetic rows of 512 dimensions, made beforehand
- photo, cloud, sound, sketch: ``clipx classify`` of one file each, of examples/data
- torch photo: the same photo, with ``--backend torch``
- imports: ``python -c "import torch, open_clip"``
- rclip: ``rclip --no-indexing "a chair"``, where rclip is installed and its model is in its cache

Figures are medians of the wall clock, with the least and the most; ``cpu``, user + system time of the process, which a
machine that does other work disturbs less; and the most memory that the process held. A first turn, which reads the
disk, is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DATA = ROOT / "examples/data"
CLIPX = [sys.executable, "-m", "clipx"]
WORDS = ["--labels", "chair,dog,fish,house"]
ROWS, DIM = 10_000, 512


def commands(db: Path) -> dict[str, list[str]]:
    """Name -> command."""
    files = {"photo": "umbrella.png", "cloud": "chair.off", "sound": "dog.flac", "sketch": "drawings/coffee-16.svg"}
    found = {
        "help": [*CLIPX, "--help"],
        "search": [*CLIPX, "search", "a chair", "--db", str(db)],
        **{name: [*CLIPX, "classify", str(DATA / file), *WORDS] for name, file in files.items()},
        "torch photo": [*CLIPX, "classify", str(DATA / files["photo"]), *WORDS, "--backend", "torch"],
        "imports": [sys.executable, "-c", "import torch, open_clip"],
    }
    if rclip := shutil.which("rclip"):
        found["rclip"] = [rclip, "--no-indexing", "a chair"]
    return found


def make_index(db: Path) -> None:
    """An index of unit vectors about 1,000 centres, as if they were photos."""
    import numpy as np

    from clipx.index import Index
    from clipx.index.scan import Found
    from clipx.index.store import Entry

    rng = np.random.default_rng(0)
    centres = rng.normal(size=(1000, DIM))
    rows = centres[rng.integers(0, len(centres), ROWS)] + rng.normal(size=(ROWS, DIM)) * 0.65
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    with Index.create(db, "lite") as index:
        index._start_writing()
        index._collection.create()
        entries = [
            Entry(Found(f"/photos/{i:05}.jpg", 1, 1, "image"), str(i), [None], row[None], None)
            for i, row in enumerate(rows)
        ]
        index._collection.write(entries, replace=False)
        index.store.optimize()
        index._collection.snapshot()


def run(command: list[str]) -> tuple[float, float]:
    """Seconds of the wall clock and of the processors that a process took, its output thrown away."""
    return run_with_memory(command)[:2]


def run_with_memory(command: list[str]) -> tuple[float, float, float]:
    """``run``, and the MB that the process held at most."""
    quiet = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
    begun = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=quiet)
    _, status, used = os.wait4(pid, 0)
    took = time.perf_counter() - begun
    if status:
        raise SystemExit(f"{' '.join(command)}: exit status {os.waitstatus_to_exitcode(status)}")
    return took, used.ru_utime + used.ru_stime, used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def measured(runs: int) -> dict[str, dict[str, Any]]:
    """Name -> figures."""
    with tempfile.TemporaryDirectory() as work:
        db = Path(work) / "my.index"
        # by a process of its own: what this one holds, the processes that it starts seem to hold as well
        subprocess.run([sys.executable, __file__, "--make-index", str(db)], check=True)
        every = commands(db)
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in every}
        for turn in range(runs + 1):
            for name, command in every.items():
                figures = run_with_memory(command)
                if turn:
                    found[name].append(figures)
    return {
        name: {
            "wall_s": {"median": statistics.median(walls), "low": min(walls), "high": max(walls)},
            "cpu_s": statistics.median(cpus),
            "memory_mb": statistics.median(memory),
        }
        for name, (walls, cpus, memory) in ((name, zip(*own, strict=True)) for name, own in found.items())
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--make-index", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make_index:
        make_index(options.make_index)
        return
    result = measured(options.runs)
    if options.json:
        print(json.dumps({"runs": options.runs, "processors": os.cpu_count(), "commands": result}, indent=1))
        return
    print(f"{'':<13}{'wall, s':>8}{'':<16}{'cpu, s':>8}{'MB':>6}")
    for name, value in result.items():
        wall = value["wall_s"]
        spread = f"({wall['low']:.2f} to {wall['high']:.2f})"
        print(f"{name:<13}{wall['median']:>8.2f} {spread:<15}{value['cpu_s']:>8.2f}{value['memory_mb']:>6.0f}")


if __name__ == "__main__":
    main()
