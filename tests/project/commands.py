"""Commands of the project, run as its user would run them."""

from __future__ import annotations

import os
import subprocess

from demo.pipeline import PROJECT


def ran(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's folder to its end."""
    return subprocess.run(
        command,
        cwd=PROJECT,
        env=environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def environ(**more: str) -> dict[str, str]:
    """Return the environment without what make, Meltano or the tap would heed."""
    foreign = ("MAKE", "MFLAGS", "MELTANO_", "TAP_", "TARGET_")
    return {n: v for n, v in os.environ.items() if not n.startswith(foreign)} | more
