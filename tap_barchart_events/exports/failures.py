"""Windows that were too large, until all their parts are counted.

Pure: no clock, no thread, no file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tap_barchart_events.windows import Window

MOST_FAILURES = 256
"""Windows that are kept, at most; older ones are dropped, as some may never be counted in full."""


@dataclass(slots=True)
class Failure:
    """A window that was too large."""

    window: Window
    events: float
    """How many events it holds at least, by what was known when it failed."""
    nested: bool
    """Whether it was itself a part of a window that was too large."""
    counted_size: int = 0
    """Milliseconds of it that are counted."""
    counted_events: int = 0
    """Events of these; exactly those of the window once all of it is counted."""
    largest_part: int = 0
    """Events of the largest part that fitted."""


@dataclass(slots=True)
class Failures:
    """The windows too large of one product."""

    _open: list[Failure] = field(default_factory=list)

    def add(self, window: Window, events: float) -> None:
        """Keep a window that holds at least so many events."""
        nested = self.around(window.start) is not None
        self._open = [*self._open[1 - MOST_FAILURES :], Failure(window, events, nested)]

    def around(self, instant: int) -> Failure | None:
        """Return the smallest window around an instant."""
        around = (f for f in self._open if f.window.start <= instant < f.window.end)
        return min(around, key=lambda failure: failure.window.size, default=None)

    def smallest(self, otherwise: int) -> int:
        """Return the size of the smallest window."""
        return min((failure.window.size for failure in self._open), default=otherwise)

    def count(self, part: Window, events: int) -> list[Failure]:
        """Add a finished part, and return the windows whose events are known exactly by it."""
        complete = []
        for failure in self._open:
            if failure.window.start <= part.start and part.end <= failure.window.end:
                failure.counted_size += part.size
                failure.counted_events += events
                failure.largest_part = max(failure.largest_part, events)
                if failure.counted_size >= failure.window.size:
                    complete.append(failure)
        self._open = [failure for failure in self._open if failure not in complete]
        return complete
