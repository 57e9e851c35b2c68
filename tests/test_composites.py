"""Words find what is where: segment, detect and ground with the default space on composites that are known exactly."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipx.cli import main
from clipx.modalities.segment.data import read_masks

ROOT = Path(__file__).parents[1]
COUNT = 16


@pytest.fixture(scope="module")
def composites():
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        import composites
    finally:
        sys.path.pop(0)
    return composites


@pytest.fixture(scope="module")
def made(composites, tmp_path_factory):
    folder = tmp_path_factory.mktemp("composites") / "set"
    composites.write(folder, COUNT)
    return folder


@pytest.fixture
def rows(capfd, monkeypatch):
    """The rows of an evaluation with the default space, by name."""
    monkeypatch.delenv("CLIPX_SPACE", raising=False)

    def call(*arguments):
        capfd.readouterr()
        assert main(["eval", *map(str, arguments), "--json"]) == 0, capfd.readouterr().err
        return {row["row"]: row for row in json.loads(capfd.readouterr().out)["results"]}

    return call


def test_masks_and_boxes_say_the_same(composites, made, tmp_path):
    """A box is that of its mask, objects do not overlap, and the same seed makes the same files."""
    data = read_masks(made)
    found = json.loads((made / "boxes.json").read_text())
    for i, one in enumerate(data.photos):
        truth = one.truth()
        with Image.open(one.photo) as picture:
            assert picture.size == truth.shape[::-1]
        own = [box for box in found["annotations"] if box["image_id"] == i]
        assert {box["category_id"] for box in own} == set(np.unique(truth)) - {0}
        for box in own:
            rows, columns = np.nonzero(truth == box["category_id"])
            left, top, width, height = box["bbox"]
            assert (left, top, left + width, top + height) == (
                columns.min(), rows.min(), columns.max() + 1, rows.max() + 1,
            )  # fmt: skip
    composites.write(tmp_path / "again", 2)
    for name in ("images/0001.png", "masks/0001.png"):
        assert (tmp_path / "again" / name).read_bytes() == (made / name).read_bytes()


def test_segment(rows, made):
    found = rows("segment", made, "--controls")
    words = found["words"]
    assert words["figures"]["miou"] >= 2 * found["control: one label"]["figures"]["miou"]
    assert words["figures"]["miou"] >= 1.5 * found["control: all background"]["figures"]["miou"]
    assert words["shuffled"]["p"] < 0.05


def test_detect(rows, made):
    found = rows("detect", made / "boxes.json")
    detect, grid, shuffled = (found[name] for name in ("detect", "control: sliding grid", "control: shuffled words"))
    assert detect["ap50"] > 1.5 * max(grid["ap50"], shuffled["ap50"])
    assert detect["proposals"]["ar100"] > grid["proposals"]["ar100"]


@pytest.mark.slow
def test_ground(rows, made):
    hits = {name: row["pointing"] for name, row in rows("ground", made / "boxes.json").items()}
    assert hits["ground"] >= 0.6
    assert hits["ground"] > 1.3 * max(hits["control: the photo's centre"], hits["control: random words"])
