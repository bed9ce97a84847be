"""Exporters of an emulator's files, and doubles of files whose content does not matter."""

import itertools
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from barchart_events_emulator import Emulator
from tap_barchart_events.api.client import ReportsClient
from tap_barchart_events.api.http import RetryPolicy
from tap_barchart_events.exceptions import BarchartEventsError, TransientError
from tap_barchart_events.exports.exporter import Exporter
from tap_barchart_events.exports.jobs import Export, JobPolicy, Scheduler
from tap_barchart_events.exports.planner import WindowPlanner
from tap_barchart_events.exports.saved_jobs import Request
from tap_barchart_events.files.export_file import ExportFile
from tap_barchart_events.windows import Window

HOUR = 3_600_000
START = 492_000 * HOUR
REQUEST = Request("TGAM", (), "|")

QUICK = JobPolicy(
    poll_interval=0.02,
    starts=RetryPolicy(attempts=4, wait_initial=0.01),
    waits=(0.01, 0.01, 0.01),
    forgotten_grace=0,
    forgotten_timeout=60,
    job_seconds_max=1,
)


@pytest.fixture
def untraced() -> Iterator[None]:
    """Count no lines for the coverage, which takes three times as long as what is computed.

    The mark `no_cover` has no effect in a worker of xdist: pytest-cov 7.1 has begun twice there.
    """
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


def checked_file(events_by_hour: Mapping[int, int]) -> ExportFile:
    """Return a checked file with such events."""
    contents = SimpleNamespace(events_by_hour=events_by_hour)
    doubles = dict.fromkeys(("check", "interrupt"), lambda: None)
    return cast("ExportFile", SimpleNamespace(contents=contents, **doubles))


def counted_file(export: Export) -> ExportFile:
    """Return a file whose rows are counted by hour, and not checked at all."""
    stamps = (line.partition(b"|")[0] for line in export.path.read_bytes().splitlines())
    return checked_file(Counter(int(stamp) // HOUR for stamp in stamps if stamp.isdigit()))


def too_many_jobs(retry_after: float | None) -> TransientError:
    """Return the service's answer to a start while no further job may run."""
    refusal = TransientError("429", retry_after)
    refusal.status = 429
    return refusal


def scheduler_of(
    spans: Mapping[str, Window],
    policy: JobPolicy,
    *,
    largest: int = HOUR,
    unix_time: float = 0.0,
    rng: random.Random | None = None,
) -> Scheduler:
    """Return a scheduler of products with such ranges, whose files are doubles."""
    jobs = policy.max_concurrent_jobs
    plans = {
        product: WindowPlanner(span, largest=largest, smallest=1000, jobs=jobs)
        for product, span in spans.items()
    }
    rng = rng or random.Random(0)  # noqa: S311 - seeded on purpose
    return Scheduler(plans, REQUEST, policy, Path("no", "such", "folder"), unix_time, rng)


@dataclass
class Result:
    """What came out."""

    windows: dict[str, list[Window]] = field(default_factory=dict)
    contents: dict[str, list[bytes]] = field(default_factory=dict)
    error: Exception | None = None

    def covered(self, product: str = "WATCHLIST") -> Window:
        """Return what the windows of a product cover, without gap or overlap."""
        windows = self.windows[product]
        assert all(a.end == b.start for a, b in itertools.pairwise(windows)), "gap or overlap"
        return Window(windows[0].start, windows[-1].end)


@pytest.fixture
def make(service: Emulator, tmp_path: Path) -> Iterator[Callable[..., Exporter]]:
    made = []

    def build(
        products: tuple[str, ...] = ("WATCHLIST",),
        *,
        hours: float = 6,
        window: int = HOUR,
        smallest: int = 1000,
        jobs: int = 4,
        job_timeout: float = 60,
    ) -> Exporter:
        covered = Window(START, START + round(hours * HOUR))
        client = ReportsClient(
            service.api_url,
            service.username,
            service.password,
            timeout=5,
            retry=RetryPolicy(attempts=4, wait_initial=0.01),
        )
        plans = {
            product: WindowPlanner(covered, largest=window, smallest=smallest, jobs=jobs)
            for product in products
        }
        used = replace(QUICK, max_concurrent_jobs=jobs, job_timeout=job_timeout)
        scheduler = Scheduler(plans, REQUEST, used, tmp_path, time.time() - time.monotonic())
        exports = Exporter(client, scheduler, counted_file)
        made.append((exports, client))
        return exports

    yield build
    for exports, client in made:
        exports.close()
        client.close()


def read(
    exports: Exporter,
    products: tuple[str, ...] = ("WATCHLIST",),
    *,
    between: Callable[[], object] = lambda: None,
) -> Result:
    """Read everything, in a thread, so that a deadlock fails the test and does not hang it."""
    result = Result()

    def work() -> None:
        try:
            for product in products:
                result.windows[product] = []
                result.contents[product] = []
                for export in exports.of(product):
                    if export.error:
                        raise export.error
                    result.windows[product].append(export.window)
                    result.contents[product].append(export.path.read_bytes())
                    between()
                    exports.emitted(export)
        except BarchartEventsError as error:
            result.error = error

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "deadlock"
    return result
