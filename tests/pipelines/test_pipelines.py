"""`meltano run` for real: the tap, Meltano's STATE and a target, twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from barchart_events_emulator import Emulator
from demo.environment import clean_environment
from demo.pipeline import Pipeline
from orchestrate import meltano
from orchestrate.shards import Run
from tap_barchart_events.windows import from_iso
from tests.expected_events import arrived, expected_events
from tests.pipelines.pipe import kept_bookmarks, settings_of, variables
from tests.tap_runs import START, hour

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRODUCTS = ["BARCHART-EXCEL", "ENTITLEMENTS", "WATCHLIST"]
FIRST_END, SECOND_END = hour(30), hour(31)
STATE_ID = "demo:tap-barchart-events-to-target-jsonl"


@pytest.fixture
def service() -> Iterator[Emulator]:
    options: dict[str, Any] = {"events_per_hour": 60, "date_header": False, "max_events": 400}
    with Emulator(clock=lambda: from_iso(FIRST_END), **options) as emulator:
        yield emulator


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path / "a folder with spaces")


def settings(pipeline: Pipeline, service: Emulator, end: str) -> dict[str, str]:
    tap = settings_of(service, products=PRODUCTS, start_date=START, end_date=end)
    return {**variables(tap), "TARGET_JSONL_DESTINATION_PATH": str(pipeline.folder)}


def lines(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Return what target-jsonl has written so far."""
    text = (pipeline.folder / "events.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def run(pipeline: Pipeline, service: Emulator, end: str) -> list[dict[str, Any]]:
    pipeline.run("tap-barchart-events", "target-jsonl", settings=settings(pipeline, service, end))
    return lines(pipeline)


def test_orchestrate_counts_the_events_of_a_run(pipeline: Pipeline, service: Emulator) -> None:
    environ = {"MELTANO_PROJECT_ROOT": str(pipeline.folder), "MELTANO_ENVIRONMENT": "demo"}
    counted = meltano.run(
        Run(settings(pipeline, service, hour(2))),
        loader="target-jsonl",
        environ=clean_environment(**environ),
    )
    assert counted == len(lines(pipeline)) > 0


def test_two_meltano_runs_bring_each_event_once_and_the_second_only_what_is_new(
    pipeline: Pipeline, service: Emulator
) -> None:
    first = run(pipeline, service, FIRST_END)
    service.advance(hours=1)
    both = run(pipeline, service, SECOND_END)

    assert arrived(first) == expected_events(service, PRODUCTS, START, FIRST_END)
    assert both[: len(first)] == first
    new = expected_events(service, PRODUCTS, FIRST_END, SECOND_END)
    assert new
    assert arrived(both) == arrived(first) | new
    assert any(job.status == "TIMEOUT" for job in service.jobs), "no window had to be split"
    assert kept_bookmarks(pipeline, STATE_ID) == dict.fromkeys(PRODUCTS, SECOND_END)


def test_meltano_never_writes_the_password_into_its_log(
    pipeline: Pipeline, service: Emulator
) -> None:
    service.password = "correct horse battery staple"  # noqa: S105 - made up for this test
    run(pipeline, service, hour(1))

    log = pipeline.log.read_text(encoding="utf-8")
    assert "tap-barchart-events" in log
    assert service.password not in log
