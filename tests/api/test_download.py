"""Downloads over real HTTP: those that break, and object stores that answer anything."""

from __future__ import annotations

import gzip
import itertools
import random
import threading
from typing import TYPE_CHECKING

import pytest

from tap_barchart_events.exceptions import (
    FileError,
    ServiceError,
    SyncStopped,
)
from tests.api.jobs import QUICK, calls, contents, finished_job
from tests.object_store import ObjectStore, Response, StoreRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from barchart_events_emulator import Emulator
    from tap_barchart_events.api.client import ReportsClient

SOMETHING = random.Random(7).randbytes(3_000_000)  # noqa: S311 - any bytes


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


# An object store of the worst kind -----------------------------------------------------------


def brought(
    service: Emulator,
    client: ReportsClient,
    path: Path,
    respond: Callable[[StoreRequest], Response],
) -> tuple[bytes, ObjectStore]:
    """Download from an object store that gives this response; return the file."""
    with ObjectStore(respond) as store:
        source = finished_job(client)
        service.fault("link", "link", times=None, link=store.link)
        client.download(source, path)
    return path.read_bytes(), store


def in_turn(*responses: Response) -> Callable[[StoreRequest], Response]:
    """Return the responses one after the other, the last one again and again."""
    left = list(responses)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def whole(data: bytes, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(200, {"Content-Length": str(len(data)), **named}, data)


PACKED = gzip.compress(SOMETHING, mtime=0)
PARTS = [gzip.compress(SOMETHING[at : at + 400_000]) for at in range(0, 3 * 10**6, 400_000)]


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip , ", "\x1b[2J", ""])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (PACKED, SOMETHING),
        (b"".join(PARTS), SOMETHING),
        (gzip.compress(PACKED), SOMETHING),
        (gzip.compress(b""), b""),
        (b"no gzip at all", b"no gzip at all"),
    ],
    ids=["one", "one after the other", "twice", "nothing", "none"],
)
def test_compression_nobody_asked_for_is_undone_whatever_the_label(
    client: ReportsClient,
    service: Emulator,
    tmp_path: Path,
    body: bytes,
    expected: bytes,
    encoding: str,
) -> None:
    data, store = brought(
        service, client, tmp_path / "file", in_turn(whole(body, Content_Encoding=encoding))
    )
    assert data == expected
    assert [one.headers["accept-encoding"] for one in store.received] == ["identity"]


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
            Response(200, {"Content-Length": str(len(PACKED)), **headers}, PACKED[:half]),
            Response(206, rest | headers, PACKED[half:]),
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
        Response(200, {"Content-Encoding": "gzip"}, PACKED[:-3]),
        # Another gzip file might have followed.
        Response(200, {"Content-Encoding": "gzip"}, PACKED),
        whole(b"", Content_Encoding="gzip"),
        whole(PACKED[:-8] + b"\0" * 8, Content_Encoding="gzip"),
        whole(PACKED + b"rubbish", Content_Encoding="gzip"),
        # Lengths that lie.
        Response(200, {"Content-Length": str(len(SOMETHING) + 1)}, SOMETHING),
        Response(200, {"Content-Length": "5, 6"}, SOMETHING),
        Response(200, {"Content-Length": "-5"}, SOMETHING),
        Response(200, {"Content-Length": "many"}, SOMETHING),
        Response(200, {}, SOMETHING[:1000]),
        # Chunks that do not come.
        Response(200, {"Transfer-Encoding": "chunked"}, b"5\r\nabcde\r\n"),
        Response(200, {"Transfer-Encoding": "chunked"}, b"5\r\nabc"),
        Response(200, {"Transfer-Encoding": "chunked"}, b"oops\r\n"),
        # Parts that were not requested.
        Response(206, {"Content-Range": "bytes 0-4/9", "Content-Length": "5"}, b"abcde"),
        # No HTTP.
        Response(200, {"X: y\r\nno header here": "at all"}, b""),
        whole(b"<html>", Content_Type="Text/HTML"),
        whole(b"", Content_Type="application/json"),
        whole(b"<Error>", Content_Type="application/xml"),
        Response(302, {"Location": "http://[bad"}),
    ],
    ids=lambda response: f"{response.status} {dict(response.headers)} {response.body[-12:]!r}",
)
def test_what_may_not_be_the_whole_file_is_fetched_again(
    client: ReportsClient, service: Emulator, tmp_path: Path, broken: Response
) -> None:
    data, store = brought(service, client, tmp_path / "file", in_turn(broken, whole(SOMETHING)))
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
        in_turn(Response(200, weak, SOMETHING[:1000]), whole(SOMETHING)),
    )
    assert data == SOMETHING
    assert all("range" not in one.headers for one in store.received)


def test_a_large_file_over_a_bad_line_needs_more_tries_than_allowed_in_a_row(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    data = SOMETHING * 4
    step = 1_100_000

    def a_bit(request: StoreRequest) -> Response:
        at = int(request.headers.get("range", "bytes=0-")[6:-1])
        headers = {"ETag": '"one"', "Content-Length": str(len(data) - at)}
        if at:
            headers["Content-Range"] = f"bytes {at}-{len(data) - 1}/{len(data)}"
        return Response(206 if at else 200, headers, data[at : at + step])

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
            in_turn(Response(200, length, SOMETHING[:2_000_000])),
        )


SIZE = len(SOMETHING)
REST = {"ETag": '"one"', "Content-Range": f"bytes 1000-{SIZE - 1}/{SIZE}"}
"""Labels of the range that is requested after the first 1,000 bytes."""


@pytest.mark.parametrize(
    ("status", "headers", "size"),
    [
        # Parts of another file; without an ETag it may be any (RFC 9110, 15.3.7).
        (206, {"ETag": '"two"'}, SIZE - 1000),
        (206, {"ETag": 'W/"one"'}, SIZE - 1000),
        (206, {"ETag": None}, SIZE - 1000),
        (206, {"Content-Encoding": "gzip"}, SIZE - 1000),
        (206, {"Content-Range": f"bytes 1000-{SIZE}/{SIZE + 1}"}, SIZE - 999),
        (206, {"Content-Range": f"bytes 1000-{SIZE - 2}/{SIZE - 1}"}, SIZE - 1001),
        # Other parts.
        (206, {"Content-Range": f"bytes 900-/{SIZE}"}, 10),
        (206, {"Content-Range": "bytes 1000-1999/3000000"}, SIZE - 1000),
        (206, {"Content-Range": "bytes 1000-2999999/*"}, SIZE - 1000),
        (206, {"Content-Range": "bytes 999-2999998/3000000"}, SIZE - 1000),
        (206, {"Content-Range": None}, SIZE - 1000),
        (206, {"Transfer-Encoding": "chunked", "Content-Length": None}, 1000),
        # Neither the part nor the whole.
        (200, {"Content-Range": None}, SIZE - 1000),
        (200, {}, SIZE - 1000),
        (200, {"Transfer-Encoding": "chunked", "Content-Length": None}, SIZE - 1000),
        (400, {}, 0),
        (412, {}, 0),
        (416, {"Content-Range": "bytes */3000000"}, 0),
        (501, {}, 0),
    ],
)
def test_an_answer_to_a_range_that_may_be_another_one_is_not_used(
    client: ReportsClient,
    service: Emulator,
    tmp_path: Path,
    status: int,
    headers: dict[str, str | None],
    size: int,
) -> None:
    labels = {"Content-Length": str(size), **REST, **headers}
    body = b"x" * size
    if "Transfer-Encoding" in labels:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
    first = {"Content-Length": str(SIZE), "ETag": '"one"'}
    data, store = brought(
        service,
        client,
        tmp_path / "file",
        in_turn(
            Response(200, first, SOMETHING[:1000]),
            Response(status, {n: text for n, text in labels.items() if text is not None}, body),
            whole(SOMETHING),
        ),
    )
    assert data == SOMETHING
    assert [one.headers.get("range") for one in store.received] == [None, "bytes=1000-", None]


def test_a_whole_file_in_the_place_of_a_range_replaces_what_was_received(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    length = {"Content-Length": str(len(SOMETHING))}
    data, store = brought(
        service,
        client,
        tmp_path / "file",
        in_turn(
            Response(200, {**length, "ETag": '"one"'}, b"x" * 1000),
            Response(200, {**length, "ETag": '"two"'}, SOMETHING),
        ),
    )
    assert data == SOMETHING
    assert len(store.received) == 2


@pytest.mark.parametrize("status", [204, 300, 401, 405, 501])
def test_a_response_that_makes_no_sense_ends_it(
    client: ReportsClient, service: Emulator, tmp_path: Path, status: int
) -> None:
    with pytest.raises(ServiceError, match=f"object storage answered {status}"):
        brought(
            service, client, tmp_path / "file", in_turn(Response(status, {"Content-Length": "0"}))
        )


def test_a_file_that_inflates_without_end_is_given_up(
    client: ReportsClient, service: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The bound is lowered so that the test need not write gigabytes.
    monkeypatch.setattr("tap_barchart_events.api.download.MAX_FILE_BYTES", 100_000_000)
    source = finished_job(client)
    service.fault("download", "bomb")
    with pytest.raises(FileError, match=r"over 100,000,000 bytes.*lower window_hours"):
        client.download(source, tmp_path / "file")
    assert [*tmp_path.iterdir()] == []


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

    response = Response(200, {"Content-Length": str(10**9)}, without_end())
    with ObjectStore(in_turn(response)) as store:
        service.fault("link", "link", link=store.link)
        with pytest.raises(SyncStopped):
            client.download(source, tmp_path / "file")


def test_the_body_of_a_redirect_is_not_read(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    def respond(request: StoreRequest) -> Response:
        onward = {"Location": "/onward", "Transfer-Encoding": "chunked"}
        endless = itertools.repeat(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
        return whole(SOMETHING) if request.path == "/onward" else Response(302, onward, endless)

    assert brought(service, client, tmp_path / "file", respond)[0] == SOMETHING


def test_a_link_that_is_read_in_two_ways_is_not_followed(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    # What urllib.parse takes for a password is the host for urllib3.
    elsewhere = "http://192.0.2.1\\@127.0.0.1/file"
    with pytest.raises(ServiceError, match="the link is not https; nothing was sent there"):
        brought(service, client, tmp_path / "file", in_turn(Response(302, {"Location": elsewhere})))
    service.clear_faults()
    source = finished_job(client)
    service.fault("link", "link", link=elsewhere)
    with pytest.raises(ServiceError, match="the link is not https; nothing was sent there"):
        client.download(source, tmp_path / "file")
