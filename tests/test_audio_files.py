"""Sound files: formats, widths, rates, channels, lengths; what is refused, and what is warned of."""

import math
import os
import re
import struct
import sys
import threading
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import soundfile
import torch

from clipx import progress
from clipx._quiet import suppress_library_notes
from clipx.cli import _progress
from clipx.errors import FileError, InputError
from clipx.modalities.audio import encoder
from clipx.modalities.audio.encoder import Audio
from clipx.modalities.audio.files import Levels, LongSound, Sound, mix, read_sound
from clipx.modalities.audio.resampling import resample
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
    assert sound.samples.shape[0] == channels and sound.samples.dtype == np.float32
    assert sound.seconds == pytest.approx(0.5, abs=0.06)
    assert np.array_equal(sound.samples.T, soundfile.read(tmp_path / name, dtype="float32", always_2d=True)[0])
    if tolerance is None:
        found = sound.samples[0]
        assert np.sqrt((found**2).mean()) == pytest.approx(0.35, abs=0.03)
    else:
        assert np.abs(sound.samples - given.T).max() <= tolerance


def test_the_content_decides_not_the_suffix(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), RATE, format="FLAC")
    assert silently(tmp_path / "a.wav").seconds == 0.5


def test_many_channels_become_one(tmp_path):
    given = tone(channels=2).repeat(16, axis=1)
    soundfile.write(tmp_path / "a.wav", given, RATE, subtype="FLOAT")
    sound = silently(tmp_path / "a.wav")
    assert sound.samples.shape == (1, len(given))
    assert np.allclose(sound.samples[0], given.mean(1), rtol=1e-5, atol=1e-6)


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
                assert np.isfinite(sound.samples).all()


def test_a_truncated_flac_is_an_error(tmp_path):
    soundfile.write(tmp_path / "a.flac", tone(2.0), RATE)
    cut(tmp_path / "a.flac", 0.6)
    with pytest.raises(FileError, match=r"a\.flac"):
        read_sound(tmp_path / "a.flac")


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.w64", "a.rf64", "a.au"])
def test_a_truncated_uncompressed_file_is_read_as_far_as_it_goes(name, tmp_path):
    soundfile.write(tmp_path / name, tone(2.0), RATE)
    cut(tmp_path / name, 0.6)
    with pytest.warns(UserWarning, match=f"{name}: it may be cut short: its header says") as caught:
        assert read_sound(tmp_path / name).seconds == pytest.approx(1.2, abs=0.01)
    assert len(caught) == 1


# Headers with wrong sizes, and files under another name ---------------------------------------------------------------


def chunk(name, content, length=None, pad=True):
    size = len(content) if length is None else length
    return name + size.to_bytes(4, "little") + content + b"\0" * (pad and len(content) % 2)


def wav(*chunks, magic=b"RIFF", size=None):
    body = b"WAVE" + b"".join(chunks)
    return magic + (len(body) if size is None else size).to_bytes(4, "little") + body


def pcm(seconds=0.5, rate=RATE):
    return (32767 * tone(seconds, rate)[:, 0]).astype("<i2").tobytes()


def fmt(rate=RATE):
    return chunk(b"fmt ", b"\1\0\1\0" + rate.to_bytes(4, "little") + (2 * rate).to_bytes(4, "little") + b"\2\0\x10\0")


def ds64(data):
    return chunk(b"ds64", (0).to_bytes(8, "little") + data.to_bytes(8, "little") + bytes(12))


LIST = chunk(b"LIST", b"INFOISFT" + chunk(b"", b"Lavf"))
WAVS = {  # name -> content, the warning
    "list before": (wav(LIST, fmt(), chunk(b"data", pcm())), None),
    "odd list": (wav(chunk(b"LIST", b"abc"), fmt(), chunk(b"data", pcm())), None),
    "odd list without padding": (wav(chunk(b"LIST", b"abc", pad=False), fmt(), chunk(b"data", pcm())), None),
    "chunks after": (wav(fmt(), chunk(b"data", pcm()), LIST, chunk(b"id3 ", b"odd")), None),
    "chunks after, cut": (wav(fmt(), chunk(b"data", pcm()), LIST)[:-4], None),
    "zeros after": (wav(fmt(), chunk(b"data", pcm())) + bytes(300), None),
    "a tag after": (wav(fmt(), chunk(b"data", pcm())) + b"TAG" + b"a" * 125, None),
    "wrong riff size": (wav(fmt(), chunk(b"data", pcm()), size=7), None),
    "stream": (wav(LIST, fmt(), chunk(b"data", pcm(), 2**32 - 1), size=2**32 - 1), None),
    "rf64": (wav(ds64(44_100), fmt(), chunk(b"data", pcm(), 2**32 - 1), magic=b"RF64", size=2**32 - 1), None),
    "bw64": (wav(ds64(44_100), fmt(), chunk(b"data", pcm(), 2**32 - 1), magic=b"BW64", size=2**32 - 1), None),
    "zero": (wav(fmt(), chunk(b"data", pcm(), 0)), "its header says 0 bytes of sound, the file holds 44,100"),
    "zero, riff too": (wav(fmt(), chunk(b"data", pcm(), 0), size=0), "says 0 bytes of sound, the file holds 44,100"),
    "too long": (wav(fmt(), chunk(b"data", pcm(), 44_116)), "it may be cut short: its header says 44,116 bytes"),
    "wrapped": (wav(fmt(), chunk(b"data", pcm(), 5_512)), "says 5,512 bytes of sound.*: it is read to the end"),
    "rf64 zero": (wav(ds64(0), fmt(), chunk(b"data", pcm(), 2**32 - 1), magic=b"RF64"), "says 0 bytes of sound"),
    "bw64 long": (wav(ds64(90_000), fmt(), chunk(b"data", pcm(), 2**32 - 1), magic=b"BW64"), "says 90,000 bytes"),
}


@pytest.mark.parametrize("name", WAVS)
def test_a_wav_is_read_to_its_end_whatever_its_header_says(name, tmp_path):
    content, said = WAVS[name]
    (tmp_path / "a.wav").write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sound = read_sound(tmp_path / "a.wav")
    assert np.array_equal(sound.samples[0], np.frombuffer(pcm(), "<i2") / np.float32(32768))
    assert len(caught) == (said is not None)
    if said:
        assert re.search(f"a.wav: .*{said}", str(caught[0].message))


def test_a_long_wav_with_a_wrong_size_is_streamed_to_its_end(tmp_path):
    for length in (0, 1000, 2**30):
        (tmp_path / "a.wav").write_bytes(wav(fmt(16_000), chunk(b"data", pcm(61.0, 16_000), length)))
        with pytest.warns(UserWarning, match="its header says"):
            sound = read_sound(tmp_path / "a.wav")
        assert isinstance(sound, LongSound) and sound.seconds == 61.0
        assert sum(block.shape[1] for block in sound.blocks()) == 61 * 16_000


def test_an_empty_wav_with_more_chunks_holds_no_samples(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(fmt(), chunk(b"data", b""), LIST))
    with pytest.raises(FileError, match="holds no samples"):
        read_sound(tmp_path / "a.wav")


@pytest.mark.filterwarnings("ignore:.*cut short")
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"])
def test_wrong_sizes_of_any_encoding(subtype, endian, tmp_path):
    if endian == "BIG" and "ADPCM" in subtype:
        pytest.skip("little-endian only")
    soundfile.write(tmp_path / "a.wav", tone(), RATE, subtype=subtype, endian=endian)
    whole = silently(tmp_path / "a.wav").samples
    data = bytearray((tmp_path / "a.wav").read_bytes())
    at = data.index(b"data") + 4
    for wrong in (0, 512, 10**8):
        data[at : at + 4] = wrong.to_bytes(4, endian.lower())
        (tmp_path / "a.wav").write_bytes(data)
        with pytest.warns(UserWarning, match="its header says"):
            found = read_sound(tmp_path / "a.wav").samples
        assert found.shape[1] >= whole.shape[1] and np.array_equal(found[:, : whole.shape[1]], whole)


@pytest.mark.parametrize("name", ["a.aiff", "a.aif", "a.aifc", "a.caf", "a.w64", "a.rf64", "a.au", "a.oga"])
def test_more_formats_are_known_by_their_suffix(name, tmp_path):
    kind = {"aif": "AIFF", "aifc": "AIFF", "oga": "OGG"}.get(name[2:], name[2:].upper())
    soundfile.write(tmp_path / name, tone(), RATE, format=kind)
    assert name[1:] in Audio.suffixes and silently(tmp_path / name).seconds == pytest.approx(0.5, abs=0.01)


def id3(size):
    return b"ID3\3\0\0" + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127]) + b"x" * size


@pytest.mark.filterwarnings("ignore:.*cut short")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (id3(15), b""),
        (id3(200_000), b"TAG" + bytes(125)),  # a picture of the album
        (id3(15) + bytes(3000), b""),
        (id3(15) + id3(300), b""),
        (bytes(100_000), bytes(5000)),
        (b"garbage" * 100, b"garbage" * 100),
    ],
)
def test_an_mp3_is_found_behind_tags_and_padding(before, after, tmp_path, capfd):
    soundfile.write(tmp_path / "a.mp3", tone(), RATE)
    frames = (tmp_path / "a.mp3").read_bytes()
    whole = read_sound(tmp_path / "a.mp3").samples
    (tmp_path / "a.mp3").write_bytes(before + frames + after)
    found = read_sound(tmp_path / "a.mp3").samples
    count = min(found.shape[1], whole.shape[1]) - 2000
    assert abs(found.shape[1] - whole.shape[1]) < 4000
    assert np.allclose(found[:, :count], whole[:, :count], rtol=1e-5, atol=1e-3)
    assert capfd.readouterr().err == ""


def test_a_tag_before_another_format_is_skipped(tmp_path):
    soundfile.write(tmp_path / "a.flac", tone(), RATE)
    for name in ("a.flac", "a.mp3"):
        (tmp_path / name).write_bytes(id3(100) + (tmp_path / "a.flac").read_bytes())
        assert silently(tmp_path / name).seconds == 0.5
    (tmp_path / "a.mp3").write_bytes(wav(fmt(), chunk(b"data", pcm())))
    assert silently(tmp_path / "a.mp3").seconds == 0.5


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom", "MPEG-4 audio"),
        (b"\0\0\0\x20ftypmp42\0\0\0\0", "MPEG-4 audio or film"),
        (b"\0\0\0\x18ftyp3gp4\0\0\0\0", "3GPP"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media"),
        (b"\xff\xf1\x50\x80\x02\x1f\xfc", "AAC"),
        (id3(30) + b"\xff\xf1\x50\x80\x02\x1f\xfc", "AAC"),
        (b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
        (b"<!DOCTYPE html><html>", "a web page or XML, not MP3; download"),
        (b"RIFF\0\0\0\0AVI LIST", "an AVI film"),
        (b"PK\x03\x04", "an archive, not MP3; unpack it"),
        (b"\x89PNG\r\n", "a picture, not MP3; rename it"),
    ],
)
def test_what_is_no_sound_of_ours_is_named_quietly(head, what, tmp_path, capfd):
    (tmp_path / "memo.mp3").write_bytes(head + bytes(500))
    with pytest.raises(FileError, match=rf"memo\.mp3: is {what}") as caught:
        read_sound(tmp_path / "memo.mp3")
    text = str(caught.value)
    assert "not MP3; " in text or "not MP3, and cannot be read (" in text
    assert ("convert it: ffmpeg -i memo.mp3" in text) == (";" not in what)
    assert capfd.readouterr().err == ""


def test_lines_of_other_threads_pass_while_libraries_are_quiet(capfd):
    def inner():
        with suppress_library_notes():
            os.write(2, b"Note: Illegal Audio-MPEG-Header 0x00000000 at offset 528.\nours, of a thread\n")

    with suppress_library_notes():
        os.write(2, b"Warning: Xing stream size off by more than 1%\n")
        threads = [threading.Thread(target=inner) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print("ours", file=sys.stderr)
    print("after", file=sys.stderr)
    assert sorted(capfd.readouterr().err.splitlines()) == ["after", "ours", *["ours, of a thread"] * 4]


# Channels that cancel -------------------------------------------------------------------------------------------------


def noise(seconds=0.5, seed=0, rate=RATE):
    return (0.1 * np.random.default_rng(seed).standard_normal((1, round(seconds * rate)))).astype(np.float32)


@pytest.mark.parametrize(
    "gains", [(1, -1), (1, -0.8), (0.5, -1), (1, -0.5), (1, -1, 0), (1, -1, 1, -1), (1, -1, 0.1, 0.1)]
)
@pytest.mark.parametrize("common", [0.0, 0.1])
def test_channels_that_cancel_leave_the_loudest_one(gains, common):
    loud = noise()
    samples = np.concatenate([gain * loud for gain in gains]) + np.float32(common) * noise(seed=1)
    loudest = samples[np.square(samples).sum(1).argmax()][None]
    assert np.array_equal(mix(samples), loudest)


@pytest.mark.parametrize(
    "samples",
    [
        noise(),
        np.concatenate([noise(), noise()]),
        np.concatenate([noise(), noise(seed=1)]),  # unrelated
        np.concatenate([noise(), 0 * noise()]),  # one microphone
        np.concatenate([noise(), -0.2 * noise()]),  # hardly any less
        np.concatenate([0 * noise()] * 2 + [noise()] + [0 * noise()] * 3),  # 5.1, speech in the middle
        np.concatenate([noise(), noise() + 1e-3 * noise(seed=1)]),
        np.zeros((2, 100), np.float32),
        np.concatenate([noise() + 0.5, noise() - 0.5]),  # an offset of a cheap recorder
    ],
)
def test_other_channels_are_averaged(samples):
    assert np.array_equal(mix(samples), samples.mean(0, keepdims=True))


def test_channels_that_cancel_in_a_part_of_the_time():
    one, two = noise(), noise(seed=1)
    samples = np.concatenate([1.1 * np.concatenate([one, two], 1), np.concatenate([one, -two], 1)])
    assert np.array_equal(mix(samples), samples[:1])


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("seconds", [2.0, 61.0])
def test_a_file_in_opposite_phase_is_the_sound_of_one_channel(channels, seconds, tmp_path, tiny_space):
    one = (0.3 * tone(seconds, 16_000)).astype(np.float32)
    sounds = {}
    for name, given in {"anti": np.concatenate([one, -one] * (channels // 2), 1), "mono": one, "none": 0 * one}.items():
        soundfile.write(tmp_path / f"{name}.wav", given, 16_000, subtype="FLOAT")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            vectors = Audio(tiny_space).encode([read_sound(tmp_path / f"{name}.wav")]).vectors
        sounds[name] = vectors, [str(w.message) for w in caught]
    assert np.array_equal(sounds["anti"][0], sounds["mono"][0]) and not sounds["mono"][1]
    (said,) = sounds["anti"][1]
    assert "anti.wav: its channels cancel when they are mixed: the loudest one is taken alone" in said
    assert "silent" in sounds["none"][1][0]


def test_levels_are_those_of_the_mix():
    levels = Levels(RATE)
    one = tone(1.0).T
    levels.add(np.concatenate([one, 0 * one]))
    assert levels.peak == pytest.approx(0.25, abs=1e-3) and not levels.warnings()
    levels.add(np.concatenate([one, -one]))
    assert levels.peak == pytest.approx(0.5, abs=1e-3)
    assert levels.warnings() == ["its channels cancel when they are mixed in 1 s of it: the loudest one is taken alone"]


def test_a_thumbnail_builds_no_tower_and_draws_nothing_at_random(tiny_space):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    encoder = Audio(tiny_space)
    assert encoder.pictures(Audio.example()).shape[:3] == (1, 3, 64)
    assert torch.equal(torch.get_rng_state(), before) and "tower" not in encoder.__dict__


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


@pytest.mark.parametrize(
    "samples", [np.zeros((3, 5), np.float32), np.zeros(5, np.float32), np.zeros((1, 0), np.float32), np.zeros((1, 5))]
)
def test_bad_samples(samples):
    with pytest.raises(InputError):
        Sound(samples)


def test_bad_values_and_rates():
    with pytest.raises(InputError, match="NaN"):
        Sound(np.array([[0.0, np.inf]], np.float32))
    with pytest.raises(InputError, match="sample rate"):
        Sound(np.zeros((1, 5), np.float32), 10**9)


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
    loud = (tone() * 10).clip(-1, 1).T
    whole, parts = Levels(RATE), Levels(RATE)
    whole.add(loud)
    for part in np.split(loud, range(1000, loud.shape[1], 1000), axis=1):
        parts.add(part)
    assert whole.peak == parts.peak and whole.count == parts.count
    assert whole.clipped == pytest.approx(parts.clipped, rel=0.02)


# Rates ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 16_000, 44_099, 44_101, 48_000, 96_000, 384_000])
def test_resampling_keeps_a_tone(rate):
    found = resample(tone(0.2, rate).T, rate, 22_050)[0]
    assert abs(len(found) - 0.2 * 22_050) <= 6
    expected = tone(0.2, 22_050)[:, 0]
    inner = slice(200, min(len(found), len(expected)) - 200)
    assert np.abs(found[inner] - expected[inner]).max() < 0.03


RATES = (1000, 8000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 176_400, 192_000, 384_000)
ODD = [(1280, 1279), (1279, 1280), (1, 1280), (1280, 1), (37, 1280), (1277, 3)]


@pytest.mark.parametrize(("old", "new"), [(a, b) for a in RATES for b in (8000, 22_050, 44_100, 48_000)] + ODD)
def test_resampling_is_torchaudios(old, new):
    from torchaudio.functional import resample as theirs

    rng, common = np.random.default_rng(0), math.gcd(old, new)
    if max(old, new) // common > 1280:
        pytest.skip("such a ratio is rounded first")
    for channels, count in ((1, 1), (2, 777), (1, 20_001)):
        samples = rng.uniform(-1, 1, (channels, count)).astype(np.float32)
        found, wanted = resample(samples, old, new), theirs(torch.from_numpy(samples), old, new).numpy()
        assert found.dtype == np.float32 and found.shape == wanted.shape
        assert np.abs(found - wanted).max() < 1e-6


@pytest.mark.parametrize(("count", "old", "new"), [(147_483, 160, 147), (124_543, 147, 160), (1, 160, 147)])
def test_resampling_keeps_the_last_sample(count, old, new):
    """torchaudio computes the number of samples in float32, and so drops the last one of some sounds."""
    assert resample(np.ones((1, count), np.float32), old, new).shape == (1, -(-count * new // old))


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
    sound = Sound(tone(seconds, 8000).T, 8000)
    found = list(windows(sound, 1.0, 0.5, 8000))
    assert [time for w in found for time in (w.start_s, w.end_s)] == pytest.approx([t for pair in times for t in pair])
    for window in found:
        assert window.samples.shape == (1, 8000)
        piece = sound.samples[:, round(window.start_s * 8000) : round(window.end_s * 8000)]
        assert np.array_equal(window.samples[:, : piece.shape[1]], piece)
        assert not window.samples[:, piece.shape[1] :].any()


class Parts(Sound):
    """A sound that comes in blocks of a size of its own."""

    def blocks(self):
        yield from np.split(self.samples, range(777, self.samples.shape[1], 777), axis=1)


@pytest.mark.parametrize(("length", "hop"), [(1.0, 0.5), (0.3, 0.3), (0.05, 0.2), (5.0, 2.5)])
def test_windows_do_not_depend_on_how_a_file_is_read(length, hop):
    samples = tone(3.3, 8000, channels=2).T
    whole, parts = (list(windows(kind(samples, 8000), length, hop, 11_025)) for kind in (Sound, Parts))
    assert len(whole) == len(parts)
    for a, b in zip(whole, parts, strict=True):
        assert (a.start_s, a.end_s) == (b.start_s, b.end_s) and np.array_equal(a.samples, b.samples)


def test_a_long_file_is_streamed(tmp_path, tiny_space):
    path = tmp_path / "long.flac"
    soundfile.write(path, tone(65.0, 8000), 8000)
    sound = silently(path)
    assert isinstance(sound, LongSound)
    with pytest.warns(UserWarning, match="nothing above 4 kHz"):
        streamed = Audio(tiny_space).encode([sound]).vectors
        held = Sound(np.concatenate(list(sound.blocks()), 1), 8000)
    assert np.array_equal(streamed, Audio(tiny_space).encode([held]).vectors)


def test_a_long_file_shows_its_minutes(tmp_path, tiny_space, monkeypatch):
    calls = []

    @contextmanager
    def recorded(what, total):
        calls.append((what, total))
        yield calls.append

    monkeypatch.setattr(encoder, "progress", recorded)
    soundfile.write(tmp_path / "long.wav", tone(125.0, 8000), 8000)
    with pytest.warns(UserWarning, match="nothing above 4 kHz"):
        Audio(tiny_space).encode([read_sound(tmp_path / "long.wav"), Sound(np.ones((1, 100), np.float32))])
    assert calls[0] == ("encoding sound, in minutes", 2) and sum(calls[1:]) == 2
    calls.clear()
    Audio(tiny_space).encode([Sound(np.ones((1, 100), np.float32))])
    assert not calls


def test_a_bar_within_a_bar_is_a_line_of_the_same(monkeypatch):
    """Two of them would draw over each other."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress, "_renderer", _progress.bar)
    with progress.progress("encoding", 2) as outer, progress.progress("hearing", 60) as inner:
        (shown,) = _progress._shown
        outer(1)
        inner(7)
        assert [(task.description, task.completed, task.total) for task in shown.tasks] == [
            ("encoding", 1, 2),
            ("hearing", 7, 60),
        ]
    assert not _progress._shown


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


def test_what_follows_in_a_joined_wav_is_said(tmp_path):
    """As ``cat a.wav b.wav`` writes it: libsndfile finds no RIFF chunk in it."""
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 44_100), 44_100)
    whole = path.read_bytes()
    path.write_bytes(whole + whole)
    with pytest.warns(UserWarning, match=rf"another WAV follows at byte {len(whole):,} and is left unread"):
        assert read_sound(path).seconds == 1


def test_mp3_in_a_wav_may_be_shorter_than_its_header_guesses(tmp_path):
    soundfile.write(tmp_path / "a.mp3", np.random.default_rng(0).normal(0, 0.1, 44_100), 44_100)
    body = (tmp_path / "a.mp3").read_bytes()
    body = body[: len(body) * 98 // 100]
    layer3 = struct.pack("<HHIIHHHHIHHH", 0x55, 1, 44_100, 16_000, 1, 0, 12, 1, 2, 417, 1, 1393)
    promised = struct.pack("<I", 48_000)  # more than there are, as ffmpeg writes it
    chunks = b"".join(
        name + struct.pack("<I", len(part)) + part + b"\0" * (len(part) % 2)
        for name, part in ((b"fmt ", layer3), (b"fact", promised), (b"data", body))
    )
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    assert read_sound(tmp_path / "a.wav").seconds == pytest.approx(1, abs=0.1)
