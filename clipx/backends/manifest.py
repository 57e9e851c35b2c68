"""onnx.json: what a folder with ONNX graphs says of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from clipx.backbone.config import CONFIG
from clipx.domains import PHOTO
from clipx.errors import SpaceError, well_formed
from clipx.preprocess import Preprocess

MANIFEST, WORDS = "onnx.json", "vocabulary.json"
FORMAT = 1
FLOAT32, INT8 = "float32", "int8"
ONCE_MORE = "export the space again"


@dataclass(frozen=True)
class GraphFile:
    """A graph's file.

    Args:
        file: its name in the folder.
        sha256: of the file.
        one_by_one: whether its rows are run each alone, see ``clipx.backends.graph.Graph``.
    """

    file: str
    sha256: str
    one_by_one: bool = False


@dataclass(frozen=True)
class ImageOutput:
    """How pictures of one domain are encoded.

    Args:
        graph: name of the graph.
        output: of its output, (N, D).
        preprocess: how its tower wants pictures.
    """

    graph: str
    output: str
    preprocess: Preprocess


@dataclass(frozen=True)
class Manifest:
    """What onnx.json holds.

    Args:
        architecture: part of the space's id.
        weights_sha256: the space's, also part of its id.
        precision: ``"float32"`` or ``"int8"``.
        dim: D.
        logit_scale, logit_bias: as ``Backend`` has them.
        graphs: name -> file.
        images: picture domain, ``"photo"`` first -> how it is encoded.
        tokenizer: keyword arguments of ``clipx.backends.tokenizer.FileTokenizer`` but for the folder; None where the
            words of an embedded space are the tokenizer.
        cut_padding: whether texts are given to the text graph no longer than the longest of them.
        weights: file -> SHA-256, of the files that graphs take their weights from.
        settings_sha256: of the folder's configuration and words, see ``settings_sha256``.
        which: output of the photo graph that tells picture domains, as numbers in the order of ``images``; or None.
        parity: what was measured against torch when the graphs were made.
    """

    architecture: str
    weights_sha256: str
    precision: str
    dim: int
    logit_scale: float
    logit_bias: float | None
    graphs: Mapping[str, GraphFile]
    images: Mapping[str, ImageOutput]
    tokenizer: Mapping[str, Any] | None
    cut_padding: bool
    weights: Mapping[str, str]
    settings_sha256: str
    which: str | None = None
    parity: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> str:
        """The content of onnx.json."""
        images = {name: {**asdict(one), "preprocess": one.preprocess.as_config()} for name, one in self.images.items()}
        record = {"format": FORMAT, **asdict(self), "images": images}
        return json.dumps(record, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Raises SpaceError where onnx.json is missing, malformed or of another format."""
        path = folder / MANIFEST
        with well_formed(path, ONCE_MORE):
            record = json.loads(path.read_text(encoding="utf-8"))
            if record.pop("format") != FORMAT:
                raise SpaceError("is of another version of clipx", where=path, remedy=ONCE_MORE)
            images = {name: _image_output(path, one) for name, one in record.pop("images").items()}
            graphs = {name: GraphFile(**one) for name, one in record.pop("graphs").items()}
            found = cls(images=images, graphs=graphs, **record)
            tokenizer = [found.tokenizer["file"]] if found.tokenizer else []
            for file in [*(one.file for one in graphs.values()), *found.weights, *tokenizer]:
                if Path(file).name != file:
                    raise SpaceError(f"names a file outside the folder: {file}", where=path)
            if PHOTO not in images or not {one.graph for one in images.values()} <= set(graphs):
                raise SpaceError("does not say how photos are encoded", where=path, remedy=ONCE_MORE)
            if found.settings_sha256 != settings_sha256(folder):
                what = "its configuration or its words were changed since its graphs were made"
                raise SpaceError(what, where=folder, remedy=ONCE_MORE)
            return found


def settings_sha256(folder: Path, weights_sha256: str = "") -> str:
    """One hash of open_clip_config.json and, where it is there, vocabulary.json; after that of weights, if given."""
    digest = hashlib.sha256(weights_sha256.encode())
    for name in (CONFIG, WORDS):
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes().replace(b"\r\n", b"\n"))  # git may write either
    return digest.hexdigest()


def is_exported(folder: Path) -> bool:
    """Whether a folder holds graphs that onnxruntime can serve."""
    return (folder / MANIFEST).is_file()


def exported_architecture(folder: Path) -> str | None:
    """The architecture that a folder's onnx.json names, so that torch gives its space the same id; None without one.

    Raises:
        SpaceError: as ``Manifest.read``; or the folder is an int8 one, which torch cannot serve.
    """
    if not is_exported(folder):
        return None
    manifest = Manifest.read(folder)
    if manifest.precision == INT8:
        what = "an int8 space is served by onnxruntime alone, on the CPU: no gradients, stages, dense maps or attention"
        raise SpaceError(what, where=folder, remedy="take the space that it was exported from")
    return manifest.architecture


def _image_output(path: Path, record: Mapping[str, Any]) -> ImageOutput:
    config = record["preprocess"]
    height, width = config["size"]
    preprocess = Preprocess.from_config(config, size=(int(height), int(width)), where=str(path))
    return ImageOutput(record["graph"], record["output"], preprocess)
