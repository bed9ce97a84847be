"""What the demos share: exit codes, last lines, the tap's settings for an emulator."""

import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from barchart_events_emulator import Emulator


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


def tap_settings(service: Emulator, **more: str) -> dict[str, str]:
    """Return environment variables with which the tap extracts from an emulator.

    Args:
        service: The emulator.
        more: Further settings, by name in capitals.
    """
    settings = {
        "API_URL": service.api_url,
        "USERNAME": service.username,
        "PASSWORD": service.password,
        **more,
    }
    return {f"TAP_BARCHART_EVENTS_{name}": value for name, value in settings.items()}


def _terminated(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
