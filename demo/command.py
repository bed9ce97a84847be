"""What the demos share as commands: how they end, and what they say then."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class DemoError(Exception):
    """A demo cannot go on; the message says why."""


def run(demo: Callable[[], bool]) -> int:
    """Run a demo and return the exit code: 0 when what arrived is what the emulator holds.

    Args:
        demo: Tells whether it is.
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
    print(f"\n{time.monotonic() - began:.1f} s in all")
    return 0 if matches else 1


def _terminated(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
