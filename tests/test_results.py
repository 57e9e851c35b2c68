"""The tables of README and pages are those of the JSON files in docs/results, which `clipx eval all` writes."""

import csv
import io
import json
import re
import runpy
import tomllib
from pathlib import Path

import pytest

from clipx import load_space
from clipx.cli._tables import MARK, table, with_tables
from clipx.cli.evaluate_all import _page
from clipx.modalities.video.heads import HEADS
from clipx.spaces.embedded import SPACES

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
RECORDS = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
SUITE = tomllib.loads((SPACES / "nano" / "results.toml").read_text())["table"]
JUDGED = tomllib.loads((ROOT / "examples" / "recipes" / "lite-b" / "results.toml").read_text())["table"]
OF_LITE = {"drawings"} | {plan["name"] for plan in JUDGED}  # what the pages show by lite
SUITE += JUDGED
SUITE += [p for p in tomllib.loads((SPACES / "lite" / "results.toml").read_text())["table"] if p["name"] in OF_LITE]
PAGES = [ROOT / "docs" / "results.md", ROOT / "docs" / "modalities" / "depth.md"]
PAGES += [ROOT / "modalities" / "depth" / "fits" / "nano" / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pages_hold_the_tables_of_the_records(page):
    text = page.read_text()
    names = [match[1] for match in MARK.finditer(text)]
    assert names and set(names) <= set(RECORDS), "a table without a record"
    assert with_tables(text, {name: table(record) for name, record in RECORDS.items()}) == text


def test_the_summary_is_that_of_the_records():
    assert (RESULTS / "tables.md").read_text() == _page(RECORDS, {n: table(record) for n, record in RECORDS.items()})


def test_every_table_of_the_suite_was_measured_by_its_commands():
    for plan in SUITE:
        record = RECORDS[plan["name"]]
        commands = [[*plan.get("before", ()), run["command"]] for run in plan["run"]]
        assert [run["commands"] for run in record["runs"]] == commands, plan["name"]
        assert {key: record.get(key) for key in ("title", "columns", "rows")} == {
            key: plan.get(key) for key in ("title", "columns", "rows")
        }, plan["name"]


@pytest.mark.parametrize("name", RECORDS)
def test_every_record_says_which_data_and_which_space(name):
    for run in RECORDS[name].get("runs", [RECORDS[name]]):
        assert len(run["data_sha256"]) == 64 and run["results"]
        space = load_space("lite" if name in OF_LITE else "nano")
        assert run["space_id"] == space.id, "measure again: the space has changed"


@pytest.mark.parametrize("name", [plan["name"] for plan in SUITE])
def test_every_split_is_listed_by_name_and_hash(name):
    for run in RECORDS[name]["runs"]:
        rows = list(csv.DictReader(io.StringIO((RESULTS / run["split"]).read_text())))
        assert {row["use"] for row in rows} >= {"test"}
        assert all(re.fullmatch(r"[0-9a-f]{64}", row["sha256"]) and row["name"] for row in rows)
        tested = {row["name"] for row in rows if row["use"] == "test" and not row["name"].endswith(" depth")}
        assert len(tested) == run.get("n", run["results"][0].get("n"))
    listed = {run["split"] for plan in SUITE for run in RECORDS[plan["name"]]["runs"]}
    assert listed == {f"splits/{path.name}" for path in (RESULTS / "splits").iterdir()}  # and none that nothing needs


def test_the_figures_of_the_card_are_those_of_the_records():
    """nano's card adds rows that need runs of its own; what both have is the same."""
    card = json.loads((SPACES / "nano" / "figures.json").read_text())["rows"]
    for run in RECORDS["words-alone"]["runs"]:
        for row in card:
            if row["name"] == run["run"] and row["space_id"] == run["space_id"] and "note" not in row:
                assert row["metrics"] == pytest.approx(run["results"][0]["metrics"]), row["name"]
                assert row["data_sha256"] == run["data_sha256"]
                break
        else:
            assert run["run"].startswith("ESC-10"), run["run"]  # whose tower has a card of its own


def share(figures, name="acc1"):
    """A figure of a row with its interval, as the README writes it."""
    low, high = figures["ci95"][name]
    return f"{figures['metrics'][name]:.1%} ({low:.1%} to {high:.1%})"


def summary():
    """The table of nano in docs/results.md: what is in each cell comes from the records, or from the cards' figures."""
    card = json.loads((SPACES / "nano" / "figures.json").read_text())
    sounds = json.loads((ROOT / "modalities" / "audio" / "towers" / "nano" / "figures.json").read_text())
    named = {run["run"]: run["results"][0] for run in RECORDS["words-alone"]["runs"]}
    counts = {run["run"]: (run["n"], run["labels"]) for run in RECORDS["words-alone"]["runs"]}
    untrained = {row["name"]: row["metrics"]["acc1"] for row in card["rows"] if row.get("note") == "untrained tower"}
    (unseen,) = (row for row in card["rows"] if row["regime"].startswith("unseen"))
    shots = {
        row["method"]: row
        for row in RECORDS["modelnet10"]["runs"][0]["results"]
        if row["sweep"] == {"projection": "pointclip_v1"}
    }
    draws = [draw["acc1"] for draw in shots["adapter"]["draws"]]
    fits = {name: {row["row"]: row["figures"]["abs_rel"] for row in RECORDS[name]["runs"][0]["results"]} for name in
            ("depth", "depth-made-rooms")}  # fmt: skip
    best, map_ = "linear head on the mean map", "mean map of log depth"

    def near(row):
        return f"AbsRel {row['mean']:.3f} ({row['low']:.3f} to {row['high']:.3f})"

    yield "| what | n | figure (95 %) | beside it | table |"
    yield "|---|---:|---|---|---|"
    beside = {name: f"untrained tower {value:.1%}" for name, value in untrained.items()}
    beside["Caltech-101 photos"] += f", plain classifier of the same photos {card['plain']['acc1']:.1%}"
    folds = sounds["cross_validation"]
    low_, high_ = folds["ci95"]
    beside["ESC-10 sounds, fold 4"] = f"four folds {folds['acc1']:.1%} ({low_:.1%} to {high_:.1%}), chance 10%"
    for name, row in named.items():
        n, labels = counts[name]
        known = beside.get(name, "chance " + f"{1 / labels:.0%}")
        yield f"| {name}, {labels} classes | {n} | top-1 {share(row)} | {known} | `words-alone` |"
    yield (
        f"| ModelNet10 clouds, 16 shots a class | 454 | top-1 {shots['adapter']['metrics']['acc1']:.1%} "
        f"(five draws: {min(draws):.1%} to {max(draws):.1%}) | "
        f"without training: cache {shots['cache']['metrics']['acc1']:.1%} | `modelnet10` |"
    )
    yield (
        f"| ModelNet10 clouds, classes that training never saw | {unseen['n']} | top-1 {share(unseen)} | chance 10% | "
        "[card](../clipx/spaces/nano/README.md) |"
    )
    for name, what in (("depth", "fitted on 80 of its training photos"), ("depth-made-rooms", "fitted on made rooms")):
        yield (
            f"| depth, NYU Depth v2, a ridge {what} | 218 | {near(fits[name][best])}, less is better | "
            f"words {fits[name]['words, fitted']['mean']:.3f}, mean map {fits[name][map_]['mean']:.3f} | `{name}` |"
        )


def summary_of_lite():
    """The README's table of lite: its card's figures."""
    yield "| what | names | n | top-1 (95 %) | top-5 | regime |"
    yield "|---|---:|---:|---|---:|---|"
    for row in json.loads((SPACES / "lite" / "figures.json").read_text())["rows"]:
        top5 = f"{row['metrics']['acc5']:.1%}"
        regime = "; ".join([row["regime"], *([row["note"]] if "note" in row else [])])
        yield f"| {row['name']} | {row['labels']} | {row['n']} | {share(row)} | {top5} | {regime} |"


def test_the_readme_s_table_of_lite_is_that_of_its_card():
    assert "\n".join(["", *summary_of_lite(), ""]) in (ROOT / "README.md").read_text()


def test_how_often_a_word_without_pictures_is_right():
    rows = {row["name"]: row for row in json.loads((SPACES / "lite" / "figures.json").read_text())["rows"]}
    left_out = rows["Caltech-101 photos of 41 classes left out"]
    assert left_out["labels"] == 100 and 0.25 <= left_out["metrics"]["acc1"] < 0.35
    for page in ("README.md", "docs/spaces.md", "clipx/spaces/lite/README.md"):
        assert "right about three times in ten among a hundred" in " ".join((ROOT / page).read_text().split())


def test_what_the_readme_says_of_the_sounds_of_lite():
    figures = json.loads((ROOT / "modalities" / "audio" / "towers" / "lite" / "figures.json").read_text())
    folds, without = figures["cross_validation"]["acc1"], figures["without"]["acc1"]
    said = f"each fold held out: {folds:.1%}; each class left out and ranked among the ten: {without:.1%}"
    assert said in " ".join((ROOT / "README.md").read_text().split())


def test_the_table_of_nano_is_that_of_the_records():
    assert "\n".join(["", *summary(), ""]) in (ROOT / "docs/results.md").read_text()


def test_what_the_pages_say_of_drawings_in_words():
    page, readme = (" ".join((ROOT / name).read_text().split()) for name in ("docs/modalities/sketch.md", "README.md"))
    (by_nano,), (by_lite_b,) = RECORDS["drawings"]["runs"], RECORDS["drawings-lite-b"]["runs"]
    assert by_nano["n"] == by_lite_b["n"] == 100 and by_nano["judge"] == "nano-vit" and by_lite_b["judge"] == "lite-b"
    said, p = [], []
    for run in (by_nano, by_lite_b):
        of = {(row["picture"], row["strokes"]): f"{row['acc1']:.1%}" for row in run["figures"]}
        tests = {(test["first"], test["second"]): test["p"] for test in run["tests"]}
        four, eight, sixteen, most = (of["drawing", count] for count in (4, 8, 16, 32))
        said.append(f"{four}, {eight}, {sixteen} and {most}, and {of['photo', None]}")
        p.append({key: f"{value:.2f}".lstrip("0") for key, value in tests.items()} | {"edges": of["edge map", 32]})
        assert tests["drawing, 8", "drawing, 4"] < 0.05
    assert f"`nano-vit` {said[0]} of the photos; `lite-b`" in page
    assert f"another pretrained tower, {said[1]}." in page
    of = {(row["picture"], row["strokes"]): f"{row['acc1']:.1%}" for row in by_nano["figures"]}
    assert f"names {of['drawing', 32]}, and {of['photo', None]} of the photos" in readme
    more, edges = ("drawing, 32", "drawing, 16"), ("drawing, 32", "edge map, 32")
    sixteen = ("drawing, 16", "drawing, 8")
    assert float(p[0][sixteen]) >= 0.05 > float(p[1][sixteen])
    assert f"16 more than 8 for `lite-b` alone (p = {p[0][sixteen]} and {p[1][sixteen]})" in page
    assert min(float(p[0][more]), float(p[1][more])) >= 0.05
    assert f"32 no more than 16 (p = {p[0][more]} and {p[1][more]})" in page
    assert float(p[0][edges]) < 0.05 <= float(p[1][edges])
    assert f"{p[0]['edges']} and {p[1]['edges']} (p = {p[0][edges]} and {p[1][edges]})" in page
    found = [row for run in (by_nano, by_lite_b) for row in run["figures"] if row["picture"] == "drawing"]
    assert [row["photo_recall@1"] for row in found if row["strokes"] == 32] == [0.05, 0.05]
    (every,) = RECORDS["drawings-of-all-classes"]["runs"]
    of_all = {row["picture"]: f"{row['acc1']:.1%}" for row in every["figures"]}
    (test,) = (test for test in every["tests"] if test["second"] == "edge map, 32")
    said = f"class, {every['n']} in all, `lite-b` names {of_all['drawing']} among a hundred, and {of_all['edge map']}"
    assert f"{said} of the edge maps (p = {test['p']:.2f})".replace("= 0.", "= .") in page
    (fine,) = RECORDS["drawings-of-imagenet"]["runs"]
    of = {row["picture"]: row for row in fine["figures"]}
    named = {picture: f"{row['acc1']:.1%}" for picture, row in of.items()}
    (test,) = (test for test in fine["tests"] if test["second"] == "initial strokes, 32")
    said = f"`lite-b` names {named['drawing']} of the drawings among {fine['all_labels']} labels, "
    said += f"{of['drawing']['acc5']:.1%} among its first five, and {named['photo']} of the photos"
    said += f": more than of the initial strokes ({named['initial strokes']}, p = {test['p']:.2f}), ".replace(
        "= 0", "= "
    )
    said += f"as many as of the edge maps ({named['edge map']}); it finds the own photo first among the {fine['n']} "
    assert f"{said}for {of['drawing']['photo_recall@1']:.1%}" in page


def test_what_the_pages_say_of_drawings_beside_clipassos():
    said = []
    for run in RECORDS["drawings-against-clipasso"]["runs"]:
        assert (run["n"], run["against"]["preset"], run["against"]["settings"]["steps"]) == (20, "clipasso", 300)
        of = {row["picture"]: row["acc1"] for row in run["figures"]}
        (test,) = (test for test in run["tests"] if test["second"] == "clipasso, 16")
        assert of["drawing"] > of["clipasso"] and test["p"] > 0.05
        said.append([f"{of['drawing']:.1%}", f"{of['clipasso']:.1%}", f"(p = {test['p']:.2f})".replace("0.", ".")])
    page = " ".join((ROOT / "docs/modalities/sketch.md").read_text().split())
    (own, other, p), (own_b, other_b, p_b) = said
    assert f"`nano-vit` names {own} of the default's drawings and {other} of the preset's {p}" in page
    assert f"`lite-b` {own_b} and {other_b} {p_b}: more by both, which is within chance for 20 photos" in page


def test_the_ablation_of_drawings_is_that_of_its_record():
    script = runpy.run_path(str(ROOT / "examples/recipes/sketch/ablation.py"))
    record = json.loads((RESULTS / "benchmarks" / "ablation-of-drawings.json").read_text())
    page = (ROOT / "docs/modalities/sketch.md").read_text()
    assert script["table"](record) + "\n" in page
    assert (record["n"], record["space"]) == (40, load_space("lite").id)
    assert {row["setting"] for row in record["rows"]} == {*script["SETTINGS"], "start, before any step"}
    default = {row["judge"]: row["log_probability"] for row in record["rows"] if row["setting"] == "default"}
    beyond_chance = [row for row in record["rows"] if row.get("p", 1) < 0.05]
    assert beyond_chance and all(row["log_probability"] < default[row["judge"]] for row in beyond_chance)
    assert "no other setting is better beyond chance" in " ".join(page.split())


def test_what_the_pages_say_of_drawn_words():
    record = json.loads((ROOT / "docs" / "results" / "benchmarks" / "drawn-words.json").read_text())
    found = record["judges"]["nano-vit"]["end"]
    first, five = (sum(rank <= most for rank in found) for most in (1, 5))
    assert len(found) == 50 and record["classes"] == 344
    said = f"`nano-vit` names {first} first among {record['classes']}, and {five} among its first five"
    assert said in " ".join((ROOT / "docs/modalities/sketch.md").read_text().split())


def test_the_figures_asked_for_on_modelnet10():
    """Of nano, version 2, with the default projection and prompts; see docs/results.md for how they were chosen."""
    found = {
        row["method"]: row
        for row in RECORDS["modelnet10"]["runs"][0]["results"]
        if row["sweep"] == {"projection": "pointclip_v1"}
    }
    assert found["zero_shot"]["metrics"]["acc1"] >= 0.76 and found["zero_shot"]["prompts"] == "pointclip"
    assert found["adapter"]["metrics"]["acc1"] >= 0.85 and found["cache"]["metrics"]["acc1"] >= 0.80
    assert all(len(found[method]["draws"]) == 5 and found[method]["shots"] == 16 for method in ("adapter", "cache"))


def test_the_figures_asked_for_of_depth():
    """By nano, fitted on 80 training photos: what was aimed at, beside what never looks at the photo."""
    rows = {row["row"]: row["figures"] for row in RECORDS["depth"]["runs"][0]["results"]}
    words, best = rows["words, fitted"], rows["linear head on the mean map"]
    mean_map, constant = rows["mean map of log depth"], rows["constant"]
    for fit in (words, best, rows["linear head"]):
        assert fit["abs_rel"]["mean"] < mean_map["abs_rel"]["mean"] and fit["rmse"]["mean"] < mean_map["rmse"]["mean"]
    assert best["abs_rel"]["mean"] <= 0.311 and best["rmse"]["mean"] <= 0.97
    assert words["abs_rel"]["mean"] < constant["abs_rel"]["mean"] and words["silog"]["mean"] < mean_map["silog"]["mean"]
    assert words["spearman"]["mean"] > mean_map["spearman"]["mean"]


def test_what_the_pages_say_of_depth_in_words():
    """Differences to the mean map photo by photo, and what shuffled words and a random tower leave."""
    paired = {row["row"]: row["paired"] for row in RECORDS["depth"]["runs"][0]["results"]}
    words, best = paired["words, fitted"], paired["linear head on the mean map"]
    page = " ".join((ROOT / "docs/modalities/depth.md").read_text().split())

    def said(figure, digits=3):
        return f"{abs(figure):.{digits}f}".lstrip("0")

    low, high = sorted((said(words["abs_rel"]["low"]), said(words["abs_rel"]["high"])))
    assert f"gain {said(words['abs_rel']['mean'])} in AbsRel (95 %: {low} to {high})" in page
    assert f"and {abs(words['silog']['mean']):.1f} in silog" in page
    assert words["spearman"]["low"] < 0 and f"gain in Spearman ({said(words['spearman']['mean'])}) is within" in page
    assert f"gains {said(best['abs_rel']['mean'])}, and {said(best['spearman']['mean'])} in Spearman" in page
    assert best["abs_rel"]["high"] < 0 < best["spearman"]["low"]
    rows = {row["row"]: row["figures"] for row in RECORDS["depth-controls"]["runs"][0]["results"]}
    shuffled, random = (rows[f"control: {what}, words, fitted"] for what in ("shuffled words", "random tower"))
    assert abs(shuffled["abs_rel"]["mean"] - rows["words, fitted"]["abs_rel"]["mean"]) < 0.003
    assert abs(random["abs_rel"]["mean"] - rows["mean map of log depth"]["abs_rel"]["mean"]) < 0.005


@pytest.mark.slow
def test_the_default_still_measures_so(run_json, shared, monkeypatch):
    """The one row that is quick to make again, from the data where they are at hand."""
    (record,) = RECORDS["modelnet10"]["runs"]
    monkeypatch.setenv("CLIPX_SPACE", "nano")
    (row,) = run_json(f"eval pointcloud {shared / 'data' / 'pointcloud' / 'modelnet10_test.npz'}")["results"]
    assert row["metrics"]["acc1"] == pytest.approx(record["results"][0]["metrics"]["acc1"], abs=0.005)
    assert row["config"].items() >= record["results"][0]["config"].items()


def test_a_record_without_shots_and_one_with_become_one_table():
    row = {"sweep": {"tta": 1}, "prompts": "photo", "metrics": {"acc1": 0.5}, "ci95": {"acc1": [0.4, 0.6]}}
    learnt = {**row, "method": "cache", "shots": 2, "draws": [{"acc1": 0.25}, {"acc1": 0.75}]}
    assert table({"results": [{**row, "method": "zero_shot"}, learnt]}).splitlines() == [
        "| tta | zero_shot | cache, 2 shots |",
        "|---:|---:|---:|",
        "| 1 | 50.0% (40.0% to 60.0%) | 50.0% (25.0% to 75.0%) |",
    ]
    other = {**row, "method": "zero_shot", "sweep": {"tta": 2}, "prompts": "plain"}
    assert table({"results": [{**row, "method": "zero_shot"}, other]}).splitlines()[::3] == [
        "| tta | prompts | zero_shot |",
        "| 2 | plain | 50.0% (40.0% to 60.0%) |",
    ]


def test_how_well_sounds_find_pictures_in_lite():
    """`python examples/recipes/audio/retrieval.py --space lite --json` wrote the record."""
    rows = json.loads((RESULTS / "benchmarks" / "audio-to-image.json").read_text())["rows"]
    own, pivot = (f"{rows[name]['mAP']:.2f}".lstrip("0") for name in ("sound", "pivot"))
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert f"find pictures poorly: mAP {own} by their own vectors, {pivot} by the word that names them" in readme


def test_the_mixed_search_of_the_docs():
    """`python tests/benchmarks/bench_index.py mixed DATA --json` wrote the record."""
    record = json.loads((RESULTS / "benchmarks" / "mixed-search.json").read_text())
    page = " ".join((ROOT / "docs/search.md").read_text().replace("**", "").split())
    for kind in ("text", "image", "all queries"):
        row = [record["mAP"][way][kind] for way in ("raw cosine", "centring", "clipx")]
        assert "| " + " | ".join(f"{value:.3f}".lstrip("0") for value in row) + " |" in page, kind
        assert row[2] > max(row[:2])
    assert record["mAP"]["clipx"]["all queries"] >= 1.5 * record["mAP"]["raw cosine"]["all queries"]
    sure = {state: f"{share:.0%}".replace("%", " %") for state, share in record["confident at 0.5"].items()}
    assert f"it keeps {sure['text']} of words that are there and {sure['no text']} of words whose files" in page
    assert f"(photos: {sure['image']} and {sure['no image']})" in page


def test_the_calibration_of_the_docs():
    """`python tests/benchmarks/bench_index.py calibration DATA --json` wrote the record."""
    record = json.loads((RESULTS / "benchmarks" / "calibration.json").read_text())
    page = (ROOT / "docs" / "search.md").read_text()
    tables = {name: found for name, found in record.items() if isinstance(found, dict)}
    assert {int(name.split()[0]) for name in tables} == {1_000, 100_000, 1_000_000}
    for name, found in tables.items():
        count, ranking = name.split(" rows, ")
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {int(count):,}, {ranking} |")]
        for what, value in found.items():
            assert (value if isinstance(value, str) else f"{value:.0%}".replace("%", " %")) in row or "present" in what
        # a confidence promises that no more than its complement of absent words reach it, and most that do are right
        assert found["absent with 0.9 or more"] <= 0.2 and found["absent with 0.5 or more"] <= 0.5, name


def test_the_rates_of_detections_are_those_of_their_records():
    page = (ROOT / "docs" / "modalities" / "detect.md").read_text(encoding="utf-8").splitlines()
    for half, photos, file in (("odd", 1, "half"), ("even", 0, "even")):
        for setting, presence, name in (("the default", 0.85, ""), ("score .35, any presence", 0, "-without-presence")):
            record = json.loads((ROOT / "docs" / "results" / "detect" / f"{file}-absent{name}.json").read_text())
            (one,) = record["results"]
            assert record["where"] == [f"half={photos}"] and one["settings"]["presence"] == presence
            (row,) = [line for line in page if line.startswith(f"| {half} rows: {setting}")]
            cells = [cell.split(" of ") for cell in row.strip("| ").split(" | ")[1:4]]
            for kind, (share, *n) in zip(("present", "large", "absent"), cells, strict=True):
                assert share == f"{one[kind]['found'] * 100:.0f} %" and n in ([], [str(one[kind]["n"])])
            shares = " / ".join(f"{one['boxes'][key] * 100:.0f} %" for key in ("right50", "right30"))
            assert row.strip("| ").endswith(shares)


def test_what_the_page_says_of_agents():
    """`python tests/benchmarks/bench_mcp.py --json` wrote the record."""
    page = (ROOT / "docs" / "agents.md").read_text()
    found = json.loads((RESULTS / "benchmarks" / "mcp.json").read_text())["seconds"]
    seconds = {name: row["median"] for name, row in found.items()}
    assert seconds["start"] < 2 and f"`initialize` after {seconds['start']:.2f} s" in page
    assert f"by words {seconds['first search']:.2f} s" in page
    assert f"each further one {1000 * seconds['search']:.0f} ms" in page
    assert f"by a file of the index {1000 * seconds['search by a file']:.0f} ms" in page


def test_what_the_page_says_of_cocoop():
    """`python tests/benchmarks/bench_cocoop.py --json --threads 1` wrote the record."""
    page = (ROOT / "docs" / "prompt-learning.md").read_text()
    found = json.loads((RESULTS / "benchmarks" / "cocoop.json").read_text())
    ratio = found["ratio"]
    assert ratio["median"] > 10 and f"{ratio['median']:.1f} times as fast" in page
    assert f"{ratio['low']:.1f} to {ratio['high']:.1f}" in page
    assert f"{found['our_tokens']} tokens instead of {found['released_tokens']:,}" in page


def test_what_the_page_says_of_exported_spaces():
    """`python tests/benchmarks/bench_backends.py --json` wrote one record, `clipx eval` the figures of the other."""
    page = (ROOT / "docs" / "export.md").read_text()
    record = json.loads((RESULTS / "benchmarks" / "int8.json").read_text())
    for name, found in record["top-1"].items():
        assert f"| {name} | {found['n']} | {found['float32']:.1%} | {found['int8']:.1%} |" in page, name
        assert found["int8"] > found["float32"] - 0.015
    (lite,) = json.loads((RESULTS / "benchmarks" / "backends.json").read_text())["results"]
    ways = ("torch", "onnx", "onnx_int8")
    for threads, count in ((1, "one thread"), (2, "two threads")):
        for batch, said in ((32, "batches of 32"), (1, "one by one")):
            shape = ("pictures", threads, batch)
            (row,) = [row for row in lite["rates"] if (row["what"], row["threads"], row["batch"]) == shape]
            rates = " | ".join(f"{row[f'{way}_per_s']['median']:.0f}" for way in ways)
            assert f"| photos a second, {count}, {said} | {rates} |" in page
    seconds = " | ".join(f"{lite['process_s'][way]['median']:.1f} s" for way in ways)
    assert f"| a whole process that names one photo | {seconds} |" in page
    sizes = [f"{lite['exports'][kind]['bytes'] / 1e6:.1f} MB" for kind in ("float32", "int8")]
    assert "({}; {} in 8 bits)".format(*sizes) in page


FEW = {path.stem: json.loads(path.read_text()) for path in sorted((RESULTS / "few-shot").glob("*.json"))}
FEW_SUITE = tomllib.loads((ROOT / "examples" / "recipes" / "few-shot" / "results.toml").read_text())["table"]


def test_the_few_shot_tables_are_those_of_their_records():
    text = (ROOT / "docs" / "few-shot.md").read_text()
    assert {match[1] for match in MARK.finditer(text)} == set(FEW) == {plan["name"] for plan in FEW_SUITE}
    assert with_tables(text, {name: table(record) for name, record in FEW.items()}) == text
    assert (RESULTS / "few-shot" / "tables.md").read_text() == _page(FEW, {n: table(r) for n, r in FEW.items()})
    for plan in FEW_SUITE:
        (run,) = FEW[plan["name"]]["runs"]
        assert run["commands"] == [plan["run"][0]["command"]] and run["space_id"] == load_space("lite").id
        assert all(draw["settings"]["selection"] for row in run["results"] for draw in row.get("draws", ()))


FILMS = {path.stem: json.loads(path.read_text()) for path in sorted((RESULTS / "video").glob("*.json"))}
FILM_SUITE = tomllib.loads((ROOT / "examples" / "recipes" / "video" / "results.toml").read_text())["table"]


def test_the_tables_of_films_are_those_of_their_records():
    text = (ROOT / "docs" / "modalities" / "video.md").read_text()
    names = {plan["name"] for plan in FILM_SUITE} | {"order"}
    assert {match[1] for match in MARK.finditer(text)} == set(FILMS) == names
    assert with_tables(text, {name: table(record) for name, record in FILMS.items()}) == text
    assert (RESULTS / "video" / "tables.md").read_text() == _page(FILMS, {n: table(r) for n, r in FILMS.items()})
    for plan in FILM_SUITE:
        runs = FILMS[plan["name"]]["runs"]
        assert [run["commands"] for run in runs] == [[run["command"]] for run in plan["run"]]
    assert all(run["space_id"] == load_space("lite").id for record in FILMS.values() for run in record["runs"])


def test_the_mean_knows_no_order_and_a_trained_head_does():
    """`python examples/ordered_events.py --json` wrote the record."""
    (run,) = FILMS["order"]["runs"]
    pairs = {row["head"]: row["pairs"] for row in run["results"]}
    assert pairs["mean"] == pairs["chance"] == 0.5 and max(pairs.values()) >= 0.9
    assert set(pairs) == {*HEADS, "chance"}
    sentences = {(run["run"], row["way"]): row["R@1"] for run in FILMS["captions"]["runs"] for row in run["results"]}
    assert min(sentences.values()) >= 0.5


def test_no_record_names_a_folder_of_the_machine_that_made_it():
    named = re.compile(r'"(/|[A-Z]:\\\\)[^"/]+[/\\]')  # a string that is an absolute path
    records = [*RESULTS.rglob("*.json"), *SPACES.rglob("*.json")]
    assert len(records) > 30
    assert {path.name: found[0] for path in records if (found := named.search(path.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    ("record", "page"),
    [
        ("bind/sounds.json", "docs/bind.md"),
        ("bind/clouds.json", "docs/bind.md"),
        ("pointcloud/tower.json", "docs/modalities/pointcloud.md"),
        ("distil/caltech101.json", "docs/distil.md"),
    ],
)
def test_what_maps_towers_and_students_reach_is_that_of_their_records(record, page):
    found, text = json.loads((RESULTS / record).read_text()), (ROOT / page).read_text()
    assert load_space("lite").id in (found.get("teacher"), found.get("space_id"))
    for row in found["results"]:
        low, high = row["ci95"]
        assert f"{row['acc1']:.1%} ({low:.1%} to {high:.1%})" in text, record
        assert f"{row['n']:,}" in text
        for name in ("clouds_per_s", "pictures_per_s", "parameters"):
            assert name not in row or f"{row[name]:,.0f}" in text, (record, name)
