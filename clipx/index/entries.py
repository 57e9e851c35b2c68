"""Files to the entries of an index, through the pipeline; content that the index knows is not encoded again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

from clipx.errors import ClipxError, MissingDependencyError
from clipx.files import sha256_of
from clipx.index.remote import item_of
from clipx.index.scan import Failure, Found
from clipx.index.store import Entry
from clipx.index.thumbnail import thumbnail
from clipx.parts import Place, Time, View
from clipx.pipeline import Failed, Item, Vectors, encode

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

    def key(self, item: Item, modality: Modality) -> str:
        return sha256_of(item.content())

    def get(self, keys: Sequence[str]) -> dict[str, Vectors]:
        return {
            key: Vectors(entry.vectors, [_place(time) for time in entry.times], entry.thumbnail)
            for key, entry in self._stored(keys).items()
        }

    def put(self, key: str, vectors: Vectors) -> None:
        """Nothing: the index writes its entries itself."""


def entries(
    files: Sequence[Found], modality: Modality, known: KnownContent, batch_size: int, thumbnails: bool
) -> Iterator[list[Entry | Failure]]:
    """Files of one modality -> their entries, batch by batch."""
    found = {file.path: file for file in files}
    items = [item_of(file.path) for file in files]
    preview = thumbnail if thumbnails else None
    for batch in encode(
        items, modality, separate=(Time,), cache=known, on_error="record", batch=batch_size, preview=preview
    ):
        done: list[Entry | Failure] = []
        for one in batch:
            file = found[one.item.id]
            if isinstance(one, Failed):
                done.append(failure(file, one.error))
            else:
                own = one.vectors
                done.append(Entry(file, cast(str, one.key), list(map(_time, own.places)), own.rows, own.preview))
        yield done


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
