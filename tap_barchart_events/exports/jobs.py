"""The export jobs of a sync: which call comes next, and what follows from its outcome.

A pure state machine, without threads and Singer: times are arguments, in seconds of one monotonic
clock. ``next_call`` returns the window whose call is to be made now. If there is none,
``next_change`` returns when to ask again. ``finished`` applies the outcome of a call.
"""

from __future__ import annotations

import enum
import logging
import math
import random
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tap_barchart_events import exceptions as errors
from tap_barchart_events.api.client import Job
from tap_barchart_events.api.http import NEXT_TRY, REFUSALS, RetryPolicy
from tap_barchart_events.exports.planner import WindowPlanner
from tap_barchart_events.exports.saved_jobs import MAX_SOURCE, Request, SavedJob
from tap_barchart_events.files.export_file import ExportFile
from tap_barchart_events.windows import Window

WINDOWS_PER_JOB = 4
"""Windows issued and not yet emitted, for each job that may be in flight."""

LOGGED_PAUSE = 60
"""A pause without new jobs is logged if it lasts at least this many seconds."""

MAX_POLL_PAUSE = 15
"""Longest pause between polls, in poll intervals."""

MIN_POLL_PAUSE = 0.1
"""Shortest pause between polls once it is known what jobs take, in poll intervals."""

MAX_PAUSE = 3600
"""Longest ``Retry-After`` that is waited for while jobs are in flight, in seconds."""

MAX_REJECTIONS = 3
"""Tries of a start that the service answers with a code of its own."""


@dataclass(frozen=True, slots=True)
class JobPolicy:
    """How many jobs run at once, how they are polled, and when a new one replaces one.

    Pauses have jitter between half and all of each. The three pauses after failures add up to
    between 3.6 and 7.2 minutes, so that an outage of several minutes does not end a sync. A
    forgotten job does not show that its window is at fault, so only the total time bounds the
    number of new jobs.
    """

    max_concurrent_jobs: int = 4
    """Jobs in flight at once; downloads at once, too."""
    job_timeout: float = 20 * 60
    """Seconds after which a running job counts as too large."""
    poll_interval: float = 2
    """Longest pause before the first poll while no job times are known, in seconds."""
    starts: RetryPolicy = field(default_factory=RetryPolicy)
    """How a start is retried that the service, or the network, did not answer as documented."""
    waits: tuple[float, ...] = (10, 60, 360)
    """Longest pauses after the failures of a window's jobs, in seconds; a further one is final."""
    forgotten_grace: float = 60
    """Seconds after its start in which an unknown job is asked for again: none can be cancelled."""
    forgotten_timeout: float = 3600
    """Seconds after the start of a window's first forgotten job in which new jobs replace it."""
    job_seconds_max: float = 15 * 60
    """Seconds after its start in which a job ends, by the vendor's documentation. Until then a job
    that is no longer polled counts as in flight, because no call can cancel it."""


class State(enum.Enum):
    """The state of a window. A state that begins with "call:" lasts while that call is made."""

    WAITING = "for a job, which may be started at ``due``"
    STARTING = "call: the job is started"
    RUNNING = "the job runs at the service, and is polled at ``due``"
    POLLING = "call: the job is polled"
    EXPORTED = "the file may be downloaded at ``due``"
    DOWNLOADING = "call: the file is downloaded"
    DOWNLOADED = "the file may be checked"
    CHECKING = "call: the file is checked"
    READY = "the file is checked, until its events are emitted"
    FAILED = "the window cannot be exported"


Outcome = Job | int | ExportFile | Exception
"""Of a call: a job, the bytes transferred, the checked file, or an error."""

CALLS = {
    State.WAITING: State.STARTING,
    State.RUNNING: State.POLLING,
    State.EXPORTED: State.DOWNLOADING,
    State.DOWNLOADED: State.CHECKING,
}
"""State before a call → the state in which it is made."""

BEFORE = {call: state for state, call in CALLS.items()}

IN_FLIGHT = frozenset({State.STARTING, State.RUNNING, State.POLLING})

WITHOUT_FILES = IN_FLIGHT | {State.WAITING, State.FAILED}


@dataclass(slots=True, eq=False)
class Export:
    """The export of one window, from a job to a checked file. Times are of one monotonic clock."""

    queue: ProductQueue
    window: Window
    path: Path
    state: State = State.WAITING
    due: float = 0.0
    """When the next call may be made, where the state says so."""
    called: float = 0.0
    """When its last call was issued."""
    began: float = 0.0
    """When its first job was started."""
    job: SavedJob | None = None
    job_began: float = 0.0
    """When the start of its job was answered (in an earlier run: sent): a poll that counts from
    there is not too early."""
    is_resumed: bool = False
    """Whether an earlier run has started its job."""
    has_null_product: bool = False
    """Whether the service gave no product for its job: it may not know the requested one."""
    ready: float = 0.0
    """When its job had completed."""
    first_try: float = 0.0
    """When the present call was tried first."""
    tries: int = 0
    """Starts of its next job that failed."""
    failures: int = 0
    """Jobs that failed, or were for another export."""
    rejections: int = 0
    """Starts of its next job that the service answered with a code of its own."""
    forgotten: int = 0
    """Jobs that the service has forgotten."""
    first_forgotten: float = 0.0
    """When the start of the first of these was answered."""
    file: ExportFile | None = None
    size: int = 0
    """Bytes transferred."""
    download_seconds: float = 0.0
    error: Exception | None = None
    """Why it is not available, if it failed."""

    @property
    def product(self) -> str:
        """The product's code."""
        return self.queue.product

    @property
    def job_seconds(self) -> float:
        """From the start of the window's first job until its file was ready."""
        return self.ready - self.began


@dataclass(slots=True, eq=False)
class ProductQueue:
    """One product's windows that are issued and not yet emitted."""

    product: str
    plan: WindowPlanner
    position: int
    """End of the last window emitted, in milliseconds."""
    exports: dict[int, Export] = field(default_factory=dict)
    """By the start of their windows."""
    counts: Counter[str] = field(default_factory=Counter)
    """What became of its jobs: started, resumed, too_large, failed (or forgotten). And
    windows_failed: errors that end the product, but not the sync."""

    @property
    def failed_at(self) -> float:
        """Start of the first window that has failed; infinity if none has."""
        failed = (start for start, e in self.exports.items() if e.state is State.FAILED)
        return min(failed, default=math.inf)

    def in_order(self) -> list[Export]:
        """Return the windows in the order of time."""
        return [self.exports[start] for start in sorted(self.exports)]


@dataclass(eq=False)
class Scheduler:
    """Chooses the next call over the windows of all products. Not thread-safe.

    A window is issued when a job may be started and fewer than ``WINDOWS_PER_JOB`` windows for
    each job are issued and not yet emitted, over all products. The last quarter of these places
    is reserved for the product being read. It may use them for a window before an issued one, and
    while fewer of its windows are issued than jobs may be in flight. So a part of a split window
    never waits for later windows, and the product being read always uses all jobs.

    Where the service refuses a job while others are in flight, the jobs in flight are the limit
    from then on, at least 1. When as many jobs as the limit have completed, one more is tried.
    """

    plans: Mapping[str, WindowPlanner]
    """The windows of each product, in the order in which they will be read."""
    request: Request
    """What all exports have in common."""
    policy: JobPolicy
    """How many jobs run at once, how they are polled, and when they are replaced."""
    directory: Path
    """Where files go."""
    unix_time: float
    """When the clock was 0, in seconds since the epoch."""
    rng: random.Random = field(default_factory=random.Random)
    """For jitter."""

    def __post_init__(self) -> None:
        """Start nothing yet."""
        self.lines: list[tuple[Any, ...]] = []
        """Level, text and arguments of the lines that the caller has to log."""
        self.ending: Exception | None = None
        """The error that ends the sync of all products; no job starts after it."""
        self._succeeded = -math.inf
        """When a call has succeeded last."""
        self._outage_of: str | None = None
        """The product whose calls have failed at every try since."""
        self._queues = {p: ProductQueue(p, plan, plan.span.start) for p, plan in self.plans.items()}
        self.job_counts = {product: queue.counts for product, queue in self._queues.items()}
        """What became of the jobs so far, by product."""
        self._current = next(iter(self.plans))
        self._limit = self._lowest_limit = self.policy.max_concurrent_jobs
        self._completed = 0
        """Jobs since the limit has changed."""
        self._not_before = -math.inf
        """When the next job may start, by ``Retry-After`` or after a failure."""
        self._given_up: list[float] = []
        """When jobs that are no longer polled must have ended."""
        self._job_seconds: deque[float] = deque(maxlen=9)
        """What recent jobs took."""

    @property
    def events_left(self) -> float | None:
        """How many events are expected in windows that are not emitted; None if unknown."""
        queues = (queue for queue in self._queues.values() if queue.failed_at == math.inf)
        left = [queue.plan.expected_after(queue.position) for queue in queues]
        known = [events for events in left if events is not None]
        return sum(known) if len(known) == len(left) else None

    @property
    def open_starts(self) -> int:
        """How many starts of jobs have not been answered."""
        return sum(export.state is State.STARTING for export in self._exports())

    def resume(self, product: str, job: SavedJob) -> bool:
        """Use a job that an earlier run has started, if its window may be issued."""
        queue = self._queues[product]
        places = WINDOWS_PER_JOB * self.policy.max_concurrent_jobs
        if len([*self._exports()]) >= places or not queue.plan.take(job.window):
            return False
        export = self._new_export(queue, job.window)
        export.state, export.job, export.is_resumed = State.RUNNING, job, True
        export.began = export.job_began = job.started - self.unix_time
        return True

    def end_at(self, instant: int) -> None:
        """Export nothing from an instant on; drop the jobs of windows that end later."""
        for queue in self._queues.values():
            for export in queue.in_order():
                if export.window.end > instant:
                    self._drop(export, "its window ends too late")
            queue.plan.end_at(instant)

    def set_current(self, product: str) -> None:
        """Set the product being read: its windows come first from now on."""
        self._current = product

    def following(self, product: str) -> Export | None:
        """Return the product's next window in the order of time, if it is issued."""
        queue = self._queues[product]
        return queue.exports.get(queue.position)

    def is_at_end(self, product: str) -> bool:
        """Return whether all windows of a product have been emitted."""
        queue = self._queues[product]
        return queue.position >= queue.plan.span.end

    def is_over(self, product: str) -> bool:
        """Return whether no window of a product is left, or one has failed."""
        return self.is_at_end(product) or self._queues[product].failed_at < math.inf

    def emitted(self, export: Export) -> None:
        """Mark a product's next window, whose events have all been written."""
        export.queue.position = export.window.end
        del export.queue.exports[export.window.start]

    def jobs(self, product: str) -> list[SavedJob]:
        """Return the jobs that a later run can resume, in the order of time."""
        jobs = [export.job for export in self._queues[product].in_order() if export.job]
        return [job for job in jobs if len(job.source) <= MAX_SOURCE]

    def next_call(self, now: float, *, only_start: bool = False) -> Export | None:
        """Return a window whose call, which its state names, is to be made now; None if none."""
        downloads = self.policy.max_concurrent_jobs
        # One check at a time bounds the memory.
        limits = {State.RUNNING: math.inf, State.EXPORTED: downloads, State.DOWNLOADED: 1}
        due = (self._first_due(*limit, now) for limit in limits.items() if not only_start)
        export = next(filter(None, due), None) or self._next_start(now)
        if export:
            export.state, export.called = CALLS[export.state], now
        return export

    def next_change(self, now: float) -> float:
        """Return the time until which no call is to be made, unless one under way ends earlier."""
        due = [export.due for export in self._exports() if export.state in CALLS]
        times = (*due, *self._given_up, self._not_before)
        return min((time for time in times if time > now), default=math.inf)

    def _exports(self) -> Iterator[Export]:
        """Yield the windows issued and not yet emitted, in the order in which they will be read."""
        for queue in self._queues.values():
            yield from queue.in_order()

    def _in_flight(self, now: float) -> int:
        """Return how many jobs are starting, running, or given up but not ended."""
        given_up = sum(until > now for until in self._given_up)
        return given_up + sum(export.state in IN_FLIGHT for export in self._exports())

    def _first_due(self, state: State, max_calls: float, now: float) -> Export | None:
        if sum(export.state is CALLS[state] for export in self._exports()) >= max_calls:
            return None
        due = (export for export in self._exports() if export.state is state and export.due <= now)
        if state is not State.RUNNING:  # the files behind a failed window are for a later run
            due = (export for export in due if export.window.start < export.queue.failed_at)
        return next(due, None)

    def _next_start(self, now: float) -> Export | None:
        if self.ending or self._not_before > now or self._in_flight(now) >= self._limit:
            return None
        for queue in self._queues.values():
            exports = (e for e in queue.in_order() if e.state in {State.WAITING, State.FAILED})
            first = next((e for e in exports if e.due <= now), None)
            upcoming = queue.plan.upcoming
            if upcoming is not None and (first is None or upcoming < first.window.start):
                window = queue.plan.next() if self._has_place(queue, upcoming) else None
                if window:
                    return self._new_export(queue, window)
            if first and first.state is State.WAITING:
                return first
        return None

    def _has_place(self, queue: ProductQueue, start: int) -> bool:
        """Return whether one more window, from an instant on, may be issued."""
        is_first_round = queue.position == queue.plan.span.start and not queue.plan.known.limit
        exports = [e for e in queue.in_order() if e.window.start < queue.failed_at]
        states = {e.window.size: e.state for e in exports if e.state not in WITHOUT_FILES}
        if is_first_round and states and states[max(states)] is not State.READY:
            return False  # what the largest one holds will soon tell how large the next may be
        jobs = self.policy.max_concurrent_jobs
        places = (WINDOWS_PER_JOB - 1) * jobs
        is_current = queue.product == self._current
        if is_current and start == queue.position:
            return True  # no place gets free before this window is emitted
        if is_current and (len(queue.exports) < jobs or start < max(queue.exports)):
            places += jobs
        # What lies behind a failed window stays for STATE, and is downloaded no more.
        return sum(e.window.start < e.queue.failed_at for e in self._exports()) < places

    def _new_export(self, queue: ProductQueue, window: Window) -> Export:
        number = [*self._queues].index(queue.product)
        export = Export(queue, window, self.directory / f"export-{number}-{window.start}")
        queue.exports[window.start] = export
        return export

    def finished(self, export: Export, outcome: Outcome, now: float) -> None:
        """Apply the outcome of the call that the window's state names."""
        # The state before the call: either a branch changes it, or the call is repeated at ``due``.
        export.state = BEFORE[export.state]
        if not export.tries:
            export.first_try = export.called
        if isinstance(outcome, (Job, int)):
            self._succeeded, self._outage_of = now, None
        match outcome:
            case errors.SyncStopped():
                pass
            case Exception():
                self._raised(export, outcome, now)
            case Job():
                self._answered(export, outcome, now)
            case int(size):
                export.state, export.size = State.DOWNLOADED, size
            case file:
                export.queue.plan.counted(export.window, file.contents.events_by_hour)
                export.state, export.file = State.READY, file

    def _answered(self, export: Export, reported: Job, now: float) -> None:
        if export.job is None:
            export.job = self._new_job(export, reported.source, now)
        export.state = State.RUNNING
        job, elapsed = export.job, now - export.job_began
        export.has_null_product |= reported.has_null_product
        match reported.status:
            case "COMPLETE" | "COMPLETED":
                self._complete(export, min(reported.seconds or elapsed, elapsed), now)
            case "TIMEOUT":
                self._too_large(export, job, "was too large (TIMEOUT)", now)
            case "FAILED":
                text = f"job {job.source} failed at the service (FAILED)"
                self._raised(export, errors.JobFailedError(text), now)
            case "RUNNING" if elapsed >= self.policy.job_timeout:
                self._given_up.append(export.job_began + self.policy.job_seconds_max)
                age = f"{self.policy.job_timeout / 60:g} min (job_timeout_minutes)"
                self._too_large(export, job, f"was still running after {age}", now)
            case "RUNNING":
                self._poll_again(export, elapsed, now)
            case status:
                what = f"job {job.source} has the undocumented status {status[:40]!r}"
                text = f"{what}; install a newer version of this tap, or {errors.REPORT}"
                self._raised(export, errors.ServiceError(text), now)

    def _complete(self, export: Export, seconds: float, now: float) -> None:
        """Let the file of a window be downloaded, whose job has taken some seconds."""
        self._job_seconds.append(seconds)
        if len(self._job_seconds) == 1:  # jobs that began with it may have ended, too
            for other in self._exports():
                if other.state is State.RUNNING:
                    other.due = now
        export.queue.counts["resumed"] += export.is_resumed
        self._completed += 1
        if self._completed >= self._limit < self.policy.max_concurrent_jobs:
            self._limit, self._completed = self._limit + 1, 0
        export.state, export.due, export.ready = State.EXPORTED, now, now

    def _raised(self, export: Export, error: Exception, now: float) -> None:
        """Apply an error of a call. The order matters: the first match applies."""
        match error:
            case errors.TransientError():  # only of a start: the client retries the other calls
                self._start_failed(export, error, now)
            case errors.JobNotReadyError() if export.job and export.state is State.RUNNING:
                self._answered(export, Job(export.job.source, "RUNNING", None), now)
            case errors.JobNotReadyError() if now - export.ready < self.policy.job_timeout:
                export.due = now + self.policy.poll_interval
            case errors.JobForgottenError() if now - export.job_began < self.policy.forgotten_grace:
                export.due = now + self.policy.poll_interval
            case errors.LayoutError() | errors.ResourceError():
                self._fail(export, error)  # the file may be right, so the next run gets its job
            case _ if export.is_resumed:
                self._drop(export, error)
            case (
                errors.JobNotReadyError()
                | errors.JobForgottenError()
                | errors.JobFailedError()
                | errors.StartRejectedError()
            ):
                self._job_lost(export, error, now)
            case errors.FileError() | errors.TooLargeError():
                self._fail(export, error)
                export.job = None
            case _:
                self._fail(export, error)

    def _new_job(self, export: Export, source: str, now: float) -> SavedJob:
        export.began = export.began or export.called
        export.job_began, export.tries, export.rejections = now, 0, 0
        export.queue.counts["started"] += 1
        started = math.ceil(export.called + self.unix_time)
        fingerprint = self.request.fingerprint(export.product, source, export.window)
        return SavedJob(source, export.window, started, fingerprint)

    def _poll_again(self, export: Export, elapsed: float, now: float) -> None:
        """Set when the job of a window is polled next.

        Pauses grow with the time that has passed since the start. Once job times are known, the
        first one lasts until a quarter of the recent jobs had ended, and the next ones are shorter:
        an early poll costs a request, a late one delays a window.
        """
        interval, jitter = self.policy.poll_interval, self.rng.random()
        if self._job_seconds:
            expected = sorted(self._job_seconds)[len(self._job_seconds) // 4]
            rest = expected * (1 + (1 + jitter) / 100) - elapsed
            pause = max(rest, MIN_POLL_PAUSE * interval, elapsed * (1 + jitter) / 20)
        else:
            pause = max(interval, elapsed / 2) * (1 + 3 * jitter) / 4
        until = now - elapsed + self.policy.job_timeout
        export.due = min(now + min(pause, MAX_POLL_PAUSE * interval), until)

    def _too_large(self, export: Export, job: SavedJob, reason: str, now: float) -> None:
        export.queue.counts["too_large"] += 1
        if export.queue.plan.too_large(export.window):
            self._log(logging.INFO, "%s is split: it %s", self._where(export), reason)
            del export.queue.exports[export.window.start]
            return
        advice = "lower min_window_seconds, or name fewer event_types"
        text = f"job {job.source} {reason}, and the window cannot be split further; {advice}"
        self._raised(export, errors.TooLargeError(text), now)

    def _start_failed(self, export: Export, error: errors.TransientError, now: float) -> None:
        """Start the job again: when another one has ended, or after a pause."""
        in_flight, pause = self._in_flight(now), error.retry_after or 0.0
        is_refusal = error.status in REFUSALS and (in_flight or self._not_before > now)
        self._not_before = max(self._not_before, now + pause)
        if is_refusal and pause <= MAX_PAUSE:
            self._limit = max(1, min(self._limit, in_flight))
            self._completed = export.tries = 0
            is_news = self._limit < self._lowest_limit or pause >= LOGGED_PAUSE
            self._lowest_limit = min(self._limit, self._lowest_limit)
            level = logging.INFO if is_news else logging.DEBUG
            text = "the service refused an export job; from now on, at most %d run at once%s"
            waits = f"; no new job starts for {pause:.0f} s (Retry-After)" if pause else ""
            self._log(level, text, self._limit, waits)
        else:
            export.tries += 1
            starts, named = self.policy.starts, f"{self._where(export)}: {error}"
            try:
                pause = starts.pause(error, export.tries, now - export.first_try, self.rng.random())
            except errors.ServiceError as final:
                self._fail(export, final)
                if pause > MAX_PAUSE:  # no product could start a job
                    self.ending = self.ending or final
                return
            self._log(logging.WARNING, NEXT_TRY, named, export.tries + 1, starts.attempts, pause)
        self._not_before = max(self._not_before, now + pause)

    def _job_lost(self, export: Export, error: Exception, now: float) -> None:
        """Start a new job after a pause, unless there have been enough."""
        advice = (
            "run again later: the next run continues from the bookmark; if the error persists, "
            "contact Barchart support"
        )
        if isinstance(error, errors.JobForgottenError):
            export.forgotten += 1
            export.first_forgotten = export.first_forgotten or export.job_began
            is_last = now - export.first_forgotten >= self.policy.forgotten_timeout
        elif isinstance(error, errors.StartRejectedError):
            export.rejections += 1
            tries, advice = min(MAX_REJECTIONS, self.policy.starts.attempts), error.advice
            is_last = error.is_final or export.rejections >= tries
        else:
            export.failures += 1
            is_last = export.failures > len(self.policy.waits)
        export.queue.counts["failed"] += export.job is not None
        export.job, lost = None, export.failures + export.rejections + export.forgotten
        if is_last:
            gave_up = f"; gave up after {lost} tries" if lost > 1 else ""
            self._fail(export, errors.JobFailedError(f"{error}{gave_up}; {advice}"))
            return
        wait = self.policy.waits[:lost][-1] * self.rng.uniform(0.5, 1)
        export.state, export.due = State.WAITING, now + wait
        text = "%s: %s; the next job starts in %.0f s"
        self._log(logging.WARNING, text, self._where(export), error, wait)

    def _drop(self, export: Export, reason: object) -> None:
        """Give the window of a job that an earlier run has started back to the planner."""
        self._log(logging.DEBUG, "%s: its job is not used: %s", self._where(export), reason)
        del export.queue.exports[export.window.start]
        export.queue.plan.give_back(export.window)

    def _fail(self, export: Export, error: Exception) -> None:
        if isinstance(error, errors.BarchartEventsError) and not error.names_window:
            error.args = (f"{self._where(export)}: {error}",)
        export.state, export.error = State.FAILED, error
        if self._ends_all(export, error):
            self.ending = self.ending or error
        else:
            export.queue.counts["windows_failed"] += 1

    def _ends_all(self, export: Export, error: Exception) -> bool:
        """Return whether an error is about more than one product."""
        match error:
            case errors.CredentialsError():
                return error.status != HTTPStatus.FORBIDDEN
            case errors.ServiceError() if error.is_outage:
                if self._succeeded >= export.first_try:
                    return False
                first, self._outage_of = self._outage_of, export.product
                left = [p for p in self._queues if p != export.product and not self.is_over(p)]
                return not left or first not in {None, export.product}
            case errors.ResourceError():
                return True
        return not isinstance(error, errors.BarchartEventsError)

    def _log(self, *line: Any) -> None:
        self.lines.append(line)

    def _where(self, export: Export) -> str:
        return f"{self.request.customer}/{export.product} {export.window}"
