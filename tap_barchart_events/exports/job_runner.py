"""Export jobs, one at a time: started, polled at the right pace, their files downloaded.

Knows neither windows beyond their bounds, nor how many jobs run side by side.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tap_barchart_events.exceptions import (
    JobFailedError,
    JobNotReadyError,
    ServiceError,
    SyncStopped,
    TooLargeError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tap_barchart_events.api.client import Job, ReportsClient
    from tap_barchart_events.windows import Window

LONGEST_PAUSE = 15
"""Longest pause between polls, in poll intervals."""

GOLDEN = (5**0.5 - 1) / 2

SHORTEST_PAUSE = 0.1
"""Shortest pause between polls once it is known what jobs take, in poll intervals."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the service, the same for all windows."""

    customer: str
    types: Sequence[str]
    delimiter: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard the service and the disk are worked."""

    max_concurrent_jobs: int
    """Jobs in flight at once, and finished files on disk at once."""

    job_timeout: float
    """Seconds after which a running job counts as too large."""

    poll_interval: float
    """First pause between polls, in seconds."""


class PollSchedule:
    """When to poll a job next, learnt from what recent jobs took. Not synchronised."""

    def __init__(self, interval: float) -> None:
        """Start without knowledge; ``interval`` is the first pause, in seconds."""
        self._interval = interval
        self._recent: deque[float] = deque(maxlen=9)

    def learn(self, seconds: float) -> None:
        """Learn how long a job ran, in seconds."""
        self._recent.append(seconds)

    def due(self, last: float, polls: int, jitter: float) -> float:
        """Return when the next poll is due, in seconds after the job's start.

        Args:
            last: When the last poll was, in seconds after the job's start.
            polls: How many there have been.
            jitter: Between 0 and 1.
        """
        longest = LONGEST_PAUSE * self._interval
        if not self._recent:
            return last + min(self._interval * 1.4**polls, longest) * (1 + 3 * jitter) / 4
        # The quicker quarter: an early poll costs a request, a late one delays a window.
        expected = sorted(self._recent)[len(self._recent) // 4] * (1 + jitter / 50)
        if last < expected:
            return min(expected, last + longest)
        pause = max(SHORTEST_PAUSE * self._interval, last * (1 + jitter) / 20)
        return last + min(pause, longest)


class JobRunner:
    """Runs jobs. Safe to use from several threads, which learn the pace from each other."""

    def __init__(
        self, client: ReportsClient, request: Request, limits: Limits, stopped: threading.Event
    ) -> None:
        """Start nothing yet.

        Args:
            client: The service.
            request: What to ask of it.
            limits: How hard to work it.
            stopped: Ends all waiting when set; ``wake`` makes it noticed at once.
        """
        self._client = client
        self._request = request
        self._limits = limits
        self._stopped = stopped
        self._pace = PollSchedule(limits.poll_interval)
        self._learnt = threading.Condition()
        self._jitter = random.random()  # noqa: S311 - to spread calls, not to hide anything

    def wake(self) -> None:
        """Let all that wait look at ``stopped``."""
        with self._learnt:
            self._learnt.notify_all()

    def run(self, product: str, window: Window) -> Job:
        """Start a job and poll it until its file is ready; one decision for each status.

        Raises:
            TooLargeError: The job timed out, at the service or here: the window is too large.
            JobFailedError: The job failed.
            JobForgottenError: The service does not know the job any more.
            ServiceError: The status is not documented, or a call failed for good.
            SyncStopped: The sync is ending.
        """
        began = time.monotonic()
        job = self._client.start(
            customer=self._request.customer,
            product=product,
            start=window.start,
            end=window.end,
            types=self._request.types,
            delimiter=self._request.delimiter,
        )
        polls = 0
        while True:
            elapsed = time.monotonic() - began
            match job.status:
                case "COMPLETE" | "COMPLETED":
                    plausible = job.seconds is not None and 0 < job.seconds <= elapsed
                    with self._learnt:
                        self._pace.learn(job.seconds if plausible and job.seconds else elapsed)
                        self._learnt.notify_all()
                    return job
                case "TIMEOUT":
                    raise TooLargeError(f"job {job.source} was too large for the service (TIMEOUT)")
                case "FAILED":
                    raise JobFailedError(f"job {job.source} failed at the service (FAILED)")
                case "RUNNING" if elapsed >= self._limits.job_timeout:
                    minutes = self._limits.job_timeout / 60
                    raise TooLargeError(
                        f"job {job.source} still ran after {minutes:g} min (job_timeout_minutes)"
                    )
                case "RUNNING":
                    self._wait_to_poll(began, elapsed, polls)
                case status:
                    raise ServiceError(
                        f"job {job.source} has the status {status[:40]!r}, which is not "
                        "documented; a newer version of this tap may know it"
                    )
            polls += 1
            with suppress(JobNotReadyError):  # it is running, then, as was known before
                job = self._client.poll(job.source)

    def _wait_to_poll(self, began: float, last: float, polls: int) -> None:
        with self._learnt:
            # Steps of the golden ratio: jobs that started together are polled evenly spread, and
            # what the first one to end teaches, the others learn soon.
            self._jitter = jitter = (self._jitter + GOLDEN) % 1
            while not self._stopped.is_set():
                due = min(self._pace.due(last, polls, jitter), self._limits.job_timeout)
                pause = began + due - time.monotonic()
                if pause <= 0:
                    return
                self._learnt.wait(pause)
        raise SyncStopped

    def download(self, job: Job, path: Path) -> int:
        """Bring the file of a finished job to disk; return the bytes transferred.

        Raises:
            As ``ReportsClient.download``, and JobFailedError if its link stays unready.
        """
        until = time.monotonic() + self._limits.job_timeout
        while True:
            try:
                return self._client.download(job.source, path)
            except JobNotReadyError as error:
                if time.monotonic() >= until:
                    raise JobFailedError(str(error)) from None
            if self._stopped.wait(self._limits.poll_interval):
                raise SyncStopped
