"""What is run, and for which stretch of time. Knows nothing of Dagster.

History is cut into shards, one product and one calendar month (UTC) each. The month of the
handover and all that follow belong to the nightly run. Each is bounded by ``start_date`` and
``end_date`` alone and has a STATE of its own, so they run in any order, at once, and again: a
target that merges rows by ``event_id`` holds each event once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

OVERLAP = timedelta(days=7)
"""How far before the handover the nightly run begins.

The last shard may be read minutes after its month has ended, when some of its events have not
reached the service yet. No lookback of the nightly run may be longer than this.
"""

PREFIX = "TAP_BARCHART_EVENTS_"


class PlanError(Exception):
    """A variable is missing or cannot be used; the message says which, and what is right."""


@dataclass(frozen=True)
class Run:
    """One `meltano run`, bounded."""

    settings: Mapping[str, str]
    """The tap's settings that bound it, as environment variables."""

    state_id_suffix: str | None = None
    """What sets its STATE apart; None for that of a plain `meltano run`."""


@dataclass(frozen=True)
class Plan:
    """Which products there are, and where history begins and ends."""

    products: tuple[str, ...]

    start_date: str
    """Where the first shards begin, as the tap's setting has it; ``first`` is its month."""

    first: date
    """First day of the first month."""

    handover: date
    """First day of the month that the nightly run takes over; the shards end before it."""

    loader: str = "target-postgres"
    """The target, as `meltano.yml` names it."""

    retry_seconds: float = 60
    """The pause before a failed run is tried again; it doubles from try to try."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Plan:
        """Read the plan from environment variables.

        Raises:
            PlanError: One is missing or cannot be used.
        """
        text = _needed(environ, PREFIX + "PRODUCTS")
        products = json.loads(text) if text.startswith("[") else text.split(",")
        first = _month(environ, PREFIX + "START_DATE")
        handover = _month(environ, "ORCHESTRATE_HANDOVER")
        if handover <= first:
            raise PlanError(
                f"ORCHESTRATE_HANDOVER must be a later month than that of {PREFIX}START_DATE"
            )
        return cls(
            tuple(product.strip() for product in products),
            environ[PREFIX + "START_DATE"],
            first,
            handover,
            environ.get("ORCHESTRATE_LOADER") or cls.loader,
            float(environ.get("ORCHESTRATE_RETRY_SECONDS") or cls.retry_seconds),
        )

    def shard(self, product: str, month: date) -> Run:
        """Return the run of one product's calendar month, given by its first day."""
        start = self.start_date if month == self.first else _midnight(month)
        return Run(
            {
                PREFIX + "PRODUCTS": json.dumps([product]),
                PREFIX + "START_DATE": start,
                PREFIX + "END_DATE": _midnight((month + timedelta(days=31)).replace(day=1)),
            },
            f"{product}-{month:%Y-%m}",
        )

    def nightly(self) -> Run:
        """Return the run of all products, from shortly before the handover to now."""
        return Run(
            {
                PREFIX + "PRODUCTS": json.dumps(self.products),
                PREFIX + "START_DATE": _midnight(self.handover - OVERLAP),
            }
        )


def _needed(environ: Mapping[str, str], name: str) -> str:
    text = environ.get(name, "").strip()
    if not text:
        raise PlanError(f"{name} is not set: put it into .env")
    return text


def _month(environ: Mapping[str, str], name: str) -> date:
    try:
        return datetime.strptime(_needed(environ, name)[:7], "%Y-%m").date()  # noqa: DTZ007 - a date
    except ValueError:
        raise PlanError(f"{name} must begin with a month such as 2026-11") from None


def _midnight(day: date) -> str:
    return f"{day.isoformat()}T00:00:00+00:00"
