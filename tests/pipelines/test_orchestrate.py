"""Shards of history and the nightly run, by Dagster and Meltano, into a real PostgreSQL."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from barchart_events_emulator import Emulator
from demo.environment import clean_environment
from demo.pipeline import PROJECT, Pipeline, process
from orchestrate.shards import PlanError, ShardPlan
from tap_barchart_events.windows import from_iso
from tests.pipelines.expected_events import found, held, milliseconds
from tests.pipelines.pipe import settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from demo.postgres_server import Postgres

DAGSTER = PROJECT / ".venv-dagster" / "bin"
LOADED = ("--module-name", "orchestrate.definitions")

PRODUCTS = ["ALERT", "WATCHLIST"]
START = "2026-01-10T06:00:00+00:00"
NIGHTLY_START = "2026-02-22T00:00:00+00:00"
HANDOVER = "2026-03-01T00:00:00+00:00"
END = "2026-03-04T12:00:00+00:00"
# The later month first, and without the shard that is run by hand.
QUEUED = ("2026-02-01|WATCHLIST", "2026-02-01|ALERT", "2026-01-01|WATCHLIST")
BY_HAND = "2026-01-01|ALERT"
REREAD = {"ops": {"events_history": {"config": {"reread": True}}}}
MARTS = "marts_by_dagster"
MODELS = sorted(model.stem for model in (PROJECT / "transform").glob("models/*/*.sql"))
RUN_TIMEOUT_SECONDS = 300


class Ran(NamedTuple):
    """A run that Dagster has recorded."""

    job: str
    partition: str | None
    status: str
    start: float
    end: float


class Instance:
    """A Dagster instance of a test's own, with the project's configuration."""

    def __init__(self, home: Path, settings: Mapping[str, str]) -> None:
        """Make the instance.

        Args:
            home: A new folder.
            settings: Environment variables for all commands.
        """
        home.mkdir()
        shutil.copy(PROJECT / "orchestrate" / "home" / "dagster.yaml", home)
        self.home = home
        # Dagster reads a file .env where it runs, so it does not run in the project's folder.
        paths = {"DAGSTER_HOME": str(home), "PYTHONPATH": str(PROJECT)}
        self.environ = clean_environment(**settings, **paths)

    def __call__(self, *arguments: str) -> None:
        """Run a command of Dagster's that loads the project."""
        self.run(*arguments, *LOADED)

    def run(self, *arguments: str) -> str:
        """Run a command of Dagster's and return its log."""
        done = subprocess.run(
            [str(DAGSTER / "dagster"), *arguments],
            cwd=self.home,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stdout[-5000:]
        return done.stdout

    def ran(self) -> list[Ran]:
        """Return all runs, in the order in which they were launched."""
        rows = self._query(
            "history/runs.db",
            "select pipeline_name, partition, status, start_time, end_time from runs order by id",
        )
        return [Ran(*row) for row in rows]

    def happened(self, kind: str) -> int:
        """Return how many events of a kind Dagster has recorded over all runs."""
        counts = [
            self._query(
                f"history/runs/{path.name}",
                "select count(*) from event_logs where dagster_event_type = ?",
                kind,
            )[0][0]
            for path in (self.home / "history" / "runs").glob("*-*.db")
        ]
        return sum(counts)

    def materialized(self) -> set[str]:
        """Return the assets that Dagster has recorded."""
        rows = self._query(
            "history/runs/index.db",
            "select asset_key from asset_keys where last_materialization is not null",
        )
        return {json.loads(key)[-1] for (key,) in rows}

    def _query(self, database: str, query: str, *values: str) -> list[Any]:
        with closing(sqlite3.connect(self.home / database, timeout=30)) as connection:
            return connection.execute(query, values).fetchall()


def settings(emulator: Emulator, postgres: Postgres, schema: str, folder: Path) -> dict[str, str]:
    """Return what a user would have in `.env`."""
    tap = settings_of(
        emulator,
        products=json.dumps(PRODUCTS),
        start_date=START,
        # The nightly run would end with the clock of this machine, not with the emulator's.
        end_date=END,
        window_hours=168,
    )
    return {
        **{f"TAP_BARCHART_EVENTS_{name.upper()}": str(tap[name]) for name in tap},
        "TARGET_POSTGRES_SQLALCHEMY_URL": postgres.url,
        "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA": schema,
        "DBT_POSTGRES_HOST": str(postgres.folder),
        "DBT_POSTGRES_USER": "postgres",
        "DBT_POSTGRES_DATABASE": "postgres",
        "DBT_SCHEMA": MARTS,
        "MELTANO_PROJECT_ROOT": str(Pipeline(folder / "a project").folder),
        "ORCHESTRATE_HANDOVER": HANDOVER,
        "ORCHESTRATE_RETRY_SECONDS": "1",
    }


@contextmanager
def daemon(dagster: Instance, log: Path) -> Iterator[None]:
    """Run the daemon that launches what is queued."""
    command = [str(DAGSTER / "dagster-daemon"), "run", *LOADED]
    with (
        log.open("wb") as written,
        process(command, cwd=dagster.home, env=dagster.environ, stdout=written, stderr=written),
    ):
        yield


def wait(dagster: Instance) -> None:
    """Wait until no run is queued or under way."""
    until = time.monotonic() + RUN_TIMEOUT_SECONDS
    while {run.status for run in dagster.ran()} - {"SUCCESS", "FAILURE", "CANCELED"}:
        assert time.monotonic() < until, dagster.ran()
        time.sleep(0.5)


def plan(**variables: str) -> ShardPlan:
    """Return the plan that a user's variables make; these stand for usable ones."""
    usable = {
        "TAP_BARCHART_EVENTS_PRODUCTS": "ALERT",
        "TAP_BARCHART_EVENTS_START_DATE": START,
        "ORCHESTRATE_HANDOVER": HANDOVER,
    }
    return ShardPlan.from_environment({**usable, **variables})


@pytest.mark.parametrize(
    ("start", "first"),
    [
        ("2026-01-31T22:00:00-05:00", "2026-02-01"),
        ("2026-02-01T00:30:00+01:00", "2026-01-01"),
        ("2026-01-31T23:59:59.999Z", "2026-01-01"),
        ("2026-02-01", "2026-02-01"),
    ],
)
def test_the_first_shard_is_of_the_month_in_utc_and_ends_after_its_start(
    start: str, first: str
) -> None:
    made = plan(TAP_BARCHART_EVENTS_START_DATE=start)

    assert made.first.isoformat() == first
    bounds = made.shard("ALERT", made.first).settings
    assert bounds["TAP_BARCHART_EVENTS_START_DATE"] == start
    assert from_iso(start) < from_iso(bounds["TAP_BARCHART_EVENTS_END_DATE"])


@pytest.mark.parametrize("handover", ["2026-03", "2026-03-15", "2026-03-31T22:00:00+00:00"])
def test_the_handover_is_a_month_however_much_more_of_a_date_is_said(handover: str) -> None:
    assert plan(ORCHESTRATE_HANDOVER=handover).handover.isoformat() == "2026-03-01"


def test_the_month_of_a_handover_is_that_in_utc() -> None:
    handover = "2026-02-28T22:00:00-05:00"

    assert plan(ORCHESTRATE_HANDOVER=handover).handover.isoformat() == "2026-03-01"


@pytest.mark.parametrize("products", ['["ALERT", "NEWS"]', "ALERT, NEWS", " ALERT,NEWS "])
def test_products_are_read_as_the_tap_reads_them(products: str) -> None:
    assert plan(TAP_BARCHART_EVENTS_PRODUCTS=products).products == ("ALERT", "NEWS")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TAP_BARCHART_EVENTS_PRODUCTS", '["A"'),
        ("TAP_BARCHART_EVENTS_PRODUCTS", "A, ,B"),
        ("TAP_BARCHART_EVENTS_PRODUCTS", "A,B,A"),
        ("TAP_BARCHART_EVENTS_PRODUCTS", "[]"),
        ("TAP_BARCHART_EVENTS_PRODUCTS", "[1]"),
        ("TAP_BARCHART_EVENTS_PRODUCTS", " "),
        ("TAP_BARCHART_EVENTS_START_DATE", "soon"),
        ("TAP_BARCHART_EVENTS_START_DATE", "2026-13-01"),
        ("TAP_BARCHART_EVENTS_START_DATE", ""),
        ("ORCHESTRATE_HANDOVER", "2026-13"),
        ("ORCHESTRATE_HANDOVER", "2026-01"),
        ("ORCHESTRATE_HANDOVER", "next month"),
        ("ORCHESTRATE_RETRY_SECONDS", "a minute"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(PlanError, match=name):
        plan(**{name: value})


def test_shards_and_the_nightly_run_load_each_event_once_in_any_order_overlapping_and_again(
    tmp_path: Path, postgres: Postgres, schema: str
) -> None:
    """Four shards, one of them read twice, and the nightly run; a refused run is tried again."""
    now = milliseconds(END)
    with Emulator(events_per_hour=2, clock=lambda: now, date_header=False) as emulator:
        dagster = Instance(tmp_path / "home", settings(emulator, postgres, schema, tmp_path))
        emulator.fault("start", "status", code=401)
        # The daemon's first pass ever does not know the pool of dagster.yaml yet.
        dagster.run("instance", "concurrency", "set", "history", "2")
        queue = ("--partitions", ",".join(QUEUED))
        dagster("job", "backfill", "--job", "history", "--noprompt", *queue)
        by_hand = ("asset", "materialize", "--select", "events_history", "--partition", BY_HAND)
        with daemon(dagster, tmp_path / "daemon.log"):
            dagster("asset", "materialize", "--select", "events_nightly")
            dagster(*by_hand)
            dagster(*by_hand, "--config-json", json.dumps(REREAD))
            wait(dagster)
        # After the shards: rows that arrive while models are built can fail a test of dbt.
        dagster("job", "execute", "--job", "nightly")
        jobs = list(emulator.jobs)
        expected = held(emulator, PRODUCTS, START, END)

    rows = postgres.rows("select * from events", schema=schema)
    assert rows
    assert found(rows) == expected
    assert len({row["event_id"] for row in rows}) == len(rows)
    ran = dagster.ran()
    assert {run.status for run in ran} == {"SUCCESS"}
    assert sorted(run.partition or "" for run in ran) == sorted(["", "", *QUEUED, BY_HAND, BY_HAND])
    assert dagster.happened("STEP_RESTARTED") == 1, "the refused run was not tried again"
    limits = dagster.run("instance", "concurrency", "get", "--all")
    assert '"history": 0 / 2 slots occupied' in limits, "shards are not limited"
    queued = [run for run in ran if run.job == "history"]
    third = max(run.start for run in queued)
    assert min(run.end for run in queued) <= third, "three shards at once, where two may be"

    # The models are assets downstream of both, and the nightly run has built them.
    assert dagster.materialized() >= {"events_history", "events_nightly", *MODELS}
    days = postgres.rows("select events from barchart__daily_active_users", schema=MARTS)
    assert sum(day["events"] for day in days) == expected.total()

    # What was asked of the service: the shards' bounds, the overlap, and one shard twice.
    january = [job for job in jobs if job.filter["start"] == milliseconds(START)]
    assert [job.filter["product"] for job in january].count("ALERT") == 2
    assert {(job.filter["product"], job.filter["start"]) for job in jobs} >= {
        (product, milliseconds(NIGHTLY_START)) for product in PRODUCTS
    }
