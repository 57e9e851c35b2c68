"""The page in a browser, with real input: the search, naming and the index."""

import json
import re
import threading
from datetime import date, timedelta
from pathlib import Path

import pytest
from indexed import picture
from pointer import drag, drop
from served import listening

import clipx
import clipx.serve
from clipx.index import Index

pytest_plugins = ["browser"]
api = pytest.importorskip("playwright.sync_api")
expect = api.expect
ALL = 10  # files of the index
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M1 1L8 8" stroke="#000" fill="none"/></svg>'


def searched(page, act):
    """Do something that searches; returns what the server was asked. Questions for suggestions do not count."""
    with page.expect_response(lambda answer: "min_confidence" in (answer.request.post_data or "")) as caught:
        act()
    return json.loads(caught.value.request.post_data)


def ask(page, words):
    """Type words, and wait for what they find."""
    box = page.get_by_role("searchbox")
    box.fill("")
    found = searched(page, lambda: box.fill(words))
    expect(page.locator(".card").first).to_be_visible()
    expect(page.locator(".found")).to_have_attribute("aria-busy", "false")
    return found


def names(page):
    """Of the hits that are shown, best first."""
    return page.locator(".card:visible .card-open").all_inner_texts()


def weights(asked):
    return [term["weight"] for term in asked["terms"]]


def overflow(page):
    """By how many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


# Words ----------------------------------------------------------------------------------------------------------------


def test_typing_searches_and_finds_what_the_index_finds(open_page, site_db, space_folder):
    page = open_page()
    box = page.get_by_role("searchbox")
    with page.expect_response(lambda answer: "a cat" in (answer.request.post_data or "")) as caught:
        box.focus()
        page.keyboard.insert_text("a cat")  # at once: a pause within a word searches for half of it, which is refused
    asked = json.loads(caught.value.request.post_data)
    assert asked["terms"] == [{"text": "a cat", "weight": 1}] and asked["min_confidence"] == 0
    expect(page.locator(".status")).to_have_text(f"{ALL} results")
    with Index.open(site_db, clipx.load_space(space_folder)) as index:
        hits = index.search('"a cat"', 60)
    assert names(page) == [Path(hit.path).name for hit in hits]
    shares = [f"{round(100 * hit.confidence)} %" for hit in hits]
    found = [text.replace("< 1 %", "0 %") for text in page.locator(".card .share").all_inner_texts()]
    assert found == shares


def test_enter_keeps_a_term_and_the_address_keeps_words_only(open_page, site_files):
    page = open_page()
    page.get_by_role("searchbox").fill("a cat - 0.5* night")
    page.keyboard.press("Enter")
    expect(page.locator(".search-top .chip")).to_have_count(2)
    expect(page.get_by_role("searchbox")).to_have_value("")
    drop(page, site_files / "home" / "p0.png")
    expect(page.locator(".search-top .chip .chip-words")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/#search\?a\+cat\+-\+0\.5\*\+night$"))
    page.reload()
    expect(page.locator(".search-top .chip-name")).to_have_text(["a cat", "night"])
    expect(page.locator(".search-top .chip-minus .chip-weight")).to_have_text("\u00d70.5")
    expect(page.locator(".card")).to_have_count(ALL)


QUERIES = {
    "a cat": [("a cat", 1)],
    "a cat + 2* night - small": [("a cat", 1), ("night", 2), ("small", -1)],
    "- night": [("night", -1)],
    '"a - b" - c': [("a - b", 1), ("c", -1)],
    "black-white photo": [("black-white photo", 1)],
    'a cat - "half': [("a cat", 1), ("half", -1)],
    "a cat -": [("a cat", 1)],
    "0* a": [],
    "": [],
}


def test_a_query_is_read_as_the_command_line_reads_it(open_page):
    page = open_page()
    read = """async text => {
        const { parseQuery, formatQuery } = await import(new URL("query.js", document.baseURI));
        const terms = parseQuery(text);
        return [terms, parseQuery(formatQuery(terms))];
    }"""
    for query, terms in QUERIES.items():
        found, again = page.evaluate(read, query)
        assert found == again == [{"text": text, "weight": weight} for text, weight in terms], query


def test_words_that_the_space_never_saw_are_named(open_page):
    page = open_page()
    page.watched.allow("status of 400")
    page.get_by_role("searchbox").press_sequentially("elephant")
    expect(page.get_by_role("heading", name="Not searched")).to_be_visible()
    expect(page.locator(".empty")).to_contain_text("words this space never saw: elephant")


def test_a_new_search_ends_the_former(open_page):
    page = open_page()
    ask(page, "a cat")
    page.route("**/search", lambda route: None if "night" in route.request.post_data else route.continue_())
    box = page.get_by_role("searchbox")
    with page.expect_request("**/search"):
        box.fill("night")
    with page.expect_event("requestfailed", lambda request: "night" in request.post_data):
        box.fill("chair")
    expect(page.locator(".found")).to_have_attribute("aria-busy", "false")
    assert len(names(page)) == ALL


def test_suggestions_are_words_of_the_index(open_page):
    page = open_page()
    word = page.locator(".welcome .suggestion").first
    text = word.inner_text()
    asked = [{"text": text, "weight": 1}]  # the page itself may still ask for more suggestions
    with page.expect_request(lambda one: one.url.endswith("/search") and one.post_data_json["terms"] == asked):
        word.click()
    expect(page.locator(".card").first).to_be_visible()


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("home/p0.png", "Picture"),
        ("long.wav", "Sound"),
        ("cloud.xyz", "Shape"),
        ("chair.off", "Shape"),
        ("line.svg", "Drawing"),
    ],
)
def test_a_file_that_is_dropped_anywhere_is_searched_by(open_page, site_files, tmp_path, name, kind):
    (tmp_path / "line.svg").write_text(SVG)
    path = (tmp_path if name == "line.svg" else site_files) / name
    page = open_page()
    expect(page.locator(".welcome .suggestion").first).to_be_visible()
    asked = searched(page, lambda: drop(page, path))
    (term,) = asked["terms"]
    assert set(term) == {"file", "weight"} and "/" not in term["file"]
    chip = page.locator(".search-top .chip")
    expect(chip.locator(".chip-name")).to_have_text(path.name)
    expect(chip.locator(".chip-text")).to_have_attribute("title", f"{kind}: {path.name}")
    expect(chip.locator(".chip-words")).not_to_be_empty()
    expect(chip.locator(".chip-face :is(img, svg)")).to_be_visible()
    expect(page.locator(".card")).to_have_count(ALL)
    assert path.name in names(page)[:2] or name in ("line.svg", "long.wav")


def test_files_are_picked_and_refused(open_page, site_files, tmp_path):
    (tmp_path / "notes.txt").write_text("no modality reads this")
    page = open_page()
    page.watched.allow("status of 4")
    page.get_by_label("Files to search by").set_input_files([site_files / "home" / "p0.png", tmp_path / "notes.txt"])
    expect(page.locator(".notice-error")).to_contain_text("notes.txt")
    expect(page.locator(".search-top .chip")).to_have_count(1)
    expect(page.locator(".card")).to_have_count(ALL)


def test_a_drawing_and_a_recording_become_chips(open_page):
    page = open_page()
    page.get_by_role("button", name="Draw what you look for").click()
    box = page.locator("dialog canvas").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 120, steps=5)
    page.mouse.up()
    page.get_by_role("dialog").get_by_role("button", name="Search").click()
    expect(page.locator(".search-top .chip-name")).to_have_text(["drawing.ndjson"])
    expect(page.locator(".card")).to_have_count(ALL)
    page.get_by_role("button", name="Record a sound").click()
    expect(page.locator(".recorder .time")).not_to_have_text("0:00")
    page.get_by_role("button", name="Stop and search").click()
    expect(page.locator(".search-top .chip-name")).to_have_text(["drawing.ndjson", "recording.wav"])
    expect(page.locator(".search-top .chip-words")).to_have_count(2)


# Chips ----------------------------------------------------------------------------------------------------------------


def test_terms_are_weighed_and_taken_away(open_page):
    page = open_page()
    ask(page, "a cat")
    page.keyboard.press("Enter")
    page.get_by_role("searchbox").fill("night")
    page.keyboard.press("Enter")
    night = page.locator(".search-top .chip", has_text="night")
    assert weights(searched(page, night.get_by_role("button", name="Take night away").click)) == [1, -1]
    night.get_by_role("button", name="Weight of night").click()
    slider = page.get_by_role("slider", name="Weight of night")
    expect(slider).to_be_focused()
    assert weights(searched(page, lambda: slider.press("End"))) == [1, -3]
    assert weights(searched(page, lambda: slider.press("Home"))) == [1, -0.25]
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Take a cat away").click()
    expect(page.get_by_role("heading", name="Everything is taken away")).to_be_visible()
    expect(page.locator(".card")).to_have_count(0)


def test_chips_are_reordered_and_dragged_out(open_page):
    page = open_page()
    page.get_by_role("searchbox").fill("cat + chair + night")
    page.keyboard.press("Enter")
    chip = page.locator(".search-top .chip")
    expect(chip).to_have_count(3)
    first = chip.first.bounding_box()
    drag(page, chip.filter(has_text="night").locator(".chip-name"), first["x"] + 4, first["y"] + 10)
    expect(page.locator(".search-top .chip-name")).to_have_text(["night", "cat", "chair"])
    drag(page, chip.filter(has_text="cat").locator(".chip-name"), 640, 600)
    expect(page.locator(".search-top .chip-name")).to_have_text(["night", "chair"])
    expect(page.locator(".ghost")).to_have_count(0)


def test_a_hit_is_dragged_into_the_bar(open_page):
    page = open_page()
    ask(page, "a cat")
    page.keyboard.press("Enter")
    card = page.locator(".card").nth(3)
    name = card.locator(".card-open").inner_text()
    bar = page.locator(".search-top .field").bounding_box()
    drag(page, card.locator(".well"), bar["x"] + 60, bar["y"] + 20)
    expect(page.locator(".search-top .chip-name")).to_have_text([name, "a cat"])
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_more_and_less_like_a_hit(open_page):
    page = open_page()
    ask(page, "a cat")
    card = page.locator(".card", has_text="cloud.xyz")
    card.hover()
    (term,) = searched(page, card.get_by_role("button", name="More like").click)["terms"]
    assert term["weight"] == 1 and "file" in term
    expect(page.locator(".chip-name").first).to_have_text("cloud.xyz")
    expect(page.locator(".card .share").first).to_have_text("100 %")
    assert "cloud.xyz" in names(page)[:2]
    other = page.locator(".card", has_text="house.ndjson")
    other.hover()
    assert weights(searched(page, other.get_by_role("button", name="Less like").click)) == [1, -1]
    expect(page.locator(".search-top .chip-minus .chip-name")).to_have_text("house.ndjson")


# Filters and the cut-off ----------------------------------------------------------------------------------------------


def test_kinds_folders_and_dates_filter(open_page):
    page = open_page()
    ask(page, "a cat")
    shapes = page.get_by_role("checkbox", name="Shapes 2")
    assert searched(page, shapes.check)["modalities"] == ["pointcloud"]
    expect(page.locator(".card")).to_have_count(2)
    assert set(names(page)) == {"chair.off", "cloud.xyz"}
    searched(page, shapes.uncheck)
    folder = page.get_by_role("combobox", name="Folder")
    searched(page, lambda: folder.select_option(label="holiday (3)"))
    expect(page.locator(".card")).to_have_count(3)
    searched(page, lambda: folder.select_option(""))
    page.get_by_role("button", name="Any date").click()
    tomorrow = (date.today() + timedelta(days=1)).isoformat()
    assert searched(page, lambda: page.get_by_label("From").fill(tomorrow))["since"] == tomorrow
    expect(page.get_by_role("heading", name="Nothing here matches")).to_be_visible()
    page.keyboard.press("Escape")
    searched(page, page.get_by_role("button", name="Clear the filters").click)
    expect(page.locator(".card")).to_have_count(ALL)


def test_the_cut_off_hides_at_once_and_asks_again(open_page):
    page = open_page()
    ask(page, "a cat")
    shares = [int(text.removeprefix("< ").rstrip(" %")) for text in page.locator(".card .share").all_inner_texts()]
    page.route("**/search", lambda route: None)  # no answer: what is hidden is hidden by the page
    slider = page.get_by_role("slider", name="Cut-off")
    slider.fill("50")
    expect(page.locator(".card:visible")).to_have_count(sum(share >= 50 for share in shares))
    with page.expect_request("**/search") as caught:
        slider.press("End")
    expect(page.locator(".card:visible")).to_have_count(0)
    expect(page.get_by_role("heading", name="Nothing here matches")).to_be_visible()
    assert json.loads(caught.value.post_data)["min_confidence"] == 1
    page.unroute("**/search")
    searched(page, lambda: page.get_by_role("searchbox").fill("a cat small"))
    expect(page.get_by_role("heading", name="Nothing here matches")).to_be_visible()
    expect(page.locator(".empty")).to_contain_text("confidence of 100 %")
    searched(page, page.get_by_role("button", name="Switch the cut-off off").click)
    expect(page.locator(".card:visible")).to_have_count(ALL)


def test_unlikely_answers_are_called_so(open_page):
    page = open_page()
    page.route("**/search", lambda route: _unlikely(route))
    page.get_by_role("searchbox").fill("a cat")
    expect(page.locator(".note").first).to_have_text("None of them is a likely match: unrelated files score as high.")
    expect(page.locator(".mark-missing")).to_be_visible()


def _unlikely(route):
    hit = {"event": "hit", "rank": 1, "file": "x", "name": "a.png", "folder": "/f", "modality": "image", "score": 0.1}
    hit |= {"confidence": 0.2, "e_value": 1.6, "cosine": 0.1, "words": ["cat"], "start_s": None, "end_s": None}
    hit |= {"date": None, "missing": True, "thumbnail": False}
    end = {"event": "end", "count": 1, "likely": False, "search_ms": 1}
    route.fulfill(body="\n".join(map(json.dumps, (hit, end))), content_type="application/x-ndjson")


# The detail of a hit --------------------------------------------------------------------------------------------------


def test_the_detail_of_a_picture_a_sound_and_a_shape(open_page, site_files):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    ask(page, "a cat")
    dialog = page.get_by_role("dialog")
    page.locator(".card-open", has_text="p0.png").click()
    expect(dialog.locator(".stage img")).to_have_js_property("complete", True)
    assert dialog.locator(".stage img").evaluate("image => image.naturalWidth") == 32
    for figure in ("Confidence", "By chance", "Score", "Cosine", "Changed"):
        expect(dialog.get_by_role("term").filter(has_text=figure)).to_be_visible()
    dialog.get_by_role("button", name="Copy the path").click()
    expect(page.locator(".notice")).to_contain_text("copied")
    assert page.evaluate("navigator.clipboard.readText()") == str(site_files / "home" / "p0.png")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)

    page.locator(".card-open", has_text="long.wav").click()
    expect(dialog.get_by_role("slider", name="Place in long.wav")).to_be_visible()
    expect(dialog.get_by_role("term").filter(has_text="Place")).to_be_visible()
    dialog.get_by_role("button", name="Close", exact=True).click()

    page.locator(".card-open", has_text="chair.off").click()
    canvas = dialog.locator("canvas")
    expect(canvas).to_have_attribute("data-drawn", re.compile("[1-9]"))
    drawn = int(canvas.get_attribute("data-drawn"))
    canvas.focus()
    page.keyboard.press("ArrowLeft")
    expect(canvas).not_to_have_attribute("data-drawn", str(drawn))
    expect(dialog.locator("#detail-name")).to_have_text("chair.off")
    searched(page, dialog.get_by_role("button", name="More like this").click)
    expect(page.locator(".search-top .chip-name")).to_have_text(["chair.off"])


def test_a_sound_plays_in_the_grid(open_page):
    page = open_page()
    ask(page, "a cat")
    card = page.locator(".card", has_text="long.wav")
    card.scroll_into_view_if_needed()
    card.get_by_role("button", name="Play long.wav").click()
    expect(card.get_by_role("button", name="Pause long.wav")).to_be_visible()
    expect(card.locator(".mark-time")).to_have_text(re.compile("[0-9.:]+ \u2013 [0-9.:]+"))
    expect(page.get_by_role("dialog")).to_have_count(0)


# Keyboard, small windows, themes --------------------------------------------------------------------------------------


def test_everything_by_keyboard(open_page):
    page = open_page()
    box = page.get_by_role("searchbox")
    page.get_by_role("tab", name="Search").focus()
    page.keyboard.press("/")
    expect(box).to_be_focused()
    expect(box).to_have_value("")
    page.keyboard.insert_text("cat + night")  # at once, as above
    page.keyboard.press("Enter")
    expect(page.locator(".search-top .chip")).to_have_count(2)
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Weight of night")).to_be_focused()
    asked = searched(page, lambda: page.keyboard.press("ArrowUp"))
    assert weights(asked) == [1, 1.25]
    page.keyboard.press("Alt+ArrowLeft")
    expect(page.locator(".search-top .chip-name")).to_have_text(["night", "cat"])
    page.keyboard.press("Delete")
    expect(page.locator(".search-top .chip-name")).to_have_text(["cat"])
    expect(box).to_be_focused()
    page.keyboard.press("Backspace")
    expect(page.locator(".search-top .chip")).to_have_count(0)
    ask(page, "cat")
    page.locator(".card-open").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".card-open").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".detail-bar p")).to_have_text(f"3 of {ALL}")
    page.keyboard.press("Escape")
    expect(page.locator(".card-open").nth(1)).to_be_focused()
    page.get_by_role("tab", name="Search").focus()
    page.keyboard.press("End")
    expect(page.get_by_role("tab", name="Index")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("heading", name="Index", exact=True)).to_be_visible()


def test_nothing_scrolls_sideways_at_360_pixels(open_page, site_files):
    page = open_page(width=360, height=740)
    expect(page.locator(".welcome .suggestion").first).to_be_visible()
    assert overflow(page) <= 0
    ask(page, "a cat - night + a small photo of a chair")
    page.keyboard.press("Enter")
    drop(page, site_files / "long.wav")
    expect(page.locator(".search-top .chip-words")).to_be_visible()
    assert overflow(page) <= 0
    page.locator(".card-open").first.click()
    expect(page.locator("dialog .stage .preview")).to_be_visible()
    assert page.locator("dialog").evaluate("one => one.scrollWidth - one.clientWidth") <= 0
    page.keyboard.press("Escape")
    for tab in ("Name", "Index"):
        page.get_by_role("tab", name=tab).click()
        expect(page.get_by_role("heading", name=tab, exact=True)).to_be_visible()
        assert overflow(page) <= 0


def test_the_theme_follows_the_system_until_one_is_chosen(open_page):
    page = open_page(theme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(20, 21, 23)"
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    assert page.evaluate(paper) == "rgb(251, 250, 247)"
    page.get_by_role("button", name="To the dark theme").click()
    assert page.evaluate(paper) == "rgb(20, 21, 23)"
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


# Name -----------------------------------------------------------------------------------------------------------------


def test_labels_move_bars(open_page, site_files):
    page = open_page()
    page.evaluate("sessionStorage.setItem('labels', '[]')")
    page.goto(f"{page.url.partition('#')[0]}#name")
    page.reload()
    page.locator("#view-name input[type=file]").set_input_files(site_files / "home" / "p0.png")
    expect(page.locator("#view-name .preview img")).to_be_visible()
    labels = page.get_by_role("textbox", name="Add labels")
    labels.press_sequentially("a cat, a chair")
    labels.press("Enter")
    rows = page.locator(".bar-row")
    expect(rows).to_have_count(2)
    before = [float(text.rstrip(" %")) for text in rows.locator(".share").all_inner_texts()]
    assert sum(before) == pytest.approx(100, abs=0.2) and before == sorted(before, reverse=True)
    labels.press_sequentially("night,")
    expect(rows).to_have_count(3)
    after = [float(text.rstrip(" %")) for text in rows.locator(".share").all_inner_texts()]
    assert sum(after) == pytest.approx(100, abs=0.3)
    width = rows.first.locator(".bar span").evaluate("one => new DOMMatrix(getComputedStyle(one).transform).a")
    assert width == pytest.approx(after[0] / 100, abs=0.01)
    page.get_by_role("button", name="Remove a cat").click()
    expect(rows).to_have_count(2)
    page.reload()
    expect(page.locator(".label-chips .chip-name")).to_have_text(["a chair", "night"])
    drop(page, site_files / "cloud.xyz")
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Search by it").click()
    expect(page.locator(".search-top .chip-name")).to_have_text(["cloud.xyz"])
    expect(page.locator(".card")).to_have_count(ALL)


# Index ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def gate(monkeypatch):
    """Pictures are read while it is open."""
    from clipx.modalities.image import Image

    gate, load = threading.Event(), Image.load
    monkeypatch.setattr(Image, "load", lambda self, path: (gate.wait(20), load(self, path))[1])
    yield gate
    gate.set()


def test_a_folder_is_indexed_stopped_and_gone_on_with(open_page, tmp_path, space_folder, gate):
    for i in range(5):
        picture(tmp_path / "photos" / "trip" / f"p{i}.png", i)
    (tmp_path / "photos" / "trip" / "broken.png").write_bytes(b"no picture")
    make = lambda token: clipx.serve.app(  # noqa: E731
        tmp_path / "new.index", space_folder, token=token, folders=[tmp_path / "photos"]
    )
    with listening(make) as server:
        page = open_page(server.address)
        expect(page.get_by_role("heading", name="Begin with a folder")).to_be_visible()
        page.get_by_role("button", name=str(tmp_path / "photos")).click()
        page.get_by_role("button", name="trip").click()
        expect(page.locator(".picker .note")).to_have_text("6 files directly in it")
        page.get_by_role("button", name="The folder above").click()
        expect(page.locator(".picker .note")).to_have_text("The files in its folders")
        page.get_by_role("button", name="trip").click()
        expect(page.locator(".folder-none")).to_be_visible()
        page.get_by_role("button", name="Index this folder").click()
        expect(page.get_by_role("heading", name="Indexing")).to_be_visible()
        expect(page.locator(".picker")).to_be_hidden()
        page.get_by_role("button", name="Stop").click()
        gate.set()
        expect(page.get_by_role("heading", name="Stopped")).to_be_visible()
        page.get_by_role("button", name="Resume").click()
        expect(page.get_by_role("heading", name="Done")).to_be_visible()
        expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "6")
        page.get_by_text("1 file not read").click()
        expect(page.locator(".failures li strong")).to_have_text("broken.png")
        expect(page.locator("#holds-title")).to_have_text("new.index")
        expect(page.locator("#holding")).to_have_text("5 files")
        page.get_by_role("button", name="Add a folder").click()
        expect(page.get_by_role("button", name="Index this folder")).to_be_visible()
        page.get_by_role("button", name="Search it").click()
        ask(page, "a cat")
        expect(page.locator(".card")).to_have_count(5)
        page.close()


def test_a_search_waits_for_the_space(open_page, site_db, space_folder):
    ready = threading.Event()

    def load():
        ready.wait(20)
        return clipx.load_space(space_folder)

    with listening(
        lambda token: clipx.serve.build(site_db, True, load, str(space_folder), token, clipx.serve.LOCAL, None)
    ) as server:
        page = open_page(server.address)
        expect(page.locator("#banner")).to_contain_text("Loading the space")
        page.get_by_role("searchbox").fill("a cat")
        expect(page.get_by_role("heading", name="The space is loading")).to_be_visible()
        ready.set()
        expect(page.locator(".card")).to_have_count(ALL)
        expect(page.locator("#banner")).to_be_hidden()
        expect(page.get_by_role("searchbox")).to_have_value("a cat")
        page.close()
