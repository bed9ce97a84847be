"""One sync: what it covers, and what it holds open, as the settings say."""

from __future__ import annotations

import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tap_barchart_events.api.client import ReportsClient
from tap_barchart_events.exports.exporter import Exporter
from tap_barchart_events.exports.planner import Knowledge, WindowPlanner
from tap_barchart_events.exports.saved_jobs import Request, SavedJob
from tap_barchart_events.progress import Progress, hours
from tap_barchart_events.windows import EARLIEST, HOUR, Window, cut_unit, to_iso

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tap_barchart_events.api.http import RetryPolicy
    from tap_barchart_events.exports.export import JobPolicy
    from tap_barchart_events.exports.exporter import OpenFile
    from tap_barchart_events.settings import Settings
    from tap_barchart_events.state import ProductState

MAX_TEST_SIZE = HOUR
"""Milliseconds that a connection test reads at most."""

CLOCK_TOLERANCE = 60_000
"""Milliseconds by which the clocks of service and machine may differ without a warning."""

CONNECTION_TEST_TIMEOUT = 10
"""Seconds within which the last try of a call begins in a connection test."""


@dataclass(frozen=True, slots=True)
class Sync:
    """What one sync holds open."""

    exports: Exporter
    plans: Mapping[str, WindowPlanner]
    request: Request
    """What all exports of the sync have in common."""
    progress: Progress

    def with_jobs_and_sizes(self, product: str, state: ProductState) -> ProductState:
        """Return a product's state with the jobs under way and what was learnt by now."""
        learnt = self.plans[product].known.to_json()
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
    job_retry: JobPolicy,
    is_connection_test: bool = False,
) -> Iterator[Sync]:
    """Check the credentials, determine what to export, and open the sync.

    Args:
        settings: The settings; they replace what ``retry`` and ``job_retry`` have of them.
        states: What STATE holds of each product, in the order in which they will be read.
        folder: An existing private folder.
        open_file: Returns the downloaded file of an export, unread.
        stream: Name of the stream, for metrics.
        logger: Where progress goes.
        retry: How calls are retried.
        job_retry: When a job that failed is replaced by a new one.
        is_connection_test: Whether one event is enough.
    """
    stopped = threading.Event()
    timeout = CONNECTION_TEST_TIMEOUT if is_connection_test else retry.timeout
    retry = replace(retry, attempts=1 + settings.max_retries, timeout=timeout)
    request = Request(settings.customer, settings.event_types, settings.delimiter)
    progress = Progress(
        logger, customer=settings.customer, stream=stream, is_connection_test=is_connection_test
    )
    with progress, closing(_client(settings, retry, stopped, progress)) as client:
        is_first = is_connection_test or all(s.bookmark is None for s in states.values())
        is_accepted = client.authenticate(is_first_sync=is_first)
        spans = _spans(settings, states, _now(client, logger), logger)
        if is_connection_test:
            _log_coverage(settings, request, states, spans, logger, is_accepted=is_accepted)
            states, spans = {}, {p: _newest(span, settings) for p, span in spans.items()}
        plans = _plans(settings, request, states, spans)
        policy = _policy(settings, retry, job_retry)
        exporter = Exporter(client, plans, request, policy, folder, stopped, open_file)
        with closing(exporter) as exports:
            _take_over_jobs(settings, request, states, spans, exports, int(client.now))
            if client.clock_offset is None and not is_connection_test:
                exports.start_first()
                exports.end_at(_latest(_now(client, logger), settings))
            progress.begin(sum(plan.span.size for plan in plans.values()), exports)
            yield Sync(exports, plans, request, progress)


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


def _policy(settings: Settings, retry: RetryPolicy, job_retry: JobPolicy) -> JobPolicy:
    return replace(
        job_retry,
        max_concurrent_jobs=settings.max_concurrent_jobs,
        job_timeout=settings.job_timeout_minutes * 60,
        poll_interval=settings.poll_interval_seconds,
        starts=retry,
    )


def _take_over_jobs(
    settings: Settings,
    request: Request,
    states: Mapping[str, ProductState],
    spans: Mapping[str, Window],
    exports: Exporter,
    now: int,
) -> None:
    """Use the jobs of an earlier run that lack no event."""
    lag, lookback = settings.lag, settings.lookback
    for product, state in states.items():
        for job in map(SavedJob.from_json, state.jobs):
            if job and job.is_usable(request, product, spans[product], now, lag, lookback):
                exports.take_over(product, job)


def _plans(
    settings: Settings,
    request: Request,
    states: Mapping[str, ProductState],
    spans: Mapping[str, Window],
) -> dict[str, WindowPlanner]:
    """Return the windows of each product; a new product takes the capacity of another one."""
    known = {
        product: Knowledge.from_json(state.learnt)
        for product, state in states.items()
        if state.learnt.get("types") == request.fingerprint()
    }
    other = next((one for one in known.values() if one.fits), Knowledge())
    return {
        product: WindowPlanner(
            span,
            largest=settings.largest_window,
            smallest=settings.smallest_window,
            known=known.get(product) or Knowledge(other.fits, other.limit),
            bookmark=states[product].bookmark if product in states else None,
            jobs=settings.max_concurrent_jobs,
        )
        for product, span in spans.items()
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


def _latest(now: int, settings: Settings) -> int:
    """Return the instant up to which all is complete: now minus the lag."""
    unit = cut_unit(settings.smallest_window)
    return max((now - settings.lag) // unit * unit, EARLIEST)


def _spans(
    settings: Settings,
    states: Mapping[str, ProductState],
    now: int,
    logger: logging.Logger,
) -> dict[str, Window]:
    """Return what a sync covers of each product; log empty ranges, and bookmarks after now."""
    latest = _latest(now, settings)
    end = latest if settings.end_date is None else min(latest, settings.end_date)
    spans = {}
    for product, state in states.items():
        start = settings.start_date
        if state.bookmark is not None:
            start = max(start, state.bookmark - settings.lookback)
            if state.bookmark > now:
                logger.warning(
                    "%s/%s: the bookmark, %s, is later than the present time, %s, so events before "
                    "it may never have been extracted; set it back in STATE to an instant that is "
                    "certain (docs/operations.md)",
                    settings.customer,
                    product,
                    to_iso(state.bookmark),
                    to_iso(now),
                )
        spans[product] = Window(start, max(start, end))
    _log_empty(settings, spans, latest, logger)
    return spans


def _log_empty(
    settings: Settings, spans: Mapping[str, Window], latest: int, logger: logging.Logger
) -> None:
    """Log the products whose range is empty; one line if all ranges are empty."""
    starts = {f"{settings.customer}/{p}": span.start for p, span in spans.items() if not span.size}
    if len(starts) == len(spans) > 1:
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
    spans: Mapping[str, Window],
    logger: logging.Logger,
    *,
    is_accepted: bool,
) -> None:
    """Log whether the credentials are right, and what a sync would cover, but for empty ranges."""
    if is_accepted:
        logger.info("%s accepts the credentials", settings.api_url)
    for product, span in spans.items():
        if span.size:
            is_learnt = states[product].learnt.get("types") == request.fingerprint()
            logger.info(
                "%s/%s: a sync would cover %s: %s, with %s",
                settings.customer,
                product,
                span,
                hours(span.size),
                "the sizes that earlier runs learnt" if is_learnt else "no sizes learnt so far",
            )


def _newest(span: Window, settings: Settings) -> Window:
    """Return the last part of a range, which a connection test reads."""
    size = min(settings.largest_window, MAX_TEST_SIZE)
    return Window(max(span.start, span.end - size), span.end)
