"""What an export file holds, by sums over all its rows, and whether it is the file of its window.

Pure: the sums come from one query (``sums_query``), and nothing here reads a file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from tap_barchart_events.exceptions import FileError
from tap_barchart_events.files.layout import Layout, TypeCount
from tap_barchart_events.windows import to_iso

YEAR_2000 = 946_684_800_000
"""No event is older, in milliseconds since the epoch."""

DAY = 86_400_000
"""An event that is later than now by more than this, in milliseconds, has no true timestamp."""

UNITS = {"seconds": 1e3, "microseconds": 1e-3, "nanoseconds": 1e-6}
"""Units that a timestamp may have by mistake, in milliseconds."""


class DuplicateStrategy(IntEnum):
    """How the ordinals of events that are equal in the identity columns are found.

    The order of the timestamps decides; the highest value of any row applies to the file.
    """

    NONE = 0
    """Each timestamp is later than the one before it: no events are equal, all ordinals are 0."""

    LOOKBACK = 1
    """Some timestamps are equal, at most ``TIE_LOOKBACK`` rows apart: each row is compared with
    that many."""

    TABLE = 2
    """Some are equal further apart, or earlier than the one before: a table has all ordinals, in
    row order, and is read side by side with the file."""


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

    again: int = 0
    """Those of them that lie before the bookmark, so that an earlier run has read them."""

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

    unknown_types: int = 0
    """Rows with an event type that is not counted separately."""

    layout: Layout | None = None
    """The columns; None for a file without rows."""

    extra_columns: tuple[str, ...] = ()
    """Columns with values that the schema does not name, snake_case: they go to ``extra``."""

    warnings: tuple[str, ...] = ()
    """Contradictions that do not stop the sync."""

    @classmethod
    def read(cls, names: Iterable[str], sums: Iterable[Sequence[Any]]) -> FileContents:
        """Return the contents of a file by the result of ``sums_query``.

        Args:
            names: The columns of the file.
            sums: The rows of the result.
        """
        contents = cls()
        values = [name for name in names if name != "timestamp"]
        for code, rows, events, again, by_hour, outside, impossible, absurd, *others in sums:
            bad, duplicates, content_bytes, *counts = others
            filled = dict(zip(values, counts, strict=True))
            contents.rows += rows
            contents.events += events
            contents.again += again
            contents.events_by_hour.update(by_hour or {})
            contents.outside += Dropped(*outside)
            contents.impossible += Dropped(*impossible)
            contents.absurd += absurd
            contents.bad += bad
            contents.duplicates = max(contents.duplicates, DuplicateStrategy(duplicates))
            contents.content_bytes += content_bytes
            contents.filled.update(filled)
            if code is not None:
                contents.by_type.append((code, rows, filled))
            else:
                contents.unknown_types = min(events, filled["type"])
        return contents

    def check_range(self, now: int) -> None:
        """Check that the rows, if there are any, are those of the window.

        Args:
            now: The present time, in milliseconds.

        Raises:
            FileError: No row is inside the window or exactly at its ``end``, or more rows
                have timestamps in another unit than are inside.
        """
        span = "from {} to {}".format(*self.outside.between)
        if self.absurd > self.events:
            instants = self.outside.first or 0, self.outside.last or 0
            fitting = [
                unit
                for unit, size in UNITS.items()
                if any(YEAR_2000 <= instant * size <= now + DAY for instant in instants)
            ]
            likely = f"look like {fitting[0]}" if fitting else "fit no known unit"
            raise FileError(
                f"{self.absurd:,} of its {self.rows:,} rows are before the year 2000 or more than "
                f"a day in the future ({span}): the timestamps {likely}; "
                "check the order in the setting columns, or contact Barchart support"
            )
        if self.rows and self.outside.rows == self.rows:
            raise FileError(
                f"none of its {self.rows:,} rows is inside this window: they are {span}, so the "
                "service, or a cache in between, sent another export; run again, and if the error "
                "persists, contact Barchart support"
            )

    def check_types(self, product: str, of_others: Mapping[str, str]) -> None:
        """Check that no row has an event type of another product, by code → product.

        Raises:
            FileError: A row has one.
        """
        for code, *_ in self.by_type:
            if code in of_others:
                raise FileError(
                    f"it has rows of the event type {code}, which belongs to product "
                    f"{of_others[code]} and not to {product}, and the service named no product for "
                    f"the export, so it may not recognise {product}; check products"
                )
