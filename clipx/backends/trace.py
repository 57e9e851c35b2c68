"""The towers of a torch model as ONNX graphs, by torch's own exporter."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.backbone import Backbone
from clipx.backbone.domain_clip import DomainCLIP
from clipx.backends.external import SMALL
from clipx.domains import PHOTO
from clipx.errors import MissingDependencyError, UnsupportedError, first_line

if TYPE_CHECKING:
    import onnx

EXTRA = "pip install 'clipx-modalities[export]'"
WHICH = "which"  # the output that tells picture domains


def require_packages() -> None:
    """Raise MissingDependencyError unless what an export needs is installed."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("an export needs onnx and onnxscript", remedy=EXTRA) from error


def trace(
    module: nn.Module, example: Mapping[str, Tensor], dynamic: Mapping[str, Mapping[int, str]], outputs: Sequence[str]
) -> onnx.ModelProto:
    """A module as a graph, with its weights in it.

    Args:
        module: tensors -> a tensor, or a tuple of them.
        example: name of an input -> a tensor of that kind; a size that varies must not be 1.
        dynamic: name of an input -> axis -> name of its size, of axes whose size varies.
        outputs: names of the outputs.

    Raises:
        MissingDependencyError: onnx or onnxscript is not installed.
        UnsupportedError: torch cannot export the module.
    """
    require_packages()
    sizes = {name: torch.export.Dim(name) for axes in dynamic.values() for name in axes.values()}
    shapes = tuple({axis: sizes[size] for axis, size in dynamic.get(name, {}).items()} for name in example)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                module.eval(),
                tuple(example.values()),
                dynamo=True,
                optimize=False,
                verbose=False,
                input_names=list(example),
                output_names=list(outputs),
                dynamic_shapes=shapes,
            )
    except Exception as error:  # whatever an operator runs into that torch cannot export
        what = f"torch cannot export {type(module).__name__}: {first_line(error)}"
        raise UnsupportedError(what, remedy="serve this space by torch") from error
    model = program.model_proto
    for value in model.graph.input:
        for axis in dynamic.get(value.name, {}):
            if not value.type.tensor_type.shape.dim[axis].dim_param:
                raise UnsupportedError(f"torch exports {type(module).__name__} for one size of {value.name} only")
    return simplified(model)


def simplified(model: onnx.ModelProto, fuse: bool = False) -> onnx.ModelProto:
    """A graph without what torch's exporter leaves between its operators, such as biases of zero that are computed.

    onnxruntime sees which operators it can fuse only then: convolutions take a third of the time.

    Args:
        model: with its weights in it.
        fuse: make one weight of several where that saves an operator, such as a convolution's and its BatchNorm's;
            else all weights stay as they are.
    """
    import onnx
    import onnx_ir
    import onnxscript

    weights: list[onnx.TensorProto] = []
    if not fuse:  # what is an input is no constant that could be folded
        weights = [tensor for tensor in model.graph.initializer if len(tensor.raw_data) >= SMALL]
        left = [tensor for tensor in model.graph.initializer if len(tensor.raw_data) < SMALL]
        _replace(model.graph.initializer, left)
        taken = [onnx.helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in weights]
        model.graph.input.extend(taken)
    own = [value.name for value in model.graph.input][: len(model.graph.input) - len(weights)]
    graph = onnx_ir.serde.deserialize_model(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers in branches that are not taken
        onnxscript.optimizer.optimize_ir(graph)
    model = onnx_ir.serde.serialize_model(graph)
    _replace(model.graph.input, [value for value in model.graph.input if value.name in own])
    model.graph.initializer.extend(weights)
    _forget_origin(model)
    return model


def _replace(values: Any, others: Sequence[Any]) -> None:
    del values[:]
    values.extend(others)


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop where in the sources each node came from: paths of this machine, ten times as long as the graph."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    del graph.value_info[:]


class Pictures(nn.Module):
    """An image tower: (N, 3, H, W) -> (N, D) for each picture domain that stands on it, and which one each looks like.

    Args:
        backbone: a frozen model.
        tower: the tower's name, ``"photo"`` or another of a ``DomainCLIP``.
    """

    def __init__(self, backbone: Backbone, tower: str):
        super().__init__()
        self.model, self.tower = backbone.photos.model, tower
        self.domains = [name for name, own in towers(backbone).items() if own == tower]
        self.tells = tower == PHOTO and isinstance(self.model, DomainCLIP)
        self.outputs = [*self.domains, *([WHICH] if self.tells else [])]

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        model = self.model
        if not isinstance(model, DomainCLIP):
            return (model.encode_image(pixels),)
        tower: Any = model.visual if self.tower == PHOTO else model.towers[self.tower]
        features = tower.trunk(pixels)
        rows = [(model.visual.head if name == PHOTO else model.heads[name])(features) for name in self.domains]
        return (*rows, *([model.which(features)] if self.tells else []))


def towers(backbone: Backbone) -> dict[str, str]:
    """Picture domain -> the image tower that it stands on, the photos' first."""
    return {PHOTO: PHOTO, **getattr(backbone.photos.model, "tower_of", {})}


class Words(nn.Module):
    """The text tower: (N, L) tokens -> (N, D).

    ``short`` tells whether L may be less than the context: what stands behind the end of a text does not matter to a
    causal tower, nor any padding to a lexicon's.

    Args:
        backbone: a frozen model.
    """

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone, self.model = backbone, backbone.photos.model
        self.causal = backbone.reads_embeddings
        self.short = self.causal or backbone.adds_words

    def forward(self, tokens: Tensor) -> Tensor:
        if not self.causal:
            return self.model.encode_text(tokens)
        return self.backbone.encode_embedded(self.backbone.embed_tokens(tokens), self.backbone.ends(tokens))


class PackedRows(nn.Module):
    """A token table of which an embedded space keeps some rows only; the others are zero.

    Args:
        table: (V, W), as it is loaded.
        kept: numbers of the rows that the space keeps, in the order in which it keeps them.
    """

    def __init__(self, table: Tensor, kept: Tensor):
        super().__init__()
        self.rows = nn.Parameter(table.detach()[kept.long()], requires_grad=False)
        places = torch.zeros(len(table), dtype=torch.int16 if len(kept) < 2**15 else torch.int32)  # counted from 1
        places[kept.long()] = torch.arange(1, 1 + len(kept), dtype=places.dtype)
        self.places: Tensor
        self.register_buffer("places", places[:, None])

    def forward(self, tokens: Tensor) -> Tensor:
        places = F.embedding(tokens, self.places).long()
        rows = F.embedding((places[..., 0] - 1).clamp(min=0), self.rows)
        return torch.where(places > 0, rows, 0.0)


def with_packed_rows(backbone: Backbone, kept: Tensor) -> Backbone:
    """A copy whose token table is a ``PackedRows``."""
    copied = copy.copy(backbone)
    copied.photos, copied.model = copied, copy.deepcopy(backbone.model)
    text = getattr(copied.model, "text", copied.model)
    text.token_embedding = PackedRows(text.token_embedding.weight, kept)
    return copied
