"""The OpenAPI document of clipx serve: it is well-formed, names every route, and says what is really answered."""

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from indexed import picture
from jsonschema import Draft202012Validator
from starlette.routing import Route
from starlette.testclient import TestClient

import clipx
from clipx.serve import app
from clipx.serve.openapi import document
from clipx.serve.routes import API

ROOT = Path(__file__).parents[1]

PARAMETER = {
    "type": "object",
    "required": ["name", "in", "schema"],
    "properties": {
        "name": {"type": "string"},
        "in": {"enum": ["path", "query", "header"]},
        "required": {"type": "boolean"},
        "description": {"type": "string"},
        "schema": {"type": "object"},
    },
    "if": {"properties": {"in": {"const": "path"}}},
    "then": {"required": ["required"], "properties": {"required": {"const": True}}},
    "additionalProperties": False,
}
CONTENT = {
    "type": "object",
    "minProperties": 1,
    "propertyNames": {"pattern": "^[a-z]+/[a-z0-9.+*-]+$"},
    "additionalProperties": {
        "type": "object",
        "properties": {"schema": {"type": "object"}},
        "additionalProperties": False,
    },
}
RESPONSE = {
    "oneOf": [
        {"type": "object", "required": ["$ref"], "maxProperties": 1},
        {
            "type": "object",
            "required": ["description"],
            "properties": {"description": {"type": "string"}, "content": CONTENT},
            "additionalProperties": False,
        },
    ]
}
OPERATION = {
    "type": "object",
    "required": ["operationId", "summary", "responses"],
    "properties": {
        "operationId": {"type": "string", "pattern": "^[a-z_]+$"},
        "summary": {"type": "string", "minLength": 5},
        "description": {"type": "string"},
        "parameters": {"type": "array", "minItems": 1, "items": PARAMETER},
        "requestBody": {
            "type": "object",
            "required": ["content"],
            "properties": {"required": {"type": "boolean"}, "description": {"type": "string"}, "content": CONTENT},
            "additionalProperties": False,
        },
        "responses": {
            "type": "object",
            "required": ["200"],
            "propertyNames": {"pattern": "^[1-5](\\d\\d|XX)$"},
            "additionalProperties": RESPONSE,
        },
    },
    "additionalProperties": False,
}
META = {  # what this document uses of https://spec.openapis.org/oas/3.1/schema
    "type": "object",
    "required": ["openapi", "info", "servers", "paths", "components"],
    "properties": {
        "openapi": {"const": "3.1.0"},
        "info": {
            "type": "object",
            "required": ["title", "version"],
            "properties": {
                **{name: {"type": "string"} for name in ("title", "version", "summary", "description")},
                "license": {"type": "object", "required": ["name"]},
            },
            "additionalProperties": False,
        },
        "servers": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["url"],
                "properties": {
                    "url": {"type": "string"},
                    "variables": {
                        "type": "object",
                        "additionalProperties": {"type": "object", "required": ["default"]},
                    },
                },
            },
        },
        "paths": {
            "type": "object",
            "propertyNames": {"pattern": "^/"},
            "additionalProperties": {
                "type": "object",
                "propertyNames": {"enum": ["get", "post", "put", "delete"]},
                "additionalProperties": OPERATION,
            },
        },
        "components": {
            "type": "object",
            "properties": {
                "schemas": {"type": "object", "additionalProperties": {"type": "object"}},
                "responses": {"type": "object", "additionalProperties": RESPONSE},
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def doc():
    return document()


def operations(doc):
    """(method, path, operation)."""
    return [(method.upper(), path, one) for path, own in doc["paths"].items() for method, one in own.items()]


# The document ---------------------------------------------------------------------------------------------------------


def test_it_is_an_openapi_document(doc):
    Draft202012Validator(META).validate(json.loads(json.dumps(doc)))
    for schema in doc["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    names = [one["operationId"] for _, _, one in operations(doc)]
    assert len(set(names)) == len(names)
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(doc)):
        found = doc
        for part in reference.split("/"):
            found = found[part]
    for variable in re.findall(r"{(\w+)}", doc["servers"][0]["url"]):
        assert variable in doc["servers"][0]["variables"]


def test_an_ill_formed_document_is_seen(doc):
    broken = json.loads(json.dumps(doc))
    del broken["paths"]["/about"]["get"]["responses"]["200"]
    assert not Draft202012Validator(META).is_valid(broken)
    broken = json.loads(json.dumps(doc))
    broken["paths"]["/files/{file}/words"]["get"]["parameters"][0]["required"] = False
    assert not Draft202012Validator(META).is_valid(broken)


def test_every_route_of_the_api_is_in_it_and_no_other(doc):
    (mounted,) = [route for route in app(None).app.routes if route.path == API]
    assert all(isinstance(route, Route) for route in mounted.routes)
    served = {(method, route.path) for route in mounted.routes for method in route.methods - {"HEAD"}}
    assert served == {(method, path) for method, path, _ in operations(doc)}
    assert doc["servers"][0]["url"].endswith(API) and doc["info"]["version"] == API.rpartition("/v")[2]


def test_parameters_of_a_path_are_those_in_its_name(doc):
    for _, path, one in operations(doc):
        said = [parameter["name"] for parameter in one.get("parameters", []) if parameter["in"] == "path"]
        assert said == re.findall(r"{(\w+)}", path)


def test_every_field_of_a_request_is_described_by_its_type(doc):
    search = doc["components"]["schemas"]["SearchRequest"]
    assert set(search["required"]) == {"terms"} and search["additionalProperties"] is False
    assert search["properties"]["k"]["maximum"] == 500
    error = doc["components"]["responses"]["Error"]["content"]["application/json"]["schema"]
    assert error == {"$ref": "#/components/schemas/Error"}


# What the server answers ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(space_folder, tmp_path_factory):
    """A client of a server that has an index of pictures and a cloud, and a folder that may be indexed."""
    root = tmp_path_factory.mktemp("openapi")
    for number in range(3):
        picture(root / "files" / f"{number}.png", number)
    np.savetxt(root / "files" / "cloud.xyz", np.random.default_rng(0).normal(size=(64, 3)))
    with clipx.Index.create(root / "my.index", str(space_folder)) as index:
        index.add([root / "files"])
    made = app(root / "my.index", str(space_folder), folders=[root])
    with TestClient(made, base_url="http://127.0.0.1") as client:
        until(lambda: client.get(f"{API}/about").json()["ready"])
        client.root = root
        yield client


def until(done):
    """Wait for it, at most half a minute."""
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def ask(served, doc):
    """Send a request; its answer must be what the document says of it. Returns the JSON, or the bytes."""

    def validator(schema):
        return Draft202012Validator({**schema, "components": doc["components"]})

    def send(method, path, status=200, query="", **more):
        template = next(one for one in doc["paths"] if re.fullmatch(re.sub(r"{\w+}", "[^/]+", one), path))
        operation = doc["paths"][template][method.lower()]
        if "json" in more and status == 200:
            validator(operation["requestBody"]["content"]["application/json"]["schema"]).validate(more["json"])
        answer = served.request(method, f"{API}{path}{query}", **more)
        assert answer.status_code == status, answer.text
        if status != 200:
            ref = operation["responses"][f"{status // 100}XX"]["$ref"].rpartition("/")[2]
            said = doc["components"]["responses"][ref]
        else:
            said = operation["responses"]["200"]
        kind = answer.headers["content-type"].partition(";")[0]
        (pattern,) = said["content"]
        assert re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), kind)
        schema = said["content"][pattern].get("schema")
        if kind == "application/json":
            validator(schema).validate(answer.json())
            return answer.json()
        if kind == "application/x-ndjson":
            records = [json.loads(line) for line in answer.text.splitlines()]
            for record in records:
                validator(schema).validate(record)
            return records
        assert schema is None or schema == {"type": "string"}
        return answer.content

    return send


def test_answers_about_the_index_are_as_documented(ask):
    about = ask("GET", "/about")
    assert about["index"]["files"] == 4
    query, *hits, end = ask("POST", "/search", json={"terms": [{"text": "a cat"}], "k": 3})
    assert (query["event"], end["event"], end["count"], len(hits)) == ("query", "end", 3, 3)
    file = hits[0]["file"]
    terms = [{"file": file, "weight": 1.5}, {"text": "chair", "weight": -0.5}]
    assert ask("POST", "/search", json={"terms": terms, "modalities": ["image"], "min_confidence": 0.1})
    assert ask("GET", f"/files/{file}/preview")["kind"] in ("picture", "shape")
    assert len(ask("GET", f"/files/{file}/words", query="?k=3")) == 3
    assert ask("GET", f"/files/{file}/thumbnail").startswith(b"\xff\xd8")
    labels = {"file": file, "labels": ["cat", "chair"]}
    assert sum(one["probability"] for one in ask("POST", "/classify", json=labels)["predictions"]) == pytest.approx(1)
    of = {hit["modality"]: hit["file"] for hit in ask("POST", "/search", json={"terms": [{"text": "chair"}]})[1:-1]}
    assert ask("GET", f"/files/{of['pointcloud']}/shape")[:4] == b"CXS1"
    assert ask("GET", f"/files/{of['image']}/picture").startswith(b"\xff\xd8")


def test_uploads_are_as_documented(ask, served):
    data = (served.root / "files" / "0.png").read_bytes()
    record = ask("POST", "/uploads", content=data, headers={"X-Filename": "my%20cat.png"})
    assert (record["name"], record["modality"]) == ("my cat.png", "image")
    assert ask("POST", "/search", json={"terms": [{"file": record["file"]}], "k": 1})[-1]["count"] == 1
    assert ask("DELETE", f"/uploads/{record['file']}") == {"deleted": True}


def test_indexing_is_as_documented(ask):
    assert ask("GET", "/indexing")["state"] == "idle"
    (root,) = ask("GET", "/folders")["folders"]
    below = ask("GET", "/folders", query=f"?of={root['id']}")
    (files,) = [one for one in below["folders"] if one["name"] == "files"]
    assert ask("POST", "/indexing", json={"folders": [files["id"]]})["state"] in ("running", "done")
    until(lambda: ask("GET", "/indexing")["state"] not in ("running", "stopping"))
    state = ask("GET", "/indexing")
    assert (state["state"], state["unchanged"]) == ("done", 4)
    assert b"event: state" in ask("GET", "/indexing/events")
    assert ask("POST", "/indexing/stop")["state"] == "done"


@pytest.mark.parametrize(
    ("method", "path", "status", "more"),
    [
        ("POST", "/search", 422, {"json": {"terms": []}}),
        ("POST", "/search", 422, {"json": {"terms": [{"text": "cat"}], "kind": "image"}}),
        ("POST", "/search", 415, {"content": b"cat"}),
        ("POST", "/search", 400, {"json": {"terms": [{"text": "xylophone"}]}}),
        ("GET", "/files/nothing/words", 404, {}),
        ("POST", "/uploads", 400, {"content": b"no picture", "headers": {"X-Filename": "a.png"}}),
        ("POST", "/panels/nothing/jobs", 404, {"json": {}}),
        ("GET", "/jobs/nothing/events", 404, {}),
        ("POST", "/jobs/nothing/stop", 404, {}),
        ("GET", "/jobs/nothing/download/svg", 404, {}),
    ],
)
def test_refusals_are_as_documented(ask, method, path, status, more):
    assert "\n" not in ask(method, path, status, **more)["error"]


# The page about it ----------------------------------------------------------------------------------------------------


def test_the_example_of_the_page_mounts_the_app(served, monkeypatch):
    page = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    (example,) = [code for code in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S) if "Mount(" in code]
    monkeypatch.chdir(served.root)
    names = {}
    exec(example, names)
    with TestClient(names["site"], base_url="http://127.0.0.1") as client:
        assert client.get("/").text == "my site"
        until(lambda: client.get(f"/search{API}/about").json()["ready"])
        assert client.get(f"/search{API}/about").json()["index"]["files"] == 4


def test_the_requests_of_the_page_are_those_of_the_document(doc):
    page = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    asked = re.findall(r"\$URL/api/v1(/[\w/$]+)", page)
    templates = [re.sub(r"{\w+}", r"\\$[A-Z]+", path) for path in doc["paths"]]
    assert len(asked) > 4 and all(any(re.fullmatch(one, path) for one in templates) for path in asked)
    validator = Draft202012Validator({"$ref": "#/components/schemas/SearchRequest", "components": doc["components"]})
    bodies = re.findall(r"\$URL/api/v1/search .*-d '(\{.*\})'$", page.replace("\\\n", ""), re.MULTILINE)
    for body in bodies:
        validator.validate(json.loads(body.replace("'$FILE'", "f.1")))
    assert len(bodies) == 2
