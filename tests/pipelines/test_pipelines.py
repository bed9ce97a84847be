"""`meltano run` for real, twice; and loaders are as meltano.yml declares them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from barchart_events_emulator import Emulator
from demo.pipeline import PROJECT, Pipeline
from tap_barchart_events.windows import from_iso
from tests.expected_events import arrived, expected_events
from tests.pipelines.pipe import TARGET_POSTGRES, kept_bookmarks, output_of, settings_of, variables
from tests.tap_runs import START, hour

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


TARGET_SNOWFLAKE = PROJECT / ".venv-snowflake" / "bin" / "target-snowflake"


@pytest.mark.parametrize("command", [TARGET_POSTGRES, TARGET_SNOWFLAKE], ids=lambda path: path.name)
def test_every_setting_of_a_loader_is_one_that_it_has(command: Path) -> None:
    about: dict[str, Any] = json.loads(output_of([command, "--about", "--format=json"]))
    has = about["settings"]["properties"]
    project = yaml.safe_load((PROJECT / "meltano.yml").read_text(encoding="utf-8"))
    (loader,) = [one for one in project["plugins"]["loaders"] if one["name"] == command.name]
    for setting in loader["settings"]:
        assert setting["name"] in has
        assert setting["kind"].replace("password", "string") in has[setting["name"]]["type"]
    assert set(loader["capabilities"]) <= set(about["capabilities"])
