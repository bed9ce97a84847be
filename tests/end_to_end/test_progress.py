"""Progress: what people and machines see of each window."""

import fcntl
import json
import os
import re
import signal
import struct
import termios
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from barchart_events_emulator import Emulator, Event
from tap_barchart_events.windows import HOUR, from_iso
from tests.tap_runs import (
    END,
    START,
    Run,
    Tap,
    change,
    partition,
    settings_of,
    summary_of,
)

PRODUCTS = ["WATCHLIST", "ALERT"]


def shares_in(log: str) -> list[int]:
    """Return the shares of all windows, which never go back."""
    shares = [int(share) for share in re.findall(r" · (\d+) %[,\n]", log)]
    assert shares == sorted(shares)
    assert shares[-1] == 100
    return shares


def test_a_line_for_each_window_says_events_share_and_time_left(run: Run) -> None:
    outcome = run(products=PRODUCTS)
    lines = re.findall(
        r"TGAM/(\w+) 2026-03-02 0\d:00 → 0\d:00 · ([\d,]+) events · job [\d.]+ s, "
        r"download [\d.]+ s · \d+ %(?:, ((?:about [\d.]+ s|less than a second) left|done))?\n",
        outcome.log,
    )
    assert [line[0] for line in lines] == ["WATCHLIST"] * 4 + ["ALERT"] * 4
    assert sum(int(line[1].replace(",", "")) for line in lines) == len(outcome.records)
    assert [line[2] == "done" for line in lines] == [False] * 7 + [True]
    assert not re.search(r"about 0(\.0)? ", outcome.log)
    assert 0 < shares_in(outcome.log)[0] < 100


def test_the_share_counts_expected_events_not_hours(service: Emulator, run: Run) -> None:
    at = [0] * 10 + [HOUR] * 10 + [2 * HOUR] * 10 + [3 * HOUR] * 970
    events = [Event(from_iso(START) + offset, "WATCHLIST-CREATED", {}) for offset in at]
    service.source = lambda *_: events
    state = run().states[-1]
    partition(state)["replication_key_value"] = START
    # One after the other, so that the busy hour is forecast when the first one is finished.
    log = run(state, max_concurrent_jobs=1).log
    assert shares_in(log)[0] == 1
    assert " · 1 %\n" in log, "the time left is not worth something yet"


def test_the_share_never_goes_back_as_more_is_expected(service: Emulator, run: Run) -> None:
    change(service, job_seconds=0.2, events_per_hour=100)
    more = {
        "products": ["WATCHLIST", "PORTFOLIO"],
        "start_date": "2026-02-28T00:00:00Z",  # a weekend, before busier days
        "window_hours": 744,
    }
    first = run(end_date="2026-03-03T20:42:00Z", **more)
    assert len(shares_in(first.log)) > 4
    finding = "TGAM: finding the export size that the service accepts\n"
    assert first.log.count(finding) == 1
    assert finding not in run(first.states[-1], end_date="2026-03-03T21:42:00Z", **more).log


def test_metrics_are_few_rounded_labelled_and_add_up(service: Emulator, run: Run) -> None:
    outcome = run(products=PRODUCTS)
    points = re.findall("METRIC: (.*)", outcome.log)
    metrics = [json.loads(point) for point in points]
    assert Counter(metric["metric"] for metric in metrics) == {
        "record_count": 2,
        "sync_duration": 1,
        "http_request_count": 4,
        "sync_summary": 1,
    }, "none of them for each window"
    assert not re.findall(r"\d\.\d{4,}", "".join(points))
    labels = {json.dumps([m["metric"], m["tags"]], sort_keys=True) for m in metrics}
    assert len(labels) == len(metrics)
    calls = Counter(r.call for r in service.requests)
    assert {m["tags"]["endpoint"]: m["value"] for m in metrics if "endpoint" in m["tags"]} == {
        call: calls[call] for call in ("authenticate", "start", "poll", "link")
    }
    records = Counter(record["product"] for record in outcome.records)
    counts = [m for m in metrics if m["metric"] == "record_count"]
    assert {m["tags"]["context"]["product"]: m["value"] for m in counts} == records


@pytest.mark.parametrize(("level", "metrics"), [("INFO", 1), ("DEBUG", 7)])
def test_under_meltano_the_metrics_of_the_sdk_are_of_the_level_debug(
    run: Run, level: str, metrics: int
) -> None:
    environ = {"MELTANO_PROJECT_ROOT": "/", "TAP_BARCHART_EVENTS_LOGLEVEL": level}
    outcome = run(None, 0, {"environ": environ})
    assert outcome.log.count("METRIC: ") == metrics
    assert summary_of(outcome.log)["events"] == len(outcome.records)


def test_last_line_and_metric_sum_the_sync_up(service: Emulator, run: Run) -> None:
    service.fault("start", "job-timeout", after=1)
    service.fault("start", "job-failed", after=2)
    outcome = run(options={"is_quick": True})
    found = re.search(
        r"TGAM: sync complete · ([\d,]+) events in (\d+) windows · (\d+) export jobs \((\d+) too "
        r"large, (\d+) failed, (\d+) resumed from an earlier run\) · ([\d.]+) MB · "
        r"waited [\d.]+ s for jobs, wrote for [\d.]+ s · WATCHLIST complete, "
        r"bookmark 2026-03-02T04:00:00.000\+00:00, ([\d,]+) new events$",
        outcome.log.splitlines()[-1],
    )
    assert found, outcome.log
    assert re.search(r":00 is split: it was too large \(TIMEOUT\)\n", outcome.log)
    *counts, size, new = found.groups()
    summary = summary_of(outcome.log)
    names = ("events", "windows", "jobs", "jobs_too_large", "jobs_failed", "jobs_resumed")
    assert [int(n.replace(",", "")) for n in counts] == [summary[name] for name in names]
    assert summary["events"] == len(outcome.records) == int(new)
    of_product = summary["products"]["WATCHLIST"]
    assert (of_product.pop("status"), of_product.pop("bookmark")) == ("complete", END)
    assert of_product == {name: summary[name] for name in of_product}
    assert of_product["new_events"] == summary["events"]
    assert summary["windows"] == outcome.log.count(" events · job ") > 4, "one window was cut"
    assert summary["jobs"] == len(service.jobs)
    assert (counts[3:], summary["status"]) == (["1", "1", "0"], "succeeded")
    assert f"{summary['bytes'] / 1e6:.2f}" == size
    assert summary["seconds_waited"] > 0.05
    assert summary["seconds_writing"] > 0


def test_the_closing_line_counts_earlier_jobs(service: Emulator, run: Run, tmp_path: Path) -> None:
    change(service, job_seconds=1)
    first = Tap(tmp_path, settings_of(service, max_concurrent_jobs=2))
    outcome = first.interrupt(lambda: len(service.jobs) == 2)
    assert outcome.code == 128 + signal.SIGTERM
    assert "TGAM: sync stopped early · 0 events in 0 windows · 2 export jobs (0 too" in outcome.log
    assert summary_of(outcome.log)["status"] == "failed"
    change(service, job_seconds=0.05)
    log = run(outcome.states[-1]).log
    assert "4 windows · 4 export jobs (0 too large, 0 failed, 2 resumed from an" in log
    assert summary_of(log)["jobs_resumed"] == 2


def test_a_sync_that_ends_before_it_has_begun_says_so(service: Emulator, run: Run) -> None:
    service.fault("authenticate", "status", code=401)
    *_, closing, error = run(None, 1, products=PRODUCTS).log.splitlines()
    assert "TGAM: sync stopped early · 0 events in 0 windows · 0 export jobs " in closing
    assert "WATCHLIST not reached, 0 new events; ALERT not reached, 0 new events" in closing
    assert "answered 401" in error
    state = run(products=["WATCHLIST"]).states[-1]
    service.fault("authenticate", "drop", times=None)
    log = run(state, 1, products=PRODUCTS, max_retries=0).log
    assert f"WATCHLIST not reached, bookmark {END}, 0 new events; ALERT not reached, 0" in log
    assert summary_of(log)["status"] == "failed"


def test_a_product_with_nothing_to_do_is_one_line(run: Run) -> None:
    state = run(products=["WATCHLIST"]).states[-1]
    log = run(state, products=["WATCHLIST"]).log
    of_the_sdk = re.compile("METRIC|Meltano SDK|Beginning sync|warn_python_eol|PythonEOL|^$")
    line, closing = (line for line in log.splitlines() if not of_the_sdk.search(line))
    said = f"TGAM/WATCHLIST: nothing to export: the sync would begin at {END}, and end at {END} ("
    assert said in line
    assert "TGAM: sync complete · 0 events in 0 windows · 0 export jobs" in closing
    assert summary_of(log)["events"] == 0

    log = run(state, products=["WATCHLIST", "PORTFOLIO"]).log
    assert said in log
    assert "TGAM/PORTFOLIO: nothing" not in log
    assert "TGAM: no bookmark of PORTFOLIO in STATE, so the sync begins at start_date" in log
    assert "TGAM: sync complete · " in log


def test_a_terminal_shows_a_bar_short_lines_and_no_metrics(
    service: Emulator, tmp_path: Path
) -> None:
    change(service, max_events=1500)
    terminal, stderr = os.openpty()
    fcntl.ioctl(stderr, termios.TIOCSWINSZ, struct.pack("4H", 24, 120, 0, 0))
    products = [*PRODUCTS, "CMDTYVIEW-WEB-EXCEL"]
    more = {"end_date": "2026-03-02T23:59:59Z", "window_hours": 25, "lookback_hours": 48}
    tap = Tap(tmp_path, settings_of(service, products=products, **more), stderr=stderr)
    os.close(stderr)
    outcome = tap.end()
    output = b""
    with suppress(OSError):  # which is how a terminal reports its end
        while piece := os.read(terminal, 1 << 16):
            output += piece
    os.close(terminal)
    assert outcome.code == 0
    shown = output.decode()
    bars = re.findall(r"TGAM +(\d+)%\|[^|]*\| [\d:]+, ", shown)
    assert bars[-1] == "100"
    assert bars == sorted(bars, key=int)
    assert f"{len(outcome.records):,} events, done" in shown
    assert "METRIC" not in shown
    lines = [line for line in re.split(r"[\r\n]+", shown) if not line.startswith("TGAM ")]
    assert max(map(len, lines)) <= 120
    window = r"\d\d:\d\d:\d\d INFO TGAM/ALERT 2026-03-02 .* · job [\d.]+ s, download [\d.]+ s"
    assert any(re.fullmatch(window, line) for line in lines)
    end = "  CMDTYVIEW-WEB-EXCEL complete, bookmark 2026-03-02T23:59:59.000+00:00, "
    assert any(line.startswith(end) for line in lines), "a line for each product"
