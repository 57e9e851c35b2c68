"""Every exception clipx raises: one line that says what, where and the remedy.

Each class also inherits the builtin a caller would expect, so ``except ValueError`` keeps working.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from os import PathLike
from typing import Any

import clipx

if clipx.__file__ is None:  # a folder named clipx lies nearer on sys.path, such as a clone's beside the script
    folder = next(iter(clipx.__path__))
    raise ImportError(f"the folder {folder} hides the package clipx; rename it, or run from elsewhere", name="clipx")


class ClipxError(Exception):
    """Base of all clipx errors. The CLI prints ``str(error)`` and exits with status 2.

    Args:
        what: what is wrong, expected and got.
        where: the file, argument or item it is wrong in.
        remedy: what the user can do about it.
    """

    def __init__(self, what: str, *, where: str | PathLike | None = None, remedy: str | None = None):
        self.what, self.where, self.remedy = what, None if where is None else str(where), remedy
        line = what if self.where is None else f"{self.where}: {what}"
        super().__init__(" ".join((line if remedy is None else f"{line}; {remedy}").split()))

    def __reduce__(self) -> tuple[Any, ...]:  # whole in another process, too
        return partial(type(self), where=self.where, remedy=self.remedy), (self.what,)

    def __str__(self) -> str:  # OSError would print only its strerror
        return str(self.args[0])


class InputError(ClipxError, ValueError):
    """An argument or the content of an input is unusable: empty cloud, NaN, duplicate label."""


class FileError(ClipxError, OSError):
    """A file is missing, unreadable, truncated, hostile or cannot be written."""


class NoTrackError(FileError):
    """A file has no track of the kind that is asked for, such as a film without sound."""


class SpaceError(ClipxError, ValueError):
    """A joint space cannot be loaded: unknown name, missing or corrupt weights, QuickGELU or tokenizer mismatch."""


class SpaceMismatchError(ClipxError, ValueError):
    """Embeddings of two different spaces were compared."""


class VocabularyError(ClipxError, ValueError):
    """An embedded space was asked about words it never saw."""


class UnsupportedError(ClipxError, NotImplementedError):
    """This backbone or modality cannot do what was asked (no patch tokens, no attention maps)."""


class MissingDependencyError(ClipxError, ImportError):
    """An optional package or a system library is not installed; the remedy is the install line."""


class ContractError(ClipxError, TypeError):
    """A plug-in breaks the Modality contract or claims what another plug-in owns."""


def first_line(error: BaseException) -> str:
    """The first line of a foreign error's message that is not empty, or the name of its class."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def well_formed(where: str | PathLike[str], remedy: str, what: str = "malformed") -> Iterator[None]:
    """Turn whatever the reading of a space's malformed file raises into a SpaceError; a ClipxError stays as it is."""
    try:
        yield
    except ClipxError:
        raise
    except Exception as error:
        raise SpaceError(f"{what}: {error!r}", where=where, remedy=remedy) from error
