"""The measurements: throughput beside other readers, memory, waiting for jobs, start-up."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from barchart_events_emulator import Emulator
from benchmarks import contenders as who
from benchmarks.contenders import Contender
from benchmarks.export_file import CUSTOMER, PRODUCT, START, write_export
from benchmarks.processes import ContenderError, Run, run
from benchmarks.proof import prove
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.windows import HOUR, to_iso

DAY = 24 * HOUR
BATCHES = "batches"
PROOF_EVENTS = 20_000
"""Events of the check that all readers make the same records."""
JOBS, JOB_SECONDS = 4, 2.0
"""Jobs in flight, and how long each takes, where waiting is measured."""

RECORD = "RECORD"
QUOTED = {"RECORD, quotes in 1 % of the rows": 0.01, "RECORD, quotes in each row": 1.0}
"""Tasks whose file quotes values, and the share of its rows that hold one."""
TASKS: Mapping[str, Mapping[str, Any]] = {
    RECORD: {},
    **{task: {} for task in QUOTED},
    "RECORD, stream renamed by a map": {"stream_maps": {"events": {"__alias__": "usage"}}},
    "RECORD, property computed by a map": {"stream_maps": {"events": {"day": "timestamp[:10]"}}},
    "BATCH, jsonl.gz": {"batch_config": {"format": "jsonl", "compression": "gzip"}},
    "BATCH, Parquet": {"batch_config": {"format": "parquet"}},
}
"""The comparisons: a task, and the settings of the taps; of ``batch_config`` the encoding."""


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


class Trials:
    """Runs everything; temporary files are in one folder."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        """Take a folder with space for the files, and where to report progress."""
        self._folder = folder
        self._tell = tell

    def compare(self, task: str, events: int, rounds: int) -> list[Result]:
        """Run the tap and others at a task, in alternation, once they make the same records.

        Args:
            task: One of ``TASKS``.
            events: How many events are in the export.
            rounds: How often each runs.
        """
        with self._taking_part(task, PROOF_EVENTS) as taking_part:
            prove(taking_part, self._folder, PROOF_EVENTS)
        with self._taking_part(task, events) as taking_part:
            results = [Result(task, contender.name, events) for contender in taking_part]
            for number in range(rounds):
                for contender, result in zip(taking_part, results, strict=True):
                    self._tell(f"{task}, {events:,} events, round {number + 1}: {contender.name}")
                    result.runs.append(self._run(contender, events))
        return results

    def memory(self, task: str, events: int) -> Result:
        """Run the tap once on an export of a size, for its peak memory."""
        self._tell(f"{task}, {events:,} events, memory")
        with self._taking_part(task, events) as (tap, *_):
            return Result(task, tap.name, events, [self._run(tap, events)])

    def backfill(self, rounds: int) -> Timing:
        """Time a sync of twelve days with 242,000 events."""
        days, total = 12, 242_000
        end = START + days * DAY
        # The mean of these days differs from that of all weeks.
        usual = Emulator(events_per_hour=1000, clock=lambda: end + DAY)
        rate = 1000 * total / usual.count(CUSTOMER, PRODUCT, START, end)
        return self._waiting(f"backfill of {days} days", days, rate, end, [PRODUCT], rounds)

    def nightly(self, rounds: int) -> Timing:
        """Time a sync of nine products, one window each."""
        products = list(PRODUCTS)
        task = f"nightly sync of {len(products)} products"
        return self._waiting(task, len(products), 500, START + DAY, products, rounds)

    def start_up(self, rounds: int) -> Timing:
        """Time the start of the process to the first request that reaches the service."""
        seconds = []
        with _even_emulator(0.05, 1000, START + 2 * DAY) as emulator:
            for number in range(rounds):
                self._tell(f"start-up, round {number + 1}")
                emulator.requests.clear()
                began = self._run(who.tap(emulator, self._folder), 0).began
                seconds.append(emulator.requests[0].at - began)
        return Timing("start-up to first request", "", seconds)

    def _waiting(
        self, task: str, windows: int, rate: float, end: int, products: list[str], rounds: int
    ) -> Timing:
        """Time a sync, start-up included, from ``START`` to an end."""
        settings = {"end_date": to_iso(end), "products": products, "max_concurrent_jobs": JOBS}
        walls = []
        with _even_emulator(JOB_SECONDS, rate, end + DAY) as emulator:
            events = sum(emulator.count(CUSTOMER, product, START, end) for product in products)
            for number in range(rounds):
                self._tell(f"{task}, round {number + 1}")
                tap = who.tap(emulator, self._folder, **settings)
                walls.append(self._run(tap, events).wall)
        times = -(-windows // JOBS)
        ideal = f"{windows} jobs of {JOB_SECONDS:g} s, {JOBS} at once: {times * JOB_SECONDS:g} s"
        return Timing(f"{task}, {events:,} events", ideal, walls)

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
    def _taking_part(self, task: str, events: int) -> Iterator[list[Contender]]:
        """Make and serve the export of a task; yield the readers, the tap first."""
        folder, batches, export = self._folder, self._folder / BATCHES, self._folder / "export.csv"
        write_export(export, events, QUOTED.get(task, 0.0))
        settings = dict(TASKS[task])
        if "batch_config" in settings:
            batches.mkdir()
            storage = {"root": f"file://{batches}", "prefix": ""}
            settings["batch_config"] = {"encoding": settings["batch_config"], "storage": storage}
        body = export.read_bytes()
        with Emulator(job_seconds=0.05, events_per_hour=1, body=lambda _: body) as emulator:
            taking_part = [
                who.tap(emulator, folder, **settings),
                who.stock_tap(export, folder, **settings),
            ]
            if task == RECORD:
                taking_part.append(who.plain_loop(export, folder))
            yield taking_part
        export.unlink()
        shutil.rmtree(batches, ignore_errors=True)


def _even_emulator(job_seconds: float, events_per_hour: float, now: int) -> Emulator:
    """Return an emulator whose jobs take equally long, so that there is an ideal time."""
    return Emulator(
        job_seconds=job_seconds,
        job_variation=0.0,
        events_per_hour=events_per_hour,
        clock=lambda: now,
    )
