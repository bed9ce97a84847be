"""The rows and panels of the dashboard as data; what they query is in `queries/`.

The queries hold Grafana's macros (`$__timeFilter`) and the dashboard's variables (`${product}`). A
range counts each day that it touches in full. Users are counted distinct over all products that
are chosen, because the users of two products or days do not add up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["stat", "lines", "stacked", "bars", "weeks", "table", "matrix"]
"""Numbers side by side; lines or stacked bars over time; bars of one column, or stacked bars of
several columns, by a label; a table; or a coloured table of one column's values by another's."""

SHARE = {"unit": "percentunit", "decimals": 1}
# As old as `dbt source freshness` warns and fails at.
LATE = {
    "unit": "h",
    "decimals": 0,
    "custom.cellOptions": {"type": "color-background"},
    "thresholds": {
        "mode": "absolute",
        "steps": [
            {"value": None, "color": "green"},
            {"value": 36, "color": "yellow"},
            {"value": 72, "color": "red"},
        ],
    },
}

DATA = "28 days up to the last day of any product, whatever the range; one behind has fewer days."
WEEKS = "Complete weeks, at most 12, up to the end of the range."


@dataclass(frozen=True)
class Panel:
    """A panel and its query."""

    title: str
    kind: Kind
    sql: str
    width: int = 12
    """Of 24."""
    height: int = 9
    unit: str = "locale"
    """Grafana's name of the unit: `locale` for numbers, `percentunit` for shares."""
    note: str = ""
    """What a reader has to know; Grafana shows it at the title."""
    labels: tuple[str, ...] = ()
    """Of bars: the column with the labels. Of a matrix: those of rows, columns and cells."""
    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Properties of single columns."""


@dataclass(frozen=True)
class Row:
    """A row of panels."""

    title: str
    panels: tuple[Panel, ...]
    repeat: str = ""
    """A variable: the row is there once for each of its values."""


def query(name: str, **places: str) -> str:
    """Return a query; `<place>` in it is replaced."""
    text = Path(__file__).with_name("queries").joinpath(f"{name}.sql").read_text(encoding="utf-8")
    for place, value in places.items():
        text = text.replace(f"<{place}>", value)
    return text.strip()


def against_before(title: str, value: str, mart: str) -> Panel:
    """Return a panel with a number of the range, of the period before it, and the change."""
    return Panel(
        title,
        "stat",
        query("against_before", title=title, value=value, mart=mart),
        width=8,
        height=5,
        note="Before: as many days before the range. Not known unless each day of both is "
        "complete, in each product.",
        columns={"Change": SHARE},
    )


DAILY = "barchart__daily_active_users"

OVERVIEW = Row(
    "Overview",
    (
        against_before("Active users", "count(distinct user_id)", "barchart__user_days"),
        against_before("Sessions", "coalesce(sum(sessions), 0)", DAILY),
        against_before("Events", "coalesce(sum(events), 0)", DAILY),
        Panel(
            "Active users by day",
            "lines",
            query("active_users"),
            note="Each user once, over all products that are chosen. A gap is a day not known.",
        ),
        Panel("Events by day", "stacked", query("by_product", column="events")),
        Panel(
            "Active users in 28 days",
            "lines",
            query("by_product", column="active_users_28_days"),
        ),
        Panel(
            "Stickiness",
            "lines",
            query("by_product", column="stickiness"),
            unit="percentunit",
            note="The users of a day as a share of the users of 28 days.",
        ),
    ),
)

RHYTHM = Row(
    "Rhythm",
    (
        Panel(
            "Events an hour, by weekday and hour (UTC)",
            "matrix",
            query("rhythm"),
            width=24,
            note="The mean over the days of the range.",
            labels=("Weekday", "Hour", "Events"),
        ),
    ),
)

TYPES = Row(
    "Event types",
    (
        Panel("Most frequent event types", "bars", query("event_types"), 10, labels=("Type",)),
        Panel("Adoption", "table", query("adoption"), 14, note=DATA, columns={"Share": SHARE}),
    ),
)

SYMBOLS = Row(
    "Symbols",
    (
        Panel("Ranking of symbols", "table", query("symbol_ranking"), note=DATA),
        Panel("Events with the ten most frequent symbols", "stacked", query("symbols")),
    ),
)

HEALTH = Row(
    "Pipeline health",
    (
        Panel(
            "Complete until",
            "table",
            query("complete_until"),
            note="The end of the last export window with an event. A quiet product looks late.",
            columns={"Hours ago": LATE},
        ),
        Panel(
            "Days without events",
            "table",
            query("days_without_events"),
            note="Not known: no event has come from an export window that ended later.",
        ),
        Panel(
            "Events by the end of their export window",
            "stacked",
            query("window_ends"),
            width=24,
            note="A nightly run ends a window each day; a backfill reads many days in one. Which "
            "events were late is not in the table: the closing metric sync_summary counts them.",
        ),
    ),
)

RETENTION = Row(
    "Retention: $product",
    (
        Panel(
            "Users by week", "weeks", query("weekly_users"), 12, 14, note=WEEKS, labels=("Week",)
        ),
        Panel(
            "Share of users who came again, by weeks after their first",
            "matrix",
            query("retention"),
            height=14,
            unit="percentunit",
            note=WEEKS,
            labels=("First week (users)", "Weeks later", "Retention"),
        ),
    ),
    repeat="product",
)

ROWS = (OVERVIEW, RHYTHM, TYPES, SYMBOLS, HEALTH, RETENTION)
