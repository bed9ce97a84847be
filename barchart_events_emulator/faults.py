"""Faults of calls. A fault is armed first, and then applies to later calls.

This module lists the faults. ``responses.py`` has those that replace a response,
``faulty_transport.py`` those that break connections, ``api.py`` those of jobs and links, and
``storage.py`` those of files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request


class FaultKind:
    """A kind of fault: what it does, and its details with their defaults."""

    def __init__(self, meaning: str, **details: Any) -> None:
        """Describe the kind."""
        self.meaning = meaning
        self.details = details


_RESPONSES = {
    "status": FaultKind(
        "an error status; Retry-After in seconds or as a date; body html, json or empty",
        code=503,
        retry_after=None,
        as_date=False,
        body=None,
    ),
    "error": FaultKind(
        "the documented error response, by default with status 500",
        code="EVENT_JOB_GET_FAILED",
        status=500,
    ),
    "html": FaultKind("status 200 with an HTML page"),
    "empty": FaultKind("status 200 with an empty body"),
    "malformed": FaultKind("status 200 with incomplete JSON"),
    "shape": FaultKind("status 200 with JSON of another shape", value=()),
    "redirect": FaultKind(
        "status 302; without a location, a link call leads to its file, another call to the "
        "other host",
        location=None,
    ),
}
_TRANSPORT = {
    "drop": FaultKind(
        "the connection ends before a response, even if the call took effect", acted=False
    ),
    "drop-headers": FaultKind("the connection ends in the middle of the headers"),
    "cut": FaultKind(
        "the connection ends in the body, half-way or after n bytes; chunked: no Content-Length",
        at=None,
        chunked=False,
    ),
    "slow": FaultKind("the response comes slowly", bytes_per_second=1000),
    "stall": FaultKind(
        "nothing is sent, for ever or for n seconds, before the response or after n bytes of it",
        seconds=None,
        at=None,
    ),
}
_JOB = {
    "job-failed": FaultKind("the job ends FAILED"),
    "job-timeout": FaultKind("the job ends TIMEOUT"),
    "job-hangs": FaultKind("the job stays RUNNING for ever"),
    "job-status": FaultKind("the job has a status that is not documented", status="PAUSED"),
    "forget": FaultKind("the service has forgotten all jobs, as after a restart"),
}
_FILTER = {
    "filter": FaultKind(
        "the job object has another filter: other values, nulls, or some keys left out",
        customer=None,
        product=None,
        types=None,
        start=None,
        end=None,
        nulls=(),
        left_out=(),
    ),
    "no-filter": FaultKind("the job object has no filter"),
}
_START = {
    "same-job": FaultKind("no job is started; the response is the first job of all"),
    "other-range": FaultKind(
        "the file holds the events that occurred n milliseconds later",
        milliseconds=-86_400_000,
    ),
}
_LINK = {
    "link": FaultKind("the link is this text", link="https://storage.invalid/file.csv"),
    "link-seconds": FaultKind("the link works for n seconds only", seconds=0),
}
_DOWNLOAD = {
    "expire": FaultKind("the link expires, at once or after n bytes of the body", at=None),
    "etag": FaultKind("the file is replaced (another ETag), at once or after n bytes", at=None),
    "truncate": FaultKind(
        "the body ends early without an error, half-way or after n bytes", at=None
    ),
    "bomb": FaultKind(
        "gzip that inflates to n megabytes of a repeated text", megabytes=65536, unit="\n"
    ),
    "body": FaultKind("the file holds these bytes instead (text in JSON)", body=b""),
    "form": FaultKind(
        "the file comes as gzip, zip or utf-16, or as it is, under these labels",
        form=None,
        content_type="text/csv",
        content_encoding=None,
    ),
    "rest": FaultKind(
        "a request for a range gets the range with status 200, with or without Content-Range",
        content_range=False,
    ),
    "storage-error": FaultKind(
        "an error of object storage", status=400, code="ExpiredToken", message="It has expired."
    ),
}

KINDS: Mapping[str, Mapping[str, FaultKind]] = {
    "start": {**_RESPONSES, **_TRANSPORT, **_JOB, **_FILTER, **_START},
    "poll": {**_RESPONSES, **_TRANSPORT, **_JOB, **_FILTER},
    "link": {**_RESPONSES, **_TRANSPORT, **_JOB, **_LINK},
    "download": {**_RESPONSES, **_TRANSPORT, **_DOWNLOAD},
    "authenticate": {**_RESPONSES, **_TRANSPORT},
    "version": {**_RESPONSES, **_TRANSPORT},
}
"""Call → kind of fault → what it does."""

JOB_OUTCOMES = {"job-failed": "FAILED", "job-timeout": "TIMEOUT", "job-hangs": "RUNNING"}


@dataclass(eq=False)
class Fault:
    """A fault that is armed for later calls."""

    call: str
    kind: str
    times: int | None = 1
    """Number of calls that it applies to; ``None`` for all."""
    after: int = 0
    """Number of calls before the first that it applies to."""
    every: int = 1
    """It applies to every n-th call."""
    for_product: str | None = None
    """Product that it applies to, and whose calls count; ``None`` for all."""
    details: dict[str, Any] = field(default_factory=dict)
    """With the defaults of those that were not given."""
    seen: int = 0
    """Number of calls so far."""
    hits: int = 0
    """Number of calls that it has applied to."""

    def __post_init__(self) -> None:
        """Refuse unknown names: a test with a fault that never applies would show nothing."""
        _refuse_unknown("a call", self.call, KINDS)
        _refuse_unknown(f"a fault of {self.call}", self.kind, KINDS[self.call])
        known = KINDS[self.call][self.kind].details
        for detail in self.details:
            _refuse_unknown(f"a detail of {self.kind}", detail, known)
        self.details = {**known, **self.details}

    def applies(self, product: str | None) -> bool:
        """Return whether it applies to the present call of a product, and count the call."""
        if self.for_product not in {None, product}:
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.seen += 1
        if self.seen <= self.after or (self.seen - self.after - 1) % self.every:
            return False
        self.hits += 1
        return True


def fault_of(request: Request) -> tuple[str | None, Mapping[str, Any]]:
    """Return kind and details of the fault that applies to a request; without one, None and {}."""
    fault: Fault | None = request.state.fault
    return (fault.kind, fault.details) if fault else (None, {})


def _refuse_unknown(what: str, name: str, known: Mapping[str, object]) -> None:
    if name not in known:
        raise ValueError(f"{name!r} is not {what}; there are {', '.join(known) or 'none'}")
