"""`python -m demo`: two runs of `meltano run` against the emulator, and a report by dbt."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
import yaml

from demo import marts, report
from demo.command import run
from demo.picture import draw
from demo.pipeline import PROJECT, Pipeline, PipelineError, process
from demo.summary import read_back
from tap_barchart_events.windows import to_milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from demo.summary import Arrived

OUTPUT = PROJECT / "output"
FOLDER = OUTPUT / "demo"
PICTURE = OUTPUT / "report.png"
REPORT = OUTPUT / "report.html"
STATE_ID = "demo:tap-barchart-events-to-target-jsonl"

# The emulator's time when the demo begins. The first run ends 15 minutes before it: that is the
# default of lag_minutes.
NOW = datetime(2026, 3, 5, 15, 15, tzinfo=timezone.utc)
LAG = timedelta(minutes=15)
LATER_HOURS = 1

EMULATOR = (
    "--seed=7",
    "--events-per-hour=12",
    "--job-seconds=0.5",
    "--username=demo",
    "--password=demo",
    # The tap would warn of the emulator's clock, which is in another month than the machine's.
    "--no-date-header",
    f"--now={NOW.isoformat()}",
)


def main() -> int:
    """Run the demo and return the exit code."""
    return run(_demo)


def _demo() -> bool:
    configured = _demo_settings()
    start = datetime.fromisoformat(configured["start_date"].replace("Z", "+00:00"))
    first_end, second_end = NOW - LAG, NOW - LAG + timedelta(hours=LATER_HOURS)
    pipeline = Pipeline(FOLDER)
    target = FOLDER / "events.jsonl"
    with process(
        [sys.executable, "-m", "barchart_events_emulator", *EMULATOR],
        stdout=subprocess.PIPE,
        text=True,
    ) as emulator:
        assert emulator.stdout is not None  # noqa: S101 - it is a pipe, see above
        ready = emulator.stdout.readline()
        if not ready:
            raise PipelineError("the emulator did not start")
        service = Service(json.loads(ready)["api_url"])
        print(f"The emulator of the service: {service.url} · its time is {NOW:%Y-%m-%d %H:%M} UTC")

        seconds = [_run(pipeline, service, first_end, "first run")]
        after_first = _bookmarks(pipeline.state(STATE_ID))
        loaded = [_lines(target)]
        service.advance(LATER_HOURS)
        print(f"\nIn the emulator, {LATER_HOURS} hour passes")
        seconds.append(_run(pipeline, service, second_end, "second run"))
        loaded.append(_lines(target) - loaded[0])

        customer, products = configured["customer"], configured["products"]
        expected = {p: service.count(customer, p, start, second_end) for p in products}
        new = sum(service.count(customer, p, first_end, second_end) for p in products)

    arrived = read_back(target)
    bookmarks = _bookmarks(pipeline.state(STATE_ID))
    matches = _compare(target, arrived, expected, bookmarks, second_end)
    for name, count, took in zip(("first run", "second run"), loaded, seconds, strict=True):
        print(f"  {name}: {count:,} events in {took:.1f} s")
    if loaded[1] != new:
        print(f"  the second run should have loaded {new:,} events")
        matches = False
    _report(target, {p: (start, after_first[p], bookmarks[p]) for p in arrived})
    print("\nAll events of the service were loaded, once." if matches else "\nTHE COUNTS DIFFER.")
    print(f"Open {_relative(REPORT)} in a browser. Next: First run, in README.md.")
    return matches


def _compare(
    target: Path,
    arrived: Mapping[str, Arrived],
    expected: Mapping[str, int],
    bookmarks: Mapping[str, datetime],
    end: datetime,
) -> bool:
    """Print loaded and expected events of each product; return whether they match."""
    print(f"\nRead back from {_relative(target)}:\n")
    print(
        f"  {'product':<12}{'events':>9}  {'expected':>9}  "
        f"{'first event':<24}{'last event':<24}bookmark"
    )
    matches = set(arrived) == set(expected)
    for product, count in expected.items():
        found = arrived.get(product)
        if found is None:
            print(f"  {product:<12}{0:>9}  {count:>9,}")
            continue
        bookmark = bookmarks.get(product)
        print(
            f"  {product:<12}{found.rows:>9,}  {count:>9,}  {_time(found.first):<24}"
            f"{_time(found.last):<24}{_time(bookmark) if bookmark else 'none'}"
        )
        matches &= found.rows == found.distinct == count and bookmark == end
    total = sum(found.rows for found in arrived.values())
    distinct = sum(found.distinct for found in arrived.values())
    print(f"\n  {total:,} events, {distinct:,} different event_ids")
    return matches


def _report(target: Path, bookmarks: Mapping[str, tuple[datetime, datetime, datetime]]) -> None:
    """Build the marts with dbt, and draw them."""
    database = FOLDER / "marts.duckdb"
    print("\ndbt build, on DuckDB")
    began = time.monotonic()
    marts.build(target, database)
    built = marts.read(database)
    drawing = FOLDER / "report.svg"
    draw(built, bookmarks, (PICTURE, drawing))
    report.write(built, bookmarks, drawing, REPORT)
    print(f"  models, their tests and the report: {time.monotonic() - began:.1f} s")
    print(f"  {_relative(database)}, {_relative(PICTURE)}, {_relative(REPORT)}")


class Service:
    """The emulator's calls that the real service does not have: its clock and its events."""

    def __init__(self, url: str) -> None:
        """Take the emulator at this URL."""
        self.url = url

    def advance(self, hours: float) -> None:
        """Let time pass in the emulator."""
        response = requests.post(
            f"{self.url}/emulator/clock", json={"advance_hours": hours}, timeout=10
        )
        response.raise_for_status()

    def count(self, customer: str, product: str, start: datetime, end: datetime) -> int:
        """Return how many events it holds for the product in `[start, end)`."""
        response = requests.get(
            f"{self.url}/emulator/events",
            params={
                "customer": customer,
                "product": product,
                "start": str(to_milliseconds(start)),
                "end": str(to_milliseconds(end)),
                "count": "1",
            },
            timeout=60,
        )
        response.raise_for_status()
        return int(response.json()["count"])


def _demo_settings() -> dict[str, Any]:
    project = yaml.safe_load((PROJECT / "meltano.yml").read_text(encoding="utf-8"))
    (demo,) = [e for e in project["environments"] if e["name"] == "demo"]
    (tap,) = demo["config"]["plugins"]["extractors"]
    settings: dict[str, Any] = tap["config"]
    return settings


def _run(pipeline: Pipeline, service: Service, end: datetime, name: str) -> float:
    print(f"\n{name}: meltano run tap-barchart-events target-jsonl, up to {end:%Y-%m-%d %H:%M} UTC")
    began = time.monotonic()
    pipeline.run(
        "tap-barchart-events",
        "target-jsonl",
        settings={
            "TAP_BARCHART_EVENTS_API_URL": service.url,
            "TAP_BARCHART_EVENTS_USERNAME": "demo",
            "TAP_BARCHART_EVENTS_PASSWORD": "demo",
            "TAP_BARCHART_EVENTS_END_DATE": end.isoformat(),
            "TARGET_JSONL_DESTINATION_PATH": str(pipeline.folder),
        },
        on_line=_show_window,
    )
    return time.monotonic() - began


def _show_window(line: str) -> None:
    """Show the tap's line on a finished window; all else is in the log."""
    if found := re.search(r"\S+/\S+ \d{4}-\d\d-\d\d .* → .*", line):
        print(f"  {found[0]}", flush=True)


def _bookmarks(state: Mapping[str, Any]) -> dict[str, datetime]:
    partitions = state["singer_state"]["bookmarks"]["events"]["partitions"]
    return {
        p["context"]["product"]: datetime.fromisoformat(
            p["replication_key_value"].replace("Z", "+00:00")
        )
        for p in partitions
    }


def _lines(file: Path) -> int:
    with file.open("rb") as lines:
        return sum(1 for _ in lines)


def _time(instant: datetime) -> str:
    return f"{instant.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S}"


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    sys.exit(main())
