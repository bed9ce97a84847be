"""The events of an export file, read with the standard library.

Two of the readers use it. It makes the same records as the tap, without the tap's checks.
"""

import csv
import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

COLUMNS = (
    "user_id",
    "watchlist_id",
    "symbol",
    "view_name",
    "view_type",
    "data_mode",
    "class_filter",
)


def records(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of the file as records."""
    customer, product = config["customer"], config["product"]
    start, end = config["start"], config["end"]
    end_text = _instant(end)
    order = sorted(range(len(COLUMNS)), key=COLUMNS.__getitem__)
    before = ""
    seen: dict[str, int] = {}
    with Path(config["path"]).open(encoding="utf-8", newline="") as file:
        for timestamp, kind, *values in csv.reader(file, delimiter="|"):
            milliseconds = int(timestamp)
            if not start <= milliseconds < end:
                continue
            lines = [customer, product, timestamp, kind]
            lines += [f"{COLUMNS[n]}={values[n]}" for n in order if values[n]]
            text = "\n".join(lines)
            if text.count("\n") >= len(lines):
                text = "\n".join(line.replace("\n", "\n\n") for line in lines)
            if timestamp != before:
                before, seen = timestamp, {}
            ordinal = seen[text] = seen.get(text, -1) + 1
            event_id = hashlib.md5(f"{text}\n{ordinal}".encode(), usedforsecurity=False)
            record: dict[str, Any] = {
                "event_id": event_id.hexdigest(),
                "customer": customer,
                "product": product,
                "timestamp": _instant(milliseconds),
                "type": kind,
            }
            for name, value in zip(COLUMNS, values, strict=True):
                record[name] = value or None
            record["extra"] = None
            record["end"] = end_text
            yield record


def _instant(milliseconds: int) -> str:
    instant = datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    return instant.isoformat(timespec="milliseconds")
