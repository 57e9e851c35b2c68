"""SVGs of other programs as strokes: what they show, with transforms, styles and filled shapes."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

SVG = "http://www.w3.org/2000/svg"
MAX_ELEMENTS = 50_000  # with those that are used again
MAX_DEPTH = 100
MAX_ROWS = 2**14  # strokes: more are no drawing, and are found out before the rest is looked at
ROWS = 224  # of a filled shape as high as the canvas: a row of pixels of the picture
_SHAPES = ("path", "rect", "circle", "ellipse", "line", "polyline", "polygon")
_GROUPS = ("g", "a", "svg", "symbol", "switch")
_UNSEEN = ("defs", "title", "desc", "metadata", "style", "script", "clipPath", "mask", "marker", "symbol", "pattern",
           "linearGradient", "radialGradient", "filter", "animate", "animateTransform", "set", "view",
           "namedview")  # fmt: skip
_INHERITED = ("fill", "stroke", "stroke-width", "fill-opacity", "stroke-opacity", "fill-rule", "visibility", "color")
_PROPERTIES = (*_INHERITED, "display", "opacity", "clip-path", "mask", "stop-color")
_REMEDY = "in Inkscape: Path > Object to Path, then save as plain SVG"

Style = dict[str, str]
Size = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass
class _Drawing:
    """What was found so far: cubics with their paint, in drawing order, and what was left out."""

    box: tuple[float, float, float, float]
    rows: list[list[float]] = field(default_factory=list)  # 8 coordinates, width, alpha, red, green, blue
    variables: Style = field(default_factory=dict)  # custom properties of style sheets
    left_out: Counter[str] = field(default_factory=Counter)
    elements: int = 0


def foreign_strokes(root: ET.Element) -> tuple[list[list[float]], tuple[float, float, float, float], list[str]]:
    """The root of any SVG -> strokes, the box that is shown, and warnings.

    Strokes are rows of 13 numbers: x and y of 4 control points, width, opacity, red, green, blue. The inside of a
    filled shape is drawn by strokes that lie side by side, one for each row of pixels of the picture. What is hidden
    is left out; text, pictures, gradients (drawn in one colour) and clipping are warned of.

    Raises:
        ValueError: no SVG, without a size, or nothing of it can be drawn.
    """
    if _tag(root) != "svg":
        raise ValueError(f"its root is {str(root.tag)[:40]}")
    box = _box(root)
    drawing = _Drawing(box or (0.0, 0.0, 1.0, 1.0))
    rules = _rules(root)
    variables = {name: value for _, declared in rules for name, value in declared.items() if name.startswith("--")}
    variables |= _declared(root.get("style", ""))
    drawing.variables = variables
    names = {element.get("id", ""): element for element in root.iter()}
    if box is None:  # the drawing says how large it is
        shown = [row for path, _, _ in _walk(root, rules, names, drawing) for row in _cubics(path)]
        if not shown:
            raise ValueError(f"it draws nothing; {_REMEDY}")
        places = np.array(shown).reshape(-1, 2)
        low, high = places.min(0), places.max(0)
        margin = 0.05 * max(float((high - low).max()), 1e-9)
        drawing = _Drawing((*(low - margin).tolist(), *(high - low + 2 * margin).tolist()), variables=variables)
    for path, style, alpha in _walk(root, rules, names, drawing):
        _draw(path, style, alpha, names, rules, drawing)
        if len(drawing.rows) > MAX_ROWS:
            raise ValueError(f"more than {MAX_ROWS:,} strokes; simplify it, or save it as .png")
    if not np.isfinite(np.array(drawing.rows or [[0.0]])).all():
        raise ValueError("a number that is not finite")
    what = [f"{count} {name}" for name, count in sorted(drawing.left_out.items())]
    if not drawing.rows:
        skipped = f" but {', '.join(what)}" if what else ""
        raise ValueError(f"it draws nothing that can be read{skipped}; {_REMEDY}")
    notes = [f"{', '.join(what)}: {_REMEDY}"] if what else []
    if min(shade for row in drawing.rows for shade in row[10:]) == 1:
        notes.append("all that it draws is white, as the page is: draw a dark <rect> below it, or dark lines")
    return drawing.rows, drawing.box, notes


# The tree -----------------------------------------------------------------------------------------------------------


def _walk(root: ET.Element, rules: Any, names: dict[str, ET.Element], drawing: _Drawing) -> Iterator[Any]:
    """(path in the canvas's coordinates, style, opacity) of every shape that is shown, in drawing order."""
    from svgelements import Matrix

    drawing.left_out.clear()
    drawing.elements = 0
    visited: list[str] = []

    above: list[set[str]] = []  # what the elements above are called

    def visit(
        element: ET.Element,
        inherited: Style,
        matrix: Any,
        alpha: float,
        depth: int,
        used: ET.Element | None,  # the <use> that shows it
        whole: Size,  # of what per cent are of
        clips: Sequence[Box | None],  # what may hide parts of it
    ) -> Iterator[Any]:
        drawing.elements += 1
        if depth > MAX_DEPTH or drawing.elements > MAX_ELEMENTS:
            raise ValueError(f"groups of more than {MAX_DEPTH} levels or {MAX_ELEMENTS:,} elements; simplify it")
        tag = _tag(element)
        if not tag or (tag in _UNSEEN and not (used is not None and tag == "symbol")):
            return
        own = _style(element, rules, above)
        style = {
            **inherited,
            **{name: value for name, value in own.items() if name in _INHERITED and value != "inherit"},
        }
        alpha *= _share(own.get("opacity", "1"))
        if own.get("display") == "none" or alpha <= 0:
            return
        if element.get("transform"):
            matrix = Matrix(element.get("transform")) * matrix
        cut = (own.get(name, "none") for name in ("clip-path", "mask"))
        clips = [*clips, *(_clip(value, names, matrix, whole) for value in cut if value != "none")]
        if tag in ("svg", "symbol") and depth:
            placed, whole = _viewport(element, used, whole)
            matrix = placed * matrix
        if tag in _GROUPS:
            children = list(element)
            if tag == "switch":
                children = [child for child in children if _tag(child) not in ("", "foreignObject", *_UNSEEN)][:1]
            above.append(_called(element))
            for child in children:
                yield from visit(child, style, matrix, alpha, depth + 1, None, whole, clips)
            above.pop()
        elif tag == "use":
            link = element.get("href") or element.get("{http://www.w3.org/1999/xlink}href") or ""
            target = names.get(link.removeprefix("#")) if link.startswith("#") else None
            if target is None or link in visited:
                drawing.left_out["references lead nowhere"] += 1
                return
            visited.append(link)
            x, y = (_length(element.get(name, "0"), of) for name, of in zip("xy", whole, strict=True))
            moved = Matrix(f"translate({x}, {y})") * matrix
            yield from visit(target, style, moved, alpha, depth + 1, element, whole, clips)
            visited.pop()
        elif tag in _SHAPES:
            if style.get("visibility", "visible") == "visible" and (path := _path(element, tag, whole)) is not None:
                path = abs(path * matrix)
                if any(_cuts(clip, path, drawing.box) for clip in clips):
                    drawing.left_out["clipped shapes are drawn whole"] += 1
                scale = math.sqrt(abs(matrix.a * matrix.d - matrix.b * matrix.c))
                yield path, {**style, "scale": str(scale)}, alpha
        else:
            drawing.left_out[f"<{tag[:30]}> left out"] += 1

    yield from visit(root, {}, Matrix(), 1.0, 0, None, drawing.box[2:], [])


def _tag(element: ET.Element) -> str:
    """The name of an element of SVG; "" for those of other namespaces, such as an editor's."""
    if not isinstance(element.tag, str):
        return ""
    space, _, name = element.tag.rpartition("}")
    return name if space in ("", f"{{{SVG}") else ""


def _rules(root: ET.Element) -> list[tuple[list[str], Style]]:
    """(selector, declarations) of the style sheets, the weaker ones first.

    A selector is the names, classes and ids of an element and of some above it, outermost first; rules of other
    selectors, and those for media, are left out.
    """
    found = []
    for sheet in root.iter():
        if _tag(sheet) == "style" and sheet.text:
            text = re.sub(r"/\*.*?\*/|<!--|-->", "", sheet.text, flags=re.DOTALL)
            text = re.sub(r"@[^{};]*(?:;|\{(?:[^{}]*\{[^{}]*\})*[^{}]*\})", "", text)
            for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", text):
                found += [(re.split(r"[\s>]+", selector.strip()), _declared(body)) for selector in selectors.split(",")]
    # an id wins over a class, a class over a name
    return sorted(found, key=lambda rule: ("#" in "".join(rule[0]), "".join(rule[0]).count("."), len(rule[0])))


def _declared(text: str) -> Style:
    pairs = (part.partition(":") for part in text.split(";"))
    return {name.strip().lower(): value.replace("!important", "").strip() for name, _, value in pairs if value}


def _called(element: ET.Element) -> set[str]:
    """The simple selectors that an element answers to."""
    tag, classes, name = _tag(element), element.get("class", "").split(), element.get("id")
    return {"*", tag, *(f".{c}" for c in classes), *(f"{tag}.{c}" for c in classes), f"#{name}", f"{tag}#{name}"}


def _style(element: ET.Element, rules: list[tuple[list[str], Style]], above: Sequence[set[str]] = ()) -> Style:
    """What an element says of itself: attributes, then style sheets, then its own style."""
    own = {name: element.get(name, "").strip() for name in _PROPERTIES if element.get(name)}
    called = _called(element)
    for (*outer, last), declared in rules:
        if last in called:
            left = iter(above)
            if all(any(selector in names for names in left) for selector in outer):
                own |= declared
    return own | _declared(element.get("style", ""))


# Places -------------------------------------------------------------------------------------------------------------


def _length(text: str, whole: float = 0.0) -> float:
    """A length in user units, 96 to the inch; per cent are of ``whole``."""
    found = re.fullmatch(
        r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(px|mm|cm|in|pt|pc|q|em|ex|%|)\s*", text, re.IGNORECASE
    )
    if not found:
        raise ValueError(f"a length of {text[:40]!r}")
    units = {
        "mm": 96 / 25.4,
        "cm": 96 / 2.54,
        "in": 96.0,
        "pt": 96 / 72,
        "pc": 16.0,
        "q": 96 / 101.6,
        "em": 16.0,
        "ex": 8.0,
    }
    unit = found[2].lower()
    return float(found[1]) * (whole / 100 if unit == "%" else units.get(unit, 1.0))


def _box(root: ET.Element) -> tuple[float, float, float, float] | None:
    """What is shown, in user units: the viewBox, or the width and height; None where neither is said."""
    if root.get("viewBox"):
        values = [float(part) for part in re.split(r"[\s,]+", root.get("viewBox", "").strip())]
        if len(values) != 4 or not all(map(math.isfinite, values)) or min(values[2:]) <= 0:
            raise ValueError(f"a viewBox of {root.get('viewBox', '')[:40]!r}")
        return (values[0], values[1], values[2], values[3])
    sizes = root.get("width", "%"), root.get("height", "%")
    if any("%" in size or size == "auto" for size in sizes):
        return None
    width, height = map(_length, sizes)
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise ValueError(f"a size of {sizes[0][:20]!r} x {sizes[1][:20]!r}")
    return (0.0, 0.0, width, height)


def _viewport(element: ET.Element, used: ET.Element | None, whole: Size) -> tuple[Any, Size]:
    """Where an <svg> or <symbol> within another puts its content, and of what per cent in it are.

    Args:
        element: it.
        used: the <use> that shows it, whose size counts before its own.
        whole: the size of what it stands in, which it fills where none is said.
    """
    from svgelements import Matrix

    def size(name: str, of: float) -> float:
        said = [each.get(name, "auto") for each in (used, element) if each is not None]
        return _length(next((value for value in said if value != "auto"), "100%"), of)

    x, y = (_length(element.get(name, "0"), of) for name, of in zip("xy", whole, strict=True))
    moved = Matrix(f"translate({x}, {y})")
    width, height = size("width", whole[0]), size("height", whole[1])
    if not element.get("viewBox"):
        return moved, (width, height)
    left, top, *inner = _box(element) or (0.0, 0.0, width, height)
    scales = width / inner[0], height / inner[1]
    fit = element.get("preserveAspectRatio", "xMidYMid").split() or ["xMidYMid"]
    if fit[0] != "none":
        scales = (max(scales) if "slice" in fit else min(scales),) * 2
    shares = [{"Min": 0.0, "Max": 1.0}.get(place, 0.5) for place in (fit[0][1:4], fit[0][5:8])]
    free = (width - scales[0] * inner[0]) * shares[0], (height - scales[1] * inner[1]) * shares[1]
    inside = Matrix(f"translate({-left}, {-top})") * Matrix(f"scale({scales[0]}, {scales[1]})")
    return inside * Matrix(f"translate({free[0]}, {free[1]})") * moved, (inner[0], inner[1])


def _path(element: ET.Element, tag: str, box: Size) -> Any:
    """A shape as svgelements' path; None where it has no extent."""
    import svgelements

    def number(name: str, default: str = "0") -> float:
        whole = box[1] if name in ("y", "cy", "height", "ry", "y1", "y2") else box[0]
        return _length(element.get(name, default), whole)

    if tag == "path":
        said = element.get("d", "")
        try:
            return svgelements.Path(said)
        except (ValueError, IndexError, TypeError, AttributeError):  # drawn as far as it can be read
            known = re.match(r"[MmZzLlHhVvCcSsQqTtAaEe0-9\s,.+-]*", said)
            return svgelements.Path((known[0] if known else "").rstrip("MmLlHhVvCcSsQqTtAaEe \t\n,.+-"))
    if tag in ("polyline", "polygon"):
        values = re.findall(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", element.get("points", ""))
        if len(values) < 4:
            return None
        pairs = " ".join(values[: len(values) // 2 * 2])
        return svgelements.Path(f"M {pairs}{' Z' if tag == 'polygon' else ''}")
    if tag == "line":
        return svgelements.Path(f"M {number('x1')},{number('y1')} L {number('x2')},{number('y2')}")
    if tag == "rect":
        width, height = number("width"), number("height")
        if min(width, height) <= 0:
            return None
        rx = number("rx", element.get("ry", "0")) if element.get("rx", "auto") != "auto" else number("ry")
        ry = number("ry", element.get("rx", "0")) if element.get("ry", "auto") != "auto" else rx
        return svgelements.Path(
            svgelements.Rect(number("x"), number("y"), width, height, min(rx, width / 2), min(ry, height / 2))
        )
    rx, ry = (number("r"),) * 2 if tag == "circle" else (number("rx"), number("ry"))
    return svgelements.Path(svgelements.Ellipse(number("cx"), number("cy"), rx, ry)) if min(rx, ry) > 0 else None


def _cubics(path: Any) -> list[list[float]]:
    """A path in the canvas's coordinates -> cubics of 8 coordinates."""
    return [cubic for part in _parts(path, False) for cubic in part]


def _parts(path: Any, closed: bool) -> list[list[list[float]]]:
    """The cubics of each of its parts; ``closed``: with the lines that close them."""
    from svgelements import Arc, Close, CubicBezier, Move, QuadraticBezier

    parts: list[list[list[float]]] = [[]]
    segments: list[Any] = []
    for segment in path:
        flat = not isinstance(segment, Arc) or min(segment.rx, segment.ry) <= 0  # an arc without a radius is a line
        segments += [segment] if flat else segment.as_cubic_curves() if segment.start != segment.end else []
    for segment in segments:
        if isinstance(segment, Move):
            parts.append([])
            continue
        start, end = segment.start, segment.end
        if start is None or end is None:
            continue
        if isinstance(segment, CubicBezier):
            one, two = segment.control1, segment.control2
        elif isinstance(segment, QuadraticBezier):
            one, two = start + (segment.control - start) * (2 / 3), end + (segment.control - end) * (2 / 3)
        else:  # a line, or the one that closes
            if isinstance(segment, Close) and start == end and parts[-1]:
                continue
            one, two = start + (end - start) * (1 / 3), start + (end - start) * (2 / 3)
        parts[-1].append([value for point in (start, one, two, end) for value in (float(point.x), float(point.y))])
    parts = [part for part in parts if part]
    for part in parts if closed else ():
        (x0, y0), (x1, y1) = part[-1][6:], part[0][:2]
        if (x0, y0) != (x1, y1):
            part.append([v for t in (0, 1 / 3, 2 / 3, 1) for v in (x0 + t * (x1 - x0), y0 + t * (y1 - y0))])
    return parts


def _clip(value: str, names: dict[str, ET.Element], matrix: Any, whole: Size) -> Box | None:
    """The rectangle that a clip-path or mask leaves visible, in the canvas's coordinates; None for other shapes."""
    target = names.get((re.search(r"#([^)'\"]+)", value) or [""] * 2)[1])
    if target is None:
        return (-math.inf, -math.inf, math.inf, math.inf)
    shapes = [child for child in target if _tag(child) not in ("", *_UNSEEN)]
    units = target.get("clipPathUnits", target.get("maskContentUnits", "userSpaceOnUse"))
    if len(shapes) != 1 or _tag(shapes[0]) not in ("rect", "path") or units != "userSpaceOnUse":
        return None
    if shapes[0].get("transform") or target.get("transform"):
        return None
    path = _path(shapes[0], _tag(shapes[0]), whole)
    cubics = np.array([] if path is None else _cubics(abs(path * matrix))).reshape(-1, 4, 2)
    if not len(cubics):
        return None
    low, high = cubics.min((0, 1)), cubics.max((0, 1))
    near = 1e-6 * float((high - low).max())
    straight = (np.ptp(cubics, axis=1) <= near).any(axis=1).all()  # lines along an axis
    corners = (np.minimum(cubics - low, high - cubics) <= near).any(axis=2).all()  # all on the edge
    return (*low.tolist(), *high.tolist()) if straight and corners else None


def _cuts(clip: Box | None, path: Any, box: Box) -> bool:
    """Whether a clip hides anything of a path that would be shown."""
    found = path.bbox()
    if clip is None or found is None:
        return found is not None
    near = 1e-6 * max(box[2:])
    low = [max(a, b) for a, b in zip(found[:2], box[:2], strict=True)]
    high = [min(a, b + size) for a, b, size in zip(found[2:], box[:2], box[2:], strict=True)]
    return min(low[0] - clip[0], low[1] - clip[1], clip[2] - high[0], clip[3] - high[1]) < -near


# Paint --------------------------------------------------------------------------------------------------------------


def _draw(path: Any, style: Style, alpha: float, names: dict[str, ET.Element], rules: Any, drawing: _Drawing) -> None:
    """Add the strokes of a shape: its inside first, then its outline."""
    if fill := _colour(style.get("fill", "black"), style, names, rules, drawing):
        opacity = alpha * fill[3] * _share(style.get("fill-opacity", "1"))
        if opacity > 0 and (drawing.rows or min(fill[:3]) < 1):  # white on a page that is white already is nothing
            for cubic, width in _hatched(_parts(path, True), style.get("fill-rule") == "evenodd", drawing.box):
                drawing.rows.append([*cubic, width, min(opacity, 1.0), *fill[:3]])
    if stroke := _colour(style.get("stroke", "none"), style, names, rules, drawing):
        opacity = alpha * stroke[3] * _share(style.get("stroke-opacity", "1"))
        width = _length(style.get("stroke-width", "1"), math.hypot(*drawing.box[2:]) / math.sqrt(2)) * float(
            style["scale"]
        )
        if opacity > 0 and width > 0:
            drawing.rows += [[*cubic, width, min(opacity, 1.0), *stroke[:3]] for cubic in _cubics(path)]


def _colour(
    text: str, style: Style, names: dict[str, ET.Element], rules: Any, drawing: _Drawing
) -> tuple[float, float, float, float] | None:
    """A paint as red, green, blue and opacity in [0, 1]; None for none. Of a gradient the mean of its stops."""
    from svgelements import Color

    text = _plain(text, drawing.variables)
    if text.lower() in ("none", "transparent", ""):
        return None
    if text.lower() in ("currentcolor", "context-fill", "context-stroke"):
        text = style.get("color", "black")
    if text.startswith("url("):
        target = names.get((re.search(r"#([^)'\"]+)", text) or [""] * 2)[1])
        for _ in range(5):  # a gradient may take the stops of another
            link = (
                "" if target is None else target.get("{http://www.w3.org/1999/xlink}href") or target.get("href") or ""
            )
            if target is None or not link or any(_tag(child) == "stop" for child in target):
                break
            target = names.get(link.removeprefix("#"))
        stops = (
            []
            if target is None
            else [_style(child, rules).get("stop-color", "black") for child in target if _tag(child) == "stop"]
        )
        if not stops:
            fallback = text.partition(")")[2].strip()
            drawing.left_out["patterns left out"] += 0 if fallback else 1
            return _colour(fallback or "none", style, names, rules, drawing)
        drawing.left_out["gradients drawn in one colour"] += 1
        colours = [found for stop in stops if (found := _colour(stop, style, names, rules, drawing))]
        return tuple(np.mean(colours, axis=0).tolist()) if colours else None  # type: ignore[return-value]
    try:
        found = Color(text)
        return found.red / 255, found.green / 255, found.blue / 255, found.alpha / 255
    except (ValueError, TypeError, AttributeError, IndexError):
        return 0.0, 0.0, 0.0, 1.0  # as where nothing is said


def _plain(text: str, variables: Style) -> str:
    """A paint with its variables filled in; of a light and a dark one, the light one."""
    for _ in range(5):  # a variable may name another
        text = text.strip()
        if found := re.fullmatch(r"light-dark\(((?:[^(),]|\([^()]*\))+),.*\)", text, re.DOTALL):
            text = found[1]
        elif found := re.fullmatch(r"var\(\s*(--[^\s,()]+)\s*(?:,(.*))?\)", text, re.DOTALL):
            text = variables.get(found[1].lower(), found[2] or "black")
        else:
            break
    return text.strip()


def _share(text: str) -> float:
    """An opacity in [0, 1]."""
    try:
        value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return 1.0
    return min(max(value, 0.0), 1.0) if math.isfinite(value) else 1.0


def _hatched(
    parts: list[list[list[float]]], even_odd: bool, box: tuple[float, float, float, float]
) -> list[tuple[list[float], float]]:
    """The inside of closed curves as horizontal strokes that lie side by side: (cubic, width) each."""
    step = max(box[2:]) / ROWS
    lines = []
    for part in parts:
        points = _flat(np.array(part))
        lines.append(np.concatenate([points[:-1], points[1:]], axis=1))
    if not lines:
        return []
    x0, y0, x1, y1 = np.concatenate(lines).T
    if not np.isfinite([x0, y0, x1, y1]).all():
        raise ValueError("a number that is not finite")
    low, high = max(min(y0.min(), y1.min()), box[1]), min(max(y0.max(), y1.max()), box[1] + box[3])
    found = []
    for row in range(math.floor((low - box[1]) / step), math.ceil((high - box[1]) / step)):
        y = box[1] + (row + 0.5) * step
        crossing = (y0 <= y) != (y1 <= y)
        if not crossing.any():
            continue
        a, b, c, d = x0[crossing], y0[crossing], x1[crossing], y1[crossing]
        where = a + (y - b) / (d - b) * (c - a)
        order = np.argsort(where)
        where = where[order].clip(box[0] - step, box[0] + box[2] + step)
        winding = np.cumsum(np.where(d > b, 1, -1)[order])
        inside = np.arange(1, len(where) + 1) % 2 == 1 if even_odd else winding != 0
        begun = None
        for i, x in enumerate(where.tolist()):
            if inside[i] and begun is None:
                begun = x
            elif not inside[i] and begun is not None:
                half = min(step, x - begun) / 2  # of the round ends
                left, right = begun + half, x - half
                if x - begun > 1e-6 * step:
                    third = (right - left) / 3
                    found.append(
                        ([left, y, left + third, y, right - third, y, right, y], step if half == step / 2 else 2 * half)
                    )
                begun = None
    return found


def _flat(cubics: np.ndarray) -> np.ndarray:
    """(N, 8) cubics that follow one another -> (P, 2) points on them."""
    t = np.linspace(0, 1, 17)[None, 1:, None]
    a, b, c, d = (cubics[:, None, i : i + 2] for i in (0, 2, 4, 6))
    places = (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
    return np.concatenate([cubics[:1, :2], places.reshape(-1, 2)])
