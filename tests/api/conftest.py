"""Clients of the service whose connections are closed after each test."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from barchart_events_emulator import Emulator
from tap_barchart_events.api.client import ReportsClient
from tests.api.jobs import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=0) as emulator:
        yield emulator


@pytest.fixture
def client_options(service: Emulator) -> dict[str, Any]:
    return {
        "api_url": service.api_url,
        "username": service.username,
        "password": service.password,
        "retry": QUICK,
    }


@pytest.fixture
def make_client(client_options: dict[str, Any]) -> Iterator[Callable[..., ReportsClient]]:
    """Makes clients with the module's ``client_options``, or with others.

    These are the arguments of ``ReportsClient`` that name the service and limit the tries.
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
