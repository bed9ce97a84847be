"""Which call of the service comes next.

A state machine: it makes no call itself and uses no thread. ``next_call`` returns the call to make
now, ``next_change`` the time until which there is none, and ``finished`` applies the outcome of a
call. Times are arguments, in seconds of one monotonic clock. Depends on neither Singer nor the
content of a file.
"""

from __future__ import annotations

import logging
import math
import random
from typing import TYPE_CHECKING

from tap_barchart_events.exports.budget import JobBudget
from tap_barchart_events.exports.outcomes import Outcomes
from tap_barchart_events.exports.saved_jobs import SavedJob, is_kept
from tap_barchart_events.exports.tasks import ProductQueue, RunningJob, TaskState, WindowTask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tap_barchart_events.exports.job_retry import JobRetryPolicy
    from tap_barchart_events.exports.planner import WindowPlanner
    from tap_barchart_events.exports.saved_jobs import Request
    from tap_barchart_events.exports.tasks import Export, JobCounts, Limits, Log, Outcome
    from tap_barchart_events.windows import Window

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 3600
"""Longest wait for the end of a ``Retry-After`` while no job is in flight, in seconds. A longer one
ends the sync: nothing else is left to do."""

WINDOWS_PER_JOB = 4
"""Windows issued and not yet emitted, for each job that may be in flight."""


class Scheduler:
    """Chooses the next call over the windows of all products. Not thread-safe.

    A window is issued when a job may be started and fewer than ``WINDOWS_PER_JOB`` windows for
    each job are issued and not yet emitted, over all products. The last quarter of these places
    is reserved for the product being read. It may use them for a window before an issued one, and
    while fewer of its windows are issued than jobs may be in flight. So a part of a split window
    never waits for later windows, and the product being read always uses all jobs.
    """

    def __init__(
        self,
        plans: Mapping[str, WindowPlanner],
        *,
        request: Request,
        limits: Limits,
        retry: JobRetryPolicy,
        directory: Path,
        unix_time: float,
        rng: random.Random | None = None,
        log: Log = logger.log,
    ) -> None:
        """Start nothing yet.

        Args:
            plans: The windows of each product, in the order in which they will be read.
            request: What all exports have in common.
            limits: Jobs at once, and how long and how often they are polled.
            retry: When a job that failed is replaced by a new one.
            directory: Where files go.
            unix_time: When the clock was 0, in seconds since the epoch.
            rng: For jitter.
            log: Takes level, text and arguments of a line.
        """
        self._queues = [ProductQueue(p, plan, plan.span.start) for p, plan in plans.items()]
        self._by_product = {queue.product: queue for queue in self._queues}
        self._request = request
        self._limits = limits
        self._directory = directory
        self._unix_time = unix_time
        self._budget = JobBudget(limits.max_concurrent_jobs)
        self._outcomes = Outcomes(
            self._budget,
            customer=request.customer,
            limits=limits,
            retry=retry,
            rng=rng or random.Random(),  # noqa: S311 - jitter, not a secret
            unix_time=unix_time,
            log=log,
        )
        self._current = 0
        self._files = 0
        self._closed = False

    # For the reader of the files ----------------------------------------------------------

    @property
    def windows_left(self) -> int:
        """How many windows are not emitted, as far as known."""
        return sum(queue.plan.windows_left + len(queue.tasks) for queue in self._queues)

    @property
    def events_left(self) -> float | None:
        """How many events are expected in windows that are not emitted; None if unknown."""
        total = sum(self._outcomes.expected_events(task) for task in self._tasks())
        for queue in self._queues:
            if queue.plan.upcoming is not None:
                expected = queue.plan.events_left
                if not expected:
                    return None
                total += expected
        return total

    @property
    def job_counts(self) -> JobCounts:
        """What became of the jobs by now."""
        return self._outcomes.jobs

    @property
    def open_starts(self) -> int:
        """How many starts of jobs have not been answered."""
        return sum(task.state is TaskState.STARTING for task in self._tasks())

    def close(self) -> None:
        """Begin no more calls."""
        self._closed = True

    def take_over(self, product: str, job: SavedJob) -> None:
        """Use a job that an earlier run has started; the planner got its window as taken."""
        task = self._new_task(self._by_product[product], job.window)
        task.state, task.began = TaskState.RUNNING, job.started - self._unix_time
        task.job = RunningJob(job.source, task.began, job.started, is_taken_over=True)
        task.job.last_poll = -math.inf  # to be polled at once
        self._budget.resume()

    def set_current(self, product: str) -> None:
        """Set the product being read: its windows come first from now on."""
        self._current = self._queues.index(self._by_product[product])

    def following(self, product: str) -> WindowTask | None:
        """Return the product's next window in the order of time, if it is issued."""
        queue = self._by_product[product]
        return queue.tasks.get(queue.position)

    def is_at_end(self, product: str) -> bool:
        """Return whether all windows of a product have been emitted."""
        queue = self._by_product[product]
        return queue.position >= queue.plan.span.end

    def emitted(self, export: Export) -> None:
        """Mark a product's next window, whose events have all been written."""
        queue = self._by_product[export.product]
        queue.position = export.window.end
        queue.tasks.pop(export.window.start, None)

    def reject(self, export: Export) -> None:
        """Mark a window whose export cannot be used."""
        task = self._by_product[export.product].tasks.get(export.window.start)
        if task:
            task.job = None

    def learnt(self, product: str) -> dict[str, object]:
        """Return what is known by now for sizing the product's windows, as JSON for STATE."""
        return self._by_product[product].plan.learnt()

    def jobs(self, product: str) -> list[SavedJob]:
        """Return the jobs that a later run can take over, in the order of time."""
        tasks = (task for _, task in sorted(self._by_product[product].tasks.items()))
        return [
            SavedJob(
                job.source,
                task.window,
                job.started,
                self._request.fingerprint(product, job.source, task.window),
            )
            for task in tasks
            if (job := task.job) and is_kept(job.source)
        ]

    # Which call comes next ----------------------------------------------------------------

    def next_call(self, now: float) -> WindowTask | None:
        """Return a window whose call, which its state names, is to be made now; None if none."""
        if self._closed:
            return None
        task = self._next_poll(now) or self._next_download(now) or self._next_start(now)
        if task:
            task.called = now
        return task

    def finished(self, task: WindowTask, outcome: Outcome, now: float) -> None:
        """Apply the outcome of a window's call."""
        self._outcomes.apply(task, outcome, now)

    def next_change(self, now: float) -> float:
        """Return until when there is no call to make, unless one under way ends before."""
        times = [self._budget.next_change(now)]
        for task in self._tasks():
            if task.state is TaskState.RUNNING:
                times.append(self._outcomes.poll_due(task))
            elif task.state in {TaskState.WAITING, TaskState.EXPORTED}:
                times.append(task.due)
        return min((time for time in times if time > now), default=math.inf)

    def _tasks(self) -> Iterator[WindowTask]:
        for queue in self._queues:
            yield from queue.tasks.values()

    def _next_poll(self, now: float) -> WindowTask | None:
        for task in self._tasks():
            if task.state is TaskState.RUNNING and self._outcomes.poll_due(task) <= now:
                task.state = TaskState.POLLING
                return task
        return None

    def _next_download(self, now: float) -> WindowTask | None:
        downloads = sum(task.state is TaskState.DOWNLOADING for task in self._tasks())
        if downloads >= self._limits.max_concurrent_jobs:
            return None
        for queue in self._reading_order():
            for _, task in sorted(queue.tasks.items()):
                if task.state is TaskState.EXPORTED and task.due <= now:
                    task.state = TaskState.DOWNLOADING
                    return task
        return None

    def _reading_order(self) -> list[ProductQueue]:
        return self._queues[self._current :]

    def _next_start(self, now: float) -> WindowTask | None:
        pause = self._budget.pause_left(now)
        if pause > LONGEST_PAUSE and not self._budget.in_flight(now):
            self._outcomes.fail_in_pause(self._next_to_start(now), pause)
            return None
        if not self._budget.may_start(now):
            return None
        task = self._next_to_start(now)
        if task:
            task.state = TaskState.STARTING
            self._budget.start(now)
        return task

    def _next_to_start(self, now: float) -> WindowTask | None:
        for queue in self._reading_order():
            failed = queue.first_failed
            if failed is None and queue.waits_after_rejection(now):
                continue
            waiting = min(
                (
                    task.window.start
                    for task in queue.tasks.values()
                    if task.state is TaskState.WAITING and task.due <= now
                ),
                default=None,
            )
            upcoming = queue.plan.upcoming
            if upcoming is not None and (
                (failed is not None and upcoming > failed) or not self._has_place(queue, upcoming)
            ):
                upcoming = None
            if waiting is not None and (upcoming is None or waiting < upcoming):
                return queue.tasks[waiting]
            window = queue.plan.next() if upcoming is not None else None
            if window:
                return self._new_task(queue, window)
            if failed is not None:
                return None
        return None

    def _has_place(self, queue: ProductQueue, start: int) -> bool:
        """Return whether one more window, from an instant on, may be issued."""
        jobs = self._limits.max_concurrent_jobs
        places = (WINDOWS_PER_JOB - 1) * jobs
        is_current = queue is self._queues[self._current]
        if is_current and start == queue.position:
            return True  # no place gets free before this window is emitted
        if is_current and (len(queue.tasks) < jobs or start < max(queue.tasks)):
            places += jobs
        return sum(len(other.tasks) for other in self._queues) < places

    def _new_task(self, queue: ProductQueue, window: Window) -> WindowTask:
        self._files += 1
        task = WindowTask(queue, window, self._directory / f"export-{self._files}")
        queue.tasks[window.start] = task
        return task
