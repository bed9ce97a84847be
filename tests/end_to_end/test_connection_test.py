"""`--test`: what a sync would cover, and one sentence about whether it would work."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from barchart_events_emulator import Emulator
from tests.tap_runs import Outcome, Tap, output_mode, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRODUCTS = ["WATCHLIST", "ALERT"]


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=0.05, events_per_hour=60) as emulator:
        yield emulator


def try_out(
    folder: Path,
    service: Emulator,
    state: dict[str, Any] | None = None,
    **more: Any,
) -> Outcome:
    """Run the tap with `--test`; it ends well and writes nothing to stdout."""
    settings = settings_of(service, **{"products": PRODUCTS, **more})
    outcome = Tap(folder, settings, state, arguments=("--test",)).end()
    assert outcome.code == 0, outcome.log
    assert outcome.written == b""
    return outcome


def starts(service: Emulator) -> list[dict[str, Any]]:
    return [job.filter for job in service.jobs]


def test_it_ends_in_one_sentence_without_metrics(service: Emulator, tmp_path: Path) -> None:
    log = try_out(tmp_path, service).log
    assert log.splitlines()[-1].endswith(
        "| OK: the credentials are accepted, one event of TGAM/WATCHLIST was read"
    )
    assert "METRIC" not in log
    assert "failed" not in log
    assert "WARNING" not in log


def test_it_says_of_each_product_what_a_sync_would_cover(service: Emulator, tmp_path: Path) -> None:
    log = try_out(tmp_path, service).log
    for product in PRODUCTS:
        assert (
            f"TGAM/{product}: a sync would cover 2026-03-02 00:00 → 04:00: 4 hours, with no "
            "sizes learnt so far\n"
        ) in log
    assert log.index("would cover") < log.index("OK: ")


def test_it_starts_from_state_and_says_whether_sizes_were_learnt(
    service: Emulator, tmp_path: Path
) -> None:
    settings = settings_of(service, end_date="2026-03-02T02:30:00Z")
    before = Tap(tmp_path, settings).end()
    service.requests.clear()
    log = try_out(tmp_path, service, before.states[-1]).log
    assert re.search(
        r"TGAM/WATCHLIST: a sync would cover 2026-03-02 02:30 → 04:00: 1.5 hours, with "
        r"the sizes that earlier runs learnt",
        log,
    )
    assert "TGAM/ALERT: a sync would cover 2026-03-02 00:00 → 04:00: 4 hours, " in log


def test_a_range_below_an_hour_is_given_in_smaller_units(service: Emulator, tmp_path: Path) -> None:
    log = try_out(tmp_path, service, end_date="2026-03-02T00:00:30Z").log
    assert "TGAM/ALERT: a sync would cover 2026-03-02 00:00 → 00:00:30: 30 s, " in log


def test_it_reads_an_hour_at_most(service: Emulator, tmp_path: Path) -> None:
    try_out(tmp_path, service, window_hours=744)
    jobs = starts(service)
    assert jobs
    assert all(job["end"] - job["start"] <= 3_600_000 for job in jobs)


def test_it_ends_when_one_event_was_read_whatever_other_jobs_do(
    service: Emulator, tmp_path: Path
) -> None:
    service.fault("start", "job-hangs", after=1)
    began = time.monotonic()
    log = try_out(tmp_path, service, max_concurrent_jobs=1).log
    assert "OK: " in log
    assert time.monotonic() - began < 20


def test_without_an_event_it_says_that_the_credentials_are_fine(tmp_path: Path) -> None:
    with Emulator(job_seconds=0.01, events_per_hour=0) as service:
        log = try_out(tmp_path, service).log
    assert log.splitlines()[-1].endswith(
        "OK: the credentials are accepted; no product has an event in the last hour of what a sync "
        "would cover"
    )


def test_a_sync_with_nothing_to_do_is_reported_beforehand(
    service: Emulator, tmp_path: Path
) -> None:
    before = Tap(tmp_path, settings_of(service)).end()
    log = try_out(tmp_path, service, before.states[-1], products=["WATCHLIST"]).log
    assert "TGAM/WATCHLIST: nothing to export: the sync would begin at" in log
    assert "would cover 2026" not in log
    assert "OK: the credentials are accepted" in log.splitlines()[-1]


def test_the_event_passes_through_stream_maps(service: Emulator, tmp_path: Path) -> None:
    maps = {"events": {"longer": "int(customer)"}}
    tap = Tap(tmp_path, settings_of(service, stream_maps=maps), arguments=("--test",))
    outcome = tap.end()
    assert outcome.code == 1
    assert "setting stream_maps cannot be used" in outcome.log.splitlines()[-1]
    assert "OK: " in try_out(tmp_path, service, **output_mode("one by one", tmp_path, 1)).log
