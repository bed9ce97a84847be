"""Export jobs in STATE, which the next run takes over. Damaged entries are ignored. Pure."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tap_barchart_events.api.client import is_source
from tap_barchart_events.windows import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

LONGEST_SOURCE = 64
"""Characters of a ``source`` that is kept; the service's have 40."""

MAX_AGE = 3600
"""Seconds after its start in which a job is taken over.

An export holds the events that were there when it was made. Events that arrive later come with a
new export only, so an old one is not used. An hour covers the 15 minutes that a job may run and
the retries of an orchestrator; a run that comes later is a new one.
"""

CLOCK_STEP = 60
"""Seconds by which a job's start may lie after now: the clock may have been set meanwhile."""

ROUNDING = 1_000
"""Milliseconds by which the start of a job, in whole seconds, is too early at most."""


@dataclass(frozen=True, slots=True)
class Request:
    """What all exports of a sync have in common."""

    customer: str
    types: Sequence[str]
    delimiter: str

    def of(self, product: str, window: Window) -> dict[str, Any]:
        """Return what the request for one window names, as arguments of the client."""
        return {
            "customer": self.customer,
            "product": product,
            "start": window.start,
            "end": window.end,
            "types": self.types,
        }

    def fingerprint(self, product: str = "", source: str = "", window: Window | None = None) -> str:
        """Return eight hex digits that differ where requests, or jobs of them, may differ."""
        request = [self.customer, product, sorted(self.types), self.delimiter]
        job = [source, window.start, window.end] if window else []
        text = json.dumps([*request, *job])
        return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


@dataclass(frozen=True, slots=True)
class SavedJob:
    """A job that was started for a window, whose events have not been emitted."""

    source: str
    """The name by which calls of the service refer to it."""

    window: Window

    started: int
    """When it was started, in seconds since the epoch."""

    fingerprint: str
    """``Request.fingerprint`` of the job, in the run that started it."""

    @classmethod
    def from_json(cls, value: object) -> SavedJob | None:
        """Return the job of a JSON value; None if it holds none."""
        match value:
            case [str(source), int(start), int(end), int(started), str(fingerprint)]:
                window = Window(start, end)
                return cls(source, window, started, fingerprint) if is_kept(source) else None
        return None

    def to_json(self) -> list[str | int]:
        """Return a JSON value that ``from_json`` reads."""
        return [self.source, self.window.start, self.window.end, self.started, self.fingerprint]


def is_kept(source: str) -> bool:
    """Return whether a job of this name is kept in STATE."""
    return is_source(source) and source.isascii() and len(source) <= LONGEST_SOURCE


def _may_lack_events(job: SavedJob, span: Window, lag: int, lookback: int) -> bool:
    """Return whether events may have arrived after a job's start that only this run can find.

    An event may arrive ``lag`` and ``lookback`` after it occurred. The next run reads again what
    lies within ``lookback`` before the end of this one, so there only ``lag`` counts.
    """
    late = lag if job.window.start >= span.end - lookback else lag + lookback
    return job.window.end > job.started * 1000 + ROUNDING - late


def usable_jobs(
    values: Sequence[object],
    *,
    span: Window,
    request: Request,
    product: str,
    now: int,
    most: int,
    largest: int,
    lag: int,
    lookback: int,
) -> list[SavedJob]:
    """Return the jobs of an earlier run that this one takes over, in the order of time.

    Args:
        values: What STATE holds.
        span: What this run covers.
        request: What all exports of this run have in common.
        product: The product whose jobs they are.
        now: Seconds since the epoch.
        most: How many to take at most.
        largest: Milliseconds of the largest window that this run asks for.
        lag: How long after it occurs an event may arrive, in milliseconds (``lag_minutes``).
        lookback: How much before its bookmark a run reads again (``lookback_hours``).
    """
    jobs = [job for job in map(SavedJob.from_json, values) if job]
    usable: list[SavedJob] = []
    free_from = span.start
    for job in sorted(jobs, key=lambda job: (job.window, -job.started)):
        start, end = job.window.start, job.window.end
        is_usable = (
            # A window outside the span, or over another one, would write its events twice.
            free_from <= start < end <= span.end
            # window_hours may be smaller now because the file was too large to be read.
            and end - start <= largest
            # The export of another request lacks events, and that of a damaged entry may be of
            # another window.
            and job.fingerprint == request.fingerprint(product, job.source, job.window)
            # An old export lacks the events that have arrived since.
            and -CLOCK_STEP <= now - job.started <= MAX_AGE
            # Only this run finds an event that arrived after the job's start.
            and not _may_lack_events(job, span, lag, lookback)
        )
        if is_usable:
            # the clock may have been set back meanwhile
            usable.append(replace(job, started=min(job.started, now)))
            free_from = end
    logger.debug("STATE: %d of %d jobs are used", len(usable[:most]), len(values))
    return usable[:most]
