"""An object store that does whatever a test wants: a function from request to response."""

from __future__ import annotations

import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from typing_extensions import Self


@dataclass
class Response:
    """What to send, byte by byte as it is said here, with ``Connection: close`` before it."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""
    """Ends the connection when it is sent, whatever length was declared."""


@dataclass
class StoreRequest:
    """A request that came."""

    path: str
    headers: dict[str, str]
    """Lower-case names."""


class ObjectStore:
    """Answers GET on loopback; a context manager."""

    def __init__(
        self, respond: Callable[[StoreRequest], Response], certificate: Path | None = None
    ) -> None:
        """Listen.

        Args:
            respond: From request to response.
            certificate: Certificate and key, to speak TLS.
        """
        self.received: list[StoreRequest] = []
        store = self

        class Handler(BaseHTTPRequestHandler):
            """Answers as the test says."""

            def do_GET(self) -> None:
                """Answer a request, and end the connection."""
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = StoreRequest(self.path, headers)
                store.received.append(request)
                response = respond(request)
                lines = [f"HTTP/1.1 {response.status} Reason", "Connection: close"]
                lines += [f"{name}: {value}" for name, value in response.headers.items()]
                self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
                pieces = [response.body] if isinstance(response.body, bytes) else response.body
                for piece in pieces:
                    self.wfile.write(piece)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            """Lets clients go away in the middle."""

            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Say nothing."""

            def shutdown_request(self, request: Any) -> None:
                """End a connection that may have ended by itself."""
                with suppress(OSError):
                    super().shutdown_request(request)

        self._server = Server(("127.0.0.1", 0), Handler)
        self._scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def link(self) -> str:
        """A link to a file here."""
        port = self._server.server_address[1]
        return f"{self._scheme}://127.0.0.1:{port}/file.csv?signature=SECRET-SIGNATURE"

    def __enter__(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
