"""The point-cloud sense: the projection equals PointCLIP's own, and the encoder keeps its promises."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipx._arrays import softmax, unit_rows
from clipx.cache import FeatureCache
from clipx.cli import main
from clipx.errors import FileError, InputError
from clipx.modalities.pointcloud import PROJECTIONS, Cloud, Mesh, PointCloud, pointclip_v1
from clipx.modalities.pointcloud.cloud import about_y, draw, unit_sphere, upright
from clipx.modalities.pointcloud.files import estimate_up, sample_surface
from clipx.modalities.pointcloud.projection import SETTINGS, in_colour, resized, to_input
from clipx.parts import KINDS
from clipx.pipeline import MadeItem, encode
from clipx.zeroshot import ZeroShotClassifier

GOLDEN = Path(__file__).parent / "golden" / "pointclip.npz"  # what the released code returned


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def random_points(seed: int, count: int = 200) -> np.ndarray:
    points = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    return unit_sphere(points.numpy())


def random_cloud(seed: int, count: int = 200) -> torch.Tensor:
    return torch.from_numpy(random_points(seed, count))


def close(ours: np.ndarray, expected, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(ours, np.asarray(expected), atol=atol, rtol=0)


def agree(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Equal to 1e-5, but for one cell in 1,000 of those drawn: a point on a cell's border may fall on either side."""
    off = (ours - theirs).abs() > 1e-5
    return int(off.sum()) <= int((theirs > 0).sum()) / 1000


# The projection.


@pytest.mark.parametrize("backend", ["plain", "numba"])
def test_views_equal_the_released_code(golden, backend):
    assert agree(pointclip_v1(golden["points"], "zero_shot", backend=backend).flatten(0, 1), golden["v1_zs"])
    assert agree(pointclip_v1(golden["points"][:1], "few_shot", backend=backend)[0], golden["v1_fs_first_cloud"])


def test_enlarging_equals_the_released_code(golden):
    enlarged = to_input(pointclip_v1(golden["points"][:1])[0, :1], 224)
    assert enlarged.shape == (1, 3, 224, 224)
    for channel in enlarged[0]:
        torch.testing.assert_close(channel, golden["v1_zs_224_first_view"], atol=1e-5, rtol=0)


def transcription(points: np.ndarray, view: tuple[float, float, float], distance: float, size: int) -> np.ndarray:
    """The paper's projection, point by point, in float64."""
    a, b, c = view
    rx = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    ry = np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
    rz = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    sums, weights = np.zeros((size, size)), np.zeros((size, size))
    for point in points.astype(np.float64):
        x, y, z = rx @ ry @ rz @ point
        z += distance
        row, column = (math.ceil((v / (z + 1e-12) + 1) * size / 2 - 0.5) for v in (x, y))
        if z >= 0 and 0 <= row <= size - 1 and 0 <= column <= size - 1:
            sums[row, column] += z / (z + 1e-12)
            weights[row, column] += 1 / (z + 1e-12)
    return np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 0)


@pytest.mark.parametrize("setting", SETTINGS)
def test_projection_equals_a_literal_transcription(setting):
    camera, points = SETTINGS[setting], random_cloud(1, 600)
    expected = np.stack([transcription(points.numpy(), v, camera.distance, camera.resolution) for v in camera.angles])
    assert agree(pointclip_v1(points[None], setting)[0], torch.from_numpy(expected).float())


def test_side_views_look_along_the_stated_axes():
    # one point up (+y), one to +x, one to +z; the row grows downwards
    points = torch.tensor([[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0.5]])
    up, right, front = (pointclip_v1(p[None, None], resolution=129)[0] for p in points)
    for view in range(4):
        assert up[view].nonzero()[0, 0] < 64 and up[view].nonzero()[0, 1] in (64, 65)

    def column(image):
        return int(image.nonzero()[0, 1]) - 64

    def depth(image):
        return float(image.max())

    assert [column(right[v]) > 10 for v in range(4)] == [True, False, False, False]  # columns along +x, -z, -x, +z
    assert column(right[2]) < -10 and column(front[1]) < -10 and column(front[3]) > 10
    assert depth(front[0]) == pytest.approx(2.1) and depth(right[1]) == pytest.approx(2.1)  # depth along +z, +x, -z, -x
    assert depth(front[2]) == pytest.approx(1.1) and depth(right[3]) == pytest.approx(1.1)
    assert depth(up[4]) == pytest.approx(1.1) and depth(up[5]) == pytest.approx(2.1)  # from above, from below


def test_a_pixel_holds_the_harmonic_mean_of_its_depths():
    points = torch.tensor([[[0.0, 0.0, -0.6], [0.0, 0.0, 0.4]]])  # depths 1 and 2 on one ray of view 0
    view = pointclip_v1(points)[0, 0]
    assert view[view > 0].tolist() == pytest.approx([4 / 3])


def test_points_behind_the_camera_or_off_the_canvas_are_dropped():
    inside = torch.tensor([[0.1, 0.2, 0.3]])
    outside = torch.tensor([[0.0, 0.0, -3.0], [5.0, 0.0, 0.0], [0.0, -5.0, 0.0]])  # behind; right of; below
    with_outside = pointclip_v1(torch.cat([inside, outside])[None])[0, 0]
    assert torch.equal(with_outside, pointclip_v1(inside[None])[0, 0])
    assert pointclip_v1(outside[:1][None])[0, 0].count_nonzero() == 0


@given(seed=st.integers(0, 2**31 - 1))
@settings(max_examples=15, deadline=None)
def test_order_and_batch_do_not_matter(seed):
    a, b = random_cloud(seed), random_cloud(seed + 1)
    shuffled = a[torch.randperm(len(a), generator=torch.Generator().manual_seed(seed))]
    together = pointclip_v1(torch.stack([b, a, shuffled]))
    assert torch.equal(together[1], pointclip_v1(a[None])[0])
    torch.testing.assert_close(together[1], together[2], atol=1e-6, rtol=0)
    assert together.max() <= 1.6 + 1 + 1e-5


def test_rows_of_nan_pad_a_cloud():
    points = random_cloud(3)
    padded = torch.cat([points, torch.full((50, 3), torch.nan)])
    assert torch.equal(pointclip_v1(points[None]), pointclip_v1(padded[None]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_follows_the_points(dtype):
    image = pointclip_v1(random_cloud(4)[None].to(dtype))
    assert image.dtype == dtype and image.isfinite().all() and image.count_nonzero() > 100


def test_depth_is_differentiable_in_the_points():
    points = random_cloud(5)[None].double().requires_grad_()
    pointclip_v1(points).sum().backward()
    assert points.grad.isfinite().all() and points.grad[..., 2].abs().min() > 0


@pytest.mark.parametrize(
    ("points", "options"),
    [
        (torch.zeros(5, 3), {}),
        (torch.zeros(1, 5, 2), {}),
        (torch.zeros(1, 5, 3, dtype=torch.long), {}),
        (torch.zeros(1, 5, 3), {"setting": "one_shot"}),
        (torch.zeros(1, 5, 3), {"resolution": 0}),
    ],
)
def test_projection_refuses_bad_arguments(points, options):
    with pytest.raises(InputError):
        pointclip_v1(points, **options)


def test_making_smaller_loses_no_point():
    depth = torch.zeros(1, 128, 128)
    depth[0, torch.arange(1, 128, 9), torch.arange(1, 128, 9)] = 1.6  # single pixels
    small = to_input(depth, 48)
    assert small.shape == (1, 3, 48, 48)
    cells = [int((i + 0.5) * 48 / 128) for i in range(1, 128, 9)]
    assert (small[0, 0, cells, cells] > 0.05).all()
    assert float(small[0, 0].mean()) == pytest.approx(float(depth.mean()), rel=0.05)


def test_equal_size_is_left_alone():
    depth = pointclip_v1(random_cloud(6)[None])
    assert torch.equal(to_input(depth, 128)[:, :, 0], depth)
    assert to_input(depth, (64, 200)).shape == (1, 6, 3, 64, 200)


# The encoder.


@pytest.fixture(scope="module")
def encoder(tiny_space):
    return PointCloud(tiny_space)


def test_vector_is_the_mean_of_the_views(encoder):
    cloud = PointCloud.example()
    depth = pointclip_v1(unit_sphere(cloud.points)[None])[0]
    views = encoder.space.encode_image(to_input(depth, encoder.space.image_size), normalize=False)
    expected = views.sum(0) / np.linalg.norm(views.sum(0))
    close(encoder.encode([cloud]).vectors[0], expected)
    only_top = PointCloud(encoder.space, PointCloud.Config(weights=(0, 0, 0, 0, 2.0, 0)))
    close(only_top.encode([cloud]).vectors[0], views[4])


def test_vector_does_not_depend_on_the_batch(encoder):
    clouds = [Cloud(random_points(i, count)) for i, count in enumerate(range(10, 400, 19))]
    together = encoder.encode(clouds).vectors
    alone = np.concatenate([encoder.encode([cloud]).vectors for cloud in clouds])
    assert len(clouds) > 16 and np.abs(together - alone).max() <= 1e-5
    assert np.array_equal(together, encoder.encode(clouds).vectors)


def test_place_and_size_of_the_cloud_do_not_matter(encoder):
    points = random_points(7).astype(np.float64)
    here, there = encoder.from_array(points), encoder.from_array(points * 250 + [5e6, -4e5, 30])
    assert np.abs(encoder.encode([here]).vectors - encoder.encode([there]).vectors).max() < 1e-3


def test_every_up_axis_gives_the_same_picture(encoder):
    points = random_points(8)
    x, y, z = points.T
    lying = {"x": np.stack([y, -x, z], 1), "y": points, "z": np.stack([x, -z, y], 1)}
    for up, turned in lying.items():
        assert np.array_equal(upright(turned, up), points)
        assert np.array_equal(encoder.pictures(Cloud(turned, up)), encoder.pictures(Cloud(points)))
        rotation = upright(np.eye(3), up)
        assert np.linalg.det(rotation) == 1  # no mirror


def test_user_s_axis_wins_over_the_file_s(tiny_space, tmp_path):
    np.savez(tmp_path / "z.npz", points=random_points(9), up="z")
    np.save(tmp_path / "none.npy", random_points(9))
    bound, silent = (PointCloud(tiny_space, PointCloud.Config(up=up)) for up in ("x", None))
    assert [m.load(tmp_path / "z.npz").up for m in (bound, silent)] == ["x", "z"]
    assert [m.load(tmp_path / "none.npy").up for m in (bound, silent)] == ["x", "y"]
    assert silent.from_array(random_points(9), up=np.array("z")).up == "z"


def test_large_clouds_are_thinned_by_a_seeded_draw(tiny_space):
    points = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)
    draws = [PointCloud(tiny_space, PointCloud.Config(seed=s, points=300)).from_array(points).points for s in (0, 0, 1)]
    assert draws[0].shape == (300, 3) and np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])
    few = PointCloud(tiny_space).from_array(points[:17]).points
    np.testing.assert_allclose(few, points[:17] - points[:17].mean(0), rtol=1.3e-6, atol=1e-5)  # used as they are


def test_surface_is_sampled_by_area():
    # two squares' halves: the second triangle has three times the area of the first
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 5], [3, 0, 5], [0, 1, 5]], float)
    triangles = np.array([[0, 1, 2], [3, 4, 5], [0, 0, 1]])
    drawn = sample_surface(points, triangles, 20_000, seed=3)
    assert np.array_equal(drawn, sample_surface(points, triangles, 20_000, seed=3))
    assert np.mean(drawn[:, 2] == 5) == pytest.approx(0.75, abs=0.01)
    first = drawn[drawn[:, 2] == 0]
    assert first.min() >= 0 and (first[:, 0] + first[:, 1]).max() <= 1
    assert first.mean(0) == pytest.approx([1 / 3, 1 / 3, 0], abs=0.01)


def test_mesh_file_becomes_a_cloud(encoder, tmp_path):
    (tmp_path / "tent.off").write_text("OFF\n4 2 0\n0 0 0\n1 0 0\n0 1 0\n0 1 1\n3 0 1 2\n3 1 2 3\n")
    cloud = encoder.load(tmp_path / "tent.off")
    assert cloud.points.shape == (1024, 3) and cloud.source == str(tmp_path / "tent.off")
    assert np.array_equal(cloud.points, encoder.load(tmp_path / "tent.off").points)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("flat.off", "OFF\n3 1 0\n0 0 0\n1 1 1\n2 2 2\n3 0 1 2\n"),  # a line: no area
        ("thin.obj", "v 0 0 0\nv 1 0 0\nv 2 3 0\nf 1 2\n"),  # a face of two corners
        ("one.xyz", "1 2 3\n"),
        ("same.xyz", "1 2 3\n1 2 3\n"),
        ("nan.xyz", "1 2 3\n4 nan 6\n"),
        ("inf.xyz", "1 2 3\n4 inf 6\n"),
        ("huge.xyz", "1 2 3\n4 1e300 6\n"),
        ("comment.xyz", "# nothing\n"),
    ],
)
def test_useless_geometry_is_refused(encoder, tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises((InputError, FileError), match=name.replace(".", r"\.")) as caught:
        encoder.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 3)),
        np.ones((5, 3)),
        np.zeros((5, 2)),
        np.zeros(3),
        np.full((2, 3), np.nan),
        np.array([["a"] * 3] * 2),
        np.array([[0, 0, 0], [0, 0, np.inf]]),
        np.array([[0, 0, 0], [0, 0, 1e200]]),
        np.array([[None] * 3] * 2),
    ],
)
def test_useless_arrays_are_refused(encoder, array):
    with pytest.raises(InputError):
        encoder.from_array(array)


@pytest.mark.parametrize(
    "options",
    [
        {"projection": "pointclip_v9"},
        {"up": "w"},
        {"points": 1},
        {"seed": -1},
        {"up": "up"},
        {"tta": 0},
        {"weighting": "best"},
        {"weighting": "vitb16_modelnet40"},
        {"weighting": "entropy", "weights": (1.0,) * 6},
        {"weights": (1.0,)},
        {"weights": (0.0,) * 6},
        {"weights": (1.0, 1, 1, 1, 1, -1)},
        {"weights": (1.0, 1, 1, 1, 1, float("nan"))},
    ],
)
def test_bad_settings_are_refused(options):
    with pytest.raises(InputError):
        PointCloud.Config(**options)


def test_pictures_show_every_view(encoder):
    cloud = PointCloud.example()
    before = cloud.points.copy()
    pictures = encoder.pictures(cloud)
    assert pictures.shape == (6, 3, 128, 128) and pictures.min() == 0 and pictures.max() == 1
    few_shot = PointCloud(encoder.space, PointCloud.Config(projection="pointclip_v1_few_shot"))
    assert few_shot.pictures(cloud).shape == (10, 3, 224, 224)
    assert few_shot.encode([cloud]).vectors.shape == (1, encoder.space.dim)
    assert np.array_equal(cloud.points, before)
    pictures[:, 0] = 0.5  # each channel is its own
    assert (pictures[:, 1] != 0.5).any()


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_every_projection_encodes_and_shows(tiny_space, projection):
    config = PointCloud.Config(projection=projection)
    encoder, entry = PointCloud(tiny_space, config), PROJECTIONS[projection]
    cloud = random_points(20, 60)
    mesh = Mesh(cloud, np.arange(60).reshape(20, 3))
    samples = [Cloud(cloud, mesh=mesh), Cloud(cloud[:30], "z", mesh=Mesh(cloud, mesh.triangles[:9]))]
    rows = encoder.encode(samples).vectors
    assert rows.shape == (2, tiny_space.dim)
    assert np.abs(rows - np.concatenate([encoder.encode([s]).vectors for s in samples])).max() <= 1e-5
    pictures = encoder.pictures(samples[0])
    assert len(pictures) == entry.views and pictures.min() >= 0 and pictures.max() == 1
    views = encoder.parts(samples).stacked()
    assert views.shape == (2, entry.views, tiny_space.dim)
    close(rows, unit_rows(views.mean(1)))
    drawn = draw(samples, projection, 64)  # the tower's side
    pixels = in_colour(resized(drawn, 64))[0]
    again = tiny_space.encode_image(pixels, normalize=entry.normalize)
    close(views[0], again)


# How the views are weighed.


def test_published_weights_have_names(tiny_space):
    config = PointCloud.Config(projection="pointclip_v2", weighting="vitb16_modelnet40")
    assert config.view_weights == (0.75, 0.75, 0.75, 0.25, 0.75, 1.0, 0.25, 1.0, 0.75, 0.25)
    by_name = PointCloud(tiny_space, config).encode([PointCloud.example()])
    own = PointCloud.Config(projection="pointclip_v2", weights=config.view_weights)
    assert np.array_equal(by_name.vectors, PointCloud(tiny_space, own).encode([PointCloud.example()]).vectors)


def test_entropy_weighs_sure_views_more(tiny_space):
    clouds = [Cloud(random_points(21)), PointCloud.example()]
    classifier = ZeroShotClassifier(tiny_space, ["chair", "table", "cat"])
    plain = PointCloud(tiny_space)
    encoder = PointCloud(tiny_space, PointCloud.Config(weighting="entropy"))
    with pytest.raises(InputError, match="no labels are known"):
        encoder.encode(clouds)
    bound = encoder.bind(classifier)
    assert plain.bind(classifier) is plain and plain.context == "" and bound.context and bound is not encoder
    assert bound.context == encoder.bind(ZeroShotClassifier(tiny_space, ["chair", "table", "cat"])).context
    assert bound.context != encoder.bind(ZeroShotClassifier(tiny_space, ["chair", "table"])).context
    views = plain.parts(clouds).stacked()
    shares = softmax(classifier.logit_scale * views @ classifier.weights.vectors.T)
    sure = 1 + (shares * np.log(shares)).sum(-1) / math.log(3)
    close(bound.encode(clouds).vectors, unit_rows((views * sure[..., None]).sum(1)))
    one = encoder.bind(ZeroShotClassifier(tiny_space, ["chair"]))  # one label says nothing of the views
    close(one.encode(clouds).vectors, plain.encode(clouds).vectors)


def test_features_cached_under_entropy_know_their_labels(tiny_space, tmp_path):
    cache, encoder = FeatureCache(tmp_path), PointCloud(tiny_space, PointCloud.Config(weighting="entropy"))
    bound = [encoder.bind(ZeroShotClassifier(tiny_space, labels)) for labels in (["chair", "cat"], ["chair", "dog"])]
    assert len({cache.key(each, b"cloud") for each in (encoder, *bound)}) == 3


def test_turns_are_averaged(tiny_space):
    cloud = PointCloud.example()
    thrice = PointCloud(tiny_space, PointCloud.Config(tta=3))
    views = thrice.parts([cloud]).vectors
    assert len(views) == 18
    for turn in range(3):  # by thirds of the quarter turn that lies between two side views
        points = about_y(unit_sphere(cloud.points), turn * math.pi / 6)
        drawn = tiny_space.encode_image(to_input(pointclip_v1(points[None])[0], 64), normalize=False)
        close(views[6 * turn : 6 * turn + 6], drawn)
    close(thrice.encode([cloud]).vectors, unit_rows(views.mean(0)[None]))
    only_top = PointCloud(tiny_space, PointCloud.Config(tta=2, weights=(0, 0, 0, 0, 1, 0)))
    twice = PointCloud(tiny_space, PointCloud.Config(tta=2))
    tops = twice.parts([cloud]).vectors[[4, 10]].sum(0)
    with pytest.raises(InputError, match="views that are classified separately have no weights"):
        next(encode([MadeItem("spring", PointCloud.example)], only_top, separate=KINDS))
    close(only_top.encode([cloud]).vectors, unit_rows(tops[None]))
    close(about_y(np.eye(3), math.pi / 2), [[0.0, 0, -1], [0, 1, 0], [1, 0, 0]], atol=1e-6)


# What files bring besides points.


TENT = "OFF\n4 2 0\n0 0 0\n1 0 0\n0 1 0\n0 1 1\n3 0 1 2\n3 1 2 3\n"


def test_meshes_are_kept_where_they_are_drawn(tiny_space, tmp_path):
    (tmp_path / "tent.off").write_text(TENT)
    (tmp_path / "cloud.xyz").write_text("0 0 0\n1 2 3\n4 5 7\n")
    drawn = PointCloud(tiny_space, PointCloud.Config(projection="mesh_raster"))
    sample = drawn.load(tmp_path / "tent.off")
    assert sample.mesh.triangles.tolist() == [[0, 1, 2], [1, 2, 3]] and sample.mesh.vertices.shape == (4, 3)
    assert drawn.pictures(sample).shape == (8, 3, 64, 64)
    assert PointCloud(tiny_space).load(tmp_path / "tent.off").mesh is None
    lit = PointCloud(tiny_space, PointCloud.Config(projection="shaded")).load(tmp_path / "tent.off")
    assert lit.normals.shape == (1024, 3) and lit.mesh is None
    with pytest.raises(InputError, match=r"cloud\.xyz: is a cloud without triangles.*; take --projection shaded"):
        drawn.load(tmp_path / "cloud.xyz")
    with pytest.raises(InputError, match="without triangles"):
        drawn.from_array(random_points(22))
    with pytest.raises(InputError, match="without triangles"):
        drawn.encode([PointCloud.example()])


def test_colors_and_normals_are_kept_where_they_are_drawn(tiny_space, tmp_path):
    points = random_points(23, 80)
    colors = np.tile(np.float32([1, 0, 0]), (80, 1))
    np.savez(tmp_path / "red.npz", points=points, colors=colors, normals=points)
    lit, plain = PointCloud(tiny_space, PointCloud.Config(projection="shaded", points=50)), PointCloud(tiny_space)
    sample = lit.load(tmp_path / "red.npz")
    assert sample.colors.shape == sample.normals.shape == (50, 3)
    assert ((unit_rows(sample.points) * sample.normals).sum(1) > 0.9).all()  # each went with its point
    pictures = lit.pictures(sample)
    assert (pictures[:, 1:][(pictures[:, :1] < 0.5).repeat(2, 1)] < 0.5).all() and pictures[:, 1].min() < 0.01
    bare = plain.load(tmp_path / "red.npz")
    assert bare.colors is None and bare.normals is None


def test_the_up_axis_may_be_guessed(tiny_space):
    table = np.concatenate([np.random.default_rng(0).uniform(-1, 1, (300, 3)) * [1, 1, 0.01] + [0, 0, 1]])
    legs = np.array([[x, y, z] for x in (-0.9, 0.9) for y in (-0.9, 0.9) for z in np.linspace(-1, 1, 20)])
    guessed = PointCloud(tiny_space, PointCloud.Config(up="auto")).from_array(np.concatenate([table, legs]), up="x")
    assert guessed.up == estimate_up(np.concatenate([table, legs]))


@pytest.mark.parametrize(
    "more",
    [
        {"normals": np.zeros((3, 3), np.float32)},
        {"colors": np.zeros((2, 3))},
        {"up": "auto"},
    ],
)
def test_useless_samples_are_refused(more):
    with pytest.raises(InputError):
        Cloud(np.array([[0, 0, 0], [1, 0, 0]], np.float32), **more)


# clipx views.


@pytest.mark.parametrize("projection", ["pointclip_v1", "shaded", "mesh_raster"])
def test_views_writes_a_sheet(tmp_path, capsys, projection):
    (tmp_path / "tent.off").write_text(TENT)
    out = tmp_path / "views.png"
    line = ["views", str(tmp_path / "tent.off"), str(tmp_path / "tent.off"), "-o", str(out), "--json"]
    assert main([*line, "--projection", projection, "--size", "32", "--up", "z", "--points", "60"]) == 0
    record = json.loads(capsys.readouterr().out)
    views = PROJECTIONS[projection].views
    assert (record["command"], record["projection"], record["views"]) == ("views", projection, views)
    assert [(r["up"], r["points"]) for r in record["results"]] == [("z", 60)] * 2
    with Image.open(out) as sheet:
        assert sheet.width == 6 + views * 38 and sheet.height == 2 * 56
        pixels = np.asarray(sheet)
    assert np.array_equal(pixels[18:50], pixels[74:106]) and pixels[18:50, 6:38].std() > 2


@pytest.mark.parametrize(
    ("line", "bound"),
    [
        ("views cloud.xyz --projection mesh_raster", "cloud.xyz: is a cloud without triangles"),
        ("views cloud.xyz --projection v9", "unknown projection 'v9'"),
        ("views none.ply", "none.ply: no such file"),
        ("views cloud.xyz -o views.jpg", "suffix '.jpg' is not .png"),
        ("views cloud.xyz --size 9999", "too large a picture"),
        ("views cloud.xyz --weighting best", "knows no weighting 'best'; one of uniform, entropy"),
    ],
)
def test_views_tells_mistakes_in_one_line(tmp_path, monkeypatch, capsys, line, bound):
    monkeypatch.chdir(tmp_path)
    Path("cloud.xyz").write_text("0 0 0\n1 2 3\n4 5 7\n")
    assert main(line.split()) == 2
    error = capsys.readouterr().err
    assert bound in error and error.count("\n") == 1 and not Path("views.png").exists()


def test_samples_of_tensors_hold_arrays():
    points = random_cloud(24, 30)
    sample = Cloud(points, normals=points, mesh=Mesh(points, torch.arange(30).view(10, 3)))
    held = (sample.points, sample.normals, sample.mesh.vertices, sample.mesh.triangles)
    assert all(isinstance(each, np.ndarray) for each in held) and np.array_equal(sample.points, points.numpy())


def test_a_sample_cannot_be_changed_by_accident():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PointCloud.example().up = "z"


def test_modelnet_chairs_stand_upright(encoder, shared):
    path = shared / "data" / "pointcloud" / "modelnet10_test.npz"
    if not path.exists():
        pytest.skip("no ModelNet10")
    with np.load(path) as data:
        chairs = data["points"][data["labels"] == list(data["classes"]).index("chair")][:10]
        up = data["up"]
    views = np.stack([encoder.pictures(encoder.from_array(points, up=up))[:4, 0] for points in chairs])
    rows = (views > 0).sum((0, 1, 3))  # a chair's legs are sparser than its seat and back
    middle = (rows * np.arange(len(rows))).sum() / rows.sum()
    drawn = np.flatnonzero(rows)
    assert middle < (drawn.min() + drawn.max()) / 2
