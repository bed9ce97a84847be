"""An export is checked against the requested window: rows of another range."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from barchart_events_emulator import Emulator
from tap_barchart_events.windows import from_iso
from tests.tap_runs import settings_of, sync

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("hardly_waiting")

START = "2026-03-02T00:00:00.000+00:00"
HOUR = 3_600_000
WARNING = "are outside the requested window"


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=0.01, events_per_hour=20) as emulator:
        yield emulator


def rows(hours: list[float]) -> bytes:
    start = from_iso(START)
    return "".join(
        f"{start + int(hour * HOUR)}|WATCHLIST-CREATED|u|w|||||\n" for hour in hours
    ).encode()


def test_an_export_of_another_day_ends_the_sync_before_the_bookmark_moves(
    service: Emulator,
) -> None:
    service.fault("download", "body", body=rows([48.5, 49.5]), times=None)
    outcome = sync(settings_of(service))
    assert "WATCHLIST 2026-03-02 00:00" in str(outcome.error)
    assert "none of its 2 rows is inside this window" in str(outcome.error)
    assert outcome.bookmarks == {}
    assert outcome.records == []


def test_rows_outside_are_dropped_with_one_warning_for_the_product(
    service: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    service.fault("download", "body", body=rows([0.5, 1.5, 2.5]), times=None)
    settings = settings_of(service, end_date="2026-03-02T03:00:00.000+00:00")
    outcome = sync(settings)
    assert outcome.error is None
    assert len(outcome.records) == 3
    (warning,) = [r.getMessage() for r in caplog.records if WARNING in r.getMessage()]
    assert warning.startswith("WATCHLIST 2026-03-02 00:00 → 01:00: 2 rows of the export ")


def test_rows_exactly_at_the_end_of_a_window_are_nothing_to_warn_of(
    service: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    service.fault("download", "body", body=rows([0.5, 1]), times=1)
    service.fault("download", "body", body=rows([1.5, 2]), times=1)
    service.fault("download", "body", body=rows([3]), times=1)
    settings = settings_of(service, end_date="2026-03-02T03:00:00.000+00:00", max_concurrent_jobs=1)
    outcome = sync(settings)
    assert outcome.error is None
    assert len(outcome.records) == 2
    assert WARNING not in caplog.text
