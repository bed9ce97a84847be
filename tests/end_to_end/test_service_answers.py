"""The answers to the calls of the API: which ones stop a sync, and which are only a warning."""

import itertools
import json
import socket
import time
from base64 import b64encode
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tap_barchart_events.exports.jobs import JobPolicy
from tap_barchart_events.streams import EventsStream
from tap_barchart_events.windows import from_iso, to_iso
from tests.forked_tap import QUICK
from tests.raw_server import RawServer, Request, http
from tests.tap_runs import Tap, hour, settings_of, sync, synced

pytestmark = pytest.mark.usefixtures("hardly_waiting")

EVENTS = 4 * 60
"""One a minute."""

NO_JOB = [{"value": {"code": "EVENT_JOB_GET_FAILED_NO_JOB", "message": "none"}, "children": []}]
ERROR = "500 Internal Server Error"


def changed(usual: bytes, **changes: Any) -> dict[str, Any]:
    """Return the job of the usual response to a start, with changes."""
    return {**json.loads(usual.partition(b"\r\n\r\n")[2]), **changes}


def two_hours_behind() -> str:
    return formatdate(time.time() - 7200, usegmt=True)


def last_three_hours(server: RawServer, **more: Any) -> dict[str, Any]:
    """Return the settings of a sync that would end now."""
    begin = to_iso(round((time.time() - 3 * 3600) * 1000))
    return settings_of(server, start_date=begin, end_date=None, lag_minutes=0, **more)


def check_all_come(server: RawServer, **more: Any) -> None:
    """Run a sync of two windows; check that it succeeds, and that all events came."""
    assert len(synced(settings_of(server, **{"window_hours": 2, **more})).records) == EVENTS


def tree(code: str, message: str, *children: Any) -> dict[str, Any]:
    return {"value": {"code": code, "message": message}, "children": list(children)}


# GET /service/authenticate ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "status",
    [
        *("200 OK", "204 No Content", "301 Moved Permanently", "400 Bad Request", "403 Forbidden"),
        *("404 Not Found", ERROR, "503 Service Unavailable"),
    ],
)
def test_any_answer_to_authenticate_but_401_is_one_warning_after_one_try(
    server: RawServer, warnings: list[str], status: str
) -> None:
    headers: dict[str, Any] = {"Retry_After": 3600, "Location": "/elsewhere"}
    server.responses["authenticate"] = lambda _, __: http(b"fine", status, **headers)
    check_all_come(server)
    assert len(server.calls("authenticate")) == 1
    (warning,) = warnings
    assert "could not check the credentials: the " in warning
    assert warning.endswith("; the first export job will check the credentials")


@pytest.mark.parametrize("status", ["403 Forbidden", ERROR])
def test_the_date_of_an_error_bounds_what_is_exported(server: RawServer, status: str) -> None:
    server.responses["authenticate"] = lambda _, __: http({}, status, Date=two_hours_behind())
    synced(last_three_hours(server))
    assert max(job["end"] for job in server.jobs.values()) / 1000 <= time.time() - 7200 + 1


def test_without_a_date_of_authenticate_that_of_the_first_start_bounds_what_is_exported(
    server: RawServer, warnings: list[str]
) -> None:
    def behind(request: Request, _: bytes) -> bytes:
        source = f"JOB-{len(server.jobs) - 1}" if request.call == "start" else request.source
        return http(server.job(source), Date=two_hours_behind())

    server.responses["authenticate"] = lambda _, __: http({}, Date=None)
    server.responses["start"] = server.responses["poll"] = behind
    outcome = synced(last_three_hours(server, window_hours=24))
    assert from_iso(outcome.bookmarks["WATCHLIST"]) / 1000 <= time.time() - 7200 + 1
    assert "JOB-0" not in [request.source for request in server.calls("link")], "dropped"
    assert sum("the clocks differ" in warning for warning in warnings) == 1


def test_the_first_job_without_a_date_of_authenticate_is_used_if_the_clocks_agree(
    server: RawServer, warnings: list[str]
) -> None:
    server.responses["authenticate"] = lambda _, __: http({}, Date=None)
    outcome = synced(settings_of(server))
    assert warnings == []
    assert len(outcome.records) == EVENTS
    assert len(server.calls("start")) == 4


def test_a_refused_first_start_bounds_what_is_exported_as_well(server: RawServer) -> None:
    answers = iter([ERROR])

    def behind(_: Request, usual: bytes) -> bytes:
        return http(changed(usual), next(answers, "200 OK"), Date=two_hours_behind())

    server.responses["authenticate"] = lambda _, __: http({}, Date=None)
    server.responses["start"] = behind
    outcome = synced(last_three_hours(server))
    assert from_iso(outcome.bookmarks["WATCHLIST"]) / 1000 <= time.time() - 7200 + 1


def test_no_start_precedes_the_retry_after_of_a_first_start_without_date(server: RawServer) -> None:
    numbers = itertools.count()
    server.responses["authenticate"] = lambda _, __: http({}, Date=None)
    server.responses["start"] = lambda _, usual: (
        usual if next(numbers) else http(b"", "503 Service Unavailable", Date=None, Retry_After=2)
    )
    check_all_come(server)
    first, *later = (request.at for request in server.calls("start"))
    assert min(later) - first >= 2


def test_wrong_credentials_are_sent_at_most_once_for_each_possible_job(server: RawServer) -> None:
    def refuse(_: Request, __: bytes) -> bytes:
        time.sleep(0.2)  # so that all starts are under way
        return http({"message": "Unauthorized"}, "401 Unauthorized")

    server.responses["authenticate"] = lambda _, __: http({}, "404 Not Found")
    server.responses["start"] = refuse
    products = ["WATCHLIST", "ALERT", "PORTFOLIO"]
    outcome = sync(settings_of(server, products=products, max_concurrent_jobs=3))
    assert "401 (Unauthorized); check username, password" in outcome.reason
    assert 1 <= len(server.calls("start")) <= 3


@pytest.mark.parametrize(
    ("arguments", "why"),
    [((), "connection refused"), (("--test",), "the connection attempt timed out")],
)
def test_a_host_that_cannot_be_reached_ends_a_first_sync_soon(
    server: RawServer, tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    with ExitStack() as held:
        full = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003 - as there
            waiting.connect_ex(full.getsockname())
        port = 1 if why == "connection refused" else full.getsockname()[1]
        settings = settings_of(server, api_url=f"http://127.0.0.1:{port}", max_concurrent_jobs=16)
        began = time.monotonic()
        outcome = Tap(tmp_path, settings, arguments=arguments).end()
    assert time.monotonic() - began < 20, "15 seconds, and those that Python takes to start"
    assert outcome.code == 1
    assert why in outcome.reason
    assert "is the emulator running?" in outcome.reason
    if why == "connection refused":
        tries = [line for line in outcome.log.splitlines() if why in line]
        assert 2 <= len(set(tries)) == len(tries) <= 8


def test_a_later_sync_waits_for_a_host_that_cannot_be_reached_as_for_any_call(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_barchart_events.api.client.UNREACHABLE_TIMEOUT", 0)
    state = sync(settings_of(server)).states[-1]
    settings = settings_of(server, api_url="http://127.0.0.1:1", max_retries=3)
    assert "gave up after 1 try" in str(sync(settings).error)
    assert "gave up after 4 tries (setting max_retries)" in str(sync(settings, state).error)


# The filter that a job echoes --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("echo", "said"),
    [
        ({"customer": None}, "may not know customer TGAM"),
        ({"product": None}, "may not know product WATCHLIST"),
        ({"product": {"code": None}}, "may not know product WATCHLIST"),
        ({"types": ["WATCHLIST-CREATED", None]}, "reports different event types"),
    ],
    ids=repr,
)
def test_a_null_code_of_an_echoed_filter_is_one_warning(
    server: RawServer, warnings: list[str], echo: dict[str, Any], said: str
) -> None:
    server.responses["start"] = lambda _, usual: http(changed(usual, filter=echo))
    check_all_come(server, event_types=["WATCHLIST-CREATED", "WATCHLIST-DELETED"])
    (warning,) = warnings
    assert said in warning


@pytest.mark.parametrize("header", [b"", b"timestamp|type|userId|a|b|c|d|e|f\n"])
@pytest.mark.parametrize(("product", "fails"), [(None, True), ("WATCHLIST", False)])
def test_rows_of_another_product_fail_the_window_after_a_null_product(
    server: RawServer, header: bytes, product: str | None, *, fails: bool
) -> None:
    def download(request: Request, _: bytes) -> bytes:
        lines = server.file(request.source).splitlines(keepends=True)
        lines[5] = lines[5].replace(b"WATCHLIST-CREATED", b"ALERT-CREATED")
        return http(header + b"".join(lines), Content_Type="text/csv")

    server.responses["start"] = lambda request, usual: http(
        changed(usual, filter={**request.body["filter"], "product": product})
    )
    server.responses["download"] = download
    outcome = sync(settings_of(server))
    if not fails:
        assert outcome.error is None
        assert len(outcome.records) == EVENTS
        return
    assert "TGAM/WATCHLIST 2026-03-02 00:00 → 01:00" in outcome.reason
    assert "ALERT-CREATED, which belongs to product ALERT and not to WATCHLIST" in outcome.reason
    assert outcome.records == []
    assert outcome.bookmarks == {}


# Jobs that the service does not know yet, or no more ----------------------------------------------


@pytest.mark.parametrize("call", ["poll", "link"])
@pytest.mark.parametrize(
    "answer",
    [http(NO_JOB, ERROR), http(NO_JOB, "404 Not Found"), http({}, "404 Not Found")],
    ids=["500 NO_JOB", "404 NO_JOB", "404"],
)
def test_a_young_job_that_is_not_found_is_asked_for_again(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, call: str, answer: bytes
) -> None:
    monkeypatch.setattr(EventsStream, "policy", JobPolicy())
    asked: Counter[str] = Counter()

    def not_yet(request: Request, usual: bytes) -> bytes:
        asked[request.source] += 1
        return answer if asked[request.source] < 4 else usual

    server.responses["start"] = lambda _, usual: http(
        changed(usual, status="RUNNING" if call == "poll" else "COMPLETE")
    )
    server.responses[call] = not_yet
    check_all_come(server)
    assert len(server.calls("start")) == 2
    assert set(asked.values()) == {4}


def test_a_job_that_is_not_found_after_a_minute_is_started_anew(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EventsStream, "policy", replace(QUICK, forgotten_grace=1))
    server.responses["link"] = lambda request, usual: (
        http(NO_JOB, ERROR) if request.source == "JOB-0" else usual
    )
    check_all_come(server)
    starts = server.calls("start")
    assert len(starts) == 3
    (again,) = [r.at for r in starts[1:] if r.body == starts[0].body]
    assert again - starts[0].at >= 1


# Statuses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["complete", "Complete", " Complete ", "COMPLETED\n"])
def test_a_status_is_compared_without_case_and_blanks(server: RawServer, status: str) -> None:
    server.responses["start"] = lambda _, usual: http(changed(usual, status=" running"))
    server.responses["poll"] = lambda request, _: http(server.job(request.source, status))
    check_all_come(server)


# Starts that the service refuses -----------------------------------------------------------------


@pytest.mark.parametrize(
    "status", [ERROR, "400 Bad Request", "404 Not Found", "422 Unprocessable Content"]
)
def test_a_refused_start_says_what_the_service_said(server: RawServer, status: str) -> None:
    body = [
        tree(
            "REPORT_START_FAILED",
            "The report could\nnot start, see https://internal.example/x?token=SECRET .",
            tree("CUSTOMER_UNKNOWN", "There is no such customer."),
        )
    ]
    server.responses["start"] = lambda _, __: http(body, status)
    outcome = sync(settings_of(server, end_date=hour(1)))
    assert (
        f"the service answered {status[:3]} (REPORT_START_FAILED, CUSTOMER_UNKNOWN: The report "
        "could not start, see …); gave up after 3 tries; check customer, products, event_types "
        "and delimiter"
    ) in outcome.reason
    assert "internal.example" not in outcome.reason
    assert len(server.calls("start")) == 3


# The service cannot read the body of a start.
UNREADABLE = ("SCHEMA_VALIDATION_FAILURE", "REQUEST_INPUT_MALFORMED", "REQUEST_PARAMETER_MALFORMED")


@pytest.mark.parametrize(
    ("code", "max_retries", "tries"),
    [
        *(("NO_SUCH_THING", *numbers) for numbers in ((0, 1), (1, 2), (2, 3), (8, 3))),
        *((code, 8, 1) for code in UNREADABLE),
    ],
)
def test_a_start_refused_with_a_code_is_tried_three_times_at_most_like_a_failed_job(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, code: str, max_retries: int, tries: int
) -> None:
    monkeypatch.setattr(EventsStream, "policy", replace(QUICK, waits=(0.2, 0.4, 0.8)))
    body = [tree("REQUEST_GENERAL_FAILURE", "no", tree(code, "filter.start"))]
    server.responses["start"] = lambda _, __: http(body, ERROR)
    outcome = sync(settings_of(server, max_retries=max_retries, end_date=hour(1)))
    assert code in outcome.reason
    at = [request.at for request in server.calls("start")]
    assert len(at) == tries
    pauses = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert all(pause >= least for pause, least in zip(pauses, (0.1, 0.2), strict=False))


def test_blanks_around_a_link_stop_nothing(server: RawServer) -> None:
    server.responses["link"] = lambda request, _: http(
        {"link": f" {server.api_url}/file/{request.source}/?SECRET-SIGNATURE\n"}
    )
    check_all_come(server)


@pytest.mark.parametrize("call", ["authenticate", "start"])
@pytest.mark.parametrize("form", ["as it is", "percent-encoded", "without padding"])
def test_an_answer_that_repeats_the_credentials_does_not_bring_them_into_the_log(
    server: RawServer, tmp_path: Path, call: str, form: str
) -> None:
    username, password = "user@of-the-tap", "s3/cr=et!"
    encoded = b64encode(f"{username}:{password}".encode()).decode()
    assert encoded.endswith("=")
    forms = [encoded, password, username]
    if form != "as it is":
        forms = [quote(s, safe="") if form == "percent-encoded" else s.rstrip("=") for s in forms]
    message = "not valid: " + " ".join(forms)
    server.responses[call] = lambda _, __: http({"message": message}, "403 Forbidden")
    settings = settings_of(server, username=username, password=password)
    debug = {"TAP_BARCHART_EVENTS_LOGLEVEL": "DEBUG"}
    outcome = Tap(tmp_path, settings, environ=debug).end()
    assert "not valid: …" in outcome.log
    assert not [secret for secret in forms if secret in outcome.log]
    assert encoded.rstrip("=") not in outcome.log
