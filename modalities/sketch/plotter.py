"""Drawings for pen plotters that speak HPGL, through vpype (extra ``plotter``)."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from importlib import import_module

import numpy as np

from clipx.errors import InputError, MissingDependencyError
from clipx.modalities.sketch.svg import Strokes, to_svg

PX_PER_MM = 96 / 25.4  # vpype's pixels
FLATNESS_MM = 0.05  # how far a line may be off the curve


def hpgl(svg: str, device: str) -> str:
    """An SVG in millimetres as HPGL: curves as short lines, pen 1, in the order of the strokes, centred on the paper.

    Args:
        svg: what ``to_svg`` wrote with ``width_mm``.
        device: a plotter that vpype knows, such as ``"hp7475a"``; the smallest of its papers that the drawing fits.

    Raises:
        MissingDependencyError: vpype is not installed. InputError: no such plotter, the drawing is in pixels, or larger
            than any of its papers.
    """
    size = re.search(r'<svg [^>]*width="([\d.]+)mm" height="([\d.]+)mm"', svg)
    if size is None:
        raise InputError("a plotter draws millimetres", where="HPGL", remedy="say how wide with --size-mm")
    try:
        vpype = import_module("vpype")
    except ImportError as error:
        raise MissingDependencyError("HPGL needs vpype", remedy="pip install 'clipx-modalities[plotter]'") from error
    known = vpype.config_manager.get_plotter_list()
    if device not in known:
        raise InputError(f"vpype knows no plotter {device!r}", remedy=f"one of {', '.join(sorted(known))}")
    short, long = sorted(map(float, size.groups()))
    papers = {}
    config = vpype.config_manager.get_plotter_config(device)
    unit_mm = config.plotter_unit_length / PX_PER_MM
    for paper in config.paper_configs:
        (left, right), (bottom, top) = paper.x_range, paper.y_range
        papers[paper.name] = sorted(((right - left) * unit_mm, (top - bottom) * unit_mm))
    fitting = [name for name, (a, b) in papers.items() if short <= a and long <= b]
    if not fitting:
        largest = max(papers.values(), key=lambda sides: sides[0] * sides[1])
        raise InputError(
            f"{short:.0f} x {long:.0f} mm are more than the {largest[0]:.0f} x {largest[1]:.0f} mm that {device} draws",
            remedy="a smaller --size-mm",
        )
    document = vpype.read_multilayer_svg(io.StringIO(svg), FLATNESS_MM * PX_PER_MM, crop=False)
    file = io.StringIO()
    wide = float(size[1]) > float(size[2])
    paper = min(fitting, key=lambda name: papers[name][0] * papers[name][1])
    vpype.write_hpgl(file, document, paper, wide, True, device, None, absolute=True, quiet=True)
    return file.getvalue()


def require_fit(boxes: Iterable[tuple[int, int, int, int]], width_mm: float | None, device: str) -> None:
    """Raise what ``hpgl`` raises, before the work.

    Args:
        boxes: (top, left, height, width) in canvas pixels of what is to be drawn.
        width_mm: their width on paper.
        device: the plotter.
    """
    none = np.zeros(0, np.float32)
    for top, left, height, width in boxes:
        empty = Strokes(none.reshape(0, 4, 2), none, none, none.reshape(0, 3), (left, top, width, height))
        hpgl(to_svg(empty, width_mm=width_mm), device)
