"""Connections between server and client: the log of requests, and faults of the transport.

Wraps an ASGI application. Does not depend on jobs or events.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from barchart_events_emulator.faults import Fault
from barchart_events_emulator.loopback import Transports
from barchart_events_emulator.responses import response_of

_TICK = 0.05
"""Seconds between the pieces of a slow response."""


class ConnectionGoneError(Exception):
    """A fault or the client has closed the connection: nothing more can be sent."""


@dataclass(eq=False)
class RequestSeen:
    """A request as received, without its secrets."""

    host: str
    """``api`` or ``storage``."""
    call: str | None
    """``start``, ``poll``, ``link``, ``download``, ``authenticate`` or ``version``; or None."""
    method: str
    path: str
    """Without the query, which holds a link's signature."""
    headers: dict[str, str]
    """Lower-case names; of ``authorization`` the scheme only."""
    body: Any
    """The JSON body, or ``None``."""
    at: float
    """When it was received (``time.monotonic``)."""
    fault: Fault | None = None
    """The fault that applied to it."""
    status: int | None = None
    """Status of the response, if there was one."""

    @property
    def authorization(self) -> str | None:
        """Scheme of the credentials, if there were any."""
        return self.headers.get("authorization")


class StreamedResponse(Response):
    """A response whose body is sent in pieces; other requests are served between them."""

    def __init__(self, pieces: Iterable[bytes], status: int, headers: dict[str, str]) -> None:
        """Take the pieces, the status, and all headers."""
        self.pieces = pieces
        self.status_code = status
        self.background = None
        self.init_headers(headers)

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        headers = self.raw_headers
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        for piece in self.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@dataclass(eq=False)
class FaultMiddleware:
    """An application with a log of its requests, and with faults."""

    app: ASGIApp
    host: str
    """Name of the application in the log."""
    call_of: Callable[[str, str], str | None]
    """Method and path → name of the call."""
    product_of: Callable[[str, Any], str | None]
    """Path and body in JSON → the product that a request is about."""
    faults: list[Fault]
    log: list[RequestSeen]
    """Requests are appended to it."""
    transports: Transports
    """Open connections by peer."""
    elsewhere: str
    """A URL of the other host."""
    now: Callable[[], float]
    """The service's time, in seconds since the epoch."""
    date: Callable[[], str | None]
    """The ``Date`` header of a response sent now; ``None`` for no such header."""
    answered: Callable[[RequestSeen], None]
    """Called with each request when its response has been sent, or has failed."""
    throttle: Callable[[], float | None] = lambda: None
    """Upper limit of bytes a second of a response; ``None`` for no limit."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Log the request, and answer it, with a fault if one applies."""
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)

        async def replay() -> Message:
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        seen = self._describe(scope, bytes(body))
        self.log.append(seen)
        if seen.call is not None:
            product = self.product_of(seen.path, seen.body)
            of_call = (fault for fault in self.faults if fault.call == seen.call)
            seen.fault = next((fault for fault in of_call if fault.applies(product)), None)
        scope["state"] = {"fault": seen.fault}
        transport = self.transports[scope["client"]]
        connection = _Connection(seen, transport, receive, self._dated(send), self.throttle())
        response = seen.fault and response_of(seen.fault, self.elsewhere, self.now())
        with suppress(ConnectionGoneError):
            await connection.before_response()
            await (response or self.app)(scope, replay, connection.send)
        self.answered(seen)

    def _dated(self, send: Send) -> Send:
        async def dated(message: Message) -> None:
            date = self.date() if message["type"] == "http.response.start" else None
            if date is not None:
                message = {**message, "headers": [*message["headers"], (b"date", date.encode())]}
            await send(message)

        return dated

    def _describe(self, scope: Scope, body: bytes) -> RequestSeen:
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        if "authorization" in headers:
            headers["authorization"] = headers["authorization"].split(" ")[0]
        content = None
        with suppress(ValueError):
            content = json.loads(body)
        method, path = scope["method"], scope["path"]
        call = self.call_of(method, path)
        return RequestSeen(self.host, call, method, path, headers, content, at=time.monotonic())


class _Connection:
    """Sends one response, with a fault if one applies."""

    def __init__(
        self,
        seen: RequestSeen,
        transport: asyncio.Transport,
        receive: Receive,
        send: Send,
        rate: float | None,
    ) -> None:
        self._seen = seen
        self._transport = transport
        self._receive = receive
        self._send = send
        self._kind = seen.fault.kind if seen.fault else None
        self._details = seen.fault.details if seen.fault else {}
        self._rate = self._details["bytes_per_second"] if self._kind == "slow" else rate
        self._sent = 0
        self._until: int | None = None

    async def before_response(self) -> None:
        """Apply a fault that takes effect before the call does."""
        if self._kind == "drop" and not self._details["acted"]:
            await self._close(at_once=True)
        if self._kind == "stall" and self._details["at"] is None:
            await self._stall()

    async def send(self, message: Message) -> None:
        """Send a part of a response, as far as the fault permits.

        Raises:
            ConnectionGoneError: The connection is closed.
        """
        if self._transport.is_closing():
            await self._close(at_once=True)
        if message["type"] == "http.response.start":
            self._seen.status = message["status"]
            await self._start(message)
        else:
            await self._body(message)

    async def _start(self, message: Message) -> None:
        if self._kind == "drop":
            await self._close(at_once=True)
        if self._kind == "drop-headers":
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: appl")
            await self._close()
        headers = message["headers"]
        length = next((int(v) for name, v in headers if name == b"content-length"), None)
        at = self._details.get("at")
        if self._kind in {"cut", "truncate"} or (
            self._kind in {"expire", "etag", "stall"} and at is not None
        ):
            self._until = at if at is not None else (length or 20_000) // 2
        if self._kind == "truncate" or self._details.get("chunked"):
            headers = [(name, value) for name, value in headers if name != b"content-length"]
        await self._send({**message, "headers": headers})

    async def _body(self, message: Message) -> None:
        body = message.get("body", b"")
        if self._until is not None and self._sent + len(body) >= self._until:
            head = body[: self._until - self._sent]
            await self._pace(head)
            if self._kind == "truncate":
                await self._send({"type": "http.response.body", "body": b""})
                raise ConnectionGoneError
            if self._kind != "stall":
                await self._close()
            await self._stall()
            self._until = None
            body = body[len(head) :]
        await self._pace(body)
        if not message.get("more_body"):
            if self._kind == "cut":
                await self._close()
            await self._send({"type": "http.response.body", "body": b""})

    async def _pace(self, body: bytes) -> None:
        step = len(body) if self._rate is None else max(1, int(self._rate * _TICK))
        for at in range(0, len(body), step or 1):
            if self._transport.is_closing():
                await self._close(at_once=True)
            part = body[at : at + step]
            await self._send({"type": "http.response.body", "body": part, "more_body": True})
            self._sent += len(part)
            await asyncio.sleep(0 if self._rate is None else len(part) / self._rate)

    async def _stall(self) -> None:
        seconds = self._details["seconds"]
        try:
            await asyncio.wait_for(self._client_gone(), seconds)
        except asyncio.TimeoutError:
            return
        raise ConnectionGoneError

    async def _close(self, *, at_once: bool = False) -> None:
        """Close the connection; the bytes written so far reach the client unless at once."""
        if at_once:
            self._transport.abort()
        else:
            self._transport.close()
        await self._client_gone()
        raise ConnectionGoneError

    async def _client_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
