"""`python -m demo`: two runs of `meltano run` against the emulator, and a report by dbt."""

import re
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import yaml

from barchart_events_emulator import Emulator
from demo import marts, report
from demo.command import run, tap_settings
from demo.pipeline import PROJECT, Pipeline
from tap_barchart_events.windows import to_milliseconds

OUTPUT = PROJECT / "output"
FOLDER = OUTPUT / "demo-meltano"
REPORT = OUTPUT / "report.html"
STATE_ID = "demo:tap-barchart-events-to-target-jsonl"

# The emulator's time when the demo begins. The first run ends 15 minutes before it: that is the
# default of lag_minutes.
NOW = datetime(2026, 3, 5, 15, 15, tzinfo=timezone.utc)
FIRST_END = NOW - timedelta(minutes=15)
LATER_HOURS = 1
SECOND_END = FIRST_END + timedelta(hours=LATER_HOURS)

EMULATOR: dict[str, Any] = {
    "population": "users",
    "events_per_hour": 6,
    "job_seconds": 0.2,
    "clock": lambda: to_milliseconds(NOW),
    # The tap would warn of the emulator's clock, which is in another month than the machine's.
    "date_header": False,
}


def main() -> int:
    """Run the demo and return the exit code."""
    return run(_demo)


def _demo() -> bool:
    configured = _demo_settings()
    start = datetime.fromisoformat(configured["start_date"].replace("Z", "+00:00"))
    pipeline = Pipeline(FOLDER)
    target = FOLDER / "events.jsonl"
    with Emulator(**EMULATOR) as service:
        print(f"The emulator: {service.api_url} · its time is {NOW:%Y-%m-%d %H:%M} UTC")
        first_seconds = _run(pipeline, service, FIRST_END, "first run")
        after_first = _bookmarks(pipeline)
        first = _lines(target)
        service.advance(hours=LATER_HOURS)
        print(f"\nIn the emulator, {LATER_HOURS} hour passes")
        second_seconds = _run(pipeline, service, SECOND_END, "second run")
        second = _lines(target) - first
        expected = _held(service, configured, start)
        new = sum(_held(service, configured, FIRST_END).values())

    bookmarks = _bookmarks(pipeline)
    matches = _compare(target, expected, bookmarks)
    print(f"  first run: {first:,} events in {first_seconds:.1f} s")
    print(f"  second run: {second:,} events in {second_seconds:.1f} s")
    if second != new:
        print(f"  the second run should have loaded {new:,} events")
        matches = False
    _report(target, {p: (after_first[p], bookmarks[p]) for p in bookmarks})
    print("\nAll events of the service were loaded, once." if matches else "\nTHE COUNTS DIFFER.")
    print(f"Open {_relative(REPORT)} in a browser. Next: First run, in README.md.")
    return matches


def _compare(target: Path, expected: Mapping[str, int], bookmarks: Mapping[str, datetime]) -> bool:
    """Print loaded and expected events of each product; return whether they match."""
    with duckdb.connect() as database:
        rows = database.execute(
            """
            SELECT product, count(*), count(DISTINCT event_id),
                min("timestamp"::TIMESTAMP), max("timestamp"::TIMESTAMP)
            FROM read_json($file, format = 'newline_delimited', columns = {
                product: 'VARCHAR', event_id: 'VARCHAR', "timestamp": 'VARCHAR'})
            GROUP BY product ORDER BY product
            """,
            {"file": str(target)},
        ).fetchall()
    print(f"\nRead back from {_relative(target)}:\n")
    head = f"{'first event':<24}{'last event':<24}bookmark"
    print(f"  {'product':<12}{'events':>9}{'event_ids':>11}{'expected':>10}  {head}")
    for product, events, distinct, first, last in rows:
        print(
            f"  {product:<12}{events:>9,}{distinct:>11,}{expected.get(product, 0):>10,}  "
            f"{first:%Y-%m-%d %H:%M:%S}     {last:%Y-%m-%d %H:%M:%S}     "
            f"{bookmarks[product]:%Y-%m-%d %H:%M:%S}"
        )
    print()
    found = {product: (events, distinct) for product, events, distinct, *_ in rows}
    complete = found == {product: (count, count) for product, count in expected.items()}
    return complete and set(bookmarks.values()) == {SECOND_END}


def _held(service: Emulator, configured: Mapping[str, Any], start: datetime) -> dict[str, int]:
    """Return how many events the service holds from an instant on, by product."""
    span = to_milliseconds(start), to_milliseconds(SECOND_END)
    customer = configured["customer"]
    return {product: service.count(customer, product, *span) for product in configured["products"]}


def _report(target: Path, bookmarks: report.Bookmarks) -> None:
    """Build the marts with dbt, and write a report of them."""
    database = FOLDER / "marts.duckdb"
    print("\ndbt build, on DuckDB")
    began = time.monotonic()
    marts.build(target, database)
    report.write(marts.read(database), bookmarks, REPORT)
    print(f"  models, their tests and the report: {time.monotonic() - began:.1f} s")
    print(f"  {_relative(database)}, {_relative(REPORT)}")


def _demo_settings() -> dict[str, Any]:
    project = yaml.safe_load((PROJECT / "meltano.yml").read_text(encoding="utf-8"))
    (demo,) = [e for e in project["environments"] if e["name"] == "demo"]
    (tap,) = demo["config"]["plugins"]["extractors"]
    settings: dict[str, Any] = tap["config"]
    return settings


def _run(pipeline: Pipeline, service: Emulator, end: datetime, name: str) -> float:
    print(f"\n{name}: meltano run tap-barchart-events target-jsonl, up to {end:%Y-%m-%d %H:%M} UTC")
    began = time.monotonic()
    pipeline.run(
        "tap-barchart-events",
        "target-jsonl",
        settings={
            **tap_settings(service, END_DATE=end.isoformat()),
            "TARGET_JSONL_DESTINATION_PATH": str(pipeline.folder),
        },
        on_line=_show_window,
    )
    return time.monotonic() - began


def _show_window(line: str) -> None:
    """Show the tap's line on a finished window; all else is in the log."""
    if found := re.search(r"\S+/\S+ \d{4}-\d\d-\d\d .* → .*", line):
        print(f"  {found[0]}", flush=True)


def _bookmarks(pipeline: Pipeline) -> dict[str, datetime]:
    partitions = pipeline.state(STATE_ID)["singer_state"]["bookmarks"]["events"]["partitions"]
    return {
        p["context"]["product"]: datetime.fromisoformat(p["replication_key_value"])
        for p in partitions
    }


def _lines(file: Path) -> int:
    with file.open("rb") as lines:
        return sum(1 for _ in lines)


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    sys.exit(main())
