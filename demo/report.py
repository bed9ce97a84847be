"""The report of the demo: one HTML page with picture and numbers, without network access."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from html import escape
from pathlib import Path

from demo.marts import Marts
from demo.picture import headline

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Usage events: the demo</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #222 }}
body {{ max-width: 1200px; margin: 24px auto; padding: 0 16px }}
svg {{ width: 100%; height: auto }}
h2 {{ font-size: 18px; margin: 32px 0 8px }}
p {{ max-width: 70ch }}
table {{ border-collapse: collapse; margin: 8px 0 }}
th, td {{ padding: 3px 12px; border-bottom: 1px solid #ddd; text-align: right }}
td {{ font-variant-numeric: tabular-nums }}
th {{ border-bottom-color: #888 }}
th:first-child, td:first-child {{ text-align: left }}
#days :nth-child(2), #types :nth-child(2) {{ text-align: left }}
</style>
</head>
<body>
<h1 hidden>{headline}</h1>
{picture}
<p>The emulator made these events up. The tap extracted them in two runs, target-jsonl stored them,
and dbt built the tables below on DuckDB. Days and times are UTC.</p>
{tables}
</body>
</html>
"""


def write(
    marts: Marts,
    bookmarks: Mapping[str, tuple[datetime, datetime, datetime]],
    picture: str,
    to: Path,
) -> None:
    """Write the page.

    Args:
        marts: What dbt built.
        bookmarks: For each product, start date and the bookmarks after the first and second run.
        picture: The picture, SVG.
        to: The HTML file.
    """
    instants = [(product, *at) for product, at in sorted(bookmarks.items())]
    tables = (
        _table(
            "products",
            "product|events|users|sessions|seconds a session|first event|last event",
            marts.overview,
        ),
        _table(
            "bookmarks", "product|start date|after the first run|after the second run", instants
        ),
        _table("days", "product|day|active users|new users|sessions|events", marts.days),
        _table("types", "product|type|events", marts.types),
    )
    page = _PAGE.format(
        headline=escape(headline(marts)),
        picture=picture[picture.index("<svg") :],
        tables="\n".join(tables),
    )
    to.write_text(page, encoding="utf-8")


def _table(name: str, columns: str, rows: Iterable[tuple[object, ...]]) -> str:
    head = "".join(f"<th>{column}</th>" for column in columns.split("|"))
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(_cell(value))}</td>" for value in row) + "</tr>"
        for row in rows
    )
    return (
        f'<h2>{name.capitalize()}</h2>\n<table id="{name}">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table>"
    )


def _cell(value: object) -> str:
    match value:
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.0f}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}"
        case date():
            return f"{value:%a %Y-%m-%d}"
    return str(value)
