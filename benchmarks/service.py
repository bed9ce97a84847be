"""The emulated service with a file from disk, and with jobs of exactly one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from barchart_events_emulator import Emulator

if TYPE_CHECKING:
    from pathlib import Path

    from barchart_events_emulator import Job


@dataclass(kw_only=True, eq=False)
class EvenEmulator(Emulator):
    """Its jobs take ``job_seconds``, none more and none less: so there is an ideal time."""

    def start_job(self, query: dict[str, Any], output: dict[str, Any]) -> Job:
        """Start a job."""
        job = super().start_job(query, output)
        job.seconds = self.job_seconds
        return job


def serving(file: Path) -> Emulator:
    """Return an emulator that answers every export with the file, which it holds in memory."""
    body = file.read_bytes()
    return EvenEmulator(job_seconds=0.05, events_per_hour=1, body=lambda _: body)
