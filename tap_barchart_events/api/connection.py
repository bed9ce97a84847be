"""HTTP connections that give one final response to each request, bounded in size and in time.

The only module that builds on the internals of urllib3 and http.client: on ``response_class``
and on ``begin``, whose names are not private and not documented. Everything else is public.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    import socket

    import requests
    from _typeshed import WriteableBuffer

STEP_TIMEOUTS = 3
"""Longest duration of a step, in multiples of the request timeout."""

STEP_BYTES = 1 << 22
"""Bytes of a step, at most: four times what is read at once, for the framing of tiny chunks."""

SLOWEST_RATE = 100
"""Bytes a second: a transfer that is slower over a whole step is broken."""


class EndlessResponseError(OSError):
    """A response has too many bytes that are not its body: headers, interim responses, trailers."""


class SlowResponseError(OSError):
    """A response is slower than the lowest rate allowed."""


class Transfer:
    """The transfer of one response, in steps of bounded size and time; ``moved`` ends a step."""

    def __init__(self, timeout: float | None) -> None:
        """Begin the first step; ``timeout`` is that of one read, in seconds."""
        self.is_complete = False
        """Set by the caller that has read the whole response and found it as expected."""
        self._seconds = STEP_TIMEOUTS * (timeout or 60)
        self._begin_step()

    def _begin_step(self) -> None:
        self._began = time.monotonic()
        self._bytes = 0
        self._payload = 0

    def moved(self, size: int) -> None:
        """Count bytes of a file that were received; the next step begins when they suffice."""
        self._payload += size
        if self._payload >= min(SLOWEST_RATE * self._seconds, STEP_BYTES // 4):
            self._begin_step()

    def count(self, size: int) -> None:
        """Count bytes that came from the network, framing included.

        Raises:
            EndlessResponseError: The step has too many.
            SlowResponseError: The step takes too long.
        """
        self._bytes += size
        if self._bytes > STEP_BYTES:
            raise EndlessResponseError
        if time.monotonic() - self._began > self._seconds:
            raise SlowResponseError


class _CountedReader(io.RawIOBase):
    """The receiving side of a socket; the bytes read from it are counted."""

    def __init__(self, sock: socket.socket, transfer: Transfer) -> None:
        self._raw = sock.makefile("rb", buffering=0)
        self._transfer = transfer

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        size = self._raw.readinto(buffer)
        self._transfer.count(size or 0)
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


@dataclass(frozen=True, slots=True)
class _CountedSocket:
    """The part of a socket that http.client uses to read a response."""

    sock: socket.socket
    transfer: Transfer

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_CountedReader(self.sock, self.transfer))


class _FinalResponse(HTTPResponse):
    """A response; interim ones (1xx) before it are skipped. http.client skips only 100."""

    def begin(self) -> None:
        super().begin()
        while self.status < HTTPStatus.OK and self.status != HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = None  # type: ignore[assignment]  # otherwise the next one is not read
            super().begin()


class _SingleResponseConnection(HTTPConnection):
    """A connection that is reused only after a complete, final response as expected."""

    transfer: Transfer | None = None

    def response_class(  # type: ignore[override]  # called as the class would be
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None
    ) -> HTTPResponse:
        self.transfer = Transfer(sock.gettimeout())
        return _FinalResponse(_CountedSocket(sock, self.transfer), debuglevel, method)  # type: ignore[arg-type]

    @property
    def is_connected(self) -> bool:
        """Whether it can be reused; the pool checks this before it does so."""
        is_complete = self.transfer is not None and self.transfer.is_complete
        return is_complete and super().is_connected


class _SingleResponseTLSConnection(_SingleResponseConnection, HTTPSConnection):
    """The same over TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _SingleResponseConnection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SingleResponseTLSConnection


POOLS = {"http": _Pool, "https": _SecurePool}


class Adapter(HTTPAdapter):
    """Makes such connections, also through a proxy."""

    def __init__(self, connections: int) -> None:
        """Open no connection yet; ``connections`` are kept open to each of a few hosts."""
        super().__init__(pool_connections=4, pool_maxsize=connections)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> urllib3.PoolManager:
        """Return the pools of a proxy."""
        manager: urllib3.PoolManager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = POOLS
        return manager


def transfer_of(response: requests.Response) -> Transfer:
    """Return the transfer of a response whose body has not been read yet."""
    connection = response.raw.connection
    if not isinstance(connection, _SingleResponseConnection) or not connection.transfer:
        raise TypeError("the response came over a connection of another kind")
    return connection.transfer
