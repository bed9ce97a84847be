"""Windows: they cover exactly, and end, whatever happens; they are few where events are even."""

from __future__ import annotations

import bisect
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_barchart_events.exports.planner import Knowledge, WindowPlanner
from tap_barchart_events.windows import HOUR, MINUTE, Window

DAY = 24 * HOUR
START = 1_767_571_200_000


@dataclass
class Service:
    """A service in which jobs end in any order, and an export holds so many events."""

    events: Callable[[Window], int]
    capacity: float
    seed: int = 0
    counts: bool = True
    """Whether the planner gets the events of exports."""
    smallest: int = 1
    """Size of a window that is never too large, as it may not be split."""

    jobs: int = 0
    finished: list[Window] = field(default_factory=list)
    too_large: list[Window] = field(default_factory=list)

    def export_all(self, planner: WindowPlanner, at_once: int) -> Service:
        """Export all windows of a planner."""
        rng = random.Random(self.seed)  # noqa: S311 - a seeded order
        under_way: list[Window] = []
        while True:
            while len(under_way) < at_once and (window := planner.next()):
                under_way.append(window)
                self.jobs += 1
            if not under_way:
                assert planner.upcoming is None
                return self
            self._end(planner, under_way.pop(rng.randrange(len(under_way))))

    def _end(self, planner: WindowPlanner, window: Window) -> None:
        events = self.events(window)
        if events <= self.capacity or window.size <= self.smallest:
            self.finished.append(window)
            if self.counts:
                planner.counted(window, self._by_hour(window))
        else:
            self.too_large.append(window)
            assert planner.too_large(window)

    def _by_hour(self, window: Window) -> Counter[int]:
        hours = range(window.start // HOUR, -(-window.end // HOUR))
        return Counter({hour: self.events(_part(window, hour)) for hour in hours})


def _part(window: Window, hour: int) -> Window:
    return Window(max(window.start, hour * HOUR), min(window.end, (hour + 1) * HOUR))


def evenly(per_hour: float) -> Callable[[Window], int]:
    return lambda w: int(w.end * per_hour / HOUR) - int(w.start * per_hour / HOUR)


def at(instants: list[int]) -> Callable[[Window], int]:
    ordered = sorted(instants)
    return lambda window: (
        bisect.bisect_left(ordered, window.end) - bisect.bisect_left(ordered, window.start)
    )


def covers_exactly(windows: list[Window], whole: Window) -> bool:
    edges = [(w.start, w.end) for w in sorted(windows)]
    joined = all(a[1] == b[0] for a, b in itertools.pairwise(edges))
    return joined and edges[0][0] == whole.start and edges[-1][1] == whole.end


windows = st.tuples(st.integers(0, 10**13), st.integers(1, 10**9)).map(
    lambda pair: Window(pair[0], pair[0] + pair[1])
)


@st.composite
def placings(draw: st.DrawFn) -> tuple[Window, list[int]]:
    """Draw a range and events in it: spread, in bursts, or both."""
    whole = draw(windows)
    bursts = draw(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 60)), max_size=8))
    spread = draw(st.lists(st.floats(0, 1), max_size=60))
    places = [*spread, *(place for place, count in bursts for _ in range(count))]
    return whole, [whole.start + int(place * (whole.size - 1)) for place in places]


def are_nested(service: Service) -> bool:
    """Return whether each part of a window too large lies within it, and is at most half of it."""
    return all(
        too_large.start <= part.start
        and part.end <= too_large.end
        and part.size <= max(-(-too_large.size // 2), service.smallest)
        for too_large in service.too_large
        for part in [*service.too_large, *service.finished]
        if part.start < too_large.end and too_large.start < part.end and part.size < too_large.size
    )


@pytest.mark.parametrize("counts", [True, False])
@given(placings(), st.integers(1, 60), st.integers(1, 9), st.integers(), st.data())
def test_any_events_are_covered_exactly_in_nested_parts_with_readable_cuts(
    counts: object,
    placing: tuple[Window, list[int]],
    capacity: int,
    at_once: int,
    seed: int,
    data: st.DataObject,
) -> None:
    whole, instants = placing
    smallest = data.draw(st.sampled_from([1, 999, 1000, 1500, 7001]))
    largest = data.draw(st.integers(max(smallest, whole.size // 40), max(HOUR, whole.size)))
    edges = sorted(data.draw(st.lists(st.integers(whole.start, whole.end), max_size=4)))
    taken = [Window(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False) if a < b]
    planner = WindowPlanner(whole, largest=largest, smallest=smallest, jobs=at_once)
    assert all(planner.take(window) == (window.size <= largest) for window in taken)
    taken = [window for window in taken if window.size <= largest]
    service = Service(at(instants), capacity, seed, bool(counts), smallest)
    service.export_all(planner, at_once)
    assert covers_exactly([*service.finished, *taken], whole)
    assert all(window.size <= largest for window in service.finished)
    assert are_nested(service)
    kept = {whole.start, whole.end, *edges}
    for window in service.finished:
        unit = MINUTE if window.size >= 10 * MINUTE else 1000 if smallest >= 1000 else 1
        assert window.end in kept or window.end % unit == 0


def test_a_burst_in_the_first_window_does_not_make_later_weeks_small_windows() -> None:
    whole = Window(START, START + 9 * DAY)
    planner = WindowPlanner(whole, largest=31 * DAY, smallest=1, jobs=1)
    service = Service(at([START] * 45 + [START + DAY] * 34), 33).export_all(planner, 1)
    assert covers_exactly(service.finished, whole)
    assert service.jobs < 500


@pytest.mark.parametrize("known", [Knowledge(), Knowledge(500.0, 900.0)])
def test_the_first_windows_are_each_a_quarter_of_the_one_before(known: Knowledge) -> None:
    span = Window(START, START + 100 * DAY)
    planner = WindowPlanner(span, largest=31 * DAY, smallest=1000, known=known)
    sizes = [window.size for _ in range(4) if (window := planner.next())]
    assert sizes == [DAY, DAY // 4, DAY // 16, 22 * MINUTE]


def test_a_sparse_product_is_exported_in_few_large_windows() -> None:
    rng = random.Random(1)  # noqa: S311 - seeded events
    whole = Window(START, START + 1095 * DAY)
    events = at([rng.randrange(whole.start, whole.end) for _ in range(5919)])
    service = Service(events, 10**6).export_all(
        WindowPlanner(whole, largest=31 * DAY, smallest=1000), 4
    )
    assert service.jobs <= 50
    assert covers_exactly(service.finished, whole)


def test_windows_whose_exports_exist_are_not_issued_until_given_back() -> None:
    whole = Window(START, START + 10 * DAY)
    taken = [Window(START + DAY, START + 2 * DAY), Window(START + 4 * DAY, START + 5 * DAY)]
    planner = WindowPlanner(whole, largest=DAY, smallest=1000)
    assert all(planner.take(window) for window in taken)
    planner.give_back(taken[1])
    service = Service(evenly(5), 10**6).export_all(planner, 2)
    assert covers_exactly([*service.finished, taken[0]], whole)
    assert all(
        window.end <= taken[0].start or window.start >= taken[0].end for window in service.finished
    )


@pytest.mark.parametrize(
    "window",
    [
        Window(START - 1, START + HOUR),
        Window(START, START + DAY + 1),
        Window(START + HOUR, START + HOUR),
        Window(START + HOUR, START),
        Window(START + 4 * HOUR, START + 8 * HOUR),
    ],
    ids=["before", "too large", "empty", "negative", "over another one"],
)
def test_a_window_that_is_not_left_or_too_large_is_not_taken(window: Window) -> None:
    planner = WindowPlanner(Window(START, START + 2 * DAY), largest=DAY, smallest=1000)
    assert planner.take(Window(START + 5 * HOUR, START + 6 * HOUR))
    assert not planner.take(window)


def test_nothing_is_issued_from_the_end_on_that_was_set() -> None:
    planner = WindowPlanner(Window(START, START + 10 * DAY), largest=DAY, smallest=1000)
    planner.end_at(START + 3 * HOUR)
    assert planner.next() == Window(START, START + 3 * HOUR)
    assert planner.upcoming is None
    planner.end_at(START - 1)
    assert planner.span == Window(START, START)


def test_a_window_of_the_smallest_size_is_not_split() -> None:
    planner = WindowPlanner(Window(0, 1500), largest=DAY, smallest=1000)
    assert planner.next() == Window(0, 1500)
    assert planner.too_large(Window(0, 1500))
    assert planner.next() == Window(0, 1000)
    assert not planner.too_large(Window(0, 1000))


def test_an_empty_range_has_no_windows() -> None:
    planner = WindowPlanner(Window(5, 5), largest=DAY, smallest=1)
    assert planner.next() is None
    assert planner.upcoming is None
    assert planner.expected_after(5) == 0


@pytest.mark.parametrize("seconds_later", [0, 1, 900])
@pytest.mark.parametrize("lookback", [0, DAY])
def test_a_night_of_up_to_twice_what_fits_is_one_window_also_when_it_ends_later(
    seconds_later: int, lookback: int
) -> None:
    known = Knowledge(fits=24_000, hours=[900.0] * 168)
    span = Window(START - lookback, START + DAY + seconds_later * 1000)
    planner = WindowPlanner(span, largest=31 * DAY, smallest=1000, known=known, bookmark=START)
    assert planner.next() == span
    assert planner.next() is None


@pytest.mark.parametrize(("start", "end", "largest"), [(999, 2_000, 3_600_000), (0, 1_501, 1_500)])
def test_the_rest_of_a_range_makes_no_window_too_large_and_is_split_to_an_end(
    start: int, end: int, largest: int
) -> None:
    plan = WindowPlanner(Window(start, end), largest=largest, smallest=1_000)
    for _ in range(10):
        window = plan.next()
        if window is None:
            break
        assert window.size <= largest
        plan.too_large(window)
    assert plan.upcoming is None
