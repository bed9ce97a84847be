"""The exports of a sync as checked files: the threads that make the calls.

Decides nothing: ``jobs`` says which call comes next. Depends on neither Singer nor the content of a
file.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from tap_barchart_events.exceptions import BarchartEventsError, SyncStopped
from tap_barchart_events.exports.jobs import Scheduler, State

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    from tap_barchart_events.api.client import Job, ReportsClient
    from tap_barchart_events.exports.jobs import Export, JobPolicy
    from tap_barchart_events.exports.planner import WindowPlanner
    from tap_barchart_events.exports.saved_jobs import Request, SavedJob
    from tap_barchart_events.files.export_file import ExportFile

    OpenFile = Callable[[Export], ExportFile]
    """Returns the downloaded file of an export, unread."""

logger = logging.getLogger(__name__)

SIGNAL_CHECK_SECONDS = 0.5
"""Longest wait of the main thread, in seconds: if two signals come at once, Python may run no
handler before the wait ends."""

MAX_WAIT = 3600
"""Longest wait of a thread, in seconds: the next change may be infinitely far away."""

CLOSE_SECONDS = 1
"""How long ``close`` waits for threads, in seconds."""

START_SECONDS = 2
"""How long ``close`` waits for the responses to starts of jobs, in seconds, so that STATE has the
jobs."""


class Exporter:
    """The exports of a sync, as checked files; those of a product come in time order.

    A few threads get the next call from the scheduler, make it, and pass on its outcome. A thread
    that has downloaded a file checks it, one file at a time.
    """

    seconds_waited = 0.0
    """How long the caller has waited for exports so far."""

    def __init__(
        self,
        client: ReportsClient,
        plans: Mapping[str, WindowPlanner],
        request: Request,
        policy: JobPolicy,
        directory: Path,
        stopped: threading.Event,
        open_file: OpenFile,
    ) -> None:
        """Start nothing yet.

        Args:
            client: The service.
            plans: The windows of each product, in the order in which they will be read.
            request: What all exports have in common.
            policy: How many jobs run at once, how they are polled, and when they are replaced.
            directory: Where files go.
            stopped: Ends everything when set.
            open_file: Returns the downloaded file of an export, unread.
        """
        self._client = client
        self._request = request
        self._open_file = open_file
        self._stopped = stopped
        self._changed = threading.Condition()
        """Notified of every change: for the caller and for all threads."""
        self._checking = threading.Lock()
        """Held by the thread that checks a file: one at a time bounds the memory."""
        self._in_check: ExportFile | None = None
        self._threads: list[threading.Thread] = []
        self._thread_limit = 2 * policy.max_concurrent_jobs  # one half may download
        self._lines: list[tuple[Any, ...]] = []
        """Lines to log once the lock is free: their reader may block without end."""
        self._defect: Exception | None = None
        self._scheduler = Scheduler(
            plans,
            request=request,
            policy=policy,
            directory=directory,
            unix_time=client.now - time.monotonic(),
            log=lambda *line: self._lines.append(line),
        )
        self.job_counts = self._scheduler.job_counts
        """What became of the jobs so far."""

    def take_over(self, product: str, job: SavedJob) -> None:
        """Use a job that an earlier run has started, if its window may be issued."""
        if self._scheduler.take_over(product, job):
            self._client.expect(job.source, **self._request.of(product, job.window))

    def start_first(self) -> None:
        """Start a job before any other call; the response shows the service's time."""
        with self._changed:
            if export := self._scheduler.next_call(time.monotonic(), only_start=True):
                threading.Thread(target=self._make, args=(export,), daemon=True).start()
            while self._scheduler.open_starts:
                self._changed.wait(SIGNAL_CHECK_SECONDS)

    def end_at(self, instant: int) -> None:
        """Export nothing from an instant on; drop the jobs of windows that end later."""
        with self._changed:
            self._scheduler.end_at(instant)

    @property
    def events_left(self) -> float | None:
        """How many events are expected in windows that are not emitted; None if unknown."""
        with self._changed:
            return self._scheduler.events_left

    def jobs(self, product: str) -> list[SavedJob]:
        """Return the product's jobs that a later run can take over."""
        with self._changed:
            return self._scheduler.jobs(product)

    def of(self, product: str) -> Generator[tuple[Export, ExportFile]]:
        """Yield the exports of one product and their checked files, in time order.

        Requesting the next export removes the file.

        Raises:
            BarchartEventsError: The next export is not available. All earlier ones have been
                yielded.
        """
        with self._changed:
            self._scheduler.set_current(product)
            self._changed.notify_all()
            self._add_thread()
        while export := self._wait_for_next(product):
            if export.error:
                raise self._with_context(export, export.error) from None
            if export.file:
                yield export, export.file
                self.emitted(export)

    def emitted(self, export: Export) -> None:
        """Mark a window whose events have all been written; remove its file."""
        with self._changed:
            self._scheduler.emitted(export)
            self._changed.notify_all()
        export.path.unlink(missing_ok=True)

    def close(self) -> None:
        """End all work; a thread that hangs in a call is not waited for."""
        self._stopped.set()
        began = time.monotonic()
        with self._changed:
            self._changed.notify_all()
            if file := self._in_check:
                file.interrupt()
            while self._scheduler.open_starts:
                left = began + START_SECONDS - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
        until = max(began + CLOSE_SECONDS, time.monotonic() + 0.2)
        for thread in self._threads:
            while thread.is_alive() and (left := until - time.monotonic()) > 0:
                if file := self._in_check:
                    file.interrupt()
                thread.join(min(left, 0.05))

    def _wait_for_next(self, product: str) -> Export | None:
        """Wait for a product's next window to be ready or failed; None at the end."""
        with self._changed:
            while not self._scheduler.is_at_end(product):
                export = self._scheduler.following(product)
                if export and export.state in {State.READY, State.FAILED}:
                    return export
                if self._defect:
                    raise self._defect
                began = time.monotonic()
                self._changed.wait(SIGNAL_CHECK_SECONDS)
                self.seconds_waited += time.monotonic() - began
        return None

    def _with_context(self, export: Export, error: Exception) -> Exception:
        if not isinstance(error, BarchartEventsError) or error.names_window:
            return error
        return type(error)(f"{self._request.customer}/{export.product} {export.window}: {error}")

    # Threads ------------------------------------------------------------------------------

    def _add_thread(self) -> None:
        """Start a thread unless there are enough. The lock is held."""
        if len(self._threads) < self._thread_limit:
            # A daemon: a call that hangs must not keep the process alive when the sync ends.
            thread = threading.Thread(target=self._work, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _work(self) -> None:
        """Make calls until the sync ends. Runs in a thread."""
        try:
            while export := self._next_call():
                self._make(export)
        except Exception as error:  # noqa: BLE001 - raised again where the next file is waited for
            with self._changed:
                self._defect = error
                self._changed.notify_all()

    def _next_call(self) -> Export | None:
        """Wait for the next call to make; None at the end."""
        with self._changed:
            while not self._stopped.is_set():
                now = time.monotonic()
                if export := self._scheduler.next_call(now):
                    self._add_thread()  # it makes the next call
                    return export
                self._changed.wait(min(self._scheduler.next_change(now) - now, MAX_WAIT))
        return None

    def _make(self, export: Export) -> None:
        """Make the call that a window's state names, and apply its outcome, errors included."""
        outcome: Job | ExportFile | Exception
        try:
            outcome = self._call(export)
        except Exception as error:  # noqa: BLE001 - the scheduler decides about it
            outcome = error
        with self._changed:
            self._scheduler.finished(export, outcome, time.monotonic())
            lines, self._lines = self._lines, []
            self._changed.notify_all()
        for line in lines:
            logger.log(*line)

    def _call(self, export: Export) -> Job | ExportFile:
        if export.job is None:
            of = self._request.of(export.product, export.window)
            return self._client.start(**of, delimiter=self._request.delimiter)
        if export.state is State.POLLING:
            return self._client.poll(export.job.source)
        return self._fetch(export, export.job.source)

    def _fetch(self, export: Export, source: str) -> ExportFile:
        """Download the file of a job, and check it."""
        began = time.monotonic()
        export.size = self._client.download(source, export.path)
        export.download_seconds = time.monotonic() - began
        with self._checking:
            if self._stopped.is_set():
                raise SyncStopped
            self._in_check = file = self._open_file(export)
            try:
                file.check()
            finally:
                self._in_check = None
        return file
