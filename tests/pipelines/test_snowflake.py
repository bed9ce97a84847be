"""The tap's messages through the real target-snowflake into an emulated Snowflake.

What this shows: the target takes the tap's SCHEMA, RECORD and BATCH messages, names columns and
merges by key as it would anywhere, and the SQL it writes does what it means. What it does not
show: that Snowflake itself takes that SQL, its own casts of VARIANT and date-times, its speed.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from barchart_events_emulator import Emulator
from tests.expected_events import expected_events
from tests.pipelines.pipe import batch_config, loaded, messages, settings_of
from tests.pipelines.warehouses import Snowflake, needs_snowflake

START = "2026-03-02T00:00:00+00:00"
DAYS = [f"2026-03-{day:02}T00:00:00+00:00" for day in (3, 4)]

pytestmark = needs_snowflake


@pytest.fixture
def snowflake(tmp_path: Path) -> Snowflake:
    """Return an empty one."""
    (tmp_path / "snowflake").mkdir()
    return Snowflake(tmp_path / "snowflake")


@pytest.mark.parametrize("way", ["RECORD", "BATCH"])
def test_runs_with_lookback_and_a_further_product_load_each_event_once(
    tmp_path: Path, snowflake: Snowflake, way: str
) -> None:
    files = tmp_path / "batches"
    more = {"batch_config": batch_config(files, batch_size=500)} if way == "BATCH" else {}
    with Emulator(events_per_hour=20, header=True, added_column="mood") as emulator:
        for end, products in (DAYS[0], ["ALERT"]), (DAYS[1], ["ALERT", "PORTFOLIO"]):
            tap = settings_of(emulator, products=products, start_date=START, end_date=end, **more)
            written = messages(tap, tmp_path)
            kinds = {json.loads(line)["type"] for line in written.splitlines()}
            assert kinds == {"SCHEMA", way, "STATE"}
            snowflake.load(written, timestamp_type="TIMESTAMP_TZ")
            (rows,) = snowflake.rows("select * from events")
            assert loaded(rows) == expected_events(emulator, products, START, end)
    assert not list(files.glob("*")), "the target removes the files it has read"


def test_names_are_upper_case_and_reserved_words_too(tmp_path: Path, snowflake: Snowflake) -> None:
    """So that `end`, `column` and `filter` need quotes, and nothing else does."""
    with Emulator(events_per_hour=20) as emulator:
        tap = settings_of(emulator, products=["CMDTYVIEW"], start_date=START, end_date=DAYS[0])
        snowflake.load(messages(tap, tmp_path))
    described, rows = snowflake.rows(
        "describe table events", 'select timestamp, "END", "COLUMN", "FILTER" from events limit 1'
    )
    types = {column["name"]: column["type"] for column in described}
    assert [name for name in types if name != name.upper()] == []
    assert {"EVENT_ID", "TIMESTAMP", "TYPE", "END", "COLUMN", "FILTER"} <= types.keys()
    assert types["TIMESTAMP"] == types["END"] == "TIMESTAMP_NTZ(9)"
    assert types["EXTRA"] == "VARIANT"
    assert rows
