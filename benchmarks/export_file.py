"""Export files to measure with: made up, time-ordered, without a header.

The same number of events gives the same file. Does not depend on the readers.
"""

import random
from pathlib import Path

from tap_barchart_events.products import PRODUCTS

CUSTOMER, PRODUCT = "TGAM", "WATCHLIST"

START = 1_571_029_200_000
"""First instant of the file, 2019-10-14T05:00Z, in milliseconds."""

END = START + 86_400_000
"""The instant that the file ends before, in milliseconds."""

COLUMNS = PRODUCTS[PRODUCT].layouts[-1]
"""Columns of the file, camelCase, in order."""

BODIES = 1 << 16
"""Number of different events, apart from their timestamps."""

REPEATED = 1_000
"""One row of so many is repeated: clients send some events twice."""

VALUES = {
    "symbol": ["AAPL", "MSFT", "ZC*1", "ESZ26", "BTE.TO", "^EURUSD", "SHOP.TO", "RY.TO"],
    "viewName": ["main", "Überblick", "performance", "Vue générale"],
    "viewType": ["table", "chart", "flipcharts"],
    "dataMode": ["realtime", "delayed", "end of day"],
    "classFilter": ["stocks", "futures", "forex", "indices"],
}


QUOTED = ['"{}|x"', '"{} ""x"""', '"{}\nx"', '"{}"']
"""Forms of a value in quotes: with the delimiter, quotes, a line break, and for no reason."""


def write_export(path: Path, events: int, quoted: float = 0.0) -> None:
    """Write a file of a number of events, spread evenly over the window; 80 MB a million.

    Args:
        path: Where it goes.
        events: How many events.
        quoted: The share of the rows that hold a value in quotes.
    """
    chance = random.Random(7)  # noqa: S311 - made-up events, not secrets
    bodies = _bodies(chance)
    if quoted:
        bodies = [_with_quotes(chance, b) if chance.random() < quoted else b for b in bodies]
    repeated = set(chance.sample(range(1, events), events // REPEATED))
    with path.open("w", encoding="utf-8", newline="") as file:
        last = ""
        for begin in range(0, events, BODIES):
            numbers = range(begin, min(begin + BODIES, events))
            chosen = chance.choices(bodies, k=len(numbers))
            lines = []
            for number, body in zip(numbers, chosen, strict=True):
                if number not in repeated:
                    last = f"{START + number * (END - START) // events}{body}"
                lines.append(last)
            file.write("".join(lines))


def _bodies(chance: random.Random) -> list[str]:
    """Return rows without their timestamps."""
    kinds = list(PRODUCTS[PRODUCT].event_types.items())
    users = [_identifier(chance) for _ in range(2_000)]
    lists = [_identifier(chance) for _ in range(5_000)]
    bodies = []
    for _ in range(BODIES):
        kind, context = chance.choice(kinds)
        cells = {"type": kind}
        for name in context:
            pool = {"userId": users, "watchlistId": lists}.get(name) or VALUES[name]
            cells[name] = chance.choice(pool)
        bodies.append("|".join(["", *(cells.get(name, "") for name in COLUMNS[1:])]) + "\n")
    return bodies


def _with_quotes(chance: random.Random, body: str) -> str:
    """Return a row whose last value is in quotes."""
    cells = body.removesuffix("\n").split("|")
    last = max(place for place, cell in enumerate(cells) if cell)
    cells[last] = chance.choice(QUOTED).format(cells[last])
    return "|".join(cells) + "\n"


def _identifier(chance: random.Random) -> str:
    return "-".join(f"{chance.getrandbits(16):04x}" for _ in range(3))
