"""When a job is polled next. Pure: no clock, no thread."""

from __future__ import annotations

from collections import deque

LONGEST_PAUSE = 15
"""Longest pause between polls, in poll intervals."""

SHORTEST_PAUSE = 0.1
"""Shortest pause between polls once it is known what jobs take, in poll intervals."""


class PollSchedule:
    """When to poll a job next, by the times of recent jobs."""

    def __init__(self, interval: float) -> None:
        """Start without any job time; ``interval`` is ``poll_interval_seconds``."""
        self._interval = interval
        self._recent: deque[float] = deque(maxlen=9)

    def learn(self, seconds: float) -> None:
        """Add the time that a job ran, in seconds."""
        self._recent.append(seconds)

    def due(self, last: float, polls: int, jitter: float) -> float:
        """Return when the next poll is due, in seconds after the job's start.

        Args:
            last: When the last poll was, in seconds after the job's start.
            polls: How many there have been.
            jitter: Between 0 and 1.
        """
        longest = LONGEST_PAUSE * self._interval
        if not self._recent:
            # 1.4 to the 20th is beyond the longest pause, whatever the interval.
            return (
                last + min(self._interval * 1.4 ** min(polls, 20), longest) * (1 + 3 * jitter) / 4
            )
        # The lower quartile: an early poll costs a request, a late one delays a window.
        expected = sorted(self._recent)[len(self._recent) // 4] * (1 + jitter / 50)
        if last < expected:
            return min(expected, last + longest)
        pause = max(SHORTEST_PAUSE * self._interval, last * (1 + jitter) / 20)
        return last + min(pause, longest)
