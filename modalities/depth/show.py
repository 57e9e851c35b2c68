"""Pictures of depth for people: colours with a scale in metres, and what each word responds to."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.modalities.depth.maps import DepthMap, central

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONG_PX, DPI = 1200, 100  # of the photo in the picture
MIN_IN = 2.0  # inches: a strip one pixel high still gets a scale that can be read
LABELS = {
    "m": "depth in metres",
    "inverse": "inverse depth, no unit (larger is nearer)",
    "affine": "depth, no unit (larger is farther)",
}


def scale_png(depth: DepthMap, title: str = "") -> bytes:
    """The map in colours, red near and blue far, with a scale that says what they mean; unknown is grey."""
    values, colors = _masked(depth), "turbo" if depth.unit == "inverse" else "turbo_r"
    low, high = central(depth.depth[depth.known]) if depth.known.any() else (0.0, 1.0)
    if high <= low:  # all equal
        low, high = low - 0.5 * abs(low) - 1e-6, high + 0.5 * abs(high) + 1e-6
    figure = _figure(*_inches(values.shape), extra=1.6)
    axes = figure.add_subplot()
    shown = axes.imshow(values, cmap=colors, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    axes.set_facecolor("0.6")
    axes.set_xticks([]), axes.set_yticks([])
    axes.set_title(title, fontsize=9)
    bar = figure.colorbar(shown, ax=axes, extend="both", fraction=0.08, pad=0.02)
    bar.set_label(LABELS[depth.unit])
    if depth.unit != "inverse":
        bar.ax.invert_yaxis()  # near, the lower part of most photos, below would be upside down: near is on top
    return _png(figure)


def responses_png(depth: DepthMap, pixels: Tensor) -> bytes:
    """The photo (3, H, W), and of each word a map of how much of it each place shows, all on one scale from 0 to 1.

    ``depth.responses`` must be there.
    """
    responses = depth.responses if depth.responses is not None else torch.zeros(0, 1, 1)
    shape = _small(pixels.shape[1:], 400)
    photo = F.interpolate(pixels[None].float(), shape, mode="area")[0]
    maps = F.interpolate(responses[None].float(), shape, mode="bilinear")[0].clamp(0, 1)
    columns = 4 if shape[1] < 2 * shape[0] else 2
    rows = -(-(1 + len(maps)) // columns)
    height, width = (max(1.2, side / DPI) for side in shape)
    figure = _figure(rows * (height + 0.35), columns * width, extra=1.0)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    grid.flat[0].imshow(photo.permute(1, 2, 0).clamp(0, 1).cpu(), aspect="auto")
    grid.flat[0].set_title("photo", fontsize=9)
    shown: Any = None
    for word, one, axes in zip(depth.words, maps, grid.flat[1:], strict=False):
        shown = axes.imshow(one.cpu(), vmin=0, vmax=1, cmap="magma", aspect="auto", interpolation="nearest")
        axes.set_title(word, fontsize=9)
    if shown is not None:
        figure.colorbar(shown, ax=grid, fraction=0.03, pad=0.02).set_label("share of the word")
    return _png(figure)


def _masked(depth: DepthMap) -> Any:
    """(h, w) numpy values, NaN where unknown, no larger than what is shown."""
    values = torch.where(depth.known, depth.depth, torch.nan).cpu()
    shape = _small(values.shape, LONG_PX)
    if shape == tuple(values.shape):
        return values.numpy()
    return F.interpolate(values[None, None], shape, mode="nearest-exact")[0, 0].numpy()


def _small(shape: Any, most: int) -> tuple[int, int]:
    """(H, W) scaled down to ``most`` pixels on its longer side, never up."""
    scale = min(1.0, most / max(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _inches(shape: Any) -> tuple[float, float]:
    """(high, wide) of the picture on paper: its longer side 8, its shorter one no less than ``MIN_IN``."""
    high, wide = shape
    return max(MIN_IN, 8 * min(1, high / wide)), max(MIN_IN, 8 * min(1, wide / high))


def _figure(high: float, wide: float, extra: float) -> Figure:
    """A figure whose pictures take ``high`` x ``wide`` inches, with room for a scale on the right."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(wide + extra, high + 0.4), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
