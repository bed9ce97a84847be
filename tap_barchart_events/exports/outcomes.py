"""What follows from the outcome of a call: one decision for each job status and each error.

Makes no call and uses no thread. Times are seconds of the scheduler's clock.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tap_barchart_events.api.responses import Job
from tap_barchart_events.exceptions import (
    FileError,
    JobFailedError,
    JobForgottenError,
    JobMismatchError,
    JobNotReadyError,
    ResourceError,
    ServiceError,
    SyncStopped,
    TooLargeError,
)
from tap_barchart_events.exports.poll_schedule import PollSchedule
from tap_barchart_events.exports.starts import Starts
from tap_barchart_events.exports.tasks import (
    CALLS,
    Downloaded,
    Export,
    JobCounts,
    RunningJob,
    TaskState,
)

if TYPE_CHECKING:
    import random

    from tap_barchart_events.exports.budget import JobBudget
    from tap_barchart_events.exports.job_retry import JobRetryPolicy
    from tap_barchart_events.exports.tasks import Limits, Log, Outcome, WindowTask

MISMATCHES = 3
"""Polls of a job that are answered about another export, after which a new job replaces it."""

GOLDEN = (5**0.5 - 1) / 2
"""Steps of the golden ratio spread the polls of jobs that started together evenly."""


class Outcomes:
    """Applies the outcomes of calls to the states of their windows and to the budget."""

    def __init__(
        self,
        budget: JobBudget,
        *,
        customer: str,
        limits: Limits,
        retry: JobRetryPolicy,
        rng: random.Random,
        unix_time: float,
        log: Log,
    ) -> None:
        """Start without any job time.

        Args:
            budget: The jobs in flight.
            customer: Customer code, for the log.
            limits: Jobs at once, and how long and how often they are polled.
            retry: When a start is tried again, and a job that failed replaced by a new one.
            rng: For jitter.
            unix_time: When the scheduler's clock was 0, in seconds since the epoch.
            log: Takes level, text and arguments of a line.
        """
        self._budget = budget
        self._customer = customer
        self._limits = limits
        self._retry = retry
        self._rng = rng
        self._log = log
        self._starts = Starts(budget, retry, rng, log)
        self._unix_time = unix_time
        self._polls = PollSchedule(limits.poll_interval)
        self._jitter = rng.random()
        self._counted_windows = 0
        self._counted_events = 0
        self.jobs = JobCounts()

    def poll_due(self, task: WindowTask) -> float:
        """Return when the job of a window is to be polled next, as far as known."""
        job = task.job
        assert job  # noqa: S101 - for the type checker: a running job
        due = self._polls.due(job.last_poll, job.polls, job.jitter)
        return job.began + min(due, self._limits.job_timeout)

    def expected_events(self, task: WindowTask) -> float:
        """Return a window's events: those counted, or the mean of the counted windows."""
        if task.events is not None:
            return task.events
        return self._counted_events / max(1, self._counted_windows)

    def apply(self, task: WindowTask, outcome: Outcome, now: float) -> None:
        """Apply the outcome of the call that the window's state names."""
        call, task.state = task.state, CALLS[task.state]
        if call is TaskState.STARTING:
            result = self._starts.apply(task, outcome, now)
            if result is None:
                return
            outcome = result
        match outcome:
            case Downloaded():
                self._downloaded(task, outcome)
            case Exception():
                self._raised(task, outcome, call, now)
            case job:
                self._answered(task, job, now)
        reason = task.queue.plan.size_changed()
        if reason:
            self._log(logging.INFO, "%s/%s: %s", self._customer, task.queue.product, reason)

    def _answered(self, task: WindowTask, reported: Job, now: float) -> None:
        if task.job is None:
            task.job = self._new_job(task, reported.source)
        job, elapsed = task.job, now - task.job.began
        job.has_null_product |= reported.has_null_product
        is_plausible = reported.seconds is not None and 0 < reported.seconds <= elapsed
        seconds = reported.seconds if is_plausible and reported.seconds else elapsed
        match reported.status:
            case "COMPLETE" | "COMPLETED":
                if is_plausible or not job.is_taken_over:
                    self._polls.learn(seconds)
                self.jobs.taken_over += job.is_taken_over
                self._end_job(task)
                task.state, task.due, task.ready = TaskState.EXPORTED, now, now
            case "TIMEOUT":
                self._end_job(task)
                reason = f"job {job.source} was too large for the service (TIMEOUT)"
                self._too_large(task, reason)
            case "FAILED":
                error = JobFailedError(f"job {job.source} failed at the service (FAILED)")
                self._job_failed(task, error, now)
            case "RUNNING" if elapsed >= self._limits.job_timeout:
                minutes = self._limits.job_timeout / 60
                job.is_running = False
                self._budget.give_up(now, job.began + self._retry.job_seconds_max)
                reason = f"job {job.source} still ran after {minutes:g} min (job_timeout_minutes)"
                self._too_large(task, reason)
            case "RUNNING":
                job.mismatches = 0
                self._polled(task, now)
            case status:
                text = (
                    f"job {job.source} has the status {status[:40]!r}, which is not "
                    "documented; a newer version of this tap may know it"
                )
                self._drop_or_fail(task, ServiceError(text), keep_job=False)

    def _raised(self, task: WindowTask, error: Exception, call: TaskState, now: float) -> None:
        match error:
            case SyncStopped():
                pass  # the window is in its state before the call
            case JobNotReadyError() if call is TaskState.POLLING and task.job:
                self._answered(task, Job(task.job.source, "RUNNING", None), now)
            case JobNotReadyError() if now - task.ready < self._limits.job_timeout:
                until = task.ready + self._limits.job_timeout
                task.due = min(now + self._limits.poll_interval, until)
            case JobNotReadyError():
                self._job_failed(task, JobFailedError(str(error)), now)
            case JobForgottenError():
                self._job_forgotten(task, error, now)
            case JobFailedError():
                self._job_failed(task, error, now)
            case ResourceError():
                self._fail(task, error)
            case ServiceError() | FileError():
                # The next run can use the job of a failed call, but not that of a damaged file.
                self._drop_or_fail(task, error, keep_job=isinstance(error, ServiceError))
            case _:
                self._fail(task, error)

    # A job and its end --------------------------------------------------------------------

    def _new_job(self, task: WindowTask, source: str) -> RunningJob:
        if task.began is None:
            task.began = task.called
        self.jobs.started += 1
        job = RunningJob(source, task.called, round(task.called + self._unix_time))
        self._spread(job)
        return job

    def _spread(self, job: RunningJob) -> None:
        self._jitter = job.jitter = (self._jitter + GOLDEN) % 1

    def _polled(self, task: WindowTask, now: float) -> None:
        job = task.job
        if job:
            task.state = TaskState.RUNNING
            job.last_poll = now - job.began
            job.polls += 1
            self._spread(job)

    def _end_job(self, task: WindowTask) -> None:
        if task.job and task.job.is_running:
            task.job.is_running = False
            self._budget.ended()

    def _downloaded(self, task: WindowTask, file: Downloaded) -> None:
        task.state = TaskState.ON_DISK
        began = task.ready if task.began is None else task.began
        task.export = Export(
            task.queue.product,
            task.window,
            task.path,
            task.ready - began,
            file.seconds,
            file.size,
            has_null_product=task.job is not None and task.job.has_null_product,
        )
        if file.events_by_hour is not None:
            task.events = sum(file.events_by_hour.values())
            self._counted_windows += 1
            self._counted_events += task.events
            task.queue.plan.counted(task.window, file.events_by_hour)

    def _too_large(self, task: WindowTask, reason: str) -> None:
        self.jobs.too_large += 1
        if task.queue.plan.too_large(task.window):
            self._log(logging.INFO, "%s is split: %s", self._where(task), reason)
            del task.queue.tasks[task.window.start]
            return
        text = (
            f"{reason}, and the window may not be split further; lower min_window_seconds, or "
            "name fewer event_types"
        )
        self._drop_or_fail(task, TooLargeError(text), keep_job=False)

    # Failures -----------------------------------------------------------------------------

    def _job_failed(self, task: WindowTask, error: JobFailedError, now: float) -> None:
        if task.state is TaskState.RUNNING and isinstance(error, JobMismatchError) and task.job:
            # A cache may have answered the poll. A new job at once could be one too many.
            task.job.mismatches += 1
            if task.job.mismatches < MISMATCHES:
                self._polled(task, now)
                return
        if self._is_dropped(task, error):
            return
        task.failures += 1
        wait = self._retry.wait_after_failure(task.failures, self._rng.random())
        if wait is not None and isinstance(error, JobMismatchError):
            wait = min(wait, self._retry.mismatch_wait)
        self._replace_job(task, error, wait, now)

    def _job_forgotten(self, task: WindowTask, error: JobForgottenError, now: float) -> None:
        if task.job and now - task.job.began < self._retry.forgotten_grace:
            self._log(logging.DEBUG, "%s: %s", self._where(task), error)
            task.due = now + self._limits.poll_interval
            if task.state is TaskState.RUNNING:
                self._polled(task, now)
            return
        if self._is_dropped(task, error):
            return
        task.forgotten += 1
        if task.forgotten == 1:
            task.first_forgotten = task.job.began if task.job else now
        seconds = now - task.first_forgotten
        wait = self._retry.wait_after_forgotten(task.forgotten, seconds, self._rng.random())
        self._replace_job(task, error, wait, now)

    def _drop_or_fail(self, task: WindowTask, error: Exception, *, keep_job: bool) -> None:
        """Drop a job of an earlier run. Otherwise fail; the next run gets the job if it is kept."""
        if not self._is_dropped(task, error):
            self._fail(task, error)
            if not keep_job:
                task.job = None

    def _is_dropped(self, task: WindowTask, error: Exception) -> bool:
        """Give the window back to the planner if an earlier run has started its job."""
        if not (task.job and task.job.is_taken_over):
            return False
        self._log(
            logging.DEBUG, "%s: a job of an earlier run is not used: %s", self._where(task), error
        )
        self._end_job(task)
        del task.queue.tasks[task.window.start]
        task.queue.plan.give_back(task.window)
        return True

    def _replace_job(
        self, task: WindowTask, error: Exception, wait: float | None, now: float
    ) -> None:
        self.jobs.failed += task.job is not None
        self._end_job(task)
        task.job = None
        if wait is not None:
            task.state, task.due = TaskState.WAITING, now + wait
            self._log(
                logging.WARNING,
                "%s: %s; the next job starts in %.0f s",
                self._where(task),
                error,
                wait,
            )
            return
        count = task.failures + task.forgotten
        outcome = "failed or were forgotten" if task.forgotten else "failed"
        text = (
            f"{count} export jobs {outcome}; the last error: {error}; run again later: the next "
            "run continues from the bookmark; if the error persists, ask Barchart's support"
        )
        self._fail(task, JobFailedError(text))

    def fail_in_pause(self, task: WindowTask | None, pause: float) -> None:
        """Fail the next window, if there is one: its start would have to wait too long."""
        if task:
            text = (
                f"could not start an export job: Retry-After of the service is {pause:.0f} s; run "
                "again later: the next run continues from the bookmark"
            )
            self._fail(task, ServiceError(text))

    def _fail(self, task: WindowTask, error: Exception) -> None:
        self._end_job(task)
        task.state, task.error = TaskState.FAILED, error

    def _where(self, task: WindowTask) -> str:
        return f"{self._customer}/{task.queue.product} {task.window}"
