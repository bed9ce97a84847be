"""Responses that no HTTP server would send: what is taken for a response, and what ends it."""

import gzip
import itertools
import json
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from tap_barchart_events.api.client import ReportsClient
from tap_barchart_events.api.http import RetryPolicy
from tap_barchart_events.exceptions import (
    FileError,
    JobForgottenError,
    ServiceError,
)
from tests.api.jobs import start
from tests.raw_server import CONTINUE, EARLY, RawServer, Request, Response, http, late

ONCE = RetryPolicy(attempts=1)


@pytest.fixture
def service() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


def drops(data: bytes) -> Iterable[bytes]:
    """Yield data byte by byte."""
    return late(*(data[at : at + 1] for at in range(len(data))))


# One final response to each request ----------------------------------------------------------


def test_each_request_has_a_connection_of_its_own(
    client: ReportsClient, service: RawServer, tmp_path: Path
) -> None:
    # So a late answer is never taken for that of another request.
    source = start(client)
    client.poll(source)
    client.download(source, tmp_path / "file")
    assert [request.connection for request in service.requests] == [0, 1, 2, 3]
    assert all(request.headers["Connection"] == "close" for request in service.requests)


# An end in time and in size ------------------------------------------------------------------


def endless(first: bytes, then: bytes) -> Callable[[Request, bytes], Iterable[bytes]]:
    return lambda _, __: itertools.chain([first], itertools.repeat(then))


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

LONG = HEAD + b"Content-Length: 10000\r\n\r\n"
BOMB = http(gzip.compress(b" " * 10**8), "502 Bad Gateway", Content_Encoding="gzip")

WITHOUT_END: dict[str, tuple[Callable[[Request, bytes], Response], str]] = {
    "headers": (endless(HEAD, b"X-More: and more\r\n"), ""),
    "one header": (endless(HEAD + b"X-More: ", b"x" * 10_000), ""),
    "status line": (endless(b"HTTP/1.1 200 ", b"x" * 10_000), ""),
    "100 Continue": (endless(b"", CONTINUE * 100), ""),
    "103 Early Hints": (endless(b"", EARLY * 100), ""),
    "one trailer": (endless(CHUNKED + b"2\r\n{}\r\n0\r\nX-More: ", b"x" * 10_000), ""),
    "chunk extension": (endless(CHUNKED + b"2;x=", b"x" * 10_000), ""),
    "slow body": (lambda *_: itertools.chain([LONG], drops(b" " * 10_000)), "or took too long"),
    "long body": (endless(HEAD + b"\r\n", b" " * 10**6), "larger than 1,048,576 bytes"),
    "bomb": (lambda *_: BOMB, "larger than 1,048,576 bytes"),
    "deep JSON": (lambda *_: http(b"[" * 10**6), "is not as documented"),
}
"""Scene → response, and why a poll fails."""


@pytest.mark.parametrize("call", ["poll", "download"])
@pytest.mark.parametrize("scene", WITHOUT_END)
def test_a_response_without_end_ends_the_call(
    make_client: Callable[..., ReportsClient],
    service: RawServer,
    tmp_path: Path,
    scene: str,
    call: str,
) -> None:
    client = make_client(retry=ONCE, timeout=0.2)
    source, path = start(client), tmp_path / "file"
    service.responses[call], why = WITHOUT_END[scene]
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(ServiceError, match=f"could not {call}.*{why if call == 'poll' else ''}"):
        client.poll(source) if call == "poll" else client.download(source, path)
    assert time.monotonic() - began < 5
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * 10**6
    assert not path.exists()


def test_a_slow_download_that_moves_on_is_waited_for(
    make_client: Callable[..., ReportsClient], service: RawServer, tmp_path: Path
) -> None:
    client = make_client(retry=ONCE, timeout=0.2)
    source = start(client)
    usual = http(service.file(source))
    pieces = [usual[at : at + 40] for at in range(0, len(usual), 40)]
    service.responses["download"] = lambda _, __: late(*pieces)
    began = time.monotonic()
    client.download(source, tmp_path / "file")
    assert time.monotonic() - began > 0.2 * 3 * 2
    assert (tmp_path / "file").read_bytes() == service.file(source)


SMALL = http(gzip.compress(bytes(10**8), mtime=0))
ENDLESS_CHUNKS = endless(CHUNKED, b"100000\r\n" + b"x" * (1 << 20) + b"\r\n")
TOO_LONG = endless(HEAD + b"Content-Length: 10000000000\r\n\r\n", b"x" * 1_000_000)


@pytest.mark.parametrize(
    "respond", [ENDLESS_CHUNKS, TOO_LONG, lambda *_: SMALL], ids=["chunks", "length", "inflated"]
)
def test_a_file_that_is_larger_than_any_export_is_given_up(
    client: ReportsClient,
    service: RawServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    respond: Callable[[Request, bytes], Response],
) -> None:
    # The bound is lowered so that the test need not write gigabytes.
    monkeypatch.setattr("tap_barchart_events.api.download.MAX_FILE_BYTES", 20_000_000)
    service.responses["download"] = respond
    with pytest.raises(FileError, match=r"over 20,000,000 bytes.*lower window_hours"):
        client.download(start(client), tmp_path / "file")
    assert [*tmp_path.iterdir()] == []


def test_a_partial_file_is_removed_when_its_job_is_given_up(
    client: ReportsClient, service: RawServer, tmp_path: Path
) -> None:
    # Its window may be split, and then nobody asks for this file again.
    source = start(client)
    forgotten = [{"value": {"code": "EVENT_JOB_GET_FAILED_NO_JOB"}}]
    there: list[bool] = []

    def link(_: Request, usual: bytes) -> bytes:
        there.append((tmp_path / "file").exists())
        return usual if len(there) == 1 else http(forgotten, "500 Internal Server Error")

    service.responses["link"] = link
    service.responses["download"] = lambda _, usual: [usual[:-10]]
    with pytest.raises(JobForgottenError):
        client.download(source, tmp_path / "file")
    assert there == [False, True]
    assert not (tmp_path / "file").exists()


# Tries and refusals --------------------------------------------------------------------------


@pytest.mark.parametrize("retry_after", ["0", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_tries_are_not_wasted_when_no_pause_is_asked_for(
    make_client: Callable[..., ReportsClient], service: RawServer, retry_after: str
) -> None:
    client = make_client(retry=RetryPolicy(attempts=7, wait_initial=0.02))
    service.responses["poll"] = lambda _, __: http(b"", "503 Busy", Retry_After=retry_after)
    with pytest.raises(ServiceError, match="503"):
        client.poll(start(client))
    times = [request.at for request in service.calls("poll")]
    assert len(times) == 7
    assert times[-1] - times[0] > 0.1, "pauses grow up to 0.64 s, at random"


def test_a_host_name_that_cannot_be_resolved_is_given(
    make_client: Callable[..., ReportsClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # tests ask no name server
    client = make_client(api_url="https://events.example", retry=ONCE)
    with pytest.raises(ServiceError, match=r"events\.example: the host name cannot be resolved"):
        client.authenticate()


# The service's clock -------------------------------------------------------------------------


@pytest.mark.parametrize("date", [None, "", "soon", "9" * 5000, "Wed, 99 Oct 2015 07:28:00 GMT"])
def test_a_date_that_is_none_sets_no_clock(
    client: ReportsClient, service: RawServer, date: str | None
) -> None:
    service.responses["authenticate"] = lambda _, __: http({}, Date=date)
    client.authenticate()
    assert client.clock_offset is None


@pytest.mark.parametrize(
    ("behind", "seconds", "low", "high"),
    [(0, 1.5, 0, 0), (60, 0, -61.1, -59.9), (-7200, 0, 7198.9, 7200.1)],
)
def test_the_time_that_an_answer_took_is_no_difference_of_clocks(
    client: ReportsClient,
    service: RawServer,
    behind: float,
    seconds: float,
    low: float,
    high: float,
) -> None:
    def respond(_: Request, __: bytes) -> bytes:
        made = http({}, Date=formatdate(time.time() - behind, usegmt=True))
        time.sleep(seconds)
        return made

    service.responses["authenticate"] = respond
    client.authenticate()
    assert client.clock_offset is not None
    assert low <= client.clock_offset <= high


def test_the_clock_of_the_service_is_that_of_the_first_answer_with_a_date(
    client: ReportsClient, service: RawServer
) -> None:
    dates = iter([None, -3600, 3600])

    def respond(_: Request, usual: bytes) -> bytes:
        hours = next(dates)
        date = formatdate(time.time() + hours, usegmt=True) if hours else None
        return http(json.loads(usual.partition(b"\r\n\r\n")[2]), Date=date)

    service.responses["authenticate"] = service.responses["start"] = respond
    client.authenticate()
    assert client.clock_offset is None
    for hour in range(2):
        start(client, hour)
        assert client.clock_offset == pytest.approx(-3600, abs=2)
