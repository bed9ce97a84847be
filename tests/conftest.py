"""What all tests share: retries that hardly wait."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tap_barchart_events.streams import EventsStream


@pytest.fixture
def hardly_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let syncs in this process try again at once."""
    monkeypatch.setattr(EventsStream, "retry", replace(EventsStream.retry, first_pause=0.01))
