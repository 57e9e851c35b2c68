"""Hashes of large files: kept between runs, never believed where anything is in doubt."""

import json
import os
import shutil

import pytest
import torch

import clipx.identity
from clipx.backbone import state_sha256
from clipx.identity import Stamp, identity

HASHES = ["1" * 64, "2" * 64]


@pytest.fixture
def file(tmp_path, monkeypatch):
    """One that counts as settled, young as it is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(clipx.identity, "SETTLED_NS", 0)
    path = tmp_path / "weights.bin"
    path.write_bytes(b"0123")
    os.utime(path, ns=(10**18, 10**18))
    return path


def looked_up(path, what="content", value=HASHES[0]):
    """The identity, and whether it was computed."""
    calls = []
    found = identity(Stamp.of(path), what, lambda: calls.append(1) or value)
    return found, bool(calls)


def entries(path):
    return sorted((path.parent / "cache/clipx/identities").glob("*"))


def test_a_known_file_is_not_hashed_again(file):
    assert looked_up(file) == (HASHES[0], True)
    assert looked_up(file, value=HASHES[1]) == (HASHES[0], False)
    link = file.with_name("link.bin")
    link.symlink_to(file)
    assert looked_up(link, value=HASHES[1]) == (HASHES[0], False)
    assert looked_up(file, "something else", HASHES[1]) == (HASHES[1], True)


def test_a_file_that_changed_is_hashed_again(file):
    looked_up(file)
    os.utime(file, ns=(10**18 + 1, 10**18 + 1))
    assert looked_up(file, value=HASHES[1]) == (HASHES[1], True)
    file.write_bytes(b"01234")
    os.utime(file, ns=(10**18, 10**18))
    assert looked_up(file, value=HASHES[1])[1]
    copy = file.with_name("copy.bin")
    shutil.copy2(file, copy)
    assert looked_up(copy)[1]


@pytest.mark.parametrize("replaced", ["in place", "by another"])
def test_another_content_of_equal_size_and_time_is_hashed_again(file, replaced):
    """As rsync, tar and images of containers leave it; the time of the inode differs, or the inode."""
    known, before = Stamp.of(file), looked_up(file)[0]
    fresh = file if replaced == "in place" else file.with_name("fresh.bin")
    while True:  # until the system's clock has ticked
        fresh.write_bytes(b"9876")
        os.utime(fresh, ns=(10**18, 10**18))
        if os.stat(fresh).st_ctime_ns != known.ctime_ns:
            break
    fresh.replace(file)
    assert os.stat(file).st_size == known.size and os.stat(file).st_mtime_ns == known.mtime_ns
    assert looked_up(file, value=HASHES[1]) == (HASHES[1], True) and before == HASHES[0]


def test_a_young_file_is_not_kept_and_neither_is_one_that_changes_meanwhile(file, monkeypatch):
    with monkeypatch.context() as young:
        young.setattr(clipx.identity, "SETTLED_NS", 10**12)  # its time is old, and yet it has just come
        assert looked_up(file)[1] and looked_up(file)[1] and not entries(file)
    identity(Stamp.of(file), "content", lambda: file.write_bytes(b"changed") and HASHES[0])
    assert not entries(file)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-9],
        lambda text: HASHES[1] + text[64:],
        lambda text: text[:64].upper() + text[64:],
        lambda text: "3" + text[1:],
        lambda text: "\0" * len(text),
        lambda text: "\xe9" * 9,
        lambda text: text[64:] + text[:64],
    ],
)
def test_a_damaged_entry_is_computed_again(file, damage):
    value = "a" * 64
    looked_up(file, value=value)
    (entry,) = entries(file)
    entry.write_bytes(damage(entry.read_text()).encode("latin-1"))
    assert looked_up(file, value=value) == (value, True)
    assert looked_up(file, value=HASHES[1]) == (value, False)  # and kept


def test_the_entry_of_another_file_is_not_believed(file):
    looked_up(file)
    looked_up(file, "other", HASHES[1])
    one, other = entries(file)
    shutil.copy(one, other)
    assert looked_up(file)[0] == HASHES[0] and looked_up(file, "other", HASHES[1])[0] == HASHES[1]


def test_a_cache_that_cannot_be_written_is_no_matter(file):
    (file.parent / "cache").write_text("in the way")
    assert looked_up(file) == (HASHES[0], True)


def test_no_home_folder_and_odd_names_are_no_matter(file, monkeypatch):
    odd = file.with_name("w\udcff.bin")
    shutil.copy(file, odd)
    assert looked_up(odd) == (HASHES[0], True) and looked_up(odd, value=HASHES[1]) == (HASHES[0], False)

    def homeless(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(clipx.identity.Path, "expanduser", homeless)
    assert looked_up(file) == (HASHES[0], True)


def test_a_space_s_weights_are_hashed_once(file, tiny_space, tmp_path, monkeypatch):
    from conftest import PREPROCESS, RESNET
    from safetensors.torch import save_file

    folder = tmp_path / "folder"
    folder.mkdir()
    weights = folder / "open_clip_model.safetensors"

    def save(scale):
        state = {name: value * scale for name, value in tiny_space.backbone.model.state_dict().items()}
        save_file(state, weights)
        os.utime(weights, ns=(int(scale * 10**18),) * 2)

    save(1.0)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": RESNET, "preprocess_cfg": PREPROCESS}))
    hashed, real = [], state_sha256
    monkeypatch.setattr("clipx.backbone.backbone.state_sha256", lambda state: hashed.append(1) or real(state))
    first = clipx.load_space(folder)
    assert first.weights_sha256 == real(first.backbone.model.state_dict()) and len(hashed) == 1
    assert clipx.load_space(folder, dtype=torch.bfloat16).id == first.id and len(hashed) == 1
    save(0.5)
    assert clipx.load_space(folder).id != first.id and len(hashed) == 2
