"""onnxruntime against torch: python tests/benchmarks/bench_backends.py [--json] [--spaces lite,random:RN50] [--runs 7]

For each space, pictures per second (at the tower's size, already resized) and texts per second by torch in float32 and
by onnxruntime in float32 and int8, in batches of 1 and of 32, with 1 and 2 threads; all run in turn, in one process.
Figures are medians; low and high are the least and the most of the runs, of a ratio those of its runs taken pairwise.
``process`` is the wall clock of a whole process that names one picture by three words. A space that holds no graphs is
exported first, into a folder that is removed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from clipx import export, load_space
from clipx.progress import note
from clipx.space import JointSpace

TEXTS = ["a chair", "a photo of a small cat", "two dogs on the beach at sunset", "an airplane in the sky"] * 8
NAME = """
import numpy as np
from clipx import load_space
space = load_space({name!r}, backend={backend!r})
rows = space.encode_text(["a chair", "a table", "a cat"])
print((space.encode_image(np.full((1, 3, 224, 224), 0.5, np.float32)) @ rows.T).argmax())
"""


def measured(runs: int, jobs: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of each job, run in turn; a first turn is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(runs + 1):
        for name, job in jobs.items():
            begun = time.perf_counter()
            job()
            if turn:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def rates(spaces: dict[str, JointSpace], runs: int) -> list[dict]:
    """One row for each kind of input, batch and number of threads."""
    rows, rng = [], np.random.default_rng(0)
    size = next(iter(spaces.values())).image_size
    pixels = rng.random((32, 3, *size), np.float32)
    for what, some in (("pictures", pixels), ("texts", TEXTS)):
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for batch in (1, 32):
                jobs = {name: encoding(space, what, some[:batch]) for name, space in spaces.items()}
                found = measured(runs, jobs)
                row = {"what": what, "threads": threads, "batch": batch}
                for name, seconds in found.items():
                    row[f"{name}_per_s"] = spread([batch / s for s in seconds])
                    if name != "torch":
                        row[f"{name}_ratio"] = spread([a / b for a, b in zip(found["torch"], seconds, strict=True)])
                rows.append(row)
    return rows


def encoding(space: JointSpace, what: str, some: object) -> Callable[[], object]:
    encode = space.backend.encode_image if what == "pictures" else space.backend.encode_text
    return lambda: encode(some)


def process_seconds(folders: dict[str, tuple[str, str]], runs: int) -> dict[str, dict[str, float]]:
    def run(name: str, backend: str) -> Callable[[], object]:
        code = NAME.format(name=name, backend=backend)
        return lambda: subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)

    found = measured(runs, {kind: run(*where) for kind, where in folders.items()})
    return {kind: spread(seconds) for kind, seconds in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaces", default="lite")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = []
    for name in options.spaces.split(","):
        with tempfile.TemporaryDirectory() as root:
            folders = {"float32": Path(root) / "float32", "int8": Path(root) / "int8"}
            reports = {}
            for kind, folder in folders.items():
                note(f"exporting {name} in {kind}")
                reports[kind] = export(name, folder, int8=kind == "int8")
            served = {"onnx": folders["float32"], "onnx_int8": folders["int8"]}
            spaces = {"torch": load_space(name, backend="torch")}
            spaces |= {kind: load_space(folder, backend="onnx") for kind, folder in served.items()}
            where = {"torch": (name, "torch"), **{kind: (str(folder), "onnx") for kind, folder in served.items()}}
            result = {"space": name, "rates": rates(spaces, options.runs)}
            result["process_s"] = process_seconds(where, options.runs)
            results.append({**result, "exports": reports})
    if options.json:
        print(json.dumps({"processors": os.cpu_count(), "runs": options.runs, "results": results}, indent=1))
        return
    for result in results:
        sizes = [f"{kind} {report['bytes'] / 1e6:.1f} MB" for kind, report in result["exports"].items()]
        print(f"{result['space']}: {', '.join(sizes)}")
        for row in result["rates"]:
            print(f"  {row['what']}, {row['threads']} threads, batches of {row['batch']}")
            for key, value in row.items():
                if isinstance(value, dict):
                    print(f"    {key:<18}{value['median']:8.2f} ({value['low']:.2f} to {value['high']:.2f})")
        for kind, value in result["process_s"].items():
            print(f"  whole process, {kind:<10}{value['median']:6.2f} s ({value['low']:.2f} to {value['high']:.2f})")


if __name__ == "__main__":
    main()
