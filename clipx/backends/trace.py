"""The towers of a torch model as ONNX graphs, by torch's own exporter."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from clipx.backbone import Backbone
from clipx.backbone.domain_clip import DomainCLIP
from clipx.domains import PHOTO
from clipx.errors import MissingDependencyError, UnsupportedError, first_line

if TYPE_CHECKING:
    import onnx

EXTRA = "pip install 'clipx-modalities[export]'"
WHICH = "which"  # the output that tells picture domains


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
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("an export needs onnx and onnxscript", remedy=EXTRA) from error
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
    _forget_origin(model)
    return model


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop where in the sources each node came from: paths of this machine, ten times as long as the graph."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
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
        features = (model.visual if self.tower == PHOTO else model.towers[self.tower]).trunk(pixels)
        rows = [(model.visual.head if name == PHOTO else model.heads[name])(features) for name in self.domains]
        return (*rows, *([model.which(features)] if self.tells else []))


def towers(backbone: Backbone) -> dict[str, str]:
    """Picture domain -> the image tower that it stands on, the photos' first."""
    return {PHOTO: PHOTO, **getattr(backbone.photos.model, "tower_of", {})}


class Words(nn.Module):
    """The text tower: (N, L) tokens -> (N, D).

    Args:
        backbone: a frozen model.
        short: whether L may be less than the context, as causal towers allow: what stands behind the end of a text
            does not matter to them.
    """

    def __init__(self, backbone: Backbone, short: bool):
        super().__init__()
        self.backbone, self.model, self.short = backbone, backbone.photos.model, short

    def forward(self, tokens: Tensor) -> Tensor:
        if not self.short:
            return self.model.encode_text(tokens)
        return self.backbone.encode_embedded(self.backbone.embed_tokens(tokens), tokens.argmax(1))
