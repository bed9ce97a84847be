"""Forecast of a product's events by hour of day and day of week, with its uncertainty.

Pure: no clock, no thread, no file. Hours are whole hours since the epoch, UTC.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tap_barchart_events.windows import HOUR

if TYPE_CHECKING:
    from collections.abc import Iterator

WEEK_HOURS = 168

MAX_LEVEL = 40.0
"""Largest logarithm of events an hour that is calculated with: e^40 is beyond any service."""

# Variances of natural logarithms. A standard deviation of 0.1 is about 10 %.
UNKNOWN_LEVEL = 25.0
"""Before the first hour: the level may be anything, so the first hour sets it."""
UNKNOWN_HOUR = 1.0
"""An hour of the day not seen yet: busy and quiet hours differ by a factor of e, up or down."""
UNKNOWN_DAY = 0.25
"""A day of the week not seen yet: half of a usual day or twice as much is likely."""
UNKNOWN_NOISE = 0.1
"""Hours differ from their expectation by about a third, before that has been observed."""

NOISE_PRIOR, NOISE_MEMORY = 4.0, 300.0
"""Hours that `UNKNOWN_NOISE` counts for; hours over which the noise is averaged at most."""

LEVEL_DRIFT = 1e-4
"""Variance that the level gains in an hour: 5 % in a day. Growth of 4 % a day is followed with a
lag of 2 %."""
SHAPE_DRIFT = 1e-5
"""Variance that hours and days gain in an hour: 4 % in a week."""

SURPRISE = 4.0
"""An hour whose squared error is more than this many variances (two standard deviations) shows
that the model has changed: its uncertainty grows until the error is within the bound."""


@dataclass(slots=True)
class Estimate:
    """An estimate of a logarithm."""

    mean: float = 0.0
    variance: float = 0.0


def _estimates(count: int, variance: float) -> list[Estimate]:
    return [Estimate(0.0, variance) for _ in range(count)]


@dataclass(slots=True)
class Forecast:
    """Expected events of any hour: level, times factors of the hour of day and the weekday.

    All three are estimated in logarithms, each with a variance of its own. An observed hour
    corrects each in proportion to its variance (a Kalman filter without covariances), so what is
    known well moves little and what has not been seen yet moves at once. What remains is noise;
    its variance is observed too.
    """

    level: Estimate = field(default_factory=lambda: Estimate(0.0, UNKNOWN_LEVEL))
    hours: list[Estimate] = field(default_factory=lambda: _estimates(24, UNKNOWN_HOUR))
    days: list[Estimate] = field(default_factory=lambda: _estimates(7, UNKNOWN_DAY))
    """Monday first."""
    noise: float = UNKNOWN_NOISE
    """Variance of the logarithm of an hour's events around the expectation."""
    noise_weight: float = NOISE_PRIOR
    """Hours that `noise` rests on."""
    latest: int | None = None
    """The latest hour observed; None before the first."""

    def expected(self, hour: int) -> float:
        """Return the expected events of one hour."""
        log = self.level.mean + self.hours[hour % 24].mean + self.days[_weekday(hour)].mean
        return math.exp(min(MAX_LEVEL, log + self.noise / 2))

    def observe(self, hour: int, share: float, events: int) -> None:
        """Correct the estimates by the events of an hour, or of a share of it (0 to 1]."""
        first = self.latest is None or hour > self.latest
        if self.latest is None:
            # Without events, a short part of an hour shows nothing about a whole one.
            rate = (events + 0.5) / share if events else 0.5
            self.latest, self.level.mean = hour, math.log(rate)
        self._drift(hour)
        parts = (self.level, self.hours[hour % 24], self.days[_weekday(hour)])
        expected = math.exp(min(MAX_LEVEL, sum(part.mean for part in parts))) * share
        error = math.log((events + 0.5) / (expected + 0.5))
        chance = 1 / (expected + 1)  # of small numbers: Poisson
        # Parts of an hour share its noise: the first part counts like the hour, the others less.
        noise = self.noise / (1 if first else share) + chance
        known = sum(part.variance for part in parts)
        widened = max(1.0, (error * error / SURPRISE - noise) / known)
        known *= widened
        total = known + noise
        for part in parts:
            gain = part.variance * widened / total
            part.mean += gain * error
            part.variance = part.variance * widened * (1 - gain)
        # An error shows the noise as far as the estimates were more certain than the noise.
        weight = share * (noise / total) ** 2
        self.noise_weight = min(NOISE_MEMORY, self.noise_weight + weight)
        excess = max(0.0, min(error * error, SURPRISE * total) - known - chance)
        self.noise += weight / self.noise_weight * (excess - self.noise)

    def scan(self, start: int, end: int) -> Iterator[tuple[int, float, float]]:
        """Yield the expected events from ``start`` to each full hour up to ``end``.

        Yields:
            The instant; the events expected up to it; the standard deviation of their logarithm.
        """
        level = self.level.variance + LEVEL_DRIFT * self._distance(start // HOUR)
        by_hour, by_day = [0.0] * 24, [0.0] * 7
        events = squares = 0.0
        while start < end:
            hour = start // HOUR
            edge = min(end, (hour + 1) * HOUR)
            of_day, of_week = hour % 24, _weekday(hour)
            more = self.expected(hour) * (edge - start) / HOUR
            # The same hour on two days has one error, two hours of a day have errors of their own.
            squares += self.hours[of_day].variance * more * (2 * by_hour[of_day] + more)
            squares += self.days[of_week].variance * more * (2 * by_day[of_week] + more)
            squares += self.noise * more * more
            by_hour[of_day] += more
            by_day[of_week] += more
            events += more
            yield edge, events, math.sqrt(level + (squares + events) / (events * events or 1))
            start = edge

    def total(self, start: int, end: int) -> tuple[float, float]:
        """Return the expected events from ``start`` to ``end`` and their deviation (see scan)."""
        events, deviation = 0.0, 0.0
        for _, events, deviation in self.scan(start, end):  # noqa: B007 - the last one counts
            pass
        return events, deviation

    def events_between(self, start: int, end: int) -> float:
        """Return the expected events from ``start`` to ``end``, quickly for years too."""
        week = WEEK_HOURS * HOUR
        weeks = (end - start) // week
        whole = sum(map(self.expected, range(WEEK_HOURS))) * weeks if weeks else 0.0
        return whole + self.total(start + weeks * week, end)[0]

    def _distance(self, hour: int) -> int:
        """Return how many hours lie between what was observed last and an hour.

        An hour within the week before counts as none: windows end in any order.
        """
        if self.latest is None or self.latest - WEEK_HOURS <= hour <= self.latest:
            return 0
        return abs(hour - self.latest)

    def _drift(self, hour: int) -> None:
        distance = self._distance(hour)
        if distance:
            self.latest = hour
            _widen([self.level], LEVEL_DRIFT * distance, UNKNOWN_LEVEL)
            _widen(self.hours, SHAPE_DRIFT * distance, UNKNOWN_HOUR)
            _widen(self.days, SHAPE_DRIFT * distance, UNKNOWN_DAY)


def _widen(estimates: list[Estimate], variance: float, most: float) -> None:
    for estimate in estimates:
        estimate.variance = min(most, estimate.variance + variance)


def _weekday(hour: int) -> int:
    return (hour // 24 + 3) % 7  # 1970-01-01 was a Thursday
