"""Choosing folders of this machine, and indexing them while the page is used."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import clipx.serve.schemas as schemas
from clipx.errors import ClipxError
from clipx.index.scan import is_under, is_utf8
from clipx.serve.items import Item, Names
from clipx.serve.security import Refused

if TYPE_CHECKING:
    from clipx.serve.service import Service

LISTED = 2000  # folders, and files that are counted, of one folder
FAILURES_SHOWN = 200
ENDING_S = 20.0  # how long the server waits for a batch when it ends
COUNTS = ("added", "updated", "reused", "unchanged", "removed")


class Folders:
    """The folders that may be chosen: the roots and all below them.

    Args:
        names: hands out their names.
        roots: where to begin.
    """

    def __init__(self, names: Names, roots: Sequence[Path]):
        self._names = names
        paths = (str(root.expanduser().absolute()) for root in roots if root.is_dir())
        self._roots = list(dict.fromkeys(filter(is_utf8, paths)))

    def list(self, name: str | None) -> schemas.Folder:
        """A folder, or the list of the roots where no name is given."""
        if name is None:
            roots = [schemas.FolderName(id=self._give(root), name=root) for root in self._roots]
            return schemas.Folder(id=None, name="", path="", parent=None, folders=roots, files=0)
        path = self.path(name)
        below, files = _listed(path)
        parent = None if path in self._roots else self._give(os.path.dirname(path))
        folders = [schemas.FolderName(id=self._give(os.path.join(path, one)), name=one) for one in below]
        return schemas.Folder(
            id=name, name=os.path.basename(path) or path, path=path, parent=parent, folders=folders, files=files
        )

    def path(self, name: str) -> str:
        """The path of a folder. Raises Refused for what is none, and for one outside of the roots."""
        path = self._names.item(name).path
        if not (is_under(path, self._roots) and os.path.isdir(path)):
            raise Refused(404, "no such folder among those that can be indexed")
        return path

    def _give(self, path: str) -> str:
        return self._names.give(Item(path))


def _listed(path: str) -> tuple[list[str], int]:
    """The folders in a folder, in order, and how many of its files a modality reads.

    Hidden ones are left out, and those whose names are not UTF-8, as the index leaves them out.
    """
    from clipx.errors import InputError
    from clipx.registry import modality_of

    folders, files = [], 0
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not is_utf8(entry.name):
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                elif files < LISTED:
                    try:
                        files += bool(modality_of(entry.name))
                    except InputError:
                        continue
    except OSError as error:
        raise Refused(403, f"this folder cannot be read ({error.strerror})") from error
    return sorted(folders, key=str.casefold)[:LISTED], files


class _Stop(KeyboardInterrupt):
    """The page asked to stop; as Ctrl-C, it leaves what is done in the index."""


class Indexing:
    """Brings an index up to date in a thread, one run at a time.

    Args:
        service: searches the index; it is given the new one where there was none.
        db: the folder of the index; None: this server does not index.
        source: what ``clipx.load_space`` takes to load the space again.
    """

    def __init__(self, service: Service, db: Path | None, source: str | None):
        self._service, self._db, self._source = service, db, source
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._state = schemas.IndexingState(state="idle")
        self._paths: list[str] = []
        self._thread: threading.Thread | None = None
        self._began = 0.0

    def state(self) -> schemas.IndexingState:
        """How far it is."""
        with self._lock:
            if self._state.state in ("running", "stopping"):
                self._state = self._state.model_copy(update={"seconds": round(time.monotonic() - self._began, 1)})
            return self._state

    def start(self, paths: Sequence[str]) -> schemas.IndexingState:
        """Index these folders; those of the last run where none are given.

        Raises:
            Refused: it runs already, there is nothing to index, or this server does not index.
        """
        with self._lock:
            if self._db is None:
                raise Refused(403, "this page does not index: it is part of another program")
            if self._state.state in ("running", "stopping"):
                raise Refused(409, "indexing is under way: stop it first")
            if not (paths or self._paths):
                raise Refused(400, "no folder was chosen")
            self._paths = list(paths or self._paths)
            self._began, self._state = time.monotonic(), schemas.IndexingState(state="running")
            self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(self._db,), name="clipx-index", daemon=True)
        self._thread.start()
        return self.state()

    def stop(self) -> schemas.IndexingState:
        """End the run after its batch; what is done stays in the index."""
        with self._lock:
            if self._state.state == "running":
                self._state = self._state.model_copy(update={"state": "stopping"})
                self._stop.set()
        return self.state()

    def close(self) -> None:
        """Stop, and wait for the batch that is being encoded: a process must not end within native code."""
        self.stop()
        if self._thread is not None:
            self._thread.join(ENDING_S)

    def _progress(self, done: int, total: int) -> None:
        with self._lock:
            self._state = self._state.model_copy(update={"done": done, "total": total})
        if self._stop.is_set():
            raise _Stop

    def _run(self, db: Path) -> None:
        from clipx.index import Index

        found: dict[str, Any] = {"state": "done"}
        try:
            space = self._service.space
            index = Index.open(db, space) if Index.exists(db) else Index.create(db, space, self._source)
            try:
                with index:
                    did = index.add(self._paths, progress=self._progress)
                    found |= {
                        name: getattr(did, name) for name in ("added", "updated", "reused", "unchanged", "removed")
                    }
                    found["failures"] = [
                        schemas.FailureRecord(name=os.path.basename(one.path), reason=one.reason)
                        for one in did.failures[:FAILURES_SHOWN]
                    ]
            finally:
                found["files"] = sum(index.counts().values())
                self._service.use_index(Index.open(db, space))
        except _Stop:
            found["state"] = "stopped"
        except ClipxError as error:
            found |= {"state": "failed", "error": str(error)}
        except Refused as refused:
            found |= {"state": "failed", "error": refused.line}
        except Exception as error:  # a fault of ours or of a library
            found |= {"state": "failed", "error": f"{type(error).__name__}: {error}"}
        with self._lock:
            found["seconds"] = round(time.monotonic() - self._began, 1)
            self._state = self._state.model_copy(update=found)
