"""Charts for a page without scripts: bars, heat maps, tables, and lines or bars over days.

Everything is HTML and SVG that keeps its text size. A chart's values stand in the titles of its
parts, which a browser shows on hover. Does not depend on what is shown.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from html import escape
from math import ceil, floor
from pathlib import Path
from string import Template
from typing import NamedTuple

# The colours of Okabe and Ito, which colour-blind people can distinguish.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_DASHES = ("", "7 3", "2 3", "10 3 2 3", "5 5", "1 5")
"""Lines differ without colours too."""
_NUMBER = re.compile(r"[-\d.,:% ]*$")
_TEMPLATE = Path(__file__).with_name("page.html")

Values = Mapping[date, float | None]
"""A series by day; nothing or ``None`` for a day that is not known."""


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


def over_time(
    name: str,
    days: Sequence[date],
    series: Mapping[str, Values],
    colours: Sequence[str] = COLOURS,
    *,
    unit: str = "",
    stacked: bool = False,
) -> str:
    """Return lines or stacked bars over days or weeks, each of which can be hidden.

    Args:
        name: What they show, for those who do not see it.
        days: Where a value may be.
        series: Values by the name of the line or bar; negative ones are stacked below zero.
        colours: Of each; they begin again, and are paler then.
        unit: What follows each number.
        stacked: Whether bars are drawn.
    """
    columns = [[values.get(day) or 0 for values in series.values()] for day in days]
    if stacked:
        columns = [[sum(v for v in c if v > 0), sum(v for v in c if v < 0)] for c in columns]
    low, high = min(0, *map(min, columns)), max(1, *map(max, columns))
    step = next(
        size
        for power in range(9)
        for size in (10**power, 2 * 10**power, 5 * 10**power)
        if 4 * size >= high - low
    )
    bottom, top = step * floor(low / step), step * ceil(high / step)

    def height(value: float) -> str:
        return f"{100 * (top - value) / (top - bottom):.1f}"

    paths, legend = [], []
    stacks: tuple[list[float], list[float]] = ([0.0] * len(days), [0.0] * len(days))
    for number, (label, values) in enumerate(series.items()):
        drawn = [values.get(day) for day in days]
        paint = f'stroke="{colours[number % len(colours)]}"'
        paint += ' opacity=".5"' if number >= len(colours) else ""
        if stacked:
            path, paint = _bars(drawn, stacks, height), paint.replace("stroke", "fill")
            key = f'<rect x="7" width="14" height="12" {paint}/>'
        else:
            path = _line(drawn, height)
            dash = _DASHES[max(0, number - 1) % len(_DASHES)] if number else ""
            paint += f' fill="none" stroke-dasharray="{dash}" stroke-width="{2 if number else 3}"'
            key = f'<line x2="28" y1="6" y2="6" {paint}/>'
        paths.append(f'<path class="series{number}" d="{path}" {paint}/>')
        legend.append(
            f'<label><input type="checkbox" class="show{number}" checked>'
            f'<svg class="key" aria-hidden="true">{key}</svg>{escape(label)}</label>'
        )
    lines = range(bottom, top + 1, step)
    grid = "".join(
        f'<span class="y" style="bottom:{100 * (line - bottom) / (top - bottom):.1f}%">'
        f"{line:,}{unit}</span>"
        for line in lines
    )
    return f"""<div class="over-time"><p class="legend">{" ".join(legend)}</p>
<div class="plot">{grid}<svg role="img" aria-label="{escape(name)}"
viewBox="-0.5 0 {len(days)} 100" preserveAspectRatio="none">{"".join(paths)}
{_titles(days, series, unit)}</svg></div>
<div class="x">{_dates(days)}</div></div>"""


def _line(values: Sequence[float | None], height: Callable[[float], str]) -> str:
    """Return the path of a line, which has a gap where there is no value."""
    return "".join(
        f"{'M' if at == 0 or values[at - 1] is None else 'L'}{at},{height(value)}h0"
        for at, value in enumerate(values)
        if value is not None
    )


def _bars(
    values: Sequence[float | None],
    stacks: tuple[list[float], list[float]],
    height: Callable[[float], str],
) -> str:
    """Return the path of bars, put on those that are there, above or below zero."""
    path = ""
    for at, value in enumerate(values):
        if value:
            stack = stacks[value < 0]
            begin, stack[at] = stack[at], stack[at] + value
            path += f"M{at - 0.4:.1f},{height(begin)}V{height(stack[at])}h.8V{height(begin)}z"
    return path


def _titles(days: Sequence[date], series: Mapping[str, Values], unit: str) -> str:
    """Return what a browser shows on hover over each day."""
    rects = []
    for at, day in enumerate(days):
        lines = [day_text(day)]
        for label, values in series.items():
            if day in values:
                value = values[day]
                text = "not known" if value is None else f"{text_of(value)}{unit}"
                lines.append(f"{escape(label)}: {text}")
        title = "&#10;".join(lines)
        rects.append(f'<rect x="{at - 0.5}" width="1" height="100"><title>{title}</title></rect>')
    return "".join(rects)


def _dates(days: Sequence[date]) -> str:
    """Return the dates below a chart: at most seven Mondays."""
    mondays = [at for at, day in enumerate(days) if day.weekday() == 0]
    return "".join(
        f'<span style="left:{100 * (at + 0.5) / len(days):.1f}%">{day_text(days[at])}</span>'
        for at in mondays[:: ceil(len(mondays) / 7)]
        if at + 0.5 < 0.95 * len(days)
    )


def days_from(first: date, last: date) -> list[date]:
    """Return the days from the first to the last, both included."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def day_text(day: date) -> str:
    """Return a day as `Mon 2 Mar`."""
    return f"{day:%a} {day.day} {day:%b}"
