"""The demo: what it writes, and that its page stands alone and shows every picture."""

import base64
import html
import io
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import DEPTH_WORDS, save_space
from PIL import Image

from clipx.cli import main
from clipx.modalities.audio.towers import new_tower, save_tower
from clipx.spaces.loading import load_space

SAMPLES = Path(__file__).parents[1] / "examples" / "data"
PLAN = tomllib.loads((SAMPLES / "demo.toml").read_text())
SHEETS = [*PLAN["run"], *PLAN["sheet"]]
CELLS = sum(len(row) - 1 for sheet in SHEETS for row in sheet["rows"])
SOUNDS = (SAMPLES / "demo.toml").read_text().count('.flac"')  # samples, and queries
QUERIES = [query for search in PLAN["search"] for query in search["queries"]]
HITS = 5 * len(QUERIES)
ASKED = sum(query.count(".") - query.count(".flac") for query in QUERIES)  # pictures of what is searched by
PICTURES = sum(not sample["file"].endswith(".flac") for sample in PLAN["sample"]) + CELLS + HITS + ASKED
TEMPLATES = ["a", "of", "photo", "point", "cloud", "depth", "map", "rendering", "sketch", "drawing", "sound"]
TEMPLATES += ["something", "to", "drink", "from"]
TEMPLATES += ["an", "umbrella", "teapot", "guitar", "lynx", "palace"]
TEMPLATES += DEPTH_WORDS


@pytest.fixture(scope="module")
def demo(tiny_space, tmp_path_factory):
    """(the JSON object, the folder) of a demo run with a tiny random space."""
    words = [*TEMPLATES, *(SAMPLES / "labels.txt").read_text().split()]
    space = save_space(tiny_space, tmp_path_factory.mktemp("space") / "tiny", words)
    towers, samples = tmp_path_factory.mktemp("towers"), tmp_path_factory.mktemp("samples") / "data"
    save_tower(new_tower("logmel", tiny_space.dim), towers / "tiny", load_space(str(space)), 1.0, {})
    shutil.copytree(SAMPLES, samples, ignore=shutil.ignore_patterns("__pycache__"))
    plan = (samples / "demo.toml").read_text()
    assert '"--steps", "40", "--seeds", "1"' in plan
    plan = plan.replace('"40", "--seeds", "1"', '"2", "--seeds", "1"')
    assert ', "--fit", "rooms-words"]' in plan and 'spaces = ["lite"]' in plan  # the fit is lite's alone
    plan = plan.replace(', "--fit", "rooms-words"]', "]").replace('spaces = ["lite"]', "spaces = []")
    (samples / "demo.toml").write_text(plan)
    out = tmp_path_factory.mktemp("demo") / "clipx-demo"
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", printed)
        patch.setattr("clipx.modalities.audio.towers.SHIPPED", towers)
        assert main(["demo", "--json", "-o", str(out), "--space", str(space), "--samples", str(samples)]) == 0
    return json.loads(printed.getvalue()), out


class _Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_every_sample_is_named_and_shown(demo):
    record, out = demo
    labels = set((SAMPLES / "labels.txt").read_text().split())
    assert {result["modality"] for result in record["results"]} == {"image", "pointcloud", "audio"}
    for result in record["results"]:
        assert result["expected"] in labels and len(result["predictions"]) == 5
        assert {p["label"] for p in result["predictions"]} <= labels
    pictures = {p.name for p in out.glob("*.png")}
    assert pictures == {  # none was written over another
        name.removeprefix("skimage:") if name.startswith("skimage:") else f"{name}.png"
        for name in [sample["file"] for sample in PLAN["sample"]] + ["skimage:horse.png", "skimage:astronaut.png"]
    }
    with Image.open(out / "chair.off.png") as views:
        assert views.width > views.height > 100  # several views side by side


def test_the_page_stands_alone(demo):
    record, out = demo
    text = (out / "index.html").read_text()
    tags = _Page(text).tags
    assert text.count("<article>") == len(record["results"])
    assert "default-src 'none'" in text and "prefers-color-scheme: dark" in text
    assert not {"script", "iframe", "object"} & {tag for tag, _ in tags}
    assert not re.findall(r"(?:src|href|url)\W{1,3}(?:https?:)?//", text)
    images = [attrs for tag, attrs in tags if tag == "img"]
    assert len(images) == PICTURES
    wrong = sum(result["predictions"][0]["label"] != result["expected"] for result in record["results"])
    assert text.count("<section>") == len(SHEETS) + len(PLAN["search"]) + bool(wrong)
    assert text.count("<audio ") == SOUNDS and text.count("in truth: ") == wrong
    for attrs in images:
        assert len(attrs["alt"]) > 4
        with Image.open(io.BytesIO(base64.b64decode(attrs["src"].partition(",")[2]))) as picture:
            picture.load()
    for result in record["results"]:
        assert html.escape(result["command"]) in text


def test_the_page_can_be_read_by_ear_and_by_keys(demo):
    """Headings go down a step at a time, all of it is in the one main part, what scrolls can be reached, and a hit that
    is pale has a picture that is, not words."""
    _, out = demo
    text = (out / "index.html").read_text()
    tags = _Page(text).tags
    assert '<html lang="en">' in text and text.count("<main>") == 1
    assert text.index("<main>") < text.index("<article>") and text.rindex("</section>") < text.index("</main>")
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    wrong = text.partition("<h2>Named wrong</h2>")[2]
    assert wrong.count("<h3>") == wrong.count("<article>") and "<h2>" not in wrong
    scrolled = [attrs for _, attrs in tags if attrs.get("class") == "sheet"]
    assert scrolled and all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in scrolled)
    assert all(attrs["aria-label"] for tag, attrs in tags if tag in ("audio", "svg"))
    assert ".unlike img { opacity" in text and ".unlike {" not in text
    assert text.count('media="(prefers-reduced-motion: reduce)"') == text.count("data:image/gif")


def test_a_space_without_a_tower_leaves_sounds_out(tiny_space, tmp_path, capsys):
    words = [*TEMPLATES, "fish", "dog"]
    space = save_space(tiny_space, tmp_path / "tiny", words)
    for name in ("fish.png", "dog.flac"):
        shutil.copy(SAMPLES / name, tmp_path)
    samples = "".join(
        f'[[sample]]\nfile = "{n}"\nkind = "sample"\nalt = "A sample"\n' for n in ("fish.png", "dog.flac")
    )
    search = '[[search]]\ntitle = "a"\nnote = "b"\nfiles = ["fish.png"]\nqueries = ["dog.flac"]\n'
    (tmp_path / "demo.toml").write_text(samples + search)
    (tmp_path / "labels.txt").write_text("fish\ndog\n")
    line = ["demo", "--json", "--samples", str(tmp_path), "-o", str(tmp_path / "out"), "--space", str(space)]
    assert main(line) == 0
    out, err = capsys.readouterr()
    assert len(json.loads(out)["results"]) == 1 and "left out: audio: the space" in err
    assert "<section>" not in (tmp_path / "out/index.html").read_text()


def test_a_panels_command_prints_its_figures(demo, capsys):
    record, _ = demo
    result = next(r for r in record["results"] if r["path"].endswith("chair.off"))
    assert main([*result["command"].split()[1:], "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["results"][0]["predictions"]
    assert [p["label"] for p in again] == [p["label"] for p in result["predictions"]]
    assert [p["cosine"] for p in again] == pytest.approx([p["cosine"] for p in result["predictions"]], abs=1e-5)


def test_every_command_on_the_page_can_be_typed(demo, tmp_path, monkeypatch):
    """From where the demo was called: files and indexes that they name are there, and a search finds the same."""
    _, out = demo
    commands = [
        html.unescape(line) for line in re.findall(r"<pre><code>(.*?)</code></pre>", (out / "index.html").read_text())
    ]
    assert len(commands) == len(PLAN["sample"]) + len(QUERIES) + len(SHEETS)
    for line in commands:
        words = shlex.split(line)
        assert words[0] == "clipx" and "skimage:" not in line
        for word in " ".join(words[1:]).replace("@", "").split(" "):
            if Path(word).suffix in (".png", ".jpg", ".off", ".ply", ".flac", ".txt", ".index"):
                assert Path(word).exists(), line
    searches = [line for line in commands if line.startswith("clipx search")]
    printed = io.StringIO()
    monkeypatch.setattr("sys.stdout", printed)
    assert main([*shlex.split(searches[-1])[1:], "--json"]) == 0 and json.loads(printed.getvalue())["results"]


def test_the_script_makes_every_sample(tmp_path, monkeypatch):
    import importlib.util

    spec = importlib.util.spec_from_file_location("make_samples", SAMPLES / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    monkeypatch.setattr(make, "HERE", tmp_path)
    make.main()
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {path.name for path in SAMPLES.iterdir()} - {
        *("make.py", "demo.toml", "labels.txt", "drawings", "rooms", "__pycache__")
    }


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        ('title = "a"', "title, note, command, columns, rows"),
        ('title = "a"\nnote = ""\ncommand = ""\ncolumns = ["b"]\nrows = [["c"]]', "a file a column"),
    ],
)
def test_a_sheet_that_is_none_is_one_line(sheet, message, tmp_path, capsys):
    sample = '[[sample]]\nfile = "fish.png"\nkind = "drawing"\nalt = "A fish"\n'
    (tmp_path / "demo.toml").write_text(f"{sample}[[sheet]]\n{sheet}\n")
    (tmp_path / "labels.txt").write_text("fish\n")
    assert main(["demo", "--samples", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


CHECK = """<script>
window.onload = () => document.body.setAttribute("data-check",
  [...document.images].map(i => i.naturalWidth > 0 ? 1 : 0).join("") + ":" + document.documentElement.scrollWidth)
</script>"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
@pytest.mark.parametrize("width", [360, 1200])
def test_a_browser_shows_it_without_complaint(demo, tmp_path, width):
    record, out = demo
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    page = tmp_path / "page.html"  # the same page, with a script that counts its pictures
    page.write_text(policy.sub("", (out / "index.html").read_text()).replace("</body>", CHECK + "</body>"))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--hide-scrollbars"]

    def browse(path):
        done = subprocess.run(
            ["chromium", *flags, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert "CONSOLE" not in done.stderr
        return done.stdout

    assert browse(out / "index.html").count("<article>") == len(record["results"])
    loaded, across = re.search(r'data-check="(\d+):(\d+)"', browse(page)).groups()
    assert loaded == "1" * PICTURES
    assert int(across) <= max(width, 500)  # nothing to scroll sideways; headless windows are at least 500 wide
