"""What the models of `transform/` should hold, computed from the expected events by plain Python.

Times are milliseconds since the epoch, days are texts, and both are of UTC.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from statistics import fmean
from typing import Any

from tap_barchart_events.windows import from_iso
from tests.expected_events import EventValues

FLAGS = ("show_closed_positions", "is_open", "collapsed", "filter_visible", "is_set")
COUNTED = ("symbols", "fields", "symbols_conversion", "roots", "strike")
COUNTS = tuple(f"{name}_count" for name in COUNTED)
MINUTE = 60 * 1000
SESSION_GAP = 30 * MINUTE

TRUE = ("true", "t", "yes", "y", "on", "1")
FALSE = ("false", "f", "no", "n", "off", "0")

Row = dict[str, Any]


def computed(expected: Mapping[str, EventValues], ends: Mapping[str, int]) -> dict[str, list[Row]]:
    """Return the rows of each model but the incremental ones, without the ends of windows.

    Args:
        expected: The events of a customer by their `event_id`.
        ends: The greatest `end` of each product's events.
    """
    events = [staged(event_id, values) for event_id, values in expected.items()]
    sessions = sessions_of(events)
    days = user_days(events)
    recent = last_28_days(events, ends)
    return {
        "stg_barchart__events": events,
        "barchart__adoption": adoption(events, recent),
        "barchart__daily_active_users": daily(events, sessions, ends),
        "barchart__events_by_type_and_day": by_day(events, "type", "subject", "action"),
        "barchart__monthly_active_users": monthly(events, sessions, ends),
        "barchart__product_overview": overview(events, sessions),
        "barchart__retention_by_first_week": retention(days),
        "barchart__sessions": sessions,
        "barchart__symbol_ranking": symbol_ranking(recent),
        "barchart__symbols_by_day": by_day(
            [event for event in events if event["symbol"]], "symbol"
        ),
        "barchart__user_days": days,
        "barchart__users": users(events, sessions),
        "barchart__weekly_active_users": weekly(events, ends),
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
        "day": day_of(values["timestamp"]),
        "user_id": values.get("user_id"),
        "session_id": values.get("session_id"),
        "symbol": values.get("symbol"),
        **{name: flag(values.get(name)) for name in FLAGS},
        **{name: count(values.get(name)) for name in COUNTS},
        "extra": values.get("extra"),
    }


def day_of(instant: int) -> str:
    """Return the day of an instant."""
    return f"{datetime.fromtimestamp(instant / 1000, tz=timezone.utc):%Y-%m-%d}"


def midnight(day: str) -> int:
    """Return when a day begins."""
    return from_iso(f"{day}T00:00:00+00:00")


def days_after(day: str, number: int) -> str:
    """Return the day that is some days after another one."""
    return (date.fromisoformat(day) + timedelta(days=number)).isoformat()


def monday(day: str) -> str:
    """Return the first day of a day's week."""
    return days_after(day, -date.fromisoformat(day).weekday())


def month(day: str) -> str:
    """Return the first day of a day's month."""
    return day[:8] + "01"


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


def by_day(events: Iterable[Row], *columns: str) -> list[Row]:
    """Return the numbers of events and users by some columns and the day."""
    names = ("customer", "product", *columns, "day")
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
        pauses = [None, *((times[at] - times[at - 1]) / MINUTE for at in breaks)]
        rows += [
            {
                "first_event_id": ordered[first]["event_id"],
                **user,
                "session_number": number,
                "is_first_session": number == 1,
                "day": ordered[first]["day"],
                "started_at": times[first],
                "ended_at": times[last - 1],
                "seconds": (times[last - 1] - times[first]) / 1000,
                "minutes_since_previous": pauses[number - 1],
                "events": last - first,
            }
            for number, (first, last) in enumerate(pairwise([0, *breaks, len(times)]), 1)
        ]
    return rows


def calendar(
    events: Iterable[Row], ends: Mapping[str, int], name: str, period: Callable[[str], str]
) -> Iterator[tuple[Row, list[Row]]]:
    """Yield each period of each product, up to the greatest of all ends, and its events.

    Args:
        events: The events of a customer.
        ends: The greatest `end` of each product's events.
        name: Name of the column: day, week or month.
        period: Returns the first day of a day's period.
    """
    last = day_of(max(ends.values()) - 1)
    for (customer, product), group in grouped(events, "customer", "product").items():
        of_days = grouped(group, "day")
        day = min(event["day"] for event in group)
        while day <= last:
            first = following = period(day)
            inside: list[Row] = []
            while period(following) == first:
                inside += of_days.get((following,), [])
                following = days_after(following, 1)
            complete = ends[product] >= midnight(following)
            key = {"customer": customer, "product": product, name: first, "is_complete": complete}
            yield key, inside
            day = following


def unless_unknown(key: Row, events: Sequence[Row], numbers: Row) -> Row:
    """Return a period's row, without numbers if nothing tells whether nothing happened."""
    known = bool(events) or key["is_complete"]
    return key | {name: number if known else None for name, number in numbers.items()}


def first_days(events: Iterable[Row]) -> dict[tuple[str, str], str]:
    """Return the first day of each user in each product, by product and user."""
    return {
        (user["product"], user["user_id"]): min(event["day"] for event in group)
        for user, group in by_user(events)
    }


def daily(events: Sequence[Row], sessions: Iterable[Row], ends: Mapping[str, int]) -> list[Row]:
    """Return the numbers of each day."""
    first = first_days(events)
    begun = Counter((row["product"], row["day"]) for row in sessions)
    on_day = grouped(events, "product", "day")

    def active(product: str, day: str, days: int) -> int:
        before = [on_day.get((product, days_after(day, -ago)), []) for ago in range(days)]
        return len(users_of(event for group in before for event in group))

    rows = []
    for key, group in calendar(events, ends, "day", str):
        product, day = key["product"], key["day"]
        of_28_days = active(product, day, 28)
        numbers = {
            "active_users": len(users_of(group)),
            "active_users_7_days": active(product, day, 7),
            "active_users_28_days": of_28_days,
            "stickiness": len(users_of(group)) / of_28_days if of_28_days else None,
            "new_users": sum(first[product, user] == day for user in users_of(group)),
            "sessions": begun[product, day],
            "events": len(group),
        }
        rows.append(unless_unknown(key, group, numbers))
    return rows


def monthly(events: Sequence[Row], sessions: Iterable[Row], ends: Mapping[str, int]) -> list[Row]:
    """Return the numbers of each month."""
    first = first_days(events)
    begun = Counter((row["product"], month(row["day"])) for row in sessions)
    rows = []
    for key, group in calendar(events, ends, "month", month):
        here = users_of(group)
        numbers = {
            "active_users": len(here),
            "new_users": sum(month(first[key["product"], user]) == key["month"] for user in here),
            "sessions": begun[key["product"], key["month"]],
            "events": len(group),
        }
        rows.append(unless_unknown(key, group, numbers))
    return rows


def weekly(events: Sequence[Row], ends: Mapping[str, int]) -> list[Row]:
    """Return the users of each week by state."""
    first = first_days(events)
    weeks: dict[tuple[str, str], set[str]] = defaultdict(set)
    for event in events:
        weeks[event["product"], monday(event["day"])] |= users_of([event])
    rows = []
    for key, group in calendar(events, ends, "week", monday):
        product, week = key["product"], key["week"]
        here, before = users_of(group), weeks[product, days_after(week, -7)]
        new = {user for user in here if monday(first[product, user]) == week}
        numbers = {
            "active_users": len(here),
            "new_users": len(new),
            "returning_users": len(here & before),
            "reactivated_users": len(here - before - new),
            "lost_users": len(before - here) if key["is_complete"] else None,
        }
        rows.append(unless_unknown(key, group, numbers))
    return rows


def users(events: Iterable[Row], sessions: Iterable[Row]) -> list[Row]:
    """Return what each user did in each product."""
    begun = Counter((row["product"], row["user_id"]) for row in sessions)
    rows = []
    for user, group in by_user(events):
        types = Counter(event["type"] for event in group)
        rows.append(
            {
                **user,
                "first_event_at": min(event["occurred_at"] for event in group),
                "last_event_at": max(event["occurred_at"] for event in group),
                "days": len({event["day"] for event in group}),
                "sessions": begun[user["product"], user["user_id"]],
                "events": len(group),
                "most_used_type": min(types, key=lambda code: (-types[code], code)),
            }
        )
    return rows


def last_28_days(events: Iterable[Row], ends: Mapping[str, int]) -> list[Row]:
    """Return the events of the 28 days up to the last one of which a window has a part."""
    first = days_after(day_of(max(ends.values()) - 1), -27)
    return [event for event in events if event["day"] >= first]


def symbol_ranking(recent: Iterable[Row]) -> list[Row]:
    """Return the symbols by number of users, then of events."""
    rows = [
        {
            "customer": customer,
            "product": product,
            "symbol": symbol,
            "events": len(group),
            "active_users": len(users_of(group)),
        }
        for (customer, product, symbol), group in grouped(
            recent, "customer", "product", "symbol"
        ).items()
        if symbol
    ]
    for group in grouped(rows, "customer", "product").values():
        scores = [(row["active_users"], row["events"]) for row in group]
        for row, score in zip(group, scores, strict=True):
            row["rank"] = 1 + sum(other > score for other in scores)
    return rows


def adoption(events: Iterable[Row], recent: Iterable[Row]) -> list[Row]:
    """Return how many of the recent users used each event type."""
    of_type = grouped(recent, "customer", "product", "type")
    of_product = grouped(recent, "customer", "product")
    names = ("customer", "product", "type", "subject", "action")
    rows = []
    for key, group in grouped(events, *names).items():
        using = len(users_of(of_type.get(key[:3], [])))
        active = len(users_of(of_product.get(key[:2], [])))
        rows.append(
            {
                **dict(zip(names, key, strict=True)),
                "first_seen_at": min(event["occurred_at"] for event in group),
                "users_28_days": using,
                "active_users_28_days": active,
                "share_of_active_users": using / active if active else None,
            }
        )
    return rows


def funnel(events: Iterable[Row], steps: Sequence[str], within: int) -> list[int]:
    """Return how many users took each step, in order, up to some milliseconds after the first."""
    reached = [0] * len(steps)
    for group in grouped(events, "customer", "user_id").values():
        furthest = 0
        for start in (event["occurred_at"] for event in group if event["type"] == steps[0]):
            at, taken = start, 1
            while taken < len(steps):
                later = [
                    event["occurred_at"]
                    for event in group
                    if event["type"] == steps[taken] and at < event["occurred_at"] <= start + within
                ]
                if not later:
                    break
                at, taken = min(later), taken + 1
            furthest = max(furthest, taken)
        for step in range(furthest if group[0]["user_id"] else 0):
            reached[step] += 1
    return reached


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
