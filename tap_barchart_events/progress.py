"""What is seen while a sync runs: a log line a window, metrics, and a bar on a terminal."""

from __future__ import annotations

import contextlib
import enum
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, cast

from singer_sdk import metrics

if TYPE_CHECKING:
    import logging

    from tap_barchart_events.exports.tasks import Export


class Metric(str, enum.Enum):
    """The tap's own metrics, beside those of the SDK."""

    JOB = "export_job_duration"
    """Seconds from the start of a window's first job until its file was ready."""
    DOWNLOAD = "download_duration"
    """Seconds that the download of an export file took."""
    BYTES = "download_bytes"
    """Bytes of an export file, as transferred."""
    ROWS = "window_rows"
    """Events of a window."""
    EMIT = "window_duration"
    """Seconds from the finished file of a window to its bookmark."""


class Progress:
    """Tells how far a sync is."""

    def __init__(
        self,
        logger: logging.Logger,
        *,
        customer: str,
        stream: str,
    ) -> None:
        """Start the clock.

        Args:
            logger: Where lines go.
            customer: Customer code.
            stream: Name of the stream, for metrics.
        """
        self._logger = logger
        self._metrics = metrics.get_metrics_logger()
        self._customer = customer
        self._stream = stream
        self._total = 0
        self._began = time.monotonic()
        self._done = 0
        self._windows = 0
        self._events = 0
        self._lock = threading.Lock()
        self._requests: dict[str, metrics.Counter] = {}
        self._shown = contextlib.ExitStack()
        self._bar: Any = None

    def begin(self, total: int) -> None:
        """Take what the sync covers, over all products, in milliseconds."""
        self._total = total
        if sys.stderr.isatty() and total:
            self._show_bar()

    def close(self) -> None:
        """Log the last counts and take the bar away."""
        self._shown.close()
        for counter in self._requests.values():
            counter.exit()

    def request(self, endpoint: str) -> None:
        """Count a request of the API. Called from several threads."""
        with self._lock:
            counter = self._requests.get(endpoint)
            if counter is None:
                counter = metrics.http_request_counter(self._stream, endpoint)
                self._requests[endpoint] = counter
            counter.increment()

    def finished(
        self,
        export: Export,
        events: int,
        seconds: float,
        *,
        windows_left: int,
        events_left: float | None,
    ) -> None:
        """Tell that a window is finished: its events written, its bookmark moved.

        Args:
            export: The window's export.
            events: How many events it had.
            seconds: From its finished file to its bookmark.
            windows_left: How many windows are not finished yet.
            events_left: How many events are expected in these; None if that is not known.
        """
        self._done += export.window.size
        self._windows += 1
        self._events += events
        share = self._done / self._total
        if events_left is not None and self._events:
            share = self._events / (self._events + events_left)
        elapsed = time.monotonic() - self._began
        left = windows_left
        self._logger.info(
            "%s/%s %s · %s events, %s/s · job %s, download %s · window %s of %s, %.0f %%, %s",
            self._customer,
            export.product,
            export.window,
            f"{events:,}",
            f"{events / max(seconds, 0.001):,.0f}",
            duration(export.job_seconds),
            duration(export.download_seconds),
            f"{self._windows:,}",
            f"{self._windows + left:,}",
            100 * share,
            f"about {duration(elapsed / share - elapsed)} left" if left else "done",
        )
        tags = {
            "context": {"customer": self._customer, "product": export.product},
            "window": str(export.window),
        }
        self._measure("timer", Metric.JOB, export.job_seconds, tags)
        self._measure("timer", Metric.DOWNLOAD, export.download_seconds, tags)
        self._measure("counter", Metric.BYTES, export.size, tags)
        self._measure("counter", Metric.ROWS, events, tags)
        self._measure("timer", Metric.EMIT, seconds, tags)
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self._events:,} events, {export.product}", refresh=False)
            self._bar.n = round(share, 4)
            self._bar.refresh()

    def _measure(self, kind: Any, metric: enum.Enum, value: float, tags: dict[str, Any]) -> None:  # noqa: ANN401
        point = metrics.Point(
            kind, cast("metrics.Metric", metric), round(value, 3), {"stream": self._stream, **tags}
        )
        metrics.log(self._metrics, point)

    def _show_bar(self) -> None:
        # Only here: a pipeline that has no terminal need not load it.
        from tqdm import tqdm  # noqa: PLC0415
        from tqdm.contrib.logging import logging_redirect_tqdm  # noqa: PLC0415

        self._metrics.setLevel("WARNING")  # for machines; here they would bury the bar
        self._shown.enter_context(logging_redirect_tqdm())
        self._bar = self._shown.enter_context(
            tqdm(
                total=1,
                desc=self._customer,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
            )
        )


def duration(seconds: float) -> str:
    """Return a duration as people say it: ``0.4 s``, ``41 s``, ``12 min``, ``3.5 h``."""
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    if seconds < 120:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    if seconds < 7200:  # noqa: PLR2004
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
