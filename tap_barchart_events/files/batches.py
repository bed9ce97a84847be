"""The events of an export file as batch files: JSON lines or Parquet."""

from __future__ import annotations

import tempfile
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from isal import isal_zlib

from tap_barchart_events.files.memory import ROW_GROUP_ROWS, VECTOR_ROWS
from tap_barchart_events.files.queries import literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_barchart_events.files.engine import Engine

GZIP = isal_zlib.MAX_WBITS | 16

PARQUET_CODECS = {None: "snappy", "gzip": "gzip", "none": "uncompressed"}
"""The setting's compression → DuckDB's name for the compression inside Parquet."""


def write_jsonl(
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
        with path.open("wb") as file:
            compressor = isal_zlib.compressobj(wbits=GZIP) if compression == "gzip" else None
            while left and (item := next(lines, None)):
                piece, records = item
                file.write(compressor.compress(piece) if compressor else piece)
                left -= records
            if compressor:
                file.write(compressor.flush())
        if left == batch_size:
            path.unlink()
            return
        yield path


def write_parquet(
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
