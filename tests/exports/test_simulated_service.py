"""Limits and outages of the service on a simulated clock: what they cost, to the second."""

import math
import re
import statistics

import pytest

from tap_barchart_events.exceptions import JobFailedError, ServiceError
from tap_barchart_events.exports.jobs import JobPolicy
from tests.exports.conftest import HOUR
from tests.exports.simulated_service import JOB, SimulatedSync

pytestmark = pytest.mark.usefixtures("untraced")

SEEDS = range(10)
FIRST_OUTAGE = 400.0


def covers_exactly(sync: SimulatedSync) -> bool:
    """Return whether each window came once, in order."""
    starts = [window.start for _, window in sync.emitted]
    return starts == [n * HOUR for n in range(sync.windows)]


@pytest.mark.parametrize("retry_after", [None, 0, 30, JOB / 2, JOB])
def test_a_limit_of_one_with_a_setting_of_four_costs_a_tenth_at_most(
    retry_after: float | None,
) -> None:
    ratios = []
    for seed in SEEDS:
        alone = SimulatedSync(1, seed=seed).run()
        limited = SimulatedSync(4, seed=seed, limit=lambda _: 1, retry_after=retry_after)
        ratios.append(limited.run() / alone)
        assert covers_exactly(limited)
        assert limited.started == limited.windows
        assert 0 < limited.refused <= limited.windows + 1, "one for each job that ends"
    assert statistics.median(ratios) <= 1.02
    assert max(ratios) <= 1.1


@pytest.mark.parametrize("retry_after", [None, 30])
def test_a_limit_of_two_of_eight_is_used_and_not_exceeded(retry_after: float | None) -> None:
    for seed in SEEDS:
        two = SimulatedSync(2, windows=48, seed=seed).run()
        eight = SimulatedSync(8, windows=48, seed=seed, limit=lambda _: 2, retry_after=retry_after)
        assert eight.run() <= 1.1 * two
        assert max(running for _, running, _ in eight.in_flight) == 2
        assert covers_exactly(eight)
        limits = [n for text in eight.logged() for n in re.findall(r"at most (\d) run at", text)]
        assert limits == [*"765432"], "each new limit is logged once"
        assert not any("attempt 2 of" in text for text in eight.logged()), "a refusal is no failure"


def test_a_retry_after_of_a_day_ends_the_sync_when_all_jobs_in_flight_are_emitted() -> None:
    sync = SimulatedSync(4, limit=lambda _: 2, retry_after=86_400)
    with pytest.raises(ServiceError, match=r"after 1 try \(.* would be due in 86400 s.*run again"):
        sync.run()
    assert sync.started == 2, "no job is started before the pause has passed"
    assert [window.start for _, window in sync.emitted] == [0, HOUR]
    assert sync.now < 2 * JOB


def test_a_limit_that_rises_and_falls_is_followed() -> None:
    def limit(now: float) -> int:
        return 1 if now < 3000 else 6 if now < 6000 else 2

    for seed in SEEDS:
        sync = SimulatedSync(6, windows=90, seed=seed, limit=limit)
        sync.run()
        assert covers_exactly(sync)
        assert sync.started == sync.windows
        running = {
            most: [n for at, n, _ in sync.in_flight if since <= at < until]
            for most, since, until in ((1, 0, 3000), (6, 3000, 6000), (2, 6000, math.inf))
        }
        assert max(running[1]) == 1
        assert max(running[6]) == 6, "found again, one by one"
        assert statistics.median(running[2]) == 2
        assert sync.refused < sync.windows / 2


@pytest.mark.parametrize("minutes", [1, 2, 3])
def test_an_outage_of_minutes_of_all_jobs_ends_nothing_and_loses_nothing(minutes: int) -> None:
    for seed in SEEDS:
        outage = FIRST_OUTAGE, FIRST_OUTAGE + 60 * minutes
        sync = SimulatedSync(4, seed=seed, outages=(outage,))
        sync.run()
        assert covers_exactly(sync)
        assert sync.started > sync.windows, "jobs of the outage were replaced"


def test_an_outage_of_hours_ends_the_sync_when_the_pauses_are_used_up() -> None:
    sync = SimulatedSync(4, outages=((FIRST_OUTAGE, math.inf),))
    with pytest.raises(JobFailedError, match="gave up after 4 tries"):
        sync.run()
    longest = sum(JobPolicy().waits)
    assert longest / 2 > 180, "the shortest pauses outlive several minutes"
    assert sync.now < FIRST_OUTAGE + longest + 4 * JOB, "and no later"


def test_other_windows_go_on_while_a_failed_job_waits_for_its_pause() -> None:
    for seed in SEEDS:
        sync = SimulatedSync(2, windows=9, failing=3, seed=seed)
        sync.run()
        assert covers_exactly(sync)
        first = [at for at, _, window in sync.in_flight if window.start == 0]
        others = [at for at, _, window in sync.in_flight if window.start]
        assert (len(first), len(others)) == (1 + 3, 8)
        assert sum(at < first[3] for at in others) >= 5


@pytest.mark.parametrize(("jobs", "rounds"), [(4, 3), (3, 3), (9, 1)])
def test_nine_products_with_one_window_each_take_about_three_job_times(
    jobs: int, rounds: int
) -> None:
    for seed in SEEDS:
        sync = SimulatedSync(jobs, windows=1, products="ABCDEFGHI", spread=0, seed=seed)
        assert sync.run() < rounds * JOB * 1.15
        assert len(sync.emitted) == 9
