"""Which jobs of an earlier run are taken over, and why the others are not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tap_barchart_events.exports.saved_jobs import Request, SavedJob, usable_jobs
from tap_barchart_events.windows import Window

HOUR = 3_600_000
REQUEST = Request("TGAM", [], "|")


def job_of(number: int, start: int = 0, end: int = HOUR, after: int = 0) -> SavedJob:
    """Return a job that was started so many seconds after ``JOB``."""
    source, window = f"JOB-{number}", Window(start, end)
    fingerprint = REQUEST.fingerprint("A", source, window)
    return SavedJob(source, window, 4 * 3600 + after, fingerprint)


JOB = job_of(1)


def used(*jobs: Any, after: int = 60, **options: Any) -> list[SavedJob]:
    """Return which of some jobs are used, so many seconds after the start of ``JOB``."""
    usual: dict[str, Any] = {
        "span": Window(0, 4 * HOUR),
        "request": REQUEST,
        "product": "A",
        "now": JOB.started + after,
        "most": 2,
        "largest": HOUR,
        "lag": 0,
        "lookback": 0,
    }
    values = [job.to_json() if isinstance(job, SavedJob) else job for job in jobs or [JOB]]
    return usable_jobs(values, **{**usual, **options})


def test_a_job_of_this_request_and_range_is_used() -> None:
    assert used() == [JOB]


@pytest.mark.parametrize(
    ("job", "options"),
    [
        (JOB, {"span": Window(1, 4 * HOUR)}),
        (JOB, {"span": Window(0, HOUR - 1)}),
        (JOB, {"largest": HOUR - 1}),
        (JOB, {"product": "B"}),
        (replace(JOB, window=Window(0, HOUR - 1)), {}),
        (job_of(1, HOUR, HOUR), {}),
        (job_of(1, HOUR, 0), {}),
        (JOB, {"after": 3601}),
        (JOB, {"after": -61}),
        (JOB, {"lag": 3 * HOUR + 1_001}),
    ],
)
def test_a_job_that_may_cost_events_is_not_used(job: SavedJob, options: dict[str, Any]) -> None:
    assert used(job, **options) == []


def test_of_two_jobs_that_overlap_one_is_used() -> None:
    assert used(job_of(2, 1), JOB) == [JOB]
    beside = job_of(3, HOUR, 2 * HOUR)
    assert used(beside, job_of(2, 1), JOB) == [JOB, beside]


def test_no_more_jobs_are_used_than_windows_may_be_issued() -> None:
    jobs = [job_of(n, n * HOUR, (n + 1) * HOUR) for n in range(4)]
    assert used(*reversed(jobs)) == jobs[:2]


def test_of_two_jobs_for_one_window_the_later_one_is_used() -> None:
    later = job_of(2, after=1)
    assert used(JOB, later) == [later]


def test_entries_that_are_no_jobs_are_not_used(caplog: pytest.LogCaptureFixture) -> None:
    others = [None, [], ["JOB-2", 1, 0, 0, ""], {"source": "JOB-3"}, JOB.to_json()[:4], "JOB-4"]
    with caplog.at_level("DEBUG"):
        assert used(JOB, *others) == [JOB]
    assert caplog.messages == ["STATE: 1 of 7 jobs are used"]


def test_a_job_whose_name_is_no_source_is_not_used() -> None:
    for source in ("", "..", "x" * 65, "JOB-\xe4"):
        fingerprint = REQUEST.fingerprint("A", source, JOB.window)
        assert used(replace(JOB, source=source, fingerprint=fingerprint)) == []


def test_a_job_that_started_within_the_lag_of_its_window_is_not_used() -> None:
    assert used(lag=3 * HOUR) == [JOB]
    assert used(lag=3 * HOUR + 2_000) == [], "the lag was smaller when it was started"


def test_with_a_lookback_a_job_is_used_if_the_next_run_reads_its_window_again() -> None:
    assert used(lookback=4 * HOUR) == [JOB]
    assert used(lookback=4 * HOUR, lag=3 * HOUR + 2_000) == []
    assert used(lookback=4 * HOUR - 1) == [], "only this run finds its late events"
    assert used(lookback=3 * HOUR) == [JOB], "late events had arrived when it was started"


def test_a_job_that_seems_to_start_later_than_now_starts_now() -> None:
    (job,) = used(after=-30)
    assert job.started == JOB.started - 30


def test_the_fingerprint_differs_with_each_part_of_a_request() -> None:
    requests = [
        REQUEST,
        replace(REQUEST, customer="OTHER"),
        replace(REQUEST, types=["T"]),
        replace(REQUEST, delimiter=";"),
    ]
    prints = [
        request.fingerprint(product, source, window)
        for request in requests
        for product in "AB"
        for source in ("JOB-1", "JOB-2")
        for window in (Window(0, 1), Window(0, 2), Window(1, 2))
    ]
    assert len(set(prints)) == 4 * 2 * 2 * 3
    assert len({request.fingerprint() for request in requests}) == 4
    both = [
        replace(REQUEST, types=types).fingerprint("A", "JOB-1", Window(0, 1))
        for types in (["T", "U"], ["U", "T"])
    ]
    assert both[0] == both[1], "the order of types does not matter"
