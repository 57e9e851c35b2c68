"""A tower's network in onnxruntime, on the CPU: from sounds to vectors without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from clipx.backends.graph import Graph
from clipx.errors import FileError, SpaceError
from clipx.modalities.audio.categories import CATEGORIES
from clipx.modalities.audio.spectrograms import SFX_MEL, LogMelConfig, log_mel, sfx_log_mel
from clipx.modalities.audio.weights import GRAPH, SFX, WEIGHTS, check_fit, read_weights

INPUT, OUTPUT = "spectrograms", "features"
SFX_FEATURES = 512 + sum(map(len, CATEGORIES))


class GraphNetwork:
    """A front end, a graph that stands for the module's ``pooled``, and its last layer. Implements ``Network``.

    Args:
        listen: (B, C, T) -> (B, mels, n) spectrograms.
        sample_rate_hz: of the sounds.
        graph: ``spectrograms`` -> ``features`` (B, F).
        own: weights by the module's names, of them the last layer: ``head.weight`` (D, F), ``head.bias`` (D,).
        frozen: file of the weights that the graph shares with other towers, which the module has as ``network``.
        build: makes the module.
    """

    full_scale = 1.0
    channels = 1

    def __init__(
        self,
        listen: Callable[[np.ndarray], np.ndarray],
        sample_rate_hz: int,
        graph: Graph,
        own: Mapping[str, np.ndarray],
        frozen: Path | None,
        build: Callable[[], Any],
    ):
        self.listen, self.sample_rate_hz, self.graph = listen, sample_rate_hz, graph
        self.own, self.frozen, self.build = own, frozen, build
        self.slope, self.offset = (own[f"head.{name}"].astype(np.float32) for name in ("weight", "bias"))

    def __call__(self, waves: np.ndarray) -> np.ndarray:
        try:
            (features,) = self.graph([OUTPUT], **{INPUT: self.listen(waves)})
        except SpaceError as error:
            what, remedy = "the network is missing or corrupt", "install clipx again"
            raise FileError(what, where=self.graph.path, remedy=remedy) from error
        return features @ self.slope.T + self.offset

    def state(self) -> Mapping[str, np.ndarray]:
        shared = {} if self.frozen is None else read_weights(self.frozen)
        return {**{f"network.{name}": value for name, value in shared.items()}, **self.own}

    @cached_property
    def net(self) -> Any:
        return self.build()


def served(folder: Path, kind: str, config: LogMelConfig, dim: int, build: Callable[[], Any]) -> GraphNetwork | None:
    """The network of a tower's folder; None where there is no graph of it.

    Args:
        folder: of the tower.
        kind: "logmel", "fbsp" or "sfx".
        config: of a logmel tower.
        dim: D of its space.
        build: makes the module.

    Raises:
        FileError: the weights are missing or corrupt.
        InputError: the last layer is not of that space, or not finite.
    """
    home = SFX if kind == "sfx" else folder
    if not (home / GRAPH).is_file():
        return None
    own = read_weights(folder / WEIGHTS)
    if kind == "sfx":
        own = {f"head.{name}": value for name, value in own.items()}
    width = SFX_FEATURES if kind == "sfx" else config.widths[-1]
    head = {name: value for name, value in own.items() if name.startswith("head.")}
    check_fit(head, {"head.weight": (dim, width), "head.bias": (dim,)}, folder / WEIGHTS)
    graph = Graph(home / GRAPH)
    if kind == "sfx":
        return GraphNetwork(sfx_log_mel, SFX_MEL.sample_rate_hz, graph, own, SFX / WEIGHTS, build)
    return GraphNetwork(partial(log_mel, config=config), config.sample_rate_hz, graph, own, None, build)
