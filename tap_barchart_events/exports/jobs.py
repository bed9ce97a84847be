"""The export jobs of a sync: which call comes next, and what follows from its outcome.

A pure state machine: it makes no call and uses no thread, and times are arguments, in seconds of
one monotonic clock. ``next_call`` returns the window whose call is to be made now, ``next_change``
returns until when there is none, and ``finished`` applies the outcome of a call. Depends on neither
Singer nor the content of a file.
"""

from __future__ import annotations

import logging
import math
import random
from collections import deque
from typing import TYPE_CHECKING

from tap_barchart_events.api.client import Job
from tap_barchart_events.api.http import NEXT_TRY, REFUSALS
from tap_barchart_events.exceptions import (
    BarchartEventsError,
    FileError,
    JobFailedError,
    JobForgottenError,
    JobMismatchError,
    JobNotReadyError,
    LayoutError,
    ResourceError,
    ServiceError,
    StartRejectedError,
    SyncStopped,
    TooLargeError,
    TransientError,
)
from tap_barchart_events.exports.budget import JobBudget
from tap_barchart_events.exports.export import (
    CALLS,
    Export,
    Fetched,
    JobCounts,
    JobRetryPolicy,
    ProductQueue,
    RunningJob,
    State,
)
from tap_barchart_events.exports.saved_jobs import SavedJob, is_kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tap_barchart_events.exports.export import Limits, Outcome
    from tap_barchart_events.exports.planner import WindowPlanner
    from tap_barchart_events.exports.saved_jobs import Request
    from tap_barchart_events.windows import Window

logger = logging.getLogger(__name__)

WINDOWS_PER_JOB = 4
"""Windows issued and not yet emitted, for each job that may be in flight."""

MAX_PAUSE = 3600
"""Longest wait for the end of a ``Retry-After`` while no job is in flight, in seconds. A longer one
ends the sync: nothing else is left to do."""

LOGGED_PAUSE = 60
"""Seconds without new jobs, from which on the log says so."""

MAX_POLL_PAUSE = 15
"""Longest pause between polls, in poll intervals."""

MIN_POLL_PAUSE = 0.1
"""Shortest pause between polls once it is known what jobs take, in poll intervals."""

MISMATCHES = 3
"""Polls of a job that are answered about another export, after which a new job replaces it."""

RUN_LATER = "run again later: the next run continues from the bookmark"


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
        directory: Path,
        unix_time: float,
        retry: JobRetryPolicy | None = None,
        rng: random.Random | None = None,
        log: Callable[..., None] = logger.log,
    ) -> None:
        """Start nothing yet.

        Args:
            plans: The windows of each product, in the order in which they will be read.
            request: What all exports have in common.
            limits: Jobs at once, and how long and how often they are polled.
            directory: Where files go.
            unix_time: When the clock was 0, in seconds since the epoch.
            retry: When a start is tried again, and a job that failed replaced by a new one.
            rng: For jitter.
            log: Takes level, text and arguments of a line; it must not wait for a reader.
        """
        self._queues = [ProductQueue(p, plan, plan.span.start) for p, plan in plans.items()]
        self._by_product = {queue.product: queue for queue in self._queues}
        self._request = request
        self._limits = limits
        self._directory = directory
        self._unix_time = unix_time
        self._retry = retry or JobRetryPolicy()
        self._log = log
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._budget = JobBudget(limits.max_concurrent_jobs)
        self._job_seconds: deque[float] = deque(maxlen=9)
        """What recent jobs took."""
        self._counted_windows = 0
        self._counted_events = 0
        self._current = 0
        self._files = 0
        self._closed = False
        self.job_counts = JobCounts()
        """What became of the jobs by now."""

    # For the reader of the files ----------------------------------------------------------

    @property
    def windows_left(self) -> int:
        """How many windows are not emitted, as far as known."""
        return sum(queue.plan.windows_left + len(queue.exports) for queue in self._queues)

    @property
    def events_left(self) -> float | None:
        """How many events are expected in windows that are not emitted; None if unknown."""
        total = 0.0
        for queue in self._queues:
            expected = queue.plan.events_left if queue.plan.upcoming is not None else 0.0
            if expected is None:
                return None
            total += expected + sum(map(self._expected_events, queue.exports.values()))
        return total

    def _expected_events(self, export: Export) -> float:
        """Return a window's events: those counted, or the mean of the counted windows."""
        if export.file:
            return export.file.contents.events
        return self._counted_events / max(1, self._counted_windows)

    @property
    def open_starts(self) -> int:
        """How many starts of jobs have not been answered."""
        return sum(export.state is State.STARTING for export in self._exports())

    def close(self) -> None:
        """Begin no more calls."""
        self._closed = True

    def take_over(self, product: str, job: SavedJob) -> None:
        """Use a job that an earlier run has started; the planner got its window as taken."""
        export = self._new_export(self._by_product[product], job.window)
        export.state, export.began = State.RUNNING, job.started - self._unix_time
        export.job = RunningJob(job.source, export.began, job.started, is_taken_over=True)
        self._budget.resume()

    def set_current(self, product: str) -> None:
        """Set the product being read: its windows come first from now on."""
        self._current = self._queues.index(self._by_product[product])

    def following(self, product: str) -> Export | None:
        """Return the product's next window in the order of time, if it is issued."""
        queue = self._by_product[product]
        return queue.exports.get(queue.position)

    def is_at_end(self, product: str) -> bool:
        """Return whether all windows of a product have been emitted."""
        queue = self._by_product[product]
        return queue.position >= queue.plan.span.end

    def emitted(self, export: Export) -> None:
        """Mark a product's next window, whose events have all been written."""
        queue = self._by_product[export.product]
        queue.position = export.window.end
        queue.exports.pop(export.window.start, None)

    def learnt(self, product: str) -> dict[str, object]:
        """Return what is known by now for sizing the product's windows, as JSON for STATE."""
        return self._by_product[product].plan.learnt()

    def jobs(self, product: str) -> list[SavedJob]:
        """Return the jobs that a later run can take over, in the order of time."""
        exports = (export for _, export in sorted(self._by_product[product].exports.items()))
        return [
            SavedJob(
                job.source,
                export.window,
                job.started,
                self._request.fingerprint(product, job.source, export.window),
            )
            for export in exports
            if (job := export.job) and is_kept(job.source)
        ]

    # Which call comes next ----------------------------------------------------------------

    def next_call(self, now: float) -> Export | None:
        """Return a window whose call, which its state names, is to be made now; None if none."""
        if self._closed:
            return None
        export = self._next_poll(now) or self._next_download(now) or self._next_start(now)
        if export:
            export.called = now
        return export

    def next_change(self, now: float) -> float:
        """Return until when there is no call to make, unless one under way ends before."""
        states = {State.WAITING, State.RUNNING, State.EXPORTED}
        times = [export.due for export in self._exports() if export.state in states]
        times.append(self._budget.next_change(now))
        return min((time for time in times if time > now), default=math.inf)

    def _exports(self) -> Iterator[Export]:
        for queue in self._queues:
            yield from queue.exports.values()

    def _next_poll(self, now: float) -> Export | None:
        for export in self._exports():
            if export.state is State.RUNNING and export.due <= now:
                export.state = State.POLLING
                return export
        return None

    def _next_download(self, now: float) -> Export | None:
        downloads = sum(export.state is State.DOWNLOADING for export in self._exports())
        if downloads >= self._limits.max_concurrent_jobs:
            return None
        for queue in self._queues[self._current :]:
            for _, export in sorted(queue.exports.items()):
                if export.state is State.EXPORTED and export.due <= now:
                    export.state = State.DOWNLOADING
                    return export
        return None

    def _next_start(self, now: float) -> Export | None:
        pause = self._budget.not_before - now
        if pause > MAX_PAUSE and not self._budget.in_flight(now):
            if export := self._next_to_start(now):
                text = f"could not start an export job: Retry-After of the service is {pause:.0f} s"
                self._fail(export, ServiceError(f"{text}; {RUN_LATER}"))
            return None
        export = self._next_to_start(now) if self._budget.may_start(now) else None
        if export:
            export.state = State.STARTING
            self._budget.start()
        return export

    def _next_to_start(self, now: float) -> Export | None:
        for queue in self._queues[self._current :]:
            failed = queue.first_failed
            if failed is None and queue.waits_after_rejection(now):
                continue
            waiting = min(
                (
                    export.window.start
                    for export in queue.exports.values()
                    if export.state is State.WAITING and export.due <= now
                ),
                default=None,
            )
            upcoming = queue.plan.upcoming
            if upcoming is not None and (
                (failed is not None and upcoming > failed) or not self._has_place(queue, upcoming)
            ):
                upcoming = None
            if waiting is not None and (upcoming is None or waiting < upcoming):
                return queue.exports[waiting]
            window = queue.plan.next() if upcoming is not None else None
            if window:
                return self._new_export(queue, window)
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
        if is_current and (len(queue.exports) < jobs or start < max(queue.exports)):
            places += jobs
        return sum(len(other.exports) for other in self._queues) < places

    def _new_export(self, queue: ProductQueue, window: Window) -> Export:
        self._files += 1
        export = Export(queue, window, self._directory / f"export-{self._files}")
        queue.exports[window.start] = export
        return export

    # What follows from the outcome of a call ----------------------------------------------

    def finished(self, export: Export, outcome: Outcome, now: float) -> None:
        """Apply the outcome of the call that the window's state names."""
        call, export.state = export.state, CALLS[export.state]
        match outcome:
            case Exception() if call is State.STARTING:
                self._start_raised(export, outcome, now)
            case SyncStopped():
                pass  # the window is in its state before the call
            case Exception():
                self._raised(export, outcome, call, now)
            case Fetched():
                self._fetched(export, outcome)
            case job:
                self._answered(export, job, now)
        if call is State.STARTING:
            self._report_limit()
        if reason := export.queue.plan.size_changed():
            self._log(logging.INFO, "%s/%s: %s", self._request.customer, export.product, reason)

    def _report_limit(self) -> None:
        limit = self._budget.limit_to_report()
        if limit is not None:
            self._log(
                logging.INFO,
                "the service accepts %d export jobs at once (max_concurrent_jobs is %d)",
                limit,
                self._budget.maximum,
            )

    def _answered(self, export: Export, reported: Job, now: float) -> None:
        if export.job is None:
            self._budget.accepted(now)
            export.job = self._new_job(export, reported.source)
        job, elapsed = export.job, now - export.job.began
        job.has_null_product |= reported.has_null_product
        match reported.status:
            case "COMPLETE" | "COMPLETED":
                if reported.seconds is not None and 0 < reported.seconds <= elapsed:
                    self._job_seconds.append(reported.seconds)
                elif not job.is_taken_over:
                    self._job_seconds.append(elapsed)
                self.job_counts.taken_over += job.is_taken_over
                self._end_job(export)
                export.state, export.due, export.ready = State.EXPORTED, now, now
            case "TIMEOUT":
                self._end_job(export)
                self._too_large(export, f"job {job.source} was too large for the service (TIMEOUT)")
            case "FAILED":
                text = f"job {job.source} failed at the service (FAILED)"
                self._job_failed(export, JobFailedError(text), now)
            case "RUNNING" if elapsed >= self._limits.job_timeout:
                minutes = self._limits.job_timeout / 60
                job.is_running = False
                self._budget.give_up(now, job.began + self._retry.job_seconds_max)
                text = f"job {job.source} still ran after {minutes:g} min (job_timeout_minutes)"
                self._too_large(export, text)
            case "RUNNING":
                job.mismatches = 0
                self._poll_again(export, job, now)
            case status:
                text = (
                    f"job {job.source} has the status {status[:40]!r}, which is not "
                    "documented; a newer version of this tap may know it"
                )
                self._drop_or_fail(export, ServiceError(text), keep_job=False)

    def _raised(self, export: Export, error: Exception, call: State, now: float) -> None:
        """Apply an error of a poll, a download or a check."""
        match error:
            case JobNotReadyError() | JobForgottenError() | JobFailedError():
                self._job_raised(export, error, call, now)
            case LayoutError() | ResourceError():
                self._fail(export, error)  # the file may be right, so the next run gets its job
            case FileError():
                self._drop_or_fail(export, error, keep_job=False)
            case ServiceError():
                self._drop_or_fail(export, error, keep_job=True)
            case _:
                self._fail(export, error)

    def _job_raised(
        self, export: Export, error: BarchartEventsError, call: State, now: float
    ) -> None:
        """Apply what the service says of a job in place of its status."""
        job, is_poll = export.job, call is State.POLLING
        assert job  # noqa: S101 - for the type checker: it was polled or downloaded
        match error:
            case JobNotReadyError() if is_poll:
                self._answered(export, Job(job.source, "RUNNING", None), now)
            case JobNotReadyError() if now - export.ready < self._limits.job_timeout:
                until = export.ready + self._limits.job_timeout
                export.due = min(now + self._limits.poll_interval, until)
            case JobForgottenError() if now - job.began < self._retry.forgotten_grace:
                self._log(logging.DEBUG, "%s: %s", self._where(export), error)
                export.due = now + self._limits.poll_interval
            case JobForgottenError():
                self._job_forgotten(export, job, error, now)
            case JobMismatchError() if is_poll and job.mismatches + 1 < MISMATCHES:
                # A cache may have answered the poll. A new job at once could be one too many.
                job.mismatches += 1
                self._poll_again(export, job, now)
            case _:
                self._job_failed(export, error, now)

    # A job and its end --------------------------------------------------------------------

    def _new_job(self, export: Export, source: str) -> RunningJob:
        if export.began is None:
            export.began = export.called
        export.tries = export.rejections = 0
        self.job_counts.started += 1
        return RunningJob(source, export.called, round(export.called + self._unix_time))

    def _poll_again(self, export: Export, job: RunningJob, now: float) -> None:
        """Set when the job of a window is polled next.

        Pauses grow while no job times are known. Otherwise the next poll comes when a quarter of
        the recent jobs had ended: an early poll costs a request, a late one delays a window.
        """
        interval, jitter = self._limits.poll_interval, self._rng.random()
        elapsed = now - job.began
        expected = 0.0
        if self._job_seconds:
            expected = sorted(self._job_seconds)[len(self._job_seconds) // 4] * (1 + jitter / 50)
        if elapsed < expected:
            pause = expected - elapsed
        elif expected:
            pause = max(MIN_POLL_PAUSE * interval, elapsed * (1 + jitter) / 20)
        else:
            # 1.4 to the 20th is beyond the longest pause, whatever the interval.
            pause = interval * 1.4 ** min(job.polls, 20) * (1 + 3 * jitter) / 4
        job.polls += 1
        due = now + min(pause, MAX_POLL_PAUSE * interval)
        export.state, export.due = State.RUNNING, min(due, job.began + self._limits.job_timeout)

    def _end_job(self, export: Export) -> None:
        if export.job and export.job.is_running:
            export.job.is_running = False
            self._budget.ended()

    def _fetched(self, export: Export, fetched: Fetched) -> None:
        export.state, export.file = State.READY, fetched.file
        export.size, export.download_seconds = fetched.size, fetched.seconds
        contents = fetched.file.contents
        self._counted_windows += 1
        self._counted_events += contents.events
        export.queue.plan.counted(export.window, contents.events_by_hour)

    def _too_large(self, export: Export, reason: str) -> None:
        self.job_counts.too_large += 1
        if export.queue.plan.too_large(export.window):
            self._log(logging.INFO, "%s is split: %s", self._where(export), reason)
            del export.queue.exports[export.window.start]
            return
        text = (
            f"{reason}, and the window may not be split further; lower min_window_seconds, or "
            "name fewer event_types"
        )
        self._drop_or_fail(export, TooLargeError(text), keep_job=False)

    # Failures -----------------------------------------------------------------------------

    def _start_raised(self, export: Export, error: Exception, now: float) -> None:
        """Apply an error of a start: wait for a job to end, start again after a pause, or fail."""
        others = self._budget.in_flight(now) > 1 or self._budget.not_before > now
        is_refusal = isinstance(error, TransientError) and error.status in REFUSALS and others
        if is_refusal:
            self._budget.refused(now)
        else:
            self._budget.start_failed()
        match error:
            case SyncStopped():
                pass
            case TransientError():
                self._pause(error, now)
                if is_refusal:
                    self._log(logging.DEBUG, "%s: %s", self._where(export), error)
                else:
                    self._start_again(export, error, now)
            case StartRejectedError():
                self._start_rejected(export, error, now)
            case JobFailedError():  # the service has answered with another job
                self._job_failed(export, error, now)
            case _:
                self._fail(export, error)

    def _pause(self, error: TransientError, now: float) -> None:
        seconds = self._budget.pause(now + (error.retry_after or 0), now)
        if seconds >= LOGGED_PAUSE:
            text = "no export job starts for %.0f min (Retry-After of the service)"
            self._log(logging.WARNING, text, seconds / 60)

    def _start_again(self, export: Export, error: TransientError, now: float) -> None:
        """Send the start again, and no other one before."""
        if not export.tries:
            export.first_try = export.called
        export.tries += 1
        starts = self._retry.starts
        try:
            pause = starts.pause(error, export.tries, now - export.first_try, self._rng.random())
        except ServiceError as final:
            self._fail(export, final)
            return
        self._log(logging.WARNING, NEXT_TRY, error, export.tries + 1, starts.attempts, pause)
        self._budget.pause(now + pause, now)

    def _start_rejected(self, export: Export, error: StartRejectedError, now: float) -> None:
        export.rejections += 1
        tries = export.rejections
        if not error.is_final and tries < min(self._retry.rejections, self._retry.starts.attempts):
            wait = self._jittered(self._retry.waits[tries - 1])
            export.due = now + wait
            text = "%s: %s; the next start is in %.0f s"
            self._log(logging.WARNING, text, self._where(export), error, wait)
            return
        given_up = (
            "" if error.is_final else f"given up after {tries} {'try' if tries == 1 else 'tries'}; "
        )
        self._fail(export, ServiceError(f"{error}; {given_up}{error.advice}"))

    def _job_failed(self, export: Export, error: Exception, now: float) -> None:
        if self._is_dropped(export, error):
            return
        export.failures += 1
        wait = None
        if export.failures <= len(self._retry.waits):
            wait = self._retry.waits[export.failures - 1]
            if isinstance(error, JobMismatchError):
                wait = min(wait, self._retry.mismatch_wait)
        self._replace_job(export, error, wait, now)

    def _job_forgotten(self, export: Export, job: RunningJob, error: Exception, now: float) -> None:
        if self._is_dropped(export, error):
            return
        if not export.forgotten:
            export.first_forgotten = job.began
        wait = None
        if now - export.first_forgotten < self._retry.forgotten_timeout:
            wait = self._retry.forgotten_wait * 2.0 ** min(export.forgotten, 30)
        export.forgotten += 1
        self._replace_job(export, error, wait, now)

    def _replace_job(
        self, export: Export, error: Exception, wait: float | None, now: float
    ) -> None:
        self.job_counts.failed += export.job is not None
        self._end_job(export)
        export.job = None
        if wait is not None:
            wait = self._jittered(wait)
            export.state, export.due = State.WAITING, now + wait
            text = "%s: %s; the next job starts in %.0f s"
            self._log(logging.WARNING, text, self._where(export), error, wait)
            return
        count = export.failures + export.forgotten
        outcome = "failed or were forgotten" if export.forgotten else "failed"
        text = (
            f"{count} export jobs {outcome}; the last error: {error}; {RUN_LATER}; if the error "
            "persists, ask Barchart's support"
        )
        self._fail(export, JobFailedError(text))

    def _drop_or_fail(self, export: Export, error: Exception, *, keep_job: bool) -> None:
        """Drop a job of an earlier run. Otherwise fail; the next run gets the job if it is kept."""
        if not self._is_dropped(export, error):
            self._fail(export, error)
            if not keep_job:
                export.job = None

    def _is_dropped(self, export: Export, error: Exception) -> bool:
        """Give the window back to the planner if an earlier run has started its job."""
        if not (export.job and export.job.is_taken_over):
            return False
        text = "%s: a job of an earlier run is not used: %s"
        self._log(logging.DEBUG, text, self._where(export), error)
        self._end_job(export)
        del export.queue.exports[export.window.start]
        export.queue.plan.give_back(export.window)
        return True

    def _fail(self, export: Export, error: Exception) -> None:
        self._end_job(export)
        export.state, export.error = State.FAILED, error

    def _jittered(self, wait: float) -> float:
        return min(wait, self._retry.wait_max) * self._rng.uniform(0.5, 1)

    def _where(self, export: Export) -> str:
        return f"{self._request.customer}/{export.product} {export.window}"
