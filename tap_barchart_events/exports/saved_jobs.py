"""Export jobs in STATE, which the next run resumes. Damaged entries are ignored. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tap_barchart_events.windows import Window

MAX_SOURCE = 64
"""Most characters of a ``source`` that is kept; the service's have 40."""

MAX_AGE = 3600
"""Seconds after its start within which a job is resumed.

An export holds the events that were there when it was made. Events that arrive later come only
with a new export, so an old one is not used. An hour covers the 15 minutes that a job may run and
the retries of an orchestrator; a run that comes later is a new one.
"""

CLOCK_STEP = 60
"""Seconds by which a start may be later than now: clocks are set back by seconds."""


@dataclass(frozen=True, slots=True)
class Request:
    """What all exports of a sync have in common."""

    customer: str
    types: Sequence[str]
    delimiter: str

    def filter(self, product: str, window: Window) -> dict[str, Any]:
        """Return the ``filter`` of the request for one window.

        The vendor's public schema reader depends on the order of the keys, and on numbers. Whether
        ``end`` is inclusive is not documented.
        """
        types = {"types": [*self.types]} if self.types else {}
        span = {"start": window.start, "end": window.end}
        return {"customer": self.customer, "product": product, **types, **span}

    def fingerprint(self, product: str = "", source: str = "", window: Window | None = None) -> str:
        """Return eight hex digits that differ if requests, or their jobs, differ."""
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
    """When it was started, in seconds since the epoch, rounded up."""

    fingerprint: str
    """``Request.fingerprint`` of the job, in the run that started it."""

    @classmethod
    def from_json(cls, value: object) -> SavedJob | None:
        """Return the job of a JSON value; None if it holds none."""
        match value:
            case [str(source), int(start), int(end), int(started), str(fingerprint)]:
                return cls(source, Window(start, end), started, fingerprint)
        return None

    def to_json(self) -> list[str | int]:
        """Return a JSON value that ``from_json`` reads."""
        return [self.source, self.window.start, self.window.end, self.started, self.fingerprint]

    def is_usable(
        self, request: Request, product: str, span: Window, now: int, lag: int, lookback: int
    ) -> bool:
        """Return whether no event is lost if a run resumes the job.

        Args:
            request: What all exports of the run have in common.
            product: The product in whose STATE the job is.
            span: What the run covers for it.
            now: Seconds since the epoch.
            lag: How long after it occurs an event may arrive, in milliseconds (``lag_minutes``).
            lookback: How far before its bookmark a run reads again (``lookback_hours``).
        """
        # The next run reads again what lies within ``lookback`` before the end of this one. What
        # arrives late elsewhere is found by this run only.
        late = lag if self.window.start >= span.end - lookback else lag + lookback
        return (
            # The export of another request lacks events, and that of a damaged entry may be of
            # another window.
            self.fingerprint == request.fingerprint(product, self.source, self.window)
            # An old export lacks the events that have arrived since.
            and -CLOCK_STEP <= now - self.started <= MAX_AGE
            # So does one that was started before all events of its window had arrived.
            and self.window.end <= min(self.started, now) * 1000 - late
        )
