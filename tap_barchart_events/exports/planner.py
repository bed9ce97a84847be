"""How the range that a sync covers is split into windows.

Pure: no clock, no thread, no file. The planner receives the results of the windows that it issued,
and returns the next window. All instants are whole milliseconds since the epoch, UTC.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tap_barchart_events.exports.failures import Failures
from tap_barchart_events.exports.knowledge import Knowledge
from tap_barchart_events.exports.ranges import Remainder
from tap_barchart_events.exports.sizing import Sizing
from tap_barchart_events.windows import HOUR, cut_unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tap_barchart_events.exports.failures import Failure
    from tap_barchart_events.windows import Window

FIRST_SIZE = 24 * HOUR
"""Size of the first window of a product that nothing is known about."""

FIRST_STEP = 4
"""Each of the first windows in flight is this many times smaller than the one before."""

KEPT_SHARE = 3 / 4
"""Largest part of a window that was too large, as a share of it. A smaller limit would cut quiet
hours off; a larger one would hardly differ from the window that failed."""

FAR_BELOW = 8
"""A window with fewer events than its forecast divided by this shows that the forecast is wrong
here. After two rounds of such windows the next ones double, without regard to the forecast."""


class _Purpose(enum.Enum):
    """Why a window has its size."""

    FIRST = enum.auto()
    """Nothing is known: it brackets the capacity."""
    GROWTH = enum.auto()
    """Nothing was too large yet: it is larger than what has fitted."""
    ATTEMPT = enum.auto()
    """It is larger than what is known to fit, because that pays if it fits."""
    SAFE = enum.auto()
    """It should fit, by what is known."""


@dataclass(slots=True)
class _IssuedWindow:
    """What was expected of a window that was issued, and why it has its size."""

    events: float
    """Expected events; 0 if nothing was known."""
    deviation: float
    """Standard deviation of their logarithm."""
    purpose: _Purpose
    seconds: float | None = None
    """What its job took, once it is complete."""


class WindowPlanner:
    """The windows of one product, split off one by one from the range that a sync covers.

    The windows issued never overlap. When all have succeeded they cover the range exactly,
    whatever was known before. Each cut is a multiple of `cut_unit`; edges of the range and of
    windows taken stay as they are. `next` returns a window as long as `upcoming` is not None.

    Bounds: let n be events / capacity + range / largest, each rounded up. A part of a window that
    was too large is at most `KEPT_SHARE` of it, a part of a part at most half. So a window is
    split at most 2 + log2(largest/smallest) times, and at most n times that many are too large.
    Measured without prior knowledge: events placed anyhow take at most
    2·(n + jobs + 1)·(2 + log2(largest/smallest)) jobs; evenly spread events take at most
    2n + m + 2·log2(largest/smallest) + log2(n) + 2, for m windows in flight at the first failure.
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
        """Plan a range.

        Args:
            span: What is covered, in milliseconds.
            largest: Largest size of a window, in milliseconds (``window_hours``).
            smallest: Size below which no window is split (``min_window_seconds``).
            knowledge: What earlier runs have learnt. It is not changed.
            taken: Windows in the range, disjoint, whose exports exist already: not issued.
            jobs: How many jobs may be in flight at once.
        """
        known = (knowledge or Knowledge()).copy()
        self.span = span
        self._largest = largest
        self._smallest = smallest
        self._unit = cut_unit(smallest)
        self._jobs = jobs
        self._known = known
        self._sizing = Sizing(known, largest)
        self._left = Remainder(span, taken)
        self._under_way: dict[Window, _IssuedWindow] = {}
        self._failures = Failures()
        self._bracketed = known.capacity.too_many is not None
        self._first_windows = 0
        self._proven = 0
        self._far_below: list[int] = []
        self._reason: str | None = None
        self._growth_refused = False
        self._learnt: dict[str, object] | None = None  # what _known is as JSON, until it changes

    @property
    def upcoming(self) -> int | None:
        """Start of the earliest range not issued; None if all is issued."""
        return self._left.first.start if self._left.first else None

    @property
    def events_left(self) -> float | None:
        """Expected events in what is not issued; None if nothing is known."""
        if self._known.forecast.latest is None:
            return None
        return sum(self._known.forecast.events_between(part.start, part.end) for part in self._left)

    @property
    def windows_left(self) -> int:
        """How many windows what is not issued needs, as far as known."""
        size = self._largest if self._sizing.aim else min(self._largest, self._proven or FIRST_SIZE)
        by_size = sum(-(-part.size // size) for part in self._left)
        return max(
            by_size,
            math.ceil((self.events_left or 0) / self._sizing.aim) if self._sizing.aim else 0,
        )

    def learnt(self) -> dict[str, object]:
        """Return what is known by now, as JSON for STATE."""
        if self._learnt is None:
            self._learnt = self._known.to_json()
        return self._learnt

    def size_changed(self) -> str | None:
        """Return why the size of windows has changed, once; None if it has not."""
        reason, self._reason = self._reason, None
        return reason

    def next(self) -> Window | None:
        """Issue the earliest window not issued; None if all is issued."""
        gap = self._left.first
        if not gap:
            return None
        failure = self._failures.around(gap.start)
        limit, largest, least = gap.end, self._largest, 1
        if failure:
            limit = min(limit, failure.window.end)
            size = failure.window.size
            largest = min(largest, -(-size // 2) if failure.nested else int(size * KEPT_SHARE))
        if len(self._far_below) >= 2 * self._jobs:
            least = 2 * max(self._far_below)
        end, purpose = self._sized(gap.start, limit, failure)
        size = max(min(max(end - gap.start, least), largest), self._smallest)
        end = min(gap.start + size, gap.start + self._largest)
        window = self._left.take(limit if end >= limit else end // self._unit * self._unit)
        events, deviation = self._expected(window)
        self._under_way[window] = _IssuedWindow(
            events * self._correction(failure), deviation, purpose
        )
        return window

    def ready(self, window: Window, seconds: float) -> None:
        """Record that the job of a window is complete, after so many seconds."""
        job = self._under_way.get(window)
        if job:
            job.seconds = seconds
        self._proven = max(self._proven, window.size)

    def counted(self, window: Window, events_by_hour: Mapping[int, int]) -> None:
        """Learn the events of a finished export.

        Args:
            window: The window; its export may be one that was taken over.
            events_by_hour: Hours since the epoch → events; hours without events may be missing.
        """
        events = sum(events_by_hour.values())
        self._learnt = None
        job = self._under_way.pop(window, None)
        if job and job.seconds is not None:
            self._known.job_times.observe(events, job.seconds)
        if job and events * FAR_BELOW < job.events:
            self._far_below.append(window.size)
        else:
            self._far_below.clear()
        if self._known.capacity.fitted(events):
            self._report_limit("moved")
        for hour in range(window.start // HOUR, -(-window.end // HOUR)):
            covered = min(window.end, (hour + 1) * HOUR) - max(window.start, hour * HOUR)
            self._known.forecast.observe(hour, covered / HOUR, events_by_hour.get(hour, 0))
        self._count_parts(window, events)

    def too_large(self, window: Window, seconds: float) -> bool:
        """Take back a window whose job was too large, to issue it in smaller ones.

        Returns:
            False if the window may not be split any further.
        """
        job = self._under_way.pop(window, None)
        if window.size <= self._smallest:
            return False
        events, deviation = (job.events, job.deviation) if job else self._expected(window)
        self._learnt = None
        self._known.job_times.observe_failure(seconds)
        self._bracketed = True
        self._far_below.clear()
        # Half a standard deviation above the limit is what a failure shows on average.
        least = max(events, self._known.capacity.fits * (1 + min(deviation, 1) / 2))
        self._failures.add(window, least)
        self._left.put_back(window)
        return True

    def give_back(self, window: Window) -> None:
        """Issue a range again whose export turned out to be unusable."""
        self._under_way.pop(window, None)
        self._left.put_back(window)

    # How large the next window is.

    def _sized(self, start: int, limit: int, failure: Failure | None) -> tuple[int, _Purpose]:
        """Return where a window ends, at ``limit`` at most, and why."""
        if not failure and not self._bracketed:
            if self._largest <= FIRST_SIZE:  # window_hours states that such windows fit
                return start + self._largest, _Purpose.FIRST
            if not self._proven:
                step = self._first_windows % self._jobs
                self._first_windows += 1
                return start + FIRST_SIZE // FIRST_STEP**step, _Purpose.FIRST
            if end := self._grown(start, limit):
                return end, _Purpose.GROWTH
        if not self._sizing.informed:
            return start + self._size_by_time(failure), _Purpose.SAFE
        correction = self._correction(failure)
        attempts = any(job.purpose is _Purpose.ATTEMPT for job in self._under_way.values())
        if not attempts and (aim := self._sizing.attempt(self.events_left or 0)):
            return self._sizing.cut(start, limit, lambda _: aim, correction), _Purpose.ATTEMPT
        return self._sizing.cut(start, limit, self._sizing.safe, correction), _Purpose.SAFE

    def _size_by_time(self, failure: Failure | None) -> int:
        """Return the size of a window while no export's events are known.

        Before any has fitted, each smaller window under way divides the size further: one round
        brackets the capacity. Then the size doubles, up to half of what has failed.
        """
        failed = failure.window.size if failure else self._failures.smallest(FIRST_SIZE)
        if self._proven:
            return min(2 * self._proven, max(self._proven if not failure else 1, failed // 2))
        running = [window for window, job in self._under_way.items() if job.seconds is None]
        smaller = sum(window.size < failed for window in running)
        return max(1, int(failed * FIRST_STEP ** -(1.0 + smaller)))

    def _grown(self, start: int, limit: int) -> int | None:
        """Return where a window ends that is larger than any before, or None.

        None means that it would cost more than it saves. Each growing window under way doubles the
        next one, so that a round multiplies the size.
        """
        jobs = self._under_way.items()
        doublings = 1 + sum(1 for _, job in jobs if job.purpose is _Purpose.GROWTH)
        first = [window.size for window, job in jobs if job.purpose is _Purpose.FIRST]
        undecided = [size for size in first if size > self._proven]
        if undecided:
            doublings = 1
        if not self._sizing.growth_pays(1 << doublings, self.events_left or 0):
            if not self._growth_refused:
                self._growth_refused = True
                self._reason = "larger windows would cost more than they save"
            return None
        end = min(limit, start + min([self._proven * (1 << doublings), *undecided]))
        if not self._sizing.informed:
            return end
        aim = self._known.capacity.fits * (1 << doublings)
        return self._sizing.cut(start, end, lambda _: aim)

    def _expected(self, window: Window) -> tuple[float, float]:
        """Return the expected events and their deviation; 0 events if nothing is known."""
        if self._known.forecast.latest is None:
            return 0.0, 1.0
        return self._known.forecast.total(window.start, window.end)

    def _correction(self, failure: Failure | None) -> float:
        """Return the factor that makes a forecast agree with a window that was too large."""
        expected = self._expected(failure.window)[0] if failure else 0.0
        return max(1.0, failure.events / expected) if failure and expected else 1.0

    def _count_parts(self, window: Window, events: int) -> None:
        """Learn the capacity from windows too large that are counted in full by now."""
        for failure in self._failures.count(window, events):
            known = self._known.capacity.too_many is not None
            if self._known.capacity.failed(failure.counted_events, failure.largest_part):
                self._report_limit("moved")
            elif not known:
                self._report_limit("found")

    def _report_limit(self, what: str) -> None:
        most = self._known.capacity.too_many
        too_many = "" if most is None else f", {most:,.0f} are too many"
        self._reason = f"limit {what}: {self._known.capacity.fits:,.0f} events fit{too_many}"
