"""Projections: what the released codes draw, what a literal transcription draws, and solids that look like solids."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from clipx.errors import InputError
from clipx.modalities.pointcloud.cloud import unit_sphere
from clipx.modalities.pointcloud.projection import (
    PROJECTIONS,
    SETTINGS,
    corners,
    discs,
    get_projection,
    kernel,
    mesh_raster,
    ortho,
    ortho_splat,
    pointclip_v1,
    pointclip_v2,
    project,
    resized,
    shaded,
    solid,
    to_input,
    v1,
    v2,
)
from clipx.modalities.pointcloud.projection.plain import mesh as plain_mesh
from clipx.modalities.pointcloud.projection.plain import solid as plain_solid
from clipx.modalities.pointcloud.projection.plain import surfels as plain_surfels
from clipx.modalities.pointcloud.projection.plain.v2 import quantise
from clipx.modalities.pointcloud.projection.views import RING, euler, look
from clipx.prompts import get_prompts

GOLDEN = Path(__file__).parent / "golden" / "pointclip_v2.npz"  # what the released code returned
FRONT, RIGHT, TOP = look(0, 0), look(90, 0), look(0, 90)
SMALL = {"pointclip_v1": 24, "pointclip_v1_few_shot": 24, "pointclip_v2": 30, "ortho_splat": 40, "shaded": 20}
SMALL |= {"mesh_raster": 20}
CUBE = torch.tensor([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
SIDES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
CUBE_TRIANGLES = torch.tensor([t for a, b, c, d in SIDES for t in ((a, b, c), (a, c, d))])

each = pytest.mark.parametrize("name", PROJECTIONS)
both = pytest.mark.parametrize("backend", ["plain", "numba"])


def random_cloud(seed: int, count: int = 150) -> torch.Tensor:
    points = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    return torch.from_numpy(unit_sphere(points.numpy()))


def ball(count: int) -> torch.Tensor:
    """Points spread evenly over the unit sphere: a spiral."""
    k = torch.arange(count) + 0.5
    y, turn = 1 - 2 * k / count, math.pi * (1 + 5**0.5) * k
    r = (1 - y * y).sqrt()
    return torch.stack([r * turn.cos(), y, r * turn.sin()], 1)


def draw(name: str, clouds, backend: str = "auto", **more):
    """Small pictures of any projection; for one of meshes, every three points of a cloud are a triangle."""
    if get_projection(name).mesh:
        count = clouds.shape[1] // 3 * 3
        whole = torch.as_tensor(clouds)[:, :count].isfinite().all(2).unflatten(1, (-1, 3)).all(2)
        triangles = torch.where(whole[..., None], torch.arange(count).view(1, -1, 3), -1)
        more = {"triangles": triangles if isinstance(clouds, torch.Tensor) else triangles.numpy()} | more
    return project(name, clouds, resolution=SMALL[name], backend=backend, **more)


def differing(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-4) -> float:
    """The share of values that differ by more than that."""
    return float(((a - b).abs() > tolerance).float().mean())


# What holds for every one of them.


def test_what_a_tower_is_given_and_told_is_as_published():
    """PointCLIP feeds raw depth, and V2 grey levels, without CLIP's mean and deviation; CLIP2Point normalises."""
    published = {name: (e.views, e.normalize, e.raw, e.prompts, e.fixed) for name, e in PROJECTIONS.items()}
    assert published == {
        "pointclip_v1": (6, False, True, "pointclip", True),
        "pointclip_v1_few_shot": (10, False, True, "pointclip", True),
        "pointclip_v2": (10, False, False, "pointclip", True),
        "ortho_splat": (6, True, False, "rendering", True),
        "shaded": (8, True, False, "rendering", False),
        "mesh_raster": (8, True, False, "rendering", False),
    }


@each
@pytest.mark.parametrize("backend", ["auto", "plain", "numba"])
def test_arrays_are_drawn_as_tensors_are(name, backend):
    cloud = random_cloud(0)[None]
    by_tensor, by_array = draw(name, cloud, backend), draw(name, cloud.numpy(), backend)
    assert isinstance(by_array, np.ndarray) and by_array.dtype == np.float32
    assert isinstance(by_tensor, torch.Tensor) and np.array_equal(by_array, by_tensor.numpy())
    assert np.array_equal(draw(name, cloud.double().numpy(), backend), by_array)  # an array is drawn in float32


@each
def test_arrays_are_resized_as_tensors_are(name):
    drawn = draw(name, random_cloud(0)[None])
    for size in (24, (24, 17), (30, 50), 71, (10, 90)):
        assert np.abs(resized(drawn.numpy(), size) - resized(drawn, size).numpy()).max() < 1e-4
    assert np.array_equal(resized(drawn.numpy(), drawn.shape[-1]), drawn.numpy())
    assert np.array_equal(to_input(drawn[:, :, 0].numpy(), 50), resized(drawn.numpy(), 50)[:, :, [0] * 3])


@each
def test_the_registry_says_what_is_drawn(name):
    entry, drawn = PROJECTIONS[name], draw(name, random_cloud(0)[None])
    assert drawn.shape[:2] == (1, entry.views) and drawn.shape[2] in (1, 3) and drawn.shape[3] == drawn.shape[4]
    assert entry.raw == (float(drawn.max()) > 1) and float(drawn.min()) >= 0
    shown = entry.visible(drawn)
    assert shown.shape == (1, entry.views, 3, *drawn.shape[3:]) and shown.min() >= 0 and shown.max() <= 1
    assert all("{}" in template for template in get_prompts(entry.prompts))
    assert all(len(w.values) == entry.views and "test labels" in w.fitted_on for w in entry.weights.values())
    assert resized(drawn, (12, 16)).shape == (*drawn.shape[:3], 12, 16)


@each
def test_every_projection_draws_at_its_own_size(name):
    entry = PROJECTIONS[name]
    sizes = {"pointclip_v1": 128, "pointclip_v2": 110}
    options = {"triangles": torch.tensor([[[0, 1, 2]]])} if entry.mesh else {}
    drawn = project(name, random_cloud(0, 3)[None], **options)
    assert drawn.shape[-1] == sizes.get(name, 224)


@each
@both
def test_a_cloud_does_not_depend_on_its_batch(name, backend):
    a, b = random_cloud(1, 120), random_cloud(2, 150)
    padded = torch.cat([a, torch.full((30, 3), torch.nan)])
    together = draw(name, torch.stack([b, padded]), backend)
    assert torch.equal(together[0], draw(name, b[None], backend)[0])
    assert torch.equal(together[1], draw(name, a[None], backend)[0])


@each
def test_a_second_run_and_other_threads_change_no_bit(name):
    clouds, threads = torch.stack([random_cloud(3), random_cloud(4)]), torch.get_num_threads()
    once = draw(name, clouds)
    try:
        torch.set_num_threads(1)
        assert torch.equal(once, draw(name, clouds))
        torch.set_num_threads(3)
        assert torch.equal(once, draw(name, clouds))
    finally:
        torch.set_num_threads(threads)


@each
@both
def test_the_order_of_the_points_does_not_matter(name, backend):
    cloud = random_cloud(5)
    order = torch.randperm(len(cloud), generator=torch.Generator().manual_seed(0))
    more, shuffled = {}, {}
    if get_projection(name).mesh:
        rows = torch.arange(150).view(1, 50, 3)
        more = {"triangles": rows}
        shuffled = {
            "triangles": order.argsort()[rows][:, torch.randperm(50, generator=torch.Generator().manual_seed(1))]
        }
    a, b = draw(name, cloud[None], backend, **more), draw(name, cloud[order][None], backend, **shuffled)
    assert differing(a, b) <= 1e-3


@each
def test_the_kernel_draws_what_the_plain_version_defines(name):
    clouds = torch.stack([random_cloud(6), random_cloud(7)])
    clouds[1, 100:] = torch.nan
    plain, quick = draw(name, clouds, "plain"), draw(name, clouds, "numba")
    if name in ("shaded", "mesh_raster"):  # sums of several terms, rounded in another order
        assert differing(plain, quick) <= 1e-3
    else:
        assert torch.equal(plain, quick)


@each
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_dtype_follows_the_points(name, dtype):
    drawn = draw(name, random_cloud(8, 60)[None].to(dtype))
    assert drawn.dtype == dtype and drawn.isfinite().all()
    assert differing(drawn.float(), draw(name, random_cloud(8, 60)[None].to(dtype).float()), 1e-2) < 0.02


@each
def test_empty_batches_and_points_are_drawn_or_refused(name):
    assert draw(name, torch.zeros(0, 6, 3)).shape[:2] == (0, PROJECTIONS[name].views)
    nothing = torch.full((1, 6, 3), torch.nan)
    if name in ("shaded", "mesh_raster"):
        with pytest.raises(InputError):
            draw(name, nothing)
    else:
        blank = draw(name, nothing)
        assert torch.equal(blank, torch.full_like(blank, 0 if PROJECTIONS[name].raw else 1))


@pytest.mark.parametrize("function", [pointclip_v1, pointclip_v2, ortho_splat, shaded])
@pytest.mark.parametrize(
    ("points", "options"),
    [
        (torch.zeros(5, 3), {}),
        (torch.zeros(1, 5, 2), {}),
        (torch.zeros(1, 5, 3, dtype=torch.long), {}),
        (torch.rand(1, 5, 3), {"resolution": 0}),
        (torch.rand(1, 5, 3), {"backend": "opengl"}),
        (np.zeros((5, 3)), {}),
        (np.zeros((1, 5, 3), int), {}),
        (np.zeros((1, 5, 2), np.float32), {}),
        (torch.rand(1, 5, 3, dtype=torch.float64), {"backend": "numba"}),
        (torch.rand(1, 5, 3, requires_grad=True), {"backend": "numba"}),
    ],
)
def test_bad_arguments_are_refused(function, points, options):
    with pytest.raises(InputError):
        function(points, **options)


def test_unknown_projections_and_bare_clouds_are_told_in_one_line():
    with pytest.raises(InputError, match="unknown projection 'v9'; one of pointclip_v1, "):
        project("v9", torch.rand(1, 5, 3))
    with pytest.raises(InputError, match="mesh_raster draws triangles, and a point cloud has none; take shaded"):
        project("mesh_raster", torch.rand(1, 5, 3))


@pytest.mark.parametrize("function", [pointclip_v1, pointclip_v2, ortho_splat])
def test_depth_is_differentiable_in_the_points(function):
    points = random_cloud(9, 40)[None].double().requires_grad_()
    function(points, resolution=20).square().sum().backward()
    assert points.grad.isfinite().all() and points.grad.abs().max() > 0


# PointCLIP V2.


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@both
def test_v2_equals_the_released_code(golden, backend):
    drawn = pointclip_v2(golden["points"], backend=backend)[0]
    assert int(((drawn - golden["v2"]).abs() > 1e-5).sum()) <= int((golden["v2"] < 1).sum()) / 1000


def test_v2_s_grid_equals_the_released_code(golden):
    grid = quantise(golden["points"], v2.VIEWS, v2.RESOLUTION, v2.DEPTH, (v2.FILL, v2.BIAS))[0, :2]
    theirs = golden["grid_first_views"].float()
    assert int(((grid - theirs).abs() > 4e-3).sum()) <= int((theirs > 0).sum()) / 1000  # kept as float16


def rotation(x: float, y: float, z: float) -> np.ndarray:
    rx = np.array([[1, 0, 0], [0, math.cos(x), -math.sin(x)], [0, math.sin(x), math.cos(x)]])
    ry = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    rz = np.array([[math.cos(z), -math.sin(z), 0], [math.sin(z), math.cos(z), 0], [0, 0, 1]])
    return rx @ ry @ rz


def v2_transcription(points: np.ndarray, first: tuple, second: float, size: int) -> np.ndarray:
    """The paper's realistic projection of one view, cell by cell."""
    seen = points.astype(np.float64) @ rotation(*first).T @ rotation(0, second, 0).T
    middle, longest = (seen.max(0) + seen.min(0)) / 2, (seen.max(0) - seen.min(0)).max()
    seen = ((seen - middle) / longest * 2).round(6)  # so that what lies on a border of cells is on one side of it
    grid = np.zeros((8, size, size))
    for x, y, z in seen:
        row, column = (min(max(math.ceil((v * 0.8 + 1) / 2 * size), 1), size - 2) for v in (x, y))
        depth = round(((z + 1) / 2 + 0.2) / 1.2 * 6, 6)
        cell = grid[min(math.ceil(depth), 7)]
        cell[row, column] = max(cell[row, column], min(max(depth, 1), 6))
    dense = np.zeros((8, size - 2, size - 2))
    for row in range(size - 2):
        for column in range(size - 2):
            window = grid[:, max(row - 2, 0) : row + 5, max(column - 2, 0) : column + 5]
            dense[:, row, column] = window.max((1, 2))
    gauss = np.exp(-(np.arange(-1, 2) ** 2) / 18)
    gauss = np.outer(gauss, gauss) / gauss.sum() ** 2
    padded, image = np.pad(dense, ((0, 0), (1, 1), (1, 1))), np.zeros((size - 2, size - 2))
    for row in range(size - 2):
        for column in range(size - 2):
            image[row, column] = (padded[:, row : row + 3, column : column + 3] * gauss).sum((1, 2)).max()
    return 1 - image / image.max()


def test_v2_equals_a_literal_transcription():
    points = random_cloud(10, 90)
    quarter = math.pi / 4
    views = [((k * quarter, 0, math.pi / 2), math.pi / 9) for k in (1, 3, 5, 7, 0, 2, 4, 6)]
    views += [((0, -math.pi / 2, math.pi / 2), math.pi / 15), ((0, math.pi / 2, math.pi / 2), math.pi / 15)]
    expected = np.stack([v2_transcription(points.numpy(), *view, 40) for view in views])
    assert differing(pointclip_v2(points[None], 40)[0], torch.from_numpy(expected).float(), 1e-3) < 0.01


def test_v2_draws_near_points_dark_and_upright():
    stick = torch.stack([torch.zeros(40), torch.linspace(-1, 1, 40), torch.zeros(40)], 1)
    flag = torch.tensor([[0.3, 0.9, 0.0], [-0.3, 0.9, 0.5]])  # at the top: on the right near, on the left far
    view = pointclip_v2(torch.cat([stick, flag])[None])[0, 4]  # columns along +x and the depth along +z, but for a tilt
    rows, columns = (view < 0.999).nonzero().unbind(1)
    assert rows.max() - rows.min() > 70 and columns[rows < 40].float().std() > columns[rows > 60].float().std()
    assert view.min() == 0 and view[0, 0] == 1


# CLIP2Point.


def test_ortho_splat_equals_a_literal_transcription():
    points, size = random_cloud(11, 30), 60
    eye = {0: "z", 1: "x", 2: "-z", 3: "-x", 4: "y", 5: "-y"}
    axes = {  # right, down, forward
        "z": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
        "x": ((0, 0, -1), (0, -1, 0), (-1, 0, 0)),
        "-z": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
        "-x": ((0, 0, 1), (0, -1, 0), (1, 0, 0)),
        "y": ((-1, 0, 0), (0, 0, -1), (0, -1, 0)),
        "-y": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    }
    drawn = ortho_splat(points[None], size)[0]
    for view, where in eye.items():
        right, down, forward = (points.double().numpy() @ np.array(axis) for axis in axes[where])
        depth = np.full((size, size), np.inf)
        for row in range(size):
            for column in range(size):
                x, y = (2 * column + 1) / size - 1, (2 * row + 1) / size - 1
                near = np.hypot(right - x, down - y) < 0.02
                if near.any():
                    depth[row, column] = (forward[near] + 1).min()
        seen = np.isfinite(depth)
        grey = np.ones((size, size))
        grey[seen] = (depth[seen] - depth[seen].min()) / depth[seen].max() * 200 / 255
        assert differing(drawn[view], torch.from_numpy(grey).float()) <= 1e-3
    assert (drawn == 1).float().mean() > 0.9 and ortho.RADIUS == 0.02


def test_ortho_splat_shows_the_nearer_of_two_points():
    pair = torch.tensor([[0.0, 0.0, 0.8], [0.0, 0.0, -0.8]])
    front = ortho_splat(pair[None], 225)[0, 0]
    assert front[112, 112] == 0 and (front < 1).sum() == 21  # centres within 2.25 pixels


# Solids.


@both
def test_a_cloud_of_a_ball_looks_like_a_ball(backend):
    picture = shaded(ball(600)[None], resolution=64, views=[FRONT], backend=backend)[0, 0]
    seen = picture[0] < 0.999
    centre, radius = (seen.nonzero().float().mean(0) + 0.5), (seen.sum() / math.pi).sqrt()
    assert (centre - 32).abs().max() < 0.7 and 26 < radius < 32
    y, x = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    assert seen[(x**2 + y**2).sqrt() < radius - 2].all() and not seen[(x**2 + y**2).sqrt() > radius + 2].any()
    real = mesh_raster(*icosphere(), resolution=64, views=[FRONT])[0, 0]
    inside = (x**2 + y**2).sqrt() < 22
    assert (picture - real)[
        :, inside
    ].abs().mean() < 0.04  # lit as the mesh is: estimated normals, nothing shows through
    assert picture[0, 18:22, 22:26].mean() > picture[0, 42:46, 38:42].mean() + 0.2  # light from above, from the left


def icosphere() -> tuple[torch.Tensor, torch.Tensor]:
    import trimesh

    made = trimesh.creation.icosphere(2)
    return torch.tensor(np.asarray(made.vertices)).float()[None], torch.tensor(np.asarray(made.faces)).long()[None]


def test_normals_are_estimated_up_to_their_sign():
    points = ball(500)
    none = torch.full_like(points, torch.nan)
    by_kernel = [torch.from_numpy(found) for found in discs.discs(points.numpy(), none.numpy())]
    for ours, theirs in zip(by_kernel, plain_surfels.discs(points, none), strict=True):
        off = torch.minimum((ours - theirs).abs(), (ours + theirs).abs())  # of either sign
        assert (off < 1e-4).float().mean() > 0.99
    _, normal, axes = by_kernel
    assert (torch.cosine_similarity(normal, points).abs() > 0.98).all() and (normal.norm(dim=1) > 0.5).all()
    assert ((axes @ normal[..., None]).abs() < 1e-4).all()  # the discs lie in the surface
    spacing = math.sqrt(4 * math.pi / 500)
    reach = axes.norm(dim=2)
    assert (reach > spacing / 3).all() and (reach < 2 * spacing).all()


def test_given_normals_are_used_whatever_their_length_and_sign():
    points = ball(200)
    tilted = torch.tensor([0.0, 1.0, 1.0]).expand(200, 3)
    signs = torch.where(torch.arange(200) % 2 == 0, -3.0, 0.1)[:, None]
    a, b = (shaded(points[None], n[None], resolution=20, views=[FRONT]) for n in (tilted, tilted * signs))
    assert differing(a, b, 1e-3) < 0.01
    estimated = shaded(points[None], resolution=20, views=[FRONT])
    assert differing(a, estimated, 0.05) > 0.1
    partly = tilted.clone()
    partly[50:] = torch.nan
    assert shaded(points[None], partly[None], resolution=20, views=[FRONT]).isfinite().all()


@both
def test_hidden_points_are_not_seen(backend):
    """A red wall before a green one: no green shows through, from the other side no red."""
    grid = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 20), torch.linspace(-1, 1, 20), indexing="ij"), -1)
    wall = grid.reshape(-1, 2)
    points = torch.cat([torch.cat([wall, torch.full((400, 1), z)], 1) for z in (0.6, -0.6)])
    colors = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).repeat_interleave(400, 0)
    front, back = shaded(points[None], None, colors[None], 40, [FRONT, look(180, 0)], backend)[0]
    middle = slice(10, 30)
    for picture, own, other in ((front, 0, 1), (back, 1, 0)):
        assert (picture[own, middle, middle] > 0.5).all() and (picture[other, middle, middle] < 0.01).all()
    colors[:, 2] = torch.nan
    assert shaded(points[None], None, colors[None], 24, [FRONT], backend).isfinite().all()


def test_gaps_between_discs_are_closed_and_real_holes_are_not():
    depth = 1 + 0.01 * torch.rand(24, 24, generator=torch.Generator().manual_seed(0))  # a wall
    depth[4:7, 3:23:2] = 2  # slits, through which what is behind shows
    depth[9:17, 9:17] = torch.inf  # a window
    depth[:, :2], depth[18:, 18:] = torch.inf, 1.1  # nothing beside it; a step smaller than the slack
    filled = plain_surfels.closed(depth, 3, 0.2)
    quick = [[kernel._closed(depth.numpy(), i, j, 3, np.float32(0.2)) for j in range(24)] for i in range(24)]
    assert torch.equal(filled, torch.tensor(quick, dtype=torch.float32))
    assert (filled[4:7, 3:23] < 1.02).all()
    assert filled[12:14, 12:14].isinf().all() and filled[:, :2].isinf().all()
    assert (filled[18:, 18:] == 1.1).all()


def test_the_kernel_closes_gaps_as_the_plain_version_does(monkeypatch):
    cloud = random_cloud(13, 300)[None]
    plain, quick = (shaded(cloud, resolution=48, views=RING[:3], backend=name) for name in ("plain", "numba"))
    assert differing(plain, quick) <= 1e-3
    monkeypatch.setattr(plain_surfels, "closed", lambda depth, *_: depth)
    assert differing(plain, shaded(cloud, resolution=48, views=RING[:3], backend="plain")) > 2e-3


@both
def test_a_cube_is_a_square_with_flat_sides(backend):
    near, ahead = mesh_raster(CUBE[None], CUBE_TRIANGLES[None], None, 50, [FRONT, look(45, 0)], backend)[0]
    seen = near[0] < 0.999
    rows, columns = seen.nonzero().unbind(1)
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (44, 44)  # 86 % of 50, half a pixel cut
    inner = near[:, 8:42, 8:42]
    assert float(inner.std()) < 1e-4 and torch.equal(inner[0], inner[1])
    left, right = ahead[0, 25, 15], ahead[0, 25, 35]  # turned: two sides, the left one towards the light
    assert left > right + 0.1 and ahead[0, 15:35, 15].std() < 1e-4


@both
def test_triangles_cover_the_pixels_whose_centres_lie_within(backend):
    """Neighbours share an edge without a gap, and what is behind does not show."""
    points = torch.tensor([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0], [-1, -1, -1], [1, -1, -1], [0, 0.5, -1]])
    colors = torch.tensor([[1.0, 0, 0]] * 4 + [[0, 0, 1.0]] * 3)
    triangles = torch.tensor([[4, 5, 6], [0, 1, 2], [2, 0, 3]])  # the two in front are wound against each other
    picture = mesh_raster(points[None].float(), triangles[None], colors[None], 40, [FRONT], backend)[0, 0]
    red = picture[0, 5:35, 5:35]
    assert (red > 0.5).all() and float(red.std()) < 1e-4 and (picture[2, 5:35, 5:35] < 1e-6).all()
    rear = mesh_raster(points[None].float(), triangles[None], colors[None], 40, [look(180, 0)], backend)[0, 0]
    assert rear[2, 20, 20] > 0.3 and rear[0, 20, 20] < 1e-6 and rear[0, 6, 6] > 0.3


@both
def test_padding_and_unused_vertices_do_not_matter(backend):
    rows = torch.full((4, 3), -1)
    vertices = torch.cat([CUBE, torch.full((5, 3), torch.nan), torch.full((1, 3), 50.0)])
    padded = mesh_raster(vertices[None], torch.cat([CUBE_TRIANGLES, rows])[None], None, 30, RING[:2], backend)
    assert torch.equal(padded, mesh_raster(CUBE[None], CUBE_TRIANGLES[None], None, 30, RING[:2], backend))


def normals_of(vertices: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """What NumPy finds, which is what the plain version defines."""
    found = torch.from_numpy(corners.corner_normals(vertices.numpy(), triangles.numpy()))
    assert torch.allclose(found, plain_mesh.corner_normals(vertices, triangles), atol=1e-5)
    return found


def test_sharp_edges_stay_sharp_and_smooth_ones_smooth(monkeypatch):
    flat = normals_of(CUBE, CUBE_TRIANGLES)
    assert (flat.abs().amax(2) > 0.999).all()  # along an axis
    vertices, triangles = (part[0] for part in icosphere())
    smooth = normals_of(vertices, triangles)
    assert ((smooth * vertices[triangles]).sum(2) > 0.995).all()
    separate = vertices[triangles].flatten(0, 1)  # as an .stl holds them: three vertices of its own for each triangle
    assert torch.allclose(normals_of(separate, torch.arange(len(separate)).view(-1, 3)), smooth, atol=1e-5)
    fan = torch.cat([torch.zeros(1, 3), ball(200)])
    many = torch.stack([torch.zeros(199, dtype=torch.long), torch.arange(1, 200), torch.arange(2, 201)], 1)
    assert normals_of(fan, many).isfinite().all()
    wound = torch.where(torch.arange(len(triangles))[:, None] % 3 == 0, triangles.flip(1), triangles)
    normals_of(vertices, torch.cat([wound, torch.tensor([[0, 0, 1]])]))  # either way round, and without an area
    monkeypatch.setattr(corners, "PAIRS_AT_ONCE", 1000)
    assert torch.equal(normals_of(vertices, triangles), smooth)


@pytest.mark.parametrize(
    ("vertices", "triangles"),
    [
        (CUBE, torch.tensor([[0, 1, 8]])),
        (CUBE, torch.zeros(0, 3, dtype=torch.long)),
        (CUBE, torch.full((2, 3), -1)),
        (CUBE, torch.tensor([[0.0, 1, 2]])),
        (CUBE, torch.tensor([[0, 1]])),
        (CUBE * 0, CUBE_TRIANGLES),
    ],
)
def test_meshes_that_cannot_be_drawn_are_refused(vertices, triangles):
    with pytest.raises(InputError):
        mesh_raster(vertices[None], triangles[None])


def test_neighbours_are_the_nearest_points():
    points = random_cloud(12, 70)
    expected = torch.cdist(points, points).argsort(dim=1, stable=True)[:, :9]
    assert torch.equal(plain_surfels.neighbours(points, 9), expected)
    assert np.array_equal(kernel.neighbours(points.numpy(), 9), expected)
    alike = np.zeros((6, 3), np.float32)
    assert kernel.neighbours(alike, 4).tolist() == [[0, 1, 2, 3]] * 6


def test_a_scene_is_what_the_plain_version_places():
    points = torch.randn(90, 3, generator=torch.Generator().manual_seed(0)) * 5 + 3
    ball_of = solid.unit_ball(points.numpy())
    assert np.allclose(ball_of, plain_solid.unit_ball(points), atol=1e-6)
    scene, plain = solid.before(ball_of, RING, 64), plain_solid.before(torch.from_numpy(ball_of), RING, 64)
    for ours, theirs in zip(scene, plain, strict=True):
        assert np.allclose(ours, theirs, rtol=1e-6, atol=1e-5)
    with pytest.raises(InputError):
        solid.unit_ball(np.ones((3, 3), np.float32))


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_few_points_are_splatted_as_by_the_kernel(setting, monkeypatch):
    """To the bit: how much there is to draw must not change what is drawn."""
    clouds = torch.stack([random_cloud(seed, 400) for seed in range(3)])
    clouds[1, 300:] = torch.nan
    clouds[2, :3] = torch.tensor([[9.0, 0, 0], [0, 0, -2], [0, 0, torch.inf]])  # beside, behind, nowhere
    camera, points = SETTINGS[setting], clouds.numpy()
    views = [euler(*angles) for angles in camera.angles]
    few = v1.splat(points, views, camera.distance, v1.EPS, 40)
    assert np.array_equal(few, kernel.v1(points, views, camera.distance, v1.EPS, 40)) and few.any()
    assert np.array_equal(few, pointclip_v1(points, setting, 40))
    monkeypatch.setattr(v1, "FEW", 0)
    assert np.array_equal(few, pointclip_v1(points, setting, 40))
    assert v1.splat(points[:0], views, 1.6, v1.EPS, 40).shape == (0, len(views), 40, 40)


def test_a_line_seen_from_its_end_is_drawn_without_a_warning(recwarn):
    line = np.float32([[[0, 0, z] for z in np.linspace(-1, 1, 30)]])
    drawn = shaded(line, resolution=20, views=[FRONT, RIGHT])
    rows = np.arange(30).reshape(1, 10, 3)
    of_triangles = mesh_raster(line, rows, resolution=20, views=[FRONT, RIGHT])
    assert np.isfinite(drawn).all() and np.isfinite(of_triangles).all() and drawn[0, 1].min() < 1
    assert not recwarn.list


def test_cameras_stand_where_they_are_said_to():
    assert np.allclose(FRONT, [(1, 0, 0), (0, -1, 0), (0, 0, -1)]) and np.allclose(RIGHT[0], (0, 0, -1))
    assert np.allclose(RIGHT[2], (-1, 0, 0)) and np.allclose(TOP, [(1, 0, 0), (0, 0, 1), (0, -1, 0)], atol=1e-9)
    for view in RING:
        assert np.allclose(np.array(view) @ np.array(view).T, np.eye(3)) and np.linalg.det(view) == pytest.approx(1)
        assert view[2][1] == pytest.approx(-math.sin(math.radians(20)))  # all look down a little
    assert dataclasses.is_dataclass(PROJECTIONS["shaded"])
