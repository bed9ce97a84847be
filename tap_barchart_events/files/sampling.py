"""How many events an export file holds, and when they occurred: an estimate from a sample.

It serves the sizing of windows and nothing else. It does not use DuckDB.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import TYPE_CHECKING

from tap_barchart_events.exceptions import FileError
from tap_barchart_events.files.layout import detect_layout
from tap_barchart_events.files.scanner import BOM, Dialect, Scanner
from tap_barchart_events.windows import HOUR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

BLOCKS = 2_048
"""How many places of a large file are read, at equal distances."""

BLOCK_BYTES = 512
"""How much is read at each: about six rows."""

LOOKAHEAD_BYTES = 512
"""How much is read beyond, for the timestamp of a row that begins at the end of a block."""


def events_by_hour(
    path: Path,
    *,
    delimiter: str,
    quote_character: str,
    product: str,
    columns: Mapping[str, Sequence[str]],
) -> dict[int, int]:
    """Estimate how many events of a file occurred in each hour.

    A file of up to 1 MB is counted, a larger one is sampled: each row that begins in one of the
    blocks read stands for as many rows as the bytes read stand for bytes of the file. Time and
    memory do not depend on the file's size.

    Args:
        path: The complete file, plain text.
        delimiter: The field separator.
        quote_character: The quote character, or empty.
        product: The product code.
        columns: Product → the columns of its files, as set by the user.

    Returns:
        Hours since the epoch → events. Empty for a file that cannot be read; the check of the
        file raises the error.
    """
    dialect = Dialect(delimiter, quote_character)
    try:
        position = _timestamp_position(Scanner(path, dialect), product, columns)
        return {} if position is None else _sample(path, _row_start(dialect, position))
    except (FileError, OSError, MemoryError):
        return {}


def _timestamp_position(
    scanner: Scanner, product: str, columns: Mapping[str, Sequence[str]]
) -> int | None:
    """Return which column is the timestamp, from 0; None for a file without rows."""
    first = next(scanner.rows(), None)
    if first is None:
        return None
    fields = [field.decode(errors="replace") for field in scanner.fields(first.body)]
    return detect_layout(fields, product, columns).names.index("timestamp")


def _row_start(dialect: Dialect, position: int) -> re.Pattern[bytes]:
    """Return what matches the start of a row up to its timestamp, which is the group."""
    delimiter = re.escape(dialect.delimiter.encode())
    quote = re.escape(dialect.quote_character.encode())
    field = b"[^%b\r\n]*" % delimiter
    optional_quote = b""
    if quote:
        field = b"(?:%b[^%b]*%b|%b)" % (quote, quote, quote, field)
        optional_quote = b"%b?" % quote
    before = b"(?:%b%b){%d}" % (field, delimiter, position)
    return re.compile(
        b"\n%b%b(-?[0-9]{1,19})%b(?=[%b\r\n])" % (before, optional_quote, optional_quote, delimiter)
    )


def _sample(path: Path, row_start: re.Pattern[bytes]) -> dict[int, int]:
    rows: Counter[int] = Counter()
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        blocks, block_bytes = BLOCKS, BLOCK_BYTES
        if size <= blocks * block_bytes:
            blocks, block_bytes = 1, size + 1
        for number in range(blocks):
            begin = (size - block_bytes) * number // max(blocks - 1, 1)
            # one byte earlier: a row is found by the line feed before it
            file.seek(max(begin - 1, 0))
            block = file.read(block_bytes + LOOKAHEAD_BYTES)
            if len(block) < block_bytes + LOOKAHEAD_BYTES:
                block += b"\n"
            if number == 0:
                block = b"\n" + block.removeprefix(BOM)
            for match in row_start.finditer(block):
                if match.start() >= block_bytes:
                    break
                rows[int(match[1]) // HOUR] += 1
    weight = max(size / (blocks * block_bytes), 1)
    return {hour: round(count * weight) for hour, count in sorted(rows.items())}
