"""The events in the file of target-jsonl."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Arrived:
    """The events of one product in the target."""

    rows: int
    distinct: int
    """Number of different `event_id`s."""
    first: datetime
    last: datetime


def read_back(file: Path) -> dict[str, Arrived]:
    """Return what target-jsonl wrote, by product.

    Args:
        file: The file of the stream, a JSON object a line.
    """
    with duckdb.connect() as database:
        database.execute(
            """
            CREATE TABLE arrived AS
            SELECT product, event_id, epoch_ms("timestamp"::TIMESTAMPTZ) AS ms
            FROM read_json($file, format = 'newline_delimited', columns = {
                product: 'VARCHAR', event_id: 'VARCHAR', "timestamp": 'VARCHAR'})
            """,
            {"file": str(file)},
        )
        products = database.execute(
            "SELECT product, count(*), count(DISTINCT event_id), min(ms), max(ms) "
            "FROM arrived GROUP BY product ORDER BY product"
        ).fetchall()
    return {
        product: Arrived(rows, distinct, _utc(first), _utc(last))
        for product, rows, distinct, first, last in products
    }


def _utc(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=timezone.utc)
