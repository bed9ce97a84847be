"""The export of a window, from a job to a checked file: its states, and its limits. Data only."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tap_barchart_events.api.http import RetryPolicy

if TYPE_CHECKING:
    from pathlib import Path

    from tap_barchart_events.exports.planner import WindowPlanner
    from tap_barchart_events.exports.saved_jobs import SavedJob
    from tap_barchart_events.files.export_file import ExportFile
    from tap_barchart_events.windows import Window


@dataclass(frozen=True, slots=True)
class JobPolicy:
    """How many jobs run at once, how they are polled, and when a new one replaces one.

    Pauses have jitter between half and all of each. The three pauses after failures add up to
    between 3.6 and 7.2 minutes, so that an outage of several minutes does not end a sync. A
    forgotten job does not show that its window is at fault, so only the total time bounds the
    number of new jobs.
    """

    max_concurrent_jobs: int = 4
    """Jobs in flight at once; downloads at once, too."""

    job_timeout: float = 20 * 60
    """Seconds after which a running job counts as too large."""

    poll_interval: float = 2
    """Longest pause before the first poll while no job times are known, in seconds."""

    starts: RetryPolicy = field(default_factory=RetryPolicy)
    """How a start is retried that the service, or the network, did not answer as documented."""

    waits: tuple[float, ...] = (10, 60, 360)
    """Longest pauses after the failures of a window's jobs, in seconds; a further one is final."""

    forgotten_grace: float = 60
    """Seconds after its start in which a job that the service does not know is asked for again:
    no call can cancel it."""

    forgotten_timeout: float = 3600
    """Seconds after the start of a window's first forgotten job in which new jobs replace it."""

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
    State.WAITING: State.STARTING,
    State.RUNNING: State.POLLING,
    State.EXPORTED: State.DOWNLOADING,
}
"""State before a call → the state in which it is made."""

BEFORE = {call: state for state, call in CALLS.items()}

IN_FLIGHT = frozenset({State.STARTING, State.RUNNING, State.POLLING})


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
    job: SavedJob | None = None
    job_began: float = 0.0
    """When the start of its job was sent."""
    is_taken_over: bool = False
    """Whether an earlier run has started its job."""
    has_null_product: bool = False
    """Whether the service gave no product for its job: it may not know the requested one."""
    ready: float = 0.0
    """When its job had completed."""
    first_try: float = 0.0
    """When the first of the present tries to start a job was made."""
    tries: int = 0
    """Starts of its next job that failed."""
    failures: int = 0
    """Jobs that failed."""
    forgotten: int = 0
    """Jobs that the service has forgotten."""
    first_forgotten: float = 0.0
    """When the first one of these was started."""
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

    def first(self, state: State, due: float = math.inf) -> float:
        """Return the start of the first window in a state whose call is due; infinity if none."""
        found = (e for e in self.exports.values() if e.state is state and e.due <= due)
        return min((export.window.start for export in found), default=math.inf)
