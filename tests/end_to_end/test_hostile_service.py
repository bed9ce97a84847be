"""Whole syncs from a service that no HTTP server would be: nothing is lost in silence."""

import re
import signal
import socket
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest

from tap_barchart_events.windows import HOUR, from_iso, to_iso
from tests.raw_server import CONTINUE, EARLY, RawServer, Request, http, late
from tests.tap_runs import END, Tap, partition, settings_of, sync, synced

pytestmark = pytest.mark.usefixtures("hardly_waiting")

EVENTS = 4 * 60
"""One a minute."""

PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    "interim",
    [EARLY, PROCESSING, CONTINUE, 3 * PROCESSING, CONTINUE + EARLY],
    ids=["103", "102", "100", "102 three times", "100 and 103"],
)
def test_interim_responses_lose_no_event(server: RawServer, interim: bytes, *, apart: bool) -> None:
    for call in ("authenticate", "start", "poll", "link", "download"):
        server.responses[call] = lambda _, usual: late(interim, usual) if apart else interim + usual
    outcome = synced(settings_of(server, window_hours=2))
    assert len({record["event_id"] for record in outcome.records}) == EVENTS
    assert len(server.calls("authenticate")) == 1
    assert len(server.jobs) == 2
    assert outcome.bookmarks == {"WATCHLIST": END}


def test_one_job_for_all_starts_ends_the_sync(server: RawServer) -> None:
    # The service echoes no filter, which would show it.
    server.responses["start"] = lambda _, __: http({**server.job("JOB-0"), "filter": None})
    outcome = sync(settings_of(server, max_concurrent_jobs=1))
    assert "could not start an export job" in outcome.reason
    assert "JOB-0" in outcome.reason
    ends = {record["end"] for record in outcome.records}
    assert len(ends) <= 1, "no window got the events of another"
    assert outcome.bookmarks in ({}, {"WATCHLIST": max(ends, default="")})


def test_a_401_after_accepted_requests_is_remembered(server: RawServer) -> None:
    def run(_: Request, __: bytes) -> bytes:
        return http({**server.job(f"JOB-{len(server.jobs) - 1}"), "status": "RUNNING"})

    server.responses["start"] = run
    server.responses["poll"] = lambda _, __: http({"message": "Unauthorized"}, "401 Unauthorized")
    # So long an interval spreads the first polls over seconds, on a busy machine, too.
    more = {"window_hours": 0.25, "max_concurrent_jobs": 16, "poll_interval_seconds": 4}
    outcome = sync(settings_of(server, **more))
    assert "401" in outcome.reason
    assert len(server.calls("poll")) <= 3


def without_date(_: Request, usual: bytes) -> bytes:
    return re.sub(rb"Date: .*\r\n", b"", usual)


@pytest.mark.parametrize(
    "authenticate", [lambda _, usual: usual, without_date], ids=["dated", "undated"]
)
def test_a_start_that_is_answered_after_a_signal_is_in_state(
    server: RawServer, tmp_path: Path, authenticate: Callable[[Request, bytes], bytes]
) -> None:
    def respond(_: Request, usual: bytes) -> bytes:
        time.sleep(1)
        return usual

    server.responses |= {"authenticate": authenticate, "start": respond}
    tap = Tap(tmp_path, settings_of(server, max_concurrent_jobs=1))
    outcome = tap.interrupt(lambda: server.calls("start"))
    assert outcome.code == 128 + signal.SIGTERM
    assert [job[0] for job in partition(outcome.states[-1])["jobs"]] == ["JOB-0"]


def test_the_first_start_bounds_all_ranges_though_a_job_of_an_earlier_run_is_used(
    server: RawServer, tmp_path: Path
) -> None:
    now = round(time.time() * 1000)
    begin, behind = now - 5 * HOUR, now - 2 * HOUR

    def start(_: Request, usual: bytes) -> bytes:
        time.sleep(0.5)
        date = formatdate(behind / 1000, usegmt=True).encode()
        return re.sub(rb"Date: .*\r\n", b"Date: " + date + b"\r\n", usual)

    server.responses = {"authenticate": without_date, "poll": without_date, "start": start}
    settings = settings_of(server, start_date=to_iso(begin), end_date=None, window_hours=1)
    tap = Tap(tmp_path, settings | {"max_concurrent_jobs": 1})
    state = tap.interrupt(lambda: server.calls("start")).states[-1]
    outcome = synced(settings | {"max_concurrent_jobs": 2}, state)
    assert "JOB-0" in {call.source for call in server.calls("poll")}
    assert from_iso(outcome.bookmarks["WATCHLIST"]) <= behind


# Proxies and certificates --------------------------------------------------------------------


PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


def test_a_loopback_host_never_gets_a_proxy(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        for name in PROXIES:
            monkeypatch.setenv(name, url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "example.com")
        outcome = synced(settings_of(server))
        proxy.setblocking(False)  # noqa: FBT003 - as there
        with pytest.raises(BlockingIOError):
            proxy.accept()
    assert len(outcome.records) == EVENTS


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("HTTPS_PROXY", "http://", "the proxy set in the environment"),
        ("HTTPS_PROXY", "http://[bad:3128", "the proxy set in the environment"),
        ("HTTPS_PROXY", "http://someone:for-the-proxy@host:port", "proxy set in the environment"),
        ("HTTPS_PROXY", "ftp://127.0.0.1:1", "the proxy set in the environment"),
        ("HTTPS_PROXY", "http://someone:for-the-proxy@127.0.0.1:1", "the proxy cannot be reached"),
        ("ALL_PROXY", "socks5://127.0.0.1:1", "SOCKS proxy, which needs the package PySocks"),
        ("REQUESTS_CA_BUNDLE", "/no/such/file", "the CA certificates cannot be read; check REQ"),
    ],
)
def test_a_proxy_or_certificates_that_cannot_be_used_end_it_as_an_unreachable_host_does(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, why: str
) -> None:
    monkeypatch.setattr("tap_barchart_events.api.client.UNREACHABLE_TIMEOUT", 0)
    monkeypatch.setenv(variable, value)
    outcome = sync(settings_of(server, api_url="https://storage.example"))
    assert "could not check the credentials: https://storage.example: " in outcome.reason
    assert why in outcome.reason
    assert "for-the-proxy" not in outcome.reason
    assert "gave up after 1 try" in outcome.reason
