"""The head of regions: its losses, its training, its file, and the command."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from clipx.errors import FileError, InputError, SpaceMismatchError
from clipx.modalities.detect.config import DetectConfig
from clipx.modalities.detect.data import read_boxed
from clipx.modalities.detect.detector import Detector
from clipx.modalities.detect.head import RegionHead, load_head, region_features
from clipx.modalities.detect.regions import RegionEncoder
from clipx.modalities.detect.train import TrainConfig, gather, losses, matched, train_head
from clipx.task import Stopped

QUICK = {"proposals": "grid", "limit": 12, "short_side_px": 64, "width": 16, "steps": 12, "batch": 24}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A COCO set of eight photos: red squares are chairs, green ones tables, blue ones cats."""
    folder = tmp_path_factory.mktemp("squares")
    rng = np.random.default_rng(0)
    images, boxes = [], []
    for i in range(8):
        pixels = rng.integers(0, 60, (60, 80, 3), dtype=np.uint8)
        for k in range(3):
            left, top = 26 * k + int(rng.integers(0, 4)), int(rng.integers(0, 35))
            pixels[top : top + 22, left : left + 22] = np.eye(3, dtype=np.uint8)[k] * 220 + 20
            boxes.append({"id": len(boxes), "image_id": i, "category_id": k, "bbox": [left, top, 22, 22], "iscrowd": 0})
        Image.fromarray(pixels).save(folder / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 80, "height": 60})
    names = [{"id": k, "name": name} for k, name in enumerate(("chair", "table", "cat"))]
    (folder / "set.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": names}))
    return folder / "set.json"


@pytest.fixture(scope="module")
def config():
    return TrainConfig(novel=("cat",), **QUICK)


@pytest.fixture(scope="module")
def regions(tiny_space, data, config):
    return gather(tiny_space, read_boxed(data)[::2], config)


def test_the_losses_are_those_of_the_paper():
    generator = torch.Generator().manual_seed(0)
    vectors, crops, text = (F.normalize(torch.randn(n, 6, generator=generator), dim=1) for n in (5, 5, 3))
    background, targets = torch.randn(6, generator=generator), torch.tensor([0, 2, 3, 3, 1])
    words, distance = losses(vectors, crops, targets, text, background, 0.01)
    each, distances = [], []
    for i in range(5):
        logits = [float(vectors[i] @ row) / 0.01 for row in (*text, background / background.norm())]
        top = max(logits)
        each.append(top + np.log(sum(np.exp(v - top) for v in logits)) - logits[targets[i]])
        distances.append(sum(abs(float(a - b)) for a, b in zip(vectors[i], crops[i], strict=True)))
    assert float(words) == pytest.approx(np.mean(each), rel=1e-4)
    assert float(distance) == pytest.approx(np.mean(distances), rel=1e-5)


def test_regions_have_the_label_they_overlap_and_novel_ones_none(regions, tiny_space, data):
    assert regions.labels == ("chair", "table")
    assert len(regions.targets) <= 4 * (2 + 12) and (regions.targets == 0).sum() >= 4
    assert set(regions.targets.tolist()) == {0, 1, 2}
    photo = read_boxed(data)[0]
    first = torch.from_numpy(np.asarray(Image.open(photo.path), np.float32) / 255).permute(2, 0, 1)
    expected = RegionEncoder(tiny_space, "crops")(first, photo.boxes[:2])
    torch.testing.assert_close(regions.crops[:2], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(regions.features[:2], region_features(tiny_space, first, photo.boxes[:2], 64))
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 4]], np.float32)
    assert matched(boxes, boxes[:1], [7], 9).tolist() == [7, 7, 9]
    assert matched(boxes, boxes[:0], [], 9).tolist() == [9, 9, 9]


def test_true_boxes_without_area_are_left_out(tiny_space, data, config, regions):
    """COCO's own files have some of no width; others lie beside the photo."""
    photos = read_boxed(data)[::2]
    flat = np.array([[10, 10, 10, 30], [300, 0, 320, 20]], np.float32)
    first = replace(photos[0], boxes=np.concatenate([flat, photos[0].boxes]),
                    labels=("chair", "table", *photos[0].labels), ignored=np.zeros(5, bool))  # fmt: skip
    found = gather(tiny_space, [first, *photos[1:]], config)
    assert torch.equal(found.targets, regions.targets) and torch.equal(found.crops, regions.crops)


def test_training_lowers_the_loss_and_repeats(regions, tiny_space, config):
    notes = []
    with torch.random.fork_rng():
        before = torch.get_rng_state()
        head = train_head(tiny_space, regions, config, on_progress=lambda *call: notes.append(call))
        assert torch.equal(before, torch.get_rng_state())
    found = [float(note.split()[1]) for _, _, note in notes]
    assert len(found) == 12 and found[-1] < max(found) / 2
    again = train_head(tiny_space, regions, config)
    assert all(torch.equal(a, b) for a, b in zip(head.parameters(), again.parameters(), strict=True))
    assert not torch.equal(head.background, RegionHead(tiny_space, head.channels, 16, 64).background)


def test_distillation_draws_regions_to_their_crops(regions, tiny_space, config):
    from dataclasses import replace

    longer = replace(config, steps=150)
    both = train_head(tiny_space, regions, longer).embed(regions.features)
    words = train_head(tiny_space, regions, replace(longer, distillation=0.0)).embed(regions.features)
    near = [float((vectors * regions.crops).sum(dim=1).mean().detach()) for vectors in (both, words)]
    assert near[0] > near[1] + 0.1


def test_a_stopped_training_goes_on_bit_for_bit(regions, tiny_space, config, tmp_path):
    whole, steps = train_head(tiny_space, regions, config), 0

    def count(done, total, note):
        nonlocal steps
        steps = done

    with pytest.raises(Stopped):
        train_head(tiny_space, regions, config, checkpoint=tmp_path, on_progress=count, stop=lambda: steps == 5)
    with pytest.raises(InputError, match="stopped"):
        train_head(tiny_space, regions, config, checkpoint=tmp_path)
    with pytest.raises(InputError, match="other inputs"):
        other = TrainConfig(novel=("cat",), **{**QUICK, "lr": 0.1})
        train_head(tiny_space, regions, other, checkpoint=tmp_path, resume=True)
    head = train_head(tiny_space, regions, config, checkpoint=tmp_path, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(head.parameters(), whole.parameters(), strict=True))
    assert not list(tmp_path.iterdir())


def test_crops_are_encoded_once(tiny_space, data, config, regions, tmp_path, monkeypatch):
    photos = read_boxed(data)[::2]
    gather(tiny_space, photos, config, cache=tmp_path)
    monkeypatch.setattr(RegionEncoder, "_of_crops", lambda *args: pytest.fail("crops were encoded again"))
    kept = gather(tiny_space, photos, config, cache=tmp_path)
    assert torch.equal(kept.crops, regions.crops) and torch.equal(kept.features, regions.features)
    monkeypatch.undo()
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    assert torch.equal(gather(tiny_space, photos, config, cache=tmp_path).crops, regions.crops)


def test_a_head_comes_back_from_its_file(regions, tiny_space, tiny_vit_space, config, tmp_path):
    head = train_head(tiny_space, regions, config)
    head.save(tmp_path / "head.safetensors")
    again = load_head(tmp_path / "head.safetensors", tiny_space)
    assert all(torch.equal(a, b) for a, b in zip(head.parameters(), again.parameters(), strict=True))
    assert again.settings["novel"] == ["cat"] and again.settings["base"] == ["chair", "table"]
    photo, boxes = torch.rand(3, 50, 70), np.array([[0, 0, 20, 30], [5, 5, 70, 50]], np.float32)
    rows = RegionEncoder(tiny_space, head=again)(photo, boxes)
    torch.testing.assert_close(rows, head(photo, boxes).detach())
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(2))
    words = F.normalize(torch.rand(3, tiny_space.dim, generator=torch.Generator().manual_seed(0)), dim=1)
    background = F.normalize(again.background.detach(), dim=0)  # which was learned, as ViLD's softmax has it
    expected = tiny_space.logit_scale * (rows @ words.T - (rows @ background)[:, None])
    torch.testing.assert_close(RegionEncoder(tiny_space, head=again).logits(photo, boxes, words), expected)
    found = Detector(tiny_space, DetectConfig(labels=("chair",), proposals="grid", limit=9), head=again)(photo)
    assert len(found)
    with pytest.raises(SpaceMismatchError, match="made in space"):
        load_head(tmp_path / "head.safetensors", tiny_vit_space)
    with pytest.raises(FileError, match="is not"):
        head.save(tmp_path / "head.pt")
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors at all")
    for name in ("none.safetensors", "bad.safetensors"):
        with pytest.raises(FileError, match=name):
            load_head(tmp_path / name, tiny_space)


def test_any_tower_with_stages_has_features(tiny_vit_space):
    boxes = np.array([[0, 0, 20, 30], [5, 5, 70, 50]], np.float32)
    features = region_features(tiny_vit_space, torch.rand(3, 50, 70), boxes, 64)
    assert features.shape == (2, 2 * 3 * 64) and bool(features.isfinite().all())


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"lr": 0.0}, {"batch": 0}, {"temperature": float("nan")}])
def test_bad_settings_are_one_line(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        TrainConfig(**wrong)


def test_no_base_class_is_one_line(tiny_space, data):
    with pytest.raises(InputError, match="no photo has a box of a base class"):
        gather(tiny_space, read_boxed(data)[:2], TrainConfig(novel=("chair", "table", "cat"), **QUICK))


# The command ---------------------------------------------------------------------------------------------------------

FAST = "--proposals grid --limit 12 --short-side 64 --steps 8"


def test_the_command_trains_and_judges(run_json, run, here, data):
    pytest.importorskip("pycocotools")
    record = run_json(f"train detect {data} {FAST} --novel cat --cache kept -o head.safetensors")
    rows = {one["row"]: one for one in record["results"]}
    assert set(rows) == {"dense scores, untrained", "head"}
    assert all(0 <= one[name] <= 1 for one in rows.values() for name in ("base_ap50", "novel_ap50", "ap50"))
    assert record["photos"] == 4 and record["settings"]["novel"] == ["cat"]
    assert record["settings"]["base"] == ["chair", "table"]
    assert len(list((here / "kept").iterdir())) == 4
    before = (here / "head.safetensors").read_bytes()
    run_json(f"train detect {data} {FAST} --novel cat --cache kept -o head.safetensors")
    assert (here / "head.safetensors").read_bytes() == before
    status, _, err = run("ground photo.png --head head.safetensors --proposals grid -o found.png", "a chair")
    assert status == 0, err
    plain = run_json("detect photo.png --labels chair --proposals grid --threshold 0 -o plain.png")
    found = run_json("detect photo.png --labels chair --proposals grid --threshold 0 --head head.safetensors -o b.png")
    scores = [[one["score"] for one in r["results"][0]["detections"]] for r in (plain, found)]
    assert scores[0] != scores[1] and found["settings"]["head"] == "head.safetensors"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--novel dog", "no box is labelled 'dog'"),
        ("--novel chair,table,cat", "base class"),
        ("-o head.pt", "is not .safetensors"),
        ("--seed -1", "the seed must be"),
        ("--distillation -1", "distillation"),
    ],
)
def test_bad_flags_are_one_line(run, data, flags, message):
    status, out, err = run(f"train detect {data} {FAST} {flags}")
    assert status == 2 and out == ""
    assert message in err and len(err.strip().splitlines()) == 1
