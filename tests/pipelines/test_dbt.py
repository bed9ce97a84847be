"""The models of `transform/` in each database, compared with a computation in Python."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest
import yaml

from barchart_events_emulator import Emulator
from demo.marts import TRANSFORM
from demo.pipeline import PROJECT
from tap_barchart_events.products import PRODUCTS as ALL_PRODUCTS
from tap_barchart_events.windows import from_iso
from tests.expected_events import EventValues, expected_events
from tests.pipelines.marts import (
    Row,
    computed,
    days_after,
    funnel,
    midnight,
    staged,
    subject_and_action,
    weekly,
)
from tests.pipelines.pipe import messages
from tests.pipelines.usage import COLUMNS, DAY, DELETED, NEW, OLD, REREAD, STEPS, TAKEN, Usage
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

COUNTED = "every_event_is_in_the_daily_usage"
WITHOUT = ("--indirect-selection=cautious", "--exclude")
"""Tests go only with all models that they read."""
UNUSUAL = (
    WINDOWS,
    "a_day_has_far_fewer_users_than_its_weeks",
    "a_product_is_silent_for_longer_than_ever_before",
)

# Ends of windows, which no event tells.
NOT_COMPUTED = {"window_end", "complete_until"}

# The greatest end of each product.
FIRST_ENDS = dict.fromkeys(PRODUCTS, from_iso(NEW[1]))
ENDS = {**FIRST_ENDS, ADDED: from_iso(REREAD[1])}


class Built(NamedTuple):
    """What the models hold after each build, and what they should.

    Of the second and the third build, dbt's results as well.
    """

    warehouse: Warehouse
    first: Models
    then: Models
    again: Models
    first_expected: Models
    then_expected: Models
    again_expected: Models
    then_results: dict[str, dict[str, Any]]
    again_results: dict[str, dict[str, Any]]
    rebuilt: Models


@pytest.fixture(
    scope="module",
    params=[
        "postgres",
        "duckdb",
        pytest.param("snowflake", marks=[needs_snowflake, pytest.mark.soak]),
    ],
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
    with used(usage) as emulator:
        warehouse.first(emulator)
        first = warehouse.models()
        first_expected = computed(expected_events(emulator, PRODUCTS, *NEW), FIRST_ENDS)
        usage.late = True
        then_results = warehouse.then(emulator)
        then, then_expected = warehouse.models(), computed(all_events(emulator), ENDS)
        usage.changed = True
        again_results = warehouse.read_again(emulator)
        again, again_expected = warehouse.models(), computed(all_events(emulator), ENDS)
    warehouse.rebuild()
    rebuilt = warehouse.models()
    expected = (first_expected, then_expected, again_expected)
    return Built(warehouse, first, then, again, *expected, then_results, again_results, rebuilt)


def used(usage: Usage) -> Emulator:
    """Return the service with a usage, whose files have columns that the vendor has added."""
    return Emulator(source=usage, header=True, added_column="mood", columns={"PORTFOLIO": COLUMNS})


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
    assert built.again_results[WINDOWS]["status"] == "pass"


def test_late_events_join_sessions_and_midnight_parts_none(built: Built) -> None:
    """The computation is checked too, at a user whose sessions can be counted by hand."""

    def owl(models: Models) -> list[tuple[int, float, int]]:
        rows = [row for row in models["barchart__sessions"] if row["user_id"] == "an owl"]
        return sorted((row["session_number"], row["seconds"] / 60, row["events"]) for row in rows)

    long = (25 * 86.0, 87)
    assert owl(built.first) == [(1, 20, 2), (2, 0, 1), (3, 0, 1), (4, 0, 1), (5, *long)]
    assert owl(built.then) == [(1, 125, 6), (2, 0, 1), (3, *long)]


def test_the_states_of_users_are_as_counted_by_hand() -> None:
    """The computation is checked too: a stays, b goes and comes back, c goes, d is new at last."""
    weeks = {"2026-03-02": "abc", "2026-03-09": "a", "2026-03-23": "abd"}
    same = {"customer": "TGAM", "product": "ALERT", "type": "ALERT-CREATED"}
    events = [
        staged(f"{day} {user}", {**same, "timestamp": midnight(day), "user_id": user})
        for day, users in weeks.items()
        for user in users
    ]
    rows = weekly(events, {"ALERT": midnight("2026-03-30")})
    states = ("active", "new", "returning", "reactivated", "lost")
    assert [tuple(row[f"{state}_users"] for state in states) for row in rows] == [
        (3, 3, 0, 0, 0),
        (1, 0, 1, 0, 2),
        (0, 0, 0, 0, 1),
        (3, 1, 0, 2, 0),
    ]


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
    found = built.warehouse.dbt.results("sources.json")["events"]
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


def test_the_exposures_name_what_dashboard_and_report_read() -> None:
    text = (PROJECT / "transform/models/exposures.yml").read_text(encoding="utf-8")
    readers = {
        "usage_dashboard": "analyze/grafana/dashboard.json",
        "usage_report": "demo/queries/*.sql",
    }
    for exposure in yaml.safe_load(text)["exposures"]:
        files = sorted(PROJECT.glob(readers.pop(exposure["name"])))
        reader = "".join(file.read_text(encoding="utf-8") for file in files)
        named = re.findall(r"barchart__\w+", "".join(exposure["depends_on"]))
        assert sorted(named) == sorted(set(re.findall(r"barchart__\w+", reader)))
    assert readers == {}


def test_the_documentation_is_generated_and_the_example_of_a_funnel_counts_users(
    built: Built,
) -> None:
    """The computation is checked too, at the users who are there for it."""
    built.warehouse.dbt("docs", "generate")
    catalog = built.warehouse.dbt.written("catalog.json")["nodes"]
    columns = {
        key.split(".")[-1]: [*map(str.lower, one["columns"])] for key, one in catalog.items()
    }
    expected_columns = {name: [*rows[0]] for name, rows in built.rebuilt.items()}
    # The emulated Snowflake does not list views.
    del expected_columns["stg_barchart__events"]
    assert {name: columns[name] for name in expected_columns} == expected_columns

    compiled = built.warehouse.dbt.target / "compiled/barchart_events/analyses/portfolio_funnel.sql"
    (rows,) = built.warehouse.rows(compiled.read_text(encoding="utf-8"))
    found = [{name.lower(): value for name, value in row.items()} for row in rows]
    events = built.again_expected["stg_barchart__events"]
    own = [event for event in events if event["user_id"] in TAKEN]
    expected = funnel(events, STEPS, 3 * DAY)
    assert funnel(own, STEPS, 3 * DAY) == [5, 3, 2]
    assert [(row["step"], row["type"], row["users"]) for row in found] == [
        (step, STEPS[step - 1], users) for step, users in enumerate(expected, 1)
    ]
    assert found[2]["share_of_first"] == pytest.approx(expected[2] / expected[0])


def test_an_incremental_build_writes_the_days_that_have_other_events(built: Built) -> None:
    if not isinstance(built.warehouse, InPostgres):
        pytest.skip("only dbt-postgres tells how many rows it wrote")

    def days(models: Models) -> dict[tuple[str, str], int]:
        rows = models["barchart__daily_active_users"]
        return {(row["product"], row["day"]): row["events"] for row in rows}

    changed = {day for day, _ in days(built.then).items() - days(built.first).items()}
    assert 0 < len(changed) < len(days(built.then))
    for name in ("int_barchart__daily_usage", "int_barchart__daily_sessions"):
        written = built.then_results[name]["adapter_response"]["rows_affected"]
        rows = [row for row in built.then[name] if (row["product"], row["day"]) in changed]
        assert written == len(rows), name


def test_lines_of_target_jsonl_are_read_and_each_event_once(
    small: InDuckDB, tmp_path: Path
) -> None:
    """The target appends, so what comes again is there again."""
    with Emulator(source=Usage(), header=True, added_column="mood") as emulator:
        written = messages(first_month(emulator), tmp_path)
        expected = expected_events(emulator, PRODUCTS, *NEW)
    records = [json.loads(line) for line in written.splitlines()]
    lines = [json.dumps(one["record"]) for one in records if one["type"] == "RECORD"]
    written = "\n".join(lines + lines[:100])
    (small.folder / "events.jsonl").write_text(written, encoding="utf-8")
    small.dbt("run", "--select", "stg_barchart__events")
    found = without(small.models(["stg_barchart__events"]))
    models = computed(expected, FIRST_ENDS)
    assert differences(found, {name: models[name] for name in found}) == {}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> InDuckDB:
    """Return a DuckDB over a file of lines, which each test writes."""
    return InDuckDB(tmp_path_factory.mktemp("small"), "events.jsonl")


def write(warehouse: InDuckDB, rows: Sequence[Row]) -> None:
    """Write the file: what the rows do not say is the same in all."""
    same = {"customer": "TGAM", "product": "ALERT", "type": "ALERT-CREATED", "extra": None}
    end = {"end": "2026-05-01T00:00:00.000+00:00"}
    lines = [
        json.dumps({"event_id": f"{number}", **same, **end, **row})
        for number, row in enumerate(rows)
    ]
    (warehouse.folder / "events.jsonl").write_text("\n".join(lines), encoding="utf-8")


def on(day: str, product: str = "ALERT", user: str | None = "u") -> Row:
    """Return an event at noon of a day."""
    return {"timestamp": f"{day}T12:00:00.000+00:00", "product": product, "user_id": user}


def test_what_is_unusual_in_the_events_is_a_warning(small: InDuckDB) -> None:
    """Each of three tests finds one case, and not the one that only looks like it."""
    days = [days_after("2026-03-30", number) for number in range(32)]
    rows = []
    for number, day in enumerate(days):
        users = {"ALERT": 2 if number == 28 else 12, "PORTFOLIO": 12 if number % 7 else 2}
        rows += [on(day, name, f"{user}") for name, size in users.items() for user in range(size)]
        rows += [on(day, user=None)] * 12
        rows += [on(day, "WATCHLIST")] * (number % 7 != 0 and number < 28)
        rows += [on(day, "MARKETPLACE")] * (number % 7 not in {0, 1, 2} and number < 28)
    older = {"end": "2026-04-30T00:00:00.000+00:00"}
    deleted = on(days[3]) | {"type": "ALERT-DELETED"}
    rows += [on(days[3], "WATCHLIST") | older, deleted | older, deleted | older]
    write(small, rows)
    small.dbt("run", "--full-refresh")
    small.dbt("test", "--select", *UNUSUAL, "--store-failures")
    assert {small.dbt.results()[name]["status"] for name in UNUSUAL} == {"warn"}
    stored = [f"select * from barchart_marts_dbt_test__audit.{name}" for name in UNUSUAL]  # noqa: S608
    windows, fewer, silent = small.rows(*stored)
    assert [(row["product"], str(row["occurred_at"])[:10]) for row in windows] == [
        ("WATCHLIST", days[3])
    ]
    assert [(row["product"], str(row["day"]), row["active_users"]) for row in fewer] == [
        ("ALERT", days[28], 2)
    ]
    assert [(row["product"], row["silent_days"], row["longest_before"]) for row in silent] == [
        ("WATCHLIST", 3, 1)
    ]


def test_another_customer_changes_no_row(small: InDuckDB) -> None:
    """Its products, users, types and symbols have the same names, and its windows end later."""
    rows = [
        {**on(days_after("2026-03-01", day), product, f"{user}"), "type": code, "symbol": "ZC"}
        for day in range(40)
        for product, users in (("ALERT", 3), ("PORTFOLIO", 5))
        for user in range(day % users)
        for code in (f"{product}-CREATED", f"{product}-DELETED")
    ]
    write(small, rows)
    small.dbt("run", "--full-refresh")
    alone = small.models()
    theirs = {"customer": "OTHER", "end": "2026-06-01T00:00:00.000+00:00"}
    last = on("2026-05-30") | {"symbol": "ZC"}
    write(small, rows + [row | theirs for row in [*rows, last]])
    small.dbt("run")
    together = small.models()
    ours = {name: [r for r in found if r["customer"] == "TGAM"] for name, found in together.items()}
    assert all(len(ours[name]) < len(found) for name, found in together.items())
    assert differences(ours, alone) == {}


def test_a_build_passes_while_a_load_is_under_way(small: InDuckDB) -> None:
    """Events of a known day, a new day and a new product come when the days are counted.

    In a first build, and in the next one, which is incremental.
    """
    small.database.unlink(missing_ok=True)
    loaded = [on("2026-04-01", user=f"{user}") for user in range(5)]
    for day in ("2026-04-02", "2026-04-03"):
        write(small, loaded)
        small.dbt("build", "--select", "+int_barchart__days", *WITHOUT, "resource_type:unit_test")
        loaded += [on("2026-04-01", user=day), on(day), on("2026-04-01", f"new on {day}")]
        write(small, loaded)
        small.dbt("build", *WITHOUT, "int_barchart__days", "resource_type:unit_test")
    small.dbt("run", "--select", "+barchart__product_overview")
    (overview,) = small.models(["barchart__product_overview"]).values()
    assert sum(row["events"] for row in overview) == len(loaded)


def test_a_model_that_does_not_hold_the_events_of_its_days_fails_a_test(small: InDuckDB) -> None:
    """It lacks some, has more than the table, or has as many others."""
    write(small, [on(f"2026-04-0{day}") for day in (1, 2, 3, 4)])
    small.dbt("run", "--full-refresh", "--select", "+int_barchart__daily_usage")
    with duckdb.connect(str(small.database)) as connection:
        connection.execute(
            """
            use barchart_marts;
            delete from int_barchart__daily_usage where day = '2026-04-01';
            update int_barchart__daily_usage set events = 2 where day = '2026-04-02';
            update int_barchart__daily_usage set checksum = 1 where day = '2026-04-03';
            """
        )
    small.dbt("test", "--select", COUNTED, code=1)
    assert small.dbt.results()[COUNTED]["failures"] == 3


def test_the_models_build_as_a_package_of_another_project(small: InDuckDB, tmp_path: Path) -> None:
    """With the files that the page shows, and another schema for the events."""
    page = (PROJECT / "docs" / "dbt.md").read_text(encoding="utf-8")
    for name, text in re.findall(r"```yaml\n# (\S+)\n(.*?)```", page, re.DOTALL):
        here = text.replace("../tap-barchart-events/transform", str(TRANSFORM))
        (tmp_path / name).write_text(here, encoding="utf-8")
    with (tmp_path / "dbt_project.yml").open("a", encoding="utf-8") as project:
        project.write("name: shop\nprofile: barchart_events\n")
    model = "{{ barchart_events.barchart_funnel(['ALERT-CREATED', 'ALERT-DELETED'], within=1) }}"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "alerts.sql").write_text(model, encoding="utf-8")
    write(small, [on("2026-04-01"), on("2026-04-02") | {"type": "ALERT-DELETED"}])
    environ = {"DBT_PROJECT_DIR": str(tmp_path), "DO_NOT_TRACK": "1"}
    shop = InDuckDB(tmp_path, "events.jsonl", **environ)
    (small.folder / "events.jsonl").rename(tmp_path / "events.jsonl")
    shop.dbt("deps")
    shop.dbt("run")
    with duckdb.connect(str(shop.database), read_only=True) as connection:
        steps = connection.sql("select users from barchart_marts.alerts order by step").fetchall()
        assert steps == [(1,), (1,)]
        assert connection.sql("select count(*) from usage_events.events").fetchall() == [(2,)]
