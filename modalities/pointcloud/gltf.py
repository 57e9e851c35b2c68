"""glTF 2.0: a scene in JSON and the numbers it names, in one binary file (.glb), or beside it or in it (.gltf).

An own reader, as general ones take sparse and compressed numbers for zeros, leave fans of triangles out without a word
and unpack what a small hostile scene repeats.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from typing import Any
from urllib.parse import unquote

import numpy as np

from clipx.errors import FileError
from clipx.files import read_bytes
from clipx.modalities.pointcloud.geometry import Geometry
from clipx.modalities.pointcloud.parsing import MAX_MESH_BYTES, Sample, require_mesh_bytes, require_rows, to_colors

MAX_JSON_BYTES = 2**24
MAX_SCENE_ROWS = 2**24  # vertices and triangles of a scene, in which one mesh may stand many times
_TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
_POINTS, _TRIANGLES, _STRIP, _FAN = 0, 4, 5, 6
_REMEDY = "save it without compression (in Blender's export: no tick at Compression)"
_COMPRESSIONS = {"KHR_draco_mesh_compression": "Draco", "EXT_meshopt_compression": "meshopt"}


def read_gltf(data: bytes, sample: Sample) -> Geometry:
    """Bytes of a file -> the triangles of its scene, or its points where there are none, each where its node puts it;
    colours where every vertex has one. y is up in glTF. Lines, materials, skins and morphs are left unread.

    Raises ValueError, and whatever a scene of the wrong shape leads to. FileError: a buffer beside the file is missing.
    """
    require_mesh_bytes(data)
    if data[:4] == b"glTF":
        gltf, inside = _chunks(data)
    elif len(data) > MAX_JSON_BYTES:
        raise ValueError(f"a scene of more than {MAX_JSON_BYTES:,} bytes")
    else:
        gltf, inside = json.loads(data.decode("utf-8-sig")), None
    if not isinstance(gltf, dict) or not str(gltf.get("asset", {}).get("version", "2")).startswith("2"):
        raise ValueError("no scene of glTF 2")
    for name, who in _COMPRESSIONS.items():
        if name in gltf.get("extensionsRequired", []):
            raise ValueError(f"its numbers are compressed by {who} ({name}), which is not read; {_REMEDY}")
    numbers = _Buffers(gltf, inside, sample)
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
    points = np.concatenate([part[0] for part in kept])
    return Geometry(
        points,
        triangles if len(triangles) else None,
        up="y",
        colors=to_colors(np.concatenate(colored), points, sample, 1) if len(colored) == len(kept) else None,
    )


class _Buffers:
    """The buffers of a scene, each read when it is first asked for.

    Args:
        gltf: the scene.
        inside: the numbers that stand in a .glb.
        sample: names the file.
    """

    def __init__(self, gltf: dict[str, Any], inside: bytes | None, sample: Sample):
        self._about, self._inside, self._sample = gltf.get("buffers", []), inside, sample
        self._read: dict[int, bytes] = {}

    def __getitem__(self, index: int) -> bytes:
        """Raises ValueError, or FileError where a file beside the scene cannot be read."""
        if index not in self._read:
            self._read[index] = self._find(index)
            if sum(map(len, self._read.values())) > MAX_MESH_BYTES:
                raise ValueError(f"buffers of more than {MAX_MESH_BYTES:,} bytes; simplify it")
        return self._read[index]

    def _find(self, index: int) -> bytes:
        if index < 0:
            raise ValueError(f"a buffer of number {index}")
        uri, path = self._about[index].get("uri"), self._sample.path
        if uri is None:
            if index == 0 and self._inside is not None:
                return self._inside
            raise ValueError(f"its buffer {index} has no numbers; {_REMEDY}")
        if uri[:5].lower() == "data:":
            head, _, body = uri.partition(",")
            return b64decode(unquote(body)) if head.lower().endswith(";base64") else unquote(body).encode("latin-1")
        name = unquote(uri)
        if path is None or re.match(r"[a-zA-Z][\w+.-]*:|[/\\\\]", name) or "\0" in name:
            raise ValueError(f"its numbers lie in {uri[:60]!r}, which is not beside it; export one .glb")
        beside, folder = (path.parent / name).resolve(), path.parent.resolve()
        if not beside.is_relative_to(folder):
            raise ValueError(f"its numbers lie in {uri[:60]!r}, outside of its folder; export one .glb")
        try:
            data = read_bytes(beside, (beside.suffix.lower(),), MAX_MESH_BYTES)
        except FileError as error:
            what = f"its numbers lie in {name[:60]!r}: {error.what}"
            raise FileError(what, remedy="put that file beside it, or export one .glb") from error
        require_rows(self._about[index].get("byteLength", 0), len(data), f"bytes of {name[:60]}")
        return data


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
    todo, visited, placed = [(root, np.eye(4)) for root in roots], set(), []
    while todo:
        i, outer = todo.pop()
        if i in visited:
            raise ValueError("a node stands in two places")
        visited.add(i)
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


def _accessor(gltf: dict[str, Any], numbers: _Buffers, index: int) -> np.ndarray:
    """(count, width) of an accessor's numbers, without a copy; normalised integers are divided by their greatest."""
    about = gltf["accessors"][index]
    if "bufferView" not in about or "sparse" in about:
        raise ValueError(f"compressed or sparse numbers are not read; {_REMEDY}")
    view = gltf["bufferViews"][about["bufferView"]]
    type, width, count = np.dtype(_TYPES[about["componentType"]]), _WIDTHS[about["type"]], about["count"]
    stride = view.get("byteStride", type.itemsize * width)
    inner, offset = about.get("byteOffset", 0), view.get("byteOffset", 0)
    if min(count, inner, offset) < 0 or stride < type.itemsize * width:
        raise ValueError("numbers that overlap, or of a negative place")
    require_rows(inner + (count - 1) * stride + type.itemsize * width, view["byteLength"], "bytes of numbers")
    values = np.ndarray(
        (count, width), type, numbers[view["buffer"]], offset + inner, (stride, type.itemsize)
    )  # checks its bounds
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
