"""The service by raw sockets: what no HTTP server would send. A test can replace each response."""

import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from email.utils import formatdate
from http.client import parse_headers
from pathlib import Path
from typing import Any

from typing_extensions import Self

Response = bytes | Iterable[bytes]
"""What is sent, as it is. When an iterable ends, so does the connection."""


@dataclass(frozen=True)
class Request:
    """A request that came."""

    call: str
    """``authenticate``, ``start``, ``poll``, ``link``, ``download`` or ``other``."""

    line: str
    headers: Message

    body: Any
    """Parsed JSON, if there is one."""

    connection: int
    """Which connection it came on, from 0."""

    at: float

    @property
    def source(self) -> str:
        """The job or file that the path names."""
        return self.line.split()[1].split("/")[2]


def http(
    body: object = b"", status: str = "200 OK", *, length: bool = True, **headers: object
) -> bytes:
    """Return a response: bytes as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named: dict[str, object] = {"Content-Length": len(data)} if length else {}
    named |= {"Date": formatdate(time.time(), usegmt=True)}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status}"]
    lines += [f"{name}: {value}" for name, value in named.items() if value is not None]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data


EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def late(*pieces: bytes) -> Iterable[bytes]:
    """Yield pieces, each in a packet of its own."""
    for piece in pieces:
        yield piece
        time.sleep(0.05)


class RawServer:
    """API and object storage on one loopback port; a context manager.

    Without other orders, each job is complete at once, and each file has one event a minute.
    ``responses`` replaces the response to a call: a function from the request, and from what
    would be sent, to what is sent.
    """

    username = "user-of-the-tap"
    password = "s3cret"  # noqa: S105 - loopback only, and to be looked for

    def __init__(self, certificate: Path | None = None) -> None:
        """Listen; speak TLS with a certificate and its key."""
        self.requests: list[Request] = []
        self.responses: dict[str, Callable[[Request, bytes], Response]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        """Source → filter."""
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._listening = context.wrap_socket(
                self._listening, server_side=True, do_handshake_on_connect=False
            )
            self._scheme = "https"
        self._open: list[socket.socket] = []

    @property
    def api_url(self) -> str:
        """Base URL."""
        return f"{self._scheme}://127.0.0.1:{self._listening.getsockname()[1]}"

    @property
    def link(self) -> str:
        """A link to a file of no job; ``responses["other"]`` is the response."""
        return f"{self.api_url}/file.csv?signature=SECRET-SIGNATURE"

    def calls(self, call: str) -> list[Request]:
        """Return the requests of one call."""
        with self._lock:
            return [request for request in self.requests if request.call == call]

    def __enter__(self) -> Self:
        """Begin to answer."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; cut what is being sent."""
        self._close(self._listening)
        for connection in self._open:
            self._close(connection)

    @staticmethod
    def _close(sock: socket.socket) -> None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()

    def _accept(self) -> None:
        with suppress(OSError):
            for number in itertools.count():
                connection, _ = self._listening.accept()
                self._open.append(connection)
                serve = threading.Thread(target=self._serve, args=(connection, number), daemon=True)
                serve.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as stream:
            while request := self._read(stream, number):
                with self._lock:
                    self.requests.append(request)
                    usual = self._usual(request)
                replace = self.responses.get(request.call)
                response = replace(request, usual) if replace else usual
                if isinstance(response, bytes):
                    connection.sendall(response)
                    continue
                for piece in response:
                    connection.sendall(piece)
                self._close(connection)
                return

    @staticmethod
    def _read(stream: Any, number: int) -> Request | None:
        line = stream.readline().decode("latin-1").strip()
        headers = parse_headers(stream)
        if not line:
            return None
        body = stream.read(int(headers.get("Content-Length", 0)))
        _, first, *others = line.split()[1].split("/")
        call = {"service": "authenticate", "file": "download"}.get(first, "other")
        if first == "reports":
            call = {0: "start", 1: "link"}.get(len(others), "poll")
        content = json.loads(body) if body else None
        return Request(call, line, headers, content, number, time.monotonic())

    def _usual(self, request: Request) -> bytes:
        match request.call:
            case "authenticate":
                return http({"service": {}, "user": {}})
            case "start":
                source = f"JOB-{len(self.jobs)}"
                self.jobs[source] = request.body["filter"]
                return http(self.job(source))
            case "poll":
                return http(self.job(request.source))
            case "link":
                return http({"link": f"{self.api_url}/file/{request.source}/?SECRET-SIGNATURE"})
            case "download":
                return http(self.file(request.source), Content_Type="text/csv")
            case _:
                return http(b"", "404 Not Found")

    def job(self, source: str, status: str = "COMPLETE") -> dict[str, Any]:
        """Return a job object."""
        return {"source": source, "status": status, "filter": self.jobs[source]}

    def file(self, source: str) -> bytes:
        """Return a job's file: an event at each full minute of the window, without a header."""
        job = self.jobs[source]
        minutes = range(job["start"], job["end"], 60_000)
        return b"".join(b"%d|WATCHLIST-CREATED|u||||||\n" % at for at in minutes)
