"""The SVG contract: read by another reader, read back, drawn by another renderer, safe against what is no drawing."""

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipx.errors import ClipxError
from clipx.modalities.sketch.plotter import hpgl
from clipx.modalities.sketch.svg import Strokes, read_svg, to_svg, travel_sorted


def some_strokes(count: int = 9, seed: int = 0) -> Strokes:
    rng = np.random.default_rng(seed)
    return Strokes(
        rng.uniform(10, 214, (count, 4, 2)).astype(np.float32),
        rng.uniform(1, 6, count).astype(np.float32),
        rng.uniform(0.3, 1, count).astype(np.float32),
        (rng.integers(0, 256, (count, 3)) / 255).astype(np.float32),
        (0, 28, 224, 168),
        {"title": "a <cat> & co", "seed": 1000, "loss": 0.25, "space": "nano", "settings": {"steps": 5}},
    )


def test_another_reader_finds_the_same_curves(tmp_path):
    svgelements = pytest.importorskip("svgelements")
    strokes = some_strokes()
    (tmp_path / "a.svg").write_text(to_svg(strokes))
    document = svgelements.SVG.parse(tmp_path / "a.svg", reify=False)
    assert (document.viewbox.x, document.viewbox.y, document.viewbox.width, document.viewbox.height) == (
        0,
        28,
        224,
        168,
    )
    paths = [element for element in document.elements() if isinstance(element, svgelements.Path)]
    assert [path.id for path in paths] == [f"stroke-{i:03d}" for i in range(9)]
    for path, points, width, color in zip(paths, strokes.points, strokes.width_px, strokes.color, strict=True):
        move, cubic = path
        assert isinstance(move, svgelements.Move) and isinstance(cubic, svgelements.CubicBezier)
        found = [(p.x, p.y) for p in (cubic.start, cubic.control1, cubic.control2, cubic.end)]
        np.testing.assert_allclose(found, points, atol=6e-4)
        assert path.stroke_width == pytest.approx(float(width), abs=6e-4)
        assert path.fill.value is None and path.values["stroke-linecap"] == "round"
        np.testing.assert_array_equal(
            [path.stroke.red, path.stroke.green, path.stroke.blue], (color * 255).round().astype(int)
        )


def test_another_renderer_shows_what_the_rasteriser_shows(tmp_path):
    resvg = pytest.importorskip("resvg_py")
    from clipx.modalities.sketch.raster import rasterize

    for seed in range(3):
        strokes = some_strokes(12, seed)
        strokes = Strokes(strokes.points, strokes.width_px, strokes.alpha, strokes.color, (0, 0, 224, 224))
        theirs = np.asarray(Image.open(io.BytesIO(bytes(resvg.svg_to_bytes(to_svg(strokes))))).convert("RGB")) / 255
        ours = rasterize(strokes.points, 224, strokes.width_px, strokes.alpha, strokes.color).transpose(1, 2, 0)
        assert theirs.shape == ours.shape and np.abs(theirs - ours).mean() <= 0.01
        assert np.abs(theirs - 1).mean() > 0.02  # something is drawn


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 6))
def test_it_reads_back_into_the_same_strokes(tmp_path_factory, seed, count):
    path = tmp_path_factory.getbasetemp() / "back.svg"
    strokes = some_strokes(count, seed)
    path.write_text(to_svg(strokes))
    back = read_svg(path)
    for name in ("points", "width_px", "alpha"):
        np.testing.assert_allclose(getattr(back, name), getattr(strokes, name), atol=6e-4, rtol=0)
    np.testing.assert_allclose(back.color, strokes.color, atol=1e-6, rtol=0)
    assert back.box == strokes.box and back.about == strokes.about
    path.write_text(to_svg(back))
    assert to_svg(read_svg(path)) == to_svg(back)  # from then on to the letter


def test_strokes_of_tensors_hold_arrays():
    torch, ours = pytest.importorskip("torch"), some_strokes()
    theirs = replace(ours, **{name: torch.from_numpy(getattr(ours, name)) for name in ("points", "width_px", "color")})
    assert all(isinstance(each, np.ndarray) for each in (theirs.points, theirs.width_px, theirs.color))
    assert to_svg(theirs) == to_svg(ours)


def test_numbers_are_short_and_sizes_are_on_paper():
    text = to_svg(some_strokes(), width_mm=120)
    assert 'width="120mm" height="90mm" viewBox="0 28 224 168"' in text
    assert not re.search(r"\.\d{4}", re.sub(r"<metadata>.*</metadata>", "", text))
    about = json.loads(
        re.search("<metadata>(.*)</metadata>", text)[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    )
    assert about["seed"] == 1000 and "a &lt;cat&gt; &amp; co" in text


def test_layers_are_inkscapes_and_begin_with_their_number():
    text = to_svg(some_strokes(), layers=[4, 5])
    assert re.findall('inkscape:groupmode="layer" inkscape:label="([^"]*)"', text) == [
        "1 strokes 1 to 4",
        "2 strokes 5 to 9",
    ]
    assert text.index("layer-2") < text.index("stroke-004")
    with pytest.raises(ClipxError, match="do not add up"):
        to_svg(some_strokes(), layers=[4, 4])


def test_an_animation_draws_every_stroke_in_turn_and_shows_the_same_drawing(tmp_path):
    resvg, strokes = pytest.importorskip("resvg_py"), some_strokes()
    moving = to_svg(strokes, seconds=4)
    (tmp_path / "a.svg").write_text(moving)
    np.testing.assert_allclose(read_svg(tmp_path / "a.svg").points, strokes.points, atol=1e-3, rtol=0)
    assert "<script" not in moving
    said = re.findall(r"#stroke-(\d+)\{stroke-dasharray:(\S+) .*?animation:draw (\S+)s linear (\S+)s both", moving)
    numbers, dashes, lasting, begins = zip(*((int(n), *map(float, rest)) for n, *rest in said), strict=True)
    assert numbers == tuple(range(len(strokes)))
    ends = np.add(lasting, begins)
    np.testing.assert_allclose(begins, [0, *ends[:-1]], atol=0.01)  # one after another
    assert ends[-1] == pytest.approx(4, abs=0.01)
    svgelements = pytest.importorskip("svgelements")
    paths = [e for e in svgelements.SVG.parse(tmp_path / "a.svg").elements() if isinstance(e, svgelements.Path)]
    assert all(dash > path.length() for dash, path in zip(dashes, paths, strict=True))  # no gap in a stroke
    both = [resvg.svg_to_bytes(text) for text in (moving, to_svg(strokes))]
    shown = [np.asarray(Image.open(io.BytesIO(bytes(one))).convert("RGB"), float) for one in both]
    np.testing.assert_array_equal(*shown)  # by a renderer that knows no animations


def test_vpype_plots_the_layers_in_their_order():
    vpype, strokes = pytest.importorskip("vpype"), some_strokes()
    page = io.StringIO(to_svg(strokes, width_mm=150, layers=[4, 5]))
    found = vpype.read_multilayer_svg(page, 0.1, crop=False)
    assert {number: len(lines) for number, lines in found.layers.items()} == {1: 4, 2: 5}  # and no page's edge
    px_per_mm, scale = 96 / 25.4, 150 / 224
    begins = [[line[0].real / px_per_mm / scale, line[0].imag / px_per_mm / scale + 28] for line in found.layers[1]]
    np.testing.assert_allclose(begins, strokes.points[:4, 0], atol=0.01)


def test_hpgl_draws_the_strokes_in_millimetres():
    vpype, strokes = pytest.importorskip("vpype"), some_strokes(2)
    unit_mm = vpype.config_manager.get_plotter_config("hp7475a").plotter_unit_length / 96 * 25.4
    points = hpgl(to_svg(strokes, width_mm=150), "hp7475a")
    assert points.startswith("IN;") and points.count("SP1;") == 1
    lines = re.findall(r"PU([-\d]+,[-\d]+);PD([-\d,]+);", points)
    assert len(lines) == 2  # a line each
    for line, cubic in zip(lines, strokes.points, strict=True):
        places = np.array(list(map(int, ",".join(line).split(",")))).reshape(-1, 2)
        way = np.stack([places[-1] - places[0], places[len(places) // 2] - places[0]], axis=1)
        on = (cubic[0] + 3 * cubic[1] + 3 * cubic[2] + cubic[3]) / 8 - cubic[0]
        wanted = np.stack([cubic[3] - cubic[0], on], axis=1) * 150 / 224 / unit_mm
        turned = way @ np.linalg.inv(wanted)  # by a quarter where the paper lies across; its y goes up: one reflection
        np.testing.assert_allclose(np.abs(turned).round(1), np.abs(turned).round(0), atol=0.11)
        assert np.linalg.det(turned) == pytest.approx(-1, abs=0.1)


@pytest.mark.parametrize(
    ("width_mm", "device", "said"),
    [(150, "ouija", "vpype knows no plotter 'ouija'"), (None, "hp7475a", "draws millimetres"), (900, "hp7475a", "900")],
)
def test_what_no_plotter_draws(width_mm, device, said):
    pytest.importorskip("vpype")
    with pytest.raises(ClipxError, match=said):
        hpgl(to_svg(some_strokes(2), width_mm=width_mm), device)


def test_a_pen_travels_less_when_sorted():
    points = some_strokes(40).points
    order = travel_sorted(points)
    assert sorted(order.tolist()) == list(range(40))

    def travel(p):
        return float(np.linalg.norm(p[1:, 0] - p[:-1, 3], axis=1).sum())

    assert travel(points[order]) < 0.6 * travel(points)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no svg",
        "<svg/>",
        '<svg xmlns="http://www.w3.org/2000/svg"/>',
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 0 9"/>',
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 nan"/>',
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><circle r="0"/></svg>',
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><text y="5">a house</text></svg>',
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><g transform="scale(2)"/></svg>',
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path stroke-width="3" d="M 0 0 L 5 5"/></svg>',
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M 0 0 C 1 1 2 2 3 3"/></svg>',
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">' + "<g>" * 20_000 + "</g>" * 20_000 + "</svg>",
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><metadata>' + "[" * 20_000 + "</metadata></svg>",
        '<?xml version="1.0" encoding="foo-9"?><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>',
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path stroke-width="nan" d="M0 0C1 1 2 2 3 3"/>'
        "</svg>",
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path stroke-width="-1" d="M0 0C1 1 2 2 3 3"/>'
        "</svg>",
        '<!DOCTYPE s [<!ENTITY a "' + "x" * 4000 + '"><!ENTITY b "' + "&a;" * 4000 + '"><!ENTITY c "' + "&b;" * 4000
        + '">]><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><title>&c;</title></svg>',
    ],
)  # fmt: skip
def test_what_is_no_drawing_is_one_line(tmp_path, text):
    path = tmp_path / "x.svg"
    path.write_text(text)
    with pytest.raises(ClipxError, match=r"x\.svg") as error:
        read_svg(path)
    assert "\n" not in str(error.value)


def test_names_that_are_no_xml_still_make_a_drawing(tmp_path):
    strokes = replace(some_strokes(), about={"title": "caf\udce9 \x07 in 3", "word": "\ufffe"})
    (tmp_path / "x.svg").write_text(to_svg(strokes), encoding="utf-8")
    assert read_svg(tmp_path / "x.svg").about.keys() == {"title", "word"}


def test_other_writers_exponents_are_read(tmp_path):
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path stroke="red" stroke-width="3" d="'
    (tmp_path / "x.svg").write_text(head + 'M 1e0 2E-1 C 1 1 2e+0 2 3 3"/></svg>')
    assert read_svg(tmp_path / "x.svg").points[-1, 0].tolist() == pytest.approx([1.0, 0.2])


def test_numbers_that_are_not_finite_are_refused():
    strokes = some_strokes()
    strokes.points[3, 1, 0] = float("nan")
    with pytest.raises(ClipxError, match="points"):
        to_svg(strokes)
