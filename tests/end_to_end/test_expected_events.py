"""Exactly the expected events, whatever the files look like and however windows are cut."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barchart_events_emulator import Emulator, Event
from barchart_events_emulator.files import HEADER_STYLES
from tap_barchart_events.windows import HOUR, from_iso, to_iso
from tests.expected_events import arrived, expected_events, identified
from tests.tap_runs import MODES, START, change, hour, output_mode, settings_of, synced

MINUTE = 60_000
FIRST = from_iso(START)

BODIES: tuple[tuple[str, dict[str, str]], ...] = (
    ("WATCHLIST-SYMBOL-ADDED", {"userId": "u1", "watchlistId": "w1", "symbol": "ZCZ26"}),
    ("WATCHLIST-CREATED", {"userId": "u1", "watchlistId": "w2"}),
    ("WATCHLIST-ACCESSED", {"userId": "ünï ☃", "watchlistId": "w1"}),
    ("WATCHLIST-APPLICATION-LOADED", {}),
)

EMULATOR = {"job_seconds": 0.005, "events_per_hour": 100}


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
        "way": draw(st.sampled_from(MODES)),
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


SLOW_AND_SHARED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@given(cases())
@settings(suppress_health_check=SLOW_AND_SHARED)
def test_the_events_are_the_services_in_every_mix_with_the_same_ids(
    service: Emulator, tmp_path_factory: pytest.TempPathFactory, case: dict[str, Any]
) -> None:
    change(service, **case["options"])
    service.source = lambda *_: case["events"]
    end = FIRST + case["length"]
    outcome = synced(
        settings_of(
            service,
            end_date=to_iso(end),
            window_hours=case["window"] / HOUR,
            min_window_seconds=0.001,
            **case["more"],
            **output_mode(case["way"], tmp_path_factory.mktemp("batches"), batch_size=7),
        )
    )
    inside = [event for event in case["events"] if FIRST <= event.timestamp < end]
    assert arrived(outcome.records) == dict(identified("WATCHLIST", inside))
    assert outcome.bookmarks == {"WATCHLIST": to_iso(end)}


@pytest.mark.parametrize(
    ("way", "inclusive"),
    [("bulk", False), ("bulk", True), ("one by one", False), ("files", True)],
)
def test_splits_down_to_seconds_with_empty_halves_change_nothing(
    service: Emulator, tmp_path: Path, way: str, *, inclusive: bool
) -> None:
    # A burst at the very end: the first halves are empty, again and again.
    burst = [Event(FIRST + 14_399_000 + at, *BODIES[at % 4]) for at in range(990)]
    burst += [Event(FIRST, *BODIES[0]), Event(FIRST + 1, *BODIES[0])]
    service.source = lambda *_: burst
    change(service, max_events=300, end_inclusive=inclusive)
    mode = output_mode(way, tmp_path, batch_size=7)
    outcome = synced(settings_of(service, window_hours=4, min_window_seconds=0.1, **mode))
    assert arrived(outcome.records) == dict(identified("WATCHLIST", burst))
    assert outcome.marks == sorted(outcome.marks), "the bookmark never goes back"
    assert len(set(outcome.marks)) >= 10, "an empty half, too, is a window of its own"


@pytest.mark.parametrize(
    ("products", "more"),
    [
        (["WATCHLIST"], {"event_types": ["WATCHLIST-CREATED", "WATCHLIST-DELETED"]}),
        (["WATCHLIST", "ALERT", "CMDTYVIEW", "BARCHART-EXCEL"], {"max_concurrent_jobs": 3}),
    ],
)
def test_all_products_come_each_with_the_events_of_the_types_asked_for(
    service: Emulator, products: list[str], more: dict[str, Any]
) -> None:
    change(service, max_events=60)
    outcome = synced(settings_of(service, products=products, end_date=hour(2), **more))
    types = more.get("event_types")
    assert arrived(outcome.records) == expected_events(service, products, START, hour(2), types)
    assert set(outcome.bookmarks) == set(products)
    assert types is None or {record["type"] for record in outcome.records} == set(types)
