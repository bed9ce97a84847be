"""One HTTP request, and when it is repeated: errors mapped once, without links or credentials.

A link is a secret: it gives access to the file. The libraries put whole URLs into their errors and
logs, so their errors are replaced here, and their loggers are silenced.
"""

import http.client
import itertools
import logging
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypeVar

import backoff
import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectTimeout, InvalidSchema, InvalidURL, ProxyError, SSLError
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, InvalidHeader, NameResolutionError, ReadTimeoutError
from urllib3.util import Retry

from tap_barchart_events.exceptions import ServiceError, SyncStopped, TransientError
from tap_barchart_events.urls import is_loopback

T = TypeVar("T")

logger = logging.getLogger(__name__)

MAX_BODY = 1 << 20
"""Bytes of an answer of the API; a longer one is an error."""

MAX_TIMEOUTS = 3
"""Multiples of the request timeout within which an API body must be read, and after which a
download may count as too slow: three minutes by default."""

MAX_INTERIM_RESPONSES = 100

URL_LOGGERS = ("connection", "connectionpool", "poolmanager", "response", "util.retry")
"""Loggers of urllib3 that log whole URLs, links included; some of them as warnings."""

# requests raises a ValueError for a redirect to an invalid URL.
NETWORK_ERRORS = (requests.RequestException, HTTPError, OSError, ValueError)

REASONS: dict[type[Exception], str] = {
    InvalidSchema: "the environment sets a SOCKS proxy, which needs the package PySocks",
    InvalidURL: "the URL of the host, or of the proxy set in the environment, is invalid",
    ProxyError: "the proxy cannot be reached, or refuses the request",
    NameResolutionError: "the host name cannot be resolved",
    ConnectionRefusedError: "connection refused",
    ConnectTimeout: "the connection attempt timed out",
    ReadTimeoutError: "no response within request_timeout_seconds",
    SSLError: "TLS failed; check that the host serves https, and REQUESTS_CA_BUNDLE if it is set",
}
"""Kind of an error, or of one of its causes → what it means; the first match counts."""

REFUSALS = frozenset({429, 503})
"""Statuses by which the service refuses one more job in addition to those in flight."""

TRANSIENT = REFUSALS | {408, 425, 500, 502, 504}
"""Statuses of failures that may be temporary."""

NEXT_TRY = "%s; attempt %d of %d in %.1f s"
"""The log line of a failure that is retried."""


# One request ------------------------------------------------------------------------------


@contextmanager
def mapped_errors(what: str, host: str) -> Iterator[None]:
    """Replace network errors.

    Args:
        what: What fails with it, for errors: ``poll job …``.
        host: The host, for errors; never a link.

    Raises:
        TransientError: The network failed, or a proxy or certificates cannot be used.
        ServiceError: The certificate of the host cannot be verified.
    """
    try:
        yield
    except NETWORK_ERRORS as error:
        mapped = _mapped(error, what, host)
        try:
            raise mapped from None
        finally:
            # It would hold the URL, and the SDK's structured log prints it, suppressed or not.
            mapped.__context__ = None
            del mapped  # its traceback refers to this frame


def _mapped(error: Exception, what: str, host: str) -> ServiceError:
    causes = [*_causes(error)]
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return ServiceError(
            f"could not {what}: the TLS certificate of {host} cannot be verified; check the "
            "host and, if a proxy uses its own certificate, REQUESTS_CA_BUNDLE"
        )
    detail = getattr(causes[-1], "strerror", None) or type(causes[-1]).__name__
    known = (text for kind, text in REASONS.items() if any(isinstance(c, kind) for c in causes))
    reason = next(known, f"the connection failed ({detail})")
    if type(error) is OSError:  # requests raises it for a missing file of certificates
        reason = "the CA certificates cannot be read; check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE"
    advice = "check the host, the network and any proxy; the next run continues from the bookmark"
    if is_loopback(host):
        advice = "is the emulator running? Start it with barchart-events-emulator"
    return TransientError(f"could not {what}: {host}: {reason}", advice=advice)


def _causes(error: object) -> Iterator[BaseException]:
    """Yield an error and what led to it."""
    if isinstance(error, BaseException):
        yield error
        reason = getattr(error, "reason", None)
        for cause in (*error.args, reason, error.__cause__, error.__context__):
            yield from _causes(cause)


class _FinalResponse(http.client.HTTPResponse):
    """A response; interim ones (1xx) before it are skipped. http.client skips only 100."""

    def _check_close(self) -> bool:
        return True  # even if the server would keep the connection

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MAX_INTERIM_RESPONSES):
            line: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if line[1] >= http.HTTPStatus.OK:
                return line
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException


class _Connection(HTTPConnection):
    response_class = _FinalResponse


class _TLSConnection(HTTPSConnection):
    response_class = _FinalResponse


CONNECTIONS = {HTTPConnection: _Connection, HTTPSConnection: _TLSConnection}


class _Adapter(HTTPAdapter):
    """Makes these connections, even through an HTTP proxy."""

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = CONNECTIONS.get(pool.ConnectionCls, pool.ConnectionCls)
        return pool


class Session(requests.Session):
    """Sends requests, each on a connection of its own."""

    def __init__(self, auth: requests.auth.AuthBase | None = None) -> None:
        """Open no connection yet. Without ``auth``, no credentials are sent at all."""
        super().__init__()
        for name in URL_LOGGERS:
            logging.getLogger(f"urllib3.{name}").addFilter(_drop_record)
        # Not None: requests would look for credentials in .netrc.
        self.auth = auth or (lambda request: request)
        self.headers["User-Agent"] = f"tap-barchart-events/{version('tap-barchart-events')}"
        # A late response then cannot be taken for another request's.
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
        options |= {"timeout": timeout, "stream": True, "allow_redirects": False}
        host, body = "/".join(url.split("/")[:3]), b""
        with mapped_errors(what, host), self.request(method, url, **options) as response:
            deadline = time.monotonic() + MAX_TIMEOUTS * timeout[1]
            while piece := response.raw.read1(MAX_BODY, decode_content=True):
                body += piece
                if len(body) > MAX_BODY or time.monotonic() > deadline:
                    raise TransientError(
                        f"could not {what}: the response is larger than {MAX_BODY:,} bytes, or "
                        "took too long; check api_url and any proxy"
                    )
        return response, body


def _drop_record(_record: logging.LogRecord) -> bool:
    return False


# When a call is repeated -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and for how long, a call is retried. Pauses double, with full jitter."""

    attempts: int = 9
    """Tries, the first one included."""

    timeout: float = 600
    """No further try begins later than this after the first one, in seconds."""

    wait_initial: float = 1
    """Upper bound of the first pause, in seconds; the next ones double."""

    wait_max: float = 60
    """Upper bound of all pauses, in seconds; a ``Retry-After`` may be longer."""

    def run(self, call: Callable[[], T], stopped: threading.Event) -> T:
        """Call until it does not raise ``TransientError``.

        Raises:
            ServiceError: The last failure, when no further try is allowed.
            SyncStopped: ``stopped`` was set during a pause.
        """
        retried = backoff.on_exception(
            lambda: self._pauses(stopped), TransientError, jitter=None, logger=None
        )
        return retried(call)()

    def _pauses(self, stopped: threading.Event) -> Generator[float, TransientError, None]:
        """Pause after each failure; yield 0, for backoff to go on at once."""
        began = time.monotonic()
        error = yield 0  # backoff starts the generator before the first try
        for attempt in itertools.count(1):
            pause = self.pause(error, attempt, time.monotonic() - began, backoff.full_jitter(1))
            logger.warning(NEXT_TRY, error, attempt + 1, self.attempts, pause)
            if stopped.wait(pause):
                raise SyncStopped
            error = yield 0

    def pause(self, error: TransientError, attempt: int, seconds: float, jitter: float) -> float:
        """Return the pause before the next try; it is never shorter than ``Retry-After``.

        Args:
            error: The failure.
            attempt: How many tries there have been.
            seconds: How long ago the first one began.
            jitter: Between 0 and 1.

        Raises:
            ServiceError: The failure, when no further try is allowed.
        """
        ceiling = min(self.wait_initial * 2.0 ** min(attempt - 1, 64), self.wait_max)
        pause = max(ceiling * jitter, error.retry_after or 0)
        if attempt < self.attempts and seconds + pause <= self.timeout:
            return pause
        why = "setting max_retries"
        if attempt < self.attempts:
            limit = f"none may begin more than {self.timeout:g} s after the first"
            why = f"the next one would be due in {pause:.0f} s, but {limit}"
        tries = "1 try" if attempt == 1 else f"{attempt} tries"
        final = ServiceError(f"{error}; gave up after {tries} ({why}); {error.advice}")
        final.is_outage = True
        raise final


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a ``Retry-After`` header; None if it has none."""
    try:
        return Retry().parse_retry_after(headers.get("Retry-After", ""))
    except (InvalidHeader, ValueError, OverflowError):
        return None
