"""What STATE holds of a product: read tolerantly, and true after every run."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.settings import Settings, checked
from tap_barchart_events.state import ProductState
from tap_barchart_events.windows import HOUR, from_iso, to_iso

CONTEXT = {"customer": "TGAM", "product": "WATCHLIST"}
START, BOOKMARK = from_iso("2026-03-02"), from_iso("2026-03-03")


def read(**more: Any) -> ProductState:
    partition = {"context": CONTEXT, "replication_key_value": to_iso(BOOKMARK), **more}
    return ProductState.read(partition)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


DAMAGED_COLUMNS = JSON | st.fixed_dictionaries({"known": JSON, "extra": JSON})


@given(event_types=JSON, start_date=JSON, jobs=JSON, learnt=JSON, columns=DAMAGED_COLUMNS)
def test_what_is_damaged_is_as_if_it_were_not_there(**damaged: Any) -> None:
    state = read(**damaged)
    assert state.bookmark == BOOKMARK
    assert isinstance(state.jobs, list)
    assert isinstance(state.learnt, dict)
    assert state.columns >= 0
    partition: dict[str, Any] = {}
    state.write_to(partition, "end")
    assert len(json.dumps(partition.get("columns"))) < 1_000
    assert ProductState.read(partition) == state


def test_a_bookmark_that_is_no_date_time_is_refused() -> None:
    bookmarks: list[Any] = ["the day before", 5, [], {}, True]
    for bookmark in bookmarks:
        with pytest.raises(SettingError, match="which is not a date-time"):
            read(replication_key_value=bookmark)


def test_what_is_written_is_read_again() -> None:
    for types in (None, ("A", "B"), ()):
        jobs, learnt = [{"source": "JOB-1"}], {"sizes": "5"}
        state = ProductState(BOOKMARK, types, START, jobs, learnt, 5, ("ab_test",))
        partition: dict[str, Any] = {"context": CONTEXT, "history_start": to_iso(START)}
        state.write_to(partition, "end")
        again = json.loads(json.dumps(partition))
        assert ProductState.read(again) == state
        assert "history_start" not in partition
        ProductState(BOOKMARK).write_to(partition, "end")
        assert set(partition) == {"context", "replication_key", "replication_key_value"}
        assert ProductState.read(partition) == ProductState(BOOKMARK)


def test_before_the_first_bookmark_nothing_is_claimed() -> None:
    partition: dict[str, Any] = {}
    ProductState().write_to(partition, "end")
    assert partition == {}


def settings_with(*event_types: str, start_date: int = START, lookback_hours: int = 0) -> Settings:
    names = dict.fromkeys(("username", "password", "customer"), "x")
    config = {
        **names,
        "products": ["WATCHLIST"],
        "event_types": list(event_types),
        "start_date": to_iso(start_date),
        "lookback_hours": lookback_hours,
    }
    return Settings.from_config(checked(config))


def test_a_finished_window_moves_the_bookmark_and_never_back() -> None:
    settings = settings_with("B")
    state = ProductState(BOOKMARK, ("A",), START - HOUR)
    assert state.finished(BOOKMARK + HOUR, settings) == ProductState(BOOKMARK + HOUR, ("B",), START)
    assert state.finished(BOOKMARK - HOUR, settings) == ProductState(BOOKMARK, ("B",), START)
    assert ProductState().finished(BOOKMARK, settings).bookmark == BOOKMARK
    assert ProductState(0).finished(-HOUR, settings).bookmark == 0


def warnings(state: ProductState, settings: Settings) -> list[str]:
    """Return what a run warns of, and check that the next run warns of it no more."""
    found = list(state.warnings(settings))
    after = state.finished(max(BOOKMARK, settings.start_date) + HOUR, settings)
    assert list(after.warnings(settings)) == []
    return found


@pytest.mark.parametrize(
    ("last", "types", "names"),
    [
        (("A", "B", "B"), ("B", "A"), None),
        (None, ("A",), None),
        (("A",), ("A", "B", "C"), ("A", "A, B, C")),
        (("A", "B"), (), ("A, B", "all types")),
        ((), ("A",), ("all types", "A")),
    ],
)
def test_event_types_that_have_changed_are_a_warning_in_one_run(
    last: tuple[str, ...] | None, types: tuple[str, ...], names: tuple[str, str] | None
) -> None:
    settings = settings_with(*types, lookback_hours=1)
    found = warnings(ProductState(BOOKMARK, last, START), settings)
    assert len(found) == bool(names)
    if names:
        old, new = names
        assert f"up to {to_iso(BOOKMARK - HOUR)}, events of {old} have been extracted; " in found[0]
        assert f"; from {to_iso(BOOKMARK)} on, events of {new} will be; to extract" in found[0]


@pytest.mark.parametrize(
    ("last", "start_date", "lookback_hours", "missing"),
    [
        (None, START - HOUR, 0, None),
        (START, START + HOUR, 0, None),
        (START, START - HOUR, 0, (START - HOUR, START)),
        (START, START - HOUR, 25, None),  # the lookback reads it again
        (BOOKMARK + HOUR, START, 0, (START, BOOKMARK)),
        (START, START - 2 * HOUR, 25, (START - 2 * HOUR, START - HOUR)),
        (START, BOOKMARK, 0, None),
        (START, BOOKMARK + HOUR, 2, (BOOKMARK, BOOKMARK + HOUR)),
    ],
)
def test_a_start_date_that_has_changed_is_a_warning_in_one_run(
    last: int | None, start_date: int, lookback_hours: int, missing: tuple[int, int] | None
) -> None:
    settings = settings_with(start_date=start_date, lookback_hours=lookback_hours)
    found = warnings(ProductState(BOOKMARK, (), last), settings)
    assert len(found) == bool(missing)
    if missing:
        assert f"so events from {to_iso(missing[0])} to {to_iso(missing[1])} are not" in found[0]
