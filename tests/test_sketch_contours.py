"""Strokes that start on a photo's contours: they lie there, the salient ones first, and those that matter stay."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipx.modalities.sketch.config import DrawConfig
from clipx.modalities.sketch.contours import TOLERANCE, chains, contour_strokes, fitted, pruned
from clipx.modalities.sketch.draw import draw
from clipx.modalities.sketch.objective import objective_for
from clipx.modalities.sketch.start import Start
from clipx.modalities.sketch.target import prepare


def places_on(points: torch.Tensor | np.ndarray, count: int = 50) -> np.ndarray:
    """(N, 4, 2) cubics -> (N, count, 2) places on them, by Bernstein's polynomials."""
    t = np.linspace(0, 1, count)[:, None]
    basis = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    return np.einsum("kp,npd->nkd", basis, points)


def disc(radius: float = 60, centre: tuple[float, float] = (112, 100)) -> np.ndarray:
    y, x = np.mgrid[:224, :224]
    return np.where((x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2, 0.2, 0.9)


def test_strokes_lie_on_the_contour_and_go_round_it():
    strokes = contour_strokes(disc(), np.ones((224, 224)), 16, 0)
    places = places_on(strokes).reshape(-1, 2) - (112, 100)  # x, y
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 60, atol=TOLERANCE + 1.5)
    angles = np.sort(np.arctan2(places[:, 1], places[:, 0]))
    assert np.diff(angles).max() < 0.3  # no gap of more than 18 pixels
    assert 2 <= len(strokes) <= 8  # long ones


def test_a_shaded_backdrop_has_no_contours():
    ramp = np.linspace(0.25, 0.7, 224)[None].repeat(224, axis=0)
    y, x = np.mgrid[:224, :224]
    grey = np.where((x - 112) ** 2 + (y - 100) ** 2 < 60**2, 0.95, ramp)
    strokes = contour_strokes(grey, np.ones((224, 224)), 16, 0)
    off = np.abs(np.linalg.norm(places_on(strokes) - (112, 100), axis=2) - 60)
    assert len(strokes) >= 2 and off.max() < TOLERANCE + 2


def test_what_is_salient_comes_first_and_what_is_not_to_be_drawn_never():
    grey = np.minimum(disc(30, (60, 112)), disc(30, (164, 112)))
    looks = np.full((224, 224), 0.2)
    looks[:, 112:] = 1.0
    strokes = contour_strokes(grey, looks, 2, 0)
    assert (places_on(strokes)[..., 0] > 112).all()
    looks[:, :112] = 0
    every = contour_strokes(grey, looks, 99, 0)
    assert (places_on(every)[..., 0] > 112 - TOLERANCE).all() and len(every) < 99


def test_seeds_differ_and_each_is_the_same_again():
    rng = np.random.default_rng(0)
    grey = rng.random((224, 224))
    one, two, again = (contour_strokes(grey, np.ones((224, 224)), 12, seed) for seed in (0, 1000, 0))
    assert torch.equal(one, again) and not torch.equal(one, two)


@pytest.mark.parametrize("grey", [np.zeros((224, 224)), np.full((224, 224), 0.5)])
def test_a_flat_picture_has_no_contours(grey):
    assert contour_strokes(grey, np.ones((224, 224)), 8, 0).shape == (0, 4, 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.02, 0.4))
def test_chains_hold_each_pixel_at_most_once_and_step_to_neighbours(seed, share):
    edges = np.random.default_rng(seed).random((24, 24)) < share
    found = chains(edges)
    pixels = [tuple(place) for path in found for place in path.astype(int)]
    assert len(pixels) == len(set(pixels)) and all(edges[place] for place in pixels)
    assert all(np.abs(np.diff(path, axis=0)).max() == 1 for path in found)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 1), st.integers(-1, 1)), min_size=1, max_size=200))
def test_cubics_are_near_the_path_they_were_fitted_to(steps):
    path = np.concatenate([[(0, 0)], np.array(steps)]).cumsum(0).astype(float)
    path = path[np.concatenate([[True], np.any(np.diff(path, axis=0) != 0, axis=1)])]
    for piece, cubic in fitted(path):
        on = places_on(torch.from_numpy(cubic)[None].float(), 400)[0]
        assert np.linalg.norm(piece[:, None] - on, axis=2).min(1).max() <= TOLERANCE + 0.1


def test_what_would_be_missed_least_goes_first():
    worth = torch.tensor([5.0, 1.0, 9.0, 2.0, 7.0, 3.0, 8.0, 4.0])
    losses = lambda lists: -torch.tensor([float(worth[kept].sum()) for kept in lists])  # noqa: E731
    kept = pruned(8, (1, 3, 5, 20), losses)
    assert kept == {1: [2], 3: [2, 4, 6], 5: [0, 2, 4, 6, 7], 20: list(range(8))}
    assert pruned(8, (3,), losses)[3] == kept[3]  # whatever else is asked for
    assert pruned(0, (3,), losses) == {3: []}


def test_what_is_worth_something_only_together_is_looked_at_again():
    """Of two strokes that say the same either may go, and then the other must stay: costs are measured again."""
    says = [{0}, {0}, {1}, {2}]
    losses = lambda lists: -torch.tensor([float(len(set().union(*(says[i] for i in kept)))) for kept in lists])  # noqa: E731
    (kept,) = pruned(4, (3,), losses).values()
    assert set().union(*(says[i] for i in kept)) == {0, 1, 2}


def test_a_start_does_not_depend_on_the_other_counts(tiny_space):
    rng = np.random.default_rng(0)
    busy = prepare(Image.fromarray(rng.integers(0, 256, (60, 60, 3), np.uint8)).resize((300, 300)))
    looks = np.ones((224, 224), np.float32)
    starts = {}
    for counts in ((16,), (16, 64), (64, 200)):
        plan = DrawConfig(strokes=counts, seeds=(1000,), views=0, pool=0)
        starts[counts] = Start(0, busy, looks, objective_for([busy], tiny_space, plan), plan).lines
    assert torch.equal(starts[16,][16, 1000], starts[16, 64][16, 1000])
    assert torch.equal(starts[16, 64][64, 1000], starts[64, 200][64, 1000])
    assert {count: len(points) for (count, _), points in starts[64, 200].items()} == {64: 64, 200: 200}


def test_a_drawing_starts_on_contours_or_on_points(tiny_space):
    y, x = np.mgrid[:200, :200]
    dark = ((x - 100) ** 2 + (y - 100) ** 2 < 70**2)[..., None]
    target = prepare(Image.fromarray(np.where(dark, 40, 230).astype(np.uint8).repeat(3, axis=2)))
    plan = DrawConfig(strokes=(4,), seeds=(0,), steps=1, views=0, pool=0)
    radius = 70 * 224 / 200
    for start, near in (("contours", True), ("points", False)):
        (found,) = draw([target], tiny_space, DrawConfig(**{**vars(plan), "start": start}))
        off = np.abs(np.linalg.norm(places_on(found.film[0].points) - 112, axis=2) - radius)
        assert (off.max() < TOLERANCE + 2) == near
