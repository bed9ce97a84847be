"""`--test`: what a sync would cover, and one sentence about whether it would work."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from barchart_events_emulator import Emulator
from tests.tap_runs import Outcome, Run, catalog_of, hour, output_mode, settings_of

PRODUCTS = ["WATCHLIST", "ALERT"]
TEST = {"arguments": ("--test",)}


@pytest.fixture
def tried(run: Run) -> Run:
    """Return a function that runs the tap with `--test`; it ends well and writes no message."""

    def tried(state: Any = None, **more: Any) -> Outcome:
        outcome = run(state, **{"options": TEST, "products": PRODUCTS, **more})
        assert outcome.written == b""
        assert "OK: the credentials are accepted" in outcome.reason
        return outcome

    return tried


def test_it_says_what_a_sync_would_cover_and_ends_in_one_sentence(tried: Run) -> None:
    outcome = tried()
    assert (
        outcome.reason == "OK: the credentials are accepted, one event of TGAM/WATCHLIST was read"
    )
    for product in PRODUCTS:
        assert (
            f"TGAM/{product}: a sync would cover 2026-03-02 00:00 → 04:00, with no sizes "
            "learnt so far\n"
        ) in outcome.log
    assert not re.search("METRIC|failed|WARNING", outcome.log)


def test_it_starts_from_state_and_says_whether_sizes_were_learnt(run: Run, tried: Run) -> None:
    log = tried(run(end_date=hour(2.5)).states[-1]).log
    assert (
        "TGAM/WATCHLIST: a sync would cover 2026-03-02 02:30 → 04:00, with the sizes that "
        "earlier runs learnt"
    ) in log
    assert "TGAM/ALERT: a sync would cover 2026-03-02 00:00 → 04:00, with" in log


def test_it_reads_an_hour_at_most(service: Emulator, tried: Run) -> None:
    tried(window_hours=744)
    assert max(job.end - job.start for job in service.jobs) <= 3_600_000


def test_it_ends_when_one_event_was_read_whatever_other_jobs_do(
    service: Emulator, tried: Run
) -> None:
    service.fault("start", "job-hangs", after=1)
    began = time.monotonic()
    tried(max_concurrent_jobs=1)
    assert time.monotonic() - began < 20


def test_without_an_event_it_says_that_the_credentials_are_fine(
    service: Emulator, tried: Run
) -> None:
    service.events_per_hour = 0
    assert tried().reason.endswith(
        "; no product has an event in the last hour of what a sync would cover"
    )


def test_a_sync_with_nothing_to_do_is_reported_beforehand(run: Run, tried: Run) -> None:
    log = tried(run().states[-1], products=["WATCHLIST"]).log
    assert "TGAM/WATCHLIST: nothing to export: the sync would begin at" in log
    assert "would cover 2026" not in log


def test_the_event_passes_through_stream_maps(run: Run, tried: Run, tmp_path: Path) -> None:
    wrong = run(None, 1, TEST, stream_maps={"events": {"longer": "int(customer)"}})
    assert "setting stream_maps cannot be used" in wrong.reason
    tried(**output_mode("one by one", tmp_path))


def test_an_event_is_read_also_of_a_stream_that_is_deselected_or_removed(
    service: Emulator, tried: Run
) -> None:
    catalog = catalog_of(settings_of(service), stream={"selected": False})
    deselected = tried(options=TEST | {"catalog": catalog})
    removed = tried(stream_maps={"events": None})
    for outcome in (deselected, removed):
        assert "one event of TGAM/WATCHLIST was read" in outcome.reason


def test_wrong_credentials_are_named(run: Run) -> None:
    outcome = run(None, 1, TEST, password="wrong")  # noqa: S106
    assert "check the credentials: the service answered 401" in outcome.reason
