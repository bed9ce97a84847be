"""The rows of an export file as bytes, and the line of an error.

DuckDB is fast, but misreads some malformed rows without an error. So the bytes are counted, and the
rows with quotes matched, before DuckDB reads the file. Does not depend on DuckDB or Singer.
"""

import csv
import io
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import NamedTuple, NoReturn

from tap_barchart_events.exceptions import REPORT, FileError, SyncStopped
from tap_barchart_events.files.layout import TIMESTAMP, Layout, excerpt
from tap_barchart_events.windows import to_iso

Row = tuple[int, bytes]
"""Where a row begins in the file, and its bytes without the line break."""

BOM = b"\xef\xbb\xbf"

CHUNK_BYTES = 1 << 20
"""Bytes of a file that are read at once."""

HEAD_BYTES = 1 << 16
"""Bytes that are read first: of most files only the first row is parsed, to find the layout."""

MAX_ROW_BYTES = 16 << 20
"""The longest row that is read, in bytes; a longer one is an error."""

VECTOR_ROWS = 2_048
"""Rows that DuckDB works on at once: a constant of DuckDB."""

INSTANT = re.compile(rb"(?<!\d)[1-9]\d{12}(?!\d)")
"""A timestamp in milliseconds, from 2001 on."""

NO_QUOTES = "if the file does not quote its values, set quote_character to empty"
"""What to do where quotes seem to be data."""

POSSESSIVE = b"+" if sys.version_info >= (3, 11) else b""
"""Makes a quantifier possessive: it does not backtrack. The matches here stay the same, but
backtracking over an unterminated row takes seconds and gigabytes. Python 3.10 lacks it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """What applies to all files of a sync."""

    customer: str
    """The customer code."""

    start_date: int
    """No window begins earlier, in milliseconds."""

    bookmarks: Mapping[str, int]
    """Product → the end of what earlier runs have read, in milliseconds."""

    delimiter: str
    """One ASCII character."""

    quote_character: str
    """One ASCII character, doubled inside a quoted value; or empty: quotes are data."""

    columns: Mapping[str, Sequence[str]]
    """Product → the columns of its files, in order, for files without a header."""

    layout_check: str
    """``error`` or ``warning``: what follows when event types contradict the layout."""

    properties: Sequence[str]
    """The properties selected, in the order of the schema."""

    schema_columns: Collection[str]
    """The columns of the schema; a file's other columns go to ``extra``."""


class ByteStats(NamedTuple):
    """Statistics of the bytes of a file."""

    quoted: bool
    """Whether a quote character occurs."""

    has_returns: bool
    """Whether a carriage return occurs."""

    content_bytes: int
    """Bytes of all values and of the delimiters between them."""

    longest_row: int
    """An upper bound on the bytes of a row."""

    vector_bytes: int
    """About the most bytes that ``VECTOR_ROWS`` consecutive rows hold."""


class Rows:
    """The rows of a downloaded file. All methods raise ``SyncStopped`` once ``stopped`` is set."""

    def __init__(self, path: Path, options: FileOptions) -> None:
        """Take a file; nothing is read yet."""
        self.path = path
        self.stopped = False
        """Set by another thread, to stop reading."""
        self._options = options
        self._delimiter = options.delimiter.encode()
        self._quote = options.quote_character.encode()
        delimiter, quote = re.escape(self._delimiter), re.escape(self._quote)
        field = b"[^%b\r\n]*" % delimiter + POSSESSIVE
        if quote:
            # DuckDB drops a blank before a quote, and reads what follows as a quoted value
            plain = b"(?! *%b)[^%b\r\n]+" % (quote, delimiter) + POSSESSIVE
            inner = b"[^%b]*" % quote + POSSESSIVE
            pairs = b"(?:%b%b%b)*" % (quote, quote, inner) + POSSESSIVE
            field = b"(?:%b%b%b%b|%b)?" % (quote, inner, pairs, quote, plain)
        more = b"(?:%b%b)*" % (delimiter, field) + POSSESSIVE
        self._row = re.compile(b"(%b%b)(?:\r?\n|\\Z)" % (field, more))

    def _chunks(self) -> Iterator[bytes]:
        """Yield whole lines, about a megabyte at a time; only part of a line that is too long."""
        with self.path.open("rb") as file:
            file.seek(len(BOM) if file.read(len(BOM)) == BOM else 0)
            size = HEAD_BYTES
            while chunk := file.read(size):
                if self.stopped:
                    raise SyncStopped
                yield chunk + file.readline(MAX_ROW_BYTES + 1)
                size = CHUNK_BYTES

    def _parsed(self, *, only_quoted: bool = False) -> Iterator[list[Row]]:
        """Yield the rows that end in the same chunk, blank lines included.

        Args:
            only_quoted: Skip the lines without a quote.

        Raises:
            FileError: A row is not well formed, or too long.
        """
        begin, rest = 0, b""
        for chunk in self._chunks():
            buffer, at = rest + chunk, 0
            rows: list[Row] = []
            while at < len(buffer):
                if only_quoted:
                    quote = buffer.find(self._quote, at)
                    if quote < 0:
                        at = len(buffer)
                        break
                    at = buffer.rfind(b"\n", at, quote) + 1 or at
                row = self._row.match(buffer, at)
                if row is None or row.end() - at > MAX_ROW_BYTES:
                    break
                rows.append((begin + at, row[1]))
                at = row.end()
            yield rows
            begin, rest = begin + at, buffer[at:]
            if len(rest) > MAX_ROW_BYTES:
                break
        if rest:
            raise self._malformed(begin, rest)

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows that are not blank.

        Raises:
            FileError: A row is not well formed, or too long.
        """
        for rows in self._parsed():
            yield from (row for row in rows if row[1])

    def line(self, place: int) -> int:
        """Return the number, from 1, of the line that contains a place in the file."""
        line = 1
        for chunk in self._chunks():
            line += chunk.count(b"\n", 0, place)
            place -= len(chunk)
            if place <= 0:
                break
        return line

    def fields(self, row: Row) -> list[str]:
        """Return the fields of a row, without their quotes.

        Raises:
            FileError: The row is not UTF-8.
        """
        try:
            return next(self._split(row[1].decode()))
        except UnicodeDecodeError:
            raise self._error(row, f"is not valid UTF-8; {REPORT}") from None

    def _split(self, text: str) -> Iterator[list[str]]:
        """Return the fields of well-formed rows."""
        csv.field_size_limit(MAX_ROW_BYTES)
        quote = self._options.quote_character
        return csv.reader(
            # the csv module of Python 3.10 refuses NUL
            io.StringIO(text.replace("\0", "\ufffd"), newline="\n"),
            delimiter=self._options.delimiter,
            quotechar=quote or None,
            quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        )

    def content_bytes(self, rows: bytes) -> int:
        """Return how many bytes of rows are values, or delimiters between them."""
        values = self._split(rows.decode("latin-1"))
        return sum(map(len, map(self._options.delimiter.join, values)))

    def check(self, columns: Sequence[str]) -> ByteStats:
        """Read all bytes, in bounded memory, and return their statistics.

        Args:
            columns: See ``check_inner_rows``.

        Raises:
            FileError: A row is not well formed, or too long, or inside a quoted value.
        """
        content = lone_returns = longest = vector_bytes = multiline = 0
        quoted = has_returns = False
        for chunk in self._chunks():
            lines, returns = chunk.count(b"\n"), chunk.count(b"\r")
            if returns:
                lone_returns += returns - chunk.count(b"\r\n")
            has_returns = has_returns or returns > 0
            quoted = quoted or (bool(self._quote) and self._quote in chunk)
            content += len(chunk) - lines - returns
            longest = max(longest, len(chunk))
            vector_bytes = max(vector_bytes, (VECTOR_ROWS // max(lines, 1) + 2) * len(chunk))
        for rows in self._parsed(only_quoted=True) if quoted else ():
            text = b"\n".join([body for _, body in rows])
            content -= len(text) - text.count(b"\n") - text.count(b"\r")
            content += self.content_bytes(text)
            for row in rows:
                if b"\n" in row[1]:
                    multiline = max(multiline, len(row[1]))
                    self.check_inner_rows(row, columns)
        if lone_returns or longest > MAX_ROW_BYTES:
            for _ in self:  # one of its rows may be wrong
                pass
        return ByteStats(
            quoted,
            has_returns,
            content,
            max(longest, multiline),
            min(vector_bytes + VECTOR_ROWS * multiline, self.path.stat().st_size),
        )

    def check_inner_rows(self, row: Row, columns: Sequence[str]) -> None:
        """Check that no quoted value of a row holds a line that looks like a row of its own.

        In a file that does not quote, a lone quote at the start of a value and another one at the
        end of a later value in the same column make one value of all rows between them.

        Args:
            row: The row; each of its lines but the first begins inside a quoted value.
            columns: The names of the columns, or those of the shortest layout that may apply.

        Raises:
            FileError: There is one. The message names both lines.
        """
        begin, body = row
        first, place = body.find(b"\n"), columns.index("timestamp")
        if first < 0 or body.count(self._delimiter, first) < len(columns) - 1:
            return  # counting is faster than splitting
        for number, text in enumerate(body[first + 1 :].split(b"\n"), 1):
            fields = text.split(self._delimiter)
            # delimiters in the values before it can only move a timestamp back
            places = fields[place:] if place else fields[:1]
            if len(fields) >= len(columns) and any(map(self._is_whole_number, places)):
                line = self.line(begin)
                # the values before the one that holds the line end on earlier lines
                ends = accumulate(value.count("\n") for value in self.fields(row))
                before = max((end for end in ends if end < number), default=0)
                raise FileError(
                    f"the quoted value that begins on line {line + before} contains line "
                    f"{line + number}, which looks like a separate row; {NO_QUOTES}"
                )

    def _is_whole_number(self, text: bytes) -> bool:
        return text.strip().strip(self._quote or None).removeprefix(b"-").isdigit()

    def locate_error(self, layout: Layout) -> NoReturn:
        """Read all rows again, slowly, and raise the first error; there is one.

        Raises:
            FileError: A row is wrong. The message has its line and, of its content, no more than
                the wrong field.
        """
        width, place = len(layout.names), layout.names.index("timestamp")
        for row in islice(self, int(layout.header), None):
            fields = self.fields(row)
            if len(fields) != width:
                raise self._error(
                    row,
                    f"has {len(fields)} fields instead of {width}; if all rows have {len(fields)}, "
                    "list them in the setting columns; if not, check the settings delimiter and "
                    "quote_character, or, if the row is cut short, contact Barchart support"
                    f"{self.quoting_hint(row)}",
                )
            timestamp = fields[place]
            if not TIMESTAMP.fullmatch(timestamp) or abs(int(timestamp)) >= 1 << 63:
                raise self._error(
                    row,
                    f"has the timestamp {excerpt(timestamp)}, not a whole number of milliseconds; "
                    "check the order in the setting columns, or contact Barchart support",
                )
        raise FileError(f"it is not certain where its fields end; {NO_QUOTES}")

    def quoting_hint(self, row: Row) -> str:
        """Return what to do if the quotes of a wrong row are data; empty if it has none."""
        return f"; {NO_QUOTES}" if self._quote and self._quote in row[1] else ""

    def _malformed(self, begin: int, rest: bytes) -> FileError:
        """Return an error that says why bytes do not begin with a row."""
        row = begin, rest.partition(b"\n")[0]
        hint = self.quoting_hint(row)
        reason = "a carriage return that is not part of a line end"
        if len(rest) > MAX_ROW_BYTES:
            reason = f"a row of more than {MAX_ROW_BYTES:,} bytes"
        elif hint:
            reason = f"a quote that neither encloses a value nor is doubled, or {reason}"
        return self._error(row, f"has {reason}" + (hint or f"; {REPORT}"))

    def _error(self, row: Row, reason: str) -> FileError:
        begin, body = row
        with self.path.open("rb") as file:
            begin += len(BOM) if file.read(len(BOM)) == BOM else 0
            file.seek(max(0, begin - CHUNK_BYTES))
            before = file.read(begin - file.tell()).splitlines()[-1:]
            file.seek(begin + len(body))
            after = file.read(CHUNK_BYTES).split(b"\n")[1:2]
        found = [INSTANT.search(b"".join(lines)) for lines in (before, after)]
        near = " and ".join(to_iso(int(instant[0])) for instant in found if instant)
        where = f"; the rows next to it are of {near}" if near else ""
        return FileError(f"line {self.line(row[0])} {reason}{where}")
