"""What `orchestrate` does with a run under way when it is interrupted; without Dagster."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from barchart_events_emulator import Emulator
from demo.environment import clean_environment
from demo.pipeline import PROJECT, Pipeline, process
from tests.pipelines.expected_events import found, held, milliseconds
from tests.pipelines.pipe import settings_of

if TYPE_CHECKING:
    from pathlib import Path

    from demo.postgres_server import Postgres

STATE_ID = "prod:tap-barchart-events-to-target-postgres"
START = "2026-01-01T00:00:00+00:00"
END = "2026-01-10T00:00:00+00:00"
PRODUCT = "WATCHLIST"

STEP = """
import os
from orchestrate import meltano
from orchestrate.shards import Run
meltano.run(Run({}), loader="target-postgres", environ=os.environ)
"""
"""What a step of Dagster's does."""


def test_an_interrupted_run_ends_the_tap_first_so_that_its_events_and_state_are_kept(
    tmp_path: Path, postgres: Postgres, schema: str
) -> None:
    now = milliseconds(END)
    with Emulator(
        events_per_hour=5, clock=lambda: now, date_header=False, job_seconds=0.5
    ) as emulator:
        pipeline = Pipeline(tmp_path / "project")
        tap = settings_of(
            emulator, products=f'["{PRODUCT}"]', start_date=START, end_date=END, window_hours=6
        )
        environ = clean_environment(
            **{f"TAP_BARCHART_EVENTS_{name.upper()}": str(tap[name]) for name in tap},
            TARGET_POSTGRES_SQLALCHEMY_URL=postgres.url,
            TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA=schema,
            MELTANO_PROJECT_ROOT=str(pipeline.folder),
            PYTHONPATH=str(PROJECT),
        )
        log = tmp_path / "log"
        with (
            log.open("wb") as written,
            process(
                [sys.executable, "-c", STEP],
                cwd=tmp_path,
                env=environ,
                stdout=written,
                stderr=subprocess.STDOUT,
            ) as step,
        ):
            while sum(emulator.starts.values()) <= 12:
                assert step.poll() is None, log.read_text(encoding="utf-8")
                time.sleep(0.05)
            step.send_signal(signal.SIGINT)
            assert step.wait(timeout=60) == -signal.SIGINT

        partitions = pipeline.state(STATE_ID)["singer_state"]["bookmarks"]["events"]["partitions"]
        bookmark = partitions[0]["replication_key_value"]
        assert START < bookmark < END
        loaded = found(postgres.rows("select * from events", schema=schema))
        assert loaded >= held(emulator, [PRODUCT], START, bookmark)
