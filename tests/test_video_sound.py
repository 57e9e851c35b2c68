"""The sound of films: decoded for the audio modality, and kept in an index beside the pictures."""

import io
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from films import grey, number, write_film
from PIL import Image
from soundfile import SoundFile

import clipx
from clipx import pipeline
from clipx.cli._sound import player
from clipx.errors import FileError, InputError, NoTrackError
from clipx.index import Index
from clipx.modalities.audio import Audio, LongSound, read_sound
from clipx.parts import Time
from clipx.registry import modality_of
from clipx.serve.uploads import suffix_by_content
from clipx.sounds import cut, waveform
from clipx.tracks import TrackReader

pytest.importorskip("av")

HZ = 16_000


@pytest.fixture(scope="module")
def space(tiny_vit_space):
    """One with a tower for sounds, though an untrained one."""
    assert Audio(tiny_vit_space).unavailable() is None
    return tiny_vit_space


def tone(seconds, hz=440.0, rate=HZ):
    return 0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def film(path, seconds=8, sound=True, **options):
    return write_film(path, [grey(2 * i) for i in range(seconds)], 1, sound=tone(seconds) if sound else None, **options)


def loudest_hz(samples, rate=HZ):
    return np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples)


# Decoding -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.avi", "a.webm", "a.mts", "a.m2ts", "a.wmv", "a.flv"])
def test_the_sound_of_a_film_is_a_sound(tmp_path, name):
    codec = {"webm": "libvpx-vp9", ".wmv": "wmv2", ".flv": "flv"}.get(name[-4:], "libx264")
    rate = {"webm": 48_000, ".flv": 44_100}.get(name[-4:], HZ)  # those of Opus and of Flash
    many = 25 if name == "a.wmv" else 1  # pictures a second
    path = write_film(tmp_path / name, [grey(0)] * 2 * many, many, codec=codec, sound=tone(2, rate=rate), sound_hz=rate)
    sound = read_sound(path)
    assert sound.seconds == pytest.approx(2, abs=0.15)
    middle = sound.samples[0, rate // 2 : rate]
    assert loudest_hz(middle, rate) == pytest.approx(440, rel=0.02)
    assert np.abs(middle).max() == pytest.approx(0.3, abs=0.05)


def test_a_file_of_sound_alone_is_decoded_whatever_its_suffix(tmp_path):
    path = write_film(tmp_path / "memo.m4a", [], sound=tone(1), format="mp4")
    assert loudest_hz(read_sound(path).samples[0]) == pytest.approx(440, rel=0.02)
    path.rename(tmp_path / "memo.mp3")
    assert read_sound(tmp_path / "memo.mp3").seconds == pytest.approx(1, abs=0.1)


def test_a_sound_that_begins_late_keeps_its_time(tmp_path):
    path = write_film(tmp_path / "late.mkv", [grey(0)] * 6, 1, sound=tone(3), sound_start_s=2.0)
    sound = read_sound(path)
    assert sound.seconds == pytest.approx(5, abs=0.1)
    assert not sound.samples[:, : int(1.9 * HZ)].any() and np.abs(sound.samples[:, int(2.2 * HZ) :]).max() > 0.2


def test_a_long_track_is_read_block_by_block_and_equals_a_short_one(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mp4", 8)
    whole = read_sound(path)
    monkeypatch.setattr("clipx.modalities.audio.files.SHORT_S", 2.0)
    monkeypatch.setattr("clipx.modalities.audio.files.BLOCK", 5000)
    long = read_sound(path)
    assert isinstance(long, LongSound)
    blocks = list(long.blocks())
    assert {block.shape[1] for block in blocks[:-1]} == {5000} and len(blocks) > 20
    assert np.array_equal(np.concatenate(blocks, axis=1), whole.samples)


def test_damaged_packets_are_silent_and_what_follows_keeps_its_time(tmp_path):
    path = write_film(tmp_path / "a.mp4", [grey(0)] * 8, 1, sound=np.concatenate([tone(4), tone(4, 1000)]))
    import av

    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    data, rng = bytearray(path.read_bytes()), np.random.default_rng(0)
    for start, size in packets[20:45]:
        data[start : start + size] = rng.bytes(size)
    path.write_bytes(data)
    with pytest.warns(UserWarning, match=r"a\.mp4: its sound is damaged: \d+ packets"):
        sound = read_sound(path)
    assert sound.seconds == pytest.approx(8, abs=0.15)
    after = sound.samples[0, round(4.3 * HZ) : 7 * HZ]
    assert loudest_hz(after) == pytest.approx(1000, rel=0.02)
    before = sound.samples[0, round(3.3 * HZ) : round(3.8 * HZ)]
    assert loudest_hz(before) == pytest.approx(440, rel=0.02)


def test_a_gap_in_a_track_is_silent(tmp_path):
    import av

    path = write_film(tmp_path / "a.mkv", [grey(0)] * 12, 1, sound=np.concatenate([tone(3), tone(3, 1000)]))
    with av.open(str(path)) as whole, av.open(str(tmp_path / "gap.mkv"), "w") as gap:
        ways = {own.index: gap.add_stream_from_template(own) for own in whole.streams}
        for packet in whole.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "audio" and packet.pts * packet.time_base > 3:
                packet.pts, packet.dts = (stamp + round(4 / packet.time_base) for stamp in (packet.pts, packet.dts))
            packet.stream = ways[packet.stream.index]
            gap.mux(packet)
    sound = read_sound(tmp_path / "gap.mkv")
    assert sound.seconds == pytest.approx(10, abs=0.15)
    assert not sound.samples[:, round(3.3 * HZ) : round(6.8 * HZ)].any()
    assert loudest_hz(sound.samples[0, round(7.3 * HZ) : 9 * HZ]) == pytest.approx(1000, rel=0.02)


def test_channels_that_change_in_a_track_become_those_of_its_beginning(tmp_path):
    import av

    for name, layout, rate in (("mono", "mono", 16_000), ("stereo", "stereo", 44_100)):
        with av.open(str(tmp_path / f"{name}.aac"), "w", format="adts") as container:
            stream = container.add_stream("aac", rate, layout=layout)
            rows = np.tile(tone(3, rate=rate), (1 if layout == "mono" else 2, 1)).astype(np.float32)
            block = av.AudioFrame.from_ndarray(rows, format="fltp", layout=layout)
            block.sample_rate = rate
            container.mux(stream.encode(block))
            container.mux(stream.encode(None))
    for first, second, channels in (("mono", "stereo", 1), ("stereo", "mono", 2)):
        path = tmp_path / "both.aac"
        path.write_bytes((tmp_path / f"{first}.aac").read_bytes() + (tmp_path / f"{second}.aac").read_bytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the length of such a file is a guess
            sound = read_sound(path)
        assert len(sound.samples) == channels and sound.seconds == pytest.approx(6, abs=0.3)
        middle = sound.samples[0, round(4 * sound.sample_rate_hz) : 5 * sound.sample_rate_hz]
        assert loudest_hz(middle, sound.sample_rate_hz) == pytest.approx(440, rel=0.02)


def test_sound_of_an_unknown_codec_is_one_line(tmp_path):
    path = film(tmp_path / "a.mkv", 2)
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    with pytest.raises(FileError, match=r"is Matroska or WebM .{19} and cannot be read \(its sound is of a codec"):
        read_sound(path)


def test_a_track_that_is_far_longer_than_its_header_says_is_not_held_in_memory(tmp_path, monkeypatch):
    path = write_film(tmp_path / "a.m4a", [], sound=tone(8), format="mp4")
    data = bytearray(path.read_bytes())
    at = data.index(b"mdhd") + 20  # the duration of a box of version 0
    data[at : at + 4] = HZ.to_bytes(4, "big")
    path.write_bytes(data)
    monkeypatch.setattr("clipx.modalities.audio.files.SHORT_S", 2.0)
    sound = read_sound(path)
    assert isinstance(sound, LongSound)
    assert sum(block.shape[1] for block in sound.blocks()) == pytest.approx(8 * HZ, abs=0.2 * HZ)


def test_a_film_without_sound_says_so(tmp_path, space):
    path = film(tmp_path / "a.mp4", 2, sound=False)
    with pytest.raises(NoTrackError, match=r"a\.mp4: has no sound"):
        Audio(space).load(path)


def test_a_container_without_pyav_names_what_to_install(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mp4", 2)
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(clipx.ClipxError, match=r"needs PyAV.*clipx-modalities\[video\].*ffmpeg -i a\.mp4"):
        read_sound(path)


def test_a_damaged_track_is_one_line(tmp_path):
    path = film(tmp_path / "a.mp4", 4)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(FileError, match="is MPEG-4 audio or film") as caught:
        read_sound(path)
    assert "\n" not in str(caught.value)


# suffix -> FFmpeg's names of the container and the codec
MEMOS = {
    ".m4a": ("mp4", "aac"), ".m4b": ("mp4", "aac"), ".aac": ("adts", "aac"), ".wma": ("asf", "wmav2"),
    ".ac3": ("ac3", "ac3"), ".mka": ("matroska", "aac"), ".wv": ("wv", "wavpack"),
}  # fmt: skip  # not of .amr and .ape, which FFmpeg does not write


def memo(path, samples, rate=44_100):
    """A file of sound alone, as phones and recorders write them."""
    import av

    kind, codec = MEMOS[path.suffix.lower()]
    with av.open(str(path), "w", format=kind) as container:
        stream = container.add_stream(codec, rate, layout="mono")
        stream.bit_rate = 128_000
        block = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        block.sample_rate = rate
        for packet in (*stream.encode(block), *stream.encode(None)):
            container.mux(packet)
    return path


@pytest.mark.parametrize("suffix", MEMOS)
def test_recordings_of_phones_are_found_shown_and_played(tmp_path, suffix):
    path = memo(tmp_path / f"MEMO{suffix.upper()}", np.concatenate([0.1 * tone(2, rate=44_100), tone(2, 1000, 44_100)]))
    assert modality_of(path) == "audio" and not MEMOS.keys() - set(Audio.suffixes)
    assert suffix_by_content(path.read_bytes()[:4096], path.name) == suffix
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert loudest_hz(read_sound(path).samples[0, 100_000:150_000], 44_100) == pytest.approx(1000, rel=0.01)
    wave = waveform(path)
    assert wave.duration_s == pytest.approx(4, abs=0.15)
    assert wave.peaks[20:60].max() < 0.2 and wave.peaks[100:140].min() > 0.8
    wav, until = cut(path, 2.5, 3.0, 30.0)
    with SoundFile(io.BytesIO(wav)) as played:
        assert until == 3.0 and len(played) == 22_050
        assert loudest_hz(played.read(), 44_100) == pytest.approx(1000, rel=0.01)
    assert "<audio" in player(path, 0, 1, "memo")


@pytest.mark.parametrize("name", ["a.m4a", "a.aac", "a.wv", "a.mka", "a.mts", "a.mpg", "a.avi", "a.mp3"])
def test_a_place_sounds_as_it_does_in_the_whole(tmp_path, name, monkeypatch):
    """A tone that rises all the time; of what is before the place one second is decoded."""
    at = np.arange(30 * 44_100) / 44_100
    rising = (0.3 * np.sin(2 * np.pi * (200 + 40 * at) * at)).astype(np.float32)
    kinds = {".mts": ("mpegts", "aac"), ".mpg": ("mpeg", "mp2"), ".avi": ("avi", "mp3"), ".mp3": ("mp3", "mp3")}
    monkeypatch.setitem(MEMOS, name[-4:], kinds.get(name[-4:], MEMOS.get(name[1:])))
    path = memo(tmp_path / name, rising)
    (whole, until), (late, end) = (cut(path, *part, 60.0) for part in ((0, None), (20.4, 21.0)))
    whole, late = (SoundFile(io.BytesIO(wav)).read() for wav in (whole, late))
    assert until == pytest.approx(30, abs=0.1) and end == 21.0 and len(late) == round(0.6 * 44_100)
    offs = range(-44, 45) if name == "a.mka" else [0]  # Matroska counts time in milliseconds
    first = round(20.4 * 44_100)
    assert min(np.abs(late - whole[first + off :][: len(late)]).max() for off in offs) < 0.01
    if name not in ("a.mp3", "a.avi"):  # which libsndfile reads; in whose AVI all packets are keyframes
        decoded, real = [], TrackReader._frames
        monkeypatch.setattr(TrackReader, "_frames", lambda *given: (decoded.append(f) or f for f in real(*given)))
        cut(path, 20.4, 21.0, 60.0)
        assert sum(frame.samples for frame in decoded) < 8 * 44_100  # a cluster of Matroska is 5 s


def test_a_sound_is_played_whatever_its_suffix(tmp_path):
    """And what is no sound is said to be none."""
    path = memo(tmp_path / "memo.m4a", tone(1, rate=44_100)).rename(tmp_path / "memo.wav")
    assert "<audio" in player(path, 0, 1, "memo") and waveform(path).duration_s == pytest.approx(1, abs=0.1)
    (tmp_path / "notes.m4a").write_text("no sound")
    assert "cannot be played: " in player(tmp_path / "notes.m4a", 0, 1, "notes")


def test_a_film_without_pictures_is_a_sound(tmp_path, space):
    """As of recorders (.3gp), and of what was taken from a film without its pictures."""
    folder = tmp_path / "memos"
    folder.mkdir()
    for name in ("voice.3gp", "talk.mp4", "song.webm"):
        hz = 48_000 if name == "song.webm" else HZ
        write_film(folder / name, [], sound=tone(1, rate=hz), sound_hz=hz)
    film(folder / "film.mp4", 2)
    film(folder / "silent.mp4", 2, sound=False)
    with Index.create(tmp_path / "my.index", space) as index:
        report = index.add([folder])
        assert (report.added, report.failures) == (5, [])
        assert index.stats()["modalities"] == {"audio": 3 + 1, "video": 2}  # one of the films has sound
        assert index.embedding_of(folder / "talk.mp4").modality == "audio"
        assert index.add([folder]).unchanged == 5
    assert clipx.embed(str(folder / "voice.3gp"), space=space).modality == "audio"


def test_a_recording_without_pyav_names_what_to_install(tmp_path, monkeypatch):
    path = memo(tmp_path / "memo.m4a", tone(1, rate=44_100))
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    said = "cannot be played: is MPEG-4 audio or film (.mp4, .m4v, .m4a), which needs PyAV"
    assert said in player(path, 0, 1, "memo")


def packets(step, first=0):
    """The beginning of an MPEG transport stream, of packets of ``step`` bytes."""
    data = bytearray(4096)
    data[first::step] = b"G" * len(data[first::step])
    return bytes(data)


@pytest.mark.parametrize(
    ("head", "name", "suffix"),
    [
        (b"\xff\xf0\x50\x80", "crc.aac", ".aac"), (b"\xff\xf8\x50\x80", "crc.aac", ".aac"),
        (b"ID3\4\0\0", "tagged.aac", ".aac"), (b"ID3\4\0\0", "tagged", ".mp3"), (b"\xff\xe3\x18", "old.mp3", ".mp3"),
        (b"\0\0\0\x1cftyp3gp4", "memo.m4a", ".m4a"), (b"\0\0\0\x1cftyp3gp4", "memo.mp3", ".3gp"),
        (packets(188), "broadcast.mpg", ".mpg"), (packets(192, 4), "camera.m2ts", ".m2ts"), (packets(188), "x", ".mts"),
    ],
)  # fmt: skip
def test_an_upload_has_the_suffix_of_its_content(head, name, suffix):
    assert suffix_by_content(head.ljust(64, b"\0"), name) == suffix


def test_an_upload_that_only_has_the_name_of_a_film_is_refused():
    with pytest.raises(InputError, match=r"its content is not that of a \.mts file"):
        suffix_by_content(b"no film\0" * 500, "a.mts")


# In an index ----------------------------------------------------------------------------------------------------------


def test_a_film_has_rows_of_its_pictures_and_of_its_sound(tmp_path, space):
    (tmp_path / "films").mkdir()
    path = film(tmp_path / "films" / "a.mp4")
    film(tmp_path / "films" / "silent.mp4", sound=False)
    audio = Audio(space)
    parts = audio.parts([audio.load(path)])
    with Index.create(tmp_path / "my.index", space) as index, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # no sound is no fault
        report = index.add([tmp_path / "films"])
        assert (report.added, report.failures) == (2, [])
        stats = index.stats()
        assert (stats["files"], stats["modalities"]) == (2, {"audio": 1, "video": 2})
        last = len(parts.vectors) - 1
        hit = index.search(clipx.Embedding(parts.vectors[last:], space.id, "audio"), 1, modality="audio")[0]
        assert Time(hit.start_s, hit.end_s) == parts.places[last] and hit.cosine == pytest.approx(1, abs=1e-5)
        assert (hit.path, hit.modality) == (str(path), "audio")
        shown = np.asarray(Image.open(io.BytesIO(index.moments([hit])[str(path)])))
        assert abs(number(shown) - 2 * (hit.start_s + hit.end_s) / 2) <= 2  # the picture at that time
        own = index.embedding_of(path, hit.start_s, "audio").vectors[0]
        assert np.abs(own - parts.vectors[last]).max() < 1e-5
        assert index.embedding_of(path).modality == "video"
        assert len({one.path for one in index.search("cat", 10)}) == 2  # one hit a file
        index.remove(path)
        assert index.stats()["modalities"] == {"video": 1} and len(index) == 1


def test_a_film_that_is_known_is_not_decoded_again(tmp_path, space, monkeypatch):
    folder = tmp_path / "films"
    folder.mkdir()
    path = film(folder / "a.mp4")
    with Index.create(tmp_path / "my.index", space) as index:
        index.add([folder])
        rows = len(index)
        shutil.copy(path, folder / "copy.mp4")
        path.rename(folder / "b.mp4")
        monkeypatch.setattr(pipeline, "encode_batch", None)
        report = index.add([folder])
        assert (report.reused, report.removed, len(index)) == (2, 1, 2 * rows)
        assert index.counts() == {"audio": 2, "video": 2}


def test_tracks_can_be_left_out(tmp_path, space):
    path = film(tmp_path / "a.mp4")
    with Index.create(tmp_path / "my.index", space) as index:
        index.add([path], tracks=False)
        assert index.counts() == {"video": 1}
        assert "audio" not in index._collection.meta.modalities


def test_the_sound_of_films_that_are_known_is_added_by_retry_and_with_copies(tmp_path, space, monkeypatch):
    folder = tmp_path / "films"
    folder.mkdir()
    path = film(folder / "a.mp4")
    film(folder / "silent.mp4", sound=False)
    with Index.create(tmp_path / "my.index", space) as index:
        index.add([folder], tracks=False)
        assert index.add([folder]).unchanged == 2 and index.counts() == {"video": 2}
        shutil.copy(path, folder / "copy.mp4")
        assert index.add([folder]).reused == 1 and index.counts() == {"audio": 1, "video": 3}
        monkeypatch.setattr("clipx.modalities.video.modality.Video.load", None)  # its pictures are known
        report = index.add([folder], retry=True)
        assert (report.reused, report.unchanged, report.failures) == (2, 1, [])
        assert index.counts() == {"audio": 2, "video": 3}
        shutil.copy(path, folder / "other.mp4")
        assert index.add([folder], tracks=False).reused == 1 and index.counts() == {"audio": 2, "video": 4}
        index.stage([folder], (1, 1), retry=True)  # a job of a shard leaves them as they are
        assert index.commit().unchanged == 4 and index.counts() == {"audio": 2, "video": 4}


def test_a_space_without_a_tower_for_sounds_takes_the_pictures(tmp_path, space_folder):
    path = film(tmp_path / "a.mp4", 3)
    with Index.create(tmp_path / "my.index", space_folder) as index, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        index.add([path])
        assert index.counts() == {"video": 1}


def test_a_move_to_a_space_without_such_a_tower_says_that_the_sound_is_left_out(tmp_path, space, space_folder):
    with Index.create(tmp_path / "my.index", space) as index:
        index.add([film(tmp_path / "a.mp4", 3), film(tmp_path / "silent.mp4", 2, sound=False)])
        with pytest.warns(UserWarning, match="the tracks of 1 files are left out: audio: the space tiny has no audio"):
            index.reembed(clipx.load_space(space_folder))
        assert index.counts() == {"video": 2}
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            index.reembed(space)
        assert index.counts() == {"audio": 1, "video": 2}


def test_a_damaged_sound_leaves_the_pictures_and_is_named(tmp_path, space, monkeypatch):
    path = film(tmp_path / "a.mp4", 3)

    def damaged(path):
        raise FileError("cannot be decoded", where=path)

    monkeypatch.setattr("clipx.modalities.audio.encoder.read_sound", damaged)
    with Index.create(tmp_path / "my.index", space) as index:
        with pytest.warns(UserWarning, match=r"a\.mp4: without its audio: .*cannot be decoded"):
            report = index.add([path])
        assert (report.added, index.counts()) == (1, {"video": 1})


def test_shards_merges_and_moves_keep_the_tracks(tmp_path, space):
    folder = tmp_path / "films"
    folder.mkdir()
    for i in range(3):
        write_film(folder / f"{i}.mp4", [grey(5 * i + j) for j in range(4)], 1, sound=tone(4, 200 + 100 * i))
    with Index.create(tmp_path / "one.index", space) as index:
        index.add([folder])
        counts, rows = index.counts(), len(index)
    assert counts == {"audio": 3, "video": 3}
    with Index.create(tmp_path / "jobs.index", space) as jobs:
        for number_of in (1, 2):
            jobs.stage([folder], (number_of, 2))
        jobs.commit()
        assert (jobs.counts(), len(jobs)) == (counts, rows)
    with Index.create(tmp_path / "merged.index", space) as merged:
        assert merged.merge(tmp_path / "one.index").added == 3
        assert (merged.counts(), len(merged)) == (counts, rows)
        folder.rename(tmp_path / "moved")
        assert merged.move(folder, tmp_path / "moved") == 3
        assert (merged.counts(), len(merged)) == (counts, rows)
        merged.reembed(space, settings={"video": {"fps": 2.0}})
        assert merged.counts() == counts


def test_a_sample_of_many_rows_counts_files_and_tracks_right(tmp_path, space, monkeypatch):
    from clipx.index.scan import Found
    from clipx.index.store import Entry, Track

    for module in ("ann", "collection", "search"):
        monkeypatch.setattr(f"clipx.index.{module}.EXACT_ROWS", 1000)
    rng = np.random.default_rng(0)

    def vectors(count):
        rows = rng.normal(size=(count, space.dim)).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    entries = []
    for i in range(60):
        times = [(float(t), t + 1.0) for t in range(30)]
        entry = Entry(Found(f"/f/{i:02}.mp4", 1, 1, "video"), f"{i:08x}" + "0" * 56, times, vectors(30), None)
        entries.append(replace(entry, tracks=[Track("audio", times, vectors(30))] if i < 50 else []))
    with Index.create(tmp_path / "my.index", space) as index:
        index._collection.write(entries, replace=False)
        index.build_ann()
        snapshot = index._collection.snapshot()
        assert dict(snapshot.sampled) == {"audio": (50, 1500), "video": (60, 1800)}
        assert (index.stats()["files"], index.counts(), len(index)) == (60, {"audio": 50, "video": 60}, 3300)
        one = entries[7].tracks[0].vectors[4:5]
        hit = index.search(clipx.Embedding(one, space.id, "audio"), 3, modality="audio", exact=True)[0]
        assert (hit.path, hit.start_s, hit.modality) == ("/f/07.mp4", 4.0, "audio")


def test_a_folder_of_films_is_one_of_sounds_where_that_is_asked_for(tmp_path):
    from clipx.cli._work import files_in

    path = film(tmp_path / "a.mp4", 2)
    assert files_in([tmp_path], "audio").files == [path]
    with pytest.raises(clipx.ClipxError, match="holds no file that the modality pointcloud reads"):
        files_in([tmp_path], "pointcloud")


def test_a_pipe_of_a_film_s_suffix_is_never_opened(tmp_path):
    """Whoever opens one waits for a writer; another process, which can be ended, looks at it."""
    os.mkfifo(tmp_path / "x.mp4")
    look = "import sys; from clipx.registry import modality_of; print(modality_of(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", look, tmp_path / "x.mp4"], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "video", done.stderr
