"""An index whose large modalities stay on disk: what a search finds, what an update costs, what is in memory."""

import hashlib
import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clipx
from clipx.embedding import Embedding
from clipx.index import Index
from clipx.index.kmeans import spherical_kmeans
from clipx.index.known import KnownFiles
from clipx.index.null_model import ITEMS
from clipx.index.scan import Found
from clipx.index.store import Entry

MANY, MOST, FRAGMENT = 3000, 500, 500


@pytest.fixture(scope="module")
def space(space_folder):
    return clipx.load_space(space_folder)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def entry(path, vector, modality="image"):
    return Entry(Found(path, 1, 1, modality), hashlib.sha256(path.encode()).hexdigest(), [None], vector[None], None)


def crowd(count, dim, seed=0):
    """Unit vectors about 100 centres."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(100, dim))
    return unit(centres[rng.integers(0, 100, count)] + 0.4 * rng.normal(size=(count, dim)))


@pytest.fixture
def large(tmp_path, space, monkeypatch):
    """2,900 pictures, which stay in the store, 100 sketches, and their vectors."""
    monkeypatch.setattr("clipx.index.collection.EXACT_ROWS", MOST)
    monkeypatch.setattr("clipx.index.ann.EXACT_ROWS", MOST)
    monkeypatch.setattr("clipx.index.search.EXACT_ROWS", MOST)
    monkeypatch.setattr("clipx.index.lance.FRAGMENT_ROWS", FRAGMENT)
    vectors = crowd(MANY, space.dim)
    with Index.create(tmp_path / "my.index", space) as index:
        kinds = ["sketch" if i % 30 == 7 else "image" for i in range(MANY)]
        entries = [entry(f"/x/{i:04}.png", v, kind) for i, (v, kind) in enumerate(zip(vectors, kinds, strict=True))]
        for start in range(0, MANY, FRAGMENT):
            index._collection.write(entries[start : start + FRAGMENT], replace=False)
        index.build_ann()
        yield index, vectors


def query(space, vector):
    return Embedding(vector[None], space.id, "image")


def test_vectors_of_a_large_modality_are_not_in_the_snapshot(large, space):
    index, vectors = large
    snapshot = index._collection.snapshot()
    assert dict(snapshot.sampled) == {"image": (2900, 2900)}
    assert len(snapshot) == ITEMS + 100 and len(index) == MANY
    assert index.stats()["modalities"] == {"image": 2900, "sketch": 100}
    found = index.search(query(space, vectors[10]), 10, ranking="cosine")
    cosines = vectors @ vectors[10]
    assert [hit.path for hit in found] == [f"/x/{i:04}.png" for i in np.argsort(-cosines)[:10]]
    assert [hit.cosine for hit in found] == pytest.approx(np.sort(cosines)[::-1][:10].tolist(), abs=1e-6)


@pytest.mark.parametrize("ranking", ["cosine", "described"])
def test_hits_of_an_approximate_search_are_those_of_an_exact_one(large, space, ranking):
    index, vectors = large
    rng, same = np.random.default_rng(1), 0
    for i in range(0, MANY, 100):
        near = query(space, unit(vectors[i] + 0.3 * unit(rng.normal(size=space.dim))))
        true = index.search(near, 10, ranking=ranking, exact=True)
        found = {hit.path: hit for hit in index.search(near, 10, ranking=ranking)}
        for hit in true:
            if hit.path in found:
                same += 1
                assert replace(found[hit.path], rank=0) == replace(hit, rank=0)
    assert same >= 0.95 * 10 * 30


def test_an_update_is_found_at_once(large, space):
    """Rows that the approximate index does not know yet are searched as well, and those that are gone are not found."""
    index, vectors = large
    new = unit(np.random.default_rng(5).normal(size=(3, space.dim)))
    for i, vector in enumerate(new):
        index._collection.write([entry(f"/new/{i}.png", vector)], replace=False)
        assert index.search(query(space, vector), 1, ranking="cosine")[0].path == f"/new/{i}.png"
    index.store.optimize()
    assert [index.search(query(space, v), 1, ranking="cosine")[0].path for v in new] == [
        f"/new/{i}.png" for i in range(3)
    ]
    index._collection.write([entry("/x/0010.png", new[0])], replace=True)
    assert {hit.path for hit in index.search(query(space, new[0]), 2, ranking="cosine")} == {
        "/new/0.png",
        "/x/0010.png",
    }
    assert "/x/0010.png" not in {h.path for h in index.search(query(space, vectors[10]), 10, ranking="cosine")}
    assert index.remove(["/new"]) == 3
    assert index.search(query(space, new[1]), 1, ranking="cosine")[0].path != "/new/1.png"


def test_many_updates_leave_few_parts_of_the_approximate_index(large, space):
    from clipx.index.lance import DELTAS

    index, _ = large
    vectors = unit(np.random.default_rng(9).normal(size=(30, space.dim)))
    for i, vector in enumerate(vectors):
        index._collection.write([entry(f"/new/{i}.png", vector)], replace=False)
        index.store.optimize()
    parts = [one for one in index.store._latest().list_indices() if one["name"] == "vector_idx"]
    assert len(parts) <= DELTAS + 2
    about = index.store._latest().stats.index_stats("vector_idx")
    assert about["num_unindexed_rows"] == 0 and about["num_indexed_rows"] == MANY + 30
    assert len(index.store._latest().get_fragments()) <= MANY // FRAGMENT + DELTAS + 3
    for i, vector in enumerate(vectors):
        assert index.search(query(space, vector), 1, ranking="cosine")[0].path == f"/new/{i}.png"


def test_searches_are_right_while_another_writes(large, space):
    """Transactions, compactions and deletions happen between the steps of a search; its answer stays the same."""
    index, vectors = large
    wanted = [index.search(query(space, vectors[i]), 3, ranking="cosine") for i in range(0, MANY, 150)]
    reader, wrong, ended = Index.open(index.folder, space), [], threading.Event()

    def read():
        while not ended.is_set():
            for i, hits in zip(range(0, MANY, 150), wanted, strict=True):
                found = reader.search(query(space, vectors[i]), 3, ranking="cosine")
                if [hit.path for hit in found] != [hit.path for hit in hits]:
                    wrong.append((i, found))

    thread = threading.Thread(target=read)
    thread.start()
    away = unit(np.random.default_rng(3).normal(size=(40, space.dim)) - 3 * vectors.mean(0))
    for i, vector in enumerate(away):
        index._collection.write([entry(f"/new/{i}.png", vector)], replace=False)
        if i % 5 == 4:
            index.store.optimize()
        if i % 10 == 9:
            index.store.delete([f"/new/{i - 1}.png"])
    ended.set()
    thread.join()
    assert not wrong


def test_an_index_that_was_built_in_parts_finds_the_same(large, space):
    """With the same centres, the parts hold the same cells; later rows are merged into neither."""
    from clipx.index.lance import DELTAS

    index, vectors = large
    queries = [query(space, vectors[i]) for i in range(0, MANY, 100)]
    index.store.build_ann()
    wanted = [index.search(one, 10, ranking="cosine") for one in queries]
    index.store.build_ann(lambda work, items: [work(item) for item in reversed(items)][::-1])
    assert [index.search(one, 10, ranking="cosine") for one in queries] == wanted

    def parts():
        return [one for one in index.store._latest().list_indices() if one["name"] == "vector_idx"]

    built = {one["uuid"] for one in parts()}
    assert len(built) == MANY // FRAGMENT
    new = unit(np.random.default_rng(4).normal(size=(2 * DELTAS, space.dim)))
    for i, vector in enumerate(new):
        index._collection.write([entry(f"/new/{i}.png", vector)], replace=False)
        index.store.optimize()
    assert built <= {one["uuid"] for one in parts()} and len(parts()) <= len(built) + DELTAS + 1
    assert [index.search(query(space, v), 1, ranking="cosine")[0].path for v in new] == [
        f"/new/{i}.png" for i in range(2 * DELTAS)
    ]


def test_it_is_built_again_when_it_has_doubled(large, space, monkeypatch):
    from clipx.index import ann

    index, _ = large
    built = []
    monkeypatch.setattr(ann, "build", lambda collection, spread: built.append(collection))
    ann.build_if_large(index._collection)
    more = crowd(MANY + 1, space.dim, seed=2)
    index._collection.write([entry(f"/y/{i}.png", vector) for i, vector in enumerate(more[:-1])], replace=False)
    ann.build_if_large(index._collection)
    assert not built
    index._collection.write([entry("/y/last.png", more[-1])], replace=False)
    ann.build_if_large(index._collection)
    assert len(built) == 1


def test_a_file_of_a_large_modality_is_read_as_it_was(large, space, tmp_path):
    """Also where the sample does not hold it."""
    index, _ = large
    snapshot = index._collection.snapshot()
    kept = set(snapshot.columns["path"].to_pylist())
    out = next(f"/x/{i:04}.png" for i in range(MANY) if i % 30 != 7 and f"/x/{i:04}.png" not in kept)
    assert snapshot.modality_of(out) is None
    assert index._searcher.modality_of(out) == "image"
    assert index._searcher.modality_of("/none.png") is None


# What the approximate index must not lose -----------------------------------------------------------------------------


@pytest.fixture
def two_regions(tmp_path, space, monkeypatch):
    """Pictures and sketches about opposite means, as the modalities of a CLIP keep to regions of their own."""
    for module in ("ann", "collection", "search"):
        monkeypatch.setattr(f"clipx.index.{module}.EXACT_ROWS", MOST)
    rng = np.random.default_rng(0)
    mean = unit(rng.normal(size=space.dim))
    vectors = {
        "image": unit(mean + 0.5 * crowd(2000, space.dim, 1)),
        "sketch": unit(-mean + 0.5 * crowd(2000, space.dim, 2)),
    }
    with Index.create(tmp_path / "my.index", space) as index:
        for name, rows in vectors.items():
            entries = [entry(f"/{name}/{i:04}.png", vector, name) for i, vector in enumerate(rows)]
            index._collection.write(entries, replace=False)
        index.build_ann()
        yield index, vectors


@pytest.mark.parametrize("modality", ["image", "sketch"])
@pytest.mark.parametrize("ranking", ["cosine", "described"])
def test_a_modality_far_from_the_query_is_searched_as_well(two_regions, space, modality, ranking):
    index, vectors = two_regions
    queries = [query(space, vectors[name][i]) for name in vectors for i in range(0, 2000, 200)] + ["cat", "chair"]
    same = 0
    for one in queries:
        true = {hit.path for hit in index.search(one, 10, modality, ranking=ranking, exact=True)}
        found = {hit.path for hit in index.search(one, 10, modality, ranking=ranking)}
        assert len(found) == len(true) == 10
        same += len(true & found)
    # described asks for rows near to the words of the highest weight, which of a tiny space are next to random
    assert same >= {"cosine": 0.95, "described": 0.8}[ranking] * 10 * len(queries)


def test_as_many_hits_as_there_are_whatever_is_asked_for(large, space):
    index, vectors = large
    one = query(space, vectors[10])
    for k, sql in (
        (10, "path LIKE '%1.png'"),
        (10, "path LIKE '%11.png'"),
        (1000, None),
        (5000, None),
        (700, "size = 1"),
    ):
        for ranking in ("cosine", "described"):
            true = index.search(one, k, sql=sql, ranking=ranking, exact=True)
            found = index.search(one, k, sql=sql, ranking=ranking)
            assert len(found) == len(true)
            same = len({hit.path for hit in true} & {hit.path for hit in found})
            assert same >= 0.95 * len(true), (k, sql, ranking)


def test_hits_are_files_however_many_windows_they_have(tmp_path, space, monkeypatch):
    for module in ("ann", "collection", "search"):
        monkeypatch.setattr(f"clipx.index.{module}.EXACT_ROWS", MOST)
    centres, rng = crowd(60, space.dim), np.random.default_rng(1)
    with Index.create(tmp_path / "my.index", space) as index:
        entries = []
        for i, centre in enumerate(centres):
            windows = unit(centre + 0.2 * rng.normal(size=(60, space.dim)))
            file = Found(f"/s/{i:02}.wav", 1, 1, "audio")
            times = [(float(t), t + 1.0) for t in range(60)]
            entries.append(Entry(file, hashlib.sha256(bytes([i])).hexdigest(), times, windows, None))
        index._collection.write(entries, replace=False)
        index.build_ann()
        snapshot = index._collection.snapshot()
        assert dict(snapshot.sampled) == {"audio": (60, 3600)} and index.stats()["files"] == 60
        assert snapshot.first_windows.sum() == len(set(snapshot.columns["path"].to_pylist())) >= 50
        for i in range(0, 60, 6):
            hits = {
                (ranking, exact): index.search(query(space, centres[i]), 10, ranking=ranking, exact=exact)
                for ranking in ("cosine", "described")
                for exact in (False, True)
            }
            assert all(len({hit.path for hit in own}) == 10 for own in hits.values())
            assert [hit.path for hit in hits["cosine", False]] == [hit.path for hit in hits["cosine", True]]
            assert hits["cosine", False][0].path == f"/s/{i:02}.wav"


def test_of_equal_scores_the_first_paths_win(large, space):
    index, vectors = large
    copies = [entry(f"/copy/{i:02}.png", vectors[10]) for i in np.random.default_rng(0).permutation(60)]
    for start in range(0, 60, 20):
        index._collection.write(copies[start : start + 20], replace=False)
    one = query(space, vectors[10])
    hits = index.search(one, 10, "image", ranking="cosine", exact=True)
    assert [hit.path for hit in hits] == [f"/copy/{i:02}.png" for i in range(10)]
    paths = [hit.path for hit in index.search(one, 10, "image", ranking="cosine")]  # of the copies that are proposed
    assert paths == sorted(paths) and all(path.startswith("/copy/") for path in paths)
    small = [entry(f"/small/{i:02}.png", vectors[10], "sketch") for i in range(30, -1, -1)]
    index._collection.write(small, replace=False)
    hits = index.search(query(space, vectors[10]), 10, "sketch", ranking="cosine")
    assert [hit.path for hit in hits] == [f"/small/{i:02}.png" for i in range(10)]


def test_an_expression_selects_the_same_rows_while_another_writes(large, space, monkeypatch):
    """A compaction between the snapshot and the expression gives the ids to other rows."""
    index, vectors = large
    one, real = query(space, vectors[7]), type(index.store).filter
    index._collection.write([entry(f"/s/{i}.png", v, "sketch") for i, v in enumerate(vectors[:50])], replace=False)
    index._collection.write([entry(f"/t/{i}.png", v, "sketch") for i, v in enumerate(vectors[50:60])], replace=False)
    wanted = index.search(one, 10, "sketch", sql="path LIKE '/s/%'", ranking="cosine")
    calls = []

    def filtered(store, where):
        if not calls:
            calls.append(where)
            store.delete(["/t/3.png"])
            store.optimize()
        return real(store, where)

    monkeypatch.setattr(type(index.store), "filter", filtered)
    hits = index.search(one, 10, "sketch", sql="path LIKE '/s/%'", ranking="cosine")
    assert calls and [hit.path for hit in hits] == [hit.path for hit in wanted]


def test_what_is_proposed_is_of_one_version(large, monkeypatch):
    """As above, between the ids that the approximate index finds and the rows that are fetched by them."""
    from clipx.index.lance import LanceStore

    index, vectors = large
    index.store.delete([f"/x/{i:04}.png" for i in range(0, 9)])
    wanted = index.store.nearest(vectors[10:11], 5, 64, ["path"])["path"].to_pylist()
    other, real, calls = LanceStore(index.folder, index.store.name), LanceStore._scanner, []

    def scanner(self, columns, where="", nearest=None, table=None, **options):
        if nearest is None and not calls:
            calls.append(columns)
            other._latest().optimize.compact_files(
                target_rows_per_fragment=100_000, materialize_deletions_threshold=0.0
            )
        return real(self, columns, where, nearest, table, **options)

    monkeypatch.setattr(LanceStore, "_scanner", scanner)
    found = index.store.nearest(vectors[10:11], 5, 64, ["path"])["path"].to_pylist()
    assert calls and sorted(found) == sorted(wanted) and "/x/0010.png" in found


# The centres of the cells ---------------------------------------------------------------------------------------------


def test_k_means_agrees_with_a_plain_loop():
    rows = crowd(400, 8)
    centres = rows[np.linspace(0, 399, 7).round().astype(int)].copy()
    for _ in range(10):
        nearest = [int(np.argmax([row @ centre for centre in centres])) for row in rows]
        for c in range(7):
            own = [row for row, n in zip(rows, nearest, strict=True) if n == c]
            if own:
                total = np.sum(own, axis=0, dtype=np.float64)
                centres[c] = total / np.linalg.norm(total)
    found = spherical_kmeans(rows, 7)
    np.testing.assert_allclose(found, centres, atol=1e-5)
    assert np.array_equal(found, spherical_kmeans(rows, 7))


def test_k_means_keeps_a_centre_that_nothing_is_near_to():
    rows = np.repeat(unit(np.eye(3)), [5, 5, 5], axis=0)
    found = spherical_kmeans(rows, 6)
    assert found.shape == (6, 3) and np.allclose(np.linalg.norm(found, axis=1), 1)


# What is known of files -----------------------------------------------------------------------------------------------

LOCAL = ["/a", "/a/b.png", "/a/c.png", "/ab/d.png", "/a/b/é.png", "/a/b'.png", "/z.wav"]
LOCAL += ["/", "C:\\", "C:\\a", "C:\\a\\b.png", "C:\\a\\b\\é.png", "C:\\ab\\c.png"]
LOCAL += ["C:\\a/b.png", "/a\\b.png", "\\\\host\\a\\b"]
NAMES = st.sampled_from([*LOCAL, "s3://a", "s3://a/b.png", "s3://a\\b.png"])
FILES = st.builds(Found, NAMES, st.integers(0, 2), st.integers(0, 2), st.sampled_from(["image", "audio"]))


def known_of(held, chunks=()):
    """The KnownFiles of these, from a table that is cut into chunks at these positions."""
    import pyarrow as pa

    kinds = {"path": pa.string(), "size": pa.int64(), "mtime_ns": pa.int64(), "modality": pa.string()}
    table = pa.table({name: pa.array([getattr(f, name) for f in held], kind) for name, kind in kinds.items()})
    hashes = [hashlib.sha256(file.path.encode()).hexdigest() for file in held]
    table = table.append_column("sha256", pa.array(hashes, pa.string()))
    places = [0, *sorted(chunks), len(held)]
    return KnownFiles(pa.concat_tables([table[i:j] for i, j in pairwise(places)]))


@pytest.mark.parametrize("sep", ["/", "\\"])
@settings(max_examples=60, deadline=None)
@given(st.data(), st.lists(FILES, unique_by=lambda file: file.path), st.lists(FILES), st.lists(NAMES))
def test_known_files_agree_with_a_dict(sep, data, held, walked, tops):
    """Also on Windows, and where the table is in several chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clipx.index.scan.os.sep", sep)
        check_known_files(sep, data.draw(st.lists(st.integers(0, len(held)), max_size=4)), held, walked, tops)


def check_known_files(sep, chunks, held, walked, tops):
    known = known_of(held, chunks)
    by_path = {file.path: file for file in held}
    assert list(known.found()) == held and len(known) == len(held)
    assert known.as_before(walked).tolist() == [by_path.get(file.path) == file for file in walked]
    at = known.positions([file.path for file in walked]).tolist()
    assert [held[i].path if i >= 0 else None for i in at] == [f.path if f.path in by_path else None for f in walked]

    def under(path):
        for top in tops:
            separator = "/" if "://" in top else sep
            if path == top or path.startswith(top if top.endswith(separator) else top + separator):
                return True
        return False

    assert known.under(tops) == [file.path for file in held if under(file.path)]
    assert known.under(tops, "audio") == [f.path for f in held if under(f.path) and f.modality == "audio"]
    assert known.elsewhere(tops) == [file.path for file in held if not under(file.path)]
    assert all(known.contents.holds(f.modality, hashlib.sha256(f.path.encode()).hexdigest()) for f in held)
    assert not known.contents.holds("image", "0" * 64)


def test_known_files_are_not_limited_to_two_gigabytes():
    """The hashes of 33 million files are more bytes than a string array counts.

    So much is not made here, since a table and its copies would take more memory than a machine for tests has; the
    arrays have to be of the type that counts in 64 bits, with which pyarrow joins and looks up any size.
    """
    import pyarrow as pa

    held = [Found(f"/a/{i}.png", i, i, "image") for i in range(9)]
    known = known_of(held, [2, 2, 5])
    assert {name: known.rows[name].type for name in ("path", "modality", "sha256")} == {
        name: pa.large_string() for name in ("path", "modality", "sha256")
    }
    assert list(known.found([7, 0])) == [held[7], held[0]]
