"""The commands of docs/operations.md do what the page says, run as they stand there."""

from __future__ import annotations

import re
import subprocess
import time
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from barchart_events_emulator import Emulator
from demo.environment import clean_environment
from demo.pipeline import PROJECT, Pipeline
from tests.pipelines.expected_events import found, held, milliseconds
from tests.pipelines.pipe import settings_of

if TYPE_CHECKING:
    from pathlib import Path

    from demo.postgres_server import Postgres

PAGE = PROJECT / "docs" / "operations.md"
STATE_ID = "prod:tap-barchart-events-to-target-postgres"

# As on the page.
EARLIER = "2025-11-01T00:00:00+00:00"
START = "2026-01-01T00:00:00+00:00"
REREAD = ("2026-01-05T00:00:00+00:00", "2026-01-08T00:00:00+00:00")
END = "2026-01-10T00:00:00+00:00"


def blocks() -> list[str]:
    """Return the blocks of commands on the page."""
    return re.findall(r"^```bash\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def bookmarks(pipeline: Pipeline) -> dict[str, str]:
    """Return the bookmarks of the nightly run."""
    state = pipeline.state(STATE_ID)["singer_state"]["bookmarks"]["events"]["partitions"]
    return {part["context"]["product"]: part["replication_key_value"] for part in state}


def test_earlier_time_and_a_range_read_again_leave_the_nightly_bookmarks_alone(
    tmp_path: Path, postgres: Postgres, schema: str
) -> None:
    """A nightly run, then what the page says; events come late in between, and a product goes."""
    earlier, reread = (
        next(block for block in blocks() if option in block)
        for option in ("--state-id-suffix=before-2026", "--full-refresh")
    )
    now = milliseconds(END)
    with Emulator(
        events_per_hour=0.5, clock=lambda: now, date_header=False, late_share=0.2
    ) as emulator:
        pipeline = Pipeline(tmp_path / "project")
        (pipeline.folder / ".venv-meltano").symlink_to(PROJECT / ".venv-meltano")
        tap = settings_of(
            emulator,
            products='["ALERT", "WATCHLIST"]',
            start_date=START,
            end_date=END,
            window_hours=744,
        )
        settings = {
            **{f"TAP_BARCHART_EVENTS_{name.upper()}": str(tap[name]) for name in tap},
            "TARGET_POSTGRES_SQLALCHEMY_URL": postgres.url,
            "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA": schema,
        }

        def run(commands: str) -> None:
            subprocess.run(
                ["bash", "-euo", "pipefail", "-c", commands],
                cwd=pipeline.folder,
                env=clean_environment(**settings),
                stdin=subprocess.DEVNULL,
                check=True,
            )

        run(".venv-meltano/bin/meltano run tap-barchart-events target-postgres")
        nightly = bookmarks(pipeline)
        assert set(nightly.values()) == {END.replace("+", ".000+")}
        in_time = held(emulator, ["ALERT", "WATCHLIST"], START, END)

        settings["TAP_BARCHART_EVENTS_PRODUCTS"] = '["WATCHLIST"]'
        run(earlier)
        before = held(emulator, ["WATCHLIST"], EARLIER, START)
        assert before.total() > 100
        assert rows(postgres, schema) == in_time + before
        run(".venv-meltano/bin/meltano run tap-barchart-events target-postgres")
        assert bookmarks(pipeline) == nightly, "a product taken out has lost its bookmark"

        emulator.release_late()
        run(reread)
        late = held(emulator, ["WATCHLIST"], *REREAD) - in_time
        assert late.total() > 5
        assert rows(postgres, schema) == in_time + before + late
        assert bookmarks(pipeline) == nightly


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
    # Meltano's own 100 MiB would need a long test.
    buffer = {"MELTANO_ELT_BUFFER_SIZE": str(4 << 20)}
    (interrupt,) = (block for block in blocks() if "pkill" in block)
    now = milliseconds(end)
    with Emulator(
        events_per_hour=events_per_hour, clock=lambda: now, date_header=False, job_seconds=0.5
    ) as emulator:
        pipeline = Pipeline(tmp_path / "project")
        tap = settings_of(
            emulator,
            products='["WATCHLIST"]',
            start_date=START,
            end_date=end,
            window_hours=window_hours,
            lookback_hours=0,  # no window is exported again
        )
        command = [str(PROJECT / ".venv-meltano/bin/meltano"), "run"]
        options: dict[str, Any] = {
            "cwd": pipeline.folder,
            "env": clean_environment(
                **{f"TAP_BARCHART_EVENTS_{name.upper()}": str(tap[name]) for name in tap},
                TARGET_POSTGRES_SQLALCHEMY_URL=postgres.url,
                TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA=schema,
                **buffer,
            ),
            "stdin": subprocess.DEVNULL,
        }
        pipe = [*command, "tap-barchart-events", "target-postgres"]
        with subprocess.Popen(pipe, start_new_session=True, **options) as running:
            for _ in count():
                time.sleep(0.05)
                assert running.poll() is None, "the run ended before it was interrupted"
                if sum(emulator.starts.values()) > 18:
                    break
            # Only the tap of this run: tests may run side by side.
            alone = interrupt.replace("pkill ", f"pkill --session {running.pid} ", 1)
            subprocess.run(["bash", "-euc", alone], check=True)
            running.wait(timeout=60)
        (first,) = bookmarks(pipeline).values()
        assert START < first < end
        before = sum(emulator.starts.values())
        subprocess.run(pipe, check=True, **options)
        assert rows(postgres, schema) == held(emulator, ["WATCHLIST"], START, end)
        assert set(emulator.starts.values()) == {1}, "a window was exported again"
        assert sum(emulator.starts.values()) > before


def rows(postgres: Postgres, schema: str) -> object:
    """Return the table's events, each as often as it is there."""
    return found(postgres.rows("select * from events", schema=schema))
