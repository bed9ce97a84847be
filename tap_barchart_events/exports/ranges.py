"""What a sync covers of a product, and what of that is not issued as a window yet.

Pure: no clock, no thread, no file. All instants are whole milliseconds since the epoch, UTC.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

from tap_barchart_events.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def range_to_cover(
    *, start: int, end: int | None, bookmark: int | None, lookback: int, latest: int
) -> Window:
    """Return the range of time that a sync of one product covers, possibly empty.

    Args:
        start: ``start_date``; nothing before it is covered.
        end: ``end_date``, exclusive, or None.
        bookmark: End of the last finished window, or None before the first.
        lookback: How far before the bookmark to begin, in milliseconds.
        latest: Now minus the lag: nothing from here on is covered.
    """
    first = start if bookmark is None else max(start, bookmark - lookback)
    last = latest if end is None else min(end, latest)
    return Window(first, max(first, last))


class Remainder:
    """What is left of a range. Its parts are in the order of time and never touch."""

    def __init__(self, span: Window, taken: Iterable[Window] = ()) -> None:
        """Take a range, without some disjoint windows in it."""
        self._parts = [span] if span.size else []
        for window in sorted(taken):
            last = self._parts.pop()
            ends = Window(last.start, window.start), Window(window.end, last.end)
            self._parts += [part for part in ends if part.size]

    def __iter__(self) -> Iterator[Window]:
        """Iterate over the parts."""
        return iter(self._parts)

    @property
    def first(self) -> Window | None:
        """The earliest part; None if nothing is left."""
        return self._parts[0] if self._parts else None

    def take(self, end: int) -> Window:
        """Take the earliest part away, up to an instant within it or at its end; return that."""
        part = self._parts[0]
        self._parts[:1] = [Window(end, part.end)] if end < part.end else []
        return Window(part.start, end)

    def put_back(self, window: Window) -> None:
        """Add a window that was taken."""
        at = bisect.bisect(self._parts, window)
        start, end = window.start, window.end
        if at < len(self._parts) and self._parts[at].start == end:
            end = self._parts.pop(at).end
        if at and self._parts[at - 1].end == start:
            at -= 1
            start = self._parts.pop(at).start
        self._parts.insert(at, Window(start, end))
