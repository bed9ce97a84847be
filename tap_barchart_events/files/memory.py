"""The memory that reading an export file takes: all constants, and their derivation.

DuckDB works on vectors of ``VECTOR_ROWS`` rows, and holds the rows of a vector ``BUFFER_COPIES``
times: as read, split into fields, hashed, escaped, joined. So the largest vector decides how much
memory DuckDB needs. ``BASE_MEMORY`` suffices for vectors of up to ``ORDINARY_VECTOR_BYTES``, which
are rows of 2 kB on average. Beyond its limit DuckDB spills to disk what it can.

For 10,000,000 ordinary events the peak of the whole process stays under 200 MB.
"""

from __future__ import annotations

CHUNK_BYTES = 1 << 20
"""Bytes of a file that Python reads at once."""

MAX_ROW_BYTES = 16 << 20
"""The longest row that is read, in bytes; a longer one is an error."""

VECTOR_ROWS = 2_048
"""Rows that DuckDB works on at once: a constant of DuckDB."""

BUFFER_COPIES = 12
"""How many times DuckDB holds the rows of a vector: an upper bound, found by trial."""

BASE_MEMORY = 48 << 20
"""DuckDB's limit for ordinary rows, in bytes: it sorts and joins within that by spilling."""

MEMORY_PER_COLUMN = 256 << 10
"""Bytes beyond that for each column: its buffers, and the sums over it."""

MAX_MEMORY = 1 << 30
"""DuckDB's limit for the longest rows, in bytes."""

ORDINARY_VECTOR_BYTES = BASE_MEMORY // BUFFER_COPIES

LINES_BYTES = 100_000
"""Bytes of finished lines that are returned at once: they stay in the processor's cache."""

FETCH_ROWS = 1_000
"""Most rows that are fetched at once: about ``LINES_BYTES`` of the shortest."""

ROW_GROUP_ROWS = 25_000
"""Most records in a row group of a Parquet file, which is in memory until it is full."""


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
