"""The check of an export file before it is used, by sums over all its rows.

One query reads the file once. The module does not depend on how events are written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from tap_barchart_events.exceptions import FileError, LayoutError, WrongRangeError
from tap_barchart_events.files.engine import UnreadableRowError
from tap_barchart_events.files.layout import layout_conflicts
from tap_barchart_events.files.memory import FETCH_ROWS
from tap_barchart_events.files.queries import TIE_LOOKBACK, DuplicateStrategy, Source
from tap_barchart_events.files.sql import identifier, literal
from tap_barchart_events.windows import to_iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tap_barchart_events.files.engine import Engine
    from tap_barchart_events.products import Product
    from tap_barchart_events.windows import Window

# Columns of files are in snake_case, so a name with a space is free for the query's own.
MILLISECONDS = '"as milliseconds"'


@dataclass(slots=True)
class RowStats:
    """Sums over the rows of a file."""

    rows: int = 0

    inside: int = 0
    """Rows whose timestamp is inside the window."""

    at_end: int = 0
    """Rows whose timestamp is the window's ``end``, which belongs to the next window."""

    first: int | None = None
    """The earliest timestamp, in milliseconds."""

    last: int | None = None
    """The latest timestamp, in milliseconds."""

    bad: int = 0
    """Rows whose timestamp is no integer in its shortest form."""

    duplicates: DuplicateStrategy = DuplicateStrategy.NONE
    """What the order of the timestamps requires."""

    content_bytes: int = 0
    """Bytes of all values, without line breaks and quotes."""

    filled: dict[str, int] = field(default_factory=dict)
    """For each column but the timestamp, the rows with a value."""

    by_type: list[tuple[str, int, dict[str, int]]] = field(default_factory=list)
    """For each event type counted separately: its code, its rows, and ``filled`` of these."""

    @staticmethod
    def query(source: Source, window: Window, *, event_types: Iterable[str]) -> str:
        """Return the query of the sums.

        Its result has a row for each of the event types given, and one, of the type NULL, for
        all others together: a file may hold more event types than fit in memory.
        """
        known = ", ".join(map(literal, event_types))
        group = f"CASE WHEN type IN ({known}) THEN type END" if known else "NULL"
        columns = [identifier(name) for name in source.names]
        values = [identifier(name) for name in source.names if name != "timestamp"]
        if source.stats.quoted:
            quote = literal(source.dialect.quote_character)
            columns = [f"translate({c}, chr(10) || chr(13) || {quote}, '')" for c in columns]
        content = " + ".join(f"coalesce(sum(strlen({c})), 0)" for c in columns)
        t = MILLISECONDS
        return f"""
            SELECT
                {group},
                count(*),
                count(*) FILTER ({t} >= {window.start} AND {t} < {window.end}),
                count(*) FILTER ({t} = {window.end}),
                min({t}),
                max({t}),
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
        for code, rows, inside, at_end, first, last, bad, strategy, content, *counts in result:
            stats.rows += rows
            stats.inside += inside
            stats.at_end += at_end
            stats.first = min((t for t in (first, stats.first) if t is not None), default=None)
            stats.last = max((t for t in (last, stats.last) if t is not None), default=None)
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
        cls, engine: Engine, source: Source, window: Window, event_types: Iterable[str]
    ) -> RowStats | None:
        """Return the sums over all rows; None if DuckDB cannot read one of them.

        Args:
            engine: It reads the file.
            source: The rows of the file.
            window: The window that the file was exported for.
            event_types: The event types that are counted separately.
        """
        query = cls.query(source, window, event_types=event_types)
        try:
            return cls.of(chain.from_iterable(engine.fetch(query, FETCH_ROWS)), source.names)
        except UnreadableRowError:
            return None

    def matches_byte_count(self, expected: int) -> bool:
        """Return whether values and delimiters add up to the bytes of the file.

        Args:
            expected: Bytes of the rows, without line breaks and quotes.
        """
        delimiters = len(self.filled) * self.rows
        return not self.bad and self.content_bytes + delimiters == expected

    def check_range(self) -> None:
        """Check that the rows, if there are any, are those of the window.

        Raises:
            WrongRangeError: No row is inside the window or exactly at its ``end``.
        """
        if self.first is None or self.last is None or self.inside or self.at_end:
            return
        raise WrongRangeError(
            f"none of its {self.rows:,} rows is inside this window: their timestamps are from "
            f"{_instant(self.first)} to {_instant(self.last)}. The service, or a cache in "
            "between, sent another export; run again; if the error persists, ask Barchart's support"
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

    def check_layout(self, product: Product, layout_check: str) -> str:
        """Cross-check a layout that was chosen by its number of columns; return a warning or "".

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
        return conflicts.text


def _instant(milliseconds: int) -> str:
    try:
        return to_iso(milliseconds)
    except OverflowError:
        return f"{milliseconds} ms"
