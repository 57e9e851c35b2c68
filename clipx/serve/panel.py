"""The contract of a panel: a tab of the page of ``clipx serve`` that does the work of a task.

A panel is registered by an entry point of the group ``clipx.panels``. Its Python side runs jobs and writes files; its
page side is an ES module, ``panel.js`` in ``assets``, that exports ``mount(root, page)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from clipx.errors import ContractError

if TYPE_CHECKING:
    from clipx.space import JointSpace

PANELS = "clipx.panels"


@dataclass(frozen=True)
class Download:
    """A file that a browser saves.

    Args:
        filename: what it is called.
        media_type: such as ``"image/png"``.
        content: its bytes.
    """

    filename: str
    media_type: str
    content: bytes


class Events(Protocol):
    """What a running job reports to its page, and whether the page wants it to stop."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        """How far it is; see ``clipx.task.OnProgress``."""

    def partial(self, record: Mapping[str, Any]) -> None:
        """A result as it is so far, as JSON."""

    def stop(self) -> bool:
        """Whether the job is to end at its next step."""


class Panel(ABC):
    """A tab of the page, and the jobs that it starts.

    Args:
        space: the joint space of the index, on torch.
    """

    name: ClassVar[str]  # the entry point's name
    title: ClassVar[str]  # of the tab
    assets: ClassVar[Path]  # a folder of static files, panel.js among them
    needs_file: ClassVar[bool] = True  # whether every job is about a file

    def __init__(self, space: JointSpace):
        self.space = space

    @abstractmethod
    def run(self, path: Path | None, settings: Mapping[str, Any], events: Events) -> Any:
        """Do a job in a thread of its own.

        Args:
            path: the file that was given, or None.
            settings: as the page sent them.
            events: progress, partial results, and whether to stop.

        Returns:
            The result, from which ``summary`` and ``download`` are made; the best so far where it was stopped.

        Raises:
            ClipxError: bad settings, a file that cannot be read, or a space that cannot do it.
        """

    @abstractmethod
    def summary(self, result: Any) -> dict[str, Any]:
        """What the page shows of a result, as JSON."""

    @abstractmethod
    def download(self, result: Any, name: str, options: Mapping[str, str]) -> Download:
        """A file of a result. Raises InputError for an unknown name or a bad option."""


def get_panels() -> dict[str, type[Panel]]:
    """The installed panels by name.

    Raises:
        ContractError: what is registered cannot be imported, or is no Panel of that name.
    """
    from clipx.registry import load, registered

    found: dict[str, type[Panel]] = {}
    for name, point in registered(PANELS).items():
        cls = load(point)
        if not (isinstance(cls, type) and issubclass(cls, Panel) and getattr(cls, "name", None) == name):
            raise ContractError(f"{point.value} is not a Panel named {name!r}")
        found[name] = cls
    return found
