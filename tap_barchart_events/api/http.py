"""One HTTP request: one final answer, bounded in size and time; no link in any error or log.

A link is a secret: it gives access to the file. The libraries put whole URLs into their errors and
logs, so their errors are replaced here, and their loggers are silenced. Knows no call of the API.
"""

from __future__ import annotations

import http.client
import logging
import ssl
import time
from contextlib import contextmanager
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from tap_barchart_events.api.retry import TransientError
from tap_barchart_events.exceptions import ServiceError
from tap_barchart_events.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from requests.auth import AuthBase

MAX_BODY = 1 << 20
"""Bytes of an answer of the API; a longer one is an error."""

MAX_TIMEOUTS = 3
"""Multiples of the request timeout within which a body of the API is read, and a slow download is
given up: three minutes, if the setting has its default."""

MAX_INTERIM_RESPONSES = 100

URL_LOGGERS = tuple(
    f"urllib3.{module}"
    for module in ("connection", "connectionpool", "poolmanager", "response", "util.retry")
)
"""Loggers that log whole URLs, links included; some of them as warnings."""

# requests raises a ValueError for a redirect to an invalid URL.
NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)

REASONS: dict[type[Exception], str] = {
    requests.exceptions.InvalidSchema: (
        "the environment sets a SOCKS proxy, which needs the package PySocks"
    ),
    requests.exceptions.InvalidURL: (
        "the URL of the host, or of the proxy that the environment sets (HTTPS_PROXY, HTTP_PROXY "
        "or ALL_PROXY), cannot be used"
    ),
    requests.exceptions.ProxyError: "the proxy cannot be reached, or refuses the request",
    urllib3.exceptions.NameResolutionError: "the host name cannot be resolved",
    ConnectionRefusedError: "connection refused",
    requests.ConnectTimeout: "no connection in time",
    urllib3.exceptions.ReadTimeoutError: "no response within request_timeout_seconds",
    requests.exceptions.SSLError: (
        "TLS failed; check that the host serves https, and REQUESTS_CA_BUNDLE if it is set"
    ),
}
"""Kind of an error, or of one of its causes → what it means; the first one that fits."""


@contextmanager
def replaced_errors(
    kinds: tuple[type[Exception], ...], replacement: Callable[[Exception], Exception]
) -> Iterator[None]:
    """Raise the replacement of an error of these kinds, without any reference to the error."""
    try:
        yield
    except kinds as error:
        instead = replacement(error)
        try:
            raise instead from None
        finally:
            # It would hold the URL, and the SDK's structured log prints it, suppressed or not.
            instead.__context__ = None
            del instead  # its traceback refers to this frame


@contextmanager
def mapped_errors(what: str, host: str) -> Iterator[None]:
    """Replace errors of the network.

    Args:
        what: What fails with it, for errors: ``poll job …``.
        host: The host, for errors; never a link.

    Raises:
        TransientError: The network failed, or a proxy or certificates cannot be used.
        ServiceError: The certificate of the host cannot be verified.
    """
    with replaced_errors(NETWORK_ERRORS, lambda error: _mapped(error, what, host)):
        yield


def _mapped(error: Exception, what: str, host: str) -> ServiceError:
    """Return the replacement of a network error, which keeps no more than the kind of error."""
    causes = _causes(error)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return ServiceError(
            f"could not {what}: the TLS certificate of {host} cannot be verified; check the "
            "host, and REQUESTS_CA_BUNDLE where a proxy has a certificate of its own"
        )
    known = (text for kind, text in REASONS.items() if any(isinstance(c, kind) for c in causes))
    if type(error) is OSError:  # requests raises it for a missing file of certificates
        reason = "no certificates can be read; check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE"
    else:
        detail = getattr(causes[-1], "strerror", None) or type(causes[-1]).__name__
        reason = next(known, f"the connection broke ({detail})")
    mapped = TransientError(f"could not {what}: {host}: {reason}")
    mapped.advice = (
        "is the emulator running? barchart-events-emulator starts it"
        if is_loopback(host)
        else "check the host, the network and the proxy; the next run continues from the bookmark"
    )
    return mapped


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    queue: list[object] = [error]
    while queue:
        item = queue.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            queue += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]
    return found


class TooManyInterimResponsesError(http.client.HTTPException):
    """No final response comes."""


class _FinalResponse(http.client.HTTPResponse):
    """A response; interim ones (1xx) before it are skipped. http.client skips only 100."""

    def begin(self) -> None:
        super().begin()
        self.will_close = True  # also if the server would keep the connection

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MAX_INTERIM_RESPONSES):
            line: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if line[1] >= HTTPStatus.OK or line[1] == HTTPStatus.SWITCHING_PROTOCOLS:
                return line
            http.client.parse_headers(self.fp)
        raise TooManyInterimResponsesError


class _Connection(HTTPConnection):
    response_class = _FinalResponse


class _TLSConnection(HTTPSConnection):
    response_class = _FinalResponse


CONNECTIONS = {HTTPConnection: _Connection, HTTPSConnection: _TLSConnection}


class _Adapter(HTTPAdapter):
    """Makes such connections, also through an HTTP proxy."""

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = CONNECTIONS.get(pool.ConnectionCls, pool.ConnectionCls)
        return pool


class Session(requests.Session):
    """Sends requests, each on a connection of its own, and follows no redirect."""

    def __init__(self, auth: AuthBase | None = None) -> None:
        """Open no connection yet. Without ``auth``, no credentials are sent at all."""
        super().__init__()
        for name in URL_LOGGERS:
            logging.getLogger(name).addFilter(_drop_record)
        # Not None: requests would look for credentials in .netrc.
        self.auth = auth or _no_auth
        self.headers["User-Agent"] = f"tap-barchart-events/{version('tap-barchart-events')}"
        # A late answer can then be taken for that of no other request.
        self.headers["Connection"] = "close"
        self.mount("https://", _Adapter())
        self.mount("http://", _Adapter())

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return None: requests would read the body of a redirect to its end, however long."""
        return None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request; one to a loopback host never goes through a proxy."""
        if is_loopback(request.url or ""):
            options["proxies"] = {}
        return super().send(request, **options)

    def call(
        self, method: str, url: str, what: str, *, timeout: tuple[float, float], **options: Any
    ) -> tuple[requests.Response, bytes]:
        """Send a request of the API; return its answer and the body, decompressed.

        Args:
            method: HTTP method.
            url: The URL, which is no secret.
            what: What fails with it, for errors: ``poll job …``.
            timeout: To connect and for each read, in seconds.
            options: Of ``requests.Session.request``.
        """
        host = "/".join(url.split("/")[:3])
        with mapped_errors(what, host):
            response = self.request(
                method, url, timeout=timeout, stream=True, allow_redirects=False, **options
            )
            deadline = time.monotonic() + MAX_TIMEOUTS * timeout[1]
            body = b""
            with response:
                while piece := response.raw.read1(MAX_BODY, decode_content=True):
                    body += piece
                    if len(body) > MAX_BODY:
                        raise TransientError(
                            f"could not {what}: the response has over {MAX_BODY:,} bytes; check "
                            "api_url, and any proxy in between"
                        )
                    if time.monotonic() > deadline:
                        raise TransientError(f"could not {what}: the response does not end in time")
        return response, body


def _drop_record(_record: logging.LogRecord) -> bool:
    return False


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
