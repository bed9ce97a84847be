"""Files whose sums agree although rows would be lost, and what is said about files not read."""

from __future__ import annotations

import re

import pytest

from tap_barchart_events.exceptions import FileError
from tap_barchart_events.files.export_file import FileFormat
from tests.export_files import START, WATCHLIST, File

PLAIN = FileFormat(quote_character="")


def refusal(data: bytes, file_format: FileFormat | None = None) -> str:
    with File(data, file_format=file_format) as export, pytest.raises(FileError) as error:
        export.check()
    return str(error.value)


def rows(*symbols: str) -> bytes:
    lines = [f"{START + n}|T|u|w|{symbol}||||" for n, symbol in enumerate(symbols)]
    return "\n".join(["|".join(WATCHLIST), *lines, ""]).encode()


@pytest.mark.parametrize(
    "symbols",
    [
        (' "a', "b", "c", 'd"'),
        ('   "a', "b", "c", 'd"'),
        ('"quoted"', ' "a', "b", "c", 'd"', "e"),
    ],
)
def test_a_blank_before_a_quote_swallows_no_rows(symbols: tuple[str, ...]) -> None:
    """DuckDB drops the blank and both quotes: as many bytes as the line breaks between them."""
    error = refusal(rows(*symbols))
    assert "space before a quote" in error
    assert "set quote_character to empty" in error
    with File(rows(*symbols), file_format=PLAIN) as export:
        assert [record["symbol"] for record in export.records()] == [*symbols]


@pytest.mark.parametrize(
    ("symbol", "fault", "remedy"),
    [
        (b"caf\xe9", "line 2 is not valid UTF-8", "ask Barchart's support"),
        (b"a\rb", "line 2 has a carriage return that ends no line", "ask Barchart's support"),
        (b"|" * 300, "line 2 has more than 250 columns", "check delimiter"),
    ],
)
def test_an_error_about_bytes_says_what_to_do(symbol: bytes, fault: str, remedy: str) -> None:
    error = refusal(rows("SYMBOL").replace(b"SYMBOL", symbol))
    assert re.search(rf"{fault}[,;] .*{remedy}", error)


@pytest.mark.parametrize("wrong", ["timestamp", "", "2019-10-14T05:00:00Z", "1571029200000.0"])
def test_an_error_about_a_timestamp_says_what_to_do(wrong: str) -> None:
    error = refusal(rows("A", "B").replace(str(START + 1).encode(), wrong.encode()))
    assert re.search(rf"line 3 has the timestamp '{wrong}', .*; .*setting columns.*support", error)


def test_columns_name_an_empty_field_at_the_end_of_rows_that_the_header_lacks() -> None:
    data = b"".join(line + b"|\n" for line in rows("A", "B").splitlines()).replace(b"|\n", b"\n", 1)
    assert "end in the delimiter" in refusal(data)
    assert "setting columns" in refusal(data)
    columns = {"WATCHLIST": [*WATCHLIST, "end of row"]}
    with File(data, file_format=FileFormat(columns=columns)) as export:
        records = list(export.records())
    with File(rows("A", "B")) as export:
        assert records == list(export.records())
    columns["WATCHLIST"][2:4] = ["watchlistId", "userId"]
    assert "line 2 has 10 fields where 9 are expected" in refusal(data, FileFormat(columns=columns))
