"""What shards under Dagster learn from each other for sizing windows; without Dagster."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from barchart_events_emulator import Emulator
from demo.environment import clean_environment
from demo.pipeline import Pipeline
from orchestrate import meltano
from orchestrate.shards import ShardPlan
from tests.pipelines.expected_events import milliseconds
from tests.pipelines.pipe import settings_of

if TYPE_CHECKING:
    from pathlib import Path

NIGHTLY = "prod:tap-barchart-events-to-target-jsonl"
HOUR = 3_600_000


def exported(product: str, learnt: str) -> dict[str, Any]:
    """Return a STATE as Meltano exports it."""
    partition = {
        "context": {"customer": "TGAM", "product": product},
        "replication_key_value": "2026-01-01T00:00:00+00:00",
        "learnt": {"types": learnt},
    }
    state = {"bookmarks": {"events": {"partitions": [partition]}}}
    return {"completed": {"singer_state": state}, "partial": {}}


NO_PARTITIONS: list[Any] = [
    None,
    {},
    {"context": None, "learnt": {}},
    {"context": {}, "learnt": {}},
]
DAMAGED: list[Any] = [
    None,
    {"completed": {"singer_state": {}}, "partial": {}},
    {"completed": {"singer_state": {"bookmarks": {"events": {"partitions": 1}}}}},
    *(
        {"completed": {"singer_state": {"bookmarks": {"events": {"partitions": [partition]}}}}}
        for partition in NO_PARTITIONS
    ),
]


@pytest.mark.parametrize(
    ("states", "source"),
    [
        ({"": "nightly", ":A-2026-01": "Jan", ":A-2026-02": "Feb", ":A-2026-04": "Apr"}, "Feb"),
        ({"": "nightly", ":A-2026-04": "Apr"}, "nightly"),
        ({":A-2026-05": "May", ":A-2026-04": "Apr"}, "Apr"),
        ({":A-2026-03": "own", ":A-2026-02": "Feb"}, None),
        ({}, None),
    ],
)
def test_a_shard_without_state_begins_with_what_the_nearest_run_of_its_product_has_learnt(
    states: dict[str, str], source: str | None
) -> None:
    there: dict[str, Any] = {NIGHTLY + end: exported("A", what) for end, what in states.items()}
    others = {
        f"{NIGHTLY}:B-2026-02": exported("B", "another product"),
        "prod:another-tap-to-target-jsonl:A-2026-02": exported("A", "another tap"),
        **{f"{NIGHTLY}:A-2026-02-{n}": state for n, state in enumerate(DAMAGED)},
    }
    own = f"{NIGHTLY}:A-2026-03"
    partition = meltano.learnt_elsewhere(there | others, own, NIGHTLY, "A")
    assert (partition and partition["learnt"]) == (source and {"types": source})
    assert not partition or set(partition) == {"context", "learnt"}, "its bookmark is its own"


def test_a_shard_learns_from_an_earlier_one_how_large_a_window_may_be(tmp_path: Path) -> None:
    end = "2026-03-01T00:00:00+00:00"
    now = milliseconds(end)
    with Emulator(
        events_per_hour=5, max_events=100, clock=lambda: now, date_header=False, job_seconds=0.05
    ) as emulator:
        pipeline = Pipeline(tmp_path / "project")
        tap = settings_of(emulator, products='["WATCHLIST"]', start_date="2026-01-01T00:00:00Z")
        environ = clean_environment(
            **{f"TAP_BARCHART_EVENTS_{name.upper()}": str(tap[name]) for name in tap},
            TARGET_JSONL_DESTINATION_PATH=str(tmp_path),
            MELTANO_PROJECT_ROOT=str(pipeline.folder),
            ORCHESTRATE_HANDOVER="2026-03",
        )
        plan = ShardPlan.from_environment(environ)
        first_sizes, events = [], []
        for month in (date(2026, 1, 1), date(2026, 2, 1)):
            shard = plan.shard("WATCHLIST", month)
            events.append(meltano.run(shard, loader="target-jsonl", environ=environ))
            begin = milliseconds(f"{month}T00:00:00+00:00")
            first_sizes.append(
                max(window.end - begin for window in emulator.starts if window.start == begin)
            )
        assert events == [
            emulator.count(tap["customer"], "WATCHLIST", milliseconds(start), milliseconds(until))
            for start, until in (
                ("2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00"),
                ("2026-02-01T00:00:00+00:00", end),
            )
        ]
    assert first_sizes[0] == 24 * HOUR, "nothing was known"
    assert first_sizes[1] != 24 * HOUR, "the first export was too large, so a limit was known"
