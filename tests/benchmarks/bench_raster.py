"""How long the rasteriser takes, forward and backward: python tests/benchmarks/bench_raster.py [--json]

A run is rasterize(strokes, size, 3.0), the loss ((image - target) ** 2).sum() over 3 channels, and its backward pass to
the control points. Strokes are random walks: the first control point uniform over the canvas, each further one a normal
step of 28 px per axis away, so that a stroke is some 80 px long, from 30 to 130, and four fifths of it lie on a canvas
of 224 px. On a larger canvas they stay as long as they are, or, where the case says so, grow with it.

Kernel and loss are timed `--runs` times after three runs that are not, the plain version until `--seconds` are over but
three times at least. The spread is from the 10th to the 90th percentile.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

from clipx.modalities.sketch.raster import rasterize

STEP_PX = 28
CASES = {  # batch and strokes, side of the canvas, by how much the strokes grow
    "16 strokes": ((16,), 224, 1.0),
    "64 strokes": ((64,), 224, 1.0),
    "256 strokes": ((256,), 224, 1.0),
    "1024 strokes": ((1024,), 224, 1.0),
    "64 strokes at 1024 px": ((64,), 1024, 1.0),
    "64 strokes at 1024 px, grown": ((64,), 1024, 1024 / 224),
    "12 x 16 strokes": ((12, 16), 224, 1.0),
}


def walks(*shape: int, size: int, grown: float = 1.0, seed: int = 0) -> Tensor:
    """(*shape, 4, 2) control points in pixels, by the rule above."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.rand(*shape, 1, 2, generator=generator) * size
    steps = torch.randn(*shape, 3, 2, generator=generator) * (STEP_PX * grown)
    return torch.cat((first, steps), -2).cumsum(-2)


def timed(call: Callable[[], object], runs: int, seconds: float = 0.0, warm: int = 3) -> dict[str, float]:
    """Milliseconds: median, 10th and 90th percentile of `runs` runs, and of more until `seconds` are over."""
    for _ in range(warm):
        call()
    taken: list[float] = []
    while len(taken) < runs or sum(taken) < seconds:
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    low, median, high = torch.tensor(taken).quantile(torch.tensor([0.1, 0.5, 0.9])).mul(1000).tolist()
    return {"median_ms": median, "low_ms": low, "high_ms": high, "runs": len(taken)}


def measure(case: str, runs: int, seconds: float) -> dict[str, object]:
    shape, size, grown = CASES[case]
    strokes = walks(*shape, size=size, grown=grown).requires_grad_()
    target = rasterize(walks(*shape, size=size, grown=grown, seed=1), size).clone()

    def loss_of(image: Tensor) -> None:
        ((image - target) ** 2).sum().backward()

    def run(backend: str) -> None:
        strokes.grad = None
        loss_of(rasterize(strokes, size, 3.0, backend=backend))

    blank = torch.ones_like(target[..., :1, :, :]).requires_grad_()
    result: dict[str, object] = {
        "case": case,
        "numba": timed(lambda: run("numba"), runs),
        "loss": timed(lambda: loss_of(blank.expand(target.shape)), runs),
    }
    for backend in ("plain", "pydiffvg"):
        if backend == "plain" or find_spec("pydiffvg"):
            result[backend] = timed(lambda which=backend: run(which), 3, seconds, warm=1)
            result[f"{backend}_over_numba"] = result[backend]["median_ms"] / result["numba"]["median_ms"]
    return result


def told(result: dict[str, object]) -> str:
    def times(name: str) -> str:
        ms = result[name]
        return f"{ms['median_ms']:.3g} ms ({ms['low_ms']:.3g}-{ms['high_ms']:.3g})"

    line = f"{result['case']:<30} numba {times('numba'):<27} loss alone {result['loss']['median_ms']:<8.3g}"
    for name in ("plain", "pydiffvg"):
        if name in result:
            line += f" {name} {times(name)}, {result[f'{name}_over_numba']:.0f} x"
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50, help="of the kernel, per case")
    parser.add_argument("--seconds", type=float, default=3.0, help="for the plain version, and for pydiffvg, per case")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--case", choices=CASES, action="append", help="only this one; may be given repeatedly")
    parser.add_argument("--json", action="store_true", help="one object for each case on a line of its own")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if not arguments.json:
        print(f"forward + backward, {arguments.threads} threads, median (10-90 %)")
        if not find_spec("pydiffvg"):
            print("pydiffvg is not installed")
    for case in arguments.case or CASES:
        result = measure(case, arguments.runs, arguments.seconds)
        result["threads"] = arguments.threads
        print(json.dumps(result) if arguments.json else told(result), flush=True)


if __name__ == "__main__":
    main()
