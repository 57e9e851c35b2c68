"""A local page that searches an index by anything, draws, names and estimates depth.

``app`` makes an ordinary ASGI app, which uvicorn runs and Starlette or FastAPI mount:

>>> from starlette.applications import Starlette                       # doctest: +SKIP
>>> from starlette.routing import Mount                                # doctest: +SKIP
>>> mine = Starlette(routes=[Mount("/search", clipx.serve.app("my.index"))])  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipx.errors import MissingDependencyError

if TYPE_CHECKING:
    from clipx.index import Index
    from clipx.space import JointSpace

LOCAL = ("127.0.0.1", "localhost", "[::1]")


def app(
    index: str | PathLike[str] | Index | None,
    space: str | PathLike[str] | JointSpace | None = None,
    *,
    token: str | None = None,
    hosts: Sequence[str] | None = LOCAL,
    folders: Sequence[str | PathLike[str]] | None = None,
) -> Any:
    """The page and its API as an ASGI app. The space is loaded in the background when it starts.

    Whoever can reach the app can see all files of the index. Without a token it relies on ``hosts`` and on what it is
    mounted in, such as a log-in.

    Args:
        index: an index, or its folder, which need not exist yet where ``folders`` are given; None: only files that are
            dropped on the page are looked at.
        space: the space, or what ``clipx.load_space`` takes; by default the index's, else ``$CLIPX_SPACE``, else lite.
        token: what the path of every request must begin with.
        hosts: names by which the app may be called, without a port: any other one is DNS rebinding. None: any name, for
            an app behind a server that checks it.
        folders: where the page may choose folders to index; by default none, and the page does not index.

    Raises:
        MissingDependencyError: the extra ``serve`` is not installed.
        FileError: the folder is no index, and ``folders`` is not given.
    """
    if missing := [name for name in ("starlette", "pydantic") if find_spec(name) is None]:
        remedy = "pip install 'clipx-modalities[serve]'"
        raise MissingDependencyError(f"the page needs {' and '.join(missing)}", remedy=remedy)
    from clipx.index import Index
    from clipx.spaces.loading import default_name, load_space

    given = index if isinstance(index, Index) else None
    db = None if index is None else given.folder if given else Path(index).expanduser()  # type: ignore[arg-type]
    if db is not None and given is None and (folders is None or Index.exists(db)):
        given = Index.open(db)
    source = str(space) if isinstance(space, str | PathLike) else given.space_record.source if given else default_name()

    def open_space() -> JointSpace:
        return load_space(source) if space is None or isinstance(space, str | PathLike) else space

    return build(db, given is not None, open_space, source, token, hosts, folders)


def build(
    db: Path | None,
    exists: bool,
    open_space: Callable[[], JointSpace],
    source: str,
    token: str | None,
    hosts: Sequence[str] | None,
    folders: Sequence[str | PathLike[str]] | None,
) -> Any:
    """As ``app``, with the space opened by a function.

    Args:
        db: the folder of the index, or None.
        exists: whether an index is there.
        open_space: loads the space; called once, in a thread.
        source: what ``clipx.load_space`` takes to load it again.
        token, hosts, folders: as ``app`` takes them.
    """
    from clipx.index import Index
    from clipx.serve.indexing import Folders, Indexing
    from clipx.serve.routes import create_app
    from clipx.serve.service import Service

    def load() -> tuple[JointSpace, Index | None]:
        space = open_space()
        return space, Index.open(db, space) if db is not None and exists else None

    service = Service(load, "" if db is None else db.name)
    indexing = Indexing(service, db if folders is not None else None, source)
    return create_app(service, indexing, Folders(service.names, [Path(one) for one in folders or ()]), token, hosts)
