"""Progress of a sync: a log line for each window, one at the end, metrics, and a bar."""

import enum
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast

from singer_sdk import metrics

from tap_barchart_events.exports.exporter import Exporter
from tap_barchart_events.exports.jobs import Export
from tap_barchart_events.exports.planner import FIRST_SIZE, WindowPlanner
from tap_barchart_events.files.check import Dropped, FileContents
from tap_barchart_events.late import LateEvents
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.schema import STREAM
from tap_barchart_events.state import ProductState
from tap_barchart_events.windows import to_iso

Metric = enum.Enum("Metric", {"SUMMARY": "sync_summary"})
"""The tap's own metric, beside those of the SDK: the events of a sync; its tags hold the other
numbers of the closing line."""

SILENT_SHARE = 0.2
"""Share of the expected events below which a product counts as silent."""

MIN_EXPECTED = 50
"""Fewer expected events show nothing."""

MIN_SHARE = 0.2
"""Share of a sync from which the time left is shown. In first syncs of a minute it was up to five
times too long before, and about twice at this share: the first jobs find the size of windows."""


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
        self.failed: dict[str, Exception] = {}
        """The products that failed, and why."""
        self._sums: dict[str, Counter[str]] = {product: Counter() for product in self.states}
        self._outside, self._impossible = Dropped(), dict.fromkeys(self.states, Dropped())
        self._began = time.monotonic()
        self._share = self._seconds_writing = 0.0
        self._shown = ExitStack()
        self._bar: Any = None

    def __enter__(self) -> None:
        """Keep metrics from a terminal, and those of the SDK from the log of Meltano."""
        metrics_log = metrics.get_metrics_logger()
        if at_terminal():
            metrics_log.setLevel("WARNING")  # metrics are for programs
        elif "MELTANO_PROJECT_ROOT" in os.environ and not metrics_log.isEnabledFor(logging.DEBUG):
            metrics_log.addFilter(metrics.MetricExclusionFilter(metrics=[*metrics.Metric]))

    def begin(self, exports: Exporter, late: Mapping[str, LateEvents]) -> None:
        """Take what the sync covers; show the bar, if there is a terminal."""
        self.exports, self.plans, self.late = exports, exports.scheduler.plans, late
        plans = [plan for plan in self.plans.values() if plan.span.size]
        if any(plan.largest > FIRST_SIZE and not plan.known.fits for plan in plans):
            self.logger.info("%s: finding the export size that the service accepts", self.customer)
        if plans and sys.stderr.isatty():
            # Imported here: a pipeline without a terminal does not need it.
            from tqdm import tqdm
            from tqdm.contrib.logging import logging_redirect_tqdm

            form = "{desc} {percentage:3.0f}%|{bar}| {elapsed}{postfix}"
            self._shown.enter_context(logging_redirect_tqdm())
            bar = tqdm(total=1, desc=self.customer, bar_format=form)
            self._bar = self._shown.enter_context(bar)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Remove the bar, and log what the sync did."""
        self._shown.close()
        for endpoint, count in Counter(self.calls).items():
            tags = {metrics.Tag.ENDPOINT: endpoint}
            self._log_metric(metrics.Metric.HTTP_REQUEST_COUNT, count, tags)
        for product, sums in self._sums.items():
            context = {metrics.Tag.CONTEXT: {"customer": self.customer, "product": product}}
            self._log_metric(metrics.Metric.RECORD_COUNT, sums["events"], context)
            for warning in self._warnings(product):
                self.logger.warning("%s/%s: %s", self.customer, product, warning)
        if late := [p for p, one in self.late.items() if one.reaches_the_lookback]:
            text = "%s/%s: events arrive later than lookback_hours reaches; raise it to lose none"
            self.logger.warning(text, self.customer, ", ".join(late))
        self._summarise(succeeded=kind is None)

    def count(self, export: Export, contents: FileContents) -> None:
        """Count a window whose events are written."""
        self.late[export.product].read(export.window, contents.events_by_hour)
        self._sums[export.product].update(
            windows=1,
            milliseconds=export.window.size,
            bytes=export.size,
            events=contents.events,
            again=contents.again,
            dropped=contents.outside.rows,
            impossible=contents.impossible.rows,
            unknown_types=contents.unknown_types,
        )
        self._outside += contents.outside
        self._impossible[export.product] += contents.impossible

    def finished(self, export: Export, contents: FileContents, seconds: float) -> None:
        """Log that a window is finished: its events are written, its bookmark moved.

        Args:
            export: The window's export.
            contents: What its file held.
            seconds: From the start of writing its file until its bookmark moved.
        """
        self._seconds_writing += seconds
        events = self._sum("events")
        events_left = self.exports.events_left if self.exports else None
        share = self._sum("milliseconds") / sum(plan.span.size for plan in self.plans.values())
        is_last = share >= 1
        if events_left is not None and events:
            share = events / (events + events_left)
        # The forecast can grow while events are read; what is shown never goes back.
        share = self._share = max(share, self._share)
        left = ", done" if is_last else time_left(time.monotonic() - self._began, share)
        self.logger.info(
            "%s/%s %s · %s · job %s, download %s%s",
            self.customer,
            export.product,
            export.window,
            counted(contents.events, "event"),
            duration(export.job_seconds),
            duration(export.download_seconds),
            "" if self._bar else f" · {100 * share:.0f} %{left}",
        )
        if self._bar is not None:
            self._bar.set_postfix_str(f"{counted(events, 'event')}{left}", refresh=False)
            self._bar.n = round(share, 4)
            self._bar.refresh()

    def _sum(self, name: str) -> int:
        return sum(sums[name] for sums in self._sums.values())

    def _numbers(self, product: str) -> dict[str, Any]:
        """Return what became of a product."""
        sums, plan, late = self._sums[product], self.plans.get(product), self.late.get(product)
        jobs = self.exports.scheduler.job_counts[product] if self.exports else Counter[str]()
        bookmark, late_events = self.states[product].bookmark, late.by_hour.total() if late else 0
        status = "stopped" if sums["windows"] else "not reached"
        if jobs["windows_failed"]:
            status = "failed"
        elif plan and sums["milliseconds"] >= plan.span.size:
            status = "complete"
        return {
            "status": status,
            "bookmark": None if bookmark is None else to_iso(bookmark),
            "new_events": sums["events"] - sums["again"] + late_events,
            "events_read_again": sums["again"] - late_events,
            "late_events": late_events,
            "rows_dropped": sums["dropped"],
            "windows": sums["windows"],
            "jobs": jobs["started"] + jobs["resumed"],
            "jobs_too_large": jobs["too_large"],
            "jobs_failed": jobs["failed"],
            "jobs_resumed": jobs["resumed"],
            "bytes": sums["bytes"],
        }

    def _summarise(self, *, succeeded: bool) -> None:
        """Log what the sync did, as metrics and as the closing line."""
        products = {product: self._numbers(product) for product in self.states}
        names = [*next(iter(products.values()))][2:]
        sums = {name: sum(numbers[name] for numbers in products.values()) for name in names}
        status = {metrics.Tag.STATUS: "succeeded" if succeeded else "failed"}
        tags: dict[Any, Any] = {
            **status,
            **sums,
            "late_hours": max((late.hours for late in self.late.values()), default=0),
            "seconds_waited": round(self.exports.seconds_waited if self.exports else 0.0, 3),
            "seconds_writing": round(self._seconds_writing, 3),
            "failed": [p for p, numbers in products.items() if numbers["status"] == "failed"],
            "products": products,
        }
        if self._outside.rows:
            tags["dropped_from"], tags["dropped_to"] = self._outside.between
        seconds = round(time.monotonic() - self._began, 3)
        self._log_metric(metrics.Metric.SYNC_DURATION, seconds, status, "timer")
        self._log_metric(cast("metrics.Metric", Metric.SUMMARY), self._sum("events"), tags)
        ends = "complete" if succeeded else "failed" if self.failed else "stopped early"
        self.logger.info("%s: sync %s · %s", self.customer, ends, self._closing_line(tags))

    def _closing_line(self, tags: Mapping[Any, Any]) -> str:
        """Return the numbers of the metric in words."""
        new, again, late = tags["new_events"], tags["events_read_again"], tags["late_events"]
        of_these = f" ({new:,} new, {again:,} read again)" if again else ""
        waited, wrote = (duration(tags[name]) for name in ("seconds_waited", "seconds_writing"))
        each = [_of_product(product, numbers) for product, numbers in tags["products"].items()]
        events, windows = counted(self._sum("events"), "event"), counted(tags["windows"], "window")
        some = "{jobs_too_large:,} too large, {jobs_failed:,} failed, {jobs_resumed:,} resumed"
        parts = [
            f"{events}{of_these} in {windows}",
            f"{counted(tags['jobs'], 'export job')} ({some.format_map(tags)} from an earlier run)",
            f"{tags['bytes'] / 1e6:,.2f} MB",
            f"waited {waited} for jobs, wrote for {wrote}",
        ]
        if tags["rows_dropped"]:
            rows = counted(tags["rows_dropped"], "row")
            between = f"from {tags['dropped_from']} to {tags['dropped_to']}"
            parts.append(f"dropped {rows} outside their windows, {between}")
        if late:
            hours = tags["late_hours"]
            parts.append(f"{counted(late, 'late event')}, up to {hours} h after they occurred")
        if at_terminal():
            return "\n  ".join([*parts, *each])
        return " · ".join([*parts, "; ".join(each)])

    def _warnings(self, product: str) -> Iterator[str]:
        """Yield what is unusual about a product."""
        sums, plan = self._sums[product], self.plans.get(product)
        if sums["impossible"]:
            first, last = self._impossible[product].between
            yield (
                f"dropped {counted(sums['impossible'], 'row')} that no sync extracts, before "
                f"start_date or in the future, from {first} to {last}; contact Barchart support"
            )
        if sums["unknown_types"] and product in PRODUCTS:
            events = counted(sums["unknown_types"], "event")
            yield f"{events} of types that this version of the tap does not know"
        if plan and plan.expected >= MIN_EXPECTED and plan.seen < SILENT_SHARE * plan.expected:
            yield f"{counted(plan.seen, 'event')}, about {plan.expected:,.0f} expected"

    def _log_metric(
        self, metric: metrics.Metric, value: float, tags: dict[Any, Any], kind: str = "counter"
    ) -> None:
        tags = {metrics.Tag.STREAM: STREAM, **tags}
        metrics.log(metrics.get_metrics_logger(), metrics.Point(kind, metric, value, tags))


def at_terminal() -> bool:
    """Return whether the log goes to a terminal, in a form that the user has not set."""
    return sys.stderr.isatty() and "SINGER_SDK_LOG_CONFIG" not in os.environ


def _of_product(product: str, numbers: Mapping[str, Any]) -> str:
    """Return what became of a product, in words."""
    bookmark = f", bookmark {numbers['bookmark']}" if numbers["bookmark"] else ""
    return f"{product} {numbers['status']}{bookmark}, {counted(numbers['new_events'], 'new event')}"


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


def time_left(elapsed: float, share: float) -> str:
    """Return the time left, e.g. ``, about 12 min left``; nothing before it is worth something."""
    if share < MIN_SHARE:
        return ""
    seconds = elapsed / share - elapsed
    return ", less than a second left" if seconds < 0.1 else f", about {duration(seconds)} left"
