"""Files are read while others are encoded; results and errors are those of one after another."""

import threading
import warnings

import pytest
import torch

from clipx import api
from clipx._threads import READERS, read_ahead
from clipx.cli._work import Item, encode
from clipx.errors import FileError
from clipx.modality import Modality


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
            raise FileError("torn", where=path)
        return number

    def vectors(self, samples):
        assert self.later.wait(20), "nothing was read meanwhile"
        return torch.nn.functional.one_hot(torch.tensor(samples), self.space.dim).float()


def paths(count):
    return [f"{i}.slow" for i in range(count)]


def items(count):
    return [Item(path, b"", lambda modality, path=path: modality.load(path)) for path in paths(count)]


def test_the_next_batch_is_read_while_one_is_encoded(tiny_space):
    for found in (encode(Slow(tiny_space), items(5), 2), api._encode(Slow(tiny_space), paths(5), 2)):
        assert found.vectors.argmax(1).tolist() == [0, 1, 2, 3, 4] and list(found.ids) == paths(5)


def test_no_more_than_a_batch_is_read_ahead():
    read = []
    batches = read_ahead(lambda i: read.append(i) or i, range(40), 4)
    assert next(batches) == [0, 1, 2, 3] and len(read) <= 8
    assert [i for batch in batches for i in batch] == list(range(4, 40))


def test_what_cannot_be_read_ends_the_run_or_is_listed(tiny_space):
    with pytest.raises(FileError, match="torn"):
        encode(Slow(tiny_space), items(9), 2)
    with pytest.raises(FileError, match="torn"):
        api._encode(Slow(tiny_space), paths(9), 2)
    failures = {}
    found = encode(Slow(tiny_space), items(9), 2, failures=failures)
    assert [*failures] == ["7.slow"] and list(found.ids) == [path for path in paths(9) if path != "7.slow"]


def test_one_item_is_read_in_this_thread_and_threads_end_with_the_last():
    before = torch.get_num_threads()
    assert list(read_ahead(lambda i: threading.current_thread(), [1], 8)) == [[threading.main_thread()]]
    assert list(read_ahead(str, [], 8)) == []
    readers = {name for batch in read_ahead(lambda i: threading.current_thread().name, range(64), 8) for name in batch}
    assert len(readers) <= READERS and not readers & {thread.name for thread in threading.enumerate()}
    assert torch.get_num_threads() == before


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
