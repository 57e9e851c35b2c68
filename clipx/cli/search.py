"""clipx search: what in an index is nearest to a sentence, to a file, or to arithmetic of both."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clipx.cli._flags import ConfigFlag, DeviceFlag, DtypeFlag, JsonFlag, OutFlag, SeedFlag, SpaceFlag
from clipx.cli.index import DbFlag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipx.index import Hit

LIKELY = 0.5  # the confidence from which a hit is rather what was looked for than chance
MISSING = "missing: moved or deleted since indexed; clipx index FOLDER takes up what moved, --remove what is gone"
FIGURES = ("score", "confidence", "e-value", "cosine", "words")
UNLIKELY = "nothing here is likely to be it (no confidence of 50 % or more)"


def search(
    query: Annotated[
        list[str], typer.Argument(metavar="QUERY", help="A sentence, a file, or terms joined by + and -.")
    ],
    db: DbFlag = Path("my.index"),
    k: Annotated[int, typer.Option("-k", help="How many files to show.", min=1)] = 10,
    modality: Annotated[str | None, typer.Option("--modality", help="Only files of this modality.")] = None,
    sql: Annotated[
        str | None,
        typer.Option("--sql", help="Only files for which this holds: \"path like '%2024%'\".", show_default=False),
    ] = None,
    min_confidence: Annotated[
        float,
        typer.Option("--min-confidence", help="Leave out what chance would also bring; 0.5 is a start.", min=0, max=1),
    ] = 0.0,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write one page with pictures, players and scores to this file.")
    ] = None,
    ranking: Annotated[
        Literal["auto", "cosine", "described"],
        typer.Option(
            "--ranking",
            help="cosine: plain CLIP retrieval. described: by words that describe, the cosine beside them. "
            "auto: cosine for one modality of an open vocabulary.",
        ),
    ] = "auto",
    exact: Annotated[bool, typer.Option("--exact", help="Look at every row, even where --ann was built.")] = False,
    space: SpaceFlag = None,
    device: DeviceFlag = "cpu",
    dtype: DtypeFlag = "float32",
    seed: SeedFlag = 0,
    out: OutFlag = None,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
) -> None:
    """Find files by a sentence, by any file, or by both: beach.jpg + "at night" - people

    An existing file wins over text, double quotes make text of anything, and 2*
    before a term doubles its weight. depth:room.png reads the file by the sense
    that is named. The space is the index's own.

    Example: clipx search "a dog on grass" --db my.index
    """
    from dataclasses import asdict

    from clipx.cli._output import check_writable, emit, print_table, report
    from clipx.cli._work import open_space
    from clipx.index import Index
    from clipx.index.query import parse
    from clipx.progress import note

    check_writable(out)
    check_writable(html)
    text = " ".join(query).strip()
    parse(text)
    opened = Index.open(db)
    index = Index.open(db, open_space(space or opened.space_record.source, device, dtype, seed))
    hits = index.search(text, k, modality, sql, min_confidence, exact, ranking)
    record = report(
        "search", [asdict(hit) for hit in hits], db=db, query=text, space=index.space.name, space_id=index.space.id
    )

    def table() -> None:
        timed = any(hit.start_s is not None for hit in hits)
        rows = []
        for hit in hits:
            place = () if not timed else ("" if hit.start_s is None else f"{hit.start_s:.1f}-{hit.end_s:.1f} s",)
            name = short(hit.path) + " (missing)" * hit.missing
            rows.append((name, *place, hit.modality, *figures(hit)))
        print_table(("file", *(("at",) if timed else ()), "modality", *FIGURES), rows)
        if not hits:
            note("nothing here matches")
        elif not likely(hits):
            note(UNLIKELY)
        if any(hit.missing for hit in hits):
            note(MISSING)

    emit(record, as_json, table, out)
    if html is not None:
        from clipx.cli._output import write_bytes
        from clipx.cli._results_page import results_page

        paths = [hit.path for hit in hits]
        about = f"Index {db}, {index.stats()['files']:,} files, space {index.space.name} ({index.space.id})."
        remark = "" if likely(hits) else UNLIKELY
        page = results_page(text, hits, index.thumbnails(paths), {path: short(path) for path in paths}, about, remark)
        write_bytes(html, page.encode())
        note(f"page: {html}")


def likely(hits: Sequence[Hit]) -> bool:
    """Whether any of them is rather what was looked for than chance."""
    return any(hit.confidence >= LIKELY for hit in hits)


def figures(hit: Hit) -> tuple[str, str, str, str, str]:
    """A hit's score, confidence, E-value, cosine and words as they are printed, see ``FIGURES``."""
    return (
        f"{hit.score:.3f}",
        f"{hit.confidence:.0%}",
        f"{hit.e_value:.2g}",
        f"{hit.cosine:.3f}",
        ", ".join(hit.words),
    )


def short(path: str) -> str:
    """The path as it is best typed from here; what would break a line or steer a terminal is escaped."""
    try:
        beside = os.path.relpath(path)
    except ValueError:  # on another drive
        beside = ".."
    return printable(path if beside.startswith("..") else beside)


def printable(text: str) -> str:
    """The text on one line, with control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)
