"""Jobs that the tests of the client start."""

from typing import Any

from tap_barchart_events.api.client import ReportsClient
from tap_barchart_events.api.http import RetryPolicy

HOUR = 3_600_000
QUICK = RetryPolicy(attempts=5, wait_initial=0.01)


def export(hour: int = 0) -> dict[str, Any]:
    """Return what is to be exported: an hour."""
    start = (492_000 + hour) * HOUR
    return {"customer": "TGAM", "product": "WATCHLIST", "start": start, "end": start + HOUR}


def start(client: ReportsClient, hour: int = 0) -> str:
    """Start a job, and return its name."""
    return client.start(export(hour)).source
