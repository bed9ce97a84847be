"""What a year of a busy product asks of the service: the tap's own pacing, in simulated time.

`python -m tests.scale_model` prints the table of docs/scale.md. `WindowPlanner` cuts the windows
and `PollSchedule` spaces the polls; only the service and the clock are simulated.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tap_barchart_events.exports.planner import WindowPlanner
from tap_barchart_events.exports.poll_schedule import PollSchedule
from tap_barchart_events.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3_600_000
DAY = 24 * HOUR
DAYS = 365
TIMEOUT_MINUTES = 15
"""How long a job runs at most, by the vendor's promise."""
POLL_SECONDS = 2
JITTER = 0.5
"""The middle of what is drawn."""


@dataclass(frozen=True)
class Case:
    """A year of one product, its events spread evenly."""

    per_day: int
    """Events a day."""
    holds: int
    """Events that one export holds at most; the service does not say."""
    minutes: float
    """How long a job runs that fits."""
    window_hours: float = 24
    jobs: int = 4
    """Jobs in flight at once (`max_concurrent_jobs`)."""
    shards: int = 1
    """Parts that the year is cut into, each a run of its own."""
    at_once: int = 1
    """Shards that run at once."""


@dataclass
class Cost:
    """What a case costs."""

    jobs: int = 0
    too_large: int = 0
    """Of these, jobs that ended TIMEOUT."""
    polls: int = 0
    hours: float = 0

    @property
    def requests(self) -> int:
        """Start, polls, and for each job that fits its link and its download."""
        return self.jobs + self.polls + 2 * (self.jobs - self.too_large)


CASES = (
    Case(100_000, 1_000_000, 1),
    Case(1_000_000, 1_000_000, 5),
    Case(1_000_000, 1_000_000, 15),
    Case(10_000_000, 1_000_000, 5),
    Case(10_000_000, 1_000_000, 5, window_hours=2),
    Case(10_000_000, 1_000_000, 5, window_hours=2, jobs=8),
    Case(10_000_000, 1_000_000, 5, shards=12, at_once=2),
    Case(10_000_000, 1_000_000, 5, window_hours=2, shards=12, at_once=2),
    Case(10_000_000, 1_000_000, 15, window_hours=2, shards=12, at_once=2),
)


def cost(case: Case) -> Cost:
    """Return what a case costs; a shard of twelve is taken for a twelfth of the year."""
    one = _run(case, DAYS * DAY // case.shards)
    rounds = -(-case.shards // case.at_once)
    return Cost(
        one.jobs * case.shards, one.too_large * case.shards, one.polls * case.shards,
        one.hours * rounds,
    )  # fmt: skip


def _run(case: Case, length: int) -> Cost:
    """Run the jobs of one sync, as many in flight as may be, in simulated seconds."""
    plan = WindowPlanner(
        Window(0, length), largest=round(case.window_hours * HOUR), smallest=1000, jobs=case.jobs
    )
    pace = PollSchedule(POLL_SECONDS)
    total = Cost()
    now = 0.0
    ends: list[tuple[float, Window, bool]] = []
    while True:
        while len(ends) < case.jobs and (window := plan.next()):
            fits = window.size * case.per_day <= case.holds * DAY
            seconds = 60 * (case.minutes if fits else TIMEOUT_MINUTES)
            *_, seen = polls = list(_polls(pace, seconds))
            total.jobs += 1
            total.too_large += not fits
            total.polls += len(polls)
            heapq.heappush(ends, (now + seen, window, fits))
        if not ends:
            total.hours = now / 3600
            return total
        now, window, fits = heapq.heappop(ends)
        if fits:
            pace.learn(60 * case.minutes)
            plan.ready(window, 60 * case.minutes)
        else:
            plan.too_large(window, 60 * TIMEOUT_MINUTES)


def _polls(pace: PollSchedule, seconds: float) -> Iterator[float]:
    """Yield when a job is polled, in seconds after its start, until it is seen to have ended."""
    at, count = 0.0, 0
    while at < seconds:
        at = pace.due(at, count, JITTER)
        count += 1
        yield at


def rows() -> Iterator[str]:
    """Yield the rows of the table, as Markdown."""
    for case in CASES:
        spent = cost(case)
        shards = f"{case.shards}, {case.at_once} at once" if case.shards > 1 else "1"
        cells = (
            f"{case.per_day:,}", f"{case.minutes:g} min", f"{case.window_hours:g} h",
            f"{case.jobs}", shards, f"{spent.jobs:,}", f"{spent.too_large:,}",
            f"{spent.hours:,.0f} h", f"{spent.requests:,}",
        )  # fmt: skip
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(*rows(), sep="\n")  # noqa: T201 - what was asked for
