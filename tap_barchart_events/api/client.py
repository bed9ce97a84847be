"""The service's calls over HTTP: start, poll, link, download. Depends on no window and no Singer.

Source of facts: the vendor's OpenAPI file, version 6.0.0, and its public documentation.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from requests.auth import HTTPBasicAuth

from tap_barchart_events.api.caller import Caller, UnknownCallError
from tap_barchart_events.api.download import Download
from tap_barchart_events.api.responses import ExportFilter, Job, Json, parse_job, parse_link
from tap_barchart_events.api.retry import RetryPolicy, StartPause, TransientError
from tap_barchart_events.api.session import Session
from tap_barchart_events.exceptions import (
    JobForgottenError,
    JobMismatchError,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


logger = logging.getLogger(__name__)

DEFAULT_DELIMITER = "|"

REFUSALS = frozenset({429, 503})
"""Statuses by which the service refuses one more job, beside those in flight."""

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
        self._api = Caller(
            api_url,
            HTTPBasicAuth(username.encode(), password.encode()),
            stopped=stopped,
            timeout=timeout,
            retry=self._retry,
            connections=connections,
            on_request=on_request,
        )
        self._requested: dict[str, ExportFilter] = {}
        self._warned_of_types = False
        self._start_pause = StartPause()
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

    @property
    def starts_paused_until(self) -> float:
        """Until when no job may be started, by ``Retry-After``; of the monotonic clock."""
        return self._start_pause.until

    def authenticate(self) -> None:
        """Check the credentials, and get the service's time: ``GET /service/authenticate``.

        A sync makes this call before all others, so that wrong credentials are refused before a job
        is started. A service may lack the call; that is no failure.

        Raises:
            CredentialsError: The credentials are wrong.
            ServiceError: The service cannot be reached, or failed at each try.
        """
        path = "/service/authenticate"
        with suppress(UnknownCallError):
            self._api.call(
                "authenticate", "GET", path, "check the credentials", parse=lambda _: None
            )

    def start(
        self,
        *,
        customer: str,
        product: str,
        start: int,
        end: int,
        types: Sequence[str] = (),
        delimiter: str = DEFAULT_DELIMITER,
        is_only_job: Callable[[], bool] = lambda: True,
    ) -> Job:
        """Start an export job: ``POST /reports``.

        Args:
            customer: Customer code.
            product: Product code.
            start: First instant, in milliseconds.
            end: Last instant, in milliseconds; whether it is inclusive is not documented.
            types: Event type codes; none for all.
            delimiter: Field separator; the service's default is not sent.
            is_only_job: Returns whether no other job is in flight. A refusal is then retried.

        Raises:
            CredentialsError: The credentials are wrong.
            JobMismatchError: The service answered with the job of another export.
            JobRefusedError: The service starts no more jobs beside those in flight.
            ServiceError: The service failed at each try.
        """
        requested = ExportFilter(customer, product, start, end, tuple(types))
        body: dict[str, Any] = {"filter": requested.as_json()}
        if delimiter != DEFAULT_DELIMITER:
            body["output"] = {"delimiter": delimiter}
        what = "start an export job"
        return self._api.call(
            "start",
            "POST",
            "/reports",
            what,
            body,
            parse=lambda value: self._new_job(parse_job(value), what, requested),
            is_refusal=lambda status: status in REFUSALS and not is_only_job(),
            pause=self._start_pause,
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

        with self._without_forgotten(source):
            return self._api.call("poll", "GET", path, what, parse=parse)

    @contextmanager
    def _without_forgotten(self, source: str) -> Iterator[None]:
        """Remove what is expected of a job that the service does not have: names may recur."""
        try:
            yield
        except JobForgottenError:
            self._requested.pop(source, None)
            raise

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
        if requested.has_other_types(job.filter) and not self._warned_of_types:
            self._warned_of_types = True
            logger.warning(
                "job %s: the service echoes other event types than those of the setting "
                "event_types; check that no type is missing",
                job.source,
            )

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
        with self._without_forgotten(source):
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
