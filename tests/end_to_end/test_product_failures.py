"""A product's failure is its own: all others reach their end, and the sync says which failed."""

import re
from pathlib import Path
from typing import Any

import pytest

from barchart_events_emulator import Emulator
from tap_barchart_events.files import engine
from tap_barchart_events.windows import from_iso
from tests.expected_events import arrived, expected_events
from tests.tap_runs import (
    END,
    MODES,
    START,
    Outcome,
    Run,
    Tap,
    change,
    hour,
    output_mode,
    partitions,
    settings_of,
    summary_of,
    sync,
)

PRODUCTS = ["ALERT", "WATCHLIST", "PORTFOLIO"]

ROW = "1772409600000|WATCHLIST-CREATED|u||||||\n"

FAULTS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "bytes": ("download", "body", {"body": f"{ROW}no{ROW}"}, "line 2 has the timestamp 'no177"),
    "layout": ("download", "body", {"body": "1772409600000|x|y\n"}, "has 3 columns"),
    "job": ("start", "job-failed", {}, "failed at the service (FAILED)"),
    "rejected": ("start", "error", {"code": "EVENT_X", "status": 400}, "answered 400 (EVENT_X: "),
    "forbidden": ("start", "status", {"code": 403}, "answered 403 (Forbidden); check products, "),
    **{
        f"outage of {call}": (call, "status", {"code": 500}, "gave up after 4 tries")
        for call in ("start", "poll", "link", "download")
    },
}
"""Call, kind and details of a fault, and what the error says."""


@pytest.fixture
def run_quickly(run: Run, tmp_path: Path) -> Run:
    """Return a function that runs the three products, with short pauses before new jobs."""

    def quickly(state: Any = None, code: int = 0, mode: str = "bulk", **more: Any) -> Outcome:
        settings = output_mode(mode, tmp_path / "files") | {"products": PRODUCTS} | more
        return run(state, code, {"is_quick": True}, **settings)

    return quickly


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "failing", [["ALERT"], ["WATCHLIST"], ["WATCHLIST", "PORTFOLIO"], PRODUCTS]
)
def test_all_other_products_reach_their_end(
    service: Emulator, run_quickly: Run, mode: str, failing: list[str]
) -> None:
    for product in failing:
        service.fault("start", "job-failed", after=2, times=None, for_product=product)
    outcome = run_quickly(None, 1, mode, max_concurrent_jobs=1)
    finished = {product: END for product in PRODUCTS if product not in failing}
    assert outcome.bookmarks == finished | dict.fromkeys(failing, hour(2))
    early, whole = (expected_events(service, PRODUCTS, START, end) for end in (hour(2), END))
    came = arrived(outcome.records)
    assert came == early | {key: e for key, e in whole.items() if e["product"] in finished}
    assert re.match(rf"{len(failing)} of 3 products failed: {failing[0]} 20", outcome.reason)
    assert all(f"{product} 2026-03-02 02:00 → 03:00: " in outcome.reason for product in failing)
    others_follow = outcome.log.count("; the other products go on")
    assert others_follow == len({*failing} - {PRODUCTS[-1]})
    summary = summary_of(outcome.log)
    assert (summary["status"], summary["failed"]) == ("failed", failing)
    service.clear_faults()
    resumed = run_quickly(outcome.states[-1], mode=mode)
    assert came | arrived(resumed.records) == whole


@pytest.mark.parametrize("fault", FAULTS)
def test_every_error_about_a_window_is_one_of_its_product(
    service: Emulator, run_quickly: Run, fault: str
) -> None:
    if "outage" in fault:
        change(service, job_seconds=0.5)  # so that calls of others still succeed then
    call, kind, details, said = FAULTS[fault]
    service.fault(call, kind, times=None, for_product="WATCHLIST", **details)
    outcome = run_quickly(None, 1, max_retries=3)
    assert outcome.bookmarks == {"ALERT": END, "PORTFOLIO": END}
    assert "1 of 3 products failed: WATCHLIST 2026-03-02 0" in outcome.reason
    assert said in outcome.reason


@pytest.mark.parametrize("call", ["start", "poll", "link"])
def test_refused_credentials_end_the_whole_sync(
    service: Emulator, run_quickly: Run, call: str
) -> None:
    service.fault(call, "status", code=401, times=None, for_product="ALERT")
    outcome = run_quickly(None, 1)
    assert "products failed" not in outcome.reason
    assert "answered 401" in outcome.reason
    assert "TGAM: sync stopped early · " in outcome.log.splitlines()[-2]
    assert outcome.bookmarks == {}


def test_too_little_memory_ends_the_whole_sync(
    service: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limit(columns: int, *_: int) -> int:
        if columns == 5:  # as ALERT has
            raise MemoryError
        return engine.memory_limit(columns, 0, 0)

    monkeypatch.setattr("tap_barchart_events.files.export_file.memory_limit", limit)
    outcome = sync(settings_of(service, products=[*PRODUCTS[1:], "ALERT"]))
    assert "products failed" not in outcome.reason
    assert re.search("ALERT 2026-03-02 0.:00 → 0.:00: .* memory", outcome.reason)
    assert outcome.bookmarks == dict.fromkeys(PRODUCTS[1:], END)


def test_a_full_disk_ends_the_whole_sync(service: Emulator, run: Run) -> None:
    service.fault("download", "body", times=None, for_product="ALERT", body="x" * 3_000_000)
    limits = {"limits": {"RLIMIT_FSIZE": 1_000_000}}
    outcome = run(None, 1, limits, products=PRODUCTS, max_concurrent_jobs=1)
    assert "products failed" not in outcome.reason
    assert "No space" in outcome.reason or "File too large" in outcome.reason
    assert outcome.bookmarks == {}


@pytest.mark.parametrize(
    ("call", "kind", "details"),
    [("start", "status", {"code": 500}), ("poll", "status", {"code": 500}), ("start", "drop", {})],
)
def test_an_outage_of_all_ends_the_sync(
    service: Emulator, run_quickly: Run, call: str, kind: str, details: dict[str, Any]
) -> None:
    service.fault(call, kind, times=None, **details)
    outcome = run_quickly(None, 1, max_retries=1, max_concurrent_jobs=1)
    assert "products failed" not in outcome.reason
    assert "gave up after 2 tries" in outcome.reason
    retried = "TGAM/ALERT 2026-03-02 00:00 → 01:00: could not start" if call == "start" else "poll"
    assert re.search(rf"{retried} .*; attempt 2 of 2 in ", outcome.log)


def test_the_jobs_of_a_failed_product_are_resumed(service: Emulator, run_quickly: Run) -> None:
    change(service, job_seconds=0.3)
    failing = {"product": "WATCHLIST", "start": from_iso(START)}
    bad = f"{ROW}no{ROW}".encode()
    service.body = lambda job: bad if failing.items() <= job.filter.items() else b""
    first = run_quickly(None, 1)
    service.body = None
    [kept] = [p for p in partitions(first.states[-1]) if p["context"]["product"] == "WATCHLIST"]
    assert 1 <= len(kept["jobs"]) <= 3
    started = len(service.jobs)
    second = run_quickly(first.states[-1])
    assert second.bookmarks == dict.fromkeys(PRODUCTS, END)
    assert len(service.jobs) == started + 4 - len(kept["jobs"])


def test_a_product_that_failed_before_it_was_read_is_not_called_unreached(
    service: Emulator, tmp_path: Path
) -> None:
    service.fault("start", "job-hangs", times=None, for_product="ALERT")
    fault = service.fault("start", "status", code=403, times=None, for_product="WATCHLIST")
    tap = Tap(tmp_path, settings_of(service, products=PRODUCTS, max_concurrent_jobs=6))
    tap.wait_for(lambda: fault.hits)
    polls = len(service.requests)
    outcome = tap.interrupt(lambda: len(service.requests) > polls + 8)
    assert summary_of(outcome.log)["failed"] == ["WATCHLIST"]
    assert "ALERT not reached, 0 new events; WATCHLIST failed, 0 new" in outcome.log
    assert "TGAM: sync stopped early · " in outcome.log


def test_a_product_that_fails_holds_no_other_one_up(service: Emulator, run_quickly: Run) -> None:
    service.fault("start", "job-hangs", times=None, for_product="ALERT")
    service.fault("start", "status", code=403, times=None, after=3, for_product="ALERT")
    outcome = run_quickly(None, 1, job_timeout_minutes=0.02, min_window_seconds=3600)
    assert outcome.bookmarks == {"WATCHLIST": END, "PORTFOLIO": END}
