"""Files of pretrained wheels, known by their hashes."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from clipx.errors import FileError, MissingDependencyError


def wheel_file(module: str, inside: str, sha256: str, remedy: str) -> Path:
    """A file of an installed wheel, once its hash is the expected one. The wheel is not imported.

    Args:
        module: the wheel's import name.
        inside: path of the file in it.
        sha256: of the file.
        remedy: how the wheel is installed.

    Raises:
        MissingDependencyError: the wheel is not installed. FileError: the file is missing or another.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(f"the recipe needs the wheel {module.replace('_', '-')}", remedy=remedy)
    path = Path(next(iter(spec.submodule_search_locations))) / inside
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise FileError(f"cannot be read ({error.strerror})", where=path, remedy=remedy) from error
    if found != sha256:
        raise FileError(f"is not the file that the recipe was made with (SHA-256 {found[:12]}...)", where=path)
    return path
