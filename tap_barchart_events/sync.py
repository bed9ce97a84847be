"""One sync: what it covers, and what it holds open, as the settings say."""

from __future__ import annotations

import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tap_barchart_events.api.client import ReportsClient
from tap_barchart_events.exports.export import Limits
from tap_barchart_events.exports.exporter import Exporter
from tap_barchart_events.exports.first_start import first_job
from tap_barchart_events.exports.jobs import WINDOWS_PER_JOB
from tap_barchart_events.exports.planner import Knowledge, WindowPlanner
from tap_barchart_events.exports.ranges import range_to_cover
from tap_barchart_events.exports.saved_jobs import Request, usable_jobs
from tap_barchart_events.progress import Progress, counted, hours
from tap_barchart_events.windows import EARLIEST, HOUR, Window, cut_unit, to_iso

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tap_barchart_events.api.http import RetryPolicy
    from tap_barchart_events.config.settings import Settings
    from tap_barchart_events.exports.export import JobRetryPolicy
    from tap_barchart_events.exports.exporter import OpenFile
    from tap_barchart_events.exports.saved_jobs import SavedJob
    from tap_barchart_events.state import ProductState

LONGEST_TEST = HOUR
"""Milliseconds that a connection test reads at most."""

CLOCK_TOLERANCE = 60_000
"""Milliseconds by which the clocks of service and machine may differ without a warning."""

CONNECTION_TEST_TIMEOUT = 10
"""Seconds within which the last try of a call begins in a connection test."""


@dataclass(frozen=True, slots=True)
class Sync:
    """What one sync holds open."""

    ranges: Mapping[str, Window]
    """What the sync covers of each product, possibly empty."""

    exports: Exporter
    progress: Progress

    request: Request
    """What all exports of the sync have in common."""

    def with_jobs_and_sizes(self, product: str, state: ProductState) -> ProductState:
        """Return a product's state with the jobs under way and what was learnt by now."""
        learnt = self.exports.learnt(product)
        return replace(
            state,
            jobs=[job.to_json() for job in self.exports.jobs(product)],
            learnt={"types": self.request.fingerprint(), **learnt} if learnt else {},
        )


@contextmanager
def open_sync(
    settings: Settings,
    states: Mapping[str, ProductState],
    *,
    folder: Path,
    open_file: OpenFile,
    stream: str,
    logger: logging.Logger,
    retry: RetryPolicy,
    job_retry: JobRetryPolicy,
    is_connection_test: bool = False,
) -> Iterator[Sync]:
    """Check the credentials, determine what to export, and open the sync.

    Args:
        settings: The settings.
        states: What STATE holds of each product, in the order in which they will be read.
        folder: An existing private folder.
        open_file: Returns the downloaded file of an export, unread.
        stream: Name of the stream, for metrics.
        logger: Where progress goes.
        retry: How calls are retried; the setting ``max_retries`` replaces ``attempts``.
        job_retry: When a job that failed is replaced by a new one; ``retry`` replaces ``starts``.
        is_connection_test: Whether one event is enough.
    """
    stopped = threading.Event()
    if is_connection_test:
        retry = replace(retry, timeout=CONNECTION_TEST_TIMEOUT)
    progress = Progress(
        logger, customer=settings.customer, stream=stream, is_connection_test=is_connection_test
    )
    retry = replace(retry, attempts=1 + settings.max_retries)
    job_retry = replace(job_retry, starts=retry)
    with progress, closing(_client(settings, retry, stopped, progress)) as client:
        is_first = is_connection_test or all(s.bookmark is None for s in states.values())
        is_accepted = client.authenticate(is_first_sync=is_first)
        request = Request(settings.customer, settings.event_types, settings.delimiter)
        ranges, saved_jobs, plans = _what_to_export(
            settings, request, states, client, logger, may_start=not is_connection_test
        )
        if is_connection_test:
            _log_coverage(settings, request, states, plans, logger, is_accepted=is_accepted)
            ranges = {product: _newest(covered, settings) for product, covered in ranges.items()}
            saved_jobs = {}
            plans = _plans(settings, request, {}, ranges, saved_jobs)
        limits = Limits(
            settings.max_concurrent_jobs,
            settings.job_timeout_minutes * 60,
            settings.poll_interval_seconds,
        )
        exporter = Exporter(
            client,
            plans,
            request=request,
            limits=limits,
            directory=folder,
            stopped=stopped,
            open_file=open_file,
            retry=job_retry,
            saved_jobs=saved_jobs,
        )
        with closing(exporter) as exports:
            progress.begin(sum(covered.size for covered in ranges.values()), exports)
            yield Sync(ranges, exports, progress, request)


def _what_to_export(
    settings: Settings,
    request: Request,
    states: Mapping[str, ProductState],
    client: ReportsClient,
    logger: logging.Logger,
    *,
    may_start: bool = False,
) -> tuple[dict[str, Window], dict[str, list[SavedJob]], dict[str, WindowPlanner]]:
    """Return ranges, jobs of an earlier run, and plans; start a job first if the time is unknown.

    A job that is started here is used, as one of an earlier run, if its window is still covered
    when the service's time is known.
    """
    ranges = _ranges(settings, states, _now(client, logger), logger)
    saved_jobs = _saved_jobs(settings, request, states, ranges, int(client.now))
    plans = _plans(settings, request, states, ranges, saved_jobs)
    if client.clock_offset is not None or not may_start:
        return ranges, saved_jobs, plans
    if first := first_job(client, request, plans):
        product, job = first
        state = states[product]
        states = {**states, product: replace(state, jobs=[*state.jobs, job.to_json()])}
    return _what_to_export(settings, request, states, client, logger)


def _client(
    settings: Settings, retry: RetryPolicy, stopped: threading.Event, progress: Progress
) -> ReportsClient:
    return ReportsClient(
        settings.api_url,
        settings.username,
        settings.password,
        stopped=stopped,
        timeout=settings.request_timeout_seconds,
        retry=retry,
        on_request=progress.request,
    )


def _saved_jobs(
    settings: Settings,
    request: Request,
    states: Mapping[str, ProductState],
    ranges: Mapping[str, Window],
    now: int,
) -> dict[str, list[SavedJob]]:
    """Return the jobs of an earlier run that this one takes over."""
    most = WINDOWS_PER_JOB * settings.max_concurrent_jobs
    saved_jobs: dict[str, list[SavedJob]] = {}
    for product, state in states.items():
        saved_jobs[product] = usable_jobs(
            state.jobs,
            span=ranges[product],
            request=request,
            product=product,
            now=now,
            most=most,
            largest=settings.largest_window,
            lag=settings.lag,
            lookback=settings.lookback,
        )
        most -= len(saved_jobs[product])
    return saved_jobs


def _plans(
    settings: Settings,
    request: Request,
    states: Mapping[str, ProductState],
    ranges: Mapping[str, Window],
    saved_jobs: Mapping[str, Sequence[SavedJob]],
) -> dict[str, WindowPlanner]:
    """Return the windows of each product; a new product takes the capacity of another one."""
    known = {
        product: Knowledge.from_json(state.learnt)
        for product, state in states.items()
        if state.learnt.get("types") == request.fingerprint()
    }
    others = [Knowledge(one.fits, one.limit) for one in known.values() if one.fits]
    return {
        product: WindowPlanner(
            covered,
            largest=settings.largest_window,
            smallest=settings.smallest_window,
            knowledge=known.get(product) or next(iter(others), None),
            bookmark=states[product].bookmark if product in states else None,
            taken=[job.window for job in saved_jobs.get(product, ())],
            jobs=settings.max_concurrent_jobs,
        )
        for product, covered in ranges.items()
    }


def _now(client: ReportsClient, logger: logging.Logger) -> int:
    """Return the present time: the service's where it is behind this machine's."""
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


def _ranges(
    settings: Settings,
    states: Mapping[str, ProductState],
    now: int,
    logger: logging.Logger,
) -> dict[str, Window]:
    """Return what a sync covers of each product; log empty ranges, and bookmarks after now."""
    unit = cut_unit(settings.smallest_window)
    latest = max((now - settings.lag) // unit * unit, EARLIEST)
    ranges = {}
    for product, state in states.items():
        what = f"{settings.customer}/{product}"
        if state.bookmark is not None and state.bookmark > now:
            logger.warning(
                "%s: the bookmark, %s, is later than the present time, %s, so events before it "
                "may never have been extracted; set it back in STATE to an instant that is "
                "certain (docs/operations.md)",
                what,
                to_iso(state.bookmark),
                to_iso(now),
            )
        covered = range_to_cover(
            start=settings.start_date,
            end=settings.end_date,
            bookmark=state.bookmark,
            lookback=settings.lookback,
            latest=latest,
        )
        ranges[product] = covered
    _log_empty(settings, ranges, latest, logger)
    return ranges


def _log_empty(
    settings: Settings, ranges: Mapping[str, Window], latest: int, logger: logging.Logger
) -> None:
    """Log the products whose range is empty; one line if all ranges are empty."""
    starts = {f"{settings.customer}/{p}": r.start for p, r in ranges.items() if not r.size}
    if len(starts) == len(ranges) > 1:
        starts = {settings.customer: min(starts.values())}
    ends_by_setting = settings.end_date is not None and settings.end_date <= latest
    for what, start in starts.items():
        logger.info(
            "%s: nothing to export: the sync would begin at %s, which is not before %s",
            what,
            to_iso(start),
            "end_date" if ends_by_setting else f"now minus lag_minutes, {to_iso(latest)}",
        )


def _log_coverage(
    settings: Settings,
    request: Request,
    states: Mapping[str, ProductState],
    plans: Mapping[str, WindowPlanner],
    logger: logging.Logger,
    *,
    is_accepted: bool,
) -> None:
    """Log whether the credentials are right, and what a sync would cover, but for empty ranges."""
    if is_accepted:
        logger.info("%s accepts the credentials", settings.api_url)
    for product, plan in plans.items():
        if plan.span.size:
            is_learnt = states[product].learnt.get("types") == request.fingerprint()
            logger.info(
                "%s/%s: a sync would cover %s: %s, in about %s, with %s",
                settings.customer,
                product,
                plan.span,
                hours(plan.span.size),
                counted(plan.windows_left, "window"),
                "the sizes that earlier runs learnt" if is_learnt else "no sizes learnt so far",
            )


def _newest(covered: Window, settings: Settings) -> Window:
    """Return the last part of a range, which a connection test reads."""
    size = min(settings.largest_window, LONGEST_TEST)
    return Window(max(covered.start, covered.end - size), covered.end)
