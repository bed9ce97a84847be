"""An export file as bytes: its dialect, its rows one by one, and what is wrong with them where.

The slow and exact reading. It vouches for what DuckDB, which is fast and lenient, is given to
read, and finds the line to blame. It knows nothing of DuckDB or Singer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tap_barchart_events.exceptions import FileError
from tap_barchart_events.files.layout import TIMESTAMP, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO, NoReturn

BOM = b"\xef\xbb\xbf"
CHUNK = 1 << 20

MAX_ROW = 16 << 20
"""Longest row that is read, in bytes; a longer one is taken for garbage."""

MAX_COLUMNS = 250
"""Most columns that are read; a row with more is taken for garbage."""


VECTOR_ROWS = 2_048
"""How many rows DuckDB has in hand at once."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file separates and quotes its fields."""

    delimiter: str = "|"
    """One ASCII character."""

    quote_character: str = '"'
    """One ASCII character, doubled inside a quoted field; or empty: quotes are data."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file that is not blank."""

    line: int
    """Number of its first line, from 1."""

    body: bytes
    """Its bytes without the line break."""


@dataclass(frozen=True, slots=True)
class FileStats:
    """What a look at all bytes of a file tells."""

    quoted: bool
    """Whether a quote character occurs, and so could quote."""

    content: int
    """Bytes without line breaks and, if quoted, without quote characters."""

    longest: int
    """No row is longer than this, in bytes."""

    stretch: int
    """About the most bytes that ``VECTOR_ROWS`` rows in succession hold."""


class Scanner:
    """The bytes of a downloaded file, read in a dialect."""

    def __init__(self, path: Path, dialect: Dialect) -> None:
        """Take a file; nothing is read yet."""
        self.path = path
        self.dialect = dialect
        self._quote = dialect.quote_character.encode()
        delimiter = re.escape(dialect.delimiter.encode())
        quote = re.escape(self._quote)
        if quote:
            plain = b"[^%b%b\r\n][^%b\r\n]*" % (delimiter, quote, delimiter)
            quoted = b"%b[^%b]*(?:%b%b[^%b]*)*%b" % ((quote,) * 6)
            field = b"(?:%b|%b)?" % (quoted, plain)
        else:
            field = b"[^%b\r\n]*" % delimiter
        more = b"(?:%b%b){0,%d}" % (delimiter, field, MAX_COLUMNS - 1)
        self._row = re.compile(b"(%b%b)\r?\n" % (field, more))
        self._field = re.compile(b"(%b)(%b|\\Z)" % (field, delimiter))

    def rows(self) -> Iterator[Row]:
        """Yield its rows.

        Raises:
            FileError: A row is not well formed, or larger than is read.
        """
        with self.path.open("rb") as file:
            buffer, at, line, ended = file.read(CHUNK).removeprefix(BOM), 0, 1, False
            while True:
                if row := self._row.match(buffer, at):
                    body = row.group(1)
                    at = row.end()
                    if len(body) > MAX_ROW:
                        self._raise_parse_error(body, line)
                    if body:
                        yield Row(line, body)
                    line += 1 + body.count(b"\n")
                    continue
                rest = buffer[at:]
                if ended and not rest:
                    return
                if ended or len(rest) > MAX_ROW:
                    self._raise_parse_error(rest, line)
                buffer, at, ended = self._continued(rest, file)

    def _continued(self, rest: bytes, file: BinaryIO) -> tuple[bytes, int, bool]:
        """Return what is left to read with more added, where to go on, and if that is all."""
        # twice as much each time: a long row is looked at a few times, not many
        more = file.read(max(CHUNK, len(rest)))
        if not more and rest and not rest.endswith((b"\r", b"\n")):
            # the last row may go without a line break
            rest += b"\n"
        return rest + more, 0, not more

    def fields(self, body: bytes) -> list[bytes]:
        """Return the fields of a row's body, without their quotes."""
        found = []
        at = 0
        while field := self._field.match(body, at):
            value, delimiter = field.groups()
            if self._quote and value.startswith(self._quote):
                value = value[1:-1].replace(self._quote * 2, self._quote)
            found.append(value)
            if not delimiter:
                break
            at = field.end()
        return found

    def content(self, body: bytes, *, quoted: bool) -> int:
        """Return how many of a row's bytes are neither line breaks nor, if quoted, quotes."""
        quotes = body.count(self._quote) if quoted else 0
        return len(body) - body.count(b"\n") - body.count(b"\r") - quotes

    def survey(self) -> FileStats:
        """Look at all its bytes once, in bounded memory.

        Raises:
            FileError: A row is not well formed, or larger than is read.
        """
        size = line_feeds = returns = pairs = quotes = longest = begin = 0
        fewest = VECTOR_ROWS
        last = b""
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK):
                breaks = chunk.count(b"\n")
                line_feeds += breaks
                fewest = min(fewest, breaks if len(chunk) == CHUNK else fewest)
                if b"\r" in chunk:
                    returns += chunk.count(b"\r")
                    pairs += chunk.count(b"\r\n")
                pairs += last == b"\r" and chunk.startswith(b"\n")
                if self._quote:
                    quotes += chunk.count(self._quote)
                if breaks:
                    longest = max(longest, size + chunk.find(b"\n") - begin)
                    begin = size + chunk.rfind(b"\n") + 1
                if size + len(chunk) - begin > MAX_ROW:
                    longest = MAX_ROW + 1
                    break
                if not size and chunk.startswith(BOM):
                    size -= len(BOM)
                size += len(chunk)
                last = chunk[-1:]
        # rows that lie within a chunk were not measured
        longest = max(longest, size - begin, min(size, CHUNK))
        stretch = (VECTOR_ROWS // fewest + 2) * CHUNK if fewest else VECTOR_ROWS * longest
        if quotes:
            broken = self._longest_broken_row()
            longest = max(longest, broken)
            stretch += VECTOR_ROWS * broken
        if returns != pairs or longest > MAX_ROW:
            for _ in self.rows():
                pass
        return FileStats(
            quoted=bool(quotes),
            content=size - line_feeds - returns - quotes,
            longest=longest,
            stretch=min(stretch, size),
        )

    def _longest_broken_row(self) -> int:
        """Look at each row with a quote and return the bytes of the longest with line breaks.

        Raises:
            FileError: A row is not well formed, or larger than is read.
        """
        longest = 0
        with self.path.open("rb") as file:
            buffer, at, ended = file.read(CHUNK).removeprefix(BOM), 0, False
            while True:
                quote = buffer.find(self._quote, at)
                at = max(at, buffer.rfind(b"\n", at, quote if quote >= 0 else len(buffer)) + 1)
                row = self._row.match(buffer, at) if quote >= 0 else None
                if row:
                    if buffer.find(b"\n", at, row.end(1)) >= 0:
                        longest = max(longest, row.end(1) - at)
                    at = row.end()
                    continue
                rest = buffer[at:]
                if ended or len(rest) > MAX_ROW:
                    if quote >= 0:
                        # only to say what is wrong
                        for _ in self.rows():
                            pass
                    return longest
                buffer, at, ended = self._continued(rest, file)

    def locate_error(self, columns: int, timestamp: int, after: int) -> None:
        """Read all rows after a line and name the first fault.

        Args:
            columns: How many fields a row must have.
            timestamp: The position of the timestamp among them, from 0.
            after: The line of the header, or 0.

        Raises:
            FileError: A row has a fault; its line and, of its content, no more than the
                offending field are named.
        """
        for row in self.rows():
            if row.line <= after:
                continue
            fields = self.fields(row.body)
            if len(fields) != columns:
                raise FileError(
                    f"line {row.line} has {len(fields)} fields where {columns} are expected"
                    + self._advice(row.body, more=len(fields) > columns)
                )
            text = fields[timestamp].decode(errors="replace")
            if not TIMESTAMP.fullmatch(text) or abs(int(text)) >= 1 << 63:
                raise FileError(
                    f"line {row.line} has the timestamp {shown(text)}, "
                    "which is not a whole number of milliseconds"
                )
            try:
                row.body.decode()
            except UnicodeDecodeError:
                raise FileError(f"line {row.line} is not valid UTF-8") from None

    def _advice(self, body: bytes, *, more: bool) -> str:
        """Say which setting would make a row of another number of fields right."""
        if not more:
            return ": the row is cut short, or the file does not quote values that hold line breaks"
        if not self._quote and b'"' in body:
            return ": set quote_character, if the file quotes values that hold the delimiter"
        return (
            f": values hold the delimiter {self.dialect.delimiter} and the file does not quote "
            "them so; set delimiter to a character that no value holds"
        )

    def _raise_parse_error(self, rest: bytes, line: int) -> NoReturn:
        """Say why no row can be read at the start of these bytes."""
        at = count = 0
        delimiter = self.dialect.delimiter.encode()
        field = re.compile(self._field.pattern.replace(b"\\Z", b""))
        while (match := field.match(rest, at)) and match.group(2) == delimiter:
            at = match.end()
            count += 1
            if count >= MAX_COLUMNS:
                raise FileError(f"line {line} has more than {MAX_COLUMNS:,} columns")
        long = len(rest) > MAX_ROW
        line += 0 if long else rest.count(b"\n", 0, at)
        if long:
            fault = f"starts a row of more than {MAX_ROW:,} bytes"
        elif self._quote and rest[at : at + 1] == self._quote:
            quote = re.escape(self._quote)
            unclosed = re.compile(b"%b[^%b]*(?:%b%b[^%b]*)*\\Z" % ((quote,) * 5))
            fault = "opens a quote that is never closed"
            if not unclosed.match(rest, at):
                fault = "has text after a closing quote"
        else:
            raise FileError(f"line {line} has a carriage return that ends no line")
        if self._quote:
            fault += "; if the file does not quote its values, set quote_character to empty"
        raise FileError(f"line {line} {fault}")
