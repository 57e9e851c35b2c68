"""Films as files: what browsers call them, and the package that decodes and writes them."""

from __future__ import annotations

from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

from clipx.errors import MissingDependencyError

KINDS = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm", ".mkv": "video/webm",
}  # fmt: skip  # what browsers play is what they know inside of it: they refuse video/quicktime and video/x-matroska
UNPLAYED = (".avi", ".wmv", ".mpg", ".mpeg", ".mts", ".m2ts", ".3gp", ".3g2", ".flv")  # which few browsers play
SUFFIXES = (*KINDS, *UNPLAYED)


def is_film(path: str | PathLike[str]) -> bool:
    """Whether a file's suffix is that of a film, other than an animated GIF."""
    return Path(path).suffix.lower() in SUFFIXES


def pyav(what: str = "films need PyAV", otherwise: str = "") -> Any:
    """The package ``av``.

    Args:
        what: that is not possible without it.
        otherwise: what else the user could do.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return import_module("av")
    except ImportError as error:
        raise MissingDependencyError(what, remedy=f"pip install 'clipx-modalities[video]'{otherwise}") from error
