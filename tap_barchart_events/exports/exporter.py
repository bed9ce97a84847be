"""The exports of a sync as checked files: the threads that make the calls.

Decides nothing: ``jobs`` says which call comes next. Depends on neither Singer nor the content of a
file.
"""

import logging
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

from tap_barchart_events.api.client import ReportsClient
from tap_barchart_events.api.transcript import file_form
from tap_barchart_events.exports.jobs import Export, Outcome, Scheduler, State
from tap_barchart_events.exports.saved_jobs import SavedJob
from tap_barchart_events.files.export_file import ExportFile

logger = logging.getLogger(__name__)

SIGNAL_CHECK_SECONDS = 0.5
"""Longest wait of the main thread, in seconds: if two signals come at once, Python may run no
handler before the wait ends."""

CLOSE_SECONDS = 2
"""How long ``close`` waits for threads, in seconds: STATE gets the jobs whose starts are answered
until then."""


@dataclass(eq=False)
class Exporter:
    """The exports of a sync, as checked files; those of a product come in time order.

    A few threads get the next call from the scheduler, make it, and pass on its outcome.
    """

    client: ReportsClient
    """The service; its ``stopped`` ends everything."""
    scheduler: Scheduler
    """Decides which call comes next. It is used under a lock."""
    open_file: Callable[[Export], ExportFile]
    """Returns the downloaded file of an export, unread."""
    seconds_waited: float = 0.0
    """How long the caller has waited for exports so far."""

    def __post_init__(self) -> None:
        """Start nothing yet."""
        self._changed = threading.Condition()
        """Notified of every change: for the caller and for all threads."""
        self._checked: ExportFile | None = None
        """The file whose check began last."""
        self._threads: list[threading.Thread] = []
        self._defect: Exception | None = None

    def resume(self, product: str, job: SavedJob) -> None:
        """Use a job that an earlier run has started, if its window may be issued."""
        if self.scheduler.resume(product, job):
            asked = self.scheduler.request.filter(product, job.window)
            self.client.expect(job.source, asked)

    def start_first(self) -> None:
        """Start a job before any other call; the response shows the service's time."""
        with self._changed:
            if export := self.scheduler.next_call(time.monotonic(), only_start=True):
                threading.Thread(target=self._make, args=(export,), daemon=True).start()
            while self.scheduler.open_starts:
                self._changed.wait(SIGNAL_CHECK_SECONDS)

    def end_at(self, instant: int) -> None:
        """Export nothing from an instant on; drop the jobs of windows that end later."""
        with self._changed:
            self.scheduler.end_at(instant)

    @property
    def events_left(self) -> float | None:
        """How many events are expected in windows that are not emitted; None if unknown."""
        with self._changed:
            return self.scheduler.events_left

    def jobs(self, product: str) -> list[SavedJob]:
        """Return the product's jobs that a later run can resume."""
        with self._changed:
            return self.scheduler.jobs(product)

    def of(self, product: str) -> Generator[Export]:
        """Yield the exports of one product, in time order, each with its file or its error.

        Call ``emitted`` for each file before the next export is requested. An error comes last.

        Raises:
            BarchartEventsError: The sync of all products ends; what was ready has been yielded.
        """
        with self._changed:
            self.scheduler.set_current(product)
            self._changed.notify_all()
            if not self._threads:
                self._add_thread()
        while export := self._wait_for_next(product):
            if export.error and self.scheduler.ending:
                raise self.scheduler.ending from None
            yield export
            if export.error:
                return

    def emitted(self, export: Export) -> None:
        """Mark a window whose events have all been written; remove its file."""
        with self._changed:
            self.scheduler.emitted(export)
            self._changed.notify_all()
        export.path.unlink(missing_ok=True)

    def close(self) -> None:
        """End all work; a thread that hangs in a call is not waited for."""
        self.client.stopped.set()
        until = time.monotonic() + CLOSE_SECONDS
        with self._changed:
            self._changed.notify_all()
            while self.scheduler.open_starts or any(t.is_alive() for t in self._threads):
                if time.monotonic() > until:
                    break
                if file := self._checked:
                    file.interrupt()
                self._changed.wait(0.01)

    def _wait_for_next(self, product: str) -> Export | None:
        """Wait for a product's next window to be ready or failed; None at the end."""
        with self._changed:
            while not self.scheduler.is_at_end(product):
                export = self.scheduler.following(product)
                if export and export.state in {State.READY, State.FAILED}:
                    return export
                if self._defect:
                    raise self._defect
                if self.scheduler.ending and not (export and export.job):
                    raise self.scheduler.ending
                began = time.monotonic()
                self._changed.wait(SIGNAL_CHECK_SECONDS)
                self.seconds_waited += time.monotonic() - began
        return None

    # Threads ------------------------------------------------------------------------------

    def _add_thread(self) -> None:
        """Start a thread unless there are enough: as many may download, one may check.

        The lock is held.
        """
        if len(self._threads) <= 2 * self.scheduler.policy.max_concurrent_jobs:
            # A daemon: a call that hangs must not keep the process alive when the sync ends.
            self._threads.append(threading.Thread(target=self._work, daemon=True))
            self._threads[-1].start()

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
            while not self.client.stopped.is_set():
                now = time.monotonic()
                if export := self.scheduler.next_call(now):
                    self._add_thread()  # it makes the next call
                    return export
                change = self.scheduler.next_change(now)
                self._changed.wait(min(change - now, threading.TIMEOUT_MAX))
        return None

    def _make(self, export: Export) -> None:
        """Make the call that a window's state names, and apply its outcome, errors included."""
        outcome: Outcome
        try:
            outcome = self._call(export)
        except Exception as error:  # noqa: BLE001 - the scheduler decides about it
            outcome = error
        with self._changed:
            self.scheduler.finished(export, outcome, time.monotonic())
            lines, self.scheduler.lines = self.scheduler.lines, []
            self._changed.notify_all()
        for line in lines:  # without the lock: their reader may block without end
            logger.log(*line)

    def _call(self, export: Export) -> Outcome:
        request = self.scheduler.request
        if export.job is None:
            asked = request.filter(export.product, export.window)
            return self.client.start(asked, request.delimiter)
        if export.state is State.POLLING:
            return self.client.poll(export.job.source)
        if export.state is State.CHECKING:
            self._checked = file = self.open_file(export)
            file.check()
            return file
        return self._download(export, export.job.source)

    def _download(self, export: Export, source: str) -> int:
        began = time.monotonic()
        size = self.client.download(source, export.path)
        export.download_seconds = time.monotonic() - began
        if logger.isEnabledFor(logging.DEBUG):
            form = file_form(export.path, self.scheduler.request.delimiter)
            packed = "" if size == export.path.stat().st_size else "came as gzip; "
            logger.debug("file of job %s: %s%s", source, packed, form)
        return size
