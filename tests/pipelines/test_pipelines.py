"""`meltano run` for real: the tap, Meltano's STATE and a target, twice."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from barchart_events_emulator import Emulator
from demo.environment import clean_environment
from demo.pipeline import Pipeline
from orchestrate import meltano
from orchestrate.shards import Run
from tap_barchart_events.products import snake_case
from tap_barchart_events.windows import from_iso, to_iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CUSTOMER = "TGAM"
PRODUCTS = ("BARCHART-EXCEL", "ENTITLEMENTS", "WATCHLIST")
HOUR = 3_600_000
START = 1_772_409_600_000
"""2026-03-02 00:00 UTC, in milliseconds."""
FIRST_END = START + 30 * HOUR
SECOND_END = START + 31 * HOUR
STATE_ID = "demo:tap-barchart-events-to-target-jsonl"

Identity = tuple[str, int, str, frozenset[tuple[str, str]]]
"""Product, timestamp in milliseconds, type, non-empty columns: what an event is."""


@pytest.fixture
def service() -> Iterator[Emulator]:
    now = FIRST_END
    with Emulator(
        events_per_hour=60, clock=lambda: now, date_header=False, max_events=400
    ) as emulator:
        yield emulator


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path / "a folder with spaces")


def settings(pipeline: Pipeline, service: Emulator, end: int) -> dict[str, str]:
    return {
        "TAP_BARCHART_EVENTS_API_URL": service.api_url,
        "TAP_BARCHART_EVENTS_USERNAME": service.username,
        "TAP_BARCHART_EVENTS_PASSWORD": service.password,
        "TAP_BARCHART_EVENTS_CUSTOMER": CUSTOMER,
        "TAP_BARCHART_EVENTS_PRODUCTS": json.dumps(PRODUCTS),
        "TAP_BARCHART_EVENTS_START_DATE": to_iso(START),
        "TAP_BARCHART_EVENTS_END_DATE": to_iso(end),
        "TARGET_JSONL_DESTINATION_PATH": str(pipeline.folder),
    }


def run(pipeline: Pipeline, service: Emulator, end: int) -> list[dict[str, Any]]:
    pipeline.run("tap-barchart-events", "target-jsonl", settings=settings(pipeline, service, end))
    lines = (pipeline.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def expected_events(service: Emulator, start: int, end: int) -> Counter[Identity]:
    return Counter(
        (
            product,
            event.timestamp,
            event.type,
            frozenset((snake_case(name), value) for name, value in event.values.items()),
        )
        for product in PRODUCTS
        for event in service.events(CUSTOMER, product, start, end)
    )


def identities(records: Iterable[dict[str, Any]]) -> Counter[Identity]:
    ours = ("event_id", "customer", "product", "timestamp", "type", "extra", "end")
    return Counter(
        (
            record["product"],
            from_iso(record["timestamp"]),
            record["type"],
            frozenset((n, v) for n, v in record.items() if n not in ours and v is not None),
        )
        for record in records
    )


def test_orchestrate_counts_the_events_of_a_run(pipeline: Pipeline, service: Emulator) -> None:
    counted = meltano.run(
        Run(settings(pipeline, service, START + 2 * HOUR)),
        loader="target-jsonl",
        environ=clean_environment(
            MELTANO_PROJECT_ROOT=str(pipeline.folder), MELTANO_ENVIRONMENT="demo"
        ),
    )
    loaded = (pipeline.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert counted == len(loaded) > 0


def test_two_meltano_runs_bring_each_event_once_and_the_second_only_what_is_new(
    pipeline: Pipeline, service: Emulator
) -> None:
    first = run(pipeline, service, FIRST_END)
    service.advance(hours=1)
    both = run(pipeline, service, SECOND_END)

    assert identities(first) == expected_events(service, START, FIRST_END)
    assert both[: len(first)] == first
    new = both[len(first) :]
    assert new
    assert identities(new) == expected_events(service, FIRST_END, SECOND_END)
    assert len({record["event_id"] for record in both}) == len(both)
    assert {record["customer"] for record in both} == {CUSTOMER}
    assert any(job.status == "TIMEOUT" for job in service.jobs), "no window had to be split"

    partitions = pipeline.state(STATE_ID)["singer_state"]["bookmarks"]["events"]["partitions"]
    assert {
        partition["context"]["product"]: from_iso(partition["replication_key_value"])
        for partition in partitions
    } == dict.fromkeys(PRODUCTS, SECOND_END)


def test_meltano_never_writes_the_password_into_its_log(
    pipeline: Pipeline, service: Emulator
) -> None:
    service.password = "correct horse battery staple"  # noqa: S105 - made up for this test
    run(pipeline, service, START + HOUR)

    log = pipeline.log.read_text(encoding="utf-8")
    assert "tap-barchart-events" in log
    assert service.password not in log
