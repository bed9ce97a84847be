"""HTTP servers on loopback in one thread. Does not depend on the calls that they serve."""

import asyncio
import socket
import threading
from collections.abc import MutableMapping, Sequence
from contextlib import ExitStack, suppress

from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

Transports = MutableMapping[tuple[str, int], asyncio.Transport]

HOST = "127.0.0.1"
"""An emulator never listens on a network."""

_TIMEOUT_SECONDS = 5.0
"""For starting and for stopping."""


class Loopback:
    """Serves applications from a daemon thread, each on a port of its own."""

    def __init__(self, ports: Sequence[int]) -> None:
        """Bind the ports; no request is answered before ``start``.

        Args:
            ports: The ports, 0 for a free one.

        Raises:
            OSError: A port is taken.
        """
        self.transports: Transports = {}
        """Open connections by the client's address."""
        with ExitStack() as bound:
            self._sockets = [bound.enter_context(_listen(port)) for port in ports]
            bound.pop_all()
        self.ports = [sock.getsockname()[1] for sock in self._sockets]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._halt: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def start(self, applications: Sequence[ASGIApp]) -> None:
        """Start a server for each port, with one application each."""
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(applications, ready)),
            name="barchart-events-emulator",
            daemon=True,
        )
        self._thread.start()
        if not ready.wait(_TIMEOUT_SECONDS):
            raise RuntimeError("the emulator did not start")

    def stop(self) -> None:
        """Break all connections and stop the servers."""
        if self._loop is not None and self._halt is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._halt.set)
        if self._thread is not None:
            self._thread.join(_TIMEOUT_SECONDS)
        for sock in self._sockets:
            sock.close()

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
        if answering := [task for state in states for task in state.tasks]:
            await asyncio.wait(answering, timeout=_TIMEOUT_SECONDS)

    async def _server(
        self, app: ASGIApp, state: ServerState, sock: socket.socket
    ) -> asyncio.AbstractServer:
        config = Config(app, ws="none", lifespan="off", log_config=None, access_log=False)
        # Longer than pauses between polls at usual settings: only faults end a connection.
        config.timeout_keep_alive = 75
        config.load()
        transports = self.transports

        class TrackedProtocol(H11Protocol):
            """Records its transport, so that a fault can break the connection."""

            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                """Record the transport."""
                super().connection_made(transport)
                if self.client is not None:
                    transports[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                """Remove the transport."""
                if self.client is not None:
                    transports.pop(self.client, None)
                super().connection_lost(exc)

        return await asyncio.get_running_loop().create_server(
            lambda: TrackedProtocol(config=config, server_state=state, app_state={}), sock=sock
        )


def _listen(port: int) -> socket.socket:
    sock = socket.create_server((HOST, port))
    # Connections inherit it. Nagle's algorithm would delay responses by 40 ms.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
