"""Commands over many files: one that cannot be read ends nothing, and results of files named alike do not meet."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import DEPTH_WORDS, WORDS, save_space
from PIL import Image

from clipx.cli._output import distinct_names


@pytest.fixture
def photos(here, tiny_space, tmp_path, monkeypatch):
    """A good photo, a truncated one and another good one, in a space that knows the words of depth."""
    monkeypatch.setenv("CLIPX_SPACE", str(save_space(tiny_space, tmp_path / "known" / "tiny", [*WORDS, *DEPTH_WORDS])))
    for i, name in enumerate(("a.jpg", "b.jpg", "c.jpg")):
        noise = np.random.default_rng(i).integers(0, 255, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(noise).save(here / name, quality=95)
    (here / "b.jpg").write_bytes((here / "b.jpg").read_bytes()[:1500])
    return here


SKETCH = "sketch {} -o out --strokes 2 --seeds 1 --steps 1"
RUNS = {
    "depth": ("depth {} -o out", "source", "a.jpg b.jpg c.jpg"),
    "segment": ("segment {} --labels cat,chair --background night -o out", "source", "a.jpg b.jpg c.jpg"),
    "detect": ("detect {} --labels cat,chair -o out", "source", "a.jpg b.jpg c.jpg"),
    "sketch": (SKETCH, "source", "a.jpg b.jpg c.jpg"),
    "sketch of a meaning": (SKETCH, "source", "cloud.xyz torn.ply mesh.off"),
    "views": ("views {} -o out.png", "path", "cloud.xyz torn.ply mesh.off"),
}


@pytest.mark.parametrize("name", RUNS)
def test_one_bad_file_ends_no_run(photos, run, name):
    (photos / "torn.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex 9\n")
    line, key, files = RUNS[name]
    good, bad, more = files.split()
    status, out, err = run(f"{line.format(files)} --json")
    record = json.loads(out)
    assert status == 2, err
    assert [result[key] for result in record["results"]] == [good, more]
    assert [failure["path"] for failure in record["failures"]] == [bad]
    assert [text for text in err.splitlines() if text.startswith(f"not read: {bad}: ")] and "Traceback" not in err
    for result in record["results"]:
        assert all(Path(file).is_file() for file in result.get("files", []))


@pytest.mark.parametrize("name", RUNS)
def test_when_none_can_be_read_all_are_listed(photos, run, name):
    line, _, files = RUNS[name]
    bad = [Path(f"{i}{Path(files.split()[0]).suffix}") for i in range(3)]
    for path in bad:
        path.write_bytes(b"?")
    status, out, err = run(f"{line.format(' '.join(map(str, bad)))} --json")
    record = json.loads(out)
    assert status == 2 and record["results"] == []
    assert [failure["path"] for failure in record["failures"]] == list(map(str, bad))
    assert [text.split(": ")[1] for text in err.splitlines() if text.startswith("not read")] == list(map(str, bad))
    assert not Path("out.png").exists() and not [path for path in Path("out").glob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["depth", "segment", "detect", "sketch"])
def test_files_named_alike_have_results_of_their_own(photos, run_json, name):
    line = RUNS[name][0]
    (photos / "other").mkdir()
    shutil.copy("a.jpg", "other/a.jpg")
    Image.open("c.jpg").save("a.png")
    results = run_json(line.format("a.jpg a.png other/a.jpg c.jpg"))["results"]
    files = [file for result in results for file in result["files"]]
    assert len(results) == 4 and len(files) == len(set(files)) and all(Path(file).is_file() for file in files)
    stems = {"depth": "{}-depth.png", "segment": "{}-mask.png", "detect": "{}-boxes.png", "sketch": "{}-2.svg"}
    for own in ("a.jpg", "a.png", "a.jpg-2", "c"):
        assert (Path("out") / stems[name].format(own)).is_file()


def test_names_of_results_are_distinct():
    named = {
        "a.jpg b.png": "a b",
        "a.jpg a.png": "a.jpg a.png",
        "a.jpg x/a.jpg": "a.jpg a.jpg-2",
        "a.jpg x/a.jpg y/a.jpg a.png": "a.jpg a.jpg-2 a.jpg-3 a.png",
        "IMG.jpg img.JPG": "IMG.jpg img.JPG-2",
        "a.jpg x/a.jpg a.jpg-2.png": "a.jpg a.jpg-3 a.jpg-2",
    }
    for paths, names in named.items():
        assert distinct_names([Path(path) for path in paths.split()]) == names.split()


def test_a_sketch_takes_the_settings_of_the_modality_that_it_reads(photos, run, run_json):
    line = "sketch cloud.xyz -o {} --strokes 2 --seeds 1 --steps 1"
    plain, turned = run_json(line.format("one")), run_json(f"{line.format('two')} --up x --projection shaded")
    assert plain["results"][0]["loss"] != turned["results"][0]["loss"]
    assert "--up is a setting of pointcloud, not of image" in run(f"{SKETCH.format('a.jpg')} --up x")[2]
    assert "--up goes with files, not with --text" in run("sketch --text cat --up x")[2]
    status, _, err = run(f"{SKETCH.format('a.jpg')} --tower missing")
    assert status == 2 and "--tower is a setting of audio, not of image" in err
