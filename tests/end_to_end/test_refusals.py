"""Refusals: a clear last line that says what to do, exit 1, and nothing half done."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click
import pytest

from barchart_events_emulator import Emulator, Event
from tap_barchart_events.command import describe_error
from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.tap import TapBarchartEvents
from tap_barchart_events.windows import from_iso
from tests.expected_events import arrived, expected_events
from tests.tap_runs import QUICK_COMMAND, START, Outcome, Tap, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

SECONDS = 10
"""Where no wait is due, a refusal takes seconds; a tenth of that with nothing else to do."""

BATCHES: dict[str, Any] = {
    "encoding": {"format": "jsonl"},
    "storage": {"root": "file:///nowhere"},
}

THIRD_WINDOW = "2026-03-02T02:00:00.000+00:00"


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=0.02, events_per_hour=60) as emulator:
        yield emulator


def refused(
    folder: Path,
    settings: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    **options: Any,
) -> Outcome:
    """Run the command; check what holds for each refusal."""
    began = time.monotonic()
    tap = Tap(folder, settings, state, **options)
    outcome = tap.end()
    assert time.monotonic() - began < SECONDS
    assert outcome.code == 1, outcome.log[-2000:]
    assert "Traceback" not in outcome.log, outcome.log[-3000:]
    assert tap.left_behind == []
    return outcome


def refused_at_once(*arguments: str) -> str:
    """Run the command in this process; return what it logs last."""
    command = TapBarchartEvents.cli
    with pytest.raises(SettingError) as caught:
        click.Command.main(command, list(arguments), standalone_mode=False)
    return describe_error(caught.value)


def last_line(outcome: Outcome) -> str:
    """Return the message of the last line of the log."""
    return outcome.log.splitlines()[-1].rpartition(" | ")[2]


def check_that_two_windows_are_kept(outcome: Outcome, service: Emulator) -> None:
    """Check that the third window was the one refused, and that it was refused as a whole."""
    assert arrived(outcome.records) == expected_events(service, ["WATCHLIST"], START, THIRD_WINDOW)
    assert outcome.bookmarks == {"WATCHLIST": THIRD_WINDOW}
    assert outcome.messages[-1]["type"] == "STATE"


def test_wrong_credentials(service: Emulator, tmp_path: Path) -> None:
    outcome = refused(tmp_path, settings_of(service, password="wrong"))  # noqa: S106
    assert "answered 401; check username, password and customer" in last_line(outcome)
    assert outcome.records == []
    assert [request.call for request in service.requests] == ["authenticate"], "accounts get locked"


def test_credentials_refused_later_keep_what_was_done(service: Emulator, tmp_path: Path) -> None:
    service.fault("start", "status", code=403, after=2, times=None)
    outcome = refused(tmp_path, settings_of(service, max_concurrent_jobs=1))
    assert "TGAM/WATCHLIST 2026-03-02 02:00 → 03:00: could not start" in last_line(outcome)
    check_that_two_windows_are_kept(outcome, service)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (b"1772416800000|A|b", "has 3 fields"),
        (b"yesterday|WATCHLIST-CREATED|||||||", "'yesterday'"),
        (b"1772416800000|WATCHLIST-CREATED|\xff||||||", "UTF-8"),
        (b"1772416800000.5|WATCHLIST-CREATED|||||||", "'1772416800000.5'"),
        (b"|WATCHLIST-CREATED|||||||", "timestamp"),
    ],
)
@pytest.mark.parametrize("mode", ["bulk", "one by one", "files"])
def test_a_corrupt_row_is_reported_with_its_line_and_no_more_of_its_content(
    service: Emulator, tmp_path: Path, mode: str, row: bytes, why: str
) -> None:
    good = b"1772416800001|WATCHLIST-CREATED|PRIVATE-USER|w|||||\n"
    service.fault("download", "body", body=good + row + b"\n" + good, after=2, times=None)
    folder = f"file://{tmp_path}"
    jsonl = {"encoding": {"format": "jsonl", "compression": "gzip"}, "storage": {"root": folder}}
    more: dict[str, Any] = {
        "bulk": {},
        "one by one": {"stream_maps": {"events": {"customer": "customer"}}},
        "files": {"batch_config": jsonl},
    }[mode]
    outcome = refused(tmp_path, settings_of(service, max_concurrent_jobs=1, **more))
    assert "WATCHLIST 2026-03-02 02:00 → 03:00 cannot be read: " in last_line(outcome)
    assert "line 2" in last_line(outcome)
    assert why in last_line(outcome)
    assert "PRIVATE-USER" not in outcome.log
    if mode != "files":
        check_that_two_windows_are_kept(outcome, service)
    assert outcome.bookmarks == {"WATCHLIST": THIRD_WINDOW}


def test_an_unknown_status(service: Emulator, tmp_path: Path) -> None:
    service.fault("poll", "job-status", after=2, times=None, status="ARCHIVED")
    outcome = refused(tmp_path, settings_of(service, max_concurrent_jobs=1))
    assert "has the status 'ARCHIVED', which is not documented" in last_line(outcome)


def test_a_job_that_always_fails(service: Emulator, tmp_path: Path) -> None:
    service.fault("start", "job-failed", after=2, times=None)
    settings = settings_of(service, max_concurrent_jobs=1)
    outcome = refused(tmp_path, settings, program=QUICK_COMMAND)
    assert "4 export jobs failed" in last_line(outcome)
    assert "ask Barchart's support" in last_line(outcome)
    check_that_two_windows_are_kept(outcome, service)


def test_too_many_events_in_the_smallest_window(service: Emulator, tmp_path: Path) -> None:
    service.fault("start", "job-timeout", after=2, times=None)
    outcome = refused(tmp_path, settings_of(service, max_concurrent_jobs=1, min_window_seconds=600))
    assert "lower min_window_seconds, or name fewer event_types" in last_line(outcome)
    assert "WATCHLIST 2026-03-02 02:00 → 02:1" in last_line(outcome)
    check_that_two_windows_are_kept(outcome, service)


def test_a_full_disk_for_the_temporary_file(service: Emulator, tmp_path: Path) -> None:
    service.fault("download", "body", body=b"x" * 3_000_000, after=2, times=None)

    # As a full disk does, it refuses a write that is too much.
    outcome = refused(
        tmp_path, settings_of(service, max_concurrent_jobs=1), limits={"RLIMIT_FSIZE": 1_000_000}
    )
    assert "WATCHLIST 2026-03-02 02:00 → 03:00" in last_line(outcome)
    assert "free space there, or set TMPDIR to a larger disk" in last_line(outcome)
    check_that_two_windows_are_kept(outcome, service)


def test_no_room_for_a_batch_file(service: Emulator, tmp_path: Path) -> None:
    first = from_iso(START)
    quiet, busy = (
        [Event(first + at, "WATCHLIST-CREATED", {}) for at in some]
        for some in (range(10), range(2 * 3_600_000, 2 * 3_600_000 + 8_000))
    )
    service.source = lambda *_: quiet + busy
    batch_config = {
        "encoding": {"format": "jsonl", "compression": "none"},
        "storage": {"root": f"file://{tmp_path}"},
    }
    settings = settings_of(service, max_concurrent_jobs=1, batch_config=batch_config)
    outcome = refused(tmp_path, settings, limits={"RLIMIT_FSIZE": 1_000_000})
    assert "WATCHLIST 2026-03-02 02:00 → 03:00: could not write a batch" in last_line(outcome)
    assert "check space, permissions" in last_line(outcome)
    assert [message["type"] for message in outcome.messages].count("BATCH") == 1
    assert outcome.bookmarks == {"WATCHLIST": THIRD_WINDOW}


def test_a_file_of_a_million_columns(service: Emulator, tmp_path: Path) -> None:
    header = b"timestamp|type|" + b"|".join(b"c%d" % number for number in range(1_000_000))
    service.fault("download", "body", body=header + b"\n" + b"|" * 1_000_001, after=2, times=None)

    outcome = refused(
        tmp_path, settings_of(service, max_concurrent_jobs=1), limits={"RLIMIT_DATA": 1 << 30}
    )
    assert "columns" in last_line(outcome)
    assert len(last_line(outcome)) < 1000
    check_that_two_windows_are_kept(outcome, service)


@pytest.mark.parametrize("text", [b"u", b'"', b'"u\n'])
def test_a_file_of_one_endless_line(service: Emulator, tmp_path: Path, text: bytes) -> None:
    body = b"1772416800000|WATCHLIST-CREATED|" + text * (100_000_000 // len(text))
    service.fault("download", "body", body=body, after=2, times=None)

    outcome = refused(
        tmp_path, settings_of(service, max_concurrent_jobs=1), limits={"RLIMIT_DATA": 1 << 30}
    )
    assert "cannot be read" in last_line(outcome)
    assert len(last_line(outcome)) < 1000
    check_that_two_windows_are_kept(outcome, service)


def test_a_service_that_is_not_there(service: Emulator, tmp_path: Path) -> None:
    settings = settings_of(service, api_url="http://127.0.0.1:1", max_retries=1)
    outcome = refused(tmp_path, settings)
    assert "connection refused; given up after 2 tries" in last_line(outcome)


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("products", [], "not empty"),
        ("start_date", "tomorrow", "2019-10-14T00:00:00Z"),
        ("end_date", "2020-01-01", "after start_date"),
        ("window_hours", 0, "above 0"),
        ("window_hours", 1e10, "at most 1,000,000,000"),
        ("lag_minutes", -1, "at least 0"),
        ("max_concurrent_jobs", "four", "whole number"),
        ("request_timeout_seconds", 1e10, "at most 86,400"),
        ("delimiter", "tab", "at most 1 character"),
        ("columns", {"WATCHLIST": ["userId"]}, "timestamp and type among them"),
        ("layout_check", "maybe", '"error" or "warning"'),
        ("api_url", "http://events.aws.barchart.com", "https"),
        ("username", "some:one", "no colon"),
        ("password", "\ud800", "UTF-8"),
        ("batch_config", {"encoding": {"format": "jsonl"}}, "storage"),
        ("batch_config", BATCHES | {"batch_size": "abc"}, "a whole number, at least 1"),
        (
            "batch_config",
            BATCHES | {"encoding": {"format": "parquet"}, "batch_size": 1000},
            "at least 2,048 for Parquet",
        ),
    ],
)
def test_a_bad_setting_is_refused_before_any_request(
    service: Emulator, tmp_path: Path, name: str, value: object, right: str
) -> None:
    outcome = refused(tmp_path, settings_of(service) | {name: value})
    assert f"setting {name}" in last_line(outcome)
    assert right in last_line(outcome)
    assert outcome.messages == []
    assert service.requests == []


def test_all_settings_that_are_missing_are_reported_at_once(
    service: Emulator, tmp_path: Path
) -> None:
    settings = settings_of(service, password="", customer=None)
    del settings["username"]
    line = last_line(refused(tmp_path, settings))
    assert "these settings are missing: username, password, customer; set them in " in line
    assert "TAP_BARCHART_EVENTS_USERNAME, TAP_BARCHART_EVENTS_PASSWORD" in line


def test_a_name_that_is_no_setting_is_reported_with_the_one_that_was_meant(
    service: Emulator, tmp_path: Path
) -> None:
    settings = settings_of(
        service, products=["GADGETS"], end_date=START.replace("00:00", "01:00", 1)
    )
    settings |= {"window_hour": 1, "colour": "blue"}
    environ = {
        "TAP_BARCHART_EVENTS_LOOKBACK": "3",
        "TAP_BARCHART_EVENTS_LOGLEVEL": "INFO",
        "TAP_BARCHART_EVENTS__SELECT": "[]",
    }
    log = Tap(tmp_path, settings, environ=environ, arguments=("--config=ENV",)).end().log
    assert "no setting window_hour, so it is ignored; did you mean window_hours?" in log
    assert "no setting colour, so it is ignored\n" in log
    assert "no setting lookback, so it is ignored; did you mean lookback_hours?" in log
    assert "LOGLEVEL" not in log
    assert "__SELECT" not in log
    assert "product GADGETS is not known; it is passed on to the service" in log
    assert "WATCHLIST, " in log


@pytest.mark.parametrize("root", ["gs://bucket/path", "nonsense://path"])
def test_a_storage_that_this_installation_cannot_reach(
    service: Emulator, tmp_path: Path, root: str
) -> None:
    outcome = refused(
        tmp_path, settings_of(service, batch_config=BATCHES | {"storage": {"root": root}})
    )
    assert "setting batch_config: storage.root: " in last_line(outcome)
    assert "gcsfs" in last_line(outcome) or "not known" in last_line(outcome)
    assert "for s3:// install tap-barchart-events[s3]" in last_line(outcome)
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
def test_a_stream_map_that_makes_no_sense(
    service: Emulator, tmp_path: Path, stream_map: dict[str, Any], why: str
) -> None:
    outcome = refused(tmp_path, settings_of(service, stream_maps={"events": stream_map}))
    assert "setting stream_maps cannot be used: " in last_line(outcome)
    assert why in last_line(outcome)


def test_stream_maps_and_batch_files_do_not_go_together(service: Emulator, tmp_path: Path) -> None:
    settings = settings_of(
        service,
        stream_maps={"events": {"customer": "customer"}},
        batch_config={
            "encoding": {"format": "jsonl", "compression": "gzip"},
            "storage": {"root": f"file://{tmp_path}"},
        },
    )
    assert "remove one or the other" in last_line(refused(tmp_path, settings))
    assert service.requests == []


def test_a_bookmark_that_is_none(service: Emulator, tmp_path: Path) -> None:
    partition = {
        "context": {"customer": "TGAM", "product": "WATCHLIST"},
        "replication_key": "end",
        "replication_key_value": "the day before",
    }
    state = {"bookmarks": {"events": {"partitions": [partition]}}}
    outcome = refused(tmp_path, settings_of(service), state)
    sentence = "the bookmark of WATCHLIST in STATE is 'the day before', which is not a date-time"
    assert sentence in last_line(outcome)
    assert service.requests == []


@pytest.mark.parametrize(
    "state",
    [
        {"type": "STATE", "value": {"bookmarks": {"events": {"partitions": []}}}},
        {"bookmarks": {"users": {"replication_key_value": START}}},
        {"bookmarks": {"events": {"replication_key_value": START}}},
        {"bookmarks": {"events": {"partitions": "none"}}},
        {"bookmarks": {"events": {"partitions": [{"context": {"account": "1"}}]}}},
        {"events": {"partitions": []}},
    ],
)
def test_a_state_that_is_not_of_this_tap(
    service: Emulator, tmp_path: Path, state: dict[str, Any]
) -> None:
    # Read as none, it would have everything come again.
    outcome = refused(tmp_path, settings_of(service), state)
    assert "STATE was not written by this tap" in last_line(outcome)
    assert service.requests == []


@pytest.mark.parametrize(
    "kept",
    [
        lambda state: {"singer_state": state},
        lambda state: {"completed": {"singer_state": state}, "partial": {}},
        lambda state: {"completed_state": {"singer_state": state}, "partial_state": None},
        lambda state: {"singer_state": {}} if state else {},
    ],
)
def test_a_state_as_meltano_keeps_it(
    service: Emulator, tmp_path: Path, kept: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    state = kept({"bookmarks": {"events": {"partitions": []}}})
    outcome = refused(tmp_path, settings_of(service), state)
    assert "pass the value of the last STATE message, as the target wrote it, or what Meltano " in (
        last_line(outcome)
    )
    assert service.requests == []


@pytest.mark.parametrize("line", ['{"bookmarks": {}}', '{"type": "STATE", "value": {}}'])
@pytest.mark.parametrize("between", ["\n", "\r\n", "\n\n"])
def test_a_state_file_of_several_lines(tmp_path: Path, line: str, between: str) -> None:
    file = tmp_path / "states.jsonl"
    file.write_bytes((line + between).encode() * 3)
    outcome = refused_at_once(f"--state={file}")
    assert f"the file {str(file)!r}, given as --state, is not a JSON object: Extra" in outcome
    assert "; of several lines, pass the last line, alone in a file (tail -n 1)" in outcome


def test_a_state_with_two_bookmarks_of_one_product(service: Emulator, tmp_path: Path) -> None:
    context = {"customer": "TGAM", "product": "WATCHLIST"}
    partitions = [{"context": context, "replication_key_value": value} for value in (START, None)]
    state = {"bookmarks": {"events": {"partitions": partitions}}}
    outcome = refused(tmp_path, settings_of(service), state)
    assert "STATE holds two bookmarks of TGAM/WATCHLIST; remove one" in last_line(outcome)
    assert service.requests == []


def test_a_secret_that_an_env_file_would_change_is_a_warning_without_its_value(
    service: Emulator, tmp_path: Path
) -> None:
    variable = "TAP_BARCHART_EVENTS_PASSWORD"
    (tmp_path / ".env").write_text(f"{variable}='p${{HOME}}w'", encoding="utf-8")
    settings = {**settings_of(service), "start_date": "never"}
    outcome = refused(tmp_path, settings, arguments=("--config=ENV",), cwd=tmp_path)
    assert f"{variable} in {tmp_path}/.env holds ${{, which is replaced there" in outcome.log
    assert "set the variable in the environment instead" in outcome.log
    assert "HOME" not in outcome.log


@pytest.mark.parametrize("name", ["username", "password"])
def test_line_breaks_at_the_ends_of_credentials_are_removed_with_a_warning(
    service: Emulator, tmp_path: Path, name: str
) -> None:
    settings = settings_of(service)
    settings[name] = f"\n{settings[name]}\r\n"
    outcome = Tap(tmp_path, settings).end()
    assert outcome.code == 0, outcome.log[-2000:]
    assert (
        f"setting {name} begins or ends with a line break, which is removed; store it without one"
        in outcome.log
    )
    assert outcome.log.count("WARNING") == 1
    assert settings[name].strip() not in outcome.log


def test_credentials_of_nothing_but_line_breaks_are_refused(
    service: Emulator, tmp_path: Path
) -> None:
    outcome = refused(tmp_path, settings_of(service, password="\n"))  # noqa: S106
    assert "these settings are missing: password" in last_line(outcome)


def test_an_env_file_that_is_not_utf_8(service: Emulator, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"TAP_BARCHART_EVENTS_CUSTOMER=caf\xe9")
    settings = settings_of(service)
    outcome = refused(tmp_path, settings, arguments=("--config=ENV",), cwd=tmp_path)
    assert "'utf-8' codec can't decode byte 0xe9" in last_line(outcome)


@pytest.mark.parametrize("option", ["config", "state", "catalog"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "is not a JSON object: Expecting property name"),
        (b"", "is not a JSON object: Expecting value"),
        (b"\xe9", "is not a JSON object: 'utf-8' codec can't decode"),
        (b"null", "is not a JSON object; "),
        (b'"text"', "is not a JSON object; "),
        (b"[]", "is not a JSON object; "),
        (b'{"a": ' + b"1" * 5000 + b"}", "is not a JSON object: Exceeds the limit"),
        (b'{"window_hours": NaN}', "is not a JSON object: invalid literal"),
        (b"[" * 100_000, "is not a JSON object: "),
        (None, "is not a JSON object: No such file or directory; "),
        ("folder", "is not a JSON object: Is a directory; "),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_file_that_cannot_be_used_is_reported_with_its_name_and_option(
    service: Emulator, tmp_path: Path, option: str, content: bytes | str | None, why: str
) -> None:
    bad = tmp_path / "bad.json"
    if isinstance(content, bytes):
        bad.write_bytes(content)
    elif content:
        bad.mkdir()
    outcome = refused_at_once(f"--{option}={bad}")
    assert f"the file {str(bad)!r}, given as --{option}, {why}" in outcome
    assert service.requests == []


def test_the_debug_log_has_the_place_of_an_error(service: Emulator, tmp_path: Path) -> None:
    service.fault("start", "status", code=401, times=None)
    environ = {"TAP_BARCHART_EVENTS_LOGLEVEL": "DEBUG"}
    outcome = Tap(tmp_path, settings_of(service), environ=environ).end()
    assert outcome.code == 1
    assert "Traceback (most recent call last)" in outcome.log
    assert "check username, password" in last_line(outcome)


@pytest.mark.parametrize("name", ["LOGLEVEL", "TAP_BARCHART_EVENTS_LOGLEVEL"])
def test_a_level_of_the_log_that_is_none(service: Emulator, tmp_path: Path, name: str) -> None:
    outcome = refused(tmp_path, settings_of(service), environ={name: "trace"})
    assert "could not configure the log: Unknown level: 'TRACE'; check TAP_" in last_line(outcome)
    assert service.requests == []


def test_variables_of_the_log_that_are_empty_count_as_unset(
    service: Emulator, tmp_path: Path
) -> None:
    environ = {"LOGLEVEL": "", "SINGER_SDK_LOG_CONFIG": ""}
    outcome = Tap(tmp_path, settings_of(service), environ=environ).end()
    assert outcome.code == 0, outcome.log[-2000:]
    assert "WARNING" not in outcome.log


@pytest.mark.parametrize(
    "content",
    [
        "version: [",
        "version: 2",
        "hello",
        "",
        "version: 1\nhandlers: {x: {class: nope.Nope}}\nroot: {handlers: [x]}",
        None,
    ],
)
def test_a_file_for_the_log_that_cannot_be_used(
    service: Emulator, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "log.yaml"
    if content is None:
        file.mkdir()
    else:
        file.write_text(content, encoding="utf-8")
    outcome = refused(tmp_path, settings_of(service), environ={"SINGER_SDK_LOG_CONFIG": str(file)})
    assert "could not configure the log: " in last_line(outcome)
    assert "; check TAP_BARCHART_EVENTS_LOGLEVEL, LOGLEVEL, SINGER_SDK_LOG" in last_line(outcome)
    assert service.requests == []


def test_the_credentials_can_be_tried_without_a_sync(service: Emulator, tmp_path: Path) -> None:
    tap = Tap(tmp_path, settings_of(service, password="wrong"), arguments=("--test",))  # noqa: S106
    outcome = tap.end()
    assert outcome.code == 1
    assert "check the credentials: the service answered 401" in last_line(outcome)
    fine = Tap(tmp_path, settings_of(service), arguments=("--test",)).end()
    assert fine.code == 0, fine.log
    assert "Skipping parse of env" not in fine.log
    assert json.dumps(fine.states).count("replication_key_value") == 0
