"""Items to unit vectors: prefetch in threads, encode batch by batch, and cache.

``read`` and ``encode_batch`` are functions of plain records, so that other executors can run the same steps; ``encode``
runs them on this machine. classify, embed, eval and the index all encode through it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import numpy as np

from clipx._arrays import no_grad, to_array
from clipx._batches import batches
from clipx._threads import READERS, prefetch, single_threaded_pool, threads
from clipx.embedding import Embedding
from clipx.errors import InputError
from clipx.files import read_once, reading
from clipx.modality import ReadsArrays, ReadsLater, TakesObjects
from clipx.parts import Parts, Place, View

if TYPE_CHECKING:
    from clipx.modality import Modality

BATCHES_AHEAD = 3  # read while one is encoded
MAX_ENCODERS = 16  # batches encoded at once on a CPU, which bounds memory on a machine of many cores


@dataclass(frozen=True, eq=False)
class Item(ABC):
    """One thing to encode.

    Args:
        id: its name in results.
    """

    id: str

    @abstractmethod
    def load(self, modality: Modality) -> Any:
        """Its sample. Raises ClipxError."""

    @abstractmethod
    def content(self) -> Path | bytes:
        """What identifies it to a cache and in the hash of a data set: a file, or bytes."""

    def values(self) -> bytes | None:
        """The sample alone, by which two copies of it are recognised, where ``content`` says more; else None."""
        return None

    def fetched(self) -> Item:
        """The item where it can be loaded from: itself, or a copy that was brought here, and goes with this object."""
        return self


@dataclass(frozen=True, eq=False)
class FileItem(Item):
    """A file.

    Args:
        path: where it is.
        about: what is known of it besides its content: arguments of ``Modality.load``.
    """

    path: Path
    about: Mapping[str, Any] = field(default_factory=dict)

    def load(self, modality: Modality) -> Any:
        return modality.load(self.path, **self.about)

    def content(self) -> Path | bytes:
        return _facts(dict(self.about)) + self._bytes() if self.about else self.path

    def values(self) -> bytes | None:
        return self._bytes() if self.about else None

    def _bytes(self) -> bytes:
        with reading(self.path):
            return self.path.read_bytes()


@dataclass(frozen=True, eq=False)
class ArrayItem(Item):
    """A row of an .npz data set.

    Args:
        array: the row.
        about: what the data set says of its samples: arguments of ``from_array``.
        where: names it in an error.
    """

    array: np.ndarray
    about: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""

    def load(self, modality: Modality) -> Any:
        if not isinstance(modality, ReadsArrays):
            raise InputError(f"{modality.name} has no samples in .npz data sets", where=self.where)
        try:
            return modality.from_array(self.array, **self.about)
        except InputError as error:
            raise InputError(error.what, where=error.where or self.where, remedy=error.remedy) from error

    def content(self) -> bytes:
        return _facts([self.array.dtype.str, self.array.shape, dict(self.about)]) + self.array.tobytes()

    def values(self) -> bytes:
        kind = np.float32 if self.array.dtype.kind in "fiu" else None
        return np.ascontiguousarray(self.array, dtype=kind).tobytes()


@dataclass(frozen=True, eq=False)
class ObjectItem(Item):
    """An object of a user's program, such as a PIL picture; it cannot be cached.

    Args:
        value: the object.
    """

    value: Any

    def load(self, modality: Modality) -> Any:
        if not isinstance(modality, TakesObjects):
            raise InputError(f"{modality.name} takes files alone", where=self.id)
        try:
            return modality.from_object(self.value)
        except InputError as error:
            raise InputError(error.what, where=error.where or self.id, remedy=error.remedy) from error

    def content(self) -> bytes:
        raise InputError("an object has no content to cache it by", where=self.id)


@dataclass(frozen=True, eq=False)
class MadeItem(Item):
    """A sample that a function makes, when its batch is read; it cannot be cached."""

    make: Callable[[], Any]

    def load(self, modality: Modality) -> Any:
        return self.make()

    def content(self) -> bytes:
        raise InputError("a sample that is made has no content to cache it by", where=self.id)


def file_items(
    paths: Sequence[Path], root: Path | None = None, facts: Sequence[Mapping[str, Any]] | None = None
) -> list[FileItem]:
    """Files as items, under their path as given, or relative to ``root`` where they are below it.

    Args:
        paths: N files.
        root: of the data.
        facts: what is known of each besides its content, see ``FileItem``.
    """
    names = [str(path.relative_to(root) if root and path.is_relative_to(root) else path) for path in paths]
    return [FileItem(*one) for one in zip(names, paths, facts or [{}] * len(paths), strict=True)]


@dataclass(frozen=True, eq=False)
class Vectors:
    """What a cache keeps of an item.

    Args:
        rows: (P, D) float32 unit vectors: one of the whole item, or one of each of its parts.
        places: where the P parts lie; ``View(0)`` for the whole.
        preview: a small picture of it, as the bytes of a JPEG.
    """

    rows: np.ndarray
    places: Sequence[Place] = (View(0),)
    preview: bytes | None = None


@dataclass(frozen=True, eq=False)
class Encoded:
    """An item that was encoded; ``key`` is the cache's name for its content."""

    item: Item
    vectors: Vectors
    key: str | None = None


@dataclass(frozen=True, eq=False)
class Failed:
    """An item that could not be read or encoded, and why."""

    item: Item
    error: Exception


class Cache(Protocol):
    """Where vectors of known content are taken from; methods but ``get`` are called from several threads."""

    def key(self, item: Item, modality: Modality) -> str:
        """A name for the item's content and all else that decides its vectors. Raises FileError."""

    def has(self, key: str) -> bool:
        """Whether ``get`` is likely to know it."""

    def get(self, keys: Sequence[str]) -> dict[str, Vectors]:
        """The vectors of the keys that it knows. Raises FileError on a corrupt one."""

    def put(self, key: str, vectors: Vectors) -> None:
        """Keep what was encoded."""


Preview = Callable[["Modality", Any], bytes | None]
"""A small picture of a sample."""


@dataclass(frozen=True, eq=False)
class Read:
    """An item that was read: its sample, or, where the cache knows its content, its vectors later on."""

    item: Item
    key: str | None = None
    sample: Any = None
    preview: bytes | None = None
    vectors: Vectors | None = None


def read(item: Item, modality: Modality, cache: Cache | None = None, preview: Preview | None = None) -> Read:
    """Load an item, unless the cache knows its content; ``sample`` is None then.

    Raises:
        ClipxError: it cannot be read, or holds nothing.
    """
    here = item.fetched()
    with read_once():
        key = None if cache is None else cache.key(here, modality)
        if cache is not None and key is not None and cache.has(key):
            return Read(item, key)
        sample = here.load(modality)
    if sample is None:
        raise InputError("holds nothing", where=item.id)
    kept = here if isinstance(sample, ReadsLater) else item
    return Read(kept, key, sample, None if preview is None else preview(modality, sample))


def encode_batch(batch: Sequence[Read], modality: Modality, separate: Sequence[type[Place]] = ()) -> list[Vectors]:
    """Samples that were read -> their vectors, in order; see ``encode`` for ``separate``."""
    with no_grad():
        parts = modality.parts([item.sample for item in batch])
        kept = [isinstance(parts.places[start], tuple(separate)) for start in parts.offsets[:-1]]
        whole = [i for i, own in enumerate(kept) if not own]
        pooled = modality.pool(parts.select(whole) if any(kept) else parts) if whole else parts.vectors[:0]
        rows = _unit_rows(pooled, modality)
        of_parts = _unit_rows(parts.vectors, modality) if any(kept) else rows
    found, position = [], 0
    for i, item in enumerate(batch):
        if kept[i]:
            own = slice(parts.offsets[i], parts.offsets[i + 1])
            found.append(Vectors(of_parts[own], tuple(parts.places[own]), item.preview))
        else:
            found.append(Vectors(rows[position : position + 1], (View(0),), item.preview))
            position += 1
    return found


def encode(
    items: Iterable[Item],
    modality: Modality,
    *,
    separate: Sequence[type[Place]] = (),
    cache: Cache | None = None,
    on_error: Literal["raise", "record"] = "raise",
    readers: int = READERS,
    batch: int = 32,
    preview: Preview | None = None,
) -> Iterator[list[Encoded | Failed]]:
    """Encode items in their order; yields a list for every ``batch`` of them.

    Items are read in threads while others are encoded, three batches ahead at most. The first batch has all threads;
    after it, on a CPU and where there are enough of them, several batches are encoded at once, each in one
    thread, while an accelerator takes one at a time.

    Args:
        items: what to encode.
        modality: by whom.
        separate: kinds of places whose parts stay separate vectors; others are pooled into one vector an item.
        cache: of vectors that are known already.
        on_error: ``"raise"`` ends the run at the first error; ``"record"`` yields a ``Failed`` in the item's place,
            whatever was raised, and the other items of its batch are not affected.
        readers: threads that read; 0 reads in the calling thread.
        batch: how many items are encoded at a time.
        preview: makes a small picture of each sample.

    Raises:
        InputError: ``batch`` is below 1, or parts are to stay separate though the config weighs them.
        MemoryError, torch.OutOfMemoryError: memory ran out; whatever ``on_error`` says.
        Exception: with ``on_error="raise"``, what a modality or the cache raises.
    """
    if batch < 1:
        raise InputError(f"batch_size must be at least 1, got {batch}")
    if View in separate and modality.weighs_parts:
        raise InputError(
            "views that are classified separately have no weights",
            where=modality.name,
            remedy="leave the weighting out",
        )
    if cache is not None:
        modality.context  # noqa: B018  # part of keys: computed now, before several threads ask for it
    steps = _Steps(modality, tuple(separate), cache, preview, on_error == "record")
    return _run(iter(items), len(items) if isinstance(items, Sized) else None, steps, readers, batch)


def encode_all(items: Iterable[Item], modality: Modality, **options: Any) -> list[Encoded]:
    """``encode`` to the end, where the first error ends the run; ``options`` are those of ``encode``."""
    found = chain.from_iterable(encode(items, modality, **options, on_error="raise"))
    return [one for one in found if isinstance(one, Encoded)]


def _run(
    items: Iterator[Item], count: int | None, steps: _Steps, readers: int, batch: int
) -> Iterator[list[Encoded | Failed]]:
    """The steps, in threads; ``count`` is how many items there are, where that is known.

    The first batch is encoded alone: what a modality loads at first use is loaded once.
    """
    first = list(islice(items, 2))
    if len(first) < 2 or readers == 0:
        yield from (steps.finish(steps.resolve(some)) for some in batches(map(steps.load, chain(first, items)), batch))
        return
    at_once = min(threads(), MAX_ENCODERS) if steps.modality.space.on_cpu else 1
    with single_threaded_pool(readers) as pool:
        loaded = prefetch(steps.load, chain(first, items), pool, BATCHES_AHEAD * batch)
        waiting = map(steps.resolve, batches(loaded, batch))
        yield from map(steps.finish, islice(waiting, 1))
        if at_once == 1 or (count is not None and count <= (at_once + 1) * batch):  # too few to keep all encoders busy
            yield from map(steps.finish, waiting)
            return
        with single_threaded_pool(at_once) as encoders:
            yield from prefetch(steps.finish, waiting, encoders, at_once + 1)


@dataclass(frozen=True)
class _Steps:
    """``read`` and ``encode_batch`` with a cache between them, and errors raised or recorded; see ``encode``."""

    modality: Modality
    separate: tuple[type[Place], ...]
    cache: Cache | None
    preview: Preview | None
    record: bool

    def load(self, item: Item) -> Read | Failed:
        """``read``."""
        try:
            return read(item, self.modality, self.cache, self.preview)
        except Exception as error:
            self._raise_or_record(error)
            return Failed(item, error)

    def load_again(self, one: Read) -> Read | Failed:
        """Read an item that the cache knew a moment ago and has lost since."""
        try:
            return replace(read(one.item, self.modality, None, self.preview), key=one.key)
        except Exception as error:
            self._raise_or_record(error)
            return Failed(one.item, error)

    def resolve(self, batch: list[Read | Failed]) -> list[Read | Failed]:
        """Fetch the vectors that the cache knows; an item that it has lost since is read after all."""
        cache, known = self.cache, [one for one in batch if isinstance(one, Read) and one.sample is None]
        if cache is None or not known:
            return batch

        def look_up(some: Sequence[Read]) -> list[Vectors | None]:
            found = cache.get([str(one.key) for one in some])
            return [found.get(str(one.key)) for one in some]

        found = dict(zip(map(id, known), self._isolated(look_up, known), strict=True))
        result: list[Read | Failed] = []
        for one in batch:
            own = found.get(id(one), one)
            if own is None:
                result.append(self.load_again(cast(Read, one)))
            else:
                result.append(replace(cast(Read, one), vectors=own) if isinstance(own, Vectors) else own)
        return result

    def finish(self, batch: list[Read | Failed]) -> list[Encoded | Failed]:
        """Encode the samples of a batch; what is new goes to the cache."""
        fresh = [one for one in batch if isinstance(one, Read) and one.vectors is None]
        made = self._isolated(lambda some: encode_batch(some, self.modality, self.separate), fresh)
        encoded = dict(zip(map(id, fresh), made, strict=True))
        result: list[Encoded | Failed] = []
        for one in batch:
            own = one if isinstance(one, Failed) else encoded.get(id(one), one.vectors)
            if isinstance(own, Failed):
                result.append(own)
                continue
            one, own = cast(Read, one), cast(Vectors, own)
            if id(one) in encoded and self.cache is not None and one.key is not None:
                self.cache.put(one.key, own)
            result.append(Encoded(one.item, own, one.key))
        return result

    def _raise_or_record(self, error: Exception) -> None:
        """Raise it, unless errors are recorded; that memory ran out is no fault of an item."""
        if not self.record or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
            raise error

    def _isolated(self, work: Callable[[Sequence[Read]], list[Any]], batch: Sequence[Read]) -> list[Any]:
        """``work(batch)``, one result an item; where it raises, each item is tried alone, to find those at fault."""
        if not batch:
            return []
        try:
            return work(batch)
        except Exception as error:
            self._raise_or_record(error)
            if len(batch) == 1:
                return [Failed(batch[0].item, error)]
        return [self._isolated(work, [one])[0] for one in batch]


def embedding_of(records: Iterable[Encoded], modality: Modality, separate: bool = False) -> Embedding:
    """Records -> one Embedding.

    Args:
        records: N of them.
        modality: who encoded them.
        separate: whether they are in parts: V rows each, named ``id#0``, ``id#1``, ...

    Raises:
        InputError: they have different numbers of parts.
    """
    records, space = list(records), modality.space
    if not records:
        return Embedding(np.zeros((0, space.dim), np.float32), space.id, modality.name)
    names = [one.item.id for one in records]
    rows = np.concatenate([one.vectors.rows for one in records])
    if separate:
        offsets = [0, *accumulate(len(one.vectors.rows) for one in records)]
        views = Parts(rows, offsets, [place for one in records for place in one.vectors.places]).stacked().shape[1]
        names = [f"{name}#{v}" for name in names for v in range(views)]
    return Embedding(rows, space.id, modality.name, names)


def _unit_rows(vectors: np.ndarray, modality: Modality) -> np.ndarray:
    """(N, D) float32. Raises InputError where a row is not of unit norm."""
    rows = to_array(vectors).astype(np.float32, copy=False)
    return Embedding(rows, modality.space.id, modality.name).vectors


def _facts(about: Any) -> bytes:
    return json.dumps(about, sort_keys=True, default=str).encode() + b"\0"
