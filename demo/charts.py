"""Charts for a page without scripts: bars, heat maps and lines that keep their text size.

Everything is HTML and SVG. A chart's values stand in the titles of its parts, which a browser
shows on hover. Does not depend on what is shown.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from html import escape
from typing import NamedTuple

# The colours of Okabe and Ito, which colour-blind people can distinguish.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_DASHES = ("", "7 3", "2 3", "10 3 2 3", "5 5", "1 5")
"""Lines differ without colours too."""


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


def bars(rows: Iterable[Bar]) -> str:
    """Return a list of bars."""
    items = "".join(
        f'<li><span class="label">{escape(row.label)}</span>'
        f'<span class="track"><span style="width:{row.share:.1%};background:{row.colour}"></span>'
        f'</span><span class="value">{escape(row.value)}</span></li>\n'
        for row in rows
    )
    return f'<ul class="bars">\n{items}</ul>'


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


def lines(
    name: str, unit: str, series: Mapping[str, Mapping[date, int]], colours: Sequence[str]
) -> str:
    """Return lines over days, each of which can be hidden; the first is the thick one.

    Args:
        name: What they show, for those who do not see it.
        unit: What the values count.
        series: Values by day, by the name of the line; all have days of the first one.
        colours: Of each line.
    """
    days = list(next(iter(series.values())))
    highest = max(max(values.values()) for values in series.values())
    steps = (part * 10**power for power in range(9) for part in (1, 2, 2.5, 5))
    top = 4 * next(step for step in steps if 4 * step >= highest)
    paths, legend, hide = [], [], []
    for number, (label, values) in enumerate(series.items()):
        colour, dash = colours[number], _DASHES[max(0, number - 1) % len(_DASHES)]
        points = " ".join(
            f"{days.index(day)},{100 - 100 * value / top:.1f}" for day, value in values.items()
        )
        stroke = f'stroke="{colour}" stroke-dasharray="{dash if number else ""}"'
        paths.append(
            f'<polyline class="line{number}" points="{points}" {stroke} '
            f'stroke-width="{2 if number else 3}"/>'
        )
        legend.append(
            f'<label><input type="checkbox" id="line{number}" checked>'
            f'<svg class="key" aria-hidden="true"><line x2="28" y1="6" y2="6" {stroke} '
            f'stroke-width="{2 if number else 3}"/></svg>{escape(label)}</label>'
        )
        hide.append(f".lines:has(#line{number}:not(:checked)) .line{number}")
    bands = "".join(
        f'<rect x="{at - 0.5}" width="1" height="100"><title>{_day(day)}&#10;'
        + "&#10;".join(f"{escape(line)}: {v.get(day, 0):,} {unit}" for line, v in series.items())
        + "</title></rect>"
        for at, day in enumerate(days)
    )
    heights = [top * part / 4 for part in range(5)]
    grid = "".join(
        f'<span class="y" style="bottom:{100 * height / top}%">{height:,.0f}</span>'
        for height in heights
        if height == round(height)
    )
    weeks = [at for at, day in enumerate(days) if day.weekday() == 0][::2]
    ticks = "".join(
        f'<span style="left:{100 * at / (len(days) - 1):.1f}%">{_day(days[at])}</span>'
        for at in weeks
        if at < len(days) - 5
    )
    return f"""<div class="lines"><style>{", ".join(hide)} {{ display: none }}</style>
<p class="legend">{" ".join(legend)}</p>
<div class="plot">{grid}<svg role="img" aria-label="{escape(name)}"
viewBox="0 0 {len(days) - 1} 100" preserveAspectRatio="none">{"".join(paths)}{bands}</svg></div>
<div class="x">{ticks}</div></div>"""


def _day(day: date) -> str:
    return f"{day:%a} {day.day} {day:%b}"
