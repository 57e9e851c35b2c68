"""Writes the tables of docs/results.md from the JSON files beside this script.

    python docs/results/make.py [NAME=FILE ...]

Each JSON file is what the command above its table wrote with ``-o``. NAME=FILE takes such a file in as NAME.json first,
without what no table shows: single classes, and the values of C that a linear probe tried.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "results.md"


def take_in(name: str, file: Path) -> None:
    """Keep what the tables need of a record."""
    record = json.loads(file.read_text())
    for row in record["results"]:
        row.pop("classes", None)
        for draw in row.get("draws", ()):
            draw["settings"].pop("swept", None)
    (HERE / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


def tables(page: str) -> str:
    """The page with the lines between ``<!-- NAME -->`` and ``<!-- end -->`` made anew from NAME.json."""

    def made(match: re.Match) -> str:
        record = json.loads((HERE / f"{match[1]}.json").read_text())
        return f"<!-- {match[1]} -->\n{table(record)}\n<!-- end -->"

    return re.sub(r"<!-- ([\w-]+) -->\n.*?<!-- end -->", made, page, flags=re.DOTALL)


def table(record: dict) -> str:
    """A record of ``clipx eval``: rows are what was swept, columns the methods, untuned and learnt apart."""
    swept = list(record["results"][0]["sweep"])
    if len({row["prompts"] for row in record["results"]}) > 1 and "prompts" not in swept:
        swept.append("prompts")
    rows: dict[tuple, dict[str, str]] = {}
    for row in record["results"]:
        values = row["sweep"] | {"prompts": row["prompts"]}
        cells = rows.setdefault(tuple(values[key] for key in swept), {})
        method = row["method"] + (f", {row['shots']} shots" if "shots" in row else "")
        low, high = row["ci95"]["acc1"]
        if draws := [draw["acc1"] for draw in row.get("draws", ())]:
            low, high = min(draws), max(draws)
        cells[method] = f"{row['metrics']['acc1']:.1%} ({low:.1%} to {high:.1%})"
    methods = list(dict.fromkeys(method for cells in rows.values() for method in cells))
    lines = [" | ".join(["", *swept, *methods, ""]).strip(), "|" + "---|" * (len(swept) + len(methods))]
    for values, cells in rows.items():
        lines.append(" | ".join(["", *map(str, values), *(cells.get(method, "") for method in methods), ""]).strip())
    return "\n".join(lines)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        name, _, file = argument.partition("=")
        take_in(name, Path(file))
    PAGE.write_text(tables(PAGE.read_text()))
