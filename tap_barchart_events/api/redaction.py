"""Keeps links out of errors and logs. A link is a secret: it gives access to the file.

The libraries put whole URLs into their errors, and an error refers to its cause. So their errors
are replaced, and the loggers that log URLs are disabled.
"""

from __future__ import annotations

import errno
import logging
import ssl
from typing import TYPE_CHECKING, TypeVar

import requests
import urllib3

from tap_barchart_events.api.connection import EndlessResponseError, SlowResponseError
from tap_barchart_events.api.retry import TransientError, UnreachableError
from tap_barchart_events.exceptions import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

URL_LOGGERS = tuple(
    f"urllib3.{module}"
    for module in ("connection", "connectionpool", "poolmanager", "response", "util.retry")
)
"""Loggers that log whole URLs, links included; some of them as warnings."""

# requests raises a ValueError for a redirect to an invalid URL.
NETWORK_ERRORS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    OSError,
    ValueError,
)

NO_ROUTE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH})

REASONS: dict[type[Exception], str] = {
    requests.ReadTimeout: "no response within request_timeout_seconds",
    urllib3.exceptions.ReadTimeoutError: "no response within request_timeout_seconds",
    EndlessResponseError: "the response does not end",
    SlowResponseError: "the response does not end in time: it comes too slowly",
    requests.exceptions.SSLError: "TLS failed; check that the host serves https",
    requests.exceptions.ProxyError: "the proxy refused",
}


def silence_url_loggers() -> None:
    """Drop all that the loggers of ``URL_LOGGERS`` log."""
    for name in URL_LOGGERS:
        logging.getLogger(name).addFilter(_drop_record)


def _drop_record(_record: logging.LogRecord) -> bool:
    return False


def replace_errors(
    call: Callable[[], T],
    kinds: tuple[type[Exception], ...],
    replacement: Callable[[Exception], Exception],
) -> T:
    """Return what a call returns; raise the replacement of an error of these kinds.

    The replacement is raised outside of the ``except`` block: inside, the error would be its
    context, and would be printed along with it.
    """
    try:
        return call()
    except kinds as error:
        instead = replacement(error)
    raise instead


def without_url(call: Callable[[], T], what: str, host: str) -> T:
    """Return what a call over the network returns.

    Args:
        call: The call.
        what: What fails with it, for errors: ``poll job …``.
        host: The host, for errors; never a link.

    Raises:
        TransientError: The network failed.
        ServiceError: The certificate of the host cannot be verified.
    """
    return replace_errors(call, NETWORK_ERRORS, lambda error: _replacement(error, what, host))


def _replacement(error: Exception, what: str, host: str) -> ServiceError:
    """Return the replacement of a network error, which keeps no more than the kind of error."""
    causes = _causes(error)

    def has(kind: type[Exception]) -> bool:
        return any(isinstance(cause, kind) for cause in causes)

    if has(ssl.SSLCertVerificationError):
        return ServiceError(
            f"could not {what}: the TLS certificate of {host} cannot be verified; check the "
            "host, and REQUESTS_CA_BUNDLE where a proxy has a certificate of its own"
        )
    if has(urllib3.exceptions.NameResolutionError):
        return UnreachableError(f"could not {what}: the host name of {host} cannot be resolved")
    if has(ConnectionRefusedError):
        return UnreachableError(f"could not {what}: {host}: connection refused")
    if any(isinstance(cause, OSError) and cause.errno in NO_ROUTE for cause in causes):
        return UnreachableError(f"could not {what}: {host}: no route to the host")
    if has(requests.ConnectTimeout):
        return UnreachableError(f"could not {what}: {host}: no connection in time")
    reason = next(
        (text for kind, text in REASONS.items() if has(kind)),
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
