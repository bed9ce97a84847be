"""A Meltano project in a folder of its own: this project's `meltano.yml` and installed plugins.

It has no `.env` and no earlier STATE, and leaves those of the project unchanged. It does not
depend on what is run.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from barchart_events_emulator.demo import DemoError, running
from demo.environment import clean_environment

PROJECT = Path(__file__).resolve().parent.parent
MELTANO = PROJECT / ".venv-meltano" / "bin" / "meltano"

_GRACE_SECONDS = 10


class PipelineError(DemoError):
    """A command of Meltano failed; the message holds the end of its log."""


class Pipeline:
    """`meltano run` in a folder of its own, which is made again each time."""

    def __init__(self, folder: Path) -> None:
        """Make the folder, with what Meltano needs.

        Args:
            folder: Its path; an existing folder is removed first.
        """
        self.folder = folder.resolve()
        self.log = self.folder / "meltano.log"
        if folder.exists():
            shutil.rmtree(folder)
        (self.folder / ".meltano").mkdir(parents=True)
        shutil.copy(PROJECT / "meltano.yml", self.folder)
        for plugins in ("extractors", "loaders", "utilities"):
            (self.folder / ".meltano" / plugins).symlink_to(PROJECT / ".meltano" / plugins)
        (self.folder / "transform").symlink_to(PROJECT / "transform")

    def run(
        self,
        *blocks: str,
        settings: Mapping[str, str],
        environment: str = "demo",
        on_line: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """Run `meltano run` over the blocks.

        Args:
            blocks: Plugins and jobs, such as `tap-barchart-events`, `target-jsonl`.
            settings: Environment variables for this run, such as `TAP_BARCHART_EVENTS_API_URL`.
            environment: The Meltano environment.
            on_line: Called with each line that Meltano logs, at once.

        Raises:
            PipelineError: The run failed.
        """
        command = self._command(environment, "run", *blocks)
        with (
            self.log.open("a", encoding="utf-8") as log,
            process(
                command,
                cwd=self.folder,
                env=clean_environment(**settings),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
            ) as started,
        ):
            assert started.stdout is not None  # noqa: S101 - it is a pipe, see above
            for line in started.stdout:
                log.write(line)
                on_line(line.rstrip("\n"))
            code = started.wait()
        if code:
            last = self.log.read_text(encoding="utf-8").splitlines()[-30:]
            raise PipelineError("\n".join([*last, f"meltano run ended with exit code {code}"]))

    def state(self, state_id: str) -> dict[str, Any]:
        """Return the Singer STATE that Meltano keeps.

        Args:
            state_id: Such as `demo:tap-barchart-events-to-target-jsonl`.

        Raises:
            PipelineError: There is none.
        """
        environment = state_id.partition(":")[0]
        command = self._command(environment, "state", "get", state_id)
        written = written_by(command, PipelineError, cwd=self.folder)
        state: dict[str, Any] = json.loads(written)
        return state

    @staticmethod
    def _command(environment: str, *arguments: str) -> list[str]:
        return [str(MELTANO), "--log-format=uncolored", f"--environment={environment}", *arguments]


@contextlib.contextmanager
def process(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a command, and end it with all its children when the block ends.

    Args:
        command: The program and its arguments.
        options: Those of `subprocess.Popen`; without `env`, its environment is a new one.
    """
    # With a session of its own, Ctrl-C ends the command only through this block.
    options = {"env": clean_environment(), **options, "start_new_session": True}
    with running(command, **options) as started:
        try:
            yield started
        finally:
            _end(started)


def written_by(command: Sequence[Any], error: type[DemoError] = DemoError, **options: Any) -> str:
    """Run a program to its end and return what it wrote to stdout.

    Args:
        command: The program and its arguments.
        error: Raised if the program fails; the message is the end of what the program wrote.
        options: Those of `subprocess.run`; without `input`, the program reads nothing.
    """
    defaults = {"input": "", "env": clean_environment()}
    done = subprocess.run(
        command, **{**defaults, **options}, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()[-30:]
        raise error("\n".join([*lines, f"{command[0]} ended with exit code {done.returncode}"]))
    written: str = done.stdout
    return written


def _end(started: subprocess.Popen[str]) -> None:
    for number, seconds in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, 1)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, number)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                started.poll()
                # The group is there until the last of its processes has gone.
                os.killpg(started.pid, 0)
                time.sleep(0.02)
