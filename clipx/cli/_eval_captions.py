"""clipx eval MODALITY DATA --captions COLUMN: files by sentences, and sentences by files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clipx.cli._options import RunOptions
from clipx.errors import InputError


def rank_captions(
    modality: str, data: Path, column: str, other: Sequence[str], settings: Mapping[str, Any], run: RunOptions
) -> None:
    """Rank both ways, and print recalls and ranks with intervals and chance.

    Args:
        modality: who reads the files.
        data: see ``clipx.datasets.read_captions``.
        column: of the sentences.
        other: flags that were given and belong to classification.
        settings: of the modality, as flags gave them.
        run: how the command runs.

    Raises:
        InputError: such a flag, or no rows. VocabularyError: words that the space does not know.
    """
    from clipx.captions import both_ways, pairs_of
    from clipx.cli._flags import settings_of
    from clipx.cli._output import report
    from clipx.cli._work import encode
    from clipx.datasets import read_captions, rows_csv
    from clipx.files import write_whole
    from clipx.registry import get_modality

    if other or run.prompts is not None:
        raise InputError("captions are taken as they stand", where=(*other, "--prompts")[0], remedy="leave it out")
    cls = get_modality(modality)
    config = cls.Config(**settings_of([modality], settings)[modality])
    found = read_captions(data, cls, column, run.conditions())
    first, sentences, positives = pairs_of([item.id for item in found.items], found.labels)
    space = run.open_space()
    space.require_words(sentences)
    items = [found.items[row] for row in first]
    files = encode(cls(space, config), items, run.batch_size, run.cache_folder())
    scores = space.encode_text(sentences) @ files.vectors.T
    rows = [{"way": way, **own} for way, own in both_ways(scores, positives, modality, run.seed).items()]
    if run.rows is not None:
        write_whole(run.rows, rows_csv(found))
    about: dict[str, Any] = {"dataset": found.name, "modality": modality, "space": space.name, "space_id": space.id}
    about |= {"captions": column, "where": run.where or [], "seed": run.seed, "data_sha256": found.sha256()}
    title = f"{found.title}: {len(first)} files, {len(sentences)} sentences, {modality} in {space.name}"
    run.emit(report("eval", rows, **about), lambda: _print(rows, title))


def _print(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    from clipx.captions import cells
    from clipx.cli._output import print_table

    names = [key for key in ("R@1", "R@5", "R@10", "MdR", "MnR") if any(key in row for row in rows)]
    lines = []
    for row in rows:
        lines.append([row["way"].replace("_", " "), *(cells(row, name) for name in names)])
        lines.append(["  chance", *(_by_chance(row["chance"].get(name), name) for name in names)])
    print_table(("way", *names), lines, title)


def _by_chance(value: float | None, name: str) -> str:
    return "" if value is None else f"{value:.1%}" if name.startswith("R@") else f"{value:.1f}"
