"""Windows sized by events cost what docs/benchmarks.md says, on a simulated clock."""

import re
import statistics
from pathlib import Path

import pytest

from benchmarks.windows import CASES, Case, simulate

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def wall_over_ideal(case: Case, seed: int) -> float:
    cost = simulate(case, seed)
    return cost.wall / (cost.ideal / case.jobs)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_backfill_takes_at_most_what_it_has_to(case: Case) -> None:
    assert statistics.median(wall_over_ideal(case, seed) for seed in range(3)) <= case.bound


def test_the_page_shows_each_case_within_what_it_has_to_reach() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for case in CASES:
        row = re.search(rf"\| {re.escape(case.name)} \|.*\| ([\d.]+) \([\d.]+\) \| at", text)
        assert row, case.name
        assert float(row[1]) <= case.bound
