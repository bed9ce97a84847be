"""The marts of the demo: dbt builds them on DuckDB from the target's file."""

import subprocess
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

import duckdb

from demo.command import DemoError
from demo.environment import clean_environment
from demo.pipeline import PROJECT

DBT = PROJECT / ".meltano" / "utilities" / "dbt-postgres" / "venv" / "bin" / "dbt"
TRANSFORM = PROJECT / "transform"


class Overview(NamedTuple):
    """One product in the mart of products."""

    product: str
    events: int
    users: int
    sessions: int
    seconds_per_session: float
    first: datetime
    """First event, UTC."""
    last: datetime
    """Last event, UTC."""


class Day(NamedTuple):
    """One product on one day (UTC)."""

    product: str
    day: date
    active_users: int
    new_users: int
    sessions: int
    events: int


class EventType(NamedTuple):
    """One event type over all days."""

    product: str
    code: str
    events: int


class Marts(NamedTuple):
    """What the picture and the report show."""

    users: int
    """Different users, over all products."""
    overview: tuple[Overview, ...]
    days: tuple[Day, ...]
    types: tuple[EventType, ...]
    """Most events first."""


def build(events: Path, database: Path) -> None:
    """Run `dbt build`: models and their tests.

    Args:
        events: What target-jsonl wrote.
        database: The DuckDB file to build the models in; what dbt itself writes goes beside it.

    Raises:
        DemoError: A model or a test failed; the message is the end of dbt's output.
    """
    scratch = database.with_suffix(".dbt")
    done = subprocess.run(
        [
            DBT,
            "--no-use-colors",
            "build",
            f"--project-dir={TRANSFORM}",
            f"--profiles-dir={TRANSFORM}",
            f"--target-path={scratch / 'target'}",
            f"--log-path={scratch}",
        ],
        env=clean_environment(
            DBT_TARGET="duckdb",
            DBT_DUCKDB_PATH=str(database),
            DBT_DUCKDB_FILES=str(events),
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        raise DemoError("\n".join([*lines[-30:], f"dbt ended with exit code {done.returncode}"]))


def read(database: Path) -> Marts:
    """Return the marts of a DuckDB file."""
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("USE barchart_marts")
        [(users,)] = connection.execute(
            "SELECT count(DISTINCT user_id) FROM barchart__user_days"
        ).fetchall()
        overview = connection.execute(
            "SELECT product, events, users, sessions, average_session_seconds, first_event_at, "
            "last_event_at FROM barchart__product_overview ORDER BY product"
        ).fetchall()
        days = connection.execute(
            "SELECT product, day, active_users, new_users, sessions, events "
            "FROM barchart__daily_active_users ORDER BY product, day"
        ).fetchall()
        types = connection.execute(
            "SELECT product, type, sum(events)::BIGINT AS events "
            "FROM barchart__events_by_type_and_day GROUP BY ALL ORDER BY events DESC, type"
        ).fetchall()
    return Marts(
        users,
        tuple(Overview(*row) for row in overview),
        tuple(Day(*row) for row in days),
        tuple(EventType(*row) for row in types),
    )
