"""The tap's messages through the real target-snowflake into an emulated Snowflake.

What this shows: the target takes the tap's SCHEMA, RECORD and BATCH messages, names columns and
merges by key as it would anywhere, and the SQL it writes does what it means. What it does not
show: that Snowflake itself takes that SQL, its own casts of VARIANT and date-times, its speed.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from barchart_events_emulator import Emulator
from demo.pipeline import PROJECT
from tests.pipelines import views
from tests.pipelines.expected_events import found, held, milliseconds
from tests.pipelines.pipe import messages, settings_of

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = PROJECT / ".venv-snowflake" / "bin" / "python"
SCRIPT = PROJECT / "tests" / "pipelines" / "emulated_snowflake.py"
VIEWS = (PROJECT / "sql" / "snowflake" / "views.sql").read_text(encoding="utf-8")
START = "2026-03-02T00:00:00+00:00"
DAYS = [f"2026-03-{day:02}T00:00:00+00:00" for day in (3, 4)]

pytestmark = pytest.mark.skipif(
    not list(PYTHON.parent.parent.glob("lib/python*/site-packages/fakesnow")),
    reason="fakesnow, the emulated Snowflake, needs Python 3.11 or later",
)


class Snowflake:
    """An emulated Snowflake, whose databases are files in a folder."""

    def __init__(self, folder: Path) -> None:
        """Start with no database."""
        self.folder = folder

    def load(self, written: bytes, **settings: Any) -> dict[str, Any]:  # noqa: ANN401
        """Run target-snowflake over messages and return the last STATE that it wrote."""
        answer = self._run("load", written, json.dumps({"validate_records": False} | settings))
        state: dict[str, Any] = json.loads(answer.splitlines()[-1])
        return state

    def rows(self, statements: str) -> list[dict[str, Any]]:
        """Execute statements and return the rows of the last."""
        return [json.loads(line) for line in self._run("query", statements.encode()).splitlines()]

    def types(self) -> dict[str, str]:
        """Return the types of the table's columns."""
        return {row["name"]: row["type"] for row in self.rows("describe table events")}

    def _run(self, action: str, given: bytes, *arguments: str) -> bytes:
        done = subprocess.run(
            [PYTHON, SCRIPT, action, self.folder, *arguments],
            # fakesnow and the target put files there and leave them.
            env={"TMPDIR": str(self.folder)},
            input=given,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        return done.stdout


@pytest.fixture
def snowflake(tmp_path: Path) -> Snowflake:
    """Return an empty one."""
    (tmp_path / "snowflake").mkdir()
    return Snowflake(tmp_path / "snowflake")


def batches(folder: Path) -> dict[str, Any]:
    """Return the settings of the tap for BATCH files that target-snowflake reads."""
    folder.mkdir()
    return {
        "batch_config": {
            "encoding": {"format": "jsonl", "compression": "gzip"},
            "storage": {"root": folder.as_uri(), "prefix": ""},
            "batch_size": 500,
        }
    }


@pytest.mark.parametrize("way", ["RECORD", "BATCH"])
def test_runs_with_lookback_and_a_further_product_load_each_event_once(
    tmp_path: Path, snowflake: Snowflake, way: str
) -> None:
    more = batches(tmp_path / "batches") if way == "BATCH" else {}
    with Emulator(events_per_hour=20, header=True, added_column="mood") as emulator:
        for end, products in (DAYS[0], ["ALERT"]), (DAYS[1], ["ALERT", "PORTFOLIO"]):
            tap = settings_of(emulator, products=products, start_date=START, end_date=end, **more)
            written = messages(tap, tmp_path)
            kinds = Counter(json.loads(line)["type"] for line in written.splitlines())
            assert kinds[way] > 0
            assert kinds["RECORD" if way == "BATCH" else "BATCH"] == 0
            snowflake.load(written, timestamp_type="TIMESTAMP_TZ")
            rows = snowflake.rows("select * from events")
            assert found(rows) == held(emulator, products, START, end)
            assert len({row["EVENT_ID"] for row in rows}) == len(rows)
    assert not list((tmp_path / "batches").glob("*")), "the target removes the files it has read"


def test_names_are_upper_case_and_reserved_words_too(tmp_path: Path, snowflake: Snowflake) -> None:
    """So that `end`, `column` and `filter` need quotes, and nothing else does."""
    with Emulator(events_per_hour=20) as emulator:
        tap = settings_of(emulator, products=["CMDTYVIEW"], start_date=START, end_date=DAYS[0])
        snowflake.load(messages(tap, tmp_path))
    types = snowflake.types()
    assert [name for name in types if name != name.upper()] == []
    assert {"EVENT_ID", "TIMESTAMP", "TYPE", "END", "COLUMN", "FILTER"} <= types.keys()
    assert types["TIMESTAMP"] == types["END"] == "TIMESTAMP_NTZ(9)"
    assert types["EXTRA"] == "VARIANT"
    assert snowflake.rows('select timestamp, "END", "COLUMN", "FILTER" from events limit 1')


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Snowflake, list[views.Event]]:
    """Return a Snowflake with three products and the views over them, and the truth."""
    folder = tmp_path_factory.mktemp("snowflake")
    products = ["BARCHART-EXCEL", "CMDTYVIEW", "PORTFOLIO"]
    with Emulator(events_per_hour=20) as emulator:
        tap = settings_of(emulator, products=products, start_date=START, end_date=DAYS[1])
        snowflake = Snowflake(folder)
        snowflake.load(messages(tap, folder), timestamp_type="TIMESTAMP_TZ")
        truth = views.events_of(held(emulator, products, START, DAYS[1]).elements())
    for _ in range(2):
        snowflake.rows(VIEWS)
    return snowflake, truth


def test_the_views_say_what_an_obvious_computation_says(
    loaded: tuple[Snowflake, list[views.Event]],
) -> None:
    snowflake, truth = loaded
    rows = snowflake.rows("select * from events_typed")
    assert views.typed(truth) == Counter(
        (
            milliseconds(row["OCCURRED_AT"]),
            row["DAY"],
            row["TYPE"],
            *(row[name.upper()] for name in views.FLAGS + views.COUNTS),
        )
        for row in rows
    )
    rows = snowflake.rows("select product, day, active_users, events from daily_active_users")
    assert views.daily_active_users(truth) == {tuple(row.values()) for row in rows}
    rows = snowflake.rows("select product, type, day, events, users from events_by_type_and_day")
    assert views.events_by_type_and_day(truth) == {tuple(row.values()) for row in rows}
    rows = snowflake.rows("select * from sessions")
    assert views.sessions(truth) == Counter(
        (
            row["PRODUCT"],
            row["USER_ID"],
            round(row["SESSION_NUMBER"]),
            milliseconds(row["STARTED_AT"]),
            milliseconds(row["ENDED_AT"]),
            row["EVENTS"],
        )
        for row in rows
    )
