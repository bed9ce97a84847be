"""The real command, killed at random messages and resumed: the target holds all expected events.

Each test prints the seed that it used; the environment variable ``CRASH_SEED`` gives one.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from barchart_events_emulator import Emulator
from tap_barchart_events.windows import from_iso
from tests.expected_events import EventValues, expected_events, values_of
from tests.tap_runs import START, Tap, bookmarks, is_quiet, output_mode, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MODES = ["bulk", "one by one", "files"]
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
BATCH_SIZE = 1500
SOAK_SECONDS = 600


def seed_of(request: pytest.FixtureRequest) -> int:
    """Return a new seed, or the one asked for, and print it."""
    seed = int(os.environ.get("CRASH_SEED") or random.SystemRandom().randrange(10**9))
    print(f"CRASH_SEED={seed} {request.node.name}")  # noqa: T201 - to be able to do it again
    return seed


@dataclass
class Target:
    """Holds records by their key, and STATE, as a target would; believes nothing."""

    expected: dict[str, EventValues]
    held: dict[str, EventValues] = field(default_factory=dict)
    state: dict[str, Any] | None = None

    def take(self, line: bytes) -> None:
        """Take one message."""
        message = json.loads(line)
        if message["type"] == "RECORD":
            self._hold(message["record"])
        elif message["type"] == "BATCH":
            for path in message["manifest"]:
                data = gzip.decompress(Path(path.removeprefix("file://")).read_bytes())
                for row in data.splitlines():
                    self._hold(json.loads(row))
        elif message["type"] == "STATE":
            self._believe(message["value"])

    def _hold(self, record: dict[str, Any]) -> None:
        values = values_of(record)
        assert self.held.setdefault(record["event_id"], values) == values, "another event, same key"

    def _believe(self, state: dict[str, Any]) -> None:
        """Take a STATE; all that it claims must be here, and it must not go back."""
        before, after = bookmarks(self.state), bookmarks(state)
        for product, bookmark in before.items():
            assert after[product] >= bookmark, "the bookmark went back"
        claimed = {product: from_iso(bookmark) for product, bookmark in after.items()}
        missing = [
            key
            for key, values in self.expected.items()
            if values["timestamp"] < claimed.get(values["product"], 0) and key not in self.held
        ]
        assert missing == [], f"STATE claims {len(missing)} events that have not come"
        self.state = state


def run_and_kill(
    tap: Tap, target: Target, after: int, number: int | None, *, torn_off: bool
) -> int:
    """Let the target take messages, kill the tap after so many; return how many there were.

    Args:
        tap: The command.
        target: Takes its messages.
        after: How many messages to let through.
        number: The signal; none lets it run to its end.
        torn_off: Whether what is still in the pipe is lost, as if the target had died, too.
    """
    stdout = tap.process.stdout
    assert stdout
    for taken in count():
        if number is not None and taken == after:
            tap.process.send_signal(number)
            if torn_off:
                break
        line = stdout.readline()
        if not line.endswith(b"\n"):
            assert line == b"" or number == signal.SIGKILL, f"a torn line: {line[-100:]!r}"
            break
        target.take(line)
    stdout.close()
    code = tap.process.wait(60)
    log = tap.log.read_text(encoding="utf-8")
    assert is_quiet(log), log[-3000:]
    if number is None:
        assert code == 0, log[-3000:]
    if number != signal.SIGKILL:
        assert tap.left_behind == []
    return taken


def crash_again_and_again(
    folder: Path,
    settings: Mapping[str, Any],
    expected: dict[str, EventValues],
    rng: random.Random,
    rounds: int,
) -> None:
    """Kill the tap at random messages, resume each time, and run to the end at last."""
    target = Target(expected)
    messages = len(expected)
    if "batch_config" in settings:
        messages = 2 * (messages // settings["batch_config"]["batch_size"] + 6)
    for turn in range(rounds + 1):
        tap = Tap(folder, settings, target.state)
        number = rng.choice(SIGNALS) if turn < rounds else None
        after = rng.choice([0, 1, 2, rng.randrange(messages), rng.randrange(messages)])
        run_and_kill(tap, target, after, number, torn_off=rng.random() < 0.3)
    assert target.held == expected


@pytest.fixture(scope="module")
def service() -> Iterator[Emulator]:
    # More events in a window than the 10,000 after which the SDK would write a STATE.
    with Emulator(job_seconds=0.02, events_per_hour=11_000) as emulator:
        yield emulator


@pytest.mark.parametrize("mode", MODES)
def test_killed_at_random_messages_and_resumed_the_target_holds_the_expected_events(
    service: Emulator, tmp_path: Path, request: pytest.FixtureRequest, mode: str
) -> None:
    rng = random.Random(seed_of(request))  # noqa: S311 - seeded on purpose
    settings = settings_of(
        service,
        products=["WATCHLIST", "ALERT"],
        end_date="2026-03-02T01:20Z",
        **output_mode(mode, tmp_path, BATCH_SIZE),
    )
    expected = expected_events(service, settings["products"], START, settings["end_date"])
    assert len(expected) > 20_000
    crash_again_and_again(tmp_path, settings, expected, rng, rounds=5)


@pytest.mark.soak
def test_ten_minutes_of_crashes(
    service: Emulator, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rng = random.Random(seed_of(request))  # noqa: S311 - seeded on purpose
    until = time.monotonic() + SOAK_SECONDS
    turns = 0
    while time.monotonic() < until:
        turns += 1
        folder = tmp_path / str(turns)
        folder.mkdir()
        service.clear_faults()
        service.events_per_hour = rng.choice([20, 500, 11_000])
        service.header, service.time_order = rng.random() < 0.5, rng.random() < 0.5
        service.end_inclusive = rng.random() < 0.5
        settings = settings_of(
            service,
            **output_mode(rng.choice(MODES), folder, BATCH_SIZE),
            products=rng.sample(["WATCHLIST", "ALERT", "CMDTYVIEW"], rng.randint(1, 3)),
            end_date=rng.choice(["2026-03-02T02:30Z", "2026-03-02T04:00Z"]),
            window_hours=rng.choice([0.3, 1, 5]),
            max_concurrent_jobs=rng.randint(1, 4),
            lookback_hours=rng.choice([0, 0.5]),
        )
        service.max_events = rng.choice([None, 4000])
        for call, kind in (("poll", "forget"), ("download", "cut"), ("link", "drop")):
            if rng.random() < 0.3:
                # One window may meet them all, and no more than three new jobs are started for it.
                service.fault(call, kind, times=3, after=rng.randrange(9), every=4)
        expected = expected_events(service, settings["products"], START, settings["end_date"])
        crash_again_and_again(folder, settings, expected, rng, rounds=rng.randint(1, 8))
    print(f"{turns} pipelines were crashed and resumed")  # noqa: T201 - what `make soak` shows
    assert turns > 0
