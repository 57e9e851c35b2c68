"""PLY: a text header that declares tables, then their rows as text or packed."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from clipx.modalities.pointcloud.geometry import Geometry
from clipx.modalities.pointcloud.parsing import (
    Sample,
    each_line,
    fans,
    numbers,
    require_mesh_bytes,
    require_rows,
    strips,
    take,
    text_lines,
    to_colors,
    to_count,
)

MAX_RAGGED_ROWS = 2**22  # rows of differing length are read one by one, about a million a second
_SURFACES = ("face", "tristrips")
_CORNERS = ("vertex_indices", "vertex_index")  # the two names of a face's list
_COLORS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4"},
    **{"double": "f8", "float64": "f8"},
}
_WHOLE = {"u1": 255.0, "u2": 65535.0}  # full brightness; of other types the values tell


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


_Table = dict[str, _Column]
_Rows = slice | np.ndarray  # an index of the rows to keep
_NONE = slice(0)


def read_ply(data: bytes, sample: Sample) -> Geometry:
    """Bytes of a file -> its ``vertex``, ``face`` and ``tristrips`` tables as a geometry; raises ValueError and what
    numpy does."""
    elements, format, start = _header(data)
    kinds = {element.name: element for element in elements}
    surfaces = {
        e.name: name for e in elements if e.count and e.name in _SURFACES for name in _CORNERS if name in e.properties
    }
    for element in elements:
        lists = [name for name, (length, item) in element.properties.items() if length and item[0] in "iu"]
        if element.count and element.name != "vertex" and element.name not in surfaces and lists:
            what = f"{element.count:,} rows of the element {element.name!r} ({lists[0]})"
            sample.notes.append(f"{what} are left unread: is its surface in them? Save it with faces")
    mesh = bool(surfaces)
    vertices = kinds.get("vertex", _Element("vertex", 0))
    types = {name: item for name, (length, item) in vertices.properties.items() if length is None}
    if not {"x", "y", "z"} <= types.keys():
        raise ValueError("no vertices with x, y and z")
    if mesh:
        require_mesh_bytes(data)
    wanted: dict[str, _Rows] = {"vertex": slice(None) if mesh else sample.rows(vertices.count)}
    wanted |= dict.fromkeys(surfaces, slice(None))
    if format == "ascii":
        tables = _read_text(elements, wanted, data, start, mesh)
    else:
        tables = _read_binary(elements, wanted, data, start, "<" if format == "binary_little_endian" else ">")
    vertex = tables["vertex"]
    cut = {"face": lambda c, n: fans(c, n, sample), "tristrips": strips}
    cuts = [cut[name](*tables[name][corners]) for name, corners in surfaces.items()]
    parts = [part for part in cuts if part is not None and len(part)]
    triangles = np.concatenate(parts) if parts else None

    def stacked(names: Sequence[str]) -> np.ndarray:
        return np.stack([vertex[name].values.astype(np.float64) for name in names], axis=1)

    points = stacked("xyz")
    rgb = next((names for names in _COLORS if set(names) <= types.keys()), None)
    return Geometry(
        points,
        triangles,
        colors=to_colors(stacked(rgb), points, sample, _WHOLE.get(types[rgb[0]])) if rgb else None,
        normals=stacked(("nx", "ny", "nz")) if {"nx", "ny", "nz"} <= types.keys() else None,
    )


def _header(data: bytes) -> tuple[list[_Element], str, int]:
    """Elements, format, and where the body starts."""
    begin = re.match(rb"(?:\xef\xbb\xbf)?\s*ply[ \t]*(\r\n|\n|\r)", data[:1024], re.IGNORECASE)
    # the body begins right behind the line end of the header's lines: a byte more may be one of its numbers
    end = begin and re.search(rb"[\r\n]end_header[ \t]*" + re.escape(begin[1]), data[:65536], re.IGNORECASE)
    if begin is None or end is None:
        raise ValueError("no PLY header")
    elements: list[_Element] = []
    declared: list[tuple[str, str]] = []
    format = ""
    for line in re.split(r"[\r\n]+", data[begin.end() : end.start()].decode("latin-1")):
        match line.lower().split():
            case ["format", "ascii" | "binary_little_endian" | "binary_big_endian" as format, *_]:
                pass
            case ["element", name, count]:
                elements.append(_Element(name, to_count(count)))
            case ["property", "list", length, item, name] if elements and {length, item} <= _TYPES.keys():
                declared.append((elements[-1].name, name))
                elements[-1].properties[name] = _TYPES[length], _TYPES[item]
            case ["property", item, name] if elements and item in _TYPES:
                declared.append((elements[-1].name, name))
                elements[-1].properties[name] = None, _TYPES[item]
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


def _read_text(
    elements: Sequence[_Element], wanted: dict[str, _Rows], data: bytes, start: int, mesh: bool
) -> dict[str, _Table]:
    lines = iter(text_lines(data[start:])) if mesh else each_line(data, start=start)
    tables: dict[str, _Table] = {}
    for element in elements:
        rows = take(lines, element.count, wanted.get(element.name, _NONE))
        names = list(element.properties)
        if not any(length for length, _ in element.properties.values()):
            columns = numbers(rows, range(len(names))).T
            tables[element.name] = {
                name: _Column(c, np.ones(len(rows), int)) for name, c in zip(names, columns, strict=True)
            }
            continue
        values: dict[str, list[float]] = {name: [] for name in names}
        sizes: dict[str, list[int]] = {name: [] for name in names}
        for row in rows:
            words = iter(row.split())
            for name, (length, _) in element.properties.items():
                size = 1 if length is None else to_count(next(words, "a row is cut short"))
                values[name] += map(float, islice(words, size))
                sizes[name].append(size)
        tables[element.name] = {name: _Column(np.array(values[name]), np.array(sizes[name], int)) for name in names}
        for name, column in tables[element.name].items():
            require_rows(int(column.sizes.sum()), len(column.values), f"values of {name}")
    return tables


def _read_binary(
    elements: Sequence[_Element], wanted: dict[str, _Rows], data: bytes, at: int, endian: str
) -> dict[str, _Table]:
    tables: dict[str, _Table] = {}
    for element in elements:
        rows = wanted.get(element.name, _NONE)
        packed = _packed(element, rows, data, at, endian) if element.count else None
        tables[element.name], at = packed or _ragged(element, data, at, endian)
    return tables


def _packed(element: _Element, kept: _Rows, data: bytes, at: int, endian: str) -> tuple[_Table, int] | None:
    """The rows as one array, and where they end; None where the lists are not all as long as the first ones."""
    first, _ = _ragged(replace(element, count=1), data, at, endian)
    fields: list[tuple[Any, ...]] = []
    for name, (length, item) in element.properties.items():
        if length is not None:
            fields.append((f"size of {name}", endian + length))
        fields.append((name, endian + item, (len(first[name].values),)))
    row = np.dtype(fields)
    if at + element.count * row.itemsize > len(data):
        return None
    rows = np.frombuffer(data, row, element.count, at)
    for name, (length, _) in element.properties.items():
        if length is not None and (rows[f"size of {name}"] != len(first[name].values)).any():
            return None
    rows = rows[kept]
    columns = {
        name: _Column(rows[name].ravel(), np.full(len(rows), len(first[name].values))) for name in element.properties
    }
    return columns, at + element.count * row.itemsize


def _ragged(element: _Element, data: bytes, at: int, endian: str) -> tuple[_Table, int]:
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
                size = to_count(length.unpack_from(data, at)[0])
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
