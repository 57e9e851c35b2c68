"""Drawing: the loss falls, runs do not disturb each other, a resumed run is the undisturbed one, the command works."""

import json
import math
import os
import signal
import sys
import types
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clipx import load_space
from clipx.cli import main
from clipx.errors import ClipxError, InputError
from clipx.modalities.sketch import draw as drawing
from clipx.modalities.sketch import film
from clipx.modalities.sketch import objective as objectives
from clipx.modalities.sketch.chains import length
from clipx.modalities.sketch.config import DrawConfig
from clipx.modalities.sketch.curves import split
from clipx.modalities.sketch.draw import draw
from clipx.modalities.sketch.losses import geometric_loss
from clipx.modalities.sketch.objective import Meaning, Objective, objective_for
from clipx.modalities.sketch.raster import rasterize
from clipx.modalities.sketch.saliency import default_space
from clipx.modalities.sketch.start import Start
from clipx.modalities.sketch.svg import read_svg, to_svg
from clipx.modalities.sketch.table import POINTS, WIDTH, points_of, rows_of
from clipx.modalities.sketch.target import load_target, prepare, without_frame

QUICK = DrawConfig(strokes=(6,), seeds=(0, 1000), steps=8, views=2, pool=4, halving=False)


def photo(width: int = 120, height: int = 80) -> Image.Image:
    """A dark disc with a bright bar on a light ground."""
    y, x = np.mgrid[:height, :width]
    picture = np.full((height, width, 3), 230, np.uint8)
    picture[(x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 3) ** 2] = (40, 60, 90)
    picture[height // 2 : height // 2 + 6, width // 3 : 2 * width // 3] = 250
    return Image.fromarray(picture)


@pytest.fixture(scope="module")
def target():
    return prepare(photo())


def stopped_after(steps: int):
    """Arguments of ``draw`` that stop it after so many steps, at least 2: before the first one it asks, too."""
    assert steps > 1
    done = []
    return {"on_progress": lambda step, *_: done.append(step), "stop": lambda: len(done) >= steps - 1}


def maps_of(target, space):
    return drawing._saliency_maps([target], default_space(space), None)


def started(target, space, config):
    return drawing._start([start_of(target, space, config)], config)


def start_of(target, space, config):
    maps = maps_of(target, space)
    return Start(0, target, maps[0], objective_for([target], space, config, maps), config)


def test_the_loss_falls_and_the_strokes_are_those_it_was_measured_on(target, spread_space):
    (found,) = draw([target], spread_space, DrawConfig(strokes=(8,), seeds=(0,), steps=40, views=2, pool=4))
    assert found.loss == min(found.history) < found.history[0]
    objective = objective_for([target], spread_space, QUICK, maps_of(target, spread_space))
    image = torch.from_numpy(rasterize(found.strokes.points, 224))[None]
    _, plain = objective([(0, 8, 0)], image, 0)
    assert float(plain[0]) == pytest.approx(found.loss, rel=1e-5)
    assert float(objective.plain(0, image)[0]) == pytest.approx(found.loss, rel=0.01)  # a batch of another size
    assert found.strokes.box == (0, 37, 224, 149) and found.strokes.about["loss"] == found.loss


def test_runs_that_share_a_call_are_those_that_run_alone(target, tiny_space):
    other = prepare(photo(60, 90))
    both = draw([target, other], tiny_space, DrawConfig(strokes=(3, 6), seeds=(0, 1000), steps=5, views=2, pool=4))
    assert [(len(d.strokes), d.target) for d in both] == [(3, 0), (6, 0), (3, 1), (6, 1)]
    (alone,) = draw([other], tiny_space, DrawConfig(strokes=(3,), seeds=(both[2].seed,), steps=5, views=2, pool=4))
    np.testing.assert_allclose(both[2].strokes.points, alone.strokes.points, atol=0.02, rtol=0)  # other sums in BLAS
    again = draw([target, other], tiny_space, DrawConfig(strokes=(3, 6), seeds=(0, 1000), steps=5, views=2, pool=4))
    assert [to_svg(d.strokes) for d in again] == [to_svg(d.strokes) for d in both]


@pytest.mark.parametrize("preset", ["default", "clipasso"])
def test_a_resumed_drawing_equals_an_uninterrupted_one(target, tiny_vit_space, tmp_path, preset):
    config = DrawConfig.preset(preset, strokes=(4,), seeds=(0, 1000), steps=6, views=2)
    (whole,) = draw([target], tiny_vit_space, config)
    (part,) = draw([target], tiny_vit_space, config, checkpoint=tmp_path / "a.safetensors", **stopped_after(3))
    assert part.stopped and len(part.history) == 3
    (rest,) = draw([target], tiny_vit_space, config, checkpoint=tmp_path / "a.safetensors", resume=True)
    assert to_svg(rest.strokes) == to_svg(whole.strokes) and rest.history == whole.history and not rest.stopped
    with pytest.raises(ClipxError, match="of other inputs"):
        draw([target], tiny_vit_space, QUICK, checkpoint=tmp_path / "a.safetensors", resume=True)
    (tmp_path / "a.safetensors").write_bytes(b"cut off")
    with pytest.raises(ClipxError, match="corrupt"):
        draw([target], tiny_vit_space, config, checkpoint=tmp_path / "a.safetensors", resume=True)


def test_a_stop_while_starts_are_sought_takes_what_is_there(tiny_vit_space, tmp_path, monkeypatch):
    """Ctrl-C while strokes are chosen: no further choice is tried, and nothing claims to be a run to resume."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    busy = prepare(Image.fromarray(pixels).resize((300, 300)))
    config = DrawConfig(strokes=(4,), seeds=(0, 1000), steps=6, views=1, pool=2, renew=False, rank=False)
    tried, loss = [], Start.loss
    monkeypatch.setattr(Start, "loss", lambda self, rows: tried.append(len(rows)) or loss(self, rows))
    (whole,) = draw([busy], tiny_vit_space, config)
    most = len(tried)
    tried.clear()
    asked = iter([False, True])  # as a page's button is: true once
    checkpoint = tmp_path / "a.safetensors"
    (cut,) = draw([busy], tiny_vit_space, config, checkpoint=checkpoint, stop=lambda: next(asked, False))
    assert cut.stopped and len(cut.history) == 1 and len(cut.strokes) == 4
    assert len(tried) < most / 2 and not checkpoint.exists()
    (resumed,) = draw([busy], tiny_vit_space, config, checkpoint=checkpoint, resume=True)
    assert to_svg(resumed.strokes) == to_svg(whole.strokes)


def test_a_resumed_run_that_is_stopped_says_what_it_began_from(tmp_path):
    """The drawings of "fruit" are sought again by a resumed run; to stop it must not cut that search short."""
    lite, checkpoint = load_space("lite"), tmp_path / "a.safetensors"
    config = DrawConfig.preset("meaning", strokes=(2,), seeds=(0,), steps=6, rank=False)
    fruit = Meaning.of_text(lite, "fruit")
    (first,) = draw([fruit], lite, config, checkpoint=checkpoint, **stopped_after(2))
    (again,) = draw([fruit], lite, config, checkpoint=checkpoint, resume=True, **stopped_after(2))
    assert again.stopped and len(again.history) == len(first.history) + 2
    assert again.strokes.about["from"] == first.strokes.about["from"]


def test_what_a_photo_is_drawn_for_reaches_the_loss(target, monkeypatch):
    """From the same strokes and with the same places to look at, ``about`` changes the loss by its share of words."""
    lite, looks = load_space("lite"), maps_of(target, load_space("lite"))
    monkeypatch.setattr(drawing, "_saliency_maps", lambda *given: looks)

    def loss(words, about):
        config = replace(QUICK, seeds=(0,), steps=1, start="points", words=words)
        return draw([target], lite, config, about=about)[0].loss

    assert loss(0.0, "a cup") == loss(0.0, None)
    assert abs(loss(0.5, "a cup") - loss(0.5, None)) > 1e-3


def test_a_checkpoint_is_of_what_it_drew(tiny_space, tmp_path):
    config = DrawConfig(strokes=(4,), seeds=(0,), steps=6, views=1, pool=2, window=0)
    cat, dog = (Meaning.of_text(tiny_space, text) for text in ("a cat", "a dog"))
    (whole,) = draw([cat], tiny_space, config)
    draw([cat], tiny_space, config, checkpoint=tmp_path / "a.safetensors", **stopped_after(3))
    for other in (dog, Meaning.of_text(tiny_space, "a cat", ["a dog"])):
        with pytest.raises(ClipxError, match="of other inputs"):
            draw([other], tiny_space, config, checkpoint=tmp_path / "a.safetensors", resume=True)
    (rest,) = draw([cat], tiny_space, config, checkpoint=tmp_path / "a.safetensors", resume=True)
    assert to_svg(rest.strokes) == to_svg(whole.strokes)


def test_large_batches_are_encoded_in_parts(target, tiny_space, monkeypatch):
    """With nothing to choose: a choice between near equals may go either way where sums are rounded differently."""
    config = DrawConfig(
        strokes=(3, 5), seeds=(0,), steps=4, views=1, pool=2, window=0, start="points", renew=False, rank=False
    )
    targets = [target, target]
    at_once = draw(targets, tiny_space, config)
    monkeypatch.setattr(objectives, "PIXELS_PER_THREAD", 1)
    for one, other in zip(draw(targets, tiny_space, config), at_once, strict=True):
        np.testing.assert_allclose(one.strokes.points, other.strokes.points, atol=0.02, rtol=0)


def test_clipasso_keeps_the_best_of_every_tenth_step(target, tiny_space, monkeypatch):
    losses = iter([1.0, *[0.9] * 6, 0.1, 0.9, 0.9, 0.5, *[0.9] * 9, 0.499995])
    real = Objective.__call__

    def given(self, of, images, step):
        loss, _ = real(self, of, images, step)
        return loss, torch.tensor([next(losses)])

    monkeypatch.setattr(Objective, "__call__", given)
    config = DrawConfig.preset("clipasso", strokes=(3,), seeds=(0,), steps=21)
    (found,) = draw([target], tiny_space, config)
    assert found.loss == 0.5 and len(found.history) == 21  # neither 0.1, at step 7, nor a gain of half of 1e-5


def test_a_film_is_no_longer_for_more_steps():
    assert DrawConfig(steps=500).film_every == 10 and DrawConfig(steps=2001).film_every == 21


def test_weak_seeds_are_dropped_and_what_rests_stops(target, tiny_space, monkeypatch):
    seeds = (0, 1000, 2000, 3000)
    config = DrawConfig(strokes=(4,), seeds=seeds, steps=8, views=0, pool=0, halving=True, window=0, start="points")
    steps, alive, step_of = [], [], drawing._step

    def counted(runs, *rest):
        alive.append(len(runs.alive))
        step_of(runs, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(drawing, "_step", counted)
        (found,) = draw([target], tiny_space, config, on_progress=lambda step, *_: steps.append(step))
    assert alive == [4, 4, 2, 2, 1, 1, 1, 1]
    assert steps == list(range(1, 9)) and len(found.history) == 8 and set(found.losses) == set(seeds)
    assert found.loss == min(found.losses.values())
    alive.clear()
    with monkeypatch.context() as patch:
        patch.setattr(drawing, "_step", counted)
        draw([target], tiny_space, replace(config, start="contours", steps=40))
    assert alive == [4, 4] + [1] * 38  # the best start is nearly the best drawing
    (rested,) = draw([target], tiny_space, DrawConfig(strokes=(4,), seeds=(0,), steps=50, window=5, min_gain=0.9))
    assert len(rested.history) == 6


def test_adam_is_torchs(target, tiny_space):
    config = DrawConfig(strokes=(5,), seeds=(0,), steps=6, views=0, pool=0, decay=False, lr=0.7, window=0)
    runs = started(target, tiny_space, config)
    points = torch.nn.Parameter(runs.strokes[..., :8].unflatten(-1, (4, 2)).clone())
    adam = torch.optim.Adam([points], lr=0.7)
    objective = objective_for([target], tiny_space, config, maps_of(target, tiny_space))
    for step in range(6):
        drawing._step(runs, objective, config, step)
        adam.zero_grad()
        objective([(0, 5, 0)], rasterize(points, 224), step)[0].sum().backward()
        adam.step()
        torch.testing.assert_close(runs.strokes[..., :8], points.detach().flatten(-2), atol=2e-4, rtol=0)


def test_what_is_learnt_moves_and_stays_in_range(target, tiny_space):
    plain = DrawConfig(strokes=(5,), seeds=(0,), steps=12, views=1, pool=2, window=0, renew=False)
    for changes, moved in (
        ({}, ()),
        ({"learn_width": True}, ("width_px",)),
        ({"learn_color": True}, ("color", "alpha")),
    ):
        (found,) = draw([target], tiny_space, replace(plain, **changes))
        first, last = found.film[0], found.film[-1]
        assert len(found.film) == 3 and to_svg(last) == to_svg(found.strokes)
        order = [int(np.square(last.points - first.points[i]).sum((1, 2)).argmin()) for i in range(5)]
        assert sorted(order) == list(range(5))  # a film's frames have the strokes in one order
        for name in ("width_px", "color"):
            assert np.array_equal(getattr(first, name), getattr(last, name)) == (name not in moved)
        assert (last.color >= 0).all() and (last.color <= 1).all() and (last.alpha <= 1).all()
    far = started(target, tiny_space, replace(plain, learn_width=True, learn_color=True))
    far.strokes[..., 8:] = torch.tensor([80.0, 2.0, -1.0, 0.5, 3.0])
    objective = objective_for([target], tiny_space, plain, maps_of(target, tiny_space))
    drawing._step(far, objective, replace(plain, learn_width=True, learn_color=True), 0)
    assert far.strokes[..., 8].max() <= 50 and far.strokes[..., 9:].min() >= 0 and far.strokes[..., 9:].max() <= 1


def test_importance_is_what_leaving_a_stroke_out_costs(target, tiny_space):
    config = DrawConfig(strokes=(6,), seeds=(0,), steps=10, views=0, pool=0, start="points", lr=1.0)
    (found,) = draw([target], tiny_space, config)
    objective = objective_for([target], tiny_space, config, maps_of(target, tiny_space))
    assert found.importance == sorted(found.importance, reverse=True)
    for k in (0, 5):
        others = found.strokes[[i for i in range(6) if i != k]]
        loss = float(objective.plain(0, torch.from_numpy(rasterize(others.points, 224))[None])[0])
        assert found.importance[k] == pytest.approx(loss - found.loss, rel=0.01, abs=1e-8)
    (start,) = draw([target], tiny_space, replace(config, rank=False))
    assert start.importance == [] and np.array_equal(start.strokes.points, start.seeds[0].points)


def test_the_knee():
    assert drawing.knee({4: 1.0, 8: 0.4, 16: 0.35, 32: 0.32, 64: 0.3}) == 8
    assert drawing.knee({4: 1.0, 8: 0.8, 16: 0.2, 32: 0.15, 64: 0.1}) == 16
    assert drawing.knee({4: 1.0, 8: 0.9, 16: 0.2}) == 16  # above its chord throughout
    assert drawing.knee({4: 0.3, 8: 0.5}) == 4 and drawing.knee({16: 0.3}) == 16


def test_a_sentence_is_drawn_in_colour(tiny_space):
    cat = Meaning.of_text(tiny_space, "a cat")
    other = Meaning.of_text(tiny_space, "a cat", avoid=["a dog", "a photo"])
    config = DrawConfig(strokes=(6,), seeds=(0,), steps=30, views=1, pool=2, learn_color=True, learn_width=True)
    (plain, away) = draw([cat, other], tiny_space, config)
    assert plain.loss < plain.history[0] and away.loss < away.history[0]
    image = rasterize(plain.strokes.points, 224, plain.strokes.width_px, plain.strokes.alpha, plain.strokes.color)
    row = tiny_space.encode_image(image[None].clip(0, 1))
    assert 1 - (row @ cat.toward.vectors.T).item() == pytest.approx(plain.loss, abs=1e-3)
    image = rasterize(away.strokes.points, 224, away.strokes.width_px, away.strokes.alpha, away.strokes.color)
    row = tiny_space.encode_image(image[None].clip(0, 1))
    cosines = row @ tiny_space.encode_text(["a cat", "a dog", "a photo"]).T
    assert 1 - float(cosines[0, 0]) + 0.3 * float(cosines[0, 1:].sum()) == pytest.approx(away.loss, abs=1e-3)
    assert plain.strokes.box == (0, 0, 224, 224)
    again = draw([cat, other], tiny_space, config)
    assert to_svg(again[1].strokes) == to_svg(away.strokes)


def test_meanings_that_cannot_be_drawn(target, tiny_space, tiny_vit_space):
    cat = Meaning.of_text(tiny_space, "a cat")
    with pytest.raises(ClipxError, match="drawn separately"):
        draw([target, cat], tiny_space, QUICK)
    with pytest.raises(ClipxError, match="space"):
        draw([cat], tiny_vit_space, QUICK)
    with pytest.raises(ClipxError, match="one thing"):
        Meaning(tiny_space.embed_text(["a cat", "a dog"]))
    with pytest.raises(ClipxError, match="two spaces"):
        Meaning(cat.toward, tiny_vit_space.embed_text(["a dog"]))
    with pytest.raises(ClipxError, match="zyzzyva"):
        Meaning.of_text(load_space("nano"), "a zyzzyva")


def test_too_much_side_by_side_is_refused(target, tiny_space):
    with pytest.raises(ClipxError, match="side by side"):
        draw([target], tiny_space, DrawConfig(strokes=(4096,), seeds=tuple(range(40))))


def test_clipassos_constants():
    config = DrawConfig.preset("clipasso")
    assert (config.strokes, config.seeds, config.steps, config.lr) == ((16,), (0, 1000, 2000), 2001, 1.0)
    assert (config.views, config.pool, config.width_px, config.keep_aspect) == (4, 0, 3.0, False)
    assert not config.halving and not config.decay and config.clipasso_stop
    flat = [1.0] * 21  # evaluated at 0, 10 and 20: the second within 1e-5 of the best stops
    assert drawing._at_rest(flat, config) and not drawing._at_rest(flat[:20], config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strokes": (0,)}, "1 to 4096 strokes"),
        ({"strokes": (10**6,)}, "1 to 4096 strokes"),
        ({"seeds": ()}, "seeds"),
        ({"steps": 0}, "steps"),
        ({"views": 8, "pool": 4}, "pool"),
        ({"lr": math.nan}, "lr"),
        ({"width_px": -1.0}, "width_px"),
    ],
)
def test_impossible_settings_are_one_line(changes, message):
    with pytest.raises(ClipxError, match=message):
        DrawConfig.preset("default", **changes)


def test_the_command_draws_a_ladder(tmp_path, capsys, monkeypatch, tiny_space, tiny_vit_space):
    spaces = {"nano-vit": tiny_vit_space}  # which judges
    monkeypatch.setattr("clipx.cli._work.open_space", lambda name, *args: spaces.get(name, tiny_space))
    photo().save(tmp_path / "disc.png")
    (tmp_path / "out").mkdir()
    args = ["sketch", str(tmp_path / "disc.png"), "--steps", "3", "--seeds", "2"]
    assert main([*args, "--strokes", "2,4", "-o", str(tmp_path / "out"), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [r["strokes"] for r in record["results"]] == [2, 4] and record["command"] == "sketch"
    strokes = read_svg(tmp_path / "out" / "disc-4.svg")
    assert len(strokes) == 4 and strokes.box == (0, 37, 224, 149)
    assert Image.open(tmp_path / "out" / "disc-4.png").size == (224, 149)
    assert Image.open(tmp_path / "out" / "disc-loss.png").size[0] > 200
    settings = json.loads((tmp_path / "out" / "disc-config.json").read_text())
    assert settings["settings"]["steps"] == 3 and settings["space_id"] == tiny_space.id
    assert main([*args, "-o", str(tmp_path / "one.svg")]) == 0 and len(read_svg(tmp_path / "one.svg")) == 16
    capsys.readouterr()
    auto = [*args, "--strokes", "auto", "--order", "travel", "--json"]
    assert main([*auto, "-o", str(tmp_path / "auto.svg")]) == 0
    (one,) = json.loads(capsys.readouterr().out)["results"]
    assert one["chosen"] and len(read_svg(tmp_path / "auto.svg")) == one["strokes"] in (4, 8, 16, 32, 64)
    assert main([*auto, "--judge", "tiny", "-o", str(tmp_path / "own.svg")]) == 2
    assert "also draws" in capsys.readouterr().err
    for wrong, message in (
        (["--strokes", "2,4", "-o", "a.svg"], "folder"),
        (["--strokes", "two"], "numbers"),
        (["--strokes", "0"], "1 to 4096"),
        (["-o", "a.pdf"], r".svg"),
        (["--preset", "slow"], "preset"),
        (["--style", "cubism"], "contour, one-line"),
        (["--style", "brush", "--preset", "clipasso"], "style of its own"),
        (["--judge", "nano"], "--strokes auto"),
        (["--layers", "2", "--strokes", "1"], "at least 2 strokes"),
        (["--text", "a cat"], "one of the two"),
        (["--avoid", "a cat"], "--text"),
        (["--color", "--order", "travel"], "another picture"),
        (["--order", "importance", "--strokes", "200"], "up to 128"),
        (["--size-mm", "-3", "-o", str(tmp_path / "b.svg")], "millimetres"),
    ):
        assert main([*args, *wrong]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "b.svg").exists()


def test_the_command_draws_what_words_and_clouds_mean(tmp_path, capsys, monkeypatch, tiny_space):
    monkeypatch.setattr("clipx.cli._work.open_space", lambda *args: tiny_space)
    args = ["sketch", "--steps", "2", "--seeds", "1", "--strokes", "3", "-o", str(tmp_path / "out"), "--json"]
    assert main([*args, "--text", "a cat, sleeping", "--avoid", "a dog", "--gif", "--preset", "clipdraw"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["settings"]["learn_color"] and record["settings"]["learn_width"]
    names = {"a-cat-sleeping-3.svg", "a-cat-sleeping-3.png", "a-cat-sleeping-3.gif", "a-cat-sleeping-3-strokes.gif"}
    assert {Path(file).name for file in record["results"][0]["files"]} == names
    np.savetxt(tmp_path / "cloud.xyz", np.random.default_rng(0).normal(size=(200, 3)))
    assert main([*args, str(tmp_path / "cloud.xyz"), "--no-color", "--no-width"]) == 0
    assert not json.loads(capsys.readouterr().out)["settings"]["learn_color"]
    assert len(read_svg(tmp_path / "out" / "cloud-3.svg")) == 3
    photo().save(tmp_path / "disc.png")
    assert main([*args, str(tmp_path / "cloud.xyz"), str(tmp_path / "disc.png")]) == 2
    assert "drawn separately" in capsys.readouterr().err


def bad_photo(kind: str, path: Path) -> None:
    picture = photo()
    if kind == "unreadable":
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    elif kind == "one pixel":
        Image.new("RGB", (1, 1)).save(path)
    elif kind == "transparent":
        Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(path)
    elif kind == "uniform":
        Image.new("RGB", (20, 20), (9, 9, 9)).save(path)
    elif kind == "beyond memory":  # a header that promises 60,000 x 60,000 pixels
        picture.save(path)
        data = bytearray(path.read_bytes())
        data[16:24] = (60_000).to_bytes(4, "big") * 2
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
        path.write_bytes(data)
    else:
        picture.save(path)


@pytest.mark.parametrize(
    ("kind", "more", "message"),
    [
        ("missing", [], "no such file"),
        ("unreadable", [], "not a readable picture"),
        ("one pixel", [], "nothing to draw"),
        ("transparent", [], "transparent throughout"),
        ("uniform", [], "one colour"),
        ("beyond memory", [], "pixels"),
        ("good", ["--mask", "black.png"], "leaves nothing"),
        ("good", ["--mask", "small.png"], "photo's own size"),
        ("good", ["--mask", "none.png"], "no such file"),
        ("good", ["--strokes", "0"], "1 to 4096"),
        ("good", ["--hpgl", "hp7475a"], "--size-mm"),
        ("good", ["--hpgl", "hp7475a", "--size-mm", "90", "--color"], "one pen"),
        ("good", ["--hpgl", "ouija", "--size-mm", "90"], "no plotter 'ouija'"),
        ("good", ["--hpgl", "hp7475a", "--size-mm", "900"], "a smaller --size-mm"),
        ("good", ["--strokes", "1000000"], "1 to 4096"),
        ("good", ["--strokes", "4096", "--seeds", "64"], "side by side"),
        ("good", ["--seed", "-1"], "seed"),
        ("good", ["--width-px", "nan"], "width_px"),
        ("good", ["-o", "no/such/folder.svg"], "folder"),
        ("good", ["-o", "taken"], "cannot be made"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(kind, more, message, tmp_path, capsys, monkeypatch, tiny_space):
    monkeypatch.setattr("clipx.cli._work.open_space", lambda *args: tiny_space)
    monkeypatch.chdir(tmp_path)
    if kind != "missing":
        bad_photo(kind, tmp_path / "photo.png")
    Image.new("L", (120, 80)).save(tmp_path / "black.png")
    Image.new("L", (12, 8), 255).save(tmp_path / "small.png")
    (tmp_path / "taken").write_text("mine")
    before = {path.name for path in tmp_path.iterdir()}
    assert main(["sketch", "photo.png", "--steps", "1", "--seeds", "1", "-o", "x.svg", *more]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error:") and error.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == before and (tmp_path / "taken").read_text() == "mine"


def test_what_is_drawn_of_photos_only(target, tiny_space):
    with pytest.raises(InputError, match="nothing to look for"):
        draw([Meaning.of_text(tiny_space, "a cat")], tiny_space, about="a cat")
    with pytest.raises(InputError, match="pixels only"):
        draw([target], tiny_space, DrawConfig(side=32 + tiny_space.image_size[0]))


def test_the_command_plots_and_animates(tmp_path, capsys, monkeypatch, tiny_space):
    pytest.importorskip("vpype")
    monkeypatch.setattr("clipx.cli._work.open_space", lambda *args: tiny_space)
    photo().save(tmp_path / "disc.png")
    args = ["sketch", str(tmp_path / "disc.png"), "--steps", "1", "--seeds", "1", "--strokes", "3", "--json"]
    assert main([*args, "-o", str(tmp_path / "out"), "--size-mm", "90", "--hpgl", "hp7475a", "--animate"]) == 0
    (made,) = json.loads(capsys.readouterr().out)["results"]
    assert str(tmp_path / "out" / "disc-3.hpgl") in made["files"]
    assert (tmp_path / "out" / "disc-3.hpgl").read_text().count("PD") == 3
    photo(224, 150).save(tmp_path / "wide.png")  # fits A3, which a square of that width does not
    wide = ["sketch", str(tmp_path / "wide.png"), "--steps", "1", "--seeds", "1", "--strokes", "2"]
    assert main([*wide, "-o", str(tmp_path / "wide"), "--size-mm", "350", "--hpgl", "hp7475a"]) == 0
    photo(75, 224).save(tmp_path / "tall.png")
    tall = ["sketch", str(tmp_path / "tall.png"), "-o", str(tmp_path / "tall"), "--size-mm", "190", "--hpgl", "hp7475a"]
    assert main(tall) == 2 and not (tmp_path / "tall").exists()  # known before the work
    capsys.readouterr()
    svg = (tmp_path / "out" / "disc-3.svg").read_text()
    assert svg.count("animation:draw") == 3 and 'width="90mm"' in svg


def test_drawings_are_encoded_as_drawings_where_the_space_can(target, tiny_space):
    lite = load_space("lite")
    objective = objective_for([target], lite, replace(QUICK, words=0.0), maps_of(target, lite))
    assert objective.side == 128 and objective.semantic == 1
    page = torch.rand(1, 1, 224, 224, generator=torch.Generator().manual_seed(0)).requires_grad_()
    kept, rows = objective._encode(objective._fitted(page), 1)
    assert list(kept) == ["stage2", "stage3"]
    drawing_space = lite.domain("drawing")
    torch.testing.assert_close(rows, drawing_space.encode_image(objective._fitted(page).expand(-1, 3, -1, -1)))
    _, wanted, _ = objective._wanted(torch.tensor([0]), torch.tensor([0, 1]), None)
    torch.testing.assert_close(wanted, lite.encode_image(without_frame(target)[None]).expand(2, -1))
    loss, _ = objective([(0, 6, 0)], page, 0)
    (gradient,) = torch.autograd.grad(loss.sum(), page)
    assert gradient.abs().sum() > 0
    plain = objective_for([target], lite, DrawConfig.preset("clipasso"), maps_of(target, lite))
    assert plain.drawing_space is lite and plain.side == 224 and plain.semantic == 0.1
    assert objective_for([target], tiny_space, QUICK).semantic == 0.1
    with pytest.raises(InputError, match="no stage 'stage9'"):
        objective_for([target], lite, replace(QUICK, stages=("stage9",)), maps_of(target, lite))


def test_a_drawing_is_to_mean_the_photos_words_too(target, tiny_space):
    """Half of the way from the photo's vector to its best words, or to what it is drawn for."""
    import skimage.data

    lite = load_space("lite")
    cat = prepare(Image.fromarray(skimage.data.chelsea()))

    def wanted(words, about=None, shown=cat, space=lite):
        objective = objective_for([shown], space, replace(QUICK, words=words), maps_of(shown, space), about)
        return torch.nn.functional.normalize(objective._wanted(torch.tensor([0]), torch.tensor([0]), None)[1][0], dim=0)

    photo_alone, half, words_alone = wanted(0.0), wanted(0.5), wanted(1.0)
    torch.testing.assert_close(half @ photo_alone, half @ words_alone)
    assert photo_alone @ words_alone < half @ words_alone < 1
    said = lite.encode_text(["an Egyptian cat", "a cup", "a piano", "a car"])
    assert (said @ words_alone.numpy()).argmax() == 0
    np.testing.assert_allclose(wanted(1.0, "a cup").numpy(), lite.encode_text(["a cup"])[0], atol=1e-6)
    # a space that has no picture domains compares pictures with pictures
    assert torch.equal(wanted(0.5, "a cup", target, tiny_space), wanted(0.0, None, target, tiny_space))


def test_lite_looks_where_the_thing_is_that_one_asks_for():
    import skimage.data

    lite = load_space("lite")
    shown = skimage.data.chelsea(), skimage.data.coffee()
    cat, cup = (Image.fromarray(picture).resize((200, 200)) for picture in shown)
    both = Image.new("RGB", (400, 200))
    both.paste(cat, (0, 0))
    both.paste(cup, (200, 0))
    both = prepare(both)
    for word, left in (("the cat", True), ("a cup", False)):
        (found,) = drawing._saliency_maps([both], lite, word)
        inside = found[both.box[0] : both.box[0] + both.box[2]]
        share = inside[:, :112].sum() / inside.sum()
        assert (share > 0.6) == left and (share < 0.4) != left
    with pytest.raises(ClipxError, match="class token"):
        drawing._saliency_maps([both], load_space("nano-vit"), "a cat")


def test_many_photos_are_drawn_in_parts(tmp_path, capsys, monkeypatch, tiny_space):
    monkeypatch.setattr("clipx.cli._work.open_space", lambda *args: tiny_space)
    monkeypatch.setattr("clipx.modalities.sketch.task.RUNS_AT_ONCE", 2)
    for i in range(3):
        photo(100 + 10 * i, 80).save(tmp_path / f"disc{i}.png")
    photos = [str(tmp_path / f"disc{i}.png") for i in range(3)]
    args = ["sketch", *photos, "--steps", "2", "--seeds", "2", "--strokes", "3", "-o", str(tmp_path / "out"), "--json"]
    assert main(args) == 0
    first = capsys.readouterr().out
    assert [Path(r["svg"]).name for r in json.loads(first)["results"]] == [f"disc{i}-3.svg" for i in range(3)]
    assert main([*args, "--resume"]) == 0 and capsys.readouterr().out == first


def test_rembg_finds_the_mask(tmp_path, monkeypatch):
    photo().save(tmp_path / "disc.png")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "rembg", None)
        with pytest.raises(ClipxError, match=r"clipx-modalities\[mask\]"):
            load_target(tmp_path / "disc.png", "auto")
    left = np.zeros((80, 120), np.uint8)
    left[:, :60] = 255
    fake = types.SimpleNamespace(remove=lambda picture, only_mask: Image.fromarray(left))
    monkeypatch.setitem(sys.modules, "rembg", fake)
    target = load_target(tmp_path / "disc.png", "auto")
    assert (target.pixels[:, :, 120:] == 1).all() and (target.pixels[:, 60:160, :110] < 1).any()


def test_ctrl_c_keeps_the_best_so_far(tmp_path, capsys, monkeypatch, tiny_space):
    monkeypatch.setattr("clipx.cli._work.open_space", lambda *args: tiny_space)
    step_of = drawing._step

    def interrupted(runs, objective, config, step):
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        step_of(runs, objective, config, step)

    monkeypatch.setattr(drawing, "_step", interrupted)
    photo().save(tmp_path / "disc.png")
    args = ["sketch", str(tmp_path / "disc.png"), "--strokes", "3", "--seeds", "1", "--steps", "9"]
    assert main([*args, "-o", str(tmp_path)]) == 130
    kept = tmp_path / "clipx-checkpoint-0.safetensors"
    assert len(read_svg(tmp_path / "disc-3.svg")) == 3 and kept.exists()
    monkeypatch.setattr(drawing, "_step", step_of)
    capsys.readouterr()
    assert main([*args, "-o", str(tmp_path)]) == 2 and "--resume" in capsys.readouterr().err
    assert main([*args, "-o", str(tmp_path), "--resume"]) == 0 and not kept.exists()


def test_ctrl_c_before_the_first_step_names_no_run_to_resume(tmp_path, capsys, monkeypatch, tiny_space):
    monkeypatch.setattr("clipx.cli._work.open_space", lambda *args: tiny_space)
    start_of_runs = drawing._start

    def interrupted(*given, **more):
        os.kill(os.getpid(), signal.SIGINT)
        return start_of_runs(*given, **more)

    monkeypatch.setattr(drawing, "_start", interrupted)
    photo().save(tmp_path / "disc.png")
    args = ["sketch", str(tmp_path / "disc.png"), "--strokes", "3", "--seeds", "1", "--steps", "9"]
    assert main([*args, "-o", str(tmp_path)]) == 130
    err = capsys.readouterr().err
    assert "the best so far is kept" in err and "--resume" not in err
    assert len(read_svg(tmp_path / "disc-3.svg")) == 3 and not list(tmp_path.glob("*checkpoint*"))


def test_a_stopped_ladder_has_no_choice(tmp_path, capsys, monkeypatch, tiny_space, tiny_vit_space):
    spaces = {"nano-vit": tiny_vit_space}  # which judges
    monkeypatch.setattr("clipx.cli._work.open_space", lambda name, *args: spaces.get(name, tiny_space))
    step_of = drawing._step

    def interrupted(runs, objective, config, step):
        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        step_of(runs, objective, config, step)

    monkeypatch.setattr(drawing, "_step", interrupted)
    photo().save(tmp_path / "disc.png")
    args = ["sketch", str(tmp_path / "disc.png"), "--strokes", "auto", "--seeds", "1", "--steps", "9", "--json"]
    for out in ("one.svg", "folder"):
        assert main([*args, "-o", str(tmp_path / out)]) == 130
        results = json.loads(capsys.readouterr().out)["results"]
        assert results and not any("chosen" in result for result in results)
    assert (tmp_path / "one.svg").exists() and len(list((tmp_path / "folder").glob("*.svg"))) == 5


def test_enough_is_where_the_judge_is_hardly_surer(target, tiny_space, tiny_vit_space, monkeypatch):
    from clipx.modalities.sketch import judging

    drawn = draw([target], tiny_space, DrawConfig(strokes=(2, 4, 8), seeds=(0,), steps=1))
    sure = judging.certainty(tiny_vit_space, np.stack([film.pixels(d.strokes) for d in drawn]), target, None)
    assert len(sure) == 3 and all(0 < value < 1 for value in sure)
    monkeypatch.setattr(judging, "certainty", lambda *args: [0.1, 0.8, 0.82])
    assert judging.enough(drawn, target, tiny_vit_space) == 4
    cat = Meaning.of_text(tiny_space, "a cat")
    assert judging.enough(drawn, cat, tiny_vit_space, "a cat") == 4
    monkeypatch.setattr(judging, "certainty", None)  # without a text the loss decides
    assert judging.enough(drawn, cat, tiny_vit_space) == drawing.knee({len(d.strokes): d.loss for d in drawn})


def test_places_count_by_saliency_and_the_frame_not_at_all(target, tiny_space):
    top, left, height, width = target.box  # 37, 0, 149, 224
    even = np.full((224, 224), 0.3, np.float32)
    places = objectives._places(target, even, 0.7)
    inside = torch.zeros(224, 224, dtype=torch.bool)
    inside[top + 8 : top + height - 8, left + 8 : left + width - 8] = True
    assert (places[inside] == 1).all() and not places[~inside].any()
    half = even.copy()
    half[:, :112] = 0  # one looks at the right half only
    places = objectives._places(target, half, 0.7)
    assert float(places[:, 112:].sum() / places.sum()) == pytest.approx(0.3 / 2 + 0.7, abs=1e-4)
    narrow = replace(target, box=(0, 104, 224, 16))
    assert (objectives._places(narrow, even, 0.7) == 1).all()
    outside = without_frame(target)
    assert torch.equal(outside[:, :top], target.pixels[:, top : top + 1].expand(-1, top, -1))
    config = replace(QUICK, pool=0)
    for one in (QUICK, config):  # of the pool's views and of fresh ones
        objective = objective_for([target], tiny_space, one, [half])
        draws = None if one.pool else [objective._draw(torch.Generator().manual_seed(0), one.views)]
        _, _, weights = objective._wanted(torch.tensor([0]), torch.tensor([0]), draws)
        assert set(weights) == set(objective.grids)
        for name, value in weights.items():
            assert value.shape == (3 if draws else 1, 1, *objective.grids[name])
            torch.testing.assert_close(value.mean(dim=(1, 2, 3)), torch.ones(len(value)))
    assert objective_for([target], tiny_space, QUICK).places is None


def test_weights_scale_what_a_place_adds_to_the_geometric_loss():
    ours, theirs = torch.randn(2, 4, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    weights = torch.zeros(4, 1, 5, 6)
    weights[:, :, 2, 3] = 30.0
    plain = geometric_loss({"layer2": ours}, {"layer2": theirs}, ["layer2"], 2)
    same = geometric_loss({"layer2": ours}, {"layer2": theirs}, ["layer2"], 2, {"layer2": torch.ones(4, 1, 5, 6)})
    assert torch.equal(plain, same)
    one = geometric_loss({"layer2": ours}, {"layer2": theirs}, ["layer2"], 2, {"layer2": weights})
    by_hand = (ours - theirs)[:, :, 2, 3].square().unflatten(0, (2, 2)).mean(dim=(1, 2))
    torch.testing.assert_close(one, by_hand)


def test_strokes_that_shrank_to_dots_start_again_twice(target, tiny_space):
    config = DrawConfig(strokes=(6,), seeds=(0,), steps=20, views=0, pool=0, start="points")
    runs, starts = started(target, tiny_space, config), [start_of(target, tiny_space, config)]
    runs.strokes[0, [1, 4], :8] = 100.0
    runs.mean += 1
    before = runs.strokes.clone()
    drawing._renew(runs, starts, replace(config, renew=False), 5)
    drawing._renew(runs, starts, config, 6)
    assert torch.equal(runs.strokes, before)
    drawing._renew(runs, starts, config, 5)
    moved = (runs.strokes != before).any(dim=2)[0]
    assert moved.nonzero()[:, 0].tolist() == [1, 4]
    assert not runs.mean[0, [1, 4]].any() and (runs.mean[0, [0, 2, 3, 5]] == 1).all()
    first = runs.strokes.clone()
    runs.strokes[0, [1, 4], :8] = 100.0
    drawing._renew(runs, starts, config, 10)
    assert not torch.equal(runs.strokes[0, 1], first[0, 1])  # elsewhere than the first time


def test_idle_strokes_go_where_they_help_or_split_the_longest(target, tiny_space):
    """Dots, and the second of two strokes that one curve draws, go to contours; without any, the longest is split."""
    config = DrawConfig(strokes=(5,), seeds=(0,), steps=20, views=0, pool=0)
    start = start_of(target, tiny_space, config)
    points = start.contours(0)[:5].clone()
    points[1], points[4] = torch.stack(split(points[0], 0.4))[1], points[0, 0]  # the end of what 0 began; a dot
    points[0] = split(points[0], 0.4)[0]
    rows = rows_of(points, config)
    new = start.renewed(rows, 0, 5)
    assert (new != rows).any(1)[[0, 1, 4]].all()
    torch.testing.assert_close(points_of(new)[0], start.contours(0)[0], atol=1.0, rtol=0)  # the two are one again
    assert start.loss(new[None]) < start.loss(rows[None])
    start.contours = lambda seed: torch.zeros(0, 4, 2)
    some = rows[[0, 2, 3, 4]]
    new = points_of(start.renewed(some, 0, 5))
    assert (length(new) > 3).all()  # no dot is left, and
    off = (rasterize(new, 224) - rasterize(points_of(some), 224)).abs()
    assert off.mean() < 0.01  # what is drawn is nearly what was drawn


def test_renewed_strokes_keep_or_take_the_width_they_have_to(target, tiny_space):
    config = DrawConfig(strokes=(3,), seeds=(0,), steps=20, views=0, pool=0, learn_width=True)
    start = start_of(target, tiny_space, config)
    start.lines  # noqa: B018  # made before there are no more
    start.contours = lambda seed: torch.zeros(0, 4, 2)
    rows = rows_of(start.lines[3, 0], config)
    rows[:, WIDTH] = torch.tensor([14.0, 15.0, 0.5])
    rows[2, POINTS] = rows[2, :2].repeat(4)  # a dot, which is thinner than the others
    new = start.renewed(rows, 0, 5)
    assert new[:, WIDTH].min() > 13  # the half of a wide stroke is as wide
    moved = start_of(target, tiny_space, config).renewed(rows, 0, 5)
    assert set(moved[:, WIDTH].tolist()) <= {14.0, 15.0, config.width_px}


def test_a_drawing_of_nothing_but_dots_starts_again(target, tiny_space):
    for kind in ("contours", "points"):
        config = DrawConfig(strokes=(4,), seeds=(0,), steps=4, views=0, pool=0, width_px=60.0, start=kind)
        (found,) = draw([target], tiny_space, config)
        assert len(found.strokes) == 4 and math.isfinite(found.loss)


def test_a_renewed_stroke_moves_as_a_new_one_does(target):
    """Adam's first step is as long as the learning rate, also where other strokes have moved for long."""

    class Pull:
        device, at_once = torch.device("cpu"), 64

        def __call__(self, of, pictures, step):
            return 1000 * pictures.mean(dim=(1, 2, 3)), torch.ones(len(of))

    config = DrawConfig(strokes=(4,), seeds=(0,), steps=400, decay=False, window=0, start="points", lr=1.0)
    runs = started(target, load_space("nano-vit"), config)
    for step in range(100):
        drawing._step(runs, Pull(), config, step)
    runs.strokes[0, 2, :8] = 112.0  # a dot
    drawing._renew(runs, [start_of(target, load_space("nano-vit"), config)], config, 100)
    assert runs.age[0].tolist() == [100, 100, 0, 100]
    before = runs.strokes[0, 2, :8].clone()
    drawing._step(runs, Pull(), config, 100)
    moved = (runs.strokes[0, 2, :8] - before).abs()
    assert torch.allclose(moved, torch.full((8,), config.lr), rtol=1e-3)
    fresh = started(target, load_space("nano-vit"), config)
    fresh.strokes[0, 2, :8] = before
    for step in range(3):  # and so do the steps that follow
        drawing._step(fresh, Pull(), config, step)
        if step:
            drawing._step(runs, Pull(), config, 100 + step)
    assert torch.allclose(fresh.strokes[0, 2, :8], runs.strokes[0, 2, :8], atol=0.05)


def test_clipassos_preset_knows_nothing_of_what_the_default_adds():
    plain = DrawConfig.preset("clipasso")
    assert (plain.spread, plain.focus, plain.renew, plain.across, plain.words) == (0.05, 0.0, False, False, 0.0)
    wrong = {"focus": (1.1, -0.1), "words": (1.1, -0.1, math.nan), "spread": (0.0, 1.1)}
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(InputError, match=f"^{name} must be "):
                DrawConfig(**{name: value})
