"""The exports of a sync as finished files: the threads around the scheduler.

Depends on neither Singer nor the content of a file.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tap_barchart_events.exceptions import BarchartEventsError, ExportError
from tap_barchart_events.exports.job_retry import JobRetryPolicy
from tap_barchart_events.exports.job_runner import JobRunner
from tap_barchart_events.exports.scheduler import Scheduler
from tap_barchart_events.exports.tasks import TaskState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tap_barchart_events.api.client import ReportsClient
    from tap_barchart_events.exports.job_runner import CountEvents
    from tap_barchart_events.exports.planner import WindowPlanner
    from tap_barchart_events.exports.saved_jobs import Request, SavedJob
    from tap_barchart_events.exports.tasks import Export, JobCounts, Limits, WindowTask

logger = logging.getLogger(__name__)

SIGNAL_CHECK_SECONDS = 0.5
"""Longest wait of the main thread, in seconds: if two signals come at once, Python may run no
handler before the wait ends."""

LONGEST_WAIT = 3600
"""Longest wait of a thread, in seconds: the next change may be infinitely far away."""

CLOSE_SECONDS = 1
"""How long ``close`` waits for threads, in seconds."""

START_SECONDS = 2
"""How long ``close`` waits for the responses to starts of jobs, in seconds, so that STATE has the
jobs."""


class Exporter:
    """The exports of a sync, as files; those of a product come in time order.

    A few threads get the next call from the scheduler, make it, and pass on its outcome.
    """

    seconds_waited = 0.0
    """For how long the caller has waited for exports by now."""

    def __init__(
        self,
        client: ReportsClient,
        plans: Mapping[str, WindowPlanner],
        *,
        request: Request,
        limits: Limits,
        directory: Path,
        stopped: threading.Event,
        retry: JobRetryPolicy | None = None,
        saved_jobs: Mapping[str, Sequence[SavedJob]] | None = None,
        count_events: CountEvents | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            client: The service.
            plans: The windows of each product, in the order in which they will be read.
            request: What all exports have in common.
            limits: Jobs at once, and how long and how often they are polled.
            directory: Where files go.
            stopped: Ends everything when set.
            retry: When a job that failed is replaced by a new one.
            saved_jobs: Jobs of an earlier run, by product; the planners got their windows as taken.
            count_events: Counts the events of a downloaded file.
        """
        self._runner = JobRunner(client, request, count_events=count_events)
        self._customer = request.customer
        self._stopped = stopped
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        """For the caller: anything has changed."""
        self._callable = threading.Condition(lock)
        """For threads: there may be a call to make. One is woken; if it takes a call, the next."""
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._lines: list[tuple[Any, ...]] = []
        """Lines to log when the lock is free: their reader may delay them without end."""
        self._defect: Exception | None = None
        self._thread_limit = 2 * limits.max_concurrent_jobs  # one half may download
        self._scheduler = Scheduler(
            plans,
            request=request,
            limits=limits,
            retry=retry or JobRetryPolicy(),
            directory=directory,
            unix_time=client.now - time.monotonic(),
            log=lambda *line: self._lines.append(line),
        )
        self._take_over(saved_jobs or {})

    @property
    def windows_left(self) -> int:
        """How many windows are not emitted, as far as known."""
        with self._changed:
            return self._scheduler.windows_left

    @property
    def events_left(self) -> float | None:
        """How many events are expected in windows that are not emitted; None if unknown."""
        with self._changed:
            return self._scheduler.events_left

    @property
    def job_counts(self) -> JobCounts:
        """What became of the jobs by now."""
        with self._changed:
            return replace(self._scheduler.job_counts)

    def learnt(self, product: str) -> dict[str, object]:
        """Return what is known by now for sizing the product's windows, as JSON for STATE."""
        with self._changed:
            return self._scheduler.learnt(product)

    def jobs(self, product: str) -> list[SavedJob]:
        """Return the product's jobs that a later run can take over."""
        with self._changed:
            return self._scheduler.jobs(product)

    def of(self, product: str) -> Iterator[Export]:
        """Yield the exports of one product in time order.

        The request for the next one removes a file.

        Raises:
            BarchartEventsError: The next export is not available. All earlier ones have been
                yielded.
        """
        with self._changed:
            self._scheduler.set_current(product)
            self._callable.notify()
        while task := self._wait_for_next(product):
            if task.error:
                raise self._with_context(task, task.error) from None
            if task.export:
                yield task.export
                self.emitted(task.export)

    def emitted(self, export: Export) -> None:
        """Mark a window whose events have all been written; remove its file."""
        with self._changed:
            self._scheduler.emitted(export)
            self._callable.notify()
        export.path.unlink(missing_ok=True)

    def reject(self, export: Export) -> None:
        """Mark an export that cannot be used: no later run takes over its job."""
        with self._changed:
            self._scheduler.reject(export)

    def close(self) -> None:
        """End all work; a thread that hangs in a call is abandoned, being a daemon."""
        self._stopped.set()
        began = time.monotonic()
        with self._changed:
            self._scheduler.close()
            self._callable.notify_all()
            while self._scheduler.open_starts:
                left = began + START_SECONDS - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
        until = began + CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _wait_for_next(self, product: str) -> WindowTask | None:
        """Wait for a product's next window to be on disk or failed; None at the end."""
        with self._changed:
            while not self._scheduler.is_at_end(product):
                task = self._scheduler.following(product)
                if task and task.state in {TaskState.ON_DISK, TaskState.FAILED}:
                    return task
                if self._defect:
                    raise self._defect
                self._ensure_thread()
                began = time.monotonic()
                self._changed.wait(SIGNAL_CHECK_SECONDS)
                self.seconds_waited += time.monotonic() - began
        return None

    def _take_over(self, saved_jobs: Mapping[str, Sequence[SavedJob]]) -> None:
        for product, jobs in saved_jobs.items():
            for job in jobs:
                self._runner.take_over(product, job)
                self._scheduler.take_over(product, job)

    def _with_context(self, task: WindowTask, error: Exception) -> Exception:
        if not isinstance(error, BarchartEventsError):
            return error
        return type(error)(f"{self._customer}/{task.queue.product} {task.window}: {error}")

    # Threads ------------------------------------------------------------------------------

    def _ensure_thread(self) -> None:
        """Start a thread if none is idle and there may be more. The lock is held."""
        if self._idle or self._stopped.is_set() or len(self._threads) >= self._thread_limit:
            return
        # A daemon: a call that hangs must not hold the process when the sync ends.
        thread = threading.Thread(target=self._work, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if thread.ident is not None:
                raise  # it has started: a signal came while Python waited for that
            if self._threads:
                return  # the existing threads do all of the work, with fewer calls at once
            raise ExportError(
                f"could not start a thread for export jobs ({error}); raise the limit of "
                "threads (ulimit -u)"
            ) from None
        # Added last: a signal may come in between, and only a started thread can be joined.
        self._threads.append(thread)

    def _work(self) -> None:
        """Make calls until the sync ends. Runs in a thread."""
        try:
            while task := self._next_call():
                outcome = self._runner.call(task)
                with self._changed:
                    self._scheduler.finished(task, outcome, time.monotonic())
                    lines, self._lines = self._lines, []
                    self._changed.notify_all()
                for line in lines:
                    logger.log(*line)
        except Exception as error:  # noqa: BLE001 - raised again where the next file is waited for
            with self._changed:
                self._defect = error
                self._changed.notify_all()

    def _next_call(self) -> WindowTask | None:
        """Wait for the next call to make; None at the end."""
        with self._changed:
            while not self._stopped.is_set():
                now = time.monotonic()
                task = self._scheduler.next_call(now)
                if task:
                    self._ensure_thread()  # another one waits for the next call
                    self._callable.notify()
                    return task
                until = self._scheduler.next_change(now)
                self._idle += 1
                self._callable.wait(min(until - now, LONGEST_WAIT))
                self._idle -= 1
        return None
