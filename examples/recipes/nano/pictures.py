"""The pictures that nano learns from: loaded, drawn from strokes or procedural shapes, and varied for every batch."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import render
import rooms
import shapes
import torch
import torch.nn.functional as F
from torch import Tensor

from clipx.errors import FileError
from clipx.files import write_whole
from clipx.modalities.pointcloud.projection import pointclip_v1, to_input

MODELNET10 = ("bathtub", "bed", "chair", "desk", "dresser", "monitor", "night stand", "sofa", "table", "toilet")
RENDER_STYLES = {"rendering": "rendering", "silhouette": "silhouette", "depth_near_dark": "depth map",
                 "depth_near_bright": "depth map", "line": "sketch", "points": "point cloud"}  # fmt: skip
SIDE = 96  # of everything drawn here
REDRAWN = 9  # times that a sketch is drawn again from its strokes


def generator(seed: int, options: dict) -> str:
    """A name for everything that what is drawn here depends on."""
    folder = Path(__file__).parent
    files = [folder / name for name in ("solids.py", "render.py", "rooms.py", "pictures.py")]
    code = b"".join(path.read_bytes() for path in [*files, *sorted((folder / "shapes").glob("*.py"))])
    kept = {name: options[name] for name in ("shapes_of_modelnet10", "shapes_of_others", "rooms")}
    return hashlib.sha256(code + json.dumps([seed, kept], sort_keys=True).encode()).hexdigest()[:12]


# --------------------------------------------------------------------------------------------------------- loading


def load_photos(folder: Path, split: str, files: dict[str, str]) -> tuple[np.ndarray, list[str]]:
    """The photos of a split, squashed to (N, 3, 116, 116) uint8, and their labels; content hashes go to ``files``."""
    from PIL import Image

    rows = [row for row in _table(folder) if _split(row) == split]
    pictures = np.empty((len(rows), 3, 116, 116), np.uint8)
    for i, row in enumerate(rows):
        with Image.open(folder / row["path"]) as picture:
            squashed = picture.convert("RGB").resize((116, 116), Image.Resampling.BICUBIC)
        pictures[i] = np.asarray(squashed).transpose(2, 0, 1)
        files[f"{folder.name}/{row['path']}"] = hashlib.sha256((folder / row["path"]).read_bytes()).hexdigest()
    return pictures, [row["label"] for row in rows]


def sketches(folder: Path, cache: Path, seed: int, files: dict[str, str]) -> tuple[np.ndarray, list[str]]:
    """Training sketches (N, 1, 96, 96), each as the data set's own picture and drawn again from its strokes."""
    rows = [row for row in _table(folder) if row["split"] == "train"]
    kept = np.load(folder / "quickdraw_64.npz", allow_pickle=False)["images"]
    bitmaps = kept[[int(row["npz_index"]) for row in rows]]
    drawings = {}
    for line in (folder / "quickdraw_simplified.ndjson").read_text().splitlines():
        entry = json.loads(line)
        drawings[entry["word"], entry["key_id"]] = entry["drawing"]
    strokes = [drawings[row["label"], row["key_id"]] for row in rows]
    files["quickdraw"] = hashlib.sha256(json.dumps(strokes).encode() + bitmaps.tobytes()).hexdigest()

    def draw() -> np.ndarray:
        rng = np.random.default_rng([seed, 1])
        return np.stack([draw_strokes(s, rng) for _ in range(REDRAWN) for s in strokes])

    drawn = _cached(cache / "quickdraw.npy", draw)
    bitmaps = resize(bitmaps[:, None], SIDE).numpy()
    return np.concatenate([bitmaps, drawn[:, None]]), [row["label"] for row in rows] * (1 + REDRAWN)


def _table(folder: Path) -> Iterator[dict[str, str]]:
    path = folder / "labels.csv"
    if not path.exists():
        raise FileError("no labels.csv", where=folder, remedy="--data names the folder that holds images/")
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _split(row: dict[str, str]) -> str:
    """Grocery photos of one shelf are close in time: their authors' own split is the clean one."""
    if "official_split" in row:
        return "test" if row["official_split"] == "test" else "train"
    return row["split"]


# --------------------------------------------------------------------------------------------------------- drawing


def procedural(cache: Path, seed: int, options: dict) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """The procedural shapes: labels, styles, pictures (N, 3, 96, 96) and clouds (N, 1024, 3), z up."""
    many, few = options["shapes_of_modelnet10"], options["shapes_of_others"]
    labels = [name for name in shapes.CLASSES for _ in range(many if name in MODELNET10 else few)]
    styles = list(RENDER_STYLES)

    def mesh(number: int):
        rng = np.random.default_rng([seed, 2, number])
        return shapes.make(labels[number], rng), rng

    def pictures() -> np.ndarray:
        made = (mesh(n) for n in range(len(labels)))
        return np.stack([render.render(m, rng, SIDE, styles[n % len(styles)]) for n, (m, rng) in enumerate(made)])

    def clouds() -> np.ndarray:
        made = (mesh(n) for n in range(len(labels)))
        return np.stack([render.sample_points(m, 1024, rng, even=True) for m, rng in made]).astype(np.float16)

    shown = _cached(cache / "renders.npy", pictures).transpose(0, 3, 1, 2)
    names = [RENDER_STYLES[styles[n % len(styles)]] for n in range(len(labels))]
    return labels, names, shown, _cached(cache / "clouds.npy", clouds)


def rooms_said(cache: Path, seed: int, options: dict) -> tuple[np.ndarray, list[str]]:
    """Procedural rooms (N, 3, 96, 96) with near and far things, and what each caption says."""

    def make() -> np.ndarray:
        made, said = [], []
        for number in range(options["rooms"]):
            picture, caption = rooms.make_captioned(np.random.default_rng([seed, 3, number]), SIDE)
            made.append(picture)
            said.append(caption)
        (cache / "rooms.json").write_text(json.dumps(said))
        return np.stack(made)

    shown = _cached(cache / "rooms.npy", make).transpose(0, 3, 1, 2)
    return shown, json.loads((cache / "rooms.json").read_text())


def draw_strokes(strokes: list, rng: np.random.Generator, size: int = SIDE) -> np.ndarray:
    """A QuickDraw drawing (strokes of x and y in 0..255) as a (size, size) uint8 picture, black on white.

    As another hand might have drawn it: the plane is bent, each stroke moved, turned and stretched, a few left out.
    """
    from PIL import Image, ImageDraw

    scale = 2
    canvas = Image.new("L", (size * scale, size * scale), 255)
    pen = ImageDraw.Draw(canvas)
    corner, factor = rng.uniform(0.02, 0.1, 2), rng.uniform(0.8, 0.9, 2)
    width = int(rng.integers(3, 8))
    high = max(max(max(xs), max(ys)) for xs, ys in strokes) or 1
    bend, wave, phase = rng.normal(0, 0.03, 2), rng.uniform(2, 6, 2), rng.uniform(0, 2 * np.pi, 2)
    for xs, ys in strokes:
        if len(strokes) > 3 and rng.random() < 0.06:
            continue
        xy = np.stack([xs, ys], 1) / high
        middle, turn = xy.mean(0), rng.normal(0, 0.06)
        matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * rng.normal(1, 0.05, (2, 1))
        xy = (xy - middle) @ matrix.T + middle + rng.normal(0, 0.012, 2) + rng.normal(0, 0.004, xy.shape)
        xy += bend * np.sin(xy[:, ::-1] * wave + phase)
        line = [tuple(p) for p in (xy * factor + corner) * size * scale]
        pen.line(line, fill=0, width=width, joint="curve")
    return np.asarray(canvas.resize((size, size), Image.Resampling.BOX))


def _cached(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    if not path.exists():
        array = make()
        write_whole(path, lambda part: np.save(part, array, allow_pickle=False))
    return np.load(path, allow_pickle=False)


# --------------------------------------------------------------------------------------------------------- varying


def augment(pictures: Tensor, size: int, rng: np.random.Generator, photo: bool) -> Tensor:
    """Random crop, proportion, turn, mirror, and for photos light and colour: (n, C, R, R) -> (n, 3, size, size)."""
    n = len(pictures)
    pictures = pictures.expand(-1, 3, -1, -1)
    if not n:
        return pictures.new_zeros(0, 3, size, size)
    area = rng.uniform(0.45 if photo else 0.9, 1.0 if photo else 1.5, n)
    aspect = np.exp(rng.uniform(-0.25, 0.25, n))
    width, height = np.sqrt(area * aspect).clip(max=1.25), np.sqrt(area / aspect).clip(max=1.25)
    if photo:
        width, height = width.clip(max=1.0), height.clip(max=1.0)
    angle = rng.normal(0, 0.1 if photo else 0.12, n)
    mirror = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    theta = np.zeros((n, 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 0, 1] = width * np.cos(angle) * mirror, -height * np.sin(angle)
    theta[:, 1, 0], theta[:, 1, 1] = width * np.sin(angle) * mirror, height * np.cos(angle)
    theta[:, 0, 2] = rng.uniform(-1, 1, n) * np.abs(1 - width)
    theta[:, 1, 2] = rng.uniform(-1, 1, n) * np.abs(1 - height)
    grid = F.affine_grid(torch.from_numpy(theta), [n, 3, size, size], align_corners=False)
    out = F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)
    if photo:
        light, contrast, colour = (
            torch.from_numpy(np.exp(rng.normal(0, s, n)).astype(np.float32)).view(n, 1, 1, 1) for s in (0.2, 0.2, 0.3)
        )
        colour[torch.from_numpy(rng.random(n) < 0.1)] = 0.0
        grey = out.mean(1, keepdim=True)
        out = (grey + (out - grey) * colour) * light
        middle = out.mean((1, 2, 3), keepdim=True)
        out = (middle + (out - middle) * contrast).clamp(0, 1)
    return out


def cutmix(pixels: Tensor, targets: Tensor, ignore: Tensor, rows: np.ndarray, rng: np.random.Generator) -> None:
    """Paste a box of one picture into another and mix their targets by area, in place (CutMix, Yun et al. 2019)."""
    if len(rows) < 2:
        return
    size = pixels.shape[-1]
    other = np.roll(rows, 1)
    source, wanted = pixels[other].clone(), targets[other].clone()
    ignore[rows] |= ignore[other]
    for k, row in enumerate(rows):
        height, width = (np.sqrt(rng.beta(1, 1, 2)) * size * 0.75).astype(int)
        top, left = int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1))
        pixels[row, :, top : top + height, left : left + width] = source[k, :, top : top + height, left : left + width]
        kept = 1 - height * width / size**2
        targets[row] = kept * targets[row] / targets[row].sum() + (1 - kept) * wanted[k] / wanted[k].sum()


def cloud_views(points: np.ndarray, size: int, rng: np.random.Generator) -> Tensor:
    """One PointCLIP V1 view of each cloud (z up), after a turn about the vertical, stretching, jitter and dropping."""
    n = len(points)
    if not n:
        return torch.zeros(0, 3, size, size)
    angle = rng.integers(4, size=n) * (np.pi / 2) + rng.normal(0, 0.12, n)
    x, y, z = np.moveaxis(points.astype(np.float32), 2, 0)
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    turned = np.stack([c * x - s * y, z, -(s * x + c * y)], 2)  # y up
    turned *= np.exp(rng.uniform(-0.22, 0.22, (n, 1, 3)))
    turned += rng.normal(0, 0.006, turned.shape)
    turned -= turned.mean(1, keepdims=True)
    turned /= np.linalg.norm(turned, axis=2).max(1)[:, None, None]
    views = pointclip_v1(torch.from_numpy(turned.astype(np.float32)))
    return to_input(views[torch.arange(n), torch.from_numpy(rng.integers(6, size=n))], size)


def resize(pictures: np.ndarray, side: int) -> Tensor:
    """(N, C, R, R) uint8 -> (N, C, side, side) uint8, antialiased, a thousand at a time."""
    parts = (torch.from_numpy(np.ascontiguousarray(pictures[i : i + 1000])) for i in range(0, len(pictures), 1000))
    return torch.cat([F.interpolate(p, (side, side), mode="bilinear", antialias=True) for p in parts])
