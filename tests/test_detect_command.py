"""clipx detect and clipx eval detect: what they write, what they take, and what they refuse."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from test_detect import composite

from clipx.modalities.detect import evaluate as library
from clipx.modalities.detect.boxes import Detections, iou
from clipx.modalities.detect.coco import coco_json
from clipx.modalities.detect.data import BoxedPhoto, read_boxed
from clipx.modalities.detect.proposals.files import proposals_of, read_proposals

QUICK = "--limit 20"


def write_photo(path, photo):
    Image.fromarray((photo.permute(1, 2, 0).numpy() * 255).astype(np.uint8)).save(path)


@pytest.fixture
def boxed(here):
    """Three photos in a table over a COCO file; labels of the tiny space."""
    folder = here / "boxed"
    (folder / "part" / "images").mkdir(parents=True)
    images, annotations = [], []
    for i in range(3):
        photo, box = composite(i)
        write_photo(folder / "part" / "images" / f"{i}.png", photo)
        left, top, right, bottom = map(float, box[0])
        images.append({"id": i, "file_name": f"images/{i}.png", "width": 160, "height": 120})
        annotations.append({"id": i + 1, "image_id": i, "category_id": 1 + i % 2, "iscrowd": 0,
                            "bbox": [left, top, right - left, bottom - top], "area": 1.0})  # fmt: skip
    categories = [{"id": 1, "name": "chair"}, {"id": 2, "name": "table"}, {"id": 3, "name": "cup"}]
    record = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "part" / "boxes.json").write_text(json.dumps(record))
    rows = "".join(f"part/images/{i}.png,{'ab'[i % 2]}\n" for i in range(3))
    (folder / "labels.csv").write_text("path,set\n" + rows)
    return folder


def test_what_it_writes(run_json, here):
    write_photo("shape.png", composite(0)[0])
    record = run_json(f"detect shape.png --labels chair,table -o found.png --crop crops --threshold 0 --top 5 {QUICK}")
    (result,) = record["results"]
    assert (record["command"], result["source"], result["height"], result["width"]) == ("detect", "shape.png", 120, 160)
    assert result["files"] == ["found.json", "found.png"] and len(result["detections"]) == len(result["crops"]) == 5
    coco = json.loads((here / "found.json").read_text())
    assert [c["name"] for c in coco["categories"]] == ["chair", "table"]
    assert coco["images"] == [{"id": 1, "file_name": "shape.png", "height": 120, "width": 160}]
    for own, one in zip(coco["annotations"], result["detections"], strict=True):
        left, top, right, bottom = one["box"]
        assert own["bbox"] == pytest.approx([left, top, right - left, bottom - top], abs=0.01)
        assert own["score"] == pytest.approx(one["score"], abs=1e-5)
        assert coco["categories"][own["category_id"] - 1]["name"] == one["label"]
    assert coco["info"]["settings"] == record["settings"] and record["settings"]["limit"] == 20
    left, top, right, bottom = result["detections"][0]["box"]
    with Image.open(result["crops"][0]) as picture:
        assert picture.size == (np.ceil(right) - np.floor(left), np.ceil(bottom) - np.floor(top))
    again = run_json(f"detect shape.png --labels chair,table -o found.png --threshold 0 --top 5 {QUICK}")
    assert again["results"][0]["detections"] == result["detections"]


def test_photos_of_odd_kinds(run_json, here):
    """RGBA, 16 bits, one pixel, a strip, and one that EXIF turns."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (30, 40, 4), dtype=np.uint8)).save("rgba.png")
    Image.fromarray(rng.integers(0, 60000, (30, 40)).astype(np.uint16)).save("deep.png")
    Image.new("RGB", (1, 1)).save("dot.png")
    Image.fromarray(rng.integers(0, 255, (4, 900, 3), dtype=np.uint8)).save("strip.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)).save("turned.jpg", exif=exif)
    files = "rgba.png deep.png dot.png strip.png turned.jpg"
    record = run_json(f"detect {files} --labels chair --threshold 0 -o many {QUICK}")
    sizes = [(r["height"], r["width"]) for r in record["results"]]
    assert sizes == [(30, 40), (30, 40), (1, 1), (4, 900), (40, 30)]
    for result, (height, width) in zip(record["results"], sizes, strict=True):
        for one in result["detections"]:
            left, top, right, bottom = one["box"]
            assert 0 <= left < right <= width and 0 <= top < bottom <= height


@pytest.mark.parametrize(
    ("line", "message"),
    {
        "detect photo.png --labels ,": "give every class a name",
        "detect photo.png --labels chair,chair": "'chair' is given twice",
        "detect photo.png --labels sofa": "sofa",
        "detect photo.png --labels chair --background chair": "given twice",
        "detect missing.png --labels chair": "missing.png: no such file",
        "detect photo.png mesh.off --labels chair -o x.png": "do not fit into one file",
        "detect photo.png --labels chair|table": "is several words",
        "detect photo.png --labels chair --background auto": "takes words, not auto",
        "detect photo.png --labels chair -o photo.png": "is the photo itself",
        "detect photo.png --labels chair -o x.jpg": "is not .png",
        "detect photo.png --labels chair --proposals smell": "no proposals named 'smell'",
        "detect photo.png --labels chair --overlap 2": "overlap must be in [0, 1]",
        "detect photo.png --labels chair --boxes cloud.xyz": "cloud.xyz",
        "detect mesh.off --labels chair": "not a readable picture",
        "eval detect missing": "missing: no such file",
        "eval detect .": "no photos with boxes",
        "eval detect . --where half=1": "labels.csv",
    }.items(),
)
def test_bad_calls_give_one_line(run, here, line, message):
    status, out, err = run(line)
    assert status == 2 and ("mesh.off" in line or out == "")  # a run over photos ends with its table
    assert message in err and "Traceback" not in err


def test_boxes_of_a_file(run_json, run, here):
    write_photo("shape.png", composite(0)[0])
    (here / "own.csv").write_text(
        "path,left,top,right,bottom,score\nshape.png,10,10,60,70,0.5\nshape.png,0,0,30,30,1\n"
    )
    record = run_json("detect shape.png --labels chair --boxes own.csv --threshold 0 --overlap 1")
    assert sorted(one["box"] for one in record["results"][0]["detections"]) == [[0, 0, 30, 30], [10, 10, 60, 70]]
    assert read_proposals("own.csv")["shape.png"].scores.tolist() == [1, 0.5]  # best first
    found = Detections(
        (120, 160), ("chair",), np.array([[1, 2, 30, 40]], "f4"), np.zeros(1, np.int64), np.ones(1, "f4")
    )
    (here / "own.json").write_text(coco_json([("a/shape.png", found)], {}))
    assert proposals_of(read_proposals("own.json"), "b/shape.png", "own.json").boxes.tolist() == [[1, 2, 30, 40]]
    (here / "own.csv").write_text("path,left,top,right,bottom\nother.png,10,10,60,70\n")
    assert "own.csv: has no boxes of shape.png" in run("detect shape.png --labels chair --boxes own.csv")[2]
    (here / "own.csv").write_text("path,left,top,right,bottom\nshape.png,10,10,5,70\n")
    assert "has no area" in run("detect shape.png --labels chair --boxes own.csv")[2]


# Evaluation -----------------------------------------------------------------------------------------------------------


def test_sets_are_read(boxed, here):
    photos = read_boxed(boxed)
    assert [one.labels for one in photos] == [("chair",), ("table",), ("chair",)]
    assert photos[0].vocabulary == ("chair", "table", "cup")
    assert photos[0].boxes.tolist() == composite(0)[1].tolist()
    assert [one.name for one in read_boxed(boxed, [("half", "1")])] == ["part/images/1.png"]
    assert len(read_boxed(boxed, [("set", "a")])) == 2
    assert len(read_boxed(boxed / "part" / "boxes.json")) == 3
    (here / "voc" / "Annotations").mkdir(parents=True)
    (here / "voc" / "JPEGImages").mkdir()
    Image.new("RGB", (50, 40)).save(here / "voc" / "JPEGImages" / "a.jpg")
    box = "".join(f"<{k}>{v}</{k}>" for k, v in {"xmin": 11, "ymin": 1, "xmax": 20, "ymax": 30}.items())
    body = f"<name>chair</name><difficult>1</difficult><bndbox>{box}</bndbox>"
    text = f"<annotation><filename>a.jpg</filename><object>{body}</object></annotation>"
    (here / "voc" / "Annotations" / "a.xml").write_text(text)
    (one,) = read_boxed(here / "voc")
    assert one.boxes.tolist() == [[10, 0, 20, 30]] and one.ignored.tolist() == [True] and one.labels == ("chair",)


def photo_of(boxes, labels, ignored=None):
    table = np.array(boxes, np.float32).reshape(-1, 4)
    flags = np.zeros(len(table), bool) if ignored is None else np.array(ignored)
    return BoxedPhoto(None, "x", table, tuple(labels), flags, ("a", "b"))


def test_average_precision_by_hand():
    """Two of a: found at ranks 1 and 3, a wrong one between; one of b, found at IoU .55 only."""
    photo = photo_of([[0, 0, 10, 10], [20, 0, 30, 10], [0, 50, 20, 60]], ["a", "a", "b"])
    boxes = np.array([[0, 0, 10, 10], [60, 60, 70, 70], [20, 0, 30, 10], [0, 50, 11, 60]], np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    measured = library.CocoFigures([photo], [(boxes, ["a", "a", "a", "b"], scores)])
    a = (51 * 1 + 50 * 2 / 3) / 101  # precision at the 101 recalls of COCO
    assert measured.per_label()["a"]["ap50"] == pytest.approx(a, abs=1e-6)
    assert measured.per_label()["b"] == pytest.approx({"ap50": 1.0, "ap": 0.2})  # .50 and .55 of ten
    assert measured.figures()["ap50"] == pytest.approx((a + 1) / 2, abs=1e-6)
    some = library.CocoFigures([photo], [(boxes, ["box"] * 4, scores)], by_label=False, most=1)
    assert some.figures()["ar"] == pytest.approx(1 / 3)
    ignored = photo_of([[0, 0, 10, 10], [60, 60, 70, 70]], ["a", "a"], [False, True])
    assert library.CocoFigures([ignored], [(boxes[:2], ["a", "a"], scores[:2])]).figures()["ap50"] == pytest.approx(1)


def test_intervals_resample_photos():
    right, wrong = (np.array([box], np.float32) for box in ([0, 0, 10, 10], [50, 50, 60, 60]))
    photos = [photo_of(right, ["a"]) for _ in range(8)]
    found = [(right if i % 2 else wrong, ["a"], np.ones(1, np.float32)) for i in range(8)]
    measured = library.CocoFigures(photos, found)
    before = measured.figures()
    drawn = measured.resampled(0, 50)
    assert np.array_equal(drawn, measured.resampled(0, 50)) and measured.figures() == before
    assert drawn.min() < before["ap50"] < drawn.max()
    perfect = library.CocoFigures(photos, [(right, ["a"], np.ones(1, np.float32))] * 8)
    assert perfect.resampled(0, 10) == pytest.approx(1)


def test_shuffling_leaves_no_label_in_place():
    rows = np.arange(5)
    found = Detections((9, 9), tuple("abcde"), np.zeros((5, 4), np.float32), rows, np.ones(5, np.float32))
    for seed in range(10):
        other = library.shuffled(found, seed).label_index
        assert sorted(other) == list(rows) and (other != rows).all()


def test_eval_measures_beside_controls(run_json, boxed):
    record = run_json(f"eval detect {boxed} --limit 100 --where set=a")
    rows = {one["row"]: one for one in record["results"]}
    assert list(rows) == ["detect", library.GRID, library.SHUFFLED] and record["where"] == ["set=a"]
    for one in rows.values():
        assert (
            one["n"] == 2
            and 0 <= one["ap50"] <= 1
            and one["settings"]["limit"] == 100
            and set(one["per_label"]) == {"chair"}
        )
        assert one["ap50_interval"][0] <= one["ap50_interval"][1] and one["proposals"]["mean"] <= 100
    assert rows["detect"]["proposals"]["ar100"] > rows[library.GRID]["proposals"]["ar100"]  # shapes are covered
    assert rows[library.GRID]["settings"]["proposals"] == "grid" and rows[library.GRID]["difference"] == [0, 0]
    present = run_json(f"eval detect {boxed} {QUICK} --present")
    assert present["results"][0]["present"] and present["data_sha256"] != record["data_sha256"]


def test_eval_refuses_a_set_without_boxes(run, boxed):
    path = boxed / "part" / "boxes.json"
    record = json.loads(path.read_text())
    for kept in ([], [one | {"iscrowd": 1} for one in record["annotations"]]):
        path.write_text(json.dumps(record | {"annotations": kept}))
        status, out, err = run(f"eval detect {boxed} {QUICK}")
        assert (status, out) == (2, "") and "no photo has a box that counts" in err


def test_eval_refuses_conditions_that_no_row_meets(run, boxed):
    assert "no photos; check --where" in run(f"eval detect {boxed} --where set=z")[2]
    assert "no column 'smell'" in run(f"eval detect {boxed} --where smell=1")[2]
    with (boxed / "labels.csv").open("a") as file:
        csv.writer(file).writerow(["part/images/9.png", "a"])
    assert "does not name the photo" in run(f"eval detect {boxed}")[2]


def test_a_task_keeps_what_it_found(tiny_space, tmp_path):
    from clipx.modalities.detect.task import DetectTask

    config, photos = DetectTask.example()
    task = DetectTask(tiny_space, config)
    (found,) = task.run(photos[:1])
    known = dataclasses.replace(found, presence=np.array([0.25, 1.0], np.float32))
    assert task.unpack(*task.pack(known)).presence.tolist() == [0.25, 1.0]
    again = task.unpack(*task.pack(found))
    assert again.presence is None
    assert again.size == found.size and np.array_equal(again.boxes, found.boxes) and again.labels == found.labels
    written = task.save(found, tmp_path / "one", name="x.png", photo=photos[0], settings={"a": 1})
    assert [path.name for path in written] == ["one.json", "one.png"]
    assert torch.equal(photos[0], DetectTask.example()[1][0])


def test_a_photo_without_a_find_says_how_near_it_came(run, run_json, here):
    write_photo("shape.png", composite(0)[0])
    line = f"detect shape.png --labels chair,table -o found.png --threshold 0.99 {QUICK}"
    (result,) = run_json(line)["results"]
    assert result["detections"] == [] and 0 < result["best"]["score"] < 0.99
    status, _, err = run(line)
    label, score = result["best"]["label"], result["best"]["score"]
    assert status == 0 and f"shape.png: nothing reaches --threshold 0.99; the best is {label} at {score:.3f}" in err
    lower = err.split("(--threshold ")[1].split(" ")[0]  # what it says to do shows that box
    (again,) = run_json(line.replace("0.99", lower))["results"]
    assert again["detections"][0]["label"] == label and again["detections"][0]["score"] == pytest.approx(score)


def test_a_threshold_that_is_given_decides_alone(run_json, here):
    write_photo("shape.png", composite(0)[0])
    settings = run_json(f"detect shape.png --labels chair,table {QUICK}")["settings"]
    assert (settings["threshold"], settings["relative"], settings["top"]) == (0.3, 0.8, 20)
    settings = run_json(f"detect shape.png --labels chair,table --threshold 0.1 {QUICK}")["settings"]
    assert (settings["threshold"], settings["relative"], settings["top"]) == (0.1, 0.0, 20)
    settings = run_json(f"detect shape.png --labels chair,table --relative 0.5 {QUICK}")["settings"]
    assert (settings["threshold"], settings["relative"], settings["presence"]) == (0.3, 0.5, 0.0)  # it knows no nouns


def test_what_fits_a_photo_less_than_most_nouns_gets_no_box(run, run_json, here):
    cat = Path(skimage.data.__file__).parent / "chelsea.png"
    line = f"detect {cat} --labels cat,skyscraper --space lite -o found.png"
    (result,) = run_json(line)["results"]
    assert result["presence"]["cat"] > 0.97 and result["presence"]["skyscraper"] < 0.7
    assert {one["label"] for one in result["detections"]} == {"cat"}
    coco = json.loads((here / "found.json").read_text())
    assert coco["annotations"][0]["presence"] == pytest.approx(result["presence"]["cat"], abs=1e-3)
    (every,) = run_json(f"{line} --threshold 0.05")["results"]  # which decides alone
    assert "presence" not in every and {one["label"] for one in every["detections"]} == {"cat", "skyscraper"}
    status, _, err = run(f"{line} --labels skyscraper --threshold 0.01 --presence 0.85")
    assert status == 0 and "nothing is found; the best is skyscraper at" in err
    share = err.split("(--presence ")[1].split(" shows it)")[0]  # what it says to do shows that box
    (shown,) = run_json(f"{line} --labels skyscraper --threshold 0.01 --presence {share}")["results"]
    assert shown["detections"][0]["label"] == "skyscraper"
    for more in ("--regions crops --crop-limit 5", "--regions both --crop-limit 5"):  # where it was not measured
        assert run_json(f"{line} {more}")["settings"]["presence"] == 0


def test_eval_asks_for_what_is_not_there(run, run_json, boxed):
    record = run_json(f"eval detect {boxed} --absent 1 {QUICK}")
    (one,) = record["results"]
    assert (one["present"]["n"], one["absent"]["n"], one["absent_per_photo"]) == (
        3,
        3,
        1,
    )  # one label a photo, one drawn
    assert (one["settings"]["threshold"], one["settings"]["top"]) == (0.3, 20)
    (every,) = run_json(f"eval detect {boxed} --absent 9 --threshold 0 --overlap 1 --limit 50 --top 150")["results"]
    assert every["absent"] == {"n": 6, "found": 1.0} and every["present"] == {"n": 3, "found": 1.0}  # two of three
    assert every["boxes"]["n"] == 3 * 150 and 0 < every["boxes"]["right50"] < every["boxes"]["right30"] < 1 / 3
    (none,) = run_json(f"eval detect {boxed} --absent 9 --threshold 1 {QUICK}")["results"]
    assert none["absent"]["found"] == none["present"]["found"] == none["boxes"]["n"] == 0
    assert "--absent: takes no --present" in run(f"eval detect {boxed} --absent 1 --present")[2]
    coco = boxed / "part" / "boxes.json"
    record = json.loads(coco.read_text())
    record["annotations"][0]["iscrowd"] = 1  # of the first photo, which has no other; its label is in the third, too
    record["annotations"].append({**record["annotations"][2], "id": 9, "category_id": 3, "iscrowd": 1})
    coco.write_text(json.dumps(record))
    (one,) = run_json(f"eval detect {boxed} --absent 9 {QUICK}")["results"]
    assert (one["n"], one["present"]["n"], one["absent"]["n"]) == (2, 2, 2 + 1)  # the third's crowd is neither
    assert run(f"eval detect {boxed} --absent 9 --threshold 1 {QUICK}")[1].endswith("\t0% of 3\tnone\n")


@pytest.mark.parametrize(
    ("name", "word", "true"),
    [
        ("coffee.png", "cup", (176, 18, 425, 310)),
        ("motorcycle_left.png", "motorcycle", (100, 105, 690, 452)),
        ("chelsea.png", "cat", (25, 0, 395, 300)),
    ],
)
@pytest.mark.parametrize("more", ["", ",dog,bicycle", ",banana,airplane,bus,clock,bed,toilet,fork,pizza,kite,sheep"])
def test_the_obvious_thing_of_a_photo_is_found(run_json, name, word, true, more):
    """By the default settings and the default space; without that, people think it is broken."""
    folder = Path(skimage.data.__file__).parent
    record = run_json(f"detect {folder / name} --labels {word}{more} --space lite -o found")
    found = [one for one in record["results"][0]["detections"] if one["label"] == word]
    overlaps = iou(np.array([one["box"] for one in found], np.float32).reshape(-1, 4), np.array([true], np.float32))
    assert len(found) <= 3 and overlaps.max() >= 0.5
