"""The modality sketch: an SVG or a QuickDraw drawing becomes its picture's vector, or one line says why not."""

import json
from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import clipx.testing
from clipx.errors import ClipxError, FileError, InputError
from clipx.modalities.sketch import Sketch
from clipx.modalities.sketch.curves import CANVAS
from clipx.modalities.sketch.encoder import MARGIN_PX, MAX_LINE_BYTES, MAX_STROKES, WIDTH_PX, read_quickdraw
from clipx.modalities.sketch.raster import rasterize
from clipx.modalities.sketch.svg import to_svg
from clipx.registry import MODALITIES

CAT = {"word": "cat", "key_id": "1", "recognized": True, "drawing": [[[0, 255, 255], [0, 0, 100]], [[9], [50]]]}


@pytest.fixture(scope="module")
def encoder(tiny_space):
    return Sketch(tiny_space)


@pytest.fixture
def written(tmp_path):
    """Content -> path of an .ndjson file."""

    def write(content):
        path = tmp_path / "drawing.ndjson"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return write


@pytest.mark.parametrize("check", clipx.testing.checks(Sketch), ids=lambda check: check.name)
def test_contract(check, tiny_space, monkeypatch):
    # as if registered, wherever the package was installed before the modality was
    point = EntryPoint("sketch", "clipx.modalities.sketch:Sketch", MODALITIES)
    monkeypatch.setattr(clipx.testing, "registered", lambda group: {"sketch": point})
    check(tiny_space)


def test_only_the_sense_is_found_in_the_package():
    import clipx.modalities.sketch as package

    assert package.Sketch is Sketch
    with pytest.raises(AttributeError, match="no attribute 'Etching'"):
        _ = package.Etching


def test_an_svg_is_seen_as_it_was_painted(encoder, tmp_path):
    strokes = Sketch.example()
    path = tmp_path / "house.svg"
    path.write_text(to_svg(strokes))
    found = encoder.load(path)
    expected = rasterize(strokes.points, 224, width_px=WIDTH_PX)
    np.testing.assert_allclose(encoder.pictures(found)[0], expected, atol=1e-3, rtol=0)
    direct = encoder.space.encode_image(expected[None])
    np.testing.assert_allclose(encoder.encode([found]).vectors, direct, atol=1e-4, rtol=0)


def test_a_drawing_that_is_not_square_keeps_its_aspect_on_white(encoder):
    wide = replace(Sketch.example(), box=(50.0, 100.0, 112.0, 56.0))  # a part of the house, shown twice as large
    seen = encoder.pictures(wide)[0]
    assert (seen[:, :56] == 1).all() and (seen[:, 168:] == 1).all() and (seen[:, 56:168] < 0.5).any()
    whole = rasterize((wide.points - np.float32([50, 100])) * 2, (112, 224), width_px=2 * WIDTH_PX)
    np.testing.assert_allclose(seen[:, 56:168], whole, rtol=1.3e-6, atol=1e-5)
    thin = replace(wide, box=(0.0, 0.0, 1000.0, 1.0))
    assert encoder.pictures(thin).shape == (1, 3, 224, 224)


def test_the_width_can_be_set(encoder, tiny_space):
    thick = Sketch(tiny_space, Sketch.Config(width_px=20))
    large = replace(Sketch.example(), box=(0, 0, 448, 448))
    expected = rasterize(large.points / 2, 224, width_px=20)
    np.testing.assert_allclose(thick.pictures(large)[0], expected, rtol=1.3e-6, atol=1e-5)
    for width in (0, -1, float("nan"), 1e9):
        with pytest.raises(InputError, match="width_px"):
            Sketch.Config(width_px=width)


def test_a_quickdraw_drawing_becomes_straight_strokes_in_the_middle(encoder, written):
    strokes = encoder.load(written(CAT))
    assert len(strokes) == 3 and strokes.about == {"title": "cat"} and strokes.box == (0, 0, 224, 224)
    first, second, dot = strokes.points
    steps = np.diff(second[:, 1])
    for found, wanted in (
        (first[:, 1], first[0, 1]),  # along the top
        (first[3], second[0]),
        (dot, dot[:1]),
        (steps, steps.mean()),  # evenly along the line
    ):
        np.testing.assert_allclose(found, np.broadcast_to(wanted, found.shape), rtol=1.3e-6, atol=1e-5)
    low, high = strokes.points.min((0, 1)), strokes.points.max((0, 1))
    np.testing.assert_allclose(low + high, [224, 224], rtol=1.3e-6, atol=1e-5)
    assert float((high - low)[1] / (high - low)[0]) == pytest.approx(100 / 255, abs=1e-4)


def test_raw_and_simplified_drawings_of_any_place_and_size_look_alike(encoder, written):
    small = encoder.load(written(CAT))
    raw = [[[3 * x + 40.5 for x in xs], [3 * y + 700 for y in ys], [7.0 * t for t in range(len(xs))]]
           for xs, ys in CAT["drawing"]]  # fmt: skip
    large = encoder.load(written({"drawing": raw}))
    np.testing.assert_allclose(large.points, small.points, atol=1e-3, rtol=0)
    assert large.about == {}


def test_a_dot_is_drawn_in_the_middle(encoder, written):
    seen = encoder.pictures(encoder.load(written({"drawing": [[[5], [5]]]})))
    assert seen[0, 0, 112, 112] < 0.1 and seen.mean() > 0.99


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n \n\n"])
def test_blank_lines_and_a_byte_order_mark_do_no_harm(encoder, written, end):
    assert len(encoder.load(written(b"\xef\xbb\xbf" + json.dumps(CAT).encode() + end))) == 3


def test_several_drawings_are_told_apart_by_the_user(encoder, written):
    line = json.dumps(CAT).encode() + b"\n"
    with pytest.raises(FileError, match=r"drawing\.ndjson: holds more than one drawing; write each line"):
        encoder.load(written(3 * line))


BAD = [
    b"no json",
    b"[]",
    b"7",
    b"null",
    b'"drawing"',
    b"{}",
    b"[" * 100_000,
    b'{"drawing": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    b"\xff\xfe{\x00",
    b'{"drawing": [[[1, NaN], [1, 2]]]}',
    b'{"drawing": [[[1, Infinity], [1, 2]]]}',
    b'{"drawing": [[[1, 1e999], [1, 2]]]}',
    b'{"drawing": [[[1, 1e7], [1, 2]]]}',
    b'{"drawing": [[[1, 1' + b"0" * 400 + b"], [1, 2]]]}",
    b'{"drawing": [[[1, 1.5, 1' + b"0" * 400 + b"], [1, 2, 3]]]}",
    b'{"drawing": [[[1, ' + b"9" * 5000 + b"], [1, 2]]]}",
]
BAD += [
    json.dumps({"drawing": drawing}).encode()
    for drawing in (
        [],
        {},
        {"a": 1},
        "drawing",
        3,
        None,
        True,
        [[]],
        [[[1, 2]]],
        [[[], []]],
        [[[1, 2], [1]]],
        [[1, 2]],
        [[["1"], ["2"]]],
        [[[True], [False]]],
        [[[None], [1]]],
        [[[[1]], [[2]]]],
        ["ab"],
        [{"0": [1]}],
        [[[1, 2], [3, 4]], 5],
    )
]


@pytest.mark.parametrize("content", BAD, ids=range(len(BAD)))
def test_what_is_no_drawing_is_one_line(encoder, written, content):
    with pytest.raises(FileError, match=r"drawing\.ndjson") as error:
        encoder.load(written(content))
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_what_would_take_much_memory_is_refused(encoder, written):
    with pytest.raises(FileError, match="bytes"):
        encoder.load(written(b'{"drawing": [' + b" " * MAX_LINE_BYTES + b"]}"))
    most = {"drawing": [[list(range(MAX_STROKES + 1)), [0] * (MAX_STROKES + 1)]]}
    assert len(read_quickdraw(written(most))) == MAX_STROKES
    one_more = {"drawing": [*most["drawing"], [[1], [1]]]}
    with pytest.raises(FileError, match="strokes"):
        encoder.load(written(one_more))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"box": (0, 0, 1e-300, 1e-300)}, "painted"),
        ({"width_px": np.full(7, 1e30, np.float32)}, "painted"),
        ({"points": np.full((7, 4, 2), 1e30, np.float32)}, "painted"),
    ],
)
def test_an_svg_that_cannot_be_painted_is_refused_when_read(encoder, tmp_path, change, what):
    path = tmp_path / "x.svg"
    path.write_text(
        to_svg(replace(Sketch.example(), **change)).replace('viewBox="0 0 0 0"', 'viewBox="0 0 1e-300 1e-300"')
    )
    with pytest.raises(FileError, match=rf"x\.svg: .*{what}"):
        encoder.load(path)
    path.write_text(to_svg(Sketch.example()[:0]))
    with pytest.raises(FileError, match="0 strokes"):
        encoder.load(path)


number = st.integers() | st.floats() | st.booleans() | st.none() | st.text(max_size=3)
near = st.integers(-300, 300) | st.floats(-1e7, 1e7)
lists = st.lists(near, min_size=1, max_size=6)
likely = st.lists(st.one_of(st.tuples(lists, lists), st.tuples(lists, lists, lists), lists.map(lambda x: (x, x))))
anything = st.recursive(
    number, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=2)
)
drawings = st.one_of(likely, anything, st.lists(st.lists(st.lists(number, max_size=3), max_size=3), max_size=3))
as_files = st.one_of(
    st.binary(min_size=1, max_size=100),
    st.builds(lambda drawing, word: json.dumps({"drawing": drawing, "word": word}).encode(), drawings, anything),
)


@given(as_files)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_drawing_or_one_line(encoder, written, content):
    path = written(content)
    try:
        strokes = encoder.load(path)
    except ClipxError as error:
        assert path.name in str(error) and "\n" not in str(error)
        return
    assert 1 <= len(strokes) <= MAX_STROKES
    assert np.isfinite(strokes.points).all() and np.abs(strokes.points).max() <= 224
    pictures = encoder.pictures(strokes)
    assert pictures.shape == (1, 3, 224, 224) and 0 <= float(pictures.min()) < 0.5 and float(pictures.max()) == 1


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), min_size=1, max_size=8), min_size=1, max_size=5
    )
)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_good_drawing_is_read_whole(encoder, written, lines):
    drawing = [[[x for x, _ in line], [y for _, y in line]] for line in lines]
    strokes = encoder.load(written({"drawing": drawing}))
    assert len(strokes) == sum(max(1, len(line) - 1) for line in lines)
    low, high = strokes.points.min((0, 1)), strokes.points.max((0, 1))
    known = np.array([place for line in lines for place in line])
    extent = float((high - low).max())  # the longer side fills the canvas but for its margin
    assert extent == pytest.approx(CANVAS - 2 * MARGIN_PX if np.ptp(known, axis=0).any() else 0, abs=1e-3)


def test_many_sketches_do_not_feel_each_other(encoder):
    rng = np.random.default_rng(0)
    house = Sketch.example()
    many = [house[: 1 + i % 7] for i in range(70)]
    many = [replace(s, points=s.points + rng.normal(size=s.points.shape).astype(np.float32)) for s in many]
    together = encoder.encode(many).vectors
    alone = np.concatenate([encoder.encode([sample]).vectors for sample in many])
    assert np.abs(together - alone).max() <= 1e-5


def test_quickdraw_s_own_drawings_are_read(encoder, written, shared):
    path = shared / "data" / "images" / "quickdraw" / "quickdraw_simplified.ndjson"
    if not path.exists():
        pytest.skip("no QuickDraw")
    with path.open("rb") as file:
        line = file.readline()
    strokes = encoder.load(written(line))
    assert strokes.about["title"] == json.loads(line)["word"] and len(strokes) > 5
    with pytest.raises(FileError, match="more than one drawing"):
        encoder.load(path)
