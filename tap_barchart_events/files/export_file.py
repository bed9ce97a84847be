"""The events of an export file: layout, types, filter, ``event_id``. DuckDB reads the file.

The input is a complete local file and the window that it was exported for. The module does not
depend on jobs, bookmarks or STATE.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

from tap_barchart_events.exceptions import FileError, ResourceError
from tap_barchart_events.files.batches import write_jsonl, write_parquet
from tap_barchart_events.files.check import FileContents
from tap_barchart_events.files.engine import Engine, UnreadableRowError
from tap_barchart_events.files.layout import check_layout, detect_layout, expected_columns
from tap_barchart_events.files.memory import (
    FETCH_ROWS,
    LINES_BYTES,
    ORDINARY_VECTOR_BYTES,
    memory_limit,
)
from tap_barchart_events.files.queries import EventsQuery, Source
from tap_barchart_events.files.rows import Rows
from tap_barchart_events.products import IDENTITY_COLUMNS, PRODUCTS, types_of_others

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from typing_extensions import Self

    from tap_barchart_events.files.rows import FileFormat
    from tap_barchart_events.windows import Window


class ExportFile:
    r"""The events of one downloaded export file.

    A context manager. ``check`` comes first, and may run in another thread. Each output mode then
    reads the file again; all modes yield the same events in the same order.

    ``event_id`` is the MD5, in hex, of the event's values in the identity columns and of its
    ordinal among the events equal in these, in the order of their other values and of the file;
    docs/event_id.md explains it. In Python, for the identity columns of a row as a dict::

        lines = [customer, product, str(timestamp), type or ""]
        lines += [f"{name}={row[name]}" for name in sorted(row) if row[name]]
        text = "\n".join(line.replace("\n", "\n\n") for line in [*lines, str(ordinal)])
        event_id = hashlib.md5(text.encode()).hexdigest()

    A signal handler that raises while DuckDB works ends it with ``KeyboardInterrupt``; see
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
            directory: An existing private directory, for batch files and what DuckDB spills.
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
        self._rows = Rows(path, file_format)
        self._engine: Engine | None = None
        self._contents: FileContents | None = None
        self._readable: tuple[Engine, EventsQuery] | None = None
        """What reads the events; None for a file without rows."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Free memory and disk; the file can still be read again."""
        if self._engine:
            self._engine.close()

    def interrupt(self) -> None:
        """End a check that another thread makes; it raises ``SyncStopped`` there."""
        self._rows.stopped = True
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
            FileError: A row has a wrong number of fields or a non-integer timestamp, is not UTF-8,
                or cannot be read with certainty. The message names its line.
            LayoutError: The columns are not certain, or event types contradict them.
            WrongRangeError: The rows are not from the window, or most have another unit.
        """
        if self._contents is None:
            # many files may wait, and a connection takes memory
            with self, self._with_context():
                self._contents = self._check()
        return self._contents

    def _check(self) -> FileContents:
        first = next(iter(self._rows), None)
        if first is None:
            return FileContents()
        columns = expected_columns(self.product, self._format.columns)
        self._rows.check_inner_rows(first, columns)
        try:
            layout = detect_layout(self._rows.fields(first), self.product, self._format.columns)
        except FileError as error:
            raise type(error)(f"{error}{self._rows.quoting_hint(first)}") from None
        stats = self._rows.check(layout.names if layout.header else columns)
        skip, content_bytes = 0, stats.content_bytes
        if layout.header:
            skip = self._rows.line(first[0] + len(first[1]))
            content_bytes -= self._rows.content_bytes(first[1])
        source = Source(self.path, layout.names, self._format, stats, skip)
        memory = memory_limit(len(layout.names), stats.vector_bytes, stats.longest_row)
        self._engine = Engine(self.path, self._directory, memory)
        # a header's own names need no cross-check
        product = PRODUCTS.get(self.product) if layout.by_position else None
        types = [*(product.event_types if product else ()), *self._types_of_others]
        contents = FileContents.read(self._engine, source, self.window, self._possible, types)
        if contents.bad or contents.content_bytes != content_bytes:
            self._rows.locate_error(layout)
        contents.check_range(self._possible.end)
        contents.check_types(self.product, self._types_of_others)
        contents.layout = layout
        contents.warnings = check_layout(
            layout,
            self.product,
            self._format.layout_check,
            filled=contents.filled,
            by_type=contents.by_type,
        )
        contents.extra_columns = tuple(
            name
            for name in layout.values
            if contents.filled[name] and name not in self._schema_columns
        )
        self._readable = self._engine, self._events_query(source, contents)
        if stats.vector_bytes > ORDINARY_VECTOR_BYTES:
            # Long rows may need more memory than there is. A window is emitted in full or not at
            # all, so the query runs once before the first event.
            self._engine.run(self._readable[1].preparation)
            for _ in self._lines(*self._readable, "", "\n"):
                pass
        return contents

    def _events_query(self, source: Source, contents: FileContents) -> EventsQuery:
        filled = {name: count for name, count in sorted(contents.filled.items()) if count}
        return EventsQuery(
            source=source,
            window=self.window,
            customer=self.customer,
            product=self.product,
            filled={name: count == contents.rows for name, count in filled.items()},
            extra=contents.extra_columns,
            identity=IDENTITY_COLUMNS.get(self.product),
            duplicates=contents.duplicates,
            row_bytes=contents.content_bytes // max(contents.rows, 1),
        )

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the events as records."""
        names = self._properties
        with self._reading() as readable:
            if readable is None:
                return
            engine, query = readable
            columns = query.as_columns(names)
            for row in chain.from_iterable(engine.fetch(columns, FETCH_ROWS)):
                record = dict(zip(names, row, strict=True))
                if extra := record.get("extra"):
                    record["extra"] = {name: extra[name] for name in extra if extra[name]}
                yield record

    def record_lines(self, stream: str, time_extracted: str) -> Iterator[tuple[bytes, int]]:
        """Yield finished RECORD messages, many lines at once, and their number.

        Args:
            stream: The stream's name.
            time_extracted: When the events were extracted, ISO 8601.
        """
        before = f'{{"type":"RECORD","stream":{json.dumps(stream)},"record":'
        after = f',"time_extracted":{json.dumps(time_extracted)}}}\n'
        with self._reading() as readable:
            if readable:
                yield from self._lines(*readable, before, after)

    def write_batches(
        self, encoding: str, compression: str | None, batch_size: int
    ) -> Iterator[Path]:
        """Write the events to files of at most ``batch_size`` records; yield each when complete.

        The files lie in the private directory, and are removed with it.

        Args:
            encoding: ``jsonl`` or ``parquet``.
            compression: ``gzip``, ``none``, or None: the encoding's default, which for
                Parquet is Snappy, inside the file.
            batch_size: At least 1.
        """
        with self._reading() as readable:
            if readable is None:
                return
            engine, query = readable
            if encoding == "parquet":
                columns = query.as_columns(self._properties)
                yield from write_parquet(engine, columns, compression, batch_size)
            else:
                lines = self._lines(engine, query, "", "\n", cut=batch_size)
                yield from write_jsonl(lines, engine.directory, compression, batch_size)

    def _lines(
        self, engine: Engine, query: EventsQuery, before: str, after: str, *, cut: int = 0
    ) -> Iterator[tuple[bytes, int]]:
        """Yield records as JSON, each between two texts, many at once, and their number.

        What is yielded never straddles a multiple of ``cut`` records.
        """
        head, sql, tail = query.as_json(self._properties)
        begin, end = (before + head).encode(), (tail + after).encode()
        # in JSON, names take about as many bytes again as values
        length = 100 + 2 * query.row_bytes + 15 * len(self._properties) + len(begin + end)
        size = max(1, min(FETCH_ROWS, LINES_BYTES // length))
        for rows in engine.fetch(sql, size, cut=cut):
            yield begin + (end + begin).join(chain.from_iterable(rows)) + end, len(rows)

    @contextmanager
    def _reading(self) -> Iterator[tuple[Engine, EventsQuery] | None]:
        """Check the file; yield what reads its events, or None if it has none."""
        self.check()
        with self._with_context():
            if self._readable:
                engine, query = self._readable
                engine.run(query.preparation)
            yield self._readable

    @contextmanager
    def _with_context(self) -> Iterator[None]:
        """Name the export in an error."""
        error: FileError
        try:
            yield
        except UnreadableRowError:
            error = FileError(f"{self.path.name} changed while it was read")
        except MemoryError:
            error = ResourceError(
                "a row needs more memory than the process may use; raise its limit (ulimit -v, or "
                "that of the container)"
            )
        except FileError as raised:
            error = raised
        else:
            return
        export = f"the export of {self.customer}/{self.product} {self.window}"
        named = type(error)(f"{export} cannot be read: {error}")
        named.names_window = True
        raise named from error
