"""One sync: what it covers, and what it holds open, as the settings say."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from tap_barchart_events.api.client import ReportsClient
from tap_barchart_events.exports.exporter import Exporter
from tap_barchart_events.exports.jobs import Export, JobPolicy, Scheduler
from tap_barchart_events.exports.planner import Knowledge, WindowPlanner
from tap_barchart_events.exports.saved_jobs import Request, SavedJob
from tap_barchart_events.files.export_file import ExportFile
from tap_barchart_events.late import LateEvents
from tap_barchart_events.progress import Progress
from tap_barchart_events.settings import Settings
from tap_barchart_events.state import ProductState
from tap_barchart_events.windows import EARLIEST, HOUR, Window, cut_before, to_iso

TEST_HOURS = (1, 24, 168, 744)
"""A connection test exports these hours before the end of a sync, as long as they are empty,
whatever ``window_hours`` says."""

CLOCK_TOLERANCE = 60_000
"""Milliseconds by which the clocks of service and machine may differ without a warning."""


@dataclass(frozen=True, slots=True)
class Sync:
    """What one sync holds open."""

    coverage: Coverage
    client: ReportsClient
    exports: Exporter
    progress: Progress

    def begin(self) -> None:
        """If the service's time is unknown, bound all ranges by the answer to a first start."""
        if self.client.clock_offset is None:
            self.exports.start_first()
            self.exports.end_at(self.coverage.latest(_now(self.client, self.coverage.logger)))

    def with_jobs_and_sizes(self, product: str, state: ProductState) -> ProductState:
        """Return a product's state with the jobs under way and what was learnt so far."""
        learnt = self.progress.plans[product].known.to_json()
        next_start = (state.bookmark or 0) - self.coverage.settings.lookback
        if counts := self.progress.late[product].to_text(next_start):
            learnt["counts"] = counts
        return replace(
            state,
            jobs=[job.to_json() for job in self.exports.jobs(product)],
            learnt={"types": self.coverage.request.fingerprint(), **learnt} if learnt else {},
        )


@contextmanager
def open_sync(coverage: Coverage) -> Iterator[Sync]:
    """Check the credentials, determine what to export, and open the sync."""
    client, logger, states = coverage.client(), coverage.logger, coverage.states
    progress = Progress(logger, coverage.settings.customer, states, client.calls)
    with progress, closing(client):
        if new := [product for product, state in states.items() if state.bookmark is None]:
            text = "%s: no bookmark of %s in STATE, so the sync begins at start_date"
            logger.info(text, coverage.settings.customer, ", ".join(new))
        client.authenticate(is_first_sync=len(new) == len(states))
        spans = coverage.spans(_now(client, logger))
        exports = coverage.exports(client, coverage.plans(spans))
        progress.begin(exports, coverage.late(spans))
        with closing(exports):
            for product, job in coverage.jobs(spans, int(client.now)):
                exports.resume(product, job)
            yield Sync(coverage, client, exports, progress)


def export_newest(coverage: Coverage) -> Iterator[Export]:
    """Log what a sync would cover; yield an export of the newest events of each product."""
    with closing(coverage.client()) as client:
        if client.authenticate():
            coverage.logger.info("%s accepts the credentials", client.api_url)
        spans = coverage.spans(_now(client, coverage.logger))
    left = {product: span for product, span in spans.items() if span.size}
    for product, span in left.items():
        sizes = "window sizes" if coverage.known[product].fits else "no window sizes"
        text = "%s/%s: a sync would cover %s, with %s learnt so far"
        coverage.logger.info(text, coverage.settings.customer, product, span, sizes)
    for hours in takewhile(lambda _: left, TEST_HOURS):
        plans = {}
        for product, span in left.items():
            part = Window(max(span.start, span.end - hours * HOUR), span.end)
            plans[product] = WindowPlanner(part, largest=part.size, smallest=part.size)
        with (
            closing(coverage.client()) as client,
            closing(coverage.exports(client, plans)) as exports,
        ):
            for product, export in ((p, e) for p in plans for e in exports.of(p)):
                is_empty = export.file and not export.file.contents.rows
                is_last = hours == TEST_HOURS[-1] or plans[product].span.size < hours * HOUR
                if is_last or not is_empty:
                    del left[product]
                    yield export
                if export.file:
                    exports.emitted(export)


@dataclass(slots=True, eq=False)
class Coverage:
    """What a sync covers for each product, and what it works with, as settings and STATE say."""

    settings: Settings
    states: Mapping[str, ProductState]
    """What STATE holds for each product, in the order in which they will be read; the caller keeps
    it up to date."""
    folder: Path
    """An existing private folder."""
    open_file: Callable[[Export], ExportFile]
    """Returns the downloaded file of an export, unread."""
    logger: logging.Logger
    policy: JobPolicy
    """When jobs are replaced, and how calls are retried; settings replace part of it."""
    request: Request = field(init=False)
    learnt: dict[str, Mapping[str, Any]] = field(init=False)
    """What earlier runs with the same request have learnt of each product, as in STATE."""
    known: dict[str, Knowledge] = field(init=False)
    """The sizes among it."""

    def __post_init__(self) -> None:
        """Read what was learnt."""
        settings, states = self.settings, self.states
        self.policy = replace(
            self.policy,
            max_concurrent_jobs=settings.max_concurrent_jobs,
            job_timeout=settings.job_timeout_minutes * 60,
            poll_interval=settings.poll_interval_seconds,
            starts=replace(self.policy.starts, attempts=1 + settings.max_retries),
        )
        self.request = Request(settings.customer, settings.event_types, settings.delimiter)
        types = self.request.fingerprint()
        self.learnt = {
            p: s.learnt if s.learnt.get("types") == types else {} for p, s in states.items()
        }
        self.known = {p: Knowledge.from_json(learnt) for p, learnt in self.learnt.items()}

    def client(self) -> ReportsClient:
        """Return a client of the service."""
        settings = self.settings
        return ReportsClient(
            settings.api_url,
            settings.username,
            settings.password,
            timeout=settings.request_timeout_seconds,
            retry=self.policy.starts,
        )

    def exports(self, client: ReportsClient, plans: Mapping[str, WindowPlanner]) -> Exporter:
        """Return what exports windows."""
        unix_time = client.now - time.monotonic()
        scheduler = Scheduler(plans, self.request, self.policy, self.folder, unix_time)
        return Exporter(client, scheduler, self.open_file)

    def latest(self, now: int) -> int:
        """Return the instant up to which all is complete: now minus the lag."""
        lag, smallest = self.settings.lag, self.settings.smallest_window
        return max(cut_before(now - lag, lag, smallest), EARLIEST)

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

    def plans(self, spans: Mapping[str, Window]) -> dict[str, WindowPlanner]:
        """Return the windows of each product; a new product starts with the capacity of another."""
        settings, own = self.settings, self.known
        other = next((one for one in own.values() if one.fits), Knowledge())
        return {
            product: WindowPlanner(
                span,
                largest=settings.largest_window,
                smallest=settings.smallest_window,
                known=own[product] if own[product].fits else Knowledge(other.fits, other.limit),
                bookmark=self.states[product].bookmark,
                jobs=settings.max_concurrent_jobs,
            )
            for product, span in spans.items()
        }

    def late(self, spans: Mapping[str, Window]) -> dict[str, LateEvents]:
        """Return what counts the late events of each product."""
        late = {}
        for product, span in spans.items():
            counts = LateEvents.counts_in(self.learnt[product].get("counts"))
            late[product] = LateEvents(span.start, self.states[product].bookmark, counts)
        return late

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
