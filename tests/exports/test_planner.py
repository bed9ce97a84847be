"""Windows: they cover exactly, split, and grow back."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_barchart_events.exports.planner import WindowPlanner, range_to_cover
from tap_barchart_events.windows import Window, from_iso, to_iso

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR = 3_600_000
DAY = 24 * HOUR


@dataclass
class Outcome:
    """What it took to export a range."""

    jobs: int = 0
    finished: list[Window] = field(default_factory=list)
    too_large: list[Window] = field(default_factory=list)
    under_way_at_first: int = 0
    """Windows under way when the first one proved too large."""


def export_all(
    plan: WindowPlanner, fits: Callable[[Window], bool], at_once: int, seed: int = 0
) -> Outcome:
    """Play the service: windows end in any order, those that do not fit as too large."""
    rng, outcome = random.Random(seed), Outcome()  # noqa: S311 - a seeded order
    under_way: list[Window] = []
    while True:
        while len(under_way) < at_once and (window := plan.next()):
            under_way.append(window)
            outcome.jobs += 1
        if not under_way:
            return outcome
        window = under_way.pop(rng.randrange(len(under_way)))
        if fits(window):
            plan.ready(window, 1)
            outcome.finished.append(window)
        else:
            if not outcome.too_large:
                outcome.under_way_at_first = len(under_way)
            outcome.too_large.append(window)
            assert plan.too_large(window, 1), "nothing in these tests is too large when smallest"


def is_at_most(limit: int, window: Window) -> bool:
    """Tell whether a window fits when events are spread evenly."""
    return window.size <= limit


def holds_most_of_none(burst: int, window: Window) -> bool:
    """Tell whether a window fits when nearly all events are in the second from ``burst`` on."""
    return min(window.end, burst + 1000) - max(window.start, burst) <= 900


def covers_exactly(windows: list[Window], whole: Window) -> bool:
    """Tell whether windows, sorted, join up without gap or overlap."""
    edges = [(w.start, w.end) for w in sorted(windows)]
    joined = all(a[1] == b[0] for a, b in itertools.pairwise(edges))
    return joined and edges[0][0] == whole.start and edges[-1][1] == whole.end


ranges = st.tuples(st.integers(0, 10**13), st.integers(1, 10**9)).map(
    lambda pair: Window(pair[0], pair[0] + pair[1])
)


@given(ranges, st.integers(1, 10**9), st.integers(1, 9), st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_windows_cover_the_range_exactly_whatever_proves_too_large(
    whole: Window, largest: int, at_once: int, seed: int
) -> None:
    largest = max(largest, whole.size // 200 + 1)
    plan = WindowPlanner(whole, largest=largest, smallest=1)
    dense = random.Random(seed)  # noqa: S311 - a seeded shape
    spots = [dense.randrange(whole.start, whole.end) for _ in range(5)]
    room = dense.randint(1, 4)
    outcome = export_all(
        plan,
        lambda w: w.size == 1 or sum(w.start <= s < w.end for s in spots) <= room,
        at_once,
        seed,
    )
    assert covers_exactly(outcome.finished, whole)
    assert all(w.size <= largest for w in outcome.finished)


@pytest.mark.parametrize("at_once", [1, 2, 4, 8])
def test_evenly_spread_events_cost_at_most_the_stated_number_of_jobs(at_once: int) -> None:
    for seed in range(80):
        rng = random.Random(seed)  # noqa: S311 - seeded cases
        largest = rng.choice([1, 6, 24]) * HOUR
        whole = Window(0, int(largest * rng.uniform(0.5, 60)))
        limit = int(largest / rng.uniform(0.9, 300))
        smallest = 1000
        plan = WindowPlanner(whole, largest=largest, smallest=smallest)
        outcome = export_all(plan, partial(is_at_most, limit), at_once, seed)
        needed = math.ceil(whole.size / min(limit, largest))
        bound = (
            2 * needed
            + outcome.under_way_at_first
            + 2 * math.log2(largest / smallest)
            + math.log2(needed)
            + 2
        )
        assert outcome.jobs <= bound, f"seed {seed}: {outcome.jobs} jobs, {needed} needed"


@pytest.mark.parametrize("at_once", [1, 2, 4, 8])
def test_a_burst_of_one_second_costs_no_more_than_a_logarithm_extra(at_once: int) -> None:
    whole = Window(0, 10 * DAY)
    for seed in range(200):
        burst = random.Random(seed).randrange(whole.end - 1000)  # noqa: S311 - seeded cases
        outcome = export_all(
            WindowPlanner(whole, largest=DAY, smallest=1),
            partial(holds_most_of_none, burst),
            at_once,
            seed,
        )
        assert outcome.jobs - 10 <= (2 * at_once + 3) * math.log2(DAY / 900), f"seed {seed}"


def test_the_size_that_worked_is_kept_and_grows_back() -> None:
    plan = WindowPlanner(Window(0, 100 * DAY), largest=DAY, smallest=1000)
    quiet_from = 10 * DAY
    outcome = export_all(plan, lambda w: w.size <= HOUR or w.start >= quiet_from, 1)
    sizes = [w.size for w in sorted(outcome.finished)]
    busy = [w.size for w in sorted(outcome.finished) if w.end <= quiet_from]
    assert sizes[-2] == DAY, "it grew back (the last window may be cut by the end)"
    assert min(busy) > HOUR // 2 - 1, "no window smaller than needed"
    assert len(outcome.too_large) < 20, "it did not try the full size again for each window"


def test_a_window_of_the_smallest_size_is_not_split() -> None:
    plan = WindowPlanner(Window(0, 1500), largest=DAY, smallest=1000)
    first = plan.next()
    assert first == Window(0, 1500)
    assert plan.too_large(first, 1)
    second = plan.next()
    assert second == Window(0, 1000)
    assert not plan.too_large(second, 1)


def test_an_empty_range_has_no_windows() -> None:
    assert WindowPlanner(Window(5, 5), largest=DAY, smallest=1).next() is None


def test_what_comes_first_does_not_wait_for_a_try_to_grow_that_comes_later() -> None:
    plan = WindowPlanner(Window(0, 100), largest=50, smallest=1)
    early, late = plan.next(), plan.next()
    assert early
    assert late
    assert plan.too_large(late, 1)
    probe = plan.next()
    assert probe
    assert plan.next() is None, "one window at a time until the new size has worked"
    assert plan.too_large(early, 1)
    again = plan.next()
    assert again
    assert again.start == 0


@given(
    st.integers(0, 10**12),
    st.none() | st.integers(0, 10**12),
    st.none() | st.integers(0, 10**12),
    st.integers(0, 10**9),
    st.integers(0, 10**12),
)
def test_a_sync_covers_from_bookmark_minus_lookback_to_now_minus_lag(
    start: int, end: int | None, bookmark: int | None, lookback: int, latest: int
) -> None:
    covered = range_to_cover(
        start=start, end=end, bookmark=bookmark, lookback=lookback, latest=latest
    )
    assert covered.start >= start
    assert covered.start == start or (bookmark is not None and covered.start == bookmark - lookback)
    assert covered.size >= 0
    assert covered.size == 0 or covered.end == min(latest, latest if end is None else end)


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_instants_survive_the_way_to_iso_and_back(instant: int) -> None:
    assert from_iso(to_iso(instant)) == instant
    assert to_iso(instant).endswith("+00:00")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2019-10-14", 1571011200000),
        ("2019-10-14T05:00:00Z", 1571029200000),
        ("2019-10-14 05:00:00", 1571029200000),
        ("2019-10-14T07:00:00.5+02:00", 1571029200500),
        ("2019-10-14T05:00:00.1239999Z", 1571029200123),
    ],
)
def test_iso_dates_are_read_as_utc_unless_they_say_otherwise(text: str, expected: int) -> None:
    assert from_iso(text) == expected


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2019-13-01", "1571029200000", "0001-01-01T00:00:00+14:00"]
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"(?s).*"):
        from_iso(text)


def test_a_window_reads_well() -> None:
    start = from_iso("2019-10-14T05:00Z")
    assert str(Window(start, start + 4 * HOUR)) == "2019-10-14 05:00 → 09:00"
    assert str(Window(start, start + DAY)) == "2019-10-14 05:00 → 2019-10-15 05:00"
    assert str(Window(start, start + 1500)) == "2019-10-14 05:00 → 05:00:01.500"
