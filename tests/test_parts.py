"""Samples in parts: what fits together, what is pooled, and what a pipeline keeps separate."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from clipx.cache import CachedVectors
from clipx.errors import FileError, InputError
from clipx.modality import Modality
from clipx.parts import KINDS, Cell, Parts, Time, View
from clipx.pipeline import ArrayItem, Failed, FileItem, embedding_of, encode


def unit(*shape, seed=0):
    rows = np.random.default_rng(seed).normal(size=shape)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def test_a_mean_is_of_a_sample_s_own_parts_and_a_single_part_is_left_as_it_is():
    rows = unit(6, 5)
    parts = Parts(rows, [0, 3, 4, 6], [Time(0, 1), Time(1, 2), Time(2, 3), Time(0, 1), Time(0, 1), Time(1, 2)])
    found = parts.mean()
    assert found.shape == (3, 5) and np.array_equal(found[1], rows[3]) and parts.counts == [3, 1, 2]
    for i, sum_ in ((0, rows[0] + rows[1] + rows[2]), (2, rows[4] + rows[5])):
        np.testing.assert_allclose(found[i], sum_ / np.linalg.norm(sum_), atol=1e-6)
    some = parts.select([2, 1])
    assert some.offsets == [0, 2, 3] and np.array_equal(some.vectors, rows[[4, 5, 3]]) and some.places[2] == Time(0, 1)
    assert np.array_equal(some.mean(), found[[2, 1]])
    with pytest.raises(InputError, match="1 to 3 parts"):
        parts.stacked()


def test_views_and_whole_samples():
    rows = unit(2, 3, 5)
    views = Parts.views(rows)
    assert len(views) == 2 and np.array_equal(views.stacked(), rows)
    assert list(views[1][1]) == [View(0), View(1), View(2)]
    whole = Parts.whole(rows[0])
    assert len(whole) == 3 and whole.mean() is whole.vectors


def test_no_samples_have_views_too():
    none = Parts.views(unit(0, 3, 5))
    assert len(none) == 0 and none.vectors.shape == none.mean().shape == (0, 5)
    assert none.stacked().shape == (0, 0, 5)
    assert Parts.whole(unit(0, 5)).stacked().shape == (0, 0, 5)


@pytest.mark.parametrize("offsets", [[], [0], [0, 2, 2, 3], [1, 3], [0, 4], [0, 2]])
def test_offsets_that_do_not_fit_are_refused(offsets):
    with pytest.raises(InputError, match="offsets must rise from 0 to 3"):
        Parts(unit(3, 4), offsets, [Cell(0, 0)] * 3)


def test_vectors_and_places_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"vectors of parts must be \(M, D\), got \(4,\)"):
        Parts.whole(unit(4))
    with pytest.raises(InputError, match="3 parts have 2 places"):
        Parts(unit(3, 4), [0, 3], [View(0)] * 2)
    with pytest.raises(InputError, match="of one kind"):
        Parts(unit(3, 4), [0, 1, 3], [Time(0, 1), View(0), Cell(0, 0)])
    Parts(unit(3, 4), [0, 1, 3], [Time(0, 1), View(0), View(1)])


def test_vectors_are_an_array_whatever_they_were_made_of():
    rows = torch.from_numpy(unit(3, 4)).requires_grad_()
    assert type(Parts.whole(rows).vectors) is np.ndarray and np.array_equal(Parts.whole(rows).vectors, rows.detach())


class Grid(Modality):
    """A sample is (P, D): that many cells, or stretches of time where the config says so."""

    name, suffixes, array_key = "grid", (".grid",), "cells"
    kind = Cell

    def load(self, path):
        return np.loadtxt(path, ndmin=2).astype(np.float32)

    def from_array(self, array, **about):
        return array

    def parts(self, samples):
        offsets = np.cumsum([0, *map(len, samples)]).tolist()
        places = [self.kind(i, i + 1) for sample in samples for i in range(len(sample))]
        return Parts(np.concatenate(list(samples)), offsets, places)


def items(space, counts=(2, 3, 2)):
    return [ArrayItem(f"g{i}", unit(n, space.dim, seed=i)) for i, n in enumerate(counts)]


def test_only_the_kinds_asked_for_stay_separate(tiny_space):
    modality = Grid(tiny_space)
    given = items(tiny_space)
    pooled = [one for batch in encode(given, modality, separate=(Time,), batch=2) for one in batch]
    assert [one.vectors.rows.shape[0] for one in pooled] == [1, 1, 1] and pooled[0].vectors.places == (View(0),)
    assert np.allclose(pooled[1].vectors.rows[0], modality.encode([given[1].load(modality)]).vectors[0], atol=1e-6)
    cells = [one for batch in encode(given, modality, separate=KINDS, batch=2) for one in batch]
    assert [one.vectors.rows.shape[0] for one in cells] == [2, 3, 2]
    assert (
        cells[1].vectors.places == (Cell(0, 1), Cell(1, 2), Cell(2, 3))
        and (cells[1].vectors.rows == given[1].array).all()
    )
    with pytest.raises(InputError, match="2 to 3 parts"):
        embedding_of(cells, modality, separate=True)
    found = embedding_of([cells[0], cells[2]], modality, separate=True)
    assert list(found.ids) == ["g0#0", "g0#1", "g2#0", "g2#1"]


def test_what_a_cache_holds_is_not_encoded_again_and_what_it_lost_is(tiny_space, tmp_path, monkeypatch):
    modality, cache = Grid(tiny_space), CachedVectors(tmp_path, tiny_space.dim, separate=True)

    def rows():
        return [
            one.vectors.rows
            for batch in encode(items(tiny_space), modality, separate=KINDS, cache=cache)
            for one in batch
        ]

    first = rows()
    calls = []
    real = Grid.parts
    monkeypatch.setattr(Grid, "parts", lambda self, samples: calls.extend(samples) or real(self, samples))
    assert all((a == b).all() for a, b in zip(first, rows(), strict=True)) and not calls
    lost = cache.key(items(tiny_space)[1], modality)
    monkeypatch.setattr(
        CachedVectors, "get", lambda self, keys: {k: v for k, v in real_get(self, keys).items() if k != lost}
    )
    put = []
    monkeypatch.setattr(CachedVectors, "put", lambda self, key, vectors: put.append(key))
    found = [one for batch in encode(items(tiny_space), modality, separate=KINDS, cache=cache) for one in batch]
    assert all((a == one.vectors.rows).all() for a, one in zip(first, found, strict=True)) and len(calls) == 1
    assert put == [lost] == [found[1].key]  # it is kept again under its name


real_get = CachedVectors.get


def test_a_corrupt_entry_of_a_cache_is_one_item_s_failure(tiny_space, tmp_path):
    modality, cache = Grid(tiny_space), CachedVectors(tmp_path, tiny_space.dim)
    list(encode(items(tiny_space), modality, cache=cache))
    (path,) = tmp_path.rglob(f"{cache.key(items(tiny_space)[2], modality)}.npy")
    path.write_bytes(path.read_bytes()[:50])
    (found,) = encode(items(tiny_space), modality, cache=cache, on_error="record")
    assert [hasattr(one, "error") for one in found] == [False, False, True] and isinstance(found[2].error, FileError)


SENT = """
import pickle, sys
for record in pickle.load(sys.stdin.buffer):
    item = getattr(record, "item", record)
    error = getattr(record, "error", None)
    rows = getattr(getattr(record, "vectors", None), "rows", None)
    content = item.content()
    size = len(content) if isinstance(content, bytes) else content.name
    print(item.id, size, error, None if rows is None else rows.shape)
"""


def test_items_and_records_can_be_sent_to_another_process(tiny_space, tmp_path):
    np.savetxt(tmp_path / "a.grid", unit(2, tiny_space.dim))
    given = [FileItem("a", tmp_path / "a.grid"), items(tiny_space)[0], FileItem("c", tmp_path / "gone.grid", {})]
    records = [one for batch in encode(given[:2], Grid(tiny_space), separate=KINDS) for one in batch]
    records.append(Failed(given[2], FileError("cannot be read", where="gone.grid", remedy="bring it back")))
    done = subprocess.run(
        [sys.executable, "-c", SENT], input=pickle.dumps([*given, *records]), capture_output=True, check=True
    )
    lines, size, dim = done.stdout.decode().splitlines(), len(given[1].content()), tiny_space.dim
    assert lines[:3] == ["a a.grid None None", f"g0 {size} None None", "c gone.grid None None"]
    assert lines[3:5] == [f"a a.grid None (2, {dim})", f"g0 {size} None (2, {dim})"]
    assert lines[5] == "c gone.grid gone.grid: cannot be read; bring it back None"


def test_facts_about_a_file_are_part_of_its_content_and_not_of_its_values(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    plain, turned = FileItem("a", tmp_path / "a"), FileItem("a", tmp_path / "a", {"up": "z"})
    assert plain.content() == Path(tmp_path / "a") and plain.values() is None
    assert turned.content() == b'{"up": "z"}\0x' and turned.values() == b"x"
    floats = ArrayItem("b", np.float64([1.5, 2]), {"up": "z"})
    assert floats.values() == ArrayItem("b", np.float32([1.5, 2])).values() and floats.content() != floats.values()
