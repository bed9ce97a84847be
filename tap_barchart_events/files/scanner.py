"""An export file as bytes: its dialect, its statistics, and its rows.

DuckDB is fast and accepts some malformed rows. The scanner is slow and exact: it checks the bytes
before DuckDB reads them. It does not depend on DuckDB or Singer.
"""

from __future__ import annotations

import csv
import re
import sys
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING

from tap_barchart_events.exceptions import FileError
from tap_barchart_events.files.memory import CHUNK_BYTES, MAX_ROW_BYTES, VECTOR_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO, NoReturn

    from tap_barchart_events.files.inner_rows import InnerRows

BOM = b"\xef\xbb\xbf"

MAX_COLUMNS = 250
"""The most columns that are read; a row with more is an error."""

NO_QUOTES = "if the file does not quote its values, set quote_character to empty"
"""What to do where quotes seem to be data."""

POSSESSIVE = b"+" if sys.version_info >= (3, 11) else b""
"""Makes a quantifier possessive: it does not backtrack. The matches here stay the same, but
backtracking over an unterminated row takes seconds and gigabytes. Python 3.10 lacks it."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file separates and quotes its fields."""

    delimiter: str = "|"
    """One ASCII character."""

    quote_character: str = '"'
    """One ASCII character, doubled inside a quoted field; or empty: quotes are data."""


def backslash_hint(dialect: Dialect) -> str:
    """Return what to do if a file escapes quotes by a backslash."""
    quote = dialect.quote_character
    return (
        f"it has \\{quote} in a value, and a quote inside a quoted value is read only if it is "
        f"doubled ({quote * 2}): ask Barchart's support for doubled quotes, or, if no quoted value "
        "holds the delimiter or a line break, set quote_character to empty: quotes and "
        "backslashes are data then"
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file that is not blank."""

    line: int
    """Number of its first line, from 1."""

    body: bytes
    """Its bytes without the line break."""


@dataclass(frozen=True, slots=True)
class FileStats:
    """Statistics of the bytes of a file."""

    quoted: bool
    """Whether a quote character occurs."""

    content_bytes: int
    """Bytes of all values and of the delimiters between them."""

    longest_row: int
    """An upper bound of the bytes of a row."""

    vector_bytes: int
    """About the most bytes that ``VECTOR_ROWS`` rows in succession hold."""


@dataclass(slots=True)
class _Counts:
    """Counts over the chunks of a file read so far."""

    size: int = 0
    line_feeds: int = 0
    returns: int = 0
    pairs: int = 0
    """Carriage returns before a line feed."""
    quotes: int = 0
    longest: int = 0
    """The longest row that crosses the end of a chunk, in bytes."""
    fewest: int = VECTOR_ROWS
    """The fewest line feeds of a whole chunk."""
    begin: int = 0
    """Where the last row begins."""
    last: bytes = b""
    """The last byte."""

    def add(self, chunk: bytes, quote: bytes) -> None:
        breaks = chunk.count(b"\n")
        self.line_feeds += breaks
        if len(chunk) == CHUNK_BYTES:
            self.fewest = min(self.fewest, breaks)
        if b"\r" in chunk:
            self.returns += chunk.count(b"\r")
            self.pairs += chunk.count(b"\r\n")
        self.pairs += self.last == b"\r" and chunk.startswith(b"\n")
        if quote:
            self.quotes += chunk.count(quote)
        if breaks:
            self.longest = max(self.longest, self.size + chunk.find(b"\n") - self.begin)
            self.begin = self.size + chunk.rfind(b"\n") + 1
        if not self.size and chunk.startswith(BOM):
            self.size -= len(BOM)
        self.size += len(chunk)
        self.longest = max(self.longest, self.size - self.begin)
        self.last = chunk[-1:]

    @property
    def longest_row(self) -> int:
        # a row within a chunk is not measured
        return max(self.longest, min(self.size, CHUNK_BYTES))

    @property
    def vector_bytes(self) -> int:
        if not self.fewest:
            return VECTOR_ROWS * self.longest_row
        return (VECTOR_ROWS // self.fewest + 2) * CHUNK_BYTES


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
            # DuckDB drops a blank before a quote, and takes what follows for a quoted value
            plain = b"(?! *%b)[^%b\r\n]+" % (quote, delimiter) + POSSESSIVE
            inner = b"[^%b]*" % quote + POSSESSIVE
            pairs = b"(?:%b%b%b)*" % (quote, quote, inner) + POSSESSIVE
            field = b"(?:%b%b%b%b|%b)?" % (quote, inner, pairs, quote, plain)
        else:
            field = b"[^%b\r\n]*" % delimiter + POSSESSIVE
        more = b"(?:%b%b){0,%d}" % (delimiter, field, MAX_COLUMNS - 1) + POSSESSIVE
        self._row = re.compile(b"(%b%b)\r?\n" % (field, more))
        self._field = re.compile(b"(%b)(%b|\\Z)" % (field, delimiter))

    def rows(self) -> Iterator[Row]:
        """Yield its rows.

        Raises:
            FileError: A row is not well formed, or too long.
        """
        with self.path.open("rb") as file:
            buffer, at, line, ended = file.read(CHUNK_BYTES).removeprefix(BOM), 0, 1, False
            while True:
                is_open = buffer.find(b"\n", at) < 0
                if row := None if is_open else self._row.match(buffer, at):
                    body = row.group(1)
                    at = row.end()
                    if len(body) > MAX_ROW_BYTES:
                        self._raise_parse_error(body, line)
                    if body:
                        yield Row(line, body)
                    line += 1 + body.count(b"\n")
                    continue
                rest = buffer[at:]
                if ended and not rest:
                    return
                if ended or len(rest) > MAX_ROW_BYTES:
                    self._raise_parse_error(rest, line)
                buffer, at, ended = self._read_more(rest, file)

    def _read_more(self, rest: bytes, file: BinaryIO) -> tuple[bytes, int, bool]:
        """Return the rest of the buffer with more bytes added, 0, and whether the file ended."""
        # The buffer doubles each time, so that a long row is matched a few times, not many.
        more = file.read(max(CHUNK_BYTES, len(rest)))
        if not more and rest and not rest.endswith((b"\r", b"\n")):
            # the last row may lack a line break
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

    def texts(self, row: Row) -> list[str]:
        """Return the fields of a row as texts; a row that is not UTF-8 is a ``FileError``."""
        try:
            return [field.decode() for field in self.fields(row.body)]
        except UnicodeDecodeError:
            raise FileError(f"line {row.line} is not valid UTF-8; ask Barchart's support") from None

    def content_bytes(self, body: bytes) -> int:
        """Return how many bytes of a row are values, or delimiters between them."""
        fields = self.fields(body)
        return sum(map(len, fields)) + len(fields) - 1

    def stats(self, inner_rows: InnerRows) -> FileStats:
        """Read all bytes once, in bounded memory, and return their statistics.

        Raises:
            FileError: A row is not well formed, or too long, or inside a quoted value.
        """
        counts = _Counts()
        with self.path.open("rb") as file:
            while counts.longest <= MAX_ROW_BYTES and (chunk := file.read(CHUNK_BYTES)):
                counts.add(chunk, self._quote)
        longest, vector_bytes = counts.longest_row, counts.vector_bytes
        content_bytes = counts.size - counts.line_feeds - counts.returns
        if counts.quotes:
            multiline, uncounted = self._check_quoted_rows(inner_rows)
            longest = max(longest, multiline)
            vector_bytes += VECTOR_ROWS * multiline
            content_bytes += uncounted
        if counts.returns != counts.pairs or longest > MAX_ROW_BYTES:
            self._parse_all(inner_rows)
        return FileStats(
            quoted=bool(counts.quotes),
            content_bytes=content_bytes,
            longest_row=longest,
            vector_bytes=min(vector_bytes, counts.size),
        )

    def _parse_all(self, inner_rows: InnerRows) -> None:
        """Parse all rows, for the error that one of them raises."""
        for row in self.rows():
            self.check_inner_rows(row, inner_rows)

    def check_inner_rows(self, row: Row, inner_rows: InnerRows) -> None:
        """Check that no quoted value of a row holds a row.

        Raises:
            FileError: One does. The message has the lines of both.
        """
        place = inner_rows.find(row.body)
        if place < 0:
            return
        at = 0
        while (field := self._field.match(row.body, at)) and field.end() <= place:
            at = field.end()
        opens, line = (row.line + row.body.count(b"\n", 0, n) for n in (at, place))
        raise FileError(
            f"line {opens} opens a quoted value that holds line {line}, which looks like a row of "
            f"its own; {NO_QUOTES}"
        )

    def _check_quoted_rows(self, inner_rows: InnerRows) -> tuple[int, int]:
        """Parse each row with a quote.

        Returns:
            The bytes of the longest one with line breaks, and ``_uncounted`` of all.

        Raises:
            FileError: A row is not well formed, or too long, or inside a quoted value.
        """
        longest = uncounted = 0
        bodies: list[bytes] = []
        with self.path.open("rb") as file:
            buffer, at, ended = file.read(CHUNK_BYTES).removeprefix(BOM), 0, False
            while True:
                quote = buffer.find(self._quote, at)
                at = max(at, buffer.rfind(b"\n", at, quote if quote >= 0 else len(buffer)) + 1)
                row = self._row.match(buffer, at) if quote >= 0 else None
                if row:
                    bodies.append(body := row[1])
                    if b"\n" in body:
                        longest = max(longest, len(body))
                        if inner_rows.find(body) >= 0:
                            self._parse_all(inner_rows)
                    at = row.end()
                    continue
                rest = buffer[at:]
                uncounted += self._uncounted(bodies)
                bodies.clear()
                if ended or len(rest) > MAX_ROW_BYTES:
                    if quote >= 0:
                        self._parse_all(inner_rows)
                    return longest, uncounted
                buffer, at, ended = self._read_more(rest, file)

    def _uncounted(self, bodies: Sequence[bytes]) -> int:
        """Return the bytes of line breaks inside values, less those of quotes that are no data."""
        text = b"".join(bodies)
        breaks = text.count(b"\n") + text.count(b"\r")
        if b"\0" in text:  # Python 3.10 refuses it
            bodies = [body.replace(b"\0", b" ") for body in bodies]
        csv.field_size_limit(MAX_ROW_BYTES)
        delimiter, quote = self.dialect.delimiter, self.dialect.quote_character
        texts = map(str, bodies, repeat("latin-1"))
        rows = csv.reader(texts, delimiter=delimiter, quotechar=quote)
        content = sum(map(len, map(delimiter.join, rows)))
        return content - len(text) + breaks

    def _raise_parse_error(self, rest: bytes, line: int) -> NoReturn:
        """Raise the reason why these bytes do not start with a row."""
        at = count = 0
        delimiter = self.dialect.delimiter.encode()
        field = re.compile(self._field.pattern.replace(b"\\Z", b""))
        while (match := field.match(rest, at)) and match.group(2) == delimiter:
            at = match.end()
            count += 1
            if count >= MAX_COLUMNS:
                raise FileError(f"line {line} has more than {MAX_COLUMNS} columns; check delimiter")
        long = len(rest) > MAX_ROW_BYTES
        line += 0 if long else rest.count(b"\n", 0, at)
        if long:
            reason = f"starts a row of more than {MAX_ROW_BYTES:,} bytes"
        elif self._quote and rest[at : at + 1] == self._quote:
            quote = re.escape(self._quote)
            inner = b"[^%b]*" % quote + POSSESSIVE
            value = b"%b%b(?:%b%b%b)*%b" % (quote, inner, quote, quote, inner, POSSESSIVE)
            unclosed = re.match(value, rest[at:])
            reason = "opens a quote that is never closed"
            if unclosed and unclosed.end() < len(rest) - at:
                reason = "has text after a closing quote"
            if unclosed and b"\\" + self._quote in rest[at : at + unclosed.end() + 1]:
                raise FileError(f"line {line} {reason}; {backslash_hint(self.dialect)}")
        elif self._quote and rest[at:].lstrip(b" ").startswith(self._quote):
            reason = "has a space before a quote"
        else:
            reason = "has a carriage return that ends no line; ask Barchart's support"
            raise FileError(f"line {line} {reason}")
        if self._quote:
            reason += f"; {NO_QUOTES}"
        raise FileError(f"line {line} {reason}")
