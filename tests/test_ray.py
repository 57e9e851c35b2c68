"""An index made on a Ray cluster is that of one machine, whatever is killed on the way."""

import json
import os
import signal
import subprocess
import sys
import wave

import numpy as np
import pytest
from indexed import assert_same, picture, rows, summary
from memory_store import MemoryStores

import clipx
from clipx.errors import InputError, MissingDependencyError, SpaceError
from clipx.index import Index

pytest.importorskip("ray")

from clipx.index.ray_engine import RayEngine

SHARD, BATCH = 100, 16  # files


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """240 pictures, 40 clouds, a drawing, what is no picture, and a sound, which the tiny space has no tower for."""
    folder = tmp_path_factory.mktemp("files")
    for i in range(240):
        picture(folder / f"{i % 7}" / f"p{i}.png", i)
    for i in range(40):
        np.savetxt(folder / f"c{i}.xyz", np.random.default_rng(i).normal(size=(32, 3)) * [1, 1, 1 + i / 40])
    (folder / "house.ndjson").write_text('{"word": "house", "drawing": [[[0, 90, 90, 0, 0], [0, 0, 60, 60, 0]]]}')
    (folder / "broken.png").write_bytes(b"\x89PNG corrupt")
    with wave.open(str(folder / "a.wav"), "wb") as sound:
        sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(16000)
        sound.writeframes((np.sin(np.arange(16000) / 9) * 9000).astype("<i2").tobytes())
    return folder


@pytest.fixture(scope="module")
def space(space_folder):
    return clipx.load_space(space_folder)


@pytest.fixture(scope="module")
def plain(files, space, tmp_path_factory):
    """An index of the files, made on one machine, and its report."""
    with Index.create(tmp_path_factory.mktemp("plain") / "my.index", space, space.folder) as index:
        did = index.add(files)
        assert did.added == 281 and len(did.failures) == 2
        yield index, did


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A file to which every actor writes what it encodes: its process, and the file's path."""
    return tmp_path_factory.mktemp("log") / "encoded.txt"


def sharing():
    """What lets a process read URLs such as shared:///folder: fsspec has no file system of its own for such tests."""

    def register():
        import fsspec
        from fsspec.implementations.local import LocalFileSystem

        class Shared(LocalFileSystem):
            protocol = "shared"

            @classmethod
            def _strip_protocol(cls, path):
                return LocalFileSystem._strip_protocol(path.removeprefix("shared://"))

        fsspec.register_implementation("shared", Shared, clobber=True)

    return register


def counting(log):
    """What each of Ray's processes runs first."""
    register = sharing()

    def patch():
        import os

        from clipx import pipeline

        register()

        real = pipeline.encode_batch

        def encode_batch(batch, *how):
            result = real(batch, *how)
            with open(log, "a") as file:
                file.writelines(f"{os.getpid()} {one.item.id}\n" for one in batch)
            return result

        pipeline.encode_batch = encode_batch

    return patch


@pytest.fixture(scope="module")
def cluster(log):
    """Two nodes of one processor each, to which this process is connected."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100_000_000},
    )
    cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    ray.init(
        address=cluster.address,
        runtime_env={"worker_process_setup_hook": counting(str(log))},
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def encoded(log, cluster):
    """Called, it gives the (process, path) pairs that were encoded since the test began."""
    log.write_text("")
    return lambda: [tuple(line.split(" ", 1)) for line in log.read_text().splitlines()]


def engine(**more):
    return RayEngine(shard_files=SHARD, **more)


@pytest.mark.slow
def test_a_cluster_gives_what_one_machine_gives(files, space, plain, encoded, tmp_path):
    calls, versions = [], set()
    with Index.create(tmp_path / "my.index", space, space.folder) as index:

        def progress(done, total):
            calls.append((done, total))
            versions.add(index.store.state())

        did = index.add(files, batch_size=BATCH, progress=progress, engine=engine())
        assert summary(did) == summary(plain[1]) and calls[-1] == (283, 283)
        assert_same(index, plain[0])
        processes = {process for process, _ in encoded()}  # an actor that starts late may be given nothing
        assert 1 <= len(processes) <= 2 and str(os.getpid()) not in processes
        assert len(versions) >= 3  # shard by shard
        before = len(encoded())
        again = index.add(files, batch_size=BATCH, engine=engine())
        assert (again.added, again.unchanged) == (0, 281) and len(encoded()) == before
        assert index._collection.failures().keys() == plain[0]._collection.failures().keys()


@pytest.mark.slow
def test_an_update_by_a_cluster(files, space, encoded, tmp_path):
    folder = tmp_path / "few"
    for i in range(6):
        picture(folder / f"p{i}.png", i)
    with Index.create(tmp_path / "my.index", space, space.folder) as index:
        index.add(folder)
        picture(folder / "p0.png", 99)
        (folder / "p1.png").rename(folder / "moved.png")
        (folder / "p2.png").unlink()
        (folder / "p3.png").write_bytes(b"\x89PNG corrupt")
        did = index.add(folder, engine=engine())
        assert (did.added, did.updated, did.reused, did.unchanged, did.removed) == (0, 1, 1, 2, 3)
        assert [path.rpartition("/")[2] for _, path in encoded()] == ["p0.png"]
        with Index.create(tmp_path / "fresh.index", space) as fresh:
            fresh.add(folder)
            assert_same(index, fresh)


def test_the_approximate_index_is_built_in_parts(space, cluster, tmp_path, monkeypatch):
    from clipx.index.scan import Found
    from clipx.index.store import Entry

    monkeypatch.setattr("clipx.index.lance.FRAGMENT_ROWS", 400)
    vectors = np.random.default_rng(0).normal(size=(1200, space.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with Index.create(tmp_path / "my.index", space, space.folder) as index:
        for start in range(0, 1200, 400):
            some = enumerate(vectors[start : start + 400], start)
            entries = [Entry(Found(f"/x/{i}.png", 1, 1, "image"), f"{i:064x}", [None], v[None], None) for i, v in some]
            index._collection.write(entries, replace=False)
        assert index.build_ann() >= 0.97
        alone = set(index.store.nearest(vectors[:5], 10, 4, ["path"])["path"].to_pylist())
        assert index.build_ann(engine()) >= 0.97
        parts = [one for one in index.store._latest().list_indices() if one["name"] == "vector_idx"]
        assert len(parts) == 3
        spread = set(index.store.nearest(vectors[:5], 10, 4, ["path"])["path"].to_pylist())
        assert len(alone & spread) >= 0.9 * len(alone)  # of the same cells; each part rounds the vectors for itself


@pytest.mark.slow
def test_files_at_a_url(files, space, encoded, tmp_path):
    """Each actor reads them itself."""
    sharing()()
    with Index.create(tmp_path / "my.index", space, space.folder) as index:
        assert index.add(f"shared://{files}/1", engine=engine()).added == 35
        read = encoded()
        assert sorted(path for _, path in read) == [row["path"] for row in rows(index)]
        assert all(path.startswith(f"shared://{files}/1/") and int(process) != os.getpid() for process, path in read)
        with Index.create(tmp_path / "plain.index", space) as plain:
            plain.add(f"shared://{files}/1")
            assert_same(index, plain)


DRIVER = """
import os, signal, sys
import ray
sys.path.insert(0, sys.argv[5])
from test_ray import BATCH, counting, engine
from clipx.index import Index
folder, db, address, log = sys.argv[1:5]
ray.init(address=address, runtime_env={"worker_process_setup_hook": counting(log)}, log_to_driver=False)
seen = []
def progress(done, total):
    seen.append(done)
    if done >= 150:
        os.kill(os.getpid(), signal.SIGKILL)
Index.open(db).add(folder, batch_size=BATCH, engine=engine(), progress=progress)
"""


@pytest.mark.slow
def test_what_is_killed_is_done_again_and_no_more(files, space, plain, cluster, encoded, log, tmp_path):
    """First the driver, then an actor: nothing is lost or doubled; a shard, and a block of files, are encoded again."""
    db, here = tmp_path / "my.index", os.path.dirname(__file__)
    Index.create(db, space, space.folder).close()
    arguments = [files, db, cluster.address, log, here]
    driver = subprocess.run([sys.executable, "-c", DRIVER, *map(str, arguments)], capture_output=True, timeout=120)
    assert driver.returncode == -signal.SIGKILL, driver.stderr.decode()[-2000:]
    with Index.open(db, space) as index:
        there = len(rows(index))
        first = encoded()
        assert SHARD <= there + 2 < 2 * SHARD and len({path for _, path in first}) - there <= SHARD
        killed = []

        def progress(done, total):
            new = {process for process, _ in encoded()} - {process for process, _ in first}
            if not killed and new:
                killed.append(new.pop())
                os.kill(int(killed[0]), signal.SIGKILL)

        did = index.add(files, batch_size=BATCH, engine=engine(), progress=progress)
        assert killed and did.added == 281 - there and len(did.failures) == 2
        assert_same(index, plain[0])
    again = [path for _, path in encoded()[len(first) :]]
    assert len(again) - len(set(again)) <= BATCH and len({*again, *(path for _, path in first)}) == 281


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_space_in_memory_is_refused(files, tiny_space, cluster, tmp_path):
    with (
        Index.create(tmp_path / "my.index", tiny_space) as index,
        pytest.raises(SpaceError, match=r"an actor cannot load the space .*; make the index with") as caught,
    ):
        index.add(files / "c0.xyz", engine=engine())
    assert "\n" not in str(caught.value)


def test_a_store_for_one_writer_is_refused(files, space, tmp_path):
    with (
        Index.create(tmp_path / "my.index", space, store=MemoryStores()) as index,
        pytest.raises(InputError, match="not made for several writers"),
    ):
        index.add(files, engine=engine())


def test_ray_that_is_missing_or_does_not_answer(monkeypatch, files, space, tmp_path):
    for name in ("workers", "shard_files"):
        with pytest.raises(InputError, match=f"{name} must be at least 1"):
            RayEngine(**{name: 0})
    with pytest.raises(InputError, match="no device 'cuda:1' of an actor"):
        RayEngine(device="cuda:1")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'clipx-modalities\[ray\]'"):
        RayEngine()


@pytest.mark.slow
def test_the_command(files, run, cluster):
    line = f"index {files}/1 --db a.index --engine ray --workers 2 --shard-files 20 --json"
    status, *printed = run(line)
    # Ray may still tell this process, which is connected to it, of the workers that the test before killed
    out, err = ("\n".join(text for text in one.splitlines() if "(raylet)" not in text) for one in printed)
    assert status == 0 and all(text.startswith("indexing: ") for text in err.splitlines()), err
    assert json.loads(out)["results"][0]["added"] == json.loads(out)["files"] == 35
