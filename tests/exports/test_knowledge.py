"""What was learnt: small in STATE, read back, and harmless whatever stands there."""

from __future__ import annotations

import json
import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_barchart_events.exports.capacity import Capacity, JobTimes
from tap_barchart_events.exports.forecast import Forecast
from tap_barchart_events.exports.knowledge import Knowledge
from tap_barchart_events.exports.planner import WindowPlanner
from tap_barchart_events.windows import Window
from tests.exports.test_planner import DAY, HOUR, START, Service, covers_exactly, evenly


def learnt() -> Knowledge:
    """Return what three years of a busy product have taught."""
    rng = random.Random(3)  # noqa: S311 - seeded events
    forecast, times = Forecast(), JobTimes()
    for hour in range(START // HOUR, START // HOUR + 3 * 365 * 24):
        forecast.observe(hour, 1.0, int(rng.lognormvariate(13, 2)))
    for _ in range(5000):
        times.observe(rng.uniform(1, 12_345_678), rng.uniform(200, 900))
    times.observe_failure(899.123456)
    return Knowledge(Capacity(12_345_678, 12_987_654), times, forecast)


def test_three_years_take_at_most_a_kilobyte() -> None:
    text = json.dumps(learnt().to_json())
    assert len(text) <= 1000


@pytest.mark.parametrize("parse_float", [float, Decimal], ids=["float", "as the SDK reads STATE"])
def test_what_is_read_back_is_what_was_written(parse_float: type) -> None:
    written = json.dumps(learnt().to_json())
    read = Knowledge.from_json(json.loads(written, parse_float=parse_float))
    assert json.dumps(read.to_json()) == written
    assert Knowledge.from_json(Knowledge().to_json()) == Knowledge()


def test_no_number_has_a_fraction_that_an_sdk_target_would_read_as_a_decimal() -> None:
    fractions: list[str] = []
    json.loads(json.dumps(learnt().to_json()), parse_float=fractions.append)
    assert fractions == []


def test_another_product_gets_the_capacity_and_no_forecast() -> None:
    known = learnt()
    other = known.capacity_only()
    assert other.capacity == known.capacity
    assert other.job_times == known.job_times
    assert other.forecast == Forecast()


def test_damage_in_one_part_leaves_the_others() -> None:
    written = learnt().to_json()
    written["forecast"] = {"level": [float("nan"), 3]}
    read = Knowledge.from_json(written)
    assert read.forecast == Forecast()
    assert read.capacity.fits == 12_350_000


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**300, 10**320)
    | st.floats()
    | st.decimals(allow_nan=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@st.composite
def damaged(draw: st.DrawFn) -> object:
    """Draw what was learnt, with anything in place of any number or part."""
    written = json.loads(json.dumps(learnt().to_json()))
    for _ in range(draw(st.integers(1, 3))):
        holder = draw(st.sampled_from([written, *_holders(written)]))
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        holder[draw(st.sampled_from(keys))] = draw(values)
    return written


def _holders(value: object) -> list[object]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    found = [item for item in inner if isinstance(item, dict | list) and item]
    return found + [deeper for item in found for deeper in _holders(item)]


@given(values | damaged())
@settings(max_examples=60, deadline=None)
def test_whatever_stands_there_all_is_covered(value: object) -> None:
    knowledge = Knowledge.from_json(value)
    whole = Window(START, START + DAY)
    planner = WindowPlanner(whole, largest=31 * DAY, smallest=1000, knowledge=knowledge, jobs=2)
    service = Service(evenly(1000), 5_000).export_all(planner, 2)
    assert covers_exactly(service.finished, whole)
    assert service.jobs < 500
    json.dumps(planner.learnt(), allow_nan=False)
