"""What follows the start of a job: whether and when one that failed is tried again.

Makes no call and uses no thread. Times are seconds of the scheduler's clock.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tap_barchart_events.api.retry import NEXT_TRY, REFUSALS, TransientError
from tap_barchart_events.exceptions import ServiceError, StartRejectedError

if TYPE_CHECKING:
    import random

    from tap_barchart_events.exports.budget import JobBudget
    from tap_barchart_events.exports.job_retry import JobRetryPolicy
    from tap_barchart_events.exports.tasks import Log, Outcome, WindowTask

LONG_PAUSE = 60
"""Seconds without new jobs, from which on the log says so."""


class Starts:
    """Applies the outcomes of starts to the budget and to their windows."""

    def __init__(
        self, budget: JobBudget, retry: JobRetryPolicy, rng: random.Random, log: Log
    ) -> None:
        """Take what decides: the jobs in flight, how starts are retried, and jitter."""
        self._log = log
        self._budget = budget
        self._retry = retry
        self._rng = rng

    def apply(self, task: WindowTask, outcome: Outcome, now: float) -> Outcome | None:
        """Return the outcome of a start; None if the start is tried again."""
        final: Outcome | None = outcome
        match outcome:
            case TransientError():
                final = self._failed(task, outcome, now)
            case StartRejectedError():
                self._budget.start_failed()
                final = self._rejected(task, outcome, now)
            case Exception():
                self._budget.start_failed()
            case _:
                self._budget.accepted()
                task.tries = task.rejections = 0
        limit = self._budget.limit_to_report()
        if limit is not None:
            self._log(
                logging.INFO,
                "the service accepts %d export jobs at once (max_concurrent_jobs is %d)",
                limit,
                self._budget.maximum,
            )
        return final

    def _failed(self, task: WindowTask, error: TransientError, now: float) -> ServiceError | None:
        """Wait for a job to end, if the service accepts no more; otherwise pause all starts."""
        others = self._budget.in_flight(now) > 1 or self._budget.pause_left(now)
        is_refusal = error.status in REFUSALS and others
        if is_refusal:
            self._budget.refused(now)
        else:
            self._budget.start_failed()
        seconds = self._budget.pause(now + (error.retry_after or 0), now)
        if seconds >= LONG_PAUSE:
            text = "no export job starts for %.0f min (Retry-After of the service)"
            self._log(logging.WARNING, text, seconds / 60)
        if is_refusal:
            self._log(logging.DEBUG, "%s %s: %s", task.queue.product, task.window, error)
            return None
        if not task.tries:
            task.first_try = task.called
        task.tries += 1
        try:
            pause = self._retry.starts.pause(
                error, task.tries, now - task.first_try, self._rng.random()
            )
        except ServiceError as final:
            return final
        attempts = self._retry.starts.attempts
        self._log(logging.WARNING, NEXT_TRY, error, task.tries + 1, attempts, pause)
        self._budget.pause(now + pause, now)
        return None

    def _rejected(
        self, task: WindowTask, error: StartRejectedError, now: float
    ) -> ServiceError | None:
        task.rejections += 1
        if error.is_final:
            return ServiceError(f"{error}; {error.advice}")
        wait = self._retry.wait_after_rejection(task.rejections, self._rng.random())
        if wait is not None:
            task.due = now + wait
            self._log(
                logging.WARNING,
                "%s %s: %s; the next start is in %.0f s",
                task.queue.product,
                task.window,
                error,
                wait,
            )
            return None
        tries = "1 try" if task.rejections == 1 else f"{task.rejections} tries"
        return ServiceError(f"{error}; given up after {tries}; {error.advice}")
