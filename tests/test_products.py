"""What is known of the products, and the names of their columns."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_barchart_events.products import (
    LEADING,
    PRODUCTS,
    RESERVED,
    Product,
    columns_of,
    snake_case,
)


def test_a_name_added_to_a_context_in_the_middle_becomes_a_column_in_the_middle() -> None:
    before = Product("P", {"P-A": ("userId", "symbol"), "P-B": ("userId", "view")})
    after = Product("P", {"P-A": ("userId", "origin", "symbol"), "P-B": ("userId", "view")})

    assert before.layouts[-1] == ("timestamp", "type", "userId", "symbol", "view")
    assert after.layouts[-1] == ("timestamp", "type", "userId", "origin", "symbol", "view")


PORTFOLIO = (
    "userId portfolioId positionId frame viewName showClosedPositions dividendStrategy "
    "cashAdjustmentStrategy"
)


@pytest.mark.parametrize(
    ("code", "columns", "event_types", "documented"),
    [
        ("ALERT", 5, 9, "userId alertId"),
        ("WATCHLIST", 9, 18, "userId watchlistId symbol viewName viewType dataMode classFilter"),
        ("PORTFOLIO", 12, 25, PORTFOLIO),
        ("CMDTYVIEW", 64, 55, "userId sessionId browser workspace"),
        ("ENTITLEMENTS", 4, 1, "userId operation"),
        ("MARKETPLACE", 7, 5, None),
        ("CMDTYVIEW-WEB-EXCEL", 14, 23, None),
        ("BARCHART-WEB-EXCEL", 12, 17, None),
        ("BARCHART-EXCEL", 19, 67, None),
    ],
)
def test_each_product_has_the_columns_of_version_6_and_those_that_were_documented(
    code: str, columns: int, event_types: int, documented: str | None
) -> None:
    product = PRODUCTS[code]
    assert len(product.layouts[-1]) == columns
    assert len(product.event_types) == event_types
    if documented:
        assert ("timestamp", "type", *documented.split()) in product.layouts


def test_a_column_that_only_an_older_layout_has_is_still_a_column_and_comes_last() -> None:
    assert PRODUCTS["CMDTYVIEW"].columns[-1] == "workspace"
    assert "workspace" not in PRODUCTS["CMDTYVIEW"].layouts[-1]


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=lambda product: product.code)
def test_layouts_differ_in_length_and_repeat_no_name(product: Product) -> None:
    assert len({len(layout) for layout in product.layouts}) == len(product.layouts)
    for layout in product.layouts:
        names = [snake_case(name) for name in layout]
        assert tuple(names[:2]) == LEADING
        assert len({*names}) == len(names)
    assert not {*product.columns} & {*RESERVED}


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("userId", "user_id"),
        ("userID", "user_id"),
        ("HTTPServer", "http_server"),
        ("Zip Code", "zip_code"),
        (" Zip-Code ", "zip_code"),
        ("address2Line", "address2_line"),
        ("__private", "private"),
        ("Größe", "größe"),
        ("???", ""),
        ("", ""),
    ],
)
def test_a_column_is_named_in_snake_case(name: str, column: str) -> None:
    assert snake_case(name) == column


@given(st.text())
def test_a_name_in_snake_case_stays_as_it_is(name: str) -> None:
    assert snake_case(snake_case(name)) == snake_case(name)


def test_one_product_more_only_adds_columns_wherever_it_is_named() -> None:
    for some, more in itertools.permutations(PRODUCTS, 2):
        before, after = columns_of([some]), columns_of([some, more])
        assert set(after) == set(before) | set(PRODUCTS[more].columns)
        assert after == columns_of([more, some])


def test_a_product_that_is_not_known_has_no_columns() -> None:
    assert columns_of(["UNHEARD-OF"]) == []
    assert columns_of(["UNHEARD-OF", "ENTITLEMENTS"]) == ["user_id", "operation"]
