"""What is taken for what, as a picture."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np

MOST_PANELS = 12
NAMED, COUNTED = 60, 15  # classes up to which the axes are named, and the cells hold numbers


def confusion_png(titles: Sequence[str], tables: Sequence[np.ndarray], names: Sequence[str]) -> bytes:
    """A PNG with a panel for each (K, K) table of counts: rows are the true classes, shares of each row are shaded.

    Args:
        titles: one a table.
        tables: at least one, at most ``MOST_PANELS``.
        names: K classes.
    """
    from matplotlib.figure import Figure

    k, columns = len(names), min(len(tables), math.ceil(math.sqrt(len(tables))))
    lines = math.ceil(len(tables) / columns)
    side = 2.2 + min(0.32 * k, 9)
    figure = Figure(figsize=(side * columns, side * lines), dpi=110, layout="constrained")
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    spoken = [name.replace("_", " ") for name in names]
    for axis, title, table in zip(axes, titles, tables, strict=False):
        share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
        axis.set_title(title, fontsize=10)
        axis.set(xlabel="named", ylabel="true")
        if k <= NAMED:
            axis.set_xticks(range(k), spoken, rotation=90, fontsize=8)
            axis.set_yticks(range(k), spoken, fontsize=8)
        if k <= COUNTED:
            for i, j in zip(*np.nonzero(table), strict=True):
                ink = "white" if share[i, j] > 0.5 else "black"
                axis.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", fontsize=7, color=ink)
    for axis in axes[len(tables) :]:
        axis.set_axis_off()
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
