"""How many export jobs may be in flight, over all products. Pure: time comes in as an argument."""

from __future__ import annotations

import math

MAX_ROUNDS = 16
"""Rounds of jobs that end, at most, before one more job than accepted is tried again."""


class JobBudget:
    """How many jobs are in flight, and how many may be: the setting, or what the service accepts.

    A refusal sets the limit to the jobs in flight, at least 1. When as many jobs as the limit have
    ended, one more is tried. The refusal of such a try doubles the jobs that have to end before the
    next one.
    """

    def __init__(self, maximum: int) -> None:
        """Start with no job in flight; ``maximum`` is the limit that was set."""
        self.maximum = maximum
        self.limit = maximum
        self.not_before = -math.inf
        """When the next job may start, by ``Retry-After`` or after a failure."""
        self._starting = 0
        self._running = 0
        self._given_up: list[float] = []
        self._ended = 0
        self._rounds = 1
        self._is_raised = False
        self._reported = maximum

    def in_flight(self, now: float) -> int:
        """Return how many jobs are starting, running, or given up but not ended."""
        return self._starting + self._running + sum(until > now for until in self._given_up)

    def may_start(self, now: float) -> bool:
        """Return whether one more job may be started now."""
        return now >= self.not_before and self.in_flight(now) < self.limit

    def start(self) -> None:
        """Count a job whose start is sent."""
        self._starting += 1

    def start_failed(self) -> None:
        """Remove a job whose start has failed."""
        self._starting -= 1

    def accepted(self, now: float) -> None:
        """Count a job that the service has started."""
        self._starting -= 1
        self._running += 1
        if self._is_raised and self.in_flight(now) >= self.limit:
            self._is_raised, self._rounds = False, 1

    def refused(self, now: float) -> None:
        """Lower the limit to the jobs in flight: the service accepts no more."""
        self._starting -= 1
        self.limit = max(1, min(self.limit, self.in_flight(now)))
        if self._is_raised:
            self._is_raised, self._rounds = False, min(2 * self._rounds, MAX_ROUNDS)
        self._ended = 0

    def resume(self) -> None:
        """Count a job that an earlier run has started."""
        self._running += 1

    def ended(self) -> None:
        """Remove a job that has ended."""
        self._running -= 1
        self._ended += 1
        if self._ended >= self._rounds * self.limit and self.limit < self.maximum:
            self.limit, self._ended, self._is_raised = self.limit + 1, 0, True

    def give_up(self, now: float, until: float) -> None:
        """Count a running job that is no longer polled until a time when it must have ended."""
        self._running -= 1
        self._given_up = [end for end in (*self._given_up, until) if end > now]

    def pause(self, until: float, now: float) -> float:
        """Start no job before a time; return by how many seconds the pause gets longer."""
        longer = until - max(self.not_before, now)
        self.not_before = max(self.not_before, until)
        return max(0.0, longer)

    def next_change(self, now: float) -> float:
        """Return when ``may_start`` may change by itself; infinity if never."""
        times = (*self._given_up, self.not_before)
        return min((time for time in times if time > now), default=math.inf)

    def limit_to_report(self) -> int | None:
        """Return the limit if it has changed since it was last returned, and no start is open."""
        if self._starting or self._is_raised or self.limit == self._reported:
            return None
        self._reported = self.limit
        return self.limit
