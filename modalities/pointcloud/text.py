"""Clouds as text, a point a line: what scanners, spreadsheets and CloudCompare export."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from clipx.modalities.pointcloud.geometry import Geometry
from clipx.modalities.pointcloud.parsing import Sample, each_line, numbers, numbers_in, require_rows, take, to_colors

MAX_COLUMNS = 10  # x y z, an intensity, a colour, a normal
_HEAD = 2**16  # bytes searched for the first points
_SAMPLE_ROWS = 200  # rows from which the layout is inferred
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)?")
_COMMENT = re.compile(r"(?:^|\s)(?:#|//|%)")
_ROW = re.compile(r'[\s",;]*[-+]?(?:[.,]?\d|(?:nan|inf)\b)', re.IGNORECASE)  # how a row of numbers begins
_COUNT = re.compile(r"\s*\d+\s*")
_DECIMAL = re.compile(r"[-+]?\d*,\d+(?:[eE][-+]?\d+)?|[-+]?\d+(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf)", re.IGNORECASE)
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+\.\d*,?")
_NAMES = {
    name: axis
    for axis, names in {
        "x": "x px pos_x posx coord_x x_coord points:0 easting",
        "y": "y py pos_y posy coord_y y_coord points:1 northing",
        "z": "z pz pos_z posz coord_z z_coord points:2 height elevation",
        "r": "r red rf diffuse_red",
        "g": "g green gf diffuse_green",
        "b": "b blue bf diffuse_blue",
        "nx": "nx n_x normal_x normals:0",
        "ny": "ny n_y normal_y normals:1",
        "nz": "nz n_z normal_z normals:2",
    }.items()
    for name in names.split()
}
_BY_SUFFIX = {(".xyzn", 6): "x y z nx ny nz", (".xyzrgb", 6): "x y z r g b", (".pts", 7): "x y z i r g b"}
_POINTS = "export the numbers with a decimal point, or with blanks between them, or name the columns in a first line"


class AmbiguousError(ValueError):
    """Numbers that can be read in more than one way."""


@dataclass
class _Layout:
    """How the rows of a file are written.

    Args:
        start: the byte at which the first row begins.
        line: the number of that line.
        table: characters of a row and what to read in their place.
        commas: a comma before a blank is no decimal one.
        names: of the columns, where a line gives them; "" for those that do not matter.
        count: of the points, by the lines with one number before them.
        commented: whether comments may stand in or between the rows.
    """

    start: int = 0
    line: int = 1
    table: dict[str, str] = field(default_factory=dict)
    commas: bool = False
    names: list[str] = field(default_factory=list)
    count: int | None = None
    commented: bool = False


def read_text(data: bytes, sample: Sample) -> Geometry:
    """Bytes of a file -> its points, with colours or normals where columns are named so or look so.

    Raises:
        ValueError: a line is no point, the rows differ in length, or decimal commas cannot be distinguished from
            separators.
    """
    data = _plain(data)
    layout = _look(data)
    if layout is None:
        return Geometry(np.empty((0, 3)))
    most = 1 + max(data.count(b"\n"), data.count(b"\r"))  # with blank ones and comments
    count = most if most <= sample.limit else sum(1 for _ in _rows(data, layout))
    thinned = count > sample.limit
    rows = take(_rows(data, layout), count, sample.rows(count)) if thinned else list(_rows(data, layout))
    if layout.count is not None:
        held = count if thinned else len(rows)
        require_rows(layout.count, held, "points")
        if held > layout.count and held > _counted(data, layout):
            sample.notes.append(f"its count says {layout.count:,} points, it holds {held:,}: all are read")
    width = numbers_in(rows[0])
    names = _columns(layout, width, sample)
    if width < 3 or not {"x", "y", "z"} <= set(names):
        _complain(data, layout, 3)
    if len(rows[0].split()) == width and any(len(row.split()) != width for row in rows):
        _complain(data, layout, width)
    try:
        columns = numbers(rows, range(min(width, len(names))))
    except ValueError:
        _complain(data, layout, min(width, len(names)))
    return with_attributes(columns, names, sample)


def holds_points(head: bytes) -> bool:
    """Whether a text file that begins so holds points: three numbers in its first row, below a header that names x, y
    and z or none. Notes and tables of other things do not."""
    try:
        data = _plain(head)
        layout = _look(data)
        row = None if layout is None else next(_rows(data, layout), "")
        return row is not None and numbers_in(row) >= 3
    except AmbiguousError:  # points, which ``read_text`` says how to write
        return True
    except ValueError:
        return False


def with_attributes(columns: np.ndarray, names: Sequence[str], sample: Sample) -> Geometry:
    """(P, C) numbers -> points with colours and normals, by the columns' names, or else by their values.

    Normals are of unit length in every row; colours are all in 0..1, or whole and in 0..255. They stand in columns 4 to
    6 or 7 to 9, or behind one more number in 5 to 7; what could be either is left out.
    """
    places = {name: i for i, name in reversed(list(enumerate(names))) if name}
    points = columns[:, [places[axis] for axis in "xyz"]].astype(np.float64)
    finite = np.isfinite(points).all(axis=1)
    rgb, normal = (tuple(places.get(n, -1) for n in group) for group in (("r", "g", "b"), ("nx", "ny", "nz")))
    if places == {"x": 0, "y": 1, "z": 2}:  # the rest has no names
        triples = {at: columns[finite, at : at + 3] for at in (3, 4, 6, 7) if at + 3 <= columns.shape[1]}
        units = [at for at, triple in triples.items() if _are_unit(triple)]
        shades = [at for at, triple in triples.items() if _are_colors(triple)]
        if columns.shape[1] in (6, 9):
            shades = [at for at in shades if at in (3, 6)]
        elif columns.shape[1] not in (7, 10):
            shades = []
        if len(shades) == 1 or columns.shape[1] in (6, 9):
            rgb = tuple(range(shades[0], shades[0] + 3)) if shades else rgb
        normal = tuple(range(units[0], units[0] + 3)) if units else normal
    return Geometry(
        points,
        colors=to_colors(columns[:, rgb], points, sample) if min(rgb) >= 0 else None,
        normals=columns[:, normal].astype(np.float64) if min(normal) >= 0 else None,
    )


def _are_unit(triple: np.ndarray) -> bool:
    return bool(len(triple)) and bool((np.abs(np.linalg.norm(triple.astype(np.float64), axis=1) - 1) < 0.01).all())


def _are_colors(triple: np.ndarray) -> bool:
    if not len(triple) or not np.isfinite(triple).all():
        return False
    whole = (triple == np.round(triple)).all() and triple.max() <= 255
    return bool(triple.any() and triple.min() >= 0 and (whole or triple.max() <= 1) and not _are_unit(triple))


def _plain(data: bytes) -> bytes:
    """UTF-16 as ASCII, decimal commas in quotes as points, Fortran's exponents, and Windows' words for NaN as NaN.

    A DOS end-of-file mark and zeros at the end are left out.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.decode("utf-16", "replace").encode("latin-1", "replace")
    data = data.rstrip(b"\0\x1a \r\n") if data[-1:] in b"\0\x1a" else data
    if b'"' in data:
        data = re.sub(rb'"([-+]?\d*),(\d+(?:[eE][-+]?\d+)?)"', rb"\1.\2", data)
    if re.search(rb"\d[dD][-+]?\d", data[:_HEAD]):
        data = re.sub(rb"(\d\.?)[dD]([-+]?\d)", rb"\1e\2", data)
    return (
        re.sub(rb"-?1\.#(?:QNAN|SNAN|IND|INF)\w*|-?nan\(\w*\)", b"nan", data) if b"#" in data or b"n(" in data else data
    )


def _look(data: bytes) -> _Layout | None:
    """The layout, inferred from the first rows; None where there is none."""
    layout = _Layout(commented=any(mark in data for mark in (b"#", b"//", b"%")))
    above: list[tuple[int, str, bool]] = []  # lines above the first row: number, text, is a comment
    rows: list[str] = []
    ends = len(data) if len(data) <= _HEAD else data.rfind(b"\n", 0, _HEAD) + 1 or _HEAD
    at = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    number = 0
    while at < ends and len(rows) < _SAMPLE_ROWS:
        found = _LINE.match(data, at)
        end = found.end() if found else ends
        text = data[at:end].decode("latin-1")
        kept = _uncommented(text)
        number += 1
        if not rows and not kept and text.strip():
            above.append((number, re.sub(r"^\s*(?:#|//|%)+", "", text).strip(), True))
        elif not rows and kept and _COUNT.fullmatch(kept):
            layout.count = (layout.count or 0) + int(kept)
        elif not rows and kept and not _ROW.match(kept):
            above.append((number, kept, False))
        elif kept:
            if not rows:
                layout.start, layout.line = at, number
            if not (layout.count is not None and _COUNT.fullmatch(kept)):
                rows.append(kept)
        at = end
    headers = [(number, text) for number, text, comment in above if not comment]
    if not rows:
        if layout.count is not None and not headers:
            require_rows(layout.count, 0, "points")
        if headers:
            number, text = headers[0]
            if len(headers) > 1 and {"x", "y", "z"} <= set(_names(text, _Layout(table={",": " ", ";": " "}))):
                number, text = headers[1]
                raise ValueError(f"line {number} ({text[:40]!r}) begins with no number; leave its first column out")
            raise ValueError(f"line {number} ({text[:40]!r}) is no point")
        return None
    _tell_dialect(layout, rows, [text for _, text, _ in above])
    names = [_names(text, layout) for _, text, _ in above]
    named = [found for found in names if {"x", "y", "z"} <= set(found)]
    if headers and not named:
        number, text = headers[0]
        raise ValueError(
            f"line {number} ({text[:40]!r}) is no point and names no x, y and z; delete it, or write # before it"
        )
    layout.names = named[-1] if named else []
    return layout


def _tell_dialect(layout: _Layout, rows: Sequence[str], above: Sequence[str]) -> None:
    """Find what stands between the numbers of these rows, and whether their commas are decimal ones."""
    points, commas = any("." in row for row in rows), any("," in row for row in rows)
    layout.table = {'"': " "}
    if any(";" in row for row in rows):
        if points and commas:
            raise AmbiguousError(f"commas and points stand in the numbers between semicolons; {_POINTS} alone")
        layout.table |= {";": " ", ",": "."}
        return
    if not commas:
        return
    words = [row.replace('"', " ").split() for row in rows]
    if not points and all(
        len(row) >= 3 and all(_DECIMAL.fullmatch(word.removesuffix(",")) for word in row) for row in words
    ) and any("," in word.rstrip(",") for row in words for word in row):  # fmt: skip
        layout.table |= {",": "."}
        layout.commas = any(word.endswith(",") for row in words for word in row)
        return
    if any(_THOUSANDS.fullmatch(word) for row in words for word in row if len(row) >= 3):
        raise AmbiguousError("its commas stand between thousands; export the numbers without them")
    layout.table |= {",": " "}
    if points:
        return
    fields = [[part for part in re.split(r"[\s,]+", row) if part] for row in rows]
    width = len(fields[0])
    named = any(len(re.split(r"[\s,;]+", text.strip())) == width for text in above)
    signed = any(part[0] in "+-" for row in fields for part in row[1::2])
    numeric = all(_DECIMAL.fullmatch(part) for row in fields for part in row)
    if numeric and width % 2 == 0 and width >= 6 and not named and not signed:
        zeros = any(len(part) > 1 and part[0] == "0" for row in fields for part in row[1::2])
        sure = "are decimal ones and" if zeros else "may be decimal ones or"
        raise AmbiguousError(f"its commas {sure} stand between the numbers as well, which is ambiguous; {_POINTS}")


def _names(text: str, layout: _Layout) -> list[str]:
    """The names in a header line, in our words; "" for those that do not matter."""
    text = re.sub(r"\[.*?\]|\(.*?\)|\"", "", text.lower())
    by = ";" if layout.table.get(";") and ";" in text else "," if layout.table.get(",") == " " and "," in text else None
    by = "\t" if by is None and "\t" in text else by
    words = re.split(r"[\s,;]+", text.strip()) if by is None else [word.strip() for word in text.split(by)]
    found = [_NAMES.get(word.strip("#/%"), "") for word in words]
    return found[:-1] if found and not words[-1] else found


def _columns(layout: _Layout, width: int, sample: Sample) -> list[str]:
    """The names of the columns: the file's own, the suffix's, or those of the first three."""
    names = layout.names
    if len(names) == width:
        return names
    if names and names[:3] != ["x", "y", "z"]:
        raise ValueError(f"{len(names)} columns are named, but the first row has {width} numbers")
    fixed = _BY_SUFFIX.get((sample.path.suffix.lower() if sample.path else "", width))
    if fixed:
        return [_NAMES.get(name, "") for name in fixed.split()]
    return (["x", "y", "z"] + [""] * MAX_COLUMNS)[: max(3, min(width, MAX_COLUMNS))]


def _uncommented(line: str) -> str:
    found = _COMMENT.search(line)
    return (line[: found.start()] if found else line).strip()


def _rows(data: bytes, layout: _Layout) -> Iterator[str]:
    """The rows, their numbers parted by blanks; lines with a count are left out where the first one is."""
    table = {"\t": " ", **layout.table}
    if layout.commas:  # each row by itself
        table.pop(",")
    for line in each_line(data, start=layout.start, table=table):
        if layout.commented and not (line := _uncommented(line)):
            continue
        if layout.count is not None and " " not in line and _COUNT.fullmatch(line):
            continue
        yield re.sub(r",(?= |$)", " ", line).replace(",", ".") if layout.commas else line


def _counted(data: bytes, layout: _Layout) -> int:
    """The points that the lines with a count promise, those between the rows too."""
    return (layout.count or 0) + sum(
        map(int, re.findall(rb"(?:^|[\r\n])[ \t]*(\d+)[ \t]*(?=[\r\n])", data[layout.start :]))
    )


def _complain(data: bytes, layout: _Layout, width: int) -> None:
    """Raise ValueError that names the first line which is no row of ``width`` numbers."""
    at, number = layout.start, layout.line - 1
    first = 0
    while at < len(data):
        found = _LINE.match(data, at)
        end = found.end() if found else len(data)
        for row in _rows(data[at:end], _Layout(0, 1, layout.table, layout.commas, [], layout.count, layout.commented)):
            held = numbers_in(row)
            first = first or held
            if held < width:
                shown = data[at:end].decode("latin-1").strip()[:40]
                doubt = "," in layout.table and re.search(r"\d,\d", shown)
                remedy = "are its commas decimal ones? Export with a decimal point" if doubt else "delete it"
                raise ValueError(f"line {number + 1} ({shown!r}) holds {held} numbers, not {width}; {remedy}")
            if held > first:
                raise ValueError(f"line {number + 1} holds {held} numbers, the first row {first}")
        number += 1
        at = end
    raise ValueError("its rows differ in length")
