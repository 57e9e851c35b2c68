"""A trained head as an object and as a file.

>>> head = load_head("head.safetensors", space)                              # doctest: +SKIP
>>> Video(space, VideoConfig(head="head.safetensors")).encode([film])        # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clipx.errors import InputError, SpaceMismatchError
from clipx.files import MODEL_SUFFIX, read_bytes, restore_model, write_model
from clipx.modalities.video.config import MOST_FRAMES, VideoConfig
from clipx.modalities.video.heads.base import HeadNetwork, padded
from clipx.modalities.video.heads.temporal import Conv1D, Mean, SeqLSTM, SeqTransf, Transf, TransfCls
from clipx.modalities.video.heads.tight import Tight
from clipx.space import JointSpace

_KEY = "clipx-video-head"
_FACTS = ("kind", "space_id", "sampling", "settings")

HEADS: dict[str, type[HeadNetwork]] = {
    "mean": Mean,
    "seqlstm": SeqLSTM,
    "seqtransf": SeqTransf,
    "tight": Tight,
    "transf": Transf,
    "transf_cls": TransfCls,
    "conv1d": Conv1D,
}


def new_head(kind: str, dim: int, frames: int, layers: int | None = None, seed: int = 0) -> HeadNetwork:
    """A head before training, which is the mean of the frames.

    Args:
        kind: one of ``HEADS``.
        dim, frames, layers: see ``HeadNetwork``.
        seed: of its weights.

    Raises:
        InputError: an unknown kind, or sizes out of range.
    """
    if kind not in HEADS:
        raise InputError(f"no head {kind!r}", where="--head", remedy=f"known: {', '.join(HEADS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return HEADS[kind](dim, frames, layers).eval()


@dataclass(frozen=True, eq=False)
class Head:
    """A head of one space.

    Args:
        kind: one of ``HEADS``.
        network: its layers.
        space_id: the only space whose frames it takes.
        sampling: ``fps``, ``frames`` and ``uniform`` of the films that it learned from, see ``VideoConfig``.
        settings: how it learned, as JSON has it.
    """

    kind: str
    network: HeadNetwork
    space_id: str
    sampling: dict[str, Any]
    settings: dict[str, Any]

    def vector(self, frames: np.ndarray) -> np.ndarray:
        """The vector of one film: (T, D) unit vectors of its frames -> (D,), of unit norm.

        Raises:
            InputError: the head gives scores alone.
        """
        self.require_vectors()
        place = next(self.network.parameters(), torch.zeros(0)).device
        rows, mask = padded([torch.from_numpy(np.ascontiguousarray(frames))], self.network.shape["frames"])
        with torch.no_grad():
            return self.network.vectors(rows.to(place), mask.to(place))[0].cpu().numpy()

    def require_vectors(self) -> None:
        """Raise InputError where the head gives scores alone."""
        if not self.network.gives_vectors:
            raise InputError(
                f"a {self.kind} head has a score of film and text, and no vector of a film",
                where="head",
                remedy="take another head, or measure this one with clipx train video",
            )

    def scores(self, films: Sequence[np.ndarray], text: np.ndarray) -> np.ndarray:
        """Scores of N films, (T_i, D) each, with K texts, (K, D): (N, K)."""
        place = next(self.network.parameters(), torch.zeros(0)).device
        asked = torch.from_numpy(np.ascontiguousarray(text)).to(place)
        found = []
        with torch.no_grad():
            for film in films:
                rows, mask = padded([torch.from_numpy(np.ascontiguousarray(film))], self.network.shape["frames"])
                found.append(self.network(rows.to(place), mask.to(place), asked).cpu().numpy())
        return np.concatenate(found)

    def save(self, path: str | PathLike) -> Path:
        """Write one .safetensors file, its facts as JSON in the header.

        Raises:
            FileError: another suffix, or the file cannot be written.
        """
        facts = {name: getattr(self, name) for name in _FACTS} | {"shape": self.network.shape}
        return write_model(path, self.network.state_dict(), _KEY, facts)


def load_head(path: str | PathLike, space: JointSpace) -> Head:
    """Read what ``Head.save`` wrote. Nothing in the file is run.

    Raises:
        FileError: missing, unreadable, or no head. SpaceMismatchError: made in another space.
    """

    def build(tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> Head:
        shape = _shape(facts, len(tensors))
        if facts["space_id"] != space.id:
            raise SpaceMismatchError(
                f"the head was made in space {facts['space_id']}, this is {space.id}",
                where=path,
                remedy="take that space, or train again with clipx train video",
            )
        if shape["dim"] != space.dim:
            raise ValueError(f"its frames have {shape['dim']} numbers, those of the space {space.dim}")
        network = HEADS[facts["kind"]](**shape)
        network.load_state_dict(tensors)
        return Head(network=network.eval().requires_grad_(False), **facts)

    data = read_bytes(path, (MODEL_SUFFIX,), max_bytes=2**31)
    return restore_model(data, _KEY, build, "head of films", path, "train one with clipx train video")


def _shape(facts: dict[str, Any], tensors: int) -> dict[str, int]:
    """Takes the sizes of the network out of the facts, before it is made. Wrong facts raise ValueError, and others."""
    shape: dict[str, int] = facts.pop("shape")
    whole = all(type(value) is int for value in shape.values())
    if not whole or shape["layers"] > max(1, tensors) or shape["frames"] > MOST_FRAMES:
        raise ValueError("its sizes are wrong")
    if set(facts["sampling"]) != {"fps", "frames", "uniform"}:
        raise ValueError("it does not say how films are sampled")
    VideoConfig(**facts["sampling"])
    return shape
