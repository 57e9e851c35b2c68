"""Procedural rooms that show near and far, and the words for it.

A room is a box with furniture in it, seen by a pinhole camera; its depth is known to the pixel. Tiles, boards and
bricks have true sizes and the light fades with distance, so that a small piece of a picture still tells how far it is.
"""

from __future__ import annotations

import numpy as np
import shapes
from render import background, hue, palette, rasterize, shade_faces

# DepthCLIP's depth words and the distances in metres that it gives them (Zhang et al., 2022).
DEPTH_WORDS = ("giant", "extremely close", "close", "not in distance", "a little remote", "far", "unseen")
DEPTH_BINS = np.array([1.00, 1.50, 2.00, 2.25, 2.50, 2.75, 3.00])
FURNITURE = {  # class: (radius of its sphere in metres, stands at a wall)
    "chair": (0.55, False), "table": (0.9, False), "bed": (1.2, True), "sofa": (1.1, True), "desk": (0.85, True),
    "dresser": (0.85, True), "night stand": (0.42, True), "bookshelf": (1.05, True), "wardrobe": (1.2, True),
    "cabinet": (0.75, True), "stool": (0.38, False), "floor lamp": (0.85, False), "house plant": (0.5, False),
    "bench": (0.8, False), "toilet": (0.5, True), "bathtub": (0.95, True), "tv stand": (0.8, True),
    "piano": (0.95, True), "box": (0.4, False), "lamp": (0.4, False), "ladder": (1.1, False), "monitor": (0.4, False),
}  # fmt: skip
_NAMES = tuple(FURNITURE)


def make_captioned(rng: np.random.Generator, size: int = 96) -> tuple[np.ndarray, str]:
    """A picture (size, size, 3) uint8 and one caption with a depth word that is true of it.

    Whole rooms, cut-outs whose content lies at one distance, and single things near or far; no word is rare.
    """
    word = int(rng.integers(len(DEPTH_WORDS)))
    kind = rng.random()
    if kind < (0.65 if word < 2 else 0.3):  # rooms seldom show what is so near
        return _single(rng, size, word)
    if kind < 0.8:
        image, depth, _ = make_room(rng, 2 * size, smooth=False)
        cut = _cut_out(depth, size, DEPTH_BINS[word], rng)
        piece = depth[cut]
        return _resample(image[cut], size), near_far_caption(piece, rng)
    image, depth, objects = make_room(rng, size)
    if objects and rng.random() < 0.5:
        name, distance = objects[int(rng.integers(len(objects)))]
        said = depth_word(distance)
        return image, _choose(rng, f"a room with a {name}, the {name} is {said}", f"the {name} in the room is {said}")
    wall = depth_word(float(np.median(depth[: size // 3])))
    whole = depth_word(float(np.median(depth)))
    return image, _choose(
        rng, f"a room, the wall is {wall}", f"this room is {whole}", f"the things in the room are {whole}"
    )


def near_far_caption(depth: np.ndarray, rng: np.random.Generator) -> str:
    """A caption for a picture whose content lies at the median of `depth` (metres)."""
    said = depth_word(float(np.median(depth)))
    return _choose(rng, f"this object is {said}", f"this is {said}", f"something {said}", f"a surface that is {said}",
                   f"this object is {said}")  # fmt: skip


def depth_word(distance: float) -> str:
    """The word whose distance is nearest: giant up to 1.25 m, unseen from 2.875 m."""
    return DEPTH_WORDS[int(np.argmin(np.abs(DEPTH_BINS - distance)))]


def make_room(
    rng: np.random.Generator, size: int = 96, smooth: bool = True
) -> tuple[np.ndarray, np.ndarray, list[tuple[str, float]]]:
    """A furnished interior: picture (size, size, 3) uint8, depth (size, size) float32 in metres along the optical axis,
    and what stands in it as (class, distance in metres), nearest first; things that are hardly seen are left out.
    """
    fine = 2 * size if smooth else size
    room = np.array([rng.uniform(2.6, 5.5), rng.uniform(2.4, 6.5), rng.uniform(2.3, 3.0)])
    eye = np.array([rng.uniform(0.35, 0.65) * room[0], rng.uniform(0.04, 0.2) * room[1], rng.uniform(0.9, 1.7)])
    turn, pitch = np.radians(rng.normal(0, 18)), np.radians(rng.uniform(-28, 6))
    ahead = np.array([np.sin(turn) * np.cos(pitch), np.cos(turn) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.cos(turn), -np.sin(turn), 0.0])
    axes = np.stack([right, np.cross(right, ahead), ahead])
    focal = fine / (2 * np.tan(np.radians(rng.uniform(50, 75)) / 2))

    grid = (np.arange(fine) + 0.5 - fine / 2) / focal
    rays = (ahead + grid[None, :, None] * right - grid[:, None, None] * axes[1]).astype(np.float32)
    depth, picture = _walls(rays, eye, room, rng)

    # Things are drawn with -1 / depth, which is linear on the screen; the buffer then keeps the nearest.
    objects = []
    spots: list[tuple[float, float, float]] = []
    for _ in range(int(rng.integers(1, 6))):
        name = _NAMES[int(rng.integers(len(_NAMES)))]
        radius, at_wall = FURNITURE[name]
        radius *= rng.uniform(0.9, 1.15)
        mesh = shapes.make(name, rng)
        placed = _place(mesh.vertices * radius, at_wall, room, eye, spots, rng)
        seen = (placed - eye) @ axes.T
        if seen[:, 2].min() < 0.25:
            continue
        screen = np.empty_like(seen, dtype=np.float32)
        screen[:, 0] = seen[:, 0] / seen[:, 2] * focal + fine / 2 - 0.5
        screen[:, 1] = -seen[:, 1] / seen[:, 2] * focal + fine / 2 - 0.5
        screen[:, 2] = -1 / seen[:, 2]
        inverse, face = rasterize(screen, mesh.faces, fine, fine)
        distance = np.where(face >= 0, -1 / np.where(face >= 0, inverse, -1), np.inf).astype(np.float32)
        nearer = distance < depth
        if nearer.sum() < 0.004 * fine * fine:
            continue
        colours = palette(len(mesh.part_names), rng)[mesh.part]
        picture[nearer] = shade_faces(seen, mesh.faces, colours, rng)[face[nearer]]
        objects.append((name, float(np.median(distance[nearer]))))
        depth = np.where(nearer, distance, depth)

    fade = np.exp(-np.maximum(depth - 0.5, 0) * rng.uniform(0.05, 0.3))[..., None]
    picture = picture * fade + rng.choice([0.0, 0.0, 200.0]) * (1 - fade)
    picture += rng.normal(0, rng.uniform(0, 5), depth.shape)[..., None]
    if smooth:
        picture = picture.reshape(size, 2, size, 2, 3).mean((1, 3))
        depth = depth[::2, ::2]
    return (
        np.clip(picture, 0, 255).astype(np.uint8),
        depth.astype(np.float32),
        sorted(objects, key=lambda pair: pair[1]),
    )


def _walls(
    rays: np.ndarray, eye: np.ndarray, room: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Depth and colour of the empty room. A ray advances 1 m along the optical axis, so that its length is depth."""
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.where(rays > 0, (room - eye).astype(np.float32) / rays, -eye.astype(np.float32) / rays)
    reach[~np.isfinite(reach)] = np.inf
    axis = reach.argmin(-1)
    depth = reach.min(-1)
    hit = eye.astype(np.float32) + rays * depth[..., None]
    picture = np.empty((*depth.shape, 3), np.float32)
    wall, light = hue(rng), rng.uniform(0.7, 1.0, 3)
    wall = np.clip(wall + 0.25, 0, 1) if wall.mean() < 0.4 else wall
    x, y, z = hit[..., 0], hit[..., 1], hit[..., 2]
    for k, (u, v) in enumerate(((y, z), (x, z))):
        on = axis == k
        tone = light[k] * _pattern(u, v, depth, rng, ("plain", "brick", "stripe"))
        picture[on] = (wall * 255)[None] * tone[on][:, None]
        for _ in range(int(rng.integers(0, 3))):  # doors, windows, pictures
            kind = rng.integers(3)
            w, h, low = ((0.9, 2.0, 0.0), (rng.uniform(0.7, 1.5), 1.1, 0.9), (rng.uniform(0.3, 0.8), 0.6, 1.3))[kind]
            left = rng.uniform(0.1, max(room[1 - k] - w - 0.1, 0.2))
            far_side = on & ((x > room[0] / 2) if k == 0 else (y > room[1] / 2))
            a, b = (u - left) / w, (v - low) / h
            inside = far_side & (a > 0) & (a < 1) & (b > 0) & (b < 1)
            frame = inside & (
                (np.minimum(a, 1 - a) * w < 0.06) | (np.minimum(b, 1 - b) * h < 0.06) | (np.abs(a - 0.5) * w < 0.025)
            )
            picture[inside] = 255 * (np.array([0.75, 0.88, 1.0]) if kind == 1 else hue(rng))
            picture[frame] = 255 * np.clip(hue(rng) + 0.1, 0, 1)
    floor = axis == 2
    down = floor & (rays[..., 2] < 0)
    tone = _pattern(x, y, depth, rng, ("board", "tile", "plain", "tile", "board"))
    picture[down] = (hue(rng) * 255)[None] * tone[down][:, None]
    picture[floor & ~down] = 255 * np.clip(rng.uniform(0.75, 1.0), 0, 1)
    return depth.astype(np.float32), picture


def _pattern(
    u: np.ndarray, v: np.ndarray, depth: np.ndarray, rng: np.random.Generator, kinds: tuple[str, ...]
) -> np.ndarray:
    """Brightness of a surface at (u, v) metres; the joints blur away where they are finer than the pixels."""
    kind = kinds[int(rng.integers(len(kinds)))]
    if kind == "plain":
        return np.ones_like(u)
    if rng.random() < 0.5:
        u, v = v, u
    joint = rng.uniform(0.5, 0.85)
    if kind == "stripe":
        step = rng.uniform(0.08, 0.2)
        return np.where((u / step) % 2 < 1, 1.0, joint + 0.1)
    wide, high, shift = {"board": (0.14, 1.2, 0.4), "tile": (0.33, 0.33, 0.0), "brick": (0.22, 0.075, 0.5)}[kind]
    if kind == "tile":
        wide = high = rng.uniform(0.2, 0.5)
    row = np.floor(v / high)
    a, b = (u / wide + shift * row) % 1, (v / high) % 1
    thick = 0.012 + 0.003 * depth
    line = (np.minimum(a, 1 - a) * wide < thick) | (np.minimum(b, 1 - b) * high < thick)
    cell = np.sin(np.floor(u / wide + shift * row) * 12.9898 + row * 78.233) * 43758.5453
    tone = 1 - 0.15 * (cell - np.floor(cell))
    return np.where(line, joint, tone)


def _place(
    vertices: np.ndarray,
    at_wall: bool,
    room: np.ndarray,
    eye: np.ndarray,
    spots: list[tuple[float, float, float]],
    rng: np.random.Generator,
) -> np.ndarray:
    """Turn a thing, stand it on the floor, at a wall if it belongs there, and if possible apart from the others."""
    vertices = vertices - (0, 0, vertices[:, 2].min())
    wall = int(rng.integers(3)) if at_wall else -1  # the far wall, the left, the right one
    angle = (0.0, -np.pi / 2, np.pi / 2)[wall] if at_wall else rng.uniform(0, 2 * np.pi)
    if wall in (1, 2):
        angle = -angle
    c, s = np.cos(angle), np.sin(angle)
    vertices = vertices @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    half = np.abs(vertices[:, :2]).max(0)
    low, high = half + 0.02, np.maximum(room[:2] - half - 0.02, half + 0.03)
    low[1] = min(max(low[1], eye[1] + half[1] + 0.5), high[1])
    best = None
    for _ in range(6):
        spot = rng.uniform(low, np.maximum(high, low + 1e-3))
        if wall == 0:
            spot[1] = high[1]
        elif wall > 0:
            spot[0] = low[0] if wall == 1 else high[0]
        size = float(half.max())
        gap = min((np.hypot(spot[0] - x, spot[1] - y) - size - r for x, y, r in spots), default=1.0)
        if best is None or gap > best[0]:
            best = (gap, spot, size)
        if gap > 0:
            break
    _, spot, size = best
    spots.append((float(spot[0]), float(spot[1]), size))
    return vertices + np.array([*spot, 0.0])


def _single(rng: np.random.Generator, size: int, word: int) -> tuple[np.ndarray, str]:
    """One thing at the distance of the word, on a floor or a plain ground, under a fixed field of view."""
    fine = 2 * size
    name = _NAMES[int(rng.integers(len(_NAMES)))]
    mesh = shapes.make(name, rng)
    edges = (DEPTH_BINS[1:] + DEPTH_BINS[:-1]) / 2
    distance = rng.uniform((0.75, *edges)[word], (*edges, 4.5)[word])
    angle, tilt = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(-5, 30))
    c, s = np.cos(angle), np.sin(angle)
    turned = mesh.vertices * min(FURNITURE[name][0], 0.55 * distance) @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    seen = np.stack([turned[:, 0], turned[:, 2] * np.cos(tilt) + turned[:, 1] * np.sin(tilt),
                     turned[:, 1] * np.cos(tilt) - turned[:, 2] * np.sin(tilt) + distance], 1)  # fmt: skip
    focal = fine / (2 * np.tan(np.radians(32)))
    screen = np.stack(
        [seen[:, 0] / seen[:, 2] * focal + fine / 2, -seen[:, 1] / seen[:, 2] * focal + fine / 2, -1 / seen[:, 2]], 1
    )
    _, face = rasterize(screen.astype(np.float32), mesh.faces, fine, fine)
    colours = palette(len(mesh.part_names), rng)
    lit = shade_faces(seen, mesh.faces, colours[mesh.part], rng) * np.exp(-0.12 * distance)
    picture = np.where((face >= 0)[..., None], lit[face], background((fine, fine), rng, colours.mean(0)))
    picture = picture.reshape(size, 2, size, 2, 3).mean((1, 3))
    said = DEPTH_WORDS[word]
    caption = _choose(
        rng, f"this {name} is {said}", f"the {name} is {said}", f"this object is {said}", f"a {name}, {said}"
    )
    return np.clip(picture, 0, 255).astype(np.uint8), caption


def _cut_out(depth: np.ndarray, size: int, target: float, rng: np.random.Generator) -> tuple[slice, slice]:
    """Of some random windows the one that is most nearly at the target distance and nowhere else."""
    best, window = np.inf, (slice(0, size), slice(0, size))
    for _ in range(24):
        side = int(rng.uniform(0.45, 0.85) * size)
        row, column = (int(k) for k in rng.integers(0, depth.shape[0] - side + 1, 2))
        here = (slice(row, row + side), slice(column, column + side))
        low, middle, high = np.quantile(depth[here][::4, ::4], (0.15, 0.5, 0.85))
        cost = abs(middle - min(target, max(middle, 3.0) if target >= 3 else target)) + 0.7 * (high - low)
        if cost < best:
            best, window = cost, here
    return window


def _resample(image: np.ndarray, size: int) -> np.ndarray:
    """The nearest pixels; a cut-out is close to the size wanted already."""
    index = (np.arange(size) + 0.5) * len(image) / size
    return image[index.astype(int)][:, index.astype(int)]


def _choose(rng: np.random.Generator, *options: str) -> str:
    return options[int(rng.integers(len(options)))]
