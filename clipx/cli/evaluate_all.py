"""clipx eval all: every table of a suite, measured again -> JSON, Markdown and the lists of what was measured."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes
from clipx.errors import FileError, InputError

LONG = {"classes", "swept", "tried", "template_weights", "templates"}  # keys of a record that no table shows


@dataclass(frozen=True)
class SuiteOptions:
    """Which tables are measured on what, and where they go."""

    data: Annotated[
        Path | None, typer.Option("--data", help="The folder that holds the data sets; DATA in the suite's commands.")
    ] = None
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder for a JSON file a table, tables.md and splits/.")
    ] = Path("clipx-results")
    suite: Annotated[
        Path | None,
        typer.Option("--suite", help="A TOML file of tables and commands. Default: results.toml of the space."),
    ] = None
    only: Annotated[str | None, typer.Option("--only", help="These tables, a,b,c. Default: all.")] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from a stopped run: keep the tables that are in --out.")
    ] = False
    space: Annotated[
        str | None, typer.Option("--space", help="Measure another space; by default each command's own.")
    ] = None
    page: Annotated[
        list[Path] | None,
        typer.Option(
            "--page", help="A Markdown file whose tables between <!-- NAME --> and <!-- end --> are written again."
        ),
    ] = None


@takes("as_json")
def evaluate_all(*, options: SuiteOptions, run: RunOptions) -> None:
    """Run every command of a suite on data of your own and write its tables.

    Each table becomes NAME.json in the --out folder: the commands, what they
    measured, the space and the hash of the data. Names and SHA-256 of all that was
    measured or learnt from stand in splits/, so that others can tell whether they
    have the same. Without --data nothing is measured: tables.md and the pages are
    written from the JSON files that are there.

    Example: clipx eval all --data data --only depth -o results
    """
    from clipx.cli._flags import read_toml
    from clipx.cli._output import print_table, report
    from clipx.cli._tables import table, with_tables
    from clipx.files import write_whole
    from clipx.spaces.embedded import SPACES
    from clipx.spaces.loading import DEFAULT, default_name

    data, out, space = options.data, options.out, options.space
    own = SPACES / (space or default_name()) / "results.toml"
    path = options.suite or (own if own.is_file() else SPACES / DEFAULT / "results.toml")
    planned = _tables(read_toml(path), path, options.only)
    for one in options.page or ():
        if not one.is_file():
            raise FileError("no such file", where=one)
    if data is not None:
        _measure_all(planned, data, options)
    if not out.is_dir():
        raise FileError("no such folder", where=out, remedy="measure first: name the data with --data")
    records = {file.stem: _read(file) for file in sorted(out.glob("*.json"))}
    made = {name: table(record) for name, record in records.items()}
    if not made:
        raise InputError("holds no tables", where=out, remedy="measure first: name the data with --data")
    write_whole(out / "tables.md", _page(records, made))
    for one in options.page or ():
        write_whole(one, with_tables(one.read_text(encoding="utf-8"), made))
    rows = [{"table": name, "file": out / f"{name}.json", "lines": made[name].count("\n") - 1} for name in made]
    lines = [tuple(map(str, row.values())) for row in rows]
    run.emit(report("eval all", rows), lambda: print_table(("table", "file", "lines"), lines))


def _measure_all(planned: Sequence[Mapping[str, Any]], data: Path, options: SuiteOptions) -> None:
    """Measure the tables that are not there yet, each into its JSON file."""
    from clipx.files import write_whole
    from clipx.progress import note, progress
    from clipx.training import prepare_folder

    out, space = options.out, options.space
    if not data.is_dir():
        raise FileError("no such folder", where=data, remedy="name the data sets' folder with --data")
    prepare_folder(out / "splits", resume=True)
    with progress("measuring tables", len(planned)) as advance:
        for plan in planned:
            kept = out / f"{plan['name']}.json"
            if space is not None and space not in plan.get("spaces", [space]):
                note(f"left out: {plan['name']}, which is of {', '.join(plan['spaces'])} alone")
            elif not (options.resume and kept.is_file()):
                record = _measure(plan, data.resolve(), out, space)
                write_whole(kept, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
            advance(1)


def _tables(suite: Mapping[str, Any], path: Path, only: str | None) -> list[dict[str, Any]]:
    """The suite's tables that are asked for. Raises InputError."""
    tables = suite.get("table")
    if not isinstance(tables, list) or not tables:
        raise InputError("holds no [[table]]", where=path)
    for plan in tables:
        if not isinstance(plan.get("name"), str) or not plan.get("run"):
            raise InputError("a [[table]] needs a name and a [[table.run]]", where=path)
        if any("command" not in run for run in plan["run"]):
            raise InputError(f"a run of {plan['name']} has no command", where=path)
    if only is None:
        return tables
    known = {plan["name"]: plan for plan in tables}
    if unknown := [name for name in only.split(",") if name.strip() not in known]:
        raise InputError(f"no table {unknown[0]!r}", where="--only", remedy=f"there are {', '.join(known)}")
    return [known[name.strip()] for name in only.split(",")]


def _measure(plan: Mapping[str, Any], data: Path, out: Path, space: str | None) -> dict[str, Any]:
    """Run a table's commands; what they measured, and the lists of what they measured it on, in ``out``/splits."""
    about = {key: plan[key] for key in ("name", "title", "columns", "rows") if key in plan}
    more = [] if space is None else ["--space", space]
    runs = []
    with tempfile.TemporaryDirectory() as work:
        places = {"DATA": str(data), "WORK": work}
        for command in plan.get("before", ()):
            _run(command, places, more)
        for run in plan["run"]:
            record, rows = Path(work) / "record.json", Path(work) / "rows.csv"
            record.unlink(missing_ok=True)  # of the run before
            _run(run["command"], places, [*more, "-o", str(record), "--rows", str(rows)])
            if not record.is_file():
                raise InputError("wrote no record", where=run["command"], remedy="a run is a clipx eval")
            found = _lean(json.loads(record.read_text(encoding="utf-8")))
            named = {"run": run.get("name", ""), "commands": [*plan.get("before", ()), run["command"]]}
            runs.append({**named, "split": _keep(rows, found["dataset"], out), **found})
    return {**about, "runs": runs}


def _run(command: str, places: Mapping[str, str], more: Sequence[str]) -> None:
    """One command line of the suite, in this process; what it prints is not shown."""
    from typer.main import get_command

    from clipx.cli import app

    words = shlex.split(command)
    if words[:1] != ["clipx"]:
        raise InputError(f"expected a clipx command, got {command!r}", where="the suite")
    args = [_placed(word, places) for word in words[1:]]
    with contextlib.redirect_stdout(io.StringIO()):
        status = get_command(app).main([*args, *more], prog_name="clipx", standalone_mode=False)
    if status:
        raise InputError(f"ended with status {status}", where=command)


def _placed(word: str, places: Mapping[str, str]) -> str:
    """``DATA/a`` -> ``a`` in the data's folder."""
    root, slash, rest = word.partition("/")
    return places[root] + slash + rest if root in places else word


def _keep(rows: Path, dataset: str, out: Path) -> str:
    """Move a list of rows to where every table that was measured on the same rows finds it; its name."""
    from clipx.files import write_whole

    text = rows.read_bytes()
    name = f"{dataset}-{hashlib.sha256(text).hexdigest()[:8]}.csv"
    write_whole(out / "splits" / name, text)
    return f"splits/{name}"


def _lean(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lean(item) for key, item in value.items() if key not in LONG}
    return [_lean(item) for item in value] if isinstance(value, list) else value


def _read(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if not record.get("runs", record.get("results")):
            raise ValueError("it holds neither runs nor results")
    except (OSError, ValueError, AttributeError) as error:
        raise FileError(f"is no table of clipx eval ({error})", where=file, remedy="remove it") from error
    return record


def _page(records: Mapping[str, Mapping[str, Any]], made: Mapping[str, str]) -> str:
    parts = ["# Results\n"]
    for name, record in records.items():
        commands = dict.fromkeys(command for run in record.get("runs", ()) for command in run["commands"])
        shown = ["```sh", *commands, "```", ""] if commands else []
        parts.append("\n".join([f"## {record.get('title', name)}", "", *shown, made[name], ""]))
    return "\n".join(parts)
