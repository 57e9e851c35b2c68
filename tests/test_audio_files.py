"""Sound files: formats, widths, rates, channels, lengths; what is refused, and what is warned of."""

import os
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import soundfile
import torch

from clipx import progress as bars
from clipx.errors import FileError, InputError
from clipx.modalities.audio import encoder
from clipx.modalities.audio.encoder import Audio
from clipx.modalities.audio.files import Levels, LongSound, Sound, read_sound, resample
from clipx.modalities.audio.windows import windows

RATE = 44_100


def tone(seconds=0.5, rate=RATE, hz=440.0, channels=1, loud=0.5):
    t = np.arange(round(seconds * rate)) / rate
    return np.stack([loud * np.sin(2 * np.pi * hz * (1 + c) * t) for c in range(channels)], axis=1).astype(np.float32)


def silently(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_sound(path)


FORMATS = {
    "a.wav": (RATE, {"subtype": "PCM_16"}, 1e-4),
    "b.wav": (RATE, {"subtype": "PCM_U8"}, 0.01),
    "c.wav": (RATE, {"subtype": "PCM_24"}, 1e-6),
    "d.wav": (RATE, {"subtype": "FLOAT"}, 0.0),
    "e.wav": (384_000, {"subtype": "PCM_16"}, 1e-4),
    "f.flac": (48_000, {}, 1e-4),
    "g.ogg": (RATE, {"subtype": "VORBIS"}, 0.05),
    "h.opus": (48_000, {"format": "OGG", "subtype": "OPUS"}, None),
    "i.mp3": (RATE, {}, None),  # these two encoders delay it
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_formats(name, channels, tmp_path):
    rate, options, tolerance = FORMATS[name]
    given = tone(rate=rate, channels=channels)
    soundfile.write(tmp_path / name, given, rate, **options)
    sound = silently(tmp_path / name)
    assert isinstance(sound, Sound) and sound.sample_rate_hz == rate and sound.source == str(tmp_path / name)
    assert sound.samples.shape[0] == channels and sound.samples.dtype == torch.float32
    assert sound.seconds == pytest.approx(0.5, abs=0.06)
    assert np.array_equal(sound.samples.T.numpy(), soundfile.read(tmp_path / name, dtype="float32", always_2d=True)[0])
    if tolerance is None:
        found = sound.samples[0].numpy()
        assert np.sqrt((found**2).mean()) == pytest.approx(0.35, abs=0.03)
    else:
        assert np.abs(sound.samples.numpy() - given.T).max() <= tolerance


def test_the_content_decides_not_the_suffix(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), RATE, format="FLAC")
    assert silently(tmp_path / "a.wav").seconds == 0.5


def test_many_channels_become_one(tmp_path):
    given = tone(channels=2).repeat(16, axis=1)
    soundfile.write(tmp_path / "a.wav", given, RATE, subtype="FLOAT")
    sound = silently(tmp_path / "a.wav")
    assert sound.samples.shape == (1, len(given))
    assert torch.allclose(sound.samples[0], torch.from_numpy(given.mean(1)), atol=1e-6)


def test_one_sample(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.5]), RATE)
    with pytest.warns(UserWarning, match=r"it lasts 0\.0227 ms"):
        assert read_sound(tmp_path / "a.wav").samples.tolist() == [[0.5]]


# What is refused ------------------------------------------------------------------------------------------------------


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.opus", "a.mp3"])
@pytest.mark.filterwarnings("ignore")
def test_a_truncated_file_is_an_error_or_a_warning(name, tmp_path):
    rng = np.random.default_rng(0)
    noise = (0.3 * rng.standard_normal(48_000 * 4)).clip(-1, 1)
    options = {"format": "OGG", "subtype": "OPUS"} if name == "a.opus" else {}
    soundfile.write(tmp_path / name, noise, 48_000, **options)
    for share in (0.05, 0.5, 0.9):
        soundfile.write(tmp_path / name, noise, 48_000, **options)
        cut(tmp_path / name, share)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                sound = read_sound(tmp_path / name)
            except FileError as error:
                assert name in str(error) and "\n" not in str(error)
            else:
                assert any("cut short" in str(w.message) for w in caught) or name == "a.mp3"
                assert sound.samples.isfinite().all()


def test_a_truncated_wav_and_flac_are_errors(tmp_path):
    for name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, tone(2.0), RATE)
        cut(tmp_path / name, 0.6)
        with pytest.raises(FileError, match=name):
            read_sound(tmp_path / name)


def test_a_wav_written_by_a_stream_is_read(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), RATE)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(data)
    assert silently(tmp_path / "a.wav").seconds == 0.5


def test_bad_files(tmp_path):
    bad = tmp_path / "a.wav"
    with pytest.raises(FileError, match="no such file"):
        read_sound(bad)
    bad.write_bytes(b"")
    with pytest.raises(FileError, match="empty"):
        read_sound(bad)
    bad.write_bytes(b"RIFF\x00\x00\x00\x00WAVE")
    with pytest.raises(FileError, match="not a readable sound file"):
        read_sound(bad)
    soundfile.write(bad, np.zeros((0, 1)), RATE)
    with pytest.raises(FileError, match="holds no samples"):
        read_sound(bad)
    soundfile.write(bad, np.array([0.1, np.nan, 0.2]), RATE, subtype="FLOAT")
    with pytest.raises(FileError, match="NaN or infinite"):
        read_sound(bad)
    soundfile.write(bad, tone(0.1), 999)
    with pytest.raises(FileError, match="sample rate must be"):
        read_sound(bad)
    (tmp_path / "a.aiff").write_bytes(b"x")
    with pytest.raises(FileError, match="not a readable sound file"):  # the content decides, whatever the suffix
        read_sound(tmp_path / "a.aiff")
    with pytest.raises(FileError, match="is a folder"):
        read_sound(tmp_path)


@pytest.mark.parametrize("samples", [torch.zeros(3, 5), torch.zeros(5), torch.zeros(1, 0), torch.zeros(1, 5).double()])
def test_bad_samples(samples):
    with pytest.raises(InputError):
        Sound(samples)


def test_bad_values_and_rates():
    with pytest.raises(InputError, match="NaN"):
        Sound(torch.tensor([[0.0, torch.inf]]))
    with pytest.raises(InputError, match="sample rate"):
        Sound(torch.zeros(1, 5), 10**9)


# What is warned of ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "rate", "said"),
    [
        (tone() * 30_000, RATE, "divide 16-bit values by 32768"),
        (tone() / 32768, RATE, "silent"),
        (tone() / 1000, RATE, "twice"),
        (np.zeros((RATE // 2, 1)), RATE, "it is silent: whatever is said of it means nothing"),
        (tone(0.099), RATE, "it lasts 99 ms, less than 0.1 s: whatever is said of it means little"),
        (tone(0.05, channels=2), RATE, "it lasts 50 ms"),
        ((tone() * 10).clip(-1, 1), RATE, "clipped"),
        (tone(rate=8000), 8000, "nothing above 4 kHz"),
    ],
)
def test_preflight(samples, rate, said, tmp_path):
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    with pytest.warns(UserWarning, match=said) as caught:
        read_sound(tmp_path / "a.wav")
    assert len(caught) == 1 and "a.wav" in str(caught[0].message)


def test_levels_of_parts_are_those_of_the_whole():
    loud = torch.from_numpy((tone() * 10).clip(-1, 1).T.copy())
    whole, parts = Levels(RATE), Levels(RATE)
    whole.add(loud)
    for part in loud.split(1000, dim=1):
        parts.add(part)
    assert whole.peak == parts.peak and whole.count == parts.count
    assert whole.clipped == pytest.approx(parts.clipped, rel=0.02)


# Rates ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 16_000, 44_099, 44_101, 48_000, 96_000, 384_000])
def test_resampling_keeps_a_tone(rate):
    heard = resample(torch.from_numpy(tone(0.2, rate).T.copy()), rate, 22_050)[0]
    assert abs(len(heard) - 0.2 * 22_050) <= 6
    expected = torch.from_numpy(tone(0.2, 22_050)[:, 0])
    inner = slice(200, min(len(heard), len(expected)) - 200)
    assert (heard[inner] - expected[inner]).abs().max() < 0.03


# Windows and long files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "times"),
    [
        (0.3, [(0.0, 0.3)]),
        (1.0, [(0.0, 1.0)]),
        (1.01, [(0.0, 1.0)]),  # a hundredth more is no second window
        (1.2, [(0.0, 1.0), (0.2, 1.2)]),
        (2.0, [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)]),
        (2.3, [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0), (1.3, 2.3)]),
    ],
)
def test_windows(seconds, times):
    sound = Sound(torch.from_numpy(tone(seconds, 8000).T.copy()), 8000)
    found = list(windows(sound, 1.0, 0.5, 8000))
    assert [time for w in found for time in (w.start_s, w.end_s)] == pytest.approx([t for pair in times for t in pair])
    for window in found:
        assert window.samples.shape == (1, 8000)
        piece = sound.samples[:, round(window.start_s * 8000) : round(window.end_s * 8000)]
        assert torch.equal(window.samples[:, : piece.shape[1]], piece)
        assert not window.samples[:, piece.shape[1] :].any()


class Parts(Sound):
    """A sound that comes in blocks of a size of its own."""

    def blocks(self):
        yield from self.samples.split(777, dim=1)


@pytest.mark.parametrize(("length", "hop"), [(1.0, 0.5), (0.3, 0.3), (0.05, 0.2), (5.0, 2.5)])
def test_windows_do_not_depend_on_how_a_file_is_read(length, hop):
    samples = torch.from_numpy(tone(3.3, 8000, channels=2).T.copy())
    whole, parts = (list(windows(kind(samples, 8000), length, hop, 11_025)) for kind in (Sound, Parts))
    assert len(whole) == len(parts)
    for a, b in zip(whole, parts, strict=True):
        assert (a.start_s, a.end_s) == (b.start_s, b.end_s) and torch.equal(a.samples, b.samples)


def test_a_long_file_is_streamed(tmp_path, tiny_space):
    path = tmp_path / "long.flac"
    soundfile.write(path, tone(65.0, 8000), 8000)
    sound = silently(path)
    assert isinstance(sound, LongSound)
    with pytest.warns(UserWarning, match="nothing above 4 kHz"):
        streamed = Audio(tiny_space).encode([sound]).vectors
        held = Sound(torch.cat(list(sound.blocks()), 1), 8000)
    assert torch.equal(streamed, Audio(tiny_space).encode([held]).vectors)


def test_a_long_file_shows_its_minutes(tmp_path, tiny_space, monkeypatch):
    told = []

    @contextmanager
    def progress(what, total):
        told.append((what, total))
        yield told.append

    monkeypatch.setattr(encoder, "progress", progress)
    soundfile.write(tmp_path / "long.wav", tone(125.0, 8000), 8000)
    with pytest.warns(UserWarning, match="nothing above 4 kHz"):
        Audio(tiny_space).encode([read_sound(tmp_path / "long.wav"), Sound(torch.ones(1, 100))])
    assert told[0] == ("hearing, in minutes of sound", 2) and sum(told[1:]) == 2
    told.clear()
    Audio(tiny_space).encode([Sound(torch.ones(1, 100))])
    assert not told


def test_a_bar_within_a_bar_is_a_line_of_the_same(monkeypatch):
    """Two of them would draw over each other."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with bars.progress("encoding", 2) as outer, bars.progress("hearing", 60) as inner:
        (shown,) = bars._shown
        outer(1)
        inner(7)
        assert [(task.description, task.completed, task.total) for task in shown.tasks] == [
            ("encoding", 1, 2),
            ("hearing", 7, 60),
        ]
    assert not bars._shown


@pytest.mark.filterwarnings("ignore")
def test_a_long_file_that_changes_or_breaks_is_an_error(tmp_path, tiny_space):
    path = tmp_path / "long.wav"
    soundfile.write(path, tone(61.0, 8000), 8000)
    sound = read_sound(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(FileError, match="has changed"):
        Audio(tiny_space).encode([sound])
    noisy = tone(61.0, 8000)
    noisy[-5] = np.nan
    soundfile.write(path, noisy, 8000, subtype="FLOAT")
    with pytest.raises(FileError, match="NaN"):
        Audio(tiny_space).encode([read_sound(path)])


def test_hours_are_refused_by_their_header(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(0.1, 8000), 8000)
    data = bytearray(path.read_bytes())
    data[21] |= 0x0F  # the total of samples, of which FLAC's header keeps 36 bits
    path.write_bytes(data)
    with pytest.raises(FileError, match=r"hours|cut short"):
        read_sound(path)
