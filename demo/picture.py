"""The picture of the demo: active users, sessions and event types, from the marts."""

from collections.abc import Mapping
from datetime import date
from functools import partial
from io import StringIO

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import dates as mdates
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from demo.marts import Marts

# The colours of Okabe and Ito, which colour-blind people can distinguish.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_INK = "#222222"
TYPES_SHOWN = 20


def draw(marts: Marts) -> str:
    """Draw the marts, 1,200 pixels wide; return the picture as SVG."""
    products = [row.product for row in marts.overview]
    colours = {p: COLOURS[number % len(COLOURS)] for number, p in enumerate(products)}
    plt.rcParams.update({"font.size": 10, "text.color": _INK, "svg.fonttype": "none"})
    figure, panels = plt.subplot_mosaic(
        [["users", "types"], ["sessions", "types"]], figsize=(12, 8.4), width_ratios=(1.25, 1)
    )
    figure.subplots_adjust(
        left=0.055, right=0.985, top=0.825, bottom=0.075, hspace=0.36, wspace=0.5
    )
    _lines(panels["users"], marts, colours, "active_users", "Active users a day")
    _lines(panels["sessions"], marts, colours, "sessions", "Sessions a day")
    _types(panels["types"], marts, colours)
    events = sum(row.events for row in marts.overview)
    first, last = (min(r.first for r in marts.overview), max(r.last for r in marts.overview))
    left = 0.012
    figure.text(left, 0.955, headline(marts), fontsize=17, weight="bold")
    figure.text(
        left,
        0.918,
        f"{events:,} events of {marts.users:,} users in {len(products)} products, from "
        f"{_day(first)} to {_day(last)} {last.year}. Days and hours are UTC.",
        fontsize=11,
    )
    figure.text(
        left, 0.886, "The events are made up by the emulator.", fontsize=11, color="#555555"
    )
    for number, (product, colour) in enumerate(reversed(colours.items())):
        figure.text(
            0.985 - 0.11 * number, 0.886, f"■ {product}", color=colour, weight="bold", ha="right"
        )
    picture = StringIO()
    figure.savefig(picture, format="svg", dpi=100)
    plt.close(figure)
    return picture.getvalue()


def headline(marts: Marts) -> str:
    """Return the headline: how weekends compare with working days."""
    whole_days = sorted({row.day for row in marts.days})[:-1]  # the last one is under way
    totals = {day: sum(r.active_users for r in marts.days if r.day == day) for day in whole_days}
    weekend = [count for day, count in totals.items() if day.weekday() >= 5]
    working = [count for day, count in totals.items() if day.weekday() < 5]
    if not weekend or not working:
        return "Usage by product"
    share = 1 - (sum(weekend) / len(weekend)) / (sum(working) / len(working))
    return f"At the weekend {share:.0%} fewer users are active than on a working day"


def _plain(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=12, weight="bold", pad=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)


def _note(axes: Axes, text: str) -> None:
    """Write a note above the right end of a panel."""
    axes.text(1.0, 1.03, text, transform=axes.transAxes, ha="right", color="#555555")


def _lines(axes: Axes, marts: Marts, colours: Mapping[str, str], measure: str, title: str) -> None:
    """Draw one line a product; dashed, to an empty circle, for the day under way."""
    _plain(axes, title)
    under_way = max(row.day for row in marts.days)
    for product, colour in colours.items():
        rows = [row for row in marts.days if row.product == product]
        days = [mdates.date2num(row.day) for row in rows]
        values = [getattr(row, measure) for row in rows]
        whole = sum(row.day < under_way for row in rows)
        plot = partial(axes.plot, color=colour, linewidth=2, markersize=3.5)
        plot(days[:whole], values[:whole], marker="o")
        plot(days[whole - 1 :], values[whole - 1 :], linestyle=":")
        plot(days[whole:], values[whole:], marker="o", markerfacecolor="white")
    axes.set_ylim(bottom=0)
    for day in {row.day for row in marts.days if row.day.weekday() >= 5}:
        axes.axvspan(
            mdates.date2num(day) - 0.5, mdates.date2num(day) + 0.5, color="#f0f0f0", linewidth=0
        )
    axes.grid(axis="y", linewidth=0.5, alpha=0.6)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_locator(mdates.WeekdayLocator(byweekday=mdates.MO))
    axes.xaxis.set_minor_locator(mdates.DayLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(_weekday))
    _note(axes, "grey: weekend; dotted: the day under way")


def _types(axes: Axes, marts: Marts, colours: Mapping[str, str]) -> None:
    _plain(axes, f"Events by type: the {TYPES_SHOWN} most frequent")
    shown = marts.types[:TYPES_SHOWN][::-1]
    names = [row.code.capitalize().replace("-", " ") for row in shown]
    bars = axes.barh(names, [r.events for r in shown], color=[colours[r.product] for r in shown])
    axes.bar_label(bars, labels=[f"{row.events:,}" for row in shown], padding=4)
    axes.margins(x=0.14)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _day(day: date) -> str:
    return f"{day.day} {day:%b}"


def _weekday(value: float, _position: int) -> str:
    day = mdates.num2date(value)
    return f"{day:%a} {_day(day)}"
