"""Graphs without weights of their own: their initializers are places in a .safetensors file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

SMALL = 256  # bytes: what is smaller stays in the graph
WHOLE = {"I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_}
FLOATS = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}
WIDTHS = {**WHOLE, **FLOATS}


def external_weights(model: onnx.ModelProto, safetensors: str | PathLike, location: str) -> onnx.ModelProto:
    """Let a graph take its weights from a file of tensors; changed in place.

    Each initializer that is equal to a tensor of the file, value by value, becomes external data: a place in that file.
    Where the file holds float16 or bfloat16 of the same values, the graph reads those and casts: what is gathered from
    a table after it is gathered, so that the table stays small, all else when the graph is loaded, as onnxruntime folds
    constants. What has no equal in the file stays in the graph.

    Args:
        model: a graph with its weights in it, at least those of 256 bytes and more in ``raw_data``.
        safetensors: the file.
        location: what the graph calls it: its name, for both must lie in one folder.

    Returns:
        ``model``.
    """
    import onnx

    stored = _Stored(Path(safetensors))
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if len(tensor.raw_data) < SMALL:
            continue
        found = stored.equal_to(onnx.numpy_helper.to_array(tensor))
        if found is None:
            continue
        kind, offset, length = found
        stands_for, width = tensor.name, {"F16": onnx.TensorProto.FLOAT16, "BF16": onnx.TensorProto.BFLOAT16}
        _place(tensor, location, offset, length)
        if kind in width:
            tensor.data_type, tensor.name = width[kind], f"{stands_for}.{kind.lower()}"
            casts += cast_uses(graph, tensor.name, stands_for)
    for node in reversed(casts):
        graph.node.insert(0, node)
    return model


def _place(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    import onnx

    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))


def cast_uses(graph: onnx.GraphProto, half: str, whole: str) -> list[onnx.NodeProto]:
    """Let gathers take rows of ``half`` and cast these; returns what casts all of it, where anything else uses it."""
    import onnx

    left = False
    for place in reversed(range(len(graph.node))):
        node = graph.node[place]
        if node.op_type == "Gather" and node.input[0] == whole and node.input[1] != whole:
            rows, node.input[0] = node.output[0], half
            node.output[0] = f"{rows}.{half}"
            graph.node.insert(place + 1, onnx.helper.make_node("Cast", [node.output[0]], [rows], to=1))
        elif whole in node.input:
            left = True
    return [onnx.helper.make_node("Cast", [half], [whole], to=1)] if left else []


class _Stored:
    """The tensors of a .safetensors file, found by their values."""

    def __init__(self, path: Path):
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header: dict[str, Any] = json.loads(file.read(size))
        header.pop("__metadata__", None)
        self.entries, self.start = header, 8 + size
        self.bytes = np.memmap(path, np.uint8, mode="r")
        self._digests: dict[str, bytes] = {}

    def equal_to(self, values: np.ndarray) -> tuple[str, int, int] | None:
        """Kind, offset and length of the tensor with these values; None if there is none."""
        wanted = None
        for name, entry, kind in self._alike(values):
            wanted = wanted or _digest(values)
            if name not in self._digests:
                self._digests[name] = _digest(self._read(entry))
            if self._digests[name] == wanted:
                begin, end = entry["data_offsets"]
                return kind, self.start + begin, end - begin
        return None

    def _alike(self, values: np.ndarray) -> Iterator[tuple[str, dict[str, Any], str]]:
        """Tensors of that shape and kind, which lie where their kind may lie."""
        for name, entry in self.entries.items():
            kind = entry["dtype"]
            fits = kind in FLOATS if values.dtype == np.float32 else WHOLE.get(kind) == values.dtype.type
            width = WIDTHS[kind]().itemsize if fits else 1
            if fits and tuple(entry["shape"]) == values.shape and (self.start + entry["data_offsets"][0]) % width == 0:
                yield name, entry, kind

    def _read(self, entry: dict[str, Any]) -> np.ndarray:
        """Its values; floats as float32."""
        kind, (begin, end) = entry["dtype"], (self.start + offset for offset in entry["data_offsets"])
        values: np.ndarray = self.bytes[begin:end].view(WIDTHS[kind])
        if kind == "BF16":  # the upper halves of float32
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return (values.astype(np.float32) if kind in FLOATS else values).reshape(entry["shape"])


def _digest(values: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(values).data).digest()
