"""Late events: how many more a range holds than when an earlier run has read it. Pure."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tap_barchart_events.windows import HOUR, Window

MAX_HOURS = 48
"""Hours whose counts STATE keeps, the newest ones."""

MAX_TEXT = 1_000
"""Characters of these counts in STATE."""


@dataclass(slots=True)
class LateEvents:
    """Events of a product by hour, compared with what the run before has counted.

    Hours are whole ones since the epoch. Only those are counted that a run has read in full.
    """

    start: int
    """Where this run begins to read, in milliseconds."""
    bookmark: int | None = None
    """Where the run before ended, in milliseconds."""
    before: dict[int, int] = field(default_factory=dict)
    """Hour → events, as the run before has counted them."""
    counted: dict[int, int] = field(default_factory=dict)
    """Hour → events, as this run has."""
    by_hour: Counter[int] = field(default_factory=Counter)
    """Hour → late events."""
    _open: Counter[int] = field(default_factory=Counter)
    """Hour → events, of one that has not been read to its end."""

    def __post_init__(self) -> None:
        """Forget hours that lie after the bookmark, as after it was set back."""
        end = (self.bookmark or 0) // HOUR
        self.before = {hour: events for hour, events in self.before.items() if hour < end}

    @property
    def compared(self) -> list[int]:
        """The hours that both runs read in full, before the bookmark."""
        return [hour for hour in sorted(self.before) if self.start <= hour * HOUR]

    @property
    def hours(self) -> int:
        """How far before the bookmark the oldest hour with a late event begins, rounded up."""
        if self.bookmark is None or not self.by_hour:
            return 0
        return math.ceil(self.bookmark / HOUR) - min(self.by_hour)

    @property
    def reaches_the_lookback(self) -> bool:
        """Whether the oldest quarter of the hours compared has late events.

        STATE keeps the counts of the newest hours of a longer lookback only, which show nothing.
        """
        compared = self.compared
        if compared[:1] != [math.ceil(self.start / HOUR)]:
            return False
        return any(hour in self.by_hour for hour in compared[: math.ceil(len(compared) / 4)])

    def read(self, window: Window, events_by_hour: Mapping[int, int]) -> None:
        """Count the events of the next window in the order of time."""
        self._open.update(events_by_hour)
        compared = {*self.compared}
        for hour in range(window.start // HOUR, window.end // HOUR):
            events = self._open.pop(hour, 0)
            if hour * HOUR >= self.start:
                self.counted[hour] = events
                if hour in compared and events > self.before[hour]:
                    self.by_hour[hour] = events - self.before[hour]

    def to_text(self, start: int) -> str:
        """Return what STATE keeps: the first hour, and the counts from then on.

        Args:
            start: Where the next run will begin to read, in milliseconds.
        """
        counts = self.before | self.counted
        first = max(math.ceil(start / HOUR), max(counts, default=0) + 1 - MAX_HOURS)
        hours = sorted(hour for hour in counts if hour >= first)
        if not hours:
            return ""
        known = (counts.get(hour, "-") for hour in range(hours[0], hours[-1] + 1))
        return " ".join(map(str, (hours[0], *known)))

    @staticmethod
    def counts_in(text: object) -> dict[int, int]:
        """Read what ``to_text`` returned; a damaged part counts as unknown."""
        first, *counts = str(text)[:MAX_TEXT].split() or [""]
        if not first.isdecimal() or len(first) > 9:
            return {}
        numbers = enumerate(counts[:MAX_HOURS], int(first))
        return {hour: int(count) for hour, count in numbers if count.isdecimal()}
