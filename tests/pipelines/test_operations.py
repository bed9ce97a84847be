"""The commands of docs/operations.md do what the page says, run as they stand there."""

import json
import re
import shlex
import time
from pathlib import Path
from typing import Any

import pytest

from barchart_events_emulator import Emulator, Event
from demo.environment import clean_environment
from demo.pipeline import MELTANO, PROJECT, Pipeline, process
from demo.postgres_server import Postgres
from tap_barchart_events.windows import HOUR, MINUTE, from_iso
from tests.expected_events import expected_events
from tests.pipelines.pipe import into_postgres, kept_bookmarks, loaded_into, settings_of, variables
from tests.project.commands import in_bash, output_of
from tests.tap_runs import partitions

PAGE = PROJECT / "docs" / "operations.md"
STATE_ID = "prod:tap-barchart-events-to-target-postgres"
RUN = shlex.join([str(MELTANO), "run", "tap-barchart-events", "target-postgres"])

# As on the page.
EARLIER = "2025-11-01T00:00:00+00:00"
START = "2026-01-01T00:00:00+00:00"
REREAD = ("2026-01-05T00:00:00+00:00", "2026-01-08T00:00:00+00:00")
DAY = ("2026-01-05T00:00:00+00:00", "2026-01-06T00:00:00+00:00")
END = "2026-01-10T00:00:00+00:00"
FIRST_NIGHT, SECOND_NIGHT = "2026-01-03T00:00:00+00:00", "2026-01-04T00:00:00+00:00"


def block(with_text: str) -> str:
    """Return the only block of commands on the page that has a text."""
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (found,) = [commands for commands in blocks if with_text in commands]
    return str(found)


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """Return a Meltano project in which the commands of the page find Meltano."""
    pipeline = Pipeline(tmp_path / "project")
    (pipeline.folder / ".venv-meltano").symlink_to(PROJECT / ".venv-meltano")
    return pipeline


@pytest.mark.soak
def test_earlier_time_a_comparison_and_a_range_read_again_leave_the_nightly_bookmarks_alone(
    pipeline: Pipeline, postgres: Postgres, schema: str
) -> None:
    """A nightly run, then what the page says; events come late in between, and a product goes.

    Of the day that is compared, events that came late are missing in the table, and one of the
    table is not exported.
    """
    beside = "the_day_compared"
    (comparison,) = re.findall(
        r"^```sql\n(select product, count\(\*\) as events,\n.*?);\n```",
        PAGE.read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    comparison = comparison.replace("barchart_check.", f"{beside}.").replace(
        "barchart.", f"{schema}."
    )
    more: dict[str, Any] = {"start_date": START, "end_date": END, "window_hours": 744}
    with Emulator(
        events_per_hour=1, clock=lambda: from_iso(END), date_header=False, late_share=0.2
    ) as emulator:

        def run(commands: str, *products: str) -> None:
            tap = settings_of(emulator, products=products, **more)
            environ = variables(tap) | into_postgres(postgres, schema)
            in_bash(commands, folder=pipeline.folder, environ=environ)

        run(RUN, "ALERT", "WATCHLIST")
        nightly = kept_bookmarks(pipeline, STATE_ID)
        assert set(nightly.values()) == {END.replace("+", ".000+")}
        in_time = expected_events(emulator, ["ALERT", "WATCHLIST"], START, END)

        run(block("--state-id-suffix=before-2026"), "WATCHLIST")
        before = expected_events(emulator, ["WATCHLIST"], EARLIER, START)
        assert len(before) > 100
        assert loaded_into(postgres, schema) == in_time | before
        run(RUN, "WATCHLIST")
        assert kept_bookmarks(pipeline, STATE_ID) == nightly, "a product taken out has lost its own"

        emulator.release_late()
        postgres.execute(
            "insert into events (event_id, product, timestamp)"
            " values ('of another day', 'ALERT', '2026-01-06'), ('gone', 'ALERT', '2026-01-05')",
            schema=schema,
        )
        run(block("barchart_check").replace("barchart_check", beside), "ALERT", "WATCHLIST")
        rows = postgres.rows("select event_id from events", schema=schema)
        there = {row["event_id"] for row in rows}
        for found, product in zip(postgres.rows(comparison), ["ALERT", "WATCHLIST"], strict=True):
            keys = expected_events(emulator, [product], *DAY).keys()
            gone = int(product == "ALERT")
            assert found["product"] == product
            assert found["events"] == len(keys) + gone
            assert found["missing"] == len(keys - there) > 0
            assert found["no_longer_exported"] == gone
        postgres.execute("delete from events where customer is null", schema=schema)
        assert kept_bookmarks(pipeline, STATE_ID) == nightly

        run(block("END_DATE=2026-01-08"), "WATCHLIST")
        late = expected_events(emulator, ["WATCHLIST"], *REREAD)
        assert len(late.keys() - in_time.keys()) > 5
        assert loaded_into(postgres, schema) == in_time | before | late
        assert kept_bookmarks(pipeline, STATE_ID) == nightly


@pytest.mark.soak
def test_a_range_that_cannot_be_read_is_passed_as_the_page_says(
    pipeline: Pipeline, postgres: Postgres, schema: str
) -> None:
    """One row is damaged; all other events of its product come in the next night."""
    state = pipeline.folder / "state.json"
    get, put = block("state set --force").split("\n", 1)
    damaged = from_iso(START) + 36 * HOUR + 20 * MINUTE
    passed = "2026-01-03T12:24:00+00:00"
    products = ["ALERT", "WATCHLIST"]

    def events(_: str, product: str, start: int, end: int) -> list[Event]:
        times = range(from_iso(START), from_iso(END), 10 * MINUTE)
        found = [time for time in times if start <= time < end]
        values = {damaged: {"symbol": "A|B"}} if product == "ALERT" else {}
        return [Event(time, f"{product}-CREATED", values.get(time, {})) for time in found]

    with Emulator(job_seconds=0.05, date_header=False) as emulator:
        emulator.source = events

        def run(commands: str, end: str = FIRST_NIGHT, code: int = 0) -> str:
            span = {"start_date": START, "end_date": end, "window_hours": 3}
            tap = variables(settings_of(emulator, products=products, **span))
            environ = tap | into_postgres(postgres, schema)
            return in_bash(commands, code=code, folder=pipeline.folder, environ=environ)

        assert "1 of 2 products failed: ALERT 2026-01-02 12:00 → 15:00: " in run(RUN, code=1)
        log = run(block("WINDOW_HOURS=0.1"), code=1)
        assert "TGAM/ALERT 2026-01-02 12:18 → 12:24: " in log
        run(get)
        kept = json.loads(state.read_text("utf-8"))
        held = {one["context"]["product"]: one for one in partitions(kept["singer_state"])}
        held["ALERT"]["replication_key_value"] = passed
        state.write_text(json.dumps(kept), encoding="utf-8")
        run(put)

        run(RUN, SECOND_NIGHT)
        expected = expected_events(emulator, products, START, SECOND_NIGHT)
        lacking = expected.keys() - loaded_into(postgres, schema).keys()
        assert [expected[key]["timestamp"] for key in lacking] == [damaged]
        assert from_iso(kept_bookmarks(pipeline, STATE_ID)["ALERT"]) == from_iso(SECOND_NIGHT)


def test_a_run_interrupted_as_the_page_says_is_continued(
    pipeline: Pipeline, postgres: Postgres, schema: str
) -> None:
    """SIGTERM to the tap alone: the target loads what it has, and Meltano keeps the STATE.

    The tap has written more than Meltano's buffer holds.
    """
    end = FIRST_NIGHT
    with Emulator(
        events_per_hour=400, clock=lambda: from_iso(end), date_header=False, job_seconds=0.5
    ) as emulator:
        more = {"start_date": START, "end_date": end, "window_hours": 2}
        # Without a lookback, so that no window is exported again.
        tap = settings_of(emulator, products=["WATCHLIST"], lookback_hours=0, **more)
        environ = variables(tap) | into_postgres(postgres, schema)
        # Meltano's own 100 MiB would need a long test.
        environ["MELTANO_ELT_BUFFER_SIZE"] = str(1 << 20)
        options = {"cwd": pipeline.folder, "env": clean_environment(**environ)}
        with process(shlex.split(RUN), **options) as running:
            while sum(emulator.starts.values()) <= 18:
                time.sleep(0.05)
                assert running.poll() is None, "the run ended before it was interrupted"
            # Only the tap of this run: tests may run side by side.
            alone = block("pkill").replace("pkill ", f"pkill --session {running.pid} ", 1)
            output_of("bash", "-euc", alone)
            running.wait(timeout=60)
        (first,) = kept_bookmarks(pipeline, STATE_ID).values()
        assert START < first < end
        in_bash(RUN, folder=pipeline.folder, environ=environ)
        assert loaded_into(postgres, schema) == expected_events(emulator, ["WATCHLIST"], START, end)
        assert set(emulator.starts.values()) == {1}, "a window was exported again"
