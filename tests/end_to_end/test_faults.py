"""The fault matrix: whatever breaks, at whichever call, all events come or an error says why."""

import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from barchart_events_emulator import KINDS, Emulator
from tests.expected_events import arrived, expected_events
from tests.tap_runs import END, START, hour, settings_of, sync, synced

pytestmark = pytest.mark.usefixtures("hardly_waiting")

EMULATOR = {"job_seconds": 0.01, "events_per_hour": 20}

API = ("start", "poll", "link")
ALL = (*API, "download")
FIRST_END = hour(1)
"""Where the first window ends."""

ONE_BY_ONE = {"max_concurrent_jobs": 1, "poll_interval_seconds": 0.1}
"""Each call comes once a window: no job runs any more when it is first polled."""

NO_FILE = "answered %d .*object storage has no file, which can happen after an export without"
CREDENTIALS = r"answered 401 \(\w+\); check username, password, customer and api_url$"
FORBIDDEN = r"answered 403 \(\w+\); check products, username, customer and api_url$"


@dataclass(frozen=True)
class Row:
    """A fault at a call, and what is to come of it."""

    call: str
    kind: str
    details: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    """What the error says; none: the sync succeeds."""

    def __str__(self) -> str:
        details = "".join(f" {name}={value!r:.40}" for name, value in self.details.items())
        return f"{self.call} {self.kind}{details}"


def rows(
    calls: tuple[str, ...] | str, kind: str, error: str | None = None, **details: Any
) -> list[Row]:
    """Return a row for each of the calls."""
    calls = (calls,) if isinstance(calls, str) else calls
    return [Row(call, kind, details, error) for call in calls]


MATRIX = [
    # What gateways and overloaded services answer.
    *(row for code in (429, 500, 502, 503, 504) for row in rows(ALL, "status", code=code)),
    *rows(ALL, "status", code=429, retry_after=0),
    *rows(ALL, "status", code=503, retry_after=1, as_date=True),
    *rows(ALL, "status", code=503, body="empty"),
    *rows(API, "status", CREDENTIALS, code=401),
    *rows(API, "status", FORBIDDEN, code=403),
    *rows("download", "status", code=403),
    *rows("download", "status", "object storage answered 401", code=401),
    *rows("start", "status", "answered 404, which is not documented; check api_url", code=404),
    *rows(("poll", "link"), "status", code=404),
    *rows("download", "status", code=404),
    *(
        row
        for code in ("", "_RUNNING", "_NO_JOB")
        for row in rows(ALL, "error", code="EVENT_JOB_GET_FAILED" + code)
    ),
    *rows(("poll", "link"), "error", code="EVENT_JOB_GET_FAILED_NO_JOB", status=404),
    *rows(ALL, "error", code="REQUEST_GENERAL_FAILURE"),
    *rows("start", "error", "gave up after 3 tries; check customer", code="UNKNOWN", status=400),
    *rows("start", "error", "MALFORMED.*; check customer", code="REQUEST_INPUT_MALFORMED"),
    *rows(ALL, "html"),
    *rows(ALL, "empty"),
    *rows(ALL, "malformed"),
    *rows(ALL, "shape", value=[]),
    *rows(ALL, "shape", value={"status": 7}),
    *rows(API, "shape", value="text"),
    *rows(API, "shape", value=None),
    *rows("download", "shape", "cannot be read", value="text"),
    *rows("download", "shape", "cannot be read", value=None),
    *rows(("start", "poll"), "redirect", "answered 302, which is not documented"),
    *rows(("link", "download"), "redirect"),
    # Connections.
    *rows(ALL, "drop"),
    *rows(ALL, "drop", acted=True),
    *rows(ALL, "drop-headers"),
    *rows(ALL, "cut"),
    *rows(ALL, "cut", at=1),
    *rows(ALL, "cut", chunked=True),
    *rows(ALL, "slow", bytes_per_second=20_000),
    *rows(ALL, "stall"),
    *rows(ALL, "stall", at=3),
    *rows(ALL, "stall", seconds=0.1),
    # Jobs.
    *rows(API, "job-failed"),
    *rows(API, "job-timeout"),
    *rows(API, "job-hangs"),
    *rows(("start", "poll"), "job-status", "undocumented status 'PAUSED'"),
    *rows("link", "job-status"),
    *rows(API, "forget"),
    # Jobs that are another export's: a new one is started. Types are compared if any are asked for.
    *rows(("start", "poll"), "no-filter"),
    *rows(("start", "poll"), "filter", left_out=["customer", "product", "start", "end"]),
    *rows(("start", "poll"), "filter", types=["ANOTHER-TYPE"]),
    *rows(("start", "poll"), "filter", nulls=["customer", "product", "start", "end"]),
    *(
        row
        for error in (None, "for another export.*after 4 tries")
        for echo in ({"customer": "OTHER"}, {"product": "ALERT"}, {"start": 1 << 50}, {"end": 1})
        for row in rows(("start", "poll"), "filter", error, **echo)
    ),
    *rows("start", "same-job"),
    *rows("start", "same-job", "for another export.*after 4 tries"),
    *rows("start", "other-range", "none of its .* rows is inside this window"),
    # Links.
    *rows("link", "link-seconds"),
    *rows("link", "link", link="https://127.0.0.1:1/file.csv"),
    *rows("link", "link", link=""),
    *rows("link", "link", "the link is not https", link="http://example.invalid/file.csv"),
    *rows("link", "link", "the link is not https", link="file:///etc/passwd"),
    *rows("link", "link", "the link is not https", link="/exports/file.csv"),
    # Files.
    *rows("download", "expire"),
    *rows("download", "expire", at=500),
    *rows("download", "etag"),
    *rows("download", "etag", at=500),
    *rows("download", "truncate", "cannot be read: line", at=1000),
    *rows("download", "rest"),
    *rows("download", "form", form="gzip"),
    *rows("download", "form", content_type="application/json", content_encoding="UTF-8"),
    *rows("download", "form", "is not valid UTF-8", form="zip"),
    *rows("download", "form", "is not valid UTF-8", form="utf-16"),
    *rows("download", "storage-error"),
    *rows("download", "storage-error", status=404, code="NoSuchKey"),
    *(
        row
        for status, code in ((404, "NoSuchKey"), (403, "AccessDenied"))
        for row in rows("download", "storage-error", NO_FILE % status, status=status, code=code)
    ),
    *rows("download", "storage-error", "answered 400 InvalidArgument", code="InvalidArgument"),
    *rows("download", "bomb", "over 10,000,000 bytes", megabytes=64),
    *rows("download", "body", "cannot be read: line 2", body=b"1772413200000|A|||||||\nrubbish\n"),
    *rows("download", "body", "WATCHLIST", body=b"\x00\xff\xfe" * 100),
]


def test_the_matrix_has_a_row_for_each_fault_at_each_call() -> None:
    there = {(row.call, row.kind) for row in MATRIX}
    assert there == {(call, kind) for call in ALL for kind in KINDS[call]}


@pytest.mark.parametrize("row", MATRIX, ids=str)
def test_all_events_come_or_an_error_says_why(
    service: Emulator, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that the bomb need not fill gigabytes before it is refused.
    monkeypatch.setattr("tap_barchart_events.api.download.MAX_FILE_BYTES", 10_000_000)
    settings = settings_of(
        service,
        end_date=hour(2),
        **({"max_concurrent_jobs": 2} if row.error is None else ONE_BY_ONE),
        job_timeout_minutes=0.5 / 60,
        request_timeout_seconds=0.5,
    )
    expected = expected_events(service, ["WATCHLIST"], START, settings["end_date"])
    # Where the sync ends in an error, the first window passes: it is kept.
    succeeds = row.error is None
    fault = service.fault(
        row.call, row.kind, times=2 if succeeds else None, after=not succeeds, **row.details
    )

    outcome = sync(settings)

    assert fault.hits > 0
    got = arrived(outcome.records)
    if row.error is None:
        assert outcome.error is None
        assert fault.hits == 2
        assert got == expected
        assert outcome.bookmarks == {"WATCHLIST": settings["end_date"]}
        return
    assert re.search(row.error, outcome.reason), outcome.error
    assert outcome.reason.startswith(("TGAM/WATCHLIST 2026", "the export of TGAM/WATCHLIST 2026"))
    assert outcome.bookmarks == {"WATCHLIST": FIRST_END}
    assert got
    assert got == expected_events(service, ["WATCHLIST"], START, FIRST_END)


def test_the_service_may_restart_at_any_moment(service: Emulator) -> None:
    expected = expected_events(service, ["WATCHLIST"], START, END)
    for after in range(0, 12, 2):
        service.fault("poll", "forget", after=after)
        assert arrived(synced(settings_of(service)).records) == expected
        service.clear_faults()


def test_a_service_that_is_away_for_a_while_is_waited_for(service: Emulator) -> None:
    for call in ALL:
        service.fault(call, "drop", times=6)
    assert synced(settings_of(service)).bookmarks == {"WATCHLIST": END}
