"""Progress of a sync: a log line for each window, one at the end, metrics, and a bar."""

from __future__ import annotations

import enum
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast

from singer_sdk import metrics

from tap_barchart_events.exports.exporter import Exporter
from tap_barchart_events.exports.jobs import Export, JobCounts
from tap_barchart_events.exports.planner import WindowPlanner
from tap_barchart_events.files.check import Dropped, FileContents
from tap_barchart_events.schema import STREAM


class Metric(enum.Enum):
    """The tap's own metric, beside those of the SDK."""

    SUMMARY = "sync_summary"
    """Events of a sync; its tags hold the other numbers of the closing line."""


@dataclass(eq=False)
class Progress:
    """Counts what a sync does, and logs its progress."""

    logger: logging.Logger
    customer: str
    plans: Mapping[str, WindowPlanner]
    """The windows of each product."""
    exports: Exporter
    """Where the files of the sync come from."""
    calls: Sequence[str]
    """The endpoint of each request so far; it grows."""

    _began: float = field(default_factory=time.monotonic)
    _done: int = 0
    _share: float = 0.0
    _windows: int = 0
    _events: Counter[str] = field(default_factory=Counter)
    _outside: Dropped = field(default_factory=Dropped)
    _impossible: dict[str, Dropped] = field(default_factory=dict)
    _bytes: int = 0
    _seconds_writing: float = 0.0
    _shown: ExitStack = field(default_factory=ExitStack)
    _bar: Any = None

    @property
    def _total(self) -> int:
        """The time that the sync covers over all products, in milliseconds."""
        return sum(plan.span.size for plan in self.plans.values())

    def __enter__(self) -> None:
        """Show the bar, if there is a terminal."""
        if sys.stderr.isatty():
            if "SINGER_SDK_LOG_CONFIG" not in os.environ:
                metrics.get_metrics_logger().setLevel("WARNING")  # metrics are for programs
            if self._total:
                self._show_bar()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Remove the bar, and log what the sync did."""
        self._shown.close()
        for endpoint, count in Counter(self.calls).items():
            tags = {metrics.Tag.ENDPOINT: endpoint}
            self._log_metric(metrics.Metric.HTTP_REQUEST_COUNT, count, tags)
        self._summarise(self.exports.job_counts, succeeded=kind is None)

    def finished(self, export: Export, contents: FileContents, seconds: float) -> None:
        """Log that a window is finished: its events are written, its bookmark moved.

        Args:
            export: The window's export.
            contents: What its file held.
            seconds: From the start of writing its file until its bookmark moved.
        """
        self._done += export.window.size
        self._windows += 1
        self._events[export.product] += contents.events
        self._outside += contents.outside
        impossible = self._impossible.get(export.product, Dropped())
        self._impossible[export.product] = impossible + contents.impossible
        self._bytes += export.size
        self._seconds_writing += seconds
        events, events_left = self._events.total(), self.exports.events_left
        share = self._done / self._total
        if events_left is not None and events:
            share = events / (events + events_left)
        # The forecast can grow while events are read; what is shown never goes back.
        share = self._share = max(share, self._share)
        elapsed = time.monotonic() - self._began
        is_last = self._done >= self._total
        self.logger.info(
            "%s/%s %s · %s · job %s, download %s · %.0f %%, %s",
            self.customer,
            export.product,
            export.window,
            counted(contents.events, "event"),
            duration(export.job_seconds),
            duration(export.download_seconds),
            100 * share,
            "done" if is_last else time_left(elapsed / share - elapsed),
        )
        if self._bar is not None:
            self._bar.set_postfix_str(f"{counted(events, 'event')}, {export.product}")
            self._bar.n = round(share, 4)
            self._bar.refresh()

    def _summarise(self, jobs: JobCounts, *, succeeded: bool) -> None:
        """Log what the sync did: as metrics, and as the closing line."""
        outside, waited = self._outside, self.exports.seconds_waited
        total = jobs.started + jobs.taken_over
        numbers: dict[str, Any] = {
            "windows": self._windows,
            "jobs": total,
            "jobs_too_large": jobs.too_large,
            "jobs_failed": jobs.failed,
            "jobs_taken_over": jobs.taken_over,
            "bytes": self._bytes,
            "seconds_waited": round(waited, 3),
            "seconds_writing": round(self._seconds_writing, 3),
            "rows_dropped": outside.rows,
        }
        dropped = ""
        if outside.rows:
            first, last = outside.between
            numbers |= {"dropped_from": first, "dropped_to": last}
            rows = counted(outside.rows, "row")
            dropped = f" · dropped {rows} outside their windows, from {first} to {last}"
        for product, events in self._events.items():
            context = {"customer": self.customer, "product": product}
            self._log_metric(metrics.Metric.RECORD_COUNT, events, {metrics.Tag.CONTEXT: context})
        status = {metrics.Tag.STATUS: "succeeded" if succeeded else "failed"}
        seconds = round(time.monotonic() - self._began, 3)
        self._log_metric(metrics.Metric.SYNC_DURATION, seconds, status, "timer")
        events = self._events.total()
        self._log_metric(cast("metrics.Metric", Metric.SUMMARY), events, status | numbers)
        self._warn_of_impossible_rows()
        if self._total:
            line = (
                f"{self.customer}: sync {'complete' if succeeded else 'stopped early'} · "
                f"{counted(events, 'event')} in {counted(self._windows, 'window')} · "
                f"{counted(total, 'export job')} ({jobs.too_large:,} too large, "
                f"{jobs.failed:,} failed, {jobs.taken_over:,} taken over from an earlier run) · "
                f"{self._bytes / 1e6:,.2f} MB · waited {duration(waited)} for "
                f"jobs, wrote for {duration(self._seconds_writing)}{dropped}"
            )
            self.logger.info("%s", line)

    def _warn_of_impossible_rows(self) -> None:
        for product, impossible in self._impossible.items():
            if impossible.rows:
                self.logger.warning(
                    "%s: %s of its exports were dropped because no sync extracts them: they are "
                    "before start_date or later than now, between %s and %s; ask Barchart's "
                    "support",
                    product,
                    counted(impossible.rows, "row"),
                    *impossible.between,
                )

    def _log_metric(
        self, metric: metrics.Metric, value: float, tags: dict[Any, Any], kind: str = "counter"
    ) -> None:
        tags = {metrics.Tag.STREAM: STREAM, **tags}
        metrics.log(metrics.get_metrics_logger(), metrics.Point(kind, metric, value, tags))

    def _show_bar(self) -> None:
        # Imported here: a pipeline without a terminal does not need it.
        from tqdm import tqdm
        from tqdm.contrib.logging import logging_redirect_tqdm

        self._shown.enter_context(logging_redirect_tqdm())
        self._bar = self._shown.enter_context(
            tqdm(
                total=1,
                desc=self.customer,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
            )
        )


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 event``, ``12,345 events``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a duration as text for people: ``0.4 s``, ``41 s``, ``12 min``, ``3.5 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def time_left(seconds: float) -> str:
    """Return the time left as text for people: ``about 12 min left``."""
    return "less than a second left" if seconds < 0.1 else f"about {duration(seconds)} left"
