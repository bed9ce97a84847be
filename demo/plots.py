"""Lines and stacked bars over days or weeks, which pygal draws as SVG without a script.

A browser shows each value on hover; a table has them too. Does not depend on what is shown.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from math import ceil
from pathlib import Path
from typing import Any

import pygal
from pygal.style import Style

from demo.charts import COLOURS, day_text, folded, text_of

# Below Python 3.12, pygal's import hook for plugins would warn at each later import.
sys.meta_path[:] = [hook for hook in sys.meta_path if not isinstance(hook, pygal.PluginImportFixer)]

MORE_COLOURS = (*COLOURS, "#F0E442", "#882255", "#117733", "#888888")
_DASHES = ("", "7,3", "2,3", "10,3,2,3", "5,5", "1,5")
"""Lines differ without colours too."""
_NARROW = (340, 190)
_UNSEEN = re.compile(
    r'(?s)<g class="bar"><rect[^>]*>(<desc.*?</desc>)*</g>|<desc.*?</desc>|<!--.*?-->'
    r"|<script.*?</script>|<title>(Pygal|[-\d,%]*)</title>"
)
_CONFIG = pygal.Config(
    css=[f"file://{Path(__file__).with_name('plot.css')}"],
    js=(),
    margin=4,
    show_legend=False,
    allow_interruptions=True,
    include_x_axis=True,
    min_scale=3,
    max_scale=8,
    order_min=0,
    dots_size=2,
    show_minor_x_labels=False,
    truncate_label=-1,
    disable_xml_declaration=True,
)

Values = Mapping[date, float | None]
"""A series by day; ``None`` for a day that is not known, nothing for one without a value."""


def over_time(
    name: str,
    days: Sequence[date],
    series: Mapping[str, Values],
    colours: Sequence[str] = MORE_COLOURS,
    *,
    size: tuple[int, int] = (1150, 260),
    unit: str = "",
    stacked: bool = False,
) -> str:
    """Return lines, with gaps, or stacked bars, each of which can be hidden; and a folded table.

    Args:
        name: What they show, for those who do not see it.
        days: Where a value may be.
        series: Values by the name of the line or bar; negative ones are stacked below zero.
        colours: Of each.
        size: Width and height in pixels, where the window is not narrow.
        unit: What follows each number.
        stacked: Whether bars are drawn.
    """
    texts = {
        label: {
            day: "not known" if value is None else f"{text_of(value)}{unit}"
            for day, value in values.items()
        }
        for label, values in series.items()
    }
    kind = pygal.StackedBar if stacked else pygal.Line
    chart = kind(_CONFIG, style=Style(colors=tuple(colours)))
    chart.value_formatter = lambda value: f"{value:,.0f}{unit}"
    chart.x_labels = [day_text(day) for day in days]
    legend = []
    for number, (label, values) in enumerate(series.items()):
        dash = "" if stacked else _DASHES[number % len(_DASHES)]
        width = 0 if stacked else 2
        points: list[dict[str, Any] | None] = [
            {"value": values[day], "label": f"{day_text(day)}\n{label}: {texts[label][day]}"}
            if values.get(day) is not None
            else None
            for day in days
        ]
        chart.add(label, points, stroke_style={"width": width, "dasharray": dash})
        legend.append(
            f'<label><input type="checkbox" class="show{number}" checked><svg class="key" '
            f'aria-hidden="true"><line x2="28" y1="6" y2="6" stroke="{colours[number]}" '
            f'stroke-width="{width or 12}" stroke-dasharray="{dash}"/></svg>{escape(label)}</label>'
        )
    rows = [[day_text(d), *(own.get(d, "") for own in texts.values())] for d in days]
    table = folded(["", *texts], [row for row in rows if any(row[1:])])
    return f"""<div class="over-time"><p class="legend">{" ".join(legend)}</p>
<div role="img" aria-label="{escape(name)}"><div class="wide">{_drawn(chart, days, size)}</div>
<div class="narrow">{_drawn(chart, days, _NARROW)}</div></div>{table}</div>"""


def _drawn(chart: pygal.graph.graph.Graph, days: Sequence[date], size: tuple[int, int]) -> str:
    """Return a chart of a size, with what a browser shows on hover, without the unseen."""
    mondays = [day_text(day) for day in days if day.weekday() == 0]
    chart.x_labels_major = mondays[:: ceil(len(mondays) * 95 / size[0])]
    text = chart.render(is_unicode=True, width=size[0], height=size[1], show_dots=size != _NARROW)
    text = re.sub(r'(?s)<desc class="label">(.*?)</desc>', r"<title>\1</title>", text)
    return _UNSEEN.sub("", text)
