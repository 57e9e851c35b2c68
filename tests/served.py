"""The page's server on a small index: in this process, and as a real one that listens."""

import contextlib
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from indexed import picture
from PIL import Image

import clipx
from clipx.index import Index

EXAMPLES = Path(__file__).parents[1] / "examples" / "data"


def make_files(folder):
    """Six pictures in two folders, a cloud, a mesh and a drawing."""
    for i in range(6):
        picture(folder / ("holiday" if i % 2 else "home") / f"p{i}.png", i)
    np.savetxt(folder / "cloud.xyz", np.random.default_rng(0).normal(size=(64, 3)))
    shutil.copy(EXAMPLES / "chair.off", folder)
    (folder / "house.ndjson").write_text('{"word": "house", "drawing": [[[0, 90, 90, 0, 0], [0, 0, 60, 60, 0]]]}')
    return folder


def disc_and_bar(path):
    """A photo of 80 x 60 pixels: a dark disc and a bar on grey."""
    rows, columns = np.mgrid[:60, :80]
    dark = ((rows - 30) ** 2 + (columns - 28) ** 2 < 300) | ((abs(columns - 62) < 6) & (abs(rows - 30) < 22))
    Image.fromarray(np.where(dark, 20, 200).astype(np.uint8)).convert("RGB").save(path)
    return path


def make_index(db, files, space_folder):
    """An index of them in a tiny random space."""
    with Index.create(db, clipx.load_space(space_folder), str(space_folder)) as index:
        index.add([files])
    return db


@dataclass
class Server:
    """One that listens.

    Args:
        address: of the page, with the token.
        port: where it listens.
    """

    address: str
    port: int


@contextlib.contextmanager
def listening(make_app, token="secret"):
    """Run an ASGI app at a free port of this machine.

    Args:
        make_app: called with the token.
        token: of the address.
    """
    import uvicorn

    config = uvicorn.Config(make_app(token), port=0, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and thread.is_alive() and time.monotonic() < deadline:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Server(f"http://127.0.0.1:{port}/{token}/", port)
    finally:
        server.should_exit = True
        thread.join(10)
