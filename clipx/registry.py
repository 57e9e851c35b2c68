"""Finds modalities and commands through entry points, the built-in ones included."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from clipx.errors import ContractError, InputError

if TYPE_CHECKING:  # importing it imports torch, and `clipx --help` need not
    from clipx.modality import Modality

MODALITIES = "clipx.modalities"
COMMANDS = "clipx.commands"


@lru_cache
def registered(group: str) -> dict[str, EntryPoint]:
    """Name -> entry point of a group, sorted by name; nothing is imported. Two owners of one name are an error."""
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=group), key=lambda p: p.name):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise ContractError(
                f"two plug-ins are named {point.name!r}: {other.value} and {point.value}", remedy="uninstall one"
            )
    return found


@lru_cache
def get_modality(name: str) -> type[Modality]:
    """The modality class of that name.

    Raises:
        InputError: no such modality is installed.
        ContractError: what is registered under the name cannot be imported, or is not a Modality.
    """
    from clipx.modality import Modality

    points = registered(MODALITIES)
    if name not in points:
        raise InputError(f"no modality named {name!r}", remedy=f"installed: {', '.join(points)}")
    try:
        cls = points[name].load()
    except Exception as error:  # whatever a stranger's module trips over
        raise ContractError(
            f"modality {name!r} ({points[name].value}) cannot be imported: {type(error).__name__}: {error}",
            remedy="repair or uninstall the package that brings it",
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, Modality) and getattr(cls, "name", None) == name):
        raise ContractError(f"{points[name].value} is not a Modality named {name!r}")
    return cls


@lru_cache
def suffix_owners() -> dict[str, str]:
    """Suffix -> name of the one modality that owns it."""
    owners: dict[str, str] = {}
    for name in registered(MODALITIES):
        for suffix in get_modality(name).suffixes:
            if owners.setdefault(suffix, name) != name:
                raise ContractError(f"modalities {owners[suffix]!r} and {name!r} both claim {suffix}")
    return owners


def modality_of(path: str | PathLike) -> str:
    """The modality that reads this file, told by its suffix.

    Raises:
        InputError: no installed modality owns the suffix.
    """
    owners = suffix_owners()
    suffix = Path(path).suffix.lower()
    if suffix not in owners:
        raise InputError(
            f"no modality reads {suffix or 'a file without suffix'}", where=path, remedy=f"known: {' '.join(owners)}"
        )
    return owners[suffix]
