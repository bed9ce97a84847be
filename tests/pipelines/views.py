"""What the SQL views have to say, computed in the slow and obvious way from the service's truth."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import datetime, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

FLAGS = ("show_closed_positions", "is_open", "collapsed", "filter_visible", "is_set")
COUNTS = (
    "symbols_count",
    "fields_count",
    "symbols_conversion_count",
    "roots_count",
    "strike_count",
)
SESSION_GAP = 30 * 60 * 1000

TRUE = ("true", "t", "yes", "y", "on", "1")
FALSE = ("false", "f", "no", "n", "off", "0")

Event = dict[str, Any]


def events_of(truth: Iterable[str]) -> list[Event]:
    """Return the events of a multiset of JSON texts."""
    return [json.loads(text) for text in truth]


def day_of(event: Event) -> str:
    """Return the day in UTC, such as `2026-03-02`."""
    return f"{datetime.fromtimestamp(event['timestamp'] / 1000, tz=timezone.utc):%Y-%m-%d}"


def flag(text: str | None) -> bool | None:
    """Return what a text says, if it is one of the usual spellings."""
    if text is None or text.lower() not in TRUE + FALSE:
        return None
    return text.lower() in TRUE


def count(text: str | None) -> int | None:
    """Return a text of up to 18 digits as a number, and None for anything else."""
    digits = text is not None and text.isascii() and text.isdigit() and len(text) <= 18
    return int(text or "") if digits else None


def typed(events: Iterable[Event]) -> Counter[tuple[Any, ...]]:
    """Return `events_typed` but for its keys: time, day, type, flags and counts."""
    return Counter(
        (
            event["timestamp"],
            day_of(event),
            event["type"],
            *(flag(event.get(name)) for name in FLAGS),
            *(count(event.get(name)) for name in COUNTS),
        )
        for event in events
    )


def daily_active_users(events: Iterable[Event]) -> set[tuple[Any, ...]]:
    """Return product, day, users and events."""
    groups = defaultdict(list)
    for event in events:
        groups[event["product"], day_of(event)].append(event.get("user_id"))
    return {(*key, len(set(users) - {None}), len(users)) for key, users in groups.items()}


def events_by_type_and_day(events: Iterable[Event]) -> set[tuple[Any, ...]]:
    """Return product, type, day, events and users."""
    groups = defaultdict(list)
    for event in events:
        groups[event["product"], event["type"], day_of(event)].append(event.get("user_id"))
    return {(*key, len(users), len(set(users) - {None})) for key, users in groups.items()}


def sessions(events: Iterable[Event]) -> Counter[tuple[Any, ...]]:
    """Return product, user, number, first and last time in milliseconds, and events."""
    times = defaultdict(list)
    for event in events:
        if event.get("user_id") is not None:
            times[event["product"], event["user_id"]].append(event["timestamp"])
    found: Counter[tuple[Any, ...]] = Counter()
    for (product, user), unordered in times.items():
        moments = sorted(unordered)
        breaks = [at for at, (a, b) in enumerate(pairwise(moments), 1) if b - a > SESSION_GAP]
        for number, (first, last) in enumerate(pairwise([0, *breaks, len(moments)]), 1):
            found[product, user, number, moments[first], moments[last - 1], last - first] += 1
    return found
