"""Which column is which: headers, the setting ``columns``, known layouts, cross-check."""

import pytest

from tap_barchart_events.exceptions import FileError, LayoutError
from tap_barchart_events.files.layout import TypeCount, detect_layout, layout_conflicts
from tap_barchart_events.products import PRODUCTS, Product, snake_case

PORTFOLIO_OLD = ["1571029200000", "PORTFOLIO-CREATED", *[""] * 8]


@pytest.mark.parametrize(
    "header",
    [
        ["timestamp", "type", "userId", "watchlistId"],
        ["TIMESTAMP", "Type", "User Id", "watchlist_id"],
        ["Timestamp", "type", "userID", "WatchlistID"],
        ["time_stamp", "TYPE", "USERID", "watchlistid"],
        [" TimeStamp ", "t-y-p-e", "user-id", "WATCHLIST ID"],
    ],
)
def test_a_header_is_recognised_however_its_names_are_written(header: list[str]) -> None:
    layout = detect_layout(header, "WATCHLIST", {})
    assert layout.header
    assert layout.names == ("timestamp", "type", "user_id", "watchlist_id")


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (["USERID", "userId"], ("userid", "user_id")),
        (["user id", "user_id"], ("user_id_2", "user_id")),
        (["userid", "USERID"], ("user_id", "userid")),
        (["User Id", "User-Id", "userID"], ("user_id", "user_id_2", "user_id_3")),
        (["userId", "TYPE", "Timestamp"], ("user_id", "type_2", "timestamp_2")),
    ],
)
def test_an_exact_name_wins_and_a_further_one_gets_a_name_of_its_own(
    header: list[str], names: tuple[str, ...]
) -> None:
    layout = detect_layout(["timestamp", "type", *header], "WATCHLIST", {})
    assert layout.names == ("timestamp", "type", *names)


def test_no_two_known_columns_of_a_product_have_the_same_letters_and_digits() -> None:
    for product in PRODUCTS.values():
        plain = {name.replace("_", "") for name in product.columns}
        assert len(plain) == len(product.columns)


def test_of_a_product_that_is_not_known_only_timestamp_and_type_are() -> None:
    layout = detect_layout(["TIME STAMP", "Type", "USERID", "userId"], "GADGET", {})
    assert layout.names == ("timestamp", "type", "userid", "user_id")


def test_an_event_whose_values_are_timestamp_and_type_is_no_header() -> None:
    row = ["1571029200000", "WATCHLIST-VIEW-CHANGED", "me", "timestamp", "", "type", "", "", ""]
    assert not detect_layout(row, "WATCHLIST", {}).header


def test_a_header_holds_in_any_order_whatever_the_setting_says() -> None:
    columns = {"WATCHLIST": ["type", "timestamp", "userId", "a"]}
    layout = detect_layout(["symbol", "type", "whatIsNew", "timestamp"], "WATCHLIST", columns)
    assert layout.names == ("symbol", "type", "what_is_new", "timestamp")


NO_USE = [
    (["timestamp", "type", "userId", "user_id"], "has 'user_id' more than once"),
    (["type", "type", "userId", "timestamp"], "has 'type' more than once"),
    (["timestamp", "type", "userId", "new", "NEW"], "has 'new' more than once"),
    (["timestamp", "type", "brandNew", "what"], "has none of the columns of WATCHLIST, .*"),
    (["timestamp", "type"], "has none of the columns of WATCHLIST, .*"),
]


@pytest.mark.parametrize(("header", "why"), NO_USE)
def test_a_header_whose_names_are_of_no_use_is_refused_and_columns_replaces_it(
    header: list[str], why: str
) -> None:
    with pytest.raises(LayoutError, match=f"{why}: list the {len(header)} columns"):
        detect_layout(header, "WATCHLIST", {})

    named = ["timestamp", "type", "userId", "symbol", "viewName"][: len(header)]
    layout = detect_layout(header, "WATCHLIST", {"WATCHLIST": named})
    assert layout.header
    assert layout.by_position
    assert layout.names == ("timestamp", "type", "user_id", "symbol", "view_name")[: len(header)]

    with pytest.raises(LayoutError, match=r"more than once|none of the columns"):
        detect_layout(header, "WATCHLIST", {"WATCHLIST": [*named, "oneMore"]})


EVENT_TIME = ["eventTime", "eventType", "userId"]


@pytest.mark.parametrize("last", [[], [""], [" "], ["symbol"]])
def test_columns_replaces_a_header_that_does_not_name_timestamp_and_type(last: list[str]) -> None:
    columns = {"WATCHLIST": ["timestamp", "type", "userId", *["rest"] * len(last)]}
    layout = detect_layout([*EVENT_TIME, *last], "WATCHLIST", columns)
    assert layout.header
    assert layout.by_position
    assert layout.names == ("timestamp", "type", "user_id", *["rest"] * len(last))
    with pytest.raises(FileError, match="setting columns"):
        detect_layout([*EVENT_TIME, *last], "WATCHLIST", {})


@pytest.mark.parametrize(
    "row",
    [
        ["eventTime", "eventType", "eventType"],
        ["eventTime", "", "userId"],
        ["", "eventType", "userId"],
        ["eventTime", "eventType", "7"],
        ["eventTime", "eventType", "007"],
        ["eventTime", "WATCHLIST-CREATED", "me"],
        ["eventTime", "PORTFOLIO-CREATED", "me"],
        ["12.5", "NEW", "me"],
        [" 12", "NEW", "me"],
        ["1e3", "NEW", "me"],
        ["2026-03-02T00:00:00Z", "NEW", "me"],
    ],
)
def test_a_bad_first_row_is_no_header_that_columns_replaces(row: list[str]) -> None:
    columns = {"WATCHLIST": ["timestamp", "type", "userId"]}
    with pytest.raises(FileError, match="neither a header"):
        detect_layout(row, "WATCHLIST", columns)


def test_the_names_of_the_setting_are_known_columns_however_they_are_written() -> None:
    columns = {"WATCHLIST": ["Type", "USERID", "TIMESTAMP", "brandNew"]}
    layout = detect_layout(["NEW", "me", "1571029200000", ""], "WATCHLIST", columns)
    assert layout.names == ("type", "user_id", "timestamp", "brand_new")
    assert not layout.header


def test_columns_without_a_name_get_one_that_no_file_has() -> None:
    header = ["timestamp", "type", " ", "symbol", "???", ""]
    layout = detect_layout(header, "WATCHLIST", {})
    assert layout.names == ("timestamp", "type", "column 3", "symbol", "column 5", "column 6")
    named = ["timestamp", "type", "userId", "symbol", "a", "b"]
    by_setting = detect_layout(header, "WATCHLIST", {"WATCHLIST": named})
    assert by_setting.names == ("timestamp", "type", "user_id", "symbol", "a", "b")
    other_count = detect_layout(header, "WATCHLIST", {"WATCHLIST": named[:4]})
    assert other_count == layout


@pytest.mark.parametrize("product", PRODUCTS)
def test_each_known_layout_is_recognised_by_its_count(product: str) -> None:
    for names in PRODUCTS[product].layouts:
        row = ["1571029200000", *[""] * (len(names) - 1)]
        layout = detect_layout(row, product, {})
        assert not layout.header
        assert layout.names == tuple(map(snake_case, names))


def test_an_unknown_count_is_refused_with_the_counts_and_what_to_set() -> None:
    message = (
        r'13 columns and no header.*10 or 12.*\{"PORTFOLIO": \["timestamp", "type", \.\.\.\]\}'
    )
    with pytest.raises(LayoutError, match=message):
        detect_layout([*PORTFOLIO_OLD, "", "", ""], "PORTFOLIO", {})


@pytest.mark.parametrize("columns", [{}, {"ALERT": ["timestamp", "type", "userId"]}])
def test_a_file_of_one_column_is_not_one_whose_columns_have_to_be_named(
    columns: dict[str, list[str]],
) -> None:
    with pytest.raises(FileError, match="has one column and no header: set delimiter to") as error:
        detect_layout(["<html><body>log in</body></html>"], "ALERT", columns)
    assert "setting columns" not in str(error.value)


def test_a_product_that_is_not_known_needs_a_header_or_the_setting() -> None:
    row = ["1571029200000", "NEW-THING", "x"]
    with pytest.raises(LayoutError, match=r'\{"NEW": \["timestamp", "type", \.\.\.\]\}'):
        detect_layout(row, "NEW", {})
    assert detect_layout(["timestamp", "type", "a"], "NEW", {}).names == ("timestamp", "type", "a")
    by_setting = detect_layout(row, "NEW", {"NEW": ["timestamp", "type", "userId"]})
    assert by_setting.names == ("timestamp", "type", "user_id")


def test_the_setting_comes_before_a_known_layout() -> None:
    names = ["timestamp", "type", *(f"column{n}" for n in range(8))]
    assert detect_layout(PORTFOLIO_OLD, "PORTFOLIO", {"PORTFOLIO": names}).names[2] == "column0"


def test_a_setting_with_another_count_than_the_file_is_refused_with_both() -> None:
    columns = {"PORTFOLIO": ["timestamp", "type", "userId"]}
    with pytest.raises(LayoutError, match=r"has 10 columns and no header.* lists 3"):
        detect_layout(PORTFOLIO_OLD, "PORTFOLIO", columns)


@pytest.mark.parametrize("text", ["12.5", "1e3", " 12", "", "+5", "007", "-0", "٣", "12\n"])
def test_a_first_row_without_a_whole_number_as_timestamp_is_neither_header_nor_event(
    text: str,
) -> None:
    with pytest.raises(FileError, match="neither a header") as error:
        detect_layout([text, "SECRET", "SECRET", "SECRET"], "ENTITLEMENTS", {})
    assert repr(text) in str(error.value)
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize(
    ("counts", "conflicts", "is_decisive"),
    [
        ([("P-A", 10, {"user_id": 10, "symbol": 0}), ("P-B", 5, {"symbol": 5})], "", False),
        ([("P-A", 1_000, {"symbol": 1_000})], "P-A has values in symbol in 1,000 rows", True),
        ([("P-A", 1_000, {"symbol": 3})], "P-A has values in symbol in 3 rows", False),
        (
            [("P-B", 1_000_000, {"user_id": 1_000_000}), ("P-A", 20, {"symbol": 20})],
            "P-A has values in symbol in 20 rows",
            True,
        ),
        ([("P-A", 2, {"symbol": 1})], "P-A has values in symbol in 1 rows", True),
        ([("P-A", 3, {"symbol": 1})], "P-A has values in symbol in 1 rows", False),
        (
            [("P-A", 9, {"symbol": 2}), ("P-C", 9, {"symbol": 2})],
            "P-A has values in symbol in 2 rows; P-C has values in symbol in 2 rows",
            True,
        ),
        ([("P-A", 500, {"what_is_new": 500, "user_id": 500})], "", False),
    ],
    ids=["none", "all", "stray", "rare type", "half", "a third", "several types", "new column"],
)
def test_values_outside_the_context_of_their_event_type_contradict_a_layout(
    counts: list[TypeCount], conflicts: str, *, is_decisive: bool
) -> None:
    product = Product("P", {"P-A": ("userId",), "P-B": ("userId", "symbol"), "P-C": ("userId",)})
    text = f"{conflicts}, although these event types have no such columns" if conflicts else ""
    assert layout_conflicts(product, counts) == (text, is_decisive)
