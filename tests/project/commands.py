"""Commands of the project, run as its user would run them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from demo.environment import clean_environment
from demo.pipeline import PROJECT


def ran(*command: str, folder: Path = PROJECT, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in the project's folder if no other is named."""
    return subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(**environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
