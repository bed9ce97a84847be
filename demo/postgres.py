"""`python -m demo.postgres`: `meltano run` into a real PostgreSQL, twice, and the dbt models.

The page that it writes draws the Grafana dashboard from that database. At a terminal, or with
`--keep`, the server then runs until Ctrl-C.
"""

import signal
import sys
from contextlib import suppress

from barchart_events_emulator.demo import run, verdict
from demo import dashboard, runs
from demo.pipeline import Pipeline
from demo.postgres_server import Postgres

FOLDER = runs.OUTPUT / "demo-postgres"
PAGE = runs.OUTPUT / "dashboard.html"

SCHEMA = "barchart"
MARTS = "barchart_marts"
BLOCKS = ("tap-barchart-events", "target-postgres", "dbt-postgres:build")


def _demo() -> bool:
    with Postgres() as postgres:
        print(f"PostgreSQL {postgres.execute('show server_version').strip()}: {postgres.url}")
        matches = runs.twice(
            Pipeline(FOLDER),
            *BLOCKS,
            settings={
                # Two hours again in each run, for late events: the target merges them.
                "TAP_BARCHART_EVENTS_LOOKBACK_HOURS": "2",
                "TARGET_POSTGRES_SQLALCHEMY_URL": postgres.url,
                "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA": SCHEMA,
                "DBT_POSTGRES_HOST": str(postgres.folder),
                "DBT_POSTGRES_USER": "postgres",
                "DBT_POSTGRES_DATABASE": "postgres",
            },
            loaded=lambda: _loaded(postgres),
        )
        dashboard.write(dashboard.over_postgres(postgres, runs.NOW + runs.LATER), PAGE)
        print("\nOpen output/dashboard.html in a browser: the Grafana dashboard, as a picture.\n")
        if sys.stdin.isatty() or "--keep" in sys.argv:
            print(verdict(matches=matches))
            _keep(postgres)
            sys.exit(0 if matches else 1)  # the time that has passed says nothing
    return matches


def _loaded(postgres: Postgres) -> runs.Counts:
    query = "select product, count(*), count(distinct event_id) as keys from events group by 1"
    rows = postgres.rows(query, schema=SCHEMA)
    return {row["product"]: (row["count"], row["keys"]) for row in rows}


def _keep(postgres: Postgres) -> None:
    """Print a query of the server, and keep it running until Ctrl-C."""
    print("\nThe server runs until Ctrl-C. A query to try, in a second terminal:\n")
    print(f"  {postgres.psql} --command='table {MARTS}.barchart__product_overview'")
    sys.stdout.flush()
    with suppress(KeyboardInterrupt):
        signal.pause()


if __name__ == "__main__":
    sys.exit(run(_demo))
