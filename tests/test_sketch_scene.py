"""Objects found on photos, scenes in two layers, styles, and drawings that begin with people's."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from clipx import load_space
from clipx.cli import main
from clipx.errors import InputError, UnsupportedError
from clipx.modalities.sketch import objective as objectives
from clipx.modalities.sketch import quickdraw, scene
from clipx.modalities.sketch.config import STYLES, DrawConfig
from clipx.modalities.sketch.draw import draw
from clipx.modalities.sketch.film import pixels, stroke_by_stroke
from clipx.modalities.sketch.objective import Meaning, objective_for
from clipx.modalities.sketch.svg import read_svg, to_svg
from clipx.modalities.sketch.target import on_canvas, prepare


def disc(width=120, height=80):
    y, x = np.mgrid[:height, :width]
    picture = np.full((height, width, 3), 225, np.uint8)
    picture[..., 2] = 180 + 40 * y / height
    picture[(x - 40) ** 2 + (y - 40) ** 2 < 25**2] = (40, 60, 90)
    return Image.fromarray(picture)


@pytest.fixture(scope="module")
def target():
    return prepare(disc())


@pytest.fixture(scope="module")
def where(target):
    y, x = np.mgrid[:80, :120]
    return on_canvas((x - 40) ** 2 + (y - 40) ** 2 < 28**2, target)


def test_a_mask_lies_on_the_canvas_where_the_photo_does(target, where):
    assert target.box == (37, 0, 149, 224) and not where[:37].any() and not where[37 + 149 :].any()
    centre = where.nonzero().double().mean(0)
    torch.testing.assert_close(centre, torch.tensor([37 + 40.5 * 149 / 80, 40.5 * 224 / 120]).double(), atol=1, rtol=0)
    with pytest.raises(InputError, match="leaves nothing"):
        on_canvas(np.zeros((80, 120), bool), target)
    with pytest.raises(InputError, match="80 x 120"):
        on_canvas(np.ones((120, 80), bool), target)
    every = replace(target, where=on_canvas(np.ones((80, 120), bool), target))
    with pytest.raises(InputError, match="covers the whole"):
        scene.two_layers(every)
    y, x = np.mgrid[:80, :120]
    padded = on_canvas((x - 40) ** 2 + (y - 40) ** 2 < 25**2, prepare(disc(), fix_scale=True), fix_scale=True)
    dark = prepare(disc(), fix_scale=True).pixels[0] < 0.5
    assert (padded & dark).sum() / (padded | dark).sum() > 0.9


def test_the_object_is_where_the_tower_looks(target, where, tiny_space, monkeypatch):
    """Superpixels keep the object's border although the map is coarse; what is enclosed belongs to it."""
    y, x = np.mgrid[:224, :224]
    coarse = np.exp(-((x - 75) ** 2 + (y - 112) ** 2) / (2 * 45.0**2)).astype(np.float32)
    coarse[105:118, 70:82] = 0  # a hole
    monkeypatch.setattr(scene, "saliency", lambda *given: coarse)
    found = scene.find_object(tiny_space, target)
    overlap = float((found & where).sum() / (found | where).sum())
    assert overlap > 0.65 and found[112, 75] and not found[:37].any()
    monkeypatch.setattr(scene, "saliency", lambda *given: np.ones((224, 224), np.float32))
    with pytest.raises(InputError, match="no object stands out"):
        scene.find_object(tiny_space, target)


def test_what_is_behind_the_object_is_painted_from_around_it(target, where):
    background, foreground = scene.two_layers(replace(target, where=where))
    ground = target.pixels[:, ~where & (target.pixels[0] < 0.95)]
    assert background.pixels[:, where].min() > ground.min() - 0.1  # nothing dark is left
    low = replace(target, where=torch.zeros_like(where))
    low.where[100:186, 60:120] = True  # an object that stands on the photo's lower edge: no white comes in from below
    assert scene.two_layers(low)[0].pixels[:, low.where].max() < 0.93
    assert torch.equal(background.pixels[:, ~where], target.pixels[:, ~where])
    assert torch.equal(background.where, ~where) and torch.equal(foreground.where, where)
    assert len({target.sha256(), background.sha256(), foreground.sha256()}) == 3
    with pytest.raises(InputError, match="covers the whole"):
        scene.filled(target.pixels, torch.ones(224, 224, dtype=torch.bool))


def test_strokes_keep_to_where_they_are_wanted(target, where, tiny_space):
    plan = DrawConfig(strokes=(5,), seeds=(0,), steps=1, views=0, pool=0)
    (inside,) = draw([replace(target, where=where)], tiny_space, plan)
    places = inside.film[0].points[:, [0, 3]].reshape(-1, 2).round().astype(int).clip(0, 223)
    assert where[places[:, 1], places[:, 0]].double().mean() > 0.9
    counts = objectives._places(replace(target, where=where), np.ones((224, 224), np.float32), 0.5)
    assert counts[~where].sum() == 0 and counts[where].min() > 0
    flat = objective_for([replace(target, where=where)], tiny_space, replace(plan, focus=0.0), [None])
    assert flat.places is not None  # also where saliency plays no part


def test_styles_are_settings(target, tiny_space):
    for name, settings in STYLES.items():
        plan = DrawConfig.preset("default", **settings | {"seeds": (0,), "steps": 2, "views": 0, "pool": 0})
        (found,) = draw([target], tiny_space, plan)
        assert found.strokes.points.shape[1] == 3 * plan.segments + 1
        text = to_svg(found.strokes)
        assert text.count('id="stroke-') == plan.strokes[0], name
        assert (pixels(found.strokes) < 0.5).any()
    with pytest.raises(InputError, match="are black"):
        DrawConfig(segments=2, learn_color=True)


@pytest.mark.parametrize("profile", ["taper", "swell"])
def test_a_drawing_of_a_profile_reads_back_and_looks_alike(target, tiny_space, tmp_path, profile):
    plan = DrawConfig(strokes=(4,), seeds=(0,), steps=1, views=0, pool=0, profile=profile, width_px=8.0, segments=2)
    (found,) = draw([target], tiny_space, plan)
    (tmp_path / "a.svg").write_text(to_svg(found.strokes, seconds=2))
    back = read_svg(tmp_path / "a.svg")
    assert back.profile == profile
    np.testing.assert_allclose(back.points, found.strokes.points, atol=1e-3, rtol=0)
    resvg = pytest.importorskip("resvg_py")
    (tmp_path / "b.svg").write_text(to_svg(found.strokes))
    png = bytes(resvg.svg_to_bytes(svg_path=str(tmp_path / "b.svg")))
    (tmp_path / "b.png").write_bytes(png)
    seen = np.asarray(Image.open(tmp_path / "b.png").convert("L")) / 255
    drawn = pixels(found.strokes)[0]
    assert np.abs(seen - drawn).sum() < 0.03 * (1 - drawn).sum()
    last, before = stroke_by_stroke(found.strokes, 40)[:-3:-1]
    assert (pixels(before)[0] >= drawn - 0.05).all() and last is found.strokes  # what is begun is no wider


def test_regularisers_straighten_strokes_and_save_ink(target, tiny_space):
    plan = DrawConfig(strokes=(6,), seeds=(0,), steps=25, views=0, pool=0, renew=False, window=0, lr=2.0)

    def bends(drawing):
        return float(np.linalg.norm(np.diff(drawing.strokes.points, n=2, axis=1), axis=-1).mean())

    (plain,), (smooth,) = (draw([target], tiny_space, replace(plan, smooth=weight)) for weight in (0.0, 1000.0))
    assert bends(smooth) < 0.7 * bends(plain)
    (sparing,) = draw([target], tiny_space, replace(plan, ink=1000.0, learn_width=True))
    assert pixels(sparing.strokes).mean() > pixels(plain.strokes).mean()


# People's drawings ----------------------------------------------------------------------------------------------------


def test_people_drew_344_words():
    known = quickdraw.drawings()
    assert len(known) == 344 and "cat" in known and quickdraw.FILE.stat().st_size < 200_000
    assert {len(of) for of in known.values()} <= {1, 2, 3}
    for of in known.values():
        assert all(3 <= len(points) <= 24 and (points >= 0).all() and (points <= 224).all() for points in of)


def test_a_word_begins_as_a_drawing_of_it():
    space = load_space("nano")
    plan = DrawConfig.preset("meaning", steps=1)
    (cat,) = draw([Meaning.of_text(space, "a cat")], space, plan)
    assert cat.strokes.about["from"] == "cat" and len(cat.strokes) == 24
    theirs = [quickdraw.with_strokes(points, 24) for points in quickdraw.drawings()["cat"]]
    assert min(np.abs(cat.seeds[cat.seed].points - points.numpy()).max() for points in theirs) < 1.5
    (few,) = draw([Meaning.of_text(space, "a cat")], space, replace(plan, strokes=(6,)))
    assert len(few.strokes) == 6 and few.strokes.about["from"] == "cat"
    (random,) = draw([Meaning.of_text(space, "a cat")], space, replace(plan, start="points"))
    assert "from" not in random.strokes.about
    with pytest.raises(InputError, match="no start 'contours'"):
        draw([Meaning.of_text(space, "a cat")], space, replace(plan, start="contours"))


# The command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, capsys, monkeypatch, tiny_space):
    monkeypatch.setattr("clipx.cli._work.open_space", lambda *args: tiny_space)
    disc().save(tmp_path / "disc.png")

    def call(*more):
        status = main(["sketch", *map(str, more), "--json", "-o", str(tmp_path / "out")])
        printed = capsys.readouterr()
        return status, json.loads(printed.out) if printed.out else {}, printed.err

    return call


def test_the_command_draws_styles(run, tmp_path):
    status, record, err = run(tmp_path / "disc.png", "--style", "one-line", "--fast", "--steps", "2")
    assert status == 0, err
    assert record["settings"]["segments"] == 39 and record["settings"]["seeds"] == [0]
    (one,) = record["results"]
    assert one["strokes"] == 1 and read_svg(one["svg"]).points.shape == (1, 118, 2)


def test_the_command_draws_scenes(run, tmp_path):
    mask = np.zeros((80, 120), np.uint8)
    mask[15:65, 15:65] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    args = [tmp_path / "disc.png", "--layers", "2", "--strokes", "6,9", "--seeds", "1", "--steps", "2", "--gif"]
    status, record, _ = run(*args, "--mask", tmp_path / "mask.png")
    assert status == 0 and [row["strokes"] for row in record["results"]] == [6, 9] and record["layers"] == 2
    text = (tmp_path / "out" / "disc-9.svg").read_text()
    assert text.count("inkscape:label") == 2 and '"1 background"' in text and '"2 object"' in text
    assert len(read_svg(tmp_path / "out" / "disc-9.svg")) == 9
    assert not list((tmp_path / "out").glob("*checkpoint*"))


def test_what_a_scene_is_drawn_for_is_the_object_alone(target, where, monkeypatch):
    """The background of a photo of a cat is none."""
    from clipx.modalities.sketch import task

    asked, drawn = [], task.draw
    monkeypatch.setattr(
        task, "draw", lambda *given, about, **more: asked.append(about) or drawn(*given, about=about, **more)
    )
    plan = task.DrawTaskConfig.preset("fast", strokes=(3,), seeds=(0,), steps=1, layers=2, about="a cat")
    (ladder,) = task.DrawTask(load_space("lite"), plan).run([replace(target, where=where)])
    assert asked == [None, "a cat"] and len(ladder[0].strokes) == 3
    asked.clear()
    with pytest.raises(UnsupportedError, match="whatever is asked for"):  # before the background is drawn
        task.DrawTask(load_space("nano-vit"), plan).run([replace(target, where=where)])
    assert asked == []


def test_a_mask_is_found_without_rembg(run, tmp_path, monkeypatch, tiny_space, where):
    monkeypatch.setattr("clipx.modalities.sketch.command._has_rembg", lambda: False)
    monkeypatch.setattr(scene, "find_object", lambda *given: where)
    status, record, _ = run(tmp_path / "disc.png", "--mask", "auto", "--strokes", "4", "--seeds", "1", "--steps", "1")
    points = read_svg(record["results"][0]["svg"]).points[:, 0].round().astype(int).clip(0, 223)
    assert status == 0 and where[points[:, 1], points[:, 0]].double().mean() > 0.7

    def none(*given):
        raise InputError("no object stands out on the photo", where="mask")

    monkeypatch.setattr(scene, "find_object", none)
    status, _, err = run(tmp_path / "disc.png", "--mask", "auto", "--strokes", "4")
    assert status == 2 and "no object stands out" in err


def test_the_command_draws_several_sentences(run):
    status, record, err = run("--text", "a cat", "--text", "A cat", "--steps", "1", "--seeds", "1", "--fast")
    assert status == 0 and len({row["svg"].casefold() for row in record["results"]}) == 2
    assert all(row["strokes"] == 24 and row["from"] for row in record["results"]) and "person's drawing of" in err
