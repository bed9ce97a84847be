"""Progress: what people and machines see of each window."""

from __future__ import annotations

import fcntl
import json
import os
import re
import struct
import termios
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from barchart_events_emulator import Emulator
from tests.tap_runs import Tap, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRODUCTS = ["WATCHLIST", "ALERT"]
WINDOWS = 8


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=0.05, events_per_hour=200) as emulator:
        yield emulator


def test_a_line_for_each_window_tells_rate_share_and_time_left(
    service: Emulator, tmp_path: Path
) -> None:
    outcome = Tap(tmp_path, settings_of(service, products=PRODUCTS)).end()
    lines = re.findall(
        r"TGAM/(\w+) 2026-03-02 0\d:00 → 0\d:00 · ([\d,]+) events, [\d,]+/s · job [\d.]+ s, "
        r"download [\d.]+ s · window (\d) of (\d), (\d+) %, (about [\d.]+ (?:s|min) left|done)",
        outcome.log,
    )
    assert [line[0] for line in lines] == [p for p in PRODUCTS for _ in range(WINDOWS // 2)]
    assert sum(int(line[1].replace(",", "")) for line in lines) == len(outcome.records)
    assert [(int(line[2]), int(line[3])) for line in lines] == [(n, 8) for n in range(1, 9)]
    shares = [int(line[4]) for line in lines]
    assert shares == sorted(shares), "of the events that are expected"
    assert 0 < shares[0] < shares[-1] == 100
    assert [line[5] == "done" for line in lines] == [False] * 7 + [True]


def test_metrics_add_up_to_what_was_done(service: Emulator, tmp_path: Path) -> None:
    outcome = Tap(tmp_path, settings_of(service, products=PRODUCTS)).end()
    points = [line.partition("METRIC: ")[2] for line in outcome.log.splitlines()]
    found: dict[str, list[Any]] = {}
    for metric in [json.loads(point) for point in points if point]:
        found.setdefault(metric["metric"], []).append(metric["value"])
    for name in ("export_job_duration", "download_duration", "download_bytes", "window_duration"):
        assert len(found[name]) == WINDOWS
        assert min(found[name]) >= 0
    assert min(found["download_bytes"]) > 0
    assert max(found["export_job_duration"]) >= 0.05
    assert sum(found["record_count"]) == len(outcome.records)
    assert sum(found["http_request_count"]) == len(
        [r for r in service.requests if r.call in {"authenticate", "start", "poll", "link"}]
    )


def test_a_terminal_shows_a_bar_up_to_the_end_and_no_metrics(
    service: Emulator, tmp_path: Path
) -> None:
    terminal, stderr = os.openpty()
    fcntl.ioctl(stderr, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    tap = Tap(tmp_path, settings_of(service, products=PRODUCTS), stderr=stderr)
    os.close(stderr)
    written, _ = tap.process.communicate(timeout=30)
    shown = b""
    with suppress(OSError):  # which is how a terminal reports its end
        while piece := os.read(terminal, 1 << 16):
            shown += piece
    os.close(terminal)
    assert tap.process.returncode == 0
    records = written.count(b'{"type":"RECORD"')
    bars = re.findall(r"TGAM +(\d+)%\|[^|]*\| [\d:]+<[\d:?]+", shown.decode())
    assert bars[-1] == "100"
    assert bars == sorted(bars, key=int)
    assert f"{records:,} events, ALERT" in shown.decode()
    assert b"window 8 of 8, 100 %, done" in shown, "the lines still come, above the bar"
    assert b"METRIC" not in shown
