"""What the models of `transform/` should hold, computed from the expected events by plain Python.

Times are milliseconds since the epoch, days are texts, and both are of UTC.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from statistics import fmean
from typing import Any

from tests.expected_events import EventValues

FLAGS = ("show_closed_positions", "is_open", "collapsed", "filter_visible", "is_set")
COUNTED = ("symbols", "fields", "symbols_conversion", "roots", "strike")
COUNTS = tuple(f"{name}_count" for name in COUNTED)
SESSION_GAP = 30 * 60 * 1000

TRUE = ("true", "t", "yes", "y", "on", "1")
FALSE = ("false", "f", "no", "n", "off", "0")

Row = dict[str, Any]


def computed(expected: Mapping[str, EventValues]) -> dict[str, list[Row]]:
    """Return the rows of each model, but for the ends of windows, which no event tells.

    Args:
        expected: The events by their `event_id`.
    """
    events = [staged(event_id, values) for event_id, values in expected.items()]
    sessions = sessions_of(events)
    users = user_days(events)
    days = active_users(events, users, sessions, "day", lambda day: day)
    return {
        "stg_barchart__events": events,
        "barchart__events_by_type_and_day": events_by_type_and_day(events),
        "barchart__user_days": users,
        "barchart__sessions": sessions,
        "barchart__daily_active_users": days,
        "barchart__monthly_active_users": active_users(
            events, users, sessions, "month", lambda day: day[:8] + "01"
        ),
        "barchart__retention_by_first_week": retention(users),
        "barchart__product_overview": overview(events, sessions),
    }


def staged(event_id: str, values: EventValues) -> Row:
    """Return an event with types."""
    subject, action = subject_and_action(values["product"], values["type"])
    return {
        "event_id": event_id,
        "customer": values["customer"],
        "product": values["product"],
        "type": values["type"],
        "subject": subject,
        "action": action,
        "occurred_at": values["timestamp"],
        "day": f"{datetime.fromtimestamp(values['timestamp'] / 1000, tz=timezone.utc):%Y-%m-%d}",
        "user_id": values.get("user_id"),
        "session_id": values.get("session_id"),
        "symbol": values.get("symbol"),
        **{name: flag(values.get(name)) for name in FLAGS},
        **{name: count(values.get(name)) for name in COUNTS},
        "extra": values.get("extra"),
    }


def subject_and_action(product: str, code: str) -> tuple[str, str]:
    """Return what an event type is about, and what happened."""
    words = re.split("[-_]", code)
    if words[: product.count("-") + 1] == product.split("-"):
        words = words[product.count("-") + 1 :]
    ends = [at for at, word in enumerate(words) if word.endswith("ED")] or [len(words) - 1]
    return "-".join(words[: ends[-1]]) or product, "-".join(words[ends[-1] :])


def flag(text: str | None) -> bool | None:
    """Return what a text says, if it is one of the usual spellings."""
    if text is None or text.lower() not in TRUE + FALSE:
        return None
    return text.lower() in TRUE


def count(text: str | None) -> int | None:
    """Return a text of up to 18 digits as a number, and None for anything else."""
    digits = text is not None and text.isascii() and text.isdigit() and len(text) <= 18
    return int(text or "") if digits else None


def grouped(rows: Iterable[Row], *names: str) -> dict[tuple[Any, ...], list[Row]]:
    """Return the rows by their values in some columns."""
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in names)].append(row)
    return groups


def by_user(events: Iterable[Row]) -> Iterator[tuple[Row, list[Row]]]:
    """Yield each user of each product, as columns, and the user's events."""
    names = ("customer", "product", "user_id")
    for key, group in grouped(events, *names).items():
        if key[2] is not None:
            yield dict(zip(names, key, strict=True)), group


def users_of(rows: Iterable[Row]) -> set[str]:
    """Return the users of some rows."""
    return {row["user_id"] for row in rows} - {None}


def events_by_type_and_day(events: Iterable[Row]) -> list[Row]:
    """Return the numbers of events and users."""
    names = ("customer", "product", "type", "subject", "action", "day")
    return [
        {
            **dict(zip(names, key, strict=True)),
            "events": len(group),
            "active_users": len(users_of(group)),
        }
        for key, group in grouped(events, *names).items()
    ]


def user_days(events: Iterable[Row]) -> list[Row]:
    """Return the days of each user in each product."""
    rows = []
    for user, group in by_user(events):
        days = grouped(group, "day")
        rows += [
            {
                **user,
                "day": day,
                "first_day": min(days)[0],
                "first_event_at": min(event["occurred_at"] for event in of_the_day),
                "last_event_at": max(event["occurred_at"] for event in of_the_day),
                "events": len(of_the_day),
            }
            for (day,), of_the_day in days.items()
        ]
    return rows


def sessions_of(events: Iterable[Row]) -> list[Row]:
    """Return the sessions of each user in each product."""
    rows = []
    for user, group in by_user(events):
        ordered = sorted(group, key=lambda event: (event["occurred_at"], event["event_id"]))
        times = [event["occurred_at"] for event in ordered]
        breaks = [at for at, (a, b) in enumerate(pairwise(times), 1) if b - a > SESSION_GAP]
        rows += [
            {
                "first_event_id": ordered[first]["event_id"],
                **user,
                "session_number": number,
                "day": ordered[first]["day"],
                "started_at": times[first],
                "ended_at": times[last - 1],
                "seconds": (times[last - 1] - times[first]) / 1000,
                "events": last - first,
            }
            for number, (first, last) in enumerate(pairwise([0, *breaks, len(times)]), 1)
        ]
    return rows


def active_users(
    events: Iterable[Row],
    users: Iterable[Row],
    sessions: Iterable[Row],
    name: str,
    period: Callable[[str], str],
) -> list[Row]:
    """Return the numbers of a period: a day or a month."""

    def by_period(rows: Iterable[Row], day: str = "day") -> dict[tuple[Any, ...], list[Row]]:
        return grouped(
            [{**row, "period": period(row[day])} for row in rows], "customer", "product", "period"
        )

    first, begun = by_period(users, "first_day"), by_period(sessions)
    return [
        {
            **dict(zip(("customer", "product", name), key, strict=True)),
            "active_users": len(users_of(group)),
            "new_users": len(users_of(first.get(key, []))),
            "sessions": len(begun.get(key, [])),
            "events": len(group),
        }
        for key, group in by_period(events).items()
    ]


def retention(users: Sequence[Row]) -> list[Row]:
    """Return, for those who began in a week, how many were there in each later week."""
    rows = []
    for (customer, product), group in grouped(users, "customer", "product").items():
        weeks = {monday(row["day"]) for row in group}
        cohorts = grouped([{**row, "week": monday(row["first_day"])} for row in group], "week")
        for (first,), cohort in cohorts.items():
            size = len(users_of(cohort))
            for week in (week for week in weeks if week >= first):
                active = len(users_of(row for row in cohort if monday(row["day"]) == week))
                later = date.fromisoformat(week) - date.fromisoformat(first)
                rows.append(
                    {
                        "customer": customer,
                        "product": product,
                        "first_week": first,
                        "week": week,
                        "weeks_later": later.days // 7,
                        "users": size,
                        "active_users": active,
                        "retention": active / size,
                    }
                )
    return rows


def monday(day: str) -> str:
    """Return the first day of a day's week."""
    moment = date.fromisoformat(day)
    return (moment - timedelta(days=moment.weekday())).isoformat()


def overview(events: Iterable[Row], sessions: Iterable[Row]) -> list[Row]:
    """Return the numbers of each product."""
    of_products = grouped(sessions, "customer", "product")
    return [
        {
            **dict(zip(("customer", "product"), key, strict=True)),
            "first_event_at": min(event["occurred_at"] for event in group),
            "last_event_at": max(event["occurred_at"] for event in group),
            "days": len({event["day"] for event in group}),
            "events": len(group),
            "event_types": len({event["type"] for event in group}),
            "users": len(users_of(group)),
            "sessions": len(of_products[key]),
            "average_session_seconds": fmean(row["seconds"] for row in of_products[key]),
        }
        for key, group in grouped(events, "customer", "product").items()
    ]
