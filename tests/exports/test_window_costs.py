"""Windows sized by events cost what docs/benchmarks.md says, on a simulated clock."""

import re
import statistics
from pathlib import Path

import pytest

from benchmarks.windows import CASES, Case, simulate

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"

pytestmark = pytest.mark.usefixtures("untraced")


def wall_over_ideal(case: Case, seed: int) -> float:
    cost = simulate(case, seed)
    return cost.wall / (cost.ideal / case.jobs)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_backfill_takes_at_most_what_it_has_to(case: Case) -> None:
    assert statistics.median(wall_over_ideal(case, seed) for seed in range(3)) <= case.bound


def test_the_page_shows_all_cases_within_what_they_have_to_reach() -> None:
    row = r"^\| (.+) \| ([\d.]+) \([\d.]+\) \| at most ([\d.]+) \|$"
    rows = re.findall(row, PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    bounds = {case.name: case.bound for case in CASES}

    assert {name: float(bound) for name, _, bound in rows} == bounds
    assert all(float(median) <= float(bound) for _, median, bound in rows)
