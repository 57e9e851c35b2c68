"""How long the projections take: python tests/benchmarks/bench_pointcloud.py [--json]

Clouds are of 1,024 normally distributed points, brought into the unit sphere; the final enlarging to the tower's size
is left out on both sides. Beside ours stands the released codes' way with their tensor operations, both run in turn:

- V1: every cloud repeated for its views, one batched matmul, two scatter-adds in float32 over the whole batch;
- V2: the same, scatter-max into the grids, MaxPool3d, Conv3d, max, all as batches of 8 clouds.

The mesh is a sphere of 20,480 triangles with bumps, at 224 px, its eight views; all that depends on the mesh alone
(smooth normals, the corners at one place) is in the time. A ratio is the released way's median over ours; low and high
are the 10th and 90th percentile of the runs, of the ratio those of its runs taken pairwise.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from math import pi

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clipx.modalities.pointcloud.cloud import unit_sphere
from clipx.modalities.pointcloud.projection import mesh_raster, ortho_splat, pointclip_v1, pointclip_v2, shaded
from clipx.modalities.pointcloud.projection.v1 import SETTINGS
from clipx.modalities.pointcloud.projection.views import euler

SIDES = [(k * pi / 2, 0.0, pi / 2) for k in range(4)]
ENDS = [(0.0, -pi / 2, pi / 2), (0.0, pi / 2, pi / 2)]


def clouds(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    some = [unit_sphere(torch.randn(1024, 3, generator=generator).numpy()) for _ in range(count)]
    return torch.from_numpy(np.stack(some))


# ------------------------------------------------------------------------------------------- the released codes' way


def rotated(points: Tensor, angles: list[tuple[float, float, float]]) -> Tensor:
    """(B, P, 3) -> (B * V, P, 3)."""
    matrices = torch.tensor([euler(*a) for a in angles]).transpose(1, 2)
    return torch.repeat_interleave(points, len(angles), 0) @ matrices.repeat(len(points), 1, 1)


def released_v1(points: Tensor) -> Tensor:
    """(B, P, 3) -> (B * 6, 128, 128)."""
    size, eps = 128, torch.tensor([1e-12])
    seen = rotated(points, SIDES + ENDS) + torch.tensor([0, 0, SETTINGS["zero_shot"].distance])
    z = seen[:, :, 2]
    x = (((seen[:, :, 0] / (z + eps)) + 1) * size / 2)[..., None, None]
    y = (((seen[:, :, 1] / (z + eps)) + 1) * size / 2)[..., None, None]
    row, column = torch.ceil(x.repeat(1, 1, 1, 1) - 0.5), torch.ceil(y.repeat(1, 1, 1, 1) - 0.5)
    value = z[..., None, None].repeat(1, 1, 1, 1)
    kept = (row >= 0) * (row <= size - 1) * (column >= 0) * (column <= size - 1) * (value >= 0)
    row, column = row % size, column % size
    weight = (kept.float() * (1 / (value + eps))).view(len(seen), -1)
    weighted = value.view(len(seen), -1) * weight
    place = (row.view(len(seen), -1) * size + column.view(len(seen), -1)).long()
    mass = torch.zeros(len(seen), size * size).scatter_add(1, place, weight)
    mass += (mass == 0.0).float()
    total = torch.zeros(len(seen), size * size).scatter_add(1, place, weighted)
    return (total / mass).view(-1, size, size)


def released_v2(points: Tensor) -> Tensor:
    """(B, P, 3) -> (B * 10, 110, 110)."""
    size, depth = 112, 8
    seen = rotated(points, [(k * pi / 4, 0.0, pi / 2) for k in (1, 3, 5, 7, 0, 2, 4, 6)] + ENDS)
    tilts = torch.tensor([euler(0.0, pi / 9, 0.0)] * 8 + [euler(0.0, pi / 15, 0.0)] * 2).transpose(1, 2)
    seen = seen @ tilts.repeat(len(points), 1, 1)
    high, low = seen.max(1)[0], seen.min(1)[0]
    seen = (seen - ((high + low) / 2)[:, None]) / (high - low).max(-1)[0][:, None, None] * 2
    seen[:, :, :2] = seen[:, :, :2] * 0.8
    x, y = (((seen[:, :, axis] + 1) / 2 * size).ceil().clip(1, size - 2) for axis in (0, 1))
    z = ((seen[:, :, 2] + 1) / 2 + 0.2) / 1.2 * (depth - 2)
    place = (z.ceil() * size * size + y * size + x).long()
    grid = torch.zeros(len(seen), depth * size * size).scatter_reduce(1, place, z.clip(1, depth - 2), "amax")
    grid = grid.view(-1, 1, depth, size, size).permute(0, 1, 2, 4, 3)
    image = F.conv3d(F.max_pool3d(grid, (1, 7, 7), 1, (0, 2, 2)), GAUSS, padding=(0, 1, 1)).max(2)[0]
    return (1 - image / image.amax((1, 2, 3), keepdim=True))[:, 0]


_LINE = torch.exp(-(torch.arange(-1.0, 2.0) ** 2) / 18)
GAUSS = (torch.outer(_LINE, _LINE) / _LINE.sum() ** 2)[None, None, None]


def bumpy_sphere() -> tuple[Tensor, Tensor]:
    import trimesh

    made = trimesh.creation.icosphere(5)
    vertices = torch.tensor(made.vertices.tolist())
    vertices *= 1 + 0.1 * (vertices * 9).sin().prod(1, keepdim=True)
    return vertices[None], torch.tensor(made.faces.tolist())[None]


# --------------------------------------------------------------------------------------------------------- measuring


def timed(ours: Callable[[], object], theirs: Callable[[], object] | None, runs: int) -> tuple[Tensor, Tensor | None]:
    """Seconds of the runs, taken in turn after two that are not timed."""
    seconds: list[list[float]] = []
    for run in range(runs + 2):
        pair = []
        for call in [ours] + ([theirs] if theirs else []):
            begin = time.perf_counter()
            call()
            pair.append(time.perf_counter() - begin)
        seconds += [pair] if run > 1 else []
    columns = torch.tensor(seconds, dtype=torch.float64).T
    return columns[0], columns[1] if theirs else None


def spread(values: Tensor) -> dict[str, float]:
    low, median, high = values.quantile(torch.tensor([0.1, 0.5, 0.9], dtype=values.dtype)).tolist()
    return {"median": median, "low": low, "high": high}


def case(
    name: str, views: int, ours: Callable[[], object], theirs: Callable[[], object] | None, runs: int
) -> dict[str, object]:
    own, other = timed(ours, theirs, runs)
    result: dict[str, object] = {"case": name, "views": views, "runs": runs, "ms_per_view": spread(own / views * 1000)}
    if other is not None:
        result["released_ms_per_view"] = spread(other / views * 1000)
        result["ratio"] = spread(other / own) | {"median": float(other.median() / own.median())}
    return result


def told(result: dict[str, object]) -> str:
    def span(key: str, digits: int) -> str:
        found = result[key]
        return "{median:.{d}f} ({low:.{d}f} to {high:.{d}f})".format(**found, d=digits)

    line = f"{result['case']:<34} {span('ms_per_view', 3):>26} ms a view"
    line += f" = {1000 / result['ms_per_view']['median']:>8,.0f} views/s"
    if "ratio" in result:
        line += f"; released way {span('released_ms_per_view', 2)}: {span('ratio', 1)} x"
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", help="cases whose name holds this")
    parser.add_argument("--json", action="store_true", help="one object for each case on a line of its own")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    many, few = clouds(256), clouds(8)
    a_few = few.numpy()  # ours draws arrays, the released way tensors
    vertices, triangles = (part.numpy() for part in bumpy_sphere())
    cases: list[tuple[str, int, Callable[[], object], Callable[[], object] | None]] = [
        ("pointclip_v1, 1 cloud", 6, lambda: pointclip_v1(a_few[:1]), lambda: released_v1(few[:1])),
        ("pointclip_v1, 256 clouds", 256 * 6, lambda: pointclip_v1(many.numpy()), lambda: released_v1(many)),
        ("pointclip_v2, 8 clouds", 80, lambda: pointclip_v2(a_few), lambda: released_v2(few)),
        ("ortho_splat, 8 clouds", 48, lambda: ortho_splat(a_few), None),
        ("shaded at 224 px, 8 clouds", 64, lambda: shaded(a_few), None),
        ("shaded at 96 px, 8 clouds", 64, lambda: shaded(a_few, resolution=96), None),
        ("mesh_raster at 224 px, 20,480 tri.", 8, lambda: mesh_raster(vertices, triangles), None),
    ]
    if not arguments.json:
        print(f"{arguments.threads} threads, {arguments.runs} runs, median (10-90 %)")
    for name, views, ours, theirs in cases:
        if arguments.only is None or arguments.only in name:
            result = case(name, views, ours, theirs, arguments.runs) | {"threads": arguments.threads}
            print(json.dumps(result) if arguments.json else told(result), flush=True)


if __name__ == "__main__":
    main()
