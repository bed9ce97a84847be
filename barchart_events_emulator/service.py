"""The emulator as a whole: its state, its clock, its faults, and the truth that it holds."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from barchart_events_emulator import api, storage
from barchart_events_emulator.faults import Fault, Faults
from barchart_events_emulator.faulty_transport import FaultMiddleware, RequestSeen
from barchart_events_emulator.generator import Event, Generator, Selection
from barchart_events_emulator.jobs import Job, export, new_job
from barchart_events_emulator.links import Links
from barchart_events_emulator.loopback import HOST, Loopback
from barchart_events_emulator.options import Switches

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from types import TracebackType

    from typing_extensions import Self

_ALWAYS = 1 << 62


def wall_clock() -> int:
    """Return the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(kw_only=True, eq=False)
class Emulator(Switches):
    """The Barchart Event Tracking System on loopback; a context manager.

    Every switch is an argument, and an attribute that may be changed while it runs.
    """

    username: str = "emulator"
    password: str = "loopback only"  # noqa: S105 - guards nothing but an emulator
    port: int = 0
    """Port of the API; 0 for a free one."""
    storage_port: int = 0
    """Port of the object store; 0 for a free one."""
    clock: Callable[[], int] = wall_clock
    """What time it is for the service, in milliseconds: later events are not there yet."""
    source: Callable[[str, str, int, int], Iterable[Event]] | None = None
    """Stands in for the generator: customer, product, start, end (exclusive) → events."""
    body: Callable[[Job], bytes] | None = None
    """Stands in for the contents of every file."""

    def __post_init__(self) -> None:
        """Refuse switches that are none, and prepare an empty service."""
        for one in fields(self):
            choices = one.metadata.get("choices")
            if choices and getattr(self, one.name) not in choices:
                raise ValueError(f"{one.name} must be one of {', '.join(map(repr, choices))}")
        self.requests: list[RequestSeen] = []
        """All requests so far but the emulator's own, oldest first."""
        self.jobs: list[Job] = []
        """All jobs so far, forgotten ones too, oldest first."""
        self.links = Links(secrets.token_bytes(32))
        self._faults = Faults()
        self._known: dict[str, Job] = {}
        self._released: int | None = None
        self._loopback: Loopback | None = None

    @property
    def api_url(self) -> str:
        """Where the API answers."""
        return f"http://{HOST}:{self.port}"

    @property
    def storage_url(self) -> str:
        """Where the object store answers: another origin."""
        return f"http://{HOST}:{self.storage_port}"

    def start(self) -> None:
        """Begin to answer on both ports.

        Raises:
            OSError: A port is taken.
        """
        self._loopback = loopback = Loopback((self.port, self.storage_port))
        self.port, self.storage_port = loopback.ports
        api_gate = FaultMiddleware(
            api.api_application(self),
            host="api",
            call_of=api.call_of,
            faults=self._faults,
            log=self.requests,
            transports=loopback.transports,
            elsewhere=f"{self.storage_url}/elsewhere",
        )
        storage_gate = FaultMiddleware(
            storage.storage_application(self),
            host="storage",
            call_of=storage.call_of,
            faults=self._faults,
            log=self.requests,
            transports=loopback.transports,
            elsewhere=f"{self.api_url}/elsewhere",
            throttle=lambda: self.throttle,
        )
        loopback.start((api_gate, storage_gate))

    def stop(self) -> None:
        """Break all connections and stop answering; ``start`` comes back on the same ports."""
        if self._loopback is not None:
            self._loopback.stop()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    # What its calls need

    def start_job(self, query: dict[str, Any], output: dict[str, Any]) -> Job:
        """Start a job; for the API."""
        if self._loopback is None:
            raise AssertionError("jobs run while the emulator does")
        job = new_job(self._switches(), query, output, self.clock())
        end = job.end + 1 if job.switches.end_inclusive else job.end
        selection = self._selection(
            query["customer"], query["product"], job.start, end, query.get("types")
        )
        source = (lambda: self._from_source(selection)) if self.source else None
        work = export(job, Generator(job.switches), selection, source, self.body)
        self._loopback.run(work)
        self.jobs.append(job)
        self._known[job.source] = job
        return job

    def job(self, source: str) -> Job | None:
        """Return a job, unless it is unknown or forgotten."""
        return self._known.get(source)

    def new_link(self, job: Job, seconds: float) -> str:
        """Return a new signed link to a job's file."""
        path, query = self.links.give(job, seconds)
        return f"{self.storage_url}{path}?{query}"

    # What tests and scripts need

    def fault(
        self,
        call: str,
        kind: str,
        *,
        times: int | None = 1,
        after: int = 0,
        every: int = 1,
        **details: Any,  # noqa: ANN401 - each kind of fault has details of its own
    ) -> Fault:
        """Arm a fault for the calls to come; ``faults.KINDS`` lists them.

        Args:
            call: ``start``, ``poll``, ``link``, ``download``, ``authenticate`` or ``version``.
            kind: What goes wrong.
            times: How many calls it hits; ``None`` for all.
            after: How many calls pass before the first hit.
            every: Hit each so-many-th call only.
            details: What the kind of fault takes.

        Raises:
            ValueError: There is no such call, kind or detail.
        """
        return self._faults.arm(Fault(call, kind, times, after, every, details))

    def clear_faults(self) -> None:
        """Disarm all faults."""
        self._faults.clear()

    def forget_jobs(self) -> None:
        """Forget all jobs, as a restart of the service would; links go on working."""
        self._known.clear()

    def advance(self, hours: float = 0, milliseconds: int = 0) -> None:
        """Move the service's clock."""
        clock, by = self.clock, round(hours * 3_600_000) + milliseconds
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
        """Return the truth: the events in ``[start, end)`` that can be exported now.

        In order of time; with the values that the files of today have columns for.

        Args:
            customer: The customer's code.
            product: The product's code.
            start: First instant, inclusive, in milliseconds.
            end: Last instant, exclusive, in milliseconds.
            types: Codes of event types; ``None`` for all.
        """
        switches = self._switches()
        selection = self._selection(customer, product, start, end, types)
        events = (
            self._from_source(selection) if self.source else Generator(switches).events(selection)
        )
        columns = set(switches.columns_of(product))
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
        """Return how many ``events`` there are; much faster than counting those."""
        selection = self._selection(customer, product, start, end, types)
        if self.source:
            return sum(1 for _ in self._from_source(selection))
        generator = Generator(self._switches())
        return sum(len(generator.keys(selection, slot)) for slot in generator.slots(selection))

    def _switches(self) -> Switches:
        return Switches(**{one.name: getattr(self, one.name) for one in fields(Switches)})

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
            raise AssertionError("there is no other source")
        start, end, types = selection.start, selection.end, selection.types
        for event in self.source(selection.customer, selection.product, start, end):
            if start <= event.timestamp < end and (types is None or event.type in types):
                yield event
