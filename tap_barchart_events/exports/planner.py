"""What a sync covers, and how that range is cut into windows.

Pure: no clock, no thread, no file. All instants are whole milliseconds since the epoch, UTC.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

from tap_barchart_events.windows import Window


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


@dataclass(slots=True)
class WindowPlanner:
    """The windows of one product, cut one by one from the range that a sync covers.

    The windows handed out never overlap, and when all have succeeded they cover the range
    exactly. A window that is too large goes back and is handed out again in halves, and
    again, down to ``smallest``. The size that worked is kept for the windows that follow
    and grows back by doubling.

    For events spread evenly, where the range needs at least n exports, at most
    ``2n + m + 2·log2(largest/smallest) + log2(n) + 2`` windows are handed out, m being the
    windows that were under way when the first one proved too large: after that first one, a
    smaller size is tried with one window at a time until one has succeeded, and after each
    failed try to grow, twice as many successes are waited for as before.
    """

    range: Window
    """What is covered, in milliseconds."""

    largest: int
    """Largest size of a window, in milliseconds (``window_hours``)."""

    smallest: int
    """Size in milliseconds below which no window is split (``min_window_seconds``)."""

    _size: int = field(init=False)
    _gaps: list[Window] = field(init=False)
    _probe: Window | None = field(default=None, init=False)
    _probing: bool = field(default=False, init=False)
    _successes: int = field(default=0, init=False)
    _patience: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        self._size = self.largest
        self._gaps = [self.range] if self.range.size else []

    @property
    def windows_left(self) -> int:
        """How many windows of the present size the range not handed out needs."""
        return sum(-(-gap.size // self._size) for gap in self._gaps)

    @property
    def upcoming(self) -> int | None:
        """Where the next window to hand out starts; None if all are handed out."""
        return self._gaps[0].start if self._gaps else None

    def next(self) -> Window | None:
        """Hand out the earliest window not handed out; None if there is none just now."""
        if not self._gaps or self._probe:
            return None
        size = self._size
        grows = size < self.largest and self._successes >= self._patience
        if grows:
            size = min(size * 2, self.largest)
        gap = self._gaps[0]
        window = Window(gap.start, min(gap.start + size, gap.end))
        if window.end == gap.end:
            self._gaps.pop(0)
        else:
            self._gaps[0] = Window(window.end, gap.end)
        if self._probing or (grows and window.size > self._size):
            self._probe = window
        return window

    def succeeded(self, window: Window) -> None:
        """Learn that the export of a window could be had."""
        if window == self._probe:
            self._probe = None
            if not self._probing:
                self._size = min(self._size * 2, self.largest)
                self._successes, self._patience = 0, 1
            self._probing = False
        if window.size >= self._size:
            self._successes += 1

    def too_large(self, window: Window) -> bool:
        """Take back a window that is too large, to hand it out in smaller ones.

        Returns:
            False if the window may not be split any further.
        """
        if window.size <= self.smallest:
            return False
        half = max(self.smallest, -(-window.size // 2))
        if window == self._probe:
            self._probe = None
            if not self._probing:
                self._patience *= 2
        elif self._probe and window < self._probe:
            self._probe = None  # what comes first must never wait for what comes later
        if half < self._size:
            self._probing = True
        self._size = min(self._size, half)
        self._successes = 0
        self._give_back(window)
        return True

    def _give_back(self, window: Window) -> None:
        at = bisect.bisect(self._gaps, window)
        start, end = window.start, window.end
        if at < len(self._gaps) and self._gaps[at].start == end:
            end = self._gaps.pop(at).end
        if at and self._gaps[at - 1].end == start:
            at -= 1
            start = self._gaps.pop(at).start
        self._gaps.insert(at, Window(start, end))
