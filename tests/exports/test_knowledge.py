"""What was learnt: how it changes, how it is kept in STATE, and harmless whatever stands there."""

import json
import random
from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_barchart_events.exports.planner import Knowledge, WindowPlanner
from tap_barchart_events.windows import HOUR, Window
from tests.exports.test_planner import DAY, START, Service, covers_exactly, evenly

FIRST_HOUR = START // HOUR


def learnt() -> Knowledge:
    """Return what the longest text stands for."""
    rng = random.Random(3)  # noqa: S311 - seeded events
    hours: list[float | None] = [rng.uniform(0.0010, 0.0099) for _ in range(168)]
    return Knowledge(12_345_678, 12_987_654, 1.23456, hours)


# How it changes ------------------------------------------------------------------------------


def observed(known: Knowledge, first: int, counts: list[int], trend_from: int = 0) -> Knowledge:
    window = Window(first * HOUR, (first + len(counts)) * HOUR)
    known.observe_hours(window, dict(enumerate(counts, first)), trend_from)
    return known


def test_a_new_count_replaces_nine_tenths_by_the_part_of_the_hour_that_was_seen() -> None:
    known = observed(Knowledge(), FIRST_HOUR, [100])
    quarter = Window(START, START + HOUR // 4)
    known.observe_hours(quarter, {FIRST_HOUR: 50}, quarter.end)
    assert known.hours[FIRST_HOUR % 168] == pytest.approx(100 + 0.9 / 4 * (200 - 100))
    observed(known, FIRST_HOUR, [0], START + DAY)
    assert known.hours[FIRST_HOUR % 168] == pytest.approx(0.1 * 122.5)


def test_an_unknown_hour_is_the_largest_same_hour_of_any_day_or_else_the_mean() -> None:
    known = observed(Knowledge(), FIRST_HOUR, [100, 300])
    observed(known, FIRST_HOUR + 24, [50], START + DAY * 2)
    known.trend = 2.0
    rates = known.rates()
    assert rates[(FIRST_HOUR + 24) % 168] == 2 * 50
    assert rates[(FIRST_HOUR + 48) % 168] == 2 * 100
    assert rates[(FIRST_HOUR + 50) % 168] == 2 * 150
    assert Knowledge().rates() == []


def test_a_first_window_may_be_longer_than_a_week() -> None:
    known = Knowledge()
    assert observed(known, FIRST_HOUR, [1] * 400).hours == [1] * 168
    assert known.trend == 1


def test_the_trend_follows_hours_after_the_bookmark_alone_within_a_half_and_two() -> None:
    known = observed(Knowledge(), FIRST_HOUR, [100] * 24, START + DAY)
    assert known.trend == 1
    observed(known, FIRST_HOUR, [150] * 24, START + DAY)
    assert known.trend == 1, "it was there before the bookmark"
    for _ in range(99):
        known.hours = [100.0] * 168
        observed(known, FIRST_HOUR, [1000] * 24)
    assert known.trend == 2
    for _ in range(99):
        known.hours = [100.0] * 168
        observed(known, FIRST_HOUR, [0] * 24)
    assert known.trend == 0.5


def test_the_limit_follows_what_fits_and_what_does_not() -> None:
    known = Knowledge()
    known.failed(500)
    assert known == Knowledge(), "nothing is known of what fits"
    known.fitted(0)
    assert known.fits == 1
    known.fitted(1000)
    known.failed(1500)
    assert (known.fits, known.limit) == (1000, 1500)
    known.failed(2000)
    assert known.limit == 1500
    known.failed(900)
    assert known.limit == pytest.approx(0.97 * 1500)
    known.fitted(500)
    assert known.limit == pytest.approx(0.97 * 1500), "so few show nothing"
    known.fitted(1000)
    assert known.limit == pytest.approx(0.97 * 1500 * 1.002)
    known.fitted(2000)
    assert (known.fits, known.limit) == (2000, 2000)
    unexpected = Knowledge(fits=1000)
    unexpected.failed(10)
    assert unexpected.limit == 1000


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10**7)), max_size=60))
def test_what_fits_is_never_more_than_what_is_too_many(seen: list[tuple[bool, int]]) -> None:
    known = Knowledge()
    for fits, events in seen:
        if fits:
            known.fitted(events)
            assert known.fits >= events
        else:
            known.failed(events)
        assert known.limit is None or known.fits <= known.limit


def test_a_rhythm_of_the_week_makes_windows_of_equal_events() -> None:
    week = Counter({hour: 100 if hour % 24 < 12 else 900 for hour in range(168)})
    known = Knowledge(fits=1000, limit=10_000, hours=[float(week[hour]) for hour in range(168)])
    planner = WindowPlanner(
        Window(START, START + 7 * DAY - HOUR), largest=31 * DAY, smallest=1000, known=known
    )
    sizes = []
    while window := planner.next():
        sizes.append(Service(lambda part: part.size, 0)._by_hour(window))  # noqa: SLF001
    events = [sum(size * week[hour % 168] / HOUR for hour, size in one.items()) for one in sizes]
    assert len(events) == 12
    assert all(one == pytest.approx(7000, rel=0.01) for one in events[:-1])
    assert events[-1] <= 7000, "the rest"


# STATE ---------------------------------------------------------------------------------------


def test_it_takes_at_most_a_kilobyte_and_a_half() -> None:
    assert len(json.dumps(learnt().to_json())) <= 1500


@pytest.mark.parametrize("parse_float", [float, Decimal], ids=["float", "as the SDK reads STATE"])
def test_what_is_read_back_is_what_was_written(parse_float: type) -> None:
    some = Knowledge(5.0, None, 0.5, [None, 0.0, 1e9, *learnt().hours[3:]])
    for known in (learnt(), some):
        written = json.dumps(known.to_json())
        read = Knowledge.from_json(json.loads(written, parse_float=parse_float))
        assert json.dumps(read.to_json()) == written
        pairs = zip(read.hours, known.hours, strict=True)
        assert all(a is b or a == pytest.approx(b, rel=0.006) for a, b in pairs)
    assert Knowledge.from_json(Knowledge().to_json()) == Knowledge()


def test_no_number_has_a_fraction_that_an_sdk_target_would_read_as_a_decimal() -> None:
    fractions: list[str] = []
    json.loads(json.dumps(learnt().to_json()), parse_float=fractions.append)
    assert fractions == []


def test_what_an_earlier_release_wrote_is_ignored() -> None:
    earlier = {"v": 1, "capacity": ["1.2e+04", None], "forecast": {"latest": 5, "hours": [1] * 48}}
    assert Knowledge.from_json(earlier) == Knowledge()


def test_damage_in_one_number_leaves_the_others() -> None:
    known = learnt()
    written = str(known.to_json()["sizes"]).split()
    written[5] = "nan"
    read = Knowledge.from_json({"sizes": " ".join(written)})
    assert read.hours[2] is None
    assert [*read.hours[:2], *read.hours[3:]] == pytest.approx(
        [*known.hours[:2], *known.hours[3:]], rel=0.006
    )
    assert read.fits == 12_300_000


numbers = st.one_of(
    st.integers(-10, 10**6).map(str),
    st.floats().map(str),
    st.sampled_from(["-", "nan", "1e999", "1e308", "9" * 400, "x", "-0", "0", "1"]),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@st.composite
def damaged(draw: st.DrawFn) -> object:
    """Draw what was learnt, with anything in place of any number or part."""
    written = str(learnt().to_json()["sizes"]).split()
    for _ in range(draw(st.integers(1, 9))):
        written[draw(st.integers(0, 4) | st.integers(0, len(written) - 1))] = draw(numbers)
    return {"sizes": draw(values | st.just(" ".join(written)))}


@given(values | damaged())
def test_whatever_stands_there_all_is_covered(value: object) -> None:
    knowledge = Knowledge.from_json(value if isinstance(value, dict) else {})
    whole = Window(START, START + DAY)
    planner = WindowPlanner(whole, largest=31 * DAY, smallest=1000, known=knowledge, jobs=2)
    service = Service(evenly(20), 100).export_all(planner, 2)
    assert covers_exactly(service.finished, whole)
    json.dumps(planner.known.to_json(), allow_nan=False)
