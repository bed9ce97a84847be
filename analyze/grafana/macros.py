"""What Grafana does with the committed dashboard: its rows, and the SQL that a database gets.

Macros and variables become SQL as in Grafana's PostgreSQL data source: macros.go of
grafana-postgresql-datasource, and the format `sqlstring` of its variables. Only those that the
dashboard uses are known here.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

DASHBOARD = Path(__file__).with_name("dashboard.json")

_SECONDS = {"1h": 3600, "1d": 86400}
_MACRO = re.compile(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)")
_VARIABLE = re.compile(r"\$\{(\w+):sqlstring\}")


class Choice(NamedTuple):
    """What a user has chosen at the top of the dashboard."""

    products: Sequence[str]
    start: str
    """First instant, as Grafana writes it."""
    end: str
    """Last instant."""


def committed() -> dict[str, Any]:
    """Return the dashboard."""
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return dashboard


def rows_of_panels() -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield each row of the dashboard and its panels, which follow it in the file."""
    panels = committed()["panels"]
    begins = [at for at, panel in enumerate(panels) if panel["type"] == "row"]
    for begin, end in zip(begins, [*begins[1:], len(panels)], strict=True):
        yield panels[begin], panels[begin + 1 : end]


def expanded(sql: str, customer: str, choice: Choice) -> str:
    """Return the SQL that the database gets.

    Raises:
        ValueError: There is a macro or a variable that is not known here.
    """
    variables = {"customer": [customer], "product": choice.products}

    def values(found: re.Match[str]) -> str:
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
                seconds = _SECONDS[more[0].strip("'")]
                name = ' AS "time"' if found.string[found.end() :].startswith(",") else ""
                return f"floor(extract(epoch from {column})/{seconds})*{seconds}{name}"
        return found[0]

    text = _MACRO.sub(macro, _VARIABLE.sub(values, sql))
    if "$" in text:
        raise ValueError(f"a macro or a variable is not known here: {text}")
    return text
