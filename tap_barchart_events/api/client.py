"""The service's calls over HTTP: start, poll, link, download. Knows no windows, no Singer.

Source of facts: the vendor's OpenAPI file, version 6.0.0, and its public documentation.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from requests.auth import HTTPBasicAuth

from tap_barchart_events.api.answers import (
    ExportFilter,
    Job,
    error_code,
    parse_job,
    parse_link,
)
from tap_barchart_events.api.download import Download
from tap_barchart_events.api.retry import (
    NETWORK_FAILURES,
    TRANSIENT_STATUSES,
    RetryPolicy,
    TransientError,
    failure,
    retry_after,
)
from tap_barchart_events.api.session import Session
from tap_barchart_events.exceptions import (
    CredentialsError,
    JobFailedError,
    JobForgottenError,
    JobMismatchError,
    JobNotReadyError,
    JobRefusedError,
    LinkExpiredError,
    ServiceError,
    SyncStopped,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import requests

logger = logging.getLogger(__name__)

DEFAULT_DELIMITER = "|"

PROGRESS = 1 << 20
"""Bytes that a broken transfer must have moved to count as progress, not as a failure."""

LONGEST_ANSWER = 1 << 20
"""Bytes of an answer of the API; one with more is none."""

PATIENCE = 10
"""Time-outs that the body of an answer of the API may take to come."""

REFUSALS = frozenset({429, 503})
"""Statuses by which the service refuses one more job, beside those in flight."""

ERRORS = {
    "EVENT_JOB_GET_FAILED": JobFailedError,
    "EVENT_JOB_GET_FAILED_RUNNING": JobNotReadyError,
    "EVENT_JOB_GET_FAILED_NO_JOB": JobForgottenError,
}


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
            retry: How calls are tried again.
            connections: How many connections are kept open.
            on_request: Told the endpoint of each API request.
        """
        self._api_url = api_url
        self._stopped = stopped
        self._timeout = timeout
        self._retry = retry or RetryPolicy()
        self._on_request = on_request
        self._auth_lock = threading.Lock()
        self._known_good = False
        self.clock_offset: float | None = None
        """Seconds by which the service's clock is ahead of this machine's, if it is known."""
        self._refusal = ""
        self._asked: dict[str, ExportFilter] = {}
        self._warned_of_types = False
        self._api = Session(connections)
        self._api.auth = HTTPBasicAuth(username.encode(), password.encode())
        # Without it the service answers a call for a link with a redirection.
        self._api.headers["Accept"] = "application/json"
        self._storage = Session(connections)

    def close(self) -> None:
        """Close all connections."""
        self._api.close()
        self._storage.close()

    def authenticate(self) -> None:
        """Check the credentials: ``GET /service/authenticate``.

        Raises:
            CredentialsError: They are wrong.
            ServiceError: The service failed, again and again.
        """
        self._call("authenticate", "GET", "/service/authenticate", "check the credentials")

    def start(
        self,
        *,
        customer: str,
        product: str,
        start: int,
        end: int,
        types: Sequence[str] = (),
        delimiter: str = DEFAULT_DELIMITER,
        is_only_job: bool = True,
    ) -> Job:
        """Start an export job: ``POST /reports``.

        Args:
            customer: Customer code.
            product: Product code.
            start: First instant, in milliseconds.
            end: Last instant, in milliseconds; whether it is inclusive is not documented.
            types: Event type codes; none for all.
            delimiter: Field separator; the service's default is not sent.
            is_only_job: Whether no other job is in flight. Then a refusal is tried again.

        Raises:
            CredentialsError: The credentials are wrong.
            JobMismatchError: The service answered with the job of another export.
            JobRefusedError: The service starts no more jobs beside those in flight.
            ServiceError: The service failed, again and again.
        """
        asked = ExportFilter(customer, product, start, end, tuple(types))
        body: dict[str, Any] = {"filter": asked.as_json()}
        if delimiter != DEFAULT_DELIMITER:
            body["output"] = {"delimiter": delimiter}
        what = "start an export job"
        final = frozenset() if is_only_job else REFUSALS
        job = parse_job(self._call("start", "POST", "/reports", what, body, parse_job, final))
        self._check_job(job, what, asked)
        if self._asked.setdefault(job.source, asked) != asked:
            raise JobMismatchError(
                f"could not {what}: the service answered with job {job.source}, which this sync "
                "started for another window; a cache in between may be the reason"
            )
        return job

    def expect(self, source: str, *, customer: str, product: str, start: int, end: int) -> None:
        """Compare the answers about a job, which an earlier run has started, with its export."""
        self._asked[source] = ExportFilter(customer, product, start, end)

    def poll(self, source: str) -> Job:
        """Ask how a job is doing: ``GET /reports/{source}/availability``.

        Raises:
            CredentialsError: The credentials are wrong.
            JobForgottenError: The service does not know the job.
            JobMismatchError: The service answered with a job of another export.
            ServiceError: The service failed, again and again.
        """
        path = f"/reports/{quote(source, safe='')}/availability"
        what = f"poll job {source}"
        job = parse_job(self._call("poll", "GET", path, what, None, parse_job))
        if job.source != source:
            raise ServiceError(f"could not {what}: the service answered about another job")
        self._check_job(job, what, self._asked.get(source))
        return job

    def _check_job(self, job: Job, what: str, asked: ExportFilter | None) -> None:
        """Compare what a job exports, as far as the service echoes it, with what was asked for."""
        if asked is None:
            return
        differences = asked.differences(job.filter)
        if differences:
            raise JobMismatchError(
                f"could not {what}: the service answered with job {job.source} of another export "
                f"(other {' and '.join(differences)}); a cache in between may be the reason"
            )
        if asked.has_other_types(job.filter) and not self._warned_of_types:
            self._warned_of_types = True
            logger.warning(
                "job %s: the service echoes other event types than event_types asks for; check "
                "that no type is missing",
                job.source,
            )

    def link(self, source: str) -> str:
        """Get a link to a job's file, good for 15 minutes: ``GET /reports/{source}``.

        Raises:
            CredentialsError: The credentials are wrong.
            JobFailedError: The job has failed.
            JobForgottenError: The service does not know the job.
            JobNotReadyError: The job is still running.
            ServiceError: The service failed, again and again.
        """
        path = f"/reports/{quote(source, safe='')}"
        what = f"get the link of job {source}"
        return parse_link(self._call("link", "GET", path, what, None, parse_link))

    def download(self, source: str, path: Path) -> int:
        """Bring the file of a job to disk, complete and decompressed.

        Each try asks for a link of its own: one that broke may have run out too.

        Returns:
            How many bytes were transferred.

        Raises:
            As ``link``, and FileError if the disk is full or the file inflates without end.
        """
        download = Download(
            path,
            what=f"download the export of job {source}",
            session=self._storage,
            timeout=self._timeout,
            stopped=self._stopped,
        )

        def attempt() -> bool:
            before = download.best
            problem: TransientError
            try:
                download.run(self.link(source))
            except LinkExpiredError as error:
                problem = TransientError(str(error))
            except TransientError as error:
                problem = error
            else:
                return True
            if download.best - before >= PROGRESS:
                return False
            raise problem

        while not self._retry.run(attempt, self._stopped):
            pass
        return download.received

    def _call(
        self,
        endpoint: str,
        method: str,
        path: str,
        what: str,
        body: dict[str, Any] | None = None,
        check: Callable[[Any], object] | None = None,
        final: frozenset[int] = frozenset(),
    ) -> Any:  # noqa: ANN401 - JSON
        """Make one call of the API, tried again as the policy says; return the answer's JSON.

        After a status in ``final`` it is not tried again.
        """

        def attempt() -> Any:  # noqa: ANN401 - JSON
            with self._authenticate_once():
                response, content = self._request(method, path, what, body)
                if self._on_request:
                    self._on_request(endpoint)
                answer = self._answer(endpoint, what, response, content)
            try:
                if check:
                    check(answer)
            except (KeyError, TypeError, ValueError):
                problem = TransientError(f"could not {what}: the answer is not as documented")
            else:
                return answer
            raise problem

        def attempt_unless_refused() -> Any:  # noqa: ANN401 - JSON
            try:
                return attempt()
            except TransientError as error:
                if error.status not in final:
                    raise
                refusal = JobRefusedError(str(error), error.retry_after)
            raise refusal

        return self._retry.run(attempt_unless_refused, self._stopped)

    @contextmanager
    def _authenticate_once(self) -> Iterator[None]:
        """Let requests go one at a time until one is accepted; none follows if it is refused.

        So wrong credentials are sent once, not by all threads: accounts get locked.
        """
        with self._auth_lock:
            if self._stopped.is_set():
                raise SyncStopped
            if self._refusal:
                raise CredentialsError(self._refusal)
            if not self._known_good:
                try:
                    yield
                except CredentialsError as error:
                    self._refusal = str(error)
                    raise
                self._known_good = True
                return
        yield

    def _request(
        self, method: str, path: str, what: str, body: dict[str, Any] | None
    ) -> tuple[requests.Response, bytes]:
        """Make a request; return the answer and its body."""
        broken: ServiceError
        try:
            with self._api.request(
                method,
                self._api_url + path,
                json=body,
                timeout=self._timeout,
                stream=True,
                # A redirection could lead credentials elsewhere.
                allow_redirects=False,
            ) as response:
                return response, self._read(response, what)
        except NETWORK_FAILURES as error:
            broken = failure(error, what, self._api_url)
        raise broken

    def _read(self, response: requests.Response, what: str) -> bytes:
        """Read an answer's body, which is short and soon over."""
        until = time.monotonic() + PATIENCE * self._timeout
        body = b""
        while piece := response.raw.read1(LONGEST_ANSWER, decode_content=True):
            body += piece
            if len(body) > LONGEST_ANSWER or time.monotonic() > until:
                raise TransientError(f"could not {what}: the answer does not end")
        return body

    @staticmethod
    def _answer(endpoint: str, what: str, response: requests.Response, body: bytes) -> Any:  # noqa: ANN401 - JSON
        """Return the JSON of an answer's body, or raise what its status means."""
        status = response.status_code
        if status in {401, 403}:
            raise CredentialsError(
                f"could not {what}: the service answered {status}: check username, password "
                "and customer, and that api_url is the host they are meant for"
            )
        location = response.headers.get("Location")
        if status in {302, 303, 307} and location and endpoint == "link":
            return {"link": location}
        code = error_code(body) if status >= 500 else None  # noqa: PLR2004
        if code in ERRORS and endpoint in {"poll", "link"}:
            raise ERRORS[code](f"could not {what}: the service answered {code}")
        if status in TRANSIENT_STATUSES:
            raise TransientError(
                f"could not {what}: the service answered {status}" + (f" {code}" if code else ""),
                retry_after(response.headers),
                status,
            )
        if not response.ok or response.is_redirect:
            raise ServiceError(
                f"could not {what}: the service answered {status}, which is not documented; "
                "check api_url"
            )
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            problem = TransientError(
                f"could not {what}: the answer is not JSON; check api_url, and what a proxy in "
                "between may say"
            )
        raise problem
