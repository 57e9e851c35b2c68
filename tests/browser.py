"""The page in a headless browser, on a small index with every kind of file.

A test module names this one in ``pytest_plugins``, and its tests take ``open_page``.
"""

import re
import shutil
from contextlib import ExitStack

import numpy as np
import pytest
from conftest import DEPTH_WORDS, WORDS, save_space
from served import listening, make_files

import clipx
import clipx.serve
from clipx.index import Index

FLAGS = ["--no-sandbox", "--disable-gpu", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
FLAGS += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]  # a microphone that beeps
RATE = 16_000


@pytest.fixture(scope="module")
def chromium():
    """A browser. It lives as long as a module: while it does, no other event loop runs in this thread."""
    playwright = pytest.importorskip("playwright.sync_api")
    pytest.importorskip("uvicorn")
    path = shutil.which("chromium") or pytest.skip("there is no chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site_files(tmp_path_factory):
    """A folder of pictures, a cloud, a mesh, a drawing, and a sound of 12 s."""
    folder = make_files(tmp_path_factory.mktemp("site"))
    soundfile = pytest.importorskip("soundfile")
    time_s = np.arange(12 * RATE) / RATE
    soundfile.write(folder / "long.wav", 0.3 * np.sin(3000 * time_s) * (time_s > 6), RATE)
    return folder


@pytest.fixture(scope="session")
def site_space(spread_space, tmp_path_factory):
    """A tiny random space that also knows the words by which depth is read."""
    return save_space(spread_space, tmp_path_factory.mktemp("site_space") / "tiny", [*WORDS, *DEPTH_WORDS])


@pytest.fixture(scope="session")
def site_db(tmp_path_factory, site_files, site_space):
    """An index of them; sounds are encoded by an untrained tower."""
    from clipx.modalities.audio.towers import new_tower, save_tower

    folder, space = tmp_path_factory.mktemp("site_db"), clipx.load_space(site_space)
    save_tower(new_tower("logmel", space.dim), folder / "tower", space, 5.0, {})
    with Index.create(folder / "my.index", space, str(site_space)) as index:
        did = index.add([site_files], settings={"audio": {"tower": folder / "tower"}})
        assert not did.failures
    return folder / "my.index"


@pytest.fixture(scope="module")
def site(site_db, site_files):
    """The address of a server of that index."""
    with listening(lambda token: clipx.serve.app(site_db, token=token, folders=[site_files])) as server:
        yield server.address


class Watched:
    """What a browser's pages say and ask for.

    Args:
        origin: what every address must begin with.
    """

    def __init__(self, origin):
        self.origin, self.faults, self.allowed = origin, [], []

    def watch(self, page):
        """Listen to a page."""
        page.on("console", lambda message: message.type == "error" and self.faults.append(message.text))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", lambda request: self._asked(request.url))

    def allow(self, pattern):
        """Expect console errors that match, such as that of a request which is refused."""
        self.allowed.append(pattern)

    def check(self):
        """Fail on whatever was not expected."""
        assert [one for one in self.faults if not any(re.search(known, one) for known in self.allowed)] == []

    def _asked(self, url):
        if not url.startswith((self.origin, "blob:", "data:")):
            self.faults.append(f"a request left the page: {url}")


@pytest.fixture
def open_page(chromium, request):
    """Open the page in a window of its own.

    Called with an address (by default that of ``site``), the size and the system's theme. The page has ``watched``,
    which fails the test at its end on any console error and on any request to another origin.
    """
    with ExitStack() as stack:
        seen = []

        def call(address=None, width=1280, height=800, theme="light", **options):
            address = address or request.getfixturevalue("site")
            options |= {"viewport": {"width": width, "height": height}, "color_scheme": theme}
            context = chromium.new_context(reduced_motion="reduce", **options)
            stack.callback(context.close)
            context.set_default_timeout(15_000)
            page, watched = context.new_page(), Watched("/".join(address.split("/")[:4]))
            watched.watch(page)
            seen.append(watched)
            page.watched = watched
            page.goto(address)
            return page

        yield call
        for watched in seen:
            watched.check()
