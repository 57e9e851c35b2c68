"""Kills an indexer twenty times, each time at another moment of the same update, and finishes its work.

Run by test_index.py in a process of its own: the imports are made once, and each indexer is a fork. What is killed is
the index's work; pictures are encoded by their pixels, without a network. Prints a JSON list of whether each indexer
was killed. Fails where an index then differs from an undisturbed one.
"""

import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import lance  # noqa: F401  # once, here, rather than in each fork
import numpy as np
import torch
from PIL import Image

import clipx._threads
import clipx.index.index
import clipx.index.writer
from clipx import pipeline
from clipx.index import Index, snapshot
from clipx.index.collection import Collection
from clipx.index.lance import LanceStore
from clipx.modalities.image import Image as ImageModality
from clipx.parts import Parts

BORDERS = 60  # about as many as an update passes


def picture(path, seed):
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path)


def parts(self, samples):
    """Pictures of 8 x 8 pixels -> unit vectors, which differ where the pixels do."""
    pixels = torch.stack([sample.flatten() for sample in samples]) - 0.5
    mix = torch.from_numpy(np.random.default_rng(0).normal(size=(pixels.shape[1], self.space.dim)))
    return Parts.whole(torch.nn.functional.normalize(pixels @ mix.float(), dim=1))


def rows(index):
    columns = ["path", "window", "modality", "size", "mtime_ns", "sha256", "vector"]
    return sorted(index.store.scan(columns).to_pylist(), key=lambda row: (row["path"], row["window"]))


def instrument(border):
    """Call ``border`` before and after every step of the work."""

    def between(owner, name):
        real = getattr(owner, name)

        def call(*args, **options):
            border()
            result = real(*args, **options)
            border()
            return result

        setattr(owner, name, call)

    for owner, name in [
        *(
            (pipeline, "read"),
            (pipeline, "encode_batch"),
            (snapshot, "_write_arrow"),
            (clipx.index.index, "find_files"),
        ),
        *((LanceStore, "write"), (LanceStore, "delete"), (LanceStore, "optimize"), (Collection, "entries")),
    ]:
        between(owner, name)


def killed(db, files, space, at, from_outside):
    """Update an index in a fork that is killed when it has passed ``at`` borders; whether it was."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        passed = 0

        def border():
            nonlocal passed
            passed += 1
            if from_outside:
                os.write(writing, b".")
            elif passed == at:
                os.kill(os.getpid(), signal.SIGKILL)

        instrument(border)
        with Index.open(db, space) as index:
            index.add([files], batch_size=4)
        os._exit(0)
    os.close(writing)
    passed = 0
    while from_outside and passed < at and (got := os.read(reading, 1)):
        passed += len(got)
    if from_outside and passed == at:
        os.kill(child, signal.SIGKILL)
    os.close(reading)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def main(space_folder, work):
    torch.set_num_threads(1)
    ImageModality.parts, ImageModality.example = parts, staticmethod(lambda: torch.rand(3, 8, 8))
    clipx.index.writer.COMMIT, clipx._threads.READERS = 4, 2
    space = clipx.load_space(space_folder)
    files, start = work / "files", work / "start"
    for i in range(40):
        picture(files / f"{i % 3}" / f"{i:02}.png", i)
    # nothing of Lance runs in this process before the last fork: its threads would be missing in the fork
    first = os.fork()
    if not first:
        with Index.create(start, space) as index:
            index.add([files])
        os._exit(0)
    os.waitpid(first, 0)
    for i in range(10):  # changed, renamed, removed, and new ones
        picture(files / f"{i % 3}" / f"{i:02}.png", 100 + i)
        old = files / f"{(i + 10) % 3}" / f"{i + 10}.png"
        old.rename(files / f"renamed{i}.png")
        (files / f"{(i + 20) % 3}" / f"{i + 20}.png").unlink()
        picture(files / "new" / f"{i}.png", 200 + i)
    moments = random.Random(0)
    deaths = []
    for trial in range(20):
        shutil.copytree(start, work / f"trial{trial}")
        at = moments.randrange(1, BORDERS)
        deaths.append(killed(work / f"trial{trial}", files, space, at, from_outside=trial % 3 == 0))
    with Index.create(work / "undisturbed", space) as index:
        index.add([files])
        wanted = rows(index)
    for trial in range(20):
        with Index.open(work / f"trial{trial}", space) as index:
            before = rows(index)
            keys = [(row["path"], row["window"]) for row in before]
            assert len(set(keys)) == len(keys), f"trial {trial}: doubled"
            index.add([files])
            got = rows(index)
        assert [{**r, "vector": 0} for r in got] == [{**r, "vector": 0} for r in wanted], f"trial {trial} differs"
        assert np.allclose([r["vector"] for r in got], [r["vector"] for r in wanted], atol=1e-5), f"trial {trial}"
    print(json.dumps(deaths))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
