"""The views of sql/postgres over a real PostgreSQL, held to an obvious computation in Python."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from barchart_events_emulator import Emulator
from demo.pipeline import PROJECT
from tests.pipelines import views
from tests.pipelines.expected_events import held, milliseconds
from tests.pipelines.pipe import load_into_postgres, messages, settings_of

if TYPE_CHECKING:
    from demo.postgres_server import Postgres

PRODUCTS = ["BARCHART-EXCEL", "CMDTYVIEW", "PORTFOLIO"]
START, END = "2026-03-02T00:00:00+00:00", "2026-03-04T00:00:00+00:00"
SCHEMA = "views"
VIEWS = (PROJECT / "sql" / "postgres" / "views.sql").read_text(encoding="utf-8")
# A session in another zone must see the same days and the same instants.
ELSEWHERE = "Asia/Tokyo"


class Loaded(NamedTuple):
    """A table loaded with all that the service holds, and the views over it."""

    postgres: Postgres
    truth: list[views.Event]


@pytest.fixture(scope="module")
def loaded(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """Load three products, and make the views twice, as after an upgrade."""
    folder = tmp_path_factory.mktemp("views")
    with Emulator(events_per_hour=40, header=True, added_column="mood") as emulator:
        settings = settings_of(emulator, products=PRODUCTS, start_date=START, end_date=END)
        written = messages(settings, folder)
        truth = views.events_of(held(emulator, PRODUCTS, START, END).elements())
    load_into_postgres(written, postgres, SCHEMA, folder)
    for _ in range(2):
        postgres.execute(VIEWS, schema=SCHEMA, time_zone=ELSEWHERE)
    return Loaded(postgres, truth)


def test_typed_columns_are_the_values_as_booleans_and_counts(loaded: Loaded) -> None:
    rows = loaded.postgres.rows("select * from events_typed", schema=SCHEMA)
    found = Counter(
        (
            milliseconds(row["occurred_at"]),
            row["day"],
            row["type"],
            *(row[name] for name in views.FLAGS + views.COUNTS),
        )
        for row in rows
    )
    truth = views.typed(loaded.truth)
    assert found == truth
    assert {True, False} <= {row["show_closed_positions"] for row in rows}
    assert any(row["symbols_count"] for row in rows)


def test_extra_is_an_object_or_null(loaded: Loaded) -> None:
    rows = loaded.postgres.rows(
        "select extra from events_typed where extra is not null", schema=SCHEMA
    )
    assert Counter(row["extra"]["mood"] for row in rows) == Counter(
        event["extra"]["mood"] for event in loaded.truth if "extra" in event
    )


def test_daily_active_users(loaded: Loaded) -> None:
    rows = loaded.postgres.rows("select * from daily_active_users", schema=SCHEMA)
    found = {(r["product"], r["day"], r["active_users"], r["events"]) for r in rows}
    assert found == views.daily_active_users(loaded.truth)


def test_events_by_type_and_day(loaded: Loaded) -> None:
    rows = loaded.postgres.rows("select * from events_by_type_and_day", schema=SCHEMA)
    found = {(r["product"], r["type"], r["day"], r["events"], r["users"]) for r in rows}
    assert found == views.events_by_type_and_day(loaded.truth)


def test_sessions(loaded: Loaded) -> None:
    rows = loaded.postgres.rows("select * from sessions", schema=SCHEMA)
    found = Counter(
        (
            row["product"],
            row["user_id"],
            row["session_number"],
            milliseconds(row["started_at"]),
            milliseconds(row["ended_at"]),
            row["events"],
        )
        for row in rows
    )
    assert found == views.sessions(loaded.truth)
    assert max(row["session_number"] for row in rows) > 1
    assert max(row["seconds"] for row in rows) > 0


def test_what_is_neither_a_flag_nor_a_count_is_null(loaded: Loaded) -> None:
    flags = [*views.TRUE, *views.FALSE, "TRUE", "No", "maybe", "", " true"]
    counts = ["7", "007", "12.5", "-1", "9" * 18, "9" * 19, "٣"]
    texts = json.dumps(flags + counts)
    (row,) = loaded.postgres.rows(
        "select array_agg(event_flag(text)) as flags, array_agg(event_count(text)) as counts"  # noqa: S608 - the texts above
        f" from json_array_elements_text('{texts}') as text",
        schema=SCHEMA,
    )
    assert row["flags"] == [views.flag(text) for text in flags + counts]
    assert row["counts"] == [views.count(text) for text in flags + counts]


def test_the_views_stand_on_a_table_of_a_product_without_their_columns(postgres: Postgres) -> None:
    columns = "event_id text primary key, customer text, product text, type text, extra jsonb"
    times = '"timestamp" timestamp, "end" timestamp'
    postgres.execute(f"create schema bare; create table bare.events ({columns}, {times})")
    postgres.execute(VIEWS, schema="bare")
    assert postgres.rows("select * from sessions", schema="bare") == []
