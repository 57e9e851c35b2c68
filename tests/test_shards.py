"""Shards of an index: jobs that know nothing of each other, and one commit, give what one run gives."""

import json
import os
import signal
import subprocess
import sys
import wave

import numpy as np
import pytest
from indexed import assert_same, picture, rows, summary
from memory_store import MemoryStores

import clipx
from clipx import pipeline
from clipx.errors import FileError, InputError
from clipx.index import Index, steps
from clipx.index.shards import Shard
from clipx.index.update import Added


@pytest.fixture(scope="module")
def space(space_folder):
    return clipx.load_space(space_folder)


def mixed_files(folder, pictures, clouds):
    """Pictures and clouds, a drawing, what is no picture, and a sound, which the tiny space has no tower for."""
    for i in range(pictures):
        picture(folder / ("deep/er" if i % 2 else ".") / f"p{i}.png", i)
    for i in range(clouds):
        np.savetxt(folder / f"c{i}.xyz", np.random.default_rng(i).normal(size=(32, 3)) * [1, 1, 1 + i])
    (folder / "house.ndjson").write_text('{"word": "house", "drawing": [[[0, 90, 90, 0, 0], [0, 0, 60, 60, 0]]]}')
    (folder / "broken.png").write_bytes(b"\x89PNG corrupt")
    (folder / "notes.doc").write_text("no modality reads this")
    with wave.open(str(folder / "a.wav"), "wb") as sound:
        sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(16000)
        sound.writeframes((np.sin(np.arange(16000) / 9) * 9000).astype("<i2").tobytes())
    return folder


@pytest.fixture
def files(tmp_path):
    return mixed_files(tmp_path / "files", 24, 6)


@pytest.fixture
def db(tmp_path):
    return tmp_path / "my.index"


@pytest.fixture
def encoded(monkeypatch):
    """Names of the files that were encoded in this process."""
    names, real = [], pipeline.encode_batch

    def encode_batch(batch, *how):
        names.extend(one.item.path.name for one in batch)
        return real(batch, *how)

    monkeypatch.setattr(pipeline, "encode_batch", encode_batch)
    return names


@pytest.fixture
def plain(files, space, tmp_path):
    """An index of the files, made in one run, and its report."""
    with Index.create(tmp_path / "plain.index", space) as index:
        did = index.add(files)
        assert did.added == 31 and len(did.failures) == 2
        yield index, did


def run_python(code, *arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], env=environment)


JOB = """
import sys
from clipx.cli import main
folder, db, space, shard = sys.argv[1:]
sys.exit(main(["index", folder, "--db", db, "--space", space, "--shard", shard]))
"""


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_shards_and_a_commit_give_what_one_run_gives(files, db, space, plain, order):
    with Index.create(db, space) as index:
        for number in order:
            index.stage(files, (number, 3))
        did = index.commit()
        assert did.missing_shards == did.unfinished_shards == []
        assert summary(did) == summary(plain[1])
        assert_same(index, plain[0])
        again = index.add(files)
        assert (again.added, again.unchanged) == (0, 31)
        assert [failure.path for failure in again.failures if failure.known] == [str(files / "broken.png")]
        with pytest.raises(InputError, match="no shard waits for a commit"):
            index.commit()


def test_jobs_at_once_need_no_index_before(files, db, space_folder, plain):
    """None is there yet: one of them makes it, and the others wait for that."""
    jobs = [run_python(JOB, files, db, space_folder, f"{number}/3") for number in (1, 2, 3)]
    assert [job.wait(120) for job in jobs] == [0, 0, 0]
    with Index.open(db) as index:
        assert summary(index.commit()) == summary(plain[1])
        assert_same(index, plain[0])


def test_a_reader_sees_nothing_before_the_commit(files, db, space):
    with Index.create(db, space) as index:
        index.add(picture(files / "first.png", 99))
        state, reader = index.store.state(), Index.open(db, space)
        before = [(hit.path, hit.score) for hit in reader.search("a cat", 99)]
        for number in (1, 2):
            index.stage(files, (number, 2))
            assert index.store.state() == state  # so that a search need not read anything again
        assert [(hit.path, hit.score) for hit in reader.search("a cat", 99)] == before
        index.commit()
        assert len(reader.search("a cat", 99)) == 32


def test_stages_only_its_own_files_and_never_twice(files, db, space, encoded):
    with Index.create(db, space) as index:
        for number in (1, 2, 3):
            index.stage(files, (number, 3))
        paths = [path for path in map(str, files.rglob("*.*")) if path.endswith((".png", ".xyz", ".ndjson"))]
        assert sorted(encoded) == sorted(path.rpartition("/")[2] for path in paths if "broken" not in path)
        encoded.clear()
        picture(files / "new.png", 50)
        picture(files / "p4.png", 51)  # what was staged of it is out of date
        for number in (1, 2, 3):
            index.stage(files, (number, 3))
        assert {"new.png", "p4.png"} <= set(encoded) and "a.wav" not in encoded
        assert index.commit().added == 32
        with Index.create(db.with_name("fresh"), space) as fresh:
            fresh.add(files)
            assert_same(index, fresh)


def test_every_path_is_in_one_shard():
    paths = [f"/photos/{i}é.png" for i in range(1000)]
    counts = [sum(Shard(number, 8).holds(path) for path in paths) for number in range(1, 9)]
    assert sum(counts) == 1000 and min(counts) > 90
    for text in ("0/3", "4/3", "a/3", "1", "1/0"):
        with pytest.raises(InputError):
            Shard.parse(text)


KILLED = """
import os, signal, sys
from clipx.index import Index, shards, steps
steps.PART_ROWS, real, written = 4, shards._Record.write, []
def write(*about):
    real(*about)
    written.append(1)
    if len(written) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
shards._Record.write = write
Index.open(sys.argv[2]).stage(sys.argv[1], (1, 1), batch_size=4)
"""


def test_a_killed_job_goes_on(files, db, space, plain, encoded):
    Index.create(db, space, space.folder).close()
    assert run_python(KILLED, files, db).wait(120) == -signal.SIGKILL
    records = [json.loads(file.read_text())["part"] for file in (db / "items-1-shards").glob("*.json")]
    there = sum(len(one["files"]) - len(one["failures"]) for one in records)
    assert len(records) == 2 and 8 <= there < 31
    with Index.open(db, space) as index:
        index.stage(files, (1, 1))
        assert len(encoded) == 31 - there
        did = index.commit()
        assert did.added == 31 and did.missing_shards == did.unfinished_shards == []
        assert_same(index, plain[0])


def test_what_is_missing_is_named_and_the_rest_published(files, db, space, plain, monkeypatch):
    with Index.create(db, space) as index:
        index.stage(files, (3, 4))
        monkeypatch.setattr(steps, "PART_ROWS", 2)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            calls = []

            def stop(done, total):
                calls.append(done)
                if len(calls) > 1:
                    raise KeyboardInterrupt

            patch.setattr(steps, "PART_SECONDS", 0)
            index.stage(files, (1, 4), batch_size=2, progress=stop)
        did = index.commit()
        assert (did.missing_shards, did.unfinished_shards) == (["2/4", "4/4"], ["1/4"])
        there = len(rows(index))
        assert 0 < there == did.added < 31
        for number in (1, 2, 4):
            index.stage(files, (number, 4))
        did = index.commit()  # the third is remembered
        assert (did.missing_shards, did.unfinished_shards, did.added) == ([], [], 31 - there)
        assert_same(index, plain[0])


def test_a_new_round_forgets_what_an_earlier_one_had_whole(files, db, space):
    with Index.create(db, space) as index:
        for number in (1, 2):
            index.stage(files, (number, 3))
        assert index.commit().missing_shards == ["3/3"]
        index.stage(files, (1, 3))
        assert index.commit().missing_shards == ["2/3", "3/3"]


def test_a_commit_that_was_killed_may_be_repeated(files, db, space, plain, monkeypatch):
    from clipx.index import shards

    with Index.create(db, space) as index:
        for number in (1, 2):
            index.stage(files, (number, 2))
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(shards, "finish", lambda *about: (_ for _ in ()).throw(KeyboardInterrupt))
            index.commit()
        assert len(rows(index)) == 31
        did = index.commit()
        assert (did.added, did.updated, did.missing_shards) == (0, 0, [])
        assert_same(index, plain[0])
        assert index.add(files).failures[0].known


def test_a_commit_that_was_killed_before_it_published_may_be_repeated(files, db, space, plain, monkeypatch):
    """Its data files were moved already."""
    with Index.create(db, space) as index:
        index.stage(files, (1, 1))
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(index.store, "_commit", lambda *about: (_ for _ in ()).throw(KeyboardInterrupt))
            index.commit()
        assert rows(index) == []
        assert index.commit().added == 31
        assert_same(index, plain[0])


def test_a_commit_updates_and_removes(files, db, space, tmp_path):
    with Index.create(db, space) as index:
        index.add(files)
        picture(files / "p0.png", 77)
        (files / "p2.png").unlink()
        (files / "p4.png").rename(files / "moved.png")
        (files / "p6.png").write_bytes(b"\x89PNG corrupt")
        (files / "broken.png").unlink()
        index.stage(files, (1, 2))
        index.stage(files, (2, 2))
        assert len(rows(index)) == 31
        did = index.commit()
        assert (did.added, did.updated, did.reused, did.removed, did.unchanged) == (0, 1, 1, 3, 27)
        with Index.create(tmp_path / "fresh", space) as fresh:
            fresh.add(files)
            assert_same(index, fresh)
        assert {path.rpartition("/")[2] for path in index._collection.failures()} == {"p6.png"}


def test_a_failure_is_tried_again_with_retry_alone(files, db, space, encoded):
    good = (files / "p0.png").read_bytes()
    broken = files / "broken.png"
    broken.write_bytes(good[:40] + bytes(len(good) - 40))
    before = broken.stat().st_mtime_ns
    with Index.create(db, space) as index:
        index.stage(files, (1, 1))
        broken.write_bytes(good)  # as if another version of a library had read it
        os.utime(broken, ns=(before, before))
        encoded.clear()
        assert [one.path for one in index.stage(files, (1, 1)).failures] == [str(files / "a.wav"), str(broken)]
        assert index.stage(files, (1, 1), retry=True).added == 1 and encoded == ["broken.png"]
        did = index.commit()
        assert (did.added, [failure.path for failure in did.failures]) == (32, [str(files / "a.wav")])


# What happens between a job and the commit ----------------------------------------------------------------------------


def sizes(index):
    return {row["path"].rpartition("/")[2]: row["size"] for row in rows(index)}


def test_a_commit_leaves_what_was_updated_since(files, db, space, tmp_path):
    with Index.create(db, space) as index:
        index.add(files / "p0.png")
        picture(files / "p0.png", 60)
        index.stage(files, (1, 2))
        index.stage(files, (2, 2))
        picture(files / "p0.png", 61)
        picture(files / "p2.png", 62)  # which the index did not hold when it was staged
        index.add([files / "p0.png", files / "p2.png"])
        newer = {row["path"]: row["sha256"] for row in rows(index)}
        did = index.commit()
        assert newer.items() <= {row["path"]: row["sha256"] for row in rows(index)}.items()
        own = sorted({f"{n}/2" for n in (1, 2) for path in newer if Shard(n, 2).holds(path)})
        assert did.unfinished_shards == own and len(rows(index)) == 31
        for shard in own:
            index.stage(files, (int(shard[0]), 2))
        assert index.commit().unfinished_shards == []
        with Index.create(tmp_path / "fresh", space) as fresh:
            fresh.add(files)
            assert_same(index, fresh)


def test_a_job_that_runs_again_stages_what_was_updated_since(files, db, space):
    with Index.create(db, space) as index:
        index.stage(files, (1, 1))
        picture(files / "p0.png", 61)
        index.add(files / "p0.png")
        index.stage(files, (1, 1))
        did = index.commit()
        assert did.unfinished_shards == [] and did.added == 30 and len(rows(index)) == 31


def test_a_commit_leaves_what_came_back(files, db, space):
    with Index.create(db, space) as index:
        index.add(files)
        away = (files / "p0.png").rename(files.with_name("away"))
        index.stage(files, (1, 1))
        away.rename(files / "p0.png")
        os.utime(files / "p0.png")
        assert index.add(files).reused == 1
        assert index.commit().removed == 0
        assert "p0.png" in sizes(index)


def test_what_is_gone_after_it_was_staged_is_not_published(files, db, space, plain):
    with Index.create(db, space) as index:
        index.stage(files, (1, 1))
        (files / "p0.png").unlink()
        index.stage(files, (1, 1))
        did = index.commit()
        assert did.added == 30 and did.unfinished_shards == [] and "p0.png" not in sizes(index)


def test_while_shards_wait_nothing_is_moved_or_removed(files, db, space):
    with Index.create(db, space) as index:
        index.add(files / "p0.png")
        index.stage(files, (1, 2))
        for change in (lambda: index.remove(files), lambda: index.move(files / "deep", files / "deep/er")):
            with pytest.raises(InputError, match=r"1 of its shards wait for a commit, such as 1/2.*--commit") as caught:
                change()
            assert "\n" not in str(caught.value)
        index.commit()  # which remembers that the first was published
        assert index.remove(files / "p0.png") == 1


def test_after_a_commit_of_some_another_number_may_be_staged(files, db, space, plain):
    with Index.create(db, space) as index:
        index.stage(files, (1, 2))
        index.commit()
        for number in (1, 2, 3):
            index.stage(files, (number, 3))
        did = index.commit()
        assert did.missing_shards == did.unfinished_shards == []
        assert_same(index, plain[0])


def test_a_commit_leaves_a_job_that_runs_alone(files, db, space, plain, monkeypatch):
    with Index.create(db, space) as index:
        index.stage(files, (2, 2))
        monkeypatch.setattr(steps, "PART_SECONDS", 0)
        did = []

        def commit(done, total):
            if not did:
                before = list((db / "items-1-shards").glob("1-of-2.*"))
                with Index.open(db, space) as other:
                    did.append(other.commit())
                assert before and list((db / "items-1-shards").glob("1-of-2.*")) == before

        Index.open(db, space).stage(files, (1, 2), batch_size=4, progress=commit)
        assert (did[0].missing_shards, did[0].unfinished_shards) == ([], ["1/2"])
        last = index.commit()
        assert last.missing_shards == last.unfinished_shards == []
        assert_same(index, plain[0])


def test_a_commit_keeps_what_a_job_writes_meanwhile(files, db, space, monkeypatch):
    from clipx.index import shards

    with Index.create(db, space) as index:
        index.stage(files, (1, 1))
        real = shards.finish

        def finish(*about):
            monkeypatch.setattr(shards, "finish", real)
            picture(files / "new.png", 50)
            Index.open(db, space).stage(files, (1, 1))
            for file in (db / "items-1-staged/data").iterdir():
                os.utime(file, (1, 1))  # as if the commit took hours
            real(*about)

        monkeypatch.setattr(shards, "finish", finish)
        assert index.commit().added == 31
        did = index.commit()
        assert did.added == 1 and did.missing_shards == did.unfinished_shards == []


def test_staged_data_that_are_not_seen_are_kept(files, db, space, plain):
    """As in a stale listing of a shared disk."""
    staged = db / "items-1-staged"
    with Index.create(db, space) as index:
        index.stage(files, (1, 1))
        staged.rename(db.with_name("unseen"))
        assert index.commit().unfinished_shards == ["1/1"] and rows(index) == []
        db.with_name("unseen").rename(staged)
        did = index.commit()
        assert did.missing_shards == did.unfinished_shards == [] and did.added == 31
        assert_same(index, plain[0])


def test_what_nobody_will_publish_is_removed(files, db, space):
    with Index.create(db, space) as index:
        orphan, young = (index.store.stage(index._collection.rows([entry])) for entry in entries(index, files))
        index.stage(files, (1, 1))
        old = {file for file in (db / "items-1-staged/data").iterdir() if file.name not in young}
        for file in old:
            os.utime(file, (1, 1))
        index.add(files / "p0.png")
        assert not index.store.is_staged(orphan) and index.store.is_staged(young)
        assert index.commit().unfinished_shards == []


def entries(index, files):
    """Two files, encoded."""
    from clipx.index.scan import Found
    from clipx.index.store import Entry

    vector = np.eye(1, index.space_record.dim, dtype=np.float32)
    return [Entry(Found(f"{files}/{i}.png", 1, 1, "image"), f"{i:064x}", [None], vector, None) for i in range(2)]


# What is refused ------------------------------------------------------------------------------------------------------


def test_shards_of_another_number_are_refused(files, db, space):
    with Index.create(db, space) as index:
        index.stage(files, (1, 2))
        with pytest.raises(InputError, match="shards of 2 wait for a commit, not of 3"):
            index.stage(files, (1, 3))
        with pytest.raises(InputError, match="no shard 3/2"):
            index.stage(files, (3, 2))


def test_a_job_that_is_asked_for_something_else_is_refused_before_it_encodes(files, db, space, encoded):
    """Else a commit would take what one job did not look for as gone."""
    with Index.create(db, space) as index:
        index.stage(files, (1, 2))
        encoded.clear()
        others = [
            ({"modality": "depth"}, "modality"),
            ({"settings": {"pointcloud": {"up": "z"}}}, "settings"),
            ({"thumbnails": False}, "thumbnails"),
        ]
        for number in (1, 2):
            for asked, name in others:
                with pytest.raises(InputError, match=f"shards of other {name} wait for a commit"):
                    index.stage(files, (number, 2), **asked)
            with pytest.raises(InputError, match="shards of other folders wait for a commit"):
                index.stage(files / "deep", (number, 2))
        assert encoded == []
        index.stage(files, (2, 2))
        assert index.commit().missing_shards == []
        index.stage(files / "deep", (1, 1))  # another round


def test_a_job_that_is_interrupted_stages_what_there_is(files, db, space, encoded, monkeypatch):
    from clipx.index import entries as module

    real, calls = module.encode, []

    def stopped(*args, **options):
        for batch in real(*args, **options):
            yield batch
            calls.append(len(batch))
            if len(calls) == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(module, "encode", stopped)
    with Index.create(db, space) as index:
        with pytest.raises(KeyboardInterrupt):
            index.stage(files, (1, 1), batch_size=4)
        first = list(encoded)
        assert sum(calls) == 8 and len(first) >= 7
        index.stage(files, (1, 1), batch_size=4)
        assert not set(first[:7]) & set(encoded[len(first) :])
        assert index.commit().added == 31


def test_other_settings_are_refused(files, db, space, monkeypatch):
    """Also where a job has not seen what the others were asked for."""
    for i in range(6, 26):  # so that both shards have clouds
        np.savetxt(files / f"c{i}.xyz", np.random.default_rng(i).normal(size=(32, 3)))
    with Index.create(db, space) as index:
        index.stage(files, (1, 2))
        monkeypatch.setattr("clipx.index.shards._join_round", lambda *asked: None)
        index.stage(files, (2, 2), settings={"pointcloud": {"up": "z"}})
        with pytest.raises(InputError, match=r"shard [12]/2: the index holds pointcloud with up = .*remove .*-of-2"):
            index.commit()
        assert rows(index) == []


def test_another_space_or_version_is_refused(files, db, space):
    with Index.create(db, space) as index:
        index.stage(files, (1, 1))
        record = max((db / "items-1-shards").glob("*.json"), key=lambda file: file.stat().st_size)
        about = json.loads(record.read_text())
        for name, value, message in [("space", "x", "is of space x"), ("clipx", "0.1", "was written by clipx 0.1")]:
            record.write_text(json.dumps({**about, name: value}))
            with pytest.raises(InputError, match=message):
                index.commit()
        record.write_text("{")
        with pytest.raises(InputError, match="cannot be read"):
            index.commit()
        assert rows(index) == []


@pytest.mark.parametrize(
    "own", [{"walked": {}}, {"walked": {"gone": 3}}, {"part": {}}, {"seen": {"x": 1}}, {"seen": 1}]
)
def test_a_corrupt_record_is_named_before_anything_is_published(files, db, space, own):
    with Index.create(db, space) as index:
        index.stage(files, (1, 1))
        for file in (db / "items-1-shards").glob("*.json"):
            about = json.loads(file.read_text())
            if own.keys() <= about.keys():
                file.write_text(json.dumps({**about, **own}))
        with pytest.raises(InputError, match=r"cannot be read; remove .* and run that shard again"):
            index.commit()
        assert rows(index) == []


@pytest.mark.parametrize("staged", ["{", "{}", "[1]", '[{"files": [{}]}]'])
def test_a_corrupt_name_of_staged_data_is_refused(files, db, space, staged):
    with Index.create(db, space) as index:
        index.stage(files, (1, 1))
        for file in (db / "items-1-shards").glob("*.json"):
            about = json.loads(file.read_text())
            if "part" in about:
                file.write_text(json.dumps({**about, "part": {**about["part"], "staged": staged}}))
        with pytest.raises(FileError, match="what was staged cannot be read"):
            index.commit()
        assert rows(index) == []


def test_a_shard_whose_data_are_lost_must_be_run_again(files, db, space, plain):
    with Index.create(db, space) as index:
        index.stage(files, (1, 2))
        for file in (db / "items-1-staged/data").iterdir():
            file.write_bytes(file.read_bytes()[:-9])  # as a copy that was stopped
        index.stage(files, (2, 2))
        did = index.commit()
        assert (did.missing_shards, did.unfinished_shards) == ([], ["1/2"])
        index.stage(files, (1, 2))
        assert index.commit().unfinished_shards == []
        assert_same(index, plain[0])


@pytest.mark.parametrize(
    ("number", "message"),
    [("EWOULDBLOCK", "another process writes to it; wait"), ("ENOLCK", r"cannot be locked \(No locks available\)")],
)
def test_a_lock_that_is_not_given_says_why(files, db, space, monkeypatch, number, message):
    import errno

    from clipx.index import lock

    def refuse(handle):
        raise OSError(getattr(errno, number), os.strerror(getattr(errno, number)))

    with Index.create(db, space) as index:
        monkeypatch.setattr(lock, "_lock", refuse)
        with pytest.raises(FileError, match=message):
            index.stage(files, (1, 1))


def test_each_data_file_is_asked_for_its_own_paths_only(db, space, monkeypatch):
    import lance

    asked, real = [], lance.LanceFragment.delete
    with Index.create(db, space) as index:
        for entry in entries(index, db):
            index._collection.write([entry], replace=False)
        monkeypatch.setattr(lance.LanceFragment, "delete", lambda self, where: asked.append(where) or real(self, where))
        index._collection.write(entries(index, db), replace=True)
        assert sorted(asked) == [f"path IN ('{db}/{i}.png')" for i in range(2)] and len(rows(index)) == 2


def test_two_jobs_of_one_shard_are_refused(files, db, space):
    with Index.create(db, space) as index:

        def second(done, total):
            with pytest.raises(FileError, match="another process writes"):
                Index.open(db, space).stage(files, (1, 1))

        index.stage(files, (1, 1), progress=second)


def test_a_store_for_one_writer_is_refused(files, db, space):
    with (
        Index.create(db, space, store=MemoryStores()) as index,
        pytest.raises(InputError, match="not made for several writers"),
    ):
        index.stage(files, (1, 1))


def test_a_writer_goes_on_while_shards_are_staged(files, db, space):
    """The index is locked by whoever adds, not by a job."""
    with Index.create(db, space) as index:
        index.stage(files, (1, 1))
        with Index.open(db, space) as other:
            assert isinstance(other.add(files / "p0.png"), Added)
        did = index.commit()
        assert len(rows(index)) == 31 and did.added + did.updated == 31


def test_a_move_to_another_space_drops_what_was_staged(files, db, space, tmp_path):
    with Index.create(db, space) as index:
        index.add(files / "p0.png")
        index.stage(files, (1, 2))
        index.reembed(space)
        with pytest.raises(InputError, match="no shard waits"):
            index.commit()
    assert not list(db.glob("items-1*"))


# The command line -----------------------------------------------------------------------------------------------------


def test_the_commands(run, here):
    status, out, err = run("index . --shard 1/2")
    assert status == 0 and "shard 1/2 is staged" in err
    status, out, err = run("index --commit")
    assert status == 2 and "missing: shard 2/2" in err
    status, out, err = run("index . --shard 1/2 --json")
    assert status == 0 and json.loads(out)["shard"] == "1/2"
    status, out, err = run("index --commit --json")
    assert status == 2 and json.loads(out)["results"][0]["missing_shards"] == ["2/2"]
    assert run("index . --shard 2/2")[0] == 0
    status, out, err = run("index --commit --json")
    assert status == 0 and json.loads(out)["files"] == 3
    assert json.loads(out)["results"][0]["missing_shards"] == []
    for line, message in [
        ("index . --shard 3/2", "no shard 3/2"),
        ("index . --shard two", "the second of eight is 2/8"),
        ("index --shard 1/2", "nothing to index"),
        ("index . --shard 1/2 --ann", "does nothing else"),
        ("index . --commit", "indexes nothing"),
        ("index --commit", "no shard waits for a commit"),
        ("index . --workers 2", "add --engine ray"),
        ("index . --address auto", "add --engine ray"),
        ("index . --shard-files 9", "add --engine ray"),
        ("index . --shard 1/2 --shard-files 9", "add --engine ray"),
        ("index --reembed --engine ray", "leave --engine ray out"),
    ]:
        status, out, err = run(line)
        assert status == 2 and message in err and err.count("\n") == 1, (line, err)
