"""Features on disk: found again under the same content, space, modality and config, and under nothing else."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from clipx.cache import FeatureCache
from clipx.errors import FileError, InputError


@dataclass(frozen=True)
class Config:
    size: int = 3
    weights: Path | None = None
    other: object = field(default=None)


SPACE = SimpleNamespace(id="s1", backend=SimpleNamespace(dtype="float32"))
MODALITY = SimpleNamespace(name="toy", space=SPACE, config=Config(), context="")
VECTOR = np.arange(1, 5, dtype=np.float32) / np.float32(np.sqrt(30))


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "features")


def test_a_vector_comes_back_to_the_bit(cache):
    key = cache.key(MODALITY, b"sample")
    assert cache.get(key, 4) is None and not cache.folder.exists()
    cache.put(key, VECTOR)
    cache.put(key, VECTOR)
    assert np.array_equal(cache.get(key, 4), VECTOR)
    assert [p.suffix for p in cache.folder.rglob("*") if p.is_file()] == [".npy"]


def test_the_key_follows_all_that_decides_the_vector(cache, tmp_path, monkeypatch):
    file, weights = tmp_path / "sample.toy", tmp_path / "w.bin"
    file.write_bytes(b"sample")
    weights.write_bytes(b"old")

    def variant(**changes):
        return SimpleNamespace(**{**vars(MODALITY), **changes})

    key = cache.key(MODALITY, file)
    assert key == cache.key(MODALITY, b"sample") == cache.key(variant(config=Config(size=3)), str(file))
    others = {
        cache.key(MODALITY, b"another"),
        cache.key(variant(name="toy2"), file),
        cache.key(variant(context="labels"), file),
        cache.key(variant(space=SimpleNamespace(id="s2", backend=SimpleNamespace(dtype="float32"))), file),
        cache.key(variant(space=SimpleNamespace(id="s1", backend=SimpleNamespace(dtype="bfloat16"))), file),
        cache.key(variant(config=Config(size=4)), file),
        cache.key(variant(config=Config(weights=weights)), file),
    }
    weights.write_bytes(b"new")  # the same path, other content
    others.add(cache.key(variant(config=Config(weights=weights)), file))
    with monkeypatch.context() as patch:
        patch.setattr("clipx.cache.version_of", lambda name: {"toy": "2.0"}[name])  # a plug-in's new release
        others.add(cache.key(MODALITY, file))
    assert len(others) == 9 and key not in others
    with pytest.raises(InputError, match="no JSON form"):
        cache.key(variant(config=replace(Config(), other=object())), file)
    with pytest.raises(FileError, match=r"gone\.toy"):
        cache.key(MODALITY, tmp_path / "gone.toy")


def test_torn_entries_are_refused(cache):
    cache.put("ab1", VECTOR)
    path = next(cache.folder.rglob("*.npy"))
    for content in (path.read_bytes()[:-4], b"", b"\x93NUMPY", b"junk"):
        path.write_bytes(content)
        with pytest.raises(FileError, match="delete it"):
            cache.get("ab1", 4)
    cache.put("ab1", VECTOR * 2)
    with pytest.raises(FileError, match="not of unit vectors of dimension 4"):
        cache.get("ab1", 4)
    cache.put("ab1", VECTOR)
    with pytest.raises(FileError, match="not of unit vectors of dimension 8"):
        cache.get("ab1", 8)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(FileError, match="taken"):
        FeatureCache(tmp_path / "taken").put("ab1", VECTOR)


def test_an_interrupted_write_leaves_nothing(cache, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("clipx.cache.np.save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cache.put("ab1", VECTOR)
    assert not [p for p in cache.folder.rglob("*") if p.is_file()]
