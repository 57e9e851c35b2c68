"""The command line. Commands are found through the entry-point group ``clipx.commands``; each is a function, read by
typer, or a ``typer.Typer`` app, and is imported when it is called. A name may be two words: "eval sketch" is asked
before "eval", so that a modality can bring a verb of its own for itself."""

from __future__ import annotations

import atexit
import gc
import os
import re
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup
from typer.main import get_command

from clipx.errors import ClipxError

_UsageError: Any = typer.BadParameter.__mro__[1]  # click's own class: some releases of typer bring their own click
_ClickException: Any = _UsageError.__mro__[1]
FAMILIES = {  # what the commands of two words that begin alike have in common
    "reproduce": "Measure what a paper measured, beside the figure that it published.",
    "train": "Learn from data of your own: a classifier, a head, a tower, a space.",
}
_TERM = re.compile(r"-+\s")  # how no flag begins


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0: done. 1: a fault of ours or of a library. 2: the user's mistake. 130: stopped by Ctrl-C. Anything but 0 comes
    with one line on stderr; ``--traceback`` anywhere, or ``CLIPX_DEBUG=1``, shows where it was raised.
    """
    if argv is None:  # the process is ours: at its end Python need not look through the libraries' objects once more
        atexit.register(gc.freeze)
        # Read when torch is loaded, which is later: its threads sleep while they wait for one another. By default they
        # spin, and on a busy machine keep those that they wait for off the processors. Half a millisecond of spinning
        # is left: small steps, such as those of a drawing, take half as long again where each one wakes a thread up.
        if "OMP_WAIT_POLICY" not in os.environ:
            os.environ["OMP_WAIT_POLICY"] = "passive"
            os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    from clipx import progress
    from clipx.cli._progress import bar

    progress.use(bar)
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--traceback" in args or os.environ.get("CLIPX_DEBUG", "0") not in ("", "0")
    args = [arg for arg in args if arg != "--traceback"]
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            status = get_command(app).main(args or ["--help"], prog_name="clipx", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except ClipxError as error:
        status = _fail(str(error), 2, debug)
    except _ClickException as error:
        where = getattr(getattr(error, "ctx", None), "command_path", "clipx")
        what = error.format_message().rstrip(".")
        status = 2  # a group without a command has shown its help, and that is all
        if what:
            status = _fail(f"{what}{'' if what.endswith('?') else ';'} see {where} --help", 2, debug)
    except BrokenPipeError:  # the reader, such as `head`, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        status = _fail(f"{what} (a fault in clipx or below it; run with --traceback for details)", 1, debug)
    if status == 130:
        print("interrupted", file=sys.stderr)
    return status if isinstance(status, int) else 0


class _Commands(TyperGroup):
    """The registered commands; listing them imports those of clipx itself, which are light, and no others."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_points())

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List them by the first paragraphs of their docstrings: to make their flags takes longer than all else."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _summary(point)) for name, point in _points().items()])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command to be listed: without the flags that come from modalities, as those would have to be imported."""
        point = _points().get(cmd_name)
        if point is None:
            return None
        return _build(cmd_name, point.load()) if point.value.startswith("clipx.") else _third_party(point)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """A command to be run, or to show its own help: with all its flags."""
        from clipx._lazy import uncollected
        from clipx.cli._flags import with_settings
        from clipx.registry import load

        points = _points()
        names = [*points, *(name.partition(" ")[0] for name in points)]
        self.commands = cast(Any, dict.fromkeys(names))  # for "did you mean"
        if (both := " ".join(args[:2])) in points:
            args = [both, *args[2:]]
        elif args[0] not in points and _below(args[0]):
            return args[0], _family(args[0]), args[1:]
        if args[0] == "search":  # "- a chair" is a term of a query, no flag; a lone -- ends no flags
            args = [f" {arg}" if _TERM.match(arg) else arg for arg in args if arg != "--"]
        name, command, rest = super().resolve_command(ctx, args)
        if name in points:
            with uncollected():  # the flags that come from modalities import them, and they torch
                command = _build(name, with_settings(load(points[name])))
            if below := _below(name):
                if isinstance(command, TyperGroup):
                    command.commands.update(below)
                else:
                    command.epilog = f"See also: {', '.join(f'clipx {name} {one} --help' for one in below)}"
        return name, command, rest


app = typer.Typer(cls=_Commands, add_completion=False, no_args_is_help=True, rich_markup_mode=None)


def _print_version(wanted: bool) -> None:
    if wanted:
        from clipx import __version__

        print("clipx", __version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_print_version)
    ] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an error was raised.")] = False,
) -> None:
    """New modalities for a frozen CLIP: point clouds, sounds, depth and sketches, named by words.

    Example: clipx classify chair.ply --labels chair,table,airplane
    """


def _points() -> dict[str, EntryPoint]:
    from clipx.registry import COMMANDS, registered

    return registered(COMMANDS)


def _below(name: str) -> dict[str, Any]:
    """The commands of two words that begin with this one, by their second word; to be listed, not to be run."""
    found = {}
    for full, point in _points().items():
        if full.startswith(f"{name} "):
            rest = full.removeprefix(f"{name} ")
            found[rest] = _build(rest, point.load()) if point.value.startswith("clipx.") else _third_party(point)
    return found


def _family(name: str) -> Any:
    """The group of those commands, where there is none of that name alone."""
    below = _below(name)
    about = FAMILIES.get(name, f"The commands that begin with clipx {name}.")
    about += f"\n\nExample: clipx {name} {min(below)} --help"
    return TyperGroup(name=name, commands=below, no_args_is_help=True, help=about)


def _build(name: str, target: Any) -> Any:
    """A function or a Typer app -> a click command of that name."""
    if isinstance(target, typer.Typer):
        command = get_command(target)
        command.name = name
        return command
    single = typer.Typer(add_completion=False)
    single.command(name)(target)
    return get_command(single)


def _summary(point: EntryPoint) -> str:
    """What a command does, in a sentence or two; of one that another package brings, which package that is."""
    if not point.value.startswith("clipx."):
        return _origin(point)
    target = point.load()
    if isinstance(target, typer.Typer):
        target = target.registered_callback and target.registered_callback.callback
    return " ".join((target.__doc__ or "").split("\n\n")[0].split())


def _origin(point: EntryPoint) -> str:
    return f"(from {point.dist.name if point.dist else point.value})"


def _third_party(point: EntryPoint) -> Any:
    def command() -> None: ...

    command.__doc__ = _origin(point)
    return _build(point.name, command)


def _warn(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """A warning as one line, without the place in the code; those for programmers are for ``-W``."""
    if issubclass(category, UserWarning):
        print("warning:", " ".join(str(message).split()), file=sys.stderr)


def _fail(line: str, status: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    print("error:", " ".join(line.split()), file=sys.stderr)
    return status
