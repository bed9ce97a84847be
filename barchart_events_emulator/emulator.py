"""The emulator: the emulated service behind two HTTP servers on loopback."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING

from barchart_events_emulator import api, storage
from barchart_events_emulator.faulty_transport import FaultMiddleware
from barchart_events_emulator.loopback import Loopback
from barchart_events_emulator.service import Service

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(kw_only=True, eq=False)
class Emulator(Service):
    """The Barchart Event Tracking System on loopback; a context manager."""

    def __post_init__(self) -> None:
        """Prepare the service; it answers requests after ``start``."""
        super().__post_init__()
        self._loopback: Loopback | None = None

    def start(self) -> None:
        """Start both servers.

        Raises:
            OSError: A port is taken.
        """
        self._loopback = loopback = Loopback((self.port, self.storage_port))
        self.port, self.storage_port = loopback.ports
        with_faults = partial(
            FaultMiddleware,
            product_of=self.product_of,
            faults=self.armed_faults,
            log=self.requests,
            transports=loopback.transports,
            answered=self.answered,
            now=self._now,
            date=self._date,
        )
        api_app = with_faults(
            api.api_application(self),
            host="api",
            call_of=api.call_of,
            elsewhere=f"{self.storage_url}/elsewhere",
        )
        storage_app = with_faults(
            storage.storage_application(self),
            host="storage",
            call_of=storage.call_of,
            elsewhere=f"{self.api_url}/elsewhere",
            throttle=lambda: self.throttle,
        )
        loopback.start((api_app, storage_app))

    def stop(self) -> None:
        """Break all connections and stop both servers; ``start`` reuses the same ports."""
        if self._loopback is not None:
            self._loopback.stop()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def _now(self) -> float:
        return self.clock() / 1000

    def _date(self) -> str | None:
        return formatdate(self._now(), usegmt=True) if self.date_header else None
