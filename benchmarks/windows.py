"""The cost of window sizes, in simulated time: one command, one table.

`python -m benchmarks.windows` drives the tap's own `WindowPlanner`; the service, the events and
the clock are simulated. Figures are wall time over the ideal: as many exports as would do,
divided by the jobs in flight. All times are in times of a job.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import random
import statistics
from collections import Counter
from dataclasses import dataclass, field, replace
from multiprocessing import Pool
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tap_barchart_events.exports.knowledge import Knowledge
from tap_barchart_events.exports.planner import WindowPlanner
from tap_barchart_events.windows import HOUR, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


DAY = 24 * HOUR
START = 1_767_571_200_000
"""A Monday: 2026-01-05, 00:00 UTC."""
CAPACITY = 100_000
"""Events that an export holds."""
JOB_SECONDS = 300.0
"""Seconds of a job: a third of the longest time that the vendor documents."""
LINEAR_SECONDS = 900.0
"""The limit itself, if it is a time."""


@dataclass(frozen=True)
class Case:
    """A product and a model of the service."""

    name: str
    days: int
    exports: int
    """Least number of exports that hold all events."""
    noise: float = 0.15
    failure: float = 3
    """The time of a job that is too large, in times of another job."""
    linear: bool = False
    """Whether a job's time grows with its events up to the limit."""
    rhythm: bool = True
    growth: float = 1
    jobs: int = 4
    capacity_after: float = 1
    """Factor to the capacity in the second half of the range."""
    burst: float = 0
    """Exports that the events of one second at a random instant would fill."""
    silent: tuple[int, int] = (0, 0)
    """Days without events, from and to."""
    nights: int = 0
    """Later runs of one day each, with what was learnt before; only these count."""
    today: tuple[float, float] = (0, 0)
    """Median and worst of 100 seeds, with the earlier rule for sizes."""
    at_most: float = 0
    """Upper bound of the median."""


SHORT = Case("", days=20, exports=160)
LONG = Case("", days=60, exports=580)

CASES = (
    replace(SHORT, name="20 days, n = 160, x1", today=(4.88, 5.17), failure=1, at_most=2.0),
    replace(SHORT, name="20 days, n = 160, x3", today=(8.46, 9.11), at_most=2.5),
    replace(LONG, name="60 days, n = 580, x1", today=(4.54, 4.71), failure=1, at_most=1.7),
    replace(LONG, name="60 days, n = 580, x3", today=(7.92, 8.13), at_most=1.9),
    replace(LONG, name="the same, noise 30 %, x3", today=(8.00, 8.34), noise=0.3, at_most=2.4),
    replace(LONG, name="the same, growing tenfold, x3", today=(7.22, 7.47), growth=10, at_most=1.7),
    replace(LONG, name="60 days, n = 2,000, x3", today=(5.30, 5.44), exports=2000, at_most=1.9),
    replace(LONG, name="no rhythm, n = 580, x3", today=(1.91, 2.12), rhythm=False, at_most=1.5),
    replace(
        LONG, name="few exports: 60 days, n = 10, x3", today=(6.09, 6.26), exports=10, at_most=3.8
    ),
    replace(SHORT, name="linear, 20 days, n = 160", today=(3.52, 3.72), linear=True, at_most=1.2),
    replace(LONG, name="linear, 60 days, n = 580", today=(3.35, 3.47), linear=True, at_most=1.15),
    replace(
        LONG,
        name="linear, 60 days, n = 40",
        today=(1.06, 1.07),
        exports=40,
        linear=True,
        at_most=1.15,
    ),
    replace(LONG, name="one job in flight, n = 580, x3", today=(3.70, 3.79), jobs=1),
    replace(LONG, name="eight jobs in flight, n = 580, x3", today=(11.09, 11.77), jobs=8),
    replace(
        LONG, name="limit halves half way, n = 580, x3", today=(6.93, 7.09), capacity_after=0.5
    ),
    replace(LONG, name="limit doubles half way, n = 580, x3", today=(8.34, 8.67), capacity_after=2),
    replace(LONG, name="burst of one second, n = 580, x3", today=(7.93, 8.24), burst=0.9),
    replace(
        LONG,
        name="silent year between, n = 580, x3",
        today=(9.82, 10.22),
        days=485,
        silent=(60, 425),
    ),
    replace(LONG, name="seven nights after it, n = 580, x3", today=(11.44, 12.21), nights=7),
)


class Planner(Protocol):
    """What the simulation needs of a planner."""

    def next(self) -> Window | None:
        """Issue a window."""

    def ready(self, window: Window, seconds: float) -> None:
        """Pass on that a job is complete."""

    def counted(self, window: Window, events_by_hour: Mapping[int, int]) -> None:
        """Pass on a window's events."""

    def too_large(self, window: Window, seconds: float) -> bool:
        """Take back a window."""

    def learnt(self) -> dict[str, object]:
        """Return what is known."""


class Events:
    """The times of a case's events, spread evenly within each hour."""

    def __init__(self, case: Case, seed: int) -> None:
        """Draw the events of a case and of the nights that follow."""
        rng = random.Random(seed)  # noqa: S311 - a seeded case
        hours = (case.days + case.nights) * 24
        weights = [_weight(case, hour) * rng.lognormvariate(0, case.noise) for hour in range(hours)]
        scale = case.exports * CAPACITY / sum(weights[: case.days * 24])
        self._before = [0.0, *itertools.accumulate(weight * scale for weight in weights), 0.0]
        self._before[-1] = self._before[-2]
        self._burst_at = START + rng.randrange(hours * HOUR - 1000)
        self._burst = case.burst * CAPACITY

    def before(self, instant: int) -> float:
        """Return the events before an instant."""
        hour, rest = divmod(instant - START, HOUR)
        less, more = self._before[hour : hour + 2]
        burst = self._burst * min(1.0, max(0.0, (instant - self._burst_at) / 1000))
        return less + (more - less) * rest / HOUR + burst

    def between(self, start: int, end: int) -> float:
        """Return the events in a window."""
        return self.before(end) - self.before(start)

    def by_hour(self, window: Window) -> Counter[int]:
        """Return the events of a window by hours since the epoch."""
        hours = Counter[int]()
        for hour in range(window.start // HOUR, -(-window.end // HOUR)):
            start, end = max(window.start, hour * HOUR), min(window.end, (hour + 1) * HOUR)
            hours[hour] = round(self.between(start, end))
        return hours


def _weight(case: Case, hour: int) -> float:
    day = hour // 24
    if case.silent[0] <= day < case.silent[1]:
        return 0
    weight: float = case.growth ** (hour / case.days / 24)
    if case.rhythm:
        weight *= 0.15 + 3 * math.exp(-(((hour % 24 - 15) / 3.5) ** 2))
        weight *= 0.25 if day % 7 >= 5 else 1
    return weight


class Cost(NamedTuple):
    """The cost of a run."""

    wall: float
    """In job times."""
    job_time: float
    jobs: int
    too_large: int
    ideal: float
    """Least number of exports that hold all events."""


@dataclass
class Run:
    """One sync: jobs in flight, windows emitted in order."""

    case: Case
    events: Events
    span: Window
    rng: random.Random
    now: float = 0
    job_time: float = 0
    jobs: int = 0
    too_large: int = 0
    in_flight: list[tuple[float, int, Window, float, bool]] = field(default_factory=list)

    def through(self, planner: Planner, ahead: int = 4) -> Cost:
        """Run all jobs.

        Args:
            planner: Cuts the windows.
            ahead: Windows issued and not yet emitted, at most, in times of the jobs in flight.
        """
        position = self.span.start
        done: dict[int, Window] = {}
        while True:
            while (
                len(self.in_flight) < self.case.jobs
                and len(self.in_flight) + len(done) < ahead * self.case.jobs
                and (window := planner.next())
            ):
                self._start(window)
            if not self.in_flight:
                break
            self.now, _, window, seconds, fits = heapq.heappop(self.in_flight)
            if fits:
                planner.ready(window, seconds)
                planner.counted(window, self.events.by_hour(window))
                done[window.start] = window
                while position in done:
                    position = done.pop(position).end
            else:
                self.too_large += 1
                if not planner.too_large(window, seconds):
                    raise AssertionError(window)
        if position != self.span.end:
            raise AssertionError(position)
        return Cost(self.now, self.job_time, self.jobs, self.too_large, self._ideal())

    def _start(self, window: Window) -> None:
        middle = (window.start + window.end) / 2
        share = self.events.between(window.start, window.end) / self._capacity_at(middle)
        fits, case = share <= 1, self.case
        spread = 0.05 if case.linear else 0.1
        time = 1 + self.rng.uniform(-spread, spread)
        if case.linear:
            time = time * (0.05 + 0.95 * share) if fits else 1.0
        elif not fits:
            time *= case.failure
        self.jobs += 1
        self.job_time += time
        seconds = time * (LINEAR_SECONDS if case.linear else JOB_SECONDS)
        heapq.heappush(self.in_flight, (self.now + time, self.jobs, window, seconds, fits))

    def _half(self) -> int:
        return START + self.case.days * DAY // 2

    def _capacity_at(self, instant: float) -> float:
        return CAPACITY * (self.case.capacity_after if instant > self._half() else 1)

    def _ideal(self) -> int:
        if self.case.capacity_after == 1:
            return _exports(self.events.between(self.span.start, self.span.end), 1)
        first = self.events.between(self.span.start, self._half())
        second = self.events.between(self._half(), self.span.end)
        return _exports(first, 1) + _exports(second, self.case.capacity_after)


def _exports(events: float, capacity: float) -> int:
    return max(1, math.ceil(events / CAPACITY / capacity - 1e-6))


def plan(span: Window, jobs: int, knowledge: Knowledge) -> Planner:
    """Return the tap's planner with the default settings."""
    return WindowPlanner(span, largest=744 * HOUR, smallest=1000, jobs=jobs, knowledge=knowledge)


def simulate(
    case: Case,
    seed: int,
    make: Callable[[Window, int, Knowledge], Planner] = plan,
    ahead: int = 4,
) -> Cost:
    """Return what a case costs with one seed; of nights, their sum."""
    events = Events(case, seed)
    rng = random.Random(-1 - seed)  # noqa: S311 - a seeded service
    edges = [0, *range(case.days, case.days + case.nights + 1)]
    knowledge, costs = Knowledge(), []
    for first, last in itertools.pairwise(edges):
        span = Window(START + first * DAY, START + last * DAY)
        planner = make(span, case.jobs, knowledge)
        costs.append(Run(case, events, span, rng).through(planner, ahead))
        knowledge = Knowledge.from_json(json.loads(json.dumps(planner.learnt())))
    return Cost(*map(sum, zip(*costs[1 if case.nights else 0 :], strict=True)))


def ratios(case: Case, seeds: int) -> tuple[float, float]:
    """Return the median and the worst seed of wall time over the ideal."""
    with Pool(2) as pool:
        costs = pool.starmap(simulate, [(case, seed) for seed in range(seeds)])
    walls = [cost.wall / (cost.ideal / case.jobs) for cost in costs]
    return statistics.median(walls), max(walls)


def rows(seeds: int) -> Iterator[str]:
    """Yield the rows of the table, as Markdown."""
    yield "| case | before | now | has to be |"
    yield "| --- | ---: | ---: | ---: |"
    for case in CASES:
        median, worst = ratios(case, seeds)
        before = "{:.1f} ({:.1f})".format(*case.today)
        most = f"at most {case.at_most:g}" if case.at_most else ""
        yield f"| {case.name} | {before} | {median:.2f} ({worst:.2f}) | {most} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.windows", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="seeds for each row (default 100)")
    for row in rows(parser.parse_args().seeds):
        print(row, flush=True)


if __name__ == "__main__":
    main()
