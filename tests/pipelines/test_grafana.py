"""The panels of the Grafana dashboard over a real PostgreSQL: what the plain computation says."""

from __future__ import annotations

import json
import re
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from itertools import product as pairs
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import pytest
import yaml

from analyze.grafana.macros import DASHBOARD, Choice, committed, expanded, rows_of_panels
from barchart_events_emulator import Emulator, Event
from demo.dashboard import over_duckdb, over_postgres, write
from demo.pipeline import PROJECT
from demo.postgres_server import Postgres, PostgresError
from tap_barchart_events.windows import from_iso
from tests.expected_events import CUSTOMER, arrived
from tests.pipelines.browser import SIZES, Seen, needs_browser, opened
from tests.pipelines.grafana import check_shape
from tests.pipelines.marts import Row, computed, day_of, days_after, grouped, users_of
from tests.pipelines.pipe import messages, settings_of
from tests.pipelines.warehouses import InDuckDB, InPostgres

FOLDER = PROJECT / "analyze" / "grafana"

START = "2026-02-02T00:00:00+00:00"
END = "2026-03-23T12:00:00+00:00"
OTHER = "ZETA"
# ALERT is behind, and nobody used ENTITLEMENTS on a day.
BEHIND = "2026-03-20T12:00:00+00:00"
QUIET = "2026-03-10"

ALL = ("ALERT", "ENTITLEMENTS", "WATCHLIST")
CHOICES = (
    Choice(ALL, "2026-02-23T00:00:00Z", "2026-03-22T23:59:59.999Z"),
    Choice(("ENTITLEMENTS", "WATCHLIST"), "2026-03-05T15:30:00Z", "2026-03-22T23:59:59.999Z"),
    Choice(("ALERT", "WATCHLIST"), "2026-03-16T00:00:00Z", "2026-03-22T23:59:59.999Z"),
)


class Usage:
    """A hundred and fifty users, and a day without events."""

    def __init__(self) -> None:
        """Take the events of the emulator."""
        self._events = Emulator(events_per_hour=2)

    def __call__(self, customer: str, product: str, start: int, end: int) -> Iterator[Event]:
        """Yield a product's events."""
        for event in self._events.events(customer, product, start, end):
            if product == "ENTITLEMENTS" and day_of(event.timestamp) == QUIET:
                continue
            user = event.values.get("userId")
            named = {"userId": f"user {zlib.crc32(user.encode()) % 150}"} if user else {}
            yield event._replace(values={**event.values, **named})


class Data(NamedTuple):
    """What is in the database, and what should be in it."""

    postgres: Postgres
    database: Path
    """A DuckDB file with the same events and models."""
    events: list[Row]
    """All events of the customer, as the tap wrote them, with the end of their window."""
    models: dict[str, list[Row]]
    """The marts by the plain computation."""

    def chosen(self, choice: Choice) -> list[Row]:
        """Return the events of the products that are chosen."""
        return [event for event in self.events if event["product"] in choice.products]

    def of(self, model: str, choice: Choice) -> list[Row]:
        """Return the rows of a model about the products that are chosen."""
        return [row for row in self.models[model] if row["product"] in choice.products]

    def days(self, choice: Choice, model: str = "barchart__daily_active_users") -> list[Row]:
        """Return those of them that are in the range that is chosen."""
        first, last = choice.start[:10], choice.end[:10]
        return [row for row in self.of(model, choice) if first <= row["day"] <= last]

    def query(self, sql: str, choice: Choice) -> list[Row]:
        """Return what Grafana gets, as the user of the page and in a zone that is not UTC."""
        text = expanded(sql, CUSTOMER, choice)
        role = "set role grafana_reader; set timezone to 'America/Chicago'"
        rows = f"select row_to_json(found) from ({text}) as found"  # noqa: S608 - of the dashboard
        answer = self.postgres.execute(f"{role}; {rows}")
        return [json.loads(line) for line in answer.splitlines()]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Data]:
    """Load two customers, build the models, and grant as the page says.

    The server is of its own, because the dashboard names the usual schemas.
    """
    folder = tmp_path_factory.mktemp("grafana")
    with Postgres(durable=False) as postgres, Emulator(source=Usage()) as emulator:
        postgres.execute("alter database postgres set timezone to 'America/Chicago'")
        warehouse = InPostgres(folder, postgres)
        records = []
        for customer, products, end in (
            (CUSTOMER, ["ENTITLEMENTS", "WATCHLIST"], END),
            (CUSTOMER, ["ALERT"], BEHIND),
            (OTHER, ["WATCHLIST"], "2026-02-12T00:00:00+00:00"),
        ):
            span = {"customer": customer, "start_date": START, "end_date": end, "window_hours": 72}
            written = messages(settings_of(emulator, products=products, **span), folder)
            warehouse.load(written)
            lines = map(json.loads, written.splitlines())
            records += [line["record"] for line in lines if line["type"] == "RECORD"]
        warehouse.dbt("run")
        postgres.execute(grants())
        # A table that dbt makes again has the grants.
        warehouse.dbt("run", "--select", "barchart__user_days")
        own = [record for record in records if record["customer"] == CUSTOMER]
        ends = {record["event_id"]: from_iso(record["end"]) for record in own}
        of_products = grouped(own, "product").items()
        latest = {code: max(ends[row["event_id"]] for row in rows) for (code,), rows in of_products}
        models = computed(arrived(own), latest)
        events = [{**row, "end": ends[row["event_id"]]} for row in models["stg_barchart__events"]]
        written = "".join(json.dumps(record) + "\n" for record in records)
        (folder / "events.jsonl").write_text(written, encoding="utf-8")
        files = InDuckDB(folder, "events.jsonl")
        files.dbt("run")
        yield Data(postgres, files.database, events, models)


def grants() -> str:
    """Return the statements of the page for its read-only user; dbt is the user postgres here."""
    page = (PROJECT / "docs" / "dashboards.md").read_text(encoding="utf-8")
    (statements,) = re.findall(r"^```sql\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return str(statements).replace("loader", "postgres")


Expected = Callable[[Data, Choice], list[Row]]


def covers(choice: Choice, moment: int) -> bool:
    """Return whether an instant (milliseconds) is in the range."""
    return from_iso(choice.start) <= moment <= from_iso(choice.end)


def users(rows: Iterable[Row]) -> int:
    """Return the number of different users."""
    return len(users_of(rows))


def compared(title: str, model: str, number: Callable[[Sequence[Row]], int]) -> Expected:
    """Return what a panel should show that compares two periods."""

    def rows(data: Data, choice: Choice) -> list[Row]:
        first, last = choice.start[:10], choice.end[:10]
        length = (date.fromisoformat(last) - date.fromisoformat(first)).days + 1
        earlier = Choice(choice.products, days_after(first, -length), days_after(last, -length))
        complete = [row["is_complete"] for row in data.days(earlier) + data.days(choice)]
        now, before = (number(data.days(each, model)) for each in (choice, earlier))
        if complete != [True] * (2 * length * len(choice.products)):
            return [{title: now, "Before": None, "Change": None}]
        return [{title: now, "Before": before, "Change": now / before - 1}]

    return rows


def summed(rows: Iterable[Row], *names: str) -> Counter[tuple[Any, ...]]:
    """Return the numbers of events by some columns."""
    counts: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        counts[tuple(row[name] for name in names)] += row["events"]
    return counts


def series(counts: Counter[tuple[Any, ...]]) -> list[Row]:
    """Return numbers of events as points in time of several lines."""
    return [{"time": at, "metric": of, "events": counts[at, of]} for at, of in sorted(counts)]


def total(column: str) -> Callable[[Sequence[Row]], int]:
    """Return the sum of a column."""
    return lambda rows: sum(row[column] or 0 for row in rows)


def renamed(rows: Iterable[Row], **names: str) -> list[Row]:
    """Return rows with these columns only, by their names in the panel."""
    return [{name: row[column] for name, column in names.items()} for row in rows]


def daily(column: str) -> Expected:
    """Return a column of the daily mart."""
    names = {"time": "day", "metric": "product", column: column}
    in_order = itemgetter("day", "product")
    return lambda data, choice: renamed(sorted(data.days(choice), key=in_order), **names)


def active_users(data: Data, choice: Choice) -> list[Row]:
    """Return the different users of each day, over all products."""
    of_days = grouped(data.days(choice, "barchart__user_days"), "day")
    rows = []
    for (day,), products in sorted(grouped(data.days(choice), "day").items()):
        known = all(row["active_users"] is not None for row in products)
        number = users(of_days.get((day,), [])) if known else None
        rows.append({"time": day, "Active users": number})
    return rows


def rhythm(data: Data, choice: Choice) -> list[Row]:
    """Return the mean number of events in each hour of the week."""
    hours = Counter(
        (day_of(event["occurred_at"]), event["occurred_at"] // 3_600_000 % 24)
        for event in data.chosen(choice)
        if covers(choice, event["occurred_at"])
    )
    days = {row["day"] for row in data.days(choice)}
    return [
        {"Weekday": name, "Hour": f"{hour:02}", "Events": fmean(hours[day, hour] for day in same)}
        for number, name in enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))
        if (same := [day for day in days if date.fromisoformat(day).weekday() == number])
        for hour in range(24)
    ]


def event_types(data: Data, choice: Choice) -> list[Row]:
    """Return the event types with the most events."""
    counts = summed(data.days(choice, "barchart__events_by_type_and_day"), "type")
    order = sorted(counts, key=lambda key: (-counts[key], key))
    return [{"Type": code, "Events": counts[code,]} for (code,) in order[:15]]


def adoption(data: Data, choice: Choice) -> list[Row]:
    """Return the users of each event type."""
    types = data.of("barchart__adoption", choice)
    types.sort(key=lambda row: (-row["share_of_active_users"], row["product"], row["type"]))
    names = {"Users": "users_28_days", "Share": "share_of_active_users"}
    names["First seen"] = "first_seen_at"
    return renamed(types, Product="product", Subject="subject", Action="action", **names)


def symbol_ranking(data: Data, choice: Choice) -> list[Row]:
    """Return the first twenty symbols of each product."""
    first = [row for row in data.of("barchart__symbol_ranking", choice) if row["rank"] <= 20]
    first.sort(key=itemgetter("rank", "product", "symbol"))
    names = {"Symbol": "symbol", "Events": "events", "Users": "active_users"}
    return renamed(first, Product="product", Rank="rank", **names)


def symbols(data: Data, choice: Choice) -> list[Row]:
    """Return the events of each day with the ten most frequent symbols."""
    rows = data.days(choice, "barchart__symbols_by_day")
    of_all, of_days = summed(rows, "symbol"), summed(rows, "day", "symbol")
    frequent = sorted(of_all, key=lambda key: (-of_all[key], key))[:10]
    return [row for row in series(of_days) if (row["metric"],) in frequent]


def complete_until(data: Data, choice: Choice) -> list[Row]:
    """Return the end of each product's last window with an event."""
    rows = []
    for (product,), events in grouped(data.chosen(choice), "product").items():
        end = max(event["end"] for event in events)
        ago = pytest.approx((time.time() - end / 1000) / 3600, abs=0.1)
        last = max(event["occurred_at"] for event in events)
        times = {"Complete until": end, "Hours ago": ago, "Last event": last}
        rows.append({"Product": product, **times})
    return sorted(rows, key=itemgetter("Complete until", "Product"))


def days_without_events(data: Data, choice: Choice) -> list[Row]:
    """Return the days on which nobody used a product, or of which nothing is known."""
    days = [row for row in data.days(choice) if not row["events"]]
    days.sort(key=itemgetter("product"))
    days.sort(key=itemgetter("day"), reverse=True)
    states = ("not known", "no events")
    told = [{**row, "state": states[row["is_complete"]]} for row in days]
    return renamed(told, Product="product", Day="day", State="state")


def window_ends(data: Data, choice: Choice) -> list[Row]:
    """Return the events by the day on which their window ended."""
    counts: Counter[tuple[Any, ...]] = Counter(
        (event["end"] // 86_400_000 * 86_400, event["product"])
        for event in data.chosen(choice)
        if covers(choice, event["end"])
    )
    return series(counts)


def weeks(data: Data, choice: Choice) -> dict[str, Row]:
    """Return the complete weeks of a product, at most twelve, up to the end of the range."""
    first, last = days_after(choice.end[:10], -83), choice.end[:10]
    of_product = data.of("barchart__weekly_active_users", choice)
    complete = [row for row in of_product if row["is_complete"] and first <= row["week"] <= last]
    return {row["week"]: row for row in sorted(complete, key=itemgetter("week"))}


def weekly_users(data: Data, choice: Choice) -> list[Row]:
    """Return the users of each week by state."""
    signed = [{**row, "lost": -row["lost_users"]} for row in weeks(data, choice).values()]
    names = {"Returning": "returning_users", "Reactivated": "reactivated_users", "Lost": "lost"}
    return renamed(signed, Week="week", New="new_users", **names)


def retention(data: Data, choice: Choice) -> list[Row]:
    """Return the share of those who began in a week, in each later week."""
    complete = weeks(data, choice)
    return [
        {
            "First week (users)": f"{row['first_week']} ({row['users']})",
            "Weeks later": row["weeks_later"],
            "Retention": row["retention"],
        }
        for row in sorted(
            data.of("barchart__retention_by_first_week", choice),
            key=itemgetter("first_week", "weeks_later"),
        )
        if row["first_week"] in complete and row["week"] in complete
    ]


EXPECTED: Mapping[str, Expected] = {
    "Active users": compared("Active users", "barchart__user_days", users),
    "Sessions": compared("Sessions", "barchart__daily_active_users", total("sessions")),
    "Events": compared("Events", "barchart__daily_active_users", total("events")),
    "Active users by day": active_users,
    "Events by day": daily("events"),
    "Active users in 28 days": daily("active_users_28_days"),
    "Stickiness": daily("stickiness"),
    "Events an hour, by weekday and hour (UTC)": rhythm,
    "Most frequent event types": event_types,
    "Adoption": adoption,
    "Ranking of symbols": symbol_ranking,
    "Events with the ten most frequent symbols": symbols,
    "Complete until": complete_until,
    "Days without events": days_without_events,
    "Events by the end of their export window": window_ends,
    "Users by week": weekly_users,
    "Share of users who came again, by weeks after their first": retention,
}


PANELS = [(panel, row.get("repeat") == "product") for row, own in rows_of_panels() for panel in own]


@pytest.mark.parametrize(("panel", "repeated"), PANELS, ids=[panel["title"] for panel, _ in PANELS])
def test_a_panel_shows_what_the_plain_computation_says(
    data: Data, panel: dict[str, Any], *, repeated: bool
) -> None:
    (target,) = panel["targets"]
    seen = []
    for choice in CHOICES:
        one_each = [choice._replace(products=[product]) for product in choice.products]
        for shown in one_each if repeated else [choice]:
            rows = data.query(target["rawSql"], shown)
            assert plain(rows) == plain(EXPECTED[panel["title"]](data, shown))
            if rows:
                check_shape(panel, rows)
            seen += rows
    assert seen


def plain(rows: Iterable[Row]) -> list[Row]:
    """Return rows with instants in milliseconds, and shares that are equal if computed alike."""

    def value_of(value: Any) -> Any:
        if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
            return from_iso(value)
        return round(value, 6) if isinstance(value, float) else value

    return [{name: value_of(value) for name, value in row.items()} for row in rows]


@pytest.fixture(scope="module", params=pairs(("PostgreSQL", "DuckDB"), SIZES), ids=str)
def drawn(
    data: Data, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Seen:
    """Draw the page of a demo, and open it in a browser."""
    folder = tmp_path_factory.mktemp("dashboard")
    page = folder / "dashboard.html"
    engine, size = request.param
    now = datetime.fromisoformat(END)
    postgres = engine == "PostgreSQL"
    write(over_postgres(data.postgres, now) if postgres else over_duckdb(data.database, now), page)
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    seen = opened(text, size, folder)
    assert seen.width <= size[0]
    assert seen.letters >= 10
    assert seen.loaded == []
    return seen


@needs_browser
def test_the_page_of_the_demo_draws_each_panel_with_its_numbers(data: Data, drawn: Seen) -> None:
    """The numbers are those of the plain computation; the range is the one that the page opens."""
    (choice, *_) = CHOICES
    sections = {"H1"}
    for panel, repeated in PANELS:
        for product in choice.products if repeated else [""]:
            section = f"panel-{panel['id']}" + f"-{product}" * repeated
            sections.add(section)
            shown = choice._replace(products=[product]) if repeated else choice
            rows = EXPECTED[panel["title"]](data, shown)
            assert rows
            assert panel["title"] in drawn.text[section]
            tables = {row[0]: row for row in drawn.folded[section]}
            for day, text in parts(panel, rows):
                assert text in (tables[day] if day else drawn.text[section]), panel["title"]
                hover = day and not text.endswith("not known")
                assert not hover or f"{day}\n{text}" in drawn.titles[section]
    assert set(drawn.text) == sections


def parts(panel: dict[str, Any], rows: list[Row]) -> Iterator[tuple[str, str]]:
    """Yield the texts of a panel: those of a day, or (where the day is empty) to be seen."""
    if "transformations" in panel:
        row_of, _, value_of = rows[0]
        form = "{:.0%}" if value_of == "Retention" else "{:.0f}"
        for (label,), cells in grouped(rows, row_of).items():
            yield "", "\t".join([label, *(form.format(cell[value_of]) for cell in cells)])
        return
    for row in rows:
        if "Hours ago" in row:
            row["Hours ago"] = (from_iso(END) - row["Complete until"]) / 3_600_000
        texts = {name: shown(name, value) for name, value in row.items()}
        metric = texts.pop("metric", "")
        day = texts.pop("time", "") or texts.pop("Week", "")
        if day:
            for name, text in texts.items():
                yield day, f"{metric or name}: {text or 'not known'}"
        elif panel["type"] == "stat":
            yield "", "\n".join(f"{text or 'not known'}\n{name}" for name, text in texts.items())
        else:
            yield "", ("\n" if panel["type"] == "barchart" else "\t").join(texts.values())


def shown(name: str, value: Any) -> str:
    """Return a value as the page shows it in a column."""
    if value is None:
        return ""
    if name in {"time", "Week"}:
        seconds = isinstance(value, int)
        day = date(1970, 1, 1) + timedelta(seconds=value) if seconds else date.fromisoformat(value)
        return f"{day:%a} {day.day} {day:%b}"
    if name in {"Complete until", "Last event", "First seen"}:
        return f"{datetime.fromtimestamp(value / 1000, timezone.utc):%Y-%m-%d %H:%M}"
    if name in {"Share", "Change"}:
        return f"{value:.1%}"
    if name == "stickiness":
        return shown("", 100 * value) + "%"
    return str(value) if isinstance(value, str) else f"{value:,.1f}".removesuffix(".0")


def test_each_panel_has_an_expectation() -> None:
    assert {panel["title"] for panel, _ in PANELS} == set(EXPECTED)


def test_the_data_has_what_the_panels_are_about(data: Data) -> None:
    everything, two, late = CHOICES
    states = {row["State"] for row in days_without_events(data, everything)}
    assert states == {"no events", "not known"}
    assert any(row["Active users"] is None for row in active_users(data, everything))
    number = EXPECTED["Active users"]
    assert number(data, two)[0]["Before"] > 0
    assert number(data, late)[0]["Before"] is None
    # The users of two products do not add up.
    alone = [two._replace(products=[code]) for code in two.products]
    both = number(data, two)[0]["Active users"]
    assert both < sum(number(data, choice)[0]["Active users"] for choice in alone)
    assert all(total(column)(weekly_users(data, alone[0])) for column in ("Lost", "Reactivated"))


def test_the_variables_are_customers_and_their_products(data: Data) -> None:
    made = committed()["templating"]["list"]
    queries = {variable["name"]: variable["query"] for variable in made}
    nothing = Choice((), "", "")
    found = data.query(queries["customer"], nothing)
    assert [row["customer"] for row in found] == [CUSTOMER, OTHER]
    assert [row["product"] for row in data.query(queries["product"], nothing)] == [*ALL]


@pytest.mark.parametrize(
    "statement",
    [
        "delete from barchart.events",
        "insert into barchart_marts.barchart__users select * from barchart_marts.barchart__users",
        "create table barchart_marts.mine (id int)",
        "create table public.mine (id int)",
    ],
)
def test_the_user_of_the_page_can_only_read(data: Data, statement: str) -> None:
    with pytest.raises(PostgresError, match="permission denied"):
        data.postgres.execute(f"set role grafana_reader; {statement}")


def test_the_committed_dashboard_is_what_the_program_writes() -> None:
    pytest.importorskip("grafana_foundation_sdk", reason="the library needs Python 3.11")
    from analyze.grafana.dashboard import dashboard, written

    assert DASHBOARD.read_text(encoding="utf-8") == written(dashboard())


def test_the_library_reads_the_dashboard_and_writes_it_again_without_a_difference() -> None:
    plugins = pytest.importorskip("grafana_foundation_sdk.cog.plugins", reason="Python 3.11")
    from grafana_foundation_sdk.models.dashboard import Dashboard

    from analyze.grafana.dashboard import written

    plugins.register_default_plugins()
    text = DASHBOARD.read_text(encoding="utf-8")
    assert written(Dashboard.from_json(json.loads(text))) == text


def test_the_provisioned_data_source_is_one_of_the_dashboard() -> None:
    read = (FOLDER / "provisioning" / "datasources" / "barchart.yaml").read_text(encoding="utf-8")
    (source,) = yaml.safe_load(read)["datasources"]
    made = committed()["templating"]["list"]
    assert source["type"] == next(each["query"] for each in made if each["type"] == "datasource")
    assert f"create role {source['user']} " in grants()
