"""The models of `transform/` in each database, compared with a computation in Python."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from barchart_events_emulator import Emulator
from demo.pipeline import PROJECT
from tap_barchart_events.products import PRODUCTS as ALL_PRODUCTS
from tap_barchart_events.windows import from_iso
from tests.expected_events import EventValues, expected_events
from tests.pipelines.marts import Row, computed, subject_and_action
from tests.pipelines.pipe import messages
from tests.pipelines.usage import COLUMNS, DELETED, NEW, OLD, REREAD, Usage
from tests.pipelines.warehouses import (
    ADDED,
    PRODUCTS,
    InDuckDB,
    InPostgres,
    InSnowflake,
    Models,
    Warehouse,
    first_month,
    needs_snowflake,
)

WINDOWS = "every_event_came_with_its_window"

# Ends of windows, which no event tells.
NOT_COMPUTED = {"window_end", "complete_until"}

# The greatest end of each product.
FIRST_ENDS = dict.fromkeys(PRODUCTS, from_iso(NEW[1]))
ENDS = {**FIRST_ENDS, ADDED: from_iso(REREAD[1])}


class Built(NamedTuple):
    """What the models hold after each build, and what they should.

    Of the second build, dbt's results as well.
    """

    warehouse: Warehouse
    first: Models
    then: Models
    again: Models
    first_expected: Models
    then_expected: Models
    again_expected: Models
    results: dict[str, dict[str, Any]]
    rebuilt: Models


@pytest.fixture(
    scope="module", params=["postgres", "duckdb", pytest.param("snowflake", marks=needs_snowflake)]
)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Load and build twice, and then build from scratch."""
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
        first = warehouse.models()
        first_expected = computed(expected_events(emulator, PRODUCTS, *NEW), FIRST_ENDS)
        usage.late = True
        results = warehouse.then(emulator)
        then, then_expected = warehouse.models(), computed(all_events(emulator), ENDS)
        usage.changed = True
        warehouse.read_again(emulator)
        again, again_expected = warehouse.models(), computed(all_events(emulator), ENDS)
    warehouse.rebuild()
    rebuilt = warehouse.models()
    expected = (first_expected, then_expected, again_expected)
    return Built(warehouse, first, then, again, *expected, results, rebuilt)


def all_events(emulator: Emulator) -> dict[str, EventValues]:
    """Return what the table should hold after the second load."""
    return (
        expected_events(emulator, PRODUCTS, *OLD)
        | expected_events(emulator, PRODUCTS, *NEW)
        | expected_events(emulator, [ADDED], *REREAD)
    )


def without(models: Models) -> Models:
    """Return models without the columns that are not computed."""
    return {
        name: [{c: value for c, value in row.items() if c not in NOT_COMPUTED} for row in rows]
        for name, rows in models.items()
    }


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
    assert differences(without(built.first), built.first_expected) == {}


def test_an_incremental_build_after_an_old_month_and_late_events_is_so_too(built: Built) -> None:
    assert differences(without(built.then), built.then_expected) == {}


def test_an_incremental_build_after_a_deleted_range_was_read_again_is_so_too(built: Built) -> None:
    def events(models: Models) -> dict[tuple[str, str], int]:
        rows = models["barchart__daily_active_users"]
        return {(row["product"], row["day"]): row["events"] for row in rows}

    before, after = events(built.then), events(built.again)
    gone, same = (day[:10] for day in (DELETED[0], "2026-02-27"))
    assert before["PORTFOLIO", gone] > after["PORTFOLIO", gone] == 0
    assert before["PORTFOLIO", same] == after["PORTFOLIO", same]
    assert differences(without(built.again), built.again_expected) == {}


def test_an_incremental_build_and_a_full_refresh_make_the_same_rows(built: Built) -> None:
    assert all(built.rebuilt.values())
    assert differences(built.again, built.rebuilt) == {}


def test_the_overview_says_up_to_when_events_are_complete(built: Built) -> None:
    def ends(models: Models) -> dict[str, int]:
        rows = models["barchart__product_overview"]
        return {row["product"]: row["complete_until"] for row in rows}

    assert ends(built.first) == FIRST_ENDS
    assert ends(built.then) == ENDS


def test_events_that_were_read_again_have_the_end_of_one_window(built: Built) -> None:
    built.warehouse.dbt("test", "--select", WINDOWS)
    assert built.warehouse.dbt.results()[WINDOWS]["status"] == "pass"


def test_late_events_join_sessions_and_midnight_parts_none(built: Built) -> None:
    """The computation is checked too, at a user whose sessions can be counted by hand."""

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
def test_codes_are_split_as_a_person_would(code: str, subject: str, action: str) -> None:
    product = next(name for name, known in ALL_PRODUCTS.items() if code in known.event_types)
    assert subject_and_action(product, code) == (subject, action)


def test_freshness_is_that_of_the_last_window(built: Built) -> None:
    """It is old, so the command fails."""
    built.warehouse.dbt("source", "freshness", code=1)
    found = built.warehouse.dbt.results("sources")["events"]
    assert found["status"] == "error"
    assert found["max_loaded_at"].startswith(NEW[1][:19])


def test_every_model_and_column_is_described_and_on_the_page(built: Built) -> None:
    described = {
        model["name"]: model
        for path in (PROJECT / "transform" / "models").rglob("*.yml")
        for model in yaml.safe_load(path.read_text(encoding="utf-8")).get("models", [])
    }
    page = (PROJECT / "docs" / "dbt.md").read_text(encoding="utf-8")
    for name, rows in built.then.items():
        columns = {column["name"]: column["description"] for column in described[name]["columns"]}
        assert described[name]["description"]
        assert all(columns.values())
        assert columns.keys() == rows[0].keys()
        assert f"| `{name}` |" in page


def test_an_incremental_build_writes_the_days_that_have_other_events(built: Built) -> None:
    if not isinstance(built.warehouse, InPostgres):
        pytest.skip("only dbt-postgres tells how many rows it wrote")

    def days(models: Models) -> dict[tuple[str, str], int]:
        rows = models["barchart__daily_active_users"]
        return {(row["product"], row["day"]): row["events"] for row in rows}

    changed = {day for day, _ in days(built.then).items() - days(built.first).items()}
    assert 0 < len(changed) < len(days(built.then))
    for name in ("int_barchart__user_type_days", "int_barchart__daily_sessions"):
        written = built.results[name]["adapter_response"]["rows_affected"]
        rows = [row for row in built.then[name] if (row["product"], row["day"]) in changed]
        assert written == len(rows), name


def test_lines_of_target_jsonl_are_read_and_each_event_once(tmp_path: Path) -> None:
    """The target appends, so what comes again is there again."""
    with Emulator(source=Usage(), header=True, added_column="mood") as emulator:
        written = messages(first_month(emulator), tmp_path)
        expected = expected_events(emulator, PRODUCTS, *NEW)
    records = [json.loads(line) for line in written.splitlines()]
    lines = [json.dumps(one["record"]) for one in records if one["type"] == "RECORD"]
    (tmp_path / "events.jsonl").write_text("\n".join(lines + lines[:100]), encoding="utf-8")
    warehouse = InDuckDB(tmp_path, "events.jsonl")
    warehouse.dbt("run", "--select", "stg_barchart__events")
    found = without(warehouse.models(["stg_barchart__events"]))
    models = computed(expected, FIRST_ENDS)
    assert differences(found, {name: models[name] for name in found}) == {}


def test_an_event_that_came_again_under_another_id_is_a_warning(tmp_path: Path) -> None:
    at, other = "2026-03-02T00:00:01.000+00:00", "2026-03-02T00:00:02.000+00:00"
    old, new = "2026-03-03T00:00:00.000+00:00", "2026-03-03T01:00:00.000+00:00"
    rows = [("a", at, old), ("b", other, old), ("a", at, new), ("c", at, new), ("d", other, new)]
    fixed = {"customer": "TGAM", "product": "ALERT", "type": "ALERT-CREATED"}
    lines = [
        json.dumps({"event_id": key, "timestamp": instant, "end": end, "extra": None, **fixed})
        for key, instant, end in rows
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(lines), encoding="utf-8")
    dbt = InDuckDB(tmp_path, "events.jsonl").dbt
    dbt("run", "--select", "stg_barchart__events")
    dbt("test", "--select", WINDOWS)
    found = dbt.results()[WINDOWS]
    assert (found["status"], found["failures"]) == ("warn", 1)
