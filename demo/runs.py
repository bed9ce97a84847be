"""Two runs of `meltano run` over the emulator's twelve weeks, as both demos make them.

Customer, products and start date are those of the environment `demo` in meltano.yml.
"""

import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import yaml

from barchart_events_emulator import Emulator
from demo.pipeline import PROJECT, Pipeline
from tap_barchart_events.windows import to_milliseconds

OUTPUT = PROJECT / "output"

# The emulator's time when a demo begins. A run ends 15 minutes before its time: that is the
# default of lag_minutes.
NOW = datetime(2026, 3, 5, 15, 15, tzinfo=timezone.utc)
LATER = timedelta(hours=1)
ENDS = (NOW - timedelta(minutes=15), NOW - timedelta(minutes=15) + LATER)

EMULATOR: dict[str, Any] = {
    "population": "users",
    "events_per_hour": 6,
    "job_seconds": 0.2,
    "clock": lambda: to_milliseconds(NOW),
    # The tap would warn of the emulator's clock, which is in another month than the machine's.
    "date_header": False,
}

Counts = Mapping[str, tuple[int, int]]
"""For each product, the rows that a target holds and how many different keys they have."""


def twice(
    pipeline: Pipeline, *blocks: str, settings: Mapping[str, str], loaded: Callable[[], Counts]
) -> bool:
    """Run twice, an hour apart, and compare after each run what was loaded.

    Args:
        pipeline: Runs the blocks.
        blocks: Plugins: the tap, a target, and what else.
        settings: Environment variables for the target, and more for the tap.
        loaded: Counts what the target holds.

    Returns:
        Whether the target held the events of the service, each once, after both runs.
    """
    matches = True
    with Emulator(**EMULATOR) as service:
        print(f"The emulator: {service.api_url} · its time is {NOW:%Y-%m-%d %H:%M} UTC")
        for end in ENDS:
            print(f"\nmeltano run {' '.join(blocks)}, up to {end:%Y-%m-%d %H:%M} UTC", flush=True)
            began = time.monotonic()
            environ = {
                "TAP_BARCHART_EVENTS_API_URL": service.api_url,
                "TAP_BARCHART_EVENTS_USERNAME": service.username,
                "TAP_BARCHART_EVENTS_PASSWORD": service.password,
                "TAP_BARCHART_EVENTS_END_DATE": end.isoformat(),
                **settings,
            }
            pipeline.run(*blocks, settings=environ, on_line=_show_window)
            print(f"  {time.monotonic() - began:.1f} s")
            matches &= _compare(service, loaded(), end)
            service.advance(hours=LATER.total_seconds() / 3600)
    return matches


def _compare(service: Emulator, loaded: Counts, end: datetime) -> bool:
    """Print loaded and expected events of each product; return whether they match."""
    project = yaml.safe_load((PROJECT / "meltano.yml").read_text(encoding="utf-8"))
    (demo,) = [e for e in project["environments"] if e["name"] == "demo"]
    (tap,) = (plugin["config"] for plugin in demo["config"]["plugins"]["extractors"])
    span = to_milliseconds(datetime.fromisoformat(tap["start_date"][:-1] + "+00:00"))
    until = to_milliseconds(end)
    print(f"\n  {'product':<12}{'rows':>9}{'event_ids':>11}{'expected':>10}")
    matches = set(loaded) == set(tap["products"])
    for product in tap["products"]:
        expected = service.count(tap["customer"], product, span, until)
        rows, keys = loaded.get(product, (0, 0))
        print(f"  {product:<12}{rows:>9,}{keys:>11,}{expected:>10,}")
        matches &= rows == keys == expected
    return matches


def _show_window(line: str) -> None:
    """Show the tap's line on a finished window; all else is in the log."""
    if found := re.search(r"\S+/\S+ \d{4}-\d\d-\d\d .* → .*", line):
        print(f"  {found[0]}", flush=True)
