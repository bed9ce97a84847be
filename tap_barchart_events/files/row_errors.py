"""The line of an error in an export file, and which setting to change.

It reads the file slowly, after a faster check has failed. It does not depend on DuckDB or Singer.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from tap_barchart_events.exceptions import FileError
from tap_barchart_events.files.layout import TIMESTAMP, excerpt
from tap_barchart_events.files.scanner import NO_QUOTES, backslash_hint

if TYPE_CHECKING:
    from typing import NoReturn

    from tap_barchart_events.files.inner_rows import InnerRows
    from tap_barchart_events.files.scanner import Row, Scanner

SAMPLE_ROWS = 1_000
"""How many rows, at the beginning of a file, show how many fields a row usually has."""


def locate_error(scanner: Scanner, columns: int, timestamp: int, after: int) -> NoReturn:
    """Read all rows after a line, and raise the first error; there is one.

    Args:
        scanner: The file.
        columns: How many fields a row must have.
        timestamp: The position of the timestamp among them, from 0.
        after: The line of the header, or 0.

    Raises:
        FileError: A row is wrong. The message has its line and, of its content, no more than
            the wrong field.
    """
    for row in scanner.rows():
        if row.line <= after:
            continue
        fields = scanner.fields(row.body)
        if len(fields) != columns:
            raise wrong_width(scanner, row, columns, after)
        text = fields[timestamp].decode(errors="replace")
        if not TIMESTAMP.fullmatch(text) or abs(int(text)) >= 1 << 63:
            raise FileError(
                f"line {row.line} has the timestamp {excerpt(text)}, "
                "which is not a whole number of milliseconds; check the order in the setting "
                "columns, if it is set, or ask Barchart's support"
            )
        scanner.texts(row)
    raise FileError(
        "the ends of its fields are not certain, for example because of a space before a quoted "
        f"value; {NO_QUOTES}"
    )


def first_row_error(
    scanner: Scanner, row: Row, inner_rows: InnerRows, error: FileError
) -> FileError:
    """Return what is wrong if a first row that is no header fits no columns.

    Args:
        scanner: The file.
        row: Its first row.
        inner_rows: What a row inside a quoted value looks like.
        error: What the detection of the layout has found.

    Raises:
        FileError: A quoted value of the row holds a row.
    """
    scanner.check_inner_rows(row, inner_rows)
    width = len(scanner.fields(row.body))
    usual = _usual_width(scanner, row.line + row.body.count(b"\n"))
    if usual not in {0, width}:
        return wrong_width(scanner, row, usual, 0)
    hint = _quoting_hint(scanner, row.body)
    if not hint and usual and row.body.endswith(scanner.dialect.delimiter.encode()):
        hint = "its rows end in the delimiter, so they have an empty field at the end"
    return type(error)(f"{error}; {hint}") if hint else error


def wrong_width(scanner: Scanner, row: Row, columns: int, after: int) -> FileError:
    """Return the error of a row with another number of fields than the file has columns.

    Args:
        scanner: The file.
        row: The row.
        columns: How many fields it must have.
        after: The line of the header, or 0.
    """
    width = len(scanner.fields(row.body))
    return FileError(
        f"line {row.line} has {width} field{'' if width == 1 else 's'} where {columns} are "
        f"expected: {_advice(scanner, row, width - columns, after)}"
    )


def _advice(scanner: Scanner, row: Row, more: int, after: int) -> str:
    """Return which setting to change for a row with so many more fields than expected."""
    dialect = scanner.dialect
    if hint := _quoting_hint(scanner, row.body):
        return hint
    width = len(scanner.fields(row.body))
    if row.line > 1 and _usual_width(scanner, after) == width:
        has = f"most rows have {width}"
        if more == 1 and row.body.endswith(dialect.delimiter.encode()):
            has += ", because they end in the delimiter: an empty field at the end"
        if after:
            remedy = "name the header's columns and one more in the setting columns"
            if more != 1:
                remedy = "ask Barchart's support for a header that fits the rows"
            return f"{has}; {remedy}"
        return f"{has}; name all {width} columns, in the file's order, in the setting columns"
    if more < 0:
        return "the row is cut short, or the file does not quote values that hold line breaks"
    if not dialect.quote_character and b'"' in row.body:
        return "set quote_character, if the file quotes values that hold the delimiter"
    return (
        f"values hold the delimiter {dialect.delimiter} and the file does not quote them; set "
        "delimiter to a character that no value holds"
    )


def _quoting_hint(scanner: Scanner, body: bytes) -> str:
    """Return what to do if quotes of a row seem to be data, or to be escaped; otherwise ""."""
    dialect = scanner.dialect
    if dialect.quote_character and f"\\{dialect.quote_character}".encode() in body:
        return backslash_hint(dialect)
    if lines := body.count(b"\n"):
        return f"the row spans {lines + 1} lines; {NO_QUOTES}"
    if body.count(dialect.delimiter.encode()) >= len(scanner.fields(body)):
        return f"a quoted value holds the delimiter; {NO_QUOTES}"
    return ""


def _usual_width(scanner: Scanner, after: int) -> int:
    """Return the commonest number of fields of the first rows after a line; 0 without rows."""
    widths: Counter[int] = Counter()
    try:
        for row in islice(scanner.rows(), SAMPLE_ROWS):
            if row.line > after:
                widths[len(scanner.fields(row.body))] += 1
    except FileError:
        pass  # a later row is not well formed
    return widths.most_common(1)[0][0] if widths else 0
