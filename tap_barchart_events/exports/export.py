"""The export of a window and its states, from a job to a checked file. Data only."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from tap_barchart_events.api.http import RetryPolicy

if TYPE_CHECKING:
    from pathlib import Path

    from tap_barchart_events.api.client import Job
    from tap_barchart_events.exports.planner import WindowPlanner
    from tap_barchart_events.files.export_file import ExportFile
    from tap_barchart_events.windows import Window

    Outcome: TypeAlias = "Job | Fetched | Exception"
    """What a call led to."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Jobs at once, and how long and how often they are polled."""

    max_concurrent_jobs: int
    """Jobs in flight at once; downloads at once, too."""

    job_timeout: float
    """Seconds after which a running job counts as too large."""

    poll_interval: float
    """Longest pause before the first poll while no job times are known, in seconds."""


@dataclass(frozen=True, slots=True)
class JobRetryPolicy:
    """When a start is tried again, and when a new job replaces one that failed or was forgotten.

    Pauses have jitter between half and all of each. The three pauses after failures add up to
    between 3.6 and 7.2 minutes, so that an outage of several minutes does not end a sync. A
    forgotten job does not show that its window is at fault, so only the total time bounds the
    number of new jobs.
    """

    starts: RetryPolicy = field(default_factory=RetryPolicy)
    """How a start is retried that the service, or the network, did not answer as documented."""

    rejections: int = 3
    """Tries of a start that the service answers with a code of its own, at most."""

    waits: tuple[float, ...] = (10, 60, 360)
    """Longest pauses after the failures of a window's jobs, in seconds; a further one is final."""

    mismatch_wait: float = 3
    """Longest pause after a job for another export, in seconds: waiting does not help there."""

    forgotten_grace: float = 60
    """Seconds after its start in which a job that the service does not know is asked for again:
    no call can cancel it."""

    forgotten_timeout: float = 3600
    """Seconds after the start of a window's first forgotten job in which new jobs replace it."""

    forgotten_wait: float = 1
    """Longest pause after a window's first forgotten job, in seconds; the next ones double."""

    wait_max: float = 600
    """Longest pause of all, in seconds."""

    job_seconds_max: float = 15 * 60
    """Seconds after its start in which a job ends, by the vendor's documentation. Until then a job
    that is no longer polled counts as in flight, because no call can cancel it."""


class State(enum.Enum):
    """The state of a window. A state that begins with "call:" lasts while that call is made."""

    WAITING = "for a job, which may be started at ``due``"
    STARTING = "call: the job is started"
    RUNNING = "the job runs at the service, and is polled at ``due``"
    POLLING = "call: the job is polled"
    EXPORTED = "the file may be downloaded at ``due``"
    DOWNLOADING = "call: the file is downloaded and checked"
    READY = "the file is checked, until its events are emitted"
    FAILED = "the window cannot be exported"


CALLS = {
    State.STARTING: State.WAITING,
    State.POLLING: State.RUNNING,
    State.DOWNLOADING: State.EXPORTED,
}
"""State in which a call is made → the state before it."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The outcome of a download: a checked file."""

    file: ExportFile
    size: int
    """Bytes transferred."""
    seconds: float
    """How long the download took."""


@dataclass(slots=True)
class JobCounts:
    """What became of the export jobs of a sync."""

    started: int = 0
    taken_over: int = 0
    """Of an earlier run, and used."""
    too_large: int = 0
    failed: int = 0
    """Failed at the service, or forgotten by it."""

    @property
    def total(self) -> int:
        """All jobs of the sync."""
        return self.started + self.taken_over


@dataclass(slots=True)
class RunningJob:
    """A job of a window. Times are seconds of the machine's clock."""

    source: str
    """The name by which calls of the service refer to it."""
    began: float
    """When its start was sent."""
    started: int
    """The same, in seconds since the epoch, for STATE."""
    is_running: bool = True
    """Whether it counts as in flight."""
    is_taken_over: bool = False
    """Whether an earlier run has started it."""
    polls: int = 0
    """How often it has been polled."""
    mismatches: int = 0
    """How many polls in a row were answered about another export."""
    has_null_product: bool = False
    """Whether the service gave no product for it: it may not know the requested one."""


@dataclass(slots=True, eq=False)
class Export:
    """The export of one window, from a job to a checked file. Times are of one monotonic clock."""

    queue: ProductQueue
    window: Window
    path: Path
    state: State = State.WAITING
    due: float = 0.0
    """When the next call may be made, where the state says so."""
    called: float = 0.0
    """When its last call was issued."""
    began: float | None = None
    """When its first job was started."""
    job: RunningJob | None = None
    ready: float = 0.0
    """When its job had completed."""
    first_try: float = 0.0
    """When the first of the present tries to start a job was made."""
    tries: int = 0
    """Starts of its next job that got no documented answer."""
    failures: int = 0
    """Jobs that failed."""
    forgotten: int = 0
    """Jobs that the service has forgotten."""
    first_forgotten: float = 0.0
    """When the first one of these was started."""
    rejections: int = 0
    """Starts of its next job that the service answered with a code of its own."""
    file: ExportFile | None = None
    """Its file, once it is checked."""
    size: int = 0
    """Bytes transferred."""
    download_seconds: float = 0.0
    error: Exception | None = None
    """Why it is not available, if it failed."""

    @property
    def product(self) -> str:
        """The product's code."""
        return self.queue.product

    @property
    def job_seconds(self) -> float:
        """From the start of the window's first job until its file was ready."""
        return self.ready - (self.ready if self.began is None else self.began)


@dataclass(slots=True, eq=False)
class ProductQueue:
    """One product's windows that are issued and not yet emitted."""

    product: str
    plan: WindowPlanner
    position: int
    """End of the last window emitted, in milliseconds."""
    exports: dict[int, Export] = field(default_factory=dict)
    """By the start of their windows."""

    @property
    def first_failed(self) -> int | None:
        """Start of the first window that cannot be exported; nothing after it will be read."""
        failed = (start for start, export in self.exports.items() if export.state is State.FAILED)
        return min(failed, default=None)

    def waits_after_rejection(self, now: float) -> bool:
        """Return whether a start that the service rejected has to wait; the others then do too."""
        return any(
            export.rejections and export.state is State.WAITING and export.due > now
            for export in self.exports.values()
        )
