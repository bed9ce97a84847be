"""Syncs of many windows, as processes, beside the least number of exports.

The service's limit is on the events of an export, and a job that is too large takes three times
as long. The tap has to find the limit and the rhythm of the events by itself.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from barchart_events_emulator import Emulator
from benchmarks import contenders as who
from benchmarks.export_file import CUSTOMER, PRODUCT, START
from benchmarks.processes import ContenderError, run
from tap_barchart_events.windows import HOUR, to_iso

DAY = 24 * HOUR
JOBS = 4
"""Export jobs in flight, at most; the default."""
JOB_SECONDS = 1.0
POLL_SECONDS = JOB_SECONDS / 20
"""Setting ``poll_interval_seconds``. The default of 2 s is right for jobs of minutes."""
MAX_EVENTS = 1_000
"""Events that an export holds."""
BACKFILL_DAYS, BACKFILL_EXPORTS = 21, 150
NIGHTS = 7
SPARSE_DAYS, SPARSE_EVENTS = 3 * 365, 5_919


@dataclass
class Cost:
    """What one or more syncs cost."""

    case: str
    has_to_be: str
    events: int = 0
    ideal: int = 0
    """Least number of exports that hold all events; of several syncs, the sum."""
    jobs: int = 0
    """Jobs that were started (``POST /reports``)."""
    too_large: int = 0
    job_time: float = 0.0
    """Sum over all jobs, in times of a job that fits."""
    wall: float = 0.0
    """Seconds, from the start of the process to its end."""

    @property
    def job_time_ratio(self) -> float:
        """Job time over the ideal: the least number of jobs, and none too large."""
        return self.job_time / self.ideal

    @property
    def wall_ratio(self) -> float:
        """Wall time over the ideal, with all jobs in flight from the start to the end."""
        return self.wall / (self.ideal / JOBS * JOB_SECONDS)


class Backfills:
    """Runs the tap against emulators; temporary files are in one folder."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        """Take a folder for the files, and where to report progress."""
        self._folder = folder
        self._tell = tell

    def costs(self) -> list[Cost]:
        """Run all cases, each once; they take about two minutes."""
        return [*self._backfill_and_nights(), self._sparse()]

    def _backfill_and_nights(self) -> list[Cost]:
        """Three weeks with a rhythm; then seven nights with the STATE of each run before."""
        rate = BACKFILL_EXPORTS * MAX_EVENTS / BACKFILL_DAYS / 24
        settings = {"max_concurrent_jobs": JOBS, "poll_interval_seconds": POLL_SECONDS}
        end = START + BACKFILL_DAYS * DAY
        backfill = Cost(f"{BACKFILL_DAYS} days, rhythm of the week", "wall at most 2.6 x")
        nights = Cost(f"{NIGHTS} nights after it, with STATE", "job time at most 2.5 x")
        with _emulator(rate, end + (NIGHTS + 1) * DAY) as emulator:
            state = self._sync(backfill, emulator, START, end, None, settings)
            for number in range(NIGHTS):
                night = end + number * DAY
                state = self._sync(nights, emulator, night, night + DAY, state, settings)
        return [backfill, nights]

    def _sparse(self) -> Cost:
        """Three years of a product with few events, with the default settings."""
        end = START + SPARSE_DAYS * DAY
        cost = Cost("three years, few events, default settings", "at most 60 jobs")
        with _emulator(SPARSE_EVENTS / SPARSE_DAYS / 24, end + DAY) as emulator:
            self._sync(cost, emulator, START, end, None, {})
        return cost

    def _sync(
        self,
        cost: Cost,
        emulator: Emulator,
        start: int,
        end: int,
        state: Any,
        settings: dict[str, Any],
    ) -> Any:
        """Run one sync from a STATE, add what it costs, and return the STATE it ends with."""
        self._tell(f"{cost.case}: {to_iso(start)} to {to_iso(end)}")
        before, requests = len(emulator.jobs), len(emulator.requests)
        dates = {"start_date": to_iso(START), "end_date": to_iso(end)}
        tap = who.tap(emulator, self._folder, **dates, **settings)
        command = [*tap.command]
        if state is not None:
            path = self._folder / "state.json"
            path.write_text(json.dumps(state))
            command += ["--state", str(path)]
        output = self._folder / "output"
        measured = run(command, self._folder, output)
        events = emulator.count(CUSTOMER, PRODUCT, start, end)
        state = _last_state(output, events)
        jobs = emulator.jobs[before:]
        cost.events += events
        cost.ideal += -(-events // MAX_EVENTS)
        cost.jobs += sum(seen.call == "start" for seen in emulator.requests[requests:])
        cost.too_large += sum(job.too_large for job in jobs)
        cost.job_time += sum(job.seconds for job in jobs) / JOB_SECONDS
        cost.wall += measured.wall
        self._tell(f"  {len(jobs)} jobs, {measured.wall:.1f} s, load {measured.load:.1f}")
        return state


def _emulator(events_per_hour: float, now: int) -> Emulator:
    return Emulator(
        events_per_hour=events_per_hour,
        rhythm="working-week",
        hourly_noise=0.15,
        job_seconds=JOB_SECONDS,
        job_variation=0.1,
        max_events=MAX_EVENTS,
        too_large_factor=3.0,
        clock=lambda: now,
    )


def _last_state(output: Path, events: int) -> Any:
    """Return the last STATE that a sync wrote.

    Raises:
        ContenderError: The sync wrote another number of records, or no STATE.
    """
    records, state = 0, None
    with output.open("rb") as lines:
        for line in lines:
            records += b'"RECORD"' in line[:20]
            if b'"STATE"' in line[:20]:
                state = json.loads(line)["value"]
    if records != events or state is None:
        raise ContenderError(f"the tap wrote {records:,} of {events:,} records")
    return state
