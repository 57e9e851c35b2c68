"""The contract suite of tasks: what every task promises, ours or a third-party one, each promise a check of its own.

In a plug-in's own tests:

    import pytest
    from clipx.testing.tasks import task_checks
    from clipx_toy import ToyTask

    @pytest.mark.parametrize("check", task_checks(ToyTask))
    def test_contract(check):
        check(space)  # any JointSpace; a tiny one with random weights will do
"""

from __future__ import annotations

import copy
import dataclasses
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from clipx.errors import ClipxError, ContractError, InputError
from clipx.registry import TASKS, registered
from clipx.task import Stopped, Task, checkpoint_files, checkpoint_path
from clipx.testing._suite import Check, run_all

if TYPE_CHECKING:
    from clipx.space import JointSpace


def check_task(cls: type[Task], space: JointSpace, example: tuple[Any, Sequence[Any]] | None = None) -> None:
    """Run every check. Raises ContractError with one sentence for each broken promise."""
    run_all(task_checks(cls, example), lambda: space)


def task_checks(cls: type[Task], example: tuple[Any, Sequence[Any]] | None = None) -> list[Check[JointSpace]]:
    """The checks of one task, the most basic first; each takes a space.

    Args:
        cls: the task's class.
        example: a quick config and at least two different inputs; by default ``cls.example()``.
    """
    return [Check(promise, lambda space: Subject(cls, space, example), cls.__name__) for promise in _PROMISES]


class Subject:
    """A task under examination: its class, a space, and an example."""

    def __init__(self, cls: type[Task], space: JointSpace, example: tuple[Any, Sequence[Any]] | None):
        self.cls, self.space, self._example = cls, space, example

    def example(self) -> tuple[Any, list[Any]]:
        """The config and fresh copies of the inputs."""
        config, inputs = self.cls.example() if self._example is None else self._example
        return config, copy.deepcopy(list(inputs))

    def inputs(self) -> list[Any]:
        return self.example()[1]

    def task(self, config: Any = None, space: JointSpace | None = None) -> Task:
        """A fresh instance, so that nothing is remembered from the last run."""
        return self.cls(self.space if space is None else space, self.example()[0] if config is None else config)

    def run(self, inputs: Sequence[Any] | None = None, **options: Any) -> list[Any]:
        return self.task().run(self.inputs() if inputs is None else inputs, **options)

    def require(self, promise: object, what: str) -> None:
        if not promise:
            raise ContractError(what, where=self.cls.__name__)

    def require_same(self, one: Any, other: Any, what: str, tolerance: float = 0.0) -> None:
        """Require equal structures, in which numbers differ by no more than ``tolerance``."""
        self.require(_same(one, other, tolerance), what)


# The promises, by name. Those about the class come first: the others need them.


def entry_point_bears_its_name(it: Subject) -> None:
    """The class is found under its own name, in the entry-point group ``clipx.tasks``."""
    points = registered(TASKS)
    it.require(it.cls.name in points, f"no entry point of the group {TASKS} is named {it.cls.name!r}")
    it.require(points[it.cls.name].load() is it.cls, f"the entry point {it.cls.name!r} is another class")


def config_is_frozen_with_defaults(it: Subject) -> None:
    """A config is a value: it can be compared, kept beside results and made without arguments."""
    config = it.cls.Config
    it.require(dataclasses.is_dataclass(config), "Config must be a dataclass")
    it.require(config.__dataclass_params__.frozen, "Config must be frozen")  # type: ignore[attr-defined]
    for field in dataclasses.fields(config):
        default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        it.require(default, f"Config.{field.name} needs a default")


def config_round_trips_through_json(it: Subject) -> None:
    """Configs are sent as JSON and recorded in checkpoints."""
    for config in (it.cls.Config(), it.example()[0]):
        record = json.loads(json.dumps(dataclasses.asdict(config)))
        it.require(it.cls.config_from(record) == config, f"{config} is not the config that its JSON gives")
    wrongs: list[dict[str, Any]] = [{"no such setting": 1}, {dataclasses.fields(it.cls.Config)[0].name: {}}]
    for wrong in wrongs:
        try:
            it.cls.config_from(wrong)
        except InputError:
            continue
        it.require(False, f"config_from() accepted {wrong}")


def runs_are_deterministic(it: Subject) -> None:
    """The same inputs, config and seed give the same results."""
    results = it.run()
    it.require(len(results) == len(it.inputs()), f"run() gave {len(results)} results of {len(it.inputs())} inputs")
    it.require_same(results, it.run(), "a second run gave other results; seed what is drawn")


def different_inputs_give_different_results(it: Subject) -> None:
    """A task that ignores its inputs passes every other check."""
    first, second = it.run()[:2]
    it.require(not _same(first, second, it.cls.tolerance), "the example's first two inputs have the same result")


def several_inputs_equal_single_ones(it: Subject) -> None:
    """A result does not depend on the inputs beside it."""
    together = it.run()
    for i, one in enumerate(it.inputs()):
        alone = it.run([one])
        it.require_same(together[i : i + 1], alone, f"result {i} depends on the other inputs", it.cls.tolerance)


def no_inputs_give_no_results(it: Subject) -> None:
    """[] in, [] out."""
    it.require(it.run([]) == [], "run([]) must give []")


def inputs_and_random_state_are_untouched(it: Subject) -> None:
    """Inputs are read, never written; the global generators belong to the user."""
    inputs, kept = it.inputs(), it.inputs()
    torch.rand(1), np.random.rand()  # away from a state that seeding could restore
    before = torch.get_rng_state(), np.random.get_state(legacy=False)
    it.task().run(inputs)
    it.require_same(before, (torch.get_rng_state(), np.random.get_state(legacy=False)), "run() changed a global seed")
    it.require_same(inputs, kept, "run() changed its inputs")


def progress_rises_to_its_total(it: Subject) -> None:
    """It begins before the first step, never falls, and ends at the total, which stays the same."""
    calls: list[tuple[int, int, str]] = []
    it.run(on_progress=lambda *call: calls.append(call))
    done, totals = [call[0] for call in calls], {call[1] for call in calls}
    it.require(calls and len(totals) == 1, f"the total must be the same in every call, got {sorted(totals)}")
    it.require(done[0] == 0, f"the first call must report 0 done, got {done[0]}")
    it.require(done == sorted(done), f"progress fell: {done}")
    it.require(done[-1] == totals.pop(), f"progress ended at {done[-1]} of {calls[-1][1]}")
    it.require(all(isinstance(call[2], str) for call in calls), "the note must be a string")


def partial_results_end_at_the_results(it: Subject) -> None:
    """Every input has a last partial result, which is done and is its result."""
    partial: dict[int, list[tuple[Any, bool]]] = {}
    results = it.run(on_partial=lambda i, result, done: partial.setdefault(i, []).append((result, done)))
    it.require(sorted(partial) == list(range(len(results))), "an input has no partial result")
    for i, calls in partial.items():
        it.require([done for _, done in calls] == [False] * (len(calls) - 1) + [True], "only the last one is done")
        it.require_same(calls[-1][0], results[i], f"the last partial result of input {i} is not its result")
        it.require(all(type(result) is type(results[i]) for result, _ in calls), "a partial result is of another type")
        if isinstance(results[i], list | tuple | dict):
            same = all(len(result) == len(results[i]) for result, _ in calls)
            it.require(same, "a partial result has other parts than the finished one")


def watching_changes_nothing(it: Subject) -> None:
    """Callbacks and checkpoints have no part in the results."""
    with tempfile.TemporaryDirectory() as folder:
        watched = it.run(on_progress=lambda *_: None, on_partial=lambda *_: None, stop=lambda: False, checkpoint=folder)
        it.require_same(it.run(), watched, "results are others where callbacks or a checkpoint are given")
        it.require(not list(Path(folder).iterdir()), "a checkpoint is left behind when the run is done")


def other_files_are_left_alone(it: Subject) -> None:
    """The folder may be the user's own: a run deletes its own checkpoints there, and nothing else."""
    names = ("notes.txt", "checkpoint-1.safetensors", "clipx-checkpoint-best.safetensors", "clipx-checkpoint-1.txt")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bystanders = [folder / name for name in names]
        for resume in (False, True):
            if resume:
                bystanders.append(checkpoint_path(folder, 10**6))  # of a run with more inputs
            for path in bystanders:
                path.write_text("another's")
            it.run(checkpoint=folder, resume=resume)
            left = {path: path.read_text() for path in folder.iterdir()}
            it.require(left == dict.fromkeys(bystanders, "another's"), "run() changed files that are not its own")


def a_stopped_run_resumes_to_the_same_results(it: Subject) -> None:
    """``stop`` ends a run between two steps with a checkpoint, from which it goes on bit for bit."""
    whole = it.run()
    with tempfile.TemporaryDirectory() as folder:
        _stop(it, Path(folder))
        try:
            it.run(checkpoint=folder)
        except InputError:
            pass
        else:
            it.require(False, "run() without resume began again over a checkpoint")
        resumed = it.run(checkpoint=folder, resume=True)
        it.require_same(whole, resumed, "a resumed run gave other results than one that was not stopped")
        it.require(not checkpoint_files(folder), "the checkpoint is left behind when the resumed run is done")
        it.require_same(whole, it.run(checkpoint=folder, resume=True), "resume without a checkpoint must begin again")


def an_interrupted_run_leaves_nothing_corrupt(it: Subject) -> None:
    """An exception from a callback, such as Ctrl-C there, leaves a folder from which the run can be resumed."""
    whole, steps = it.run(), 0

    def interrupt(done: int, total: int, note: str) -> None:
        nonlocal steps
        steps += done > 0
        if steps == 2:
            raise KeyboardInterrupt

    with tempfile.TemporaryDirectory() as folder:
        try:
            it.run(checkpoint=folder, on_progress=interrupt)
        except KeyboardInterrupt:
            pass
        else:
            it.require(False, "run() swallowed what a callback raised")
        it.require(set(Path(folder).iterdir()) == set(checkpoint_files(folder)), "a half-written file is left behind")
        it.require_same(whole, it.run(checkpoint=folder, resume=True), "the resumed run gave other results")


def a_foreign_checkpoint_is_refused(it: Subject) -> None:
    """A checkpoint of other inputs, another config or another space, or one that is damaged, is an error."""
    config, inputs = it.example()
    space = copy.copy(it.space)
    space.id += " of another training"
    others = {
        "order of inputs": (it.task(), inputs[::-1]),
        "number of inputs, a prefix of the inputs": (it.task(), inputs[:-1]),
        "number of inputs, one more": (it.task(), [*inputs, inputs[0]]),
        "space": (it.task(space=space), inputs),
        "config": (it.task(_other_config(it, config)), inputs),
    }
    with tempfile.TemporaryDirectory() as folder:
        _stop(it, Path(folder))
        kept = {path: path.read_bytes() for path in Path(folder).iterdir()}
        for what, (task, own) in others.items():
            _require_refusal(it, task, own, folder, f"a checkpoint of another {what}")
            found = {path: path.read_bytes() for path in Path(folder).iterdir()}
            it.require(found == kept, f"a checkpoint of another {what} was changed or deleted")
        for path in checkpoint_files(folder):
            path.write_bytes(path.read_bytes()[:-40])
        _require_refusal(it, it.task(), inputs, folder, "a truncated checkpoint")


def save_writes_whole_files(it: Subject) -> None:
    """``save`` returns what it wrote, all of it under the stem; a failing write leaves the files as they were."""
    first, second = it.run()[:2]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written = it.task().save(first, folder / "one")
        it.require(written and set(written) == set(folder.iterdir()), "save() must return the files that it wrote")
        it.require(all(path.name.startswith("one") for path in written), "a file's name does not begin with the stem")
        before = {path: path.read_bytes() for path in written}
        try:
            with mock.patch("os.replace", side_effect=OSError(28, "No space left on device")):
                it.task().save(second, folder / "one")
        except ClipxError:
            pass
        else:
            it.require(False, "save() does not write atomically (see clipx.files.write_whole)")
        after = {path: path.read_bytes() for path in folder.iterdir()}
        it.require(before == after, "a failing save() changed a file or left one behind")
        try:
            it.task().save(first, folder / "no such folder" / "one")
        except ClipxError:
            return
        it.require(False, "save() into a folder that does not exist must raise a FileError")


def bad_files_raise_clipx_errors_only(it: Subject) -> None:
    """Whatever a file holds, ``load`` gives an input or one line that names the file."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".png", ".jpg", ".txt"):
            path = Path(folder, f"bad{suffix}")
            for content in (None, b"", b"\x89PNG\r\n\x1a\n" + bytes(50), rng.bytes(1000)):
                if content is not None:
                    path.write_bytes(content)
                what = f"a missing {suffix} file" if content is None else f"{len(content)} bad bytes in {suffix}"
                try:
                    it.task().load(path)
                except ClipxError as error:
                    named = path.name in str(error) and "\n" not in str(error)
                    it.require(named, f"the error for {what} must name it in one line")
                except Exception as error:
                    it.require(False, f"{what} raised {type(error).__name__}, not a ClipxError: {error}")
                else:
                    it.require(False, f"{what} was loaded as if it were good")


_PROMISES: tuple[Callable[[Subject], None], ...] = (
    entry_point_bears_its_name,
    config_is_frozen_with_defaults,
    config_round_trips_through_json,
    runs_are_deterministic,
    different_inputs_give_different_results,
    several_inputs_equal_single_ones,
    no_inputs_give_no_results,
    inputs_and_random_state_are_untouched,
    progress_rises_to_its_total,
    partial_results_end_at_the_results,
    watching_changes_nothing,
    other_files_are_left_alone,
    a_stopped_run_resumes_to_the_same_results,
    an_interrupted_run_leaves_nothing_corrupt,
    a_foreign_checkpoint_is_refused,
    save_writes_whole_files,
    bad_files_raise_clipx_errors_only,
)


def _stop(it: Subject, folder: Path) -> None:
    """Stop a run after its first step."""
    steps = 0

    def count(done: int, total: int, note: str) -> None:
        nonlocal steps
        steps = done

    try:
        it.run(checkpoint=folder, on_progress=count, stop=lambda: steps > 0)
    except Stopped as error:
        it.require(set(error.results) <= set(range(len(it.inputs()))), "Stopped.results are not of the inputs")
    else:
        it.require(False, "run() did not raise Stopped when stop() was true")
    it.require(checkpoint_files(folder), "a stopped run left no checkpoint")
    it.require(set(folder.iterdir()) == set(checkpoint_files(folder)), "a stopped run left other files behind")


def _other_config(it: Subject, config: Any) -> Any:
    """A valid config that differs in one number."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                return dataclasses.replace(
                    config, **{field.name: value * 0.5 if isinstance(value, float) else value + 1}
                )
            except ClipxError:
                continue
    it.require(False, "no number of the example's config can be varied")


def _require_refusal(it: Subject, task: Task, inputs: list[Any], folder: str, what: str) -> None:
    try:
        task.run(inputs, checkpoint=folder, resume=True)
    except ClipxError:
        return
    it.require(False, f"{what} was accepted")


def _same(a: Any, b: Any, tolerance: float = 0.0) -> bool:
    if isinstance(a, Tensor | np.ndarray):
        if type(a) is not type(b) or a.dtype != b.dtype or a.shape != b.shape:
            return False
        one, other = (np.asarray(x.detach().cpu() if isinstance(x, Tensor) else x) for x in (a, b))
        if not tolerance or one.dtype.kind not in "fc":
            return np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
        return np.allclose(one, other, rtol=0, atol=tolerance, equal_nan=True)
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and _same(vars(a), vars(b), tolerance)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key], tolerance) for key in a)
    if isinstance(a, list | tuple):
        return (
            type(a) is type(b) and len(a) == len(b) and all(_same(*pair, tolerance) for pair in zip(a, b, strict=True))
        )
    if isinstance(a, float) and isinstance(b, float):
        return a == b or abs(a - b) <= tolerance or (a != a and b != b)
    return bool(a == b)
