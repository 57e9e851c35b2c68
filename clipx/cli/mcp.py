"""clipx mcp: an index for agents, by the Model Context Protocol."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipx.cli._options import RunOptions, takes
from clipx.cli.index import DbFlag

if TYPE_CHECKING:
    from clipx.index import Index

FoldersFlag = Annotated[
    list[str] | None,
    typer.Argument(metavar="FOLDER", help="Folders whose files agents may name, besides those of the index."),
]


@takes("space", "device", "dtype", "backend", "config")
def mcp(folders: FoldersFlag = None, db: DbFlag = Path("my.index"), *, run: RunOptions) -> None:
    """Serve an index to agents on standard input and output (MCP); nothing is written.

    An agent's client starts it; its tools are search, describe, classify,
    thumbnail and stats. They answer about files of the index, and about files
    in the folders that are named here. The space is loaded at the first call.

    Example: clipx mcp photos --db my.index

    In Claude Code: claude mcp add clipx -- clipx mcp --db /home/me/my.index
    """
    from clipx.index import Index
    from clipx.mcp_server import server

    source = run.space or Index.open(db).space_record.source

    def open_index() -> Index:
        return Index.open(db, run.open_space(source))

    serving = server(open_index, folders or ())
    # A thread that waits for the next line of standard input cannot be interrupted; there is nothing to be saved.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        serving.run("stdio")
    except* BrokenPipeError:  # the client is gone
        pass
