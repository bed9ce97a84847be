"""DuckDB within bounds: one thread, bounded memory, one folder to read and write.

It runs SQL and does not depend on events.

DuckDB works on vectors of ``VECTOR_ROWS`` rows, and holds the rows of a vector ``BUFFER_COPIES``
times: as read, split into fields, hashed, escaped, joined. So the largest vector decides how much
memory DuckDB needs. ``BASE_MEMORY`` suffices for vectors of up to ``ORDINARY_VECTOR_BYTES``, which
are rows of 2 kB on average. Beyond its limit DuckDB spills to disk what it can. For 10,000,000
ordinary events the peak of the whole process stays under 200 MB.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from tap_barchart_events.exceptions import FileError, ResourceError, SyncStopped
from tap_barchart_events.files.queries import literal

BUFFER_COPIES = 12
"""How many times DuckDB holds the rows of a vector: an upper bound, found by trial."""

BASE_MEMORY = 48 << 20
"""DuckDB's limit for ordinary rows, in bytes: it sorts and joins within that by spilling."""

MEMORY_PER_COLUMN = 256 << 10
"""Bytes beyond that for each column: its buffers, and the sums over it."""

MEMORY_PER_ORDINAL = 4
"""Bytes beyond that for each row, if a table has the ordinals of all: found by trial, as
20,000,000 rows need more than 86 MB, and 4,000,000 more than 50."""

MAX_MEMORY = 1 << 30
"""DuckDB's limit for the longest rows, in bytes."""

ORDINARY_VECTOR_BYTES = BASE_MEMORY // BUFFER_COPIES

CHECK_MEMORY = BASE_MEMORY + 64 * MEMORY_PER_COLUMN
"""DuckDB's limit where one database checks file after file, in bytes."""

RAISE_LIMIT = "raise the memory limit (ulimit -v, or the container's)"


def memory_limit(columns: int, vector_bytes: int, longest_row: int) -> int:
    """Return how many bytes of memory DuckDB may use for a file.

    Args:
        columns: The number of columns of the file.
        vector_bytes: The bytes of the largest vector of rows.
        longest_row: The bytes of the longest row.
    """
    memory = BASE_MEMORY + MEMORY_PER_COLUMN * columns
    if vector_bytes > ORDINARY_VECTOR_BYTES:
        # DuckDB's reader holds a row in four more buffers, of the size of the longest
        memory += BUFFER_COPIES * vector_bytes + 4 * longest_row
    return min(memory, MAX_MEMORY)


class UnreadableRowError(FileError):
    """DuckDB cannot read a row. DuckDB's own message shows the row, so it is dropped."""


@dataclass(slots=True, eq=False)
class Engine:
    """A connection to DuckDB, made when it is first needed.

    A signal handler that raises while DuckDB works ends the query. DuckDB drops the exception;
    the engine raises ``KeyboardInterrupt`` in its place.
    """

    folder: Path
    """An existing private folder, with the files that DuckDB may read."""

    memory: int = BASE_MEMORY
    """How many bytes of memory DuckDB may use before it spills to disk."""

    directory: Path = field(init=False, repr=False)
    """The engine's own directory in it, while it is connected; ``close`` removes it."""

    _connection: duckdb.DuckDBPyConnection | None = field(default=None, init=False)

    def close(self) -> None:
        """Free memory and disk."""
        if self._connection:
            self._connection.close()
            self._connection = None
            shutil.rmtree(self.directory, ignore_errors=True)

    def interrupt(self) -> None:
        """End the query that another thread runs; it raises ``SyncStopped`` there."""
        if connection := self._connection:
            with suppress(duckdb.ConnectionException):  # closed in between
                connection.interrupt()

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The connection: without network, extensions or other files."""
        if self._connection is None:
            self.directory = Path(tempfile.mkdtemp(dir=self.folder, prefix="events-"))
            self._connection = _connect(self.folder, self.directory, self.memory)
        return self._connection

    def run(self, sql: str) -> None:
        """Run a statement.

        Raises:
            UnreadableRowError: A row cannot be read.
            ResourceError: Memory or disk do not suffice.
        """
        with self._errors():
            self.connection.execute(sql)

    def fetch(self, sql: str, size: int, *, cut: int = sys.maxsize) -> Iterator[list[Any]]:
        """Yield the rows of a query, ``size`` at a time, but never across a multiple of ``cut``.

        Raises:
            UnreadableRowError: A row cannot be read.
            ResourceError: Memory or disk do not suffice.
        """
        fetched = 0
        with self._errors():
            result = self.connection.execute(sql)
            while rows := result.fetchmany(min(size, cut - fetched % cut)):
                fetched += len(rows)
                yield rows

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Replace each of DuckDB's errors with one of this package."""
        try:
            yield
        except (duckdb.InvalidInputException, duckdb.ConversionException):
            raise UnreadableRowError("it changed while it was read") from None
        except duckdb.InterruptException:
            raise SyncStopped from None
        except (MemoryError, duckdb.OutOfMemoryException) as error:
            # DuckDB raises the same error for memory that cannot be spilled and for a full disk.
            raise ResourceError(
                f"its rows need more than {self.memory >> 20:,} MB of memory and the free disk "
                "space, or more memory than the process may use; free space in TMPDIR, lower "
                f"window_hours, or {RAISE_LIMIT}"
            ) from error
        except (duckdb.IOException, duckdb.PermissionException) as error:
            # The latter is about a missing file: its name is taken for a pattern.
            raise ResourceError(
                f"reading it, or writing temporary files, failed: {str(error).splitlines()[0]}"
            ) from error
        except RuntimeError:
            # DuckDB raises a plain RuntimeError only if a signal ended the query.
            raise KeyboardInterrupt from None


def _connect(folder: Path, directory: Path, memory: int) -> duckdb.DuckDBPyConnection:
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
    connection.execute(f"SET allowed_directories = [{literal(str(folder))}]")
    connection.execute("SET enable_external_access = false")
    # stdout is for Singer messages
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET streaming_buffer_size = '1MB'")
    connection.execute("SET lock_configuration = true")
    return connection
