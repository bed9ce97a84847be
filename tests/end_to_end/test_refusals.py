"""Refusals: a clear last line that says what to do, exit 1, and nothing half done."""

import re
import time
from pathlib import Path
from typing import Any

import click
import pytest

from barchart_events_emulator import Emulator, Event
from tap_barchart_events.command import describe_error
from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.tap import TapBarchartEvents
from tap_barchart_events.windows import from_iso
from tests.expected_events import arrived, expected_events
from tests.tap_runs import MODES, START, Outcome, Run, hour, output_mode, state_at

SECONDS = 10
"""Where no wait is due, a refusal takes seconds: the start of Python included."""

BATCHES: dict[str, Any] = {"encoding": {"format": "jsonl"}, "storage": {"root": "file:///nowhere"}}

GOOGLE = "gcsfs to access Google Storage; for s3://, install tap-barchart-events[s3]"
UNKNOWN = "not known; for s3://, install tap-barchart-events[s3]"

THIRD_WINDOW = hour(2)


@pytest.fixture
def refused(run: Run) -> Run:
    """Return a function that runs the command and checks what holds for each refusal."""

    def refused(state: Any = None, **settings_and_options: Any) -> Outcome:
        began = time.monotonic()
        outcome = run(state, 1, **settings_and_options)
        assert time.monotonic() - began < SECONDS
        assert "Traceback" not in outcome.log, outcome.log[-3000:]
        return outcome

    return refused


def test_wrong_credentials(service: Emulator, refused: Run) -> None:
    outcome = refused(password="wrong")  # noqa: S106
    assert "answered 401 (Unauthorized); check username, password, customer" in outcome.reason
    assert outcome.records == []
    assert [request.call for request in service.requests] == ["authenticate"], "accounts get locked"


# The third window ----------------------------------------------------------------------------


def refused_at_the_third_window(
    service: Emulator, refused: Run, call: str, kind: str, details: dict[str, Any], **more: Any
) -> Outcome:
    """Run it; check that two windows are kept, and that the third one is refused as a whole."""
    service.fault(call, kind, after=2, times=None, **details)
    outcome = refused(max_concurrent_jobs=1, **more)
    assert arrived(outcome.records) == expected_events(service, ["WATCHLIST"], START, THIRD_WINDOW)
    assert outcome.bookmarks == {"WATCHLIST": THIRD_WINDOW}
    assert outcome.messages[-1]["type"] == "STATE"
    assert re.search("WATCHLIST 2026-03-02 02:00 → 0[23]:", outcome.reason)
    assert len(outcome.reason) < 1000
    return outcome


@pytest.mark.parametrize(
    ("kind", "details", "said"),
    [
        ("status", {"code": 403}, "could not start an export job: the service answered 403"),
        ("job-status", {"status": "ARCHIVED"}, "the undocumented status 'ARCHIVED'"),
        ("job-failed", {}, "gave up after 4 tries; run again.*contact Barchart support"),
        ("job-timeout", {}, "lower min_window_seconds, or name fewer event_types"),
    ],
)
def test_a_job_that_comes_to_nothing(
    service: Emulator, refused: Run, kind: str, details: dict[str, Any], said: str
) -> None:
    more = {"min_window_seconds": 600, "options": {"is_quick": True}}
    outcome = refused_at_the_third_window(service, refused, "start", kind, details, **more)
    assert re.search(said, outcome.reason)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (b"1772416800000|A|b", "has 3 fields instead of 9"),
        (b"yesterday|WATCHLIST-CREATED|||||||", "'yesterday'"),
        (b"1772416800000|WATCHLIST-CREATED|\xff||||||", "UTF-8"),
        (b"|WATCHLIST-CREATED|||||||", "timestamp"),
        (b'1772416800002|A|u|w|"a||||\n1772416800003|A|u|w|b"||||', "set quote_character to empty"),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_a_corrupt_row_is_reported_with_its_line_and_no_more_of_its_content(
    service: Emulator, refused: Run, tmp_path: Path, mode: str, row: bytes, why: str
) -> None:
    good = b"1772416800001|WATCHLIST-CREATED|PRIVATE-USER|w|||||\n"
    details, more = {"body": good + row + b"\n" + good}, output_mode(mode, tmp_path)
    outcome = refused_at_the_third_window(service, refused, "download", "body", details, **more)
    assert "WATCHLIST 2026-03-02 02:00 → 03:00: the export cannot be read: " in outcome.reason
    assert "line 2" in outcome.reason
    assert why in outcome.reason
    assert "PRIVATE-USER" not in outcome.log


WIDE = b"timestamp|type|" + b"|".join(b"c%d" % number for number in range(1_000_000))
ROW = b"1772416800000|WATCHLIST-CREATED|"


@pytest.mark.parametrize(
    ("limit", "value", "body", "said"),
    [
        # As a full disk does, it refuses a write that is too much.
        (
            "RLIMIT_FSIZE",
            1_000_000,
            b"x" * 3_000_000,
            "free space there, or set TMPDIR to a larger",
        ),
        ("RLIMIT_DATA", 1 << 30, WIDE + b"\n" + b"|" * 1_000_001, "columns"),
        ("RLIMIT_DATA", 1 << 30, ROW + b"u" * 100_000_000, "cannot be read"),
    ],
    ids=["a full disk", "a million columns", "endless"],
)
def test_a_file_that_is_too_large_for_the_disk_or_for_memory(
    service: Emulator, refused: Run, limit: str, value: int, body: bytes, said: str
) -> None:
    options, details = {"limits": {limit: value}}, {"body": body}
    outcome = refused_at_the_third_window(
        service, refused, "download", "body", details, options=options
    )
    assert said in outcome.reason


def test_no_space_for_a_batch_file(service: Emulator, refused: Run, tmp_path: Path) -> None:
    first = from_iso(START)
    times = (*range(10), *range(2 * 3_600_000, 2 * 3_600_000 + 8_000))
    events = [Event(first + at, "WATCHLIST-CREATED", {}) for at in times]
    service.source = lambda *_: events
    batch_config = BATCHES | {"storage": {"root": f"file://{tmp_path}"}}
    limits = {"limits": {"RLIMIT_FSIZE": 1_000_000}}
    outcome = refused(max_concurrent_jobs=1, batch_config=batch_config, options=limits)
    assert "WATCHLIST 2026-03-02 02:00 → 03:00: could not write a batch" in outcome.reason
    assert "check free space, permissions" in outcome.reason
    assert len(outcome.files) == 1
    assert outcome.bookmarks == {"WATCHLIST": THIRD_WINDOW}


# Settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "right"),
    [
        ({"products": []}, "not empty"),
        ({"end_date": "2020-01-01"}, "after start_date"),
        ({"api_url": "http://events.aws.barchart.com"}, "https"),
        ({"batch_config": BATCHES | {"storage": None}}, "storage"),
        ({"batch_config": BATCHES | {"storage": {"root": "gs://bucket/path"}}}, GOOGLE),
        ({"batch_config": BATCHES | {"storage": {"root": "nonsense://path"}}}, UNKNOWN),
        ({"stream_maps": {"events": {}}, "batch_config": BATCHES}, "remove one or the other"),
    ],
    ids=str,
)
def test_a_bad_setting_is_refused_before_any_request(
    service: Emulator, refused: Run, settings: dict[str, Any], right: str
) -> None:
    outcome = refused(**settings)
    assert re.search(f"settings? {next(iter(settings))}", outcome.reason)
    assert right in outcome.reason
    assert {message["type"] for message in outcome.messages} <= {"SCHEMA"}
    assert service.requests == []


@pytest.mark.parametrize(
    ("stream_map", "why"),
    [
        ({"__filter__": "prodct == 'WATCHLIST'"}, "'prodct' is not defined"),
        ({"__filter__": "product == "}, "product == "),
        ({"event_id": None}, "event_id"),
        ({"number": "int(user_id)"}, "raises ValueError for a record"),
        ({"number": "json.loads(user_id)"}, "raises JSONDecodeError for a record"),
    ],
)
def test_a_senseless_stream_map(refused: Run, stream_map: dict[str, Any], why: str) -> None:
    reason = refused(stream_maps={"events": stream_map}).reason
    assert "setting stream_maps cannot be used: " in reason
    assert why in reason


def test_all_settings_that_are_missing_are_reported_at_once(refused: Run) -> None:
    reason = refused(username=None, password="\n", customer=None).reason  # noqa: S106
    assert "these settings are missing: username, password, customer; set them in " in reason
    assert "TAP_BARCHART_EVENTS_USERNAME, TAP_BARCHART_EVENTS_PASSWORD" in reason


def test_a_name_that_is_no_setting_is_reported_with_the_one_that_was_meant(run: Run) -> None:
    environ = {
        "TAP_BARCHART_EVENTS_LOOKBACK": "3",
        "TAP_BARCHART_EVENTS_LOGLEVEL": "INFO",
        "TAP_BARCHART_EVENTS__SELECT": "[]",
    }
    options = {"environ": environ, "arguments": ("--config=ENV",)}
    more = {"products": ["GADGETS"], "start_date": START.replace("00:00", "01:00", 1)}
    log = run(None, 1, options, window_hour=1, colour="blue", **more).log
    assert "ignored the unknown setting window_hour; did you mean window_hours?" in log
    assert "ignored the unknown setting colour\n" in log
    assert "ignored the unknown setting lookback; did you mean lookback_hours?" in log
    assert "LOGLEVEL" not in log
    assert "__SELECT" not in log
    assert "product GADGETS is unknown and passed on to the service" in log
    assert "WATCHLIST, " in log


@pytest.mark.parametrize("name", ["username", "password"])
def test_line_breaks_at_the_ends_of_credentials_are_removed_with_a_warning(
    service: Emulator, run: Run, name: str
) -> None:
    value = getattr(service, name)
    log = run(**{name: f"\n{value}\r\n"}).log
    assert f"setting {name} begins or ends with a line break, which is removed\n" in log
    assert log.count("WARNING") == 1
    assert value not in log


def test_a_secret_that_an_env_file_would_change_is_a_warning_without_its_value(
    refused: Run, tmp_path: Path
) -> None:
    variable = "TAP_BARCHART_EVENTS_PASSWORD"
    (tmp_path / ".env").write_text(f"{variable}='p${{HOME}}w'", encoding="utf-8")
    options = {"arguments": ("--config=ENV",), "cwd": tmp_path}
    log = refused(options=options, start_date="never").log
    assert f"{variable} in {tmp_path}/.env contains ${{, which is expanded there" in log
    assert "; set it in the environment" in log
    assert "HOME" not in log


# STATE, and other files ----------------------------------------------------------------------


def partitions_of(*partitions: Any) -> dict[str, Any]:
    return {"bookmarks": {"events": {"partitions": list(partitions)}}}


NOT_OURS = "STATE was not written by this tap; pass the value of the tap's last STATE message"
CONTEXT = {"context": {"customer": "TGAM", "product": "WATCHLIST"}}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        # Read as none, it would have everything come again.
        ({"type": "STATE", "value": partitions_of()}, NOT_OURS),
        ({"bookmarks": {"users": {"replication_key_value": START}}}, NOT_OURS),
        ({"bookmarks": {"events": {"replication_key_value": START}}}, NOT_OURS),
        ({"bookmarks": {"events": {"partitions": "none"}}}, NOT_OURS),
        (partitions_of({"context": {"account": "1"}}), NOT_OURS),
        ({"singer_state": partitions_of()}, NOT_OURS),
        ({"completed": {"singer_state": partitions_of()}, "partial": {}}, NOT_OURS),
        ({"completed_state": {"singer_state": {}}, "partial_state": None}, NOT_OURS),
        (
            partitions_of(*({**CONTEXT, "replication_key_value": at} for at in (START, None))),
            "STATE holds two bookmarks of TGAM/WATCHLIST; remove one",
        ),
        (
            state_at("the day before"),
            "the bookmark of WATCHLIST in STATE is 'the day before', which is not a date-time",
        ),
    ],
)
def test_a_state_that_cannot_be_used_is_refused_before_any_request(
    service: Emulator, refused: Run, state: dict[str, Any], said: str
) -> None:
    assert said in refused(state).reason
    assert service.requests == []


def refused_at_once(*arguments: str) -> str:
    """Run the command in this process; return what it logs last."""
    with pytest.raises(SettingError) as caught:
        click.Command.main(TapBarchartEvents.cli, list(arguments), standalone_mode=False)
    return describe_error(caught.value)


@pytest.mark.parametrize("option", ["config", "state", "catalog"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "is not a JSON object: Expecting property name"),
        (b"\xe9", "is not a JSON object: 'utf-8' codec can't decode"),
        (b"[]", "is not a JSON object; "),
        (b'{"window_hours": NaN}', "is not a JSON object: invalid literal"),
        (b"[" * 100_000, "is not a JSON object: "),
        (None, "is not a JSON object: No such file or directory; "),
        ("folder", "is not a JSON object: Is a directory; "),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_file_that_cannot_be_used_is_reported_with_its_name_and_option(
    tmp_path: Path, option: str, content: bytes | str | None, why: str
) -> None:
    bad = tmp_path / "bad.json"
    if isinstance(content, bytes):
        bad.write_bytes(content)
    elif content:
        bad.mkdir()
    said = refused_at_once(f"--{option}={bad}")
    assert f"the file {str(bad)!r}, given as --{option}, " in said
    assert why in said


@pytest.mark.parametrize("line", [b'{"bookmarks": {}}\n', b'{"type": "STATE", "value": {}}\r\n\n'])
def test_a_state_file_of_several_lines(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "states.jsonl"
    file.write_bytes(line * 3)
    said = refused_at_once(f"--state={file}")
    assert "given as --state, is not a JSON object: Extra data" in said
    assert "; if it has several lines, pass only the last, in a file of its own (tail -n 1)" in said


# The log -------------------------------------------------------------------------------------


LEVELS = ("LOGLEVEL", "TAP_BARCHART_EVENTS_LOGLEVEL")
UNKNOWN_CLASS = "version: 1\nhandlers: {x: {class: nope.Nope}}\nroot: {handlers: [x]}"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        *((level, "trace", "Unknown level: 'TRACE'; ") for level in LEVELS),
        *(("file", content, "") for content in ("version: [", "version: 2", "", UNKNOWN_CLASS)),
        ("folder", "", ""),
    ],
)
def test_a_log_that_cannot_be_configured(
    service: Emulator, refused: Run, tmp_path: Path, name: str, value: str, why: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text(value, encoding="utf-8")
    of_a_file = {"SINGER_SDK_LOG_CONFIG": str(tmp_path / name)}
    reason = refused(options={"environ": {name: value} if name in LEVELS else of_a_file}).reason
    assert f"could not configure the log: {why}" in reason
    assert "; check TAP_BARCHART_EVENTS_LOGLEVEL, LOGLEVEL, SINGER_SDK_LOG" in reason
    assert service.requests == []


def test_an_empty_level_or_file_for_the_log_counts_as_unset(run: Run) -> None:
    empty = dict.fromkeys(("SINGER_SDK_LOG_CONFIG", *LEVELS), "")
    assert "WARNING" not in run(options={"environ": empty}).log
