"""The task ``depth``: photos -> depth maps."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clipx.files import sha256_of, write_whole
from clipx.modalities.depth import show
from clipx.modalities.depth.estimator import EstimateConfig, Estimator, default_config
from clipx.modalities.depth.files import depth_png, read_rgb
from clipx.modalities.depth.maps import DepthMap
from clipx.space import JointSpace
from clipx.task import (
    OnProgress,
    Stopped,
    Task,
    checkpoint_path,
    load_checkpoint,
    require_no_checkpoint,
    save_checkpoint,
    stopping,
)


class DepthTask(Task[Tensor, DepthMap]):
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

    def run(
        self,
        inputs: Sequence[Tensor],
        *,
        on_progress: OnProgress | None = None,
        on_partial: Callable[[int, DepthMap, bool], None] | None = None,
        stop: Callable[[], bool] | None = None,
        checkpoint: str | PathLike | None = None,
        resume: bool = False,
    ) -> list[DepthMap]:
        """See ``Task.run``; a step is one photo, and partial results are finished maps."""
        if checkpoint is not None and not resume:
            require_no_checkpoint(checkpoint)
        paths = [None if checkpoint is None else checkpoint_path(checkpoint, i) for i in range(len(inputs))]
        identities = [None] * len(inputs) if checkpoint is None else self._identities(inputs)
        results: dict[int, DepthMap] = {}
        if on_progress:
            on_progress(0, len(inputs), "")
        with stopping(stop) as asked:
            for i, photo in enumerate(inputs):
                results[i] = self._kept(photo, paths[i], identities[i])
                if on_partial:
                    on_partial(i, results[i], True)
                if on_progress:
                    on_progress(i + 1, len(inputs), "")
                if asked():  # after the last photo, too: Ctrl-C must not be lost
                    raise Stopped(results)
        for path in paths:
            if path is not None:
                path.unlink(missing_ok=True)
        return list(results.values())

    def _kept(self, photo: Tensor, path: Path | None, identity: dict[str, Any] | None) -> DepthMap:
        """The map of a photo, from its checkpoint if there is one."""
        if path is None or identity is None:
            return self._estimated(photo)
        if path.exists():
            tensors, state = load_checkpoint(path, identity)
            return DepthMap(tensors["depth"], state["unit"], tensors.get("responses"), tuple(state["words"]))
        found = self._estimated(photo)
        responses = {} if found.responses is None else {"responses": found.responses}
        state = {"unit": found.unit, "words": list(found.words)}
        save_checkpoint(path, identity, {"depth": found.depth, **responses}, state)
        return found

    def _estimated(self, photo: Tensor) -> DepthMap:
        (found,) = self.estimator(photo[None])
        return replace(
            found, depth=found.depth.cpu(), responses=None if found.responses is None else found.responses.cpu()
        )

    def _identities(self, photos: Sequence[Tensor]) -> list[dict[str, Any]]:
        """What identifies the run, and each photo in it."""
        config = {one.name: getattr(self.estimator.config, one.name) for one in fields(EstimateConfig)}
        if (fit := config["fit"]) is not None:
            config["fit"] = fit.sha256()
        space = f"{self.space.id} {self.space.dtype}"
        digests = [sha256_of(repr(photo.shape).encode() + photo.cpu().numpy().tobytes()) for photo in photos]
        every = sha256_of(" ".join(digests).encode())
        shared = {"task": self.name, "config": config, "space": space, "inputs": every}
        return [shared | {"input": digest} for digest in digests]

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
