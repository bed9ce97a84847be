"""An export file → events: layout, types, filter, ``event_id``. DuckDB reads the file.

It knows nothing of jobs, bookmarks or Singer's STATE; it is given a complete local file and the
window that the file was exported for.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from isal import isal_zlib

from tap_barchart_events.exceptions import FileError, LayoutError, WrongRangeError
from tap_barchart_events.files.engine import Engine, UnreadableRowError
from tap_barchart_events.files.layout import Layout, detect_layout, layout_conflicts
from tap_barchart_events.files.queries import COUNT_FEW, DROP_FEW, EventsQuery, Source, literal
from tap_barchart_events.files.scanner import Dialect, FileStats, Scanner
from tap_barchart_events.files.validation import DISORDER, IN_ORDER, NEAR, TIES, RowStats
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.windows import to_iso

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from typing_extensions import Self

    from tap_barchart_events.windows import Window

PIECE = 100_000
"""Bytes of finished lines handed out at once: few enough to stay in the processor's cache."""

MEMORY = 48 << 20
MEMORY_PER_COLUMN = 256 << 10
MOST_MEMORY = 1 << 30
"""What DuckDB may hold in memory, in bytes, beyond that it spills: for rows as they should be,
for each of their columns, and for rows of many kilobytes, which must be held whole."""

BUFFER_COPIES = 12
"""How many copies of the rows in hand DuckDB holds: as read, hashed, escaped, put together …"""

USUAL_STRETCH = 4 << 20
"""Bytes of the rows in hand that ``MEMORY`` is made for."""

FEW_REPEATS = 100_000
"""So many repeated events are looked up in memory; more are read side by side with the file."""

ROW_GROUP = 25_000
"""Most records in a row group of a Parquet file: it is held in memory until it is full."""

GZIP = isal_zlib.MAX_WBITS | 16

CODECS = {None: "snappy", "gzip": "gzip", "none": "uncompressed"}
"""DuckDB's names of what Parquet is compressed with."""


@dataclass(frozen=True, slots=True)
class FileFormat:
    """What the settings say about export files."""

    delimiter: str = "|"
    quote_character: str = '"'

    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Product → the columns of its files, in order, for files without a header."""

    layout_check: str = "error"
    """``error`` or ``warning``: what follows when event types contradict the layout."""


@dataclass(frozen=True, slots=True)
class FileContents:
    """What a checked file holds."""

    events: int
    """Rows inside the window."""

    outside: int
    """Rows outside the window, which are dropped; those exactly at its ``end`` are not counted."""

    extra_columns: tuple[str, ...]
    """Columns with values that the schema does not name, snake_case: they go to ``extra``."""

    warnings: tuple[str, ...]
    """What does not stop the sync but should be known."""


class ExportFile:
    r"""The events of one downloaded export file.

    A context manager. ``check`` comes first; each way out then reads the file anew, and all
    yield the same events in the same order.

    ``event_id`` is the MD5, in hex, of these lines, joined by line feeds, as UTF-8: customer,
    product, timestamp in milliseconds, type; ``name=value`` for each further column of the file
    that is not empty, sorted by name in snake_case; and the ordinal, from 0, among the events
    equal in all of these. A line feed within a line is doubled. In Python, for a row as a dict::

        lines = [customer, product, str(timestamp), type]
        lines += [f"{name}={row[name]}" for name in sorted(row) if row[name]]
        text = "\n".join(line.replace("\n", "\n\n") for line in [*lines, str(ordinal)])
        event_id = hashlib.md5(text.encode()).hexdigest()

    A signal handler that raises while DuckDB works ends it with ``KeyboardInterrupt``, see
    ``Engine``.
    """

    def __init__(
        self,
        path: Path,
        *,
        customer: str,
        product: str,
        window: Window,
        properties: Sequence[str],
        schema_columns: Sequence[str],
        file_format: FileFormat,
        directory: Path,
    ) -> None:
        """Take a file; nothing is read yet.

        Args:
            path: The complete file, plain text.
            customer: The customer code.
            product: The product code.
            window: Events outside it are dropped.
            properties: The properties selected, in the order of the schema.
            schema_columns: The schema's columns; a file's other columns go to ``extra``.
            file_format: What the settings say.
            directory: An existing private directory, for what DuckDB spills and batch files.
        """
        self.path = path
        self.customer = customer
        self.product = product
        self.window = window
        self._properties = tuple(properties)
        self._schema_columns = frozenset(schema_columns)
        self._format = file_format
        self._dialect = Dialect(file_format.delimiter, file_format.quote_character)
        self._raw = Scanner(path, self._dialect)
        self._engine = Engine(path, directory, MEMORY)
        self._contents: FileContents | None = None
        self._query: EventsQuery | None = None
        self._bytes_per_row = 1

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Free what it holds in memory and on disk."""
        self.close()

    def close(self) -> None:
        """Free what it holds in memory and on disk."""
        self._engine.close()

    def check(self) -> FileContents:
        """Read the whole file once, before anything of it is emitted.

        Raises:
            FileError: A row has a wrong number of fields, a timestamp that is no integer, is not
                UTF-8, or cannot be read with certainty. The message names its line.
            LayoutError: The columns cannot be told with certainty, or event types contradict.
            WrongRangeError: There are rows, none of them inside the window or at its ``end``.
        """
        if self._contents is None:
            with self._named():
                self._contents = self._check()
        return self._contents

    def _check(self) -> FileContents:
        first = next(self._raw.rows(), None)
        if first is None:
            return FileContents(0, 0, (), ())
        try:
            fields = [value.decode() for value in self._raw.fields(first.body)]
        except UnicodeDecodeError:
            raise FileError(f"line {first.line} is not valid UTF-8") from None
        layout = detect_layout(fields, self.product, self._format.columns)
        survey = self._raw.survey()
        content, skip = survey.content, 0
        if layout.header:
            skip = first.line + first.body.count(b"\n")
            content -= self._raw.content(first.body, quoted=survey.quoted)
        source = Source(str(self.path), layout.names, self._dialect, survey, skip)
        self._engine.memory = _memory_for(survey, len(layout.names))
        tally = self._tally(source, layout)
        if tally is None or not tally.matches_byte_count(content):
            self._raw.locate_error(len(layout.names), layout.names.index("timestamp"), skip)
            raise FileError(
                "it is not certain where its fields end (a space before a quoted value does "
                "that); if the file does not quote its values, set quote_character to empty"
            )
        self._check_range(tally)
        warnings = self._check_layout(layout, tally)
        filled = {name: count for name, count in sorted(tally.filled.items()) if count}
        extra = tuple(
            name
            for name in layout.names
            if name in filled and name not in self._schema_columns and name != "type"
        )
        query = EventsQuery(
            source=source,
            window=self.window,
            customer=self.customer,
            product=self.product,
            filled={name: count == tally.rows for name, count in filled.items()},
            extra=extra,
        )
        self._bytes_per_row = content // max(tally.rows, 1)
        self._query = replace(query, repeats=self._repeats(query, tally))
        if survey.stretch > USUAL_STRETCH:
            # of a window, all events come out or none: so better fail now than half way
            for _ in self._lines(self._query, "", "\n"):
                pass
        return FileContents(tally.inside, tally.rows - tally.inside - tally.at_end, extra, warnings)

    def _tally(self, source: Source, layout: Layout) -> RowStats | None:
        """Sum up all rows; None if DuckDB cannot read one of them."""
        product = PRODUCTS.get(self.product)
        types = product.event_types if product and not layout.header else {}
        query = RowStats.query(source, self.window, event_types=types)
        try:
            rows = chain.from_iterable(self._engine.fetch(query, 1_000))
            return RowStats.of(rows, layout.names)
        except UnreadableRowError:
            return None

    def _check_range(self, tally: RowStats) -> None:
        """Check that the rows, if there are any, are those of the window."""
        if tally.first is None or tally.last is None or tally.inside or tally.at_end:
            return
        raise WrongRangeError(
            f"none of its {tally.rows:,} rows is inside this window: their timestamps are from "
            f"{_instant(tally.first)} to {_instant(tally.last)}. The service, or a cache in "
            "between, sent another export than was asked for: run again; if it goes on, ask "
            "Barchart's support"
        )

    def _check_layout(self, layout: Layout, tally: RowStats) -> tuple[str, ...]:
        """Let the event types testify, where the layout was chosen by count."""
        product = PRODUCTS.get(self.product)
        if layout.header or product is None:
            return ()
        text, beyond = layout_conflicts(product, tally.by_type)
        if beyond and self._format.layout_check == "error":
            raise LayoutError(
                f"its columns seem shifted: {text}, which these event types do not have. Name the "
                "file's columns, in order, in the setting columns; or, if they are right, set "
                "layout_check to warning"
            )
        return (text,) if text else ()

    def _repeats(self, query: EventsQuery, tally: RowStats) -> int | Literal["few", "many"]:
        """Find out how equal events can be told apart at the least cost."""
        if tally.order == IN_ORDER:
            return 0
        if tally.order == TIES:
            return NEAR
        self._engine.run(query.few_repeats(in_order=tally.order < DISORDER))
        ((found,),) = next(self._engine.fetch(COUNT_FEW, 1))
        if found <= FEW_REPEATS:
            return "few" if found else 0
        self._engine.run(DROP_FEW)
        self._engine.run(query.many_repeats())
        return "many"

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the events as records."""
        names = self._properties
        extra = "extra" in names
        query = self._checked()
        if query is None:
            return
        with self._named():
            rows = self._engine.fetch(query.as_columns(names, structured=False), 1_000)
            for row in chain.from_iterable(rows):
                record = dict(zip(names, row, strict=True))
                if extra and record["extra"] is not None:
                    record["extra"] = json.loads(record["extra"])
                yield record

    def record_lines(self, stream: str, time_extracted: str) -> Iterator[tuple[bytes, int]]:
        """Yield finished RECORD messages, many lines at once, and how many they are.

        Args:
            stream: The stream's name.
            time_extracted: When the events were extracted, ISO 8601.
        """
        before = f'{{"type":"RECORD","stream":{json.dumps(stream)},"record":'
        after = f',"time_extracted":{json.dumps(time_extracted)}}}\n'
        return self._lines(self._checked(), before, after)

    def write_batches(
        self, encoding: str, compression: str | None, batch_size: int
    ) -> Iterator[Path]:
        """Write the events to files of at most ``batch_size`` records; yield each when complete.

        The files lie in the private directory, and go with it.

        Args:
            encoding: ``jsonl`` or ``parquet``.
            compression: ``gzip``, ``none``, or None: the usual one of the encoding, which for
                Parquet is Snappy, inside the file.
            batch_size: At least 1.
        """
        if encoding == "parquet":
            return self._write_parquet(compression, batch_size)
        return self._write_jsonl(compression, batch_size)

    def _write_jsonl(self, compression: str | None, batch_size: int) -> Iterator[Path]:
        pieces = self._lines(self._checked(), "", "\n", cut=batch_size)
        for number in count(1):
            left = batch_size
            path = self._engine.directory / f"{number}.jsonl"
            with path.open("wb") as file:
                squeeze = isal_zlib.compressobj(wbits=GZIP) if compression == "gzip" else None
                while left and (piece := next(pieces, None)):
                    lines, records = piece
                    file.write(squeeze.compress(lines) if squeeze else lines)
                    left -= records
                if squeeze:
                    file.write(squeeze.flush())
            if left == batch_size:
                path.unlink()
                return
            yield path

    def _write_parquet(self, compression: str | None, batch_size: int) -> Iterator[Path]:
        query = self._checked()
        if query is None:
            return
        directory = tempfile.mkdtemp(dir=self._engine.directory)
        # a row group is closed by the vector of rows that fills it, of at most 2,048
        groups = -(-batch_size // ROW_GROUP)
        group = max(1, batch_size // groups - 2_047)
        with self._named():
            self._engine.run(
                f"COPY ({query.as_columns(self._properties, structured=True)}) "
                f"TO {literal(directory)} (FORMAT parquet, ROW_GROUP_SIZE {group}, "
                f"ROW_GROUPS_PER_FILE {groups}, COMPRESSION {CODECS[compression]})"
            )
        for number in count():
            path = Path(directory, f"data_{number}.parquet")
            if not path.exists():
                return
            file = f"parquet_file_metadata({literal(str(path))})"
            ((rows,),) = next(self._engine.fetch(f"SELECT num_rows FROM {file}", 1))  # noqa: S608
            if rows:  # DuckDB 1.5 may end with a file of none
                yield path

    def _lines(
        self, query: EventsQuery | None, before: str, after: str, *, cut: int = 0
    ) -> Iterator[tuple[bytes, int]]:
        """Yield records as JSON, each between two texts, many at once and how many they are.

        What is yielded never straddles a multiple of ``cut`` records.
        """
        if query is None:
            return
        head, sql, tail = query.as_json(self._properties)
        begin, end = (before + head).encode(), (tail + after).encode()
        # in JSON, names take about as many bytes again as values
        length = 100 + 2 * self._bytes_per_row + 15 * len(self._properties) + len(begin + end)
        size = max(1, min(1_000, PIECE // length))
        with self._named():
            for rows in self._engine.fetch(sql, size, cut=cut):
                yield begin + (end + begin).join(chain.from_iterable(rows)) + end, len(rows)

    def _checked(self) -> EventsQuery | None:
        """Return the query of the events, if there are any, once the file is checked."""
        self.check()
        return self._query

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say in an error which export it is about."""
        try:
            yield
        except UnreadableRowError:
            raise FileError(f"{self.path.name} changed while it was read") from None
        except FileError as error:
            export = f"the export of {self.customer}/{self.product} {self.window} cannot be read: "
            if str(error).startswith(export):
                raise
            raise type(error)(f"{export}{error}") from error


def _memory_for(survey: FileStats, columns: int) -> int:
    """Return what DuckDB may hold in memory for a file, in bytes."""
    memory = MEMORY + MEMORY_PER_COLUMN * columns
    if survey.stretch <= USUAL_STRETCH:
        return memory
    return min(memory + BUFFER_COPIES * survey.stretch + 4 * survey.longest, MOST_MEMORY)


def _instant(milliseconds: int) -> str:
    try:
        return to_iso(milliseconds)
    except OverflowError:
        return f"{milliseconds} ms"
