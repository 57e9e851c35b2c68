"""PCD, the Point Cloud Library's format: a text header, then rows as text, packed, or field after field under LZF."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from clipx.modalities.pointcloud.geometry import Geometry
from clipx.modalities.pointcloud.parsing import Sample, each_line, numbers, require_rows, take, to_colors, to_count

MAX_UNPACKED_BYTES = 2**30
_MOST_GAIN = 88  # of LZF: three bytes become at most 264
_TYPES = {**{f"I{n}": f"<i{n}" for n in "1248"}, **{f"U{n}": f"<u{n}" for n in "1248"}, "F4": "<f4", "F8": "<f8"}


class _Field(NamedTuple):
    """``width`` columns of one name and numpy type."""

    name: str
    type: str
    width: int


def read_pcd(data: bytes, sample: Sample) -> Geometry:
    """Bytes of a file -> its points, in the file's frame: the viewpoint of the sensor is left unused.

    A point with a NaN is a missing one (a pixel of an organised cloud that saw nothing) and left out. Raises ValueError
    and what numpy does.
    """
    fields, points, format, start = _header(data)
    places = {field.name: i for i, field in reversed(list(enumerate(fields)))}  # of fields of one name the first
    color = next((name for name in ("rgb", "rgba") if name in places), None)
    normals = ("normal_x", "normal_y", "normal_z")
    names = ["x", "y", "z", *(normals if set(normals) <= places.keys() else ()), *([color] if color else ())]
    if missing := set(names) - places.keys():
        raise ValueError(f"no field {min(missing)}")
    read = {"ascii": _read_text, "binary": _read_packed, "binary_compressed": _read_compressed}[format]
    columns = dict(zip(names, read(data, start, fields, [places[n] for n in names], points, sample), strict=True))

    xyz = np.stack([columns[name].astype(np.float64) for name in "xyz"], axis=1)
    placed = ~np.isnan(xyz).any(axis=1)
    return Geometry(
        xyz[placed],
        colors=_colors(columns[color][placed], fields[places[color]].type, xyz[placed], sample) if color else None,
        normals=np.stack([columns[name][placed] for name in normals], axis=1) if normals[0] in columns else None,
    )


def _header(data: bytes) -> tuple[list[_Field], int, str, int]:
    """The fields, how many points there are, their format, and where they start."""
    end = re.search(
        rb"(?:^|[\r\n])DATA[ \t]+(ascii|binary|binary_compressed)[ \t]*(\r\n|\n|\r)", data[:65536], re.IGNORECASE
    )
    if end is None:
        raise ValueError("no PCD header")
    lines = (line.split() for line in re.split(r"[\r\n]+", data[: end.start()].decode("latin-1")))
    header = {words[0].upper(): words[1:] for words in lines if words}
    names = [name.lower() for name in header.get("FIELDS") or header.get("COLUMNS", [])]
    sizes, types = header.get("SIZE", []), [type.upper() for type in header.get("TYPE", [])]
    counts = [to_count(word) for word in header.get("COUNT", ["1"] * len(names))]
    if not len(names) == len(sizes) == len(types) == len(counts) or 0 in counts:
        raise ValueError("FIELDS, SIZE, TYPE and COUNT differ in length, or a COUNT is 0")
    if unknown := {type + size for type, size in zip(types, sizes, strict=True)} - _TYPES.keys():
        raise ValueError(f"unknown type {min(unknown)[:20]!r}")
    width, height = (to_count(header.get(key, ["1"])[0]) for key in ("WIDTH", "HEIGHT"))
    points = to_count(header["POINTS"][0]) if "POINTS" in header else width * height
    if "WIDTH" in header and width * height != points:
        raise ValueError(f"{points:,} points promised, but {width:,} x {height:,}")
    fields = [_Field(n, _TYPES[t + s], c) for n, t, s, c in zip(names, types, sizes, counts, strict=True)]
    return fields, points, end[1].decode().lower(), end.end()


# Three formats: the fields of the numbers ``wanted``, of each its first column, at the rows that the sample keeps.


def _read_text(
    data: bytes, start: int, fields: list[_Field], wanted: list[int], points: int, sample: Sample
) -> list[np.ndarray]:
    require_rows(points, len(data) - start)  # as everywhere, before anything is allocated for them
    lines = take(each_line(data, start=start), points, sample.rows(points))
    first = list(accumulate((field.width for field in fields), initial=0))
    numbers(lines[-1:], [first[-1] - 1])  # a file cut short in its last line misses a column
    return list(numbers(lines, [first[i] for i in wanted]).T)


def _read_packed(
    data: bytes, start: int, fields: list[_Field], wanted: list[int], points: int, sample: Sample
) -> list[np.ndarray]:
    row = np.dtype([(str(i), field.type, (field.width,)) for i, field in enumerate(fields)])
    require_rows(points, (len(data) - start) // row.itemsize)
    table = np.frombuffer(data, row, points, start)[sample.rows(points)]
    return [table[str(i)][:, 0] for i in wanted]


def _read_compressed(
    data: bytes, start: int, fields: list[_Field], wanted: list[int], points: int, sample: Sample
) -> list[np.ndarray]:
    sizes = [points * field.width * np.dtype(field.type).itemsize for field in fields]
    packed, whole = np.frombuffer(data, "<u4", 2, start).tolist()
    require_rows(packed, len(data) - start - 8, "bytes")
    if whole != sum(sizes) or whole > min(MAX_UNPACKED_BYTES, _MOST_GAIN * packed):
        raise ValueError(f"{packed:,} bytes that unpack to {whole:,} are not {points:,} points")
    table = lzf_decompress(data[start + 8 : start + 8 + packed], whole)
    ends, rows = list(accumulate(sizes, initial=0)), sample.rows(points)
    return [
        np.frombuffer(table, fields[i].type, points * fields[i].width, ends[i])[:: fields[i].width][rows]
        for i in wanted
    ]


def _colors(packed: np.ndarray, type: str, points: np.ndarray, sample: Sample) -> np.ndarray | None:
    """Colours packed as 0x??RRGGBB, the bits of an integer or of a float, -> (P, 3) float32 in [0, 1]."""
    if packed.dtype == np.float64 and np.isnan(packed).any():  # in text; in packed bits white may look like NaN
        return to_colors(np.tile(packed[:, None], 3), points, sample, 255)
    bits = packed.astype(type)
    if bits.dtype.itemsize != 4:
        raise ValueError(f"packed colours of {bits.dtype.itemsize} bytes")
    return to_colors(bits.view("<u4")[:, None] >> np.array([16, 8, 0]) & 255, points, sample, 255)


def lzf_decompress(data: bytes, size: int) -> bytearray:
    """Undo LZF (Marc Lehmann's format, https://oldhome.schmorp.de/marc/liblzf.html): runs of bytes to take as they are,
    and (length, distance) pairs that repeat what came before.

    Args:
        size: how many bytes must come out; never many more are held.

    Raises:
        ValueError: the data are corrupt, point before their beginning, or unpack to another size.
    """
    out, at = bytearray(), 0
    try:
        while at < len(data):
            control, at = data[at], at + 1
            if control < 32:  # as they are: control + 1 bytes
                out += data[at : at + control + 1]
                at += control + 1
            else:  # length in three bits, or in one more byte; distance in thirteen
                length = (control >> 5) + 2
                if length == 9:
                    length, at = length + data[at], at + 1
                distance, at = ((control & 31) << 8) + data[at] + 1, at + 1
                if distance > len(out):
                    raise ValueError("the compressed data point before their beginning")
                run = out[-distance:] if distance <= length else out[-distance : length - distance]
                out += run if distance >= length else (run * (length // distance + 1))[:length]
            if len(out) > size:
                break
    except IndexError:
        at += 1
    if at != len(data) or len(out) != size:
        raise ValueError(f"the compressed data are corrupt, or do not unpack to the {size:,} bytes promised")
    return out
