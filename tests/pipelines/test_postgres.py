"""From the emulator into a real PostgreSQL: the table holds the expected events."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barchart_events_emulator import Emulator, Event
from demo.pipeline import Pipeline
from demo.postgres_server import Postgres
from tap_barchart_events.windows import from_iso
from tests.expected_events import expected_events
from tests.pipelines.pipe import (
    batch_config,
    into_postgres,
    load_into_postgres,
    loaded_into,
    messages,
    settings_of,
    variables,
)

START = "2026-03-02T00:00:00+00:00"
DAYS = [f"2026-03-{day:02}T00:00:00+00:00" for day in (3, 4, 5, 6, 7, 8)]


def types(postgres: Postgres, schema: str) -> dict[str, str]:
    """Return the types of the table's columns."""
    columns = postgres.rows(
        "select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute"
        " where attrelid = 'events'::regclass and attnum > 0",
        schema=schema,
    )
    return {column["name"]: column["type"] for column in columns}


def test_nightly_runs_with_lookback_load_each_event_once(
    tmp_path: Path, postgres: Postgres, schema: str
) -> None:
    """Late events, a column that the vendor adds, a product that the user adds, BATCH files."""
    before = Emulator(events_per_hour=20)
    after = Emulator(events_per_hour=20, added_column="mood")
    pipeline = Pipeline(tmp_path / "project")

    def with_moods_from_the_fourth(
        customer: str, product: str, start: int, end: int
    ) -> Iterator[Event]:
        since = from_iso(DAYS[2])
        yield from before.events(customer, product, start, min(end, since))
        yield from after.events(customer, product, max(start, since), end)

    def night(end: str, *products: str, environ: dict[str, str] | None = None, **tap: Any) -> None:
        """Run once, up to an instant, and find the table to be what the service then holds."""
        more = {"start_date": START, "end_date": end, "lookback_hours": 48, **tap}
        settings = variables(settings_of(emulator, products=products, **more))
        settings |= into_postgres(postgres, schema) | (environ or {})
        blocks = ("tap-barchart-events", "target-postgres")
        pipeline.run(*blocks, environment="prod", settings=settings)
        assert loaded_into(postgres, schema) == expected_events(emulator, products, START, end)

    secret = "correct horse battery staple"  # noqa: S105 - made up for this test
    with Emulator(events_per_hour=20, late_share=0.1, header=True, password=secret) as emulator:
        night(DAYS[0], "WATCHLIST")
        in_time = expected_events(emulator, ["WATCHLIST"], START, DAYS[0])

        emulator.release_late()
        all_events = expected_events(emulator, ["WATCHLIST"], START, DAYS[0])
        assert len(in_time) < len(all_events), "none was late"
        emulator.source, emulator.added_column = with_moods_from_the_fourth, "mood"
        night(DAYS[3], "WATCHLIST", environ={"TARGET_POSTGRES_USE_COPY": "false"})
        moods = "select from events where extra ->> 'mood' is not null"
        assert postgres.rows(moods, schema=schema)
        assert "portfolio_id" not in types(postgres, schema)

        for end, file_format, size in ((DAYS[4], "jsonl", 512), (DAYS[5], "parquet", 2048)):
            files = batch_config(tmp_path / file_format, file_format, size)
            night(end, "WATCHLIST", "PORTFOLIO", batch_config=files)
            assert len(list((tmp_path / file_format).iterdir())) > 1
    log = pipeline.log.read_text(encoding="utf-8")
    assert "tap-barchart-events" in log
    assert secret not in log

    made = types(postgres, schema)
    assert made["portfolio_id"] == made["event_id"] == made["type"] == "text"
    assert made["timestamp"] == made["end"] == "timestamp without time zone"
    assert made["extra"] == "jsonb"


@pytest.mark.parametrize("use_copy", [True, False])
def test_columns_made_with_a_time_zone_stay_and_hold_the_expected_events(
    tmp_path: Path, postgres: Postgres, schema: str, *, use_copy: bool
) -> None:
    """In a session that is not in UTC."""
    times = '"timestamp" timestamptz, "end" timestamptz'
    postgres.execute(
        f"create schema {schema}; create table {schema}.events (event_id text primary key, {times})"
    )
    with Emulator(events_per_hour=20) as emulator:
        tap = settings_of(emulator, products=["ALERT"], start_date=START, end_date=DAYS[0])
        written = messages(tap, tmp_path)
        load_into_postgres(written, postgres, schema, tmp_path, use_copy=use_copy)
        assert loaded_into(postgres, schema) == expected_events(emulator, ["ALERT"], START, DAYS[0])
    assert types(postgres, schema)["timestamp"] == "timestamp with time zone"


def test_the_character_nul_does_not_stop_a_load_with_the_setting_advised(
    tmp_path: Path, postgres: Postgres, schema: str
) -> None:
    """It does without, which is why meltano.yml has the setting."""

    def with_nul(_customer: str, _product: str, start: int, _end: int) -> Iterator[Event]:
        yield Event(start, "ALERT-CREATED", {"userId": "a\0b", "mood": "c\0d"})

    with Emulator(header=True, added_column="mood", source=with_nul) as emulator:
        tap = settings_of(emulator, products=["ALERT"], start_date=START, end_date=DAYS[0])
        written = messages(tap, tmp_path)
    with pytest.raises(AssertionError, match="NUL"):
        load_into_postgres(written, postgres, schema, tmp_path)
    load_into_postgres(written, postgres, schema, tmp_path, sanitize_null_text_characters=True)
    (row,) = postgres.rows("select user_id, extra ->> 'mood' as mood from events", schema=schema)
    assert row == {"user_id": "a\ufffdb", "mood": "c\ufffdd"}
