"""The panels of the Grafana dashboard, drawn from their own SQL over the marts of a demo.

Rows, places and queries are those of the committed dashboard. Grafana itself does not run.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any

import duckdb

from analyze.grafana.macros import Choice, committed, expanded, rows_of_panels
from demo.charts import (
    Bar,
    Cell,
    bars,
    day_text,
    days_from,
    heat_map,
    page,
    table,
    text_of,
)
from demo.plots import MORE_COLOURS, over_time
from demo.postgres_server import Postgres

# In a schema that is searched before that of PostgreSQL's own functions.
_CLOCK = """
    create schema if not exists emulated;
    create or replace function emulated.now() returns timestamptz
        language sql as $$ select '{}'::timestamptz $$
"""
# What the queries use of PostgreSQL and DuckDB lacks: the formats of to_char are the three in use.
_LIKE_POSTGRES = """
    set timezone = 'UTC';
    create temp macro now() as '{}'::timestamptz;
    create temp macro to_char(value, form) as strftime(value, case form
        when 'YYYY-MM-DD' then '%Y-%m-%d' when 'Dy' then '%a' when 'HH24' then '%H' end)
"""

Answer = list[dict[str, Any]]
"""The rows that a panel's query returns, with date-times as text in UTC."""


class Grafana:
    """The dashboard as it opens: the first customer, all products, the range that it names."""

    def __init__(self, rows: Callable[[str], Answer], now: datetime) -> None:
        """Ask for customers and products.

        Args:
            rows: Returns the rows of a query over events and marts.
            now: The time, for the dashboard; the queries take theirs from the database.
        """
        self._rows = rows
        dashboard = committed()
        first, last = (
            now.date() - timedelta(days=int(days))
            for days in re.findall(r"now-(\d+)d/d", "{from} {to}".format(**dashboard["time"]))
        )
        self.days = days_from(first, last)
        self._range = (f"{first}T00:00:00Z", f"{last}T23:59:59.999Z")
        self.customer, self.products = "", [""]
        customers, products = (
            each["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"
        )
        self.customer = self.query(customers, [])[0]["customer"]
        self.products = [row["product"] for row in self.query(products, [])]

    def query(self, sql: str, products: Sequence[str]) -> Answer:
        """Return the rows of a query of the dashboard for some products."""
        return self._rows(expanded(sql, self.customer, Choice(products, *self._range)))


def over_postgres(postgres: Postgres, now: datetime) -> Grafana:
    """Return the dashboard over a PostgreSQL; its time is `now`."""
    postgres.execute(_CLOCK.format(now.isoformat()))
    return Grafana(lambda sql: postgres.rows(sql, schema="emulated,pg_catalog"), now)


def over_duckdb(database: Path, now: datetime) -> Grafana:
    """Return the dashboard over a DuckDB file; its time is `now`."""

    def rows(sql: str) -> Answer:
        with duckdb.connect(str(database), read_only=True) as connection:
            connection.execute(_LIKE_POSTGRES.format(now.isoformat()))
            answer = connection.execute(f"select row_to_json(found) from ({sql}) as found")  # noqa: S608 - of the dashboard
            return [json.loads(row) for (row,) in answer.fetchall()]

    return Grafana(rows, now)


def write(grafana: Grafana, to: Path) -> None:
    """Write a page with all panels.

    Args:
        grafana: Answers the queries.
        to: The HTML file.
    """
    parts = []
    for row, panels in rows_of_panels():
        each = [[product] for product in grafana.products]
        for products in each if row.get("repeat") == "product" else [grafana.products]:
            title = escape(row["title"].replace("$product", products[0]))
            drawn = "\n".join(_panel(grafana, panel, row, products) for panel in panels)
            parts.append(f'<h2>{title}</h2>\n<div class="panels">\n{drawn}\n</div>')
    first, last = grafana.days[0], grafana.days[-1]
    note = (
        f"{grafana.customer}, {day_text(first)} to {day_text(last)} {last.year} UTC, all products. "
        "SQL and places of the panels are those of the Grafana dashboard, "
        "analyze/grafana/dashboard.json. Grafana does not run here: its own charts look different. "
        "The emulator made the events up."
    )
    page(to, committed()["title"], note, "\n".join(parts))


def _panel(
    grafana: Grafana, panel: Mapping[str, Any], row: Mapping[str, Any], products: Sequence[str]
) -> str:
    answer = grafana.query(panel["targets"][0]["rawSql"], products)
    at, top = panel["gridPos"], row["gridPos"]["y"]
    place = f"{at['y'] - top} / {at['x'] + 1} / span {at['h']} / span {at['w']}"
    name = f"panel-{panel['id']}" + (f"-{products[0]}" if "repeat" in row else "")
    note = f'<p class="note">{escape(panel["description"])}</p>' if "description" in panel else ""
    drawn = _drawn(panel, answer, grafana) if answer else "<p>No data</p>"
    return (
        f'<section id="{name}" style="grid-area: {place}"><h3>{escape(panel["title"])}</h3>'
        f"{note}{drawn}</section>"
    )


def _drawn(panel: Mapping[str, Any], answer: Answer, grafana: Grafana) -> str:
    """Return the chart of a panel, of the kind that its type and options name."""
    options, fields = panel.get("options", {}), panel["fieldConfig"]
    title, unit = panel["title"], fields["defaults"]["unit"]
    units = dict.fromkeys(answer[0], unit)
    for column in fields["overrides"]:
        properties = {each["id"]: each["value"] for each in column["properties"]}
        units[column["matcher"]["options"]] = properties.get("unit", unit)
    match panel["type"]:
        case "stat":
            numbers = (
                f'<span><span class="big">{_text(value, units[name]) or "not known"}</span>{name}'
                for name, value in answer[0].items()
            )
            return f'<p class="stat">{"</span>".join(numbers)}</span></p>'
        case "timeseries":
            stacked = "stacking" in fields["defaults"].get("custom", {})
            return _over_time(
                panel, answer, "time", grafana.days, grafana.products, stacked=stacked
            )
        case "barchart" if options["orientation"] == "horizontal":
            ends = [(row.pop(options["xField"]), *row.values()) for row in answer]
            most = max(number for _, number in ends)
            return bars(Bar(label, number / most, _text(number, unit)) for label, number in ends)
        case "barchart":
            weeks = [date.fromisoformat(row[options["xField"]]) for row in answer]
            return _over_time(
                panel, answer, options["xField"], weeks, grafana.products, stacked=True
            )
    for matrix in panel.get("transformations", []):
        return _matrix(title, answer, unit, matrix["options"])
    return table(answer[0], [[_text(row[name], units[name]) for name in row] for row in answer])


def _over_time(
    panel: Mapping[str, Any],
    answer: Answer,
    at: str,
    days: Sequence[date],
    products: Sequence[str],
    *,
    stacked: bool,
) -> str:
    """Draw rows of an instant and numbers; a column `metric` has the name of the number.

    A product has the same colour in each panel.
    """
    series: dict[str, dict[date, float | None]] = {}
    percent = panel["fieldConfig"]["defaults"]["unit"] == "percentunit"
    for row in sorted(answer, key=lambda row: row.get("metric", "")):
        when, metric = row.pop(at), row.pop("metric", "")
        text = isinstance(when, str)
        day = date.fromisoformat(when) if text else date(1970, 1, 1) + timedelta(seconds=when)
        for name, value in row.items():
            share = percent and value is not None
            series.setdefault(metric or name, {})[day] = 100 * value if share else value
    size = (panel["gridPos"]["w"] * 48 - 20, panel["gridPos"]["h"] * 38 - 140)
    unit = "%" if percent else ""
    names = [*dict.fromkeys([*products, *series])]
    colours = [MORE_COLOURS[names.index(name) % len(MORE_COLOURS)] for name in series]
    return over_time(panel["title"], days, series, colours, size=size, unit=unit, stacked=stacked)


def _matrix(title: str, answer: Answer, unit: str, fields: Mapping[str, str]) -> str:
    """Draw rows of two labels and a number."""
    row_of, column_of, value_of = (fields[f"{name}Field"] for name in ("row", "column", "value"))
    columns = list(dict.fromkeys(str(row[column_of]) for row in answer))
    most = max(row[value_of] for row in answer) or 1
    cells: dict[str, dict[str, Cell]] = {}
    for row in answer:
        label, column, value = row[row_of], str(row[column_of]), row[value_of]
        text = f"{value:.0%}" if unit == "percentunit" else f"{value:.0f}"
        told = f"{label}, {column}: {_text(value, unit)}"
        cells.setdefault(label, {})[column] = Cell(value / most, told, text)
    drawn = {label: [own.get(column) for column in columns] for label, own in cells.items()}
    return heat_map(title, row_of, columns, drawn)


def _text(value: Any, unit: str) -> str:
    """Return a value as Grafana shows it with a unit."""
    if isinstance(value, str):
        return re.sub(r"^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d).*", r"\1 \2", value)
    return f"{value:.1%}" if unit == "percentunit" and value is not None else text_of(value)
