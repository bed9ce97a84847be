"""A service that runs fewer jobs than the tap may have in flight, and one that is out of order."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from barchart_events_emulator import Emulator
from tap_barchart_events.exports.jobs import JobPolicy
from tap_barchart_events.windows import Window
from tests.exports.conftest import HOUR, QUICK, START, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_barchart_events.exports.exporter import Exporter

JOB_SECONDS = 0.5


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=JOB_SECONDS, job_variation=0.25, events_per_hour=20) as emulator:
        yield emulator


def run(
    exports: Exporter, *, windows: int = 16, during: Callable[[int], object] = lambda _: None
) -> None:
    """Export some windows of an hour; check that all come.

    Args:
        exports: The exports.
        windows: How many windows there are.
        during: Called after each window with the number of windows so far.
    """
    counts = iter(range(1, windows + 1))
    result = read(exports, between=lambda: during(next(counts)))
    assert result.error is None
    assert result.covered() == Window(START, START + windows * HOUR)


@pytest.mark.parametrize("status", [429, 503])
def test_a_limit_of_two_of_eight_is_found_and_logged_once(
    service: Emulator,
    make: Callable[..., Exporter],
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    service.max_running_jobs, service.refusal_status = 2, status
    run(make(hours=16, jobs=8))
    lines = [record.getMessage() for record in caplog.records]
    found = [line for line in lines if "export jobs at once" in line]
    assert found[-1] == "the service accepts 2 export jobs at once (max_concurrent_jobs is 8)"
    assert len(found) <= 3
    assert "try 2 of" not in caplog.text, "a refusal is no failure"
    assert len(service.jobs) == 16


def test_a_limit_that_rises_is_used(service: Emulator, make: Callable[..., Exporter]) -> None:
    service.max_running_jobs = 1
    running = []

    def watch(count: int) -> None:
        if count == 4:
            service.max_running_jobs = 6
        running.append(sum(job.ended is None for job in service.jobs))

    run(make(hours=40, jobs=6), windows=40, during=watch)
    assert max(running[:4]) == 1
    assert max(running) > 3


def test_a_limit_that_falls_ends_nothing(service: Emulator, make: Callable[..., Exporter]) -> None:
    def fall(count: int) -> None:
        if count == 4:
            service.max_running_jobs = 1

    run(make(hours=16, jobs=4), during=fall)
    assert len(service.jobs) == 16


def test_an_outage_of_the_services_jobs_is_outlived(
    service: Emulator, make: Callable[..., Exporter]
) -> None:
    # A sixtieth of an outage of a minute, with a sixtieth of the pauses; in full, simulated, in
    # test_simulated_service.py.
    waits = tuple(wait / 60 for wait in JobPolicy().waits)
    service.job_seconds = 0.1
    service.outage(seconds=1)
    run(make(hours=16, policy=replace(QUICK, waits=waits)))
    assert len(service.jobs) > 16, "those that failed were replaced"


def test_the_pauses_after_failures_outlive_several_minutes() -> None:
    shortest = [wait / 2 for wait in JobPolicy().waits]
    assert len(shortest) == 3
    assert sum(shortest) > 180
