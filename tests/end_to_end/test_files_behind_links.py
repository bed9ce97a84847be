"""Whole syncs from object storage that labels, packs, cuts or refuses files in other ways."""

import re
from typing import Any

import pytest

from barchart_events_emulator import Emulator
from tests.expected_events import arrived, expected_events
from tests.raw_server import RawServer, http
from tests.tap_runs import END, START, hour, settings_of, sync, synced

pytestmark = pytest.mark.usefixtures("hardly_waiting")


def check_complete(service: Emulator, **settings: Any) -> None:
    """Run a sync; check that all events came, and that no call was made again."""
    outcome = synced(settings_of(service, **settings))
    assert arrived(outcome.records) == expected_events(service, ["WATCHLIST"], START, END)


def one_window(service: Emulator | RawServer, **more: Any) -> dict[str, Any]:
    """Return settings for a sync of one window."""
    return settings_of(service, end_date=hour(1), **more)


def downloads(service: Emulator) -> int:
    return sum(request.call == "download" for request in service.requests)


# Labels --------------------------------------------------------------------------------------

ENCODINGS = ("UTF-8", "aws-chunked", "binary", "none", "no such word", "", "identity", "br")


@pytest.mark.parametrize("form", [None, "gzip"])
@pytest.mark.parametrize(
    "labels",
    [
        *({"content_encoding": name} for name in ENCODINGS),
        *({"content_encoding": name} for name in ("gzip", "X-GZIP", "aws-chunked,gzip")),
        *({"content_type": name} for name in ("text/html; charset=utf-8", "application/x-gzip")),
        *({"content_type": name} for name in ("application/json", "application/xml", "x")),
    ],
    ids=str,
)
def test_the_bytes_of_a_file_say_whether_it_is_compressed(
    service: Emulator, warnings: list[str], labels: dict[str, Any], form: str | None
) -> None:
    service.fault("download", "form", times=None, form=form, **labels)
    check_complete(service, window_hours=4)
    assert downloads(service) == 1, "it was not refused"
    assert warnings == []


@pytest.mark.parametrize("kind", ["text/html", "application/json", "application/xml"])
@pytest.mark.parametrize("body", ["<html>", "\ufeff \n{", "\n[1]", "", "\n\n"])
def test_a_page_instead_of_a_file_is_retried(server: RawServer, kind: str, body: str) -> None:
    left = [http(body.encode(), Content_Type=kind)] * 2
    server.responses["download"] = lambda _, usual: left.pop() if left else usual
    outcome = synced(one_window(server))
    assert len(outcome.records) == 60
    assert len(server.calls("download")) == 1 + 2


@pytest.mark.parametrize(
    ("labels", "is_window"),
    [
        ({}, True),
        ({"Content_Type": "text/csv"}, True),
        ({"Content_Type": "binary/octet-stream", "Content_Encoding": "UTF-8"}, True),
        ({"Content_Type": "text/csv", "Content_Encoding": "aws-chunked"}, True),
        ({"Content_Type": "application/json"}, False),
        ({"Content_Type": "text/html"}, False),
        ({"Content_Encoding": "gzip"}, False),
        ({"Content_Encoding": "aws-chunked, gzip"}, False),
        ({"Content_Encoding": "br"}, False),
        ({"Content_Type": "application/gzip"}, False),
    ],
    ids=repr,
)
def test_an_empty_body_is_a_window_without_events_unless_a_label_contradicts_it(
    server: RawServer, labels: dict[str, Any], *, is_window: bool
) -> None:
    server.responses["download"] = lambda _, __: http(b"", **labels)
    outcome = sync(one_window(server, max_retries=1))
    assert outcome.records == []
    if is_window:
        assert outcome.error is None
        assert outcome.bookmarks
        return
    assert not outcome.bookmarks
    label = "".join(labels.values())
    assert re.search(
        rf"the response is not the file: it is empty, although it is labelled '{label}'; gave "
        "up after 2 tries .*; check any proxy; if the error persists, contact Barchart support",
        outcome.reason,
    )


# Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["ExpiredToken", "RequestTimeout", "TokenRefreshRequired"])
def test_a_link_that_storage_no_longer_accepts_is_replaced(service: Emulator, code: str) -> None:
    service.fault("download", "storage-error", times=2, code=code)
    check_complete(service)
    assert sum(request.call == "link" for request in service.requests) == 4 + 2


def test_a_transfer_continues_with_a_new_link(service: Emulator) -> None:
    service.fault("download", "cut", at=1000)
    service.fault("download", "storage-error", status=403, code="AccessDenied")
    check_complete(service, max_concurrent_jobs=1)
    ranges = [r.headers.get("range") for r in service.requests if r.call == "download"]
    assert ranges == [None, "bytes=1000-", "bytes=1000-", None, None, None]


@pytest.mark.parametrize(
    ("status", "code", "tries"),
    [
        (400, "InvalidArgument", 1),
        (400, "ExpiredToken", 2),
        (403, "SignatureDoesNotMatch", 2),
        (501, "NotImplemented", 1),
        (503, "SlowDown", 2),
    ],
)
def test_the_code_of_object_storage_stands_in_the_error(
    service: Emulator, status: int, code: str, tries: int
) -> None:
    service.fault("download", "storage-error", times=None, status=status, code=code)
    outcome = sync(one_window(service, max_retries=1))
    assert f"object storage answered {status} {code};" in outcome.reason
    assert "no file" not in outcome.reason
    assert downloads(service) == tries


@pytest.mark.parametrize(
    "code", ["", "x" * 201, "https://storage.example/?signature=1", "\x1b[2J", "<b/>"]
)
def test_what_is_no_code_does_not_reach_the_error(service: Emulator, code: str) -> None:
    service.fault("download", "storage-error", times=None, status=401, code=code)
    outcome = sync(one_window(service))
    assert "object storage answered 401; " in outcome.reason
