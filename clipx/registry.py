"""Finds modalities, tasks and commands through entry points, the built-in ones included.

A plug-in that is broken, or that claims what another one owns, is an error for those who ask for it and nobody else.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipx.errors import ContractError, InputError

if TYPE_CHECKING:  # importing it imports torch, and `clipx --help` need not
    from clipx.modality import Modality
    from clipx.task import Task

MODALITIES = "clipx.modalities"
TASKS = "clipx.tasks"
COMMANDS = "clipx.commands"


@lru_cache
def registered(group: str) -> dict[str, EntryPoint]:
    """Name -> entry point of a group, sorted by name; nothing is imported. Of rivals for a name the first one."""
    return {name: points[0] for name, points in _claims(group).items()}


def load(point: EntryPoint) -> Any:
    """What an entry point names.

    Raises:
        ContractError: two plug-ins have that name, or it cannot be imported.
    """
    rivals = [other.value for other in _claims(point.group).get(point.name, ())]
    if len(rivals) > 1:
        raise ContractError(f"two plug-ins are named {point.name!r}: {' and '.join(rivals)}", remedy="uninstall one")
    try:
        return point.load()
    except Exception as error:  # whatever a third-party module raises
        raise ContractError(
            f"plug-in {point.name!r} ({point.value}) cannot be imported: {type(error).__name__}: {error}",
            remedy="repair or uninstall the package that brings it",
        ) from error


@lru_cache
def get_modality(name: str) -> type[Modality]:
    """The modality class of that name.

    Raises:
        InputError: no such modality is installed.
        ContractError: what is registered under the name cannot be imported, is not a Modality, or is two of them.
    """
    from clipx.modality import Modality

    cls: type[Modality] = _registered_class(MODALITIES, name, Modality, "modality")
    if not isinstance(getattr(cls, "suffixes", None), tuple):
        raise ContractError(f"{registered(MODALITIES)[name].value} names no suffixes")
    return cls


@lru_cache
def get_task(name: str) -> type[Task[Any, Any]]:
    """The task class of that name; ``registered(TASKS)`` lists them.

    Raises:
        InputError: no such task is installed.
        ContractError: what is registered under the name cannot be imported, is not a Task, or is two of them.
    """
    from clipx.task import Task

    found: type[Task[Any, Any]] = _registered_class(TASKS, name, Task, "task")
    return found


def _registered_class(group: str, name: str, base: type, kind: str) -> Any:
    """The class of that name in a group, a subclass of ``base``."""
    points = registered(group)
    if name not in points:
        raise InputError(f"no {kind} named {name!r}", remedy=f"installed: {', '.join(points)}")
    cls = load(points[name])
    if not (isinstance(cls, type) and issubclass(cls, base) and getattr(cls, "name", None) == name):
        raise ContractError(f"{points[name].value} is not a {base.__name__} named {name!r}")
    return cls


def version_of(name: str) -> str:
    """The version of the package that brings a modality; "" where it is not known."""
    point = registered(MODALITIES).get(name)
    return point.dist.version if point and point.dist else ""


def modality_of(path: str | PathLike) -> str:
    """The modality that reads this file, by its suffix; where two may read such files, by a look into it.

    Where two own a suffix ``Modality.claims`` decides. What its owner does not claim goes to the one that reads a track
    of such files: a film without pictures is a sound.

    Raises:
        InputError: no installed modality that works owns the suffix.
        ContractError: two of them claim it.
    """
    owners, broken = _by_suffix("suffixes")
    suffix = Path(path).suffix.lower()
    if suffix not in owners:
        remedy = f"known: {' '.join(owners)}"
        if broken:
            remedy += f"; broken plug-ins: {', '.join(broken)} (see clipx modalities)"
        raise InputError(f"no modality reads {suffix or 'a file without suffix'}", where=path, remedy=remedy)
    claiming = _claiming(owners[suffix], path) if len(owners[suffix]) > 1 else owners[suffix]
    if len(claiming) > 1:
        names = " and ".join(map(repr, claiming))
        raise ContractError(f"modalities {names} both claim {suffix}", remedy="name one, or uninstall the other")
    readers = track_readers(suffix)
    return claiming[0] if not readers or get_modality(claiming[0]).claims(path) else readers[0]


def modality_taking(value: Any) -> str | None:
    """The modality that takes an object of a user's program, see ``clipx.modality.TakesObjects``; None where none does.

    Raises:
        ContractError: two of them take it.
    """
    names = [name for name, cls in object_takers().items() if cls.takes(value)]
    if len(names) > 1:
        both = " and ".join(map(repr, names))
        raise ContractError(f"modalities {both} both take a {type(value).__name__}", remedy="name one: modality=...")
    return names[0] if names else None


@lru_cache
def object_takers() -> dict[str, Any]:
    """Name -> class of the modalities that take objects. One that cannot be loaded takes none."""
    found = {}
    for name in registered(MODALITIES):
        with suppress(ContractError):
            if hasattr(cls := get_modality(name), "takes"):
                found[name] = cls
    return found


def track_readers(suffix: str) -> list[str]:
    """Names of the modalities that read a track of files of this suffix, see ``clipx.modality.ReadsTracks``."""
    return _by_suffix("tracks_of")[0].get(suffix.lower(), [])


def is_shared(suffix: str) -> bool:
    """Whether several modalities may read files of a suffix, so that ``modality_of`` looks into them."""
    return len(_by_suffix("suffixes")[0].get(suffix, ())) > 1 or bool(track_readers(suffix))


def _claiming(names: list[str], path: str | PathLike) -> list[str]:
    """Those that a file of a shared suffix goes to: see ``Modality.claims``."""
    from clipx.modality import looks_into_files

    looking = [name for name in names if looks_into_files(get_modality(name))]
    claiming = [name for name in looking if get_modality(name).claims(path)]
    return claiming or [name for name in names if name not in looking] or looking


@lru_cache
def _by_suffix(attribute: str) -> tuple[dict[str, list[str]], list[str]]:
    """Suffix -> names of the modalities that list it under an attribute, and of those that cannot be loaded."""
    names: dict[str, list[str]] = {}
    broken = []
    for name in registered(MODALITIES):
        try:
            suffixes = getattr(get_modality(name), attribute, ())
        except ContractError:
            broken.append(name)
            continue
        for suffix in dict.fromkeys(suffixes):
            names.setdefault(suffix, []).append(name)
    return names, broken


@lru_cache
def _claims(group: str) -> dict[str, list[EntryPoint]]:
    """Name -> the entry points of that name that lead to different places, sorted by name."""
    claims: dict[str, list[EntryPoint]] = {}
    for point in sorted(entry_points(group=group), key=lambda p: p.name):
        own = claims.setdefault(point.name, [])
        if point.value not in [other.value for other in own]:  # one package may be on the path twice
            own.append(point)
    return claims
