"""Flags that several commands share, and flags made from the modalities' ``Config`` fields."""

from __future__ import annotations

import functools
import inspect
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from clipx.errors import FileError, InputError


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict. Raises FileError for a file that is missing or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"cannot be read ({error.strerror})", where=path) from error
    except ValueError as error:
        raise FileError(f"is not valid TOML: {error}", where=path) from error


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
        defaults[param.name] = value if isinstance(value, bool | list) else str(value)
    ctx.default_map = defaults


SpaceFlag = Annotated[
    str | None,
    typer.Option(
        "--space",
        help="The joint space: nano, an open_clip name such as ViT-B-32-quickgelu/openai, hf-hub:..., or a folder. "
        "Default: $CLIPX_SPACE, else the user's config file, else nano.",
        show_default=False,
    ),
]
DeviceFlag = Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1, mps.")]
DtypeFlag = Annotated[
    Literal["float32", "bfloat16", "float16"], typer.Option("--dtype", help="Precision of the backbone.")
]
BatchFlag = Annotated[int, typer.Option("--batch-size", help="Samples encoded at a time.", min=1)]
SeedFlag = Annotated[int, typer.Option("--seed", help="Seed of whatever draws random numbers.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
OutFlag = Annotated[Path | None, typer.Option("--out", "-o", help="Also write the JSON object to this file.")]
ModalityFlag = Annotated[
    str | None, typer.Option("--modality", help="What the files are; told by their suffix when left out.")
]
PromptsFlag = Annotated[
    str | None,
    typer.Option(
        "--prompts",
        help="A prompt set's name (photo, imagenet, sketch, plain, ...), one template with {}, or @file.json with a "
        "list of templates or an object of label -> sentences. Default: the modality's own set.",
        show_default=False,
    ),
]
CacheFlag = Annotated[
    Path | None, typer.Option("--cache", help="Keep features in this folder, and use those already there.")
]
ResumeFlag = Annotated[
    bool, typer.Option("--resume", help="Go on from a stopped run: --cache in the user's cache folder.")
]
ConfigFlag = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="A TOML file whose keys are flags of this command; they become its defaults.",
        is_eager=True,
        callback=_use_config,
    ),
]


@dataclass(frozen=True)
class Given:
    """A modality setting that the user gave: its flag, its value, and modality -> field for those that have it."""

    flag: str
    value: Any
    owners: Mapping[str, str]


def with_settings(command: Any) -> Any:
    """Turn a command's ``**settings`` into one flag for each field of the installed modalities' ``Config``.

    The flag's help is the field's ``metadata["help"]``. The command gets ``name=Given(...)`` for each flag that was
    given. Where a field's name means something else already, the flag is prefixed with the modality's name. Fields of
    types that a command line cannot say (other than str, int, float, bool, Path, Literal and ``| None``) get no flag.
    """
    signature = inspect.signature(command, eval_str=True) if inspect.isfunction(command) else None
    own = list(signature.parameters.values()) if signature else []
    if not own or own[-1].kind is not inspect.Parameter.VAR_KEYWORD:
        return command
    flags = _settings({parameter.name for parameter in own})

    @functools.wraps(command)
    def run(**values: Any) -> Any:
        given = {
            name: Given(flag, value, owners)
            for name, (flag, _, owners) in flags.items()
            if (value := values.pop(name)) is not None
        }
        return command(**values, **given)

    del run.__wrapped__  # typer would read the annotations of what it wraps
    run.__signature__ = signature.replace(parameters=own[:-1] + [p for _, p, _ in flags.values()])  # type: ignore
    run.__annotations__ = {p.name: p.annotation for p in run.__signature__.parameters.values()}
    return run


def settings_of(names: Iterable[str], settings: Mapping[str, Given]) -> dict[str, dict[str, Any]]:
    """Modality name -> its part of the settings that were given.

    Raises:
        InputError: a flag that belongs to none of these modalities.
    """
    chosen: dict[str, dict[str, Any]] = {name: {} for name in names}
    for given in settings.values():
        having = [name for name in chosen if name in given.owners]
        if not having:
            raise InputError(
                f"{given.flag} is a setting of {' and '.join(given.owners)}, not of {' and '.join(chosen)}",
                remedy="leave it out, or name the modality with --modality",
            )
        for name in having:
            chosen[name][given.owners[name]] = given.value
    return chosen


def _settings(taken: set[str]) -> dict[str, tuple[str, inspect.Parameter, dict[str, str]]]:
    """Parameter name -> (flag, parameter, modality -> field)."""
    from clipx.registry import MODALITIES, get_modality, registered

    flags: dict[str, tuple[str, inspect.Parameter, dict[str, str]]] = {}
    for modality in registered(MODALITIES):
        try:
            config = get_modality(modality).Config
        except Exception:  # a plug-in that cannot be imported has no flags; `clipx modalities` tells why
            continue
        hints = get_type_hints(config)
        for field in fields(config):
            kind = _sayable(hints[field.name])
            if kind is None:
                continue
            name = field.name
            if name in taken or (name in flags and get_args(flags[name][1].annotation)[0] != kind):
                name = f"{modality}_{name}"
            flag = "--" + name.replace("_", "-")
            if name in flags:
                flags[name][2][modality] = field.name
                continue
            option = typer.Option(
                f"{flag}/--no-{flag[2:]}" if bool in get_args(kind) else flag,
                help=field.metadata.get("help"),
                rich_help_panel=f"Settings of {modality}",
                show_default=str(field.default) if isinstance(field.default, str | int | float) else False,
            )
            parameter = inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
            )
            flags[name] = (flag, parameter, {modality: field.name})
    return flags


def _sayable(hint: Any) -> Any:
    """``hint | None`` where a flag can give such a value, else None."""
    kinds = [k for k in get_args(hint) if k is not NoneType] if get_origin(hint) in (Union, UnionType) else [hint]
    if len(kinds) != 1 or (kinds[0] not in (str, int, float, bool, Path) and get_origin(kinds[0]) is not Literal):
        return None
    return kinds[0] | None if isinstance(kinds[0], type) else Union[kinds[0], None]  # noqa: UP007
