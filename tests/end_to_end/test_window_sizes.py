"""Windows sized by events, through the whole tap: counted, learnt, kept in STATE, used again."""

from __future__ import annotations

import json
import time
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from barchart_events_emulator import Emulator
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.windows import to_iso
from tests.expected_events import arrived, expected_events
from tests.tap_runs import START, Outcome, settings_of, sync

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HOUR = 3_600_000
FIRST_SIZE = 24 * HOUR
"""Size of the first window of a product that nothing is known of."""

FIRST_END, SECOND_END = "2026-03-06T00:00:00.000+00:00", "2026-03-07T00:00:00.000+00:00"


def run(
    service: Emulator,
    end: str,
    state: Mapping[str, Any] | None = None,
    **more: Any,
) -> tuple[Outcome, list[int]]:
    """Run a sync with the default ``window_hours``; return the sizes of its windows, too."""
    settings = settings_of(service, end_date=end, **more)
    del settings["window_hours"]
    before = len(service.jobs)
    outcome = sync(settings, state)
    assert outcome.error is None
    return outcome, [job.end - job.start for job in service.jobs[before:]]


def partition(state: Mapping[str, Any]) -> dict[str, Any]:
    [found] = state["bookmarks"]["events"]["partitions"]
    return dict(found)


def test_few_events_take_few_jobs_with_the_default_settings() -> None:
    with Emulator(job_seconds=0.5, events_per_hour=0.2, max_events=400) as service:
        outcome, sizes = run(service, START, start_date="2025-03-02T00:00:00+00:00")
    assert len(outcome.records) > 1000
    # 12 windows of 31 days, and those that find out that so large a window is right.
    assert len(sizes) <= 30


@pytest.fixture(scope="module")
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=0.01, events_per_hour=50, max_events=200) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def first(service: Emulator) -> Outcome:
    """Run a first sync: four days, about 25 exports."""
    outcome, sizes = run(service, FIRST_END)
    assert max(sizes) == FIRST_SIZE
    return outcome


def test_a_later_run_begins_with_the_sizes_that_an_earlier_one_learnt(
    service: Emulator, first: Outcome
) -> None:
    _, sizes = run(service, SECOND_END, first.states[-1])
    assert max(sizes) < FIRST_SIZE


def test_a_later_run_without_what_was_learnt_begins_anew(service: Emulator, first: Outcome) -> None:
    state = deepcopy(first.states[-1])
    del state["bookmarks"]["events"]["partitions"][0]["learnt"]
    _, sizes = run(service, SECOND_END, state)
    assert max(sizes) == FIRST_SIZE


def test_other_event_types_begin_anew(service: Emulator, first: Outcome) -> None:
    types = list(PRODUCTS["WATCHLIST"].event_types)[:9]
    _, sizes = run(service, SECOND_END, first.states[-1], event_types=types)
    assert max(sizes) == FIRST_SIZE


def test_state_stays_small(first: Outcome) -> None:
    partitions = [partition(state) for state in first.states]
    jobs = [job for one in partitions for job in one.get("jobs", [])]
    assert jobs
    assert max(len(json.dumps(job)) for job in jobs) <= 110
    assert max(len(json.dumps(one["learnt"])) for one in partitions) <= 1500


@pytest.mark.parametrize("inclusive", [False, True])
def test_a_service_that_cuts_instants_to_whole_seconds_loses_no_event(*, inclusive: bool) -> None:
    start = to_iso(time.time_ns() // 1_000_000 // 1000 * 1000 - 600_000 + 192)
    options: dict[str, Any] = {"rhythm": "none", "whole_seconds": True, "end_inclusive": inclusive}
    with Emulator(job_seconds=0.01, events_per_hour=36_000, max_events=700, **options) as service:
        settings = settings_of(service, start_date=start, end_date=None, lag_minutes=0.05)
        first = sync(settings)
        time.sleep(1)
        second = sync(settings, first.states[-1])
        expected = expected_events(service, ["WATCHLIST"], start, second.bookmarks["WATCHLIST"])
    assert first.error is None
    assert second.error is None
    assert not arrived(first.records).keys() & arrived(second.records).keys()
    assert arrived(first.records) | arrived(second.records) == expected
    assert second.records
    assert len(service.jobs) > 10
    assert all(job.filter["end"] % 1000 == 0 for job in service.jobs)
