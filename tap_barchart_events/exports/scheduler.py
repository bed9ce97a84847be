"""Windows in, finished export files out: in order, several jobs in flight, splits, retries.

Knows nothing of Singer, nor of what is in a file.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tap_barchart_events.exceptions import (
    BarchartEventsError,
    ExportError,
    JobFailedError,
    JobForgottenError,
    SyncStopped,
    TooLargeError,
)
from tap_barchart_events.exports.job_runner import JobRunner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tap_barchart_events.api.client import ReportsClient
    from tap_barchart_events.exports.job_runner import Limits, Request
    from tap_barchart_events.exports.planner import WindowPlanner
    from tap_barchart_events.windows import Window

logger = logging.getLogger(__name__)

MAX_JOB_RETRIES = 3
"""How often a job that failed, or that the service forgot, is replaced by a new one."""


HEARTBEAT = 0.5
"""Seconds after which the main thread looks up from waiting: when two signals come at once,
Python may run no handler before it executes something."""


@dataclass(frozen=True, slots=True)
class Export:
    """A finished export file."""

    product: str
    window: Window
    path: Path
    job_seconds: float
    """From the start of the window's first job until its file was ready."""
    download_seconds: float
    size: int
    """Bytes transferred."""


@dataclass(slots=True, eq=False)
class _ProductQueue:
    """One product's windows; ``position`` is the end of the last one taken, in milliseconds."""

    product: str
    plan: WindowPlanner
    position: int
    tasks: dict[int, _Task] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Task:
    """One window on its way from a job to a file on disk."""

    lane: _ProductQueue
    window: Window
    path: Path
    in_flight: bool = True
    on_disk: bool = False
    export: Export | None = None
    error: Exception | None = None


class Exports:
    """The exports of a sync. Each product's come in the order of time, as files.

    At most ``max_concurrent_jobs`` jobs are in flight, over all products, earlier products
    and windows first; and at most as many files are on disk, the one being read included.
    The place of the file that is read next is kept free, so that a window that had to be
    split never waits for those behind it. And however much of the following products is
    there already, the product being read may have as many windows under way as jobs may be
    in flight.
    """

    def __init__(
        self,
        client: ReportsClient,
        plans: Mapping[str, WindowPlanner],
        *,
        request: Request,
        limits: Limits,
        directory: Path,
        stopped: threading.Event,
    ) -> None:
        """Start nothing yet.

        Args:
            client: The service.
            plans: The windows of each product, in the order in which they will be read.
            request: What to ask of the service.
            limits: How hard to work it.
            directory: Where files go.
            stopped: Ends everything when set.
        """
        self._jobs = JobRunner(client, request, limits, stopped)
        self._lanes = [
            _ProductQueue(product, plan, plan.span.start) for product, plan in plans.items()
        ]
        self._request = request
        self._limits = limits
        self._directory = directory
        self._stopped = stopped
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._current = 0
        self._in_flight = 0
        self._on_disk = 0
        self._started = 0

    @property
    def windows_left(self) -> int:
        """How many windows are not done with, the one being read included, as far as known."""
        with self._changed:
            return sum(lane.plan.windows_left + len(lane.tasks) for lane in self._lanes)

    def of(self, product: str) -> Iterator[Export]:
        """Yield the exports of one product in the order of time.

        A file is removed when the next one is asked for.

        Raises:
            BarchartEventsError: The export of the window that comes next cannot be had.
                All earlier ones have been yielded.
        """
        lane = next(lane for lane in self._lanes if lane.product == product)
        with self._changed:
            self._current = self._lanes.index(lane)
            self._fill()
            self._changed.notify_all()  # a file that waited for a place may be the next one now
        while lane.position < lane.plan.span.end:
            task = self._take(lane)
            if task.error:
                raise self._told(task, task.error) from None
            if task.export:
                yield task.export
            task.path.unlink(missing_ok=True)
            with self._changed:
                del lane.tasks[task.window.start]
                lane.position = task.window.end
                self._on_disk -= 1
                self._fill()
                self._changed.notify_all()

    def close(self) -> None:
        """End all work at once; threads that hang in a call are left behind, harmless."""
        self._stopped.set()
        self._jobs.wake()
        with self._changed:
            self._changed.notify_all()
        patience = time.monotonic() + 1
        for thread in self._threads:
            thread.join(max(0.0, patience - time.monotonic()))

    def _take(self, lane: _ProductQueue) -> _Task:
        """Wait for the next window of a product."""
        with self._changed:
            while True:
                task = lane.tasks.get(lane.position)
                if task and (task.export or task.error):
                    return task
                self._changed.wait(HEARTBEAT)

    def _told(self, task: _Task, error: Exception) -> Exception:
        if not isinstance(error, BarchartEventsError):
            return error
        where = f"{self._request.customer}/{task.lane.product} {task.window}"
        return type(error)(f"{where}: {error}")

    def _fill(self) -> None:
        """Start as many jobs as may be in flight. The lock is held."""
        most = self._limits.max_concurrent_jobs
        while self._in_flight < most and not self._stopped.is_set():
            task = self._next_task()
            if task is None:
                return
            self._in_flight += 1
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            # Daemons: a call that hangs must not hold the process when the sync ends.
            thread = threading.Thread(target=self._work, args=(task,), daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                self._leave(task)
                task.error = ExportError(
                    f"no thread could be started for its job ({error}); lower "
                    "max_concurrent_jobs, or raise the limit of threads (ulimit -u)"
                )
                return
            # Afterwards: a signal may come in between, and one not started cannot be joined.
            self._threads.append(thread)

    def _next_task(self) -> _Task | None:
        most = self._limits.max_concurrent_jobs
        under_way = [len(lane.tasks) for lane in self._lanes[self._current :]]
        for number, lane in enumerate(self._lanes[self._current :]):
            if sum(under_way) >= 2 * most and (number or under_way[0] >= most):
                return None
            # Nothing after a window that failed will ever be read.
            failed = min((t.window.start for t in lane.tasks.values() if t.error), default=None)
            upcoming = lane.plan.upcoming
            if upcoming is not None and (failed is None or upcoming < failed):
                window = lane.plan.next()
                if window:
                    self._started += 1
                    task = _Task(lane, window, self._directory / f"export-{self._started}")
                    lane.tasks[window.start] = task
                    return task
            if failed is not None:
                return None
            # It waits for a smaller or larger size to be tried, and will want places again.
            if upcoming is not None and sum(under_way[number + 1 :]) >= most // 2:
                return None
        return None

    def _work(self, task: _Task) -> None:
        """Turn a window into a file, or into the reason why not. Runs in a thread."""
        began = time.monotonic()
        error: Exception | None = None
        try:
            task.export = self._export(task)
        except SyncStopped:
            return
        except Exception as problem:  # noqa: BLE001 - raised again where the file is taken
            error = problem
        with self._changed:
            self._leave(task, done=not error)
            seconds = time.monotonic() - began
            if isinstance(error, TooLargeError) and task.lane.plan.too_large(task.window, seconds):
                logger.info(
                    "%s/%s %s is split: %s",
                    self._request.customer,
                    task.lane.product,
                    task.window,
                    error,
                )
                del task.lane.tasks[task.window.start]
            elif isinstance(error, TooLargeError):
                task.error = TooLargeError(
                    f"{error}, and the window may not be split further; lower "
                    "min_window_seconds, or name fewer event_types"
                )
            elif error:
                task.error = error
            self._fill()
            self._changed.notify_all()

    def _export(self, task: _Task) -> Export:
        began = time.monotonic()
        last: Exception | None = None
        for _ in range(1 + MAX_JOB_RETRIES):
            try:
                self._enter(task)
                job = self._jobs.run(task.lane.product, task.window)
                with self._changed:
                    # Now, not after the download: the windows that follow depend on it.
                    task.lane.plan.ready(task.window, time.monotonic() - began)
                    self._fill()
                ready = time.monotonic()
                self._enter(task, disk=True)
                from_here = time.monotonic()
                size = self._jobs.download(job, task.path)
            except (JobFailedError, JobForgottenError) as error:
                last = error
                logger.warning(
                    "%s/%s %s: %s", self._request.customer, task.lane.product, task.window, error
                )
                with self._changed:
                    self._leave(task)
                continue
            seconds = time.monotonic() - from_here
            return Export(task.lane.product, task.window, task.path, ready - began, seconds, size)
        raise JobFailedError(
            f"{1 + MAX_JOB_RETRIES} export jobs failed, the last one thus: {last}; run again "
            "later, it goes on from the bookmark, and if it goes on failing ask Barchart's support"
        )

    def _enter(self, task: _Task, *, disk: bool = False) -> None:
        """Wait for a place among the jobs in flight or, leaving it, among the files on disk."""
        most = self._limits.max_concurrent_jobs
        with self._changed:
            if disk:
                self._leave(task)
                self._fill()
            while not self._stopped.is_set():
                if not disk and (task.in_flight or self._in_flight < most):
                    self._in_flight += not task.in_flight
                    task.in_flight = True
                    return
                if disk and self._on_disk < most - self._is_kept_free(task):
                    self._on_disk += 1
                    task.on_disk = True
                    return
                self._changed.wait()
        raise SyncStopped

    def _leave(self, task: _Task, *, done: bool = False) -> None:
        """Give up a task's places; the one on disk is kept when it is done. Lock held."""
        self._in_flight -= task.in_flight
        task.in_flight = False
        if not done:
            self._on_disk -= task.on_disk
            task.on_disk = False
        self._changed.notify_all()

    def _is_kept_free(self, task: _Task) -> bool:
        """Tell whether a place on disk is to be left to a file that is read before the task's."""
        lane = self._lanes[self._current]
        following = lane.tasks.get(lane.position)
        return following is not task and not (following and following.on_disk)
