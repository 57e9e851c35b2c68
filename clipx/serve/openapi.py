"""The JSON API as an OpenAPI 3.1 document, made of its endpoints and of the models of its requests and answers.

The documentation's site has it as ``openapi.json``.
"""

from __future__ import annotations

import re
from typing import Any, get_args

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

import clipx
from clipx.serve import schemas
from clipx.serve.indexing import Folders, Indexing
from clipx.serve.routes import API, UPLOAD_BYTES, Api, Endpoint
from clipx.serve.service import Service

VERSION = API.rpartition("/v")[2]
REF = "#/components/schemas/{model}"
JSON, LINES, EVENTS = "application/json", "application/x-ndjson", "text/event-stream"
DESCRIPTION = """\
What the page of `clipx serve` asks for; programs may as well. Where the server has a token, as `clipx serve` always \
has, it is the beginning of every path. An error is one line. Files are named by opaque ids that the server hands out, \
for files of the index and for uploads; no path is ever taken from a request. What a version has stays in it: fields \
may be added, and a change of what is there is another version."""
QUERY: dict[str, dict[str, Any]] = {
    "k": {
        "description": "How many.",
        "schema": {"type": "integer", "minimum": 1, "maximum": schemas.MAX_HITS, "default": 12},
    },
    "of": {"description": "The id of a folder; the roots when left out.", "schema": {"type": "string"}},
}
PATHS = {
    "file": "The id of a file of the index, or of an upload.",
    "panel": "The name of a panel, see `about`.",
    "job": "The id of a job.",
    "name": "What to download; a panel says which there are, and which query parameters they take.",
}
STREAMS = {
    "/indexing/events": "Events `state`, each with an `IndexingState`, until indexing has ended.",
    "/jobs/{job}/events": "Events `progress` (`done`, `total`, `note`) and `partial`, last one of `done`, `stopped` "
    "or `failed` (`error`). Where nobody reads them, the job is stopped.",
}


def document() -> dict[str, Any]:
    """The document, of JSON's own types. No space is loaded."""
    service = Service(_no_space)
    endpoints = Api(service, Indexing(service, None, None), Folders(service.names, []), {}).endpoints()
    service.close()
    requests = [one.asks for one in endpoints if one.asks is not None]
    _, components = models_json_schema(
        [(model, "validation") for model in requests]
        + [(model, "serialization") for one in endpoints for model in _models(one.answers)]
        + [(schemas.Error, "serialization")],
        ref_template=REF,
    )
    paths: dict[str, dict[str, Any]] = {}
    for one in endpoints:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    token = {"default": "TOKEN", "description": "The token in the address that `clipx serve` prints."}
    port = {"default": "8000", "description": "The port in that address."}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "clipx serve",
            "version": VERSION,
            "summary": f"Search, name, index and draw; version {VERSION} of the API, of clipx {clipx.__version__}.",
            "description": DESCRIPTION,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": f"http://127.0.0.1:{{port}}/{{token}}{API}", "variables": {"port": port, "token": token}}],
        "paths": paths,
        "components": {
            "schemas": components["$defs"],
            "responses": {"Error": {"description": "What is wrong, in one line.", "content": _json_of(schemas.Error)}},
        },
    }


def _operation(one: Endpoint) -> dict[str, Any]:
    """What is said of an endpoint."""
    found: dict[str, Any] = {"operationId": one.run.__name__, "summary": one.summary.rstrip(".")}
    if one.path in STREAMS:
        found["description"] = STREAMS[one.path]
    parameters = [
        {"name": name, "in": "path", "required": True, "description": PATHS[name], "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", one.path)
    ]
    parameters += [{"name": name, "in": "query", "required": False, **QUERY[name]} for name in one.query]
    if one.uploads:
        about = "The file's name, percent-encoded; its suffix counts where the content does not decide."
        header = {"name": "X-Filename", "in": "header", "required": False, "description": about}
        parameters.append(header | {"schema": {"type": "string"}})
        found["requestBody"] = {
            "required": True,
            "description": f"The bytes of the file, at most {UPLOAD_BYTES:,}.",
            "content": {"application/octet-stream": {}},
        }
    if one.asks is not None:
        found["requestBody"] = {"required": True, "content": _json_of(one.asks)}
    if parameters:
        found["parameters"] = parameters
    error = {"$ref": "#/components/responses/Error"}
    content = {kind: _content(kind, one.answers) for kind in one.media}
    answer = {"description": _answer(one), "content": content}
    found["responses"] = {"200": answer, "4XX": error, "5XX": error}
    return found


def _content(kind: str, answers: Any) -> dict[str, Any]:
    """A media type of an answer: with a schema where it is JSON, of one line where it is JSON a line."""
    if kind in (JSON, LINES):
        return {"schema": _schema(answers)}
    return {"schema": {"type": "string"}} if kind == EVENTS else {}


def _answer(one: Endpoint) -> str:
    kinds = {LINES: "One JSON object a line, as they come.", EVENTS: "Server-sent events.", JSON: "JSON."}
    return kinds.get(one.media[0], "A file.")


def _models(answers: Any) -> list[Any]:
    """The models that an answer is made of: itself, or those of a list or a union."""
    if hasattr(answers, "model_json_schema"):
        return [answers]
    return [model for part in get_args(answers) for model in _models(part)]


def _schema(answers: Any) -> dict[str, Any]:
    """An answer as a schema that refers to its models."""
    if hasattr(answers, "model_json_schema"):
        return _reference(answers)
    found = TypeAdapter(answers).json_schema(ref_template=REF, mode="serialization")
    found.pop("$defs", None)
    return found


def _json_of(model: type) -> dict[str, Any]:
    return {JSON: {"schema": _reference(model)}}


def _reference(model: type) -> dict[str, Any]:
    return {"$ref": REF.format(model=model.__name__)}


def _no_space() -> Any:
    raise RuntimeError("the document needs no space")
