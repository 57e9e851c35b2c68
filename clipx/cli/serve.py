"""clipx serve: a local page that searches, draws, names and estimates depth."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes

FolderFlag = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="FOLDER", help="Where the page may choose folders to index. Default: this folder and your home."
    ),
]
DbFlag = Annotated[
    Path | None,
    typer.Option("--db", help="The index, a folder. Default: my.index, which the page makes where it is missing."),
]
HostFlag = Annotated[
    str, typer.Option("--host", help="The address to listen at. Any other than 127.0.0.1 lets other machines in.")
]
PortFlag = Annotated[int, typer.Option("--port", help="0: a free one.", min=0, max=65535)]
OpenFlag = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]


@takes("space", "device", "dtype", "backend", "seed", "as_json", "config")
def serve(
    folders: FolderFlag = None,
    db: DbFlag = None,
    host: HostFlag = "127.0.0.1",
    port: PortFlag = 0,
    open_page: OpenFlag = False,
    *,
    run: RunOptions,
) -> None:
    """Open a local page to search by words, files, drawings and sounds, to draw, to name and to see depth.

    The page is for this machine only: its address holds a token that no web site
    knows. Nothing is asked of the network. Stop it with Ctrl-C.

    Example: clipx serve --db my.index --open
    """
    from clipx.cli._output import report
    from clipx.cli._work import space_name
    from clipx.errors import FileError, InputError, MissingDependencyError
    from clipx.index import Index
    from clipx.progress import note
    from clipx.serve import LOCAL, build

    named, db = db is not None, db or Path("my.index")
    if named and not Index.exists(db) and db.exists() and any(db.iterdir() if db.is_dir() else [db]):
        raise FileError("is no index", where=db, remedy="name another folder, or leave --db out")
    for folder in folders or []:
        if not folder.is_dir():
            raise FileError("no such folder", where=folder)
    try:
        import uvicorn
    except ImportError as error:
        remedy = "pip install 'clipx-modalities[serve]'"
        raise MissingDependencyError("the page needs uvicorn", remedy=remedy) from error
    token = secrets.token_urlsafe(18)
    hosts = LOCAL if host in ("127.0.0.1", "localhost", "::1") else None
    exists = Index.exists(db)
    source = run.space or (Index.open(db).space_record.source if exists else space_name(None))
    choices = folders or [Path.cwd(), Path.home()]
    asgi = build(db, exists, lambda: run.open_space(source), source, token, hosts, choices)
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise InputError(f"cannot listen at {host}:{port} ({error.strerror})", remedy="try --port 0") from error
    # Connections take this from their listener. Without it small answers wait 40 ms for the client's acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{listening.getsockname()[1]}/{token}/"
    run.emit(report("serve", [], db=db, address=address), lambda: print(address, flush=True))
    if hosts is None:
        note("other machines can reach it: give the address only to those who may see the files of the index")
    note("stop it with Ctrl-C" if exists else f"{db} is made once you choose a folder on the page; stop it with Ctrl-C")
    if open_page:
        import webbrowser

        webbrowser.open(address)
    quiet: dict[str, Any] = {"log_level": "warning", "access_log": False, "server_header": False}
    with suppress(KeyboardInterrupt):  # how it is stopped; uvicorn raises it once the page's work has ended
        uvicorn.Server(uvicorn.Config(asgi, timeout_graceful_shutdown=3, **quiet)).run(sockets=[listening])
