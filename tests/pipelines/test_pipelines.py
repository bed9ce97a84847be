"""`meltano run` for real, twice; and loaders are as meltano.yml declares them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from barchart_events_emulator import Emulator
from demo.pipeline import PROJECT, Pipeline
from tap_barchart_events.windows import from_iso
from tests.expected_events import arrived, expected_events
from tests.pipelines.pipe import TARGET_POSTGRES, kept_bookmarks, settings_of, variables
from tests.project.commands import output_of
from tests.tap_runs import START, hour

PRODUCTS = ["BARCHART-EXCEL", "ENTITLEMENTS", "WATCHLIST"]
ENDS = (hour(30), hour(31))
STATE_ID = "demo:tap-barchart-events-to-target-jsonl"
TARGET_SNOWFLAKE = PROJECT / ".venv-snowflake" / "bin" / "target-snowflake"


def test_two_meltano_runs_load_each_event_once_and_log_no_password(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "a folder with spaces")
    records: list[list[dict[str, Any]]] = []
    with Emulator(
        events_per_hour=60,
        date_header=False,
        max_events=400,
        clock=lambda: from_iso(ENDS[0]),
        password="correct horse battery staple",  # noqa: S106 - made up for this test
    ) as service:
        for end in ENDS:
            tap = settings_of(service, products=PRODUCTS, start_date=START, end_date=end)
            settings = variables(tap) | {"TARGET_JSONL_DESTINATION_PATH": str(pipeline.folder)}
            pipeline.run("tap-barchart-events", "target-jsonl", settings=settings)
            lines = (pipeline.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
            records.append([json.loads(line) for line in lines])
            service.advance(hours=1)
        first, both = records
        assert arrived(first) == expected_events(service, PRODUCTS, START, ENDS[0])
        new = expected_events(service, PRODUCTS, *ENDS)

    assert new
    assert both[: len(first)] == first
    # The target appends, so an event that was loaded again would be there twice.
    assert arrived(both) == arrived(first) | new
    assert any(job.status == "TIMEOUT" for job in service.jobs), "no window had to be split"
    assert kept_bookmarks(pipeline, STATE_ID) == dict.fromkeys(PRODUCTS, ENDS[1])
    log = pipeline.log.read_text(encoding="utf-8")
    assert "tap-barchart-events" in log
    assert service.password not in log


@pytest.mark.parametrize("command", [TARGET_POSTGRES, TARGET_SNOWFLAKE], ids=lambda path: path.name)
def test_every_setting_of_a_loader_is_one_that_it_has(command: Path) -> None:
    about: dict[str, Any] = json.loads(output_of(command, "--about", "--format=json"))
    has = about["settings"]["properties"]
    project = yaml.safe_load((PROJECT / "meltano.yml").read_text(encoding="utf-8"))
    (loader,) = [one for one in project["plugins"]["loaders"] if one["name"] == command.name]
    for setting in loader["settings"]:
        assert setting["name"] in has
        assert setting["kind"].replace("password", "string") in has[setting["name"]]["type"]
    assert set(loader["capabilities"]) <= set(about["capabilities"])
