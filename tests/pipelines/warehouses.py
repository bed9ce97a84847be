"""Databases with the table `events` and the models of `transform/`, for tests.

Each loads a month and builds. Then it loads, as BATCH files, an older month, days of the first
month that have late events now, and a further product, and builds incrementally. Then it builds
again.
"""

from __future__ import annotations

import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from barchart_events_emulator import Emulator
from demo.pipeline import PROJECT, Pipeline
from demo.postgres_server import Postgres
from tap_barchart_events.windows import from_iso
from tests.pipelines.marts import Row
from tests.pipelines.pipe import (
    batch_config,
    load_into_postgres,
    messages,
    output_of,
    settings_of,
    variables,
)
from tests.pipelines.usage import NEW, OLD, REREAD

PRODUCTS = ["BARCHART-EXCEL", "ENTITLEMENTS", "PORTFOLIO"]
ADDED = "CMDTYVIEW"
NO_UNIT_TESTS = ("--exclude-resource-type", "unit_test")

MODELS = sorted(path.stem for path in (PROJECT / "transform" / "models").rglob("*.sql"))
TIMES = re.compile(r"\w+_(at|end|until)")
DAYS = re.compile(r"(first_)?(day|week|month)")
NUMBERS = {"seconds", "retention", "average_session_seconds"}


Models = dict[str, list[Row]]
"""The rows of each model."""

DBT = PROJECT / ".meltano" / "utilities" / "dbt-postgres" / "venv" / "bin" / "dbt"
TRANSFORM = PROJECT / "transform"
MARTS = "barchart_marts"
"""The schema of the models, by default."""

PYTHON = PROJECT / ".venv-snowflake" / "bin" / "python"
SCRIPT = PROJECT / "tests" / "pipelines" / "emulated_snowflake.py"

INSTALLED = bool(list(PYTHON.parent.parent.glob("lib/python*/site-packages/fakesnow")))
NOT_INSTALLED = "fakesnow, the emulated Snowflake, needs Python 3.11 or later"


class Dbt:
    """dbt with one database, and a folder for what it writes."""

    def __init__(
        self,
        target: str,
        folder: Path,
        variables: Mapping[str, str],
        launcher: tuple[str, ...] = (),
    ) -> None:
        """Take the database.

        Args:
            target: Its name in `profiles.yml`.
            folder: Where dbt keeps what it has parsed, and its log.
            variables: Environment variables: the connection.
            launcher: A command that runs dbt, whose last arguments are those of dbt's.
        """
        self._command = (*launcher, str(DBT))
        self._results = folder / "target"
        self._environ = {
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "DBT_TARGET": target,
            "DBT_PROJECT_DIR": str(TRANSFORM),
            "DBT_PROFILES_DIR": str(TRANSFORM),
            "DBT_TARGET_PATH": str(self._results),
            "DBT_LOG_PATH": str(folder / "logs"),
            **variables,
        }

    def __call__(self, *arguments: str, code: int = 0) -> None:
        """Run a command of dbt's, such as `build`, which has to end with a code."""
        output_of([*self._command, *arguments], code, cwd=TRANSFORM, env=self._environ)

    def results(self, name: str = "run_results") -> dict[str, dict[str, Any]]:
        """Return the results of the last command, by the name of the model or test."""
        text = (self._results / f"{name}.json").read_text(encoding="utf-8")
        return {
            result["unique_id"].split(".")[-1]: result for result in json.loads(text)["results"]
        }


class Snowflake:
    """An emulated Snowflake, whose databases are files in a folder."""

    def __init__(self, folder: Path) -> None:
        """Start with no database."""
        self.folder = folder

    def load(self, written: str, **settings: Any) -> dict[str, Any]:
        """Run target-snowflake over messages and return the last STATE that it wrote."""
        answer = self._run("load", written, json.dumps({"validate_records": False} | settings))
        state: dict[str, Any] = json.loads(answer.splitlines()[-1])
        return state

    def rows(self, *statements: str) -> list[list[dict[str, Any]]]:
        """Execute statements and return the rows of each."""
        answer = self._run("query", ";".join(statements))
        return [json.loads(line) for line in answer.splitlines()]

    def types(self) -> dict[str, str]:
        """Return the types of the table's columns."""
        (rows,) = self.rows("describe table events")
        return {row["name"]: row["type"] for row in rows}

    def _run(self, action: str, given: str, *arguments: str) -> str:
        # fakesnow and the target put files there and leave them.
        environ = {"TMPDIR": str(self.folder)}
        command: list[str | Path] = [PYTHON, SCRIPT, action, self.folder, *arguments]
        return output_of(command, env=environ, input=given)


class Warehouse(ABC):
    """A database with the table `events` and the models."""

    dbt: Dbt

    def __init__(self, folder: Path) -> None:
        """Have a folder to work in."""
        self.folder = folder

    @abstractmethod
    def first(self, emulator: Emulator) -> None:
        """Load the first month and build."""

    @abstractmethod
    def then(self, emulator: Emulator) -> None:
        """Load what comes later, as BATCH files, and build."""

    def rebuild(self) -> None:
        """Build all models from scratch."""
        self.dbt("run", "--full-refresh")

    @abstractmethod
    def rows(self, names: Sequence[str]) -> Models:
        """Return the rows of models, as the database tells them."""

    def models(self, names: Sequence[str] = MODELS) -> Models:
        """Return the rows of models, in the form of `computed`."""
        return {
            name: [
                {column.lower(): plain(column.lower(), value) for column, value in row.items()}
                for row in rows
            ]
            for name, rows in self.rows(names).items()
        }

    def _later(self, emulator: Emulator, files: Path, file_format: str) -> str:
        """Run the tap over the old month and over what is read again."""
        written = ""
        for (start, end), products in ((OLD, PRODUCTS), (REREAD, [*PRODUCTS, ADDED])):
            span = {"products": products, "start_date": start, "end_date": end}
            files_of = batch_config(files, file_format, 4000)
            written += messages(settings_of(emulator, **span, batch_config=files_of), self.folder)
        return written


def first_month(emulator: Emulator, **more: Any) -> dict[str, Any]:
    """Return the tap's settings for the first month."""
    return settings_of(
        emulator, products=PRODUCTS, start_date=NEW[0], end_date=NEW[1], window_hours=48, **more
    )


def plain(column: str, value: Any) -> Any:
    """Return a value in the form of `computed`."""
    if value is None:
        return None
    if TIMES.fullmatch(column):
        return from_iso(str(value))
    if DAYS.fullmatch(column):
        return str(value)[:10]
    if column in NUMBERS:
        return float(value)
    if column == "extra":
        return json.loads(value) if isinstance(value, str) else value
    return value


class InPostgres(Warehouse):
    """A real PostgreSQL, whose sessions are not in UTC; at first by `meltano run`."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        """Lay out a Meltano project."""
        super().__init__(folder)
        self.postgres = postgres
        self.pipeline = Pipeline(folder / "project")
        self.connection = {
            "DBT_POSTGRES_HOST": str(postgres.folder),
            "DBT_POSTGRES_USER": "postgres",
            "DBT_POSTGRES_DATABASE": "postgres",
        }
        dbt = {"DBT_PROJECT_DIR": str(self.pipeline.folder / "transform")}
        self.dbt = Dbt("postgres", self.pipeline.folder / ".meltano" / "dbt", self.connection | dbt)

    def first(self, emulator: Emulator) -> None:
        """Load RECORD messages and build, in one run of Meltano's."""
        settings = variables(first_month(emulator)) | self.connection
        settings |= {"TARGET_POSTGRES_SQLALCHEMY_URL": self.postgres.url}
        blocks = ("tap-barchart-events", "target-postgres", "dbt-postgres:build")
        self.pipeline.run(*blocks, environment="prod", settings=settings)

    def then(self, emulator: Emulator) -> None:
        """Load BATCH files."""
        written = self._later(emulator, self.folder / "files", "parquet")
        load_into_postgres(written, self.postgres, "barchart", self.folder)
        self.dbt("build", *NO_UNIT_TESTS)
        results = self.dbt.results()
        incremental = ("barchart__events_by_type_and_day", "int_barchart__daily_sessions")
        self.written = {n: results[n]["adapter_response"]["rows_affected"] for n in incremental}

    def rebuild(self) -> None:
        """Build all models from scratch, where the columns of the table have a time zone now."""
        self.postgres.execute(
            f"drop view {MARTS}.stg_barchart__events;"
            """
            alter table events
                alter column "timestamp" type timestamptz using "timestamp" at time zone 'UTC',
                alter column "end" type timestamptz using "end" at time zone 'UTC'
            """,
            schema="barchart",
        )
        super().rebuild()

    def rows(self, names: Sequence[str]) -> Models:
        """Return the rows of models."""
        return {
            name: self.postgres.rows(f"select * from {name}", schema=MARTS)  # noqa: S608 - a name of our own
            for name in names
        }


class InDuckDB(Warehouse):
    """A DuckDB over the Parquet files that the tap has written."""

    def __init__(self, folder: Path, files: str = "*.parquet") -> None:
        """Begin without a database.

        Args:
            folder: Where files and database are.
            files: A name or pattern of files in it.
        """
        super().__init__(folder)
        self.database = folder / "analytics.duckdb"
        self.files = folder / "files"
        self.dbt = Dbt(
            "duckdb",
            folder / "dbt",
            {
                "DBT_DUCKDB_PATH": str(self.database),
                "DBT_DUCKDB_FILES": str(folder / "**" / files),
            },
        )

    def first(self, emulator: Emulator) -> None:
        """Let the tap write files."""
        tap = first_month(emulator, batch_config=batch_config(self.files, "parquet", 4000))
        messages(tap, self.folder)
        self.dbt("build")

    def then(self, emulator: Emulator) -> None:
        """Let it write more of them."""
        self._later(emulator, self.files, "parquet")
        self.dbt("build", *NO_UNIT_TESTS)

    def rows(self, names: Sequence[str]) -> Models:
        """Return the rows of models."""
        models = {}
        with duckdb.connect(str(self.database), read_only=True) as connection:
            for name in names:
                found = connection.execute(f"select * from {MARTS}.{name}")  # noqa: S608 - a name of our own
                columns = [column[0] for column in found.description or ()]
                models[name] = [dict(zip(columns, row, strict=True)) for row in found.fetchall()]
        return models


class InSnowflake(Warehouse):
    """The emulated Snowflake, by the real target-snowflake and dbt's real adapter."""

    def __init__(self, folder: Path) -> None:
        """Begin with an empty one."""
        super().__init__(folder)
        self.snowflake = Snowflake(folder)
        profiles = folder / "profiles"
        profiles.mkdir()
        (profiles / "profiles.yml").write_text(SNOWFLAKE_PROFILE, encoding="utf-8")
        self.dbt = Dbt(
            "snowflake",
            folder / "dbt",
            {"DBT_PROFILES_DIR": str(profiles), "PATH": os.defpath},
            launcher=(str(PYTHON), str(SCRIPT), "serve", str(folder)),
        )

    def first(self, emulator: Emulator) -> None:
        """Load RECORD messages."""
        self.snowflake.load(
            messages(first_month(emulator), self.folder), timestamp_type="TIMESTAMP_TZ"
        )
        self.dbt("build")

    def then(self, emulator: Emulator) -> None:
        """Load BATCH files."""
        written = self._later(emulator, self.folder / "files", "jsonl")
        self.snowflake.load(written, timestamp_type="TIMESTAMP_TZ")
        self.dbt("build", *NO_UNIT_TESTS)

    def rows(self, names: Sequence[str]) -> Models:
        """Return the rows of models."""
        queries = [f"select * from {MARTS}.{name}" for name in names]  # noqa: S608 - names of our own
        return dict(zip(names, self.snowflake.rows(*queries), strict=True))


SNOWFLAKE_PROFILE = """
barchart_events:
  outputs:
    snowflake:
      type: snowflake
      account: emulated
      user: analyst
      password: none
      host: 127.0.0.1
      port: "{{ env_var('SNOWFLAKE_PORT') | as_number }}"
      protocol: http
      database: ANALYTICS
      schema: barchart_marts
      threads: 2
"""
