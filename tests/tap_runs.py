"""Running the tap: in this process, quickly, or as the real command in a process of its own."""

import contextlib
import copy
import gzip
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from barchart_events_emulator import Emulator
from demo.environment import clean_environment
from tap_barchart_events.output.signals import SIGNALS, Interrupted
from tap_barchart_events.tap import TapBarchartEvents
from tap_barchart_events.windows import HOUR, from_iso, to_iso
from tests.expected_events import CUSTOMER
from tests.forked_tap import ForkedTap
from tests.raw_server import RawServer

Run = Callable[..., "Outcome"]
"""Runs the command to its end, see the fixture `run`."""

COMMAND = [sys.executable, "-m", "tap_barchart_events"]

START = "2026-03-02T00:00:00.000+00:00"
"""Where the syncs of these tests begin: a Monday, long past."""

END = "2026-03-02T04:00:00.000+00:00"
"""Where they end."""

MODES = ("bulk", "one by one", "files")
"""The ways in which events come out, see `output_mode`."""


def hour(number: float) -> str:
    """Return the instant so many hours after `START`."""
    return to_iso(round(from_iso(START) + number * HOUR))


def settings_of(service: Emulator | RawServer, **more: Any) -> dict[str, Any]:
    """Return the tap's settings for a service: four hours of one product, hour by hour.

    There is no lookback, so that a run exports no window again.
    """
    return {
        "api_url": service.api_url,
        "username": service.username,
        "password": service.password,
        "customer": CUSTOMER,
        "products": ["WATCHLIST"],
        "start_date": START,
        "end_date": END,
        "window_hours": 1,
        "lookback_hours": 0,
        "poll_interval_seconds": 0.02,
        **more,
    }


def change(service: Emulator, **options: Any) -> None:
    """Change options of an emulator by name."""
    for name, value in options.items():
        setattr(service, name, value)


def output_mode(way: str, folder: Path, batch_size: int = 1000) -> dict[str, Any]:
    """Return the settings that make events come out in bulk, one by one, or as files."""
    ways: dict[str, dict[str, Any]] = {
        "bulk": {},
        "one by one": {"stream_maps": {"events": {"customer": "customer"}}},
        "files": {
            "batch_config": {
                "encoding": {"format": "jsonl", "compression": "gzip"},
                "storage": {"root": f"file://{folder}"},
                "batch_size": batch_size,
            }
        },
    }
    return ways[way]


@dataclass
class Outcome:
    """What a run of the tap wrote, and how it ended."""

    messages: list[dict[str, Any]]
    error: Exception | None = None
    """What a run in this process ended with."""
    code: int = 0
    """Exit code of a process; minus a signal's number if it was killed by that."""
    log: str = ""
    """What a process wrote to stderr."""
    written: bytes = field(default=b"", repr=False)
    """What a process wrote to stdout."""

    @property
    def reason(self) -> str:
        """What the error says; of a process, the last line of its log."""
        return str(self.error) if self.error else self.log.splitlines()[-1].rpartition(" | ")[2]

    @property
    def schema(self) -> dict[str, Any]:
        """The properties of the only SCHEMA message."""
        (found,) = [m for m in self.messages if m["type"] == "SCHEMA"]
        properties: dict[str, Any] = found["schema"]["properties"]
        return properties

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records of RECORD messages and, after them, of the files that BATCH messages name."""
        records = [m["record"] for m in self.messages if m["type"] == "RECORD"]
        for url in self.files:
            records += records_of(Path(url.removeprefix("file://")))
        return records

    @property
    def files(self) -> list[str]:
        """The URLs of all BATCH messages."""
        return [url for m in self.messages if m["type"] == "BATCH" for url in m["manifest"]]

    @property
    def states(self) -> list[dict[str, Any]]:
        """The values of all STATE messages."""
        return [m["value"] for m in self.messages if m["type"] == "STATE"]

    @property
    def marks(self) -> list[str]:
        """The bookmark of the only product in each STATE, empty if there is none."""
        return [next(iter(bookmarks(state).values()), "") for state in self.states]

    @property
    def bookmarks(self) -> dict[str, str]:
        """Product → bookmark, of the last STATE."""
        return bookmarks(self.states[-1]) if self.states else {}


def seeded(request: pytest.FixtureRequest) -> random.Random:
    """Return dice with a new seed, or with the one asked for, and print it."""
    seed = int(os.environ.get("CRASH_SEED") or random.SystemRandom().randrange(10**9))
    print(f"CRASH_SEED={seed} {request.node.name}")  # noqa: T201 - to be able to do it again
    return random.Random(seed)  # noqa: S311 - seeded on purpose


def summary_of(log: str) -> dict[str, Any]:
    """Return the events and the tags of the metric at the end of a sync."""
    [line] = [line for line in log.splitlines() if '"sync_summary"' in line]
    metric = json.loads(line[line.index("{") :])
    return {"events": metric["value"], **metric["tags"]}


def is_quiet(log: str) -> bool:
    """Return whether a log has no traceback of the tap's.

    What the interpreter itself says when it is interrupted before it runs the first line of
    ``main``, which lies outside of ``tap.py``, is its own business.
    """
    return "Traceback" not in log or "tap_barchart_events/tap.py" not in log


def records_of(path: Path, *, is_packed: bool = False) -> list[dict[str, Any]]:
    """Return the records of a BATCH file; its suffix says that it is packed, or the caller."""
    if path.suffix != ".parquet":
        data = path.read_bytes()
        text = gzip.decompress(data) if is_packed or path.suffix == ".gz" else data
        return [json.loads(line) for line in text.splitlines()]
    table = duckdb.read_parquet(str(path))
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]
    for row in rows:
        # A struct has all names that the file has anywhere.
        if extra := row.get("extra"):
            row["extra"] = {n: value for n, value in extra.items() if value is not None} or None
    return rows


def partitions(state: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return what a STATE holds of each product."""
    stream = ((state or {}).get("bookmarks") or {}).get("events") or {}
    return list(stream.get("partitions", []))


def partition(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a STATE holds of its only product."""
    (found,) = partitions(state)
    return found


def bookmarks(state: Mapping[str, Any] | None) -> dict[str, str]:
    """Return product → bookmark of a STATE."""
    return {
        partition["context"]["product"]: partition["replication_key_value"]
        for partition in partitions(state)
        if "replication_key_value" in partition
    }


def state_at(instant: str) -> dict[str, Any]:
    """Return a STATE that holds a bookmark and nothing else."""
    context = {"customer": CUSTOMER, "product": "WATCHLIST"}
    held = {"context": context, "replication_key": "end", "replication_key_value": instant}
    return {"bookmarks": {"events": {"partitions": [held]}}}


def sync(
    settings: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    catalog: Mapping[str, Any] | None = None,
) -> Outcome:
    """Run the tap in this process; an error or a signal ends it, and is reported."""
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    error: Exception | None = None
    code: Any = 0
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        # Decimals for floats, as the SDK reads a STATE file.
        given = json.loads(json.dumps(state), parse_float=Decimal) if state else None
        # A copy: the SDK takes entries out of stream maps.
        config = copy.deepcopy(dict(settings))
        with contextlib.redirect_stdout(stdout):
            TapBarchartEvents(config=config, state=given, catalog=catalog).sync_all()
    except Interrupted as end:
        code = end.code
    except Exception as problem:  # noqa: BLE001 - for the test to look at
        error = problem
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return Outcome(messages_of(stdout.buffer.getvalue()), error, code)


def synced(settings: Mapping[str, Any], *inputs: Any, **more: Any) -> Outcome:
    """Run the tap in this process as ``sync`` does; it has to succeed."""
    outcome = sync(settings, *inputs, **more)
    assert outcome.error is None, outcome.error
    return outcome


def catalog_of(settings: Mapping[str, Any], **metadata: dict[str, Any]) -> dict[str, Any]:
    """Return a discovered catalog, with metadata added for properties, or for the ``stream``."""
    tap = TapBarchartEvents(config=dict(settings), validate_config=False)
    catalog: dict[str, Any] = json.loads(tap.catalog_json_text)
    for name, more in metadata.items():
        breadcrumb = [] if name == "stream" else ["properties", name]
        (entry,) = [m for m in catalog["streams"][0]["metadata"] if m["breadcrumb"] == breadcrumb]
        entry["metadata"] |= more
    return catalog


def messages_of(written: bytes) -> list[dict[str, Any]]:
    """Return the messages in an output, which must consist of whole lines."""
    assert not written or written.endswith(b"\n"), f"a torn line: {written[-200:]!r}"
    return [json.loads(line) for line in written.splitlines()]


class Tap:
    """The real command as a process, with folders of its own: temporary, home, and the current."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        state: Mapping[str, Any] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        catalog: Mapping[str, Any] | None = None,
        limits: Mapping[str, int] | None = None,
        program: Sequence[str] = (),
        is_quick: bool = False,
        **options: Any,
    ) -> None:
        """Start it.

        Args:
            folder: Where files of the run go.
            settings: The configuration.
            state: Where to go on.
            environ: Further environment variables.
            arguments: More arguments of the command.
            catalog: A catalog to pass.
            limits: What the process may use: ``RLIMIT_DATA`` and the like → bytes.
            program: How the command is called, where its start matters; otherwise it is forked.
            is_quick: Whether the pauses before new jobs are short.
            options: Of ``subprocess.Popen``.
        """
        own = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
        self.temporary, self.home, self.current = own / "tmp", own / "home", own / "current"
        for made in (self.temporary, self.home, self.current):
            made.mkdir()
        self.log = own / "stderr"
        command = [*(program or ["quick" * is_quick]), *arguments]
        for option, content in (("config", settings), ("state", state), ("catalog", catalog)):
            if content:
                path = own / f"{option}.json"
                path.write_text(json.dumps(content), encoding="utf-8")
                command.append(f"--{option}={path}")
        with self.log.open("wb") as stderr:
            start = subprocess.Popen if program else ForkedTap
            self.process = start(
                command,
                env=clean_environment(TMPDIR=str(self.temporary), HOME=str(self.home))
                | dict(environ or {}),
                stdin=subprocess.DEVNULL,
                **{"cwd": self.current, "stdout": subprocess.PIPE, "stderr": stderr, **options},
            )
        for name, value in (limits or {}).items():
            resource.prlimit(self.process.pid, getattr(resource, name), (value, value))

    def wait_for(self, happened: Callable[[], object]) -> None:
        """Wait until something has happened; fail if the command ends before, or in 60 seconds."""
        until = time.monotonic() + 60
        while not happened():
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            assert time.monotonic() < until, "it did not come to that"
            time.sleep(0.01)

    def interrupt(self, happened: Callable[[], object], number: int = signal.SIGTERM) -> Outcome:
        """Send a signal once something has happened, and wait for the end."""
        self.wait_for(happened)
        self.process.send_signal(number)
        return self.end()

    def end(self, timeout: float = 60) -> Outcome:
        """Read all that is left and wait for the end, so many seconds at most."""
        written, _ = self.process.communicate(timeout=timeout)
        return self.outcome(written or b"")

    def outcome(self, written: bytes) -> Outcome:
        """Return how it ended.

        Args:
            written: All that it wrote to stdout.
        """
        code = self.process.wait(60)
        log = self.log.read_text(encoding="utf-8", errors="replace")
        return Outcome(messages_of(written), None, code, log, written)

    @property
    def left_behind(self) -> list[str]:
        """Names of what is in its folders."""
        folders = self.temporary, self.home, self.current
        return sorted(path.name for folder in folders for path in folder.rglob("*"))
