"""The check of an export file before it is used, by sums over all its rows.

One query reads the file once. The module does not depend on how events are written.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from tap_barchart_events.exceptions import FileError, WrongRangeError
from tap_barchart_events.files.engine import UnreadableRowError
from tap_barchart_events.files.memory import FETCH_ROWS
from tap_barchart_events.files.queries import (
    TIE_LOOKBACK,
    DuplicateStrategy,
    Source,
    identifier,
    literal,
)
from tap_barchart_events.windows import HOUR, to_iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tap_barchart_events.files.engine import Engine
    from tap_barchart_events.files.layout import Layout, TypeCount
    from tap_barchart_events.windows import Window

# Columns of files are in snake_case, so a name with a space is free for the query's own.
MILLISECONDS = '"as milliseconds"'

YEAR_2000 = 946_684_800_000
"""No event is older, in milliseconds since the epoch."""

DAY = 86_400_000
"""An event that is later than now by more than this, in milliseconds, has no true timestamp."""

UNITS = {"seconds": (1_000, 1), "microseconds": (1, 1_000), "nanoseconds": (1, 1_000_000)}
"""Units that a timestamp may have by mistake → how many milliseconds equal how many of them."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Rows that are dropped because of their timestamps."""

    rows: int = 0

    first: int | None = None
    """The earliest timestamp, in milliseconds; None without rows."""

    last: int | None = None
    """The latest timestamp, in milliseconds; None without rows."""

    def __add__(self, other: Dropped) -> Dropped:
        """Return the rows of both."""
        instants = [t for t in (self.first, self.last, other.first, other.last) if t is not None]
        first, last = min(instants, default=None), max(instants, default=None)
        return Dropped(self.rows + other.rows, first, last)

    @property
    def between(self) -> tuple[str, str]:
        """The instants between which they occurred, if there are any, ISO 8601."""
        return _instant(self.first or 0), _instant(self.last or 0)

    @staticmethod
    def query(condition: str) -> str:
        """Return the aggregates that are its fields."""
        t = MILLISECONDS
        aggregates = "count(*)", f"min({t})", f"max({t})"
        return ", ".join(f"{aggregate} FILTER ({condition})" for aggregate in aggregates)


def _instant(milliseconds: int) -> str:
    try:
        return to_iso(milliseconds)
    except OverflowError:
        return f"{milliseconds} ms"


@dataclass(slots=True)
class FileContents:
    """What a file holds: its columns, and sums over its rows."""

    rows: int = 0

    events: int = 0
    """Rows inside the window."""

    events_by_hour: Counter[int] = field(default_factory=Counter)
    """Hours since the epoch → rows inside the window."""

    outside: Dropped = Dropped()
    """Rows outside the window, except those at its ``end``, which belongs to the next one."""

    impossible: Dropped = Dropped()
    """Those of them that no window of any sync can hold."""

    absurd: int = 0
    """Those of them whose timestamps are probably in another unit."""

    bad: int = 0
    """Rows that cannot be read, or whose timestamp is not an integer in its shortest form."""

    duplicates: DuplicateStrategy = DuplicateStrategy.NONE
    """What the order of the timestamps requires."""

    content_bytes: int = 0
    """Bytes of all values and of the delimiters between them."""

    filled: Counter[str] = field(default_factory=Counter)
    """For each column except the timestamp, the number of rows with a value."""

    by_type: list[TypeCount] = field(default_factory=list)
    """For each event type counted separately: its code, its rows, and ``filled`` of these."""

    layout: Layout | None = None
    """The columns; None for a file without rows."""

    extra_columns: tuple[str, ...] = ()
    """Columns with values that the schema does not name, snake_case: they go to ``extra``."""

    warnings: tuple[str, ...] = ()
    """Contradictions that do not stop the sync."""

    @classmethod
    def read(
        cls,
        engine: Engine,
        source: Source,
        window: Window,
        possible: Window,
        event_types: Iterable[str],
    ) -> FileContents:
        """Return the sums over all rows.

        Args:
            engine: Reads the file.
            source: The rows of the file.
            window: The window that the file was exported for.
            possible: What all windows lie in: from ``start_date`` to now.
            event_types: The event types that are counted separately.

        """
        contents = cls()
        names = [name for name in source.names if name != "timestamp"]
        query = _query(source, window, possible, event_types)
        try:
            result = [*chain.from_iterable(engine.fetch(query, FETCH_ROWS))]
        except UnreadableRowError:
            return cls(bad=1)
        for code, rows, events, by_hour, *sums in result:
            contents.rows += rows
            contents.events += events
            contents.events_by_hour.update(by_hour or {})
            contents.outside += Dropped(*sums[:3])
            contents.impossible += Dropped(*sums[3:6])
            absurd, bad, duplicates, content_bytes, *counts = sums[6:]
            contents.absurd += absurd
            contents.bad += bad
            contents.duplicates = max(contents.duplicates, DuplicateStrategy(duplicates))
            contents.content_bytes += content_bytes
            filled = dict(zip(names, counts, strict=True))
            contents.filled.update(filled)
            if code is not None:
                contents.by_type.append((code, rows, filled))
        return contents

    def check_range(self, now: int) -> None:
        """Check that the rows, if there are any, are those of the window.

        Args:
            now: The present time, in milliseconds.

        Raises:
            WrongRangeError: No row is inside the window or exactly at its ``end``, or more rows
                have timestamps in another unit than are inside.
        """
        span = "from {} to {}".format(*self.outside.between)
        if self.absurd > self.events:
            raise WrongRangeError(
                f"{self.absurd:,} of its {self.rows:,} rows are before the year 2000 or later than "
                f"a day after now: their timestamps fit {self._unit(now)}, and as milliseconds "
                f"rows are {span}; ask Barchart's support for timestamps in milliseconds, or check "
                "the order in the setting columns, if it is set"
            )
        if self.rows and self.outside.rows == self.rows:
            raise WrongRangeError(
                f"none of its {self.rows:,} rows is inside this window: their timestamps are "
                f"{span}. The service, or a cache in between, sent another export; run again; if "
                "the error persists, ask Barchart's support"
            )

    def _unit(self, now: int) -> str:
        """Return the unit in which the first or the last row lies between the year 2000 and now."""
        for unit, (milliseconds, units) in UNITS.items():
            for instant in (self.outside.first or 0, self.outside.last or 0):
                if YEAR_2000 <= instant * milliseconds // units <= now + DAY:
                    return f"as {unit}"
        return "in no unit"

    def check_types(self, product: str, of_others: Mapping[str, str]) -> None:
        """Check that no row has an event type of another product, by code → product.

        Raises:
            FileError: A row has one.
        """
        for code, *_ in self.by_type:
            if code in of_others:
                raise FileError(
                    f"it has rows of the event type {code}, which product {of_others[code]} has "
                    f"and {product} does not, and the service gave no product for the export: it "
                    f"may not know {product}; check products"
                )


def _query(source: Source, window: Window, possible: Window, event_types: Iterable[str]) -> str:
    """Return the query of the sums.

    Its result has a row for each of the event types given, and one, of the type NULL, for all
    others together: a file may hold more event types than fit in memory.
    """
    known = ", ".join(map(literal, ["", *event_types]))
    columns = [identifier(name) for name in source.names]
    values = [identifier(name) for name in source.names if name != "timestamp"]
    content = " + ".join(f"coalesce(sum(strlen({column})), 0)" for column in columns)
    t = MILLISECONDS
    inside = f"{t} >= {window.start} AND {t} < {window.end}"
    outside = f"({t} < {window.start} OR {t} > {window.end})"
    impossible = f"{outside} AND ({t} < {possible.start} OR {t} > {possible.end})"
    absurd = f"{outside} AND ({t} < {YEAR_2000} OR {t} > {possible.end + DAY})"
    return f"""
        SELECT
            CASE WHEN type IN ({known}) THEN type END,
            count(*),
            count(*) FILTER ({inside}),
            histogram({t} // {HOUR}) FILTER ({inside}),
            {Dropped.query(outside)},
            {Dropped.query(impossible)},
            count(*) FILTER ({absurd}),
            count(*) FILTER ({t} IS NULL OR {t}::VARCHAR <> timestamp),
            max(CASE
                WHEN {t} > "1 back" OR "1 back" IS NULL THEN {DuplicateStrategy.NONE}
                WHEN {t} < "1 back" OR {t} = "lookback row" THEN {DuplicateStrategy.TABLE}
                ELSE {DuplicateStrategy.LOOKBACK}
            END),
            {content} + {len(values)} * count(*),
            {", ".join(f"count({column})" for column in values)}
        FROM (
            SELECT *,
                lag({t}) OVER () AS "1 back",
                lag({t}, {TIE_LOOKBACK + 1}) OVER () AS "lookback row"
            FROM (
                SELECT *, try_cast(timestamp AS BIGINT) AS {t}
                FROM {source.relation("VARCHAR")}
            )
        )
        GROUP BY 1"""
