"""An export file as bytes: its rows, and the line of an error."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tap_barchart_events.exceptions import FileError, SyncStopped
from tap_barchart_events.files.rows import CHUNK_BYTES, MAX_ROW_BYTES, Rows
from tests.export_files import OPTIONS, WATCHLIST


def rows_in(folder: Path, data: bytes, quote: str = '"') -> Rows:
    path = folder / "export.csv"
    path.write_bytes(data)
    return Rows(path, replace(OPTIONS, quote_character=quote))


def fields(rows: Rows) -> list[tuple[int, list[str]]]:
    return [(rows.line(row[0]), rows.fields(row)) for row in rows]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_rows_are_numbered_by_their_first_line_and_blank_lines_are_none(
    tmp_path: Path, mark: bytes
) -> None:
    assert fields(rows_in(tmp_path, mark + b'\n1|"a\n\nb"|c\r\n\n2|d|"e"\n\n3||')) == [
        (2, ["1", "a\n\nb", "c"]),
        (6, ["2", "d", "e"]),
        (8, ["3", "", ""]),
    ]
    assert fields(rows_in(tmp_path, mark + b"1|a\n")) == [(1, ["1", "a"])]


def test_quotes_are_data_inside_a_field_and_everywhere_without_a_quote_character(
    tmp_path: Path,
) -> None:
    assert fields(rows_in(tmp_path, b'1|5" pipe|a"b"\n')) == [(1, ["1", '5" pipe', 'a"b"'])]
    assert fields(rows_in(tmp_path, b'1|"a|b"\n', quote="")) == [(1, ["1", '"a', 'b"'])]


def test_rows_are_the_same_wherever_the_pieces_that_are_read_end(tmp_path: Path) -> None:
    for padding in range(CHUNK_BYTES - 12, CHUNK_BYTES + 2):
        data = b"1|" + b"x" * padding + b'\r\n2|"a""\r\n"|b\r\n3|c|d'
        rows = rows_in(tmp_path, data)
        assert fields(rows)[1:] == [(2, ["2", 'a"\r\n', "b"]), (4, ["3", "c", "d"])]
        assert rows.check(WATCHLIST).content_bytes == len(data) - len(b'\r\n"""\r\n')


QUOTE = "a quote that neither encloses a value nor is doubled, or .*; if the file does not quote"
RETURN = "a carriage return that is not part of a line end; run --test at log level DEBUG"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'1|a\n2|"b\n3|c\n', f"line 2 has {QUOTE}"),
        (b'1|a\n2|"b"c\n', f"line 2 has {QUOTE}"),
        (b'1|a\n2|"b" |c\n', f"line 2 has {QUOTE}"),
        (b'1|a\n2| "b"|c\n', f"line 2 has {QUOTE}"),
        (b'1|a\n"', f"line 2 has {QUOTE}"),
        (b'1|"\n"|"x\n', f"line 1 has {QUOTE}"),
        (b"1|a\n2|b\rc\n", f"line 2 has {RETURN}"),
        (b"1|a\r2|b\r", f"line 1 has {RETURN}"),
        (b"1|a\r\r\n", f"line 1 has {RETURN}"),
        (b"1|a\r\n2|b\r", f"line 2 has {RETURN}"),
        (b"1|a\n2|" + b"x" * (MAX_ROW_BYTES + CHUNK_BYTES) + b"\n", "line 2 has a row of more"),
    ],
)
def test_a_row_that_is_not_well_formed_is_refused_with_its_line(
    tmp_path: Path, data: bytes, message: str
) -> None:
    rows = rows_in(tmp_path, data)
    with pytest.raises(FileError, match=message):
        list(rows)
    with pytest.raises(FileError, match=message):
        rows.check(WATCHLIST)


@pytest.mark.parametrize(
    "data",
    [
        b"1|" + b"x" * (MAX_ROW_BYTES + 3 * CHUNK_BYTES),
        b"1|" + b"x" * (MAX_ROW_BYTES + CHUNK_BYTES) + b"\n2|a\n",
        b'1|"' + b"x\n" * (MAX_ROW_BYTES // 2 + CHUNK_BYTES),
        b"|" * (MAX_ROW_BYTES + CHUNK_BYTES),
        b'"' * (MAX_ROW_BYTES + CHUNK_BYTES),
    ],
    ids=["unending", "too long", "unending quote", "only delimiters", "only quotes"],
)
def test_a_huge_first_row_is_refused_after_a_bounded_part_of_it(
    tmp_path: Path, data: bytes
) -> None:
    began = time.process_time()
    with pytest.raises(FileError, match="line 1 has a row of more than 16,777,216 bytes"):
        next(iter(rows_in(tmp_path, data)))
    assert time.process_time() - began < 4 or sys.version_info < (3, 11)


@pytest.mark.parametrize("data", [b"1|a\n", b'1|"a"\n'])
def test_a_reading_ends_when_another_thread_stops_it(tmp_path: Path, data: bytes) -> None:
    rows = rows_in(tmp_path, data)
    rows.stopped = True
    with pytest.raises(SyncStopped):
        rows.check(WATCHLIST)
