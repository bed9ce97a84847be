"""The events of an export file: layout, types, filter, ``event_id``. DuckDB reads the file.

The input is a complete local file and the window that it was exported for. The module does not
depend on jobs, bookmarks or STATE.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from tap_barchart_events.exceptions import FileError, ResourceError
from tap_barchart_events.files.batches import write_jsonl, write_parquet
from tap_barchart_events.files.engine import Engine, UnreadableRowError
from tap_barchart_events.files.inner_rows import InnerRows
from tap_barchart_events.files.layout import Layout, check_unnamed, detect_layout
from tap_barchart_events.files.memory import (
    FETCH_ROWS,
    LINES_BYTES,
    ORDINARY_VECTOR_BYTES,
    memory_limit,
)
from tap_barchart_events.files.queries import DuplicateStrategy, EventsQuery, Source
from tap_barchart_events.files.row_errors import first_row_error, locate_error
from tap_barchart_events.files.scanner import Dialect, Scanner
from tap_barchart_events.files.validation import Dropped, RowStats
from tap_barchart_events.products import IDENTITY_COLUMNS, PRODUCTS, types_of_others

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from typing_extensions import Self

    from tap_barchart_events.windows import Window


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

    outside: Dropped
    """Rows outside the window, but for those exactly at its ``end``."""

    impossible: Dropped
    """Those of them that no window of any sync can hold."""

    layout: Layout | None
    """The columns; None for a file without rows."""

    extra_columns: tuple[str, ...]
    """Columns with values that the schema does not name, snake_case: they go to ``extra``."""

    warnings: tuple[str, ...]
    """Contradictions that do not stop the sync."""

    events_by_hour: Mapping[int, int] = field(default_factory=dict)
    """Hours since the epoch → rows inside the window."""


class _Readable(NamedTuple):
    """A checked file with events."""

    engine: Engine
    query: EventsQuery
    bytes_per_row: int


class ExportFile:
    r"""The events of one downloaded export file.

    A context manager. ``check`` comes first, and may run in another thread. Each output mode then
    reads the file again; all modes yield the same events in the same order.

    ``event_id`` is the MD5, in hex, of the event's values in the identity columns and of its
    ordinal among the events equal in these, in the order of their other values and of the file;
    docs/event_id.md explains it. In Python, for the identity columns of a row as a dict::

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
        possible: Window,
        properties: Sequence[str],
        schema_columns: Sequence[str],
        file_format: FileFormat,
        directory: Path,
        has_null_product: bool = False,
    ) -> None:
        """Take a file; nothing is read yet.

        Args:
            path: The complete file, plain text.
            customer: The customer code.
            product: The product code.
            window: Events outside it are dropped.
            possible: What all windows lie in: from ``start_date`` to now.
            properties: The properties selected, in the order of the schema.
            schema_columns: The schema's columns; a file's other columns go to ``extra``.
            file_format: What the settings say.
            directory: An existing private directory, for what DuckDB spills and batch files.
            has_null_product: Whether rows with an event type of another product are an error.
        """
        self.path = path
        self.customer = customer
        self.product = product
        self.window, self._possible = window, possible
        self._properties = tuple(properties)
        self._schema_columns = frozenset(schema_columns)
        self._format = file_format
        self._directory = directory
        self._types_of_others = types_of_others(product) if has_null_product else {}
        self._dialect = Dialect(file_format.delimiter, file_format.quote_character)
        self._scanner = Scanner(path, self._dialect)
        self._engine: Engine | None = None
        self._contents: FileContents | None = None
        self._readable: _Readable | None = None
        self._has_ordinals = False

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Free memory and disk."""
        self.close()

    def close(self) -> None:
        """Free memory and disk; a file that is checked can be read all the same."""
        self._has_ordinals = False
        if self._engine:
            self._engine.close()

    def interrupt(self) -> None:
        """End a check that another thread makes; it raises ``SyncStopped`` there."""
        if self._engine:
            self._engine.interrupt()

    @property
    def contents(self) -> FileContents:
        """What the file holds; ``check`` comes first."""
        if self._contents is None:
            raise RuntimeError("the file is not checked")
        return self._contents

    def check(self) -> FileContents:
        """Read the whole file once, before anything of it is emitted.

        Raises:
            FileError: A row has a wrong number of fields, a timestamp that is no integer, is not
                UTF-8, or cannot be read with certainty. The message names its line.
            LayoutError: The columns are not certain, or event types contradict them.
            WrongRangeError: No row is of the window, or most timestamps have another unit.
        """
        if self._contents is None:
            try:
                with self._with_context():
                    self._contents = self._check()
            finally:
                self.close()  # many files may wait, and a connection takes memory
        return self._contents

    def _check(self) -> FileContents:
        first = next(self._scanner.rows(), None)
        if first is None:
            return FileContents(0, Dropped(), Dropped(), None, (), ())
        fields = self._scanner.texts(first)
        named = self._format.columns.get(self.product, ())
        inner_rows = partial(InnerRows, *astuple(self._dialect), product=self.product)
        try:
            layout = detect_layout(fields, self.product, self._format.columns)
        except FileError as error:
            raise first_row_error(self._scanner, first, inner_rows(named=named), error) from None
        named = layout.names if layout.header else named
        file_stats = self._scanner.stats(inner_rows(named=named))
        content_bytes, skip = file_stats.content_bytes, 0
        if layout.header:
            skip = first.line + first.body.count(b"\n")
            content_bytes -= self._scanner.content_bytes(first.body)
        source = Source(str(self.path), layout.names, self._dialect, file_stats, skip)
        memory = memory_limit(len(layout.names), file_stats.vector_bytes, file_stats.longest_row)
        self._engine = Engine(self.path, self._directory, memory)
        # a header's own names need no cross-check
        product = PRODUCTS.get(self.product) if layout.by_position else None
        types = [*(product.event_types if product else ()), *self._types_of_others]
        stats = RowStats.read(self._engine, source, self.window, self._possible, types)
        if stats is None or not stats.matches_byte_count(content_bytes):
            locate_error(self._scanner, len(layout.names), layout.names.index("timestamp"), skip)
        stats.check_range(self._engine, source, self._possible.end)
        stats.check_types(self.product, self._types_of_others)
        check_unnamed(layout, self.product, stats.filled)
        warnings = stats.check_layout(product, self._format.layout_check) if product else ()
        extra = self._extra_columns(layout, stats)
        query = self._events_query(source, stats, extra)
        self._readable = _Readable(self._engine, query, content_bytes // max(stats.rows, 1))
        if file_stats.vector_bytes > ORDINARY_VECTOR_BYTES:
            # Long rows may need more memory than there is. A window is emitted in full or not at
            # all, so the query runs once before the first event.
            self._make_ordinals(self._readable)
            for _ in self._lines(self._readable, "", "\n"):
                pass
        return FileContents(
            stats.inside,
            stats.outside,
            stats.impossible,
            layout,
            extra,
            warnings,
            stats.by_hour,
        )

    def _extra_columns(self, layout: Layout, stats: RowStats) -> tuple[str, ...]:
        return tuple(
            name
            for name in layout.values
            if stats.filled[name] and name not in self._schema_columns
        )

    def _events_query(self, source: Source, stats: RowStats, extra: tuple[str, ...]) -> EventsQuery:
        filled = {name: count for name, count in sorted(stats.filled.items()) if count}
        return EventsQuery(
            source=source,
            window=self.window,
            customer=self.customer,
            product=self.product,
            filled={name: count == stats.rows for name, count in filled.items()},
            extra=extra,
            identity=IDENTITY_COLUMNS.get(self.product),
            duplicates=stats.duplicates,
        )

    def _make_ordinals(self, readable: _Readable) -> None:
        """Make the table that the query of the events needs, if it needs one."""
        if readable.query.duplicates is DuplicateStrategy.TABLE and not self._has_ordinals:
            readable.engine.run(readable.query.all_ordinals())
            self._has_ordinals = True

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the events as records."""
        names = self._properties
        extra = "extra" in names
        readable = self._checked()
        if readable is None:
            return
        with self._with_context():
            query = readable.query.as_columns(names, structured=False)
            for row in chain.from_iterable(readable.engine.fetch(query, FETCH_ROWS)):
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
        readable = self._checked()
        if readable is None:
            return
        before = f'{{"type":"RECORD","stream":{json.dumps(stream)},"record":'
        after = f',"time_extracted":{json.dumps(time_extracted)}}}\n'
        with self._with_context():
            yield from self._lines(readable, before, after)

    def write_batches(
        self, encoding: str, compression: str | None, batch_size: int
    ) -> Iterator[Path]:
        """Write the events to files of at most ``batch_size`` records; yield each when complete.

        The files lie in the private directory, and are removed with it.

        Args:
            encoding: ``jsonl`` or ``parquet``.
            compression: ``gzip``, ``none``, or None: the usual one of the encoding, which for
                Parquet is Snappy, inside the file.
            batch_size: At least 1.
        """
        readable = self._checked()
        if readable is None:
            return
        engine, query, _ = readable
        with self._with_context():
            if encoding == "parquet":
                columns = query.as_columns(self._properties, structured=True)
                yield from write_parquet(engine, columns, compression, batch_size)
            else:
                lines = self._lines(readable, "", "\n", cut=batch_size)
                yield from write_jsonl(lines, engine.directory, compression, batch_size)

    def _lines(
        self, readable: _Readable, before: str, after: str, *, cut: int = 0
    ) -> Iterator[tuple[bytes, int]]:
        """Yield records as JSON, each between two texts, many at once and how many they are.

        What is yielded never straddles a multiple of ``cut`` records.
        """
        head, sql, tail = readable.query.as_json(self._properties)
        begin, end = (before + head).encode(), (tail + after).encode()
        # in JSON, names take about as many bytes again as values
        length = 100 + 2 * readable.bytes_per_row + 15 * len(self._properties) + len(begin + end)
        size = max(1, min(FETCH_ROWS, LINES_BYTES // length))
        for rows in readable.engine.fetch(sql, size, cut=cut):
            yield begin + (end + begin).join(chain.from_iterable(rows)) + end, len(rows)

    def _checked(self) -> _Readable | None:
        """Check the file; return what its events are read with, None if there are none."""
        self.check()
        if self._readable:
            with self._with_context():
                self._make_ordinals(self._readable)
        return self._readable

    @contextmanager
    def _with_context(self) -> Iterator[None]:
        """Name the export in an error."""
        error: FileError
        try:
            yield
        except UnreadableRowError:
            error = FileError(f"{self.path.name} changed while it was read")
        except MemoryError:  # Python 3.10 backtracks over a row that does not end
            error = ResourceError(
                "one of its rows needs more memory than the process may use; raise that limit, or "
                "set quote_character to empty if the file does not quote its values"
            )
        except FileError as raised:
            error = raised
        else:
            return
        export = f"the export of {self.customer}/{self.product} {self.window}"
        named = type(error)(f"{export} cannot be read: {error}")
        named.names_window = True
        raise named from error
