"""Towers in 8 bits: weights, and the large products, by onnxruntime's own tools."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipx._quiet import suppress_logging
from clipx.backends.external import SMALL, cast_uses
from clipx.backends.trace import simplified

if TYPE_CHECKING:
    import onnx

FIRST = 3  # convolutions that stay in float32: of lite's drawings the mean cosine to float32 rises from 0.94 to 0.995


def quantised(graph: onnx.ModelProto, inputs: Sequence[np.ndarray]) -> tuple[onnx.ModelProto, bool]:
    """A tower in 8 bits, and whether its rows are to be run one by one.

    Convolutions get fixed ranges of their inputs, those that samples show; the first three stay in float32: their
    errors would grow in all that follow. Other towers measure the range of every product as they run; as it is that of
    the whole batch, a row would depend on those beside it, and so each is run alone. Tables of tokens stay in float16.

    Args:
        graph: with its weights in it.
        inputs: samples of its only input, rows of one each.
    """
    import onnx
    from onnxruntime import quantization as ort

    graph = simplified(graph, fuse=True)
    nodes = graph.graph.node
    kinds = Counter(node.op_type for node in nodes)
    convolutional = kinds["Conv"] >= kinds["MatMul"] + kinds["Gemm"]
    with tempfile.TemporaryDirectory() as folder, suppress_logging():  # advice of onnxruntime's tools
        source, result = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(graph, source, save_as_external_data=True)  # else 2 GB are the most
        if convolutional:
            ort.quantize_static(
                source,
                result,
                _Samples(graph.graph.input[0].name, inputs),
                per_channel=True,
                activation_type=ort.QuantType.QUInt8,
                weight_type=ort.QuantType.QUInt8,
                nodes_to_exclude=[node.name for node in nodes if node.op_type == "Conv"][:FIRST],
            )
        else:
            products = ["MatMul", "Gemm"]
            ort.quantize_dynamic(source, result, products, per_channel=True, weight_type=ort.QuantType.QUInt8)
        found = onnx.load(result)
    _halve_tables(found.graph)
    return found, not convolutional


class _Samples:
    """What onnxruntime calls a calibration data reader."""

    def __init__(self, name: str, inputs: Sequence[np.ndarray]):
        self._rest: Iterator[dict[str, np.ndarray]] = iter([{name: one} for one in inputs])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._rest, None)


def _halve_tables(graph: onnx.GraphProto) -> None:
    """Keep in float16 what rows are gathered from."""
    import onnx

    tables = {node.input[0] for node in graph.node if node.op_type == "Gather"}
    casts = []
    for tensor in graph.initializer:
        if tensor.name in tables and tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.raw_data) >= SMALL:
            whole = tensor.name
            half = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{whole}.f16"))
            casts += cast_uses(graph, tensor.name, whole)
    for node in reversed(casts):
        graph.node.insert(0, node)
