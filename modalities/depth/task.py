"""The task ``depth``: photos -> depth maps."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clipx.files import write_whole
from clipx.modalities.depth import show
from clipx.modalities.depth.estimator import EstimateConfig, Estimator, default_config
from clipx.modalities.depth.files import depth_png, read_rgb
from clipx.modalities.depth.maps import DepthMap
from clipx.space import JointSpace
from clipx.task import PerInputTask


class DepthTask(PerInputTask[Tensor, DepthMap]):
    """Estimates the depth of photos: (3, H, W) RGB in [0, 1] -> ``DepthMap`` of H x W on the CPU.

    Args:
        space, config: see ``estimate``.
    """

    name = "depth"
    Config = EstimateConfig

    def __init__(self, space: JointSpace, config: EstimateConfig | None = None):
        super().__init__(space, config)
        self.estimator = Estimator(space, self.config)

    @classmethod
    def default_config(cls, space: JointSpace) -> EstimateConfig:
        """The first fit that comes with the space; where there is none, words as they are."""
        return default_config(space)

    def load(self, path: str | PathLike) -> Tensor:
        """Read a photo."""
        return read_rgb(path)

    def make(self, one: Tensor) -> DepthMap:
        """The map of a photo."""
        (found,) = self.estimator(one[None])
        responses = None if found.responses is None else found.responses.cpu()
        return replace(found, depth=found.depth.cpu(), responses=responses)

    def pack(self, result: DepthMap) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See ``PerInputTask.pack``."""
        responses = {} if result.responses is None else {"responses": result.responses}
        return {"depth": result.depth, **responses}, {"unit": result.unit, "words": list(result.words)}

    def unpack(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> DepthMap:
        """See ``PerInputTask.unpack``."""
        return DepthMap(tensors["depth"], state["unit"], tensors.get("responses"), tuple(state["words"]))

    def settings(self) -> dict[str, Any]:
        """The config, a fit by its hash."""
        config = {one.name: getattr(self.estimator.config, one.name) for one in fields(EstimateConfig)}
        if (fit := config["fit"]) is not None:
            config["fit"] = fit.sha256()
        return config

    def save(
        self,
        result: DepthMap,
        stem: str | PathLike,
        *,
        title: str = "",
        photo: Tensor | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> list[Path]:
        """Write ``STEM.png`` (millimetres, of maps in metres only), ``STEM-color.png`` and ``STEM.npz``.

        Args:
            result, stem: see ``Task.save``.
            title: what the photo is called.
            photo: (3, H, W); with it ``STEM-words.png``, what each word responds to, of maps that have responses.
            settings: kept in the .npz, as JSON.
        """
        stem = Path(stem)
        files: dict[str, bytes] = {}
        if result.unit == "m":  # any other unit is not millimetres
            files[".png"] = depth_png(result.depth)
        files["-color.png"] = show.scale_png(result, title)
        files[".npz"] = _npz(result, settings or {})
        if result.responses is not None and photo is not None:
            files["-words.png"] = show.responses_png(result, photo)
        for suffix, data in files.items():
            write_whole(stem.with_name(stem.name + suffix), data)
        return [stem.with_name(stem.name + suffix) for suffix in files]

    @classmethod
    def example(cls) -> tuple[EstimateConfig, list[Tensor]]:
        """Three pictures of noise of different sizes, and two words."""
        rng = torch.Generator().manual_seed(0)
        photos = [torch.rand(3, height, width, generator=rng) for height, width in ((40, 50), (64, 48), (40, 50))]
        return cls.Config(words=("close", "far"), bins=(1.0, 4.0)), photos


def _npz(found: DepthMap, settings: Mapping[str, Any]) -> bytes:
    arrays: dict[str, Any] = {"depth": found.depth.cpu().numpy(), "unit": found.unit, "settings": json.dumps(settings)}
    if found.responses is not None:
        arrays |= {"responses": found.responses.half().cpu().numpy(), "words": list(found.words)}
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()
