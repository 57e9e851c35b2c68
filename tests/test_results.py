"""The tables of docs/results.md are those of the JSON files beside them."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from clipx import load_space

DOCS = Path(__file__).parents[1] / "docs"
NAMES = sorted(path.stem for path in (DOCS / "results").glob("*.json"))


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("make_results", DOCS / "results" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_writes(make):
    page = (DOCS / "results.md").read_text()
    assert make.tables(page) == page
    assert sorted(re.findall(r"^<!-- ([\w-]+) -->$", page, re.MULTILINE)) == sorted([*NAMES, *["end"] * len(NAMES)])


@pytest.mark.parametrize("name", NAMES)
def test_every_record_says_which_data_and_which_space(name):
    record = json.loads((DOCS / "results" / f"{name}.json").read_text())
    assert len(record["data_sha256"]) == 64 and record["results"]
    assert record["space_id"] == load_space("nano").id, "measure again: the space has changed"


def test_the_figures_asked_for_on_modelnet10():
    """Of nano, version 2, with the default projection and prompts; see docs/results.md for how they were chosen."""
    record = json.loads((DOCS / "results" / "modelnet10.json").read_text())
    found = {row["method"]: row for row in record["results"] if row["sweep"] == {"projection": "pointclip_v1"}}
    assert found["zero_shot"]["metrics"]["acc1"] >= 0.76 and found["zero_shot"]["prompts"] == "pointclip"
    assert found["adapter"]["metrics"]["acc1"] >= 0.85 and found["cache"]["metrics"]["acc1"] >= 0.80
    assert all(len(found[method]["draws"]) == 5 and found[method]["shots"] == 16 for method in ("adapter", "cache"))


@pytest.mark.slow
def test_the_default_still_measures_so(run_json, shared, monkeypatch):
    """The one row that is quick to make again, from the data where they are at hand."""
    record = json.loads((DOCS / "results" / "modelnet10.json").read_text())
    monkeypatch.setenv("CLIPX_SPACE", "nano")
    (row,) = run_json(f"eval pointcloud {shared / 'data' / 'pointcloud' / 'modelnet10_test.npz'}")["results"]
    assert row["metrics"]["acc1"] == pytest.approx(record["results"][0]["metrics"]["acc1"], abs=0.005)
    assert row["config"].items() >= record["results"][0]["config"].items()


def test_a_record_without_shots_and_one_with_become_one_table(make):
    row = {"sweep": {"tta": 1}, "prompts": "photo", "metrics": {"acc1": 0.5}, "ci95": {"acc1": [0.4, 0.6]}}
    learnt = {**row, "method": "cache", "shots": 2, "draws": [{"acc1": 0.25}, {"acc1": 0.75}]}
    assert make.table({"results": [{**row, "method": "zero_shot"}, learnt]}).splitlines() == [
        "| tta | zero_shot | cache, 2 shots |",
        "|---|---|---|",
        "| 1 | 50.0% (40.0% to 60.0%) | 50.0% (25.0% to 75.0%) |",
    ]
    other = {**row, "method": "zero_shot", "sweep": {"tta": 2}, "prompts": "plain"}
    assert make.table({"results": [{**row, "method": "zero_shot"}, other]}).splitlines()[::3] == [
        "| tta | prompts | zero_shot |",
        "| 2 | plain | 50.0% (40.0% to 60.0%) |",
    ]
