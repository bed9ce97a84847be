"""Measures whole processes from outside. Does not depend on what they do."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from demo.environment import clean_environment

ROOT = Path(__file__).parent.parent
LAUNCHER = str(Path(__file__).with_name("launch.py"))
READ = 1 << 20


class ContenderError(Exception):
    """A process ended with an error, or its output was not as expected."""


@dataclass(frozen=True)
class Run:
    """The resources that one process used from its start to its end."""

    cpu: float
    """Seconds of processor time, user and system, of all its threads."""

    wall: float
    """Seconds."""

    peak: int
    """Most bytes of memory that were resident at once."""

    lines: int
    """Lines written to stdout."""

    began: float
    """When it was started, by ``time.monotonic``."""

    load: float
    """Mean number of runnable processes on the machine in the minute before."""


def run(command: Sequence[str], folder: Path, output: Path | None = None) -> Run:
    """Run a command in a folder and measure it. Its stdout is a pipe, as to a target.

    Args:
        command: What to run.
        folder: Where it runs, and its temporary files go.
        output: A file that gets a copy of its stdout; not for measuring.

    Raises:
        ContenderError: It did not exit with 0.
    """
    load = os.getloadavg()[0]
    output_pipe, usage_pipe = os.pipe(), os.pipe()
    lines = [0]
    reader = threading.Thread(target=_read, args=(output_pipe[0], lines, output))
    with TemporaryFile(dir=folder) as errors, open(usage_pipe[0], "rb") as usage:  # noqa: PTH123
        launcher = subprocess.Popen(
            [sys.executable, "-I", "-S", LAUNCHER, str(usage_pipe[1]), *command],
            stdin=subprocess.DEVNULL,
            stdout=output_pipe[1],
            stderr=errors,
            pass_fds=[usage_pipe[1]],
            cwd=folder,
            env=clean_environment(TMPDIR=str(folder), PYTHONPATH=str(ROOT)),
        )
        os.close(output_pipe[1])
        os.close(usage_pipe[1])
        reader.start()
        code, cpu, wall, peak, began = json.load(usage)
        launcher.wait()
        reader.join()
        if code:
            errors.seek(0)
            log = errors.read().decode(errors="replace")[-2_000:]
            raise ContenderError(f"{' '.join(command)} exited {code}:\n{log}")
    return Run(cpu=cpu, wall=wall, peak=peak, lines=lines[0], began=began, load=load)


def _read(pipe: int, lines: list[int], output: Path | None) -> None:
    """Read all, and count the lines: the process never has to wait for this."""
    with open(pipe, "rb", buffering=0) as source:
        copy = output.open("wb") if output else None
        while chunk := source.read(READ):
            lines[0] += chunk.count(b"\n")
            if copy:
                copy.write(chunk)
        if copy:
            copy.close()
