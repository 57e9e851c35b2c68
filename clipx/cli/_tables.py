"""Records of ``clipx eval`` as Markdown tables, and pages that hold them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from clipx.evaluation import SHUFFLED

MARK = re.compile(r"<!-- ([\w-]+) -->\n.*?<!-- end -->", re.DOTALL)


def with_tables(page: str, tables: Mapping[str, str]) -> str:
    """The page with what stands between ``<!-- NAME -->`` and ``<!-- end -->`` rewritten, for each name among the
    tables."""

    def made(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{tables[match[1]]}\n<!-- end -->" if match[1] in tables else match[0]

    return MARK.sub(made, page)


def table(measured: Mapping[str, Any]) -> str:
    """What ``clipx eval all`` keeps of one table, or the record of one ``clipx eval``, as Markdown.

    Args:
        measured: ``runs``, a record each; with ``columns``, (heading, format string over a row's values) pairs, there
            is a line for each of a run's rows, which lie under the key ``rows`` ("results" if there is none). Without
            columns the lines are what was swept, and the columns the methods.
    """
    runs = measured.get("runs", [measured])
    if "columns" in measured:
        lines = [
            [_cell(form, values) for _, form in measured["columns"]]
            for run in runs
            for values in _rows(run, measured.get("rows", "results"))
        ]
        return markdown([heading for heading, _ in measured["columns"]], lines)
    shots = {row["shots"] for run in runs for row in run["results"] if "shots" in row}
    return _over_shots(runs) if len(shots) > 1 else _swept(runs)


def markdown(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table; columns of numbers are set to the right."""
    numbers = [
        bool(lines) and all(re.match(r"[\d.<-]", line[k]) for line in lines if line[k]) for k in range(len(headings))
    ]
    rule = "|" + "|".join("---:" if right else "---" for right in numbers) + "|"
    return "\n".join([_line(headings), rule, *map(_line, lines)])


def _line(cells: Sequence[str]) -> str:
    return " ".join(["|", " | ".join(cells), "|"])


def _rows(run: Mapping[str, Any], key: str) -> Iterator[dict[str, Any]]:
    """Each row's own values, above those of the whole run."""
    for row in run[key]:
        yield {**run, **row}


def _cell(form: str, values: Mapping[str, Any]) -> str:
    """Empty where the row has no such figure."""
    try:
        text = form.format_map(values)
        return "" if text == "None" else text
    except (KeyError, IndexError, TypeError):  # TypeError: null has no digits
        return ""


def _over_shots(runs: Sequence[Mapping[str, Any]]) -> str:
    """A line for each method: the mean accuracy over draws for each number of shots, and the worst and best draw."""
    results = [row for run in runs for row in run["results"]]
    counts = sorted({row["shots"] for row in results if "shots" in row})
    lines: dict[str, dict[int, str]] = {}
    for row in results:
        cells = lines.setdefault(row["method"] + (", shuffled labels" if row.get("control") == SHUFFLED else ""), {})
        figure = f"{row['metrics']['acc1']:.1%}"
        if "shots" not in row:
            cells |= dict.fromkeys(counts, figure)
        else:
            draws = [draw["acc1"] for draw in row["draws"]]
            cells[row["shots"]] = f"{figure} ({min(draws):.1%} to {max(draws):.1%})"
    headings = [f"{count} shot{'s' if count > 1 else ''}" for count in counts]
    return markdown(["method", *headings], [[name, *(own.get(n, "") for n in counts)] for name, own in lines.items()])


def _swept(runs: Sequence[Mapping[str, Any]]) -> str:
    """Lines are what was swept, columns the methods, untuned and learnt ones separate."""
    results = [row for run in runs for row in run["results"]]
    swept = list(results[0]["sweep"])
    if len({row["prompts"] for row in results}) > 1 and "prompts" not in swept:
        swept.append("prompts")
    rows: dict[tuple[Any, ...], dict[str, str]] = {}
    for row in results:
        values = row["sweep"] | {"prompts": row["prompts"]}
        cells = rows.setdefault(tuple(values[key] for key in swept), {})
        method = row["method"] + (f", {row['shots']} shots" if "shots" in row else "")
        low, high = row["ci95"]["acc1"]
        if draws := [draw["acc1"] for draw in row.get("draws", ())]:
            low, high = min(draws), max(draws)
        cells[method] = f"{row['metrics']['acc1']:.1%} ({low:.1%} to {high:.1%})"
    methods = list(dict.fromkeys(method for cells in rows.values() for method in cells))
    lines = [[*map(str, values), *(cells.get(method, "") for method in methods)] for values, cells in rows.items()]
    return markdown([*swept, *methods], lines)
