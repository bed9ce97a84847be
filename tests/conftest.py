"""What tests share: an emulator with a client of its own, and retries that hardly wait."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from barchart_events_emulator import Emulator
from tap_barchart_events.output.writer import SIGNALS
from tap_barchart_events.streams import EventsStream
from tests.emulator_client import NOW, Client

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, scope="session")
def heeding_signals() -> None:
    """Let what tests start heed signals, though who started the tests may have ignored them."""
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Run an emulator whose jobs hardly take time."""
    with Emulator(clock=lambda: NOW, job_seconds=0.02) as emulator:
        yield emulator


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    """Talk to it, hiding nothing."""
    client = Client(emulator)
    with client.session:
        yield client


@pytest.fixture
def hardly_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let syncs in this process try again at once."""
    monkeypatch.setattr(EventsStream, "retry", replace(EventsStream.retry, first_pause=0.01))
