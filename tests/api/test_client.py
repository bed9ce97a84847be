"""The service's calls over real HTTP: start, poll, link, and retries."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from barchart_events_emulator import Emulator
from tap_barchart_events.api.client import ReportsClient
from tap_barchart_events.api.http import RetryPolicy, retry_after
from tap_barchart_events.exceptions import (
    CredentialsError,
    JobFailedError,
    JobForgottenError,
    JobNotReadyError,
    ServiceError,
    SyncStopped,
    TransientError,
)
from tap_barchart_events.exports.saved_jobs import Request
from tap_barchart_events.windows import Window
from tests.api.jobs import QUICK, export

EMULATOR = {"job_seconds": 0}

REQUESTED: dict[str, Any] = {"customer": "TGAM", "product": "WATCHLIST", "start": 1000, "end": 2000}


def finished_job(client: ReportsClient) -> str:
    job = client.start(export())
    while job.status == "RUNNING":
        job = client.poll(job.source)
    assert job.status == "COMPLETE"
    return job.source


def calls(service: Emulator, call: str) -> int:
    return sum(request.call == call for request in service.requests)


# The calls ---------------------------------------------------------------------------------


def test_a_job_is_started_as_documented(client: ReportsClient, service: Emulator) -> None:
    window = Window(1, 2)
    client.start(Request("TGAM", (), "|").filter("WATCHLIST", window), "|")
    client.start(Request("A", ("X", "Y"), ";").filter("B", window), ";")
    plain, special = (request.body for request in service.requests)
    # The vendor's public schema reader depends on the order of the keys, and on numbers.
    assert list(plain["filter"]) == ["customer", "product", "start", "end"]
    assert list(special["filter"]) == ["customer", "product", "types", "start", "end"]
    assert list(special) == ["filter", "output"]
    assert [type(special["filter"][key]) for key in ("start", "end")] == [int, int]
    assert plain == {"filter": {"customer": "TGAM", "product": "WATCHLIST", "start": 1, "end": 2}}
    assert special["filter"]["types"] == ["X", "Y"]
    assert special["output"] == {"delimiter": ";"}
    agent = service.requests[0].headers["user-agent"]
    assert agent.startswith("tap-barchart-events/")


@pytest.mark.parametrize(
    ("status", "which"), [(401, "username, password"), (403, "products, username")]
)
def test_refused_credentials_are_not_tried_again(
    client: ReportsClient, service: Emulator, status: int, which: str
) -> None:
    service.fault("start", "status", code=status, times=None)
    with pytest.raises(CredentialsError, match=rf"{status} \(\w+\); check {which}, "):
        finished_job(client)
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("EVENT_JOB_GET_FAILED", JobFailedError),
        ("EVENT_JOB_GET_FAILED_RUNNING", JobNotReadyError),
        ("EVENT_JOB_GET_FAILED_NO_JOB", JobForgottenError),
    ],
)
def test_a_documented_error_is_known_and_not_tried_again(
    client: ReportsClient, service: Emulator, code: str, expected: type[Exception]
) -> None:
    source = finished_job(client)
    service.fault("link", "error", code=code)
    with pytest.raises(expected, match=code):
        client.link(source)
    assert calls(service, "link") == 1


def test_a_response_about_another_job_is_refused(client: ReportsClient, service: Emulator) -> None:
    source = finished_job(client)
    service.fault("poll", "shape", value={"source": "JOB-other", "status": "COMPLETE"})
    with pytest.raises(JobFailedError, match="job JOB-other, which is for another export"):
        client.poll(source)


TIMINGS: list[tuple[Any, float | None]] = [
    ({"day": "2019-10-14", "start": 1571078514202, "end": 1571078528202}, 14),
    ({"start": "1571078514202", "end": "1571078528202"}, 14),
    ({"start": 1571078514202}, None),
    ({"start": [], "end": {}}, None),
    ({"start": 1, "end": 10**400}, None),
    ({"start": 1, "end": "inf"}, None),
    ({"start": 1, "end": "nan"}, None),
    ({"start": 2, "end": 1}, None),
    (None, None),
]


@pytest.mark.parametrize(("timing", "seconds"), TIMINGS)
def test_a_timing_that_is_not_as_documented_is_ignored(
    client: ReportsClient,
    service: Emulator,
    timing: Any,
    seconds: float | None,
) -> None:
    value = {"source": "JOB-1", "status": "RUNNING", "timing": timing}
    service.fault("start", "shape", value=value)
    job = client.start(REQUESTED)
    assert job.seconds == seconds
    assert len(service.requests) == 1


@pytest.mark.parametrize("source", ["", "JOB\n1", "JOB\x1b[2J", "JOB\u202e", "J" * 201, None, 5])
def test_a_name_of_a_job_that_cannot_be_one_is_refused(
    make_client: Callable[..., ReportsClient], service: Emulator, source: object
) -> None:
    client = make_client(retry=RetryPolicy(attempts=1))
    service.fault("start", "shape", value={"source": source, "status": "RUNNING"})
    with pytest.raises(ServiceError, match="the response is not as documented"):
        client.start(REQUESTED)


# The filter that a job echoes ----------------------------------------------------------------


OTHER_EXPORTS = [
    {"customer": "BARCHART"},
    {"customer": {"code": "BARCHART"}},
    {"product": "PORTFOLIO"},
    {"start": 1001},
    {"start": "1970-01-01T00:00:01.001Z"},
    {"start": "9" * 5000},
    {"end": 1998.5},
    {"end": "1970-01-01T02:00:01.998+02:00"},
    REQUESTED | {"end": 0},
]


def job_object(source: str = "JOB-1", **more: Any) -> dict[str, Any]:
    return {"source": source, "status": "RUNNING", **more}


@pytest.mark.parametrize("call", ["start", "poll"])
@pytest.mark.parametrize("echo", OTHER_EXPORTS, ids=lambda echo: repr(echo)[:40])
def test_a_job_of_another_export_is_not_used(
    client: ReportsClient, service: Emulator, echo: dict[str, Any], call: str
) -> None:
    source = client.start(REQUESTED).source if call == "poll" else "JOB-1"
    service.fault(call, "shape", value=job_object(source, filter=echo))
    with pytest.raises(JobFailedError, match=f"another export.*{[*echo][-1]}"):
        client.poll(source) if call == "poll" else client.start(REQUESTED)


@pytest.mark.parametrize(
    "echo",
    [
        {"start": 1000.0, "end": "2000.0"},
        {"start": 0, "end": 1999},
        {"start": "1970-01-01", "end": "1970-01-01T00:00:02"},
        {"customer": ["TGAM"], "product": {}, "start": "yesterday", "end": "NaN"},
        {"start": {}, "end": "Infinity"},
        {"customer": "tgam", "product": {"code": "Watchlist", "name": "Lists"}, "start": True},
        {"customer": None, "start": None},
        {"output": {"delimiter": ";"}},
        None,
        "WATCHLIST",
        [],
    ],
    ids=repr,
)
def test_an_echoed_filter_that_covers_the_requested_one_is_accepted(
    client: ReportsClient, service: Emulator, echo: object
) -> None:
    service.fault("start", "shape", value=job_object(filter=echo))
    assert client.start(REQUESTED).source == "JOB-1"


@pytest.mark.parametrize(
    ("requested", "echoed", "warnings"),
    [
        (("A", "B"), ["B", "A"], 0),
        (("A", "B"), ["A"], 1),
        (("A", "B"), [{"code": "b"}, "a"], 0),
        (("A",), [], 1),
        (("A",), "B", 0),
        ((), ["A"], 0),
    ],
)
def test_other_types_than_were_asked_for_are_one_warning(
    client: ReportsClient,
    service: Emulator,
    caplog: pytest.LogCaptureFixture,
    requested: tuple[str, ...],
    echoed: object,
    warnings: int,
) -> None:
    for source in ("JOB-1", "JOB-2"):
        service.fault("start", "shape", value=job_object(source, filter={"types": echoed}))
        client.start(REQUESTED | ({"types": [*requested]} if requested else {}))
    messages = [record.getMessage() for record in caplog.records]
    assert sum("event types" in message for message in messages) == warnings


def test_a_job_that_an_earlier_run_has_started_is_of_no_other_window(
    client: ReportsClient, service: Emulator
) -> None:
    client.expect("JOB-1", export(0))
    service.fault("start", "shape", value=job_object())
    with pytest.raises(JobFailedError, match=r"another export \(different window of"):
        client.start(export(1))
    service.fault("start", "shape", value=job_object())
    assert client.start(export(0)).source == "JOB-1"


# Trying again ------------------------------------------------------------------------------


def test_a_call_is_tried_as_often_as_allowed_and_no_oftener(
    client: ReportsClient, service: Emulator
) -> None:
    service.fault("poll", "status", times=QUICK.attempts - 1)
    source = finished_job(client)
    service.fault("poll", "status", times=None)
    service.requests.clear()
    with pytest.raises(ServiceError, match=r"503; gave up after 5 tries \(setting max_retries\)"):
        client.poll(source)
    assert len(service.requests) == QUICK.attempts


def test_a_start_is_tried_once_and_the_caller_decides(
    client: ReportsClient, service: Emulator
) -> None:
    service.fault("start", "status", code=429, retry_after=7)
    with pytest.raises(TransientError, match="429") as caught:
        finished_job(client)
    assert (caught.value.status, caught.value.retry_after) == (429, 7)
    assert len(service.requests) == 1


def test_tries_end_in_time_however_many_are_allowed(
    make_client: Callable[..., ReportsClient], service: Emulator
) -> None:
    client = make_client(retry=RetryPolicy(10**6, timeout=0.3, wait_initial=0.05))
    service.fault("poll", "status", times=None)
    began = time.monotonic()
    with pytest.raises(
        ServiceError, match=r"begin more than 0\.3 s after the first\); run again later"
    ):
        finished_job(client)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("as_date", [False, True])
@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_is_honoured(
    client: ReportsClient, service: Emulator, *, code: int, as_date: bool
) -> None:
    # A date has whole seconds: of two seconds at least one is left.
    service.fault("poll", "status", code=code, retry_after=1 + as_date, as_date=as_date)
    assert finished_job(client)
    first, second, *_ = (r.at for r in service.requests if r.call == "poll")
    assert second - first >= 0.9


def test_a_pause_ends_with_the_sync(client: ReportsClient, service: Emulator) -> None:
    service.fault("poll", "status", code=503, retry_after=60)
    began = time.monotonic()
    threading.Timer(0.5, client.stopped.set).start()
    with pytest.raises(SyncStopped):
        finished_job(client)
    assert time.monotonic() - began < 20
    assert calls(service, "poll") == 1


def test_a_wait_that_is_too_long_is_not_begun(client: ReportsClient, service: Emulator) -> None:
    service.fault("poll", "status", code=503, retry_after=3600)
    why = r"gave up after 1 try \(the next one would be due in 3600 s, .* more than 600 s after"
    with pytest.raises(ServiceError, match=why):
        finished_job(client)
    assert calls(service, "poll") == 1


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("7", 7, 7),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0, 0),
        ("soon", None, None),
        ("-5", None, None),
        ("9" * 5000, None, None),
        ("Wed, 21 Oct 2015 07:28:00 -99999999999999", 3600, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, low: int | None, high: int | None) -> None:
    seconds = retry_after({"Retry-After": value})
    assert (seconds is None) == (low is None)
    assert low is None or seconds is None or seconds >= low
    assert high is None or seconds is None or seconds <= high


@pytest.mark.parametrize("call", ["authenticate", "start"])
def test_a_sync_that_ends_makes_no_more_calls(
    client: ReportsClient, service: Emulator, call: str
) -> None:
    client.stopped.set()
    with pytest.raises(SyncStopped):
        client.authenticate() if call == "authenticate" else finished_job(client)
    assert service.requests == []
