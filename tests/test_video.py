"""The video modality: the mean of frames, shots with times, and the commands that read films."""

import numpy as np
import pytest
from films import grey, write_film

import clipx
from clipx.errors import InputError
from clipx.modalities.video import Clip, Film, Video, VideoConfig, shots
from clipx.parts import Parts, Time

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
