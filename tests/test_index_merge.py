"""An index that takes in another one, and files whose folder was moved."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
from conftest import PREPROCESS, RESNET, WORDS, save_space
from hypothesis import given, settings
from hypothesis import strategies as st
from indexed import picture, rows, same
from memory_store import MemoryStores

import clipx
from clipx import pipeline
from clipx.errors import FileError, InputError, SpaceMismatchError
from clipx.index import Index
from clipx.index.arrays import unit
from clipx.index.lance import LanceStore
from clipx.index.scan import Found
from clipx.index.store import Entry
from clipx.modality import Modality


@pytest.fixture(scope="module")
def space(space_folder):
    return clipx.load_space(space_folder)


@pytest.fixture
def db(tmp_path):
    return tmp_path / "my.index"


@pytest.fixture
def unread(monkeypatch):
    """From when it is called, nothing may be read or encoded."""

    def forbidden(*args, **options):
        raise AssertionError("read or encoded")

    def start():
        monkeypatch.setattr(pipeline, "read", forbidden)
        monkeypatch.setattr(pipeline, "encode_batch", forbidden)
        monkeypatch.setattr(Modality, "encode", forbidden)

    return start


def entry(path, seed, dim, windows=1, modality="image"):
    vectors = unit(np.random.default_rng(seed).normal(size=(windows, dim)).astype(np.float32))
    times = [None] if windows == 1 else [(float(i), i + 1.0) for i in range(windows)]
    return Entry(Found(path, seed, seed, modality), f"{seed:064x}", times, vectors, b"\xff\xd8" + bytes([seed % 256]))


def fill(folder, space, entries, store=LanceStore, batch=64):
    """An index of these entries."""
    with Index.create(folder, space, store=store) as index:
        collection = index._collection
        names = {one.file.modality for one in entries}
        meta = collection.meta.with_modalities(names, {})
        for name in names:
            meta = meta.with_context(name, "")
        collection.record(meta)
        for start in range(0, len(entries), batch):
            collection.write(entries[start : start + batch], replace=False)
    return Index.open(folder, space, store=store)


def content(index):
    """All columns of all rows, sorted."""
    columns = ["path", "window", "modality", "size", "mtime_ns", "sha256", "start_s", "end_s", "thumbnail"]
    table = index.store.scan([*columns, "vector", "words", "shares"]).to_pylist()
    return sorted(table, key=lambda row: (row["path"], row["window"]))


# Taking in another index ----------------------------------------------------------------------------------------------


def test_two_indexes_become_what_one_run_makes(tmp_path, db, space, unread):
    for i in range(6):
        picture(tmp_path / "one" / f"{i}.png", i)
        picture(tmp_path / "two" / f"{i}.png", 100 + i)
    np.savetxt(tmp_path / "two" / "c.xyz", np.random.default_rng(0).normal(size=(32, 3)))
    with Index.create(tmp_path / "both", space) as both:
        both.add([tmp_path / "one", tmp_path / "two"])
        wanted, hits = content(both), both.search("a cat", 99)
    with Index.create(tmp_path / "other", space) as other:
        other.add([tmp_path / "two", tmp_path / "one" / "0.png"])
        before, state = (tmp_path / "other" / "meta.json").read_bytes(), other.store.state()
    with Index.create(db, space) as index:
        index.add(tmp_path / "one")
        unread()
        calls = []
        did = index.merge(tmp_path / "other", lambda done, total: calls.append((done, total)))
        assert (did.added, did.unchanged, did.removed, calls[-1]) == (7, 1, 0, (8, 8))
        found = content(index)
        assert [{**row, "vector": 0, "words": 0, "shares": 0} for row in found] == [
            {**row, "vector": 0, "words": 0, "shares": 0} for row in wanted
        ]
        same(rows(index), rows(both))
        assert [(hit.path, hit.modality) for hit in index.search("a cat", 99)] == [(h.path, h.modality) for h in hits]
        again = index.add([tmp_path / "one", tmp_path / "two"])
        assert (again.unchanged, again.added) == (13, 0)
        assert index.merge(other).added == 0 and index.merge(other).unchanged == 8
    assert ((tmp_path / "other" / "meta.json").read_bytes(), other.store.state()) == (before, state)
    assert not (tmp_path / "other" / ".lock").exists() or other.store.state() == state


@pytest.mark.parametrize("make_store", [lambda: LanceStore, MemoryStores], ids=["lance", "memory"])
def test_windows_stay_together_and_what_both_hold_stays(tmp_path, db, space, monkeypatch, make_store):
    store = make_store()
    its = [entry(f"/t/{i:04}.wav", 1000 + i, space.dim, windows=1 + i % 5) for i in range(300)]
    own = [entry(f"/t/{i:04}.wav", i, space.dim) for i in range(0, 300, 7)]
    other, index = fill(tmp_path / "other", space, its, store), fill(db, space, own, store)
    written = []
    real = type(index.store).write
    monkeypatch.setattr("clipx.index.merge.ROWS", 50)
    monkeypatch.setattr(type(index.store), "write", lambda *args, **how: written.append(args[1]) or real(*args, **how))
    before, its_rows = content(index), content(other)
    did = index.merge(other)
    assert (did.added, did.unchanged) == (300 - len(own), len(own))
    paths = [set(part["path"].to_pylist()) for part in written]
    assert len(paths) > 1 or store is LanceStore
    assert sum(map(len, paths)) == len(set.union(*paths)) == did.added  # no file in two transactions
    held = {one.file.path for one in own}
    wanted = before + [row for row in its_rows if row["path"] not in held]
    assert content(index) == sorted(wanted, key=lambda row: (row["path"], row["window"]))
    assert content(other) == its_rows
    index.close()


@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_merge_that_is_stopped_goes_on(tmp_path, db, space, monkeypatch, at):
    its = [entry(f"/t/{i:04}.wav", 1000 + i, space.dim, windows=1 + i % 3) for i in range(200)]
    store = MemoryStores()
    other, index = fill(tmp_path / "other", space, its, store), fill(db, space, [], store)
    monkeypatch.setattr("clipx.index.merge.ROWS", 60)
    real, calls = type(index.store).write, []

    def failing(self, table, replace):
        calls.append(table)
        if len(calls) > at:
            raise KeyboardInterrupt
        real(self, table, replace)

    with monkeypatch.context() as patch:
        patch.setattr(type(index.store), "write", failing)
        with pytest.raises(KeyboardInterrupt):
            index.merge(other)
    assert len(content(index)) == sum(map(len, calls[:at]))
    done = len({row["path"] for row in content(index)})
    did = index.merge(other)
    assert (did.added, did.unchanged) == (200 - done, done)
    assert content(index) == content(other)
    index.close()


KILLED = """
import os, signal, sys
import clipx.index.merge
from clipx.index import Index
from clipx.index.lance import LanceStore
clipx.index.merge.ROWS = 100
real, calls = LanceStore.write, []
def write(self, rows, replace):
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    calls.append(rows)
    real(self, rows, replace)
LanceStore.write = write
with Index.open(sys.argv[1]) as index:
    index.merge(sys.argv[2])
"""


def test_a_merge_that_is_killed_goes_on(tmp_path, db, space):
    its = [entry(f"/t/{i:04}.wav", i, space.dim, windows=1 + i % 3) for i in range(20_000)]
    other, index = fill(tmp_path / "other", space, its, batch=10_000), fill(db, space, its[:5])
    died = subprocess.run([sys.executable, "-c", KILLED, str(db), str(tmp_path / "other")], check=False)
    assert died.returncode == -signal.SIGKILL
    count = len(index.store.scan(["path"]))
    assert 9 < count < len(other.store.scan(["path"]))
    index.merge(other)
    columns = ["path", "window", "sha256"]
    got, wanted = (sorted(map(tuple, map(dict.values, i.store.scan(columns).to_pylist()))) for i in (index, other))
    assert got == wanted
    index.close()


def test_what_does_not_fit_is_refused(tmp_path, db, space, run):
    other_space = clipx.space.random_space(RESNET, preprocess_cfg=PREPROCESS, seed=1)
    other_space = clipx.load_space(save_space(other_space, tmp_path / "spaces" / "other", WORDS))
    index = fill(db, space, [entry("/t/a.png", 1, space.dim)])
    foreign = fill(tmp_path / "foreign", other_space, [entry("/t/b.png", 2, space.dim)])
    remedy = rf"; move one of them first: clipx index --db {tmp_path}/foreign --reembed --space "
    with pytest.raises(SpaceMismatchError, match=rf"^{tmp_path}/foreign: holds vectors of space other .*{remedy}"):
        index.merge(foreign)
    with pytest.raises(InputError, match="an index cannot be merged with itself"):
        index.merge(db)
    (tmp_path / "link").symlink_to(db)
    with pytest.raises(InputError, match="an index cannot be merged with itself"):
        index.merge(tmp_path / "link")
    with pytest.raises(FileError, match="no such index"):
        index.merge(tmp_path / "none")
    tower = fill(tmp_path / "tower", space, [entry("/t/c.png", 3, space.dim)])
    collection = tower._collection
    changed = {"image": {**collection.meta.modalities["image"], "context": "abcdef"}}
    collection.record(replace(collection.meta, modalities=changed))
    with pytest.raises(InputError, match=r"tower: holds image with another tower than this index \(abcdef, not none\)"):
        index.merge(tower)
    cloud = fill(tmp_path / "cloud", space, [entry("/t/d.xyz", 4, space.dim, modality="pointcloud")])
    with Index.create(tmp_path / "set", space) as up:
        np.savetxt(tmp_path / "e.xyz", np.random.default_rng(0).normal(size=(32, 3)))
        up.add(tmp_path / "e.xyz", settings={"pointcloud": {"up": "y"}})
    with pytest.raises(InputError, match=r"set: holds pointcloud with up = 'y', and this index with .*--reembed"):
        cloud.merge(up)
    assert index.merge(cloud).added == 1
    with pytest.raises(InputError, match="pointcloud with up"):  # its settings were taken over
        index.merge(up)
    for one in (index, cloud):
        one.close()
    assert len(rows(index)) == 2
    status, _, err = run(f"index --db {db} --merge {db}")
    assert status == 2 and len(err.splitlines()) == 1


def test_an_index_that_is_written_to_meanwhile_is_refused(tmp_path, db, space, monkeypatch):
    store = MemoryStores()
    other = fill(tmp_path / "other", space, [entry("/t/a.wav", 1, space.dim, 3)], store)
    index = fill(db, space, [], store)
    from clipx.index import merge

    real = merge._windows

    def between(its):
        found = real(its)
        its.write(its.rows.slice(0, 0), replace=False)
        return found

    monkeypatch.setattr(merge, "_windows", between)
    with pytest.raises(FileError, match=r"other: is being written to; run again when that has ended"):
        index.merge(other)
    index.close()


def test_words_of_another_vocabulary_are_made_again(tmp_path, db, space):
    index = fill(db, space, [])
    own = index._collection.vocabulary
    with Index.create(tmp_path / "other", space) as other:
        other._collection.__dict__["vocabulary"] = replace(own, vectors=own.vectors[::-1])
        other._collection.write([entry(f"/t/{i}.png", i, space.dim) for i in range(5)], replace=False)
        index.merge(other)
    assert len(content(index)) == 5
    for row in content(index):
        words, shares = own.word_weights(np.array([row["vector"]], np.float32))
        assert row["words"] == words[0].tolist() and row["shares"] == pytest.approx(shares[0].tolist())
    index.close()


def test_the_command_merges_several(tmp_path, here, run, run_json):
    for name in ("a", "b", "c"):
        picture(here / name / f"{name}.png", ord(name))
        run_json(f"index {name} --db {name}.index")
    did = run_json("index --db a.index --merge b.index --merge c.index")
    assert (did["results"][0]["added"], did["files"], did["moved"]) == (2, 3, 0)
    did = run_json("index --db a.index --merge b.index a")
    assert (did["results"][0]["added"], did["results"][0]["unchanged"]) == (0, 2)
    status, out, _ = run("index --db a.index --merge b.index")
    assert status == 0 and out.splitlines()[1].split("\t")[:4] == ["0", "0", "0", "1"]


def test_the_command_merges_into_an_index_that_it_makes(here, run, run_json):
    for name in ("a", "b"):
        picture(here / name / f"{name}.png", ord(name))
        run_json(f"index {name} --db {name}.index")
    did = run_json("index --db new.index --merge a.index --merge b.index")
    assert (did["results"][0]["added"], did["files"]) == (2, 2)
    spaces = [json.loads((here / f"{name}.index" / "meta.json").read_text())["space"] for name in ("a", "new")]
    assert spaces[0] == spaces[1]
    assert run_json("index a b --db new.index")["results"][0]["unchanged"] == 2
    did = run_json("index b --db newer.index --merge a.index")
    assert (did["results"][0]["added"], did["files"]) == (2, 2)
    status, _, err = run("index --db newest.index --merge none.index")
    assert status == 2 and "none.index" in err and not (here / "newest.index").exists()


# Moved folders --------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "old"
    for i in range(4):
        picture(folder / ("deep" if i % 2 else ".") / f"p{i}.png", i)
    (folder / "bad.png").write_bytes(b"no picture")
    picture(tmp_path / "older" / "p.png", 7)  # begins alike
    picture(tmp_path / "it's 100%" / "_.png", 8)
    return folder


def test_a_moved_folder_is_followed(files, tmp_path, db, space, unread, monkeypatch):
    new = tmp_path / "new" / "it's 50%_"
    with Index.create(db, space) as index:
        index.add([files, tmp_path / "older"])
        before = rows(index)
        new.parent.mkdir()
        files.rename(new)
        assert sum(hit.missing for hit in index.search("a cat", 99)) == 4
        unread()
        monkeypatch.chdir(tmp_path)
        assert index.move("old/", "new/it's 50%_") == 4
        hits = index.search("a cat", 99)
        assert len(hits) == 5 and not any(hit.missing for hit in hits)
        assert [{**row, "path": row["path"].replace(str(new), str(files))} for row in rows(index)] == before
        did = index.add([new, tmp_path / "older"])
        assert (did.unchanged, did.added, did.removed) == (5, 0, 0)
        assert [(Path(f.path), f.known) for f in did.failures] == [(new / "bad.png", True)]
        assert index.move("old", new) == 0
        assert index.thumbnails([str(new / "p0.png")])


def test_a_folder_moves_into_itself_and_out_again(files, tmp_path, db, space, unread):
    with Index.create(db, space) as index:
        index.add(files)
        before = rows(index)
        unread()
        files.rename(tmp_path / "away")
        files.mkdir()
        (tmp_path / "away").rename(files / "in")
        assert index.move(files, files / "in") == 4
        assert index.add(files).unchanged == 4
        (files / "in").rename(tmp_path / "away")
        files.rmdir()
        (tmp_path / "away").rename(files)
        assert index.move(files / "in", files) == 4
        assert rows(index) == before


@pytest.mark.parametrize("make_store", [lambda: LanceStore, MemoryStores], ids=["lance", "memory"])
def test_a_file_moves_to_the_place_of_one_that_moves_itself(tmp_path, db, space, make_store):
    """As where the folder ``p/b/b`` is moved up to ``p/b``; no vector is lost."""
    p = tmp_path / "p"
    (p / "b" / "b").mkdir(parents=True)
    names = ["b/x.png", "b/b/x.png", "b/b/b/x.png", "b/only.png", "stays.png"]
    its = [entry(str(p / name), i, space.dim, windows=1 + i % 2) for i, name in enumerate(names)]
    with fill(db, space, its, make_store()) as index:
        before = content(index)
        for name in ("x.png", "b/x.png", "b/b/x.png", "only.png"):
            (p / name).touch()
        assert index.move(p / "b", p) == 4
        moved = {str(p / name): str(p / name.removeprefix("b/")) for name in names}
        wanted = sorted(
            ({**row, "path": moved[row["path"]]} for row in before), key=lambda row: (row["path"], row["window"])
        )
        same(content(index), wanted)
        with pytest.raises(InputError, match=r"holds 1 of the new paths already, such as .*p/x.png"):
            index.move(p / "b" / "b", p)
        for name in ("b/b/b/x.png", "b/only.png", "b/stays.png"):
            (p / name).parent.mkdir(exist_ok=True, parents=True)
            (p / name).touch()
        assert index.move(p, p / "b") == 5  # and back again, with a file that was outside
        back = {row["path"]: row["path"] for row in before}
        back[str(p / "stays.png")] = str(p / "b" / "stays.png")
        same(
            content(index),
            sorted(({**row, "path": back[row["path"]]} for row in before), key=lambda r: (r["path"], r["window"])),
        )


def test_moves_that_would_do_harm_are_refused(files, tmp_path, db, space):
    with Index.create(db, space) as index:
        index.add([files, tmp_path / "older"])
        before = rows(index)
        for new, error, match in (
            (tmp_path / "gone", FileError, r"gone: no such folder; name the folder that holds the files now"),
            (files / "p0.png", FileError, "no such folder"),
            (files, InputError, "both the old and the new folder"),
            (tmp_path / "older", FileError, r"older: holds none of the 4 files, such as .*older/"),
        ):
            with pytest.raises(error, match=match):
                index.move(files, new)
        with pytest.raises(InputError, match=r"p0.png: is a file, and only folders are moved; to take it up"):
            index.move(files / "p0.png", tmp_path / "older")
        picture(tmp_path / "older" / "deep" / "p1.png", 1)
        index.add(tmp_path / "older")
        with pytest.raises(InputError, match=r"holds 1 of the new paths already, such as .*deep/p1.png; .*--remove"):
            index.move(files, tmp_path / "older")
        index.remove(tmp_path / "older" / "deep")
        assert rows(index) == before


def test_settings_that_lie_there_move_along(files, tmp_path, db, space):
    with Index.create(db, space) as index:
        index.add(files)
        collection = index._collection
        own = collection.meta.modalities["image"]
        config = {**own["config"], "tower": str(files / "p0.png"), "gone": str(files / "x"), "all": [str(files), 3]}
        source = replace(collection.meta.space, source=str(files / "deep"))
        collection.record(replace(collection.meta, modalities={"image": {**own, "config": config}}, space=source))
        files.rename(tmp_path / "new")
        assert index.move(files, tmp_path / "new") == 4
    meta = json.loads((db / "meta.json").read_text())
    config = meta["modalities"]["image"]["config"]
    assert config["tower"] == str(tmp_path / "new" / "p0.png") and config["all"] == [str(tmp_path / "new"), 3]
    assert config["gone"] == str(files / "x") and meta["space"]["source"] == str(tmp_path / "new" / "deep")


def test_a_move_that_is_stopped_can_be_made_again(files, tmp_path, db, space, monkeypatch):
    def stopped(*args):
        raise KeyboardInterrupt

    with Index.create(db, space) as index:
        index.add(files)
        files.rename(tmp_path / "new")
        with monkeypatch.context() as patch:
            patch.setattr("clipx.index.relocate._rewrite_records", stopped)
            with pytest.raises(KeyboardInterrupt):
                index.move(files, tmp_path / "new")
        assert index.move(files, tmp_path / "new") == 0
        did = index.add(tmp_path / "new")
        assert (did.unchanged, [f.known for f in did.failures]) == (4, [True])


def test_urls_move_too(files, tmp_path, db, space, unread):
    fs = fsspec.filesystem("memory")
    try:
        for file in files.rglob("*.png"):
            fs.pipe_file(f"/bucket/{file.relative_to(files)}", file.read_bytes())
        with Index.create(db, space) as index:
            index.add(files)
            unread()
            assert index.move(files, "memory://bucket/") == 4
            assert {row["path"] for row in rows(index)} == {f"memory://bucket/{p}" for p in ("p0.png", "p2.png")} | {
                f"memory://bucket/deep/{p}" for p in ("p1.png", "p3.png")
            }
            assert index.move("memory:///bucket", f"file://{files}") == 4
            assert index.add(files).unchanged == 4
            with pytest.raises(FileError, match="memory://nowhere: no such file or folder"):
                index.move(files, "memory://nowhere")
    finally:
        fs.store.clear()
        fs.pseudo_dirs[:] = [""]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_paths_move_as_strings_do(tmp_path_factory, space_folder, data):
    names = st.text("ab'%_\\ é", min_size=1, max_size=4)
    several = st.lists(st.lists(names, min_size=1, max_size=3).map("/".join), unique=True, min_size=1, max_size=6)
    paths = data.draw(several)
    old = "/" + data.draw(st.sampled_from(paths)).split("/")[0]
    new = tmp_path_factory.mktemp("new")
    its = [entry(f"/{path}", i, 32) for i, path in enumerate(paths)]
    with fill(tmp_path_factory.mktemp("db") / "index", clipx.load_space(space_folder), its) as index:
        inside = [f"/{path}" for path in paths if f"/{path}".startswith(f"{old}/")]
        if old[1:] in paths:
            with pytest.raises(InputError, match="is a file"):
                index.move(old, new)
            return
        for path in inside[:1]:
            (new / path[len(old) + 1 :]).parent.mkdir(parents=True, exist_ok=True)
            (new / path[len(old) + 1 :]).touch()
        assert index.move(old, new) == len(inside)
        wanted = sorted(str(new) + path[len(old) :] if path in inside else path for path in (f"/{p}" for p in paths))
        assert sorted(row["path"] for row in rows(index)) == wanted


def test_the_command_moves(files, tmp_path, here, run, run_json, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_json("index older old --db my.index")
    os.rename("old", "new")
    did = run_json("index --db my.index --moved old new")
    assert (did["moved"], did["results"][0]["removed"], did["files"]) == (4, 0, 5)
    assert run_json("index new --db my.index")["results"][0]["unchanged"] == 4
    status, _, err = run("index --db my.index --moved old new")
    assert status == 0 and "nothing of that name in the index: old" in err
    os.rename("new", "newer")
    status, out, err = run("index newer --db my.index --moved new newer")
    assert status == 0 and "moved: 4 files from new to newer" in err and out.splitlines()[1].split("\t")[3] == "4"
    status, _, err = run("index --db my.index --moved newer nowhere")
    assert status == 2 and "nowhere: no such folder; name" in err and len(err.splitlines()) == 1
