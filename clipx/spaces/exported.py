"""Spaces with ONNX graphs: folders that ``clipx export`` made, and embedded spaces that come with theirs."""

from __future__ import annotations

import os
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from clipx.backends.manifest import INT8, MANIFEST, ONCE_MORE, Manifest
from clipx.backends.onnx import OnnxBackend
from clipx.errors import SpaceError
from clipx.space import JointSpace
from clipx.spaces.embedded import ABOUT, EmbeddedFiles, load_embedded

if TYPE_CHECKING:
    from clipx.backbone import Backbone


def load_exported(folder: str | PathLike) -> JointSpace:
    """The space of a folder as onnxruntime serves it.

    Raises:
        SpaceError: a file is missing, malformed, or not the one that was exported.
    """
    folder = Path(folder)
    manifest = Manifest.read(folder)
    if not (folder / ABOUT).is_file():
        return JointSpace(os.fspath(folder), OnnxBackend(folder, manifest), weights_sha256=manifest.weights_sha256)
    files = EmbeddedFiles.read(folder)
    backend = OnnxBackend(folder, manifest, partial(_definition, folder), files.lexicon)
    if manifest.precision == INT8:
        return JointSpace(
            manifest.architecture,
            backend,
            version=files.about["version"],
            folder=folder,
            weights_sha256=manifest.weights_sha256,
            vocabulary=files.vocabulary,
            lexicon=files.lexicon,
        )
    space = files.space(backend)
    if space.weights_sha256 != manifest.weights_sha256:
        raise SpaceError("its graphs are of other weights", where=folder / MANIFEST, remedy=ONCE_MORE)
    return space


def _definition(folder: Path) -> Backbone:
    """The torch model of an embedded space."""
    return load_embedded(folder).backbone
