"""The report of `make demo-meltano`, in a browser: its numbers are counted from the events."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pytest

from barchart_events_emulator import Emulator
from demo.pipeline import PROJECT
from tap_barchart_events.windows import HOUR, from_iso
from tests.expected_events import arrived, expected_events
from tests.pipelines.browser import SIZES, Seen, needs_browser, opened
from tests.pipelines.marts import Row, days_after, grouped, sessions_of, users_of
from tests.project.commands import output_of

FIRST, LAST = "2025-12-08", "2026-03-04"
"""The demo's first day, and its last whole one."""
NAMES = {"WATCHLIST": "Watchlist", "PORTFOLIO": "Portfolio", "ALERT": "Alerts"}


@pytest.fixture(scope="module")
def report() -> str:
    """Run the demo; return its report."""
    page = PROJECT / "output" / "report.html"
    page.unlink(missing_ok=True)
    assert "All events of the service were loaded, once." in output_of("make", "demo-meltano")
    return page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def events(report: str) -> list[Row]:
    """Return the events that the report is about."""
    with (PROJECT / "output" / "demo-meltano" / "events.jsonl").open(encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    for record in records:
        record |= {"day": record["timestamp"][:10], "occurred_at": from_iso(record["timestamp"])}
    return records


@pytest.fixture(scope="module", params=SIZES, ids=["wide", "narrow"])
def seen(
    report: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Seen:
    """Open the report in a browser."""
    return opened(report, request.param, tmp_path_factory.mktemp("browser"))


def within(rows: Iterable[Row], days: int, until: str = LAST) -> list[Row]:
    """Return the rows of some days, the last of which is `until`."""
    return [row for row in rows if days_after(until, -days) < row["day"] <= until]


def weeks(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows of this week and those of last week."""
    rows = list(rows)
    return within(rows, 7), within(rows, 7, days_after(LAST, -7))


def change(now: int, before: int) -> str:
    percent = round(100 * (now / before - 1))
    return f"{percent:+}%".replace("-", "\N{MINUS SIGN}") if percent else "0%"


def days_of_users(events: Iterable[Row]) -> dict[str, list[str]]:
    """Return each user's whole days, in order, from the first one in any product on."""
    days = defaultdict(set)
    for event in events:
        if event["day"] <= LAST:
            days[event["user_id"]].add(event["day"])
    return {user: sorted(own) for user, own in days.items()}


@needs_browser
def test_the_first_screen_says_how_many_used_what_and_who_came_back(
    seen: Seen, events: list[Row]
) -> None:
    now, before = map(users_of, weeks(events))
    difference = f"{abs(len(now) - len(before))} {'more' if len(now) > len(before) else 'fewer'}"
    assert seen.text["H1"] == f"{len(now)} users this week, {difference} than last week"
    products = {NAMES[p]: rows for (p,), rows in grouped(events, "product").items() if p in NAMES}
    for name, rows in {"All products": events, **products}.items():
        this, last = (len(users_of(week)) for week in weeks(rows))
        assert f"{name}\t{this}\t{last}\t{change(this, last)}" in seen.text["users"]
    for name, rows in {"sessions": sessions_of(events), "events": events}.items():
        this, last = map(len, weeks(rows))
        assert f"{this:,} {name} ({change(this, last)})" in seen.text["users"]

    adding = [event for event in events if event["type"] == "WATCHLIST-SYMBOL-ADDED"]
    number = len(users_of(within(adding, 28)))
    assert f"Watchlist: symbol added\n{number}\n" in seen.text["used"]
    assert f"Of {len(users_of(within(events, 28)))} users in 28 days" in seen.text["used"]

    days = days_of_users(events)
    new = {user for user in now if days[user][0] > days_after(LAST, -7)}
    text = f"{len(now & before)} of {len(before)} users of last week were back. {len(new)} are "
    text += f"new, {len(now - before - new)} returned after a pause, {len(before - now)} stayed"
    assert text in seen.text["back"]
    begun = [own for own in days.values() if own[0] >= days_after(FIRST, 28)]
    for later in (7, 28):
        over = [own for own in begun if days_after(own[0], later + 6) <= LAST]
        back = sum(
            any(days_after(own[0], later) <= day <= days_after(own[0], later + 6) for day in own)
            for own in over
        )
        assert f"{back} of {len(over)}" in seen.text["back"]
        assert f"\n{back / len(over):.0%}\n" in seen.text["back"]


@needs_browser
def test_growth_rhythm_and_retention_are_those_of_the_events(seen: Seen, events: list[Row]) -> None:
    begin = len(users_of(within(events, 7, days_after(FIRST, 6))))
    end = len(users_of(within(events, 7)))
    text = f"{begin} on Sun 14 Dec, {end} on Wed 4 Mar ({change(end, begin)})"
    assert text in seen.text["by-day"]

    daily: dict[bool, list[int]] = {True: [], False: []}
    for (day,), rows in grouped(within(events, 28), "day").items():
        daily[date.fromisoformat(day).weekday() > 4].append(len(users_of(rows)))
    free, busy = sum(daily[True]) / 8, sum(daily[False]) / 20
    text = f"weekend {free:.1f} different users are active, on a working day {busy:.1f}: "
    assert text + f"{1 - free / busy:.0%} fewer" in seen.text["rhythm"]
    hours = Counter(
        (f"{date.fromisoformat(row['day']):%A}", row["started_at"] // HOUR % 24)
        for row in within(sessions_of(events), 28)
    )
    [((day, hour), most)] = hours.most_common(1)
    assert f"{day}s from {hour}:00 to {hour + 1}:00 UTC: {most} in four" in seen.text["rhythm"]

    first = date.fromisoformat(FIRST)
    days = days_of_users(events).values()
    active = [{(date.fromisoformat(day) - first).days // 7 for day in own} for own in days]
    cohort = [own for own in active if min(own) == 1]
    shares = [f"{100 * sum(n in own for own in cohort) / len(cohort):.0f}" for n in range(1, 12)]
    assert f"15 Dec: {len(cohort)}\t" + "\t".join(shares) in seen.text["retention"]


@needs_browser
def test_features_symbols_and_products_are_those_of_the_events(
    seen: Seen, events: list[Row]
) -> None:
    for product, name in NAMES.items():
        own = [e for e in events if e["product"] == product and e["day"] <= LAST]
        recent = within(own, 28)
        users = [len(users_of(rows)) for rows in grouped(recent, "type").values()]
        half = sum(2 * number >= len(users_of(recent)) for number in users)
        text = f"{name}\n\n{len(users_of(recent))} users in 28 days; {half} of "
        assert f"{text}{len(grouped(own, 'type'))} event types" in seen.text["adoption"]
        symbols = {s: len(users_of(rows)) for (s,), rows in grouped(recent, "symbol").items() if s}
        once = list(symbols.values()).count(1)
        text = f"{once} of {len(symbols)} symbols had one user only."
        top = re.search(re.escape(text) + r"\n\n(.*)\n(\d+)\n", seen.text["symbols"])
        assert top
        assert symbols[top[1]] == int(top[2]) == max(symbols.values())

    used = [
        {event["product"] for event in rows}
        for rows in grouped(within(events, 28), "user_id").values()
    ]
    several = sum(len(products) > 1 for products in used)
    assert f"{several} of {len(used)} users in 28 days used more" in seen.text["across"]
    theirs = [products for products in used if "WATCHLIST" in products]
    both = sum("PORTFOLIO" in products for products in theirs)
    rows = {row[0]: row for row in map(str.split, seen.text["across"].splitlines()) if row}
    assert rows["Watchlist"][rows["of"].index("Portfolio") - 2] == f"{both / len(theirs):.0%}"
    ends = [max(event["end"] for event in own) for own in grouped(events, "product").values()]
    assert f"complete until {min(ends)[:16].replace('T', ' ')} UTC or later" in seen.text["health"]


@needs_browser
def test_the_report_says_what_its_days_cover_and_which_windows_brought_the_events(
    report: str, seen: Seen, events: list[Row]
) -> None:
    assert "to Wed 4 Mar 2026, the last day that is complete for every product" in report
    assert "All figures above end with Wed 4 Mar, for every product" in seen.text["health"]
    assert "closing metric, sync_summary, counts them" in seen.text["health"]
    assert max(event["end"] for event in events)[:10] > LAST
    ended: Counter[tuple[str, str]] = Counter()
    for event in events:
        day = date.fromisoformat(event["end"][:10])
        if event["product"] in NAMES:
            ended[f"{day:%a} {day.day} {day:%b}", NAMES[event["product"]]] += 1
    rows = {row[0]: row for row in seen.folded["health"]}
    titles = {f"{day_text}\n{name}: {number:,}" for (day_text, name), number in ended.items()}
    others = {title for title in seen.titles["health"] if "cmdtyView" in title}
    assert set(seen.titles["health"]) == titles | others
    for title in titles:
        day_text, number = title.split("\n")
        assert number in rows[day_text]


@needs_browser
def test_the_page_fits_its_window_and_has_a_text_for_each_chart(
    seen: Seen, request: pytest.FixtureRequest
) -> None:
    width, height = request.node.callspec.params["seen"]
    assert seen.width <= width
    assert seen.bottom < height
    assert seen.letters >= 10
    assert len(seen.charts) == 5
    assert all(len(text.split()) > 3 for text in seen.charts)
    assert seen.loaded == []
    assert not re.search(r"[A-Z]{4,}-[A-Z]", "".join(seen.text.values()))


def test_the_report_refers_to_nothing_outside(report: str) -> None:
    assert "default-src 'none'" in report
    assert "<script" not in report
    assert re.findall(r"""\b(?:src|href)=["']([^#"']*)""", report) == ["dashboard.html"]
    assert not re.search(r"@import|url\((?!#)", report)
    assert len(report) < 300_000


@needs_browser
def test_the_page_beside_the_report_draws_the_panels_from_the_same_events(
    events: list[Row], tmp_path: Path
) -> None:
    page = (PROJECT / "output" / "dashboard.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert len(page) < 1_000_000
    dashboard = opened(page, SIZES[0], tmp_path)
    assert dashboard.loaded == []
    recent = within(events, 28)
    texts = "\n".join(dashboard.text.values())
    for name, number in {
        "Active users": len(users_of(recent)),
        "Sessions": len(within(sessions_of(events), 28)),
        "Events": len(recent),
    }.items():
        assert f"{number:,}\n{name}\n" in texts
    rows = [row for table in dashboard.folded.values() for row in table]
    for (product, day), own in grouped(recent, "product", "day").items():
        at = date.fromisoformat(day)
        head, text = f"{at:%a} {at.day} {at:%b}", f"{product}: {len(own):,}"
        assert any(row[0] == head and text in row for row in rows)


def test_two_runs_of_meltano_load_each_event_once(events: list[Row]) -> None:
    """The target appends, so an event that was loaded again would be there twice."""
    end = "2026-03-05T16:00:00Z"
    service = Emulator(population="users", events_per_hour=6, clock=lambda: from_iso(end))
    products = ["ALERT", "CMDTYVIEW", "PORTFOLIO", "WATCHLIST"]
    of_the_tests = {"day", "occurred_at"}
    records = [{n: row[n] for n in row.keys() - of_the_tests} for row in events]
    assert arrived(records) == expected_events(service, products, f"{FIRST}T00:00:00Z", end)
