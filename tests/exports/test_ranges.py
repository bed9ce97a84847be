"""What a sync covers, and what of it is left while windows are taken and put back."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tap_barchart_events.exports.ranges import Remainder, range_to_cover
from tap_barchart_events.windows import Window


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


def instants(windows: list[Window]) -> set[int]:
    return {instant for window in windows for instant in range(window.start, window.end)}


@given(
    st.integers(0, 30),
    st.lists(st.integers(0, 30), unique=True, max_size=8),
    st.lists(st.tuples(st.booleans(), st.integers(0, 10**6)), max_size=40),
)
def test_what_is_taken_and_what_is_left_are_the_range_at_any_time(
    size: int, edges: list[int], steps: list[tuple[bool, int]]
) -> None:
    span = Window(0, size)
    within = sorted(edge for edge in edges if edge <= size)
    gone = [Window(*pair) for pair in zip(within[::2], within[1::2], strict=False)]
    left = Remainder(span, gone)
    for takes, number in steps:
        first = left.first
        if takes and first:
            end = first.start + 1 + number % first.size
            gone.append(left.take(end))
            assert gone[-1] == Window(first.start, end)
        elif gone:
            left.put_back(gone.pop(number % len(gone)))
        parts = list(left)
        assert all(a.end < b.start for a, b in itertools.pairwise(parts)), "in order, joined"
        assert all(part.size for part in parts)
        assert instants(parts) == instants([span]) - instants(gone)
