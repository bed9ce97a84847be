"""Windows in, files out: in order, jobs side by side, splits, and what failing jobs lead to."""

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from barchart_events_emulator import Emulator, Event
from tap_barchart_events.exceptions import ServiceError
from tap_barchart_events.exports.exporter import Exporter
from tap_barchart_events.exports.jobs import Export
from tap_barchart_events.exports.saved_jobs import SavedJob
from tap_barchart_events.files.export_file import ExportFile
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.windows import Window
from tests.exports.conftest import HOUR, START, counted_file, read

MINUTE = 60_000


def busiest(service: Emulator, product: str | None = None, *, after: int = 0) -> int:
    """Return how many jobs, of a product and from an instant on, ran at once at most."""
    jobs = [
        (job.started, job.ended or math.inf)
        for job in service.jobs
        if product in {None, job.filter["product"]} and job.start >= after
    ]
    return max(sum(start <= at < end for start, end in jobs) for at, _ in jobs)


def settled(service: Emulator) -> None:
    """Wait until no more requests are made."""
    seen = -1
    while seen != len(service.requests):
        seen = len(service.requests)
        time.sleep(0.1)


# In order, side by side ----------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_exports_come_in_the_order_of_time_product_by_product(
    service: Emulator, make: Callable[..., Exporter], jobs: int
) -> None:
    products = ("WATCHLIST", "ALERT", "PORTFOLIO")
    service.job_seconds = 0.05
    result = read(make(products, jobs=jobs), products)
    assert list(result.windows) == list(products)
    for product in products:
        assert result.covered(product) == Window(START, START + 6 * HOUR)
        assert len(result.windows[product]) == 6
        assert all(result.contents[product])
    assert busiest(service) == jobs


@pytest.mark.parametrize("jobs", [1, 2, 3, 4])
def test_four_files_for_each_job_wait_on_disk_at_most(
    service: Emulator, make: Callable[..., Exporter], tmp_path: Path, jobs: int
) -> None:
    products = ("WATCHLIST", "ALERT")
    counts = []

    def look() -> None:
        settled(service)
        counts.append(len(list(tmp_path.iterdir())))

    read(make(products, hours=8, jobs=jobs), products, between=look)
    assert max(counts) <= 4 * jobs
    assert counts[0] == 3 * jobs, "the next files are fetched while the first one is read"
    assert busiest(service) <= jobs


# Too large -----------------------------------------------------------------------------------


def evenly(step: int) -> Callable[..., Iterator[Event]]:
    """Return a source with an event each so many milliseconds."""

    def source(_customer: str, _product: str, start: int, end: int) -> Iterator[Event]:
        for at in range(-(-start // step) * step, end, step):
            yield Event(at, "WATCHLIST-CREATED", {"userId": "u"})

    return source


@pytest.mark.parametrize("jobs", [2, 4])
@pytest.mark.parametrize(("windows", "following"), [(1, 8), (24, 1)])
def test_a_split_window_leaves_its_product_as_many_jobs_as_before(
    service: Emulator, make: Callable[..., Exporter], jobs: int, windows: int, following: int
) -> None:
    # While a smaller size is tried, the products that follow get jobs, but not all places.
    products = tuple(PRODUCTS)[: 1 + following]
    first = START + 24 * HOUR // windows
    service.source = lambda c, product, start, end: (
        evenly(10 * MINUTE)(c, product, start, min(end, first)) if product == products[0] else ()
    )
    service.max_events, service.job_seconds = 4, 0.1
    result = read(make(products, hours=24, window=24 * HOUR // windows, jobs=jobs), products)
    assert all(result.covered(p) == Window(START, START + 24 * HOUR) for p in products)
    assert any(job.too_large for job in service.jobs)
    assert busiest(service, products[0], after=START + 12 * HOUR) == jobs


# Jobs that fail ------------------------------------------------------------------------------


def test_jobs_that_were_forgotten_do_not_count_against_those_that_failed(
    service: Emulator, make: Callable[..., Exporter]
) -> None:
    service.fault("poll", "forget", times=4)
    service.fault("start", "job-failed", times=3, after=4)
    assert read(make(hours=1, jobs=1)).error is None
    assert len(service.jobs) == 8


@pytest.mark.parametrize("jobs", [1, 4])
def test_an_error_waits_until_earlier_windows_are_read_and_stops_later_ones(
    service: Emulator, make: Callable[..., Exporter], jobs: int
) -> None:
    service.fault("start", "job-status", after=3)
    result = read(make(hours=24, jobs=jobs))
    assert isinstance(result.error, ServiceError)
    assert "undocumented status 'PAUSED'" in str(result.error)
    failed = next(job for job in service.jobs if job.outcome == "PAUSED")
    windows = result.windows["WATCHLIST"]
    assert [w.end for w in windows[-1:]] == [failed.start] * (failed.start > START)
    assert [w.start for w in windows] == list(range(START, failed.start, HOUR))
    assert len(service.jobs) <= 4 + jobs


def test_a_start_answered_with_a_job_of_an_earlier_run_is_sent_again(
    service: Emulator, make: Callable[..., Exporter]
) -> None:
    first = make(hours=2, jobs=1)
    assert read(first).error is None
    source = service.jobs[0].source
    answer = {"source": source, "status": "COMPLETE"}
    service.fault("start", "shape", value=answer)  # no filter: it might be of any window
    second = make(hours=2, jobs=2)
    second.resume("WATCHLIST", SavedJob(source, Window(START, START + HOUR), 0, "x"))
    second.start_first()  # before the job is polled
    again = read(second)
    assert again.error is None
    assert again.covered() == Window(START, START + 2 * HOUR)
    stamps = [int(content.split(b"|")[0]) for content in again.contents["WATCHLIST"]]
    assert START <= stamps[0] < START + HOUR <= stamps[1]


def test_a_sync_has_no_more_threads_than_calls_whatever_number_of_jobs_may_run(
    service: Emulator, make: Callable[..., Exporter]
) -> None:
    counts = []

    def count() -> None:
        counts.append(sum("(_work)" in thread.name for thread in threading.enumerate()))

    result = read(make(hours=2, jobs=20_000), between=count)
    assert result.covered() == Window(START, START + 2 * HOUR)
    checks = len(result.windows["WATCHLIST"])
    assert 0 < max(counts) <= len(service.requests) + checks


def test_neither_a_check_nor_a_download_that_takes_long_keeps_a_job_from_starting(
    service: Emulator, make: Callable[..., Exporter]
) -> None:
    """The first file is read; then the second is in its check, the third one is downloaded."""
    exports = make(hours=4, jobs=1)
    opened, started = [], threading.Event()

    def open_file(export: Export) -> ExportFile:
        opened.append(export)
        if len(opened) == 2:
            assert started.wait(4), "the fourth job waits for a file"  # no call stalls for 5 s
        return counted_file(export)

    def watch() -> None:
        while len(service.jobs) < 4:
            time.sleep(0.01)
        started.set()

    exports.open_file = open_file
    service.fault("download", "stall", after=2)
    threading.Thread(target=watch, daemon=True).start()
    reader = exports.of("WATCHLIST")
    exports.emitted(next(reader))
    assert next(reader).window == Window(START + HOUR, START + 2 * HOUR)


# The end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["start", "poll", "link", "download"])
def test_closing_does_not_wait_for_a_call_that_hangs(
    service: Emulator, make: Callable[..., Exporter], call: str
) -> None:
    service.fault(call, "stall", times=None)
    exports = make()
    reader = threading.Thread(target=next, args=(exports.of("WATCHLIST"),), daemon=True)
    reader.start()
    while not any(request.call == call for request in service.requests):
        time.sleep(0.01)
    began = time.monotonic()
    exports.close()
    assert time.monotonic() - began < 3, "two seconds, for the response to a start"


# Whatever comes together ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_all_windows_come_whatever_happens_to_their_jobs(
    service: Emulator, make: Callable[..., Exporter], seed: int
) -> None:
    rng = random.Random(seed)  # noqa: S311 - a seeded mess
    service.source = evenly(rng.choice([5 * MINUTE, 17 * MINUTE]))
    service.max_events = rng.choice([None, 3, 10])
    service.job_seconds = rng.choice([0, 0.02])
    faults: list[tuple[str, str, dict[str, Any]]] = [
        ("start", "job-failed", {}),
        ("start", "job-hangs", {}),
        ("start", "job-timeout", {}),
        ("start", "drop", {"acted": True}),
        ("poll", "forget", {}),
        ("poll", "job-timeout", {}),
        ("poll", "status", {"code": 502}),
        ("link", "forget", {}),
        ("link", "link-seconds", {}),
        ("link", "error", {"code": "EVENT_JOB_GET_FAILED_RUNNING"}),
        ("download", "cut", {}),
        ("download", "expire", {"at": 50}),
    ]
    for call, kind, details in rng.sample(faults, 4):
        service.fault(call, kind, after=rng.randrange(9), **details)
    products = ("WATCHLIST", "ALERT")
    exports = make(products, hours=2, jobs=rng.randint(1, 4), job_timeout=0.5)
    result = read(exports, products)
    assert result.error is None, f"seed {seed}"
    for product in products:
        assert result.covered(product) == Window(START, START + 2 * HOUR)
