"""A signal at any line that the main thread runs: no event is lost, no job is started twice.

Each test prints the seed that it used; the environment variable ``CRASH_SEED`` gives one.
"""

import gc
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import tap_barchart_events
from barchart_events_emulator import Emulator, Event
from tap_barchart_events.windows import HOUR, from_iso
from tests.end_to_end.test_crash import claimed
from tests.expected_events import expected_events
from tests.tap_runs import START, Outcome, bookmarks, hour, output_mode, seeded, settings_of, sync

EMULATOR = {"job_seconds": 0.01}

PRODUCTS = ["WATCHLIST", "ALERT"]

Line = tuple[str, int]

TRACED = (str(Path(tap_barchart_events.__file__).parent), str(threading.__file__))
"""The tap, and what it waits with."""

THREADS = vars(threading)["_active_limbo_lock"]
"""The lock of Python's list of threads. The main thread gets no signal while it holds it: Python
handles none there, and an exception of a tracer would keep the lock locked. No later run in this
process could then start a thread."""

SAMPLE = 8
"""Other lines tried in each mode, by chance."""

ALL = 1000
"""More lines than the functions of a mode have."""

CRITICAL = {
    "bulk": {"_files", "emitted", "wait", "write_to"},
    "one by one": set[str](),
    "files": {"_files"},
    "error": {"_syncing", "_write_state"},
}
"""Functions of whose lines more are tried, all in the soak: between the last event of a window and
its bookmark, where the main thread waits, where STATE changes, and where a sync ends."""


class Tracer:
    """Counts the lines that the main thread runs, and sends a signal at one of them."""

    def __init__(self, line: Line | None = None, time: int = 1) -> None:
        """Take the line, and at which visit to signal; without a line, only count."""
        self.lines: Counter[Line] = Counter()
        self.functions: dict[Line, str] = {}
        self.sent = False
        self._syncs = False
        self._line = line
        self._time = time

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Follow the frames of what is traced, from the beginning of the sync on."""
        self._syncs = self._syncs or frame.f_code.co_name == "sync_all"
        file = frame.f_code.co_filename
        traced = file == self._line[0] if self._line else file.startswith(TRACED)
        return self._follow if self._syncs and traced else None

    def _follow(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            line = frame.f_code.co_filename, frame.f_lineno
            self.lines[line] += 1
            self.functions.setdefault(line, frame.f_code.co_name)  # not a comprehension in it
            if line == self._line and self.lines[line] == self._time:
                self._send()
        return self._follow

    def _send(self) -> None:
        if not self.sent and not THREADS._is_owned():  # noqa: SLF001 - it has no public name
            self.sent = True
            signal.raise_signal(signal.SIGINT)


def events(_: str, product: str, start: int, end: int) -> list[Event]:
    """Return 30 events in the first hour of the one product, and in the second of the other."""
    first = from_iso(hour(PRODUCTS.index(product)))
    times = (time for time in range(first, first + HOUR, HOUR // 30) if start <= time < end)
    return [Event(time, f"{product}-CREATED", {"userId": "u"}) for time in times]


def interrupted(
    service: Emulator, settings: dict[str, Any], tracer: Tracer, *, fails: bool
) -> Outcome:
    """Run a sync, which may fail by itself when some jobs have been started."""
    if fails:
        service.fault("start", "status", code=404, after=3, times=None)
    before = sys.gettrace()
    sys.settrace(tracer.trace)
    try:
        return sync(settings)
    finally:
        sys.settrace(before)
        service.clear_faults()


def check(
    service: Emulator, settings: dict[str, Any], line: Line, time: int, *, fails: bool = False
) -> None:
    """Interrupt a sync at a line, continue it, and check jobs and events."""
    started = len(service.jobs)
    tracer = Tracer(line, time)
    where = f"{Path(line[0]).name}:{line[1]}, time {time}"
    first = interrupted(service, settings, tracer, fails=fails)
    if tracer.sent:
        ended = first.error or first.code
        assert ended == 128 + signal.SIGINT, f"{where}: the first run ended with {ended!r}"
    expected = expected_events(service, settings["products"], START, settings["end_date"])
    state = first.states[-1] if first.states else None
    written = {record["event_id"] for record in first.records}
    assert not claimed(state, expected) - written, f"{where}: STATE claims what was not written"
    second = sync(settings, state)
    ended = second.error or second.code
    assert not ended, f"{where}: the second run ended with {ended!r}"
    written |= {record["event_id"] for record in second.records}
    assert written == set(expected), f"{where}: the events of both runs"
    ends = second.bookmarks or bookmarks(state)
    assert set(ends.values()) == {settings["end_date"]}, f"{where}: the last bookmarks"
    jobs = Counter((j.filter["product"], j.start, j.end) for j in service.jobs[started:])
    assert set(jobs.values()) == {1}, f"{where}: jobs by window: {jobs}"


# A library may leave to the garbage collector what it was just about to keep.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("mode", ["bulk", "one by one", "files", "error"])
@pytest.mark.parametrize("max_critical", [16, pytest.param(ALL, marks=pytest.mark.soak)])
def test_a_signal_at_a_line_of_the_tap_loses_no_job_and_no_event(
    service: Emulator, tmp_path: Path, request: pytest.FixtureRequest, mode: str, max_critical: int
) -> None:
    rng = seeded(request)
    service.source = events
    fails = mode == "error"
    settings = settings_of(
        service,
        products=PRODUCTS,
        end_date=hour(2),
        max_concurrent_jobs=2,
        **output_mode("bulk" if fails else mode, tmp_path, 12),
    )
    tracer = Tracer()
    interrupted(service, settings, tracer, fails=fails)
    lines = sorted(tracer.lines)
    assert len(lines) > 500
    assert CRITICAL[mode] <= set(tracer.functions.values()), "a function has another name now"
    critical = [line for line in lines if tracer.functions[line] in CRITICAL[mode]]
    critical = rng.sample(critical, min(max_critical, len(critical)))
    for line in [*critical, *rng.sample(lines, SAMPLE)]:
        check(service, settings, line, rng.randint(1, min(3, tracer.lines[line])), fails=fails)
    gc.collect()  # what a library has left is this test's, and no other's
