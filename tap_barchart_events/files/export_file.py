"""The events of an export file: layout, types, filter, ``event_id``. DuckDB reads the file.

The input is a complete local file and the window that it was exported for. The module does not
depend on jobs, bookmarks or STATE.
"""

import json
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any

from isal import igzip

from tap_barchart_events.exceptions import FileError, ResourceError
from tap_barchart_events.files.check import DuplicateStrategy, FileContents
from tap_barchart_events.files.engine import (
    MEMORY_PER_ORDINAL,
    ORDINARY_VECTOR_BYTES,
    RAISE_LIMIT,
    Engine,
    UnreadableRowError,
    memory_limit,
)
from tap_barchart_events.files.layout import check_layout, detect_layout, expected_columns
from tap_barchart_events.files.queries import EventsQuery, Source, literal, sums_query
from tap_barchart_events.files.rows import VECTOR_ROWS, FileOptions, Rows
from tap_barchart_events.products import LEADING, PRODUCTS, types_of_others
from tap_barchart_events.windows import Window

LINES_BYTES = 100_000
"""Bytes of finished lines that are returned at once: they stay in the processor's cache."""

FETCH_ROWS = 1_000
"""Most rows that are fetched at once: about ``LINES_BYTES`` of the shortest."""

ROW_GROUP_ROWS = 25_000
"""Most records in a row group of a Parquet file, which is in memory until it is full."""

PARQUET_CODECS = {None: "snappy", "gzip": "gzip", "none": "uncompressed"}
"""The setting's compression → DuckDB's name for the compression inside Parquet."""


@dataclass(kw_only=True, eq=False)
class ExportFile:
    r"""The events of one downloaded export file.

    ``check`` comes first, and may run in another thread. Each output mode then
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

    path: Path
    """The complete file, plain text."""

    product: str
    window: Window
    """Events outside it are dropped."""

    options: FileOptions

    checker: Engine
    """Checks file after file, as far as its memory suffices. Its folder is private, holds the file,
    and gets batch files and what DuckDB spills."""

    has_null_product: bool = False
    """Whether rows with an event type of another product are an error."""

    contents: FileContents = field(init=False)
    """What the file holds, once it is checked."""

    def __post_init__(self) -> None:
        """Read nothing yet."""
        self._rows = Rows(self.path, self.options)
        self._engine = Engine(self.checker.folder)

    def close(self) -> None:
        """Free memory and disk; the file can still be read again."""
        self._engine.close()

    def interrupt(self) -> None:
        """End a check that another thread makes; it raises ``SyncStopped`` there."""
        self._rows.stopped = True
        for engine in (self._engine, self.checker):
            engine.interrupt()

    def check(self) -> None:
        """Read the whole file once, before anything of it is emitted.

        Raises:
            FileError: A row has a wrong number of fields or a non-integer timestamp, is not UTF-8,
                or cannot be read with certainty. The message names its line. Or the rows are not
                from the window.
            LayoutError: The columns are not certain, or event types contradict them.
            ResourceError: Memory or disk do not suffice.
        """
        # many files may wait, and a connection takes memory
        with closing(self), self._with_context():
            self.contents = FileContents()
            if first := next(iter(self._rows), None):
                self._check(first)

    def _check(self, first: tuple[int, bytes]) -> None:
        options, rows = self.options, self._rows
        columns = expected_columns(self.product, options.columns)
        rows.check_inner_rows(first, columns)
        try:
            layout = detect_layout(rows.fields(first), self.product, options.columns)
        except FileError as error:
            raise type(error)(f"{error}{rows.quoting_hint(first)}") from None
        stats = rows.check(layout.names if layout.header else columns)
        source, content_bytes = Source(self.path, layout.names, options, stats), stats.content_bytes
        if layout.header:
            source.skip = rows.line(first[0] + len(first[1]))
            content_bytes -= rows.content_bytes(first[1])
        memory = memory_limit(len(layout.names), stats.vector_bytes, stats.longest_row)
        self._engine.memory = memory
        of_others = types_of_others(self.product) if self.has_null_product else {}
        product = PRODUCTS.get(self.product)
        types = [*(product.event_types if product else ()), *of_others]
        possible = Window(options.start_date, round(time.time() * 1000))
        bookmark = options.bookmarks.get(self.product, options.start_date)
        query = sums_query(source, self.window, possible, bookmark, types)
        checker = self.checker if memory <= self.checker.memory else self._engine
        sums = chain.from_iterable(checker.fetch(query, FETCH_ROWS))
        contents = None
        with suppress(UnreadableRowError):
            contents = FileContents.read(layout.names, sums)
        if contents is None or contents.bad or contents.content_bytes != content_bytes:
            rows.locate_error(layout)
        contents.check_range(possible.end)
        contents.check_types(self.product, of_others)
        contents.warnings = check_layout(
            layout, self.product, options.layout_check, contents.filled, contents.by_type
        )
        contents.layout = layout
        known = {*LEADING, *options.schema_columns}
        extra = (name for name in layout.names if name not in known)
        contents.extra_columns = tuple(filter(contents.filled.get, extra))
        self.contents = contents
        self._query = EventsQuery(source, self.product, self.window, contents)
        if contents.duplicates is DuplicateStrategy.TABLE:
            self._engine.memory += MEMORY_PER_ORDINAL * contents.rows
        if stats.vector_bytes > ORDINARY_VECTOR_BYTES:
            # Long rows may need more memory than there is. A window is emitted in full or not at
            # all, so the query runs once before the first event.
            self._engine.run(self._query.preparation)
            for _ in self._lines("", "\n"):
                pass

    @property
    def description(self) -> str:
        """The file in words, once it is checked."""
        contents, layout = self.contents, self.contents.layout
        if layout is None:
            return "no events"
        columns, stats = "the header", self._query.source.stats
        if layout.by_position:
            known = f"the known layout of {len(layout.names)} columns"
            columns = "the setting columns" if self.product in self.options.columns else known
        quotes, ends = "with" if stats.quoted else "no", "CR LF" if stats.has_returns else "LF"
        number = "1 event" if contents.events == 1 else f"{contents.events:,} events"
        text = f"{number}, columns by {columns}, {quotes} quotes, lines end in {ends}"
        if contents.unknown_types:
            share = 100 * contents.unknown_types / contents.events
            text += f", {share:.1f} % of an event type that is not known"
        if contents.extra_columns:
            text += f", columns that go to extra: {', '.join(contents.extra_columns)}"
        return text

    def records(self) -> Generator[dict[str, Any]]:
        """Yield the events as records."""
        names = self.options.properties
        with self._reading() as has_events:
            if not has_events:
                return
            batches = self._engine.fetch(self._query.as_columns(), FETCH_ROWS)
            for row in chain.from_iterable(batches):
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
        with self._reading() as has_events:
            if has_events:
                yield from self._lines(before, after)

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
        with self._reading() as has_events:
            if has_events and encoding == "parquet":
                sql = self._query.as_columns()
                yield from _write_parquet(self._engine, sql, compression, batch_size)
            elif has_events:
                lines = self._lines("", "\n", cut=batch_size)
                yield from _write_jsonl(lines, self._engine.directory, compression, batch_size)

    def _lines(
        self, before: str, after: str, *, cut: int = sys.maxsize
    ) -> Iterator[tuple[bytes, int]]:
        """Yield records as JSON, each between two texts, many at once, and their number.

        What is yielded never straddles a multiple of ``cut`` records.
        """
        head, sql, tail = self._query.as_json(before, after)
        begin, end = head.encode(), tail.encode()
        row_bytes = self.contents.content_bytes // self.contents.rows
        # in JSON, names take about as many bytes again as values
        length = 100 + 2 * row_bytes + 15 * len(self.options.properties) + len(begin + end)
        size = max(1, min(FETCH_ROWS, LINES_BYTES // length))
        for rows in self._engine.fetch(sql, size, cut=cut):
            yield begin + (end + begin).join(chain.from_iterable(rows)) + end, len(rows)

    @contextmanager
    def _reading(self) -> Iterator[bool]:
        """Prepare the query of the events; yield whether there are any."""
        with self._with_context():
            if self.contents.events:
                self._engine.run(self._query.preparation)
            yield self.contents.events > 0

    @contextmanager
    def _with_context(self) -> Iterator[None]:
        """Name the export in an error."""
        try:
            yield
        except (FileError, MemoryError) as error:
            kind = type(error) if isinstance(error, FileError) else ResourceError
            why = str(error) or f"a row needs more memory than the process may use; {RAISE_LIMIT}"
            where = f"{self.options.customer}/{self.product} {self.window}"
            named = kind(f"{where}: the export cannot be read: {why}")
            named.names_window = True
            raise named from error


def _write_jsonl(
    lines: Iterator[tuple[bytes, int]], directory: Path, compression: str | None, batch_size: int
) -> Iterator[Path]:
    """Write lines to files of at most ``batch_size`` records; yield each when complete.

    Args:
        lines: Finished lines, many at once, and their number; an item never straddles a
            multiple of ``batch_size`` lines.
        directory: Where the files go.
        compression: ``gzip``; anything else means none.
        batch_size: At least 1.
    """
    for number in count(1):
        left = batch_size
        path = directory / f"{number}.jsonl"
        # igzip has no type annotations
        with igzip.open(path, "wb") if compression == "gzip" else path.open("wb") as file:  # type: ignore[no-untyped-call]
            while left and (item := next(lines, None)):
                piece, records = item
                file.write(piece)
                left -= records
        if left == batch_size:
            path.unlink()
            return
        yield path


def _write_parquet(
    engine: Engine, query: str, compression: str | None, batch_size: int
) -> Iterator[Path]:
    """Write the result of a query to files of at most ``batch_size`` records; yield each.

    Args:
        engine: Runs the query; the files go to its directory.
        query: The query of the events.
        compression: ``gzip``, ``none``, or None for Snappy; it is inside the file.
        batch_size: At least 1.
    """
    directory = tempfile.mkdtemp(dir=engine.directory)
    # a row group ends with the vector that fills it, so it may be nearly a vector longer
    groups = -(-batch_size // ROW_GROUP_ROWS)
    group = max(1, batch_size // groups - (VECTOR_ROWS - 1))
    engine.run(
        f"COPY ({query}) TO {literal(directory)} (FORMAT parquet, ROW_GROUP_SIZE {group}, "
        f"ROW_GROUPS_PER_FILE {groups}, COMPRESSION {PARQUET_CODECS[compression]})"
    )
    for number in count():
        path = Path(directory, f"data_{number}.parquet")
        if not path.exists():
            return
        file = f"parquet_file_metadata({literal(str(path))})"
        ((rows,),) = next(engine.fetch(f"SELECT num_rows FROM {file}", 1))
        if rows:  # DuckDB 1.5 may end with a file without rows
            yield path
