"""Who may ask: requests are checked before any route sees them, and every answer carries headers that bind browsers.

The page holds private files, so a web site that the user visits meanwhile must not reach it. Its requests are
distinguished by ``Origin``, by the name in ``Host`` (DNS rebinding lets a foreign name lead here), and by the token in
the address, which it does not know.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

JSON_BYTES = 2**20
STALLED_S, WHOLE_S = 15.0, 300.0  # without a byte of a body, and until all of it is here

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
    "cache-control": "no-store",
}


class Refused(Exception):
    """A request that is answered by a status and one line."""

    def __init__(self, status: int, line: str):
        super().__init__(line)
        self.status, self.line = status, line


class Guard:
    """ASGI middleware that checks Host, Origin and token, bounds bodies, and adds headers.

    Args:
        app: what it guards; it sees paths without the token.
        token: what every path must begin with; None: no token, the app is mounted where others check.
        hosts: names that ``Host`` may have, without a port; None: any.
        upload_bytes: of a body that is no JSON.
        stalled_s: seconds after which a body of which nothing comes is given up.
    """

    def __init__(
        self, app: Any, token: str | None, hosts: Sequence[str] | None, upload_bytes: int, stalled_s: float = STALLED_S
    ):
        self.app, self.token, self.hosts = app, token, hosts
        self.upload_bytes, self.stalled_s = upload_bytes, stalled_s

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        started = False

        async def send_guarded(message: Any) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                names = {name.lower() for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in names]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        try:
            self._check_source(scope)
            scope = self._without_token(scope)
            await self.app(scope, self._bounded(scope, receive), send_guarded)
        except Refused as refused:
            if not started:
                from starlette.responses import JSONResponse

                answer = JSONResponse({"error": refused.line}, refused.status, {"connection": "close"})
                await answer(scope, receive, send_guarded)

    def _check_source(self, scope: Any) -> None:
        """Raise Refused for another Host, Origin or site than the page's own."""
        fields: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            fields.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts = fields.get("host", [])
        if len(hosts) != 1:
            raise Refused(400, "one Host header is needed")
        host = hosts[0].lower()
        if self.hosts is not None and _name_of(host) not in self.hosts:
            raise Refused(403, "this name does not lead to this page")
        for origin in fields.get("origin", []):
            if _netloc(origin) != host:
                raise Refused(403, "another site may not ask here")
        site = fields.get("sec-fetch-site", ["none"])[-1]
        if site not in ("same-origin", "none"):
            raise Refused(403, "another site may not ask here")

    def _without_token(self, scope: Any) -> Any:
        """The scope with a path that begins behind the token. Raises Refused for a wrong one."""
        if self.token is None:
            return scope
        root = scope.get("root_path", "")
        given, slash, rest = scope["path"].removeprefix(root).removeprefix("/").partition("/")
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            raise Refused(403, "wrong token: open the address that clipx serve printed")
        if not slash:
            raise Refused(404, "the address ends with a slash")
        return {**scope, "path": f"{root}/{rest}", "raw_path": f"{root}/{rest}".encode()}

    def _bounded(self, scope: Any, receive: Any) -> Any:
        """``receive`` that gives up on a body that is too large or too slow."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        most = JSON_BYTES if kind == b"application/json" else self.upload_bytes
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > most:
            raise Refused(413, f"too large: at most {most:,} bytes")
        size, whole, deadline = 0, False, time.monotonic() + WHOLE_S

        async def bounded() -> Any:
            nonlocal size, whole
            if whole:  # only the end of the connection is left to wait for
                return await receive()
            left = deadline - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), min(self.stalled_s, max(0.01, left)))
            except TimeoutError:
                raise Refused(408, "the request came too slowly") from None
            if message["type"] == "http.request":
                size += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if size > most:
                    raise Refused(413, f"too large: at most {most:,} bytes")
            return message

        return bounded


def _netloc(origin: str) -> str:
    """The host and port of an origin; "" where it is malformed."""
    try:
        return urlsplit(origin.lower()).netloc
    except ValueError:
        return ""


def _name_of(host: str) -> str:
    """``localhost:80`` -> ``localhost``; ``[::1]:80`` -> ``[::1]``."""
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
