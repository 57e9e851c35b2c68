"""What commands share: one dataclass whose fields become the flags of every command that takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from clipx.cli._flags import conditions, read_toml, with_parameters
from clipx.errors import InputError

if TYPE_CHECKING:
    from clipx.errors import ClipxError
    from clipx.space import JointSpace


def _use_config(ctx: typer.Context, path: Path | None) -> None:
    """Make a TOML file's values the defaults of this command's flags."""
    if path is None or ctx.resilient_parsing:
        return
    known = {
        option.removeprefix("--").replace("-", "_"): param
        for param in ctx.command.params
        for option in param.opts
        if option.startswith("--") and option not in ("--config", "--help")
    }
    defaults = {}
    for key, value in read_toml(path).items():
        param = known.get(key.replace("-", "_"))
        if param is None:
            raise InputError(f"unknown key {key!r}", where=path, remedy=f"known: {', '.join(sorted(known))}")
        if isinstance(value, dict) or (isinstance(value, list) and not param.multiple):
            raise InputError(f"key {key!r} takes one value", where=path)
        one = param.multiple and not isinstance(value, list)  # a list of one may be written without brackets
        defaults[param.name] = [str(value)] if one else value if isinstance(value, bool | list) else str(value)
    ctx.default_map = defaults


@dataclass(frozen=True)
class RunOptions:
    """How a command runs and where its results go; a field that a command does not take keeps its default."""

    modality: Annotated[
        str | None,
        typer.Option("--modality", help="What the files are, whatever their suffix. Default: what their suffix says."),
    ] = None
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            help="Keep rows with column=value, or one of several values: 'fold=1|2'; several --where must all hold.",
            show_default=False,
        ),
    ] = None
    prompts: Annotated[
        str | None,
        typer.Option(
            "--prompts",
            help="A prompt set's name (photo, imagenet, sketch, plain, ...), one template with {}, or @file.json with "
            "a list of templates or an object of label -> sentences. Default: the modality's own set.",
            show_default=False,
        ),
    ] = None
    space: Annotated[
        str | None,
        typer.Option(
            "--space",
            help="The joint space: lite or another embedded one, an open_clip name such as ViT-B-32-quickgelu/openai, "
            "hf-hub:..., a folder. Default: $CLIPX_SPACE, else the user's config file, else lite.",
            show_default=False,
        ),
    ] = None
    device: Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1, mps.")] = "cpu"
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], typer.Option("--dtype", help="Precision of the backbone.")
    ] = "float32"
    backend: Annotated[
        Literal["auto", "torch", "onnx"],
        typer.Option(
            "--backend",
            help="What runs the towers: torch, or onnxruntime, which starts sooner. auto: onnxruntime for spaces "
            "with ONNX graphs (lite; others by clipx export) in float32 on the CPU.",
        ),
    ] = "auto"
    batch_size: Annotated[int, typer.Option("--batch-size", help="Samples encoded at a time.", min=1)] = 32
    seed: Annotated[int, typer.Option("--seed", help="Seed of whatever draws random numbers.")] = 0
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Keep features in this folder, and use those already there.")
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from a stopped run: --cache in the user's cache folder.")
    ] = False
    rows: Annotated[
        Path | None,
        typer.Option(
            "--rows", help="Write what was measured to this .csv file: name, label and SHA-256 of each sample."
        ),
    ] = None
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write the JSON object to this file.")] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")] = (
        False
    )
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="A TOML file whose keys are flags of this command; they become its defaults.",
            is_eager=True,
            callback=_use_config,
        ),
    ] = None

    def check_writable(self) -> None:
        """Raise FileError now, before the work, where ``out`` or ``rows`` could not be written after it."""
        from clipx.cli._output import check_writable

        check_writable(self.out)
        check_writable(self.rows)

    def open_space(self, name: str | None = None, backend: str | None = None) -> JointSpace:
        """Load the space of that name, ``space`` by default, and seed the generators.

        Args:
            name: as ``clipx.load_space`` takes it.
            backend: instead of the flag's; ``"torch"`` for what needs gradients, stages, dense maps or attention.

        Raises:
            InputError, SpaceError: see ``clipx.load_space``.
        """
        from clipx.cli._work import open_space

        return open_space(name or self.space, self.device, self.dtype, self.seed, backend or self.backend)

    def cache_folder(self) -> Path | None:
        """Where features are kept; None for nowhere."""
        from clipx.cli._work import cache_folder

        return cache_folder(self.cache, self.resume)

    def conditions(self) -> list[tuple[str, str]]:
        """``where`` as pairs of column and value. Raises InputError."""
        return conditions(self.where)

    def emit(self, record: dict[str, Any], table: Callable[[], None]) -> None:
        """Print the record as JSON or as a table, and write it to ``out``."""
        from clipx.cli._output import emit

        emit(record, self.as_json, table, self.out)

    def conclude(
        self,
        record: dict[str, Any],
        failures: Mapping[str, ClipxError],
        table: Callable[[], None],
        skipped: Mapping[str, int] | None = None,
        stopped: bool = False,
        made: bool = False,
    ) -> None:
        """``emit`` at the end of a run over many files; see ``clipx.cli._work.conclude``.

        Raises:
            KeyboardInterrupt: it was ``stopped``; the record holds what was done until then.
        """
        from clipx.cli._work import conclude

        if stopped:
            self.emit(record, table)
            raise KeyboardInterrupt
        conclude(record, failures, self.as_json, table, self.out, skipped, made)


def takes(*names: str, **defaults: Any) -> Callable[[Any], Any]:
    """Turn a command's keyword-only parameters of dataclass types into flags; it gets them filled.

    Of ``RunOptions`` the fields named here are taken; of any other dataclass, annotated as parameters are, all.

    >>> @takes("space", "device", batch_size=8)                                  # doctest: +SKIP
    ... def measure(data: Path, *, run: RunOptions) -> None: ...

    Args:
        names: of fields of ``RunOptions``, in the order of their flags.
        defaults: fields of it that are taken with another default than their own.
    """
    chosen = [*names, *(name for name in defaults if name not in names)]

    def decorate(command: Any) -> Any:
        own = list(inspect.signature(command, eval_str=True).parameters.values())
        groups: dict[str, tuple[Any, list[inspect.Parameter]]] = {
            one.name: (one.annotation, _parameters(one.annotation, chosen, defaults))
            for one in own
            if is_dataclass(one.annotation)
        }

        def call(**values: Any) -> Any:
            given = {}
            for name, (kind, flags) in groups.items():
                given[name] = kind(**{flag.name: values.pop(flag.name, flag.default) for flag in flags})
            return command(**values, **given)

        expanded = [groups[one.name][1] if one.name in groups else [one] for one in own]
        return with_parameters(command, call, list(chain.from_iterable(expanded)))

    return decorate


def _parameters(kind: Any, chosen: Sequence[str], defaults: Mapping[str, Any]) -> list[inspect.Parameter]:
    """A dataclass's fields as parameters that typer turns into flags; of ``RunOptions`` the chosen ones."""
    hints = get_type_hints(kind, include_extras=True)
    own = {one.name: one.default for one in fields(kind)}
    if kind is RunOptions:
        own = {name: defaults.get(name, own[name]) for name in chosen}
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(name, keyword_only, default=own[name], annotation=hints[name]) for name in own]
