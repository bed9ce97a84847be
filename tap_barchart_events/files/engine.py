"""DuckDB on a short leash: one thread, bounded memory, one file to read, one directory to write.

It runs SQL and knows nothing of events.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from tap_barchart_events.exceptions import FileError
from tap_barchart_events.files.queries import literal

if TYPE_CHECKING:
    from collections.abc import Iterator


class UnreadableRowError(Exception):
    """DuckDB cannot read some row. Its own message shows the row, so it goes no further."""


class Engine:
    """A connection to DuckDB, made when it is first needed.

    A signal handler that raises while DuckDB works makes it stop, but DuckDB swallows what was
    raised: ``KeyboardInterrupt`` is raised in its place.
    """

    memory: int
    """What DuckDB may hold in memory, in bytes, before it spills; to be set before first use."""

    def __init__(self, file: Path, directory: Path, memory: int) -> None:
        """Take the file that may be read and an existing directory to make its own in."""
        self.memory = memory
        self._file = file
        self._parent = directory
        self._own: tempfile.TemporaryDirectory[str] | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None

    def close(self) -> None:
        """Free what it holds in memory and on disk."""
        if self._connection:
            self._connection.close()
            self._connection = None
        if self._own:
            self._own.cleanup()
            self._own = None

    @property
    def directory(self) -> Path:
        """A directory of its own, which goes when it is closed."""
        if self._own is None:
            self._own = tempfile.TemporaryDirectory(dir=self._parent, prefix="events-")
        return Path(self._own.name)

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The connection: without network, extensions, and other files."""
        if self._connection is None:
            own = self.directory
            with _interruptible():
                self._connection = _connected(self._file, own, self.memory)
        return self._connection

    def run(self, sql: str) -> None:
        """Run a statement.

        Raises:
            UnreadableRowError: A row cannot be read.
            FileError: Memory or disk do not suffice.
        """
        connection = self.connection
        with _errors():
            connection.execute(sql)

    def fetch(self, sql: str, size: int, *, cut: int = 0) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a query, ``size`` at a time, but never across a multiple of ``cut``.

        Raises:
            UnreadableRowError: A row cannot be read.
            FileError: Memory or disk do not suffice.
        """
        connection = self.connection
        with _errors():
            result = connection.execute(sql)
        fetched = 0
        while True:
            with _errors():
                rows = result.fetchmany(min(size, cut - fetched % cut) if cut else size)
            if not rows:
                return
            fetched += len(rows)
            yield rows


def _connected(file: Path, directory: Path, memory: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            # a second thread would take its time from the target
            "threads": 1,
            "memory_limit": f"{memory}B",
            "temp_directory": str(directory),
            "enable_external_file_cache": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    connection.execute(f"SET allowed_directories = [{literal(str(directory))}]")
    connection.execute(f"SET allowed_paths = [{literal(str(file))}]")
    connection.execute("SET enable_external_access = false")
    # stdout belongs to the target
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET streaming_buffer_size = '1MB'")
    connection.execute("SET lock_configuration = true")
    return connection


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if "interrupted" not in str(error).lower():
            raise
        raise KeyboardInterrupt from None


@contextmanager
def _errors() -> Iterator[None]:
    """Turn what DuckDB raises into what it means."""
    try:
        with _interruptible():
            yield
    except (duckdb.InvalidInputException, duckdb.ConversionException):
        raise UnreadableRowError from None
    except duckdb.OutOfMemoryException as error:
        raise FileError(
            "it has rows or values too large to be held in memory, or the disk for temporary "
            "files is full"
        ) from error
    except duckdb.IOException as error:
        raise FileError(
            f"reading it, or writing temporary files, failed: {str(error).splitlines()[0]}"
        ) from error
