"""Export jobs in STATE, which the next run takes over. Damaged entries are ignored. Pure."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tap_barchart_events.api.responses import is_source
from tap_barchart_events.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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

    def fingerprint(self, product: str, source: str, window: Window) -> str:
        """Return eight hex digits that differ where a job or its export may be another one."""
        export = [self.customer, product, sorted(self.types), self.delimiter]
        return _digest([*export, source, window.start, window.end])

    @property
    def types_fingerprint(self) -> str:
        """Return eight hex digits that differ where the event types differ."""
        return _digest(sorted(self.types))


@dataclass(frozen=True, slots=True)
class SavedJob:
    """A job that was started for a window, whose events have not been emitted."""

    source: str
    """The name by which calls of the service refer to it."""

    window: Window

    started: int
    """When it was started, in seconds since the epoch."""

    fingerprint: str
    """``Request.fingerprint`` of the run that started it."""

    @classmethod
    def from_json(cls, value: object) -> SavedJob | None:
        """Return the job of a JSON value; None if it holds none."""
        match value:
            case [str(source), int(start), int(end), int(started), str(fingerprint)]:
                numbers = (start, end, started)
            case _:
                return None
        if any(isinstance(number, bool) or abs(number) > 10**15 for number in numbers):
            return None
        if start >= end or not is_kept(source):
            return None
        return cls(source, Window(start, end), started, fingerprint)

    def to_json(self) -> list[str | int]:
        """Return a JSON value that ``from_json`` reads."""
        return [self.source, self.window.start, self.window.end, self.started, self.fingerprint]


def _digest(value: object) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=4).hexdigest()


def is_kept(source: str) -> bool:
    """Return whether a job of this name is kept in STATE."""
    return is_source(source) and source.isascii() and len(source) <= LONGEST_SOURCE


def _in_order(values: Iterable[object]) -> list[SavedJob]:
    """Return the jobs of JSON values in the order of time, those started last first."""
    jobs = [SavedJob.from_json(value) for value in values]
    readable = [job for job in jobs if job]
    if len(readable) < len(jobs):
        logger.debug("STATE: %d entries of jobs cannot be read", len(jobs) - len(readable))
    return sorted(readable, key=lambda job: (job.window, -job.started))


def _may_lack_events(job: SavedJob, span: Window, lag: int, lookback: int) -> bool:
    """Return whether events may have arrived after a job's start that only this run can find.

    An event may arrive ``lag`` and ``lookback`` after it occurred. The next run reads again what
    lies within ``lookback`` before the end of this one, so there only ``lag`` counts.
    """
    late = lag if job.window.start >= span.end - lookback else lag + lookback
    return job.window.end > job.started * 1000 + ROUNDING - late


def usable_jobs(
    values: Iterable[object],
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

    Each one that is dropped gets a line at debug level.

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
    usable: list[SavedJob] = []
    for job in _in_order(values):
        start, end = job.window.start, job.window.end
        if not span.start <= start < end <= min(span.end, start + largest):
            reason = "its window is larger than window_hours, or not within what this run covers"
        elif job.fingerprint != request.fingerprint(product, job.source, job.window):
            reason = "its request differs from that of this run, or its entry is damaged"
        elif not -CLOCK_STEP <= now - job.started <= MAX_AGE:
            reason = f"it was not started within the last {MAX_AGE // 60} minutes"
        elif _may_lack_events(job, span, lag, lookback):
            reason = "events may have been late when it was started"
        elif usable and job.window.start < usable[-1].window.end:
            reason = "its window overlaps that of another one"
        elif any(job.source == other.source for other in usable):
            reason = "another window has the same job"
        elif len(usable) >= most:
            reason = f"no more than {most} are taken over"
        else:
            # the clock may have been set back meanwhile
            usable.append(replace(job, started=min(job.started, now)))
            continue
        logger.debug("STATE: job %s is not used: %s", job.source, reason)
    return usable
