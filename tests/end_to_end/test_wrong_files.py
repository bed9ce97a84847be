"""Files that are not the export asked for: rows of another range, or in another unit."""

import time

import pytest

from barchart_events_emulator import Emulator
from tap_barchart_events.windows import HOUR, from_iso
from tests.tap_runs import START, hour, settings_of, summary_of, sync, synced

pytestmark = pytest.mark.usefixtures("hardly_waiting")

AT = from_iso(START)


def row(timestamp: float, rest: str = "|||") -> str:
    return f"{round(timestamp)}|WATCHLIST-CREATED|u1|w1|{rest}|\n"


def serve(service: Emulator, *rows: str, times: int | None = None) -> None:
    """Serve these rows as the content of the next files: of all, or of the first ``times``."""
    service.fault("download", "body", body="".join(rows).encode(), times=times)


def rows_at(*hours: float) -> list[str]:
    return [row(AT + number * HOUR) for number in hours]


def test_an_export_of_another_day_ends_the_sync_before_the_bookmark_moves(
    service: Emulator,
) -> None:
    serve(service, *rows_at(48.5, 49.5))
    outcome = sync(settings_of(service))
    assert "WATCHLIST 2026-03-02 00:00" in outcome.reason
    assert "none of its 2 rows is inside this window" in outcome.reason
    assert (outcome.records, outcome.bookmarks) == ([], {})


def test_dropped_rows_are_in_the_closing_line_and_its_metric(
    service: Emulator, warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    serve(service, *rows_at(0.5, 1.5, 2.5))
    with caplog.at_level("INFO"):
        outcome = synced(settings_of(service, end_date=hour(3)))
    assert len(outcome.records) == 3
    assert warnings == [], "each has its own window"
    between = hour(0.5), hour(2.5)
    dropped = "dropped 6 rows outside their windows, from {} to {}".format(*between)
    assert caplog.text.count(dropped) == 1
    tags = summary_of(caplog.text)
    assert (tags["rows_dropped"], tags["dropped_from"], tags["dropped_to"]) == (6, *between)


def test_rows_that_no_window_can_hold_are_one_warning_for_the_product(
    service: Emulator, warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    later = (time.time() * 1000 - AT) / HOUR + 5
    serve(service, *rows_at(-2, 0.5, 1.5, later))
    outcome = synced(settings_of(service, end_date=hour(2)))
    assert len(outcome.records) == 2
    (warning,) = warnings
    assert warning.startswith(
        "TGAM/WATCHLIST: dropped 4 rows that no sync extracts, before start_date or in the future, "
        f"from {hour(-2)} to 2"
    )
    assert summary_of(caplog.text)["rows_dropped"] == 6


@pytest.mark.parametrize(
    ("unit", "scale"), [("seconds", 1e-3), ("microseconds", 1e3), ("nanoseconds", 1e6)]
)
def test_more_rows_in_another_unit_than_in_the_window_end_the_sync_and_name_the_unit(
    service: Emulator, unit: str, scale: float
) -> None:
    good, others = rows_at(0.2, 0.3), [row((AT + n * 1000) * scale) for n in range(3)]
    settings = settings_of(service, end_date=hour(1))
    serve(service, *good, *others, times=1)
    outcome = sync(settings)
    assert "WATCHLIST 2026-03-02 00:00" in outcome.reason
    assert "3 of its 5 rows are before the year 2000 or more than a day" in outcome.reason
    assert f"timestamps look like {unit}" in outcome.reason
    assert (outcome.records, outcome.bookmarks) == ([], {})

    serve(service, *good, *others[:2])
    assert len(synced(settings).records) == 2, "as many are inside"
