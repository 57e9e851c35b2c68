"""Readers of point clouds and meshes: .ply .off .obj .stl .xyz .npy .npz.

They read positions, faces and the up axis and leave everything else (colours, normals, materials) unread; no file makes
them open another. They are strict where general mesh libraries are lenient: a file cut short is an error, not a smaller
cloud, and what a header promises is compared with what the file can hold before anything is allocated.
"""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clipx.errors import FileError, InputError
from clipx.files import read_array, read_bytes, read_npz


@dataclass(frozen=True)
class Geometry:
    """What a file holds.

    Args:
        points: (P, 3) float64, in the file's own frame and unit. Of a mesh: its vertices.
        triangles: (F, 3) int64 rows of ``points``; None for a cloud.
        up: ``"x"``, ``"y"`` or ``"z"`` where the file says so.
    """

    points: np.ndarray
    triangles: np.ndarray | None = None
    up: str | None = None


def read_geometry(path: str | PathLike) -> Geometry:
    """Read a point cloud or a mesh.

    ``.npy`` holds (P, 3) numbers; ``.npz`` holds them under ``points`` and may name its ``up`` axis. Polygons are cut
    into fans of triangles. A ``.ply`` without faces and an ``.obj`` of vertices only are clouds; ``.off`` and ``.stl``
    are for meshes.

    Raises:
        FileError: the file is missing, truncated, hostile or not what its suffix says, too large (256 MB; 64 MB of
            text, which takes twelve times that to read), holds no points, or is an ``.off`` or ``.stl`` without faces.
    """
    data = read_bytes(path, tuple(READERS))
    suffix = Path(path).suffix.lower()
    try:
        found = READERS[suffix](data)
    except Exception as error:  # whatever a parser trips over in a damaged file
        raise FileError(f"not a readable {suffix} file: {error or type(error).__name__}", where=path) from error
    if found.triangles is None and suffix in MESHES_ONLY:
        raise FileError("is a mesh without faces", where=path, remedy="save a cloud as .ply or .xyz")
    if not len(found.points):
        raise FileError("holds no points", where=path)
    if not np.isfinite(found.points).all():
        raise FileError("has NaN or infinite coordinates", where=path)
    if found.triangles is not None and ((found.triangles < 0) | (found.triangles >= len(found.points))).any():
        raise FileError(f"has a face with a corner that is none of its {len(found.points):,} vertices", where=path)
    return found


def sample_surface(
    points: np.ndarray, triangles: np.ndarray, count: int, seed: int, where: str | None = None
) -> np.ndarray:
    """Points drawn uniformly from the surface of a mesh.

    Args:
        points: (P, 3) vertices.
        triangles: (F, 3) rows of ``points``.
        count: how many to draw.
        seed: the same seed draws the same points.
        where: the mesh's name, for the message.

    Returns:
        (count, 3) float64.

    Raises:
        InputError: the surface has no area.
    """
    corner, *others = (points[triangles[:, i]] for i in range(3))  # (F, 3)
    edges = [other - corner for other in others]
    ends = np.cumsum(np.linalg.norm(np.cross(*edges), axis=1))
    if not (len(ends) and 0 < ends[-1] < math.inf):
        raise InputError(f"the mesh has {len(triangles):,} faces but no area to draw points from", where=where)
    rng = np.random.default_rng(seed)
    drawn = np.searchsorted(ends, rng.random(count) * ends[-1], side="right").clip(max=len(ends) - 1)
    u, v = rng.random((2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)  # fold the parallelogram onto the triangle
    return corner[drawn] + u * edges[0][drawn] + v * edges[1][drawn]


# One reader a suffix: bytes -> Geometry. Each raises ValueError, or whatever numpy does, on a bad file.


def _read_ply(data: bytes) -> Geometry:
    elements, format, start = _ply_header(data)
    if format == "ascii":
        tables = _ply_ascii(elements, data[start:])
    else:
        tables = _ply_binary(elements, data, start, "<" if format == "binary_little_endian" else ">")
    vertex, face = tables.get("vertex", {}), tables.get("face", {})
    if not {"x", "y", "z"} <= vertex.keys():
        raise ValueError("no vertices with x, y and z")
    points = np.stack([vertex[axis].values.astype(np.float64) for axis in "xyz"], axis=1)
    faces = next((face[name] for name in _CORNERS if name in face), None)
    return Geometry(points, None if faces is None else _fans(faces.values, faces.sizes))


def _read_off(data: bytes) -> Geometry:
    lines = _lines(data, comment="#")
    # ModelNet's files run the counts into the first line: OFF490 518 0
    header = re.match(r"(?:ST)?C?N?OFF\s*(.*)$", lines[0]) if lines else None
    if header is None:
        raise ValueError("the first line is not OFF")
    counts, *body = [header[1], *lines[1:]] if header[1] else lines[1:]
    vertex_count, face_count = (_count(word) for word in counts.split()[:2])
    _require_rows(vertex_count + face_count, len(body))
    corners, sizes = [], []
    for line in body[vertex_count : vertex_count + face_count]:
        size, *row = map(int, line.split()[: 1 + int(line.split(None, 1)[0])])  # what follows is colour
        _require_rows(size, len(row), "corners of a face")
        corners += row
        sizes.append(_polygon(size))
    return Geometry(_numbers(body[:vertex_count]), _fans(corners, sizes))


def _read_obj(data: bytes) -> Geometry:
    vertices: list[str] = []
    corners: list[int] = []
    sizes: list[int] = []
    for line in _lines(data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" "), comment="#"):
        key, _, rest = line.partition(" ")
        if key == "v":
            vertices.append(rest)
        elif key == "f":
            row = [int(word.split("/", 1)[0]) for word in rest.split()]
            if 0 in row:
                raise ValueError("a face names vertex 0, but OBJ counts from 1")
            corners += (i - 1 if i > 0 else len(vertices) + i for i in row)  # -1 is the last vertex so far
            sizes.append(_polygon(len(row)))
    return Geometry(_numbers(vertices), _fans(corners, sizes))


def _read_stl(data: bytes) -> Geometry:
    promised = 84 + 50 * int.from_bytes(data[80:84], "little") if len(data) >= 84 else None
    if promised == len(data):  # first, for some binary files begin with "solid" too
        facet = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
        points = np.frombuffer(data, facet, offset=84)["corners"].reshape(-1, 3)
    elif data.lstrip()[:5].lower() == b"solid":
        lines = [line.lower() for line in _lines(data)]
        if not lines[-1].startswith("endsolid"):
            raise ValueError("the file is cut short: endsolid is missing")
        points = _numbers([line.removeprefix("vertex") for line in lines if line.startswith("vertex")])
    else:
        raise ValueError(f"neither text nor a binary file of the size its header promises ({promised} bytes)")
    if len(points) % 3:
        raise ValueError(f"{len(points)} corners do not make triangles")
    return Geometry(points.astype(np.float64), np.arange(len(points)).reshape(-1, 3) if len(points) else None)


def _read_xyz(data: bytes) -> Geometry:
    return Geometry(_numbers(_lines(data.replace(b",", b" ").replace(b";", b" "), comment="#")))


def _read_npy(data: bytes) -> Geometry:
    return Geometry(_points(read_array(io.BytesIO(data), len(data))))


def _read_npz(data: bytes) -> Geometry:
    arrays = read_npz(io.BytesIO(data), names=("points", "up"))
    if "points" not in arrays:
        raise ValueError("no array named 'points'")
    up = str(arrays["up"]) if "up" in arrays else None
    if up not in (None, "x", "y", "z"):
        raise ValueError(f"up must be x, y or z, got {up[:20]!r}")
    return Geometry(_points(arrays["points"]), up=up)


def _points(array: np.ndarray) -> np.ndarray:
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "fiu":
        raise ValueError(f"points must be (P, 3) numbers, got {array.shape} {array.dtype}")
    return array.astype(np.float64)


READERS = {
    ".ply": _read_ply,
    ".off": _read_off,
    ".obj": _read_obj,
    ".stl": _read_stl,
    ".xyz": _read_xyz,
    ".npy": _read_npy,
    ".npz": _read_npz,
}
MESHES_ONLY = (".off", ".stl")
MAX_TEXT_BYTES = 64 * 2**20
MAX_RAGGED_ROWS = 2**22  # rows of differing length are read one by one, about a million a second

# PLY: a text header that declares tables, then their rows as text or packed.

_CORNERS = ("vertex_indices", "vertex_index")  # the two names of a face's list
_PLY_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4"},
    **{"double": "f8", "float64": "f8"},
}


@dataclass(frozen=True)
class _Element:
    """A table: its rows, and of each property the numpy types of the list's length (None: no list) and of the value."""

    name: str
    count: int
    properties: dict[str, tuple[str | None, str]] = field(default_factory=dict)

    def least_bytes(self, text: bool) -> int:
        """The fewest bytes the rows can take: a digit and a blank a value, or the packed size with empty lists."""
        return self.count * sum(2 if text else int((n or item)[1]) for n, item in self.properties.values())


class _Column(NamedTuple):
    """The values of one property, row after row; ``sizes`` tells how many each row has."""

    values: np.ndarray
    sizes: np.ndarray


def _ply_header(data: bytes) -> tuple[list[_Element], str, int]:
    """Elements, format, and where the body starts."""
    end = re.search(rb"^end_header[ \t]*\r?\n", data[:65536], re.MULTILINE)
    if not re.match(rb"ply\s", data) or end is None:
        raise ValueError("no PLY header")
    elements: list[_Element] = []
    declared: list[tuple[str, str]] = []
    format = ""
    for line in data[: end.start()].decode("latin-1").splitlines()[1:]:
        match line.split():
            case ["format", "ascii" | "binary_little_endian" | "binary_big_endian" as format, *_]:
                pass
            case ["element", name, count]:
                elements.append(_Element(name, _count(count)))
            case ["property", "list", length, item, name] if elements and {length, item} <= _PLY_TYPES.keys():
                declared.append((elements[-1].name, name))
                elements[-1].properties[name] = _PLY_TYPES[length], _PLY_TYPES[item]
            case ["property", item, name] if elements and item in _PLY_TYPES:
                declared.append((elements[-1].name, name))
                elements[-1].properties[name] = None, _PLY_TYPES[item]
            case [] | ["comment" | "obj_info", *_]:
                pass
            case _:
                raise ValueError(f"header line {line[:40]!r}")
    if not format:
        raise ValueError("the header names no format")
    if len(set(declared)) < len(declared) or len({element.name for element in elements}) < len(elements):
        raise ValueError("the header declares something twice")
    if any(element.count and not element.properties for element in elements):
        raise ValueError("an element has rows but no properties")
    least, left = sum(e.least_bytes(format == "ascii") for e in elements), len(data) - end.end()
    if least > left + 1:  # the last value of a text needs no blank after it
        raise ValueError(f"the header promises at least {least:,} bytes, the file holds {left:,}")
    return elements, format, end.end()


def _size(name: str, word: Any) -> int:
    """The length of a list; a face without area is refused here, before millions of them are read."""
    size = _count(word)
    return _polygon(size) if name in _CORNERS else size


def _ply_ascii(elements: Sequence[_Element], body: bytes) -> dict[str, dict[str, _Column]]:
    lines = _lines(body)
    _require_rows(sum(e.count for e in elements), len(lines))
    left = iter(lines)
    tables: dict[str, dict[str, _Column]] = {}
    for element in elements:
        rows = list(islice(left, element.count))
        names = list(element.properties)
        if not any(length for length, _ in element.properties.values()):
            columns = _numbers(rows, len(names)).T
            tables[element.name] = {
                name: _Column(c, np.ones(len(rows), int)) for name, c in zip(names, columns, strict=True)
            }
            continue
        values: dict[str, list[float]] = {name: [] for name in names}
        sizes: dict[str, list[int]] = {name: [] for name in names}
        for row in rows:
            words = iter(row.split())
            for name, (length, _) in element.properties.items():
                size = 1 if length is None else _size(name, next(words, "a row is cut short"))
                values[name] += map(float, islice(words, size))
                sizes[name].append(size)
        tables[element.name] = {name: _Column(np.array(values[name]), np.array(sizes[name], int)) for name in names}
        for name, column in tables[element.name].items():
            _require_rows(int(column.sizes.sum()), len(column.values), f"values of {name}")
    return tables


def _ply_binary(elements: Sequence[_Element], data: bytes, at: int, endian: str) -> dict[str, dict[str, _Column]]:
    tables: dict[str, dict[str, _Column]] = {}
    for element in elements:
        if element.count:
            packed = _ply_packed(element, data, at, endian)
            tables[element.name], at = packed or _ply_ragged(element, data, at, endian)
    return tables


def _ply_packed(element: _Element, data: bytes, at: int, endian: str) -> tuple[dict[str, _Column], int] | None:
    """The rows as one array, and where they end; None where the lists are not all as long as the first ones."""
    first, _ = _ply_ragged(replace(element, count=1), data, at, endian)
    fields: list[tuple[Any, ...]] = []
    for name, (length, item) in element.properties.items():
        if length is not None:
            fields.append((f"size of {name}", endian + length))
        fields.append((name, endian + item, (len(first[name].values),)))
    row = np.dtype(fields)
    if at + element.count * row.itemsize > len(data):
        return None
    rows = np.frombuffer(data, row, element.count, at)
    columns = {}
    for name, (length, _) in element.properties.items():
        size = len(first[name].values)
        if length is not None and (rows[f"size of {name}"] != size).any():
            return None
        columns[name] = _Column(rows[name].ravel(), np.full(element.count, size))
    return columns, at + element.count * row.itemsize


def _ply_ragged(element: _Element, data: bytes, at: int, endian: str) -> tuple[dict[str, _Column], int]:
    """The rows one by one, and where they end."""
    if element.count > MAX_RAGGED_ROWS:
        raise ValueError(f"{element.count:,} {element.name} rows of differing length, the limit is {MAX_RAGGED_ROWS:,}")
    values = {name: bytearray() for name in element.properties}
    sizes: dict[str, list[int]] = {name: [] for name in element.properties}
    types = [
        (name, struct.Struct(endian + np.dtype(length).char) if length else None, np.dtype(item).itemsize)
        for name, (length, item) in element.properties.items()
    ]
    for _ in range(element.count):
        for name, length, item_bytes in types:
            size = 1
            if length is not None:
                size = _size(name, length.unpack_from(data, at)[0])
                at += length.size
            values[name] += data[at : at + size * item_bytes]
            sizes[name].append(size)
            at += size * item_bytes
            if at > len(data):
                raise ValueError(f"the file is cut short in its {element.name} rows")
    columns = {
        name: _Column(np.frombuffer(values[name], endian + item), np.array(sizes[name], int))
        for name, (_, item) in element.properties.items()
    }
    return columns, at


# Text.


def _lines(data: bytes, comment: str | None = None) -> list[str]:
    """Lines that are not blank, without comments and outer blanks. Latin-1 decodes any byte; what counts is ASCII."""
    if len(data) > MAX_TEXT_BYTES:
        what = f"{len(data):,} bytes of text are more than the limit of {MAX_TEXT_BYTES:,}"
        raise ValueError(f"{what}; save it as binary .ply or .npy")
    text = data.removeprefix(b"\xef\xbb\xbf").decode("latin-1")  # without a byte-order mark
    lines = text.replace("\t", " ").replace("\r", "\n").split("\n")
    kept = (line.split(comment, 1)[0].strip() if comment else line.strip() for line in lines)
    return [line for line in kept if line]


def _numbers(rows: Sequence[str], columns: int = 3) -> np.ndarray:
    """The first ``columns`` numbers of every row, (len(rows), columns) float64."""
    if not rows:
        return np.empty((0, columns))
    if not all(rows):  # loadtxt would skip them
        raise ValueError("a row without numbers")
    return np.loadtxt(rows, usecols=range(columns), ndmin=2, comments=None)


def _count(word: Any) -> int:
    count = int(word)
    if count < 0:
        raise ValueError(f"a count of {count}")
    return count


def _polygon(corners: int) -> int:
    if corners < 3:
        raise ValueError(f"a face with {corners} corners")
    return corners


def _require_rows(promised: int, held: int, what: str = "rows") -> None:
    if promised > held:
        raise ValueError(f"the file is cut short: {promised:,} {what} promised, {held:,} there")


def _fans(corners: Sequence[int] | np.ndarray, sizes: Sequence[int] | np.ndarray) -> np.ndarray | None:
    """Polygons -> (F, 3) triangles, each polygon a fan about its first corner; None where there are no polygons.

    Args:
        corners: the corners of all polygons, one polygon after the other.
        sizes: how many of them each polygon has, at least 3.
    """
    if not len(sizes):
        return None
    corners, sizes = np.asarray(corners).astype(np.int64), np.asarray(sizes)
    fans = sizes - 2  # triangles of each polygon
    first = np.repeat(np.cumsum(sizes) - sizes, fans)
    step = np.arange(len(first)) - np.repeat(np.cumsum(fans) - fans, fans)
    return corners[np.stack([first, first + step + 1, first + step + 2], axis=1)]
