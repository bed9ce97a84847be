"""What STATE holds of a product: read tolerantly, and true after every run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.seen_columns import SeenColumns
from tap_barchart_events.state import ProductState
from tap_barchart_events.windows import Window, from_iso, to_iso

CONTEXT = {"customer": "TGAM", "product": "WATCHLIST"}
START, BOOKMARK = from_iso("2026-03-02"), from_iso("2026-03-03")
HOUR = 3_600_000
SEEN = SeenColumns(5, ("ab_test",))


def read(requested: tuple[str, ...] = (), **more: Any) -> ProductState:
    partition = {"context": CONTEXT, "replication_key_value": to_iso(BOOKMARK), **more}
    return ProductState.read(partition, start_date=START, event_types=requested)


def test_a_state_without_the_keys_takes_the_present_settings() -> None:
    state = read(("A", "B"))
    assert state == ProductState(START, ("A", "B"), BOOKMARK)
    assert read().event_types is None
    assert state.incomplete_types(("A", "B")) == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


DAMAGED_COLUMNS = JSON | st.fixed_dictionaries({"known": JSON, "extra": JSON})


@given(event_types=JSON, history_start=JSON, jobs=JSON, learnt=JSON, columns=DAMAGED_COLUMNS)
def test_what_is_damaged_is_as_if_it_were_not_there(**damaged: Any) -> None:
    state = read(("A",), **damaged)
    assert state.bookmark == BOOKMARK
    assert state.history_start <= BOOKMARK
    assert isinstance(state.jobs, list)
    assert isinstance(state.learnt, dict)
    assert state.columns.known >= 0
    assert len(json.dumps(state.columns.to_json())) < 1_000


def test_a_bookmark_that_is_no_date_time_is_refused() -> None:
    bookmarks: list[Any] = ["the day before", 5, [], {}, True]
    for bookmark in bookmarks:
        with pytest.raises(SettingError, match="which is not a date-time"):
            read(replication_key_value=bookmark)


def test_what_is_written_is_read_again() -> None:
    for types in (None, ("A", "B"), ()):
        state = ProductState(START, types, BOOKMARK, [{"source": "JOB-1"}], {"capacity": 5}, SEEN)
        partition: dict[str, Any] = {"context": CONTEXT}
        state.write_to(partition, "end")
        again = json.loads(json.dumps(partition))
        assert ProductState.read(again, start_date=0, event_types=("C",)) == state
        ProductState(START, types, BOOKMARK).write_to(partition, "end")
        assert not {"jobs", "learnt", "columns"} & set(partition)


def test_before_the_first_bookmark_nothing_is_claimed() -> None:
    partition: dict[str, Any] = {"context": CONTEXT, "event_types": ["A"], "history_start": "2020"}
    state = ProductState.read(partition, start_date=START, event_types=())
    assert state == ProductState(START, None)
    assert state.incomplete_types(("B",)) == ""
    state.write_to(partition, "end")
    assert partition == {"context": CONTEXT}


@pytest.mark.parametrize(
    ("complete", "requested", "after", "incomplete"),
    [
        (None, (), None, ""),
        (None, ("A",), ("A",), ""),
        (("A",), (), ("A",), "all but A"),
        (("A", "B"), ("B", "C"), ("B",), "C"),
        (("A",), ("B",), (), "B"),
        ((), (), (), "all"),
    ],
)
def test_types_are_complete_that_every_run_asked_for(
    complete: tuple[str, ...] | None,
    requested: tuple[str, ...],
    after: tuple[str, ...] | None,
    incomplete: str,
) -> None:
    state = ProductState(START, complete, BOOKMARK)
    assert state.incomplete_types(requested) == incomplete
    later = state.advanced(Window(BOOKMARK, BOOKMARK + HOUR), requested)
    assert later == ProductState(START, after, BOOKMARK + HOUR)
    assert later.incomplete_types(requested) == incomplete


def test_a_run_over_all_of_the_history_makes_its_types_complete() -> None:
    state = ProductState(START, ("A",), BOOKMARK)
    later = state.advanced(Window(START - HOUR, BOOKMARK + HOUR), ("B",))
    assert later == ProductState(START - HOUR, ("B",), BOOKMARK + HOUR)


def test_behind_a_gap_the_history_begins_anew() -> None:
    state = ProductState(START, ("A",), BOOKMARK)
    later = state.advanced(Window(BOOKMARK + HOUR, BOOKMARK + 2 * HOUR), ("B",))
    assert later == ProductState(BOOKMARK + HOUR, ("B",), BOOKMARK + 2 * HOUR)


def test_the_bookmark_never_moves_back_and_claims_nothing_meanwhile() -> None:
    state = ProductState(START, ("A",), BOOKMARK)
    assert state.advanced(Window(START, BOOKMARK), ("B",)) is state
