"""The service's calls over real HTTP: retries, links, and downloads that break."""

from __future__ import annotations

import gzip
import itertools
import os
import random
import stat
import threading
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from barchart_events_emulator import Emulator
from tap_barchart_events.api.retry import RetryPolicy, retry_after
from tap_barchart_events.exceptions import (
    CredentialsError,
    FileError,
    JobFailedError,
    JobForgottenError,
    JobMismatchError,
    JobNotReadyError,
    ServiceError,
    SyncStopped,
)
from tests.object_store import Answer, ObjectStore, StoreRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_barchart_events.api.client import ReportsClient


HOUR = 3_600_000
START = 492_000 * HOUR
QUICK = RetryPolicy(attempts=5, wait_initial=0.01)
SOMETHING = random.Random(7).randbytes(3_000_000)  # noqa: S311 - any bytes


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=0) as emulator:
        yield emulator


@pytest.fixture
def client_options(service: Emulator) -> dict[str, Any]:
    return {
        "api_url": service.api_url,
        "username": service.username,
        "password": service.password,
        "retry": QUICK,
    }


def finished_job(client: ReportsClient, hours: int = 1) -> str:
    end = START + hours * HOUR
    job = client.start(customer="TGAM", product="WATCHLIST", start=START, end=end)
    while job.status == "RUNNING":
        job = client.poll(job.source)
    assert job.status == "COMPLETE"
    return job.source


def calls(service: Emulator, call: str) -> int:
    return sum(request.call == call for request in service.requests)


def contents(service: Emulator) -> bytes:
    file = service.jobs[-1].file
    assert file
    return b"".join(file.read())


# The calls ---------------------------------------------------------------------------------


def test_a_job_is_started_as_documented(client: ReportsClient, service: Emulator) -> None:
    client.start(customer="TGAM", product="WATCHLIST", start=1, end=2)
    client.start(customer="A", product="B", start=1, end=2, types=("X", "Y"), delimiter=";")
    plain, special = (request.body for request in service.requests)
    assert plain == {"filter": {"customer": "TGAM", "product": "WATCHLIST", "start": 1, "end": 2}}
    assert special["filter"]["types"] == ["X", "Y"]
    assert special["output"] == {"delimiter": ";"}
    agent = service.requests[0].headers["user-agent"]
    assert agent.startswith("tap-barchart-events/")


def test_a_job_is_polled_linked_and_downloaded(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    source = finished_job(client)
    size = client.download(source, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == contents(service)
    assert size == len(contents(service)) > 0


def test_numbers_may_come_as_strings(client: ReportsClient, service: Emulator) -> None:
    service.numbers_as_strings = True
    assert finished_job(client)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_not_tried_again(
    client: ReportsClient, service: Emulator, status: int
) -> None:
    service.fault("start", "status", code=status, times=None)
    with pytest.raises(CredentialsError, match=f"{status}: check username, password"):
        finished_job(client)
    assert len(service.requests) == 1


def test_the_credentials_can_be_checked(
    make_client: Callable[..., ReportsClient], client: ReportsClient
) -> None:
    client.authenticate()
    with pytest.raises(CredentialsError, match="check the credentials"):
        make_client(password="wrong").authenticate()  # noqa: S106


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


def test_an_answer_about_another_job_is_refused(client: ReportsClient, service: Emulator) -> None:
    source = finished_job(client)
    service.fault("poll", "shape", value={"source": "JOB-other", "status": "COMPLETE"})
    with pytest.raises(JobMismatchError, match="about another job"):
        client.poll(source)


TIMINGS: list[tuple[Any, float | None]] = [
    ({"day": "2019-10-14", "start": 1571078514202, "end": 1571078528202}, 14),
    ({"start": "1571078514202", "end": "1571078528202"}, 14),
    ({"start": 1571078514202}, None),
    ({"start": None, "end": None}, None),
    ({"start": "soon", "end": "later"}, None),
    ({"start": [], "end": {}}, None),
    ({"start": 1, "end": 10**400}, None),
    ({"start": 1, "end": "inf"}, None),
    ({}, None),
    ("soon", None),
    ([1, 2], None),
    (5, None),
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
    job = client.start(customer="TGAM", product="WATCHLIST", start=1, end=2)
    assert job.seconds == seconds
    assert len(service.requests) == 1


@pytest.mark.parametrize("source", ["", "JOB\n1", "JOB\x1b[2J", "JOB\u202e", 5])
def test_a_name_of_a_job_that_cannot_be_one_is_refused(
    make_client: Callable[..., ReportsClient], service: Emulator, source: object
) -> None:
    client = make_client(retry=RetryPolicy(attempts=1))
    service.fault("start", "shape", value={"source": source, "status": "RUNNING"})
    with pytest.raises(ServiceError, match="the answer is not as documented"):
        client.start(customer="TGAM", product="WATCHLIST", start=1, end=2)


def drops() -> Iterator[bytes]:
    """Yield a body that never ends, byte by byte."""
    while True:
        yield b" "
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(200, {"Content-Type": "application/json"}, b"[" * 10**6), "is not JSON"),
        (Answer(200, {}, itertools.repeat(b" " * 10**6, 100)), "does not end"),
        (Answer(200, {}, drops()), "does not end"),
        (
            Answer(502, {"Content-Encoding": "gzip"}, gzip.compress(b" " * 10**8)),
            "does not end",
        ),
    ],
    ids=["deep", "long", "slow", "bomb"],
)
def test_an_answer_without_end_is_not_read_to_its_end(
    make_client: Callable[..., ReportsClient], answer: Answer, why: str
) -> None:
    with ObjectStore(lambda _: answer) as store:
        client = make_client(
            api_url=store.link.rpartition("/")[0], timeout=0.1, retry=RetryPolicy(attempts=1)
        )
        tracemalloc.start()
        with pytest.raises(ServiceError, match=why):
            client.poll("JOB-1")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 50 * 10**6


def test_the_body_of_a_redirection_is_not_read(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    def answer(request: StoreRequest) -> Answer:
        onward = {"Location": "/onward", "Transfer-Encoding": "chunked"}
        endless = itertools.repeat(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
        return whole(SOMETHING) if request.path == "/onward" else Answer(302, onward, endless)

    assert brought(service, client, tmp_path / "file", answer)[0] == SOMETHING


def test_a_link_that_is_read_in_two_ways_is_not_followed(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    # What urllib.parse takes for a password is the host for urllib3.
    elsewhere = "http://192.0.2.1\\@127.0.0.1/file"
    with pytest.raises(ServiceError, match="the link is not https; nothing was sent there"):
        brought(service, client, tmp_path, in_turn(Answer(302, {"Location": elsewhere})))
    service.clear_faults()
    source = finished_job(client)
    service.fault("link", "link", link=elsewhere)
    with pytest.raises(ServiceError, match="the link is not https; nothing was sent there"):
        client.download(source, tmp_path)


def test_the_api_is_never_followed_elsewhere(client: ReportsClient, service: Emulator) -> None:
    service.fault("start", "redirect", times=None)
    with pytest.raises(ServiceError, match="302, which is not documented; check api_url"):
        finished_job(client)
    assert {request.host for request in service.requests} == {"api"}


def test_a_redirection_to_the_file_is_taken_for_the_link(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    source = finished_job(client)
    service.fault("link", "redirect")
    client.download(source, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == contents(service)


# Trying again ------------------------------------------------------------------------------


def test_a_call_is_tried_as_often_as_allowed_and_no_oftener(
    client: ReportsClient, service: Emulator
) -> None:
    service.fault("start", "status", times=QUICK.attempts - 1)
    assert finished_job(client)
    service.fault("start", "status", times=None)
    service.requests.clear()
    with pytest.raises(ServiceError, match=r"503; given up after 5 tries \(setting max_retries\)"):
        finished_job(client)
    assert len(service.requests) == QUICK.attempts


def test_tries_end_in_time_however_many_are_allowed(
    make_client: Callable[..., ReportsClient], service: Emulator
) -> None:
    client = make_client(retry=RetryPolicy(10**6, timeout=0.3, wait_initial=0.05))
    service.fault("start", "status", times=None)
    began = time.monotonic()
    with pytest.raises(ServiceError, match=r"tries \(no try begins after 0\.3 s\): run again"):
        finished_job(client)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("as_date", [False, True])
@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_is_honoured(
    client: ReportsClient, service: Emulator, *, code: int, as_date: bool
) -> None:
    # A date has whole seconds: of two seconds at least one is left.
    service.fault("start", "status", code=code, retry_after=1 + as_date, as_date=as_date)
    assert finished_job(client)
    first, second = (r.at for r in service.requests if r.call == "start")
    assert second - first >= 0.9


def test_a_call_is_never_tried_sooner_than_the_service_asked(
    make_client: Callable[..., ReportsClient], service: Emulator
) -> None:
    client = make_client(retry=RetryPolicy(5, timeout=1.5, wait_initial=0.01))
    service.fault("start", "status", code=429, retry_after=1)
    service.fault("start", "status", code=429, retry_after=1)
    with pytest.raises(ServiceError, match="429"):
        finished_job(client)
    first, *others = (request.at for request in service.requests)
    assert [round(at - first) for at in others] == [1], "a third try would have come too soon"


def test_a_wait_that_is_too_long_is_not_begun(client: ReportsClient, service: Emulator) -> None:
    service.fault("start", "status", code=503, retry_after=3600)
    why = r"503; given up after 1 try \(the service asks for a pause of 3600 s\): run again later"
    with pytest.raises(ServiceError, match=why):
        finished_job(client)
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("7", 7, 7),
        (" 0 ", 0, 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("soon", None, None),
        ("-5", None, None),
        ("", None, None),
        ("9" * 400, 3600, None),
        ("9" * 5000, None, None),
        ("Wed, 21 Oct 2015 07:28:00 -99999999999999", 3600, None),
        (f"Wed, 21 Oct {'9' * 20} 07:28:00 GMT", None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, low: int | None, high: int | None) -> None:
    seconds = retry_after({"Retry-After": value})
    assert (seconds is None) == (low is None)
    assert low is None or seconds is None or seconds >= low
    assert high is None or seconds is None or seconds <= high


def test_a_retry_after_without_a_time_zone_is_read_as_utc() -> None:
    assert retry_after({"Retry-After": "Wed, 21 Oct 2015 07:28:00 -0000"}) == 0


@pytest.mark.parametrize("call", ["authenticate", "start"])
def test_a_sync_that_ends_makes_no_more_calls(
    make_client: Callable[..., ReportsClient], service: Emulator, call: str
) -> None:
    stopped = threading.Event()
    client = make_client(stopped=stopped)
    stopped.set()
    with pytest.raises(SyncStopped):
        client.authenticate() if call == "authenticate" else finished_job(client)
    assert service.requests == []


def test_a_host_that_does_not_answer_is_named(make_client: Callable[..., ReportsClient]) -> None:
    with pytest.raises(ServiceError, match=r"http://127\.0\.0\.1:1: connection refused"):
        make_client(api_url="http://127.0.0.1:1").authenticate()


def test_silence_ends_with_the_time_out(
    make_client: Callable[..., ReportsClient], service: Emulator
) -> None:
    client = make_client(timeout=0.1)
    service.fault("authenticate", "stall", times=None)
    with pytest.raises(ServiceError, match="no answer within request_timeout_seconds"):
        client.authenticate()


# Downloads that break ----------------------------------------------------------------------


def test_a_cut_download_goes_on_where_it_broke(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    source = finished_job(client)
    service.fault("download", "cut", at=1000)
    service.fault("download", "cut", at=500)
    client.download(source, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == contents(service)
    etag = service.jobs[-1].etag
    headers = [request.headers for request in service.requests if request.call == "download"]
    assert [each.get("range") for each in headers] == [None, "bytes=1000-", "bytes=1500-"]
    assert [each.get("if-range") for each in headers] == [None, etag, etag]
    assert calls(service, "link") == 3, "a link that broke may have run out, too"


@pytest.mark.parametrize(
    "fault",
    [
        ("cut", {}),
        ("cut", {"at": 1000, "chunked": True}),
        ("etag", {"at": 1000}),
        ("expire", {"at": 1000}),
        ("expire", {}),
        ("drop", {}),
        ("drop-headers", {}),
        ("html", {}),
        ("empty", {}),
        ("malformed", {}),
        ("status", {"code": 500}),
        ("status", {"code": 404}),
        ("status", {"code": 503, "retry_after": 0}),
    ],
    ids=repr,
)
def test_a_download_that_breaks_comes_out_whole(
    client: ReportsClient, service: Emulator, tmp_path: Path, fault: tuple[str, dict[str, Any]]
) -> None:
    source = finished_job(client)
    kind, details = fault
    armed = service.fault("download", kind, times=2, **details)
    client.download(source, tmp_path / "file")
    assert armed.hits == 2
    assert (tmp_path / "file").read_bytes() == contents(service)


# An object store of the worst kind -----------------------------------------------------------


def brought(
    service: Emulator, client: ReportsClient, path: Path, answer: Callable[[StoreRequest], Answer]
) -> tuple[bytes, ObjectStore]:
    """Download from an object store that gives this answer; return the file."""
    with ObjectStore(answer) as store:
        source = finished_job(client)
        service.fault("link", "link", times=None, link=store.link)
        client.download(source, path)
    return path.read_bytes(), store


def in_turn(*answers: Answer) -> Callable[[StoreRequest], Answer]:
    """Return the answers one after the other, the last one again and again."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def whole(data: bytes, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(200, {"Content-Length": str(len(data)), **named}, data)


PACKED = gzip.compress(SOMETHING)


def test_compression_nobody_asked_for_is_undone(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    data, store = brought(
        service, client, tmp_path / "file", in_turn(whole(PACKED, Content_Encoding="gzip"))
    )
    assert data == SOMETHING
    assert store.received[0].headers["accept-encoding"] == "identity"


def test_gzip_files_that_follow_one_another_are_one_file(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    parts = b"".join(
        gzip.compress(SOMETHING[at : at + 400_000]) for at in range(0, 3 * 10**6, 400_000)
    )
    data, _ = brought(
        service, client, tmp_path / "file", in_turn(whole(parts, Content_Encoding="x-gzip"))
    )
    assert data == SOMETHING


def with_gzip_header(data: bytes, flags: int) -> bytes:
    """Compress data, with the optional header fields of these flags (RFC 1952)."""
    header = bytes([31, 139, 8, flags, 0, 0, 0, 0, 0, 255])
    header += b"\x03\0abc" if flags & 4 else b""
    header += b"export.csv\0" if flags & 8 else b""
    header += b"a comment\0" if flags & 16 else b""
    header += (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little") if flags & 2 else b""
    return header + gzip.compress(data, mtime=0)[10:]


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_gzip_headers_with_any_optional_field_are_read_however_they_are_split(
    client: ReportsClient,
    service: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    monkeypatch.setattr("tap_barchart_events.api.download.CHUNK", size)
    parts = b"".join(with_gzip_header(b"%d|event\n" % flags, flags) for flags in range(0, 32, 2))
    data, store = brought(
        service, client, tmp_path / "file", in_turn(whole(parts, Content_Encoding="gzip"))
    )
    assert data == b"".join(b"%d|event\n" % flags for flags in range(0, 32, 2))
    assert len(store.received) == 1


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_zero_bytes_after_a_gzip_file_are_no_part_of_the_export(
    client: ReportsClient,
    service: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    monkeypatch.setattr("tap_barchart_events.api.download.CHUNK", size)
    part = gzip.compress(b"1|event\n") + b"\0" * 512
    data, store = brought(
        service, client, tmp_path / "file", in_turn(whole(part * 2, Content_Encoding="gzip"))
    )
    assert data == b"1|event\n" * 2
    assert len(store.received) == 1


def test_a_cut_compressed_download_goes_on_where_it_broke(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    headers = {"Content-Encoding": "gzip", "ETag": '"one"'}
    half = len(PACKED) // 2
    rest = {
        "Content-Range": f"bytes {half}-{len(PACKED) - 1}/{len(PACKED)}",
        "Content-Length": str(len(PACKED) - half),
    }
    data, store = brought(
        service,
        client,
        tmp_path / "file",
        in_turn(
            Answer(200, {"Content-Length": str(len(PACKED)), **headers}, PACKED[:half]),
            Answer(206, rest | headers, PACKED[half:]),
        ),
    )
    assert data == SOMETHING
    assert [one.headers.get("range") for one in store.received] == [None, f"bytes={half}-"]


@pytest.mark.parametrize(
    "broken",
    [
        # Ended early in good order: only the compression itself can tell.
        whole(PACKED[: len(PACKED) // 2], Content_Encoding="gzip"),
        whole(PACKED[:-8], Content_Encoding="gzip"),
        Answer(200, {"Content-Encoding": "gzip"}, PACKED[:-3]),
        # Another gzip file might have followed.
        Answer(200, {"Content-Encoding": "gzip"}, PACKED),
        whole(b"", Content_Encoding="gzip"),
        whole(PACKED[:-8] + b"\0" * 8, Content_Encoding="gzip"),
        whole(b"no gzip at all", Content_Encoding="gzip"),
        whole(PACKED + b"rubbish", Content_Encoding="gzip"),
        # Lengths that lie.
        Answer(200, {"Content-Length": str(len(SOMETHING) + 1)}, SOMETHING),
        Answer(200, {"Content-Length": "5, 6"}, SOMETHING),
        Answer(200, {"Content-Length": "-5"}, SOMETHING),
        Answer(200, {"Content-Length": "many"}, SOMETHING),
        Answer(200, {}, SOMETHING[:1000]),
        # Chunks that do not come.
        Answer(200, {"Transfer-Encoding": "chunked"}, b"5\r\nabcde\r\n"),
        Answer(200, {"Transfer-Encoding": "chunked"}, b"5\r\nabc"),
        Answer(200, {"Transfer-Encoding": "chunked"}, b"oops\r\n"),
        # Parts that were not requested.
        Answer(206, {"Content-Range": "bytes 0-4/9", "Content-Length": "5"}, b"abcde"),
        # No HTTP.
        Answer(200, {"X: y\r\nno header here": "at all"}, b""),
        whole(b"<html>", Content_Type="Text/HTML"),
        whole(b"", Content_Type="application/json"),
        whole(b"<Error>", Content_Type="application/xml"),
        Answer(302, {"Location": "http://[bad"}),
    ],
    ids=lambda answer: f"{answer.status} {dict(answer.headers)} {answer.body[-12:]!r}",
)
def test_what_may_not_be_the_whole_file_is_fetched_again(
    client: ReportsClient, service: Emulator, tmp_path: Path, broken: Answer
) -> None:
    data, store = brought(service, client, tmp_path / "file", in_turn(broken, whole(SOMETHING)))
    assert data == SOMETHING
    assert len(store.received) == 2


def test_a_part_that_was_not_asked_for_is_not_appended(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    etag = {"ETag": '"one"'}
    data, store = brought(
        service,
        client,
        tmp_path / "file",
        in_turn(
            Answer(200, {"Content-Length": str(len(SOMETHING)), **etag}, SOMETHING[:1000]),
            Answer(
                206,
                {"Content-Range": f"bytes 900-/{len(SOMETHING)}", "Content-Length": "10", **etag},
                SOMETHING[900:910],
            ),
            whole(SOMETHING),
        ),
    )
    assert data == SOMETHING
    assert [a.headers.get("range") for a in store.received] == [None, "bytes=1000-", None]


@pytest.mark.parametrize(
    "changed",
    [
        {"ETag": '"two"'},
        {"ETag": 'W/"one"'},
        {"Content-Range": f"bytes 1000-{len(SOMETHING)}/{len(SOMETHING) + 1}"},
        {"Content-Range": f"bytes 1000-{len(SOMETHING) - 2}/{len(SOMETHING) - 1}"},
    ],
    ids=repr,
)
def test_a_part_of_another_file_is_not_appended(
    client: ReportsClient, service: Emulator, tmp_path: Path, changed: dict[str, str]
) -> None:
    size = len(SOMETHING)
    span = {"ETag": '"one"', "Content-Range": f"bytes 1000-{size - 1}/{size}", **changed}
    end = int(span["Content-Range"].split("/")[1])
    other = b"x" * (end - 1000)
    length = {"Content-Length": str(len(other))}
    data, store = brought(
        service,
        client,
        tmp_path / "file",
        in_turn(
            Answer(200, {"Content-Length": str(size), "ETag": '"one"'}, SOMETHING[:1000]),
            Answer(206, span | length, other),
            whole(SOMETHING),
        ),
    )
    assert data == SOMETHING
    assert [a.headers.get("range") for a in store.received] == [None, "bytes=1000-", None]


def test_a_part_is_appended_though_it_leaves_out_the_etag(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    size = len(SOMETHING)
    span = {
        "Content-Range": f"bytes 1000-{size - 1}/{size}",
        "Content-Length": str(size - 1000),
    }
    data, store = brought(
        service,
        client,
        tmp_path / "file",
        in_turn(
            Answer(200, {"Content-Length": str(size), "ETag": '"one"'}, SOMETHING[:1000]),
            Answer(206, span, SOMETHING[1000:]),
        ),
    )
    assert data == SOMETHING
    assert len(store.received) == 2


def test_without_a_strong_etag_a_broken_download_starts_again(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    weak = {"Content-Length": str(len(SOMETHING)), "ETag": 'W/"one"'}
    data, store = brought(
        service,
        client,
        tmp_path / "file",
        in_turn(Answer(200, weak, SOMETHING[:1000]), whole(SOMETHING)),
    )
    assert data == SOMETHING
    assert all("range" not in one.headers for one in store.received)


def test_a_large_file_over_a_bad_line_needs_more_tries_than_allowed_in_a_row(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    data = SOMETHING * 4
    step = 1_100_000

    def a_bit(request: StoreRequest) -> Answer:
        at = int(request.headers.get("range", "bytes=0-")[6:-1])
        headers = {"ETag": '"one"', "Content-Length": str(len(data) - at)}
        if at:
            headers["Content-Range"] = f"bytes {at}-{len(data) - 1}/{len(data)}"
        return Answer(206 if at else 200, headers, data[at : at + step])

    got, store = brought(service, client, tmp_path / "file", a_bit)
    assert got == data
    assert len(store.received) == 11 > QUICK.attempts


def test_a_download_that_always_breaks_at_the_same_place_ends(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    length = {"Content-Length": str(len(SOMETHING))}
    with pytest.raises(ServiceError, match="given up after 5 tries"):
        brought(
            service,
            client,
            tmp_path / "file",
            in_turn(Answer(200, length, SOMETHING[:2_000_000])),
        )


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "deflate", "zstd"])
def test_an_unknown_compression_is_named(
    client: ReportsClient, service: Emulator, tmp_path: Path, encoding: str
) -> None:
    with pytest.raises(ServiceError, match=f"content encoding '{encoding}'"):
        brought(service, client, tmp_path / "file", in_turn(whole(b"x", Content_Encoding=encoding)))


@pytest.mark.parametrize("status", [204, 300, 400, 401, 405, 501])
def test_an_answer_that_makes_no_sense_ends_it(
    client: ReportsClient, service: Emulator, tmp_path: Path, status: int
) -> None:
    with pytest.raises(ServiceError, match=f"object storage answered {status}"):
        brought(
            service, client, tmp_path / "file", in_turn(Answer(status, {"Content-Length": "0"}))
        )


def test_a_file_that_inflates_without_end_is_given_up(
    client: ReportsClient, service: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The bound is lowered so that the test need not write a gigabyte.
    monkeypatch.setattr("tap_barchart_events.api.download.INFLATED_AT_LEAST", 10_000_000)
    source = finished_job(client)
    service.fault("download", "bomb")
    with pytest.raises(FileError, match="inflates to over 1"):
        client.download(source, tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_a_full_disk_says_what_to_do(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    source = finished_job(client)
    service.fault("download", "cut", at=10)
    full = tmp_path / "file"
    full.symlink_to("/dev/full")
    with pytest.raises(FileError, match=r"No space left.*free space there, or set TMPDIR"):
        client.download(source, full)
    assert Path("/dev/full").is_char_device()


def test_a_download_ends_with_the_sync(
    make_client: Callable[..., ReportsClient], service: Emulator, tmp_path: Path
) -> None:
    stopped = threading.Event()
    client = make_client(stopped=stopped)
    source = finished_job(client)

    def without_end() -> Iterator[bytes]:
        while True:
            yield b"x" * 10_000
            stopped.set()

    answer = Answer(200, {"Content-Length": str(10**9)}, without_end())
    with ObjectStore(in_turn(answer)) as store:
        service.fault("link", "link", link=store.link)
        with pytest.raises(SyncStopped):
            client.download(source, tmp_path / "file")


def test_a_file_is_for_its_owner_only(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    before = os.umask(0)
    try:
        client.download(finished_job(client), tmp_path / "file")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert service.jobs
