"""Clouds and meshes as people's programs write them: separators, headers, counts, NaN, faces without area."""

import base64
import io
import json
import warnings

import numpy as np
import pytest
import trimesh

from clipx.errors import FileError
from clipx.modalities.pointcloud.encoder import PointCloud
from clipx.modalities.pointcloud.files import holds_points, read_geometry

POINTS = np.random.default_rng(0).normal(size=(20, 3)).round(4)
SHADES = np.random.default_rng(1).integers(0, 256, (20, 3))
NORMALS = np.tile([0.6, 0, 0.8], (20, 1))
LEVELS = np.linspace(-900.5, 900.5, 20)[:, None]  # an intensity


def read(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_geometry(path)


def silently(folder, name, content):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read(folder, name, content)


def rows(*tables, by=" ", comma=False, end="\n", last=""):
    def word(value):
        text = f"{value:.0f}" if not comma and np.isfinite(value) and value % 1 == 0 else f"{value:.4f}"
        return text.replace(".", ",") if comma else text

    return "".join(by.join(map(word, row)) + last + end for row in np.concatenate(tables, axis=1))


TABLES = {
    "semicolons.xyz": rows(POINTS, by=";"),
    "semicolons, commas.xyz": rows(POINTS, by=";", comma=True),
    "semicolons and blanks.xyz": rows(POINTS, by=" ; ", comma=True),
    "semicolons at the end.csv": rows(POINTS, by=";", comma=True, last=";"),
    "blanks, commas.txt": rows(POINTS, comma=True),
    "tabs, commas.asc": rows(POINTS, by="\t", comma=True),
    "commas and blanks, commas.txt": rows(POINTS, by=", ", comma=True),
    "commas.csv": rows(POINTS, by=","),
    "commas and blanks.csv": rows(POINTS, by=", "),
    "tabs.asc": rows(POINTS, by="\t"),
    "old.xyz": rows(POINTS, end="\r"),
    "windows.xyz": rows(POINTS, end="\r\n"),
    "quoted.csv": "\n".join(",".join(f'"{v}"' for v in row) for row in POINTS),
    "quoted commas.csv": "\n".join(",".join(f'"{v}"'.replace(".", ",") for v in row) for row in POINTS),
    "excel.csv": "\ufeffX;Y;Z\r\n" + rows(POINTS, by=";", comma=True, end="\r\n"),
    "utf16.txt": ("\ufeff" + rows(POINTS)).encode("utf-16-le"),
    "header.xyz": "X Y Z\n" + rows(POINTS),
    "title.xyz": "A scan of 2024\nX Y Z\n" + rows(POINTS),
    "units.csv": "X [m],Y [m],Z [m]\n" + rows(POINTS, by=","),
    "cloudcompare.txt": "//X Y Z\n" + rows(POINTS),
    "cloudcompare.asc": "//X Y Z\n20\n" + rows(POINTS),
    "count.xyz": "20\n" + rows(POINTS),
    "count.pts": "20 \r\n" + rows(POINTS, end="\r\n"),
    "two counts.pts": "12\n" + rows(POINTS[:12]) + "8\n" + rows(POINTS[12:]),
    "hash.txt": "# a scan\n#\n\n" + rows(POINTS).replace("\n", " # a point\n", 3),
    "slashes.txt": "// a scan\n" + rows(POINTS),
    "percent.txt": "% a scan\n" + rows(POINTS),
    "named.csv": "id,intensity,z,y,x\n" + rows(np.arange(20.0)[:, None], LEVELS, POINTS[:, ::-1], by=","),
    "paraview.csv": '"Points:0","Points:1","Points:2"\n' + rows(POINTS, by=","),
    "signs.xyz": "".join("{:+.4e} {:+.4e} {:+.4e}\n".format(*row) for row in POINTS),
    "one line end less.xyz": rows(POINTS).rstrip("\n"),
    "trailing words.txt": rows(POINTS, last=" chair"),
    "fortran.xyz": rows(POINTS).replace(" ", "D+00 ").replace("\n", "d0\n"),
    "level.xyz": rows(POINTS, LEVELS),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_points(tmp_path, name):
    found = silently(tmp_path, name, TABLES[name])
    np.testing.assert_array_equal(found.points, POINTS)
    assert found.colors is None and found.normals is None
    assert PointCloud.claims(tmp_path / name) and name[name.rindex(".") :] in PointCloud.suffixes


WITH_MORE = {
    "a.xyzrgb": rows(POINTS, SHADES),
    "b.xyzrgb": rows(POINTS, SHADES / 255.0),
    "a.pts": "20\n" + rows(POINTS, LEVELS.round(), SHADES),
    "a.txt": "//X Y Z R G B Nx Ny Nz\n" + rows(POINTS, SHADES, NORMALS),
    "b.txt": "//X Y Z R G B Scalar_field Nx Ny Nz\n20\n" + rows(POINTS, SHADES, LEVELS, NORMALS),
    "c.txt": "//X,Y,Z,Rf,Gf,Bf\n" + rows(POINTS, SHADES / 255.0, by=","),
    "a.csv": "x;y;z;intensity;red;green;blue\n" + rows(POINTS, LEVELS, SHADES, by=";", comma=True),
    "a.asc": rows(POINTS, LEVELS, SHADES, NORMALS),
    "b.asc": rows(POINTS, SHADES, LEVELS),
    "ints.csv": "x,y,z,r,g,b\n" + rows(np.round(10 * POINTS), SHADES, by=","),
}


@pytest.mark.parametrize("name", WITH_MORE)
def test_tables_with_colours(tmp_path, name):
    found = silently(tmp_path, name, WITH_MORE[name])
    np.testing.assert_array_equal(found.points, np.round(10 * POINTS) if name == "ints.csv" else POINTS)
    np.testing.assert_allclose(found.colors, SHADES / 255, atol=1e-3)
    assert (found.normals is not None) == (name in ("a.txt", "b.txt", "a.asc"))


def test_a_count_that_is_too_small_is_told(tmp_path):
    with pytest.warns(UserWarning, match=r"a\.pts: its count says 12 points, it holds 20: all are read"):
        assert len(read(tmp_path, "a.pts", "12\n" + rows(POINTS)).points) == 20


def test_normals_by_suffix(tmp_path):
    np.testing.assert_allclose(silently(tmp_path, "a.xyzn", rows(POINTS, 3 * NORMALS)).normals, NORMALS)


REFUSED = {  # content, what the line says
    "a.xyz": ("Station Easting\n" + rows(POINTS), r"line 1 \('Station Easting'\) is no point.*delete it"),
    "b.xyz": (rows(POINTS) + "the end\n", r"line 21 \('the end'\) holds 0 numbers, not 3; delete it"),
    "c.xyz": (rows(POINTS) + "1 2\n", r"line 21 \('1 2'\) holds 2 numbers"),
    "d.csv": (rows(POINTS, by=",", comma=True), "commas are decimal ones and stand between the numbers.*decimal point"),
    "e.csv": ("1,5,2,5,3,5\n2,5,3,5,4,5\n", "commas may be decimal ones or stand between.*decimal point"),
    "f.csv": ("1,5,2,5,3\n2,5,3,4,5\n2,5,3,4,5,1\n", r"line 3 holds 6 numbers, the first row 5"),
    "g.csv": ("1.5;2,5;3.5\n", "commas and points"),
    "thousands.csv": ('"1,234.5","2,345.6","3,400.0"\n', "commas stand between thousands"),
    "thousands.txt": ("1,234.5 2,345.6 3,400.0\n", "commas stand between thousands"),
    "h.xyz": ("25\n" + rows(POINTS), "cut short: 25 points promised, 20 there"),
    "i.xyz": ("0 0 0\n" * 300 + "0,5 1 1\n", r"line 301 \('0,5 1 1'\) holds 0 numbers"),
    "j.xyz": ("3\nwater\nO 0 0 0\nH 0 0 1\nH 0 1 0\n", r"line 2 \('water'\) is no point"),
    "k.asc": ("ncols 4\nnrows 2\n1 2 3 4\n1 2 3 4\n", r"line 1 \('ncols 4'\) is no point"),
    "l.csv": ("time,x,y\n1,2,3\n", r"line 1 \('time,x,y'\) is no point and names no x, y and z"),
    "m.xyz": ("1 2 3\n0.5 0.3 -1.#IND0 7\n", "line 2"),
    "n.pts": ("20\n", "cut short"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_tables_that_are_no_points_say_why(tmp_path, name):
    content, said = REFUSED[name]
    with pytest.raises(FileError, match=f"{name}: .*{said}") as caught:
        read(tmp_path, name, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "claimed"),
    [
        ("notes.txt", "buy milk\n3 eggs, 2 loaves, 1 cake\n", False),
        ("labels.csv", "path,label\na.xyz,chair\n", False),
        ("log.csv", "time,temperature,humidity\n0,20.5,40\n1,20.6,41\n", False),
        ("grid.asc", "ncols 4\nnrows 1\n1 2 3 4\n", False),
        ("empty.txt", "", False),
        ("cloudcompare.txt", "//X Y Z\n1 2 3\n", True),
        ("ambiguous.csv", "1,5,2,5,3,5\n2,5,3,5,4,5\n", True),  # so that its error is told
        ("a.xyz", "anything", True),
    ],
)
def test_what_a_folder_holds(tmp_path, name, content, claimed):
    (tmp_path / name).write_text(content)
    assert holds_points(tmp_path / name) is claimed


# Points without a place, faces without area ---------------------------------------------------------------------------

LOST = POINTS.copy()
LOST[3], LOST[7, 1], LOST[11] = np.nan, np.inf, [-np.inf, 0, 0]
KEPT = np.delete(POINTS, [3, 7, 11], axis=0)


def saved(write, *arrays, **named):
    file = io.BytesIO()
    write(file, *arrays, **named)
    return file.getvalue()


def ply(points, faces=(), format="ascii", head="", end="\n"):
    lines = ["ply", f"format {format} 1.0", f"element vertex {len(points)}"]
    lines += [f"property float {axis}" for axis in "xyz"]
    lines += [head or f"element face {len(faces)}\nproperty list uchar int vertex_indices", "end_header"]
    text = "\n".join(lines).replace("\n", end) + end
    if format == "ascii":
        body = [" ".join(map(str, p)) for p in points] + [" ".join(map(str, (len(f), *f))) for f in faces]
        return text.encode() + end.join(body).encode() + end.encode()
    kind = "<" if "little" in format else ">"
    packed = [bytes([len(f)]) + np.array(f, kind + "i4").tobytes() for f in faces]
    return text.encode() + np.array(points, kind + "f4").tobytes() + b"".join(packed)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.ply", ply(LOST)),
        ("b.ply", ply(LOST, format="binary_little_endian")),
        ("a.xyz", rows(LOST)),
        ("windows.xyz", rows(LOST).replace("nan", "-1.#IND").replace("inf", "1.#INF").replace("--", "-")),
        ("a.npy", saved(np.save, LOST)),
        ("a.npz", saved(np.savez, points=LOST)),
        ("a.obj", "".join(f"v {row}\n" for row in rows(LOST).splitlines())),
        ("colours.xyz", rows(LOST, np.where(np.isfinite(LOST), SHADES, np.nan))),
    ],
)
def test_points_without_a_place_are_left_out_and_counted(tmp_path, name, content):
    with pytest.warns(
        UserWarning, match=f"{name}: 3 of its 20 points have NaN or infinite coordinates and are left out"
    ):
        found = read(tmp_path, name, content)
    np.testing.assert_allclose(found.points, KEPT, atol=1e-6)


def test_faces_at_such_points_go_with_them(tmp_path):
    faces = [[0, 1, 2], [2, 3, 4], [4, 5, 6], [7, 8, 9, 10], [12, 13, 14]]
    for name, content in {
        "a.ply": ply(LOST, faces),
        "a.off": "OFF\n20 5 0\n" + rows(LOST) + "".join(f"{len(f)} {' '.join(map(str, f))}\n" for f in faces),
    }.items():
        with pytest.warns(UserWarning, match=f"{name}: 3 of its 20 points .* are left out, with 3 faces at them"):
            found = read(tmp_path, name, content)
        assert found.points[found.triangles].tolist() == POINTS[[[0, 1, 2], [4, 5, 6], [12, 13, 14]]].tolist() or (
            np.allclose(found.points[found.triangles], POINTS[[[0, 1, 2], [4, 5, 6], [12, 13, 14]]])
        )


@pytest.mark.parametrize("bad", [[0, 1], [], [5], [3, 3, 4], [3, 4, 4, 3], [6, 6, 6]])
def test_faces_without_area_are_left_out_and_counted(tmp_path, bad):
    faces = [[0, 1, 2], bad, [4, 5, 6]]
    contents = {
        "a.ply": ply(POINTS, faces),
        "b.ply": ply(POINTS, faces, "binary_big_endian"),
        "a.off": "OFF\n20 3 0\n" + rows(POINTS) + "".join(f"{len(f)} {' '.join(map(str, f))}\n" for f in faces),
        "a.obj": "".join(f"v {row}\n" for row in rows(POINTS).splitlines())
        + "".join("f " + " ".join(str(i + 1) for i in f) + "\n" for f in faces),
    }
    for name, content in contents.items():
        with pytest.warns(UserWarning, match=rf"{name}: \d faces? without area left out"):
            assert read(tmp_path, name, content).triangles.tolist() == [[0, 1, 2], [4, 5, 6]]


def test_faces_that_count_from_one_are_named(tmp_path):
    with pytest.raises(FileError, match=r"none of its 20 vertices \(do its faces count from 1\?\); open it in MeshLab"):
        read(tmp_path, "a.off", "OFF\n20 2 0\n" + rows(POINTS) + "3 1 2 3\n3 18 19 20\n")


# PLY ------------------------------------------------------------------------------------------------------------------

STRIP = [0, 1, 2, 3, -1, 4, 5, 6, -1, 7, 8, -1, 9, 10, 11, 12, 13]
CUT = [[0, 1, 2], [2, 1, 3], [4, 5, 6], [9, 10, 11], [11, 10, 12], [11, 12, 13]]


@pytest.mark.parametrize("item", ["vertex_indices", "vertex_index"])
def test_ply_tristrips(tmp_path, item):
    head = f"element tristrips 2\nproperty list int int {item}"
    assert silently(tmp_path, "a.ply", ply(POINTS, [STRIP, [3, 2, 1]], head=head)).triangles.tolist() == [
        *CUT,
        [3, 2, 1],
    ]
    text = ply(POINTS, format="binary_little_endian", head=f"element tristrips 1\nproperty list int int {item}")
    body = np.array([len(STRIP), *STRIP], "<i4").tobytes()
    assert silently(tmp_path, "b.ply", text + body).triangles.tolist() == CUT
    unsigned = text.replace(b"list int int", b"list int uint")
    assert silently(tmp_path, "c.ply", unsigned + body).triangles.tolist() == CUT


def test_a_surface_that_is_not_read_is_told(tmp_path):
    for head in (
        "element polygon 1\nproperty list uchar int vertex_indices",
        "element face 1\nproperty list uchar int corners",
    ):
        with pytest.warns(
            UserWarning, match=r"1 rows of the element '(polygon|face)' .* are left unread: is its surface"
        ):
            assert read(tmp_path, "a.ply", ply(POINTS, [[0, 1, 2]], head=head)).triangles is None


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("format", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_headers_of_any_case_and_line_end(tmp_path, format, end):
    points = POINTS.copy()
    points[0, 0] = np.frombuffer(b"\n\n\n\n", ">f4")[0]  # its first byte looks like a line end
    points = points.astype(np.float32)
    content = ply(points.tolist(), [[0, 1, 2]], format, end=end)
    at = content.index(b"end_header")
    for head in (content[:at].upper(), b"\n\n" + content[:at], b"\xef\xbb\xbf" + content[:at]):
        if end == "\r" and head[:1] == b"\n":
            continue
        found = silently(tmp_path, "a.ply", head + content[at:])
        np.testing.assert_allclose(found.points, points, rtol=1e-6)
        assert found.triangles.tolist() == [[0, 1, 2]]


# OFF, OBJ, STL --------------------------------------------------------------------------------------------------------


def test_off_and_obj_of_any_case(tmp_path):
    body = "20 1 0\n" + rows(POINTS) + "3 0 1 2\n"
    for head in ("off\n", "\n\n# a comment\nOff\n", "", "\ufeffOFF\r"):
        content = head + (body.replace("\n", "\r") if head.endswith("\r") else body)
        assert silently(tmp_path, "a.off", content).triangles.tolist() == [[0, 1, 2]]
    with pytest.raises(FileError, match="a binary OFF is not read"):
        read(tmp_path, "b.off", b"OFF BINARY\n" + bytes(50))
    text = "".join(f"V {row}\n" for row in rows(POINTS).splitlines()) + "F 1/1 2/2 3/3\n"
    for end in ("\n", "\r", "\r\n"):
        assert silently(tmp_path, "a.obj", text.replace("\n", end)).triangles.tolist() == [[0, 1, 2]]
    with pytest.raises(FileError, match="a comma in a number; export it with a decimal point"):
        read(tmp_path, "c.obj", "v 0,5 1,5 2,5\n")


MESH = trimesh.creation.icosphere(subdivisions=1)  # 80 faces
STL = MESH.export(file_type="stl")
TEXT_STL = MESH.export(file_type="stl_ascii")


def stl(count=80, header=b"", tail=b""):
    return header.ljust(80, b"\0") + count.to_bytes(4, "little") + STL[84:] + tail


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (stl(), None),
        (stl(header=b"solid made by a scanner"), None),
        (stl(header=b"solid made by a scanner".ljust(80)), None),
        (stl(0), "its header says 0 triangles, the file holds 80: all are read"),
        (stl(12), "its header says 12 triangles, the file holds 80: all are read"),
        (stl(81), "it may be cut short: its header says 81 triangles, the file holds 80"),
        (stl(2**32 - 1), "it may be cut short: its header says 4,294,967,295"),
        (stl(tail=b"\r\n"), "2 bytes behind its last triangle are left unread"),
        (stl(tail=b"made by a slicer " * 9), "153 bytes behind its last triangle are left unread"),
        (TEXT_STL.upper(), None),
        ("\r\n\r\n" + TEXT_STL.replace("\n", "\r"), None),
        (TEXT_STL + "\n# made by hand\n", None),
        (TEXT_STL.replace("solid", "solid part", 1) + TEXT_STL[:0], None),
        (TEXT_STL[: TEXT_STL.rindex("endsolid")], "it may be cut short: endsolid is missing"),
    ],
)
def test_stl_counts_and_tails(tmp_path, content, said):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = read(tmp_path, "a.stl", content)
    np.testing.assert_allclose(found.points[found.triangles], MESH.triangles, atol=1e-6)
    assert [said in str(w.message) for w in caught] == ([True] if said else [])


def test_stl_with_a_decimal_comma_says_so(tmp_path):
    with pytest.raises(FileError, match="a comma in a number"):
        read(tmp_path, "a.stl", "solid a\nfacet\nvertex 0,5 0 0\nvertex 1 0 0\nvertex 0 1 0\nendfacet\nendsolid\n")


# Arrays ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "colored", "normal"),
    [
        ((SHADES,), True, False),
        ((SHADES / 255,), True, False),
        ((NORMALS,), False, True),
        ((LEVELS,), False, False),
        ((SHADES, NORMALS), True, True),
        ((3 * LEVELS, LEVELS, LEVELS), False, False),
    ],
)
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_arrays_with_more_columns(tmp_path, columns, colored, normal, name, dtype):
    array = np.concatenate([POINTS, *columns], axis=1).astype(dtype)
    found = silently(tmp_path, name, saved(np.save, array) if name == "a.npy" else saved(np.savez, points=array))
    np.testing.assert_array_equal(found.points, POINTS.astype(dtype))
    assert (found.colors is not None, found.normals is not None) == (colored, normal)
    if colored:
        np.testing.assert_allclose(found.colors, SHADES / 255, atol=1e-6)


# glTF -----------------------------------------------------------------------------------------------------------------


def gltf(uri, **more):
    numbers = MESH.vertices.astype("<f4").tobytes(), MESH.faces.astype("<u4").tobytes()
    scene = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "type": "VEC3", "count": 42},
            {"bufferView": 1, "componentType": 5125, "type": "SCALAR", "count": 240},
        ],
        "bufferViews": [
            {"buffer": 0, "byteLength": len(numbers[0])},
            {"buffer": 0, "byteOffset": len(numbers[0]), "byteLength": len(numbers[1])},
        ],
        "buffers": [{"byteLength": len(b"".join(numbers)), "uri": uri(b"".join(numbers))}],
    }
    return json.dumps(scene | more)


def embedded(numbers):
    return "data:application/octet-stream;base64," + base64.b64encode(numbers).decode()


@pytest.mark.parametrize("name", ["scene.bin", "a scene%20.bin", "parts/scene.bin"])
def test_gltf_with_its_numbers_beside_it(tmp_path, name):
    def beside(numbers):
        path = tmp_path / name.replace("%20", " ")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(numbers)
        return name

    found = silently(tmp_path, "a.gltf", gltf(beside))
    np.testing.assert_allclose(found.points[found.triangles], MESH.triangles, atol=1e-6)
    assert found.up == "y" and ".gltf" in PointCloud.suffixes


def test_gltf_with_its_numbers_in_it(tmp_path):
    found = silently(tmp_path, "a.gltf", gltf(embedded))
    np.testing.assert_allclose(found.points[found.triangles], MESH.triangles, atol=1e-6)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("missing.bin", "its numbers lie in 'missing.bin': no such file; put that file beside it"),
        ("../outside.bin", "outside of its folder"),
        ("/etc/passwd", "which is not beside it"),
        ("file:///etc/passwd", "which is not beside it"),
        ("https://example.org/a.bin", "which is not beside it"),
        ("C:\\a.bin", "which is not beside it"),
        ("link.bin", "outside of its folder"),
        ("short.bin", "cut short"),
        ("data:application/octet-stream;base64,AAAA", "not a readable .gltf"),
        ("data:application/octet-stream;base64,????", "not a readable .gltf"),
    ],
)
def test_gltf_numbers_that_cannot_be_had(tmp_path, uri, said):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(5000))
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    (folder / "short.bin").write_bytes(bytes(50))
    with pytest.raises(FileError, match=rf"a\.gltf: .*{said}") as caught:
        read(folder, "a.gltf", gltf(lambda numbers: uri))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("extension", "who"), [("KHR_draco_mesh_compression", "Draco"), ("EXT_meshopt_compression", "meshopt")]
)
def test_compressed_gltf_is_named(tmp_path, extension, who):
    with pytest.raises(
        FileError, match=rf"a\.gltf: .*compressed by {who} \({extension}\).*save it without compression"
    ):
        read(tmp_path, "a.gltf", gltf(embedded, extensionsRequired=[extension], extensionsUsed=[extension]))


# What is usual --------------------------------------------------------------------------------------------------------


def test_usual_meshes_give_no_warning(tmp_path):
    """Three different corners on a line, as CAD programs and ModelNet's meshes have, are no fault worth a line."""
    points = [[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0]]
    found = silently(tmp_path, "a.off", "OFF\n4 2 0\n" + rows(points) + "3 0 1 2\n3 0 1 3\n")
    assert len(found.triangles) == 2


@pytest.mark.parametrize("order", ["utf-16", "utf-16-be"])
def test_text_formats_in_utf16(tmp_path, order):
    faces = "".join(f"f {i + 1} {i + 2} {i + 3}\n" for i in range(3))
    obj = "# by a shell\n" + "".join(f"v {row}\n" for row in rows(POINTS).splitlines()) + faces
    mark = "\ufeff" if order != "utf-16" else ""
    found = silently(tmp_path, "a.obj", (mark + obj).encode(order))
    assert found.triangles.tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]


@pytest.mark.parametrize("end", ["\x1a", "\0" * 100, "\r\n\x1a\0"])
def test_ends_that_dos_and_recovered_files_have(tmp_path, end):
    assert len(silently(tmp_path, "a.xyz", rows(POINTS) + end).points) == len(POINTS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Name,X,Y,Z\nP1,1.5,2.5,3.5\nP2,1.5,2.5,4.5\n", r"line 2 \('P1,.*with no number; leave its first column out"),
        ("x,y,z\n1.5,2.5,3.5\nNA,NA,NA\n", r"line 3 \('NA,NA,NA'\) holds 0 numbers, not 3; delete it"),
    ],
)
def test_the_line_names_the_right_cause(tmp_path, content, said):
    with pytest.raises(FileError, match=said):
        read(tmp_path, "a.csv", content)
