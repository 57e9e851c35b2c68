"""The contract of a task: work that makes a result of each input with a frozen space, such as a depth map or a drawing.

A task reports progress and partial results through callbacks, can be stopped between two steps, and goes on from a
checkpoint with the same result, bit for bit on a CPU. ``clipx.testing.tasks.check_task`` checks all of this.

>>> task = get_task("sketch")(space, DrawTask.Config(strokes=(8, 16)))                       # doctest: +SKIP
>>> (drawings,) = task.run([task.load("cat.jpg")], on_progress=lambda done, total, note: ...)  # doctest: +SKIP
>>> task.save(drawings, "drawings/cat")                                                      # doctest: +SKIP
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from clipx._signals import stop_asked
from clipx.errors import ClipxError, FileError, InputError
from clipx.files import sha256_of, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from clipx.space import JointSpace

Input = TypeVar("Input")
Result = TypeVar("Result")
OnProgress = Callable[[int, int, str], None]
"""Called with (done, total, note): ``done`` never falls and ends at ``total``; ``note`` may hold a loss."""


class Stopped(KeyboardInterrupt):
    """A run was stopped: by its ``stop``, or by Ctrl-C or SIGTERM.

    It is a KeyboardInterrupt, so that ``except Exception`` does not take it for a failure.

    Args:
        results: position of an input -> its result, finished or the best so far; inputs that have none are left out.
    """

    def __init__(self, results: Mapping[int, Any]):
        super().__init__("stopped")
        self.results = dict(results)


class Task(ABC, Generic[Input, Result]):
    """Makes a result of each input with a frozen space.

    A subclass sets the class attributes and is registered by an entry point of the group ``clipx.tasks``.

    Args:
        space: the frozen joint space.
        config: an instance of ``Config``; by default what suits the space.
    """

    name: ClassVar[str]  # the entry point's name
    Config: ClassVar[type]  # a frozen dataclass of JSON's own types and tuples; every field has a default
    tolerance: ClassVar[float] = 1e-5  # how far a number in a result may move with the inputs that run beside it

    def __init__(self, space: JointSpace, config: Any = None):
        self.space, self.config = space, self.default_config(space) if config is None else config
        if not isinstance(self.config, self.Config):
            raise InputError(f"expected a {self.Config.__qualname__}, got {type(config).__name__}", where=self.name)

    @classmethod
    def default_config(cls, space: JointSpace) -> Any:
        """The config that suits a space."""
        return cls.Config()

    @classmethod
    def config_from(cls, record: Mapping[str, Any]) -> Any:
        """The ``Config`` of a JSON object, as ``dataclasses.asdict`` and ``json.dumps`` write it.

        Args:
            record: field -> value; fields that are left out keep their defaults, lists become tuples.

        Raises:
            InputError: an unknown field, or a value that the config refuses.
        """
        known = [field.name for field in fields(cls.Config)]
        if unknown := sorted(set(record) - set(known)):
            raise InputError(f"unknown setting {unknown[0]!r}", where=cls.name, remedy=f"known: {', '.join(known)}")
        try:
            return cls.Config(**{name: tuple(v) if isinstance(v, list) else v for name, v in record.items()})
        except ClipxError:
            raise
        except (TypeError, ValueError) as error:  # a string where a number belongs
            raise InputError(f"a setting is of the wrong type: {error}", where=cls.name) from error

    @abstractmethod
    def load(self, path: str | PathLike) -> Input:
        """Read one file into an input. Raises FileError or InputError on a bad file, nothing else."""

    @abstractmethod
    def run(
        self,
        inputs: Sequence[Input],
        *,
        on_progress: OnProgress | None = None,
        on_partial: Callable[[int, Result, bool], None] | None = None,
        stop: Callable[[], bool] | None = None,
        checkpoint: str | PathLike | None = None,
        resume: bool = False,
    ) -> list[Result]:
        """One result per input, in order; [] of none.

        Args:
            inputs: N inputs, which are read and never changed. A result does not depend on the other inputs beyond
                ``tolerance``.
            on_progress: see ``OnProgress``; called before the first step as well. What a callback raises ends the run.
            on_partial: called with (position, result, done): a result as it is so far, and last with ``done`` each
                finished one.
            stop: called between two steps; once it is true, the checkpoint is written, unless there is nothing yet to
                go on from, and ``Stopped`` is raised. By default Ctrl-C and SIGTERM do this, in the main thread; a
                second one interrupts at once.
            checkpoint: a folder, made where it is missing, for files from which an interrupted run can be resumed; it
                may hold other files. When the run is done, its own files (``checkpoint_path``) are deleted, and no
                others.
            resume: go on from the files in ``checkpoint``, or from the beginning where there are none.

        Raises:
            Stopped: it was stopped, with the results so far.
            InputError: the folder holds a checkpoint and ``resume`` is not set; the checkpoint is of other inputs,
                another config or another space.
            FileError: a checkpoint is corrupt or cannot be written.
        """

    @abstractmethod
    def save(self, result: Result, stem: str | PathLike) -> list[Path]:
        """Write a result as files and return their paths; each file is written atomically.

        Args:
            result: one of those that ``run`` returned.
            stem: the folder, which exists, and the beginning of each file's name.

        Raises:
            FileError: a file cannot be written.
        """

    @classmethod
    @abstractmethod
    def example(cls) -> tuple[Any, list[Input]]:
        """A quick config and at least two different inputs, made in code; the contract suite runs on them."""


class PerInputTask(Task[Input, Result]):
    """A task that makes its results one after another: a step is one input, and a partial result a finished one.

    A subclass says how one result is made, and how it is kept in a checkpoint.
    """

    @abstractmethod
    def make(self, one: Input) -> Result:
        """The result of one input."""

    @abstractmethod
    def pack(self, result: Result) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """A result as tensors and as JSON."""

    @abstractmethod
    def unpack(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> Result:
        """The result that ``pack`` took."""

    def settings(self) -> dict[str, Any]:
        """What decides the results besides the space and the inputs, as JSON."""
        return {one.name: getattr(self.config, one.name) for one in fields(self.Config)}

    def digest(self, one: Input) -> str:
        """A hash of an input, by default of a tensor's shape and values."""
        return sha256_of(repr(one.shape).encode() + one.cpu().numpy().tobytes())  # type: ignore[attr-defined]

    def run(
        self,
        inputs: Sequence[Input],
        *,
        on_progress: OnProgress | None = None,
        on_partial: Callable[[int, Result, bool], None] | None = None,
        stop: Callable[[], bool] | None = None,
        checkpoint: str | PathLike | None = None,
        resume: bool = False,
    ) -> list[Result]:
        """See ``Task.run``."""
        if checkpoint is not None and not resume:
            require_no_checkpoint(checkpoint)
        kept = [] if checkpoint is None else self._checkpoints(inputs, checkpoint)
        results: dict[int, Result] = {}
        if on_progress:
            on_progress(0, len(inputs), "")
        with stopping(stop) as asked:
            for i, one in enumerate(inputs):
                results[i] = self._kept(one, *kept[i]) if kept else self.make(one)
                if on_partial:
                    on_partial(i, results[i], True)
                if on_progress:
                    on_progress(i + 1, len(inputs), "")
                if asked():  # after the last input, too: Ctrl-C must not be lost
                    raise Stopped(results)
        for path, _ in kept:
            path.unlink(missing_ok=True)
        return list(results.values())

    def _kept(self, one: Input, path: Path, identity: dict[str, Any]) -> Result:
        """The result of an input, from its checkpoint if there is one."""
        if path.exists():
            return self.unpack(*load_checkpoint(path, identity))
        found = self.make(one)
        save_checkpoint(path, identity, *self.pack(found))
        return found

    def _checkpoints(self, inputs: Sequence[Input], folder: str | PathLike) -> list[tuple[Path, dict[str, Any]]]:
        """The checkpoint of each input, and what identifies the run and the input in it."""
        digests = [self.digest(one) for one in inputs]
        every = sha256_of(" ".join(digests).encode())
        space = f"{self.space.id} {self.space.dtype}"
        shared = {"task": self.name, "config": self.settings(), "space": space, "inputs": every}
        return [(checkpoint_path(folder, i), shared | {"input": digest}) for i, digest in enumerate(digests)]


@contextmanager
def stopping(stop: Callable[[], bool] | None) -> Iterator[Callable[[], bool]]:
    """``stop``; where it is None, whether Ctrl-C or SIGTERM has arrived since."""
    if stop is not None:
        yield stop
        return
    with stop_asked() as asked:
        yield asked


# ------------------------------------------------------------------------------------------------------ checkpoints


def checkpoint_path(folder: str | PathLike, part: int) -> Path:
    """The checkpoint of one part of a run."""
    return Path(folder) / f"clipx-checkpoint-{part}.safetensors"


def checkpoint_files(folder: str | PathLike) -> list[Path]:
    """The files in a folder that are named as ``checkpoint_path`` names them, of this run or another one."""
    named = re.compile(r"clipx-checkpoint-[0-9]+\.safetensors")
    return sorted(path for path in Path(folder).glob("*") if named.fullmatch(path.name))


def require_no_checkpoint(folder: str | PathLike) -> None:
    """Raise InputError where a folder holds the checkpoint of a run that was stopped."""
    if checkpoint_files(folder):
        remedy = "resume it (--resume), or name another folder"
        raise InputError("holds a run that was stopped", where=folder, remedy=remedy)


def save_checkpoint(
    path: str | PathLike, identity: Mapping[str, Any], tensors: Mapping[str, Tensor], state: Mapping[str, Any]
) -> None:
    """Write a checkpoint, atomically.

    Args:
        path: of the file.
        identity: what identifies the run, as JSON: its space, its config and all its inputs, not only those of this
            part. A run that resumes must have the same.
        tensors: by name.
        state: whatever else is needed to go on, as JSON.

    Raises:
        FileError: it cannot be written.
    """
    about = json.dumps({"identity": identity, "state": state})
    write_tensors(path, {name: tensor.contiguous() for name, tensor in tensors.items()}, {"about": about}, parents=True)


def load_checkpoint(path: str | PathLike, identity: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the state that ``save_checkpoint`` wrote.

    Raises:
        FileError: the file is corrupt. InputError: it is of other inputs, another config or another space.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            found, state = about["identity"], dict(about["state"])
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise FileError("the checkpoint is corrupt", where=path, remedy="delete it and start again") from error
    if found != json.loads(json.dumps(identity)):
        remedy = "start again without --resume in another folder"
        raise InputError("the checkpoint is of other inputs, settings or another space", where=path, remedy=remedy)
    return tensors, state
