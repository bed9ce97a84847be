"""How many export jobs may be in flight, over all products. Pure: time comes in as an argument."""

from __future__ import annotations

import math

LONGEST_WAIT = 16
"""Rounds of jobs that end, at most, before one more job than accepted is tried again."""


class JobBudget:
    """The jobs in flight and their limit: the setting, or what the service accepts.

    A start that the service refuses while jobs of this sync are in flight lowers the limit to
    their number. When as many jobs as the limit have ended, one more is tried. A refusal of that
    try doubles the number of jobs that must end before the next try. A success raises the limit
    by one, and the next try may follow at once.

    All times are seconds of one monotonic clock.
    """

    def __init__(self, maximum: int) -> None:
        """Start with no job in flight.

        Args:
            maximum: The limit that was set (``max_concurrent_jobs``).
        """
        self._maximum = maximum
        self._limit = maximum
        self._reported = maximum
        self._running = 0
        self._starting = 0
        self._given_up: list[float] = []
        self._not_before = -math.inf
        self._ended = 0
        self._rounds = 1
        self._is_probing = False

    @property
    def maximum(self) -> int:
        """The limit that was set."""
        return self._maximum

    @property
    def limit(self) -> int:
        """How many jobs the service accepts at once, as far as known; at most ``maximum``."""
        return self._limit

    def in_flight(self, now: float) -> int:
        """Return how many jobs are starting, running, or given up but not ended."""
        return self._starting + self._running + sum(until > now for until in self._given_up)

    def may_start(self, now: float) -> bool:
        """Return whether one more job may be started now."""
        if self.pause_left(now):
            return False
        return self.in_flight(now) < self._limit + self._may_probe()

    def _may_probe(self) -> bool:
        return (
            self._limit < self._maximum
            and not self._starting
            and self._ended >= self._rounds * self._limit
        )

    def start(self, now: float) -> None:
        """Count a job whose start is sent."""
        self._is_probing = self.in_flight(now) >= self._limit
        self._starting += 1

    def accepted(self) -> None:
        """Count a job that the service has started."""
        self._starting -= 1
        self._running += 1
        if self._is_probing:
            self._is_probing = False
            self._limit += 1
            self._rounds = 1
            self._ended = self._limit

    def refused(self, now: float) -> None:
        """Lower the limit to the jobs in flight: the service accepts no more."""
        self._starting -= 1
        self._limit = max(1, min(self._limit, self.in_flight(now)))
        self._rounds = min(2 * self._rounds, LONGEST_WAIT) if self._is_probing else 1
        self._is_probing = False
        self._ended = 0

    def pause(self, until: float, now: float) -> float:
        """Start no job before a time; return by how many seconds the pause gets longer."""
        longer = until - max(self._not_before, now)
        self._not_before = max(self._not_before, until)
        return max(0.0, longer)

    def pause_left(self, now: float) -> float:
        """Return the seconds until starts may be sent again; 0 if there is no pause."""
        return max(0.0, self._not_before - now)

    def start_failed(self) -> None:
        """Remove a job whose start failed for another reason than the limit."""
        self._starting -= 1
        self._is_probing = False

    def resume(self) -> None:
        """Count a job that an earlier run has started."""
        self._running += 1

    def ended(self) -> None:
        """Remove a job that has ended."""
        self._running -= 1
        self._ended += 1

    def give_up(self, now: float, until: float) -> None:
        """Count a running job that is no longer polled until a time when it must have ended."""
        self._running -= 1
        self._given_up = [end for end in (*self._given_up, until) if end > now]

    def next_change(self, now: float) -> float:
        """Return when ``may_start`` may change by itself; infinity if never."""
        times = (*self._given_up, self._not_before)
        return min((time for time in times if time > now), default=math.inf)

    def limit_to_report(self) -> int | None:
        """Return the limit if it has changed since it was last returned, and no start is open."""
        if self._starting or self._limit == self._reported:
            return None
        self._reported = self._limit
        return self._limit
