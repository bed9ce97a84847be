"""The demos: what they load, what they say and draw, and how they end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import pytest

from barchart_events_emulator import Emulator
from barchart_events_emulator import demo as quick
from demo.environment import clean_environment
from demo.pipeline import PROJECT, process
from tap_barchart_events.windows import HOUR, to_iso
from tests.expected_events import expected_events
from tests.project.commands import output_of

QUICK = "barchart_events_emulator.demo"


def test_make_demo_kills_the_tap_and_loads_every_event_of_the_service() -> None:
    output = output_of("make", "demo")
    rows = [
        json.loads(line)["event_id"]
        for line in (PROJECT / "output/demo/events.jsonl").read_text("utf-8").splitlines()
    ]
    end = quick.FIRST_END + quick.LATER_HOURS * HOUR
    service = Emulator(**quick.EMULATOR | {"clock": lambda: end})
    expected = {
        product: expected_events(service, [product], to_iso(quick.START), to_iso(end)).keys()
        for product in quick.PRODUCTS
    }

    assert set(rows) == set().union(*expected.values())
    again = len(rows) - len(set(rows))
    assert again >= quick.KILLED_AFTER
    assert f"0 lost; {again:,} rows came twice with the same event_id (at least once)" in output
    for product, ids in expected.items():
        number = f"{len(ids):,}"
        assert re.search(rf"(?m)^  {product} +{number} +{number} +0  {to_iso(end)[:16]}$", output)
    samples = output.partition("\n  timestamp ")[2].splitlines()[1:4]
    assert {sample.split()[-1] for sample in samples} < set(rows)
    query = output.partition("A query to try:\n")[2].partition("\nNext:")[0]
    assert "PORTFOLIO-" in output_of("bash", "-c", query)


def test_the_demo_at_a_terminal_shows_bars_and_fails_when_an_event_is_missing(
    tmp_path: Path,
) -> None:
    # Half of the events appear an hour late: those of the first sync's last hour are never read.
    run = f"""
import sys
import {QUICK} as demo
demo.KILLED_AFTER = 50
demo.EMULATOR |= {{"events_per_hour": 6, "late_share": 0.5, "late_seconds": 3600}}
sys.exit(demo.main())
"""
    terminal, stdout = os.openpty()
    command = [sys.executable, "-c", run]
    with subprocess.Popen(command, cwd=tmp_path, env=clean_environment(), stdout=stdout) as demo:
        os.close(stdout)
        shown = b""
        with suppress(OSError):  # its end
            while part := os.read(terminal, 4096):
                shown += part
    os.close(terminal)
    assert demo.returncode == 1
    assert b"\r  WATCHLIST " in shown
    assert b" 100% " + b"#" * 30 in shown
    assert b"THE EVENTS DIFFER." in shown


@pytest.mark.soak
def test_the_demo_into_postgres_shows_all_that_the_service_holds_and_keeps_the_server() -> None:
    page = PROJECT / "output" / "dashboard.html"
    page.unlink(missing_ok=True)
    with subprocess.Popen(
        [sys.executable, "-m", "demo.postgres", "--keep"],
        cwd=PROJECT,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        output = ""
        try:
            while "A query to try" not in output:
                output += demo.stdout.readline() or pytest.fail(output)
            query = demo.stdout.readline() + demo.stdout.readline()
            found = output_of("bash", "-c", query)
        finally:
            demo.send_signal(signal.SIGINT)
            demo.communicate()
    assert demo.returncode == 0
    assert "WATCHLIST" in found
    assert "All events of the service were loaded, once." in output
    assert output.count("meltano run ") == 2
    assert "<h3>Active users</h3>" in page.read_text(encoding="utf-8")


@pytest.mark.soak
def test_the_demo_with_meltano_fails_when_fewer_events_arrive_than_the_service_holds(
    tmp_path: Path,
) -> None:
    # Half of the events appear an hour late: those of the first run's last hour are never read.
    run = f"""
import sys
from pathlib import Path
import demo.__main__ as demo
from demo import runs
demo.FOLDER = Path({str(tmp_path / "demo")!r})
demo.REPORT = Path({str(tmp_path / "report.html")!r})
runs.EMULATOR |= {{"late_share": 0.5, "late_seconds": 3600}}
sys.exit(demo.main())
"""
    assert "THE EVENTS DIFFER." in output_of(sys.executable, "-c", run, code=1)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to look around")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("module", "name"), [("demo", "tap-barchart-events"), (QUICK, "tap_barchart_events")]
)
def test_an_interrupted_demo_leaves_no_process_behind(
    tmp_path: Path, module: str, name: str, number: signal.Signals
) -> None:
    # Each process that the demo starts gets an environment made for it, which keeps TMPDIR.
    mark = f"TMPDIR={tmp_path}"
    with subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=PROJECT if module == "demo" else tmp_path,
        env=clean_environment(TMPDIR=str(tmp_path)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        while not any(name in command for command in marked(mark)):
            assert demo.poll() is None, "the demo ended before the tap ran"
            time.sleep(0.05)
        demo.send_signal(number)
        said, _ = demo.communicate()

    assert demo.returncode == 128 + number
    assert "Traceback" not in said
    assert list(marked(mark)) == []


@pytest.mark.parametrize("begin", [quick.running, process])
def test_a_signal_that_comes_while_a_process_of_a_demo_starts_ends_it_too(
    begin: Callable[..., AbstractContextManager[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            pids.append(self.pid)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), begin(["sleep", "60"]):
            pass
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def marked(mark: str) -> Iterator[str]:
    """Yield the command lines of the processes whose environment has the mark."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes():
                yield (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
