"""Features on disk, keyed by content, space, modality and config: a long run that was stopped resumes where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

import clipx
from clipx._arrays import to_array
from clipx.errors import FileError, InputError
from clipx.files import sha256_of, write_whole
from clipx.identity import Stamp, identity
from clipx.modality import Modality
from clipx.parts import View
from clipx.pipeline import Item, Vectors
from clipx.registry import version_of


class FeatureCache:
    """One small ``.npy`` file for each sample under ``folder``; several processes may share it.

    >>> cache = FeatureCache("~/.cache/clipx/features")                          # doctest: +SKIP
    >>> key = cache.key(modality, "chair.ply")                                   # doctest: +SKIP
    >>> if (vector := cache.get(key, space.dim)) is None:                        # doctest: +SKIP
    ...     vector = modality.encode([modality.load("chair.ply")]).vectors[0]
    ...     cache.put(key, vector)

    Args:
        folder: made at the first ``put``.
    """

    def __init__(self, folder: str | PathLike[str]):
        self.folder = Path(folder).expanduser()

    def key(self, modality: Modality, content: str | PathLike[str] | bytes, views: bool = False) -> str:
        """The name under which a sample's vector, or those of its parts, are kept: sha256 over all that decides it.

        Args:
            modality: its class, its name, its package's version, its config and context, and its space's id and dtype
                count; a file that the config names by a ``Path`` counts by content.
            content: the path of a file, or the sample's own bytes. A file's companions (an .obj's materials) do not
                count.
            views: whether it is the vectors of its parts that are kept.

        Raises:
            FileError: the file cannot be read.
            InputError: the config holds what has no JSON form.
        """
        try:
            config = json.dumps(asdict(modality.config), sort_keys=True, default=_json_of_path)
        except TypeError as error:
            raise InputError("the config has no JSON form, so its features cannot be cached") from error
        space = modality.space
        versions = clipx.__version__, version_of(modality.name)
        name = f"{modality.name} {type(modality).__qualname__}" + (" by view" if views else "")
        dtype = f"torch.{space.backend.dtype}"
        decides = [*versions, name, config + modality.context, space.id, dtype, sha256_of(content)]
        return hashlib.sha256("\0".join(decides).encode()).hexdigest()

    def get(self, key: str, dim: int) -> np.ndarray | None:
        """The (D,) float32 vector, or (V, D) vectors, kept under ``key``; or None.

        Raises:
            FileError: the file is there but holds no unit vectors of that dimension.
        """
        path = self._path(key)
        try:
            vector = np.load(path, allow_pickle=False)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError) as error:
            raise FileError("corrupt cache entry", where=path, remedy="delete it") from error
        fits = vector.ndim in (1, 2) and vector.shape[-1] == dim and vector.size and vector.dtype == np.float32
        if not fits or not (abs(np.linalg.norm(vector, axis=-1) - 1) <= 1e-4).all():
            raise FileError(f"cache entry is not of unit vectors of dimension {dim}", where=path, remedy="delete it")
        return vector

    def has(self, key: str) -> bool:
        """Whether something is kept under ``key``."""
        return self._path(key).exists()

    def put(self, key: str, vector: np.ndarray) -> None:
        """Keep (D,) or (V, D) unit vectors under ``key``; the write is atomic."""
        array = to_array(vector).astype(np.float32, copy=False)
        write_whole(self._path(key), lambda path: np.save(path, array, allow_pickle=False), parents=True)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npy"


class CachedVectors:
    """A ``FeatureCache`` as ``clipx.pipeline.encode`` takes it.

    Args:
        folder: see ``FeatureCache``.
        dim: D of the space.
        separate: whether the views of items are kept, or one vector of each item. Places are not kept.
    """

    def __init__(self, folder: str | PathLike[str], dim: int, separate: bool = False):
        self.features, self.dim, self.separate = FeatureCache(folder), dim, separate

    def key(self, item: Item, modality: Modality) -> str:
        return self.features.key(modality, item.content(), self.separate)

    def has(self, key: str) -> bool:
        return self.features.has(key)

    def get(self, keys: Sequence[str]) -> dict[str, Vectors]:
        found = {key: self.features.get(key, self.dim) for key in keys}
        rows = {key: np.atleast_2d(vector) for key, vector in found.items() if vector is not None}
        return {key: Vectors(own, tuple(map(View, range(len(own))))) for key, own in rows.items()}

    def put(self, key: str, vectors: Vectors) -> None:
        self.features.put(key, vectors.rows if self.separate else vectors.rows[0])


def _json_of_path(value: Any) -> str:
    if not isinstance(value, PathLike):
        raise TypeError(f"{type(value).__name__} has no JSON form")
    try:
        return identity(Stamp.of(value), "content", partial(sha256_of, value))
    except OSError as error:
        raise FileError(f"cannot be read ({error.strerror})", where=value) from error
