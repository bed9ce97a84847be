"""How the range that a sync covers is split into windows, and how large each one is.

Pure: no clock, no thread, no file. The planner returns the next window, and receives the results of
the windows that it issued. All instants are whole milliseconds since the epoch, UTC.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tap_barchart_events.windows import HOUR, MINUTE, Window, cut_before

WEEK_HOURS = 168

FIRST_SIZE = 24 * HOUR
"""Size of the first window of a product about which nothing is known."""
FIRST_STEP = 4
"""While nothing is known, each window in flight is this many times smaller than the one before, and
so are the parts of one that was too large."""

LIMIT_SHARE = 0.7
"""Share of the limit that a window aims at: forecasts are off by tens of per cent."""
GROWTH, FIRST_GROWTH = 2, 4
"""Until an export is too large, a window aims at this many times the events that have fitted: at
the second number while at most `FIRST_HOURS` of the week are known."""
FIRST_HOURS = 48
"""More than the first windows in flight cover together, 24 + 6 + 1.5 + ... = 32 hours, and fewer
than these and the next ones do."""
FAR_FROM_LIMIT = 0.35
"""An export that holds less than this share of the limit shows nothing about the limit."""
LOWERED, RAISED = 0.97, 1.002
"""Factors applied to the limit after a window that was unexpectedly too large, and after one that
fitted. In balance, one window in 16 is too large."""
NEW_SHARE = 0.9
"""Share of an hour's earlier count that a new count replaces."""
MIN_SHARE = 1 / 60
"""Share of an hour below which its first count is not extrapolated further: otherwise, a one-second
burst would split each such hour of later weeks into a thousand windows."""
TREND_POWER = 0.1
"""How strongly a window's ratio of counted to expected events changes the trend."""
MAX_RATIO = 2.0
"""Upper bound of the trend and of the ratios that change it; the lower one is its inverse."""

MAX_EVENTS = 1e12
"""More events than any export holds."""


@dataclass(slots=True)
class Knowledge:
    """What sizes the windows of a product; nothing in it changes what is extracted."""

    fits: float = 0.0
    """The most events that an export held, at least 1; 0 before the first export."""
    limit: float | None = None
    """The number of events from which an export counts as too large; None until a window was too
    large."""
    trend: float = 1.0
    """Ratio of recent events to expected events."""
    hours: list[float | None] = field(default_factory=lambda: [None] * WEEK_HOURS)
    """Events by hour of the week, which begins on Thursday as the epoch does; None: unknown."""

    def rates(self) -> list[float]:
        """Return the expected events of each hour of the week; none if no hour is known."""
        known = [rate for rate in self.hours if rate is not None]
        if not known:
            return []
        mean = sum(known) / len(known)
        known_of = [[rate for rate in self.hours[n::24] if rate is not None] for n in range(24)]
        of_days = [max(rates, default=mean) for rates in known_of]
        rates = (of_days[n % 24] if rate is None else rate for n, rate in enumerate(self.hours))
        return [self.trend * rate for rate in rates]

    def observe_hours(
        self, window: Window, events_by_hour: Mapping[int, int], trend_from: int
    ) -> tuple[int, float]:
        """Learn the hours of a window, and the trend from an instant on.

        Returns:
            The events from that instant on in known hours of the week, and how many were expected.
        """
        rates, seen, known = self.rates(), 0, 0.0
        counted = expected = 0.0
        for hour, share in _hours(window.start, window.end):
            events, of_week = events_by_hour.get(hour, 0), hour % WEEK_HOURS
            old = self.hours[of_week]
            if rates and hour * HOUR >= trend_from:
                counted += events
                expected += rates[of_week] * share
                if old is not None:
                    seen, known = seen + events, known + rates[of_week] * share
            if old is None:
                self.hours[of_week] = events / max(share, MIN_SHARE)
            else:
                self.hours[of_week] = old + NEW_SHARE * (events - share * old)
        self.trend *= _bounded((counted + 1) / (expected + 1)) ** TREND_POWER
        self.trend = _bounded(self.trend)
        return seen, known

    def fitted(self, events: int) -> None:
        """Learn that an export held this many events."""
        self.fits = max(self.fits, events, 1.0)
        if self.limit is not None:
            raised = RAISED if events > FAR_FROM_LIMIT * self.limit else 1.0
            self.limit = max(self.limit * raised, events)

    def failed(self, expected: float) -> None:
        """Learn that a window expected to hold this many events was too large."""
        if not self.fits:
            return
        if expected > self.fits:
            self.limit = min(expected, self.limit or expected)
        else:
            self.limit = LOWERED * self.limit if self.limit else self.fits
        self.fits = min(self.fits, self.limit)

    def to_json(self) -> dict[str, object]:
        """Return a JSON object of at most 1.5 kB; an empty one if nothing was learnt.

        It is text: targets of the Singer SDK read a number with a fraction as Decimal, and then
        cannot write the STATE.
        """
        if not self.fits:
            return {}
        numbers = [self.fits, self.limit, self.trend, *self.hours]
        texts = ("-" if number is None else f"{number:.3g}" for number in numbers)
        return {"sizes": " ".join(texts).replace("e+0", "e")}

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Knowledge:
        """Read what `to_json` wrote. Anything damaged or missing counts as not learnt."""
        numbers = [_number(text) for text in str(value.get("sizes")).split()]
        if len(numbers) != WEEK_HOURS + 3 or not numbers[0]:
            return cls()
        fits, limit, trend, *hours = numbers
        limit = None if limit is None else max(1.0, limit)
        return cls(max(1.0, fits or 0.0), limit, _bounded(trend or 1.0), hours)


@dataclass(eq=False)
class WindowPlanner:
    """The windows of one product, split off one by one from the range that a sync covers.

    The windows issued never overlap. When all have succeeded they cover the range exactly,
    whatever was known before. Each cut is one of `cut_before`; edges of the range and of
    windows taken stay as they are. A part of a window that was too large lies within it, and is at
    most half of it. `next` returns a window as long as `upcoming` is not None.
    """

    span: Window
    """What is covered, in milliseconds."""
    largest: int
    """Largest size of a window, in milliseconds (``window_hours``)."""
    smallest: int
    """Size below which no window is split (``min_window_seconds``)."""
    known: Knowledge = field(default_factory=Knowledge)
    """What earlier runs have learnt; it is updated."""
    bookmark: int | None = None
    """Where an earlier run ended: hours before it do not change the trend."""
    jobs: int = 4
    """How many jobs may be in flight at once."""

    def __post_init__(self) -> None:
        """Issue nothing yet."""
        self._left = [(self.span, self.largest)] if self.span.size else []
        """What is not issued, in time order, and how large a window of it may be."""
        self._in_flight: set[Window] = set()
        self.expected = 0.0
        """Events expected after the bookmark, in finished windows, by known hours of the week."""
        self.seen = 0
        """Events that these hours held."""

    @property
    def upcoming(self) -> int | None:
        """Start of the earliest range not issued; None if all is issued."""
        return self._left[0][0].start if self._left else None

    def expected_after(self, instant: int) -> float | None:
        """Return how many events are expected from an instant on; None if nothing is known."""
        rates = self.known.rates()
        if not rates and instant < self.span.end:
            return None
        return _events(rates, instant, self.span.end)

    def next(self) -> Window | None:
        """Issue the earliest window not issued; None if all is issued."""
        if not self._left:
            return None
        part, largest = self._left[0]
        start, size = part.start, max(self.smallest, min(largest, self._largest_by_time()))
        end = min(start + size, part.end)
        if self.known.rates() and not self._is_taken_to_fit:
            end = min(max(self._end_by_events(start, end), start + self.smallest), part.end)
        rest = part.end - end
        if 0 < rest < min(MINUTE, end - start):  # too short for a window of its own
            total = part.end - start
            if total <= size:
                end = part.end
            elif total // 2 >= self.smallest:
                end = start + total // 2
        if end < part.end:
            end = cut_before(end, end - start, self.smallest)
        window = Window(start, end)
        self._left[:1] = [(Window(end, part.end), largest)] if end < part.end else []
        self._in_flight.add(window)
        return window

    def take(self, window: Window) -> bool:
        """Do not issue a window whose export exists already.

        Returns:
            False if it does not lie within what is left, or is larger than allowed.
        """
        for at, (part, largest) in enumerate(self._left):
            if part.start <= window.start < window.end <= part.end and window.size <= largest:
                around = Window(part.start, window.start), Window(window.end, part.end)
                self._left[at : at + 1] = [(rest, largest) for rest in around if rest.size]
                return True
        return False

    def give_back(self, window: Window) -> None:
        """Take back a window whose export turned out to be unusable, to issue it again."""
        bisect.insort(self._left, (window, self.largest))

    def end_at(self, instant: int) -> None:
        """Issue nothing from an instant on."""
        self.span = Window(self.span.start, max(self.span.start, min(self.span.end, instant)))
        self._left = [
            (Window(part.start, min(part.end, instant)), largest)
            for part, largest in self._left
            if part.start < instant
        ]

    def counted(self, window: Window, events_by_hour: Mapping[int, int]) -> None:
        """Learn the events of a finished export.

        Args:
            window: The window; its job may be a resumed one.
            events_by_hour: Hours since the epoch → events; hours without events may be missing.
        """
        self._in_flight.discard(window)
        self.known.fitted(sum(events_by_hour.values()))
        trend_from = self.span.start if self.bookmark is None else self.bookmark
        seen, expected = self.known.observe_hours(window, events_by_hour, trend_from)
        if self.bookmark is not None:
            self.seen, self.expected = self.seen + seen, self.expected + expected

    def too_large(self, window: Window) -> bool:
        """Take back a window whose job was too large, to issue it in smaller ones.

        Returns:
            False if the window may not be split any further.
        """
        self._in_flight.discard(window)
        if window.size <= self.smallest:
            return False
        parts = 2 if self.known.fits else FIRST_STEP
        self.known.failed(_events(self.known.rates(), window.start, window.end))
        bisect.insort(self._left, (window, -(-window.size // parts)))
        return True

    @property
    def _is_taken_to_fit(self) -> bool:
        """Whether ``window_hours`` states the size of windows, and none was too large so far."""
        return self.known.limit is None and self.largest <= FIRST_SIZE

    def _largest_by_time(self) -> int:
        """Return how large a window may be, however few events are expected."""
        if self._is_taken_to_fit or self.known.rates():
            return self.largest
        return int(FIRST_SIZE / FIRST_STEP ** min(len(self._in_flight), self.jobs - 1))

    def _end_by_events(self, start: int, end: int) -> int:
        """Return where a window reaches the events that it aims at."""
        known, rates = self.known, self.known.rates()
        growth = GROWTH if WEEK_HOURS - known.hours.count(None) > FIRST_HOURS else FIRST_GROWTH
        missing = growth * known.fits if known.limit is None else LIMIT_SHARE * known.limit
        for hour, share in _hours(start, end):
            events = rates[hour % WEEK_HOURS] * share
            if events >= missing:
                return max(start, hour * HOUR) + math.ceil(share * HOUR * missing / events)
            missing -= events
        return end


def _hours(start: int, end: int) -> Iterator[tuple[int, float]]:
    """Yield the hours since the epoch of a range, and the share of each that lies in it."""
    for hour in range(start // HOUR, -(-end // HOUR)):
        yield hour, (min(end, (hour + 1) * HOUR) - max(start, hour * HOUR)) / HOUR


def _events(rates: Sequence[float], start: int, end: int) -> float:
    """Return the expected events of a range, quickly even for years; 0 without rates."""
    if not rates:
        return 0.0
    weeks = (end - start) // (WEEK_HOURS * HOUR)
    rest = _hours(start + weeks * WEEK_HOURS * HOUR, end)
    return weeks * sum(rates) + sum(rates[hour % WEEK_HOURS] * share for hour, share in rest)


def _bounded(ratio: float) -> float:
    return min(MAX_RATIO, max(1 / MAX_RATIO, ratio))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number <= MAX_EVENTS else None
