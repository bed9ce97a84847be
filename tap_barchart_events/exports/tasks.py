"""Windows and their states, from a job to a file on disk. Data only."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tap_barchart_events.api.responses import Job
    from tap_barchart_events.exports.planner import WindowPlanner
    from tap_barchart_events.windows import Window

    Outcome: TypeAlias = "Job | Downloaded | Exception"
    """What a call led to."""

    Log: TypeAlias = Callable[..., None]
    """Takes level, text and arguments of a line: the scheduler must not wait for a reader."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Jobs at once, and how long and how often they are polled."""

    max_concurrent_jobs: int
    """Jobs in flight at once; downloads at once, too."""

    job_timeout: float
    """Seconds after which a running job counts as too large."""

    poll_interval: float
    """Longest pause before the first poll while no job times are known, in seconds."""


class TaskState(enum.Enum):
    """The state of a window. A state that begins with "call:" lasts while that call is made."""

    WAITING = "for a job, which may be started at ``due``"
    STARTING = "call: the job is started"
    RUNNING = "the job runs at the service"
    POLLING = "call: the job is polled"
    EXPORTED = "the file may be downloaded at ``due``"
    DOWNLOADING = "call: the file is downloaded"
    ON_DISK = "the file is on disk, until its events are emitted"
    FAILED = "the window cannot be exported"


CALLS = {
    TaskState.STARTING: TaskState.WAITING,
    TaskState.POLLING: TaskState.RUNNING,
    TaskState.DOWNLOADING: TaskState.EXPORTED,
}
"""State in which a call is made → the state before it."""


@dataclass(frozen=True, slots=True)
class Export:
    """A finished export file."""

    product: str
    window: Window
    path: Path
    job_seconds: float
    """From the start of the window's first job until its file was ready."""
    download_seconds: float
    size: int
    """Bytes transferred."""
    has_null_product: bool = False
    """Whether the service gave no product for its job."""


@dataclass(frozen=True, slots=True)
class Downloaded:
    """The outcome of a download."""

    size: int
    """Bytes transferred."""
    seconds: float
    events_by_hour: Mapping[int, int] | None = None
    """Its events by hours since the epoch, if they have been counted."""


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
    """A job of a window, and how it is polled. Times are seconds of the scheduler's clock."""

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
    jitter: float = 0.0
    """Between 0 and 1, to spread the polls."""
    last_poll: float = 0.0
    """When it was last polled, in seconds after ``began``."""
    polls: int = 0
    """How often it has been polled."""
    has_null_product: bool = False
    """Whether the service gave no product for it: it may not know the requested one."""
    mismatches: int = 0
    """How many polls in a row were answered about another export."""


@dataclass(slots=True, eq=False)
class WindowTask:
    """The state of one window, from a job to a file on disk."""

    queue: ProductQueue
    window: Window
    path: Path
    state: TaskState = TaskState.WAITING
    due: float = 0.0
    """When the next call may be made, where the state says so."""
    called: float = 0.0
    """When its last call was issued."""
    began: float | None = None
    """When its first job was started."""
    job: RunningJob | None = None
    ready: float = 0.0
    """When its job had completed."""
    tries: int = 0
    """Starts of its next job that got no documented answer."""
    first_try: float = 0.0
    """When the first one of these was sent."""
    rejections: int = 0
    """Starts of its next job that the service answered with a code of its own."""
    failures: int = 0
    """Jobs that failed."""
    forgotten: int = 0
    """Jobs that the service has forgotten."""
    first_forgotten: float = 0.0
    """When the first one of these was started."""
    events: int | None = None
    """Its events, once they have been counted."""
    export: Export | None = None
    error: Exception | None = None


@dataclass(slots=True, eq=False)
class ProductQueue:
    """One product's windows that are issued and not yet emitted."""

    product: str
    plan: WindowPlanner
    position: int
    """End of the last window emitted, in milliseconds."""
    tasks: dict[int, WindowTask] = field(default_factory=dict)
    """By the start of their windows."""

    @property
    def first_failed(self) -> int | None:
        """Start of the first window that cannot be exported; nothing after it will be read."""
        failed = (start for start, task in self.tasks.items() if task.state is TaskState.FAILED)
        return min(failed, default=None)

    def waits_after_rejection(self, now: float) -> bool:
        """Return whether a start that the service rejected has to wait; the others then do too."""
        return any(
            task.rejections and task.state is TaskState.WAITING and task.due > now
            for task in self.tasks.values()
        )
