"""Files are read while others are encoded; results and errors are those of one after another."""

import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import torch

from clipx import api, pipeline
from clipx._threads import READERS, one_thread, single_threaded_pool
from clipx.cli._work import encode
from clipx.errors import FileError, InputError
from clipx.modality import Modality
from clipx.parts import Parts
from clipx.pipeline import FileItem, MadeItem


class Slow(Modality):
    """Encodes its first two samples only once a later one is being read."""

    name, suffixes = "slow", (".slow",)

    def __init__(self, space):
        super().__init__(space)
        self.later = threading.Event()

    def load(self, path):
        number = int(str(path).split(".")[0])
        if number >= 2:
            self.later.set()
        if number == 7:
            raise FileError("corrupt", where=path)
        return number

    def parts(self, samples):
        assert self.later.wait(20), "nothing was read meanwhile"
        return Parts.whole(torch.nn.functional.one_hot(torch.tensor(samples), self.space.dim).float())


def paths(count):
    return [f"{i}.slow" for i in range(count)]


def items(count):
    return [FileItem(path, Path(path)) for path in paths(count)]


def test_the_next_batch_is_read_while_one_is_encoded(tiny_space):
    for found in (encode(Slow(tiny_space), items(5), 2), api._encode(Slow(tiny_space), items(5), 2)):
        assert found.vectors.argmax(1).tolist() == [0, 1, 2, 3, 4] and list(found.ids) == paths(5)


class Counts(Modality):
    """A sample is a number, whose vector has a one there; what reads and what encodes is kept."""

    name, suffixes = "counts", ()

    def __init__(self, space, bad=()):
        super().__init__(space)
        self.bad, self.read, self.readers, self.encoders = set(bad), [], set(), set()

    def load(self, path):
        self.read.append(int(str(path)))
        self.readers.add(threading.current_thread().name)
        return self.read[-1]

    def parts(self, samples):
        self.encoders.add((threading.current_thread().name, torch.get_num_threads()))
        if self.bad & set(samples):
            raise InputError("unlucky")
        return Parts.whole(torch.nn.functional.one_hot(torch.tensor(samples) % self.space.dim, self.space.dim).float())


def numbers(count):
    return [FileItem(str(i), Path(str(i))) for i in range(count)]


def test_the_pipeline_reads_a_few_batches_ahead_and_no_more(tiny_space):
    modality = Counts(tiny_space)
    found = pipeline.encode(numbers(400), modality, batch=4)
    assert [one.item.id for one in next(found)] == ["0", "1", "2", "3"] and len(modality.read) <= 16
    assert [int(one.item.id) for batch in found for one in batch] == list(range(4, 400))


def test_one_item_s_fault_leaves_the_others_of_its_batch(tiny_space):
    modality = Counts(tiny_space, bad=[13])
    found = [one for batch in pipeline.encode(numbers(20), modality, on_error="record", batch=8) for one in batch]
    assert [int(one.item.id) for one in found] == list(range(20))
    failed = [one for one in found if isinstance(one, pipeline.Failed)]
    assert [(one.item.id, str(one.error)) for one in failed] == [("13", "unlucky")]
    with pytest.raises(InputError, match="unlucky"):
        list(pipeline.encode(numbers(20), modality, batch=8))


def test_settings_are_refused_before_anything_is_read(tiny_space):
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        pipeline.encode(numbers(2), Counts(tiny_space), batch=0)


def test_what_a_modality_loads_at_first_use_is_loaded_once(tiny_space):
    """Without a lock of its own: the first batch is encoded before several are at once."""

    calls = []

    class Lazy(Counts):
        def parts(self, samples):
            name = threading.current_thread().name
            calls.append(("begin", name))
            found = super().parts(samples)
            calls.append(("end", name))
            return found

    list(pipeline.encode(numbers(64), Lazy(tiny_space), batch=4))
    here = threading.main_thread().name
    assert calls[:2] == [("begin", here), ("end", here)] and len(calls) == 32
    assert here not in {name for _, name in calls[2:]}


def test_running_out_of_memory_is_no_item_s_fault(tiny_space):
    class Large(Counts):
        def parts(self, samples):
            raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError):
        list(pipeline.encode(numbers(8), Large(tiny_space), on_error="record", batch=4))


def test_a_faulty_program_is_no_bad_file(tiny_space):
    """A ClipxError is a file's own; anything else ends a command with a traceback, also where failures are listed."""

    def broken():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        encode(Counts(tiny_space), [MadeItem("a", broken), MadeItem("b", lambda: 1)], failures={})


def test_what_cannot_be_read_ends_the_run_or_is_listed(tiny_space):
    with pytest.raises(FileError, match="corrupt"):
        encode(Slow(tiny_space), items(9), 2)
    with pytest.raises(FileError, match="corrupt"):
        api._encode(Slow(tiny_space), items(9), 2)
    failures = {}
    found = encode(Slow(tiny_space), items(9), 2, failures=failures)
    assert [*failures] == ["7.slow"] and list(found.ids) == [path for path in paths(9) if path != "7.slow"]


def test_one_item_has_all_threads_and_many_share_them(tiny_space):
    before, here = torch.get_num_threads(), threading.main_thread().name
    alone, many = Counts(tiny_space), Counts(tiny_space)
    assert len(list(pipeline.encode(numbers(1), alone))) == 1 and alone.readers == {here}
    assert alone.encoders == {(here, before)} and list(pipeline.encode([], alone)) == []
    list(pipeline.encode(numbers(64), many, batch=8))
    assert len(many.readers) <= READERS and many.encoders - {(here, before)} and (here, before) in many.encoders
    assert {count for name, count in many.encoders if name != here} == {1}
    assert not (many.readers | {name for name, _ in many.encoders - {(here, before)}}) & {
        one.name for one in threading.enumerate()
    }
    assert torch.get_num_threads() == before
    serial = Counts(tiny_space)
    list(pipeline.encode(numbers(64), serial, batch=8, readers=0))
    assert serial.readers == {here} and serial.encoders == {(here, before)}


def test_threads_that_read_pictures_leave_the_filters_of_warnings_as_they_were(tmp_path, monkeypatch):
    """The first in is the first out: each would restore the filters that it found."""
    from PIL import Image

    from clipx.pictures import open_picture

    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    decode, entered, left = Image.open, [threading.Event(), threading.Event()], threading.Event()

    def slowly(data, **given):
        mine = int(threading.current_thread().name)
        entered[mine].set()
        entered[1].wait(10)
        if mine == 1:
            left.wait(10)
            warnings.warn("a reader's own", stacklevel=1)
        return decode(data, **given)

    def run(number):
        open_picture(tmp_path / "a.png")
        if number == 0:
            left.set()

    monkeypatch.setattr(Image, "open", slowly)
    with pytest.warns(UserWarning, match="a reader's own"):
        before = list(warnings.filters)
        threads = [threading.Thread(target=run, args=(number,), name=str(number)) for number in range(2)]
        threads[0].start()
        entered[0].wait(10)
        threads[1].start()
        for thread in threads:
            thread.join()
        assert warnings.filters == before


def test_a_library_that_is_loaded_after_the_first_pool_is_limited():
    """SciPy's wheels hold an OpenBLAS of their own."""
    code = """
from threadpoolctl import threadpool_info
from clipx._threads import single_threaded_pool

def blas():
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]

with single_threaded_pool(2):
    first = len(blas())
import scipy.linalg
with single_threaded_pool(2):
    found = blas()
print(len(found) > first, set(found))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    later, found = done.stdout.split(maxsplit=1)
    if later == "False":
        pytest.skip("SciPy shares NumPy's library here")
    assert found.strip() == "{1}", done.stderr


def test_products_of_arrays_stay_in_their_thread_while_a_pool_runs():
    """Threads of OpenBLAS spin for milliseconds after each product. Pools may overlap; the last one restores."""
    from threadpoolctl import threadpool_info, threadpool_limits

    def blas_threads():
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    with threadpool_limits(2, user_api="blas"):
        if blas_threads() != {2}:
            pytest.skip("needs two processors, and a NumPy with threads")
        first, second = single_threaded_pool(2), single_threaded_pool(2)
        first.__enter__()
        with second:
            assert blas_threads() == {1}
            first.__exit__(None, None, None)
            assert blas_threads() == {1}
        assert blas_threads() == {2}
        with one_thread():
            assert blas_threads() == {1}
        assert blas_threads() == {2}
