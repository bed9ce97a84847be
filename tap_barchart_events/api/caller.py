"""One call of the API: it is sent and retried, its status is checked, and its response is parsed.

Nothing here depends on a particular call, except where the meaning of a status does.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from tap_barchart_events.api.clock import ServiceClock
from tap_barchart_events.api.connection import transfer_of
from tap_barchart_events.api.redaction import replace_errors, without_url
from tap_barchart_events.api.responses import Json, error_code
from tap_barchart_events.api.retry import (
    TRANSIENT_STATUSES,
    RetryPolicy,
    StartPause,
    TransientError,
    UnreachableError,
    retry_after,
)
from tap_barchart_events.api.session import Session
from tap_barchart_events.exceptions import (
    CredentialsError,
    JobFailedError,
    JobForgottenError,
    JobNotReadyError,
    JobRefusedError,
    ServiceError,
    SyncStopped,
)
from tap_barchart_events.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests
    from requests.auth import AuthBase

T = TypeVar("T")

LONGEST_RESPONSE = 1 << 20
"""Bytes of a response of the API, at most; a longer one is an error."""

UNREACHABLE_TIMEOUT = 10
"""Seconds within which the last try begins if the host is unreachable and has never answered."""

ERRORS = {
    "EVENT_JOB_GET_FAILED": JobFailedError,
    "EVENT_JOB_GET_FAILED_RUNNING": JobNotReadyError,
    "EVENT_JOB_GET_FAILED_NO_JOB": JobForgottenError,
}


UNKNOWN_CALL = frozenset({404, 405, 501})
"""Statuses of a service that does not have the call."""


class UnknownCallError(ServiceError):
    """The service does not have the call."""


class Caller:
    """Makes calls of the API. Safe to use from several threads."""

    def __init__(
        self,
        api_url: str,
        auth: AuthBase,
        *,
        stopped: threading.Event,
        timeout: float,
        retry: RetryPolicy,
        connections: int,
        on_request: Callable[[str], None] | None,
    ) -> None:
        """Open no connection yet; ``ReportsClient`` documents the arguments."""
        self.clock = ServiceClock()
        self._api_url = api_url
        self._stopped = stopped
        self._timeout = timeout
        self._retry = retry
        self._on_request = on_request
        self._is_reached = False
        self._refusal = ""
        self._first = threading.Lock()
        self._is_accepted = False
        self._session = Session(connections)
        self._session.auth = auth
        # Without it the service answers a call for a link with a redirect.
        self._session.headers["Accept"] = "application/json"
        # A cache in between could answer every start with the same job.
        self._session.headers["Cache-Control"] = "no-cache"

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def call(
        self,
        endpoint: str,
        method: str,
        path: str,
        what: str,
        body: dict[str, Any] | None = None,
        *,
        parse: Callable[[Json], T],
        is_refusal: Callable[[int | None], bool] = lambda _: False,
        pause: StartPause | None = None,
    ) -> T:
        """Make one call of the API, with retries; return its parsed response.

        Args:
            endpoint: The call, for metrics.
            method: HTTP method.
            path: Path and query.
            what: What fails with it, for errors: ``poll job …``.
            body: Sent as JSON.
            parse: Parses the response; its KeyError, TypeError and ValueError are retried.
            is_refusal: Returns, by the status, whether a failure is not to be retried.
            pause: A pause that all calls of the kind share.

        Raises:
            JobRefusedError: The call is refused: ``is_refusal`` is true of the response's status,
                or the pause of another call is under way. There is no retry.
        """

        def attempt() -> T:
            is_paused = False
            try:
                with self._one_by_one():
                    if pause and pause.left:
                        text = f"could not {what}: Retry-After of an earlier start has not passed"
                        raise JobRefusedError(text, pause.left)
                    return self._request(endpoint, method, path, what, body, parse)
            except TransientError as error:
                if pause and error.retry_after:
                    is_paused = pause.left > 0
                    pause.extend(error.retry_after)
                if isinstance(error, UnreachableError) and not self._is_reached:
                    self._shorten(error)
                if not (is_paused or is_refusal(error.status)):
                    raise
                refusal = JobRefusedError(str(error), error.retry_after)
            raise refusal

        return self._retry.run(attempt, self._stopped)

    def _shorten(self, error: UnreachableError) -> None:
        """Give up soon: a host that has never answered may not be there at all."""
        error.timeout = UNREACHABLE_TIMEOUT
        error.advice = (
            "is the emulator running? barchart-events-emulator starts it"
            if is_loopback(self._api_url)
            else "check api_url, the network and the proxy"
        )

    @contextmanager
    def _one_by_one(self) -> Iterator[None]:
        """Send one request at a time until the service has accepted the credentials.

        So wrong credentials are sent once, whatever the first call is: more refusals could lock
        the account.

        Raises:
            CredentialsError: The service has refused the credentials.
            SyncStopped: The sync has ended meanwhile.
        """
        with ExitStack() as held:
            if not self._is_accepted:
                held.enter_context(self._first)
            if self._is_accepted:
                held.close()
            if self._refusal:
                raise CredentialsError(self._refusal)
            if self._stopped.is_set():
                raise SyncStopped
            yield

    def _request(
        self,
        endpoint: str,
        method: str,
        path: str,
        what: str,
        body: dict[str, Any] | None,
        parse: Callable[[Json], T],
    ) -> T:
        """Make a request; return its parsed response."""
        sent = time.monotonic()
        response = without_url(
            lambda: self._session.request(
                method,
                self._api_url + path,
                json=body,
                timeout=self._timeout,
                stream=True,
                # A redirect could lead credentials elsewhere.
                allow_redirects=False,
            ),
            what,
            self._api_url,
        )
        with response:
            transfer = transfer_of(response)
            self._is_reached = True
            self.clock.observe(response.headers.get("Date"), sent, time.monotonic())
            content = without_url(lambda: self._read(response, what), what, self._api_url)
            if self._on_request:
                self._on_request(endpoint)
            value = self._json(endpoint, what, response, content)
            parsed = replace_errors(
                lambda: parse(value),
                (KeyError, TypeError, ValueError),
                lambda _: TransientError(f"could not {what}: the response is not as documented"),
            )
            transfer.is_complete = True
            self._is_accepted = True
            return parsed

    @staticmethod
    def _read(response: requests.Response, what: str) -> bytes:
        """Read a response's body, which is short even when it is decompressed."""
        body = b""
        while piece := response.raw.read1(LONGEST_RESPONSE, decode_content=True):
            body += piece
            if len(body) > LONGEST_RESPONSE:
                raise TransientError(
                    f"could not {what}: the response has over {LONGEST_RESPONSE:,} bytes; check "
                    "api_url, and any proxy in between"
                )
        return body

    def _json(self, endpoint: str, what: str, response: requests.Response, body: bytes) -> Json:
        """Return the JSON of a response's body, or raise what its status means."""
        status = response.status_code
        if status in {401, 403}:
            refusal = (
                f"could not {what}: the service answered {status}; check username, password "
                "and customer, and that api_url is the host that they are for"
            )
            if status == HTTPStatus.UNAUTHORIZED:  # a 403 may be one product's
                self._refusal = refusal
            raise CredentialsError(refusal)
        location = response.headers.get("Location")
        if status in {302, 303, 307} and location and endpoint == "link":
            return {"link": location}
        code = error_code(body) if status >= HTTPStatus.INTERNAL_SERVER_ERROR else None
        if code in ERRORS and endpoint in {"poll", "link"}:
            raise ERRORS[code](f"could not {what}: the service answered {code}")
        if status in TRANSIENT_STATUSES:
            raise TransientError(
                f"could not {what}: the service answered {status}" + (f" {code}" if code else ""),
                retry_after(response.headers),
                status,
            )
        if not response.ok or response.is_redirect:
            kind = UnknownCallError if status in UNKNOWN_CALL else ServiceError
            raise kind(
                f"could not {what}: the service answered {status}, which is not documented; "
                "check api_url"
            )
        return replace_errors(
            lambda: json.loads(body),
            (ValueError, RecursionError),
            lambda _: TransientError(
                f"could not {what}: the response is not JSON; check api_url, and any proxy "
                "in between"
            ),
        )
