"""The tab that shows how far everything in a photo is: its map, the value of each place, and the cloud."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from clipx.errors import InputError
from clipx.serve.panel import Download, Events, Panel

if TYPE_CHECKING:
    from torch import Tensor

    from clipx.modalities.depth.lift import Intrinsics
    from clipx.modalities.depth.maps import DepthMap
    from clipx.modalities.depth.task import DepthTask

PHOTO_PX = 2048  # longer side of the photo at most: the map is no finer, and results are kept
VALUES_PX = 512  # longer side of the values that the page reads
CLOUD_POINTS = 120_000  # of the cloud that the page turns
COARSE = "Depth from one photo and words is coarse: trust near and far, not the centimetres."
UNFITTED = "No fit comes with this space: its words order places by depth at best, and the metres are a guess."


@dataclass(frozen=True)
class Estimated:
    """The result of a job.

    Args:
        depth: (H, W).
        photo: (3, H, W) uint8.
        fitted: whether the metres were fitted on anything.
    """

    depth: DepthMap
    photo: Tensor
    fitted: bool


class DepthPanel(Panel):
    """Estimates the depth of a photo; it has no settings.

    Downloads: ``colors.png``, the map in turbo, red near and blue far, unknown black; ``scale.png``, its colours from
    near to far; ``values.bin``, float32 in little-endian order, row by row, NaN where unknown; and of maps in metres
    only ``depth.png``, 16 bits of millimetres, ``cloud.ply``, and ``cloud.shape``, what the page turns.
    """

    name: ClassVar[str] = "depth"
    title: ClassVar[str] = "Depth"
    assets: ClassVar[Path] = Path(__file__).with_name("panel")
    needs_file: ClassVar[bool] = True

    def run(self, path: Path | None, settings: Mapping[str, Any], events: Events) -> Estimated:
        """See ``Panel.run``. Raises UnsupportedError where the space's tower has no dense features."""
        import torch

        from clipx.modalities.depth.files import read_rgb
        from clipx.task import Stopped

        if path is None:
            raise InputError("depth is of a photo", where="depth", remedy="name a file")
        if settings:
            raise InputError(f"unknown setting {min(settings)!r}", where="depth", remedy="there are none")
        events.progress(0, 1, "looking at the photo")
        photo = read_rgb(path)
        if max(photo.shape) > PHOTO_PX:
            size = tuple(max(1, round(side * PHOTO_PX / max(photo.shape))) for side in photo.shape[1:])
            photo = torch.nn.functional.interpolate(photo[None], size, mode="area")[0]
        try:
            (depth,) = self._task.run([photo], stop=events.stop)
        except Stopped as stopped:
            depth = stopped.results[0]  # a map is one step: there is no part of one
        events.progress(1, 1, "")
        return Estimated(depth, (photo * 255).round().byte(), self._task.estimator.config.fit is not None)

    @cached_property
    def _task(self) -> DepthTask:
        from clipx.modalities.depth.task import DepthTask

        return DepthTask(self.space)

    def summary(self, result: Estimated) -> dict[str, Any]:
        """``{width, height, unit, label, near, far, low, high, values: {width, height}, fitted, note, cloud, png}``.

        The colours run from ``near`` to ``far``, which are in ``unit`` as the values are; ``low`` and ``high`` are the
        smaller and the larger of both, None where nothing is known.
        """
        from clipx.modalities.depth.maps import central
        from clipx.modalities.depth.show import LABELS

        depth = result.depth
        height, width = depth.depth.shape
        rows, columns = _values(depth).shape
        ends: tuple[float | None, float | None] = (None, None)
        if depth.known.any():
            known = depth.depth[depth.known]
            if depth.unit == "m":  # its colours go by the inverse
                low, high = central(1 / known)
                least, most = float(known.min()), float(known.max())
                ends = max(1 / high, least), min(1 / low, most)  # 1 / (1 / x) may be past x by rounding
            else:
                low, high = central(known)
                ends = (high, low) if depth.unit == "inverse" else (low, high)
        return {
            "width": width,
            "height": height,
            "unit": depth.unit,
            "label": LABELS[depth.unit],
            "near": ends[0],
            "far": ends[1],
            "low": None if ends[0] is None or ends[1] is None else min(ends),  # type: ignore[type-var]
            "high": None if ends[0] is None or ends[1] is None else max(ends),  # type: ignore[type-var]
            "values": {"width": columns, "height": rows},
            "fitted": result.fitted,
            "note": COARSE if result.fitted else UNFITTED,
            "cloud": depth.unit == "m" and bool(depth.known.any()),
            "png": "colors.png",
        }

    def download(self, result: Estimated, name: str, options: Mapping[str, str]) -> Download:
        """See ``Panel.download`` and the class."""
        from clipx.modalities.depth.files import depth_png
        from clipx.modalities.depth.lift import cloud_ply, require_metric
        from clipx.modalities.depth.maps import colored, turbo

        if options:
            raise InputError(f"unknown option {min(options)!r}", where=name, remedy="there are none")
        depth, photo = result.depth, result.photo.float() / 255
        if name == "colors.png":
            return Download(name, "image/png", _png(colored(depth)))
        if name == "scale.png":
            return Download(name, "image/png", _png(turbo().flip(0).T[:, None]))
        if name == "values.bin":
            return Download(name, "application/octet-stream", _values(depth).astype("<f4").tobytes())
        if name == "depth.png":
            require_metric(depth)
            return Download(name, "image/png", depth_png(depth.depth))
        if name == "cloud.ply":
            return Download(name, "application/octet-stream", cloud_ply(depth, photo, _camera(photo))[0])
        if name == "cloud.shape":
            return Download(name, "application/octet-stream", _shape(depth, photo))
        names = "colors.png, scale.png, values.bin, depth.png, cloud.ply, cloud.shape"
        raise InputError(f"no download {name!r}", where="depth", remedy=f"one of {names}")


def _camera(photo: Tensor) -> Intrinsics:
    from clipx.modalities.depth.command import FOV_DEG
    from clipx.modalities.depth.lift import Intrinsics

    return Intrinsics.from_fov(FOV_DEG, *photo.shape[1:])


def _shape(depth: DepthMap, photo: Tensor) -> bytes:
    """The coloured points as the page reads them."""
    from clipx.modalities.depth.lift import cloud
    from clipx.modality import Shape
    from clipx.serve.service import shape_bytes

    points, colors = cloud(depth, photo, _camera(photo), CLOUD_POINTS)
    return shape_bytes(Shape(points.numpy(), colors=colors.numpy()))


def _values(depth: DepthMap) -> np.ndarray:
    """(h, w) float32 values, NaN where unknown, their longer side no more than ``VALUES_PX``."""
    import torch

    values = torch.where(depth.known, depth.depth, torch.nan).cpu()
    step = min(1.0, VALUES_PX / max(values.shape))
    size = tuple(max(1, round(side * step)) for side in values.shape)
    if size != tuple(values.shape):
        values = torch.nn.functional.interpolate(values[None, None], size, mode="nearest-exact")[0, 0]
    return values.numpy()


def _png(rgb: Tensor) -> bytes:
    """(3, H, W) in [0, 1] -> a file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray((rgb.permute(1, 2, 0) * 255).round().byte().numpy()).save(file, "PNG")
    return file.getvalue()
