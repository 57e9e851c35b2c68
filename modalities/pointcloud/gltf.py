"""GLB, the binary form of glTF 2.0: a scene in JSON, and the numbers it names.

An own reader, as general ones take sparse and compressed numbers for zeros, leave fans of triangles out without a word
and unpack what a small hostile scene repeats.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from clipx.modalities.pointcloud.geometry import Geometry
from clipx.modalities.pointcloud.parsing import Sample, require_mesh_bytes, require_rows, to_colors

MAX_JSON_BYTES = 2**24
MAX_SCENE_ROWS = 2**24  # vertices and triangles of a scene, in which one mesh may stand many times
_TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
_POINTS, _TRIANGLES, _STRIP, _FAN = 0, 4, 5, 6


def read_glb(data: bytes, sample: Sample) -> Geometry:
    """Bytes of a file -> the triangles of its scene, or its points where there are none, each where its node puts it;
    colours where every vertex has one. y is up in glTF. Lines, materials, skins and morphs are left unread.

    Raises ValueError, and whatever a scene of the wrong shape leads to.
    """
    require_mesh_bytes(data)
    gltf, numbers = _chunks(data)
    parts: dict[bool, list[tuple[np.ndarray, np.ndarray, np.ndarray | None]]] = {False: [], True: []}  # by: is a mesh
    rows = 0
    for mesh, matrix in _placed_meshes(gltf):
        for primitive in gltf["meshes"][mesh]["primitives"]:
            mode, names = primitive.get("mode", _TRIANGLES), primitive["attributes"]
            points = _accessor(gltf, numbers, names["POSITION"])
            order = _accessor(gltf, numbers, primitive["indices"])[:, 0] if "indices" in primitive else None
            rows += 1 + len(points) + (0 if order is None else len(order))
            if rows > MAX_SCENE_ROWS:
                raise ValueError(f"more than {MAX_SCENE_ROWS:,} vertices and corners; simplify it")
            triangles = _triangles(mode, np.arange(len(points)) if order is None else order.astype(np.int64))
            if np.linalg.det(matrix[:3, :3]) < 0:  # a mirror turns the corners round
                triangles = triangles[:, ::-1]
            colors = _accessor(gltf, numbers, names["COLOR_0"])[:, :3] if "COLOR_0" in names else None
            if len(triangles) or mode == _POINTS:
                placed = points.astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
                parts[mode != _POINTS].append((placed, triangles, colors))
    kept = parts[True] or parts[False]
    if not kept:
        raise ValueError("the scene has no triangles and no points")
    firsts = np.cumsum([0, *(len(points) for points, _, _ in kept)])
    triangles = np.concatenate([first + part[1] for first, part in zip(firsts, kept, strict=False)])
    colored = [part[2] for part in kept if part[2] is not None]
    return Geometry(
        np.concatenate([points for points, _, _ in kept]),
        triangles if len(triangles) else None,
        up="y",
        colors=to_colors(np.concatenate(colored), 1) if len(colored) == len(kept) else None,
    )


def _chunks(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The scene and the numbers of a file."""
    version, length = (int.from_bytes(data[at : at + 4], "little") for at in (4, 8))
    if data[:4] != b"glTF" or version != 2:
        raise ValueError("no binary glTF 2")
    require_rows(length, len(data), "bytes")
    chunks: list[tuple[bytes, bytes]] = []
    at = 12
    while at < length and len(chunks) < 2:
        size = int.from_bytes(data[at : at + 4], "little")
        require_rows(at + 8 + size, length, "bytes")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 8 + size
    if not chunks or chunks[0][0] != b"JSON" or len(chunks[0][1]) > MAX_JSON_BYTES:
        raise ValueError(f"no scene, or one of more than {MAX_JSON_BYTES:,} bytes")
    return json.loads(chunks[0][1]), chunks[1][1] if chunks[1:] and chunks[1][0] == b"BIN\0" else b""


def _placed_meshes(gltf: dict[str, Any]) -> list[tuple[int, np.ndarray]]:
    """(mesh, its (4, 4) transform) for every node of the scene that shows one."""
    nodes = gltf.get("nodes", [])
    children = {child for node in nodes for child in node.get("children", [])}
    roots = [i for i in range(len(nodes)) if i not in children]
    if gltf.get("scenes"):
        roots = gltf["scenes"][gltf.get("scene", 0)].get("nodes", [])
    todo, seen, placed = [(root, np.eye(4)) for root in roots], set(), []
    while todo:
        i, outer = todo.pop()
        if i in seen:
            raise ValueError("a node stands in two places")
        seen.add(i)
        matrix = outer @ _transform(nodes[i])
        if "mesh" in nodes[i]:
            placed.append((nodes[i]["mesh"], matrix))
        todo += [(child, matrix) for child in nodes[i].get("children", [])]
    return placed


def _transform(node: dict[str, Any]) -> np.ndarray:
    """A node's own (4, 4): a matrix stored by columns, or scaled, turned by a quaternion, then moved."""
    if "matrix" in node:
        return np.array(node["matrix"], float).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", [0, 0, 0, 1]), float)
    turn = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(turn) * np.array(node.get("scale", [1, 1, 1]), float)
    matrix[:3, 3] = node.get("translation", [0, 0, 0])
    return matrix


def _accessor(gltf: dict[str, Any], numbers: bytes, index: int) -> np.ndarray:
    """(count, width) of an accessor's numbers, without a copy; normalised integers are divided by their greatest."""
    about = gltf["accessors"][index]
    if "bufferView" not in about or "sparse" in about:
        raise ValueError("compressed or sparse numbers are not read; save the mesh without compression")
    view = gltf["bufferViews"][about["bufferView"]]
    if view["buffer"] != 0 or "uri" in gltf["buffers"][0]:
        raise ValueError("its numbers lie outside of the file; embed them")
    type, width, count = np.dtype(_TYPES[about["componentType"]]), _WIDTHS[about["type"]], about["count"]
    stride = view.get("byteStride", type.itemsize * width)
    inner, offset = about.get("byteOffset", 0), view.get("byteOffset", 0)
    if min(count, inner, offset) < 0 or stride < type.itemsize * width:
        raise ValueError("numbers that overlap, or of a negative place")
    require_rows(inner + (count - 1) * stride + type.itemsize * width, view["byteLength"], "bytes of numbers")
    values = np.ndarray((count, width), type, numbers, offset + inner, (stride, type.itemsize))  # checks its bounds
    return values / np.iinfo(type).max if about.get("normalized") else values


def _triangles(mode: int, order: np.ndarray) -> np.ndarray:
    """The (F, 3) triangles of corners in this order; none for points and lines."""
    if mode == _TRIANGLES:
        return order.reshape(-1, 3)
    if mode == _STRIP:  # every second one turns the other way
        strip = np.stack([order[:-2], order[1:-1], order[2:]], axis=1)
        strip[1::2] = strip[1::2, [1, 0, 2]]
        return strip
    if mode == _FAN:
        return np.stack([np.broadcast_to(order[:1], len(order) - 2), order[1:-1], order[2:]], axis=1)
    return np.empty((0, 3), np.int64)
