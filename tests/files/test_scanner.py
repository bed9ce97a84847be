"""An export file as bytes: rows, dialects, and the line of an error."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest

from tap_barchart_events.exceptions import FileError
from tap_barchart_events.files.inner_rows import InnerRows
from tap_barchart_events.files.memory import CHUNK_BYTES, MAX_ROW_BYTES
from tap_barchart_events.files.row_errors import locate_error
from tap_barchart_events.files.scanner import Dialect, Scanner

if TYPE_CHECKING:
    from pathlib import Path

NO_QUOTES = Dialect(quote_character="")
ANY_ROWS = InnerRows("|", '"', product="WATCHLIST", named=())


def scanner(folder: Path, data: bytes, dialect: Dialect | None = None) -> Scanner:
    path = folder / "export.csv"
    path.write_bytes(data)
    return Scanner(path, dialect or Dialect())


def fields(file: Scanner) -> list[tuple[int, list[bytes]]]:
    return [(row.line, file.fields(row.body)) for row in file.rows()]


def test_rows_are_numbered_by_their_first_line_and_blank_lines_are_none(tmp_path: Path) -> None:
    file = scanner(tmp_path, b'\n1|"a\n\nb"|c\r\n\n2|d|"e"\n\n3||')
    assert fields(file) == [
        (2, [b"1", b"a\n\nb", b"c"]),
        (6, [b"2", b"d", b"e"]),
        (8, [b"3", b"", b""]),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_field(tmp_path: Path) -> None:
    assert fields(scanner(tmp_path, b"\xef\xbb\xbf1|a\n")) == [(1, [b"1", b"a"])]


def test_quotes_are_data_inside_a_field_and_everywhere_without_a_quote_character(
    tmp_path: Path,
) -> None:
    assert fields(scanner(tmp_path, b'1|5" pipe|a"b"\n')) == [(1, [b"1", b'5" pipe', b'a"b"'])]
    assert fields(scanner(tmp_path, b'1|"a|b"\n', NO_QUOTES)) == [(1, [b"1", b'"a', b'b"'])]


def test_rows_are_the_same_wherever_the_pieces_that_are_read_end(tmp_path: Path) -> None:
    for padding in range(CHUNK_BYTES - 12, CHUNK_BYTES + 2):
        data = b"1|" + b"x" * padding + b'\r\n2|"a""\r\n"|b\r\n3|c|d'
        found = fields(scanner(tmp_path, data))
        assert found[1:] == [(2, [b"2", b'a"\r\n', b"b"]), (4, [b"3", b"c", b"d"])]
        stats = scanner(tmp_path, data).stats(ANY_ROWS)
        assert stats.content_bytes == len(data) - len(b'\r\n"""\r\n')


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'1|a\n2|"b\n3|c\n', "line 2 opens a quote that is never closed"),
        (b'1|a\n2|"b"c\n', "line 2 has text after a closing quote"),
        (b'1|a\n2|"b" |c\n', "line 2 has text after a closing quote"),
        (b'1|a\n"', "line 2 opens a quote that is never closed"),
        (b'1|"\n"|"x\n', "line 2 opens a quote that is never closed"),
        (b"1|a\n2|b\rc\n", "line 2 has a carriage return that ends no line"),
        (b"1|a\r2|b\r", "line 1 has a carriage return that ends no line"),
        (b"1|a\r\r\n", "line 1 has a carriage return that ends no line"),
        (b"1|a\r\n2|b\r", "line 2 has a carriage return that ends no line"),
        (b"1|a\n" + b"|" * 300 + b"\n", "line 2 has more than 250 columns"),
    ],
)
def test_a_row_that_is_not_well_formed_is_refused_with_its_line(
    tmp_path: Path, data: bytes, message: str
) -> None:
    file = scanner(tmp_path, data)
    with pytest.raises(FileError, match=message):
        list(file.rows())
    if b"|||" not in data:
        with pytest.raises(FileError, match=message):
            file.stats(ANY_ROWS)


def test_a_quote_that_cannot_be_read_comes_with_the_setting_to_change(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="set quote_character to empty"):
        list(scanner(tmp_path, b'1|"quoted" pipe\n').rows())


@pytest.mark.parametrize(
    "data",
    [
        b"1|" + b"x" * (MAX_ROW_BYTES + 3 * CHUNK_BYTES),
        b"1|" + b"x" * (MAX_ROW_BYTES + CHUNK_BYTES) + b"\n2|a\n",
        b'1|"' + b"x\n" * (MAX_ROW_BYTES // 2 + CHUNK_BYTES),
        b"timestamp|type" + b"|column" * 1_000_000 + b"\n",
        b"|" * (MAX_ROW_BYTES + CHUNK_BYTES),
        b'"' * (MAX_ROW_BYTES + CHUNK_BYTES),
    ],
    ids=[
        *("unending", "too long", "unending quote", "a million columns", "only delimiters"),
        "only quotes",
    ],
)
def test_a_huge_first_row_is_refused_after_a_bounded_part_of_it(
    tmp_path: Path, data: bytes
) -> None:
    began = time.process_time()
    with pytest.raises(FileError, match=r"line 1 (starts a row of|has) more than"):
        next(scanner(tmp_path, data).rows())
    assert time.process_time() - began < 4 or sys.version_info < (3, 11)


def test_a_huge_row_further_on_is_refused_with_its_line(tmp_path: Path) -> None:
    data = b"1|a\n2|" + b"x" * (MAX_ROW_BYTES + CHUNK_BYTES) + b"\n"
    with pytest.raises(FileError, match="line 2 starts a row of more than 16,777,216 bytes"):
        scanner(tmp_path, data).stats(ANY_ROWS)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"1|a", "line 3 has 2 fields where 3 are expected: the row is cut short"),
        (b"1|a|b|c", "line 3 has 4 fields where 3 are expected: values hold the delimiter"),
        (b"1|a|b|", "line 3 has 4 fields where 3 are expected"),
        (b"1.5|a|b", "line 3 has the timestamp '1.5', which is not a whole number"),
        (b"|a|b", "line 3 has the timestamp '', which is not a whole number"),
        (b"1|a|\xff", "line 3 is not valid UTF-8"),
        (b"99999999999999999999|a|b", "line 3 has the timestamp '99999999999999999999'"),
        (b"9" * 9_000 + b"|a|b", f"line 3 has the timestamp '{'9' * 50}…', which is not"),
    ],
)
def test_an_error_has_line_setting_and_no_more_than_the_field(
    tmp_path: Path, row: bytes, message: str
) -> None:
    file = scanner(tmp_path, b"1|SECRET|b\n\n" + row + b"\n1|SECRET|c\n")
    with pytest.raises(FileError) as error:
        locate_error(file, 3, 0, 0)
    assert message in str(error.value)
    assert "SECRET" not in str(error.value)


def test_a_file_that_quotes_while_quotes_are_data_gets_the_setting_to_change(
    tmp_path: Path,
) -> None:
    file = scanner(tmp_path, b'1|"a|b"|c\n', NO_QUOTES)
    with pytest.raises(FileError, match="set quote_character"):
        locate_error(file, 3, 0, 0)


def test_a_header_is_skipped_when_an_error_is_located(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="the ends of its fields are not certain"):
        locate_error(scanner(tmp_path, b"timestamp|type\n1|a\n"), 2, 0, 1)
