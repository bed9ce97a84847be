"""The measurements: throughput beside other readers, memory, waiting for jobs, start-up."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import contenders as who
from benchmarks.export_file import CUSTOMER, PRODUCT, START, write_export
from benchmarks.processes import ContenderError, Run, run
from benchmarks.proof import prove
from benchmarks.service import EvenEmulator, serving
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.windows import to_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from barchart_events_emulator import Emulator
    from benchmarks.contenders import Contender

    Task = Callable[[Path, Emulator, Path], list[Contender]]

DAY = 86_400_000
BATCHES = "batches"
PROOF_EVENTS = 20_000
"""Events of the check that all readers make the same records."""


@dataclass
class Result:
    """The runs of one contender at one task."""

    task: str
    contender: str
    events: int
    runs: list[Run] = field(default_factory=list)

    def middle(self, value: Callable[[Run], float]) -> float:
        """Return the median of a value over all runs."""
        return median(map(value, self.runs))


@dataclass
class Timing:
    """A time beside the ideal one, in seconds."""

    task: str
    ideal: str
    seconds: list[float]
    note: str = ""


class Trials:
    """Runs everything; temporary files are in one folder."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        """Take a folder with space for the files, and where to report progress."""
        self._folder = folder
        self._tell = tell

    def compare(self, task: str, events: int, rounds: int, *, others: bool = False) -> list[Result]:
        """Run the tap and others at a task, in alternation.

        Args:
            task: One of ``TASKS``.
            events: How many events are in the export.
            rounds: How often each runs.
            others: Whether the readers of CSV files that people use take part.
        """
        make = TASKS[task]
        quoted = QUOTED.get(task, 0.0)
        with self._served(PROOF_EVENTS, quoted) as (export, emulator):
            prove(make(export, emulator, self._folder), self._folder, PROOF_EVENTS)
        with self._served(events, quoted) as (export, emulator):
            taking_part = make(export, emulator, self._folder)
            if others:
                with_header = self._folder / "with-header" / "events.csv"
                with_header.parent.mkdir(exist_ok=True)
                write_export(with_header, events, header=True)
                taking_part += who.neighbours(with_header, self._folder)
            results = [Result(task, contender.name, events) for contender in taking_part]
            for number in range(rounds):
                for contender, result in zip(taking_part, results, strict=True):
                    self._tell(f"{task}, {events:,} events, round {number + 1}: {contender.name}")
                    result.runs.append(self._run(contender, events))
        return results

    def memory(self, task: str, events: int) -> Result:
        """Run the tap once on an export of a size, for its peak memory."""
        self._tell(f"{task}, {events:,} events, memory")
        with self._served(events, QUOTED.get(task, 0.0)) as (export, emulator):
            tap = TASKS[task](export, emulator, self._folder)[0]
            return Result(task, tap.name, events, [self._run(tap, events)])

    def backfill(self, rounds: int) -> Timing:
        """Twelve windows of a day, jobs of two seconds, four at a time, 242,000 events."""
        windows, most, seconds, total = 12, 4, 2.0, 242_000
        end = START + windows * DAY
        emulator = EvenEmulator(
            job_seconds=seconds,
            events_per_hour=total / windows / 24,
            clock=lambda: end + DAY,
        )
        settings = {"end_date": to_iso(end), "max_concurrent_jobs": most}
        walls = []
        events = 0
        with emulator:
            # The mean of these days differs from that of all weeks.
            emulator.events_per_hour *= total / emulator.count(CUSTOMER, PRODUCT, START, end)
            events = emulator.count(CUSTOMER, PRODUCT, START, end)
            for number in range(rounds):
                self._tell(f"backfill, round {number + 1}")
                walls.append(self._timed(emulator, events, settings).wall)
        ideal = f"{-(-windows // most)} job times of {seconds:g} s: {windows / most * seconds:g} s"
        note = f"{windows} windows, {most} at a time, {events:,} events"
        return Timing("backfill", ideal, walls, note)

    def nightly(self, rounds: int) -> Timing:
        """Nine products, one window each, four jobs at a time."""
        products, most, seconds = list(PRODUCTS), 4, 2.0
        end = START + DAY
        emulator = EvenEmulator(job_seconds=seconds, events_per_hour=500, clock=lambda: end + DAY)
        settings = {"end_date": to_iso(end), "products": products, "max_concurrent_jobs": most}
        walls = []
        events = 0
        with emulator:
            events = sum(emulator.count(CUSTOMER, p, START, end) for p in products)
            for number in range(rounds):
                self._tell(f"nightly sync, round {number + 1}")
                walls.append(self._timed(emulator, events, settings).wall)
        times = -(-len(products) // most)
        note = f"{len(products)} products, one window each, {most} at a time, {events:,} events"
        ideal = f"{times} job times of {seconds:g} s: {times * seconds:g} s"
        return Timing("nightly sync", ideal, walls, note)

    def start_up(self, rounds: int) -> Timing:
        """From the start of the process to the first request that reaches the service."""
        seconds = []
        with EvenEmulator(job_seconds=0.05, clock=lambda: START + 2 * DAY) as emulator:
            events = emulator.count(CUSTOMER, PRODUCT, START, START + DAY)
            for number in range(rounds):
                self._tell(f"start-up, round {number + 1}")
                emulator.requests.clear()
                began = self._timed(emulator, events, {}).began
                seconds.append(emulator.requests[0].at - began)
        return Timing("start-up to first request", "", seconds)

    def _timed(self, emulator: Emulator, events: int, settings: dict[str, object]) -> Run:
        credentials = emulator.username, emulator.password
        return self._run(who.tap(emulator.api_url, credentials, self._folder, **settings), events)

    def _run(self, contender: Contender, events: int) -> Run:
        measured = run(contender.command, self._folder)
        if contender.line_each and measured.lines < events:
            raise ContenderError(
                f"{contender.name} wrote {measured.lines:,} lines for {events:,} events"
            )
        self._tell(
            f"  {measured.cpu:.1f} CPU s, {measured.wall:.1f} s, {measured.peak / 1e6:.0f} MB, "
            f"load {measured.load:.1f}"
        )
        return measured

    @contextmanager
    def _served(self, events: int, quoted: float) -> Iterator[tuple[Path, Emulator]]:
        """Make an export of a size, with quotes in a share of its rows, and serve it."""
        export = self._folder / "export.csv"
        write_export(export, events, quoted=quoted)
        with serving(export) as emulator:
            yield export, emulator
        export.unlink()
        shutil.rmtree(self._folder / BATCHES, ignore_errors=True)


def _record(export: Path, emulator: Emulator, folder: Path) -> list[Contender]:
    return [*_both(export, emulator, folder), who.plain_loop(export, folder)]


def _both(export: Path, emulator: Emulator, folder: Path, **settings: object) -> list[Contender]:
    credentials = emulator.username, emulator.password
    return [
        who.tap(emulator.api_url, credentials, folder, **settings),
        who.stock_tap(export, folder, **settings),
    ]


def _mapped(stream_maps: object) -> Task:
    return lambda *where: _both(*where, stream_maps=stream_maps)


def _batches(encoding: str) -> Task:
    return lambda export, emulator, folder: _both(
        export, emulator, folder, **who.batches(encoding, folder / BATCHES)
    )


RECORD = "RECORD"
QUOTED = {"RECORD, quotes in 1 % of the rows": 0.01, "RECORD, quotes in each row": 1.0}
"""Tasks whose file quotes values, and the share of its rows that hold one."""

TASKS: Mapping[str, Task] = {
    RECORD: _record,
    **dict.fromkeys(QUOTED, _both),
    "RECORD, stream renamed by a map": _mapped(who.ALIAS),
    "RECORD, property computed by a map": _mapped(who.EXPRESSION),
    "BATCH, jsonl.gz": _batches("jsonl.gz"),
    "BATCH, Parquet": _batches("parquet"),
}
"""The comparisons: a task and its readers, the tap first."""
