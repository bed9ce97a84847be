"""Export files: the bytes of events. Does not depend on jobs or HTTP.

A file is not stored. ``GeneratedFile.plan`` determines its number of events and its length,
piece by piece; ``read`` generates the requested pieces again.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import TypeVar

from barchart_events_emulator.generator import Event, Generator, Selection, bodies_of
from barchart_events_emulator.options import Options
from barchart_events_emulator.population import Population
from barchart_events_emulator.sample_data import PoolKey
from tap_barchart_events.products import snake_case

_CHUNK = 1 << 16
"""Pieces are joined to at least this many bytes."""

_SHUFFLE = 0x9E3779B1


HEADER_STYLES: Mapping[str, Callable[[str], str]] = {
    "camelCase": str,
    "snake_case": snake_case,
    "upper": str.upper,
    "lower": str.lower,
    "words": lambda name: snake_case(name).replace("_", " ").title(),
}
"""How names of columns are written in a header."""


@dataclass(frozen=True)
class RowFormat:
    """How rows are written."""

    columns: tuple[str, ...]
    """camelCase, in the order of the file."""
    delimiter: str
    quoting: str
    newline: str

    def cell(self, value: str) -> str:
        """Return a value as the file has it."""
        special = (self.delimiter, '"', "\n", "\r")
        if self.quoting == "all" or (
            self.quoting == "minimal" and any(mark in value for mark in special)
        ):
            return '"' + value.replace('"', '""') + '"'
        return value

    def around(self, kind: str, values: Mapping[str, str]) -> tuple[str, str]:
        """Return the parts of a row before and after the timestamp."""
        cells = [
            self.cell(kind if column == "type" else values.get(column, ""))
            for column in self.columns
        ]
        at = self.columns.index("timestamp")
        mark = '"' if self.quoting == "all" else ""
        before = "".join(cell + self.delimiter for cell in cells[:at])
        after = "".join(self.delimiter + cell for cell in cells[at + 1 :])
        return before + mark, mark + after + self.newline

    def header(self, style: str) -> str:
        """Return the header row."""
        names = map(HEADER_STYLES[style], self.columns)
        return self.delimiter.join(map(self.cell, names)) + self.newline


def row_format_of(options: Options, product: str, delimiter: str) -> RowFormat:
    """Return the format of the rows of a product's file, by the options."""
    columns = options.columns_of(product)
    if options.shuffled_columns:
        key = f"{options.seed}/{product}/"
        columns = tuple(sorted(columns, key=lambda name: sha256((key + name).encode()).digest()))
    return RowFormat(columns, delimiter, options.quoting, options.newline)


class StoredFile:
    """A file in memory: a replaced body, or events of a replaced source."""

    def __init__(self, data: bytes) -> None:
        """Take the data."""
        self._data = data
        self.size = len(data)

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from ``start`` up to ``stop`` (exclusive), in pieces."""
        stop = self.size if stop is None else stop
        for at in range(start, stop, _CHUNK):
            yield self._data[at : min(at + _CHUNK, stop)]

    @classmethod
    def of_events(
        cls, events: Iterable[Event], row_format: RowFormat, options: Options
    ) -> StoredFile:
        """Write events into a file, in their order unless ``time_order`` is off."""
        rows = [
            f"{before}{timestamp}{after}"
            for timestamp, kind, values in events
            for before, after in [row_format.around(kind, values)]
        ]
        if not options.time_order:
            rows.sort(key=lambda row: zlib.crc32(row.encode()))
        if options.header:
            rows.insert(0, row_format.header(options.header_style))
        text = "".join(rows)
        if not options.last_newline:
            text = text.removesuffix(row_format.newline)
        return cls(text.encode())


class GeneratedFile:
    """A file of events that are generated on demand; keeps one number for each slot."""

    def __init__(
        self, generator: Generator, selection: Selection, row_format: RowFormat, options: Options
    ) -> None:
        """Prepare the file; ``plan`` must be exhausted before anything else is used."""
        self._generator = generator
        self._selection = selection
        self._row_format = row_format
        self._options = options
        header = row_format.header(options.header_style) if options.header else ""
        self._header = header.encode()
        self._slots = array("q")
        self._starts = array("q")
        self.count = 0
        self.size = len(self._header)

    def plan(self) -> Iterator[int]:
        """Count events and bytes, slot by slot; yield the number of events so far."""
        rows = _rows_of(self._generator.pool_key(self._selection), self._row_format)
        slots: Sequence[int] = self._generator.slots(self._selection)
        if not self._options.time_order:
            slots = sorted(slots, key=lambda slot: slot * _SHUFFLE & 0xFFFFFFFF)
        length, mask = self._generator.slot, self._generator.body_mask
        for slot in slots:
            keys = self._generator.keys(self._selection, slot)
            self.count += len(keys)
            if keys:
                self._slots.append(slot)
                self._starts.append(self.size)
                digits = len(str(slot * length))
                if digits == len(str((slot + 1) * length - 1)):
                    self.size += digits * len(keys)
                    self.size += sum([rows.sizes[key & mask] for key in keys])
                else:
                    self.size += len(self._piece(rows, slot))
            yield self.count
        if not self._options.last_newline and self.size:
            self.size -= len(self._row_format.newline)

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from ``start`` up to ``stop``; all pieces but the last have 64 kB."""
        stop = self.size if stop is None else min(stop, self.size)
        buffer: list[bytes] = []
        buffered = 0
        for at, piece in self._pieces(start):
            if at >= stop:
                break
            part = piece[max(0, start - at) : stop - at]
            buffer.append(part)
            buffered += len(part)
            if buffered >= _CHUNK:
                yield b"".join(buffer)
                buffer, buffered = [], 0
        if buffered:
            yield b"".join(buffer)

    def _pieces(self, start: int) -> Iterator[tuple[int, bytes]]:
        if start < len(self._header):
            yield 0, self._header
        rows = _rows_of(self._generator.pool_key(self._selection), self._row_format)
        first = max(0, bisect_right(self._starts, start) - 1)
        for at in range(first, len(self._slots)):
            yield self._starts[at], self._piece(rows, self._slots[at])

    def _piece(self, rows: _Rows, slot: int) -> bytes:
        keys = self._generator.keys(self._selection, slot)
        if not self._options.time_order:
            keys.sort(key=lambda key: (key * _SHUFFLE) >> 7 & 0xFFFFF)
        begin = slot * self._generator.slot
        bits, mask, after = self._generator.body_bits, self._generator.body_mask, rows.after
        if rows.before is None:
            texts = [f"{begin + (key >> bits)}{after[key & mask]}" for key in keys]
        else:
            before = rows.before
            texts = [
                f"{before[key & mask]}{begin + (key >> bits)}{after[key & mask]}" for key in keys
            ]
        return "".join(texts).encode()


T = TypeVar("T")


class _OnDemand(dict[int, T]):
    """Values by number, each made when it is first asked for."""

    def __init__(self, make: Callable[[int], T]) -> None:
        """Take what makes a value of a number."""
        super().__init__()
        self._make = make

    def __missing__(self, number: int) -> T:
        """Make a value."""
        value = self[number] = self._make(number)
        return value


@dataclass(frozen=True, slots=True)
class _Rows:
    """The event bodies as rows of a file, around the timestamp, by number of the body."""

    before: list[str] | _OnDemand[str] | None
    """``None`` if nothing comes before the timestamp."""
    after: list[str] | _OnDemand[str]
    sizes: list[int] | _OnDemand[int]
    """Bytes of a row but for its timestamp."""


@lru_cache(maxsize=32)
def _rows_of(key: PoolKey, row_format: RowFormat) -> _Rows:
    bodies = bodies_of(key)
    if isinstance(bodies, Population):
        parts = _OnDemand(lambda number: row_format.around(*bodies[number]))
        return _Rows(
            _OnDemand(lambda number: parts[number][0]),
            _OnDemand(lambda number: parts[number][1]),
            _OnDemand(lambda number: len("".join(parts[number]).encode())),
        )
    around = [row_format.around(kind, values) for kind, values in bodies]
    before = [head for head, _ in around]
    after = [tail for _, tail in around]
    sizes = [len((head + tail).encode()) for head, tail in around]
    return _Rows(before if any(before) else None, after, sizes)


ServedFile = StoredFile | GeneratedFile
"""A finished export file that can be read from any byte on."""

SMALL = 4_000_000
"""Files up to this length (bytes) are compressed as a whole, so that their length is known."""


def compressed(file: ServedFile) -> StoredFile | None:
    """Return a small file compressed, always to the same bytes; ``None`` for a large one."""
    if file.size > SMALL:
        return None
    return StoredFile(gzip.compress(b"".join(file.read()), compresslevel=1, mtime=0))


def in_form(file: ServedFile, form: str) -> StoredFile:
    """Return a file as ``gzip``, as ``zip`` or in ``utf-16``."""
    data = b"".join(file.read())
    if form == "gzip":
        return StoredFile(gzip.compress(data, mtime=0))
    if form == "utf-16":
        return StoredFile(data.decode().encode("utf-16"))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("export.csv", data)
    return StoredFile(archive.getvalue())


def compress_stream(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Compress a large file piece by piece."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()
