"""What the service holds and what a table holds, brought to one form so that they compare."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tap_barchart_events.products import PRODUCTS, snake_case

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from barchart_events_emulator import Emulator

CUSTOMER = "TGAM"

# What the stream adds to the columns of a product, and what a target adds to the stream.
_NOT_OF_THE_EVENT = ("event_id", "end")
_OF_THE_TARGET = "_sdc_"

# PostgreSQL leaves out the last zeros of a fraction, which Python 3.10 does not read.
_MOMENT = re.compile(r"(\S{10})[T ](\d\d:\d\d:\d\d)(\.\d+)?([+-]\d\d:\d\d)?")


def milliseconds(moment: str) -> int:
    """Return a date-time as milliseconds since the epoch; without an offset it is UTC."""
    found = _MOMENT.fullmatch(moment)
    assert found, moment
    seconds = datetime.fromisoformat(f"{found[1]}T{found[2]}{found[4] or '+00:00'}").timestamp()
    return round(seconds * 1000 + float(found[3] or 0) * 1000)


def held(emulator: Emulator, products: Iterable[str], start: str, end: str) -> Counter[str]:
    """Return the events that the emulator holds, as a multiset of JSON texts.

    Args:
        emulator: The service.
        products: Codes of the products.
        start: First instant, inclusive.
        end: Last instant, exclusive.
    """
    return Counter(
        json.dumps(event, sort_keys=True)
        for product in products
        for event in _events(emulator, product, milliseconds(start), milliseconds(end))
    )


def _events(emulator: Emulator, product: str, start: int, end: int) -> Iterator[dict[str, Any]]:
    known = PRODUCTS[product].columns
    for event in emulator.events(CUSTOMER, product, start, end):
        named = {snake_case(name): text for name, text in event.values.items()}
        unknown = {name: text for name, text in named.items() if name not in known}
        columns = {name: text for name, text in named.items() if name in known}
        yield {
            "customer": CUSTOMER,
            "product": product,
            "timestamp": event.timestamp,
            "type": event.type,
            **columns,
            **({"extra": unknown} if unknown else {}),
        }


def found(rows: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Return a table's rows in the same form, without nulls and without what targets add.

    Args:
        rows: Column and value, as JSON has them; names in any case.
    """
    return Counter(json.dumps(_event(row), sort_keys=True) for row in rows)


def _event(row: Mapping[str, Any]) -> dict[str, Any]:
    event = {
        name.lower(): value
        for name, value in row.items()
        if value is not None and not name.lower().startswith(_OF_THE_TARGET)
    }
    for name in _NOT_OF_THE_EVENT:
        del event[name]
    event["timestamp"] = milliseconds(event["timestamp"])
    if "extra" in event:
        # The emulated Snowflake returns an object as text; one from a Parquet file has nulls.
        extra = event["extra"]
        named = json.loads(extra) if isinstance(extra, str) else extra
        event["extra"] = {name: text for name, text in named.items() if text is not None}
    return event
