"""The readers that are compared, and how each is started. Does not depend on the measuring."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from barchart_events_emulator import Emulator
from benchmarks.export_file import CUSTOMER, END, PRODUCT, START
from tap_barchart_events.windows import to_iso

TAP, STOCK, LOOP = "this tap", "stock SDK tap", "csv + msgspec loop"


@dataclass(frozen=True)
class Contender:
    """One way to read an export file."""

    name: str
    command: Sequence[str]

    line_each: bool = True
    """Whether it writes a line for each event."""


def tap(service: Emulator, folder: Path, **more: object) -> Contender:
    """Return the tap, exporting the file's window from a service."""
    settings = {
        "username": service.username,
        "password": service.password,
        "customer": CUSTOMER,
        "products": [PRODUCT],
        "start_date": to_iso(START),
        "end_date": to_iso(END),
        "api_url": service.api_url,
        "lookback_hours": 0,
        **more,
    }
    command = [sys.executable, "-m", "tap_barchart_events", "--config"]
    command.append(_configuration(folder, settings))
    return Contender(TAP, command, line_each="batch_config" not in more)


def stock_tap(export: Path, folder: Path, **more: object) -> Contender:
    """Return the stock tap."""
    command = [sys.executable, "-m", "benchmarks.stock_tap", "--config"]
    command.append(_configuration(folder, _reading(export) | more))
    return Contender(STOCK, command, line_each="batch_config" not in more)


def plain_loop(export: Path, folder: Path) -> Contender:
    """Return the hand-written loop."""
    settings = _configuration(folder, _reading(export))
    return Contender(LOOP, [sys.executable, "-m", "benchmarks.plain_loop", settings])


def _reading(export: Path) -> dict[str, Any]:
    reading = {"path": str(export), "customer": CUSTOMER, "product": PRODUCT}
    return reading | {"start": START, "end": END}


def _configuration(folder: Path, settings: Mapping[str, Any]) -> str:
    """Write a configuration into a folder and return its path."""
    number = len(list(folder.glob("config-*.json")))
    path = folder / f"config-{number}.json"
    path.write_text(json.dumps(settings))
    return str(path)
