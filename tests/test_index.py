"""The index: what is taken in, what a search finds, what a second run does, and what it refuses."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import types
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import PREPROCESS, RESNET, WORDS, save_space
from indexed import picture, rows, same
from PIL import Image

import clipx
from clipx import pipeline
from clipx.embedding import Embedding
from clipx.errors import ClipxError, FileError, InputError, SpaceMismatchError
from clipx.index import Index
from clipx.index.lance import LanceStore
from clipx.index.lock import WriterLock
from clipx.index.query import Term
from clipx.index.scan import find_files
from clipx.parts import Parts, Time, View


@pytest.fixture(scope="module")
def space(space_folder):
    return clipx.load_space(space_folder)


@pytest.fixture(scope="module")
def other_space(tmp_path_factory):
    from clipx.space import random_space

    space = random_space(RESNET, preprocess_cfg=PREPROCESS, seed=1)
    return clipx.load_space(save_space(space, tmp_path_factory.mktemp("spaces") / "other", WORDS))


@pytest.fixture
def files(tmp_path):
    """A folder of eight pictures, two clouds and a drawing, some of them deeper."""
    folder = tmp_path / "files"
    for i in range(8):
        picture(folder / ("deep/er" if i % 2 else ".") / f"p{i}.png", i)
    for i in range(2):
        np.savetxt(folder / f"c{i}.xyz", np.random.default_rng(i).normal(size=(32, 3)) * [1, 1, 1 + i])
    (folder / "house.ndjson").write_text('{"word": "house", "drawing": [[[0, 90, 90, 0, 0], [0, 0, 60, 60, 0]]]}')
    (folder / "notes.doc").write_text("no modality reads this")
    return folder


@pytest.fixture
def db(tmp_path):
    return tmp_path / "my.index"


# Taking in ------------------------------------------------------------------------------------------------------------


def test_a_folder_is_indexed_and_searched(files, db, space):
    calls = []
    with Index.create(db, space) as index:
        did = index.add([files], progress=lambda done, total: calls.append((done, total)))
        assert (did.added, did.failures, calls[-1]) == (11, [], (11, 11))
        stats = index.stats()
    assert stats["files"] == stats["rows"] == 11
    assert stats["modalities"] == {"image": 8, "pointcloud": 2, "sketch": 1}
    with Index.open(db, space) as index:
        hits = index.search("a photo of a cat", k=3)
        assert [hit.rank for hit in hits] == [1, 2, 3] and hits[0].score >= hits[1].score >= hits[2].score
        for path in ("c1.xyz", "house.ndjson", "deep/er/p3.png"):
            best = next(hit for hit in index.search(files / path, k=2) if Path(hit.path) == files / path)
            assert best.words and best.cosine == pytest.approx(1, abs=1e-4)
        wanted = clipx.embed([files / "p0.png"], space=space)
        assert index.search(wanted, k=1) == index.search(files / "p0.png", k=1)
        assert len(index.search("cat", k=1000)) == 11
        thumbnails = index.thumbnails([hit.path for hit in hits])
        assert len(thumbnails) == 3 and all(data.startswith(b"\xff\xd8") for data in thumbnails.values())


def test_search_agrees_with_plain_numpy(files, db, space):
    from clipx.index.described import COSINE

    with Index.create(db, space) as index:
        index.add([files])
        hits = {hit.path: hit for hit in index.search("a cat + 2*chair - cup", k=99)}
        vocabulary = index._collection.vocabulary
    query = torch.from_numpy(space.encode_text(["a cat", "chair", "cup"]))
    total = torch.nn.functional.normalize(query[0] + 2 * query[1] - query[2], dim=0)

    bank = torch.from_numpy(vocabulary.vectors)

    def described(rows):
        shares = torch.softmax(vocabulary.scale * rows @ bank.T, dim=1)
        similarity = torch.exp(vocabulary.similarity_scale * (bank @ bank.T - 1))
        return torch.nn.functional.normalize(shares @ similarity, dim=1)

    words = described(query)
    asked = torch.nn.functional.normalize(words[0] + 2 * words[1] - words[2], dim=0)
    embedded = torch.from_numpy(clipx.embed(list(hits), space=space).vectors)
    cosines = embedded @ total
    scores = (described(embedded) @ asked + COSINE * cosines) / (1 + COSINE)
    assert [hit.cosine for hit in hits.values()] == pytest.approx(cosines.tolist(), abs=1e-5)
    assert [hit.score for hit in hits.values()] == pytest.approx(scores.tolist(), abs=1e-4)


def test_a_second_run_does_what_is_needed_and_no_more(files, db, space, tmp_path, monkeypatch):
    encoded = []
    real = pipeline.encode_batch
    monkeypatch.setattr(pipeline, "encode_batch", lambda batch, *how: encoded.extend(batch) or real(batch, *how))
    with Index.create(db, space) as index:
        index.add([files])
        encoded.clear()
        did = index.add([files])
        assert (did.unchanged, did.added, len(encoded)) == (11, 0, 0)

        os.utime(files / "p0.png", ns=(1, 1))  # another time, the same content
        (files / "p2.png").rename(files / "renamed.png")
        shutil.copy(files / "p4.png", files / "copy.png")
        picture(files / "p6.png", 99)
        (files / "c0.xyz").unlink()
        did = index.add([files])
        assert (did.added, did.updated, did.reused, did.unchanged, did.removed) == (0, 1, 3, 7, 2)
        assert [item.item.path.name for item in encoded] == ["p6.png"]
        with Index.create(tmp_path / "fresh", space) as fresh:
            fresh.add([files])
            same(rows(index), rows(fresh))
        assert index.remove([files / "deep"]) == 4
        assert index.remove([files / "copy.png", tmp_path / "never.png"]) == 1
        assert index.stats()["files"] == 6


def test_files_that_swap_their_content(files, db, space, tmp_path):
    with Index.create(db, space) as index:
        index.add([files])
        one, two = files / "p0.png", files / "p2.png"
        one.rename(files / "x"), two.rename(one), (files / "x").rename(two)
        index.add([files])
        with Index.create(tmp_path / "fresh", space) as fresh:
            fresh.add([files])
            same(rows(index), rows(fresh))


def test_only_what_lies_in_the_folders_given_is_pruned(files, db, space):
    with Index.create(db, space) as index:
        index.add([files])
        (files / "deep/er/p1.png").unlink()
        (files / "p0.png").unlink()
        assert index.add([files / "deep"]).removed == 1
        assert index.add([files], modality="sketch").removed == 0  # the picture is none of its business
        assert index.add([files], modality="image").removed == 1


def test_what_cannot_be_read_is_listed_and_the_rest_goes_on(files, db, space, monkeypatch):
    with Index.create(db, space) as index:
        index.add([files])
    (files / "p0.png").write_bytes(b"\x89PNG corrupt")
    (files / "empty.png").touch()
    (files / "bad.svg").write_text("<svg")
    unreadable = files / "deep/er/p1.png"
    real_open = open

    def opened(path, *more, **options):
        if str(path) == str(unreadable):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real_open(path, *more, **options)

    os.utime(unreadable, ns=(1, 1))
    monkeypatch.setattr("clipx.files.open", opened, raising=False)
    with Index.open(db, space) as index:
        did = index.add([files])
        reasons = {Path(f.path).name: f.reason for f in did.failures}
        assert set(reasons) == {"p0.png", "empty.png", "bad.svg", "p1.png"}
        assert "empty" in reasons["empty.png"] and "Permission denied" in reasons["p1.png"]
        kept = {Path(row["path"]).name for row in rows(index)}
        assert "p0.png" not in kept  # its content is gone
        assert "p1.png" in kept  # nothing is known against it


def test_a_folder_that_cannot_be_listed_loses_nothing(files, db, space, monkeypatch):
    with Index.create(db, space) as index:
        index.add([files])
        real = os.scandir

        def listed(path):
            if str(path).endswith("deep"):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real(path)

        monkeypatch.setattr("clipx.index.scan.os.scandir", listed)
        (files / "p0.png").unlink()
        did = index.add([files])
        assert did.removed == 1 and [f.reason for f in did.failures] == ["cannot be listed (Permission denied)"]
        assert index.stats()["files"] == 10


def test_prose_beside_clouds_is_skipped(files, db, space):
    prose = "Taken in May, 3 chairs.\n"
    texts = {"README.txt": prose, "empty.txt": "", "scan.txt": "# x y z\n" + "1,2,3\n2,3,4\n3 4 6\n"}
    for name, text in texts.items():
        (files / name).write_text(text)
    with Index.create(db, space) as index:
        did = index.add([files])
        assert (did.added, did.failures) == (12, [])
        assert Path(index.search(files / "scan.txt", k=1)[0].path).suffix in (".txt", ".xyz")
        (failure,) = index.add([files / "README.txt"]).failures  # named, it is meant
        assert failure.path.endswith("README.txt")
        (files / "scan.txt").write_text(prose)  # a cloud no more
        did = index.add([files])
        assert (did.removed, did.failures, index.stats()["files"]) == (1, [], 11)


def test_what_could_not_be_read_is_tried_again_when_it_changes(files, db, space, monkeypatch):
    tried = []
    real = pipeline.read
    monkeypatch.setattr(pipeline, "read", lambda item, *more: tried.append(item.path.name) or real(item, *more))
    (files / "truncated.png").write_bytes(b"corrupt")
    (files / "bad.svg").write_text("<svg")
    with Index.create(db, space) as index:
        first = index.add([files]).failures
        tried.clear()
        again = index.add([files])
        assert tried == [] and again.unchanged == 11
        assert {(f.path, f.reason) for f in again.failures} == {(f.path, f.reason) for f in first}
        assert all(f.known for f in again.failures) and not any(f.known for f in first)
        assert not any(f.known for f in index.add([files], retry=True).failures) and len(tried) == 2
        picture(files / "truncated.png", 77)
        (files / "bad.svg").unlink()
        did = index.add([files])
        assert (did.added, did.failures) == (1, [])
        assert index._collection.failures() == {}
        (files / "truncated.png").write_bytes(b"corrupt")
        index.add([files])
        (db / "items-1-failures.json").write_text("[1")  # only a memory
        assert [f.known for f in index.add([files]).failures] == [False]


def test_what_is_no_fault_of_the_file_is_tried_every_time(files, db, space, monkeypatch):
    real_open = open

    def opened(path, *more, **options):
        if str(path).endswith("p0.png"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real_open(path, *more, **options)

    with Index.create(db, space) as index:
        with monkeypatch.context() as patch:
            patch.setattr("clipx.files.open", opened, raising=False)
            assert len(index.add([files]).failures) == 1
        did = index.add([files])  # neither size nor time has changed
        assert (did.added, did.failures) == (1, [])


def test_a_modality_that_is_unavailable_reads_no_file(files, db, space, monkeypatch):
    """A tower that is missing is no fault of the files, which are neither read nor remembered as broken."""
    with wave.open(str(files / "a.wav"), "wb") as sound:
        sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(8000), sound.writeframes(b"\0\1" * 4000)
    shutil.copy(files / "a.wav", files / "b.wav")
    calls = []
    with Index.create(db, space) as index:
        did = index.add([files], progress=lambda *numbers: calls.append(numbers))
        assert did.added == 11 and calls[-1] == (13, 13)
        assert {(Path(f.path).name, f.read) for f in did.failures} == {("a.wav", False), ("b.wav", False)}
        assert all("has no audio tower" in f.reason for f in did.failures)
        assert not any(f.known for f in index.add([files]).failures)


def test_a_tower_may_be_named_once_it_is_found_to_be_missing(files, db, space):
    pytest.importorskip("soundfile")
    from clipx.modalities.audio.towers import new_tower, save_tower

    with wave.open(str(files / "a.wav"), "wb") as sound:
        sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(44_100), sound.writeframes(b"\0\1" * 44_100)
    save_tower(new_tower("logmel", space.dim), files.parent / "tower", space, 5.0, {})
    settings = {"audio": {"tower": files.parent / "tower"}}
    with Index.create(db, space) as index:
        assert "has no audio tower" in index.add([files / "a.wav"]).failures[0].reason
        assert index.add([files / "a.wav"], settings=settings).added == 1
        assert index.add([files / "a.wav"]).unchanged == 1
        with pytest.raises(InputError, match="the index holds audio with tower"):
            index.add([files / "a.wav"], settings={"audio": {"tower": files}})


def test_a_sample_that_an_encoder_fails_on_stops_nothing(files, db, space, monkeypatch):
    from clipx.modalities.image import Image as Pictures

    real = Pictures.parts

    def parts(self, samples):
        if any(float(sample.mean()) == 1 for sample in samples):
            raise RuntimeError("index out of\nrange")
        return real(self, samples)

    monkeypatch.setattr(Pictures, "parts", parts)
    Image.new("RGB", (32, 32), "white").save(files / "white.png")
    with Index.create(db, space) as index:
        did = index.add([files])
        assert did.added == 11
        assert [(Path(f.path).name, f.reason) for f in did.failures] == [
            ("white.png", "RuntimeError: index out of range")
        ]


def test_windows_that_are_no_unit_vectors_are_refused(files, db, space, monkeypatch):
    from clipx.modalities.image import Image as Pictures

    def parts(self, samples):
        rows = torch.full((len(samples), space.dim), torch.nan)
        return Parts(rows, range(len(samples) + 1), [Time(0, 1)] * len(samples))

    monkeypatch.setattr(Pictures, "parts", parts)
    with Index.create(db, space) as index:
        did = index.add([files])
        assert did.added == 3 and all("unit norm" in f.reason for f in did.failures) and len(did.failures) == 8


def test_a_file_stays_what_it_was_indexed_as(files, db, space):
    """Depth maps and pictures share a suffix: what a file was taken for holds in later runs, and for a query."""
    (files / "maps").mkdir()
    for i in range(2):
        values = np.random.default_rng(i).integers(500, 5000, (32, 32)).astype(np.uint16)
        Image.fromarray(values).save(files / f"maps/m{i}.png")
    (files / "maps/m0.tiff").write_bytes((files / "maps/m0.png").read_bytes())
    with Index.create(db, space) as index:
        index.add([files / "maps"], modality="depth")
        before = rows(index)
        did = index.add(files)
        assert (did.added, did.removed) == (11, 0)  # the .tiff, too: by its content it is a PNG
        assert [row for row in rows(index) if "maps" in row["path"]] == before
        os.utime(files / "maps/m1.png", ns=(1, 1))
        index.add(files)
        assert index.stats()["modalities"]["depth"] == len(before)
        best = lambda query: next(h for h in index.search(query, 99) if h.path.endswith("maps/m0.png"))  # noqa: E731
        assert best(files / "maps/m0.png").cosine == pytest.approx(1, abs=1e-4)
        shutil.copy(files / "maps/m0.png", files.parent / "room.png")
        assert best(f"depth:{files.parent / 'room.png'}").cosine == pytest.approx(1, abs=1e-4)
        kind = lambda query: index._searcher.encode_terms(query, index._collection.snapshot())[0].kind  # noqa: E731
        assert kind(files.parent / "room.png") == "image" and kind(files / "maps/m1.png") == "depth"
        index.add([files / "maps/m0.png"], modality="image")
        assert index.stats()["modalities"]["depth"] == len(before) - 1


def test_depth_takes_16_bit_png_of_a_folder_and_nothing_else(files, db, space):
    Image.fromarray(np.full((8, 8), 1500, np.uint16)).save(files / "deep/map.png")
    Image.fromarray(np.full((8, 8), 1500, np.uint16)).save(files / "deep/map.tif")
    (files / "empty.png").touch()
    with Index.create(db, space) as index:
        did = index.add(files, modality="depth")
        assert (did.added, did.failures) == (1, [])
        assert [Path(row["path"]).name for row in rows(index)] == ["map.png"]
        assert len(index.add([files / "p0.png"], modality="depth").failures) == 1  # a file that is named is tried


def test_a_file_that_a_link_reaches_as_well_keeps_its_own_path(tmp_path, db, space):
    """Else a run over one folder would take out what a run over another had taken in."""
    for i in range(3):
        picture(tmp_path / f"data/photos/{i}.png", i)
    (tmp_path / "data/a").mkdir()
    (tmp_path / "data/a/link").symlink_to(tmp_path / "data/photos")
    picture(tmp_path / "outside/x.png", 9)
    (tmp_path / "data/a/other").symlink_to(tmp_path / "outside")
    with Index.create(db, space) as index:
        index.add([tmp_path / "data"])
        paths = {row["path"] for row in rows(index)}
        wanted = ("data/photos/0.png", "data/photos/1.png", "data/photos/2.png", "data/a/other/x.png")
        assert paths == {str(tmp_path / name) for name in wanted}
        for folder in ("data/photos", "data", "data/photos", "data"):
            did = index.add([tmp_path / folder])
            assert (did.added, did.reused, did.removed) == (0, 0, 0)


def test_other_indexes_and_pipes_are_no_files(files, db, space):
    with Index.create(files / "other.index", space) as other:
        other.add([files / "deep"])
    os.mkfifo(files / "pipe.png")
    with Index.create(db, space) as index:
        did = index.add(str(files))  # one path is as good as a list
        assert did.added == 11
        assert [(Path(f.path).name, f.reason) for f in did.failures] == [("pipe.png", "is not a regular file")]
        with pytest.raises(FileError, match="not a regular file"):
            index.add([files / "pipe.png"])
        odd = files / os.fsdecode(b"not-\xff-utf8.png")
        odd.write_bytes(b"x")
        assert [f.reason for f in index.add([odd]).failures] == ["its name is not UTF-8"]
        with pytest.raises(InputError, match="batch_size"):
            index.add(files, batch_size=0)
        assert index.remove(files / "deep") == 4


def test_links_that_loop_odd_names_and_hidden_files(tmp_path, space, db):
    top = tmp_path / "top"
    long = "l" * 240 + ".png"
    for i, name in enumerate(
        ["a/x.png", 'it\'s 100% "odd" ☃ 日本.png', long, ".hidden.png", ".git/y.png", "line\nbreak.png"]
    ):
        picture(top / name, i)
    (top / "a/loop").symlink_to(top)
    (top / "self").symlink_to(top / "self")
    (top / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(top / "pipe.png")
    with Index.create(top / "my.index", space) as index:  # in the folder it indexes
        did = index.add([top, top / "a"])
        assert did.added == 4
        assert {Path(f.path).name for f in did.failures} == {"self", "gone.png", "pipe.png"}
        assert index.add([top]).unchanged == 4
        (hit,) = index.search(top / 'it\'s 100% "odd" ☃ 日本.png', k=1)
        assert Path(hit.path).name.startswith("it's")
        assert index.remove([hit.path]) == 1
    (top / os.fsdecode(b"not-\xff-utf8.png")).write_bytes(b"x")
    assert any("not UTF-8" in failure.reason for failure in find_files([top]).failures)


def test_no_files_at_all(tmp_path, db, space):
    (tmp_path / "empty").mkdir()
    with Index.create(db, space) as index:
        assert index.add([tmp_path / "empty"]).added == 0
        assert index.search("cat") == [] and len(index) == 0
        assert index.stats()["files"] == 0


def test_what_lasts_is_kept_by_windows(files, db, space, monkeypatch):
    from clipx.modalities.image import Image as Pictures

    whole = Pictures.parts

    def parts(self, samples):
        rows, offsets, places = [], [0], []
        for sample in samples:
            films = np.split(sample, 2, axis=1) if sample[:, :32].max() == 0 else []  # film.png alone
            rows.append(whole(self, films or [sample]).vectors)
            places += [Time(0.0, 2.5), Time(2.0, 4.5)] if films else [View(0)]
            offsets.append(len(places))
        return Parts(np.concatenate(rows), offsets, places)

    monkeypatch.setattr(Pictures, "parts", parts)
    top = np.zeros((64, 64, 3), np.uint8)
    top[32:] = np.random.default_rng(5).integers(0, 255, (32, 64, 3))
    Image.fromarray(top).save(files / "film.png")
    Image.fromarray(top[32:]).save(files / "part.png")
    with Index.create(db, space) as index:
        index.add([files])
        assert index.stats()["files"] == 13 and index.stats()["rows"] == 14
        hits = index.search(files / "part.png", k=13)
        assert len({hit.path for hit in hits}) == 13  # one hit a file, at its best place
        film = next(hit for hit in hits if hit.path.endswith("film.png"))
        assert (film.start_s, film.end_s) == (2.0, 4.5) and film.cosine == pytest.approx(1, abs=1e-3)
        shutil.copy(files / "film.png", files / "film2.png")
        assert index.add([files]).reused == 1 and index.stats()["rows"] == 16
        picture(files / "film.png", 3)  # one window now
        index.add([files])
        assert index.stats()["rows"] == 15


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Twelve seconds whose second half is the tone of another file, and a hiss."""
    soundfile = pytest.importorskip("soundfile")
    folder = tmp_path_factory.mktemp("sounds")
    rate = 22050
    t = np.arange(6 * rate) / rate
    tone = 0.5 * np.sin(2 * np.pi * 880 * t) * (np.sin(2 * np.pi * 2 * t) > 0)
    hiss = 0.1 * np.random.default_rng(0).normal(size=6 * rate)
    soundfile.write(folder / "tone.wav", tone[: 5 * rate], rate)
    soundfile.write(folder / "hiss.flac", hiss[: 2 * rate], rate)
    soundfile.write(folder / "both <1> & 2.ogg", np.concatenate([hiss, tone]), rate)
    return folder


def test_sounds_are_found_with_their_place(sounds, db, tiny_space):  # untrained, and so is its tower
    with Index.create(db, tiny_space) as index:
        did = index.add([sounds])
        assert (did.added, did.failures) == (3, [])
        stats = index.stats()
        assert stats["modalities"] == {"audio": 3} and stats["rows"] > 3
        first, second, third = index.search(sounds / "tone.wav")
        assert first.path.endswith("tone.wav") and (first.start_s, first.end_s) == (0, 5)
        assert second.path.endswith("2.ogg") and second.start_s >= 5 and second.cosine > third.cosine
        late = index.search(sounds / "tone.wav", sql="start_s > 2")
        assert [Path(hit.path).name for hit in late] == ["both <1> & 2.ogg"]
        shutil.copy(sounds / "tone.wav", db.parent / "copy.wav")
        assert index.add([db.parent / "copy.wav"]).reused == 1
        assert all(data.startswith(b"\xff\xd8") for data in index.thumbnails([first.path, second.path]).values())


# Searching ------------------------------------------------------------------------------------------------------------


def test_filters(files, db, space):
    with Index.create(db, space) as index:
        index.add([files])
        assert {hit.modality for hit in index.search("cat", 99, modality="pointcloud")} == {"pointcloud"}
        found = index.search("cat", 99, sql="path LIKE '%deep%' AND size > 10")
        assert len(found) == 4 and all("deep" in hit.path for hit in found)
        assert index.search("cat", modality="image", sql="start_s > 3") == []
        for where in ("pth = 'x'", "path LIKE", "path", "1 +", "';--"):
            with pytest.raises(InputError, match="--sql"):
                index.search("cat", sql=where)
        with pytest.raises(InputError, match="it holds: image, pointcloud, sketch"):
            index.search("cat", modality="smell")
        with pytest.raises(InputError, match="at least 1"):
            index.search("cat", k=0)


def test_weights_of_any_size(files, db, space):
    with Index.create(db, space) as index:
        index.add([files])
        wanted = index.search("2*cat + chair", 99)
        found = index.search(f"2{'0' * 60}*cat + 1{'0' * 60}*chair", 99)
        assert [(h.path, h.score) for h in found] == [(h.path, pytest.approx(h.score, abs=1e-6)) for h in wanted]


def test_confidence_is_checked_before_the_best_are_taken(files, db, space, monkeypatch):
    """A modality may be confident at a lower score than another: each has a null distribution of its own."""
    from clipx.index.null_model import NullModel

    monkeypatch.setattr(
        NullModel, "e_values", lambda self, scores, code, *_: np.full(len(scores), -np.log([0.1, 0.9, 0.1][code]))
    )
    with Index.create(db, space) as index:
        index.add([files])
        found = index.search(files / "p0.png", 1, min_confidence=0.5)
        assert [(hit.modality, hit.rank) for hit in found] == [("pointcloud", 1)]
        assert index.search("cat", min_confidence=1) == []


def test_a_query_of_another_space_is_refused_by_both_names(files, db, space, other_space):
    with Index.create(db, space) as index:
        index.add([files / "p0.png"])
        with pytest.raises(SpaceMismatchError, match=f"tiny .*{space.id}.*{other_space.id}"):
            index.search(clipx.embed([files / "p0.png"], space=other_space))
        with pytest.raises(InputError, match="one vector"):
            index.search(Embedding(torch.eye(space.dim)[:2], space.id, "image"))
        with pytest.raises(InputError, match="cancel"):
            index.search("cat - cat")
    with pytest.raises(SpaceMismatchError, match=r"tiny .* other .*--reembed"):
        Index.open(db, other_space)


def test_reembedding_switches_when_it_is_whole(files, db, space, other_space, tmp_path, monkeypatch):
    with Index.create(db, space) as index:
        index.add([files])
    reader = Index.open(db, space)
    before = reader.search("cat", 99)
    real, calls = pipeline.encode_batch, []

    def failing(batch, *how):
        calls.append(batch)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(batch, *how)

    monkeypatch.setattr(pipeline, "encode_batch", failing)
    monkeypatch.setattr("clipx.index.writer.COMMIT", 2)
    with pytest.raises(KeyboardInterrupt), Index.open(db, space) as index:
        index.reembed(other_space, batch_size=2)
    assert reader.search("cat", 99) == before and Index.open(db).space_record.name == "tiny"
    monkeypatch.setattr(pipeline, "encode_batch", real)
    (files / "p0.png").rename(tmp_path / "away.png")
    with Index.open(db, space) as index:
        with pytest.raises(FileError, match=r"1 of its files are missing, such as .*p0.png.*--remove"):
            index.reembed(other_space)
        found = reader.search("cat", 99)
        assert [hit.score for hit in found] == [hit.score for hit in before]
        assert [Path(hit.path).name for hit in found if hit.missing] == ["p0.png"]
        (tmp_path / "away.png").rename(files / "p0.png")
        did = index.reembed(other_space)
        assert did.unchanged + did.added == 11 and did.unchanged > 0  # what was done was kept
        assert index.space is other_space and len(index.search("cat", 99)) == 11
    with pytest.raises(FileError, match="open it again"):
        reader.search("cat")
    assert sorted(path.name for path in db.glob("*.lance")) == ["items-2.lance"]
    with Index.create(tmp_path / "fresh", other_space) as fresh:
        fresh.add([files])
        same(rows(fresh), rows(Index.open(db)))


def test_reembedding_loses_no_modality(files, db, space, other_space, monkeypatch):
    from clipx.modalities.sketch import Sketch

    with Index.create(db, space) as index:
        index.add([files])
        before = rows(index)

        def failing(self, samples):
            raise InputError("that space has no tower for it")

        with monkeypatch.context() as patch:
            patch.setattr(Sketch, "parts", failing)
            with pytest.raises(InputError, match="no tower for it"):
                index.reembed(other_space)
        assert rows(index) == before and Index.open(db).space_record.name == "tiny"
        index.search("cat")
        before_the_move = dict(index._searcher._null_models)
        index.reembed(other_space)
        index.search("cat")  # the same state's name, perhaps
        assert not set(index._searcher._null_models.values()) & set(before_the_move.values())


def test_what_is_unavailable_in_the_other_space_leaves_the_index(files, db, space, other_space, monkeypatch):
    from clipx.modalities.sketch import Sketch

    def unavailable(self):
        return "no tower" if self.space.id == other_space.id else None

    with Index.create(db, space) as index:
        index.add([files])
        with monkeypatch.context() as patch:
            patch.setattr(Sketch, "unavailable", unavailable)
            did = index.reembed(other_space)
        assert (did.added, did.removed, index.stats()["files"]) == (10, 1, 10)
        assert [(Path(f.path).name, f.reason) for f in did.failures] == [("house.ndjson", "left out: no tower")]
        assert "sketch" not in json.loads((db / "meta.json").read_text())["modalities"]
        assert index.add([files]).added == 1  # once it works


def test_a_move_that_leaves_nothing_or_not_what_was_set_is_refused(files, db, space, other_space, monkeypatch):
    from clipx.modalities.sketch import Sketch

    with Index.create(db, space) as index:
        index.add([files / "house.ndjson"])
        monkeypatch.setattr(Sketch, "unavailable", lambda self: "no tower")
        with pytest.raises(InputError, match="nothing would be left: no tower"):
            index.reembed(other_space)
        assert index.space is space and index.stats()["files"] == 1
        assert index.reembed(other_space, settings={"sketch": {"width_px": 3.0}}).added == 1  # it works after all


def test_what_is_taken_out_while_a_move_is_stopped_stays_out(files, db, space, other_space, monkeypatch):
    real = os.replace

    def stopped(old, new):
        if str(old).endswith("next.json"):
            raise KeyboardInterrupt
        real(old, new)

    with Index.create(db, space) as index:
        index.add([files])
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("clipx.index.update.os.replace", stopped)
            index.reembed(other_space)
        assert index.remove([files / "p0.png"]) == 1
        assert index.reembed(other_space).unchanged == 10 and index.stats()["files"] == 10


def test_a_move_whose_last_step_fails_is_one_line_and_goes_on(files, db, space, other_space, monkeypatch):
    real = os.replace

    def full(old, new):
        if str(old).endswith("next.json"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(old, new)

    with Index.create(db, space) as index:
        index.add([files])
        with monkeypatch.context() as patch, pytest.raises(FileError, match="cannot be written"):
            patch.setattr(os, "replace", full)
            index.reembed(other_space)
        assert index.reembed(other_space).unchanged == 11


def test_a_setting_that_names_a_file_holds_in_any_folder(tmp_path, monkeypatch):
    from clipx.settings import plain

    (tmp_path / "runs/tower").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    wanted = str(tmp_path / "runs/tower")
    assert plain({"tower": "runs/tower", "up": "z", "of": Path("x")}) == {
        "tower": wanted, "up": "z", "of": str(tmp_path / "x")
    }  # fmt: skip
    assert plain({"text": "no/such thing", "n": (1, 2.5), "none": None}) == {
        "text": "no/such thing", "n": [1, 2.5], "none": None
    }  # fmt: skip


def test_what_a_killed_move_left_is_not_taken_up(files, db, space, other_space):
    """Words of another space lie where the next move would look for its own."""
    with Index.create(db, space) as index:
        index.add([files])
        shutil.copy(db / "items-1-words.npz", db / "items-2-words.npz")
        (db / ".items-2-x.0a1b2c3d4e5f6789.part.arrow").write_bytes(b"corrupt")
        index.reembed(other_space)
        vocabulary = index._collection.vocabulary
        assert np.allclose(vocabulary.vectors, other_space.encode_text(vocabulary.words))
    assert {path.name.split(".")[0] for path in db.glob("*items-*")} == {
        "items-2", "items-2-words", next(db.glob("*.arrow")).stem
    }  # fmt: skip


def test_what_killed_writers_left_is_removed_after_an_hour(files, db, space):
    """Of the present table too; a younger file may belong to a search that is writing its snapshot."""
    token = "0a1b2c3d4e5f6789"
    names = [f".items-1-0123.{token}.part.arrow", f".items-1-words.{token}.part.npz", f".meta.{token}.part.json"]
    names += [f".items-1-failures.{token}.part.json", f".next.{token}.part.json"]
    with Index.create(db, space) as index:
        index.add([files])
        kept = {path.name for path in db.iterdir()} | {"notes.part.txt", ".mine.part.txt"}
        for name in [*names, "notes.part.txt", ".mine.part.txt"]:
            (db / name).write_bytes(b"half")
        index.add([files])
        assert {path.name for path in db.iterdir()} == kept | set(names)
        for path in db.iterdir():
            os.utime(path, (0, path.stat().st_mtime - 3601)) if path.is_file() else None
        index.add([files])
        assert {path.name for path in db.iterdir()} == kept
        assert index.stats()["files"] == 11


def test_another_tower_is_refused(files, db, space, monkeypatch):
    """Vectors of two towers are not mixed, though their settings are the same."""
    from clipx.modalities.image import Image as ImageModality

    with Index.create(db, space) as index:
        index.add([files])
    monkeypatch.setattr(ImageModality, "context", "f00d")
    picture(files / "p0.png", 50)
    with Index.open(db, space) as index:
        did = index.add([files])
        assert [Path(f.path).name for f in did.failures] == ["p0.png"]
        assert "another tower" in did.failures[0].reason and "--reembed" in did.failures[0].reason
        with pytest.raises(InputError, match="another tower"):
            index.search(files / "p2.png")
        index.reembed(space)
        assert len(index.search(files / "p2.png")) == 10


def crowd(count, dim, seed=0):
    """Unit vectors in clusters of 20."""
    rng = np.random.default_rng(seed)
    vectors = np.repeat(rng.normal(size=(count // 20, dim)), 20, 0) + 0.5 * rng.normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_an_approximate_index_finds_what_an_exact_search_finds(files, db, space, other_space, monkeypatch):
    from clipx.index.described import PROBED_WORDS
    from clipx.index.scan import Found
    from clipx.index.store import Entry

    vectors = crowd(2000, space.dim)
    with Index.create(db, space) as index:
        with pytest.raises(InputError, match="1,000 rows"):
            index.build_ann()
        entries = [
            Entry(Found(f"/x/{i}.png", 1, 1, "sketch" if i % 20 == 1 else "image"), str(i), [None], v[None], None)
            for i, v in enumerate(vectors)
        ]
        index._collection.write(entries, replace=False)
        assert index.build_ann() >= 0.97
        asked = []
        real = LanceStore.nearest
        monkeypatch.setattr(LanceStore, "nearest", lambda self, *more: asked.append(more) or real(self, *more))
        queries = [Embedding(torch.from_numpy(vectors[i : i + 1]), space.id, "image") for i in range(0, 2000, 100)]
        queries += ["cat", "chair - table"]
        assert index.search(queries[0], 5) == index.search(queries[0], 5, exact=True) and not asked  # few: exactly
        for module in ("ann", "collection", "search"):
            monkeypatch.setattr(f"clipx.index.{module}.EXACT_ROWS", 500)
        found = [{hit.path for hit in index.search(query, 10)} for query in queries]
        true = [{hit.path for hit in index.search(query, 10, exact=True)} for query in queries]
        assert sum(len(f & t) for f, t in zip(found, true, strict=True)) >= 0.97 * 10 * len(queries)
        assert {more[4] for more in asked} == {"image"}  # the hundred sketches are all looked at
        assert len(asked) == len(queries)
        assert {len(more[0]) for more in asked} == {1 + PROBED_WORDS}
        snapshot = index._collection.snapshot()
        assert snapshot.counts == {"image": (1900, 1900), "sketch": (100, 100)} and len(index) == 2000
        where = "path LIKE '%7.png'"
        near = index.search(queries[0], 10, modality="image", sql=where)
        assert len(near) == 10 and all(hit.path.endswith("7.png") for hit in near)
        assert len(index.search(queries[0], 10, sql="path LIKE '%77.png'")) == 10  # few in few cells, all looked at
    assert Index.open(db).stats()["approximate"] is True


def test_a_move_keeps_the_approximate_index(files, db, space, other_space, monkeypatch):
    monkeypatch.setattr("clipx.index.ann.ANN_LEAST", 11)
    built = []
    monkeypatch.setattr(LanceStore, "build_ann", lambda self, spread=None: built.append(self.name))
    monkeypatch.setattr(LanceStore, "nearest", lambda self, vectors, k, effort, columns, *_: self.scan(columns))
    with Index.create(db, space) as index:
        index.add([files])
        index.build_ann()
        index.reembed(other_space)
        assert built == ["items-1", "items-2"] and index.stats()["approximate"] is True


# One writer, many readers, and damage ---------------------------------------------------------------------------------


def test_one_writer_and_many_readers(files, db, space):
    with Index.create(db, space) as writer:
        writer.add([files / "deep"])
        reader = Index.open(db, space)
        assert len(reader.search("cat", 99)) == 4
        second = Index.open(db, space)
        with pytest.raises(FileError, match="another process writes"):
            second.add([files])
        writer.add([files])
        assert len(reader.search("cat", 99)) == 11  # a reader sees what is written
    second.add([files])
    second.close()


def test_a_reader_needs_no_permission_to_write(files, db, space, monkeypatch):
    with Index.create(db, space) as index:
        index.add([files])
        wanted = index.search("cat", 99)
    for snapshot in db.glob("*.arrow"):
        snapshot.unlink()

    def refused(*args):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("clipx.index.snapshot._write_arrow", refused)
    assert Index.open(db, space).search("cat", 99) == wanted
    assert not list(db.glob("*.arrow"))


def test_a_full_disk_is_one_line_and_what_is_written_is_kept(files, db, space, monkeypatch):
    monkeypatch.setattr("clipx.index.writer.COMMIT", 2)
    real, calls = LanceStore._without, []

    def write_until_full(table, paths):
        calls.append(paths)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(table, paths)

    monkeypatch.setattr(LanceStore, "_without", staticmethod(write_until_full))
    with Index.create(db, space) as index:
        with pytest.raises(FileError, match=r"No space left on device\); make room and run again"):
            index.add([files], batch_size=2)
        monkeypatch.setattr(LanceStore, "_without", staticmethod(real))
        kept = len(index)
        assert kept == 4
        assert index.add([files]).unchanged == kept and len(index) == 11


def edit(meta, **changes):
    meta.write_text(json.dumps({**json.loads(meta.read_text()), **changes}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda db: (db / "meta.json").unlink(), "has no meta.json"),
        (lambda db: (db / "meta.json").write_text("{"), "corrupt"),
        (lambda db: (db / "meta.json").write_text("[1]"), "not the meta.json of a clipx index"),
        (lambda db: (db / "meta.json").write_text('{"clipx_index": 99}'), "kind 99.*upgrade"),
        (lambda db: (db / "meta.json").write_text('{"clipx_index": 2, "space": 3}'), "corrupt"),
        (lambda db: shutil.rmtree(db / "items-1.lance"), "table .*missing; to fill it: clipx index FOLDER --db"),
        (lambda db: (db / "items-1-words.npz").write_bytes(b"PK"), "words are missing or corrupt"),
        (lambda db: edit(db / "meta.json", table="../elsewhere"), "corrupt"),
        (lambda db: edit(db / "meta.json", modalities=["image"]), "corrupt"),
    ],
)
def test_a_damaged_index_is_one_line(files, db, space, damage, message):
    with Index.create(db, space) as index:
        index.add([files / "p0.png"])
    damage(db)
    with pytest.raises(FileError, match=message) as caught:
        Index.open(db, space).search("cat")
    assert "\n" not in str(caught.value)


def test_a_corrupt_snapshot_is_rebuilt(files, db, space):
    with Index.create(db, space) as index:
        index.add([files])
        wanted = index.search("cat", 99)
    for snapshot in db.glob("*.arrow"):
        snapshot.write_bytes(b"corrupt")
    assert Index.open(db, space).search("cat", 99) == wanted
    assert [f.stat().st_size > 1000 for f in db.glob("*.arrow")] == [True]


def test_a_reader_is_not_kept_waiting_by_a_writer_that_never_rests(files, db, space, monkeypatch):
    with Index.create(db, space) as index:
        index.add([files])
        wanted = index.search("cat", 99)
    for snapshot in db.glob("*.arrow"):
        snapshot.unlink()
    turns = iter(range(10**6))
    monkeypatch.setattr(LanceStore, "state", lambda self: f"state {next(turns)}")
    assert Index.open(db, space).search("cat", 99) == wanted
    assert not list(db.glob("*.arrow"))  # of no state that is known to hold


def test_a_writer_takes_up_what_another_wrote(files, db, space, other_space):
    Index.create(db, space).close()
    late, reader = Index.open(db, space), Index.open(db, space)
    with Index.open(db, space) as index:
        index.add([files / "c0.xyz"], settings={"pointcloud": {"up": "z"}})
    best = reader.search(files / "c0.xyz", 1)[0]
    assert best.cosine == pytest.approx(1, abs=1e-4)  # a reader asks by the settings of now
    with late:
        late.add([files / "c1.xyz"])
    assert json.loads((db / "meta.json").read_text())["modalities"]["pointcloud"]["config"]["up"] == "z"
    stale = Index.open(db, space)
    with Index.open(db, space) as index:
        index.reembed(other_space)
    with pytest.raises(FileError, match=r"was moved from space tiny to other.*open it again"):
        stale.add([files])
    assert len(Index.open(db, other_space).search("cat", 99)) == 2  # and nothing of it is gone
    stale.close()


def test_two_makers_of_one_index(db, space, monkeypatch):
    real = WriterLock.acquire

    def late(self):
        monkeypatch.setattr(WriterLock, "acquire", real)
        Index.create(db, space).close()
        real(self)

    monkeypatch.setattr(WriterLock, "acquire", late)
    with pytest.raises(FileError, match="an index already"):
        Index.create(db, space)
    assert len(Index.open(db)) == 0


@pytest.mark.parametrize(
    "left", [(), (".lock",), (".lock", ".meta.0a1b2c3d4e5f6789.part.json"), ("meta.json",), ("meta.json", "words")]
)
def test_an_index_that_was_stopped_while_it_was_made(run, here, left):
    assert run("index photo.png --db whole.index")[0] == 0
    half = here / "half.index"
    half.mkdir()
    for name in left:
        name = "items-1-words.npz" if name == "words" else name
        if (whole := here / "whole.index" / name).exists():
            shutil.copy(whole, half)
        else:
            (half / name).write_text("{")
    status, _, err = run("search cat --db half.index")
    assert status == 2 and err.count("\n") == 1 and "clipx index FOLDER --db half.index" in err
    assert run("index photo.png --db half.index")[0] == 0
    assert run("search cat --db half.index")[0] == 0


def test_an_index_that_another_process_makes_meanwhile(run_json, here, space, monkeypatch):
    import clipx.cli._work

    def slow(*args, real=clipx.cli._work.open_space):
        Index.create("my.index", space).close()
        return real(*args)

    monkeypatch.setattr("clipx.cli._work.open_space", slow)
    assert run_json("index photo.png")["files"] == 1


def test_one_file_of_an_unknown_suffix_ends_no_run(run, run_json, here):
    (here / "what.xyzzy").touch()
    (here / "page.jpg").write_text("<html>404</html>")
    status, out, err = run("index what.xyzzy photo.png page.jpg --json")
    record = json.loads(out)
    assert status == 2 and record["files"] == 1 and len(record["results"][0]["failures"]) == 2
    assert f"not read: {here / 'what.xyzzy'}: no modality reads .xyzzy" in err.splitlines()
    assert "it is a web page (HTML); download the picture itself" in err
    shutil.copy(here / "photo.png", here / "photo")
    assert run_json("index photo --modality image")["files"] == 2


def test_moved_files_are_named(run, run_json, here, tmp_path):
    (here / "photos").mkdir()
    (here / "photo.png").rename(here / "photos/photo.png")
    picture(here / "photos/other.png", 4)
    run("index photos cloud.xyz")
    assert [hit["missing"] for hit in run_json("search cat")["results"]] == [False] * 3
    (here / "photos").rename(here / "moved")
    hits = {Path(hit["path"]).name: hit["missing"] for hit in run_json("search cat")["results"]}
    assert hits == {"photo.png": True, "other.png": True, "cloud.xyz": False}
    status, out, err = run("search cat --html page.html")
    assert status == 0 and "photos/photo.png (missing)" in out and "cloud.xyz\t" in out
    assert any(line.startswith("missing: moved or deleted since") for line in err.splitlines())
    assert (here / "page.html").read_text().count("(missing: moved or deleted)") == 2
    status, out, err = run("index photos")
    assert status == 2 and err.count("\n") == 1
    assert "photos: no such file or folder; to take what it held out of the index: clipx index --remove photos" in err
    status, out, err = run("index moved --db my.index")
    assert status == 0 and "missing: 2 files of the index outside of what was named, such as" in err
    assert len(run_json("index moved")["results"][0]["missing"]) == 2
    assert "missing" not in run("index . --db my.index")[2]  # their folder was looked through: they are out
    assert not any(hit["missing"] for hit in run_json("search cat")["results"])


def test_the_lock_of_windows(db, space, monkeypatch):
    """Where there is no fcntl, msvcrt locks; what holds there is reported by a stand-in."""
    held = []

    def locking(handle, mode, count):
        if held:
            raise OSError(errno.EACCES, "Permission denied")
        held.append((mode, count))

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(locking=locking, LK_NBLCK=2))
    with Index.create(db, space):
        assert held == [(2, 1)]
        with pytest.raises(FileError, match="another process writes"):
            Index.open(db, space).add([])


def test_a_corrupt_table_is_one_line(files, db, space):
    with Index.create(db, space) as index:
        index.add([files / "p0.png"])
    index = Index.open(db, space)
    for path in [*db.glob("*.arrow"), *(db / "items-1.lance/data").iterdir()]:
        path.unlink() if path.suffix == ".arrow" else path.write_bytes(b"corrupt")
    for call in (
        lambda: Index.open(db, space).search("cat"),
        lambda: index.store.filter("size > 3"),
        lambda: index.remove(files),
    ):
        with pytest.raises(FileError, match=r"is damaged \(a data file cannot be read\); make it again") as caught:
            call()
        assert "\n" not in str(caught.value) and "rust" not in str(caught.value).lower()
    index.close()


def test_a_lost_data_file_is_reported_though_the_snapshot_is_there(files, db, space):
    with Index.create(db, space) as index:
        index.add([files / "p0.png"])
        index.search("cat")
        next((db / "items-1.lance/data").iterdir()).unlink()
        for reader in (index, Index.open(db, space)):
            with pytest.raises(FileError, match="is damaged"):
                reader.search("cat")


def test_errors_of_lance_become_one_line(tmp_path):
    from clipx.index.lance import _file_error

    at = "/rustc/2d8144b/library/core/src/ops/function.rs:250:5, /root/.cargo/registry/src/x/lance-io/src/utils.rs:22:4"
    for said, wanted in {
        f"lance error: LanceError(IO): Permission denied (os error 13), {at}": "cannot be read (Permission denied)",
        f"lance error: Not found: a/data/0.lance, {at}": "is damaged (a data file cannot be read); make it again",
        f"lance error: Odd, {at}": "cannot be read (lance error: Odd)",
        "No space left on device (os error 28)": "cannot be read (No space left on device); make room",
    }.items():
        error = _file_error(RuntimeError(said), "cannot be read", tmp_path)
        assert str(error).startswith(f"{tmp_path}: {wanted}"), said


def test_a_foreign_database_and_other_folders(tmp_path, space, files):
    import lance
    import pyarrow as pa

    lance.write_dataset(pa.table({"a": [1]}), str(tmp_path / "foreign" / "items-1.lance"))
    with pytest.raises(FileError, match="in use for something else"):
        Index.create(tmp_path / "foreign", space)
    with pytest.raises(FileError, match="is not a clipx index"):
        Index.open(tmp_path / "foreign")
    with pytest.raises(FileError, match="no such index"):
        Index.open(tmp_path / "missing")
    Index.create(tmp_path / "mine", space).close()
    with pytest.raises(FileError, match="an index already"):
        Index.create(tmp_path / "mine", space)
    shutil.copy(tmp_path / "mine/meta.json", tmp_path / "foreign")
    shutil.copy(tmp_path / "mine/items-1-words.npz", tmp_path / "foreign")
    with pytest.raises(FileError, match="has no column end_s"):
        Index.open(tmp_path / "foreign", space).search("cat")
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="in use"):
        Index.create(tmp_path / "file", space)
    with pytest.raises(FileError, match="cannot be made"):
        Index.create(tmp_path / "file" / "deeper", space)
    index = Index.open(tmp_path / "mine", space)
    for missing in (tmp_path / "no such folder", "null\0byte"):
        with pytest.raises(FileError, match="no such file or folder"):
            index.add([missing])
    with pytest.raises(InputError, match=r"no modality reads \.doc"):
        index.add([files / "notes.doc"])


def test_settings_stay_what_they_were(files, db, space):
    with Index.create(db, space) as index:
        index.add([files], settings={"pointcloud": {"up": "z"}})
        index.add([files], settings={"pointcloud": {"up": "z"}})
        with pytest.raises(InputError, match=r"up = 'z', not 'y'.*--reembed"):
            index.add([files], settings={"pointcloud": {"up": "y"}})
    with Index.open(db, space) as index:
        best = next(hit for hit in index.search(files / "c1.xyz", 2) if hit.path.endswith("c1.xyz"))
        assert best.cosine == pytest.approx(1, abs=1e-4)
        old = rows(index)
        index.reembed(space, settings={"pointcloud": {"up": "x"}})
        assert any(o["vector"] != n["vector"] for o, n in zip(old, rows(index), strict=True))


# A kill at any moment -------------------------------------------------------------------------------------------------


def test_killed_at_any_moment_nothing_is_lost_or_doubled(tmp_path, space_folder):
    """20 kills: at borders of the steps, and from outside while the indexer goes on."""
    script = Path(__file__).with_name("killed_indexer.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(space_folder), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    killed = json.loads(done.stdout)
    assert len(killed) == 20 and sum(killed) >= 15  # some end before their kill comes


# The command line -----------------------------------------------------------------------------------------------------


def test_the_commands(run, run_json, here):
    picture(here / "deep/cup.png", 3)
    first = run_json("index . --db my.index --up z")
    assert first["results"][0]["added"] == first["files"] == 4 and first["results"][0]["failures"] == []
    assert run_json("index .")["results"][0]["unchanged"] == 4  # my.index is the default
    found = run_json("search a cat + chair -k 2")
    assert found["query"] == "a cat + chair" and [hit["rank"] for hit in found["results"]] == [1, 2]
    assert run_json("search photo.png -k 1")["results"][0]["path"] == str(here / "photo.png")
    assert run_json("search cloud.xyz -k 1")["results"][0]["path"] == str(here / "cloud.xyz")
    status, out, err = run("search cat", "--sql", "path LIKE '%deep%'")
    assert status == 0 and err in ("", "nothing here is likely to be it (no confidence of 50 % or more)\n")
    assert [line.split("\t")[0] for line in out.splitlines()] == ["file", "deep/cup.png"]
    status, out, err = run("search cat --min-confidence 1")
    assert status == 0 and "nothing here matches" in err
    for name in ("truncated.png", "odd\n\x1b[1m.png"):
        (here / name).write_bytes(b"corrupt")
    status, out, err = run("index . --remove deep")
    assert status == 0 and re.search(r"not read: .*odd\\n\\x1b\[1m\.png and 1 more: not a readable picture", err)
    assert out.splitlines()[1].split("\t")[4:6] == ["1", "2"] and err.count("\n") == 1
    status, out, err = run("index .")
    assert "not read: 2 as before, unchanged since and not tried again; --retry" in err and err.count("\n") == 1
    assert "and 1 more: not a readable picture" in run("index . --retry")[2]


def test_what_is_not_indexed_is_said(run, run_json, here):
    status, _, err = run("index . --db my.index --remove nothere")
    assert (status, err) == (0, "nothing of that name in the index: nothere\n")
    (here / "notes.txt").write_text("Taken in May, 3 chairs.\n")
    assert run("index .")[0] == 0  # met in a folder, it is skipped
    status, _, err = run("index notes.txt --db new.index")
    assert status == 2 and "not read: " in err and "notes.txt: " in err
    assert err.endswith("nothing was indexed: none of it could be read\n")
    (here / "empty").mkdir()
    status, _, err = run("index empty --db new.index")
    assert (status, err) == (0, "nothing was indexed: no modality that was asked for reads what is there\n")


def test_a_move_says_what_it_leaves_out(run, here, other_space, monkeypatch):
    from clipx.modalities.pointcloud import PointCloud

    assert run("index . --db my.index")[0] == 0
    monkeypatch.setattr("clipx.cli._work.open_space", lambda *_: other_space)
    monkeypatch.setattr(PointCloud, "unavailable", lambda self: "no tower" if self.space.id == other_space.id else None)
    status, out, err = run("index --db my.index --reembed --space other --json")
    (did,) = json.loads(out)["results"]
    assert (status, did["added"], did["removed"]) == (0, 1, 2)
    assert [Path(f["path"]).name for f in did["failures"]] == ["cloud.xyz", "mesh.off"]
    assert err == f"not read: {here / 'cloud.xyz'} and 1 more: left out: no tower\n"


def test_ctrl_c_says_that_what_is_done_is_kept(run, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "encode_batch", stopped)
    assert run("index . --db my.index") == (130, "", "what is done is kept; run it again to go on\ninterrupted\n")


def test_hits_of_low_confidence_are_said_to_be_unlikely(run, here, monkeypatch):
    from clipx.index.null_model import NullModel

    remark = "othing here is likely to be it (no confidence of 50 % or more)"
    assert run("index . --db my.index")[0] == 0
    for confidence, said in ((0.49, True), (0.5, False)):
        monkeypatch.setattr(NullModel, "e_values", lambda self, scores, *_, c=confidence: 0 * scores - np.log(c))
        status, _, err = run("search cat --html page.html")
        assert status == 0 and (f"n{remark}" in err) is said
        assert (f"best first. N{remark}." in (here / "page.html").read_text()) is said


def test_a_term_that_is_taken_away_is_no_flag(run, here):
    assert run("index photo.png --db my.index")[0] == 0
    for words in (["- a chair"], ["--", "- a chair"], ["-", "a chair"]):
        status, _, err = run("search --db my.index", *words)
        assert (status, err.count("\n")) == (2, 1) and "a term is missing, at column 1: >>>- a chair" in err
    assert run("search -- cat --db my.index -k 1")[0] == 0  # flags are flags behind it
    assert "No such option: --kk" in run("search cat --kk")[2]


@pytest.mark.parametrize(
    "line", ["index nowhere --db new", "index --remove photo.png --db new", "index --ann --db new"]
)
def test_a_mistake_leaves_no_index_behind(run, here, line):
    status, out, err = run(line)
    assert (status, out) == (2, "") and re.search("no such (index|file or folder)", err)
    assert not (here / "new").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("search cat --db nowhere", "nowhere: no such index; make one: clipx index"),
        ("search cat + --db my.index", "a term is missing, at column 6: cat +>>>"),
        ("search cat -k 0 --db my.index", "greater than or equal to 1"),
        ("search elephant --db my.index", "words this space never saw: elephant"),
        ("search cat --space random:RN50 --db my.index", "not of random:RN50"),
        (
            "search cat --sql x=1 --db my.index",
            "'x=1': No field named x; columns: path, window, modality, size, mtime_ns, sha256, start_s, end_s\n",
        ),
        ("index nowhere --db my.index", "nowhere: no such file or folder"),
        ("index --db my.index", "nothing to index"),
        ("index . --db photo.png", "photo.png: is in use for something else"),
        ("index . --ann --db my.index", "needs 1,000 rows"),
    ],
)
def test_mistakes_are_one_line(run, here, line, message):
    if "my.index" in line:
        assert run("index photo.png --db my.index")[0] == 0
    status, out, err = run(line)
    assert status == 2 and out == ""
    assert message in err and err.count("\n") == 1


CHECK = """<script>
window.onload = () => setTimeout(() => document.body.setAttribute("data-check", [
  [...document.images].filter(i => i.naturalWidth > 0).length,
  [...document.querySelectorAll("audio")].filter(a => a.duration > 0 && !a.error).length,
  document.documentElement.scrollWidth].join(":")), 300)
</script>"""


@pytest.fixture
def page(run, here, space):
    """The page of a search over a picture, clouds and two sounds, one of them long, encoded by an untrained tower."""
    soundfile = pytest.importorskip("soundfile")
    from clipx.modalities.audio.towers import new_tower, save_tower

    save_tower(new_tower("logmel", space.dim), here / "runs/tower", space, 5.0, {})
    t = np.arange(30 * 44_100) / 44_100
    soundfile.write(here / "a <b> & c.wav", 0.3 * np.sin(3000 * t[:22_050]), 44_100)
    soundfile.write(here / "long.wav", 0.3 * np.sin(3000 * t) * (t > 20), 44_100)
    status, _, err = run("index . --db my.index --tower runs/tower")
    assert (status, err) == (0, "")
    status, _, err = run("search photo.png + cat --html out.html")
    assert status == 0 and "page: out.html" in err
    return here / "out.html"


def test_the_page_stands_alone(page):
    text = page.read_text()
    assert text.count("<article>") == 5 and text.count("<img") == 5
    assert text.count("<audio") == text.count('<svg class="wave"') == 2
    assert re.search(r"plays [0-9.]+ to [0-9.]+ s of it", text)  # of the long one
    assert "default-src 'none'" in text and "<script" not in text
    assert not re.findall(r"(?:src|href|url)\W{1,3}(?:https?:)?//", text)
    assert "a &lt;b&gt; &amp; c.wav" in text and "<b>" not in text


def test_players(tmp_path):
    """What a player holds: a short file as it is, of a long one the place; and the waveform marks that place."""
    import base64
    import io

    soundfile = pytest.importorskip("soundfile")
    from clipx.cli._sound import player
    from clipx.sounds import BARS

    rate = 8000
    t = np.arange(100 * rate) / rate
    soundfile.write(tmp_path / "long.wav", np.where(t > 50, 0.5, 0.25) * np.sin(2000 * t), rate)
    html = player(tmp_path / "long.wav", 50.0, 55.0, "long")
    sound, found = soundfile.read(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"#]+)", html)[1])))
    assert found == rate and len(sound) == 5 * rate and np.abs(sound).max() == pytest.approx(0.5, abs=0.01)
    out, inside = (re.search(f'class="{name}" d="([^"]*)"', html)[1].count("M") for name in ("out", "in"))
    assert out + inside == BARS and inside == BARS * 5 / 100
    assert "plays 50.0 to 55.0 s" in html and "#t=" not in html
    soundfile.write(tmp_path / "short.flac", np.zeros(rate), rate)
    html = player(tmp_path / "short.flac", 0.5, 1.0, '<"short">')
    assert 'src="data:audio/flac;base64,' in html and '#t=0.50"' in html and "&lt;&quot;short&quot;&gt;" in html
    assert player(tmp_path / "photo.png", None, None, "photo") == ""
    assert "the file is gone" in player(tmp_path / "gone.wav", 0, 1, "gone")
    (tmp_path / "corrupt.wav").write_bytes(b"corrupt")
    assert "cannot be played" in player(tmp_path / "corrupt.wav", 0, 1, "corrupt")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_shows_pictures_and_plays_the_sound(page, tmp_path):
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    checked = tmp_path / "checked.html"
    checked.write_text(policy.sub("", page.read_text()).replace("</body>", CHECK + "</body>"))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=360,900", "--hide-scrollbars"]

    def browse(path):
        done = subprocess.run(
            ["chromium", *flags, "--virtual-time-budget=5000", "--dump-dom", path.as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert "CONSOLE" not in done.stderr
        return done.stdout

    assert browse(page).count("<article>") == 5
    pictures, sounds, across = map(int, re.search(r'data-check="(\d+):(\d+):(\d+)"', browse(checked)).groups())
    assert (pictures, sounds) == (5, 2) and across <= 500  # headless windows are at least 500 wide


# Vectors and terms as queries -----------------------------------------------------------------------------------------


@pytest.fixture
def made(files, db, space):
    with Index.create(db, space) as index:
        index.add([files])
    return index


def test_terms_search_as_the_query_that_names_them(files, made, monkeypatch):
    picture_path, cloud = files / "p0.png", files / "c0.xyz"
    by_text = made.search(f"{picture_path} + 2*cat - 0.5*{cloud}")
    terms = [Term(picture_path), Term("cat", 2.0), Term(cloud, -0.5)]
    assert made.search(terms) == by_text
    stored = [Term(made.embedding_of(picture_path)), Term("cat", 2.0), Term(made.embedding_of(str(cloud)), -0.5)]
    assert [hit.path for hit in made.search(stored)] == [hit.path for hit in by_text]
    monkeypatch.chdir(files)
    (files / "cat").write_bytes(b"")
    with pytest.raises(InputError, match="no modality reads"):  # a file wins over the text in a query
        made.search("cat")
    assert made.search([Term("cat")]) == made.search('"cat"')  # and never in a term


def test_the_vector_of_a_file_is_that_of_the_index(files, made):
    stored = made.embedding_of(files / "p0.png")
    os.remove(files / "p0.png")
    first = made.search(stored)[0]
    assert (first.path, first.cosine, first.missing) == (str(files / "p0.png"), pytest.approx(1, abs=1e-5), True)
    assert (stored.modality, stored.ids) == ("image", (str(files / "p0.png"),))
    assert made.embedding_of(files / "notes.doc") is None
    assert made.embedding_of(files / "p1.png", start_s=0.0) is None  # what does not last has no windows


def test_the_vector_of_a_window(files, db, space, monkeypatch):
    from clipx.modalities.image import Image as Pictures

    table, places = np.eye(space.dim, dtype=np.float32), [Time(0.0, 5.0), Time(5.0, 10.0), Time(10.0, 12.5)]
    with monkeypatch.context() as patch:
        patch.setattr(Pictures, "parts", lambda self, samples: Parts(table[:3], [0, 3], places))
        with Index.create(db, space) as index:
            index.add([files / "p0.png"])
    for start, row in ((0, 0), (5.0, 1), (10, 2)):
        np.testing.assert_allclose(index.embedding_of(files / "p0.png", start).vectors[0], table[row], atol=1e-6)
    whole = index.embedding_of(files / "p0.png").vectors[0]
    np.testing.assert_allclose(whole, table[:3].sum(0) / np.sqrt(3), atol=1e-6)
    assert index.embedding_of(files / "p0.png", 7.0) is None


def test_words_describe_a_query(files, made, space):
    words = dict(made.describe(files / "p0.png", 1000))
    assert set(words) == set(WORDS)
    assert list(words.values()) == sorted(words.values(), reverse=True)
    vector = made.embedding_of(files / "p0.png").vectors[0]
    expected = {word: float(space.encode_text([word])[0] @ vector) for word in WORDS}
    assert words == pytest.approx(expected, abs=1e-5)
    assert made.describe("cat", 1) == [("cat", pytest.approx(1, abs=1e-5))]
    assert len(made.describe([Term("cat"), Term("night", -1)], 3)) == 3


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([], "query is empty"),
        ([Term(" ")], "no text"),
        ([Term("cat", 0.0)], "other than 0"),
        ([Term("cat", float("nan"))], "other than 0"),
        ([Term("cat", -1.0)], "taken away"),
        ([Term("cat"), Term("cat", -1.0)], "cancel each other out"),
        ([Term(Path("missing.png"))], "missing.png"),
    ],
)
def test_terms_that_say_nothing_are_refused(made, terms, message):
    for ask in (made.search, made.describe):
        with pytest.raises(ClipxError, match=message):
            ask(terms)
