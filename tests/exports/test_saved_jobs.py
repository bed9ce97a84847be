"""Which jobs of an earlier run are taken over, and why the others are not."""

from dataclasses import replace
from typing import Any

import pytest

from tap_barchart_events.exports.saved_jobs import Request, SavedJob
from tap_barchart_events.windows import HOUR, Window

REQUEST = Request("TGAM", [], "|")


JOB = SavedJob(
    "JOB-1", Window(0, HOUR), 4 * 3600, REQUEST.fingerprint("A", "JOB-1", Window(0, HOUR))
)


def is_used(job: SavedJob = JOB, *, after: int = 60, product: str = "A", **options: int) -> bool:
    """Return whether a job is used, so many seconds after the start of ``JOB``."""
    at: dict[str, int] = {"now": JOB.started + after, "lag": 0, "lookback": 0, **options}
    return job.is_usable(REQUEST, product, Window(0, 4 * HOUR), **at)


def test_a_job_of_this_request_is_used() -> None:
    assert is_used()


@pytest.mark.parametrize(
    ("job", "options"),
    [
        (JOB, {"product": "B"}),
        (replace(JOB, source="JOB-2"), {}),
        (replace(JOB, window=Window(0, HOUR - 1)), {}),
        (JOB, {"after": 3601}),
        (JOB, {"after": -61}),
        (JOB, {"lag": 3 * HOUR + 1}),
    ],
)
def test_a_job_that_may_cost_events_is_not_used(job: SavedJob, options: dict[str, Any]) -> None:
    assert not is_used(job, **options)


def test_what_is_written_is_read_and_entries_that_are_no_jobs_are_not() -> None:
    assert SavedJob.from_json(JOB.to_json()) == JOB
    for value in [None, [], ["JOB-2", 1, 0, 0], {"source": "JOB-3"}, JOB.to_json()[:4], "JOB-4"]:
        assert SavedJob.from_json(value) is None


def test_a_job_that_started_within_the_lag_of_its_window_is_not_used() -> None:
    assert is_used(lag=3 * HOUR)
    assert not is_used(lag=3 * HOUR + 1), "the lag was smaller when it was started"


def test_with_a_lookback_a_job_is_used_if_the_next_run_reads_its_window_again() -> None:
    assert is_used(lookback=4 * HOUR)
    assert not is_used(lookback=4 * HOUR, lag=3 * HOUR + 1)
    assert not is_used(lookback=4 * HOUR - 1), "only this run finds its late events"
    assert is_used(lookback=3 * HOUR), "late events had arrived when it was started"


def test_a_job_that_seems_to_start_later_than_now_is_used() -> None:
    assert is_used(after=-30), "the clock was set back"


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
