"""What a target wrote, read back: it looks at the target's file alone.

It does not know what ought to be there.
"""

from __future__ import annotations

from collections import Counter
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
    hours: Counter[datetime]
    """Start of an hour (UTC) → events in it."""


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
        counts = database.execute(
            "SELECT product, ms - ms % 3600000 AS started, count(*) "
            "FROM arrived GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    hours: dict[str, Counter[datetime]] = {product: Counter() for product, *_ in products}
    for product, started, count in counts:
        hours[product][_utc(started)] = count
    return {
        product: Arrived(rows, distinct, _utc(first), _utc(last), hours[product])
        for product, rows, distinct, first, last in products
    }


def _utc(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=timezone.utc)
