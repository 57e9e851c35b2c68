"""The backend that starts fast: the graphs of an exported space, run by onnxruntime; torch is not imported."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx.backends.base import Backend
from clipx.backends.graph import Graph
from clipx.backends.manifest import MANIFEST, ONCE_MORE, Manifest, exported_architecture
from clipx.domains import PHOTO
from clipx.errors import FileError, SpaceError, UnsupportedError
from clipx.files import sha256_of
from clipx.identity import Stamp, identity
from clipx.preprocess import Preprocess

if TYPE_CHECKING:
    from clipx.backbone import Backbone

Tokenize = Callable[[Sequence[str]], np.ndarray]


class OnnxBackend(Backend):
    """The towers of an exported space.

    Each graph, and the tokenizer, is loaded at first use: a search by words does not load an image tower.

    Args:
        folder: where the files lie.
        manifest: what onnx.json says of them.
        definition: loads the same towers by torch; None where the folder is in open_clip's own layout.
        tokenizer: of a space whose words are the tokenizer; None where a file is.
    """

    on_cpu, device, dtype = True, "cpu", "float32"

    def __init__(
        self,
        folder: str | PathLike,
        manifest: Manifest,
        definition: Callable[[], Backbone] | None = None,
        tokenizer: Tokenize | None = None,
    ):
        self.folder, self.manifest = Path(folder), manifest
        self.architecture, self.dim = manifest.architecture, manifest.dim
        self.logit_scale, self.logit_bias = manifest.logit_scale, manifest.logit_bias
        self.domains: Mapping[str, Preprocess] = {
            name: image.preprocess for name, image in manifest.images.items() if name != PHOTO
        }
        self._parts = _Parts(self.folder, manifest, definition, tokenizer)
        self._domain, self.preprocess = PHOTO, manifest.images[PHOTO].preprocess

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        tokenizer, graph = self._parts.tokenizer, self._parts.graph("text")
        batches = [[text] for text in texts] if graph.one_by_one else [texts]  # alone: no text is padded
        return np.concatenate([graph(["text"], tokens=tokenizer(batch))[0] for batch in batches])

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        image = self.manifest.images[self._domain]
        return self._parts.graph(image.graph)([image.output], pixels=_float32(pixels))[0]

    def encode_with_domain(self, pixels: np.ndarray) -> tuple[np.ndarray, list[str]]:
        image, which = self.manifest.images[PHOTO], self.manifest.which
        graph = self._parts.graph(image.graph)
        if which is None:
            return graph([image.output], pixels=_float32(pixels))[0], [PHOTO] * len(pixels)
        rows, numbers = graph([image.output, which], pixels=_float32(pixels))
        names = list(self.manifest.images)
        return rows, [names[number] for number in numbers.tolist()]

    def of_domain(self, name: str) -> OnnxBackend:
        name = name if name in self.domains else PHOTO
        if name == self._domain:
            return self
        view = copy.copy(self)
        view._domain, view.preprocess = name, self.manifest.images[name].preprocess
        return view

    @property
    def backbone(self) -> Backbone:
        return self._parts.definition.of_domain(self._domain)


class _Parts:
    """What is loaded at first use, shared by the views of all domains."""

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        definition: Callable[[], Backbone] | None,
        tokenizer: Tokenize | None,
    ):
        self.folder, self.manifest = folder, manifest
        self._definition, self._tokenizer = definition, tokenizer
        self._lock = threading.RLock()  # of what is loaded: cached_property has none from Python 3.12 on

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.RLock())

    def graph(self, name: str) -> Graph:
        with self._lock:
            return self._graphs[name]

    @property
    def tokenizer(self) -> Tokenize:
        with self._lock:
            return self._loaded_tokenizer

    @property
    def definition(self) -> Backbone:
        with self._lock:
            return self._loaded_definition

    @cached_property
    def _graphs(self) -> dict[str, Graph]:
        """Once the files are known to hold the weights that the graphs were made from."""
        for name, sha256 in self.manifest.weights.items():
            path = self.folder / name
            try:
                found = identity(Stamp.of(path), "SHA-256 of the file", partial(sha256_of, path))
            except (OSError, FileError) as error:
                raise SpaceError("weights are missing", where=path, remedy=ONCE_MORE) from error
            if found != sha256:
                what = f"weights are corrupt: their SHA-256 is not the one in {MANIFEST}"
                raise SpaceError(what, where=path, remedy=ONCE_MORE)
        files = self.manifest.graphs.items()
        return {name: Graph(self.folder / one.file, one.sha256, one.one_by_one) for name, one in files}

    @cached_property
    def _loaded_tokenizer(self) -> Tokenize:
        if self._tokenizer is not None:
            return self._tokenizer
        from clipx.backends.tokenizer import FileTokenizer

        if self.manifest.tokenizer is None:
            raise UnsupportedError("this space has no tokenizer", where=self.folder, remedy="load weights")
        return FileTokenizer(self.folder, **self.manifest.tokenizer, cut_padding=self.manifest.cut_padding)

    @cached_property
    def _loaded_definition(self) -> Backbone:
        exported_architecture(self.folder)  # which an int8 one refuses
        if self._definition is not None:
            return self._definition()
        from clipx.backbone import create_from_folder

        return create_from_folder(self.folder)


def _float32(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels, dtype=np.float32)
