"""The cost of window sizes, on a simulated clock: one command, one table.

`python -m benchmarks.windows` drives the tap's own `WindowPlanner`; the service, the events and
the clock are simulated. Figures are wall time over the ideal: as many exports as would do,
divided by the jobs in flight. All times are in times of a job.
"""

import argparse
import heapq
import itertools
import json
import math
import random
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from multiprocessing import Pool
from typing import NamedTuple

from tap_barchart_events.exports.planner import Knowledge, WindowPlanner
from tap_barchart_events.windows import HOUR, Window

DAY = 24 * HOUR
START = 1_767_571_200_000
"""A Monday: 2026-01-05, 00:00 UTC."""
CAPACITY = 100_000
"""Events that an export holds."""
AHEAD = 4
"""Windows issued and not yet emitted, at most, in times of the jobs in flight."""


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
    """Later runs, with what was learnt before; only these count."""
    every: int = 24
    """Hours from one of these runs to the next."""
    lookback: int = 0
    """Hours before its bookmark that each of them reads again."""
    bound: float = 0
    """Upper bound of the median of wall time over the ideal."""


SHORT = Case("", days=20, exports=160)
LONG = Case("", days=60, exports=580)

CASES = (
    replace(SHORT, name="20 days, n = 160, x1", bound=2.11, failure=1),
    replace(SHORT, name="20 days, n = 160, x3", bound=2.47),
    replace(LONG, name="60 days, n = 580, x1", bound=1.80, failure=1),
    replace(LONG, name="60 days, n = 580, x3", bound=1.96),
    replace(LONG, name="60 days, n = 580, x3, noise 30 %", bound=2.44, noise=0.3),
    replace(LONG, name="60 days, n = 580, x3, growing tenfold", bound=1.90, growth=10),
    replace(LONG, name="60 days, n = 2,000, x3", bound=1.92, exports=2000),
    replace(LONG, name="no rhythm, n = 580, x3", bound=1.75, rhythm=False),
    replace(LONG, name="few exports: 60 days, n = 10, x3", bound=3.96, exports=10),
    replace(SHORT, name="linear, 20 days, n = 160", bound=1.37, linear=True),
    replace(LONG, name="linear, 60 days, n = 580", bound=1.28, linear=True),
    replace(LONG, name="linear, 60 days, n = 40", bound=1.30, exports=40, linear=True),
    replace(LONG, name="one job in flight, n = 580, x3", bound=1.92, jobs=1),
    replace(LONG, name="eight jobs in flight, n = 580, x3", bound=2.11, jobs=8),
    replace(LONG, name="limit halves half way, n = 580, x3", bound=1.94, capacity_after=0.5),
    replace(LONG, name="limit doubles half way, n = 580, x3", bound=2.40, capacity_after=2),
    replace(LONG, name="burst of one second, n = 580, x3", bound=2.03, burst=0.9),
    replace(
        LONG,
        name="60 days around a silent year, n = 580, x3",
        bound=2.50,
        days=485,
        silent=(60, 425),
    ),
    replace(LONG, name="seven nights, no lookback", bound=1.87, nights=7),
    replace(LONG, name="seven nights, lookback of 24 hours", bound=1.90, nights=7, lookback=24),
    replace(
        LONG,
        name="48 hourly runs, lookback of 24 hours",
        bound=1.70,
        nights=48,
        every=1,
        lookback=24,
    ),
)


class Events:
    """The times of a case's events, spread evenly within each hour."""

    def __init__(self, case: Case, seed: int) -> None:
        """Draw the events of a case and of the nights that follow."""
        rng = random.Random(seed)  # noqa: S311 - a seeded case
        hours = case.days * 24 + case.nights * case.every
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
    jobs: int = 0
    in_flight: list[tuple[float, int, Window, bool]] = field(default_factory=list)

    def through(self, planner: WindowPlanner) -> Cost:
        """Run all jobs of a planner."""
        position = self.span.start
        done: dict[int, Window] = {}
        while True:
            while (
                len(self.in_flight) < self.case.jobs
                and len(self.in_flight) + len(done) < AHEAD * self.case.jobs
                and (window := planner.next())
            ):
                self._start(window)
            if not self.in_flight:
                break
            self.now, _, window, fits = heapq.heappop(self.in_flight)
            if fits:
                planner.counted(window, self.events.by_hour(window))
                done[window.start] = window
                while position in done:
                    position = done.pop(position).end
            elif not planner.too_large(window):
                raise AssertionError(window)
        if position != self.span.end:
            raise AssertionError(position)
        return Cost(self.now, self._ideal())

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
        heapq.heappush(self.in_flight, (self.now + time, self.jobs, window, fits))

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


def simulate(case: Case, seed: int) -> Cost:
    """Return what a case costs with one seed; of later runs, their sum."""
    events = Events(case, seed)
    rng = random.Random(-1 - seed)  # noqa: S311 - a seeded service
    knowledge, bookmark, costs = Knowledge(), None, []
    for run in range(case.nights + 1):
        start = START if bookmark is None else bookmark - case.lookback * HOUR
        span = Window(start, START + case.days * DAY + run * case.every * HOUR)
        planner = WindowPlanner(
            span,
            largest=744 * HOUR,
            smallest=1000,
            jobs=case.jobs,
            known=knowledge,
            bookmark=bookmark,
        )
        costs.append(Run(case, events, span, rng).through(planner))
        knowledge = Knowledge.from_json(json.loads(json.dumps(planner.known.to_json())))
        bookmark = span.end
    return Cost(*map(sum, zip(*costs[1 if case.nights else 0 :], strict=True)))


def ratios(case: Case, seeds: int) -> tuple[float, float]:
    """Return the median and the worst seed of wall time over the ideal."""
    with Pool(2) as pool:
        costs = pool.starmap(simulate, [(case, seed) for seed in range(seeds)])
    walls = [cost.wall / (cost.ideal / case.jobs) for cost in costs]
    return statistics.median(walls), max(walls)


def rows(seeds: int) -> Iterator[str]:
    """Yield the rows of the table, as Markdown."""
    yield "| case | median (worst) | has to be |"
    yield "| --- | ---: | ---: |"
    for case in CASES:
        median, worst = ratios(case, seeds)
        yield f"| {case.name} | {median:.2f} ({worst:.2f}) | at most {case.bound:.2f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.windows", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="seeds for each row (default 100)")
    for row in rows(parser.parse_args().seeds):
        print(row, flush=True)


if __name__ == "__main__":
    main()
