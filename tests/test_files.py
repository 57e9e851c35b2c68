"""Atomic writes: an error or a race leaves one whole file and nothing else."""

import os
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from clipx import files
from clipx.errors import FileError
from clipx.files import make_folder, read_bytes, read_once, rename_durably, sha256_of, write_tensors, write_whole


def test_bytes_text_and_functions(tmp_path):
    write_whole(tmp_path / "a.bin", b"\0\1")
    write_whole(tmp_path / "a.txt", "é", durable=True)
    write_whole(tmp_path / "deep" / "down" / "a.npy", lambda path: np.save(path, np.arange(3)), parents=True)
    assert (tmp_path / "a.bin").read_bytes() == b"\0\1" and (tmp_path / "a.txt").read_bytes() == "é".encode()
    assert np.load(tmp_path / "deep" / "down" / "a.npy").tolist() == [0, 1, 2]
    assert sorted(os.listdir(tmp_path)) == ["a.bin", "a.txt", "deep"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_others_may_read_what_the_umask_allows(tmp_path):
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "a", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(28, "No space left on device"), FileError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (ValueError("no"), ValueError),
    ],
)
def test_an_error_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path, error, raised):
    def fail(path):
        path.write_bytes(b"half")
        raise error

    (tmp_path / "a").write_text("old")
    with pytest.raises(raised) as caught:
        write_whole(tmp_path / "a", fail)
    assert (
        raised is not FileError or str(caught.value) == f"{tmp_path / 'a'}: cannot be written (No space left on device)"
    )
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"


def test_folders_are_made(tmp_path):
    assert make_folder(tmp_path / "a" / "b") == make_folder(str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=r"file: cannot be made \(File exists\); name another with -o"):
        make_folder(tmp_path / "file")


def test_a_folder_that_is_missing_or_a_file_is_named(tmp_path):
    with pytest.raises(FileError, match=r"cannot be written \(No such file or directory\)"):
        write_whole(tmp_path / "none" / "a", b"x")
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot be written"):
        write_whole(tmp_path / "file" / "a", b"x", parents=True)


@pytest.mark.parametrize("name", ["", "/", "a\0b", "a\ud800"])
def test_what_is_no_name_of_a_file_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=r"is no name of a file|cannot be written"):
        write_whole(name, b"x")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["a" * 240 + ".json", "\N{CJK UNIFIED IDEOGRAPH-5B57}" * 80, "a. " + "b" * 240])
def test_names_near_the_limit_of_the_file_system(tmp_path, name):
    write_whole(tmp_path / name, b"x")
    assert os.listdir(tmp_path) == [name]


def test_the_suffix_stays_when_the_name_is_shortened(tmp_path):
    write_whole(tmp_path / f"{'a' * 240}.npy", lambda path: np.save(path, np.arange(3)))
    assert np.load(tmp_path / f"{'a' * 240}.npy").tolist() == [0, 1, 2]


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege on Windows")
@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_stays_and_what_it_points_to_is_written(tmp_path, there):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "file")
    if there:
        (tmp_path / "real" / "file").write_text("old")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "file").read_text() == "new"
    assert os.listdir(tmp_path / "real") == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot open a folder")
def test_durable_writes_wait_for_the_folder_after_the_rename(tmp_path, monkeypatch):
    done = []
    sync, move = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda f: (done.append(stat.S_ISDIR(os.fstat(f).st_mode)), sync(f)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("renamed"), move(a, b)))
    write_whole(tmp_path / "a", b"x", durable=True)
    assert done == [False, "renamed", True]
    rename_durably(tmp_path / "a", tmp_path / "b")
    assert done[3:] == ["renamed", True] and os.listdir(tmp_path) == ["b"]


def test_a_rename_that_fails_is_one_line(tmp_path):
    with pytest.raises(FileError, match=r"b: cannot be written \(No such file or directory\)"):
        rename_durably(tmp_path / "a", tmp_path / "b")


def test_tensors_with_metadata(tmp_path):
    from safetensors import safe_open

    write_tensors(tmp_path / "a.safetensors", {"x": torch.arange(3)}, {"about": "y"})
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert file.metadata() == {"about": "y"} and file.get_tensor("x").tolist() == [0, 1, 2]
    assert os.listdir(tmp_path) == ["a.safetensors"]


WRITER = """
import sys
from clipx.files import write_whole
for _ in range(60):
    write_whole(sys.argv[1], sys.argv[2].encode() * 50_000)
"""


def test_writers_of_the_same_path_never_mix(tmp_path):
    """Two processes of two threads each: every state that a reader sees is one writer's whole content."""
    path = tmp_path / "a"
    path.write_bytes(b"0" * 50_000)
    run = [sys.executable, "-c", WRITER, str(path)]
    processes = [subprocess.Popen([*run, letter], stderr=subprocess.PIPE, text=True) for letter in "12"]

    def work(letter):
        for _ in range(60):
            write_whole(path, letter * 50_000)

    threads = [threading.Thread(target=work, args=(letter,)) for letter in (b"3", b"4")]
    for thread in threads:
        thread.start()
    known = set()
    while any(thread.is_alive() for thread in threads) or any(process.poll() is None for process in processes):
        content = path.read_bytes()
        assert len(content) == 50_000 and len(set(content)) == 1
        known.add(content[0])
    assert [process.communicate()[1] for process in processes] == ["", ""]
    assert all(process.returncode == 0 for process in processes) and len(known) > 1
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_is_read_once_for_its_hash_and_its_content(tmp_path, monkeypatch):
    """What is made of a file is of the content that was hashed, though another is written in between."""
    path, other = tmp_path / "a.bin", tmp_path / "b.bin"
    path.write_bytes(b"old")
    other.write_bytes(b"other")
    with read_once():
        assert sha256_of(path) == sha256_of(b"old")
        path.write_bytes(b"new")
        assert read_bytes(path) == read_bytes(str(path)) == b"old" and read_bytes(other) == b"other"
        with pytest.raises(FileError, match="holds 3 bytes, more than the limit of 2"):
            read_bytes(path, max_bytes=2)
        with pytest.raises(FileError, match=r"suffix '\.bin' is not one of \.png"):
            read_bytes(path, (".png",))
        other.write_bytes(b"")
        sha256_of(other)
        with pytest.raises(FileError, match="is empty"):
            read_bytes(other)
    assert read_bytes(path) == b"new" and sha256_of(path) == sha256_of(b"new")
    monkeypatch.setattr(files, "MAX_KEPT_BYTES", 2)
    with read_once():
        assert sha256_of(path) == sha256_of(b"new")
        path.write_bytes(b"newest")
        assert read_bytes(path) == b"newest"  # too large to be kept
