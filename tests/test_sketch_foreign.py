"""SVGs of other programs: their picture is the one that a renderer shows; what is not drawn is hidden or warned of."""

import io
import re
import warnings

import numpy as np
import pytest
from PIL import Image

from clipx.errors import FileError
from clipx.modalities.sketch import Sketch
from clipx.modalities.sketch.film import picture
from clipx.modalities.sketch.svg import read_svg, to_svg

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 100 100">'
LINE = '<path d="M 10 10 C 20 20 30 30 40 10" fill="none" stroke="black" stroke-width="3"/>'


def svg(body, head=HEAD):
    return f"{head}{body}</svg>"


INKSCAPE = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<!-- Created with Inkscape (http://www.inkscape.org/) -->
<svg width="210mm" height="105mm" viewBox="0 0 210 105" version="1.1" id="svg5" xmlns="http://www.w3.org/2000/svg"
  xmlns:inkscape="http://www.inkscape.org/namespaces/inkscape"
  xmlns:sodipodi="http://sodipodi.sourceforge.net/DTD/sodipodi-0.dtd"
  xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:cc="http://creativecommons.org/ns#">
<sodipodi:namedview id="namedview7" pagecolor="#ffffff"><inkscape:grid type="xygrid"/></sodipodi:namedview>
<defs id="defs2"><path id="unseen" d="M 0 0 L 200 100" stroke="red" stroke-width="20"/></defs>
<metadata><rdf:RDF><cc:Work rdf:about=""/></rdf:RDF></metadata>
<g inkscape:label="1 pen" inkscape:groupmode="layer" id="layer1" transform="translate(10,-5)">
<path style="fill:none;stroke:#000000;stroke-width:2;stroke-linecap:round" d="m 20,20 c 10,10 20,20 30,0 s 10,30 30,10"
  sodipodi:nodetypes="cc"/>
<path style="fill:none;stroke:#0000ff;stroke-width:3" d="m 20,60 40,10 h 30 v 20 l -50,0 z"/>
<path style="fill:none;stroke:#ff0000;stroke-width:1.5" d="M 150 50 a 20 12 30 1 1 -10 5 q 10 10 20 0 t 20 5"/>
<g transform="rotate(20) scale(1.5 0.5)"><circle cx="100" cy="60" r="20" style="fill:#00aa00;stroke:none"/></g>
</g>
<g inkscape:label="hidden" inkscape:groupmode="layer" style="display:none"><rect width="200" height="100"/></g>
</svg>"""
ILLUSTRATOR = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" [
  <!ENTITY ns_svg "http://www.w3.org/2000/svg">]>
<svg version="1.1" id="Layer_1" xmlns="&ns_svg;" x="0px" y="0px" viewBox="-20 30 200 100" xml:space="preserve">
<style type="text/css">
  /* made by a program */
  .st0{fill:#231F20;} .st1{fill:none;stroke:#231F20;stroke-width:4;stroke-miterlimit:10;}
  rect.st2, #special {fill: rgb(200, 40, 40); opacity: .5} .st3{display:none}
</style>
<polygon class="st0" points="10,50 60,50 35,95 "/><polyline class="st1" points="70,50 90,90,110,50"/>
<line class="st1" x1="-10" y1="40" x2="170" y2="45"/><rect x="100" y="60" class="st2" width="40" height="50" rx="8"/>
<ellipse id="special" cx="150" cy="80" rx="20" ry="30"/><path class="st0 st3" d="M0,30h200v100H0z"/>
</svg>"""
FIGMA = """<svg width="96" height="64" viewBox="0 0 96 64" fill="none" xmlns="http://www.w3.org/2000/svg">
<g clip-path="url(#clip0_1_2)"><rect width="96" height="64" fill="white"/>
<path fill-rule="evenodd" clip-rule="evenodd" d="M8 8H56V56H8V8ZM20 20V44H44V20H20Z" fill="#111827"/>
<path d="M64 8H88V56H64V8ZM70 20V44H82V20H70Z" fill="#9CA3AF" fill-opacity="0.6"/>
<circle cx="32" cy="32" r="6" fill="white" stroke="#EF4444" stroke-width="2"/></g>
<defs><clipPath id="clip0_1_2"><rect width="96" height="64" fill="white"/></clipPath></defs></svg>"""
EXCALIDRAW = """<svg version="1.1" xmlns="http://www.w3.org/2000/svg"
  viewBox="0 0 120.5 90.25" width="241" height="180.5">
<!-- svg-source:excalidraw --><metadata></metadata>
<defs><style class="style-fonts">
  @font-face { font-family: "Virgil"; }</style></defs>
<rect x="0" y="0" width="120.5" height="90.25" fill="#ffffff"></rect>
<g stroke-linecap="round" transform="translate(10 10) rotate(0 50 35)">
<path d="M0 0 C35.1 -0.4, 70.2 0.8, 100 0 M0 0 C30 1, 60 -1, 100 0 M100 0 C101 20, 99 50, 100 70" stroke="#1e1e1e"
  stroke-width="2" fill="none"></path></g><mask></mask>
<g transform="translate(30 30)">
<path d="M0 0 L30 0 L15 30 L0 0" stroke="none" stroke-width="0" fill="#ffc9c9"></path></g></svg>"""
OTHERS = {
    "inkscape": INKSCAPE,
    "illustrator": ILLUSTRATOR,
    "figma": FIGMA,
    "excalidraw": EXCALIDRAW,
    "filled": svg(f'<rect x="10" y="10" width="60" height="60" fill="black"/>{LINE.replace("black", "white")}'),
    "default fill": svg('<path d="M 10 10 C 90 10 90 90 10 90 Z"/>'),
    "use": svg(
        '<defs><g id="a"><circle r="10" fill="teal"/></g><symbol id="b"><path d="M0 0L20 20" stroke="red"/></symbol>'
        '</defs><use href="#a" x="30" y="30"/><use xlink:href="#a" transform="translate(70 70) scale(2)"/>'
        '<use href="#b" x="50"/>'
    ),
    "opacity": svg(
        f'{LINE}<g opacity=".5"><path d="M 0 60 L 100 60" stroke="#f00" stroke-width="20" stroke-opacity="50%"/></g>'
        '<rect width="40" height="40" fill="#0000ff80" y="50"/>'
    ),
    "hidden": svg(
        f'{LINE}<g display="none">{LINE * 3}</g><g visibility="hidden"><path d="M0 0L90 90" stroke="red"/>'
        '<path d="M0 80L90 90" stroke="blue" stroke-width="5" visibility="visible"/></g>'
        '<rect opacity="0" width="90" height="90"/>'
    ),
    "white over black": svg('<circle cx="50" cy="50" r="40"/><circle cx="50" cy="50" r="20" fill="#fff"/>'),
    "winding": svg('<path d="M10 10h80v80h-80z M30 30h40v40h-40z M40 10 v5" fill-rule="nonzero"/>'),
    "nested": svg('<svg x="50" y="50" width="50" height="50" viewBox="0 0 10 10"><rect width="8" height="8"/></svg>'),
    "inherited": svg(
        '<g fill="none" stroke="green" stroke-width="4"><path d="M10 10L90 90"/>'
        '<g stroke="inherit"><path d="M90 10L10 90"/></g></g>'
    ),
    "names": svg(
        '<g color="purple"><rect width="50" height="50" fill="currentColor"/></g>'
        '<rect x="50" width="50" height="50" fill="hsl(120,50%,50%)"/>'
    ),
    "style sheet": svg(
        "<style>@import url('a.css'); @media print { path { display: none } } .out path { fill: none } g > .b"
        " { stroke: red; stroke-width: 5 } #x { display: none }</style>"
        '<g class="out"><g><path class="b" d="M10 10L50 50H90"/></g></g><path d="M10 60H60V90Z"/>'
        '<g id="x"><path d="M0 0H90V90"/></g>'
    ),
    "flat arc": svg('<path d="M 10 10 A 0 5 0 0 1 50 50 a 20 20 0 0 0 30 30" fill="none" stroke="red"/>'),
    "torn path": svg('<path d="M 10 10 L 50 50 H 90 L foo" fill="none" stroke="red" stroke-width="4"/>'),
    "tall page": svg('<rect width="25" height="400"/>', HEAD.replace("0 0 100 100", "0 0 50 400")),
}  # fmt: skip


def rendered(text, box, height, width):
    """(H, W, 3) in [0, 1] of a renderer that is not ours, on white."""
    resvg = pytest.importorskip("resvg_py")
    size = f'viewBox="{" ".join(map(str, box))}" width="{4 * box[2]}" height="{4 * box[3]}"'
    root = re.search(r"<svg[^>]*>", text)[0]
    plain = re.sub(r'\s(viewBox|width|height|x|y)="[^"]*"', "", root).replace("<svg", f"<svg {size}", 1)
    image = Image.open(io.BytesIO(bytes(resvg.svg_to_bytes(text.replace(root, plain, 1))))).convert("RGBA")
    page = Image.new("RGBA", image.size, "white")
    page.alpha_composite(image)
    return np.asarray(page.convert("RGB").resize((width, height), Image.Resampling.BOX)) / 255


@pytest.mark.parametrize("name", OTHERS)
def test_the_picture_is_what_another_renderer_shows(tmp_path, name):
    path = tmp_path / "a.svg"
    path.write_text(OTHERS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        strokes = read_svg(path)
    ours = picture(strokes, 224 / max(strokes.box[2:])) / 255
    theirs = rendered(OTHERS[name], strokes.box, *ours.shape[:2])
    assert (1 - theirs).mean() > 0.005
    assert np.abs(ours - theirs).mean() < 0.012  # ends of lines are round here


def test_units_and_sizes(tmp_path, tiny_space):
    for head, box in {
        'width="50mm" height="25mm"': (0, 0, 50 * 96 / 25.4, 25 * 96 / 25.4),
        'width="2in" height="96"': (0, 0, 192, 96),
        'width="100%" height="100%" viewBox="5,6,70,80"': (5, 6, 70, 80),
        "": None,
        'width="100%"': None,
    }.items():
        path = tmp_path / "a.svg"
        path.write_text(
            svg(
                '<path d="M 10 10 L 40 20" stroke="black" stroke-width="1mm"/>',
                f'<svg xmlns="http://www.w3.org/2000/svg" {head}>',
            )
        )
        strokes = read_svg(path)
        assert strokes.box == pytest.approx(box or (8.5, 8.5, 33, 13)) and len(strokes) == 1
        assert float(strokes.width_px[0]) == pytest.approx(96 / 25.4)
        assert Sketch(tiny_space).pictures(Sketch(tiny_space).load(path)).min() < 0.2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('<text x="5" y="5">house</text><text>x</text>', r"2 <text> left out: in Inkscape: Path > Object to Path"),
        ('<image href="a.png" width="5" height="5"/>', "1 <image> left out"),
        ('<defs><linearGradient id="g"><stop stop-color="red"/></linearGradient></defs>'
         '<rect width="9" height="9" fill="url(#g)"/>',
         "1 gradients drawn in one colour"),
        ('<defs><clipPath id="c"><circle r="5"/></clipPath></defs>'
         '<g clip-path="url(#c)"><rect width="9" height="9"/></g>',
         "1 clipped shapes are drawn whole"),
        ('<use href="#nowhere"/>', "1 references lead nowhere"),
        ('<foreignObject><p/></foreignObject>', "1 <foreignObject> left out"),
    ],
)  # fmt: skip
def test_what_is_not_drawn_as_it_is_is_counted(tmp_path, body, said):
    (tmp_path / "a.svg").write_text(svg(LINE + body))
    with pytest.warns(UserWarning, match=f"a.svg: {said}") as caught:
        assert len(read_svg(tmp_path / "a.svg")) >= 1
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (svg("<text>house</text>"), r"draws nothing that can be read but 1 <text> left out; in Inkscape: Path"),
        (svg('<g display="none">' + LINE + "</g>"), "draws nothing that can be read; in Inkscape"),
        (svg(LINE.replace("10 C 20", "1e999 C 20")), "a.svg"),
        (svg('<path d="M 0 0 L nan 5" stroke="red"/>'), "a.svg"),
        (svg('<rect width="a lot" height="5"/>'), "a length of 'a lot'"),
        (svg(LINE, '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 0 5">'), "a viewBox of"),
        (svg('<g id="a"><use href="#a"/><use href="#a"/></g>'), "a.svg"),
        (
            svg(
                "".join(f'<g id="l{i}">' + f'<use href="#l{i + 1}"/>' * 10 + "</g>" for i in range(9)) + '<g id="l9"/>'
            ),
            "levels or 50,000 elements; simplify it",
        ),
        (svg("<g>" * 500 + LINE + "</g>" * 500), "levels or 50,000 elements; simplify it"),
        ("\x1f\x8b" + "a" * 50, "is a compressed SVG; unpack it"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(tmp_path, text, said):
    (tmp_path / "a.svg").write_bytes(text.encode("latin-1"))
    with pytest.raises(FileError, match=said) as caught:
        read_svg(tmp_path / "a.svg")
    assert "\n" not in str(caught.value)


def test_a_drawing_for_a_plotter_has_no_page(tmp_path, tiny_space):
    strokes, shown = Sketch.example(), []
    for name, size in (("screen.svg", None), ("paper.svg", 150.0)):
        text = to_svg(strokes, width_mm=size)
        assert ("<rect" in text) == (size is None) and text.count("<path") == len(strokes)
        (tmp_path / name).write_text(text)
        again = Sketch(tiny_space).load(tmp_path / name)
        assert again.box == strokes.box and again.about == strokes.about
        shown.append(Sketch(tiny_space).pictures(again))
    assert np.array_equal(*shown)


BOX = '<path d="M 1 1 L 9 1 L 9 9 L 5 4 Z" fill="none" stroke="black"/>'
LARGE = f'<g transform="scale(10)">{BOX}</g>'
LIGHT = "light-dark(rgb(255, 255, 255), #121212)"


@pytest.mark.parametrize(
    ("body", "same"),
    [
        (f'<symbol id="i" viewBox="0 0 10 10">{BOX}</symbol><use href="#i" width="100" height="100"/>', LARGE),
        (f'<symbol id="i" viewBox="0 0 10 10">{BOX}</symbol><use href="#i"/>', LARGE),
        (f'<svg width="100%" height="100%" viewBox="0 0 10 10">{BOX}</svg>', LARGE),
        (
            f'<svg width="100" height="50" viewBox="0 0 10 10">{BOX}</svg>',  # as large as fits, in the middle
            f'<g transform="translate(25) scale(5)">{BOX}</g>',
        ),
        (
            f'<svg width="100" height="50" viewBox="0 0 10 10" preserveAspectRatio="none">{BOX}</svg>',
            f'<g transform="scale(10 5)">{BOX}</g>',
        ),
        (
            f'{LINE}<rect width="50" height="50" fill="#fff" style="fill: {LIGHT}"/>',
            f'{LINE}<rect width="50" height="50" fill="#fff"/>',
        ),
        (
            f'<style>svg{{--page: white}}</style>{LINE}<rect width="50" height="50" fill="var(--page, red)"/>',
            f'{LINE}<rect width="50" height="50" fill="white"/>',
        ),
        (f'<clipPath id="c"><rect x="5" width="90" height="90"/></clipPath><g clip-path="url(#c)">{LINE}</g>', LINE),
    ],
)
def test_sizes_colours_and_clips_of_other_programs_change_nothing_in_silence(tmp_path, body, same):
    found = []
    for name, text in (("a.svg", body), ("b.svg", same)):
        (tmp_path / name).write_text("\n" + svg(text))  # a blank line before it, as scripts leave
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found.append(read_svg(tmp_path / name))
    for name in ("points", "width_px", "color"):
        np.testing.assert_allclose(getattr(found[0], name), getattr(found[1], name), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (f"{LINE}<switch><foreignObject/><text>a</text></switch>", "1 <text> left out"),
        ('<path d="M 1 1 L 9 9" stroke="white"/>', "all that it draws is white"),
        (f'<clipPath id="c"><rect width="20" height="90"/></clipPath><g clip-path="url(#c)">{LINE}{BOX}</g>',
         "1 clipped shapes are drawn whole"),
    ],
)  # fmt: skip
def test_what_is_lost_is_said(tmp_path, body, said):
    (tmp_path / "a.svg").write_text(svg(body))
    with pytest.warns(UserWarning, match=said):
        read_svg(tmp_path / "a.svg")


def test_more_strokes_than_a_drawing_has_are_refused_early(tmp_path):
    rows = "".join(f'<g id="u{i + 1}">{f"<use href={chr(34)}#u{i}{chr(34)}/>" * 40}</g>' for i in range(6))
    shape = f'<path id="u0" d="{"M 0 0 L 9 9 " * 500}" fill="none" stroke="red"/>'
    (tmp_path / "a.svg").write_text(svg(f'<defs>{shape}{rows}</defs><use href="#u6"/>'))
    with pytest.raises(FileError, match="more than 16,384 strokes; simplify it"):
        read_svg(tmp_path / "a.svg")
