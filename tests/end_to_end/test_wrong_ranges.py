"""An export is checked against the requested window: rows of another range."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from barchart_events_emulator import Emulator
from tap_barchart_events.windows import from_iso
from tests.tap_runs import settings_of, sync

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("hardly_waiting")

START = "2026-03-02T00:00:00.000+00:00"
HOUR = 3_600_000


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=0.01, events_per_hour=20) as emulator:
        yield emulator


def rows(hours: list[float]) -> bytes:
    start = from_iso(START)
    return "".join(
        f"{start + int(hour * HOUR)}|WATCHLIST-CREATED|u|w|||||\n" for hour in hours
    ).encode()


def summary(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """Return the tags of the metric at the end of the sync."""
    (found,) = [r.getMessage() for r in caplog.records if "sync_summary" in r.getMessage()]
    tags: dict[str, Any] = json.loads(found.partition("METRIC: ")[2] or found)["tags"]
    return tags


def test_an_export_of_another_day_ends_the_sync_before_the_bookmark_moves(
    service: Emulator,
) -> None:
    service.fault("download", "body", body=rows([48.5, 49.5]), times=None)
    outcome = sync(settings_of(service))
    assert "WATCHLIST 2026-03-02 00:00" in str(outcome.error)
    assert "none of its 2 rows is inside this window" in str(outcome.error)
    assert outcome.bookmarks == {}
    assert outcome.records == []


def test_dropped_rows_are_in_the_closing_line_and_its_metric(
    service: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    service.fault("download", "body", body=rows([0.5, 1.5, 2.5]), times=None)
    settings = settings_of(service, end_date="2026-03-02T03:00:00.000+00:00")
    with caplog.at_level("INFO"):
        outcome = sync(settings)
    assert outcome.error is None
    assert len(outcome.records) == 3
    assert not [r for r in caplog.records if r.levelname == "WARNING"], "each has its own window"
    between = "2026-03-02T00:30:00.000+00:00", "2026-03-02T02:30:00.000+00:00"
    dropped = "dropped 6 rows outside their windows, from {} to {}".format(*between)
    assert caplog.text.count(dropped) == 1
    tags = summary(caplog)
    assert (tags["rows_dropped"], tags["dropped_from"], tags["dropped_to"]) == (6, *between)


def test_rows_that_no_window_can_hold_are_one_warning_for_the_product(
    service: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    later = (time.time() * 1000 - from_iso(START)) / HOUR + 5
    service.fault("download", "body", body=rows([-2, 0.5, 1.5, later]), times=None)
    settings = settings_of(service, end_date="2026-03-02T02:00:00.000+00:00")
    outcome = sync(settings)
    assert outcome.error is None
    assert len(outcome.records) == 2
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warning.startswith(
        "WATCHLIST: 4 rows of its exports were dropped because no sync extracts them: they are "
        "before start_date or later than now, between 2026-03-01T22:00:00.000+00:00 and 2"
    )
    assert summary(caplog)["rows_dropped"] == 6


@pytest.mark.parametrize(
    ("unit", "scale"),
    [("seconds", 1e-3), ("microseconds", 1e3), ("nanoseconds", 1e6)],
)
def test_more_rows_in_another_unit_than_in_the_window_end_the_sync_and_name_the_unit(
    service: Emulator, unit: str, scale: float
) -> None:
    good, row = rows([0.2, 0.3]), "|WATCHLIST-CREATED|u|w|||||\n"
    others = [f"{round((from_iso(START) + n * 1000) * scale)}{row}".encode() for n in range(3)]
    settings = settings_of(service, end_date="2026-03-02T01:00:00.000+00:00")

    service.fault("download", "body", body=good + b"".join(others))
    outcome = sync(settings)
    assert "WATCHLIST 2026-03-02 00:00" in str(outcome.error)
    assert "3 of its 5 rows are before the year 2000 or later than a day" in str(outcome.error)
    assert f"timestamps fit as {unit}" in str(outcome.error)
    assert (outcome.records, outcome.bookmarks) == ([], {})

    service.fault("download", "body", body=good + b"".join(others[:2]))
    outcome = sync(settings)
    assert outcome.error is None, "as many are inside"
    assert len(outcome.records) == 2


def test_rows_exactly_at_the_end_of_a_window_are_nothing_to_warn_of(
    service: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    service.fault("download", "body", body=rows([0.5, 1]), times=1)
    service.fault("download", "body", body=rows([1.5, 2]), times=1)
    service.fault("download", "body", body=rows([3]), times=1)
    settings = settings_of(service, end_date="2026-03-02T03:00:00.000+00:00", max_concurrent_jobs=1)
    with caplog.at_level("INFO"):
        outcome = sync(settings)
    assert outcome.error is None
    assert len(outcome.records) == 2
    assert "outside their windows" not in caplog.text
    assert summary(caplog)["rows_dropped"] == 0
