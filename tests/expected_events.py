"""The events of the emulator in the form of the tap's records, by the documented recipe."""

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

EventValues = dict[str, Any]
"""An event's properties that are not null, but for its key and for the window it came in."""


def expected_events(
    emulator: Emulator,
    products: Iterable[str],
    start: str,
    end: str,
    types: list[str] | None = None,
) -> dict[str, EventValues]:
    """Return the events of ``[start, end)`` by their ``event_id``."""
    return {
        key: values
        for product in products
        for key, values in identified(
            product, emulator.events(CUSTOMER, product, from_iso(start), from_iso(end), types)
        )
    }


def identified(product: str, events: Iterable[Event]) -> list[tuple[str, EventValues]]:
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
        values: EventValues = {name: value for name, value in named.items() if name in known}
        values |= {"customer": CUSTOMER, "product": product, "type": event.type}
        values |= {"timestamp": event.timestamp}
        if extra:
            values["extra"] = extra
        result.append((hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(), values))
    return result


def values_of(record: Mapping[str, Any]) -> EventValues:
    """Return a record in the form of ``expected_events``."""
    values = {name: value for name, value in record.items() if value is not None}
    del values["event_id"], values["end"]
    return values | {"timestamp": from_iso(values["timestamp"])}


def arrived(records: Iterable[Mapping[str, Any]]) -> dict[str, EventValues]:
    """Return records by their ``event_id``, none of which may come twice."""
    values: dict[str, EventValues] = {}
    for record in records:
        assert record["event_id"] not in values, f"twice: {record}"
        values[record["event_id"]] = values_of(record)
    return values
