"""The tools that agents get: what they answer, what they refuse, and that nothing else is read, written or printed."""

import asyncio
import base64
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from indexed import picture
from mcp import Client, StdioServerParameters
from PIL import Image

import clipx
from clipx.mcp_server import LIKELY, server

PARAMETERS = {
    "search": ["text", "path", "terms", "k", "modality", "min_confidence"],
    "describe": ["path", "k"],
    "classify": ["path", "labels"],
    "thumbnail": ["path"],
    "stats": [],
}
HIT = ["path", "modality", "score", "confidence", "e_value", "cosine", "words", "start_s", "end_s", "missing"]
ANSWERS = {
    "search": ["hits", "likely", "reading"],
    "describe": ["path", "modality", "words"],
    "classify": ["path", "modality", "predictions"],
    "stats": ["files", "rows", "modalities", "space", "folders"],
}
REFUSED = (
    "{}: is not a file of the index, nor of a folder that may be read; give a path that search returned, or of a file "
    "in a folder that stats lists"
)


@pytest.fixture(scope="module")
def place(space_folder, tmp_path_factory):
    """indexed/ with an index of it, a folder that may be read, and one that must not be."""
    root = tmp_path_factory.mktemp("mcp")
    for number, name in enumerate(["indexed/a.png", "indexed/b.png", "indexed/sub/c.png"]):
        picture(root / name, number)
    np.savetxt(root / "indexed" / "cloud.xyz", np.random.default_rng(0).normal(size=(64, 3)))
    with clipx.Index.create(root / "my.index", str(space_folder)) as index:
        index.add([root / "indexed"])
    picture(root / "named" / "new.png", 7)
    picture(root / "named" / "deep" / "er.png", 8)
    (root / "named" / "half.png").write_bytes((root / "named" / "new.png").read_bytes()[:60])
    (root / "named" / "notes.doc").write_text("no modality reads this")
    picture(root / "secret" / "secret.png", 9)
    picture(root / "named-too" / "x.png", 9)  # whose name begins as that of a folder that may be read
    (root / "named" / "out.png").symlink_to(root / "secret" / "secret.png")
    (root / "named" / "outside").symlink_to(root / "secret")
    (root / "named" / "within.png").symlink_to(root / "named" / "new.png")
    return root


@pytest.fixture(scope="module")
def index(place):
    with clipx.Index.open(place / "my.index") as opened:
        yield opened


@pytest.fixture
def call(place, index):
    """Call a tool; returns the result of the protocol."""

    def run(tool, arguments=None, folders=None):
        async def ask():
            made = server(lambda: index, [place / "named"] if folders is None else folders)
            async with Client(made) as client:
                return await client.call_tool(tool, arguments or {})

        return asyncio.run(ask())

    return run


@pytest.fixture
def answer(call):
    """Call a tool that must answer; returns its structured content."""

    def run(tool, arguments=None, folders=None):
        result = call(tool, arguments, folders)
        assert not result.is_error, result.content
        assert json.loads(result.content[0].text) == result.structured_content
        return result.structured_content

    return run


@pytest.fixture
def refusal(call):
    """Call a tool that must refuse; returns its one line."""

    def run(tool, arguments, folders=None):
        result = call(tool, arguments, folders)
        assert result.is_error and result.structured_content is None
        (content,) = result.content
        assert "\n" not in content.text and "Traceback" not in content.text
        return content.text

    return run


# What a client is shown -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shown():
    """What a client is shown before any tool is called, which opens no index: the client, and its tools by name."""

    async def ask():
        async with Client(server(lambda: pytest.fail("the index was opened"))) as client:
            return client.server_info, client.instructions, (await client.list_tools()).tools

    info, instructions, tools = asyncio.run(ask())
    return info, instructions, {tool.name: tool for tool in tools}


def test_parameters_and_answers_are_those_that_agents_know(shown):
    tools = shown[2]
    assert {name: list(tool.input_schema.get("properties", {})) for name, tool in tools.items()} == PARAMETERS
    answers = {name: list(tool.output_schema["properties"]) for name, tool in tools.items() if tool.output_schema}
    assert answers == ANSWERS
    assert list(tools["search"].output_schema["$defs"]["Match"]["properties"]) == HIT
    assert list(tools["search"].input_schema["$defs"]["QueryTerm"]["properties"]) == ["text", "path", "weight"]
    required = {name: tool.input_schema["required"] for name, tool in tools.items() if "required" in tool.input_schema}
    assert required == {"describe": ["path"], "classify": ["path", "labels"], "thumbnail": ["path"]}


def test_every_tool_is_annotated_as_reading_only(shown):
    for tool in shown[2].values():
        about = tool.annotations
        assert (about.read_only_hint, about.idempotent_hint) == (True, True)
        assert (about.destructive_hint, about.open_world_hint) == (False, False)
        assert about.title and tool.description
        for name, about in tool.input_schema.get("properties", {}).items():
            assert about.get("description"), f"{tool.name}: {name}"


def test_the_server_says_what_it_is_for(shown):
    info, instructions, _ = shown
    assert (info.name, info.version) == ("clipx", clipx.__version__)
    assert "confidence" in instructions and "likely" in instructions and "written" in instructions


# search ---------------------------------------------------------------------------------------------------------------


def test_search_by_words_agrees_with_python(answer, index):
    found = answer("search", {"text": "a photo of a cat", "k": 3})
    wanted = index.search("a photo of a cat", 3)
    assert [list(hit) for hit in found["hits"]] == [HIT] * 3
    assert [hit["path"] for hit in found["hits"]] == [hit.path for hit in wanted]
    for name in ("score", "confidence", "cosine"):
        assert [hit[name] for hit in found["hits"]] == pytest.approx([getattr(hit, name) for hit in wanted], abs=1e-4)
    assert [hit["words"] for hit in found["hits"]] == [list(hit.words) for hit in wanted]
    assert [hit["e_value"] for hit in found["hits"]] == pytest.approx([hit.e_value for hit in wanted], rel=1e-2)


def test_a_file_of_the_index_finds_itself_by_its_stored_vector(answer, place, monkeypatch):
    monkeypatch.setattr("clipx.mcp_server._encode", lambda *_: pytest.fail("the file was read"))
    path = str(place / "indexed" / "a.png")
    found = answer("search", {"path": path, "k": 1})
    assert found["hits"][0]["path"] == path and found["hits"][0]["cosine"] == pytest.approx(1, abs=1e-3)


def test_sums_add_what_is_given_and_take_away_what_weighs_less_than_nothing(answer, place, index):
    from clipx.index.query import Term

    path = place / "indexed" / "a.png"
    terms = [{"text": "cup", "weight": 0.5}, {"path": str(path), "weight": -0.25}]
    found = answer("search", {"text": "chair", "terms": terms, "k": 4})
    wanted = index.search([Term("chair"), Term("cup", 0.5), Term(index.embedding_of(path), -0.25)], 4)
    assert [(hit["path"], hit["cosine"]) for hit in found["hits"]] == [(h.path, round(h.cosine, 4)) for h in wanted]
    assert answer("search", {"terms": [{"text": "chair"}]}) == answer("search", {"text": "chair"})


def test_filters(answer):
    clouds = answer("search", {"text": "cat", "modality": "pointcloud"})["hits"]
    assert [hit["modality"] for hit in clouds] == ["pointcloud"]
    assert len(answer("search", {"text": "cat", "k": 2})["hits"]) == 2


def test_an_answer_says_whether_anything_matches(answer, place):
    certain = answer("search", {"path": str(place / "indexed" / "a.png")})
    assert certain["likely"] and certain["hits"][0]["confidence"] >= LIKELY
    assert "likely what was asked for" in certain["reading"]
    unlikely = answer("search", {"text": "chair"})
    assert not unlikely["likely"] and all(hit["confidence"] < LIKELY for hit in unlikely["hits"])
    assert unlikely["reading"].startswith("Nothing here matches")
    nothing = answer("search", {"text": "chair", "min_confidence": 1})
    assert nothing["hits"] == [] and not nothing["likely"] and nothing["reading"].startswith("Nothing here matches")


def test_words_are_never_a_path(answer, place, monkeypatch):
    """A text that is the name of a file, or arithmetic, is words all the same."""
    monkeypatch.chdir(place / "named")
    shutil.copy("new.png", "cat")
    try:
        monkeypatch.setattr("clipx.pipeline.FileItem.load", lambda *_: pytest.fail("a file was read"))
        assert answer("search", {"text": "cat"}) == answer("search", {"terms": [{"text": "cat"}]})
        assert answer("search", {"text": "cat"})["hits"]
    finally:
        os.unlink("cat")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({}, "the query is empty; give text, path or terms"),
        ({"text": "  "}, "query: a term has no text; write what to look for"),
        ({"terms": [{}]}, "terms: a term is either a text or a path; give one of them"),
        ({"terms": [{"text": "cat", "path": "a.png"}]}, "terms: a term is either a text or a path; give one of them"),
        ({"terms": [{"text": "cat", "weight": -1}]}, "query: every term is taken away; begin with what to look for"),
        ({"text": "cat", "terms": [{"text": "cat", "weight": -1}]}, "query: the terms cancel each other out"),
        ({"text": "cat", "k": 0}, "k: Input should be greater than or equal to 1"),
        ({"text": "cat", "k": 101}, "k: Input should be less than or equal to 100"),
        ({"text": "cat", "min_confidence": 2}, "min_confidence: Input should be less than or equal to 1"),
        ({"text": 7}, "text: Input should be a valid string"),
        ({"text": "cat", "terms": [{"words": "x"}]}, "terms.0.words: Extra inputs are not permitted"),
        (
            {"text": "cat", "kind": "image"},
            "search has no parameter 'kind'; known: text, path, terms, k, modality, min_confidence",
        ),
        (
            {"text": "cat", "modality": "smell"},
            "no file of modality 'smell' in the index; it holds: image, pointcloud",
        ),
    ],
)
def test_a_search_that_cannot_be_is_refused_in_one_line(refusal, arguments, line):
    assert refusal("search", arguments) == line


def test_a_word_that_the_space_never_saw_is_refused(refusal):
    line = refusal("search", {"text": "a xylophone"})
    assert "xylophone" in line and "\n" not in line
    assert "xylophone" in refusal("classify", {"path": "new.png", "labels": ["cat", "xylophone"]})


# The other tools ------------------------------------------------------------------------------------------------------


def test_describe_names_the_nearest_words(answer, place, index):
    path = str(place / "indexed" / "b.png")
    found = answer("describe", {"path": path, "k": 4})
    wanted = index.describe(index.embedding_of(path), 4)
    assert (found["path"], found["modality"]) == (path, "image")
    assert [(word["word"], word["cosine"]) for word in found["words"]] == [(w, round(c, 4)) for w, c in wanted]


def test_a_file_of_a_named_folder_is_encoded_as_the_index_is(answer, place, index):
    found = answer("describe", {"path": str(place / "named" / "new.png"), "k": 4})
    wanted = index.describe(place / "named" / "new.png", 4)
    assert [word["word"] for word in found["words"]] == [word for word, _ in wanted]
    assert [word["cosine"] for word in found["words"]] == pytest.approx([cosine for _, cosine in wanted], abs=1e-4)


@pytest.mark.parametrize("path", ["indexed/a.png", "named/new.png", "indexed/cloud.xyz"])
def test_classify_agrees_with_python(answer, place, space_folder, path):
    found = answer("classify", {"path": str(place / path), "labels": ["chair", "table", "cup"]})
    wanted = clipx.classify(place / path, ["chair", "table", "cup"], space=str(space_folder))
    assert [one["label"] for one in found["predictions"]] == [one.label for one in wanted]
    for name in ("probability", "cosine"):
        seen = [one[name] for one in found["predictions"]]
        assert seen == pytest.approx([getattr(one, name) for one in wanted], abs=2e-3)


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        ([], "labels: List should have at least 1 item after validation, not 0"),
        (["cat", "Cat"], "label 'Cat' is given twice, as 'cat' before; keep one"),
        (["cat", " "], "label 1 is ' ', not a word; give every class a name"),
    ],
)
def test_labels_that_cannot_be_are_refused(refusal, labels, line):
    assert refusal("classify", {"path": "new.png", "labels": labels}).startswith(line)


@pytest.mark.parametrize("path", ["indexed/a.png", "indexed/cloud.xyz", "named/new.png"])
def test_thumbnail_is_a_picture(call, place, path):
    (content,) = call("thumbnail", {"path": str(place / path)}).content
    assert (content.type, content.mime_type) == ("image", "image/jpeg")
    with Image.open(io.BytesIO(base64.b64decode(content.data))) as image:
        assert image.format == "JPEG" and 16 <= max(image.size) <= 256


def test_an_index_without_thumbnails_says_so(place, space_folder, tmp_path):
    with clipx.Index.create(tmp_path / "bare.index", str(space_folder)) as bare:
        bare.add([place / "indexed"], thumbnails=False)

        async def ask():
            async with Client(server(lambda: bare)) as client:
                return await client.call_tool("thumbnail", {"path": str(place / "indexed" / "a.png")})

        result = asyncio.run(ask())
    assert result.is_error and result.content[0].text.endswith("a.png: there is no picture of this file")


def test_stats_say_what_is_there_and_what_may_be_read(answer, place):
    assert answer("stats") == {
        "files": 4,
        "rows": 4,
        "modalities": {"image": 3, "pointcloud": 1},
        "space": "tiny",
        "folders": [str(place / "named")],
    }


# Paths ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["new.png", "./new.png", "deep/er.png", "deep/../new.png", "within.png"])
def test_relative_paths_are_those_of_the_named_folders(answer, place, monkeypatch, path):
    monkeypatch.chdir(place / "secret")
    assert answer("describe", {"path": path})["path"].startswith(str(place / "named"))


def test_the_first_of_the_named_folders_that_has_it_wins(answer, place):
    folders = [place / "named-too", place / "named"]
    assert answer("describe", {"path": "x.png"}, folders)["path"] == str(place / "named-too" / "x.png")
    assert answer("describe", {"path": "new.png"}, folders)["path"] == str(place / "named" / "new.png")


def test_a_link_to_a_folder_that_is_named_may_be_followed(answer, place):
    folder = place / "named" / "outside"  # the user named what it leads to
    assert answer("describe", {"path": "secret.png"}, [folder])["path"] == str(place / "secret" / "secret.png")


OUTSIDE = [
    "{root}/secret/secret.png",  # it is there
    "{root}/secret/nothing.png",  # it is not
    "{root}/named/../secret/secret.png",
    "../secret/secret.png",
    "deep/../../secret/secret.png",
    "out.png",  # a link out of the folder
    "outside/secret.png",  # in a folder that is a link
    "{root}/named/outside/../secret/secret.png",
    "{root}/named-too/x.png",
    "{root}/named/nothing.png",  # nothing of that name, in a folder that may be read
    "{root}/named",  # a folder
    "{root}/named/deep",
    "",
    ".",
    "/etc/passwd",
    "/dev/zero",
    "~/.ssh/id_rsa",
    "https://example.com/a.png",
    "s3://bucket/a.png",
    "https://user:password@example.com/a.png",
    "file:///etc/passwd",
    "file://{root}/secret/secret.png",
    "a\0b.png",
    "new.png\0",
    "\ud800.png",
    "x" * 5000,
    "' or '1'='1",
    "line\nbreak.png",
]


@pytest.mark.parametrize("path", OUTSIDE, ids=[str(number) for number in range(len(OUTSIDE))])
def test_what_is_outside_is_refused_alike_whether_it_exists_or_not(refusal, place, monkeypatch, path):
    monkeypatch.chdir(place / "secret")
    monkeypatch.setattr("clipx.mcp_server._encode", lambda *_: pytest.fail("a file was read"))
    monkeypatch.setattr("clipx.index.remote.look_up", lambda *_: pytest.fail("a URL was asked for"))
    path = path.format(root=place)
    shown = (path if len(path) <= 200 else f"{path[:200]}...") or "''"
    line = REFUSED.format(" ".join(shown.encode(errors="backslashreplace").decode().split()))
    for tool, arguments in {
        "describe": {"path": path},
        "classify": {"path": path, "labels": ["cat"]},
        "thumbnail": {"path": path},
        "search": {"terms": [{"text": "cat"}, {"path": path}]},
    }.items():
        if tool == "search" and not path:
            continue  # a term without a path
        assert refusal(tool, arguments) == line


def test_without_folders_only_the_index_is_read(answer, refusal, place):
    assert answer("describe", {"path": str(place / "indexed" / "a.png")}, [])["modality"] == "image"
    for path in (str(place / "named" / "new.png"), "new.png", "a.png"):
        assert refusal("describe", {"path": path}, []) == REFUSED.format(path)


def test_a_file_of_the_index_is_not_read_again(answer, place, index, tmp_path, monkeypatch):
    """What stands at its path by now, such as a link to something else, is nobody's business."""
    file = place / "indexed" / "sub" / "c.png"
    before = answer("describe", {"path": str(file)})
    monkeypatch.setattr("clipx.pipeline.FileItem.load", lambda *_: pytest.fail("a file was read"))
    file.rename(tmp_path / "c.png")
    file.symlink_to(place / "secret" / "secret.png")
    try:
        assert answer("describe", {"path": str(file)}) == before
        assert answer("search", {"path": str(file), "k": 1})["hits"][0]["path"] == str(file)
        assert answer("classify", {"path": str(file), "labels": ["cat", "cup"]})["path"] == str(file)
    finally:
        file.unlink()
        (tmp_path / "c.png").rename(file)


def test_a_url_of_the_index_is_answered_from_what_is_stored(space_folder, place, tmp_path, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe("/mcp/a.png", (place / "indexed" / "a.png").read_bytes())
    with clipx.Index.create(tmp_path / "url.index", str(space_folder)) as index:
        index.add(["memory://mcp"])
        monkeypatch.setattr("clipx.index.remote.fetch", lambda *_: pytest.fail("a URL was fetched"))

        async def ask():
            async with Client(server(lambda: index)) as client:
                url = {"path": "memory://mcp/a.png"}
                calls = {"describe": url, "thumbnail": url, "search": url, "classify": url | {"labels": ["cat"]}}
                return [await client.call_tool(tool, arguments) for tool, arguments in calls.items()]

        results = asyncio.run(ask())
    assert not any(result.is_error for result in results)


def test_files_that_cannot_be_read_are_one_line(refusal):
    assert "half.png" in refusal("describe", {"path": "half.png"})
    assert "half.png" in refusal("thumbnail", {"path": "half.png"})
    assert "no modality reads .doc" in refusal("describe", {"path": "notes.doc"})


def test_a_fault_of_clipx_says_nothing_of_itself(call, monkeypatch):
    def fault(*_, **__):
        raise RuntimeError("a path: /home/me/secret")

    monkeypatch.setattr("clipx.index.Index.describe", fault)
    (content,) = call("describe", {"path": "new.png"}).content
    assert content.text == "Error executing tool describe"


def test_nothing_is_written(call, place):
    def files():
        return {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}

    before = files()
    path = str(place / "named" / "new.png")
    for tool, arguments in {
        "search": {"path": path, "text": "cat"},
        "describe": {"path": path},
        "classify": {"path": path, "labels": ["cat"]},
        "thumbnail": {"path": path},
        "stats": {},
    }.items():
        assert not call(tool, arguments).is_error
    assert files() == before


def test_calls_at_once_are_answered_each(place):
    async def ask():
        opened = []

        def open_index():
            time.sleep(0.05)  # long enough for another call to begin
            opened.append(clipx.Index.open(place / "my.index"))
            return opened[-1]

        async with Client(server(open_index)) as client:
            calls = [client.call_tool("search", {"text": word}) for word in ["cat", "chair", "cup", "table"] * 3]
            return opened, await asyncio.gather(*calls)

    opened, results = asyncio.run(ask())
    assert len(opened) == 1 and not any(result.is_error for result in results)
    assert [r.structured_content for r in results[:4]] == [r.structured_content for r in results[4:8]]


# The command ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mcp --db no.index", "error: no.index: no such index; make one: clipx index FOLDER --db NAME\n"),
        ("mcp --db {root}/my.index no-folder", "error: no-folder: is not a folder\n"),
        ("mcp --db {root}/my.index photo.png", "error: photo.png: is not a folder\n"),
        ("mcp --db {root}/my.index s3://bucket/a", "error: s3://bucket/a: is a URL; index it; files of the index may"),
    ],
)
def test_a_server_that_cannot_start_says_why(run, place, line, message):
    status, out, err = run(line.format(root=place))
    assert (status, out) == (2, "") and err.startswith(message)


def test_without_the_package_the_remedy_is_named(run, place, monkeypatch):
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    monkeypatch.delitem(sys.modules, "clipx.mcp_server")
    monkeypatch.delattr(clipx, "mcp_server", raising=False)
    status, out, err = run(f"mcp --db {place}/my.index")
    assert (status, out) == (2, "")
    assert err == "error: clipx mcp needs the package mcp, version 2; pip install 'clipx-modalities[mcp]'\n"


def test_help_has_an_example(run):
    status, out, _ = run("mcp --help")
    assert status == 0 and "Example: clipx mcp photos --db my.index" in " ".join(out.split())


def test_a_client_that_starts_it_gets_answers(place):
    """By the SDK's own client, in a process of its own, from a folder that has nothing to do with it."""
    line = ["-m", "clipx", "mcp", str(place / "named"), "--db", str(place / "my.index")]

    async def ask():
        async with Client(StdioServerParameters(command=sys.executable, args=line, cwd=place / "secret")) as client:
            assert len((await client.list_tools()).tools) == len(PARAMETERS)
            found = await client.call_tool("search", {"text": "cat", "path": "new.png"})
            refused = await client.call_tool("thumbnail", {"path": "secret.png"})
            return found, refused

    found, refused = asyncio.run(ask())
    assert len(found.structured_content["hits"]) == 4
    assert refused.is_error and refused.content[0].text == REFUSED.format("secret.png")


INITIALIZE = {
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}},
}


class Process:
    """The command in a process, spoken to by lines of JSON."""

    def __init__(self, *line):
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "clipx", "mcp", *map(str, line)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.ask(1, **INITIALIZE)
        self.send(method="notifications/initialized")

    def send(self, **message):
        self.popen.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.popen.stdin.flush()

    def ask(self, number, **message):
        """Send a request; the next line on stdout must be its answer, and nothing else."""
        self.send(id=number, **message)
        record = json.loads(self.popen.stdout.readline())
        assert (record["jsonrpc"], record["id"]) == ("2.0", number)
        return record["result"]

    def end(self):
        """What is left on stdout, stderr, and the exit status."""
        out, err = self.popen.communicate(timeout=60)
        return out, err, self.popen.returncode


def test_stdout_belongs_to_the_protocol_and_the_end_of_input_ends_it(place):
    process = Process("--db", place / "my.index")
    found = process.ask(2, method="tools/call", params={"name": "search", "arguments": {"text": "cat"}})
    assert found["structuredContent"]["hits"] and not found["isError"]
    refused = process.ask(3, method="tools/call", params={"name": "search", "arguments": {"text": "xylophone"}})
    assert refused["isError"]
    assert process.end() == (b"", b"", 0)  # communicate closes its stdin


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
def test_ctrl_c_ends_it_quietly(place):
    process = Process("--db", place / "my.index")
    process.popen.send_signal(signal.SIGINT)
    assert process.popen.wait(timeout=10) == 130  # while it waits for input, which stays open
    assert process.end() == (b"", b"", 130)


def test_a_client_that_is_gone_ends_it_quietly(place):
    process = Process("--db", place / "my.index")
    process.popen.stdout.close()
    process.send(id=2, method="tools/list")
    process.popen.stdin.close()
    assert process.popen.wait(timeout=30) == 0
    assert process.popen.stderr.read() == b""
    process.popen.stderr.close()
