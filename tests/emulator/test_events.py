"""The emulator's events, and the files that it makes of them."""

from collections import Counter
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barchart_events_emulator import Emulator
from tap_barchart_events.products import PRODUCTS, snake_case
from tap_barchart_events.windows import HOUR
from tests.emulator_client import NOW, START, Client, as_multiset, read

OPTIONS: list[dict[str, Any]] = [
    {},
    {"end_inclusive": False},
    {"whole_seconds": True},
    {"header": True, "header_style": "snake_case"},
    {"shuffled_columns": True, "quoting": "minimal", "header": True},
    {"time_order": False, "header": True, "newline": "\r\n"},
    {"last_newline": False},
    {"quoting": "minimal"},
    {"quoting": "all", "header": True},
    {"content_length": False},
    {"complete_status": "COMPLETED", "numbers_as_strings": True},
    {"layout": "documented"},
    {"added_column": "betaGroup", "header": True, "time_order": False},
    {"late_share": 0.3},
    {"events_per_hour": 0.4},
    {"events_per_hour": 0.0},
    {"events_per_hour": 40_000.0},
    {"columns": {"PORTFOLIO": ("type", "timestamp", "symbol")}},
    {"throttle": 3e6},
    {"rhythm": "working-week", "hourly_noise": 0.3},
    {"rhythm": "none"},
    {"population": "users", "events_per_hour": 2500.0, "header": True, "time_order": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_downloads_hold_the_expected_events_under_every_option(options: dict[str, Any]) -> None:
    quoting = options.get("quoting", "none")
    start, end = START + 1, START + 2 * HOUR
    with Emulator(clock=lambda: NOW, job_seconds=0.0, **options) as emulator:
        client = Client(emulator)
        file = client.download(client.export(start, end, product="PORTFOLIO"))
        client.session.close()
        text = file.content.decode()
        columns = None if emulator.header else emulator.columns_of("PORTFOLIO")
        events = read(text, columns, quoted=quoting != "none")
        if emulator.header_style == "snake_case":
            back = {snake_case(name): name for name in emulator.columns_of("PORTFOLIO")}
            events = [e._replace(values={back[k]: v for k, v in e.values.items()}) for e in events]
        if emulator.whole_seconds:
            start -= 1
        extra = 1 if emulator.end_inclusive else 0
        expected = list(emulator.events("TGAM", "PORTFOLIO", start, end + extra))
        job = emulator.jobs[0]
        assert job.count == len(expected) == emulator.count("TGAM", "PORTFOLIO", start, end + extra)
    assert as_multiset(events) == as_multiset(expected)
    if emulator.events_per_hour > 1:
        assert len(expected) > 200
        times = [event.timestamp for event in events]
        assert (times == sorted(times)) is emulator.time_order
    assert ("Content-Length" in file.headers) is emulator.content_length
    if text:
        assert text.endswith(emulator.newline) is emulator.last_newline
        assert ("\r\n" in text) is (emulator.newline == "\r\n" or quoting != "none")
        assert text.startswith('"') is (quoting == "all")


@pytest.mark.parametrize("product", sorted(PRODUCTS))
def test_an_event_carries_values_in_the_columns_of_its_type_only(product: str) -> None:
    known = PRODUCTS[product]
    emulator = Emulator(clock=lambda: NOW)
    seen = set()
    filled: set[str] = set()
    for event in emulator.events("TGAM", product, START, START + 24 * HOUR):
        assert event.values.keys() <= set(known.event_types[event.type])
        assert all(event.values.values())
        seen.add(event.type)
        filled.update(event.values)
    assert seen == set(known.event_types)
    assert filled == set(known.layouts[-1][2:])


def test_a_seed_has_the_events_that_it_had_in_earlier_versions() -> None:
    emulator, known = Emulator(clock=lambda: NOW), sha256()
    for product in [*PRODUCTS, "OTHER"]:
        for event in emulator.events("TGAM", product, START, START + 2 * HOUR):
            values = sorted(event.values.items())
            known.update(repr((event.timestamp, event.type, values)).encode())
    expected = "1024c705897b53297dc719a0847e4a20d9e1c748958762a54f05877531aa33fa"
    assert known.hexdigest() == expected


def test_a_column_added_in_the_middle_leaves_the_other_values_alone() -> None:
    before = Emulator(clock=lambda: NOW)
    after = Emulator(clock=lambda: NOW, added_column="betaGroup")
    columns = after.columns_of("WATCHLIST")
    assert "betaGroup" in columns[3:-1]
    assert [name for name in columns if name != "betaGroup"] == list(before.columns_of("WATCHLIST"))
    question = ("TGAM", "WATCHLIST", START, START + HOUR)
    new = list(after.events(*question))
    assert any("betaGroup" in event.values for event in new)
    for event in new:
        event.values.pop("betaGroup", None)
    assert new == list(before.events(*question))


@given(
    st.lists(st.integers(START, START + 9 * HOUR), min_size=2, unique=True),
    st.sampled_from([30.0, 1000.0, 9000.0]),
)
def test_events_are_the_same_however_a_range_is_split(cuts: list[int], rate: float) -> None:
    cuts.sort()
    one = Emulator(clock=lambda: NOW, events_per_hour=rate)
    whole = list(one.events("TGAM", "ALERT", cuts[0], cuts[-1]))
    other = Emulator(clock=lambda: NOW, events_per_hour=rate)
    parts = [e for a, b in pairwise(cuts) for e in other.events("TGAM", "ALERT", a, b)]
    assert parts == whole
    assert all(cuts[0] <= event.timestamp < cuts[-1] for event in whole)


@pytest.mark.parametrize(
    "other", [(8, "TGAM", "ALERT"), (7, "BARCHART", "ALERT"), (7, "TGAM", "X")]
)
def test_another_seed_customer_or_product_has_other_events(other: tuple[int, str, str]) -> None:
    one, another = (
        {e.timestamp for e in Emulator(seed=seed).events(customer, product, START, START + HOUR)}
        for seed, customer, product in ((7, "TGAM", "ALERT"), other)
    )
    assert len(one & another) < len(one) / 10


def test_there_are_repeats_shared_times_edges_and_foreign_letters() -> None:
    emulator = Emulator(clock=lambda: NOW)
    hours = range(START, START + 48 * HOUR, HOUR)
    events = list(emulator.events("TGAM", "WATCHLIST", hours.start, hours.stop))
    repeats = sum(number - 1 for number in as_multiset(events).values())
    times = Counter(event.timestamp for event in events)
    assert repeats > len(hours) / 2
    assert len(events) - len(times) > repeats + len(hours) / 2
    assert all(times[edge] and times[edge + 1] and times[edge + HOUR - 1] for edge in hours)
    assert any(times[edge] > 1 for edge in hours)
    text = "".join(value for event in events for value in event.values.values())
    assert not text.isascii()
    assert " " in text
    assert not set('|"\n\r,;\t') & set(text)
    of_one_type = [event for event in events if event.type == "WATCHLIST-ACCESSED"]
    assert {"watchlistId" in event.values for event in of_one_type} == {True, False}


def hourly(emulator: Emulator) -> list[int]:
    """Return the number of events in each hour of a week that begins on a Thursday, in UTC."""
    week = START - START % (168 * HOUR)
    hours = range(week, week + 168 * HOUR, HOUR)
    return [emulator.count("TGAM", "ALERT", hour, hour + HOUR) for hour in hours]


@pytest.mark.parametrize("rate", [100.0, 5000.0])
def test_the_mean_over_a_week_is_as_asked_with_the_rhythm_of_day_and_week(rate: float) -> None:
    counts = hourly(Emulator(events_per_hour=rate, clock=lambda: NOW))
    assert sum(counts) == pytest.approx(168 * rate, rel=0.03)
    night, day, sunday = counts[3], counts[16], counts[3 * 24 + 16]
    assert day > 2 * night
    assert day > 2 * sunday


def test_without_a_rhythm_all_hours_are_alike_but_for_noise() -> None:
    emulator = Emulator(clock=lambda: NOW, events_per_hour=3000.0, rhythm="none")
    assert all(2700 < count < 3300 for count in hourly(emulator))
    emulator.hourly_noise = 0.3
    noisy = hourly(emulator)
    assert min(noisy) < 2000
    assert max(noisy) > 4500
    assert noisy == hourly(emulator)


def test_late_events_appear_when_released_or_after_their_time(emulator: Emulator) -> None:
    def count() -> int:
        return emulator.count("TGAM", "ALERT", NOW - 3 * HOUR, NOW)

    everything = count()
    emulator.late_share = 0.5
    hidden = everything - count()
    assert everything * 0.3 < hidden < everything * 0.7
    emulator.late_seconds = 3600.0
    assert everything - hidden < count() < everything
    emulator.advance(hours=1)
    assert count() == everything
    emulator.late_seconds = None
    assert count() == everything - hidden
    emulator.release_late()
    assert count() == everything


def test_a_file_shows_what_was_there_when_its_job_started(client: Client) -> None:
    emulator = client.emulator
    link = client.export(NOW - HOUR, NOW + HOUR)
    before = client.download(link).content
    emulator.advance(hours=1)
    assert client.download(link).content == before
    assert len(client.download(client.export(NOW - HOUR, NOW + HOUR)).content) > len(before)
