"""The marts of the demo: dbt builds them on DuckDB from the target's file."""

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb

from demo.environment import clean_environment
from demo.pipeline import PROJECT, written_by

DBT = PROJECT / ".venv-dbt-duckdb" / "bin" / "dbt"
TRANSFORM = PROJECT / "transform"
_QUERIES = Path(__file__).with_name("queries")


def build(events: Path, database: Path) -> None:
    """Run `dbt build`: models and their tests.

    Args:
        events: What target-jsonl wrote.
        database: The DuckDB file to build the models in; what dbt itself writes goes beside it.

    Raises:
        DemoError: A model or a test failed; the message is the end of dbt's output.
    """
    scratch = database.with_suffix(".dbt")
    written_by(
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
            DBT_TARGET="duckdb", DBT_DUCKDB_PATH=str(database), DBT_DUCKDB_FILES=str(events)
        ),
    )


def read(database: Path) -> SimpleNamespace:
    """Return what the report shows of the marts in a DuckDB file.

    Each query in `queries` is an attribute with its rows, whose attributes are the columns. Users
    of several products are counted once. "This week" is the seven days up to `last`, the last day
    that is complete for every product; "28 days" end with it too.
    """
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("USE barchart_marts")

        def rows(file: Path, last: date | None = None) -> list[Any]:
            query = file.read_text(encoding="utf-8")
            found = connection.execute(query, {"last": last} if "$last" in query else {})
            columns = [column for column, *_ in found.description]
            values = found.fetchall()
            return [SimpleNamespace(**dict(zip(columns, row, strict=True))) for row in values]

        last = rows(_QUERIES / "last_day.sql")[0].day
        answers = {file.stem: rows(file, last) for file in _QUERIES.glob("*.sql")}
        return SimpleNamespace(**answers, last=last)
