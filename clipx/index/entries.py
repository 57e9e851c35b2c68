"""Files to the entries of an index, through the pipeline; content that the index knows is not encoded again."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, cast

from clipx.errors import ClipxError, MissingDependencyError, NoTrackError
from clipx.files import sha256_of
from clipx.index.remote import item_of
from clipx.index.scan import Failure, Found, name_of
from clipx.index.store import Entry, Track
from clipx.index.thumbnail import thumbnail
from clipx.modality import ReadsTracks
from clipx.parts import Place, Time, View
from clipx.pipeline import Encoded, Failed, Item, Vectors, encode

if TYPE_CHECKING:
    from clipx.modality import Modality


class KnownContent:
    """Vectors of content that an index holds, as a cache for ``clipx.pipeline.encode``.

    Args:
        known: whether content of this SHA-256 is held.
        stored: SHA-256 -> entry, for those that are still there.
    """

    def __init__(self, known: Callable[[str], bool], stored: Callable[[Sequence[str]], dict[str, Entry]]):
        self.has, self._stored = known, stored
        self.tracks: dict[str, Sequence[Track]] = {}  # of what ``get`` returned

    def key(self, item: Item, modality: Modality) -> str:
        return sha256_of(item.content())

    def get(self, keys: Sequence[str]) -> dict[str, Vectors]:
        found = self._stored(keys)
        self.tracks |= {key: entry.tracks for key, entry in found.items()}
        return {
            key: Vectors(entry.vectors, [_place(time) for time in entry.times], entry.thumbnail)
            for key, entry in found.items()
        }

    def put(self, key: str, vectors: Vectors) -> None:
        """Nothing: the index writes its entries itself."""


def entries(
    files: Sequence[Found],
    modality: Modality,
    known: KnownContent,
    batch_size: int,
    thumbnails: bool,
    readers: Sequence[Modality] = (),
) -> Iterator[list[Entry | Failure]]:
    """Files of one modality -> their entries, batch by batch; ``readers`` are modalities that read tracks of files."""
    found = {file.path: file for file in files}
    items = [item_of(file.path) for file in files]
    preview = thumbnail if thumbnails else None
    for batch in encode(
        items, modality, separate=(Time,), cache=known, on_error="record", batch=batch_size, preview=preview
    ):
        done: list[Entry | Failure] = []
        tracks = _tracks([one for one in batch if isinstance(one, Encoded)], known, readers, batch_size)
        for one in batch:
            file = found[one.item.id]
            if isinstance(one, Failed):
                done.append(failure(file, one.error))
            else:
                times, own = list(map(_time, one.vectors.places)), one.vectors
                done.append(Entry(file, cast(str, one.key), times, own.rows, own.preview, tracks[one.item.id]))
        yield done


def _tracks(
    batch: Sequence[Encoded], known: KnownContent, readers: Sequence[Modality], batch_size: int
) -> dict[str, list[Track]]:
    """The name of an item -> its further tracks: those that the index holds of its content, else they are encoded.

    A track that cannot be read is left out, with a warning.
    """
    stored = {key: known.tracks.pop(key) for key in {cast(str, one.key) for one in batch} if key in known.tracks}
    names = {reader.name for reader in readers}
    found = {one.item.id: [own for own in stored.get(cast(str, one.key), ()) if own.modality in names] for one in batch}
    for reader in readers:
        suffixes = cast(ReadsTracks, reader).tracks_of
        without = [one.item for one in batch if all(own.modality != reader.name for own in found[one.item.id])]
        items = [item for item in without if name_of(item.id).lower().endswith(suffixes)]
        for one in chain.from_iterable(
            encode(items, reader, separate=(Time,), on_error="record", batch=batch_size) if items else ()
        ):
            if isinstance(one, Encoded):
                times = list(map(_time, one.vectors.places))
                found[one.item.id].append(Track(reader.name, times, one.vectors.rows))
            elif not isinstance(one.error, NoTrackError):
                warnings.warn(f"{one.item.id}: without its {reader.name}: {one.error}", stacklevel=2)
    return found


def check(modality: Modality) -> None:
    """Encode a modality's own example: where that fails, no file is at fault, and none need be read.

    Raises:
        ClipxError: such as that the space has no tower for it.
    """
    try:
        modality.encode([modality.example()])
    except ClipxError:
        raise
    except NotImplementedError:  # a third-party modality without an example
        pass


def failure(file: Found, error: Exception) -> Failure:
    """What to report of a file, and whether its bytes are at fault: a system error or a missing package may go away."""
    if isinstance(error, MissingDependencyError):
        return Failure(file.path, f"{error.what}; {error.remedy}")
    cause = error.__cause__ if isinstance(error, ClipxError) else error
    if isinstance(cause, OSError) and cause.errno is not None:
        return Failure(file.path, f"cannot be read ({cause.strerror})")
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, ClipxError):
        reason = error.what if error.remedy is None else f"{error.what}; {error.remedy}"
    return Failure(file.path, " ".join(reason.split())[:300], read=True)


def _place(time: tuple[float, float] | None) -> Place:
    return View(0) if time is None else Time(*time)


def _time(place: Place) -> tuple[float, float] | None:
    return (place.start_s, place.end_s) if isinstance(place, Time) else None
