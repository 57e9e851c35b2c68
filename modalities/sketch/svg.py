"""Drawings as SVG: one path a stroke, in layers that a plotter's software reads, and back."""

from __future__ import annotations

import json
import math
import re
import warnings
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from clipx._arrays import to_array
from clipx.errors import FileError, InputError
from clipx.files import read_bytes
from clipx.modalities.sketch.curves import PROFILES, lengths_along, parts
from clipx.modalities.sketch.foreign import foreign_strokes

SVG = "http://www.w3.org/2000/svg"
INKSCAPE = "http://www.inkscape.org/namespaces/inkscape"
MAX_BYTES = 2**24  # of a file
DECIMALS = 3  # of a pixel: finer than any raster or plotter resolves


@dataclass(frozen=True)
class Strokes:
    """Cubic strokes on a canvas, in drawing order; of tensors the values are kept.

    Args:
        points: (N, 3 S + 1, 2) float32 control points in canvas pixels, x then y, of S cubic segments.
        width_px: (N,) full widths.
        alpha: (N,) opacities in [0, 1].
        color: (N, 3) RGB in [0, 1].
        box: (left, top, width, height) of the canvas that is shown, in pixels.
        about: what a reader may want to know (title, seed, loss, space, settings); anything JSON can hold.
        profile: of the width of every stroke along its way, see ``curves.profile_width``.
    """

    points: np.ndarray
    width_px: np.ndarray
    alpha: np.ndarray
    color: np.ndarray
    box: tuple[float, float, float, float]
    about: dict[str, Any] = field(default_factory=dict)
    profile: str = "even"

    def __post_init__(self):
        for name in _OF_EACH:
            object.__setattr__(self, name, to_array(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, which: slice | np.ndarray | list[int]) -> Strokes:
        """Some of the strokes, or the strokes in another order."""
        return replace(self, **{name: getattr(self, name)[which] for name in _OF_EACH})


_OF_EACH = ("points", "width_px", "alpha", "color")  # of each stroke


def to_svg(
    strokes: Strokes,
    *,
    width_mm: float | None = None,
    layers: list[int] | None = None,
    seconds: float | None = None,
) -> str:
    """An SVG document: ``viewBox`` in canvas pixels, a title, the settings as JSON, one path a stroke.

    A stroke of a width profile is a group of short paths, each of one width; its own curve is kept in ``data-centre``.

    A drawing in pixels lies on a white page. One in millimetres has none: a plotter's pen would draw its edge.

    Args:
        strokes: finite numbers only.
        width_mm: the paper width of what is shown; the height follows. None: size in pixels.
        layers: how many strokes each layer has, in order; one layer holds all by default. Layers are Inkscape's, their
            labels begin with 1, 2, ...: AxiDraw's software plots them by that number.
        seconds: animate it: a browser then draws one stroke after another, in that time, once. It needs no script, and
            whoever knows no CSS animations shows the whole drawing.

    Raises:
        InputError: a number is not finite, or the layers do not add up to the strokes.
    """
    for name in _OF_EACH:
        if not np.isfinite(getattr(strokes, name)).all():
            raise InputError(f"the strokes' {name} are not all finite")
    layers = [len(strokes)] if layers is None else layers
    if sum(layers) != len(strokes):
        raise InputError(f"layers of {layers} strokes do not add up to {len(strokes)}")
    if width_mm is not None and not 0 < width_mm < math.inf:
        raise InputError(f"the width must be a positive number of millimetres, got {width_mm}")
    if seconds is not None and not 0 < seconds < 3600:
        raise InputError(f"seconds must be positive and less than an hour, got {seconds}")
    _, _, width, height = strokes.box
    left, top, *shown = (_number(value) for value in strokes.box)
    if width_mm is None:
        size = f'width="{_number(width)}" height="{_number(height)}"'
    else:
        size = f'width="{_number(width_mm)}mm" height="{_number(width_mm * height / width)}mm"'
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="{SVG}" xmlns:inkscape="{INKSCAPE}" {size} viewBox="{left} {top} {shown[0]} {shown[1]}">',
        f"<title>{_text(str(strokes.about.get('title', 'a drawing')))}</title>",
        f"<metadata>{_text(json.dumps(strokes.about, sort_keys=True, allow_nan=False))}</metadata>",
    ]
    if seconds is not None:
        lines.append(_animation(strokes, seconds))
    if width_mm is None:
        lines.append(f'<rect x="{left}" y="{top}" width="{shown[0]}" height="{shown[1]}" fill="white"/>')
    first = 0
    for number, count in enumerate(layers, 1):
        scene = strokes.about.get("layers") == layers
        name = ("background", "object")[number - 1] if scene else f"strokes {first + 1} to {first + count}"
        label = quoteattr(f"{number} {name}")
        lines.append(f'<g id="layer-{number}" inkscape:groupmode="layer" inkscape:label={label}>')
        lines += [_path(strokes, index) for index in range(first, first + count)]
        lines.append("</g>")
        first += count
    return "\n".join([*lines, "</svg>", ""])


def read_svg(path: str | PathLike) -> Strokes:
    """The strokes of a file that ``to_svg`` wrote, as they were, or what the file of another program shows.

    Warns (``UserWarning``) of what is left out of the latter, see ``foreign_strokes``.

    Raises:
        FileError: missing, no SVG, too large, or nothing of it can be drawn.
    """
    text = read_bytes(path, max_bytes=MAX_BYTES).lstrip()  # scripts write a blank line before the XML
    if text[:2] == b"\x1f\x8b":
        raise FileError("is a compressed SVG", where=path, remedy="unpack it: gunzip -c, and save as .svg")
    notes: list[str] = []
    try:
        root = ET.fromstring(text)
        if _is_ours(root):
            box = _numbers(root.attrib["viewBox"], 4)
            about = json.loads(root.findtext(f"{{{SVG}}}metadata", "{}"))
            strokes = [stroke for layer in root.findall(f"{{{SVG}}}g") for stroke in layer]
            rows, profiles = [_stroke(stroke) for stroke in strokes], {s.get("data-profile", "even") for s in strokes}
            if len(profiles) > 1 or not profiles <= set(PROFILES):
                raise ValueError(f"width profiles {', '.join(sorted(profiles))}")
            profile = profiles.pop() if profiles else "even"
        else:
            rows, bounds, notes = foreign_strokes(root)
            profile = "even"
            box = list(bounds)
            title = root.findtext(f"{{{SVG}}}title")
            about = {"title": title.strip()} if title and title.strip() else {}
    except (ET.ParseError, ValueError, LookupError, ArithmeticError, RecursionError) as error:
        raise FileError(f"holds no drawing of strokes ({error})", where=path) from error
    if not isinstance(about, dict) or min(box[2:]) <= 0:
        raise FileError("holds no drawing of strokes (its metadata or viewBox)", where=path)
    for note in notes:
        warnings.warn(f"{path}: {note}", stacklevel=2)
    if len({len(row) for row in rows}) > 1:
        raise FileError("holds strokes of different numbers of segments", where=path)
    table = np.array(rows, np.float32).reshape(len(rows), len(rows[0]) if rows else 13)
    points = table[:, :-5].reshape(len(rows), (table.shape[1] - 5) // 2, 2)
    return Strokes(points, table[:, -5], table[:, -4], table[:, -3:], tuple(box), about, profile)  # type: ignore[arg-type]


def travel_sorted(points: np.ndarray) -> np.ndarray:
    """(N,) indices: an order of the strokes in which a pen travels less, the nearest next start always taken.

    Args:
        points: (N, 3 S + 1, 2).
    """
    left = list(range(len(points)))
    order: list[int] = []
    pen = np.zeros(2, points.dtype)
    while left:
        starts = points[left, 0]
        nearest = int(np.square(starts - pen).sum(1).argmin())
        order.append(left.pop(nearest))
        pen = points[order[-1], -1]
    return np.array(order, np.int64)


KEYFRAMES = "@keyframes draw"


def _animation(strokes: Strokes, seconds: float) -> str:
    """A style sheet by which each stroke's dash, as long as the stroke, comes in from before its start.

    A stroke of a width profile is of many paths: it appears when the pen has come to its end.
    """
    length = lengths_along(strokes.points)[:, -1] * 1.01 + strokes.width_px  # a dot takes time, too
    until = length.cumsum(dtype=np.float64)
    at_once = strokes.profile != "even"
    begin, end = ("opacity:0", "opacity:1") if at_once else ("stroke-dashoffset:var(--begin)", "stroke-dashoffset:0")
    rules = [f"{KEYFRAMES}{{from{{{begin}}}to{{{end}}}}}"]
    for index, (long, upto) in enumerate(zip(length.tolist(), until.tolist(), strict=True)):
        share, since = seconds / float(until[-1]), upto - long
        if at_once:
            rules.append(f"#stroke-{index:03d}{{animation:draw .1s linear {_number(upto * share)}s both}}")
            continue
        hidden = long + float(strokes.width_px[index])  # its round end is hidden, too
        rules.append(
            f"#stroke-{index:03d}{{stroke-dasharray:{_number(long)} {_number(2 * hidden)};--begin:{_number(hidden)}px;"
            f"animation:draw {_number(long * share)}s linear {_number(since * share)}s both}}"
        )
    return f"<style>{''.join(rules)}</style>"


def _text(said: str) -> str:
    """XML's characters only: a file's name may hold any byte, a sentence control characters."""
    return escape(re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", said))


def _path(strokes: Strokes, index: int) -> str:
    red, green, blue = (round(255 * min(max(value, 0.0), 1.0)) for value in strokes.color[index].tolist())
    alpha, width = float(strokes.alpha[index]), float(strokes.width_px[index])
    curve = _chain(strokes.points[index])
    opacity = f' stroke-opacity="{_number(alpha)}"' if alpha != 1 else ""
    looks = f'fill="none" stroke="#{red:02x}{green:02x}{blue:02x}"{opacity}'
    ends = 'stroke-linecap="round" stroke-linejoin="round"'
    if strokes.profile == "even":
        return f'<path id="stroke-{index:03d}" {looks} stroke-width="{_number(width)}" {ends} d="{curve}"/>'
    curves, share = parts(strokes.points[index][None], strokes.profile)  # SVG's own strokes are of one width
    pieces = [
        f'<path stroke-width="{_number(width * part)}" d="{_chain(piece)}"/>'
        for piece, part in zip(curves[0], share.tolist(), strict=True)
    ]
    own = f'data-profile="{strokes.profile}" data-width="{_number(width)}" data-centre="{curve}"'
    return f'<g id="stroke-{index:03d}" {own} {looks} {ends}>{"".join(pieces)}</g>'


def _chain(points: np.ndarray) -> str:
    """Path data of (3 S + 1, 2)."""
    start, *rest = (" ".join(_number(v) for v in point) for point in points.tolist())
    return f"M {start} " + " ".join(f"C {', '.join(rest[i : i + 3])}" for i in range(0, len(rest), 3))


_LOOKS = {"id", "fill", "stroke", "stroke-opacity", "stroke-linecap", "stroke-linejoin"}
_OWN = {  # the attributes of a stroke: a path of one width, or a group of a width profile
    f"{{{SVG}}}path": _LOOKS | {"stroke-width", "d"},
    f"{{{SVG}}}g": _LOOKS | {"data-profile", "data-width", "data-centre"},
}


def _is_ours(root: ET.Element) -> bool:
    """Whether ``to_svg`` wrote it: nothing but its layers of strokes, which need no other reading."""
    if root.tag != f"{{{SVG}}}svg" or root.find(f"{{{SVG}}}metadata") is None:
        return False
    layers = root.findall(f"{{{SVG}}}g")
    others = [child.tag for child in root if child.tag != f"{{{SVG}}}g"]
    pages = root.findall(f"{{{SVG}}}rect")
    return (
        set(others) <= {f"{{{SVG}}}{name}" for name in ("title", "metadata", "style", "rect")}
        and all(page.get("fill") == "white" for page in pages)
        and all((style.text or "").startswith(KEYFRAMES) for style in root.iter(f"{{{SVG}}}style"))
        and all(set(layer.attrib) <= {"id", f"{{{INKSCAPE}}}groupmode", f"{{{INKSCAPE}}}label"} for layer in layers)
        and all(set(stroke.attrib) <= _OWN.get(stroke.tag, set()) for layer in layers for stroke in layer)
        and all(stroke.get("id", "").startswith("stroke-") for layer in layers for stroke in layer)
    )


def _stroke(element: ET.Element) -> list[float]:
    """Coordinates of the control points, then width, opacity and colour."""
    curve, width = ("data-centre", "data-width") if element.tag == f"{{{SVG}}}g" else ("d", "stroke-width")
    found = re.fullmatch(r"\s*M([^A-DF-Za-df-z]+)((?:C[^A-DF-Za-df-z]+)+)", element.attrib[curve])
    if not found:
        raise ValueError("a path that is not made of cubics")
    points = _numbers(found[1], 2)
    for segment in found[2].split("C")[1:]:
        points += _numbers(segment, 6)
    colour = re.fullmatch("#([0-9a-fA-F]{6})", element.attrib.get("stroke", "#000000"))
    if not colour:
        raise ValueError(f"the colour {element.attrib['stroke'][:40]}")
    rgb = [value / 255 for value in bytes.fromhex(colour[1])]
    wide, opacity = float(element.attrib[width]), float(element.attrib.get("stroke-opacity", 1))
    if not (0 <= wide < math.inf and 0 <= opacity <= 1):
        raise ValueError(f"a stroke of width {wide} and opacity {opacity}")
    return [*points, wide, opacity, *rgb]


def _numbers(text: str, count: int) -> list[float]:
    values = [float(part) for part in re.split(r"[\s,]+", text.strip())]
    if len(values) != count or not all(map(math.isfinite, values)):
        raise ValueError(f"{count} numbers were expected: {text[:60]}")
    return values


def _number(value: float) -> str:
    text = f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
