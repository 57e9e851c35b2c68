"""PCD: text, packed and compressed clouds; the decompressor against liblzf's own bytes; damage is refused."""

import tracemalloc
from base64 import b64decode
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipx.errors import ClipxError, FileError
from clipx.modalities.pointcloud.files import read_geometry
from clipx.modalities.pointcloud.pcd import lzf_decompress

POINTS = np.stack([np.arange(12) % 3, np.arange(12) // 3, np.zeros(12)], axis=1)  # (12, 3)
COLORS = np.full(12, 0xFF8040, "<u4")
# 12 x's, y's and z's in float32, then the colours, compressed by liblzf (as HDF5's filter brings it).
LIBLZF = b64decode(b"AQAAQAABgD8gBQBAIAMgAOAbC8AAQCvAA2A/QEMgAwBA4AID4CUAAkCA/+AiAwH/AA==")


def header(format: str, fields="x y z rgb", sizes="4 4 4 4", types="F F F U", counts=None, width=12, height=1) -> bytes:
    lines = ["# .PCD v0.7 - Point Cloud Data file format", "VERSION 0.7", f"FIELDS {fields}", f"SIZE {sizes}"]
    lines += [f"TYPE {types}", f"COUNT {counts}" if counts else "", f"WIDTH {width}", f"HEIGHT {height}"]
    return "\n".join([*lines, "VIEWPOINT 0 0 0 1 0 0 0", f"POINTS {width * height}", f"DATA {format}", ""]).encode()


def rows(points=POINTS, colors=COLORS) -> np.ndarray:
    """Packed rows of x, y, z and a colour."""
    table = np.empty(len(points), [("xyz", "<f4", 3), ("rgb", "<u4")])
    table["xyz"], table["rgb"] = points, colors
    return table


def compressed(packed: bytes, whole: int, **options) -> bytes:
    return header("binary_compressed", **options) + np.array([len(packed), whole], "<u4").tobytes() + packed


def literal(data: bytes) -> bytes:
    """LZF without a repetition."""
    return b"".join(bytes([len(data[i : i + 32]) - 1]) + data[i : i + 32] for i in range(0, len(data), 32))


def lzf(data: bytes) -> bytes:
    """A plain LZF compressor: at each place the last earlier one whose three bytes are the same."""
    out, plain, at, last = bytearray(), bytearray(), 0, {}
    while at < len(data):
        start, last[data[at : at + 3]] = last.get(data[at : at + 3]), at
        if start is None or at - start > 8192 or at + 3 > len(data):
            plain.append(data[at])
            at += 1
            continue
        length = 3
        while at + length < len(data) and length < 264 and data[start + length] == data[at + length]:
            length += 1
        out += literal(bytes(plain))
        plain.clear()
        high, low = divmod(at - start - 1, 256)
        out += bytes([(length - 2) << 5 | high, low] if length < 9 else [7 << 5 | high, length - 9, low])
        at += length
    return bytes(out + literal(bytes(plain)))


FILES = {
    "ascii.pcd": header("ascii") + b"".join(b"%g %g %g %d\n" % (*p, c) for p, c in zip(POINTS, COLORS, strict=True)),
    "binary.pcd": header("binary") + rows().tobytes(),
    "compressed.pcd": compressed(LIBLZF, 192),
}


def read(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return read_geometry(path)


@pytest.mark.parametrize("name", FILES)
def test_the_three_formats_hold_the_same(tmp_path, name):
    found = read(tmp_path, name, FILES[name])
    assert found.points.dtype == np.float64 and found.points.tolist() == POINTS.tolist()
    assert found.triangles is None and found.up is None and found.normals is None
    assert found.colors.dtype == np.float32
    np.testing.assert_allclose(found.colors, np.tile([1, 128 / 255, 64 / 255], (12, 1)), rtol=1e-6)


def test_fields_of_any_order_type_and_count(tmp_path):
    """Padding, a histogram, doubles and whole numbers; old files without COUNT, WIDTH and a colour."""
    kind = np.dtype([("a", "u1", 4), ("z", "<f8"), ("h", "<f4", 5), ("x", "<i2"), ("b", "u1", 3), ("y", "<u8")])
    table = np.ones(12, kind)
    table["x"], table["y"], table["z"] = POINTS.T
    about = {"fields": "_ z histogram x _ y", "sizes": "1 8 4 2 1 8", "types": "U F F I U U", "counts": "4 1 5 1 3 1"}
    assert read(tmp_path, "a.pcd", header("binary", **about) + table.tobytes()).points.tolist() == POINTS.tolist()
    by_field = b"".join(table[name].tobytes() for name in kind.names)
    packed = compressed(lzf(by_field), len(by_field), **about)
    assert read(tmp_path, "b.pcd", packed).points.tolist() == POINTS.tolist()
    text = b"".join(b"1 1 1 1 %g 1 1 1 1 1 %d 1 1 1 %d\n" % (z, x, y) for x, y, z in POINTS)
    assert read(tmp_path, "c.pcd", header("ascii", **about) + text).points.tolist() == POINTS.tolist()
    old = b"COLUMNS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 2\nDATA ascii\n1 2 3\n4 5 6\n"
    assert read(tmp_path, "d.pcd", old).points.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_colour_may_be_packed_into_a_float(tmp_path):
    white = np.full(12, 0xFFFFFFFF, "<u4")  # as a float it is NaN, and opaque white none the less
    found = read(tmp_path, "a.pcd", header("binary", types="F F F F") + rows(colors=white).tobytes())
    assert (found.colors == 1).all()
    red = np.uint32(0xFF0000).view(np.float32)
    text = header("ascii", types="F F F F", width=1) + b"1 2 3 %.9e\n" % red
    assert read(tmp_path, "b.pcd", text).colors.tolist() == [[1, 0, 0]]
    with pytest.warns(UserWarning, match=r"c\.pcd: its colours are left out, for 1 of 1 are NaN"):
        assert read(tmp_path, "c.pcd", header("ascii", types="F F F F", width=1) + b"1 2 3 nan\n").colors is None


def test_missing_points_of_an_organised_cloud_are_left_out(tmp_path):
    points = POINTS.astype(np.float32)
    points[[1, 5]] = np.nan
    points[7, 2] = np.nan
    found = read(tmp_path, "a.pcd", header("binary", width=4, height=3) + rows(points).tobytes())
    assert found.points.tolist() == np.delete(POINTS, [1, 5, 7], axis=0).tolist() and len(found.colors) == 9
    with pytest.raises(FileError, match="holds no points"):
        read(tmp_path, "b.pcd", header("binary", width=4, height=3) + rows(points * np.nan).tobytes())
    points[0] = np.inf
    with pytest.warns(UserWarning, match="1 of its 9 points have NaN or infinite coordinates and are left out"):
        assert len(read(tmp_path, "c.pcd", header("binary", width=4, height=3) + rows(points).tobytes()).points) == 8


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("name", FILES)
def test_words_of_any_case_and_lines_of_any_end(tmp_path, name, end):
    at = FILES[name].index(b"DATA") + FILES[name][FILES[name].index(b"DATA") :].index(b"\n") + 1
    head = b"\n\n" + FILES[name][:at].lower()
    found = read(tmp_path, name, head.replace(b"\n", end) + FILES[name][at:])
    assert found.points.tolist() == POINTS.tolist() and len(found.colors) == 12


def test_normals(tmp_path):
    table = np.zeros((12, 6), "<f4")
    table[:, :3], table[:, 5] = POINTS, 2
    about = {"fields": "x y z normal_x normal_y normal_z", "sizes": "4 4 4 4 4 4", "types": "F F F F F F"}
    assert read(tmp_path, "a.pcd", header("binary", **about) + table.tobytes()).normals.tolist() == [[0, 0, 1]] * 12
    table[3, 4] = np.nan  # what PCL writes where too few neighbours were found
    with pytest.warns(UserWarning, match=r"b\.pcd: its normals are left out, for some are NaN or zero"):
        assert read(tmp_path, "b.pcd", header("binary", **about) + table.tobytes()).normals is None


BAD = {
    "nothing.pcd": b"\n",
    "format.pcd": header("morse"),
    "noz.pcd": header("binary", fields="x y rgb w") + rows().tobytes(),
    "lengths.pcd": header("binary", sizes="4 4 4") + rows().tobytes(),
    "type.pcd": header("binary", sizes="3 4 4 4") + rows().tobytes(),
    "count.pcd": header("binary", counts="1 1 1 0") + rows().tobytes(),
    "columns.pcd": header("binary", counts="1 1 1 99999999999999") + rows().tobytes(),
    "color.pcd": header("binary", sizes="4 4 4 2") + rows().tobytes(),
    "minus.pcd": header("binary", width=-12) + rows().tobytes(),
    "product.pcd": FILES["binary.pcd"].replace(b"HEIGHT 1", b"HEIGHT 2"),
    "cut.pcd": FILES["binary.pcd"][:-1],
    "cut_row.pcd": FILES["ascii.pcd"][:-30],
    "cut_column.pcd": FILES["ascii.pcd"].rsplit(b" ", 1)[0],
    "cut_lzf.pcd": FILES["compressed.pcd"][:-1],
    "cut_sizes.pcd": header("binary_compressed") + b"\0\0\0",
    "huge.pcd": header("binary", width=10**12) + rows().tobytes(),
    "huge_text.pcd": header("ascii", width=10**12) + b"1 2 3 4\n",
    "huge_lzf.pcd": compressed(LIBLZF, 16 * 10**8, width=10**8),
    "short_lzf.pcd": compressed(literal(rows()[:11].tobytes()), 192),
    "long_lzf.pcd": compressed(literal(bytes(2000)), 192),
    "before_lzf.pcd": compressed(b"\0\x00\xff\xff\xff" + LIBLZF, 192),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_without_allocating(tmp_path, name):
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match=name.replace(".", r"\.")) as caught:
            read(tmp_path, name, BAD[name])
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


def test_lzf_as_its_own_library_writes_it():
    by_field = POINTS.astype("<f4").T.tobytes() + COLORS.tobytes()
    assert lzf_decompress(LIBLZF, 192) == by_field
    assert lzf_decompress(b"", 0) == b""
    assert lzf_decompress(b"\x01ab\xe0\xff\x00", 266) == b"a" + 265 * b"b"  # the longest run, of distance 1
    for size in (191, 193):
        with pytest.raises(ValueError, match="corrupt, or do not unpack"):
            lzf_decompress(LIBLZF, size)
    for cut in range(len(LIBLZF)):
        with pytest.raises(ValueError, match="corrupt"):
            lzf_decompress(LIBLZF[:cut], 192)


@given(st.lists(st.binary(max_size=40) | st.binary(min_size=1, max_size=3).map(lambda b: b * 300), max_size=8))
@settings(max_examples=100, deadline=None)
def test_lzf_gives_back_what_was_compressed(parts):
    data = b"".join(parts + parts[:1])
    assert lzf_decompress(lzf(data), len(data)) == data


@given(packed=st.binary(max_size=60), size=st.integers(0, 500))
@settings(max_examples=200, deadline=None)
def test_any_bytes_unpack_to_what_was_promised_or_are_refused(packed, size):
    with suppress(ValueError):
        assert len(lzf_decompress(packed, size)) == size


@given(data=st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_raise_clipx_errors_only(tmp_path, data):
    name = data.draw(st.sampled_from(sorted(FILES)))
    content = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255) | st.sampled_from(b"0123456789 -\nFUI"))
    del content[data.draw(st.integers(1, len(content)) | st.just(len(content))) :]
    try:
        found = read(tmp_path, name, bytes(content))
    except ClipxError as error:
        assert name in str(error) and "\n" not in str(error)
    else:
        assert found.points.shape[1] == 3 and np.isfinite(found.points).all()
        assert found.colors is None or (found.colors.shape == found.points.shape and found.colors.max() <= 1)
