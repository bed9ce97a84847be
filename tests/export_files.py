"""Export files for tests: made, and read in the slow and obvious way that the tap is held to."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tap_barchart_events.exceptions import FileError
from tap_barchart_events.files.engine import CHECK_MEMORY, Engine
from tap_barchart_events.files.export_file import ExportFile
from tap_barchart_events.files.rows import FileOptions
from tap_barchart_events.products import PRODUCTS, columns_of, snake_case
from tap_barchart_events.windows import Window, to_iso
from tests.expected_events import event_ids

START = 1_571_029_200_000
YEAR_2000 = 946_684_800_000
DAY = Window(START, START + 86_400_000)

WATCHLIST = PRODUCTS["WATCHLIST"].layouts[-1]

OPTIONS = FileOptions(
    bookmarks={},
    customer="TGAM",
    start_date=YEAR_2000,
    delimiter="|",
    quote_character='"',
    columns={},
    layout_check="error",
    properties=(),
    schema_columns=(),
)


@contextmanager
def checked(
    data: bytes, product: str = "WATCHLIST", window: Window = DAY, **options: Any
) -> Iterator[ExportFile]:
    """Yield an export file made of bytes, opened as the stream opens one, and checked."""
    columns = columns_of([product])
    first = ["event_id", "customer", "product", "timestamp", "type"]
    options = {"properties": [*first, *columns, "extra", "end"], **options}
    with TemporaryDirectory() as folder:
        path = Path(folder, "it's an export.csv")
        path.write_bytes(data)
        checker = Engine(Path(folder), CHECK_MEMORY)
        export = ExportFile(
            path=path,
            product=product,
            window=window,
            options=replace(OPTIONS, schema_columns=columns, **options),
            checker=checker,
        )
        with closing(checker), closing(export):
            export.check()
            yield export


def row(timestamp: int, event_type: str = "WATCHLIST-ACCESSED", *values: str) -> list[str]:
    """Return a row of WATCHLIST."""
    return [str(timestamp), event_type, *values, *[""] * (len(WATCHLIST) - 2 - len(values))]


def text(rows: Sequence[Sequence[str]], line_break: str = "\n") -> bytes:
    """Return the file of rows, without quotes."""
    return "".join("|".join(values) + line_break for values in rows).encode()


def read(data: bytes, **options: Any) -> list[dict[str, Any]]:
    """Return the records of a file."""
    with checked(data, **options) as export:
        return list(export.records())


def refusal(data: bytes, **options: Any) -> str:
    """Return the error of a file that cannot be read."""
    with pytest.raises(FileError) as error, checked(data, **options):
        pass
    return str(error.value)


def rows_of(data: bytes, delimiter: str = "|", quote: str = '"') -> list[list[str]] | None:
    """Read a file character by character; None if it is not well formed."""
    try:
        content = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    rows: list[list[str]] = []
    row: list[str] = []
    at = begin = 0
    while at < len(content) or row:
        field = field_at(content, at, delimiter, quote)
        if field is None:
            return None
        value, at = field
        row.append(value)
        if content[at : at + 1] == delimiter:
            at += 1
            continue
        line_end = re.compile(r"\r?\n|\Z").match(content, at)
        if line_end is None:
            return None
        if at > begin:
            rows.append(row)
        row, at = [], line_end.end()
        begin = at
    return rows


def field_at(content: str, at: int, delimiter: str, quote: str) -> tuple[str, int] | None:
    """Return the field that begins at a position and where it ends; None if it never does."""
    value = ""
    if not quote or content[at : at + 1] != quote:
        while at < len(content) and content[at] not in {delimiter, "\r", "\n"}:
            value += content[at]
            at += 1
        return value, at
    at += 1
    while content[at : at + 1] != quote or content[at + 1 : at + 2] == quote:
        if at >= len(content):
            return None
        at += content[at] == quote
        value += content[at : at + 1]
        at += 1
    return value, at + 1


def swallowed_rows(data: bytes, width: int, delimiter: str = "|", quote: str = '"') -> list[str]:
    """Return the lines of a well-formed file that begin inside a quoted value and look like rows.

    The timestamp is the first of the columns, of which there are ``width``.
    """
    content, found, at = data.decode("utf-8-sig"), [], 0
    while at < len(content):
        begin = at
        _, at = field_at(content, at, delimiter, quote) or ("", len(content))
        if quote and content[begin : begin + 1] == quote:
            for place in range(begin, at):
                if content[place] == "\n":
                    line = content[place + 1 :].split("\n")[0]
                    first, *others = line.split(delimiter)
                    digits = first.strip().strip(quote).removeprefix("-")
                    if len(others) >= width - 1 and digits.isascii() and digits.isdigit():
                        found.append(line)
        at += 1
    return found


def is_timestamp(text: str) -> bool:
    """Whether a text is a whole number, in its shortest form, of 64 bits."""
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and str(int(text)) == text and len(text) < 19


def events_of(
    rows: list[list[str]], names: Sequence[str], *, product: str = "WATCHLIST", window: Window = DAY
) -> list[dict[str, Any]]:
    """Return the records that the rows of a file stand for."""
    columns = columns_of([product])
    named = [dict(zip(map(snake_case, names), values, strict=True)) for values in rows]
    inside = [row for row in named if window.start <= int(row["timestamp"]) < window.end]
    events = []
    for row, key in zip(inside, event_ids(product, inside), strict=True):
        extra = {
            name: value
            for name, value in row.items()
            if value and name not in {"timestamp", "type", *columns}
        }
        events.append(
            {
                "event_id": key,
                "customer": "TGAM",
                "product": product,
                "timestamp": to_iso(int(row["timestamp"])),
                "type": row["type"] or None,
                **{name: row.get(name) or None for name in columns},
                "extra": extra or None,
                "end": to_iso(window.end),
            }
        )
    return events


def by_id(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort events: which of equal ones comes first has no meaning."""
    return sorted(events, key=lambda event: event["event_id"])


def records_in_lines(export: ExportFile) -> Iterator[dict[str, Any]]:
    """Yield the records of the RECORD messages written in bulk."""
    for lines, count in export.record_lines("events", "2026-01-01T00:00:00Z"):
        messages = lines.decode().split("\n")
        if messages.pop() or len(messages) != count:
            raise AssertionError("a piece must be so many whole lines")
        for message in messages:
            yield json.loads(message)["record"]
