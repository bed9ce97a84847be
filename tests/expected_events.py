"""What the service holds, told as the tap should tell it, by the documented recipe and slowly."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from tap_barchart_events.products import PRODUCTS, snake_case
from tap_barchart_events.windows import from_iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from barchart_events_emulator import Emulator, Event

CUSTOMER = "TGAM"

Told = dict[str, Any]
"""An event's properties that are not null, but for its key and for the window it came in."""


def truth(
    emulator: Emulator,
    products: Iterable[str],
    start: str,
    end: str,
    types: list[str] | None = None,
) -> dict[str, Told]:
    """Return the events of ``[start, end)`` by their ``event_id``."""
    return {
        key: told
        for product in products
        for key, told in identified(
            product, emulator.events(CUSTOMER, product, from_iso(start), from_iso(end), types)
        )
    }


def identified(product: str, events: Iterable[Event]) -> list[tuple[str, Told]]:
    """Return events with the ``event_id`` that the documented recipe gives them."""
    seen: Counter[tuple[str, ...]] = Counter()
    result = []
    for event in events:
        named = {snake_case(name): value for name, value in event.values.items()}
        lines = [CUSTOMER, product, str(event.timestamp), event.type]
        lines += [f"{name}={named[name]}" for name in sorted(named)]
        ordinal = seen[tuple(lines)]
        seen[tuple(lines)] += 1
        text = "\n".join(line.replace("\n", "\n\n") for line in [*lines, str(ordinal)])
        known = PRODUCTS[product].columns
        extra = {name: value for name, value in named.items() if name not in known}
        told: Told = {name: value for name, value in named.items() if name in known}
        told |= {"customer": CUSTOMER, "product": product, "type": event.type}
        told |= {"timestamp": event.timestamp}
        if extra:
            told["extra"] = extra
        result.append((hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(), told))
    return result


def told_by(record: Mapping[str, Any]) -> Told:
    """Return a record in the form of ``truth``."""
    told = {name: value for name, value in record.items() if value is not None}
    del told["event_id"], told["end"]
    return told | {"timestamp": from_iso(told["timestamp"])}


def arrived(records: Iterable[Mapping[str, Any]]) -> dict[str, Told]:
    """Return records by their ``event_id``, none of which may come twice."""
    told: dict[str, Told] = {}
    for record in records:
        assert record["event_id"] not in told, f"twice: {record}"
        told[record["event_id"]] = told_by(record)
    return told
