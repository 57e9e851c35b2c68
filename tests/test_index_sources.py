"""Files at URLs: what a walk finds there, how they are read, and what stays secret."""

import errno
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import ClassVar

import fsspec
import numpy as np
import pytest
from conftest import WORDS, save_space
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import example, given, settings
from hypothesis import strategies as st
from indexed import picture, rows, same

import clipx
from clipx import pipeline
from clipx.errors import ClipxError, FileError, InputError, MissingDependencyError
from clipx.index import Index
from clipx.index.arrays import unit
from clipx.index.remote import RemoteItem, canonical, changed_ns, fetch, is_url, list_folder, look_up
from clipx.index.scan import absolute, find_files, is_under
from clipx.modality import Modality
from clipx.parts import Parts
from clipx.registry import get_modality


class Web(MemoryFileSystem):
    """The files in memory as a web server lists them: no sizes and no times, which have to be asked for one by one."""

    protocol = "toyweb"
    asked: ClassVar[list] = []

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.removeprefix("toyweb://"))

    def ls(self, path, detail=True, **options):
        found = super().ls(path, detail=True, **options)
        return [{"name": one["name"], "size": None, "type": one["type"]} for one in found]

    def info(self, path, **options):
        self.asked.append(path)
        found = dict(super().info(path, **options))
        if found.pop("created", None):
            found["ETag"] = f'"{found["size"]}"'
        return found


@pytest.fixture(scope="module")
def space(space_folder):
    return clipx.load_space(space_folder)


@pytest.fixture
def db(tmp_path):
    return tmp_path / "my.index"


@pytest.fixture
def files(tmp_path):
    """Four pictures, two clouds, prose that is no cloud, and what a walk passes over."""
    folder = tmp_path / "files"
    for i in range(4):
        picture(folder / ("deep/er" if i % 2 else ".") / f"p{i}.png", i)
    picture(folder / ".hidden" / "h.png", 9)
    picture(folder / ".h.png", 9)
    for i in range(2):
        np.savetxt(folder / f"c{i}.xyz", np.random.default_rng(i).normal(size=(32, 3)))
    (folder / "notes.txt").write_text("no points in here\n")
    (folder / "page.doc").write_text("no modality reads this")
    return folder


@pytest.fixture
def memory(files):
    """The same files at memory://bucket/files."""
    fs = fsspec.filesystem("memory")
    for file in files.rglob("*"):
        if file.is_file():
            fs.pipe_file(f"/bucket/files/{file.relative_to(files).as_posix()}", file.read_bytes())
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    Web.asked.clear()


@pytest.fixture
def nothing_left(tmp_path, monkeypatch):
    """Temporary files go to a folder that must be empty in the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


URL = "memory://bucket/files"


def names(walk):
    return [file.path.removeprefix(URL) for file in walk.files]


# Taking in ------------------------------------------------------------------------------------------------------------


def test_a_url_gives_the_vectors_of_the_local_folder(files, memory, db, space, tmp_path, nothing_left):
    with Index.create(db, space) as index, Index.create(tmp_path / "local", space) as local:
        did, wanted = index.add(URL), local.add(files)
        assert (did.added, did.failures, did.skipped) == (6, [], {".doc": 1})
        assert (wanted.added, wanted.skipped) == (6, {".doc": 1})
        got, other = rows(index), rows(local)
        assert [row["path"].replace(URL, str(files)) for row in got] == [row["path"] for row in other]
        plain = [{**row, "path": "", "mtime_ns": 0} for row in got]
        same(plain, [{**row, "path": "", "mtime_ns": 0} for row in other])
        assert set(index.thumbnails([f"{URL}/p0.png"])) == {f"{URL}/p0.png"}
        again = index.add([f"{URL}/", "memory:///bucket/files/deep"])
        assert (again.unchanged, again.added, again.removed) == (6, 0, 0)
        mixed = index.add([URL, files])  # known content is not encoded twice, wherever it lies
        assert (mixed.unchanged, mixed.reused, mixed.added) == (6, 6, 0)


def test_what_changes_at_a_url_is_taken_up(memory, db, space, nothing_left):
    with Index.create(db, space) as index:
        index.add(URL)
        time.sleep(0.001)
        memory.pipe_file("/bucket/files/p0.png", memory.cat_file("/bucket/files/p2.png"))
        memory.pipe_file("/bucket/files/new.png", memory.cat_file("/bucket/files/deep/er/p1.png"))
        memory.rm_file("/bucket/files/c0.xyz")
        memory.pipe_file("/bucket/files/bad.png", b"no picture")
        cloud = memory.cat_file("/bucket/files/c1.xyz")
        memory.pipe_file("/bucket/files/c1.xyz", cloud[:-2] + (b"0" if cloud[-2:-1] != b"0" else b"1") + cloud[-1:])
        did = index.add(URL)  # one of them of the same size as before
        assert (did.unchanged, did.reused, did.updated, did.removed) == (3, 2, 1, 1)
        assert [(f.path, f.read) for f in did.failures] == [(f"{URL}/bad.png", True)]
        assert "temporary" not in did.failures[0].reason and "clipx-" not in did.failures[0].reason
        assert [failure.known for failure in index.add(URL).failures] == [True]
        assert index.add(f"{URL}/deep").unchanged == 2
        assert index.remove("memory:///bucket/files/deep/") == 2
        assert index.remove(["memory://bucket/files/p0.png", "memory://bucket/fi"]) == 1


def test_a_file_read_by_another_modality_stays_while_it_is_there(memory, db, space):
    memory.pipe_file("/bucket/files/photo.weird", memory.cat_file("/bucket/files/p0.png"))
    with Index.create(db, space) as index:
        index.add(f"{URL}/photo.weird", modality="image")
        did = index.add(URL)
        assert (did.removed, did.added, did.reused) == (0, 5, 1)
        memory.rm_file("/bucket/files/photo.weird")
        assert index.add(URL).removed == 1


def test_a_folder_that_cannot_be_listed_loses_nothing(memory, db, space, monkeypatch):
    real = MemoryFileSystem.ls

    def failing(self, path, **options):
        if path.endswith("deep"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(self, path, **options)

    with Index.create(db, space) as index:
        index.add(URL)
        monkeypatch.setattr(MemoryFileSystem, "ls", failing)
        did = index.add(URL)
        assert (did.removed, did.unchanged) == (0, 4)
        assert [(f.path, f.reason, f.read) for f in did.failures] == [
            (f"{URL}/deep", "cannot be listed: cannot be read (Permission denied)", False)
        ]
        monkeypatch.setattr(MemoryFileSystem, "ls", real)
        assert index.add(URL).unchanged == 6


def test_an_error_of_the_network_is_tried_again(memory, db, space, monkeypatch, nothing_left):
    real = MemoryFileSystem._open

    def failing(self, path, *options, **more):
        if path.endswith("p0.png"):
            raise ConnectionResetError("the peer hung up")
        return real(self, path, *options, **more)

    with Index.create(db, space) as index:
        monkeypatch.setattr(MemoryFileSystem, "_open", failing)
        did = index.add(URL)
        assert [(f.path, f.reason, f.read) for f in did.failures] == [
            (f"{URL}/p0.png", "cannot be read (the peer hung up)", False)
        ]
        monkeypatch.setattr(MemoryFileSystem, "_open", real)
        assert index.add(URL).added == 1


def test_listings_without_sizes_are_asked_for_each_file(memory, db, space, monkeypatch):
    fsspec.register_implementation("toyweb", Web, clobber=True)
    with Index.create(db, space) as index:
        assert index.add("toyweb://bucket/files").added == 6
        found = index.store.scan(["path", "size", "mtime_ns"]).to_pylist()
        assert all(row["size"] > 0 and row["mtime_ns"] > 0 for row in found)
        assert index.add("toyweb://bucket/files").unchanged == 6
        memory.pipe_file("/bucket/files/p0.png", memory.cat_file("/bucket/files/p0.png") + b"more")
        assert index.add("toyweb://bucket/files").updated == 1
    assert not any(path.endswith(".doc") for path in Web.asked)


def test_indexes_and_hidden_names_are_passed_over(memory, files, space, tmp_path):
    with Index.create(files / "deep" / "own.index", space) as index:
        index.add(files / "p0.png")
    for file in (files / "deep" / "own.index").rglob("*"):
        if file.is_file():
            memory.pipe_file(f"/bucket/files/deep/own.index/{file.relative_to(files / 'deep' / 'own.index')}", b"{")
    meta = (files / "deep" / "own.index" / "meta.json").read_bytes()
    memory.pipe_file("/bucket/files/deep/own.index/meta.json", meta)
    memory.pipe_file("/bucket/files/deep/own.index/x.png", b"")
    memory.pipe_file("/bucket/files/other/meta.json", b'{"mine": 1}')
    memory.pipe_file("/bucket/files/other/y.png", b"")
    memory.pipe_file("/bucket/files/.other/z.png", b"")
    walk = find_files([URL])
    assert names(walk) == sorted(names(walk), key=lambda name: (name.count("/"), name))
    assert set(names(walk)) == {
        *("/c0.xyz", "/c1.xyz", "/p0.png", "/p2.png", "/deep/er/p1.png", "/deep/er/p3.png", "/other/y.png")
    }
    assert find_files([URL], "image").skipped == find_files([files], "image").skipped


def test_a_file_alone(memory, db, space):
    with Index.create(db, space) as index:
        assert index.add(f"{URL}/p0.png").added == 1
        assert index.add([f"{URL}/p0.png", f"{URL}/notes.txt"], modality="image").failures[0].path.endswith("notes.txt")
        with pytest.raises(InputError, match=r"^memory://bucket/files/page.doc: no modality reads .doc; known:"):
            index.add(f"{URL}/page.doc")
        with pytest.raises(FileError, match=r"^memory://bucket/gone: no such file or folder$"):
            index.add("memory://bucket/gone")


@dataclass
class LaterSample:
    path: Path


class Later(Modality):
    """Reads a file while it is encoded, as a sound does that is longer than memory bears."""

    name, suffixes = "later", (".later",)

    def load(self, path):
        return LaterSample(Path(path))

    def parts(self, samples):
        seeds = [sum(sample.path.read_bytes()) for sample in samples]
        return Parts.whole(np.stack([unit(np.random.default_rng(seed).normal(size=self.space.dim)) for seed in seeds]))


def test_a_file_stays_until_its_sample_is_encoded(memory, db, space, nothing_left):
    memory.pipe_file("/bucket/files/a.later", b"content")
    item, modality = RemoteItem("memory://bucket/files/a.later"), Later(space)
    one = pipeline.read(item, modality)
    assert (len(list(nothing_left.iterdir())), one.item.id, one.sample.path.exists()) == (1, item.id, True)
    assert pipeline.encode_batch([one], modality)[0].rows.shape == (1, space.dim)
    del one
    one = pipeline.read(RemoteItem(f"{URL}/p0.png"), get_modality("image")(space))
    assert one.sample is not None and list(nothing_left.iterdir()) == []


# The local file system ------------------------------------------------------------------------------------------------


def test_a_file_url_is_another_name_of_a_local_path(files, db, space):
    with Index.create(db, space) as index:
        assert index.add(f"file://{files}").added == 6
        assert all(row["path"].startswith(str(files)) for row in rows(index))
        assert index.add(files).unchanged == 6
        hit = index.search(f"file://{files}/p0.png", k=1)[0]
        assert (hit.path, hit.cosine) == (str(files / "p0.png"), pytest.approx(1, abs=1e-4))
        assert index.remove(f"FILE://{files}/deep") == 2


# Searching ------------------------------------------------------------------------------------------------------------


def test_urls_are_searched_by_and_found_without_a_look(memory, db, space, monkeypatch):
    with Index.create(db, space) as index:
        index.add(URL)
        hits = index.search(f"{URL}/p2.png", k=9)
        assert hits[0].path == f"{URL}/p2.png" and hits[0].cosine == pytest.approx(1, abs=1e-4)
        best = index.search(f"99* image:{URL}/p2.png + a cat", k=9, ranking="cosine")[0]
        assert best.path == f"{URL}/p2.png"
        both = index.search(f"{URL}/c0.xyz - {URL}/p2.png", k=9, ranking="cosine")
        assert both[0].path.endswith("xyz")
        memory.store.clear()

        def unasked(*args, **options):
            raise AssertionError("a search asks no store")

        for name in ("ls", "info", "exists", "_open"):
            monkeypatch.setattr(MemoryFileSystem, name, unasked)
        assert not any(hit.missing for hit in index.search("a cat", k=9))
        with pytest.raises(FileError, match=r"^memory://bucket/files/p2.png: cannot be read"):
            monkeypatch.undo()
            monkeypatch.setattr(MemoryFileSystem, "_open", lambda *args, **options: 1 / 0)
            index.search(f"{URL}/p2.png")


def test_files_elsewhere_are_not_called_missing(memory, files, db, space):
    with Index.create(db, space) as index:
        index.add([URL, files / "p0.png"])
        memory.rm_file("/bucket/files/p0.png")
        (files / "p0.png").unlink()
        assert index.add(files / "deep").missing == [str(files / "p0.png")]


def test_another_space_reads_urls_again(memory, db, space, tmp_path_factory):
    from conftest import PREPROCESS, RESNET

    from clipx.space import random_space

    other = random_space(RESNET, preprocess_cfg=PREPROCESS, seed=1)
    other = clipx.load_space(save_space(other, tmp_path_factory.mktemp("spaces") / "other", WORDS))
    with Index.create(db, space) as index:
        index.add(URL)
        kept = memory.cat_file("/bucket/files/p0.png")
        memory.rm_file("/bucket/files/p0.png")
        with pytest.raises(FileError, match=r"1 of its files are missing, such as memory://bucket/files/p0.png"):
            index.reembed(other)
        memory.pipe_file("/bucket/files/p0.png", kept)
        assert index.reembed(other).added == 6
        assert index.add(URL).unchanged == 6


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("s3://bucket/photos/", "s3://bucket/photos"),
        ("S3A://Bucket/Photos", "s3://Bucket/Photos"),
        ("gcs://b", "gs://b"),
        ("memory:///a/b/", "memory://a/b"),
        ("https://host:8080/a@b.png", "https://host:8080/a@b.png"),
        ("sftp://me@host/x", "sftp://me@host/x"),
        ("https://host/a.png?v=1", "https://host/a.png?v=1"),
        ("https://host:80/a%40b/c.png", "https://host:80/a%40b/c.png"),
        ("https://host/a:b@c/d.png", "https://host/a:b@c/d.png"),
        ("https://host:80?v=a@b", "https://host:80?v=a@b"),
        ("s3://bucket/me@home/token.png", "s3://bucket/me@home/token.png"),
        ("s3://bucket/a:b@c/key=1/x.png", "s3://bucket/a:b@c/key=1/x.png"),
        ("abfs://box@host/x", "abfs://box@host/x"),
    ],
)
def test_one_spelling(url, wanted):
    assert canonical(url) == absolute(url) == wanted == canonical(wanted)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://me:geheim@host/x",
        "s3://AKIA:ge/heim@bucket/x",
        "https://:geheim@host",
        "https://host/x.png?X-Amz-Signature=geheim",
        "https://host/x.png?v=1&sig=geheim",
        "https://host/x.png?access_token=geheim",
        "https://geheim@host/",
        "ftp://geheim@host/x",
        "HTTP://geheim@host",
        "https://user%3Ageheim@host/a",
        "s3://user%3Ageheim@host/a",
        "s3://user:geheim%40host/a",
        "https://user:123/geheim@host/a",
        "https://user:12%2Fgeheim@host/a",
        "https://host/a?X-Amz-Security-Token=geheim",
        "https://host/a?X-Amz%2DSecurity%2DTok%65n=geheim",
        "https://host/a?apikey=geheim",
        "https://host/a?v=1&auth=geheim",
        "https://host/a?jwt=geheim",
        "https://host/a?client-secret=geheim",
        "https://host/a?Key-Pair-Id=geheim",
        "https://host/a;token=geheim",
        "https://host/a#access_token=geheim",
        "zip://x/a.png::https://geheim@host/x.zip",
    ],
)
def test_no_secret_is_taken_or_printed(url, memory, db, space, run):
    wanted, remedy = r"must not hold a password.*leave it out; fsspec takes it", "leave it out"
    if "::" in url:
        wanted, remedy = "a chain of URLs is not read", "unpack the files first"
    with Index.create(db, space) as index:
        for call in (index.add, index.remove, index.search):
            with pytest.raises(InputError, match=wanted) as error:
                call(url)
            assert "geheim" not in str(error.value)
    for line in (["index", url], ["index", "--remove", url], ["search", url]):
        status, out, err = run("", *line, "--db", str(db))
        assert status == 2 and remedy in err and "geheim" not in out + err and len(err.splitlines()) == 1


def test_links_that_hold_a_secret_are_passed_over(monkeypatch):
    names = ["a.png", "b.png?token=geheim", "c.png?v=1", "d.png#sig=geheim"]

    class Page:
        def ls(self, path, detail):
            return [{"name": f"{path}/{name}", "size": None, "type": "file"} for name in names]

    monkeypatch.setattr("clipx.index.remote._file_system", lambda url: (Page(), url))
    assert [one.url for one in list_folder("https://host/x")] == ["https://host/x/a.png", "https://host/x/c.png?v=1"]
    assert len(list_folder("s3://bucket/x")) == 4  # names of files, whatever is in them


def test_a_missing_driver_is_named(monkeypatch, run, db):
    from fsspec.registry import known_implementations

    monkeypatch.setitem(known_implementations, "toys3", {"class": "nowhere.Toy", "err": "Install toys3fs to access it"})
    with pytest.raises(MissingDependencyError, match=r"^toys3://b/x: toys3:// needs another package; Install toys3fs"):
        find_files(["toys3://b/x"])
    with pytest.raises(InputError, match=r"^nosuch://x: Protocol not known: nosuch"):
        find_files(["nosuch://x"])
    with pytest.raises(InputError, match="a chain of URLs"):
        find_files(["zip://a.png::memory://x.zip"])
    status, _, err = run("index toys3://b/x --db", str(db))
    assert status == 2 and "Install toys3fs" in err and not db.exists()


@settings(deadline=None)
@given(
    st.lists(st.text("ab .-+é'?#", min_size=1, max_size=6), min_size=1, max_size=4),
    st.sampled_from(["s3", "gs", "memory", "https"]),
)
@example(["a", ""], "s3")
def test_a_spelling_is_stable(parts, scheme):
    url = f"{scheme}://bucket/{'/'.join(parts)}"
    once = canonical(url)
    assert is_url(once) and canonical(once) == once and canonical(f"{once}/") == once
    assert is_under(f"{once}/x", [once]) and not is_under(f"{once}x", [once])


NAMES = st.text("ab.é +#-", min_size=1, max_size=5)


@settings(deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=4))
@example(["."])
@example([".."])
@example(["a", ".."])
def test_every_listed_file_is_found_at_its_url(parts):
    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", temporary)
        check_listed_file(parts)
        assert os.listdir(temporary) == []


def check_listed_file(parts):
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    fs.pipe_file("/".join(["", "top", *parts]), b"content")
    folder = "memory://top"
    for depth in range(len(parts)):
        (one,) = list_folder(folder)
        assert one.folder == (depth < len(parts) - 1)
        folder = one.url
    assert look_up(folder).size == 7 == look_up(folder).size
    here = fetch(folder)
    file = here.path
    assert file.read_bytes() == RemoteItem(folder).content() == b"content"
    del here
    assert not file.parent.exists()
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


PLACES = ["", ".", "..", "a/..", "a/.", "%2e", "%2e%2e", "..%2f..", "a\\..\\..", "..\\"]
PLACES += ["a\0b", "\0", "é" * 300, "x" * 300]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("start", ["memory://top/", "https://localhost:9/", "https://localhost:9/?a="])
def test_only_the_folder_of_a_fetched_file_is_removed(place, start, tmp_path, monkeypatch):
    """Whatever its name is; nothing is really removed here."""
    made, removed = [], []

    def make(**options):
        made.append(tmp_path / f"{len(made)}")
        made[-1].mkdir()
        return str(made[-1])

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "mkdtemp", make)
        patch.setattr(shutil, "rmtree", lambda folder, **options: removed.append(folder))
        patch.setattr("clipx.index.remote._copy", lambda url, file, most: file.write_bytes(b"content"))
        here = fetch(start + place)
        assert here.path.parent == made[0] and here.path.read_bytes() == b"content" and removed == []
        del here
        assert removed == made == [tmp_path / "0"]
        patch.setattr("clipx.index.remote._copy", lambda url, file, most: 1 / 0)
        with pytest.raises(FileError):
            fetch(start + place)
        assert removed == made == [tmp_path / "0", tmp_path / "1"]


# Times ----------------------------------------------------------------------------------------------------------------

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
NOON_NS = 1_704_110_400_000_000_000


@pytest.mark.parametrize(
    "info",
    [
        {"LastModified": NOON, "ETag": '"x"'},  # s3
        {"mtime": NOON.astimezone(timezone(timedelta(hours=2)))},
        {"updated": "2024-01-01T12:00:00.000Z"},  # gs
        {"last_modified": NOON.replace(tzinfo=None)},  # azure
        {"Last-Modified": "Mon, 01 Jan 2024 12:00:00 GMT", "ETag": '"x"'},  # https
        {"mtime": NOON.timestamp(), "created": 0},  # local
        {"modificationTime": 1_704_110_400_000},  # webhdfs
        {"created": NOON},  # memory, one file
        {"created": NOON.timestamp()},  # memory, a listing
    ],
)
def test_times_of_change(info):
    assert changed_ns(info) == NOON_NS


def test_a_tag_stands_in_for_a_time():
    assert changed_ns({"ETag": '"a"'}) == changed_ns({"ETag": '"a"', "size": 3}) > 0
    assert changed_ns({"ETag": '"a"'}) != changed_ns({"ETag": '"b"'})
    assert changed_ns({}) == changed_ns({"mtime": None, "ETag": ""}) == changed_ns({"mtime": "yesterday"}) == 0


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["mtime", "LastModified", "updated", "Last-Modified", "created", "ETag", "size"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.datetimes(),
    )
)
def test_times_are_integers_whatever_a_store_says(info):
    ns = changed_ns(info)
    assert isinstance(ns, int) and -(2**63) < ns < 2**63 and ns == changed_ns(info)


@settings(deadline=None)
@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_a_time_is_the_same_as_a_number(when):
    assert changed_ns({"mtime": when}) == changed_ns({"mtime": when.timestamp()})


# Reading --------------------------------------------------------------------------------------------------------------


def test_a_large_file_is_refused(memory, monkeypatch, nothing_left):
    monkeypatch.setattr("clipx.index.remote.MAX_BYTES", 10)
    memory.pipe_file("/large.png", b"x" * 11)
    with pytest.raises(FileError, match=r"^memory://large.png: holds 11 bytes or more, over the limit of 10$"):
        RemoteItem("memory://large.png").content()
    memory.pipe_file("/large.png", b"x" * 10)
    assert RemoteItem("memory://large.png").content() == b"x" * 10


def test_errors_name_the_url(memory, space, nothing_left):
    image = get_modality("image")(space)
    memory.pipe_file("/a/empty.png", b"")
    with pytest.raises(FileError, match=r"^memory://a/empty.png: is empty \(0 bytes\)$"):
        RemoteItem("memory://a/empty.png").load(image)
    with pytest.raises(FileError, match=r"^memory://a/gone.png: no such file or folder$") as error:
        RemoteItem("memory://a/gone.png").load(image)
    assert error.value.__cause__.errno == errno.ENOENT
    scene = b'{"asset": {"version": "2.0"}, "buffers": [{"uri": "b.bin", "byteLength": 9}]}'
    memory.pipe_file("/a/scene.gltf", scene)
    with pytest.raises(ClipxError, match=r"^memory://a/scene.gltf") as error:
        RemoteItem("memory://a/scene.gltf").load(get_modality("pointcloud")(space))
    assert "clipx-" not in str(error.value)


# The command line -----------------------------------------------------------------------------------------------------


def test_the_commands_take_urls(memory, run, run_json, db, tmp_path):
    did = run_json(f"index --db {db}", URL, "photo.png")["results"][0]
    assert (did["added"], did["failures"]) == (7, [])
    hits = run_json(f"search --db {db}", f"{URL}/p0.png")["results"]
    assert hits[0]["path"] == f"{URL}/p0.png" and not any(hit["missing"] for hit in hits)
    page = tmp_path / "page.html"
    status, out, _ = run(f"search --db {db}", f"{URL}/p0.png", "--html", str(page))
    assert status == 0 and f"\n{URL}/p0.png\t" in out
    assert f'title="{URL}/p0.png"' in page.read_text() and page.read_text().count("data:image/jpeg") >= 4
    memory.pipe_file("/bucket/files/bad.png", b"no picture")
    status, _, err = run(f"index --db {db}", f"{URL}/bad.png")
    assert status == 2 and f"not read: {URL}/bad.png:" in err
    assert run_json(f"index --db {db}", "--remove", f"{URL}/deep/")["results"][0]["removed"] == 2
    status, _, err = run(f"index --db {db}", "memory://gone")
    assert status == 2 and err.strip().endswith(f"clipx index --remove memory://gone --db {db}")
    status, _, err = run(f"index --db {tmp_path}/none", "memory://gone")
    assert status == 2 and not (tmp_path / "none").exists()


def test_a_sound_at_a_url_is_not_called_gone():
    from clipx.cli._sound import player

    assert "lies at a URL" in player("s3://bucket/rain.wav", 0, 1, "rain")
    assert player("s3://bucket/photo.png", None, None, "photo") == ""


def test_a_server_that_does_not_answer_is_no_missing_folder():
    """fsspec's web driver says that a file is not there, whatever went wrong."""
    from clipx.index.remote import _reaching

    for cause, what in ((ConnectionRefusedError(111, "Connect call failed"), "cannot be read"), (None, "no such file")):
        with pytest.raises(FileError, match=what), _reaching("https://host/a"):
            raise FileNotFoundError("https://host/a") from cause
