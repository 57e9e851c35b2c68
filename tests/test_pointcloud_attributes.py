"""What files hold beside positions: colours, normals, an up axis, more points than are kept; glTF, LAS and open3d."""

import io
import json
import logging
import sys
import tracemalloc
import warnings
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipx.errors import ClipxError, FileError, InputError, MissingDependencyError
from clipx.modalities.pointcloud import gltf, parsing
from clipx.modalities.pointcloud.files import Geometry, estimate_up, read_geometry, sample_mesh, sample_surface

POINTS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
COLORS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 51], [102, 0, 255]]) / 255
NORMALS = np.array([[1, 0, 0], [0, 0.6, 0.8], [0, 0, -1], [-0.8, 0, 0.6]])
PLY = "ply\nformat {format} 1.0\nelement vertex {count}\n{properties}end_header\n"


def read(folder, name, content, **options):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_geometry(path, **options)


def rows(*tables, by=" ") -> str:
    return "".join(by.join(f"{v:.9g}" for v in row) + "\n" for row in np.concatenate(tables, axis=1))


def ply(names: str, types: str, *tables, format="ascii") -> bytes:
    """A PLY of vertices alone; ``names`` and ``types`` one word a column."""
    properties = [f"property {t} {n}\n" for n, t in zip(names.split(), types.split(), strict=True)]
    head = PLY.format(format=format, count=len(tables[0]), properties="".join(properties)).encode()
    if format == "ascii":
        return head + rows(*tables).encode()
    kinds = {"float": "<f4", "double": "<f8", "uchar": "u1", "ushort": "<u2"}
    body = np.empty(len(tables[0]), [(n, kinds[t]) for n, t in zip(names.split(), types.split(), strict=True)])
    for name, column in zip(names.split(), np.concatenate(tables, axis=1).T, strict=True):
        body[name] = column
    return head + body.tobytes()


def saved(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


BYTES, SHORTS = COLORS * 255, COLORS * 65535
XYZ, RGB, NNN = "x y z ", "red green blue", "nx ny nz "
COLORED = {
    "bytes.ply": ply(XYZ + RGB, "float float float uchar uchar uchar", POINTS, BYTES),
    "shorts.ply": ply(
        XYZ + RGB, "float float float ushort ushort ushort", POINTS, SHORTS, format="binary_little_endian"
    ),
    "floats.ply": ply(XYZ + "r g b", "float float float float float float", POINTS, COLORS),
    "ints.ply": ply(XYZ + "diffuse_red diffuse_green diffuse_blue", "float float float int int int", POINTS, BYTES),
    "floats.obj": "".join(f"v {row}\n" for row in rows(POINTS, COLORS).splitlines()),
    "mesh.obj": "".join(f"v {row}\n" for row in rows(POINTS, BYTES).splitlines()) + "f 1 2 3 4\n",
    "bytes.off": "COFF\n4 1 0\n" + rows(POINTS, BYTES, np.full((4, 1), 255)) + "3 0 1 2\n",
    "floats.off": "COFF 4 1 0\n" + rows(POINTS, COLORS) + "3 0 1 2 255 0 0\n",
    "normals.off": "CNOFF\n4 1 0\n" + rows(POINTS, NORMALS, COLORS) + "3 0 1 2\n",
    "bytes.xyz": rows(POINTS, BYTES),
    "floats.xyz": "# X Y Z R G B\n" + rows(POINTS, COLORS, by=", "),
    "normals.txt": rows(POINTS, NORMALS, BYTES),
    "normals_last.txt": rows(POINTS, BYTES, NORMALS),
    "bytes.npz": saved(points=POINTS, colors=BYTES.astype(np.uint8)),
    "shorts.npz": saved(points=POINTS, colors=SHORTS.astype(np.uint16)),
    "floats.npz": saved(points=POINTS, colors=COLORS),
}
WITH_NORMALS = {
    "ascii.ply": ply(XYZ + NNN + RGB, "float " * 6 + "uchar " * 3, POINTS, NORMALS, BYTES),
    "binary.ply": ply(XYZ + NNN, "double " * 6, POINTS, 7 * NORMALS, format="binary_little_endian"),
    "mesh.off": "NOFF\n4 1 0\n" + rows(POINTS, NORMALS) + "3 0 1 2\n",
    "commas.txt": rows(POINTS, NORMALS.round(4), by=","),
    "labelled.txt": rows(POINTS, NORMALS, np.full((4, 1), 3)),
    "both.txt": rows(POINTS, NORMALS, BYTES),
    "colors_first.xyz": rows(POINTS, BYTES, NORMALS),
    "some.npz": saved(points=POINTS, normals=NORMALS.astype(np.float32)),
}
BARE = {
    "bare.ply": ply(XYZ, "float float float", POINTS),
    "intensity.xyz": rows(POINTS, np.arange(4)[:, None]),
    "flow.xyz": rows(POINTS, 3 * NORMALS),  # six columns, but neither unit vectors nor colours
    "large.txt": rows(POINTS, 300 * COLORS),
    "zeros.txt": rows(POINTS, 0 * COLORS),
    "label.txt": rows(POINTS, BYTES, np.full((4, 1), 3)),  # or an intensity, then a colour: nobody can tell
    "words.txt": "".join(f"{row} chair\n" for row in rows(POINTS).splitlines()),
    "some.obj": "v 0 0 0 1 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n",
}


@pytest.mark.parametrize("name", COLORED)
def test_colours_are_kept(tmp_path, name):
    found = read(tmp_path, name, COLORED[name])
    assert found.points.tolist() == POINTS.tolist() and found.colors.dtype == np.float32
    np.testing.assert_allclose(found.colors, COLORS, atol=1e-5)


@pytest.mark.parametrize("name", WITH_NORMALS)
def test_normals_are_kept_at_unit_length(tmp_path, name):
    found = read(tmp_path, name, WITH_NORMALS[name])
    assert found.points.tolist() == POINTS.tolist() and found.normals.dtype == np.float64
    np.testing.assert_allclose(found.normals, NORMALS, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(found.normals, axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("name", BARE)
def test_other_numbers_are_left_out(tmp_path, name):
    found = read(tmp_path, name, BARE[name])
    assert found.points.tolist() == POINTS.tolist() and found.colors is None and found.normals is None


NAN = np.where(np.arange(4)[:, None] == 2, np.nan, COLORS)
BAD_COLORS = {
    "nan.ply": ply(XYZ + RGB, "float " * 6, POINTS, NAN),
    "nan.obj": "".join(f"v {row}\n" for row in rows(POINTS, NAN).splitlines()),
    "nan.off": "COFF\n4 1 0\n" + rows(POINTS, NAN) + "3 0 1 2\n",
    "nan.xyz": rows(POINTS, NAN),
    "nan.npz": saved(points=POINTS, colors=NAN),
    "above.ply": ply(XYZ + RGB, "float " * 6, POINTS, 300 * COLORS),
    "below.ply": ply(XYZ + RGB, "float " * 6, POINTS, COLORS - 0.1),
    "infinite.npz": saved(points=POINTS, colors=np.where(np.isnan(NAN), np.inf, COLORS)),
}
WRONG_SHAPES = {
    "fewer.npz": saved(points=POINTS, colors=COLORS[:3]),
    "alpha.npz": saved(points=POINTS, colors=np.ones((4, 4))),
    "words.npz": saved(points=POINTS, normals=np.full((4, 3), "up")),
}


@pytest.mark.parametrize("name", BAD_COLORS)
def test_colours_that_are_none_are_left_out_with_a_warning(tmp_path, name):
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        found = read(tmp_path, name, BAD_COLORS[name])
    assert found.points.tolist() == POINTS.tolist() and found.colors is None
    if name != "nan.xyz":  # there nothing says that they are colours
        assert [name in str(n.message) and "its colours are left out" in str(n.message) for n in noted] == [True]


@pytest.mark.parametrize("name", WRONG_SHAPES)
def test_columns_of_another_shape_are_an_error_of_one_line(tmp_path, name):
    with pytest.raises(FileError, match=name.replace(".", r"\.") + r".*must be \(4, 3\) numbers") as caught:
        read(tmp_path, name, WRONG_SHAPES[name])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("colors", "whole"),
    [(COLORS * 1.02, 1), (COLORS * 1.5, 1), (COLORS - 0.01, 1), (COLORS * 258, 255), (COLORS * 255 - 2, 255)],
)
def test_colours_a_little_out_of_range_are_clipped(tmp_path, colors, whole):
    with pytest.warns(
        UserWarning, match=rf"a\.npz: \d of its 4 colours are out of 0\.\.{whole} by a little, and clipped"
    ):
        found = read(tmp_path, "a.npz", saved(points=POINTS, colors=colors))
    np.testing.assert_allclose(found.colors, (colors / whole).clip(0, 1), atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, 0, np.inf])
def test_bad_normals_are_left_out_with_a_warning(tmp_path, bad):
    normals = np.where(np.arange(4)[:, None] == 2, bad, NORMALS)
    with pytest.warns(UserWarning, match=r"a\.npz: its normals are left out") as noted:
        found = read(tmp_path, "a.npz", saved(points=POINTS, normals=normals))
    assert found.normals is None and found.points.tolist() == POINTS.tolist() and len(noted) == 1


# More points than are kept.

MANY = np.stack([np.arange(1000), np.arange(1000) % 7, np.zeros(1000)], axis=1)  # (1000, 3); x tells the row
SHADES = np.stack([np.arange(1000) % 256] * 3, axis=1)
LARGE = {
    "ascii.ply": ply(XYZ + RGB, "float " * 3 + "uchar " * 3, MANY, SHADES),
    "binary.ply": ply(XYZ + RGB, "float " * 3 + "uchar " * 3, MANY, SHADES, format="binary_little_endian"),
    "a.xyz": "# x y z r g b\n" + rows(MANY, SHADES).replace("\n", "\n\n"),
    "a.npz": saved(points=MANY, colors=SHADES.astype(np.uint8)),
    "ascii.pcd": "FIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F U\nWIDTH 1000\nHEIGHT 1\nDATA ascii\n"
    + rows(MANY, SHADES[:, :1] * 0x10101),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_cloud_is_sampled_with_a_notice(tmp_path, name):
    with pytest.warns(UserWarning, match=f"{name}: of 1,000 points a sample of 64 is kept .seed 5.") as noted:
        found = read(tmp_path, name, LARGE[name], max_points=64, seed=5)
    assert len(noted) == 1 and noted[0].filename == __file__
    x = found.points[:, 0].astype(int)
    assert np.array_equal(x * 64 // 1000, np.arange(64)) or (np.abs(x - np.arange(64) * 1000 / 64) < 17).all()
    assert np.array_equal(found.points, MANY[x]) and np.array_equal(np.round(found.colors * 255), SHADES[x])
    with pytest.warns(UserWarning):
        again = read(tmp_path, name, LARGE[name], max_points=64, seed=5)
        other = read(tmp_path, name, LARGE[name], max_points=64, seed=6)
    assert np.array_equal(again.points, found.points) and not np.array_equal(other.points, found.points)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read(tmp_path, name, LARGE[name], max_points=1000).points) == 1000


@pytest.mark.parametrize("name", ["ascii.ply", "ascii.pcd", "binary.ply"])
def test_a_large_cloud_cut_short_is_refused_even_if_what_lacks_is_not_kept(tmp_path, name):
    content = LARGE[name].encode() if isinstance(LARGE[name], str) else LARGE[name]
    with pytest.raises(FileError, match=r"cut short|promises"):
        read(tmp_path, name, content[: len(content) - 20], max_points=8)


@pytest.mark.filterwarnings("ignore:.*a sample of")
@pytest.mark.parametrize("name", ["a.xyz", "a.ply", "a.pcd"])
def test_what_is_left_out_of_a_large_cloud_takes_no_memory(tmp_path, monkeypatch, name):
    monkeypatch.setattr(parsing, "_BLOCK", 2**14)
    properties = "property float x\nproperty float y\nproperty float z\n"
    head = {
        "a.xyz": "",
        "a.ply": PLY.format(format="ascii", count=30_000, properties=properties),
        "a.pcd": "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 30000\nDATA ascii\n",
    }
    (tmp_path / name).write_text(head[name] + "1.25 2.5 0.75\n" * 30_000)  # 0.4 MB; as a list of lines 2 MB
    tracemalloc.start()
    try:
        assert len(read_geometry(tmp_path / name, max_points=1000).points) == 1000
        assert tracemalloc.get_traced_memory()[1] < 1.2 * 2**20
    finally:
        tracemalloc.stop()


def test_a_mesh_is_never_thinned(tmp_path):
    mesh = trimesh.creation.icosphere(subdivisions=2)
    found = read(tmp_path, "a.ply", mesh.export(file_type="ply"), max_points=10)
    assert len(found.points) == 162 and len(found.triangles) == 320
    for options in ({"max_points": 0}, {"seed": -1}):
        with pytest.raises(InputError, match="at least"):
            read_geometry(tmp_path / "a.ply", **options)


# Points of a surface.


def test_points_of_a_mesh_have_its_normals_and_colours():
    mesh = Geometry(POINTS, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]), "z", COLORS.astype(np.float32))
    cloud = sample_mesh(mesh, 4000, seed=1)
    assert np.array_equal(cloud.points, sample_surface(mesh.points, mesh.triangles, 4000, seed=1))
    assert cloud.triangles is None and cloud.up == "z" and cloud.colors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(cloud.normals, axis=1), 1, rtol=1e-12)
    slanted = cloud.points.sum(axis=1) > 1 - 1e-9
    assert slanted.mean() == pytest.approx(3**0.5 / (3**0.5 + 3), abs=0.03)  # its share of the area
    np.testing.assert_allclose(cloud.normals[slanted], np.full((slanted.sum(), 3), 3**-0.5))
    flat = ~slanted
    np.testing.assert_array_equal(cloud.normals[flat].sum(axis=1), -1)  # the others look down an axis
    assert np.abs((cloud.normals[flat] * cloud.points[flat]).sum(axis=1)).max() == 0
    weights = np.concatenate([1 - cloud.points.sum(axis=1, keepdims=True), cloud.points], axis=1)  # barycentric
    np.testing.assert_allclose(cloud.colors, weights @ COLORS, atol=1e-6)
    assert sample_mesh(Geometry(POINTS, mesh.triangles), 5, seed=1).colors is None
    for triangles in (None, np.zeros((2, 3), int)):
        with pytest.raises(InputError, match=r"a\.off: the mesh has \d faces but no area"):
            sample_mesh(Geometry(POINTS, triangles), 5, seed=0, where="a.off")


def table() -> np.ndarray:
    """A table of 1.2 x 0.8 x 0.7, z up: its top, and four legs near the corners."""
    rng = np.random.default_rng(0)
    top = rng.uniform([-0.6, -0.4, 0.68], [0.6, 0.4, 0.7], (700, 3))
    legs = rng.uniform([-0.03, -0.03, 0], [0.03, 0.03, 0.68], (300, 3))
    legs[:, :2] += rng.choice([-1, 1], (300, 2)) * [0.55, 0.35]
    return np.concatenate([top, legs])


def test_the_up_axis_is_guessed():
    points = table()
    for up, order in (("z", [0, 1, 2]), ("y", [1, 2, 0]), ("x", [2, 0, 1])):
        assert estimate_up(points[:, order]) == up
        assert estimate_up(1e6 + 50 * points[:, order]) == up  # of any unit and place
    assert estimate_up(np.repeat(points, 5, axis=0)) == "z"
    cone = trimesh.creation.cone(radius=1, height=2)
    assert estimate_up(cone.vertices, cone.faces) == "z"
    for degenerate in (np.zeros((5, 3)), np.eye(3)[:1], np.linspace(0, 1, 9)[:, None] * [1, 0, 0]):
        assert estimate_up(degenerate) == "y"


def test_the_guess_is_right_as_often_as_it_says(shared):
    with np.load(shared / "data" / "pointcloud" / "modelnet10_train.npz", allow_pickle=False) as data:
        points = data["points"][::40].astype(float)  # 39 shapes
    assert np.mean([estimate_up(shape) == "z" for shape in points]) > 0.8


# glTF.


def glb(scene: dict, numbers: bytes = b"") -> bytes:
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    chunks = len(text).to_bytes(4, "little") + b"JSON" + text
    if numbers:
        chunks += len(numbers).to_bytes(4, "little") + b"BIN\0" + numbers
    return b"glTF" + (2).to_bytes(4, "little") + (12 + len(chunks)).to_bytes(4, "little") + chunks


def scene_of(mode=4, indices=True, **changes) -> dict:
    """Four points with colours, in rows of 16 bytes, and six indices."""
    attributes = {"POSITION": 0, "COLOR_0": 1}
    primitive = {"attributes": attributes, "mode": mode} | ({"indices": 2} if indices else {})
    return {
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "type": "VEC3", "count": 4},
            {"bufferView": 0, "byteOffset": 12, "componentType": 5121, "type": "VEC4", "count": 4, "normalized": True},
            {"bufferView": 1, "componentType": 5123, "type": "SCALAR", "count": 6},
        ],
        "bufferViews": [
            {"buffer": 0, "byteLength": 64, "byteStride": 16},
            {"buffer": 0, "byteOffset": 64, "byteLength": 12},
        ],
        "buffers": [{"byteLength": 76}],
    } | changes


def scene_bytes() -> bytes:
    table = np.empty(4, [("p", "<f4", 3), ("c", "u1", 4)])
    table["p"], table["c"] = POINTS, np.concatenate([BYTES, np.full((4, 1), 255)], axis=1)
    return table.tobytes() + np.array([0, 1, 2, 3, 2, 1], "<u2").tobytes()


def test_glb_strips_fans_points_and_colours(tmp_path):
    found = read(tmp_path, "a.glb", glb(scene_of(), scene_bytes()))
    assert found.triangles.tolist() == [[0, 1, 2], [3, 2, 1]] and found.up == "y"
    assert found.points.tolist() == POINTS.tolist()
    np.testing.assert_allclose(found.colors, COLORS, atol=1e-6)
    strip = read(tmp_path, "a.glb", glb(scene_of(mode=5, indices=False), scene_bytes()))
    assert strip.triangles.tolist() == [[0, 1, 2], [2, 1, 3]]
    fan = read(tmp_path, "a.glb", glb(scene_of(mode=6, indices=False), scene_bytes()))
    assert fan.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    cloud = read(tmp_path, "a.glb", glb(scene_of(mode=0, indices=False), scene_bytes()))
    assert cloud.triangles is None and cloud.points.tolist() == POINTS.tolist() and cloud.colors is not None


def test_glb_places_meshes_as_trimesh_does(tmp_path):
    box, cone = trimesh.creation.box((1, 2, 3)), trimesh.creation.cone(1, 2)
    scene = trimesh.Scene()
    turn = trimesh.transformations.euler_matrix(0.3, 1, -0.4)
    turn[:3, 3] = [1, 2, 3]
    mirror = np.diag([-2.0, 1, 1, 1])
    scene.add_geometry(box, node_name="a", transform=turn)
    scene.add_geometry(cone, node_name="b", parent_node_name="a", transform=mirror)
    scene.add_geometry(cone, node_name="c")
    found = read(tmp_path, "a.glb", scene.export(file_type="glb"))
    ours = trimesh.Trimesh(found.points, found.triangles, process=False)
    theirs = trimesh.load(io.BytesIO(scene.export(file_type="glb")), file_type="glb").to_geometry()
    assert len(found.triangles) == 12 + 2 * len(cone.faces)
    np.testing.assert_allclose(ours.bounds, theirs.bounds, atol=1e-6)
    assert ours.area == pytest.approx(theirs.area, rel=1e-6)
    assert ours.volume == pytest.approx(box.volume + 3 * cone.volume, rel=1e-5)  # the mirrored one is not inside out
    node = {"mesh": 0, "translation": [1, 2, 3], "rotation": [0, 0, 0.5**0.5, 0.5**0.5], "scale": [2, 1, 1]}
    placed = read(tmp_path, "a.glb", glb(scene_of(nodes=[node]), scene_bytes()))
    np.testing.assert_allclose(placed.points, [[1, 2, 3], [1, 4, 3], [0, 2, 3], [1, 2, 4]], atol=1e-12)


LINE = [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 1}]}]
BAD_GLB = {
    "text.glb": b"gltf" + bytes(40),
    "version.glb": glb(scene_of(), scene_bytes()).replace(b"\2\0\0\0", b"\1\0\0\0", 1),
    "empty.glb": glb({}),
    "list.glb": glb([]),
    "lines.glb": glb(scene_of(meshes=LINE), scene_bytes()),
    "cut.glb": glb(scene_of(), scene_bytes()[:-1]),
    "other.glb": glb(scene_of(buffers=[{"byteLength": 76, "uri": "../secret.bin"}]), scene_bytes()),
    "draco.glb": glb(scene_of(accessors=[{"componentType": 5126, "type": "VEC3", "count": 10**9}] * 3), scene_bytes()),
    "loop.glb": glb(scene_of(nodes=[{"mesh": 0, "children": [0]}]), scene_bytes()),
    "diamond.glb": glb(scene_of(nodes=[{"children": [1, 2]}, {"children": [2]}, {"mesh": 0}]), scene_bytes()),
    "node.glb": glb(scene_of(nodes=[{"mesh": 7}]), scene_bytes()),
    "nan.glb": glb(scene_of(nodes=[{"mesh": 0, "scale": [float("nan"), 1, 1]}]), scene_bytes()),
    "count.glb": glb(
        scene_of(accessors=[{"bufferView": 0, "componentType": 5126, "type": "VEC3", "count": 10**9}] * 3),
        scene_bytes(),
    ),
    "minus.glb": glb(
        scene_of(accessors=[{"bufferView": 0, "componentType": 5126, "type": "VEC3", "count": -1}] * 3), scene_bytes()
    ),
    "stride.glb": glb(scene_of(bufferViews=[{"buffer": 0, "byteLength": 64, "byteStride": 0}] * 2), scene_bytes()),
    "index.glb": glb(scene_of(), scene_bytes()[:-2] + b"\xff\xff"),
}


@pytest.mark.parametrize("name", BAD_GLB)
def test_bad_glb_is_refused(tmp_path, name):
    with pytest.raises(FileError, match=name.replace(".", r"\.")) as caught:
        read(tmp_path, name, BAD_GLB[name])
    assert "\n" not in str(caught.value)


def test_a_small_scene_that_repeats_a_mesh_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(gltf, "MAX_SCENE_ROWS", 100)
    many = scene_of(nodes=[{"children": list(range(1, 21))}, *[{"mesh": 0}] * 20])
    with pytest.raises(FileError, match="more than 100 vertices and corners"):
        read(tmp_path, "a.glb", glb(many, scene_bytes()))


# LAS, by laspy, and what open3d reads.


def las(suffix=".las", colors=SHORTS, points=POINTS, version="1.4", point_format=7) -> bytes:
    laspy = pytest.importorskip("laspy")
    pytest.importorskip("lazrs")
    found = laspy.create(point_format=point_format, file_version=version)
    found.header.scales, found.header.offsets = [0.001] * 3, [500_000, 4_000_000, 100]
    found.x, found.y, found.z = (points + np.array([500_000, 4_000_000, 100])).T
    if colors is not None:
        found.red, found.green, found.blue = colors.astype(np.uint16).T
    file = io.BytesIO()
    found.write(file, do_compress=suffix == ".laz")
    return file.getvalue()


@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_las(tmp_path, suffix):
    found = read(tmp_path, f"a{suffix}", las(suffix))
    np.testing.assert_allclose(found.points - np.array([500_000, 4_000_000, 100]), POINTS, atol=1e-6)
    np.testing.assert_allclose(found.colors, COLORS, atol=1e-6)
    assert found.up == "z" and found.triangles is None and found.normals is None
    np.testing.assert_allclose(read(tmp_path, f"b{suffix}", las(suffix, BYTES)).colors, COLORS, atol=1e-6)
    assert read(tmp_path, f"c{suffix}", las(suffix, 0 * BYTES)).colors is None
    assert read(tmp_path, f"d{suffix}", las(suffix, None, version="1.2", point_format=1)).colors is None
    with pytest.warns(UserWarning, match="of 1,000 points a sample of 64 is kept"):
        sample = read(tmp_path, f"e{suffix}", las(suffix, points=MANY, colors=SHADES), max_points=64)
    rows = np.round(sample.points[:, 0] - 500_000).astype(int)
    np.testing.assert_allclose(sample.colors, SHADES[rows] / 255, atol=1e-6)


@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_torn_las_is_refused_quietly(tmp_path, suffix, capfd):
    content = las(suffix, points=MANY, colors=SHADES)
    huge = bytearray(content)
    huge[247:255] = (10**12).to_bytes(8, "little")
    tables = bytearray(content)
    tables[100:104] = b"\xff" * 4
    torn = {"cut": content[:-9], "half": content[:900], "huge": bytes(huge), "tables": bytes(tables)}
    if suffix == ".laz":  # what its decompressor would allocate: layers of 4 GB, or a table of chunks of 64 GB
        start = int.from_bytes(content[96:100], "little")
        table = int.from_bytes(content[start : start + 8], "little")
        for name, at in (("layers", start + 8 + 36 + 4), ("chunks", table + 4)):  # 36 bytes a point of format 7
            torn[name] = content[:at] + b"\xff" * 4 + content[at + 4 :]
    for name, bad in torn.items():
        with pytest.raises(FileError, match=f"{name}{suffix}") as caught:
            read(tmp_path, f"{name}{suffix}", bad)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileError, match="no points"):
        read(tmp_path, f"none{suffix}", las(suffix, points=np.zeros((0, 3)), colors=np.zeros((0, 3))))
    assert capfd.readouterr().err == ""
    assert not [h for h in logging.getLogger("laspy").handlers if not isinstance(h, logging.NullHandler)]


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("ignore")
def test_damaged_glb_and_las_raise_clipx_errors_only(tmp_path, data):
    suffix = data.draw(st.sampled_from([".glb", ".las", ".laz"]))
    content = bytearray(glb(scene_of(), scene_bytes()) if suffix == ".glb" else las(suffix))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, min(len(content), 400) - 1) | st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255) | st.sampled_from(b"0123456789-"))
    del content[data.draw(st.integers(1, len(content)) | st.just(len(content))) :]
    with suppress(ClipxError):
        found = read(tmp_path, f"a{suffix}", bytes(content))
        assert np.isfinite(found.points).all() and len(found.points)


def test_what_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "laspy", None)
    monkeypatch.setitem(sys.modules, "open3d", None)
    for name in ("a.las", "a.laz"):
        with pytest.raises(MissingDependencyError, match=rf"{name}: .*pip install 'clipx-modalities\[las\]'"):
            read(tmp_path, name, b"LASF" + bytes(300))
    with pytest.raises(MissingDependencyError, match=r"a\.fbx: .*'clipx-modalities\[open3d\]'.*libusb-1.0-0 libgl1"):
        read(tmp_path, "a.fbx", "1 2 3\n")


def test_a_system_library_that_open3d_lacks_is_named(tmp_path, monkeypatch):
    def failing(name):
        raise OSError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr("clipx.modalities.pointcloud.projection.open3d_backend.import_module", failing)
    with pytest.raises(MissingDependencyError, match=r"libGL\.so\.1.*libusb-1\.0-0 libgl1 libgomp1") as caught:
        read(tmp_path, "a.fbx", "1 2 3\n")
    assert "\n" not in str(caught.value)


def test_open3d_reads_the_rest(tmp_path, monkeypatch):
    """A stand-in with the few names of open3d that are used; where open3d is installed, it reads the file itself."""
    opened = []

    class Quiet:
        def __init__(self, level): ...
        def __enter__(self): ...
        def __exit__(self, *error): ...

    def mesh(path):
        opened.append(Path(path).read_text())
        return SimpleNamespace(vertices=POINTS, triangles=[[0, 1, 2]], vertex_colors=COLORS, vertex_normals=NORMALS)

    utility = SimpleNamespace(VerbosityContextManager=Quiet, VerbosityLevel=SimpleNamespace(Error=0))
    readers = SimpleNamespace(read_triangle_mesh=mesh)
    monkeypatch.setitem(sys.modules, "open3d", SimpleNamespace(utility=utility, io=readers))
    found = read(tmp_path, "a.fbx", "what open3d sees")
    assert opened == ["what open3d sees"] and found.triangles.tolist() == [[0, 1, 2]] and len(found.normals) == 4
    np.testing.assert_allclose(found.colors, COLORS, atol=1e-6)
