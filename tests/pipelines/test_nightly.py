"""The job of `meltano.yml`: a load that fails in part, and the models all the same."""

import json
from pathlib import Path

from barchart_events_emulator import Emulator
from demo.pipeline import MELTANO, PROJECT, Pipeline
from demo.postgres_server import Postgres
from tap_barchart_events.windows import from_iso
from tests.expected_events import CUSTOMER
from tests.pipelines.pipe import into_postgres, settings_of, variables
from tests.project.commands import ended
from tests.tap_runs import bookmarks

PRODUCTS = ["ALERT", "WATCHLIST"]
START, FIRST_END, SECOND_END = (f"2026-03-{day:02}T00:00:00+00:00" for day in (2, 3, 4))
STATE_ID = "prod:tap-barchart-events-to-target-postgres"
JOB, MARTS = "events-to-postgres", "marts_by_the_job"
PARTS = (".venv-meltano", "orchestrate", "tap_barchart_events")
"""What the job reads of the project's folder, besides what every pipeline has."""


def test_the_models_hold_what_was_loaded_although_the_first_product_fails_and_the_job_ends_with_1(
    tmp_path: Path, postgres: Postgres, schema: str
) -> None:
    """Each night has a folder of its own, like a container, and STATE is in PostgreSQL."""

    def meltano(*arguments: str, end: str, code: int = 0) -> tuple[str, str]:
        """Return what a command of Meltano's writes to stdout and to stderr."""
        pipeline = Pipeline(tmp_path / "project")
        for part in PARTS:
            (pipeline.folder / part).symlink_to(PROJECT / part)
        span = {"start_date": START, "end_date": end, "lookback_hours": 0}
        environ = variables(settings_of(service, products=PRODUCTS, **span))
        environ |= into_postgres(postgres, schema)
        environ |= {"MELTANO_DATABASE_URI": postgres.url, "DBT_SCHEMA": MARTS}
        done = ended(MELTANO, *arguments, code=code, folder=pipeline.folder, environ=environ)
        return done.stdout, done.stderr

    def kept() -> dict[str, str]:
        """Return the bookmarks in the STATE that the target has passed on."""
        got, _ = meltano("state", "get", STATE_ID, end=SECOND_END)
        return bookmarks(json.loads(got)["singer_state"])

    def modelled() -> dict[str, int]:
        """Return the number of events of each product that the marts hold."""
        counted = "select product, events from barchart__product_overview"
        return {row["product"]: row["events"] for row in postgres.rows(counted, schema=MARTS)}

    def events(product: str, end: str) -> int:
        return service.count(CUSTOMER, product, from_iso(START), from_iso(end))

    with Emulator(events_per_hour=20) as service:
        meltano("run", JOB, end=FIRST_END)
        assert modelled() == {product: events(product, FIRST_END) for product in PRODUCTS}

        assert {window.start for window in service.starts} >= {from_iso(START)}
        service.starts.clear()
        row = f"{from_iso(FIRST_END)}|ALERT-CREATED|one\n"
        service.fault("download", "body", times=None, for_product=PRODUCTS[0], body=row)
        _, log = meltano("run", JOB, end=SECOND_END, code=1)
        assert "1 of 2 products failed: ALERT 2026-03-03 00:00 → " in log[-5000:], (
            "the reason is not at the end of the log"
        )
        found = {"ALERT": events("ALERT", FIRST_END), "WATCHLIST": events("WATCHLIST", SECOND_END)}
        assert modelled() == found
        assert min(window.start for window in service.starts) == from_iso(FIRST_END), (
            "STATE is lost"
        )
        ends = {product: from_iso(end) for product, end in kept().items()}
        assert ends == {"ALERT": from_iso(FIRST_END), "WATCHLIST": from_iso(SECOND_END)}
