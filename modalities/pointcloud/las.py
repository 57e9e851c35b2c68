"""LAS and LAZ, the formats of laser scans from the air and the ground, by laspy (the ``las`` extra)."""

from __future__ import annotations

import io
import logging
from importlib import import_module
from typing import Any

import numpy as np

from clipx.errors import MissingDependencyError
from clipx.modalities.pointcloud.geometry import Geometry
from clipx.modalities.pointcloud.parsing import Sample, require_rows, to_colors

_AT_ONCE = 2**18  # points
_MOST_POINTS_A_BYTE = 16  # of LAZ; scans take bytes a point
_LAYERS = {10: 9, 11: 1, 12: 2, 13: 1, 14: 0}  # kind of item in LAZ -> its layers; 0: one a byte


def read_las(data: bytes, sample: Sample) -> Geometry:
    """Bytes of a file -> its points and 16-bit colours, z up. Files whose colours are all 0 have none; those whose
    colours are all below 256 hold 8-bit ones, a common mistake. Raises ValueError and what laspy does.

    Raises:
        MissingDependencyError: laspy or lazrs is not installed.
    """
    try:
        laspy, _ = import_module("laspy"), import_module("lazrs")
    except ImportError as error:
        raise MissingDependencyError(
            "LAS and LAZ files need laspy", remedy="pip install 'clipx-modalities[las]'"
        ) from error
    logging.getLogger("laspy").addHandler(logging.NullHandler())  # it would print what it raises
    start, tables = np.frombuffer(data, "<u4", 2, 96).tolist()  # of the header: where the points start; its tables
    require_rows(54 * tables, len(data), "bytes of tables")  # laspy would go on behind the end
    # The other backend, on many threads, takes more memory.
    with laspy.open(io.BytesIO(data), read_evlrs=False, laz_backend=laspy.LazBackend.Lazrs) as reader:
        points, packed = int(reader.header.point_count), reader.header.are_points_compressed
        room = _MOST_POINTS_A_BYTE * len(data) if packed else (len(data) - start) // reader.header.point_format.size
        require_rows(points, room, "points")
        if packed:
            _check_laz(data, start, reader.header)
        try:
            xyz, rgb = _read_points(reader, np.arange(points)[sample.rows(points)])
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # Rust's, which is no Exception
                raise
            raise ValueError(f"damaged compressed points ({error})") from error
    colors = to_colors(rgb, xyz, sample, 255 if rgb.max(initial=0) < 256 else 65535) if rgb.any() else None
    return Geometry(xyz, up="z", colors=colors)


def _read_points(reader: Any, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) positions and (n, 3) colours, zeros where there are none, of the points of these numbers."""
    header, done = reader.header, 0
    xyz, rgb = np.empty((len(wanted), 3)), np.zeros((len(wanted), 3), np.uint16)
    for chunk in reader.chunk_iterator(_AT_ONCE):
        here = slice(*np.searchsorted(wanted, [done, done + len(chunk)]))
        rows = chunk.array[wanted[here] - done]
        done += len(chunk)
        for i, name in enumerate("XYZ"):
            xyz[here, i] = rows[name] * header.scales[i] + header.offsets[i]
        if "red" in rows.dtype.names:
            rgb[here] = np.stack([rows["red"], rows["green"], rows["blue"]], axis=1)
    require_rows(int(header.point_count), done, "points")
    return xyz, rgb


def _check_laz(data: bytes, start: int, header: Any) -> None:
    """Raise ValueError on what would make the decompressor, which is not ours, panic or ask for all memory."""
    record = next(table.record_data for table in header.vlrs if type(table).__name__ == "LasZipVlr")
    count = int(np.frombuffer(record, "<u2", 1, 32)[0])
    items = np.frombuffer(record, [("type", "<u2"), ("size", "<u2"), ("version", "<u2")], count, 34)
    point_bytes = header.point_format.size
    if items["size"].sum() != point_bytes or not np.frombuffer(record, "<u4", 1, 12)[0]:
        raise ValueError("the table of the compression does not fit the points")
    table = int(np.frombuffer(data, "<i8", 1, start)[0])
    if table == -1:  # written last, by a program that could not go back
        table = int(np.frombuffer(data, "<i8", 1, len(data) - 8)[0])
    chunks = int(np.frombuffer(data, "<u4", 1, table + 4)[0])
    require_rows(point_bytes * chunks, len(data), "bytes of chunks")  # the first point of each stands as it is
    if items["version"][0] >= 3:  # chunks of layers: a point, a count, the size of each layer, the layers
        layers = sum(_LAYERS[type] or size for type, size, _ in items.tolist())
        at = start + 8
        while at < table:
            at += point_bytes + 4
            at += 4 * layers + int(np.frombuffer(data, "<u4", layers, at).sum())
        if at != table:
            raise ValueError("its layers are not as long as promised")
