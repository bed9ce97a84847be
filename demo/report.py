"""The report of the demo: one HTML page with picture and numbers, without network access."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from demo.picture import headline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from demo.marts import Marts

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
    picture: Path,
    to: Path,
) -> None:
    """Write the page.

    Args:
        marts: What dbt built.
        bookmarks: For each product, start date and the bookmarks after the first and second run.
        picture: The picture, SVG.
        to: The HTML file.
    """
    svg = picture.read_text(encoding="utf-8")
    page = _PAGE.format(
        headline=escape(headline(marts)),
        picture=svg[svg.index("<svg") :],
        tables="\n".join(_tables(marts, bookmarks)),
    )
    to.write_text(page, encoding="utf-8")


def _tables(
    marts: Marts, bookmarks: Mapping[str, tuple[datetime, datetime, datetime]]
) -> tuple[str, ...]:
    return (
        _table(
            "products",
            "Products",
            ("product", "events", "users", "sessions", "minutes a session", "first", "last"),
            (
                (
                    row.product,
                    f"{row.events:,}",
                    f"{row.users:,}",
                    f"{row.sessions:,}",
                    f"{row.seconds_per_session / 60:.1f}",
                    f"{row.first:%Y-%m-%d %H:%M}",
                    f"{row.last:%Y-%m-%d %H:%M}",
                )
                for row in marts.overview
            ),
        ),
        _table(
            "bookmarks",
            "Bookmarks",
            ("product", "start date", "after the first run", "after the second run"),
            (
                (product, *(f"{instant:%Y-%m-%d %H:%M}" for instant in instants))
                for product, instants in sorted(bookmarks.items())
            ),
        ),
        _table(
            "days",
            "Days",
            ("product", "day", "active users", "new users", "sessions", "events"),
            (
                (
                    row.product,
                    f"{row.day:%a %Y-%m-%d}",
                    f"{row.active_users:,}",
                    f"{row.new_users:,}",
                    f"{row.sessions:,}",
                    f"{row.events:,}",
                )
                for row in marts.days
            ),
        ),
        _table(
            "types",
            "Event types",
            ("product", "event type", "events"),
            ((row.product, row.code, f"{row.events:,}") for row in marts.types),
        ),
    )


def _table(name: str, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<h2>{escape(title)}</h2>\n<table id="{name}">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table>"
    )
