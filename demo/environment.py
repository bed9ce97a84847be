"""The environment of each process that demo, benchmarks and tests start.

It has none of the variables from which the tap, Meltano, a target or PostgreSQL read settings.
"""

import os

_KEPT = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "TERM", "TMPDIR", "TZ", "USER")
_KEPT_PREFIXES = ("OPENBLAS_", "PIP_", "UV_")
"""Settings of numerical libraries, and of the installation of packages."""


def clean_environment(**more: str) -> dict[str, str]:
    """Return environment variables for a process.

    Args:
        more: Variables beside those that every process needs.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    return kept | more
