"""Commands of the project, run as its user would run them."""

import atexit
import json
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from demo.environment import clean_environment
from demo.pipeline import PROJECT

FORKED = PROJECT / "tests" / "project" / "forked.py"


def ended(
    *command: str | Path,
    code: int = 0,
    folder: Path = PROJECT,
    given: str = "",
    environ: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command, which has to end with a code.

    Args:
        command: The program and its arguments.
        code: The exit code.
        folder: Where it runs.
        given: What it reads from stdin.
        environ: Environment variables beside those that every process has.
    """
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(**environ or {}),
        input=given,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return checked(done, code)


def checked(
    done: subprocess.CompletedProcess[str], code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Return a command that has ended, if it did so with a code."""
    assert done.returncode == code, (done.stdout + done.stderr)[-5000:]
    return done


def meltano_errors(project: dict[str, Any]) -> list[Any]:
    """Return what the installed Meltano's schema says against the content of a meltano.yml."""
    schema = "lib/python*/site-packages/meltano/schemas/meltano.schema.json"
    (path,) = (PROJECT / ".venv-meltano").glob(schema)
    return [*Draft202012Validator(json.loads(path.read_text("utf-8"))).iter_errors(project)]


def output_of(*command: str | Path, **options: Any) -> str:
    """Run a command as `ended` does, and return what it wrote to stdout."""
    return ended(*command, **options).stdout


def in_bash(commands: str, **options: Any) -> str:
    """Run lines of a page in one shell that ends at an error; return what they wrote to stderr."""
    return ended("bash", "-euo", "pipefail", "-c", commands, **options).stderr


class Programs:
    """Programs of an environment, each as a process forked by `forked.py`."""

    def __init__(self, environment: Path, *modules: str) -> None:
        """Take an environment, and the modules that its programs import."""
        python = environment / "bin" / "python"
        self._command: list[str | Path] = [python, "-I", FORKED, *modules]

    @cached_property
    def _server(self) -> subprocess.Popen[str]:
        # A library's threads would not be there after a fork.
        environ = clean_environment(OPENBLAS_NUM_THREADS="1")
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        server = subprocess.Popen(self._command, env=environ, text=True, **pipes)
        atexit.register(server.communicate)
        return server

    def __call__(
        self,
        *command: str | Path,
        code: int = 0,
        folder: Path = PROJECT,
        given: str = "",
        environ: Mapping[str, str] | None = None,
    ) -> str:
        """Run a command as `output_of` does; its program is a source of Python."""
        written, read = self._server.stdin, self._server.stdout
        assert written
        assert read
        with tempfile.TemporaryDirectory() as name:
            files = Path(name)
            (files / "stdin").write_text(given, encoding="utf-8")
            request = [[*map(str, command)], str(folder), name, clean_environment(**environ or {})]
            written.write(json.dumps(request) + "\n")
            written.flush()
            ended = int(read.readline())
            texts = [(files / each).read_text("utf-8", "replace") for each in ("stdout", "stderr")]
        return checked(subprocess.CompletedProcess(command, ended, *texts), code).stdout
