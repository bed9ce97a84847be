"""The marts of the demo: dbt builds them on DuckDB from the target's file."""

import subprocess
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from demo.command import DemoError
from demo.environment import clean_environment
from demo.pipeline import PROJECT

DBT = PROJECT / ".venv-dbt-duckdb" / "bin" / "dbt"
TRANSFORM = PROJECT / "transform"


class Users(NamedTuple):
    """Different users of a product, or of all products together."""

    product: str | None
    """``None`` for all products."""
    this_week: int
    last_week: int


class Returned(NamedTuple):
    """How many new users came back, some weeks after their first day."""

    weeks_later: int
    users: int
    """New users whose week that would be is over."""
    active: int
    """Those of them who were active in it."""


class Share(NamedTuple):
    """An event type, and its part of a product's users in 28 days."""

    product: str
    type: str
    users: int
    active_users: int
    """All users of the product."""
    first_seen: datetime


class Symbol(NamedTuple):
    """A symbol of a product in 28 days."""

    product: str
    symbol: str
    users: int
    events: int


class Health(NamedTuple):
    """What the table holds of a product."""

    product: str
    events: int
    first: datetime
    last: datetime
    complete_until: datetime
    """End of the latest export window with an event, UTC."""
    quiet_days: int
    """Days that are complete and have no event."""


class Marts(NamedTuple):
    """What the report shows. Users of several products are counted once.

    "This week" is the seven days to the last day that is complete for every product; "28 days" are
    those to that day, or, where the mart has its own, to the day under way.
    """

    last_day: date
    """The last day that is complete for every product."""
    users: list[Users]
    """All products first, then the product with most users."""
    totals: list[tuple[str, int, int]]
    """Measure (sessions, events), this week, last week."""
    changes: dict[str, int]
    """This week's users who are ``new``, ``again`` after a pause, or ``kept`` from last week; and
    those of last week who are ``lost``."""
    returned: list[Returned]
    by_day: list[tuple[str | None, date, int]]
    """Product (``None`` for all), day, users in the seven days to it."""
    rhythm: dict[tuple[int, int], int]
    """Day of the week (1 is Monday), hour of the day → sessions begun in 28 days."""
    daily: dict[bool, float]
    """At weekends or not → mean number of different users of a day, in 28 days."""
    adoption: list[Share]
    """Most users first."""
    symbols: list[Symbol]
    """By product; most users first."""
    retention: list[tuple[date, int, int, int]]
    """First week, weeks later, users who began in that week, those active."""
    products_used: dict[int, int]
    """Number of products → users who used so many in 28 days."""
    together: dict[tuple[str, str], int]
    """Two products → users of both in 28 days; the same twice: users of it."""
    health: list[Health]


def build(events: Path, database: Path) -> None:
    """Run `dbt build`: models and their tests.

    Args:
        events: What target-jsonl wrote.
        database: The DuckDB file to build the models in; what dbt itself writes goes beside it.

    Raises:
        DemoError: A model or a test failed; the message is the end of dbt's output.
    """
    scratch = database.with_suffix(".dbt")
    done = subprocess.run(
        [
            DBT,
            "--no-use-colors",
            "build",
            f"--project-dir={TRANSFORM}",
            f"--profiles-dir={TRANSFORM}",
            f"--target-path={scratch / 'target'}",
            f"--log-path={scratch}",
        ],
        env=clean_environment(
            DBT_TARGET="duckdb",
            DBT_DUCKDB_PATH=str(database),
            DBT_DUCKDB_FILES=str(events),
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        raise DemoError("\n".join([*lines[-30:], f"dbt ended with exit code {done.returncode}"]))


_LAST_DAY = """
    SELECT min(day) FROM (
        SELECT max(day) FILTER (is_complete) AS day FROM barchart__daily_active_users
        GROUP BY product)"""

_QUERIES = {
    "users": """
        SELECT product,
            count(DISTINCT user_id) FILTER (day > $last - 7) AS this_week,
            count(DISTINCT user_id) FILTER (day <= $last - 7)
        FROM barchart__user_days WHERE day > $last - 14 AND day <= $last
        GROUP BY GROUPING SETS ((product), ())
        ORDER BY product IS NOT NULL, this_week DESC""",
    "totals": """
        SELECT measure, sum(number) FILTER (day > $last - 7)::BIGINT,
            sum(number) FILTER (day <= $last - 7)::BIGINT
        FROM (UNPIVOT barchart__daily_active_users ON sessions, events
            INTO NAME measure VALUE number)
        WHERE day > $last - 14 AND day <= $last GROUP BY measure ORDER BY measure DESC""",
    "changes": """
        SELECT count(*) FILTER (now AND first > $last - 7) AS new,
            count(*) FILTER (now AND NOT before AND first <= $last - 7) AS again,
            count(*) FILTER (now AND before) AS kept,
            count(*) FILTER (before AND NOT now) AS lost
        FROM (
            SELECT min(day) AS first, bool_or(day > $last - 7) AS now,
                bool_or(day > $last - 14 AND day <= $last - 7) AS before
            FROM barchart__user_days WHERE day <= $last GROUP BY user_id)""",
    "returned": """
        WITH new AS (
            SELECT user_id, min(day) AS first FROM barchart__user_days GROUP BY user_id
            HAVING first >= (SELECT min(day) + 28 FROM barchart__user_days))
        SELECT weeks, count(DISTINCT user_id),
            count(DISTINCT user_id) FILTER (day - first BETWEEN 7 * weeks AND 7 * weeks + 6)
        FROM new JOIN barchart__user_days USING (user_id), (VALUES (1), (4)) AS later(weeks)
        WHERE first + 7 * weeks + 6 <= $last
        GROUP BY weeks ORDER BY weeks""",
    "by_day": """
        SELECT users.product, days.day, count(DISTINCT user_id)
        FROM (SELECT DISTINCT day FROM barchart__daily_active_users) AS days
        JOIN barchart__user_days AS users ON users.day > days.day - 7 AND users.day <= days.day
        WHERE days.day <= $last
            AND days.day >= (SELECT min(day) + 6 FROM barchart__daily_active_users)
        GROUP BY GROUPING SETS ((users.product, days.day), (days.day))
        ORDER BY ALL""",
    "rhythm": """
        SELECT isodow(started_at), hour(started_at), count(*)
        FROM barchart__sessions WHERE day > $last - 28 AND day <= $last GROUP BY ALL""",
    "daily": """
        SELECT isodow(day) > 5, avg(users) FROM (
            SELECT days.day, count(DISTINCT user_id) AS users
            FROM barchart__daily_active_users AS days LEFT JOIN barchart__user_days USING (day)
            WHERE days.day > $last - 28 AND days.day <= $last GROUP BY days.day)
        GROUP BY ALL""",
    "adoption": """
        SELECT product, type, users_28_days, active_users_28_days, first_seen_at
        FROM barchart__adoption ORDER BY users_28_days DESC, product, type""",
    "symbols": """
        SELECT product, symbol, active_users, events
        FROM barchart__symbol_ranking ORDER BY product, active_users DESC, events DESC, symbol""",
    "retention": """
        WITH weeks AS (
            SELECT DISTINCT user_id, date_trunc('week', day)::DATE AS week
            FROM barchart__user_days
            WHERE day <= $last AND date_trunc('week', day) + INTERVAL 6 DAY <= $last),
        began AS (SELECT user_id, min(week) AS first FROM weeks GROUP BY user_id),
        cohorts AS (SELECT first, count(*) AS users FROM began GROUP BY first)
        SELECT cohorts.first, (all_weeks.week - cohorts.first) // 7 AS later, any_value(users),
            count(weeks.user_id)
        FROM cohorts
        JOIN (SELECT DISTINCT week FROM weeks) AS all_weeks ON all_weeks.week >= cohorts.first
        JOIN began ON began.first = cohorts.first
        LEFT JOIN weeks ON weeks.user_id = began.user_id AND weeks.week = all_weeks.week
        GROUP BY ALL ORDER BY ALL""",
    "products_used": """
        SELECT products, count(*) FROM (
            SELECT count(DISTINCT product) AS products FROM barchart__user_days
            WHERE day > $last - 28 AND day <= $last GROUP BY user_id)
        GROUP BY products ORDER BY products""",
    "together": """
        WITH recent AS (
            SELECT DISTINCT product, user_id FROM barchart__user_days
            WHERE day > $last - 28 AND day <= $last)
        SELECT one.product, other.product, count(*)
        FROM recent AS one JOIN recent AS other USING (user_id) GROUP BY ALL ORDER BY ALL""",
    "health": """
        SELECT product, overview.events, first_event_at, last_event_at, complete_until,
            count(*) FILTER (is_complete AND days.events = 0)
        FROM barchart__product_overview AS overview
        JOIN barchart__daily_active_users AS days USING (product)
        GROUP BY ALL ORDER BY product""",
}


def read(database: Path) -> Marts:
    """Return what the report shows of the marts in a DuckDB file."""
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("USE barchart_marts")
        [(last,)] = connection.execute(_LAST_DAY).fetchall()

        def rows(name: str) -> list[Any]:
            query = _QUERIES[name]
            named = {"last": last} if "$last" in query else {}
            return connection.execute(query, named).fetchall()

        [changes] = rows("changes")
        return Marts(
            last_day=last,
            users=[Users(*row) for row in rows("users")],
            totals=rows("totals"),
            changes=dict(zip(("new", "again", "kept", "lost"), changes, strict=True)),
            returned=[Returned(*row) for row in rows("returned")],
            by_day=rows("by_day"),
            rhythm={(weekday, hour): number for weekday, hour, number in rows("rhythm")},
            daily=dict(rows("daily")),
            adoption=[Share(*row) for row in rows("adoption")],
            symbols=[Symbol(*row) for row in rows("symbols")],
            retention=rows("retention"),
            products_used=dict(rows("products_used")),
            together={(one, other): users for one, other, users in rows("together")},
            health=[Health(*row) for row in rows("health")],
        )
