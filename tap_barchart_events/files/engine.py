"""DuckDB within bounds: one thread, bounded memory, one file to read, one directory to write.

It runs SQL and does not depend on events.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from tap_barchart_events.exceptions import ResourceError, SyncStopped
from tap_barchart_events.files.queries import literal

if TYPE_CHECKING:
    from collections.abc import Iterator


class UnreadableRowError(Exception):
    """DuckDB cannot read a row. DuckDB's own message shows the row, so it is dropped."""


class Engine:
    """A connection to DuckDB, made when it is first needed.

    A signal handler that raises while DuckDB works ends the query. DuckDB drops the exception;
    the engine raises ``KeyboardInterrupt`` in its place.
    """

    def __init__(self, file: Path, directory: Path, memory: int) -> None:
        """Prepare a connection.

        Args:
            file: The file that DuckDB may read.
            directory: An existing directory, in which the engine makes one of its own.
            memory: How many bytes of memory DuckDB may use before it spills to disk.
        """
        self._file = file
        self._parent = directory
        self._memory = memory
        self._free = 0
        self._own: tempfile.TemporaryDirectory[str] | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None

    def close(self) -> None:
        """Free memory and disk."""
        if self._connection:
            self._connection.close()
            self._connection = None
        if self._own:
            self._own.cleanup()
            self._own = None

    def interrupt(self) -> None:
        """End the query that another thread runs; it raises ``SyncStopped`` there."""
        if connection := self._connection:
            with suppress(duckdb.ConnectionException):  # closed in between
                connection.interrupt()

    @property
    def directory(self) -> Path:
        """The engine's own directory, which ``close`` removes."""
        if self._own is None:
            self._own = tempfile.TemporaryDirectory(dir=self._parent, prefix="events-")
        return Path(self._own.name)

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The connection: without network, extensions or other files.

        Raises:
            ResourceError: DuckDB cannot start.
        """
        if self._connection is None:
            self._free = shutil.disk_usage(self.directory).free
            try:
                with _interruptible():
                    self._connection = _connect(self._file, self.directory, self._memory)
            except (MemoryError, duckdb.OutOfMemoryException):
                raise ResourceError(
                    "the process may not use enough memory for DuckDB to start; raise its limit "
                    "(ulimit -v, or that of the container)"
                ) from None
        return self._connection

    def run(self, sql: str) -> None:
        """Run a statement.

        Raises:
            UnreadableRowError: A row cannot be read.
            ResourceError: Memory or disk do not suffice.
        """
        connection = self.connection
        with self._errors():
            connection.execute(sql)

    def fetch(self, sql: str, size: int, *, cut: int = 0) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a query, ``size`` at a time, but never across a multiple of ``cut``.

        Raises:
            UnreadableRowError: A row cannot be read.
            ResourceError: Memory or disk do not suffice.
        """
        connection = self.connection
        with self._errors():
            result = connection.execute(sql)
        fetched = 0
        while True:
            with self._errors():
                rows = result.fetchmany(min(size, cut - fetched % cut) if cut else size)
            if not rows:
                return
            fetched += len(rows)
            yield rows

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Replace each of DuckDB's errors with one of this package."""
        try:
            with _interruptible():
                yield
        except (duckdb.InvalidInputException, duckdb.ConversionException):
            raise UnreadableRowError from None
        except duckdb.InterruptException:
            raise SyncStopped from None
        except duckdb.OutOfMemoryException as error:
            # DuckDB raises the same error for memory that cannot be spilled and for a full disk.
            raise ResourceError(
                f"its rows need more than {self._memory >> 20:,} MB of memory and "
                f"{self._free >> 20:,} MB of temporary files, or the process may not use that much "
                "memory; free space in TMPDIR, or lower window_hours"
            ) from error
        except duckdb.PermissionException:
            # DuckDB takes the name of a missing file for a pattern, which is not allowed.
            raise ResourceError(
                "it is not there any more; nothing may remove the tap's files in TMPDIR meanwhile"
            ) from None
        except duckdb.IOException as error:
            raise ResourceError(
                f"reading it, or writing temporary files, failed: {str(error).splitlines()[0]}"
            ) from error


def _connect(file: Path, directory: Path, memory: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            # a second thread would take processor time from the target
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
    # stdout is for Singer messages
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET streaming_buffer_size = '1MB'")
    connection.execute("SET lock_configuration = true")
    return connection


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except RuntimeError:
        # DuckDB raises a plain RuntimeError only if a signal ended the query.
        raise KeyboardInterrupt from None
