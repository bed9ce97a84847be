"""The service's calls over HTTP: start, poll, link, download. Depends on no window and no Singer.

Source of facts: the vendor's OpenAPI file, version 6.0.0, and its public documentation.
"""

from __future__ import annotations

import logging
import time
from base64 import b64encode
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from requests.auth import HTTPBasicAuth

from tap_barchart_events.api.download import Download
from tap_barchart_events.api.http import Session, replaced_errors
from tap_barchart_events.api.responses import (
    ExportFilter,
    Job,
    Json,
    instant_of,
    parse_job,
    parse_link,
    value_of,
)
from tap_barchart_events.api.retry import RetryPolicy, TransientError
from tap_barchart_events.exceptions import (
    CredentialsError,
    JobMismatchError,
    ServiceError,
    SyncStopped,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from pathlib import Path

T = TypeVar("T")

logger = logging.getLogger(__name__)

DEFAULT_DELIMITER = "|"

UNREACHABLE_TIMEOUT = 10
"""Seconds within which the last try begins if the host of a first sync cannot be reached."""

CONNECT_TIMEOUT = 5
"""Longest time to connect in a first sync, in seconds: it ends within 15 seconds."""

PROGRESS = 1 << 20
"""Bytes that a broken transfer must have received to count as progress, not as a failure."""


class ReportsClient:
    """The service's report calls. Safe to use from several threads."""

    def __init__(
        self,
        api_url: str,
        username: str,
        password: str,
        *,
        stopped: threading.Event,
        timeout: float = 60,
        retry: RetryPolicy | None = None,
        on_request: Callable[[str], None] | None = None,
    ) -> None:
        """Open no connection yet.

        Args:
            api_url: Base URL, https (or http on a loopback host).
            username: For HTTP Basic authentication.
            password: For HTTP Basic authentication.
            stopped: Ends calls when set.
            timeout: To connect and for each read, in seconds.
            retry: How calls are retried.
            on_request: Called with the endpoint of each API request.
        """
        self._api_url = api_url
        self._stopped = stopped
        self._timeout = timeout
        self._retry = retry or RetryPolicy()
        self._on_request = on_request
        given = f"{username}:{password}".encode()
        self._secrets = (b64encode(given).decode().rstrip("="), password, username)
        self._session = Session(HTTPBasicAuth(username.encode(), password.encode()))
        # Without it the service answers a call for a link with a redirect.
        self._session.headers["Accept"] = "application/json"
        # A cache in between could answer every start with the same job.
        self._session.headers["Cache-Control"] = "no-cache"
        self._storage = Session()
        self._refusal = ""
        self._clock: tuple[float, float] | None = None
        self._requested: dict[str, ExportFilter] = {}
        self._warnings: dict[str, object] = {}

    def close(self) -> None:
        """Close all connections."""
        self._session.close()
        self._storage.close()

    @property
    def clock_offset(self) -> float | None:
        """Seconds that the service's clock is ahead of the machine's; negative if behind.

        It is 0 if the clocks may agree, otherwise the least that they differ; ``None`` as long as
        no answer had a ``Date``.
        """
        if self._clock is None:
            return None
        low, high = (bound - time.time() + time.monotonic() for bound in self._clock)
        return 0.0 if low <= 0 <= high else low

    @property
    def now(self) -> float:
        """The present time, in seconds since the epoch: the service's if it is the earlier one."""
        return time.time() + min(0.0, self.clock_offset or 0.0)

    def authenticate(self, *, is_first_sync: bool = True) -> bool:
        """Check the credentials, and get the service's time: ``GET /service/authenticate``.

        A sync makes this call before all others, so that wrong credentials are refused before a job
        is started. Any other answer than 401 or the documented one is a warning.

        Args:
            is_first_sync: Whether to give up soon if the host cannot be reached: it may not be
                there at all.

        Returns:
            Whether the service accepts the credentials.

        Raises:
            CredentialsError: The credentials are wrong.
            ServiceError: The service gave no answer at any try.
        """
        retry, timeout = self._retry, self._timeout
        if is_first_sync:
            retry = replace(retry, timeout=min(retry.timeout, UNREACHABLE_TIMEOUT))
            timeout = min(timeout, CONNECT_TIMEOUT)
        path, what = "/service/authenticate", "check the credentials"

        def attempt() -> None:
            self._call("authenticate", path, what, lambda _: None, connect_timeout=timeout)

        try:
            retry.run(attempt, self._stopped, answers=False)
        except CredentialsError:
            raise
        except ServiceError as error:
            if not error.status:
                raise
            logger.warning(
                "%s; the start of the first export job shows whether they are right", error
            )
            return False
        return True

    def start(
        self,
        *,
        customer: str,
        product: str,
        start: int,
        end: int,
        types: Sequence[str] = (),
        delimiter: str = DEFAULT_DELIMITER,
    ) -> Job:
        """Start an export job, with one try: ``POST /reports``.

        Args:
            customer: Customer code.
            product: Product code.
            start: First instant, in milliseconds.
            end: Last instant, in milliseconds; whether it is inclusive is not documented.
            types: Event type codes; none for all.
            delimiter: Field separator; the service's default is not sent.

        Raises:
            CredentialsError: The credentials are wrong.
            JobMismatchError: The service answered with the job of another export.
            StartRejectedError: The service answered with an error code of its own.
            TransientError: The service failed, or starts no more jobs.
            ServiceError: The answer is not documented.
        """
        requested = ExportFilter(customer, product, start, end, tuple(types))
        body: dict[str, Any] = {"filter": requested.as_json()}
        if delimiter != DEFAULT_DELIMITER:
            body["output"] = {"delimiter": delimiter}
        what = "start an export job"

        def parse(value: Json) -> Job:
            job = self._job(value, what, requested)
            if self._requested.setdefault(job.source, requested) != requested:
                raise JobMismatchError(
                    f"could not {what}: the service answered with job {job.source}, which this "
                    "sync started for another window; a cache in between may be the reason"
                )
            return job

        return self._call("start", "/reports", what, parse, json=body)

    def wait_as_asked(self, error: Exception) -> None:
        """Wait as long as the ``Retry-After`` of an error asks for, if it has one.

        Raises:
            ServiceError: No call is retried after so long a pause.
        """
        if isinstance(error, TransientError) and error.retry_after:
            self._stopped.wait(self._retry.pause(error, 1, 0, 0))

    def expect(
        self,
        source: str,
        *,
        customer: str,
        product: str,
        start: int,
        end: int,
        types: Sequence[str] = (),
    ) -> None:
        """Set what a job of an earlier run exports; responses about it are compared with that."""
        self._requested[source] = ExportFilter(customer, product, start, end, tuple(types))

    def poll(self, source: str) -> Job:
        """Get the status of a job: ``GET /reports/{source}/availability``.

        Raises:
            CredentialsError: The credentials are wrong.
            JobForgottenError: The service has no such job.
            JobMismatchError: The service answered with a job of another export.
            ServiceError: The service failed at each try.
        """
        path = f"/reports/{quote(source, safe='')}/availability"
        what = f"poll job {source}"

        def parse(value: Json) -> Job:
            job = self._job(value, what, self._requested.get(source))
            if job.source != source:
                raise JobMismatchError(f"could not {what}: the service answered about another job")
            return job

        return self._retry.run(lambda: self._call("poll", path, what, parse), self._stopped)

    def _job(self, value: Json, what: str, requested: ExportFilter | None) -> Job:
        """Return the job of a response, if the filter that it echoes is the requested one."""
        job = parse_job(value)
        differences = requested.differences(job.filter) if requested else []
        if differences:
            raise JobMismatchError(
                f"could not {what}: the service answered with job {job.source} of another export "
                f"(other {' and '.join(differences)}); a cache in between may be the reason"
            )
        for text in requested.doubts(job.filter) if requested else []:
            self._warn_once(text)
        return job

    def link(self, source: str) -> str:
        """Get a link to a job's file, valid for 15 minutes: ``GET /reports/{source}``.

        Raises:
            CredentialsError: The credentials are wrong.
            JobFailedError: The job has failed.
            JobForgottenError: The service has no such job.
            JobNotReadyError: The job is still running.
            ServiceError: The service failed at each try.
        """
        path = f"/reports/{quote(source, safe='')}"
        what = f"get the link of job {source}"
        return self._retry.run(lambda: self._call("link", path, what, parse_link), self._stopped)

    def download(self, source: str, path: Path) -> int:
        """Download the file of a job, complete and decompressed.

        Each try gets a new link, because the last one may have expired.

        Returns:
            How many bytes were transferred.

        Raises:
            As ``link``, and FileError if the disk is full, or the file is not text in UTF-8.
        """
        download = Download(
            path,
            what=f"download the export of job {source}",
            session=self._storage,
            timeout=self._timeout,
            stopped=self._stopped,
            warn_once=self._warn_once,
        )

        def attempt() -> bool:
            before = download.best
            try:
                download.run(self.link(source))
            except TransientError:
                if download.best - before >= PROGRESS:
                    return False
                raise
            return True

        try:
            while not self._retry.run(attempt, self._stopped):
                pass
        except Exception:
            # The window may be split; no later download then replaces this file.
            if path.is_file():
                path.unlink()
            raise
        return download.received

    def _call(
        self,
        call: str,
        path: str,
        what: str,
        parse: Callable[[Json], T],
        *,
        json: dict[str, Any] | None = None,
        connect_timeout: float | None = None,
    ) -> T:
        """Make one call of the API, once: a POST if there is ``json``. Return what was parsed.

        A KeyError, TypeError or ValueError of ``parse`` is a TransientError. A ServiceError has the
        status of the response, if there was one.

        Raises:
            CredentialsError: The service refuses the credentials now, or has done so before.
        """
        if self._refusal:  # more refusals could lock the account
            raise CredentialsError(self._refusal)
        if self._stopped.is_set():
            raise SyncStopped
        sent = time.monotonic()
        response, body = self._session.call(
            "POST" if json else "GET",
            self._api_url + path,
            what,
            json=json,
            timeout=(connect_timeout or self._timeout, self._timeout),
        )
        if self._on_request:
            self._on_request(call)
        said = instant_of(response.headers.get("Date", ""))
        if said is not None and self._clock is None:
            # The service made the response between these two moments, and cut off the fraction.
            self._clock = (said - time.monotonic(), said + 1 - sent)
        try:
            value = value_of(call, what, response, body, self._secrets)
            with replaced_errors(
                (KeyError, TypeError, ValueError),
                lambda _: TransientError(f"could not {what}: the response is not as documented"),
            ):
                return parse(value)
        except ServiceError as error:
            error.status = response.status_code
            if response.status_code == HTTPStatus.UNAUTHORIZED:  # a 403 may be one product's
                self._refusal = str(error)
            raise

    def _warn_once(self, text: str) -> None:
        own = object()
        if self._warnings.setdefault(text, own) is own:  # also if two threads come at once
            logger.warning("%s", text)
