"""`python -m demo`: two runs of `meltano run` against the emulator, and a report by dbt."""

import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import duckdb

from barchart_events_emulator.demo import run
from demo import dashboard, marts, report, runs
from demo.pipeline import Pipeline

FOLDER = runs.OUTPUT / "demo-meltano"
REPORT = runs.OUTPUT / "report.html"
STATE_ID = "demo:tap-barchart-events-to-target-jsonl"


def main() -> int:
    """Run the demo and return the exit code."""
    return run(_demo)


def _demo() -> bool:
    pipeline = Pipeline(FOLDER)
    target = FOLDER / "events.jsonl"
    matches = runs.twice(
        pipeline,
        "tap-barchart-events",
        "target-jsonl",
        settings={"TARGET_JSONL_DESTINATION_PATH": str(pipeline.folder)},
        loaded=lambda: _loaded(target),
    )
    database = FOLDER / "marts.duckdb"
    print("\ndbt build, on DuckDB")
    began = time.monotonic()
    marts.build(target, database)
    report.write(marts.read(database), _bookmarks(pipeline), REPORT)
    panels = REPORT.with_name(report.PANELS)
    dashboard.write(dashboard.over_duckdb(database, runs.NOW + runs.LATER), panels)
    print(f"  models, their tests and the report: {time.monotonic() - began:.1f} s")
    print(f"Open {_relative(REPORT)} in a browser. The marts are in {_relative(database)}.")
    print("Next: First run, in README.md.\n")
    return matches


def _loaded(target: Path) -> runs.Counts:
    with duckdb.connect() as database:
        rows = database.execute(
            """
            SELECT product, count(*), count(DISTINCT event_id)
            FROM read_json($file, format = 'newline_delimited', columns = {
                product: 'VARCHAR', event_id: 'VARCHAR'})
            GROUP BY product
            """,
            {"file": str(target)},
        ).fetchall()
    return {product: (events, keys) for product, events, keys in rows}


def _bookmarks(pipeline: Pipeline) -> Mapping[str, datetime]:
    partitions = pipeline.state(STATE_ID)["singer_state"]["bookmarks"]["events"]["partitions"]
    return {
        p["context"]["product"]: datetime.fromisoformat(p["replication_key_value"])
        for p in partitions
    }


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    sys.exit(main())
