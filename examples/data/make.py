"""Makes the sample files of this folder: python examples/data/make.py

Meshes and clouds come from the nano recipe's shape generator (seeds that training does not use), +y up; drawings are
strokes written down below, drawn dark on light with a slightly unsteady hand; sounds are synthesised. Nothing here is
anybody else's.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, ImageDraw

from clipx.modalities.audio.synthesis import synthesise

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "recipes" / "nano"))

import shapes  # noqa: E402

MESHES = {"chair.off": 7, "airplane.obj": 1, "table.stl": 3}
CLOUDS = {"toilet.ply": 2, "bathtub.xyz": 5, "car.npy": 4}
POINTS = 2048
SOUNDS = ("dog", "helicopter", "rain")  # seeds that the shipped tower did not learn from
SOUND_SEED, SOUND_S = 1_000_003, 3.0


def main() -> None:
    for name, seed in MESHES.items():
        mesh = shapes.make(Path(name).stem, np.random.default_rng([1_000_003, seed]))
        write_mesh(HERE / name, upright(mesh.vertices), mesh.faces)
    for name, seed in CLOUDS.items():
        rng = np.random.default_rng([1_000_003, seed])
        mesh = shapes.make(Path(name).stem, rng)
        write_cloud(HERE / name, on_surface(upright(mesh.vertices), mesh.faces, rng))
    for name in SOUNDS:
        sound = synthesise(name, SOUND_SEED, SOUND_S)
        soundfile.write(HERE / f"{name}.flac", sound.samples[0], sound.sample_rate_hz, subtype="PCM_16")
    for name, strokes in DRAWINGS.items():
        draw(strokes, np.random.default_rng(0)).save(HERE / f"{name}.png", optimize=True)


def upright(vertices: np.ndarray) -> np.ndarray:
    """(V, 3) z up, front -y -> y up, front +z."""
    return np.stack([vertices[:, 0], vertices[:, 2], -vertices[:, 1]], axis=1)


def on_surface(vertices: np.ndarray, faces: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(POINTS, 3) points drawn uniformly from the triangles' area."""
    a, b, c = vertices[faces].transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen = rng.choice(len(faces), POINTS, p=area / area.sum())
    u, v = rng.random((2, POINTS, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    return (a[chosen] + u * (b - a)[chosen] + v * (c - a)[chosen]).astype(np.float32)


def write_mesh(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    if path.suffix == ".off":
        rows = [f"OFF\n{len(vertices)} {len(faces)} 0"]
        rows += ["{:.4f} {:.4f} {:.4f}".format(*v) for v in vertices] + ["3 {} {} {}".format(*f) for f in faces]
        path.write_text("\n".join(rows) + "\n")
    elif path.suffix == ".obj":
        rows = ["v {:.4f} {:.4f} {:.4f}".format(*v) for v in vertices] + ["f {} {} {}".format(*f) for f in faces + 1]
        path.write_text("\n".join(rows) + "\n")
    else:  # binary STL: 80 bytes, the count, then 50 bytes a triangle
        triangles = np.zeros(len(faces), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("spare", "<u2")])
        triangles["corners"] = vertices[faces]
        path.write_bytes(b"\0" * 80 + np.uint32(len(faces)).tobytes() + triangles.tobytes())


def write_cloud(path: Path, points: np.ndarray) -> None:
    if path.suffix == ".ply":
        header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
        header += [f"property float {axis}" for axis in "xyz"] + ["end_header\n"]
        path.write_bytes("\n".join(header).encode() + points.astype("<f4").tobytes())
    elif path.suffix == ".npy":
        np.save(path, points.astype(np.float16))
    else:
        np.savetxt(path, points[: POINTS // 2], fmt="%.4f")


def draw(strokes: list[np.ndarray], rng: np.random.Generator, size: int = 256) -> Image.Image:
    """Strokes in the unit square, y down -> a grey picture; drawn four times larger and averaged down."""
    large = Image.new("L", (4 * size, 4 * size), 255)
    pen, width = ImageDraw.Draw(large), size // 8
    for stroke in strokes:
        line = dense(stroke)
        line = line + smooth(rng.normal(0, 0.02, line.shape))  # an unsteady hand
        points = [tuple(p) for p in (0.08 + 0.84 * line) * 4 * size]
        pen.line(points, fill=0, width=width, joint="curve")
        for x, y in (points[0], points[-1]):
            pen.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=0)
    return large.resize((size, size), Image.Resampling.BOX)


def dense(stroke: np.ndarray, step: float = 0.02) -> np.ndarray:
    """A polyline with points about ``step`` apart."""
    pieces = [
        a + (b - a) * np.linspace(0, 1, max(2, round(float(np.linalg.norm(b - a)) / step)))[:, None]
        for a, b in pairwise(stroke)
    ]
    return np.concatenate(pieces)


def smooth(noise: np.ndarray) -> np.ndarray:
    width = min(15, len(noise))
    return np.stack([np.convolve(column, np.ones(width) / width, mode="same") for column in noise.T], axis=1)


def line(*points: float) -> np.ndarray:
    """x, y, x, y, ... -> (N, 2)."""
    return np.array(points, dtype=float).reshape(-1, 2)


def arc(x: float, y: float, rx: float, ry: float, begin: float = 0, end: float = 360) -> np.ndarray:
    """(N, 2) of an ellipse's arc about (x, y), angles in degrees clockwise from the right."""
    angle = np.radians(np.linspace(begin, end, 48))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


DRAWINGS = {
    "house": [
        line(0.15, 0.45, 0.15, 1, 0.85, 1, 0.85, 0.45),
        line(0.02, 0.5, 0.5, 0.05, 0.98, 0.5, 0.02, 0.5),
        line(0.43, 1, 0.43, 0.72, 0.6, 0.72, 0.6, 1),
        line(0.22, 0.6, 0.36, 0.6, 0.36, 0.74, 0.22, 0.74, 0.22, 0.6),
    ],
    "umbrella": [
        arc(0.5, 0.5, 0.48, 0.42, 180, 360),
        arc(0.18, 0.5, 0.16, 0.08, 180, 360),
        arc(0.5, 0.5, 0.16, 0.08, 180, 360),
        arc(0.82, 0.5, 0.16, 0.08, 180, 360),
        np.concatenate([line(0.5, 0.08, 0.5, 0.88), arc(0.41, 0.88, 0.09, 0.1, 0, 170)]),
    ],
    "fish": [
        arc(0.42, 0.5, 0.4, 0.26),
        line(0.8, 0.5, 1, 0.28, 0.97, 0.5, 1, 0.72, 0.8, 0.5),
        arc(0.2, 0.43, 0.03, 0.03),
        arc(0.3, 0.5, 0.1, 0.17, -70, 70),
    ],
    "clock": [
        arc(0.5, 0.5, 0.48, 0.48),
        line(0.5, 0.5, 0.5, 0.18),
        line(0.5, 0.5, 0.74, 0.62),
        *(
            line(0.5 + 0.48 * x, 0.5 + 0.48 * y, 0.5 + 0.4 * x, 0.5 + 0.4 * y)
            for x, y in ((0, -1), (1, 0), (0, 1), (-1, 0))
        ),
    ],
    "helicopter": [
        arc(0.36, 0.6, 0.27, 0.2),
        np.concatenate([line(0.6, 0.52, 0.97, 0.42), line(0.97, 0.5, 0.61, 0.66)]),
        line(0.97, 0.3, 0.97, 0.58),
        line(0.02, 0.3, 0.78, 0.3),
        line(0.38, 0.3, 0.38, 0.4),
        line(0.12, 0.92, 0.64, 0.92),
        line(0.26, 0.79, 0.24, 0.92),
        line(0.48, 0.78, 0.5, 0.92),
        line(0.1, 0.6, 0.3, 0.6, 0.3, 0.43),
    ],
    "rain": [
        np.concatenate(
            [
                arc(0.25, 0.3, 0.2, 0.16, 90, 260),
                arc(0.45, 0.2, 0.22, 0.18, 190, 330),
                arc(0.75, 0.3, 0.2, 0.16, -90, 90),
                line(0.75, 0.46, 0.25, 0.46),
            ]
        ),
        *(
            line(x, y, x - 0.06, y + 0.16)
            for x, y in (
                (0.25, 0.54),
                (0.42, 0.54),
                (0.59, 0.54),
                (0.76, 0.54),
                (0.33, 0.78),
                (0.5, 0.78),
                (0.67, 0.78),
            )
        ),
    ],
}

if __name__ == "__main__":
    main()
