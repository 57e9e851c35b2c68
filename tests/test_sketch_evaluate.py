"""clipx eval sketch: the controls, ranks and figures by hand; the command draws, judges, goes on and refuses."""

import json
import math
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from conftest import PREPROCESS, RESNET, VIT
from PIL import Image

import clipx.cli
from clipx.cli import main
from clipx.errors import InputError
from clipx.modalities.sketch import evaluate as measured
from clipx.modalities.sketch import task as drawing
from clipx.modalities.sketch.evaluate import Judgements
from clipx.modalities.sketch.film import pixels
from clipx.modalities.sketch.initial import SPREAD
from clipx.modalities.sketch.photos import PhotoDrawings
from clipx.modalities.sketch.svg import Strokes, read_svg
from clipx.modalities.sketch.target import prepare

WORDS = ["a", "of", "photo", "sketch", "drawing", "disc", "night", "bar", "cup"]


def disc(width=96, height=64, dark=40):
    y, x = np.mgrid[:height, :width]
    picture = np.full((height, width, 3), 230, np.uint8)
    picture[(x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 3) ** 2] = (dark, 60, 90)
    return Image.fromarray(picture)


def bar(width=60, height=80, dark=40):
    picture = np.full((height, width, 3), 220, np.uint8)
    picture[height // 4 : 3 * height // 4, width // 3 : width // 2] = (dark, 90, 50)
    return Image.fromarray(picture)


# Pictures -------------------------------------------------------------------------------------------------------------


def test_a_drawing_is_seen_without_the_canvas_around_it():
    target = prepare(disc())
    assert measured.photo_picture(target).shape == (3, 149, 224)
    points = np.float32([[[100, 40], [110, 40], [120, 40], [130, 40]]])  # 3 px below the box's upper edge
    black = np.zeros((1, 3), np.float32)
    strokes = Strokes(points, np.float32([2]), np.float32([1]), black, (0, 37, 224, 149))
    picture = pixels(strokes)
    assert picture.shape == (3, 149, 224) and (picture[:, 2:4, 105:125] < 0.01).all() and (picture[:, 8:] == 1).all()
    assert measured.ink(picture) == pytest.approx(2 * 30 + math.pi, abs=0.1)  # a bar with round caps


def test_an_edge_map_has_the_strongest_edges_and_the_ink_asked_for():
    photo = np.full((3, 20, 30), 0.9, np.float32)
    photo[:, :, 10:] = 0.1  # the strong edge: columns 9 and 10
    photo[:, 5:, 20:] = 0.2  # a weak one
    for amount in (7.0, 31.4, 40.0):
        edges = measured.edge_map(photo, amount)
        assert edges.shape == photo.shape and measured.ink(edges) == pytest.approx(amount, abs=1e-5)
        assert (edges[:, :, :9] == 1).all() and (edges[:, :, 11:] == 1).all()
        assert ((edges > 0) & (edges < 1)).sum() == (3 if amount % 1 else 0)  # one grey pixel, in three channels
    assert (measured.edge_map(photo, 40.0)[0, :, 9:11] == 0).all()
    assert measured.ink(measured.edge_map(np.full((3, 20, 30), 0.5, np.float32), 9.0)) == 0  # no edges, no ink
    assert (measured.edge_map(photo, 600.0)[:, :, :4] == 1).all()  # nor where the photo is flat


def test_random_strokes_fill_the_box_evenly():
    none = np.zeros((400, 4, 2), np.float32)
    like = Strokes(none, none[:, 0, 0] + 2.5, none[:, 0, 0] + 1, none[:, :3, 0], (0, 40, 224, 100))
    strokes = measured.random_strokes(like, 3)
    starts = strokes.points[:, 0]
    assert strokes.box == like.box and (strokes.width_px == 2.5).all()
    assert (starts[:, 1] >= 40).all() and (starts[:, 1] < 140).all()
    np.testing.assert_allclose(starts.mean(0), [112, 90], atol=8, rtol=0)
    np.testing.assert_allclose(strokes.points, measured.random_strokes(like, 3).points, rtol=1.3e-6, atol=1e-5)
    assert not np.array_equal(strokes.points, measured.random_strokes(like, 4).points)
    assert 0 < np.abs(strokes.points - starts[:, None]).max() <= 3 * 0.5 * SPREAD * 224  # short, as the initial ones


# Figures --------------------------------------------------------------------------------------------------------------


def test_ranks_by_hand():
    scores = np.array([[0.1, 0.9, 0.5], [0.5, 0.5, 0.5], [0.3, 0.2, 0.3]])
    assert measured.ranks(scores, [2, 1, 2]).tolist() == [2, 2, 2]
    assert measured.ranks(scores, [1, 0, 0]).tolist() == [1, 1, 1]
    assert measured.ranks(scores, [0, 2, 1]).tolist() == [3, 3, 3]


def test_what_the_judge_saw():
    logits = np.array([[2.0, 2.0, 0.0], [0.0, 1.0, 3.0]])
    seen = measured.judge(logits, [0, 1], np.array([[0.2, 0.4], [0.1, 0.3]]))
    assert (seen.best.tolist(), seen.label_ranks.tolist(), seen.photo_ranks.tolist()) == ([0, 2], [1, 2], [2, 1])
    assert seen.right.tolist() == [True, False] and seen.all_ranks.tolist() == [1, 2]
    more = np.array([[2.0, 2.0, 0.0, 3.0], [0.0, 1.0, 3.0, 0.5]])  # among more labels, in another order
    wide = measured.judge(logits, [0, 1], np.eye(2), (more, [0, 2]))
    assert wide.label_ranks.tolist() == [1, 2] and wide.all_ranks.tolist() == [2, 1]


def seen_of(label_ranks, photo_ranks=None):
    label_ranks = np.array(label_ranks)
    photo_ranks = label_ranks if photo_ranks is None else np.array(photo_ranks)
    return Judgements(label_ranks * 0, label_ranks, photo_ranks, label_ranks)


def test_figures_by_hand():
    found = measured.figures(seen_of([1, 1, 2, 7], [1, 4, 6, 3]), labels=10)
    assert (found["n"], found["acc1"], found["acc5"]) == (4, 0.5, 0.75)
    assert (found["photo_recall@1"], found["photo_median_rank"]) == (0.25, 3.5)
    low, high = found["ci95"]["photo_median_rank"]
    assert 1 <= low < 3.5 < high <= 6 and found["ci95"]["acc1"] == (0.0, 1.0)
    few = measured.figures(seen_of([1, 2]), labels=4)
    assert math.isnan(few["acc5"]) and "acc5" not in few["ci95"]


def test_the_ratio_keeps_a_drawing_beside_its_photo():
    photos, drawings = seen_of([1] * 30 + [2] * 10), seen_of([1] * 15 + [2] * 25)
    found = measured.ratio(drawings, photos)
    assert found["value"] == 0.5
    # given the photos drawn, the ratio is a mean over those that are recognised: 30 of them, half right
    assert found["ci95"] == pytest.approx((0.5 - 1.96 * 0.0913, 0.5 + 1.96 * 0.0913), abs=0.03)
    same = measured.ratio(photos, photos)
    assert same["value"] == 1 and same["ci95"] == (1, 1)
    assert math.isnan(measured.ratio(drawings, seen_of([2] * 40))["value"])


def test_the_interval_of_a_mean_is_the_other_bootstraps():
    from clipx.metrics import bootstrap_ci95

    values = np.random.default_rng(0).random(50)
    assert measured.interval(values, lambda drawn: drawn.mean(axis=1)) == pytest.approx(
        bootstrap_ci95(values), abs=0.005
    )


def test_the_spread_over_seeds():
    found = measured.spread({0: seen_of([1, 1, 2, 2]), 1000: seen_of([1, 2, 2, 2])})
    assert found["acc1"] == {0: 0.5, 1000: 0.25} and (found["min"], found["max"]) == (0.25, 0.5)
    assert found["std"] == pytest.approx(0.25 / math.sqrt(2))
    assert measured.spread({0: seen_of([1])})["std"] is None


def test_the_contact_sheet_shows_every_picture():
    dark, light = np.zeros((3, 40, 80)), np.full((3, 80, 40), 0.5)
    long = "a word of many letters that no column has room for"
    sheet = measured.contact_sheet(("photo", "8 strokes"), [("disc", [(dark, "disc", True), (light, long, False)])] * 3)
    pixels = np.asarray(sheet).astype(int)
    assert sheet.width == 3 * 8 + 2 * 176 and sheet.height > 3 * 176
    assert abs((pixels.sum(axis=2) == 0).sum() - 3 * 176 * 88) < 200  # three dark pictures, twice as wide as high
    assert (np.abs(pixels - 128).sum(axis=2) == 0).sum() == pytest.approx(3 * 176 * 88, abs=200)
    green = (pixels[..., 1] > pixels[..., 0] + 60).any(axis=0)
    red = (pixels[..., 0] > pixels[..., 1] + 60).any(axis=0)
    assert green[:184].any() and not green[184:].any() and red[184:].any() and not red[:184].any()


# The command ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def spaces(tiny_space, tiny_vit_space, tmp_path_factory):
    from clipx.spaces.embedded import save_embedded

    def saved(space, name, model_cfg):
        folder = tmp_path_factory.mktemp("spaces") / name
        about = {"name": name, "version": "0", "model_cfg": model_cfg, "preprocess_cfg": PREPROCESS}
        return str(
            save_embedded(
                space.backbone.model,
                folder,
                **about,
                vocabulary={"words": dict.fromkeys(WORDS, "")},
                token_index=range(49408),
            )
        )

    return saved(tiny_space, "tiny", RESNET), saved(tiny_vit_space, "tiny-vit", VIT)


@pytest.fixture
def photos(tmp_path):
    for name, make in (("disc", disc), ("night_bar", bar)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i, dark in enumerate((30, 80, 120)):
            make(dark=dark).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


@pytest.fixture
def run(photos, spaces, monkeypatch, capsys):
    point = EntryPoint("eval sketch", "clipx.modalities.sketch.evaluate_command:evaluate", "clipx.commands")
    points = {**clipx.cli._points(), point.name: point}
    monkeypatch.setattr(clipx.cli, "_points", lambda: points)
    small = ["--space", spaces[0], "--strokes", "3,6", "--seeds", "2", "--steps", "2", "--per-class", "2"]

    def call(*more, judge=spaces[1], folder=photos):
        capsys.readouterr()
        given = [] if judge is None else ["--judge", judge]
        status = main(["eval", "sketch", str(folder), *small, *given, *map(str, more)])
        return status, *capsys.readouterr()

    return call


def test_help_shows_an_example(run, capsys):
    assert main(["eval", "sketch", "--help"]) == 0
    assert "Example: clipx eval sketch photos/" in " ".join(capsys.readouterr().out.split())


def test_the_command_judges_drawings_and_controls(run, tmp_path):
    kept = tmp_path / "drawn"
    status, out, err = run("--json", "--drawings", kept, "--out", tmp_path / "record.json")
    assert status == 0, err
    record = json.loads(out)
    assert json.loads((tmp_path / "record.json").read_text()) == record
    assert (record["command"], record["n"], record["labels"]) == ("eval sketch", 4, ["disc", "night bar"])
    assert (record["space"], record["judge"]) == ("tiny", "tiny-vit") and record["space_id"] != record["judge_id"]
    kinds = ["drawing", "initial strokes", "random strokes", "edge map"]
    wanted = [("photo", None), *((kind, count) for count in (3, 6) for kind in kinds)]
    assert [(row["picture"], row["strokes"]) for row in record["figures"]] == wanted
    photo = record["figures"][0]
    assert photo["photo_recall@1"] == 1 and photo["photo_median_rank"] == 1 and photo["acc5"] is None
    for row in record["figures"]:
        assert row["n"] == 4 and 0 <= row["acc1"] <= 1 and len(row["ci95"]["photo_median_rank"]) == 2
    assert {test["second"] for test in record["tests"]} >= {"initial strokes, 3", "initial strokes, 6", "drawing, 3"}
    assert all(0 < test["p"] <= 1 and test["discordant"] <= 4 for test in record["tests"])
    assert set(record["seeds"]["3"]["acc1"]) == {"0", "1000"} and set(record["share_of_photos_acc1"]) == {"3", "6"}
    assert [result["path"] for result in record["results"]] == [
        "disc/0.png",
        "disc/1.png",
        "night_bar/0.png",
        "night_bar/1.png",
    ]
    for result in record["results"]:
        assert result["label"] in record["labels"]
        for one in result["drawings"]:
            best = min(one["losses"], key=lambda seed, one=one: one["losses"][seed])
            assert one["seed"] == int(best) and one["loss"] == one["losses"][best]
            strokes = read_svg(one["svg"])
            assert len(strokes) == one["strokes"] and strokes.about["loss"] == one["loss"]
            initial = read_svg(Path(one["svg"]).with_name(f"{one['strokes']}-initial.svg"))
            assert initial.about["loss"] >= one["loss"] and initial.about["seed"] == one["seed"]
            assert 1 <= one["drawing"]["photo_rank"] <= 4 and one["edge map"]["best"] in record["labels"]
    # the figures are those of the results
    right = [r["drawings"][1]["drawing"]["label_rank"] == 1 for r in record["results"]]
    assert record["figures"][5]["acc1"] == np.mean(right)
    assert Image.open(kept / "sheet.png").width == 5 * 8 + 8 + 5 * 176
    assert len(list(kept.rglob("*.svg"))) == 4 * 2 * 3  # photos, counts, two seeds and the initial strokes


def test_the_pictures_judged_are_those_of_the_files(run, photos, spaces, tmp_path):
    from clipx.api import make_modality
    from clipx.spaces.loading import load_space
    from clipx.zeroshot import ZeroShotClassifier

    record = json.loads(run("--json", "--drawings", tmp_path / "drawn")[1])
    eye = make_modality("image", load_space(spaces[1]))
    gallery = eye.encode([eye.load(photos / result["path"]) for result in record["results"]])
    classifier = ZeroShotClassifier(eye.space, record["labels"], "sketch")
    for i, result in enumerate(record["results"]):
        for one in result["drawings"]:
            row = eye.encode([pixels(read_svg(one["svg"]))])
            assert classifier.predict(row, 1)[0][0].label == one["drawing"]["best"]
            assert one["drawing"]["photo_rank"] == measured.ranks(row.similarity(gallery), [i])[0]


def test_a_stopped_run_goes_on_to_the_same_figures(run, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "RUNS_AT_ONCE", 8)  # two photos of two stroke counts and two seeds
    whole = json.loads(run("--json", "--drawings", tmp_path / "whole")[1])
    calls = []

    def stopping(targets, *args, **options):
        import dataclasses

        found = drawing_of(targets, *args, **options)
        calls.append(len(targets))
        return [dataclasses.replace(one, stopped=len(calls) == 2) for one in found]

    drawing_of = drawing.draw
    monkeypatch.setattr(drawing, "draw", stopping)
    status, out, err = run("--json", "--drawings", tmp_path / "part")
    assert status == 130 and not out and "2 of 4 photos are drawn" in err
    status, out, err = run("--json", "--drawings", tmp_path / "part")
    assert status == 0 and calls == [2, 2, 2]
    again = json.loads(out.replace(str(tmp_path / "part"), str(tmp_path / "whole")))
    assert again == whole
    assert run("--json", "--drawings", tmp_path / "part")[0] == 0 and calls == [2, 2, 2]
    for other in (["--steps", "3"], ["--seed", "1"]):
        status, out, err = run("--drawings", tmp_path / "part", *other)
        assert status == 2 and "was drawn with other settings" in err and err.count("\n") == 1
    corrupt = next((tmp_path / "part").rglob("drawing.json"))
    corrupt.write_text("{")
    status, out, err = run("--drawings", tmp_path / "part")
    assert status == 2 and "is corrupt; delete it" in err


def test_photos_are_read_slice_by_slice(photos, tmp_path, monkeypatch, tiny_space):
    """What is read is drawn and kept before more is read, so that memory does not grow with the set."""
    monkeypatch.setattr(drawing, "RUNS_AT_ONCE", 1)
    files = sorted(photos.rglob("*.png"))[:3]
    config = drawing.DrawTaskConfig.preset("fast", strokes=(2,), seeds=(0,), steps=2)
    work = PhotoDrawings(files, ["a"] * 3, drawing.DrawTask(tiny_space, config), tmp_path / "drawn")
    load, kept, calls = drawing.load_target, [], []

    def counted(*args, **options):
        kept.append(len(list((tmp_path / "drawn").rglob("drawing.json"))))
        return load(*args, **options)

    monkeypatch.setattr("clipx.modalities.sketch.photos.load_target", counted)
    assert len(work.draw(lambda done, total, note: calls.append((done, total)))) == 3
    assert kept == [0, 1, 2]
    assert calls == sorted(calls) and calls[0] == (0, 6) and calls[-1] == (6, 6)


@pytest.mark.parametrize("change", [{"about": "a cup"}, {"layers": 2}])
def test_every_setting_is_recorded(change, photos, tmp_path, tiny_space):
    files = sorted(photos.rglob("*.png"))[:1]
    config = drawing.DrawTaskConfig.preset("fast", strokes=(2,), seeds=(0,), steps=2)
    PhotoDrawings(files, ["a"], drawing.DrawTask(tiny_space, config), tmp_path).draw()
    other = drawing.DrawTask(tiny_space, replace(config, **change))
    with pytest.raises(InputError, match="was drawn with other settings"):
        PhotoDrawings(files, ["a"], other, tmp_path).draw()


def test_labels_choose_the_photos(run):
    record = json.loads(run("--json", "--labels", "night_bar,cup", "--where", "label=night_bar")[1])
    assert record["n"] == 2 and record["labels"] == ["night_bar", "cup"]
    assert {result["label"] for result in record["results"]} == {"night_bar"}
    assert json.loads(run("--json", "--labels", "Disc", "--per-class", "1")[1])["n"] == 1


def test_a_gallery_goes_on_beyond_the_chosen_photos(run, photos):
    """Of two photos chosen by --where, the other photos of the folder fill the gallery up, each of them once."""
    whole = sum(path.suffix == ".png" for path in photos.rglob("*"))
    for asked, filled, outside in ((0, 2, 0), (3, 3, 0), (4, 4, 1), (99, whole, 3)):
        args = ("--json", "--where", "label=disc", "--strokes", "3", "--gallery", asked)
        record = json.loads(run(*args)[1])
        assert (record["n"], record["gallery"], record["all_labels"]) == (2, filled, 2)
        assert record["gallery_outside_where"] == outside
        assert record["figures"][0]["photo_recall@1"] == 1  # the photos' own stand first
        assert record["chance"]["photo_recall@1"] == 1 / filled


def test_drawings_are_compared_with_a_preset_among_all_labels_and_more_photos(run, tmp_path):
    args = ["--labels", "disc", "--against", "clipasso", "--against-steps", "1", "--gallery", "5", "--strokes", "3"]
    record = json.loads(run("--json", "--drawings", tmp_path / "drawn", *args)[1])
    assert (record["n"], record["labels"], record["all_labels"], record["gallery"]) == (2, ["disc"], 2, 5)
    assert record["against"]["settings"]["steps"] == 1 and not record["against"]["settings"]["keep_aspect"]
    assert [row["picture"] for row in record["figures"]][-1] == "clipasso"
    assert all(row["acc1"] == 1 for row in record["figures"])  # one label; of both it may take another
    assert {1, 2} >= {one["drawing"]["all_rank"] for result in record["results"] for one in result["drawings"]}
    assert max(one["random strokes"]["photo_rank"] for r in record["results"] for one in r["drawings"]) <= 5
    assert {"drawing, 3", "clipasso, 3"} in [{test["first"], test["second"]} for test in record["tests"]]
    assert len(list((tmp_path / "drawn" / "against-clipasso").rglob("3-seed*.svg"))) == 4


def test_the_table(run):
    status, out, _ = run()
    assert status == 0
    assert "drawing\t6\t" in out and "own photo first" in out and "drawing, 6\tdrawing, 3\t" in out


def test_bad_input_is_one_line(run, photos, spaces, tmp_path, monkeypatch):
    (tmp_path / "flat").mkdir()
    disc().save(tmp_path / "flat" / "0.png")
    (tmp_path / "grey" / "disc").mkdir(parents=True)
    Image.new("RGB", (50, 50), "grey").save(tmp_path / "grey" / "disc" / "0.png")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("clipx.spaces.embedded.embedded_names", lambda: [])
    for options, more, message in (
        ({"judge": spaces[0]}, [], "also draws"),
        ({"judge": None}, [], "name one"),
        ({"folder": tmp_path / "flat"}, [], "neither labels.csv nor class folders"),
        ({"folder": tmp_path / "nowhere"}, [], "no such file"),
        ({"folder": tmp_path / "grey"}, [], "one colour"),
        ({}, ["--out", tmp_path / "no" / "record.json"], "does not exist"),
        ({}, ["--drawings", tmp_path / "file"], "cannot be made"),
        ({}, ["--strokes", "two"], "--strokes takes numbers"),
        ({}, ["--strokes", "0"], "1 to 4096"),
        ({}, ["--strokes", "8,8"], "different numbers"),
        ({}, ["--labels", "cup"], "no photo of any of the labels"),
        ({}, ["--labels", "disc,zebra"], "zebra"),
        ({}, ["--prompts", "nonsense"], "no prompt set"),
        ({}, ["--where", "label"], "column=value"),
        ({}, ["--per-class", "0"], "--per-class"),
    ):
        status, out, err = run(*more, **options)
        lines = [line for line in err.splitlines() if line.startswith("error:")]
        assert status == 2 and not out and len(lines) == 1 and message in lines[0], (message, err)


def test_the_judge_is_nano_vit_unless_it_draws(monkeypatch):
    from clipx.modalities.sketch.judging import default_judge

    monkeypatch.setattr("clipx.spaces.embedded.embedded_names", lambda: ["nano", "nano-vit"])
    assert default_judge("nano") == "nano-vit" and default_judge("nano-vit") == "nano"
    monkeypatch.setattr("clipx.spaces.embedded.embedded_names", lambda: ["nano-vit"])
    with pytest.raises(InputError, match="nano-vit draws; name one"):
        default_judge("nano-vit")
