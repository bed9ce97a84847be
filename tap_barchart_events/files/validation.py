"""The sums over all rows of an export file by which it is judged before it is used.

One query, one reading. It knows nothing of how events are written down.
"""

# ruff: noqa: S608 - all that comes from outside is quoted, by literal() or identifier()
from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tap_barchart_events.files.queries import Source, identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tap_barchart_events.windows import Window

NEAR = 3
"""How many rows back an equal event is, as a rule, in a file in time order."""

# Columns of files are in snake_case, so a name with a space is free for the query's own.
MILLISECONDS = '"as milliseconds"'

IN_ORDER, TIES, TIES_BEYOND_NEAR, DISORDER = range(4)
"""How a timestamp compares with those before it; the worst counts."""


@dataclass(slots=True)
class RowStats:
    """What the rows of a file add up to."""

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

    order: int = IN_ORDER
    """The worst that a timestamp does to the order."""

    content: int = 0
    """Bytes of all values, without line breaks and quotes."""

    filled: dict[str, int] = field(default_factory=dict)
    """For each column but the timestamp, the rows with a value."""

    by_type: list[tuple[str, int, dict[str, int]]] = field(default_factory=list)
    """For each event type kept apart: its code, its rows, and ``filled`` of these."""

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
        if source.survey.quoted:
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
                    WHEN {t} > "1 back" OR "1 back" IS NULL THEN {IN_ORDER}
                    WHEN {t} < "1 back" THEN {DISORDER}
                    WHEN {t} = "near back" THEN {TIES_BEYOND_NEAR}
                    ELSE {TIES}
                END),
                {content},
                {", ".join(f"count({c})" for c in values)}
            FROM (
                SELECT *,
                    lag({t}) OVER () AS "1 back",
                    lag({t}, {NEAR + 1}) OVER () AS "near back"
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
        tally = cls(filled=dict.fromkeys((n for n in names if n != "timestamp"), 0))
        for code, rows, inside, at_end, first, last, bad, order, content, *counts in result:
            tally.rows += rows
            tally.inside += inside
            tally.at_end += at_end
            tally.first = min((t for t in (first, tally.first) if t is not None), default=None)
            tally.last = max((t for t in (last, tally.last) if t is not None), default=None)
            tally.bad += bad
            tally.order = max(tally.order, order or IN_ORDER)
            tally.content += content
            filled = dict(zip(tally.filled, counts, strict=True))
            for name, count in filled.items():
                tally.filled[name] += count
            if code is not None:
                tally.by_type.append((code, rows, filled))
        return tally

    def matches_byte_count(self, content: int) -> bool:
        """Whether each byte of the file is in some value, or between two.

        Args:
            content: Bytes of the rows, without line breaks and quotes.
        """
        delimiters = len(self.filled) * self.rows
        return not self.bad and self.content + delimiters == content
