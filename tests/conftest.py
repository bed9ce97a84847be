"""What tests share: an emulator with a client of its own, and retries that hardly wait."""

import logging
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import settings
from singer_sdk.logging import ConsoleFormatter
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from barchart_events_emulator import Emulator
from tap_barchart_events.api.http import RetryPolicy
from tap_barchart_events.output.signals import SIGNALS
from tap_barchart_events.streams import EventsStream
from tests.emulator_client import NOW, Client
from tests.forked_tap import QUICK
from tests.isolation import (
    enter_loopback_network,
    forget_the_users_settings,
    loopback_only,
    own_folder,
    pytest_report_header,
)

__all__ = ["loopback_only", "own_folder", "pytest_report_header"]

# Before any test module is imported, and in each worker of pytest-xdist.
forget_the_users_settings()
enter_loopback_network()

# A deadline for each example would measure what else the machine does.
settings.register_profile("usual", deadline=None, max_examples=40)
settings.register_profile("soak", deadline=None, max_examples=1000)
settings.load_profile("usual")


OUTPUT = ("tests/project/test_demo.py", "tests/pipelines/test_report.py")
"""Tests of the demos, which write to the folder `output`."""

LONG = ("tests/pipelines/", "tests/project/", "tests/end_to_end/", "tests/exports/")
"""Where tests take longest, in that order."""


class FilesSideBySide(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """What `make test` runs side by side: files, but for those that share a folder.

    Groups by mark (`--dist=loadgroup`) have no effect: xdist 3.8 sets an attribute that pytest 9.2
    ignores.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "output" if nodeid.startswith(OUTPUT) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FilesSideBySide:
    """Let xdist distribute files, in the order in which they are collected."""
    config.option.loadscopereorder = False
    return FilesSideBySide(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let what takes longest begin first, so that no process waits at the end for another one."""
    if hasattr(config, "workerinput"):
        ranks = {folder: rank for rank, folder in enumerate(("", *LONG[::-1]))}
        items.sort(key=lambda item: -max(ranks[f] for f in ranks if item.nodeid.startswith(f)))


@pytest.fixture(autouse=True, scope="session")
def signals_not_ignored() -> None:
    """Let processes of tests receive signals that the caller of the tests may ignore."""
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def lines_logged_once() -> Iterator[None]:
    """Remove the handler that each use of the tap's command line in this process adds."""
    yield
    for handler in [*logging.root.handlers]:
        if isinstance(handler.formatter, ConsoleFormatter):
            logging.root.removeHandler(handler)


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """Run an emulator whose jobs hardly take time, with what its module names as ``EMULATOR``."""
    options = {"job_seconds": 0.02, "events_per_hour": 60}
    with Emulator(**options | getattr(request.module, "EMULATOR", {})) as emulator:
        yield emulator


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
    quick = replace(QUICK, starts=RetryPolicy(wait_initial=0.01))
    monkeypatch.setattr(EventsStream, "policy", quick)
