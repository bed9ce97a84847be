"""Jobs outlive a run: the next one uses them, whatever ended the first and whatever STATE holds."""

from __future__ import annotations

import copy
import errno
import json
import os
import random
import re
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barchart_events_emulator import Emulator, Event
from tap_barchart_events.exports.saved_jobs import Request
from tap_barchart_events.files import engine
from tap_barchart_events.tap import TapBarchartEvents
from tap_barchart_events.windows import Window, to_iso
from tests.tap_runs import Outcome, Tap, bookmarks, output_mode, settings_of, sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

END = "2026-03-02T08:00:00.000+00:00"


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=0.5, events_per_hour=60) as emulator:
        yield emulator


def starts(service: Emulator) -> Counter[tuple[str, int, int]]:
    """Return how many jobs were started for each product and window."""
    return Counter(
        (job.filter["product"], job.filter["start"], job.filter["end"]) for job in service.jobs
    )


def partition(state: dict[str, Any]) -> dict[str, Any]:
    """Return the only partition of a STATE."""
    (found,) = state["bookmarks"]["events"]["partitions"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("mode", ["bulk", "files"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_after_a_signal_no_job_is_started_twice(
    service: Emulator, tmp_path: Path, number: int, mode: str
) -> None:
    rng = random.Random(number)  # noqa: S311 - seeded on purpose
    config = settings_of(service, end_date=END, **output_mode(mode, tmp_path, 1000))
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


def test_with_a_lookback_no_job_that_the_next_run_reads_again_is_started_twice(
    tmp_path: Path,
) -> None:
    hours = [to_iso(time.time_ns() // 1_000_000 - back * 3_600_000) for back in (6, 2)]
    with Emulator(job_seconds=2, events_per_hour=60) as service:
        config = settings_of(service, start_date=hours[0], end_date=hours[1], lookback_hours=48)
        tap = Tap(tmp_path, config)
        while len(service.jobs) < 4:
            time.sleep(0.01)
        time.sleep(0.3)
        tap.process.send_signal(signal.SIGTERM)
        outcome = sync(config, tap.end().states[-1])
        assert outcome.error is None
        assert set(starts(service).values()) == {1}


@pytest.mark.parametrize("hours_behind", [0, 2])
def test_a_job_that_started_within_a_lag_raised_since_costs_no_late_event(
    tmp_path: Path, hours_behind: int
) -> None:
    with Emulator(job_seconds=1) as service:
        service.advance(hours=-hours_behind)
        now = service.clock()
        events = [Event(now - 60_000, "WATCHLIST-CREATED", {"userId": "in time"})]
        service.source = lambda *_: list(events)
        config = settings_of(service, start_date=to_iso(now - 3_600_000), end_date=None)
        tap = Tap(tmp_path, {**config, "lag_minutes": 0})
        while not service.jobs:
            time.sleep(0.01)
        time.sleep(0.3)
        tap.process.send_signal(signal.SIGTERM)
        state = tap.end().states[-1]
        assert partition(state)["jobs"]
        events.append(Event(now - 1_000, "WATCHLIST-CREATED", {"userId": "late"}))
        time.sleep(5)
        outcome = sync({**config, "lag_minutes": 5 / 60}, state)
        assert bookmarks(outcome.states[-1])["WATCHLIST"] > to_iso(now - 1_000)
        assert {record["user_id"] for record in outcome.records} == {"in time", "late"}


def test_no_more_jobs_are_taken_over_than_files_may_wait(tmp_path: Path) -> None:
    products = ["WATCHLIST", "PORTFOLIO", "ALERT"]
    with Emulator(job_seconds=1, events_per_hour=60) as service:
        config = settings_of(service, products=products, end_date=END)
        tap = Tap(tmp_path, {**config, "max_concurrent_jobs": 6})
        while len(service.jobs) < 6:
            time.sleep(0.01)
        time.sleep(1.5)  # the last jobs are of the next products
        tap.process.send_signal(signal.SIGTERM)
        state = tap.end().states[-1]
        saved = [len(p.get("jobs", [])) for p in state["bookmarks"]["events"]["partitions"]]
        assert sum(saved) > 4
        outcome = Tap(tmp_path, {**config, "max_concurrent_jobs": 1}, state).end()
        assert outcome.code == 0
        taken_over = re.search(r"(\d+) taken over from an earlier run", outcome.log)
        assert taken_over
        assert 0 < int(taken_over[1]) <= 4


def test_after_an_error_no_job_is_started_twice(service: Emulator) -> None:
    fault = service.fault("link", "status", code=400, after=3, times=None)
    config = settings_of(service, end_date=END)
    failed = sync(config)
    assert failed.error is not None
    assert fault.hits > 0
    service.clear_faults()
    outcome = sync(config, failed.states[-1])
    assert outcome.error is None
    assert outcome.bookmarks == {"WATCHLIST": END}
    assert set(starts(service).values()) == {1}


def test_after_sigkill_only_jobs_since_the_last_state_are_started_again(
    service: Emulator, tmp_path: Path
) -> None:
    config = settings_of(service, end_date=END)
    tap = Tap(tmp_path, config)
    stdout = tap.process.stdout
    assert stdout
    for line in stdout:
        message = json.loads(line)
        if message["type"] == "STATE":
            break
    tap.process.kill()
    tap.process.communicate()
    kept = {tuple(job[1:3]) for job in partition(message["value"])["jobs"]}
    assert kept
    outcome = Tap(tmp_path, config, message["value"]).end()
    assert outcome.bookmarks == {"WATCHLIST": END}
    counts = {window[1:]: count for window, count in starts(service).items()}
    assert all(counts[window] == 1 for window in kept)


def test_a_job_takes_about_a_hundred_bytes_of_state(service: Emulator, tmp_path: Path) -> None:
    state = _interrupted(service, tmp_path)
    for job in partition(state)["jobs"]:
        assert len(json.dumps(job)) <= 120


def _interrupted(service: Emulator, folder: Path, **more: Any) -> dict[str, Any]:
    tap = Tap(folder, settings_of(service, end_date=END, **more))
    while len(service.jobs) < 4:
        time.sleep(0.01)
    tap.process.send_signal(signal.SIGTERM)
    outcome = tap.end()
    assert partition(outcome.states[-1])["jobs"]
    return outcome.states[-1]


def test_a_job_that_the_service_has_forgotten_is_started_anew(
    service: Emulator, tmp_path: Path
) -> None:
    state = _interrupted(service, tmp_path)
    service.forget_jobs()
    outcome = sync(settings_of(service, end_date=END), state)
    assert outcome.error is None
    assert outcome.bookmarks == {"WATCHLIST": END}


@pytest.mark.parametrize(
    "other", [{"delimiter": ";"}, {"event_types": ["WATCHLIST-CREATED"]}, {"customer": "OTHER"}]
)
def test_a_job_that_was_asked_for_something_else_is_not_used(
    service: Emulator, tmp_path: Path, other: dict[str, Any]
) -> None:
    state = _interrupted(service, tmp_path)
    for at in state["bookmarks"]["events"]["partitions"]:
        at["context"]["customer"] = other.get("customer", "TGAM")
    before = len(service.jobs)
    outcome = sync(settings_of(service, end_date=END, **other), state)
    assert outcome.error is None
    assert outcome.bookmarks == {"WATCHLIST": END}
    assert len(service.jobs) - before == 8


@pytest.mark.parametrize("fault", ["job-timeout", "job-hangs"])
def test_a_job_that_was_too_large_for_a_window_that_is_not_split_is_started_anew(
    service: Emulator, tmp_path: Path, fault: str
) -> None:
    # An earlier run may have cut windows smaller than this one may.
    service.job_seconds = 30
    service.fault("start", fault, times=4)
    state = _interrupted(service, tmp_path)
    for job in partition(state)["jobs"]:
        job[3] -= 1800
    service.job_seconds = 0
    config = settings_of(service, end_date=END, min_window_seconds=3600)
    outcome = sync(config, state)
    assert outcome.error is None
    assert outcome.bookmarks == {"WATCHLIST": END}


def test_a_job_that_was_asked_for_event_types_is_taken_over_without_a_warning(
    service: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    types = {"event_types": ["WATCHLIST-CREATED"]}
    state = _interrupted(service, tmp_path, **types)
    outcome = sync(settings_of(service, end_date=END, **types), state)
    assert outcome.bookmarks == {"WATCHLIST": END}
    assert set(starts(service).values()) == {1}
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_job_that_is_taken_over_has_its_event_types_checked(
    service: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    types = {"event_types": ["WATCHLIST-CREATED"]}
    state = _interrupted(service, tmp_path, **types)
    service.fault("poll", "filter", types=["ANOTHER-TYPE"])
    sync(settings_of(service, end_date=END, **types), state)
    assert "the service echoes other event types" in caplog.text


def test_a_file_that_is_too_large_is_exported_anew_in_smaller_windows(
    service: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_barchart_events.api.download.MAX_FILE_BYTES", 8_000)
    failed = sync(settings_of(service, end_date=END, window_hours=4, max_concurrent_jobs=1))
    assert "lower window_hours" in str(failed.error)
    outcome = sync(settings_of(service, end_date=END), failed.states[-1])
    assert outcome.error is None
    assert outcome.bookmarks == {"WATCHLIST": END}


def test_jobs_of_other_windows_are_not_used_though_the_service_echoes_no_filter(
    service: Emulator, tmp_path: Path
) -> None:
    service.fault("start", "no-filter", times=None)
    service.fault("poll", "no-filter", times=None)
    state = _interrupted(service, tmp_path)
    jobs = partition(state)["jobs"]
    for job, other in zip(jobs, [*jobs[1:], jobs[0]], strict=True):
        job[0], other[0] = other[0], job[0]
    service.job_seconds = 0.0
    outcome = sync(settings_of(service, end_date=END), state)
    assert outcome.error is None
    whole = sync(settings_of(service, end_date=END))
    ids = [sorted(record["event_id"] for record in run.records) for run in (outcome, whole)]
    assert ids[0] == ids[1]


def test_a_full_disk_keeps_the_finished_jobs(
    service: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings_of(service, end_date=END)
    with monkeypatch.context() as patched:
        patched.setattr("tap_barchart_events.api.download.os.fdopen", _full_disk)
        failed = sync(config)
    assert "free space" in str(failed.error)
    outcome = sync(config, failed.states[-1])
    assert outcome.error is None
    assert set(starts(service).values()) == {1}


def _full_disk(descriptor: int, mode: str) -> None:
    os.close(descriptor)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), mode)


def sources(state: dict[str, Any]) -> set[str]:
    """Return the names of the jobs in a STATE."""
    return {job[0] for job in partition(state).get("jobs", [])}


def requested(service: Emulator, names: set[str]) -> list[str]:
    """Return the paths of the requests about some jobs."""
    paths = [request.path for request in service.requests]
    return [path for path in paths if any(name in path for name in names)]


def test_a_connection_test_uses_no_jobs_and_writes_none(service: Emulator, tmp_path: Path) -> None:
    state = _interrupted(service, tmp_path)
    service.requests.clear()
    config = settings_of(service, end_date=END)
    outcome = Tap(tmp_path, config, state, arguments=("--test",)).end()
    assert outcome.code == 0
    assert outcome.written == b""
    assert requested(service, sources(state)) == []


@pytest.mark.parametrize("mode", ["one by one", "files"])
def test_a_full_table_sync_uses_no_jobs_and_writes_none(
    service: Emulator, tmp_path: Path, mode: str
) -> None:
    state = _interrupted(service, tmp_path)
    config = settings_of(service, end_date=END, **output_mode(mode, tmp_path, 20))
    catalog = TapBarchartEvents(config=config).catalog_dict
    catalog["streams"][0]["replication_method"] = "FULL_TABLE"
    service.requests.clear()
    before = len(service.jobs)
    first = _run(config, state, catalog, tmp_path)
    assert len(service.jobs) - before == 8, "all windows from start_date on"
    assert requested(service, sources(state)) == []
    assert all(sources(written) <= sources(state) for written in first.states), "as it came"
    second = _run(config, None, catalog, tmp_path)
    assert not any(written.get("bookmarks") for written in second.states)


def _run(config: dict[str, Any], state: Any, catalog: dict[str, Any], folder: Path) -> Outcome:
    path = folder / "catalog.json"
    path.write_text(json.dumps(catalog), encoding="utf-8")
    outcome = Tap(folder, config, state, arguments=(f"--catalog={path}",)).end()
    assert outcome.code == 0, outcome.log[-2000:]
    return outcome


def test_each_state_names_the_jobs_under_way_when_it_was_written(
    service: Emulator, tmp_path: Path
) -> None:
    # The SDK would write one after each batch file, with the jobs of the one before.
    config = settings_of(service, **output_mode("files", tmp_path, 20))
    outcome = sync(config)
    assert [m["type"] for m in outcome.messages].count("BATCH") > 8
    written = [bookmarks(state)["WATCHLIST"] for state in outcome.states]
    assert len(set(written)) == len(written) == 4, "one when a window is finished, and no other"


def test_a_job_whose_file_this_machine_cannot_read_is_not_started_again(
    service: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings_of(service, end_date=END)
    with monkeypatch.context() as patched:
        patched.setattr(engine, "_configured", _too_little_memory)
        failed = sync(config)
    assert "memory" in str(failed.error)
    outcome = sync(config, failed.states[-1])
    assert outcome.error is None
    assert set(starts(service).values()) == {1}


def _too_little_memory(*_: object) -> None:
    raise MemoryError


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
INSTANT = st.integers(1_772_400_000_000, 1_772_440_000_000)
ENTRY = st.tuples(
    st.sampled_from(["JOB-1", "..", "", "a/b", "JOB-ä", "x" * 65, "%2e%2e"]) | st.text(max_size=70),
    INSTANT,
    INSTANT,
    st.sampled_from(["now", 0, -1, 10**20]),
    st.sampled_from(["right", "00000000", ""]),
).map(list)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(jobs=JSON | st.lists(JSON | ENTRY, max_size=8), learnt=JSON)
@pytest.mark.usefixtures("hardly_waiting")
def test_whatever_state_holds_beside_the_bookmark_costs_no_event_and_no_error(
    service: Emulator,
    jobs: Any,
    learnt: Any,
) -> None:
    service.job_seconds, service.events_per_hour = 0.0, 20
    config = settings_of(service)
    first = sync({**config, "end_date": "2026-03-02T01:00:00.000+00:00"})
    state = copy.deepcopy(first.states[-1])
    partition(state).update(jobs=_with_fingerprint(jobs, config), learnt=learnt)
    outcome = sync(config, json.loads(json.dumps(state)))
    assert outcome.error is None
    assert bookmarks(outcome.states[0])["WATCHLIST"] >= bookmarks(state)["WATCHLIST"]
    assert outcome.bookmarks == {"WATCHLIST": config["end_date"]}
    whole = sync(config)
    ids = [record["event_id"] for record in [*first.records, *outcome.records]]
    assert sorted(ids) == sorted(record["event_id"] for record in whole.records)


def _with_fingerprint(jobs: Any, config: dict[str, Any]) -> Any:
    """Fill in the fingerprint of the run and the present time where an example asks for them."""
    if not isinstance(jobs, list):
        return jobs
    request = Request(config["customer"], (), "|")
    return [
        [
            *job[:3],
            int(time.time()) if job[3] == "now" else job[3],
            request.fingerprint("WATCHLIST", job[0], Window(job[1], job[2])),
        ]
        if isinstance(job, list) and len(job) == 5 and job[4] == "right"
        else job
        for job in jobs
    ]
