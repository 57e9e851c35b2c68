"""clipx segment and clipx eval segment: what they write, what others take of it, and what they refuse."""

import json

import numpy as np
import pytest
from conftest import WORDS, save_space
from PIL import Image
from test_segment import write_set

NEEDED = [*WORDS, "dog", "wall", "floor"]


@pytest.fixture
def segment_space(tiny_space, tmp_path, here, monkeypatch):
    """The default space, which knows these words."""
    folder = save_space(tiny_space, tmp_path / "spaces" / "tiny", NEEDED)
    monkeypatch.setenv("CLIPX_SPACE", str(folder))
    return folder


@pytest.fixture
def call(segment_space, run):
    return run


@pytest.fixture
def call_json(segment_space, run_json):
    return run_json


def test_what_it_writes(call_json, here):
    record = call_json("segment photo.png --labels cat,table|chair --background wall --cutout cat -o mask.png")
    (result,) = record["results"]
    assert (record["command"], result["source"], result["height"], result["width"]) == ("segment", "photo.png", 40, 50)
    assert result["files"] == ["mask.png", "mask.npz", "mask-overlay.png", "mask-cat.png"]
    assert [one["label"] for one in result["labels"]] == ["cat", "table"]
    assert result["background"] + sum(one["share"] for one in result["labels"]) == pytest.approx(1)
    mask = np.asarray(Image.open("mask.png"))
    assert mask.shape == (40, 50) and float((mask == 1).mean()) == pytest.approx(result["labels"][0]["share"])
    cutout = np.asarray(Image.open("mask-cat.png"))
    assert ((cutout[..., 3] > 0) == (mask == 1)).all()
    settings = record["settings"]
    assert settings["path"] == "value" and settings["background"] == ["wall"] and settings["refine"] == "pamr"
    with np.load("mask.npz", allow_pickle=False) as arrays:
        assert json.loads(str(arrays["settings"]))["labels"] == ["cat", "table|chair"]
    assert not [path for path in here.iterdir() if path.name.endswith(".part")]
    again = call_json("segment photo.png --labels cat,table|chair --background wall -o again.png")
    assert again["results"][0]["labels"] == result["labels"]
    assert (here / "again.png").read_bytes() == (here / "mask.png").read_bytes()


def test_a_folder_of_masks(call, here):
    Image.new("RGB", (30, 20)).save("other.jpg")
    (here / "text.png").write_text("no picture")
    status, out, err = call("segment photo.png other.jpg text.png --labels cat,night --background none -o masks --json")
    record = json.loads(out)
    assert status == 2 and "text.png" in err
    assert [one["source"] for one in record["results"]] == ["photo.png", "other.jpg"]
    assert sorted(path.name for path in (here / "masks").iterdir())[:3] == [
        "other-mask-overlay.png", "other-mask.npz", "other-mask.png",
    ]  # fmt: skip
    assert all(one["background"] == 0 for one in record["results"])


def test_a_drawing_takes_the_cut_out(segment_space, here):
    """The cut-out of clipx segment is a mask of clipx sketch."""
    from clipx.modalities.sketch.target import load_mask

    cutout = np.zeros((40, 50, 4), np.uint8)
    cutout[10:20, 10:30, 3] = 255
    Image.fromarray(cutout, "RGBA").save("cat.png")
    assert (load_mask("cat.png") == (cutout[..., 3] > 0)).all()


def test_a_drawing_takes_the_mask(call, here):
    """A dark colour of the palette is no background."""
    from clipx.modalities.sketch.target import load_mask

    assert call("segment photo.png --labels cat,table --background night --threshold 0 -o mask.png")[0] == 0
    mask = np.asarray(Image.open("mask.png"))
    assert mask.any() and (load_mask("mask.png") == (mask > 0)).all()


def test_a_photo_without_the_labels_keeps_its_row(call, here):
    status, out, err = call("segment photo.png --labels cat,table --threshold 1 --cutout cat -o mask.png")
    assert status == 0 and "none of the labels" in out and "mask.png" in out
    assert "photo.png: shows no cat; its cut-out is empty" in err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("segment photo.png --labels cat,cat", "'cat' is given twice"),
        ("segment photo.png --labels cat --background none", "one label and no background"),
        ("segment photo.png --labels cat,elephant --background wall", "elephant"),
        ("segment photo.png --labels cat,table --background cat", "every word of the background is a label"),
        ("segment photo.png --labels cat,table --background wall --cutout dog", "'dog' is not among the labels"),
        ("segment photo.png --labels cat,table --threshold 2", "threshold"),
        ("segment photo.png --labels cat,table --head x.safetensors --path value", "a head brings its own features"),
        ("segment photo.png --labels cat,table --scales fine", "--scales"),
        ("segment photo.png --labels cat,table --path sc-clip --background wall", "'sc-clip'"),
        ("segment photo.png --labels cat,table -o photo.png", "is the photo itself"),
        ("segment photo.png --labels cat,table -o mask.jpg", "is not .png"),
        ("segment photo.png photo.png --labels cat,table -o mask.png", "do not fit into one file"),
        ("segment photo.png --labels cat,table --head none.safetensors", "none.safetensors"),
        ("segment missing.png --labels cat,table", "missing.png"),
    ],
)
def test_what_it_refuses(call, here, command, message):
    before = sorted(path.name for path in here.iterdir())
    status, _, err = call(command)
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert status != 0 and len(lines) == 1 and message in lines[0], err
    assert sorted(path.name for path in here.iterdir()) == before


def test_eval_prints_rows_and_controls(call_json, here):
    write_set(here / "set", classes=("background", "cat", "table"))
    record = call_json(
        "eval segment set --background wall --controls --sweep refine=none,pamr --sweep threshold=0.2,0.5"
    )
    names = [row["row"] for row in record["results"]]
    assert names == [
        "words, refine none, threshold 0.2", "words, refine none, threshold 0.5", "words, refine pamr, threshold 0.2",
        "words, refine pamr, threshold 0.5", "control: one label", "control: all background", "control: k-means oracle",
    ]  # fmt: skip
    first = record["results"][0]
    assert record["words"] == ["cat", "table"] and record["classes"] == ["background", "cat", "table"]
    assert first["n"] == record["n"] == 3 and set(first["per_class"]) == {"background", "cat", "table"}
    assert first["settings"]["refine"] == "none" and first["settings"]["background"] == ["wall"]
    assert 0 <= first["ci95"]["miou"][0] <= first["figures"]["miou"] <= first["ci95"]["miou"][1] <= 1
    assert 0 < first["shuffled"]["p"] <= 1 and "shuffled" not in record["results"][-1]


def test_eval_of_a_set_without_a_background(call, call_json, here):
    """Every pixel has a label, whatever --background says; a row with one would count it as the first class."""
    write_set(here / "set", classes=("floor", "cat", "table"))
    (row,) = call_json("eval segment set --sweep background=none")["results"]
    assert row["settings"]["background"] == ["none"] and set(row["per_class"]) == {"floor", "cat", "table"}
    status, _, err = call("eval segment set --sweep background=none,wall")
    assert status == 2 and "the set has no background" in err


def test_eval_of_rows(call, call_json, here):
    write_set(here / "set", classes=("background", "cat", "table"))
    record = call_json("eval segment set --where part=odd --background wall --labels cup,chair|table")
    assert record["n"] == 1 and record["words"] == ["cup", "chair|table"]
    for wrong, message in (
        ("--labels cup", "1 words for 2 classes"),
        ("--sweep colour=1,2", "no setting"),
        ("--sweep flip=perhaps", "does not take"),
        ("--sweep refine=sharp", "no refinement"),
        ("--where part=none", "no rows"),
    ):
        status, _, err = call(f"eval segment set {wrong}")
        assert status != 0 and message in err, err
