"""Which jobs of an earlier run are resumed, and why the others are not."""

from dataclasses import replace
from typing import Any

import pytest

from tap_barchart_events.exports.saved_jobs import Request, SavedJob
from tap_barchart_events.windows import HOUR, Window

REQUEST = Request("TGAM", [], "|")


JOB = SavedJob(
    "JOB-1", Window(0, HOUR), 4 * 3600, REQUEST.fingerprint("A", "JOB-1", Window(0, HOUR))
)


def is_used(job: SavedJob = JOB, *, after: int = 60, product: str = "A", **options: Any) -> bool:
    """Return whether a job is used, so many seconds after the start of ``JOB``."""
    at: dict[str, int] = {"now": JOB.started + after, "lag": 0, "lookback": 0, **options}
    return job.is_usable(REQUEST, product, Window(0, 4 * HOUR), **at)


@pytest.mark.parametrize(
    ("options", "used"),
    [
        ({}, True),
        ({"product": "B"}, False),
        ({"job": replace(JOB, source="JOB-2")}, False),
        ({"job": replace(JOB, window=Window(0, HOUR - 1))}, False),
        ({"after": 3601}, False),
        # The clock was set back.
        ({"after": -30}, True),
        ({"after": -61}, False),
        # The lag was smaller when it was started.
        ({"lag": 3 * HOUR}, True),
        ({"lag": 3 * HOUR + 1}, False),
        # With a lookback, the next run may read its window again.
        ({"lookback": 4 * HOUR}, True),
        ({"lookback": 4 * HOUR, "lag": 3 * HOUR + 1}, False),
        # Only this run finds its late events.
        ({"lookback": 4 * HOUR - 1}, False),
        # Late events had arrived when it was started.
        ({"lookback": 3 * HOUR}, True),
    ],
)
def test_a_job_is_used_if_it_is_of_this_request_and_costs_no_event(
    options: dict[str, Any], *, used: bool
) -> None:
    assert is_used(**options) is used


def test_what_is_written_is_read_and_entries_that_are_no_jobs_are_not() -> None:
    assert SavedJob.from_json(JOB.to_json()) == JOB
    for value in [None, [], ["JOB-2", 1, 0, 0], {"source": "JOB-3"}, JOB.to_json()[:4], "JOB-4"]:
        assert SavedJob.from_json(value) is None


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
    in_any_order = [replace(REQUEST, types=types) for types in (["T", "U"], ["U", "T"])]
    prints = [request.fingerprint("A", "JOB-1", Window(0, 1)) for request in in_any_order]
    assert prints[0] == prints[1]
