"""The scheduler through many thousands of interleavings, with a test double of the client.

Nothing waits here: time is a number, and calls end in the order in which dice let them.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from tap_barchart_events import exceptions as errors
from tap_barchart_events.api.client import Job
from tap_barchart_events.api.http import RetryPolicy
from tap_barchart_events.exports.jobs import (
    WINDOWS_PER_JOB,
    Export,
    JobPolicy,
    Outcome,
    State,
)
from tap_barchart_events.exports.saved_jobs import MAX_AGE, SavedJob
from tap_barchart_events.windows import Window
from tests.exports.conftest import HOUR, REQUEST, START, checked_file, scheduler_of, too_many_jobs

pytestmark = pytest.mark.usefixtures("untraced")

PRODUCTS = ("WATCHLIST", "ALERT", "PORTFOLIO")
RUNS = pytest.mark.parametrize("runs", [250, pytest.param(10_000, marks=pytest.mark.soak)])
"""Interleavings, one a seed; many thousands of each test in `make soak`."""
UNIX_TIME = 1_800_000_000
NEVER_FAILS = JobPolicy(
    poll_interval=60,
    starts=RetryPolicy(10_000, timeout=math.inf),
    waits=(10, 60) + (360,) * 10_000,
    forgotten_timeout=math.inf,
)


@dataclass
class Service:
    """The service and its clock: jobs end after some time, one of a few ways, by dice."""

    rng: random.Random
    faults: float
    """Share of the calls that go wrong."""
    most: int | None
    """Events that an export holds; there is one a minute."""
    accepts: int
    """Jobs that it runs at once."""
    retry_after: float | None = None
    ends: dict[str, float] = field(default_factory=dict)
    windows: dict[str, Window] = field(default_factory=dict)
    started: Counter[tuple[str, Window]] = field(default_factory=Counter)
    refusal: tuple[float, float] = (-math.inf, -math.inf)
    """When a start was last refused, and until when none may be sent."""
    busiest: int = 0
    broken: dict[str, int] = field(default_factory=dict)
    """Product → start of a window about whose job all calls fail."""
    error: Exception = field(default_factory=lambda: errors.ServiceError("not as documented"))
    """What they raise."""
    names: itertools.count[int] = field(default_factory=itertools.count)

    def answer(self, export: Export, now: float) -> Outcome:
        """Return what a call of the client leads to."""
        if export.state is State.STARTING:
            return self._start(export, now)
        assert export.job
        source = export.job.source
        if export.window.start == self.broken.get(export.product):
            return self.error
        if export.state is State.CHECKING:
            return checked_file({0: 1} if self.rng.random() < 0.5 else {})
        if self.rng.random() < self.faults:
            return self._fault(export, source)
        if source not in self.ends:
            return errors.JobForgottenError(source)
        is_poll = export.state is State.POLLING
        return Job(source, self._status(source, now), None) if is_poll else self.rng.randrange(1000)

    def _start(self, export: Export, now: float) -> Outcome:
        refused, until = self.refusal
        assert not refused < export.called < until, "started before Retry-After had passed"
        running = sum(end > now for end in self.ends.values())
        if running >= self.accepts:
            if self.retry_after is not None:
                self.refusal = now, max(self.refusal[1], now + self.retry_after)
            return too_many_jobs(self.retry_after)
        if self.rng.random() < self.faults:
            return errors.JobFailedError("FAILED, or another export")
        source = f"JOB-{next(self.names)}"
        long = 900 if export.window.size > HOUR / 6 else 60  # not too large for ever
        self.ends[source] = export.called + self.rng.choice([0, 30, 60, 60, long])
        self.windows[source] = export.window
        self.started[export.queue.product, export.window] += 1
        self.busiest = max(self.busiest, running + 1)
        return Job(source, self._status(source, now), None)

    def _status(self, source: str, now: float) -> str:
        if now < self.ends[source]:
            return "RUNNING"
        too_large = self.most is not None and self.windows[source].size / 60_000 > self.most
        return "TIMEOUT" if too_large else self.rng.choice(["COMPLETE", "COMPLETED"])

    def _fault(self, export: Export, source: str) -> Outcome:
        other: Outcome = errors.JobNotReadyError(source)
        if export.state is State.POLLING:
            self.ends[source] = -math.inf
            other = Job(source, "FAILED", None)
        lost = errors.JobForgottenError(source), errors.JobFailedError(source)
        return self.rng.choice([*lost, other])


@dataclass
class Run:
    """A sync by dice, with all that must hold at each moment."""

    seed: int
    jobs: int = 0
    saved: dict[str, list[SavedJob]] = field(default_factory=dict)
    bookmarks: dict[str, int] = field(default_factory=dict)
    aged: set[tuple[str, Window]] = field(default_factory=set)
    """Windows whose jobs were too old to be resumed: they get a second one."""
    service: Service = field(init=False)

    def __post_init__(self) -> None:
        """Draw what kind of sync it is."""
        rng = self.rng = random.Random(self.seed)  # noqa: S311 - seeded on purpose
        self.jobs = rng.randint(1, 6)
        limit = rng.choice([self.jobs, rng.randint(1, self.jobs)])
        self.service = Service(
            rng,
            faults=rng.choice([0, 0.05, 0.3]),
            most=rng.choice([None, 20, 45]),
            accepts=limit,
            retry_after=rng.choice([None, 0, 60]),
        )
        self.products = PRODUCTS[: rng.randint(1, 3)]
        self.end = START + rng.randint(0, 6) * HOUR
        self.job_timeout = rng.choice([120, 1200])
        self.bookmarks = dict.fromkeys(self.products, START)
        self.now = rng.uniform(0, 1000)
        self.begin()

    def begin(self) -> None:
        """Begin a sync at the bookmarks, with the jobs that the last one has left."""
        self.service.refusal = -math.inf, -math.inf  # another process, which does not know it
        spans = {p: Window(at, max(at, self.end)) for p, at in self.bookmarks.items()}
        now = round(self.now + UNIX_TIME)
        self.aged |= {
            (p, job.window)
            for p, jobs in self.saved.items()
            for job in jobs
            if now - job.started > MAX_AGE
        }
        self.scheduler = scheduler_of(
            spans,
            replace(NEVER_FAILS, max_concurrent_jobs=self.jobs, job_timeout=self.job_timeout),
            unix_time=UNIX_TIME,
            rng=self.rng,
        )
        self.taken = 0
        for product, jobs in self.saved.items():
            for job in map(SavedJob.from_json, [job.to_json() for job in jobs]):
                assert job
                if job.is_usable(REQUEST, product, spans[product], now=now, lag=0, lookback=0):
                    self.taken += self.scheduler.resume(product, job)
        self.reading = iter(self.products)
        self.product = next(self.reading)
        self.calls: list[Export] = []
        self.scheduler.set_current(self.product)

    def check(self) -> None:
        """Check what holds at any moment."""
        exports = list(self.scheduler._exports())  # noqa: SLF001 - all of them, to count
        failed = {export.queue.product for export in exports if export.state is State.FAILED}
        issued = sum(export.queue.product not in failed for export in exports)
        assert issued <= WINDOWS_PER_JOB * self.jobs
        states = Counter(export.state for export in exports)
        assert states[State.DOWNLOADING] <= self.jobs
        assert states[State.CHECKING] <= 1
        jobs = states[State.STARTING] + states[State.RUNNING] + states[State.POLLING]
        assert jobs <= self.jobs + self.taken

    def emit(self) -> bool:
        """Read the next window if it is there; return whether the sync goes on."""
        export = self.scheduler.following(self.product)
        while self.scheduler.is_at_end(self.product) or (export and export.error):
            if export and export.error and export.error is self.scheduler.ending:
                raise export.error
            following = next(self.reading, None)
            if following is None:
                return False
            self.product = following
            self.scheduler.set_current(following)
            export = self.scheduler.following(self.product)
        if self.scheduler.ending and not (export and export.job):
            raise self.scheduler.ending
        if export and export.state is State.READY and self.rng.random() < 0.5:
            assert export.window.start == self.bookmarks[self.product], "out of order, or a gap"
            self.bookmarks[self.product] = export.window.end
            self.scheduler.emitted(export)
        return True

    def step(self) -> None:
        """Begin calls, end one of them, or let time pass."""
        begins = not self.calls or (len(self.calls) <= 2 * self.jobs and self.rng.random() < 0.7)
        if begins and (export := self.scheduler.next_call(self.now)):
            self.calls.append(export)
            return
        if self.calls:
            export = self.calls.pop(self.rng.randrange(len(self.calls)))
            self.now += self.rng.choice([0, 0.01, 0.5])
            self.scheduler.finished(export, self.service.answer(export, self.now), self.now)
            return
        following = self.scheduler.following(self.product)
        is_over = self.scheduler.is_at_end(self.product)
        if self.scheduler.ending:
            is_over = not (following and following.job)
        if is_over or (following and (following.file or following.error)):
            return
        change = self.scheduler.next_change(self.now)
        assert change < math.inf, "nothing under way, and nothing will ever happen: deadlock"
        assert change > self.now, "busy waiting"
        self.now = change

    def interrupt(self) -> None:
        """End the sync: responses to starts are waited for, all other calls are given up."""
        for export in self.calls:
            is_start = export.state is State.STARTING
            outcome = self.service.answer(export, self.now) if is_start else errors.SyncStopped()
            self.scheduler.finished(export, outcome, self.now)
        assert self.scheduler.open_starts == 0
        self.saved = {product: self.scheduler.jobs(product) for product in self.products}

    def to_the_end(self) -> int:
        """Go on until all is emitted; return the number of steps."""
        for steps in itertools.count():
            if not self.emit():
                return steps
            self.step()
            self.check()
            assert steps < 100_000, "no end"
        raise AssertionError


@RUNS
def test_all_windows_come_in_order_within_the_budgets_whatever_happens(runs: int) -> None:
    for seed in range(runs):
        run = Run(seed)
        run.to_the_end()
        assert set(run.bookmarks.values()) == {run.end}, f"seed {seed}"
        assert run.service.busiest <= run.jobs, f"seed {seed}"


@RUNS
def test_a_sync_that_ends_at_any_moment_is_continued_without_a_second_job_for_a_window(
    runs: int,
) -> None:
    for seed in range(runs):
        run = Run(seed)
        run.service.faults = 0
        run.job_timeout = 1200
        run.begin()
        for _ in range(run.rng.randint(1, 4)):
            for _ in range(run.rng.randrange(60)):
                if not run.emit():
                    break
                run.step()
                run.check()
            run.interrupt()
            run.begin()
        run.to_the_end()
        assert set(run.bookmarks.values()) == {run.end}, f"seed {seed}"
        most = run.service.most or math.inf
        fitting = [
            n
            for (product, window), n in run.service.started.items()
            if window.size / 60_000 <= most and (product, window) not in run.aged
        ]
        assert max(fitting, default=1) == 1, f"seed {seed}"


@RUNS
def test_a_window_that_cannot_be_exported_ends_its_product_alone(runs: int) -> None:
    for seed in range(runs):
        run = Run(seed)
        run.end = START + run.rng.randint(1, 12) * HOUR
        run.service.most, run.job_timeout = None, 1200
        run.begin()
        hours = (run.end - START) // HOUR
        failing = run.rng.sample(run.products, run.rng.randint(1, len(run.products)))
        broken = {product: START + run.rng.randrange(hours) * HOUR for product in failing}
        run.service.broken = broken
        run.to_the_end()
        assert run.bookmarks == {p: broken.get(p, run.end) for p in run.products}, f"seed {seed}"
        assert run.scheduler.ending is None


@RUNS
def test_an_error_about_more_than_one_product_ends_the_sync(runs: int) -> None:
    for seed in range(runs):
        run = Run(seed)
        run.end = START + run.rng.randint(1, 12) * HOUR
        run.service.faults, run.service.most, run.job_timeout = 0, None, 1200
        run.begin()
        hour = START + run.rng.randrange((run.end - START) // HOUR) * HOUR
        product = run.rng.choice(run.products)
        run.service.broken, run.service.error = {product: hour}, errors.ResourceError("full")
        with pytest.raises(errors.ResourceError):
            run.to_the_end()
        assert run.bookmarks[product] <= hour
