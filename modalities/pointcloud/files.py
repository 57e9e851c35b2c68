"""Readers of point clouds and meshes.

They read positions, faces, colours, normals and the up axis, and leave materials and all else unread; no file makes
them open another. They are strict where general mesh libraries are lenient: a file
cut short is an error, not a smaller cloud, and what a header promises is compared with what the file can hold before
anything is allocated.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from clipx.errors import ClipxError, FileError, InputError
from clipx.files import read_array, read_bytes, read_npz
from clipx.modalities.pointcloud.geometry import Geometry, estimate_up, sample_mesh, sample_surface, unit_length
from clipx.modalities.pointcloud.gltf import read_glb
from clipx.modalities.pointcloud.las import read_las
from clipx.modalities.pointcloud.parsing import (
    Sample,
    each_line,
    fans,
    numbers,
    numbers_in,
    polygon,
    require_mesh_bytes,
    require_rows,
    take,
    text_lines,
    to_colors,
    to_count,
)
from clipx.modalities.pointcloud.pcd import read_pcd
from clipx.modalities.pointcloud.ply import read_ply
from clipx.modalities.pointcloud.projection.open3d_backend import load as load_open3d

__all__ = ["READERS", "Geometry", "estimate_up", "read_geometry", "sample_mesh", "sample_surface"]

MAX_BYTES = 2**30
MAX_ARRAY_BYTES = 2**29  # of .npy and .npz, which are held twice
MAX_POINTS = 2**20


def read_geometry(path: str | PathLike, max_points: int = MAX_POINTS, seed: int = 0) -> Geometry:
    """Read a point cloud or a mesh.

    Polygons are cut into fans of triangles. A ``.ply`` without faces and an ``.obj`` of vertices only are clouds;
    ``.off`` and ``.stl`` are for meshes. ``.npy`` holds (P, 3) numbers; ``.npz`` holds them under ``points`` and may
    have ``colors``, ``normals`` and the name of its ``up`` axis. ``.glb`` is y up, ``.las`` and ``.laz`` are z up.

    ``.xyz`` and ``.txt`` hold a point a line, its numbers parted by blanks, commas or semicolons. Columns 4 to 6, and
    likewise 7 to 9, are normals where every row of them is of unit length; in a file of 6 or 9 columns they are colours
    where all are in 0..1, or whole and in 0..255; else they are left out.

    Colours are divided by 255 where one is above 1, but by the greatest value of their type where a ``.ply``, ``.npz``
    or ``.las`` stores them as unsigned bytes or shorts. NaN colours are an error. Normals are made unit length; where
    one is NaN or zero, all are left out, with a warning: they can be estimated from the points.

    Args:
        path: the file.
        max_points: of a larger cloud so many are kept, one at random of each equal part of the file, with a warning;
            the others are not looked at. A mesh is never thinned.
        seed: of that draw.

    Raises:
        FileError: the file is missing, truncated, hostile or not what its suffix says; holds no points, NaN or
            infinite coordinates or a face of corners it has not; is an ``.off`` or ``.stl`` without faces; or is too
            large: clouds 1 GB (``.npy`` and ``.npz`` 512 MB), meshes 256 MB, but 64 MB as text.
        MissingDependencyError: laspy (for ``.las .laz``) or open3d (for ``.pts .xyzn .xyzrgb .fbx``) is not installed.
        InputError: ``max_points`` or ``seed`` is out of range.
    """
    if max_points < 1 or seed < 0:
        raise InputError(f"max_points must be at least 1 and seed at least 0, got {max_points} and {seed}")
    suffix = Path(path).suffix.lower()
    data = read_bytes(path, max_bytes=MAX_ARRAY_BYTES if suffix in (".npy", ".npz") else MAX_BYTES)
    if suffix not in READERS and (suffix := _suffix_of(data)) not in READERS:
        raise FileError("its content is of no known format", where=path, remedy=f"read are {' '.join(READERS)}")
    sample = Sample(max_points, seed)
    try:
        with np.errstate(all="ignore"):  # what overflows is found below
            found = READERS[suffix](data, sample)
    except ClipxError as error:
        raise type(error)(error.what, where=path, remedy=error.remedy) from error
    except Exception as error:  # whatever a parser trips over in a damaged file
        raise FileError(f"not a readable {suffix} file: {error or type(error).__name__}", where=path) from error
    del data
    if found.triangles is None and suffix in MESHES_ONLY:
        raise FileError("is a mesh without faces", where=path, remedy="save a cloud as .ply or .xyz")
    if not len(found.points):
        raise FileError("holds no points", where=path)
    if not np.isfinite(found.points).all():
        raise FileError("has NaN or infinite coordinates", where=path)
    if found.triangles is not None and ((found.triangles < 0) | (found.triangles >= len(found.points))).any():
        raise FileError(f"has a face with a corner that is none of its {len(found.points):,} vertices", where=path)
    if sample.held > max_points >= len(found.points):
        kept = f"a sample of {len(found.points):,} is kept (seed {seed})"
        warnings.warn(f"{path}: of {sample.held:,} points {kept}", stacklevel=2)
    if found.normals is not None:
        normals = unit_length(found.normals)
        if not np.isfinite(normals).all():
            warnings.warn(f"{path}: its normals are left out, for some are NaN or zero", stacklevel=2)
        found = replace(found, normals=normals if np.isfinite(normals).all() else None)
    return found


def holds_points(path: str | PathLike) -> bool:
    """False for a ``.txt`` whose first row does not begin with three numbers; other suffixes say what a file is.

    The first 64 KB are looked at; a file that cannot be opened may hold points.
    """
    if Path(path).suffix.lower() != ".txt":
        return True
    try:
        with open(path, "rb") as file:
            data = file.read(2**16)
        return numbers_in(next(_rows(data), "")) >= 3
    except OSError:
        return True


# One reader a suffix: bytes and the choice of rows -> Geometry, its normals of any length. Each raises ValueError, or
# whatever numpy does, on a bad file.


def _read_off(data: bytes, sample: Sample) -> Geometry:
    lines = text_lines(data, comment="#")
    # ModelNet's files run the counts into the first line: OFF490 518 0
    header = re.match(r"(?:ST)?(C?)(N?)OFF\s*(.*)$", lines[0]) if lines else None
    if header is None:
        raise ValueError("the first line is not OFF")
    color, normal, rest = header.groups()
    counts, *body = [rest, *lines[1:]] if rest else lines[1:]
    vertex_count, face_count = (to_count(word) for word in counts.split()[:2])
    require_rows(vertex_count + face_count, len(body))
    corners, sizes = [], []
    for line in body[vertex_count : vertex_count + face_count]:
        size, *row = map(int, line.split()[: 1 + int(line.split(None, 1)[0])])  # what follows is colour
        require_rows(size, len(row), "corners of a face")
        corners += row
        sizes.append(polygon(size))
    columns = numbers(body[:vertex_count], range(3 + 3 * bool(color) + 3 * bool(normal)))
    return Geometry(
        columns[:, :3],
        fans(corners, sizes),
        colors=to_colors(columns[:, -3:]) if color else None,  # behind the normal
        normals=columns[:, 3:6] if normal else None,
    )


def _read_obj(data: bytes, sample: Sample) -> Geometry:
    vertices: list[str] = []
    corners: list[int] = []
    sizes: list[int] = []
    for line in text_lines(data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" "), comment="#"):
        key, _, rest = line.partition(" ")
        if key == "v":
            vertices.append(rest)
        elif key == "f":
            row = [int(word.split("/", 1)[0]) for word in rest.split()]
            if 0 in row:
                raise ValueError("a face names vertex 0, but OBJ counts from 1")
            corners += (i - 1 if i > 0 else len(vertices) + i for i in row)  # -1 is the last vertex so far
            sizes.append(polygon(len(row)))
    colored = bool(vertices) and all(len(row.split()) >= 6 for row in vertices)
    columns = numbers(vertices, range(6 if colored else 3))
    return Geometry(columns[:, :3], fans(corners, sizes), colors=to_colors(columns[:, 3:]) if colored else None)


def _read_stl(data: bytes, sample: Sample) -> Geometry:
    require_mesh_bytes(data)
    promised = 84 + 50 * int.from_bytes(data[80:84], "little") if len(data) >= 84 else None
    if promised == len(data):  # first, for some binary files begin with "solid" too
        facet = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
        points = np.frombuffer(data, facet, offset=84)["corners"].reshape(-1, 3)
    elif data.lstrip()[:5].lower() == b"solid":
        lines = [line.lower() for line in text_lines(data)]
        if not lines[-1].startswith("endsolid"):
            raise ValueError("the file is cut short: endsolid is missing")
        points = numbers([line.removeprefix("vertex") for line in lines if line.startswith("vertex")])
    else:
        raise ValueError(f"neither text nor a binary file of the size its header promises ({promised} bytes)")
    if len(points) % 3:
        raise ValueError(f"{len(points)} corners do not make triangles")
    return Geometry(points.astype(np.float64), np.arange(len(points)).reshape(-1, 3) if len(points) else None)


def _rows(data: bytes) -> Iterator[str]:
    """The rows of an ``.xyz`` or ``.txt`` file."""
    return each_line(data, comment="#", blanks="\t,;")


def _read_xyz(data: bytes, sample: Sample) -> Geometry:
    most = 1 + max(data.count(b"\n"), data.count(b"\r"))  # with blank ones and comments
    count = most if most <= sample.limit else sum(1 for _ in _rows(data))
    rows = take(_rows(data), count, sample.rows(count)) if count > sample.limit else list(_rows(data))
    columns = numbers(rows, range(min(9, max(3, numbers_in(rows[0]))) if rows else 3))
    if not np.isfinite(columns[:, 3:]).all():
        raise ValueError("NaN or infinite colours or normals; save the file without them")
    triples = [columns[:, at : at + 3] for at in (3, 6) if at + 3 <= columns.shape[1]]
    normals = next((triple for triple in triples if _are_unit(triple)), None)
    colors = next((triple for triple in triples if columns.shape[1] in (6, 9) and _are_colors(triple)), None)
    return Geometry(columns[:, :3], colors=None if colors is None else to_colors(colors), normals=normals)


def _are_unit(triple: np.ndarray) -> bool:
    return bool((np.abs(np.linalg.norm(triple, axis=1) - 1) < 0.01).all())


def _are_colors(triple: np.ndarray) -> bool:
    whole = (triple == np.round(triple)).all() and triple.max() <= 255
    return bool(triple.any() and triple.min() >= 0 and (whole or triple.max() <= 1) and not _are_unit(triple))


def _read_npy(data: bytes, sample: Sample) -> Geometry:
    points = _triples(read_array(io.BytesIO(data), len(data)), "points")
    return Geometry(points[sample.rows(len(points))].astype(np.float64))


def _read_npz(data: bytes, sample: Sample) -> Geometry:
    arrays = read_npz(io.BytesIO(data), names=("points", "up", "colors", "normals"), max_bytes=MAX_ARRAY_BYTES)
    if "points" not in arrays:
        raise ValueError("no array named 'points'")
    up = str(arrays["up"]) if "up" in arrays else None
    if up not in (None, "x", "y", "z"):
        raise ValueError(f"up must be x, y or z, got {up[:20]!r}")
    count = len(_triples(arrays["points"], "points"))
    rows = sample.rows(count)
    kept = {name: _triples(arrays[name], name, count)[rows] for name in arrays.keys() - {"up"}}
    colors = kept.get("colors")
    whole = {"u1": 255.0, "u2": 65535.0}.get(colors.dtype.str[1:]) if colors is not None else None
    return Geometry(
        kept["points"].astype(np.float64),
        up=up,
        colors=None if colors is None else to_colors(colors, whole),
        normals=kept.get("normals"),
    )


def _triples(array: np.ndarray, name: str, count: int | None = None) -> np.ndarray:
    wrong = array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "fiu"
    if wrong or count not in (None, len(array)):
        rows = "P" if count is None else f"{count:,}"
        raise ValueError(f"{name} must be ({rows}, 3) numbers, got {array.shape} {array.dtype}")
    return array


def _read_by_open3d(data: bytes, sample: Sample, suffix: str) -> Geometry:
    """What open3d reads of a format that is not read here; of a torn file it may read a part.

    Raises:
        MissingDependencyError: open3d is not installed, or a system library that it needs.
    """
    open3d = load_open3d(f"{suffix} files")
    mesh = suffix in _OPEN3D_MESHES
    names = ("vertices", "vertex_colors", "vertex_normals") if mesh else ("points", "colors", "normals")
    with TemporaryDirectory() as folder:  # alone there: nothing that the file names can be opened beside it
        path = Path(folder, f"file{suffix}")
        path.write_bytes(data)
        with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
            found = (open3d.io.read_triangle_mesh if mesh else open3d.io.read_point_cloud)(str(path))
    points, colors, normals = (np.array(getattr(found, name), float).reshape(-1, 3) for name in names)
    triangles = np.array(found.triangles if mesh else [], np.int64).reshape(-1, 3)
    rows = slice(None) if len(triangles) else sample.rows(len(points))
    return Geometry(
        points[rows],
        triangles if len(triangles) else None,
        colors=to_colors(colors[rows], 1) if len(colors) else None,
        normals=normals[rows] if len(normals) else None,
    )


_STARTS = {b"ply": ".ply", b"OFF": ".off", b"glTF": ".glb", b"# .PCD": ".pcd", b"VERSION": ".pcd", b"LASF": ".las",
           b"\x93NUMPY": ".npy", b"PK\x03\x04": ".npz", b"solid": ".stl"}  # fmt: skip


def _suffix_of(data: bytes) -> str:
    """The suffix that the content of a file under another one, or none, should have; "" where it is not known."""
    for start, suffix in _STARTS.items():
        if data.startswith(start):
            return suffix
    if len(data) >= 84 and len(data) == 84 + 50 * int.from_bytes(data[80:84], "little"):
        return ".stl"
    lines = [line for line in data[:4096].decode("latin-1").splitlines() if line.strip() and line[0] != "#"]
    if any(line.startswith(("v ", "vn ", "o ", "mtllib ")) for line in lines):
        return ".obj"
    return ".xyz" if lines and re.match(r"\s*[-+]?[\d.]+([eE][-+]?\d+)?([\s,;]+[-+]?[\d.]+)", lines[0]) else ""


_OPEN3D_CLOUDS, _OPEN3D_MESHES = (".pts", ".xyzn", ".xyzrgb"), (".fbx",)
READERS: dict[str, Callable[[bytes, Sample], Geometry]] = {
    ".ply": read_ply,
    ".off": _read_off,
    ".obj": _read_obj,
    ".stl": _read_stl,
    ".glb": read_glb,
    ".xyz": _read_xyz,
    ".txt": _read_xyz,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".pcd": read_pcd,
    ".las": read_las,
    ".laz": read_las,
    **{suffix: partial(_read_by_open3d, suffix=suffix) for suffix in (*_OPEN3D_CLOUDS, *_OPEN3D_MESHES)},
}
MESHES_ONLY = (".off", ".stl")
