"""Progress: what people and machines see of each window."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import signal
import struct
import termios
import time
from collections import Counter
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from barchart_events_emulator import Emulator, Event
from tap_barchart_events.exports.export import Export
from tap_barchart_events.files.check import FileContents
from tap_barchart_events.progress import Progress, time_left
from tap_barchart_events.windows import Window
from tests.tap_runs import QUICK_COMMAND, Tap, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_barchart_events.exports.export import ProductQueue
    from tap_barchart_events.exports.exporter import Exporter

PRODUCTS = ["WATCHLIST", "ALERT"]
WINDOWS = 8


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=0.05, events_per_hour=200) as emulator:
        yield emulator


def metrics_of(log: str) -> list[dict[str, Any]]:
    """Return the metrics of a log."""
    points = [line.partition("METRIC: ")[2] for line in log.splitlines()]
    return [json.loads(point) for point in points if point]


def summary_of(log: str) -> dict[str, Any]:
    """Return the events and the tags of the metric at the end of a sync."""
    [found] = [metric for metric in metrics_of(log) if metric["metric"] == "sync_summary"]
    return {"events": found["value"], **found["tags"]}


def test_a_line_for_each_window_says_events_share_and_time_left(
    service: Emulator, tmp_path: Path
) -> None:
    outcome = Tap(tmp_path, settings_of(service, products=PRODUCTS)).end()
    lines = re.findall(
        r"TGAM/(\w+) 2026-03-02 0\d:00 → 0\d:00 · ([\d,]+) events · job [\d.]+ s, "
        r"download [\d.]+ s · (\d+) %, ((?:about [\d.]+ (?:s|min)|less than a second) left|done)\n",
        outcome.log,
    )
    assert [line[0] for line in lines] == [p for p in PRODUCTS for _ in range(WINDOWS // 2)]
    assert sum(int(line[1].replace(",", "")) for line in lines) == len(outcome.records)
    shares = [int(line[2]) for line in lines]
    assert shares == sorted(shares), "of the events that are expected"
    assert 0 < shares[0] < shares[-1] == 100
    assert [line[3] == "done" for line in lines] == [False] * 7 + [True]


def export_of(product: str, window: Window) -> Export:
    queue = cast("ProductQueue", SimpleNamespace(product=product))
    return Export(queue, window, Path(), began=0.0, ready=1.0, size=100, download_seconds=1.0)


def test_share_and_time_left_count_expected_events_not_hours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    exports = SimpleNamespace(events_left=990.0)
    progress = Progress(logging.getLogger("shares"), customer="TGAM", stream="events")
    progress.begin(10, cast("Exporter", exports))
    ten, none = (FileContents(events=n) for n in (10, 0))
    with caplog.at_level("INFO"):
        progress.finished(export_of("WATCHLIST", Window(0, 9)), ten, 0.1)
        exports.events_left = None  # nothing is known of some product
        progress.finished(export_of("ALERT", Window(0, 0)), none, 0.1)
    quiet, unknown = (message.partition("download 1.0 s · ")[2] for message in caplog.messages)
    assert quiet.startswith("1 %, ")
    assert unknown.startswith("90 %, ")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "less than a second left"), (0.04, "less than a second left")),
        *((0.4, "about 0.4 s left"), (700, "about 12 min left")),
    ],
)
def test_the_time_left_is_never_none(seconds: float, text: str) -> None:
    assert time_left(seconds) == text


def test_the_share_never_goes_back_while_the_expected_events_become_more(tmp_path: Path) -> None:
    products = ["WATCHLIST", "PORTFOLIO"]
    with Emulator(job_seconds=0.2, events_per_hour=100) as service:
        settings = settings_of(
            service,
            products=products,
            start_date="2026-02-28T00:00:00Z",  # a weekend, before busier days
            end_date="2026-03-03T20:42:00Z",
            window_hours=744,
        )
        log = Tap(tmp_path, settings).end().log
    shares = [int(share) for share in re.findall(r" · (\d+) %, ", log)]
    assert len(shares) > 4
    assert shares == sorted(shares)


def test_one_event_is_not_called_events(tmp_path: Path) -> None:
    event = Event(1_772_409_600_000, "WATCHLIST-CREATED", {"userId": "1"})  # 2026-03-02
    with Emulator(job_seconds=0.05, source=lambda *_: [event]) as service:
        end = "2026-03-02T01:00:00Z"
        log = Tap(tmp_path, settings_of(service, end_date=end)).end().log
    assert " · 1 event · job " in log
    assert "TGAM: sync complete · 1 event in 1 window · 1 export job (0 too large" in log


def test_metrics_add_up_to_what_was_done(service: Emulator, tmp_path: Path) -> None:
    outcome = Tap(tmp_path, settings_of(service, products=PRODUCTS)).end()
    points = metrics_of(outcome.log)
    calls = Counter(r.call for r in service.requests)
    assert {m["tags"]["endpoint"]: m["value"] for m in points if "endpoint" in m["tags"]} == {
        call: calls[call] for call in ("authenticate", "start", "poll", "link")
    }
    records = Counter(record["product"] for record in outcome.records)
    assert {
        m["tags"]["context"]["product"]: m["value"] for m in points if m["metric"] == "record_count"
    } == records


def test_metrics_are_few_rounded_and_labelled(service: Emulator, tmp_path: Path) -> None:
    log = Tap(tmp_path, settings_of(service, products=PRODUCTS)).end().log
    names = Counter(metric["metric"] for metric in metrics_of(log))
    assert names == {
        "record_count": 2,
        "sync_duration": 1,
        "http_request_count": 4,
        "sync_summary": 1,
    }, "none of them for each window"
    assert not re.findall(r"\d\.\d{4,}", log)
    labels = [json.dumps([m["metric"], m["tags"]], sort_keys=True) for m in metrics_of(log)]
    assert len(set(labels)) == len(labels)


def test_the_last_line_sums_the_sync_up_and_a_metric_says_the_same(
    service: Emulator, tmp_path: Path
) -> None:
    service.fault("start", "job-timeout", after=1)
    service.fault("start", "job-failed", after=2)
    outcome = Tap(tmp_path, settings_of(service), program=QUICK_COMMAND).end()
    last = outcome.log.splitlines()[-1]
    found = re.search(
        r"TGAM: sync complete · ([\d,]+) events in (\d+) windows · (\d+) export jobs \((\d+) too "
        r"large, (\d+) failed, (\d+) taken over from an earlier run\) · ([\d.]+) MB · "
        r"waited [\d.]+ s for jobs, wrote for [\d.]+ s$",
        last,
    )
    assert found, outcome.log
    events, windows, jobs, too_large, failed, taken_over, size = found.groups()
    assert int(events.replace(",", "")) == len(outcome.records)
    assert int(windows) == outcome.log.count(" events · job ") > 4, "one window was cut"
    assert int(jobs) == len([r for r in service.requests if r.call == "start"])
    assert (too_large, failed, taken_over) == ("1", "1", "0")
    summary = summary_of(outcome.log)
    assert summary["events"] == len(outcome.records)
    assert summary["windows"] == int(windows)
    assert summary["jobs"] == int(jobs)
    assert (summary["jobs_too_large"], summary["jobs_failed"]) == (1, 1)
    assert f"{summary['bytes'] / 1e6:.2f}" == size
    assert summary["seconds_waited"] > 0.05
    assert summary["seconds_writing"] > 0
    assert summary["status"] == "succeeded"


def test_the_closing_line_counts_jobs_of_an_earlier_run(service: Emulator, tmp_path: Path) -> None:
    service.job_seconds = 3
    first = Tap(tmp_path, settings_of(service, max_concurrent_jobs=2))
    while len([r for r in service.requests if r.call == "start"]) < 2:
        time.sleep(0.02)
    first.process.send_signal(signal.SIGTERM)
    outcome = first.end()
    assert outcome.code == 128 + signal.SIGTERM
    assert "TGAM: sync stopped early · 0 events in 0 windows · 2 export jobs (0 too" in outcome.log
    assert summary_of(outcome.log)["status"] == "failed"
    service.job_seconds = 0.05
    log = Tap(tmp_path, settings_of(service), outcome.states[-1]).end().log
    assert "4 windows · 4 export jobs (0 too large, 0 failed, 2 taken over from an" in log
    assert summary_of(log)["jobs_taken_over"] == 2


def test_a_sync_that_fails_says_what_it_did_before_the_error(
    service: Emulator, tmp_path: Path
) -> None:
    service.fault("start", "status", code=401, after=2, times=None)
    outcome = Tap(tmp_path, settings_of(service, max_concurrent_jobs=1)).end()
    assert outcome.code == 1
    *_, closing, error = outcome.log.splitlines()
    assert "TGAM: sync stopped early · " in closing
    assert " events in 2 windows · 2 export jobs " in closing
    assert "ERROR" in error


@pytest.mark.parametrize("products", [["WATCHLIST"], PRODUCTS])
def test_a_sync_with_nothing_to_do_says_so_in_one_line(
    service: Emulator, tmp_path: Path, products: list[str]
) -> None:
    settings = settings_of(service, products=products)
    first = Tap(tmp_path, settings).end()
    outcome = Tap(tmp_path, settings, first.states[-1]).end()
    of_the_sdk = re.compile("METRIC|Meltano SDK|Beginning sync|warn_python_eol|PythonEOL|^$")
    [line] = [line for line in outcome.log.splitlines() if not of_the_sdk.search(line)]
    where = "TGAM" if len(products) > 1 else "TGAM/WATCHLIST"
    said = f"{where}: nothing to export: the sync would begin at 2026-03-02T04:00:00.000+00:00"
    assert line.endswith(f"{said}, which is not before end_date")
    assert summary_of(outcome.log)["events"] == 0


def test_a_product_with_nothing_to_do_is_named_and_end_date_only_where_it_is_set(
    service: Emulator, tmp_path: Path
) -> None:
    now = datetime.now(timezone.utc)
    settings = settings_of(service, start_date=now.isoformat(), end_date=None)
    del settings["end_date"]
    log = Tap(tmp_path, settings).end().log
    assert "TGAM/WATCHLIST: nothing to export: the sync would begin at " in log
    assert "which is not before now minus lag_minutes, 20" in log
    assert "end_date" not in log

    first = Tap(tmp_path, settings_of(service)).end()
    log = Tap(tmp_path, settings_of(service, products=PRODUCTS), first.states[-1]).end().log
    assert "TGAM/WATCHLIST: nothing to export: the sync would begin at " in log
    assert "TGAM/ALERT: nothing" not in log
    assert "TGAM: sync complete · " in log


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
    assert "100 %, done" in shown.decode(), "the lines still come, above the bar"
    assert b"METRIC" not in shown
