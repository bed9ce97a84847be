"""Databases with the table `events` and the models of `transform/`, for tests.

Each loads a month and builds. Then it loads, as BATCH files, an older month, days of the first
month that have late events now, and a further product, and builds incrementally. Then it builds
again.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import duckdb
import pytest

from barchart_events_emulator import Emulator
from demo.environment import clean_environment
from demo.marts import TRANSFORM
from demo.pipeline import PROJECT
from demo.postgres import MARTS
from demo.postgres_server import Postgres
from orchestrate.meltano import MODELS
from tap_barchart_events.windows import from_iso
from tests.pipelines.marts import Row
from tests.pipelines.pipe import (
    batch_config,
    into_postgres,
    load_into_postgres,
    messages,
    settings_of,
    variables,
)
from tests.pipelines.usage import DELETED, NEW, OLD, REREAD
from tests.project.commands import Programs

PRODUCTS = ["BARCHART-EXCEL", "ENTITLEMENTS", "PORTFOLIO"]
ADDED = "CMDTYVIEW"

TIMES = re.compile(r"\w+_(at|end|until)")
DAYS = re.compile(r"(first_)?(day|week|month)")
NUMBERS = {
    "average_session_seconds",
    "minutes_since_previous",
    "retention",
    "seconds",
    "share_of_active_users",
    "stickiness",
}

Models = dict[str, list[Row]]
"""The rows of each model."""

SNOWFLAKE = PROJECT / ".venv-snowflake"
SCRIPT = PROJECT / "tests" / "pipelines" / "emulated_snowflake.py"

needs_snowflake = pytest.mark.skipif(
    not list(SNOWFLAKE.glob("lib/python*/site-packages/fakesnow")),
    reason="fakesnow, the emulated Snowflake, needs Python 3.11 or later",
)


ADAPTERS = [f"dbt.adapters.{name}" for name in ("duckdb", "postgres", "snowflake")]
DBT_VENV = PROJECT / ".meltano" / "utilities" / "dbt-postgres" / "venv"
OF_DBT = Programs(DBT_VENV, "dbt.cli.main", *ADAPTERS)
OF_SNOWFLAKE = Programs(SNOWFLAKE, "fakesnow", "target_snowflake.target")


class Dbt:
    """dbt with one database, and a folder, `target`, for what it writes."""

    def __init__(self, target: str, folder: Path, **environ: str) -> None:
        """Take the database.

        Args:
            target: Its name in `profiles.yml`.
            folder: Where dbt keeps what it has parsed.
            environ: Environment variables: the connection.
        """
        self.serving: Callable[[], AbstractContextManager[None]] = nullcontext
        """What lets dbt reach the database."""
        self.target = folder / "target"
        self._environ = {
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "DBT_TARGET": target,
            "DBT_PROJECT_DIR": str(TRANSFORM),
            "DBT_PROFILES_DIR": str(TRANSFORM),
            "DBT_TARGET_PATH": str(self.target),
            "DBT_LOG_PATH": str(folder / "logs"),
            "DBT_LOG_LEVEL_FILE": "none",
            **environ,
        }

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run a command of dbt's, which has to end with a code; return what it wrote."""
        program = DBT_VENV / "bin" / "dbt"
        with self.serving():
            return OF_DBT(program, *arguments, folder=TRANSFORM, environ=self._environ, code=code)

    def results(self, name: str = "run_results.json") -> dict[str, dict[str, Any]]:
        """Return the results of the last command, by the name of the model or test."""
        results = self.written(name)["results"]
        return {result["unique_id"].split(".")[-1]: result for result in results}

    def written(self, name: str) -> dict[str, Any]:
        """Return a file of JSON that the last command has written."""
        text = (self.target / name).read_text(encoding="utf-8")
        return dict(json.loads(text))


class Snowflake:
    """An emulated Snowflake, whose databases are files in a folder."""

    def __init__(self, folder: Path) -> None:
        """Start with no database.

        The port stays the same: with another one, dbt would parse all files again.
        """
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port = listening.getsockname()[1]

    def load(self, written: str, **settings: Any) -> None:
        """Run target-snowflake over messages."""
        self._run("load", written, json.dumps({"validate_records": False} | settings))

    def rows(self, *statements: str) -> list[list[dict[str, Any]]]:
        """Execute statements and return the rows of each."""
        answer = self._run("query", ";".join(statements))
        return [json.loads(line) for line in answer.splitlines()]

    def _run(self, action: str, given: str, *arguments: str) -> str:
        # fakesnow and the target put files there and leave them.
        environ = {"TMPDIR": str(self.folder)}
        options: dict[str, Any] = {"folder": self.folder, "environ": environ, "given": given}
        return OF_SNOWFLAKE(SCRIPT, action, self.folder, *arguments, **options)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer at the port."""
        python = SNOWFLAKE / "bin" / "python"
        command: list[str | Path] = [python, SCRIPT, "serve", self.folder, str(self.port)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        environ = clean_environment(TMPDIR=str(self.folder))
        with subprocess.Popen(command, env=environ, text=True, **pipes) as server:
            assert server.stdout
            assert server.stdout.readline() == "ready\n"
            yield
            server.communicate()


class Warehouse(ABC):
    """A database with the table `events` and the models."""

    dbt: Dbt
    file_format = "parquet"
    """The format of BATCH files."""

    def __init__(self, folder: Path) -> None:
        """Have a folder to work in."""
        self.folder = folder

    @abstractmethod
    def load(self, written: str) -> None:
        """Load what the tap wrote."""

    @abstractmethod
    def rows(self, *queries: str) -> list[list[Row]]:
        """Return the rows of queries, as the database tells them."""

    def first(self, emulator: Emulator) -> None:
        """Load the first month and build."""
        self.load(messages(first_month(emulator), self.folder))
        self.dbt("build")

    def then(self, emulator: Emulator) -> dict[str, dict[str, Any]]:
        """Load, as BATCH files, an old month and what is read again; return dbt's results."""
        written = ""
        for (start, end), products in ((OLD, PRODUCTS), (REREAD, [*PRODUCTS, ADDED])):
            span = {"products": products, "start_date": start, "end_date": end}
            files = self.files()
            written += messages(settings_of(emulator, **span, batch_config=files), self.folder)
        self.load(written)
        self.dbt("run")
        return self.dbt.results()

    @abstractmethod
    def delete(self, start: str, end: str) -> None:
        """Delete the events of a range."""

    def read_again(self, emulator: Emulator) -> dict[str, dict[str, Any]]:
        """Delete a range, read it again, and build with tests; return dbt's results."""
        self.delete(*DELETED)
        span = {"products": [*PRODUCTS, ADDED], "start_date": DELETED[0], "end_date": DELETED[1]}
        settings = settings_of(emulator, **span, batch_config=self.files())
        self.load(messages(settings, self.folder))
        self.dbt("build", "--exclude-resource-type", "unit_test")
        return self.dbt.results()

    def rebuild(self) -> None:
        """Build all models from scratch."""
        self.dbt("run", "--full-refresh")

    def files(self) -> dict[str, Any]:
        """Return the tap's setting for BATCH files."""
        return batch_config(self.folder / "files", self.file_format, 4000)

    def models(self, names: Sequence[str] = MODELS) -> Models:
        """Return the rows of models, in the form of `computed`."""
        queries = [f"select * from {MARTS}.{name}" for name in names]  # noqa: S608 - our own
        return {
            name: [
                {column.lower(): plain(column.lower(), value) for column, value in row.items()}
                for row in rows
            ]
            for name, rows in zip(names, self.rows(*queries), strict=True)
        }


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
    """A real PostgreSQL, whose sessions are not in UTC."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        """Have a folder to work in."""
        super().__init__(folder)
        self.postgres = postgres
        self.dbt = Dbt("postgres", folder / "dbt", **into_postgres(postgres, "barchart"))

    def load(self, written: str) -> None:
        """Run target-postgres."""
        load_into_postgres(written, self.postgres, "barchart", self.folder)

    def delete(self, start: str, end: str) -> None:
        """Delete the events of a range."""
        self.postgres.execute(deletion(start, end), schema="barchart")

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

    def rows(self, *queries: str) -> list[list[Row]]:
        """Return the rows of queries."""
        return [self.postgres.rows(query) for query in queries]


class InDuckDB(Warehouse):
    """A DuckDB over the Parquet files that the tap has written."""

    def __init__(self, folder: Path, files: str = "*.parquet", **environ: str) -> None:
        """Begin without a database.

        Args:
            folder: Where files and database are.
            files: A name or pattern of files in it.
            environ: Further environment variables for dbt.
        """
        super().__init__(folder)
        self.database = folder / "analytics.duckdb"
        places = {"PATH": str(self.database), "FILES": str(folder / "**" / files)}
        self.dbt = Dbt("duckdb", folder / "dbt", **variables(places, "DBT_DUCKDB"), **environ)

    def first(self, emulator: Emulator) -> None:
        """Let the tap write files, and build."""
        messages(first_month(emulator, batch_config=self.files()), self.folder)
        self.dbt("build")

    def load(self, written: str) -> None:
        """Do nothing: the models read the files where they are."""

    def delete(self, start: str, end: str) -> None:
        """Write the other events into a file of their own, instead of all that there are."""
        files = self.folder / "files"
        written = list(files.iterdir())
        with duckdb.connect() as connection:
            connection.read_parquet([str(path) for path in written], union_by_name=True).create(
                "events"
            )
            connection.execute(deletion(start, end))
            connection.table("events").write_parquet(str(files / "kept.parquet"))
        for path in written:
            path.unlink()

    def rows(self, *queries: str) -> list[list[Row]]:
        """Return the rows of queries."""
        with duckdb.connect(str(self.database), read_only=True) as connection:
            found = [connection.sql(query) for query in queries]
            return [
                [dict(zip(one.columns, row, strict=True)) for row in one.fetchall()]
                for one in found
            ]


class InSnowflake(Warehouse):
    """The emulated Snowflake, by the real target-snowflake and dbt's real adapter."""

    file_format = "jsonl"

    def __init__(self, folder: Path) -> None:
        """Begin with an empty one."""
        super().__init__(folder)
        self.snowflake = Snowflake(folder)
        (folder / "profiles.yml").write_text(SNOWFLAKE_PROFILE, encoding="utf-8")
        environ = {"DBT_PROFILES_DIR": str(folder), "SNOWFLAKE_PORT": str(self.snowflake.port)}
        self.dbt = Dbt("snowflake", folder / "dbt", **environ)
        self.dbt.serving = self.snowflake.serving

    def load(self, written: str) -> None:
        """Run target-snowflake."""
        self.snowflake.load(written, timestamp_type="TIMESTAMP_TZ")

    def delete(self, start: str, end: str) -> None:
        """Delete the events of a range."""
        self.snowflake.rows(deletion(start, end))

    def rows(self, *queries: str) -> list[list[Row]]:
        """Return the rows of queries."""
        return self.snowflake.rows(*queries)


def deletion(start: str, end: str) -> str:
    """Return a statement that deletes the events of a range."""
    return f"delete from events where timestamp >= '{start}' and timestamp < '{end}'"  # noqa: S608


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
