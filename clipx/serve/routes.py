"""The ASGI app: routes of the page and of its JSON API, version 1."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool as threaded
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import clipx.serve.schemas as schemas
from clipx.errors import ClipxError
from clipx.serve.indexing import Folders, Indexing
from clipx.serve.jobs import Job, Jobs
from clipx.serve.panel import Panel, get_panels
from clipx.serve.security import Guard, Refused
from clipx.serve.service import Service

API = "/api/v1"
UPLOAD_BYTES, UPLOADS_AT_ONCE = 50_000_000, 20
STATIC = Path(__file__).with_name("static")
POLL_S = 0.05  # how often what a thread does is looked at
ALIVE_S = 10.0  # after which a silent stream says that it is still there


@dataclass(frozen=True)
class Endpoint:
    """A route of the API, with all that its documentation needs.

    Args:
        method, path: of the request; the path is relative to the API.
        run: answers it.
        summary: what it does, in a sentence.
        asks: the JSON that it takes, if any.
        answers: the JSON that it returns; several of a stream, one a line; or the media types of other answers.
        query: names of query parameters.
        uploads: whether the body is a file.
    """

    method: str
    path: str
    run: Callable[[Request], Awaitable[Response]]
    summary: str
    asks: type[BaseModel] | None = None
    answers: Any = None
    media: Sequence[str] = ("application/json",)
    query: Sequence[str] = ()
    uploads: bool = False


class Api:
    """The endpoints of the API.

    Args:
        service: does the work.
        indexing, folders: of the index tab.
        panels: the tabs that tasks bring.
    """

    def __init__(self, service: Service, indexing: Indexing, folders: Folders, panels: dict[str, type[Panel]]):
        self.service, self.indexing, self.folders, self.panels = service, indexing, folders, panels
        self.jobs = Jobs()
        self._made: dict[str, Panel] = {}
        self._receiving = 0  # uploads that are under way, which bounds the disk they take

    def endpoints(self) -> list[Endpoint]:
        """All of them."""
        lines, events = ("application/x-ndjson",), ("text/event-stream",)
        records = schemas.QueryRecord | schemas.HitRecord | schemas.EndRecord
        jpeg = ("image/jpeg",)
        return [
            Endpoint("GET", "/about", self.about, "What this server offers.", answers=schemas.About),
            Endpoint(
                "POST",
                "/search",
                self.search,
                "Search the index by words, files and sums of them; one JSON object a line.",
                schemas.SearchRequest,
                records,
                lines,
            ),
            Endpoint(
                "POST",
                "/uploads",
                self.upload,
                "Send a file to search by; its name stands in X-Filename, percent-encoded.",
                answers=schemas.FileRecord,
                uploads=True,
            ),
            Endpoint("DELETE", "/uploads/{file}", self.delete_upload, "Delete an upload.", answers=dict[str, bool]),
            Endpoint(
                "GET", "/files/{file}/thumbnail", self.thumbnail, "What the space looked at, as a JPEG.", media=jpeg
            ),
            Endpoint("GET", "/files/{file}/preview", self.preview, "How to show a file.", answers=schemas.Preview),
            Endpoint("GET", "/files/{file}/picture", self.picture, "A file as a JPEG.", media=jpeg),
            Endpoint("GET", "/files/{file}/sound", self.sound, "A sound; ranges work.", media=("audio/*",)),
            Endpoint("GET", "/files/{file}/film", self.film, "A film; ranges work.", media=("video/*",)),
            Endpoint(
                "GET", "/files/{file}/shape", self.shape, "A shape in binary.", media=("application/octet-stream",)
            ),
            Endpoint(
                "GET",
                "/files/{file}/words",
                self.words,
                "The words nearest to a file.",
                answers=list[schemas.Word],
                query=("k",),
            ),
            Endpoint(
                "POST",
                "/classify",
                self.classify,
                "The probabilities of labels for a file.",
                schemas.ClassifyRequest,
                schemas.Classified,
            ),
            Endpoint(
                "GET",
                "/folders",
                self.folder,
                "A folder that may be indexed, or the roots.",
                answers=schemas.Folder,
                query=("of",),
            ),
            Endpoint(
                "POST",
                "/indexing",
                self.start_indexing,
                "Index folders, or go on where it was stopped.",
                schemas.IndexingRequest,
                schemas.IndexingState,
            ),
            Endpoint("GET", "/indexing", self.indexing_state, "How far indexing is.", answers=schemas.IndexingState),
            Endpoint("POST", "/indexing/stop", self.stop_indexing, "Stop indexing.", answers=schemas.IndexingState),
            Endpoint("GET", "/indexing/events", self.indexing_events, "The same as server-sent events.", media=events),
            Endpoint(
                "POST",
                "/panels/{panel}/jobs",
                self.start_job,
                "Start a job of a panel, such as a drawing.",
                schemas.JobRequest,
                schemas.JobRecord,
            ),
            Endpoint("GET", "/jobs/{job}/events", self.job_events, "The events of a job.", media=events),
            Endpoint("POST", "/jobs/{job}/stop", self.stop_job, "End a job at its next step.", answers=dict[str, bool]),
            Endpoint(
                "GET",
                "/jobs/{job}/download/{name}",
                self.download,
                "A file of a job's result.",
                media=("application/octet-stream",),
            ),
        ]

    # Search and files -------------------------------------------------------------------------------------------------

    async def about(self, request: Request) -> Response:
        from clipx import __version__

        found = await threaded(self.service.about)
        panels = [
            schemas.PanelRecord(name=name, title=panel.title, script=f"panels/{name}/panel.js")
            for name, panel in self.panels.items()
        ]
        return _json(
            schemas.About(
                version=__version__,
                panels=panels,
                modalities=await threaded(_modalities),
                upload_bytes=UPLOAD_BYTES,
                **found,
            )
        )

    async def search(self, request: Request) -> Response:
        asked = await _read(request, schemas.SearchRequest)
        terms, first = await threaded(self.service.terms, asked)
        hits, last = await threaded(self.service.search, terms, asked)
        fetching = asyncio.create_task(threaded(self.service.fetch_thumbnails, hits))

        async def lines() -> AsyncIterator[str]:
            for record in (first, *hits, last):
                yield record.model_dump_json() + "\n"
            with suppress(ClipxError, Refused):  # each thumbnail is read when it is asked for, then
                await fetching

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def upload(self, request: Request) -> Response:
        if self._receiving >= UPLOADS_AT_ONCE:
            raise Refused(503, "too many files at once: try again")
        self._receiving += 1
        try:
            return await self._received(request)
        finally:
            self._receiving -= 1

    async def _received(self, request: Request) -> Response:
        path = self.service.uploads.new_path()
        name = unquote(request.headers.get("x-filename", ""), errors="replace")
        try:
            with path.open("wb") as file:
                async for chunk in request.stream():  # the guard bounds it
                    file.write(chunk)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return _json(await threaded(self.service.upload, path, name))

    async def delete_upload(self, request: Request) -> Response:
        await threaded(self.service.uploads.delete, request.path_params["file"])
        return JSONResponse({"deleted": True})

    async def thumbnail(self, request: Request) -> Response:
        found = await threaded(self.service.thumbnail, request.path_params["file"])
        if found is None:
            raise Refused(404, "there is no thumbnail")
        return Response(found, media_type="image/jpeg", headers={"cache-control": "private, max-age=300"})

    async def preview(self, request: Request) -> Response:
        return _json(await threaded(self.service.preview, request.path_params["file"]))

    async def picture(self, request: Request) -> Response:
        return Response(await threaded(self.service.picture, request.path_params["file"]), media_type="image/jpeg")

    async def sound(self, request: Request) -> Response:
        found = await threaded(self.service.sound, request.path_params["file"])
        if isinstance(found, bytes):
            return Response(found, media_type="audio/wav")
        return FileResponse(found[0], media_type=found[1])

    async def film(self, request: Request) -> Response:
        path, kind = await threaded(self.service.film, request.path_params["file"])
        return FileResponse(path, media_type=kind)

    async def shape(self, request: Request) -> Response:
        found = await threaded(self.service.shape, request.path_params["file"])
        return Response(found, media_type="application/octet-stream")

    async def words(self, request: Request) -> Response:
        count = request.query_params.get("k", "12")
        if not (count.isdecimal() and 1 <= int(count) <= schemas.MAX_HITS):
            raise Refused(400, f"k must be a number from 1 to {schemas.MAX_HITS}")
        found = await threaded(self.service.words, request.path_params["file"], int(count))
        return JSONResponse([word.model_dump() for word in found])

    async def classify(self, request: Request) -> Response:
        asked = await _read(request, schemas.ClassifyRequest)
        return _json(await threaded(self.service.classify, asked.file, asked.labels))

    # Indexing ---------------------------------------------------------------------------------------------------------

    async def folder(self, request: Request) -> Response:
        return _json(await threaded(self.folders.list, request.query_params.get("of")))

    async def start_indexing(self, request: Request) -> Response:
        asked = await _read(request, schemas.IndexingRequest)
        paths = [await threaded(self.folders.path, name) for name in asked.folders or []]
        return _json(self.indexing.start(paths))

    async def indexing_state(self, request: Request) -> Response:
        return _json(self.indexing.state())

    async def stop_indexing(self, request: Request) -> Response:
        return _json(self.indexing.stop())

    async def indexing_events(self, request: Request) -> Response:
        async def events() -> AsyncIterator[str]:
            sent = None
            while True:
                state = self.indexing.state()
                if state != sent:
                    sent = state
                    yield _event("state", state.model_dump())
                if state.state not in ("running", "stopping"):
                    return
                await asyncio.sleep(4 * POLL_S)

        return _events(events())

    # Jobs of panels ---------------------------------------------------------------------------------------------------

    async def start_job(self, request: Request) -> Response:
        asked = await _read(request, schemas.JobRequest)
        name = request.path_params["panel"]
        if name not in self.panels:
            raise Refused(404, "no such panel")
        path = None if asked.file is None else (await threaded(self.service.local, asked.file))[0]
        if path is None and self.panels[name].needs_file:
            raise Refused(400, "a file is needed: drop one")
        if name not in self._made:
            self._made[name] = await threaded(lambda: self.panels[name](self.service.space))
        job = Job(self._made[name], path, asked.settings)
        position = self.jobs.submit(job)
        return _json(schemas.JobRecord(job=job.name, position=position))

    async def job_events(self, request: Request) -> Response:
        job = self.jobs.get(request.path_params["job"])

        async def events() -> AsyncIterator[str]:
            job.listen(+1)
            sent: dict[str, dict[str, Any]] = {}
            silent = 0.0
            try:
                while True:
                    ended, latest = job.ended, dict(job.latest)  # in this order: what comes before the end is not lost
                    for event, record in latest.items():
                        if sent.get(event) is not record:
                            sent[event], silent = record, 0.0
                            yield _event(event, record)
                    if ended:
                        yield _event(job.state, job.ending)
                        return
                    await asyncio.sleep(POLL_S)
                    silent += POLL_S
                    if silent > ALIVE_S:  # a page that has gone is noticed when something is sent to it
                        silent = 0.0
                        yield ": still there\n\n"
            finally:
                job.listen(-1)

        return _events(events())

    async def stop_job(self, request: Request) -> Response:
        self.jobs.stop(request.path_params["job"])
        return JSONResponse({"stopping": True})

    async def download(self, request: Request) -> Response:
        job = self.jobs.get(request.path_params["job"])
        if job.result is None:
            raise Refused(409, "there is no result yet")
        found = await threaded(job.panel.download, job.result, request.path_params["name"], dict(request.query_params))
        headers = {"content-disposition": f'attachment; filename="{found.filename}"'}
        return Response(found.content, media_type=found.media_type, headers=headers)


def create_app(
    service: Service,
    indexing: Indexing,
    folders: Folders,
    token: str | None,
    hosts: Sequence[str] | None,
) -> Any:
    """The ASGI app of a service; see ``clipx.serve.app``."""
    panels = get_panels()
    api = Api(service, indexing, folders, panels)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.start()  # where an app is mounted, nothing runs this, and the first request starts it
        yield
        api.jobs.stop_all()
        await threaded(indexing.close)
        service.close()

    async def page(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        if request.scope["path"] == root:  # relative addresses need the slash
            return RedirectResponse(request.url.path + "/")
        return FileResponse(STATIC / "index.html", media_type="text/html")

    own = [Route(one.path, one.run, methods=[one.method]) for one in api.endpoints()]
    routes: list[Any] = [Mount(API, routes=own)]  # so that a wrong method is not looked for among the page's files
    routes += [
        Mount(f"/panels/{name}", StaticFiles(directory=panel.assets), name=f"panel-{name}")
        for name, panel in panels.items()
    ]
    routes += [Route("/", page), Mount("/", StaticFiles(directory=STATIC))]
    handlers: dict[Any, Any] = {
        Refused: lambda request, error: _error(error.status, error.line),
        ClipxError: lambda request, error: _error(400, str(error)),
        404: lambda request, error: _error(404, "no such address"),
        405: lambda request, error: _error(405, "no such method"),
        Exception: lambda request, error: _error(500, f"{type(error).__name__}: {error}"),
        ClientDisconnect: lambda request, error: _error(400, "the request was cut off"),
    }
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    app.state.service = service
    return Guard(app, token, hosts, UPLOAD_BYTES)


async def _read(request: Request, model: type[Any]) -> Any:
    """The JSON of a request. Raises Refused for what is none, or does not fit."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "the request must be JSON: content-type: application/json")
    try:
        return model.model_validate_json(await request.body() or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "the request"
        raise Refused(422, f"{where}: {first['msg']}") from error


def _modalities() -> list[schemas.ModalityRecord]:
    """The modalities that work here, and what they read."""
    from clipx.registry import MODALITIES, get_modality, registered

    found = []
    for name in registered(MODALITIES):
        try:
            suffixes = list(get_modality(name).suffixes)
        except ClipxError:
            continue
        if suffixes:
            found.append(schemas.ModalityRecord(name=name, suffixes=suffixes))
    return found


def _json(record: BaseModel) -> Response:
    return Response(TypeAdapter(type(record)).dump_json(record), media_type="application/json")


def _error(status: int, line: str) -> Response:
    return JSONResponse({"error": " ".join(line.split())}, status)


def _event(name: str, record: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(record)}\n\n"


def _events(stream: AsyncIterator[str]) -> Response:
    return StreamingResponse(stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})
