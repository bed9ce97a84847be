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
from typing_extensions import Self

from tap_barchart_events.exports.exporter import Exporter
from tap_barchart_events.exports.jobs import Export, JobCounts
from tap_barchart_events.exports.planner import WindowPlanner
from tap_barchart_events.files.check import Dropped, FileContents
from tap_barchart_events.late import LateEvents
from tap_barchart_events.schema import STREAM
from tap_barchart_events.state import ProductState
from tap_barchart_events.windows import to_iso


class Metric(enum.Enum):
    """The tap's own metric, beside those of the SDK."""

    SUMMARY = "sync_summary"
    """Events of a sync; its tags hold the other numbers of the closing line."""


SILENT_SHARE = 0.2
"""Share of the expected events below which a product counts as silent."""

MIN_EXPECTED = 50
"""Fewer expected events show nothing."""


@dataclass(slots=True)
class ProductResult:
    """What a sync did for one product."""

    windows: int = 0
    milliseconds: int = 0
    """The time that these windows cover."""
    events: int = 0
    again: int = 0
    """Those of them that an earlier run has read, too, or that arrived late."""
    outside: Dropped = field(default_factory=Dropped)
    impossible: Dropped = field(default_factory=Dropped)
    unknown_types: int = 0
    error: Exception | None = None
    """Why it failed."""


@dataclass(eq=False)
class Progress:
    """Counts what a sync does, and logs its progress."""

    logger: logging.Logger
    customer: str
    states: Mapping[str, ProductState]
    """What is known of each product; the caller keeps it up to date."""
    calls: Sequence[str]
    """The endpoint of each request so far; it grows."""
    plans: Mapping[str, WindowPlanner] = field(default_factory=dict)
    """The windows of each product, once they are known."""
    late: Mapping[str, LateEvents] = field(default_factory=dict)
    exports: Exporter | None = None
    """Where the files of the sync come from."""

    def __post_init__(self) -> None:
        """Begin with nothing done."""
        self.results = {product: ProductResult() for product in self.states}
        self._began = time.monotonic()
        self._share = 0.0
        self._bytes = 0
        self._seconds_writing = 0.0
        self._shown = ExitStack()
        self._bar: Any = None

    @property
    def _total(self) -> int:
        """The time that the sync covers over all products, in milliseconds."""
        return sum(plan.span.size for plan in self.plans.values())

    @property
    def failed(self) -> dict[str, Exception]:
        """The products that failed, and why."""
        return {product: r.error for product, r in self.results.items() if r.error}

    def __enter__(self) -> Self:
        """Keep metrics from a terminal."""
        if sys.stderr.isatty() and "SINGER_SDK_LOG_CONFIG" not in os.environ:
            metrics.get_metrics_logger().setLevel("WARNING")  # metrics are for programs
        return self

    def begin(
        self,
        plans: Mapping[str, WindowPlanner],
        late: Mapping[str, LateEvents],
        exports: Exporter,
    ) -> None:
        """Take what the sync covers; show the bar, if there is a terminal."""
        self.plans, self.late, self.exports = plans, late, exports
        if sys.stderr.isatty() and self._total:
            self._show_bar()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Remove the bar, and log what the sync did."""
        self._shown.close()
        for endpoint, count in Counter(self.calls).items():
            tags = {metrics.Tag.ENDPOINT: endpoint}
            self._log_metric(metrics.Metric.HTTP_REQUEST_COUNT, count, tags)
        for product in self.states:
            self._warn(product)
        self._summarise(succeeded=kind is None)

    def finished(self, export: Export, contents: FileContents, seconds: float) -> None:
        """Log that a window is finished: its events are written, its bookmark moved.

        Args:
            export: The window's export.
            contents: What its file held.
            seconds: From the start of writing its file until its bookmark moved.
        """
        result = self.results[export.product]
        result.windows += 1
        result.milliseconds += export.window.size
        result.events += contents.events
        result.again += contents.again
        result.outside += contents.outside
        result.impossible += contents.impossible
        result.unknown_types += contents.unknown_types
        self.late[export.product].read(export.window, contents.events_by_hour)
        self._bytes += export.size
        self._seconds_writing += seconds
        events, events_left = self._sum("events"), None
        if self.exports:
            events_left = self.exports.events_left
        share = self._sum("milliseconds") / self._total
        is_last = share >= 1
        if events_left is not None and events:
            share = events / (events + events_left)
        # The forecast can grow while events are read; what is shown never goes back.
        share = self._share = max(share, self._share)
        elapsed = time.monotonic() - self._began
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

    def _sum(self, name: str) -> int:
        return sum(getattr(result, name) for result in self.results.values())

    def _numbers(self, product: str) -> dict[str, Any]:
        """Return what became of a product."""
        result, state, late = self.results[product], self.states[product], self.late.get(product)
        jobs = self.exports.job_counts[product] if self.exports else JobCounts()
        plan, status = self.plans.get(product), "stopped" if result.windows else "not reached"
        if result.error:
            status = "failed"
        elif plan and result.milliseconds >= plan.span.size:
            status = "complete"
        late_events = late.by_hour.total() if late else 0
        return {
            "status": status,
            "bookmark": None if state.bookmark is None else to_iso(state.bookmark),
            "new_events": result.events - result.again + late_events,
            "events_read_again": result.again - late_events,
            "late_events": late_events,
            "rows_dropped": result.outside.rows,
            "jobs": jobs.started + jobs.taken_over,
        }

    def _summarise(self, *, succeeded: bool) -> None:
        """Log what the sync did: as metrics, and as the closing line."""
        jobs = self.exports.job_counts.values() if self.exports else ()
        large, failed, taken_over = (
            sum(getattr(counts, name) for counts in jobs)
            for name in ("too_large", "failed", "taken_over")
        )
        products = {product: self._numbers(product) for product in self.states}
        names = ("new_events", "events_read_again", "late_events", "rows_dropped", "jobs")
        sums = {name: sum(numbers[name] for numbers in products.values()) for name in names}
        waited = self.exports.seconds_waited if self.exports else 0.0
        outside = sum((result.outside for result in self.results.values()), Dropped())
        tags: dict[str, Any] = sums | {
            "late_hours": max((late.hours for late in self.late.values()), default=0),
            "windows": self._sum("windows"),
            "jobs_too_large": large,
            "jobs_failed": failed,
            "jobs_taken_over": taken_over,
            "bytes": self._bytes,
            "seconds_waited": round(waited, 3),
            "seconds_writing": round(self._seconds_writing, 3),
            "failed": [*self.failed],
            "products": products,
        }
        ends = [
            f"{self._bytes / 1e6:,.2f} MB",
            f"waited {duration(waited)} for jobs, wrote for {duration(self._seconds_writing)}",
        ]
        if outside.rows:
            first, last = outside.between
            tags |= {"dropped_from": first, "dropped_to": last}
            rows = counted(outside.rows, "row")
            ends.append(f"dropped {rows} outside their windows, from {first} to {last}")
        if sums["late_events"]:
            late = counted(sums["late_events"], "late event")
            ends.append(f"{late}, up to {tags['late_hours']} h after they occurred")
        for product, result in self.results.items():
            context = {"customer": self.customer, "product": product}
            self._log_metric(
                metrics.Metric.RECORD_COUNT, result.events, {metrics.Tag.CONTEXT: context}
            )
        status = {metrics.Tag.STATUS: "succeeded" if succeeded else "failed"}
        seconds = round(time.monotonic() - self._began, 3)
        self._log_metric(metrics.Metric.SYNC_DURATION, seconds, status, "timer")
        events = self._sum("events")
        self._log_metric(cast("metrics.Metric", Metric.SUMMARY), events, status | tags)
        again = sums["events_read_again"]
        self.logger.info(
            "%s: sync %s · %s%s in %s · %s (%s too large, %s failed, %s taken over from an earlier "
            "run) · %s · %s",
            self.customer,
            "complete" if succeeded else "failed" if self.failed else "stopped early",
            counted(events, "event"),
            f" ({sums['new_events']:,} new, {again:,} read again)" if again else "",
            counted(tags["windows"], "window"),
            counted(sums["jobs"], "export job"),
            f"{large:,}",
            f"{failed:,}",
            f"{taken_over:,}",
            " · ".join(ends),
            "; ".join(_of_product(product, numbers) for product, numbers in products.items()),
        )

    def _warn(self, product: str) -> None:
        """Log what is unusual about a product."""
        result, late, plan = self.results[product], self.late.get(product), self.plans.get(product)
        where = f"{self.customer}/{product}"
        if result.impossible.rows:
            self.logger.warning(
                "%s: %s dropped because no sync extracts them: they are before start_date or later "
                "than now, between %s and %s; ask Barchart's support",
                where,
                counted(result.impossible.rows, "row"),
                *result.impossible.between,
            )
        if result.unknown_types:
            self.logger.warning(
                "%s: %s of types that this version of the tap does not know",
                where,
                counted(result.unknown_types, "event"),
            )
        if late and late.reaches_the_lookback:
            self.logger.warning(
                "%s: events arrive later than lookback_hours reaches; raise it to lose none",
                where,
            )
        if plan and plan.expected >= MIN_EXPECTED and plan.seen < SILENT_SHARE * plan.expected:
            self.logger.warning(
                "%s: %s, about %s expected",
                where,
                counted(plan.seen, "event"),
                f"{plan.expected:,.0f}",
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


def _of_product(product: str, numbers: Mapping[str, Any]) -> str:
    """Return what became of a product, in words."""
    until = f" until {numbers['bookmark']}" if numbers["bookmark"] else ""
    return f"{product} {numbers['status']}{until}, {counted(numbers['new_events'], 'new event')}"


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
