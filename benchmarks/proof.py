"""The check, before any measurement, that all readers make the same records."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.contenders import Contender
from benchmarks.processes import ContenderError, run


def prove(contenders: Sequence[Contender], folder: Path, events: int) -> None:
    """Compare all that the contenders write, record by record and field by field.

    Args:
        contenders: Each reads the same events.
        folder: For temporary files.
        events: How many events there are.

    Raises:
        ContenderError: One of them wrote other records than the first, or not all.
    """
    expected: list[dict[str, Any]] = []
    for contender in contenders:
        output = folder / "output"
        run(contender.command, folder, output)
        found = _records(output)
        if len(found) != events:
            raise ContenderError(f"{contender.name} wrote {len(found)} of {events} records")
        expected = expected or found
        for one, other in zip(expected, found, strict=True):
            if one != other:
                raise ContenderError(f"{contender.name} wrote {other}\nand not {one}")


def _records(output: Path) -> list[dict[str, Any]]:
    records = []
    with output.open("rb") as lines:
        for line in lines:
            message = json.loads(line)
            if message["type"] == "RECORD":
                records.append(message["record"])
            elif message["type"] == "BATCH":
                for file in message["manifest"]:
                    records += _batch(file.removeprefix("file://"))
    return records


def _batch(path: str) -> list[dict[str, Any]]:
    if path.endswith(".parquet"):
        table = duckdb.read_parquet(path)
        return [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]
    with gzip.open(path) as lines:
        return [json.loads(line) for line in lines]
