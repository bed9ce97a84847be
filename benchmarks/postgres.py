"""Rows per second of target-postgres for each choice of its settings, side by side in one run.

    make demo-postgres                            once: installs what this needs
    .venv/bin/python -m benchmarks.postgres       one table

The tap's messages are made first, so that the target alone is measured: whole processes, start-up
included, into an empty table of a real PostgreSQL whose commits wait for the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from barchart_events_emulator import Emulator
from demo.environment import clean_environment
from demo.pipeline import PROJECT
from demo.postgres_server import Postgres

TARGET = PROJECT / ".meltano/loaders/target-postgres/venv/bin/target-postgres"
START, END = "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"
FULL_DAY = 24

INSERT: dict[str, Any] = {"use_copy": False}
COPY: dict[str, Any] = {"use_copy": True}
UNCHECKED: dict[str, Any] = {"validate_records": False}
PLAIN: dict[str, Any] = {"add_record_metadata": False, "activate_version": False}


class Choice(NamedTuple):
    """What the tap writes, and the target's settings."""

    way: str
    settings: dict[str, Any]
    again: bool = False
    """Whether the rows are in the table already, and are merged."""


CHOICES = {
    "RECORD, INSERT": Choice("record", INSERT),
    "RECORD, COPY": Choice("record", COPY),
    "RECORD, INSERT, unchecked": Choice("record", INSERT | UNCHECKED),
    "RECORD, COPY, unchecked": Choice("record", COPY | UNCHECKED),
    "RECORD, COPY, unchecked, the same rows again": Choice("record", COPY | UNCHECKED, again=True),
    "RECORD, COPY, unchecked, 50,000 rows at once": Choice(
        "record", COPY | UNCHECKED | {"batch_size_rows": 50_000}
    ),
    "RECORD, COPY, unchecked, NUL replaced": Choice(
        "record", COPY | UNCHECKED | {"sanitize_null_text_characters": True}
    ),
    "RECORD, COPY, unchecked, no _sdc columns": Choice("record", COPY | UNCHECKED | PLAIN),
    "BATCH jsonl.gz, INSERT": Choice("jsonl", INSERT),
    "BATCH jsonl.gz, COPY": Choice("jsonl", COPY),
    "BATCH Parquet, INSERT": Choice("parquet", INSERT),
    "BATCH Parquet, COPY": Choice("parquet", COPY),
}
_BATCHES: dict[str, dict[str, str]] = {
    "jsonl": {"format": "jsonl", "compression": "gzip"},
    "parquet": {"format": "parquet"},
}


def main() -> None:
    """Measure all choices in turn, several times, and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.postgres", description="one table")
    parser.add_argument("--events", type=int, default=100_000, help="rows to load, about")
    parser.add_argument("--rounds", type=int, default=3, help="times that each choice is measured")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Postgres() as postgres:
        folder = Path(name)
        rows = _messages(folder, given.events)
        seconds: dict[str, list[tuple[float, float]]] = {choice: [] for choice in CHOICES}
        for _ in range(given.rounds):
            for name_of, choice in CHOICES.items():
                seconds[name_of].append(_load(postgres, choice, folder, rows))
    print(f"{rows:,} WATCHLIST events, {os.cpu_count()} cores, median of {given.rounds}\n")
    print("| the tap writes, the target loads | rows a second | rows a CPU-second |")
    print("| --- | ---: | ---: |")
    for name_of, measured in seconds.items():
        wall = statistics.median(wall for wall, _ in measured)
        cpu = statistics.median(cpu for _, cpu in measured)
        print(f"| {name_of} | {rows / wall:,.0f} | {rows / cpu:,.0f} |")


def _messages(folder: Path, events: int) -> int:
    """Write the tap's messages for each way, and return how many rows they hold."""
    with Emulator(events_per_hour=events / FULL_DAY) as emulator:
        settings = {
            "api_url": emulator.api_url,
            "username": emulator.username,
            "password": emulator.password,
            "customer": "TGAM",
            "products": ["WATCHLIST"],
            "start_date": START,
            "end_date": END,
        }
        for way in ("record", *_BATCHES):
            files = folder / f"{way}-files"
            files.mkdir()
            batches = {
                "batch_config": {
                    "encoding": _BATCHES.get(way),
                    "storage": {"root": files.as_uri(), "prefix": ""},
                    "batch_size": 50_000,
                }
            }
            config = folder / "tap.json"
            config.write_text(json.dumps(settings | (batches if way in _BATCHES else {})))
            command = [sys.executable, "-m", "tap_barchart_events", "--config", str(config)]
            with (folder / way).open("wb") as written:
                subprocess.run(
                    command,
                    cwd=folder,
                    env=clean_environment(),
                    stdout=written,
                    stderr=subprocess.DEVNULL,
                    check=True,
                )
    with (folder / "record").open("rb") as written:
        return sum(line.startswith(b'{"type":"RECORD"') for line in written)


def _load(postgres: Postgres, choice: Choice, folder: Path, rows: int) -> tuple[float, float]:
    """Load the messages and return wall and CPU seconds of the target."""
    if not choice.again:
        postgres.execute("drop schema if exists measured cascade; checkpoint")
    config = folder / "target.json"
    target = {"sqlalchemy_url": postgres.url, "default_target_schema": "measured"}
    config.write_text(json.dumps(target | choice.settings))
    before = os.times()
    began = time.monotonic()
    with (folder / choice.way).open("rb") as messages:
        subprocess.run(
            [TARGET, "--config", config],
            cwd=folder,
            env=clean_environment(),
            stdin=messages,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    wall = time.monotonic() - began
    after = os.times()
    (found,) = postgres.rows("select count(*) as rows from events", schema="measured")
    if found["rows"] != rows:
        raise AssertionError(f"{found['rows']} of {rows} rows were loaded")
    before_cpu = before.children_user + before.children_system
    return wall, after.children_user + after.children_system - before_cpu


if __name__ == "__main__":
    main()
