"""The service's HTTP calls: start, poll, link, download. Depends on neither windows nor Singer.

Source of facts: the vendor's OpenAPI file, version 6.0.0, and its public documentation.
"""

import logging
import math
import re
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from json import loads
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import requests

from tap_barchart_events import exceptions as errors
from tap_barchart_events.api.download import Download
from tap_barchart_events.api.http import REFUSALS, TRANSIENT, RetryPolicy, Session, retry_after
from tap_barchart_events.api.transcript import response_form
from tap_barchart_events.windows import from_iso

T = TypeVar("T")

logger = logging.getLogger(__name__)

DEFAULT_DELIMITER = "|"

UNREACHABLE_TIMEOUT = 10
"""Seconds within which the last try begins if the host of a first sync cannot be reached."""

CONNECT_TIMEOUT = 5
"""Longest time to connect in a first sync, in seconds, so that it ends within 15 seconds."""

PROGRESS = 1 << 20
"""Bytes that a series of tries must have received for another series to follow."""

MAX_SOURCE = 200
"""Characters of a ``source``; the service's have 40."""

MAX_MESSAGE = 200
"""Characters of what the service says about an error, at most."""

ERRORS = {
    "EVENT_JOB_GET_FAILED_RUNNING": errors.JobNotReadyError,
    "EVENT_JOB_GET_FAILED_NO_JOB": errors.JobForgottenError,
    "EVENT_JOB_GET_FAILED": errors.JobFailedError,
}
"""Documented codes of polls and links; the most specific ones first."""

UNREADABLE = ("SCHEMA_VALIDATION", "MALFORMED")
"""Parts of the codes by which the service says that it cannot read a request."""

URL = re.compile(r"\S*(//|\?\S*=)\S*")
"""A word that is, or contains, a URL with a scheme, a host or a query."""


@dataclass(frozen=True, slots=True)
class Job:
    """An export job, as the service describes it."""

    source: str
    """The name by which calls refer to it."""

    status: str
    """``RUNNING``, ``COMPLETE`` (or ``COMPLETED``), ``TIMEOUT``, ``FAILED`` or a new one."""

    seconds: float | None
    """How long it ran, once it has ended, by the service's clock; None if not known."""

    filter: Mapping[str, Any] = field(default_factory=dict)
    """What it exports, as the service echoes it: the keys that are there, unchecked."""

    @property
    def has_null_product(self) -> bool:
        """Whether the service gives no product for it: it may not know the requested one."""
        return _code(self.filter.get("product", [])) == ""


def parse_job(value: Any) -> Job:
    """Return the job that a JSON value describes; its status stripped, in upper case."""
    source, status, seconds = value["source"], value["status"].strip().upper(), None
    # It becomes part of URLs and of log lines.
    if not (0 < len(source) <= MAX_SOURCE and source.isprintable()):
        raise ValueError
    with suppress(KeyError, OverflowError, TypeError, ValueError):
        took = (float(value["timing"]["end"]) - float(value["timing"]["start"])) / 1000
        seconds = took if 0 < took < math.inf else None
    echo = value.get("filter")
    return Job(source, status, seconds, echo if isinstance(echo, dict) else {})


def parse_link(value: Any) -> str:
    """Return the link of a response that holds one."""
    link: str = value["link"].strip()
    if not link:
        raise ValueError
    return link


def _code(value: Any) -> str | None:
    """Return a code, or that of an object, to compare: empty if null, None if unreadable."""
    if isinstance(value, dict):
        value = value.get("code", [])
    if value is None:
        return ""
    return value.strip().casefold() if isinstance(value, str) else None


def _said(body: bytes) -> tuple[list[str], str]:
    """Return the codes of an error body, and its first message.

    The service's errors are trees of ``{value: {code, message}, children}``. A gateway's are
    ``{message}``, without a code.
    """
    found: dict[str, list[str]] = {"code": [], "message": []}

    def visit(node: dict[str, Any]) -> None:
        for key, texts in found.items():
            if isinstance(text := node.get(key), str) and text.strip() and text not in texts:
                texts.append(text)

    with suppress(ValueError, RecursionError):
        loads(body, object_hook=visit)
    return found["code"], next(iter(found["message"]), "")


def _instant(value: Any) -> float:
    """Return a number or text as milliseconds since the epoch; NaN if it cannot be read."""
    for read in (float, from_iso):
        with suppress(AttributeError, OverflowError, TypeError, ValueError):
            return read(value)
    return math.nan


@dataclass(eq=False, repr=False)
class ReportsClient:
    """The service's report calls. Safe to use from several threads."""

    api_url: str
    """Base URL, https (or http on a loopback host)."""

    username: str
    password: str

    timeout: float = 60
    """To connect and for each read, in seconds."""

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    """How calls are retried."""

    stopped: threading.Event = field(default_factory=threading.Event, init=False)
    """Ends calls when set."""

    calls: list[str] = field(default_factory=list, init=False)
    """The endpoint of each API request so far."""

    clock_offset: float | None = field(default=None, init=False)
    """Seconds that the service's clock is ahead of the machine's; negative if behind.

    It is 0 if the clocks may agree; ``None`` until a response has a ``Date``.
    """

    _refusal: str = field(default="", init=False)
    """The error of a 401: no further call is made."""

    _requested: dict[str, dict[str, Any]] = field(default_factory=dict, init=False)
    """What each job exports, by its source."""

    _warned: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        """Open no connection yet."""
        username, password = self.username.encode(), self.password.encode()
        token = b64encode(username + b":" + password).decode().rstrip("=")
        self._secrets = (token, self.password, self.username)
        self._session = Session(requests.auth.HTTPBasicAuth(username, password))
        # Without it the service answers a call for a link with a redirect.
        self._session.headers["Accept"] = "application/json"
        # A cache in between could answer every start with the same job.
        self._session.headers["Cache-Control"] = "no-cache"
        self._storage = Session()

    def close(self) -> None:
        """Close all connections."""
        self._session.close()
        self._storage.close()

    @property
    def now(self) -> float:
        """The present time, in seconds since the epoch: the service's if it is the earlier one."""
        return time.time() + min(0.0, self.clock_offset or 0.0)

    def authenticate(self, *, is_first_sync: bool = True) -> bool:
        """Check the credentials, and get the service's time: ``GET /service/authenticate``.

        A sync makes this call before all others, so that wrong credentials are refused before a job
        is started. Any answer but 401 or the documented one only leads to a warning.

        Args:
            is_first_sync: Whether to give up soon if the host cannot be reached: it may not
                exist.

        Returns:
            Whether the service accepts the credentials.

        Raises:
            CredentialsError: The credentials are wrong.
            ServiceError: The service did not answer at any try.
        """
        retry, timeout = self.retry, (self.timeout, self.timeout)
        if is_first_sync:
            retry = replace(retry, timeout=min(retry.timeout, UNREACHABLE_TIMEOUT))
            timeout = (min(self.timeout, CONNECT_TIMEOUT), self.timeout)
        path, what = "/service/authenticate", "check the credentials"

        def attempt() -> errors.ServiceError | None:
            try:
                self._call("authenticate", path, what, bool, timeout=timeout)
            except errors.ServiceError as error:
                if error.status is None or self._refusal:
                    raise
                return error
            return None

        if error := retry.run(attempt, self.stopped):
            logger.warning("%s; the first export job will check the credentials", error)
        return error is None

    def start(self, asked: dict[str, Any], delimiter: str = DEFAULT_DELIMITER) -> Job:
        """Start an export job, with one try: ``POST /reports``.

        Args:
            asked: What to export: the ``filter`` of the request.
            delimiter: Field separator; the service's default is not sent.

        Raises:
            CredentialsError: The credentials are wrong.
            JobFailedError: The service answered with a job for another export.
            StartRejectedError: The service answered with an error code of its own.
            TransientError: The service failed, or starts no more jobs.
            ServiceError: The answer is not documented.
        """
        what, body = "start an export job", {"filter": asked}
        if delimiter != DEFAULT_DELIMITER:
            body["output"] = {"delimiter": delimiter}
        return self._call("start", "/reports", what, lambda v: self._job(v, what, asked), json=body)

    def expect(self, source: str, asked: dict[str, Any]) -> None:
        """Register a job of an earlier run: it is refused as the answer to any other start.

        Args:
            source: The name of the job.
            asked: What it exports, as for ``start``.
        """
        self._requested[source] = asked

    def poll(self, source: str) -> Job:
        """Get the status of a job: ``GET /reports/{source}/availability``.

        Args:
            source: The name of a job that this client has started, or that is registered.

        Raises:
            CredentialsError: The credentials are wrong.
            JobForgottenError: The service has no such job.
            JobFailedError: The service answered with a job for another export.
            ServiceError: The service failed at each try.
        """
        path = f"/reports/{quote(source, safe='')}/availability"
        what, asked = f"poll job {source}", self._requested[source]

        def parse(value: Any) -> Job:
            return self._job(value, what, asked, source)

        return self.retry.run(lambda: self._call("poll", path, what, parse), self.stopped)

    def _job(self, value: Any, what: str, asked: dict[str, Any], source: str | None = None) -> Job:
        """Return the job in a response, if it has this source and is for this export."""
        job = parse_job(value)
        others = self._differences(asked, job.filter)
        if source not in {None, job.source}:
            others.append("source")
        elif self._requested.setdefault(job.source, asked) != asked:
            others.append("window of this sync")
        if others:
            raise errors.JobFailedError(
                f"could not {what}: the service answered with job {job.source}, which is for "
                f"another export (different {' and '.join(others)}); a cache may be the cause"
            )
        return job

    def _differences(self, asked: dict[str, Any], echo: Mapping[str, Any]) -> list[str]:
        """Return the keys in which an echoed filter names another export; warn of unknown codes.

        A range that covers the requested one is no difference; its end may be the last millisecond.
        A key that the echo leaves out, or whose value cannot be read, is skipped.
        """
        others = []
        for key in ("customer", "product"):
            code = _code(echo.get(key, []))
            if code == "":
                self._warn_once(f"the service may not know {key} {asked[key]}; check the code")
            elif code not in {None, _code(asked[key])}:
                others.append(key)
        if _instant(echo.get("start")) > asked["start"]:
            others.append("start")
        if _instant(echo.get("end")) < asked["end"] - 1:
            others.append("end")
        types = echo.get("types")
        known: Any = asked.get("types", types)
        if isinstance(types, list) and {*map(_code, types)} != {*map(_code, known)}:
            self._warn_once("the service reports different event types; check those in event_types")
        return others

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
        return self.retry.run(lambda: self._call("link", path, what, parse_link), self.stopped)

    def download(self, source: str, path: Path) -> int:
        """Download the file of a job, complete and decompressed.

        Each try gets a new link, because the last one may have expired.

        Returns:
            How many bytes were transferred.

        Raises:
            As ``link``, and FileError if the disk is full, or the file is too large.
        """
        what = f"download the export of job {source}"
        download = Download(path, what, self._storage, self.timeout, self.stopped)
        try:
            while True:
                before = download.best
                try:
                    self.retry.run(lambda: download.run(self.link(source)), self.stopped)
                except errors.ServiceError:
                    if download.best - before < PROGRESS:
                        raise
                else:
                    return download.received
        except Exception:
            # The window may be split; no later download then replaces this file.
            path.unlink(missing_ok=True)
            raise

    def _call(
        self, call: str, path: str, what: str, parse: Callable[[Any], T], **options: Any
    ) -> T:
        """Make one call of the API, once. Return what was parsed.

        Args:
            call: The endpoint: ``poll``.
            path: The path of the URL.
            what: What fails with the call, for errors: ``poll job …``.
            parse: Returns the value of a JSON response; it may raise what such code raises.
            options: Of ``Session.call``; with ``json`` the call is a POST.

        Raises:
            CredentialsError: The service refuses the credentials now, or has done so before.
        """
        if self._refusal:  # more refusals could lock the account
            raise errors.CredentialsError(self._refusal)
        if self.stopped.is_set():
            raise errors.SyncStopped
        sent = time.time()
        method, url = "POST" if "json" in options else "GET", self.api_url + path
        options = {"timeout": (self.timeout, self.timeout), **options}
        response, content = self._session.call(method, url, what, **options)
        self.calls.append(call)
        if logger.isEnabledFor(logging.DEBUG):
            form = response_form(response.headers, content)
            logger.debug("response to %s: %d %s", call, response.status_code, form)
        if self.clock_offset is None:
            self._read_clock(response, sent)
        is_link = call == "link" and response.is_redirect
        if response.ok and (is_link or not response.is_redirect):
            with suppress(AttributeError, KeyError, TypeError, ValueError, RecursionError):
                return parse({"link": response.headers["Location"]} if is_link else loads(content))
            error: errors.BarchartEventsError = errors.TransientError(
                f"could not {what}: the response is not as documented; check api_url and any proxy",
                advice=f"if the error persists, {errors.REPORT}",
            )
        else:
            error = self._error(call, what, response, content)
        error.status = response.status_code
        if error.status == 401:  # a 403 may be one product's
            self._refusal = str(error)
        raise error

    def _read_clock(self, response: requests.Response, sent: float) -> None:
        """Learn from a response how far the clocks are apart, if it has a ``Date``."""
        with suppress(KeyError, ValueError, OverflowError):
            said = parsedate_to_datetime(response.headers["Date"]).timestamp()
            # The response was made between sending and now, and ``Date`` has no fraction.
            earliest, latest = said - time.time(), said + 1 - sent
            self.clock_offset = 0.0 if earliest <= 0 <= latest else earliest

    def _error(
        self, call: str, what: str, response: requests.Response, body: bytes
    ) -> errors.BarchartEventsError:
        """Return the error that a response means."""
        codes, message = _said(body)
        status = response.status_code
        said = self._presentable(": ".join(filter(None, [", ".join(codes), message])))
        text = f"could not {what}: the service answered {status}" + (f" ({said})" if said else "")
        if status in {401, 403}:
            which = "username, password" if status == 401 else "products, username"
            return errors.CredentialsError(f"{text}; check {which}, customer and api_url")
        if call in {"poll", "link"}:
            known = [kind for code, kind in ERRORS.items() if code in codes]
            if known or status == 404:
                return [*known, errors.JobForgottenError][0](text)
        if call == "start" and codes and status not in REFUSALS:
            rejected = errors.StartRejectedError(text)
            rejected.is_final = any(part in code for part in UNREADABLE for code in codes)
            return rejected
        if status in TRANSIENT:
            return errors.TransientError(text, retry_after(response.headers))
        return errors.ServiceError(
            f"{text}, which is not documented; check api_url, or {errors.REPORT}"
        )

    def _presentable(self, text: str) -> str:
        """Return what the service says in a form that may be logged.

        It has only printable characters, and no URLs or credentials, percent-encoded or not: a
        gateway may repeat them.
        """
        for secret in self._secrets:
            text = text.replace(secret, "…").replace(quote(secret, safe=""), "…")
        text = "".join(c if c.isprintable() else " " for c in URL.sub("…", text))
        return " ".join(text.split())[:MAX_MESSAGE].rstrip(" .")

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            logger.warning("%s", text)
