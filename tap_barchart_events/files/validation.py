"""The check of an export file before it is used, by sums over all its rows.

One query reads the file once. The module does not depend on how events are written.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from tap_barchart_events.exceptions import FileError, LayoutError, WrongRangeError
from tap_barchart_events.files.engine import UnreadableRowError
from tap_barchart_events.files.layout import layout_conflicts
from tap_barchart_events.files.memory import FETCH_ROWS
from tap_barchart_events.files.queries import TIE_LOOKBACK, DuplicateStrategy, Source
from tap_barchart_events.files.sql import identifier, literal
from tap_barchart_events.windows import HOUR, to_iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tap_barchart_events.files.engine import Engine
    from tap_barchart_events.products import Product
    from tap_barchart_events.windows import Window

# Columns of files are in snake_case, so a name with a space is free for the query's own.
MILLISECONDS = '"as milliseconds"'


YEAR_2000 = 946_684_800_000
"""No event is older, in milliseconds since the epoch."""

DAY = 86_400_000
"""An event that is later than now by more than this, in milliseconds, has no true timestamp."""

UNITS = {"seconds": (1, 1_000), "microseconds": (1_000, 1), "nanoseconds": (1_000_000, 1)}
"""Units that a timestamp may have by mistake: how many are in so many milliseconds."""


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


@dataclass(slots=True)
class RowStats:
    """Sums over the rows of a file."""

    rows: int = 0

    inside: int = 0
    """Rows whose timestamp is inside the window."""

    outside: Dropped = Dropped()
    """Rows outside the window, but for those at its ``end``, which belongs to the next one."""

    impossible: Dropped = Dropped()
    """Those of them that no window of any sync can hold."""

    absurd: int = 0
    """Those of them whose timestamps are probably in another unit."""

    bad: int = 0
    """Rows whose timestamp is no integer in its shortest form."""

    duplicates: DuplicateStrategy = DuplicateStrategy.NONE
    """What the order of the timestamps requires."""

    content_bytes: int = 0
    """Bytes of all values."""

    filled: dict[str, int] = field(default_factory=dict)
    """For each column but the timestamp, the rows with a value."""

    by_hour: Counter[int] = field(default_factory=Counter)
    """Hours since the epoch → rows inside the window."""

    by_type: list[tuple[str, int, dict[str, int]]] = field(default_factory=list)
    """For each event type counted separately: its code, its rows, and ``filled`` of these."""

    @staticmethod
    def query(
        source: Source, window: Window, possible: Window, *, event_types: Iterable[str]
    ) -> str:
        """Return the query of the sums.

        Its result has a row for each of the event types given, and one, of the type NULL, for
        all others together: a file may hold more event types than fit in memory.
        """
        known = ", ".join(map(literal, event_types))
        group = f"CASE WHEN type IN ({known}) THEN type END" if known else "NULL"
        columns = [identifier(name) for name in source.names]
        values = [identifier(name) for name in source.names if name != "timestamp"]
        content = " + ".join(f"coalesce(sum(strlen({c})), 0)" for c in columns)
        t = MILLISECONDS
        inside = f"{t} >= {window.start} AND {t} < {window.end}"
        outside = f"({t} < {window.start} OR {t} > {window.end})"
        impossible = f"{outside} AND ({t} < {possible.start} OR {t} > {possible.end})"
        absurd = f"{outside} AND ({t} < {YEAR_2000} OR {t} > {possible.end + DAY})"
        return f"""
            SELECT
                {group},
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
                {content},
                {", ".join(f"count({c})" for c in values)}
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

    @classmethod
    def of(
        cls,
        result: Iterable[tuple[Any, ...]],
        names: Sequence[str],
    ) -> RowStats:
        """Add up the result of the query.

        Args:
            result: Its rows.
            names: The file's columns.
        """
        stats = cls(filled=dict.fromkeys((n for n in names if n != "timestamp"), 0))
        for code, rows, inside, by_hour, *sums in result:
            stats.rows += rows
            stats.inside += inside
            stats.by_hour.update(by_hour or {})
            stats.outside += Dropped(*sums[:3])
            stats.impossible += Dropped(*sums[3:6])
            absurd, bad, strategy, content, *counts = sums[6:]
            stats.absurd += absurd
            stats.bad += bad
            stats.duplicates = max(stats.duplicates, DuplicateStrategy(strategy))
            stats.content_bytes += content
            filled = dict(zip(stats.filled, counts, strict=True))
            for name, count in filled.items():
                stats.filled[name] += count
            if code is not None:
                stats.by_type.append((code, rows, filled))
        return stats

    @classmethod
    def read(
        cls,
        engine: Engine,
        source: Source,
        window: Window,
        possible: Window,
        event_types: Iterable[str],
    ) -> RowStats | None:
        """Return the sums over all rows; None if DuckDB cannot read one of them.

        Args:
            engine: It reads the file.
            source: The rows of the file.
            window: The window that the file was exported for.
            possible: What all windows lie in: from ``start_date`` to now.
            event_types: The event types that are counted separately.
        """
        query = cls.query(source, window, possible, event_types=event_types)
        try:
            return cls.of(chain.from_iterable(engine.fetch(query, FETCH_ROWS)), source.names)
        except UnreadableRowError:
            return None

    def matches_byte_count(self, expected: int) -> bool:
        """Return whether values and delimiters add up to the bytes of the file.

        Args:
            expected: Bytes of the values of all rows and of the delimiters between them.
        """
        delimiters = len(self.filled) * self.rows
        return not self.bad and self.content_bytes + delimiters == expected

    def check_range(self, engine: Engine, source: Source, now: int) -> None:
        """Check that the rows, if there are any, are those of the window.

        Args:
            engine: It reads the file.
            source: The rows of the file.
            now: The present time, in milliseconds.

        Raises:
            WrongRangeError: No row is inside the window or exactly at its ``end``, or more rows
                have timestamps in another unit than are inside.
        """
        span = "from {} to {}".format(*self.outside.between)
        if self.absurd > self.inside:
            raise WrongRangeError(
                f"{self.absurd:,} of its {self.rows:,} rows are before the year 2000 or later than "
                f"a day after now: {_unit_that_fits(engine, source, now)}, and as milliseconds "
                f"rows are {span}; ask Barchart's support for timestamps in milliseconds, or check "
                "the order in the setting columns, if it is set"
            )
        if self.outside.rows < self.rows or not self.rows:
            return
        raise WrongRangeError(
            f"none of its {self.rows:,} rows is inside this window: their timestamps are {span}. "
            "The service, or a cache in between, sent another export; run again; if the error "
            "persists, ask Barchart's support"
        )

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

    def check_layout(self, product: Product, layout_check: str) -> tuple[str, ...]:
        """Cross-check a layout that was chosen by its number of columns; return warnings.

        Raises:
            LayoutError: Event types contradict the layout, and ``layout_check`` is ``error``.
        """
        conflicts = layout_conflicts(product, self.by_type)
        if conflicts.decisive and layout_check == "error":
            raise LayoutError(
                f"its columns seem shifted: {conflicts.text}, which these event types do not have. "
                "Name the file's columns, in order, in the setting columns; or, if they are right, "
                "set layout_check to warning"
            )
        return (conflicts.text,) if conflicts.text else ()


def _unit_that_fits(engine: Engine, source: Source, now: int) -> str:
    """Return in which unit most of the rows would lie between the year 2000 and now."""
    t = MILLISECONDS
    first, last = YEAR_2000, now + DAY
    counts = ", ".join(
        f"count(*) FILTER ({t} BETWEEN {first * n // d} AND {last * n // d})"
        for n, d in UNITS.values()
    )
    rows = f"(SELECT timestamp AS {t} FROM {source.relation('BIGINT')})"
    (found,) = next(engine.fetch(f"SELECT {counts} FROM {rows}", 1))
    count, unit = max(zip(found, UNITS, strict=True))
    return f"{count:,} timestamps fit as {unit}" if count else "their timestamps fit in no unit"


def _instant(milliseconds: int) -> str:
    try:
        return to_iso(milliseconds)
    except OverflowError:
        return f"{milliseconds} ms"
