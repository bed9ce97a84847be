"""`python -m orchestrate.nightly TARGET DBT`: load, then build the models, as one command.

The models are built after a load that failed as well, because the events of other products may be
new; the command then ends with 1. SIGTERM and SIGINT end the tap first, so that the target loads
what it has received and STATE is kept. Does not depend on Dagster.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping

from orchestrate import meltano
from orchestrate.shards import Run


def nightly(loader: str, utility: str, environ: Mapping[str, str]) -> None:
    """Load and build.

    Args:
        loader: The target, as `meltano.yml` names it.
        utility: dbt for its database, as `meltano.yml` names it.
        environ: The environment.

    Raises:
        MeltanoError: One of the two failed.
    """
    failed = None
    try:
        meltano.run(Run({}), loader=loader, environ=environ)
    except meltano.MeltanoError as error:
        if error.code != 1:
            raise
        failed = error
    meltano.build(utility, environ=environ)
    if failed:
        raise failed


SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _end(number: int, _frame: object) -> None:
    # A second signal must not interrupt the end that the first one has begun: one Ctrl-C under
    # Meltano brings both.
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def main() -> int:
    """Run with the arguments of the command line; return the exit code."""
    for number in SIGNALS:
        signal.signal(number, _end)
    loader, utility = sys.argv[1:]
    try:
        nightly(loader, utility, os.environ)
    except meltano.MeltanoError as error:
        # The end of the log once more: that of the load is above that of the models.
        sys.stderr.write(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
