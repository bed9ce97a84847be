"""The emulated service with a file from disk, and with jobs of exactly one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from barchart_events_emulator import Emulator

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(kw_only=True, eq=False)
class EvenEmulator(Emulator):
    """Its jobs take ``job_seconds``, none more and none less: so there is an ideal time."""

    job_variation: float = 0.0


def serving(file: Path) -> Emulator:
    """Return an emulator that answers every export with the file, which it holds in memory."""
    body = file.read_bytes()
    return EvenEmulator(job_seconds=0.05, events_per_hour=1, body=lambda _: body)
