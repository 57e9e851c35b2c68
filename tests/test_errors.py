"""Every error is one line with what, where and the remedy, and is also the builtin that a caller would expect."""

from pathlib import Path

import pytest

from clipx import errors
from clipx.errors import ClipxError

CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, ClipxError)]
BUILTINS = {
    "InputError": ValueError,
    "FileError": OSError,
    "NoTrackError": OSError,
    "SpaceError": ValueError,
    "SpaceMismatchError": ValueError,
    "VocabularyError": ValueError,
    "UnsupportedError": NotImplementedError,
    "MissingDependencyError": ImportError,
    "ContractError": TypeError,
}


@pytest.mark.parametrize("cls", CLASSES)
def test_the_line(cls):
    error = cls("too\n  small", where=Path("a.png"), remedy="use a larger one")
    assert str(error) == "a.png: too small; use a larger one"
    assert (error.where, error.remedy) == ("a.png", "use a larger one")
    assert str(cls("too small")) == "too small"
    assert cls.__doc__


def test_builtins():
    found = {c.__name__: next(b for b in c.__mro__ if b.__module__ == "builtins") for c in CLASSES}
    assert found == BUILTINS | {"ClipxError": Exception}


def test_a_package_that_raises_clipx_errors_can_be_caught_as_one():
    with pytest.raises(ClipxError):
        raise errors.FileError("gone", where="a.png") from FileNotFoundError(2, "No such file")
