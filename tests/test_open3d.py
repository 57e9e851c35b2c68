"""open3d as a backend and as the reference: its normals, hidden points, rays and files beside ours.

Each figure named beside a limit is what was measured with open3d 0.20.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import trimesh

from clipx.errors import FileError, InputError, MissingDependencyError
from clipx.modalities.pointcloud import PointCloud
from clipx.modalities.pointcloud.files import read_geometry
from clipx.modalities.pointcloud.projection import (
    PROJECTIONS,
    discs,
    mesh_raster,
    open3d_backend,
    project,
    shaded,
)
from clipx.modalities.pointcloud.projection.plain import mesh, solid, surfels
from clipx.modalities.pointcloud.projection.views import RING, look, turned

try:
    import open3d

    missing = ""
except (ImportError, OSError) as error:  # OSError: a system library
    missing = str(error)

needs_open3d = pytest.mark.skipif(bool(missing), reason=f"open3d cannot be imported: {missing}")
CHAIR = Path(__file__).parents[1] / "examples" / "data" / "chair.off"
SIDE, VIEWS = 200, RING[::3]


def cloud_of(shape: trimesh.Trimesh, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of a mesh as `solid.unit_ball` has them, and the normals of their triangles."""
    points, faces = trimesh.sample.sample_surface(shape, count, seed=0)
    return solid.unit_ball(torch.tensor(np.asarray(points))).float(), torch.tensor(shape.face_normals[faces]).float()


def shapes() -> dict[str, trimesh.Trimesh]:
    bumps = trimesh.creation.icosphere(4)
    bumps.vertices *= 1 + 0.1 * np.sin(9 * bumps.vertices).sum(1, keepdims=True)
    torus = trimesh.creation.torus(1, 0.4, 64, 48)
    chair = read_geometry(CHAIR)
    return {
        "sphere": trimesh.creation.icosphere(4),
        "bumps": bumps,
        "torus": torus,
        "box": trimesh.creation.box((1, 2, 0.5)),
        "chair": trimesh.Trimesh(chair.points, chair.triangles, process=False),
    }


SHAPES = shapes()


def tensors(shape: trimesh.Trimesh) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(np.asarray(shape.vertices)).float(), torch.tensor(np.asarray(shape.faces)).long()


def degrees(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The angle between lines: the sign of a normal is nothing to it."""
    return torch.rad2deg(torch.acos((a * b).sum(1).abs().clamp(max=1)))


def none_of(points: torch.Tensor) -> torch.Tensor:
    return torch.full_like(points, torch.nan)


# Without open3d.


@pytest.mark.parametrize("name", ["shaded", "mesh_raster"])
def test_without_open3d_one_line_says_what_to_install(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    points, triangles = torch.rand(1, 9, 3), torch.tensor([[[0, 1, 2]]])
    with pytest.raises(
        MissingDependencyError, match=r"'clipx-modalities\[open3d\]'.*libusb-1.0-0 libgl1 libgomp1"
    ) as caught:
        project(name, points, triangles, resolution=8, backend="open3d")
    assert "\n" not in str(caught.value) and issubclass(MissingDependencyError, ImportError)
    assert project(name, points, triangles, resolution=8).isfinite().all()


@pytest.mark.parametrize("name", [name for name in PROJECTIONS if name not in ("shaded", "mesh_raster")])
def test_the_other_projections_refuse_it(name):
    with pytest.raises(InputError, match=f"{name} is not drawn by backend 'open3d'; one of auto, plain, numba$"):
        project(name, torch.rand(1, 5, 3), backend="open3d")
    with pytest.raises(InputError, match="not drawn by backend 'opengl'; one of auto, plain, numba, open3d"):
        project("shaded", torch.rand(1, 5, 3), backend="opengl")


@pytest.mark.parametrize(
    "draw", [shaded, lambda points, **more: mesh_raster(points, torch.tensor([[[0, 1, 2]]]), **more)]
)
def test_gradients_are_refused(draw):
    with pytest.raises(InputError, match='"open3d" draws without gradients; take backend="plain"'):
        draw(torch.rand(1, 5, 3, requires_grad=True), backend="open3d")


def test_the_setting_is_checked_and_draws(tiny_space, monkeypatch):
    with pytest.raises(InputError, match="pointclip_v2 is not drawn by backend 'open3d'; one of auto, plain, numba"):
        PointCloud.Config(projection="pointclip_v2", backend="open3d")
    made = PointCloud(tiny_space, PointCloud.Config(projection="shaded", backend="open3d"))
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(MissingDependencyError, match="need open3d"):
        made.encode([made.example()])


def test_the_command_takes_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    code, _, error = run(f"views {CHAIR} --projection mesh_raster --backend open3d -o a.png")
    assert code == 2 and len(error.strip().splitlines()) == 1 and "'clipx-modalities[open3d]'" in error


# Normals. Each limit: degrees, and the share of points whose two normals lie within them.


@needs_open3d
@pytest.mark.parametrize(
    ("name", "count", "within", "share"),
    [("sphere", 2048, 8, 0.99), ("torus", 2048, 15, 0.97), ("chair", 8192, 20, 0.75)],  # 1.000, 0.998, 0.797
)
def test_normals_agree_up_to_their_sign(name, count, within, share):
    points, true = cloud_of(SHAPES[name], count)
    theirs = torch.from_numpy(open3d_backend.normals(points.numpy()))
    for found in (surfels.discs(points, none_of(points)), by_kernel(points)):
        ours = F.normalize(found.normal, dim=1)
        assert (degrees(ours, theirs) < within).float().mean() > share
        # Nor does theirs know better: of the chair's, 0.797 of ours and 0.778 of open3d's.
        assert (degrees(ours, true) < 20).float().mean() > (degrees(theirs, true) < 20).float().mean() - 0.01


def by_kernel(points: torch.Tensor) -> discs.Discs:
    """Discs without given normals, as tensors."""
    return discs.Discs(*map(torch.from_numpy, discs.discs(points.numpy(), none_of(points).numpy())))


# Hidden points.


def seen_in_depth(points: torch.Tensor) -> tuple[solid.Scene, torch.Tensor]:
    """A scene, and (V, P) bool: which discs' centres are not behind the foremost discs."""
    shape = by_kernel(points)
    scene = solid.before(shape.centre, VIEWS, SIDE)
    normals, axes = turned(shape.normal, VIEWS), turned(shape.axes.flatten(0, 1), VIEWS).unflatten(1, (-1, 2))
    slack = discs.THICK * float(shape.axes.norm(dim=2).mean())
    found = []
    for seen, focal, centre, normal, half in zip(*scene[:3], normals, axes, strict=True):
        depth = surfels.foremost(seen, focal, centre, normal, half, 4, slack, SIDE)
        column, row = (seen[:, :2] / seen[:, 2:] * focal + centre).long().clamp(0, SIDE - 1).unbind(1)
        found.append(seen[:, 2] <= depth[row, column] + slack)
    return scene, torch.stack(found)


@needs_open3d
@pytest.mark.parametrize(
    ("name", "count", "overlap"),  # intersection over union, in the worst view
    [("sphere", 1024, 0.8), ("torus", 2048, 0.78), ("chair", 1024, 0.65)],  # 0.884, 0.846, 0.747
)
def test_the_visible_points_overlap(name, count, overlap):
    scene, ours = seen_in_depth(cloud_of(SHAPES[name], count)[0])
    theirs = torch.from_numpy(open3d_backend.visible(scene.points.numpy()))
    assert ours.shape == theirs.shape == (len(VIEWS), count)
    for o, t in zip(ours, theirs, strict=True):
        assert (o & t).sum() / (o | t).sum() > overlap
        assert (o & t).sum() / t.sum() > 0.85  # of those that open3d sees, ours: 0.897


@needs_open3d
def test_clouds_without_an_inside_hide_nothing():
    flat = torch.tensor([[x, 0.0, z] for x in range(5) for z in range(5)])
    for points in (flat, flat[:2], flat[:5], torch.rand(3, 3)):
        placed = turned(solid.unit_ball(points), [look(0, 0)]) + torch.tensor([0, 0, 4.0])
        assert open3d_backend.visible(placed.numpy()).all()
        drawn = shaded(points[None], resolution=24, views=[look(0, 0), look(0, 30)], backend="open3d")
        assert drawn.isfinite().all() and drawn.min() < 1


# Rays.


def world_rays(scene: solid.Scene, view: int) -> np.ndarray:
    """A line of sight through each pixel's centre, (S, S, 6), made apart from the backend's: in the mesh's own axes."""
    right, down, ahead = np.array(RING[view])
    centre, focal = scene.centre_px[view].numpy().astype(float), float(scene.focal_px[view])
    pixel = np.arange(scene.side) + 0.5
    x, y = (pixel - centre[0]) / focal, (pixel - centre[1]) / focal
    direction = x[None, :, None] * right + y[:, None, None] * down + ahead
    origin = np.broadcast_to(-solid.DISTANCE * ahead, direction.shape)
    return np.concatenate([origin, direction], 2).astype(np.float32)


def inner(seen: torch.Tensor) -> torch.Tensor:
    """(S, S) bool: the pixels whose eight neighbours are seen, or not, as they are."""
    grown, shrunk = F.max_pool2d(seen[None].float(), 3, 1, 1), -F.max_pool2d(-seen[None].float(), 3, 1, 1)
    return (grown == shrunk)[0]


@needs_open3d
@pytest.mark.parametrize("hits", [mesh.hits, open3d_backend.hits])
@pytest.mark.parametrize("name", SHAPES)
def test_triangles_are_met_where_rays_meet_them(name, hits):
    vertices, triangles = tensors(SHAPES[name])
    points = solid.unit_ball(vertices)
    scene = solid.before(points, RING, 200)
    rays = open3d.t.geometry.RaycastingScene()
    rays.add_triangles(points.numpy(), triangles.numpy().astype(np.uint32))
    a, b, c = points[triangles].unbind(1)
    normals = F.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    for view in (0, 3):
        met = {key: value.numpy() for key, value in rays.cast_rays(world_rays(scene, view)).items()}
        true, ids = torch.from_numpy(met["t_hit"]), torch.from_numpy(met["primitive_ids"].astype(np.int64))
        depth, found, share = hits(scene.points[view], scene.focal_px[view], scene.centre_px[view], triangles, 200)
        depth, found = depth.view(200, 200), found.view(200, 200)
        covered, expected = depth.isfinite(), true.isfinite()
        assert torch.equal(covered, found >= 0) and covered.float().mean() > 0.05
        differing = covered != expected  # measured: none at all
        assert differing.sum() <= 4 and not (differing & inner(expected)).any()
        both = covered & expected
        assert ((depth - true)[both].abs() > 1e-4).sum() <= 4  # of a mesh of radius 1; measured: none
        assert (found == ids)[both].float().mean() > 0.999  # 0.9999: two triangles share the edge
        assert (
            degrees(normals[found[both]], torch.from_numpy(met["primitive_normals"])[both]) < 1
        ).float().mean() > 0.999
        place = (scene.points[view][triangles[found[covered]]] * share[..., None]).sum(1)
        assert (place[:, 2] - depth[covered]).abs().max() < 2e-4


# Pictures.


@needs_open3d
@pytest.mark.parametrize("name", SHAPES)
def test_meshes_are_drawn_alike(name):
    vertices, triangles = tensors(SHAPES[name])
    colors = torch.rand(1, len(vertices), 3, generator=torch.Generator().manual_seed(0))
    ours = mesh_raster(vertices[None], triangles[None], colors, 100, RING[:3])
    theirs = mesh_raster(vertices[None], triangles[None], colors, 100, RING[:3], backend="open3d")
    assert theirs.dtype == ours.dtype and theirs.shape == ours.shape == (1, 3, 3, 100, 100)
    off = (ours - theirs).abs()
    assert off.mean() < 1e-5 and (off > 0.02).float().mean() < 1e-3  # 1e-7 and 0


@needs_open3d
@pytest.mark.parametrize(
    ("name", "off", "overlap"),  # mean difference of the pixels, intersection over union of the silhouettes
    [
        ("sphere", 0.03, 0.95),  # 0.016, 0.981
        ("bumps", 0.09, 0.82),  # 0.064, 0.869: edges of shallow waves
        ("torus", 0.04, 0.92),  # 0.024, 0.961
        ("box", 0.04, 0.90),  # 0.021, 0.940
        ("chair", 0.04, 0.85),  # 0.022, 0.902
    ],
)
def test_clouds_are_drawn_alike(name, off, overlap):
    points = cloud_of(SHAPES[name], 1024)[0][None]
    ours, theirs = (shaded(points, resolution=100, views=RING[:3], backend=backend) for backend in ("auto", "open3d"))
    assert 0 < (ours - theirs).abs().mean() < off
    a, b = ours[:, :, 0] < 0.999, theirs[:, :, 0] < 0.999
    assert (a & b).sum() / (a | b).sum() > overlap
    exact = shaded(points.double(), resolution=100, views=RING[:1], backend="open3d")  # painted by the plain version
    assert exact.dtype == torch.float64 and (exact - theirs[:, :1]).abs().mean() < 1e-3


@needs_open3d
def test_given_normals_are_kept():
    points = cloud_of(SHAPES["sphere"], 400)[0][None]
    tilted = torch.tensor([0.0, 1.0, 1.0]).expand_as(points).clone()
    ours, theirs = (shaded(points, tilted, None, 40, RING[:1], backend) for backend in ("auto", "open3d"))
    estimated = shaded(points, None, None, 40, RING[:1], "open3d")
    assert (ours - theirs).abs().mean() < 0.005 and (estimated - theirs).abs().mean() > 0.05  # 0.001 and 0.139
    tilted[:, 200:] = torch.nan
    partly = shaded(points, tilted, None, 40, RING[:1], "open3d")
    assert partly.isfinite().all() and not torch.equal(partly, theirs) and not torch.equal(partly, estimated)


# Files.


def written(path: Path, write, thing, **options) -> Path:
    assert write(str(path), thing, **options)
    return path


@pytest.fixture
def theirs():
    """A cloud of open3d's."""
    made = open3d.geometry.PointCloud()
    generator = np.random.default_rng(0)
    points = generator.normal(size=(60, 3))
    for name, values in (
        ("points", points),
        ("colors", generator.integers(0, 256, (60, 3)) / 255),
        ("normals", points / np.linalg.norm(points, axis=1, keepdims=True)),
    ):
        setattr(made, name, open3d.utility.Vector3dVector(values))
    return made


@needs_open3d
@pytest.mark.parametrize("suffix", [".pcd", ".ply"])
@pytest.mark.parametrize("options", [{"write_ascii": True}, {}, {"compressed": True}])
def test_their_clouds_are_read_as_they_read_them(tmp_path, theirs, suffix, options):
    path = written(tmp_path / f"a{suffix}", open3d.io.write_point_cloud, theirs, **options)
    found, again = read_geometry(path), open3d.io.read_point_cloud(str(path))
    np.testing.assert_allclose(found.points, again.points, atol=1e-6)
    np.testing.assert_allclose(found.points, theirs.points, atol=1e-5)  # float32 or six digits
    np.testing.assert_allclose(found.colors, theirs.colors, atol=1e-6)
    np.testing.assert_allclose(found.normals, theirs.normals, atol=1e-5)
    assert found.triangles is None


@needs_open3d
@pytest.mark.parametrize("suffix", [".xyz", ".xyzn", ".xyzrgb", ".pts"])
def test_their_text_formats_are_read(tmp_path, theirs, suffix):
    found = read_geometry(written(tmp_path / f"a{suffix}", open3d.io.write_point_cloud, theirs))
    np.testing.assert_allclose(found.points, theirs.points, atol=1e-9)
    assert (found.colors is not None) == (suffix in (".xyzrgb", ".pts")) and (found.normals is not None) == (
        suffix == ".xyzn"
    )
    if found.colors is not None:
        np.testing.assert_allclose(found.colors, theirs.colors, atol=1e-6)
    if found.normals is not None:
        np.testing.assert_allclose(found.normals, theirs.normals, atol=1e-6)


@needs_open3d
@pytest.mark.parametrize("name", ["text.ply", "packed.ply", "a.off", "a.stl"])
@pytest.mark.filterwarnings("ignore")
def test_their_meshes_are_read(tmp_path, name):
    made = open3d.geometry.TriangleMesh.create_torus()
    made.compute_triangle_normals()  # .stl wants them
    path = written(tmp_path / name, open3d.io.write_triangle_mesh, made, write_ascii=name == "text.ply")
    found = read_geometry(path)
    corners, true = found.points[found.triangles], np.asarray(made.vertices)[np.asarray(made.triangles)]
    np.testing.assert_allclose(corners, true, atol=1e-5)


FBX = """; FBX 7.3.0 project file
FBXHeaderExtension:  {
	FBXHeaderVersion: 1003
	FBXVersion: 7300
}
Objects:  {
	Geometry: 11, "Geometry::", "Mesh" {
		Vertices: *12 {
			a: 0,0,0,1,0,0,0,1,0,0,0,1
		}
		PolygonVertexIndex: *12 {
			a: 0,2,-2,0,1,-4,1,2,-4,0,3,-3
		}
		GeometryVersion: 124
	}
	Model: 12, "Model::a", "Mesh" {
		Version: 232
	}
}
Connections:  {
	C: "OO",12,0
	C: "OO",11,12
}
"""


@needs_open3d
def test_fbx_is_read_by_open3d(tmp_path):
    path = tmp_path / "a.fbx"
    path.write_text(FBX)
    found = read_geometry(path)
    corners = {frozenset(map(tuple, found.points[row].tolist())) for row in found.triangles}
    origin, x, y, z = (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)
    assert corners == {frozenset(face) for face in ((origin, y, x), (origin, x, z), (x, y, z), (origin, z, y))}
    path.write_bytes(b"\0" * 100)
    with pytest.raises(FileError, match=r"a\.fbx"):
        read_geometry(path)
