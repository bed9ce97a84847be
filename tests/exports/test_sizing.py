"""The rules of sizing, one by one: job times, capacity, share, forecast, failures, attempts."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_barchart_events.exports.capacity import (
    FAILURE_MOST,
    FAILURE_PRIOR,
    Capacity,
    JobTimes,
    best_share,
)
from tap_barchart_events.exports.failures import MOST_FAILURES, Failures
from tap_barchart_events.exports.forecast import Forecast
from tap_barchart_events.exports.knowledge import Knowledge
from tap_barchart_events.exports.sizing import RARELY, Sizing
from tap_barchart_events.windows import HOUR, Window

counts = st.integers(1, 10**7)


# What an export holds -----------------------------------------------------------------------


@given(st.lists(st.tuples(st.booleans(), counts), max_size=30))
def test_what_fits_is_never_more_than_what_is_too_many(seen: list[tuple[bool, int]]) -> None:
    capacity = Capacity()
    for fits, events in seen:
        if fits:
            capacity.fitted(events)
            assert capacity.fits >= events
        else:
            capacity.failed(events, events // 2)
            assert capacity.fits <= events
        assert capacity.too_many is None or capacity.fits <= capacity.too_many


def test_a_limit_that_has_grown_or_dropped_is_noticed_and_an_estimate_is_forgiven() -> None:
    capacity = Capacity(fits=1000, too_many=1100)
    assert not capacity.fitted(1120), "within 5 %: counts are estimates"
    assert capacity.fitted(2000)
    assert capacity.too_many is None
    assert not capacity.failed(1950, 900)
    assert capacity.failed(1000, 600)
    assert capacity == Capacity(600, 1000)


# What jobs take ------------------------------------------------------------------------------


def times_of(fixed: float, per_event: float, jobs: int = 40) -> JobTimes:
    times = JobTimes()
    for number in range(jobs):
        events = 1000 * (1 + number % 10)
        times.observe(events, fixed + per_event * events)
    return times


@given(st.floats(1, 900), st.floats(0, 0.1))
def test_job_times_are_split_into_a_fixed_part_and_a_part_by_events(
    fixed: float, per_event: float
) -> None:
    times = times_of(fixed, per_event)
    whole = fixed + per_event * times.events
    assert times.fixed + times.per_event * times.events == pytest.approx(whole, rel=0.02)
    assert 0 <= times.per_event <= per_event * 1.001
    assert times.per_event == pytest.approx(per_event, rel=0.1)
    assert 0 < times.fixed_share(5000) <= 1


def test_a_time_as_limit_shows_only_where_events_make_up_most_of_a_job() -> None:
    assert times_of(300, 0.0).capacity(10_000) is None
    linear = times_of(5, 0.05)
    most = linear.capacity(10_000) or 0
    assert most == pytest.approx((900 - 5) / 0.05, rel=0.1)
    linear.observe_failure(450)
    assert (linear.capacity(10_000) or 0) < 0.6 * most


def test_what_a_failure_costs_is_assumed_then_observed_and_bounded() -> None:
    times = JobTimes()
    assert times.failure_cost(1000) == FAILURE_PRIOR
    times = times_of(300, 0.0)
    times.observe_failure(300)
    assert times.failure_cost(1000) == pytest.approx(1, rel=0.05)
    for _ in range(30):
        times.observe_failure(10**6)
    assert times.failure_cost(1000) == FAILURE_MOST


# The share of the capacity -------------------------------------------------------------------

deviations, shares, failures = st.floats(0.01, 2), st.floats(0.05, 1), st.floats(0.5, 10)


@given(deviations, shares, failures)
def test_the_share_is_a_share_and_smaller_for_more_doubt_and_dearer_failures(
    deviation: float, fixed: float, failure: float
) -> None:
    share = best_share(deviation, fixed, failure)
    assert 0 < share <= 1
    assert best_share(deviation, fixed, failure + 5) <= share
    assert best_share(deviation, 1.0, failure) >= share, "the dearer the job, the fuller"


def test_a_certain_forecast_fills_the_capacity_nearly() -> None:
    assert best_share(0.01, 1.0, 3.0) > 0.95
    assert best_share(0.5, 1.0, 3.0) < 0.7


# The forecast --------------------------------------------------------------------------------


def weekly(hour: int) -> int:
    return round(1000 * (1 + math.sin(hour * math.pi / 12)) * (0.3 if hour // 24 % 7 < 2 else 1))


def test_a_short_part_of_an_hour_without_events_makes_no_hour_look_busy() -> None:
    forecast = Forecast()
    forecast.observe(10, 1 / 3_600_000, 0)
    assert forecast.expected(11) < 10


def test_a_rhythm_of_day_and_week_is_learnt() -> None:
    forecast = Forecast()
    for hour in range(28 * 24):
        forecast.observe(hour, 1.0, weekly(hour))
    busy = [hour for hour in range(28 * 24, 35 * 24) if weekly(hour) > 500]
    errors = [abs(math.log(forecast.expected(hour) / weekly(hour))) for hour in busy]
    assert sum(errors) / len(errors) < 0.15


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=100), st.integers(0, 100))
def test_a_forecast_adds_up_and_its_doubt_grows_with_the_distance(
    events: list[int], offset: int
) -> None:
    forecast = Forecast()
    for hour, count in enumerate(events):
        forecast.observe(hour, 1.0, count)
    start = (len(events) + offset) * HOUR + 123_456
    end = start + 400 * HOUR
    total, deviation = forecast.total(start, end)
    assert total == pytest.approx(
        sum(forecast.total(start + n * HOUR, start + (n + 1) * HOUR)[0] for n in range(400)),
        rel=1e-6,
    )
    assert forecast.events_between(start, end) == pytest.approx(total, rel=1e-6)
    assert 0 < deviation < math.inf
    later = start + 5000 * HOUR
    assert forecast.total(later, later + HOUR)[1] >= forecast.total(start, start + HOUR)[1] - 0.5


# Windows that were too large -----------------------------------------------------------------


@given(st.lists(st.integers(1, 999), unique=True, max_size=12), st.randoms())
def test_the_events_of_a_window_too_large_are_exact_once_its_parts_are_counted(
    edges: list[int], rng: object
) -> None:
    failures = Failures()
    failures.add(Window(0, 1000), 1.0)
    cuts = [0, *sorted(edges), 1000]
    parts = [Window(*pair) for pair in itertools.pairwise(cuts)]
    rng.shuffle(parts)  # type: ignore[attr-defined]  # a Random
    for number, part in enumerate(parts):
        assert failures.around(500) is not None
        done = failures.count(part, 7)
        assert len(done) == (number == len(parts) - 1)
    assert done[0].counted_events == 7 * len(parts)
    assert done[0].largest_part == 7
    assert failures.around(500) is None


def test_a_part_of_a_window_too_large_is_nested_and_old_ones_are_forgotten() -> None:
    failures = Failures()
    failures.add(Window(0, 1000), 1.0)
    failures.add(Window(0, 400), 1.0)
    inner, outer = failures.around(100), failures.around(700)
    assert inner
    assert outer
    assert (inner.nested, outer.nested) == (True, False)
    assert failures.smallest(9999) == 400
    for number in range(MOST_FAILURES):
        failures.add(Window(2000 + number, 2001 + number), 1.0)
    assert failures.around(700) is None


# Attempts beyond what is known to fit --------------------------------------------------------


def sizing(times: JobTimes, fits: float, too_many: float | None) -> Sizing:
    forecast = Forecast()
    for hour in range(100):
        forecast.observe(hour, 1.0, 1000)
    return Sizing(Knowledge(Capacity(fits, too_many), times, forecast), 744 * HOUR)


def test_an_attempt_lies_between_what_fits_and_what_is_too_many_and_only_where_it_pays() -> None:
    rule = sizing(times_of(300, 0.0), 10_000, 40_000)
    aim = rule.attempt(events_left=10**7)
    assert aim is not None
    assert 10_000 < aim < 40_000
    assert rule.attempt(events_left=20_000) is None, "little is left that it could save"
    assert not rule.growth_pays(8, events_left=1000)
    assert rule.growth_pays(2, events_left=10**8)


def test_near_the_limit_attempts_are_rare_and_do_not_end() -> None:
    rule = sizing(times_of(300, 0.0), 10_000, 11_000)
    tried = [number for number in range(2000) if rule.attempt(events_left=10**9)]
    assert tried
    assert tried[0] >= RARELY
    assert all(after - before >= RARELY for before, after in itertools.pairwise(tried))


@given(st.floats(10, 10**5), st.integers(1, 2000), st.integers(0, 3_599_999))
def test_a_window_ends_where_the_forecast_reaches_its_aim(
    aim: float, hours: int, offset: int
) -> None:
    rule = sizing(times_of(300, 0.0), 10_000, 11_000)
    start = 100 * HOUR + offset
    limit = start + hours * HOUR
    end = rule.cut(start, limit, lambda _: aim)
    assert start < end <= limit
    events = rule.known.forecast.total(start, end)[0]
    assert events <= aim * 1.03 or end - start <= 1
