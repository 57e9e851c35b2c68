"""What the page shows, plays, records and draws with, and its tabs Draw and Depth; in a browser, with real input."""

import io
import json
import math
import re
import struct
import wave
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from pointer import drop
from served import disc_and_bar

pytest_plugins = ["browser"]
api = pytest.importorskip("playwright.sync_api")
expect = api.expect
RATE = 8000


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return disc_and_bar(tmp_path_factory.mktemp("photo") / "room.png")


STAGE = """async () => {
    const main = document.querySelector("main");
    main.replaceChildren();
    const load = (name) => import(new URL(name, document.baseURI));
    const url = (name) => new URL(`api/v1/${name}`, document.baseURI).href;
    window.kept = {};
    await (SCRIPT)(main, load, url, window.kept);
}"""


def answering(data):
    """What Playwright calls with a route, to answer with some bytes."""
    return lambda route: route.fulfill(body=data)


@pytest.fixture
def stage(open_page):
    """Open the page with nothing on it but what a script puts there, and some bytes that the server seems to have."""

    def call(script, files=None, **options):
        page = open_page(**options)
        page.locator(".query").first.wait_for()
        for name, data in (files or {}).items():
            page.route(f"**/api/v1/{name}", answering(data))
        page.evaluate(STAGE.replace("SCRIPT", script))
        return page

    return call


UNTIL = """new Promise((done, failed) => {
    setTimeout(() => failed(new Error("in vain")), 15000);
    const look = () => (CONDITION) ? done(true) : setTimeout(look, 20);
    look();
})"""


def until(page, condition):
    """Wait for an expression of JavaScript; the page's policy forbids Playwright's own way."""
    page.evaluate(UNTIL.replace("CONDITION", condition))


def mouse_path(page, canvas, shares):
    """Drag the mouse over shares of a canvas."""
    box = canvas.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in shares]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()


def overflow(page):
    """By how many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


# The pad --------------------------------------------------------------------------------------------------------------

PAD = """async (main, load, url, kept) => {
    const { drawingPad } = await load("pad.js");
    const onDrawing = async (file) => { kept.drawing = [file.name, await file.text()] };
    main.append(drawingPad({ label: "Search", onDrawing }));
}"""


def pad_drawing(page):
    page.get_by_role("button", name="Search", exact=True).click()
    until(page, "kept.drawing")
    name, text = page.evaluate("kept.drawing")
    assert name == "drawing.ndjson" and text.count("\n") == 1
    return json.loads(text)["drawing"]


def test_what_the_mouse_draws_leaves_as_few_points_between_0_and_255(stage):
    page = stage(PAD)
    canvas = page.locator(".pad canvas")
    expect(page.get_by_role("button", name="Search", exact=True)).to_be_disabled()
    mouse_path(page, canvas, [(0.2 + 0.01 * i, 0.3) for i in range(41)] + [(0.6, 0.3 + 0.01 * i) for i in range(21)])
    circle = [(0.4 + 0.1 * math.cos(t / 20 * math.pi), 0.6 + 0.1 * math.sin(t / 20 * math.pi)) for t in range(41)]
    mouse_path(page, canvas, circle)
    corner, ring = pad_drawing(page)
    assert corner == [[0, 255, 255], [0, 0, 128]]  # a corner is three points
    assert 8 <= len(ring[0]) <= 30 and max(ring[0]) - min(ring[0]) == pytest.approx(128, abs=3)


def test_the_last_stroke_is_taken_back_and_a_click_is_a_dot(stage):
    page = stage(PAD)
    canvas = page.locator(".pad canvas")
    mouse_path(page, canvas, [(0.2, 0.2), (0.5, 0.5)])
    mouse_path(page, canvas, [(0.8, 0.2), (0.5, 0.5)])
    page.keyboard.press("Control+z")
    expect(canvas).to_have_attribute("data-strokes", "1")
    assert len(pad_drawing(page)) == 1
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text("Draw here")).to_be_visible()
    page.evaluate("kept.drawing = null")
    canvas.click()
    assert pad_drawing(page) == [[[0, 0], [0, 0]]]


def test_a_finger_draws_and_a_second_one_is_ignored(stage):
    page = stage(PAD, width=360, height=740, has_touch=True)
    canvas, box = page.locator(".pad canvas"), page.locator(".pad canvas").bounding_box()
    hand = page.context.new_cdp_session(page)

    def touch(kind, *places):
        points = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"], "id": i} for i, x, y in places]
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (0, 0.2, 0.2))
    touch("touchStart", (0, 0.2, 0.2), (1, 0.9, 0.9))
    touch("touchMove", (0, 0.6, 0.2), (1, 0.9, 0.5))
    touch("touchEnd")
    expect(canvas).to_have_attribute("data-strokes", "1")
    assert pad_drawing(page) == [[[0, 255], [0, 0]]]
    assert overflow(page) == 0


# Shapes ---------------------------------------------------------------------------------------------------------------

SHAPE = """async (main, load, url, kept) => {
    const { ShapeView } = await load("shape.js");
    const frame = main.appendChild(document.createElement("div"));
    frame.style.setProperty("height", "300px");
    const canvas = frame.appendChild(document.createElement("canvas"));
    kept.view = new ShapeView(canvas);
    kept.error = await kept.view.load(url("some.shape")).then(() => null, (error) => error.message);
}"""


def shape_file(points, triangles=(), colors=None):
    points = np.asarray(points, "<f4")
    data = b"CXS1" + struct.pack("<III", len(points), len(triangles), colors is not None) + points.tobytes()
    data += b"" if colors is None else np.asarray(colors, np.uint8).tobytes()
    return data + np.asarray(triangles, "<u4").tobytes()


def cloud(colors=False):
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (500, 3)) * (1, 0.3, 1)
    return shape_file(points, colors=np.tile((255, 0, 0, 255), (500, 1)) if colors else None)


MESH = shape_file(
    [[-0.6, -0.6, 0.3], [0.6, -0.6, 0.3], [0, 0.7, 0], [0, -0.4, -0.7]], [[0, 1, 2], [1, 3, 2], [3, 0, 2]]
)


def drawn(canvas):
    """(H, W, 3) what a canvas shows once it was drawn."""
    expect(canvas).to_have_attribute("data-drawn", re.compile("."))
    return np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")).astype(int)


@pytest.mark.parametrize("file", [cloud(), MESH], ids=["cloud", "mesh"])
def test_a_shape_is_turned_by_dragging_and_by_keys_and_zoomed(stage, file):
    page = stage(SHAPE, {"some.shape": file})
    canvas = page.locator("canvas.shape")
    before = drawn(canvas)
    ground = before[2, 2]
    assert 0.02 < (abs(before - ground).max(-1) > 20).mean() < 0.6
    mouse_path(page, canvas, [(0.5, 0.5), (0.6, 0.55), (0.7, 0.6)])
    turned = drawn(canvas)
    assert (abs(turned - before).max(-1) > 20).mean() > 0.01
    canvas.focus()
    page.keyboard.press("ArrowLeft")
    keyed = drawn(canvas)
    assert (abs(keyed - turned).max(-1) > 20).mean() > 0.003
    for _ in range(4):
        page.keyboard.press("+")
    nearer = drawn(canvas)
    assert (abs(nearer - ground).max(-1) > 20).sum() > 1.3 * (abs(keyed - ground).max(-1) > 20).sum()


def test_a_shape_at_rest_is_not_drawn_again(stage):
    page = stage(SHAPE, {"some.shape": MESH})
    canvas = page.locator("canvas.shape")
    drawn(canvas)
    until(page, "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
    count = canvas.get_attribute("data-drawn")
    page.evaluate("new Promise(done => { let n = 10; const f = () => n-- ? requestAnimationFrame(f) : done(); f() })")
    assert canvas.get_attribute("data-drawn") == count


def test_colours_are_the_shape_s_own_or_those_of_the_theme(stage):
    page = stage(SHAPE, {"some.shape": cloud(colors=True)})
    red = drawn(page.locator("canvas.shape"))
    assert ((red[..., 0] > 180) & (red[..., 1] < 80)).mean() > 0.01
    page = stage(SHAPE, {"some.shape": cloud()})
    canvas = page.locator("canvas.shape")
    light = drawn(canvas)
    page.locator("#theme").click()
    dark = drawn(canvas)
    assert light[2, 2].min() > 200 > 80 > dark[2, 2].max()
    assert dark.max() > 100  # the shape is still seen


@pytest.mark.parametrize("file", [b"", b"PLY\n" + MESH[4:], MESH[:-4], MESH + b"0"])
def test_a_damaged_shape_is_an_error_of_one_line(stage, file):
    page = stage(SHAPE, {"some.shape": file})
    assert page.evaluate("kept.error") in ("this is no shape", "this shape is cut short")


def test_a_view_that_lost_its_context_draws_again_and_one_that_is_disposed_does_not(stage):
    page = stage(SHAPE, {"some.shape": MESH})
    canvas = page.locator("canvas.shape")
    before = drawn(canvas)
    lose = "kept.lost = document.querySelector('canvas.shape').getContext('webgl2').getExtension('WEBGL_lose_context')"
    page.evaluate(f"({lose}).loseContext()")
    until(page, "document.querySelector('canvas.shape').getContext('webgl2').isContextLost()")
    page.evaluate("delete document.querySelector('canvas.shape').dataset.drawn")
    page.evaluate("kept.lost.restoreContext()")
    assert (abs(drawn(canvas) - before).max(-1) > 20).mean() < 0.01
    page.evaluate("kept.view.dispose(); kept.view.dispose()")


def test_a_browser_without_webgl_is_told_so(stage):
    script = SHAPE.replace("kept.view =", "canvas.getContext = () => null; kept.view =")
    page = stage(script, {"some.shape": MESH})
    expect(page.get_by_text("This browser has no WebGL")).to_be_visible()


# Sounds ---------------------------------------------------------------------------------------------------------------

SOUND = """async (main, load, url) => {
    const { soundPlayer } = await load("sound.js");
    const peaks = Array.from({length: 240}, (_, i) => i / 240);
    const sound = { url: url("some.wav"), peaks, duration_s: 4, name: "rain.wav" };
    main.append(soundPlayer({ ...sound, start_s: 2, end_s: 3 }), soundPlayer(sound));
}"""


def wav_file(seconds=4):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        out.writeframes((np.sin(np.arange(seconds * RATE) / 3) * 8000).astype("<i2").tobytes())
    return file.getvalue()


def test_a_sound_begins_where_it_was_found_and_is_sought_by_mouse_and_keys(stage):
    page = stage(SOUND, {"some.wav": wav_file()})
    place = page.get_by_role("slider", name="Place in rain.wav").first
    expect(place).to_have_attribute("aria-valuenow", "2.0")
    expect(page.locator(".sound-found")).to_have_count(1)
    play = page.get_by_role("button", name="Play rain.wav").first
    play.click()
    expect(page.get_by_role("button", name="Pause rain.wav")).to_be_visible()
    expect(place).to_have_attribute("aria-valuenow", re.compile(r"2\.[3-9]"))
    page.get_by_role("button", name="Pause rain.wav").click()
    box = place.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + 5)
    expect(place).to_have_attribute("aria-valuenow", re.compile(r"(0\.9|1\.0|1\.1)"))
    page.keyboard.press("Home")
    expect(place).to_have_attribute("aria-valuenow", "0.0")
    page.keyboard.press("ArrowRight")
    expect(place).to_have_attribute("aria-valuenow", "0.1")
    page.keyboard.press("Space")
    expect(place).to_have_attribute("aria-valuenow", re.compile(r"0\.[3-9]"))


def test_of_a_long_sound_the_part_that_is_drawn_is_the_scale(stage):
    part = "wave_start_s: 1800, wave_end_s: 2400, start_s: 2100, end_s: 2105"
    page = stage(SOUND.replace("duration_s: 4", "duration_s: 7200").replace("start_s: 2, end_s: 3", part))
    place = page.get_by_role("slider", name="Place in rain.wav").first
    expect(place).to_have_attribute("aria-valuenow", "2100.0")
    box, found = place.bounding_box(), page.locator(".sound-found").bounding_box()
    assert (found["x"] - box["x"]) / box["width"] == pytest.approx(0.5, abs=0.02)
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + 5)
    assert float(place.get_attribute("aria-valuenow")) == pytest.approx(1950, abs=5)


def test_one_sound_plays_at_a_time(stage):
    page = stage(SOUND, {"some.wav": wav_file()})
    page.get_by_role("button", name="Play rain.wav").nth(0).click()
    expect(page.locator(".sound").nth(0)).to_have_class(re.compile("is-playing"))
    page.locator(".sound-play").nth(1).click()
    expect(page.locator(".sound").nth(1)).to_have_class(re.compile("is-playing"))
    expect(page.locator(".sound").nth(0)).not_to_have_class(re.compile("is-playing"))


# The microphone -------------------------------------------------------------------------------------------------------

RECORD = """async (main, load, url, kept) => {
    const { record } = await load("microphone.js");
    kept.level = kept.time = 0;
    const onLevel = (level) => (kept.level = Math.max(kept.level, level));
    const calls = { onLevel, onTime: (time) => (kept.time = time) };
    kept.error = null;
    try { kept.recording = await record(calls) } catch (error) { kept.error = error.message }
}"""


def test_a_recording_is_a_mono_wav_as_long_as_it_took(stage):
    page = stage(RECORD, permissions=["microphone"])
    until(page, "kept.time > 0.6 && kept.level > 0.05")
    data = page.evaluate("kept.recording.stop().then(blob => blob.arrayBuffer()).then(b => [...new Uint8Array(b)])")
    with wave.open(io.BytesIO(bytes(data))) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
        assert (sound.getnchannels(), sound.getsampwidth()) == (1, 2) and sound.getframerate() >= 8000
        assert len(samples) / sound.getframerate() == pytest.approx(page.evaluate("kept.time"), abs=0.01)
    assert abs(samples).max() / 32767 == pytest.approx(page.evaluate("kept.level"), abs=0.01)


def test_a_microphone_that_is_refused_is_an_error_of_one_line(stage):
    refuse = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError') };"
    page = stage(RECORD.replace("kept.error = null;", f"kept.error = null; {refuse}"))
    assert page.evaluate("kept.error") == (
        "the microphone is not allowed; allow it for this page in the browser's settings"
    )


# Drawing --------------------------------------------------------------------------------------------------------------


def to_draw(page, photo=None, text=None, strokes=None, fast=True):
    """Go to the tab, and say what is drawn."""
    page.get_by_role("tab", name="Draw").click()
    if photo:
        drop(page, photo)
        expect(page.locator(".draw-photo img")).to_be_visible()
    if text:
        page.get_by_label("A sentence to draw").fill(text)
    if strokes:
        page.get_by_label("Strokes", exact=True).fill(str(strokes))
    if fast:
        page.get_by_label("Fast").check()
    return page.get_by_role("button", name="Draw", exact=True)


def saved(page, name):
    with page.expect_download() as caught:
        page.get_by_role("link", name=name).click()
    return open(caught.value.path(), "rb").read()


def ink(page):
    """How many pixels of the paper are dark."""
    picture = Image.open(io.BytesIO(page.locator(".draw-paper").screenshot())).convert("L")
    return int((np.asarray(picture) < 100).sum())


def test_a_photo_is_drawn_before_the_eyes_thinned_saved_and_searched_by(open_page, photo):
    page = open_page()
    to_draw(page, photo, strokes=8).click()
    image = page.locator(".draw-image")
    expect(image).to_be_visible()
    expect(image).to_have_attribute("src", re.compile("^blob:"))
    status = page.locator(".draw-status")
    expect(status).to_have_text(re.compile(r"Done after \d+ steps · loss \d"))
    whole = ink(page)
    page.get_by_label("Strokes that are shown").fill("3")
    expect(page.locator(".draw-label output").nth(1)).to_have_text("3 of 8")
    assert 0 < ink(page) < whole
    page.get_by_label("Width on paper").fill("200")
    svg = saved(page, "SVG")
    root = ET.fromstring(svg)
    assert root.get("width") == "200mm" and svg.count(b'id="stroke-') == 3
    assert Image.open(io.BytesIO(saved(page, "PNG"))).size == (896, 672)
    assert Image.open(io.BytesIO(saved(page, "GIF"))).n_frames > 1
    page.get_by_role("button", name="Search by it").click()
    expect(page.locator(".search-top .chip")).to_have_count(1)
    expect(page.locator(".card").first).to_be_visible()


def test_a_drawing_is_stopped_with_the_best_so_far_and_begun_again_with_twice_the_strokes(open_page, photo):
    page = open_page()
    to_draw(page, photo, strokes=24, fast=False).click()
    status = page.locator(".draw-status")
    expect(status).to_have_text(re.compile("^Step "))
    page.get_by_role("button", name="Stop").click()
    expect(status).to_have_text(re.compile(r"^Stopped after \d+ step"))
    assert saved(page, "SVG").count(b'id="stroke-') == 24
    page.get_by_label("Fast").check()
    page.get_by_role("button", name="More strokes").click()
    expect(status).to_have_text(re.compile("^Done"), timeout=30_000)
    assert saved(page, "SVG").count(b'id="stroke-') == 48


def test_one_drawing_waits_for_another_and_one_that_is_left_ends(open_page, photo):
    first, second = open_page(), open_page()
    to_draw(first, photo, strokes=64, fast=False).click()
    expect(first.locator(".draw-image")).to_be_visible()
    to_draw(second, text="a cat", strokes=8).click()
    expect(second.locator(".draw-status")).to_have_text("Another drawing is running; yours is next")
    first.get_by_role("tab", name="Search").click()
    expect(first.get_by_text("The drawing was stopped, as its tab was left.")).to_be_visible()
    expect(second.locator(".draw-status")).to_have_text(re.compile("^Done"))


def test_a_page_that_is_closed_ends_its_drawing(open_page, photo):
    first, second = open_page(), open_page()
    to_draw(first, photo, strokes=64, fast=False).click()
    expect(first.locator(".draw-image")).to_be_visible()
    to_draw(second, text="a cat", strokes=8).click()
    first.close()
    expect(second.locator(".draw-status")).to_have_text(re.compile("^Done"))


def test_unknown_words_are_said_in_one_line_and_the_tab_goes_on(open_page):
    page = open_page()
    to_draw(page, text="a xylothorp", strokes=4).click()
    status = page.locator(".draw-status")
    expect(status).to_have_text(re.compile("xylothorp"))
    expect(status).to_have_class(re.compile("bad"))
    to_draw(page, text="a cat").click()
    expect(status).to_have_text(re.compile("^Done"))


def test_a_style_has_its_own_strokes_and_those_of_photos_are_not_for_words(open_page, photo):
    page = open_page()
    to_draw(page, text="a cat")
    expect(page.get_by_role("option", name="Hatching")).to_be_disabled()
    drop(page, photo)
    expect(page.locator(".draw-photo img")).to_be_visible()
    page.get_by_label("Style").select_option("one-line")
    expect(page.get_by_label("Strokes", exact=True)).to_be_disabled()
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.locator(".draw-status")).to_have_text(re.compile("^Done"), timeout=30_000)
    assert saved(page, "SVG").count(b'id="stroke-') == 1


# Depth ----------------------------------------------------------------------------------------------------------------


def test_the_depth_of_a_photo_is_read_under_the_pointer_and_by_keys(open_page, photo):
    page = open_page()
    page.get_by_role("tab", name="Depth").click()
    with page.expect_response(lambda answer: answer.url.endswith("values.bin")) as caught:
        drop(page, photo)
    values = np.frombuffer(caught.value.body(), "<f4").reshape(60, 80)
    value, frame = page.locator(".depth-value"), page.locator(".depth-frame").nth(1)
    expect(value).to_have_text(f"{values[30, 40]:.2f} m")
    box = frame.bounding_box()
    for column, row in ((10, 8), (70, 50)):
        at = {"x": (column + 0.5) / 80 * box["width"], "y": (row + 0.5) / 60 * box["height"]}
        frame.hover(position=at)
        expect(value).to_have_text(f"{values[row, column]:.2f} m")
    frame.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Shift+ArrowLeft")
    expect(value).to_have_text(f"{values[48, 69]:.2f} m")
    low, high = page.locator(".depth-ticks .first"), page.locator(".depth-ticks .last")
    assert float(low.inner_text().split()[0]) <= float(high.inner_text().split()[0])
    expect(page.get_by_text("Depth in metres.")).to_be_visible()
    expect(page.get_by_text("the metres are a guess")).to_be_visible()


def test_the_cloud_of_a_photo_is_turned_and_its_files_are_saved(open_page, photo, tmp_path):
    page = open_page(width=360, height=740)
    page.get_by_role("tab", name="Depth").click()
    drop(page, photo)
    canvas = page.locator(".depth-cloud canvas")
    canvas.scroll_into_view_if_needed()
    before = drawn(canvas)
    mouse_path(page, canvas, [(0.4, 0.5), (0.6, 0.5), (0.8, 0.5)])
    assert (abs(drawn(canvas) - before).max(-1) > 20).mean() > 0.01
    assert overflow(page) == 0
    assert saved(page, "Cloud").startswith(b"ply")
    assert Image.open(io.BytesIO(saved(page, "Millimetres"))).size == (80, 60)
    page.get_by_role("button", name="Another photo").click()
    expect(page.get_by_text("Drop a photo, best of a room")).to_be_visible()


def test_what_is_no_photo_gets_no_depth_and_no_drawing(open_page, site_files):
    page = open_page()
    for name in ("Depth", "Draw"):
        page.get_by_role("tab", name=name).click()
        drop(page, site_files / "cloud.xyz")
        expect(page.get_by_text("cloud.xyz is no photo.").first).to_be_visible()
        page.get_by_role("button", name="Close").first.click()
