"""What the demos share as commands: exit codes and last lines."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class DemoError(Exception):
    """A demo cannot continue; the message says why."""


def run(demo: Callable[[], bool]) -> int:
    """Run a demo and return the exit code: 0 if the loaded events are those of the emulator.

    Args:
        demo: Runs, and returns whether they are.
    """
    signal.signal(signal.SIGTERM, _terminated)
    began = time.monotonic()
    try:
        matches = demo()
    except KeyboardInterrupt:
        print("\ninterrupted")
        return 128 + signal.SIGINT
    except DemoError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\n{time.monotonic() - began:.1f} s, without the installation")
    return 0 if matches else 1


def _terminated(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
