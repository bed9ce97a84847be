"""Late events, the lag, the lookback, and a bookmark that never goes back."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest

from barchart_events_emulator import Emulator, Event
from tap_barchart_events.windows import from_iso, to_iso
from tests.expected_events import arrived, expected_events, identified
from tests.tap_runs import START, Outcome, bookmarks, settings_of, sync

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3_600_000
FIRST = from_iso(START)
END = "2026-03-02T04:00:00.000+00:00"


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=0.01, events_per_hour=60) as emulator:
        yield emulator


def now() -> int:
    """Return the time in milliseconds."""
    return time.time_ns() // 1_000_000


def marks(outcome: Outcome) -> list[str]:
    """Return the bookmark of each STATE, in order."""
    return [bookmarks(state).get("WATCHLIST", "") for state in outcome.states]


def state_at(instant: str) -> dict[str, Any]:
    """Return a STATE with a bookmark."""
    partition = {
        "context": {"customer": "TGAM", "product": "WATCHLIST"},
        "replication_key": "end",
        "replication_key_value": instant,
    }
    return {"bookmarks": {"events": {"partitions": [partition]}}}


@pytest.mark.parametrize("maps", [{}, {"stream_maps": {"events": {"customer": "customer"}}}])
def test_late_events_are_found_by_the_lookback_and_old_ones_keep_their_ids(
    service: Emulator, maps: dict[str, Any]
) -> None:
    service.late_share = 0.3
    first = sync(settings_of(service, **maps))
    early = arrived(first.records)
    assert early == expected_events(service, ["WATCHLIST"], START, END)
    service.release_late()
    whole = expected_events(service, ["WATCHLIST"], START, END)
    assert len(whole) > len(early) > 0
    assert set(early) < set(whole), "ids of events that were there do not change"

    without = sync(settings_of(service, **maps), first.states[-1])
    assert without.records == []
    second = sync(settings_of(service, lookback_hours=2, **maps), first.states[-1])
    assert arrived(second.records) == expected_events(
        service, ["WATCHLIST"], "2026-03-02T02:00:00.000+00:00", END
    )
    assert set(marks(second)) == {END}, "not even in passing does the bookmark go back"
    third = sync(settings_of(service, lookback_hours=99, **maps), second.states[-1])
    assert early | arrived(third.records) == whole


def test_by_default_a_run_reads_the_day_before_the_bookmark_again(service: Emulator) -> None:
    settings = settings_of(service, end_date="2026-03-04T00:00:00Z", window_hours=12)
    del settings["lookback_hours"]
    service.late_share = 0.3
    first = sync(settings)
    service.release_late()
    second = sync(settings, first.states[-1])
    assert arrived(second.records) == expected_events(
        service, ["WATCHLIST"], "2026-03-03T00:00:00.000+00:00", "2026-03-04T00:00:00.000+00:00"
    )
    assert not set(arrived(second.records)) <= set(arrived(first.records)), "none was late"


def test_a_late_event_that_equals_another_is_an_event_of_its_own(service: Emulator) -> None:
    event = Event(FIRST + 5, "WATCHLIST-CREATED", {"userId": "u"})
    service.source = lambda *_: [event]
    first = arrived(sync(settings_of(service)).records)
    service.source = lambda *_: [event, event]
    second = arrived(sync(settings_of(service)).records)
    assert second == dict(identified("WATCHLIST", [event, event]))
    assert set(first) < set(second)


def test_the_lookback_goes_on_from_the_bookmark_and_not_before_the_start_date(
    service: Emulator,
) -> None:
    bookmark = "2026-03-02T01:30:00.000+00:00"
    outcome = sync(settings_of(service, lookback_hours=1), state_at(bookmark))
    assert min(job.start for job in service.jobs) == FIRST + HOUR // 2
    assert marks(outcome)[0] == bookmark
    assert marks(outcome) == sorted(marks(outcome))
    service.jobs.clear()
    sync(settings_of(service, lookback_hours=1000), state_at(bookmark))
    assert min(job.start for job in service.jobs) == FIRST


@pytest.mark.parametrize("bookmark", [END, "2026-03-02T09:00:00.000+00:00"])
@pytest.mark.parametrize("lookback", [0, 1, 7])
def test_a_bookmark_at_or_after_the_end_stays_where_it_is(
    service: Emulator, bookmark: str, lookback: float
) -> None:
    outcome = sync(settings_of(service, lookback_hours=lookback), state_at(bookmark))
    assert outcome.error is None
    assert set(marks(outcome)) == {bookmark}


def test_a_sync_that_breaks_off_within_the_lookback_leaves_the_bookmark(service: Emulator) -> None:
    service.fault("start", "job-status", after=1, times=None)
    outcome = sync(settings_of(service, lookback_hours=3, max_concurrent_jobs=1), state_at(END))
    assert outcome.error is not None
    assert set(marks(outcome)) == {END}


@pytest.mark.parametrize("minutes", [0, 0.00005, 1.5, 15])
@pytest.mark.parametrize(("smallest", "unit"), [(1, 1000), (0.999, 1)])
def test_the_lag_is_honoured_and_a_sync_ends_on_a_whole_second(
    service: Emulator, minutes: float, smallest: float, unit: int
) -> None:
    lag = -(-minutes * 60_000 // 1)
    more = {"lag_minutes": minutes, "min_window_seconds": smallest}
    start = to_iso(now() - HOUR)
    before = now()
    outcome = sync(settings_of(service, start_date=start, end_date=None, **more))
    after = now()
    latest = from_iso(outcome.bookmarks["WATCHLIST"])
    assert (before - lag) // unit * unit <= latest <= after - lag
    assert latest % unit == 0
    assert max(job.end for job in service.jobs) == latest
    times = [from_iso(record["timestamp"]) for record in outcome.records]
    assert all(at < latest for at in times)


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
        outcome = sync(settings, state)
        came = arrived(outcome.records)
        assert not held.keys() & came.keys()
        held |= came
        state = outcome.states[-1]
    times = sorted(values["timestamp"] for values in held.values())
    assert times[0] == begin
    assert all(b - a == 1 for a, b in itertools.pairwise(times))
    assert times[-1] == from_iso(outcome.bookmarks["WATCHLIST"]) - 1


def test_a_range_that_lies_within_the_lag_is_nothing_to_export(service: Emulator) -> None:
    start = to_iso(now() - 60_000)
    outcome = sync(settings_of(service, start_date=start, end_date=None, lag_minutes=15))
    assert outcome.error is None
    assert outcome.bookmarks == {}
    assert [request.call for request in service.requests] == ["authenticate"]


def test_an_empty_window_moves_the_bookmark(service: Emulator) -> None:
    service.source = lambda *_: []
    outcome = sync(settings_of(service))
    assert outcome.records == []
    assert marks(outcome) == [to_iso(FIRST + hour * HOUR) for hour in (1, 2, 3, 4)]


def test_a_product_that_is_new_begins_at_the_start_date_and_leaves_the_others(
    service: Emulator,
) -> None:
    settings = settings_of(service, products=["WATCHLIST", "ALERT"])
    outcome = sync(settings, state_at("2026-03-02T03:00:00.000+00:00"))
    assert arrived(outcome.records) == expected_events(
        service, ["WATCHLIST"], "2026-03-02T03:00:00.000+00:00", END
    ) | expected_events(service, ["ALERT"], START, END)
    assert outcome.bookmarks == {"WATCHLIST": END, "ALERT": END}


def test_a_product_that_is_no_longer_wanted_keeps_its_bookmark(service: Emulator) -> None:
    both = sync(settings_of(service, products=["WATCHLIST", "ALERT"]))
    one = sync(settings_of(service, products=["ALERT"]), both.states[-1])
    assert one.bookmarks == {"WATCHLIST": END, "ALERT": END}
