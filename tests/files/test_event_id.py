"""The ids of events: over the identity columns, which are frozen, whatever else a file has."""

import random
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_barchart_events import products
from tap_barchart_events.files.queries import TIE_LOOKBACK
from tap_barchart_events.products import IDENTITY_COLUMNS, PRODUCTS, Product, snake_case
from tests.export_files import START, WATCHLIST, by_id, checked, events_of, text

NAMES = [*WATCHLIST, "abTest", "zone"]
WIDTH = len(WATCHLIST)


def row(at: int, user: str, *others: str) -> list[str]:
    return [str(START + at), "T", user, *[""] * (WIDTH - 3), *others]


def read(rows: Sequence[Sequence[str]], **options: Any) -> list[dict[str, Any]]:
    with checked(text(rows), **options) as export:
        return list(export.records())


def ids(rows: Sequence[Sequence[str]], **options: Any) -> list[str]:
    return [record["event_id"] for record in read(rows, **options)]


def test_the_recipe_is_the_one_that_tables_are_keyed_by() -> None:
    values = ["WATCHLIST-SYMBOL-ADDED", "me", "Ü\n1", "AAPL", "", "", "", ""]
    quoted = [f'"{value}"' for value in [str(START), *values, "new"]]
    assert ids([[*WATCHLIST, "abTest"], quoted, quoted]) == [
        "9f4c3c6124b19f80c883c8b1331475c6",
        "bca60eee49f6900fe78d61670592b5aa",
    ]
    other = [["timestamp", "type", "userId", "gadgetSize"], [str(START), "MADE", "me", "7"]]
    assert ids(other, product="GADGET") == ["f204d1a31c0a090f971b4a49844bd139"]


def test_the_identity_columns_are_frozen() -> None:
    frozen = "\n".join(f"{code} {' '.join(names)}" for code, names in IDENTITY_COLUMNS.items())
    digest = sha256(frozen.encode()).hexdigest()
    assert len(IDENTITY_COLUMNS) == 9
    assert digest == ("e34b68fce94b0080fa65e569561df5278f9ad37e1ba53e054f048a969fa50b3a"), (
        "tables are keyed by ids over these columns: none may come or go"
    )


def test_the_identity_columns_are_those_of_all_layouts_of_version_6() -> None:
    # A column that is added to a product later is in its columns, and not among these.
    for code, names in IDENTITY_COLUMNS.items():
        assert set(names) <= set(PRODUCTS[code].columns)


def test_a_column_that_a_later_version_knows_changes_no_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [[*WATCHLIST, "abTest"], row(0, "me", "1"), row(1, "me", "2")]
    before = ids(rows)
    known = PRODUCTS["WATCHLIST"]
    later = Product("WATCHLIST", {**known.event_types, "WATCHLIST-NEW": ("userId", "abTest")})
    monkeypatch.setattr(products, "PRODUCTS", {**PRODUCTS, "WATCHLIST": later})
    records = read(rows)
    assert [record["ab_test"] for record in records] == ["1", "2"]
    assert [record["event_id"] for record in records] == before


def test_a_column_that_the_vendor_adds_changes_no_id() -> None:
    plain = [row(n // 3, "me") for n in range(9)]
    wider = [[*values, f"{n}", "x" * (n % 2)] for n, values in enumerate(plain)]
    middle = [[*values[:3], values[-2], *values[3:-2], values[-1]] for values in [NAMES, *wider]]
    before = sorted(ids(plain, layout_check="warning"))
    assert len(set(before)) == 9
    assert sorted(ids([NAMES, *wider])) == before
    assert sorted(ids(middle)) == before


def test_all_columns_of_a_product_that_is_not_known_are_identity_columns() -> None:
    one = [["timestamp", "type", "a"], [str(START), "T", "1"]]
    two = [["timestamp", "type", "a", "b"], [str(START), "T", "1", ""], [str(START), "T", "1", "2"]]
    respelt = [["timestamp", "type", "A1"], [str(START), "T", "1"]]
    (first,) = ids(one, product="GADGET")
    assert ids(two, product="GADGET")[0] == first
    assert ids(two, product="GADGET")[1] != first
    assert ids(respelt, product="GADGET") != [first]


@pytest.mark.parametrize("distance", [1, TIE_LOOKBACK, TIE_LOOKBACK + 1, 200])
@pytest.mark.parametrize("disorder", [False, True])
def test_events_equal_but_for_other_columns_are_numbered_by_these(
    distance: int, *, disorder: bool
) -> None:
    between = [row(5, f"other {n}") for n in range(distance - 1)]
    tied = [("b", ""), ("", "z"), ("", "z"), ("a", "y")]
    rows = [r for values in tied for r in (row(5, "me", *values), *between)]
    rows = [[*values, *[""] * (len(NAMES) - len(values))] for values in rows]
    if disorder:
        rows = [*rows, row(0, "early", "", "")]
    expected = by_id(events_of(rows, NAMES))
    assert by_id(read([NAMES, *rows])) == expected
    assert by_id(read([NAMES, *reversed(rows)])) == expected


others = st.sampled_from(["", "a", "b", "B", "é", "😀", "a\0", "\0", "\uffff", "a\n", "10", "9"])


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from("xy"), others, others), min_size=1, max_size=40
    ),
    in_order=st.booleans(),
    seed=st.randoms(use_true_random=False),
    places=st.permutations(range(1, len(NAMES))).map(lambda places: [0, *places]),
    spelling=st.sampled_from([str, snake_case, str.upper]),
)
def test_ids_depend_on_the_events_alone_whatever_the_header_and_other_columns_hold(
    *,
    rows: list[tuple[int, str, str, str]],
    in_order: bool,
    seed: random.Random,
    places: list[int],
    spelling: Callable[[str], str],
) -> None:
    made = [row(*values) for values in (sorted(rows) if in_order else rows)]
    expected = by_id(events_of(made, NAMES))
    shuffled = made.copy()
    seed.shuffle(shuffled)
    for one in (made, shuffled):
        quoted = [[f'"{values[place]}"' for place in places] for values in one]
        spelt = [*map(spelling, WATCHLIST), "abTest", "zone"]
        names = [spelt[place] for place in places]
        assert by_id(read([names, *quoted])) == expected
