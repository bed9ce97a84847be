"""The readers that are compared, and how each is started. Does not depend on the measuring."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.export_file import CUSTOMER, END, PRODUCT, START
from demo.environment import clean_environment
from tap_barchart_events.windows import to_iso

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HERE = Path(__file__).parent

TAP, STOCK, LOOP = "this tap", "stock SDK tap", "csv + msgspec loop"
"""The readers that need no environment of their own."""

ALIAS = {"events": {"__alias__": "usage"}}
EXPRESSION = {"events": {"day": "timestamp[:10]"}}
"""Stream maps: one that only renames the stream, one that computes a property."""


@dataclass(frozen=True)
class Contender:
    """One way to read an export file."""

    name: str
    command: Sequence[str]

    line_each: bool = True
    """Whether it writes a line for each event."""


def configuration(folder: Path, settings: Mapping[str, Any]) -> str:
    """Write a configuration into a folder and return its path."""
    number = len(list(folder.glob("config-*.json")))
    path = folder / f"config-{number}.json"
    path.write_text(json.dumps(settings))
    return str(path)


def tap(api_url: str, credentials: tuple[str, str], folder: Path, **more: object) -> Contender:
    """Return the tap, exporting the file's window from a service."""
    settings = {
        "username": credentials[0],
        "password": credentials[1],
        "customer": CUSTOMER,
        "products": [PRODUCT],
        "start_date": to_iso(START),
        "end_date": to_iso(END),
        "api_url": api_url,
        "lookback_hours": 0,
        **more,
    }
    command = [sys.executable, "-m", "tap_barchart_events", "--config"]
    command.append(configuration(folder, settings))
    return Contender(TAP, command, line_each="batch_config" not in more)


def stock_tap(export: Path, folder: Path, **more: object) -> Contender:
    """Return the stock tap."""
    command = [sys.executable, "-m", "benchmarks.stock_tap", "--config"]
    command.append(configuration(folder, _reading(export) | more))
    return Contender(STOCK, command, line_each="batch_config" not in more)


def plain_loop(export: Path, folder: Path) -> Contender:
    """Return the hand-written loop."""
    settings = configuration(folder, _reading(export))
    return Contender(LOOP, [sys.executable, "-m", "benchmarks.plain_loop", settings])


def _reading(export: Path) -> dict[str, Any]:
    reading = {"path": str(export), "customer": CUSTOMER, "product": PRODUCT}
    return reading | {"start": START, "end": END}


def batches(encoding: str, directory: Path, size: int | None = None) -> dict[str, Any]:
    """Return the settings for BATCH files in a directory, ``jsonl.gz`` or ``parquet``."""
    directory.mkdir(exist_ok=True)
    kinds = {
        "jsonl.gz": {"format": "jsonl", "compression": "gzip"},
        "parquet": {"format": "parquet"},
    }
    config: dict[str, Any] = {
        "encoding": kinds[encoding],
        "storage": {"root": f"file://{directory}", "prefix": ""},
    }
    if size:
        config["batch_size"] = size
    return {"batch_config": config}


def neighbours(export: Path, folder: Path) -> list[Contender]:
    """Return other readers of CSV files, as far as they can be installed.

    Each in an environment of its own, ``.venv-bench-*``, made when it is missing or its lock has
    changed. Their file needs a header; of its events they write the raw columns alone.
    """
    found = []
    if python := _environment("bench-airbyte"):
        command = [python, str(HERE / "airbyte_reader.py"), str(export)]
        found.append(Contender("Airbyte CDK 7.39.1", command))
    if python := _environment("bench-csv-folder"):
        settings = {"path": str(export.parent), "delimiter": "|", "read_mode": "merge"}
        settings |= {"stream_name": "events", "filesystem": "local", "lineterminator": "\n"}
        command = [str(Path(python).with_name("tap-csv-folder"))]
        command += ["--config", configuration(folder, settings)]
        found.append(Contender("tap-csv-folder 0.0.1a1", command))
    return found


def _environment(name: str) -> str | None:
    """Return the interpreter of the environment that ``requirements/<name>.txt`` locks, if any.

    It is made as the Makefile makes them all; None if it cannot be.
    """
    project = HERE.parent
    command = ["make", f".venv-{name}/.locked"]
    try:
        subprocess.run(
            command, cwd=project, env=clean_environment(), check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return str(project / f".venv-{name}" / "bin" / "python")
