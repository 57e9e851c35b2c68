"""Strokes of several segments: what is split, joined and cut draws the same lines; width profiles; outlines."""

import numpy as np
import pytest
import torch

from clipx.modalities.sketch.chains import chain, in_segments, in_two, joined, pen_path
from clipx.modalities.sketch.curves import PROFILES, at, cubics, lengths_along, parts, profile_width, split, until
from clipx.modalities.sketch.raster import rasterize


def strokes(count, segments=1, seed=0):
    return torch.rand(count, 3 * segments + 1, 2, generator=torch.Generator().manual_seed(seed)) * 180 + 20


def picture(points, width=3.0):
    return rasterize(cubics(points).flatten(0, 1), 224, width)[0]


def places(points):
    return at(cubics(points), torch.linspace(0, 1, 50)).flatten(1, 2)


def test_segments_of_a_stroke_share_their_ends():
    points = strokes(3, 4)
    curves = cubics(points)
    assert curves.shape == (3, 4, 4, 2)
    assert torch.equal(curves[:, 1:, 0], curves[:, :-1, 3])
    assert torch.equal(torch.stack([chain(list(stroke)) for stroke in curves]), points)


@pytest.mark.parametrize("profile", PROFILES)
def test_arrays_are_cut_as_tensors_are(profile):
    points = strokes(3, 2)
    for ours, theirs in zip(parts(points.numpy(), profile), parts(points, profile), strict=True):
        assert isinstance(ours, np.ndarray) and isinstance(theirs, torch.Tensor)
        assert ours.dtype == np.float32 and np.array_equal(ours, theirs)
    for ours, theirs in zip(split(points[:, :4].numpy(), 0.3), split(points[:, :4], 0.3), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_more_segments_draw_the_same(count):
    points = strokes(2)
    off = (picture(in_segments(points, count)) - picture(points)).abs()
    assert off.mean() < 1e-3 and off.max() < 0.3  # where caps meet, grey borders are laid over one another


def test_a_stroke_in_two_is_the_stroke():
    for segments in (1, 2, 3):
        (stroke,) = strokes(1, segments)
        both = torch.stack(in_two(stroke))
        assert both.shape == (2, *stroke.shape)
        off = (picture(both) - picture(stroke[None])).abs()
        assert off.mean() < 1e-3 and off.max() < 0.3


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_part_of_a_stroke_lies_on_it(share):
    (stroke,) = strokes(1, 2)
    part = torch.from_numpy(until(stroke.numpy(), share))
    assert part.shape == stroke.shape
    off = torch.cdist(places(part[None])[0], at(cubics(stroke), torch.linspace(0, 1, 2000)).flatten(0, 1))
    assert off.min(dim=1).values.max() < 0.3
    count = 2 * share
    end = at(cubics(stroke)[min(int(count), 1)], torch.tensor([count - min(int(count), 1)]))[0]
    torch.testing.assert_close(part[-1], end, atol=1e-3, rtol=0)


def test_lengths_are_those_of_fine_polygons():
    points = strokes(3, 2)
    fine = places(points).diff(dim=1).norm(dim=2).sum(1)
    np.testing.assert_allclose(lengths_along(points.numpy())[:, -1], fine, rtol=0.01)


def test_a_pen_path_draws_the_same_and_travels_less():
    points = strokes(12)
    path = pen_path(points)
    assert (picture(path) - picture(points)).abs().max() < 1e-3

    def travel(curves):
        return float((curves[1:, 0] - curves[:-1, 3]).norm(dim=1).sum())

    assert travel(path) < 0.6 * travel(points)
    one = joined(path, 23)
    assert one.shape == (70, 2)  # one stroke through all of them
    drawn = picture(one[None])
    assert (drawn <= picture(points) + 0.05).all()  # it draws all that they draw


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_is_as_wide_as_it_says_where_it_says(profile):
    line = torch.stack([torch.tensor([20.0 + 60 * i, 112.0]) for i in range(4)])[None]  # from x = 20 to 200
    curves, share = parts(line, profile)
    drawn = 1 - rasterize(curves.flatten(0, 1), 224, share * 20)[0]
    for where in (0.1, 0.5, 0.9):
        wide = float(drawn[:, int(20 + 180 * where)].sum())
        assert wide == pytest.approx(20 * float(profile_width(profile, np.array(where))), abs=2)
