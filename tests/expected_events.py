"""The events of the emulator in the form of the tap's records, by the documented recipe."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from barchart_events_emulator import Emulator, Event
from tap_barchart_events.products import IDENTITY_COLUMNS, PRODUCTS, snake_case
from tap_barchart_events.windows import from_iso

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
    known = ("type", *PRODUCTS[product].columns)
    rows, values = [], []
    for event in events:
        row = {snake_case(name): value for name, value in event.values.items()}
        row["type"] = event.type
        own: EventValues = {"customer": CUSTOMER, "product": product, "timestamp": event.timestamp}
        own |= {name: value for name, value in row.items() if name in known}
        if extra := {name: value for name, value in row.items() if name not in known}:
            own["extra"] = extra
        values.append(own)
        rows.append(row | {"timestamp": str(event.timestamp)})
    return [*zip(event_ids(product, rows), values, strict=True)]


def event_ids(product: str, rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the id of each row of a file, whose names are in snake_case."""
    identity = IDENTITY_COLUMNS.get(product)
    equal: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        columns = sorted(n for n in row if row[n] and (identity is None or n in identity))
        lines = [CUSTOMER, product, row["timestamp"], row["type"]]
        lines += [f"{n}={row[n]}" for n in columns if n not in {"timestamp", "type"}]
        equal[tuple(lines)].append(number)
    others = sorted({n for row in rows for n in row} - set(identity or ()))
    ids = [""] * len(rows)
    for lines_of_all, numbers in equal.items():
        numbers.sort(key=lambda number: [rows[number].get(name, "") for name in others])
        for ordinal, number in enumerate(numbers):
            lines = [*lines_of_all, str(ordinal)]
            text = "\n".join(line.replace("\n", "\n\n") for line in lines)
            ids[number] = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    return ids


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
