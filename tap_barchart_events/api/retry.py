"""How calls over HTTP are tried again, and how their failures are told without secrets.

Knows neither the service's calls nor its answers.
"""

from __future__ import annotations

import email.utils
import logging
import ssl
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TypeVar

import backoff
import requests
import urllib3

from tap_barchart_events.exceptions import ServiceError, SyncStopped

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Mapping

logger = logging.getLogger(__name__)

T = TypeVar("T")

TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
# A ValueError is what requests lets through of a redirection to what is no URL.
NETWORK_FAILURES = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    OSError,
    ValueError,
)


class TransientError(ServiceError):
    """A failure that may pass: worth another try."""

    def __init__(
        self, message: str, retry_after: float | None = None, status: int | None = None
    ) -> None:
        """Keep how many seconds the other side asked to wait, if it did, and the HTTP status."""
        super().__init__(message)
        self.retry_after = retry_after
        self.status = status


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and for how long, a call is tried again. Pauses double, with full jitter."""

    max_retries: int = 8
    """Tries after the first one."""

    max_seconds: float = 600
    """No further try is begun later than this after the first one, in seconds."""

    first_pause: float = 1
    """Upper bound of the first pause, in seconds; the next ones double."""

    longest_pause: float = 60
    """Upper bound of all pauses, in seconds; a ``Retry-After`` may be longer."""

    def run(self, call: Callable[[], T], stopped: threading.Event) -> T:
        """Call until it does not raise ``TransientError``.

        Raises:
            ServiceError: The last failure, when no further try is allowed.
            SyncStopped: The sync is ending.
        """
        began = time.monotonic()

        def attempt() -> T:
            if stopped.is_set():
                raise SyncStopped
            return call()

        retried: Callable[[], T] = backoff.on_exception(
            self._pauses,
            TransientError,
            max_tries=self.max_retries + 1,
            max_time=self.max_seconds,
            # A pause cut short by the time bound would be sooner than the other side asked.
            giveup=lambda error: (
                time.monotonic() - began + (getattr(error, "retry_after", None) or 0)
                > self.max_seconds
            ),
            on_backoff=lambda details: logger.warning(
                "%s; try %d of %d in %.1f s",
                details.get("exception"),
                details["tries"] + 1,
                self.max_retries + 1,
                details["wait"],
            ),
            jitter=None,
            logger=None,
        )(attempt)
        try:
            return retried()
        except TransientError as error:
            last = error
        raise ServiceError(
            f"{last}; given up after {self.max_retries + 1} tries at most (setting max_retries): "
            "run again later, it goes on from the bookmark"
        )

    def _pauses(self) -> Generator[float, TransientError, None]:
        ceiling = self.first_pause
        error = yield 0
        while True:
            asked = error.retry_after
            error = yield backoff.full_jitter(ceiling) if asked is None else asked
            ceiling = min(ceiling * 2, self.longest_pause)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks to wait (RFC 9110, 10.2.3)."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        until = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())


def failure(error: Exception, what: str, host: str) -> ServiceError:
    """Return what to raise for a failure of the network.

    The text of the libraries' own errors holds the whole URL, and a link is a secret, so
    their kind is all that is told. For the same reason the caller raises this outside of
    the ``except`` block: otherwise the original would be printed along with it.
    """
    causes = _causes(error)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return ServiceError(
            f"could not {what}: the TLS certificate of {host} cannot be verified; check the "
            "host, and REQUESTS_CA_BUNDLE where a proxy has a certificate of its own"
        )
    reasons = {
        requests.ConnectTimeout: "no connection within the request time-out",
        requests.ReadTimeout: "no answer within request_timeout_seconds",
        urllib3.exceptions.ReadTimeoutError: "no answer within request_timeout_seconds",
        urllib3.exceptions.NameResolutionError: "the name of the host is not known; is it right?",
        requests.exceptions.SSLError: "TLS failed; does the host speak https?",
        ConnectionRefusedError: "connection refused",
        requests.exceptions.ProxyError: "the proxy refused",
    }
    reason = next(
        (text for kind, text in reasons.items() if any(isinstance(c, kind) for c in causes)),
        f"the connection broke ({type(causes[-1]).__name__})",
    )
    return TransientError(f"could not {what}: {host}: {reason}")


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    queue: list[object] = [error]
    while queue:
        item = queue.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            queue += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]
    return found
