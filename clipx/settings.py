"""What an index or a saved classifier keeps of a modality's ``Config`` and of its space, as JSON has it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any


def plain(value: Any) -> Any:
    """In JSON's types, so that what was read compares with what is given; files by a name that holds in any folder."""
    if isinstance(value, dict):
        return {key: plain(own) for key, own in value.items()}
    if isinstance(value, os.PathLike) or (isinstance(value, str) and os.sep in value and os.path.exists(value)):
        return os.path.abspath(Path(value).expanduser())
    return json.loads(json.dumps(value))


def source_of(space: str | os.PathLike[str]) -> str:
    """What ``clipx.load_space`` takes to load a space again from any working folder: a name, or an absolute path."""
    here = Path(space).expanduser()
    return str(here.resolve()) if here.is_dir() else os.fspath(space)


def restored(config: type[Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a ``Config`` class, of what ``plain`` made of its fields."""
    kinds = {one.name: str(one.type) for one in fields(config)}
    return {key: _restored(value, kinds.get(key, "")) for key, value in stored.items()}


def _restored(value: Any, kind: str) -> Any:
    if isinstance(value, list):
        return tuple(_restored(item, "") for item in value)
    return Path(value) if isinstance(value, str) and "Path" in kind else value
