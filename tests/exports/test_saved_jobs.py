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
    ("job", "options", "reason"),
    [
        (JOB, {"span": Window(1, 4 * HOUR)}, "not within what this run covers"),
        (JOB, {"span": Window(0, HOUR - 1)}, "not within what this run covers"),
        (JOB, {"largest": HOUR - 1}, "larger than window_hours"),
        (JOB, {"product": "B"}, "its request differs"),
        (replace(JOB, window=Window(0, HOUR - 1)), {}, "its entry is damaged"),
        (JOB, {"after": 3601}, "not started within the last 60 minutes"),
        (JOB, {"after": -61}, "not started within the last 60 minutes"),
        (JOB, {"lag": 3 * HOUR + 1_001}, "events may have been late"),
    ],
)
def test_a_job_that_is_not_used_is_one_line_at_debug_level(
    caplog: pytest.LogCaptureFixture, job: SavedJob, options: dict[str, Any], reason: str
) -> None:
    with caplog.at_level("DEBUG"):
        assert used(job, **options) == []
    (line,) = caplog.records
    assert line.levelname == "DEBUG"
    assert reason in line.getMessage()
    assert "JOB-1" in line.getMessage()


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ([job_of(2, 1)], "overlaps that of another one"),
        ([job_of(1, HOUR, 2 * HOUR)], "another window has the same job"),
    ],
)
def test_of_two_jobs_that_exclude_each_other_one_is_used(
    caplog: pytest.LogCaptureFixture, others: list[SavedJob], reason: str
) -> None:
    with caplog.at_level("DEBUG"):
        assert used(*others, JOB) == [JOB]
    assert reason in caplog.text


def test_no_more_jobs_are_used_than_windows_may_be_issued(caplog: pytest.LogCaptureFixture) -> None:
    jobs = [job_of(n, n * HOUR, (n + 1) * HOUR) for n in range(4)]
    with caplog.at_level("DEBUG"):
        assert used(*reversed(jobs)) == jobs[:2]
    assert caplog.text.count("no more than 2 are taken over") == 2


def test_of_two_jobs_for_one_window_the_later_one_is_used() -> None:
    later = job_of(2, after=1)
    assert used(JOB, later) == [later]


def test_entries_that_are_no_jobs_are_counted_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        assert used(JOB, None, [], ["JOB-2", 1, 0, 0, ""], {"source": "JOB-3"}) == [JOB]
    assert caplog.messages == ["STATE: 4 entries of jobs cannot be read"]


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
    both = [
        replace(REQUEST, types=types).fingerprint("A", "JOB-1", Window(0, 1))
        for types in (["T", "U"], ["U", "T"])
    ]
    assert both[0] == both[1], "the order of types does not matter"
