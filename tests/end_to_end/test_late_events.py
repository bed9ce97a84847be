"""Late events: what a range that is read again has gained since the run before."""

import json

import pytest

from barchart_events_emulator import Emulator, Event
from tap_barchart_events.windows import HOUR, from_iso
from tests.tap_runs import START, Run, hour, partition, state_at, summary_of

LOOKBACK = {"lookback_hours": 24, "window_hours": 10, "products": ["WATCHLIST"]}


@pytest.fixture
def at(service: Emulator) -> list[float]:
    """Return the hours after `START` at which events occurred; they may be added to."""
    hours = [0.5, 7.2, 8.1, 20.9, 29.9]

    def events(_: str, product: str, start: int, end: int) -> list[Event]:
        times = sorted(from_iso(START) + round(number * HOUR) for number in hours)
        found = [time for time in times if start <= time < end]
        return [Event(time, f"{product}-CREATED", {"userId": str(time)}) for time in found]

    service.source = events
    return hours


def test_late_events_are_counted_and_told_apart_from_new_ones(at: list[float], run: Run) -> None:
    first = run(end_date=hour(30.5), **LOOKBACK)
    assert "late" not in first.log.splitlines()[-1]
    assert summary_of(first.log)["late_events"] == 0
    at += [6.1, 8.2, 8.3, 15.5, 30.9, 32.5]
    second = run(first.states[-1], end_date=hour(33), **LOOKBACK)
    # Hour 6 was not read in full, and hour 30 was not over when the first run ended.
    closing = second.log.splitlines()[-1]
    assert "9 events (5 new, 4 read again) in" in closing
    assert " · 3 late events, up to 23 h after they occurred · " in closing
    summary = summary_of(second.log)
    assert (summary["late_events"], summary["late_hours"]) == (3, 23)
    assert (summary["new_events"], summary["events_read_again"]) == (5, 4)
    third = summary_of(run(second.states[-1], end_date=hour(34), **LOOKBACK).log)
    assert (third["late_events"], third["new_events"]) == (0, 0)


def test_late_events_in_the_oldest_hours_are_one_warning(at: list[float], run: Run) -> None:
    more = LOOKBACK | {"products": ["WATCHLIST", "ALERT"]}
    state = run(end_date=hour(30), **more).states[-1]
    at.append(13.5)
    log = run(state, end_date=hour(31), **more).log
    assert "raise it" not in log
    at.append(8.5)
    log = run(state, end_date=hour(31), **more).log
    assert log.count("raise it") == 1
    assert "TGAM/WATCHLIST, ALERT: events arrive later than lookback_hours reaches; raise it" in log


def test_nothing_is_compared_without_counts_of_the_same_request(at: list[float], run: Run) -> None:
    state = run(end_date=hour(30), **LOOKBACK).states[-1]
    at.append(13.5)
    other = run(state, end_date=hour(31), event_types=["WATCHLIST-CREATED"], **LOOKBACK)
    assert summary_of(other.log)["late_events"] == 0
    damaged = json.loads(json.dumps(state))
    partition(damaged)["learnt"]["counts"] = "1 2 x"
    assert summary_of(run(damaged, end_date=hour(31), **LOOKBACK).log)["late_events"] == 0
    assert "counts" not in json.dumps(run(end_date=hour(30), window_hours=10).states[-1])


def test_a_product_that_fell_silent_is_a_warning(service: Emulator, run: Run) -> None:
    more = {"lookback_hours": 0, "window_hours": 744, "start_date": "2026-02-23T00:00:00Z"}
    state = run(end_date=hour(24), **more).states[-1]
    busy = run(state, end_date=hour(30), **more)
    assert "expected" not in busy.log
    service.events_per_hour = 0
    log = run(busy.states[-1], end_date=hour(48), **more).log
    assert "WARNING" in log
    assert "TGAM/WATCHLIST: 0 events, about " in log


def test_events_of_unknown_types_are_one_warning(service: Emulator, run: Run) -> None:
    service.source = lambda *window: [
        Event(from_iso(START) + number * HOUR, kind, {"userId": "1"})
        for number, kind in enumerate(["WATCHLIST-CREATED", "WATCHLIST-NEW", "WATCHLIST-NEWER"])
        if window[2] <= from_iso(START) + number * HOUR < window[3]
    ]
    log = run(state_at(START)).log
    assert log.count("of types that this version of the tap does not know") == 1
    assert "TGAM/WATCHLIST: 2 events of types that this version of the tap does not know" in log
