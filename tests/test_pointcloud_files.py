"""Readers of clouds and meshes: what other programs write is read exactly; damaged and hostile files are refused."""

import io
import os
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipx import files
from clipx.errors import ClipxError, FileError
from clipx.modalities.pointcloud import parsing
from clipx.modalities.pointcloud import ply as ply_reader
from clipx.modalities.pointcloud.files import READERS, read_geometry

MESH = trimesh.creation.icosphere(subdivisions=1)  # 42 vertices, 80 faces
PLY_HEAD = """ply
format {format} 1.0
comment made by hand
obj_info nothing
element vertex {vertices}
property float x
property float y
property uchar red
property double z
element face {faces}
property uchar flags
property list uchar int vertex_indices
end_header
"""


def export(mesh: trimesh.parent.Geometry, kind: str, **options) -> bytes:
    content = mesh.export(file_type=kind, **options)
    return content.encode() if isinstance(content, str) else content


def saved(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def npy(array, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


MESHES = {
    "binary.ply": export(MESH, "ply"),
    "ascii.ply": export(MESH, "ply", encoding="ascii"),
    "mesh.off": export(MESH, "off"),
    "mesh.obj": export(MESH, "obj"),
    "binary.stl": export(MESH, "stl"),
    "ascii.stl": export(MESH, "stl_ascii"),
    "mesh.glb": export(MESH, "glb"),
}
CLOUDS = {
    "cloud.ply": export(trimesh.PointCloud(MESH.vertices), "ply"),
    "cloud.xyz": export(trimesh.PointCloud(MESH.vertices), "xyz"),
    "cloud.npy": npy(MESH.vertices),
    "fortran.npy": npy(np.asfortranarray(MESH.vertices)),
    "bigendian.npy": npy(MESH.vertices.astype(">f4")),
    "cloud.npz": saved(points=MESH.vertices.astype(np.float32), up="z", colour=np.zeros((42, 3))),
    "cloud.txt": b"".join(b"%.9f,%.9f,%.9f,0.0,0.6,0.8\n" % tuple(v) for v in MESH.vertices),
    "commas.xyz": b"# x, y, z\r\n" + b"\r\n".join(b"%.9f, %.9f,%.9f, 12" % tuple(v) for v in MESH.vertices),
    "cloud.obj": b"".join(b"v %.9f %.9f %.9f 0.1 0.2 0.3\n" % tuple(v) for v in MESH.vertices),
    "meshlab.ply": export(trimesh.PointCloud(MESH.vertices), "ply").replace(
        b"end_header", b"element face 0\nproperty list uchar int vertex_indices\nend_header"
    ),
}


def read(folder: Path, name: str, content: bytes | str):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_geometry(path)


@pytest.mark.parametrize("name", MESHES)
def test_meshes_of_other_programs_are_read_exactly(tmp_path, name):
    found = read(tmp_path, name, MESHES[name])
    np.testing.assert_allclose(found.points[found.triangles], MESH.triangles, atol=1e-6)
    assert found.points.dtype == np.float64 and found.triangles.dtype == np.int64
    assert found.up == ("y" if name == "mesh.glb" else None)


@pytest.mark.parametrize("name", CLOUDS)
def test_clouds_are_read_exactly(tmp_path, name):
    found = read(tmp_path, name, CLOUDS[name])
    np.testing.assert_allclose(found.points, MESH.vertices, atol=1e-6)
    assert found.triangles is None and found.up == ("z" if name == "cloud.npz" else None)


def ply(format: str, vertices: list, faces: list[list[int]]) -> bytes:
    """A PLY with a property between y and z, one before the list, and faces of any size."""
    head = PLY_HEAD.format(format=format, vertices=len(vertices), faces=len(faces)).encode()
    if format == "ascii":
        rows = [f"{x} {y} 255 {z}" for x, y, z in vertices] + [f"7 {len(f)} {' '.join(map(str, f))}" for f in faces]
        return head + "\n".join(rows).encode()
    end = "<" if format == "binary_little_endian" else ">"
    kind = np.dtype([("x", end + "f4"), ("y", end + "f4"), ("red", "u1"), ("z", end + "f8")])
    body = np.array([(x, y, 255, z) for x, y, z in vertices], kind).tobytes()
    for face in faces:
        body += bytes([7, len(face)]) + np.array(face, end + "i4").tobytes()
    return head + body


@pytest.mark.parametrize("format", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("faces", [[[0, 1, 2], [1, 2, 3]], [[0, 1, 2, 3], [4, 3, 2, 1, 0], [1, 2, 3]]])
def test_ply_of_any_format_and_any_polygons(tmp_path, format, faces):
    vertices = np.arange(15.0).reshape(5, 3).tolist()
    found = read(tmp_path, "p.ply", ply(format, vertices, faces))
    assert found.points.tolist() == vertices
    expected = [[face[0], face[i], face[i + 1]] for face in faces for i in range(1, len(face) - 1)]
    assert found.triangles.tolist() == expected


def test_off_dialects(tmp_path):
    body = "4 1 0\n0 0 0\n1 0 0\n1 1 0  # a comment\n\n0 1 0\n4 0 1 2 3 255 0 0\n"
    for head in (
        "OFF\n",
        "# made by hand\nOFF\n",
        "\ufeffOFF\n",
        "OFF ",
        "OFF",
        "OFF\r\n",
    ):  # "OFF4 1 0": as in ModelNet
        found = read(tmp_path, "a.off", head + body)
        assert found.points.shape == (4, 3) and found.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    coloured = "COFF\n2 1 0\n0 0 0 255 0 0 255\n1 2 3 0 255 0 255\n3 0 1 1\n"
    assert read(tmp_path, "a.off", coloured).points.tolist() == [[0, 0, 0], [1, 2, 3]]


def test_obj_dialects(tmp_path):
    text = (
        "o thing\nv 0 0 0\nv\t1 0 0 # corner\nv 1 \\\n 1 0\nvt 0 0\nvn 0 0 1\ng part\nusemtl red\nf 1/1/1 2/1/1 3//1\n"
        "v 0 1 0\nf -4 -2 -1\ns off\nl 1 2\np 1\nf 1 2 3 4\n"
    )
    found = read(tmp_path, "a.obj", text)
    assert found.points.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert found.triangles.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2], [0, 2, 3]]


def test_a_file_never_opens_another(tmp_path, monkeypatch):
    (tmp_path / "secret.mtl").write_text("newmtl red\nmap_Kd ../../picture.png\n")
    obj = tmp_path / "a.obj"
    obj.write_text("mtllib secret.mtl\nmtllib ../../../etc/passwd\nusemtl red\nv 0 0 0\nv 1 1 1\nv 0 1 0\nf 1 2 3\n")
    opened = []
    monkeypatch.setattr(io, "open", lambda name, *a, _open=io.open, **k: opened.append(name) or _open(name, *a, **k))
    monkeypatch.setattr("builtins.open", io.open)
    read_geometry(obj)
    assert set(opened) == {obj}


CUT = {
    "count.ply": PLY_HEAD.format(format="ascii", vertices=3, faces=0) + "0 0 9 0\n1 1 9 1\n",
    "column.ply": PLY_HEAD.format(format="ascii", vertices=2, faces=0) + "0 0 9 0\n1 1 9\n",
    "face.ply": PLY_HEAD.format(format="ascii", vertices=2, faces=1) + "0 0 9 0\n1 1 9 1\n7 3 0 1\n",
    "binary.ply": MESHES["binary.ply"][:-1],
    "vertices.ply": CLOUDS["cloud.ply"][:-1],
    "header.ply": MESHES["binary.ply"][:60],
    "face.off": "OFF\n3 2 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n",
    "corner.off": "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1\n",
    "coordinate.obj": "v 0 0 0\nv 1 0\n",
    "vertex.obj": "v 0 0 0\nv\nv 1 0 0\n",
    "binary.stl": MESHES["binary.stl"][:-1],
    "header.stl": MESHES["binary.stl"][:50],
    "ascii.stl": MESHES["ascii.stl"][: len(MESHES["ascii.stl"]) // 2],
    "mesh.glb": MESHES["mesh.glb"][:-1],
    "coordinate.xyz": "0 0 0\n1 0\n",
    "cloud.npy": CLOUDS["cloud.npy"][:-1],
    "cloud.npz": CLOUDS["cloud.npz"][:-10],
}


@pytest.mark.parametrize("name", CUT)
def test_files_cut_short_are_refused(tmp_path, name):
    with pytest.raises(FileError, match=name.replace(".", r"\.")):
        read(tmp_path, name, CUT[name])


def npy_promising(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(120)


def zipped(member: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", member)
    return file.getvalue()


HOSTILE = {
    "text.ply": PLY_HEAD.format(format="ascii", vertices=10**9, faces=0) + "0 0 9 0\n1 1 9 1\n",
    "packed.ply": PLY_HEAD.format(format="binary_little_endian", vertices=10**9, faces=0).encode() + bytes(100),
    "faces.ply": PLY_HEAD.format(format="binary_little_endian", vertices=1, faces=10**9).encode() + bytes(100),
    "minus.ply": PLY_HEAD.format(format="binary_little_endian", vertices=-1, faces=0).encode() + bytes(100),
    "nothing.ply": "ply\nformat ascii 1.0\nelement vertex 1000000000\nend_header\n",
    "list.ply": b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
    b"property float z\nelement face 1\nproperty list uint int vertex_indices\nend_header\n" + bytes(12) + b"\xff" * 8,
    "counts.off": "OFF\n1000000000 1000000000 0\n0 0 0\n1 1 1\n",
    "corners.off": "OFF\n2 1 0\n0 0 0\n1 1 1\n1000000000 0 1\n",
    "two.off": "OFF\n2 1 0\n0 0 0\n1 1 1\n2 0 1\n",
    "two.obj": "v 0 0 0\nv 1 1 1\nf 1 2\n",
    "two.ply": ply("ascii", [[0, 0, 0], [1, 1, 1]], [[0, 1]]),
    "minus.off": "OFF\n2 -1 0\n0 0 0\n1 1 1\n",
    "index.off": "OFF\n3 1 0\n0 0 0\n1 1 1\n1 2 3\n3 0 1 1000000000\n",
    "minus_index.off": "OFF\n3 1 0\n0 0 0\n1 1 1\n1 2 3\n3 0 1 -1\n",
    "index.obj": "v 0 0 0\nv 1 1 1\nf 1 2 1000000000\n",
    "minus_index.obj": "v 0 0 0\nv 1 1 1\nf 1 2 -9\n",
    "zero_index.obj": "v 0 0 0\nv 1 1 1\nf 0 1 2\n",
    "count.stl": bytes(80) + (10**9).to_bytes(4, "little") + bytes(49),
    "shape.npy": npy_promising((10**9, 3)),
    "overflow.npy": npy_promising((2**62, 3)),
    "minus.npy": npy_promising((-10, 3)),
    "shape.npz": zipped(npy_promising((10**9, 3))),
    "bomb.npz": zipped(npy(np.zeros((4_000_000, 3), np.float32))),
    "pickle.npy": npy(np.array([[Path()] * 3] * 2, object), allow_pickle=True),
    "pickle.npz": zipped(npy(np.array([[Path()] * 3] * 2, object), allow_pickle=True)),
}


def test_the_work_on_a_file_is_bounded(tmp_path, monkeypatch):
    """Rows of differing length and text take time and memory by the row: there are limits, and a remedy."""
    empty = ply("binary_little_endian", [[0, 0, 0], [1, 1, 1]], [[]]).replace(b"face 1", b"face 200000")
    with pytest.raises(FileError, match=r"a\.ply: none of its 200,000 faces has an area; save its points"):
        read(tmp_path, "a.ply", empty + bytes(1_000_000))
    ragged = ply("binary_little_endian", np.eye(4, 3).tolist(), [[0, 1, 2], [0, 1, 2, 3], [0, 1, 2]])
    assert len(read(tmp_path, "a.ply", ragged).triangles) == 4
    monkeypatch.setattr(ply_reader, "MAX_RAGGED_ROWS", 2)
    with pytest.raises(FileError, match=r"a\.ply: .*3 face rows of differing length, the limit is 2"):
        read(tmp_path, "a.ply", ragged)
    monkeypatch.setattr(parsing, "MAX_TEXT_BYTES", 100)
    assert len(read(tmp_path, "a.stl", MESHES["binary.stl"]).triangles) == 80
    for name in ("ascii.ply", "ascii.stl", "mesh.off", "mesh.obj"):
        with pytest.raises(FileError, match=r"bytes of text are more than the limit of 100; save it as binary \.ply"):
            read(tmp_path, name, MESHES[name])
    monkeypatch.setattr(parsing, "MAX_MESH_BYTES", 1000)
    for name in ("binary.ply", "binary.stl", "mesh.glb"):
        with pytest.raises(FileError, match=r"bytes of a mesh are more than the limit of 1,000; simplify it"):
            read(tmp_path, name, MESHES[name])
    with pytest.raises(FileError, match="a line of more than"):
        read(tmp_path, "a.xyz", b"0 " * 2**20)


def test_a_mesh_without_faces_is_no_cloud(tmp_path):
    for name, content in [
        ("a.off", "OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n"),
        ("a.stl", bytes(84)),
        ("b.stl", "solid a\nendsolid a\n"),
    ]:
        with pytest.raises(FileError, match=r"is a mesh without faces; save a cloud as \.ply or \.xyz"):
            read(tmp_path, name, content)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_without_allocating(tmp_path, name):
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match=name.replace(".", r"\.")) as caught:
            read(tmp_path, name, HOSTILE[name])
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


WRONG = {
    "nothing.xyz": " \n# only a comment\n",
    "words.xyz": "a b c\n",
    "words.txt": "a file of words\nand no numbers\n",
    "nan.xyz": "inf 0 0\nnan 0 0\n",
    "wrong.npz": saved(positions=np.zeros((5, 3))),
    "lists.ply": "ply\nformat ascii 1.0\nelement vertex 1\nproperty list uchar float x\nproperty list uchar float y\n"
    "property list uchar float z\nend_header\n1 0 1 0 1 0\n",
    "up.npz": saved(points=np.eye(3), up="north"),
    "set.npz": saved(points=np.zeros((2, 5, 3))),
    "columns.npy": npy(np.zeros((5, 11))),
    "turned.npy": npy(np.zeros((3, 500))),
    "scalar.npy": npy(np.float32(1)),
    "text.npy": npy(np.array([["a", "b", "c"]])),
    "complex.npy": npy(np.zeros((5, 3), complex)),
    "none.npy": npy(np.zeros((0, 3))),
    "none.stl": bytes(84),
    "none.obj": "o nothing\n",
    "none.off": "OFF\n0 0 0\n",
    "none.ply": PLY_HEAD.format(format="ascii", vertices=0, faces=0),
    "noz.ply": "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nend_header\n0 0\n",
    "format.ply": "ply\nformat morse 1.0\nelement vertex 1\nproperty float x\nend_header\n0\n",
    "type.ply": "ply\nformat ascii 1.0\nelement vertex 1\nproperty quaternion x\nend_header\n0\n",
    "elements.ply": PLY_HEAD.format(format="ascii", vertices=0, faces=0).replace("element face", "element vertex"),
    "twice.ply": "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float x\nend_header\n0 0\n",
    "facets.stl": "solid\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 1 1\nendloop\nendfacet\nendsolid\n",
    "photo.png": "anything",
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_content_is_refused(tmp_path, name):
    with pytest.raises(FileError, match=name.replace(".", r"\.")) as caught:
        read(tmp_path, name, WRONG[name])
    assert "\n" not in str(caught.value)


def test_only_regular_files_of_a_bearable_size_are_read(tmp_path, monkeypatch):
    (tmp_path / "folder.ply").mkdir()
    os.mkfifo(tmp_path / "pipe.ply")  # reading it would wait for ever
    (tmp_path / "empty.ply").touch()
    (tmp_path / "loop.ply").symlink_to("loop.ply")
    for name in ("folder.ply", "pipe.ply", "empty.ply", "loop.ply", "missing.ply"):
        with pytest.raises(FileError, match=name.replace(".", r"\.")):
            read_geometry(tmp_path / name)
    (tmp_path / "a.xyz").write_bytes(b"0 0 0\n1 1 1\n")
    with pytest.raises(FileError, match="limit"):
        files.read_bytes(tmp_path / "a.xyz", [".xyz"], max_bytes=11)


VALID = {**MESHES, **CLOUDS}


@pytest.mark.filterwarnings("ignore:.*normals are left out")
@given(data=st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_raise_clipx_errors_only(tmp_path, data):
    """Random bytes, and valid files with bytes changed (mostly in the header) and the end cut off."""
    name = data.draw(st.sampled_from(sorted(VALID)))
    content = bytearray(data.draw(st.just(VALID[name]) | st.just(VALID[name]) | st.binary(min_size=1, max_size=300)))
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, min(len(content), 300) - 1) | st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255) | st.sampled_from(b"0123456789 -\n"))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(1, len(content))) :]
    tracemalloc.start()
    try:
        found = read(tmp_path, name, bytes(content))
    except ClipxError as error:
        assert name in str(error) and "\n" not in str(error)
    else:
        assert found.points.shape[1] == 3 and np.isfinite(found.points).all()
        assert found.triangles is None or found.points[found.triangles].shape[1:] == (3, 3)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4 * 2**20


@given(text=st.text(alphabet="0123456789 .-+eE/#\\\nvfOFplyxzsolidend_haertcbinamutgkw:", max_size=200))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("suffix", [s for s in READERS if s not in (".npy", ".npz")])
def test_random_text_raises_clipx_errors_only(tmp_path, suffix, text):
    head = {".ply": "ply\nformat ascii 1.0\n", ".off": "OFF\n", ".stl": "solid\n"}.get(suffix, "")
    with suppress(ClipxError):
        read(tmp_path, f"random{suffix}", head + text)


@given(points=st.lists(st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 3), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_number_survives(tmp_path, points):
    array = np.array(points)
    rows = ["{!r} {!r} {!r}".format(*map(float, p)) for p in points]
    contents = {
        "a.xyz": "\n".join(rows),
        "a.obj": "\n".join(f"v {row}" for row in rows),
        "a.off": "\n".join(["OFF", f"{len(rows)} 1 0", *rows, "3 0 0 0"]),
        "a.ply": ply("ascii", [list(map(float, p)) for p in points], []),
        "b.ply": ply("binary_big_endian", points, []),
        "a.npy": npy(array),
        "a.npz": saved(points=array),
    }
    for name, content in contents.items():
        assert np.array_equal(read(tmp_path, name, content).points, array), name
