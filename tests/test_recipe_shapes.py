"""The nano recipe's generator: every class makes a sound mesh, every style a picture, and a seed means one thing."""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

RECIPE = Path(__file__).parent.parent / "examples" / "recipes" / "nano"
MODELNET10 = ("bathtub", "bed", "chair", "desk", "dresser", "monitor", "night stand", "sofa", "table", "toilet")


@pytest.fixture(scope="module", autouse=True)
def recipe_on_path():
    sys.path.insert(0, str(RECIPE))
    yield
    sys.path.remove(str(RECIPE))


@pytest.fixture(scope="module")
def shapes(recipe_on_path):
    return import_module("shapes")


@pytest.fixture(scope="module")
def render(recipe_on_path):
    pytest.importorskip("numba")
    return import_module("render")


@pytest.fixture(scope="module")
def rooms(render):
    return import_module("rooms")


def test_classes(shapes):
    assert len(shapes.CLASSES) >= 45
    assert len(set(shapes.CLASSES)) == len(shapes.CLASSES)
    assert set(MODELNET10) <= set(shapes.CLASSES)
    with pytest.raises(KeyError):
        shapes.make("unicorn", np.random.default_rng(0))


def test_every_class_has_a_word(shapes):
    table = (RECIPE / "words.csv").read_text(encoding="utf-8").splitlines()
    assert set(shapes.CLASSES) <= {line.split(",")[0].strip('"') for line in table}


def test_every_class_makes_sound_meshes(shapes):
    for name in shapes.CLASSES:
        for seed in range(4 if name in MODELNET10 else 1):
            mesh = shapes.make(name, np.random.default_rng(seed))
            where = f"{name}, seed {seed}"
            assert mesh.vertices.dtype == np.float32 and mesh.faces.dtype == np.int32 and mesh.part.dtype == np.int16
            assert np.isfinite(mesh.vertices).all(), where
            assert np.linalg.norm(mesh.vertices, axis=1).max() <= 1, where
            assert np.allclose(mesh.vertices.min(0) + mesh.vertices.max(0), 0, atol=1e-5), where
            assert mesh.faces.min() >= 0 and mesh.faces.max() < len(mesh.vertices), where
            assert len(mesh.part) == len(mesh.faces) and mesh.part.max() < len(mesh.part_names), where
            assert (np.ptp(mesh.vertices, axis=0) > 1e-3).all(), f"{where} is flat"


def test_a_seed_gives_one_mesh_and_another_seed_another(shapes):
    for name in MODELNET10:
        first, again, other = (shapes.make(name, np.random.default_rng(seed)) for seed in (3, 3, 4))
        assert np.array_equal(first.vertices, again.vertices) and np.array_equal(first.faces, again.faces)
        assert not np.array_equal(first.vertices[:8], other.vertices[:8])


def test_every_style_renders(shapes, render):
    for k, name in enumerate(("chair", "airplane", "toilet", "mug")):
        mesh = shapes.make(name, np.random.default_rng(k))
        for style in render.STYLES:
            image, again = (render.render(mesh, np.random.default_rng(k), 64, style) for _ in range(2))
            assert image.shape == (64, 64, 3) and image.dtype == np.uint8
            assert np.array_equal(image, again)
            assert np.ptp(image.astype(int)) > 60, f"{name} as {style} is blank"
    with pytest.raises(ValueError, match="oil"):
        render.render(mesh, np.random.default_rng(0), style="oil")


def test_depth_styles_agree_with_the_geometry(shapes, render):
    # A sphere's middle is nearer than its rim.
    mesh = shapes.make("sphere", np.random.default_rng(0))
    dark = render.render(mesh, np.random.default_rng(1), 64, "depth_near_dark", view=(0, 90)).astype(int)[..., 0]
    bright = render.render(mesh, np.random.default_rng(1), 64, "depth_near_bright", view=(0, 90)).astype(int)[..., 0]
    assert dark[0, 0] == 255 and bright[0, 0] == 0
    rows, columns = np.nonzero(dark < 255)
    centre, rim = (int(rows.mean()), int(columns.mean())), (int(rows.mean()), int(columns.min()) + 2)
    assert dark[centre] < dark[rim] and bright[centre] > bright[rim]


def test_the_rasteriser_keeps_the_nearest(render):
    square = np.array([[1, 1, 5], [8, 1, 5], [8, 8, 5], [1, 8, 5], [3, 3, 2], [6, 3, 2], [6, 6, 2]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]], np.int32)
    depth, index = render.rasterize(square, faces, 10, 10)
    assert index[4, 5] == 2 and depth[4, 5] == 2
    assert depth[7, 2] == 5 and index[0, 0] == -1 and np.isinf(depth[0, 0])


def test_points_lie_on_the_surface_by_area(shapes, render):
    mesh = shapes.make("sphere", np.random.default_rng(0))
    points = render.sample_points(mesh, 1024, np.random.default_rng(0))
    assert points.shape == (1024, 3) and points.dtype == np.float32
    assert np.linalg.norm(points, axis=1).max() <= 1
    even = render.sample_points(mesh, 1024, np.random.default_rng(0), even=True)
    assert even.shape == (1024, 3)
    assert nearest(even).min() > 3 * nearest(points).min()
    assert nearest(even).std() < 0.6 * nearest(points).std()


def nearest(points):
    """The distance of every point to the nearest other one."""
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(gaps, np.inf)
    return gaps.min(1)


def test_rooms_have_depth_and_things_in_it(rooms):
    seen = 0
    for seed in range(5):
        image, depth, objects = rooms.make_room(np.random.default_rng(seed), 64)
        again = rooms.make_room(np.random.default_rng(seed), 64)
        assert image.shape == (64, 64, 3) and image.dtype == np.uint8
        assert depth.shape == (64, 64) and depth.dtype == np.float32
        assert np.isfinite(depth).all() and depth.min() > 0 and depth.max() < 15
        assert np.array_equal(image, again[0]) and objects == again[2]
        assert all(depth.min() - 0.1 <= distance <= depth.max() for _, distance in objects)
        seen += len(objects)
    assert seen >= 5


def test_captions_say_the_depth_word(rooms):
    assert [rooms.depth_word(d) for d in rooms.DEPTH_BINS] == list(rooms.DEPTH_WORDS)
    assert rooms.depth_word(0.2) == "giant" and rooms.depth_word(9.0) == "unseen"
    assert "far" in rooms.near_far_caption(np.full((4, 4), 2.75), np.random.default_rng(0))
    said = set()
    for seed in range(30):
        image, caption = rooms.make_captioned(np.random.default_rng(seed), 48)
        assert image.shape == (48, 48, 3)
        words = [word for word in rooms.DEPTH_WORDS if word in caption]
        assert words, caption
        said.add(max(words, key=len))
    assert len(said) >= 6
