"""Files to index, and what two indexes of the same files must have in common."""

import numpy as np
import pytest
from PIL import Image


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((32, 32), 0).save(path)
    return path


def rows(index):
    """Everything that must be the same in two indexes of the same files."""
    table = index.store.scan(["path", "window", "modality", "size", "mtime_ns", "sha256", "start_s", "vector"])
    return sorted(table.to_pylist(), key=lambda row: (row["path"], row["window"]))


def same(one, two):
    """The same rows, as ``rows`` returns them."""
    assert [{**r, "vector": 0} for r in one] == [{**r, "vector": 0} for r in two]
    vectors = [np.stack([r["vector"] for r in own]) for own in (one, two)]
    np.testing.assert_allclose(*vectors, atol=3e-5)  # of other batches, by a tower that spreads what it gives


def assert_same(one, two):
    """Two indexes with the same rows, and the same hits."""
    left, right = rows(one), rows(two)
    same(left, right)
    for query in ("a photo of a cat", left[0]["path"]):
        hits = [{hit.path: hit.score for hit in index.search(query, 999)} for index in (one, two)]
        assert hits[0] == pytest.approx(hits[1], abs=1e-4)


def summary(did):
    """What two runs over the same files must report alike."""
    return (did.added, did.updated, did.reused, did.unchanged, did.removed, sorted(did.failures, key=str), did.skipped)
