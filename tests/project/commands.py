"""Commands of the project, run as its user would run them."""

from __future__ import annotations

import subprocess

from demo.environment import clean_environment
from demo.pipeline import PROJECT


def ran(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's folder to its end."""
    return subprocess.run(
        command,
        cwd=PROJECT,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
