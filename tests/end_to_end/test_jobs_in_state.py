"""Jobs outlive a run: the next one uses them, whatever ended the first and whatever STATE holds."""

import copy
import errno
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barchart_events_emulator import Emulator, Event
from tap_barchart_events.exports.saved_jobs import Request
from tap_barchart_events.windows import HOUR, Window, to_iso
from tests.expected_events import CUSTOMER, arrived, expected_events
from tests.tap_runs import (
    START,
    Outcome,
    Run,
    Tap,
    bookmarks,
    catalog_of,
    hour,
    output_mode,
    partition,
    partitions,
    settings_of,
    sync,
    synced,
)

EMULATOR = {"job_seconds": 0.5}
END = hour(5)


def starts(service: Emulator) -> Counter[tuple[str, int, int]]:
    """Return how many jobs were started for each product and window."""
    return Counter((job.filter["product"], job.start, job.end) for job in service.jobs)


def interrupted(service: Emulator, folder: Path, jobs: int = 4, **more: Any) -> dict[str, Any]:
    """Interrupt a run when so many jobs have been started; return STATE."""
    tap = Tap(folder, settings_of(service, **{"end_date": END, **more}))
    state = tap.interrupt(lambda: len(service.jobs) >= jobs).states[-1]
    assert any(held.get("jobs") for held in partitions(state))
    return state


def check_continued(service: Emulator, state: dict[str, Any], **more: Any) -> None:
    """Continue a run to its end."""
    outcome = synced(settings_of(service, **{"end_date": END, **more}), state)
    assert outcome.bookmarks == {"WATCHLIST": END}


@pytest.mark.parametrize("mode", ["bulk", "files"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_after_a_signal_no_job_is_started_twice(
    service: Emulator, tmp_path: Path, number: int, mode: str
) -> None:
    rng = random.Random(number)  # noqa: S311 - seeded on purpose
    config = settings_of(service, end_date=END, **output_mode(mode, tmp_path))
    state = None
    for _ in range(3):
        tap = Tap(tmp_path, config, state)
        seen = len(service.requests)
        while len(service.requests) < seen + 3 and tap.process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.random())
        tap.process.send_signal(number)
        outcome = tap.end()
        assert outcome.code in {0, 128 + number, -number}, "the last: before Python's start"
        state = outcome.states[-1] if outcome.states else state
        assert outcome.code or bookmarks(state)["WATCHLIST"] == END, "0 only when all is done"
    outcome = Tap(tmp_path, config, state).end()
    assert outcome.code == 0, outcome.log[-2000:]
    assert outcome.bookmarks == {"WATCHLIST": END}
    assert set(starts(service).values()) == {1}
    assert "jobs" not in partition(outcome.states[-1])


def test_a_job_that_started_within_a_lag_raised_since_costs_no_late_event(
    service: Emulator, tmp_path: Path
) -> None:
    service.advance(hours=-2)
    now = service.clock()
    events = [Event(now - 60_000, "WATCHLIST-CREATED", {"userId": "in time"})]
    service.source = lambda *_: list(events)
    more: dict[str, Any] = {"start_date": to_iso(now - HOUR), "end_date": None}
    state = interrupted(service, tmp_path, jobs=1, lag_minutes=0, **more)
    events.append(Event(now - 1_000, "WATCHLIST-CREATED", {"userId": "late"}))
    service.advance(hours=1 / 6)
    outcome = synced(settings_of(service, lag_minutes=5, **more), state)
    assert outcome.bookmarks["WATCHLIST"] > to_iso(now - 1_000)
    assert {record["user_id"] for record in outcome.records} == {"in time", "late"}


def test_after_an_error_no_job_is_started_twice(service: Emulator) -> None:
    fault = service.fault("link", "status", code=400, after=3, times=None)
    failed = sync(settings_of(service, end_date=END))
    assert failed.error is not None
    assert fault.hits > 0
    service.clear_faults()
    check_continued(service, failed.states[-1])
    assert set(starts(service).values()) == {1}


def _full_disk(descriptor: int, mode: str) -> None:
    os.close(descriptor)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), mode)


def _too_little_memory(*_: object) -> None:
    raise MemoryError


@pytest.mark.parametrize(
    ("place", "broken", "said"),
    [
        ("api.download.os.fdopen", _full_disk, "free space"),
        ("files.engine._connect", _too_little_memory, "memory"),
    ],
)
def test_a_machine_that_cannot_take_or_read_a_file_keeps_the_finished_jobs(
    service: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    broken: Callable[..., None],
    said: str,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(f"tap_barchart_events.{place}", broken)
        failed = sync(settings_of(service, end_date=END))
    assert said in failed.reason
    check_continued(service, failed.states[-1])
    assert set(starts(service).values()) == {1}


def test_a_file_that_is_too_large_is_exported_anew_in_smaller_windows(
    service: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_barchart_events.api.download.MAX_FILE_BYTES", 8_000)
    failed = sync(settings_of(service, end_date=END, window_hours=4, max_concurrent_jobs=1))
    assert "lower window_hours" in failed.reason
    check_continued(service, failed.states[-1])


def test_after_sigkill_only_jobs_since_the_last_state_are_started_again(
    service: Emulator, tmp_path: Path
) -> None:
    tap = Tap(tmp_path, settings_of(service, end_date=END))
    assert tap.process.stdout
    messages = map(json.loads, tap.process.stdout)
    state = next(message["value"] for message in messages if message["type"] == "STATE")
    tap.process.kill()
    tap.process.communicate()
    kept = {("WATCHLIST", *job[1:3]) for job in partition(state)["jobs"]}
    assert kept
    check_continued(service, state)
    assert {starts(service)[window] for window in kept} == {1}


# Jobs that are not used -----------------------------------------------------------------------


@pytest.mark.usefixtures("hardly_waiting")
def test_a_forgotten_job_is_started_anew(service: Emulator, tmp_path: Path) -> None:
    state = interrupted(service, tmp_path)
    service.forget_jobs()
    check_continued(service, state)


@pytest.mark.parametrize("fault", ["job-timeout", "job-hangs"])
def test_a_job_that_was_too_large_for_a_window_that_is_not_split_is_started_anew(
    service: Emulator, tmp_path: Path, fault: str
) -> None:
    # An earlier run may have cut windows smaller than this one may.
    service.job_seconds = 30
    service.fault("start", fault, times=4)
    state = interrupted(service, tmp_path)
    for job in partition(state)["jobs"]:
        job[3] -= 1800
    service.job_seconds = 0
    check_continued(service, state, min_window_seconds=3600)


@pytest.mark.parametrize("echoes_others", [False, True])
def test_a_job_that_is_resumed_has_its_event_types_checked(
    service: Emulator, tmp_path: Path, warnings: list[str], *, echoes_others: bool
) -> None:
    types: dict[str, Any] = {"event_types": ["WATCHLIST-CREATED"]}
    state = interrupted(service, tmp_path, **types)
    if echoes_others:
        service.fault("poll", "filter", types=["ANOTHER-TYPE"])
    check_continued(service, state, **types)
    assert set(starts(service).values()) == {1}
    said = ["the service reports different event types" in warning for warning in warnings]
    assert said == [True] * echoes_others


def requested(service: Emulator, state: dict[str, Any]) -> list[str]:
    """Return the paths of the requests about the jobs of a STATE."""
    paths = [request.path for request in service.requests]
    return [path for path in paths if any(job[0] in path for job in partition(state)["jobs"])]


def test_a_connection_test_touches_no_jobs(service: Emulator, run: Run, tmp_path: Path) -> None:
    state = interrupted(service, tmp_path)
    service.requests.clear()
    assert run(state, options={"arguments": ("--test",)}, end_date=END).written == b""
    assert requested(service, state) == []


@pytest.mark.parametrize("mode", ["one by one", "files"])
def test_a_full_table_sync_uses_no_jobs_and_writes_none(
    service: Emulator, run: Run, tmp_path: Path, mode: str
) -> None:
    state = interrupted(service, tmp_path)
    more = {"end_date": END, **output_mode(mode, tmp_path)}
    catalog = catalog_of(settings_of(service, **more))
    catalog["streams"][0]["replication_method"] = "FULL_TABLE"
    service.job_seconds = 0
    service.requests.clear()
    before = len(service.jobs)
    first = run(state, options={"catalog": catalog}, **more)
    assert len(service.jobs) - before == 5, "all windows from start_date on"
    assert requested(service, state) == []
    kept = {job[0] for job in partition(state)["jobs"]}
    for written in first.states:
        assert {job[0] for job in partition(written).get("jobs", [])} <= kept, "as it came"
    second = run(options={"catalog": catalog}, **more)
    assert not any(written.get("bookmarks") for written in second.states)


# What STATE holds -----------------------------------------------------------------------------


def test_state_names_the_jobs_then_under_way(service: Emulator, tmp_path: Path) -> None:
    # The SDK would write one after each batch file, with the jobs of the one before.
    outcome = synced(settings_of(service, **output_mode("files", tmp_path, 20)))
    assert len(outcome.files) > 8
    assert len(set(outcome.marks)) == len(outcome.marks) == 4, "one when a window is finished"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
INSTANT = st.integers(1_772_400_000_000, 1_772_440_000_000)
SOURCES = st.sampled_from(["JOB-1", "..", "", "a/b", "JOB-ä", "x" * 65, "%2e%2e"])


@st.composite
def entries(draw: st.DrawFn) -> list[Any]:
    """Draw what STATE may hold of a job, with the fingerprint of the run or another one."""
    source, start, end = draw(SOURCES | st.text(max_size=70)), draw(INSTANT), draw(INSTANT)
    began = draw(st.sampled_from([int(time.time()), 0, -1, 10**20]))
    right = Request(CUSTOMER, (), "|").fingerprint("WATCHLIST", source, Window(start, end))
    return [source, start, end, began, draw(st.sampled_from([right, "00000000", ""]))]


OTHER_ENTRIES = ("event_types", "start_date", "history_start", "columns", "progress_markers")


@pytest.fixture
def first(service: Emulator, hardly_waiting: None) -> Outcome:
    """A sync of an hour, which others continue."""
    service.job_seconds, service.events_per_hour = 0.0, 20
    return synced(settings_of(service, end_date=hour(1)))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(jobs=JSON | st.lists(JSON | entries(), max_size=8), learnt=JSON, other=JSON)
def test_whatever_state_holds_beside_the_bookmark_costs_no_event_and_no_error(
    service: Emulator, first: Outcome, jobs: Any, learnt: Any, other: Any
) -> None:
    state = copy.deepcopy(first.states[-1])
    partition(state).update(dict.fromkeys(OTHER_ENTRIES, other))
    partition(state).update(jobs=jobs, learnt=learnt)
    state["bookmarks"]["events"]["progress_markers"] = other
    state["bookmarks"]["another stream"] = {"partitions": other}
    outcome = synced(settings_of(service), json.loads(json.dumps(state)))
    assert outcome.marks[0] >= hour(1)
    assert outcome.bookmarks == {"WATCHLIST": hour(4)}
    expected = expected_events(service, ["WATCHLIST"], START, hour(4))
    assert arrived([*first.records, *outcome.records]) == expected
