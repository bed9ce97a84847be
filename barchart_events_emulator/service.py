"""The emulated service without HTTP: its events, jobs, links, clock and faults."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from barchart_events_emulator.faults import Fault
from barchart_events_emulator.faulty_transport import RequestSeen
from barchart_events_emulator.generator import Event, Generator, Selection
from barchart_events_emulator.jobs import RUNNING, ExportJob, Links, Outage, export, new_job
from barchart_events_emulator.loopback import HOST
from barchart_events_emulator.options import Options
from tap_barchart_events.windows import HOUR

_ALWAYS = 1 << 62
"""An instant later than any other."""


def wall_clock() -> int:
    """Return the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class StartedWindow(NamedTuple):
    """The window of a job that was started."""

    customer: str
    product: str
    start: int
    """In milliseconds since the epoch."""
    end: int


@dataclass(kw_only=True, eq=False)
class Service(Options):
    """The state of the emulated service; ``Emulator`` serves it over HTTP.

    Every option is an argument, and an attribute that may be changed while the service runs.
    """

    username: str = "emulator"
    password: str = "loopback only"  # noqa: S105 - only for an emulator
    port: int = 0
    """Port of the API; 0 for a free one."""
    storage_port: int = 0
    """Port of object storage; 0 for a free one."""
    clock: Callable[[], int] = wall_clock
    """The service's time in milliseconds; events after it cannot be exported yet."""
    source: Callable[[str, str, int, int], Iterable[Event]] | None = None
    """Replaces the generator: customer, product, start, end (exclusive) → events."""
    body: Callable[[ExportJob], bytes] | None = None
    """Replaces the contents of every file."""
    answered: Callable[[RequestSeen], None] = lambda _seen: None
    """Called with each request after its response."""

    def __post_init__(self) -> None:
        """Check the options, and prepare a service without jobs."""
        super().__post_init__()
        self.requests: list[RequestSeen] = []
        """All requests so far but the emulator's own, oldest first."""
        self.jobs: list[ExportJob] = []
        """All jobs so far, forgotten ones too, oldest first."""
        self.starts: Counter[StartedWindow] = Counter()
        """How often each window's job was started; starts that were refused do not count."""
        self.links = Links(secrets.token_bytes(32))
        self.armed_faults: list[Fault] = []
        """In the order of arming; the first one that is due applies to a call."""
        self._outages: list[Outage] = []
        self._known: dict[str, ExportJob] = {}
        self._released: int | None = None
        self._exports: set[asyncio.Task[None]] = set()

    @property
    def api_url(self) -> str:
        """URL of the API."""
        return f"http://{HOST}:{self.port}"

    @property
    def storage_url(self) -> str:
        """URL of object storage: another origin."""
        return f"http://{HOST}:{self.storage_port}"

    # For the calls of the API

    @property
    def is_busy(self) -> bool:
        """Whether a start has to be refused, because ``max_running_jobs`` jobs run."""
        limit = self.max_running_jobs
        return limit is not None and sum(job.status == RUNNING for job in self.jobs) >= limit

    def start_job(self, query: dict[str, Any], output: dict[str, Any], shift: int = 0) -> ExportJob:
        """Start a job; must be called from the event loop.

        Args:
            query: Its filter.
            output: The form of its file.
            shift: Export the events that occurred so many milliseconds later instead.
        """
        job = new_job(self._options(), query, output, self.clock(), self._outages)
        customer, product = query["customer"], query["product"]
        start, end = job.start + shift, job.end + shift + job.options.end_inclusive
        selection = self._selection(customer, product, start, end, query.get("types"))
        source = (lambda: self._from_source(selection)) if self.source else None
        work = export(job, Generator(job.options), selection, source, self.body)
        task = asyncio.get_running_loop().create_task(work)
        self._exports.add(task)
        task.add_done_callback(self._exports.discard)
        self.jobs.append(job)
        self.starts[StartedWindow(customer, product, job.start, job.end)] += 1
        self._known[job.source] = job
        return job

    def job(self, source: str) -> ExportJob | None:
        """Return a job; None if it is unknown or forgotten."""
        return self._known.get(source)

    def new_link(self, job: ExportJob, seconds: float) -> str:
        """Return a new signed link to a job's file."""
        path, query = self.links.new(job, seconds)
        return f"{self.storage_url}{path}?{query}"

    def product_of(self, path: str, content: Any) -> str | None:
        """Return the product that a request is about, by its path and its body in JSON."""
        if path == "/reports":
            query = content.get("filter") if isinstance(content, dict) else None
            return query.get("product") if isinstance(query, dict) else None
        of = (job.filter["product"] for job in self.jobs if job.source in path)
        return next(of, None)

    # For tests and scripts

    def fault(
        self,
        call: str,
        kind: str,
        *,
        times: int | None = 1,
        after: int = 0,
        every: int = 1,
        for_product: str | None = None,
        **details: Any,
    ) -> Fault:
        """Arm a fault for later calls; ``faults.KINDS`` lists them.

        Args:
            call: ``start``, ``poll``, ``link``, ``download``, ``authenticate`` or ``version``.
            kind: The kind of fault.
            times: Number of calls with the fault; ``None`` for all.
            after: Number of calls without the fault before the first one with it.
            every: Every n-th call has the fault.
            for_product: Only calls about this product count.
            details: Details of the kind of fault.

        Raises:
            ValueError: There is no such call, kind or detail.
        """
        fault = Fault(call, kind, times, after, every, for_product, details)
        self.armed_faults.append(fault)
        return fault

    def clear_faults(self) -> None:
        """Disarm all faults."""
        self.armed_faults.clear()

    def forget_jobs(self) -> None:
        """Forget all jobs, as a restart of the service would; links keep working."""
        self._known.clear()

    def outage(self, seconds: float, after: float = 0.0) -> None:
        """Let all jobs fail that run or start within a time.

        Args:
            seconds: How long it lasts.
            after: Seconds from now to its beginning.
        """
        start = time.monotonic() + after
        self._outages.append(Outage(start, start + seconds))

    def advance(self, hours: float = 0, milliseconds: int = 0) -> None:
        """Move the service's clock."""
        clock, by = self.clock, round(hours * HOUR) + milliseconds
        self.clock = lambda: clock() + by

    def release_late(self) -> None:
        """Let the late events that have occurred so far appear."""
        self._released = self.clock()

    def events(
        self,
        customer: str,
        product: str,
        start: int,
        end: int,
        types: Collection[str] | None = None,
    ) -> Iterator[Event]:
        """Yield the events in ``[start, end)`` that can be exported now.

        They come in time order, with the values for which the files have columns at present.

        Args:
            customer: The customer's code.
            product: The product's code.
            start: First instant, inclusive, in milliseconds.
            end: Last instant, exclusive, in milliseconds.
            types: Codes of event types; ``None`` for all.
        """
        options = self._options()
        selection = self._selection(customer, product, start, end, types)
        events = (
            self._from_source(selection) if self.source else Generator(options).events(selection)
        )
        columns = set(options.columns_of(product))
        for event in events:
            if event.values.keys() <= columns:
                yield event
            else:
                kept = {name: event.values[name] for name in event.values if name in columns}
                yield event._replace(values=kept)

    def count(
        self,
        customer: str,
        product: str,
        start: int,
        end: int,
        types: Collection[str] | None = None,
    ) -> int:
        """Return the number of ``events``; much faster than counting them."""
        selection = self._selection(customer, product, start, end, types)
        if self.source:
            return sum(1 for _ in self._from_source(selection))
        generator = Generator(self._options())
        return sum(len(generator.keys(selection, slot)) for slot in generator.slots(selection))

    def _options(self) -> Options:
        return Options(**{one.name: getattr(self, one.name) for one in fields(Options)})

    def _selection(
        self, customer: str, product: str, start: int, end: int, types: Collection[str] | None
    ) -> Selection:
        now = self.clock()
        late_until = _ALWAYS
        if self.late_share:
            late_until = -_ALWAYS if self._released is None else self._released
            if self.late_seconds is not None:
                late_until = max(late_until, now - round(self.late_seconds * 1000))
        kinds = None if types is None else frozenset(types)
        return Selection(customer, product, start, min(end, now + 1), kinds, late_until)

    def _from_source(self, selection: Selection) -> Iterator[Event]:
        if self.source is None:
            raise AssertionError("the option source is not set")
        start, end, types = selection.start, selection.end, selection.types
        for event in self.source(selection.customer, selection.product, start, end):
            if start <= event.timestamp < end and (types is None or event.type in types):
                yield event
