"""How many events an export holds, how long jobs take, and how full a window should be.

Pure: no clock, no thread, no file, and no import of the project.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

JOB_LIMIT = 900.0
"""Seconds within which a job ends, by the vendor's documentation."""

FAILURE_PRIOR, FAILURE_MOST = 3.0, 10.0
"""The cost of a job that is too large, in times of another job: the value until one was seen (15
minutes where others take five), and the upper bound."""

AVERAGED_JOBS = 50.0
"""Jobs over which job times are averaged."""

TOLERANCE = 1.05
"""Events of large files are estimated: a difference of up to this factor is no contradiction."""


@dataclass(slots=True)
class Capacity:
    """How many events an export holds, as far as exports have shown it."""

    fits: float = 0.0
    """The most events seen to fit."""
    too_many: float | None = None
    """The fewest events seen to be too many; None while nothing is known."""

    def fitted(self, events: float) -> bool:
        """Record that an export of so many events succeeded.

        Returns:
            True if clearly fewer were too many before: the limit has grown.
        """
        self.fits = max(self.fits, events)
        if self.too_many is None or events < self.too_many:
            return False
        grown = events > self.too_many * TOLERANCE
        self.too_many = None if grown else events
        return grown

    def failed(self, events: float, largest_part: float) -> bool:
        """Record that so many events were too many, and that the largest part fitted.

        Returns:
            True if clearly more fitted before: the limit has dropped.
        """
        dropped = events * TOLERANCE < self.fits
        if dropped:
            self.fits = largest_part
        self.fits = min(self.fits, events)
        if dropped or self.too_many is None or events < self.too_many:
            self.too_many = events
        return dropped


@dataclass(slots=True)
class JobTimes:
    """Seconds that jobs take: a fixed part and a part per event, by linear regression."""

    jobs: float = 0.0
    """Jobs that the averages rest on, `AVERAGED_JOBS` at most."""
    events: float = 0.0
    """Mean of the jobs' events."""
    seconds: float = 0.0
    """Mean of the jobs' seconds."""
    variance: float = 0.0
    """Variance of the jobs' events."""
    covariance: float = 0.0
    """Covariance of the jobs' events and seconds."""
    too_large: float | None = None
    """Seconds of the jobs that are too large, averaged; None before the first."""

    def observe(self, events: float, seconds: float) -> None:
        """Record the events and the seconds of a job that succeeded."""
        self.jobs = min(AVERAGED_JOBS, self.jobs + 1)
        gain = 1 / self.jobs
        more_events, more_seconds = events - self.events, seconds - self.seconds
        self.events += gain * more_events
        self.seconds += gain * more_seconds
        self.variance += gain * ((1 - gain) * more_events**2 - self.variance)
        self.covariance += gain * ((1 - gain) * more_events * more_seconds - self.covariance)

    def observe_failure(self, seconds: float) -> None:
        """Record the seconds of a job that was too large."""
        old = seconds if self.too_large is None else self.too_large
        self.too_large = old + 0.3 * (seconds - old)

    @property
    def per_event(self) -> float:
        """Seconds per event."""
        # A prior: the weight of one more job, in which events cost nothing.
        spread = self.variance + self.events**2 / max(1.0, self.jobs)
        return max(0.0, self.covariance / spread) if spread > 0 else 0.0

    @property
    def fixed(self) -> float:
        """Seconds that a job without events takes; above 0."""
        return max(self.seconds - self.per_event * self.events, 0.01 * self.seconds, 1e-3)

    def fixed_share(self, events: float) -> float:
        """Return which share of the time of a job of so many events is fixed, above 0 to 1."""
        return self.fixed / (self.fixed + self.per_event * events)

    def failure_cost(self, events: float) -> float:
        """Return the cost of a job that is too large, in times of a job of so many events."""
        if self.too_large is None or not self.jobs:
            return FAILURE_PRIOR
        return min(FAILURE_MOST, self.too_large / (self.fixed + self.per_event * events))

    def capacity(self, events: float) -> float | None:
        """Return how many events fit if the limit is a time; None if it does not seem to be one.

        Job times show a limit only if the events make up more than half of the time of the
        largest job seen, which has so many ``events``.
        """
        if self.per_event * events <= self.fixed:
            return None
        limit = JOB_LIMIT if self.too_large is None else self.too_large
        return (limit - self.fixed) / self.per_event


@lru_cache(4096)
def best_share(deviation: float, fixed: float, failure: float) -> float:
    """Return the share of the capacity that costs least per event when a window aims at it.

    Args:
        deviation: Standard deviation of the logarithm of the forecast.
        fixed: Which share of a job's time does not depend on its events.
        failure: The cost of a job that is too large, in times of a job that fills the capacity.

    A window that is too large costs its job and then two more. Call with rounded arguments:
    results are kept.
    """

    def cost(share: float) -> float:
        risk = 0.5 * math.erfc(-math.log(share) / max(deviation, 0.005) / math.sqrt(2))
        by_events = (1 - fixed) * share
        return (fixed + risk * (failure + fixed) + by_events) / share

    return min((1.02**-step for step in range(200)), key=cost)
