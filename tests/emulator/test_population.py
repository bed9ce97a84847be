"""The emulator's population: its sessions, users, products and symbols."""

from collections import Counter, defaultdict
from itertools import groupby, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barchart_events_emulator import Emulator, Event
from barchart_events_emulator.generator import population_of
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.windows import HOUR
from tests.emulator_client import NOW, START

DAY = 24 * HOUR
MONDAY = START - START % DAY
WEEKS = 26
PRODUCTS_BY_SIZE = ("WATCHLIST", "PORTFOLIO", "ALERT", "CMDTYVIEW")


def events_of(product: str, *, weeks: int = WEEKS, rate: float = 12.0) -> list[Event]:
    """Return the events of a product over whole weeks."""
    emulator = Emulator(
        population="users", events_per_hour=rate, clock=lambda: MONDAY + 7 * DAY * weeks
    )
    return list(emulator.events("TGAM", product, MONDAY, MONDAY + 7 * DAY * weeks))


@pytest.fixture(scope="module")
def by_product() -> dict[str, list[Event]]:
    """Return half a year of the products of the demo."""
    return {product: events_of(product) for product in PRODUCTS_BY_SIZE}


def sessions(events: list[Event]) -> list[list[Event]]:
    """Return each user's events, apart where nothing happened for 30 minutes."""
    found: list[list[Event]] = []
    in_order = sorted(events, key=lambda event: (event.values["userId"], event.timestamp))
    for _, own in groupby(in_order, key=lambda event: event.values["userId"]):
        last = -DAY
        for event in own:
            if event.timestamp - last > DAY / 48:
                found.append([])
            found[-1].append(event)
            last = event.timestamp
    return found


@pytest.mark.parametrize(
    ("product", "path"),
    [
        ("WATCHLIST", ("APPLICATION-LOADED", "ACCESSED")),
        ("PORTFOLIO", ("VALUE-GRAPH-OPENED", "VALUE-GRAPH-DURATION-CHANGED")),
        ("CMDTYVIEW", ("EXCEL-EXPORT-SHOWN", "EXCEL-EXPORT-COMPLETED")),
        ("BARCHART-EXCEL", ("CHART-OPENED", "CHART-INSERTED")),
    ],
)
def test_sessions_have_5_to_20_events_that_follow_paths(
    product: str, path: tuple[str, str]
) -> None:
    found = sessions(events_of(product))
    assert sum(5 <= len(session) <= 20 for session in found) > 0.95 * len(found)
    first = next(iter(PRODUCTS[product].event_types))
    assert sum(session[0].type == first for session in found) > 0.95 * len(found)
    step, following = (f"{product}-{part}" for part in path)
    steps = [after.type for session in found for at, after in pairwise(session) if at.type == step]
    assert len(steps) > 30
    assert steps.count(following) > len(steps) / 2


@pytest.mark.parametrize("product", sorted(PRODUCTS))
def test_every_product_has_events_of_most_of_its_types(product: str) -> None:
    seen = {event.type for event in events_of(product)}
    assert len(seen) > 0.7 * len(PRODUCTS[product].event_types)


def test_products_differ_in_size_and_few_users_use_all(by_product: dict[str, list[Event]]) -> None:
    sizes = [len(events) for events in by_product.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 3 * sizes[-1]
    assert sizes[0] == pytest.approx(12 * WEEKS * 168, rel=0.3)
    used = Counter(
        user for events in by_product.values() for user in {e.values["userId"] for e in events}
    )
    several = sum(number > 1 for number in used.values())
    assert 0.3 * len(used) < several < 0.8 * len(used)
    assert 0 < sum(number == len(by_product) for number in used.values()) < 0.1 * len(used)


def test_users_come_and_leave_and_have_weekdays_of_their_own(
    by_product: dict[str, list[Event]],
) -> None:
    days = defaultdict(list)
    for event in by_product["WATCHLIST"]:
        days[event.values["userId"]].append((event.timestamp - MONDAY) // DAY)
    begun_late = sum(own[0] > 8 * 7 for own in days.values())
    left_early = sum(own[-1] < (WEEKS - 8) * 7 for own in days.values())
    assert begun_late > len(days) / 5
    assert left_early > len(days) / 5
    often = [own for own in days.values() if len(set(own)) >= 10]
    at_weekends = [sum(day % 7 >= 5 for day in own) / len(own) for own in often]
    assert sum(share < 0.1 for share in at_weekends) > len(often) / 4
    assert sum(share > 0.4 for share in at_weekends) > len(often) / 20


def test_many_use_a_few_symbols_and_few_use_many(by_product: dict[str, list[Event]]) -> None:
    users = defaultdict(set)
    for event in by_product["WATCHLIST"]:
        if symbol := event.values.get("symbol"):
            users[symbol].add(event.values["userId"])
    numbers = sorted((len(own) for own in users.values()), reverse=True)
    assert len(numbers) > 80
    assert numbers[0] > 10 * numbers[len(numbers) // 2]


@given(st.lists(st.integers(NOW - 5 * DAY, NOW), min_size=3, unique=True))
def test_events_are_the_same_however_a_range_is_split(cuts: list[int]) -> None:
    cuts.sort()
    options: dict[str, Any] = {"population": "users", "events_per_hour": 30.0}
    one = Emulator(clock=lambda: NOW, **options)
    whole = list(one.events("TGAM", "ALERT", cuts[0], cuts[-1]))
    population_of.cache_clear()
    other = Emulator(clock=lambda: NOW, **options)
    parts = [
        e for a, b in reversed(list(pairwise(cuts))) for e in other.events("TGAM", "ALERT", a, b)
    ]
    assert sorted(parts, key=lambda event: event.timestamp) == whole
    assert all(cuts[0] <= event.timestamp < cuts[-1] for event in whole)
