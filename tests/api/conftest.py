"""Clients of the service whose connections are closed after each test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from barchart_events_emulator import Emulator
from tap_barchart_events.api.client import ReportsClient
from tests.api.jobs import QUICK
from tests.raw_server import RawServer


@pytest.fixture
def make_client(service: Emulator | RawServer) -> Iterator[Callable[..., ReportsClient]]:
    """Makes clients of the module's ``service``, or with other options."""
    clients = []

    def make(**options: Any) -> ReportsClient:
        usual = {"api_url": service.api_url, "timeout": 5}
        username, password = service.username, service.password
        options = {"retry": QUICK, **usual, **options}
        clients.append(ReportsClient(username=username, password=password, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(make_client: Callable[..., ReportsClient]) -> ReportsClient:
    """A client with the options of the test module."""
    return make_client()
