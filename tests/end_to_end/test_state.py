"""STATE: what the bookmark stands for, and the warnings when a run does not cover it."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from barchart_events_emulator import Emulator
from tap_barchart_events.windows import from_iso, to_iso, to_milliseconds
from tests.expected_events import arrived, expected_events
from tests.tap_runs import START, Outcome, settings_of, sync

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FIRST, SECOND = "2026-03-02T02:00:00.000+00:00", "2026-03-02T04:00:00.000+00:00"


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=0.01, events_per_hour=60) as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings of the tap, in a list that grows."""
    found: list[str] = []

    def keep(record: Any) -> bool:
        if record.levelname == "WARNING" and record.name.startswith("tap-barchart-events"):
            found.append(record.getMessage())
        return True

    caplog.handler.addFilter(keep)
    return found


def run(
    service: Emulator,
    state: Mapping[str, Any] | None = None,
    **more: Any,
) -> Outcome:
    outcome = sync(settings_of(service, **{"end_date": FIRST, "window_hours": 2, **more}), state)
    assert outcome.error is None
    return outcome


def partition(outcome: Outcome) -> dict[str, Any]:
    [found] = outcome.states[-1]["bookmarks"]["events"]["partitions"]
    assert found["context"] == {"customer": "TGAM", "product": "WATCHLIST"}
    return {name: value for name, value in found.items() if name != "context"}


def test_state_says_what_the_bookmark_stands_for(service: Emulator, warnings: list[str]) -> None:
    outcome = run(service, event_types=["WATCHLIST-CREATED", "WATCHLIST-DELETED"])
    state = partition(outcome)
    assert state.pop("learnt"), "what was learnt for sizing windows makes the next run cheaper"
    assert state == {
        "replication_key": "end",
        "replication_key_value": FIRST,
        "event_types": ["WATCHLIST-CREATED", "WATCHLIST-DELETED"],
        "start_date": START,
        "columns": {"known": "7f"},
    }
    assert partition(run(service))["event_types"] == "all"
    assert warnings == []


def test_types_that_have_changed_are_reported_once_with_what_is_not_extracted(
    service: Emulator, warnings: list[str]
) -> None:
    one, two = ["WATCHLIST-CREATED"], ["WATCHLIST-CREATED", "WATCHLIST-DELETED"]
    state = run(service, event_types=one).states[-1]
    outcome = run(service, state, event_types=two, end_date=SECOND)
    [warning] = warnings
    assert warning.startswith(f"TGAM/WATCHLIST: event_types have changed: before {FIRST}, events")
    assert f"events of WATCHLIST-CREATED are extracted, and from {FIRST} on, events" in warning
    assert "WATCHLIST-CREATED, WATCHLIST-DELETED; to extract others, run once with" in warning
    assert {record["type"] for record in outcome.records} == set(two)
    assert partition(outcome)["event_types"] == two
    warnings.clear()

    state = outcome.states[-1]
    outcome = run(service, state, event_types=two[::-1], end_date="2026-03-02T06:00:00.000+00:00")
    assert outcome.records
    assert warnings == [], "the order is no change"
    run(service, state, event_types=one, end_date="2026-03-02T06:00:00.000+00:00")
    [warning] = warnings
    assert f"from {SECOND} on, events of WATCHLIST-CREATED; to extract" in warning
    warnings.clear()
    run(service, event_types=two, end_date=SECOND)  # after a reset
    assert warnings == []


def test_the_warning_comes_before_anything_is_requested(
    service: Emulator, warnings: list[str]
) -> None:
    state = run(service, event_types=["WATCHLIST-CREATED"]).states[-1]
    wrong = settings_of(service, api_url="http://127.0.0.1:1", max_retries=0)
    assert sync(wrong, state).error
    assert "events of all types; to extract others" in warnings[0]


def test_a_state_of_an_earlier_release_is_taken_as_it_is(
    service: Emulator, warnings: list[str]
) -> None:
    state = run(service).states[-1]
    old = state["bookmarks"]["events"]["partitions"][0]
    old["history_start"] = old.pop("start_date")
    outcome = run(service, state, end_date=SECOND)
    assert arrived(outcome.records) == expected_events(service, ["WATCHLIST"], FIRST, SECOND)
    assert partition(outcome)["start_date"] == START
    assert "history_start" not in partition(outcome)
    del old["event_types"], old["history_start"]
    outcome = run(service, state, end_date=SECOND, event_types=["WATCHLIST-CREATED"])
    assert warnings == []
    assert partition(outcome)["event_types"] == ["WATCHLIST-CREATED"]


@pytest.mark.parametrize("damage", [None, 5, "x", [1], {"a": 1}, [], {}, "9999-99-99", "\ud800"])
def test_a_damaged_entry_costs_no_event_and_is_no_error(service: Emulator, damage: object) -> None:
    state = run(service).states[-1]
    names = ("event_types", "start_date", "history_start", "jobs", "learnt", "columns")
    state["bookmarks"]["events"]["partitions"][0] |= dict.fromkeys(names, damage)
    outcome = run(service, state, end_date=SECOND)
    assert arrived(outcome.records) == expected_events(service, ["WATCHLIST"], FIRST, SECOND)
    assert outcome.bookmarks == {"WATCHLIST": SECOND}


@pytest.mark.parametrize("damage", [None, 5, "x", [1], {"a": 1}, [], {}, True])
def test_what_the_tap_never_writes_costs_no_event_and_is_no_error(
    service: Emulator, damage: object
) -> None:
    state = run(service).states[-1]
    state["bookmarks"]["events"]["partitions"][0]["progress_markers"] = damage
    state["bookmarks"]["events"]["progress_markers"] = damage
    for other in (damage, {"partitions": damage}, {"partitions": [damage]}):
        state["bookmarks"]["another stream"] = other
        outcome = run(service, state, end_date=SECOND)
        assert arrived(outcome.records) == expected_events(service, ["WATCHLIST"], FIRST, SECOND)
        assert outcome.bookmarks == {"WATCHLIST": SECOND}


def test_a_start_date_later_than_the_bookmark_is_a_warning_with_the_range(
    service: Emulator, warnings: list[str]
) -> None:
    state = run(service).states[-1]
    start = "2026-03-02T03:00:00.000+00:00"
    outcome = run(service, state, start_date=start, end_date=SECOND)
    [warning] = warnings
    assert f"events from {FIRST} to {start} are not extracted" in warning
    assert partition(outcome)["start_date"] == start


def test_a_start_date_earlier_than_that_of_the_last_run_is_one_warning_with_the_range(
    service: Emulator, warnings: list[str]
) -> None:
    state = run(service).states[-1]
    start = "2026-03-01T00:00:00.000+00:00"
    outcome = run(service, state, start_date=start, end_date=SECOND)
    [warning] = warnings
    assert f"events from {start} to {START} are not extracted" in warning
    assert partition(outcome)["start_date"] == start
    warnings.clear()
    run(service, outcome.states[-1], start_date=start, end_date="2026-03-02T06:00:00.000+00:00")
    assert warnings == []


def test_two_products_are_warned_of_apart(service: Emulator, warnings: list[str]) -> None:
    types = ["WATCHLIST-CREATED", "ALERT-CREATED"]
    state = run(service, products=["WATCHLIST", "ALERT"], event_types=types).states[-1]
    run(service, state, products=["ALERT", "WATCHLIST"], end_date=SECOND)
    assert [warning.partition(":")[0] for warning in warnings] == ["TGAM/ALERT", "TGAM/WATCHLIST"]


# The clock ---------------------------------------------------------------------------------


def test_a_bookmark_later_than_now_is_a_warning_that_says_what_to_do(
    service: Emulator, warnings: list[str]
) -> None:
    state = run(service).states[-1]
    ahead = to_iso(to_milliseconds(datetime.now(timezone.utc)) + 3_600_000)
    state["bookmarks"]["events"]["partitions"][0]["replication_key_value"] = ahead
    for _ in range(2):
        outcome = run(service, state, end_date=None)
        assert outcome.records == []
        assert outcome.bookmarks == {"WATCHLIST": ahead}
    assert len(warnings) == 2
    assert f"the bookmark, {ahead}, is later than the present time" in warnings[0]
    assert "set it back in STATE" in warnings[0]


@pytest.mark.parametrize("ahead", [-7200, 7200])
def test_what_is_exported_ends_by_the_earlier_of_the_two_clocks(
    warnings: list[str], ahead: int
) -> None:
    now = time.time()
    start = to_iso(round((now - 10_800) * 1000))
    with Emulator(job_seconds=0.01, clock=lambda: round((time.time() + ahead) * 1000)) as service:
        outcome = run(service, start_date=start, end_date=None, lag_minutes=0, window_hours=24)
    [warning] = warnings
    assert warning.startswith("the clocks differ: this machine's shows ")
    bookmark = from_iso(outcome.bookmarks["WATCHLIST"]) / 1000
    assert abs(bookmark - (now + min(0, ahead))) < 30


def _two_hours_late() -> int:
    return round((time.time() - 7200) * 1000)


def test_a_service_that_sends_no_date_is_no_warning(warnings: list[str]) -> None:
    with Emulator(job_seconds=0.01, clock=_two_hours_late, date_header=False) as service:
        run(service)
    assert warnings == []
