"""The service and the clock simulated: a whole sync of hours of jobs takes no time.

The scheduler, the planner and the policies are the tap's own. Each call takes its time, and as many
run at once as the exporter has threads.
"""

import heapq
import itertools
import logging
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tap_barchart_events.api.client import Job
from tap_barchart_events.exports.jobs import Export, JobPolicy, Outcome, State
from tap_barchart_events.windows import Window
from tests.exports.conftest import HOUR, checked_file, scheduler_of, too_many_jobs

JOB = 300.0
"""Seconds that a job takes, on average."""
LATENCY = 0.1
"""Seconds that a call takes."""
DOWNLOAD = 2.0
"""Seconds that a download takes."""


@dataclass
class _Running:
    window: Window
    began: float
    ends: float


@dataclass
class SimulatedSync:
    """One sync of windows of an hour, with an event a minute."""

    jobs: int
    """``max_concurrent_jobs``."""
    windows: int = 24
    limit: Callable[[float], float] = lambda _: math.inf
    """The time → how many jobs the service runs at once."""
    retry_after: float | None = None
    """What a refusal says."""
    outages: tuple[tuple[float, float], ...] = ()
    """From when to when all jobs fail that run or are started."""
    failing: int = 0
    """How many jobs of the first window fail when they end."""
    products: str = "A"
    """A letter for each product."""
    spread: float = 0.1
    """How far the times of jobs are from ``JOB``, at most, as a share of it."""
    seed: int = 0

    now: float = 0.0
    started: int = 0
    refused: int = 0
    in_flight: list[tuple[float, int, Window]] = field(default_factory=list)
    """When a job was started, how many ran then, and its window."""
    emitted: list[tuple[float, Window]] = field(default_factory=list)

    def run(self) -> float:
        """Read all windows; return how long it took, in seconds."""
        self._rng = random.Random(self.seed)  # noqa: S311 - a seeded service
        self._running: dict[str, _Running] = {}
        self._calls: list[tuple[float, int, Export]] = []
        self._numbers = itertools.count()
        span = Window(0, self.windows * HOUR)
        spans = dict.fromkeys(self.products, span)
        self._scheduler = scheduler_of(spans, JobPolicy(self.jobs), rng=self._rng)
        for product in self.products:
            self._scheduler.set_current(product)
            while not self._scheduler.is_at_end(product):
                self._step(product)
        return self.now

    def logged(self) -> list[str]:
        """Return the lines of the log, but those at debug level."""
        lines = self._scheduler.lines
        return [text % tuple(more) for level, text, *more in lines if level > logging.DEBUG]

    def _step(self, product: str) -> None:
        following = self._scheduler.following(product)
        if following and following.error:
            raise following.error
        if following and following.file:
            self.emitted.append((self.now, following.window))
            self._scheduler.emitted(following)
            return
        while len(self._calls) <= 2 * self.jobs and (export := self._scheduler.next_call(self.now)):
            seconds = DOWNLOAD if export.state is State.DOWNLOADING else LATENCY
            heapq.heappush(self._calls, (self.now + seconds, next(self._numbers), export))
        change = self._scheduler.next_change(self.now)
        if self._calls and self._calls[0][0] <= change:
            self.now, _, export = heapq.heappop(self._calls)
            self._scheduler.finished(export, self._answer(export), self.now)
        else:
            assert self.now < change < math.inf, "nothing will ever happen, or busy waiting"
            self.now = change

    def _answer(self, export: Export) -> Outcome:
        """Return what a call led to."""
        match export.state, export.job:
            case State.STARTING, _:
                return self._start(export)
            case State.POLLING, job if job:
                return self._job(job.source)
            case State.DOWNLOADING, _:
                return 1
        return checked_file({export.window.start // HOUR: 60})

    def _start(self, export: Export) -> Job | Exception:
        running = sum(job.ends > self.now for job in self._running.values())
        if running >= self.limit(self.now):
            self.refused += 1
            return too_many_jobs(self.retry_after)
        source = f"JOB-{self.started}"
        self.started += 1
        ends = self.now + JOB * self._rng.uniform(1 - self.spread, 1 + self.spread)
        self._running[source] = _Running(export.window, self.now, ends)
        self.in_flight.append((self.now, running + 1, export.window))
        return self._job(source)

    def _job(self, source: str) -> Job:
        job = self._running[source]
        for start, end in self.outages:
            if job.began < end and start <= min(self.now, job.ends):
                job.ends = min(job.ends, max(start, job.began))
                return Job(source, "FAILED", None)
        if self.now < job.ends:
            return Job(source, "RUNNING", None)
        if self.failing and job.window.start == 0:
            self.failing -= 1
            return Job(source, "FAILED", None)
        return Job(source, "COMPLETE", job.ends - job.began)
