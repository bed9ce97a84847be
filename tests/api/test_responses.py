"""What is received is checked against the requested export: the echoed filter of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tap_barchart_events.api.retry import RetryPolicy
from tap_barchart_events.exceptions import JobMismatchError, ServiceError

if TYPE_CHECKING:
    from barchart_events_emulator import Emulator
    from tap_barchart_events.api.client import ReportsClient

REQUESTED: dict[str, Any] = {"customer": "TGAM", "product": "WATCHLIST", "start": 1000, "end": 2000}


@pytest.fixture
def client_options(emulator: Emulator) -> dict[str, Any]:
    return {
        "api_url": emulator.api_url,
        "username": emulator.username,
        "password": emulator.password,
        "retry": RetryPolicy(attempts=1),
    }


def job_object(source: str = "JOB-1", **more: Any) -> dict[str, Any]:
    return {"source": source, "status": "RUNNING", **more}


OTHER_EXPORTS = [
    {"customer": "BARCHART"},
    {"customer": {"code": "BARCHART"}},
    {"product": "PORTFOLIO"},
    {"start": 1001},
    {"start": "1001"},
    {"start": "1970-01-01T00:00:01.001Z"},
    {"start": "9" * 5000},
    {"end": 1998.5},
    {"end": "1970-01-01T02:00:01.998+02:00"},
    REQUESTED | {"end": 0},
]


@pytest.mark.parametrize("echo", OTHER_EXPORTS, ids=lambda echo: repr(echo)[:40])
def test_a_job_that_is_started_for_another_export_is_not_used(
    client: ReportsClient, emulator: Emulator, echo: dict[str, Any]
) -> None:
    emulator.fault("start", "shape", value=job_object(filter=echo))
    with pytest.raises(JobMismatchError, match=f"another export.*{[*echo][-1]}"):
        client.start(**REQUESTED)


@pytest.mark.parametrize("echo", OTHER_EXPORTS, ids=lambda echo: repr(echo)[:40])
def test_a_job_that_is_polled_for_another_export_is_not_used(
    client: ReportsClient, emulator: Emulator, echo: dict[str, Any]
) -> None:
    source = client.start(**REQUESTED).source
    emulator.fault("poll", "shape", value=job_object(source, filter=echo))
    with pytest.raises(JobMismatchError, match=f"another export.*{[*echo][-1]}"):
        client.poll(source)


@pytest.mark.parametrize(
    "echo",
    [
        REQUESTED,
        {"start": "1000", "end": "2000"},
        {"start": 1000.0, "end": "2000.0"},
        {"start": 0, "end": 1999},
        {"start": "1970-01-01", "end": "1970-01-01T00:00:02"},
        {"customer": " tgam", "product": {"code": "Watchlist"}},
        {"customer": ["TGAM"], "product": {}, "start": "yesterday", "end": "NaN"},
        {"start": "sNaN", "end": True},
        {"start": {}, "end": "Infinity"},
        {"customer": None, "start": None},
        {"output": {"delimiter": ";"}},
        {},
        None,
        "WATCHLIST",
        [],
    ],
    ids=repr,
)
def test_an_echoed_filter_that_covers_the_requested_one_is_accepted(
    client: ReportsClient, emulator: Emulator, echo: object
) -> None:
    emulator.fault("start", "shape", value=job_object(filter=echo))
    assert client.start(**REQUESTED).source == "JOB-1"


@pytest.mark.parametrize("source", [".", "..", "J" * 201, "JOB\n1", "", None, 5])
def test_a_source_that_names_no_job_is_not_used(
    client: ReportsClient, emulator: Emulator, source: Any
) -> None:
    emulator.fault("start", "shape", value=job_object(source))
    with pytest.raises(ServiceError, match="not as documented"):
        client.start(**REQUESTED)


@pytest.mark.parametrize("echo", [REQUESTED, None])
def test_one_job_is_not_used_for_two_windows(
    client: ReportsClient, emulator: Emulator, echo: object
) -> None:
    emulator.fault("start", "shape", value=job_object(filter=echo), times=3)
    client.start(**REQUESTED)
    client.start(**REQUESTED)
    with pytest.raises(JobMismatchError, match="JOB-1"):
        client.start(**{**REQUESTED, "start": 2000, "end": 3000})


@pytest.mark.parametrize(
    ("requested", "echoed", "warnings"),
    [
        (("A", "B"), ["B", "A"], 0),
        (("A", "B"), ["A"], 1),
        (("A", "B"), [{"code": "b"}, "a"], 0),
        (("A",), [], 1),
        (("A",), "B", 0),
        (("A",), [["B"]], 0),
        ((), ["A"], 0),
    ],
)
def test_other_types_than_were_asked_for_are_one_warning(
    client: ReportsClient,
    emulator: Emulator,
    caplog: pytest.LogCaptureFixture,
    requested: tuple[str, ...],
    echoed: object,
    warnings: int,
) -> None:
    for source in ("JOB-1", "JOB-2"):
        emulator.fault("start", "shape", value=job_object(source, filter={"types": echoed}))
        client.start(**REQUESTED, types=requested)
    messages = [record.getMessage() for record in caplog.records]
    assert sum("event types" in message for message in messages) == warnings
