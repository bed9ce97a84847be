"""What Grafana does with a panel's SQL, and the shapes that its panels need.

Macros and variables become SQL as in Grafana's PostgreSQL data source: macros.go of
grafana-postgresql-datasource, and the format `sqlstring` of its variables.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from demo.pipeline import PROJECT
from tap_barchart_events.windows import from_iso
from tests.pipelines.marts import Row

DASHBOARD = PROJECT / "analyze" / "grafana" / "dashboard.json"

SECONDS = {"1h": 3600, "1d": 86400}

MACRO = re.compile(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)")
VARIABLE = re.compile(r"\$\{(\w+):(\w+)\}")


class Choice(NamedTuple):
    """What a user has chosen at the top of the dashboard."""

    products: Sequence[str]
    start: str
    """First instant, as Grafana writes it."""
    end: str
    """Last instant."""

    def covers(self, moment: int) -> bool:
        """Return whether an instant (milliseconds) is in the range."""
        return from_iso(self.start) <= moment <= from_iso(self.end)


def expanded(sql: str, customer: str, choice: Choice) -> str:
    """Return the SQL that the database gets."""
    variables = {"customer": [customer], "product": choice.products}

    def values(found: re.Match[str]) -> str:
        assert found[2] == "sqlstring"
        escapes = str.maketrans({"'": "''", '"': '\\"'})
        return ",".join(f"'{value.translate(escapes)}'" for value in variables[found[1]])

    def macro(found: re.Match[str]) -> str:
        column, *more = (argument.strip(" ") for argument in found[2].split(","))
        match found[1]:
            case "__timeFilter":
                return f"{column} BETWEEN '{choice.start}' AND '{choice.end}'"
            case "__timeFrom":
                return f"'{choice.start}'"
            case "__timeTo":
                return f"'{choice.end}'"
            case "__timeGroup":
                seconds = SECONDS[more[0].strip("'")]
                name = ' AS "time"' if found.string[found.end() :].startswith(",") else ""
                return f"floor(extract(epoch from {column})/{seconds})*{seconds}{name}"
        raise ValueError(f"not a macro of Grafana, or not known here: {found[0]}")

    text = MACRO.sub(macro, VARIABLE.sub(values, sql))
    assert "$" not in text
    return text


def panels() -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield each panel of the committed dashboard, and whether its row is one for each product."""
    repeated = False
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        if panel["type"] == "row":
            assert panel["panels"] == []
            repeated = panel.get("repeat") == "product"
        else:
            yield panel, repeated


def check_shape(panel: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Check that a query's rows are what a panel can draw."""
    columns = set(rows[0])
    named = {one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"]}
    assert named - {"string"} <= columns
    keys = labels(panel) & columns
    texts = [tuple(row[key] for key in sorted(keys, reverse=True)) for row in rows]
    assert len(set(texts)) == len(rows), "a row is there twice"
    if "time" in keys:
        assert texts == sorted(texts), "long rows become series if they are in order of time"
        assert all(len(str(row["time"])) == 10 for row in rows), "neither a day nor seconds"
    if panel["type"] != "table" or "transformations" in panel:
        numbers = [row[column] for row in rows for column in columns - keys]
        assert numbers
        assert all(value is None or type(value) in {int, float} for value in numbers)


def labels(panel: Mapping[str, Any]) -> set[str]:
    """Return the columns that a panel takes its labels from; the others are numbers."""
    if panel["targets"][0]["format"] == "time_series":
        return {"time", "metric"}
    if "transformations" in panel:
        (matrix,) = panel["transformations"]
        return {matrix["options"]["rowField"], matrix["options"]["columnField"]}
    if panel["type"] == "table":
        return {"Product", "Type", "Symbol", "Day", "Subject", "Action"}
    return {panel["options"]["xField"]} if panel["type"] == "barchart" else set()
