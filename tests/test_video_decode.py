"""Decoding: the frame that is shown at a time, whatever the container, and one line for what is no film."""

import itertools
import struct
import warnings
from contextlib import suppress

import numpy as np
import pytest
from films import grey, number, write_film
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipx.errors import ClipxError
from clipx.modalities.video import colours, decode
from clipx.modalities.video.config import VideoConfig
from clipx.modalities.video.decode import frames_at, measured_s, opened
from clipx.modalities.video.films import Clip, read_film
from clipx.modalities.video.sampling import wanted
from clipx.registry import modality_of
from clipx.serve.uploads import suffix_by_content

av = pytest.importorskip("av")


def same(height, width):
    return height, width


def seen(path, times, fitted=same):
    """[(number of the frame, its time)], and the source that was read."""
    with opened(path) as source:
        found = [(number(frame.pixels), round(frame.time_s, 3)) for frame in frames_at(source, times, fitted)]
    return found, source


# Which frames ---------------------------------------------------------------------------------------------------------


@given(st.floats(0.001, 240), st.floats(0.001, 1e5), st.integers(0, 50), st.integers(0, 50))
def test_times_rise_lie_in_the_film_and_are_as_many_as_asked_for(fps, seconds, frames, uniform):
    config = VideoConfig(fps=fps, frames=frames, uniform=uniform)
    times = list(itertools.islice(wanted(config, seconds), 2000))
    assert all(a < b for a, b in itertools.pairwise(times)) and times[0] >= 0 and times[-1] < seconds
    if uniform:
        assert len(times) == uniform
        assert max(np.diff([-times[0], *times, 2 * seconds - times[-1]])) <= seconds / uniform * (1 + 1e-6)
    elif frames:
        assert len(times) <= frames
    else:
        assert times == [i / fps for i in range(len(times))]
        assert len(times) == 2000 or len(times) / fps >= seconds


def test_a_film_of_unknown_length_is_asked_for_without_end():
    assert list(itertools.islice(wanted(VideoConfig(fps=2), None), 3)) == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"), ("a.mov", "libx264"), ("a.m4v", "mpeg4"), ("a.mkv", "libx264"), 
        ("a.webm", "libvpx-vp9"), ("a.avi", "mpeg4"), ("a.avi", "mjpeg"), ("a.mp4", "libsvtav1"),
        ("a.mov", "libx265"),
    ],
)  # fmt: skip
def test_a_time_gives_the_frame_that_is_shown_then(tmp_path, name, codec):
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = write_film(tmp_path / name, [grey(i, 64, 64) for i in range(30)], rate=10, codec=codec, pix_fmt=pix_fmt)
    found, source = seen(path, [0, 0.05, 0.1, 0.95, 1.0, 2.0, 2.89, 2.95])
    assert [one for one, _ in found] == [0, 1, 9, 10, 20, 28, 29]  # 0 and 0.05 are one frame
    assert np.allclose([time for _, time in found], [0, 0.1, 0.9, 1.0, 2.0, 2.8, 2.9], atol=2e-3)
    assert source.seconds == pytest.approx(3, abs=0.11) and not source.losses.packets and not source.losses.missing
    assert read_film(path, VideoConfig(), same).times == pytest.approx((0, 1, 2), abs=2e-3)


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        ("a.wmv", "wmv2", "asf"), ("a.mpg", "mpeg2video", "mpeg"), ("a.mpeg", "mpeg1video", "mpeg"),
        ("a.mts", "libx264", "mpegts"), ("a.m2ts", "libx265", "mpegts"), ("a.3gp", "h263", "3gp"),
        ("a.3g2", "mpeg4", "3g2"), ("a.flv", "flv", "flv"),
    ],
)  # fmt: skip
def test_films_of_camcorders_and_old_phones_are_found_by_their_suffix(tmp_path, name, codec, container):
    path = write_film(tmp_path / name, [grey(i, 144, 176) for i in range(38)], 25, codec=codec, format=container)
    assert modality_of(path) == "video"
    assert [one for one, _ in seen(path, [0, 0.05, 0.95, 1.45])[0]] == [0, 1, 23, 36]
    assert suffix_by_content(path.read_bytes()[:4096], name) == name[1:]


def test_nothing_drifts_at_29_97_frames_a_second(tmp_path):
    from fractions import Fraction

    path = write_film(tmp_path / "a.mp4", [grey(i) for i in range(360)], rate=Fraction(30_000, 1001))
    clip = read_film(path, VideoConfig(), same)
    expected = [int(second * 30_000 / 1001 + 1e-6) for second in range(13)]
    assert [number(one) for one in clip.frames] == [each % 40 for each in expected]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_variable_rate_shows_each_frame_until_the_next(tmp_path, name):
    times = [0, 0.1, 0.2, 2.7, 2.8, 7.0, 7.1]
    path = write_film(tmp_path / name, [grey(3 * i) for i in range(7)], times=times, rate=10)
    found, _ = seen(path, [0, 1, 2, 3, 4, 5, 6, 6.99, 7.05])
    assert found == [(0, 0), (6, 0.2), (12, 2.8), (15, 7.0)]


@pytest.mark.parametrize("keyframes", [1, 5, 250])
def test_random_times_give_what_decoding_everything_gives(tmp_path, keyframes):
    count, rate = 240, 12
    path = write_film(tmp_path / "a.mp4", [grey(i) for i in range(count)], rate=rate, keyframes=keyframes)
    rng = np.random.default_rng(0)
    for some in (3, 20):
        times = sorted(rng.uniform(0, count / rate, some))
        expected = list(dict.fromkeys(int(time * rate + 1e-9) for time in times))
        assert [one for one, _ in seen(path, times)[0]] == [each % 40 for each in expected]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx-vp9"), ("a.mov", "libx265")],
)
def test_what_lies_between_far_times_is_not_decoded(tmp_path, name, codec):
    options = {"g": "10", **({"x265-params": "keyint=10:log-level=none"} if codec == "libx265" else {})}
    path = write_film(
        tmp_path / name, [grey(i) for i in range(600)], rate=5, keyframes=10, codec=codec, options=options
    )
    found, source = seen(path, [20, 60, 100])
    assert [one for one, _ in found] == [100 % 40, 300 % 40, 500 % 40]
    assert source.decoded < 160


def test_an_index_that_is_wrong_is_not_believed(tmp_path, monkeypatch):
    path = write_film(tmp_path / "a.mp4", [grey(i) for i in range(200)], rate=5, keyframes=20)
    real = decode._keyframes
    monkeypatch.setattr(decode, "_keyframes", lambda *a: [key + 3.9 for key in real(*a)])
    seek = decode._seek
    monkeypatch.setattr(decode, "_seek", lambda source, time: seek(source, time + 4.5))
    assert [one for one, _ in seen(path, [10, 20, 30])[0]] == [10, 20, 30]


def test_an_old_avi_is_decoded_from_its_start(tmp_path):
    path = write_film(tmp_path / "a.avi", [grey(i) for i in range(100)], rate=5, codec="mpeg4", keyframes=10)
    found, source = seen(path, [5, 18])
    assert [one for one, _ in found] == [25, 90 % 40] and source.decoded >= 90


def test_uniform_frames_of_a_film_of_few_are_each_taken_once(tmp_path):
    path = write_film(tmp_path / "a.mp4", [grey(i) for i in range(4)], rate=10)
    clip = read_film(path, VideoConfig(uniform=12), same)
    assert [number(one) for one in clip.frames] == [0, 1, 2, 3]
    one = read_film(write_film(tmp_path / "b.mp4", [grey(9)], rate=10), VideoConfig(), same)
    assert len(one.frames) == 1 and one.times == (0.0,) and one.seconds == pytest.approx(0.1, abs=0.01)


def test_a_film_without_a_length_is_measured_by_its_packets(tmp_path, monkeypatch):
    path = write_film(tmp_path / "a.mkv", [grey(i) for i in range(40)], rate=10)
    with opened(path) as source:
        assert measured_s(source) == pytest.approx(4, abs=0.01)
        source.seconds = None
        assert [number(one.pixels) for one in frames_at(source, itertools.count(), same)] == [0, 10, 20, 30]
    monkeypatch.setattr(decode, "_seconds", lambda *a: None)
    assert [number(one) for one in read_film(path, VideoConfig(uniform=4), same).frames] == [5, 15, 25, 35]


def test_sound_that_begins_earlier_counts_as_the_start(tmp_path):
    path = write_film(
        tmp_path / "a.mp4", [grey(i) for i in range(20)], times=[1 + i / 10 for i in range(20)], sound=np.zeros(48_000)
    )
    assert seen(path, [0, 0.5, 1.05, 2.0])[0] == [(0, 1.0), (10, 2.0)]


# Pixels ---------------------------------------------------------------------------------------------------------------


def corners(height=64, width=96):
    """Red top left, green top right, blue bottom left, white bottom right."""
    picture = np.zeros((height, width, 3), np.uint8)
    h, w = height // 2, width // 2
    picture[:h, :w], picture[:h, w:], picture[h:, :w], picture[h:, w:] = (
        (200, 0, 0),
        (0, 200, 0),
        (0, 0, 200),
        (200, 200, 200),
    )
    return picture


@pytest.mark.parametrize("turn", [0, 90, -90, 180])
def test_a_turned_film_is_upright(tmp_path, turn):
    path = write_film(tmp_path / "a.mp4", [corners()] * 2, turn=turn, options={"crf": "1"})
    shown = read_film(path, VideoConfig(), same).frames[0].transpose(1, 2, 0)
    expected = np.rot90(corners(), turn // 90)
    assert shown.shape == expected.shape and np.abs(shown.astype(int) - expected).mean() < 6


def test_a_mirrored_film_is_as_players_show_it(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", 10, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        stream.set_display_rotation(0, hflip=True)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(corners(), format="rgb24")))
        container.mux(stream.encode(None))
    shown = read_film(tmp_path / "a.mp4", VideoConfig(), same).frames[0].transpose(1, 2, 0)
    assert np.abs(shown.astype(int) - corners()[:, ::-1]).mean() < 6


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    from fractions import Fraction

    path = write_film(tmp_path / "a.mp4", [grey(1, 48, 64)], about={"sample_aspect_ratio": Fraction(4, 3)})
    assert read_film(path, VideoConfig(), same).frames.shape[2:] == (48, 85)
    path = write_film(tmp_path / "b.mp4", [grey(1, 48, 64)], about={"sample_aspect_ratio": Fraction(1, 2)})
    assert read_film(path, VideoConfig(), same).frames.shape[2:] == (96, 64)


def test_a_large_picture_is_scaled_down_as_pillow_does(tmp_path):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (18, 32, 3), np.uint8)
    large = np.asarray(Image.fromarray(small).resize((1920, 1080), Image.Resampling.BICUBIC))
    path = write_film(tmp_path / "a.mp4", [large], options={"crf": "5"}, pix_fmt="yuv444p")
    clip = read_film(path, VideoConfig(), lambda h, w: (90, 160))
    expected = np.asarray(Image.fromarray(large).resize((160, 90), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.abs(clip.frames[0].astype(int) - expected).mean() < 6


@pytest.mark.parametrize(("height", "matrix"), [(480, "ITU601"), (720, "ITU709")])
def test_colours_of_an_unstated_matrix_are_those_that_players_assume(tmp_path, height, matrix):
    exact = getattr(av.video.reformatter.Colorspace, matrix)
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", 10, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = height, 64, "yuv420p"
        colour = np.broadcast_to(np.uint8([40, 180, 90]), (height, 64, 3))
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(colour), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=exact)
        frame.colorspace = 2
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    shown = read_film(tmp_path / "a.mp4", VideoConfig(), same).frames[0]
    assert np.abs(shown.mean((1, 2)) - [40, 180, 90]).max() < 4


def test_ten_bits_are_eight(tmp_path):
    path = write_film(tmp_path / "a.mp4", [grey(20)] * 2, pix_fmt="yuv420p10le")
    assert number(read_film(path, VideoConfig(), same).frames[0]) == 20


def test_hdr_becomes_sdr(tmp_path):
    """White of 203 cd/m2 is nearly white, twice that no darker, and neither is grey as the bare signal would be."""
    values = np.float64([0, 26, 203, 406, 1000, 4000]) / 10_000
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    signal = ((c1 + c2 * values**m1) / (1 + c3 * values**m1)) ** m2
    shown = colours.to_sdr(np.repeat(np.float32(signal)[None, :, None], 3, 2), colours.PQ)[0]
    assert (np.diff(shown[:, 0].astype(int)) > 0).all() and shown[0, 0] == 0 and shown[-1].max() <= 255
    assert 236 <= shown[2, 0] <= 244  # 94 %
    assert abs(int(shown[1, 0]) - 101) <= 2  # 26 / 203 = 0.128 of white, unchanged: 0.394 of sRGB's signal
    assert np.ptp(shown.astype(int), axis=1).max() <= 1  # grey stays grey
    hlg = colours.to_sdr(np.full((1, 1, 3), 0.75, np.float32), colours.HLG)[0, 0]
    assert 236 <= hlg[0] <= 244  # 0.75 is the signal of 203 cd/m2, Rec. ITU-R BT.2408


@pytest.mark.parametrize("transfer", [colours.PQ, colours.HLG])
def test_an_hdr_film_is_read_as_such(tmp_path, transfer):
    about = {"color_trc": transfer, "color_primaries": 9, "colorspace": 9}
    path = write_film(tmp_path / "a.mp4", [np.full((64, 64, 3), 150, np.uint8)], pix_fmt="yuv420p10le", about=about)
    level = float(read_film(path, VideoConfig(), same).frames[0].mean())
    direct = colours.to_sdr(np.full((1, 1, 3), 150 / 255, np.float32), transfer)[0, 0].mean()
    assert abs(level - direct) < 4 and abs(level - 150) > 10


@pytest.mark.slow
def test_one_8k_frame(tmp_path):
    path = write_film(tmp_path / "a.mp4", [grey(9, 4320, 7680)], codec="mpeg4", options={"b": "1000000"})
    clip = read_film(path, VideoConfig(), lambda h, w: (126, 224))
    assert clip.frames.shape == (1, 3, 126, 224) and number(clip.frames[0]) == 9


# What is no film ------------------------------------------------------------------------------------------------------


def refused(path) -> str:
    with pytest.raises(ClipxError) as caught:
        read_film(path, VideoConfig(), same)
    text = str(caught.value)
    assert path.name in text and "\n" not in text
    return text


def test_the_content_decides_not_the_suffix(tmp_path):
    path = write_film(tmp_path / "a.mkv", [grey(5)] * 3)
    path.rename(tmp_path / "a.avi")
    assert number(read_film(tmp_path / "a.avi", VideoConfig(), same).frames[0]) == 5


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\0" * 9000, "zeros"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 99, "picture; name the modality: --modality image"),
        (b"RIFF\0\0\0\0WAVEfmt ", "sound; name the modality: --modality audio"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "playlist"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "it is text"),
        (b"PK\x03\x04" + b"\0" * 50, "archive; unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (struct.pack(">I", 24) + b"ftypisom" + b"\0" * 400, "MP4 or QuickTime film that is damaged or cut short"),
        (np.random.default_rng(0).bytes(5000), "no film data"),
    ],
)
def test_what_is_no_film_is_named(tmp_path, content, what):
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    assert what in refused(path)


def test_missing_files_and_folders_are_one_line(tmp_path):
    assert "no such file" in refused(tmp_path / "none.mp4")
    (tmp_path / "b.mp4").mkdir()
    assert "is a folder" in refused(tmp_path / "b.mp4")


def test_a_file_of_sound_alone_says_so(tmp_path):
    path = write_film(tmp_path / "a.mp4", [], sound=np.zeros(16_000))
    assert "holds sound and no pictures; name the modality: --modality audio" in refused(path)


def test_a_header_without_its_film_is_one_line(tmp_path):
    path = write_film(tmp_path / "a.mp4", [grey(i) for i in range(30)])
    path.write_bytes(path.read_bytes()[:-400])  # the index is at the end
    assert "cut short" in refused(path)


def test_noise_in_place_of_the_pictures_is_one_line(tmp_path):
    """As of an encrypted film: the header is whole, and no packet can be decoded."""
    path = write_film(tmp_path / "a.mp4", [grey(i) for i in range(30)])
    data = path.read_bytes()
    start = data.index(b"mdat") + 4
    size = struct.unpack(">I", data[start - 8 : start - 4])[0] - 8
    path.write_bytes(data[:start] + np.random.default_rng(0).bytes(size) + data[start + size :])
    assert "can be decoded; is it encrypted" in refused(path)


def test_a_tail_that_is_missing_is_counted_and_said(tmp_path):
    path = write_film(tmp_path / "a.mkv", [grey(i, 120, 160) for i in range(100)], rate=5)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        clip = read_film(path, VideoConfig(), same)
    assert isinstance(clip, Clip) and 5 <= len(clip.frames) < 18
    text = " ".join(str(one.message) for one in said)
    assert f"it ends early: nothing can be decoded after {clip.seconds:.1f} of 20.0 s" in text
    assert f"{20 - len(clip.frames)} frames of the end are left out" in text and "\n" not in text


def test_a_gap_of_damage_is_counted_and_the_rest_is_read(tmp_path):
    path = write_film(tmp_path / "a.mp4", [grey(i, 120, 160) for i in range(100)], rate=5, keyframes=5)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + len(data) // 4
    data[start : start + 1500] = np.random.default_rng(0).bytes(1500)
    path.write_bytes(bytes(data))
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        clip = read_film(path, VideoConfig(), same)
    assert number(clip.frames[-1]) == 95 % 40 and len(clip.frames) >= 10  # one thread loses more than several


def test_a_frame_of_too_many_pixels_is_refused(tmp_path, monkeypatch):
    path = write_film(tmp_path / "a.mp4", [grey(1)])
    monkeypatch.setattr(decode, "MAX_PIXELS", 1000)
    assert "64 x 48 is more than 1,000 pixels a frame" in refused(path)


def test_a_package_that_is_absent_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(ClipxError, match=r"pip install 'clipx-modalities\[video\]'"):
        read_film(tmp_path / "a.mp4", VideoConfig(), same)


def test_pictures_that_the_decoder_calls_corrupt_are_counted_and_not_shown(tmp_path):
    rng = np.random.default_rng(0)
    pictures = [np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8) for _ in range(40)]
    path = write_film(tmp_path / "a.mp4", pictures, codec="mpeg4")
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 3, len(data) // 3 + 3000, 97):  # in the pictures of the middle
        data[place] ^= 0xFF
    path.write_bytes(data)
    with av.open(str(path)) as container:
        corrupt = set()
        for packet in container.demux(video=0):
            with suppress(av.FFmpegError):  # where it decodes in one thread
                corrupt |= {float(one.pts * one.time_base) for one in packet.decode() if one.is_corrupt}
    with opened(path) as source:
        shown = [frame.time_s for frame in frames_at(source, np.arange(40) / 10, same)]
    assert corrupt and source.losses.packets >= len(corrupt)
    assert len(shown) > 10 and not {round(time, 3) for time in shown} & {round(time, 3) for time in corrupt}
