"""How the range that a sync covers is split into windows, and how large each one is.

Pure: no clock, no thread, no file. The planner receives the results of the windows that it issued,
and returns the next window. All instants are whole milliseconds since the epoch, UTC.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tap_barchart_events.exports.ranges import Remainder
from tap_barchart_events.windows import HOUR, cut_unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tap_barchart_events.windows import Window

MINUTE = 60_000
WEEK_HOURS = 168

FIRST_SIZE = 24 * HOUR
"""Size of the first window of a product that nothing is known about."""
FIRST_STEP = 4
"""While nothing is known, each window in flight is this many times smaller than the one before."""
HOURS_FOR_ONE = 4
"""How many hours a window may have for each hour of the week that is known."""

LIMIT_SHARE = 0.7
"""Share of the limit that a window aims at: forecasts are wrong by some tens of per cent."""
GROWTH = 2
"""While no export was too large, a window aims at this many times what has fitted."""
FEW_EVENTS = 100
"""Events that any export holds, most likely."""
SLACK = 0.2
"""Share of a window by which windows may exceed their aim, rather than leave a small one over."""
FAR_FROM_LIMIT = 0.35
"""An export that holds less than this share of the limit shows nothing about the limit."""
LOWERED, RAISED = 0.97, 1.002
"""Factors to the limit after a window that was too large unexpectedly, and after one that fitted.
In balance one window in 16 is too large."""
NEW_SHARE = 0.9
"""How much of an hour's earlier count a new one replaces."""
TREND_POWER = 0.1
"""How strongly a window's ratio of counted to expected events changes the trend."""
MAX_RATIO = 2.0
"""Upper bound of the trend and of the ratios that change it; the lower one is its inverse."""
LARGE_CHANGE = 1.25
"""A change of the limit by this factor is reported."""

MAX_EVENTS = 1e12
"""More events in an export than any service holds."""


@dataclass(slots=True)
class Knowledge:
    """What sizes the windows of a product; nothing in it changes what is extracted."""

    fits: float = 0.0
    """The most events that an export was seen to hold, at least 1; 0 before the first export."""
    limit: float | None = None
    """The events that are believed to be too many; None before a window was too large."""
    trend: float = 1.0
    """How many times more events than expected came lately."""
    hours: list[float | None] = field(default_factory=lambda: [None] * WEEK_HOURS)
    """Events by hour of the week, which begins on Thursday as the epoch does; None: unknown."""

    def rates(self) -> list[float]:
        """Return the expected events of each hour of the week; none if no hour is known."""
        known = [rate for rate in self.hours if rate is not None]
        if not known:
            return []
        mean = sum(known) / len(known)
        rates = []
        for hour, rate in enumerate(self.hours):
            same = [other for other in self.hours[hour % 24 :: 24] if other is not None]
            rates.append(self.trend * (max(same, default=mean) if rate is None else rate))
        return rates

    def observe_hours(
        self, window: Window, events_by_hour: Mapping[int, int], trend_from: int
    ) -> None:
        """Learn the hours of a window, and the trend from an instant on."""
        rates = self.rates()
        counted = expected = 0.0
        for hour in range(window.start // HOUR, -(-window.end // HOUR)):
            share = (min(window.end, (hour + 1) * HOUR) - max(window.start, hour * HOUR)) / HOUR
            events, of_week = events_by_hour.get(hour, 0), hour % WEEK_HOURS
            if rates and hour * HOUR >= trend_from:
                counted += events
                expected += rates[of_week] * share
            rate, old = events / share, self.hours[of_week]
            self.hours[of_week] = rate if old is None else old + NEW_SHARE * share * (rate - old)
        ratio = _bounded((counted + 1) / (expected + 1))
        self.trend = _bounded(self.trend * ratio**TREND_POWER)

    def fitted(self, events: int) -> None:
        """Learn that an export held so many events."""
        self.fits = max(self.fits, events, 1.0)
        if self.limit is not None:
            raised = RAISED if events > FAR_FROM_LIMIT * self.limit else 1.0
            self.limit = max(self.limit * raised, events)

    def failed(self, expected: float, *, is_part: bool) -> None:
        """Learn that a window was too large that was expected to hold so many events.

        A part of such a window that is too large itself, against all expectation, shows a burst of
        events, or a service that refuses all: the limit is lowered once for all of them.
        """
        if not self.fits:
            return
        if expected > self.fits:
            self.limit = min(expected, self.limit or expected)
        elif not self.limit:
            self.limit = self.fits
        elif not is_part:
            self.limit *= LOWERED
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
    def from_json(cls, value: object) -> Knowledge:
        """Read what `to_json` wrote. What is damaged, or missing, counts as not learnt."""
        sizes = value.get("sizes") if isinstance(value, dict) else None
        numbers = [_number(text) for text in str(sizes).split()]
        if len(numbers) != WEEK_HOURS + 3 or not numbers[0]:
            return cls()
        fits, limit, trend, *hours = numbers
        limit = None if limit is None else max(1.0, limit)
        return cls(max(1.0, fits or 0.0), limit, _bounded(trend or 1.0), hours)


class WindowPlanner:
    """The windows of one product, split off one by one from the range that a sync covers.

    The windows issued never overlap. When all have succeeded they cover the range exactly,
    whatever was known before. Each cut is a multiple of `cut_unit`; edges of the range and of
    windows taken stay as they are. A part of a window that was too large lies within it, and is at
    most half of it. `next` returns a window as long as `upcoming` is not None.
    """

    def __init__(
        self,
        span: Window,
        *,
        largest: int,
        smallest: int,
        knowledge: Knowledge | None = None,
        bookmark: int | None = None,
        taken: Iterable[Window] = (),
        jobs: int = 4,
    ) -> None:
        """Plan a range.

        Args:
            span: What is covered, in milliseconds.
            largest: Largest size of a window, in milliseconds (``window_hours``).
            smallest: Size below which no window is split (``min_window_seconds``).
            knowledge: What earlier runs have learnt. It is not changed.
            bookmark: Where an earlier run ended: hours before it do not change the trend.
            taken: Windows in the range, disjoint, whose exports exist already: not issued.
            jobs: How many jobs may be in flight at once.
        """
        self.span = span
        self._largest = largest
        self._smallest = smallest
        self._unit = cut_unit(smallest)
        self._jobs = jobs
        self._known = deepcopy(knowledge or Knowledge())
        self._reported_limit = self._known.limit
        self._trend_from = span.start if bookmark is None else bookmark
        self._left = Remainder(span, taken)
        self._in_flight: dict[Window, bool] = {}
        """Window → whether it is a part of one that was too large."""
        self._split: list[Window] = []
        """Windows that were too large, until all of their range is issued again."""

    @property
    def upcoming(self) -> int | None:
        """Start of the earliest range not issued; None if all is issued."""
        return self._left.first.start if self._left.first else None

    @property
    def events_left(self) -> float | None:
        """Expected events in what is not issued; None if nothing is known."""
        rates = self._known.rates()
        if not rates:
            return None
        return sum(_events(rates, part.start, part.end) for part in self._left)

    @property
    def windows_left(self) -> int:
        """How many windows what is not issued needs, as far as known."""
        events = self.events_left if self._known.fits else None
        size = self._largest if events is not None else min(self._largest, FIRST_SIZE)
        by_size = sum(-(-part.size // size) for part in self._left)
        return max(by_size, math.ceil(events / self._aim)) if events else by_size

    def learnt(self) -> dict[str, object]:
        """Return what is known by now, as JSON for STATE."""
        return self._known.to_json()

    def size_changed(self) -> str | None:
        """Return why the size of windows has changed, once; None if it has not."""
        limit, reported = self._known.limit, self._reported_limit
        if not limit or (reported and reported / LARGE_CHANGE < limit < reported * LARGE_CHANGE):
            return None
        self._reported_limit = limit
        what = "moved" if reported else "found"
        return f"limit {what}: an export holds about {limit:,.0f} events"

    def next(self) -> Window | None:
        """Issue the earliest window not issued; None if all is issued."""
        gap = self._left.first
        if not gap:
            return None
        start, limit, most = gap.start, gap.end, self._largest
        self._split = [window for window in self._split if window.end > start]
        around = [window for window in self._split if window.start <= start]
        if around:
            too_large = min(around, key=lambda window: window.size)
            limit, most = min(limit, too_large.end), min(most, -(-too_large.size // 2))
        rates = self._known.rates() if self._known.fits else []
        end = start + max(self._smallest, min(most, self._size_by_time(rates)))
        if end < limit < end + MINUTE:  # no window of seconds
            half = start + max(self._smallest, min(most, (limit - start) // 2))
            end = limit if limit - start <= most else half
        if rates and not self._is_taken_to_fit:
            end = min(end, max(self._reach(rates, start, limit), start + self._smallest))
        window = self._left.take(limit if end >= limit else end // self._unit * self._unit)
        self._in_flight[window] = bool(around)
        return window

    def counted(self, window: Window, events_by_hour: Mapping[int, int]) -> None:
        """Learn the events of a finished export.

        Args:
            window: The window; its export may be one that was taken over.
            events_by_hour: Hours since the epoch → events; hours without events may be missing.
        """
        self._in_flight.pop(window, None)
        self._known.fitted(sum(events_by_hour.values()))
        self._known.observe_hours(window, events_by_hour, self._trend_from)

    def too_large(self, window: Window) -> bool:
        """Take back a window whose job was too large, to issue it in smaller ones.

        Returns:
            False if the window may not be split any further.
        """
        is_part = self._in_flight.pop(window, False)
        if window.size <= self._smallest:
            return False
        expected = _events(self._known.rates(), window.start, window.end)
        self._known.failed(expected, is_part=is_part)
        self._split.append(window)
        self._left.put_back(window)
        return True

    def give_back(self, window: Window) -> None:
        """Issue a range again whose export turned out to be unusable."""
        self._in_flight.pop(window, None)
        self._left.put_back(window)

    @property
    def _is_taken_to_fit(self) -> bool:
        """Whether ``window_hours`` states the size of windows, and none was too large yet."""
        return self._known.limit is None and self._largest <= FIRST_SIZE

    @property
    def _aim(self) -> float:
        known = self._known
        if known.limit is None:
            return max(GROWTH * known.fits, FEW_EVENTS)
        return LIMIT_SHARE * known.limit

    def _size_by_time(self, rates: list[float]) -> int:
        """Return how large a window may be, however few events are expected.

        A quiet hour shows little about a month: as long as nothing was too large, a window is at
        most `HOURS_FOR_ONE` times as long as the hours of the week that are known.
        """
        known = sum(rate is not None for rate in self._known.hours)
        if self._is_taken_to_fit or (rates and (self._known.limit or known == WEEK_HOURS)):
            return self._largest
        if rates:
            return HOURS_FOR_ONE * known * HOUR
        size = min((window.size // FIRST_STEP for window in self._split), default=FIRST_SIZE)
        return int(size / FIRST_STEP ** min(len(self._in_flight), self._jobs - 1))

    def _reach(self, rates: list[float], start: int, limit: int) -> int:
        """Return where the expected events reach the aim, at an instant at the latest.

        What is left until then is divided into windows of equal events.
        """
        total = _events(rates, start, limit)
        windows = math.ceil(total / self._aim - SLACK)
        if windows <= 1 or total <= self._known.fits:
            return limit
        missing = total / windows
        for begin, end, events in _parts(rates, start, limit):
            if events >= missing:
                return begin + math.ceil((end - begin) * missing / events)
            missing -= events
        return limit


def _parts(rates: list[float], start: int, end: int) -> Iterator[tuple[int, int, float]]:
    """Yield the parts of a range by hours: start, end, expected events."""
    while start < end:
        hour = start // HOUR
        edge = min(end, (hour + 1) * HOUR)
        yield start, edge, rates[hour % WEEK_HOURS] * (edge - start) / HOUR
        start = edge


def _events(rates: list[float], start: int, end: int) -> float:
    """Return the expected events of a range, quickly for years too; 0 without rates."""
    if not rates:
        return 0.0
    weeks = (end - start) // (WEEK_HOURS * HOUR)
    rest = _parts(rates, start + weeks * WEEK_HOURS * HOUR, end)
    return weeks * sum(rates) + sum(events for _, _, events in rest)


def _bounded(ratio: float) -> float:
    return min(MAX_RATIO, max(1 / MAX_RATIO, ratio))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number <= MAX_EVENTS else None
