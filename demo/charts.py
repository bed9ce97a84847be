"""Parts of a page without scripts: bars, heat maps, tables. Does not depend on what is shown."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from html import escape
from pathlib import Path
from string import Template
from typing import NamedTuple

# The colours of Okabe and Ito, which colour-blind people can distinguish.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_NUMBER = re.compile(r"[-\d.,:% ]*$")
_TEMPLATE = Path(__file__).with_name("page.html")


class Bar(NamedTuple):
    """A bar with its label."""

    label: str
    share: float
    """Length, from 0 to 1."""
    value: str
    """What stands at its end."""
    colour: str = COLOURS[0]


class Cell(NamedTuple):
    """A cell of a heat map."""

    share: float
    """From 0, white, to 1, dark."""
    title: str
    text: str = ""


def page(to: Path, headline: str, note: str, body: str) -> None:
    """Write a page.

    Args:
        to: The HTML file.
        headline: Its heading and title.
        note: What a reader has to know first.
        body: HTML.
    """
    text = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        headline=escape(headline), note=escape(note), body=body
    )
    to.write_text(text, encoding="utf-8")


def bars(rows: Iterable[Bar]) -> str:
    """Return a list of bars."""
    items = "".join(
        f'<li><span class="label">{escape(row.label)}</span>'
        f'<span class="track"><span style="width:{row.share:.1%};background:{row.colour}"></span>'
        f'</span><span class="value">{escape(row.value)}</span></li>\n'
        for row in rows
    )
    return f'<ul class="bars">\n{items}</ul>'


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table, which scrolls where it does not fit; columns of numbers are flush right."""

    def line(cell: str, texts: Iterable[str], like: Iterable[str]) -> str:
        sides = ["" if _NUMBER.match(text) else ' class="text"' for text in like]
        cells = (f"<{cell}{side}>{escape(text)}" for text, side in zip(texts, sides, strict=True))
        return f"<tr>{''.join(cells)}</tr>"

    texts = [[text_of(value) for value in row] for row in rows]
    body = "\n".join(line("td", row, row) for row in texts)
    return (
        f'<div class="scroll"><table><thead>{line("th", heads, texts[0])}</thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def folded(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table that is folded away."""
    return f"<details><summary>Table</summary>{table(heads, rows)}</details>"


def text_of(value: object) -> str:
    """Return a value as text; ``None`` is empty."""
    match value:
        case None:
            return ""
        case int() | float():
            return f"{value:,.1f}".removesuffix(".0")
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}"
        case date():
            return f"{value:%a %Y-%m-%d}"
    return str(value)


def heat_map(
    name: str, corner: str, columns: Sequence[str], rows: Mapping[str, Iterable[Cell | None]]
) -> str:
    """Return a heat map.

    Args:
        name: What it shows, for those who do not see it.
        corner: What the rows are.
        columns: Heads of the columns.
        rows: Head of each row and its cells; ``None`` for a place without a value.
    """
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "\n".join(
        f'<tr><th scope="row">{escape(label)}</th>{"".join(map(_cell, cells))}</tr>'
        for label, cells in rows.items()
    )
    return (
        f'<table class="heat"><caption>{escape(name)}</caption>\n<thead><tr><th>{escape(corner)}'
        f"</th>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    )


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "<td></td>"
    red, green, blue = (round(255 + (end - 255) * cell.share) for end in (0, 82, 138))
    ink = "#fff" if cell.share > 0.55 else "#222"
    return (
        f'<td title="{escape(cell.title)}" style="background:rgb({red},{green},{blue});'
        f'color:{ink}">{escape(cell.text)}</td>'
    )


def days_from(first: date, last: date) -> list[date]:
    """Return the days from the first to the last, both included."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def day_text(day: date) -> str:
    """Return a day as `Mon 2 Mar`."""
    return f"{day:%a} {day.day} {day:%b}"
