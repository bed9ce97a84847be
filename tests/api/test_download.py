"""Downloads over real HTTP: those that break, and object stores that answer anything."""

import gzip
import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tap_barchart_events.api.client import ReportsClient
from tap_barchart_events.exceptions import ServiceError, SyncStopped
from tests.api.jobs import QUICK, start
from tests.raw_server import RawServer, Request, Response, http

Bring = Callable[..., tuple[bytes, list[Request]]]

SOMETHING = random.Random(7).randbytes(3_000_000)  # noqa: S311 - any bytes
SIZE = len(SOMETHING)
PACKED = gzip.compress(SOMETHING, mtime=0)
PARTS = [gzip.compress(SOMETHING[at : at + 400_000]) for at in range(0, 3 * 10**6, 400_000)]


@pytest.fixture
def service() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


@pytest.fixture
def bring(service: RawServer, client: ReportsClient, tmp_path: Path) -> Bring:
    """Download from a store that gives these responses, the last one again and again.

    Each response ends its connection. Returns the file and the requests.
    """

    def bring(*responses: bytes) -> tuple[bytes, list[Request]]:
        left = [*responses[:-1]]
        service.responses["download"] = lambda *_: [left.pop(0) if left else responses[-1]]
        client.download(start(client), tmp_path / "file")
        return (tmp_path / "file").read_bytes(), service.calls("download")

    return bring


def cut(response: bytes, size: int) -> bytes:
    """Return a response of whose body no more comes."""
    head, end, body = response.partition(b"\r\n\r\n")
    return head + end + body[:size]


def chunks(body: bytes, status: str = "200 OK", **headers: object) -> bytes:
    return http(body, status, length=False, Transfer_Encoding="chunked", **headers)


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
    bring: Bring, body: bytes, expected: bytes, encoding: str
) -> None:
    data, requests = bring(http(body, Content_Encoding=encoding))
    assert data == expected
    assert [one.headers["Accept-Encoding"] for one in requests] == ["identity"]


BROKEN = [
    # Ended early in good order: only the compression itself can tell.
    http(PACKED[: len(PACKED) // 2], Content_Encoding="gzip"),
    http(PACKED[:-8], Content_Encoding="gzip"),
    http(PACKED[:-3], length=False, Content_Encoding="gzip"),
    # Another gzip file might have followed.
    http(PACKED, length=False, Content_Encoding="gzip"),
    http(b"", Content_Encoding="gzip"),
    http(PACKED[:-8] + b"\0" * 8, Content_Encoding="gzip"),
    http(PACKED + b"rubbish", Content_Encoding="gzip"),
    # Lengths that lie.
    http(SOMETHING, Content_Length=SIZE + 1),
    http(SOMETHING, Content_Length="5, 6"),
    http(SOMETHING, Content_Length="-5"),
    http(SOMETHING, Content_Length="many"),
    http(SOMETHING[:1000], length=False),
    # Chunks that do not come.
    chunks(b"5\r\nabcde\r\n"),
    chunks(b"5\r\nabc"),
    chunks(b"oops\r\n"),
    # Parts that were not requested.
    http(b"abcde", "206 Partial Content", Content_Range="bytes 0-4/9"),
    # No HTTP.
    http(length=False, **{"X: y\r\nno header here": "at all"}),
    http(b"", "302 Found", Location="http://[bad"),
    # Without a strong ETag, the rest cannot be asked for.
    cut(http(SOMETHING, ETag='W/"one"'), 1000),
]


@pytest.mark.parametrize("broken", BROKEN, ids=range(len(BROKEN)))
def test_what_may_not_be_the_whole_file_is_fetched_again(bring: Bring, broken: bytes) -> None:
    data, requests = bring(broken, http(SOMETHING))
    assert data == SOMETHING
    assert [one.headers["Range"] for one in requests] == [None, None]


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_cut_download_goes_on_where_it_broke(
    service: RawServer, client: ReportsClient, tmp_path: Path, *, is_packed: bool
) -> None:
    data = gzip.compress(SOMETHING * 4, mtime=0) if is_packed else SOMETHING * 4
    headers: dict[str, Any] = {"ETag": '"one"', "Content-Encoding": "gzip" if is_packed else None}
    step = 1_100_000

    def a_bit(request: Request, _: bytes) -> Response:
        at = int((request.headers["Range"] or "bytes=0-")[6:-1])
        status = "206 Partial Content" if at else "200 OK"
        rest = f"bytes {at}-{len(data) - 1}/{len(data)}" if at else None
        return [cut(http(data[at:], status, Content_Range=rest, **headers), step)]

    service.responses["download"] = a_bit
    size = client.download(start(client), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == SOMETHING * 4
    assert size == len(data)
    first, *others = service.calls("download")
    assert (first.headers["Range"], first.headers["If-Range"]) == (None, None)
    starts = range(step, len(data), step)
    assert [one.headers["Range"] for one in others] == [f"bytes={at}-" for at in starts]
    assert {one.headers["If-Range"] for one in others} == {'"one"'}
    assert len(others) == 10 > QUICK.attempts, "tries that bring much are not counted"
    assert len(service.calls("link")) == 11, "a link that broke may have run out, too"


def test_a_download_that_always_breaks_at_the_same_place_ends(bring: Bring) -> None:
    with pytest.raises(ServiceError, match="gave up after 5 tries"):
        bring(cut(http(SOMETHING), 2_000_000))


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
        (206, {"Transfer-Encoding": "chunked"}, 1000),
        # Neither the part nor the whole.
        (200, {"Content-Range": None}, SIZE - 1000),
        (200, {}, SIZE - 1000),
        (200, {"Transfer-Encoding": "chunked"}, SIZE - 1000),
        (400, {}, 0),
        (412, {}, 0),
        (416, {"Content-Range": "bytes */3000000"}, 0),
        (501, {}, 0),
    ],
)
def test_an_answer_to_a_range_that_may_be_another_one_is_not_used(
    bring: Bring, status: int, headers: dict[str, Any], size: int
) -> None:
    body, labels = b"x" * size, REST | headers
    if "Transfer-Encoding" in headers:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
        labels["Content-Length"] = None
    first = cut(http(SOMETHING, ETag='"one"'), 1000)
    data, requests = bring(first, http(body, f"{status} Reason", **labels), http(SOMETHING))
    assert data == SOMETHING
    assert [one.headers["Range"] for one in requests] == [None, "bytes=1000-", None]


def test_a_whole_file_in_the_place_of_a_range_replaces_what_was_received(bring: Bring) -> None:
    first = cut(http(b"x" * SIZE, ETag='"one"'), 1000)
    data, requests = bring(first, http(SOMETHING, ETag='"two"'))
    assert data == SOMETHING
    assert len(requests) == 2


@pytest.mark.parametrize("status", [204, 300, 401, 405, 501])
def test_a_response_that_makes_no_sense_ends_it(bring: Bring, status: int) -> None:
    with pytest.raises(ServiceError, match=f"object storage answered {status}"):
        bring(http(b"", f"{status} Reason"))


def test_a_download_ends_with_the_sync(
    client: ReportsClient, service: RawServer, tmp_path: Path
) -> None:

    def without_end(*_: object) -> Iterator[bytes]:
        yield http(Content_Length=10**9)
        while True:
            yield b"x" * 10_000
            client.stopped.set()

    service.responses["download"] = without_end
    source = start(client)
    with pytest.raises(SyncStopped):
        client.download(source, tmp_path / "file")


def test_the_body_of_a_redirect_is_not_read(
    client: ReportsClient, service: RawServer, tmp_path: Path
) -> None:
    onward = chunks(b"", "302 Found", Location="/onward")
    endless = itertools.repeat(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
    service.responses["download"] = lambda *_: itertools.chain([onward], endless)
    service.responses["other"] = lambda *_: http(SOMETHING)
    client.download(start(client), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == SOMETHING


@pytest.mark.parametrize("call", ["link", "download"])
def test_a_link_that_is_read_in_two_ways_is_not_followed(
    bring: Bring, service: RawServer, call: str
) -> None:
    # What urllib.parse takes for a password is the host for urllib3.
    elsewhere = "http://192.0.2.1\\@127.0.0.1/file"
    if call == "link":
        service.responses["link"] = lambda *_: http({"link": elsewhere})
    with pytest.raises(ServiceError, match="the link is not https"):
        bring(http(b"", "302 Found", Location=elsewhere))
