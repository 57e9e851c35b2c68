"""clipx eval all: tables of a suite as JSON, Markdown and lists of what was measured."""

import csv
import hashlib
import io
import json

import numpy as np
import pytest
from PIL import Image

from clipx.cli import main
from clipx.cli._tables import markdown, table, with_tables

SUITE = '''
[[table]]
name = "photos"
title = "Photos named by words"
columns = [["of", "{run}"], ["n", "{n}"], ["top-1", "{metrics[acc1]:.0%}"], ["top-5", "{metrics[acc5]:.0%}"]]

[[table.run]]
name = "both"
command = "clipx eval image DATA/photos --where split=test --space SPACE"

[[table]]
name = "shots"

[[table.run]]
command = """clipx eval image DATA/photos --where split=test --train-where split=train --shots 1 --draws 2
  --method zero_shot,cache --space SPACE"""
'''


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    photos = root / "photos"
    photos.mkdir()
    rng, lines = np.random.default_rng(0), ["path,label,split,source"]
    for i in range(8):
        Image.fromarray(rng.integers(0, 255, (20, 20, 3), np.uint8)).save(photos / f"{i}.png")
        lines.append(f"{i}.png,{'chair' if i % 2 else 'table'},{'test' if i < 4 else 'train'},original-{i}")
    (photos / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def suite(tmp_path, space_folder):
    path = tmp_path / "suite.toml"
    path.write_text(SUITE.replace("SPACE", str(space_folder)))
    return path


def test_tables_and_lists(run_json, data, suite, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- photos -->\nold\n<!-- end -->\nafter <!-- other -->\nkept\n<!-- end -->\n")
    out = tmp_path / "out"
    found = run_json(f"eval all --data {data} --suite {suite} -o {out} --page {page}")
    assert [row["table"] for row in found["results"]] == ["photos", "shots"]
    record = json.loads((out / "photos.json").read_text())
    (one,) = record["runs"]
    assert one["commands"][0].startswith("clipx eval image DATA/photos") and str(data) not in json.dumps(record)
    assert one["n"] == 4 and len(one["data_sha256"]) == 64 and "classes" not in one["results"][0]
    rows = list(csv.DictReader(io.StringIO((out / one["split"]).read_text())))
    assert [(row["use"], row["name"], row["label"], row["source"]) for row in rows] == [
        ("test", f"{i}.png", "chair" if i % 2 else "table", f"original-{i}") for i in range(4)
    ]
    assert rows[1]["sha256"] == hashlib.sha256((data / "photos" / "1.png").read_bytes()).hexdigest()
    acc1 = one["results"][0]["metrics"]["acc1"]
    written = page.read_text()
    assert f"| both | 4 | {acc1:.0%} |  |" in written  # of two classes there is no top-5
    assert written.startswith("before\n<!-- photos -->\n| of |")
    assert written.endswith("<!-- other -->\nkept\n<!-- end -->\n")
    shots = json.loads((out / "shots.json").read_text())["runs"][0]
    assert (out / shots["split"]).read_text().count("\ntrain,") == 4
    text = (out / "tables.md").read_text()
    assert "## Photos named by words" in text and "cache, 1 shots" in text and "clipx eval image DATA/photos" in text


def test_the_same_again_and_what_is_there_is_kept(run_json, data, suite, tmp_path):
    out = tmp_path / "out"
    run_json(f"eval all --data {data} --suite {suite} -o {out} --only photos")
    before = {path.name: path.read_bytes() for path in out.rglob("*.*")}
    run_json(f"eval all --data {data} --suite {suite} -o {out} --only photos")
    assert before == {path.name: path.read_bytes() for path in out.rglob("*.*")}
    record = json.loads((out / "photos.json").read_text())
    record["runs"][0]["n"] = 99
    (out / "photos.json").write_text(json.dumps(record))
    run_json(f"eval all --data {data} --suite {suite} -o {out} --only photos --resume")
    assert "| both | 99 |" in (out / "tables.md").read_text()


def test_pages_are_written_without_data(run_json, data, suite, tmp_path):
    out, page = tmp_path / "out", tmp_path / "page.md"
    run_json(f"eval all --data {data} --suite {suite} -o {out} --only photos")
    page.write_text("<!-- photos -->\n<!-- end -->\n")
    run_json(f"eval all --suite {suite} -o {out} --page {page}")
    assert "| both | 4 |" in page.read_text()


def test_a_table_of_another_space_is_left_out(run, data, suite, space_folder, tmp_path):
    only = suite.read_text().replace('name = "shots"', 'name = "shots"\nspaces = ["nano"]')
    suite.write_text(only)
    out = tmp_path / "out"
    status, _, err = run(f"eval all --data {data} --suite {suite} -o {out} --space {space_folder}")
    assert status == 0 and "left out: shots, which is of nano alone" in err
    assert (out / "photos.json").exists() and not (out / "shots.json").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--data nowhere", "nowhere: no such folder; name the data sets' folder with --data"),
        ("-o nowhere", "nowhere: no such folder; measure first"),
        ("--only nothing", "no table 'nothing'; there are words-alone"),
        ("--suite suite.toml", "suite.toml: holds no [[table]]"),
        ("--page nowhere.md", "nowhere.md: no such file"),
    ],
)
def test_mistakes_are_one_line(arguments, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.toml").write_text("")
    assert main(["eval", "all", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1


def test_a_command_that_fails_says_so(data, tmp_path, capsys):
    suite = tmp_path / "suite.toml"
    suite.write_text('[[table]]\nname = "a"\n[[table.run]]\ncommand = "clipx eval image DATA/none"\n')
    assert main(["eval", "all", "--data", str(data), "--suite", str(suite), "-o", str(tmp_path / "out")]) == 2
    assert "none: no such file" in capsys.readouterr().err and not (tmp_path / "out" / "a.json").exists()


def test_a_run_that_measures_nothing_takes_no_other_s_record(data, tmp_path, space_folder, capsys):
    suite, line = tmp_path / "suite.toml", f"clipx eval image DATA/photos --where split=test --space {space_folder}"
    runs = "".join(f'[[table.run]]\ncommand = "{command}"\n' for command in (line, "clipx eval image --help"))
    suite.write_text(f'[[table]]\nname = "a"\n{runs}')
    assert main(["eval", "all", "--data", str(data), "--suite", str(suite), "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "clipx eval image --help: wrote no record" in error and not (tmp_path / "out" / "a.json").exists()


def test_a_command_that_ends_badly_is_told(data, tmp_path, capsys, monkeypatch):
    asked, broken = [], {"state": "broken", "name": "a", "detail": "b"}
    monkeypatch.setattr("clipx.cli.doctor._checks", lambda *given: asked.append(given) or [broken])
    suite = tmp_path / "suite.toml"
    suite.write_text(
        '[[table]]\nname = "a"\nbefore = ["clipx doctor"]\n[[table.run]]\ncommand = "clipx eval image a"\n'
    )
    assert main(["eval", "all", "--data", str(data), "--suite", str(suite), "-o", str(tmp_path / "out")]) == 2
    assert asked == [(None, "cpu", "float32")]
    assert "clipx doctor: ended with status 1" in capsys.readouterr().err


def test_a_figure_that_is_missing_is_an_empty_cell():
    record = {
        "columns": [["a", "{a:.1f}"], ["b", "{b[c]:.2f}"], ["d", "{d}"]],
        "runs": [{"results": [{"a": 1, "b": {"c": None}, "d": None}]}],
    }
    assert table(record).splitlines() == ["| a | b | d |", "|---:|---:|---:|", "| 1.0 |  |  |"]
    assert markdown(["x", "y"], [["word", ".306"]]).splitlines()[1] == "|---|---:|"
    assert with_tables("<!-- a -->\nold\n<!-- end -->", {"b": "new"}) == "<!-- a -->\nold\n<!-- end -->"


def test_several_numbers_of_shots_are_columns():
    def row(method, shots, accuracies, **more):
        mean = sum(accuracies) / len(accuracies)
        draws = [{"acc1": one} for one in accuracies]
        return {"method": method, "shots": shots, "draws": draws, "metrics": {"acc1": mean}, "sweep": {}, **more}

    words = {"method": "zero_shot", "metrics": {"acc1": 0.5}, "sweep": {}}
    rows = [words, row("gda", 1, [0.4, 0.6]), row("gda", 16, [0.75, 0.85])]
    rows += [row("gda", 1, [0.1, 0.3], control="shuffled labels"), row("prototype", 16, [0.7], control="the means")]
    assert table({"results": rows}).splitlines() == [
        "| method | 1 shot | 16 shots |",
        "|---|---:|---:|",
        "| zero_shot | 50.0% | 50.0% |",
        "| gda | 50.0% (40.0% to 60.0%) | 80.0% (75.0% to 85.0%) |",
        "| gda, shuffled labels | 20.0% (10.0% to 30.0%) |  |",
        "| prototype |  | 70.0% (70.0% to 70.0%) |",
    ]
