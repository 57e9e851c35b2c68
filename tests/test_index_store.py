"""The store of an index: what ``clipx.index.Store`` asks is all that an index needs, whatever keeps the rows."""

import inspect
import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import PREPROCESS, RESNET, WORDS, save_space
from memory_store import MemoryStore, MemoryStores
from PIL import Image

import clipx
from clipx.embedding import Embedding
from clipx.errors import ContractError, FileError, InputError
from clipx.index import Index, Store
from clipx.index.lance import LanceStore
from clipx.index.scan import Found
from clipx.index.store import Entry
from clipx.testing.stores import check_store, store_checks

METHODS = [name for name, _ in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")]


@pytest.fixture(scope="module")
def space(space_folder):
    return clipx.load_space(space_folder)


@pytest.fixture
def files(tmp_path):
    """Six pictures and a cloud."""
    folder = tmp_path / "files"
    folder.mkdir()
    for i in range(6):
        noise = np.random.default_rng(i).integers(0, 255, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((32, 32), 0).save(folder / f"p{i}.png")
    np.savetxt(folder / "c.xyz", np.random.default_rng(0).normal(size=(32, 3)))
    return folder


@pytest.fixture
def both(tmp_path, space):
    """An index in the default store, and one in memory."""
    with Index.create(tmp_path / "a", space) as disk, Index.create(tmp_path / "b", space, store=MemoryStores()) as ram:
        assert isinstance(disk.store, LanceStore) and isinstance(ram.store, MemoryStore)
        yield disk, ram


def agree(both, query="a cat", **options):
    """The hits of both, which are the same."""
    one, two = (index.search(query, 99, **options) for index in both)
    assert [(hit.path, hit.modality, hit.words) for hit in one] == [(hit.path, hit.modality, hit.words) for hit in two]
    numbers = [[(hit.score, hit.confidence, hit.cosine) for hit in hits] for hits in (one, two)]
    np.testing.assert_allclose(*numbers, atol=1e-5)
    return one


def counts(report):
    return report.added, report.updated, report.reused, report.unchanged, report.removed


def test_both_stores_have_the_methods_of_the_protocol_and_its_parameters():
    assert len(METHODS) == 12
    for name in METHODS:
        wanted = list(inspect.signature(getattr(Store, name)).parameters)
        for store in (LanceStore, MemoryStore):
            assert list(inspect.signature(getattr(store, name)).parameters) == wanted, f"{store.__name__}.{name}"


@pytest.mark.parametrize("check", store_checks(LanceStore))
def test_the_store_on_disk_keeps_the_contract(check, tmp_path):
    check(tmp_path)


@pytest.mark.parametrize("check", store_checks(MemoryStores()))
def test_the_store_in_memory_keeps_the_contract(check, tmp_path):
    check(tmp_path)


class Appends(MemoryStore):
    def write(self, rows, replace):
        super().write(rows, replace=False)


class KeepsVanishedWindows(MemoryStore):
    def write(self, rows, replace):
        before = self.rows.to_pylist() if replace else []
        super().write(rows, replace)
        keys = {(row["path"], row["window"]) for row in self.rows.to_pylist()}
        lost = [row for row in before if (row["path"], row["window"]) not in keys]
        self.put(pa.concat_tables([self.rows, pa.Table.from_pylist(lost, schema=self.rows.schema)]))


class DeletesTheFirstWindow(MemoryStore):
    def delete(self, paths):
        kept = [row for row in self.rows.to_pylist() if row["path"] not in paths or row["window"] > 0]
        self.put(pa.Table.from_pylist(kept, schema=self.rows.schema))


class CountsRows(MemoryStore):
    def state(self):
        return str(len(self.rows))


class OptimizesInSilence(MemoryStore):
    """Its rows move, and with them their ids, and its state stays."""

    def optimize(self):
        super().optimize()
        self.stores.writes -= 1
        self.stores.tables[self.folder, self.name] = self.rows.take(np.arange(len(self.rows))[::-1])


class IgnoresTheModality(MemoryStore):
    def nearest(self, vectors, k, effort, columns, modality=None, where=None):
        return super().nearest(vectors, k, effort, columns, None, where)


class IgnoresCase(MemoryStore):
    def filter(self, where):
        return super().filter(where.lower())


@pytest.mark.parametrize(
    ("store", "broken"),
    [
        (Appends, "replaces_all_rows_of_the_paths"),
        (KeepsVanishedWindows, "replaces_all_rows_of_the_paths"),
        (DeletesTheFirstWindow, "deletes_all_rows_of_the_paths"),
        (CountsRows, "changes_its_state_with_every_change"),
        (OptimizesInSilence, "keeps_row_ids_as_long_as_its_state"),
        (IgnoresTheModality, "finds_the_nearest"),
        (IgnoresCase, "selects_by_expressions"),
    ],
)
def test_a_store_that_breaks_the_contract_is_named_with_the_promise(store, broken):
    stores = MemoryStores()
    with pytest.raises(ContractError, match=f"{broken}: "):
        check_store(lambda folder, name: store(stores, folder, name))


def test_hits_do_not_depend_on_the_store(files, both):
    assert [counts(index.add([files])) for index in both] == [(7, 0, 0, 0, 0)] * 2
    assert len(agree(both)) == 7
    agree(both, files / "p1.png", ranking="cosine")
    agree(both, f"{files / 'p1.png'} - chair", min_confidence=0.001)
    assert {hit.modality for hit in agree(both, modality="pointcloud")} == {"pointcloud"}
    assert len(agree(both, sql="path LIKE '%p_.png' AND size > 10")) == 6
    assert len(agree(both, sql="path LIKE '%P_.PNG'")) == 0
    for index in both:
        with pytest.raises(InputError, match="--sql"):
            index.search("a cat", sql="path LIKE")
    paths = [str(files / name) for name in ("p0.png", "c.xyz")]
    assert both[0].thumbnails(paths) == both[1].thumbnails(paths) != {}
    stats = [{**index.stats(), "bytes": 0} for index in both]
    assert stats[0] == stats[1]


def test_updates_do_not_depend_on_the_store(files, both):
    for index in both:
        index.add([files])
    shutil.copy(files / "p0.png", files / "copy.png")
    (files / "p1.png").unlink()
    shutil.copy(files / "p2.png", files / "p3.png")
    Image.new("RGB", (32, 32), "white").save(files / "p4.png")
    assert [counts(index.add([files])) for index in both] == [(0, 1, 2, 4, 1)] * 2
    assert len(agree(both)) == 7
    assert [index.remove([files / "copy.png"]) for index in both] == [1, 1]
    assert len(agree(both)) == 6


def test_a_move_does_not_depend_on_the_store(files, both, tmp_path):
    from clipx.space import random_space

    other = random_space(RESNET, preprocess_cfg=PREPROCESS, seed=1)
    other = clipx.load_space(save_space(other, tmp_path / "other", WORDS))
    for index in both:
        index.add([files])
        before = index.store
        assert index.reembed(other).added == 7 and index.store is not before
        with pytest.raises(FileError, match="missing"):
            before.state()
    assert len(agree(both)) == 7


def test_an_approximate_search_does_not_depend_on_the_store(both, space, monkeypatch):
    vectors = np.random.default_rng(0).normal(size=(1200, space.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    entries = [
        Entry(Found(f"/x/{i:04}.png", 1, 1, ("image", "sketch")[i % 3 == 0]), str(i), [None], vector[None], None)
        for i, vector in enumerate(vectors)
    ]
    for module in ("ann", "collection", "search"):
        monkeypatch.setattr(f"clipx.index.{module}.EXACT_ROWS", 100)
    query = Embedding(torch.from_numpy(vectors[:1]), space.id, "image")
    found = []
    for index in both:
        index._collection.write(entries, replace=False)
        assert index.build_ann() >= 0.97
        found.append([hit.path for hit in index.search(query, 10, sql="path LIKE '%1.png'", ranking="cosine")])
    assert len(set(found[0]) & set(found[1])) >= 8 and len(found[0]) == len(found[1]) == 10


def test_an_index_is_opened_with_the_store_it_was_made_with(files, tmp_path, space):
    stores = MemoryStores()
    with Index.create(tmp_path / "my.index", space, store=stores) as index:
        index.add([files])
        hits = index.search("a cat")
    assert Index.open(tmp_path / "my.index", space, store=stores).search("a cat") == hits
    assert not list((tmp_path / "my.index").glob("*.lance"))
    with pytest.raises(FileError, match="was made with MemoryStores, not with the default store"):
        Index.open(tmp_path / "my.index", space).search("a cat")


def test_an_index_is_opened_with_the_store_that_made_it(files, space, tmp_path, run):
    """Another one would begin an empty table of its own beside the rows."""
    stores = MemoryStores()
    with Index.create(tmp_path / "db", space, store=stores) as index:
        index.add([files])
    with pytest.raises(FileError, match=r"made with MemoryStores, not with the default store.*store=\.\.\."):
        Index.open(tmp_path / "db", space)
    status, _, err = run(f"index {files} --db {tmp_path / 'db'}")
    assert status == 2 and "made with MemoryStores" in err
    with Index.open(tmp_path / "db", space, store=stores) as index:
        assert index.stats()["files"] == 7
    Index.create(tmp_path / "other", space).close()
    with pytest.raises(FileError, match="made with the default store, not with MemoryStores"):
        Index.open(tmp_path / "other", space, store=stores)
