"""Export jobs: started, running for a while, ended. Knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from barchart_events_emulator.files import (
    ExportFile,
    GeneratedFile,
    StoredFile,
    TooManyEventsError,
    dialect_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from barchart_events_emulator.generator import Event, Generator, Selection
    from barchart_events_emulator.options import Switches

_DAY = 86_400_000

RUNNING = "RUNNING"
TIMEOUT = "TIMEOUT"
FAILED = "FAILED"


@dataclass(eq=False)
class Job:
    """An export job, as the emulator sees it."""

    filter: dict[str, Any]
    """As it was asked for."""
    output: dict[str, Any]
    start: int
    """First instant exported, inclusive, in milliseconds."""
    end: int
    """Last instant exported; inclusive if ``switches.end_inclusive``."""
    switches: Switches
    """What held when it started."""
    begun: int
    """When it started, by the emulator's clock, in milliseconds since the epoch."""
    seconds: float
    """How long it runs."""
    source: str = field(default_factory=lambda: f"JOB-{uuid4()}")
    started: float = field(default_factory=time.monotonic)
    fate: str | None = None
    """The status it ends with whatever it holds; ``RUNNING`` if it never ends."""
    file: ExportFile | None = None
    """The export, once it is planned."""
    count: int | None = None
    """Number of events in it, once known."""
    too_large: bool = False
    generation: int = 0
    """Raised when the stored object is replaced: another ETag."""

    @property
    def ended(self) -> float | None:
        """When it ended (``time.monotonic``), or ``None`` while it runs."""
        if self.status == RUNNING:
            return None
        return self.started + self.seconds

    @property
    def status(self) -> str:
        """What the service calls its state now."""
        if self.fate == RUNNING or time.monotonic() < self.started + self.seconds:
            return RUNNING
        if self.fate is not None:
            return self.fate
        if self.too_large:
            return TIMEOUT
        return self.switches.complete_status if self.file is not None else RUNNING

    @property
    def ready(self) -> bool:
        """Whether its file can be had."""
        return self.file is not None and self.status == self.switches.complete_status

    @property
    def etag(self) -> str:
        """The validator of its file."""
        return '"' + sha256(f"{self.source}/{self.generation}".encode()).hexdigest()[:32] + '"'

    def end_as(self, status: str) -> None:
        """Decide how it ends; if it would have run longer, it ends now (unless never)."""
        self.fate = status
        self.seconds = min(self.seconds, time.monotonic() - self.started)

    def replace_file(self, data: bytes | str) -> None:
        """Put another object in the place of its file."""
        self.file = StoredFile(data.encode() if isinstance(data, str) else data)
        self.generation += 1

    def answer(self) -> dict[str, Any]:
        """Return the job object of the service's answers."""
        shown = dict(self.filter)
        if self.switches.numbers_as_strings:
            shown |= {key: str(shown[key]) for key in ("start", "end") if key in shown}
        day = datetime.fromtimestamp(self.begun / 1000, timezone.utc).date().isoformat()
        timing: dict[str, Any] = {"day": day, "start": self.begun}
        status = self.status
        if status != RUNNING:
            timing["end"] = self.begun + round(self.seconds * 1000)
        return {
            "job": self.source.removeprefix("JOB-"),
            "source": self.source,
            "status": status,
            "filter": shown,
            "timing": timing,
        }


def new_job(switches: Switches, query: dict[str, Any], output: dict[str, Any], now: int) -> Job:
    """Start a job on a filter that is known to be sound.

    Both ends are optional at the service, which does not say what it takes then. Here an open
    end is the present, and an open start lies a day before the end.
    """
    end = query.get("end", now)
    start = query.get("start", end - _DAY)
    about = f"{switches.seed}/{sorted(query.items())}".encode()
    spread = 0.75 + 0.5 * sha256(about).digest()[0] / 255
    return Job(
        query, output, start, end, switches, begun=now, seconds=switches.job_seconds * spread
    )


async def export(
    job: Job,
    generator: Generator,
    selection: Selection,
    source: Callable[[], Iterator[Event]] | None,
    body: Callable[[Job], bytes] | None,
) -> None:
    """Make the job's file, in small steps between other work; it can be had afterwards.

    Args:
        job: The job.
        generator: The maker of events.
        selection: What the job exports.
        source: Events that stand in for the generator's.
        body: Bytes that stand in for the file.
    """
    switches = job.switches
    dialect = dialect_of(switches, selection.product, job.output.get("delimiter", "|"))
    if source is not None:
        events = list(source())
        job.count = len(events)
        if switches.max_events is not None and job.count > switches.max_events:
            job.too_large = True
            return
        job.file = StoredFile.of_events(events, dialect, switches)
    else:
        file = GeneratedFile(generator, selection, dialect, switches)
        pause = time.monotonic() + 0.005
        try:
            for _ in file.plan(switches.max_events):
                if time.monotonic() > pause:
                    await asyncio.sleep(0)
                    pause = time.monotonic() + 0.005
        except TooManyEventsError:
            job.too_large = True
            return
        job.count = file.count
        job.file = file
    if body is not None:
        job.file = StoredFile(body(job))
