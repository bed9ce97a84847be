"""One sync: what it covers, and what it holds open, as the settings say."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tap_barchart_events.api.client import ReportsClient
from tap_barchart_events.exports.exporter import Exporter
from tap_barchart_events.exports.jobs import Export, JobPolicy
from tap_barchart_events.exports.planner import Knowledge, WindowPlanner
from tap_barchart_events.exports.saved_jobs import Request, SavedJob
from tap_barchart_events.files.export_file import ExportFile
from tap_barchart_events.late import LateEvents
from tap_barchart_events.progress import Progress
from tap_barchart_events.settings import Settings
from tap_barchart_events.state import ProductState
from tap_barchart_events.windows import EARLIEST, HOUR, Window, cut_unit, to_iso

TEST_HOURS = (1, 24, 168, 744)
"""A connection test exports these hours before the end of a sync, as long as they are empty."""

CLOCK_TOLERANCE = 60_000
"""Milliseconds by which the clocks of service and machine may differ without a warning."""


@dataclass(frozen=True, slots=True)
class Sync:
    """What one sync holds open."""

    coverage: Coverage
    client: ReportsClient
    plans: Mapping[str, WindowPlanner]
    late: Mapping[str, LateEvents]
    exports: Exporter
    progress: Progress

    def begin(self) -> None:
        """If the service's time is unknown, bound all ranges by the answer to a first start."""
        if self.client.clock_offset is None:
            self.exports.start_first()
            self.exports.end_at(self.coverage.latest(_now(self.client, self.coverage.logger)))

    def with_jobs_and_sizes(self, product: str, state: ProductState) -> ProductState:
        """Return a product's state with the jobs under way and what was learnt so far."""
        learnt = self.plans[product].known.to_json()
        next_start = (state.bookmark or 0) - self.coverage.settings.lookback
        if counts := self.late[product].to_text(next_start):
            learnt["counts"] = counts
        return replace(
            state,
            jobs=[job.to_json() for job in self.exports.jobs(product)],
            learnt={"types": self.coverage.request.fingerprint(), **learnt} if learnt else {},
        )


@contextmanager
def open_sync(
    settings: Settings,
    states: Mapping[str, ProductState],
    *,
    folder: Path,
    open_file: Callable[[Export], ExportFile],
    logger: logging.Logger,
    policy: JobPolicy,
) -> Iterator[Sync]:
    """Check the credentials, determine what to export, and open the sync.

    Args:
        settings: The settings.
        states: What STATE holds for each product, in the order in which they will be read; the
            caller keeps them up to date.
        folder: An existing private folder.
        open_file: Returns the downloaded file of an export, unread.
        logger: Where progress goes.
        policy: When jobs are replaced, and how calls are retried; settings replace part of it.
    """
    stopped, calls = threading.Event(), list[str]()
    coverage, policy = Coverage(settings, states, logger), _as_set(policy, settings)
    client = _client(settings, policy, stopped, calls.append)
    with Progress(logger, settings.customer, states, calls) as progress, closing(client):
        client.authenticate(is_first_sync=all(s.bookmark is None for s in states.values()))
        spans = coverage.spans(_now(client, logger))
        plans, late = coverage.plans(spans), coverage.late(spans)
        exports = Exporter(client, plans, coverage.request, policy, folder, stopped, open_file)
        progress.begin(plans, late, exports)
        with closing(exports):
            for product, job in coverage.jobs(spans, int(client.now)):
                exports.take_over(product, job)
            yield Sync(coverage, client, plans, late, exports, progress)


def export_newest(
    settings: Settings,
    states: Mapping[str, ProductState],
    *,
    folder: Path,
    open_file: Callable[[Export], ExportFile],
    logger: logging.Logger,
    policy: JobPolicy,
) -> Iterator[Export]:
    """Log what a sync would cover; yield an export of the newest events of each product.

    Args:
        settings: The settings.
        states: What STATE holds for each product.
        folder: An existing private folder.
        open_file: Returns the downloaded file of an export, unread.
        logger: Where progress goes.
        policy: When jobs are replaced, and how calls are retried; settings replace part of it.
    """
    coverage, policy = Coverage(settings, states, logger), _as_set(policy, settings)
    client = _client(settings, policy, threading.Event())
    with closing(client):
        if client.authenticate():
            logger.info("%s accepts the credentials", settings.api_url)
        spans = coverage.spans(_now(client, logger))
    coverage.log(spans)
    left = {product: span for product, span in spans.items() if span.size}
    for hours in TEST_HOURS:
        plans = {}
        for product, span in left.items():
            size = min(hours * HOUR, settings.largest_window)
            part = Window(max(span.start, span.end - size), span.end)
            plans[product] = WindowPlanner(part, largest=part.size, smallest=part.size)
        if not plans:
            return
        stopped = threading.Event()
        client = _client(settings, policy, stopped)
        exports = Exporter(client, plans, coverage.request, policy, folder, stopped, open_file)
        with closing(client), closing(exports):
            for product, plan in plans.items():
                for export in exports.of(product):
                    is_empty = export.file and not export.file.contents.rows
                    is_last = hours == TEST_HOURS[-1] or plan.span == spans[product]
                    if is_last or not is_empty:
                        del left[product]
                        yield export
                    if export.file:
                        exports.emitted(export)


def _client(
    settings: Settings,
    policy: JobPolicy,
    stopped: threading.Event,
    on_request: Callable[[str], None] | None = None,
) -> ReportsClient:
    return ReportsClient(
        settings.api_url,
        settings.username,
        settings.password,
        stopped=stopped,
        timeout=settings.request_timeout_seconds,
        retry=policy.starts,
        on_request=on_request,
    )


def _as_set(policy: JobPolicy, settings: Settings) -> JobPolicy:
    """Return a policy with the values of the settings."""
    return replace(
        policy,
        max_concurrent_jobs=settings.max_concurrent_jobs,
        job_timeout=settings.job_timeout_minutes * 60,
        poll_interval=settings.poll_interval_seconds,
        starts=replace(policy.starts, attempts=1 + settings.max_retries),
    )


@dataclass(slots=True, eq=False)
class Coverage:
    """What a sync covers for each product, as the settings and STATE say."""

    settings: Settings
    states: Mapping[str, ProductState]
    logger: logging.Logger
    request: Request = field(init=False)
    known: dict[str, Knowledge] = field(init=False)
    """The sizes that earlier runs with the same request learnt, by product."""

    def __post_init__(self) -> None:
        """Read what was learnt."""
        settings = self.settings
        self.request = Request(settings.customer, settings.event_types, settings.delimiter)
        self.known = {
            product: Knowledge.from_json(state.learnt)
            for product, state in self.states.items()
            if state.learnt.get("types") == self.request.fingerprint()
        }

    def latest(self, now: int) -> int:
        """Return the instant up to which all is complete: now minus the lag."""
        unit = cut_unit(self.settings.smallest_window)
        return max((now - self.settings.lag) // unit * unit, EARLIEST)

    def spans(self, now: int) -> dict[str, Window]:
        """Return the range of each product; log empty ranges, and bookmarks after now."""
        settings, spans = self.settings, {}
        end = self.latest(now)
        if settings.end_date is not None:
            end = min(end, settings.end_date)
        for product, state in self.states.items():
            where, bookmark = f"{settings.customer}/{product}", state.bookmark
            start = settings.start_date
            if bookmark is not None:
                start = max(start, bookmark - settings.lookback)
                if bookmark > now:
                    self.logger.warning(
                        "%s: the bookmark, %s, is later than now, %s, so events before it may "
                        "never have been extracted; set it back in STATE (docs/operations.md)",
                        where,
                        to_iso(bookmark),
                        to_iso(now),
                    )
            spans[product] = Window(start, max(start, end))
            if start >= end:
                self.logger.info(
                    "%s: nothing to export: the sync would begin at %s, and end at %s (the earlier "
                    "of end_date and now minus lag_minutes)",
                    where,
                    to_iso(start),
                    to_iso(end),
                )
        return spans

    def log(self, spans: Mapping[str, Window]) -> None:
        """Log what a sync would cover."""
        for product, span in spans.items():
            if span.size:
                self.logger.info(
                    "%s/%s: a sync would cover %s, with %s",
                    self.settings.customer,
                    product,
                    span,
                    "the sizes that earlier runs learnt"
                    if product in self.known
                    else "no sizes learnt so far",
                )

    def plans(self, spans: Mapping[str, Window]) -> dict[str, WindowPlanner]:
        """Return the windows of each product; a new product starts with the capacity of another."""
        settings = self.settings
        other = next((one for one in self.known.values() if one.fits), Knowledge())
        return {
            product: WindowPlanner(
                span,
                largest=settings.largest_window,
                smallest=settings.smallest_window,
                known=self.known.get(product) or Knowledge(other.fits, other.limit),
                bookmark=self.states[product].bookmark,
                jobs=settings.max_concurrent_jobs,
            )
            for product, span in spans.items()
        }

    def late(self, spans: Mapping[str, Window]) -> dict[str, LateEvents]:
        """Return what counts the late events of each product."""
        return {
            product: LateEvents(
                span.start,
                self.states[product].bookmark,
                LateEvents.counts_in(self.states[product].learnt.get("counts"))
                if product in self.known
                else {},
            )
            for product, span in spans.items()
        }

    def jobs(self, spans: Mapping[str, Window], now: int) -> Iterator[tuple[str, SavedJob]]:
        """Yield the jobs of an earlier run that lack no event, with their products."""
        lag, lookback = self.settings.lag, self.settings.lookback
        for product, state in self.states.items():
            for job in map(SavedJob.from_json, state.jobs):
                if job and job.is_usable(self.request, product, spans[product], now, lag, lookback):
                    yield product, job


def _now(client: ReportsClient, logger: logging.Logger) -> int:
    """Return the present time: the service's if it is behind this machine's."""
    machine = round(time.time() * 1000)
    service = machine + round((client.clock_offset or 0.0) * 1000)
    if abs(service - machine) > CLOCK_TOLERANCE:
        logger.warning(
            "the clocks differ: this machine's shows %s, the service's %s; the sync ends at the "
            "earlier of the two; set this machine's clock",
            to_iso(machine),
            to_iso(service),
        )
    return min(machine, service)
