"""The runs of a backfill, and their time ranges. Does not depend on Dagster.

History is split into shards of one product and one calendar month (UTC). The nightly run covers
the month of the handover and all later ones. Only ``start_date`` and ``end_date`` bound a run, and
each run has a STATE of its own. So runs may happen in any order, at once, and again: a target
that merges rows by ``event_id`` holds each event once.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeVar

from tap_barchart_events.windows import from_iso, to_iso

T = TypeVar("T")

OVERLAP = timedelta(days=7)
"""How far before the handover the nightly run begins.

The last shard may be read minutes after its month has ended, when some of its events have not
reached the service yet. No lookback of the nightly run may be longer than this.
"""

DBT = {"target-postgres": "dbt-postgres", "target-snowflake": "dbt-snowflake"}
"""For a target, the utility that builds the models where the target loads."""

PREFIX = "TAP_BARCHART_EVENTS_"


class PlanError(Exception):
    """A variable is missing or cannot be used; the message says which, and what is right."""


@dataclass(frozen=True)
class Run:
    """One `meltano run`, bounded."""

    settings: Mapping[str, str]
    """The tap's settings that bound it, as environment variables."""

    state_id_suffix: str | None = None
    """The suffix of its STATE; None for that of a plain `meltano run`."""

    product: str | None = None
    """The only product of a shard."""


@dataclass(frozen=True)
class ShardPlan:
    """Which products there are, and where history begins and ends."""

    products: tuple[str, ...]

    start_date: str
    """Where the first shards begin: the tap's setting; ``first`` is its month."""

    first: date
    """First day of the first month (UTC)."""

    handover: date
    """First day of the month that the nightly run takes over; the shards end before it."""

    loader: str = "target-postgres"
    """The target, as `meltano.yml` names it."""

    retry_seconds: float = 60
    """The pause before a failed run is retried; it doubles with each retry."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> ShardPlan:
        """Read the plan from environment variables.

        Raises:
            PlanError: One is missing or cannot be used.
        """
        products = _read(environ, PREFIX + "PRODUCTS", _products)
        first = _month(_read(environ, PREFIX + "START_DATE", _instant))
        handover = _month(_read(environ, "ORCHESTRATE_HANDOVER", _month_or_instant))
        if handover <= first:
            raise PlanError(
                f"ORCHESTRATE_HANDOVER must be a later month than that of {PREFIX}START_DATE"
            )
        return cls(
            products,
            environ[PREFIX + "START_DATE"],
            first,
            handover,
            environ.get("ORCHESTRATE_LOADER") or cls.loader,
            _read(environ, "ORCHESTRATE_RETRY_SECONDS", _seconds, str(cls.retry_seconds)),
        )

    @property
    def dbt(self) -> str | None:
        """The utility that builds the models, as `meltano.yml` names it; None: there is none."""
        return DBT.get(self.loader)

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
            product,
        )

    def nightly(self) -> Run:
        """Return the run of all products, from shortly before the handover to now."""
        return Run(
            {
                PREFIX + "PRODUCTS": json.dumps(self.products),
                PREFIX + "START_DATE": _midnight(self.handover - OVERLAP),
            }
        )


def _read(
    environ: Mapping[str, str], name: str, reader: Callable[[str], T], default: str = ""
) -> T:
    text = environ.get(name, "").strip() or default
    if not text:
        raise PlanError(f"{name} is not set: put it into .env")
    try:
        return reader(text)
    except ValueError as error:
        raise PlanError(f"{name} must be {error}, not {text[:100]!r}") from None


def _products(text: str) -> tuple[str, ...]:
    with suppress(AttributeError, TypeError, ValueError):
        codes = json.loads(text) if text.startswith("[") else text.split(",")
        products = tuple(code.strip() for code in codes)
        if products and all(products) and len({*products}) == len(products):
            return products
    raise ValueError("codes of products without repeats, as in WATCHLIST,NEWS")


def _instant(text: str) -> int:
    with suppress(ValueError):
        return from_iso(text)
    raise ValueError("a date or a date with a time, ISO 8601")


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 <= float(text) < math.inf:
            return float(text)
    raise ValueError("a number of at least 0")


def _month_or_instant(text: str) -> int:
    try:
        return from_iso(f"{text}-01" if re.fullmatch(r"\d{4}-\d\d", text) else text)
    except ValueError:
        raise ValueError("a month such as 2026-11") from None


def _month(instant: int) -> date:
    """Return the first day of an instant's month in UTC."""
    return date.fromisoformat(to_iso(instant)[:10]).replace(day=1)


def _midnight(day: date) -> str:
    return f"{day.isoformat()}T00:00:00+00:00"
