"""The real command, ended at random messages and resumed: all events come, and no job twice.

What the target holds in the end is what the emulator has. The emulator has started one job a
window, and one more for each job that a STATE could not yet name, or that was too large.

Each test prints the seed that it used; the environment variable ``CRASH_SEED`` gives one.
"""

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from barchart_events_emulator import Emulator
from tap_barchart_events.windows import from_iso
from tests.expected_events import EventValues, expected_events, values_of
from tests.tap_runs import (
    MODES,
    START,
    Outcome,
    Tap,
    bookmarks,
    is_quiet,
    output_mode,
    partitions,
    seeded,
    settings_of,
)

SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
BATCH_SIZE = 1500
EMULATOR = {"events_per_hour": 11_000}
"""More events in a window than the 10,000 after which the SDK would write a STATE."""
SOAK_SECONDS = 600


def claimed(state: Any, expected: Mapping[str, EventValues]) -> set[str]:
    """Return the keys of all events before the bookmarks of a STATE."""
    ends = {product: from_iso(end) for product, end in bookmarks(state).items()}
    return {
        key
        for key, values in expected.items()
        if values["timestamp"] < ends.get(values["product"], 0)
    }


@dataclass
class Target:
    """Holds records by their key, and STATE, as a target would, and checks all that comes."""

    expected: dict[str, EventValues]
    held: dict[str, EventValues] = field(default_factory=dict)
    state: dict[str, Any] | None = None

    def take(self, line: bytes) -> None:
        """Take one message; what a STATE claims must be here, and no bookmark may go back."""
        message = json.loads(line)
        for record in Outcome([message]).records:
            values = values_of(record)
            held = self.held.setdefault(record["event_id"], values)
            assert held == values, "another event, same key"
        if message["type"] == "STATE":
            state = message["value"]
            for product, bookmark in bookmarks(self.state).items():
                assert bookmarks(state)[product] >= bookmark, "the bookmark went back"
            missing = claimed(state, self.expected) - self.held.keys()
            assert missing == set(), f"STATE claims {len(missing)} events that have not come"
            self.state = state


def run_and_kill(
    tap: Tap,
    target: Target,
    after: int,
    number: int | None,
    *,
    torn_off: bool,
    may_fail: bool = False,
) -> int:
    """Let the target take messages, kill the tap after so many; return how many there were.

    Args:
        tap: The command.
        target: Takes its messages.
        after: How many messages to let through.
        number: The signal; none lets it run to its end.
        torn_off: Whether what is still in the pipe is lost, as if the target had died, too.
        may_fail: Whether the sync may end in an error by itself.
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
        assert code in {0, int(may_fail)}, log[-3000:]
    if number != signal.SIGKILL:
        assert tap.left_behind == []
    return taken


@dataclass
class Jobs:
    """The jobs that the service has started for one pipeline, and those that it lost sight of."""

    service: Emulator
    lost: set[str] = field(default_factory=set)

    @staticmethod
    def named(state: dict[str, Any] | None) -> set[str]:
        """Return the jobs that a STATE names."""
        return {job[0] for held in partitions(state) for job in held.get("jobs", [])}

    def lose(self, state: dict[str, Any] | None) -> set[str]:
        """Return the jobs of unfinished windows that no later run can know, by a new STATE."""
        known = self.named(state)
        ends = {product: from_iso(at) for product, at in bookmarks(state).items()}
        new = {
            job.source
            for job in self.service.jobs
            if job.source not in known | self.lost
            and job.end > ends.get(job.filter["product"], 0)
            and not job.too_large
        }
        self.lost |= new
        return new

    def check(self) -> None:
        """Check that each window had one job, and one more for each that was lost or too large."""
        most: Counter[tuple[str, int, int]] = Counter()
        counts: Counter[tuple[str, int, int]] = Counter()
        for job in self.service.jobs:
            window = job.filter["product"], job.start, job.end
            counts[window] += 1
            most[window] += job.source in self.lost or job.too_large
        twice = {window: n for window, n in counts.items() if n > 1 + most[window]}
        assert twice == {}, "jobs that were started though a STATE named them"


def crash_again_and_again(
    service: Emulator,
    folder: Path,
    settings: Mapping[str, Any],
    rng: random.Random,
    rounds: int,
    *,
    have_faults: bool = False,
) -> None:
    """End the tap at random messages, resume each time, and run to the end at last.

    Args:
        service: The service.
        folder: Where files go.
        settings: The configuration.
        rng: Says when and how it ends.
        rounds: How often.
        have_faults: Whether jobs fail or windows are read again by design: starts are not counted.
    """
    products, end = settings["products"], settings["end_date"]
    expected = expected_events(service, products, START, end)
    service.jobs.clear()
    target, jobs = Target(expected), Jobs(service)
    messages = len(expected)
    if "batch_config" in settings:
        messages = 2 * (messages // settings["batch_config"]["batch_size"] + 6)
    for turn in range(rounds + 1):
        # None: it ends by itself, in an error if it is not the last run.
        number = rng.choice([*SIGNALS, None]) if turn < rounds else None
        fails = number is None and turn < rounds and not have_faults
        if fails:
            service.fault("start", "status", code=404, after=rng.randrange(3), times=None)
        after = rng.choice([0, 1, 2, rng.randrange(messages), rng.randrange(messages)])
        torn_off = rng.random() < 0.3
        in_state = jobs.named(target.state)
        tap = Tap(folder, settings, target.state)
        run_and_kill(tap, target, after, number, torn_off=torn_off, may_fail=fails)
        lost = jobs.lose(target.state)
        if not have_faults:
            service.clear_faults()
            assert not lost & in_state, "jobs that an earlier STATE named"
            if number != signal.SIGKILL and not (number and torn_off):
                assert not lost, f"jobs that no STATE named after {number}"
    assert target.held == expected
    if not have_faults:
        jobs.check()


@pytest.mark.parametrize("mode", MODES)
def test_killed_at_random_messages_and_resumed_the_target_holds_the_expected_events(
    service: Emulator, tmp_path: Path, request: pytest.FixtureRequest, mode: str
) -> None:
    rng = seeded(request)
    settings = settings_of(
        service,
        products=["WATCHLIST", "ALERT"],
        end_date="2026-03-02T01:20Z",
        **output_mode(mode, tmp_path, BATCH_SIZE),
    )
    crash_again_and_again(service, tmp_path, settings, rng, rounds=5)


@pytest.mark.soak
def test_ten_minutes_of_crashes(
    service: Emulator, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rng = seeded(request)
    until = time.monotonic() + SOAK_SECONDS
    turns = 0
    while time.monotonic() < until:
        turns += 1
        folder = tmp_path / str(turns)
        folder.mkdir()
        service.clear_faults()
        have_faults = rng.random() < 0.5
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
            lookback_hours=0.5 if have_faults else 0,
        )
        service.max_events = rng.choice([None, 4000])
        for call, kind in (("poll", "forget"), ("download", "cut"), ("link", "drop")):
            if have_faults and rng.random() < 0.5:
                # One window may meet them all, and no more than three new jobs are started for it.
                service.fault(call, kind, times=3, after=rng.randrange(9), every=4)
        crash_again_and_again(
            service, folder, settings, rng, rng.randint(1, 8), have_faults=have_faults
        )
    print(f"{turns} pipelines were crashed and resumed")  # noqa: T201 - what `make soak` shows
    assert turns > 0
