"""Readers of point clouds and meshes.

They read positions, faces, colours, normals and the up axis, and leave materials and all else unread; no file makes
them open another, but for a ``.gltf``, whose numbers may lie beside it. They are strict where general mesh libraries
are lenient: a file cut short is an error, not a smaller cloud, and what a header promises is compared with what the
file can hold before anything is allocated. What is not needed, such as a point without a place, is left out with a
warning that counts it.
"""

from __future__ import annotations

import codecs
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from clipx.errors import ClipxError, FileError, InputError
from clipx.files import read_array, read_bytes, read_npz
from clipx.modalities.pointcloud.geometry import Geometry, estimate_up, sample_mesh, sample_surface, unit_length
from clipx.modalities.pointcloud.gltf import read_gltf
from clipx.modalities.pointcloud.las import read_las
from clipx.modalities.pointcloud.parsing import (
    Sample,
    fans,
    numbers,
    require_mesh_bytes,
    require_rows,
    text_lines,
    to_colors,
    to_count,
)
from clipx.modalities.pointcloud.pcd import read_pcd
from clipx.modalities.pointcloud.ply import read_ply
from clipx.modalities.pointcloud.projection.open3d_backend import load as load_open3d
from clipx.modalities.pointcloud.text import MAX_COLUMNS, read_text, with_attributes
from clipx.modalities.pointcloud.text import holds_points as text_holds_points

__all__ = ["READERS", "Geometry", "estimate_up", "read_geometry", "sample_mesh", "sample_surface"]

MAX_BYTES = 2**30
MAX_ARRAY_BYTES = 2**29  # of .npy and .npz, which are held twice
MAX_POINTS = 2**20


def read_geometry(path: str | PathLike, max_points: int = MAX_POINTS, seed: int = 0) -> Geometry:
    """Read a point cloud or a mesh.

    Polygons are cut into fans of triangles. A ``.ply`` without faces and an ``.obj`` of vertices only are clouds;
    ``.off`` and ``.stl`` are for meshes. ``.npy`` holds (P, 3) numbers, or up to 10 columns as text does; ``.npz``
    holds them under ``points`` and may have ``colors``, ``normals`` and the name of its ``up`` axis. ``.glb`` and
    ``.gltf`` are y up, ``.las`` and ``.laz`` are z up.

    ``.xyz .txt .asc .csv .pts .xyzn .xyzrgb`` hold a point a line, its numbers parted by blanks, tabs, commas or
    semicolons; decimal commas are read where they can be distinguished from separators. A line of names above them
    (``X Y Z R G B Nx Ny Nz``) says which column is what, and a count of the points may stand there. Without names,
    columns 4 to 6, and likewise 7 to 9, are normals where every row of them is of unit length; in a file of 6 or 9
    columns they are colours where all are in 0..1, or whole and in 0..255; one more number may stand before them or
    behind.

    Colours are divided by 255 where one is above 1, but by the greatest value of their type where a ``.ply``, ``.npz``
    or ``.las`` stores them as unsigned bytes or shorts. Colours out of range by a little are clipped; NaN colours and
    others are left out. Normals are made unit length; where one is NaN or zero, all are left out: they can be estimated
    from the points. Points with NaN or infinite coordinates are left out, with the faces at them, and so are faces
    of fewer than three different corners. Of all that, warnings say how many.

    Args:
        path: the file.
        max_points: of a larger cloud so many are kept, one at random of each equal part of the file, with a warning;
            the others are ignored. A mesh is never thinned.
        seed: of that draw.

    Raises:
        FileError: the file is missing, truncated, hostile or not what its suffix says; holds no points, or none with
            finite coordinates, or a face of corners it has not; is an ``.off`` or ``.stl`` without faces; or is too
            large: clouds 1 GB (``.npy`` and ``.npz`` 512 MB), meshes 256 MB, but 64 MB as text.
        MissingDependencyError: laspy (for ``.las .laz``) or open3d (for ``.fbx``) is not installed.
        InputError: ``max_points`` or ``seed`` is out of range.
    """
    if max_points < 1 or seed < 0:
        raise InputError(f"max_points must be at least 1 and seed at least 0, got {max_points} and {seed}")
    suffix = Path(path).suffix.lower()
    data = read_bytes(path, max_bytes=MAX_ARRAY_BYTES if suffix in (".npy", ".npz") else MAX_BYTES)
    if suffix not in READERS and (suffix := _suffix_of(data)) not in READERS:
        raise FileError("its content is of no known format", where=path, remedy=f"read are {' '.join(READERS)}")
    if suffix in TEXTS and data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):  # as Windows' shell redirects text
        data = data.decode("utf-16", "replace").encode("latin-1", "replace")
    sample = Sample(max_points, seed, Path(path))
    try:
        with np.errstate(all="ignore"):  # what overflows is found below
            found = READERS[suffix](data, sample)
    except ClipxError as error:
        raise type(error)(error.what, where=path, remedy=error.remedy) from error
    except Exception as error:  # whatever a parser trips over in a damaged file
        raise FileError(f"not a readable {suffix} file: {error or type(error).__name__}", where=path) from error
    del data
    if found.triangles is None and sample.flat:
        what = f"none of its {sample.flat:,} faces has an area"
        raise FileError(what, where=path, remedy="save its points as a cloud: .xyz, or .ply without faces")
    if found.triangles is None and suffix in MESHES_ONLY:
        raise FileError("is a mesh without faces", where=path, remedy="save a cloud as .ply or .xyz")
    if not len(found.points):
        raise FileError("holds no points", where=path)
    if found.triangles is not None and ((found.triangles < 0) | (found.triangles >= len(found.points))).any():
        what = f"has a face with a corner that is none of its {len(found.points):,} vertices"
        counts = " (do its faces count from 1?)" if found.triangles.min() == 1 else ""
        raise FileError(what + counts, where=path, remedy="open it in MeshLab or Blender and save it again")
    with np.errstate(all="ignore"):
        found = _without_what_has_no_place(found, sample)
    if not len(found.points):
        raise FileError("has NaN or infinite coordinates in all of its points", where=path)
    for note in sample.notes:
        warnings.warn(f"{path}: {note}", stacklevel=2)
    if sample.held > max_points >= len(found.points):
        kept = f"a sample of {len(found.points):,} is kept (seed {seed})"
        warnings.warn(f"{path}: of {sample.held:,} points {kept}", stacklevel=2)
    if found.normals is not None:
        normals = unit_length(found.normals)
        if not np.isfinite(normals).all():
            warnings.warn(f"{path}: its normals are left out, for some are NaN or zero", stacklevel=2)
        found = replace(found, normals=normals if np.isfinite(normals).all() else None)
    return found


def _without_what_has_no_place(found: Geometry, sample: Sample) -> Geometry:
    """Leave out points that are not finite, with the faces at them, and faces of fewer than three different
    corners; note how many.

    A mesh whose faces all are so is left as it is.
    """
    finite = np.isfinite(found.points).all(axis=1)
    triangles = found.triangles
    if not finite.all():
        lost = ""
        if triangles is not None:
            whole = finite[triangles].all(axis=1)
            lost = f", with {int((~whole).sum()):,} faces at them" if not whole.all() else ""
            triangles = (np.cumsum(finite) - 1)[triangles[whole]]
        what = f"{int((~finite).sum()):,} of its {len(finite):,} points have NaN or infinite coordinates"
        sample.notes.insert(0, f"{what} and are left out{lost}")
        kept = [None if given is None else given[finite] for given in (found.colors, found.normals)]
        found = Geometry(found.points[finite], None, found.up, *kept)
    if triangles is not None and len(triangles):
        # those of three different corners on a line are usual in CAD; no point of a sample falls on them
        a, b, c = triangles.T
        broad = (a != b) & (b != c) & (c != a)
        if broad.any() and not broad.all():
            sample.flat += int((~broad).sum())
            triangles = triangles[broad]
    if sample.flat:
        faces = "1 face" if sample.flat == 1 else f"{sample.flat:,} faces"
        sample.notes.append(f"{faces} without area left out")
    return replace(found, triangles=triangles if triangles is None or len(triangles) else None)


def holds_points(path: str | PathLike) -> bool:
    """False for a text of another kind, such as notes or a table; other suffixes say what a file is.

    Only the first 64 KB are read; a file that cannot be opened may hold points.
    """
    if Path(path).suffix.lower() not in (".txt", ".csv", ".asc"):
        return True
    try:
        with open(path, "rb") as file:
            return text_holds_points(file.read(2**16))
    except OSError:
        return True


# One reader a suffix: bytes and the choice of rows -> Geometry, its normals of any length. Each raises ValueError, or
# whatever numpy does, on a bad file.


def _read_off(data: bytes, sample: Sample) -> Geometry:
    lines = text_lines(data, comment="#")
    # ModelNet's files run the counts into the first line: OFF490 518 0
    header = re.match(r"(?:ST)?(C?)(N?)OFF\s*(.*)$", lines[0], re.IGNORECASE) if lines else None
    if header is None and lines and re.fullmatch(r"\d+\s+\d+(\s+\d+)?", lines[0]):  # the word may be left out
        header = re.match(r"()()(.*)", lines[0])
    if header is None:
        raise ValueError("the first line is not OFF")
    color, normal, rest = header.groups()
    if rest.lower().startswith("binary"):
        raise ValueError("a binary OFF is not read; save it as text, or as .ply")
    counts, *body = [rest, *lines[1:]] if rest else lines[1:]
    vertex_count, face_count = (to_count(word) for word in counts.split()[:2])
    require_rows(vertex_count + face_count, len(body))
    corners, sizes = [], []
    for line in body[vertex_count : vertex_count + face_count]:
        size, *row = map(int, line.split()[: 1 + to_count(line.split(None, 1)[0])])  # what follows is colour
        require_rows(size, len(row), "corners of a face")
        corners += row
        sizes.append(size)
    columns = numbers(body[:vertex_count], range(3 + 3 * bool(color) + 3 * bool(normal)))
    points = columns[:, :3]
    return Geometry(
        points,
        fans(corners, sizes, sample),
        colors=to_colors(columns[:, -3:], points, sample) if color else None,  # behind the normal
        normals=columns[:, 3:6] if normal else None,
    )


def _read_obj(data: bytes, sample: Sample) -> Geometry:
    vertices: list[str] = []
    corners: list[int] = []
    sizes: list[int] = []
    for line in text_lines(data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" "), comment="#"):
        key, _, rest = line.partition(" ")
        if key in "vV":
            vertices.append(rest)
        elif key in "fF":
            row = [int(word.split("/", 1)[0]) for word in rest.split()]
            if 0 in row:
                raise ValueError("a face names vertex 0, but OBJ counts from 1")
            corners += (i - 1 if i > 0 else len(vertices) + i for i in row)  # -1 is the last vertex so far
            sizes.append(len(row))
    colored = bool(vertices) and all(len(row.split()) >= 6 for row in vertices)
    columns = numbers(vertices, range(6 if colored else 3))
    points, triangles = columns[:, :3], fans(corners, sizes, sample)
    return Geometry(points, triangles, colors=to_colors(columns[:, 3:], points, sample) if colored else None)


_FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def _read_stl(data: bytes, sample: Sample) -> Geometry:
    require_mesh_bytes(data)
    promised = int.from_bytes(data[80:84], "little") if len(data) >= 84 else None
    held, rest = divmod(max(0, len(data) - 84), _FACET.itemsize)
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:5].lower() == b"solid" and b"\0" not in data[:1024]
    if (promised != held or rest) and text:  # some binary files begin with "solid" too
        points = _text_facets(data, sample)
    elif promised is None or (promised > held and rest) or (promised and not held):
        raise ValueError("the file is cut short, or neither text nor a binary STL")
    else:
        # the count is right where more follows that is no whole number of triangles; else the file is
        count = promised if 0 < promised < held and rest else held
        if promised > count:
            sample.notes.append(
                f"it may be cut short: its header says {promised:,} triangles, the file holds {count:,}"
            )
        elif promised < count:
            sample.notes.append(f"its header says {promised:,} triangles, the file holds {count:,}: all are read")
        if tail := len(data) - 84 - count * _FACET.itemsize:
            sample.notes.append(f"{tail:,} bytes behind its last triangle are left unread")
        points = np.frombuffer(data, _FACET, count, 84)["corners"].reshape(-1, 3)
    return Geometry(points.astype(np.float64), np.arange(len(points)).reshape(-1, 3) if len(points) else None)


def _text_facets(data: bytes, sample: Sample) -> np.ndarray:
    """(3 F, 3) corners of a text STL."""
    lines = [line.lower() for line in text_lines(data)]
    vertices = [line.removeprefix("vertex") for line in lines if line.startswith("vertex")]
    last = next((line for line in reversed(lines) if line.startswith(("vertex", "end", "facet", "outer"))), "")
    if last.replace(" ", "") == "endfacet":
        sample.notes.append("it may be cut short: endsolid is missing")
    elif not last.startswith("endsolid"):
        raise ValueError("the file is cut short: endsolid is missing")
    if len(vertices) % 3:
        raise ValueError(f"{len(vertices)} corners do not make triangles")
    return numbers(vertices)


def _read_npy(data: bytes, sample: Sample) -> Geometry:
    return _read_columns(read_array(io.BytesIO(data), len(data)), sample)


def _read_columns(array: np.ndarray, sample: Sample) -> Geometry:
    """(P, 3 to 10) numbers: x, y, z, and what text files have behind them."""
    if array.ndim == 2 and 3 < array.shape[1] <= MAX_COLUMNS and array.dtype.kind in "fiu":
        kept = array[sample.rows(len(array))].astype(np.float64)
        return with_attributes(kept, (["x", "y", "z"] + [""] * MAX_COLUMNS)[: array.shape[1]], sample)
    points = _triples(array, "points")
    return Geometry(points[sample.rows(len(points))].astype(np.float64))


def _read_npz(data: bytes, sample: Sample) -> Geometry:
    arrays = read_npz(io.BytesIO(data), names=("points", "up", "colors", "normals"), max_bytes=MAX_ARRAY_BYTES)
    if "points" not in arrays:
        raise ValueError("no array named 'points'")
    up = str(arrays["up"]) if "up" in arrays else None
    if up not in (None, "x", "y", "z"):
        raise ValueError(f"up must be x, y or z, got {up[:20]!r}")
    found = _read_columns(arrays["points"], sample)
    count = len(arrays["points"])
    rows = sample.rows(count)
    kept = {name: _triples(arrays[name], name, count)[rows] for name in ("colors", "normals") if name in arrays}
    colors, normals = found.colors, found.normals
    if "colors" in kept:
        whole = {"u1": 255.0, "u2": 65535.0}.get(kept["colors"].dtype.str[1:])
        colors = to_colors(kept["colors"], found.points, sample, whole)
    return Geometry(found.points, up=up, colors=colors, normals=kept.get("normals", normals))


def _triples(array: np.ndarray, name: str, count: int | None = None) -> np.ndarray:
    wrong = array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "fiu"
    if wrong or count not in (None, len(array)):
        rows = "P" if count is None else f"{count:,}"
        turned = "; transpose it" if array.ndim == 2 and array.shape[0] == 3 and count is None else ""
        raise ValueError(f"{name} must be ({rows}, 3) numbers, got {array.shape} {array.dtype}{turned}")
    return array


def _read_by_open3d(data: bytes, sample: Sample, suffix: str) -> Geometry:
    """What open3d reads of a mesh that is not read here; of a corrupt file it may read a part.

    Raises:
        MissingDependencyError: open3d is not installed, or a system library that it needs.
    """
    open3d = load_open3d(f"{suffix} files")
    with TemporaryDirectory() as folder:  # alone there: nothing that the file names can be opened beside it
        path = Path(folder, f"file{suffix}")
        path.write_bytes(data)
        with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
            found = open3d.io.read_triangle_mesh(str(path))
    names = ("vertices", "vertex_colors", "vertex_normals")
    points, colors, normals = (np.array(getattr(found, name), float).reshape(-1, 3) for name in names)
    triangles = np.array(found.triangles, np.int64).reshape(-1, 3)
    return Geometry(
        points,
        triangles if len(triangles) else None,
        colors=to_colors(colors, points, sample, 1) if len(colors) else None,
        normals=normals if len(normals) else None,
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


READERS: dict[str, Callable[[bytes, Sample], Geometry]] = {
    ".ply": read_ply,
    ".off": _read_off,
    ".obj": _read_obj,
    ".stl": _read_stl,
    ".glb": read_gltf,
    ".gltf": read_gltf,
    **dict.fromkeys((".xyz", ".txt", ".asc", ".csv", ".pts", ".xyzn", ".xyzrgb"), read_text),
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".pcd": read_pcd,
    ".las": read_las,
    ".laz": read_las,
    ".fbx": partial(_read_by_open3d, suffix=".fbx"),
}
MESHES_ONLY = (".off", ".stl")
TEXTS = (".ply", ".off", ".obj", ".stl", ".pcd")  # of which some are; text.py reads the others
