"""A signal ends the tap, wherever it is: soon, quietly, with a true STATE and nothing left."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from barchart_events_emulator import Emulator, Event
from tap_barchart_events.output.signals import SIGNALS, Interrupted, Signals
from tap_barchart_events.tap import TapBarchartEvents
from tap_barchart_events.windows import from_iso
from tests.expected_events import arrived, expected_events
from tests.tap_runs import (
    COMMAND,
    START,
    Outcome,
    Tap,
    is_quiet,
    output_mode,
    seeded,
    settings_of,
    sync,
)

SECONDS = 6
"""Within so many seconds the tap has ended; on a machine with nothing else to do within two."""

SOON = 0.027
"""Seconds from SIGINT to SIGTERM when a user of Meltano presses Ctrl-C once."""

CALLS = ("authenticate", "start", "poll", "link", "download")

EMULATOR = {"events_per_hour": 1000}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Tap]]:
    """Start the command; whatever becomes of the test, it does not go on."""
    taps: list[Tap] = []

    def run(settings: dict[str, Any], state: dict[str, Any] | None = None, **options: Any) -> Tap:
        taps.append(Tap(tmp_path, settings, state, **options))
        return taps[-1]

    yield run
    for tap in taps:
        tap.process.kill()
        with tap.process:
            pass


def received(service: Emulator, call: str, times: int = 1) -> Callable[[], bool]:
    """Return whether a call was made so often."""
    return lambda: sum(request.call == call for request in service.requests) >= times


def events_of(times: Iterable[int], lengths: Iterable[int]) -> list[Event]:
    """Return events at these milliseconds after the start, whose users have names so long."""
    return [
        Event(from_iso(START) + at, "WATCHLIST-CREATED", {"userId": "u" * length})
        for at, length in zip(times, lengths, strict=False)
    ]


def ended_well(tap: Tap, number: int, again: int | None = None) -> Outcome:
    """Send a signal, and another one soon after; check all that must hold whenever one comes."""
    tap.process.send_signal(number)
    if again:
        time.sleep(SOON)
        tap.process.send_signal(again)
    tap.process.wait(SECONDS)
    outcome = tap.end()
    # Of two that come at once, Python handles the lower number first.
    assert outcome.code in {128 + number, 128 + (again or number)}
    check_the_rest(tap, outcome)
    return outcome


def check_the_rest(tap: Tap, outcome: Outcome, service: Emulator | None = None) -> None:
    """Check that it was quiet, that nothing is left, and that STATE is true."""
    assert is_quiet(outcome.log), outcome.log[-3000:]
    assert "Exception ignored" not in outcome.log, outcome.log[-3000:]
    assert tap.left_behind == []
    if service:
        here = arrived(outcome.records)
        for product, bookmark in outcome.bookmarks.items():
            assert set(expected_events(service, [product], START, bookmark)) <= set(here)


@pytest.mark.parametrize(
    ("fault", "seen", "number"),
    [
        *(({"call": "start", "kind": "job-hangs"}, "poll", number) for number in SIGNALS),
        *(({"call": call, "kind": "stall"}, call, signal.SIGTERM) for call in CALLS),
        ({"call": "start", "kind": "status", "retry_after": 300}, "start", signal.SIGTERM),
    ],
)
def test_while_it_waits_for_a_job_a_call_or_the_next_try(
    service: Emulator, start: Callable[..., Tap], fault: dict[str, Any], seen: str, number: int
) -> None:
    service.fault(**fault, times=None)
    tap = start(settings_of(service))
    tap.wait_for(received(service, seen))
    time.sleep(0.2)
    outcome = ended_well(tap, number)
    assert outcome.records == []
    assert outcome.bookmarks == {}


@pytest.mark.parametrize(
    ("mode", "numbers"),
    [
        ("bulk", (signal.SIGTERM,)),
        ("one by one", (signal.SIGTERM,)),
        ("bulk", (signal.SIGINT, signal.SIGTERM)),  # as one Ctrl-C under Meltano
    ],
)
def test_a_reader_that_stands_still_holds_the_end_up(
    service: Emulator,
    start: Callable[..., Tap],
    tmp_path: Path,
    mode: str,
    numbers: tuple[int, ...],
) -> None:
    tap = start(settings_of(service, **output_mode(mode, tmp_path, batch_size=1)))
    tap.wait_for(lambda: pipe_is_full(tap))
    for number in numbers:
        tap.process.send_signal(number)
        time.sleep(SOON)
    with pytest.raises(subprocess.TimeoutExpired):
        tap.process.wait(3)
    outcome = tap.end(SECONDS)
    assert outcome.code == 128 + numbers[0]
    assert outcome.records
    assert outcome.messages[-1]["type"] == "STATE"
    assert outcome.bookmarks == {}
    check_the_rest(tap, outcome, service)


@pytest.mark.parametrize("length", [5_000, 50_000, 200_000])
def test_a_reader_that_reads_on_gets_the_rest_of_a_long_line(
    service: Emulator, start: Callable[..., Tap], length: int
) -> None:
    service.source = lambda *_: events_of(range(100), repeat(length))
    tap = start(settings_of(service))
    tap.wait_for(lambda: pipe_is_full(tap))
    tap.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    outcome = tap.end(SECONDS)
    assert outcome.code == 128 + signal.SIGTERM
    assert outcome.records
    check_the_rest(tap, outcome, service)


# A second signal -------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [None, signal.SIGTERM, signal.SIGINT])
def test_while_it_downloads_signals_within_a_second_count_as_one(
    service: Emulator, start: Callable[..., Tap], again: int | None
) -> None:
    service.throttle = 2_000
    tap = start(settings_of(service))
    tap.wait_for(received(service, "download"))
    time.sleep(0.3)
    assert any("export-" in name for name in tap.left_behind)
    ended_well(tap, signal.SIGTERM, again)


def end_at_once(tap: Tap, number: int = signal.SIGTERM) -> None:
    """Send a second signal a second after the first; check what must hold."""
    tap.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        tap.process.wait(1.4)
    tap.process.send_signal(number)
    assert tap.process.wait(SECONDS) == 128 + number
    assert tap.left_behind == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_second_signal_after_a_second_ends_it_at_once_and_leaves_no_temporary_file(
    service: Emulator, start: Callable[..., Tap], number: int
) -> None:
    times = [*range(4), *range(3_600_000, 3_600_200), *range(7_200_000, 7_200_200)]
    service.source = lambda *_: events_of(times, repeat(50_000))
    service.throttle = 200_000  # the second and third window take a minute
    tap = start(settings_of(service))
    tap.wait_for(lambda: pipe_is_full(tap))
    assert len([name for name in tap.left_behind if "export-" in name]) > 1, "threads are at work"
    end_at_once(tap, number)
    written, _ = tap.process.communicate()
    *lines, torn = written.splitlines(keepends=True)
    assert [json.loads(line)["type"] for line in lines] == ["SCHEMA", "RECORD"]
    assert not torn.endswith(b"\n")
    assert torn.count(b'{"type"') == 1, "no STATE follows the torn line"


def test_a_second_signal_ends_a_tap_that_still_waits_for_the_answer_to_a_start(
    service: Emulator, start: Callable[..., Tap]
) -> None:
    service.fault("start", "stall", times=None)
    tap = start(settings_of(service))
    tap.wait_for(received(service, "start"))
    time.sleep(0.5)  # the main thread is waiting by then, and handles a signal at once
    end_at_once(tap)
    assert tap.end().states == []


# Where nobody reads the log, and what is ignored ----------------------------------------------


@pytest.mark.parametrize("jobs", [1, 4])
def test_while_it_is_blocked_on_a_log_that_nobody_reads(
    service: Emulator, start: Callable[..., Tap], tmp_path: Path, jobs: int
) -> None:
    service.events_per_hour = 0
    service.fault("start", "status", code=503, retry_after=0, every=2, times=None)
    reader, stderr = os.pipe()
    fcntl.fcntl(stderr, fcntl.F_SETPIPE_SZ, 4096)
    settings = settings_of(service, window_hours=0.1, max_concurrent_jobs=jobs, max_retries=99)
    with (tmp_path / "out").open("wb") as stdout:
        tap = start(settings, stdout=stdout, stderr=stderr)
    os.close(stderr)

    def blocked() -> bool:
        before = len(service.requests)
        time.sleep(1)
        return len(service.requests) == before > 0

    tap.wait_for(blocked)
    tap.process.send_signal(signal.SIGTERM)
    assert tap.process.wait(SECONDS) == 128 + signal.SIGTERM
    os.close(reader)
    assert tap.left_behind == []
    check_the_rest(tap, tap.outcome((tmp_path / "out").read_bytes()), service)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_what_the_caller_lets_it_ignore_it_ignores(
    service: Emulator, start: Callable[..., Tap], number: int
) -> None:
    # As nohup does, and a shell with what it starts in the background.
    service.job_seconds = 0.3
    before = signal.signal(number, signal.SIG_IGN)
    try:
        tap = start(settings_of(service), program=COMMAND)
    finally:
        signal.signal(number, before)
    tap.wait_for(received(service, "poll"))
    tap.process.send_signal(number)
    outcome = tap.end()
    assert outcome.code == 0
    assert outcome.bookmarks == {"WATCHLIST": "2026-03-02T04:00:00.000+00:00"}


def pipe_is_full(tap: Tap) -> bool:
    """Tell whether much lies in the tap's pipe, and no more comes."""
    before = in_pipe(tap)
    time.sleep(0.3)
    return in_pipe(tap) == before > 20_000


def in_pipe(tap: Tap) -> int:
    """Return how many bytes lie in the tap's pipe."""
    assert tap.process.stdout
    waiting = fcntl.ioctl(tap.process.stdout.fileno(), termios.FIONREAD, bytes(4))
    return int.from_bytes(waiting, sys.byteorder)


@pytest.mark.parametrize("mode", ["bulk", "one by one", "files"])
def test_while_the_query_works(
    service: Emulator, start: Callable[..., Tap], tmp_path: Path, mode: str
) -> None:
    service.events_per_hour = 100_000
    more = output_mode(mode, tmp_path, batch_size=10_000)
    for wait in (0.0, 0.15, 0.4):
        service.requests.clear()
        with (tmp_path / "out").open("wb") as stdout:
            tap = start(settings_of(service, max_concurrent_jobs=1, **more), stdout=stdout)
        tap.wait_for(received(service, "start", 2))  # the first file is there
        time.sleep(wait)
        tap.process.send_signal(signal.SIGTERM)
        assert tap.process.wait(SECONDS) == 128 + signal.SIGTERM
        check_the_rest(tap, tap.outcome((tmp_path / "out").read_bytes()))


def test_at_any_moment_from_start_to_end(
    service: Emulator, start: Callable[..., Tap], request: pytest.FixtureRequest
) -> None:
    rng = seeded(request)
    settings = settings_of(service)
    began = time.monotonic()
    assert start(settings, program=COMMAND).end().code == 0
    whole = time.monotonic() - began
    for _ in range(8):
        tap = start(settings, program=COMMAND)
        pause = rng.uniform(0, 1.1 * whole)
        with suppress(subprocess.TimeoutExpired):
            tap.process.wait(pause)
        number = rng.choice([signal.SIGTERM, signal.SIGINT])
        tap.process.send_signal(number)
        outcome = tap.end(SECONDS)
        # Before the tap has come to itself, the signal does what signals do. While Python itself
        # imports `site`, it ends in an error of its own, with code 1.
        is_too_early = "Fatal Python error: init_import_site" in outcome.log
        assert outcome.code in {0, 128 + number, -number} or is_too_early, outcome.log
        check_the_rest(tap, outcome, service)


def test_state_follows_the_records_though_the_bookmark_is_the_same(
    service: Emulator, start: Callable[..., Tap]
) -> None:
    # target-jsonl passes a STATE on only if no RECORD comes after it.
    service.source = lambda *_: events_of([0, *range(3_600_000, 3_600_900)], repeat(500))
    tap = start(settings_of(service, end_date="2026-03-02T02:00Z"))
    tap.wait_for(lambda: pipe_is_full(tap))
    tap.process.send_signal(signal.SIGTERM)
    outcome = tap.end(SECONDS)
    assert outcome.code == 128 + signal.SIGTERM
    assert [m["type"] for m in outcome.messages][-2:] == ["RECORD", "STATE"]
    assert outcome.marks[-2:] == ["2026-03-02T01:00:00.000+00:00"] * 2


# A target that ends --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["bulk", "one by one"])
def test_a_closed_stdout_ends_it_quietly(
    service: Emulator, start: Callable[..., Tap], tmp_path: Path, mode: str
) -> None:
    tap = start(settings_of(service, **output_mode(mode, tmp_path, batch_size=1)))
    stdout = tap.process.stdout
    assert stdout
    assert json.loads(stdout.readline())["type"] == "SCHEMA"
    stdout.close()
    assert tap.process.wait(30) == 141
    log = tap.log.read_text(encoding="utf-8")
    assert not re.search("Traceback|Exception ignored|ERROR", log)
    assert "stdout was closed; see the log of the target" in log
    assert tap.left_behind == []


def test_a_signal_counts_though_the_target_has_ended_too(
    service: Emulator, start: Callable[..., Tap]
) -> None:
    service.job_seconds = 600
    tap = start(settings_of(service))
    tap.wait_for(received(service, "poll"))
    assert tap.process.stdout
    tap.process.stdout.close()  # Ctrl-C reaches both
    tap.process.send_signal(signal.SIGINT)
    assert tap.process.wait(SECONDS) == 128 + signal.SIGINT
    assert tap.left_behind == []


@pytest.mark.parametrize(
    ("closed", "code"), [(">&-", 141), ("2>&-", 0), ("<&- 2>&-", 0), (">&- 2>&-", 141)]
)
def test_streams_closed_from_the_beginning(
    service: Emulator, start: Callable[..., Tap], closed: str, code: int
) -> None:
    program = ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND]
    outcome = start(settings_of(service, window_hours=4), program=program).end()
    assert outcome.code == code
    assert outcome.log == ""
    assert len(outcome.states) == (code == 0)


def test_a_file_on_a_full_disk_ends_in_an_error_that_says_what_is_full(
    service: Emulator, start: Callable[..., Tap], tmp_path: Path
) -> None:
    # A limit of a file's size does what a full disk does: a write comes out in part.
    out = tmp_path / "out"
    with out.open("wb") as stdout:
        tap = start(settings_of(service), stdout=stdout, limits={"RLIMIT_FSIZE": 700_000})
    assert tap.process.wait(30) == 1
    written = out.read_bytes()
    outcome = tap.outcome(written[: written.rfind(b"\n") + 1])  # the last line may be torn
    assert outcome.records
    last = outcome.log.splitlines()[-1]
    assert "could not write to stdout: File too large; free space where the output goes" in last
    assert "TMPDIR" not in last
    check_the_rest(tap, outcome, service)


def test_a_signal_waits_until_the_place_for_temporary_files_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    signals = Signals()

    def find() -> str:
        signals.handle(signal.SIGTERM)
        (tmp_path / "tried").touch()
        (tmp_path / "tried").unlink()
        return str(tmp_path)

    monkeypatch.setattr(tempfile, "gettempdir", find)
    with pytest.raises(Interrupted), signals.private_folder():
        pass
    assert signals.folder
    assert list(tmp_path.iterdir()) == []


def test_a_signal_while_the_tap_starts_writes_no_state_and_is_no_success(
    monkeypatch: pytest.MonkeyPatch, service: Emulator
) -> None:
    # The SDK has set its handlers by then, and the STATE has not been read.
    monkeypatch.setattr(
        TapBarchartEvents, "setup_mapper", lambda _: signal.raise_signal(signal.SIGTERM)
    )
    outcome = sync(settings_of(service))
    assert outcome.code == 128 + signal.SIGTERM
    assert outcome.messages == []
