"""`python -m demo`: two runs of `meltano run` against the emulator, and what arrived, checked."""

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

from demo.command import run
from demo.picture import draw
from demo.pipeline import PROJECT, Pipeline, PipelineError, process
from demo.summary import read_back
from tap_barchart_events.windows import to_milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

OUTPUT = PROJECT / "output"
FOLDER = OUTPUT / "demo"
PICTURE = OUTPUT / "events-per-hour.png"
STATE_ID = "demo:tap-barchart-events-to-target-jsonl"

# The emulator's time when the demo begins. The tap reads up to 15 minutes before it, as it would
# do by itself with its default lag if this were the present.
NOW = datetime(2026, 3, 5, 15, 15, tzinfo=timezone.utc)
LAG = timedelta(minutes=15)
LATER_HOURS = 1

EMULATOR = (
    "--seed=7",
    "--events-per-hour=50",
    "--job-seconds=0.5",
    "--username=demo",
    "--password=demo",
    # Its clock stands in another month than this machine's: it does not tell its time.
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
    with process(
        [sys.executable, "-m", "barchart_events_emulator", *EMULATOR],
        stdout=subprocess.PIPE,
        text=True,
    ) as emulator:
        assert emulator.stdout is not None  # noqa: S101 - it was asked for above
        ready = emulator.stdout.readline()
        if not ready:
            raise PipelineError("the emulator did not start")
        service = Service(json.loads(ready)["api_url"])
        print(f"The service, emulated: {service.url} · its time is {NOW:%Y-%m-%d %H:%M} UTC")

        seconds = [_run(pipeline, service, first_end, "first run")]
        target = FOLDER / "events.jsonl"
        brought = [_lines(target)]
        service.advance(LATER_HOURS)
        print(f"\nIn the emulator, {LATER_HOURS} hour passes")
        seconds.append(_run(pipeline, service, second_end, "second run"))
        brought.append(_lines(target) - brought[0])

        customer, products = configured["customer"], configured["products"]
        truth = {p: service.count(customer, p, start, second_end) for p in products}
        new = sum(service.count(customer, p, first_end, second_end) for p in products)

    arrived = read_back(target)
    bookmarks = _bookmarks(pipeline.state(STATE_ID))
    print(f"\nRead back from {_relative(target)}:\n")
    print(
        f"  {'product':<12}{'events':>9}  {'held there':>10}  "
        f"{'first event':<24}{'last event':<24}bookmark"
    )
    matches = set(arrived) == set(truth)
    for product, held in truth.items():
        found = arrived.get(product)
        if found is None:
            print(f"  {product:<12}{0:>9}  {held:>10,}")
            continue
        print(
            f"  {product:<12}{found.rows:>9,}  {held:>10,}  {_time(found.first):<24}"
            f"{_time(found.last):<24}{bookmarks.get(product, 'none')}"
        )
        whole = found.rows == found.distinct == held
        matches &= whole and bookmarks.get(product) == _time(second_end)
    total = sum(found.rows for found in arrived.values())
    distinct = sum(found.distinct for found in arrived.values())
    print(f"\n  {total:,} events, {distinct:,} different event_ids")
    for name, count, took in zip(("first run", "second run"), brought, seconds, strict=True):
        print(f"  {name}: {count:,} events in {took:.1f} s")
    if brought[1] != new:
        print(f"  the second run should have brought {new:,} events")
        matches = False

    draw(
        {product: found.hours for product, found in arrived.items()}, first_end, second_end, PICTURE
    )
    print(f"\nEvents per hour by product: {_relative(PICTURE)}")
    print("All that the service holds has arrived, once." if matches else "THE COUNTS DIFFER.")
    return matches


class Service:
    """The emulator's own doors, which the real service does not have: its clock and its truth."""

    def __init__(self, url: str) -> None:
        """Take the emulator at this URL."""
        self.url = url

    def advance(self, hours: float) -> None:
        """Let time pass in the emulator."""
        answer = requests.post(
            f"{self.url}/emulator/clock", json={"advance_hours": hours}, timeout=10
        )
        answer.raise_for_status()

    def count(self, customer: str, product: str, start: datetime, end: datetime) -> int:
        """Return how many events it holds for the product in `[start, end)`."""
        answer = requests.get(
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
        answer.raise_for_status()
        return int(answer.json()["count"])


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


def _bookmarks(state: Mapping[str, Any]) -> dict[str, str]:
    partitions = state["singer_state"]["bookmarks"]["events"]["partitions"]
    return {
        p["context"]["product"]: _time(
            datetime.fromisoformat(p["replication_key_value"].replace("Z", "+00:00"))
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
