"""What a sync covers, and how that range is cut into windows.

Pure: no clock, no thread, no file. All instants are whole milliseconds since the epoch, UTC.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tap_barchart_events.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


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


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What was learnt about one product's exports, for the next run. Nothing so far."""

    @classmethod
    def from_json(cls, value: object) -> Knowledge:  # noqa: ARG003
        """Return what a JSON value holds; anything unusable is left out, never an error."""
        return cls()

    def to_json(self) -> dict[str, Any]:
        """Return a JSON value that ``from_json`` reads."""
        return {}

    def capacity_only(self) -> Knowledge:
        """Return what also holds for another product: how much one export holds."""
        return self


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

    def __init__(
        self,
        span: Window,
        *,
        largest: int,
        smallest: int,
        knowledge: Knowledge | None = None,
        taken: Iterable[Window] = (),
        jobs: int = 4,
    ) -> None:
        """Hand out nothing yet.

        Args:
            span: What is covered, in milliseconds.
            largest: Largest size of a window, in milliseconds (``window_hours``).
            smallest: Size in milliseconds below which no window is split
                (``min_window_seconds``).
            knowledge: What an earlier run learnt.
            taken: Windows within ``span`` that are under way already and do not overlap: they
                are not handed out.
            jobs: How many windows are exported side by side.
        """
        self.span = span
        self._largest = largest
        self._smallest = smallest
        self._knowledge = knowledge or Knowledge()
        self._jobs = jobs
        self._size = largest
        self._gaps = [gap for gap in _between(span, taken) if gap.size]
        self._probe: Window | None = None
        self._probing = False
        self._successes = 0
        self._successes_needed = 1

    @property
    def windows_left(self) -> int:
        """How many windows of the present size the range not handed out needs."""
        return sum(-(-gap.size // self._size) for gap in self._gaps)

    @property
    def events_left(self) -> float | None:
        """How many events the range not handed out is expected to hold; None if unknown."""
        return None

    @property
    def upcoming(self) -> int | None:
        """Where the next window to hand out starts; None if all are handed out."""
        return self._gaps[0].start if self._gaps else None

    def next(self) -> Window | None:
        """Hand out the earliest window not handed out; None if there is none just now."""
        if not self._gaps or self._probe:
            return None
        size = self._size
        grows = size < self._largest and self._successes >= self._successes_needed
        if grows:
            size = min(size * 2, self._largest)
        gap = self._gaps[0]
        window = Window(gap.start, min(gap.start + size, gap.end))
        if window.end == gap.end:
            self._gaps.pop(0)
        else:
            self._gaps[0] = Window(window.end, gap.end)
        if self._probing or (grows and window.size > self._size):
            self._probe = window
        return window

    def ready(self, window: Window, seconds: float) -> None:  # noqa: ARG002
        """Learn that a window's job completed, and how long it took in seconds."""
        if window == self._probe:
            self._probe = None
            if not self._probing:
                self._size = min(self._size * 2, self._largest)
                self._successes, self._successes_needed = 0, 1
            self._probing = False
        if window.size >= self._size:
            self._successes += 1

    def counted(self, window: Window, events_by_hour: Mapping[int, int]) -> None:
        """Learn the events of a window, by whole hours since the epoch."""

    def too_large(self, window: Window, seconds: float) -> bool:  # noqa: ARG002
        """Take back a window that is too large, to hand it out in smaller ones.

        Args:
            window: The window.
            seconds: How long its job took.

        Returns:
            False if the window may not be split any further.
        """
        if window.size <= self._smallest:
            return False
        half = max(self._smallest, -(-window.size // 2))
        if window == self._probe:
            self._probe = None
            if not self._probing:
                self._successes_needed *= 2
        elif self._probe and window < self._probe:
            self._probe = None  # what comes first must never wait for what comes later
        if half < self._size:
            self._probing = True
        self._size = min(self._size, half)
        self._successes = 0
        self._insert(window)
        return True

    def give_back(self, window: Window) -> None:
        """Take back a window that was not exported, to hand its range out again."""
        if window == self._probe:
            self._probe = None
        self._insert(window)

    def knowledge(self) -> Knowledge:
        """Return what is known by now."""
        return self._knowledge

    def size_changed(self) -> str | None:
        """Return why the size last changed, if a user should read it; None the second time."""
        return None

    def _insert(self, window: Window) -> None:
        at = bisect.bisect(self._gaps, window)
        start, end = window.start, window.end
        if at < len(self._gaps) and self._gaps[at].start == end:
            end = self._gaps.pop(at).end
        if at and self._gaps[at - 1].end == start:
            at -= 1
            start = self._gaps.pop(at).start
        self._gaps.insert(at, Window(start, end))


def _between(span: Window, taken: Iterable[Window]) -> Iterable[Window]:
    start = span.start
    for window in sorted(taken):
        yield Window(start, window.start)
        start = window.end
    yield Window(start, span.end)
