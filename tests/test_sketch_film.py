"""Films of drawings: every frame shows what the strokes are, files are small and the same each time."""

import io
import json
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from clipx.errors import InputError, MissingDependencyError, UnsupportedError
from clipx.modalities.sketch import film
from clipx.modalities.sketch.svg import Strokes, to_svg


def some_strokes(count: int = 6, box=(0, 10, 100, 60), colour: bool = False, seed: int = 0) -> Strokes:
    rng = np.random.default_rng(seed)
    return Strokes(
        rng.uniform(0, 100, (count, 4, 2)).astype(np.float32),
        rng.uniform(2, 5, count).astype(np.float32),
        (rng.uniform(0.5, 1, count) if colour else np.ones(count)).astype(np.float32),
        (rng.uniform(0, 0.9, (count, 3)) * colour).astype(np.float32),
        box,
    )


def decoded(data: bytes) -> tuple[list[np.ndarray], list[int]]:
    """Frames as a viewer shows them, and their durations in ms."""
    film_file = Image.open(io.BytesIO(data))
    frames, durations = [], []
    for number in range(film_file.n_frames):
        film_file.seek(number)
        frames.append(np.asarray(film_file.convert("RGB")))
        durations.append(film_file.info["duration"])
    return frames, durations


def moving(steps: int, **options) -> list[Strokes]:
    strokes = some_strokes(**options)
    return [replace(strokes, points=strokes.points + 2 * step) for step in range(steps)]


@pytest.mark.parametrize("scale", [1, 2.5])
def test_a_picture_shows_what_the_svg_shows(scale):
    resvg = pytest.importorskip("resvg_py")
    strokes = some_strokes(colour=True)
    ours = np.asarray(Image.open(io.BytesIO(film.png(strokes, scale))))
    theirs = Image.open(io.BytesIO(bytes(resvg.svg_to_bytes(to_svg(strokes), width=round(100 * scale)))))
    assert ours.shape == (60 * scale, 100 * scale, 3) and ours.dtype == np.uint8
    assert np.array_equal(ours, film.picture(strokes, scale))
    assert np.abs(ours - np.asarray(theirs.convert("RGB")).astype(float)).mean() <= 0.01 * 255
    assert ours.min() < 200  # something is drawn


def test_what_lies_outside_the_box_is_cut_off():
    strokes = some_strokes(1)
    line = np.float32([[[-50, 40], [0, 40], [50, 40], [150, 40]]])
    seen = film.picture(replace(strokes, points=line, width_px=np.float32([4])))
    assert (seen[30] == 0).all() and (seen[:20] == 255).all()  # the box begins at y 10


def test_pictures_of_no_strokes_are_white_and_too_large_ones_are_refused():
    assert (film.picture(some_strokes(0)) == 255).all()
    assert film.picture(some_strokes(0), 1e-6).shape == (1, 1, 3)
    with pytest.raises(InputError, match="16384"):
        film.picture(some_strokes(), 1e6)


@pytest.mark.parametrize("colour", [False, True])
def test_a_gif_s_frames_are_the_drawing_s(colour):
    frames = moving(9, colour=colour)
    data = film.gif(frames, seconds=2)
    shown, durations = decoded(data)
    assert data == film.gif(frames, seconds=2)
    assert len(shown) == 9 and sum(durations[:-1]) == 2000 and durations[-1] == 1500
    assert Image.open(io.BytesIO(data)).info["loop"] == 0
    for seen, strokes in zip(shown, frames, strict=True):  # nothing is left over from the frame before
        expected = film.picture(strokes, 2)
        assert seen.shape == expected.shape
        difference = np.abs(seen.astype(int) - expected)
        assert difference.max() <= (64 if colour else 9) and difference.mean() < (2 if colour else 0.5)
        assert (seen[(expected == 255).all(2)] == 255).all()  # white paper is white


def test_a_long_film_is_thinned_evenly_to_its_end():
    strokes = some_strokes(2, (0, 0, 100, 100))
    frames = [replace(strokes, points=strokes.points + step / 10) for step in range(200)]
    shown, durations = decoded(film.gif(frames, scale=1))
    assert len(shown) == film.GIF_FRAMES and sum(durations[:-1]) == 4000
    assert np.abs(shown[0].astype(int) - film.picture(frames[0])).max() <= 9
    assert np.abs(shown[-1].astype(int) - film.picture(frames[-1])).max() <= 9
    assert film._evenly(200, 4) == [0, 66, 133, 199] and film._evenly(1, 1) == [0] and film._evenly(7, 1) == [6]


def test_gifs_of_one_frame_and_of_no_strokes():
    for strokes in (some_strokes(), some_strokes(0), some_strokes(colour=True)):
        assert len(decoded(film.gif([strokes]))[0]) == 1
    blank = some_strokes(0)
    shown, durations = decoded(film.gif([blank, blank, blank], seconds=1))
    assert all((seen == 255).all() for seen in shown) and sum(durations) == 2500  # alike: Pillow makes them one


def test_a_gif_of_sixty_frames_is_small():
    strokes = some_strokes(32, box=(0, 0, 224, 224))
    starts = strokes.points[:, :1] * 2.24
    strokes = replace(strokes, points=starts + (strokes.points - 50) / 3, width_px=np.full(32, 3, np.float32))
    rng = np.random.default_rng(0)
    frames = [strokes]
    for _ in range(59):  # as far as an optimiser moves them
        frames.append(replace(strokes, points=frames[-1].points + rng.normal(size=(32, 4, 2)).astype(np.float32)))
    data = film.gif(frames)
    assert Image.open(io.BytesIO(data)).size == (448, 448) and len(data) < 1_000_000


def test_a_pen_draws_stroke_after_stroke():
    strokes = some_strokes(5, colour=True)
    frames = film.stroke_by_stroke(strokes, 40)
    assert len(frames) == 40 and frames[-1] is strokes
    inked = [float((1 - film.pixels(frame)).sum()) for frame in frames]
    counts = [len(frame) for frame in frames]
    assert counts == sorted(counts) and set(counts) == {1, 2, 3, 4, 5}
    assert all(after > before - 1 for before, after in pairwise(inked))
    for frame in frames[:-1]:
        whole = len(frame) - 1
        assert np.array_equal(frame.points[:whole], strokes.points[:whole])  # what is drawn stays
        assert np.array_equal(frame.points[whole, 0], strokes.points[whole, 0])
        assert np.array_equal(frame.color, strokes.color[: whole + 1])
    ways = [float(film.lengths_along(frame.points)[:, -1].sum()) for frame in frames]
    paces = np.diff([0, *ways])
    assert paces.max() < 2 * np.median(paces)


def test_films_of_dots_many_strokes_and_none():
    dots = some_strokes(3)
    dots = replace(dots, points=dots.points[:, :1].repeat(4, 1))
    assert [len(frame) for frame in film.stroke_by_stroke(dots, 6)][-1] == 3
    many = some_strokes(500)
    assert len(film.stroke_by_stroke(many)) == film.GIF_FRAMES
    thin = replace(dots, width_px=np.zeros(3, np.float32))
    assert len(film.stroke_by_stroke(thin, 4)) == 4  # no length and no width: no pace either
    nothing = some_strokes(0)
    assert film.stroke_by_stroke(nothing, 3) == [nothing] * 3
    assert film.stroke_by_stroke(dots, 1) == [dots]
    with pytest.raises(InputError, match="at least 1 frame"):
        film.stroke_by_stroke(dots, 0)


@pytest.mark.parametrize("make", [film.gif, film.mp4])
def test_what_makes_no_film_is_refused(make):
    one = some_strokes()
    with pytest.raises(InputError, match="none"):
        make([])
    with pytest.raises(InputError, match="one box"):
        make([one, replace(one, box=(0, 0, 9, 9))])
    for seconds in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="seconds"):
            make([one], seconds=seconds)


def test_an_mp4_plays_everywhere(tmp_path):
    av = pytest.importorskip("av")
    frames = moving(8, box=(0, 0, 75, 61))
    data = film.mp4(frames, seconds=1, scale=1)
    assert data == film.mp4(frames, seconds=1, scale=1)
    assert data.index(b"moov") < data.index(b"mdat")  # a browser shows it before it has all of it
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        about = stream.codec_context
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert about.name == "h264" and about.pix_fmt == "yuv420p" and (about.width, about.height) == (76, 62)
        assert stream.average_rate == 30 and len(shown) == 75  # 1 s and 1.5 s more
    for seen, strokes in ((shown[0], frames[0]), (shown[29], frames[-1]), (shown[-1], frames[-1])):
        assert np.abs(seen[:61, :75].astype(int) - film.picture(strokes)).mean() < 8


def test_an_mp4_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'clipx-modalities\[video\]', or take a GIF"):
        film.mp4([some_strokes()])


def test_an_ffmpeg_that_fails_is_one_line(monkeypatch):
    av = pytest.importorskip("av")

    def fails(*args, **options):
        raise av.codec.codec.UnknownCodecError("libx264\nmore")

    monkeypatch.setattr(av.container.OutputContainer, "add_stream", fails)
    with pytest.raises(UnsupportedError, match="cannot write the film: libx264; take a GIF") as error:
        film.mp4([some_strokes()])
    assert "\n" not in str(error.value)


def test_a_loss_curve_has_a_line_for_each_drawing(monkeypatch):
    figure = pytest.importorskip("matplotlib.figure")
    drawn = []
    keep = figure.Figure.savefig
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, *a, **k: (drawn.append(self), keep(self, *a, **k))[1])
    histories = {"8 strokes": [0.9, 0.7, 0.6], "16 strokes": [0.8, 0.5, 0.45, 0.44]}
    data = film.loss_curve(histories, "a cat")
    assert Image.open(io.BytesIO(data)).width > 500 and data == film.loss_curve(histories, "a cat")
    (axes,) = drawn[0].axes
    assert {line.get_label(): list(line.get_ydata()) for line in axes.lines} == histories
    assert (axes.get_xlabel(), axes.get_title()) == ("step", "a cat") and "loss" in axes.get_ylabel()
    assert json.dumps([text.get_text() for text in axes.get_legend().get_texts()]) == json.dumps([*histories])
    film.loss_curve({}, "nothing was drawn")
