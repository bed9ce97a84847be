"""Export jobs, and the signed links to their files. Does not depend on HTTP."""

import asyncio
import hmac
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import uuid4

from barchart_events_emulator.files import GeneratedFile, ServedFile, StoredFile, row_format_of
from barchart_events_emulator.generator import Event, Generator, Selection
from barchart_events_emulator.options import Options

_DAY = 86_400_000

RUNNING = "RUNNING"
TIMEOUT = "TIMEOUT"
FAILED = "FAILED"


class Outage(NamedTuple):
    """A time in which every running or starting job fails."""

    start: float
    """First moment (``time.monotonic``)."""
    end: float
    """From this moment on, jobs succeed again."""


@dataclass(eq=False)
class ExportJob:
    """An export job of the emulator."""

    filter: dict[str, Any]
    """What was requested."""
    output: dict[str, Any]
    start: int
    """First instant exported, inclusive, in milliseconds."""
    end: int
    """Last instant exported; inclusive if ``options.end_inclusive``."""
    options: Options
    """The options at the time of its start."""
    begun: int
    """When it started, by the emulator's clock, in milliseconds since the epoch."""
    outages: Sequence[Outage] = ()
    """All outages so far; the list may grow while the job runs."""
    source: str = field(default_factory=lambda: f"JOB-{uuid4()}")
    started: float = field(default_factory=time.monotonic)
    outcome: str | None = None
    """The status that a fault gives it; ``RUNNING`` if it never ends."""
    stopped: float | None = None
    """When ``end_as`` ended it (``time.monotonic``)."""
    file: ServedFile | None = None
    """The export, once it is planned."""
    count: int | None = None
    """Number of events in it, once known."""
    too_large: bool = False
    generation: int = 0
    """Raised when the stored object is replaced: another ETag."""
    false_filter: dict[str, Any] | None = None
    """The filter in responses, instead of ``filter``; empty for none."""

    @property
    def seconds(self) -> float:
        """How long it runs."""
        options = self.options
        about = f"{options.seed}/{sorted(self.filter.items())}".encode()
        spread = 2 * sha256(about).digest()[0] / 255 - 1
        factor = options.too_large_factor if self.too_large else 1.0
        return options.job_seconds * factor * (1 + options.job_variation * spread)

    @property
    def ended(self) -> float | None:
        """When it ended (``time.monotonic``), or ``None`` while it runs."""
        return self._end()[1]

    @property
    def status(self) -> str:
        """Its status now."""
        return self._end()[0]

    def _end(self) -> tuple[str, float | None]:
        """Return the status, and since when it is final."""
        if self.outcome is not None:
            return self.outcome, None if self.outcome == RUNNING else self.stopped
        now = time.monotonic()
        planned = self.too_large or self.file is not None
        end = self.started + self.seconds if planned else math.inf
        for outage in self.outages:
            failed = max(self.started, outage.start)
            if failed < min(end, outage.end) and failed <= now:
                return FAILED, failed
        if now < end:
            return RUNNING, None
        return TIMEOUT if self.too_large else self.options.complete_status, end

    @property
    def ready(self) -> bool:
        """Whether its file can be downloaded."""
        return self.file is not None and self.status == self.options.complete_status

    @property
    def etag(self) -> str:
        """The validator of its file."""
        return '"' + sha256(f"{self.source}/{self.generation}".encode()).hexdigest()[:32] + '"'

    def end_as(self, status: str) -> None:
        """Set its status; it ends now, unless it has ended before (or never, as ``RUNNING``)."""
        self.stopped = self.ended or time.monotonic()
        self.outcome = status

    def replace_file(self, data: bytes | str) -> None:
        """Replace its file."""
        self.file = StoredFile(data.encode() if isinstance(data, str) else data)
        self.generation += 1

    def as_json(self) -> dict[str, Any]:
        """Return the job object of the service's responses."""
        echoed = dict(self.filter if self.false_filter is None else self.false_filter)
        if self.options.numbers_as_strings:
            echoed |= {key: str(echoed[key]) for key in ("start", "end") if key in echoed}
        day = datetime.fromtimestamp(self.begun / 1000, timezone.utc).date().isoformat()
        timing: dict[str, Any] = {"day": day, "start": self.begun}
        status, ended = self._end()
        if ended is not None:
            timing["end"] = self.begun + round((ended - self.started) * 1000)
        job_object = {
            "job": self.source.removeprefix("JOB-"),
            "source": self.source,
            "status": status,
            "filter": echoed,
            "timing": timing,
        }
        if not echoed:
            del job_object["filter"]
        return job_object


@dataclass(eq=False)
class Link:
    """A download link that was issued to a client."""

    job: ExportJob
    expires: float
    """When it expires (``time.monotonic``)."""

    @property
    def expired(self) -> bool:
        """Whether it has expired."""
        return time.monotonic() >= self.expires


class Links:
    """Signs links and verifies them."""

    def __init__(self, secret: bytes) -> None:
        """Take the secret to sign with."""
        self._secret = secret
        self._given: dict[str, Link] = {}

    def sign(self, path: str, query: str) -> str:
        """Return the signature of a path and its query (without the signature)."""
        return hmac.new(self._secret, f"GET\n{path}\n{query}".encode(), sha256).hexdigest()

    def new(self, job: ExportJob, seconds: float) -> tuple[str, str]:
        """Return path and signed query of a new link to a job's file."""
        path = f"/exports/{job.source}.csv"
        moment = datetime.now(timezone.utc)
        query = (
            "X-Amz-Algorithm=AWS4-HMAC-SHA256"
            f"&X-Amz-Credential=EMULATOR%2F{moment:%Y%m%d}%2Fus-east-1%2Fs3%2Faws4_request"
            f"&X-Amz-Date={moment:%Y%m%dT%H%M%SZ}&X-Amz-Expires={round(seconds)}"
            f"&X-Amz-SignedHeaders=host&x-id={uuid4().hex}"
        )
        signature = self.sign(path, query)
        self._given[signature] = Link(job, time.monotonic() + seconds)
        return path, f"{query}&X-Amz-Signature={signature}"

    def find(self, path: str, query: str) -> Link | None:
        """Return the link, expired or not, or ``None`` if its signature does not verify."""
        signed, _, signature = query.rpartition("&X-Amz-Signature=")
        if not hmac.compare_digest(self.sign(path, signed), signature):
            return None
        return self._given.get(signature)

    def expire(self, job: ExportJob) -> None:
        """Let all links to a job's file expire."""
        for link in self._given.values():
            if link.job is job:
                link.expires = time.monotonic()


def new_job(
    options: Options,
    query: dict[str, Any],
    output: dict[str, Any],
    now: int,
    outages: Sequence[Outage] = (),
) -> ExportJob:
    """Start a job on a valid filter.

    Both ends are optional; the service does not document what it takes then. Here a missing
    end is the present, and a missing start is a day before the end.
    """
    end = query.get("end", now)
    start = query.get("start", end - _DAY)
    if options.whole_seconds:
        start, end = start // 1000 * 1000, end // 1000 * 1000
    return ExportJob(query, output, start, end, options, begun=now, outages=outages)


async def export(
    job: ExportJob,
    generator: Generator,
    selection: Selection,
    source: Callable[[], Iterator[Event]] | None,
    body: Callable[[ExportJob], bytes] | None,
) -> None:
    """Plan the job's file, in small steps between other work.

    Args:
        job: The job.
        generator: Generates the events.
        selection: The events that the job exports.
        source: Replaces the generator.
        body: Replaces the contents of the file.
    """
    options, limit = job.options, job.options.max_events
    row_format = row_format_of(options, selection.product, job.output.get("delimiter", "|"))
    if source is not None:
        events = list(source())
        job.count = len(events)
        job.too_large = limit is not None and job.count > limit
        file: ServedFile = StoredFile.of_events(events, row_format, options)
    else:
        file = GeneratedFile(generator, selection, row_format, options)
        pause = time.monotonic() + 0.005
        for count in file.plan():
            if limit is not None and count > limit:
                job.too_large = True
                return
            if time.monotonic() > pause:
                await asyncio.sleep(0)
                pause = time.monotonic() + 0.005
        job.count = file.count
    if not job.too_large:
        job.file = file if body is None else StoredFile(body(job))
