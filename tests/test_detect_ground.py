"""Grounding: phrases of a sentence to boxes of a photo, the command, and how it is measured."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clipx.errors import InputError, VocabularyError
from clipx.modalities.detect import GroundConfig, Grounder, Phrase, ground
from clipx.modalities.detect.boxes import iou
from clipx.modalities.detect.data import BoxedPhoto
from clipx.modalities.detect.ground_show import picture_png
from clipx.modalities.detect.grounder import best_boxes, highest_point, phrase_maps, phrase_vectors
from clipx.modalities.detect.grounding_evaluate import (
    BOX,
    CENTRE,
    GROUND,
    RANDOM,
    GroundRow,
    grounding_summary,
    judge_grounding,
)
from clipx.modalities.detect.views import dense_views

SENTENCE = "a small chair on a table"
QUICK = {"proposals": "grid", "limit": 30, "short_sides_px": (64,)}


@pytest.fixture(scope="module")
def photo():
    return torch.rand(3, 60, 80, generator=torch.Generator().manual_seed(0))


def test_each_phrase_has_its_best_boxes(tiny_space, photo):
    found = ground(photo, SENTENCE, tiny_space, top=3, **QUICK)
    assert [phrase.text for phrase in found.phrases] == ["a small chair", "a table"]
    assert found.size == (60, 80) and found.sentence == SENTENCE
    assert list(found.scores) == sorted(found.scores, reverse=True)
    assert found.boxes.dtype == found.scores.dtype == np.float32 and found.phrase_index.dtype == np.int64
    for k in range(2):
        own = found.boxes[found.phrase_index == k]
        assert 1 <= len(own) <= 3
        assert (iou(own, own)[~np.eye(len(own), dtype=bool)] <= 0.5).all()


def test_scores_are_a_softmax_over_regions(tiny_space, photo):
    """Suppression leaves boxes out; with every box kept, the shares of a phrase sum to 1."""
    from clipx.modalities.detect.grounder import region_encoder, region_scores
    from clipx.modalities.detect.proposals import propose

    config = GroundConfig(SENTENCE, temperature=2.0, objectness=0.5, **QUICK)
    grounder = Grounder(tiny_space, config)
    boxes, shares = region_scores(tiny_space, region_encoder(tiny_space, config), photo, grounder.weights, config)
    assert shares.shape == (len(boxes), 2)
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-5)
    proposals = propose(photo, "grid", 30, tiny_space)
    logits = grounder.regions.logits(photo, proposals.boxes, grounder.weights).double() / 2.0
    logits = logits + 0.5 * torch.from_numpy(proposals.scores).double().log()[:, None]
    np.testing.assert_allclose(shares, logits.softmax(dim=0).numpy(), atol=1e-6)
    assert grounder(photo).scores.max() == shares.max()


def test_the_best_boxes_of_known_scores():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], np.float32)
    scores = np.array([[0.5, 0.1], [0.3, 0.1], [0.2, 0.8]], np.float32)
    phrases = Phrase("a", 0, 1), Phrase("b", 2, 3)
    found = best_boxes((40, 40), "a b", phrases, boxes, scores, top=2)
    assert found.phrase_index.tolist() == [1, 0, 0, 1]
    assert found.scores.tolist() == pytest.approx([0.8, 0.5, 0.2, 0.1])
    np.testing.assert_array_equal(found.boxes, boxes[[2, 0, 2, 0]])


def test_a_phrase_is_embedded_without_its_determiners(tiny_space):
    words = [Phrase(text, 0, len(text)) for text in ("a chair", "The Chair", "two chairs", "my small chair")]
    vectors = phrase_vectors(tiny_space, words)
    plain = phrase_vectors(tiny_space, [Phrase(text, 0, len(text)) for text in ("chair", "chairs", "small chair")])
    torch.testing.assert_close(vectors, plain[[0, 0, 1, 2]])


def test_a_map_is_the_product_with_the_dense_features(tiny_space, photo):
    vectors = phrase_vectors(tiny_space, [Phrase("chair", 0, 5), Phrase("table", 0, 5)])
    maps = phrase_maps(tiny_space, photo, vectors, (64,))
    assert maps.shape == (2, 60, 80)
    cells = dense_views(tiny_space, photo, (64,))
    products = torch.einsum("ndhw,kd->nkhw", cells, vectors)
    expected = torch.nn.functional.interpolate(products, (60, 80), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(maps, expected)
    x, y = highest_point(maps[1])
    assert maps[1, int(y), int(x)] == maps[1].max()


@pytest.mark.parametrize("shape", [(1, 1), (3, 300), (300, 2)])
def test_photos_of_any_shape(tiny_space, tiny_vit_space, shape):
    photo = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    for space in (tiny_space, tiny_vit_space):
        found = ground(photo, "chair", space, **QUICK)
        assert len(found) == 1
        left, top, right, bottom = found.boxes[0]
        assert 0 <= left < right <= shape[1] and 0 <= top < bottom <= shape[0]
        assert picture_png(found, photo)[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sentence": ""}, "no noun"),
        ({"sentence": "it is red"}, "no noun"),
        ({"top": 0}, "top and limit"),
        ({"limit": 0}, "top and limit"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"objectness": -1.0}, "objectness"),
        ({"regions": "tiles"}, "dense or crops"),
        ({"proposals": "none"}, "no proposals named"),
        ({"chunker": "trees"}, "no chunker"),
        ({"short_sides_px": ()}, "short_sides_px"),
    ],
)
def test_bad_settings_are_one_line(tiny_space, settings, message):
    with pytest.raises(InputError, match=message) as caught:
        Grounder(tiny_space, GroundConfig(**{"sentence": SENTENCE, **settings}))
    assert "\n" not in str(caught.value)


# The command ---------------------------------------------------------------------------------------------------------

GRID = "--proposals grid --limit 30"


def test_what_the_command_writes(run_json, here):
    record = run_json(f"ground photo.png -o found.png --crop crops --top 2 {GRID}", SENTENCE)
    (result,) = record["results"]
    assert record["command"] == "ground" and record["settings"]["sentence"] == SENTENCE
    assert [one["name"] for one in result["categories"]] == ["a small chair", "a table"]
    assert all(SENTENCE[one["start"] : one["end"]] == one["name"] for one in result["categories"])
    kept = json.loads((here / "found.json").read_text())
    assert kept["annotations"] == result["annotations"] and kept["images"][0]["file_name"] == "photo.png"
    for one in kept["annotations"]:
        left, top, width, height = one["bbox"]
        assert left >= 0 and top >= 0 and left + width <= 50 and top + height <= 40 and one["category_id"] in (1, 2)
    assert sorted(result["files"]) == sorted(
        ["found.png", "found.json", *(f"crops/{path.name}" for path in (here / "crops").iterdir())]
    )
    assert len(list((here / "crops").iterdir())) == len(kept["annotations"]) >= 2
    with Image.open("found.png") as picture:
        assert picture.height > picture.width * 40 / 50  # the sentence stands below
    before = (here / "found.png").read_bytes()
    run_json(f"ground photo.png -o found.png --top 2 {GRID}", SENTENCE)
    assert (here / "found.png").read_bytes() == before


def test_a_folder_is_made_for_the_files(run, here):
    status, out, err = run(f"ground photo.png -o out {GRID}", "the cat")
    assert status == 0, err
    assert sorted(path.name for path in (here / "out").iterdir()) == ["photo-ground.json", "photo-ground.png"]
    assert "the cat" in out


@pytest.mark.parametrize(
    ("line", "sentence", "message"),
    [
        ("ground photo.png", "it is", "no noun"),
        ("ground photo.png", "a zyzzyva", "zyzzyva"),
        ("ground none.png", SENTENCE, "no such file"),
        ("ground photo.png -o photo.png", SENTENCE, "is the photo itself"),
        ("ground photo.png -o a.jpg", SENTENCE, "is not .png"),
        ("ground photo.png --temperature 0", SENTENCE, "temperature"),
        ("ground photo.png --head none.safetensors", SENTENCE, "no such file"),
        ("ground photo.png --model x --space lite", SENTENCE, "takes no --space"),
        ("ground cloud.xyz", SENTENCE, "cloud.xyz"),
    ],
)
def test_bad_input_is_one_line(run, line, sentence, message):
    status, out, err = run(line, sentence)
    assert status == 2 and out == ""
    assert message in err and len(err.strip().splitlines()) == 1


def test_unknown_words_are_named(space_folder, photo):
    import clipx

    with pytest.raises(VocabularyError, match="zyzzyva"):
        ground(photo, "a zyzzyva", clipx.load_space(str(space_folder), backend="torch"), **QUICK)


# Evaluation ----------------------------------------------------------------------------------------------------------


def test_a_hit_is_a_point_in_a_box_and_a_box_on_it():
    truth = np.array([[0, 0, 10, 10], [20, 20, 40, 40]], np.float32)
    row = GroundRow()
    row.add((10, 5), np.array([0, 0, 10, 4]), truth)  # right is exclusive; IoU .4
    row.add((9.5, 5), np.array([0, 0, 10, 5]), truth)  # IoU .5
    row.add((30, 30), np.array([20, 20, 40, 39]), truth)
    assert row.pointed == [False, True, True] and row.boxed == [False, True, True]


@pytest.fixture
def boxed(tmp_path):
    """Photos of one bright square on dark ground."""
    made = []
    for i, (left, top) in enumerate([(4, 4), (40, 20), (20, 10)]):
        pixels = np.full((60, 80, 3), 20, np.uint8)
        pixels[top : top + 30, left : left + 30] = 230
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        boxes = np.array([[left, top, left + 30, top + 30], [0, 0, 2, 2], [0, 0, 80, 60]], np.float32)
        ignored = np.array([False, False, True])
        labels = ("chair", "table", "table")
        made.append(BoxedPhoto(tmp_path / f"{i}.png", f"{i}.png", boxes, labels, ignored, ("chair", "table", "cat")))
    return made


def test_grounding_is_judged_beside_controls(tiny_space, boxed):
    found = judge_grounding(tiny_space, boxed, GroundConfig(**QUICK))
    assert set(found.rows) == {GROUND, BOX, CENTRE, RANDOM} and found.unknown == ()
    assert found.large == [True, False] * 3  # the table's box is 4 pixels; the ignored one has no part in it
    assert found.rows[CENTRE].pointed[::2] == [False, True, True]  # (40, 30) is in two of the chairs
    assert found.rows[GROUND].boxed == found.rows[BOX].boxed
    again = judge_grounding(tiny_space, boxed, GroundConfig(**QUICK))
    assert {name: row.pointed for name, row in again.rows.items()} == {n: r.pointed for n, r in found.rows.items()}
    summary = grounding_summary(found)
    assert summary[CENTRE]["pointing_large"] == pytest.approx(2 / 3) and summary[CENTRE]["pairs"] == 6
    for figures in summary.values():
        assert 0 <= figures["pointing_low"] <= figures["pointing"] <= figures["pointing_high"] <= 1


def test_a_photo_without_boxes_is_left_out(tiny_space, boxed):
    bare = replace(boxed[0], boxes=np.zeros((0, 4), np.float32), labels=(), ignored=np.zeros(0, bool))
    found = judge_grounding(tiny_space, [bare, boxed[1]], GroundConfig(**QUICK))
    assert len(found.large) == 2
    with pytest.raises(InputError, match="no photo has a box"):
        judge_grounding(tiny_space, [bare], GroundConfig(**QUICK))


def test_the_evaluation_prints_rows_and_controls(run_json, here):
    images = [{"id": 1, "file_name": "photo.png", "width": 50, "height": 40}]
    boxes = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 30, 30], "iscrowd": 0}]
    boxes.append({"id": 2, "image_id": 1, "category_id": 2, "bbox": [0, 0, 9, 9], "iscrowd": 0})
    names = [{"id": 1, "name": "chair"}, {"id": 2, "name": "zyzzyva"}]
    (here / "set.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": names}))
    record = run_json(f"eval ground set.json {GRID}")
    rows = {one["row"]: one for one in record["results"]}
    assert set(rows) == {GROUND, BOX, CENTRE, RANDOM}
    assert rows[CENTRE]["pointing"] == 1.0 and rows[GROUND]["pairs"] == 1
    assert record["unknown"] == ["zyzzyva"] and record["settings"]["proposals"] == "grid"


def test_the_figures_of_the_page_are_those_of_the_record():
    docs = Path(__file__).parents[1] / "docs"
    record = json.loads((docs / "results" / "detect" / "ground.json").read_text())
    page = (docs / "modalities" / "ground.md").read_text()
    for one in record["results"]:
        cells = []
        for name in ("pointing", "accuracy"):
            cells += [f"{one[name]:.1%} ({one[f'{name}_low']:.1%} to {one[f'{name}_high']:.1%})"]
            cells += [f"{one[f'{name}_large']:.1%}"]
        assert f"| {' | '.join(cells)} |" in page, one["row"]
    trained = json.loads((docs / "results" / "detect" / "train.json").read_text())
    for one in trained["results"]:
        assert f"| {one['row']} | {one['base_ap50']:.1%} | {one['novel_ap50']:.1%} | {one['ap50']:.1%} |" in page
