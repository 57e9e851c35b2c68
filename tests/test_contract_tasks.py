"""Every registered task keeps the contract; and a task that breaks it is caught by the check that says so."""

import ast
import contextlib
import dataclasses
import graphlib
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

import clipx.testing.tasks
from clipx.errors import ContractError, FileError, InputError
from clipx.files import read_bytes, sha256_of, write_whole
from clipx.modalities.sketch.task import DrawTask
from clipx.registry import TASKS, get_task, registered
from clipx.task import (
    Stopped,
    Task,
    checkpoint_files,
    checkpoint_path,
    load_checkpoint,
    require_no_checkpoint,
    save_checkpoint,
    stopping,
)
from clipx.testing.tasks import check_task, task_checks


def scene():
    """A quick config of two layers, whose background has fewer counts than the drawing, and photos with objects."""
    config, photos = get_task("sketch").example()
    places = [(photo.pixels[0] < 0.9) & (torch.arange(224) // 112 == 0) for photo in photos]
    photos = [dataclasses.replace(photo, where=where) for photo, where in zip(photos, places, strict=True)]
    return dataclasses.replace(config, strokes=(4, 5), seeds=(0,), steps=4, layers=2), photos


EVERY_CHECK = [
    pytest.param(cls, check, id=f"{name}-{check.name}")
    for name in registered(TASKS)
    for cls in [get_task(name)]
    for check in task_checks(cls)
]


EVERY_CHECK += [
    pytest.param(DrawTask, check, id=f"sketch in two layers-{check.name}")
    for check in task_checks(DrawTask, scene())
    if "partial" in check.name or "checkpoint" in check.name or "resumes" in check.name
]


@pytest.mark.parametrize(("cls", "check"), EVERY_CHECK)
def test_contract(cls, check, tiny_space):
    check(tiny_space)


def test_a_prefix_is_refused_where_inputs_are_drawn_in_parts(tiny_space, monkeypatch):
    monkeypatch.setattr("clipx.modalities.sketch.task.RUNS_AT_ONCE", 1)  # a part is one photo
    (check,) = [check for check in task_checks(DrawTask) if check.name == "a_foreign_checkpoint_is_refused"]
    check(tiny_space)


def test_a_partial_scene_has_all_its_strokes(tiny_space):
    config, photos = scene()
    counts = []
    DrawTask(tiny_space, config).run(
        photos, on_partial=lambda i, drawings, done: counts.append([len(drawing.strokes) for drawing in drawings])
    )
    assert len(counts) > len(photos) and all(own == [4, 5] for own in counts)


def test_tasks_are_found_by_name():
    assert list(registered(TASKS)) == ["depth", "detect", "ground", "segment", "sketch"]
    with pytest.raises(InputError, match="no task named 'smell'; installed: depth, detect, ground, segment, sketch"):
        get_task("smell")


@pytest.mark.parametrize("package", ["depth", "detect", "segment", "sketch"])
def test_only_commands_render_progress(package):
    """The library of a task reports by callback; bars and notes are the command line's."""
    for path in (Path(__file__).parents[1] / "modalities" / package).rglob("*.py"):
        if path.name.endswith("command.py"):
            continue
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        named = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        assert not named & {"clipx.progress", "typer", "rich"}, path


@pytest.mark.parametrize("package", ["depth", "detect", "segment", "sketch"])
def test_imports_run_one_way(package):
    """No module of a task needs, in a function either, one that needs it; types do not count."""
    folder, name = Path(__file__).parents[1] / "modalities" / package, f"clipx.modalities.{package}"
    needs = {}
    for path in folder.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for_types = {
            child
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for child in ast.walk(node)
        }
        found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node not in for_types]
        parts = {
            node.module.removeprefix(f"{name}.").split(".")[0] for node in found if node.module.startswith(f"{name}.")
        }
        parts |= {alias.name for node in found if node.module == name for alias in node.names}
        needs[path.stem] = parts
    graphlib.TopologicalSorter(needs).prepare()


def test_a_run_needs_nothing_of_training():
    """Stopping and folders are the core's: a task imports no optimisers."""
    script = (
        "import sys, clipx.modalities.depth.command, clipx.modalities.sketch.photos\n"
        "from clipx.task import stopping\n"
        "with stopping(None): pass\n"
        "print(*[name for name in sys.modules if name.startswith('clipx.training')])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "\n"


# A toy that keeps the contract, and one that breaks each promise in turn ----------------------------------------------


@dataclass(frozen=True)
class ToyConfig:
    steps: int = 3
    factor: float = 0.5
    sides: tuple[int, ...] = (1, 2)

    def __post_init__(self):
        if self.steps < 1:
            raise InputError("steps must be at least 1")


class Toy(Task):
    """Moves a vector towards its mean, step by step."""

    name = "toy"
    Config = ToyConfig

    def load(self, path):
        data = read_bytes(path)
        try:
            return torch.tensor([float(word) for word in data.decode().split()]).reshape(3)
        except (ValueError, RuntimeError) as error:
            raise FileError("is not three numbers", where=path) from error

    def step(self, value):
        return value + self.config.factor * (value.mean() - value)

    def run(self, inputs, *, on_progress=None, on_partial=None, stop=None, checkpoint=None, resume=False):
        if checkpoint is not None and not resume:
            require_no_checkpoint(checkpoint)
        results, steps = {}, self.config.steps
        total = steps * len(inputs)
        if on_progress:
            on_progress(0, total, "")
        with stopping(stop) as asked:
            for i, start in enumerate(inputs):
                path = None if checkpoint is None else checkpoint_path(checkpoint, i)
                value, first = start, 0
                if path is not None and path.exists():
                    tensors, state = load_checkpoint(path, self.identity(start, inputs))
                    value, first = tensors["value"], state["step"]
                for step in range(first, steps):
                    value = self.step(value)
                    if path is not None:
                        save_checkpoint(path, self.identity(start, inputs), {"value": value}, {"step": step + 1})
                    if on_progress:
                        on_progress(i * steps + step + 1, total, f"step {step + 1}")
                    if on_partial and step + 1 < steps:
                        on_partial(i, {"value": value}, False)
                    if asked():
                        raise Stopped(results | {i: {"value": value}})
                results[i] = {"value": value}
                if on_partial:
                    on_partial(i, results[i], True)
        if on_progress:
            on_progress(total, total, "")  # of a resumed run whose steps were all done
        for i in range(len(inputs)) if checkpoint is not None else ():
            checkpoint_path(checkpoint, i).unlink()
        return list(results.values())

    def identity(self, start, inputs):
        own, every = (sha256_of(torch.cat(some).numpy().tobytes()) for some in ([start], list(inputs)))
        return {"space": self.space.id, "config": asdict(self.config), "input": own, "inputs": every}

    def save(self, result, stem):
        path = Path(stem).with_name(f"{Path(stem).name}.json")
        write_whole(path, json.dumps(result["value"].tolist()))
        return [path]

    @classmethod
    def example(cls):
        return cls.Config(), [torch.tensor([1.0, 2.0, 6.0]), torch.tensor([0.0, 4.0, 1.0])]


BREAKS: list[tuple[type[Task], str]] = []


def breaks(promise):
    """Marks a toy that breaks one promise."""
    return lambda cls: BREAKS.append((cls, promise)) or cls


@breaks("entry_point_bears_its_name")
class OtherName(Toy):
    name = "toys"


@breaks("config_is_frozen_with_defaults")
class MutableConfig(Toy):
    @dataclass
    class Config:
        steps: int = 3


@breaks("config_is_frozen_with_defaults")
class NoDefault(Toy):
    @dataclass(frozen=True)
    class Config:
        steps: int


@breaks("config_round_trips_through_json")
class KeepsLists(Toy):
    @classmethod
    def config_from(cls, record):
        return cls.Config(**record)


@breaks("config_round_trips_through_json")
class TakesAnySetting(Toy):
    @classmethod
    def config_from(cls, record):
        return super().config_from({key: value for key, value in record.items() if key in ("steps", "sides")})


@breaks("runs_are_deterministic")
class Jitters(Toy):
    def run(self, inputs, **options):
        return [{"value": one["value"] + torch.rand(3)} for one in super().run(inputs, **options)]


@breaks("runs_are_deterministic")
class LosesOne(Toy):
    def run(self, inputs, **options):
        return super().run(inputs, **options)[1:]


@breaks("different_inputs_give_different_results")
class Constant(Toy):
    def step(self, value):
        return torch.ones(3)


@breaks("several_inputs_equal_single_ones")
class LooksAround(Toy):
    def run(self, inputs, **options):
        mean = sum(inputs) / max(1, len(inputs))
        return super().run([one + 0.1 * mean for one in inputs], **options)


@breaks("no_inputs_give_no_results")
class NeedsOne(Toy):
    def run(self, inputs, **options):
        if not inputs:
            raise InputError("nothing to do")
        return super().run(inputs, **options)


@breaks("inputs_and_random_state_are_untouched")
class WritesIntoInputs(Toy):
    def run(self, inputs, **options):
        results = super().run(inputs, **options)
        for one in inputs:
            one.mul_(2)
        return results


@breaks("inputs_and_random_state_are_untouched")
class SeedsTheWorld(Toy):
    def run(self, inputs, **options):
        torch.manual_seed(0)
        return super().run(inputs, **options)


def reporting(change):
    """A toy whose progress goes through ``change(calls so far, done, total)``, which gives what is reported."""

    class Reports(Toy):
        def run(self, inputs, *, on_progress=None, **options):
            calls = []

            def report(done, total, note):
                calls.append(done)
                if (call := change(calls, done, total)) is not None:
                    on_progress(*call, note)

            return super().run(inputs, on_progress=report if on_progress else None, **options)

    return Reports


@breaks("progress_rises_to_its_total")
class FallsBack(reporting(lambda calls, done, total: (done % 3, total))):
    pass


@breaks("progress_rises_to_its_total")
class NeverEnds(reporting(lambda calls, done, total: (done, total + 1))):
    pass


@breaks("progress_rises_to_its_total")
class StartsLate(reporting(lambda calls, done, total: (done, total) if done else None)):
    pass


@breaks("progress_rises_to_its_total")
class GrowingTotal(reporting(lambda calls, done, total: (done, done))):
    pass


@breaks("partial_results_end_at_the_results")
class NoPartialResults(Toy):
    def run(self, inputs, *, on_partial=None, **options):
        return super().run(inputs, **options)


@breaks("partial_results_end_at_the_results")
class LastIsNotDone(Toy):
    def run(self, inputs, *, on_partial=None, **options):
        partial = on_partial and (lambda i, result, done: on_partial(i, result, False))
        return super().run(inputs, on_partial=partial, **options)


@breaks("partial_results_end_at_the_results")
class LastIsAnother(Toy):
    def run(self, inputs, *, on_partial=None, **options):
        partial = on_partial and (lambda i, result, done: on_partial(i, {"value": result["value"] + done}, done))
        return super().run(inputs, on_partial=partial, **options)


@breaks("partial_results_end_at_the_results")
class PartsAreMissing(Toy):
    def run(self, inputs, *, on_partial=None, **options):
        partial = on_partial and (lambda i, result, done: on_partial(i, result if done else {}, done))
        return super().run(inputs, on_partial=partial, **options)


@breaks("watching_changes_nothing")
class WatchedSteps(Toy):
    def run(self, inputs, *, on_partial=None, **options):
        shift = 0.001 if on_partial else 0
        return super().run([one + shift for one in inputs], on_partial=on_partial, **options)


@breaks("watching_changes_nothing")
class LeavesItsCheckpoint(Toy):
    def run(self, inputs, *, checkpoint=None, **options):
        results = super().run(inputs, checkpoint=checkpoint, **options)
        if checkpoint is not None:
            Path(checkpoint, "log.txt").write_text("done")
        return results


def cleaning_up(found):
    """A toy that deletes whatever ``found`` names in the folder."""

    class CleansUp(Toy):
        def run(self, inputs, *, checkpoint=None, **options):
            results = super().run(inputs, checkpoint=checkpoint, **options)
            for path in found(checkpoint) if checkpoint is not None else ():
                path.unlink()
            return results

    return CleansUp


@breaks("other_files_are_left_alone")
class DeletesWhatLooksLikeACheckpoint(cleaning_up(lambda folder: Path(folder).glob("checkpoint-*.safetensors"))):
    pass


@breaks("other_files_are_left_alone")
class DeletesAllCheckpoints(cleaning_up(checkpoint_files)):
    pass


@breaks("a_stopped_run_resumes_to_the_same_results")
class ForgetsTheStep(Toy):
    def run(self, inputs, *, checkpoint=None, resume=False, **options):
        if resume and checkpoint is not None and (files := checkpoint_files(checkpoint)):
            tensors, state = load_checkpoint(files[0], self.identity(inputs[0], inputs))
            save_checkpoint(files[0], self.identity(inputs[0], inputs), tensors, {"step": 0 * state["step"]})
        return super().run(inputs, checkpoint=checkpoint, resume=resume, **options)


@breaks("a_stopped_run_resumes_to_the_same_results")
class CannotBeStopped(Toy):
    def run(self, inputs, *, stop=None, **options):
        return super().run(inputs, stop=lambda: False, **options)


@breaks("a_stopped_run_resumes_to_the_same_results")
class BeginsOverACheckpoint(Toy):
    def run(self, inputs, *, checkpoint=None, resume=False, **options):
        if checkpoint is not None and not resume:
            for path in checkpoint_files(checkpoint):
                path.unlink()
        return super().run(inputs, checkpoint=checkpoint, resume=resume, **options)


@breaks("an_interrupted_run_leaves_nothing_corrupt")
class SwallowsInterrupts(Toy):
    def run(self, inputs, *, on_progress=None, **options):
        def report(*call):
            with contextlib.suppress(KeyboardInterrupt):
                on_progress(*call)

        return super().run(inputs, on_progress=report if on_progress else None, **options)


@breaks("an_interrupted_run_leaves_nothing_corrupt")
class LeavesHalfAFile(Toy):
    def run(self, inputs, *, checkpoint=None, **options):
        try:
            return super().run(inputs, checkpoint=checkpoint, **options)
        except KeyboardInterrupt:
            Path(checkpoint, "half.part").write_text("half")
            raise


def identified_without(*keys):
    class Forgets(Toy):
        def identity(self, start, inputs):
            return {name: value for name, value in super().identity(start, inputs).items() if name not in keys}

    return Forgets


@breaks("a_foreign_checkpoint_is_refused")
class AnyInput(identified_without("input", "inputs")):
    pass


@breaks("a_foreign_checkpoint_is_refused")
class AnyOtherInputs(identified_without("inputs")):
    pass


@breaks("a_foreign_checkpoint_is_refused")
class DeletesWhatItRefuses(Toy):
    def run(self, inputs, *, checkpoint=None, **options):
        try:
            return super().run(inputs, checkpoint=checkpoint, **options)
        except InputError:
            for path in checkpoint_files(checkpoint):
                path.unlink()
            raise


@breaks("a_foreign_checkpoint_is_refused")
class AnySpace(identified_without("space")):
    pass


@breaks("a_foreign_checkpoint_is_refused")
class AnyConfig(identified_without("config")):
    pass


@breaks("save_writes_whole_files")
class WritesInPlace(Toy):
    def save(self, result, stem):
        path = Path(f"{stem}.json")
        path.write_text(json.dumps(result["value"].tolist()))
        return [path]


@breaks("save_writes_whole_files")
class ForgetsAFile(Toy):
    def save(self, result, stem):
        write_whole(f"{stem}.txt", "too")
        return super().save(result, stem)


@breaks("bad_files_raise_clipx_errors_only")
class LetsBuiltinsThrough(Toy):
    def load(self, path):
        return torch.tensor([float(word) for word in Path(path).read_text().split()])


@breaks("bad_files_raise_clipx_errors_only")
class NamelessError(Toy):
    def load(self, path):
        raise InputError("cannot be read")


@breaks("bad_files_raise_clipx_errors_only")
class ReadsAnything(Toy):
    def load(self, path):
        return torch.ones(3)


@pytest.fixture
def as_if_registered(monkeypatch):
    """Whatever class is under examination is what the entry point ``toy`` loads."""

    def register(cls):
        monkeypatch.setattr(sys.modules[__name__], "examined", cls, raising=False)
        point = EntryPoint("toy", f"{__name__}:examined", TASKS)
        monkeypatch.setattr(clipx.testing.tasks, "registered", lambda group: {"toy": point})

    return register


def test_the_toy_keeps_the_contract(as_if_registered, tiny_space):
    as_if_registered(Toy)
    check_task(Toy, tiny_space)
    config, inputs = Toy.example()
    check_task(Toy, tiny_space, (config, [*inputs, inputs[0] * 3]))


@pytest.mark.parametrize(("cls", "promise"), BREAKS, ids=[cls.__name__ for cls, _ in BREAKS])
def test_a_broken_promise_is_caught(cls, promise, as_if_registered, tiny_space):
    as_if_registered(cls)
    (check,) = [check for check in task_checks(cls) if check.name == promise]
    with pytest.raises(ContractError, match=cls.__name__):
        check(tiny_space)


def test_every_promise_can_be_broken():
    assert {promise for _, promise in BREAKS} == {check.name for check in task_checks(Toy)}


def test_all_that_is_broken_is_named(as_if_registered, tiny_space):
    class Careless(AnySpace, WritesInPlace, NamelessError):
        """Three promises broken."""

    as_if_registered(Careless)
    with pytest.raises(ContractError) as caught:
        check_task(Careless, tiny_space)
    broken = {check.name for check in task_checks(Careless) if f"{check.name}: " in str(caught.value)}
    assert broken == {
        "a_foreign_checkpoint_is_refused",
        "save_writes_whole_files",
        "bad_files_raise_clipx_errors_only",
    }
