"""The models of `transform/` in each database, held to an obvious computation in Python.

In each, a month is loaded and built. Then an older month is loaded, days of the first month are
read again and have late events now, and a product is added; these come in BATCH files, whose rows
have no `_sdc_` times. The second build is incremental.
"""

from __future__ import annotations

import json
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import pytest

from barchart_events_emulator import Emulator
from demo.pipeline import PROJECT, Pipeline
from tap_barchart_events.products import PRODUCTS as ALL_PRODUCTS
from tests.expected_events import Told, truth
from tests.pipelines.dbt_runs import MARTS, Dbt
from tests.pipelines.expected_events import milliseconds
from tests.pipelines.marts import Row, computed, subject_and_action
from tests.pipelines.pipe import load_into_postgres, messages, settings_of
from tests.pipelines.snowflake_runs import INSTALLED, NOT_INSTALLED, PYTHON, SCRIPT, Snowflake
from tests.pipelines.usage import COLUMNS, NEW, OLD, REREAD, Usage

if TYPE_CHECKING:
    from pathlib import Path

    from demo.postgres_server import Postgres

PRODUCTS = ["BARCHART-EXCEL", "ENTITLEMENTS", "PORTFOLIO"]
ADDED = "CMDTYVIEW"
NO_UNIT_TESTS = ("--exclude-resource-type", "unit_test")

MODELS = sorted(path.stem for path in (PROJECT / "transform" / "models").rglob("*.sql"))
# Ends of windows, which no event tells.
NOT_COMPUTED = {"window_end", "complete_until"}
TIMES = re.compile(r"\w+_(at|end|until)")
DAYS = re.compile(r"(first_)?(day|week|month)")
NUMBERS = {"seconds", "retention", "average_session_seconds"}


Models = dict[str, list[Row]]
"""The rows of each model."""


class Warehouse(ABC):
    """A database with the table `events` and the models."""

    def __init__(self, folder: Path) -> None:
        """Have a folder to work in."""
        self.folder = folder

    @abstractmethod
    def first(self, emulator: Emulator) -> None:
        """Load the first month and build."""

    @abstractmethod
    def then(self, emulator: Emulator) -> None:
        """Load what comes later, as BATCH files, and build."""

    @abstractmethod
    def rebuild(self) -> None:
        """Build all models anew."""

    @abstractmethod
    def rows(self) -> Models:
        """Return the rows of all models, as the database tells them."""

    def models(self) -> Models:
        """Return the rows of all models, in the form of `computed`."""
        return {
            name: [
                {column.lower(): plain(column.lower(), value) for column, value in row.items()}
                for row in rows
            ]
            for name, rows in self.rows().items()
        }

    def _later(self, emulator: Emulator, files: Path, file_format: str) -> bytes:
        """Run the tap over the old month and over what is read again."""
        written = b""
        for (start, end), products in ((OLD, PRODUCTS), (REREAD, [*PRODUCTS, ADDED])):
            settings = settings_of(
                emulator,
                products=products,
                start_date=start,
                end_date=end,
                batch_config=batch_config(files, file_format),
            )
            written += messages(settings, self.folder)
        return written


def batch_config(files: Path, file_format: str) -> dict[str, Any]:
    """Return the tap's setting for BATCH files."""
    files.mkdir(exist_ok=True)
    compression = {"compression": "gzip"} if file_format == "jsonl" else {}
    return {
        "encoding": {"format": file_format, **compression},
        "storage": {"root": files.as_uri(), "prefix": ""},
    }


def first_month(emulator: Emulator, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - as JSON has them
    """Return the tap's settings for the first month."""
    return settings_of(
        emulator, products=PRODUCTS, start_date=NEW[0], end_date=NEW[1], window_hours=48, **more
    )


def plain(column: str, value: Any) -> Any:  # noqa: ANN401 - whatever a database holds
    """Return a value in the form of `computed`."""
    if value is None:
        return None
    if TIMES.fullmatch(column):
        return milliseconds(str(value))
    if DAYS.fullmatch(column):
        return str(value)[:10]
    if column in NUMBERS:
        return float(value)
    if column == "extra":
        return json.loads(value) if isinstance(value, str) else value
    return value


def without(models: Models) -> Models:
    """Return models without the columns that are not computed."""
    return {
        name: [{c: value for c, value in row.items() if c not in NOT_COMPUTED} for row in rows]
        for name, rows in models.items()
    }


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
        tap = first_month(emulator)
        self.pipeline.run(
            "tap-barchart-events",
            "target-postgres",
            "dbt-postgres:build",
            environment="prod",
            settings={
                **{
                    f"TAP_BARCHART_EVENTS_{name.upper()}": json.dumps(value).strip('"')
                    for name, value in tap.items()
                },
                "TARGET_POSTGRES_SQLALCHEMY_URL": self.postgres.url,
                **self.connection,
            },
        )

    def then(self, emulator: Emulator) -> None:
        """Load BATCH files."""
        written = self._later(emulator, self.folder / "files", "parquet")
        load_into_postgres(written, self.postgres, "barchart", self.folder)
        self.dbt("build", *NO_UNIT_TESTS)

    def rebuild(self) -> None:
        """Build all models anew, where the columns of the table have a time zone now."""
        self.postgres.execute(
            f"drop view {MARTS}.stg_barchart__events;"
            """
            alter table events
                alter column "timestamp" type timestamptz using "timestamp" at time zone 'UTC',
                alter column "end" type timestamptz using "end" at time zone 'UTC'
            """,
            schema="barchart",
        )
        self.dbt("run", "--full-refresh")

    def rows(self) -> Models:
        """Return the rows of all models."""
        return {
            name: self.postgres.rows(f"select * from {name}", schema=MARTS)  # noqa: S608 - a name of our own
            for name in MODELS
        }


class InDuckDB(Warehouse):
    """A DuckDB over the Parquet files that the tap has written."""

    def __init__(self, folder: Path) -> None:
        """Begin without a database."""
        super().__init__(folder)
        self.database = folder / "analytics.duckdb"
        self.files = folder / "files"
        self.dbt = Dbt(
            "duckdb",
            folder / "dbt",
            {
                "DBT_DUCKDB_PATH": str(self.database),
                "DBT_DUCKDB_FILES": str(self.files / "*.parquet"),
            },
        )

    def first(self, emulator: Emulator) -> None:
        """Let the tap write files."""
        tap = first_month(emulator, batch_config=batch_config(self.files, "parquet"))
        messages(tap, self.folder)
        self.dbt("build")

    def then(self, emulator: Emulator) -> None:
        """Let it write more of them."""
        self._later(emulator, self.files, "parquet")
        self.dbt("build", *NO_UNIT_TESTS)

    def rebuild(self) -> None:
        """Build all models anew."""
        self.dbt("run", "--full-refresh")

    def rows(self) -> Models:
        """Return the rows of all models."""
        models = {}
        with duckdb.connect(str(self.database), read_only=True) as connection:
            for name in MODELS:
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

    def rebuild(self) -> None:
        """Build all models anew."""
        self.dbt("run", "--full-refresh")

    def rows(self) -> Models:
        """Return the rows of all models."""
        queries = [f"select * from {MARTS}.{name}" for name in MODELS]  # noqa: S608 - names of our own
        return dict(zip(MODELS, self.snowflake.rows(*queries), strict=True))


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


class Built(NamedTuple):
    """What the models hold after each build, and the truth at the time."""

    warehouse: Warehouse
    first: Models
    first_truth: dict[str, Told]
    then: Models
    then_truth: dict[str, Told]
    rebuilt: Models


@pytest.fixture(
    scope="module",
    params=[
        "postgres",
        "duckdb",
        pytest.param("snowflake", marks=pytest.mark.skipif(not INSTALLED, reason=NOT_INSTALLED)),
    ],
)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Load and build twice, and then build anew."""
    folder = tmp_path_factory.mktemp(request.param)
    warehouse: Warehouse
    if request.param == "postgres":
        warehouse = InPostgres(folder, request.getfixturevalue("postgres"))
    else:
        warehouse = InDuckDB(folder) if request.param == "duckdb" else InSnowflake(folder)
    usage = Usage()
    with Emulator(
        source=usage, header=True, added_column="mood", columns={"PORTFOLIO": COLUMNS}
    ) as emulator:
        warehouse.first(emulator)
        first_truth = truth(emulator, PRODUCTS, *NEW)
        first = warehouse.models()
        usage.late = True
        warehouse.then(emulator)
        then_truth = (
            truth(emulator, PRODUCTS, *OLD)
            | truth(emulator, PRODUCTS, *NEW)
            | truth(emulator, [ADDED], *REREAD)
        )
    then = warehouse.models()
    warehouse.rebuild()
    return Built(warehouse, first, first_truth, then, then_truth, warehouse.models())


def differences(found: Models, expected: Models) -> dict[str, Any]:
    """Return, for each model expected, a few of the rows by which it differs."""

    def rows(models: Models, name: str) -> Counter[str]:
        return Counter(json.dumps(rounded(row), sort_keys=True) for row in models[name])

    return {
        name: (extra, missing)
        for name in expected
        if (extra := sorted((rows(found, name) - rows(expected, name)).elements())[:5])
        + (missing := sorted((rows(expected, name) - rows(found, name)).elements())[:5])
    }


def rounded(row: Row) -> Row:
    """Return a row whose shares and means are equal where databases divide alike."""
    return {c: round(value, 6) if isinstance(value, float) else value for c, value in row.items()}


def test_a_first_build_is_what_an_obvious_computation_says(built: Built) -> None:
    assert differences(without(built.first), computed(built.first_truth)) == {}


def test_an_incremental_build_after_an_old_month_and_late_events_is_so_too(built: Built) -> None:
    assert set(built.first_truth) < set(built.then_truth)
    assert differences(without(built.then), computed(built.then_truth)) == {}


def test_an_incremental_build_and_a_full_refresh_make_the_same_rows(built: Built) -> None:
    assert all(built.rebuilt.values())
    assert differences(built.then, built.rebuilt) == {}


def test_the_overview_says_up_to_when_events_are_complete(built: Built) -> None:
    def ends(models: Models) -> dict[str, int]:
        rows = models["barchart__product_overview"]
        return {row["product"]: row["complete_until"] for row in rows}

    end = milliseconds(NEW[1])
    assert ends(built.first) == dict.fromkeys(PRODUCTS, end)
    assert ends(built.then) == {**dict.fromkeys(PRODUCTS, end), ADDED: milliseconds(REREAD[1])}


def test_late_events_join_sessions_and_midnight_parts_none(built: Built) -> None:
    """The truth computed is checked too, at a user whose sessions can be counted by hand."""

    def owl(models: Models) -> list[tuple[int, float, int]]:
        rows = [row for row in models["barchart__sessions"] if row["user_id"] == "an owl"]
        return sorted((row["session_number"], row["seconds"] / 60, row["events"]) for row in rows)

    long = (25 * 86.0, 87)
    assert owl(built.first) == [(1, 20, 2), (2, 0, 1), (3, 0, 1), (4, 0, 1), (5, *long)]
    assert owl(built.then) == [(1, 125, 6), (2, 0, 1), (3, *long)]


@pytest.mark.parametrize(
    ("code", "subject", "action"),
    [
        ("PORTFOLIO-CLOSED-POSITIONS-CHANGED", "CLOSED-POSITIONS", "CHANGED"),
        ("PORTFOLIO-CREATED", "PORTFOLIO", "CREATED"),
        ("PORTFOLIO-SCREEN-INVOKED-EDIT-PORTFOLIO", "SCREEN", "INVOKED-EDIT-PORTFOLIO"),
        ("ENTITLEMENTS_AUTHORIZATION_FAILED", "AUTHORIZATION", "FAILED"),
        ("BARCHART-EXCEL-LOGIN", "BARCHART-EXCEL", "LOGIN"),
        ("CMDTYVIEW-HISTORY-AGGREGATION-MENU_SHOWN", "HISTORY-AGGREGATION-MENU", "SHOWN"),
    ],
)
def test_the_truth_splits_a_code_as_a_person_would(code: str, subject: str, action: str) -> None:
    product = next(name for name, known in ALL_PRODUCTS.items() if code in known.event_types)
    assert subject_and_action(product, code) == (subject, action)
