"""What ``clipx eval`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clipx.cli._output import print_table
from clipx.evaluation import SHUFFLED

Row = Mapping[str, Any]


def print_record(record: Row) -> None:
    """The table of a record, and of a single row also its folds and classes."""
    rows = record["results"]
    halves = any("base_acc1" in row["metrics"] for row in rows)
    headings, cells = table_of(rows)
    split = "".join(f", {key} {' '.join(values)}" for key, values in record["subsets"].items())
    title = f"{record['dataset']}{split}: {record['n']} samples, {record['labels']} labels, "
    print_table(headings, cells, title=f"{title}{record['modality']} in {record['space']} ({record['regime']})")
    if len(rows) != 1 or halves:
        return
    if folds := rows[0].get("folds"):
        print()
        print_table(("fold", "top-1"), [(name, f"{right:.1%}") for name, right in folds.items()])
    lines = [
        (
            one["label"],
            str(one["n"]),
            f"{one['recall']:.1%}",
            f"{one['taken_for']} {one['taken']:.1%}" if one["taken_for"] else "",
        )
        for one in rows[0]["classes"]
    ]
    print()
    print_table(("class", "n", "recall", "most often taken for"), lines)


def table_of(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Headings, and the cells of each row of results."""
    swept = list(dict.fromkeys(key for row in rows for key in row["sweep"]))
    halves = any("base_acc1" in row["metrics"] for row in rows)
    figures = ["base", "95 % interval", "new", "95 % interval", "harmonic mean"]
    whole = ["top-1", "95 % interval", "top-5", "mean recall", "draws"]
    cells = [
        [*(str(row["sweep"].get(key, "")) for key in swept), name_of(row), *(_halves if halves else _whole)(row)]
        for row in rows
    ]
    return [*swept, "method", *(figures if halves else whole), "learned from"], cells


def name_of(row: Row) -> str:
    """The method, how many shots it learned from, and whether it is a control."""
    shots = f", {row['shots']} shot{'s' if row['shots'] > 1 else ''}" if "shots" in row else ""
    return row["method"] + shots + control_of(row)


def control_of(row: Row) -> str:
    """What stands behind the name of a control; the record says what it is a control for."""
    if "control" not in row:
        return ""
    return f" ({SHUFFLED})" if row["control"] == SHUFFLED else " (control)"


def title_of(row: Row) -> str:
    """A line over the picture of a row."""
    varied = ", ".join(str(value) for value in row["sweep"].values())
    return ": ".join(part for part in (varied, name_of(row)) if part) + f" {row['metrics']['acc1']:.1%}"


def _whole(row: Row) -> list[str]:
    figures, draws = row["metrics"], [draw["acc1"] for draw in row.get("draws", ())]
    top5 = "" if figures["acc5"] is None else f"{figures['acc5']:.1%}"
    spread = f"{min(draws):.1%} to {max(draws):.1%} of {len(draws)}" if draws else ""
    about = top5, f"{figures['mean_per_class_recall']:.1%}", spread, _learned_from(row)
    return [f"{figures['acc1']:.1%}", _interval(row, "acc1"), *about]


def _halves(row: Row) -> list[str]:
    base, new, mean = (f"{row['metrics'][name]:.1%}" for name in ("base_acc1", "new_acc1", "harmonic_mean"))
    return [base, _interval(row, "base_acc1"), new, _interval(row, "new_acc1"), mean, _learned_from(row)]


def _interval(row: Row, name: str) -> str:
    return "{:.1%} to {:.1%}".format(*row["ci95"][name])


def _learned_from(row: Row) -> str:
    return row["tuned_on"] or "words alone"
