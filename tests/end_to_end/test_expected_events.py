"""Exactly the expected events, whatever the files look like and however windows are cut."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barchart_events_emulator import Emulator, Event
from barchart_events_emulator.files import HEADER_STYLES
from tap_barchart_events.windows import from_iso, to_iso
from tests.expected_events import arrived, expected_events, identified
from tests.tap_runs import START, Outcome, bookmarks, output_mode, settings_of, sync

if TYPE_CHECKING:
    from collections.abc import Iterator

MINUTE = 60_000
FIRST = from_iso(START)

BODIES: tuple[tuple[str, dict[str, str]], ...] = (
    ("WATCHLIST-SYMBOL-ADDED", {"userId": "u1", "watchlistId": "w1", "symbol": "ZCZ26"}),
    ("WATCHLIST-CREATED", {"userId": "u1", "watchlistId": "w2"}),
    ("WATCHLIST-ACCESSED", {"userId": "ünï ☃", "watchlistId": "w1"}),
    ("WATCHLIST-APPLICATION-LOADED", {}),
)

CHECKS = [HealthCheck.too_slow]


@pytest.fixture(scope="module")
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=0.005) as emulator:
        yield emulator


def all_records(outcome: Outcome) -> list[dict[str, Any]]:
    """Return the records of all RECORD messages, or of all files that BATCH messages name."""
    records = list(outcome.records)
    for message in outcome.messages:
        if message["type"] == "BATCH":
            for path in message["manifest"]:
                data = gzip.decompress(Path(path.removeprefix("file://")).read_bytes())
                records += [json.loads(line) for line in data.splitlines()]
    return records


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """Draw events around the edges of windows, a service, and how the tap is to read it."""
    window = draw(st.sampled_from([MINUTE, 7 * MINUTE, 77_777, 5_000, 250]))
    length = draw(st.integers(1, 7 * window))
    edges = st.builds(
        lambda number, beside: min(number * window, length) + beside,
        st.integers(0, 7),
        st.sampled_from([-1, 0, 1]),
    )
    offsets = draw(st.lists(st.one_of(edges, st.integers(-3, length + 3)), max_size=40))
    bodies = draw(st.lists(st.integers(0, 3), min_size=len(offsets), max_size=len(offsets)))
    events = [
        Event(FIRST + at, *BODIES[body]) for at, body in sorted(zip(offsets, bodies, strict=True))
    ]
    # A window of one millisecond holds, with an inclusive end, the events of two.
    crowd = Counter(event.timestamp for event in events)
    smallest = max((crowd[at] + crowd[at + 1] for at in crowd), default=0)
    header = draw(st.booleans())
    return {
        "events": events,
        "window": window,
        "length": length,
        "way": draw(st.sampled_from(["bulk", "one by one", "files"])),
        "options": {
            "max_events": draw(st.none() | st.integers(smallest, smallest + 5)),
            "end_inclusive": draw(st.booleans()),
            "header": header,
            "header_style": draw(st.sampled_from(list(HEADER_STYLES))),
            "shuffled_columns": header and draw(st.booleans()),
            "time_order": draw(st.booleans()),
            "quoting": draw(st.sampled_from(["none", "minimal", "all"])),
            "newline": draw(st.sampled_from(["\n", "\r\n"])),
            "last_newline": draw(st.booleans()),
            "content_length": draw(st.booleans()),
            "complete_status": draw(st.sampled_from(["COMPLETE", "COMPLETED"])),
            "numbers_as_strings": draw(st.booleans()),
        },
        "more": {
            "max_concurrent_jobs": draw(st.integers(1, 5)),
            "delimiter": draw(st.sampled_from(["|", ";", "\t"])),
        },
    }


@given(cases())
@settings(max_examples=40, deadline=None, suppress_health_check=CHECKS)
def test_the_events_are_the_services_in_every_mix_with_the_same_ids(
    service: Emulator, tmp_path_factory: pytest.TempPathFactory, case: dict[str, Any]
) -> None:
    for name, value in case["options"].items():
        setattr(service, name, value)
    service.source = lambda *_: case["events"]
    end = FIRST + case["length"]
    outcome = sync(
        settings_of(
            service,
            end_date=to_iso(end),
            window_hours=case["window"] / 3_600_000,
            min_window_seconds=0.001,
            **case["more"],
            **output_mode(case["way"], tmp_path_factory.mktemp("batches"), batch_size=7),
        )
    )
    assert outcome.error is None
    inside = [event for event in case["events"] if FIRST <= event.timestamp < end]
    assert arrived(all_records(outcome)) == dict(identified("WATCHLIST", inside))
    assert outcome.bookmarks == {"WATCHLIST": to_iso(end)}


@pytest.mark.parametrize("way", ["bulk", "one by one", "files"])
@pytest.mark.parametrize("inclusive", [False, True])
def test_splits_down_to_seconds_with_empty_halves_change_nothing(
    service: Emulator, tmp_path: Path, way: str, *, inclusive: bool
) -> None:
    # A burst at the very end: the first halves are empty, again and again.
    burst = [Event(FIRST + 14_399_000 + at, *BODIES[at % 4]) for at in range(990)]
    burst += [Event(FIRST, *BODIES[0]), Event(FIRST + 1, *BODIES[0])]
    service.source = lambda *_: burst
    service.max_events, service.end_inclusive = 300, inclusive
    service.header = service.shuffled_columns = False
    outcome = sync(
        settings_of(
            service,
            window_hours=4,
            min_window_seconds=0.1,
            **output_mode(way, tmp_path, batch_size=7),
        )
    )
    assert outcome.error is None
    assert arrived(all_records(outcome)) == dict(identified("WATCHLIST", burst))
    ends = [bookmarks(state).get("WATCHLIST", "") for state in outcome.states]
    assert ends == sorted(ends), "the bookmark never goes back"
    assert len(set(ends)) >= 10, "an empty half, too, is a window of its own"


def test_event_types_are_the_services_business(service: Emulator) -> None:
    service.source = None
    service.max_events = None
    service.events_per_hour = 100
    types = ["WATCHLIST-CREATED", "WATCHLIST-DELETED"]
    configured = settings_of(service, event_types=types)
    outcome = sync(configured)
    expected = expected_events(
        service, ["WATCHLIST"], configured["start_date"], configured["end_date"], types
    )
    assert arrived(outcome.records) == expected
    assert {record["type"] for record in outcome.records} <= set(types)


def test_all_products_come_at_once_each_with_its_own_events(service: Emulator) -> None:
    service.source = None
    service.max_events = 60
    service.events_per_hour = 100
    products = ["WATCHLIST", "ALERT", "CMDTYVIEW", "BARCHART-EXCEL"]
    configured = settings_of(service, products=products, max_concurrent_jobs=3)
    outcome = sync(configured)
    expected = expected_events(service, products, configured["start_date"], configured["end_date"])
    assert outcome.error is None
    assert arrived(outcome.records) == expected
    assert set(outcome.bookmarks) == set(products)
