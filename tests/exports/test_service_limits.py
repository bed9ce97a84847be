"""A service that runs fewer jobs than the tap may have in flight, and one that is out of order."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import pytest

from barchart_events_emulator import Emulator
from tap_barchart_events.api.client import ReportsClient
from tap_barchart_events.api.http import RetryPolicy
from tap_barchart_events.exports.export import JobRetryPolicy, Limits
from tap_barchart_events.exports.exporter import Exporter
from tap_barchart_events.exports.planner import WindowPlanner
from tap_barchart_events.exports.saved_jobs import Request
from tap_barchart_events.windows import Window
from tests.exports.doubles import counted_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOUR = 3_600_000
START = 492_000 * HOUR
JOB_SECONDS = 0.5


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=JOB_SECONDS, job_variation=0.25, events_per_hour=20) as emulator:
        yield emulator


def run(
    service: Emulator,
    folder: Path,
    *,
    jobs: int,
    windows: int = 12,
    during: Callable[[int], object] = lambda _: None,
    job_retry: JobRetryPolicy | None = None,
) -> None:
    """Export some windows; check that all come.

    Args:
        service: The service.
        folder: Where files go.
        jobs: Jobs in flight at most.
        windows: How many windows of an hour.
        during: Called after each window with the number of windows so far.
        job_retry: When a job that failed is replaced.
    """
    span = Window(START, START + windows * HOUR)
    stopped = threading.Event()
    client = ReportsClient(
        service.api_url,
        service.username,
        service.password,
        stopped=stopped,
        retry=RetryPolicy(attempts=3),
    )
    exporter = Exporter(
        client,
        {"ALERT": WindowPlanner(span, largest=HOUR, smallest=1000, jobs=jobs)},
        request=Request("TGAM", (), "|"),
        limits=Limits(jobs, 60, 0.05),
        directory=folder,
        stopped=stopped,
        open_file=counted_file,
        retry=job_retry,
    )
    try:
        position = START
        for count, (export, _) in enumerate(exporter.of("ALERT"), 1):
            assert export.window.start == position
            position = export.window.end
            during(count)
        assert position == span.end
    finally:
        exporter.close()
        client.close()


def refusals(service: Emulator) -> int:
    """Return how many starts were not accepted."""
    return sum(request.call == "start" for request in service.requests) - len(service.jobs)


@pytest.mark.parametrize("retry_after", [None, 0, 1])
def test_a_limit_of_one_costs_few_refusals_and_no_job(
    service: Emulator, tmp_path: Path, retry_after: float | None
) -> None:
    # What it costs in time: test_simulated_service.py, where time is a number.
    service.max_running_jobs, service.refusal_retry_after = 1, retry_after
    run(service, tmp_path, jobs=4)
    assert len(service.jobs) == 12
    assert 0 < refusals(service) < 12


@pytest.mark.parametrize("status", [429, 503])
def test_a_limit_of_two_of_eight_is_found_and_logged_once(
    service: Emulator, tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    service.max_running_jobs, service.refusal_status = 2, status
    run(service, tmp_path, jobs=8, windows=16)
    lines = [record.getMessage() for record in caplog.records]
    found = [line for line in lines if "export jobs at once" in line]
    assert found[-1] == "the service accepts 2 export jobs at once (max_concurrent_jobs is 8)"
    assert len(found) <= 3
    assert not [line for line in lines if "try 2 of" in line], "a refusal is no failure"
    assert len(service.jobs) == 16
    assert refusals(service) < 14


def test_a_limit_that_rises_is_used(service: Emulator, tmp_path: Path) -> None:
    service.max_running_jobs = 1
    running = []

    def watch(count: int) -> None:
        if count == 4:
            service.max_running_jobs = 6
        running.append(sum(job.ended is None for job in service.jobs))

    run(service, tmp_path, jobs=6, windows=40, during=watch)
    assert max(running[:4]) == 1
    assert max(running) > 3


def test_a_limit_that_falls_ends_nothing(service: Emulator, tmp_path: Path) -> None:
    def fall(count: int) -> None:
        if count == 4:
            service.max_running_jobs = 1

    run(service, tmp_path, jobs=4, windows=16, during=fall)
    assert len(service.jobs) == 16


def test_an_outage_of_the_services_jobs_is_outlived(service: Emulator, tmp_path: Path) -> None:
    # A sixtieth of an outage of a minute, with a sixtieth of the pauses; in full, simulated, in
    # test_simulated_service.py.
    usual = JobRetryPolicy()
    retry = JobRetryPolicy(
        waits=tuple(wait / 60 for wait in usual.waits),
        wait_max=usual.wait_max / 60,
        forgotten_wait=usual.forgotten_wait / 60,
    )
    service.job_seconds = 0.1
    service.outage(seconds=1)
    run(service, tmp_path, jobs=4, job_retry=retry)
    assert len(service.jobs) > 12, "those that failed were replaced"


def test_the_pauses_after_failures_outlive_several_minutes() -> None:
    shortest = [wait / 2 for wait in JobRetryPolicy().waits]
    assert len(shortest) == 3
    assert sum(shortest) > 180
