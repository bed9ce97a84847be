"""From the emulator into a real PostgreSQL: the table holds the expected events."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barchart_events_emulator import Emulator, Event
from demo.pipeline import Pipeline
from demo.postgres_server import Postgres
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.windows import from_iso
from tests.expected_events import expected_events
from tests.pipelines.pipe import (
    batch_config,
    into_postgres,
    load_into_postgres,
    loaded,
    messages,
    settings_of,
    variables,
)

START = "2026-03-02T00:00:00+00:00"
DAYS = [f"2026-03-{day:02}T00:00:00+00:00" for day in (3, 4, 5, 6, 7)]


def check_table(
    postgres: Postgres, schema: str, emulator: Emulator, products: list[str], end: str
) -> None:
    """Hold the table to the service, event by event."""
    rows = postgres.rows("select * from events", schema=schema)
    assert loaded(rows) == expected_events(emulator, products, START, end)


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
    before = Emulator(events_per_hour=60)
    after = Emulator(events_per_hour=60, added_column="mood")
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
        check_table(postgres, schema, emulator, list(products), end)

    with Emulator(events_per_hour=60, late_share=0.1, header=True) as emulator:
        night(DAYS[0], "WATCHLIST")
        in_time = expected_events(emulator, ["WATCHLIST"], START, DAYS[0])

        emulator.release_late()
        night(DAYS[1], "WATCHLIST", environ={"TARGET_POSTGRES_USE_COPY": "false"})
        all_events = expected_events(emulator, ["WATCHLIST"], START, DAYS[0])
        assert len(in_time) < len(all_events), "none was late"

        emulator.source, emulator.added_column = with_moods_from_the_fourth, "mood"
        night(DAYS[3], "WATCHLIST")
        moods = "select from events where extra ->> 'mood' is not null"
        assert postgres.rows(moods, schema=schema)
        assert "portfolio_id" not in types(postgres, schema)

        night(DAYS[3], "WATCHLIST", "PORTFOLIO")
        files = tmp_path / "batches"
        night(DAYS[4], "WATCHLIST", "PORTFOLIO", batch_config=batch_config(files))
        assert len(list(files.iterdir())) > 1

    made = types(postgres, schema)
    assert made["portfolio_id"] == made["event_id"] == made["type"] == "text"
    assert made["timestamp"] == made["end"] == "timestamp without time zone"
    assert made["extra"] == "jsonb"


def mood_or_weather(customer: str, product: str, start: int, end: int) -> Iterator[Event]:
    """Yield the emulator's events, each with a value for one of two columns unknown to the tap."""
    for event in Emulator(events_per_hour=40).events(customer, product, start, end):
        name = "mood" if event.timestamp % 2 else "weather"
        yield event._replace(values={**event.values, name: "fair"})


@pytest.mark.parametrize(
    ("file_format", "batch_sizes"), [("jsonl", (1000, 300)), ("parquet", (4000, 2048))]
)
def test_batch_files_load_as_the_same_rows(
    tmp_path: Path, postgres: Postgres, schema: str, file_format: str, batch_sizes: tuple[int, int]
) -> None:
    """Twice, with lookback and a smaller batch, so that rows and files overlap."""
    files = tmp_path / "batches"
    columns = (*PRODUCTS["PORTFOLIO"].layouts[-1], "mood", "weather")
    with Emulator(header=True, source=mood_or_weather, columns={"PORTFOLIO": columns}) as emulator:
        for end, batch_size in zip(DAYS[:2], batch_sizes, strict=True):
            tap = settings_of(
                emulator,
                products=["PORTFOLIO"],
                start_date=START,
                end_date=end,
                batch_config=batch_config(files, file_format, batch_size),
            )
            written = messages(tap, tmp_path)
            kinds = Counter(json.loads(line)["type"] for line in written.splitlines())
            assert kinds["BATCH"] > 0
            assert kinds["RECORD"] == 0
            load_into_postgres(written, postgres, schema, tmp_path)
            check_table(postgres, schema, emulator, ["PORTFOLIO"], end)


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
        check_table(postgres, schema, emulator, ["ALERT"], DAYS[0])
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
