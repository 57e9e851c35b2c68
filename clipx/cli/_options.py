"""What commands share: one dataclass whose fields become the flags of every command that takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from clipx.cli._flags import _use_config, condition, with_parameters

if TYPE_CHECKING:
    from clipx.errors import ClipxError
    from clipx.space import JointSpace


def flag(name: str, *short: str, help: str, **more: Any) -> dict[str, Any]:
    """Metadata of a dataclass field that becomes a flag; ``more`` is typer's."""
    return {"flags": (name, *short), "help": help, "more": more}


@dataclass(frozen=True)
class RunOptions:
    """How a command runs and where its results go; a field that a command does not take keeps its default."""

    modality: str | None = field(
        default=None,
        metadata=flag("--modality", help="What the files are, whatever their suffix. Default: what their suffix says."),
    )
    where: list[str] | None = field(
        default=None,
        metadata=flag("--where", help="Keep rows with column=value; several must all hold.", show_default=False),
    )
    prompts: str | None = field(
        default=None,
        metadata=flag(
            "--prompts",
            help="A prompt set's name (photo, imagenet, sketch, plain, ...), one template with {}, or @file.json with "
            "a list of templates or an object of label -> sentences. Default: the modality's own set.",
            show_default=False,
        ),
    )
    space: str | None = field(
        default=None,
        metadata=flag(
            "--space",
            help="The joint space: lite or another embedded one, an open_clip name such as ViT-B-32-quickgelu/openai, "
            "hf-hub:..., a folder. Default: $CLIPX_SPACE, else the user's config file, else lite.",
            show_default=False,
        ),
    )
    device: str = field(default="cpu", metadata=flag("--device", help="Where to compute: cpu, cuda, cuda:1, mps."))
    dtype: Literal["float32", "bfloat16", "float16"] = field(
        default="float32", metadata=flag("--dtype", help="Precision of the backbone.")
    )
    batch_size: int = field(default=32, metadata=flag("--batch-size", help="Samples encoded at a time.", min=1))
    seed: int = field(default=0, metadata=flag("--seed", help="Seed of whatever draws random numbers."))
    cache: Path | None = field(
        default=None, metadata=flag("--cache", help="Keep features in this folder, and use those already there.")
    )
    resume: bool = field(
        default=False,
        metadata=flag("--resume", help="Go on from a stopped run: --cache in the user's cache folder."),
    )
    rows: Path | None = field(
        default=None,
        metadata=flag(
            "--rows", help="Write what was measured to this .csv file: name, label and SHA-256 of each sample."
        ),
    )
    out: Path | None = field(
        default=None, metadata=flag("--out", "-o", help="Also write the JSON object to this file.")
    )
    as_json: bool = field(
        default=False, metadata=flag("--json", help="Print one JSON object on stdout and nothing else there.")
    )
    config: Path | None = field(
        default=None,
        metadata=flag(
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
    """Turn a command's keyword-only parameters of dataclass types into flags; it gets them filled.

    Of ``RunOptions`` the fields named here are taken; of any other dataclass, whose fields have ``flag`` as metadata,
    all.

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
    known, hints = {own.name: own for own in fields(kind)}, get_type_hints(kind)
    replaced = defaults if kind is RunOptions else {}
    found = []
    for name in chosen if kind is RunOptions else known:
        about = known[name].metadata
        hint: Any = hints[name]
        annotation = Annotated[hint, typer.Option(*about["flags"], help=about["help"], **about["more"])]
        default = replaced.get(name, known[name].default)
        found.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation))
    return found
