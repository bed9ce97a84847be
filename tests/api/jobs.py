"""Jobs of the emulator, for tests of the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_barchart_events.api.http import RetryPolicy

if TYPE_CHECKING:
    from barchart_events_emulator import Emulator
    from tap_barchart_events.api.client import ReportsClient

HOUR = 3_600_000
START = 492_000 * HOUR
QUICK = RetryPolicy(attempts=5, wait_initial=0.01)


def finished_job(client: ReportsClient, hours: int = 1) -> str:
    end = START + hours * HOUR
    job = client.start(customer="TGAM", product="WATCHLIST", start=START, end=end)
    while job.status == "RUNNING":
        job = client.poll(job.source)
    assert job.status == "COMPLETE"
    return job.source


def calls(service: Emulator, call: str) -> int:
    return sum(request.call == call for request in service.requests)


def contents(service: Emulator) -> bytes:
    file = service.jobs[-1].file
    assert file
    return b"".join(file.read())
