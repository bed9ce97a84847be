"""Downloads over real HTTP: those that break, and object stores that answer anything."""

from __future__ import annotations

import errno
import gzip
import itertools
import os
import random
import stat
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tap_barchart_events.exceptions import (
    FileError,
    ResourceError,
    ServiceError,
    SyncStopped,
)
from tests.api.jobs import QUICK, calls, contents, finished_job
from tests.object_store import ObjectStore, Response, StoreRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from barchart_events_emulator import Emulator
    from tap_barchart_events.api.client import ReportsClient

SOMETHING = random.Random(7).randbytes(3_000_000)  # noqa: S311 - any bytes


def test_too_many_open_files_are_no_reason_to_free_space(
    client: ReportsClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    source = finished_job(client)
    why = r"\(Too many open files\); raise the limit of open files \(ulimit -n\)"
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ResourceError, match=why):
        client.download(source, tmp_path / "file")


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


def test_a_part_that_was_not_asked_for_is_not_appended(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    etag = {"ETag": '"one"'}
    data, store = brought(
        service,
        client,
        tmp_path / "file",
        in_turn(
            Response(200, {"Content-Length": str(len(SOMETHING)), **etag}, SOMETHING[:1000]),
            Response(
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
        {"ETag": ""},  # none at all: it may be of any file (RFC 9110, 15.3.7)
        {"Content-Encoding": "gzip"},
        {"Content-Range": f"bytes 1000-{len(SOMETHING)}/{len(SOMETHING) + 1}"},
        {"Content-Range": f"bytes 1000-{len(SOMETHING) - 2}/{len(SOMETHING) - 1}"},
    ],
    ids=repr,
)
def test_a_part_of_another_file_is_not_appended(
    client: ReportsClient, service: Emulator, tmp_path: Path, changed: dict[str, str]
) -> None:
    size = len(SOMETHING)
    usual = {"ETag": '"one"', "Content-Range": f"bytes 1000-{size - 1}/{size}"}
    span = {name: text for name, text in {**usual, **changed}.items() if text}
    end = int(span["Content-Range"].split("/")[1])
    other = b"x" * (end - 1000)
    length = {"Content-Length": str(len(other))}
    data, store = brought(
        service,
        client,
        tmp_path / "file",
        in_turn(
            Response(200, {"Content-Length": str(size), "ETag": '"one"'}, SOMETHING[:1000]),
            Response(206, span | length, other),
            whole(SOMETHING),
        ),
    )
    assert data == SOMETHING
    assert [a.headers.get("range") for a in store.received] == [None, "bytes=1000-", None]


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


@pytest.mark.parametrize(
    "encoding", ["br", "gzip, gzip", "deflate", "zstd", "\tgzip", "gzip ", "gzip , ", "\x1b[2J"]
)
@pytest.mark.parametrize("body", [b"no gzip at all", PACKED, gzip.compress(b"", mtime=0)])
def test_a_label_that_the_bytes_contradict_is_a_warning(
    client: ReportsClient,
    service: Emulator,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    encoding: str,
    body: bytes,
) -> None:
    data, store = brought(
        service, client, tmp_path / "file", in_turn(whole(body, Content_Encoding=encoding))
    )
    assert data == (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
    assert len(store.received) == 1
    lines = [record.getMessage() for record in caplog.records]
    assert sum("bytes contradict the Content-Encoding" in line for line in lines) <= 1
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("form", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("packed", [False, True])
def test_text_in_utf_16_is_named_with_and_without_a_byte_order_mark(
    client: ReportsClient, service: Emulator, tmp_path: Path, form: str, *, packed: bool
) -> None:
    data = "1767225601000|WATCHLIST-CREATED|u\n".encode(form)
    response = whole(gzip.compress(data) if packed else data)
    with pytest.raises(FileError, match="the file is text in UTF-16, and the tap reads text in"):
        brought(service, client, tmp_path / "file", in_turn(response))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "headers", "size"),
    [
        (200, {}, 2_999_000),
        (200, {"Content-Range": "bytes 1000-2999999/3000000"}, 2_999_000),
        (200, {"Transfer-Encoding": "chunked", "Content-Length": None}, 2_999_000),
        (206, {"Content-Range": "bytes 1000-1999/3000000"}, 2_999_000),
        (206, {"Content-Range": "bytes 1000-2999999/*"}, 2_999_000),
        (206, {"Content-Range": "bytes 999-2999998/3000000"}, 2_999_000),
        (206, {}, 2_999_000),
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
    etag = {"ETag": '"one"'}
    labels = {"Content-Length": str(size), **etag, **headers}
    body = (
        b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size) if None in headers.values() else b"x" * size
    )
    data, store = brought(
        service,
        client,
        tmp_path / "file",
        in_turn(
            Response(200, {"Content-Length": str(len(SOMETHING)), **etag}, SOMETHING[:1000]),
            Response(status, {n: text for n, text in labels.items() if text is not None}, body),
            whole(SOMETHING),
        ),
    )
    assert data == SOMETHING
    assert [a.headers.get("range") for a in store.received] == [None, "bytes=1000-", None]


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


def test_an_error_whose_body_breaks_is_known_by_its_status(
    client: ReportsClient, service: Emulator, tmp_path: Path
) -> None:
    broken = Response(401, {"Content-Length": "1000"}, b"<Error><Code>No")
    with pytest.raises(ServiceError, match="object storage answered 401; if the error persists"):
        brought(service, client, tmp_path / "file", in_turn(broken))
    assert calls(service, "link") == 1


def test_a_file_that_inflates_without_end_is_given_up(
    client: ReportsClient, service: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The bound is lowered so that the test need not write gigabytes.
    monkeypatch.setattr("tap_barchart_events.api.download.MAX_FILE_BYTES", 100_000_000)
    source = finished_job(client)
    service.fault("download", "bomb")
    with pytest.raises(FileError, match=r"over 100,000,000 bytes.*lower window_hours"):
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

    response = Response(200, {"Content-Length": str(10**9)}, without_end())
    with ObjectStore(in_turn(response)) as store:
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
        brought(service, client, tmp_path, in_turn(Response(302, {"Location": elsewhere})))
    service.clear_faults()
    source = finished_job(client)
    service.fault("link", "link", link=elsewhere)
    with pytest.raises(ServiceError, match="the link is not https; nothing was sent there"):
        client.download(source, tmp_path)
