"""The video modality: the mean of frames, shots with times, and the commands that read films."""

import io
import sys

import numpy as np
import pytest
from films import grey, number, write_film
from PIL import Image

import clipx
from clipx.errors import InputError
from clipx.modalities.video import Clip, Film, Video, VideoConfig, shots
from clipx.parts import Parts, Time
from clipx.registry import modality_of

pytest.importorskip("av")


@pytest.fixture
def space(tiny_vit_space):
    return tiny_vit_space


def test_a_film_s_vector_is_the_mean_of_its_frames_unit_vectors(space, tmp_path):
    path = write_film(tmp_path / "a.mp4", [grey(3 * i) for i in range(12)], rate=1)
    video = Video(space)
    frames = video.frame_parts([video.load(path)])
    assert len(frames.vectors) == 12 and [place.start_s for place in frames.places] == list(range(12))
    mean = frames.vectors.mean(0)
    mean /= np.linalg.norm(mean)
    found = video.encode([video.load(path)]).vectors[0]
    assert np.abs(found - mean).max() < 1e-6
    assert np.abs(video.pool(frames)[0] - mean).max() < 1e-6
    short = Video(space, VideoConfig(cut="windows", longest_s=5.0))  # parts of 5, 5 and 2 frames weigh as many
    assert np.abs(short.encode([video.load(path)]).vectors[0] - mean).max() < 1e-6


def test_a_frame_is_what_the_image_tower_makes_of_its_picture(space, tmp_path):
    path = write_film(tmp_path / "a.mp4", [grey(7)] * 3, rate=1)
    video = Video(space)
    sample = video.load(path)
    expected = space.encode_image(sample.frames / np.float32(255))
    assert np.abs(video.frame_parts([sample]).vectors - expected).max() < 1e-5


def test_a_long_film_is_the_same_read_from_its_file_as_from_memory(space, tmp_path, monkeypatch):
    from clipx.modalities.video import films

    path = write_film(tmp_path / "a.mp4", [grey(i) for i in range(40)], rate=2)
    video, config = Video(space, VideoConfig(fps=2)), VideoConfig(fps=2)
    long = video.load(path)
    assert isinstance(long, Film) and long.seconds == 20.0
    monkeypatch.setattr(films, "SHORT_FRAMES", 100)
    short = video.load(path)
    assert isinstance(short, Clip) and len(short.frames) == 40
    for one in (video.parts, video.frame_parts):
        a, b = one([long]), one([short])
        assert np.abs(a.vectors - b.vectors).max() < 1e-6 and list(a.places) == list(b.places)
    both = Video(space, config).parts([short, long, video.example(), long])
    assert np.abs(both[3][0] - both[1][0]).max() < 1e-6 and len(both) == 4


def test_a_long_film_that_has_changed_is_refused(space, tmp_path):
    video = Video(space, VideoConfig(fps=4))
    path = write_film(tmp_path / "a.mp4", [grey(i) for i in range(40)], rate=4)
    long = video.load(path)
    write_film(path, [grey(i) for i in range(80)], rate=4)
    with pytest.raises(clipx.ClipxError, match="has changed since it was loaded"):
        video.parts([long])


def test_shots_of_vectors():
    a, b = np.eye(8, dtype=np.float32)[:2]
    vectors = np.stack([a, a, a, b, b, b, b, b, b, b])
    times = [float(i) for i in range(10)]
    rows, places = shots(vectors, times, 10.0, 100.0)
    assert [(one.start_s, one.end_s) for one in places] == [(0.0, 2.5), (2.5, 10.0)]
    assert np.array_equal(rows, [a, b]) and [one.frames for one in places] == [3.0, 7.0]
    rows, places = shots(vectors, times, 10.0, 4.0)  # 7.5 s are two of 3.75
    assert [(one.start_s, one.end_s) for one in places] == [(0.0, 2.5), (2.5, 6.25), (6.25, 10.0)]
    rows, places = shots(vectors, times, 10.0, 5.0, cut=False)
    assert [(one.start_s, one.end_s) for one in places] == [(0.0, 5.0), (5.0, 10.0)]
    rows, places = shots(vectors[:1], [0.0], 0.04, 8.0)
    assert [(one.start_s, one.end_s) for one in places] == [(0.0, 0.04)]


def test_what_moves_all_the_time_is_no_row_of_cuts():
    angles = np.arange(20) * 0.8  # neighbours at a distance of 0.3
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    assert len(shots(vectors, list(map(float, range(20))), 20.0, 100.0)[1]) == 1


def test_arrays_are_films(space):
    video = Video(space)
    frames = np.stack([grey(i) for i in range(4)])
    clip = video.from_array(frames, fps=2)
    assert clip.times == (0.0, 0.5, 1.0, 1.5) and clip.seconds == 2.0
    same = video.from_array(frames / 255)
    assert np.array_equal(same.frames, clip.frames)
    for wrong in (frames[0], frames[..., :2], frames[:0], frames / 10, frames.astype(complex)):
        with pytest.raises(InputError):
            video.from_array(wrong)
    with pytest.raises(InputError, match="fps"):
        video.from_array(frames, fps=0)


@pytest.mark.parametrize(
    "wrong", [{"fps": 0}, {"fps": float("nan")}, {"frames": -1}, {"uniform": -1}, {"cut": "x"}, {"longest_s": 0}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        VideoConfig(**wrong)


def test_pooling_takes_parts_of_other_kinds(space):
    rows = np.eye(space.dim, dtype=np.float32)[:3]
    parts = Parts(rows, [0, 2, 3], [Time(0, 1), Time(1, 2), Time(0, 1)])
    assert np.allclose(Video(space).pool(parts)[0, :2], np.sqrt(0.5)) and np.array_equal(
        Video(space).pool(parts)[1], rows[2]
    )


# In an index ----------------------------------------------------------------------------------------------------------


def gif(path, colours):
    first, *rest = [Image.fromarray(np.full((40, 60, 3), colour, np.uint8)) for colour in colours]
    first.save(path, save_all=True, append_images=rest, duration=500, loop=0)
    return path


def test_a_gif_that_moves_is_a_film_and_any_other_a_picture(tmp_path, monkeypatch, space):
    moving, still = gif(tmp_path / "a.gif", [(200, 0, 0), (0, 0, 200)] * 3), gif(tmp_path / "b.gif", [(9, 200, 9)])
    damaged = tmp_path / "c.gif"
    damaged.write_bytes(moving.read_bytes()[:60])
    assert [modality_of(path) for path in (moving, still, damaged, tmp_path / "none.gif")] == [
        *("video", "image", "image", "image")
    ]
    assert Video(space).load(moving).times == (0.0, 1.0, 2.0)
    with clipx.Index.create(tmp_path / "my.index", space) as index:
        index.add([moving, still])
        assert index.stats()["modalities"] == {"image": 1, "video": 1}
        index.add([tmp_path])
        assert index.stats()["modalities"] == {"image": 1, "video": 1}
    monkeypatch.setitem(sys.modules, "av", None)  # without PyAV its first picture is a photo, as before
    assert modality_of(moving) == "image"


def test_a_film_is_found_with_its_time_and_shows_that_moment(tmp_path, space):
    films = tmp_path / "films"
    films.mkdir()
    path = write_film(films / "a.mp4", [grey(0)] * 6 + [grey(35)] * 6, rate=1)
    with clipx.Index.create(tmp_path / "my.index", space) as index:
        index.add([films], settings={"video": {"cut": "windows", "longest_s": 6.0}})
        wanted = Video(space).frame_parts([Video(space).load(path)]).vectors[8:9]
        hit = index.search(clipx.Embedding(wanted, space.id, "video"), 1)[0]
        assert (hit.path, hit.start_s, hit.end_s, hit.modality) == (str(path), 6.0, 12.0, "video")
        shown = np.asarray(Image.open(io.BytesIO(index.moments([hit])[str(path)])))
        assert number(shown) == 35
        assert (
            number(np.asarray(Image.open(io.BytesIO(index.thumbnails([str(path)])[str(path)])).crop((0, 0, 8, 8)))) == 0
        )
        path.write_bytes(b"gone bad")
        assert index.moments([hit]) == {}


def test_the_page_of_a_search_plays_a_film_from_the_moment(tmp_path):
    from clipx.cli._results_page import results_page
    from clipx.index import Hit

    path = write_film(tmp_path / "a b.mp4", [grey(0)] * 6, rate=1)
    hit = Hit(str(path), "video", 0.5, 0.5, 0.5, 0.5, ("dog",), 2.0, 4.5, 1)
    page = results_page("dog", [hit], {str(path): b"jpeg"}, {str(path): "a b.mp4"}, "about")
    assert f'src="{path.as_uri()}#t=2.00,4.50"' in page and 'poster="data:image/jpeg' in page and "%20" in path.as_uri()
    assert "media-src data: file:" in page
    path.unlink()
    assert "<video" not in results_page("dog", [hit], {}, {str(path): "a b.mp4"}, "about")
