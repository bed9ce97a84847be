"""What these tests share: services, the tap's warnings, and the real command run to its end."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from barchart_events_emulator import Emulator
from tests.raw_server import RawServer
from tests.tap_runs import Outcome, Run, Tap, settings_of


@pytest.fixture
def server() -> Iterator[RawServer]:
    """Run a service by raw sockets, with an event a minute."""
    with RawServer() as server:
        yield server


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings of the tap in this process, in a list that grows."""
    found: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        if record.levelname == "WARNING" and record.name.startswith("tap"):
            found.append(record.getMessage())
        return True

    caplog.handler.addFilter(keep)
    return found


@pytest.fixture
def run(service: Emulator, tmp_path: Path) -> Run:
    """Return a function that runs the real command on the service, to its end.

    It takes a STATE, the exit code that the command has to have, further options of ``Tap`` as
    a dictionary, and settings.
    """

    def to_its_end(
        state: Mapping[str, Any] | None = None,
        code: int = 0,
        options: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Outcome:
        tap = Tap(tmp_path, settings_of(service, **settings), state, **(options or {}))
        outcome = tap.end()
        assert outcome.code == code, outcome.log[-3000:]
        assert tap.left_behind == []
        return outcome

    return to_its_end
