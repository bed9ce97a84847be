"""`python -m demo.postgres`: `meltano run` into a real PostgreSQL, twice, and the dbt models.

At a terminal, or with `--keep`, the server then runs until Ctrl-C.
"""

import json
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone

from barchart_events_emulator import Emulator
from demo.command import run, tap_settings
from demo.pipeline import PROJECT, Pipeline
from demo.postgres_server import Postgres
from tap_barchart_events.windows import to_milliseconds

FOLDER = PROJECT / "output" / "demo-postgres"

CUSTOMER = "TGAM"
SCHEMA = "barchart"
MARTS = "barchart_marts"
START = datetime(2026, 3, 2, tzinfo=timezone.utc)
LOOKBACK_HOURS = 2
# What each run is for, its products and its end.
RUNS = (
    ("the first sync of two products", ("PORTFOLIO", "WATCHLIST"), START + timedelta(days=3)),
    (
        f"six hours later: {LOOKBACK_HOURS} hours again, for late events, and one product more",
        ("BARCHART-EXCEL", "PORTFOLIO", "WATCHLIST"),
        START + timedelta(days=3, hours=6),
    ),
)
BLOCKS = ("tap-barchart-events", "target-postgres", "dbt-postgres:build")


def _demo() -> bool:
    now = to_milliseconds(RUNS[-1][-1] + timedelta(hours=1))
    with (
        Emulator(
            population="users",
            events_per_hour=150,
            job_seconds=0.5,
            clock=lambda: now,
            date_header=False,
        ) as service,
        Postgres() as postgres,
    ):
        print(f"The service, emulated: {service.api_url}")
        print(f"PostgreSQL {postgres.execute('show server_version').strip()}: {postgres.url}")
        pipeline = Pipeline(FOLDER)
        matches = True
        for purpose, products, end in RUNS:
            print(f"\n{purpose[0].upper()}{purpose[1:]}:", flush=True)
            _run(pipeline, service, postgres, products, end)
            matches &= _compare(service, postgres, products, end)
        _show(postgres)
        print("All events of the service were loaded, once." if matches else "THE COUNTS DIFFER.")
        if sys.stdin.isatty() or "--keep" in sys.argv:
            _keep(postgres)
            sys.exit(0 if matches else 1)  # the time that has passed says nothing
    return matches


def _keep(postgres: Postgres) -> None:
    """Print a query of the server, and keep it running until Ctrl-C."""
    print("\nThe server runs until Ctrl-C. A query to try, in a second terminal:\n")
    print(f"  {postgres.psql} --command='table {MARTS}.barchart__product_overview'")
    sys.stdout.flush()
    with suppress(KeyboardInterrupt):
        signal.pause()


def _run(
    pipeline: Pipeline,
    service: Emulator,
    postgres: Postgres,
    products: Sequence[str],
    end: datetime,
) -> None:
    print(f"meltano run {' '.join(BLOCKS)}, up to {end:%Y-%m-%d %H:%M} UTC")
    began = time.monotonic()
    pipeline.run(
        *BLOCKS,
        settings={
            **tap_settings(
                service,
                CUSTOMER=CUSTOMER,
                PRODUCTS=json.dumps(products),
                START_DATE=START.isoformat(),
                END_DATE=end.isoformat(),
                LOOKBACK_HOURS=str(LOOKBACK_HOURS),
            ),
            "TARGET_POSTGRES_SQLALCHEMY_URL": postgres.url,
            "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA": SCHEMA,
            "DBT_POSTGRES_HOST": str(postgres.folder),
            "DBT_POSTGRES_USER": "postgres",
            "DBT_POSTGRES_DATABASE": "postgres",
        },
    )
    print(f"  {time.monotonic() - began:.1f} s")


def _compare(service: Emulator, postgres: Postgres, products: Sequence[str], end: datetime) -> bool:
    rows = postgres.rows(
        "select product, count(*) as rows, count(distinct event_id) as keys from events group by 1",
        schema=SCHEMA,
    )
    loaded = {row["product"]: (row["rows"], row["keys"]) for row in rows}
    print(f"\n  {'product':<16}{'rows':>8}{'keys':>8}{'expected':>12}")
    matches = set(loaded) == set(products)
    for product in products:
        expected = service.count(CUSTOMER, product, to_milliseconds(START), to_milliseconds(end))
        found, keys = loaded.get(product, (0, 0))
        print(f"  {product:<16}{found:>8,}{keys:>8,}{expected:>12,}")
        matches &= found == keys == expected
    return matches


def _show(postgres: Postgres) -> None:
    print("\nDaily active users of complete days (barchart__daily_active_users):\n")
    for row in postgres.rows(
        "select product, day, active_users, events from barchart__daily_active_users"
        " where is_complete order by 1, 2",
        schema=MARTS,
    ):
        users, events = row["active_users"], row["events"]
        print(f"  {row['product']:<16}{row['day']}{users:>8,} users{events:>8,} events")
    print("\nSessions (barchart__product_overview):\n")
    for row in postgres.rows(
        "select product, sessions, round(events::numeric / sessions, 1) as events,"
        " round(average_session_seconds::numeric / 60, 1) as minutes"
        " from barchart__product_overview order by 1",
        schema=MARTS,
    ):
        print(
            f"  {row['product']:<16}{row['sessions']:>8,} sessions, on average"
            f" {row['events']} events in {row['minutes']} min"
        )
    print()


if __name__ == "__main__":
    sys.exit(run(_demo))
