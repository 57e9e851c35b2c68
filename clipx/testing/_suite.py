"""What the contract suites share: a promise is a function, and a check is one promise of one subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from clipx.errors import ContractError

Given = TypeVar("Given")


@dataclass(frozen=True, eq=False)
class Check(Generic[Given]):
    """One promise; ``check(given)`` raises ContractError where it is broken.

    Args:
        promise: takes a subject.
        subject: what the check is given (a space, a folder) -> the subject to examine.
        where: names the examined class in an error.
    """

    promise: Callable[[Any], None]
    subject: Callable[[Given], Any]
    where: str

    @property
    def name(self) -> str:
        return self.promise.__name__

    @property
    def __name__(self) -> str:  # pytest's id
        return self.name

    def __call__(self, given: Given) -> None:
        try:
            self.promise(self.subject(given))
        except ContractError:
            raise
        except KeyboardInterrupt as error:
            if type(error) is KeyboardInterrupt:  # the user's own; a task raises a subclass
                raise
            raise ContractError(f"raised {type(error).__name__}: {error}", where=self.where) from error
        except Exception as error:
            raise ContractError(f"raised {type(error).__name__}: {error}", where=self.where) from error


def run_all(checks: Iterable[Check[Given]], give: Callable[[], Given]) -> None:
    """Run every check. Raises ContractError with one sentence for each broken promise."""
    broken = []
    for check in checks:
        try:
            check(give())
        except ContractError as error:
            broken.append(f"{check.name}: {error}")
    if broken:
        raise ContractError("; ".join(broken))
