"""The report of the demo: one HTML page that answers a product manager's questions in order.

It loads nothing, and needs no script.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from demo.charts import COLOURS, Bar, Cell, bars, day_text, days_from, folded, heat_map, page, table
from demo.plots import over_time

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PRODUCTS = {"ALERT": "Alerts", "CMDTYVIEW": "cmdtyView", None: "All products"}

PANELS = "dashboard.html"
"""The page beside the report that draws the panels of the Grafana dashboard."""

Bookmarks = Mapping[str, datetime]
"""The bookmark of each product."""


def write(marts: SimpleNamespace, bookmarks: Bookmarks, to: Path) -> None:
    """Write the page.

    Args:
        marts: What `demo.marts` has read.
        bookmarks: Shown beside the state of the table.
        to: The HTML file.
    """
    first = "\n".join(section(marts) for section in (_users, _used, _back))
    then = (_by_day, _rhythm, _adoption, _symbols, _retention, _across)
    note = (
        f"This week is {day_text(marts.last - timedelta(days=6))} to {day_text(marts.last)} "
        f"{marts.last.year}, the last day that is complete for every product. Last week is the "
        "seven days before; 28 days end with this week. Days and hours are UTC. The emulator made "
        "these events up."
    )
    sections = [*(section(marts) for section in then), _health(marts, bookmarks), _panels()]
    body = "\n".join([f'<div class="first">\n{first}\n</div>', *sections])
    page(to, headline(marts), note, body)


def headline(marts: SimpleNamespace) -> str:
    """Return the headline: users this week against last week."""
    everywhere = marts.users[0]
    more = everywhere.this_week - everywhere.last_week
    than = f"{abs(more)} {'more' if more > 0 else 'fewer'} than" if more else "as many as"
    return f"{everywhere.this_week} users this week, {than} last week"


def product_name(code: str | None) -> str:
    """Return a product's name for people; ``None`` is all products."""
    return _PRODUCTS.get(code) or str(code).replace("-", " ").capitalize()


def type_name(product: str, code: str) -> str:
    """Return an event type's name for people, without the product."""
    return code.removeprefix(f"{product}-").replace("-", " ").replace("_", " ").capitalize()


def _section(name: str, title: str, *parts: str) -> str:
    return f'<section id="{name}">\n<h2>{title}</h2>\n' + "\n".join(parts) + "\n</section>"


def _users(marts: SimpleNamespace) -> str:
    colours = _colours(marts)
    rows = "\n".join(
        f'<tr><th scope="row">{_swatch(colours.get(row.product))}{product_name(row.product)}</th>'
        f"<td>{row.this_week}</td><td>{row.last_week}</td>"
        f"<td>{_change(row.this_week, row.last_week)}</td></tr>"
        for row in marts.users
    )
    totals = ", ".join(
        f"{row.this_week:,} {row.measure} ({_change(row.this_week, row.last_week)})"
        for row in marts.totals
    )
    return _section(
        "users",
        "How many users this week?",
        "<table><thead><tr><th>different users</th><th>this week</th><th>last week</th>"
        f"<th>change</th></tr></thead>\n<tbody>\n{rows}\n</tbody></table>",
        f"<p>{totals} against last week.</p>",
    )


def _used(marts: SimpleNamespace) -> str:
    """Two event types of each product; opening and leaving a product is left out."""
    everybody = sum(row.users for row in marts.products_used)
    rows: list[Bar] = []
    for code, colour in _colours(marts).items():
        own = (row for row in marts.adoption if row.product == code)
        opening = ("-ACCESSED", "-ACTIVATED", "-LOADED", "-LOGIN", "-LOGOUT")
        for row in [row for row in own if not row.type.endswith(opening)][:2]:
            label = f"{product_name(code)}: {type_name(code, row.type).lower()}"
            rows.append(Bar(label, row.users / everybody, f"{row.users}", colour))
    text = f"Of {everybody} users in 28 days; two of each product, without opening and leaving it:"
    return _section("used", "What do they use?", f"<p>{text}</p>", bars(rows))


def _back(marts: SimpleNamespace) -> str:
    changes, before = marts.changes[0], marts.users[0].last_week
    rows = [Bar("of last week's users", changes.kept / before, f"{changes.kept / before:.0%}")]
    for row in marts.returned:
        share = row.active / row.users if row.users else 0.0
        weeks = "a week" if row.weeks == 1 else f"{row.weeks} weeks"
        rows.append(Bar(f"of new users, {weeks} later", share, f"{share:.0%}"))
    counts = ", ".join(f"{row.active} of {row.users}" for row in marts.returned)
    return _section(
        "back",
        "Do they come back?",
        f'<p><span class="big">{changes.kept} of {before}</span> users of last week were back. '
        f"{changes.new} are new, {changes.again} returned after a pause, "
        f"{changes.lost} stayed away.</p>",
        bars(rows),
        f"<p>New users: {counts}, without those of the first four weeks of data.</p>",
    )


def _by_day(marts: SimpleNamespace) -> str:
    colours = _colours(marts)
    series = _series(marts.by_day, [None, *colours])
    everybody = series[product_name(None)]
    (first, begin), *_, (last, end) = everybody.items()
    text = (
        f"Different users in the seven days that end on each day: {begin} on {day_text(first)}, "
        f"{end} on {day_text(last)} ({_change(end, begin)}) in all products."
    )
    chart = over_time(text, list(everybody), series, ["#222222", *colours.values()])
    return _section("by-day", "Is use growing?", f"<p>{text}</p>", chart)


def _rhythm(marts: SimpleNamespace) -> str:
    top = max(marts.rhythm, key=lambda row: row.sessions)
    working, weekend = (row.users for row in marts.daily)
    text = (
        f"Most sessions begin on {_WEEKDAYS[top.weekday - 1]}s from {top.hour}:00 to "
        f"{top.hour + 1}:00 UTC: {top.sessions} in four weeks. On a day at the weekend "
        f"{weekend:.1f} different users are active, on a working day {working:.1f}: "
        f"{1 - weekend / working:.0%} fewer."
    )
    begun = {(row.weekday, row.hour): row.sessions for row in marts.rhythm}
    rows = {
        name[:3]: [
            Cell(number / top.sessions, f"{name} {at}:00: {number} sessions")
            for at in range(24)
            for number in [begun.get((day, at), 0)]
        ]
        for day, name in enumerate(_WEEKDAYS, 1)
    }
    chart = heat_map(
        "Sessions begun by weekday and hour", "UTC", [str(at) for at in range(24)], rows
    )
    rest = folded(
        ["weekday", "hour", "sessions begun in 28 days"],
        ([_WEEKDAYS[r.weekday - 1], f"{r.hour}:00", r.sessions] for r in marts.rhythm),
    )
    parts = (f"<p>{text}</p>", f'<div class="hours">{chart}</div>', rest)
    return _section("rhythm", "When do they use it?", *parts)


def _adoption(marts: SimpleNamespace) -> str:
    def text(own: list[Any]) -> str:
        half = sum(row.users * 2 >= row.everybody for row in own)
        users = f"{own[0].everybody} users in 28 days"
        return f"{users}; {half} of {len(own)} event types are used by half of them or more."

    def bar(row: Any, top: Any, colour: str) -> Bar:
        name = type_name(row.product, row.type)
        return Bar(name, row.users / row.everybody, f"{row.users}", colour)

    rest = folded(
        ["product", "event type", "users in 28 days", "share of users", "first seen"],
        (
            [
                product_name(row.product),
                type_name(row.product, row.type),
                row.users,
                f"{row.users / row.everybody:.0%}",
                row.first_day,
            ]
            for row in marts.adoption
        ),
    )
    columns = _by_product(marts, marts.adoption, text, bar)
    return _section("adoption", "How many use each feature?", columns, rest)


def _symbols(marts: SimpleNamespace) -> str:
    def text(own: list[Any]) -> str:
        once = sum(row.users == 1 for row in own)
        top = f"Most users in 28 days: {escape(own[0].symbol)}."
        return f"{top} {once} of {len(own)} symbols had one user only."

    def bar(row: Any, top: Any, colour: str) -> Bar:
        return Bar(row.symbol, row.users / top.users, f"{row.users}", colour)

    rest = folded(
        ["product", "symbol", "users in 28 days", "events"],
        ([product_name(row.product), row.symbol, row.users, row.number] for row in marts.symbols),
    )
    columns = _by_product(marts, marts.symbols, text, bar)
    return _section("symbols", "Which symbols?", columns, rest)


def _by_product(
    marts: SimpleNamespace,
    rows: Iterable[Any],
    text: Callable[[list[Any]], str],
    bar: Callable[[Any, Any, str], Bar],
) -> str:
    """Return, for each product with rows, a text about them and bars of the first eight."""
    parts = [
        f"<div><h3>{product_name(code)}</h3><p>{text(own)}</p>"
        f"{bars(bar(row, own[0], colour) for row in own[:8])}</div>"
        for code, colour in _colours(marts).items()
        if (own := [row for row in rows if row.product == code])
    ]
    return f'<div class="columns">{"".join(parts)}</div>'


def _retention(marts: SimpleNamespace) -> str:
    weeks = range(max(row.weeks_later for row in marts.retention) + 1)
    rows: dict[str, list[Cell | None]] = {}
    for row in marts.retention:
        first, later, users, active = vars(row).values()
        cells = rows.setdefault(f"{first.day} {first:%b}: {users}", [None] * len(weeks))
        title = f"{active} of {users} users of the week of {day_text(first)}, {later} weeks later"
        cells[later] = Cell(active / users, title, f"{100 * active / users:.0f}")
    text = (
        "Users by the week in which they were first seen, and how many per cent of them were "
        "active so many weeks later. The first row is everybody who was there when the data begins."
    )
    chart = heat_map(
        "Per cent of users active by weeks since the first",
        "week: users",
        [str(number) for number in weeks],
        rows,
    )
    rest = folded(
        ["first week", "weeks later", "users", "active"],
        (vars(row).values() for row in marts.retention),
    )
    return _section("retention", "How long do they stay?", f"<p>{text}</p>", chart, rest)


def _across(marts: SimpleNamespace) -> str:
    everybody = sum(row.users for row in marts.products_used)
    several = sum(row.users for row in marts.products_used if row.products > 1)
    text = (
        f"{several} of {everybody} users in 28 days used more than one product "
        f"({several / everybody:.0%})."
    )
    counts = bars(
        Bar(
            f"{row.products} product{'s'[: row.products > 1]}",
            row.users / everybody,
            f"{row.users}",
        )
        for row in marts.products_used
    )
    users = {(row.one, row.other): row.users for row in marts.together}
    names = {code: product_name(code) for code in _colours(marts) if (code, code) in users}
    rows = {}
    for one, name in names.items():
        own = users[one, one]
        rows[name] = [
            Cell(both / own, f"{both} of {own} users of {name} use {label}", f"{both / own:.0%}")
            for other, label in names.items()
            for both in [users.get((one, other), 0)]
        ]
    meaning = "Of the users of a product in the first column, the share who use the others too:"
    matrix = heat_map("Use of several products", "of users of", list(names.values()), rows)
    columns = f'<div class="columns"><div>{counts}</div><div><p>{meaning}</p>{matrix}</div></div>'
    return _section("across", "Do they use several products?", f"<p>{text}</p>", columns)


def _health(marts: SimpleNamespace, bookmarks: Bookmarks) -> str:
    behind = min(row.complete_until for row in marts.health)
    state = table(
        ["product", "events", "last event", "complete until", "bookmark", "days without events"],
        (
            [
                product_name(row.product),
                row.events,
                row.last_event_at,
                row.complete_until,
                bookmarks[row.product],
                row.quiet_days,
            ]
            for row in marts.health
        ),
    )
    title = "Events by the day on which their export window ended"
    colours = _colours(marts)
    days = days_from(marts.window_ends[0].day, marts.window_ends[-1].day)
    series = _series(marts.window_ends, colours)
    return _section(
        "health",
        "Is the data complete?",
        f"<p>Every product is complete until {behind:%Y-%m-%d %H:%M} UTC or later; a later "
        "bookmark means that nothing happened since. Products may be complete until different "
        f"times. All figures above end with {day_text(marts.last)}, for every product, so that "
        "they cover the same days: what came later is not in them.</p>",
        state,
        f"<h3>{title}</h3>",
        over_time(title, days, series, list(colours.values()), stacked=True),
        "<p>A backfill, as here, reads many days in one window; a nightly run reads one day. The "
        "table cannot show late events: the tap&rsquo;s closing metric, "
        "<code>sync_summary</code>, counts them.</p>",
    )


def _panels() -> str:
    text = "<p>The same events in the panels of the Grafana dashboard, drawn from their own SQL: "
    return _section("panels", "And in Grafana?", f'{text}<a href="{PANELS}">all panels</a>.</p>')


def _series(rows: Iterable[Any], codes: Iterable[str | None]) -> dict[str, dict[date, int]]:
    """Return the numbers of each product by day."""
    series: dict[str, dict[date, int]] = {product_name(code): {} for code in codes}
    for row in rows:
        series[product_name(row.product)][row.day] = row.number
    return series


def _colours(marts: SimpleNamespace) -> dict[str, str]:
    """Return the colour of each product, those with most users first."""
    products = [row.product for row in marts.users if row.product]
    return {code: COLOURS[sorted(products).index(code) % len(COLOURS)] for code in products}


def _swatch(colour: str | None) -> str:
    return f'<span class="swatch" style="background:{colour}"></span>' if colour else ""


def _change(now: int, before: int) -> str:
    change = round(100 * (now / before - 1)) if before else 0
    return f"{change:+}%".replace("-", "&minus;") if change else "0%"
