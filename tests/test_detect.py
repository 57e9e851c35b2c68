"""Detection: boxes, proposals, how regions are scored, and what a detector makes of made photos."""

import dataclasses
import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F

from clipx import load_space
from clipx.errors import InputError
from clipx.modalities.detect import boxes as bx
from clipx.modalities.detect.boxes import Detections, Proposals
from clipx.modalities.detect.config import DetectConfig
from clipx.modalities.detect.detector import HALF, Detector, detect, scores, selected
from clipx.modalities.detect.presence import Presence
from clipx.modalities.detect.proposals import PROPOSALS, method_named, propose
from clipx.modalities.detect.proposals.components import k_means
from clipx.modalities.detect.proposals.segments import straddling
from clipx.modalities.detect.proposals.selective import merged, region_boxes
from clipx.modalities.detect.regions import RANDOM_CROPS, RegionEncoder
from clipx.modalities.detect.show import boxes_png, color
from clipx.modalities.detect.views import MAX_CELLS, dense_views

LABELS = ("chair", "table")


def composite(seed, size=(120, 160)):
    """A bright striped ellipse on a dark grainy ground, and its box."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(size)
    ground = 0.2 + 0.1 * x / size[1] + rng.normal(0, 0.05, size)
    a, b = rng.integers(18, 40, 2)
    cx, cy = rng.integers(a + 4, size[1] - a - 4), rng.integers(b + 4, size[0] - b - 4)
    inside = ((x + 0.5 - cx) / a) ** 2 + ((y + 0.5 - cy) / b) ** 2 <= 1
    shape = np.stack([0.9 - 0.1 * (x // 3 % 2), 0.7 + 0 * x, 0.15 + 0 * x])
    photo = np.where(inside, shape, ground) + rng.normal(0, 0.01, (3, *size))
    box = np.array([[cx - a, cy - b, cx + a, cy + b]], np.float32)
    return torch.from_numpy(photo.clip(0, 1)).float(), box


# Boxes ----------------------------------------------------------------------------------------------------------------

corner, side = st.integers(0, 30), st.integers(1, 20)
one_box = st.tuples(corner, corner, side, side).map(lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3]))


def pixels(box):
    return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}


@given(one_box, one_box)
def test_iou_counts_pixels(a, b):
    found = bx.iou(np.array([a], np.float32), np.array([b], np.float32))
    assert found.shape == (1, 1)
    assert found[0, 0] == pytest.approx(len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b)), abs=1e-6)


@settings(deadline=None)
@given(st.lists(st.tuples(one_box, st.integers(0, 5), st.integers(0, 1)), max_size=12), st.floats(0.05, 0.95))
def test_suppression_is_the_greedy_one(listed, threshold):
    boxes = np.array([b for b, _, _ in listed], np.float32).reshape(-1, 4)
    scores = np.array([s / 5 for _, s, _ in listed], np.float32)
    groups = np.array([g for _, _, g in listed], np.int64)
    kept = []
    for i in sorted(range(len(listed)), key=lambda i: (-scores[i], i)):
        overlaps = [bx.iou(boxes[[i]], boxes[[j]])[0, 0] for j in kept if groups[j] == groups[i]]
        if all(v <= np.float32(threshold) for v in overlaps):
            kept.append(i)
    found = bx.non_maximum_suppression(boxes, scores, threshold, groups)
    assert found.dtype == np.int64 and found.tolist() == kept


def test_boxes_that_are_none_are_refused():
    with pytest.raises(InputError, match=r"\(R, 4\)"):
        bx.as_boxes(np.zeros((2, 3)))
    with pytest.raises(InputError, match=r"box 1: .*NaN"):
        bx.as_boxes([[0, 0, 1, 1], [0, 0, math.nan, 1]])
    with pytest.raises(InputError, match="no area within the photo of 10 x 20"):
        bx.as_boxes([[25, 0, 30, 5]], (10, 20))
    assert bx.as_boxes([[-5, -5, 50, 5]], (10, 20)).tolist() == [[0, 0, 20, 5]]
    assert bx.as_boxes([]).shape == (0, 4)
    with pytest.raises(InputError, match="overlap"):
        bx.non_maximum_suppression(np.zeros((0, 4)), np.zeros(0), math.nan)


def test_scaled_boxes_keep_their_middle():
    assert bx.scaled(np.array([[40, 40, 60, 80]], np.float32), 1.5, (100, 62)).tolist() == [[35, 30, 62, 90]]


# Proposals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_selective_search_covers_a_shape(seed):
    photo, truth = composite(seed)
    found = propose(photo, "selective", 100)
    assert bx.iou(truth, found.boxes).max() >= 0.75
    assert len(found) <= 100 and (np.diff(found.scores) <= 0).all() and found.scores.max() <= 1
    again = propose(photo, "selective", 100)
    assert np.array_equal(found.boxes, again.boxes) and np.array_equal(found.scores, again.scores)


def test_components_cover_a_shape_that_the_features_tell_apart(tiny_space):
    photo, truth = composite(1, (240, 320))
    found = propose(photo, "components", 50, tiny_space)
    assert bx.iou(truth, found.boxes).max() >= 0.5
    with pytest.raises(InputError, match="need a space"):
        propose(photo, "components", 50)


def test_the_grid_knows_nothing_of_the_photo():
    one, two = (propose(composite(i)[0], "grid", 300) for i in range(2))
    assert np.array_equal(one.boxes, two.boxes) and set(one.scores) == {1}
    assert 100 < len(one) <= 300 and one.boxes[0].tolist() == [0, 0, 160, 120]
    assert bx.iou(np.array([[40, 30, 100, 90]], np.float32), one.boxes).max() >= 0.5


@pytest.mark.parametrize("method", sorted(PROPOSALS))
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (400, 2), (5, 5), (64, 64)])
def test_photos_of_any_size_have_proposals(method, size, tiny_space):
    found = propose(torch.full((3, *size), 0.5), method, 20, tiny_space)
    assert 1 <= len(found) <= 20
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all() and (found.boxes >= 0).all()
    assert (found.boxes[:, 2] <= size[1]).all() and (found.boxes[:, 3] <= size[0]).all()


def test_straddling_is_the_formula_of_alexe():
    regions = np.zeros((4, 6), np.int64)
    regions[:, 3:] = 1
    regions[1:3, 1:2] = 2
    boxes = np.array([[0, 0, 3, 4], [0, 0, 4, 4], [1, 1, 2, 3], [0, 0, 6, 4]], np.float32)
    # the second cuts region 1, of 12 pixels, of which 4 are inside: 1 - 4 / 16
    assert straddling(boxes, regions).tolist() == [1, 0.75, 1, 1]


def test_regions_merge_to_one_and_the_alike_first():
    regions = np.repeat(np.arange(4), 5)[None].repeat(8, axis=0)
    color = np.zeros((8, 20, 3), np.int64) + np.where(np.arange(20) < 10, 3, 20)[:, None] + np.arange(3) * 25
    texture = np.zeros((8, 20, 24), np.int64) + np.arange(24) * 10
    boxes = merged(regions, color, texture)
    assert boxes.shape == (7, 4) and boxes[:4].tolist() == region_boxes(regions).tolist()
    assert sorted(boxes[4:6].tolist()) == [[0, 0, 10, 8], [10, 0, 20, 8]] and boxes[6].tolist() == [0, 0, 20, 8]


def test_k_means_finds_clusters():
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(m, 0.1, (20, 5)) for m in (-3, 0, 3)]).astype(np.float32)
    found = k_means(rows, 3)
    assert [len(set(found[i : i + 20])) for i in (0, 20, 40)] == [1, 1, 1] and len(set(found)) == 3


def test_installed_proposals_are_found(monkeypatch):
    def whole(photo, limit, space):
        return Proposals(np.array([[0, 0, *photo.shape[:0:-1]]], np.float32), np.ones(1, np.float32))

    class Point:
        name = "whole"
        load = staticmethod(lambda: whole)

    monkeypatch.setattr("clipx.modalities.detect.proposals.entry_points", lambda group: [Point])
    assert propose(torch.zeros(3, 4, 6), "whole", 5).boxes.tolist() == [[0, 0, 6, 4]]
    with pytest.raises(InputError, match="no proposals named 'smell'; known: selective, components, grid, whole"):
        method_named("smell")


# Regions --------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["tiny_space", "tiny_vit_space"])
def space(request):
    return request.getfixturevalue(request.param)


def test_crops_are_encoded_as_photos_are(space):
    photo, boxes = torch.rand(3, 60, 90, generator=torch.Generator().manual_seed(0)), [[10, 5, 50, 45], [0, 0, 90, 60]]
    found = RegionEncoder(space, "crops")(photo, np.array(boxes, np.float32))
    for row, (left, top, right, bottom) in zip(found, boxes, strict=True):
        w, h = (right - left) / 4, (bottom - top) / 4
        wide = max(0, left - w), max(0, top - h), min(90, right + w), min(60, bottom + h)
        views = [(left, top, right, bottom), (math.floor(wide[0]), math.floor(wide[1]), *map(math.ceil, wide[2:]))]
        vectors = [space.encode_image(photo[None, :, t:b, x:r])[0] for x, t, r, b in views]
        expected = sum(vectors) / torch.linalg.vector_norm(sum(vectors))
        assert torch.allclose(row, expected, atol=1e-5)


def test_all_crops_of_a_photo_are_one_batch(space, monkeypatch):
    sizes, encode = [], space.encode_image
    monkeypatch.setattr(space, "encode_image", lambda pixels: sizes.append(len(pixels)) or encode(pixels))
    RegionEncoder(space, "crops")(torch.rand(3, 40, 40), np.array([[i, 0, i + 20, 30] for i in range(10)], np.float32))
    assert sizes == [20]


def test_dense_vectors_are_means_of_the_map(space):
    photo = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))
    encoder = RegionEncoder(space, "dense", short_sides_px=(256,))
    cells = dense_views(space, photo, (256,))
    (whole,) = encoder(photo, np.array([[0, 0, 96, 64]], np.float32))
    fine = torch.nn.functional.interpolate(cells, (256, 384), mode="bilinear", align_corners=False)
    assert torch.cosine_similarity(whole, fine.mean((0, 2, 3)), dim=0) > 0.98  # 64 samples
    assert torch.linalg.vector_norm(whole).item() == pytest.approx(1, abs=1e-5)


def test_dense_logits_are_inside_minus_ring(space):
    """Of a map that is 1 in a square and 0 elsewhere, a label along it: the whole contrast is the logit scale's."""
    encoder = RegionEncoder(space, "dense", ring=2.0)
    maps = torch.zeros(1, 1, 60, 60)
    maps[..., 20:40, 20:40] = 1
    boxes = np.array([[20, 20, 40, 40], [0, 0, 60, 60], [0, 0, 10, 10], [20, 20, 40, 30]], np.float32)
    found = encoder._contrast(maps, boxes, (60, 60))[:, 0].tolist()
    assert found[0] == pytest.approx(1, abs=0.15)  # 64 bilinear samples: borders are soft
    assert found[1] == 0 and found[2] == pytest.approx(0, abs=1e-6)  # nothing around it; nothing in it
    assert 0.1 < found[3] < found[0] - 0.1  # half of the square: its ring holds some of the rest


def test_logits_scale_with_the_labels(space):
    photo, boxes = composite(0)
    weights = torch.nn.functional.normalize(torch.randn(3, space.dim), dim=1)
    encoder = RegionEncoder(space, "dense", short_sides_px=(96,))
    found = encoder.logits(photo, boxes, weights)
    cells = dense_views(space, photo, (96,))
    maps = torch.einsum("ndhw,kd->nkhw", cells, weights)
    assert torch.allclose(found, space.logit_scale * encoder._contrast(maps, boxes, (120, 160)), atol=1e-5)
    crops = RegionEncoder(space, "crops")
    expected = space.logit_scale * (crops(photo, boxes) - crops.background(photo)) @ weights.T
    assert torch.allclose(crops.logits(photo, boxes, weights), expected, atol=1e-5)


def test_the_background_is_the_mean_of_random_boxes(space, monkeypatch):
    encoder, asked = RegionEncoder(space, "crops"), []
    own = RegionEncoder._of_crops
    monkeypatch.setattr(RegionEncoder, "_of_crops", lambda *args: asked.append(args[2]) or own(*args))
    photo = composite(0)[0]
    one, two, same = encoder.background(photo, 0), encoder.background(photo, 1), encoder.background(photo, 0)
    assert torch.equal(one, same) and not torch.equal(one, two)
    assert len(asked[0]) == RANDOM_CROPS and torch.allclose(one, own(encoder, photo, asked[0]).mean(0))


def test_a_head_takes_the_place_of_the_map(space):
    photo, boxes = composite(0)
    head = lambda photo, boxes: torch.full((len(boxes), space.dim), 2.0)  # noqa: E731
    assert torch.allclose(RegionEncoder(space, "dense", head)(photo, boxes), torch.tensor(space.dim**-0.5))
    with pytest.raises(InputError, match="not of crops"):
        RegionEncoder(space, "crops", head)
    with pytest.raises(InputError, match="dense or crops"):
        RegionEncoder(space, "smell")


def test_panoramas_are_bounded(tiny_space):
    cells = dense_views(tiny_space, torch.rand(3, 4, 4000), (540,))
    assert math.prod(cells.shape[2:]) <= 1.1 * MAX_CELLS


# The detector ---------------------------------------------------------------------------------------------------------


def quick(**changes):
    return DetectConfig(labels=LABELS, short_sides_px=(64,), limit=30, **changes)


def test_probabilities_are_the_softmax_that_is_documented(tiny_space):
    detector = Detector(tiny_space, quick(background=("floor",), temperature=2.0, margin=3.0))
    found = detector.probabilities(torch.tensor([[4.0, 0.0, 2.0], [0.0, 0.0, 0.0]]).double())
    total = math.exp(2) + 1 + math.exp(1) + math.exp(1.5)
    assert found[0] == pytest.approx([math.exp(2) / total, 1 / total])
    assert found[1] == pytest.approx([1 / (3 + math.exp(1.5))] * 2)


def test_both_is_the_weighted_geometric_mean(tiny_space, monkeypatch):
    config = quick(regions="both", dense_weight=1 / 3, objectness=0.5, overlap=1.0)
    detector = Detector(tiny_space, config)
    shares = {"dense": [[0.8, 0.1], [0.2, 0.3]], "crops": [[0.1, 0.4], [0.5, 0.3]]}
    monkeypatch.setattr(RegionEncoder, "logits", lambda self, *_: torch.tensor(shares[self.how]))
    monkeypatch.setattr(Detector, "probabilities", lambda self, logits: logits.numpy())
    given = Proposals(np.array([[0, 0, 5, 5], [3, 3, 9, 9]], np.float32), np.array([1.0, 0.25], np.float32))
    found = detector(torch.zeros(3, 10, 10), given)
    a, b = (np.array(shares[how]) for how in ("dense", "crops"))
    expected = scores(a ** (1 / 3) * b ** (2 / 3) * np.array([[1], [0.5]]), 2, config)
    assert found.scores == pytest.approx(sorted(expected.ravel(), reverse=True), abs=1e-6)
    assert found.label_index.tolist() == [1, 0, 0, 1] and found.boxes[0].tolist() == [0, 0, 5, 5]


def test_a_score_says_the_same_of_few_words_and_of_many(tiny_space, monkeypatch):
    """The same box, label and surroundings, among 1, 3 or 80 words that the photo does not show."""
    found = []
    for words in (1, 3, 80):
        config = DetectConfig(labels=[f"{i} chair" for i in range(words)], temperature=1.5, margin=4.0)
        logits = torch.zeros(2, words)
        logits[0, 0] = 6.0
        shares = (torch.cat([logits, torch.full((2, 1), 4.0)], dim=1).double() / 1.5).softmax(dim=1)[:, :-1].numpy()
        found.append(scores(shares, words, config)[:, 0])
    assert [row[1] for row in found] == pytest.approx([1 / (1 + HALF)] * 3)  # shows nothing
    assert found[0][0] > 0.7 and found[1][0] == pytest.approx(found[2][0], abs=0.12)
    assert (np.diff([row[0] for row in found]) > 0).all()


def test_scores_keep_the_order_of_shares_and_bear_extreme_settings():
    shares = np.array([0, 1e-300, 1e-9, 0.1, 0.5, 1.0])
    for margin, temperature in ((5.0, 2.0), (1e6, 1e-6), (-1e6, 1e-6), (0.0, 1.0)):
        found = scores(shares, 250, DetectConfig(margin=margin, temperature=temperature))
        assert found.dtype == np.float32 and (np.diff(found) >= 0).all() and found[0] == 0 and found.max() <= 1
    assert scores(np.array([HALF / (4 + math.e**2.5)]), 4, DetectConfig())[0] == pytest.approx(0.5)


def test_the_second_best_is_left_out_far_below_the_best_of_its_label():
    boxes = np.array([[i * 20, 0, i * 20 + 10, 10] for i in range(5)], np.float32)
    found = Detections((40, 99), LABELS, boxes, np.array([0, 0, 0, 1, 1]), np.array([0.9, 0.8, 0.5, 0.4, 0.3], "f4"))
    assert selected(found, quick(relative=0.7)).scores.tolist() == pytest.approx([0.9, 0.8, 0.4, 0.3])
    assert selected(found, quick(relative=0.8, threshold=0.5)).scores.tolist() == pytest.approx([0.9, 0.8])
    assert selected(found, quick(relative=1.0)).names == ["chair", "table"]
    with pytest.raises(InputError, match="relative must be in"):
        quick(relative=1.5)


def test_selection_by_threshold_overlap_and_top():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]], np.float32).repeat(2, axis=0)
    found = Detections((40, 40), LABELS, boxes, np.array([0, 1] * 3), np.array([0.9, 0.5, 0.8, 0.6, 0.4, 0.1], "f4"))
    kept = selected(found, quick(overlap=0.5, threshold=0.2))
    assert list(zip(kept.names, [round(v, 3) for v in kept.scores.tolist()], strict=True)) == [
        ("chair", 0.9), ("table", 0.6), ("chair", 0.4)]  # fmt: skip
    assert len(selected(found, quick(overlap=0.5, top=2))) == 2
    assert len(selected(found, quick(threshold=1.0))) == 0


def test_presence_is_the_share_of_nouns_that_fit_less(tiny_space, monkeypatch):
    """By hand: four nouns, standardised by themselves, once by their best box and once by the whole photo."""
    nouns = np.eye(4, tiny_space.dim, dtype=np.float32)
    monkeypatch.setattr("clipx.modalities.detect.presence.null_vectors", lambda space, fewest: nouns)
    presence = Presence(tiny_space, LABELS)
    said = tiny_space.encode_text([f"a photo of a {label}." for label in LABELS])  # in the nouns' sentence
    assert presence.every.numpy() == pytest.approx(np.concatenate([said, nouns]), abs=1e-6)
    presence.every = torch.eye(6, tiny_space.dim)[[4, 5, 0, 1, 2, 3]]
    whole = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.32, 0.0]])
    monkeypatch.setattr(RegionEncoder, "__call__", lambda self, photo, boxes: F.pad(whole, (0, tiny_space.dim - 6)))
    # labels first; the second box counts half, what is below 0 nothing
    contrast = np.array([[2.5, -1.0, 1.0, 2.0, -3.0, -4.0], [0.0, -1.0, 0.0, 0.0, 6.0, 8.0]])
    boxes = np.array([1.0, 2.0, 3.0, 4.0])
    fit = (boxes - 2.5) / boxes.std() + (whole[0, :4].numpy() - 0.25) / whole[0, :4].numpy().std()
    own = (np.array([2.5, 0.0]) - 2.5) / boxes.std() + (np.array([0.32, 0.0]) - 0.25) / whole[0, :4].numpy().std()
    found = presence(torch.zeros(3, 9, 9), contrast, np.array([1.0, 0.5]))
    assert found.dtype == np.float32 and found.tolist() == [(fit < one).mean() for one in own] == [0.5, 0.0]
    assert presence(torch.zeros(3, 9, 9), contrast[:0], np.zeros(0)).tolist() == [0.75, 0.0]  # by the whole photo


def test_a_space_of_few_nouns_has_no_presence(space_folder):
    with pytest.raises(InputError, match=r"knows 1 of 300 everyday nouns; leave presence at 0"):
        Detector(load_space(str(space_folder)), quick(presence=0.5))


def test_labels_that_fit_less_than_most_nouns_are_left_out():
    boxes = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32)
    found = Detections(
        (40, 40), LABELS, boxes, np.array([0, 1]), np.array([0.9, 0.5], "f4"), np.array([0.6, 0.9], "f4")
    )
    assert selected(found, quick(presence=0.85)).names == ["table"]
    assert selected(found, quick(presence=0.5)).names == ["chair", "table"]
    assert selected(dataclasses.replace(found, presence=None), quick(presence=0.85)).names == ["chair", "table"]


@pytest.mark.parametrize("regions", ["dense", "crops", "both"])
def test_looking_at_nouns_as_well_leaves_the_scores_as_they_are(regions):
    space, photo = load_space("lite"), composite(0)[0]
    config = dataclasses.replace(quick(regions=regions, crop_limit=5), labels=("cat", "balloon"))
    one, two = (Detector(space, dataclasses.replace(config, presence=share)).scored(photo) for share in (0, 0.5))
    assert one.presence is None and two.presence.shape == (2,)
    assert (two.presence >= 0).all() and (two.presence <= 1).all()
    assert np.array_equal(one.boxes, two.boxes) and one.scores == pytest.approx(two.scores, abs=1e-4)


@pytest.mark.parametrize("regions", ["dense", "crops", "both"])
def test_one_label_is_decided_by_the_surroundings(space, regions):
    found = Detector(space, dataclasses.replace(quick(regions=regions), labels=("chair",)))(composite(0)[0])
    assert len(found) and set(found.names) == {"chair"} and (found.scores > 0).all() and (found.scores < 1).all()


def test_boxes_are_found_where_the_features_stand_out(tiny_space, monkeypatch):
    """A map of the label's vector in the shape: one of the first detections covers it."""
    photo, truth = composite(2)
    detector = Detector(tiny_space, dataclasses.replace(quick(objectness=0.0), limit=100))
    detector.weights = torch.nn.functional.normalize(torch.randn(2, tiny_space.dim), dim=1)  # labels that differ

    def shown(space, photo, sizes, path):
        cells = torch.zeros(1, space.dim, 120, 160)
        left, top, right, bottom = truth[0].astype(int)
        cells[:, :, top:bottom, left:right] = detector.weights[1][:, None, None]
        return cells

    monkeypatch.setattr("clipx.modalities.detect.regions.dense_views", shown)
    found = detector(photo)
    assert found.names[0] == "table" and bx.iou(found.boxes[:5], truth).max() >= 0.7


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (300, 3), (40, 40)])
def test_photos_of_any_size_are_looked_through(space, size):
    for regions in ("dense", "crops"):
        found = detect(torch.full((3, *size), 0.3), LABELS, space, short_sides_px=(64,), limit=10, regions=regions)
        assert found.size == size and np.isfinite(found.scores).all()


def test_a_photo_is_taken_as_users_hold_it(tiny_space, tmp_path):
    picture = Image.fromarray((composite(0)[0].numpy().transpose(1, 2, 0) * 255).astype(np.uint8))
    picture.save(tmp_path / "photo.png")
    every = [
        detect(photo, LABELS, tiny_space, limit=20, short_sides_px=(64,))
        for photo in (tmp_path / "photo.png", picture, np.asarray(picture))
    ]
    assert len(every[0].boxes) and all(np.array_equal(one.boxes, every[0].boxes) for one in every)


def test_bad_labels_and_settings_are_refused(tiny_space):
    for labels, message in (
        ((), "list of labels is empty"),
        (("chair", "Chair"), "given twice"),
        (("",), "not a word"),
    ):
        with pytest.raises(InputError, match=message):
            Detector(tiny_space, DetectConfig(labels=labels))
    with pytest.raises(InputError, match="given twice"):
        Detector(tiny_space, DetectConfig(labels=LABELS, background=("table",)))
    with pytest.raises(InputError, match="no proposals named"):
        Detector(tiny_space, quick(proposals="smell"))
    wrongs = {"labels": "x", "regions": "x", "limit": 0, "ring": 1.0, "overlap": math.nan, "threshold": 2.0}
    wrongs |= {"temperature": 0.0, "short_sides_px": (), "crop_scales": (0.5,)}
    for name, value in wrongs.items():
        with pytest.raises(InputError):
            DetectConfig(**{name: value})


def test_colours_differ_and_tags_stay_inside():

    colors = [color(i) for i in range(12)]
    assert min(math.dist(a, b) for i, a in enumerate(colors) for b in colors[:i]) > 40
    photo = torch.zeros(3, 30, 40)
    boxes = np.array([[0, 0, 40, 30], [30, 20, 40, 30], [0, 25, 3, 30]], np.float32)
    with Image.open(io.BytesIO(boxes_png(photo, boxes, ["a very long label"] * 3, np.ones(3)))) as picture:
        assert min(picture.size) >= 480
    with Image.open(io.BytesIO(boxes_png(torch.zeros(3, 1, 1), boxes[:1] * 0 + [[0, 0, 1, 1]], ["x"]))) as picture:
        assert picture.size == (480, 480)
