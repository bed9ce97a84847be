"""Late events: counted by hour, however windows are cut and runs are interrupted."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tap_barchart_events.late import MAX_HOURS, LateEvents
from tap_barchart_events.windows import HOUR, Window

Instants = st.lists(st.integers(0, 10 * HOUR - 1), max_size=40)


def read(late: LateEvents, instants: list[int], cuts: list[int]) -> None:
    """Read events in windows with these ends."""
    start = late.start
    for end in cuts:
        inside = (t // HOUR for t in instants if start <= t < end)
        late.read(Window(start, end), Counter(inside))
        start = end


@given(
    Instants,
    Instants,
    st.integers(0, 3 * HOUR),
    st.integers(4 * HOUR, 7 * HOUR),
    st.lists(st.integers(1, 10 * HOUR), max_size=6),
)
def test_late_events_are_those_that_whole_hours_have_gained(
    before: list[int], arrived: list[int], start: int, bookmark: int, cuts: list[int]
) -> None:
    first = LateEvents(0)
    read(first, before, [bookmark])
    kept = LateEvents.counts_in(first.to_text(start))
    late = LateEvents(start, bookmark, kept)
    read(late, before + arrived, sorted({cut for cut in cuts if cut > start} | {10 * HOUR}))
    whole = range(-(-start // HOUR), bookmark // HOUR)
    gained = Counter(t // HOUR for t in arrived if t // HOUR in whole)
    assert late.by_hour == gained
    assert late.hours == (-(-bookmark // HOUR) - min(gained) if gained else 0)
    assert late.compared == [*whole]
    assert late.reaches_the_lookback == any(gained[hour] for hour in whole[: -(-len(whole) // 4)])


def test_an_interrupted_run_counts_no_late_event_twice() -> None:
    before, bookmark = [HOUR, 2 * HOUR], 6 * HOUR
    now = [*before, HOUR + 1, 3 * HOUR]
    first = LateEvents(0)
    read(first, before, [bookmark])
    interrupted = LateEvents(0, bookmark, LateEvents.counts_in(first.to_text(0)))
    read(interrupted, now, [2 * HOUR + 5])
    assert interrupted.by_hour == {1: 1}
    later = LateEvents(0, bookmark, LateEvents.counts_in(interrupted.to_text(0)))
    read(later, now, [bookmark])
    assert later.by_hour == {3: 1}


def test_the_counts_are_short_exact_and_those_of_the_newest_hours() -> None:
    late = LateEvents(0)
    for hour in range(500_000, 500_060):
        late.read(Window(hour * HOUR, (hour + 1) * HOUR), {hour: 1_000_000 + hour})
    text = late.to_text(500_001 * HOUR)
    assert len(text) < 500
    counts = LateEvents.counts_in(text)
    newest = range(500_060 - MAX_HOURS, 500_060)
    assert counts == {hour: 1_000_000 + hour for hour in newest}


def test_a_bookmark_that_was_set_back_keeps_neither_a_gap_nor_later_hours() -> None:
    before = dict.fromkeys(range(9000, 9024), 5)
    late = LateEvents(100 * HOUR, 124 * HOUR, before)
    read(late, [110 * HOUR], [126 * HOUR])
    assert late.by_hour == {}
    assert LateEvents.counts_in(late.to_text(102 * HOUR)) == {
        hour: int(hour == 110) for hour in range(102, 126)
    }


def test_hours_that_do_not_reach_the_start_say_nothing_about_the_lookback() -> None:
    late = LateEvents(0, 168 * HOUR, dict.fromkeys(range(120, 168), 0))
    read(late, [121 * HOUR], [168 * HOUR])
    assert late.by_hour == {121: 1}
    assert not late.reaches_the_lookback


def test_damaged_counts_are_not_compared() -> None:
    for damaged in (None, 5.5, "", "x 1 2", ["1"], "-4 1", {"a": 1}):
        assert LateEvents.counts_in(damaged) == {}
    assert LateEvents.counts_in("7 1 x -3 4") == {7: 1, 10: 4}
    assert len(LateEvents.counts_in("7 " + "1 " * 9_000)) == MAX_HOURS
    assert LateEvents.counts_in("9" * 9_000) == {}
