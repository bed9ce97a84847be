"""The service's calls over HTTP: start, poll, link, download. Depends on no window and no Singer.

Source of facts: the vendor's OpenAPI file, version 6.0.0, and its public documentation.
"""

from __future__ import annotations

import logging
import time
from base64 import b64encode
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from requests.auth import HTTPBasicAuth

from tap_barchart_events.api.caller import Caller
from tap_barchart_events.api.download import Download
from tap_barchart_events.api.responses import ExportFilter, Job, Json, parse_job, parse_link
from tap_barchart_events.api.retry import RetryPolicy, TransientError, UnreachableError
from tap_barchart_events.api.session import Session
from tap_barchart_events.exceptions import JobMismatchError, ServiceError
from tap_barchart_events.urls import is_loopback

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from pathlib import Path


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
        connections: int = 8,
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
            connections: How many connections are kept open.
            on_request: Called with the endpoint of each API request.
        """
        self._stopped = stopped
        self._timeout = timeout
        self._retry = retry or RetryPolicy()
        self._api_url = api_url
        given = f"{username}:{password}".encode()
        self._api = Caller(
            api_url,
            HTTPBasicAuth(username.encode(), password.encode()),
            secrets=(b64encode(given).decode().rstrip("="), password, username),
            stopped=stopped,
            timeout=timeout,
            retry=self._retry,
            connections=connections,
            on_request=on_request,
        )
        self._requested: dict[str, ExportFilter] = {}
        self._warnings: dict[str, object] = {}
        self._storage = Session(connections)
        self._encodings_warned_of: dict[str, object] = {}

    def close(self) -> None:
        """Close all connections."""
        self._api.close()
        self._storage.close()

    @property
    def clock_offset(self) -> float | None:
        """Seconds that the service's clock is ahead of the machine's; negative if behind.

        ``ServiceClock.offset`` documents the value.
        """
        return self._api.clock.offset(time.time() - time.monotonic())

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
        what = "check the credentials"

        def attempt() -> ServiceError | None:
            try:
                self._api.request(
                    "authenticate",
                    "GET",
                    "/service/authenticate",
                    what,
                    parse=lambda _: None,
                    connect_timeout=min(self._timeout, CONNECT_TIMEOUT) if is_first_sync else None,
                )
            except UnreachableError as error:
                if is_first_sync:
                    error.timeout = UNREACHABLE_TIMEOUT
                error.advice = (
                    "is the emulator running? barchart-events-emulator starts it"
                    if is_loopback(self._api_url)
                    else "check api_url, the network and the proxy"
                )
                raise
            except ServiceError as error:
                if error.status in {None, HTTPStatus.UNAUTHORIZED}:
                    raise
                return error
            return None

        error = self._retry.run(attempt, self._stopped)
        if error:
            logger.warning(
                "%s; the start of the first export job shows whether they are right", error
            )
        return error is None

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
        return self._api.request(
            "start",
            "POST",
            "/reports",
            what,
            body,
            parse=lambda value: self._new_job(parse_job(value), what, requested),
        )

    def _new_job(self, job: Job, what: str, requested: ExportFilter) -> Job:
        """Return a job that was started, if it is the requested one; expect responses about it."""
        self._check_job(job, what, requested)
        if self._requested.setdefault(job.source, requested) != requested:
            raise JobMismatchError(
                f"could not {what}: the service answered with job {job.source}, which this "
                "sync started for another window; a cache in between may be the reason"
            )
        return job

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
            job = parse_job(value)
            if job.source != source:
                raise JobMismatchError(f"could not {what}: the service answered about another job")
            self._check_job(job, what, self._requested.get(source))
            return job

        return self._api.call("poll", "GET", path, what, parse=parse)

    def _check_job(self, job: Job, what: str, requested: ExportFilter | None) -> None:
        """Compare the filter that the service echoes with the requested one."""
        if requested is None:
            return
        differences = requested.differences(job.filter)
        if differences:
            raise JobMismatchError(
                f"could not {what}: the service answered with job {job.source} of another export "
                f"(other {' and '.join(differences)}); a cache in between may be the reason"
            )
        for unknown in requested.unknown_codes(job.filter):
            self._warn_once(f"the service may not know {unknown}: it echoes null; check the code")
        if requested.has_other_types(job.filter):
            self._warn_once(
                "the service echoes other event types than those of the setting event_types; "
                "check that no type is missing"
            )

    def _warn_once(self, text: str) -> None:
        own = object()
        if self._warnings.setdefault(text, own) is own:  # also if two threads come at once
            logger.warning("%s", text)

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
        return self._api.call("link", "GET", path, what, parse=parse_link)

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
            warned=self._encodings_warned_of,
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
