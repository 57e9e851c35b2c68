"""A film on a page: a player that begins at the place that was found."""

from __future__ import annotations

from html import escape
from pathlib import Path

from clipx.cli._html import data_uri
from clipx.films import KINDS


def film_player(
    path: str | Path, start_s: float | None, end_s: float | None, name: str, thumbnail: bytes | None
) -> str:
    """HTML that plays a film of this machine where it lies: "" for what is none, or what no browser plays.

    Args:
        path: the file; films are too large for the page to hold them, so it plays them as long as they are there.
        start_s, end_s: the place; None for all of it.
        name: what to call it.
        thumbnail: a JPEG that is shown until it plays.
    """
    from clipx.index.remote import is_url

    if Path(path).suffix.lower() not in KINDS or is_url(path) or not Path(path).is_file():
        return ""
    place = "" if start_s is None or end_s is None else f"#t={start_s:.2f},{end_s:.2f}"
    source = escape(Path(path).absolute().as_uri() + place, quote=True)
    poster = "" if thumbnail is None else f' poster="{data_uri("image/jpeg", thumbnail)}"'
    return f'<video controls preload="none" aria-label="{escape(name, quote=True)}" src="{source}"{poster}></video>'
