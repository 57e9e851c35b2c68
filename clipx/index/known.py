"""The files that an index holds, as a table that is joined with what a walk found: no object for each of a million."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from clipx.index.scan import Found, inside, is_utf8
from clipx.index.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("path", "size", "mtime_ns", "modality", "sha256")
_START = 16  # characters of a SHA-256 by which content is looked up: 64 bits


class KnownFiles:
    """Files as they were when they were indexed.

    Args:
        rows: N files, each once: path, size, mtime_ns, modality, sha256.
    """

    def __init__(self, rows: pa.Table):
        import pyarrow as pa

        wide = [f.with_type(pa.large_string()) if pa.types.is_string(f.type) else f for f in rows.schema]
        self.rows = rows.cast(pa.schema(wide)).combine_chunks()  # 33 million hashes overflow the 2 GB of a string array

    @classmethod
    def of(cls, store: Store) -> KnownFiles:
        """Those of a store: the first window of each file."""
        return cls(store.scan(COLUMNS, window=[0]))

    def __len__(self) -> int:
        return len(self.rows)

    def positions(self, paths: Sequence[str]) -> np.ndarray:
        """(P,) which of the N files these paths are, -1 for none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = pc.index_in(pa.array(paths, pa.large_string()), value_set=self.rows["path"].combine_chunks())
        return found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)

    def among(self, paths: Sequence[str]) -> set[str]:
        """Those of the paths that the index holds."""
        return {path for path, row in zip(paths, self.positions(paths), strict=True) if row >= 0}

    def found(self, positions: Iterable[int] | None = None) -> Iterator[Found]:
        """The files at these positions as a walk found them; all by default."""
        rows = self.rows if positions is None else self.rows.take(np.fromiter(positions, np.int64))
        yield from map(Found, *(rows[name].to_pylist() for name in COLUMNS[:4]))

    def as_before(self, files: Sequence[Found]) -> np.ndarray:
        """(F,) booleans: whether files are in the index as they are now, by size, time of change and modality."""
        rows = self.positions([file.path for file in files])
        same = rows >= 0
        if not len(self):
            return same
        for name in COLUMNS[1:3]:
            now = np.fromiter((getattr(file, name) for file in files), np.int64, len(files))
            same &= self.rows[name].to_numpy()[rows] == now
        names = np.array([file.modality for file in files], dtype=object)
        return same & (self.modalities[rows] == names)

    @cached_property
    def modalities(self) -> np.ndarray:
        """(N,) names, as objects of which there is one for each modality."""
        coded = self.rows["modality"].combine_chunks().dictionary_encode()
        names = np.array(coded.dictionary.to_pylist(), dtype=object)
        return names[coded.indices.to_numpy()] if len(names) else np.empty(0, object)

    def under(self, tops: Sequence[str], modality: str | None = None) -> list[str]:
        """Paths that are one of ``tops`` or lie in one of them; of a modality, where one is given."""
        chosen = self._is_under(tops)
        return self._paths(chosen if modality is None else chosen & (self.modalities == modality))

    def elsewhere(self, tops: Sequence[str]) -> list[str]:
        """Paths that do not lie under ``tops``."""
        return self._paths(~self._is_under(tops))

    def _paths(self, chosen: np.ndarray) -> list[str]:
        return self.rows["path"].filter(chosen).to_pylist()

    def _is_under(self, tops: Sequence[str]) -> np.ndarray:
        """(N,) booleans."""
        import pyarrow.compute as pc

        paths, chosen = self.rows["path"].combine_chunks(), np.zeros(len(self), bool)
        for top in filter(is_utf8, tops):  # what is in an index has names in UTF-8
            under = pc.or_(pc.equal(paths, top), pc.starts_with(paths, inside(top)))
            chosen |= under.to_numpy(zero_copy_only=False)
        return chosen

    @cached_property
    def contents(self) -> KnownContents:
        """The content of the files."""
        digests = _digests_of(self.rows["sha256"].to_pylist())
        return KnownContents(
            {name: np.sort(digests[self.modalities == name]) for name in set(self.modalities.tolist())}
        )


class KnownContents:
    """The content that an index holds, in eight bytes a file.

    Args:
        digests: modality -> the sorted digests of its content.
    """

    def __init__(self, digests: dict[str, np.ndarray]):
        self._digests = digests

    def holds(self, modality: str, sha256: str) -> bool:
        """Whether content that starts with the first 64 bits of this SHA-256 is held, as a modality reads it."""
        digests = self._digests.get(modality)
        if digests is None:
            return False
        wanted = _digests_of([sha256])[0]
        place = int(np.searchsorted(digests, wanted))
        return place < len(digests) and digests[place] == wanted


def _digests_of(hashes: Sequence[str]) -> np.ndarray:
    """Hashes in hexadecimal digits -> (N,) uint64 of the first 16 of them."""
    digits = np.array(hashes, f"S{_START}").view(np.uint64).reshape(-1, 2)
    return digits[:, 0] * np.uint64(0x9E3779B97F4A7C15) + digits[:, 1]  # mod 2**64
