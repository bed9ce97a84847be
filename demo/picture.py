"""The picture of the demo: events per hour, a panel for each product.

It draws what it is given and knows nothing of where it came from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import dates as mdates
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

_COLOURS = ("#2a6f97", "#bc6c25", "#588157", "#7b5ea7", "#b5446e", "#4d5156")
_HOUR = 1 / 24  # matplotlib counts dates in days
_NEW = "#f2cc5b"


def draw(
    hours: Mapping[str, Mapping[datetime, int]], first_end: datetime, second_end: datetime, to: Path
) -> None:
    """Draw events per hour by product, and mark what the second run brought.

    Args:
        hours: For each product, the start of an hour (UTC) → the number of events in it.
        first_end: Where the first run stopped.
        second_end: Where the second run stopped.
        to: The PNG file to write.
    """
    figure, panels = plt.subplots(
        len(hours),
        1,
        figsize=(11, 0.8 + 1.75 * len(hours)),
        sharex=True,
        layout="constrained",
        squeeze=False,
    )
    for number, (panel, (product, counts)) in enumerate(
        zip(panels[:, 0], sorted(hours.items()), strict=True)
    ):
        panel.axvspan(first_end, second_end, color=_NEW, alpha=0.6, linewidth=0)
        panel.bar(
            list(counts),
            list(counts.values()),
            width=_HOUR * 0.9,
            align="edge",
            color=_COLOURS[number % len(_COLOURS)],
        )
        panel.set_title(
            f"{product} · {sum(counts.values()):,} events", loc="left", fontsize=10, pad=3
        )
        panel.set_xlim(min(counts), second_end)
        panel.set_ylabel("events / hour", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", linewidth=0.4, alpha=0.6)
        panel.set_axisbelow(True)
    axis = panels[-1, 0].xaxis
    axis.set_major_locator(mdates.DayLocator())
    axis.set_minor_locator(mdates.HourLocator(byhour=(6, 12, 18)))
    axis.set_major_formatter(mdates.DateFormatter("00:00\n%a %d %b"))
    axis.set_minor_formatter(mdates.DateFormatter("%H:%M"))
    panels[-1, 0].tick_params(axis="x", which="minor", labelsize=7)
    figure.suptitle(
        "Usage events per hour (UTC) as they arrived in the target · yellow: the second run",
        fontsize=11,
    )
    to.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(to, dpi=120)
    plt.close(figure)
