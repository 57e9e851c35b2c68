"""What commands share: one dataclass whose fields become the flags of every command that takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from clipx.cli._flags import _use_config, with_parameters

if TYPE_CHECKING:
    from clipx.errors import ClipxError
    from clipx.space import JointSpace


def _flag(flag: str, *short: str, help: str, **more: Any) -> dict[str, Any]:
    """What a field's flag is called and says; ``more`` is typer's."""
    return {"flags": (flag, *short), "help": help, "more": more}


@dataclass(frozen=True)
class RunOptions:
    """How a command runs and where its results go; a field that a command does not take keeps its default."""

    modality: str | None = field(
        default=None,
        metadata=_flag(
            "--modality", help="What the files are, whatever their suffix. Default: what their suffix says."
        ),
    )
    where: list[str] | None = field(
        default=None,
        metadata=_flag("--where", help="Keep rows with column=value; several must all hold.", show_default=False),
    )
    prompts: str | None = field(
        default=None,
        metadata=_flag(
            "--prompts",
            help="A prompt set's name (photo, imagenet, sketch, plain, ...), one template with {}, or @file.json with "
            "a list of templates or an object of label -> sentences. Default: the modality's own set.",
            show_default=False,
        ),
    )
    space: str | None = field(
        default=None,
        metadata=_flag(
            "--space",
            help="The joint space: lite or another embedded one, an open_clip name such as ViT-B-32-quickgelu/openai, "
            "hf-hub:..., a folder. Default: $CLIPX_SPACE, else the user's config file, else lite.",
            show_default=False,
        ),
    )
    device: str = field(default="cpu", metadata=_flag("--device", help="Where to compute: cpu, cuda, cuda:1, mps."))
    dtype: Literal["float32", "bfloat16", "float16"] = field(
        default="float32", metadata=_flag("--dtype", help="Precision of the backbone.")
    )
    batch_size: int = field(default=32, metadata=_flag("--batch-size", help="Samples encoded at a time.", min=1))
    seed: int = field(default=0, metadata=_flag("--seed", help="Seed of whatever draws random numbers."))
    cache: Path | None = field(
        default=None, metadata=_flag("--cache", help="Keep features in this folder, and use those already there.")
    )
    resume: bool = field(
        default=False,
        metadata=_flag("--resume", help="Go on from a stopped run: --cache in the user's cache folder."),
    )
    rows: Path | None = field(
        default=None,
        metadata=_flag(
            "--rows", help="Write what was measured to this .csv file: name, label and SHA-256 of each sample."
        ),
    )
    out: Path | None = field(
        default=None, metadata=_flag("--out", "-o", help="Also write the JSON object to this file.")
    )
    as_json: bool = field(
        default=False, metadata=_flag("--json", help="Print one JSON object on stdout and nothing else there.")
    )
    config: Path | None = field(
        default=None,
        metadata=_flag(
            "--config",
            help="A TOML file whose keys are flags of this command; they become its defaults.",
            is_eager=True,
            callback=_use_config,
        ),
    )

    def check_writable(self) -> None:
        """Raise FileError now, before the work, where ``out`` or ``rows`` could not be written after it."""
        from clipx.cli._output import check_writable

        check_writable(self.out)
        check_writable(self.rows)

    def open_space(self) -> JointSpace:
        """Load the space, and seed the generators; see ``clipx.cli._work.open_space``."""
        from clipx.cli._work import open_space

        return open_space(self.space, self.device, self.dtype, self.seed)

    def cache_folder(self) -> Path | None:
        """Where features are kept; None for nowhere."""
        from clipx.cli._work import cache_folder

        return cache_folder(self.cache, self.resume)

    def conditions(self) -> list[tuple[str, str]]:
        """``where`` as pairs of column and value. Raises InputError."""
        from clipx.cli.evaluate import condition

        return [condition(text) for text in self.where or ()]

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
    ) -> None:
        """``emit`` at the end of a run over many files; see ``clipx.cli._work.conclude``."""
        from clipx.cli._work import conclude

        conclude(record, failures, self.as_json, table, self.out, skipped)


def takes(*names: str, **defaults: Any) -> Callable[[Any], Any]:
    """Give a command the flags of these fields of ``RunOptions``; it gets them as its last parameter, ``run``.

    >>> @takes("space", "device", batch_size=8)                                  # doctest: +SKIP
    ... def measure(data: Path, *, run: RunOptions) -> None: ...

    Args:
        names: of fields, in the order of their flags.
        defaults: fields that are taken with another default than their own.
    """
    known, hints = {own.name: own for own in fields(RunOptions)}, get_type_hints(RunOptions)

    def parameter(name: str) -> inspect.Parameter:
        own = known[name]
        option = typer.Option(*own.metadata["flags"], help=own.metadata["help"], **own.metadata["more"])
        default = defaults.get(name, own.default)
        kind = inspect.Parameter.KEYWORD_ONLY
        return inspect.Parameter(name, kind, default=default, annotation=Annotated[hints[name], option])

    flags = [parameter(name) for name in [*names, *(name for name in defaults if name not in names)]]

    def decorate(command: Any) -> Any:
        own = list(inspect.signature(command, eval_str=True).parameters.values())
        place = next(i for i, one in enumerate(own) if one.name == "run")

        def call(**values: Any) -> Any:
            options = RunOptions(**{flag.name: values.pop(flag.name) for flag in flags})
            return command(**values, run=options)

        return with_parameters(command, call, [*own[:place], *flags, *own[place + 1 :]])

    return decorate
