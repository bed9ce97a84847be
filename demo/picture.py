"""The picture of the demo: active users, sessions, event types and bookmarks, from the marts."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import dates as mdates
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, MaxNLocator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

    from matplotlib.axes import Axes

    from demo.marts import Marts

# The colours of Okabe and Ito, which colour-blind people can distinguish.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_BAND = "#d9d9d9"
_INK = "#222222"
TYPES_SHOWN = 10


def draw(marts: Marts, bookmarks: Mapping[str, tuple[datetime, datetime, datetime]]) -> str:
    """Draw the marts, 1,200 pixels wide; return the picture as SVG.

    Args:
        marts: What dbt built.
        bookmarks: For each product, start date and the bookmarks after the first and second run.
    """
    products = [row.product for row in marts.overview]
    colours = {p: COLOURS[number % len(COLOURS)] for number, p in enumerate(products)}
    plt.rcParams.update({"font.size": 10, "text.color": _INK, "svg.fonttype": "none"})
    figure, panels = plt.subplots(2, 2, figsize=(12, 8.4), width_ratios=(1.25, 1))
    figure.subplots_adjust(
        left=0.055, right=0.985, top=0.825, bottom=0.075, hspace=0.36, wspace=0.5
    )
    _lines(panels[0, 0], marts, colours, "active_users", "Active users a day")
    _lines(panels[1, 0], marts, colours, "sessions", "Sessions a day")
    _types(panels[0, 1], marts, colours)
    _bookmarks(panels[1, 1], bookmarks, colours)
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


def _bookmarks(
    axes: Axes,
    bookmarks: Mapping[str, tuple[datetime, datetime, datetime]],
    colours: Mapping[str, str],
) -> None:
    """Draw what is extracted of each product as a bar that ends at its bookmark."""
    _plain(axes, "Extracted up to the bookmark")
    (first_end, second_end) = max(bookmarks.values())[1:]
    start = min(start for start, _, _ in bookmarks.values())
    span = second_end - start
    # One hour is thinner than a pixel beside weeks, so the axis shows the last hours only.
    shown_from = second_end - min(span, 8 * (second_end - first_end))
    _note(axes, f"from {_day(start)}")
    begin, end = mdates.date2num(shown_from), mdates.date2num(second_end)
    axes.axvspan(mdates.date2num(first_end), end, color=_BAND, linewidth=0, zorder=0)
    axes.text(
        (mdates.date2num(first_end) + end) / 2,
        -0.02,
        "second\nrun",
        transform=axes.get_xaxis_transform(),
        ha="center",
        va="top",
        color="#555555",
    )
    for row, (product, (_, _, bookmark)) in enumerate(sorted(bookmarks.items(), reverse=True)):
        until = mdates.date2num(bookmark)
        axes.barh(row, until - begin, left=begin, height=0.42, color=colours[product])
        axes.annotate(
            f"{_day(bookmark)} {bookmark:%H:%M}",
            (end, row),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(range(len(bookmarks)), sorted(bookmarks, reverse=True))
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(begin, end + (end - begin) * 0.28)
    hours = [shown_from + n * (second_end - first_end) for n in (0, 2, 4, 6)]
    axes.set_xticks([mdates.date2num(hour) for hour in hours])
    axes.xaxis.set_major_formatter(FuncFormatter(_hour))
    hours_shown = (second_end - shown_from) / timedelta(hours=1)
    axes.set_xlabel(f"the last {hours_shown:.0f} hours, {_day(second_end)} (UTC)", loc="left")


def _day(day: date) -> str:
    return f"{day.day} {day:%b}"


def _weekday(value: float, _position: int) -> str:
    day = mdates.num2date(value)
    return f"{day:%a} {_day(day)}"


def _hour(value: float, _position: int) -> str:
    return f"{mdates.num2date(value):%H:%M}"
