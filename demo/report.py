"""The report of the demo: one HTML page that answers a product manager's questions in order.

It loads nothing, and needs no script.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from html import escape
from pathlib import Path
from string import Template

from demo.charts import COLOURS, Bar, Cell, bars, heat_map, lines
from demo.marts import Marts

_TEMPLATE = Path(__file__).with_suffix(".html")
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PRODUCTS = {"ALERT": "Alerts", "CMDTYVIEW": "cmdtyView"}
_ALL = "All products"

Bookmarks = Mapping[str, tuple[datetime, datetime]]
"""For each product, the bookmarks after the first and the second run."""


def write(marts: Marts, bookmarks: Bookmarks, to: Path) -> None:
    """Write the page.

    Args:
        marts: What dbt built.
        bookmarks: Shown beside the state of the table.
        to: The HTML file.
    """
    first = (_users, _used, _back)
    then = (_by_day, _rhythm, _adoption, _symbols, _retention, _across)
    begin, end = marts.last_day - timedelta(days=6), marts.last_day
    page = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        headline=escape(headline(marts)),
        note=f"This week is the seven days from {_day(begin)} to {_day(end)} {end.year}, last week "
        "the seven days before. Days and hours are UTC. The emulator made these events up.",
        first="\n".join(section(marts) for section in first),
        sections="\n".join([*(section(marts) for section in then), _health(marts, bookmarks)]),
    )
    to.write_text(page, encoding="utf-8")


def headline(marts: Marts) -> str:
    """Return the headline: users this week against last week."""
    everywhere = marts.users[0]
    more = everywhere.this_week - everywhere.last_week
    than = f"{abs(more)} {'more' if more > 0 else 'fewer'} than" if more else "as many as"
    return f"{everywhere.this_week} users this week, {than} last week"


def product_name(code: str) -> str:
    """Return a product's name for people."""
    return _PRODUCTS.get(code, code.replace("-", " ").capitalize())


def type_name(product: str, code: str) -> str:
    """Return an event type's name for people, without the product."""
    return code.removeprefix(f"{product}-").replace("-", " ").replace("_", " ").capitalize()


def _section(name: str, title: str, *parts: str) -> str:
    return f'<section id="{name}">\n<h2>{title}</h2>\n' + "\n".join(parts) + "\n</section>"


def _users(marts: Marts) -> str:
    colours = _colours(marts)
    rows = "\n".join(
        f'<tr><th scope="row">{_swatch(colours.get(row.product or ""))}'
        f"{product_name(row.product) if row.product else _ALL}</th><td>{row.this_week}</td>"
        f"<td>{row.last_week}</td><td>{_change(row.this_week, row.last_week)}</td></tr>"
        for row in marts.users
    )
    totals = ", ".join(
        f"{now:,} {measure} ({_change(now, before)})" for measure, now, before in marts.totals
    )
    return _section(
        "users",
        "How many users this week?",
        "<table><thead><tr><th>different users</th><th>this week</th><th>last week</th>"
        f"<th>change</th></tr></thead>\n<tbody>\n{rows}\n</tbody></table>",
        f"<p>{totals} against last week.</p>",
    )


def _used(marts: Marts) -> str:
    """Two event types of each product; opening and leaving a product is left out."""
    everybody = sum(marts.products_used.values())
    rows: list[Bar] = []
    for code, colour in _colours(marts).items():
        own = (row for row in marts.adoption if row.product == code)
        used = [row for row in own if not row.type.endswith(("-LOADED", "-LOGIN", "-LOGOUT"))]
        for row in used[:2]:
            label = f"{product_name(code)}: {type_name(code, row.type).lower()}"
            rows.append(Bar(label, row.users / everybody, f"{row.users}", colour))
    text = f"Of {everybody} users in 28 days, without opening and leaving."
    return _section("used", "What do they use?", bars(rows), f"<p>{text}</p>")


def _back(marts: Marts) -> str:
    changes, before = marts.changes, marts.users[0].last_week
    rows = [
        Bar("of last week's users", changes["kept"] / before, f"{changes['kept'] / before:.0%}")
    ]
    for row in marts.returned:
        share = row.active / row.users if row.users else 0.0
        weeks = "a week" if row.weeks_later == 1 else f"{row.weeks_later} weeks"
        rows.append(Bar(f"of new ones, {weeks} later", share, f"{share:.0%}"))
    counts = ", ".join(f"{row.active} of {row.users}" for row in marts.returned)
    return _section(
        "back",
        "Do they come back?",
        f'<p><span class="big">{changes["kept"]} of {before}</span> users of last week were back. '
        f"{changes['new']} are new, {changes['again']} returned after a pause, "
        f"{changes['lost']} stayed away.</p>",
        bars(rows),
        f"<p>New ones: {counts}, without those of the first four weeks of data.</p>",
    )


def _by_day(marts: Marts) -> str:
    series: dict[str, dict[date, int]] = {_ALL: {}}
    colours = _colours(marts)
    series |= {product_name(code): {} for code in colours}
    for code, day, users in marts.by_day:
        series[product_name(code) if code else _ALL][day] = users
    (first, begin), *_, (last, end) = series[_ALL].items()
    text = (
        f"Different users in the seven days to each day: {begin} on {_day(first)}, {end} on "
        f"{_day(last)} ({_change(end, begin)}) in all products."
    )
    table = _table(
        ["day", *series],
        ([day, *(values.get(day, 0) for values in series.values())] for day in series[_ALL]),
    )
    chart = lines(text, "users", series, ["#222222", *colours.values()])
    return _section("by-day", "Is use growing?", f"<p>{text}</p>", chart, table)


def _rhythm(marts: Marts) -> str:
    (weekday, hour), most = max(marts.rhythm.items(), key=lambda item: item[1])
    weekend, working = marts.daily[True], marts.daily[False]
    text = (
        f"Most sessions begin on {_WEEKDAYS[weekday - 1]}s from {hour}:00 to {hour + 1}:00 UTC: "
        f"{most} in four weeks. On a day at the weekend {weekend:.1f} different users are active, "
        f"on a working day {working:.1f}: {1 - weekend / working:.0%} fewer."
    )
    rows = {
        name[:3]: [
            Cell(number / most, f"{name} {at}:00: {number} sessions")
            for at in range(24)
            for number in [marts.rhythm.get((day, at), 0)]
        ]
        for day, name in enumerate(_WEEKDAYS, 1)
    }
    chart = heat_map(
        "Sessions begun by weekday and hour", "UTC", [str(at) for at in range(24)], rows
    )
    table = _table(
        ["weekday", "hour", "sessions begun in 28 days"],
        (
            [_WEEKDAYS[day - 1], f"{at}:00", number]
            for (day, at), number in sorted(marts.rhythm.items())
        ),
    )
    return _section(
        "rhythm",
        "When do they use it?",
        f"<p>{text}</p>",
        f'<div class="hours">{chart}</div>',
        table,
    )


def _adoption(marts: Marts) -> str:
    parts = []
    for code, colour in _colours(marts).items():
        own = [row for row in marts.adoption if row.product == code]
        everybody = own[0].active_users
        half = sum(row.users * 2 >= everybody for row in own)
        parts.append(
            f"<div><h3>{product_name(code)}</h3><p>{everybody} users in 28 days; {half} of "
            f"{len(own)} event types are used by half of them or more.</p>"
            + bars(
                Bar(type_name(code, row.type), row.users / everybody, f"{row.users}", colour)
                for row in own[:8]
            )
            + "</div>"
        )
    table = _table(
        ["product", "event type", "users in 28 days", "share of users", "first seen"],
        (
            [
                product_name(row.product),
                type_name(row.product, row.type),
                row.users,
                f"{row.users / row.active_users:.0%}",
                row.first_seen.date(),
            ]
            for row in marts.adoption
        ),
    )
    columns = f'<div class="columns">{"".join(parts)}</div>'
    return _section("adoption", "How many use each feature?", columns, table)


def _symbols(marts: Marts) -> str:
    parts = []
    for code, colour in _colours(marts).items():
        own = [row for row in marts.symbols if row.product == code]
        if not own:
            continue
        once = sum(row.users == 1 for row in own)
        parts.append(
            f"<div><h3>{product_name(code)}</h3><p>Most users in 28 days: {escape(own[0].symbol)}. "
            f"{once} of {len(own)} symbols had one user only.</p>"
            + bars(
                Bar(row.symbol, row.users / own[0].users, f"{row.users}", colour) for row in own[:8]
            )
            + "</div>"
        )
    table = _table(
        ["product", "symbol", "users in 28 days", "events"],
        ([product_name(row.product), row.symbol, row.users, row.events] for row in marts.symbols),
    )
    columns = f'<div class="columns">{"".join(parts)}</div>'
    return _section("symbols", "Which symbols?", columns, table)


def _retention(marts: Marts) -> str:
    weeks = range(max(later for _, later, *_ in marts.retention) + 1)
    rows: dict[str, list[Cell | None]] = {}
    for first, later, users, active in marts.retention:
        row = rows.setdefault(f"{first.day} {first:%b}: {users}", [])
        title = f"{active} of {users} users of the week of {_day(first)}, {later} weeks later"
        row.append(Cell(active / users, title, f"{100 * active / users:.0f}"))
    for cells in rows.values():
        cells.extend([None] * (len(weeks) - len(cells)))
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
    table = _table(["first week", "weeks later", "users", "active"], marts.retention)
    return _section("retention", "How long do they stay?", f"<p>{text}</p>", chart, table)


def _across(marts: Marts) -> str:
    everybody = sum(marts.products_used.values())
    several = everybody - marts.products_used.get(1, 0)
    text = (
        f"{several} of {everybody} users in 28 days used more than one product "
        f"({several / everybody:.0%})."
    )
    counts = bars(
        Bar(f"{number} product{'s' if number > 1 else ''}", users / everybody, f"{users}")
        for number, users in marts.products_used.items()
    )
    names = {code: product_name(code) for code in _colours(marts) if (code, code) in marts.together}
    rows = {}
    for one, name in names.items():
        own = marts.together[one, one]
        both = {other: marts.together.get((one, other), 0) for other in names}
        rows[name] = [
            Cell(
                users / own,
                f"{users} of {own} users of {name} use {names[other]}",
                f"{users / own:.0%}",
            )
            for other, users in both.items()
        ]
    meaning = "Of the users of a product in the first column, the share who use the others too:"
    matrix = heat_map("Use of several products", "of users of", list(names.values()), rows)
    columns = f'<div class="columns"><div>{counts}</div><div><p>{meaning}</p>{matrix}</div></div>'
    return _section("across", "Do they use several products?", f"<p>{text}</p>", columns)


def _health(marts: Marts, bookmarks: Bookmarks) -> str:
    behind = min(row.complete_until for row in marts.health)
    heads = ["product", "events", "last event", "complete until", "days without events"]
    heads += ["bookmark after run 1", "after run 2"]
    rows = [
        [
            product_name(row.product),
            row.events,
            row.last,
            row.complete_until,
            row.quiet_days,
            *bookmarks[row.product],
        ]
        for row in marts.health
    ]
    return _section(
        "health",
        "Is the data complete?",
        f"<p>Every product is complete until {behind:%Y-%m-%d %H:%M} UTC or later; a later "
        "bookmark means that nothing happened since. The table cannot show late events: the last "
        "line of each run counts them.</p>",
        f'<div class="scroll">{_rows(heads, rows)}</div>',
    )


def _table(heads: list[str], rows: Iterable[Iterable[object]]) -> str:
    return (
        f'<details><summary>Table</summary><div class="scroll">{_rows(heads, rows)}</div></details>'
    )


def _rows(heads: list[str], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(_text(value))}</td>" for value in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def _text(value: object) -> str:
    match value:
        case int():
            return f"{value:,}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}"
        case date():
            return f"{value:%a %Y-%m-%d}"
    return str(value)


def _colours(marts: Marts) -> dict[str, str]:
    """Return the colour of each product, those with most users first."""
    products = [row.product for row in marts.users if row.product]
    return {code: COLOURS[sorted(products).index(code) % len(COLOURS)] for code in products}


def _swatch(colour: str | None) -> str:
    return f'<span class="swatch" style="background:{colour}"></span>' if colour else ""


def _change(now: int, before: int) -> str:
    change = round(100 * (now / before - 1)) if before else 0
    return f"{change:+}%".replace("-", "&minus;") if change else "0%"


def _day(day: date) -> str:
    return f"{day:%a} {day.day} {day:%b}"
