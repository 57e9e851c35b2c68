"""clipx search: what in an index is nearest to a sentence, to a file, or to arithmetic of both."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clipx.cli._options import RunOptions, takes
from clipx.cli._output import printable
from clipx.cli.index import DbFlag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipx.index import Hit, Index

MISSING = "missing: moved or deleted since indexed; clipx index FOLDER takes up what moved, --remove what is gone"
FIGURES = ("score", "confidence", "e-value", "cosine", "words")
UNLIKELY = "nothing here is likely to be it (no confidence of 50 % or more)"

QueryFlag = Annotated[
    list[str], typer.Argument(metavar="QUERY", help="A sentence, a file, or terms joined by + and -.")
]
CountFlag = Annotated[int, typer.Option("-k", help="How many files to show.", min=1)]
KindFlag = Annotated[str | None, typer.Option("--modality", help="Only files of this modality.")]
SqlFlag = Annotated[
    str | None,
    typer.Option("--sql", help="Only files for which this holds: \"path like '%2024%'\".", show_default=False),
]
ConfidenceFlag = Annotated[
    float,
    typer.Option("--min-confidence", help="Leave out hits of a lower confidence; 0.5 is a start.", min=0, max=1),
]
HtmlFlag = Annotated[
    Path | None, typer.Option("--html", help="Also write one page with pictures, players and scores to this file.")
]
RankingFlag = Annotated[
    Literal["auto", "cosine", "described"],
    typer.Option(
        "--ranking",
        help="cosine: plain CLIP retrieval. described: similarity of the nearest words, plus a weighted cosine. "
        "auto: cosine for one modality of an open vocabulary.",
    ),
]
ExactFlag = Annotated[bool, typer.Option("--exact", help="Look at every row, even where --ann was built.")]


@takes("space", "device", "dtype", "backend", "seed", "out", "as_json", "config")
def search(
    query: QueryFlag,
    db: DbFlag = Path("my.index"),
    k: CountFlag = 10,
    modality: KindFlag = None,
    sql: SqlFlag = None,
    min_confidence: ConfidenceFlag = 0.0,
    html: HtmlFlag = None,
    ranking: RankingFlag = "auto",
    exact: ExactFlag = False,
    *,
    run: RunOptions,
) -> None:
    """Find files by a sentence, by any file, or by both: beach.jpg + "at night" - people

    An existing file or a URL wins over text, double quotes make text of
    anything, and 2* before a term doubles its weight. depth:room.png reads the
    file by the modality that is named. The space is the index's own.

    Example: clipx search "a dog on grass" --db my.index
    """
    from clipx.cli._output import check_writable, report
    from clipx.index import Index
    from clipx.index.query import parse

    run.check_writable()
    check_writable(html)
    text = " ".join(query).strip()
    parse(text)
    source = run.space or Index.open(db).space_record.source
    index = Index.open(db, run.open_space(source))
    hits = index.search(text, k, modality, sql, min_confidence, exact, ranking)
    about = {"space": index.space.name, "space_id": index.space.id}
    record = report("search", [asdict(hit) for hit in hits], db=db, query=text, **about)
    run.emit(record, lambda: _print_hits(hits))
    if html is not None:
        _write_page(html, index, db, text, hits)


def _print_hits(hits: Sequence[Hit]) -> None:
    from clipx.cli._output import print_table
    from clipx.progress import note

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


def _write_page(file: Path, index: Index, db: Path, query: str, hits: Sequence[Hit]) -> None:
    from clipx.cli._results_page import results_page
    from clipx.files import write_whole
    from clipx.progress import note

    paths = [hit.path for hit in hits]
    about = f"Index {db}, {index.stats()['files']:,} files, space {index.space.name} ({index.space.id})."
    remark = "" if likely(hits) else UNLIKELY
    thumbnails = {**index.thumbnails(paths), **index.moments(hits)}
    page = results_page(query, hits, thumbnails, {path: short(path) for path in paths}, about, remark)
    write_whole(file, page)
    note(f"page: {file}")


def likely(hits: Sequence[Hit]) -> bool:
    """Whether any of the hits is likely what was looked for."""
    from clipx.index.search import LIKELY

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
    from clipx.index.remote import is_url

    if is_url(path):
        return printable(path)
    try:
        relative = os.path.relpath(path)
    except ValueError:  # on another drive
        relative = ".."
    return printable(path if relative.startswith("..") else relative)
