"""`--test`: what a sync would cover, and one sentence about whether it would work."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from barchart_events_emulator import Emulator, Event
from tap_barchart_events.windows import HOUR, MINUTE, from_iso
from tests.tap_runs import START, Outcome, Run, catalog_of, hour, output_mode, settings_of

PRODUCTS = ["WATCHLIST", "ALERT"]
TEST = {"arguments": ("--test",)}


@pytest.fixture
def tried(run: Run) -> Run:
    """Return a function that runs the tap with `--test`; it ends well and writes no message."""

    def tried(state: Any = None, **more: Any) -> Outcome:
        outcome = run(state, **{"options": TEST, "products": PRODUCTS, **more})
        assert outcome.written == b""
        assert re.search(r"OK: events of \d of \d products were read$", outcome.reason)
        return outcome

    return tried


def test_it_says_what_a_sync_covers_and_what_each_file_is(service: Emulator, tried: Run) -> None:
    outcome = tried()
    assert outcome.reason.endswith("OK: events of 2 of 2 products were read")
    for product, columns in (("WATCHLIST", 9), ("ALERT", 5)):
        assert (
            f"TGAM/{product}: a sync would cover 2026-03-02 00:00 → 04:00, with no window "
            "sizes learnt so far\n"
        ) in outcome.log
        by = f"the known layout of {columns} columns"
        file = rf"\d+ events, columns by {by}, no quotes, lines end in LF\n"
        assert re.search(f"TGAM/{product}: 2026-03-02 03:00 → 04:00: {file}", outcome.log)
    assert not re.search("METRIC|failed|WARNING", outcome.log)
    assert {job.end - job.start for job in service.jobs} == {3_600_000}


def test_products_are_tried_side_by_side_up_to_now_minus_the_lag(
    service: Emulator, tried: Run
) -> None:
    service.job_seconds = 1
    before = time.time() * 1000
    tried(end_date=None, products=[*PRODUCTS, "PORTFOLIO"])
    lags = [job.begun - job.end for job in service.jobs]
    assert all(0 <= lag - 15 * MINUTE < MINUTE + time.time() * 1000 - before for lag in lags)
    first, *_, last = sorted(job.started for job in service.jobs)
    assert last - first < 0.5


def test_it_starts_from_state_and_says_whether_sizes_were_learnt(run: Run, tried: Run) -> None:
    log = tried(run(end_date=hour(2.5)).states[-1]).log
    assert (
        "TGAM/WATCHLIST: a sync would cover 2026-03-02 02:30 → 04:00, with window sizes learnt so "
        "far\n"
    ) in log
    assert "TGAM/ALERT: a sync would cover 2026-03-02 00:00 → 04:00, " in log


def test_it_looks_further_back_while_a_product_has_no_event(service: Emulator, tried: Run) -> None:
    at = from_iso(START) + 5 * 24 * HOUR
    service.source = lambda _, product, *window: [
        Event(time, f"{product}-CREATED", {"userId": "1"})
        for time in [at] * (product == "WATCHLIST")
        if window[0] <= time < window[1]
    ]
    outcome = tried(start_date=START, end_date=hour(12 * 24), window_hours=0.5)
    log = outcome.log
    assert outcome.reason.endswith("events of 1 of 2 products were read")
    assert "TGAM/WATCHLIST: 2026-03-07 00:00 → 2026-03-14 00:00: 1 event, " in log
    assert "TGAM/ALERT: 2026-03-02 00:00 → 2026-03-14 00:00: no events" in log
    sizes = [(job.filter["product"], (job.end - job.start) // HOUR) for job in service.jobs]
    assert sorted(sizes) == [
        *(("ALERT", size) for size in (1, 24, 168, 288)),
        *(("WATCHLIST", size) for size in (1, 24, 168)),
    ]


def test_without_any_event_in_31_days_it_says_so(service: Emulator, tried: Run) -> None:
    service.source = lambda *_: []
    outcome = tried(start_date=START, end_date=hour(40 * 24 + 0.5))
    for product in PRODUCTS:
        assert f"TGAM/{product}: 2026-03-11 00:30 → 2026-04-11 00:30: no events" in outcome.log
    assert outcome.reason.endswith("events of 0 of 2 products were read")
    sizes = sorted((job.end - job.start) // HOUR for job in service.jobs)
    assert sizes == [1, 1, 24, 24, 168, 168, 744, 744]


@pytest.mark.parametrize("failing", ["WATCHLIST", "ALERT"])
def test_a_file_that_cannot_be_read_fails_the_test_but_not_that_of_other_products(
    service: Emulator, run: Run, failing: str
) -> None:
    service.fault("download", "body", for_product=failing, body="1772409600000|x|y\n")
    outcome = run(None, 1, TEST, products=PRODUCTS)
    assert f"1 of 2 products failed: {failing} 2026-03-02 03:00 → 04:00: " in outcome.reason
    assert "setting columns" in outcome.reason
    (other,) = {*PRODUCTS} - {failing}
    assert re.search(rf"TGAM/{other}: 2026-03-02 03:00 → 04:00: \d+ events, ", outcome.log)


def test_a_range_too_large_for_one_export_is_no_failure(service: Emulator, tried: Run) -> None:
    service.fault("start", "job-timeout", times=None, for_product="ALERT")
    log = tried().log
    assert "TGAM/ALERT: 2026-03-02 03:00 → 04:00 is too large for one export" in log


def test_it_names_quotes_line_ends_unknown_types_and_extra(service: Emulator, tried: Run) -> None:
    time = from_iso(hour(3))
    rows = ["timestamp|type|userId|watchlistId|mood", f'{time}|WATCHLIST-X|"1"|2|good']
    body = "\r\n".join([*rows, f"{time}|WATCHLIST-CREATED|1|2|", ""])
    service.fault("download", "body", body=body)
    log = tried(products=["WATCHLIST"]).log
    assert (
        "2 events, columns by the header, with quotes, lines end in CR LF, 50.0 % of an event type "
        "that is not known, columns that go to extra: mood\n"
    ) in log


def test_it_says_that_the_setting_names_the_columns(service: Emulator, tried: Run) -> None:
    service.fault("download", "body", body=f"{from_iso(hour(3))}|WATCHLIST-CREATED|1\n")
    columns = {"WATCHLIST": ["timestamp", "type", "userId"]}
    log = tried(products=["WATCHLIST"], columns=columns).log
    assert "1 event, columns by the setting columns, no quotes, lines end in LF\n" in log


def test_a_sync_with_nothing_to_do_is_reported_beforehand(run: Run, tried: Run) -> None:
    log = tried(run().states[-1], products=["WATCHLIST"]).log
    assert "TGAM/WATCHLIST: nothing to export: the sync would begin at" in log
    assert "would cover 2026" not in log


def test_an_event_passes_through_stream_maps(run: Run, tried: Run, tmp_path: Path) -> None:
    wrong = run(None, 1, TEST, stream_maps={"events": {"longer": "int(customer)"}})
    assert "setting stream_maps cannot be used" in wrong.reason
    tried(**output_mode("one by one", tmp_path))


def test_a_deselected_or_removed_stream_is_tested_too(service: Emulator, tried: Run) -> None:
    catalog = catalog_of(settings_of(service), stream={"selected": False})
    deselected = tried(options=TEST | {"catalog": catalog})
    removed = tried(stream_maps={"events": None})
    for outcome in (deselected, removed):
        assert re.search(r"TGAM/WATCHLIST: .* events, columns by ", outcome.log)


@pytest.mark.parametrize("start_date", [START, "2100-01-01"])
def test_no_credentials_are_called_accepted_if_authenticate_says_nothing(
    service: Emulator, tried: Run, start_date: str
) -> None:
    service.fault("authenticate", "status", code=404)
    log = tried(start_date=start_date, end_date=None).log
    assert "the first export job will check the credentials" in log
    assert "accept" not in log


def test_wrong_credentials_are_named(run: Run) -> None:
    outcome = run(None, 1, TEST, password="wrong")  # noqa: S106
    assert "check the credentials: the service answered 401" in outcome.reason
