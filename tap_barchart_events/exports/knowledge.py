"""What was learnt about a product, and its JSON form for STATE.

Pure: no clock, no thread, no file.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from tap_barchart_events.exports.capacity import AVERAGED_JOBS, Capacity, JobTimes
from tap_barchart_events.exports.forecast import (
    NOISE_MEMORY,
    NOISE_PRIOR,
    UNKNOWN_DAY,
    UNKNOWN_HOUR,
    UNKNOWN_LEVEL,
    Estimate,
    Forecast,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

VERSION = 1
MOST_EVENTS = 1e12
"""More events in an export than any service holds."""
MOST_SECONDS = 1e6
"""More seconds than any job takes."""
MOST_LOG = 30.0
"""Larger logarithms of events an hour than any service has."""
MOST_HOURS = 10**8
"""Hours since the epoch of an instant that no date-time can name any more."""


class _DamagedError(Exception):
    """A part of the STATE cannot be used."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What sizes the windows of a product; nothing in it changes what is extracted."""

    capacity: Capacity = field(default_factory=Capacity)
    job_times: JobTimes = field(default_factory=JobTimes)
    forecast: Forecast = field(default_factory=Forecast)

    def copy(self) -> Knowledge:
        """Return an independent copy."""
        return deepcopy(self)

    def capacity_only(self) -> Knowledge:
        """Return the part that applies to another product: what exports hold, what jobs take."""
        return Knowledge(deepcopy(self.capacity), deepcopy(self.job_times))

    def to_json(self) -> dict[str, object]:
        """Return a JSON object of at most 1 kB; an empty one if nothing was learnt.

        Numbers of events and seconds are text of four digits: targets of the Singer SDK read a
        fraction as Decimal, and then cannot write the STATE. Logarithms and their standard
        deviations are whole hundredths.
        """
        if self == Knowledge():
            return {}
        times, forecast = self.job_times, self.forecast
        numbers: dict[str, object] = {
            "v": VERSION,
            "capacity": [_short(self.capacity.fits), _short(self.capacity.too_many)],
            "jobs": [
                _short(value)
                for value in (
                    times.jobs, times.events, times.seconds, times.variance, times.covariance,
                    times.too_large,
                )
            ],
        }  # fmt: skip
        if forecast.latest is not None:
            numbers["forecast"] = {
                "latest": forecast.latest,
                "noise": [_hundredths(math.sqrt(forecast.noise)), round(forecast.noise_weight)],
                "level": _pairs([forecast.level]),
                "hours": _pairs(forecast.hours),
                "days": _pairs(forecast.days),
            }
        return numbers

    @classmethod
    def from_json(cls, value: object) -> Knowledge:
        """Read what `to_json` wrote; any other value counts as nothing learnt.

        Each part is read separately, so that damage in one leaves the others usable.
        """
        if not isinstance(value, dict) or value.get("v") != VERSION:
            return cls()
        return cls(
            _read(_capacity, value.get("capacity")) or Capacity(),
            _read(_job_times, value.get("jobs")) or JobTimes(),
            _read(_forecast, value.get("forecast")) or Forecast(),
        )


def _read(parse: Callable[[object], T], value: object) -> T | None:
    try:
        return parse(value)
    except _DamagedError:
        return None


def _short(number: float | None) -> str | None:
    return None if number is None else f"{number:.4g}"


def _hundredths(number: float) -> int:
    return round(100 * number)


def _pairs(estimates: Iterable[Estimate]) -> list[int]:
    return [
        value
        for estimate in estimates
        for value in (_hundredths(estimate.mean), _hundredths(math.sqrt(estimate.variance)))
    ]


def _number(value: object, low: float, high: float) -> float:
    """Return a number within bounds; NaN, infinity, a huge integer and a bool are none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise _DamagedError
    try:
        number = float(value)
    except (OverflowError, ValueError):
        raise _DamagedError from None
    if not low <= number <= high:
        raise _DamagedError
    return number


def _numbers(value: object, count: int) -> list[object]:
    if not isinstance(value, list) or len(value) != count:
        raise _DamagedError
    return value


def _capacity(value: object) -> Capacity:
    fits, too_many = _numbers(value, 2)
    capacity = Capacity(_number(fits, 0, MOST_EVENTS))
    if 0 < capacity.fits < 1:
        raise _DamagedError
    if too_many is not None:
        capacity.too_many = _number(too_many, capacity.fits, MOST_EVENTS)
    return capacity


def _job_times(value: object) -> JobTimes:
    *numbers, too_large = _numbers(value, 6)
    bounds = (
        (0, AVERAGED_JOBS),
        (0, MOST_EVENTS),
        (0, MOST_SECONDS),
        (0, MOST_EVENTS**2),
        (-MOST_EVENTS * MOST_SECONDS, MOST_EVENTS * MOST_SECONDS),
    )
    times = JobTimes(*(_number(n, *bound) for n, bound in zip(numbers, bounds, strict=True)))
    if too_large is not None:
        times.too_large = _number(too_large, 0, MOST_SECONDS)
    return times


def _forecast(value: object) -> Forecast:
    if not isinstance(value, dict):
        raise _DamagedError
    noise, weight = _numbers(value.get("noise"), 2)
    return Forecast(
        level=_estimates(value.get("level"), 1, UNKNOWN_LEVEL)[0],
        hours=_estimates(value.get("hours"), 24, UNKNOWN_HOUR),
        days=_estimates(value.get("days"), 7, UNKNOWN_DAY),
        noise=max(0.0001, (_number(noise, 0, 1000) / 100) ** 2),
        noise_weight=max(NOISE_PRIOR, _number(weight, 0, NOISE_MEMORY)),
        latest=int(_number(value.get("latest"), -MOST_HOURS, MOST_HOURS)),
    )


def _estimates(value: object, count: int, most: float) -> list[Estimate]:
    numbers = [
        _number(number, -100 * MOST_LOG, 100 * MOST_LOG) for number in _numbers(value, 2 * count)
    ]
    return [
        Estimate(mean / 100, min(most, max(0.0001, (deviation / 100) ** 2)))
        for mean, deviation in zip(numbers[::2], numbers[1::2], strict=True)
    ]
