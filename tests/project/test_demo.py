"""`make demo`: what it loads, what it draws, and how it ends."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from demo.environment import clean_environment
from demo.pipeline import PROJECT
from tests.project.commands import output_of


def test_the_demo_into_postgres_shows_all_that_the_service_holds() -> None:
    output = output_of(sys.executable, "-m", "demo.postgres")
    assert "All events of the service were loaded, once." in output
    assert output.count("meltano run ") == 2
    assert "users" in output
    assert "sessions" in output


def test_the_demo_fails_when_fewer_events_arrive_than_the_service_holds(tmp_path: Path) -> None:
    # Half of the events appear an hour late: those of the first run's last hour are never read.
    run = f"""
import sys
from pathlib import Path
import demo.__main__ as demo
demo.FOLDER = Path({str(tmp_path / "demo")!r})
demo.REPORT = Path({str(tmp_path / "report.html")!r})
demo.EMULATOR |= {{"late_share": 0.5, "late_seconds": 3600}}
sys.exit(demo.main())
"""
    assert "THE COUNTS DIFFER." in output_of(sys.executable, "-c", run, code=1)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to look around")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    # Each process that the demo starts gets an environment made for it, which keeps TMPDIR.
    mark = f"TMPDIR={tmp_path}"
    with subprocess.Popen(
        [sys.executable, "-m", "demo"],
        cwd=PROJECT,
        env=clean_environment(TMPDIR=str(tmp_path)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        while not any("tap-barchart-events" in name for name in marked(mark)):
            assert demo.poll() is None, "the demo ended before the tap ran"
            time.sleep(0.05)
        demo.send_signal(number)
        said, _ = demo.communicate()

    assert demo.returncode == 128 + number
    assert "Traceback" not in said
    assert list(marked(mark)) == []


def marked(mark: str) -> Iterator[str]:
    """Yield the command lines of the processes whose environment has the mark."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (process / "environ").read_bytes():
                yield (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
