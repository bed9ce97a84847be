"""Files that are not read, and what their errors say: the line, and which setting to change."""

import re

import pytest

from tests.export_files import START, WATCHLIST, checked, read, refusal

PLAIN = {"quote_character": ""}
QUOTES = "if the file does not quote .* set quote_character to empty"
SUPPORT = "contact Barchart support"
REPORT = "run --test at log level DEBUG and report its output"
WIDTH = "list them in the setting columns; if not, check the settings delimiter and quote"


def file_of(*symbols: str, header: bool = True) -> bytes:
    lines = [f"{START + n}|T|u|w|{symbol}||||" for n, symbol in enumerate(symbols)]
    return "\n".join(["|".join(WATCHLIST)] * header + [*lines, ""]).encode()


@pytest.mark.parametrize(
    ("line", "fault", "remedy"),
    [
        (b"12.5|T|||||||", "line 3 has the timestamp '12.5'", "setting columns"),
        (b"1e3|T|||||||", "line 3 has the timestamp '1e3'", "setting columns"),
        (b" 12|T|||||||", "line 3 has the timestamp ' 12'", "setting columns"),
        (b"|T|||||||", "line 3 has the timestamp ''", SUPPORT),
        (b"2019-10-14T05:00:00Z|T|||||||", "timestamp '2019-10-14T05:00:00Z'", SUPPORT),
        (b"9223372036854775808|T|||||||", "the timestamp '9223372036854775808'", "columns"),
        (b"9" * 9_000 + b"|T|||||||", f"the timestamp '{'9' * 50}…', not", "columns"),
        (b"|||||||||", "line 3 has 10 fields instead of 9", WIDTH),
        (b"1571029200000|T", "line 3 has 2 fields instead of 9", "is cut short, contact"),
        (b"1571029200000|T|a|b|c|d|e|f|g|", "line 3 has 10 fields instead of 9", WIDTH),
        (b'1571029200000|T|"a|b|c"|d|e|f|g', "line 3 has 7 fields instead of 9", QUOTES),
        (b"1571029200000|T|caf\xe9||||||", "line 3 is not valid UTF-8", REPORT),
        (b"1571029200000|T|\xe2\x82|||||||"[:-1], "line 3 is not valid UTF-8", REPORT),
        (b'1571029200000|T|"a', "line 3 has a quote that neither encloses", QUOTES),
        (b'1571029200000|T| "a"||||||', "line 3 has a quote that neither encloses", QUOTES),
        (b"1571029200000|T|a\rb||||||", "line 3 has a carriage return that is not", REPORT),
    ],
)
def test_a_bad_row_fails_the_check_and_shows_nothing_else(
    line: bytes, fault: str, remedy: str
) -> None:
    good = file_of("SECRET", header=False)
    error = refusal(good + b"\n" + line + b"\n" + good, layout_check="warning")
    assert fault in error
    assert re.search(remedy, error)
    assert "SECRET" not in error


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    "bad", [b"no|T|||||||", b"1571029200000|T", b'1571029200000|T|"a', b"\xff"]
)
def test_an_error_tells_the_instants_of_the_rows_next_to_the_bad_one(
    bad: bytes, bom: bytes
) -> None:
    rows = [b"1571029200000|T|||||||", bad, b"1571029260000|T|||||||", b""]
    near = (
        "the rows next to it are of 2019-10-14T05:00:00.000+00:00 and 2019-10-14T05:01:00.000+00:00"
    )
    assert refusal(bom + b"\n".join(rows)).endswith(near)


def test_an_error_names_product_and_window_and_a_header_has_a_line_too() -> None:
    assert "TGAM/WATCHLIST 2019-10-14 05:00 → 2019-10-15 05:00" in refusal(b"hello\n")
    assert "line 1 is not valid UTF-8" in refusal(b"timestamp|type|us\xffer\n1|A|b\n")


@pytest.mark.parametrize(
    "symbols",
    [(' "a', "b", "c", 'd"'), ('   "a', "b", "c", 'd"'), ('"quoted"', ' "a', "b", "c", 'd"', "e")],
)
def test_a_blank_before_a_quote_swallows_no_rows(symbols: tuple[str, ...]) -> None:
    """DuckDB drops the blank and both quotes: as many bytes as the line breaks between them."""
    assert re.search(QUOTES, refusal(file_of(*symbols)))
    assert [record["symbol"] for record in read(file_of(*symbols), **PLAIN)] == [*symbols]


@pytest.mark.parametrize("value", [r'"say \"hi\" now"', r'"say \"hi"', r'"say \""', r'"a\"|b"'])
def test_quotes_that_a_backslash_escapes_name_the_setting(value: str) -> None:
    error = refusal(file_of("a", value, "b"))
    assert "line 3 " in error
    assert re.search(QUOTES, error)


def test_a_backslash_at_the_end_of_a_quoted_value_is_data() -> None:
    records = read(file_of(r'"C:\"', r'"\\"'))
    assert [record["symbol"] for record in records] == ["C:\\", "\\\\"]


def test_a_file_that_quotes_while_quotes_are_data_gets_the_setting_to_change() -> None:
    error = refusal(file_of('"a|b"'), **PLAIN)
    assert re.search("line 2 has 10 fields instead of 9.* delimiter and quote_character", error)


@pytest.mark.parametrize("header", [True, False])
def test_columns_name_an_empty_field_at_the_end_of_the_rows(*, header: bool) -> None:
    data = file_of("A", "B", header=header).replace(b"\n", b"|\n")
    data = data.replace(b"|\n", b"\n", 1) if header else data
    assert "setting columns" in refusal(data)
    columns = {"WATCHLIST": [*WATCHLIST, "end of row"]}
    with checked(data, columns=columns, layout_check="warning") as export:
        assert list(export.records()) == read(file_of("A", "B"))
        assert export.contents.extra_columns == ()
    if header:
        columns["WATCHLIST"][2:4] = ["watchlistId", "userId"]
        error = refusal(data, columns=columns)
        assert "line 2 has 10 fields instead of 9" in error
