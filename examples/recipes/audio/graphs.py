"""The graphs by which onnxruntime runs the sound towers that come with clipx.

    python examples/recipes/audio/graphs.py

writes ``network.onnx`` beside the ``weights.safetensors`` of the sound-effects network and of each small tower in
``modalities/audio/towers``. A graph holds no weights but reads those beside it, at places: whenever they are written
again, so is the graph.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import clipx
from clipx.backends.external import external_weights
from clipx.backends.trace import trace
from clipx.files import write_whole
from clipx.modalities.audio.graph import INPUT, OUTPUT
from clipx.modalities.audio.spectrograms import SFX_MEL
from clipx.modalities.audio.towers import ABOUT, load_tower, new_tower
from clipx.modalities.audio.weights import GRAPH, SFX, SHIPPED, WEIGHTS

FRAMES = 251  # of the example: any number may follow


class Pooled(nn.Module):
    """What a tower makes of spectrograms (B, mels, n) before its last layer: (B, F)."""

    def __init__(self, net: Any):
        super().__init__()
        self.net = net

    def forward(self, spectrograms: Tensor) -> Tensor:
        return self.net.pooled(spectrograms)


def write_graph(net: Any, mels: int, folder: Path) -> None:
    """Write the graph of a module whose weights lie in that folder."""
    example = {INPUT: torch.zeros(2, mels, FRAMES)}
    graph = trace(Pooled(net), example, {INPUT: {0: "batch", 2: "frames"}}, [OUTPUT])
    content = external_weights(graph, folder / WEIGHTS, WEIGHTS).SerializeToString()
    write_whole(folder / GRAPH, content)
    print(folder / GRAPH, f"{len(content):,} bytes")


def main() -> None:
    write_graph(new_tower("sfx", 1), SFX_MEL.mels, SFX)
    for about in sorted(SHIPPED.glob(f"*/{ABOUT}")):
        if json.loads(about.read_text())["tower"] == "logmel":
            net = load_tower(about.parent, clipx.load_space(about.parent.name)).net
            write_graph(net, net.config.mels, about.parent)


if __name__ == "__main__":
    main()
