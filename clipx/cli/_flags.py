"""Flags made from the modalities' ``Config`` fields, and what builds a command's flags."""

from __future__ import annotations

import functools
import inspect
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
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


@dataclass(frozen=True)
class Given:
    """A modality setting that the user gave: its flag, its value, and modality -> field for those that have it."""

    flag: str
    value: Any
    owners: Mapping[str, str]
    required: bool = True  # whether it is a mistake to give it to a modality that has no such field


def conditions(texts: Sequence[str] | None, flag: str = "--where") -> list[tuple[str, str]]:
    """Each ``column=value`` that a flag was given, as a pair. Raises InputError."""
    pairs = []
    for text in texts or ():
        column, equals, value = text.partition("=")
        if not equals or not column.strip():
            raise InputError(f"expected column=value, got {text!r}", where=flag)
        pairs.append((column.strip(), value.strip()))
    return pairs


def with_settings(command: Any) -> Any:
    """Turn a command's ``**settings`` into one flag for each field of the installed modalities' ``Config``.

    The flag's help is the field's ``metadata["help"]``; a tuple is written ``1,2,3``. The command gets
    ``name=Given(...)`` for each flag that was given. ``seed`` takes the command's own ``--seed``; any other name that
    is taken is prefixed with the modality's. A field of a type that no flag can give can be set from Python only.
    """
    signature = inspect.signature(command, eval_str=True) if inspect.isfunction(command) else None
    own = list(signature.parameters.values()) if signature else []
    if signature is None or not own or own[-1].kind is not inspect.Parameter.VAR_KEYWORD:
        return command
    flags = _settings({parameter.name for parameter in own})

    def run(**values: Any) -> Any:
        given: dict[str, Given] = {}
        for name, flag in flags.items():
            value = values.get("seed") if flag.shared else values.pop(name)
            if value is not None:
                given[name] = Given(flag.flag, flag.read(value), flag.owners, required=not flag.shared)
        return command(**values, **given)

    added = [flag.parameter(name) for name, flag in flags.items() if not flag.shared]
    return with_parameters(command, run, own[:-1] + added)


def with_parameters(command: Any, run: Callable[..., Any], parameters: Sequence[inspect.Parameter]) -> Any:
    """``run`` under the name and the help of ``command``, with these parameters, which typer turns into flags."""
    wrapped: Any = functools.wraps(command)(run)
    del wrapped.__wrapped__  # typer would read the annotations of what it wraps
    wrapped.__signature__ = inspect.Signature(parameters)
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapped


def settings_of(names: Iterable[str], settings: Mapping[str, Given]) -> dict[str, dict[str, Any]]:
    """Modality name -> its part of the settings that were given.

    Raises:
        InputError: a flag that belongs to none of these modalities.
    """
    chosen: dict[str, dict[str, Any]] = {name: {} for name in names}
    for given in settings.values():
        having = [name for name in chosen if name in given.owners]
        if given.required and not having:
            raise InputError(
                f"{given.flag} is a setting of {' and '.join(given.owners)}, not of {' and '.join(chosen)}",
                remedy="leave it out, or name the modality with --modality",
            )
        for name in having:
            chosen[name][given.owners[name]] = given.value
    return chosen


@dataclass(frozen=True)
class _Flag:
    flag: str
    hint: Any  # the field's type, without None
    help: str
    owners: dict[str, str]
    shared: bool = False

    def parameter(self, name: str) -> inspect.Parameter:
        declared = f"{self.flag}/--no-{self.flag[2:]}" if self.hint is bool else self.flag
        option = typer.Option(
            declared, help=self.help, rich_help_panel=f"Settings of {next(iter(self.owners))}", show_default=False
        )
        kind: Any = str if get_origin(self.hint) is tuple else self.hint
        annotation = Annotated[Union[kind, None], option]  # noqa: UP007  # a Literal has no |
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)

    def read(self, value: Any) -> Any:
        """The value as the field wants it: a tuple is cut at the commas."""
        if get_origin(self.hint) is not tuple:
            return value
        parts, kinds = value.split(","), get_args(self.hint)
        kinds = kinds[:1] * len(parts) if kinds[-1] is Ellipsis else kinds
        try:
            return tuple(kind(part.strip()) for kind, part in zip(kinds, parts, strict=True))
        except ValueError as error:
            wanted = ",".join(kind.__name__ for kind in kinds)
            raise InputError(f"expected {wanted}, got {value!r}", where=self.flag) from error


def _settings(taken: set[str]) -> dict[str, _Flag]:
    """Parameter name -> flag, over all modalities; two that agree on a field's name and type share its flag."""
    from clipx.registry import MODALITIES, get_modality, registered

    flags: dict[str, _Flag] = {}
    for modality in registered(MODALITIES):
        try:
            config = get_modality(modality).Config
            hints, own = get_type_hints(config), fields(config)
        except Exception:  # a broken plug-in has no flags; `clipx modalities` says why
            continue
        for field in own:
            hint, name = _without_none(hints[field.name]), field.name
            if not _expressible(hint):
                continue
            shared = name == "seed" and name in taken
            if shared:
                name = "seed of modalities"  # no parameter of its own
            elif name in taken or (name in flags and flags[name].hint != hint):
                name = f"{modality}_{name}"
            if name in flags:
                flags[name].owners[modality] = field.name
                continue
            flag = "--seed" if shared else "--" + name.replace("_", "-")
            default = "" if field.default in (None, MISSING) else f"  [default: {field.default}]"
            flags[name] = _Flag(flag, hint, field.metadata.get("help", "") + default, {modality: field.name}, shared)
    return flags


def _without_none(hint: Any) -> Any:
    if get_origin(hint) not in (Union, UnionType):
        return hint
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    return kinds[0] if len(kinds) == 1 else hint


def _expressible(hint: Any) -> bool:
    """Whether a flag can give a value of this type."""
    plain = (str, int, float, Path)
    if get_origin(hint) is tuple:
        return all(kind in plain or kind is Ellipsis for kind in get_args(hint))
    return hint in (*plain, bool) or get_origin(hint) is Literal
