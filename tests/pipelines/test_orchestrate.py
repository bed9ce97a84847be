"""Shards of history and the nightly run, by Dagster and Meltano; some of it without Dagster."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from barchart_events_emulator import Emulator
from demo.environment import clean_environment
from demo.pipeline import PROJECT, Pipeline, process
from demo.postgres_server import Postgres
from orchestrate import meltano
from orchestrate.shards import PlanError, ShardPlan
from tap_barchart_events.windows import HOUR, from_iso
from tests.expected_events import expected_events
from tests.pipelines.pipe import into_postgres, kept_bookmarks, loaded_into, settings_of, variables
from tests.project.commands import Programs

DAGSTER = PROJECT / ".venv-dagster" / "bin"
OF_DAGSTER = Programs(DAGSTER.parent, "dagster._cli")

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


class Instance:
    """A Dagster instance of a test's own, with the project's configuration."""

    def __init__(self, home: Path, settings: Mapping[str, str]) -> None:
        """Make the instance in a new folder, with environment variables for all commands."""
        home.mkdir()
        shutil.copy(PROJECT / "orchestrate" / "home" / "dagster.yaml", home)
        # Dagster reads a .env file where it runs, so it does not run in the project's folder.
        self.home = home
        paths = {"DAGSTER_HOME": str(home), "PYTHONPATH": str(PROJECT)}
        # As --module-name of the commands of docs/scale.md.
        self.environ = {**settings, **paths, "DAGSTER_MODULE_NAME": "orchestrate.definitions"}

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run a command of Dagster's, which ends with a code, and return what it prints."""
        options: dict[str, Any] = {"folder": self.home, "environ": self.environ}
        return OF_DAGSTER(DAGSTER / "dagster", *arguments, code=code, **options)

    def runs(self) -> list[sqlite3.Row]:
        """Return all runs, in the order in which they were launched."""
        columns = "pipeline_name as job, partition, status, start_time, end_time"
        return self._query("runs.db", f"{columns} from runs order by id")

    def happened(self, kind: str) -> int:
        """Return how many events of a kind Dagster has recorded over all runs."""
        counted = f"count(*) from event_logs where dagster_event_type = '{kind}'"
        runs = (self.home / "history" / "runs").glob("*-*.db")
        return sum(self._query(f"runs/{run.name}", counted)[0][0] for run in runs)

    def materialized(self) -> set[str]:
        """Return the assets that Dagster has recorded."""
        recorded = "asset_key from asset_keys where last_materialization is not null"
        return {json.loads(key)[-1] for (key,) in self._query("runs/index.db", recorded)}

    def _query(self, database: str, query: str) -> list[sqlite3.Row]:
        with closing(sqlite3.connect(self.home / "history" / database, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(f"select {query}").fetchall()


def settings(emulator: Emulator, postgres: Postgres, schema: str, folder: Path) -> dict[str, str]:
    """Return what a user would have in `.env`."""
    # The nightly run would end with the clock of this machine, not with the emulator's.
    span = {"start_date": START, "end_date": END, "window_hours": 168}
    return {
        **variables(settings_of(emulator, products=PRODUCTS, **span)),
        **into_postgres(postgres, schema),
        "DBT_SCHEMA": MARTS,
        "MELTANO_PROJECT_ROOT": str(Pipeline(folder / "a project").folder),
        "ORCHESTRATE_HANDOVER": HANDOVER,
        "ORCHESTRATE_RETRY_SECONDS": "1",
    }


def wait(dagster: Instance) -> None:
    """Wait until no run is queued or under way."""
    until = time.monotonic() + 300
    while {run["status"] for run in dagster.runs()} - {"SUCCESS", "FAILURE", "CANCELED"}:
        assert time.monotonic() < until, [dict(run) for run in dagster.runs()]
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
def test_the_first_shard_is_of_the_utc_month_and_ends_after_start(start: str, first: str) -> None:
    made = plan(TAP_BARCHART_EVENTS_START_DATE=start)

    assert made.first.isoformat() == first
    bounds = made.shard("ALERT", made.first).settings
    assert bounds["TAP_BARCHART_EVENTS_START_DATE"] == start
    assert from_iso(start) < from_iso(bounds["TAP_BARCHART_EVENTS_END_DATE"])


@pytest.mark.parametrize("handover", ["2026-03", "2026-03-15", "2026-02-28T22:00:00-05:00"])
@pytest.mark.parametrize("products", ['["ALERT", "NEWS"]', " ALERT,NEWS "])
def test_products_and_handover_are_read_in_each_spelling(handover: str, products: str) -> None:
    made = plan(ORCHESTRATE_HANDOVER=handover, TAP_BARCHART_EVENTS_PRODUCTS=products)
    assert (made.handover.isoformat(), made.products) == ("2026-03-01", ("ALERT", "NEWS"))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("TAP_BARCHART_EVENTS_PRODUCTS", ['["A"', "A, ,B", "A,B,A", "[]", "[1]", " "]),
        ("TAP_BARCHART_EVENTS_START_DATE", ["soon", "2026-13-01", ""]),
        ("ORCHESTRATE_HANDOVER", ["2026-13", "2026-01", "next month"]),
        ("ORCHESTRATE_RETRY_SECONDS", ["a minute"]),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(name: str, values: list[str]) -> None:
    for value in values:
        with pytest.raises(PlanError, match=name):
            plan(**{name: value})


def modelled(postgres: Postgres) -> int:
    """Return the number of events that the models hold."""
    products = postgres.rows("select events from barchart__product_overview", schema=MARTS)
    return sum(product["events"] for product in products)


@pytest.mark.soak
def test_shards_and_the_nightly_run_load_each_event_once_in_any_order_overlapping_and_again(
    tmp_path: Path, postgres: Postgres, schema: str
) -> None:
    """Four shards, one of them read twice, and the nightly run; a refused run is tried again."""
    with Emulator(events_per_hour=2, clock=lambda: from_iso(END), date_header=False) as emulator:
        dagster = Instance(tmp_path / "home", settings(emulator, postgres, schema, tmp_path))
        emulator.fault("start", "status", code=401)
        # The daemon's first pass ever does not know the pool of dagster.yaml yet.
        dagster("instance", "concurrency", "set", "history", "2")
        queue = ("--partitions", ",".join(QUEUED))
        dagster("job", "backfill", "--job", "history", "--noprompt", *queue)
        by_hand = ("asset", "materialize", "--select", "events_history", "--partition", BY_HAND)
        daemon = [str(DAGSTER / "dagster-daemon"), "run"]
        options = {"cwd": dagster.home, "env": clean_environment(**dagster.environ)}
        with (
            (tmp_path / "daemon.log").open("wb") as log,
            process(daemon, stdout=log, stderr=log, **options),
        ):
            dagster("asset", "materialize", "--select", "events_nightly")
            dagster(*by_hand)
            dagster(*by_hand, "--config-json", json.dumps(REREAD))
            wait(dagster)
        # After the shards, so that the models hold all events.
        dagster("job", "execute", "--job", "nightly")
        jobs = list(emulator.jobs)
        expected = expected_events(emulator, PRODUCTS, START, END)

    assert loaded_into(postgres, schema) == expected
    runs = dagster.runs()
    assert {run["status"] for run in runs} == {"SUCCESS"}
    partitions = sorted(run["partition"] or "" for run in runs)
    assert partitions == sorted(["", "", *QUEUED, BY_HAND, BY_HAND])
    assert dagster.happened("STEP_RESTARTED") == 1, "the refused run was not tried again"
    limits = dagster("instance", "concurrency", "get", "--all")
    assert '"history": 0 / 2 slots occupied' in limits, "shards are not limited"
    queued = [run for run in runs if run["job"] == "history"]
    third = max(run["start_time"] for run in queued)
    assert min(run["end_time"] for run in queued) <= third, "three shards at once, where two may be"

    # The models are assets downstream of both, and the nightly run has built them.
    assert dagster.materialized() >= {"events_history", "events_nightly", *meltano.MODELS}
    assert modelled(postgres) == len(expected)

    # What was asked of the service: the shards' bounds, the overlap, and one shard twice.
    january = [job for job in jobs if job.filter["start"] == from_iso(START)]
    assert [job.filter["product"] for job in january].count("ALERT") == 2
    assert {(job.filter["product"], job.filter["start"]) for job in jobs} >= {
        (product, from_iso(NIGHTLY_START)) for product in PRODUCTS
    }


@pytest.mark.soak
def test_the_models_are_built_although_the_last_try_of_the_nightly_run_fails(
    tmp_path: Path, postgres: Postgres, schema: str
) -> None:
    with Emulator(events_per_hour=2, clock=lambda: from_iso(END), date_header=False) as emulator:
        environ = settings(emulator, postgres, schema, tmp_path) | {"DBT_SCHEMA": "marts_at_last"}
        dagster = Instance(tmp_path / "home", environ)
        dagster("asset", "materialize", "--select", "events_nightly")
        emulator.fault("start", "status", code=401, times=None)
        dagster("job", "execute", "--job", "nightly", code=1)

    days = postgres.rows("select from barchart__daily_active_users", schema="marts_at_last")
    assert days


# Without Dagster -----------------------------------------------------------------------------


def test_a_nightly_run_that_is_stopped_ends_the_tap_first_so_that_its_events_and_state_are_kept(
    tmp_path: Path, postgres: Postgres, schema: str
) -> None:
    pipeline = Pipeline(tmp_path / "project")
    log = tmp_path / "log"
    with Emulator(
        events_per_hour=5, clock=lambda: from_iso(END), date_header=False, job_seconds=0.5
    ) as emulator:
        span = {"start_date": START, "end_date": END, "window_hours": 6}
        environ = clean_environment(
            **variables(settings_of(emulator, products=["WATCHLIST"], **span)),
            **into_postgres(postgres, schema),
            MELTANO_PROJECT_ROOT=str(pipeline.folder),
            PYTHONPATH=str(PROJECT),
            PATH="",  # a slim image has no pkill
        )
        options: dict[str, Any] = {"cwd": tmp_path, "env": environ, "stderr": subprocess.STDOUT}
        nightly = [sys.executable, "-m", "orchestrate.nightly", "target-postgres", "dbt-postgres"]
        with log.open("wb") as written, process(nightly, stdout=written, **options) as running:
            while sum(emulator.starts.values()) <= 12:
                assert running.poll() is None, log.read_text(encoding="utf-8")
                time.sleep(0.05)
            running.send_signal(signal.SIGTERM)
            # A second signal soon after the first does not interrupt the end.
            time.sleep(0.03)
            running.send_signal(signal.SIGINT)
            assert running.wait(timeout=60) == 128 + signal.SIGTERM

        state_id = "prod:tap-barchart-events-to-target-postgres"
        (bookmark,) = kept_bookmarks(pipeline, state_id).values()
        assert START < bookmark < END
        there = loaded_into(postgres, schema)
        assert expected_events(emulator, ["WATCHLIST"], START, bookmark).items() <= there.items()


NIGHTLY = "prod:tap-barchart-events-to-target-jsonl"


def exported(*partitions: Any) -> dict[str, Any]:
    """Return a STATE as Meltano exports it."""
    state = {"bookmarks": {"events": {"partitions": list(partitions)}}}
    return {"completed": {"singer_state": state}, "partial": {}}


def learnt(product: str, what: str) -> dict[str, Any]:
    """Return the STATE of a run that has learnt something about a product."""
    context = {"customer": "TGAM", "product": product}
    return exported({"context": context, "replication_key_value": START, "learnt": {"types": what}})


DAMAGED: list[Any] = [None, {"completed": {}}, *map(exported, (None, {}, {"context": None}))]


@pytest.mark.parametrize(
    ("states", "source"),
    [
        ({"": "nightly", ":A-2026-01": "Jan", ":A-2026-02": "Feb", ":A-2026-04": "Apr"}, "Feb"),
        ({"": "nightly", ":A-2026-04": "Apr"}, "nightly"),
        ({":A-2026-05": "May", ":A-2026-04": "Apr"}, "Apr"),
        ({":A-2026-03": "own", ":A-2026-02": "Feb"}, None),
        ({}, None),
    ],
)
def test_a_shard_without_state_begins_with_what_the_nearest_run_of_its_product_has_learnt(
    states: dict[str, str], source: str | None
) -> None:
    there: dict[str, Any] = {NIGHTLY + end: learnt("A", what) for end, what in states.items()}
    others = {
        f"{NIGHTLY}:B-2026-02": learnt("B", "another product"),
        "prod:another-tap-to-target-jsonl:A-2026-02": learnt("A", "another tap"),
        **{f"{NIGHTLY}:A-2026-02-{n}": state for n, state in enumerate(DAMAGED)},
    }
    partition = meltano.learnt_elsewhere(there | others, f"{NIGHTLY}:A-2026-03", NIGHTLY, "A")
    assert (partition and partition["learnt"]) == (source and {"types": source})
    assert not partition or set(partition) == {"context", "learnt"}, "its bookmark is its own"


@pytest.mark.soak
def test_a_shard_learns_from_an_earlier_one_how_large_a_window_may_be(tmp_path: Path) -> None:
    months = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)
    begins = [from_iso(str(month)) for month in months]
    options: dict[str, Any] = {"events_per_hour": 5, "max_events": 100, "date_header": False}
    with Emulator(clock=lambda: begins[2], job_seconds=0.05, **options) as emulator:
        tap = settings_of(emulator, products=["WATCHLIST"], start_date="2026-01-01T00:00:00Z")
        environ = clean_environment(
            **variables(tap),
            TARGET_JSONL_DESTINATION_PATH=str(tmp_path),
            MELTANO_PROJECT_ROOT=str(Pipeline(tmp_path / "project").folder),
            ORCHESTRATE_HANDOVER="2026-03",
        )
        plan = ShardPlan.from_environment(environ)
        first_sizes = []
        for month, begin, end in zip(months, begins, begins[1:], strict=False):
            shard = plan.shard("WATCHLIST", month)
            events = meltano.run(shard, loader="target-jsonl", environ=environ)
            assert events == emulator.count(tap["customer"], "WATCHLIST", begin, end)
            of_the_first = [window for window in emulator.starts if window.start == begin]
            first_sizes.append(max(window.end - begin for window in of_the_first))
    assert first_sizes[0] == 24 * HOUR, "nothing was known"
    assert first_sizes[1] != 24 * HOUR, "the first export was too large, so a limit was known"
