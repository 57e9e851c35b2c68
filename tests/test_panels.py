"""The tabs that draw and that estimate depth, through the contract of a panel."""

import dataclasses
import io
import json
import struct
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
from PIL import Image
from served import disc_and_bar

from clipx.errors import ClipxError, InputError, VocabularyError
from clipx.modalities.depth.files import read_depth
from clipx.modalities.depth.maps import DepthMap
from clipx.modalities.depth.panel import DepthPanel, Estimated
from clipx.modalities.sketch.panel import SketchPanel
from clipx.modalities.sketch.svg import SVG, read_svg
from clipx.serve.panel import get_panels
from clipx.spaces.loading import load_space


class Watching:
    """Events that are kept; it asks to stop once so many steps are done."""

    def __init__(self, stop_after=None):
        self.partials, self.steps, self.notes, self.stop_after = [], [], [], stop_after

    def progress(self, done, total, note=""):
        self.steps.append((done, total))
        self.notes.append(note)

    def partial(self, record):
        self.partials.append(json.loads(json.dumps(record)))

    def stop(self):
        return self.stop_after is not None and self.steps[-1][0] >= self.stop_after


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return disc_and_bar(tmp_path_factory.mktemp("photo") / "photo.png")


@pytest.fixture(scope="module")
def drawn(photo, tiny_space):
    panel, events = SketchPanel(tiny_space), Watching()
    return panel, panel.run(photo, {"strokes": 6, "fast": True}, events), events


@pytest.fixture(scope="module")
def estimated(photo, tiny_space):
    panel, events = DepthPanel(tiny_space), Watching()
    return panel, panel.run(photo, {}, events), events


def strokes_in(svg):
    return [one for one in ET.fromstring(svg).iter() if one.get("id", "").startswith("stroke-")]


def test_the_panels_are_found_by_their_names():
    assert {name: cls.title for name, cls in get_panels().items()} == {"sketch": "Draw", "depth": "Depth"}
    assert all((cls.assets / "panel.js").is_file() for cls in get_panels().values())


# ------------------------------------------------------------------------------------------------------------- drawing


def test_a_drawing_shows_contours_first_and_then_a_state_every_ten_steps(drawn):
    _, result, events = drawn
    first, *others = events.partials
    assert first["loss"] is None and first["step"] == 0 and 1 <= len(strokes_in(first["svg"])) <= 6
    assert [one["step"] for one in others] == [1, 11, 21]
    assert all(len(strokes_in(one["svg"])) == 6 and one["steps"] == 25 and one["loss"] > 0 for one in others)
    assert others[0]["svg"] != others[-1]["svg"]
    assert events.steps[-1] == (25, 25) and events.notes[-2].startswith("loss 0.")
    assert not result.drawing.stopped


def test_the_summary_has_the_strokes_that_matter_most_first(drawn):
    panel, result, _ = drawn
    summary = json.loads(json.dumps(panel.summary(result)))
    assert len(strokes_in(summary["svg"])) == summary["strokes"] == len(summary["importance"]) == 6
    assert summary["importance"] == sorted(summary["importance"], reverse=True)
    assert summary["step"] == 25 and summary["loss"] == result.drawing.loss
    shares = [guess["probability"] for guess in summary["guesses"]]
    assert len(shares) == 3 and shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1


def test_a_drawing_that_is_stopped_keeps_the_best_so_far_with_the_order_of_its_strokes(photo, tiny_space):
    panel, events = SketchPanel(tiny_space), Watching(stop_after=3)
    result = panel.run(photo, {"strokes": 5}, events)
    assert result.drawing.stopped and len(result.drawing.history) == 4  # it is asked between two steps
    assert len(panel.summary(result)["importance"]) == 5
    assert result.drawing.loss == min(result.drawing.history)


def test_a_sentence_is_drawn_without_a_file(tiny_space):
    panel, events = SketchPanel(tiny_space), Watching(stop_after=2)
    result = panel.run(None, {"text": "a cat", "strokes": 4, "fast": True}, events)
    assert panel.summary(result)["title"] == "a cat" and len(strokes_in(panel.summary(result)["svg"])) == 4
    assert [one["step"] for one in events.partials] == [1]


def test_the_svg_for_a_plotter_has_its_size_and_no_page(drawn, tmp_path):
    panel, result, _ = drawn
    file = panel.download(result, "drawing.svg", {"size_mm": "150", "strokes": "4"})
    root = ET.fromstring(file.content)
    assert (root.get("width"), root.get("height")) == ("150mm", "112.5mm")  # 80 x 60 pixels
    assert root.find(f"{{{SVG}}}rect") is None and len(strokes_in(file.content)) == 4
    assert (file.filename, file.media_type) == ("drawing.svg", "image/svg+xml")
    (tmp_path / "a.svg").write_bytes(file.content)
    kept = {one.tobytes() for one in read_svg(tmp_path / "a.svg").points.round(2)}
    assert kept == {one.tobytes() for one in result.drawing.strokes.points[:4].round(3).round(2)}  # those that matter


def test_the_svg_for_the_screen_has_a_page_and_renders(drawn):
    resvg = pytest.importorskip("resvg_py")
    panel, result, _ = drawn
    file = panel.download(result, "drawing.svg", {})
    assert ET.fromstring(file.content).find(f"{{{SVG}}}rect") is not None
    shown = np.asarray(Image.open(io.BytesIO(bytes(resvg.svg_to_bytes(svg_string=file.content.decode())))).convert("L"))
    assert shown.min() < 64 and shown.max() == 255


def test_pictures_and_films_of_a_drawing(drawn):
    panel, result, _ = drawn
    whole, some = (
        np.asarray(Image.open(io.BytesIO(panel.download(result, "drawing.png", options).content)).convert("L"))
        for options in ({}, {"strokes": "1"})
    )
    assert whole.shape == (672, 896) and (whole < 128).sum() > (some < 128).sum() > 0
    film = Image.open(io.BytesIO(panel.download(result, "drawing.gif", {}).content))
    assert film.format == "GIF" and film.n_frames >= 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"strokes": 3}, "strokes: a drawing has 4 to 128 strokes, got 3"),
        ({"strokes": 129}, "strokes: a drawing has 4 to 128 strokes, got 129"),
        ({"strokes": True}, "strokes: must be of type int, got True"),
        ({"strokes": "8"}, "strokes: must be of type int, got '8'"),
        ({"size": 3}, "sketch: unknown setting 'size'; known: text, strokes, fast, style, about, seed"),
        ({"style": "oil"}, "style: no style 'oil'; one of contour, one-line, hatching, brush"),
        ({"seed": -1}, "seed: must be at least 0, got -1"),
        ({"text": "a cat"}, "sketch: name a photo, or give a sentence, one of the two"),
    ],
)
def test_a_bad_setting_is_refused_in_one_line(photo, tiny_space, settings, said):
    with pytest.raises(InputError) as error:
        SketchPanel(tiny_space).run(photo, settings, Watching())
    assert str(error.value) == said


@pytest.mark.parametrize("settings", [{}, {"text": ""}, {"text": None}, {"text": "a cat", "about": "the cat"}])
def test_without_a_photo_a_sentence_is_needed_and_nothing_of_photos(tiny_space, settings):
    with pytest.raises(InputError):
        SketchPanel(tiny_space).run(None, settings, Watching())


def test_unknown_words_get_the_error_of_the_library(space_folder):
    with pytest.raises(VocabularyError) as error:
        SketchPanel(load_space(space_folder)).run(None, {"text": "a xylothorp"}, Watching())
    assert "xylothorp" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("drawing.pdf", {}),
        ("../drawing.svg", {}),
        ("drawing.svg", {"strokes": "7"}),
        ("drawing.svg", {"strokes": "x"}),
        ("drawing.svg", {"size_mm": "0"}),
        ("drawing.svg", {"size_mm": "nan"}),
        ("drawing.png", {"scale": "9"}),
    ],
)
def test_a_bad_download_is_refused(drawn, name, options):
    panel, result, _ = drawn
    with pytest.raises(InputError):
        panel.download(result, name, options)


# --------------------------------------------------------------------------------------------------------------- depth


def test_a_map_has_the_ends_that_its_colours_run_between(estimated):
    panel, result, events = estimated
    summary = json.loads(json.dumps(panel.summary(result)))
    values = np.frombuffer(panel.download(result, "values.bin", {}).content, "<f4").reshape(60, 80)
    assert (summary["width"], summary["height"], summary["values"]) == (80, 60, {"width": 80, "height": 60})
    assert summary["unit"] == "m" and summary["label"] == "depth in metres" and not summary["fitted"]
    assert values.min() <= summary["near"] == summary["low"] < summary["high"] == summary["far"] <= values.max()
    assert np.isclose(values, result.depth.depth.numpy()).all()
    assert events.steps[-1] == (1, 1)


def test_the_nearest_place_is_red_and_the_farthest_blue_as_the_scale_says(estimated):
    panel, _, _ = estimated
    depth = torch.full((4, 40), 2.0)
    depth[:, :10], depth[:, 30:], depth[0, 0] = 1.0, 8.0, torch.nan
    result = Estimated(DepthMap(depth), torch.zeros(3, 4, 40, dtype=torch.uint8), True)
    colors = np.asarray(Image.open(io.BytesIO(panel.download(result, "colors.png", {}).content)))
    scale = np.asarray(Image.open(io.BytesIO(panel.download(result, "scale.png", {}).content)))
    assert scale.shape == (1, 256, 3) and (panel.summary(result)["near"], panel.summary(result)["far"]) == (1.0, 8.0)
    assert (colors[3, 5] == scale[0, 0]).all() and (colors[3, 35] == scale[0, -1]).all()
    assert scale[0, 0, 0] > scale[0, 0, 2] and (colors[0, 0] == 0).all()
    share = (1 / 2 - 1 / 8) / (1 - 1 / 8)  # where the page puts the mark of 2 m, from far to near
    assert (colors[3, 20] == scale[0, 255 - round(255 * share)]).all()
    assert np.isnan(np.frombuffer(panel.download(result, "values.bin", {}).content, "<f4")[0])


def test_values_of_a_large_photo_are_fewer_and_those_of_its_places(estimated):
    panel, _, _ = estimated
    depth = torch.arange(1.0, 1201).expand(600, 1200).contiguous()
    result = Estimated(DepthMap(depth), torch.zeros(3, 600, 1200, dtype=torch.uint8), True)
    assert panel.summary(result)["values"] == {"width": 512, "height": 256}
    values = np.frombuffer(panel.download(result, "values.bin", {}).content, "<f4").reshape(256, 512)
    assert abs(values[100, 256] - 601) < 3 and values[0, 0] < 4 and values[0, -1] > 1197


def test_the_files_of_a_map_in_metres(estimated, tmp_path):
    trimesh = pytest.importorskip("trimesh")
    panel, result, _ = estimated
    (tmp_path / "depth.png").write_bytes(panel.download(result, "depth.png", {}).content)
    assert np.allclose(read_depth(tmp_path / "depth.png"), result.depth.depth, atol=6e-4)
    cloud = trimesh.load(io.BytesIO(panel.download(result, "cloud.ply", {}).content), file_type="ply")
    assert cloud.vertices.shape == (4800, 3) and (cloud.colors[0, :3] == 200).all()

    data = panel.download(result, "cloud.shape", {}).content
    points, triangles, flags = struct.unpack("<III", data[4:16])
    places = np.frombuffer(data, "<f4", 3 * points, 16).reshape(-1, 3)
    colors = np.frombuffer(data, np.uint8, 4 * points, 16 + 12 * points).reshape(-1, 4)
    assert data[:4] == b"CXS1" and (points, triangles, flags) == (4800, 0, 1) and len(data) == 16 + 16 * points
    assert 0.99 < np.linalg.norm(places, axis=1).max() <= 1.0001
    assert places[0, 1] > places[-1, 1] and places[0, 0] < places[79, 0]  # y up, x right
    assert (colors[0] == (200, 200, 200, 255)).all()


def test_a_map_without_metres_has_no_cloud(estimated):
    panel, result, _ = estimated
    inverse = dataclasses.replace(result, depth=DepthMap(result.depth.depth, "inverse"))
    summary = panel.summary(inverse)
    assert not summary["cloud"] and summary["near"] == summary["high"] > summary["low"] == summary["far"]
    for name in ("depth.png", "cloud.ply", "cloud.shape"):
        with pytest.raises(InputError):
            panel.download(inverse, name, {})
    assert panel.download(inverse, "colors.png", {}).content.startswith(b"\x89PNG")


def test_a_map_of_which_nothing_is_known(estimated):
    panel, result, _ = estimated
    unknown = dataclasses.replace(result, depth=DepthMap(torch.full((60, 80), torch.nan)))
    summary = json.loads(json.dumps(panel.summary(unknown), allow_nan=False))
    assert summary["near"] is None and summary["low"] is None and not summary["cloud"]
    assert np.isnan(np.frombuffer(panel.download(unknown, "values.bin", {}).content, "<f4")).all()


def test_what_is_no_photo_is_refused_in_one_line(tiny_space, tmp_path):
    (tmp_path / "photo.jpg").write_text("no picture")
    for panel in (SketchPanel(tiny_space), DepthPanel(tiny_space)):
        with pytest.raises(ClipxError) as error:
            panel.run(tmp_path / "photo.jpg", {}, Watching())
        assert "\n" not in str(error.value)


def test_depth_takes_a_photo_and_no_settings(photo, tiny_space):
    with pytest.raises(InputError, match="depth is of a photo"):
        DepthPanel(tiny_space).run(None, {}, Watching())
    with pytest.raises(InputError, match="unknown setting 'fit'"):
        DepthPanel(tiny_space).run(photo, {"fit": "/etc/passwd"}, Watching())


def test_a_download_of_depth_takes_no_options(estimated):
    panel, result, _ = estimated
    for name, options in (("map.png", {}), ("colors.png", {"width": "9"})):
        with pytest.raises(InputError):
            panel.download(result, name, options)
