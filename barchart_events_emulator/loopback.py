"""Two servers on loopback in one thread: the API and the object store. Knows no calls."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

if TYPE_CHECKING:
    from collections.abc import Coroutine, MutableMapping, Sequence

    from starlette.types import ASGIApp

    Transports = MutableMapping[tuple[str, int], asyncio.Transport]

HOST = "127.0.0.1"
"""Never another: an emulator has no business on a network."""

_PATIENCE = 5.0
"""Seconds that starting and stopping may take at most."""


class Loopback:
    """Serves applications, each on a port of its own, from a daemon thread."""

    def __init__(self, ports: Sequence[int]) -> None:
        """Listen; nothing is answered before ``start``.

        Args:
            ports: The ports, 0 for a free one.

        Raises:
            OSError: A port is taken.
        """
        self.transports: Transports = {}
        """Open connections by the client's address."""
        self._sockets: list[socket.socket] = []
        try:
            for port in ports:
                self._sockets.append(_listen(port))
        except OSError:
            self._close()
            raise
        self.ports = [sock.getsockname()[1] for sock in self._sockets]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._halt: asyncio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread: threading.Thread | None = None

    def start(self, applications: Sequence[ASGIApp]) -> None:
        """Begin to answer, with one application for each port."""
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(applications, ready)),
            name="barchart-events-emulator",
            daemon=True,
        )
        self._thread.start()
        if not ready.wait(_PATIENCE):
            raise RuntimeError("the emulator did not start")

    def stop(self) -> None:
        """Break all connections and stop answering."""
        if self._loop is not None and self._halt is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._halt.set)
        if self._thread is not None:
            self._thread.join(_PATIENCE)
        self._close()

    def run(self, work: Coroutine[None, None, None]) -> None:
        """Begin work beside the answering; must be called from an application."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, applications: Sequence[ASGIApp], ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._halt = asyncio.Event()
        states = [ServerState() for _ in applications]
        served = zip(applications, states, self._sockets, strict=True)
        servers = [await self._server(app, state, sock) for app, state, sock in served]
        ready.set()
        await self._halt.wait()
        for server in servers:
            server.close()
        for transport in list(self.transports.values()):
            transport.abort()
        for task in self._tasks:
            task.cancel()
        if answering := [task for state in states for task in state.tasks]:
            await asyncio.wait(answering, timeout=_PATIENCE)

    async def _server(
        self, app: ASGIApp, state: ServerState, sock: socket.socket
    ) -> asyncio.AbstractServer:
        config = Config(app, ws="none", lifespan="off", log_config=None, access_log=False)
        # Longer than any pause between polls: the end of a connection is left to the faults.
        config.timeout_keep_alive = 75
        config.load()
        transports = self.transports

        class TrackedProtocol(H11Protocol):
            """Keeps its transport where a fault can break it."""

            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                """Remember the connection."""
                super().connection_made(transport)
                if self.client is not None:
                    transports[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                """Forget it."""
                if self.client is not None:
                    transports.pop(self.client, None)
                super().connection_lost(exc)

        return await asyncio.get_running_loop().create_server(
            lambda: TrackedProtocol(config=config, server_state=state, app_state={}), sock=sock
        )

    def _close(self) -> None:
        for sock in self._sockets:
            sock.close()


def _listen(port: int) -> socket.socket:
    # With the protocol named, asyncio options Nagle's algorithm off: no 40 ms for an answer.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
        sock.listen(128)
    except OSError:
        sock.close()
        raise
    return sock
