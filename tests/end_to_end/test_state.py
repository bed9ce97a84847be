"""STATE from run to run: bookmark, lookback, lag, clocks, what was learnt, and its warnings."""

import itertools
import json
import time
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest

from barchart_events_emulator import Emulator, Event
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.windows import HOUR, from_iso, to_iso
from tests.expected_events import arrived, expected_events
from tests.tap_runs import (
    END,
    START,
    Outcome,
    change,
    hour,
    partition,
    settings_of,
    state_at,
    sync,
    synced,
)

FIRST = from_iso(START)
MIDDLE, LATER = hour(2), hour(6)


def now() -> int:
    """Return the time in milliseconds."""
    return time.time_ns() // 1_000_000


def ran(service: Emulator, state: Mapping[str, Any] | None = None, **more: Any) -> Outcome:
    """Run a sync of one window of two hours, unless settings say otherwise; it has to succeed."""
    return synced(settings_of(service, **{"end_date": MIDDLE, "window_hours": 2, **more}), state)


def test_state_says_what_the_bookmark_stands_for(service: Emulator, warnings: list[str]) -> None:
    types = ["WATCHLIST-CREATED", "WATCHLIST-DELETED"]
    state = partition(ran(service, event_types=types).states[-1])
    assert state.pop("learnt"), "what was learnt for sizing windows makes the next run cheaper"
    assert state == {
        "context": {"customer": "TGAM", "product": "WATCHLIST"},
        "replication_key": "end",
        "replication_key_value": MIDDLE,
        "event_types": types,
        "start_date": START,
        "columns": {"known": "7f"},
    }
    assert partition(ran(service).states[-1])["event_types"] == "all"
    assert warnings == []


def test_a_state_of_an_earlier_release_is_taken_as_it_is(
    service: Emulator, warnings: list[str]
) -> None:
    state = ran(service).states[-1]
    old = partition(state)
    old["history_start"] = old.pop("start_date")
    outcome = ran(service, state, end_date=END)
    assert arrived(outcome.records) == expected_events(service, ["WATCHLIST"], MIDDLE, END)
    written = partition(outcome.states[-1])
    assert written["start_date"] == START
    assert "history_start" not in written
    del old["event_types"], old["history_start"]
    outcome = ran(service, state, end_date=END, event_types=["WATCHLIST-CREATED"])
    assert warnings == []
    assert partition(outcome.states[-1])["event_types"] == ["WATCHLIST-CREATED"]


# Settings that have changed --------------------------------------------------------------------


def test_types_that_have_changed_are_reported_once_with_what_is_not_extracted(
    service: Emulator, warnings: list[str]
) -> None:
    one, two = ["WATCHLIST-CREATED"], ["WATCHLIST-CREATED", "WATCHLIST-DELETED"]
    outcome = ran(service, ran(service, event_types=one).states[-1], event_types=two, end_date=END)
    [warning] = warnings
    assert warning.startswith(f"TGAM/WATCHLIST: event_types has changed: up to {MIDDLE}, events")
    assert {record["type"] for record in outcome.records} == set(two)
    state = outcome.states[-1]
    assert partition(state)["event_types"] == two
    assert ran(service, state, event_types=two[::-1], end_date=LATER).records
    assert len(warnings) == 1, "the order is no change"


def test_a_product_that_is_new_begins_at_the_start_date_and_leaves_the_others(
    service: Emulator,
) -> None:
    outcome = synced(settings_of(service, products=["WATCHLIST", "ALERT"]), state_at(hour(3)))
    assert arrived(outcome.records) == expected_events(
        service, ["WATCHLIST"], hour(3), END
    ) | expected_events(service, ["ALERT"], START, END)
    assert outcome.bookmarks == {"WATCHLIST": END, "ALERT": END}
    one = synced(settings_of(service, products=["ALERT"]), outcome.states[-1])
    assert one.bookmarks == outcome.bookmarks, "a product that is not wanted any more keeps its own"


# The bookmark and the lookback -----------------------------------------------------------------


def test_an_empty_window_moves_the_bookmark(service: Emulator) -> None:
    service.source = lambda *_: []
    outcome = synced(settings_of(service))
    assert outcome.records == []
    assert outcome.marks == [hour(number) for number in (1, 2, 3, 4)]


@pytest.mark.parametrize("maps", [{}, {"stream_maps": {"events": {"customer": "customer"}}}])
def test_late_events_are_found_by_the_lookback_and_old_ones_keep_their_ids(
    service: Emulator, maps: dict[str, Any]
) -> None:
    service.late_share = 0.3
    first = synced(settings_of(service, **maps))
    early = arrived(first.records)
    assert early == expected_events(service, ["WATCHLIST"], START, END)
    service.release_late()
    whole = expected_events(service, ["WATCHLIST"], START, END)
    assert len(whole) > len(early) > 0
    assert set(early) < set(whole), "ids of events that were there do not change"

    assert synced(settings_of(service, **maps), first.states[-1]).records == []
    second = synced(settings_of(service, lookback_hours=2, **maps), first.states[-1])
    assert arrived(second.records) == expected_events(service, ["WATCHLIST"], MIDDLE, END)
    assert set(second.marks) == {END}, "not even in passing does the bookmark go back"
    third = synced(settings_of(service, lookback_hours=99, **maps), second.states[-1])
    assert early | arrived(third.records) == whole


@pytest.mark.parametrize(("lookback", "begin"), [(1, 0.5), (1000, 0)])
def test_the_lookback_goes_on_from_the_bookmark_and_not_before_the_start_date(
    service: Emulator, lookback: float, begin: float
) -> None:
    outcome = synced(settings_of(service, lookback_hours=lookback), state_at(hour(1.5)))
    assert min(job.start for job in service.jobs) == FIRST + begin * HOUR
    assert outcome.marks[0] == hour(1.5)
    assert outcome.marks == sorted(outcome.marks)


@pytest.mark.parametrize("bookmark", [END, hour(9)])
@pytest.mark.parametrize("lookback", [0, 1, 7])
def test_a_bookmark_at_or_after_the_end_stays_where_it_is(
    service: Emulator, bookmark: str, lookback: float
) -> None:
    outcome = synced(settings_of(service, lookback_hours=lookback), state_at(bookmark))
    assert set(outcome.marks) == {bookmark}


def test_a_sync_that_breaks_off_within_the_lookback_leaves_the_bookmark(service: Emulator) -> None:
    service.fault("start", "job-status", after=1, times=None)
    outcome = sync(settings_of(service, lookback_hours=3, max_concurrent_jobs=1), state_at(END))
    assert outcome.error is not None
    assert set(outcome.marks) == {END}


# The lag and the clocks ------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [0, 0.00005, 1.5, 15])
@pytest.mark.parametrize(("smallest", "unit"), [(1, 1000), (0.999, 1)])
def test_the_lag_is_honoured_and_a_sync_ends_on_a_whole_minute_or_second(
    service: Emulator, minutes: float, smallest: float, unit: int
) -> None:
    unit = 60_000 if minutes >= 10 else unit
    lag = -(-minutes * 60_000 // 1)
    more = {"lag_minutes": minutes, "min_window_seconds": smallest}
    before = now()
    outcome = synced(settings_of(service, start_date=to_iso(before - HOUR), end_date=None, **more))
    after = now()
    latest = from_iso(outcome.bookmarks["WATCHLIST"])
    assert (before - lag) // unit * unit <= latest <= after - lag
    assert latest % unit == 0
    assert max(job.end for job in service.jobs) == latest
    assert all(from_iso(record["timestamp"]) < latest for record in outcome.records)


def test_one_run_after_the_other_each_event_comes_once(service: Emulator) -> None:
    # An event each millisecond: where one run ends, the next one goes on.
    begin = now() - 1000
    service.source = lambda _c, _p, start, end: [
        Event(at, "WATCHLIST-CREATED", {}) for at in range(start, end)
    ]
    more = {"lag_minutes": 0.001, "min_window_seconds": 0.001}
    settings = settings_of(service, start_date=to_iso(begin), end_date=None, **more)
    held: dict[str, dict[str, Any]] = {}
    state = None
    for _ in range(5):
        outcome = synced(settings, state)
        came = arrived(outcome.records)
        assert not held.keys() & came.keys()
        held |= came
        state = outcome.states[-1]
    times = sorted(values["timestamp"] for values in held.values())
    assert times[0] == begin
    assert all(b - a == 1 for a, b in itertools.pairwise(times))
    assert times[-1] == from_iso(outcome.bookmarks["WATCHLIST"]) - 1


@pytest.mark.parametrize("inclusive", [False, True])
def test_a_service_that_cuts_instants_to_whole_seconds_loses_no_event(*, inclusive: bool) -> None:
    start = to_iso(now() // 1000 * 1000 - 600_000 + 192)
    options: dict[str, Any] = {"rhythm": "none", "whole_seconds": True, "end_inclusive": inclusive}
    with Emulator(job_seconds=0.01, events_per_hour=36_000, max_events=700, **options) as service:
        settings = settings_of(service, start_date=start, end_date=None, lag_minutes=0.05)
        first = synced(settings)
        time.sleep(1)
        second = synced(settings, first.states[-1])
        expected = expected_events(service, ["WATCHLIST"], start, second.bookmarks["WATCHLIST"])
    assert second.records
    assert arrived([*first.records, *second.records]) == expected
    assert len(service.jobs) > 10
    assert all(job.filter["end"] % 1000 == 0 for job in service.jobs)


@pytest.mark.parametrize("minutes", [15, 1e9])
def test_a_range_that_lies_within_the_lag_is_nothing_to_export(
    service: Emulator, minutes: float
) -> None:
    start = to_iso(now() - 60_000)
    outcome = synced(settings_of(service, start_date=start, end_date=None, lag_minutes=minutes))
    assert outcome.bookmarks == {}
    assert [request.call for request in service.requests] == ["authenticate"]


def test_a_bookmark_later_than_now_is_a_warning_that_says_what_to_do(
    service: Emulator, warnings: list[str]
) -> None:
    ahead = to_iso(now() + HOUR)
    for _ in range(2):
        outcome = ran(service, state_at(ahead), end_date=None)
        assert outcome.records == []
        assert outcome.bookmarks == {"WATCHLIST": ahead}
    assert len(warnings) == 2
    assert f"the bookmark, {ahead}, is later than now" in warnings[0]
    assert "set it back in STATE" in warnings[0]


@pytest.mark.parametrize("ahead", [-2 * HOUR, 2 * HOUR])
def test_what_is_exported_ends_by_the_earlier_of_the_two_clocks(
    warnings: list[str], ahead: int
) -> None:
    began = now()
    begin = to_iso(began - 3 * HOUR)
    with Emulator(job_seconds=0.01, clock=lambda: now() + ahead) as service:
        outcome = ran(service, start_date=begin, end_date=None, window_hours=24, lag_minutes=0)
    [warning] = warnings
    assert warning.startswith("the clocks differ: this machine's shows ")
    assert abs(from_iso(outcome.bookmarks["WATCHLIST"]) - (began + min(0, ahead))) < 30_000


# What was learnt for sizing windows ------------------------------------------------------------

FIRST_SIZE = 24 * HOUR
"""Size of the first window of a product that nothing is known of."""


def sizes(
    service: Emulator, end: str, state: Mapping[str, Any] | None = None, **more: Any
) -> tuple[Outcome, list[int]]:
    """Run a sync with the default ``window_hours``; return the sizes of its windows, too."""
    settings = settings_of(service, end_date=end, **more)
    del settings["window_hours"]
    before = len(service.jobs)
    return synced(settings, state), [job.end - job.start for job in service.jobs[before:]]


def test_a_later_run_begins_with_the_sizes_that_an_earlier_one_learnt(service: Emulator) -> None:
    change(service, events_per_hour=50, max_events=400)
    first, of_windows = sizes(service, hour(30))
    assert max(of_windows) == FIRST_SIZE
    _, of_windows = sizes(service, hour(54), first.states[-1])
    assert max(of_windows) < FIRST_SIZE

    types = list(PRODUCTS["WATCHLIST"].event_types)[:9]
    _, of_windows = sizes(service, hour(54), first.states[-1], event_types=types)
    assert max(of_windows) == FIRST_SIZE, "other event types begin anew"
    forgotten = deepcopy(first.states[-1])
    del partition(forgotten)["learnt"]
    _, of_windows = sizes(service, hour(54), forgotten)
    assert max(of_windows) == FIRST_SIZE

    jobs = [job for state in first.states for job in partition(state).get("jobs", [])]
    assert max(len(json.dumps(job)) for job in jobs) <= 110
    assert max(len(json.dumps(partition(state)["learnt"])) for state in first.states) <= 1500
