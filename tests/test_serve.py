"""The page's server: what its API answers, whom it refuses, and that one slow client does not stop the others."""

import contextlib
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from served import EXAMPLES, listening, make_files, make_index

import clipx
import clipx.serve
from clipx.errors import FileError, InputError
from clipx.index import Index
from clipx.index.query import Term
from clipx.serve.panel import Download, Panel
from clipx.serve.security import Guard

pytest.importorskip("uvicorn")
testclient = pytest.importorskip("starlette.testclient")
BASE = "http://127.0.0.1"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def db(tmp_path_factory, files, space_folder):
    return make_index(tmp_path_factory.mktemp("db") / "my.index", files, space_folder)


class Counting(Panel):
    """A panel whose jobs count until they are stopped."""

    name, title, needs_file = "counting", "Count", False
    assets: ClassVar[Path] = EXAMPLES
    go: ClassVar[threading.Event]

    def run(self, path, settings, events):
        if settings.get("bad"):
            raise InputError("that is no number", where="count")
        for i in range(settings.get("to", 3)):
            events.progress(i + 1, settings.get("to", 3), "counted")
            events.partial({"at": i})
            if settings.get("wait"):
                while not events.stop() and not self.go.wait(0.01):
                    pass
            if events.stop():
                break
        return i + 1

    def summary(self, result):
        return {"counted": result, "file": None}

    def download(self, result, name, options):
        if name != "count.txt":
            raise InputError(f"no file {name!r}", where="download")
        return Download("count.txt", "text/plain", (options.get("sign", "") + str(result)).encode())


@pytest.fixture
def panels(monkeypatch):
    Counting.go = threading.Event()
    monkeypatch.setattr("clipx.serve.routes.get_panels", lambda: {"counting": Counting})


@pytest.fixture
def client(db, panels):
    with testclient.TestClient(clipx.serve.app(db, token="secret"), f"{BASE}/secret") as client:
        yield client


def search(client, terms, root="", **more):
    """The hits of a search and its last record."""
    answer = client.post(f"{root}api/v1/search", json={"terms": terms, **more})
    assert answer.status_code == 200, answer.text
    first, *hits, last = map(json.loads, answer.text.splitlines())
    assert first["event"] == "query" and last["event"] == "end" and last["count"] == len(hits)
    assert [hit["rank"] for hit in hits] == list(range(1, len(hits) + 1))
    return hits, last


def about_of(client):
    """What the server offers, once the space is loaded."""
    about = client.get("api/v1/about").json()
    while not about["ready"]:
        about = client.get("api/v1/about").json()
    return about


def send(client, path, name=None):
    answer = client.post("api/v1/uploads", content=Path(path).read_bytes(), headers={"X-Filename": name or path.name})
    assert answer.status_code == 200, answer.text
    return answer.json()


def uploads_of(client):
    """The folder of the uploads."""
    return client.app.app.state.service.uploads.folder


def refused(answer, status, words):
    assert answer.status_code == status and words in answer.json()["error"], (answer.status_code, answer.text)
    assert "\n" not in answer.json()["error"] and set(answer.json()) == {"error"}


# Search ---------------------------------------------------------------------------------------------------------------


def test_what_it_offers(client, files):
    about = about_of(client)
    assert about["index"] == {"name": "my.index", "files": 9, "modalities": {"image": 6, "pointcloud": 2, "sketch": 1}}
    assert about["space"]["name"] == "tiny" and about["version"] == clipx.__version__
    assert {folder["path"]: folder["files"] for folder in about["folders"]} == {
        str(files): 9,
        str(files / "holiday"): 3,
        str(files / "home"): 3,
    }
    assert about["panels"] == [{"name": "counting", "title": "Count", "script": "panels/counting/panel.js"}]
    assert {"image", "audio", "pointcloud", "sketch"} <= {one["name"] for one in about["modalities"]}
    assert str(files) not in json.dumps([about["index"], about["space"], [f["id"] for f in about["folders"]]])


def test_hits_are_those_of_the_index(client, db):
    hits, last = search(client, [{"text": "a photo of a cat"}, {"text": "night", "weight": -0.5}], k=7)
    expected = Index.open(db).search([Term("a photo of a cat"), Term("night", -0.5)], 7)
    assert [(h["folder"] + "/" + h["name"], h["modality"], h["words"]) for h in hits] == [
        (e.path, e.modality, list(e.words)) for e in expected
    ]
    for name in ("score", "confidence", "e_value", "cosine"):
        assert [h[name] for h in hits] == pytest.approx([getattr(e, name) for e in expected], rel=1e-4)
    assert last["likely"] == any(e.confidence >= 0.5 for e in expected)


def test_more_like_a_hit_and_sums_with_it(client, db, files):
    hits, _ = search(client, [{"text": "cat"}], k=20)
    own = next(hit for hit in hits if hit["name"] == "p3.png")
    found, _ = search(client, [{"file": own["file"]}])
    assert found[0]["name"] == "p3.png" and found[0]["cosine"] == pytest.approx(1, abs=1e-4)
    mixed, _ = search(client, [{"file": own["file"]}, {"text": "cat", "weight": -2.0}])
    index = Index.open(db)
    expected = index.search([Term(index.embedding_of(files / "holiday/p3.png")), Term("cat", -2.0)])
    assert [hit["name"] for hit in mixed] == [Path(e.path).name for e in expected]
    assert [hit["name"] for hit in mixed] != [hit["name"] for hit in found]


def test_filters_are_by_kind_folder_and_day(client, files):
    folders = {one["name"]: one["id"] for one in about_of(client)["folders"]}
    query = [{"text": "cat"}]
    assert {h["modality"] for h in search(client, query, modalities=["pointcloud", "sketch"])[0]} == {
        "pointcloud",
        "sketch",
    }
    assert search(client, query, modalities=[])[0] == []
    names = {h["name"] for h in search(client, query, folder=folders["holiday"], modalities=["image"])[0]}
    assert names == {"p1.png", "p3.png", "p5.png"}
    assert len(search(client, query, folder=folders[files.name])[0]) == 9  # and all below it
    day = search(client, query)[0][0]["date"]
    assert len(search(client, query, since=day, until=day)[0]) == 9
    assert search(client, query, until="2001-02-03")[0] == [] == search(client, query, since="2100-01-01")[0]
    for early, late in (("0001-01-01", "9999-12-31"), ("0202-01-31", "2600-01-01")):  # such as while a year is typed
        assert len(search(client, query, since=early, until=late)[0]) == 9
        assert search(client, query, since=late)[0] == [] == search(client, query, until=early)[0]


def test_days_are_whole_and_local(tmp_path, space_folder, panels):
    folder = make_files(tmp_path / "files")
    noon = time.mktime((2024, 2, 29, 12, 0, 0, 0, 0, -1))
    for name, at in (
        ("home/p0.png", noon - 12 * 3600),
        ("home/p2.png", noon + 12 * 3600 - 1),
        ("home/p4.png", noon + 12 * 3600),
    ):
        os.utime(folder / name, (at, at))
    db = make_index(tmp_path / "my.index", folder, space_folder)
    with testclient.TestClient(clipx.serve.app(db), BASE) as client:
        hits, _ = search(client, [{"text": "cat"}], since="2024-02-29", until="2024-02-29")
        assert {(hit["name"], hit["date"]) for hit in hits} == {("p0.png", "2024-02-29"), ("p2.png", "2024-02-29")}


def test_a_folder_with_a_quote_in_its_name_is_only_a_name(tmp_path, space_folder, panels):
    folder = make_files(tmp_path / "it's 100% _x' OR '1'='1")
    db = make_index(tmp_path / "my.index", folder, space_folder)
    with testclient.TestClient(clipx.serve.app(db), BASE) as client:
        ids = {one["path"]: one["id"] for one in about_of(client)["folders"]}
        assert len(search(client, [{"text": "cat"}], folder=ids[str(folder / "home")])[0]) == 3


def test_nothing_likely_is_said(client):
    hits, last = search(client, [{"text": "cat"}], min_confidence=0.999999)
    assert hits == [] and last["likely"] is False


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 422, "terms"),
        ({"terms": []}, 422, "terms"),
        ({"terms": [{}]}, 400, "a text or a file"),
        ({"terms": [{"text": "cat", "file": "x"}]}, 400, "a text or a file"),
        ({"terms": [{"text": "  "}]}, 400, "no text"),
        ({"terms": [{"text": "x" * 1001}]}, 422, "at most 1000"),
        ({"terms": [{"text": "cat"}] * 17}, 422, "16"),
        ({"terms": [{"text": "cat", "weight": 0}]}, 400, "other than 0"),
        ({"terms": [{"text": "cat", "weight": 1e9}]}, 422, "100"),
        ({"terms": [{"text": "cat", "weight": -1}]}, 400, "taken away"),
        ({"terms": [{"text": "cat"}, {"text": "cat", "weight": -1}]}, 400, "cancel each other out"),
        ({"terms": [{"text": "xylophone"}]}, 400, "never saw"),
        ({"terms": [{"file": "/etc/passwd"}]}, 404, "search again"),
        ({"terms": [{"file": "u.x"}]}, 404, "drop it again"),
        ({"terms": [{"text": "cat"}], "k": 0}, 422, "k"),
        ({"terms": [{"text": "cat"}], "k": 501}, 422, "k"),
        ({"terms": [{"text": "cat"}], "folder": "../.."}, 404, "search again"),
        ({"terms": [{"text": "cat"}], "since": "yesterday"}, 422, "since"),
        ({"terms": [{"text": "cat"}], "sql": "1=1"}, 422, "Extra inputs"),
        ({"terms": [{"text": "cat"}], "path": "/etc/passwd"}, 422, "Extra inputs"),
    ],
)
def test_queries_that_are_refused(client, body, status, words):
    refused(client.post("api/v1/search", json=body), status, words)


def test_a_request_must_be_json(client):
    refused(client.post("api/v1/search", content=b"{", headers={"content-type": "application/json"}), 422, "JSON")
    refused(client.post("api/v1/search", content=b"{}", headers={"content-type": "text/plain"}), 415, "JSON")
    refused(client.post("api/v1/search", json={"terms": [{"text": "x" * 2**20}]}), 413, "too large")
    refused(client.get("api/v1/search"), 405, "no such method")
    refused(client.get("api/v1/nothing"), 404, "no such address")


# Files ----------------------------------------------------------------------------------------------------------------


def test_files_are_shown_by_what_they_are(client, files):
    hits = {hit["name"]: hit for hit in search(client, [{"text": "cat"}], k=20)[0]}
    small = client.get(f"api/v1/files/{hits['p0.png']['file']}/thumbnail")
    assert small.headers["content-type"] == "image/jpeg" and small.content[:2] == b"\xff\xd8"
    preview = client.get(f"api/v1/files/{hits['p0.png']['file']}/preview").json()
    assert (preview["kind"], preview["width"], preview["height"]) == ("picture", 32, 32)
    assert client.get(f"api/v1/{preview['url']}").content[:2] == b"\xff\xd8"
    drawing = client.get(f"api/v1/files/{hits['house.ndjson']['file']}/preview").json()
    assert drawing["kind"] == "picture" and client.get(f"api/v1/{drawing['url']}").status_code == 200
    words = client.get(f"api/v1/files/{hits['p0.png']['file']}/words?k=3").json()
    assert len(words) == 3 and words[0]["cosine"] >= words[1]["cosine"]
    refused(client.get(f"api/v1/files/{hits['p0.png']['file']}/words?k=0"), 400, "k must be")
    refused(client.get(f"api/v1/files/{hits['p0.png']['file']}/sound"), 404, "no sound")
    refused(client.get(f"api/v1/files/{hits['p0.png']['file']}/shape"), 404, "no shape")
    chair = client.get(f"api/v1/files/{hits['chair.off']['file']}/preview").json()
    assert chair["kind"] == "shape" and chair["triangles"] > 10
    data = client.get(f"api/v1/{chair['url']}").content
    mark, points, triangles, flags = struct.unpack_from("<4sIII", data)
    assert (mark, points, triangles, flags) == (b"CXS1", chair["points"], chair["triangles"], 0)
    at = np.frombuffer(data, "<f4", 3 * points, 16).reshape(-1, 3)
    assert np.linalg.norm(at, axis=1).max() == pytest.approx(1, abs=1e-5)
    corners = np.frombuffer(data, "<u4", 3 * triangles, 16 + 12 * points)
    assert corners.max() < points and len(data) == 16 + 12 * points + 12 * triangles
    import trimesh

    mesh = trimesh.load(files / "chair.off", process=False)
    sizes = np.ptp(mesh.vertices, axis=0)
    np.testing.assert_allclose(np.ptp(at, axis=0) / np.ptp(at, axis=0).max(), sizes / sizes.max(), atol=1e-4)


def test_a_large_photo_is_shown_smaller(client, tmp_path):
    Image.new("RGB", (4000, 1000), (200, 10, 10)).save(tmp_path / "wide.jpg")
    sent = send(client, tmp_path / "wide.jpg")
    assert (sent["preview"]["width"], sent["preview"]["height"]) == (1600, 400)


def test_what_is_gone_is_said_to_be_gone(tmp_path, space_folder, panels):
    folder = make_files(tmp_path / "files")
    db = make_index(tmp_path / "my.index", folder, space_folder)
    (folder / "home/p0.png").unlink()
    with testclient.TestClient(clipx.serve.app(db), BASE) as client:
        hit = next(h for h in search(client, [{"text": "cat"}], k=20)[0] if h["name"] == "p0.png")
        assert hit["missing"] and hit["date"] is None
        assert client.get(f"api/v1/files/{hit['file']}/thumbnail").status_code == 200  # the index has it
        assert "gone" in client.get(f"api/v1/files/{hit['file']}/preview").json()["reason"]
        refused(client.get(f"api/v1/files/{hit['file']}/picture"), 404, "gone")
        assert search(client, [{"file": hit["file"]}])[0][0]["name"] == "p0.png"  # by its stored vector


# Uploads --------------------------------------------------------------------------------------------------------------


def test_an_upload_is_searched_by_named_and_deleted(client, files, space_folder):
    sent = send(client, files / "home/p2.png", "holiday photo.png")
    assert (sent["name"], sent["modality"], sent["preview"]["kind"]) == ("holiday photo.png", "image", "picture")
    assert len(sent["words"]) == 5
    assert search(client, [{"file": sent["file"]}])[0][0]["name"] == "p2.png"
    named = client.post("api/v1/classify", json={"file": sent["file"], "labels": ["cat", "cup", "chair"]}).json()
    expected = clipx.classify(files / "home/p2.png", ["cat", "cup", "chair"], space=str(space_folder))
    assert [one["label"] for one in named["predictions"]] == [one.label for one in expected]
    assert client.delete(f"api/v1/uploads/{sent['file']}").status_code == 200
    refused(client.get(f"api/v1/files/{sent['file']}/preview"), 404, "drop it again")


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("chair.off", "chair.off"),
        ("chair.png", "chair.off"),  # the content decides
        ("fish.wav", "fish.png"),
        ("../../etc/fish.png", "fish.png"),
        ("fish", "fish.png"),
        ("", "fish.png"),
    ],
)
def test_an_upload_is_typed_by_its_content(client, name, typed):
    sent = send(client, EXAMPLES / typed, name or " ")
    assert sent["modality"] == ("pointcloud" if typed.endswith("off") else "image")
    assert "/" not in sent["name"]


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"", "empty.png", "is empty"),
        (b"\x7fELF" + bytes(100), "program.png", "not that of a .png"),
        (b"MZ" + bytes(100), "a.obj", "not that of"),
        (b"%PDF-1.7", "a.svg", "not that of"),
        (b"<html><script>alert(1)</script></html>", "a.svg", "no modality reads"),
        (b"\0\1\2\3" * 99, "noise.jpg", "not that of a .jpg"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "cut.png", "not a readable picture"),
        (b"some text", "notes.doc", "no modality reads"),
        (b"OFF\n1 1 0\n", "cut.off", "cut.off"),
    ],
)
def test_uploads_that_are_refused(client, content, name, words):
    refused(client.post("api/v1/uploads", content=content, headers={"X-Filename": name}), 400, words)
    assert list(uploads_of(client).iterdir()) == []


def test_an_upload_is_bounded(client, monkeypatch):
    big = b"\x89PNG\r\n\x1a\n" + bytes(50_000_001)
    refused(client.post("api/v1/uploads", content=big, headers={"X-Filename": "a.png"}), 413, "50,000,000")

    def chunks():
        for _ in range(51):
            yield bytes(1_000_000)

    refused(client.post("api/v1/uploads", content=chunks(), headers={"X-Filename": "a.png"}), 413, "50,000,000")
    assert list(uploads_of(client).iterdir()) == []


def test_few_uploads_are_kept_and_none_stays(db, files, panels):
    with testclient.TestClient(clipx.serve.app(db), BASE) as client:
        sent = [send(client, files / "home/p0.png", f"{i}.png")["file"] for i in range(18)]
        folder = uploads_of(client)
        assert len(list(folder.iterdir())) == 16
        refused(client.get(f"api/v1/files/{sent[1]}/preview"), 404, "drop it again")
        assert client.get(f"api/v1/files/{sent[2]}/preview").json()["kind"] == "picture"
    assert not folder.exists()


def test_a_sound_that_the_space_cannot_hear_is_refused(client):
    sent = client.post("api/v1/uploads", content=(EXAMPLES / "dog.flac").read_bytes(), headers={"X-Filename": "d.flac"})
    refused(sent, 400, "audio tower")


def test_a_sound_is_played_in_parts(tmp_path, space_folder, panels, monkeypatch):
    from clipx.modalities.audio.towers import new_tower, save_tower

    towers = tmp_path / "towers"
    space = clipx.load_space(space_folder)
    save_tower(new_tower("logmel", space.dim), towers / "tiny", space, 5.0, {})
    monkeypatch.setattr("clipx.modalities.audio.towers.SHIPPED", towers)
    with wave.open(str(tmp_path / "tone.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        t = np.arange(12 * 8000) / 8000
        file.writeframes((20000 * np.sin(3000 * t) * (t > 6)).astype("<i2").tobytes())
    with Index.create(tmp_path / "my.index", space, str(space_folder)) as index:
        assert index.add([tmp_path / "tone.wav"]).added == 1
    with testclient.TestClient(clipx.serve.app(tmp_path / "my.index"), BASE) as client:
        (hit,), _ = search(client, [{"text": "cat"}])
        preview = client.get(f"api/v1/files/{hit['file']}/preview").json()
        assert preview["kind"] == "sound" and preview["duration_s"] == 12
        assert (preview["start_s"], preview["end_s"]) == (hit["start_s"], hit["end_s"]) and hit["end_s"] is not None
        peaks = preview["peaks"]
        assert len(peaks) == 240 and max(peaks[:119]) == 0 and min(peaks[121:]) > 0.9
        part = client.get(f"api/v1/{preview['url']}", headers={"range": "bytes=44-143"})
        assert part.status_code == 206 and part.content == (tmp_path / "tone.wav").read_bytes()[44:144]
        for start in {0.0, 5.0} - {hit["start_s"]}:  # another window of it than that of the hit
            other, _ = search(client, [{"file": hit["file"], "start_s": start}])
            own, _ = search(client, [{"file": hit["file"]}])
            assert own[0]["cosine"] == pytest.approx(1, abs=1e-4) and own[0]["start_s"] == hit["start_s"]
            assert other[0]["cosine"] == pytest.approx(1, abs=1e-4) and other[0]["start_s"] == start


def test_a_film_is_shown_at_the_moment_and_played_from_it(tmp_path, space_folder, panels):
    pytest.importorskip("av")
    from films import grey, number, write_film
    from PIL import Image

    path = write_film(tmp_path / "a.mp4", [grey(0)] * 6 + [grey(35)] * 6, rate=1)
    with Index.create(tmp_path / "my.index", clipx.load_space(space_folder), str(space_folder)) as index:
        assert index.add([path], settings={"video": {"cut": "windows", "longest_s": 6.0}}).added == 1
    with testclient.TestClient(clipx.serve.app(tmp_path / "my.index"), BASE) as client:
        (hit,), _ = search(client, [{"text": "cat"}])
        seen = client.get(f"api/v1/files/{hit['file']}/thumbnail")
        shown = number(np.asarray(Image.open(io.BytesIO(seen.content))))
        assert (hit["start_s"], shown) in ((0.0, 0), (6.0, 35))
        preview = client.get(f"api/v1/files/{hit['file']}/preview").json()
        assert (preview["kind"], preview["start_s"], preview["end_s"]) == ("film", hit["start_s"], hit["end_s"])
        part = client.get(f"api/v1/{preview['url']}", headers={"range": "bytes=44-143"})
        assert part.status_code == 206 and part.content == path.read_bytes()[44:144]
        assert part.headers["content-type"] == "video/mp4"
        sent = client.post("api/v1/uploads", content=path.read_bytes(), headers={"X-Filename": "b.mov"}).json()
        assert sent["modality"] == "video" and sent["preview"]["kind"] == "film"


# Who may ask ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "api/v1/about", "index.html", "panels/counting/labels.txt"])
@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"host": "evil.example"}, "does not lead"),  # DNS rebinding
        ({"host": "evil.example:80"}, "does not lead"),
        ({"host": "127.0.0.1.evil.example"}, "does not lead"),
        ({"host": "localhost.evil.example"}, "does not lead"),
        ({"host": ""}, "does not lead"),
        ({"origin": "https://evil.example"}, "another site"),
        ({"origin": "null"}, "another site"),
        ({"origin": "http://[bad"}, "another site"),
        ({"origin": "http://127.0.0.1:9999"}, "another site"),
        ({"origin": "http://localhost"}, "another site"),
        ({"sec-fetch-site": "cross-site"}, "another site"),
        ({"sec-fetch-site": "same-site"}, "another site"),
    ],
)
def test_other_sites_are_refused(client, path, headers, words):
    refused(client.get(path, headers=headers), 403, words)


@pytest.mark.parametrize(
    "path", ["/", "/secret", "/wrong/", "/secre/", "/secrets/", "/Secret/", "//secret/", "/%73ecreT/"]
)
def test_a_wrong_token_is_refused(db, panels, path):
    with testclient.TestClient(clipx.serve.app(db, token="secret"), BASE) as client:
        answer = client.get(f"{BASE}{path}")
        assert answer.status_code in (403, 404) and "secret" not in answer.text
        assert client.get(f"{path}api/v1/about").status_code in (403, 404)


def test_own_names_are_let_in(client):
    for host in ("127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:99"):
        assert client.get("api/v1/about", headers={"host": host, "origin": f"http://{host}"}).status_code == 200
    assert client.get("api/v1/about", headers={"sec-fetch-site": "same-origin"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "../schemas.py",
        "%2e%2e/schemas.py",
        "..%2fschemas.py",
        "/etc/passwd",
        "panels/counting/../../../../pyproject.toml",
        "panels/counting/%2e%2e/%2e%2e/pyproject.toml",
        "api/v1/files/..%2f..%2fetc%2fpasswd/picture",
        "api/v1/files/%2Fetc%2Fpasswd/picture",
        "api/v1/files/photo.png/picture",
        "api/v1/folders?of=/etc",
        "api/v1/folders?of=..",
        "api/v1/jobs/../download/passwd",
    ],
)
def test_paths_lead_nowhere(db, files, panels, path):
    with listening(lambda token: clipx.serve.app(db, token=token)) as server:
        text = raw(
            server.port, f"GET /secret/{path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n\r\n"
        )
        assert text.startswith(("HTTP/1.1 404", "HTTP/1.1 400", "HTTP/1.1 403")) and "root:" not in text
        assert "[project]" not in text and "pydantic" not in text.partition("\r\n\r\n")[2]


def test_every_answer_binds_the_browser(client):
    for path in ("api/v1/about", "api/v1/nothing", "nothing.js", "panels/counting/labels.txt"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
    assert client.get("api/v1/about").headers["cache-control"] == "no-store"


def test_a_web_socket_is_closed(client):
    with pytest.raises(testclient.WebSocketDisconnect), client.websocket_connect("/secret/"):
        pass


def raw(port, text, more=b""):
    """Send bytes to the server and return all that it answers."""
    with socket.create_connection(("127.0.0.1", port), 20) as line:
        line.sendall(text.encode() + more)
        return b"".join(iter(lambda: line.recv(65536), b"")).decode("latin-1")


def test_slow_clients_are_given_up_and_hold_up_nobody(db, panels, files):
    import httpx

    def make(token):
        guard = clipx.serve.app(db, token=token)
        return Guard(guard.app, guard.token, guard.hosts, guard.upload_bytes, stalled_s=1.0)

    with listening(make) as server, ThreadPoolExecutor(20) as pool:
        httpx.get(f"{server.address}api/v1/about")
        head = f"POST /secret/api/v1/uploads HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nX-Filename: a.png\r\n"
        slow = [pool.submit(raw, server.port, f"{head}Content-Length: 1000\r\n\r\n", b"\x89PNG") for _ in range(20)]
        body = {"terms": [{"text": "cat"}]}
        for _ in range(3):
            assert httpx.post(f"{server.address}api/v1/search", json=body, timeout=10).status_code == 200
        assert not any(one.done() for one in slow)
        assert all(one.result().startswith("HTTP/1.1 408") for one in slow)


def test_fifty_searches_at_once_are_each_answered_right(db, panels):
    import httpx

    texts = ["cat", "chair", "cup", "table", "night"]
    with listening(lambda token: clipx.serve.app(db, token=token)) as server, ThreadPoolExecutor(50) as pool:

        def ask(i):
            body = {"terms": [{"text": texts[i % 5]}, {"text": texts[(i // 5) % 5], "weight": 0.5}], "k": 20}
            answer = httpx.post(f"{server.address}api/v1/search", json=body, timeout=60)
            return [(json.loads(line)["name"], json.loads(line)["score"]) for line in answer.text.splitlines()[1:-1]]

        together = list(pool.map(ask, range(50)))
        index = Index.open(db)
        for i in range(50):
            hits = index.search([Term(texts[i % 5]), Term(texts[(i // 5) % 5], 0.5)], 20)
            assert dict(together[i]) == pytest.approx({Path(hit.path).name: hit.score for hit in hits}, rel=1e-4)


# Indexing -------------------------------------------------------------------------------------------------------------


def wait_until_over(client):
    text = client.get("api/v1/indexing/events").text
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def test_a_folder_is_chosen_and_indexed(tmp_path, space_folder, panels, monkeypatch):
    monkeypatch.setenv("CLIPX_SPACE", str(space_folder))
    folder = make_files(tmp_path / "files")
    (folder / ".hidden").mkdir()
    (folder / "holiday/bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with testclient.TestClient(clipx.serve.app(tmp_path / "new.index", folders=[folder]), BASE) as client:
        refused(client.post("api/v1/search", json={"terms": [{"text": "cat"}]}), 409, "index a folder first")
        assert client.get("api/v1/indexing").json()["state"] == "idle"
        refused(client.post("api/v1/indexing", json={}), 400, "no folder was chosen")
        roots = client.get("api/v1/folders").json()
        assert [one["name"] for one in roots["folders"]] == [str(folder)] and roots["id"] is None
        top = client.get("api/v1/folders", params={"of": roots["folders"][0]["id"]}).json()
        assert ([one["name"] for one in top["folders"]], top["files"], top["parent"]) == (["holiday", "home"], 3, None)
        below = client.get("api/v1/folders", params={"of": top["folders"][0]["id"]}).json()
        assert (below["name"], below["files"], below["parent"]) == ("holiday", 4, top["id"])
        assert client.post("api/v1/indexing", json={"folders": [top["id"]]}).json()["state"] == "running"
        *_, last = wait_until_over(client)
        assert (last["state"], last["added"], last["files"], last["done"]) == ("done", 9, 9, last["total"])
        assert [one["name"] for one in last["failures"]] == ["bad.png"]
        assert client.get("api/v1/about").json()["index"]["files"] == 9
        assert len(search(client, [{"text": "cat"}])[0]) == 9
        client.post("api/v1/indexing", json={})  # once more: nothing has changed
        assert wait_until_over(client)[-1]["unchanged"] == 9


def test_indexing_is_stopped_and_goes_on(tmp_path, space_folder, panels, monkeypatch):
    folder = make_files(tmp_path / "files")
    held, go = threading.Event(), threading.Event()
    from clipx.modalities.image import Image as Pictures

    whole = Pictures.parts

    def slow(self, samples):
        held.set()
        assert go.wait(30)
        return whole(self, samples)

    monkeypatch.setattr(Pictures, "parts", slow)
    app = clipx.serve.app(tmp_path / "new.index", space_folder, folders=[folder])
    with testclient.TestClient(app, BASE) as client:
        root = client.get("api/v1/folders").json()["folders"][0]["id"]
        client.post("api/v1/indexing", json={"folders": [root]})
        assert held.wait(30)
        refused(client.post("api/v1/indexing", json={}), 409, "under way")
        assert client.post("api/v1/indexing/stop").json()["state"] == "stopping"
        go.set()
        stopped = wait_until_over(client)[-1]
        assert stopped["state"] == "stopped" and stopped["error"] is None
        client.post("api/v1/indexing", json={})
        done = wait_until_over(client)[-1]
        assert done["state"] == "done" and done["files"] == 9
    assert Index.open(tmp_path / "new.index").stats()["files"] == 9


def test_a_server_that_ends_waits_for_the_batch_that_is_encoded(tmp_path, space_folder, panels, monkeypatch):
    from clipx.modalities.image import Image as Pictures
    from clipx.serve.indexing import Indexing

    folder, held, go = make_files(tmp_path / "files"), threading.Event(), threading.Event()
    whole, stop = Pictures.parts, Indexing.stop

    def slow(self, samples):
        held.set()
        assert go.wait(30)
        return whole(self, samples)

    def stopping(self):
        found = stop(self)
        go.set()
        return found

    monkeypatch.setattr(Pictures, "parts", slow)
    monkeypatch.setattr(Indexing, "stop", stopping)
    app = clipx.serve.app(tmp_path / "new.index", space_folder, folders=[folder])
    with testclient.TestClient(app, BASE) as client:
        root = client.get("api/v1/folders").json()["folders"][0]["id"]
        client.post("api/v1/indexing", json={"folders": [root]})
        assert held.wait(30)
    assert "clipx-index" not in [thread.name for thread in threading.enumerate()]
    with Index.open(tmp_path / "new.index") as index:  # which is not left locked
        assert index.add([folder]).added + len(index) >= 9


def test_a_page_without_folders_does_not_index(client):
    assert client.get("api/v1/folders").json()["folders"] == []
    refused(client.post("api/v1/indexing", json={}), 403, "does not index")


def test_only_the_folders_that_were_given_can_be_listed(client, db, files, panels):
    for one in about_of(client)["folders"]:  # they can be searched in; what lies beside and above them is not shown
        refused(client.get("api/v1/folders", params={"of": one["id"]}), 404, "no such folder")
    app = clipx.serve.app(db, folders=[files / "home"])
    with testclient.TestClient(app, BASE) as client:
        given = {one["name"]: one["id"] for one in about_of(client)["folders"]}
        assert client.get("api/v1/folders", params={"of": given["home"]}).json()["parent"] is None
        for name in (files.name, "holiday"):
            refused(client.get("api/v1/folders", params={"of": given[name]}), 404, "no such folder")
            refused(client.post("api/v1/indexing", json={"folders": [given[name]]}), 404, "no such folder")


def test_a_folder_whose_name_is_no_text_is_left_out(tmp_path, panels):
    for name in (b"plain", b"bad\xff"):
        os.mkdir(os.path.join(os.fsencode(tmp_path), name))
    (tmp_path / "plain/a.png").touch()
    bad = os.fsdecode(os.path.join(os.fsencode(tmp_path), b"bad\xff"))
    app = clipx.serve.app(tmp_path / "new.index", folders=[tmp_path, bad])
    with testclient.TestClient(app, BASE) as client:
        (root,) = client.get("api/v1/folders").json()["folders"]
        below = client.get("api/v1/folders", params={"of": root["id"]})
        assert [one["name"] for one in below.json()["folders"]] == ["plain"]


# Jobs -----------------------------------------------------------------------------------------------------------------


def start(client, status=200, **settings):
    answer = client.post("api/v1/panels/counting/jobs", json={"settings": settings})
    assert answer.status_code == status, answer.text
    return answer.json()


def events_of(client, job):
    text = client.get(f"api/v1/jobs/{job}/events").text
    lines = [line for line in text.splitlines() if line and not line.startswith(":")]
    return [(e[7:], json.loads(d[6:])) for e, d in zip(lines[::2], lines[1::2], strict=True)]


def test_a_job_reports_and_is_saved(client):
    job = start(client, to=3)
    assert job["position"] == 0
    found = events_of(client, job["job"])
    assert found[-1] == ("done", {"counted": 3, "file": None})
    assert dict(found)["progress"] == {"done": 3, "total": 3, "note": "counted"} and dict(found)["partial"] == {"at": 2}
    saved = client.get(f"api/v1/jobs/{job['job']}/download/count.txt", params={"sign": "+"})
    assert saved.text == "+3" and saved.headers["content-disposition"] == 'attachment; filename="count.txt"'
    refused(client.get(f"api/v1/jobs/{job['job']}/download/other"), 400, "no file 'other'")
    refused(client.get("api/v1/jobs/none/events"), 404, "no such job")
    refused(client.post("api/v1/panels/none/jobs", json={}), 404, "no such panel")


def test_a_job_that_fails_says_why(client):
    found = events_of(client, start(client, bad=True)["job"])
    assert found == [("failed", {"error": "count: that is no number"})]


def test_one_job_runs_and_one_waits(client):
    first, second = start(client, to=9, wait=True), start(client, to=2)
    assert (first["position"], second["position"]) == (0, 1)
    third = client.post("api/v1/panels/counting/jobs", json={})
    refused(third, 409, "two jobs")
    refused(client.get(f"api/v1/jobs/{second['job']}/download/count.txt"), 409, "no result yet")
    client.post(f"api/v1/jobs/{first['job']}/stop")
    assert events_of(client, first["job"])[-1] == ("stopped", {"counted": 1, "file": None})
    assert events_of(client, second["job"])[-1] == ("done", {"counted": 2, "file": None})
    assert client.get(f"api/v1/jobs/{first['job']}/download/count.txt").text == "1"  # the best so far


def test_a_job_that_waits_can_be_stopped_and_makes_room(client):
    first, second = start(client, to=9, wait=True), start(client)
    client.post(f"api/v1/jobs/{second['job']}/stop")
    assert events_of(client, second["job"])[-1][0] == "stopped"  # though the first one still runs
    third = start(client, to=1)
    Counting.go.set()
    assert events_of(client, third["job"])[-1] == ("done", {"counted": 1, "file": None})
    assert events_of(client, first["job"])[-1][0] == "done"


def test_a_job_ends_when_its_page_goes(db, panels):
    import httpx

    with listening(lambda token: clipx.serve.app(db, token=token)) as server:
        api = f"{server.address}api/v1/"
        job = httpx.post(
            f"{api}panels/counting/jobs", json={"settings": {"to": 10**6, "wait": True}}, timeout=60
        ).json()
        with httpx.stream("GET", f"{api}jobs/{job['job']}/events", timeout=30) as stream:
            assert next(stream.iter_lines())  # the page has seen something, and goes
        last = httpx.get(f"{api}jobs/{job['job']}/events", timeout=30).text
        assert "event: stopped" in last


# The app of others ----------------------------------------------------------------------------------------------------


def test_the_app_is_mounted_by_others(db, panels):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    mine = Starlette(routes=[Mount("/find", clipx.serve.app(db, hosts=["mine.example"]))])
    with testclient.TestClient(mine, "http://mine.example") as client:
        assert client.get("/find/api/v1/about").status_code == 200
        hits, _ = search(client, [{"text": "cat"}], root="find/")
        assert client.get(f"/find/api/v1/files/{hits[0]['file']}/thumbnail").status_code == 200
        assert client.get("/find/index.html").status_code == 200
        assert client.get("/find/..%2fschemas.py").status_code == 404
        refused(client.get("/find/api/v1/about", headers={"host": "127.0.0.1"}), 403, "does not lead")


def test_an_app_without_an_index(space_folder, panels, files):
    with testclient.TestClient(clipx.serve.app(None, space_folder), BASE) as client:
        sent = send(client, files / "home/p2.png")
        named = client.post("api/v1/classify", json={"file": sent["file"], "labels": ["cat", "cup"]}).json()
        assert len(named["predictions"]) == 2 and sent["words"] == []
        refused(client.post("api/v1/search", json={"terms": [{"text": "cat"}]}), 409, "index a folder first")


def test_a_space_that_cannot_be_loaded_is_said(tmp_path, db, files, space_folder, panels):
    with pytest.raises(FileError, match="no such index"):
        clipx.serve.app(tmp_path / "missing.index")
    with testclient.TestClient(clipx.serve.app(None, "no-such-space"), BASE) as client:
        about = about_of(client)
        assert "no-such-space" in about["error"]
        refused(client.post("api/v1/search", json={"terms": [{"text": "cat"}]}), 503, "no-such-space")


def test_another_process_may_index_meanwhile(tmp_path, space_folder, panels):
    folder = make_files(tmp_path / "files")
    db = make_index(tmp_path / "my.index", folder, space_folder)
    with testclient.TestClient(clipx.serve.app(db), BASE) as client:
        assert len(search(client, [{"text": "cat"}], k=50)[0]) == 9
        (folder / "home/p0.png").unlink()
        with Index.open(db) as index:
            index.add([folder])
        assert len(search(client, [{"text": "cat"}], k=50)[0]) == 8
        assert client.get("api/v1/about").json()["index"]["files"] == 8


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command_prints_an_address_and_ends_quietly(db, tmp_path):
    import httpx

    line = [sys.executable, "-m", "clipx", "serve", "--db", str(db), "--json"]
    with (
        subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process,
        contextlib.ExitStack() as ending,
    ):
        ending.callback(process.kill)  # where something below fails
        text = ""
        while not text.endswith("}\n"):
            text += process.stdout.readline()
        address = json.loads(text)["address"]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{24}/", address)
        page = httpx.get(address)
        assert page.status_code == 200 and "<title>" in page.text
        assert httpx.get(address.rpartition("/")[0].rpartition("/")[0] + "/").status_code == 403
        body = {"terms": [{"text": "cat"}]}
        assert httpx.post(f"{address}api/v1/search", json=body, timeout=60).status_code == 200
        with httpx.Client() as kept:  # answers on a connection that is kept do not wait for acknowledgements (40 ms)
            assert np.median([kept.get(f"{address}api/v1/indexing").elapsed.total_seconds() for _ in range(15)]) < 0.03
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "") and "Traceback" not in err and "stop it with Ctrl-C" in err


def test_the_command_refuses_what_it_cannot_serve(run, here):
    (here / "photos").mkdir()
    (here / "photos/a.txt").write_text("a")
    assert run("serve --db photos")[::2] == (2, "error: photos: is no index; name another folder, or leave --db out\n")
    assert run("serve nowhere")[::2] == (2, "error: nowhere: no such folder\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, _, err = run(f"serve --port {taken.getsockname()[1]}")
    assert status == 2 and "cannot listen at 127.0.0.1:" in err and err.count("\n") <= 2
