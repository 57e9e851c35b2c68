"""The contract suite of stores of an index: what every store promises, each promise a check of its own.

In a package's own tests:

    import pytest
    from clipx.testing.stores import store_checks
    from clipx_toy import ToyStore

    @pytest.mark.parametrize("check", store_checks(ToyStore))
    def test_contract(check, tmp_path):
        check(tmp_path)  # an empty folder
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx.errors import ContractError, FileError, InputError
from clipx.index.scan import Found
from clipx.index.store import ROW_ID, Entry, SharedStore, Store, StoreFactory, matrix, rows_of
from clipx.index.vocabulary import SparseItems
from clipx.testing._suite import Check, run_all

if TYPE_CHECKING:
    import pyarrow as pa

DIM, WORDS = 8, 3  # of the vectors, and of the words of each
MANY = 400  # rows, of which an approximate index can be built


def check_store(store: StoreFactory) -> None:
    """Run every check. Raises ContractError with one sentence for each broken promise."""
    with tempfile.TemporaryDirectory() as folder:
        run_all(store_checks(store), lambda: Path(tempfile.mkdtemp(dir=folder)))


def store_checks(store: StoreFactory) -> list[Check[Path]]:
    """The checks of one kind of store, in the order in which they help; each takes an empty folder.

    Args:
        store: what ``clipx.Index.create`` takes: the folder of an index, the name of the store in it -> the store.
    """
    return [Check(promise, lambda folder: Subject(store, folder), _name(store)) for promise in _PROMISES]


class Subject:
    """Stores under examination, in one empty folder."""

    def __init__(self, make: StoreFactory, folder: Path):
        self.make, self.folder = make, folder
        self.where = _name(make)

    def store(self, name: str = "items-1") -> Store:
        """A store that is there, empty unless it was there before."""
        made = self.make(self.folder, name)
        made.create(DIM, WORDS)
        return made

    def filled(self) -> Store:
        """A store with a picture, a sound of three windows and a cloud, written one by one."""
        made = self.store()
        for entry in (_entry("/a/cat.png"), _entry("/a/rain.wav", "audio", 3), _entry("/b/it's.ply", "pointcloud")):
            made.write(_rows([entry]), replace=False)
        return made

    def require(self, promise: object, what: str) -> None:
        if not promise:
            raise ContractError(what, where=self.where)

    def require_rows(self, store: Store, wanted: dict[str, int], what: str) -> None:
        """Require so many windows of each path, numbered from 0, and no other rows."""
        rows = store.scan(["path", "window"]).to_pydict()
        pairs = sorted(zip(rows["path"], rows["window"], strict=True))
        self.require(pairs == sorted((path, i) for path, count in wanted.items() for i in range(count)), what)

    def refused(self, call: Callable[[], Any], error: type[Exception], what: str) -> None:
        """Require that a call raises an error."""
        try:
            call()
        except error:
            return
        self.require(False, what)


# The promises, by name.


def is_missing_until_it_is_created(it: Subject) -> None:
    """A store that is not there is a FileError; ``create`` makes an empty one, and leaves one that is there alone."""
    made = it.make(it.folder, "items-1")
    it.refused(made.state, FileError, "state() of a store that is not there raises no FileError")
    it.refused(lambda: made.scan(["path"]), FileError, "scan() of a store that is not there raises no FileError")
    made.create(DIM, WORDS)
    it.require_rows(made, {}, "a new store has rows")
    made.write(_rows([_entry("/a.png")]), replace=False)
    made.create(DIM, WORDS)
    it.require_rows(made, {"/a.png": 1}, "create() changes a store that is there")


def gives_back_what_was_written(it: Subject) -> None:
    """All columns come back as they were, also to another store of the same folder and name."""
    rows = _rows([_entry("/a/é'.png"), _entry("/b.wav", "audio", 3)])
    it.store().write(rows, replace=False)
    found = it.make(it.folder, "items-1").scan(rows.column_names).cast(rows.schema)
    order = [("path", "ascending"), ("window", "ascending")]
    it.require(found.sort_by(order).equals(rows.sort_by(order)), "rows come back otherwise than they were written")


def replaces_all_rows_of_the_paths(it: Subject) -> None:
    """A file that is written again loses the windows that it has no more; other files keep theirs."""
    store = it.filled()
    new = _entry("/a/rain.wav", "audio", 2, seed=9)
    store.write(_rows([new, _entry("/new.png")]), replace=True)
    wanted = {"/a/cat.png": 1, "/a/rain.wav": 2, "/b/it's.ply": 1, "/new.png": 1}
    it.require_rows(store, wanted, "write(replace=True) leaves rows that vanished, or changes other files")
    rows = store.scan(["window", "vector"], path=["/a/rain.wav"]).sort_by("window")
    it.require(np.array_equal(matrix(rows["vector"]), new.vectors), "write(replace=True) leaves old values")


def deletes_all_rows_of_the_paths(it: Subject) -> None:
    """Every window of a path goes; a path without rows, and no path at all, change nothing."""
    store = it.filled()
    store.delete([])
    store.delete(["/none.png"])
    it.require_rows(store, {"/a/cat.png": 1, "/a/rain.wav": 3, "/b/it's.ply": 1}, "delete() removes other rows")
    store.delete(["/a/rain.wav", "/b/it's.ply"])
    it.require_rows(store, {"/a/cat.png": 1}, "delete() leaves rows of its paths, or removes others")


def changes_its_state_with_every_change(it: Subject) -> None:
    """No state comes twice, whoever asks; a state is part of a file name, and stays while nothing is written."""
    store, states = it.store(), []

    def step(what: str) -> None:
        state = store.state()
        it.require(re.fullmatch(r"[A-Za-z0-9_-]+", state), f"state() is no part of a file name: {state!r}")
        it.require(state not in states, f"state() does not change with {what}")
        store.scan(["path"])
        again = it.make(it.folder, "items-1").state()
        it.require(store.state() == again == state, "state() changes though nothing was written")
        states.append(state)

    step("create()")
    store.write(_rows([_entry("/a.png")]), replace=False)
    step("write(replace=False)")
    store.write(_rows([_entry("/b.png")]), replace=False)
    step("write(replace=False)")
    store.write(_rows([_entry("/a.png")]), replace=True)
    step("write(replace=True)")
    store.write(_rows([_entry("/a.png")]), replace=True)
    step("write(replace=True) of the same rows")
    store.delete(["/b.png"])
    step("delete()")
    store.write(_rows([_entry("/c.png")]), replace=False)
    step("write(replace=False)")
    store.optimize()
    step("optimize() after several writes")
    it.require_rows(store, {"/a.png": 1, "/c.png": 1}, "optimize() changes the rows")


def keeps_row_ids_as_long_as_its_state(it: Subject) -> None:
    """A row id names the same row until the state changes, whatever else is called."""
    store = it.filled()
    for call in (store.optimize, store.optimize, lambda: store.delete(["/none.png"]), store.drop_others):
        state, ids = store.state(), _ids(store)
        it.require(len({*ids.values()}) == len(ids), "two rows have the same id")
        call()
        it.require(store.state() != state or _ids(store) == ids, "row ids change though state() does not")


def selects_by_values(it: Subject) -> None:
    """``scan`` returns the rows that have one of the values in each of the columns."""
    store = it.filled()
    paths = store.scan(["path"], modality=["audio", "image"], window=[0])["path"].to_pylist()
    it.require(sorted(paths) == ["/a/cat.png", "/a/rain.wav"], "scan() does not combine values of two columns")
    it.require(store.scan(["window"], path=["/b/it's.ply"])["window"].to_pylist() == [0], "a quote in a path is lost")
    it.require(len(store.scan(["path"], path=["/none.png"])) == 0, "scan() returns rows of another path")
    it.require(len(store.scan(["path"], modality=[])) == 0, "scan() returns rows though no value is allowed")


def selects_by_expressions(it: Subject) -> None:
    """``filter`` takes SQL, distinguishes upper and lower case, and refuses what is malformed."""
    store = it.filled()
    names = {row: pair for pair, row in _ids(store).items()}
    for where, wanted in {
        "path LIKE '/a/%' AND \"window\" = 0": {("/a/cat.png", 0), ("/a/rain.wav", 0)},
        "path LIKE '/A/%'": set(),
        "start_s >= 1 OR path = '/b/it''s.ply'": {("/a/rain.wav", 1), ("/a/rain.wav", 2), ("/b/it's.ply", 0)},
    }.items():
        found = {names[row] for row in store.filter(where).tolist()}
        it.require(found == wanted, f"filter({where!r}) returns other rows")
    it.refused(lambda: store.filter("path LIKE"), InputError, "filter() of a malformed expression is no InputError")
    it.refused(lambda: store.filter("colour = 'red'"), InputError, "filter() by an unknown column is no InputError")


def finds_the_nearest(it: Subject) -> None:
    """With the greatest effort ``nearest`` finds the true ones, of a modality and of an expression too."""
    store = it.store()
    entries = [_entry(f"/{i:03}.png", ("image", "sketch")[i % 2], seed=i) for i in range(MANY)]
    store.write(_rows(entries), replace=False)
    store.build_ann()
    rows = store.scan([ROW_ID, "vector", "path", "modality"])
    ids, queries = rows[ROW_ID].to_numpy(), np.concatenate([entries[7].vectors, entries[8].vectors])
    order = np.argsort(-(queries @ matrix(rows["vector"]).T), axis=1)
    chosen = np.array([name == "sketch" for name in rows["modality"].to_pylist()])
    named = np.array([path.endswith("1.png") for path in rows["path"].to_pylist()])
    every = np.ones(MANY, bool)
    for what, vectors, options, mask in [
        ("nearest()", 1, (), every),
        ("nearest() of two vectors", 2, (), every),
        ("nearest(modality=)", 1, ("sketch",), chosen),
        ("nearest(modality=, where=)", 1, ("sketch", "path LIKE '%1.png'"), chosen & named),
    ]:
        found = store.nearest(queries[:vectors], 5, MANY, [ROW_ID, "path"], *options)[ROW_ID].to_pylist()
        true = {row for own in order[:vectors] for row in ids[own][mask[own]][:5].tolist()}
        it.require(true <= {*found}, f"{what} misses the nearest rows")
        it.require({*found} <= {*ids[mask].tolist()}, f"{what} returns rows that were not asked for")
        it.require(len({*found}) == len(found), f"{what} returns a row twice")


def reads_all_rows_in_batches(it: Subject) -> None:
    """``batches`` returns every row once, or those of a modality and of an expression."""
    store = it.filled()
    for what, arguments, wanted in [
        ("batches()", (), ["/a/cat.png", "/a/rain.wav", "/a/rain.wav", "/a/rain.wav", "/b/it's.ply"]),
        ("batches(modality=)", ("audio",), ["/a/rain.wav"] * 3),
        ("batches(modality=, where=)", ("audio", "start_s >= 1"), ["/a/rain.wav"] * 2),
    ]:
        found = [path for batch in store.batches(["path"], *arguments) for path in batch["path"].to_pylist()]
        it.require(sorted(found) == wanted, f"{what} returns other rows")


def moves_paths(it: Subject) -> None:
    """``move`` changes the start of paths that have it, and nothing else."""
    store = it.filled()
    before = store.scan(["path", "window", "sha256", "vector"])
    store.move("/a/", "/it's new/")
    wanted = {"/it's new/cat.png": 1, "/it's new/rain.wav": 3, "/b/it's.ply": 1}
    it.require_rows(store, wanted, "move() changes other paths, or leaves some")
    after = store.scan(["path", "window", "sha256", "vector"])
    order = [("sha256", "ascending"), ("window", "ascending")]
    same = after.sort_by(order).drop_columns("path").equals(before.sort_by(order).drop_columns("path"))
    it.require(same, "move() changes more than paths")


def stages_what_is_published(it: Subject) -> None:
    """Of a ``SharedStore``: what is staged is seen once it is published, and replaces rows in the same transaction."""
    store, other = it.filled(), it.make(it.folder, "items-1")
    if not (isinstance(store, SharedStore) and isinstance(other, SharedStore)):
        return
    before, state = {"/a/cat.png": 1, "/a/rain.wav": 3, "/b/it's.ply": 1}, store.state()
    staged = [
        part.stage(_rows([_entry(path, "audio", windows)]))
        for part, path, windows in ((store, "/a/rain.wav", 2), (other, "/new.wav", 1))
    ]
    it.require_rows(store, before, "stage() shows rows")
    it.require(store.state() == state, "stage() changes the state")
    it.require(all(map(store.is_staged, staged)), "is_staged() is false of what was staged")
    store.unstage([])
    it.require(all(map(other.is_staged, staged)), "unstage() removes what was staged just now")
    both = store.stage(_rows([_entry("/new.wav", "audio", 1), _entry("/out.png")]))
    staged[1] = other.without(both, ["/out.png"])
    it.require(store.is_staged(both) and store.is_staged(staged[1]), "without() removes what was staged")
    store.publish(staged, ["/a/rain.wav", "/a/cat.png"])
    it.require_rows(store, {"/a/rain.wav": 2, "/b/it's.ply": 1, "/new.wav": 1}, "publish() shows other rows")


def drops_stores_of_other_names(it: Subject) -> None:
    """``drop_others`` removes the other stores of its folder, and leaves its own."""
    it.filled()
    other = it.store("items-2")
    other.write(_rows([_entry("/a.png")]), replace=False)
    other.drop_others()
    it.require_rows(other, {"/a.png": 1}, "drop_others() removes its own rows")
    first = it.make(it.folder, "items-1")
    it.refused(first.state, FileError, "drop_others() leaves another store")


_PROMISES: Sequence[Callable[[Subject], None]] = (
    is_missing_until_it_is_created,
    gives_back_what_was_written,
    replaces_all_rows_of_the_paths,
    deletes_all_rows_of_the_paths,
    changes_its_state_with_every_change,
    keeps_row_ids_as_long_as_its_state,
    selects_by_values,
    selects_by_expressions,
    finds_the_nearest,
    reads_all_rows_in_batches,
    moves_paths,
    stages_what_is_published,
    drops_stores_of_other_names,
)


def _entry(path: str, modality: str = "image", windows: int = 1, seed: int = 0) -> Entry:
    """A file of random vectors; a sound's windows last a second each."""
    vectors = np.random.default_rng(seed).normal(size=(windows, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    times = [(float(i), i + 1.0) if modality == "audio" else None for i in range(windows)]
    return Entry(Found(path, 10, 2**60 + seed, modality), f"{seed:064x}", times, vectors, b"jpeg" if seed else None)


def _rows(entries: Sequence[Entry]) -> pa.Table:
    vectors = np.concatenate([entry.vectors for entry in entries])
    words = np.tile(np.arange(WORDS, dtype=np.uint16), (len(vectors), 1))
    return rows_of(entries, SparseItems(vectors, words, np.full(words.shape, 1 / WORDS, np.float32)))


def _ids(store: Store) -> dict[tuple[str, int], int]:
    """(path, window) -> row id."""
    rows = store.scan(["path", "window", ROW_ID]).to_pydict()
    return {(path, window): row for path, window, row in zip(*rows.values(), strict=True)}


def _name(store: StoreFactory) -> str:
    return getattr(store, "__qualname__", type(store).__qualname__)
