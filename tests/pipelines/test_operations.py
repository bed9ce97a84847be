"""The commands of docs/operations.md do what the page says, run as they stand there."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from barchart_events_emulator import Emulator
from demo.environment import clean_environment
from demo.pipeline import MELTANO, PROJECT, Pipeline
from demo.postgres_server import Postgres
from tap_barchart_events.windows import from_iso
from tests.expected_events import EventValues, expected_events
from tests.pipelines.pipe import into_postgres, kept_bookmarks, loaded, settings_of, variables

PAGE = PROJECT / "docs" / "operations.md"
STATE_ID = "prod:tap-barchart-events-to-target-postgres"
RUN = f"{MELTANO} run tap-barchart-events target-postgres"

# As on the page.
EARLIER = "2025-11-01T00:00:00+00:00"
START = "2026-01-01T00:00:00+00:00"
REREAD = ("2026-01-05T00:00:00+00:00", "2026-01-08T00:00:00+00:00")
END = "2026-01-10T00:00:00+00:00"


def block(with_text: str) -> str:
    """Return the only block of commands on the page that has a text."""
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (found,) = [commands for commands in blocks if with_text in commands]
    return str(found)


def rows(postgres: Postgres, schema: str) -> dict[str, EventValues]:
    """Return the table's events, each of which is there once."""
    return loaded(postgres.rows("select * from events", schema=schema))


def options(
    pipeline: Pipeline, postgres: Postgres, schema: str, tap: dict[str, Any]
) -> dict[str, Any]:
    """Return how commands of the page are run in a project."""
    environ = variables(tap) | into_postgres(postgres, schema)
    return {
        "cwd": pipeline.folder,
        "env": clean_environment(**environ),
        "stdin": subprocess.DEVNULL,
    }


def test_earlier_time_and_a_range_read_again_leave_the_nightly_bookmarks_alone(
    tmp_path: Path, postgres: Postgres, schema: str
) -> None:
    """A nightly run, then what the page says; events come late in between, and a product goes."""
    pipeline = Pipeline(tmp_path / "project")
    (pipeline.folder / ".venv-meltano").symlink_to(PROJECT / ".venv-meltano")
    more: dict[str, Any] = {"start_date": START, "end_date": END, "window_hours": 744}
    with Emulator(
        events_per_hour=0.5, clock=lambda: from_iso(END), date_header=False, late_share=0.2
    ) as emulator:

        def run(commands: str, *products: str) -> None:
            tap = settings_of(emulator, products=products, **more)
            bash = ["bash", "-euo", "pipefail", "-c", commands]
            subprocess.run(bash, **options(pipeline, postgres, schema, tap), check=True)

        run(RUN, "ALERT", "WATCHLIST")
        nightly = kept_bookmarks(pipeline, STATE_ID)
        assert set(nightly.values()) == {END.replace("+", ".000+")}
        in_time = expected_events(emulator, ["ALERT", "WATCHLIST"], START, END)

        run(block("--state-id-suffix=before-2026"), "WATCHLIST")
        before = expected_events(emulator, ["WATCHLIST"], EARLIER, START)
        assert len(before) > 100
        assert rows(postgres, schema) == in_time | before
        run(RUN, "WATCHLIST")
        assert kept_bookmarks(pipeline, STATE_ID) == nightly, "a product taken out has lost its own"

        emulator.release_late()
        run(block("--full-refresh"), "WATCHLIST")
        late = expected_events(emulator, ["WATCHLIST"], *REREAD)
        assert len(late.keys() - in_time.keys()) > 5
        assert rows(postgres, schema) == in_time | before | late
        assert kept_bookmarks(pipeline, STATE_ID) == nightly


@pytest.mark.parametrize(
    ("events_per_hour", "window_hours", "end"),
    [(5, 6, END), (1500, 2, "2026-01-03T00:00:00+00:00")],
    ids=["few events", "more than Meltano's buffer holds"],
)
def test_a_run_interrupted_as_the_page_says_is_continued(
    tmp_path: Path,
    postgres: Postgres,
    schema: str,
    events_per_hour: int,
    window_hours: int,
    end: str,
) -> None:
    """SIGTERM to the tap alone: the target loads what it has, and Meltano keeps the STATE."""
    pipeline = Pipeline(tmp_path / "project")
    with Emulator(
        events_per_hour=events_per_hour,
        clock=lambda: from_iso(end),
        date_header=False,
        job_seconds=0.5,
    ) as emulator:
        more = {"start_date": START, "end_date": end, "window_hours": window_hours}
        # Without a lookback, so that no window is exported again.
        tap = settings_of(emulator, products=["WATCHLIST"], lookback_hours=0, **more)
        how = options(pipeline, postgres, schema, tap)
        # Meltano's own 100 MiB would need a long test.
        how["env"]["MELTANO_ELT_BUFFER_SIZE"] = str(4 << 20)
        with subprocess.Popen(RUN.split(), start_new_session=True, **how) as running:
            while sum(emulator.starts.values()) <= 18:
                time.sleep(0.05)
                assert running.poll() is None, "the run ended before it was interrupted"
            # Only the tap of this run: tests may run side by side.
            alone = block("pkill").replace("pkill ", f"pkill --session {running.pid} ", 1)
            subprocess.run(["bash", "-euc", alone], check=True)
            running.wait(timeout=60)
        (first,) = kept_bookmarks(pipeline, STATE_ID).values()
        assert START < first < end
        before = sum(emulator.starts.values())
        subprocess.run(RUN.split(), check=True, **how)
        assert rows(postgres, schema) == expected_events(emulator, ["WATCHLIST"], START, end)
        assert set(emulator.starts.values()) == {1}, "a window was exported again"
        assert sum(emulator.starts.values()) > before
