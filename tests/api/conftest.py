"""Clients of the service whose connections are closed after each test."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from tap_barchart_events.api.client import ReportsClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def make_client(client_options: dict[str, Any]) -> Iterator[Callable[..., ReportsClient]]:
    """Makes clients with the options of the test module, or with others.

    Each module has a fixture ``client_options``: the arguments of ``ReportsClient`` that say
    which service is called, and how often.
    """
    clients = []

    def make(**options: Any) -> ReportsClient:
        options = {"stopped": threading.Event(), "timeout": 5, **client_options, **options}
        clients.append(ReportsClient(**options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(make_client: Callable[..., ReportsClient]) -> ReportsClient:
    """A client with the options of the test module."""
    return make_client()
