"""What the index does, measured: python tests/benchmarks/bench_index.py WHAT [--json]

WHAT is mixed, calibration, exact, ann, million or throughput. What a search costs as a process: bench_startup.py.

mixed DATA: mean average precision of a mixed search in nano. The gallery is the test split of Caltech-101 (photos), of
    QuickDraw (drawings) and of ModelNet10 (clouds, z up), DATA being the folder that holds images/ and pointcloud/.
    Queries are the words and the photos of the classes that at least two of the three share; what is right is what has
    the query's class, and a photo is never its own answer. Rankings: raw cosine; after each modality's mean is taken
    from its items, and the mean of its own kind from the query (centring, the usual remedy); z-norm by pair of
    modalities; S-norm (query and item); the index's score in a space of open vocabulary, here with the everyday nouns
    that nano knows; and the index's own score. Then what a confidence of 0.5 lets through: queries
    whose class is in the index, and the same with that class filtered out. --split train is what settings were chosen
    on: at most 12 photos, 6 drawings and 45 clouds of a class.
calibration DATA: whether a confidence is worth what it says, in nano with DATA/images: photos of Caltech-101, Grocery
    and Clothing (all splits), asked for by their labels. Beyond the photos at hand, rows are copies that random noise
    displaces (cosine about 0.9). For 1,000, 100,000 and 1,000,000 rows: how often the best hit is right, by its
    confidence, when half of the labels asked for are taken out; and how often a label that is not there reaches 0.5
    and 0.9. By cosine and, up to 100,000 rows, by description.
exact: the ten best of 100,000 x 512 by Index.search, and by a float32 matmul and argpartition in numpy.
ann: the approximate index over 100,000 x 512, of vectors without structure (on the sphere) and in 1,000 clusters:
    recall@10 by cosine as it was measured when it was built, recall@10 of Index.search against its exact search, for
    queries beside items and for words, and the time of either.
million: an index of --count (1,000,000) unit vectors of 512 dimensions about 20,000 centres, of which 1,389 are its
    words, filled by the write step: rows a second, bytes, seconds to build the approximate index, recall@10 against a
    search of all rows for queries beside items (cosine 0.89) and for words, and in a process of its own the latency of
    either search and the most memory that it held. Then 1,000 new files are added, twice: the seconds beyond encoding
    them, the second time while another process searches for what it knows the answer to.
throughput FOLDER: photos a second of Index.add, of reading alone, and of encoding the same photos from memory, by
    --space: the better of each batch in all threads, and as many batches at once as there are threads. In turns, --runs
    times: median (least to most). "share" is the pace of Index.add to that of the encoder, "share of cpu" the same by
    the time of all processors, which other programs disturb less.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx._threads import READERS
from clipx.index import Index
from clipx.index.arrays import evenly_spaced
from clipx.index.cosine import CosineRanking
from clipx.index.described import COSINE_OPEN, DescribedRanking, mean_vectors
from clipx.index.null_model import NullModel, confidence
from clipx.index.query import Queries
from clipx.index.scan import Found, find_files
from clipx.index.search import QUERIES
from clipx.index.store import Entry
from clipx.index.vocabulary import Vocabulary, everyday_nouns
from clipx.metrics import ranking
from clipx.pipeline import MAX_ENCODERS

if TYPE_CHECKING:
    from clipx.space import JointSpace

CAPS = {"train": (12, 6, 45), "test": (None, None, None)}


# Mixed search ---------------------------------------------------------------------------------------------------------


def gather(data: Path, split: str, folder: Path) -> None:
    """Write the three sets as files, folder/modality/class/name."""
    photos, drawings, clouds = CAPS[split]
    taken: dict[str, int] = {}

    def room(kind: str, label: str, cap: int | None) -> Path | None:
        taken[kind + label] = taken.get(kind + label, 0) + 1
        if cap is not None and taken[kind + label] > cap:
            return None
        place = folder / kind / label
        place.mkdir(parents=True, exist_ok=True)
        return place

    images = data / "images"
    for row in rows_of(images / "caltech101/labels.csv", split):
        if place := room("photo", row["label"].lower(), photos):
            os.symlink(images / "caltech101" / row["path"], place / row["path"].replace("/", "-"))
    lines = (images / "quickdraw/quickdraw_simplified.ndjson").read_text().splitlines()
    for number, row in enumerate(csv.DictReader((images / "quickdraw/labels.csv").open(newline=""))):
        if row["split"] == split and (place := room("drawing", row["label"].lower(), drawings)):
            (place / f"{number}.ndjson").write_text(lines[number])
    with np.load(data / f"pointcloud/modelnet10_{split}.npz", allow_pickle=False) as arrays:
        for number, (points, label) in enumerate(zip(arrays["points"], arrays["labels"], strict=True)):
            if place := room("cloud", str(arrays["classes"][label]).replace("_", " "), clouds):
                np.save(place / f"{number}.npy", points)


def rows_of(table: Path, split: str) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def average_precision(scores: np.ndarray, right: np.ndarray) -> float:
    return ranking(scores[None], right[None])["mAP"]


def rankings(index: Index) -> dict[str, Callable[[np.ndarray, str], np.ndarray]]:
    """Name -> (query's vector, its kind) -> (N,) scores, of the ways that the index's own is compared with."""
    snapshot = index._collection.snapshot()
    x, modality = snapshot.items.vectors, np.array(snapshot.modality_names)[snapshot.modalities]
    words = index._collection.vocabulary.vectors
    rng = np.random.default_rng(0)

    def cohort(kind: str) -> np.ndarray:
        own = words if kind == "text" else x[modality == kind]
        return own[rng.permutation(len(own))[:512]]

    cohorts = {kind: cohort(kind) for kind in ("text", "image")}
    centred = x.copy()
    for name in snapshot.modality_names:
        centred[modality == name] -= x[modality == name].mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    pair = {
        (kind, name): (drawn.mean(), drawn.std())
        for kind, group in cohorts.items()
        for name in snapshot.modality_names
        for drawn in [group @ x[modality == name].T]
    }
    item = {kind: ((group @ x.T).mean(0), (group @ x.T).std(0)) for kind, group in cohorts.items()}

    def by_modality(scores: np.ndarray, change: Callable[[np.ndarray, str], np.ndarray]) -> np.ndarray:
        out = scores.copy()
        for name in snapshot.modality_names:
            out[modality == name] = change(scores[modality == name], name)
        return out

    def pair_z(q: np.ndarray, kind: str) -> np.ndarray:
        return by_modality(x @ q, lambda s, name: (s - pair[kind, name][0]) / pair[kind, name][1])

    def s_norm(q: np.ndarray, kind: str) -> np.ndarray:
        by_query = by_modality(x @ q, lambda s, name: (s - s.mean()) / s.std())
        return (by_query + (x @ q - item[kind][0]) / item[kind][1]) / 2

    # as in a space of open vocabulary: nouns that the space knows, little of them, and centred cosines
    nouns = tuple(word for word in everyday_nouns() if not index.space.unknown(word))
    own = index._collection.vocabulary
    open_words = Vocabulary(nouns, index.space.encode_text(nouns), own.scale, own.similarity_scale, own=False)
    means = mean_vectors(snapshot.items, snapshot.modalities, len(snapshot.modality_names))
    opened = DescribedRanking(open_words.items(x), snapshot.modalities, COSINE_OPEN, means)

    def open_vocabulary(q: np.ndarray, kind: str) -> np.ndarray:
        mean = open_words.vectors.mean(0) if kind == "text" else means[snapshot.modality_names.index(kind)]
        return opened.scores(Queries(open_words, q[None, None], [1.0], mean[None]))[0]

    return {
        "raw cosine": lambda q, kind: x @ q,
        "centring": lambda q, kind: centred @ (q - cohorts[kind].mean(0)),
        "z-norm by pair": pair_z,
        "S-norm": s_norm,
        "open vocabulary": open_vocabulary,
    }


def mixed(data: Path, split: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as work:
        files = Path(work) / "files"
        gather(data, split, files)
        with Index.create(Path(work) / "my.index", "nano") as index:
            did = index.add([files], settings={"pointcloud": {"up": "z"}}, thumbnails=False)
            paths = index._collection.snapshot().columns["path"].to_pylist()
            kinds, labels = (np.array([Path(p).parts[i] for p in paths]) for i in (-3, -2))
            shared = [c for c in sorted(set(labels)) if len(set(kinds[labels == c])) > 1 and not index.space.unknown(c)]
            queries = [("text", f'"{label}"', label, -1) for label in shared]
            queries += [
                ("image", p, label, i)
                for i, (p, kind, label) in enumerate(zip(paths, kinds, labels, strict=True))
                if kind == "photo" and label in shared and (labels == label).sum() > 1
            ]
            ways = rankings(index)
            found: dict[str, dict[str, list[float]]] = {name: {"text": [], "image": []} for name in [*ways, "clipx"]}
            sure: dict[str, list[float]] = {"text": [], "image": [], "no text": [], "no image": []}
            place = {path: i for i, path in enumerate(paths)}
            for kind, query, label, own in queries:
                others = np.arange(len(paths)) != own
                right = (labels == label)[others]
                terms = index._searcher.encode_terms(query, index._collection.snapshot())
                vector = terms[0].vector
                scores = {name: way(vector, kind) for name, way in ways.items()}
                scores["clipx"] = np.zeros(len(paths), np.float32)
                for hit in index.search(query, len(paths)):
                    scores["clipx"][place[hit.path]] = hit.score
                for name, own_scores in scores.items():
                    found[name][kind].append(average_precision(own_scores[others], right))
            folders = {
                kind: [q for q in queries if q[0] == kind][:: 1 if kind == "text" else 4] for kind in ("text", "image")
            }
            for kind, some in folders.items():
                for _, query, label, own in some:
                    itself = f"path <> '{paths[own]}'" if own >= 0 else "true"
                    for state, where in ((kind, itself), (f"no {kind}", f"path NOT LIKE '%/{label}/%'")):
                        hits = index.search(query, 20, sql=where)
                        sure[state].append(max(hit.confidence for hit in hits))
    result: dict[str, Any] = {
        "files": did.added,
        "failures": len(did.failures),
        "classes": len(shared),
        "queries": {kind: len(values) for kind, values in found["clipx"].items()},
        "mAP": {
            name: {
                **{kind: round(float(np.mean(values)), 4) for kind, values in own.items()},
                "all queries": round(float(np.mean(own["text"] + own["image"])), 4),
                "mean of kinds": round(float(np.mean([np.mean(own["text"]), np.mean(own["image"])])), 4),
            }
            for name, own in found.items()
        },
        "confident at 0.5": {
            state: round(float(np.mean(np.array(values) >= 0.5)), 3) for state, values in sure.items()
        },
    }
    return result


# Calibration ----------------------------------------------------------------------------------------------------------

BINS = (0.0, 0.1, 0.5, 0.9, 1.0)


def calibration(data: Path, sizes: tuple[int, ...] = (1_000, 100_000, 1_000_000)) -> dict[str, Any]:
    from clipx.api import make_modality
    from clipx.spaces.loading import load_space

    space = load_space("nano")
    vocabulary, encoder = Vocabulary.of(space), make_modality("image", space)
    vectors, labels = [], []
    for name in ("caltech101", "grocery_store", "clothing"):
        with (data / "images" / name / "labels.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        for start in range(0, len(rows), 64):
            part = rows[start : start + 64]
            samples = [encoder.load(data / "images" / name / row["path"]) for row in part]
            vectors.append(encoder.encode(samples).vectors)
            labels += [row["label"].lower() for row in part]
    photos, said = np.concatenate(vectors), np.array(labels)
    asked = [label for label in sorted(set(labels)) if not space.unknown(label)]
    words = space.encode_text(asked)
    result: dict[str, Any] = {"photos": len(photos), "labels": len(asked)}
    for count in sizes:
        for name in ("cosine", "described") if count <= 100_000 else ("cosine",):
            result[f"{count} rows, {name}"] = reliability(name, vocabulary, *sampled(photos, said, count), asked, words)
    return result


def sampled(photos: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """So many of the photos, or beyond them displaced copies, and their labels."""
    rng = np.random.default_rng(0)
    if count <= len(photos):
        pick = rng.permutation(len(photos))[:count]
        return photos[pick], labels[pick]
    pick = rng.integers(0, len(photos), count)
    noise = rng.normal(size=(count, photos.shape[1])).astype(np.float32) * (0.5 / photos.shape[1] ** 0.5)
    return unit(photos[pick] + noise), labels[pick]


def reliability(
    name: str, vocabulary: Vocabulary, vectors: np.ndarray, labels: np.ndarray, asked: list[str], words: np.ndarray
) -> dict[str, Any]:
    codes = np.zeros(len(vectors), int)
    items = vocabulary.items(vectors)
    ranked = DescribedRanking(items, codes) if name == "described" else CosineRanking(items)
    unrelated = Queries(vocabulary, vocabulary.vectors[evenly_spaced(len(vocabulary.words), QUERIES)][None], [1.0])
    null = NullModel(ranked, vocabulary, unrelated, items, codes)
    best: list[tuple[float, bool, bool]] = []
    for label, word in zip(asked, words, strict=True):
        scores = ranked.scores(Queries(vocabulary, word[None, None], [1.0]))[0]
        right = labels == label
        for there, of in ((True, scores), (False, np.where(right, -1, scores))):
            if right.any() or not there:
                top = int(of.argmax())
                e_value = null.e_values(of[top : top + 1], 0, len(vectors))
                best.append((float(confidence(e_value)[0]), bool(right[top]) and there, there))
    sure, hit, there = (np.array(column) for column in zip(*best, strict=True))
    place = np.minimum(np.searchsorted(BINS, sure, side="right"), len(BINS) - 1)
    return {
        **{
            f"right of confidence {low:g} to {high:g}": f"{hit[place == i].mean():.2f} of {(place == i).sum()}"
            for i, (low, high) in enumerate(itertools.pairwise(BINS), 1)
            if (place == i).any()
        },
        **{
            f"{state} with {least} or more": round(float((sure[there == (state == "present")] >= least).mean()), 2)
            for state in ("present", "absent")
            for least in (0.5, 0.9)
        },
    }


# Speed ----------------------------------------------------------------------------------------------------------------


def uniform(count: int, dim: int, seed: int = 0) -> np.ndarray:
    """Unit vectors without structure."""
    return unit(np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32))


def clustered(count: int, dim: int, seed: int = 0) -> np.ndarray:
    """Unit vectors about 1,000 centres; two of one centre have a cosine of about 0.7."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(1000, dim)).astype(np.float32))
    spread = rng.normal(size=(count, dim)).astype(np.float32) * (0.65 / dim**0.5)
    return unit(centres[rng.integers(0, len(centres), count)] + spread)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def fill(index: Index, vectors: np.ndarray) -> None:
    """Put unit vectors into an index, as if they were files."""
    index._start_writing()
    index._collection.create()
    for start in range(0, len(vectors), 10_000):
        index._collection.write(synthetic(vectors[start : start + 10_000], start), replace=False)
    index.store.optimize()
    index._collection.snapshot()


def random_space_of(dim: int) -> JointSpace:
    from clipx.space import random_space

    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    return random_space({"embed_dim": dim, "vision_cfg": vision, "text_cfg": text})


def ann(count: int, dim: int, runs: int) -> dict[str, Any]:
    import torch

    from clipx.embedding import Embedding

    space, result = random_space_of(dim), {"rows": count, "dim": dim}
    for make in (uniform, clustered):
        with tempfile.TemporaryDirectory() as work, Index.create(Path(work) / "my.index", space) as index:
            vectors = make(count, dim)
            fill(index, vectors)
            begun = time.perf_counter()
            recall = index.build_ann()
            build = time.perf_counter() - begun
            noise = unit(np.random.default_rng(1).normal(size=(runs, dim)).astype(np.float32))
            beside = unit(vectors[np.linspace(0, count - 1, runs).astype(int)] + 0.5 * noise)
            rows = torch.from_numpy(np.concatenate([beside, index._collection.vocabulary.vectors[:runs]]))
            queries = [Embedding(row[None], space.id, "text" if i >= runs else "image") for i, row in enumerate(rows)]
            times: dict[bool, list[float]] = {True: [], False: []}
            same = 0
            for query in queries:
                found = {}
                for way in times:
                    index.search(query, 10, exact=way)  # the null distribution of its kind is estimated once
                    begun = time.perf_counter()
                    found[way] = {hit.path for hit in index.search(query, 10, exact=way)}
                    times[way].append(time.perf_counter() - begun)
                same += len(found[True] & found[False])
            result[make.__name__] = {
                "cells searched": index._collection.meta.cells,
                "recall@10 by cosine": recall,
                "recall@10 of search": same / (10 * len(queries)),
                "build_s": build,
                "exact_s": statistics.median(times[True]),
                "approximate_s": statistics.median(times[False]),
            }
    return result


def exact(count: int, dim: int, runs: int) -> dict[str, Any]:
    import torch

    from clipx.embedding import Embedding

    space = random_space_of(dim)
    with tempfile.TemporaryDirectory() as work, Index.create(Path(work) / "my.index", space) as index:
        vectors = uniform(count, dim)
        fill(index, vectors)
        queries = [Embedding(torch.from_numpy(vectors[i : i + 1]), space.id, "image") for i in range(runs)]

        def plain(i: int) -> list[int]:
            scores = vectors @ vectors[i]
            top = np.argpartition(-scores, 10)[:10]
            return top[np.argsort(-scores[top])].tolist()

        def searched(i: int) -> list[Any]:
            return index.search(queries[i], 10)

        for call in (plain, searched):
            call(0)
        times: dict[str, list[float]] = {"numpy_s": [], "search_s": []}
        for i in range(runs):  # in turns, so that a busy machine is busy for both
            for name, call in (("numpy_s", plain), ("search_s", searched)):
                begun = time.perf_counter()
                call(i)
                times[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {"rows": count, "dim": dim, **medians, "ratio": medians["search_s"] / medians["numpy_s"]}


def million(count: int, dim: int, runs: int) -> dict[str, Any]:
    space = random_space_of(dim)
    with tempfile.TemporaryDirectory() as work:
        db, queries = Path(work) / "my.index", Path(work) / "queries.npz"
        with Index.create(db, space) as index:
            centres, words = uniform(20_000, dim, seed=3), index._collection.vocabulary
            replace(words, vectors=centres[: len(words.words)]).save(index._collection._words_file)
            del index._collection.vocabulary
            index._start_writing()
            written, beside = 0.0, []
            for start in range(0, count, 10_000):
                vectors = about(centres, min(10_000, count - start), dim, seed=start)
                entries = synthetic(vectors, start)
                before = time.perf_counter()
                index._collection.write(entries, replace=False)
                written += time.perf_counter() - before
                beside.append(vectors[start // 10_000 % len(vectors)])
            begun = time.perf_counter()
            index.store.optimize()
            optimized = time.perf_counter() - begun
            index.store._latest().cleanup_old_versions(older_than=timedelta(0))  # which are kept for an hour
            before_ann = index_bytes(db)
            begun = time.perf_counter()
            recall = index.build_ann()
            built = time.perf_counter() - begun
            index._collection.take_snapshot()
            near = np.stack(beside[:: max(1, len(beside) // runs)][:runs])
            noise = unit(np.random.default_rng(1).normal(size=near.shape).astype(np.float32))
            some = centres[: len(words.words)][evenly_spaced(len(words.words), runs)]
            np.savez(queries, items=unit(near + 0.5 * noise), words=some)
            command = searcher(db, queries, "latency")
            searched = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            added = add_files(index, space, Path(work) / "new", 1000, db, queries)
            result = {
                **machine(),
                "rows": count,
                "dim": dim,
                "written_rows_per_s": count / written,
                "optimize_s": optimized,
                "bytes": before_ann,
                "bytes_with_approximate_index": index_bytes(db),
                "build_s": built,
                "cells_searched": index._collection.meta.cells,
                "recall@10_by_cosine_when_built": recall,
                **searched,
                **added,
            }
    return result


def machine() -> dict[str, Any]:
    """When and on what this was measured."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    versions = {name: version(name) for name in ("pylance", "pyarrow", "numpy")}
    name = model[1] if model is not None else platform.processor()
    return {"date": date.today().isoformat(), "processors": os.cpu_count(), "processor": name, **versions}


def about(centres: np.ndarray, count: int, dim: int, seed: int) -> np.ndarray:
    """Unit vectors about some of the centres; two of one centre have a cosine of about 0.7."""
    rng = np.random.default_rng(seed)
    spread = rng.standard_normal(size=(count, dim), dtype=np.float32) * np.float32(0.65 / dim**0.5)
    return unit(centres[rng.integers(0, len(centres), count)] + spread)


def synthetic(vectors: np.ndarray, start: int) -> list[Entry]:
    """Entries of vectors, as if they were photos of folders of 1,000."""
    return [
        Entry(
            Found(f"/photos/{i // 1000:05}/{i:08}.jpg", 1, 1, "image"),
            hashlib.sha256(str(i).encode()).hexdigest(),
            [None],
            row[None],
            None,
        )
        for i, row in enumerate(vectors, start)
    ]


def index_bytes(db: Path) -> int:
    return sum(path.stat().st_size for path in db.rglob("*") if path.is_file())


def searcher(db: Path, queries: Path, what: str) -> list[str]:
    """The command of a process that searches an index; see ``search_process``."""
    return [sys.executable, __file__, "search-process", str(db), "--queries", str(queries), "--what", what]


def peak_mb() -> int:
    """The most memory that this process held; ``ru_maxrss`` would count what its parent held before ``exec``."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def search_process(db: Path, queries: Path, what: str) -> dict[str, Any]:
    """In a process of its own: ``latency`` and memory of searches, or ``truth``: searches until the index has grown.

    Approximate searches are made twice: at first the cells are read from the disk's cache.
    """
    from clipx.embedding import Embedding

    index = Index.open(db)
    space_id = index.space_record.id
    with np.load(queries, allow_pickle=False) as arrays:
        kinds = {name: arrays[name] for name in arrays.files}
    if what == "truth":
        return search_while_it_grows(index, kinds["items"])
    result: dict[str, Any] = {}
    found: dict[tuple[str, str, bool], list[set[str]]] = {}
    for how in ("cosine", "described"):
        for exact in (False, True):
            for turn in ("first",) if exact else ("first", "again"):
                times: list[float] = []
                for kind, rows in kinds.items():
                    found[how, kind, exact] = []
                    for i, row in enumerate(rows[: len(rows) if not exact else max(3, len(rows) // 4)]):
                        query = Embedding(row[None], space_id, "text" if kind == "words" else "image")
                        if not i:
                            index.search(query, 10, ranking=how, exact=exact)  # the null distribution of its kind
                        begun = time.perf_counter()
                        hits = index.search(query, 10, ranking=how, exact=exact)
                        times.append(time.perf_counter() - begun)
                        found[how, kind, exact].append({hit.path for hit in hits})
                name = f"{how}_exact" if exact else f"{how}_approximate_{turn}"
                result[f"{name}_ms"] = round(1e3 * statistics.median(times), 1)
                result[f"{name}_95_%_ms"] = round(1e3 * float(np.percentile(times, 95)), 1)
                result[f"{name}_peak_MB"] = peak_mb()
        for kind in kinds:
            pairs = list(zip(found[how, kind, True], found[how, kind, False], strict=False))
            same = sum(len(true & near) for true, near in pairs)
            result[f"{how}_recall@10_{kind}"] = same / sum(len(true) for true, _ in pairs)
    return result


def search_while_it_grows(index: Index, items: np.ndarray) -> dict[str, Any]:
    """Searches until the index has 1,000 rows more: the answers must never change, and never be worse."""
    from clipx.embedding import Embedding

    queries = [Embedding(row[None], index.space_record.id, "image") for row in items]
    first = [index.search(query, 1, ranking="cosine")[0].path for query in queries]
    grown, times, wrong = len(index) + 1000, [], 0
    print("ready", flush=True)
    while len(index) < grown:
        for query, path in zip(queries, first, strict=True):
            begun = time.perf_counter()
            wrong += index.search(query, 1, ranking="cosine")[0].path != path
            times.append(time.perf_counter() - begun)
    return {
        "searches_while_written": len(times),
        "wrong_while_written": wrong,
        "while_written_ms": round(1e3 * statistics.median(times), 1),
    }


def add_files(index: Index, space: JointSpace, folder: Path, count: int, db: Path, queries: Path) -> dict[str, Any]:
    """The seconds that ``Index.add`` takes for new files beyond encoding them, alone and while another searches."""
    from PIL import Image

    from clipx.api import make_modality
    from clipx.index.entries import KnownContent, entries

    rng = np.random.default_rng(0)
    result: dict[str, Any] = {}
    for name in ("alone", "searched"):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / name / f"{i}.png")
        files = find_files([folder / name]).files
        none = KnownContent(lambda sha256: False, lambda hashes: {})
        reader = None
        if name == "searched":
            reader = subprocess.Popen(searcher(db, queries, "truth"), stdout=subprocess.PIPE, text=True)
            assert reader.stdout is not None and reader.stdout.readline() == "ready\n"
        begun = time.perf_counter()
        for _ in entries(files, make_modality("image", space), none, 32, True):
            pass
        encoded = time.perf_counter() - begun
        begun = time.perf_counter()
        did = index.add([folder / name])
        assert did.added == count, did
        result[f"add_1000_{name}_s"] = round(time.perf_counter() - begun, 2)
        result[f"add_1000_{name}_beyond_encoding_s"] = round(time.perf_counter() - begun - encoded, 2)
        if reader is not None:
            result |= json.loads(reader.communicate()[0])
    return result


def throughput(folder: Path, count: int, name: str, device: str, runs: int) -> dict[str, Any]:
    from clipx._threads import single_threaded_pool, threads
    from clipx.api import make_modality
    from clipx.spaces.loading import load_space

    space = load_space(name, device=device)
    image = make_modality("image", space)
    paths = [file.path for file in find_files([folder], "image").files[:count]]
    count = len(paths)
    with single_threaded_pool(threads()) as pool:
        samples = list(pool.map(image.load, paths))
    batches = [samples[start : start + 32] for start in range(0, count, 32)]
    at_once = min(threads(), MAX_ENCODERS) if space.on_cpu else 1

    def each_in_all_threads() -> None:
        for batch in batches:
            image.encode(batch)

    def several_at_once() -> None:
        with single_threaded_pool(at_once) as pool:
            for _ in pool.map(image.encode, batches):
                pass

    def read() -> None:
        with single_threaded_pool(READERS) as pool:
            for _ in pool.map(image.load, paths):
                pass

    def timed(work: Callable[[], Any]) -> tuple[float, float]:
        """Seconds, and seconds of all processors."""
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        return time.perf_counter() - wall, time.process_time() - cpu

    def indexed() -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as work, Index.create(Path(work) / "my.index", space) as index:
            return timed(lambda: index.add(paths))

    def row(values: list[float], digits: int = 1) -> str:
        low, middle, high = (f"{round(x, digits):g}" for x in (min(values), statistics.median(values), max(values)))
        return f"{middle} ({low} to {high})"

    ways = [each_in_all_threads, several_at_once] if at_once > 1 else [each_in_all_threads]
    for way in ways:  # what is loaded at first use
        image.encode(samples[:1])
        way()
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(runs):  # in turns, so that a busy machine is busy for all of them
        for way in ways:
            found.setdefault(way.__name__, []).append(timed(way))
        found.setdefault("read", []).append(timed(read))
        found.setdefault("index", []).append(indexed())
    best = min((way.__name__ for way in ways), key=lambda name: statistics.median(w for w, _ in found[name]))
    return {
        "space": name,
        "device": device,
        "photos": count,
        "runs": runs,
        "processors": os.cpu_count(),
        **{f"{name} per_s": row([count / wall for wall, _ in times]) for name, times in found.items()},
        **{f"{name} cpu ms": row([1e3 * cpu / count for _, cpu in times], 2) for name, times in found.items()},
        "encoder": best,
        "share": row([e[0] / i[0] for e, i in zip(found[best], found["index"], strict=True)], 3),
        "share of cpu": row([e[1] / i[1] for e, i in zip(found[best], found["index"], strict=True)], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    benches = ["mixed", "calibration", "exact", "ann", "million", "throughput", "search-process"]
    parser.add_argument("bench", choices=benches)
    parser.add_argument("data", type=lambda text: Path(text).resolve(), nargs="?")
    parser.add_argument("--queries", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--what", help=argparse.SUPPRESS)
    parser.add_argument("--split", choices=list(CAPS), default="test")
    parser.add_argument("--space", default="nano", help="of throughput, such as random:ViT-B-32")
    parser.add_argument("--device", default="cpu", help="of throughput")
    parser.add_argument("--count", type=int, help="rows, or photos")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.bench in ("mixed", "calibration", "throughput") and options.data is None:
        parser.error("name the folder")
    if options.bench == "mixed":
        result = mixed(options.data, options.split)
    elif options.bench == "calibration":
        result = calibration(options.data)
    elif options.bench == "exact":
        result = exact(options.count or 100_000, 512, 4 * options.runs)
    elif options.bench == "search-process":
        print(json.dumps(search_process(options.data, options.queries, options.what)))
        return
    elif options.bench == "million":
        result = million(options.count or 1_000_000, 512, 10 * options.runs)
    elif options.bench == "ann":
        result = ann(options.count or 100_000, 512, 4 * options.runs)
    else:
        result = throughput(options.data, options.count or 2_000, options.space, options.device, options.runs)
    if options.json:
        print(json.dumps(result, indent=1))
        return
    for name, value in result.items():
        if isinstance(value, dict):
            print(name, *(f"  {key}: {part}" for key, part in value.items()), sep="\n")
        else:
            print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")


if __name__ == "__main__":
    main()
