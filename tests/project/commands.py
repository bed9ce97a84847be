"""Commands of the project, run as its user would run them."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from demo.environment import clean_environment
from demo.pipeline import PROJECT


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
