"""A quoted value never swallows rows: files that quote their values, and files that do not."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_barchart_events.exceptions import FileError
from tests.export_files import START, WATCHLIST, by_id, events_of, read, refusal

PLAIN = {"quote_character": "", "layout_check": "warning"}
WIDTH = len(WATCHLIST)


def row(number: int, *values: str) -> str:
    return "|".join([str(START + number), "T", *values, *[""] * (WIDTH - 2 - len(values))])


OPEN, INSIDE, CLOSE = row(1, "u", "w", 'a"', '"Tech'), row(2), row(3, "u", "w", "b", 'Energy"')


@pytest.mark.parametrize("header", [[], ["|".join(WATCHLIST)]], ids=["known layout", "header"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("rows", "opens", "swallowed"),
    [
        ([OPEN, CLOSE], 1, 2),
        ([row(0), OPEN, INSIDE, CLOSE, row(4)], 2, 3),
        ([row(0), OPEN, row(3, "u", "w", "more|", 'Energy"')], 2, 3),
        ([row(0), OPEN, row(3, "u", "w", 'other column"')], 2, 3),
        ([row(0, "u", '"two\nlines"', '"Tech'), row(3, "u", "w", 'Energy"')], 2, 3),
        ([row(0, '"', "w"), "", row(2, "u"), row(3, '"')], 1, 3),
    ],
    ids=["first", "further", "one delimiter more", "other column", "second value", "blank line"],
)
def test_rows_between_two_quotes_fail_the_window_with_both_lines(
    header: list[str], end: str, rows: list[str], opens: int, swallowed: int
) -> None:
    data = "".join(line + end for line in header + rows).encode()
    more = len(header)

    error = refusal(data)

    assert f"begins on line {opens + more} contains line {swallowed + more}" in error
    assert "set quote_character to empty" in error
    assert "Tech" not in error
    if "more|" not in data.decode() and "two\n" not in data.decode():
        assert len(read(data, **PLAIN)) == len([line for line in rows if line])


def test_without_a_header_rows_of_any_known_layout_are_found() -> None:
    data = f'{START}|T|a|"x\n{START + 1}|T|b"|c\n'.encode()  # ALERT had four columns, and has five
    assert "contains line 2" in refusal(data, product="ALERT")
    assert len(read(data, **PLAIN, product="ALERT")) == 2


@pytest.mark.parametrize("place", [0, 1, 3])
def test_the_timestamp_may_be_in_any_column(place: int) -> None:
    names = ["type", "userId", "symbol"]
    names.insert(place, "timestamp")
    rows = [["T", '"a', "A"], ["T", 'b"', "B"]]
    for number, values in enumerate(rows):
        values.insert(place, str(START + number))
    data = "".join("|".join(values) + "\n" for values in [names, *rows]).encode()
    assert "begins on line 2 contains line 3" in refusal(data)
    assert len(read(data, **PLAIN)) == 2


def test_what_precedes_the_timestamp_may_hold_delimiters() -> None:
    data = f'userId|type|timestamp|symbol\n"a|T|{START}|A\nb|c"|T|{START + 1}|B\n'.encode()
    assert "begins on line 2 contains line 3" in refusal(data)


@pytest.mark.parametrize(
    "value",
    [
        "one\ntwo\r\nthree\rfour",
        'say ""x"" | y',
        f"{START}|T|u",
        f"note\n{START}|T|u",
        "a|b|c|d|e|f|g|h|i|j\nk|l|m|n|o|p|q|r|s|t",
        f"x{START}|T|||||||",
        f"{START}|T|||||||",
    ],
)
def test_a_quoted_value_without_a_whole_row_arrives_exactly(value: str) -> None:
    (record,) = read((row(0, "u", "w", f'"{value}"') + "\n").encode())
    assert record["symbol"] == value.replace('""', '"')


def test_a_wrong_number_of_fields_in_a_row_that_spans_lines_names_quote_character() -> None:
    rows = [row(0), row(1, "u", "w", '"Tech'), "A|B|C", row(2).replace("15", "x") + '"', row(3)]
    error = refusal("\n".join(rows).encode())
    assert "line 2 has 5 fields instead of 9" in error
    assert "set quote_character to empty" in error


def test_a_first_row_that_spans_lines_and_fits_no_layout_names_quote_character() -> None:
    error = refusal((row(1, '"Tech') + "\nnext|" + 'Energy"|' + row(2) + "\n" + row(3)).encode())
    assert "the file has 12 columns and no header" in error
    assert "set quote_character to empty" in error


# As a property ------------------------------------------------------------------------------

cells = st.text(alphabet='aé" \r', max_size=4) | st.sampled_from(["", "", "", '"', '"x', 'x"', "1"])
unquoted_rows = st.lists(
    st.tuples(
        st.integers(START, START + 9).map(str),
        st.lists(cells.map(lambda cell: cell.replace("\r", "")), min_size=8, max_size=8),
    ).map(lambda parts: [parts[0], *parts[1]]),
    min_size=1,
    max_size=8,
)
layouts = st.permutations(range(WIDTH)) | st.just(list(range(WIDTH)))


def in_order(rows: Sequence[Sequence[str]], order: Sequence[int]) -> list[list[str]]:
    return [[values[n] for n in order] for values in rows]


@given(rows=unquoted_rows, order=layouts, header=st.booleans(), end=st.sampled_from(["\n", "\r\n"]))
def test_no_event_of_a_file_that_does_not_quote_is_lost(
    *, rows: list[list[str]], order: list[int], header: bool, end: str
) -> None:
    names = in_order([WATCHLIST], order if header else range(WIDTH))[0]
    rows = in_order(rows, order) if header else rows
    data = "".join("|".join(values) + end for values in [names] * header + rows).encode()

    assert by_id(read(data, **PLAIN)) == by_id(events_of(rows, names))
    try:
        count = len(read(data))
    except FileError:
        assert "quote_character" in refusal(data)
    else:
        assert count == len(rows)
