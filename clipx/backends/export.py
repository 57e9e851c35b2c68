"""``clipx export``: a joint space as ONNX graphs beside its weights, which onnxruntime serves without torch."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx.backbone.config import CONFIG, has_lexicon
from clipx.backbone.hub import WEIGHT_FILES
from clipx.backends.manifest import FLOAT32, INT8, MANIFEST, GraphFile, ImageOutput, Manifest, settings_sha256
from clipx.domains import PHOTO
from clipx.errors import FileError, InputError, SpaceError, UnsupportedError
from clipx.files import sha256_of, write_tensors, write_whole
from clipx.progress import progress

if TYPE_CHECKING:
    import onnx

    from clipx.backbone import Backbone
    from clipx.preprocess import Preprocess
    from clipx.space import JointSpace

TOLERANCE = 1e-4  # how far a component of a float32 vector may lie from torch's
Advance = Callable[..., None]


def export(
    space: str | PathLike | JointSpace,
    folder: str | PathLike,
    *,
    int8: bool = False,
    pictures: str | PathLike | None = None,
) -> dict[str, Any]:
    """Write a space as a folder that onnxruntime serves, with the same id. Nothing is fetched but a space by its name.

    The folder is in open_clip's own layout, or an embedded space's, from which torch loads it as well. Beside that lie
    the towers as ONNX graphs, which read their weights from the same file, the tokenizer, and onnx.json. ``load_space``
    takes it.

    Args:
        space: what ``load_space`` takes, or a space that computes in float32 on the CPU.
        folder: where to, new or empty; or an embedded space's own folder, to which its graphs are added.
        int8: keep weights, and compute large products, in 8 bits. Such a space has an id of its own, and is served by
            onnxruntime alone.
        pictures: a folder of pictures to compare with torch by, and of int8 to take ranges from, besides those at hand.

    Returns:
        What onnx.json keeps as ``parity``: how far vectors lie from torch's, as ``clipx.backends.parity.compare`` has
        it; and ``precision``, ``id`` and ``bytes`` of the folder.

    Raises:
        FileError: the folder is not empty, or cannot be written.
        InputError: the space does not compute in float32 on the CPU.
        SpaceError: as ``load_space``; or a vector differs from torch's by more than 1e-4.
        UnsupportedError: torch cannot export a tower, or there is no file for the tokenizer.
        MissingDependencyError: onnx or onnxscript is not installed.
    """
    from clipx.backends import parity
    from clipx.backends.trace import require_packages
    from clipx.spaces.embedded import ABOUT
    from clipx.spaces.loading import load_space

    folder = Path(folder).expanduser()
    require_packages()
    if int8 or not (folder / ABOUT).is_file():  # before weights are fetched
        _require_empty(folder)
    if isinstance(space, str | os.PathLike):
        space = load_space(space, backend="torch")
    if not (space.backend.on_cpu and space.backend.dtype == FLOAT32):
        raise InputError("a space is exported from float32 on the CPU", where=space.name, remedy="load it so")
    own = space.folder is not None and folder.is_dir() and folder.samefile(space.folder)
    if int8 or not own:
        _require_empty(folder)
    shown = parity.pictures(None if pictures is None else Path(pictures).expanduser())
    with progress("exporting", None) as advance, _whole(folder) as unfinished:
        return _fill(space, unfinished, int8, shown, advance)


def _fill(space: JointSpace, folder: Path, int8: bool, shown: Sequence[np.ndarray], advance: Advance) -> dict[str, Any]:
    """Write all files into a folder; onnx.json comes last, without which nothing is served."""
    from clipx.backends.onnx import OnnxBackend
    from clipx.backends.parity import compare
    from clipx.space import JointSpace

    weights = _write_space(space, folder, int8)
    manifest = _write_graphs(space, folder, weights, shown[1::2], advance)
    advance(1, "comparing with torch")
    served = JointSpace(
        space.name,
        OnnxBackend(folder, manifest, tokenizer=space.lexicon),
        weights_sha256=manifest.weights_sha256,
        vocabulary=space.vocabulary,
        lexicon=space.lexicon,
    )
    compared = compare(space, served, shown[::2] if int8 else shown)  # not with those that ranges were taken from
    differences = [entry["largest_difference"] for entry in compared.values() if isinstance(entry, dict)]
    worst = float(np.max(differences))  # NaN where one is
    if not int8 and not worst <= TOLERANCE:
        what = f"a vector differs from torch's by {worst:.2g} (at most {TOLERANCE:.2g})"
        raise SpaceError(what, where=space.name, remedy="serve this space by torch")
    size = sum(path.stat().st_size for path in folder.iterdir() if path.name != MANIFEST)
    report = {"precision": manifest.precision, "id": served.id, "bytes": size, **compared}
    write_whole(folder / MANIFEST, replace(manifest, parity=report).as_json())
    return report


def _write_space(space: JointSpace, folder: Path, int8: bool) -> str | None:
    """The space as torch loads it, but for int8 without its weights; returns the name of the weights' file."""
    from clipx.spaces.embedded import ABOUT, CARD, WEIGHTS, WORDS

    if space.folder is not None:
        for name in (ABOUT, CARD, CONFIG, WORDS, WEIGHTS):
            if (space.folder / name).is_file() and not (int8 and name == WEIGHTS):
                shutil.copyfile(space.folder / name, folder / name)
        return None if int8 else WEIGHTS
    backbone = space.backbone.photos
    if backbone.config is None:
        raise UnsupportedError("its model_cfg is unknown", where=space.name, remedy="load it by name")
    config = {"model_cfg": dict(backbone.config), "preprocess_cfg": backbone.preprocess.as_config()}
    write_whole(folder / CONFIG, json.dumps(config, indent=1) + "\n")
    if int8:
        return None
    write_tensors(folder / WEIGHT_FILES[0], {k: _smallest(v) for k, v in backbone.model.state_dict().items()})
    return WEIGHT_FILES[0]


def _smallest(value: Any) -> Any:
    """A tensor of its own memory; float16 where that holds the same values, as OpenAI's weights do."""
    half = value.half() if value.is_floating_point() else value
    same = half.dtype == value.dtype or bool((half.to(value.dtype) == value).all())
    return (half if same else value).contiguous().clone()


def _write_graphs(
    space: JointSpace, folder: Path, weights: str | None, shown: Sequence[np.ndarray], advance: Advance
) -> Manifest:
    """The graphs and the tokenizer; in int8 where there is no file of weights, with ranges from pictures."""
    import torch

    from clipx.backends.parity import SENTENCES
    from clipx.backends.trace import WHICH, Pictures, Words, towers, trace

    backbone = space.backbone.photos
    prepare: dict[str, Preprocess] = {PHOTO: backbone.preprocess, **backbone.domains}
    stands_on = towers(backbone)
    graphs, which = {}, None
    for tower in dict.fromkeys(stands_on.values()):
        advance(1, f"image tower {tower}")
        module = Pictures(backbone, tower)
        preprocess = prepare[module.domains[0]]
        example = {"pixels": torch.zeros(2, 3, *preprocess.size)}
        graph = trace(module, example, {"pixels": {0: "batch"}}, module.outputs)
        samples = (preprocess.normalize(preprocess.resize(picture).clip(0, 1)) for picture in shown)
        graphs[f"image-{tower}"] = _write_graph(folder, f"image-{tower}", graph, weights, samples)
        which = WHICH if module.tells else which
    images = {name: ImageOutput(f"image-{tower}", name, prepare[name]) for name, tower in stands_on.items()}
    tokenizer, short = None, False
    if backbone.tokenizer is not None:
        advance(1, "text tower")
        words = Words(_as_stored(space, backbone))
        short = words.short
        tokens = torch.as_tensor(backbone.tokenizer(["a", "a chair"]))[:, : 5 if short else None]
        axes = {0: "batch", 1: "length"} if short else {0: "batch"}
        graph = trace(words, {"tokens": tokens}, {"tokens": axes}, ["text"])
        samples = (np.asarray(backbone.tokenizer([text])) for text in SENTENCES)
        graphs["text"] = _write_graph(folder, "text", graph, weights, samples)
        tokenizer = _write_tokenizer(backbone, folder)
    manifest = Manifest(
        architecture=backbone.architecture,
        weights_sha256=space.weights_sha256,
        precision=FLOAT32,
        dim=space.dim,
        logit_scale=backbone.logit_scale,
        logit_bias=backbone.logit_bias,
        graphs=graphs,
        images=images,
        tokenizer=tokenizer,
        cut_padding=short,
        weights={} if weights is None else {weights: sha256_of(folder / weights)},
        settings_sha256=settings_sha256(folder),
        which=which,
    )
    if weights is not None:
        return manifest
    made_of = sha256_of(" ".join([space.weights_sha256, *(graph.sha256 for graph in graphs.values())]).encode())
    return replace(manifest, architecture=f"{backbone.architecture}-{INT8}", weights_sha256=made_of, precision=INT8)


def _write_graph(
    folder: Path, name: str, graph: onnx.ModelProto, weights: str | None, samples: Iterable[np.ndarray]
) -> GraphFile:
    """A graph whose weights lie in a file of the folder, or without one, in int8."""
    one_by_one = False
    if weights is not None:
        from clipx.backends.external import external_weights

        external_weights(graph, folder / weights, weights)
    else:
        from clipx.backends.int8 import quantised

        graph, one_by_one = quantised(graph, [np.ascontiguousarray(sample) for sample in samples])
    content = graph.SerializeToString()
    write_whole(folder / f"{name}.onnx", content)
    return GraphFile(f"{name}.onnx", sha256_of(content), one_by_one)


def _as_stored(space: JointSpace, backbone: Backbone) -> Backbone:
    """With the text tower's table as the file of an embedded space has it."""
    if space.folder is None or has_lexicon(backbone.config or {}):
        return backbone
    from safetensors import safe_open

    from clipx.backends.trace import with_packed_rows
    from clipx.spaces.embedded import WEIGHTS

    with safe_open(space.folder / WEIGHTS, "pt") as file:
        return with_packed_rows(backbone, file.get_tensor("token_index"))


def _write_tokenizer(backbone: Backbone, folder: Path) -> dict[str, Any] | None:
    """Its file and its arguments; None where the lexicon of an embedded space is the tokenizer."""
    from clipx.backbone.tokenizer import StrictTokenizer
    from clipx.backends.tokenizer import save_tokenizer

    if not isinstance(backbone.tokenizer, StrictTokenizer):
        return None
    return save_tokenizer(backbone.tokenizer.definition, folder)


def _require_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise FileError("is no folder", where=folder, remedy="name a new one")
    if folder.is_dir() and any(folder.iterdir()):
        raise FileError("the folder is not empty", where=folder, remedy="name a new one")


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder whose files become those of another if all goes well; else it leaves nothing.

    It lies beside a folder that is to be made, and in one that is there, which may be a mount point. Graphs that were
    there are not served while they are replaced: onnx.json goes first and comes last.
    """
    name = f".{folder.absolute().name}.{secrets.token_hex(4)}.part"
    there = folder.is_dir()
    unfinished = folder / name if there else folder.absolute().with_name(name)
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        if not there:
            unfinished.rename(folder)
            return
        (folder / MANIFEST).unlink(missing_ok=True)
        for path in sorted(unfinished.iterdir(), key=lambda path: path.name == MANIFEST):
            path.replace(folder / path.name)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot be written ({error.strerror or error})", where=folder) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
