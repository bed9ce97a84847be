"""One call of the API: it is sent and retried, its status is checked, and its response is parsed.

Nothing here depends on a particular call, except where the meaning of a status does.
"""

from __future__ import annotations

import http.client
import json
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from tap_barchart_events.api.clock import ServiceClock
from tap_barchart_events.api.connection import transfer_of
from tap_barchart_events.api.redaction import replace_errors, without_url
from tap_barchart_events.api.responses import Json, error_of, presentable
from tap_barchart_events.api.retry import (
    REFUSALS,
    TRANSIENT_STATUSES,
    RetryPolicy,
    TransientError,
    retry_after,
)
from tap_barchart_events.api.session import Session
from tap_barchart_events.exceptions import (
    CredentialsError,
    JobFailedError,
    JobForgottenError,
    JobNotReadyError,
    ServiceError,
    StartRejectedError,
    SyncStopped,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    import requests
    from requests.auth import AuthBase

    from tap_barchart_events.exceptions import BarchartEventsError

T = TypeVar("T")

LONGEST_RESPONSE = 1 << 20
"""Bytes of a response of the API, at most; a longer one is an error."""

ERRORS = {
    "EVENT_JOB_GET_FAILED_RUNNING": JobNotReadyError,
    "EVENT_JOB_GET_FAILED_NO_JOB": JobForgottenError,
    "EVENT_JOB_GET_FAILED": JobFailedError,
}
"""Documented codes of polls and links; the special ones first."""

UNREADABLE = ("SCHEMA_VALIDATION", "MALFORMED")
"""Parts of the codes by which the service says that it cannot read a request."""


class Caller:
    """Makes calls of the API. Safe to use from several threads."""

    def __init__(
        self,
        api_url: str,
        auth: AuthBase,
        *,
        secrets: Sequence[str],
        stopped: threading.Event,
        timeout: float,
        retry: RetryPolicy,
        connections: int,
        on_request: Callable[[str], None] | None,
    ) -> None:
        """Open no connection yet; ``ReportsClient`` documents the arguments.

        ``secrets`` are what an answer may repeat of the request, and no log may hold.
        """
        self.clock = ServiceClock()
        self._api_url = api_url
        self._stopped = stopped
        self._timeout = timeout
        self._retry = retry
        self._on_request = on_request
        self._secrets = secrets
        self._refusal = ""
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
        self, endpoint: str, method: str, path: str, what: str, *, parse: Callable[[Json], T]
    ) -> T:
        """Make one call of the API, with retries; ``request`` documents the arguments."""
        return self._retry.run(
            lambda: self.request(endpoint, method, path, what, parse=parse), self._stopped
        )

    def request(
        self,
        endpoint: str,
        method: str,
        path: str,
        what: str,
        body: dict[str, Any] | None = None,
        *,
        parse: Callable[[Json], T],
        connect_timeout: float | None = None,
    ) -> T:
        """Make one call of the API, once; return its parsed response.

        A ServiceError has the status of the answer, if there was one.

        Args:
            endpoint: The call, for metrics.
            method: HTTP method.
            path: Path and query.
            what: What fails with it, for errors: ``poll job …``.
            body: Sent as JSON.
            parse: Parses the response; its KeyError, TypeError and ValueError are transient.
            connect_timeout: To connect, in seconds, if it is not that of each read.

        Raises:
            CredentialsError: The service refuses the credentials now, or has done so before.
        """
        if self._refusal:  # more refusals could lock the account
            raise CredentialsError(self._refusal)
        if self._stopped.is_set():
            raise SyncStopped
        sent = time.monotonic()
        response = without_url(
            lambda: self._session.request(
                method,
                self._api_url + path,
                json=body,
                timeout=(connect_timeout or self._timeout, self._timeout),
                stream=True,
                # A redirect could lead credentials elsewhere.
                allow_redirects=False,
            ),
            what,
            self._api_url,
        )
        self.clock.observe(response.headers.get("Date"), sent, time.monotonic())
        return self._parsed(endpoint, what, response, parse)

    def _parsed(
        self, endpoint: str, what: str, response: requests.Response, parse: Callable[[Json], T]
    ) -> T:
        if self._on_request:
            self._on_request(endpoint)
        with response:
            try:
                transfer = transfer_of(response)
                content = without_url(lambda: self._read(response, what), what, self._api_url)
                value = self._json(endpoint, what, response, content)
                parsed = replace_errors(
                    lambda: parse(value),
                    (KeyError, TypeError, ValueError),
                    lambda _: TransientError(
                        f"could not {what}: the response is not as documented"
                    ),
                )
            except ServiceError as error:
                error.status = response.status_code
                raise
            transfer.is_complete = True
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
        """Return the JSON of a response's body, or raise what an error response means."""
        location = response.headers.get("Location")
        if response.status_code in {302, 303, 307} and location and endpoint == "link":
            return {"link": location}
        if not response.ok or response.is_redirect:
            raise self._error(endpoint, what, response, body)
        return replace_errors(
            lambda: json.loads(body),
            (ValueError, RecursionError),
            lambda _: TransientError(
                f"could not {what}: the response is not JSON; check api_url, and any proxy "
                "in between"
            ),
        )

    def _error(
        self, endpoint: str, what: str, response: requests.Response, body: bytes
    ) -> BarchartEventsError:
        """Return what an error response means for a call."""
        status = response.status_code
        codes, message = error_of(body)
        answered = f"could not {what}: the service answered {status}"
        if message == http.client.responses.get(status):  # as a gateway says
            message = ""
        if said := presentable(": ".join(filter(None, [", ".join(codes), message])), self._secrets):
            answered += f" ({said})"
        if status == HTTPStatus.UNAUTHORIZED or (
            status == HTTPStatus.FORBIDDEN and endpoint != "authenticate"
        ):
            answered += (
                "; check username, password and customer, and that api_url is the host that they "
                "are for"
            )
            if status == HTTPStatus.UNAUTHORIZED:  # a 403 may be one product's
                self._refusal = answered
            return CredentialsError(answered)
        if endpoint == "authenticate":
            return ServiceError(answered)
        if endpoint in {"poll", "link"}:
            known = next((kind for code, kind in ERRORS.items() if code in codes), None)
            if known or status == HTTPStatus.NOT_FOUND:
                return (known or JobForgottenError)(answered)
        if endpoint == "start" and codes and status not in REFUSALS:
            rejected = StartRejectedError(answered)
            rejected.is_final = any(part in code for part in UNREADABLE for code in codes)
            return rejected
        if status in TRANSIENT_STATUSES:
            return TransientError(answered, retry_after(response.headers))
        return ServiceError(answered + ", which is not documented; check api_url")
