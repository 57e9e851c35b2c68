"""What a whole process costs: python tests/benchmarks/bench_startup.py [--json] [--runs 7]

Three commands, each a process of its own, run in turns so that a busy machine is busy for all:

- help: ``clipx --help``
- imports: ``python -c "import torch, open_clip"``
- classify: ``clipx classify examples/data/chair.off --labels chair,table --space nano``

``beyond_imports_s`` is classify less imports, turn by turn. It can be below 0, for clipx puts garbage collection off
while those two load. Figures are of the wall clock and, as ``cpu``, user + system time of the process, which a machine
that does other work disturbs less. Of each the median, low and high (the least and the most) are told. A first turn,
which reads the disk, is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLIPX = [sys.executable, "-m", "clipx"]
COMMANDS = {
    "help": [*CLIPX, "--help"],
    "imports": [sys.executable, "-c", "import torch, open_clip"],
    "classify": [
        *[*CLIPX, "classify", str(ROOT / "examples/data/chair.off")],
        *["--labels", "chair,table", "--space", "nano"],
    ],
}


def run(command: list[str]) -> tuple[float, float]:
    """Seconds of the wall clock and of the processors that a process took, its output thrown away."""
    quiet = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
    begun = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=quiet)
    _, status, used = os.wait4(pid, 0)
    took = time.perf_counter() - begun
    if status:
        raise SystemExit(f"{' '.join(command)}: exit status {os.waitstatus_to_exitcode(status)}")
    return took, used.ru_utime + used.ru_stime


def measured(runs: int) -> dict[str, dict[str, dict[str, float]]]:
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for turn in range(runs + 1):
        for name, command in COMMANDS.items():
            found = run(command)
            if turn:
                seconds[name].append(found)
    result = {}
    for clock, column in (("wall", 0), ("cpu", 1)):
        times = {name: [pair[column] for pair in pairs] for name, pairs in seconds.items()}
        times["beyond_imports"] = [c - i for c, i in zip(times["classify"], times["imports"], strict=True)]
        result[clock] = {
            f"{name}_s": {"median": statistics.median(own), "low": min(own), "high": max(own)}
            for name, own in times.items()
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measured(options.runs)
    if options.json:
        print(json.dumps({"runs": options.runs, "processors": os.cpu_count(), **result}, indent=1))
        return
    for clock, figures in result.items():
        for name, value in figures.items():
            print(f"{clock:<5}{name:<18}{value['median']:6.2f} ({value['low']:.2f} to {value['high']:.2f})")


if __name__ == "__main__":
    main()
